"""What a run leaves on disk comes back as it was, byte for byte; so does the reason why there is none."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from interp_assets.interventions.records import TABLES, Interventions, kept_files, read_files
from interp_assets.io_managers import parquet_bytes


def kept_in(folder: Path, files: dict[str, bytes]):
    """Files written out, and a function that finds them."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return lambda name: folder / name


def test_tables_and_facts_come_back_and_give_the_same_bytes(measured, tmp_path):
    files = kept_files(measured, parquet_bytes)
    assert sorted(files) == sorted(
        ["results/interventions.json", *(f"results/interventions/{name}.parquet" for name in TABLES)]
    )
    found = read_files(kept_in(tmp_path, files))
    assert isinstance(found, Interventions)
    assert found.facts == measured.facts
    for name, frame in found.tables().items():
        pd.testing.assert_frame_equal(frame, measured.tables()[name], check_exact=True)
    assert kept_files(found, parquet_bytes) == files


def test_a_reason_comes_back_as_text_and_leaves_no_table(tmp_path):
    files = kept_files("an edge table has no heads", parquet_bytes)
    assert list(files) == ["results/interventions.json"]
    assert json.loads(files["results/interventions.json"]) == {"reason": "an edge table has no heads"}
    found = read_files(kept_in(tmp_path, files))
    assert found == "an edge table has no heads"
    assert kept_files(found, parquet_bytes) == files


def test_the_order_of_facts_does_not_matter_and_no_fact_is_nan(measured):
    turned = replace(measured, facts=dict(reversed(measured.facts.items())))
    assert kept_files(turned, parquet_bytes) == kept_files(measured, parquet_bytes)
    with pytest.raises(ValueError, match="not JSON compliant"):
        kept_files(replace(measured, facts={"missing_pair_share": float("nan")}), parquet_bytes)


def test_aurocs_of_a_condition_do_not_depend_on_the_order_of_the_table(measured):
    """Regression: pairs of a test were formed by place in the table."""
    mixed = replace(measured, aurocs=measured.aurocs.sample(frac=1, random_state=0))
    for name in ("clean", "top-5", "mlp-8"):
        one, other = measured.auroc_of(name, "attention"), mixed.auroc_of(name, "attention")
        pd.testing.assert_series_equal(one, other)
        rows = measured.aurocs.query("condition == @name and read_out == 'attention'")
        assert one.to_dict() == dict(zip(rows["perturbation"], rows["auroc"], strict=True))
    assert measured.auroc_of("clean", "nowhere").empty
    assert measured.auroc_of("nowhere", "attention").empty

"""A study of the published contexts, and no other, gets its numbers set beside the published ones."""

from __future__ import annotations

import io
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pandas as pd
import pytest

from interp_assets.assets.battery import results_files
from interp_assets.edges.layers import LayerChoice
from interp_assets.layout import Layout
from interp_assets.models.records import ReleaseCard
from interp_assets.settings import Study, load_study, study_files
from qc_standards.published import COMPARISON_COLUMNS, signatures
from qc_standards.records import Status, TestResult


def files(study: Study, effect: float) -> dict[str, bytes]:
    layout = cast("Layout", SimpleNamespace(studies={study.name: study}, cells_of={}))
    row: dict[str, Any] = {"test_id": "A22.1", "status": Status.RUN, "effect": effect, "effect_kind": "auroc", "n": 280}
    card = ReleaseCard(name="mine", kind="release", family="geneformer")
    choice = LayerChoice(depth=13 / 17, chosen_by="settings")
    return results_files(layout, study.name, card, {}, [TestResult(**row)], {}, choice)


@pytest.mark.parametrize(("effect", "within"), [(0.704, True), (0.694, True), (0.6939, False), (0.9, False)])
def test_the_paper_study_is_held_against_the_published_numbers(effect: float, within: bool) -> None:
    study = load_study(study_files(None)["paper"])
    table = pd.read_parquet(io.BytesIO(files(study, effect)["tables/published_comparison.parquet"]))
    assert tuple(table.columns) == COMPARISON_COLUMNS
    assert len(table) == sum(bool(each.test_id) for each in signatures())
    row = table.set_index("test_id").loc["A22.1"]
    assert (row["computed"], bool(row["within"]), row["remark"]) == (effect, within, "")
    assert set(table.loc[table["test_id"] != "A22.1", "remark"]) == {"the row did not run"}
    assert table.loc[table["test_id"] != "A22.1", "within"].isna().all()


def test_elsewhere_another_value_is_no_disagreement() -> None:
    study = load_study(study_files(None)["paper"])
    assert "tables/published_comparison.parquet" not in files(replace(study, published_context=False), 0.7)
    for name in ("demo", "bench", "tiny"):
        assert not load_study(study_files(None)[name]).published_context

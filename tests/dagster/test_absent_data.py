"""A study whose data are not here completes, and says everywhere what is missing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from interp_assets.definitions import build_definitions
from interp_assets.evaluate import Evaluator, dagster_instance
from interp_assets.layout import read_layout
from qc_standards.gate import check_folder
from qc_standards.records import VerdictState
from qc_standards.registry import declared_ids

# Every use of a dataset once: read by tests, only compared, chosen on. The shipped study holds nine more.
STUDY = """
title: Real outcomes that are not here
primary_reference: pathway_commons_expression
references: [pathway_commons_expression, trrust_human]
layer_reference: trrust_human
tf_catalogue: tf_list_human_lambert
vocabularies: [scgpt_vocabulary]
roles:
  primary_screen: {dataset: perturbqa_k562, role_fit: partial}
  layer_selection: {dataset: kang_pbmc_ifn, role_fit: partial}
  screens[1]: {dataset: papalexi21_thp1, role_fit: partial}
compared_screens: ["screens[1]"]
battery: {cssi_draws: 5, cssi_seeds: 2, cssi_run_draws: 1, cssi_scan_seeds: 1, cssi_k_max: 4, simulated_circuits: 40,
  detectability_draws: 500, simulation_seeds: 1, synthetic_seeds: 3}
"""


@pytest.fixture(scope="module")
def folder(fast_folder: Path, shipped_releases: Path, deployed) -> Iterator[Path]:
    """Results of one shipped release in a short ``bench``, without mirror and without data wheels."""
    here = fast_folder / "absent"
    release = sorted(path.parent for path in shipped_releases.glob("*/release.json"))[0]
    shutil.copytree(release, here / "releases" / release.name)
    (here / "wheels").mkdir()
    (here / "config" / "studies").mkdir(parents=True)
    (here / "config" / "studies" / "bench.yaml").write_text(STUDY, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("INTERP_DATA_MIRROR", raising=False)
        for name, value in deployed(here, here / "wheels", "bench", here / "releases").items():
            patch.setenv(name, value)
        patch.setenv("INTERP_CONFIG_DIR", str(here / "config"))
        layout = read_layout()
        with dagster_instance(layout) as instance:
            Evaluator(build_definitions(layout), layout, instance).evaluate("bench", [release.name])
    yield here / "store" / "bench" / release.name


def test_every_row_is_skipped_with_a_reason_that_names_the_mirror(folder: Path) -> None:
    tests = pd.read_parquet(folder / "tests.parquet")
    assert tests["test_id"].tolist() == list(declared_ids())
    simulated = tests["dataset"] == "simulation"
    assert set(tests.loc[simulated, "data_origin"]) == {"simulated"}
    left = tests[~simulated]
    assert set(left["status"]) == {"skipped"}
    assert left[["p", "effect", "statistic"]].isna().all(axis=None)
    no_role = left["reason"].str.contains("fills no role")
    assert 10 < no_role.sum() < len(left) - 10
    no_mirror = "no data mirror (INTERP_DATA_MIRROR is not set)"
    assert left.loc[~no_role, "reason"].str.contains(no_mirror, regex=False).all()


def test_the_verdict_is_not_evaluable_and_rests_on_no_data(folder: Path) -> None:
    judgement = check_folder(folder)
    assert {verdict.state for verdict in judgement.verdicts.values()} == {VerdictState.NOT_EVALUABLE}
    evaluation = pd.read_parquet(folder / "tables" / "evaluation.parquet")
    assert evaluation["data_origin"].tolist() == ["none"]
    assert "INTERP_DATA_MIRROR" in json.dumps(json.loads((folder / "claims.json").read_text()))


def test_the_report_says_what_is_missing(folder: Path) -> None:
    assert "INTERP_DATA_MIRROR is not set" in (folder / "report.html").read_text(encoding="utf-8")


def test_controls_and_twins_are_skipped_the_same_way(folder: Path) -> None:
    others = [path for path in folder.parent.iterdir() if path != folder]
    assert {path.name for path in others} == {
        "control-planted",
        "control-coexpression",
        f"{folder.name}.shuffled",
        f"{folder.name}.random-weights",
    }
    for path in others:
        judgement = check_folder(path)
        assert judgement.verdicts[judgement.headline].state is VerdictState.NOT_EVALUABLE, path.name

"""Analysis 31 on synthetic worlds with a known answer, and its agreement with analysis 26."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from interp_assets.analyses import incremental_value
from interp_assets.analyses.incremental_value import conditional_incremental_value, hard_generalisation_splits
from interp_assets.stats.fit_memory import FitMemory
from qc_standards.records import Status

FEW = {"power_simulations": 1, "bootstrap": 60}
COLUMNS = [
    "role", "dataset", "edge", "split", "learner", "metric", "gene_only", "gene_plus_edge", "delta", "ci_low",
    "ci_high", "n_perturbations", "n_pairs", "resamples_requested", "resamples_done", "margin", "p_equivalent",
    "equivalent",
]  # fmt: skip
METRICS = {"auroc", "auprc", "r_precision", "recall_10", "recall_50", "recall_100"}
CRITERION = ("auroc", "auprc", "r_precision")


@pytest.fixture(scope="module")
def planted(make_inputs):
    return hard_generalisation_splits(make_inputs(31, settings=FEW))


def test_table_holds_every_cell_and_metric(planted):
    table = planted.tables["incremental_value"]
    assert list(table) == COLUMNS
    assert len(table) == 2 * 3 * 2 * 6
    assert set(table["metric"]) == METRICS
    assert not table.duplicated(["edge", "split", "learner", "metric"]).any()
    assert (table["resamples_done"] == 60).all()
    assert (table["margin"] == 0.005).all()
    assert (table["equivalent"] == (table["p_equivalent"] < 0.05)).all()
    assert not table.loc[table["ci_low"] > 0.005, "equivalent"].any()


def test_planted_gain_passes_all_cells_and_correlation_none(planted):
    table = planted.tables["incremental_value"]
    judged = table[table["metric"].isin(CRITERION)]
    assert (judged.loc[judged["edge"] == "attention", "ci_low"] > 0.005).all()
    opened = judged[judged["edge"] == "correlation"].groupby(["split", "learner"])["ci_low"].min() > 0.005
    assert not opened.all()


def test_joint_split_tests_the_diagonal_blocks(planted):
    pairs = planted.tables["incremental_value"].groupby("split")["n_pairs"].first()
    assert pairs["perturbation"] == pairs["target_gene"] == 30 * 149
    assert pairs["joint"] == pytest.approx(pairs["perturbation"] / 5, rel=0.05)


@pytest.mark.parametrize("kind", ["noise", "confound"])
def test_worlds_without_edge_signal_do_not_pass(make_inputs, kind):
    table = hard_generalisation_splits(make_inputs(31, kind, settings=FEW)).tables["incremental_value"]
    judged = table[table["metric"].isin(CRITERION) & (table["edge"] == "attention")]
    assert not (judged["ci_low"] > 0.005).all()


def test_rows_read_their_cells(planted):
    table = planted.tables["incremental_value"].set_index(["edge", "split", "learner", "metric"])["delta"]
    first, second, third = planted.results
    assert first.effect == table["attention", "target_gene", "logistic", "auroc"]
    assert second.effect == table["attention", "joint", "logistic", "auroc"]
    boosted = {s: table["attention", s, "boosting", "auprc"] for s in ("perturbation", "target_gene", "joint")}
    assert third.effect == max(boosted.values())
    used = json.loads(third.settings_used)
    assert used["split"] == max(boosted, key=boosted.get)
    assert used["boosting"]["iterations"] == 20
    assert third.effect_kind == "delta_auprc"
    assert json.loads(second.settings_used)["joint_blocks"] == "diagonal"


@pytest.mark.parametrize("fresh", [False, True], ids=["remembered", "recomputed"])
def test_perturbation_logistic_cell_is_that_of_analysis_26(make_inputs, planted, monkeypatch, fresh):
    if fresh:
        monkeypatch.setattr(incremental_value, "SHARED_FITS", FitMemory())
    table = planted.tables["incremental_value"].set_index(["edge", "split", "learner", "metric"])
    alone = conditional_incremental_value(make_inputs(26, settings=FEW))
    for result, edge in zip(alone.results, ("attention", "correlation"), strict=True):
        cell = table.loc[(edge, "perturbation", "logistic", "auroc")]
        assert (result.effect, result.ci_low, result.ci_high) == (cell["delta"], cell["ci_low"], cell["ci_high"])


def test_lost_cell_is_absent_and_its_row_skipped(make_inputs):
    # Five target genes listed only: the joint blocks and the boosting folds are too small, logistic is not.
    def narrow(role):
        label = role.label.copy()
        label[:, 9:] = -1
        rng = np.random.default_rng(0)
        label[:, :9] = rng.integers(0, 2, (label.shape[0], 9))
        label[np.arange(role.source.size), role.source] = -1
        return replace(role, label=label)

    output = hard_generalisation_splits(make_inputs(31, settings=FEW, alter=narrow, perturbations=5))
    first, second, third = output.results
    assert third.status is Status.SKIPPED
    assert "boosting needs 40" in third.reason
    table = output.tables["incremental_value"]
    assert set(table["learner"]) <= {"logistic"}
    assert first.status is Status.RUN
    assert second.status in (Status.RUN, Status.SKIPPED)


def test_absent_role_is_skipped(make_inputs):
    output = hard_generalisation_splits(make_inputs(31, absent="no screen in this study"))
    assert {r.reason for r in output.results} == {"no screen in this study"}
    assert not output.tables


def test_same_inputs_give_the_same_bytes(make_inputs, planted):
    again = hard_generalisation_splits(make_inputs(31, settings=FEW))
    assert again.results == planted.results
    assert again.tables["incremental_value"].equals(planted.tables["incremental_value"])

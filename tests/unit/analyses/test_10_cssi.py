"""Analysis 10: known states gain, estimated ones lose, and both stand beside null strata."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr, wilcoxon

from interp_assets.analyses.cell_scores import cell_attention
from interp_assets.analyses.cssi_attention import judged_attention
from interp_assets.analyses.cssi_validation import _attention_row, attention_table, cssi_validation
from interp_assets.stats.state_mixtures import blood_cells
from qc_standards.records import Status

spec = importlib.util.spec_from_file_location("cssi_world", Path(__file__).parent / "cssi_world.py")
world = importlib.util.module_from_spec(spec)
spec.loader.exec_module(world)

SETTINGS = {
    "bootstrap": 50,
    "cssi_seeds": 2,
    "cssi_minimum": 20,
    "cssi_run_draws": 2,
    "cssi_attention_draws": 30,
    "cssi_k_max": 6,
}


@pytest.fixture(scope="module")
def found():
    reading = world.cell_reading(0.45)
    return cssi_validation(world.cssi_inputs(10, SETTINGS, reading, world.sample()))


def result(output, test):
    return next(row for row in output.results if row.test_id == test)


def test_every_row_runs_with_its_numbers(found):
    assert [row.test_id for row in found.results] == [f"A10.{i}" for i in range(1, 7)]
    assert {row.status for row in found.results} == {Status.RUN}
    assert all(row.p is not None and row.effect is not None and row.direction for row in found.results)
    assert [row.data_origin for row in found.results] == ["simulated"] * 6
    assert set(found.tables) == {
        "cssi_runs", "cssi_summary", "cssi_dilution", "cssi_planted_recovery", "cssi_real_attention",
    }  # fmt: skip


def test_rows_equal_an_independent_computation(found):
    runs = found.tables["cssi_runs"]
    known = runs[(runs["design"] == "synthetic") & (runs["strata"] == "oracle") & (runs["aggregator"] == "max")]
    expected = spearmanr(known["states"], known["f1_pooled"])
    assert result(found, "A10.2").effect == pytest.approx(expected.statistic)
    assert result(found, "A10.2").p == pytest.approx(expected.pvalue)
    assert result(found, "A10.2").n == len(known) == 12
    expected = wilcoxon(known["f1"] - known["f1_pooled"], alternative="greater")
    assert result(found, "A10.3").p == pytest.approx(expected.pvalue, abs=1e-3)
    assert result(found, "A10.3").effect == pytest.approx(known["f1"].mean() / known["f1_pooled"].mean())


def test_known_states_gain_and_estimated_ones_lose(found):
    table = found.tables["cssi_summary"]
    assert set(table["strata"]) == {"oracle", "estimated", "shuffled", "random", "gene_permuted"}
    synthetic = table[(table["design"] == "synthetic") & (table["aggregator"] == "max")].set_index(["states", "strata"])
    for states in (4, 6, 8, 10, 12):
        pooled = synthetic.loc[(states, "oracle"), "f1_pooled"]
        assert synthetic.loc[(states, "oracle"), "f1"] > pooled + 0.1
        for kind in ("estimated", "shuffled", "random", "gene_permuted"):
            assert synthetic.loc[(states, kind), "f1"] < pooled
    assert result(found, "A10.2").effect < -0.3 < result(found, "A10.1").effect
    assert "A user has estimated strata, not known ones" in result(found, "A10.3").direction


def test_dilution_model_agrees_with_simulated_cells(found):
    table = found.tables["cssi_dilution"]
    np.testing.assert_allclose(table["expected"], table["simulated"], atol=0.025)
    np.testing.assert_allclose(table["expected"], table["within"] + table["between"], atol=1e-12)
    flat = table[table["shift"] == 0]
    np.testing.assert_allclose(flat["expected"], 0.7 * flat["share"])


def test_planted_recovery_counts_edges(found):
    table = found.tables["cssi_planted_recovery"].set_index("score")
    assert (table["edges"] == 22).all()
    assert table.loc["ratio", "value"] == pytest.approx(table.loc["max", "value"] / table.loc["pooled", "value"])
    assert (table["resamples_done"] == 100).all()
    # The first dataset of the design, by hand: absolute correlation of all cells, and the largest within a known type.
    mixture = blood_cells(np.random.default_rng([0, 10, 3, 0]))
    split = mixture.regulators.size

    def correlated(cells):
        chosen = mixture.expression[cells][:, np.r_[mixture.regulators, mixture.targets]]
        return np.abs(np.corrcoef(chosen.T)[:split, split:])

    types = [mixture.state == kind for kind in range(mixture.states)]
    expected = {
        "pooled": correlated(np.ones(mixture.state.size, dtype=bool)),
        "max": np.max([correlated(cells) for cells in types if cells.sum() >= 20], axis=0),
    }
    for name, score in expected.items():
        best = np.argsort(-score.ravel())[:100]
        assert table.loc[name, "value"] == pytest.approx(mixture.true.ravel()[best].sum())
    row = result(found, "A10.4")
    assert row.ci_low <= row.effect <= row.ci_high
    assert row.effect > 1
    assert (row.p <= 0.025) == (table.loc["difference", "ci_low"] > 0)
    assert "A user has estimated strata" in row.direction
    assert "as many as known states" in row.direction


def test_every_simulated_row_names_its_strata_as_known(found):
    for test in ("A10.1", "A10.2", "A10.3", "A10.4", "A10.5"):
        row = result(found, test)
        used = json.loads(row.settings_used)
        assert used["strata"] == "oracle"
        assert used["estimated_strata"] == "k-means strata, as many as known states"
        assert "A user has estimated strata, not known ones" in row.direction
    assert json.loads(result(found, "A10.5").settings_used)["datasets_left_out"] == {"oracle": 0, "estimated": 0}


def test_stratified_attention_equals_pooling_the_cells_of_each_stratum():
    inputs = world.cssi_inputs(10, SETTINGS, world.cell_reading(0.45), world.sample())
    judged = judged_attention(inputs, 20, 6, np.random.default_rng(0))
    view = cell_attention(inputs.readings["cell_attention"], "layer_selection")
    labels = np.random.default_rng(1).integers(-1, 3, judged.cells)  # -1 is no stratum
    (score,), size = judged.scores(labels, [1])
    assert size.tolist() == np.bincount(labels + 1)[1:].tolist()
    pair = np.arange(world.ROWS)[:, None] != np.arange(world.GENES)[None, :]
    for stratum in range(3):
        expected = view.pooled(1, labels == stratum)[0]
        np.testing.assert_allclose(score[stratum], expected[pair], atol=1e-12)
    assert judged.true.sum() == 12


def test_a_cell_without_a_type_is_in_no_known_stratum():
    cells = world.sample()
    cells.cells.obs.loc[cells.cells.obs.index[:10], "cell_type"] = None
    inputs = world.cssi_inputs(10, SETTINGS, world.cell_reading(0.45), cells)
    judged = judged_attention(inputs, 20, 6, np.random.default_rng(0))
    assert np.bincount(judged.oracle + 1).tolist() == [10, 50, 60, 60, 60]


def test_strata_under_the_minimum_size_skip_the_real_row():
    inputs = world.cssi_inputs(10, SETTINGS, world.cell_reading(0.45), world.sample())
    judged = judged_attention(inputs, 20, 6, np.random.default_rng(0))
    judged = replace(judged, estimated=np.arange(judged.cells) % 60)
    table, maxima = attention_table(judged, SETTINGS, np.random.default_rng(0))
    row = _attention_row(inputs, judged, table, maxima, SETTINGS)
    assert row.status is Status.SKIPPED
    assert "no estimated stratum holds 20 cells" in row.reason
    assert row.p is None


def test_edges_of_one_state_are_found_in_real_attention(found):
    row = result(found, "A10.6")
    assert row.effect > 0.05
    assert row.p == 1 / 31
    assert row.null_mean < row.effect
    table = found.tables["cssi_real_attention"]
    best = table[table["aggregator"] == "best"].groupby("strata")["gain"].max()
    assert best["oracle"] == pytest.approx(best["estimated"])  # the embedding shows the types
    assert set(table["aggregator"]) == {"mean", "max", "range", "deviation", "best"}
    assert (table["positives"] == 12).all()
    assert (table["pairs"] == world.ROWS * (world.GENES - 1)).all()
    assert json.loads(row.settings_used)["k"] == 4


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_noise_attention_gives_no_finding(seed):
    from interp_assets.analyses import rows
    from interp_assets.stats.cssi import exceedance_p

    inputs = world.cssi_inputs(10, SETTINGS, world.cell_reading(0.0, seed), world.sample(), seed)
    judged = judged_attention(inputs, 20, 6, rows.generator(inputs, 10, 6))
    table, maxima = attention_table(judged, SETTINGS, rows.generator(inputs, 10, 7))
    best = table[(table["aggregator"] == "best") & (table["strata"] == "estimated")]["gain"].max()
    assert exceedance_p(maxima, best) > 0.05
    assert maxima.mean() > 0.02  # the maximum over layers and variants is optimistic by itself


def test_what_is_missing_skips_the_real_row_only():
    small = {**SETTINGS, "cssi_seeds": 1, "cssi_run_draws": 1, "cssi_attention_draws": 5}
    cells, reading = world.sample(), world.cell_reading(1.0)
    outputs = {
        "fills no role layer_selection": cssi_validation(world.cssi_inputs(10, small)),
    }
    from interp_assets.analyses import rows

    cases = {
        "was not read": (None, cells),
        "have no embedding": (world.cell_reading(1.0, embedded=False), cells),
        "net is not available": (reading, world.sample(reference=False)),
    }
    for reason, (given, who) in cases.items():
        inputs = world.cssi_inputs(10, small, given, who)
        assert reason in judged_attention(inputs, 20, 6, rows.generator(inputs, 10, 6))
    inputs = world.cssi_inputs(10, small, reading, cells)
    assert "cannot form two strata of 200" in judged_attention(inputs, 200, 6, rows.generator(inputs, 10, 6))
    for reason, output in outputs.items():
        statuses = [row.status for row in output.results]
        assert statuses == [Status.RUN] * 5 + [Status.SKIPPED]
        assert reason in result(output, "A10.6").reason
    unnamed = world.cssi_inputs(10, small, reading, replace(world.sample(named=False)))
    assert judged_attention(unnamed, 20, 6, rows.generator(unnamed, 10, 6)).oracle is None

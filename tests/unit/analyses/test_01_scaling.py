"""Analysis 1: both metrics over numbers of cells, exact tests over draws, overlap of kept edges."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binomtest, spearmanr, wilcoxon
from sklearn.metrics import average_precision_score, roc_auc_score

from interp_assets.analyses.cell_runs import halved_counts, run_cells, run_scores, subset_correlation
from interp_assets.analyses.scaling import scaling_behaviour
from interp_assets.edges.scores import spearman_edges
from qc_standards.records import Status

spec = importlib.util.spec_from_file_location("run_world", Path(__file__).with_name("run_world.py"))
world = sys.modules["run_world"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(world)

SETTINGS = {
    "analysis_depth": 1.0,
    "mantel_permutations": 99,
    "scaling_cells": (20, 60, 180),
    "scaling_seeds": 9,
    "scaling_bootstrap": 200,
}


def scale(settings=None, **knobs):
    return scaling_behaviour(world.run_inputs(1, {**SETTINGS, **(settings or {})}, world.Knobs(**knobs)))


def result(output, test):
    return next(row for row in output.results if row.test_id == test)


@pytest.fixture(scope="module")
def found():
    return scale(signal=0.35)


def test_a_signal_that_every_cell_carries_grows_with_cells(found):
    assert {row.status for row in found.results} == {Status.RUN}
    assert result(found, "A01.1").p > 0.9
    assert result(found, "A01.1").effect <= 1
    assert result(found, "A01.2").effect > 0
    rise = result(found, "A01.6")
    assert rise.effect > 0.1
    assert rise.ci_low > 0
    assert json.loads(rise.settings_used)["auroc_falls"] == 0
    # Without shared cells the kept edges of two draws agree more where more cells are drawn.
    apart = json.loads(result(found, "A01.4").settings_used)["jaccard_without_cells_in_common"]
    assert apart["60"] > apart["20"]
    assert "180" not in apart  # two draws of 180 of 320 cells cannot be apart


def test_edges_that_stand_out_by_noise_alone_sink_with_cells():
    output = scale({"scaling_cells": (20, 120, 300)}, signal=-1.0, spread=6.0)
    first, second = result(output, "A01.1"), result(output, "A01.2")
    assert first.effect >= 8
    assert first.p <= 0.05
    for row in (first, second):  # here relabelled references are the weaker evidence, and they decide
        used = json.loads(row.settings_used)
        assert row.p == used["p_relabelled"] > used["p_exact"]
    assert second.p <= 0.05
    assert second.effect < 0
    assert result(output, "A01.6").effect < 0


def test_noise_is_no_trend():
    p = [result(scale(seed=seed, settings={"scaling_bootstrap": 5}), "A01.1").p for seed in range(6)]
    assert sum(value <= 0.05 for value in p) <= 1
    aurocs = [
        json.loads(result(scale(seed=seed, settings={"scaling_bootstrap": 5}), "A01.6").settings_used)["auroc"][-1]
        for seed in range(6)
    ]
    assert np.mean(aurocs) == pytest.approx(0.5, abs=0.06)


@pytest.mark.parametrize("holding", [0.7, 0.12])
def test_a_run_equals_a_slow_computation(holding):
    """With few genes in a cell most pairs of a small draw are held by none and tie with the lowest."""
    knobs = world.Knobs(signal=0.35, holding=holding)
    found = scale(signal=0.35, holding=holding)
    inputs = world.run_inputs(1, SETTINGS, knobs)
    value, held = world.cell_values(knobs)
    source = run_cells(inputs, "tissues[2]")
    runs = found.tables["scaling_runs"]
    order = np.random.default_rng([0, 1, 1, 3]).permutation(world.CELLS)
    for cells, edge in ((20, "attention_layer_mean"), (60, "attention")):
        drawn = order[:cells]
        both = held[drawn][:, : world.ROWS, None] & held[drawn][:, None, :]
        mean = value.mean(axis=0) if edge != "attention" else value[1]
        score = np.full((world.ROWS, world.GENES), np.nan)
        count = both.sum(axis=0)
        total = (mean[drawn] * both).sum(axis=0)
        score[count > 0] = total[count > 0] / count[count > 0]
        if cells == 20:
            fewest = count > 0
        score[np.arange(world.ROWS), np.arange(world.ROWS)] = np.nan
        score = np.where(np.isnan(score), np.nanmin(score), score)
        member = np.zeros(score.shape, dtype=bool)
        member[world.edges("net")] = True
        pair = np.arange(world.ROWS)[:, None] != np.arange(world.GENES)[None, :]
        line = runs[
            (runs["seed"] == 3) & (runs["cells"] == cells) & (runs["edge"] == edge) & (runs["reference"] == "net")
        ].iloc[0]
        assert line["auroc"] == pytest.approx(roc_auc_score(member[pair], score[pair]), abs=1e-6)
        assert line["missing_share"] == pytest.approx((count[pair] == 0).mean())
        assert (line["missing_share"] > 0.4) == (holding < 0.5)
        if edge == "attention_layer_mean":
            seen = pair & fewest
            expected = roc_auc_score(member[seen], score[seen])
            assert line["auroc_seen_by_fewest"] == pytest.approx(expected, abs=1e-6)
        assert line["auprc"] == pytest.approx(average_precision_score(member[pair], score[pair]), abs=1e-6)
        # Scores vary, so that the kept edges lie above the tie of missing pairs.
        best = np.argsort(-score[pair], kind="stable")[: line["kept"]]
        assert line["kept"] == round(0.05 * pair.sum()) == 16
        assert line["hits"] == pytest.approx(member[pair][best].sum())
        assert line["f1"] == pytest.approx(2 * line["hits"] / (16 + 24))
        assert line["expected"] == pytest.approx(16 * 24 / pair.sum())
        assert line["observed_types"] == len(set(world.kinds()[drawn]))
    both = held[order[:20]][:, : world.ROWS, None] & held[order[:20]][:, None, :]
    observed = both.any(axis=0) & pair
    assert np.array_equal(run_scores(source, np.sort(order[:20]), "attention")[1], observed)


def test_kept_edges_of_draws_that_hold_too_few_pairs_are_not_compared():
    output = scale(holding=0.04)
    assert [row.test_id for row in output.results if row.status is Status.SKIPPED] == ["A01.4"]
    assert "hold fewer pairs than the 5% that are kept" in result(output, "A01.4").reason
    assert json.loads(result(output, "A01.4").settings_used)["missing_share"][0] > 0.95


def test_rows_say_when_their_p_was_decided_and_name_the_settings_they_used(found):
    for test in ("A01.1", "A01.2", "A01.3"):
        assert "was added after the exact test alone" in result(found, test).direction
    named = {row.test_id: set(json.loads(row.settings_used)) & set(SETTINGS) for row in found.results}
    always = {"scaling_cells", "scaling_seeds"}
    assert named["A01.1"] == named["A01.3"] == always | {"mantel_permutations"}
    assert named["A01.2"] == always | {"mantel_permutations", "scaling_bootstrap"}
    assert named["A01.4"] == named["A01.5"] == named["A01.6"] == always | {"scaling_bootstrap"}


def test_correlation_of_a_subset_equals_the_edges_of_the_project():
    knobs = world.Knobs()
    cells = world.sample(knobs).cells
    expected = spearman_edges(cells).score[: world.ROWS]
    found = subset_correlation(cells.log.toarray(), np.arange(world.ROWS))
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_rows_equal_scipy_on_the_table(found):
    runs = found.tables["scaling_runs"]
    chosen = runs[(runs["edge"] == "attention_layer_mean")]
    for test, reference in (("A01.1", "net"), ("A01.3", "other")):
        wide = chosen[chosen["reference"] == reference].pivot(index="seed", columns="cells", values="f1")
        difference = (wide[60] - wide[20]).to_numpy()
        row = result(found, test)
        falling = int((difference < 0).sum())
        assert row.effect == row.statistic == falling
        used = json.loads(row.settings_used)
        assert used["p_exact"] == pytest.approx(binomtest(falling, 9, 0.5, alternative="greater").pvalue)
        assert row.p == max(used["p_exact"], used["p_relabelled"])
        assert row.n == 9
    wide = chosen[chosen["reference"] == "net"].pivot(index="seed", columns="cells", values="f1")
    difference = (wide[60] - wide[20]).to_numpy()
    used = json.loads(result(found, "A01.2").settings_used)
    assert used["p_exact"] == pytest.approx(wilcoxon(difference, alternative="less").pvalue)
    assert result(found, "A01.2").effect == pytest.approx(np.median(difference))
    pairs = found.tables["scaling_seed_pairs"]
    tiers = pairs[~pairs["disjoint"]].pivot(index=["first_seed", "second_seed"], columns="cells", values="jaccard")
    assert len(tiers) == 9
    assert (tiers.index.get_level_values(0) // 3 == tiers.index.get_level_values(1) // 3).all()
    row = result(found, "A01.4")
    assert row.effect == pytest.approx(tiers[60].mean() / tiers[20].mean() - 1)
    assert row.p == pytest.approx(wilcoxon(tiers[60] - tiers[20], alternative="less").pvalue)
    summary = found.tables["scaling_summary"].set_index(["edge", "reference", "cells", "metric"])
    assert result(found, "A01.5").effect == pytest.approx(wide[180].mean())
    assert summary.loc[("attention_layer_mean", "net", 180, "f1"), "mean"] == pytest.approx(wide[180].mean())
    assert spearmanr(pairs["spearman"], pairs["jaccard"]).statistic > 0


def test_numbers_of_cells_are_halved_and_said():
    assert halved_counts((200, 1000, 3000), 3000) == (200, 1000, 3000)
    output = scale({"scaling_cells": (200, 400, 1200)})
    assert json.loads(output.results[0].settings_used)["cells"] == [50, 100, 300]
    tiny = scale({"scaling_cells": (30, 1000, 3000)})
    assert {row.status for row in tiny.results} == {Status.SKIPPED}
    assert "smallest must be 20" in tiny.results[0].reason


def test_one_reference_skips_the_second_one_only():
    output = scale(references=("net",))
    assert [row.test_id for row in output.results if row.status is Status.SKIPPED] == ["A01.3"]
    assert "only one reference network" in result(output, "A01.3").reason


@pytest.mark.parametrize(
    ("inputs", "why"),
    [
        ({"read": False}, "table of finished scores"),
        ({"filled": False}, "fills no role"),
    ],
)
def test_without_cells_or_model_every_row_says_why(inputs, why):
    output = scaling_behaviour(world.run_inputs(1, SETTINGS, world.Knobs(), **inputs))
    assert {row.status for row in output.results} == {Status.SKIPPED}
    assert all(why in row.reason for row in output.results)
    assert not output.tables


def test_settings_that_allow_no_test_are_told():
    for wrong, why in (
        ({"scaling_seeds": 2}, "at least 3"),
        ({"scaling_cells": (20, 60)}, "three rising"),
        ({"scaling_cells": (60, 40, 80)}, "three rising"),
    ):
        assert why in scale(wrong).results[0].reason
    assert "no reference network" in scale(references=()).results[0].reason
    unnamed = scale(named=False)
    assert unnamed.tables["scaling_runs"]["observed_types"].isna().all()


def test_same_inputs_give_the_same_bytes(found):
    again = scale(signal=0.35)
    assert again.results == found.results
    for name, table in found.tables.items():
        assert table.equals(again.tables[name])

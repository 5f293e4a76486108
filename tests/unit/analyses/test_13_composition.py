"""Analysis 13: number of cells and number of types are varied apart, for both edges and both metrics."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr

from interp_assets.analyses.composition import controlled_composition
from interp_assets.analyses.composition_draws import composition_draws, fixed_number, sizes
from qc_standards.records import Status

spec = importlib.util.spec_from_file_location("run_world", Path(__file__).with_name("run_world.py"))
world = sys.modules["run_world"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(world)

SETTINGS = {
    "analysis_depth": 1.0,
    "bootstrap": 50,
    "composition_runs": 24,
    "composition_permutations": 999,
    "mantel_permutations": 99,
}
TYPES = np.array(["a", "b", "c", "d"])[world.kinds()]


def compose(settings=None, **knobs):
    return controlled_composition(world.run_inputs(13, {**SETTINGS, **(settings or {})}, world.Knobs(**knobs)))


def result(output, test):
    return next(row for row in output.results if row.test_id == test)


@pytest.fixture(scope="module")
def found():
    return compose(signal=2.0, typed=True)


def test_edges_of_single_types_are_recovered_better_from_mixtures(found):
    assert {row.status for row in found.results} == {Status.RUN}
    mixed = result(found, "A13.2")
    assert mixed.effect > 0.5
    assert mixed.p <= 0.02
    assert mixed.ci_low > 0
    used = json.loads(mixed.settings_used)
    assert used["rho_of_attention_layer_mean_auroc"] == mixed.effect
    # Correlation knows nothing of the planted edges.
    assert abs(used["rho_of_correlation_auroc"]) < 0.45
    runs = found.tables["composition_runs"]
    spread = runs.groupby("edge")["auroc"].agg(np.ptp)
    assert result(found, "A13.4").effect == pytest.approx(spread["correlation"])


def test_noise_has_no_trend_though_permuted_runs_find_one():
    outputs = [compose({"composition_permutations": 199}, seed=seed) for seed in range(18)]
    p = [result(output, test).p for output in outputs for test in ("A13.1", "A13.2", "A13.3")]
    runs = [json.loads(result(output, "A13.2").settings_used)["p_permuted_runs"] for output in outputs]
    # Draws of one type share cells with each other and not with those of another: runs are no independent units.
    assert sum(value <= 0.05 for value in runs) >= 4  # .9 expected of 18
    assert sum(value <= 0.05 for value in p) <= 7  # 2.7 expected of 54, three of one draw go together
    assert 0.35 < np.mean(p) < 0.65


def test_trends_equal_scipy_on_the_runs(found):
    runs, trends = found.tables["composition_runs"], found.tables["composition_trends"]
    assert np.isfinite(trends["rho"]).all()
    for line in trends.itertuples():
        part = runs[(runs["arm"] == line.arm) & (runs["edge"] == line.edge)]
        assert line.rho == pytest.approx(spearmanr(part[line.against], part[line.metric]).statistic)
    for test, arm, metric, against in (
        ("A13.1", "fixed_shares", "auroc", "cells"),
        ("A13.2", "fixed_cells", "auroc", "observed_types"),
        ("A13.3", "random_draw", "f1", "observed_types"),
    ):
        line = trends[
            (trends["arm"] == arm)
            & (trends["metric"] == metric)
            & (trends["against"] == against)
            & (trends["edge"] == "attention_layer_mean")
        ].iloc[0]
        row = result(found, test)
        assert (row.effect, row.p, row.n) == (line["rho"], line["p"], 24)
        assert (row.resamples_requested, row.resamples_done) == (99, line["copies"])
        assert "was added after permuted runs alone" in row.direction
        assert "analysis_depth" not in json.loads(row.settings_used)
    one_sided = trends[trends["alternative"] == "less"]
    assert set(one_sided["metric"]) == {"f1"}
    assert set(one_sided["arm"]) == {"random_draw"}
    assert (trends["p"] == trends[["p_permuted_runs", "p_relabelled"]].max(axis=1)).all()


def test_a_cell_without_a_type_is_drawn_in_no_run(monkeypatch):
    whole = world.sample

    def partly(knobs):
        made = whole(knobs)
        made.cells.obs.loc[made.cells.obs.index[:30], "cell_type"] = None
        return made

    monkeypatch.setattr(world, "sample", partly)
    output = compose({"composition_permutations": 19})
    used = json.loads(result(output, "A13.1").settings_used)
    assert (used["cells_without_type"], used["cells_to_draw_from"]) == (30, world.CELLS)
    assert output.tables["composition_runs"]["observed_types"].max() == 4
    assert max(used["cells"]["random_draw"]) == (world.CELLS - 30) // 2


def test_draws_hold_what_they_promise():
    draws = composition_draws(TYPES, 12, np.random.default_rng(0))
    arms = {arm: [draw for draw in draws if draw.arm == arm] for arm in ("fixed_shares", "fixed_cells", "random_draw")}
    assert {arm: len(part) for arm, part in arms.items()} == dict.fromkeys(arms, 12)
    for draw in draws:
        assert np.unique(draw.cells).size == draw.cells.size
    shares = np.array(world.HELD) / world.CELLS
    for draw in arms["fixed_shares"]:
        held = np.bincount(world.kinds()[draw.cells], minlength=4)
        assert np.abs(held - shares * draw.cells.size).max() < 1
    assert len({draw.cells.size for draw in arms["fixed_shares"]}) == 6
    assert {draw.cells.size for draw in arms["fixed_cells"]} == {125}
    for draw in arms["fixed_cells"]:
        held = np.bincount(world.kinds()[draw.cells], minlength=4)
        assert (held > 0).sum() == draw.planned_types
        if draw.shares == "equal":
            assert np.ptp(held[held > 0]) <= 1
    assert {draw.planned_types for draw in arms["fixed_cells"]} == {1, 2, 3}
    assert {draw.shares for draw in arms["fixed_cells"]} == {"equal", "as found"}


def test_many_small_types_and_few_cells_end_in_a_reason():
    assert "composition needs" in composition_draws(np.repeat(["a", "b"], 100), 6, np.random.default_rng(0))
    assert "composition needs" in composition_draws(np.repeat(["a", "b", "c"], 6), 6, np.random.default_rng(0))
    small = np.array([f"t{number}" for number in range(60)]).repeat(3)
    assert "can be drawn of 1, 2 and 3 types" in composition_draws(small, 6, np.random.default_rng(0))
    assert fixed_number(np.array([5, 5, 5])) is None
    assert sizes(30) == ()


@pytest.mark.parametrize(
    ("world_of", "why"),
    [
        ({"read": False}, "table of finished scores"),
        ({"filled": False}, "fills no role"),
        ({"knobs": world.Knobs(named=False)}, "no column cell_type"),
        ({"settings": {"composition_runs": 3}}, "at least 6"),
    ],
)
def test_without_its_data_every_row_says_why(world_of, why):
    more = dict(world_of)
    knobs, settings = more.pop("knobs", world.Knobs()), {**SETTINGS, **more.pop("settings", {})}
    output = controlled_composition(world.run_inputs(13, settings, knobs, **more))
    assert {row.status for row in output.results} == {Status.SKIPPED}
    assert all(why in row.reason for row in output.results)


def test_same_inputs_give_the_same_bytes(found):
    again = compose(signal=2.0, typed=True)
    assert again.results == found.results
    for name, table in found.tables.items():
        assert table.equals(again.tables[name])

"""Analysis 2 on games with known interactions."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import combinations, permutations
from math import comb

import numpy as np
import pytest
from scipy import stats

from interp_assets.analyses.component_effects import run_pairs
from interp_assets.analyses.mediation import ONE_CELL, mediation_bias
from interp_assets.stats.games import aggregate_interaction
from qc_standards.records import Status
from tests.unit.analyses.mediation_world import (
    PAIRS,
    ROLES,
    K,
    game,
    games_of,
    inputs_of,
    members_of,
    results_of,
    sample,
    trace,
    value,
)


@pytest.fixture(scope="module")
def interacting():
    return trace(games_of(pairwise=1.0))


@pytest.fixture(scope="module")
def found(interacting):
    return mediation_bias(inputs_of(2, interacting))


def test_planted_interactions_are_found_with_their_size(found):
    row, games = results_of(found)["A02.1"], games_of(pairwise=1.0)
    true = {key: (sum(one[1].values()), value(one, range(len(one[0])))) for key, one in games.items()}
    table = found.tables["mediation_run_pairs"].set_index(["role", "regulator", "granularity"])
    for (role, pair, kind), (residual, total) in true.items():
        line = table.loc[(role, pair[0], kind)]
        assert line["residual"] == pytest.approx(residual, abs=4 * line["se"])
        assert line["total"] == pytest.approx(total, abs=0.3)
        assert line["lower_bound"] <= abs(residual) + line["se"] * 2
    assert row.status is Status.RUN
    assert row.statistic >= 0.75
    assert row.effect == pytest.approx(np.median(table["lower_bound"] / table["total"].abs()))
    assert row.ci_low <= row.effect <= row.ci_high
    assert row.p < 0.01
    assert (row.n, row.unit, row.resamples_requested, row.resamples_done) == (12, "run-pair", 200, 200)


def test_effects_that_add_up_are_called_so_as_often_as_the_level():
    positive = paired = tried = 0
    for seed in range(25):
        reading = trace(games_of(seed, kinds=("mlp",)), seed=seed, cells=30)
        table = mediation_bias(inputs_of(2, reading, mediation_bootstrap=2)).tables["mediation_run_pairs"]
        positive, paired, tried = (
            positive + table["positive"].sum(),
            paired + table["positive_paired"].sum(),
            tried + len(table),
        )
    assert tried == 150
    # 7.5 expected at .05, four binomial deviations above is 18
    assert 1 <= positive <= 18
    assert 1 <= paired <= 18


def test_the_bound_is_below_the_true_aggregate_interaction_in_95_of_100_draws():
    below = []
    for seed in range(40):
        rng = np.random.default_rng([seed, 9])
        games = games_of(seed, pairwise=rng.choice([0.0, 0.02, 0.1, 0.5]), kinds=("mlp",))
        reading = trace(games, seed=seed, cells=int(rng.integers(5, 30)), noise=0.3)
        for pair in run_pairs(reading):
            one = games[pair.role, (pair.regulator, pair.target), "mlp"]
            true = aggregate_interaction([value(one, members_of(mask)) for mask in range(1 << K["mlp"])])
            below.append(pair.bound.lower_bound <= true + 1e-12)
    assert len(below) == 240
    assert np.mean(below) >= 0.95


def test_bounds_equal_a_plain_recomputation(interacting, found):
    table = found.tables["mediation_run_pairs"]
    for _, line in table.iterrows():
        frame = interacting.tables["effects"]
        for name in ("role", "regulator", "target", "granularity"):
            frame = frame[frame[name] == line[name]]
        each = frame.groupby("component")["effect"].agg(["mean", "std", "count"])
        residual = each.loc[-1, "mean"] - each.loc[0:, "mean"].sum()
        se = np.sqrt((each["std"] ** 2 / each["count"]).sum())
        by_cell = frame.pivot(index="cell", columns="component", values="effect")
        left = by_cell[-1] - by_cell.drop(columns=-1).sum(axis=1)
        assert line["residual"] == pytest.approx(residual)
        assert line["se"] == pytest.approx(se)
        assert line["lower_bound"] == pytest.approx(max(0, abs(residual) - 1.96 * se))
        assert line["se_paired"] == pytest.approx(left.std() / np.sqrt(len(left)))
        assert line["lower_bound_paired"] == pytest.approx(max(0, abs(left.mean()) - 1.96 * line["se_paired"]))


def test_certificates_equal_loops_over_pairs(found):
    effects = found.tables["mediation_components"].groupby(["role", "regulator", "granularity"])
    bounds = found.tables["mediation_run_pairs"].set_index(["role", "regulator", "granularity"])["lower_bound"]
    certificate = found.tables["mediation_certificate"]
    assert sorted(certificate["budget_factor"].unique()) == [1, 1.5, 2, 3, 4, 6, 8]
    assert set(certificate["budget"]) == {"uniform", "proportional", "concentrated"}
    for _, line in certificate.iterrows():
        key = (line["role"], line["regulator"], line["granularity"])
        own, whole = effects.get_group(key), line["budget_factor"] * bounds[key]
        size, k = own["mean"].abs().to_numpy(), len(own)
        share = {
            "uniform": np.full(k, whole / k),
            "proportional": whole * size / size.sum(),
            "concentrated": np.full(k, whole),
        }
        b = share[line["budget"]] + 1.96 * own["sd"].to_numpy() / np.sqrt(own["cells"].to_numpy())
        holds = {(i, j): abs(size[i] - size[j]) > b[i] + b[j] for i, j in combinations(range(k), 2)}
        assert line["certified"] == sum(holds.values())
        assert line["component_pairs"] == comb(k, 2)
        top = int(size.argmax())
        assert line["top_certified"] == all(holds[pair] for pair in holds if top in pair)


def test_the_certificate_row_is_the_loss_from_one_to_three_times_the_bound(found):
    row, table = results_of(found)["A02.2"], found.tables["mediation_certificate"]
    table = table[table["budget"] == "uniform"].pivot(
        index=["role", "regulator", "granularity"], columns="budget_factor", values="certified_share"
    )
    lost = table[1.0] - table[3.0]
    assert row.effect == pytest.approx(-lost.mean())
    assert row.statistic == pytest.approx(table[1.0].mean())
    assert row.p == pytest.approx(0.5 ** (lost > 0).sum())
    assert json.loads(row.settings_used)["run_pairs_that_lose"] == (lost > 0).sum()
    assert row.effect < 0


def test_shapley_values_equal_all_orders_and_their_bias_the_interactions(interacting, found):
    shapley, games = found.tables["mediation_shapley"], games_of(pairwise=1.0)
    exact = shapley[shapley["method"] == "exact"]
    assert set(exact["granularity"]) == {"mlp"}
    one = games["tissues[1]", PAIRS[0], "mlp"]
    own = exact[(exact["role"] == "tissues[1]") & (exact["regulator"] == "TFA")]
    by_order = np.zeros(K["mlp"])
    for order in permutations(range(K["mlp"])):
        for n, i in enumerate(order):
            by_order[i] += value(one, order[: n + 1]) - value(one, order[:n])
    # the offset of the cells, .1 on average, enters every value but that of nobody and is shared out evenly
    np.testing.assert_allclose(own["shapley"], by_order / 120 + 0.1 / K["mlp"], atol=1e-12)
    half = [sum(d for pair, d in one[1].items() if i in pair) / 2 for i in range(K["mlp"])]
    np.testing.assert_allclose(own["bias"], -np.array(half) + 0.1 - 0.1 / K["mlp"], atol=1e-12)
    assert np.abs(shapley["efficiency_gap"]).max() < 1e-12
    sampled = shapley[shapley["method"] == "permutations"]
    assert set(sampled["permutations"]) == {4}
    # an order and its reverse share every interaction of two evenly: exact with two of them already
    one = games["tissues[2]", PAIRS[1], "heads"]
    own = sampled[(sampled["role"] == "tissues[2]") & (sampled["regulator"] == "TFB")]
    half = [one[0][i] + sum(d for pair, d in one[1].items() if i in pair) / 2 for i in range(K["heads"])]
    assert np.abs(own["shapley"].to_numpy() - half).max() <= 0.1


def test_interactions_by_order_add_up_to_the_residual(found):
    table, games = found.tables["mediation_interactions"], games_of(pairwise=1.0)
    mlp = table[table["granularity"] == "mlp"]
    assert (mlp["sets_measured"] == mlp["sets_possible"]).all()
    added = mlp.groupby(["role", "regulator"])["share_of_residual"].sum()
    np.testing.assert_allclose(added, 1.0)
    second = mlp[(mlp["order"] == 2) & (mlp["role"] == "tissues[1]") & (mlp["regulator"] == "TFA")].iloc[0]
    one = games["tissues[1]", PAIRS[0], "mlp"]
    # each pair carries -0.1 of the offset that a cell adds to every value
    assert second["sum"] == pytest.approx(sum(one[1].values()) - 0.1 * 10)
    heads = table[table["granularity"] == "heads"]
    assert set(heads["order"]) == {2, 3}
    assert (heads["sets_measured"] < heads["sets_possible"]).all()
    assert (heads[heads["order"] == 2]["sets_measured"] >= 10).all()


def test_run_pairs_of_one_cell_are_left_out_of_the_rows_and_reported_beside(interacting):
    effects, sets = (interacting.tables[name] for name in ("effects", "sets"))
    lonely = (effects["role"] == "tissues[3]") & (effects["cell"] > 0)
    few = (sets["role"] == "tissues[3]") & (sets["cell"] > 0)
    reading = replace(interacting, tables={**interacting.tables, "effects": effects[~lonely], "sets": sets[~few]})
    output = mediation_bias(inputs_of(2, reading))
    summary = output.tables["mediation_summary"].set_index(["subset", "granularity", "standard_error"])
    assert summary.loc[("one_cell", "all", "independent"), "run_pairs"] == 4
    assert summary.loc[("one_cell", "all", "independent"), "rate"] == 1.0  # no standard error: anything is positive
    assert summary.loc[("all", "all", "independent"), "run_pairs"] == 12
    assert summary.loc[("more_than_one_cell", "mlp", "paired"), "run_pairs"] == 4
    assert [result.n for result in output.results] == [8, 8]
    assert json.loads(output.results[0].settings_used)["run_pairs"] == {"of_one_cell": 4, "tested": 8}
    components = output.tables["mediation_components"]
    assert components.loc[components["cells"] == 1, ["sd", "se"]].isna().all().all()
    assert components.loc[components["cells"] > 1, ["sd", "se"]].notna().all().all()
    one_cell = output.tables["mediation_run_pairs"].query("cells == 1")
    assert one_cell["total_sd"].isna().all()
    assert not one_cell["se_known"].any()
    # without a standard error 5 of 100 is no expectation
    assert summary["binomial_p"].isna().groupby("subset").all().to_dict() == {
        "all": True, "more_than_one_cell": False, "one_cell": True,
    }  # fmt: skip
    single = trace(games_of(), cells=1)
    assert {result.reason for result in mediation_bias(inputs_of(2, single)).results} == {ONE_CELL}


def test_rows_name_their_tissues_and_repeat_to_the_bit(interacting, found):
    weak = {**{role: sample(role) for role in ROLES}, "tissues[2]": sample("tissues[2]", "semi_synthetic")}
    row = results_of(mediation_bias(inputs_of(2, interacting, samples=weak)))["A02.1"]
    assert (row.dataset, row.data_origin) == ("set 1 + set 2 + set 3", "semi_synthetic")
    used = json.loads(row.settings_used)
    assert used["datasets"] == {role: f"set {role[8]}" for role in ROLES}
    assert used["components"] == K
    again = mediation_bias(inputs_of(2, interacting))
    assert again.results == found.results
    for name, table in found.tables.items():
        assert table.equals(again.tables[name])


def test_a_row_is_no_finding_where_chance_makes_as_many_bounds():
    """Parts add up in 150 run-pairs: 2**-k of those above 0 is small, the p of the row is the binomial one."""
    pairs = tuple((f"TF{n}", f"T{n}") for n in range(50))
    rng = np.random.default_rng(4)
    games = {(role, pair, "mlp"): game(rng, K["mlp"]) for role in ROLES for pair in pairs}
    reading = trace(games, cells=30, kinds=("mlp",))
    row = results_of(mediation_bias(inputs_of(2, reading, mediation_bootstrap=2)))["A02.1"]
    used = json.loads(row.settings_used)
    assert used["positive"] >= 4
    assert row.p == used["binomial_p"] == stats.binomtest(used["positive"], 150, 0.05, alternative="greater").pvalue
    assert row.p > used["signed_rank_p"] == pytest.approx(0.5 ** used["positive"])


def test_effects_read_in_other_cells_are_refused(interacting):
    samples = {**{role: sample(role) for role in ROLES}, "tissues[2]": sample("tissues[2]", cells_hash="f" * 64)}
    with pytest.raises(ValueError, match=r"other cells than those of tissues\[2\]; materialise mediation again"):
        mediation_bias(inputs_of(2, interacting, samples=samples))


def test_without_a_reading_or_cells_every_row_is_skipped_with_the_reason(interacting):
    output = mediation_bias(inputs_of(2, None, absent={"mediation": "an edge table has no components"}))
    assert {result.reason for result in output.results} == {"an edge table has no components"}
    output = mediation_bias(inputs_of(2, interacting, samples={}, absent=dict.fromkeys(ROLES, "no cells")))
    assert {(result.status, result.reason) for result in output.results} == {(Status.SKIPPED, "no cells")}


def test_a_missing_effect_is_refused(interacting):
    effects = interacting.tables["effects"]
    for broken, why in (
        (effects.iloc[1:], "an effect is missing"),
        (effects.assign(effect=effects["effect"].where(effects.index != 7)), "an effect is missing"),
        (effects[effects["component"] != 2], "lack a component"),
    ):
        with pytest.raises(ValueError, match=why):
            mediation_bias(inputs_of(2, replace(interacting, tables={**interacting.tables, "effects": broken})))

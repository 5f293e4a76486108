"""Analyses 2 and 4 on games with known interactions and on profiles with a known agreement."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import combinations, permutations
from math import comb

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.sparse import csr_matrix

from interp_assets.analyses.component_effects import run_pairs
from interp_assets.analyses.cross_tissue import cross_tissue
from interp_assets.analyses.inputs import AnalysisInputs, CellSample
from interp_assets.analyses.mediation import ONE_CELL, mediation_bias
from interp_assets.cells.outcomes import no_outcomes
from interp_assets.cells.records import PreparedCells
from interp_assets.readings.records import Reading
from interp_assets.stats.games import aggregate_interaction
from qc_standards.records import Status
from qc_standards.registry import tests_of_analysis

ROLES = ("tissues[1]", "tissues[2]", "tissues[3]")
PAIRS = (("TFA", "T1"), ("TFB", "T2"))
SETTINGS = {"mediation_bootstrap": 200, "tissue_bootstrap": 200, "tissue_permutations": 199}
K = {"mlp": 5, "heads": 12}


def game(rng, components, *, pairwise=0.0, singles=None):
    """Dividends of a game: single effects, and interactions of two components."""
    single = rng.normal(0, 1, components) if singles is None else singles
    joint = {pair: pairwise * rng.choice([-1, 1]) for pair in combinations(range(components), 2)}
    return single, joint


def value(game, members):
    single, joint = game
    return sum(single[i] for i in members) + sum(joint[pair] for pair in combinations(sorted(members), 2))


def members_of(mask):
    return [i for i in range(mask.bit_length()) if mask >> i & 1]


def orders_of(rng, components, number=4):
    drawn = np.stack([rng.permutation(components) for _ in range(number // 2)])
    return np.stack([drawn, drawn[:, ::-1]], axis=1).reshape(-1, components)


def trace(games, *, cells=12, noise=0.2, seed=0, kinds=tuple(K)):
    """Reading of games[role, pair, granularity], every effect measured with noise of its own in each cell."""
    rng = np.random.default_rng([seed, 1])
    orders = orders_of(rng, K["heads"])
    chain = {sum(1 << i for i in order[:n]) for order in orders.tolist() for n in range(1, K["heads"] + 1)}
    few = {1 << i for i in range(K["heads"])} | {
        sum(1 << i for i in s) for n in (2, 3) for s in combinations(range(5), n)
    }
    measured = {"mlp": list(range(1, 1 << K["mlp"])), "heads": sorted(chain | few)}
    effects, sets, rows = [], [], []
    for (role, pair, kind), one in games.items():
        where = {"role": role, "regulator": pair[0], "target": pair[1], "granularity": kind}
        alone = {i: value(one, [i]) for i in range(K[kind])} | {-1: value(one, range(K[kind]))}
        together = {mask: value(one, members_of(mask)) for mask in measured[kind]}
        for cell in range(cells):
            effects += [
                {**where, "component": i, "cell": cell, "effect": m + rng.normal(0, noise)} for i, m in alone.items()
            ]
        for cell in range(min(cells, 3)):
            sets += [
                {**where, "coalition": mask, "cell": cell, "effect": m + 0.1 * cell} for mask, m in together.items()
            ]
        rows.append(
            {
                **{n: where[n] for n in ("role", "regulator", "target")},
                "dataset": f"set {role[8]}",
                "reference": "net",
                "cells_hash": role[8] * 64,
            }
        )
    parts = [
        {"granularity": kind, "component": i, "name": f"{kind}.{i}", "layer": i, "heads": ""}
        for kind in kinds for i in range(K[kind])
    ]  # fmt: skip
    return Reading(
        tables={
            "effects": pd.DataFrame(effects),
            "sets": pd.DataFrame(sets),
            "run_pairs": pd.DataFrame(rows).drop_duplicates(ignore_index=True),
            "parts": pd.DataFrame(parts),
        },
        arrays={"orders_heads": orders},
        facts={"mediation_pairs": 2, "mediation_cells": cells, "reasons": {}},
    )


def games_of(seed=0, *, pairwise=0.0, kinds=tuple(K), roles=ROLES, profile=None):
    rng = np.random.default_rng([seed, 2])
    found = {}
    for role in roles:
        for pair in PAIRS:
            for kind in kinds:
                singles = None if profile is None else profile(rng, role, pair, kind)
                found[role, pair, kind] = game(rng, K[kind], pairwise=pairwise, singles=singles)
    return found


def sample(role, origin="real", fit="full", cells_hash=""):
    cells = PreparedCells(
        dataset=f"set {role[8]}", species="human", data_origin=origin,
        counts=csr_matrix((2, 2), dtype=np.int32), log=csr_matrix((2, 2), dtype=np.float32),
        genes=np.array(["A", "B"]), obs=pd.DataFrame(index=["c0", "c1"]), control=np.ones(2, dtype=bool),
        cells_hash=cells_hash or role[8] * 64, universe=np.array(["A", "B"]),
    )  # fmt: skip
    labels = replace(no_outcomes(cells), data_origin=origin)
    return CellSample(role=role, role_fit=fit, cells=cells, labels=labels, references={}, primary_reference="")


def inputs_of(number, reading, *, absent=None, samples=None, seed=0, **settings):
    held = {"mediation": reading} if isinstance(reading, Reading) else {}
    return AnalysisInputs(
        study="synthetic", release="r", tests=tests_of_analysis(number), roles={}, absent=absent or {},
        settings={**SETTINGS, **settings}, seed=seed, readings=held,
        samples={role: sample(role) for role in ROLES} if samples is None else samples,
    )  # fmt: skip


def results_of(output):
    return {result.test_id: result for result in output.results}


# Analysis 2


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


@pytest.mark.parametrize(("number", "analysis"), [(2, mediation_bias), (4, cross_tissue)])
def test_effects_read_in_other_cells_are_refused(interacting, number, analysis):
    samples = {**{role: sample(role) for role in ROLES}, "tissues[2]": sample("tissues[2]", cells_hash="f" * 64)}
    with pytest.raises(ValueError, match=r"other cells than those of tissues\[2\]; materialise mediation again"):
        analysis(inputs_of(number, interacting, samples=samples))


@pytest.mark.parametrize(("number", "analysis"), [(2, mediation_bias), (4, cross_tissue)])
def test_without_a_reading_or_cells_every_row_is_skipped_with_the_reason(interacting, number, analysis):
    output = analysis(inputs_of(number, None, absent={"mediation": "an edge table has no components"}))
    assert {result.reason for result in output.results} == {"an edge table has no components"}
    output = analysis(inputs_of(number, interacting, samples={}, absent=dict.fromkeys(ROLES, "no cells")))
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


# Analysis 4


def shared_profile(strength):
    """Components of a pair and granularity are alike in all tissues up to noise."""
    base = np.random.default_rng(77)
    profiles = {(pair, kind): base.normal(0, 1, K[kind]) for pair in PAIRS for kind in K}

    def profile(rng, role, pair, kind):
        return strength * profiles[pair, kind] + rng.normal(0, 1, K[kind]) * (1 - strength)

    return profile


def test_planted_agreement_is_found_with_its_size():
    reading = trace(games_of(profile=shared_profile(0.9)), noise=0.05)
    output = cross_tissue(inputs_of(4, reading))
    rows, table = results_of(output), output.tables["cross_tissue_effects"]
    assert len(table) == 12
    for test_id, (a, b) in {"A04.1": (1, 2), "A04.2": (1, 3), "A04.3": (2, 3)}.items():
        own = table[(table["tissue_a"] == f"tissues[{a}]") & (table["tissue_b"] == f"tissues[{b}]")]
        row = rows[test_id]
        assert row.effect == pytest.approx(own["rho"].mean())
        assert row.effect > 0.8
        assert row.p <= 0.01
        assert row.ci_low <= row.effect <= row.ci_high
        assert (row.n, row.unit) == (17, "component")
        used = json.loads(row.settings_used)
        assert abs(used["mismatched_mean_rho"]) < 0.5
        assert (used["comparisons"], len(used["rho"])) == (4, 4)
        assert row.dataset == f"set {a} + set {b}"
    assert rows["A04.4"].p <= 0.05
    assert rows["A04.4"].effect == table["rho"].abs().max()
    assert rows["A04.5"].statistic == (table["q"] <= 0.05).sum() > 0
    assert rows["A04.5"].p is None


def test_correlations_and_q_equal_scipy(interacting):
    output = cross_tissue(inputs_of(4, interacting))
    table, frame = output.tables["cross_tissue_effects"], interacting.tables["effects"]
    mean = frame[frame["component"] >= 0].groupby(["role", "regulator", "granularity", "component"])["effect"].mean()
    for _, line in table.iterrows():
        a, b = (mean[line[role], line["regulator"], line["granularity"]] for role in ("tissue_a", "tissue_b"))
        assert line["rho"] == pytest.approx(stats.spearmanr(a, b).statistic, abs=1e-12)
    np.testing.assert_allclose(table["q"], stats.false_discovery_control(table["p"]))
    summary = output.tables["cross_tissue_summary"].iloc[0]
    others = [
        stats.spearmanr(mean["tissues[1]", a, kind], mean["tissues[2]", b, kind]).statistic
        for kind in K for a, b in (("TFA", "TFB"), ("TFB", "TFA"))
    ]  # fmt: skip
    assert summary["mismatched_mean_rho"] == pytest.approx(np.mean(others))
    assert summary["mismatched_comparisons"] == 4


def test_tissues_without_anything_in_common_are_called_so():
    small = {"A04.1": 0, "A04.4": 0}
    for seed in range(40):
        reading = trace(games_of(seed, roles=ROLES[:2], kinds=("mlp",)), seed=seed, cells=2)
        rows = results_of(cross_tissue(inputs_of(4, reading, seed=seed, tissue_bootstrap=2, tissue_permutations=79)))
        for test_id in small:
            small[test_id] += rows[test_id].p <= 0.1
    # 4 expected of 40 at .1; four binomial deviations above is 11
    assert 1 <= small["A04.1"] <= 11
    assert 1 <= small["A04.4"] <= 11


def test_what_all_pairs_of_a_tissue_share_is_not_counted_once_a_pair():
    """Both pairs have one profile a tissue, unrelated between tissues: the level must hold for their mean too."""
    small = 0
    for seed in range(40):
        rng = np.random.default_rng([seed, 5])
        profiles = {(role, kind): rng.normal(0, 1, K[kind]) for role in ROLES for kind in K}
        games = games_of(seed, roles=ROLES[:2], kinds=("mlp",), profile=lambda _, role, __, kind: profiles[role, kind])  # noqa: B023
        reading = trace(games, seed=seed, cells=2, noise=0.01)
        used = {"tissue_bootstrap": 2, "tissue_permutations": 79}
        small += results_of(cross_tissue(inputs_of(4, reading, seed=seed, **used)))["A04.1"].p <= 0.1
    assert small <= 11


def test_tissues_that_are_missing_or_the_same_cells_are_not_compared(interacting):
    two = trace(games_of(roles=ROLES[:2]))
    two = replace(two, facts={**two.facts, "reasons": {"tissues[3]": "study fills no role tissues[3]"}})
    rows = results_of(cross_tissue(inputs_of(4, two)))
    assert rows["A04.1"].status is Status.RUN
    assert rows["A04.2"].reason == "tissues[1] and tissues[3] cannot be compared: study fills no role tissues[3]"
    assert rows["A04.4"].n == 4
    pairs = interacting.tables["run_pairs"].assign(cells_hash="1" * 64)
    same = replace(interacting, tables={**interacting.tables, "run_pairs": pairs})
    samples = {role: sample(role, cells_hash="1" * 64) for role in ROLES}
    for result in cross_tissue(inputs_of(4, same, samples=samples)).results:
        assert result.status is Status.SKIPPED
        assert "tissues[1] and tissues[2] hold the same cells" in result.reason
    lone = cross_tissue(inputs_of(4, trace(games_of(roles=ROLES[:1]))))
    assert "no regulator-target pair was traced in two tissues" in lone.results[0].reason


def test_components_without_any_difference_have_no_order():
    games = games_of(profile=lambda rng, role, pair, kind: np.ones(K[kind]))
    output = cross_tissue(inputs_of(4, trace(games, noise=0.0)))
    assert {result.status for result in output.results} == {Status.SKIPPED}
    assert "all mlp components have the same effect" in output.results[0].reason

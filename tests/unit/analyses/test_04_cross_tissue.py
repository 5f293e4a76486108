"""Analysis 4 on profiles of components with a known agreement between tissues."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from interp_assets.analyses.cross_tissue import cross_tissue
from qc_standards.records import Status
from tests.unit.analyses.mediation_world import PAIRS, ROLES, K, games_of, inputs_of, results_of, sample, trace


@pytest.fixture(scope="module")
def interacting():
    return trace(games_of(pairwise=1.0))


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


def test_effects_read_in_other_cells_are_refused(interacting):
    samples = {**{role: sample(role) for role in ROLES}, "tissues[2]": sample("tissues[2]", cells_hash="f" * 64)}
    with pytest.raises(ValueError, match=r"other cells than those of tissues\[2\]; materialise mediation again"):
        cross_tissue(inputs_of(4, interacting, samples=samples))


def test_without_a_reading_or_cells_every_row_is_skipped_with_the_reason(interacting):
    output = cross_tissue(inputs_of(4, None, absent={"mediation": "an edge table has no components"}))
    assert {result.reason for result in output.results} == {"an edge table has no components"}
    output = cross_tissue(inputs_of(4, interacting, samples={}, absent=dict.fromkeys(ROLES, "no cells")))
    assert {(result.status, result.reason) for result in output.results} == {(Status.SKIPPED, "no cells")}

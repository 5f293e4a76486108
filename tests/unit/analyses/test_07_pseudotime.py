"""Analysis 7: regulators that move first are found, those that do not are not, and chance is what shuffles give."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from interp_assets.analyses.inputs import AnalysisInputs, CellSample
from interp_assets.analyses.pseudotime import pseudotime_directionality
from interp_assets.analyses.trajectories import lineage, signed_pairs
from interp_assets.cells.dataset_records import DatasetSpec
from interp_assets.cells.outcomes import no_outcomes
from interp_assets.cells.simulated_trajectory import TRUTH, simulate, simulated_reference
from qc_standards.records import Status
from qc_standards.registry import tests_of_analysis

NETWORK = pd.DataFrame({"tf": [f"T{i:03d}" for i in range(200)], "target": [f"Y{i:03d}" for i in range(200)]})
SETTINGS = {
    "bootstrap": 50,
    "directionality_pairs": 24,
    "pseudotime_bins": 50,
    "pseudotime_lags": 10,
    "pseudotime_weak": 0.2,
    "pseudotime_shuffles": 99,
    "random_pair_sets": 99,
}


def trajectory(number=1, **knobs):
    spec = DatasetSpec(
        id=f"line{number}",
        title="",
        kind="simulated",
        species="human",
        data_origin="simulated",
        licence="",
        file=None,
        planted_network="network",
        simulated={"seed": number, "pairs": 16, "background": 200, **knobs},
    )
    cells = simulate(spec, NETWORK)
    return CellSample(
        role=f"trajectory[{number}]",
        role_fit="partial",
        cells=cells,
        labels=no_outcomes(cells),
        references={"planted": simulated_reference(spec, NETWORK, cells.universe, "planted")},
        primary_reference="planted",
    )


def run(*samples, **changes):
    inputs = AnalysisInputs(
        study="synthetic",
        release="release",
        tests=tests_of_analysis(7),
        roles={},
        samples={sample.role: sample for sample in samples},
        settings={**SETTINGS, **changes},
    )
    return pseudotime_directionality(inputs)


def with_obs(sample, **columns):
    return replace(sample, cells=replace(sample.cells, obs=sample.cells.obs.assign(**columns)))


@pytest.fixture(scope="module")
def half():
    return trajectory(1, leading_share=0.5)


@pytest.fixture(scope="module")
def found(half):
    return run(half, trajectory(2, leading_share=0.25))


def test_the_share_of_leading_pairs_is_recovered(found):
    rate, score, random, first, second, third = found.results
    assert first.effect == pytest.approx(0.5, abs=1 / 16)
    assert second.effect == pytest.approx(0.25, abs=1 / 16)
    assert rate.effect == pytest.approx((first.effect + second.effect) / 2)
    assert (rate.n, first.n) == (32, 16)
    assert rate.p == score.p == 1 / 100
    assert score.effect > 3
    assert random.p <= 0.05
    assert first.p is None
    assert third.status is Status.SKIPPED
    assert "fills no role trajectory[3]" in third.reason
    assert "trajectory[3] left out" in rate.reason
    assert (rate.dataset, rate.data_origin, rate.role_fit) == ("line1 + line2", "simulated", "partial")


def test_the_planted_lag_is_read_off(found):
    """A delay of .06 of the way is three of fifty bins."""
    pairs = found.tables["pseudotime_pairs"].query("consistent")
    assert pairs["peak_lag"].between(1, 5).all()
    assert pairs["peak_lag"].median() == 3


def test_pairs_that_move_together_are_simultaneous():
    output = run(trajectory(3, leading_share=0.0))
    assert output.results[0].effect <= 1 / 16
    assert output.results[1].p > 0.05
    outcomes = output.tables["pseudotime_outcomes"].query("scope == 'all'").set_index("outcome")
    assert outcomes.loc["simultaneous", "share"] > 0.9


def test_noise_is_consistent_at_the_rate_of_chance(half):
    """Targets with nothing of their regulator: the observed rate is inside what random pairs give."""
    p = []
    for seed in range(5):
        genes = half.cells.universe
        rng = np.random.default_rng(seed)
        other = rng.permutation(np.arange(32, genes.size))[:32]
        reference = replace(
            half.references["planted"],
            source=other[:16].astype(np.int32),
            target=other[16:].astype(np.int32),
            direction=rng.choice(np.array([1, -1], dtype=np.int8), 16),
        )
        output = run(replace(half, references={"planted": reference}))
        p.append(output.results[2].p)
        table = output.tables["pseudotime_null"].query("scope == 'all' and statistic == 'consistency_rate'")
        assert 0.05 < table.set_index("null").loc["random_pairs", "null_mean"] < 0.4
    assert sum(value <= 0.05 for value in p) <= 1


def test_the_truth_is_never_read(half, found):
    scrambled = with_obs(half, **{TRUTH: np.random.default_rng(0).random(600)})
    assert run(scrambled).results[0].effect == run(half).results[0].effect
    dropped = replace(half, cells=replace(half.cells, obs=half.cells.obs.drop(columns=TRUTH)))
    assert run(dropped).results[3].effect == found.results[3].effect


def test_tested_and_random_genes_take_no_part_in_the_order(half):
    """Destroying every gene under test leaves the order of the cells as it was."""
    one = lineage(half, SETTINGS)
    tested = np.isin(half.cells.genes, one.table[["tf", "target"]].to_numpy().ravel())
    log = half.cells.log.toarray()
    rng = np.random.default_rng(0)
    for gene in np.flatnonzero(tested):
        log[:, gene] = rng.permutation(log[:, gene])
    from scipy.sparse import csr_matrix

    other = lineage(replace(half, cells=replace(half.cells, log=csr_matrix(log))), SETTINGS)
    np.testing.assert_array_equal(one.order, other.order)
    assert one.facts["genes_ordering"] + one.facts["genes_tested"] + one.facts["genes_reserved"] == 232
    assert one.facts["early_first"] > 0.95


def test_a_stored_pseudotime_is_shown_beside(half):
    truth = half.cells.obs[TRUTH].map("{:.6f}".format)
    output = run(with_obs(half, pseudotime=truth))
    shown = output.tables["pseudotime_pairs"]
    assert set(shown["pseudotime"]) == {"computed", "stored"}
    assert output.results[0].effect == run(half).results[0].effect
    assert output.tables["pseudotime_lineages"]["spearman_with_stored"].iloc[0] > 0.98
    assert set(run(half).tables["pseudotime_pairs"]["pseudotime"]) == {"computed"}


def test_pairs_are_chosen_by_detection_alone(half):
    genes, detected = half.cells.genes, np.linspace(0.04, 1.0, half.cells.genes.size)
    table = signed_pairs(half, genes, detected, 5)
    assert len(table) == 5
    share = dict(zip(genes, detected, strict=True))
    rarer = [min(share[tf], share[target]) for tf, target in zip(table["tf"], table["target"], strict=True)]
    assert rarer == sorted(rarer, reverse=True)
    assert signed_pairs(half, genes, np.zeros(genes.size), 5).startswith("line1: 0 pairs of known direction")


def test_tables_hold_every_pair_lag_and_draw(found):
    assert len(found.tables["pseudotime_lags"]) == 32 * 21
    draws = found.tables["pseudotime_draws"]
    assert len(draws) == 3 * 2 * (99 + 99)
    null = found.tables["pseudotime_null"].set_index(["scope", "null", "statistic"])
    whole = draws.query("scope == 'all' and null == 'shuffled' and statistic == 'mean_score'")["value"]
    assert null.loc[("all", "shuffled", "mean_score"), "null_mean"] == pytest.approx(whole.mean())
    observed = null.loc[("all", "shuffled", "mean_score"), "observed"]
    assert found.results[1].effect == pytest.approx((observed - whole.mean()) / whole.std())
    outcomes = found.tables["pseudotime_outcomes"].query("scope == 'all'")
    assert outcomes["n_pairs"].sum() == 32
    assert outcomes[["share", "share_shuffled", "share_random_pairs"]].sum().to_numpy() == pytest.approx(1.0)
    for name, table in found.tables.items():
        assert set(table["data_origin"]) == {"simulated"}, name
    named = null.groupby("scope")["dataset"].unique().explode().to_dict()
    assert named == {"all": "line1 + line2", "trajectory[1]": "line1", "trajectory[2]": "line2"}
    told = json.loads(found.results[0].settings_used)
    assert told["cells_in_several_lineages"] == 0
    assert ["bootstrap" in json.loads(row.settings_used) for row in found.results[:5]] == [
        True,
        False,
        True,
        True,
        True,
    ]
    assert set(told["lineages"]) == {"trajectory[1]", "trajectory[2]"}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda s: replace(s, cells=replace(s.cells, obs=s.cells.obs.drop(columns="early"))), "cells.early"),
        (lambda s: with_obs(s, early="no"), "0 of 600 cells are early"),
        (lambda s: replace(s, cells=replace(s.cells, control=np.arange(600) < 100)), "50 bins need 150"),
        (
            lambda s: replace(s, references={"planted": replace(s.references["planted"], direction=None)}),
            "no reference states directions",
        ),
        (lambda s: replace(s, references={}), "no reference states directions"),
    ],
)
def test_what_cannot_be_tested_is_skipped_with_its_reason(half, change, told):
    output = run(change(half))
    assert all(result.status is Status.SKIPPED for result in output.results)
    assert told in output.results[0].reason


def test_too_few_genes_to_order_the_cells(half):
    assert "variable genes are left" in run(trajectory(background=60)).results[0].reason


def test_a_dataset_in_two_roles_counts_once(half):
    output = run(half, replace(half, role="trajectory[2]"))
    rate, second = output.results[0], output.results[4]
    assert (rate.n, rate.dataset) == (16, "line1")
    assert (second.status, second.reason) == (Status.SKIPPED, "same as trajectory[1]")


def test_cells_of_two_lineages_are_counted_and_the_weakest_origin_is_told(half):
    other = trajectory(2)
    obs = other.cells.obs.set_axis([*half.cells.obs.index[:7], *other.cells.obs.index[7:]])
    other = replace(other, cells=replace(other.cells, obs=obs), labels=replace(other.labels, data_origin="real"))
    output = run(half, other)
    assert json.loads(output.results[0].settings_used)["cells_in_several_lineages"] == 7
    assert [row.data_origin for row in output.results[:5]] == ["simulated"] * 4 + ["real"]
    outcomes = output.tables["pseudotime_outcomes"].set_index("scope")["data_origin"]
    assert set(outcomes["all"]) == {"simulated"}
    assert set(outcomes["trajectory[2]"]) == {"real"}


def test_it_is_the_same_twice(half, found):
    again = run(half, trajectory(2, leading_share=0.25))
    assert [result.p for result in again.results] == [result.p for result in found.results]
    pd.testing.assert_frame_equal(again.tables["pseudotime_draws"], found.tables["pseudotime_draws"])

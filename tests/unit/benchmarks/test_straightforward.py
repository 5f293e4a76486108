"""The straightforward twins of our statistics give our numbers, and a number that is not ours is refused."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from benchmarks.straightforward.clock import Clock, DisagreementError, Parts, Stand, difference, found_at, standing_in
from benchmarks.straightforward.stands import stands
from interp_assets.analyses.cssi_attention import JudgedAttention
from interp_assets.analyses.cssi_designs import scored_dataset
from interp_assets.stats import ranking, resampling
from interp_assets.stats.crossfit import Boosting, Logistic, plan_folds
from interp_assets.stats.cssi import AGGREGATORS
from interp_assets.stats.fit_memory import FitMemory
from interp_assets.stats.incremental import CandidatePairs, remembered_scores
from interp_assets.stats.nulls import network, rank_pairs
from interp_assets.stats.resampling import group_weights
from interp_assets.stats.state_mixtures import multi_state

Case = tuple[tuple[Any, ...], dict[str, Any]]


def rows() -> tuple[np.ndarray, np.ndarray]:
    """Scores with ties and labels of seven rows; one row lacks a class, one has pairs that are no candidates."""
    rng = np.random.default_rng(0)
    scores, labels = np.round(rng.normal(size=(7, 40)), 1), (rng.random((7, 40)) < 0.3).astype(np.int8)
    labels[2] = 0
    labels[3, ::3] = -1
    return scores, labels


def pairs_of_groups() -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(1)
    groups = np.repeat(np.arange(6), 30)
    label = (rng.random(180) < 0.2).astype(np.int64)
    return np.round(rng.normal(size=180) + label, 1), label, groups, group_weights(6, 12, rng)


def rewired() -> Case:
    rng = np.random.default_rng(2)
    regulators = np.arange(0, 40, 5)
    member = rng.random((8, 40)) < 0.3
    member[np.arange(8), regulators] = False
    return (rank_pairs(rng.normal(size=(8, 40)) + member, regulators), network(member, regulators), rng, 4), {}


def fitted(learner: Any) -> Case:
    rng = np.random.default_rng(3)
    at = np.arange(400)
    plan = plan_folds("perturbation", at // 20, at % 20, folds=4, seed=[0])
    features = rng.normal(size=(400, 3))
    positive = features[:, 0] + rng.normal(size=400) > 1
    return (features, positive if learner else features @ [1.0, 2.0, 0.0], plan, learner), {}


def gained() -> Case:
    rng = np.random.default_rng(4)
    at = np.arange(300)
    positive = rng.random(300) < 0.2
    pairs = CandidatePairs(perturbation=at // 30, target=at % 30, source=at // 30, positive=positive)
    scores = (rng.normal(size=300) + positive, rng.normal(size=300) + 2 * positive)
    return (*scores, pairs), {"recall_at": [5], "resamples": 6, "seed": [1], "memory": FitMemory()}


def screened() -> Case:
    rng = np.random.default_rng(5)
    log = csr_matrix(np.log1p(rng.poisson(0.7, (120, 15)) * (1 + rng.random((120, 1)))))
    group = rng.integers(-1, 3, 120)
    return (log, group, group == -1, np.array([4, -1, 7])), {}


def clustered() -> Case:
    rng = np.random.default_rng(7)
    return (rng.normal(size=(60, 4)) + 4 * rng.integers(0, 3, (60, 1)), 3, rng), {}


def judged() -> Case:
    """Attention of 30 cells on 40 pairs; the last cells belong to no stratum."""
    rng = np.random.default_rng(8)
    cell, pair = np.nonzero(rng.random((30, 40)) < 0.6)
    held = JudgedAttention(
        sample=None, reference="", cells=30, cell=cell, pair=pair, unseen=0, oracle=None, method="",
        value=rng.random((3, cell.size)).astype(np.float32), true=rng.random(40) < 0.3,
        estimated=np.zeros(30, dtype=np.int64), embedding=np.zeros((30, 2), dtype=np.float32),
    )  # fmt: skip
    labels = np.where(np.arange(30) < 27, rng.integers(0, 3, 30), -1)
    return (held, labels, [0, 2], held.pooled([0, 2]), AGGREGATORS, 5), {}


def stratified() -> Case:
    rng = np.random.default_rng(6)
    data = scored_dataset(multi_state(rng, 120, 3))
    return (data, rng.integers(0, 3, (5, 120)), 3, 20), {}


CASES: dict[str, Callable[[], Case]] = {
    "ranking:RankedRows.auroc": lambda: ((ranking.rank_rows(rows()[0]), rows()[1]), {}),
    "ranking:RankedRows.average_precision": lambda: ((ranking.rank_rows(rows()[0][0]), rows()[1]), {}),
    "ranking:auroc": lambda: (rows(), {}),
    "ranking:average_precision": lambda: ((rows()[0][0], rows()[1]), {}),
    "resampling:grouped_auroc_bootstrap": lambda: (pairs_of_groups(), {}),
    "resampling:grouped_average_precision_bootstrap": lambda: (pairs_of_groups(), {}),
    "nulls:curveball_null": rewired,
    "nulls:label_shuffle_null": rewired,
    "incremental:paired_gains": gained,
    "crossfit:out_of_fold_scores": lambda: fitted(Logistic()),
    "crossfit:out_of_fold_means": lambda: fitted(None),
    "incremental:remembered_scores": lambda: ((*fitted(Boosting(iterations=5))[0], FitMemory()), {}),
    "differential:differential_expression": screened,
    "differential:rank_sum_expression": screened,
    "cssi_designs:recovered": stratified,
    "cssi_attention:JudgedAttention.recovered": judged,
    "kmeans:kmeans_labels": clustered,
}


def stand_of(name: str) -> Stand:
    return next(each for each in stands() if each.fast.endswith(f".{name}"))


@pytest.mark.parametrize("name", CASES)
def test_every_part_of_a_twin_gives_our_number(name: str) -> None:
    stand, clock = stand_of(name), Clock(full=True)
    given, named = CASES[name]()
    clock.call(stand, found_at(stand.fast)[2], given, named)
    clock.require_agreement()
    (seen,) = clock.counted.values()
    assert seen.parts_done == seen.parts > 0
    assert seen.worst <= stand.tolerance


@pytest.mark.parametrize("name", sorted(set(CASES) - {"incremental:paired_gains"}))
def test_another_number_than_ours_is_refused(name: str) -> None:
    """The bootstrap of gains is left out: its draws are in no result, and are made again for the comparison."""
    stand = stand_of(name)
    given, named = CASES[name]()

    def wrong(*one: Any, **more: Any) -> Any:
        return moved(found_at(stand.fast)[2](*one, **more))

    clock = Clock(full=True)
    clock.call(stand, wrong, given, named)
    with pytest.raises(DisagreementError, match=r"part \d+: differs by"):
        clock.require_agreement()


def moved(found: Any) -> Any:
    """A result a little beside the right one."""
    if isinstance(found, np.ndarray):
        return found * 1.01 + 1e-2 if found.dtype.kind == "f" else np.zeros_like(found)
    field = next(name for name in ("draws", "t", "auroc") if hasattr(found, name))
    value = getattr(found, field)
    return replace(
        found,
        **{field: {name: moved(each) for name, each in value.items()} if isinstance(value, dict) else moved(value)},
    )


def test_every_stand_is_tried_here_or_beside_a_model() -> None:
    names = {each.fast.rpartition(".interp")[2] for each in stands()}
    models = ("attention", "interventions", "readings")
    tried = {name for name in names if any(name.endswith(f".{case}") for case in CASES)}
    assert {name.split(".")[1] for name in names - tried} <= {"models", *models}


def test_calls_within_a_counted_function_count_to_it() -> None:
    scores, labels = rows()
    with standing_in([stand_of("ranking:auroc"), stand_of("ranking:RankedRows.auroc")], Clock()) as clock:
        found = ranking.auroc(scores, labels)
    assert [seen.calls for seen in clock.counted.values()] == [1]
    assert np.array_equal(found, ranking.auroc(scores, labels), equal_nan=True)


def test_modules_that_hold_a_function_by_name_are_counted_and_get_it_back() -> None:
    from interp_assets.stats import incremental

    fast = resampling.grouped_auroc_bootstrap
    with standing_in([stand_of("resampling:grouped_auroc_bootstrap")], Clock()) as clock:
        assert incremental.grouped_auroc_bootstrap is not fast
        incremental.grouped_auroc_bootstrap(*pairs_of_groups())
    assert incremental.grouped_auroc_bootstrap is resampling.grouped_auroc_bootstrap is fast
    assert [seen.calls for seen in clock.counted.values()] == [1]


def test_a_share_of_the_parts_tells_the_time_of_all() -> None:
    """Forty parts of five milliseconds each, of which about a quarter is done."""

    def part(number: int) -> int:
        until = time.process_time() + 0.005
        while time.process_time() < until:
            pass
        return number

    stand = Stand(fast="there", twin=lambda: Parts(count=40, part=part, ours=lambda found, n: n), topic="test")
    clock = Clock(a_call=0.05)
    clock.call(stand, lambda: None, (), {})
    seen = clock.counted["there"]
    assert seen.parts_done < seen.parts == 40
    assert seen.straightforward == pytest.approx(0.2, rel=0.2)
    assert clock.spent >= seen.plain_spent


def test_what_a_call_remembers_is_counted_by_its_size() -> None:
    """A result that is kept takes us no time; the straightforward way computes it again."""
    memory, (given, _) = FitMemory(), fitted(Logistic())
    stand, clock = stand_of("incremental:remembered_scores"), Clock(full=True)
    clock.call(stand, remembered_scores, (*given, memory), {})
    once = next(iter(clock.counted.values())).straightforward
    clock.full, clock.share, clock.a_call = False, 0.0, 0.0
    clock.call(stand, remembered_scores, (*given, memory), {})
    seen = clock.counted[f"{stand.fast} (logistic)"]
    assert (seen.calls, seen.calls_done) == (2, 1)
    assert seen.straightforward == pytest.approx(2 * once)


def test_generators_of_random_numbers_are_given_as_ours_found_them() -> None:
    rng, clock = np.random.default_rng(0), Clock()
    stand = Stand(
        fast="there",
        twin=lambda rng: Parts(count=1, part=lambda _: rng.random(), ours=lambda found, _: found),
        topic="test",
    )
    found = [clock.call(stand, lambda rng: rng.random(), (rng,), {}) for _ in range(3)]
    clock.require_agreement()
    assert len(set(found)) == 3


@pytest.mark.parametrize(
    ("ours", "theirs", "gap"),
    [
        ([1.0, np.nan], [1.0, np.nan], 0.0),
        ([1.0, np.nan], [np.nan, 1.0], np.inf),
        ({"a": 1.0, "more": 2.0}, {"a": 1.5}, 1 / 3),
        ((1.0, 2.0), (1.0,), np.inf),
        (np.zeros(2), np.zeros(3), np.inf),
        ([np.inf], [np.inf], 0.0),
        ([1000.0], [1001.0], 1 / 1001),
    ],
)
def test_differences_are_beside_the_size_and_missing_equals_missing(ours: Any, theirs: Any, gap: float) -> None:
    assert difference(ours, theirs) == pytest.approx(gap)

"""Conditions of models of any shape: names, sizes, pools and what lies before the read-out, from the parts alone."""

from __future__ import annotations

from itertools import pairwise, permutations

import numpy as np
import pytest

from interp_assets.edges.layers import resolve_layer
from interp_assets.interventions.conditions import (
    DOSES,
    HeadTable,
    entropy_matched,
    heads_for,
    plan_conditions,
    published_layer,
)

SHAPES = [(18, 18), (8, 8), (4, 4), (2, 8), (2, 1), (1, 4), (1, 1)]
SETS = 5
PUBLISHED = [
    *("top-5", "top-10", "top-20", "top-50", "bottom-5", "bottom-10", "composite-5", "composite-10"),
    *("entropy-matched-5", "random-5/1", "random-5/2", "random-5/3", "random-10/1", "random-20/1", "random-50/1"),
    *("uniform-top-5", "uniform-top-10", "uniform-random-10/1", "layer-14", "mlp-15", "mlp-13-15", "mlp-8"),
]


def table(shape, seed=0):
    rng = np.random.default_rng(seed)
    return HeadTable(reference=rng.random(shape), screen=rng.random(shape), entropy=rng.random(shape))


def planned(shape, seed=0, sets=SETS):
    return plan_conditions(table(shape), resolve_layer(13 / 17, shape[0]), sets, seed)


def by_name(shape, **how):
    return {condition.name: condition for condition in planned(shape, **how)}


def best_first(values):
    return [divmod(int(at), values.shape[1]) for at in np.argsort(-values.ravel(), kind="stable")]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_published_conditions_are_there_once_and_first(shape):
    names = [condition.name for condition in planned(shape)]
    assert len(set(names)) == len(names)
    expected = [name for name in PUBLISHED if shape != (1, 1) or name != "entropy-matched-5"]
    assert names[: len(expected)] == expected
    assert all(name.startswith("upstream-") for name in names[len(expected) :])


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_where_a_condition_stands_follows_from_its_parts(shape):
    read_out = resolve_layer(13 / 17, shape[0])
    for condition in planned(shape):
        layers = [int(part.removeprefix("mlp.").split(".")[0]) for part in condition.parts.split(";")]
        assert len(set(condition.parts.split(";"))) == condition.size == len(layers), condition.name
        assert condition.first_layer == min(layers)
        assert condition.upstream_parts(read_out) == sum(layer < read_out for layer in layers)
        assert condition.upstream_parts(shape[0] - 1) == sum(layer < shape[0] - 1 for layer in layers)
        if condition.pool == "upstream":
            assert max(layers) < read_out
        condition.intervention.check(*shape)
        changed = {"zero_heads": "zero", "uniform_attention": "uniform", "zero_mlp": "mlp"}[condition.operation]
        assert {name for name in ("zero", "uniform", "mlp") if getattr(condition.intervention, name)} == {changed}
        assert condition.uses_outcomes == (condition.family == "composite")
        assert (condition.draw > 0) == (condition.family == "random") == ("/" in condition.name)
        assert (condition.dose == 0) == (condition.family in {"layer", "mlp"})


@pytest.mark.parametrize(
    ("total", "sizes"),
    [(324, [5, 10, 20, 50]), (64, [1, 2, 4, 10]), (16, [1, 1, 1, 2]), (1, [1] * 4), (144, [2, 4, 9, 22])],
)
def test_numbers_of_heads_are_shares_of_324_and_at_least_one(total, sizes):
    assert [heads_for(dose, total) for dose in DOSES] == sizes


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_heads_are_the_best_and_the_worst_by_what_they_are_ranked_by(shape):
    found, ranks = by_name(shape), table(shape)
    best, worst = best_first(ranks.reference), best_first(-ranks.reference)
    both = best_first(ranks.reference * ranks.screen)
    upstream = [head for head in best if head[0] < resolve_layer(13 / 17, shape[0])]
    for dose in DOSES:
        size = heads_for(dose, shape[0] * shape[1])
        assert set(found[f"top-{dose}"].heads) == set(best[:size])
        if dose <= 10:
            assert set(found[f"bottom-{dose}"].heads) == set(worst[:size])
            assert set(found[f"composite-{dose}"].heads) == set(both[:size])
            assert found[f"uniform-top-{dose}"].intervention.uniform == found[f"top-{dose}"].intervention.zero
        if f"upstream-top-{dose}" in found:
            assert set(found[f"upstream-top-{dose}"].heads) == set(upstream[:size])
    assert found["uniform-random-10/1"].intervention.uniform == found["random-10/1"].intervention.zero
    if shape == (18, 18):
        drawn = {found[f"random-5/{number}"].heads for number in (1, 2, 3)}
        assert len(drawn) == 3


def test_ties_go_by_layer_then_head():
    flat = HeadTable(reference=np.full((3, 2), 0.5), screen=np.ones((3, 2)), entropy=np.ones((3, 2)))
    assert flat.ranked(flat.reference) == [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_dose_is_left_out_where_it_would_take_the_whole_pool(shape):
    read_out = resolve_layer(13 / 17, shape[0])
    names = set(by_name(shape))
    for dose in DOSES:
        there = heads_for(dose, shape[0] * shape[1]) < read_out * shape[1]
        for name in (f"upstream-top-{dose}", *(f"upstream-random-{dose}/{n}" for n in range(1, SETS + 1))):
            assert (name in names) == there, name
        assert (f"upstream-uniform-top-{dose}" in names) == (there and dose in {5, 10})
    expected = {(18, 18): 26, (8, 8): 26, (4, 4): 26, (2, 8): 26, (2, 1): 0, (1, 4): 0, (1, 1): 0}
    assert sum(name.startswith("upstream") for name in names) == expected[shape]


@pytest.mark.parametrize("shape", [(18, 18), (8, 8)], ids=str)
def test_random_sets_are_nested_differ_and_follow_the_seed_alone(shape):
    found = by_name(shape, sets=20)
    for number in range(1, 21):
        sets = [set(found[f"upstream-random-{dose}/{number}"].heads) for dose in DOSES]
        assert all(small < large for small, large in pairwise(sets))
    for dose in DOSES[2:]:
        assert len({found[f"upstream-random-{dose}/{number}"].heads for number in range(1, 21)}) == 20
    assert planned(shape) == planned(shape)
    again, other = by_name(shape, sets=3), by_name(shape, seed=1, sets=20)
    random = [name for name in found if "random" in name]
    assert all(found[name] == again[name] for name in random if name in again), "more sets change no earlier one"
    assert all(found[name] == other[name] for name in found if name not in random)
    assert sum(found[name] != other[name] for name in random if "50" in name) > 15


def test_random_sets_cover_the_pool_evenly():
    drawn = [c for c in planned((8, 8), sets=400) if c.pool == "upstream" and c.family == "random" and c.dose == 20]
    taken = np.zeros((8, 8))
    for condition in drawn:
        for head in condition.heads:
            taken[head] += 1
    # 400 sets of 4 among 40 heads: 40 expected a head, sd 6
    assert not taken[5:].any()
    assert np.abs(taken[:5] - 40).max() < 5 * 6


def test_layers_are_relative_depths_and_fall_together_in_shallow_models():
    assert [published_layer(layer, 18) for layer in (8, 13, 14, 15)] == [8, 13, 14, 15]
    assert [published_layer(layer, 12) for layer in (8, 13, 14, 15)] == [5, 8, 9, 10]
    assert by_name((18, 18))["mlp-13-15"].intervention.mlp == (13, 14, 15)
    assert by_name((8, 8))["mlp-13-15"].intervention.mlp == (5, 6)
    assert by_name((1, 4))["mlp-13-15"].intervention.mlp == (0,)
    assert by_name((8, 8))["layer-14"].heads == tuple((6, head) for head in range(8))


@pytest.mark.parametrize("seed", range(12))
def test_entropy_matching_is_the_best_of_all_assignments(seed):
    rng = np.random.default_rng(seed)
    entropy = rng.integers(0, 6, (2, 4)).astype(float) if seed % 2 else rng.random((2, 4))
    chosen = [(int(at // 4), int(at % 4)) for at in rng.permutation(8)[: 1 + seed % 4]]
    others = [(layer, head) for layer in range(2) for head in range(4) if (layer, head) not in chosen]

    def gap(heads):
        return sum(abs(entropy[one] - entropy[other]) for one, other in zip(chosen, heads, strict=True))

    found = entropy_matched(entropy, chosen)
    assert len(set(found)) == len(chosen)
    assert not set(found) & set(chosen)
    assert gap(found) == pytest.approx(min(map(gap, permutations(others, len(chosen)))))
    if not seed % 2:
        assert set(entropy_matched(entropy, chosen[::-1])) == set(found)


def test_more_heads_than_others_cannot_be_matched():
    with pytest.raises(ValueError, match="2 heads cannot be matched: only 1 others exist"):
        entropy_matched(np.ones((1, 3)), [(0, 0), (0, 1)])

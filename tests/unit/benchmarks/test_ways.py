"""Fast ways agree with their slow twins on small data, and a wrong result is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks import attention, correlation, nulls, rank_sum, ranking, regulators

SMALL = {
    "curveball against sets": lambda: nulls.by_sets(networks=20, of=40, size=(25, 90, 10)),
    "curveball against igraph": lambda: nulls.by_igraph(networks=20, of=40, size=(25, 90, 10)),
    "label shuffles": lambda: nulls.by_shuffles(shuffles=40, of=80, size=(25, 90, 10)),
    "Spearman matrix": lambda: correlation.by_scipy(cells=40, genes=25),
    "AUROC by perturbation": lambda: ranking.by_perturbation(layers=2, perturbations=4, genes=200),
    "bootstrap of AUROC": lambda: ranking.by_resampling(draws=3, of=5, groups=7, genes=60),
    "bootstrap of a difference": lambda: ranking.by_paired_resampling(draws=3, of=5, groups=7, genes=60),
    "bootstrap of regulators": lambda: regulators.by_regulator(draws=20, of=40, regulators=5, genes=60),
    "parts of a reference": lambda: regulators.by_part(draws=20, of=40, regulators=8, genes=90),
    "rank sums": lambda: rank_sum.by_scipy(cells=200, genes=12, groups=3),
}


def off_by_a_little(result):
    return tuple(each + 0.1 for each in result) if isinstance(result, tuple) else np.asarray(result) + 0.1


@pytest.mark.parametrize("make", SMALL.values(), ids=SMALL)
def test_the_fast_way_agrees_with_its_twin_and_a_wrong_result_does_not(make):
    ways = make()
    ours, theirs = ways.ours(), ways.theirs()
    assert ways.agree(ours, theirs)
    with pytest.raises(AssertionError):
        ways.agree(off_by_a_little(ours), theirs)


@pytest.mark.parametrize("heads", ["all", "mean"])
def test_attention_agrees_with_eager_outputs_and_wrong_sums_do_not(heads):
    size = replace(attention.of_size("SHORT"), layers=2, genes=50, tokens=(24, 30), cells=3)
    ways = attention.beside_forward(size, heads)
    sums = ways.ours().copy()
    assert ways.agree(sums, ways.theirs())
    sums[1, 3, 4] += 2e-6
    with pytest.raises(AssertionError, match="differ"):
        ways.agree(sums, None)


@pytest.mark.parametrize("way", ["eager", "listed"])
def test_both_eager_ways_give_the_sums_of_the_extraction(way):
    size = replace(attention.of_size("SHORT"), layers=2, genes=50, tokens=(24, 30), cells=3)
    ways = attention.beside_eager(size, way)
    assert ways.agree(ways.ours(), ways.theirs())

"""Null networks straightforwardly: labels permuted and scored by scikit-learn, targets traded between Python sets.

The draws are ours: random numbers are taken from the same generator in the same order.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score

from benchmarks.straightforward.clock import Parts
from interp_assets.stats.nulls import FEWEST_TRADES, Network, NullTest, RankedPairs, tradeable_regulators


def curveball_null(
    ranked: RankedPairs,
    net: Network,
    rng: np.random.Generator,
    networks: int,
    *,
    trades_per_regulator: int = FEWEST_TRADES,
) -> Parts:
    """`nulls.curveball_null`: a rewired network a part, its AUROC and its distance from the original."""
    rows = tradeable_regulators(net)
    candidate = ranked.rank > 0.0
    score, regulators = ranked.rank[candidate], net.regulator.tolist()
    held = [net.target[net.start[row] : net.start[row + 1]].tolist() for row in range(net.regulator.size)]

    def part(_: int) -> float:
        targets = traded(held, regulators, rows.tolist(), rng, trades_per_regulator)
        label = np.zeros(candidate.shape, dtype=np.int8)
        distance = 0.0
        for row, (before, after) in enumerate(zip(held, targets, strict=True)):
            label[row, after] = 1
            one, other = set(before), set(after)
            distance += 1 - len(one & other) / len(one | other)
        return float(roc_auc_score(label[candidate], score))

    def ours(found: NullTest, number: int) -> float:
        return float(found.draws[number])

    return Parts(count=networks if rows.size > 1 else 0, part=part, ours=ours, in_order=True)


def traded(
    held: list[list[int]], regulators: list[int], rows: list[int], rng: np.random.Generator, trades: int
) -> list[list[int]]:
    """Targets of every regulator after trades between random pairs of ``rows``, with sets (see `nulls.curveball`)."""
    targets = [list(each) for each in held]
    first = rng.integers(0, len(rows), trades * len(rows))
    second = rng.integers(0, len(rows) - 1, first.size)
    second += second >= first
    for a, b in zip(first.tolist(), second.tolist(), strict=True):
        one, other = rows[a], rows[b]
        mine, theirs = set(targets[one]), set(targets[other])
        given = [gene for gene in targets[one] if gene not in theirs and gene != regulators[other]]
        taken = [gene for gene in targets[other] if gene not in mine and gene != regulators[one]]
        pool = given + taken
        others = (rng.random(max(len(pool) - 1, 0)) * np.arange(len(pool), 1, -1)).astype(int).tolist()
        for i, j in zip(range(len(pool) - 1, 0, -1), others, strict=True):
            pool[i], pool[j] = pool[j], pool[i]
        out, back = set(given), set(taken)
        dealt = iter(pool)
        targets[one] = [next(dealt) if gene in out else gene for gene in targets[one]]
        targets[other] = [next(dealt) if gene in back else gene for gene in targets[other]]
    return targets


def label_shuffle_null(ranked: RankedPairs, net: Network, rng: np.random.Generator, shuffles: int) -> Parts:
    """`nulls.label_shuffle_null`: the number of positives dealt to random pairs, scored by scikit-learn."""
    score = ranked.rank[ranked.rank > 0.0]
    order, positives = list(range(score.size)), int(net.target.size)

    def part(_: int) -> float:
        # A partial shuffle of positions, as ours; a plain permutation would take other random numbers.
        places = np.arange(positives)
        for i, j in enumerate((places + (rng.random(positives) * (score.size - places)).astype(int)).tolist()):
            order[i], order[j] = order[j], order[i]
        label = np.zeros(score.size, dtype=np.int8)
        label[order[:positives]] = 1
        return float(roc_auc_score(label, score))

    def ours(found: Any, number: int) -> float:
        return float(found.draws[number])

    return Parts(count=shuffles, part=part, ours=ours, in_order=True)

"""Nulls of reference recovery: 200 rewired networks, and shuffled labels, checked and scored.

The plain functions here are the slow twins that the tests hold the fast ones to.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.paired import Path, Ways

if TYPE_CHECKING:
    from interp_assets.stats.nulls import Network, NullTest, RankedPairs

REGULATORS, GENES, TARGETS = 250, 2000, 60
NETWORKS, SHUFFLES = 200, 1000
# With as many trials igraph's networks are as far from the original as ours (mean Jaccard distance); its default is 10.
TRIALS_AN_EDGE = 2.5


def world(
    regulators: int = REGULATORS, genes: int = GENES, targets: int = TARGETS
) -> tuple[Network, RankedPairs, np.ndarray]:
    """A network with hubs on both sides, and scores that know some of it."""
    from interp_assets.stats.nulls import network, rank_pairs

    rng = np.random.default_rng(0)
    own, popular = rng.choice(genes, regulators, replace=False), rng.random(genes) ** 3
    member = np.zeros((regulators, genes), dtype=bool)
    for at, regulator in enumerate(own):
        odds = popular.copy()
        odds[regulator] = 0.0
        size = int(rng.integers(5, 2 * targets - 5))
        member[at, rng.choice(genes, size, replace=False, p=odds / odds.sum())] = True
    scores = rng.normal(size=member.shape) + 0.5 * member
    return network(member, own), rank_pairs(scores, own), scores


def curveball_of_sets(
    targets: list[set[int]], regulators: list[int], rng: np.random.Generator, trades: int
) -> list[set[int]]:
    """Rewired target sets by the textbook procedure on Python sets; see ``stats.nulls.curveball``."""
    rewired = [set(each) for each in targets]
    for _ in range(trades):
        a, b = rng.choice(len(rewired), 2, replace=False)
        mine = rewired[a] - rewired[b] - {regulators[b]}
        theirs = rewired[b] - rewired[a] - {regulators[a]}
        pool = rng.permutation(sorted(mine | theirs)).tolist()
        rewired[a] = (rewired[a] - mine) | set(pool[: len(mine)])
        rewired[b] = (rewired[b] - theirs) | set(pool[len(mine) :])
    return rewired


def by_sets(networks: int = 4, of: int = NETWORKS, size: Sequence[int] = (REGULATORS, GENES, TARGETS)) -> Ways:
    """Against sets, each rewired network scored from the ranks of all pairs."""
    from interp_assets.stats.nulls import curveball_null

    net, ranked, _ = world(*size)
    sets = [set(net.target[a:b].tolist()) for a, b in zip(net.start, net.start[1:], strict=False)]
    own, trades = net.regulator.tolist(), 5 * net.regulator.size

    def theirs() -> np.ndarray:
        rng = np.random.default_rng(1)
        rewired = [curveball_of_sets(sets, own, rng, trades) for _ in range(networks)]
        sums = [sum(ranked.rank[row, list(each)].sum() for row, each in enumerate(one)) for one in rewired]
        return ranked.auroc(sums, net.target.size)

    return null_ways(curveball_null, ranked, net, theirs, networks, of)


def by_igraph(networks: int = 40, of: int = NETWORKS, size: Sequence[int] = (REGULATORS, GENES, TARGETS)) -> Ways:
    """Against `igraph.Graph.rewire` on the directed graph; degrees of its networks are held to the original's."""
    import igraph

    from interp_assets.stats.nulls import curveball_null

    net, ranked, _ = world(*size)
    row_of = np.full(net.genes, -1)
    row_of[net.regulator] = np.arange(net.regulator.size)
    pairs = zip(np.repeat(net.regulator, net.out_degree).tolist(), net.target.tolist(), strict=True)
    trials = round(TRIALS_AN_EDGE * net.target.size)
    # Its own generator is the fastest; with Python's, which is the default, it takes a fifth more.
    igraph.set_random_number_generator(None)
    graph = igraph.Graph(n=net.genes, edges=list(pairs), directed=True)

    def theirs() -> np.ndarray:
        sums = []
        for _ in range(networks):
            rewired = graph.copy()
            rewired.rewire(n=trials)
            edge = np.array(rewired.get_edgelist())
            sums.append(ranked.rank[row_of[edge[:, 0]], edge[:, 1]].sum())
        if rewired.indegree() != graph.indegree() or rewired.outdegree() != graph.outdegree():
            raise AssertionError("igraph changed a degree")
        return ranked.auroc(sums, net.target.size)

    return null_ways(curveball_null, ranked, net, theirs, networks, of)


def by_shuffles(shuffles: int = 20, of: int = SHUFFLES, size: Sequence[int] = (REGULATORS, GENES, TARGETS)) -> Ways:
    """Shuffled labels against a permutation and scikit-learn's AUROC a draw."""
    from sklearn.metrics import roc_auc_score

    from interp_assets.stats.nulls import label_shuffle_null

    net, ranked, scores = world(*size)
    candidate = ranked.rank > 0.0
    labels, values = net.member()[candidate], scores[candidate]

    def theirs() -> np.ndarray:
        rng = np.random.default_rng(1)
        return np.array([roc_auc_score(rng.permutation(labels), values) for _ in range(shuffles)])

    return null_ways(label_shuffle_null, ranked, net, theirs, shuffles, of)


def null_ways(
    null: Callable[[RankedPairs, Network, np.random.Generator, int], NullTest],
    ranked: RankedPairs,
    net: Network,
    theirs: Callable[[], np.ndarray],
    draws: int,
    of: int,
) -> Ways:
    """Our null of ``of`` draws beside the other way's ``draws``."""
    return Ways(
        ours=lambda: null(ranked, net, np.random.default_rng(0), of).draws,
        theirs=theirs,
        agree=same_null,
        share=draws / of,
        warm=lambda: null(ranked, net, np.random.default_rng(0), 2),
    )


def same_null(ours: np.ndarray, theirs: np.ndarray) -> str:
    """Two samples of one distribution: means within four standard errors."""
    gap = ours.mean() - theirs.mean()
    error = np.sqrt(ours.var(ddof=1) * (1 / ours.size + 1 / theirs.size))
    if not abs(gap) <= 4 * error:
        raise AssertionError(
            f"null means {ours.mean():.6f} and {theirs.mean():.6f}, {abs(gap) / error:.1f} errors apart"
        )
    return (
        f"null means {ours.mean():.4f} and {theirs.mean():.4f}, {abs(gap) / error:.1f} standard errors apart "
        f"(at most 4) over {ours.size} and {theirs.size} draws"
    )


def _path(name: str, against: str, goal: float, ways: Callable[[], Ways]) -> Path:
    return Path(path=f"{name}, {REGULATORS} x {GENES:,}", against=against, goal=goal, ways=ways)


PATHS = (
    _path(f"curveball null, {NETWORKS} networks", "Python sets, the same trades", 8.0, by_sets),
    _path(
        f"curveball null, {NETWORKS} networks, against igraph",
        f"igraph rewire, {TRIALS_AN_EDGE} trials an edge: as far from the original as ours",
        8.0,
        by_igraph,
    ),
    _path(f"{SHUFFLES:,} label shuffles", "permutation and roc_auc_score a draw", 8.0, by_shuffles),
)

"""Strata that mean nothing: the scan over numbers of strata beside the same scan written draw by draw.

The work is one dataset of analysis 24 (600 cells of 6 states): three kinds of null strata, every number of them, 100
draws each, three aggregators, AUROC and F1 of every draw. The plain way finds strata with `sklearn.cluster.KMeans` from
the same start and computes the correlations of every stratum from its cells.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from benchmarks.growth import Growth
from benchmarks.paired import Path, Ways

CELLS, STATES, DRAWS, MINIMUM = 600, 6, 100, 20
STRATA: Final = tuple(range(2, 21))
AGGREGATORS: Final = ("max", "mean", "scenic")
DRAWS_PLAIN: Final = 5  # of the plain way, out of all
Key = tuple[int, str, str]
Found = dict[Key, tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True, kw_only=True)
class Scan:
    """One dataset and the scan to be done: cells, numbers of strata, null draws, cells of the smallest stratum."""

    data: Any
    strata: Sequence[int]
    draws: int
    minimum: int

    def ours(self) -> Found:
        """AUROC and F1 (one number a draw each) by number of strata, kind and aggregator."""
        from interp_assets.analyses.cssi_designs import NULLS, label_sets, null_embeddings, recovered

        rng = np.random.default_rng(1)
        nulls = null_embeddings(self.data, self.draws, rng)
        found: Found = {}
        for k in self.strata:
            labels = label_sets(self.data, k, nulls, rng)
            for kind in NULLS:
                got = recovered(self.data, labels[kind], k, self.minimum, aggregators=AGGREGATORS)
                found |= {(k, kind, name): (got.auroc[name], got.f1[name]) for name in AGGREGATORS}
        return found

    def given(self) -> Given:
        """What both ways share, so that they meet the same draws: labels dealt and drawn, starts of k-means."""
        from interp_assets.analyses.cssi_designs import null_embeddings
        from interp_assets.stats.kmeans import spread_centres
        from interp_assets.stats.strata import kmeans_strata, random_strata, resized_strata, shuffled_strata

        rng = np.random.default_rng(1)
        nulls = null_embeddings(self.data, self.draws, rng)
        dealt, starts = {}, {}
        for k in self.strata:
            known = resized_strata(self.data.mixture.state, k, rng)
            kmeans_strata(self.data.embedding, k, rng)
            dealt[k] = {
                "shuffled": shuffled_strata(known, rng, self.draws),
                "random": random_strata(self.data.cells, k, rng, self.draws),
            }
            starts[k] = [spread_centres(np.ascontiguousarray(points), k, rng) for points in nulls]
        return Given(dealt=dealt, starts=starts)


@dataclass(frozen=True, kw_only=True)
class Given:
    """Labels (draws x cells) by number of strata and kind, and the first centres of every k-means."""

    dealt: Mapping[int, Mapping[str, np.ndarray]]
    starts: Mapping[int, Sequence[np.ndarray]]


def draw_by_draw(scan: Scan, given: Given, draws: int) -> Found:
    """The first draws of the scan, each from its cells."""
    from sklearn.cluster import KMeans

    from interp_assets.stats.strata import ROUNDS, gene_permuted_scores

    rng, made = np.random.default_rng(1), {}
    for draw in range(draws):
        points = gene_permuted_scores(scan.data.mixture.expression, rng)
        for k in scan.strata:
            # One round more is done after the last one: labels are given once again.
            clusters = KMeans(k, init=given.starts[k][draw], n_init=1, max_iter=ROUNDS - 1, tol=0, algorithm="lloyd")
            labels = {kind: dealt[draw] for kind, dealt in given.dealt[k].items()}
            labels["gene_permuted"] = clusters.fit_predict(points)
            for kind, label in labels.items():
                for name, values in plain_scores(scan, label).items():
                    made.setdefault((k, kind, name), []).append(plain_recovery(values, scan.data.mixture.true.ravel()))
    return {key: tuple(np.array(each) for each in zip(*values, strict=True)) for key, values in made.items()}


def plain_scores(scan: Scan, label: np.ndarray) -> dict[str, np.ndarray]:
    """Combined scores of the edges, from the cells of every stratum that is large enough."""
    from scipy.stats import rankdata

    mixture = scan.data.mixture
    sizes, scores = [], []
    for stratum in np.unique(label):
        cells = mixture.expression[label == stratum]
        if len(cells) >= scan.minimum:
            both = np.corrcoef(cells[:, mixture.regulators], cells[:, mixture.targets], rowvar=False)
            scores.append(both[: mixture.regulators.size, mixture.regulators.size :].ravel())
            sizes.append(len(cells))
    score = np.array(scores)
    return {
        "max": np.abs(score).max(axis=0),
        "mean": np.abs(np.average(score, axis=0, weights=sizes)),
        "scenic": np.average(rankdata(np.abs(score), axis=1), axis=0, weights=sizes) / score.shape[1],
    }


def plain_recovery(values: np.ndarray, true: np.ndarray) -> tuple[float, float]:
    """AUROC, and the share of true edges among as many best ones; ties at the last place in expectation."""
    from sklearn.metrics import roc_auc_score

    count = int(true.sum())
    last = np.sort(values)[-count]
    above, tied = values > last, values == last
    hits = (true & above).sum() + (count - above.sum()) * (true & tied).sum() / tied.sum()
    return float(roc_auc_score(true, values)), float(hits / count)


def agree(ours: Found, theirs: Found) -> str:
    """Same AUROC and F1 of every draw that both ways hold."""
    largest, count = 0.0, 0
    for key, plain in theirs.items():
        for one, other in zip(ours[key], plain, strict=True):
            gap = float(np.abs(one[: other.size] - other).max())
            if not gap <= 1e-9:
                raise AssertionError(f"{key}: the two ways differ by {gap:.2g}")
            largest, count = max(largest, gap), count + other.size
    return f"{count:,} values of AUROC and F1 differ by at most {largest:.0e} (tolerance 1e-9)"


def scan_ways(cells: int = CELLS, strata: Sequence[int] = STRATA, draws: int = DRAWS, plain: int = DRAWS_PLAIN) -> Ways:
    """The scan of one dataset in both ways."""
    scan = make_scan(cells, strata, draws)
    given = scan.given()
    return Ways(
        ours=scan.ours,
        theirs=lambda: draw_by_draw(scan, given, plain),
        agree=agree,
        share=plain / draws,
        warm=Scan(data=scan.data, strata=strata[:1], draws=1, minimum=MINIMUM).ours,
    )


def make_scan(cells: int, strata: Sequence[int], draws: int) -> Scan:
    from interp_assets.analyses.cssi_designs import scored_dataset
    from interp_assets.stats.state_mixtures import multi_state

    data = scored_dataset(multi_state(np.random.default_rng(0), cells, STATES))
    return Scan(data=data, strata=strata, draws=draws, minimum=MINIMUM)


def larger_scan(cells: int) -> Callable[[], Found]:
    """Six strata, 20 draws of three nulls, of more and more cells."""
    make_scan(CELLS, (2,), 1).ours()
    return make_scan(cells, (6,), 20).ours


PATHS: Final = (
    Path(
        path="CSSI, 2 to 20 strata, 100 draws x 3 nulls, 600 cells",
        against="scikit-learn k-means and numpy correlations, draw by draw",
        goal=20.0,
        ways=scan_ways,
    ),
)
GROWTHS: Final = (
    Growth(
        path="CSSI, 6 strata, 20 draws x 3 nulls",
        of="cells",
        sizes=(1_000, 10_000, 100_000),
        work=larger_scan,
        promise="Time and memory grow with the cells; what is held is one embedding a null draw.",
    ),
)

"""Rank-sum test of every perturbation of a screen against the control cells, beside the loop over scipy's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from benchmarks.paired import Path, Ways

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

CELLS, GENES, GROUPS = 20_000, 300, 25
CONTROL_SHARE = 0.33


def screen(cells: int, genes: int, groups: int) -> tuple[csr_matrix, np.ndarray]:
    """Sparse log matrix of counts of very different genes, and the perturbation of every cell (-1: control)."""
    from scipy.sparse import csr_matrix

    from interp_assets.cells.prepare import normalised_log

    rng = np.random.default_rng(0)
    rate = rng.lognormal(-1.0, 1.5, genes) * rng.lognormal(0.0, 0.4, (cells, 1))
    group = np.where(rng.random(cells) < CONTROL_SHARE, -1, rng.integers(0, groups, cells))
    return normalised_log(csr_matrix(rng.poisson(rate).astype(np.int32))), group


def by_scipy(cells: int = CELLS, genes: int = GENES, groups: int = GROUPS) -> Ways:
    """U and p of every group against the control cells; scipy group by group on all genes, in float64."""
    from scipy.stats import mannwhitneyu

    from interp_assets.cells.differential import rank_sum_expression

    log, group = screen(cells, genes, groups)
    none = np.full(groups, -1)

    def ours() -> tuple[np.ndarray, np.ndarray]:
        found = rank_sum_expression(log, group, group == -1, none)
        return found.t, found.p

    def theirs() -> tuple[np.ndarray, np.ndarray]:
        dense = log.toarray().astype(np.float64)
        against = dense[group == -1]
        found = [mannwhitneyu(dense[group == k], against, axis=0, method="asymptotic") for k in range(groups)]
        return np.stack([each.statistic for each in found]), np.stack([each.pvalue for each in found])

    few = min(200, cells)
    return Ways(
        ours=ours,
        theirs=theirs,
        agree=same_tests,
        warm=lambda: rank_sum_expression(log[:few], group[:few], group[:few] == -1, none),
    )


def same_tests(ours: tuple[np.ndarray, np.ndarray], theirs: tuple[np.ndarray, np.ndarray]) -> str:
    """U equal, p equal to eight figures."""
    u = float(np.abs(ours[0] - theirs[0]).max())
    p = float(np.abs(ours[1] / theirs[1] - 1).max())
    if not (u <= 1e-6 and p <= 1e-8):
        raise AssertionError(f"U differs by up to {u:.2g}, p by a share of {p:.2g}")
    return f"U differs by at most {u:.1g} (bound 1e-6), p by a share of at most {p:.1g} (bound 1e-8)"


PATHS = (
    Path(
        path=f"rank-sum test, {CELLS:,} cells x {GENES} genes x {GROUPS} groups",
        against="scipy.stats.mannwhitneyu, group by group",
        goal=5.0,
        rounds=3,
        ways=by_scipy,
    ),
)

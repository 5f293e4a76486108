"""Time of the rank-sum test of a screen against the plain scipy loop, on the same cells in one run.

Run with ``python -m benchmarks.rank_sum``. Both give the same U and p; the largest difference is printed.
"""

from __future__ import annotations

import time

import numpy as np
from scipy.sparse import csr_matrix

CELLS, GENES, GROUPS = 20_000, 300, 25
CONTROL_SHARE = 0.33


def screen(rng: np.random.Generator) -> tuple[csr_matrix, np.ndarray]:
    """Sparse log matrix of counts of very different genes, and the perturbation of every cell (-1: control)."""
    from interp_assets.cells.prepare import normalised_log

    rate = rng.lognormal(-1.0, 1.5, GENES) * rng.lognormal(0.0, 0.4, (CELLS, 1))
    group = np.where(rng.random(CELLS) < CONTROL_SHARE, -1, rng.integers(0, GROUPS, CELLS))
    return normalised_log(csr_matrix(rng.poisson(rate).astype(np.int32))), group


def plain(log: csr_matrix, group: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """U and p of every group against the control cells, group by group with scipy on float64 values."""
    from scipy.stats import mannwhitneyu

    dense = log.toarray().astype(np.float64)
    against = dense[group == -1]
    found = [mannwhitneyu(dense[group == k], against, axis=0, method="asymptotic") for k in range(GROUPS)]
    return np.stack([each.statistic for each in found]), np.stack([each.pvalue for each in found])


def main() -> None:
    from interp_assets.cells.differential import rank_sum_expression

    log, group = screen(np.random.default_rng(0))
    none = np.full(GROUPS, -1)
    rank_sum_expression(log[:200], group[:200], group[:200] == -1, none)  # imports and compilation
    start = time.perf_counter()
    fast = rank_sum_expression(log, group, group == -1, none)
    middle = time.perf_counter()
    u, p = plain(log, group)
    end = time.perf_counter()
    print(f"{CELLS:,} cells x {GENES} genes, {GROUPS} groups, {(group == -1).sum():,} control cells")
    print(f"ours {middle - start:.2f} s   plain {end - middle:.2f} s   ratio {(end - middle) / (middle - start):.1f}")
    print(f"largest difference: U {np.abs(fast.t - u).max():.1g}, p relative {np.abs(fast.p / p - 1).max():.1g}")


if __name__ == "__main__":
    main()

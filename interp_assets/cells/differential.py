"""Differential expression of perturbations: Welch's t on grouped moments, BH, label rule.

The fold is the **difference of mean log1p** values (natural log), not a log ratio of means: with a ratio of
means and a pseudo-count, most positives are genes seen in a handful of cells whose group variance is 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from interp_assets.cells.moments import grouped_moments

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelRule:
    """When a gene counts as differentially expressed, and how many cells a perturbation needs (paper 2.4)."""

    q: float = 0.05
    log_fold: float = 0.5
    min_cells: int = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Differential:
    """Perturbations x genes: log fold, t, p, q; NaN where a gene is no candidate of that perturbation."""

    log_fold: NDArray[np.float64]
    t: NDArray[np.float64]
    p: NDArray[np.float64]
    q: NDArray[np.float64]
    cells: NDArray[np.int64]


def welch_t(
    mean: NDArray[np.float64],
    variance: NDArray[np.float64],
    cells: NDArray[np.float64],
    control_mean: NDArray[np.float64],
    control_variance: NDArray[np.float64],
    control_cells: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Welch's t and its two-sided p (equal to ``scipy.stats.ttest_ind(equal_var=False)``).

    Where neither group varies, or a group has fewer than two cells, t is NaN and p is 1 (scanpy's rule):
    such a gene can never be called.
    """
    from scipy.special import stdtr

    a, b = variance / cells, control_variance / control_cells
    with np.errstate(divide="ignore", invalid="ignore"):
        t = (mean - control_mean) / np.sqrt(a + b)
        freedom = (a + b) ** 2 / (a**2 / (cells - 1) + b**2 / (control_cells - 1))
        p = 2.0 * stdtr(freedom, -np.abs(t))
    defined = np.isfinite(t) & np.isfinite(freedom)
    return np.where(defined, t, np.nan), np.where(defined, p, 1.0)


def benjamini_hochberg(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Benjamini-Hochberg q along the last axis; NaN entries are no tests and stay NaN.

    Equal to ``scipy.stats.false_discovery_control`` on the finite entries of a row.
    """
    q = np.full_like(p, np.nan, dtype=np.float64)
    for row_p, row_q in zip(p.reshape(-1, p.shape[-1]), q.reshape(-1, p.shape[-1]), strict=True):
        tested = np.flatnonzero(~np.isnan(row_p))
        order = tested[np.argsort(row_p[tested], kind="stable")]
        scaled = row_p[order] * tested.size / np.arange(1, tested.size + 1)
        row_q[order] = np.minimum(1.0, np.minimum.accumulate(scaled[::-1])[::-1])
    return q


def differential_expression(
    log: csr_matrix,
    group: NDArray[np.integer],
    control: NDArray[np.bool_],
    perturbed_gene: NDArray[np.integer],
) -> Differential:
    """Welch's t of every perturbation against the control cells, BH within the perturbation.

    Parameters
    ----------
    log
        Cells x scored genes, log-normalised once.
    group
        Perturbation of every cell, 0 to P - 1; -1 for none.
    control
        Mask of control cells.
    perturbed_gene
        Position of each perturbation's own gene among the scored genes, -1 if it is not scored. That gene
        is no candidate: it is neither tested nor counted in BH.

    Raises
    ------
    ValueError
        If there are fewer than two control cells, or a control cell carries a perturbation.
    """
    if int(control.sum()) < 2:
        raise ValueError(f"{int(control.sum())} control cells: at least 2 are needed for a variance.")
    if (group[control] >= 0).any():
        raise ValueError("some control cells also carry a perturbation; a cell must be one or the other.")
    perturbations = perturbed_gene.size
    mean, variance, cells = grouped_moments(log, group, perturbations)
    control_mean, control_variance, control_cells = grouped_moments(log, np.where(control, 0, -1), 1)
    t, p = welch_t(
        mean,
        variance,
        cells[:, None].astype(np.float64),
        control_mean,
        control_variance,
        float(control_cells[0]),
    )
    log_fold = mean - control_mean
    own = np.flatnonzero(perturbed_gene >= 0)
    for table in (log_fold, t, p):
        table[own, perturbed_gene[own]] = np.nan
    return Differential(log_fold=log_fold, t=t, p=p, q=benjamini_hochberg(p), cells=cells)


def rank_sum_expression(
    log: csr_matrix,
    group: NDArray[np.integer],
    control: NDArray[np.bool_],
    perturbed_gene: NDArray[np.integer],
) -> Differential:
    """Mann-Whitney U of every perturbation against the control cells, BH within the perturbation.

    The test of the published baseline configuration (paper 2.4). Two-sided, normal approximation with tie and
    continuity correction (``scipy.stats.mannwhitneyu``); ``t`` holds U. A gene that is constant over both groups has
    p 1. Arguments, own-gene rule and log fold as in `differential_expression`.
    """
    from scipy.stats import mannwhitneyu

    perturbations = perturbed_gene.size
    against = log[control].toarray()
    mean, _, cells = grouped_moments(log, group, perturbations)
    u, p = np.full(mean.shape, np.nan), np.full(mean.shape, np.nan)
    for index in range(perturbations):
        if cells[index]:
            found = mannwhitneyu(log[group == index].toarray(), against, axis=0, method="asymptotic")
            u[index], p[index] = found.statistic, np.where(np.isnan(found.pvalue), 1.0, found.pvalue)
    control_mean, _, _ = grouped_moments(log, np.where(control, 0, -1), 1)
    log_fold = mean - control_mean
    own = np.flatnonzero(perturbed_gene >= 0)
    for table in (log_fold, u, p):
        table[own, perturbed_gene[own]] = np.nan
    return Differential(log_fold=log_fold, t=u, p=p, q=benjamini_hochberg(p), cells=cells)


def called(found: Differential, rule: LabelRule) -> NDArray[np.int8]:
    """Labels: 1 if q and the absolute log fold pass the rule, 0 if tested and not, -1 if no candidate."""
    passes = (found.q < rule.q) & (np.abs(found.log_fold) > rule.log_fold)
    return np.where(np.isnan(found.p), -1, passes.astype(np.int8)).astype(np.int8)

"""Differential expression of perturbations: Welch's t on grouped moments, BH, label rule.

The fold is the **difference of mean log1p** values (natural log), not a log ratio of means: with a ratio of
means and a pseudo-count, most positives are genes seen in a handful of cells whose group variance is 0.
"""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from interp_assets.cells.moments import CellSums, cell_sums, grouped_moments, membership

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
    control_cells: NDArray[np.float64] | float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Welch's t and its two-sided p (equal to ``scipy.stats.ttest_ind(equal_var=False)``).

    Where neither group varies, or a group has fewer than two cells, t is NaN and p is 1 (scanpy's rule):
    such a gene can never be called.
    """
    from interp_assets.stats.student_t import two_sided_p

    a, b = variance / cells, control_variance / control_cells
    with np.errstate(divide="ignore", invalid="ignore"):
        t = (mean - control_mean) / np.sqrt(a + b)
        freedom = (a + b) ** 2 / (a**2 / (cells - 1) + b**2 / (control_cells - 1))
    p = two_sided_p(t, freedom)
    defined = np.isfinite(t) & np.isfinite(freedom)
    return np.where(defined, t, np.nan), np.where(defined, p, 1.0)


def benjamini_hochberg(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Benjamini-Hochberg q along the last axis; NaN entries are no tests and stay NaN.

    Equal to ``scipy.stats.false_discovery_control`` on the finite entries of a row.
    """
    table = p.reshape(-1, p.shape[-1])
    tested = ~np.isnan(table)
    # Equal entries get the same q in whatever order they stand; what is no test stands last.
    ranked = np.where(tested, table, np.inf)
    order = np.argsort(ranked, axis=1)
    tests = np.maximum(1, np.count_nonzero(tested, axis=1))
    scaled = np.take_along_axis(ranked, order, axis=1) * tests[:, None]
    scaled /= np.arange(1, table.shape[1] + 1)
    least = np.minimum(1.0, np.minimum.accumulate(scaled[:, ::-1], axis=1)[:, ::-1])
    q = np.empty_like(ranked)
    np.put_along_axis(q, order, least, axis=1)
    return np.where(tested, q, np.nan).reshape(p.shape)


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
        Position of each perturbation's own gene among the scored genes (P, or P x k for perturbations of up to
        k genes), -1 if it is not scored. Such a gene is no candidate: it is neither tested nor counted in BH.

    Raises
    ------
    ValueError
        If there are fewer than two control cells, or a control cell carries a perturbation.
    """
    _check_control(group, control)
    perturbations = perturbed_gene.shape[0]
    sums = cell_sums(log, membership(np.where(control, perturbations, group), perturbations + 1))
    return compared(sums[:perturbations], sums[perturbations:], perturbed_gene)


def expression_against_the_rest(
    log: csr_matrix, members: csr_matrix, perturbed_gene: NDArray[np.integer]
) -> Differential:
    """Welch's t of the cells of every perturbation against all cells outside it, BH within the perturbation.

    For screens whose cells hold several guides: there is no group of unperturbed cells, and a cell may belong to
    several perturbations. Sums over the rest are the total minus those of the group.

    Parameters
    ----------
    members
        Perturbations x cells indicator of ones.
    log, perturbed_gene
        As in `differential_expression`.
    """
    groups = cell_sums(log, members)
    everyone = cell_sums(log, membership(np.zeros(log.shape[0], dtype=np.int64), 1))
    return compared(groups, everyone - groups, perturbed_gene)


def compared(groups: CellSums, against: CellSums, perturbed_gene: NDArray[np.integer]) -> Differential:
    """Welch's t of groups P x genes against one group of cells, or each against its own (1 or P x genes)."""
    mean, variance = groups.moments()
    control_mean, control_variance = against.moments()
    cells, control_cells = (sums.cells[:, None].astype(np.float64) for sums in (groups, against))
    t, p = welch_t(mean, variance, cells, control_mean, control_variance, control_cells)
    return _tested(mean - control_mean, t, p, groups.cells, perturbed_gene)


def rank_sum_expression(
    log: csr_matrix,
    group: NDArray[np.integer],
    control: NDArray[np.bool_],
    perturbed_gene: NDArray[np.integer],
) -> Differential:
    """Mann-Whitney U of every perturbation against the control cells, BH within the perturbation.

    The test of the published baseline configuration (paper 2.4). Two-sided, normal approximation with tie and
    continuity correction, equal to ``scipy.stats.mannwhitneyu(method="asymptotic")`` on float64 values (on
    float32 values scipy counts ties in single precision). ``t`` holds U. A gene that is constant over both groups
    has p 1. Arguments, own-gene rule, log fold and errors as in `differential_expression`.
    """
    _check_control(group, control)
    perturbations = perturbed_gene.shape[0]
    held = control | (group >= 0)
    names = np.where(control[held], perturbations, group[held])
    u, p = _rank_sums(log[held], names, perturbations, reference=perturbations)
    mean, _, cells = grouped_moments(log, group, perturbations)
    control_mean, _, _ = grouped_moments(log, np.where(control, 0, -1), 1)
    return _tested(mean - control_mean, u, p, cells, perturbed_gene)


def ranks_against_the_rest(
    log: csr_matrix, group: NDArray[np.integer], groups: int, perturbed_gene: NDArray[np.integer]
) -> Differential:
    """Mann-Whitney U of every group of cells against all other cells; each cell is in one group (0 to P - 1).

    The counterpart of `expression_against_the_rest`; test and own-gene rule as in `rank_sum_expression`.

    Raises
    ------
    ValueError
        If a cell is in no group.
    """
    if (group < 0).any():
        raise ValueError(f"{int((group < 0).sum())} cells are in no group; leave them out before the test.")
    u, p = _rank_sums(log, group, groups, reference=None)
    sums = cell_sums(log, membership(group, groups))
    rest = CellSums(sums.total.sum(axis=0), sums.squares.sum(axis=0), sums.cells.sum(keepdims=True)) - sums
    return _tested(sums.moments()[0] - rest.moments()[0], u, p, sums.cells, perturbed_gene)


def _check_control(group: NDArray[np.integer], control: NDArray[np.bool_]) -> None:
    if int(control.sum()) < 2:
        raise ValueError(f"{int(control.sum())} control cells: at least 2 are needed for a variance.")
    if (group[control] >= 0).any():
        raise ValueError("some control cells also carry a perturbation; a cell must be one or the other.")


def _tested(
    log_fold: NDArray[np.float64],
    statistic: NDArray[np.float64],
    p: NDArray[np.float64],
    cells: NDArray[np.int64],
    perturbed_gene: NDArray[np.integer],
) -> Differential:
    """The tests without the perturbed genes, and q over what is left of each row."""
    own = perturbed_gene.reshape(perturbed_gene.shape[0], -1)
    row, place = np.nonzero(own >= 0)
    for table in (log_fold, statistic, p):
        table[row, own[row, place]] = np.nan
    return Differential(log_fold=log_fold, t=statistic, p=p, q=benjamini_hochberg(p), cells=cells)


def _rank_sums(
    log: csr_matrix, group: NDArray[np.integer], groups: int, reference: int | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """U and two-sided p, groups x genes; NaN for groups without a cell."""
    import anndata
    import pandas as pd
    from illico import asymptotic_wilcoxon
    from loguru import logger

    u, p = (np.full((groups, log.shape[1]), np.nan) for _ in range(2))
    present = np.unique(group[group < groups])
    if not present.size:
        return u, p
    width = len(str(groups))
    names = np.array([f"{value:0{width}d}" for value in group.tolist()])
    matrix = log.astype(np.float64).tocsc()
    cells = anndata.AnnData(matrix, obs=pd.DataFrame({"group": names}, index=np.arange(names.size).astype(str)))
    logger.disable("illico")
    # The progress bar of the package goes to stderr and cannot be switched off by an argument.
    with contextlib.redirect_stderr(io.StringIO()):
        found = asymptotic_wilcoxon(
            cells,
            is_log1p=True,
            group_keys="group",
            reference=None if reference is None else f"{reference:0{width}d}",
        )
    shape = (-1, log.shape[1])
    order = found.index.get_level_values("pert")[:: log.shape[1]].astype(np.int64)
    wanted = order < groups
    u[order[wanted]] = found["statistic"].to_numpy().reshape(shape)[wanted]
    p[order[wanted]] = found["p_value"].to_numpy().reshape(shape)[wanted]
    # Where U is what no difference gives, the package takes the continuity correction for a difference: p below 1.
    size = np.bincount(group, minlength=groups + 1)
    others = group.size - size[:groups] if reference is None else size[reference]
    p[u == (size[:groups] * others / 2.0)[:, None]] = 1.0
    return u, p


def called(found: Differential, rule: LabelRule) -> NDArray[np.int8]:
    """Labels: 1 if q and the absolute log fold pass the rule, 0 if tested and not, -1 if no candidate."""
    passes = (found.q < rule.q) & (np.abs(found.log_fold) > rule.log_fold)
    return np.where(np.isnan(found.p), -1, passes.astype(np.int8)).astype(np.int8)

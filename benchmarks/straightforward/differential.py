"""Differential expression straightforwardly: scipy on the cells of one perturbation and the control cells at a time.

Each function takes the arguments of the one it stands for and returns `Parts`: perturbations.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.stats import false_discovery_control, mannwhitneyu, ttest_ind

from benchmarks.straightforward.clock import Parts

Test = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


def welch(cells: np.ndarray, control: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Welch's t and p of every gene; p 1 where neither group varies."""
    with np.errstate(invalid="ignore", divide="ignore"):
        found = ttest_ind(cells, control, equal_var=False)
    varies = np.ptp(cells, axis=0) + np.ptp(control, axis=0) > 0
    defined = np.isfinite(found.statistic) & np.isfinite(found.pvalue) & varies
    return np.where(defined, found.statistic, np.nan), np.where(defined, found.pvalue, 1.0)


def rank_sum(cells: np.ndarray, control: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mann-Whitney U and p of every gene; p 1 where no cell differs from another."""
    found = mannwhitneyu(cells, control, method="asymptotic")
    return found.statistic, np.where(np.isnan(found.pvalue), 1.0, found.pvalue)


def _perturbations(test: Test, log: Any, group: np.ndarray, control: np.ndarray, own: np.ndarray) -> Parts:
    against = log[control].toarray().astype(np.float64)
    own = own.reshape(own.shape[0], -1)

    def part(number: int) -> np.ndarray:
        cells = log[(group == number) & ~control].toarray().astype(np.float64)
        if len(cells) < 2:
            return np.full((4, log.shape[1]), np.nan)
        statistic, p = test(cells, against)
        fold = cells.mean(axis=0) - against.mean(axis=0)
        tested = np.ones(log.shape[1], dtype=bool)
        tested[own[number][own[number] >= 0]] = False
        q = np.full(tested.size, np.nan)
        q[tested] = false_discovery_control(p[tested])
        return np.stack([np.where(tested, each, np.nan) for each in (fold, statistic, p, q)])

    def ours(found: Any, number: int) -> np.ndarray:
        if found.cells[number] < 2:
            return np.full((4, log.shape[1]), np.nan)
        return np.stack([found.log_fold[number], found.t[number], found.p[number], found.q[number]])

    return Parts(count=own.shape[0], part=part, ours=ours)


def differential_expression(log: Any, group: np.ndarray, control: np.ndarray, perturbed_gene: np.ndarray) -> Parts:
    """`differential.differential_expression`."""
    return _perturbations(welch, log, group, control, perturbed_gene)


def rank_sum_expression(log: Any, group: np.ndarray, control: np.ndarray, perturbed_gene: np.ndarray) -> Parts:
    """`differential.rank_sum_expression`."""
    return _perturbations(rank_sum, log, group, control, perturbed_gene)

"""How much reference recovery is left once gene-level covariates are taken out of the score.

What belongs here: cross-fitted residuals of a score, the share of above-chance recovery they keep, and its
bootstrap over regulators. What does not: which pairs and covariates an analysis uses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from interp_assets.stats.crossfit import (
    Boosting,
    FloatArray,
    IndexArray,
    out_of_fold_means,
    plan_folds,
)
from interp_assets.stats.fit_memory import FitMemory, content_key
from interp_assets.stats.resampling import (
    Interval,
    group_weights,
    grouped_auroc_bootstrap,
    percentile_interval,
)

ResidualLearner = Literal["ols", "boosting"]
RESIDUAL_LEARNERS: Final[tuple[ResidualLearner, ...]] = ("ols", "boosting")

# Below these there is nothing whose retention could be judged (criterion c, precondition).
SMALLEST_RAW_AUROC: Final = 0.55
CHANCE: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceScores:
    """Scored candidate pairs of reference recovery, one entry a pair (n).

    ``covariates`` is n x columns, gene-level features of the target and of the regulator. ``member`` says
    whether the reference holds the pair; ``regulator`` and ``target`` are codes of the two genes.
    """

    score: FloatArray
    covariates: FloatArray
    member: NDArray[np.bool_]
    regulator: IndexArray
    target: IndexArray


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedRetention:
    """Recovery before and after residualisation with one fold seed; ``kept`` is not rounded or clipped."""

    seed: int
    auroc_raw: float
    auroc_residual: float
    kept: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """Retained share of above-chance recovery, mean over fold seeds, with 95% intervals over regulators.

    ``sd_over_seeds`` (ddof 1; NaN for one seed) is that of ``auroc_residual``. ``resamples_done`` counts
    the draws in which both AUROCs exist and the raw one is not exactly chance.
    """

    auroc_raw: float
    raw: Interval
    auroc_residual: float
    residual: Interval
    sd_over_seeds: float
    kept: float
    kept_interval: Interval
    seeds: tuple[SeedRetention, ...]
    n_pairs: int
    n_positive: int

    @property
    def nothing_to_retain(self) -> str:
        """Why the precondition on raw recovery is not met; empty when it is."""
        if not self.auroc_raw >= SMALLEST_RAW_AUROC:
            return f"nothing to retain: raw AUROC {self.auroc_raw:.3f} is below {SMALLEST_RAW_AUROC}"
        if not self.raw.low > CHANCE:
            return f"nothing to retain: the interval of raw AUROC starts at {self.raw.low:.3f}, not above chance"
        return ""


def kept_share(residual: FloatArray | float, raw: FloatArray | float) -> FloatArray:
    """(AUROC_residual - .5) / (AUROC_raw - .5), unrounded (paper section 4); NaN where raw is chance.

    Above 1 when residuals recover more than the raw score, negative when they fall below chance: both are
    left as they are.
    """
    above = np.asarray(residual, dtype=np.float64) - CHANCE
    below = np.asarray(raw, dtype=np.float64) - CHANCE
    share: FloatArray = np.full(np.broadcast(above, below).shape, np.nan)
    np.divide(above, below, out=share, where=below != 0)
    return share


def cross_fitted_residuals(pairs: ReferenceScores, learner: Boosting | None, *, folds: int, seed: int) -> FloatArray:
    """Residuals of the score (n) from a fit that never saw the pair's target gene.

    Folds group by target gene, so that boosting cannot recognise a gene it was trained on. ``learner`` None
    is least squares in 64-bit floats; a `Boosting` gets the fold seed as its own.
    """
    plan = plan_folds("target_gene", pairs.regulator, pairs.target, folds=folds, seed=[seed])
    seeded = None if learner is None else replace(learner, seed=seed)
    expected = out_of_fold_means(pairs.covariates, pairs.score, plan, seeded)
    return pairs.score - expected


def retention(
    pairs: ReferenceScores,
    learner: Boosting | None,
    *,
    folds: int,
    seeds: Sequence[int],
    resamples: int,
    draw_seed: Sequence[int],
    memory: FitMemory,
) -> Retention:
    """Retained share of reference recovery after cross-fitted residualisation (paper section 4).

    A bootstrap draw takes whole regulators and gives the raw AUROC, the residual AUROC (mean over seeds)
    and their kept share together. The result is kept in ``memory`` by content: scores that do not depend
    on a release are residualised once a process.
    """
    key = content_key(
        "retention", pairs.score, pairs.covariates, pairs.member, pairs.regulator, pairs.target,
        learner, folds, list(seeds), resamples, list(draw_seed),
    )  # fmt: skip

    def compute() -> Retention:
        unit = np.unique(pairs.regulator, return_inverse=True)[1]
        drawn = group_weights(int(unit.max()) + 1, resamples, np.random.default_rng(draw_seed))
        weights = np.vstack([np.ones_like(drawn[:1]), drawn])
        raw = grouped_auroc_bootstrap(pairs.score, pairs.member, unit, weights)
        left = [
            grouped_auroc_bootstrap(residuals, pairs.member, unit, weights)
            for residuals in (cross_fitted_residuals(pairs, learner, folds=folds, seed=seed) for seed in seeds)
        ]
        return _summary(pairs, list(seeds), raw, np.array(left))

    found: Any = memory.recall(key, compute, lambda result: 200 * (1 + len(result.seeds)))
    if not isinstance(found, Retention):
        raise ValueError(f"memory holds a {type(found).__name__} where a Retention belongs")
    return found


def _summary(pairs: ReferenceScores, seeds: Sequence[int], raw: FloatArray, left: FloatArray) -> Retention:
    """Summary of AUROC draws: ``raw`` (1 + resamples) and ``left`` (seeds x 1 + resamples)."""
    requested = raw.size - 1
    residual = left.mean(axis=0)
    kept = kept_share(residual, raw)
    each = kept_share(left[:, 0], raw[0])
    return Retention(
        auroc_raw=float(raw[0]),
        raw=percentile_interval(raw[1:], requested=requested),
        auroc_residual=float(residual[0]),
        residual=percentile_interval(residual[1:], requested=requested),
        sd_over_seeds=float(left[:, 0].std(ddof=1)) if len(seeds) > 1 else float("nan"),
        kept=float(kept[0]),
        kept_interval=percentile_interval(kept[1:], requested=requested),
        seeds=tuple(
            SeedRetention(seed=seed, auroc_raw=float(raw[0]), auroc_residual=float(auroc), kept=float(share))
            for seed, auroc, share in zip(seeds, left[:, 0], each, strict=True)
        ),
        n_pairs=int(pairs.member.size),
        n_positive=int(pairs.member.sum()),
    )

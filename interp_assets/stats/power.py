"""Power to see what an edge adds to gene-level features, by simulation.

What belongs here: edge scores of a known gain and the share of them that is detected. What does not: the gain of
a real edge score (`incremental`), whose folds, learner and bootstrap are used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from interp_assets.stats.crossfit import (
    Classifier,
    FloatArray,
    FoldPlan,
    TooLittleDataError,
    out_of_fold_scores,
    recalibrated_log_odds,
)
from interp_assets.stats.fit_memory import FitMemory, content_key
from interp_assets.stats.incremental import CandidatePairs, remembered_scores
from interp_assets.stats.resampling import group_weights, grouped_auroc_bootstrap, percentile_interval

_CALIBRATION_DRAWS: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Power:
    """Share of simulated edge scores of a known gain whose interval lies above zero.

    ``achieved_gain`` is the mean AUROC gain the simulated scores really had; it should be near
    ``true_gain``. All counts are of simulations.
    """

    true_gain: float
    achieved_gain: float
    simulations: int
    detected: int

    @property
    def power(self) -> float:
        """Detected share."""
        return self.detected / self.simulations


def simulated_power(
    gene_features: FloatArray,
    pairs: CandidatePairs,
    plan: FoldPlan,
    learner: Classifier,
    *,
    true_gain: float,
    simulations: int,
    resamples: int,
    seed: Sequence[int],
    memory: FitMemory,
) -> Power:
    """Power to see a true gain in pooled AUROC (paper analysis 26, power by simulation).

    An edge score N(d, 1) for positive and N(0, 1) for negative pairs is drawn, d set so that adding its
    log likelihood ratio to the gene-only log-odds raises AUROC by ``true_gain``. Each draw goes through
    the same folds, learner and perturbation bootstrap as a real score; it is detected when the lower
    bound of its AUROC gain is above zero.

    Raises
    ------
    TooLittleDataError
        When gene-only AUROC leaves no room for the gain.
    """
    genes = gene_features[pairs.target]
    gene_only = remembered_scores(genes, pairs.positive, plan, learner, memory)
    settings = (true_gain, simulations, resamples, list(seed), learner)
    key = content_key("power", genes, pairs.positive, pairs.perturbation, gene_only, *settings)
    found: Any = memory.recall(
        key,
        lambda: _simulate(gene_only, genes, pairs, plan, learner, true_gain, simulations, resamples, seed),
        lambda _: 100,
    )
    return cast(Power, found)


def _simulate(
    gene_only: FloatArray,
    genes: FloatArray,
    pairs: CandidatePairs,
    plan: FoldPlan,
    learner: Classifier,
    true_gain: float,
    simulations: int,
    resamples: int,
    seed: Sequence[int],
) -> Power:
    tested = np.isfinite(gene_only)
    read = pairs.subset(tested)
    unit = np.unique(read.perturbation, return_inverse=True)[1]
    drawn = group_weights(int(unit.max()) + 1, resamples, np.random.default_rng([*seed, 0]))
    weights = np.vstack([np.ones_like(drawn[:1]), drawn])
    base = grouped_auroc_bootstrap(gene_only[tested], read.positive, unit, weights)
    noise = np.random.default_rng([*seed, 1]).standard_normal((_CALIBRATION_DRAWS, read.size))
    shift = _shift_for_gain(gene_only[tested], read.positive, noise, true_gain)
    detected, gained = 0, 0.0
    for number in range(simulations):
        noise = np.random.default_rng([*seed, 2, number]).standard_normal(pairs.size)
        features = np.column_stack([genes, noise + shift * pairs.positive])
        both = out_of_fold_scores(features, pairs.positive, plan, learner)
        delta = grouped_auroc_bootstrap(both[tested], read.positive, unit, weights) - base
        detected += percentile_interval(delta[1:], requested=resamples).low > 0
        gained += float(delta[0])
    return Power(
        true_gain=true_gain,
        achieved_gain=gained / simulations,
        simulations=simulations,
        detected=int(detected),
    )


def _shift_for_gain(log_odds: FloatArray, positive: NDArray[np.bool_], noise: FloatArray, gain: float) -> float:
    """Mean difference d of the edge score that lifts the AUROC of ``log_odds`` by ``gain``, by bisection.

    ``noise`` is draws x n. The log-odds are recalibrated first: a learner would weigh worthless gene-level
    features down, and the same d would then gain more.
    """
    one = np.zeros(log_odds.size, dtype=np.intp)

    def auroc(score: FloatArray) -> float:
        return float(grouped_auroc_bootstrap(score, positive, one, [[1]])[0])

    start = auroc(log_odds)
    if start + gain >= 1.0:
        raise TooLittleDataError(f"gene-only AUROC {start:.3f} leaves no room for a true gain of {gain}")
    weighed = recalibrated_log_odds(log_odds, positive)
    low, high, shift = 0.0, 8.0, 0.0
    for _ in range(30):
        shift = (low + high) / 2
        reached = np.mean([auroc(weighed + shift * (draw + shift * positive)) for draw in noise]) - start
        low, high = (shift, high) if reached < gain else (low, shift)
        if abs(reached - gain) < gain / 100:
            break
    return shift

"""A score made of gene-level confounds and noise, and what is left of it: the negative control of an evaluation.

What belongs here: the score, its gain over gene-level features, and its rank within perturbations before and after
these features are regressed out. What does not: what follows from it (`positive_controls`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri
from scipy.stats import rankdata

from interp_assets.analyses.incremental_value import (
    GENE_FEATURES,
    EdgeColumns,
    comparison_or_reason,
    incremental_cells,
)
from interp_assets.analyses.inputs import AnalysisInputs, RoleInputs
from interp_assets.analyses.rows import generator
from interp_assets.analyses.score_contrasts import Recovered, screen_truth
from interp_assets.analyses.scores import gene_scores
from interp_assets.stats.incremental import Gain
from interp_assets.stats.rank_residual import residual_rows

EDGE: Final = "confound_only"
SHARE: Final = 0.8  # weight of the confounds beside noise of standard deviation 1
SPLIT: Final = "perturbation"
LEARNER: Final = "logistic"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfoundOnly:
    """The score against the screen, what is left of it, and its gain; a text where one could not be computed."""

    raw: Recovered | str
    left: Recovered | str
    units: int
    gain: Gain | str


def confound_score(role: RoleInputs, rng: np.random.Generator) -> NDArray[np.float64]:
    """Score (genes x genes) of target variance and regulator mean, without anything about the pair itself.

    .8 (z(variance of the target) + z(mean of the regulator)) + noise of standard deviation 1, z the normal quantile of
    the rank: the product of the two on a logarithmic scale.
    """
    genes = gene_scores(role)
    confounds = _normal(genes["mean"])[:, None] + _normal(genes["variance"])[None, :]
    return np.asarray(SHARE * confounds + rng.standard_normal(confounds.shape))


def confound_only(inputs: AnalysisInputs, role: RoleInputs, number: int) -> ConfoundOnly:
    """The confound-only score on the primary screen; ``number`` sets its random generators apart."""
    score = confound_score(role, generator(inputs, number, 1))
    truth = screen_truth(inputs, role, generator(inputs, number, 2))
    gain = _gain(inputs, score)
    if truth is None:
        reason = "no perturbation has enough positive and negative candidates; see perturbation_exclusions"
        return ConfoundOnly(raw=reason, left=reason, units=0, gain=gain)
    rows, genes = truth.rows(score), gene_scores(role)
    features = np.stack([np.broadcast_to(genes[name], rows.shape) for name in GENE_FEATURES])
    (left,) = residual_rows(rows[None], features, truth.candidates)["normal scores, cubic"]
    return ConfoundOnly(raw=truth.recover(rows), left=truth.recover(left), units=truth.units, gain=gain)


def _gain(inputs: AnalysisInputs, score: NDArray[np.float64]) -> Gain | str:
    """Gain in AUROC over gene-level features, perturbation split and logistic regression, as in analysis 26."""
    comparison = comparison_or_reason(inputs)
    if isinstance(comparison, str):
        return comparison
    pairs = comparison.pairs
    columns = score[pairs.source, pairs.target][:, None]
    own = replace(comparison, edges={EDGE: EdgeColumns(columns=columns, missing_share=0.0)})
    (cell,) = incremental_cells(own, (EDGE,), (SPLIT,), (LEARNER,))
    return cell.gain("auroc") if cell.gains else cell.reason


def _normal(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(ndtri((rankdata(values) - 0.5) / values.size))

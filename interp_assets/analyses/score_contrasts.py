"""Scores of the same pairs against one truth, and their paired differences.

What belongs here: what E6 and E9 share. A truth is a screen, whose units are perturbations, or a reference network,
whose units are regulators. All scores of one truth share units, candidates and resamples, so that a difference of two
scores is paired throughout. What does not: which scores are compared.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from interp_assets.analyses.inputs import AnalysisInputs, RoleInputs
from interp_assets.analyses.perturbation_first import evaluable
from interp_assets.analyses.rows import chosen_settings
from interp_assets.analyses.scores import (
    ReferencePairs,
    Subset,
    candidate_labels,
    pairs_or_reason,
    reference_pairs,
    reference_scores,
)
from interp_assets.stats.clustered_recovery import outranked
from interp_assets.stats.equivalence import bootstrap_equivalence, two_sided_p
from interp_assets.stats.paired import Equivalence, equivalence_test, signed_rank
from interp_assets.stats.ranking import rank_rows
from interp_assets.stats.replication import Reading, read_context
from interp_assets.stats.resampling import Interval, group_weights, percentile_interval

Float = NDArray[np.float64]
SCREEN: Final = "screen"
CHANCE: Final = 0.5
SETTINGS: Final = ("analysis_depth", "pairwise_bootstrap", "equivalence_margin", "min_positives", "min_negatives")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovered:
    """AUROC of one score, its resamples (B), and by unit (n) where units have one of their own.

    Against a screen ``auroc`` is the mean over perturbations; against a reference it is that of all candidate pairs,
    and ``by_unit`` is None.
    """

    auroc: float
    draws: Float
    by_unit: Float | None

    @property
    def interval(self) -> Interval:
        """Interval over the units; NaN where there is only one."""
        return percentile_interval(self.draws, requested=self.draws.size)

    @property
    def p_above_chance(self) -> float:
        """One-sided p that the AUROC exceeds one half: signed rank over units, or (k + 1) / (n + 1) over resamples."""
        if self.by_unit is not None:
            return signed_rank(self.by_unit - CHANCE, "greater").p
        drawn = self.draws[np.isfinite(self.draws)]
        return float("nan") if drawn.size == 0 else float((1 + (drawn <= CHANCE).sum()) / (1 + drawn.size))


@dataclass(frozen=True, slots=True, kw_only=True)
class ScreenTruth:
    """Outcomes of the evaluable perturbations (n) of a screen over one subset of genes."""

    name: str
    subset: Subset
    unit: str
    source: NDArray[np.int32]
    label: NDArray[np.int8]
    weights: NDArray[np.int64]

    @property
    def units(self) -> int:
        """Number of perturbations."""
        return int(self.source.size)

    @property
    def candidates(self) -> NDArray[np.bool_]:
        """Every gene but the perturbed one, whether its outcome is listed or not."""
        return np.asarray(self.source[:, None] != np.arange(self.label.shape[1])[None, :])

    def rows(self, score: Float) -> Float:
        """Scores of the perturbed genes against all genes."""
        return np.asarray(score[self.source])

    def recover(self, rows: Float) -> Recovered:
        """Mean AUROC over perturbations; labels choose the candidates."""
        values = rank_rows(rows).auroc(self.label)
        return Recovered(auroc=float(values.mean()), draws=self.weights @ values / values.size, by_unit=values)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceTruth:
    """Candidate pairs of a reference network: each listed regulator (n) against every other gene."""

    name: str
    subset: Subset
    unit: str
    pairs: ReferencePairs
    weights: NDArray[np.int64]

    @property
    def units(self) -> int:
        """Number of regulators."""
        return int(self.pairs.regulators.size)

    @property
    def candidates(self) -> NDArray[np.bool_]:
        """Every gene but the regulator."""
        return np.asarray(self.pairs.regulators[:, None] != np.arange(self.pairs.member.shape[1])[None, :])

    def rows(self, score: Float) -> Float:
        """Scores of the regulators against all genes; a symmetric reference takes the mean of the two directions."""
        return reference_scores(self.pairs, score)

    def recover(self, rows: Float) -> Recovered:
        """AUROC over all candidate pairs; one regulator alone leaves nothing to resample."""
        counted = outranked(rows, self.pairs.member, self.candidates)
        draws = counted.draws(self.weights) if self.units > 1 else np.full(self.weights.shape[0], np.nan)
        return Recovered(auroc=counted.auroc, draws=draws, by_unit=None)


# What scores are held against: ``rows`` picks the scores of its pairs (n x G) and ``recover`` judges them.
Truth = ScreenTruth | ReferenceTruth


@dataclass(frozen=True, slots=True, kw_only=True)
class Contrast:
    """Score minus baseline against one truth: difference, interval over units, two-sided p, equivalence, reading.

    p is a signed-rank p over perturbations, or twice the smaller tail (k + 1) / (n + 1) of resampled regulators.
    ``reading`` is greater, smaller, equal (the equivalence test and the whole interval within the margin) or undecided.
    """

    difference: float
    interval: Interval
    p: float
    equivalence: Equivalence
    reading: Reading


def contrast(score: Recovered, baseline: Recovered, margin: float) -> Contrast:
    """Paired difference of two scores of one truth; their resamples must be the same."""
    draws = score.draws - baseline.draws
    interval = percentile_interval(draws, requested=draws.size)
    if score.by_unit is not None and baseline.by_unit is not None:
        change = score.by_unit - baseline.by_unit
        test = signed_rank(change)
        p, smallest, equal = test.p, test.smallest_p, equivalence_test(change, margin)
        if test.n == test.n_zero:
            smallest = 0.0  # the same score throughout is no lack of units
    else:
        p, equal = two_sided_p(draws), bootstrap_equivalence(draws, margin)
        smallest = 2.0 / (1 + interval.resamples_done)
    return Contrast(
        difference=score.auroc - baseline.auroc,
        interval=interval,
        p=p,
        equivalence=equal,
        reading=read_context(interval, smallest, equal),
    )


def screen_truth(
    inputs: AnalysisInputs, role: RoleInputs, rng: np.random.Generator, subset: Subset = "all"
) -> ScreenTruth | None:
    """Outcomes of the evaluable perturbations of a screen; None where there is none."""
    label = candidate_labels(role, subset)
    keep = evaluable(inputs, label)
    if not keep.any():
        return None
    return ScreenTruth(
        name=SCREEN,
        subset=subset,
        unit="perturbation",
        source=role.source[keep],
        label=label[keep],
        weights=_weights(inputs, int(keep.sum()), rng),
    )


def reference_truths(
    inputs: AnalysisInputs, role: RoleInputs, rng: np.random.Generator
) -> tuple[list[ReferenceTruth], str]:
    """The role's references that have a pair inside the genes, the primary one first, and why that one is not there."""
    primary = pairs_or_reason(role)
    others = [name for name in role.references if name != role.primary_reference]
    found = [primary] if isinstance(primary, ReferencePairs) else []
    found += [pairs for pairs in (reference_pairs(role, name) for name in others) if pairs.regulators.size]
    truths = [
        ReferenceTruth(
            name=pairs.name,
            subset="all",
            unit="regulator",
            pairs=pairs,
            weights=_weights(inputs, pairs.regulators.size, rng),
        )
        for pairs in found
    ]
    return truths, primary if isinstance(primary, str) else ""


def contrast_columns(found: Contrast, truth: Truth) -> dict[str, Any]:
    """Table columns of a difference: interval, p, equivalence test, reading and resamples."""
    return {
        "n_units": truth.units,
        "unit": truth.unit,
        "difference": found.difference,
        "ci_low": found.interval.low,
        "ci_high": found.interval.high,
        "p": found.p,
        "margin": found.equivalence.margin,
        "p_equivalent": found.equivalence.p,
        "equivalent": found.equivalence.equivalent,
        "reading": found.reading,
        "resamples_requested": found.interval.resamples_requested,
        "resamples_done": found.interval.resamples_done,
    }


def _weights(inputs: AnalysisInputs, units: int, rng: np.random.Generator) -> NDArray[np.int64]:
    return group_weights(units, int(chosen_settings(inputs, "pairwise_bootstrap")["pairwise_bootstrap"]), rng)

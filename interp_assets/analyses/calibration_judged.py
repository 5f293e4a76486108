"""Scores of a context under every calibrator, and their conformal sets: what analysis 9 judges on the test pairs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from interp_assets.analyses.calibration_screens import Pairs, Split
from interp_assets.analyses.inputs import AnalysisInputs
from interp_assets.analyses.rows import generator
from interp_assets.stats.calibration import (
    CALIBRATORS,
    BinSums,
    CalibratorName,
    ConformalSets,
    bin_sums,
    calibrated,
    conformal_sets,
    equal_mass_bins,
    equal_width_bins,
    perturbation_shares,
    perturbation_weights,
)
from interp_assets.stats.expression_scorers import SCORERS

NUMBER: Final = 9
ALPHAS: Final = (0.05, 0.10, 0.20)
Float = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One score under one calibrator on the test pairs of a context: probabilities, bins, error and its draws."""

    context: str
    scorer: str
    calibrator: CalibratorName
    fitted_on: str
    fitted: Pairs
    test: Pairs
    probability: Float
    width: BinSums
    mass: BinSums
    draws: Float

    @property
    def ece(self) -> float:
        """Expected calibration error in bins of equal width."""
        return float(self.width.ece()[0])

    @property
    def ece_constant(self) -> float:
        """Error of calling every pair by the share of edges among the fitted pairs, whatever its score."""
        return abs(float(self.fitted.label.mean()) - float(self.test.label.mean()))

    @property
    def transferred(self) -> bool:
        """Whether the calibrator was fitted in another context."""
        return self.context != self.fitted_on


@dataclass(frozen=True, slots=True, kw_only=True)
class Sets:
    """Conformal sets of one score at one level on the test pairs of a context."""

    context: str
    scorer: str
    alpha: float
    by_class: bool
    calibration: Pairs
    test: Pairs
    sets: ConformalSets
    coverage: float
    draws: Float


def _weights(inputs: AnalysisInputs, test: Pairs, used: Mapping[str, Any], purpose: int) -> Float:
    """Resamples of the tested perturbations, the same for every score and calibrator of a context."""
    return perturbation_weights(
        test.names.size, int(used["calibration_bootstrap"]), generator(inputs, NUMBER, 3, purpose)
    )


def judge(inputs: AnalysisInputs, split: Split, used: Mapping[str, Any]) -> list[Judged]:
    """Every score under every calibrator of the same context."""
    weights = _weights(inputs, split.test, used, len(split.whole.datasets))
    return [
        _judged(split.name, scorer, name, split.fit, split.test, split.name, weights, int(used["calibration_bins"]))
        for scorer in SCORERS
        for name in CALIBRATORS
    ]


def carry(inputs: AnalysisInputs, fitted: Pairs, target: Split, used: Mapping[str, Any]) -> list[Judged]:
    """Every score under the calibrators of the source screen, on the test part of the target."""
    weights = _weights(inputs, target.test, used, len(target.whole.datasets))
    return [
        _judged(target.name, scorer, name, fitted, target.test, fitted.name, weights, int(used["calibration_bins"]))
        for scorer in SCORERS
        for name in CALIBRATORS
        if name != "raw"
    ]


def _judged(
    context: str,
    scorer: str,
    calibrator: CalibratorName,
    fitted: Pairs,
    test: Pairs,
    fitted_on: str,
    weights: Float,
    bins: int,
) -> Judged:
    probability = calibrated(calibrator, fitted.scores[scorer], fitted.label, test.scores[scorer])
    shape = (test.names.size, bins)
    width, mass = (
        bin_sums(probability, test.label, test.perturbation, cut(probability, bins), shape)
        for cut in (equal_width_bins, equal_mass_bins)
    )
    return Judged(
        context=context,
        scorer=scorer,
        calibrator=calibrator,
        fitted_on=fitted_on,
        fitted=fitted,
        test=test,
        probability=probability,
        width=width,
        mass=mass,
        draws=width.ece(weights),
    )


def conformal(inputs: AnalysisInputs, split: Split, used: Mapping[str, Any]) -> list[Sets]:
    """Sets of every score at every level, by one threshold and by one a class, from Platt probabilities."""
    weights = _weights(inputs, split.test, used, len(split.whole.datasets))
    found = []
    for scorer in SCORERS:
        learned = split.fit.scores[scorer], split.fit.label
        held, new = (calibrated("platt", *learned, part.scores[scorer]) for part in (split.calibrate, split.test))
        for alpha in ALPHAS:
            for by_class in (False, True):
                sets = conformal_sets(held, split.calibrate.label, new, alpha, by_class=by_class)
                covered = sets.covered(split.test.label)
                found.append(
                    Sets(
                        context=split.name,
                        scorer=scorer,
                        alpha=alpha,
                        by_class=by_class,
                        calibration=split.calibrate,
                        test=split.test,
                        sets=sets,
                        coverage=float(covered.mean()),
                        draws=perturbation_shares(covered, split.test.perturbation, weights),
                    )
                )
    return found

"""Laws of probabilities: conformal sets cover what is exchangeable, calibration errors are means over pairs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from interp_assets.stats import calibration
from tests.properties.laws import law

SEEDS = st.integers(0, 2**32 - 1)
ALPHAS = st.sampled_from([0.05, 0.1, 0.2, 0.5])
PROBABILITIES = st.lists(st.floats(0, 1), min_size=1, max_size=40)


@law("conformal: the threshold leaves out at most alpha of n + 1 exchangeable scores, whichever is the new one", 200)
@given(st.lists(st.floats(0, 1), min_size=2, max_size=60), st.floats(0.01, 0.99))
def test_every_place_among_exchangeable_scores_is_covered(scores, alpha):
    """The finite-sample bound itself: each of n + 1 scores in turn is the new one."""
    scores = np.array(scores)
    covered = [
        score <= calibration.conformal_threshold(np.delete(scores, place), alpha) for place, score in enumerate(scores)
    ]
    assert np.mean(covered) >= 1 - alpha - 1e-9


@law("conformal: coverage of exchangeable pairs is not below 1 - alpha, in both classes too", 12)
@given(SEEDS, ALPHAS, st.booleans())
def test_coverage_of_exchangeable_pairs(seed, alpha, by_class):
    """40 new pairs for each of 60 calibrations; fewer than 1 in 10,000 correct rules would fall below the limit."""
    rng = np.random.default_rng(seed)
    held, of_edges = [], []
    for _ in range(60):
        score = rng.random(160)
        label = (rng.random(160) < 0.2 + 0.5 * score).astype(np.int8)
        known, new = slice(0, 159), slice(159, 160)
        sets = calibration.conformal_sets(score[known], label[known], score[new], alpha, by_class=by_class)
        held += sets.covered(label[new]).tolist()
        if label[159] == 1:
            of_edges.append(held[-1])
    assert sum(held) >= binom.ppf(1e-4, len(held), 1 - alpha)
    if by_class:
        assert sum(of_edges) >= binom.ppf(1e-4, len(of_edges), 1 - alpha)


@law("conformal: a smaller alpha only enlarges sets", 100)
@given(PROBABILITIES, SEEDS, st.booleans())
def test_a_stricter_level_only_enlarges_sets(probability, seed, by_class):
    rng = np.random.default_rng(seed)
    probability = np.array(probability)
    label = rng.integers(0, 2, probability.size).astype(np.int8)
    new = rng.random(20)
    loose, strict = (
        calibration.conformal_sets(probability, label, new, alpha, by_class=by_class) for alpha in (0.3, 0.05)
    )
    assert (strict.edge >= loose.edge).all()
    assert (strict.other >= loose.other).all()
    for sets in (loose, strict):
        assert sum(sets.shares) == pytest.approx(1.0, abs=1e-12)
    if by_class:
        for kind, excluded in ((1, ~strict.edge), (0, ~strict.other)):
            assert not (excluded.any() and not (label == kind).any()), "a label nobody has seen was excluded"


@law("calibration error: 0 for shares that are true, at most 1, the same by sums and by pairs", 100)
@given(PROBABILITIES, st.integers(1, 12), SEEDS)
def test_the_calibration_error_is_the_mean_over_pairs(probability, bins, seed):
    rng = np.random.default_rng(seed)
    probability = np.array(probability)
    label = rng.integers(0, 2, probability.size).astype(np.int8)
    perturbation = rng.integers(0, 3, probability.size)
    for binning in (calibration.equal_width_bins, calibration.equal_mass_bins):
        place = binning(probability, bins)
        assert place.min() >= 0
        assert place.max() < bins
        shape = (3, bins)
        sums = calibration.bin_sums(probability, label, perturbation, place, shape)
        inside = [place == number for number in np.unique(place)]
        expected = sum(abs(probability[mask].sum() - label[mask].sum()) for mask in inside) / probability.size
        found = sums.ece().item()
        assert found == pytest.approx(expected, abs=1e-12)
        assert 0.0 <= found <= 1.0 + 1e-12
        true = np.array([label[place == number].mean() for number in place])
        assert calibration.bin_sums(true, label, perturbation, place, shape).ece().item() == pytest.approx(0, abs=1e-12)


@law("calibrated probabilities lie in 0 to 1 and keep the order of scores", 40)
@given(st.integers(4, 60), st.booleans(), SEEDS)
def test_calibrators_are_monotone(n, ties, seed):
    rng = np.random.default_rng(seed)
    score = rng.integers(0, 4, n).astype(float) if ties else rng.normal(size=n)
    label = np.r_[0, 1, (rng.random(n - 2) < 1 / (1 + np.exp(-score[2:])))].astype(np.int8)
    new = np.sort(rng.normal(0, 4, 30))
    for name in ("platt", "isotonic"):
        found = calibration.calibrated(name, score, label, new)
        assert ((found >= 0) & (found <= 1)).all()
        steps = np.diff(found)
        # Platt falls where edges have the lower scores.
        assert (steps >= -1e-12).all() or (name == "platt" and (steps <= 1e-12).all())


@law("parts of a split: every perturbation in one, a half and two quarters", 60)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=80), SEEDS)
def test_every_perturbation_lies_in_one_part(strata, seed):
    part = calibration.split_parts(strata, np.random.default_rng(seed))
    size = np.bincount(part, minlength=3)
    n = len(strata)
    assert size.sum() == n
    assert abs(size[calibration.FIT] - n / 2) <= 1
    assert abs(size[calibration.CALIBRATE] - n / 4) <= 1
    assert abs(size[calibration.TEST] - n / 4) <= 1

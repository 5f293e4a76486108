"""Diffusion pseudotime of cells on a known path."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from interp_assets.stats.diffusion import diffusion_pseudotime


@pytest.fixture(scope="module")
def path():
    rng = np.random.default_rng(0)
    time = rng.permutation(np.linspace(0, 1, 150))
    centre = rng.uniform(-0.2, 1.2, 60)
    return time, np.exp(-((time[:, None] - centre) ** 2) / 0.08) + 0.1 * rng.normal(size=(150, 60))


def test_cells_come_in_their_order_from_either_end(path):
    time, values = path
    for early, sign in ((time < 0.1, 1), (time > 0.9, -1)):
        found = diffusion_pseudotime(values, early, components=10)
        assert spearmanr(found.pseudotime, time).statistic * sign > 0.98
        assert early[found.root]
        assert found.pseudotime[found.root] == 0
        assert found.early_first > 0.98


def test_it_is_the_same_twice(path):
    time, values = path
    one, other = (diffusion_pseudotime(values, time < 0.1, components=10).pseudotime for _ in range(2))
    np.testing.assert_array_equal(one, other)


def test_early_first_is_the_auroc(path):
    from sklearn.metrics import roc_auc_score

    time, values = path
    early = (time < 0.3) & (np.arange(150) % 3 > 0)
    found = diffusion_pseudotime(values, early, components=10)
    assert found.early_first == pytest.approx(roc_auc_score(early, -found.pseudotime))


def test_an_ordering_needs_early_cells_and_enough_of_them():
    values = np.random.default_rng(0).normal(size=(30, 10))
    with pytest.raises(ValueError, match="0 of 30 cells are known to be early"):
        diffusion_pseudotime(values, np.zeros(30, dtype=bool))
    with pytest.raises(ValueError, match="too few for an ordering"):
        diffusion_pseudotime(values[:10], np.arange(10) < 2)

"""The most variable genes: the asked number, ties by place, nothing without a variance."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from interp_assets.stats.most_variable import most_variable


@pytest.mark.parametrize("share", [0.1, 0.5, 2000 / 3309, 1.0])
def test_equals_pandas(share):
    variance = np.random.default_rng(0).random(331)
    expected = pd.Series(variance).nlargest(round(share * 331)).index.sort_values()
    assert most_variable(variance, share).tolist() == expected.tolist()


def test_the_published_number_and_ties():
    assert most_variable(np.ones(3309), 2000 / 3309).tolist() == list(range(2000))


@pytest.mark.parametrize(
    ("variance", "share", "message"),
    [([1.0, 2.0], 0.0, "share"), ([1.0], 1.2, "share"), ([1.0, np.nan], 0.5, "finite"), ([1.0, 2.0], 0.1, "none")],
)
def test_refusals(variance, share, message):
    with pytest.raises(ValueError, match=message):
        most_variable(variance, share)

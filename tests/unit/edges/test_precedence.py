"""Token order of gene pairs: equal to walking through the cells."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from interp_assets.cells.prepare import normalised_log
from interp_assets.cells.records import PreparedCells
from interp_assets.edges.scores import precedence_edges


def test_precedence_equals_a_walk_through_the_cells():
    rng = np.random.default_rng(2)
    counts = rng.poisson(rng.uniform(0.1, 2.5, 9), size=(30, 9))
    counts[:, 3] = 0
    matrix = sparse.csr_matrix(counts, dtype=np.int32)
    names = np.array([f"G{number}" for number in range(9)])
    control = np.arange(30) % 5 != 0
    cells = PreparedCells(
        dataset="toy",
        species="human",
        data_origin="simulated",
        counts=matrix,
        log=normalised_log(matrix),
        genes=names,
        obs=pd.DataFrame(index=[f"c{number}" for number in range(30)]),
        control=control,
        cells_hash="the hash",
        universe=names,
    )
    share = counts[control] / counts[control].sum(axis=1, keepdims=True)
    median = np.array([np.median(column[column > 0]) if (column > 0).any() else 1.0 for column in share.T])
    relative = share / median
    found = precedence_edges(cells)
    for first in range(9):
        for second in range(9):
            both = (relative[:, first] > 0) & (relative[:, second] > 0)
            got = found.score[first, second]
            if not both.any():
                assert np.isnan(got)
                continue
            x, y = relative[both, first], relative[both, second]
            assert got == pytest.approx(((x > y) + (x == y) / 2).mean(), abs=1e-6)
            assert found.cells_behind[first, second] == both.sum()
    seen = found.cells_behind > 0
    np.testing.assert_allclose((found.score + found.score.T)[seen], 1.0, atol=1e-6)
    assert found.cells_hash == "the hash"

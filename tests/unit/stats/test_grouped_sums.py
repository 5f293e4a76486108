"""Sums by group in one walk equal sums of the rows themselves."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from interp_assets.stats.grouped_sums import grouped_sums, labelled_sums


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int64])
def test_sparse_rows_are_summed_in_float64_for_every_group_they_are_in(kind):
    rng = np.random.default_rng(0)
    rows = sparse.csr_matrix((rng.poisson(0.7, (50, 12)) * rng.integers(1, 9, 12)).astype(kind))
    members = sparse.csr_matrix((rng.random((4, 50)) < 0.4).astype(np.float64))
    members = sparse.vstack([members, sparse.csr_matrix((1, 50))], format="csr")
    sums = grouped_sums(rows.data, rows.indices, rows.indptr, members.indices, members.indptr, 12)
    dense = rows.toarray().astype(np.float64)
    assert sums.dtype == np.float64
    np.testing.assert_allclose(sums[..., 0], members @ dense, rtol=1e-14)
    np.testing.assert_allclose(sums[..., 1], members @ dense**2, rtol=1e-14)
    assert not sums[-1].any()


def test_every_label_set_sums_its_own_strata_and_leaves_out_rows_of_none():
    rng = np.random.default_rng(1)
    rows, labels = rng.normal(size=(600, 7)), rng.integers(-1, 4, (3, 600))  # more rows than are read at once
    sums = labelled_sums(rows, labels, 5)
    for number, label in enumerate(labels):
        expected = [rows[label == stratum].sum(axis=0) for stratum in range(5)]
        np.testing.assert_allclose(sums[number], expected, atol=1e-12)
    assert not sums[:, 4].any()

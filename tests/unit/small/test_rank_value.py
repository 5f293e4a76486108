"""Rank-value encoding equals a plain loop, breaks ties by gene order, and refuses what is not counts."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix, random_array

from interp_assets.models.families.rank_value import fit_medians, rank_value_tokens


def naive_tokens(counts, columns, token_ids, medians, max_genes):
    """The definition, cell by cell and gene by gene."""
    cells = []
    for cell in counts:
        total = float(cell.sum())
        values = [
            (float(cell[c]) / total * 10_000 / m, t)
            for c, t, m in zip(columns, token_ids, medians, strict=True)
            if cell[c]
        ]
        values.sort(key=lambda pair: -pair[0])  # Python's sort is stable
        cells.append([token for _, token in values[:max_genes]])
    return cells


def split(tokens, offsets):
    return [tokens[a:b].tolist() for a, b in pairwise(offsets)]


@settings(max_examples=60, deadline=None)
@given(
    counts=st.integers(1, 8).flatmap(
        lambda genes: st.lists(st.lists(st.integers(0, 4), min_size=genes, max_size=genes), min_size=1, max_size=6)
    ),
    seed=st.integers(0, 2**16),
    max_genes=st.integers(1, 9),
)
def test_equals_the_naive_loop(counts, seed, max_genes):
    dense = np.array(counts)
    rng = np.random.default_rng(seed)
    known = rng.permutation(dense.shape[1])[: rng.integers(1, dense.shape[1] + 1)].astype(np.int32)
    token_ids = (4 + rng.permutation(known.size)).astype(np.int32)
    medians = rng.choice([0.5, 1.0, 2.0, 3.0], size=known.size)
    tokens, offsets = rank_value_tokens(csr_matrix(dense), known, token_ids, medians, max_genes)
    assert tokens.dtype == np.int32 and offsets.dtype == np.int64
    assert split(tokens, offsets) == naive_tokens(dense, known, token_ids, medians, max_genes)


def test_equals_the_naive_loop_at_realistic_size():
    rng = np.random.default_rng(1)
    sparse = random_array((40, 900), density=0.3, rng=rng, format="csr")
    counts = csr_matrix(sparse)
    counts.data = rng.geometric(0.5, counts.data.size).astype(np.int32)
    columns = np.sort(rng.permutation(900)[:500]).astype(np.int32)
    token_ids = np.arange(4, 504, dtype=np.int32)
    medians = rng.lognormal(0, 1, 500)
    tokens, offsets = rank_value_tokens(counts, columns, token_ids, medians, 100)
    assert split(tokens, offsets) == naive_tokens(counts.toarray(), columns, token_ids, medians, 100)


def test_ties_follow_the_order_of_columns():
    counts = csr_matrix(np.array([[2, 2, 2, 2]]))
    columns = np.array([3, 0, 2], dtype=np.int32)
    tokens, _ = rank_value_tokens(counts, columns, np.array([7, 5, 6]), np.ones(3), 10)
    assert tokens.tolist() == [7, 5, 6]


def test_the_depth_of_a_cell_cannot_change_its_order():
    genes = np.arange(3, dtype=np.int32)
    medians = np.array([1.0, 3.0, 0.7])
    shallow = csr_matrix(np.array([[3, 8, 1, 0]]))
    deep = csr_matrix(np.array([[3, 8, 1, 900]]))
    first, _ = rank_value_tokens(shallow, genes, genes + 4, medians, 3)
    second, _ = rank_value_tokens(deep, genes, genes + 4, medians, 3)
    assert first.tolist() == second.tolist() == [4, 5, 6]


def test_zeros_unlisted_genes_and_empty_cells_give_no_token():
    counts = csr_matrix(np.array([[0, 5, 1], [0, 0, 0], [0, 9, 0]]))
    counts.data[counts.data == 1] = 0  # an explicit zero
    tokens, offsets = rank_value_tokens(counts, np.array([0, 2]), np.array([4, 5]), np.ones(2), 5)
    assert tokens.size == 0 and offsets.tolist() == [0, 0, 0, 0]


def test_split_entries_of_one_gene_are_one_count():
    once = csr_matrix(np.array([[5, 4]]))
    twice = csr_matrix((np.array([3, 4, 2]), np.array([0, 1, 0]), np.array([0, 3])), shape=(1, 2))
    arguments = (np.arange(2), np.array([4, 5]), np.ones(2), 5)
    assert rank_value_tokens(twice, *arguments)[0].tolist() == rank_value_tokens(once, *arguments)[0].tolist()
    assert twice.data.size == 3, "the caller's matrix stays as it was"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"columns": np.array([0, 0])}, "repeats a gene"),
        ({"columns": np.array([0, 9])}, "must lie in"),
        ({"medians": np.array([1.0, 0.0])}, "median must be positive"),
        ({"medians": np.array([1.0, np.nan])}, "median must be positive"),
        ({"medians": np.ones(3)}, "one entry per gene"),
        ({"max_genes": 0}, "max_genes is 0"),
        ({"counts": csr_matrix(np.array([[1.0, -1.0]]))}, "not negative"),
        ({"counts": csr_matrix(np.array([[1.0, np.nan]]))}, "finite"),
    ],
)
def test_bad_input_is_named(change, message):
    arguments = {
        "counts": csr_matrix(np.array([[1, 2]])),
        "columns": np.array([0, 1]),
        "token_ids": np.array([4, 5]),
        "medians": np.ones(2),
        "max_genes": 2,
    } | change
    with pytest.raises(ValueError, match=message):
        rank_value_tokens(**arguments)


def test_medians_are_of_the_non_zero_scaled_values():
    rng = np.random.default_rng(3)
    dense = rng.poisson(0.8, (31, 7))
    dense[0, :] = 1
    totals = dense.sum(axis=1).astype(float)
    columns = np.array([5, 0, 3], dtype=np.int32)
    scaled = dense / totals[:, None] * 10_000
    expected = [np.median(scaled[dense[:, c] > 0, c]) for c in columns]
    np.testing.assert_allclose(fit_medians(csr_matrix(dense), totals, columns), expected, rtol=1e-12)


def test_a_silent_gene_has_no_median():
    with pytest.raises(ValueError, match=r"columns \[1\] have no count"):
        fit_medians(csr_matrix(np.array([[1, 0], [2, 0]])), np.array([1.0, 2.0]), np.array([0, 1]))


@pytest.mark.parametrize(("totals", "message"), [(np.array([1.0]), "one total each"), (np.zeros(2), "positive")])
def test_medians_need_the_total_of_every_cell(totals, message):
    with pytest.raises(ValueError, match=message):
        fit_medians(csr_matrix(np.array([[1, 1], [2, 1]])), totals, np.array([0, 1]))

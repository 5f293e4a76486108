"""Cells as pairs of gene and binned value: what is drawn, what is hidden, and what plain rules reach."""

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from interp_assets.models.small.batches import VocabularyCells
from interp_assets.models.small.values import (
    MASK_VALUE,
    PAD_VALUE,
    ValueSequences,
    binned,
    mean_values,
    places_of,
    value_baselines,
    value_sequences,
)


@pytest.fixture(scope="module")
def counts():
    rng = np.random.default_rng(0)
    return csr_matrix(rng.negative_binomial(1, 0.4, (12, 60)).astype(np.int32))


def test_bins_are_digits_of_the_quantiles_of_a_cell(counts):
    found = binned(counts, 11).toarray()
    for cell, bins in zip(counts.toarray(), found, strict=True):
        values = cell[cell > 0]
        assert (bins[cell > 0] == np.digitize(values, np.quantile(values, np.linspace(0, 1, 10)))).all()
        assert (bins[cell == 0] == 0).all() and bins.max() == 10


def test_a_cell_without_counts_stays_empty():
    assert binned(csr_matrix((2, 4), dtype=np.int32), 51).nnz == 0


@pytest.mark.parametrize(
    ("expressed", "silent", "genes", "share", "places"),
    [
        (500, 1500, 128, 0.25, (96, 32)),
        (30, 1500, 128, 0.25, (30, 10)),
        (500, 5, 128, 0.25, (96, 5)),
        (500, 1500, 128, 0.0, (128, 0)),
        (0, 60, 128, 0.25, (0, 0)),
    ],
)
def test_zeros_keep_their_share_of_a_sequence(expressed, silent, genes, share, places):
    assert places_of(expressed, silent, genes, share) == places


def test_sequences_show_genes_of_the_cell_with_their_bins(counts):
    drawn = value_sequences(counts, 16, 11, 0.25, np.random.default_rng(1))
    bins = binned(counts, 11).toarray()
    assert drawn.genes.shape == drawn.values.shape == (12, 17)
    assert (drawn.genes[:, 0] == 61).all() and (drawn.values[:, 0] == PAD_VALUE).all()
    for cell, genes, values, is_gene in zip(bins, drawn.genes, drawn.values, drawn.is_gene, strict=True):
        shown = genes[is_gene]
        assert np.unique(shown).size == shown.size, "no gene twice"
        assert (cell[shown] == values[is_gene]).all()
        assert (shown.size, int((values[is_gene] == 0).sum())) == (16, 4)


def test_short_cells_are_padded():
    counts = csr_matrix(np.array([[3, 1, 2, 1, 0, 0, 0, 0], [5, 0, 0, 0, 0, 0, 0, 0]], dtype=np.int32))
    drawn = value_sequences(counts, 8, 5, 0.25, np.random.default_rng(0))
    assert drawn.is_gene.sum(axis=1).tolist() == [5, 1]
    assert drawn.genes[1, 2:].tolist() == [8] * 4 and drawn.values[1, 2:].tolist() == [PAD_VALUE] * 4


def test_scattered_ties_change_what_is_read_and_never_what_is_predicted(counts):
    plain = value_sequences(counts, 16, 11, 0.25, np.random.default_rng(1))
    assert (plain.read == plain.values).all()
    mixed = value_sequences(counts, 16, 11, 0.25, np.random.default_rng(1), random_ties=1.0)
    bins = binned(counts, 11).toarray()
    rows, _ = np.nonzero(mixed.is_gene)
    assert (bins[rows, mixed.genes[mixed.is_gene]] == mixed.values[mixed.is_gene]).all()
    assert (mixed.read <= mixed.values).all() and (mixed.read < mixed.values).any(), "the left digit is the highest"
    assert ((mixed.read == 0) == (mixed.values == 0)).all()


def test_scattered_cells_hold_every_tied_bin(counts):
    cell = csr_matrix(np.repeat(np.array([[1] * 40 + [2] * 10], dtype=np.int32), 200, axis=0))
    found = binned(cell, 11, 0.5, np.random.default_rng(0)).toarray()
    whole = (found[:, :40] == found[:, :1]).all(axis=1)
    assert 0.4 < whole.mean() < 0.6, "half of the cells keep equal counts in one bin"
    assert set(found[~whole][:, :40].ravel().tolist()) == set(range(1, int(found[whole][0, 0]) + 1))


def test_cells_may_differ_in_their_share_of_zeros(counts):
    shares = np.where(np.arange(12) % 2, 0.5, 0.0)
    drawn = value_sequences(counts, 16, 11, shares, np.random.default_rng(1))
    zeros = ((drawn.values == 0) & drawn.is_gene).sum(axis=1)
    assert zeros.tolist() == [0, 8] * 6 and (drawn.is_gene.sum(axis=1) == 16).all()


def test_hidden_values_are_genes_and_only_those_change(counts):
    drawn = value_sequences(counts, 16, 11, 0.25, np.random.default_rng(1))
    hidden = drawn.hidden(0.4, np.random.default_rng(2))
    shown = drawn.shown(hidden)
    assert not hidden[:, 0].any() and 0.3 < hidden[:, 1:].mean() < 0.5
    assert (shown[hidden] == MASK_VALUE).all() and (shown[~hidden] == drawn.read[~hidden]).all()


def test_mean_values_are_those_of_many_draws(counts):
    cells = VocabularyCells(counts=counts)
    rng = np.random.default_rng(3)
    total, seen = np.zeros(60), np.zeros(60)
    for _ in range(200):
        drawn = value_sequences(counts, 16, 11, 0.25, rng)
        np.add.at(total, drawn.genes[drawn.is_gene], drawn.values[drawn.is_gene])
        np.add.at(seen, drawn.genes[drawn.is_gene], 1.0)
    drawn_mean, per_pass = total / seen, seen / 200
    overall = total.sum() / seen.sum()
    expected = (drawn_mean * per_pass + overall) / (per_pass + 1.0)
    np.testing.assert_allclose(mean_values(cells, 16, 11, 0.25), expected, atol=0.4)


def test_baselines_equal_a_plain_loop(counts):
    rng = np.random.default_rng(4)
    truth = value_sequences(counts, 16, 11, 0.25, rng)
    hidden = truth.hidden(0.4, rng)
    means = rng.uniform(1, 9, 60)
    plain, shifted = [], []
    for genes, values, is_gene, masked in zip(truth.genes, truth.values, truth.is_gene, hidden, strict=True):
        visible = [(g, v) for g, v, known, m in zip(genes, values, is_gene, masked, strict=True) if known and not m]
        shift = np.mean([v - means[g] for g, v in visible])
        for g, v, m in zip(genes, values, masked, strict=True):
            if m:
                plain.append((v - means[g]) ** 2)
                shifted.append((v - means[g] - shift) ** 2)
    found = value_baselines(means, truth, hidden)
    assert found == {"gene_mean": pytest.approx(np.mean(plain)), "gene_and_cell": pytest.approx(np.mean(shifted))}


def test_parts_of_sequences_are_rows():
    numbers = np.arange(6, dtype=np.float32).reshape(3, 2)
    whole = ValueSequences(genes=numbers.astype(np.int64), values=numbers + 1, read=numbers + 2, is_gene=numbers > 2)
    part = whole.part(slice(1, 3))
    assert part.values.tolist() == [[3, 4], [5, 6]] and part.read.tolist() == [[4, 5], [6, 7]]
    assert part.is_gene.tolist() == [[False, True], [True, True]]
    assert whole.part(slice(1, 3)).genes.tolist() == [[2, 3], [4, 5]]

"""Binned values against a loop over single values; draws that depend on the cell and the seed alone."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from scipy.sparse import csr_matrix, vstack

from interp_assets.models.adapter import Encoding
from interp_assets.models.families.binning import binned_cells, value_bins

GENES = np.array([3, 4, 9, 10, 20, 21, 22, 40], dtype=np.int64)


def digits(value: float, edges: np.ndarray) -> tuple[int, int]:
    """Edges at most as large as a value, and edges smaller than it, counted one by one."""
    left = right = 0
    for edge in edges:
        left += edge <= value
        right += edge < value
    return left, right


@pytest.mark.parametrize("bins", [3, 11, 51])
@pytest.mark.parametrize("kind", ["counts", "all different", "one value", "single"])
def test_bins_equal_a_loop_over_values(bins, kind):
    rng = np.random.default_rng(bins)
    values = {
        "counts": rng.poisson(3, 300) + 1.0,
        "all different": rng.permutation(200) + 1.0,
        "one value": np.full(7, 4.0),
        "single": np.array([2.0]),
    }[kind]
    edges = np.quantile(values, np.linspace(0, 1, bins - 1))
    uniform = rng.random(values.size)
    left_only, drawn = value_bins(values, bins), value_bins(values, bins, uniform)
    for value, draw, own, tied in zip(values, uniform, left_only, drawn, strict=True):
        left, right = digits(value, edges)
        assert own == left
        # uniform over right + 1 ... left; a value between edges has but one digit
        assert tied == (left if left == right else right + 1 + int(draw * (left - right)))
        assert 1 <= tied <= own <= bins - 1
    assert value_bins(np.sqrt(values), bins).tolist() == left_only.tolist()  # only the order counts


def test_ties_are_drawn_from_every_bin_with_equal_chance():
    values = np.array([1.0] * 40 + [2.0] * 10)  # 1 lies on most of the ten edges
    edges = np.quantile(values, np.linspace(0, 1, 10))
    left, right = digits(1.0, edges)
    assert left - right == 8
    rng = np.random.default_rng(0)
    found = Counter(int(bin_) for _ in range(500) for bin_ in value_bins(values, 11, rng.random(50))[:40])
    assert sorted(found) == list(range(right + 1, left + 1))
    expected = 500 * 40 / 8
    assert max(abs(count - expected) for count in found.values()) < 4 * np.sqrt(expected)


def toy(cells: int = 6, seed: int = 0) -> csr_matrix:
    rng = np.random.default_rng(seed)
    return csr_matrix(rng.poisson(1.2, (cells, GENES.size)))


def of_cell(found, cell: int) -> dict[int, int]:
    span = slice(found.offsets[cell], found.offsets[cell + 1])
    return dict(zip(GENES[found.gene[span]].tolist(), found.bin[span].tolist(), strict=True))


def test_expressed_genes_come_by_falling_bin_and_zeros_on_request():
    counts = toy()
    dropped = binned_cells(counts, GENES, 11, 100, Encoding())
    kept = binned_cells(counts, GENES, 11, 100, Encoding(zeros="keep"))
    for cell, row in enumerate(counts.toarray()):
        expressed = {int(gene) for gene, count in zip(GENES, row, strict=True) if count}
        assert set(of_cell(dropped, cell)) == expressed
        assert of_cell(kept, cell) == {int(gene): of_cell(dropped, cell).get(int(gene), 0) for gene in GENES}
        for found in (dropped, kept):
            span = slice(found.offsets[cell], found.offsets[cell + 1])
            assert (np.diff(found.bin[span]) <= 0).all()
    assert not dropped.left_out.any()
    assert not kept.left_out.any()


def test_a_cell_is_encoded_alike_in_any_company_order_or_type():
    counts, asked = toy(), Encoding(seed=5)
    whole = binned_cells(counts, GENES, 6, 3, asked)
    order = np.array([4, 0, 2, 5, 1, 3])
    turned = binned_cells(vstack([counts[order], toy(3, seed=9)]).tocsr().astype(np.float32), GENES, 6, 3, asked)
    for place, cell in enumerate(order):
        assert of_cell(turned, place) == of_cell(whole, cell)
    unsorted = counts.copy()
    for start, stop in zip(counts.indptr[:-1], counts.indptr[1:], strict=True):
        unsorted.indices[start:stop], unsorted.data[start:stop] = (
            part[start:stop][::-1] for part in (counts.indices, counts.data)
        )
    unsorted.has_sorted_indices = False
    again = binned_cells(unsorted, GENES, 6, 3, asked)
    assert again.gene.tolist() == whole.gene.tolist()
    assert again.bin.tolist() == whole.bin.tolist()
    other = binned_cells(counts, GENES, 6, 3, Encoding(seed=6))
    assert other.gene.tolist() != whole.gene.tolist()


def test_left_digits_need_no_draw():
    one, other = (binned_cells(toy(), GENES, 11, 100, Encoding(ties="left", seed=seed)) for seed in (0, 1))
    drawn = [binned_cells(toy(), GENES, 11, 100, Encoding(seed=seed)) for seed in (0, 1)]
    assert one.bin.tolist() == other.bin.tolist()
    assert drawn[0].bin.tolist() != drawn[1].bin.tolist()


@pytest.mark.parametrize("zeros", ["drop", "keep"])
def test_a_long_cell_shows_a_random_sample_and_counts_what_it_leaves_out(zeros):
    counts = csr_matrix(np.tile(np.arange(GENES.size), (400, 1)))  # the first gene is not expressed
    noise = np.arange(400)[:, None] + 10
    counts = csr_matrix(counts.toarray() * noise)  # every cell its own content, one order of values
    asked = Encoding(zeros=zeros)
    found, whole = (binned_cells(counts, GENES, 6, room, asked) for room in (3, 8))
    shown = np.zeros(GENES.size)
    for cell in range(400):
        own = of_cell(found, cell)
        assert len(own) == 3
        assert own.items() <= of_cell(whole, cell).items()  # bins come from the whole cell
        assert found.left_out[cell] == 7 - sum(bin_ > 0 for bin_ in own.values())
        shown[np.isin(GENES, list(own))] += 1
    eligible = 7 if zeros == "drop" else 8
    assert shown[0] == 0 or zeros == "keep"
    expected = 400 * 3 / eligible  # whatever the value
    assert np.abs(shown[-7:] - expected).max() < 4 * np.sqrt(expected)


def test_a_cell_without_counts_holds_nothing():
    counts = csr_matrix(np.array([[0] * 8, [1, 0, 0, 2, 0, 0, 0, 0]]))
    found = binned_cells(counts, GENES, 11, 100, Encoding())
    assert found.offsets.tolist() == [0, 0, 2]
    assert GENES[found.gene].tolist() == [10, 3]


@pytest.mark.parametrize(
    ("genes", "bins", "room", "said"),
    [
        (GENES[::-1], 11, 5, "rising"),
        (GENES[:3], 11, 5, "8 columns need as many vocabulary entries, rising; got 3"),
        (GENES, 2, 5, "2 bins"),
        (GENES, 11, 0, "room for 0 genes"),
    ],
)
def test_what_leaves_nothing_to_show_is_refused(genes, bins, room, said):
    with pytest.raises(ValueError, match=said):
        binned_cells(toy(), genes, bins, room, Encoding())


def test_words_that_mean_nothing_are_refused():
    for wrong, said in (({"zeros": "maybe"}, "zeros = 'maybe'"), ({"ties": "right"}, "left"), ({"seed": -1}, "0 or")):
        with pytest.raises(ValueError, match=said):
            Encoding(**wrong)

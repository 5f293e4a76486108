"""Which cells are run, and where they hold what: against plain loops."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from interp_assets.interventions.cells import cell_rows, encoded_cells, richest_cells, row_counts, subset
from interp_assets.interventions.measure import measure_interventions
from interp_assets.models.adapter import EncodedCells
from interp_assets.models.attention.plan import score_cells
from interp_assets.models.records import NothingToReadError


def scored(sequences, columns):
    """Scored cells from lists of columns (-1: special token)."""
    column = np.concatenate([np.array(sequence, dtype=np.int32) for sequence in sequences])
    offsets = np.cumsum([0, *map(len, sequences)], dtype=np.int64)
    return score_cells(EncodedCells(tokens=column + 4, column=column, offsets=offsets), columns)


@pytest.fixture(scope="module")
def many():
    """60 cells of 3 to 20 tokens over 40 columns, 25 of them scored."""
    rng = np.random.default_rng(2)
    sequences = [[-1, *rng.permutation(40)[: rng.integers(1, 19)].tolist(), -1] for _ in range(60)]
    return scored(sequences, rng.permutation(40)[:25]), sequences


def plain_richest(cells, sources, tokens):
    """Cells by number of source genes, then number; as long as the tokens last, but at least one."""
    held = {}
    for cell, (start, stop) in enumerate(pairwise(cells.offsets)):
        held[cell] = sum(int(gene) in set(sources.tolist()) for gene in cells.gene[start:stop])
    ranked = sorted((cell for cell in held if held[cell]), key=lambda cell: (-held[cell], cell))
    taken, spent = [], 0
    for cell in ranked:
        spent += int(cells.encoded.lengths[cell])
        if tokens and taken and spent > tokens:
            break
        taken.append(cell)
    return sorted(taken)


@pytest.mark.parametrize("tokens", [0, 1, 17, 40, 100, 333, 10**6])
def test_richest_cells_equal_a_plain_loop(many, tokens):
    cells, _ = many
    sources = np.array([3, 7, 8, 20, 24])
    assert richest_cells(cells, sources, tokens).tolist() == plain_richest(cells, sources, tokens)


def test_budget_bounds_the_tokens_and_zero_takes_every_cell_with_a_source(many):
    cells, _ = many
    sources = np.array([1, 2])
    for tokens in (20, 60, 200):
        assert cells.encoded.lengths[richest_cells(cells, sources, tokens)].sum() <= tokens
    everything = richest_cells(cells, sources, 0)
    assert 0 < everything.size < 60
    held = [set(cells.gene[start:stop].tolist()) & {1, 2} for start, stop in pairwise(cells.offsets)]
    assert everything.size == sum(map(bool, held))


def test_ties_go_by_cell_number_and_cells_come_back_in_order():
    cells = scored([[0, 1], [2, 3], [2, 0, 3], [3, 2], [1]], [0, 1, 2, 3])
    assert richest_cells(cells, np.array([2, 3]), 4).tolist() == [1]
    assert richest_cells(cells, np.array([2, 3]), 5).tolist() == [1, 2]
    assert richest_cells(cells, np.array([2, 3]), 6).tolist() == [1, 2]
    assert richest_cells(cells, np.array([2, 3]), 7).tolist() == [1, 2, 3]
    assert richest_cells(cells, np.array([0]), 1).tolist() == [0]


def test_the_choice_looks_at_sequences_only(many, cells, screen, model):
    """Labels may change, the cells do not."""
    encoded = encoded_cells(model, cells, screen.genes)
    chosen = richest_cells(encoded, screen.source, 60)
    assert chosen.tolist() == plain_richest(encoded, screen.source, 60)
    assert chosen.size < cells.control.sum()


def test_a_subset_holds_the_same_sequences(many):
    cells, sequences = many
    chosen = np.array([4, 5, 31, 59])
    part = subset(cells, chosen)
    assert part.genes == cells.genes
    for number, cell in enumerate(chosen):
        own = slice(part.encoded.offsets[number], part.encoded.offsets[number + 1])
        assert part.encoded.column[own].tolist() == sequences[cell]
        assert part.encoded.tokens[own].tolist() == [column + 4 for column in sequences[cell]]
    whole = scored([sequences[cell] for cell in chosen], scored_columns(cells, sequences))
    for name in ("where", "gene", "offsets"):
        assert np.array_equal(getattr(part, name), getattr(whole, name)), name


def scored_columns(cells, sequences):
    """Column of each scored gene, read back from positions."""
    columns = {}
    for cell, (start, stop) in enumerate(pairwise(cells.offsets)):
        for where, gene in zip(cells.where[start:stop], cells.gene[start:stop], strict=True):
            columns[int(gene)] = sequences[cell][where]
    return [columns[gene] for gene in range(cells.genes)]


def test_positions_and_counts_equal_a_plain_loop(many):
    cells, sequences = many
    columns = scored_columns(cells, sequences)
    rows = np.array([9, 2, 17, 24])
    counts = np.zeros((4, 25), dtype=int)
    for sequence in sequences:
        for number, row in enumerate(rows):
            for gene in range(25):
                counts[number, gene] += columns[row] in sequence and columns[gene] in sequence
    assert np.array_equal(row_counts(cells, rows), counts)
    for cell, found in zip((3, 40), cell_rows(cells, np.array([3, 40]), rows), strict=True):
        assert [sequences[cell][at] for at in found.row_at] == [columns[rows[row]] for row in found.row]
        assert [sequences[cell][at] for at in found.column_at] == [columns[gene] for gene in found.column]
        assert set(found.row) == {number for number, row in enumerate(rows) if columns[row] in sequences[cell]}


def test_a_gene_that_is_perturbed_twice_is_refused(many):
    """Regression: the first of two rows of one gene was left without cells, and its perturbation out of the table."""
    with pytest.raises(ValueError, match="listed twice"):
        row_counts(many[0], np.array([3, 5, 3]))


def test_genes_are_numbered_in_the_order_of_the_screen(model, cells, screen):
    found = encoded_cells(model, cells, screen.genes)
    names = cells.genes[found.encoded.column]
    for cell, (start, stop) in enumerate(pairwise(found.offsets)):
        own = names[found.encoded.offsets[cell] : found.encoded.offsets[cell + 1]]
        assert own[found.where[start:stop]].tolist() == screen.genes[found.gene[start:stop]].tolist()
    assert found.offsets.size - 1 == cells.control.sum()
    with pytest.raises(ValueError, match="dataset toy: scored gene nowhere is not among the measured genes"):
        encoded_cells(model, cells, np.array(["G0", "nowhere"]))


def test_cells_without_a_perturbed_gene_cannot_be_read(model, make_cells, screen, plan):
    counts = np.ones((3, 30), dtype=int)
    counts[:, [int(name[1:]) for name in screen.perturbations]] = 0
    cells = make_cells(counts, [f"G{number}" for number in range(30)])
    with pytest.raises(NothingToReadError, match="dataset toy: no control cell holds a perturbed gene"):
        measure_interventions(model, cells, screen, plan)

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from scipy import sparse, stats

from interp_assets.cells.prepare import normalised_log
from interp_assets.cells.records import PreparedCells
from interp_assets.edges.scores import co_detection_edges, rank_distance_edges, restrict_edges, spearman_edges

CELLS, GENES = 45, 14


@pytest.fixture
def cells() -> PreparedCells:
    rng = np.random.default_rng(8)
    counts = rng.poisson(rng.uniform(0.1, 2.0, size=GENES), size=(CELLS, GENES))
    counts[:, 3] = 0  # never detected
    counts[:30, 4], counts[30:, 4] = 0, 2
    counts[:30, 5], counts[30:, 5] = 3, 0  # never together with gene 4
    counts[:, 13] += 1
    matrix = sparse.csr_matrix(counts, dtype=np.int32)
    names = np.array([f"G{i}" for i in range(GENES)])
    return PreparedCells(
        dataset="toy",
        species="human",
        data_origin="simulated",
        counts=matrix,
        log=normalised_log(matrix),
        genes=names,
        obs=pd.DataFrame(index=[f"c{i}" for i in range(CELLS)]),
        control=np.arange(CELLS) % 9 != 0,
        cells_hash="the hash",
        universe=names[[1, 0, 3, 4, 5, 7, 9, 13]],
    )


def control_matrix(cells: PreparedCells, matrix: sparse.csr_matrix) -> np.ndarray:
    at = [cells.genes.tolist().index(gene) for gene in cells.universe]
    return matrix.toarray()[cells.control][:, at]


def test_spearman_equals_scipy_on_the_control_cells(cells):
    found = spearman_edges(cells)
    log = control_matrix(cells, cells.log)
    for i, j in combinations(range(len(cells.universe)), 2):
        if 2 in (i, j):  # the gene that is never detected
            assert np.isnan(found.score[i, j])
            assert np.isnan(found.score[j, i])
            continue
        expected = abs(stats.spearmanr(log[:, i], log[:, j]).statistic)
        assert found.score[i, j] == pytest.approx(expected, abs=1e-6)
        assert found.score[j, i] == found.score[i, j]
    assert found.facts["constant_genes"] == 1


def test_correlations_made_by_blocks_of_genes_are_those_made_at_once(cells, monkeypatch):
    whole = spearman_edges(cells)
    monkeypatch.setattr("interp_assets.edges.scores.BLOCK", 3)
    by_blocks = spearman_edges(cells)
    np.testing.assert_allclose(by_blocks.score, whole.score, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(by_blocks.score, by_blocks.score.T)


@pytest.mark.parametrize("make", [spearman_edges, rank_distance_edges, co_detection_edges])
def test_scores_carry_cells_and_genes(cells, make):
    found = make(cells)
    assert found.cells_hash == "the hash"
    assert found.genes.tolist() == cells.universe.tolist()
    assert (found.score.dtype, found.cells_behind.dtype) == (np.float32, np.int32)
    np.testing.assert_array_equal(found.score, found.score.T)
    if make is not rank_distance_edges:
        assert (found.cells_behind == cells.control.sum()).all()


def test_rank_distance_equals_plain_loops(cells):
    found = rank_distance_edges(cells)
    counts = control_matrix(cells, cells.counts).astype(float)
    totals = cells.counts.toarray()[cells.control].sum(axis=1)
    relative = counts / totals[:, None]
    for gene in range(relative.shape[1]):
        seen = relative[:, gene] > 0
        if seen.any():
            relative[:, gene] /= np.median(relative[seen, gene])
    total, number = np.zeros((2, *found.score.shape))
    for row in relative:
        at = np.flatnonzero(row)
        ranks = stats.rankdata(row[at]) / len(at) if len(at) else []
        for (i, a), (j, b) in combinations(zip(at, ranks, strict=True), 2):
            total[[i, j], [j, i]] += abs(a - b)
            number[[i, j], [j, i]] += 1
    off = ~np.eye(len(number), dtype=bool)
    expected = np.divide(-total, number, out=np.full_like(total, np.nan), where=number > 0)
    np.testing.assert_allclose(found.score[off], expected[off].astype(np.float32), rtol=1e-6)
    np.testing.assert_array_equal(found.cells_behind[off], number[off])
    assert np.isnan(found.score[3, 4])
    assert np.nanmax(found.score) <= 0


def test_co_detection_is_the_share_of_cells_with_both(cells):
    seen = control_matrix(cells, cells.counts) > 0
    expected = (seen[:, :, None] & seen[:, None, :]).mean(axis=0)
    np.testing.assert_allclose(co_detection_edges(cells).score, expected, rtol=1e-6)


def test_cells_outside_the_control_sample_change_nothing(cells):
    changed = cells.log.toarray()
    changed[~cells.control] = 9.0
    other = PreparedCells(
        **{name: getattr(cells, name) for name in PreparedCells.__slots__ if name != "log"},
        log=sparse.csr_matrix(changed),
    )
    np.testing.assert_array_equal(spearman_edges(other).score, spearman_edges(cells).score)


def test_restricting_keeps_the_scores_in_the_asked_order(cells):
    found = co_detection_edges(cells)
    part = restrict_edges(found, np.array(["G9", "G0"]))
    assert part.score[0, 1] == found.score[6, 1]
    assert part.cells_hash == found.cells_hash
    with pytest.raises(ValueError, match="1 of 2 genes are not there, such as 'X'"):
        restrict_edges(found, np.array(["G9", "X"]))


def test_a_gene_that_was_not_measured_is_named(cells):
    with pytest.raises(ValueError, match="such as 'nowhere'"):
        spearman_edges(cells, np.array(["G1", "nowhere"]))

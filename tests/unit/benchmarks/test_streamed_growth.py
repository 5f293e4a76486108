"""The cells of the growth curves: a file by rows, genes that the release knows, and the tokens it gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.streamed_cells import GENES, names_of, read_by_rows, write_cells
from interp_assets.cells.count_sources import BackedCounts


def test_cells_are_written_by_rows_with_as_many_genes_each(tmp_path: Path) -> None:
    write_cells(tmp_path / "cells.h5ad", 40, 100, 10, compression=None)
    with BackedCounts(tmp_path / "cells.h5ad") as counts:
        rows = counts.rows(0, 40)
    assert rows.shape == (40, 100)
    assert np.diff(rows.indptr).tolist() == [10] * 40
    assert rows.data.min() >= 1


def test_columns_hold_genes_of_the_release_and_others() -> None:
    names = names_of(GENES)
    known = np.array([not name.startswith("unknown-") for name in names])
    assert names.size == np.unique(names).size == GENES
    assert 0 < known.sum() < GENES


def test_both_ways_of_reading_run_to_their_end() -> None:
    for keep in (False, True):
        read_by_rows(50, keep=keep)()

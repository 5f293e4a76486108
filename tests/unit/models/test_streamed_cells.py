"""Counts read from an h5ad file by rows: same tokens, key and bytes as the matrix in memory, memory of one block."""

from __future__ import annotations

import dataclasses
import hashlib
import tracemalloc
from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csc_matrix, csr_matrix

from interp_assets.cells.count_sources import (
    BackedCounts,
    CountSource,
    HeldCounts,
    add_content,
    blocks,
    control_counts,
)
from interp_assets.cells.integrity import DataFileError
from interp_assets.cells.read_cells import CellsError
from interp_assets.models.adapter import EncodedCells, load_model
from interp_assets.models.attention import encoded_blocks
from interp_assets.models.attention.encoded_blocks import encode_blocks, joined
from interp_assets.models.attention.extraction import ExtractionSettings, extract_attention
from interp_assets.models.attention.settings import request_key
from interp_assets.models.files.releases import read_release

SETTINGS = ExtractionSettings(device="cpu", batch_tokens=48, cells_per_shard=3, threads=1, progress=False)


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.glob("*.*"))}


def write_h5ad(path: Path, matrix, *, place: str = "X") -> Path:
    names = pd.DataFrame(index=[f"cell{row}" for row in range(matrix.shape[0])])
    genes = pd.DataFrame(index=[f"G{column}" for column in range(matrix.shape[1])])
    data = anndata.AnnData(X=matrix if place in {"X", "raw"} else None, obs=names, var=genes)
    if place.startswith("layers/"):
        data.layers[place.removeprefix("layers/")] = matrix
    if place == "raw":
        data.raw = data.copy()
        data.X = csr_matrix(matrix.shape, dtype=np.float32)
    data.write_h5ad(path)
    return path


@pytest.fixture(params=["X", "raw", "layers/counts"])
def place(request):
    return request.param


def test_control_cells_of_a_file_give_the_key_and_bytes_of_the_matrix(
    write_release, toy_cells, tmp_path, place, monkeypatch
):
    monkeypatch.setattr(encoded_blocks, "blocks", lambda source: blocks(source, 4))
    release = read_release(write_release(peak=5.0))
    # float counts with stored zeros and unsorted columns, beside cells and genes that are not read
    stored = toy_cells.counts.astype(np.float32)
    stored.data[::7] = 0.0
    clean = stored.astype(np.int32)
    clean.eliminate_zeros()
    cells = dataclasses.replace(toy_cells, counts=clean)
    wide = np.zeros((17, 50), dtype=np.float32)
    wide[np.ix_(np.arange(2, 16), np.arange(1, 47))] = stored.toarray()
    wide[0] = wide[16] = wide[:, 48] = 3
    path = write_h5ad(tmp_path / "cells.h5ad", csr_matrix(wide), place=place)
    extract_attention(release, cells, tmp_path / "held", SETTINGS)
    gone = dataclasses.replace(cells, counts=None, log=None)
    chosen = np.flatnonzero(cells.control)
    with BackedCounts(path, place, cells=chosen + 2, columns=np.arange(1, 47)) as counts:
        assert isinstance(counts, CountSource)
        assert counts.shape == (13, 46)
        model = load_model(release)
        tokens, whole = encode_blocks(model, counts, cells.genes), model.encode(clean[chosen], cells.genes)
        for name in ("tokens", "column", "offsets", "left_out"):
            assert np.array_equal(getattr(tokens, name), getattr(whole, name)), name
        edges = extract_attention(release, gone, tmp_path / "read", SETTINGS, counts=counts)
    assert edges.facts["key"] == request_key(release, cells, SETTINGS, "cpu")
    assert digests(tmp_path / "read") == digests(tmp_path / "held")


def test_the_hash_is_that_of_the_whole_matrix_whatever_the_blocks(monkeypatch):
    rng = np.random.default_rng(0)
    matrix = csr_matrix(rng.poisson(0.4, (40, 30)).astype(np.int32))
    chosen = np.array([3, 4, 5, 9, 30, 31, 12])
    part = matrix[chosen]
    expected = hashlib.sha256()
    for array in (part.indptr, part.indices, part.data):
        assert array.dtype == np.int32
        expected.update(b"int32" + array.tobytes())
    for size in (1, 3, 100):
        monkeypatch.setattr("interp_assets.cells.count_sources.blocks", lambda source, size=size: blocks(source, size))
        found = hashlib.sha256()
        add_content(found, HeldCounts(matrix, chosen))
        assert found.hexdigest() == expected.hexdigest()


def test_rows_are_those_asked_for_in_any_order(tmp_path):
    rng = np.random.default_rng(1)
    matrix = csr_matrix(rng.poisson(0.5, (25, 8)).astype(np.int32))
    path = write_h5ad(tmp_path / "cells.h5ad", matrix)
    chosen = np.array([24, 0, 1, 2, 7, 6, 20])
    with BackedCounts(path, cells=chosen, columns=[6, 1]) as counts:
        assert np.array_equal(counts.rows(1, 6).toarray(), matrix.toarray()[chosen[1:6]][:, [6, 1]])
        assert counts.rows(2, 2).shape == (0, 2)
    with BackedCounts(path) as counts:
        assert np.array_equal(np.vstack([block.toarray() for block in blocks(counts, 7)]), matrix.toarray())


def test_a_file_that_cannot_be_read_by_rows_is_refused(tmp_path):
    counts = np.arange(12.0).reshape(4, 3)
    by_column = write_h5ad(tmp_path / "csc.h5ad", csc_matrix(counts))
    with pytest.raises(CellsError, match=r"csc\.h5ad: X is stored as csc_matrix"):
        BackedCounts(by_column)
    with pytest.raises(CellsError, match="X is stored as array"):
        BackedCounts(write_h5ad(tmp_path / "dense.h5ad", counts))
    by_row = write_h5ad(tmp_path / "csr.h5ad", csr_matrix(counts))
    with pytest.raises(DataFileError, match="there is no layers/counts"):
        BackedCounts(by_row, "layers/counts")
    with pytest.raises(CellsError, match="cell 4 does not exist; X has 4"):
        BackedCounts(by_row, cells=[0, 4])
    (tmp_path / "text.h5ad").write_text("no file of this kind")
    with pytest.raises(DataFileError, match="not a readable h5ad"):
        BackedCounts(tmp_path / "text.h5ad")


@pytest.mark.parametrize(
    ("value", "told"), [(0.5, "no counts"), (-1.0, "no counts"), (np.nan, "NaN"), (3e9, "exceeds")]
)
def test_values_that_are_no_counts_are_refused_where_they_are_read(tmp_path, value, told):
    matrix = csr_matrix(np.ones((6, 3)))
    matrix.data[-1] = value
    with BackedCounts(write_h5ad(tmp_path / "cells.h5ad", matrix)) as counts:
        assert counts.rows(0, 5).sum() == 15
        with pytest.raises(CellsError, match=told):
            counts.rows(3, 6)


def test_counts_of_other_cells_are_refused(write_release, toy_cells, tmp_path):
    other = HeldCounts(toy_cells.counts, np.arange(14))
    with pytest.raises(ValueError, match="14 cells x 46 genes, but there are 13 control cells"):
        extract_attention(read_release(write_release()), toy_cells, tmp_path / "out", SETTINGS, counts=other)
    assert control_counts(toy_cells).shape == (13, 46)


def test_joined_parts_say_the_same_of_every_cell():
    ends = [np.array([0, 2]), np.array([0, 1, 1])]
    parts = [
        EncodedCells(tokens=np.ones(end[-1], np.int32), column=np.ones(end[-1], np.int32), offsets=end, several=last)
        for end, last in zip(ends, (False, True), strict=True)
    ]
    whole = joined(parts)
    assert whole.offsets.tolist() == [0, 2, 3, 3]
    assert whole.several
    assert whole.left_out is None
    told = dataclasses.replace(parts[0], left_out=np.zeros(1, np.int64))
    with pytest.raises(ValueError, match="different models"):
        joined([told, parts[1]])


def test_reading_needs_memory_for_a_block_whatever_the_number_of_cells(tmp_path):
    genes, each, peaks = 4000, 400, []
    rng = np.random.default_rng(2)
    for cells in (600, 4800):
        path = tmp_path / f"{cells}.h5ad"
        with h5py.File(path, "w") as file:
            group = file.create_group("X")
            group.attrs["encoding-type"], group.attrs["shape"] = "csr_matrix", (cells, genes)
            group["indptr"] = np.arange(cells + 1) * each
            columns = np.sort(rng.integers(0, genes // each, (cells, each)) + np.arange(each) * (genes // each), axis=1)
            group["indices"] = columns.ravel().astype(np.int32)
            group["data"] = np.ones(cells * each, dtype=np.float32)
        with BackedCounts(path) as counts:
            tracemalloc.start()
            total = sum(int(block.sum()) for block in blocks(counts, 200))
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
        assert total == cells * each
    assert peaks[1] < 1.1 * peaks[0]
    assert peaks[1] < 4800 * each * 8 / 3

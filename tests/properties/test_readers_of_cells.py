"""h5ad files with cells and tables that people bring are read or refused by their own error, whatever they hold."""

from __future__ import annotations

import contextlib
import tempfile
from functools import cache
from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from interp_assets.cells.dataset_records import CellsFormat, DatasetSpec
from interp_assets.cells.integrity import DataFileError
from interp_assets.cells.read_cells import CellsError, Where, read_cells
from qc_standards.user_tables import UserTableError, read_table
from tests.properties.damage import SEEDS, damaged_bytes, damaged_table
from tests.properties.laws import REFUSED, reader

pytestmark = pytest.mark.filterwarnings("ignore")  # what anndata says about files that are refused a line later
SPEC = DatasetSpec(
    id="x", title="t", kind="cells", species="human", data_origin="real", licence="l", file=Path("x.yaml")
)
FORM = CellsFormat(obs={"perturbation": ("pert",)}, control_label="c")
PUT_IN = (
    np.zeros(0), np.array([np.nan] * 3), np.array([b"a", b"b"]), 5, np.full(20, -1), np.arange(1000), np.eye(3)
)  # fmt: skip


@cache
def whole() -> bytes:
    counts = csr_matrix(np.random.default_rng(0).poisson(1, (20, 8)).astype(np.float32))
    obs = pd.DataFrame({"pert": ["c"] * 10 + ["A"] * 10, "n": range(20)}, index=[f"cell{i}" for i in range(20)])
    data = anndata.AnnData(counts, obs=obs, var=pd.DataFrame(index=list("ABCDEFGH")))
    data.uns["t"] = pd.DataFrame({"x": [1.0, 2.0], "y": ["a", "b"]})
    with tempfile.TemporaryDirectory() as folder:
        data.write_h5ad(Path(folder) / "whole.h5ad")
        return (Path(folder) / "whole.h5ad").read_bytes()


def damaged_h5ad(path: Path, seed: int) -> None:
    """The file with elements gone, of another kind, or led elsewhere by links; or with damaged bytes."""
    rng = np.random.default_rng(seed)
    if rng.random() < 0.3:
        path.write_bytes(damaged_bytes(whole(), seed))
        return
    path.write_bytes(whole())
    with h5py.File(path, "r+") as file:
        names: list[str] = []
        file.visit(names.append)
        for _ in range(int(rng.integers(1, 3))):
            name, other = (names[int(rng.integers(len(names)))] for _ in range(2))
            with contextlib.suppress(KeyError, RuntimeError):  # the damage before led it nowhere
                _damage(file, name, other, rng)


def _damage(file: h5py.File, name: str, other: str, rng: np.random.Generator) -> None:
    element, way = file[name], int(rng.integers(6))
    if way < 2 and len(element.attrs):
        key = list(element.attrs)[int(rng.integers(len(element.attrs)))]
        del element.attrs[key]
        if way == 1:
            kinds = ("x", 5, b"\xff", "csc_matrix", "dataframe", "array", [-1, 10**9], [3, 3])
            element.attrs[key] = kinds[int(rng.integers(len(kinds)))]
        return
    del file[name]
    if way == 2:
        file[name] = h5py.SoftLink(f"/{other}")
    elif way == 3:
        file[name] = h5py.ExternalLink("/etc/passwd", "/x")
    elif way == 4:
        file[name] = PUT_IN[int(rng.integers(len(PUT_IN)))]


@reader("h5ad cells: elements gone, of another kind, linked elsewhere, bytes damaged", 120)
@given(SEEDS)
def test_damaged_cells_are_refused(tmp_path, seed):
    path = tmp_path / "cells.h5ad"
    damaged_h5ad(path, seed)
    try:
        found = read_cells(FORM, Where(SPEC, path), None, None, None)
    except (CellsError, DataFileError) as refused:
        assert str(path) in str(refused)
        return REFUSED
    assert found.counts.shape == (len(found.obs), len(found.genes))
    assert (found.counts.data >= 0).all()
    assert found.counts.indices.max(initial=0) < found.counts.shape[1]
    return None


@reader("h5ad tables of qc-gate validate: the same damage", 80)
@given(st.sampled_from(["obs", "var", "uns/t"]), SEEDS)
def test_a_damaged_h5ad_table_is_refused(tmp_path, place, seed):
    path = tmp_path / "table.h5ad"
    damaged_h5ad(path, seed)
    try:
        found = read_table(path, place)
    except UserTableError as refused:
        assert str(path) in str(refused)
        return REFUSED
    assert isinstance(found, pd.DataFrame)
    return None


@reader("CSV, TSV and parquet tables of qc-gate validate: damaged bytes and columns", 200)
@given(st.sampled_from([".csv", ".tsv", ".parquet"]), st.booleans(), SEEDS)
def test_a_damaged_table_is_refused(tmp_path, ending, raw, seed):
    frame = pd.DataFrame({"metric": ["a", "b", "c"], "value": [1.0, 2.0, np.nan], "ok": [True, False, True]})
    path = tmp_path / f"t{ending}"
    held = frame if raw else damaged_table(frame, seed)
    if ending == ".parquet":
        try:
            held.to_parquet(path)
        except (ValueError, TypeError, OSError):  # what no parquet file can hold
            return None
    else:
        held.to_csv(path, sep="," if ending == ".csv" else "\t", index=False)
    if raw:
        path.write_bytes(damaged_bytes(path.read_bytes(), seed))
    try:
        found = read_table(path)
    except UserTableError as refused:
        assert str(path) in str(refused)
        return REFUSED
    assert isinstance(found, pd.DataFrame)
    return None


def test_undamaged_files_are_read(tmp_path):
    path = tmp_path / "cells.h5ad"
    path.write_bytes(whole())
    assert read_cells(FORM, Where(SPEC, path), None, None, None).counts.shape == (20, 8)
    assert read_table(path, "uns/t").columns.tolist() == ["x", "y"]


@pytest.mark.parametrize("index", [[0, 9], [0, -1], [0, 2**31 - 1]])
def test_an_index_outside_the_matrix_is_refused_before_anything_reads_there(tmp_path, index):
    path = tmp_path / "cells.h5ad"
    path.write_bytes(whole())
    with h5py.File(path, "r+") as file:
        file["X/indices"][:2] = index
    with pytest.raises((CellsError, DataFileError), match=r"no matrix of numbers|not a readable"):
        read_cells(FORM, Where(SPEC, path), None, None, None)


def test_a_link_out_of_an_h5ad_file_is_named(tmp_path):
    path, other = tmp_path / "cells.h5ad", tmp_path / "private.h5"
    other.write_bytes(whole())
    for link in (h5py.ExternalLink(str(other), "/X"), h5py.SoftLink("/obs")):
        path.write_bytes(whole())
        with h5py.File(path, "r+") as file:
            del file["X"]
            file["X"] = link
        with pytest.raises(DataFileError, match="X is a link"):
            read_cells(FORM, Where(SPEC, path), None, None, None)
        with pytest.raises(UserTableError, match="X is a link"):
            read_table(path, "obs")

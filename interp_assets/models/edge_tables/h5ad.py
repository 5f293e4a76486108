"""Edge tables inside h5ad files: ``uns/prediction`` (geneRNIB) or another table, or genes by genes as ``X``.

What belongs here: reading plain numbers and texts of an HDF5 file. What does not: any object that would have to be
unpickled, links that lead out of the file, and data of unstated size; these are refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interp_assets.models.edge_tables.files import ENTRY_LIMIT, ROW_LIMIT, Matrix, TableFile, within_limit
from interp_assets.models.edge_tables.formats import EdgeTableError, listed

if TYPE_CHECKING:
    import h5py

TABLE_PLACE: Final = "uns/prediction"
MATRIX_PLACE: Final = "X"
REWRITE: Final = "write the file again with a current anndata, columns as texts or numbers"


def open_h5ad(path: Path, place: str = "") -> TableFile:
    """Opened table of an h5ad file: ``place``, else ``uns/prediction``, else ``X`` with the names of obs and var.

    Raises
    ------
    EdgeTableError
        If there is no table at the place, it holds anything but plain numbers and texts, or is above a limit.
    """
    with _opened(path) as file:
        place = place or _place(file)
        if place == MATRIX_PLACE:
            return _matrix_file(path, file)
        table = _table(file, place)
        columns = _columns(table)

    def read(wanted: Sequence[str]) -> pd.DataFrame:
        with _opened(path) as again:
            table = _table(again, place)
            series = {name: _column(_child(table, name), f"{place}/{name}") for name in wanted}
        if len({len(values) for values in series.values()}) > 1:
            raise EdgeTableError(f"the columns of {place} differ in length")
        return pd.DataFrame(series)

    return TableFile(columns=columns, read=read, place=place)


@contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    import h5py

    try:
        with h5py.File(path, "r") as file:
            yield file
    except EdgeTableError:
        raise
    except (OSError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise EdgeTableError(f"not a readable h5ad file: {error}") from error


def _place(file: h5py.File) -> str:
    uns = file.get("uns", {})
    if "prediction" in uns:
        return TABLE_PLACE
    if MATRIX_PLACE in file:
        return MATRIX_PLACE
    tables = [f"uns/{key}" for key in uns if getattr(uns[key], "attrs", {}).get("encoding-type") == "dataframe"]
    raise EdgeTableError(
        f"neither {TABLE_PLACE} nor {MATRIX_PLACE} is there; tables: {listed(tables)}. "
        'State the place: "table": {"place": "uns/<key>"} in release.json'
    )


def _child(group: h5py.Group, name: str) -> Any:
    """An element of a group that lies in this file."""
    import h5py

    link = group.get(name, getlink=True)
    if link is None:
        raise EdgeTableError(f"{group.name}/{name} is not in the file")
    if not isinstance(link, h5py.HardLink):
        raise EdgeTableError(f"{group.name}/{name} is a link; {REWRITE}")
    found = group[name]
    if isinstance(found, h5py.Dataset) and (found.is_virtual or found.external):
        raise EdgeTableError(f"{group.name}/{name} lies in another file; {REWRITE}")
    return found


def _table(file: h5py.File, place: str) -> h5py.Group:
    import h5py

    found: Any = file
    for step in place.split("/"):
        found = _child(found, step) if isinstance(found, h5py.Group) else None
    if not isinstance(found, h5py.Group):
        raise EdgeTableError(f"{place} is no table of columns; {REWRITE}")
    return found


def _columns(table: h5py.Group) -> tuple[str, ...]:
    ordered = table.attrs.get("column-order")
    if ordered is None:
        return tuple(str(name) for name in table if name != "_index")
    return tuple(name.decode() if isinstance(name, bytes) else str(name) for name in np.atleast_1d(ordered))


def _column(element: Any, where: str) -> NDArray[Any]:
    """Values of one column; texts as str, missing ones as None or NaN."""
    import h5py

    if isinstance(element, h5py.Dataset):
        return _plain(element, where, ROW_LIMIT)
    if "codes" in element and "categories" in element:
        codes = _plain(_child(element, "codes"), where, ROW_LIMIT)
        values = _plain(_child(element, "categories"), where, ROW_LIMIT).astype(object)
        if codes.dtype.kind not in "iu" or (codes.size and (codes.max() >= values.size or codes.min() < -1)):
            raise EdgeTableError(f"{where}: a code stands for no category; {REWRITE}")
        return np.append(values, [None])[codes.astype(np.int64)]
    if "values" in element and "mask" in element:
        held = _plain(_child(element, "values"), where, ROW_LIMIT)
        hidden = _plain(_child(element, "mask"), where, ROW_LIMIT).astype(bool)
        if hidden.shape != held.shape:
            raise EdgeTableError(f"{where}: values and mask differ in length; {REWRITE}")
        if not hidden.any():
            return held
        held = held.astype(object)
        held[hidden] = None
        return held
    raise EdgeTableError(f"{where} is not a column of texts or numbers; {REWRITE}")


def _plain(dataset: Any, where: str, limit: int, dimensions: int = 1) -> NDArray[Any]:
    """Values of a dataset of numbers or texts, its size checked first."""
    import h5py

    if not isinstance(dataset, h5py.Dataset) or dataset.ndim != dimensions:
        raise EdgeTableError(f"{where} is no dataset of {dimensions} dimension(s); {REWRITE}")
    within_limit(int(np.prod(dataset.shape, dtype=np.float64)), limit, f"values at {where}")
    if h5py.check_string_dtype(dataset.dtype) is not None:
        texts: NDArray[Any] = dataset.asstr()[:]
        return texts
    if dataset.dtype.kind not in "iufb":
        raise EdgeTableError(f"{where} holds {dataset.dtype} objects, neither texts nor numbers; {REWRITE}")
    values: NDArray[Any] = dataset[:]
    return values


def _matrix_file(path: Path, file: h5py.File) -> TableFile:
    rows, columns = _axis(file, "obs"), _axis(file, "var")
    within_limit(rows.size * columns.size, ENTRY_LIMIT, "entries of a matrix")

    def read(wanted: Sequence[str]) -> pd.DataFrame:
        raise EdgeTableError(f"{MATRIX_PLACE} is a matrix and has no columns {', '.join(wanted)}")

    def matrix() -> Matrix:
        with _opened(path) as again:
            values = _matrix(_child(again, MATRIX_PLACE), (rows.size, columns.size))
        return Matrix(rows=rows, columns=columns, values=values)

    return TableFile(columns=("", *columns.tolist()), read=read, rows=lambda: rows, matrix=matrix, place=MATRIX_PLACE)


def _axis(file: h5py.File, name: str) -> NDArray[np.str_]:
    group = _child(file, name)
    label = group.attrs.get("_index", "_index")
    names = _column(_child(group, label.decode() if isinstance(label, bytes) else str(label)), f"{name} names")
    return np.array(["" if value is None else str(value) for value in names], dtype=np.str_)


def _matrix(element: Any, shape: tuple[int, int]) -> NDArray[np.float64]:
    import h5py

    if isinstance(element, h5py.Dataset):
        dense = _plain(element, MATRIX_PLACE, ENTRY_LIMIT, dimensions=2)
        values = dense.astype(np.float64) if dense.dtype.kind in "iuf" else np.empty((0, 0))
    else:
        from scipy.sparse import csc_matrix, csr_matrix

        kind = {"csr_matrix": csr_matrix, "csc_matrix": csc_matrix}.get(str(element.attrs.get("encoding-type", "")))
        if kind is None:
            raise EdgeTableError(f"{MATRIX_PLACE} is neither a dense nor a sparse matrix; {REWRITE}")
        parts = [_plain(_child(element, part), MATRIX_PLACE, ENTRY_LIMIT) for part in ("data", "indices", "indptr")]
        sparse = kind(tuple(parts), shape=shape)
        sparse.check_format(full_check=True)  # indices outside the matrix
        values = sparse.toarray().astype(np.float64)
    if values.shape != shape:
        raise EdgeTableError(f"{MATRIX_PLACE} is not {shape[0]} x {shape[1]} numbers, the names of obs by those of var")
    return values

"""Counts of cells by rows: held in memory, or read from an h5ad file block by block.

What belongs here: rows of counts and the hash of their content. What does not: which cells and genes are wanted
(`prepare`), or what a model makes of them. Whoever reads rows only needs memory for one block, whatever the number of
cells.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from interp_assets.cells.integrity import DataFileError
from interp_assets.cells.read_cells import CellsError, checked_counts

if TYPE_CHECKING:
    from hashlib import _Hash

    from scipy.sparse import csr_matrix

    from interp_assets.cells.records import PreparedCells

BLOCK: Final = 1024
# Cache of decompressed pieces of each array; cells that lie far apart read a piece several times without it.
_CACHE_BYTES: Final = 4 * 2**20


@runtime_checkable
class CountSource(Protocol):
    """Raw counts of some cells (cells x genes), handed out by rows."""

    @property
    def shape(self) -> tuple[int, int]:
        """Cells and genes."""
        ...

    def rows(self, start: int, stop: int) -> csr_matrix:
        """Counts of cells ``start`` to ``stop`` (CSR, column indices rising, no stored zero)."""
        ...


@dataclass(frozen=True, slots=True)
class HeldCounts:
    """Some cells of a matrix in memory, in the order given."""

    counts: csr_matrix
    cells: NDArray[np.int64]

    @property
    def shape(self) -> tuple[int, int]:
        """Cells and genes."""
        return self.cells.size, self.counts.shape[1]

    def rows(self, start: int, stop: int) -> csr_matrix:
        """Counts of cells ``start`` to ``stop``."""
        return self.counts[self.cells[start:stop]]


def control_counts(cells: PreparedCells) -> HeldCounts:
    """Counts of the control cells of a prepared dataset."""
    return HeldCounts(cells.counts, np.flatnonzero(cells.control))


class BackedCounts:
    """Counts in an h5ad file, read when they are asked for; the file is open until `close`.

    Parameters
    ----------
    path
        File in h5ad layout.
    place
        ``X``, ``layers/<name>`` or ``raw`` (its X); the matrix there is stored by rows (CSR).
    cells, columns
        Rows and columns of that matrix to hand out, in this order; all by default.

    Raises
    ------
    DataFileError
        If the file cannot be read as h5ad, or there is no matrix in the place.
    CellsError
        If the matrix is stored otherwise than by rows, a row or column does not exist, or (from `rows`) values are no
        counts.

    Notes
    -----
    Held in memory: the number of values before each row of the file (8 bytes a cell), and one block.
    """

    def __init__(
        self,
        path: Path,
        place: str = "X",
        *,
        cells: Sequence[int] | NDArray[np.int64] | None = None,
        columns: Sequence[int] | NDArray[np.int64] | None = None,
    ) -> None:
        import h5py

        self._path, self._place = Path(path), place
        inside = "raw/X" if place == "raw" else place
        try:
            self._file = h5py.File(self._path, "r", rdcc_nbytes=_CACHE_BYTES)
        except OSError as error:
            raise DataFileError(f"{self._path}: not a readable h5ad file ({error}); give an intact copy") from error
        with ExitStack() as opened:
            opened.callback(self._file.close)
            if inside not in self._file:
                raise DataFileError(f"{self._path}: there is no {place}; use X, raw or layers/<name>")
            group: Any = self._file[inside]
            self._refuse_other_layouts(group)
            self._width = int(group.attrs["shape"][1] if "shape" in group.attrs else group.attrs["h5sparse_shape"][1])
            self._indptr: NDArray[np.int64] = group["indptr"][:].astype(np.int64, copy=False)
            self._values, self._indices = group["data"], group["indices"]
            self._cells = self._chosen(cells, self._indptr.size - 1, "cell")
            self._columns = None if columns is None else self._chosen(columns, self._width, "column")
            opened.pop_all()  # in order: the file stays open

    def _refuse_other_layouts(self, group: Any) -> None:
        kind = group.attrs.get("encoding-type", group.attrs.get("h5sparse_format", "array"))
        if kind not in {"csr_matrix", "csr"}:
            raise CellsError(
                f"{self._path}: {self._place} is stored as {kind}, and cells can only be read one after the other from "
                "a matrix stored by rows (csr_matrix); write it as CSR, or prepare the dataset in memory"
            )

    def _chosen(self, wanted: Sequence[int] | NDArray[np.int64] | None, limit: int, what: str) -> NDArray[np.int64]:
        if wanted is None:
            return np.arange(limit, dtype=np.int64)
        chosen = np.asarray(wanted, dtype=np.int64)
        outside = chosen[(chosen < 0) | (chosen >= limit)]
        if outside.size:
            raise CellsError(f"{self._path}: {what} {outside[0]} does not exist; {self._place} has {limit}")
        return chosen

    @property
    def shape(self) -> tuple[int, int]:
        """Cells and genes."""
        return self._cells.size, self._width if self._columns is None else self._columns.size

    def rows(self, start: int, stop: int) -> csr_matrix:
        """Counts of cells ``start`` to ``stop`` (int32)."""
        from scipy.sparse import csr_matrix as csr

        cells = self._cells[start:stop]
        # neighbours in the file are read at once
        runs = [run for run in np.split(cells, np.flatnonzero(np.diff(cells) != 1) + 1) if run.size]
        spans = [slice(self._indptr[run[0]], self._indptr[run[-1] + 1]) for run in runs]
        indptr = np.concatenate(([0], np.cumsum(self._indptr[cells + 1] - self._indptr[cells])))
        parts = [
            np.concatenate([array[span] for span in spans or [slice(0, 0)]]) for array in (self._values, self._indices)
        ]
        matrix = csr((*parts, indptr), shape=(cells.size, self._width))
        matrix = checked_counts(matrix, self._error)
        if self._columns is not None:
            matrix = matrix[:, self._columns]
            matrix.sort_indices()
        return matrix

    def _error(self, problem: str) -> CellsError:
        return CellsError(f"{self._path} ({self._place}): {problem}")

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        """The source itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        self.close()


def blocks(source: CountSource, size: int = BLOCK) -> Iterator[csr_matrix]:
    """Rows of a source, at most ``size`` at a time."""
    cells = source.shape[0]
    for start in range(0, cells, size):
        yield source.rows(start, min(start + size, cells))


def add_content(digest: _Hash, source: CountSource) -> None:
    """Add the content of all rows to a running hash: row offsets, column indices, values, each with its type.

    These are the bytes of the whole CSR matrix, so a source in memory and one on disk have one hash. They are read in
    three turns, because offsets come before indices and indices before values. Offsets and indices count as int32 where
    their number allows it, whatever width they are held in.
    """
    lengths = [np.diff(block.indptr).astype(np.int32) for block in blocks(source)]
    end = sum(int(part.sum(dtype=np.int64)) for part in lengths)
    kind = np.dtype(np.int32 if end <= np.iinfo(np.int32).max else np.int64)
    digest.update(str(kind).encode() + np.zeros(1, dtype=kind).tobytes())
    before = 0
    for part in lengths:  # never the offsets of all cells at once
        offsets = before + part.cumsum(dtype=np.int64)
        digest.update(offsets.astype(kind).tobytes())
        before = int(offsets[-1])
    for number, block in enumerate(blocks(source)):
        digest.update((b"" if number else str(kind).encode()) + block.indices.astype(kind).tobytes())
    for number, block in enumerate(blocks(source)):
        digest.update((b"" if number else str(block.data.dtype).encode()) + block.data.tobytes())

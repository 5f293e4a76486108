"""h5ad files of other people: opened whole, or refused with one error, whatever the file holds.

What belongs here: what every reader of such a file must be sure of. What does not: what its tables mean.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Literal

# What h5py and anndata raise on damaged or foreign content, besides anndata's own error for unknown encodings.
_DAMAGE: Final = (ArithmeticError, AttributeError, AssertionError, LookupError, OSError, RuntimeError, TypeError)


def open_h5ad(path: Path, backed: Literal["r"] | None = None) -> Any:
    """AnnData of a file; with ``backed`` its matrix stays in the file, which the caller closes.

    Raises
    ------
    ValueError
        If the file cannot be read, or anything in it is a link or lies in another file: an h5ad file holds all it has.

    Notes
    -----
    anndata makes no Python object from the content of a file, so that nothing in it can run.
    """
    import anndata
    import h5py
    from anndata._io.specs.registry import IORegistryError

    try:
        with h5py.File(path, "r") as file:
            outside = file.visititems_links(_link) or file.visititems(_elsewhere)
        if outside:
            raise ValueError(outside)
        return anndata.read_h5ad(path, backed=backed)
    except (IORegistryError, *_DAMAGE) as error:
        raise ValueError(f"{type(error).__name__}: {' '.join(str(error).split())[:300]}") from error


def _link(name: str, link: Any) -> str | None:
    import h5py

    return None if isinstance(link, h5py.HardLink) else f"{name} is a link"


def _elsewhere(name: str, element: Any) -> str | None:
    import h5py

    outside = isinstance(element, h5py.Dataset) and (element.is_virtual or element.external)
    return f"{name} lies in another file" if outside else None

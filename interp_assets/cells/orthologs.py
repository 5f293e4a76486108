"""Genes of another species under their human names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from interp_assets.cells.gene_names import read_name_pairs
from interp_assets.cells.integrity import DataFileError


def read_orthologs(path: Path) -> Mapping[str, str]:
    """Human symbol of every gene with a one-to-one ortholog, from a table of human and other symbols.

    Rows without a partner are skipped; a gene with several partners, or whose partner has several, has none.

    Raises
    ------
    DataFileError
        If the table is unreadable or no one-to-one pair is left.
    """
    pairs = read_name_pairs(path).drop_duplicates()
    single = ~pairs.duplicated("identifier", keep=False) & ~pairs.duplicated("symbol", keep=False)
    if not single.any():
        raise DataFileError(f"{path}: holds no one-to-one ortholog. Give a human and another symbol a row.")
    chosen = pairs[single]
    return dict(zip(chosen["symbol"], chosen["identifier"], strict=True))

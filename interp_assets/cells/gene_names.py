"""Gene identifiers: which symbols are known, and Ensembl ids turned into symbols."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interp_assets.cells.integrity import DataFileError
from interp_assets.cells.text_tables import plain_names, text_table


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneNames:
    """Known symbols of one species, and the symbol behind each identifier of the table's first column."""

    table: str
    symbols: frozenset[str]
    symbol_of: Mapping[str, str]


def read_gene_names(path: Path, table: str) -> GeneNames:
    """Names from a two-column table: identifier, symbol of the species.

    Rows that lack either are skipped: they are in some copies of a table and not in others.

    Raises
    ------
    DataFileError
        If the table is unreadable, has fewer than two columns, or no symbol.
    """
    named = read_name_pairs(path)
    if named.empty:
        raise DataFileError(f"{path}: the gene table holds no symbol. Give identifier and symbol columns.")
    return GeneNames(
        table=table,
        symbols=frozenset(named["symbol"]),
        symbol_of=dict(zip(named["identifier"], named["symbol"], strict=True)),
    )


def read_name_pairs(path: Path) -> pd.DataFrame:
    """First two columns of a table of names as ``identifier`` and ``symbol``; rows that lack either left out.

    A ``.tsv`` or ``.tsv.gz`` has a header; a ``.csv`` has none (the layouts of the mirror and of the data
    wheel). Gene names such as NA or NAN are names, not missing values.

    Raises
    ------
    DataFileError
        If the file is unreadable or has fewer than two columns.
    """
    tabbed = ".tsv" in path.suffixes
    try:
        raw = text_table(path, separator="\t" if tabbed else ",", header=tabbed, columns=(0, 1))
        names = [plain_names(raw[column], "name") for column in raw]
        frame = pd.DataFrame(dict(zip(("identifier", "symbol"), names, strict=True)), dtype=object)
    except ValueError as error:
        raise DataFileError(f"{path}: not a readable table of two columns of names ({error}). Replace it.") from error
    return frame[(frame["identifier"] != "") & (frame["symbol"] != "")]


def symbols_of(identifiers: Sequence[str], kind: str, names: GeneNames | None) -> tuple[NDArray[np.str_], int]:
    """Symbol of every identifier, and how many are unknown.

    Unknown identifiers keep their own name, so that their counts stay in the library totals. Ensembl ids
    lose their version suffix. Without a table symbols pass unchecked and the second value is -1; Ensembl
    ids need a table.

    Raises
    ------
    ValueError
        If `kind` is ensembl and there is no table.
    """
    if kind == "ensembl":
        if names is None:
            raise ValueError("Ensembl ids cannot become symbols without the gene table. Fetch the data wheels.")
        bare = [identifier.split(".")[0] for identifier in identifiers]
        mapped = [names.symbol_of.get(identifier, "") for identifier in bare]
        unknown = sum(not symbol for symbol in mapped)
        return np.array([symbol or raw for symbol, raw in zip(mapped, bare, strict=True)], dtype=np.str_), unknown
    symbols = np.array(list(identifiers), dtype=np.str_)
    if names is None:
        return symbols, -1
    return symbols, sum(symbol not in names.symbols for symbol in symbols.tolist())

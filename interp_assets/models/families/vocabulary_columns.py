"""Which columns of a count matrix a vocabulary knows, and counts with one column an entry.

What belongs here: what encoders of every family ask of counts and gene names. What does not: how a count becomes a
token (`rank_value`, `binning`), or where a vocabulary comes from.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from interp_assets.models.adapter import Duplicates

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

KeyOf = Callable[[str], str | None]
# Of several names of one entry the one with the lowest rank stands for it; takes a name and the entry.
Rank = Callable[[str, str], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneColumns:
    """Measured genes as a vocabulary sees them.

    ``keys`` are the entries that are measured and ``columns`` the column that stands for each, ascending. ``collapsed``
    holds (column, column it is added to) of further names of the same gene, ``repeated`` those of columns that carry
    the very name of another one.
    """

    keys: tuple[str, ...]
    columns: NDArray[np.int32]
    collapsed: tuple[tuple[int, int], ...]
    repeated: tuple[tuple[int, int], ...]


def gene_columns(genes: NDArray[np.str_], key_of: KeyOf, rank: Rank | None = None) -> GeneColumns:
    """Columns of measured genes that stand for entries; of several names of one entry the lowest rank, then the first.

    >>> gene_columns(np.array(["A", "b", "B", "?"]), {"A": "A", "b": "B", "B": "B"}.get).collapsed
    ((2, 1),)
    """
    found: dict[str, list[int]] = {}
    for column, gene in enumerate(genes):
        key = key_of(str(gene))
        if key is not None:
            found.setdefault(key, []).append(column)
    first: dict[str, int] = {}
    collapsed: list[tuple[int, int]] = []
    repeated: list[tuple[int, int]] = []
    for key, at in found.items():
        first[key] = min((rank(str(genes[column]), key) if rank else 0, column) for column in at)[1]
        seen = {str(genes[first[key]])}
        for column in at:
            if column != first[key]:
                (repeated if str(genes[column]) in seen else collapsed).append((column, first[key]))
                seen.add(str(genes[column]))
    keys = sorted(first, key=lambda key: first[key])
    return GeneColumns(
        keys=tuple(keys),
        columns=np.array([first[key] for key in keys], dtype=np.int32),
        collapsed=tuple(sorted(collapsed)),
        repeated=tuple(sorted(repeated)),
    )


def known_genes(genes: NDArray[np.str_], key_of: KeyOf, rank: Rank | None = None) -> NDArray[np.bool_]:
    """Which genes stand for an entry (see `gene_columns`).

    ``key_of`` gives the entry of a gene name, or None.

    >>> known_genes(np.array(["A", "b", "B", "?"]), {"A": "A", "b": "B", "B": "B"}.get).tolist()
    [True, True, False, False]
    """
    known = np.zeros(len(genes), dtype=np.bool_)
    known[gene_columns(genes, key_of, rank).columns] = True
    return known


def require_counts(counts: csr_matrix, genes: NDArray[np.str_], encoding: str = "rank-value encoding") -> None:
    """Raise ValueError unless ``counts`` are whole, finite, non-negative and match the gene names."""
    if counts.shape[1] != len(genes):
        raise ValueError(f"{counts.shape[1]} count columns but {len(genes)} gene names")
    if counts.shape[0] == 0 or counts.shape[1] == 0:
        raise ValueError(f"no cells or no genes to encode (shape {counts.shape})")
    data = counts.data
    whole = np.isfinite(data).all() and bool((data >= 0).all()) and bool((data == np.floor(data)).all())
    if not whole:
        raise ValueError(
            f"{encoding} needs raw counts, but the matrix holds fractions, negative or missing values; "
            "give the counts layer instead of normalised values"
        )


def vocabulary_columns(
    counts: csr_matrix,
    genes: NDArray[np.str_],
    key_of: KeyOf,
    duplicates: Duplicates,
    described: str,
    rank: Rank | None = None,
) -> tuple[csr_matrix, NDArray[np.int32], list[str]]:
    """Counts with one column an entry, those columns, and their entries, in the order of the columns.

    Columns of several names of one entry are summed into the one that stands for it. Two columns of the very same name
    are refused, or summed too with ``duplicates="sum"``. ``described`` names the vocabulary in errors.

    Raises
    ------
    ValueError
        If no gene has an entry, or a name stands twice and ``duplicates`` is ``"refuse"``.
    """
    found = gene_columns(genes, key_of, rank)
    if not found.keys:
        raise ValueError(
            f"none of the {len(genes)} gene names (such as {genes[0]}) is in the {described}; translate the names or "
            "add a mapping dictionary to the release"
        )
    if found.repeated and duplicates == "refuse":
        names = ", ".join(sorted({str(genes[column]) for column, _ in found.repeated})[:10])
        raise ValueError(
            f"{len(found.repeated)} measured genes share a dictionary key with another one of the same name "
            f'({names}); make names unique, or encode with duplicates="sum"'
        )
    if found.collapsed or found.repeated:
        counts = _sum_columns(counts, [*found.collapsed, *found.repeated])
    return counts, found.columns, list(found.keys)


def _sum_columns(counts: csr_matrix, repeated: list[tuple[int, int]]) -> csr_matrix:
    """Counts with repeated columns added to their first one and emptied."""
    from scipy.sparse import csr_matrix, identity

    target = np.arange(counts.shape[1])
    for column, first in repeated:
        target[column] = first
    moved = identity(counts.shape[1], dtype=counts.dtype, format="csr")
    moved = csr_matrix((moved.data, target, moved.indptr), shape=moved.shape)
    return csr_matrix(counts @ moved)

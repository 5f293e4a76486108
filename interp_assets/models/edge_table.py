"""Edge tables: scores of another method, or of a user, read into the same records as attention.

What belongs here: reading and checking a table with source, target and score. What does not: judging it.

Columns ``source`` (regulator), ``target`` and ``score``, optionally ``cells`` (cells behind the score); parquet,
CSV or TSV. The orientation is fixed: source regulates target. Higher scores mean more regulatory.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interp_assets.cells.records import PreparedCells
from interp_assets.edges.records import AttentionEdges, EdgeMatrix
from interp_assets.models.checkpoints import ManifestError
from interp_assets.models.releases import TABLE_SUFFIXES, Release

REQUIRED = ("source", "target", "score")
UNKNOWN_LIMIT = 0.5
ORIENTATION = "row = source = regulator, column = target"


class EdgeTableError(ValueError):
    """An edge table that cannot be judged; names the file, the rule and the way out."""


class ForeignGenesError(EdgeTableError):
    """A sound table whose genes are not those of the dataset; another dataset may be read with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeTable:
    """A checked edge table.

    ``edges`` has columns source, target, score (float64) and cells (float64, NaN where not stated), one row a pair.
    ``cells_hash`` is that of the cells the table says it was computed from, empty if it says nothing.
    """

    name: str
    edges: pd.DataFrame
    cells_hash: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)


def read_edge_table(source: Release | Path, cells: PreparedCells) -> AttentionEdges:
    """Edges of a table over the scored universe of a dataset (`load_edge_table`, then `edge_table_edges`)."""
    return edge_table_edges(
        load_edge_table(source), dataset=cells.dataset, universe=cells.universe, measured=cells.genes
    )


def load_edge_table(source: Release | Path) -> EdgeTable:
    """Checked edge table of an ``edge_table`` release, or of a bare file.

    Raises
    ------
    EdgeTableError
        If a column is missing, the table is empty, a name is blank, a score is not a finite number or a pair
        stands twice.
    ManifestError
        If the release does not hold exactly one table.
    """
    if isinstance(source, Release):
        path, facts = _table_file(source), dict(source.facts)
        name = source.name
    else:
        path, facts, name = Path(source), {}, Path(source).name.split(".")[0]
    frame = _read(path)
    missing = [column for column in REQUIRED if column not in frame.columns]
    if missing:
        raise EdgeTableError(
            f"{path}: column {', '.join(missing)} is missing (found: {', '.join(map(str, frame.columns)) or 'none'}); "
            "an edge table has columns source, target, score and optionally cells"
        )
    if frame.empty:
        raise EdgeTableError(f"{path}: the table has no rows; an edge table needs at least one scored pair")
    edges = _checked(path, frame)
    return EdgeTable(name=name, edges=edges, cells_hash=str(facts.get("cells_hash", "")), facts=facts)


def _table_file(release: Release) -> Path:
    tables = [file.path for file in release.files if file.path.endswith(TABLE_SUFFIXES)]
    if release.family != "edge_table" or len(tables) != 1:
        raise ManifestError(
            release.folder,
            f"family {release.family} with {len(tables)} tables",
            "An edge_table release lists exactly one parquet, CSV or TSV file.",
        )
    return release.file(tables[0])


def _read(path: Path) -> pd.DataFrame:
    if not path.name.endswith(TABLE_SUFFIXES):
        raise EdgeTableError(f"{path}: unknown kind of table; use one of {', '.join(TABLE_SUFFIXES)}")
    if not path.is_file():
        raise EdgeTableError(f"{path}: no such file")
    try:
        if path.name.endswith(".parquet"):
            return pd.read_parquet(path)
        separator = "\t" if ".tsv" in path.suffixes else ","
        # gene names such as NA or NAN must stay names
        return pd.read_csv(path, sep=separator, keep_default_na=False, dtype={"source": str, "target": str})
    except (pd.errors.ParserError, pd.errors.EmptyDataError, OSError, UnicodeDecodeError, ValueError) as error:
        raise EdgeTableError(f"{path}: not a readable table: {error}") from error


def _checked(path: Path, frame: pd.DataFrame) -> pd.DataFrame:
    names = {}
    for column in ("source", "target"):
        names[column] = frame[column].astype("string").str.strip()
        blank = names[column].isna() | (names[column] == "")
        if blank.any():
            raise EdgeTableError(f"{path}: {int(blank.sum())} rows have no {column}, first in row {_first(blank)}")
    score = pd.to_numeric(frame["score"], errors="coerce").astype(np.float64)
    wrong = ~np.isfinite(score)
    if wrong.any():
        raise EdgeTableError(
            f"{path}: {int(wrong.sum())} scores are not finite numbers, first in row {_first(wrong)}; leave out pairs "
            "without a score"
        )
    edges = pd.DataFrame({
        "source": names["source"].astype(object),
        "target": names["target"].astype(object),
        "score": score,
        "cells": _cells(path, frame),
    }).reset_index(drop=True)  # fmt: skip
    twice = edges.duplicated(["source", "target"], keep=False)
    if twice.any():
        row = edges[twice].iloc[0]
        raise EdgeTableError(
            f"{path}: {int(twice.sum())} rows repeat a pair, such as {row['source']} -> {row['target']}; "
            "keep one score a pair"
        )
    return edges


def _cells(path: Path, frame: pd.DataFrame) -> pd.Series[float]:
    if "cells" not in frame.columns:
        return pd.Series(np.nan, index=frame.index)
    cells = pd.to_numeric(frame["cells"], errors="coerce").astype(np.float64)
    if not (np.isfinite(cells) & (cells >= 1) & (cells == np.floor(cells))).all():
        raise EdgeTableError(f"{path}: `cells` must hold whole numbers of at least 1, or be left out")
    return cells


def _first(flags: pd.Series[bool] | NDArray[np.bool_]) -> int:
    return int(np.flatnonzero(np.asarray(flags))[0]) + 1


def edge_table_edges(
    table: EdgeTable,
    *,
    dataset: str,
    universe: NDArray[np.str_],
    measured: NDArray[np.str_] | None = None,
    cells_hash: str = "",
) -> AttentionEdges:
    """Edges of a table over the scored universe of a dataset, as a model with one layer and one head.

    Evaluable genes are the genes of the universe that occur in the table, in universe order; pairs the table does
    not list are NaN with 0 cells, pairs without a stated number of cells count as one. The cells hash is the one the
    release states as ``cells_hash``; where it states none, ``cells_hash`` says on which cells the caller knows the
    table was computed (empty: unknown, and a comparison that demands the same cells fails).

    Raises
    ------
    ForeignGenesError
        If more than half of the table's genes are not measured in the dataset (another name space), or fewer than
        two genes of the universe occur.
    """
    edges = table.edges
    named = set(edges["source"]) | set(edges["target"])
    known = set(map(str, universe if measured is None else measured))
    unknown = sorted(named - known)
    share = len(unknown) / len(named)
    if share > UNKNOWN_LIMIT:
        raise ForeignGenesError(
            f"edge table {table.name}: {share:.0%} of its {len(named)} genes are not measured in dataset {dataset} "
            f"(such as {unknown[0]}; limit {UNKNOWN_LIMIT:.0%}); use the gene names of the dataset"
        )
    genes = np.array([str(gene) for gene in universe if str(gene) in named], dtype=np.str_)
    if genes.size < 2:
        raise ForeignGenesError(
            f"edge table {table.name}: {genes.size} of {len(universe)} scored genes of dataset {dataset} occur; "
            "use the gene names of the dataset"
        )
    number = {str(gene): position for position, gene in enumerate(genes)}
    kept = edges[edges["source"].isin(number) & edges["target"].isin(number)]
    rows, columns = kept["source"].map(number).to_numpy(), kept["target"].map(number).to_numpy()
    score = np.full((genes.size, genes.size), np.nan, dtype=np.float32)
    cells = np.zeros(score.shape, dtype=np.int32)
    score[rows.astype(np.intp), columns.astype(np.intp)] = kept["score"].to_numpy(dtype=np.float32)
    cells[rows.astype(np.intp), columns.astype(np.intp)] = kept["cells"].fillna(1).to_numpy(dtype=np.int32)
    facts = {
        **table.facts,
        "family": "edge_table",
        "orientation": ORIENTATION,
        "device": "none",
        "dtype": "float32",
        "genes_in_universe": len(universe),
        "genes_evaluable": int(genes.size),
        "unknown_gene_share": share,
        "cells_stated": bool(edges["cells"].notna().all()),
        "cells_hash_stated": bool(table.cells_hash),
        "missing_pair_share": _missing_share(score),
    }
    own_hash = table.cells_hash or cells_hash

    def layer_matrix(layer: int) -> EdgeMatrix:
        if layer != 0:
            raise ValueError(f"edge table {table.name} has one layer, number 0; layer {layer} does not exist")
        return EdgeMatrix(
            name="edge_table", genes=genes, score=score, cells_behind=cells, cells_hash=own_hash, layer=0, facts=facts
        )

    return AttentionEdges(
        release=table.name,
        dataset=dataset,
        genes=genes,
        layers=1,
        heads=1,
        cells_hash=own_hash,
        layer_matrix=layer_matrix,
        facts=facts,
    )


def _missing_share(score: NDArray[np.float32]) -> float:
    """Share of ordered pairs of different genes without a score."""
    lacking = np.isnan(score)
    np.fill_diagonal(lacking, False)
    return float(lacking.sum() / (score.shape[0] * (score.shape[0] - 1)))

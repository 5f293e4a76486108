"""Edge tables: scores of another method, or of a user, read into the same records as attention.

What belongs here: a table placed on the genes of a dataset. What does not: opening files (`files`), what columns
mean (`formats`), what is done with rows (`rows`), or judging.

The plain form has columns ``source`` (regulator), ``target`` and ``score``, optionally ``cells`` (cells behind the
score) and ``sign``; parquet, CSV, TSV or h5ad. The orientation is fixed: source regulates target. Higher scores mean
more regulatory.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interp_assets.cells.records import PreparedCells
from interp_assets.edges.records import AttentionEdges, EdgeMatrix
from interp_assets.models.edge_tables.files import TableFile, could_be_matrix, open_table, reading, unique_names
from interp_assets.models.edge_tables.formats import (
    HOW_TO_MAP,
    ROLES,
    EdgeTableError,
    Layout,
    layout_of,
    listed,
    smaller_is_better,
    stated_settings,
    with_settings,
)
from interp_assets.models.edge_tables.rows import scored_pairs
from interp_assets.models.files.file_rules import ManifestError
from interp_assets.models.files.releases import TABLE_SUFFIXES, Release

REQUIRED = ("source", "target", "score")
UNKNOWN_LIMIT = 0.5
ORIENTATION = "row = source = regulator, column = target"


class ForeignGenesError(EdgeTableError):
    """A sound table whose genes are not those of the dataset; another dataset may be read with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeTable:
    """A checked edge table.

    ``edges`` has columns source, target, score, cells and sign (float64; the last two NaN where not stated), one row a
    pair, no gene with itself. Signs are -1, 0 or 1 and are not part of the score where its rule is a size.
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
    """Checked edge table of an ``reading`` release, or of a bare file, in any layout that `formats` knows.

    ``facts["table"]`` says which layout was read, from which columns, how the score was made, how many rows there were
    and how many were left out for which reason. Which options a release states is explained in ``docs/edge-tables.md``.

    Raises
    ------
    EdgeTableError
        If the columns fit no layout or several, the table is empty, a name is blank, a score is not a finite number, a
        pair stands twice, or the file is above a limit.
    ManifestError
        If the release does not hold exactly one table.
    """
    if isinstance(source, Release):
        path, facts = _table_file(source), dict(source.facts)
        name = source.name
    else:
        path, facts, name = Path(source), {}, Path(source).name.split(".")[0]
    try:
        with reading():
            edges, told = _scored(path, facts)
    except EdgeTableError as error:
        raise EdgeTableError(f"{path}: {error}") from error
    cells_hash = str(facts.get("cells_hash", ""))
    return EdgeTable(name=name, edges=edges, cells_hash=cells_hash, facts={**facts, "table": told})


def _table_file(release: Release) -> Path:
    tables = [file.path for file in release.files if file.path.endswith(TABLE_SUFFIXES)]
    if release.family != "edge_table" or len(tables) != 1:
        raise ManifestError(
            release.folder,
            f"family {release.family} with {len(tables)} tables",
            "An edge_table release lists exactly one parquet, CSV, TSV or h5ad file.",
        )
    return release.file(tables[0])


def _scored(path: Path, facts: Mapping[str, Any]) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Scored pairs of a file, and what is told of them under ``facts["table"]``."""
    settings = stated_settings(facts)
    file = open_table(path, settings.get("place", ""))
    layout = layout_of(file.columns, facts)
    if layout is None:
        layout, frame, unscored = _of_matrix(file, settings)
        shown: dict[str, Any] = {"rows": layout.source, "columns": layout.target}
    else:
        frame, unscored = file.read(layout.read), 0
        shown = {"columns": {role: getattr(layout, role) for role in ROLES if getattr(layout, role)}}
        unused = [column for column in file.columns if column not in layout.read]
        shown |= {"columns_not_read": listed(unused)} if unused else {}
    pairs, count = scored_pairs(layout, frame)
    if unscored:
        count = replace(
            count, read=count.read + unscored, dropped={"no score in the matrix": unscored, **count.dropped}
        )
    return pairs, {
        "layout": layout.method,
        **shown,
        **({} if file.header else {"header": "none; columns are TF, target, importance"}),
        **({"place": file.place} if file.place else {}),
        "score_rule": layout.score_rule,
        "repeated_pairs": "refused" if layout.repeats == "refuse" else "the best is kept",
        "rows_read": count.read,
        "rows_left_out": count.dropped,
        "pairs": len(pairs),
        "negative_scores": int((pairs["score"] < 0).sum()),
        "signs": count.signs,
    }


def _of_matrix(file: TableFile, settings: Mapping[str, str]) -> tuple[Layout, pd.DataFrame, int]:
    """Layout, rows and number of pairs without a score of a matrix of genes by genes."""
    rows = file.rows() if file.rows is not None else np.empty(0, dtype=np.str_)
    if file.matrix is None or not could_be_matrix(file, rows):
        lacking = [name for name in REQUIRED if name not in file.columns]
        small = [name for name in file.columns if smaller_is_better(name)]
        raise EdgeTableError(
            f"column {', '.join(lacking)} is missing (found: {listed(file.columns)}) and the columns fit no other "
            f"known layout, nor a matrix of genes by genes; {HOW_TO_MAP}"
            + (f". Smaller is better in {', '.join(small)}: state its direction too" if small else "")
        )
    if "rows" not in settings and rows.size > len(file.columns) - 1:
        raise EdgeTableError(
            f"a matrix of {rows.size} rows and {len(file.columns) - 1} columns: regulators are fewer than genes, and "
            'rows are read as regulators; state "table": {"rows": "target"} in release.json if columns are, or "source"'
        )
    held = file.matrix()
    names, genes = unique_names(held.rows, "row"), unique_names(held.columns, "column")
    frame = pd.DataFrame({
        "row": pd.Categorical.from_codes(np.repeat(np.arange(names.size), genes.size), names.tolist()),
        "column": pd.Categorical.from_codes(np.tile(np.arange(genes.size), names.size), genes.tolist()),
        "value": held.values.ravel(),
    })  # fmt: skip
    unscored = frame["value"].isna()
    regulators = settings.get("rows", "source")
    layout = Layout(
        method="matrix of genes by genes",
        source="row" if regulators == "source" else "column",
        target="column" if regulators == "source" else "row",
        score="value",
        strength="absolute",
    )
    return with_settings(layout, settings), frame[~unscored], int(unscored.sum())


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
        "pairs_in_universe": len(kept),
        "pairs_outside_universe": len(edges) - len(kept),
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

"""Guides of a high-multiplicity screen: what each perturbs, and which a cell holds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interp_assets.cells.dataset_records import DatasetSpec, GuidesFormat
from interp_assets.cells.integrity import DataFileError
from interp_assets.cells.text_tables import plain_names, refuse_unusable, text_table

if TYPE_CHECKING:
    from anndata import AnnData
    from scipy.sparse import csr_matrix

COLUMNS = ("guide", "group", "kind", "gene")
NON_TARGETING = "non_targeting"


def read_guide_table(spec: DatasetSpec, path: Path) -> pd.DataFrame:
    """Guides of a declared table: guide, group, kind (target, non_targeting, other), gene ("" for none).

    Raises
    ------
    DataFileError
        If the file is unreadable, lacks a declared column, repeats a guide, uses a word for a kind that the
        dataset does not translate, or names no gene for a guide that targets one.
    """
    form = spec.guide_table
    if form is None:
        raise DataFileError(f"{spec.file}: key `kind`: dataset {spec.id!r} is {spec.kind}, guide_table is needed.")
    try:
        raw = text_table(path)
    except ValueError as error:
        raise DataFileError(f"{path}: not a readable table ({error}). Replace it (dataset {spec.id}).") from error
    for key in COLUMNS:
        column = getattr(form, key)
        if column not in raw.columns:
            raise DataFileError(
                f"{path}: no column {column!r} (key `guide_table.{key}` of {spec.file}); "
                f"columns: {', '.join(raw.columns)}."
            )
    try:
        table = pd.DataFrame({key: plain_names(raw[getattr(form, key)], key) for key in COLUMNS}, dtype=object)
    except ValueError as error:
        raise DataFileError(f"{path}: {error}. Correct the row (dataset {spec.id}).") from error
    repeated = table.loc[table["guide"].duplicated(), "guide"]
    if len(repeated):
        raise DataFileError(f"{path}: guide {repeated.iloc[0]} is listed more than once. Keep one row a guide.")
    unknown = sorted(set(table["kind"]) - set(form.kinds))
    if unknown:
        raise DataFileError(
            f"{path}: column {form.kind!r} holds {', '.join(unknown)}; translate it under `guide_table.kinds` of "
            f"{spec.file}."
        )
    table["kind"] = table["kind"].map(form.kinds)
    nameless = table[(table["kind"] == "target") & (table["gene"] == "")]
    if len(nameless):
        raise DataFileError(f"{path}: guide {nameless['guide'].iloc[0]} targets a gene and names none.")
    return table


def held_guides(data: AnnData, form: GuidesFormat, table: pd.DataFrame) -> tuple[csr_matrix, pd.DataFrame]:
    """Cells x guides (CSR int8, 1 = held) and the guide table in the order of its columns.

    Raises
    ------
    ValueError
        Naming the absent part of the file, a guide the table does not know, or UMI counts that are none.
    """
    matrix = _part(data.obsm, form.matrix)
    names = [str(name).strip() for name in np.asarray(_part(data.uns, form.names)).ravel()]
    if matrix.shape[1] != len(names):
        raise ValueError(f"{form.matrix} has {matrix.shape[1]} columns and {form.names} {len(names)} names")
    refuse_unusable(names, "guide")
    if len(set(names)) != len(names):
        raise ValueError(f"{form.names} repeats a guide")
    known = table.set_index("guide", drop=False)
    unknown = [name for name in names if name not in known.index]
    if unknown:
        raise ValueError(f"guide {unknown[0]} ({len(unknown)} in all) is not in guide table {form.table}; add a row")
    return _at_least(matrix, form.min_umi), known.loc[names].reset_index(drop=True)


def _part(parts: Any, place: str) -> Any:
    name = place.partition("/")[2]
    if name not in parts:
        raise ValueError(f"the file has no {place}; there are: {', '.join(map(str, parts)) or 'none'}")
    return parts[name]


def _at_least(matrix: Any, minimum: int) -> csr_matrix:
    from scipy.sparse import csr_matrix as csr

    counts = csr(matrix)
    if not np.isfinite(counts.data).all() or (counts.data < 0).any() or (counts.data % 1 != 0).any():
        raise ValueError(
            "guide UMI counts are negative or not finite, or no whole numbers: `min_umi` is a limit on raw counts"
        )
    held = csr(counts >= minimum).astype(np.int8)
    held.sort_indices()
    return held


def without_perturbing_guide(guides: csr_matrix, table: pd.DataFrame) -> NDArray[np.bool_]:
    """Mask of the cells that hold no guide but non-targeting ones."""
    perturbing = (table["kind"] != NON_TARGETING).to_numpy(dtype=bool)
    free: NDArray[np.bool_] = np.asarray(guides[:, perturbing].sum(axis=1)).ravel() == 0
    return free

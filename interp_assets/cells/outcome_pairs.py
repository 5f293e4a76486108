"""The listed pairs of an outcome-only screen, read from a published table of labels or of p-values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from interp_assets.cells.dataset_records import DatasetSpec, OutcomeFormat
from interp_assets.cells.differential import benjamini_hochberg
from interp_assets.cells.outcome_tables import OutcomesError, perturbed_genes
from interp_assets.cells.text_tables import plain_names, text_table

SELF_PAIRS = "self_pairs_dropped"


def read_pairs(spec: DatasetSpec, path: Path) -> pd.DataFrame:
    """Listed pairs of an outcome-only screen: perturbation, gene, label, split, and what else is declared.

    ``direction`` is there if declared. A table of p-values gives ``p`` and ``q`` too: q is Benjamini-Hochberg
    within the perturbation over its listed pairs without the perturbed gene itself, and the label is q below the
    declared limit; self pairs are dropped. ``attrs`` counts self pairs in either case. Names such as NA and NAN are
    genes. ``split`` is "train" or "test"; without a declared split all is "train".

    Raises
    ------
    OutcomesError
        For an unreadable or empty table, an absent column, an empty name, a label that is not 0 or 1, a p that is
        none, a pair listed twice.
    """
    form = spec.outcomes
    if form is None:
        raise OutcomesError(f"{spec.file}: key `outcomes`: dataset {spec.id!r} of kind {spec.kind} lists no pairs.")
    raw = _columns(spec, form, path)
    repeated = raw.duplicated(["perturbation", "gene"])
    if repeated.any():
        first = raw[repeated].iloc[0]
        raise OutcomesError(
            f"{path}: pair {first['perturbation']} - {first['gene']} is listed more than once. Keep one row a pair."
        )
    split = raw["split"] == form.train_value if form.split else pd.Series(True, index=raw.index)
    if not split.any():
        raise OutcomesError(f"{path}: no row has {form.split!r} equal to {form.train_value!r} (outcomes.train_value).")
    raw["split"] = np.where(split, "train", "test")
    pairs = _called(raw, form, path) if form.p else raw.assign(label=_labels(raw["label"], form.label, path))
    own = _self_pairs(raw)
    kept = pairs[~own].reset_index(drop=True) if form.p else pairs
    kept.attrs[SELF_PAIRS] = int(own.sum())
    return kept


def screen_genes(pairs: pd.DataFrame) -> np.ndarray[tuple[int], np.dtype[np.str_]]:
    """Sorted names of all perturbed and measured genes of a screen: what a universe forces in."""
    return np.unique(np.concatenate([pairs["perturbation"], pairs["gene"]]).astype(np.str_))


def _columns(spec: DatasetSpec, form: OutcomeFormat, path: Path) -> pd.DataFrame:
    """The declared columns under our names, as text."""
    try:
        raw = text_table(path)
    except ValueError as error:
        raise OutcomesError(f"{path}: not a readable table ({error}). Replace it by an intact copy.") from error
    keys = ("perturbation", "gene", "label", "p", "split", "direction")
    wanted = {key: column for key in keys if (column := getattr(form, key))}
    for key, column in wanted.items():
        if column not in raw.columns:
            raise OutcomesError(
                f"{path}: no column {column!r} (key `outcomes.{key}` of {spec.file}); columns: "
                f"{', '.join(raw.columns)}."
            )
    if raw.empty:
        raise OutcomesError(f"{path}: the table lists no pair (dataset {spec.id}). Name another file.")
    named = pd.DataFrame({key: raw[column] for key, column in wanted.items()})
    for key in ("perturbation", "gene"):
        try:
            named[key] = plain_names(named[key], key)
        except ValueError as error:
            raise OutcomesError(f"{path}: column {wanted[key]!r}: {error}. Correct the row.") from error
        empty = named[key] == ""
        if empty.any():
            raise OutcomesError(
                f"{path}: column {wanted[key]!r} is empty in line {_line(empty)}, {int(empty.sum())} such rows. Every "
                "pair names both genes."
            )
    return named


def _line(flags: pd.Series) -> int:
    """Line of the file that the first flagged row stands in."""
    return int(np.flatnonzero(flags)[0]) + 2


def _self_pairs(raw: pd.DataFrame) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Mask of the pairs of a perturbation and a gene it is aimed at."""
    pairs = zip(raw["perturbation"], raw["gene"], strict=True)
    return np.array([gene in perturbed_genes(name) for name, gene in pairs], dtype=bool)


def _labels(text: pd.Series, column: str, path: Path) -> pd.Series:
    wrong = ~text.isin(["0", "1"])
    if wrong.any():
        raise OutcomesError(
            f"{path}: column {column!r} holds {text[wrong].iloc[0]!r} in line {_line(wrong)}, {int(wrong.sum())} such "
            "rows; labels must be 0 or 1."
        )
    return text.astype(np.int8)


def _called(raw: pd.DataFrame, form: OutcomeFormat, path: Path) -> pd.DataFrame:
    """Pairs with p, q and label; self pairs take no part in the correction."""
    p = pd.to_numeric(raw["p"], errors="coerce")
    wrong = ~p.between(0.0, 1.0)
    if wrong.any():
        first = raw[wrong].iloc[0]
        raise OutcomesError(
            f"{path}: column {form.p!r} holds {first['p']!r} in line {_line(wrong)} "
            f"({first['perturbation']} - {first['gene']}), {int(wrong.sum())} such rows; a p lies between 0 and 1."
        )
    tested = p.to_numpy(dtype=np.float64, copy=True)
    tested[_self_pairs(raw)] = np.nan
    q = np.full(len(raw), np.nan)
    for rows in raw.groupby("perturbation").indices.values():
        q[rows] = benjamini_hochberg(tested[rows])
    return raw.assign(p=p, q=q, label=(q < form.q).astype(np.int8))

"""Outcome labels of perturbation screens, from cells or from a published table of pairs."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interp_assets.cells.dataset_records import DatasetSpec
from interp_assets.cells.differential import (
    Differential,
    LabelRule,
    called,
    differential_expression,
    rank_sum_expression,
)
from interp_assets.cells.prepare import CONTROL, sample_cells
from interp_assets.cells.records import PreparedCells, ScreenLabels

TABLE_COLUMNS = ("perturbation", "gene", "lfc", "p", "q", "label")
STAGES = ("listed", "measured", "in_vocabulary", "scorable")


# The published baseline configuration of the perturbation-first evaluation (paper 2.4, analysis 19).
BASELINE_RULE = LabelRule(log_fold=0.1)
BASELINE_CONTROL_CELLS = 500


class OutcomesError(ValueError):
    """Outcome labels cannot be made; the message names the file or dataset, the key and the remedy."""


def labels_from_cells(
    cells: PreparedCells,
    *,
    control: NDArray[np.bool_],
    modality: str,
    rule: LabelRule | None = None,
    planted_weight: pd.DataFrame | None = None,
) -> ScreenLabels:
    """Labels of a screen with cells: Welch against the control cells over the scored genes.

    Parameters
    ----------
    cells
        ``obs.perturbation`` names the perturbed gene of every cell, `CONTROL` (or anything under `control`)
        none.
    control
        The cells compared against; usually all control cells, not the sample the edge scores use.
    planted_weight
        Signed network weight, perturbations x scored genes by name, of a planted screen.

    Returns
    -------
    ScreenLabels
        ``informative`` marks genes with both labels among all perturbations (cells have no train split). A
        perturbation with too few cells, or whose gene is not scored, is in ``exclusions`` and nowhere else.

    Raises
    ------
    OutcomesError
        If there is no perturbation column, or no perturbation is left.
    """
    rule = rule or LabelRule()
    if "perturbation" not in cells.obs.columns:
        raise OutcomesError(f"dataset {cells.dataset!r}: cells have no `perturbation` column. Declare it in cells.obs.")
    names = cells.obs["perturbation"].to_numpy(dtype=np.str_)
    perturbed = ~control & (names != CONTROL)
    kept, exclusions = _perturbations_with_cells(names[perturbed], cells.universe, rule)
    if not kept.size:
        raise OutcomesError(
            f"dataset {cells.dataset!r}: no perturbation has {rule.min_cells} cells and a scored gene; "
            f"{len(exclusions)} excluded. Lower min_cells or force the perturbed genes into the universe."
        )
    position = {name: index for index, name in enumerate(kept.tolist())}
    group = np.array([position.get(name, -1) if is_one else -1 for name, is_one in zip(names, perturbed, strict=True)])
    own = positions(cells.universe, kept)
    log = cells.log[:, positions(cells.genes, cells.universe)]
    found = differential_expression(log, group, control, own)
    label = called(found, rule)
    sample = sample_cells(control, BASELINE_CONTROL_CELLS, 0)
    baseline = called(rank_sum_expression(log, group, sample, own), BASELINE_RULE)
    return ScreenLabels(
        dataset=cells.dataset,
        data_origin=cells.data_origin,
        kind="cells",
        modality=modality,
        perturbations=kept,
        genes=cells.universe,
        label=label,
        informative=both_labels(label),
        table=_differential_table(kept, cells.universe, found, label),
        exclusions=exclusions,
        baseline_label=baseline,
        planted_weight=_weights(planted_weight, kept, cells.universe),
        facts={
            "perturbations_seen": int(np.unique(names[perturbed]).size),
            "control_cells_compared": int(control.sum()),
            "rule": {"q": rule.q, "log_fold": rule.log_fold, "min_cells": rule.min_cells},
            "fold": "difference of mean log1p, natural log",
            "positives": int((label == 1).sum()),
            "positive_rate": float((label == 1).sum() / max(1, (label >= 0).sum())),
            "listed": _listed(kept, label, cells.universe),
        },
    )


def read_pairs(spec: DatasetSpec, path: Path) -> pd.DataFrame:
    """Listed pairs of an outcome-only screen: perturbation, gene, label, split, direction (all as declared).

    Names such as NA and NAN are genes. ``split`` is "train" or "test"; without a declared split all is
    "train".

    Raises
    ------
    OutcomesError
        For an unreadable or empty table, an absent column, a label that is not 0 or 1, a pair listed twice.
    """
    form = spec.outcomes
    if form is None:
        raise OutcomesError(f"{spec.file}: key `outcomes`: dataset {spec.id!r} of kind {spec.kind} lists no pairs.")
    try:
        raw = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
    except (OSError, EOFError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise OutcomesError(f"{path}: not a readable table ({error}). Replace it by an intact copy.") from error
    wanted = {"perturbation": form.perturbation, "gene": form.gene, "label": form.label}
    wanted |= {"split": form.split} if form.split else {}
    wanted |= {"direction": form.direction} if form.direction else {}
    for key, column in wanted.items():
        if column not in raw.columns:
            raise OutcomesError(
                f"{path}: no column {column!r} (key `outcomes.{key}` of {spec.file}); columns: "
                f"{', '.join(raw.columns)}."
            )
    if raw.empty:
        raise OutcomesError(f"{path}: the table lists no pair (dataset {spec.id}). Name another file.")
    wrong = ~raw[form.label].isin(["0", "1"])
    if wrong.any():
        raise OutcomesError(
            f"{path}: column {form.label!r} holds {raw.loc[wrong, form.label].iloc[0]!r} in "
            f"{int(wrong.sum())} rows; "
            "labels must be 0 or 1."
        )
    pairs = pd.DataFrame({key: raw[column] for key, column in wanted.items()})
    repeated = pairs.duplicated(["perturbation", "gene"])
    if repeated.any():
        first = pairs[repeated].iloc[0]
        raise OutcomesError(
            f"{path}: pair {first['perturbation']} - {first['gene']} is listed more than once. Keep one row a pair."
        )
    split = pairs["split"] == form.train_value if form.split else pd.Series(True, index=pairs.index)
    if not split.any():
        raise OutcomesError(f"{path}: no row has {form.split!r} equal to {form.train_value!r} (outcomes.train_value).")
    return pairs.assign(label=pairs["label"].astype(np.int8), split=np.where(split, "train", "test"))


def screen_genes(pairs: pd.DataFrame) -> NDArray[np.str_]:
    """Sorted names of all perturbed and measured genes of a screen: what a universe forces in."""
    return np.unique(np.concatenate([pairs["perturbation"], pairs["gene"]]).astype(np.str_))


def labels_from_pairs(spec: DatasetSpec, pairs: pd.DataFrame, cells: PreparedCells) -> ScreenLabels:
    """Labels of an outcome-only screen; only the listed pairs are candidates.

    Parameters
    ----------
    pairs
        From `read_pairs`.
    cells
        Cells the scores are computed from; their universe gives the genes. Perturbed genes outside it are
        excluded.

    Returns
    -------
    ScreenLabels
        ``informative`` marks genes with both labels among training perturbations; it is decided on the
        published table, not on what happens to be measured here.

    Raises
    ------
    OutcomesError
        If no listed pair has both genes in the universe.
    """
    genes = cells.universe
    gene_at, source_at = positions(genes, pairs["gene"]), positions(genes, pairs["perturbation"])
    inside = (gene_at >= 0) & (source_at >= 0) & (gene_at != source_at)
    if not inside.any():
        raise OutcomesError(
            f"dataset {spec.id!r}: none of {len(pairs)} listed pairs has both genes measured in "
            f"{cells.dataset!r}. "
            "Check gene names and species."
        )
    held = pairs[inside]
    kept = np.unique(held["perturbation"].to_numpy(dtype=np.str_))
    label = np.full((kept.size, genes.size), -1, dtype=np.int8)
    label[positions(kept, held["perturbation"]), gene_at[inside]] = held["label"]
    train = pairs[pairs["split"] == "train"].groupby("gene")["label"].agg(["min", "max"])
    both = train.index[(train["min"] == 0) & (train["max"] == 1)].to_numpy(dtype=np.str_)
    listed_names = np.unique(pairs["perturbation"].to_numpy(dtype=np.str_))
    lost = np.setdiff1d(listed_names, kept)
    measured, scored = set(cells.genes.tolist()), set(genes.tolist())
    reasons = [_why_lost(name, measured, scored) for name in lost.tolist()]
    nan = np.full(len(held), np.nan)
    table = held.assign(lfc=nan, p=nan, q=nan)
    extra = [column for column in ("split", "direction") if column in table]
    return ScreenLabels(
        dataset=spec.id,
        data_origin=spec.data_origin,
        kind="outcome_only",
        modality=spec.modality,
        perturbations=kept,
        genes=genes,
        label=label,
        informative=np.isin(genes, both),
        table=table[[*TABLE_COLUMNS, *extra]].reset_index(drop=True),
        exclusions=pd.DataFrame({"perturbation": lost.astype(object), "reason": reasons}, dtype=object),
        context_mismatch=spec.context_mismatch,
        facts={
            "positives": int(held["label"].sum()),
            "positive_rate": float(held["label"].mean()),
            "informative_genes_listed": len(both),
            "listed": _pair_counts(pairs),
            "measured": _pair_counts(pairs[pairs["gene"].isin(measured) & pairs["perturbation"].isin(measured)]),
        },
    )


def evaluability(
    labels: ScreenLabels,
    vocabulary: Collection[str],
    *,
    role: str = "",
    min_positives: int = 3,
    min_negatives: int = 3,
) -> pd.DataFrame:
    """How much of a screen is left at each stage: one row for each of `STAGES`.

    Listed: what the screen offers. Measured: both genes in the scored universe of the cells. In vocabulary:
    both genes known to the release too. Scorable: of those, perturbations with at least the asked positives
    and negatives.
    """
    known = np.isin(labels.genes, np.array(sorted(vocabulary), dtype=np.str_))
    sources = np.isin(labels.perturbations, labels.genes[known])
    inside = labels.label[np.ix_(sources, known)]
    enough = ((inside == 1).sum(axis=1) >= min_positives) & ((inside == 0).sum(axis=1) >= min_negatives)
    counts = {
        "listed": labels.facts.get("listed") or _listed(labels.perturbations, labels.label, labels.genes),
        "measured": labels.facts.get("measured") or _counts(labels.label),
        "in_vocabulary": _counts(inside),
        "scorable": _counts(inside[enough]),
    }
    return pd.DataFrame(
        [{"role": role, "dataset": labels.dataset, "stage": stage, **counts[stage]} for stage in STAGES]
    )


def both_labels(label: NDArray[np.int8]) -> NDArray[np.bool_]:
    """Mask of genes (columns) that are positive for some perturbation and negative for another."""
    return (label == 1).any(axis=0) & (label == 0).any(axis=0)


def positions(names: NDArray[np.str_], wanted: Collection[str] | NDArray[np.str_] | pd.Series) -> NDArray[np.int64]:
    """Position of each wanted name among unique `names`; -1 where there is none."""
    return pd.Index(names.astype(object)).get_indexer(np.asarray(wanted, dtype=object)).astype(np.int64)


def _counts(label: NDArray[np.int8]) -> dict[str, int]:
    listed = label >= 0
    return {
        "perturbations": int(listed.any(axis=1).sum()),
        "genes": int(listed.any(axis=0).sum()),
        "pairs": int(listed.sum()),
        "positives": int((label == 1).sum()),
    }


def _pair_counts(pairs: pd.DataFrame) -> dict[str, int]:
    return {
        "perturbations": int(pairs["perturbation"].nunique()),
        "genes": int(pairs["gene"].nunique()),
        "pairs": len(pairs),
        "positives": int(pairs["label"].sum()),
    }


def _why_lost(name: str, measured: set[str], scored: set[str]) -> str:
    if name not in measured:
        return "perturbed gene is not measured in the control cells"
    return "none of its listed genes is scored" if name in scored else "perturbed gene is not in the scored universe"


def _listed(perturbations: NDArray[np.str_], label: NDArray[np.int8], genes: NDArray[np.str_]) -> dict[str, int]:
    """With cells, every scored gene is listed for every perturbation that passed the cell rule."""
    return _counts(label) if perturbations.size and genes.size else dict.fromkeys(_counts(label), 0)


def _perturbations_with_cells(
    names: NDArray[np.str_], universe: NDArray[np.str_], rule: LabelRule
) -> tuple[NDArray[np.str_], pd.DataFrame]:
    unique, cells = np.unique(names, return_counts=True)
    scored = np.isin(unique, universe)
    reasons = [
        f"{count} cells, {rule.min_cells} needed" if count < rule.min_cells else "perturbed gene is not scored"
        for count in cells.tolist()
    ]
    out = (cells < rule.min_cells) | ~scored
    exclusions = pd.DataFrame(
        {"perturbation": unique[out].astype(object), "reason": np.array(reasons, dtype=object)[out]},
        dtype=object,
    )
    return unique[~out], exclusions


def _differential_table(
    perturbations: NDArray[np.str_], genes: NDArray[np.str_], found: Differential, label: NDArray[np.int8]
) -> pd.DataFrame:
    row, column = np.nonzero(label >= 0)
    values: dict[str, Any] = {
        "perturbation": perturbations[row].astype(object),
        "gene": genes[column].astype(object),
        "lfc": found.log_fold[row, column],
        "p": found.p[row, column],
        "q": found.q[row, column],
        "label": label[row, column],
    }
    return pd.DataFrame(values, columns=list(TABLE_COLUMNS))


def _weights(
    planted: pd.DataFrame | None, perturbations: NDArray[np.str_], genes: NDArray[np.str_]
) -> NDArray[np.float32] | None:
    if planted is None:
        return None
    missing = sorted(set(perturbations.tolist()) - set(planted.index)) + sorted(
        set(genes.tolist()) - set(planted.columns)
    )
    if missing:
        raise OutcomesError(f"planted weights lack {len(missing)} names, such as {missing[0]!r}.")
    return planted.loc[perturbations.tolist(), genes.tolist()].to_numpy(dtype=np.float32)

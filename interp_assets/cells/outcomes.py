"""Outcome labels of perturbation screens, from cells or from a published table of pairs."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interp_assets.cells.composition import COMPOSITION_SHIFT, composition_shift
from interp_assets.cells.dataset_records import DatasetSpec
from interp_assets.cells.differential import (
    Differential,
    LabelRule,
    called,
    differential_expression,
    rank_sum_expression,
)
from interp_assets.cells.outcome_pairs import SELF_PAIRS
from interp_assets.cells.outcome_tables import (
    PAIRED,
    TABLE_COLUMNS,
    OutcomesError,
    both_labels,
    differential_table,
    label_counts,
    own_positions,
    positions,
    too_few_cells,
)
from interp_assets.cells.own_change import own_changes
from interp_assets.cells.prepare import CONTROL, sample_cells
from interp_assets.cells.records import PreparedCells, ScreenLabels

STAGES = ("listed", "measured", "in_vocabulary", "scorable")
UNMEASURED = "sources_not_measured"
NOTHING_LISTED = "none of its listed genes is scored"

# The published baseline configuration of the perturbation-first evaluation (paper 2.4, analysis 19).
BASELINE_RULE = LabelRule(log_fold=0.1)
BASELINE_CONTROL_CELLS = 500


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
        ``obs.perturbation`` names the perturbed gene of every cell ("A+B": two genes at once), `CONTROL` (or
        anything under `control`) none.
    control
        The cells compared against; usually all control cells, not the sample the edge scores use.
    planted_weight
        Signed network weight, perturbations x scored genes by name, of a planted screen.

    Returns
    -------
    ScreenLabels
        ``informative`` marks genes with both labels among all perturbations (cells have no train split). A
        perturbation whose own gene is not scored keeps its labels, over all scored genes; one with too few cells
        is in ``exclusions`` and nowhere else. Cells without any perturbation give `no_outcomes`.

    Raises
    ------
    OutcomesError
        If there are perturbations and none has enough cells.
    """
    rule = rule or LabelRule()
    if "perturbation" not in cells.obs.columns:
        return no_outcomes(cells)
    names = cells.obs["perturbation"].to_numpy(dtype=np.str_)
    perturbed = ~control & (names != CONTROL)
    if not perturbed.any():
        return no_outcomes(cells)
    seen, count = np.unique(names[perturbed], return_counts=True)
    kept = seen[count >= rule.min_cells]
    if not kept.size:
        raise OutcomesError(
            f"dataset {cells.dataset!r}: no perturbation has {rule.min_cells} cells; {seen.size} excluded. "
            "Lower `differential.min_cells` or name another dataset."
        )
    group = np.where(perturbed, positions(kept, names), -1)
    own = own_positions(cells.universe, kept)
    log = cells.log[:, positions(cells.genes, cells.universe)]
    found = differential_expression(log, group, control, own)
    sample = sample_cells(control, BASELINE_CONTROL_CELLS, 0)
    none = np.full(kept.size, -1)
    labels = tested_labels(
        cells,
        modality,
        rule,
        perturbations=kept,
        found=found,
        baseline=rank_sum_expression(log, group, sample, own),
        own_change=own_changes(
            kept, cells.genes, lambda at: differential_expression(cells.log[:, at], group, control, none)
        ),
        exclusions=too_few_cells(seen, count, rule.min_cells),
        facts={
            "perturbations_seen": int(seen.size),
            "control_cells_compared": int(control.sum()),
            COMPOSITION_SHIFT: composition_shift(cells.obs, kept, control),
        },
    )
    return replace(labels, planted_weight=_weights(planted_weight, kept, cells.universe))


def tested_labels(
    cells: PreparedCells,
    modality: str,
    rule: LabelRule,
    *,
    perturbations: NDArray[np.str_],
    found: Differential,
    baseline: Differential,
    own_change: pd.DataFrame,
    exclusions: pd.DataFrame,
    facts: dict[str, Any],
) -> ScreenLabels:
    """Labels of a screen whose outcome was tested here, perturbations x universe; ``baseline`` by its own rule."""
    label = called(found, rule)
    return ScreenLabels(
        dataset=cells.dataset,
        data_origin=cells.data_origin,
        kind="cells",
        modality=modality,
        perturbations=perturbations,
        genes=cells.universe,
        label=label,
        informative=both_labels(label),
        table=differential_table(perturbations, cells.universe, found, label),
        exclusions=exclusions,
        baseline_label=called(baseline, BASELINE_RULE),
        own_change=own_change,
        facts={
            "rule": {"q": rule.q, "log_fold": rule.log_fold, "min_cells": rule.min_cells},
            "fold": "difference of mean log1p, natural log",
            "positives": int((label == 1).sum()),
            "positive_rate": float((label == 1).sum() / max(1, (label >= 0).sum())),
            "listed": label_counts(label),
            **facts,
        },
    )


def no_outcomes(cells: PreparedCells) -> ScreenLabels:
    """Labels of cells that nothing was perturbed in: no perturbation over the scored genes, kind ``none``."""
    empty = np.empty((0, cells.universe.size), dtype=np.int8)
    table = pd.DataFrame({name: np.empty(0, dtype=np.float64) for name in TABLE_COLUMNS})
    return ScreenLabels(
        dataset=cells.dataset,
        data_origin=cells.data_origin,
        kind="none",
        modality="none",
        perturbations=np.empty(0, dtype="U1"),
        genes=cells.universe,
        label=empty,
        informative=np.zeros(cells.universe.size, dtype=bool),
        table=table.astype({"perturbation": object, "gene": object, "label": np.int8}),
        exclusions=pd.DataFrame({"perturbation": [], "reason": []}, dtype=object),
        facts={"positives": 0, "positive_rate": 0.0},
    )


def labels_from_pairs(spec: DatasetSpec, pairs: pd.DataFrame, cells: PreparedCells) -> ScreenLabels:
    """Labels of an outcome-only screen; only the listed pairs are candidates.

    Parameters
    ----------
    pairs
        From `outcome_pairs.read_pairs`.
    cells
        Cells the scores are computed from; their universe gives the genes.

    Returns
    -------
    ScreenLabels
        A perturbation whose own gene is not scored keeps the listed pairs whose gene is; one without such a pair
        is in ``exclusions``. ``training`` marks perturbations whose listed pairs are all training ones.
        ``informative`` marks genes with both labels among training perturbations (all, without a split); it is
        decided on the published table, not on what happens to be measured here.

    Raises
    ------
    OutcomesError
        If no listed pair has a gene in the universe.
    """
    genes = cells.universe
    gene_at = positions(genes, pairs["gene"])
    own = own_positions(genes, pairs["perturbation"].to_numpy(dtype=np.str_))
    inside = (gene_at >= 0) & (own != gene_at[:, None]).all(axis=1)
    if not inside.any():
        raise OutcomesError(
            f"{spec.file}: dataset {spec.id!r}: none of {len(pairs)} listed pairs has a gene, other than the perturbed "
            f"one, that is scored in the cells of {spec.base!r}. Check gene names, species and `universe`."
        )
    held = pairs[inside]
    kept = np.unique(held["perturbation"].to_numpy(dtype=np.str_))
    label = np.full((kept.size, genes.size), -1, dtype=np.int8)
    label[positions(kept, held["perturbation"]), gene_at[inside]] = held["label"]
    tested = pairs.loc[pairs["split"] == "test", "perturbation"].to_numpy(dtype=np.str_)
    lost = np.setdiff1d(pairs["perturbation"].to_numpy(dtype=np.str_), kept)
    both = _informative(pairs)
    return ScreenLabels(
        dataset=spec.id,
        data_origin=spec.data_origin,
        kind="outcome_only",
        modality=spec.modality,
        perturbations=kept,
        genes=genes,
        label=label,
        informative=np.isin(genes, both),
        table=_listed_table(held),
        exclusions=pd.DataFrame({"perturbation": lost.astype(object), "reason": NOTHING_LISTED}, dtype=object),
        context_mismatch=spec.context_mismatch,
        training=~np.isin(kept, tested) if spec.outcomes is not None and spec.outcomes.split else None,
        facts=_listed_facts(pairs, held, cells) | {"informative_genes_listed": both.size},
    )


def source_reasons(labels: ScreenLabels) -> pd.DataFrame:
    """Why a perturbation with an outcome has no edge score: rows (perturbation, reason), none if its gene is scored.

    Such a perturbation still has labels that gene-level predictors can be held against.
    """
    lost = labels.perturbations[~labels.with_scored_source]
    unmeasured = set(labels.facts.get(UNMEASURED, ()))
    outside = "perturbed gene is not scored"
    if labels.kind == "outcome_only":
        outside = "perturbed gene is not in the scored universe"

    def reason(name: str) -> str:
        if PAIRED in name:
            return "perturbs two genes at once"
        return "perturbed gene is not measured in the control cells" if name in unmeasured else outside

    reasons = [reason(name) for name in lost.tolist()]
    return pd.DataFrame({"perturbation": lost.astype(object), "reason": reasons}, dtype=object)


def evaluability(
    labels: ScreenLabels,
    vocabulary: Collection[str],
    *,
    role: str = "",
    min_positives: int = 3,
    min_negatives: int = 3,
) -> pd.DataFrame:
    """How much of a screen is left at each stage: one row for each of `STAGES`.

    Listed: what the screen offers, whether or not the perturbed gene is scored. Measured: both genes measured in
    the cells (scored, where outcomes come from cells). In vocabulary: both genes scored and known to the release
    too. Scorable: of those, perturbations with at least the asked positives and negatives.
    """
    known = np.isin(labels.genes, np.array(sorted(vocabulary), dtype=np.str_))
    sources = np.isin(labels.perturbations, labels.genes[known])
    inside = labels.label[np.ix_(sources, known)]
    enough = ((inside == 1).sum(axis=1) >= min_positives) & ((inside == 0).sum(axis=1) >= min_negatives)
    counts = {
        "listed": labels.facts.get("listed") or label_counts(labels.label),
        "measured": labels.facts.get("measured") or label_counts(labels.label[labels.with_scored_source]),
        "in_vocabulary": label_counts(inside),
        "scorable": label_counts(inside[enough]),
    }
    return pd.DataFrame(
        [{"role": role, "dataset": labels.dataset, "stage": stage, **counts[stage]} for stage in STAGES]
    )


def _informative(pairs: pd.DataFrame) -> NDArray[np.str_]:
    """Genes with both labels among the training pairs."""
    train = pairs[pairs["split"] == "train"].groupby("gene")["label"].agg(["min", "max"])
    return train.index[(train["min"] == 0) & (train["max"] == 1)].to_numpy(dtype=np.str_)


def _listed_facts(pairs: pd.DataFrame, held: pd.DataFrame, cells: PreparedCells) -> dict[str, Any]:
    measured = pairs["gene"].isin(cells.genes) & pairs["perturbation"].isin(cells.genes)
    return {
        "positives": int(held["label"].sum()),
        "positive_rate": float(held["label"].mean()),
        "listed": _pair_counts(pairs),
        "measured": _pair_counts(pairs[measured]),
        SELF_PAIRS: int(pairs.attrs.get(SELF_PAIRS, 0)),
        UNMEASURED: np.setdiff1d(held["perturbation"].to_numpy(dtype=np.str_), cells.genes).tolist(),
    }


def _listed_table(held: pd.DataFrame) -> pd.DataFrame:
    """Listed pairs with the columns of a tested table; what the screen does not publish is NaN."""
    nan = np.full(len(held), np.nan)
    table = held.assign(**{column: nan for column in ("lfc", "p", "q") if column not in held})
    extra = [column for column in ("split", "direction") if column in table]
    return table[[*TABLE_COLUMNS, *extra]].reset_index(drop=True)


def _pair_counts(pairs: pd.DataFrame) -> dict[str, int]:
    return {
        "perturbations": int(pairs["perturbation"].nunique()),
        "genes": int(pairs["gene"].nunique()),
        "pairs": len(pairs),
        "positives": int(pairs["label"].sum()),
    }


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

"""What analysis 8 measures in one tissue: labels of its cells, classifiers, balanced and left-out edge scores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interp_assets.analyses.inputs import AnalysisInputs, CellSample
from interp_assets.analyses.rows import generator
from interp_assets.edges.records import Reference
from interp_assets.stats.edge_balance import Balanced, LeaveOneOut, balanced_scores, leave_one_out_sd
from interp_assets.stats.leakage import (
    CLASSIFIERS,
    ClassifierName,
    CrossValidation,
    DonorGap,
    LinearNull,
    cross_validated,
    donor_gap,
    linear_null,
    permute_within,
    product_features,
    standardised,
    stratified_folds,
)

NUMBER: Final = 8
LABELS: Final = ("donor", "batch", "assay")
SCALE: Final = "cell_type"
TOP: Final = 200
MIN_DETECTED: Final = 0.02  # share of cells that show a gene of a scored pair
MIN_PAIRS: Final = 10
MIN_CELLS_A_LABEL: Final = 10
MIN_CELLS_A_TYPE: Final = 100
FOREST_SHARE: Final = 500  # permutations of the linear classifier for one permutation of a forest
FOREST_NULLS: Final = ("donor", "assay")  # labels that a declared test asks of
GAP_SHARE: Final = 5  # permutations of labels for one permutation of donors

Codes = NDArray[np.intp]
Float = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """One label of the cells of a tissue: ``code`` (n, -1 for a cell without it or of a rare label), its levels.

    ``reason`` says why it cannot be read, where fewer than two levels are left; "" otherwise.
    """

    name: str
    code: Codes
    levels: tuple[str, ...]
    dropped: int
    reason: str

    @property
    def known(self) -> Codes:
        """Positions of the cells that have the label."""
        return np.flatnonzero(self.code >= 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A label read by one classifier from all cells or within cell types; ``found`` is None where it cannot be."""

    label: str
    classifier: ClassifierName
    cells: str
    n_cells: int
    n_labels: int
    n_types: int
    found: CrossValidation | None
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tissue:
    """Cells of one dataset as the audit sees them.

    ``z`` is standardised expression (n x genes), ``source`` and ``target`` the pairs of the reference whose two genes
    enough cells show, ``features`` the products of the most varying pairs.
    """

    sample: CellSample
    reference: str
    z: Float
    genes: NDArray[np.str_]
    source: Codes
    target: Codes
    features: Float
    pairs_listed: int
    labels: Mapping[str, Label]

    @property
    def name(self) -> str:
        """Name of the dataset."""
        return self.sample.dataset


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """Everything measured in one tissue; text stands for what cannot be measured, with the reason."""

    tissue: Tissue
    readings: tuple[Reading, ...]
    nulls: Mapping[str, LinearNull]
    nulls_within: Mapping[str, LinearNull]
    forest_nulls: Mapping[str, Float]
    balance: Mapping[str, Balanced | str]
    left_out: LeaveOneOut | str
    left_out_within: LeaveOneOut | str
    gap: DonorGap | str

    def reading(self, label: str, classifier: str, cells: str = "all") -> Reading:
        """One of the readings."""
        return next(r for r in self.readings if (r.label, r.classifier, r.cells) == (label, classifier, cells))


def tissue(inputs: AnalysisInputs, sample: CellSample) -> Tissue | str:
    """Cells, pairs and labels of a sample, or why nothing can be audited.

    Cells are the control cells, in random order, so that the order of the file can break no tie.
    """
    rng = generator(inputs, NUMBER, 0)
    control = rng.permutation(np.flatnonzero(sample.cells.control))
    reference = _reference(sample)
    if isinstance(reference, str):
        return reference
    place = pd.Index(sample.cells.genes).get_indexer(pd.Index(reference.genes))
    log = sample.cells.log[control][:, place].toarray().astype(np.float64)
    shown = (log > 0).mean(axis=0) >= MIN_DETECTED
    z = standardised(log)
    held = shown & np.isfinite(z).all(axis=0)
    kept = held[reference.source] & held[reference.target]
    if not reference.directed:
        kept &= reference.source < reference.target
    if int(kept.sum()) < MIN_PAIRS:
        return (
            f"{sample.dataset}: {int(kept.sum())} pairs of {reference.name} have both genes in at least "
            f"{MIN_DETECTED:.0%} of the cells; {MIN_PAIRS} are needed. Name a denser reference or score more genes"
        )
    source, target = (np.asarray(side[kept], dtype=np.intp) for side in (reference.source, reference.target))
    features, _ = product_features(z, source, target, TOP)
    obs = sample.cells.obs.iloc[control]
    return Tissue(
        sample=sample,
        reference=reference.name,
        z=z,
        genes=reference.genes,
        source=source,
        target=target,
        features=features,
        pairs_listed=reference.source.size,
        labels={name: _label(obs, name, sample.dataset) for name in (*LABELS, SCALE)},
    )


def _reference(sample: CellSample) -> Reference | str:
    """The primary reference, else the one that holds most pairs."""
    primary = sample.references.get(sample.primary_reference)
    if primary is not None and primary.source.size:
        return primary
    held = [reference for reference in sample.references.values() if reference.source.size]
    if not held:
        return f"{sample.dataset}: no reference network has a pair among its genes; name one in `references`"
    return max(held, key=lambda reference: reference.source.size)


def _label(obs: pd.DataFrame, name: str, dataset: str) -> Label:
    if name not in obs:
        nothing = np.full(len(obs), -1, dtype=np.intp)
        return Label(name=name, code=nothing, levels=(), dropped=0, reason=f"{dataset} names no {name} of its cells")
    values = obs[name].astype("object").where(obs[name].notna(), "").astype(str).to_numpy()
    levels, counts = np.unique(values[values != ""], return_counts=True)
    kept = levels[counts >= MIN_CELLS_A_LABEL]
    code = np.asarray(pd.Index(kept).get_indexer(pd.Index(values)), dtype=np.intp)
    reason = ""
    if kept.size < 2:
        reason = f"the cells of {dataset} come from one {name} of at least {MIN_CELLS_A_LABEL} cells"
        if kept.size == 0:
            reason = f"no {name} of {dataset} has {MIN_CELLS_A_LABEL} cells"
    return Label(name=name, code=code, levels=tuple(kept.tolist()), dropped=levels.size - kept.size, reason=reason)


def audit(inputs: AnalysisInputs, found: Tissue, used: Mapping[str, Any]) -> Audit:
    """Every measurement of one tissue; each has its own random generator, so that none depends on another."""
    labels = found.labels
    readable = [name for name in (*LABELS, SCALE) if not labels[name].reason]
    tested = [name for name in readable if name != SCALE]
    nulls = {name: _null(inputs, found, name, used, within=False) for name in tested}
    composed = [] if labels[SCALE].reason else tested
    return Audit(
        tissue=found,
        readings=tuple(_readings(inputs, found, used)),
        nulls=nulls,
        nulls_within={name: _null(inputs, found, name, used, within=True) for name in composed},
        forest_nulls={name: _forest_null(inputs, found, name, used) for name in FOREST_NULLS if name in tested},
        balance={name: _balance(inputs, found, labels[name], used) for name in LABELS},
        left_out=_left_out(inputs, found, used, within=False),
        left_out_within=_left_out(inputs, found, used, within=True),
        gap=_gap(inputs, found, used),
    )


def _rng(inputs: AnalysisInputs, label: str, *purpose: int) -> np.random.Generator:
    return generator(inputs, NUMBER, (*LABELS, SCALE).index(label) + 1, *purpose)


def _cross_validate(
    inputs: AnalysisInputs, found: Tissue, label: str, cells: Codes, classifier: ClassifierName, used: Mapping[str, Any]
) -> CrossValidation:
    """Classifier of the label in some cells, in folds that are the same for both classifiers."""
    code = np.unique(found.labels[label].code[cells], return_inverse=True)[1]
    fold = stratified_folds(code, int(used["folds"]), _rng(inputs, label, 1))
    settings = {"trees": int(used["leakage_trees"]), "seed": inputs.seed}
    return cross_validated(found.features[cells], code, fold, classifier, **settings)


def _readings(inputs: AnalysisInputs, found: Tissue, used: Mapping[str, Any]) -> Iterator[Reading]:
    for name in (*LABELS, SCALE):
        label = found.labels[name]
        for classifier in CLASSIFIERS:
            facts: dict[str, Any] = {"label": name, "classifier": classifier}
            cells = label.known if not label.reason else np.arange(label.code.size)
            result = None if label.reason else _cross_validate(inputs, found, name, cells, classifier, used)
            levels = 1 if label.reason else len(label.levels)
            whole = {"n_cells": cells.size, "n_labels": levels, "n_types": 0, "found": result, "reason": label.reason}
            yield Reading(cells="all", **facts, **whole)
            if name != SCALE:
                yield _within_types(inputs, found, name, classifier, used)


def _within_types(
    inputs: AnalysisInputs, found: Tissue, name: str, classifier: ClassifierName, used: Mapping[str, Any]
) -> Reading:
    """Mean over cell types, weighted by their cells, of classifiers that see one cell type each."""
    label, kind = found.labels[name], found.labels[SCALE]
    parts, levels = [], [1]
    for code in range(len(kind.levels)):
        cells = np.flatnonzero((kind.code == code) & (label.code >= 0))
        sizes = np.bincount(label.code[cells], minlength=1)
        cells = cells[np.isin(label.code[cells], np.flatnonzero(sizes >= MIN_CELLS_A_LABEL))]
        held = np.unique(label.code[cells]).size
        if held >= 2 and cells.size >= MIN_CELLS_A_TYPE:
            parts.append((cells.size, _cross_validate(inputs, found, name, cells, classifier, used)))
            levels.append(held)
    facts: dict[str, Any] = {"label": name, "classifier": classifier, "cells": "within_cell_type"}
    if not parts:
        reason = label.reason or (
            f"no cell type of at least {MIN_CELLS_A_TYPE} cells holds two labels of {name} with "
            f"{MIN_CELLS_A_LABEL} cells each"
            if kind.levels
            else kind.reason
        )
        return Reading(**facts, n_cells=label.code.size, n_labels=1, n_types=0, found=None, reason=reason)
    weight = np.array([size for size, _ in parts], dtype=np.float64)
    auc, accuracy = (
        np.average(np.array([getattr(each, what) for _, each in parts]), axis=0, weights=weight)
        for what in ("auc", "balanced_accuracy")
    )
    counts = {"n_cells": int(weight.sum()), "n_labels": max(levels), "n_types": len(parts)}
    return Reading(**facts, **counts, found=CrossValidation(auc, accuracy), reason="")


def _null(inputs: AnalysisInputs, found: Tissue, name: str, used: Mapping[str, Any], *, within: bool) -> LinearNull:
    label = found.labels[name]
    fold = stratified_folds(label.code[label.known], int(used["folds"]), _rng(inputs, name, 1))
    kind = found.labels[SCALE].code[label.known]
    blocks = kind if within else np.zeros_like(kind)
    rng, permutations = _rng(inputs, name, 2, int(within)), int(used["leakage_permutations"])
    return linear_null(found.features[label.known], label.code[label.known], fold, blocks, rng, permutations)


def _forest_null(inputs: AnalysisInputs, found: Tissue, name: str, used: Mapping[str, Any]) -> Float:
    """AUC of forests grown again on permuted labels; a few, to see that their chance level is .5."""
    label = found.labels[name]
    code, rng = label.code[label.known], _rng(inputs, name, 3)
    fold = stratified_folds(code, int(used["folds"]), _rng(inputs, name, 1))
    settings = {"trees": int(used["leakage_trees"]), "seed": inputs.seed}
    placed = permute_within(fold, rng, max(1, int(used["leakage_permutations"]) // FOREST_SHARE))
    features = found.features[label.known]
    aucs = [cross_validated(features, code[order], fold, "random_forest", **settings).auc.mean() for order in placed]
    return np.array(aucs)


def _balance(inputs: AnalysisInputs, found: Tissue, label: Label, used: Mapping[str, Any]) -> Balanced | str:
    if label.reason:
        return label.reason
    cells = label.known
    rng = _rng(inputs, label.name, 4)
    return balanced_scores(
        found.z[cells], found.source, found.target, label.code[cells], rng, int(used["balance_draws"])
    )


def _left_out(inputs: AnalysisInputs, found: Tissue, used: Mapping[str, Any], *, within: bool) -> LeaveOneOut | str:
    donor, kind = found.labels["donor"], found.labels[SCALE]
    if donor.reason or (within and not kind.levels):
        return donor.reason or kind.reason
    cells = donor.known
    code, blocks = donor.code[cells], kind.code[cells] if within else np.zeros(cells.size, dtype=np.intp)
    placed = permute_within(blocks, _rng(inputs, "donor", 5, int(within)), int(used["lodo_draws"]))
    pairs = (found.z[cells], found.source, found.target)
    return LeaveOneOut(leave_one_out_sd(*pairs, code[None])[0], leave_one_out_sd(*pairs, code[placed]))


def cells_of_both(found: Tissue) -> Codes:
    """Positions of the cells whose donor and cell type are known and not rare."""
    return np.flatnonzero((found.labels["donor"].code >= 0) & (found.labels[SCALE].code >= 0))


def _gap(inputs: AnalysisInputs, found: Tissue, used: Mapping[str, Any]) -> DonorGap | str:
    donor, kind = found.labels["donor"], found.labels[SCALE]
    if donor.reason or kind.reason:
        return donor.reason or kind.reason
    cells = cells_of_both(found)
    state, who = (np.unique(code[cells], return_inverse=True)[1] for code in (kind.code, donor.code))
    crossed = np.zeros((state.max() + 1, who.max() + 1), dtype=np.int64)
    np.add.at(crossed, (state, who), 1)
    if who.max() < 1 or ((crossed > 0).sum(axis=0) < 2).any():
        return f"a donor of {found.name} has cells of one cell type only; nothing can be told apart in it"
    if (rarest := int(crossed.sum(axis=1).min())) <= who.max():
        return f"a cell type of {found.name} has {rarest} cells, fewer than its {who.max() + 1} donors"
    rng = _rng(inputs, "donor", 6)
    fold = stratified_folds(state, int(who.max()) + 1, rng)
    placed = permute_within(state, rng, max(1, int(used["leakage_permutations"]) // GAP_SHARE))
    return donor_gap(found.features[cells], state, who, fold, placed)

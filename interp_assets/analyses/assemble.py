"""Role inputs: one dataset in one role, cut down to the genes that a release can score.

Everything an analysis compares is restricted here, once, to the same genes, pairs and cells; the stages of that
restriction are counted and reported.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interp_assets.analyses.inputs import RoleInputs
from interp_assets.cells.outcomes import evaluability, source_reasons
from interp_assets.cells.records import ScreenLabels
from interp_assets.edges.records import AttentionEdges, EdgeMatrix, Reference
from interp_assets.edges.references import restrict_reference
from interp_assets.edges.scores import restrict_edges
from interp_assets.settings import RoleFilling
from interp_assets.stats.crossfit import TooLittleDataError
from interp_assets.stats.de_rate import training_de_rate


class MismatchedCellsError(ValueError):
    """Two edge scores that were to be compared do not come from the same cells."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetArtefacts:
    """What the dataset-level assets stored for one dataset."""

    labels: ScreenLabels
    features: pd.DataFrame
    edges: Mapping[str, EdgeMatrix]  # correlation, correlation_signed, rank_distance, co_detection
    references: Mapping[str, Reference]
    tf_catalogue: str = ""


def positions_in(genes: NDArray[np.str_], wanted: NDArray[np.str_]) -> NDArray[np.int64]:
    """Positions in ``genes`` of those ``genes`` that ``wanted`` holds, in the order of ``genes``."""
    return np.flatnonzero(np.isin(genes, wanted))


def restrict_attention(attention: AttentionEdges, genes: NDArray[np.str_]) -> AttentionEdges:
    """Attention over ``genes`` only, each layer cut when it is read."""
    if np.array_equal(attention.genes, genes):
        return attention
    return replace(
        attention,
        genes=genes,
        layer_matrix=lambda layer: restrict_edges(attention.layer_matrix(layer), genes),
    )


def screen_de_rate(labels: ScreenLabels, folds: int, seed: int) -> NDArray[np.float64] | None:
    """How often each gene answers to other, training perturbations (perturbations x genes of the labels).

    None where fewer than two perturbations are there to tell anything about each other.
    """
    training = None if labels.training is None else np.asarray(labels.training)
    known = labels.perturbations.size if training is None else int(training.sum())
    if min(known, labels.genes.size) < 2:
        return None
    try:
        return training_de_rate(np.asarray(labels.label), training, folds=min(folds, known), seed=seed)
    except TooLittleDataError:
        return None


def role_inputs(
    role: str,
    filling: RoleFilling,
    artefacts: DatasetArtefacts,
    attention: AttentionEdges,
    primary_reference: str,
    minimum: tuple[int, int],
    judged_on: NDArray[np.str_] | None = None,
    de_rate: NDArray[np.float64] | None = None,
    databases: Mapping[str, Reference] | None = None,
) -> RoleInputs:
    """Inputs of one role for one release, over the evaluable genes in universe order.

    ``minimum`` is the least number of positives and negatives a perturbation needs to be scorable; it is
    used for the count of that stage only, each analysis lists its own exclusions. ``judged_on`` limits the
    perturbations; only the positive control uses it, for the regulators it was built to carry. ``de_rate`` is over
    all perturbations and genes of the labels. ``databases`` become the role's ``reference_sets``.

    Raises
    ------
    MismatchedCellsError
        When attention and correlation were computed from different cells (paper section 9, trap 2).
    """
    labels = artefacts.labels
    correlation = artefacts.edges["correlation"]
    if attention.cells_hash != correlation.cells_hash:
        raise MismatchedCellsError(
            f"attention of {attention.release} on {labels.dataset} comes from cells {attention.cells_hash[:12]}, "
            f"correlation from {correlation.cells_hash[:12]}; materialise both again from the same cells"
        )
    at = positions_in(labels.genes, attention.genes)
    genes = labels.genes[at]
    place = pd.Index(genes).get_indexer(pd.Index(labels.perturbations))
    label = np.asarray(labels.label)[:, at]
    listed = (label >= 0).any(axis=1)
    judged = np.isin(labels.perturbations, labels.perturbations if judged_on is None else judged_on)
    kept = (place >= 0) & listed & judged
    edges = {name: restrict_edges(matrix, genes) for name, matrix in artefacts.edges.items()}
    training = labels.training
    return RoleInputs(
        role=role,
        dataset=labels.dataset,
        data_origin=labels.data_origin,
        role_fit=filling.role_fit,
        genes=genes,
        perturbations=labels.perturbations[kept],
        source=place[kept].astype(np.int32),
        label=label[kept],
        informative=np.asarray(labels.informative)[at],
        features=artefacts.features.loc[genes.tolist()].rename_axis("gene").reset_index(),
        attention=restrict_attention(attention, genes),
        correlation=edges.pop("correlation"),
        signed_correlation=edges.pop("correlation_signed", None),
        trivial=edges,
        references={name: restrict_reference(ref, genes) for name, ref in artefacts.references.items()},
        primary_reference=primary_reference,
        exclusions=_exclusions(labels, place, listed, judged),
        evaluability=evaluability(
            labels, attention.genes.tolist(), role=role, min_positives=minimum[0], min_negatives=minimum[1]
        ),
        context_mismatch=labels.context_mismatch,
        de_rate=None if de_rate is None else de_rate[np.ix_(kept, at)],
        training=None if training is None else np.asarray(training)[kept],
        tf_catalogue=artefacts.tf_catalogue,
        reference_sets={name: restrict_reference(found, genes) for name, found in (databases or {}).items()},
        baseline_label=None if labels.baseline_label is None else np.asarray(labels.baseline_label)[:, at][kept],
    )


def _exclusions(
    labels: ScreenLabels, place: NDArray[np.int64], listed: NDArray[np.bool_], judged: NDArray[np.bool_]
) -> pd.DataFrame:
    """Why a perturbation has no edge score: lost in the screen, no scored source, not known to the release."""
    scored = labels.with_scored_source
    told = {
        "perturbed gene is not in the vocabulary of the release": (place < 0) & scored,
        "no listed target is in the vocabulary of the release": (place >= 0) & ~listed,
        "the positive control was not built to carry this regulator": (place >= 0) & listed & ~judged,
    }
    frames = [labels.exclusions[["perturbation", "reason"]], source_reasons(labels)]
    frames += [
        pd.DataFrame({"perturbation": labels.perturbations[lost], "reason": reason}) for reason, lost in told.items()
    ]
    return pd.concat(frames, ignore_index=True)

"""The same perturbations in the whole universe and among its most variable genes: what the protocol does.

What belongs here: cutting a role down to fewer genes and pairing the two universes. What does not: result rows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interp_assets.analyses.assemble import restrict_attention
from interp_assets.analyses.inputs import AnalysisInputs, RoleInputs
from interp_assets.analyses.paired_contexts import PairedScores, paired_scores, row_aurocs
from interp_assets.analyses.perturbation_first import evaluable
from interp_assets.analyses.rows import chosen_settings, generator, reading_or_reason
from interp_assets.analyses.scores import candidate_labels, gene_scores
from interp_assets.edges.references import restrict_reference
from interp_assets.edges.scores import restrict_edges
from interp_assets.readings.records import Reading
from interp_assets.stats.most_variable import most_variable
from interp_assets.stats.paired import signed_rank
from interp_assets.stats.ranking import fill_missing
from interp_assets.stats.replication import studentised_interval

READING: Final = "restricted_attention"
CONDITIONS: Final = ("wide, all", "wide, same perturbations", "restricted", "restricted, attention read again")
COLUMNS: Final = (
    *("role", "dataset", "condition", "layer", "n_genes", "n_perturbations", "attention_missing_share"),
    *("mean_attention", "mean_correlation", "mean_variance", "mean_difference", "ci_low", "ci_high", "p", "change"),
    *("change_ci_low", "change_ci_high", "change_p", "resamples_requested", "resamples_done", "reason"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Universes:
    """One screen under the four conditions of `CONDITIONS`; the last three hold the same perturbations in one order.

    ``variance`` is the AUROC of target variance under each condition. ``again`` is None where attention could not be
    read again, and ``why_not`` says why.
    """

    wide: PairedScores
    same: PairedScores
    restricted: PairedScores
    again: PairedScores | None
    why_not: str
    variance: dict[str, NDArray[np.float64]]

    def conditions(self) -> dict[str, PairedScores]:
        """Scores by condition, without those that are not there."""
        every = dict(zip(CONDITIONS, (self.wide, self.same, self.restricted, self.again), strict=True))
        return {name: scores for name, scores in every.items() if scores is not None}


def restricted_role(role: RoleInputs, at: NDArray[np.int64]) -> RoleInputs:
    """A role cut down to the genes at some positions; perturbations whose own gene is outside leave with it."""
    genes = role.genes[at]
    place = np.full(role.genes.size, -1, dtype=np.int32)
    place[at] = np.arange(at.size, dtype=np.int32)
    kept = place[role.source] >= 0
    signed, rate, training = role.signed_correlation, role.de_rate, role.training
    return replace(
        role,
        genes=genes,
        perturbations=role.perturbations[kept],
        source=place[role.source[kept]],
        label=role.label[np.ix_(kept, at)],
        informative=role.informative[at],
        features=role.features.iloc[at],
        attention=restrict_attention(role.attention, genes),
        correlation=restrict_edges(role.correlation, genes),
        signed_correlation=None if signed is None else restrict_edges(signed, genes),
        trivial={name: restrict_edges(edges, genes) for name, edges in role.trivial.items()},
        references={name: restrict_reference(known, genes) for name, known in role.references.items()},
        baseline_label=None if role.baseline_label is None else role.baseline_label[np.ix_(kept, at)],
        de_rate=None if rate is None else rate[np.ix_(kept, at)],
        training=None if training is None else training[kept],
    )


def compare_universes(inputs: AnalysisInputs, role: RoleInputs, layer: int) -> Universes:
    """A screen in its whole universe and restricted to the share ``restricted_share`` of its most variable genes.

    Evaluable genes are ranked by variance over the control cells and the perturbed genes among the kept ones form the
    subset that both universes are compared on (paper section 5, analysis 37). Attention of ``restricted`` is that of
    the whole universe, as published; ``again`` reads it from sequences of the kept genes only.
    """
    share = float(chosen_settings(inputs, "restricted_share")["restricted_share"])
    at = most_variable(gene_scores(role)["variance"], share)
    small = restricted_role(role, at)
    small_keep = evaluable(inputs, candidate_labels(small))
    same = np.zeros(role.source.size, dtype=bool)
    same[np.flatnonzero(np.isin(role.source, at))[small_keep]] = True
    wide_keep = evaluable(inputs, candidate_labels(role))
    read = _read_again(inputs, small, layer, small_keep)
    return Universes(
        wide=paired_scores(inputs, role, layer),
        same=paired_scores(inputs, role, layer, same),
        restricted=paired_scores(inputs, small, layer),
        again=None if isinstance(read, str) else read,
        why_not=read if isinstance(read, str) else "",
        variance={
            CONDITIONS[0]: _variance_aurocs(role, wide_keep),
            CONDITIONS[1]: _variance_aurocs(role, same),
            CONDITIONS[2]: _variance_aurocs(small, small_keep),
            CONDITIONS[3]: _variance_aurocs(small, small_keep),
        },
    )


def _variance_aurocs(role: RoleInputs, keep: NDArray[np.bool_]) -> NDArray[np.float64]:
    label = candidate_labels(role)
    return row_aurocs(np.broadcast_to(gene_scores(role)["variance"], label.shape), label, keep)


def _read_again(inputs: AnalysisInputs, small: RoleInputs, layer: int, keep: NDArray[np.bool_]) -> PairedScores | str:
    """Scores of the restricted screen with attention of the reading; or why they cannot be had."""
    reading = reading_or_reason(inputs, READING)
    if isinstance(reading, str):
        return reading
    attention = _aligned(reading, small, layer)
    if isinstance(attention, str):
        return attention
    filled, share = fill_missing(attention)
    correlation = paired_scores(inputs, small, layer)
    return replace(
        correlation,
        attention=row_aurocs(filled, candidate_labels(small), keep),
        missing_share={**correlation.missing_share, "attention": share},
    )


def _aligned(reading: Reading, small: RoleInputs, layer: int) -> NDArray[np.float64] | str:
    """Attention of the reading, one row a perturbation of the role; or why it does not fit."""
    genes, rows = reading.arrays["genes"].astype(str), reading.arrays["perturbations"].astype(str)
    if reading.facts["cells_hash"] != small.cells_hash:
        return f"{small.dataset}: attention was read again on other cells; materialise the reading again"
    if not np.array_equal(genes, small.genes):
        return f"{small.dataset}: attention was read again on other genes than the {small.genes.size} restricted ones"
    layers = reading.arrays["layers"].tolist()
    at = pd.Index(rows).get_indexer(pd.Index(small.perturbations))
    if at.size == 0:
        return f"{small.dataset}: no perturbed gene is among the most variable genes"
    if layer not in layers or (at < 0).any():
        return f"{small.dataset}: layer {layer} or a perturbed gene was not read again; materialise the reading again"
    attention: NDArray[np.float64] = np.asarray(reading.arrays["attention"][layers.index(layer)][at], dtype=np.float64)
    if not np.isfinite(attention).any():
        return f"{small.dataset}: no cell holds a perturbed gene beside another restricted one"
    return attention


def universe_table(inputs: AnalysisInputs, found: Universes, number: int, resamples: int) -> pd.DataFrame:
    """Table `hvg_protocol`: one row a condition.

    ``mean_difference`` is attention minus correlation with its interval and signed-rank p; ``change`` is that of the
    restricted conditions minus that of the same perturbations in the whole universe. Never read the change off the
    rows of all perturbations: they are other perturbations. ``attention_missing_share`` of the pairs (read again: of
    those of perturbed genes) have no attention and were given the lowest one. ``mean_variance`` shows what the
    restriction does to a gene-level baseline.
    """
    rows = []
    for place, name in enumerate(CONDITIONS):
        scores = found.conditions().get(name)
        record: dict[str, object] = dict.fromkeys(COLUMNS, np.nan)
        record |= {"role": found.wide.role.role, "dataset": found.wide.role.dataset, "condition": name}
        record |= {"layer": found.wide.layer, "n_genes": 0, "n_perturbations": 0, "reason": "", "resamples_done": 0}
        record |= {"resamples_requested": resamples}
        if scores is None:
            rows.append(record | {"reason": found.why_not})
            continue
        record |= {"n_genes": scores.role.genes.size, "n_perturbations": scores.attention.size}
        record |= {"attention_missing_share": scores.missing_share["attention"]}
        if scores.attention.size < 2:
            rows.append(record | {"reason": "fewer than two perturbations can be evaluated"})
            continue
        interval = studentised_interval(scores.difference, generator(inputs, number, 90, place), resamples)
        record |= {
            "mean_attention": scores.attention.mean(),
            "mean_correlation": scores.correlation.mean(),
            "mean_variance": found.variance[name].mean(),
            "mean_difference": scores.difference.mean(),
            "ci_low": interval.low,
            "ci_high": interval.high,
            "p": signed_rank(scores.difference).p,
            "resamples_done": interval.resamples_done,
        }
        if place >= 2:
            record |= _change(scores.difference - found.same.difference, inputs, number, place, resamples)
        rows.append(record)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _change(
    change: NDArray[np.float64], inputs: AnalysisInputs, number: int, place: int, resamples: int
) -> dict[str, object]:
    interval = studentised_interval(change, generator(inputs, number, 91, place), resamples)
    return {
        "change": change.mean(),
        "change_ci_low": interval.low,
        "change_ci_high": interval.high,
        "change_p": signed_rank(change).p,
    }

"""Edges of any set of cells of one role, and how well they recover reference networks: one run of analyses 1 and 13.

What belongs here: pooling attention and correlating expression over chosen cells, scoring one run. What does not: which
cells a run takes, and any test over runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import rankdata

from interp_assets.analyses.cell_scores import CellAttention, cell_attention
from interp_assets.analyses.inputs import AnalysisInputs, CellSample
from interp_assets.analyses.rows import chosen_settings, reading_or_reason, sample_or_reason
from interp_assets.edges.layers import resolve_layer
from interp_assets.edges.records import Reference
from interp_assets.stats.mantel import gene_permutations
from interp_assets.stats.ranking import fill_missing, rank_rows
from interp_assets.stats.recovery import TopRecovery, top_recovery, top_shares
from interp_assets.stats.relabelled import RelabelledTargets, relabelled_targets

Float = NDArray[np.float64]
Int = NDArray[np.int64]
Mask = NDArray[np.bool_]
READING: Final = "cell_attention"
ATTENTION: Final = "attention_layer_mean"
ONE_LAYER: Final = "attention"
CORRELATION: Final = "correlation"
ORDER: Final = "token_order"
# Share of the candidate pairs that is kept as the network of a run: about 190,000 of 3.7 million in the framework.
KEPT_SHARE: Final = 0.05
FEWEST_POSITIVES: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReference:
    """A reference network inside the read pairs: which rows it lists as regulators, their candidates and members.

    ``rows`` (R') are places among the read regulators, ``own`` (R') their positions among the genes; ``candidate``, all
    but self pairs, and ``member`` are R' x G.
    """

    name: str
    directed: bool
    rows: Int
    own: Int
    candidate: Mask
    member: Mask

    @property
    def positive(self) -> Mask:
        """Membership of the candidate pairs, in row order."""
        return np.asarray(self.member[self.candidate])

    @property
    def kept(self) -> int:
        """Edges kept as the network of a run."""
        return max(1, round(KEPT_SHARE * int(self.candidate.sum())))

    def of(self, scores: Float) -> Float:
        """Candidate scores, in row order, out of scores of all read regulators (R x G)."""
        return np.asarray(scores[self.rows][self.candidate])


@dataclass(frozen=True, slots=True, kw_only=True)
class RunCells:
    """Cells of one role that a run may draw from (N), with all that their edges are made of.

    ``averaged`` pools the mean over layers, ``single`` the analysis layer ``layer``, ``ordered`` what token order alone
    gives (None where positions see all others). ``expression`` is N x G log-normalised. ``types`` are cell types, ""
    for a cell without one, None where the dataset names none. ``references`` are those with enough pairs among the
    read ones, the primary one first.
    """

    sample: CellSample
    layer: int
    averaged: CellAttention
    single: CellAttention
    ordered: CellAttention | None = None
    expression: NDArray[np.float32]
    types: NDArray[np.str_] | None
    references: tuple[RunReference, ...]

    @property
    def count(self) -> int:
        """Number of cells."""
        return int(self.averaged.cells.size)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovered:
    """One edge score of one run against one reference."""

    auroc: float
    auprc: float
    top: TopRecovery
    scores: Float


def run_cells(inputs: AnalysisInputs, role: str) -> RunCells | str:
    """Cells of a role that were read one by one, or the reason why there are none."""
    sample = sample_or_reason(inputs, role)
    reading = reading_or_reason(inputs, READING)
    if isinstance(sample, str) or isinstance(reading, str):
        return sample if isinstance(sample, str) else str(reading)
    view = cell_attention(reading, role)
    if isinstance(view, str):
        return view
    references = run_references(view, sample)
    if not references:
        return (
            f"{sample.dataset}: no reference network has {FEWEST_POSITIVES} pairs among {view.shape[0]} regulators and "
            f"{view.shape[1]} genes; add one to `references` of the study"
        )
    depth = float(chosen_settings(inputs, "analysis_depth")["analysis_depth"])
    layer = resolve_layer(depth, view.layers)
    cells = sample.cells
    columns = pd.Index(cells.genes.astype(object)).get_indexer(view.genes.astype(object))
    if (columns < 0).any() or (view.cells.size and view.cells.max() >= cells.log.shape[0]):
        raise ValueError(f"{sample.dataset}: the cells of the reading are not those of the sample; read them again")
    return RunCells(
        sample=sample,
        layer=layer,
        averaged=replace(view, value=view.value.mean(axis=0, dtype=np.float64).astype(np.float32)[None]),
        single=replace(view, value=view.value[layer][None]),
        ordered=None if view.order is None else replace(view, value=view.order[None]),
        expression=np.asarray(cells.log[view.cells][:, columns].toarray(), dtype=np.float32),
        types=_types(sample, view),
        references=references,
    )


def run_references(view: CellAttention, sample: CellSample) -> tuple[RunReference, ...]:
    """References with at least five pairs among the read ones: the primary, then directed ones, in study order."""
    names = dict.fromkeys([sample.primary_reference, *sample.references])
    found = [
        one
        for name in names
        if name in sample.references
        for one in [run_reference(view, sample.references[name])]
        if int(one.member.sum()) >= FEWEST_POSITIVES and not one.positive.all()
    ]
    return tuple(sorted(found, key=lambda one: (one.name != sample.primary_reference, not one.directed)))


def run_reference(view: CellAttention, reference: Reference) -> RunReference:
    """A reference inside the read pairs; regulators without a listed target among the genes are no rows of it."""
    place = pd.Index(view.genes.astype(object)).get_indexer(reference.genes.astype(object))
    source, target = place[reference.source], place[reference.target]
    row_of = np.full(view.genes.size, -1)
    row_of[view.rows] = np.arange(view.rows.size)
    inside = (source >= 0) & (target >= 0) & (source != target)
    inside[inside] = row_of[source[inside]] >= 0
    member = np.zeros(view.shape, dtype=bool)
    member[row_of[source[inside]], target[inside]] = True
    rows = np.flatnonzero(member.any(axis=1))
    candidate = view.rows[rows][:, None] != np.arange(view.genes.size)[None, :]
    return RunReference(
        name=reference.name,
        directed=reference.directed,
        rows=rows,
        own=view.rows[rows],
        candidate=candidate,
        member=member[rows],
    )


def run_scores(source: RunCells, cells: Int, edge: str) -> tuple[Float, Mask]:
    """Edge scores R x G of the chosen cells, missing pairs at the lowest, and which pairs were observed.

    ``edge`` `ORDER` is there where the model looks back (``source.ordered``).
    """
    if edge == CORRELATION:
        raw = subset_correlation(source.expression[cells], source.averaged.rows)
    else:
        view = source.averaged if edge == ATTENTION else source.single
        if edge == ORDER and source.ordered is not None:
            view = source.ordered
        raw = view.pooled(0, cells)[0]
    self_pair = source.averaged.rows[:, None] == np.arange(raw.shape[1])[None, :]
    raw = np.where(self_pair, np.nan, raw)
    return fill_missing(raw)[0], np.isfinite(raw)


def subset_correlation(expression: NDArray[np.float32], rows: Int) -> Float:
    """Absolute Spearman correlation of R genes with all G over the given cells (n x G); NaN for a constant gene.

    Equal to `edges.scores.spearman_edges` of the same cells.
    """
    ranks = np.asarray(rankdata(expression, axis=0), dtype=np.float64)
    ranks -= ranks.mean(axis=0)
    length = np.sqrt((ranks**2).sum(axis=0))
    with np.errstate(divide="ignore", invalid="ignore"):
        ranks = np.where(length > 0, ranks / length, np.nan)
    return np.abs(np.clip(ranks[:, rows].T @ ranks, -1.0, 1.0))


def recovered(reference: RunReference, scores: Float, ks: Sequence[int]) -> Recovered:
    """AUROC, average precision and top-k recovery of one run; the network it keeps is the last of the k."""
    values = reference.of(scores)
    ranked = rank_rows(values[None, :])
    label = reference.positive.astype(np.int8)[None, :]
    return Recovered(
        auroc=float(ranked.auroc(label)[0]),
        auprc=float(ranked.average_precision(label)[0]),
        top=top_recovery(values, reference.positive, [*ks, reference.kept]),
        scores=values,
    )


def relabelled_copies(
    source: RunCells, reference: RunReference, rng: np.random.Generator, copies: int
) -> RelabelledTargets:
    """The reference with its target genes relabelled, ``copies`` times, over the pairs of its runs."""
    labels = gene_permutations(source.averaged.genes.size, copies, rng)
    return relabelled_targets(reference.member, reference.own, labels)


def relabelled_metrics(reference: RunReference, scores: Float, targets: RelabelledTargets) -> dict[str, Float]:
    """AUROC and F1 of the kept network of one run for every relabelled copy of the reference."""
    return {
        "auroc": targets.aurocs(scores[reference.rows])[1],
        "f1": relabelled_f1(reference, scores, targets),
    }


def relabelled_f1(reference: RunReference, scores: Float, targets: RelabelledTargets) -> Float:
    """F1 of the kept network of one run for every relabelled copy of the reference."""
    table = scores[reference.rows]
    share = np.zeros(table.shape)
    share[reference.candidate] = top_shares(table[reference.candidate], reference.kept)
    hits = targets.sums(share)[1]
    return np.asarray(2.0 * hits / (reference.kept + targets.positives))


def observed_types(source: RunCells, cells: Int) -> tuple[float, float]:
    """Cell types among the chosen cells: how many, and the entropy of their shares (nats); NaN where none are named.

    Cells without a type are left out.
    """
    named = None if source.types is None else source.types[cells]
    if named is None or not (named != "").any():
        return float("nan"), float("nan")
    held = np.unique(named[named != ""], return_counts=True)[1]
    share = held / held.sum()
    return float(share.size), float(-(share * np.log(share)).sum())


def halved_counts(wanted: Sequence[int], available: int) -> tuple[int, ...]:
    """Numbers of cells with the published ratios that exist: all are halved until the largest fits.

    >>> halved_counts([200, 1000, 3000], 1400)
    (50, 250, 750)
    """
    counts = tuple(int(count) for count in wanted)
    while max(counts) > available and min(counts) > 1:
        counts = tuple(count // 2 for count in counts)
    return counts


def _types(sample: CellSample, view: CellAttention) -> NDArray[np.str_] | None:
    if "cell_type" not in sample.cells.obs.columns:
        return None
    given = sample.cells.obs["cell_type"]
    return given.astype(object).where(given.notna(), "").astype(str).to_numpy(dtype=np.str_)[view.cells]

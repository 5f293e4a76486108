"""Runs of analysis E8: everything that is read of one release, again, from other cells of the same screen.

What belongs here: drawing cells, and the scores, numbers and readings of one draw. What does not: spread over draws
(`stability`).

A draw is a random half of the cells that were read one by one. Halves drawn without replacement vary about the whole
as independent draws of the whole size vary about their population: s^2 / (N / 2) x (1 - 1/2) = s^2 / N for a mean.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from interp_assets.analyses.baselines import MUST_BEAT
from interp_assets.analyses.cell_runs import READING, subset_correlation
from interp_assets.analyses.cell_scores import CellAttention, cell_attention
from interp_assets.analyses.inputs import AnalysisInputs, CellSample, RoleInputs
from interp_assets.analyses.perturbation_first import evaluable
from interp_assets.analyses.rows import analysis_layer, generator, reading_or_reason, role_or_reason, sample_or_reason
from interp_assets.analyses.scores import ReferencePairs, candidate_labels, pairs_or_reason
from interp_assets.cells.outcome_tables import positions
from interp_assets.stats.ranking import rank_rows
from interp_assets.stats.repeats import Reading, reading_of
from interp_assets.stats.resampling import group_weights, grouped_auroc_bootstrap, percentile_interval

Float = NDArray[np.float64]
Int = NDArray[np.int64]
NUMBER: Final = 108  # keeps the draws apart from those of analysis 8
ROLE: Final = "primary_screen"
VARIED: Final = ("seed", "cell_draw")
FEWEST_CELLS: Final = 20
CHANCE: Final = 0.5
ATTENTION, CORRELATION, MARGIN, VERSUS, REFERENCE = range(5)
# Criteria of claims that judge each quantity, for the number of seeds behind a verdict.
CRITERIA: Final = ("none", "none", "a;baselines_win", "equal_to_correlation", "c")
NOTHING: Final = "no perturbation has enough positive and negative candidates; see perturbation_exclusions"


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """Cells to draw from (N), and what every draw is judged by.

    ``view`` holds the frozen layer. ``expression`` is N x G over the genes of ``role``, ``columns`` (G) their places
    among those of the view. ``kept`` (n) are the evaluable perturbations of the role, ``rows`` (n) their places among
    the rows of the view, ``label`` n x G. ``pairs`` is the primary reference or why there is none, ``listed`` the
    places of its regulators among the rows. ``weights`` are resamples x units, the same for every draw, so that
    readings differ by the cells alone.
    """

    role: RoleInputs
    layer: int
    view: CellAttention
    expression: NDArray[np.float32]
    columns: Int
    kept: Int
    rows: Int
    label: NDArray[np.int8]
    pairs: ReferencePairs | str
    listed: Int
    weights: Mapping[str, Int]

    @property
    def cells(self) -> int:
        """Number of cells to draw from."""
        return int(self.view.cells.size)

    @property
    def names(self) -> tuple[str, ...]:
        """The quantities, by number."""
        reference = self.pairs if isinstance(self.pairs, str) else self.pairs.name
        return (
            "mean AUROC of attention",
            "mean AUROC of correlation",
            "attention - best gene-level baseline",
            "attention - correlation",
            f"AUROC of attention against {reference}",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One quantity from one draw: its number and 95 % interval over units, and how the interval reads.

    ``scores`` (E) are the edges behind it, NaN where no cell of the draw holds the pair.
    """

    quantity: int
    value: float
    low: float
    high: float
    reading: Reading
    scores: Float
    baseline: str = ""


def judged_cells(inputs: AnalysisInputs, resamples: int) -> Judged | str:
    """Cells of the primary screen that were read one by one, or the reason why there are none."""
    role, sample = role_or_reason(inputs, ROLE), sample_or_reason(inputs, ROLE)
    if isinstance(role, str) or isinstance(sample, str):
        return role if isinstance(role, str) else str(sample)
    reading = reading_or_reason(inputs, READING)
    view = reading if isinstance(reading, str) else cell_attention(reading, ROLE)
    if isinstance(view, str):
        return view
    if view.cells.size < 2 * FEWEST_CELLS:
        return (
            f"{role.dataset}: {view.cells.size} cells were read one by one, and a draw takes half of them; at least "
            f"{2 * FEWEST_CELLS} are needed: use a larger screen or raise cell_attention_entries"
        )
    return _judged(inputs, role, sample, view, resamples)


def _judged(
    inputs: AnalysisInputs, role: RoleInputs, sample: CellSample, view: CellAttention, resamples: int
) -> Judged:
    layer = analysis_layer(inputs, role)
    label = candidate_labels(role)
    kept = np.flatnonzero(evaluable(inputs, label))
    pairs = pairs_or_reason(role)
    columns, cells = positions(view.genes, role.genes), sample.cells
    row_of = positions(view.genes[view.rows], role.genes)
    rows = row_of[role.source[kept]]
    listed = row_of[np.empty(0, dtype=np.int64) if isinstance(pairs, str) else pairs.regulators]
    measured = positions(cells.genes, role.genes)
    gone = (columns < 0).any() or (rows < 0).any() or (listed < 0).any() or (measured < 0).any()
    if view.layers != 1 or gone or view.cells.max() >= cells.log.shape[0]:
        raise ValueError(
            f"{role.dataset}: the reading {READING} is not of these cells, genes and layer; read them again"
        )
    units = {"perturbation": kept.size, "regulator": listed.size}
    return Judged(
        role=role,
        layer=layer,
        view=view,
        expression=np.asarray(cells.log[view.cells][:, measured].toarray(), dtype=np.float32),
        columns=columns,
        kept=kept,
        rows=rows,
        label=label[kept],
        pairs=pairs,
        listed=listed,
        weights={
            unit: group_weights(count, resamples, generator(inputs, NUMBER, 0, place))
            for place, (unit, count) in enumerate(units.items())
            if count
        },
    )


def draws(inputs: AnalysisInputs, cells: int, varied: str, repeats: int, share: float) -> Iterator[Int]:
    """Cells of every repeat (n = N / 2 each, ascending).

    ``seed``: independent random halves. ``cell_draw``: one random half, a ``share`` of which, at least one cell, is
    left out and replaced by cells of the other half, drawn anew for every repeat.
    """
    size = cells // 2
    if varied == "seed":
        for repeat in range(repeats):
            yield np.sort(generator(inputs, NUMBER, 1, repeat).permutation(cells)[:size])
        return
    order = generator(inputs, NUMBER, 2).permutation(cells)
    own, others = order[:size], order[size:]
    moved = redrawn(size, share)
    for repeat in range(repeats):
        rng = generator(inputs, NUMBER, 3, repeat)
        yield np.sort(np.concatenate([rng.permutation(own)[moved:], rng.permutation(others)[:moved]]))


def redrawn(size: int, share: float) -> int:
    """Cells of a draw that are replaced.

    >>> redrawn(375, 0.02), redrawn(20, 0.02)
    (8, 1)
    """
    return max(1, round(share * size))


def measured(judged: Judged, cells: Int) -> list[Measured]:
    """Every quantity that the chosen cells give, in order; what cannot be evaluated at all is left out."""
    expression = judged.expression[cells]
    raw = judged.view.pooled(0, cells)[0][:, judged.columns]
    self_pair = judged.columns[None, :] == judged.view.rows[:, None]
    attention = np.where(self_pair, np.nan, raw)
    found: list[Measured] = []
    if judged.kept.size:
        own = _by_perturbation(judged, attention[judged.rows], attention)
        source = judged.role.source[judged.kept].astype(np.int64)
        correlated = subset_correlation(expression, source)
        correlated[np.arange(source.size), source] = np.nan
        other = _by_perturbation(judged, correlated, correlated)
        edges = attention[judged.rows]
        found = [_mean(judged, ATTENTION, own, edges), _mean(judged, CORRELATION, other, correlated)]
        found += [_margin(judged, own, expression, edges), _mean(judged, VERSUS, own - other, edges, 0.0)]
    if not isinstance(judged.pairs, str):
        found.append(_against_reference(judged, judged.pairs, attention))
    return found


def _by_perturbation(judged: Judged, rows: Float, every: Float) -> Float:
    """AUROC (n) of scores n x G, missing ones at the lowest of all that were observed (``every``)."""
    lowest = np.nanmin(every)
    return rank_rows(np.where(np.isnan(rows), lowest, rows)).auroc(judged.label)


def gene_level(expression: NDArray[np.float32]) -> dict[str, Float]:
    """Gene-level baselines (G each) of the given cells, as `cells.features` makes them of the control cells."""
    values = expression.astype(np.float64)
    found = {"variance": values.var(axis=0, ddof=1), "mean": values.mean(axis=0)}
    return {**found, "one_minus_dropout": (values > 0).mean(axis=0)}


def _mean(
    judged: Judged, quantity: int, values: Float, scores: Float, null: float = CHANCE, best: str = ""
) -> Measured:
    drawn = judged.weights["perturbation"] @ values / values.size
    interval = percentile_interval(drawn, requested=drawn.size)
    return Measured(
        quantity=quantity,
        value=float(values.mean()),
        low=interval.low,
        high=interval.high,
        reading=reading_of(interval.low, interval.high, null),
        scores=scores[judged.label >= 0],
        baseline=best,
    )


def _margin(judged: Judged, attention: Float, expression: NDArray[np.float32], scores: Float) -> Measured:
    """Attention minus the best of the baselines it must beat, all from the same cells."""
    features = gene_level(expression)
    baselines = {name: rank_rows(features[name]).auroc(judged.label) for name in MUST_BEAT}
    best = max(MUST_BEAT, key=lambda name: float(baselines[name].mean()))
    return _mean(judged, MARGIN, attention - baselines[best], scores, 0.0, best)


def _against_reference(judged: Judged, pairs: ReferencePairs, attention: Float) -> Measured:
    """AUROC over all candidate pairs of the reference, regulator to target; regulators are resampled."""
    raw = attention[judged.listed]
    inside = pairs.regulators[:, None] != np.arange(raw.shape[1])[None, :]
    filled = np.where(np.isnan(raw), np.nanmin(attention), raw)[inside]
    label = pairs.member[inside].astype(np.int8)
    group = np.repeat(np.arange(pairs.regulators.size), inside.sum(axis=1))
    drawn = grouped_auroc_bootstrap(filled, label, group, judged.weights["regulator"])
    interval = percentile_interval(drawn, requested=drawn.size)
    return Measured(
        quantity=REFERENCE,
        value=float(rank_rows(filled).auroc(label[None, :])[0]),
        low=interval.low,
        high=interval.high,
        reading=reading_of(interval.low, interval.high, CHANCE),
        scores=raw[inside],
    )

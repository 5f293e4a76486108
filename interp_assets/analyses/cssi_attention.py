"""Attention of real single cells, pooled and within strata of cells, held against a reference network.

What belongs here: which pairs and cells of the reading are judged, their strata, and recovery by layer. What does
not: declared rows (`cssi_validation`, `cssi_null`), the model run (`readings.cell_attention`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interp_assets.analyses import rows
from interp_assets.analyses.cell_scores import CellAttention, cell_attention
from interp_assets.analyses.inputs import AnalysisInputs, CellSample
from interp_assets.edges.references import restrict_reference
from interp_assets.stats.cssi import aggregate, recovery
from interp_assets.stats.strata import estimated_strata, most_strata

Float = NDArray[np.float64]
Int = NDArray[np.int64]

ROLE: Final = "layer_selection"
READING: Final = "cell_attention"
# the four variants the published layer profile takes the best of (paper section 5, analysis 10 d)
VARIANTS: Final = ("mean", "max", "range", "deviation")


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedAttention:
    """Single-cell attention on the pairs that are judged.

    Judged: regulators the reference lists x scored genes, self pairs removed, held by at least one cell (M pairs);
    ``unseen`` counts the others. ``cell`` and ``pair`` (E) number the entries, ``value`` is L x E, ``true`` (M).
    ``oracle`` (N) are known cell types, -1 for a cell without one, None without a ``cell_type`` column;
    ``estimated`` come from the embedding by ``method``.
    """

    sample: CellSample
    reference: str
    cells: int
    cell: Int
    pair: Int
    value: NDArray[np.float32]
    true: NDArray[np.bool_]
    unseen: int
    oracle: Int | None
    estimated: Int
    method: str
    embedding: NDArray[np.float32]

    @property
    def layers(self) -> int:
        """Number of layers."""
        return int(self.value.shape[0])

    def scores(self, labels: Int, layers: Sequence[int]) -> tuple[list[Float], Int]:
        """Mean attention within each stratum (K x M, NaN without a cell) of each layer, and cells of the strata (K).

        A cell labelled -1 belongs to no stratum.
        """
        strata, label = int(labels.max()) + 1, labels[self.cell]
        kept = slice(None) if (labels >= 0).all() else np.flatnonzero(label >= 0)
        where = label[kept] * self.true.size + self.pair[kept]
        count = np.bincount(where, minlength=strata * self.true.size)
        held = np.where(count > 0, count, np.nan)
        found = [
            (np.bincount(where, self.value[layer][kept], minlength=held.size) / held).reshape(strata, -1)
            for layer in layers
        ]
        return found, np.bincount(labels[labels >= 0], minlength=strata)

    def pooled(self, layers: Sequence[int]) -> list[Float]:
        """Mean attention over all cells (M) in each layer."""
        return [score[0] for score in self.scores(np.zeros(self.cells, dtype=np.int64), layers)[0]]

    def pooled_auroc(self, layers: Sequence[int]) -> Float:
        """AUROC of the pooled score in each layer."""
        return recovery(np.stack(self.pooled(layers)), self.true)[0]

    def recovered(
        self, labels: Int, layers: Sequence[int], pooled: Sequence[Float], aggregators: Sequence[str], minimum: int
    ) -> Float:
        """AUROC of the stratified score, layers x aggregators; NaN where no stratum reaches the minimum size."""
        score, size = self.scores(labels, layers)
        kept = size >= minimum
        if not kept.any():
            return np.full((len(layers), len(aggregators)), np.nan)
        found = []
        for values, together in zip(score, pooled, strict=True):
            combined = aggregate(values[kept], size[kept], together, aggregators, minimum=minimum)
            found.append(recovery(np.stack([combined[name] for name in aggregators]), self.true)[0])
        return np.stack(found)


def judged_attention(
    inputs: AnalysisInputs, minimum: int, most: int, rng: np.random.Generator
) -> JudgedAttention | str:
    """Real attention of the layer-selection cells with all strata it can have; or why it cannot be judged."""
    sample = rows.sample_or_reason(inputs, ROLE)
    if isinstance(sample, str):
        return sample
    reading = rows.reading_or_reason(inputs, READING)
    if isinstance(reading, str):
        return reading
    view = cell_attention(reading, ROLE)
    if isinstance(view, str):
        return view
    if view.embedding is None:
        return f"{ROLE}: cells have no embedding to estimate strata from; the adapter must run block by block"
    if most_strata(view.cells.size, minimum) < 2:
        return f"{ROLE}: {view.cells.size} cells cannot form two strata of {minimum}; give more cells"
    pairs = _pairs(sample, view)
    if isinstance(pairs, str):
        return pairs
    kept, code, true, unseen = pairs
    estimated, method = estimated_strata(view.embedding, min(most, most_strata(view.cells.size, minimum)), rng)
    return JudgedAttention(
        sample=sample,
        reference=sample.primary_reference,
        cells=int(view.cells.size),
        cell=view.cell[kept],
        pair=code,
        value=view.value[:, kept],
        true=true,
        unseen=unseen,
        oracle=_cell_types(sample, view),
        estimated=estimated,
        method=method,
        embedding=view.embedding,
    )


def _pairs(sample: CellSample, view: CellAttention) -> tuple[Int, Int, NDArray[np.bool_], int] | str:
    """Entries kept, the number of their pair, which pairs the reference lists, and how many pairs no cell holds."""
    given = sample.references.get(sample.primary_reference)
    if given is None:
        return f"{ROLE}: reference {sample.primary_reference} is not available on {sample.dataset}"
    reference = restrict_reference(given, view.genes)
    listed = np.isin(view.rows, reference.regulators)
    genes = view.genes.size
    row, column = view.pair // genes, view.pair % genes
    kept = np.flatnonzero(listed[row] & (view.rows[row] != column))
    seen, code = np.unique(view.rows[row[kept]] * genes + column[kept], return_inverse=True)
    true = np.isin(seen, reference.source.astype(np.int64) * genes + reference.target)
    if not true.any() or true.all():
        return f"{ROLE}: no cell holds a pair of {reference.name} together; use a reference that covers these genes"
    unseen = int(listed.sum()) * (genes - 1) - seen.size
    return kept, code.astype(np.int64), true, unseen


def _cell_types(sample: CellSample, view: CellAttention) -> Int | None:
    """Known type of each cell as a number (-1: it has none), or None where the dataset names no type."""
    if "cell_type" not in sample.cells.obs or sample.cells.obs["cell_type"].iloc[view.cells].isna().all():
        return None
    given = sample.cells.obs["cell_type"].iloc[view.cells]
    return pd.factorize(given.astype(object).where(given.notna()), sort=True)[0].astype(np.int64)

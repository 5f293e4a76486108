"""Attention of single cells as a table that any set of cells can be pooled from, without running the model again.

What belongs here: sums and means over cells of what `readings.cell_attention` kept. What does not: choosing cells or
strata, aggregating strata (`stats.cssi`), testing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from interp_assets.readings.cell_attention import role_slug
from interp_assets.readings.records import Reading

Float = NDArray[np.float64]
Int = NDArray[np.int64]
# Told wherever one layer is read on the data of the layer-selection role.
LAYER_CHOSEN_HERE: Final = (
    "the analysis layer may have been chosen by its recovery on this very dataset, so that its number leans high"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CellAttention:
    """Head-mean attention of N cells from R regulators to G genes in L layers, one entry a cell and pair it holds.

    ``cell`` (E, ascending) numbers the cell of an entry, ``pair`` (E) is row x G + column, ``value`` is L x E.
    ``cells`` (N) are positions among the prepared cells, ``genes`` (G) names, ``rows`` (R) the regulators' numbers
    among the genes. ``embedding`` (N x D) is None where the model offers none; ``order`` (E), what the order of tokens
    alone gives an entry, where positions see all others. Every method numbers cells 0 to N - 1.
    """

    genes: NDArray[np.str_]
    rows: Int
    cells: Int
    cell: Int
    pair: Int
    value: NDArray[np.float32]
    embedding: NDArray[np.float32] | None
    order: NDArray[np.float32] | None = None

    @property
    def layers(self) -> int:
        """Number of layers."""
        return int(self.value.shape[0])

    @property
    def shape(self) -> tuple[int, int]:
        """Regulators and genes."""
        return int(self.rows.size), int(self.genes.size)

    def counts(self, cells: ArrayLike | None = None) -> Int:
        """Number of the given cells that hold both genes (R x G)."""
        return np.bincount(self._of(self.pair, self._spans(cells)), minlength=self._pairs).reshape(self.shape)

    def pooled(self, layer: int, cells: ArrayLike | None = None) -> tuple[Float, Int]:
        """Mean score over the given cells (numbers or a mask; None: all), R x G, and the cells behind each.

        A pair that no cell holds is NaN with count 0: the score divides by the cells that hold both genes.
        """
        spans = self._spans(cells)
        return self._mean(self._of(self.pair, spans), self._of(self.value[layer], spans))

    @property
    def _pairs(self) -> int:
        return int(self.rows.size * self.genes.size)

    def _spans(self, cells: ArrayLike | None) -> list[slice] | None:
        """Entries of each of the given cells, in their order in the table; None for all entries."""
        if cells is None:
            return None
        given = np.asarray(cells)
        inside = np.zeros(self.cells.size, dtype=bool)
        inside[given] = True
        if given.dtype != np.bool_ and int(inside.sum()) != given.size:
            raise ValueError("a cell is given twice; pool each cell once")
        at = np.flatnonzero(inside)
        first, last = (np.searchsorted(self.cell, at, side) for side in ("left", "right"))
        return [slice(*each) for each in zip(first, last, strict=True)]

    @staticmethod
    def _of(values: NDArray[Any], spans: list[slice] | None) -> NDArray[Any]:
        """Values of the entries in some spans; whole spans are copied, which costs a fraction of picking entries."""
        if spans is None:
            return values
        return np.concatenate([values[span] for span in spans]) if spans else values[:0]

    def _mean(self, pair: Int, value: NDArray[Any]) -> tuple[Float, Int]:
        count = np.bincount(pair, minlength=self._pairs)
        mean = np.full(count.shape, np.nan)
        np.divide(np.bincount(pair, value, minlength=self._pairs), count, out=mean, where=count > 0)
        return mean.reshape(self.shape), count.reshape(self.shape)


def cell_attention(reading: Reading, role: str) -> CellAttention | str:
    """Attention of the single cells of a role, or the reason why the reading holds none."""
    slug = role_slug(role)
    if f"{slug}_value" not in reading.arrays:
        reasons = reading.facts.get("reasons", {})
        return str(reasons.get(role, f"single cells of role {role} were not read"))
    arrays = {name: reading.arrays[f"{slug}_{name}"] for name in ("offsets", "row", "column", "value", "genes")}
    genes, offsets = np.asarray(arrays["genes"]), np.asarray(arrays["offsets"], dtype=np.int64)
    embedding, order = (reading.arrays.get(f"{slug}_{name}") for name in ("embedding", "order"))
    return CellAttention(
        genes=genes,
        rows=np.asarray(reading.arrays[f"{slug}_rows"], dtype=np.int64),
        cells=np.asarray(reading.arrays[f"{slug}_cells"], dtype=np.int64),
        cell=np.repeat(np.arange(offsets.size - 1), np.diff(offsets)),
        pair=np.asarray(arrays["row"], dtype=np.int64) * genes.size + np.asarray(arrays["column"], dtype=np.int64),
        value=np.asarray(arrays["value"]),
        embedding=None if embedding is None else np.asarray(embedding),
        order=None if order is None else np.asarray(order),
    )

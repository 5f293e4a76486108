"""Whether two extractions of the same cells and genes agree: processor and CUDA, or two number formats.

What belongs here: stated tolerances and the comparison. What does not: extracting (`attention`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from interp_assets.edges.records import AttentionEdges


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeTolerance:
    """How far edge scores (mean softmax weights) of one number format may lie from exact ones, layer by layer.

    ``absolute`` bounds the largest difference of a pair, ``correlation`` the Pearson correlation over pairs from below.
    """

    absolute: float
    correlation: float

    def facts(self) -> dict[str, float]:
        """The tolerance as it is written into a manifest."""
        return asdict(self)


# float32: forward passes of very peaked random models, eager or fused, lie up to 5e-6 from float64 in sums over nine
# cells, less than 1e-6 in means; other devices add in another order. bfloat16 rounds hidden states to 8 bits.
EDGE_TOLERANCE: Mapping[str, EdgeTolerance] = MappingProxyType(
    {
        "float32": EdgeTolerance(absolute=5e-6, correlation=0.99999),
        "bfloat16": EdgeTolerance(absolute=5e-2, correlation=0.99),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeAgreement:
    """Largest difference and correlation of every layer, against the tolerance of the coarser number format.

    ``correlation`` of a layer is NaN where the scores of one side are constant; the difference decides then.
    """

    largest: tuple[float, ...]
    correlation: tuple[float, ...]
    tolerance: EdgeTolerance
    agrees: bool


def compare_edges(first: AttentionEdges, second: AttentionEdges) -> EdgeAgreement:
    """Agreement of two extractions over all pairs with a score, the diagonal included.

    The coarser format of the two states the tolerance. Scores have to be missing for the same pairs in both.

    Raises
    ------
    ValueError
        If they differ in cells, genes or layers, in the pairs that have a score, or state no known number format.
    """
    for what, one, other in (
        ("cells", first.cells_hash, second.cells_hash),
        ("genes", first.genes.tolist(), second.genes.tolist()),
        ("layers", first.layers, second.layers),
    ):
        if one != other:
            raise ValueError(f"{first.release} and {second.release} are not comparable: they differ in {what}")
    tolerance = _coarser(first, second)
    largest: list[float] = []
    correlation: list[float] = []
    for layer in range(first.layers):
        one, other = (edges.layer_matrix(layer).score for edges in (first, second))
        known = np.isfinite(one)
        if not np.array_equal(known, np.isfinite(other)):
            raise ValueError(f"layer {layer}: the two extractions have scores for different pairs")
        own, theirs = one[known].astype(np.float64), other[known].astype(np.float64)
        largest.append(float(np.abs(own - theirs).max(initial=0.0)))
        constant = own.size < 2 or np.ptp(own) == 0 or np.ptp(theirs) == 0
        correlation.append(float("nan") if constant else float(np.corrcoef(own, theirs)[0, 1]))
    agrees = max(largest) <= tolerance.absolute and all(
        np.isnan(value) or value >= tolerance.correlation for value in correlation
    )
    return EdgeAgreement(
        largest=tuple(largest), correlation=tuple(correlation), tolerance=tolerance, agrees=bool(agrees)
    )


def _coarser(first: AttentionEdges, second: AttentionEdges) -> EdgeTolerance:
    stated: list[Any] = [first.facts.get("dtype"), second.facts.get("dtype")]
    unknown = [kind for kind in stated if kind not in EDGE_TOLERANCE]
    if unknown:
        raise ValueError(f"number format {unknown[0]!r} has no stated tolerance; known: {', '.join(EDGE_TOLERANCE)}")
    return max((EDGE_TOLERANCE[kind] for kind in stated), key=lambda own: own.absolute)

"""Frozen records of edge scores and reference networks. Orientation is always regulator -> target."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeMatrix:
    """Scores of ordered gene pairs: rows are regulators, columns targets, both in the order of ``genes``.

    ``score`` is float32, genes x genes, NaN where no cell held both genes; ``cells_behind`` is int32, same
    shape. ``cells_hash`` identifies the cells; two scores may be compared only when it is equal.
    """

    name: str
    genes: NDArray[np.str_]
    score: NDArray[np.float32]
    cells_behind: NDArray[np.int32]
    cells_hash: str
    layer: int | None = None
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionEdges:
    """Attention of one release on one dataset, one `EdgeMatrix` per layer on request.

    ``layer_matrix(l)`` gives the head mean of layer ``l`` (0-based). ``genes`` are the evaluable genes: the
    scored universe that the release's vocabulary knows, in universe order.
    """

    release: str
    dataset: str
    genes: NDArray[np.str_]
    layers: int
    heads: int
    cells_hash: str
    layer_matrix: Callable[[int], EdgeMatrix]
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A reference network inside a gene list: index pairs (regulator, target), self pairs removed.

    ``source``/``target`` are int32 positions in ``genes``; ``directed`` False means every pair is present in
    both orders. ``regulators`` are the genes the reference could have listed as regulators. ``direction`` is
    int8, one entry a pair: 1 activation, -1 repression, 2 both are listed, 0 not known; None where the network
    states no directions at all.
    """

    name: str
    genes: NDArray[np.str_]
    source: NDArray[np.int32]
    target: NDArray[np.int32]
    directed: bool
    regulators: NDArray[np.int32]
    direction: NDArray[np.int8] | None = None
    facts: dict[str, Any] = field(default_factory=dict)

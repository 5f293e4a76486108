"""Which layer an analysis reads, from a depth that means the same in models of any number of layers."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass

SETTLED = "study settings"


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerChoice:
    """The layer every analysis of one evaluation reads, fixed before any outcome is read.

    ``depth`` is relative (see `resolve_layer`). ``dataset`` and ``reference`` are what the choice was made on, with
    the hash of its cells and of the whole profile; both are empty where the study settings fixed the depth, and
    ``chosen_by`` then says why.
    """

    depth: float
    chosen_by: str
    dataset: str = ""
    reference: str = ""
    criterion: str = ""
    layer: int | None = None
    layers: int | None = None
    score: float | None = None
    cells_hash: str = ""
    profile_hash: str = ""

    @property
    def sha256(self) -> str:
        """Hash over every field: the frozen record's name."""
        text = json.dumps(asdict(self), sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(text.encode("utf-8")).hexdigest()


def settled_depth(depth: float, why: str) -> LayerChoice:
    """Choice by the study settings, with the reason why nothing else could choose."""
    return LayerChoice(depth=depth, chosen_by=f"{SETTLED}, depth {depth:.4g}: {why}")


def resolve_layer(depth: float, layers: int) -> int:
    """Layer (0-based) at a relative depth: ``round(depth * (layers - 1))``.

    Depth 0 is the first layer and 1 the last; 13/17 is layer 13 of an 18-layer model and layer 5 of an
    8-layer one (docs/architecture.md).

    Raises
    ------
    ValueError
        If `depth` is outside [0, 1] or there is no layer.

    >>> resolve_layer(13 / 17, 18), resolve_layer(13 / 17, 8), resolve_layer(13 / 17, 1)
    (13, 5, 0)
    """
    if layers < 1:
        raise ValueError(f"a model with {layers} layers has no analysis layer; `layers` must be at least 1")
    if not 0.0 <= depth <= 1.0:
        raise ValueError(f"analysis_depth = {depth} is outside [0, 1]; give it as layer / (layers - 1)")
    return round(depth * (layers - 1))


def relative_depth(layer: int, layers: int) -> float:
    """Depth of a layer between 0 (first) and 1 (last); a one-layer model is all at depth 0.

    >>> relative_depth(13, 18) == 13 / 17
    True
    """
    if not 0 <= layer < layers:
        raise ValueError(f"layer {layer} does not exist in a model of {layers} layers (0 to {layers - 1})")
    return layer / (layers - 1) if layers > 1 else 0.0

"""Which layer an analysis reads, from a depth that means the same in models of any number of layers."""

from __future__ import annotations


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

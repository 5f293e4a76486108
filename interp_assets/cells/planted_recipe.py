"""From a declared planted dataset to the knobs of the recipe."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

from interp_assets.cells.dataset_records import DatasetSpec
from interp_assets.cells.declared import DeclarationError
from interp_assets.cells.panels import read_panel

if TYPE_CHECKING:
    from interp_assets.cells.planted_params import PlantedParams


EDGE_CELLS = "edge_cells"


def edge_cells(spec: DatasetSpec) -> int:
    """How many control cells edge scores are computed from; 0 means all. Outcomes always use all of them.

    Raises
    ------
    DeclarationError
        When the value is no whole number of at least 0.
    """
    wanted = spec.planted.get(EDGE_CELLS, 0)
    if isinstance(wanted, bool) or not isinstance(wanted, int) or wanted < 0:
        raise DeclarationError(f"{spec.file}: key `planted.{EDGE_CELLS}`: is {wanted!r}; give a whole number.")
    return wanted


def planted_params(spec: DatasetSpec) -> PlantedParams:
    """Knobs declared under ``planted``; ``universe_panel`` names the scored genes, without it they are drawn.

    Raises
    ------
    DeclarationError
        Names the file and the key of an unknown knob or a value the recipe refuses.
    """
    from interp_assets.cells.planted_params import PlantedParams

    known = {knob.name for knob in fields(PlantedParams)} - {"universe"} | {"universe_panel", EDGE_CELLS}
    unknown = sorted(set(spec.planted) - known)
    if unknown:
        raise DeclarationError(
            f"{spec.file}: key `planted.{unknown[0]}`: is not known here; known keys: "
            f"{', '.join(sorted(known))}. "
            "Remove or rename it."
        )
    knobs = {name: tuple(value) if isinstance(value, list) else value for name, value in spec.planted.items()}
    panel = knobs.pop("universe_panel", None)
    knobs.pop(EDGE_CELLS, None)
    try:
        universe = read_panel(panel, spec.file.parent.parent) if panel else None
        return PlantedParams(**knobs, universe=universe)
    except (TypeError, ValueError) as error:
        raise DeclarationError(f"{spec.file}: key `planted`: {error}. Correct the value.") from error

"""The readings of a running model that analyses ask for, one row each; assets are made from these rows.

Importing this module imports neither numpy nor torch; `ReadingRow.run` resolves its function when asked.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from interp_assets.readings.records import Reading, ReadingContext


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingRow:
    """One reading: its name, the roles it is made on, and ``function`` ("module:name") that makes it.

    ``gridded``: it also wants outcomes against control sets of other sizes (`interp_assets.cells.grid_outcomes`).

    The function takes a `ReadingContext` and returns a `Reading`, or the reason why the release has none.
    """

    name: str
    roles: tuple[str, ...]
    function: str
    description: str
    gridded: bool = False

    @property
    def run(self) -> Callable[[ReadingContext], Reading | str]:
        """Function of the reading, imported now."""
        module, name = self.function.split(":")
        return cast("Callable[[ReadingContext], Reading | str]", getattr(import_module(module), name))


READINGS: tuple[ReadingRow, ...] = (
    ReadingRow(
        name="cell_attention",
        roles=("layer_selection", "tissues[2]", "primary_screen"),
        function="interp_assets.readings.cell_attention:read",
        description="attention of single cells from regulators to scored genes, and an embedding of each cell; on the "
        "primary screen the frozen layer alone",
    ),
    ReadingRow(
        name="restricted_attention",
        roles=("other_line_screen",),
        function="interp_assets.readings.restricted_attention:read",
        description="attention of perturbed genes, read from sequences of the most variable genes only",
    ),
    ReadingRow(
        name="mediation",
        roles=("tissues[1]", "tissues[2]", "tissues[3]"),
        function="interp_assets.readings.mediation:read",
        description="what a regulator does to its predicted target, and how much of it each head and layer carries",
    ),
    ReadingRow(
        name="sensitivity_grid",
        roles=("primary_screen",),
        function="interp_assets.readings.sensitivity_grid:read",
        description="attention, correlation and tests of the primary screen for three control sets and gene lists",
        gridded=True,
    ),
    ReadingRow(
        name="deletions",
        roles=tuple(f"agreement_screens[{n}]" for n in (1, 2, 3, 4)),
        function="interp_assets.readings.deletions:read",
        description="change of a predicted target gene when a source gene is deleted from the cell",
    ),
    ReadingRow(
        name="value_weighted",
        roles=("primary_screen",),
        function="interp_assets.readings.value_weighted:read",
        description="how alike the context vectors of two genes are, with attention and correlation of the same cells",
    ),
)


def reading(name: str) -> ReadingRow:
    """Catalogue row of a reading.

    Raises
    ------
    ValueError
        If there is no reading of that name.
    """
    for entry in READINGS:
        if entry.name == name:
            return entry
    raise ValueError(f"there is no reading {name}; known: {', '.join(entry.name for entry in READINGS)}")

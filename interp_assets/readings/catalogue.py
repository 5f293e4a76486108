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

    The function takes a `ReadingContext` and returns a `Reading`, or the reason why the release has none.
    """

    name: str
    roles: tuple[str, ...]
    function: str
    description: str

    @property
    def run(self) -> Callable[[ReadingContext], Reading | str]:
        """Function of the reading, imported now."""
        module, name = self.function.split(":")
        return cast("Callable[[ReadingContext], Reading | str]", getattr(import_module(module), name))


READINGS: tuple[ReadingRow, ...] = ()


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

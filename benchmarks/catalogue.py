"""What ``python -m benchmarks`` measures: modules of this folder, in the order of the page.

A module offers any of ``PATHS`` (two ways of one piece of work), ``GROWTHS`` (one piece of work of several sizes) and
``TIMES`` (commands and imports). Its data are made, and its libraries imported, only when something is measured.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.evaluation import Checked, Evaluation
from benchmarks.growth import Growth
from benchmarks.paired import Path
from benchmarks.start import Start

MODULES = (
    "attention",
    "correlation",
    "cssi",
    "differential",
    "incremental",
    "nulls",
    "ranking",
    "regulators",
    "rank_sum",
    "streamed_cells",
    "evaluation",
    "start",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One thing to measure and the module that offers it."""

    module: str
    what: Path | Evaluation | Growth | Start | Checked

    @property
    def name(self) -> str:
        return self.what.path

    def asked(self, words: list[str]) -> bool:
        """Whether its name or module holds one of the words; every entry is asked for where there are none."""
        told = f"{self.module} {self.name}".casefold()
        return not words or any(word.casefold() in told for word in words)


def entries(modules: Sequence[str] = MODULES) -> list[Entry]:
    """Everything that is measured, in order.

    Raises
    ------
    ValueError
        Where two entries have one name: results are kept by it.
    """
    found = [Entry(module=module, what=what) for module in modules for what in _offered(module)]
    names = [entry.name for entry in found]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"measured twice under one name: {', '.join(twice)}")
    return found


def _offered(module: str) -> Iterator[Path | Evaluation | Growth | Start | Checked]:
    loaded = importlib.import_module(f"benchmarks.{module}")
    for kind in ("PATHS", "GROWTHS", "TIMES"):
        yield from getattr(loaded, kind, ())

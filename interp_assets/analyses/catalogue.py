"""The 37 analyses of the framework and the extended ones, one row each. Assets and documentation are made from them.

What belongs here: finding rows. The rows themselves say what an analysis is called, what it needs and which function
runs it; they lie by family in ``catalogue_*``. Importing this module imports no numpy; `AnalysisRow.run` resolves its
function when asked.
"""

from __future__ import annotations

from functools import cache

from interp_assets.analyses import (
    catalogue_boundary,
    catalogue_confounds,
    catalogue_contexts,
    catalogue_extended,
    catalogue_interventions,
)
from interp_assets.analyses.analysis_row import AnalysisRow

FAMILIES = (catalogue_boundary, catalogue_confounds, catalogue_contexts, catalogue_interventions)
CATALOGUE: tuple[AnalysisRow, ...] = tuple(
    sorted((entry for family in FAMILIES for entry in family.ROWS), key=lambda entry: entry.number)
)

EXTENDED: tuple[AnalysisRow, ...] = catalogue_extended.ROWS


def row(number: int) -> AnalysisRow:
    """Catalogue row of an analysis.

    Raises
    ------
    ValueError
        If there is no analysis of that number.
    """
    for entry in CATALOGUE:
        if entry.number == number:
            return entry
    raise ValueError(f"there is no analysis {number}; they run from 1 to {len(CATALOGUE)}")


@cache
def built() -> tuple[AnalysisRow, ...]:
    """Rows of the analyses that have a function, in order."""
    return tuple(entry for entry in CATALOGUE if entry.function is not None)


@cache
def extended() -> tuple[AnalysisRow, ...]:
    """Rows of the extended analyses that have a function, in order."""
    return tuple(entry for entry in EXTENDED if entry.function is not None)


@cache
def every() -> tuple[AnalysisRow, ...]:
    """Rows of all analyses that have a function: the 37, then the extended ones."""
    return (*built(), *extended())


def labelled(label: str) -> AnalysisRow:
    """Catalogue row of an analysis by what people call it: ``16`` or ``E4``.

    Raises
    ------
    ValueError
        If there is no such analysis.
    """
    for entry in (*CATALOGUE, *EXTENDED):
        if entry.label == label.upper():
            return entry
    raise ValueError(f"there is no analysis {label}; they are 1 to {len(CATALOGUE)} and E1 to E{len(EXTENDED)}")

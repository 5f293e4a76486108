"""The 37 analyses of the framework, one row each. Assets, checks, figures and documentation are made from these rows.

What belongs here: finding rows. The rows themselves say what an analysis is called, what it needs and which function
runs it; they lie by family in ``catalogue_*``. Importing this module imports no numpy; `AnalysisRow.run` resolves its
function when asked.
"""

from __future__ import annotations

from interp_assets.analyses import (
    catalogue_boundary,
    catalogue_confounds,
    catalogue_contexts,
    catalogue_interventions,
)
from interp_assets.analyses.analysis_row import AnalysisRow

FAMILIES = (catalogue_boundary, catalogue_confounds, catalogue_contexts, catalogue_interventions)
CATALOGUE: tuple[AnalysisRow, ...] = tuple(
    sorted((entry for family in FAMILIES for entry in family.ROWS), key=lambda entry: entry.number)
)


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


def built() -> tuple[AnalysisRow, ...]:
    """Rows of the analyses that have a function, in order."""
    return tuple(entry for entry in CATALOGUE if entry.function is not None)

"""Null calibration of one dataset: the stored record, and how it is made from what is stored of the dataset."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from interp_assets.cells.records import PreparedCells, Unavailable
from interp_assets.edges.records import EdgeMatrix

EDGES = ("correlation", "rank_distance")


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Every p (``p``) and how each test's are distributed (``summary``).

    ``p``: test (the whole description, unique), analysis, scores, labels (how genes were called), genes (gene set),
    assignment (of guides to cells), replicate, p. ``summary``: one row a test with the same keys and guides, n_genes,
    replicates, mean_p, share_below_05 with its band share_low to share_high, ks, ks_limit, uniform, note. The primary
    configuration (Welch, detected genes) comes first.
    """

    p: pd.DataFrame
    summary: pd.DataFrame


def calibrate(
    cells: PreparedCells, edges: Mapping[str, EdgeMatrix], features: pd.DataFrame
) -> Calibration | Unavailable:
    """Calibration of the battery's tests on the non-targeting guides of a dataset, or why it has none.

    ``features`` has the gene as index. Edges that need no model serve: what is calibrated are the tests.
    """
    from interp_assets.analyses.null_calibration import (
        CalibrationSettings,
        NothingToCalibrateError,
        null_calibration,
        scored_by,
    )

    if cells.guides is None:
        return Unavailable(cells.dataset, "its cells hold no non-targeting guides")
    scored = scored_by([edges[name] for name in EDGES], features.loc[cells.universe.tolist()])
    try:
        return null_calibration(cells, scored, CalibrationSettings())
    except NothingToCalibrateError as error:
        return Unavailable(cells.dataset, str(error))

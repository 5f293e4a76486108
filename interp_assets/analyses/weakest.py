"""Which sample a row over several datasets speaks for: the weakest, so that the row claims no more than it may."""

from __future__ import annotations

from collections.abc import Iterable

from interp_assets.analyses.inputs import CellSample
from qc_standards.records import DataOrigin


def weakest_sample(samples: Iterable[CellSample]) -> CellSample:
    """Sample of the weakest data origin; among these the first whose dataset fits its role in part only."""
    order = [str(origin) for origin in DataOrigin]
    return max(samples, key=lambda sample: (order.index(str(sample.data_origin)), sample.role_fit != "full"))

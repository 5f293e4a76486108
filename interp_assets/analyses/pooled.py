"""Which record a row over several datasets carries: all of them by name, with the weakest origin and fit."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from interp_assets.analyses.inputs import CellSample, Pooled
from qc_standards.records import DataOrigin


def pooled_source(samples: Iterable[CellSample]) -> CellSample | Pooled:
    """The sample itself where there is one dataset; else all datasets named together, each once.

    Origin is the weakest of them, the role fits in full only if it does in all, and the hash is over the hashes of
    all, so that the row claims no more than its weakest dataset may.
    """
    held: dict[str, CellSample] = {}
    for sample in samples:
        if sample.dataset not in held or sample.role_fit != "full":
            held[sample.dataset] = sample
    each = list(held.values())
    if len(each) == 1:
        return each[0]
    order = [str(origin) for origin in DataOrigin]
    return Pooled(
        dataset=" + ".join(held),
        data_origin=max((str(sample.data_origin) for sample in each), key=order.index),
        role_fit="full" if all(sample.role_fit == "full" for sample in each) else "partial",
        cells_hash=hashlib.sha256("".join(sample.cells_hash for sample in each).encode()).hexdigest(),
    )

"""What one reading of a running model leaves behind, what it is made from, and how it is kept.

What belongs here: the records and their file form. What does not: any model or computation.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

if TYPE_CHECKING:
    from interp_assets.cells.grid_outcomes import GridOutcomes
    from interp_assets.cells.records import PreparedCells, ScreenLabels
    from interp_assets.edges.layers import LayerChoice
    from interp_assets.edges.records import Reference
    from interp_assets.models.adapter import Encoding
    from interp_assets.models.attention.edge_rules import EdgeRule
    from interp_assets.models.files.releases import Release

FOLDER: Final = "results"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What was read from a running model for one purpose.

    ``tables`` hold one fact a row, ``arrays`` what is no table (numbers, booleans or text, never objects), ``facts``
    plain JSON: cells, layers, device, dtype, settings used. The function that made it says what they mean.
    """

    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadData:
    """Data of one role as a reading sees them: cells, outcomes, reference networks over the universe.

    ``grid`` holds the outcomes against control sets of other sizes, or says why there are none.
    """

    role: str
    cells: PreparedCells
    labels: ScreenLabels
    references: Mapping[str, Reference]
    primary_reference: str
    grid: GridOutcomes | str = "outcomes against other control sets were not made for it"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingContext:
    """What a reading is made from.

    ``release`` is the verified model; ``data`` by role, absent roles left out with their reason in ``absent``.
    ``settings`` are the battery settings of the study, ``choice`` the frozen layer. ``device`` is ``auto``, ``cpu``
    or ``cuda``, ``dtype`` the number format of the model. ``encoding`` is how cells were encoded for the attention
    edges (None: by the defaults of the family), ``edge_rule`` what these say of a pair.
    """

    study: str
    release: Release
    data: Mapping[str, ReadData]
    absent: Mapping[str, str]
    settings: Mapping[str, Any]
    choice: LayerChoice
    seed: int
    device: str = "auto"
    dtype: str = "float32"
    memory_gib: float = 0.6
    encoding: Encoding | None = None
    edge_rule: EdgeRule = "softmax_mean"


def kept_files(name: str, found: Reading | str, parquet: Callable[[pd.DataFrame], bytes]) -> dict[str, bytes]:
    """Files of a reading by relative name: its facts, or the reason why there is none, its tables and arrays."""
    if isinstance(found, str):
        return {f"{FOLDER}/{name}.json": _json({"reason": found})}
    content = {
        "reason": "",
        "facts": dict(found.facts),
        "tables": sorted(found.tables),
        "arrays": sorted(found.arrays),
    }
    files = {f"{FOLDER}/{name}.json": _json(content)}
    files |= {f"{FOLDER}/{name}/{table}.parquet": parquet(frame) for table, frame in found.tables.items()}
    return files | {f"{FOLDER}/{name}/{array}.npy": _npy(values) for array, values in found.arrays.items()}


def read_files(name: str, path_of: Callable[[str], Path]) -> Reading | str:
    """Reading kept by `kept_files`, or the reason why there is none; ``path_of`` finds a file by relative name."""
    content = json.loads(path_of(f"{FOLDER}/{name}.json").read_text(encoding="utf-8"))
    if content["reason"]:
        return str(content["reason"])
    return Reading(
        tables={table: pd.read_parquet(path_of(f"{FOLDER}/{name}/{table}.parquet")) for table in content["tables"]},
        arrays={
            array: np.load(path_of(f"{FOLDER}/{name}/{array}.npy"), mmap_mode="r", allow_pickle=False)
            for array in content["arrays"]
        },
        facts=content["facts"],
    )


def _json(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("utf-8")


def _npy(values: NDArray[Any]) -> bytes:
    held = io.BytesIO()
    np.save(held, np.ascontiguousarray(values), allow_pickle=False)
    return held.getvalue()

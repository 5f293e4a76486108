"""What a report is made from: exactly the files of ``store/<study>/<release>/``, already loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pandas as pd

from interp_assets.figures.records import Drawing, FigureSkipped
from qc_standards.records import TestSpec

if TYPE_CHECKING:
    from interp_assets.figures.entry_states import EntryRow


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportInputs:
    """Everything one report shows.

    ``verdict``, ``claims`` and ``standards`` are the parsed JSON files of the gate, ``tests`` the 153
    computed rows, ``registry`` their declarations (published values live only there), ``tables`` the computed
    tables by name, ``figures`` what the figure catalogue drew or skipped, ``provenance`` the parsed
    ``provenance.json``. ``statement`` is the parsed ``statement.json``. ``extended`` holds the extended rows (None
    where there are none) and ``extended_registry`` their declarations. ``entries`` says what became of the paper's
    figures and tables.
    """

    study: str
    release: str
    verdict: Mapping[str, Any]
    claims: Sequence[Mapping[str, Any]]
    standards: Sequence[Mapping[str, Any]]
    tests: pd.DataFrame
    registry: Sequence[TestSpec]
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    figures: Sequence[Drawing | FigureSkipped] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)
    statement: Mapping[str, Any] = field(default_factory=dict)
    extended: pd.DataFrame | None = None
    extended_registry: Sequence[TestSpec] = ()
    entries: Sequence[EntryRow] = ()

"""Supplementary tables of one stored evaluation: what they are made from, and their files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from interp_assets.supplement.catalogue import table_csv
from interp_assets.supplement.records import Evaluated, TableSkipped, Tabulated

if TYPE_CHECKING:
    from qc_standards.results import Results
    from qc_standards.verdicts import Judgement

NO_ROWS = ("test_id", "status", "reason", "data_origin")


def evaluated(results: Results, judgement: Judgement, claims: Sequence[Mapping[str, Any]]) -> Evaluated:
    """Results and claims of one evaluation as the tables read them; ``claims`` are those of ``claims.json``."""
    return Evaluated(
        study=judgement.study,
        release=judgement.release,
        data_origin=str(judgement.verdicts[judgement.headline].data_origin),
        tests=results.tests,
        extended=pd.DataFrame(columns=list(NO_ROWS)) if results.extended is None else results.extended,
        tables=results.tables,
        claims=tuple(claims),
    )


def table_files(made: Tabulated | TableSkipped) -> dict[str, bytes]:
    """File of one table: its text with commas, or a text that says why there is none."""
    if isinstance(made, TableSkipped):
        return {f"supplement/{made.table_id}.txt": f"not made: {made.reason}\n".encode()}
    return {f"supplement/{made.table_id}.csv": table_csv(made)}

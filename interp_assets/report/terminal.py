"""The verdict table of the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from interp_assets.figures.wording import is_small, origin_label
from interp_assets.report.index import CRITERIA
from qc_standards.records import Outcome, VerdictState

if TYPE_CHECKING:
    from rich.table import Table

_MARKS = {
    str(Outcome.PASS): ("pass", "green"),
    str(Outcome.FAIL): ("fail", "red"),
    str(Outcome.UNDECIDED): ("undecided", "yellow"),
    str(Outcome.NOT_EVALUABLE): ("n/e", "dim"),
}
_STATES = {
    str(VerdictState.SUPPORTED): "bold green",
    str(VerdictState.REFUTED): "bold red",
    str(VerdictState.INCONCLUSIVE): "bold yellow",
}


def verdict_table(leaderboard: pd.DataFrame) -> Table:
    """Releases x criteria a-d with verdict, data origin and one next thing to do, from the leaderboard frame.

    Names are shown as plain text: square brackets in them are no markup. ``n/e`` means not evaluable.
    """
    from rich.table import Table
    from rich.text import Text

    table = Table(
        title="Verdict: may attention be read as a gene regulatory network?",
        caption="pass / fail / undecided / n/e (not evaluable); criteria are never added up",
        title_justify="left",
        caption_justify="left",
    )
    for column in ("study", "release", *CRITERIA, "verdict", "data origin", "next"):
        table.add_column(column, overflow="fold")
    previous = None
    for row in leaderboard.itertuples():
        if previous not in (None, row.study):
            table.add_section()
        previous = row.study
        outcomes = [str(getattr(row, f"criterion_{name}")) for name in CRITERIA]
        table.add_row(
            Text(str(row.study)),
            Text(f"{row.release} (small)" if is_small(str(row.release)) else str(row.release)),
            *(Text(*_MARKS.get(outcome, (outcome, "dim"))) for outcome in outcomes),
            Text(str(row.verdict), style=_STATES.get(str(row.state), "bold")),
            Text(origin_label(row.data_origin)),
            Text(str(row.next_step)),
        )
    return table

"""The verdict table of the terminal, readable at 80 columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from interp_assets.figures import wording
from interp_assets.figures.wording import is_small, listing, origin_label
from interp_assets.report.advice import BEHAVES
from interp_assets.report.index import CRITERIA
from interp_assets.report.reading import NO_ORIGIN
from qc_standards.records import Outcome, Status, TestResult, VerdictState

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

QUESTION = "may attention be read as a gene regulatory network?"
LEGEND = (
    "a beats baselines, b adds to them, c survives confounds, d is used by the model",
    "? undecided, n/e not evaluable; criteria are never added up",
)
SMALL = "(small): trained for demonstration; says nothing about full-size models"
NAME_WIDTH = 40
_MARKS = {
    str(Outcome.PASS): ("pass", "green"),
    str(Outcome.FAIL): ("fail", "red"),
    str(Outcome.UNDECIDED): ("?", "yellow"),
    str(Outcome.NOT_EVALUABLE): ("n/e", "dim"),
}
_STATES = {
    str(VerdictState.SUPPORTED): "bold green",
    str(VerdictState.REFUTED): "bold red",
    str(VerdictState.INCONCLUSIVE): "bold yellow",
}


def verdict_table(leaderboard: pd.DataFrame) -> Table:
    """Releases x criteria a-d with the verdict, from the leaderboard frame; one study is named in the title.

    Release names of up to `NAME_WIDTH` characters stay on one line of an 80 column terminal. The caption says
    where the outcomes come from. Names are shown as plain text: square brackets in them are no markup.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    studies = list(dict.fromkeys(leaderboard["study"].astype(str)))
    table = Table(
        title=Text(f"Study {studies[0]}: {QUESTION}" if len(studies) == 1 else f"Verdict: {QUESTION}"),
        caption=Text("\n".join(_caption(leaderboard, studies))),
        title_justify="left",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=0,
    )
    if len(studies) > 1:
        table.add_column("study", overflow="fold")
    table.add_column("release", no_wrap=len(studies) < 2, overflow="fold", max_width=NAME_WIDTH)
    for name in CRITERIA:
        table.add_column(name, no_wrap=True, min_width=5 if name != CRITERIA[-1] else 4)
    table.add_column("verdict", overflow="fold")
    previous = None
    for row in leaderboard.itertuples():
        if previous not in (None, row.study):
            table.add_section()
        previous = row.study
        outcomes = [str(getattr(row, f"criterion_{name}")) for name in CRITERIA]
        table.add_row(
            *([Text(str(row.study))] if len(studies) > 1 else []),
            Text(_named(str(row.release), str(row.release_kind))),
            *(Text(*_MARKS.get(outcome, (outcome, "dim"))) for outcome in outcomes),
            Text(str(row.verdict), style=_STATES.get(str(row.state), "bold")),
        )
    return table


def _named(release: str, kind: str) -> str:
    if kind != "release" or not is_small(release):
        return release
    return f"{release} (small)" if len(release) + len(" (small)") <= NAME_WIDTH else f"{release}\n(small)"


def _caption(leaderboard: pd.DataFrame, studies: list[str]) -> list[str]:
    models = leaderboard.loc[leaderboard["release_kind"] == "release", "release"]
    small = [SMALL] if any(is_small(str(name)) for name in models) else []
    return ["", *_origins(leaderboard, studies), *small, *LEGEND]


def _origins(leaderboard: pd.DataFrame, studies: list[str]) -> list[str]:
    """One line a study: where the outcomes behind its verdicts come from."""
    lines = []
    for study in studies:
        origins = leaderboard.loc[leaderboard["study"].astype(str) == study, "data_origin"]
        read = dict.fromkeys(origin_label(origin) for origin in origins if origin != NO_ORIGIN)
        words = listing(list(read)) if read else "no outcomes were read"
        lines.append(f"Data: {words}" if len(studies) == 1 else f"Data of {study}: {words}")
    return lines


def sayings(leaderboard: pd.DataFrame) -> list[Text]:
    """One line a release with the sentence that answers the claim; controls say nothing about a model."""
    from rich.text import Text

    models = leaderboard[(leaderboard["release_kind"] == "release") & (leaderboard["in_short"] != "")]
    said = "may be said, "
    return [Text.assemble(said, (str(row.release), "bold"), f": {row.in_short}") for row in models.itertuples()]


def next_steps(leaderboard: pd.DataFrame) -> list[Text]:
    """The one next thing to do for each release; those that need the same share a line.

    Controls that behave owe nothing and are left out.
    """
    from rich.text import Text

    owed = leaderboard[leaderboard["next_step"] != BEHAVES]
    lines = []
    for step, rows in owed.groupby("next_step", sort=False):
        names = listing([str(name) for name in rows["release"]])
        lines.append(Text.assemble(("next", "bold"), ", ", (names, "bold"), f": {step}"))
    return lines


def print_rows(console: Console, title: str, results: Sequence[TestResult]) -> None:
    """Print the rows of one analysis: numbers of those that ran, reasons of those that did not."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(title), title_justify="left", box=box.SIMPLE_HEAD, show_edge=False)
    for name in ("row", "effect", "95% interval", "p", "n", "how to read it"):
        table.add_column(name, overflow="fold", no_wrap=name == "row")
    for result in results:
        shown = (
            [
                f"{wording.number(result.effect)} {result.effect_kind.replace('_', ' ')}",
                wording.interval(result.ci_low, result.ci_high),
                wording.p_value(result.p),
                wording.count(result.n),
                "; ".join(filter(None, (result.direction, result.reason))),
            ]
            if result.status == Status.RUN
            else ["", "", "", "", f"{result.status}: {result.reason}"]
        )
        table.add_row(result.test_id, *map(Text, shown))
    console.print(table)

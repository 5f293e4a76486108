"""``docs/figures.md``: every figure and table of the paper, what answers it here, and its state in an evaluation.

``python -m interp_assets.figures.page docs/figures.md`` writes the page again and keeps the states it shows;
``--results FOLDER`` (an evaluation, ``store/<study>/<release>``) reads them anew. Equal catalogues give equal bytes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from interp_assets.figures.entries import Entry, EntryKind, Panel, entries, split_name
from interp_assets.figures.entry_states import Answer, EntryRow, EntryState, answers, answers_of, stored_entries
from interp_assets.figures.wording import plain

COMMAND: Final = "python -m interp_assets.figures.page docs/figures.md"
_HEAD: Final = f"""\
# Figures and tables

*Written by `{COMMAND}`; edit `interp_assets/figures/entries.csv` and the catalogues, not this page.*

The paper has 45 figures and 14 supplementary tables. Each is an entry here: what it shows, the analyses behind it and
the picture or table of this project that answers it. A picture is drawn from computed tables alone. An evaluation
writes it as `figures/<name>.svg` and `.png` with its alt text, a table as `supplement/<name>.csv`; where the input is
absent, a text file of that name says why. `figures/entries.csv` of an evaluation has the state of every entry.

Published values stand in a picture as faint stars, in a table in columns that begin with `published_`. They never mix
with computed numbers, and on other data they are no yardstick.

"""
_STATES_FROM: Final = "<!-- states: "
_STATES_TO: Final = "<!-- end of states -->"
_NO_STATES: Final = f"""\
{_STATES_FROM}none -->
*No evaluation was read. `{COMMAND} --results store/demo/NAME` adds the state of every entry.*
{_STATES_TO}
"""
_KINDS: Final = {
    EntryKind.MAIN: "Main figures",
    EntryKind.SUPPLEMENTARY: "Supplementary figures",
    EntryKind.TABLE: "Supplementary tables",
}


def page(states: str = _NO_STATES) -> str:
    """The whole page; ``states`` is the block about one evaluation (`states_block`)."""
    parts = [_HEAD]
    for kind, title in _KINDS.items():
        lines = [_line(entry) for entry in entries() if entry.kind is kind]
        parts.append(f"## {title}\n\n| entry | shows | analyses | answered by |\n| --- | --- | --- | --- |\n")
        parts.append("\n".join(lines) + "\n\n")
    parts.append(_of_ours())
    return "".join([*parts, "## State in one evaluation\n\n", states])


def states_block(folder: Path) -> str:
    """State of every entry in the evaluation whose files lie in ``folder``, between two markers.

    Raises
    ------
    FileNotFoundError
        When the folder holds no evaluation.
    """
    if not (folder / "tests.parquet").is_file():
        raise FileNotFoundError(
            f"{folder}: no tests.parquet; name the folder of an evaluation, store/<study>/<release>"
        )
    rows = stored_entries(folder)
    study, release = folder.resolve().parent.name, folder.resolve().name
    counts = [f"{sum(row.state is state for row in rows)} {state}" for state in EntryState]
    said = f"Release `{release}` in study `{study}`: {', '.join(counts)} of {len(rows)} entries."
    table = "\n".join(_state(row) for row in rows)
    head = "| entry | state | what is lacking |\n| --- | --- | --- |\n"
    return f"{_STATES_FROM}{study}/{release} -->\n{said}\n\n{head}{table}\n{_STATES_TO}\n"


def states_of(text: str) -> str:
    """The block about an evaluation of a page that was written before; the empty one where it has none."""
    start, end = text.find(_STATES_FROM), text.find(_STATES_TO)
    return text[start : end + len(_STATES_TO)] + "\n" if 0 <= start < end else _NO_STATES


def _line(entry: Entry) -> str:
    shows = f"**{entry.title}.** {entry.plots}."
    if entry.panels:
        shows += f" {'; '.join(map(_panel, entry.panels))}."
    found = [_answer(answer, entry) for answer in answers_of(entry)]
    answered = "; ".join(found) or "no picture here"
    return f"| {entry.entry_id} | {plain(shows)} | {', '.join(entry.labels)} | {answered} |"


def _panel(panel: Panel) -> str:
    told = f" (no picture here, {panel.without})" if panel.without else ""
    return f"{panel.letter}: {panel.words}{told}"


def _answer(answer: Answer, entry: Entry) -> str:
    whole = entry.entry_id in answer.published
    letters = [panel for each, panel in map(split_name, answer.published) if each == entry.entry_id and panel]
    return f"`{answer.name}`" if whole or not letters else f"`{answer.name}` ({', '.join(letters)})"


def _of_ours() -> str:
    """Pictures that answer no entry of the paper."""
    own = [answer for answer in answers() if not answer.published]
    lines = "\n".join(f"- `{answer.name}`: {plain(answer.title)}" for answer in own)
    return f"## Pictures of this project alone\n\n{lines}\n\n"


def _state(row: EntryRow) -> str:
    return f"| {row.entry.entry_id} | {row.state} | {plain('; '.join(row.lacking)) or '–'} |"


def main(arguments: Sequence[str]) -> int:
    """Write the page to the path given."""
    parser = argparse.ArgumentParser(prog="python -m interp_assets.figures.page", description="Write docs/figures.md.")
    parser.add_argument("page", type=Path, help="file to write, docs/figures.md")
    parser.add_argument("--results", type=Path, help="folder of an evaluation, whose states the page shows")
    asked = parser.parse_args(arguments)
    if asked.results is not None:
        try:
            states = states_block(asked.results)
        except FileNotFoundError as absent:
            sys.stderr.write(f"{absent}\n")
            return 2
    else:
        states = states_of(asked.page.read_text(encoding="utf-8")) if asked.page.is_file() else _NO_STATES
    asked.page.write_text(page(states), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

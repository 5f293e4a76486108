"""``docs/analyses.md`` and ``interp analysis N --explain``: the 37 analyses in words, made from catalogue and cards.

``python -m interp_assets.analyses.page docs/analyses.md`` writes the page; the same rows give the same bytes.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from interp_assets.analyses.analysis_row import AnalysisRow
from interp_assets.analyses.cards import Card, card
from interp_assets.analyses.catalogue import CATALOGUE, row
from qc_standards.published import contradictions_of
from qc_standards.records import TestSpec
from qc_standards.registry import tests_of_analysis

COMMAND: Final = "python -m interp_assets.analyses.page docs/analyses.md"
_HEAD: Final = f"""\
# Analyses

*Written by `{COMMAND}`; edit `interp_assets/analyses/cards`, not this page.*

The 37 analyses of the framework and their 153 declared rows. `interp analysis 16 --study demo --release NAME` runs one
again and prints its rows, `interp analysis 16 --explain` prints what stands here. A row that cannot be run says what is
missing; its place in the multiplicity families stays counted.

"""


def _names(values: tuple[str, ...], nothing: str) -> str:
    return ", ".join(f"`{name}`" for name in values) or nothing


def _facts(entry: AnalysisRow) -> Iterator[tuple[str, str]]:
    yield "roles", _names(entry.roles, "none; the analysis simulates its own data")
    if entry.readings:
        yield "read from the model", _names(entry.readings, "")
    if entry.settings:
        yield "settings", _names(entry.settings, "")
    if entry.release_free:
        yield "computed", "once a study: nothing of a release enters"
    if entry.for_controls:
        yield "controls", "controls and twins run it too: criteria read its rows"


def _lists(told: Card) -> Iterator[tuple[str, tuple[str, ...]]]:
    yield "Formula", told.formula
    yield "Outputs", told.outputs
    yield "Traps", told.traps
    if told.differs:
        yield "Differs from the published analysis", told.differs


def _test(spec: TestSpec) -> str:
    kind = "confirmatory" if spec.confirmatory else "descriptive"
    kind += ", primary in family C" if spec.family_c_primary else ""
    return f"{spec.test_id} ({kind}): {spec.hypothesis}. {spec.test_type}; effect: {spec.effect_kind}."


def _disputes(number: int) -> tuple[str, ...]:
    found = {each.id: each for spec in tests_of_analysis(number) for each in contradictions_of(spec.test_id)}
    return tuple(f"{each.id}: {each.sentence}" for _, each in sorted(found.items()))


def explanation(number: int) -> str:
    """What an analysis asks and does, for a terminal.

    Raises
    ------
    ValueError
        If there is no analysis of that number.
    """
    entry, told = row(number), card(number)
    lines = [f"Analysis {number}: {entry.title} ({entry.section})", ""]
    lines += [f"Question  {told.question}", f"Method    {told.method}", f"Null      {told.null}", ""]
    lines += [f"{name}: {value}".replace("`", "") for name, value in _facts(entry)]
    for title, items in (*_lists(told), ("Declared rows", tuple(map(_test, tests_of_analysis(number))))):
        lines += ["", title, *(f"  - {item}" for item in items)]
    if disputes := _disputes(number):
        lines += ["", "Published values that contradict each other", *(f"  - {line}" for line in disputes)]
    return "\n".join([*lines, "", f"Source: {told.source}"])


def _section(entry: AnalysisRow) -> str:
    told = card(entry.number)
    parts = [f"## {entry.number}. {entry.title}", f"**{told.question}** ({entry.section})", told.method]
    parts.append(f"*Null.* {told.null}")
    parts.append("\n".join(f"- {name}: {value}" for name, value in _facts(entry)))
    parts += [f"*{title}.*\n\n" + "\n".join(f"- {item}" for item in items) for title, items in _lists(told)]
    parts.append("*Declared rows.*\n\n" + "\n".join(f"- {_test(spec)}" for spec in tests_of_analysis(entry.number)))
    if disputes := _disputes(entry.number):
        told_so = "\n".join(f"- {line}" for line in disputes)
        parts.append(f"*Published values that contradict each other.*\n\n{told_so}")
    parts.append(f"*Source.* {told.source}")
    return "\n\n".join(parts) + "\n"


def page() -> str:
    """The whole page."""
    listed = "\n".join(f"| {entry.number} | {entry.title} | {entry.section} | {entry.tests} |" for entry in CATALOGUE)
    table = f"| no. | analysis | topic | rows |\n| --- | --- | --- | --- |\n{listed}\n\n"
    return _HEAD + table + "\n".join(map(_section, CATALOGUE))


def main(arguments: list[str]) -> int:
    """Write the page to the path given."""
    if len(arguments) != 1:
        sys.stderr.write(f"usage: {COMMAND}\n")
        return 2
    Path(arguments[0]).write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

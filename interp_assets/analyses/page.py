"""``docs/analyses.md`` and ``interp analysis N --explain``: all analyses in words, from catalogue and cards.

``python -m interp_assets.analyses.page docs/analyses.md`` writes the page; the same rows give the same bytes.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from interp_assets.analyses.analysis_row import AnalysisRow
from interp_assets.analyses.cards import Card, card
from interp_assets.analyses.catalogue import CATALOGUE, extended, labelled
from qc_standards.published import contradictions_of
from qc_standards.records import TestSpec

COMMAND: Final = "python -m interp_assets.analyses.page docs/analyses.md"
_HEAD: Final = f"""\
# Analyses

*Written by `{COMMAND}`; edit `interp_assets/analyses/cards`, not this page.*

The 37 analyses of the framework and their 153 declared rows. `interp analysis 16 --study demo --release NAME` runs one
again and prints its rows, `interp analysis 16 --explain` prints what stands here. A row that cannot be run says what is
missing; its place in the multiplicity families stays counted.

The extended analyses E1 to E9 stand at the end. Their rows lie in `extended.parquet`, are corrected in local families,
and none of them enters the 153 or opens a claim.

"""
_EXTENDED: Final = """\
# Extended analyses

What reviewers of such work ask beyond the 153 tests. A row is published or the platform's own; its correction is over
the declared size of its local family.

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
    if spec.local_family:
        origin = "published" if spec.source == "published" else "own row"
        told = f"{spec.test_id} ({origin}; family: {spec.local_family}): {spec.hypothesis}."
        return f"{told} {spec.test_type}; effect: {spec.effect_kind}."
    kind = "confirmatory" if spec.confirmatory else "descriptive"
    kind += ", primary in family C" if spec.family_c_primary else ""
    return f"{spec.test_id} ({kind}): {spec.hypothesis}. {spec.test_type}; effect: {spec.effect_kind}."


def _disputes(entry: AnalysisRow) -> tuple[str, ...]:
    found = {each.id: each for spec in entry.declared for each in contradictions_of(spec.test_id)}
    return tuple(f"{each.id}: {each.sentence}" for _, each in sorted(found.items()))


def explanation(label: str) -> str:
    """What an analysis asks and does, for a terminal; ``label`` as in ``16`` or ``E4``.

    Raises
    ------
    ValueError
        If there is no such analysis.
    """
    entry = labelled(label)
    told = card(entry.card_name)
    lines = [f"Analysis {entry.label}: {entry.title} ({entry.section})", ""]
    lines += [f"Question  {told.question}", f"Method    {told.method}", f"Null      {told.null}", ""]
    lines += [f"{name}: {value}".replace("`", "") for name, value in _facts(entry)]
    for title, items in (*_lists(told), ("Declared rows", tuple(map(_test, entry.declared)))):
        lines += ["", title, *(f"  - {item}" for item in items)]
    if disputes := _disputes(entry):
        lines += ["", "Published values that contradict each other", *(f"  - {line}" for line in disputes)]
    return "\n".join([*lines, "", f"Source: {told.source}"])


def _section(entry: AnalysisRow) -> str:
    told = card(entry.card_name)
    parts = [f"## {entry.label}. {entry.title}", f"**{told.question}** ({entry.section})", told.method]
    parts.append(f"*Null.* {told.null}")
    parts.append("\n".join(f"- {name}: {value}" for name, value in _facts(entry)))
    parts += [f"*{title}.*\n\n" + "\n".join(f"- {item}" for item in items) for title, items in _lists(told)]
    parts.append("*Declared rows.*\n\n" + "\n".join(f"- {_test(spec)}" for spec in entry.declared))
    if disputes := _disputes(entry):
        told_so = "\n".join(f"- {line}" for line in disputes)
        parts.append(f"*Published values that contradict each other.*\n\n{told_so}")
    parts.append(f"*Source.* {told.source}")
    return "\n\n".join(parts) + "\n"


def page() -> str:
    """The whole page."""
    listed = "\n".join(
        f"| {entry.label} | {entry.title} | {entry.section} | {entry.tests} |" for entry in (*CATALOGUE, *extended())
    )
    table = f"| no. | analysis | topic | rows |\n| --- | --- | --- | --- |\n{listed}\n\n"
    return _HEAD + table + "\n".join(map(_section, CATALOGUE)) + "\n" + _EXTENDED + "\n".join(map(_section, extended()))


def main(arguments: list[str]) -> int:
    """Write the page to the path given."""
    if len(arguments) != 1:
        sys.stderr.write(f"usage: {COMMAND}\n")
        return 2
    Path(arguments[0]).write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

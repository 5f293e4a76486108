"""The gallery of standards, ``docs/standards.md``: every standard with an example that passes and one that fails.

What belongs here: the page, made from the standards' files and from what their failing examples really give. What
does not: words about one standard (`qc_standards.wording`) or judging. ``python -m qc_standards.gallery PAGE`` writes
it; the same standards give the same bytes.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from qc_standards.standards import Example, Standard, required_columns, shipped_standards
from qc_standards.version_lock import LOCK_FILE, PUBLISH_COMMAND
from qc_standards.wording import consequence, demands, reading, value_words

GALLERY_COMMAND: Final = "python -m qc_standards.gallery docs/standards.md"
_SHOWN_ROWS: Final = 6
_LONG_HASH: Final = re.compile(r"[0-9a-f]{64}")

_HEAD: Final = f"""\
# Standards

*Written by `{GALLERY_COMMAND}`; edit the standards, not this page.*

A standard is a rule that results must keep before anybody reads them: one YAML file in `qc_standards/standards`, with
its reason, its evidence, its thresholds and two examples. Every example on this page is run by the tests.

**What a failure does.** An *integrity* standard guards the evaluation itself: unless it passes, no claim about the
release is evaluable. A *validity* standard guards what may be read from it: a *critical* one closes the claims that
name it, a *warning* is shown beside every verdict and closes none. A table that is absent makes a standard not
evaluable, with the reason; that is never a pass.

**On your own table.** `qc-gate explain QCS-31` prints a standard, `qc-gate validate TABLE --standard QCS-31` holds it
against a table with the columns listed here, whoever made it. `qc-gate list standards` lists them all.

**Versions.** MAJOR.MINOR.PATCH. A patch changes words only; the minor version rises where more is demanded, so that
something may fail which passed; the major one where less or something else is demanded, so that something may pass
which failed. `{LOCK_FILE}` holds the hash of every published version: a file that changes without its version stops
everything that reads standards. To change one, raise its version, add a changelog entry, and run
`{PUBLISH_COMMAND}`, then `{GALLERY_COMMAND}`.
A standard is never removed: it is deprecated by another.
"""


def _slug(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _heading(standard: Standard) -> str:
    return f"{standard.id} {standard.title}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _shown(value: Any) -> str:
    text = value_words(value)
    return _cell(f"{text[:8]}…" if _LONG_HASH.fullmatch(text) else text)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *rows)]


def _example(standard: Standard, example: Example) -> list[str]:
    """Rows of an example: columns that agree in all rows as one sentence, the others as a table of the first rows."""
    rows = [dict(row) for row in example.rows]
    columns = [column for column in required_columns(standard) if any(column in row for row in rows)]
    same = [column for column in columns if len({repr(row.get(column)) for row in rows}) == 1]
    differ = [column for column in columns if column not in same]
    first = f"`{same[0]}` {_shown(rows[0].get(same[0]))}" if same else ""
    told = ", ".join([first, *(f"`{column}` {_shown(rows[0].get(column))}" for column in same[1:])])
    lines = [f"{'In its one row' if len(rows) == 1 else f'In all {len(rows)} rows'}: {told}."] if same else []
    if differ:
        shown = [[_shown(row.get(column)) for column in differ] for row in rows[:_SHOWN_ROWS]]
        lines += ["", *_table(differ, shown)]
    if differ and len(rows) > _SHOWN_ROWS:
        lines += ["", f"… and {len(rows) - _SHOWN_ROWS} more rows."]
    return lines


def failing_message(standard: Standard) -> str:
    """What the gate says about the failing example, without the way out that follows it."""
    import pandas as pd

    from qc_standards.suites import judge_frame

    result = judge_frame(standard, pd.DataFrame([dict(row) for row in standard.examples["failing"].rows]))
    return result.reason.removesuffix(standard.how_to_fix).strip()


def _origin(standard: Standard) -> str:
    """Who makes the table that a standard reads; empty for a table that the analyses write."""
    from qc_standards.evidence import TABLE_COLUMNS
    from qc_standards.metrics import VIEWS

    if standard.applies_to in VIEWS:
        return " The gate derives this table from the results."
    if standard.applies_to in TABLE_COLUMNS:
        return ""
    return " No standard analysis writes this table yet: the columns below are its contract."


def _section(standard: Standard) -> list[str]:
    columns = [[f"`{name}`", _cell(standard.columns[name])] for name in required_columns(standard) if standard.columns]
    failing = standard.examples["failing"]
    return [
        f"## {_heading(standard)}",
        "",
        f"Version {standard.version}, {standard.status}. {standard.kind.capitalize()}, {standard.severity}: "
        f"{consequence(standard)}.",
        "",
        f"{reading(standard)}{_origin(standard)}",
        "",
        f"**Why.** {standard.rationale}",
        "",
        "**Evidence.**",
        "",
        *(f"- {entry['finding']} *({entry['source']})*" for entry in standard.evidence),
        "",
        "**It demands**",
        "",
        *(f"- *{name}*: {words}" for name, words in demands(standard)),
        "",
        *(["**Columns**", "", *_table(["column", "meaning"], columns), ""] if columns else []),
        "**Passes.** " + "\n".join(_example(standard, standard.examples["passing"])).lstrip("\n"),
        "",
        f"**Fails** {', '.join(f'*{name}*' for name in failing.fails)}. "
        + "\n".join(_example(standard, failing)).lstrip("\n"),
        "",
        f"> {_cell(failing_message(standard))}",
        "",
        f"**How to fix a failure.** {standard.how_to_fix}",
        "",
        "**Changelog.** " + " ".join(f"{entry['version']}: {entry['change']}" for entry in standard.changelog),
        "",
    ]


def gallery(standards: Mapping[str, Standard] | None = None) -> str:
    """Text of the page; the shipped standards when none are given. Runs every failing example."""
    items = list((shipped_standards() if standards is None else standards).values())
    rows = [
        [f"[{item.id}](#{_slug(_heading(item))})", item.version, _cell(item.title), item.kind, item.severity]
        for item in items
    ]
    lines = ["", *_table(["standard", "version", "title", "kind", "severity"], rows), ""]
    for item in items:
        lines += _section(item)
    return _HEAD + "\n".join(lines).rstrip("\n") + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page, or with ``--check`` say whether it is what would be written; exit code 0, or 1 where not."""
    parser = argparse.ArgumentParser(prog="python -m qc_standards.gallery", description=main.__doc__)
    parser.add_argument("page", type=Path, help="page to write, usually docs/standards.md")
    parser.add_argument("--check", action="store_true", help="write nothing; compare")
    options = parser.parse_args(arguments)
    text = gallery()
    if not options.check:
        options.page.write_text(text, encoding="utf-8", newline="\n")
    elif not options.page.is_file() or options.page.read_text(encoding="utf-8") != text:
        sys.stderr.write(f"{options.page} is not the page of these standards; run `{GALLERY_COMMAND}`\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""A change in one line of plain English.

What belongs here: wording. What does not: deciding anything.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from qc_standards.records import DataOrigin

if TYPE_CHECKING:
    from interp_assets.comparison.attribution import Causes
    from interp_assets.comparison.changes import Pair


def sentence(row: Mapping[str, Any], pair: Pair, found: Causes) -> str:
    """What changed, against what, what differs, and the deciding number; one line, no names of files."""
    parts = [f"{_what(row, pair)} {_moved(row)}{_origin(str(row['data_origin']))}.", _why(row, pair, found)]
    return " ".join(part for part in (*parts, _number(row)) if part)


def _origin(origin: str) -> str:
    """Label of whatever was not measured, an origin that nobody stated included."""
    if origin == DataOrigin.REAL:
        return ""
    return f" ({origin.replace('_', '-') or 'unstated'} outcomes)"


def _what(row: Mapping[str, Any], pair: Pair) -> str:
    where = f"{row['release']} in {row['study']}"
    after, before = pair.new.snapshot, pair.old.snapshot
    item = row["item"]
    match row["level"]:
        case "verdict":
            return f"{where}: the verdict"
        case "claim":
            entry = after["claims"].get(item) or before["claims"][item]
            return f'{where}: "{str(entry["sentence"]).rstrip(".")}"'
        case "criterion":
            entry = after["criteria"].get(item) or before["criteria"][item]
            return f"{where}: criterion {item} ({entry['title']})"
        case _:
            entry = after["standards"].get(item) or before["standards"][item]
            return f"{where}: {entry['severity']} standard {item} ({entry['title']})"


def _moved(row: Mapping[str, Any]) -> str:
    if row["compared_with"]:
        return f"is {row['new']}, and was {row['old']} for {row['compared_with']}"
    return f"is {row['new']}, was {row['old']}"


def _why(row: Mapping[str, Any], pair: Pair, found: Causes) -> str:
    told = str(row["reading"])
    follows = f" (the release before: {pair.follows.rule})" if pair.follows else ""
    differs = ", ".join(_cause(name, found) for name in found.names) or "nothing that is recorded"
    return f"Reading: {told}. What differs: {differs}{follows}."


def _cause(name: str, found: Causes) -> str:
    told = {"standard": found.standards, "data": found.datasets}.get(name, ())
    shown = list(told[:3]) + ([f"{len(told) - 3} more"] if len(told) > 3 else [])
    return f"{name} ({', '.join(shown)})" if shown else name


def _number(row: Mapping[str, Any]) -> str:
    old, new = (float(row[name]) for name in ("old_effect", "new_effect"))
    if math.isnan(old) or math.isnan(new):
        return ""
    gap = f"difference {row['difference']:+.3f}"
    if row["interval"]:
        gap += f" [{row['difference_low']:+.3f}, {row['difference_high']:+.3f}], {row['interval']}"
    return f"{str(row['effect'])[:1].upper()}{str(row['effect'])[1:]}: {old:+.3f} before, {new:+.3f} now; {gap}."

"""What a row of the report opens: method, null, settings used, seed, computed numbers, and what the paper printed.

What belongs here: the facts of one declared or extended test as text with its address. What does not: the columns of
the tables (`registry_rows`, `extended_rows`).
"""

from __future__ import annotations

from interp_assets.figures import wording
from interp_assets.report.reading import settings_lines
from interp_assets.report.shown import REGISTRY, Read, StoredRow, joined, under, words
from qc_standards.records import TestSpec

Facts = tuple[tuple[str, str], ...]
_PUBLISHED = {
    "effect": "effect",
    "p": "p",
    "q": "q",
    "n": "n",
    "significant": "significant",
    "dataset": "data set",
    "model": "model",
    "layer": "layer",
    "number_confidence": "confidence in the number",
    "notes": "notes",
}


def declared_row(spec: TestSpec) -> StoredRow:
    """Declaration of a test as a row of the registry; printed values are its columns ``published_…``."""
    printed = {f"published_{name}": value for name, value in spec.published.items() if value}
    fields = ("analysis_no", "analysis", "hypothesis", "test_type", "comparison", "alternative", "resampling_unit")
    own = {name: getattr(spec, name) for name in (*fields, "confirmatory", "local_family")}
    return StoredRow(REGISTRY, spec.test_id, own | printed)


def published(declared: StoredRow) -> Facts:
    """What the paper printed for a test; never computed here."""
    printed = ((name, declared.words(f"published_{key}")) for key, name in _PUBLISHED.items())
    return tuple((name, value) for name, value in printed if value)


def settings(stored: StoredRow) -> Facts:
    """Settings a row really used, each at its place in the stored JSON."""
    place = {"table": stored.table, "row": stored.row, "column": "settings_used"}
    lines = settings_lines(stored.values.get("settings_used"))
    whole = len(lines) == 1 and lines[0][0] == "settings"
    return tuple((name, words(value, **place, pointer="" if whole else under("#", name)[1:])) for name, value in lines)


def method(declared: StoredRow, stored: StoredRow) -> Facts:
    """How a row was tested: declared method, then the null, resamples, seed and hashes that it really used."""
    facts = (
        ("test", declared.words("test_type")),
        ("comparison", declared.words("comparison")),
        ("alternative", declared.words("alternative")),
        ("resampling unit", declared.words("resampling_unit")),
        ("family", _family(declared)),
        ("null", _null(stored)),
        ("statistic", _or_blank(stored, "statistic", wording.number)),
        ("resamples done / requested", _resamples(stored)),
        ("direction", stored.words("direction")),
        ("unit of n", stored.words("unit")),
        (
            "data origin",
            wording.origin_label(stored.values.get("data_origin")) if stored.words("dataset") else "",
        ),
        ("role fit", stored.words("role_fit")),
        ("seed", _or_blank(stored, "seed", lambda value: str(int(value)))),
        ("settings hash", stored.words("settings_hash")),
        ("cells hash", stored.words("cells_hash")),
    )
    return tuple((name, value) for name, value in facts if value)


def _family(declared: StoredRow) -> str:
    local = declared.words("local_family")
    if local:
        return joined("local: ", local)
    return "A (confirmatory)" if declared.values["confirmatory"] else "B only (descriptive)"


def _null(stored: StoredRow) -> str:
    name = stored.words("null_name")
    if not name:
        return ""
    spread = stored.number("null_sd", lambda value: wording.number(value, 4))
    return joined(name, ", mean ", stored.number("null_mean"), ", SD ", spread)


def _resamples(stored: StoredRow) -> str:
    done, asked = (stored.number(f"resamples_{name}", wording.count) for name in ("done", "requested"))
    return "" if done == asked == wording.MISSING else joined(done, " / ", asked)


def computed(stored: StoredRow) -> Facts:
    """Numbers of a row that was run, with more digits than its columns show."""
    if stored.values.get("status") != "run":
        return ()
    facts = (
        ("effect", stored.number("effect", lambda value: wording.number(value, 4))),
        ("95% interval", stored.interval(digits=4)),
        ("p", stored.number("p", wording.p_value)),
        *((f"q, family {name.upper()}", stored.number(f"q_{name}", wording.p_value)) for name in "abc"),
        ("n", stored.number("n", wording.count)),
    )
    return tuple((name, value) for name, value in facts if value != wording.MISSING)


def _or_blank(stored: StoredRow, column: str, read: Read) -> str:
    return "" if wording.is_missing(stored.values.get(column)) else stored.number(column, read)

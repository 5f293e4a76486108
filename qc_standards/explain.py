"""What is declared, as text: standards, claims, criteria and tests, and the examples of standards as CSV.

What belongs here: finding a declaration by its name, and text about claims, criteria and tests. What does not: words
about a standard (`qc_standards.wording`), or anything that needs pandas or Great Expectations; these answers come at
once.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping

from qc_standards.claims import claims_registry
from qc_standards.registry import declared_tests
from qc_standards.standards import Example, Standard, shipped_standards
from qc_standards.wording import standard_text


class UnknownNameError(ValueError):
    """A name that is no declared standard, claim, criterion or test."""


def _standard(name: str) -> str:
    return (
        f"{standard_text(shipped_standards()[name])}\non a table of your own, with these columns:\n"
        f"  qc-gate validate TABLE --standard {name}\n  qc-gate explain {name} --example passing\n"
    )


def _claim(name: str) -> str:
    registry = claims_registry()
    claim = registry.claims[name]
    criteria = "\n".join(
        f"  - {c}: {registry.criteria[c].title}. {registry.criteria[c].definition}" for c in claim.criteria
    )
    caveats = "\n".join(f"  - {text}" for text in claim.caveats)
    return (
        f"{claim.id}: {claim.sentence}\nevidence level {claim.evidence_level}. {claim.polarity}\n\n"
        f"criteria:\n{criteria}\n\nstandards: all integrity standards, {', '.join(claim.standards) or 'none more'}\n"
        f"controls: {', '.join(claim.controls)}\ndeclared tests: {', '.join(claim.tests)}\n\ncaveats:\n{caveats}\n"
    )


def _criterion(name: str) -> str:
    spec = claims_registry().criteria[name]
    thresholds = ", ".join(f"{key} {value:g}" for key, value in spec.thresholds.items()) or "none"
    return (
        f"criterion {spec.id}: {spec.title}\n\n{spec.definition}\n\ntables: {', '.join(spec.tables)}\n"
        f"declared tests: {', '.join(spec.tests)}\nthresholds: {thresholds}\n"
    )


def _test(name: str) -> str:
    spec = next(item for item in declared_tests() if item.test_id == name)
    published = "\n".join(f"  - {key}: {value}" for key, value in spec.published.items())
    kind = "confirmatory" if spec.confirmatory else "descriptive"
    return (
        f"{spec.test_id} (analysis {spec.analysis_no}, {kind}): {spec.hypothesis}\n{spec.test_type}; "
        f"{spec.comparison}\nroles: {', '.join(spec.roles) or 'none'}\n\npublished values (never computed here):\n"
        f"{published}\n"
    )


def explanation(name: str) -> str:
    """Text about one declared standard, claim, criterion or test; another name is an `UnknownNameError`."""
    known: tuple[tuple[Iterable[str], Callable[[str], str]], ...] = (
        (shipped_standards(), _standard),
        (claims_registry().claims, _claim),
        (claims_registry().criteria, _criterion),
        ([spec.test_id for spec in declared_tests()], _test),
    )
    for names, tell in known:
        if name in names:
            return tell(name)
    raise UnknownNameError(f"{name} is no declared standard, claim, criterion or test; see `qc-gate list`")


def _example_columns(example: Example) -> tuple[str, ...]:
    return tuple(dict.fromkeys(column for row in example.rows for column in row))


def example_csv(name: str, kind: str) -> str:
    """The passing or failing example of a standard as CSV, with every column that its rows have."""
    standards: Mapping[str, Standard] = shipped_standards()
    if name not in standards:
        raise UnknownNameError(f"{name} is no shipped standard; `qc-gate list standards` prints them")
    example = standards[name].examples[kind]
    text = io.StringIO()
    writer = csv.DictWriter(text, _example_columns(example), lineterminator="\n")
    writer.writeheader()
    writer.writerows(example.rows)
    return text.getvalue()


def listing(what: str | None) -> str:
    """Declared claims, criteria, standards and controls, one line each, or one of these kinds, or the tests."""
    registry = claims_registry()
    parts = {
        "claims": [f"{c.id:34} {c.evidence_level:24} {c.sentence}" for c in registry.claims.values()],
        "criteria": [f"{c.id:34} {c.title}" for c in registry.criteria.values()],
        "standards": [
            f"{s.id} {s.version}  {s.kind:9} {s.severity:8}  {s.title}" for s in shipped_standards().values()
        ],
        "controls": [f"{c.id:34} {c.expected}" for c in registry.controls.values()],
        "tests": [f"{s.test_id:7} {s.hypothesis}" for s in declared_tests()],
    }
    chosen = [what] if what else ["claims", "criteria", "standards", "controls"]
    return "\n\n".join("\n".join([name, *(f"  {line}" for line in parts[name])]) for name in chosen) + "\n"

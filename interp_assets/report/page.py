"""Render the report page: one HTML file that needs no network, no server and, to be read, no script."""

from __future__ import annotations

import base64
import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from interp_assets.figures import wording
from interp_assets.figures.records import Drawing, FigureSkipped
from interp_assets.report import advice, reading, stored_tables
from interp_assets.report.entries_table import entries_table
from interp_assets.report.explorer import explorer_view
from interp_assets.report.extended_rows import extended_analyses
from interp_assets.report.inline_svg import Letters
from interp_assets.report.inputs import ReportInputs
from interp_assets.report.model import model_view
from interp_assets.report.pictures import drawn_ids, figures_of_analyses, picture_groups
from interp_assets.report.provenance_lines import provenance_lines, reproduce_command
from interp_assets.report.registry_rows import RegistryRow, registry_rows
from interp_assets.report.shown import TESTS, aggregate
from qc_standards.records import Status

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"
SIZE_LIMIT = 5_000_000
LEFT_OUT = "left out of this page, which would be too large for a browser to open at once"
EXPLORER, EXPLORER_FACTS = "explorer_", "explorer_facts"


def environment() -> Environment:
    """Template environment with escaping always on; an undefined name is an error, never an empty string."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    env = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    env.filters.update(
        state_class=state_class, number=wording.number, capital=wording.capital, plain=str, inherited=inherited
    )
    return env


def state_class(state: str) -> str:
    """CSS class of an outcome or verdict state; anything unknown looks like "not evaluable"."""
    known = {
        "pass": "good",
        "supported": "good",
        "fail": "bad",
        "refuted": "bad",
        "undecided": "open-ended",
        "inconclusive": "open-ended",
    }
    return known.get(state, "unknown")


def script(name: str) -> tuple[str, str]:
    """Text of a packaged script and its hash for the page's content security policy."""
    text = (TEMPLATES / name).read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
    return text, f"sha256-{digest}"


def scripts(*names: str) -> list[dict[str, Any]]:
    """Packaged scripts for a page, in order: ``text`` as it stands inline and ``hash`` for the policy."""
    from markupsafe import Markup

    found = [script(name) for name in names]
    return [{"text": Markup(text), "hash": digest} for text, digest in found]  # noqa: S704  packaged, no data in it


def render(results: ReportInputs) -> str:
    """Self-contained HTML report of one release in one study; the same inputs give the same bytes.

    A page that would pass `SIZE_LIMIT` is made again with its largest pictures named instead of shown, then without the
    explorer, and says so where they would stand: a release with much to show is judged like any other.

    Raises
    ------
    ValueError
        When a figure is not a plain picture, a test id is not declared, or no lighter page is below the limit.
    """
    size = 0
    for lighter in _lighter(results):
        html = _page(lighter)
        size = len(html.encode("utf-8"))
        if size < SIZE_LIMIT:
            return html
    raise ValueError(f"report of {results.release}: {size} bytes without pictures, above {SIZE_LIMIT}")


def _lighter(results: ReportInputs) -> Iterator[ReportInputs]:
    """The same results with more and more of the page left out, each time with the reason in its place."""
    yield results
    drawn = sorted((item for item in results.figures if isinstance(item, Drawing)), key=lambda item: -len(item.svg))
    for count in (8, 20):
        yield replace(results, figures=_without(results, drawn[:count]))
    bare = {name: table for name, table in results.tables.items() if not name.startswith(EXPLORER)}
    if EXPLORER_FACTS in results.tables:
        bare[EXPLORER_FACTS] = pd.DataFrame([{"reason": f"{LEFT_OUT}; they lie in results/explorer"}])
    for count in (20, len(drawn)):
        yield replace(results, figures=_without(results, drawn[:count]), tables=bare)


def _without(results: ReportInputs, large: Sequence[Drawing]) -> tuple[Drawing | FigureSkipped, ...]:
    gone = {item.figure_id for item in large}
    return tuple(
        item
        if item.figure_id not in gone
        else FigureSkipped(
            figure_id=item.figure_id, title=item.title, reason=f"{LEFT_OUT}; it lies in figures/{item.figure_id}.svg"
        )
        for item in results.figures
    )


def _page(results: ReportInputs) -> str:
    explorer = explorer_view(results.tables)
    html: str = environment().get_template("report.html").render(
        study=results.study,
        release=results.release,
        evaluation=reading.evaluation(results.release, results.verdict, results.tables),
        **_verdict(results),
        **_rows(results),
        standards=reading.standards(results.standards),
        flow=stored_tables.stored_table(results.tables, stored_tables.FLOW),
        lineage=stored_tables.stored_table(results.tables, stored_tables.LINEAGE),
        model=model_view(results.tables),
        provenance=provenance_lines(results.provenance),
        reproduce=reproduce_command(results),
        explorer=explorer,
        scripts=scripts("report.js", *(["explorer.js"] if explorer else [])),
    )  # fmt: skip
    return html


def _verdict(results: ReportInputs) -> dict[str, Any]:
    """What the sections on verdict and claims show."""
    verdict, tables = results.verdict, results.tables
    return {
        "headline": reading.headline(verdict),
        "why": reading.why(verdict),
        "further_reasons": reading.further_reasons(verdict),
        "criteria": reading.criteria(verdict, tables),
        "controls": reading.controls(tables),
        "next_step": advice.next_step(results.release, verdict, results.standards, tables),
        "statement": reading.statement(results.statement),
        "claim_groups": _claim_groups(reading.claims(results.claims)),
    }


def _rows(results: ReportInputs) -> dict[str, Any]:
    """What the sections on figures, tests and extended analyses show."""
    from markupsafe import Markup

    rows = registry_rows(results.tests, results.registry, results.tables.get("published_comparison"))
    letters = Letters()
    groups = picture_groups(results.figures, results.registry, letters)
    return {
        "rows": rows,
        "run_rows": _counted(rows, run=True),
        "other_rows": _counted(rows, run=False),
        "declared": {spec.test_id for spec in results.registry},
        "figures": groups,
        "entries": entries_table(results.entries, drawn_ids(groups)),
        "letters": Markup(letters.sheet()),  # noqa: S704  outlines of checked pictures
        "figures_of": defaultdict(tuple, figures_of_analyses(groups)),
        "flow_figure": _picture_of(groups, "evaluable_flow"),
        "needed_by": defaultdict(list, _needed_by(results)),
        "extended": extended_analyses(results.extended, results.extended_registry),
    }


def inherited(markup: str, table: str, row: str) -> str:
    """Markup of a table row whose cells leave out what the row itself says: the stored table and row they are from."""
    from markupsafe import Markup

    short = str(markup)
    for name, value in (("table", table), ("row", row)):
        short = short.replace(f' data-{name}="{value}"', "")
    return Markup(short)  # noqa: S704  text in it is escaped, so that only attributes read like this


def _counted(rows: tuple[RegistryRow, ...], *, run: bool) -> str:
    """How many declared tests were run, or were not."""
    kept = [row.test_id for row in rows if (row.status == Status.RUN) == run]
    if run:
        return aggregate(len(kept), f"{len(kept)}", table=TESTS, rows="*", column="status", how="count=run")
    return aggregate(len(kept), f"{len(kept)}", table="registry", rows=kept, column="hypothesis", how="count")


def _picture_of(groups: Any, figure_id: str) -> Any | None:
    """One drawn figure of all groups."""
    found = (picture for group in groups for picture in group.pictures if picture.id == figure_id)
    return next((picture for picture in found if not picture.skipped), None)


def _needed_by(results: ReportInputs) -> Mapping[str, list[tuple[str, str]]]:
    """Criteria and claims that a test is needed for: anchor and words, by test."""
    found: dict[str, list[tuple[str, str]]] = {}
    for item in reading.criteria(results.verdict):
        for test in item.tests:
            found.setdefault(test, []).append((f"criterion-{item.id}", f"criterion {item.id}"))
    for view in reading.claims(results.claims):
        for test in view.tests:
            found.setdefault(test, []).append((f"claim-{view.claim_id}", f"claim {view.claim_id}"))
    return found


def _claim_groups(claims: tuple[reading.ClaimView, ...]) -> list[tuple[str, list[reading.ClaimView]]]:
    own = [view for view in claims if not view.published]
    groups = [
        ("May be said of this release", [view for view in own if view.open]),
        ("May not be said of this release", [view for view in own if not view.open]),
        ("Published findings, checked here", [view for view in claims if view.published]),
    ]
    return [(title, views) for title, views in groups if views]

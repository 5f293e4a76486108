"""Render the report page: one HTML file that needs no network, no server and, to be read, no script."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from interp_assets.figures import wording
from interp_assets.figures.records import Drawing, FigureSkipped
from interp_assets.figures.style import THEME
from interp_assets.report import advice, reading
from interp_assets.report.extended_rows import extended_analyses
from interp_assets.report.inputs import ReportInputs
from interp_assets.report.model import model_view
from interp_assets.report.registry_rows import registry_rows

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"
SIZE_LIMIT = 5_000_000

_SVG_TAGS = frozenset(
    {"svg", "title", "desc", "defs", "style", "g", "path", "use", "clipPath", "rect", "image", "pattern"}
)
_SHOWN_AS_TEXT = frozenset({"criteria_summary"})  # the page has the criteria as cards
_FLOW_COLUMNS = ("role", "dataset", "stage", "perturbations", "genes", "pairs", "positives")
_LINEAGE_COLUMNS = (
    "score",
    "dataset",
    "role",
    "layer",
    "layer_chosen_by",
    "genes_in_universe",
    "genes_evaluable",
    "missing_pair_share",
    "device",
    "dtype",
    "cells_hash",
)


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
    env.filters.update(state_class=state_class, number=wording.number)
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


def inline_svg(svg: bytes, figure_id: str) -> str:
    """SVG ready to stand inside the page: theme colours turned into page variables, anything active refused.

    Raises
    ------
    ValueError
        When the picture holds an element, event handler or outside link that no drawn figure has.
    """
    text = svg.decode("utf-8")
    tags = set(re.findall(r"<\s*([A-Za-z][\w:-]*)", text))
    active = re.findall(r"\son\w+\s*=", text)
    links = [link for link in re.findall(r"href=\"([^\"]*)\"", text) if not link.startswith(("#", "data:image/png"))]
    if tags - _SVG_TAGS or active or links:
        wrong = sorted(tags - _SVG_TAGS) + active + links
        raise ValueError(f"figure {figure_id}: not a plain picture, holds {', '.join(wrong[:5])}")
    for colour, variable in THEME.items():
        text = text.replace(colour, f"var({variable})")
    text = re.sub(r"(<svg[^>]*?)\swidth=\"[^\"]*\"", r"\1", text, count=1)
    return re.sub(r"(<svg[^>]*?)\sheight=\"[^\"]*\"", r"\1", text, count=1)


def render(results: ReportInputs) -> str:
    """Self-contained HTML report of one release in one study; the same inputs give the same bytes.

    Raises
    ------
    ValueError
        When a figure is not a plain picture, a test id is not declared, or the page grows beyond 5 MB.
    """
    from markupsafe import Markup

    code, code_hash = script("report.js")
    evaluation = reading.evaluation(results.release, results.verdict, results.tables)
    claims = tuple(reading.claim(entry) for entry in results.claims)
    rows = registry_rows(results.tests, results.registry, results.tables.get("published_comparison"))
    html = environment().get_template("report.html").render(
        study=results.study,
        release=results.release,
        evaluation=evaluation,
        headline=reading.headline(results.verdict),
        why=reading.why(results.verdict),
        further_reasons=reading.further_reasons(results.verdict),
        criteria=reading.criteria(results.verdict, results.tables),
        controls=reading.controls(results.tables),
        next_step=advice.next_step(results.release, results.verdict, results.standards, results.tables),
        claim_groups=_claim_groups(claims),
        standards=reading.standards(results.standards),
        statement=reading.statement(results.statement),
        extended=extended_analyses(results.extended, results.extended_registry),
        rows=rows,
        run_rows=sum(row.status == "run" for row in rows),
        declared={spec.test_id for spec in results.registry},
        figures=[_figure(item) for item in results.figures if item.figure_id not in _SHOWN_AS_TEXT],
        flow=_table(results.tables.get("evaluability"), _FLOW_COLUMNS),
        lineage=_table(results.tables.get("lineage"), _LINEAGE_COLUMNS),
        model=model_view(results.tables),
        provenance=provenance_lines(results.provenance),
        reproduce=reproduce_command(results),
        script=Markup(code),  # noqa: S704  packaged file, no data in it
        script_hash=code_hash,
    )  # fmt: skip
    size = len(html.encode("utf-8"))
    if size >= SIZE_LIMIT:
        raise ValueError(f"report of {results.release}: {size} bytes, above {SIZE_LIMIT}; draw smaller figures")
    return html


def _claim_groups(claims: tuple[reading.ClaimView, ...]) -> list[tuple[str, list[reading.ClaimView]]]:
    own = [view for view in claims if not view.published]
    groups = [
        ("May be said of this release", [view for view in own if view.open]),
        ("May not be said of this release", [view for view in own if not view.open]),
        ("Published findings, checked here", [view for view in claims if view.published]),
    ]
    return [(title, views) for title, views in groups if views]


def _figure(item: Drawing | FigureSkipped) -> dict[str, Any]:
    from markupsafe import Markup

    if isinstance(item, FigureSkipped):
        return {"id": item.figure_id, "title": item.title, "skipped": item.reason}
    picture = Markup(inline_svg(item.svg, item.figure_id))  # noqa: S704  checked by inline_svg
    return {
        "id": item.figure_id,
        "title": item.title,
        "skipped": "",
        "caption": item.caption,
        "alt": item.alt,
        "svg": picture,
    }


def _table(frame: pd.DataFrame | None, columns: tuple[str, ...]) -> dict[str, Any] | None:
    """Columns and cells, as text, of the part of a table that the page shows; None when there is none."""
    if frame is None or frame.empty:
        return None
    shown = [column for column in columns if column in frame.columns]
    cells = [
        [_cell(value, column) for column, value in zip(shown, row, strict=True)] for row in frame[shown].to_numpy()
    ]
    return {"columns": [column.replace("_", " ") for column in shown], "rows": cells}


def _cell(value: Any, column: str) -> str:
    if wording.is_missing(value):
        return wording.MISSING
    if column == "layer" and value < 0:
        return wording.MISSING
    if column == "stage":
        return wording.label(wording.STAGE_LABELS, value)
    if isinstance(value, str):
        return f"{value[:12]}…" if column.endswith("_hash") and len(value) > 16 else value
    return wording.count(value) if float(value) == int(value) else wording.number(value)


def provenance_lines(provenance: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Provenance as flat (name, value) lines; an RO-Crate graph becomes one line for each named entity."""
    graph = provenance.get("@graph")
    if isinstance(graph, list):
        return [line for entity in graph if isinstance(entity, Mapping) for line in _entity(entity)]
    return _flat(provenance, "")


def _entity(entity: Mapping[str, Any]) -> list[tuple[str, str]]:
    name = str(entity.get("name") or entity.get("@id", ""))
    if "sha256" in entity:
        return [(name, f"sha256 {entity['sha256']}")]
    left_out = {"name", "hasPart"}  # every part has its own line
    kept = {key: value for key, value in entity.items() if not key.startswith("@") and key not in left_out}
    return _flat(kept, name)


def _flat(value: Any, prefix: str) -> list[tuple[str, str]]:
    if isinstance(value, Mapping):
        if set(value) == {"@id"}:
            return [(prefix, str(value["@id"]))]
        return [
            line for key, item in value.items() for line in _flat(item, f"{prefix} · {key}" if prefix else str(key))
        ]
    if isinstance(value, list):
        return [(prefix, ", ".join(_short(item) for item in value))]
    return [(prefix, wording.MISSING if wording.is_missing(value) else str(value))]


def _short(item: Any) -> str:
    if isinstance(item, Mapping):
        return str(item.get("@id") or json.dumps(item, sort_keys=True))
    return str(item)


def reproduce_command(results: ReportInputs) -> str:
    """Command that computes this evaluation again, as recorded, else the plain one for study and release."""
    recorded = results.provenance.get("reproduce") or results.provenance.get("command")
    return str(recorded) if recorded else f"make evaluate STUDY={results.study} RELEASE={results.release}"

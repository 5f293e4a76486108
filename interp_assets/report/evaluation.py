"""Everything drawn and written from one stored evaluation: figures, report, provenance.

What belongs here: putting stored results and their judgement into the shapes of the figure catalogue and the report
page. What does not: judging.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from interp_assets.figures.catalogue import CATALOGUE, draw
from interp_assets.figures.records import Drawing, FigureContext, FigureSkipped, FigureSpec
from interp_assets.report.inputs import ReportInputs
from interp_assets.report.page import render
from interp_assets.report.reading import criteria_table
from qc_standards.extended import extended_tests
from qc_standards.registry import declared_tests
from qc_standards.verdicts import Judgement

if TYPE_CHECKING:
    from interp_assets.figures.entry_states import EntryRow

PACKAGES = ("dagster", "great_expectations", "numpy", "pandas", "scikit-learn", "scipy", "torch", "transformers")
Drawn = Drawing | FigureSkipped


def figure_context(judgement: Judgement) -> FigureContext:
    """What every figure of an evaluation says about itself."""
    headline = judgement.verdicts[judgement.headline]
    return FigureContext(
        study=judgement.study,
        release=judgement.release,
        data_origin=str(headline.data_origin),
        verdict_state=headline.label,
        closed=not headline.cleared,
    )


def draw_all(
    judgement: Judgement,
    tables: Mapping[str, pd.DataFrame],
    specs: Sequence[FigureSpec] = CATALOGUE,
    *,
    preview: bool = True,
) -> list[Drawn]:
    """Every figure of the catalogue, drawn or skipped with its reason; ``preview``: with a PNG each."""
    context = figure_context(judgement)
    with_criteria = {**tables, "criteria": criteria_table(judgement)}
    return [draw(spec, with_criteria, context, preview=preview) for spec in specs]


def figure_files(drawing: Drawn) -> dict[str, bytes]:
    """Files of one figure: SVG, PNG where there is one, and words, or a text that says why there is no figure."""
    if isinstance(drawing, FigureSkipped):
        return {f"figures/{drawing.figure_id}.txt": f"not drawn: {drawing.reason}\n".encode()}
    files = {
        f"figures/{drawing.figure_id}.svg": drawing.svg,
        f"figures/{drawing.figure_id}.png": drawing.png,
        f"figures/{drawing.figure_id}.alt.txt": f"{drawing.alt}\n".encode(),
    }
    return {name: content for name, content in files.items() if content}


def stored_figure(spec: FigureSpec, folder: Path) -> Drawn:
    """A figure as its asset left it in ``folder``, so that the report shows the very same picture."""
    reason = folder / "figures" / f"{spec.figure_id}.txt"
    if reason.is_file():
        said = reason.read_text(encoding="utf-8").strip().removeprefix("not drawn: ")
        return FigureSkipped(figure_id=spec.figure_id, title=spec.title, reason=said)
    stem = folder / "figures" / spec.figure_id
    return Drawing(
        figure_id=spec.figure_id,
        title=spec.title,
        caption=spec.caption,
        svg=stem.with_suffix(".svg").read_bytes(),
        png=stem.with_suffix(".png").read_bytes(),
        alt=stem.with_suffix(".alt.txt").read_text(encoding="utf-8").strip(),
    )


def report_html(
    judgement: Judgement,
    documents: Mapping[str, Mapping[str, Any]],
    tests: pd.DataFrame,
    tables: Mapping[str, pd.DataFrame],
    figures: Sequence[Drawn],
    provenance: Mapping[str, Any],
    extended: pd.DataFrame | None = None,
    entries: Sequence[EntryRow] = (),
) -> bytes:
    """Self-contained report page of one evaluation; ``extended`` rows stand apart from the 153, absent where None.

    ``entries`` are the paper's figures and tables with their state in this evaluation (`entry_states.stored_entries`).
    """
    page = render(
        ReportInputs(
            study=judgement.study,
            release=judgement.release,
            verdict={**documents["verdict.json"], "criteria": documents["claims.json"]["criteria"]},
            claims=documents["claims.json"]["claims"],
            standards=documents["standards.json"]["standards"],
            tests=tests,
            registry=declared_tests(),
            tables=tables,
            figures=figures,
            provenance=provenance,
            statement=documents["statement.json"],
            extended=extended,
            extended_registry=() if extended is None else extended_tests(),
            entries=entries,
        )
    )
    return page.encode("utf-8")


def provenance_document(judgement: Judgement, files: Mapping[str, bytes], folder: Path) -> dict[str, Any]:
    """RO-Crate description of an evaluation: its files with their hashes, software, and when it was made.

    The only document with a time in it. ``folder`` holds the files that other assets wrote.
    """
    parts = {path.relative_to(folder).as_posix(): path.read_bytes() for path in _result_files(folder)} | dict(files)
    parts.pop("provenance.json", None)
    parts.pop("report.html", None)
    entries = [
        {
            "@id": name,
            "@type": "File",
            "contentSize": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
        }
        for name, content in sorted(parts.items())
    ]
    return {
        "@context": "https://w3id.org/ro/crate/1.1/context",
        "@graph": [
            {
                "@id": "ro-crate-metadata.json",
                "@type": "CreativeWork",
                "conformsTo": {"@id": "https://w3id.org/ro/crate/1.1"},
                "about": {"@id": "./"},
            },
            {
                "@id": "./",
                "@type": "Dataset",
                "name": f"Evaluation of {judgement.release} in study {judgement.study}",
                "dateCreated": datetime.now(UTC).isoformat(timespec="seconds"),
                "hasPart": [{"@id": entry["@id"]} for entry in entries],
                "softwareRequirements": {name: version(name) for name in PACKAGES},
                "processorRequirements": f"{platform.machine()}, {platform.system()}",
                "inputs": dict(judgement.inputs),
            },
            *entries,
        ],
    }


def _result_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))

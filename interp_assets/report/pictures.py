"""Figures on the report page: grouped by section of the paper, checked, and with the way to their rows and back.

What belongs here: putting drawn figures into the page. What does not: drawing them (`interp_assets.figures`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from interp_assets.figures.records import Drawing, FigureSkipped, FigureSpec
from interp_assets.report.inline_svg import Letters, inline_svg
from interp_assets.report.shown import stated
from qc_standards.records import TestSpec

SHOWN_AS_TEXT = frozenset({"criteria_summary"})  # the page has the criteria as cards
EVALUATION = "what was evaluated"


Drawn = Drawing | FigureSkipped


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One figure of the catalogue, drawn or with the reason why not; ``tests`` are the rows of its analyses."""

    id: str
    title: str
    skipped: str
    caption: str = ""
    alt: str = ""
    svg: str = ""
    tests: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    published: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureGroup:
    """Figures of one section of the paper."""

    title: str
    pictures: tuple[Picture, ...]

    @property
    def drawn(self) -> int:
        """How many of them were drawn."""
        return sum(not picture.skipped for picture in self.pictures)


def picture_groups(
    figures: Iterable[Drawn], registry: Sequence[TestSpec], letters: Letters
) -> tuple[PictureGroup, ...]:
    """Figures by section of the paper, those of the evaluation itself first; sections in the order of the catalogue.

    The outlines of their letters go to ``letters``, which the page must hold.
    """
    from interp_assets.figures.catalogue import CATALOGUE

    specs = {spec.figure_id: spec for spec in CATALOGUE}
    rows: dict[int, list[str]] = {}
    for test in registry:
        rows.setdefault(test.analysis_no, []).append(test.test_id)
    groups: dict[str, list[Picture]] = {EVALUATION: []}
    for item in figures:
        if item.figure_id not in SHOWN_AS_TEXT:
            spec = specs.get(item.figure_id)
            groups.setdefault(_section(spec), []).append(_picture(item, spec, rows, letters))
    return tuple(PictureGroup(title=title, pictures=tuple(own)) for title, own in groups.items() if own)


def figures_of_analyses(groups: Iterable[PictureGroup]) -> Mapping[str, tuple[Picture, ...]]:
    """Drawn figures by id of the tests they show."""
    found: dict[str, list[Picture]] = {}
    for picture in (picture for group in groups for picture in group.pictures if not picture.skipped):
        for test_id in picture.tests:
            found.setdefault(test_id, []).append(picture)
    return {test_id: tuple(pictures) for test_id, pictures in found.items()}


def drawn_ids(groups: Iterable[PictureGroup]) -> frozenset[str]:
    """Ids of the figures that stand on the page."""
    return frozenset(picture.id for group in groups for picture in group.pictures if not picture.skipped)


def _section(spec: FigureSpec | None) -> str:
    from interp_assets.analyses.catalogue import CATALOGUE

    if spec is None or not spec.analyses:
        return EVALUATION
    return next((str(row.section) for row in CATALOGUE if row.number == spec.analyses[0]), EVALUATION)


def _picture(item: Drawn, spec: FigureSpec | None, rows: Mapping[int, Sequence[str]], letters: Letters) -> Picture:
    from markupsafe import Markup

    tests = tuple(test for number in (spec.analyses if spec else ()) for test in rows.get(number, ()))
    tables = (*spec.tables, *spec.extra_tables) if spec else ()
    if isinstance(item, FigureSkipped):
        place = f"figures/{item.figure_id}.txt#"
        return Picture(
            id=item.figure_id, title=item.title, skipped=stated(item.reason, place), tests=tests, tables=tables
        )
    return Picture(
        id=item.figure_id,
        title=item.title,
        skipped="",
        caption=item.caption,
        alt=stated(item.alt, f"figures/{item.figure_id}.alt.txt#"),
        svg=Markup(inline_svg(item.svg, item.figure_id, letters)),  # noqa: S704  checked by inline_svg
        tests=tests,
        tables=tables,
        published=spec.published if spec else (),
    )

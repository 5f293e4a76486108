"""The figure catalogue: one row a picture, and the one function that draws any of them.

A figure reads computed tables only. A table that is not there gives a `FigureSkipped` with the reason, never
an empty picture. The rows lie by topic in the ``catalogue_*`` modules. Importing this module pulls in no matplotlib.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pandas as pd

from interp_assets.figures import (
    catalogue_biology,
    catalogue_confounds,
    catalogue_cssi,
    catalogue_interventions,
    catalogue_reliability,
    catalogue_scaling,
    catalogue_screens,
    catalogue_theory,
    catalogue_verdict,
)
from interp_assets.figures.records import (
    Drawing,
    FigureContext,
    FigureSkipped,
    FigureSpec,
    NothingToDrawError,
)

# In the order of the report: what was evaluated and what came out, the battery, then the limits of what edges can say.
CATALOGUE: tuple[FigureSpec, ...] = (
    *catalogue_verdict.ROWS,
    *catalogue_screens.ROWS,
    *catalogue_confounds.ROWS,
    *catalogue_interventions.ROWS,
    *catalogue_scaling.ROWS,
    *catalogue_cssi.ROWS,
    *catalogue_theory.ROWS,
    *catalogue_biology.ROWS,
    *catalogue_reliability.ROWS,
)


def figure(figure_id: str) -> FigureSpec:
    """Catalogue row of a figure.

    Raises
    ------
    ValueError
        For an id the catalogue does not list.
    """
    for spec in CATALOGUE:
        if spec.figure_id == figure_id:
            return spec
    raise ValueError(f"no figure {figure_id!r}; the catalogue lists {', '.join(s.figure_id for s in CATALOGUE)}")


def draw(
    spec: FigureSpec, tables: Mapping[str, pd.DataFrame], context: FigureContext, *, preview: bool = True
) -> Drawing | FigureSkipped:
    """Draw one figure from computed tables, or say why it cannot be drawn.

    Parameters
    ----------
    tables
        Frames by table name (``store/<study>/<release>/tables``); extra ones are ignored.
    preview
        Whether a PNG is wanted beside the SVG; it takes a third of the time.
    """
    absent = [name for name in spec.tables if name not in tables]
    if absent:
        return _skipped(spec, f"{_tables(absent, 'was', 'were')} not computed in this evaluation")
    empty = [name for name in spec.tables if tables[name].empty]
    if empty:
        return _skipped(spec, f"{_tables(empty, 'has', 'have')} no rows in this evaluation")
    from matplotlib import rc_context

    from interp_assets.figures import style

    with rc_context(style.RC):
        try:
            picture, alt = spec.draw(tables, replace(context, marks=spec.marks))
        except NothingToDrawError as nothing:
            return _skipped(spec, str(nothing))
        if context.closed:
            alt = f"The claim is closed ({context.verdict_state}). {alt}"
        style.settle(picture)
        svg = style.to_svg(picture, spec.figure_id, spec.title, alt)
        png = style.to_png(picture, spec.figure_id) if preview else b""
    return Drawing(figure_id=spec.figure_id, title=spec.title, caption=spec.caption, svg=svg, png=png, alt=alt)


def _tables(names: Sequence[str], one: str, many: str) -> str:
    return f"table {names[0]} {one}" if len(names) == 1 else f"tables {', '.join(names)} {many}"


def _skipped(spec: FigureSpec, reason: str) -> FigureSkipped:
    return FigureSkipped(figure_id=spec.figure_id, title=spec.title, reason=reason)

"""Frozen records of the figure room: what a figure is, what it was drawn for, and what came out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class NothingToDrawError(ValueError):
    """The tables are there but hold no row this figure could show; the message says which."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A value that the paper printed, shown faintly beside what was computed here and never mixed with it.

    ``series`` says which part of the picture it belongs to, in the drawing function's own words; ``model`` and
    ``dataset`` what it was printed for. ``x`` is its place where a picture has a numeric horizontal axis.
    """

    series: str
    value: float
    model: str
    dataset: str
    x: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FigureContext:
    """What a picture is shown for: study, release, weakest data origin behind it, and the claim's verdict.

    ``verdict_state`` is the displayed verdict of the claim ("refuted (semi-synthetic)"); ``closed`` is True
    unless the claim is supported. ``marks`` are the published values of the picture that is being drawn.
    """

    study: str
    release: str
    data_origin: str
    verdict_state: str
    closed: bool
    marks: tuple[Mark, ...] = ()

    def published(self, series: str) -> tuple[Mark, ...]:
        """Published values of one part of the picture."""
        return tuple(mark for mark in self.marks if mark.series == series)


Draw = Callable[[Mapping[str, pd.DataFrame], FigureContext], "tuple[Figure, str]"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FigureSpec:
    """One row of the figure catalogue.

    ``tables`` must all be there and not empty; ``extra_tables`` are drawn when they are. ``draw`` returns the
    figure and its alt text. ``published`` names the figures of the paper that it corresponds to, ``marks`` the values
    printed there that the picture repeats faintly.
    """

    figure_id: str
    title: str
    caption: str
    analyses: tuple[int, ...]
    tables: tuple[str, ...]
    draw: Draw
    published: tuple[str, ...] = ()
    extra_tables: tuple[str, ...] = ()
    marks: tuple[Mark, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """A drawn figure: SVG for the page, small PNG for the Dagster UI, words for those who cannot see it.

    ``png`` is empty where nobody asked for one.
    """

    figure_id: str
    title: str
    caption: str
    svg: bytes
    png: bytes
    alt: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FigureSkipped:
    """A figure that was not drawn, and why; shown in its place, so that nothing is missing silently."""

    figure_id: str
    title: str
    reason: str

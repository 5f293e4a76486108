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
class FigureContext:
    """What a picture is shown for: study, release, weakest data origin behind it, and the claim's verdict.

    ``verdict_state`` is the displayed verdict of the claim ("refuted (semi-synthetic)"); ``closed`` is True
    unless the claim is supported.
    """

    study: str
    release: str
    data_origin: str
    verdict_state: str
    closed: bool


Draw = Callable[[Mapping[str, pd.DataFrame], FigureContext], "tuple[Figure, str]"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FigureSpec:
    """One row of the figure catalogue.

    ``tables`` must all be there and not empty; ``extra_tables`` are drawn when they are. ``draw`` returns the
    figure and its alt text. ``published`` names the figures of the paper that it corresponds to.
    """

    figure_id: str
    title: str
    caption: str
    analyses: tuple[int, ...]
    tables: tuple[str, ...]
    draw: Draw
    published: tuple[str, ...] = ()
    extra_tables: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """A drawn figure: SVG for the page, small PNG for the Dagster UI, words for those who cannot see it."""

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

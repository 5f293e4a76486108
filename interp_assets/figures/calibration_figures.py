"""Figure of the battery's p-values where nothing was perturbed."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interp_assets.figures import shapes, style
from interp_assets.figures.records import FigureContext, NothingToDrawError
from interp_assets.figures.wording import count, holds, is_missing, label, number, share, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Tables = Mapping[str, pd.DataFrame]
Facts = Mapping[str, Any]
COLUMNS = 3
SHOWN_AT_MOST = 12
LEVEL = 0.05
CONFIGURATION = ("labels", "genes")  # what a table of several configurations is told apart by
AS_THEY_ARE = "observed"
POOLED = "differential_expression"  # p-values of genes of the same guides, which are not independent


@dataclass(frozen=True, slots=True, kw_only=True)
class _Null:
    """Finite p-values of one test, what the summary says of it, and the same test on guides as they are."""

    name: str
    p: NDArray[np.float64]
    facts: Facts = field(default_factory=dict)
    beside: _Null | None = None

    @property
    def below(self) -> float:
        """Share below .05, as stated or else counted."""
        stated = self.facts.get("share_below_05")
        return float((self.p < LEVEL).mean()) if is_missing(stated) else float(str(stated))

    @property
    def verdict(self) -> str:
        """Whether the p-values are uniform, in words; a test without a distance was not judged."""
        if "uniform" not in self.facts:
            return "uniformity not judged"
        if is_missing(self.facts.get("ks", 0.0)):
            return "not evaluable"
        return "uniform" if holds(self.facts["uniform"]) else "not uniform"


def null_calibration(tables: Tables, context: FigureContext) -> tuple[Figure, str]:
    """Sorted p-values of each test against uniform quantiles, with their share below .05."""
    nulls, others = _nulls(tables["null_calibration"], tables.get("null_calibration_summary"))
    if not nulls:
        raise NothingToDrawError("null_calibration has no finite p")
    shown = nulls[:SHOWN_AT_MOST]
    others = others + nulls[SHOWN_AT_MOST:]
    lines = -(-len(shown) // COLUMNS)
    figure = style.new_figure(1.3 + 2.35 * lines)
    axes = figure.subplots(lines, COLUMNS, squeeze=False).ravel()
    for axis in axes[len(shown) :]:
        axis.set_axis_off()
    for axis, null in zip(axes, shown, strict=False):
        _quantile_panel(axis, null)
    axes[0].set_ylabel("observed p")
    place = "grey band: 95% of uniform p"
    place += " · dashed: guides as they are" if any(null.beside for null in shown) else ""
    place += f" · {len(others)} further tests not drawn" if others else ""
    style.frame(figure, "Are p-values uniform where nothing was perturbed?", context, place)
    words = [_words(null) for null in shown] + [_words(null) for null in others[:SHOWN_AT_MOST]]
    return figure, f"P-values where nothing was perturbed. {' '.join(words)}{_counted(others)}"


def _nulls(frame: pd.DataFrame, summary: pd.DataFrame | None) -> tuple[list[_Null], list[_Null]]:
    """Tests of the first configuration, each with its twin on guides as they are, and all other tests."""
    facts = {} if summary is None else {str(row["test"]): row for row in summary.to_dict("records")}
    keys = [name for name in ("analysis", "scores", *CONFIGURATION, "assignment") if name in frame]
    frame = frame[np.isfinite(frame["p"].to_numpy(dtype=float))]
    found: dict[tuple[Any, ...], _Null] = {}
    for test, rows in frame.groupby("test", sort=False):
        about = tuple(rows[key].iloc[0] for key in keys) if "assignment" in keys else (test, "")
        stated: Facts = {**dict(zip(keys, about, strict=False)), **facts.get(str(test), {})}
        found[about] = _Null(name=str(test), p=rows["p"].to_numpy(dtype=float), facts=stated)
    first = next(iter(found.values()), None)
    shown: dict[tuple[Any, ...], _Null] = {}
    for about, null in found.items():
        same = first is not None and all(null.facts.get(key) == first.facts.get(key) for key in CONFIGURATION)
        if same and about[-1] != AS_THEY_ARE:
            shown[about] = replace(null, beside=found.get((*about[:-1], AS_THEY_ARE)))
    drawn = {id(found[about]) for about in shown} | {id(null.beside) for null in shown.values()}
    others = [null for null in found.values() if id(null) not in drawn]
    return (list(shown.values()), others) if shown else (others, [])


def _quantile_panel(axis: Axes, null: _Null) -> None:
    bad = null.verdict == "not uniform"
    band = null.facts.get("analysis") != POOLED
    shapes.uniform_quantiles(axis, null.p, style.VERMILLION if bad else style.BLUE, band=band)
    words = f"{share(null.below, 1)} below .05\n{null.verdict.upper() if bad else null.verdict}"
    if null.beside is not None:
        shapes.uniform_quantiles(axis, null.beside.p, style.PURPLE, band=False, dashed=True)
        words += f"\nas they are: {share(null.beside.below, 1)}"
    axis.set_title(textwrap.fill(short(label({}, null.name), 52), 27), fontsize=8.5)
    axis.set_xlabel(f"uniform quantile (n = {count(len(null.p))})")
    axis.text(
        0.03, 0.97, words, transform=axis.transAxes, va="top", fontsize=7.5, color=style.ALARM if bad else style.INK,
        fontweight="bold" if bad else "normal",
    )  # fmt: skip


def _words(null: _Null) -> str:
    words = [f"{share(null.below, 1)} of {count(len(null.p))} below .05"]
    if not is_missing(null.facts.get("ks")):
        words.append(f"KS distance {number(null.facts['ks'])} (limit {number(null.facts.get('ks_limit'))})")
    asked = null.facts.get("replicates")
    if not is_missing(asked) and int(str(asked)) != len(null.p):
        words.append(f"{count(asked)} replicates asked for")
    words.append(null.verdict)
    if null.beside is not None:
        words.append(f"with guides as they are {share(null.beside.below, 1)} ({null.beside.verdict})")
    return f"{short(label({}, null.name), 60)}: {', '.join(words)}."


def _counted(others: list[_Null]) -> str:
    """What further tests say, where there are too many to name."""
    rest = others[SHOWN_AT_MOST:]
    if not rest:
        return ""
    return f" Of {len(rest)} further tests, {sum(null.verdict == 'not uniform' for null in rest)} are not uniform."

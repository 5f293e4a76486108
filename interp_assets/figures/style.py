"""One look for every figure, and its export as SVG and PNG.

What belongs here: colours, fonts, the frame around a picture (title, closed mark, data origin and release in
the corner) and byte-stable export. What does not: what a figure shows.

Text is exported as paths, so that a stored SVG looks the same on a machine without our font; the words reach
screen readers through the title and description that every SVG carries.
"""

from __future__ import annotations

import io
import re
import textwrap
import zlib
from html import escape
from typing import TYPE_CHECKING, Any

from interp_assets.figures.wording import origin_label, release_label, short

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from interp_assets.figures.records import FigureContext

# Okabe and Ito (2008), safe for the common forms of colour blindness. Shape or position always says the same.
BLUE, VERMILLION, GREEN, PURPLE = "#0072b2", "#d55e00", "#009e73", "#cc79a7"
SKY, ORANGE, YELLOW = "#56b4e9", "#e69f00", "#f0e442"

# Theme colours of the page: the report replaces exactly these with its own light and dark values.
INK, MUTED, GRID, PAPER, ALARM = "#1c2128", "#57606b", "#d9dee4", "#fefefe", "#a3210f"
THEME = {
    INK: "--fig-ink",
    MUTED: "--fig-muted",
    GRID: "--fig-grid",
    PAPER: "--fig-paper",
    ALARM: "--fig-alarm",
}

SCORE_COLOURS = {
    "attention": BLUE,
    "correlation": VERMILLION,
    "variance": GREEN,
    "mean": GREEN,
    "one_minus_dropout": GREEN,
    "tf_out_degree": PURPLE,
    "de_rate": ORANGE,
    "rank_distance": PURPLE,
    "co_detection": PURPLE,
}
SCORE_MARKERS = {
    "attention": "o",
    "correlation": "s",
    "tf_out_degree": "D",
    "de_rate": "v",
    "rank_distance": "D",
    "co_detection": "D",
}
# Where screens stand side by side, colour says what a score looks at and shape says which score it is.
LEVEL_COLOURS = {"gene_level": GREEN, "pairwise": VERMILLION, "attention": BLUE}
LEVEL_MARKERS = {
    "variance": "^",
    "mean": "v",
    "one_minus_dropout": "<",
    "tf_out_degree": ">",
    "de_rate": "P",
    "correlation": "s",
    "rank_distance": "D",
    "co_detection": "X",
    "attention": "o",
}

PNG_LIMIT = 150_000
_PNG_RESOLUTIONS = (120, 100, 80, 60)

RC: dict[str, Any] = {
    "font.family": ["DejaVu Sans"],
    "font.size": 9.0,
    "text.color": INK,
    "text.hinting": "none",  # widths then grow with the resolution, so that one layout fits every export
    "text.parse_math": False,  # a gene or release name may hold a dollar sign
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.facecolor": PAPER,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.labelsize": 8.5,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.unicode_minus": False,
    "figure.facecolor": PAPER,
    "savefig.facecolor": PAPER,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "svg.fonttype": "path",
    "svg.hashsalt": "interp-assets",
}

WIDTH = 7.4
STAR_LINES = 0.3  # inches below the axes for what the stars of a picture were printed for


def new_figure(height: float, width: float = WIDTH) -> Figure:
    """Empty figure of the house style, without pyplot and its global registry; ``height`` in inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def star_room(context: FigureContext) -> float:
    """Inches that a picture needs more where it has published values to name."""
    return STAR_LINES if context.marks else 0.0


def frame(figure: Figure, title: str, context: FigureContext, place: str = "") -> None:
    """Write title, place (data set and role), closed mark, release and data origin around the axes.

    The closed mark is part of the picture, so that a figure that travels without its page still says that its
    claim may not be made.
    """
    width, height = figure.get_size_inches()
    lines = textwrap.wrap(title, int(width * 9.5)) or [title]
    top = height - 0.12
    for line in lines:
        figure.text(0.12 / width, top / height, line, fontsize=11.5, fontweight="bold", va="top")
        top -= 0.23
    if place:
        figure.text(0.12 / width, top / height, short(place, int(width * 12)), fontsize=9, color=MUTED, va="top")
        top -= 0.21
    if context.closed:
        mark = f"CLAIM CLOSED · {context.verdict_state} · this picture does not support the claim"
        for line in textwrap.wrap(mark, int(width * 13)):
            figure.text(0.12 / width, top / height, line, fontsize=8.5, fontweight="bold", color=ALARM, va="top")
            top -= 0.16
        top -= 0.06
    left = f"{origin_label(context.data_origin)}"
    right = f"{release_label(context.release)} · study {context.study}"
    corner = {"fontsize": 7.5, "color": MUTED, "va": "bottom"}
    figure.text(0.12 / width, 0.07 / height, left, ha="left", **corner)
    figure.text(1 - 0.12 / width, 0.07 / height, short(right, 84), ha="right", **corner)
    bottom = 0.30 / height
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.set(rect=(0.0, bottom, 0.985, (top - 0.02) / height - bottom), w_pad=0.08, h_pad=0.06)


def settle(figure: Figure) -> None:
    """Lay a figure out once and fix the result, so that exports do not lay it out again (half the time).

    The solver of the layout gives other last digits in other processes, and the edges that it places lie where pixels
    end: rounded, the same figure has the same bytes everywhere.
    """
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)
    figure.set_layout_engine(None)
    for axis in figure.axes:
        bounds = axis.get_position(original=True).bounds  # in parts of the figure: the fifth digit is below a pixel
        axis.set_position([round(value, 5) for value in bounds])


def id_prefix(figure_id: str) -> str:
    """Prefix of every id in the SVG of a figure: short, as each letter carries it, and one figure's own."""
    return f"f{zlib.crc32(figure_id.encode()):08x}"[:6]


def to_svg(figure: Figure, figure_id: str, title: str, alt: str) -> bytes:
    """SVG of a figure: no date, no document type, ids with the `id_prefix` of the figure, title and words inside.

    The prefix keeps ids unique when several figures stand on one page. Same figure, same bytes.
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    svg = buffer.getvalue().decode("utf-8")
    svg = re.sub(r"<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = _compact(svg[svg.index("<svg") :])
    prefix = id_prefix(figure_id)
    svg = re.sub(r"\bid=\"([^\"]+)\"", rf'id="{prefix}-\1"', svg)
    svg = re.sub(r"href=\"#([^\"]+)\"", rf'href="#{prefix}-\1"', svg)
    svg = re.sub(r"url\(#([^)]+)\)", rf"url(#{prefix}-\1)", svg)
    head = f'role="img" aria-labelledby="{prefix}-title {prefix}-desc"'
    words = f'<title id="{prefix}-title">{escape(title)}</title>\n'
    words += f'<desc id="{prefix}-desc">{escape(alt)}</desc>\n'
    opening = re.match(r"<svg[^>]*>", svg)
    if opening is None:
        raise ValueError(f"{figure_id}: matplotlib wrote no svg element")
    tag = opening.group(0)
    return (tag[:-1] + f" {head}>\n" + words + svg[len(tag) :].lstrip("\n")).encode("utf-8")


def _compact(svg: str) -> str:
    """The same picture in half the bytes: places to a hundredth of a point, ids that are used, numbered in their order.

    An id of matplotlib may hash a place with all its digits, of which the last differ from one layout to the next.
    """
    svg = re.sub(r"(?<![\d.])(\d*[1-9]\d*\.\d{2})\d+", r"\1", svg)  # scales, all below 1, stay exact
    link = re.compile(r"(href=\"#|url\(#)([^\")]+)")
    number = {name: f"{place:x}" for place, name in enumerate(dict.fromkeys(name for _, name in link.findall(svg)))}
    svg = re.sub(r" id=\"([^\"]+)\"", lambda m: f' id="{number[m[1]]}"' if m[1] in number else "", svg)
    svg = link.sub(lambda m: m[1] + number[m[2]], svg)
    return re.sub(r"\s*\n\s*", "\n", svg)


def to_png(figure: Figure, figure_id: str) -> bytes:
    """PNG of a figure below `PNG_LIMIT` bytes, at the highest of a few resolutions that fits.

    A picture that is too large at one resolution is tried there with fewer colours before the next one.

    Raises
    ------
    ValueError
        When even the lowest resolution is too large for an inline picture in the Dagster UI.
    """
    size = 0
    for dpi in _PNG_RESOLUTIONS:
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
        for shrink in (io.BytesIO.getvalue, _fewer_colours):  # fewer colours cost as much as drawing: only where asked
            png = shrink(buffer)
            size = len(png)
            if size < PNG_LIMIT:
                return png
    raise ValueError(f"{figure_id}: PNG of {size} bytes is above {PNG_LIMIT} even at {_PNG_RESOLUTIONS[-1]} dpi")


def _fewer_colours(buffer: io.BytesIO) -> bytes:
    """The same picture with a palette: a third of the bytes, no difference to the eye."""
    from PIL import Image

    smaller = io.BytesIO()
    with Image.open(buffer) as picture:
        picture.convert("RGB").quantize(96, dither=Image.Dither.NONE).save(smaller, format="png")
    return smaller.getvalue()

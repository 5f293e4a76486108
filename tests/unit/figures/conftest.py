"""Fixtures of the figure tests: example tables, and every picture drawn from them as few times as possible."""

import importlib.util
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from matplotlib import rc_context
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.text import Text

from interp_assets.figures import catalogue, style
from interp_assets.figures.records import FigureContext


def _beside(name: str):
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def tables():
    """Every table that some figure reads, by name; a topic adds its tables with a line here."""
    primary = _beside("example_tables").example_tables()
    return {
        **primary,
        **_beside("example_contexts").context_tables(primary),
        **_beside("example_scaling").scaling_tables(),
        **_beside("example_theory").theory_tables(),
        **_beside("example_cssi").cssi_tables(),
        **_beside("example_biology").biology_tables(),
        **_beside("example_reliability").reliability_tables(),
    }


@pytest.fixture(scope="session")
def context():
    return FigureContext(
        study="demo",
        release="geneformer-small-2k",
        data_origin="semi_synthetic",
        verdict_state="refuted (semi-synthetic)",
        closed=True,
    )


@dataclass(frozen=True)
class Shown:
    """One picture of the catalogue: what `draw` returned, the figure behind it, and all that is written on it."""

    drawing: object
    picture: object

    @property
    def words(self) -> str:
        return words(self.picture)


def words(picture) -> str:
    """Every text of a figure: headings, axes, tick labels, marks."""
    return "\n".join(item.get_text() for item in picture.findobj(Text))


def outside(picture) -> list[str]:
    """Panels and free texts that reach beyond the edge of the picture (ticks out of view are not drawn)."""
    width, height = picture.canvas.get_width_height()
    with rc_context(style.RC):  # tick labels are written anew with the settings of the moment
        boxes = {item.get_text(): item.get_window_extent() for item in picture.texts}
        boxes |= {f"panel {place}": axes.get_tightbbox() for place, axes in enumerate(picture.axes)}
    return [
        name for name, box in boxes.items() if box.x0 < -1 or box.y0 < -1 or box.x1 > width + 1 or box.y1 > height + 1
    ]


def _shown(spec, tables, context, *, png: bool = True, svg: bool = True) -> Shown:
    kept = []

    def keeping(tables, context):
        picture, alt = spec.draw(tables, context)
        kept.append(picture)
        return picture, alt

    with ExitStack() as stack:
        for wanted, export in ((svg, "to_svg"), (png, "to_png")):
            if not wanted:
                stack.enter_context(mock.patch.object(style, export, lambda *_: b""))
        drawing = catalogue.draw(replace(spec, draw=keeping), tables, context)
    return Shown(drawing=drawing, picture=kept[-1] if kept else None)


@pytest.fixture(scope="session")
def shown(tables, context):
    """Picture of a figure id from the example tables, exported once a session, when it is first asked for."""
    return cache(lambda figure_id: _shown(catalogue.figure(figure_id), tables, context))


@pytest.fixture(scope="session")
def vector():
    """Picture of a row of the catalogue from any tables, with its SVG and without the slow PNG."""
    return lambda spec, tables, context: _shown(spec, tables, context, png=False)


@contextmanager
def another_process():
    """The solver of the layout as it is in another process: other last digits, as seen."""
    solved = ConstrainedLayoutEngine.execute

    def solve(engine, figure):
        solved(engine, figure)
        rng = np.random.default_rng(0)
        for axis in figure.axes:
            axis.set_position(axis.get_position(original=True).bounds + rng.uniform(-1e-14, 1e-14, 4))

    with mock.patch.object(ConstrainedLayoutEngine, "execute", solve):
        yield


@pytest.fixture(scope="session")
def redrawn(tables, context):
    """The picture that `shown` has, drawn anew as another process would; without its PNG unless it is wanted."""

    def draw(figure_id: str, *, png: bool = False) -> Shown:
        with another_process():
            return _shown(catalogue.figure(figure_id), tables, context, png=png)

    return draw


@pytest.fixture(scope="session")
def sketch():
    """`catalogue.draw` without its exports: laid out or skipped, for tables other than the examples."""
    return lambda spec, tables, context: _shown(spec, tables, context, png=False, svg=False).drawing


@pytest.fixture(scope="session")
def face():
    """Words of a picture that is composed and neither laid out nor exported."""

    def composed(spec, tables, context) -> str:
        with rc_context(style.RC):
            return words(spec.draw(tables, context)[0])

    return composed


@pytest.fixture(scope="session")
def beyond_the_edge():
    """What of a picture reaches beyond its edge."""
    return outside


@pytest.fixture(scope="session")
def words_on():
    """Everything that is written on a picture."""
    return words

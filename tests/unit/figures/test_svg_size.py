"""Export as SVG: far fewer bytes than matplotlib writes, and the same picture."""

import io
import re

import numpy as np
import pytest
from matplotlib import rc_context

from interp_assets.figures import style

NUMBER = re.compile(r"-?\d+\.?\d*(?:e-?\d+)?")


@pytest.fixture(scope="module")
def both():
    """One figure with every face of the font, as matplotlib writes it and as we do."""
    with rc_context(style.RC):
        picture = style.new_figure(2.0)
        axes = picture.subplots()
        axes.plot(np.linspace(0, 1, 7), np.linspace(0.003, 0.9, 7) ** 2, "o-")
        for height, (weight, slant) in enumerate((w, s) for w in ("normal", "bold") for s in ("normal", "italic")):
            axes.text(0.1, 0.2 * height, "agAG", weight=weight, style=slant, rotation=15)
        axes.imshow(np.eye(4), extent=(0.5, 0.9, 0.1, 0.4), interpolation="none", aspect="auto")
        plain = io.BytesIO()
        style.settle(picture)
        picture.savefig(plain, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
        return plain.getvalue().decode(), style.to_svg(picture, "example", "title", "words").decode()


def _numbers(svg, attribute):
    return np.array([float(n) for text in re.findall(rf'\b{attribute}="([^"]*)"', svg) for n in NUMBER.findall(text)])


def test_it_is_smaller(both):
    plain, ours = both
    assert len(ours) < 0.85 * len(plain)


def test_shapes_are_the_same_to_a_hundredth(both):
    paths = [_numbers(svg[svg.index("<svg") :], "d") for svg in both]
    assert paths[0].shape == paths[1].shape
    assert np.abs(paths[0] - paths[1]).max() < 0.01
    for tag in ("<use", "<path", "<image", "<g"):
        assert both[0].count(tag) == both[1].count(tag)


def test_letters_stand_where_they_stood(both):
    moved, placed = ([float(x) for x in re.findall(r"<use [^>]*translate\(([\d.]+) 0\)", svg)] for svg in both)
    assert len(placed) == len(moved) > 10
    assert np.abs(np.subtract(moved, placed)).max() < 0.01


def test_scales_are_exact(both):
    scales = [re.findall(r"scale\([^)]*\)", svg) for svg in both]
    assert scales[0] == scales[1]
    assert "scale(0.015625)" in scales[1]


def test_faces_of_a_letter_stay_apart(both):
    letters = [re.findall(r'<path id="([^"]+)"', svg) for svg in both]
    plain = [name for name in letters[0] if name.startswith("DejaVuSans")]
    assert len({name.rsplit("-", 1)[0] for name in plain}) == 4
    assert len(set(letters[1])) == len(letters[1]) == len(letters[0])


def test_every_id_is_used_and_of_the_figure(both):
    ids = re.findall(r'\bid="([^"]+)"', both[1])
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', both[1]))
    assert set(ids) - used == {f"{style.id_prefix('example')}-{name}" for name in ("title", "desc")}
    assert used <= set(ids)

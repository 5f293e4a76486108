"""Drawn figures as SVG inside the page: checked, in the page's colours, and small.

What belongs here: turning the stored SVG of a figure into markup for a page that holds many of them. What does not:
drawing (`interp_assets.figures`). Text in a picture is drawn from outlines of letters; a page keeps each outline once.
"""

from __future__ import annotations

import re

from interp_assets.figures.style import THEME

_TAGS = frozenset({"svg", "title", "desc", "defs", "style", "g", "path", "use", "clipPath", "rect", "image", "pattern"})
_OUTLINE = re.compile(r'<path id="([^"]+-[0-9a-f]+)" d="([^"]*)"( transform="scale\([^"]*")\s*/>')
_MOVED = re.compile(r'(<use xlink:href="#[^"]+") transform="translate\(([-\d.]+) ([-\d.]+)\)"(?=\s*/>)')
_PLACED = re.compile(r'<use xlink:href="#([^"]+)"(?: x="([-\d.]+)")?(?: y="([-\d.]+)")?\s*/>')
_ALIKE = re.compile(r'<g( clip-path="[^"]*")?>((?:<use [^>]* style="([^"]*)"/>)(?:<use [^>]* style="\3"/>)+)</g>')
_TOGETHER = re.compile(r'(?:<use href="#l\d+"(?: x="-?\d+")?(?: y="-?\d+")?/>){2,}')
_LONG = re.compile(r"-?\d+\.\d{3,}")


class Letters:
    """What the pictures of one page share: outlines of letters, whole texts, and looks, each said once."""

    def __init__(self) -> None:
        self._outlines: dict[str, str] = {}
        self._texts: dict[str, str] = {}
        self._looks: dict[str, str] = {}

    def id_of(self, outline: str) -> str:
        """Id of an outline, given once."""
        return self._outlines.setdefault(outline, f"l{len(self._outlines)}")

    def text(self, letters: str) -> str:
        """Reference to letters that stand together."""
        return f'<use href="#{self._texts.setdefault(letters, f"t{len(self._texts)}")}"/>'

    def look(self, style: str) -> str:
        """Class of a style."""
        return self._looks.setdefault(style, f"k{len(self._looks)}")

    def sheet(self) -> str:
        """SVG that shows nothing and defines what is shared; empty where there is none."""
        if not (self._outlines or self._looks):
            return ""
        paths = "".join(f'<path id="{name}"{outline}/>' for outline, name in self._outlines.items())
        texts = "".join(f'<g id="{name}">{letters}</g>' for letters, name in self._texts.items())
        looks = "".join(f".{name}{{{style}}}" for style, name in self._looks.items())
        return (
            '<svg class="letters" width="0" height="0" aria-hidden="true">'
            f"<style>{looks}</style><defs>{paths}{texts}</defs></svg>"
        )


def inline_svg(svg: bytes, figure_id: str, letters: Letters | None = None) -> str:
    """SVG ready to stand inside the page: theme colours turned into page variables, anything active refused.

    With ``letters`` outlines, texts and looks go there, coordinates keep two decimals (a hundredth of a point), and ids
    that nothing names are dropped.

    Raises
    ------
    ValueError
        When the picture holds an element, event handler or outside link that no drawn figure has.
    """
    text = svg.decode("utf-8")
    tags = set(re.findall(r"<\s*([A-Za-z][\w:-]*)", text))
    active = re.findall(r"\son\w+\s*=", text)
    links = [link for link in re.findall(r"href=\"([^\"]*)\"", text) if not link.startswith(("#", "data:image/png"))]
    if tags - _TAGS or active or links:
        wrong = sorted(tags - _TAGS) + active + links
        raise ValueError(f"figure {figure_id}: not a plain picture, holds {', '.join(wrong[:5])}")
    for colour, variable in THEME.items():
        text = text.replace(colour, f"var({variable})")
    text = re.sub(r"(<svg[^>]*?)\swidth=\"[^\"]*\"", r"\1", text, count=1)
    text = re.sub(r"(<svg[^>]*?)\sheight=\"[^\"]*\"", r"\1", text, count=1)
    return text if letters is None else _slim(text, letters)


def _slim(text: str, letters: Letters) -> str:
    text = re.sub(r'\b(?:d|x|y|width|height)="[^"]*"', lambda found: _tight(_rounded(found.group(), 2)), text)
    names = {name: _outline(path, turned) for name, path, turned in _OUTLINE.findall(text) if f'"#{name}"' in text}
    text = _OUTLINE.sub(lambda found: "" if found[1] in names else found[0], text)
    text = _MOVED.sub(r'\1 x="\2" y="\3"', text)
    text = _PLACED.sub(lambda found: _letter(found, names, letters), text)
    text = re.sub(r"translate\([^)]*\)", lambda found: _rounded(found.group(), 2), text)
    named = set(re.findall(r"#([^\")]+)", text)) | set(
        " ".join(re.findall(r'aria-labelledby="([^"]*)"', text)).split(" ")
    )
    text = re.sub(r' id="([^"]+)"', lambda found: found[0] if found[1] in named else "", text)
    text = re.sub(r' style="[^"]*"', lambda found: found[0].replace("; ", ";").replace(": ", ":"), text)
    text = re.sub(r"\s*\n\s*", " ", text).replace("> <", "><").replace("<defs></defs>", "")
    text = _ALIKE.sub(_shared_style, text).replace("xlink:href", "href")
    text = _TOGETHER.sub(lambda found: letters.text(found.group()), text)
    return re.sub(r' style="([^"]*)"', lambda found: f' class="{letters.look(found[1])}"', text)


def _shared_style(found: re.Match[str]) -> str:
    """Group of marks of one look, which is said once."""
    look = f' style="{found[3]}"'
    return f"<g{found[1] or ''}{look}>{found[2].replace(look, '')}</g>"


def _letter(found: re.Match[str], names: dict[str, str], letters: Letters) -> str:
    """One letter of a text where it stands; ``x`` and ``y`` of a reference shift it as a translation does."""
    if found[1] not in names:
        return found[0]
    moved = [(axis, place) for axis, place in (("x", found[2]), ("y", found[3])) if place not in (None, "0")]
    shift = "".join(f' {axis}="{float(place):.0f}"' for axis, place in moved)  # a unit is a tenth of a point or less
    return f'<use href="#{letters.id_of(names[found[1]])}"{shift}/>'


def _outline(path: str, turned: str) -> str:
    return f' d="{path}"{turned}'


def _tight(attribute: str) -> str:
    """Attribute without the spaces and line breaks around the letters of a path."""
    return re.sub(r"\s*([A-Za-z])\s*", r"\1", attribute) if attribute.startswith("d=") else attribute


def _rounded(text: str, digits: int) -> str:
    return _LONG.sub(lambda found: f"{float(found.group()):.{digits}f}".rstrip("0").rstrip("."), text)

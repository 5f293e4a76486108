"""Text of the report that knows where it comes from, so that a reader and a test can go back to the stored value.

What belongs here: addresses of stored values, and text that carries one. What does not: choosing what to show, or how
to round it (`interp_assets.figures.wording`).

An address is one of three: a cell of a stored table (``data-table``, ``data-row``, ``data-column``), an aggregate of
cells (rows and columns separated by spaces, and ``data-how``), or a place in a document (``data-document``,
``data-pointer``). Rows of the 153 tests and of the extended ones are named by their id, other rows by their position in
the stored table. Tables are files of ``tables/``, except ``tests`` and ``extended`` beside them, ``registry``, the
declarations of both, and names that hold a folder, such as ``results/explorer/scores``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup, escape

from interp_assets.figures import wording

TESTS, EXTENDED, REGISTRY = "tests", "extended", "registry"
Read = Callable[[Any], str]
_TAGS = {"data": Markup("<data{}>{}</data>"), "span": Markup("<span{}>{}</span>")}


class Shown(str):
    """Text as any other, which a template writes inside an element that names its source."""

    html: Markup

    def __new__(cls, text: str, html: Markup) -> Shown:
        """Text with the element that shows it."""
        made = super().__new__(cls, text)
        made.html = html
        return made

    def __html__(self) -> Markup:
        return self.html

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (str(self), self.html))


def cell(value: Any, text: str, *, table: str, row: Any, column: str, pointer: str = "") -> str:
    """Number of one cell of a stored table; a missing one is plain text.

    ``pointer`` goes on into a cell that holds JSON.

    >>> cell(0.51234, "0.512", table="tests", row="A16.1", column="effect").__html__()
    Markup('<data value="0.51234" data-table="tests" data-row="A16.1" data-column="effect">0.512</data>')
    """
    if wording.is_missing(value):
        return text
    place = {"table": table, "row": row, "column": column, "pointer": pointer}
    return _element("data", text, {"value": _plain(value), **_data(place)})


def words(text: Any, *, table: str, row: Any, column: str, pointer: str = "") -> str:
    """Text of one cell of a stored or declared table, as it stands there; one without a digit needs no address.

    >>> words("greater", table="registry", row="A16.1", column="alternative")
    'greater'
    """
    written = str(text)
    if not any(character.isdigit() for character in written):
        return written
    return _element("span", written, _data({"table": table, "row": row, "column": column, "pointer": pointer}))


def aggregate(value: Any, text: str, *, table: str, rows: Iterable[Any], column: str, how: str) -> str:
    """Number made of several cells: their ``count``, ``min``, ``max`` or ``difference`` (first minus second).

    ``count`` leaves out missing cells; ``count=WORD`` counts the cells that hold that word. ``*`` stands for all rows.
    """
    if wording.is_missing(value):
        return text
    place = {"table": table, "row": " ".join(str(row) for row in rows), "column": column, "how": how}
    return _element("data", text, {"value": _plain(value), **_data(place)})


def spaced(text: Any) -> str:
    """Name of a column or kind as words.

    >>> spaced("mean_difference")
    'mean difference'
    """
    return str(text).replace("_", " ")


@dataclass(frozen=True, slots=True)
class StoredRow:
    """One row of a stored table, whose values become text with their address; no ``values`` where it is absent."""

    table: str
    row: Any
    values: Mapping[Any, Any]

    def number(self, column: str, read: Read = wording.number) -> str:
        """Number of a column as ``read`` writes it; the mark of a missing value where there is none."""
        value = self.values.get(column)
        return cell(value, read(value), table=self.table, row=self.row, column=column)

    def words(self, column: str, read: Read = str) -> str:
        """Text of a column as ``read`` writes it; empty where there is none."""
        value = self.values.get(column)
        if wording.is_missing(value) or value == "":
            return ""
        return words(read(value), table=self.table, row=self.row, column=column)

    def interval(self, low: str = "ci_low", high: str = "ci_high", digits: int = 3) -> str:
        """Interval of two columns; the mark of a missing value where either end is missing."""
        if wording.is_missing(self.values.get(low)) or wording.is_missing(self.values.get(high)):
            return wording.MISSING
        ends = [self.number(column, lambda value: wording.number(value, digits)) for column in (low, high)]
        return joined(ends[0], " to ", ends[1])


def stated(text: Any, place: str) -> str:
    """Sentence of a document of the evaluation, as it stands there; without a place it is plain text.

    ``place`` is the document, ``#`` and a JSON pointer (RFC 6901): ``claims.json#/claims/0/reasons/1``.
    """
    if not place:
        return str(text)
    document, _, pointer = place.partition("#")
    return _element("span", str(text), _data({"document": document, "pointer": pointer}))


def joined(*pieces: str) -> str:
    """Pieces one after the other; each keeps its source.

    >>> joined("from ", cell(2, "2", table="t", row=0, column="c")).__html__()
    Markup('from <data value="2" data-table="t" data-row="0" data-column="c">2</data>')
    """
    return Shown("".join(pieces), Markup("").join(pieces))


def listed(pieces: Sequence[str], between: str = ", ") -> str:
    """Pieces with ``between`` between them; each keeps its source."""
    return joined(*[part for piece in pieces for part in (between, piece)][1:])


def in_prose(pieces: Sequence[str]) -> str:
    """Pieces as prose: "a, b and c"; each keeps its source."""
    return joined(listed(pieces[:-1]), " and ", pieces[-1]) if len(pieces) > 1 else listed(pieces)


def constant(text: str) -> str:
    """Number of the method itself, such as a threshold, which no evaluation computes."""
    return Shown(text, Markup('<span class="constant">{}</span>').format(text))


def under(place: str, *steps: str | int) -> str:
    """Place of a key or position below another one; nowhere stays nowhere.

    >>> under("claims.json#/criteria", "a/b", 0), under("", "a")
    ('claims.json#/criteria/a~1b/0', '')
    """
    return place and place + "".join(f"/{str(step).replace('~', '~0').replace('/', '~1')}" for step in steps)


def _element(tag: str, text: str, attributes: dict[str, str]) -> str:
    written = Markup("").join(Markup(' {}="{}"').format(name, value) for name, value in attributes.items())
    return Shown(text, _TAGS[tag].format(written, escape(str(text))))


def _data(place: dict[str, Any]) -> dict[str, str]:
    kept = ("row", "column") if "table" in place else ("pointer",)
    return {f"data-{key}": str(value) for key, value in place.items() if key in kept or str(value) != ""}


def _plain(value: Any) -> str:
    if isinstance(value, str):
        return value
    return str(int(value)) if isinstance(value, bool) else repr(value.item() if hasattr(value, "item") else value)

"""Walk over a report page: every element that names a stored value, and every digit that stands outside of one."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from qc_standards import standards
from qc_standards.extended import extended_tests
from qc_standards.published import contradictions
from qc_standards.registry import declared_tests

# Digits of the page itself: no evaluation computes them. Ids, hashes and names of files stand in code or in links.
CONSTANTS = re.compile(
    r"95% CI|95% interval|at p = 1|over the declared family A of 95 tests|the 153 declared tests|^E\d+\. $"
    r"|QCS-\d+|sha256|[AE]\d+\.\d+"
)
PLACES = ("code", "pre", "svg", "figcaption", "select", "script", "dt")
VOID = frozenset({"meta", "input", "br", "img", "hr", "link"})
ADDRESS = ("table", "row", "column", "how", "pointer", "document")
NUMBER = re.compile(r"^[<>]?([+-]?[\d,]*\.?\d+(?:e[+-]?\d+)?)( ?%)?$")


@dataclass
class Node:
    """One element with its attributes, its parent and the text in it."""

    tag: str
    attrs: dict[str, str]
    parent: Node | None
    text: str = ""

    def up(self):
        node = self
        while node is not None:
            yield node
            node = node.parent

    def inherited(self, name: str) -> str | None:
        return next((node.attrs[name] for node in self.up() if name in node.attrs), None)

    @property
    def sourced(self) -> bool:
        return "data-column" in self.attrs or "data-document" in self.attrs


class Walk(HTMLParser):
    """All sourced elements of a page, and its text nodes with the element they stand in."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.here: Node | None = None
        self.sourced: list[Node] = []
        self.texts: list[tuple[Node, str]] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        node = Node(tag, dict(attrs), self.here)
        if tag in VOID:
            return
        self.here = node
        if node.sourced:
            self.sourced.append(node)

    def handle_endtag(self, tag):
        assert self.here is not None
        assert self.here.tag == tag, f"</{tag}> closes <{self.here.tag}>"
        self.here = self.here.parent

    def handle_data(self, data):
        if self.here is None:
            return
        self.texts.append((self.here, data))
        for node in self.here.up():
            node.text += data if node.sourced else ""


@dataclass
class Stored:
    """Where addresses lead: stored tables by name, with the column that names a row, and documents by file."""

    table: Callable[[str], pd.DataFrame]
    document: Callable[[str], Any]
    loaded: dict[str, Any] = field(default_factory=dict)

    def frame(self, name: str) -> dict[str, dict[str, Any]]:
        """Rows by id for tests, extended rows and declarations, else by position."""
        if name not in self.loaded:
            frame = self.table(name)
            keys = frame["test_id"] if name in {"tests", "extended", "registry"} else frame.get("id", frame.index)
            self.loaded[name] = dict(zip(map(str, keys), frame.to_dict("records"), strict=True))
        return self.loaded[name]


def resolve(node: Node, stored: Stored) -> Any:
    """Stored value that an element names."""
    at = {name: node.inherited(f"data-{name}") if name in ("table", "row") else None for name in ADDRESS}
    at |= {name: node.attrs[f"data-{name}"] for name in ADDRESS if f"data-{name}" in node.attrs}
    if at["document"]:
        return pointed(stored.document(at["document"]), at["pointer"] or "")
    rows = stored.frame(at["table"])
    keys = list(rows) if at["row"] == "*" else at["row"].split()
    cells = [rows[key][column] for key in keys for column in at["column"].split()]
    if at["how"]:
        return aggregated(at["how"], cells)
    (cell,) = cells
    return pointed(json.loads(cell), at["pointer"]) if at["pointer"] else cell


def pointed(document: Any, pointer: str) -> Any:
    """RFC 6901."""
    for step in pointer.split("/")[1:]:
        key = step.replace("~1", "/").replace("~0", "~")
        document = document[key] if isinstance(document, Mapping) else document[int(key)]
    return document


def aggregated(how: str, cells: list[Any]) -> Any:
    if how.startswith("count="):
        return sum(str(cell) == how.removeprefix("count=") for cell in cells)
    present = [cell for cell in cells if not pd.isna(cell)]
    if how == "difference":
        first, second = cells
        return first - second
    return {"count": len, "min": min, "max": max}[how](present)


def fault(node: Node, stored: Stored) -> str:
    """What is wrong between an element and its stored value; empty where they agree."""
    value = resolve(node, stored)
    if node.tag != "data":
        return "" if same_text(node.text, value) else f"reads {node.text!r}, stored {value!r}"
    if float(node.attrs["value"]) != float(value):
        return f"value {node.attrs['value']}, stored {value!r}"
    found = NUMBER.match(node.text)
    if not found:
        return "" if node.text in {"∞", "-∞"} and math.isinf(value) else f"{node.text!r} is no number"
    if abs(float(found[1].replace(",", "")) / (100 if found[2] else 1) - float(value)) > half_unit(found) * (1 + 1e-9):
        return f"reads {node.text!r}, stored {value!r}"
    return ""


def half_unit(found: re.Match[str]) -> float:
    """Half of the last shown digit."""
    digits, _, power = found[1].partition("e")
    decimals = len(digits.partition(".")[2])
    return 0.5 * 10.0 ** (int(power or 0) - decimals) / (100 if found[2] else 1)


def same_text(text: str, value: Any) -> bool:
    """Text as stored; names may be written with spaces, cut where they say so, and JSON values as JSON."""
    told = value if isinstance(value, str) else str(value)
    options = {told, told.replace("_", " "), " ".join(told.split())}
    if not isinstance(value, str):
        options.add(json.dumps(value, sort_keys=True, default=str))
        options.add(json.dumps(value, default=str))
    return text in options or (text.endswith("…") and told.startswith(text[:-1]))


def registry_frame(specs):
    rows = [
        {
            "test_id": spec.test_id,
            **{name: getattr(spec, name) for name in ("analysis_no", "analysis", "hypothesis", "test_type")},
            **{name: getattr(spec, name) for name in ("comparison", "alternative", "resampling_unit", "local_family")},
            **{f"published_{name}": value for name, value in spec.published.items()},
        }
        for spec in specs
    ]
    return pd.DataFrame(rows)


def packaged(name, specs):
    """Tables and documents that come with the package rather than with an evaluation."""
    if name == "registry":
        return registry_frame(specs)
    if name == "contradictions":
        return pd.DataFrame([{"id": each.id, "sentence": each.sentence} for each in contradictions()])
    if name.startswith("standards/"):
        path = next(Path(standards.__file__).parent.glob(f"standards/{name.removeprefix('standards/')}*.yaml"))
        return yaml.safe_load(path.read_text())
    return None


def stored_folder(folder):
    specs = (*declared_tests(), *extended_tests())

    def table(name):
        own = folder / f"{name}.parquet"
        if "/" not in name and name not in {"tests", "extended"}:
            own = folder / "tables" / f"{name}.parquet"
        if own.with_suffix(".csv").is_file() and not own.is_file():
            return pd.read_csv(own.with_suffix(".csv"))
        return pd.read_parquet(own) if own.is_file() else packaged(name, specs)

    def document(name):
        path = folder / name
        if not path.is_file():
            return packaged(name, specs)
        text = path.read_text(encoding="utf-8")
        return json.loads(text) if path.suffix == ".json" else text.strip().removeprefix("not drawn: ")

    return Stored(table, document)


def unsourced(page):
    """Texts with a digit in the main part that no stored value stands behind."""
    for node, text in page.texts:
        above = list(node.up())
        main = any(each.tag == "main" for each in above)
        classes = " ".join(each.attrs.get("class", "") for each in above).split()
        if not main or not re.search(r"\d", CONSTANTS.sub("", text)):
            continue
        if any(each.sourced or each.tag in PLACES for each in above) or "constant" in classes or "id" in classes:
            continue
        yield text.strip()


def faults_of(folder):
    """What is wrong with the report of a results folder: elements unlike its files, numbers without a source."""
    page, stored = Walk((folder / "report.html").read_text(encoding="utf-8")), stored_folder(folder)
    assert page.sourced
    differing = [f"{node.attrs}: {wrong}" for node in page.sourced if (wrong := fault(node, stored))]
    return [*differing, *(f"without a source: {text}" for text in unsourced(page))]

"""Where a claim or a standard is written down: file and line, as reports of CI name them.

What belongs here: places in files. What does not: reading what the files say (`qc_standards.assertions`,
`qc_standards.standards`).
"""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal

import yaml

from qc_standards.claims import CLAIMS_FILE
from qc_standards.standards import STANDARDS_FOLDER

PACKAGE_FOLDER: Final = STANDARDS_FOLDER.parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A line of a file. ``base`` says what ``uri`` is relative to; ``absolute`` where it is relative to nothing."""

    base: Literal["checkout", "package", "absolute"]
    uri: str
    line: int


def checkout_root() -> Path:
    """Folder that paths of the user are told relative to: the workspace of a workflow, else the current folder."""
    return Path(os.environ.get("GITHUB_WORKSPACE") or Path.cwd()).resolve()


def place_of(path: Path, line: int) -> Place:
    """Place of a user's or a shipped file, relative to the checkout or to the package where it lies in one."""
    full = path.resolve()
    if full.is_relative_to(PACKAGE_FOLDER):
        return Place(base="package", uri=full.relative_to(PACKAGE_FOLDER).as_posix(), line=line)
    if full.is_relative_to(checkout_root()):
        return Place(base="checkout", uri=full.relative_to(checkout_root()).as_posix(), line=line)
    return Place(base="absolute", uri=full.as_uri(), line=line)


def entry_lines(node: yaml.Node | None, key: str) -> Mapping[str, int]:
    """Line of each ``id`` in the list under a top-level key of a composed YAML file."""
    lines: dict[str, int] = {}
    for name, value in node.value if isinstance(node, yaml.MappingNode) else ():
        if name.value == key and isinstance(value, yaml.SequenceNode):
            entries = [pair for entry in value.value if isinstance(entry, yaml.MappingNode) for pair in entry.value]
            lines |= {item.value: item.start_mark.line + 1 for label, item in entries if label.value == "id"}
    return MappingProxyType(lines)


@functools.cache
def _declared_lines() -> Mapping[str, int]:
    return entry_lines(yaml.compose(CLAIMS_FILE.read_text(encoding="utf-8"), Loader=yaml.SafeLoader), "claims")


def claim_place(claim: str) -> Place:
    """Line that declares a claim in the shipped registry."""
    return place_of(CLAIMS_FILE, _declared_lines()[claim])


def standard_place(standard: str, folder: Path = STANDARDS_FOLDER) -> Place:
    """Line of a standard's file that names its id."""
    path = next(iter(sorted(folder.glob(f"{standard}_*.yaml"))))
    lines = path.read_text(encoding="utf-8").splitlines()
    named = (number for number, line in enumerate(lines, start=1) if line.startswith("id:"))
    return place_of(path, next(named, 1))

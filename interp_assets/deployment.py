"""Settings of one deployment: the optional file ``platform.yaml``, split into the sections of its readers.

What belongs here: where the file is looked for, which sections there are, and that nothing in it is overlooked. What
does not: what a section means; its reader judges its keys (`discovery.sources`, `automation`, `notices`, `executors`).
Nothing in this file is a secret: those come from the environment.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from interp_assets.cells.declared import Declaration, DeclarationError, read_declaration

if TYPE_CHECKING:
    from interp_assets.settings import Folders

FILE = "platform.yaml"
VARIABLE = "INTERP_PLATFORM"
# Sections written as `key: value` lines, and those written as a list of such mappings.
MAPPINGS = ("runs", "notify", "executor")
LISTS = ("sources",)


@dataclass(frozen=True, slots=True)
class Deployment:
    """What ``platform.yaml`` says, section by section and as written; without the file, every section is empty.

    ``path`` is the file, or None where there is none. Sections are handed out as copies, so that no reader can change
    what the next one sees.
    """

    path: Path | None = None
    _mappings: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: MappingProxyType({}))
    _lists: Mapping[str, tuple[Mapping[str, Any], ...]] = field(default_factory=lambda: MappingProxyType({}))

    def section(self, name: str) -> Mapping[str, Any]:
        """A section written as ``key: value`` lines; empty where it is absent.

        Raises
        ------
        KeyError
            When ``name`` is no such section: a slip of the caller, not of the file.
        """
        _known(name, MAPPINGS)
        return copy.deepcopy(dict(self._mappings.get(name, {})))

    def entries(self, name: str) -> tuple[Mapping[str, Any], ...]:
        """The mappings of a section written as a list; empty where it is absent.

        Raises
        ------
        KeyError
            When ``name`` is no such section: a slip of the caller, not of the file.
        """
        _known(name, LISTS)
        return tuple(copy.deepcopy(dict(entry)) for entry in self._lists.get(name, ()))

    def declaration(self, name: str) -> Declaration:
        """A section written as ``key: value`` lines, to be read key by key; its errors name file and full key."""
        return Declaration(self._named, f"{name}.", self.section(name))

    def declarations(self, name: str) -> tuple[Declaration, ...]:
        """The mappings of a section written as a list, each to be read key by key."""
        return tuple(
            Declaration(self._named, f"{name}[{position}].", entry) for position, entry in enumerate(self.entries(name))
        )

    @property
    def _named(self) -> Path:
        return self.path or Path(FILE)


def _known(name: str, sections: tuple[str, ...]) -> None:
    if name not in sections:
        raise KeyError(f"{name} is none of the sections {', '.join(sections)} of {FILE}")


def read_deployment(folders: Folders) -> Deployment:
    """Settings of this deployment: the file that INTERP_PLATFORM names, else ``platform.yaml`` in the config folder.

    Raises
    ------
    DeclarationError
        When the file that INTERP_PLATFORM names is absent, when a file is not YAML or writes a key twice, holds an
        unknown section, or a section of the wrong form; the message names file, key and what is known.
    """
    path = _place(folders)
    if path is None or _says_nothing(path):
        return Deployment(path)
    declared = read_declaration(path)
    mappings = {name: declared.mapping(name) for name in MAPPINGS}
    lists = {name: _entries(declared, name) for name in LISTS}
    declared.finish()
    return Deployment(path, MappingProxyType(mappings), MappingProxyType(lists))


def _place(folders: Folders) -> Path | None:
    named = os.environ.get(VARIABLE)
    if named:
        path = Path(named).resolve()
        if not path.is_file():
            raise DeclarationError(f"{path}: no such file, though {VARIABLE} names it. Correct or unset the variable.")
        return path
    if folders.config is None or not (folders.config / FILE).exists():
        return None
    return folders.config / FILE


def _says_nothing(path: Path) -> bool:
    """Whether every line is blank or a comment, as in a template whose settings are all commented out."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return False  # the reader of declarations says what is wrong
    return all(not line.strip() or line.lstrip().startswith("#") for line in lines)


def _entries(declared: Declaration, name: str) -> tuple[Mapping[str, Any], ...]:
    declared.sections(name)  # refuses everything but a list of mappings
    return tuple(dict(entry) for entry in declared.value(name)) if declared.has(name) else ()

"""Reading of declared YAML: every problem becomes one error that names the file, the key and what is allowed.

Belongs here: what datasets and studies share when they are read. What a key means belongs to the reader of
that kind of file.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import yaml

from qc_standards.yaml_text import plain_yaml


class DeclarationError(ValueError):
    """A declared YAML file is malformed; the message names the file, the key and the way out."""


def read_declaration(path: Path) -> Declaration:
    """Top-level mapping of a YAML file, ready to be read key by key.

    Raises
    ------
    DeclarationError
        If the file is absent, empty, not YAML, or not a mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise DeclarationError(f"{path}: cannot be read ({error.strerror}). Check the path.") from error
    except UnicodeDecodeError as error:
        raise DeclarationError(f"{path}: is not UTF-8 text. Save it as UTF-8 YAML.") from error
    try:
        content = plain_yaml(text)
    except yaml.YAMLError as error:
        raise DeclarationError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict) or not content:
        raise DeclarationError(f"{path}: holds no mapping. Write `key: value` lines.")
    return Declaration(path, "", content)


class Declaration:
    """A mapping being read key by key; `finish` refuses whatever was never asked for."""

    def __init__(self, path: Path, prefix: str, content: Mapping[Any, Any]) -> None:
        self.path = path
        self._prefix = prefix
        self._content = content
        self._seen: set[str] = set()

    def error(self, key: str, problem: str) -> DeclarationError:
        """Error that names the file and the full key."""
        return DeclarationError(f"{self.path}: key `{self._prefix}{key}`: {problem}")

    def has(self, key: str) -> bool:
        """Whether the key is written and not null."""
        return self._content.get(key) is not None

    def value(self, key: str) -> Any:
        """Value of a required key, of any type."""
        self._seen.add(key)
        if self._content.get(key) is None:
            raise self.error(key, "is missing. Add it.")
        return self._content[key]

    def text(self, key: str, default: str | None = None) -> str:
        """Non-empty text of a key; `default` (if not None) where the key is absent."""
        if default is not None and not self.has(key):
            self._seen.add(key)
            return default
        found = self.value(key)
        if not isinstance(found, str) or not found.strip():
            raise self.error(key, f"must be text, found {found!r}.")
        return found.strip()

    def choice(self, key: str, allowed: Collection[str], default: str | None = None) -> str:
        """Text of a key that must be one of `allowed`."""
        found = self.text(key, default)
        if found not in allowed:
            raise self.error(key, f"is {found!r}; allowed: {', '.join(allowed)}.")
        return found

    def integer(self, key: str, default: int | None = None, minimum: int = 0) -> int:
        """Whole number of a key, at least `minimum`."""
        if default is not None and not self.has(key):
            self._seen.add(key)
            return default
        found = self.value(key)
        if isinstance(found, bool) or not isinstance(found, int) or found < minimum:
            raise self.error(key, f"must be a whole number of at least {minimum}, found {found!r}.")
        return found

    def share(self, key: str, default: float) -> float:
        """Number between 0 and 1."""
        if not self.has(key):
            self._seen.add(key)
            return default
        found = self.value(key)
        if isinstance(found, bool) or not isinstance(found, int | float) or not 0 <= found <= 1:
            raise self.error(key, f"must be a number from 0 to 1, found {found!r}.")
        return float(found)

    def flag(self, key: str, default: bool) -> bool:
        """True or false."""
        if not self.has(key):
            self._seen.add(key)
            return default
        found = self.value(key)
        if not isinstance(found, bool):
            raise self.error(key, f"must be true or false, found {found!r}.")
        return found

    def texts(self, key: str) -> tuple[str, ...]:
        """Texts of a list; a single text counts as a list of one; absent gives none."""
        self._seen.add(key)
        found = self._content.get(key)
        if found is None:
            return ()
        items = [found] if isinstance(found, str) else found
        if not isinstance(items, list) or not all(isinstance(item, str) and item.strip() for item in items):
            raise self.error(key, f"must be a text or a list of texts, found {found!r}.")
        return tuple(item.strip() for item in items)

    def section(self, key: str) -> Declaration:
        """Mapping of a required key, to be read the same way."""
        found = self.value(key)
        if not isinstance(found, dict):
            raise self.error(key, f"must be a mapping, found {found!r}.")
        return Declaration(self.path, f"{self._prefix}{key}.", found)

    def sections(self, key: str) -> tuple[Declaration, ...]:
        """Mappings of a list; absent gives none."""
        self._seen.add(key)
        found = self._content.get(key)
        if found is None:
            return ()
        if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
            raise self.error(key, f"must be a list of mappings, found {found!r}.")
        return tuple(
            Declaration(self.path, f"{self._prefix}{key}[{position}].", item) for position, item in enumerate(found)
        )

    def mapping(self, key: str) -> dict[str, Any]:
        """Copy of a mapping whose keys another reader judges; absent gives an empty one."""
        self._seen.add(key)
        found = self._content.get(key)
        if found is None:
            return {}
        if not isinstance(found, dict) or not all(isinstance(name, str) for name in found):
            raise self.error(key, f"must be a mapping with text keys, found {found!r}.")
        return dict(found)

    def keys(self) -> tuple[str, ...]:
        """Names of all keys written here."""
        return tuple(str(key) for key in self._content)

    def finish(self) -> None:
        """Raise if a key was written that nothing reads."""
        unknown = [key for key in self.keys() if key not in self._seen]
        if unknown:
            known = ", ".join(sorted(self._seen))
            raise self.error(unknown[0], f"is not known here; known keys: {known}. Remove or rename it.")

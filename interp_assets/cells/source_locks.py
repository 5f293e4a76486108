"""Hashes of files that nobody could state beforehand: the first complete file is trusted, every later one must be it.

The lock file is JSON, source -> sha256 and size, without times, so that two people who fetched the same files hold the
same bytes. The program writes ``store/cells/.sources/lock.json``. A copy named ``locks.json`` in the configuration
folder is read first and never written: that is how a group commits the files it agreed on.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from interp_assets.cells.integrity import DataFileError
from interp_assets.exclusive import alone
from qc_standards.json_text import plain_json

_SHA256 = re.compile(r"[0-9a-f]{64}")

OWN_FILE = "lock.json"
GIVEN_FILE = "locks.json"


class LockedFileError(DataFileError):
    """The file is not the one that was trusted at first; the message names both hashes and the ways out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """What the first complete file of a source was; ``file`` is the lock file that says so."""

    sha256: str
    size: int
    file: Path


@dataclass(frozen=True, slots=True)
class Locks:
    """Lock files of one deployment: ``own`` is written, those of ``given`` are only read and come first."""

    own: Path
    given: tuple[Path, ...] = ()

    def find(self, key: str) -> Lock | None:
        """Lock of a source, if there is one."""
        for file in (*self.given, self.own):
            if found := _entries(file).get(key):
                return Lock(sha256=str(found["sha256"]), size=int(found["size"]), file=file)
        return None

    def keep(self, key: str, sha256: str, size: int) -> None:
        """Trust a file from now on."""
        with alone(self.own):
            self._write({**_entries(self.own), key: {"sha256": sha256, "size": size}})

    def remove(self, key: str) -> bool:
        """Whether the program's own lock file held the source and no longer does.

        Raises
        ------
        DataFileError
            Where a lock file of the configuration folder holds it: that one is its owner's to edit.
        """
        for file in self.given:
            if key in _entries(file):
                raise DataFileError(
                    f"{file}: holds the lock of {key}. Delete that entry there; it is never written here."
                )
        with alone(self.own):
            entries = _entries(self.own)
            if entries.pop(key, None) is None:
                return False
            self._write(entries)
        return True

    def check(self, key: str, path: Path, sha256: str, size: int, dataset: str) -> None:
        """Return only if a file is the trusted one; without a lock it becomes that.

        Raises
        ------
        LockedFileError
            Naming both hashes and the ways out.
        """
        lock = self.find(key)
        if lock is None:
            self.keep(key, sha256, size)
        elif lock.sha256 != sha256:
            raise LockedFileError(
                f"{path}: sha256 is {sha256} ({size:,} bytes), but {lock.sha256} ({lock.size:,} bytes) was trusted "
                f"first ({lock.file}). {key} changed, or the copy is damaged. Delete the copy to fetch it again; to "
                f"accept another file from now on, run `interp datasets unlock {dataset}`."
            )

    def _write(self, entries: Mapping[str, object]) -> None:
        text = json.dumps({"files": entries}, sort_keys=True, indent=1) + "\n"
        temporary = self.own.with_name(f".{self.own.name}.{os.getpid()}")
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(self.own)


def _is_lock(entry: Any) -> bool:
    digest, size = entry["sha256"], entry["size"]
    return isinstance(digest, str) and bool(_SHA256.fullmatch(digest)) and type(size) is int and size >= 0


def _entries(file: Path) -> dict[str, dict[str, Any]]:
    """Sources of one lock file; none where there is no file."""
    try:
        content = plain_json(file.read_bytes())
        entries = content["files"]
        if all(_is_lock(entry) for entry in entries.values()):
            return dict(entries)
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError, AttributeError, OSError):
        pass
    raise DataFileError(f"{file}: is no lock file (`files`, source -> sha256 and size). Repair it or delete it.")

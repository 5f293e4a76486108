"""One process at a time: the right to write a path, asked for by whoever is about to write it."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Hold the right to write ``path``; another process or thread that asks for it waits. It ends with the process."""
    path.parent.mkdir(parents=True, exist_ok=True)
    guard = path.with_name(f".{path.name}.guard")
    while True:
        with guard.open("a") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            if not _is_at(handle, guard):
                continue
            try:
                yield
            finally:
                guard.unlink(missing_ok=True)
            return


def _is_at(handle: TextIO, guard: Path) -> bool:
    """Whether the guard still lies there: whoever held it before took the file away, and nobody else looks at it."""
    try:
        return guard.stat().st_ino == os.fstat(handle.fileno()).st_ino
    except FileNotFoundError:
        return False

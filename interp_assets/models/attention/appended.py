"""Arrays that are made a part at a time and may be larger than memory.

What belongs here: where the numbers of a long array lie. What does not: what they mean (`encoded_blocks`, `plan`).
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from interp_assets.storage import writing

# An array up to this size stays in memory: 16 million tokens, 8,000 cells of 2,048.
HELD_BYTES = 64 * 2**20


class Appended:
    """A flat array made of parts: held in memory up to a bound, beyond it in a file that is mapped.

    The file has no name: it goes with the last reader of the array, or with the process, however that ends. ``folder``
    is where it lies (a disk with room for it); None leaves that to the system.
    """

    def __init__(self, dtype: DTypeLike, folder: Path | None = None, held_bytes: int | None = None) -> None:
        self._dtype, self._folder = np.dtype(dtype), folder or Path(tempfile.gettempdir())
        self._bound = HELD_BYTES if held_bytes is None else held_bytes
        self._parts: list[NDArray[Any]] = []
        self._file: IO[bytes] | None = None
        self.size = 0

    def append(self, part: NDArray[Any]) -> None:
        """Add the numbers of a part behind those that are there.

        Raises
        ------
        NotWrittenError
            Where the disk has no room for them.
        """
        self.size += part.size
        self._parts.append(np.ascontiguousarray(part, dtype=self._dtype))
        if self._file is None and self.size * self._dtype.itemsize <= self._bound:
            return
        with writing(self._folder / "tokens in a file without a name"):
            if self._file is None:
                self._folder.mkdir(parents=True, exist_ok=True)
                self._file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 - closed by `array`
            for held in self._parts:
                self._file.write(held.data)
            self._file.flush()
        self._parts.clear()

    def array(self) -> NDArray[Any]:
        """All numbers; those in a file can be read and not written."""
        if self._file is None:
            return np.concatenate([np.zeros(0, dtype=self._dtype), *self._parts])
        with self._file as file:
            return np.asarray(np.memmap(file, dtype=self._dtype, mode="r", shape=(self.size,)))

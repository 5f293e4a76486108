"""Results kept by the content they were computed from, for one process.

What belongs here: the bounded store and its key. What does not: any fit.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final

import numpy as np


class FitMemory:
    """Bounded store of results by the content of what they were computed from, oldest out first.

    What depends on the screen alone (gene-only predictions, correlation, power) is the same for every
    release; one process that evaluates several computes it once.
    """

    def __init__(self, megabytes: float = 128.0) -> None:
        self._limit = int(megabytes * 2**20)
        self._kept: OrderedDict[str, tuple[Any, int]] = OrderedDict()
        self._lock = threading.Lock()
        self.computed = 0

    def recall(self, key: str, compute: Callable[[], Any], size: Callable[[Any], int]) -> Any:
        """Result kept under ``key``, or that of ``compute``, kept if ``size`` (bytes) allows."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key][0]
        result = compute()
        with self._lock:
            self.computed += 1
            self._kept[key] = (result, size(result))
            while sum(taken for _, taken in self._kept.values()) > self._limit:
                self._kept.popitem(last=False)
        return result


def content_key(*parts: object) -> str:
    """Hex digest of arrays (dtype, shape, bytes) and of the ``repr`` of everything else."""
    digest = hashlib.blake2b(digest_size=20)
    for part in parts:
        if isinstance(part, np.ndarray):
            digest.update(f"{part.dtype}{part.shape}".encode())
            digest.update(np.ascontiguousarray(part).tobytes())
        else:
            digest.update(repr(part).encode())
        digest.update(b"|")
    return digest.hexdigest()


# One for the process. Keyed by content: sharing it changes when a result is computed, never the result.
SHARED_FITS: Final = FitMemory()

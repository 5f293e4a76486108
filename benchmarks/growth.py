"""How time and memory of one piece of work grow with its size; every size runs in a process of its own."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.paired import MIB, forget_peak, in_own_process, peak_bytes, processor_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """Work of several sizes. ``work(size)`` makes the data and returns what is timed.

    of : what the size counts ("genes"); sizes ascend.
    promise : what the curve has to show, in words.
    """

    path: str
    of: str
    sizes: Sequence[int]
    work: Callable[[int], Callable[[], Any]]
    promise: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One size: processor seconds, and MiB beyond the data of that size."""

    size: int
    seconds: float
    mib: float | None


def measure(growth: Growth) -> list[Point]:
    """Points of one curve, smallest size first."""
    return [in_own_process(_point, growth, size) for size in growth.sizes]


def _point(growth: Growth, size: int) -> Point:
    timed = growth.work(size)
    known = forget_peak()
    before = peak_bytes() if known else 0
    seconds = processor_seconds(timed)
    return Point(size=size, seconds=seconds, mib=(peak_bytes() - before) / MIB if known else None)


def exponent(points: Sequence[Point]) -> float:
    """Power of the size that seconds grow with between the last two points."""
    first, last = points[-2:]
    return math.log(last.seconds / first.seconds) / math.log(last.size / first.size)

"""Two ways of the same work, timed against each other round by round in one process, and their peak memory.

Times of different processes, and of whichever way runs first, do not compare. So every round runs both in an order
drawn anew, the ratio is taken within the round, and the median of the rounds is told with its range. Clocks count
processor seconds of this process and its children, which other work on the same cores stretches least. Memory is the
peak of a process of its own for each way, beyond what that process held with the data made and the way warmed up.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import pathlib
import resource
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Literal

import numpy as np

MIB = 1024.0**2
Better = Literal["at least", "at most"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ways:
    """One piece of work in two ways, on the same data.

    ours, theirs : without arguments; what they return goes to ``agree``.
    agree : one sentence on how well the two results agree; raises where they do not.
    share : part of the whole work that a call of ``theirs`` does (10 draws of 10,000: .001); its time is divided by it.
    once : what their way does once before its draws (fits), each time; its time is added whole.
    warm : what ``ours`` pays once a process (compilation); called before the first round.
    """

    ours: Callable[[], Any]
    theirs: Callable[[], Any]
    agree: Callable[[Any, Any], str]
    share: float = 1.0
    once: Callable[[], Any] | None = None
    warm: Callable[[], Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Path:
    """A hot path, what a user would run instead, and the ratio that is promised.

    ratio : time of theirs / time of ours for a goal ``at least``; time of ours / time of theirs for one ``at most``.
    why : where the goal is missed, by what; shown only then.
    """

    path: str
    against: str
    goal: float
    ways: Callable[[], Ways]
    better: Better = "at least"
    rounds: int = 5
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One path as it is written to ``results.json``; seconds are medians, of the whole work."""

    path: str
    against: str
    ratio: float
    low: float
    high: float
    goal: float
    better: Better
    met: bool
    ours_s: float
    theirs_s: float
    share: float
    rounds: int
    ours_mib: float | None
    theirs_mib: float | None
    agreement: str
    why: str


def measure(path: Path, rounds: int | None = None) -> Measured:
    """Ratio of a path over rounds, with memory and agreement.

    Raises
    ------
    AssertionError
        Where the two ways disagree: a fast wrong answer has no ratio.
    """
    ways, wanted = path.ways(), rounds or path.rounds
    if ways.warm is not None:
        ways.warm()
    if ways.once is not None:
        ways.once()
    agreement = ways.agree(ways.ours(), ways.theirs())
    ours, theirs, rng = [], [], np.random.default_rng(0)
    for _ in range(wanted):
        taken = {}
        for name in rng.permutation(["ours", "theirs"]).tolist():
            taken[name] = _whole_seconds(ways, name)
        ours.append(taken["ours"])
        theirs.append(taken["theirs"])
    at_least = path.better == "at least"
    ratios = [b / a if at_least else a / b for a, b in zip(ours, theirs, strict=True)]
    ratio = statistics.median(ratios)
    return Measured(
        path=path.path,
        against=path.against,
        ratio=ratio,
        low=min(ratios),
        high=max(ratios),
        goal=path.goal,
        better=path.better,
        met=bool(ratio >= path.goal if at_least else ratio <= path.goal),
        ours_s=statistics.median(ours),
        theirs_s=statistics.median(theirs),
        share=ways.share,
        rounds=wanted,
        ours_mib=peak(path.ways, "ours"),
        theirs_mib=peak(path.ways, "theirs"),
        agreement=agreement,
        why=path.why,
    )


def _whole_seconds(ways: Ways, name: str) -> float:
    """Processor seconds of the whole work in one way."""
    if name == "ours":
        return processor_seconds(ways.ours)
    once = processor_seconds(ways.once) if ways.once is not None else 0.0
    return once + processor_seconds(ways.theirs) / ways.share


def processor_seconds(work: Callable[[], Any]) -> float:
    """Processor seconds of one call, children that ended included."""
    before = _clock()
    work()
    return _clock() - before


def _clock() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def peak(ways: Callable[[], Ways], name: str) -> float | None:
    """Peak memory of one way beyond its data, MiB, in a process of its own; None where the system does not say."""
    return in_own_process(_peak_of, ways, name)


def _peak_of(ways: Callable[[], Ways], name: str) -> float | None:
    found = ways()
    if found.warm is not None and name == "ours":
        found.warm()
    if not forget_peak():
        return None
    before = peak_bytes()
    if found.once is not None and name == "theirs":
        found.once()
    getattr(found, name)()
    return (peak_bytes() - before) / MIB


def forget_peak() -> bool:
    """Set the peak of this process back to what it holds now; False where the system cannot."""
    try:
        # Memory that was freed but is still held would hide what is taken next.
        ctypes.CDLL(None).malloc_trim(0)
        pathlib.Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except (OSError, AttributeError):
        return False
    return True


def peak_bytes() -> int:
    """Largest resident memory of this process since it began or since `forget_peak`, bytes."""
    status = pathlib.Path("/proc/self/status").read_text(encoding="ascii")
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) * 1024


def in_own_process(work: Callable[..., Any], *arguments: Any) -> Any:
    """What ``work`` returns in a forked process.

    Raises
    ------
    RuntimeError
        With the error of the process, or where it ended without an answer.
    """
    forked = multiprocessing.get_context("fork")
    here, there = forked.Pipe(duplex=False)
    process = forked.Process(target=_answer, args=(there, work, arguments))
    process.start()
    there.close()
    try:
        ok, found = here.recv()
    except EOFError:
        ok, found = False, "it ended without an answer"
    process.join()
    if not ok:
        raise RuntimeError(f"{getattr(work, '__name__', work)} in a process of its own: {found}")
    return found


def _answer(there: Connection, work: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    try:
        there.send((True, work(*arguments)))
    except Exception as error:
        there.send((False, f"{type(error).__name__}: {error}"))
        os._exit(1)


def wall_seconds(work: Callable[[], Any]) -> float:
    """Seconds on the clock of the wall of one call."""
    before = time.perf_counter()
    work()
    return time.perf_counter() - before

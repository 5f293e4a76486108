"""The clock of the straightforward way: what an evaluation would take with our fast functions written plainly.

One evaluation runs. Each time it calls a function that has a straightforward twin, the call is timed, and of some calls
the twin does some of its parts for real: draws, rows, folds, cells, conditions. Their numbers must be ours; their time,
over the share that was done, is what the whole call would have taken that way. The evaluation goes on with our result,
so that hours of the other way are told from minutes. With ``full`` every part of every call is done.

What belongs here: choosing calls and parts, timing, comparing. What does not: the twins (the other files of this
folder).
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import importlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """One call in the straightforward way, as parts of about equal work.

    count : parts of the whole call; 0 for one that has no twin, which counts as ours.
    part : what part number i gives.
    ours : what the fast result says of part number i.
    in_order : parts follow each other in one stream of random numbers, so that only the first ones can be done alone.
    """

    count: int
    part: Callable[[int], Any]
    ours: Callable[[Any, int], Any]
    in_order: bool = False


def whole(value: Callable[[], Any]) -> Parts:
    """A call that is one part."""
    return Parts(count=1, part=lambda _: value(), ours=lambda found, _: found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stand:
    """A fast function and its straightforward twin.

    fast : ``module:function`` or ``module:Class.method``.
    twin : takes the same arguments, returns `Parts`.
    topic : what it is part of, in the words of the table.
    work : size of a call from its arguments, where the time of ours says nothing of it (a result that is kept from an
        earlier call); None takes the time of ours.
    kind : which calls have twins of like speed, from the arguments (the learner of a fit); they are counted apart.
    tolerance : largest difference of a number, beside its size or 1, whichever is larger.
    """

    fast: str
    twin: Callable[..., Parts]
    topic: str
    work: Callable[..., float] | None = None
    kind: Callable[..., str] | None = None
    tolerance: float = 1e-9


@dataclass(slots=True)
class Counted:
    """What was seen of one stand; seconds are of the processor.

    ``fast`` and ``work`` are time and size of all calls, also by the part of the evaluation that makes them;
    ``work_done`` is the size of those whose twin ran, ``plain`` the seconds of these twins over the share of their
    parts that was done, ``plain_spent`` without that division.
    """

    topic: str
    tolerance: float
    calls: int = 0
    fast: float = 0.0
    work: float = 0.0
    work_done: float = 0.0
    plain: float = 0.0
    plain_spent: float = 0.0
    spent: float = 0.0
    calls_done: int = 0
    parts_done: int = 0
    parts: int = 0
    worst: float = 0.0
    fast_at: dict[str, float] = field(default_factory=dict)
    work_at: dict[str, float] = field(default_factory=dict)

    @property
    def straightforward(self) -> float:
        """Seconds that all calls would take the straightforward way."""
        return self.plain * self.work / self.work_done if self.work_done > 0 else self.fast

    def straightforward_at(self, place: str) -> float:
        """Seconds of the calls of one part of the evaluation."""
        return self.straightforward * self.work_at.get(place, 0.0) / self.work if self.work > 0 else 0.0

    def count(self, place: str, took: float, size: float) -> None:
        """One more call of ours."""
        self.calls, self.fast, self.work = self.calls + 1, self.fast + took, self.work + size
        self.fast_at[place] = self.fast_at.get(place, 0.0) + took
        self.work_at[place] = self.work_at.get(place, 0.0) + size


class DisagreementError(AssertionError):
    """A twin gave another number than ours."""


@dataclass(slots=True)
class Clock:
    """Counts of every stand; also decides how much of the twins is done.

    share : seconds that the twin of a function may take beside our own in it; calls beyond are counted by the others.
    a_call : seconds after which the twin of one call does no further part.
    place : part of the evaluation that is running.
    spent : seconds of everything that is here for the comparison alone.
    """

    share: float = 0.1
    a_call: float = 0.5
    full: bool = False
    place: str = ""
    spent: float = 0.0
    counted: dict[str, Counted] = field(default_factory=dict)
    disagreed: list[str] = field(default_factory=list)
    _inside: int = 0

    def require_agreement(self) -> None:
        """Refuse times of two ways that gave other numbers.

        Raises
        ------
        DisagreementError
            Naming every part that differed by more than the tolerance of its function.
        """
        if self.disagreed:
            raise DisagreementError("; ".join(self.disagreed))

    def call(self, stand: Stand, fast: Callable[..., Any], given: Sequence[Any], named: Mapping[str, Any]) -> Any:
        """Result of the fast function; time of both ways is counted, unless it is called by another such function."""
        if self._inside:
            return fast(*given, **named)
        started = time.process_time()
        name = stand.fast if stand.kind is None else f"{stand.fast} ({stand.kind(*given, **named)})"
        seen = self.counted.setdefault(name, Counted(stand.topic, stand.tolerance))
        asked = self.full or seen.spent <= self.share * seen.fast + self.a_call
        kept = copied(given, named) if asked else None
        self._inside += 1
        before = after = time.process_time()
        try:
            found = fast(*given, **named)
            after = time.process_time()
            size = after - before if stand.work is None else stand.work(*given, **named)
            seen.count(self.place, after - before, size)
            if kept is not None:
                self._compare(stand, seen, found, size, kept)
        finally:
            self._inside -= 1
            used = time.process_time() - after
            seen.spent += used
            self.spent += used + before - started
        return found

    def _compare(
        self, stand: Stand, seen: Counted, found: Any, size: float, kept: tuple[tuple[Any, ...], dict[str, Any]]
    ) -> None:
        """Do parts of a twin, hold them against ours, and count them."""
        before = time.process_time()
        parts = stand.twin(*kept[0], **kept[1])
        if not parts.count:
            return
        setting_up, spent, done = time.process_time() - before, 0.0, 0
        for number in self._order(parts, seen.calls):
            before = time.process_time()
            plain = parts.part(number)
            spent += time.process_time() - before
            done += 1
            gap = difference(parts.ours(found, number), plain)
            seen.worst = max(seen.worst, gap)
            if not gap <= stand.tolerance:
                self.disagreed.append(f"{stand.fast}, call {seen.calls}, part {number}: differs by {gap:.3g}")
            if setting_up + spent > self.a_call and not self.full:
                break
        seen.calls_done, seen.parts_done, seen.parts = (
            seen.calls_done + 1,
            seen.parts_done + done,
            seen.parts + parts.count,
        )
        seen.plain += setting_up + (spent * parts.count / done if done else 0.0)
        seen.plain_spent += setting_up + spent
        seen.work_done += size

    def _order(self, parts: Parts, call: int) -> list[int]:
        """Parts in the order they are done: by chance, but where they follow each other."""
        if parts.in_order or self.full:
            return list(range(parts.count))
        return np.random.default_rng([call, parts.count]).permutation(parts.count).tolist()


def copied(given: Sequence[Any], named: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Arguments with generators of random numbers as they stand now; nothing else is changed by what it is given to."""

    def own(value: Any) -> Any:
        return copy.deepcopy(value) if isinstance(value, np.random.Generator) else value

    return tuple(map(own, given)), {name: own(value) for name, value in named.items()}


def difference(ours: Any, theirs: Any) -> float:
    """Largest difference of two results of one shape, beside their size or 1; infinite where they are not alike.

    Missing equals missing, infinite equals infinite. Arrays, numbers, sequences, mappings and records.
    """
    if dataclasses.is_dataclass(ours) and not isinstance(ours, type):
        ours = {each.name: getattr(ours, each.name) for each in dataclasses.fields(ours)}
        theirs = theirs if isinstance(theirs, Mapping) else {name: getattr(theirs, name) for name in ours}
    if isinstance(ours, Mapping):
        return max((difference(ours[name], value) for name, value in theirs.items()), default=0.0)
    if isinstance(ours, str | None):
        return 0.0 if ours == theirs else float("inf")
    if isinstance(ours, list | tuple):
        if len(ours) != len(theirs):
            return float("inf")
        return max((difference(one, other) for one, other in zip(ours, theirs, strict=True)), default=0.0)
    one, other = np.asarray(ours, dtype=np.float64), np.asarray(theirs, dtype=np.float64)
    if one.shape != other.shape:
        return float("inf")
    same = (one == other) | (np.isnan(one) & np.isnan(other))
    if same.all():
        return 0.0
    gap = np.abs(one - other) / np.maximum(1.0, np.abs(other))
    return float(np.where(same, 0.0, np.where(np.isnan(gap), np.inf, gap)).max())


@contextmanager
def standing_in(stands: Sequence[Stand], clock: Clock) -> Iterator[Clock]:
    """Count every call of the fast functions while inside, whatever module calls them and under whatever name."""
    undone: list[tuple[Any, str, Any]] = []
    wrapped: dict[int, tuple[Any, Any]] = {}
    for stand in stands:
        owner, name, fast = found_at(stand.fast)
        wrapper = _counting(stand, fast, clock)
        undone.append((owner, name, fast))
        setattr(owner, name, wrapper)
        wrapped[id(fast)] = (fast, wrapper)
    for module in [each for name, each in sys.modules.items() if name.startswith("interp_assets")]:
        for name, value in list(vars(module).items()):
            if id(value) in wrapped and wrapped[id(value)][0] is value:
                undone.append((module, name, value))
                setattr(module, name, wrapped[id(value)][1])
    try:
        yield clock
    finally:
        back = {id(wrapper): fast for fast, wrapper in wrapped.values()}
        for owner, name, value in undone:
            setattr(owner, name, value)
        # A module that was first imported meanwhile holds the counting function.
        for module in [each for name, each in sys.modules.items() if name.startswith("interp_assets")]:
            for name, value in list(vars(module).items()):
                if id(value) in back:
                    setattr(module, name, back[id(value)])


def found_at(address: str) -> tuple[Any, str, Any]:
    """Module or class, name, and what it names there."""
    module, _, path = address.partition(":")
    owner: Any = importlib.import_module(module)
    *classes, name = path.split(".")
    for each in classes:
        owner = getattr(owner, each)
    return owner, name, vars(owner)[name]


def _counting(stand: Stand, fast: Callable[..., Any], clock: Clock) -> Callable[..., Any]:
    @functools.wraps(fast)
    def call(*given: Any, **named: Any) -> Any:
        return clock.call(stand, fast, given, named)

    return call

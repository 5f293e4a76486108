"""One round of telling people: read what happened, write it down, send what is due.

What belongs here: the order of a round and when a message is tried again. What does not: what is told (`messages`),
how (`sending`), and when a round is due (`automation.notices`, `cli.notices`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from interp_assets import quarantine
from interp_assets.notices.messages import (
    NEEDED,
    NoticeError,
    digest,
    quarantine_key,
    quarantine_notices,
    transition_keys,
    verdict_notices,
)
from interp_assets.notices.outbox import OPEN, UNTOLD, Entry, Outbox, interrupted
from interp_assets.notices.records import Notice, NoticeSettings
from interp_assets.notices.sending import Answer, post
from interp_assets.notices.slack import slack_message

CHANGES = "verdict_changes.parquet"
# More than this many messages at once become one digest.
MOST_MESSAGES = 5
FIRST_PAUSE, LONGEST_PAUSE = 15.0, 3600.0
GIVE_UP_AFTER = 7 * 24 * 3600.0
Send = Callable[[str, dict[str, Any], str], Answer]


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What a round did: messages told, still waiting, and not told for good; ``problems`` are sentences for a log.

    ``unreadable`` are those of the problems for which events may have stayed unknown and untold.
    """

    told: tuple[Entry, ...] = ()
    waiting: tuple[Entry, ...] = ()
    untold: tuple[Entry, ...] = ()
    problems: tuple[str, ...] = ()
    unreadable: tuple[str, ...] = ()

    @property
    def due(self) -> float | None:
        """When the receiver may be asked again, in seconds since 1970; None when nothing waits."""
        return max((entry.due for entry in self.waiting), default=None)


def events(store: Path) -> str:
    """What changes when there may be something to tell: names, times and sizes of the files it is told from."""
    files = [store / CHANGES, *sorted((store / quarantine.FOLDER).glob("*.json"))]
    return "\n".join(line for line in map(_state, files) if line)


def _state(path: Path) -> str:
    try:
        found = path.stat()
    except OSError:
        return ""
    return f"{path.name} {found.st_size} {found.st_mtime_ns}"


def untold_notices(
    store: Path, settings: NoticeSettings, known: Iterable[str]
) -> tuple[list[Notice], list[Notice], list[str]]:
    """Notices of what happened and no key in ``known`` covers: those to tell, those below the minimum, and problems.

    Changes that cannot be read are a problem; quarantined releases are told all the same.
    """
    covered = set(known)
    records = quarantine.read(store)
    held = {name: record for name, record in records.items() if quarantine_key(record) not in covered}
    try:
        changes = _changes(store)
        fresh = changes[~transition_keys(changes).isin(covered)]
        every, wanted = verdict_notices(fresh), verdict_notices(fresh, settings.minimum)
    except NoticeError as error:
        return quarantine_notices(held), [], [str(error)]
    below = [notice for notice in every if notice not in wanted]
    return [*quarantine_notices(held), *wanted], below, []


def _changes(store: Path) -> pd.DataFrame:
    path = store / CHANGES
    if not path.is_file():
        return pd.DataFrame(columns=list(NEEDED))
    try:
        return pd.read_parquet(path, columns=list(NEEDED)).fillna("")
    except (OSError, ValueError, KeyError) as error:
        raise NoticeError(f"{path}: cannot be read ({error}); materialise `verdict_changes` again") from error


def collect(
    outbox: Outbox, store: Path, settings: NoticeSettings, now: float
) -> tuple[list[Entry], list[str], list[str]]:
    """Entries that wait to be told, after everything new was written down; what went wrong; what could not be read.

    More than `MOST_MESSAGES` of them become one digest. To be called inside `Outbox.locked`.
    """
    entries, problems = outbox.entries()
    for number, entry in enumerate(entries):
        if entry.state == "sending":
            entries[number] = outbox.write(interrupted(entry))
            problems.append(f"{entry.notice.title}: a process ended while it was sent; it is {_next(entries[number])}")
    wanted, below, unreadable = untold_notices(store, settings, _covered(entries))
    if below:
        passed = below[0] if len(below) == 1 else digest(below)
        outbox.write(Entry(notice=passed, state="passed over", since=now, answer=f"minimum: {settings.minimum}"))
    waiting = [entry for entry in entries if entry.state in OPEN]
    if len(wanted) + len(waiting) > MOST_MESSAGES:
        return [outbox.take_over(_merged(waiting, wanted, now), waiting)], problems, unreadable
    written = [outbox.write(Entry(notice=notice, since=now)) for notice in wanted]
    return [*waiting, *written], problems, unreadable


def preview(store: Path, settings: NoticeSettings) -> tuple[list[Entry], list[str]]:
    """Entries that a round would send or keep waiting, and what is wrong; nothing is written."""
    entries, problems = Outbox(store).entries()
    waiting = [interrupted(entry) if entry.state == "sending" else entry for entry in entries]
    waiting = [entry for entry in waiting if entry.state in OPEN]
    wanted, _, unreadable = untold_notices(store, settings, _covered(entries))
    problems += unreadable
    if len(wanted) + len(waiting) > MOST_MESSAGES:
        return [_merged(waiting, wanted, 0.0)], problems
    return [*waiting, *(Entry(notice=notice) for notice in wanted)], problems


def _covered(entries: Iterable[Entry]) -> set[str]:
    return {key for entry in entries for key in entry.notice.covers}


def _next(entry: Entry) -> str:
    return "sent again, marked as a possible repeat" if entry.state in OPEN else entry.state


def _merged(waiting: Sequence[Entry], wanted: Sequence[Notice], now: float) -> Entry:
    """One entry for all; it waits as long as what it replaces, and may be a repeat where that may be one."""
    return Entry(
        notice=digest([*(entry.notice for entry in waiting), *wanted]),
        attempts=max((entry.attempts for entry in waiting), default=0),
        repeated=any(entry.repeated for entry in waiting),
        since=min((entry.since for entry in waiting), default=now),
        due=max((entry.due for entry in waiting), default=0.0),
    )


def tell(store: Path, settings: NoticeSettings, address: str, now: Callable[[], float], send: Send = post) -> Round:
    """One round: collect, then send what waits; it never sleeps.

    Where the receiver cannot take a message now (no answer, 408, 425, 429, 5xx), everything waits: as long as it asks,
    else 15 s, doubled each time up to an hour, for a week. What was tried least goes first, so that a message which
    the receiver cannot digest holds no other back. Any other answer is final: the message is kept as ``refused``, to
    be sent again by a person (`again`), and the rest waits for the next round.

    Raises
    ------
    BusyError
        When another process is telling right now.
    """
    outbox = Outbox(store)
    with outbox.locked():
        waiting, problems, unreadable = collect(outbox, store, settings, now())
        problems += unreadable
        told, untold, left = [], [], sorted(waiting, key=lambda entry: entry.attempts)
        if any(entry.due > now() for entry in left):
            return Round(waiting=tuple(left), problems=tuple(problems), unreadable=tuple(unreadable))
        while left:
            done = _attempt(outbox, left.pop(0), settings.link, address, now, send)
            if done.state == "told":
                told.append(done)
                continue
            problems.append(f"{done.notice.title}: {done.state} ({done.answer})")
            (left if done.state == "waiting" else untold).append(done)
            break
        return Round(
            told=tuple(told),
            waiting=tuple(left),
            untold=tuple(untold),
            problems=tuple(problems),
            unreadable=tuple(unreadable),
        )


def _attempt(outbox: Outbox, entry: Entry, link: str, address: str, now: Callable[[], float], send: Send) -> Entry:
    """The entry after one attempt to send it; its file says ``sending`` meanwhile."""
    entry = outbox.write(replace(entry, state="sending", attempts=entry.attempts + 1))
    answer = send(address, slack_message(entry.notice, link, repeated=entry.repeated), entry.notice.id)
    return outbox.write(_after(entry, answer, now()))


def _after(entry: Entry, answer: Answer, now: float) -> Entry:
    if answer.outcome == "told":
        return replace(entry, state="told", told=now, answer=answer.said)
    if answer.outcome == "refused":
        return replace(entry, state="refused", answer=answer.said)
    pause = min(FIRST_PAUSE * 2 ** min(entry.attempts - 1, 20), LONGEST_PAUSE) if answer.wait is None else answer.wait
    late = now - entry.since > GIVE_UP_AFTER
    return replace(
        entry,
        state="given up" if late else "waiting",
        due=now + pause,
        answer=answer.said,
        repeated=entry.repeated or answer.unsure,
    )


def again(store: Path) -> int:
    """How many messages that were refused or given up wait once more, such as after the address was mended."""
    outbox = Outbox(store)
    with outbox.locked():
        untold = [entry for entry in outbox.entries()[0] if entry.state in UNTOLD]
        for entry in untold:
            outbox.write(replace(entry, state="waiting", attempts=0, interruptions=0, due=0.0))
        return len(untold)

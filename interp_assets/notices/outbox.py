"""What was told and what waits to be told: one small file a message in ``store/.notices``.

What belongs here: the files, their states, and the lock that lets one process tell at a time. What does not: what is
told (`messages`) and when (`telling`).

A message is told at least once, and in practice once. Its file says ``waiting`` before it is sent, ``sending`` while
it is sent, ``told`` after the receiver said so. Who finds ``sending`` knows that a process ended in between, and not
whether the message arrived: a webhook cannot be asked. It is then sent once more, marked as a possible repeat and with
the same id, because a lost "verdict lost" is worse than one that is read twice. After `MOST_INTERRUPTIONS` such ends
it is given up and named in the log: a message that brings its sender down must not do so for ever.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, get_args

from interp_assets.notices.records import Kind, Level, Notice
from interp_assets.storage import canonical_json, write_text
from qc_standards.json_text import plain_json

FOLDER = ".notices"
LOCK = ".lock"
ID_LENGTH = 16
MOST_INTERRUPTIONS = 2
State = Literal["waiting", "sending", "told", "refused", "given up", "passed over"]
OPEN: tuple[State, ...] = ("waiting", "sending")
UNTOLD: tuple[State, ...] = ("refused", "given up")


class BusyError(RuntimeError):
    """Another process is telling right now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A notice and what became of it; times are seconds since 1970.

    ``attempts`` counts sendings, ``interruptions`` those whose process ended before the answer. ``repeated``: an
    earlier attempt may have arrived. ``since`` is when it was written down, ``due`` when it may be sent next,
    ``answer`` what the receiver said last. ``replaces`` are the ids of waiting messages that a digest took over.
    """

    notice: Notice
    state: State = "waiting"
    attempts: int = 0
    interruptions: int = 0
    repeated: bool = False
    since: float = 0.0
    due: float = 0.0
    told: float = 0.0
    answer: str = ""
    replaces: tuple[str, ...] = ()


def key_of(*parts: str) -> str:
    """Key of an event from what makes it one."""
    return sha256("\x1f".join(parts).encode()).hexdigest()[:ID_LENGTH]


def notice_id(covers: Sequence[str]) -> str:
    """Id of a notice from the keys of the events it tells."""
    return key_of("notice", *sorted(covers))


class Outbox:
    """Messages of one store. Read freely; change only inside `locked`."""

    def __init__(self, store: Path) -> None:
        self.folder = store / FOLDER

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the outbox for one round; the lock ends with the process, however that ends.

        Raises
        ------
        BusyError
            When another process holds it.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / LOCK).open("ab") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise BusyError(f"{self.folder}: another process is telling people right now") from None
            yield

    def entries(self) -> tuple[list[Entry], list[str]]:
        """Entries, oldest first, and what is wrong with files that are none.

        A waiting entry that a digest took over is left out, also where the process ended before its file was removed.
        A damaged file counts as not there, so that its events are told again rather than never.
        """
        found, problems = [], []
        for path in sorted(self.folder.glob("*.json")):
            try:
                found.append(_entry(plain_json(path.read_bytes())))
            except (OSError, ValueError, TypeError, KeyError) as error:
                problems.append(f"{path}: no message can be read from it ({error}); what it told is told again")
        taken_over = {name for entry in found for name in entry.replaces}
        kept = [entry for entry in found if entry.state not in OPEN or entry.notice.id not in taken_over]
        return sorted(kept, key=lambda entry: (entry.since, entry.notice.id)), problems

    def write(self, entry: Entry) -> Entry:
        """The entry, once it is on disk."""
        write_text(self._path(entry.notice.id), canonical_json(_content(entry)))
        return entry

    def take_over(self, digest: Entry, waiting: Sequence[Entry]) -> Entry:
        """The digest, written down in place of messages that waited; at no moment is neither there."""
        names = tuple(sorted(entry.notice.id for entry in waiting if entry.notice.id != digest.notice.id))
        written = self.write(replace(digest, replaces=names))
        for name in names:
            self._path(name).unlink(missing_ok=True)
        return written

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.json"


def interrupted(entry: Entry) -> Entry:
    """What an entry found as ``sending`` becomes: waiting once more, or given up."""
    count = entry.interruptions + 1
    state: State = "waiting" if count < MOST_INTERRUPTIONS else "given up"
    return replace(
        entry, state=state, interruptions=count, repeated=True, due=0.0, answer="its sender ended before the answer"
    )


def _content(entry: Entry) -> dict[str, Any]:
    content = {field.name: getattr(entry, field.name) for field in fields(entry) if field.name != "notice"}
    return {**content, "notice": asdict(entry.notice)}


def _entry(content: dict[str, Any]) -> Entry:
    notice = dict(content.pop("notice"))
    notice = Notice(**{**notice, "lines": tuple(notice["lines"]), "covers": tuple(notice["covers"])})
    entry = Entry(**{**content, "notice": notice, "replaces": tuple(content["replaces"])})
    known = entry.state in get_args(State) and notice.kind in get_args(Kind) and notice.level in get_args(Level)
    if not known or notice.id != notice_id(notice.covers):
        raise ValueError("its state, kind, level or id is none of this platform's")
    return entry

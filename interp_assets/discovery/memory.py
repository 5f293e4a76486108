"""What is remembered of a source between two looks: one small JSON file, beside the releases it is about.

What belongs here: the cursor of a source (the commit up to which everything is settled), what became of every content
it ever listed, and the lock that keeps two looks apart. What does not: what to do next (`watch`).

The file lies in a hidden folder of the releases folder, so that the daemon, a person at the terminal and every machine
that shares the releases share it too. It is written atomically and may be deleted: the next look then starts from the
newest commit and recognises by their ids the releases that are there.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Final, Literal, get_args

from interp_assets.storage import canonical_json, write_text
from qc_standards.json_text import plain_json

FOLDER: Final = ".sources"
Outcome = Literal["here", "refused", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What became of one content of a source.

    ``here``: it is release ``name``. ``refused``: it breaks a rule and is not fetched again by itself. ``failed``: it
    could not be fetched, ``attempts`` times while the source answered.
    """

    outcome: Outcome
    release_id: str = ""
    name: str = ""
    place: str = ""
    commit: str = ""
    reason: str = ""
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class Memory:
    """Cursor of a source, what was settled by fingerprint, and which id was found last in which place."""

    commit: str = ""
    settled: Mapping[str, Settled] = field(default_factory=dict)
    places: Mapping[str, str] = field(default_factory=dict)

    def with_settled(self, fingerprint: str, outcome: Settled) -> Memory:
        """The same memory and one more outcome; where the release is here, its place is known too."""
        places = dict(self.places)
        if outcome.outcome == "here" and outcome.release_id:
            places[outcome.place] = outcome.release_id
        return replace(self, settled={**self.settled, fingerprint: outcome}, places=places)


def memory_file(releases: Path, key: str) -> Path:
    """File of a source."""
    return releases / FOLDER / f"{key}.json"


def remembered(releases: Path, key: str) -> Memory:
    """What is remembered of a source; nothing where there is no file.

    Raises
    ------
    ValueError
        If the file is damaged. Taken for nothing, it would be overwritten, and commits between two looks be missed.
    OSError
        If it cannot be opened.
    """
    path = memory_file(releases, key)
    try:
        content = plain_json(path.read_bytes())
        settled = {str(name): Settled(**entry) for name, entry in content["settled"].items()}
        if not all(map(_is_settled, settled.values())):
            raise ValueError("an outcome is none of this platform's")
        return Memory(str(content["commit"]), settled, {str(a): str(b) for a, b in content["places"].items()})
    except FileNotFoundError:
        return Memory()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        told = f"{path}: what was settled cannot be read ({type(error).__name__}: {error})"
        raise ValueError(f"{told}; remove the file, then the next look starts from the newest commit") from error


def _is_settled(entry: Settled) -> bool:
    texts = (entry.release_id, entry.name, entry.place, entry.commit, entry.reason)
    whole = type(entry.attempts) is int and entry.attempts >= 0
    return entry.outcome in get_args(Outcome) and whole and all(isinstance(text, str) for text in texts)


def remember(releases: Path, key: str, told: str, memory: Memory) -> None:
    """Write what is known of a source; ``told`` names it for people who open the file."""
    content = {
        "source": told,
        "commit": memory.commit,
        "places": dict(memory.places),
        "settled": {name: asdict(entry) for name, entry in memory.settled.items()},
    }
    write_text(memory_file(releases, key), canonical_json(content))


@contextmanager
def locked(releases: Path, key: str, *, wait: bool = False) -> Iterator[bool]:
    """Whether this process alone looks at a source while the context lasts; the lock ends with the process."""
    folder = releases / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{key}.lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        yield True

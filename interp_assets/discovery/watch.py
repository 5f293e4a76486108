"""One look at one source: what is new there is fetched, verified and put into the releases folder.

What belongs here: the order of things, what is remembered, and that a source which does not answer, a download that
breaks off and a release that breaks a rule each end as a line of the report and stop nothing else. What does not: how a
source is read (`folder_source`, `hub_source`), when a look happens (`automation.discovery`, `interp releases watch`).

The cursor of a source moves past a commit only when everything that the commit holds is settled: it is here, it is
known under another name, or it breaks a rule. What failed is tried again at the next look.
"""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Literal

from interp_assets.discovery.diff import Finding, Listed, Meaning, compare
from interp_assets.discovery.folder_source import folder_batch
from interp_assets.discovery.hub_source import download_folder, hub_batches, newest_commit
from interp_assets.discovery.memory import Memory, Outcome, Settled, locked, remember, remembered
from interp_assets.discovery.offers import Batch, FetchError, Offer, in_a_line
from interp_assets.discovery.sources import FolderSource, Source
from interp_assets.models.files.adding import AddError, NoRoomError, Request, add_release, refuse_full_disk
from interp_assets.models.files.file_rules import ReleaseFileError
from interp_assets.models.files.releases import RESERVED_NAME, find_releases, usable_name

# A release that never arrives although its source answers is given up, so that it does not hold the cursor for ever.
ATTEMPTS: Final = 5
# Room that is left for everything else.
SPARE_BYTES: Final = 200 * 2**20
Done = Literal["fetched", "failed", "nothing"]
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One finding and what was done about it; ``name`` is the release it became or is."""

    finding: Finding
    done: Done = "nothing"
    name: str = ""
    reason: str = ""

    @property
    def word(self) -> Meaning | Done:
        """What happened, in one word: ``fetched`` or ``failed``, else what the finding means."""
        return self.finding.meaning if self.done == "nothing" else self.done


@dataclass(slots=True)
class Look:
    """Report of one look; ``skipped`` is why it ended early or did not happen, empty where it went through."""

    source: Source
    found: list[Found] = field(default_factory=list)
    skipped: str = ""

    def having(self, word: str) -> list[Found]:
        """Findings that ended with one word (`Found.word`)."""
        return [entry for entry in self.found if entry.word == word]


def look_at(source: Source, releases: Path, *, again: bool = False, say: Say = lambda _: None) -> Look:
    """Look at a source once, fetch what is new, and say what was found; a source never raises.

    ``again`` tries what was refused or given up before once more. ``say`` is told before something long begins.
    """
    look = Look(source)
    try:
        with locked(releases, source.key) as alone:
            if not alone:
                look.skipped = "another look at it is under way"
                return look
            _go_through(source, releases, look, again, say)
    except (ValueError, OSError) as error:
        look.skipped = in_a_line(error)
    return look


def _go_through(source: Source, releases: Path, look: Look, again: bool, say: Say) -> None:
    memory, whole = remembered(releases, source.key), True
    told: set[tuple[str, str]] = set()
    for batch in _batches(source, memory, releases, again):
        for offer in batch.offers:
            listed = offer.listed
            content = (listed.place, listed.fingerprint or listed.reason)
            if content in told:  # a later commit that did not touch it
                continue
            told.add(content)
            found, outcome = _settled(source, releases, offer, memory, say)
            look.found.append(found)
            if outcome is not None:
                memory = memory.with_settled(listed.fingerprint, outcome)
                remember(releases, source.key, source.told, memory)
            whole = whole and found.done != "failed"
        if whole and batch.commit:
            memory = replace(memory, commit=batch.commit)
            remember(releases, source.key, source.told, memory)
    if whole:
        shutil.rmtree(download_folder(source, releases), ignore_errors=True)


def _batches(source: Source, memory: Memory, releases: Path, again: bool) -> Iterator[Batch]:
    if isinstance(source, FolderSource):
        return iter((folder_batch(source),))
    return hub_batches(source, memory, releases, again)


def known_releases(releases: Path, memory: Memory | None = None) -> dict[str, str]:
    """Id -> name of every complete release, and of those a source gave that were removed since."""
    settled = memory.settled.values() if memory is not None else ()
    removed = {entry.release_id: entry.name for entry in settled if entry.outcome == "here"}
    there = {release.release_id: release.name for release in find_releases(releases).complete}
    return removed | there


def awaits_fetch(
    source: FolderSource, releases: Path, known: Mapping[str, str]
) -> tuple[tuple[Listed, ...], tuple[str, ...]]:
    """What a watched folder holds that is to be fetched, and of what is incoming or refused where it is and why.

    Told by manifests; nothing is hashed.

    Raises
    ------
    OSError
        If the folder is absent or cannot be listed.
    """
    memory = remembered(releases, source.key)
    listed = [offer.listed for offer in folder_batch(source).offers]
    waiting, left = [], []
    for finding in compare(listed, known, memory.places):
        entry, before = finding.listed, memory.settled.get(finding.listed.fingerprint)
        if finding.meaning in ("incoming", "refused"):
            left.append(f"{entry.place} {finding.meaning}: {finding.reason}")
        elif finding.meaning == "new" and before is not None and before.outcome == "refused":
            left.append(f"{entry.place} refused: {before.reason}")
        elif finding.meaning == "new" and (before is None or before.outcome == "failed"):
            waiting.append(entry)
    return tuple(waiting), tuple(left)


def _settled(source: Source, releases: Path, offer: Offer, memory: Memory, say: Say) -> tuple[Found, Settled | None]:
    """Finding of one offer, fetched where it is new, with what is to be remembered of it."""
    known = known_releases(releases, memory)
    (finding,) = compare([offer.listed], known, memory.places)
    if offer.failure:
        return _failed(source, memory, offer.listed, finding, offer.failure)
    if finding.meaning == "new":
        return _fetched(source, releases, offer, finding, memory, known, say)
    return _told(finding)


def _told(finding: Finding) -> tuple[Found, Settled | None]:
    """A finding that asks for nothing; what is known or refused by its content is remembered."""
    listed = finding.listed
    found = Found(finding=finding, name=finding.same_as, reason=finding.reason)
    if finding.meaning == "incoming" or not listed.fingerprint:
        return found, None
    outcome: Outcome = "refused" if finding.meaning == "refused" else "here"
    return found, _outcome(outcome, listed, name=finding.same_as, reason=listed.reason)


def _outcome(
    outcome: Outcome, listed: Listed, *, release_id: str = "", name: str = "", reason: str = "", attempts: int = 0
) -> Settled:
    return Settled(
        outcome=outcome,
        release_id=release_id or listed.release_id,
        name=name,
        place=listed.place,
        commit=listed.commit,
        reason=reason,
        attempts=attempts,
    )


def _fetched(
    source: Source,
    releases: Path,
    offer: Offer,
    finding: Finding,
    memory: Memory,
    known: Mapping[str, str],
    say: Say,
) -> tuple[Found, Settled | None]:
    """A new release, brought in under a free name; or why not."""
    listed = offer.listed
    try:
        refuse_full_disk(releases, listed.size + SPARE_BYTES)
    except NoRoomError as error:
        return _no_room(finding, error)
    say(f"fetching {listed.place}{f' at {listed.commit[:12]}' if listed.commit else ''} ({listed.size / 1e6:,.1f} MB)")
    before = known.get(memory.places.get(listed.place, ""), "")
    try:
        arrived = offer.fetch()
        with locked(releases, "adding", wait=True):
            name = free_release_name(listed, releases, memory)
            added = add_release(arrived.folder, releases, _named(arrived.request, name, before), arrived.take)
    except NoRoomError as error:
        return _no_room(finding, error)
    except (FetchError, OSError) as error:
        if _disk_is_full(error):
            return _no_room(finding, error)
        return _failed(source, memory, listed, finding, in_a_line(error))
    except (AddError, ReleaseFileError) as error:
        told = in_a_line(error)
        refused = replace(finding, meaning="refused", reason=told)
        return Found(finding=refused, reason=told), _outcome("refused", listed, reason=told)
    if arrived.leftover is not None:
        shutil.rmtree(arrived.leftover, ignore_errors=True)
    release = added.release
    settled = _outcome("here", listed, release_id=release.release_id, name=release.name)
    if added.existing:
        moved = replace(finding, meaning="moved", reason=f"same files as release {added.existing}")
        return Found(finding=moved, name=added.existing, reason=moved.reason), settled
    return Found(finding=finding, done="fetched", name=release.name, reason=finding.reason), settled


def _named(request: Request, name: str, before: str) -> Request:
    """The request with the name it gets, and the release that the same place held before as a fact."""
    return replace(request, name=name, facts={**request.facts, **({"follows": before} if before else {})})


def _no_room(finding: Finding, error: BaseException) -> tuple[Found, Settled | None]:
    """A fetch for which this machine has no room: no attempt is counted, since the release is not at fault."""
    return Found(finding=finding, done="failed", reason=f"{in_a_line(error)}; it is tried again"), None


def _disk_is_full(error: BaseException | None) -> bool:
    """Whether an error goes back to a disk or a quota that is used up."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        error = error.__cause__ or error.__context__
    return False


def _failed(
    source: Source, memory: Memory, listed: Listed, finding: Finding, reason: str
) -> tuple[Found, Settled | None]:
    """A fetch to be tried again; given up after `ATTEMPTS` failures while the source answers."""
    if not _answers(source):
        return Found(finding=finding, done="failed", reason=reason), None
    before = memory.settled.get(listed.fingerprint)
    attempts = 1 + (before.attempts if before is not None and before.outcome == "failed" else 0)
    if attempts < ATTEMPTS:
        told = f"{reason} (attempt {attempts} of {ATTEMPTS})"
        return Found(finding=finding, done="failed", reason=told), _outcome(
            "failed", listed, reason=reason, attempts=attempts
        )
    told = f"given up after {attempts} attempts: {reason}"
    refused = replace(finding, meaning="refused", reason=told)
    return Found(finding=refused, reason=told), _outcome("refused", listed, reason=told, attempts=attempts)


def _answers(source: Source) -> bool:
    if isinstance(source, FolderSource):
        return source.path.is_dir()
    try:
        newest_commit(source)
    except (ValueError, OSError):
        return False
    return True


def free_release_name(listed: Listed, releases: Path, memory: Memory) -> str:
    """Name that no release has: the one it would like, then with its short commit, then numbered.

    A name is also taken by a folder that is still being copied, and by a release of this source that was removed: its
    results stay under that name.
    """
    taken = {path.name for path in releases.iterdir()} if releases.is_dir() else set()
    taken |= {release.name for release in find_releases(releases).complete}
    taken |= {entry.name for entry in memory.settled.values() if entry.name}
    wanted = listed.name[:80].strip("-.")
    if not usable_name(wanted) or RESERVED_NAME.fullmatch(wanted):
        wanted = f"release-{wanted}" if usable_name(f"release-{wanted}") else "release"
    mark = (listed.commit or listed.release_id)[:7]
    names = (wanted, f"{wanted}-{mark}", *(f"{wanted}-{mark}-{number}" for number in range(2, 1000)))
    return next(name for name in names if name not in taken)

"""What of a listing is new: a pure difference between what sources list and what is known.

What belongs here: records of what was listed and what that means. What does not: looking anywhere, or fetching.

Two things are one release when their ids are equal, whatever they are called and wherever they lie (see
`models.files.releases`). So a commit that changed a README lists what is known, a renamed folder lists the same id in
another place, and a changed dictionary lists a new id in the same place.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

State = Literal["complete", "incoming", "refused"]
Meaning = Literal["new", "unchanged", "moved", "incoming", "refused"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One folder of a source, at one commit where it has commits.

    ``release_id`` is empty where it is not known before a download; ``fingerprint`` then tells equal content apart.
    ``reason`` says what is awaited or which rule was broken.
    """

    source: str
    place: str
    name: str
    state: State = "complete"
    release_id: str = ""
    fingerprint: str = ""
    commit: str = ""
    size: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one listed folder means, with the reason in words; ``same_as`` names the release it is, where known."""

    listed: Listed
    meaning: Meaning
    reason: str
    same_as: str = ""


def compare(
    listed: Iterable[Listed], known: Mapping[str, str], places: Mapping[str, str] | None = None
) -> tuple[Finding, ...]:
    """Meaning of every listed folder, in the order listed.

    Parameters
    ----------
    listed
        What the sources hold, oldest commit first: of the same release twice the first counts as new.
    known
        Id of every release that is there already -> its name.
    places
        Place -> id found there at an earlier look; a known id in another place has moved.
    """
    at: dict[str, str] = dict(places or {})
    first: dict[str, str] = {}
    findings: list[Finding] = []
    for entry in listed:
        findings.append(_meaning(entry, known, at, first))
        if entry.state == "complete" and entry.release_id:
            at[entry.place] = entry.release_id
            first.setdefault(entry.release_id, entry.place)
    return tuple(findings)


def _meaning(entry: Listed, known: Mapping[str, str], at: Mapping[str, str], first: Mapping[str, str]) -> Finding:
    if entry.state == "incoming":
        return Finding(listed=entry, meaning="incoming", reason=entry.reason or "files are still awaited")
    if entry.state == "refused":
        return Finding(listed=entry, meaning="refused", reason=entry.reason or "breaks a rule of release folders")
    same_as = known.get(entry.release_id, "")
    if not same_as and entry.release_id not in first:
        was = at.get(entry.place, "")
        reason = f"other files than {known.get(was, 'before')} had here" if was else "files that no release holds yet"
        return Finding(listed=entry, meaning="new", reason=reason)
    earlier = [place for place, own_id in at.items() if own_id == entry.release_id]
    who = f"release {same_as}" if same_as else f"{first.get(entry.release_id, '')} of the same look"
    if entry.place in earlier or not earlier:
        return Finding(listed=entry, meaning="unchanged", reason=f"same files as {who}", same_as=same_as)
    told = f"same files as {who}, before in {earlier[0]}"
    return Finding(listed=entry, meaning="moved", reason=told, same_as=same_as)


def changed_files(found: Mapping[str, str], seen: Mapping[str, str]) -> tuple[str, ...]:
    """Names whose release id is another than the one seen before, sorted; a name not seen before is not among them."""
    return tuple(sorted(name for name, own_id in found.items() if seen.get(name, own_id) != own_id))

"""The judgements of one release in one study, in order: which snapshots there are, and when a new one is added.

What belongs here: reading, extending and checking ``history.json`` with the files it names; judging the numbers before
under the rules of now. What does not: what differs between two snapshots (`changes`).

``store/history/<study>/<release>/`` holds ``history.json``, ``snapshots/<hash>.json`` and ``evidence/<hash>.zip``.
The first names whose it is and carries the hash of its own content; that of format 1 carried none and is still read. An
entry is never altered but for its ``code``: where other code gave the same judgement, the newest that did is named.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from interp_assets.comparison.snapshot import JUDGING, Made, digest, evidence_archive, read_evidence, snapshot
from interp_assets.storage import StorageError, canonical_json
from qc_standards.json_text import plain_json

FORMAT = 2
WITHOUT_HASH = 1
FOLDER = "history"
HISTORY_FILE = "history.json"
WAY_OUT = "restore it from a copy, or move its folder away to begin the history anew"
JUDGED = ("release_kind", "data_origin", "headline", "claims", "criteria", "standards", "controls", "references")


@dataclass(frozen=True, slots=True)
class Judged:
    """One entry of a history: the snapshot, its name, the code behind it, and its place among the entries.

    ``rejudged`` are the states that the entry before has under the rules of this one; empty where the rules are the
    same, ``{"why_not": reason}`` where its numbers cannot be judged.
    """

    place: int
    name: str
    snapshot: Mapping[str, Any]
    code: Mapping[str, str]
    rejudged: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class History:
    """All judgements of one release in one study, oldest first."""

    study: str
    release: str
    folder: Path
    entries: tuple[Judged, ...]

    def evidence(self, entry: Judged) -> bytes | None:
        """Kept tests and tables behind an entry; None where they are gone.

        Raises
        ------
        StorageError
            When they are not those that the entry was judged by.
        """
        name = str(entry.snapshot["evidence"])
        path = self.folder / evidence_file(name)
        if not path.is_file():
            return None
        content = path.read_bytes()
        _as_named(path, content, name)
        return content


def snapshot_file(name: str) -> str:
    """File of a snapshot in the folder of its history."""
    return f"snapshots/{name}.json"


def evidence_file(name: str) -> str:
    """File of kept evidence in the folder of its history."""
    return f"evidence/{name}.zip"


def read_history(store: Path, study: str, release: str) -> History:
    """History of one release in one study; without entries where none was written.

    Raises
    ------
    StorageError
        When it is gone though its snapshots are there, cannot be read, was altered, is that of another release, or
        names a snapshot that is gone or altered: a history is not begun again in silence.
    """
    folder = store / FOLDER / study / release
    path = folder / HISTORY_FILE
    if not path.is_file():
        # one snapshot is what the first write leaves where it was cut off; more were named by a history
        if len(list(folder.glob(snapshot_file("*")))) > 1:
            raise StorageError(f"{path}: is gone, its snapshots are not; {WAY_OUT}")
        return History(study, release, folder, ())
    listed = _listed(path, study, release)
    try:
        entries = tuple(_entry(folder, place, item) for place, item in enumerate(listed))
    except (KeyError, TypeError) as error:
        raise StorageError(f"{path}: an entry that is none ({type(error).__name__}: {error}); {WAY_OUT}") from error
    return History(study, release, folder, entries)


def _listed(path: Path, study: str, release: str) -> list[Any]:
    """Entries as they stand in the file, which has to be whole and that of this release."""
    content = _json(path)
    listed = content.get("entries")
    if content.get("format") not in (WITHOUT_HASH, FORMAT) or not isinstance(listed, list):
        raise StorageError(f"{path}: no history of format {FORMAT}; {WAY_OUT}")
    named = content.get("study"), content.get("release")
    if named != (study, release):
        raise StorageError(f"{path}: is the history of {named[1]} in {named[0]}; {WAY_OUT}")
    told = content.pop("content_sha256", None)
    if (content["format"] == FORMAT or told is not None) and told != _sha256(content):
        raise StorageError(f"{path}: was altered after it was written; {WAY_OUT}")
    return listed


def _json(path: Path) -> dict[str, Any]:
    try:
        content = plain_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise StorageError(f"{path}: cannot be read ({error}); {WAY_OUT}") from error
    if not isinstance(content, dict):
        raise StorageError(f"{path}: is no JSON object; {WAY_OUT}")
    return content


def _as_named(path: Path, content: bytes, name: str) -> None:
    if digest(content) != name:
        raise StorageError(f"{path}: its content is not what its name says; restore it from a copy")


def _entry(folder: Path, place: int, item: Mapping[str, Any]) -> Judged:
    path = folder / snapshot_file(str(item["snapshot"]))
    found = _json(path)
    _as_named(path, path.read_bytes(), str(item["snapshot"]))
    return Judged(place, str(item["snapshot"]), found, dict(item["code"]), dict(item["rejudged"]))


def histories(store: Path, study: str) -> list[History]:
    """Histories of one study, by name of the release."""
    found = sorted(path.name for path in (store / FOLDER / study).glob("*") if path.is_dir())
    return [read_history(store, study, release) for release in found if not release.startswith(".")]


def identity(content: Mapping[str, Any]) -> str:
    """Name of what a snapshot says of a release, from which rules and files: the same for the same judgement."""
    lineage = {key: value for key, value in content["lineage"].items() if key != "stated"}
    return digest(canonical_json({key: content[key] for key in JUDGED} | {"lineage": lineage}).encode())


def rules_of(entry: Judged) -> tuple[str, str, str]:
    """What decides a state for given numbers: standards, claims, and the code that judges."""
    lineage = entry.snapshot["lineage"]
    code = " ".join(entry.code.get(name, "") for name in JUDGING)
    return (lineage["standards_hash"], lineage["claims_hash"], code)


def extended(history: History, results: Path, made: Made) -> dict[str, bytes]:
    """Files of the history with the judgement stored in ``results`` added, unless it is the one that stands last.

    ``history.json`` comes last, so that a write that was cut off names nothing that is not there.
    """
    archive = evidence_archive(results)
    content = snapshot(results, made, digest(archive))
    entries = list(history.entries)
    added: dict[str, bytes] = {}
    if entries and identity(entries[-1].snapshot) == identity(content):
        last = entries[-1]
        entries[-1] = Judged(last.place, last.name, last.snapshot, dict(made.code), last.rejudged)
    else:
        text = canonical_json(content).encode()
        new = Judged(len(entries), digest(text), content, dict(made.code), {})
        again = _rejudged(history, new, archive) if entries else {}
        entries.append(Judged(new.place, new.name, new.snapshot, new.code, again))
        added = {snapshot_file(new.name): text, evidence_file(str(content["evidence"])): archive}
    return _kept(history, entries) | added | {HISTORY_FILE: _history_text(history, entries)}


def _kept(history: History, entries: list[Judged]) -> dict[str, bytes]:
    names = {snapshot_file(entry.name) for entry in entries}
    names |= {evidence_file(str(entry.snapshot["evidence"])) for entry in entries}
    return {name: path.read_bytes() for name in sorted(names) if (path := history.folder / name).is_file()}


def _history_text(history: History, entries: list[Judged]) -> bytes:
    listed = [{"snapshot": entry.name, "code": dict(entry.code), "rejudged": dict(entry.rejudged)} for entry in entries]
    return history_text(history.study, history.release, listed)


def history_text(study: str, release: str, listed: Sequence[Mapping[str, Any]]) -> bytes:
    """Content of ``history.json`` for entries as they stand in it, with its own hash."""
    content = {"format": FORMAT, "study": study, "release": release, "entries": list(listed)}
    return canonical_json(content | {"content_sha256": _sha256(content)}).encode()


def _sha256(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(canonical_json(content).encode()).hexdigest()


def _rejudged(history: History, new: Judged, archive: bytes) -> dict[str, Any]:
    """States of the numbers of the last entry under the rules of the new one; empty where the rules are the same."""
    last = history.entries[-1]
    if rules_of(last) == rules_of(new):
        return {}
    kept = history.evidence(last)
    if kept is None:
        return {"why_not": "the numbers of the judgement before were not kept"}
    return judged_again(kept, archive)


def judged_again(numbers: bytes, controls: bytes) -> dict[str, Any]:
    """States of kept numbers under the standards and claims in force, beside the controls of another evaluation.

    Controls are judged by the rules in force too, so their outcomes are taken from the evaluation that was judged by
    these. ``{"why_not": reason}`` where the numbers do not have the form that is judged now.
    """
    from qc_standards.gate import judge_tables

    try:
        frames, now = read_evidence(numbers), read_evidence(controls)
        tests, more = frames.pop("tests"), frames.pop("extended", None)
        frames.pop("control_outcomes", None)
        if "control_outcomes" in now:
            frames["control_outcomes"] = now["control_outcomes"]
        judgement = judge_tables(tests, frames, extended=more)
    except (ValueError, KeyError, OSError) as error:
        return {"why_not": f"the numbers before cannot be judged by the rules of now ({error})"}
    return {
        "claims": {name: str(verdict.state) for name, verdict in judgement.verdicts.items()},
        "labels": {name: verdict.label for name, verdict in judgement.verdicts.items()},
        "criteria": {name: str(found.outcome) for name, found in judgement.criteria.items()},
        "standards": {found.id: str(found.outcome) for found in judgement.standards},
    }

"""Releases that are left alone because their own evaluation failed, and why: one small file each in the store.

What belongs here: reading, writing and lifting the records, and the state of the files they hold for. What does not:
when a release is put there (`automation.failures`), or what asks for its evaluation (`automation`).

A record holds until the files of the release change or a person lifts it; nothing else that happens to the release, the
code or the data does. It is one of the few files of the store with a time in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, get_args

from interp_assets.models.files.checkpoints import ReleaseFile, listed_files, read_json
from interp_assets.models.files.file_rules import ReleaseFileError
from interp_assets.models.files.releases import MANIFEST, MANIFEST_LIMIT, release_id, usable_name
from interp_assets.storage import canonical_json, write_text
from qc_standards.json_text import plain_json

FOLDER = "quarantine"
LONGEST_REASON = 2000
Kind = Literal["release", "infrastructure"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantined:
    """Why one release is left alone.

    ``stage`` says in words what failed, ``asset`` and ``partition`` where, ``run_id`` in which run of the history.
    ``kind`` is "release" where its own files or numbers are at fault, "infrastructure" where retries of a lost worker,
    a full disk or a time limit were used up. ``since`` is an ISO time in UTC. ``files`` is the state of its files when
    it failed (`files_state`); ``release_id`` what their manifest states, empty where it states nothing readable.
    """

    release: str
    release_id: str
    stage: str
    asset: str
    partition: str
    kind: Kind
    reason: str
    run_id: str
    since: str
    files: str = ""


def read(store: Path) -> dict[str, Quarantined]:
    """Quarantined releases by name, sorted; a damaged record still keeps its release there and says so."""
    found = {}
    for path in sorted((store / FOLDER).glob("*.json")):
        if usable_name(path.stem):
            found[path.stem] = _record(path)
    return found


def _record(path: Path) -> Quarantined:
    """Record of one file; what cannot be read is told as its reason, since a gate fails closed."""
    names = [field.name for field in fields(Quarantined)]
    try:
        content = plain_json(path.read_bytes())
        values = {name: str(content[name]) for name in names if name in content}
        record = Quarantined(**values)  # type: ignore[arg-type]
        if record.kind not in get_args(Kind) or record.release != path.stem:
            raise ValueError("its kind or its release is not what the file name says")
    except (OSError, ValueError, TypeError) as error:
        told = f"{path}: this record cannot be read ({error}); `interp quarantine lift {path.stem}` removes it"
        unknown = dict.fromkeys(names, "")
        record = Quarantined(**{**unknown, "release": path.stem, "kind": "release", "reason": told})  # type: ignore[arg-type]
    return record


def write(store: Path, record: Quarantined) -> Path:
    """Path of the record, written atomically; a release that is there already keeps its first reason."""
    path = _path(store, record.release)
    if not path.exists():
        content = {**asdict(record), "reason": record.reason[:LONGEST_REASON]}
        write_text(path, canonical_json(content))
    return path


def lift(store: Path, release: str) -> bool:
    """Let a release be evaluated again; False when it was not in quarantine."""
    path = _path(store, release)
    if not path.is_file():
        return False
    path.unlink()
    return True


def _path(store: Path, release: str) -> Path:
    if not usable_name(release):
        raise ValueError(f"{release!r} is no name of a release: use letters, digits, '-', '_' and '.'")
    return store / FOLDER / f"{release}.json"


def folder_of(releases: Path, name: str) -> Path | None:
    """Folder of the release called ``name``, found by its manifest or else by the name of the folder; None if gone."""
    folders = [path for path in sorted(releases.glob("*")) if path.is_dir() and not path.name.startswith(".")]
    for folder in folders:
        if _manifest(folder).get("name") == name:
            return folder
    return next((folder for folder in folders if folder.name == name), None)


def stated_id(folder: Path | None) -> str:
    """Release id that the manifest states, unverified; empty where it states none."""
    manifest = _manifest(folder)
    files = _listed(folder, manifest)
    return release_id(str(manifest.get("family")), files) if files else ""


def files_state(folder: Path | None) -> str:
    """Hash over the manifest and the size and time of every file it lists: changes when a file is copied again.

    No content is read but the manifest's, so that it costs a tick nothing. Empty where there is no folder.
    """
    if folder is None or not folder.is_dir():
        return ""
    listed = [file.path for file in _listed(folder, _manifest(folder))]
    lines = []
    for name in [MANIFEST, *(listed or sorted(path.name for path in folder.glob("*")))]:
        try:
            found = (folder / name).stat()
            lines.append(f"{name}\t{found.st_size}\t{found.st_mtime_ns}")
        except OSError:
            lines.append(f"{name}\tabsent")
    return sha256("\n".join(lines).encode()).hexdigest()


def _manifest(folder: Path | None) -> Mapping[str, Any]:
    """Manifest of a folder, empty where it cannot be read."""
    if folder is None:
        return {}
    try:
        content = read_json(folder / MANIFEST, limit=MANIFEST_LIMIT)
    except (OSError, ReleaseFileError):
        return {}
    return content if isinstance(content, dict) else {}


def _listed(folder: Path | None, manifest: Mapping[str, Any]) -> tuple[ReleaseFile, ...]:
    try:
        return listed_files(Path(folder or "") / MANIFEST, manifest.get("files"))
    except ReleaseFileError:
        return ()

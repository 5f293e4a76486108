"""Bringing a release into the releases folder: recognised, checked, copied, pinned; whole or not at all.

What belongs here: which files become the release, dictionaries turned into JSON, the manifest, the rename at the end.
What does not: fetching from a hub (`hub`), or what a family's files must hold (`description`).

Files are copied into a hidden folder first and hashed there; the manifest is written last and the folder renamed into
place, so that whoever lists the releases folder never sees half a release.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from interp_assets.models.files.checkpoints import ReleaseFile, file_sha256, read_dictionary
from interp_assets.models.files.description import Description, describe_release, named_by_ensembl
from interp_assets.models.files.file_rules import ManifestError, MissingFileError, refuse_lfs_pointer, refuse_link
from interp_assets.models.files.published import vocabulary_tags
from interp_assets.models.files.recognise import (
    FolderListing,
    Recognised,
    dictionary_files,
    free_name,
    needs,
    recognise,
    what_is_known,
)
from interp_assets.models.files.releases import (
    MANIFEST,
    RESERVED_NAME,
    TABLE_SUFFIXES,
    Release,
    find_releases,
    read_release,
    release_id,
    usable_name,
)
from interp_assets.models.files.tensor_headers import safetensors_header
from interp_assets.models.files.written_folders import json_bytes

PICKLES: Final = (".pkl", ".pickle")
Take = Callable[[Path, Path], Any]


class AddError(ValueError):
    """A release that is not added although its files are sound: no family, no dictionary, no name, no room."""


class NoRoomError(AddError):
    """A disk too full for a release, which is no fault of the release: worth another try."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the caller states beside the files; empty where the files say it. ``facts`` go into the manifest."""

    name: str = ""
    family: str = ""
    dictionaries: Path | None = None
    gene_key: str = ""
    source: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Added:
    """What `add_release` did.

    ``existing`` is the name under which the same release was there already; then nothing was copied. ``relatives`` are
    releases with the same weights and other dictionaries or configuration. ``converted`` lists pickles turned into
    JSON, ``left_out`` says of every file that was not taken why.
    """

    release: Release
    description: Description
    existing: str = ""
    relatives: tuple[str, ...] = ()
    converted: tuple[Mapping[str, Any], ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """One file of the release to be: where its bytes come from, a file or, for a converted dictionary, memory."""

    path: str
    origin: Path | None = None
    content: bytes = b""

    def listed(self) -> ReleaseFile:
        if self.origin is None:
            return ReleaseFile(self.path, len(self.content), sha256(self.content).hexdigest())
        return ReleaseFile(self.path, self.origin.stat().st_size, file_sha256(self.origin))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """The release to be: family, parts, manifest facts, and what was done to get there."""

    family: str
    name: str
    parts: tuple[_Part, ...]
    facts: Mapping[str, Any]
    converted: tuple[Mapping[str, Any], ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)


def add_release(source: Path, releases: Path, request: Request, take: Take = shutil.copyfile) -> Added:
    """Release made of a folder or an edge table file, in ``releases`` under its name.

    A folder with ``release.json`` is verified against it and taken as it is; one without is recognised by its files.
    The same files under any name are one release: then nothing is copied and ``existing`` says where it is. A folder
    that lies in ``releases`` already gets its manifest where it is. ``take`` brings one file to its place: a copy, or a
    second name for what was just fetched.

    Raises
    ------
    ReleaseFileError
        If a file breaks a rule; the message names file, rule and remedy.
    AddError
        If no family is recognised, a dictionary is missing, the name is taken or reserved.
    NoRoomError
        If the copy does not fit on the disk.
    """
    plan = _planned(source, request)
    _refuse_name(plan.name)
    files = tuple(sorted(part.listed() for part in plan.parts))
    own_id = release_id(plan.family, files)
    there = find_releases(releases).complete
    same = next((release for release in there if release.release_id == own_id), None)
    if same is not None:
        return Added(release=same, description=describe_release(same), existing=same.name, left_out=plan.left_out)
    folder = releases / plan.name
    if source.is_dir() and folder.is_dir() and source.samefile(folder):
        release, description = _in_place(folder, plan, files)
        return Added(release=release, description=description, converted=plan.converted, left_out=plan.left_out)
    taken = next((release.folder for release in there if release.name == plan.name), folder)
    if taken.exists():
        told = f"the name {plan.name} is taken by {taken}, which holds other files"
        raise AddError(f"{told}; choose one with `--name`, or remove that folder")
    if take is shutil.copyfile:  # a second name takes no room
        refuse_full_disk(releases, sum(file.size for file in files))
    release, description = _written(folder, plan, files, take)
    weights = {file.sha256 for file in files if _holds_weights(file.path)}
    relatives = tuple(other.name for other in there if weights & {file.sha256 for file in other.files})
    return Added(
        release=release,
        description=description,
        relatives=relatives,
        converted=plan.converted,
        left_out=plan.left_out,
    )


def release_at(source: Path, family: str = "") -> Release:
    """Release of a folder or file wherever it lies: verified against its manifest, or recognised without one.

    Raises
    ------
    ReleaseFileError, AddError
        As `add_release`; nothing is written.
    """
    if source.is_file() or (source / MANIFEST).is_file():
        return read_release(source)
    found = recognise(FolderListing(source), family)
    if found is None:
        raise AddError(f"{source}: no {MANIFEST}, and no family is recognised by the file names; {what_is_known()}")
    parts = [_Part(path=path, origin=source / path) for path in (*found.files, *found.dictionaries.values())]
    for part in parts:
        _refuse_unsound(part)
    files = tuple(sorted(part.listed() for part in parts))
    tokens = found.dictionaries.get("tokens")
    ensembl = tokens is not None and named_by_ensembl(read_dictionary(source / tokens))
    facts = {"gene_key": "ensembl" if ensembl else "symbol", **found.facts, "dictionaries": dict(found.dictionaries)}
    facts |= {"awaits_dictionaries": True} if found.awaits_dictionaries else {}
    return Release(
        name=free_name(str(source.absolute())),
        family=found.family,
        kind="release",
        folder=source,
        files=files,
        release_id=release_id(found.family, files),
        facts=facts,
    )


def _holds_weights(path: str) -> bool:
    return path.endswith((".safetensors", ".bin", ".pt", ".ckpt", ".torch"))


def _refuse_name(name: str) -> None:
    if not usable_name(name):
        raise AddError(
            f"{name!r} is not usable as a release name; choose one with `--name` (letters, digits, -, _ and .)"
        )
    if RESERVED_NAME.fullmatch(name):
        raise AddError(f"the name {name} is kept for the platform's own controls; choose one with `--name`")


def refuse_full_disk(folder: Path, size: int) -> None:
    """Refuse ``size`` bytes that do not fit where ``folder`` is or will be.

    Raises
    ------
    NoRoomError
        With what is needed, what is free, and where.
    """
    place = next(place for place in (folder, *folder.absolute().parents) if place.is_dir())
    free = shutil.disk_usage(place).free
    if size > free:
        raise NoRoomError(f"{size / 1e9:.2f} GB are needed and {free / 1e9:.2f} GB are free in {place}; make room")


def _planned(source: Path, request: Request) -> _Plan:
    if not source.exists():
        raise AddError(f"{source}: no such file or folder; name a folder, an edge table, or org/name of a hub")
    if source.is_file():
        return _table_plan(source, request)
    if (source / MANIFEST).is_file():
        return _manifest_plan(read_release(source), request)
    found = recognise(FolderListing(source), request.family)
    if found is None:
        raise AddError(
            f"{source}: no family is recognised by the file names; known are: {what_is_known()}; or state `--family`"
        )
    return _folder_plan(source, found, request)


def _manifest_plan(release: Release, request: Request) -> _Plan:
    """A folder that states itself: its listed files, and what it says, with what the caller states on top."""
    stated = {key: value for key, value in release.facts.items() if key not in ("name", "family")}
    facts = stated | dict(request.facts) | ({"gene_key": request.gene_key} if request.gene_key else {})
    parts = tuple(_Part(path=file.path, origin=release.folder / file.path) for file in release.files)
    family = request.family or release.family
    return _Plan(family=family, name=request.name or release.name, parts=parts, facts=facts)


def _table_plan(path: Path, request: Request) -> _Plan:
    if not path.name.endswith(TABLE_SUFFIXES):
        known = ", ".join(TABLE_SUFFIXES)
        raise AddError(f"{path}: is no edge table ({known}); of a model name the folder that holds all of its files")
    suffix = next(end for end in sorted(TABLE_SUFFIXES, key=len, reverse=True) if path.name.endswith(end))
    name = request.name or free_name(path.name.removesuffix(suffix))
    facts = _stated("edge_table", path, request, {"gene_key": request.gene_key or "symbol"})
    return _Plan(family="edge_table", name=name, parts=(_Part(path=path.name, origin=path),), facts=facts)


def _folder_plan(source: Path, found: Recognised, request: Request) -> _Plan:
    parts = [_Part(path=path, origin=source / path) for path in found.files]
    for part in parts:
        _refuse_unsound(part)
    made, converted = dictionary_parts(dictionaries_taken(source, found, request))
    facts: dict[str, Any] = dict(found.facts)
    if made:
        facts["dictionaries"] = {role: part.path for role, part in made.items()}
        parts += made.values()
    if converted:
        facts["converted"] = list(converted)
    if "gene_key" not in facts or request.gene_key:
        facts["gene_key"] = request.gene_key or _gene_key(made)
    left_out = {path: why for path, why in found.left_out.items() if path not in {part.path for part in parts}}
    return _Plan(
        family=found.family,
        name=request.name or free_name(str(source.absolute())),
        parts=tuple(parts),
        facts=_stated(found.family, source, request, facts),
        converted=converted,
        left_out=left_out,
    )


def _stated(family: str, source: Path, request: Request, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Manifest facts; where the files came from is told without the folders of this machine."""
    own = {
        "adapter": family,
        "kind": "release",
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "source": request.source or f"added from {source.name}",
        "licence": "as stated by whoever published the files",
    }
    return {**own, **facts, **request.facts}


def _refuse_unsound(part: _Part) -> None:
    """Refuse what can be seen before a gigabyte is copied: an absent file, a link, a pointer, a wrong header."""
    path = part.origin
    if path is None:
        return
    for step in (path, *list(path.parents)[: part.path.count("/")]):
        refuse_link(step)
    if not path.is_file():
        raise MissingFileError(path, "is absent", "Copy the whole folder again.")
    refuse_lfs_pointer(path)
    if path.suffix == ".safetensors":
        safetensors_header(path)


def dictionaries_taken(source: Path, found: Recognised, request: Request) -> dict[str, Path]:
    """Dictionary files by role: those of ``--dictionaries`` if given, else those of the folder."""
    if request.dictionaries is None:
        if found.awaits_dictionaries:
            told = f"{source}: no token and median dictionaries beside the weights; {needs(found.family)}"
            raise AddError(f"{told}; name the folder that holds them with `--dictionaries`")
        return {role: source / path for role, path in found.dictionaries.items()}
    folder = request.dictionaries
    if not folder.is_dir():
        raise AddError(f"{folder}: no such folder of dictionaries")
    named = dictionaries_for(FolderListing(folder).sizes, found.vocabulary)
    if not {"tokens", "medians"} <= set(named):
        raise AddError(f"{folder}: holds no token_dictionary* and gene_median_dictionary* (.json or .pkl)")
    return {role: folder / path for role, path in named.items()}


def dictionaries_for(paths: Mapping[str, int], vocabulary: int) -> dict[str, str]:
    """Dictionaries by role among paths, those of a published vocabulary of this size where there are several sets.

    Raises
    ------
    ManifestError
        If several sets could be meant and none belongs to the size.
    """
    for tag in vocabulary_tags(vocabulary):
        tagged = dictionary_files(paths, tag)
        if {"tokens", "medians"} <= set(tagged):
            return tagged
    return dictionary_files(paths)


def dictionary_parts(files: Mapping[str, Path]) -> tuple[dict[str, _Part], tuple[Mapping[str, Any], ...]]:
    """Dictionaries as parts of the release by role: JSON as it is, pickles read by the restricted reader as JSON."""
    parts: dict[str, _Part] = {}
    converted: list[Mapping[str, Any]] = []
    for role, path in files.items():
        refuse_link(path)
        content = read_dictionary(path)
        if path.suffix not in PICKLES:
            parts[role] = _Part(path=path.name, origin=path)
            continue
        text = json.dumps(content, separators=(",", ":"), ensure_ascii=True).encode()
        parts[role] = _Part(path=f"{path.stem}.json", content=text)
        entry = {"role": role, "from": path.name, "from_size": path.stat().st_size, "from_sha256": file_sha256(path)}
        converted.append({**entry, "to": f"{path.stem}.json", "sha256": sha256(text).hexdigest()})
    return parts, tuple(converted)


def _gene_key(made: Mapping[str, _Part]) -> str:
    tokens = made.get("tokens")
    if tokens is None:
        return "symbol"
    if tokens.origin is not None:
        return "ensembl" if named_by_ensembl(read_dictionary(tokens.origin)) else "symbol"
    return "ensembl" if named_by_ensembl(json.loads(tokens.content)) else "symbol"


def _written(folder: Path, plan: _Plan, files: Sequence[ReleaseFile], take: Take) -> tuple[Release, Description]:
    """Copy, hash, check and rename; whatever goes wrong leaves nothing behind."""
    scratch = folder.with_name(f".incoming-{folder.name}")
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        for part in plan.parts:
            target = scratch / part.path
            target.parent.mkdir(parents=True, exist_ok=True)
            if part.origin is None:
                target.write_bytes(part.content)
            else:
                take(part.origin, target)
        (scratch / MANIFEST).write_bytes(_manifest(plan, files))
        release = read_release(scratch)  # the copy is hashed, not the original once more
        if release.gene_key not in ("symbol", "ensembl"):
            raise ManifestError(folder / MANIFEST, f"gene_key is {release.gene_key!r}", "Use symbol or ensembl.")
        description = describe_release(release)
        scratch.rename(folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return replace(release, folder=folder), description


def _manifest(plan: _Plan, files: Sequence[ReleaseFile]) -> bytes:
    listed = [{"path": file.path, "size": file.size, "sha256": file.sha256} for file in files]
    return json_bytes({"name": plan.name, "family": plan.family, **plan.facts, "files": listed})


def _in_place(folder: Path, plan: _Plan, files: Sequence[ReleaseFile]) -> tuple[Release, Description]:
    """Manifest for files that lie in their release folder; a refusal takes away what was written."""
    scratch = folder / f".incoming-{MANIFEST}"
    written = [scratch]
    try:
        for part in plan.parts:
            target = folder / part.path
            if part.origin is not None and part.origin != target:
                raise AddError(f"{part.origin}: lies outside {folder}; copy it there, or add from another place")
            if part.origin is None and target.exists():
                raise AddError(f"{target}: is there already and may differ; remove it or {part.path}'s pickle")
            if part.origin is None:
                written.append(target)
                target.write_bytes(part.content)
        scratch.write_bytes(_manifest(plan, files))
        facts = {"name": plan.name, "family": plan.family, **plan.facts}
        own_id = release_id(plan.family, files)
        description = describe_release(
            Release(
                name=plan.name,
                family=plan.family,
                kind="release",
                folder=folder,
                files=tuple(files),
                release_id=own_id,
                facts=facts,
            )
        )
        scratch.rename(folder / MANIFEST)
    except (ValueError, OSError):
        for path in written:
            path.unlink(missing_ok=True)
        raise
    return read_release(folder), description

"""Model releases as frozen records: what a folder holds, under which id, and what is new.

What belongs here: reading and verifying release folders, and the pure difference the release sensor needs.
What does not: running a model, or Dagster.

A release is its adapter family and its files; commit, tag, date and folder name are provenance. The same
weights under another name are therefore the same release, and a changed dictionary is a new one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, get_args

from interp_assets.models.files.checkpoints import ReleaseFile, file_sha256, listed_files, read_json, verify_files
from interp_assets.models.files.file_rules import (
    ManifestError,
    MissingFileError,
    ReleaseFileError,
    refuse_lfs_pointer,
    refuse_link,
)

MANIFEST = "release.json"
MANIFEST_LIMIT = 4 * 2**20
LARGEST_GAP = 1e6
TABLE_SUFFIXES = (".parquet", ".csv", ".tsv", ".csv.gz", ".tsv.gz", ".h5ad")
ReleaseKind = Literal["release", "positive_control", "negative_control"]
# Names under which the platform keeps what it makes itself: controls and the negative twins of a release.
RESERVED_NAME = re.compile(r"control-.*|.*\.(shuffled|random-weights)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """One model release, pinned by the hashes of its files.

    ``facts`` is the whole manifest without ``files``; ``trained_on`` lists the datasets and the hashes of
    cells or data files that the manifest says the model was trained on. ``gap`` is baseline minus held-out loss at
    masked positions, None where the manifest states none.
    """

    name: str
    family: str
    kind: ReleaseKind
    folder: Path
    files: tuple[ReleaseFile, ...]
    release_id: str
    gap: float | None = None
    trained_on: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def untrained(self) -> bool:
        """True where the release's own held-out loss does not beat its baseline.

        A release that states no gap is not called untrained; `gap` being None shows that nothing is known.
        """
        return self.gap is not None and not self.gap > 0

    @property
    def gene_key(self) -> str:
        """Key space of its dictionaries, ``symbol`` or ``ensembl`` (as stated; Ensembl if not)."""
        return str(self.facts.get("gene_key", "ensembl"))

    def file(self, path: str) -> Path:
        """Path of one listed file.

        Raises
        ------
        MissingFileError
            If the manifest does not list it: an unlisted file is never read.
        """
        if path not in {file.path for file in self.files}:
            raise MissingFileError(
                self.folder / path, "is not listed in release.json", "List every file the model needs."
            )
        return self.folder / path


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseScan:
    """What a look into some folders found.

    ``complete`` releases are verified and unique by id; ``incoming`` maps folders that are still being copied
    to what is awaited; ``refused`` maps folders to the reason. Neither of the last two is remembered anywhere:
    the next scan looks again.
    """

    complete: tuple[Release, ...] = ()
    incoming: Mapping[Path, str] = field(default_factory=dict)
    refused: Mapping[Path, str] = field(default_factory=dict)


def release_id(family: str, files: Iterable[ReleaseFile]) -> str:
    """Sha256 of the family and the sorted lines ``path, size, sha256`` of its files."""
    lines = sorted(f"{file.path}\t{file.size}\t{file.sha256}" for file in files)
    return sha256("\n".join([family, *lines]).encode()).hexdigest()


def read_release(source: Path) -> Release:
    """Verified release of a folder with ``release.json``, or of a bare edge table file.

    Raises
    ------
    ReleaseFileError
        If the manifest or a listed file breaks a rule (`checkpoints`); the message names file, rule, remedy.
    """
    source = Path(source)
    if source.is_file():
        return _bare_table(source)
    manifest = source / MANIFEST
    content = read_json(manifest, limit=MANIFEST_LIMIT)
    if not isinstance(content, dict):
        raise ManifestError(manifest, "is not an object", "Write release.json as described in the README.")
    name, family, kind = _identity(manifest, content)
    files = listed_files(manifest, content.get("files"))
    verify_files(source, files)
    return Release(
        name=name,
        family=family,
        kind=kind,
        folder=source,
        files=files,
        release_id=release_id(family, files),
        gap=_gap(manifest, content),
        trained_on=_trained_on(content),
        facts={key: value for key, value in content.items() if key != "files"},
    )


def _bare_table(path: Path) -> Release:
    suffix = "".join(path.suffixes[-2:]) if path.suffix == ".gz" else path.suffix
    if suffix not in TABLE_SUFFIXES:
        raise ManifestError(
            path,
            f"is neither a release folder nor an edge table ({', '.join(TABLE_SUFFIXES)})",
            "Name a folder with release.json or an edge table.",
        )
    refuse_lfs_pointer(path)
    files = (ReleaseFile(path.name, path.stat().st_size, file_sha256(path)),)
    return Release(
        name=path.name.removesuffix(suffix),
        family="edge_table",
        kind="release",
        folder=path.parent,
        files=files,
        release_id=release_id("edge_table", files),
        facts={"gene_key": "symbol"},
    )


def _identity(manifest: Path, content: Mapping[str, Any]) -> tuple[str, str, ReleaseKind]:
    for key in ("name", "family"):
        if not isinstance(content.get(key), str) or not content[key]:
            raise ManifestError(manifest, f"`{key}` is missing", f"State `{key}` in release.json.")
    name = str(content["name"])
    if not usable_name(name):
        raise ManifestError(
            manifest, f"name {name[:80]!r} is not usable as a folder name", "Use letters, digits, '-', '_' and '.'."
        )
    kind = content.get("kind", "release")
    if kind not in get_args(ReleaseKind):
        raise ManifestError(manifest, f"kind {kind!r} is unknown", f"Use one of {get_args(ReleaseKind)}.")
    return name, str(content["family"]), kind


def usable_name(name: str) -> bool:
    """Whether a name can be that of a release and of its folders; commands would read a leading dash as an option.

    >>> usable_name("Geneformer-V2-104M"), usable_name("../up"), usable_name(".hidden"), usable_name("-rf")
    (True, False, False, False)
    """
    plain = all(sign.isascii() and (sign.isalnum() or sign in "-_.") for sign in name)
    return bool(name) and plain and not name.startswith((".", "-")) and len(name) <= 100


def _gap(manifest: Path, content: Mapping[str, Any]) -> float | None:
    training = content.get("training")
    stated = training if isinstance(training, dict) else content
    for key in ("gap", "baseline", "held_out_loss"):
        value = stated.get(key)
        # a comparison also bounds whole numbers too large for a float, and holds for no NaN
        if value is not None and not (type(value) in (int, float) and -LARGEST_GAP < value < LARGEST_GAP):
            raise ManifestError(manifest, f"{key} {value!r:.80} is not a number", "State baseline minus held-out loss.")
    if stated.get("gap") is not None:
        return float(stated["gap"])
    if stated.get("baseline") is None or stated.get("held_out_loss") is None:
        return None
    return float(stated["baseline"]) - float(stated["held_out_loss"])


def _trained_on(content: Mapping[str, Any]) -> tuple[str, ...]:
    training = content.get("training")
    stated = training if isinstance(training, dict) else content
    hashes: list[str] = []
    for key in ("trained_on", "cells_hash", "cells_sha256", "data_hash", "data_sha256"):
        value = stated.get(key, content.get(key))
        if isinstance(value, str):
            hashes.append(value)
        elif isinstance(value, list):
            hashes.extend(str(item) for item in value)
        elif isinstance(value, dict):
            hashes.extend(str(item) for item in value.values())
    return tuple(dict.fromkeys(hashes))


def longest_sequence(release: Release, positions: int) -> int:
    """Tokens of the longest sequence, special tokens included: all positions, or the ``max_length`` of the manifest.

    Raises
    ------
    ManifestError
        If ``max_length`` is no whole number from 4 to the positions the model has.
    """
    stated = release.facts.get("max_length", positions)
    if type(stated) is not int or not 4 <= stated <= positions:
        remedy = f"State a whole number from 4 to {positions}, or leave it out for all positions."
        raise ManifestError(release.folder / MANIFEST, f"max_length is {stated!r}", remedy)
    return stated


def find_releases(*roots: Path) -> ReleaseScan:
    """Releases in the direct sub-folders of some roots, each complete, incoming or refused.

    A folder without a manifest, or whose manifest lists a file that is not there yet, is a copy in progress:
    incoming. Everything else that breaks a rule is refused with the reason, a linked folder and a file that cannot be
    opened included. A root that does not exist holds nothing. Of two folders with the same id the first in path order
    counts and the other is refused by name; so is a second release of the same name, since results are stored under
    the name.
    """
    complete: dict[str, Release] = {}
    names: dict[str, Release] = {}
    incoming: dict[Path, str] = {}
    refused: dict[Path, str] = {}
    for folder in _release_folders(roots):
        try:
            release = _found(folder)
        except MissingFileError as error:
            missing = Path(error.file).name
            incoming[folder] = f"no {MANIFEST} yet" if missing == MANIFEST else f"waiting for {missing}"
            continue
        except (ReleaseFileError, OSError) as error:
            refused[folder] = str(error)
            continue
        twin = complete.get(release.release_id) or names.get(release.name)
        if twin is not None:
            same = "files" if twin.release_id == release.release_id else "name"
            refused[folder] = f"same {same} as release {twin.name} in {twin.folder}"
            continue
        complete[release.release_id] = names[release.name] = release
    return ReleaseScan(complete=tuple(complete.values()), incoming=incoming, refused=refused)


def _found(folder: Path) -> Release:
    """Verified release of a folder below a root, where links and the names of controls are refused."""
    refuse_link(folder)
    release = read_release(folder)
    if RESERVED_NAME.fullmatch(release.name) or release.kind != "release":
        told = f"name {release.name!r} of kind {release.kind} is kept for the platform's own controls"
        raise ManifestError(folder / MANIFEST, told, "Name it otherwise, with kind `release`.")
    return release


def _release_folders(roots: Iterable[Path]) -> list[Path]:
    folders = [
        folder
        for root in roots
        if Path(root).is_dir()
        for folder in sorted(Path(root).iterdir())
        if folder.is_dir() and not folder.name.startswith(".")
    ]
    return list(dict.fromkeys(folders))


def new_releases(found: Iterable[Release], known: Iterable[str]) -> tuple[Release, ...]:
    """Found releases whose id is not among the known ids, in found order and without repeats."""
    seen = set(known)
    new: list[Release] = []
    for release in found:
        if release.release_id not in seen:
            seen.add(release.release_id)
            new.append(release)
    return tuple(new)

"""A watched folder: release folders that someone else writes, copied in once their manifest is complete.

What belongs here: what such a folder holds by its manifests, without hashing gigabytes. What does not: the releases
folder of the deployment, which holds releases already (`models.files.releases.find_releases`).
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from functools import partial
from hashlib import sha256
from pathlib import Path

from interp_assets.discovery.diff import Listed
from interp_assets.discovery.offers import Arrived, Batch, Offer, in_a_line
from interp_assets.discovery.sources import FolderSource
from interp_assets.models.files.adding import Request
from interp_assets.models.files.checkpoints import ReleaseFile, listed_files, read_json
from interp_assets.models.files.file_rules import MissingFileError, ReleaseFileError, refuse_link
from interp_assets.models.files.releases import MANIFEST, MANIFEST_LIMIT, release_id


def folder_batch(source: FolderSource) -> Batch:
    """Everything the folder holds now, in path order.

    Raises
    ------
    OSError
        If the folder is absent or cannot be listed, as when a share is not mounted.
    """
    folders = sorted(path for path in source.path.iterdir() if path.is_dir() and not path.name.startswith("."))
    offers = (Offer(listed=listed_folder(source, path), fetch=partial(_there, path)) for path in folders)
    return Batch(commit="", offers=tuple(offers))


def listed_folder(source: FolderSource, folder: Path) -> Listed:
    """One sub-folder by its manifest and by size and time of the listed files; their hashes are checked on copying."""
    bare = Listed(source=source.key, place=folder.name, name=folder.name)
    try:
        refuse_link(folder)
        content = read_json(folder / MANIFEST, limit=MANIFEST_LIMIT)
        stated = content if isinstance(content, dict) else {}
        files = listed_files(folder / MANIFEST, stated.get("files"))
        awaited = _awaited(folder, files)
        own_id = release_id(str(stated.get("family", "")), files)
        fingerprint = "" if awaited else _fingerprint(own_id, folder, files)
    except MissingFileError:
        return replace(bare, state="incoming", reason=f"no {MANIFEST} yet")
    except (ReleaseFileError, OSError) as error:
        return replace(bare, state="refused", reason=in_a_line(error))
    if (kind := stated.get("kind", "release")) != "release":
        return replace(bare, state="refused", reason=f"kind {kind!r} is kept for the platform's own controls")
    if awaited:
        return replace(bare, state="incoming", reason=awaited)
    return replace(
        bare,
        name=str(stated.get("name") or folder.name),
        release_id=own_id,
        fingerprint=fingerprint,
        size=sum(file.size for file in files),
    )


def _awaited(folder: Path, files: tuple[ReleaseFile, ...]) -> str:
    for file in files:
        path = folder / file.path
        if not path.is_file():
            return f"waiting for {file.path}"
        if (size := path.stat().st_size) < file.size:
            return f"waiting for {file.path}: {size} of {file.size} bytes"
    return ""


def _fingerprint(own_id: str, folder: Path, files: tuple[ReleaseFile, ...]) -> str:
    """Hash over the stated id and size and time of the files: a folder that was mended is looked at again."""
    looks = [(path.stat().st_size, path.stat().st_mtime_ns) for path in (folder / file.path for file in files)]
    return sha256(f"{own_id} {looks}".encode()).hexdigest()


def _there(folder: Path) -> Arrived:
    return Arrived(folder=folder, request=Request(), take=shutil.copyfile)

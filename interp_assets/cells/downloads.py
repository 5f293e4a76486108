"""Https downloads that resume, retry and land complete or not at all."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from interp_assets.cells.dataset_records import DownloadSource
from interp_assets.cells.integrity import verify_file

if TYPE_CHECKING:
    import requests

ATTEMPTS = 4
_TIMEOUT = (10, 60)  # seconds to connect, seconds between two reads


class Unreachable(Exception):  # noqa: N818 (a state of the world, turned into a reason by the caller)
    """The address did not deliver the file within the allowed attempts."""


def download(
    source: DownloadSource,
    path: Path,
    session: requests.Session | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Write the file behind an address to `path`, verified; a broken transfer resumes where it stopped.

    The partial file is ``<path>.part``. A server that ignores the range request starts it anew. Between
    attempts the waiting time doubles from one second.

    Raises
    ------
    Unreachable
        After `ATTEMPTS` failed attempts; the partial file stays for the next run.
    DataFileError
        If the complete file is not the declared one; the partial file is removed.
    """
    import requests

    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.part")
    with session or requests.Session() as opened:
        for attempt in range(ATTEMPTS):
            try:
                _transfer(opened, source, partial)
            except (requests.RequestException, OSError) as error:
                if attempt + 1 == ATTEMPTS:
                    raise Unreachable(f"{source.url}: {type(error).__name__} after {ATTEMPTS} attempts") from error
                sleep(2.0**attempt)
                continue
            if partial.stat().st_size >= source.size:
                break
            sleep(2.0**attempt)
        else:
            raise Unreachable(f"{source.url}: ended early in {ATTEMPTS} attempts")
    try:
        verify_file(
            partial,
            source.sha256,
            source.size,
            f"Downloaded from {source.url}; the address changed its file.",
        )
    except ValueError:
        partial.unlink()
        raise
    partial.replace(path)


def _transfer(session: requests.Session, source: DownloadSource, partial: Path) -> None:
    start = partial.stat().st_size if partial.exists() else 0
    if start >= source.size:
        return
    headers = {"Range": f"bytes={start}-"} if start else {}
    with session.get(source.url, headers=headers, stream=True, timeout=_TIMEOUT) as response:
        response.raise_for_status()
        resumes = start > 0 and response.status_code == 206
        with partial.open("ab" if resumes else "wb") as out:
            for block in response.iter_content(1 << 20):
                out.write(block)
            out.flush()
            os.fsync(out.fileno())

"""Https downloads that resume, retry and land complete or not at all.

What belongs here: one file from one address to one path. What does not: which addresses a dataset has (`sources`), and
what becomes of a hash that was not known beforehand (`source_locks`).
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from interp_assets.cells.dataset_records import LOCKED, DownloadSource
from interp_assets.cells.dataset_sections import LOOPBACK, check_address
from interp_assets.cells.integrity import DataFileError, WrongHashError, verify_file
from qc_standards.json_text import plain_json

if TYPE_CHECKING:
    import requests

ATTEMPTS = 4
REDIRECTS = 5
LONGEST_WAIT = 60.0  # seconds, whatever a server asks for
SPARE = 64 << 20  # bytes that stay free on the disk
_TIMEOUT = (10, 60)  # seconds to connect, seconds between two reads
_AGAIN = (408, 425, 429)  # statuses below 500 that mean "later"
BLOCK = 1 << 18  # bytes read at once; a cut loses at most these
# First bytes of the formats that datasets come in.
_MAGIC = {
    ".h5ad": b"\x89HDF\r\n\x1a\n",
    ".h5": b"\x89HDF\r\n\x1a\n",
    ".gz": b"\x1f\x8b",
    ".parquet": b"PAR1",
    ".zip": b"PK",
}


class Unreachable(Exception):  # noqa: N818 (a state of the world, turned into a reason by the caller)
    """The address did not deliver the file within the allowed attempts, or does not have it."""


class WrongContentError(DataFileError):
    """What the address delivers is not a file of the declared kind or size."""


class UnsafeAddressError(DataFileError):
    """The address leads on to one that may not be read."""


class NoSpaceError(DataFileError):
    """The disk has no room for the file."""


class _Again(Exception):  # noqa: N818 (a reason to try once more)
    """The attempt failed in a way that another one may not."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


@dataclass(frozen=True, slots=True)
class _Partial:
    """The file being received, and what is known of it: address, version of the file there, whole length."""

    path: Path

    @property
    def note(self) -> Path:
        return self.path.with_name(f"{self.path.name}.json")

    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def known(self, source: DownloadSource) -> dict[str, Any]:
        """What was written when the transfer began; nothing if it was of another address or cannot be read."""
        try:
            found = plain_json(self.note.read_bytes())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) and found.get("url") == source.url else {}

    def begin(self, source: DownloadSource, version: str, total: int | None) -> None:
        content = json.dumps({"url": source.url, "version": version, "total": total})
        self.note.write_text(content, encoding="utf-8")

    def drop(self) -> None:
        self.path.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)


def download(
    source: DownloadSource,
    path: Path,
    session: requests.Session | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> str:
    """Write the file behind an address to `path`, verified, and give its sha256.

    The file grows as ``<path>.partial`` and is renamed once it is complete and checked. A broken transfer goes on where
    it stopped if the server answers for the same version of the file (``If-Range``), else it starts anew. Between
    attempts the waiting time doubles from one second, or is what the server asks for.

    Raises
    ------
    Unreachable
        After `ATTEMPTS` failed attempts, or at once where the address has no such file; what was received stays for
        the next run.
    DataFileError
        If the file is not the declared one, is no file of its kind, comes from an address that may not be read, or
        does not fit on the disk. Nothing of a wrong file stays.
    """
    import requests

    path.parent.mkdir(parents=True, exist_ok=True)
    partial = _Partial(path.with_name(f"{path.name}.partial"))
    with session or requests.Session() as opened:
        for attempt in range(ATTEMPTS):
            try:
                total = _transfer(opened, source, partial)
                break
            except (requests.RequestException, _Again) as error:
                said = str(error) if isinstance(error, _Again) else type(error).__name__
                if attempt + 1 == ATTEMPTS:
                    kept = f"; {partial.size():,} bytes are kept for the next run" if partial.size() else ""
                    raise Unreachable(f"{source.url}: {said} after {ATTEMPTS} attempts{kept}") from error
                wait = error.wait if isinstance(error, _Again) else None
                sleep(2.0**attempt if wait is None else wait)
    try:
        digest = verified(partial.path, source, total)
    except DataFileError:
        partial.drop()
        raise
    partial.path.replace(path)
    partial.drop()
    return digest


def verified(path: Path, source: DownloadSource, total: int | None = None) -> str:
    """Sha256 of a file that is what its source declares: kind, size, hash and published checksum where they are known.

    Raises
    ------
    DataFileError
        Naming what is wrong.
    """
    remedy = f"Downloaded from {source.url}; the address changed its file."
    with path.open("rb") as stream:
        _check_kind(source, stream.read(16))
    found = verify_file(path, None if source.sha256 == LOCKED else source.sha256, source.size or total, remedy)
    if source.md5:
        with path.open("rb") as stream:
            md5 = hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
        if md5 != source.md5:
            raise WrongHashError(f"{path}: md5 is {md5}, the repository publishes {source.md5}. {remedy}")
    return found


def _transfer(session: requests.Session, source: DownloadSource, partial: _Partial) -> int | None:
    """Length of the file, once the whole of it has been received."""
    known = partial.known(source)
    start = partial.size()
    total = source.size or known.get("total")
    if start and total and start == total:
        return int(total)
    if start and (start > (total or start) or not _resumable(source, known)):
        partial.drop()
        start = 0
    headers = {"Accept-Encoding": "identity"}
    if start:
        headers |= {"Range": f"bytes={start}-"} | ({"If-Range": known["version"]} if known.get("version") else {})
    with _answer(session, source, headers) as response:
        _check_status(response, partial)
        if start and response.status_code == 206 and _range_start(response) != start:
            partial.drop()
            raise _Again("the server sent another range")
        begins = start if start and response.status_code == 206 else 0
        total = _announced(response, begins)
        _check_announced(source, response, total)
        _check_space(partial.path, source, (total or source.size or source.about) - begins)
        if not begins:
            partial.path.unlink(missing_ok=True)
        partial.begin(source, _version(response), total)
        _receive(response, source, partial.path, begins, total)
    received = partial.size()
    whole = source.size or total
    if whole and received < whole:
        raise _Again(f"ended early, {received:,} of {whole:,} bytes")
    return whole


def _resumable(source: DownloadSource, known: dict[str, Any]) -> bool:
    """Whether a partial file may be added to: only if a change of the file in between would be noticed."""
    return bool(known.get("version")) or source.sha256 != LOCKED or bool(source.md5)


def _answer(session: requests.Session, source: DownloadSource, headers: dict[str, str]) -> requests.Response:
    """Answer of the address, after redirects to addresses that may be read."""
    url = source.url
    for _ in range(REDIRECTS + 1):
        response = session.get(url, headers=headers, stream=True, timeout=_TIMEOUT, allow_redirects=False)
        if response.status_code not in (301, 302, 303, 307, 308):
            return response
        response.close()
        following = urljoin(url, response.headers.get("Location", ""))
        try:
            check_address(following)
        except ValueError as error:
            raise UnsafeAddressError(
                f"{source.url}: leads to an address that {error} Check the declared one."
            ) from None
        if urlsplit(following).hostname in LOOPBACK and urlsplit(source.url).hostname not in LOOPBACK:
            raise UnsafeAddressError(f"{source.url}: leads to this machine ({following}). Check the declared address.")
        url = following
    raise Unreachable(f"{source.url}: more than {REDIRECTS} redirects")


def _check_status(response: requests.Response, partial: _Partial) -> None:
    status = response.status_code
    if status in (200, 206):
        return
    if status == 416:  # the file there is shorter than what was kept of it
        partial.drop()
        raise _Again("HTTP 416")
    if status >= 500 or status in _AGAIN:
        asked = response.headers.get("Retry-After", "")
        raise _Again(f"HTTP {status}", min(float(asked), LONGEST_WAIT) if asked.isdecimal() else None)
    raise Unreachable(f"{response.url}: HTTP {status}; the address has no such file, or asks for a login")


def _range_start(response: requests.Response) -> int | None:
    told = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
    return int(told) if told.isdecimal() else None


def _announced(response: requests.Response, begins: int) -> int | None:
    """Whole length of the file by the answer's headers, None where it says nothing."""
    whole = response.headers.get("Content-Range", "").rpartition("/")[2]
    if response.status_code == 206 and whole.isdecimal():
        return int(whole)
    length = response.headers.get("Content-Length", "")
    return begins + int(length) if length.isdecimal() and "Content-Encoding" not in response.headers else None


def _version(response: requests.Response) -> str:
    """What names this version of the file for ``If-Range``: a strong ETag, else the time of its last change."""
    etag = response.headers.get("ETag", "")
    return etag if etag and not etag.startswith("W/") else response.headers.get("Last-Modified", "")


def _check_announced(source: DownloadSource, response: requests.Response, total: int | None) -> None:
    """Refuse by its headers what cannot be the file, before gigabytes are read."""
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind in ("text/html", "application/xhtml+xml") and not source.file_name.endswith((".html", ".htm")):
        raise WrongContentError(
            f"{source.url}: answers with a web page ({kind}) where {source.file_name} was declared; an error page, a "
            "login or a moved file. Open the address in a browser and correct `url`."
        )
    if source.size and total is not None and total != source.size:
        raise WrongContentError(
            f"{source.url}: announces {total:,} bytes, declared are {source.size:,}. The address changed its file; "
            "check the study's page and correct the declaration."
        )
    if total is None and not source.size and source.sha256 == LOCKED and not source.md5:
        raise WrongContentError(
            f"{source.url}: announces no length, and none is declared: a file that was cut could not be told from the "
            "whole one. Declare its `size` or `md5`."
        )


def _check_space(partial: Path, source: DownloadSource, wanted: int) -> None:
    free = shutil.disk_usage(partial.parent).free
    if wanted + SPARE > free:
        raise NoSpaceError(
            f"{partial.parent}: {free:,} bytes are free, {wanted + SPARE:,} are needed for {source.file_name}. "
            "Free some, or set INTERP_STORE to a larger disk."
        )


def _check_kind(source: DownloadSource, begins: bytes) -> None:
    expected = _MAGIC.get(Path(source.file_name).suffix)
    if expected and begins and not begins.startswith(expected[: len(begins)]):
        raise WrongContentError(
            f"{source.url}: is no {Path(source.file_name).suffix} file, it begins with {begins[:16]!r}. Open the "
            "address in a browser and correct `url`."
        )


def _receive(response: requests.Response, source: DownloadSource, path: Path, begins: int, total: int | None) -> None:
    """Append the body to the partial file, with a progress bar on a terminal."""
    from tqdm import tqdm

    whole = source.size or total
    position = int(os.environ.get("TQDM_POSITION", "0"))
    bar = tqdm(
        total=whole, initial=begins, unit="B", unit_scale=True, desc=source.file_name, disable=None, position=position
    )
    try:
        with bar, path.open("ab") as out:
            for block in response.iter_content(BLOCK):
                if not out.tell():
                    try:
                        _check_kind(source, block[:16])
                    except WrongContentError:
                        out.close()
                        _Partial(path).drop()
                        raise
                out.write(block)
                bar.update(len(block))
                if whole and out.tell() > whole:
                    break
            out.flush()
            os.fsync(out.fileno())
    except OSError as error:
        import requests

        if isinstance(error, requests.RequestException):
            raise
        raise NoSpaceError(
            f"{path}: cannot be written ({error.strerror}). Free some space or set INTERP_STORE."
        ) from error
    if whole and path.stat().st_size > whole:
        _Partial(path).drop()
        raise WrongContentError(f"{source.url}: sends more than the {whole:,} bytes it should. Check the address.")

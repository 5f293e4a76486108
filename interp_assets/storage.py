"""Records on disk: one folder a record, plain arrays and tables, written atomically, hashed by content.

Arrays become ``.npy`` (memory-mappable), sparse matrices three of them, frames parquet, everything else one
JSON file, which also states the place of the record, the hashes of its files and its own. What differs from them is
never read. No pickle in either direction.
"""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import io
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from interp_assets.exclusive import alone

T = TypeVar("T")
META = "record.json"
_ROOM = "free space on that disk (`interp store clean` lists what may go)"
_RIGHTS = "make that folder writable, or set INTERP_STORE to one that is"
WAYS_OUT = {
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EFBIG: "raise the limit on the size of files (`ulimit -f`)",
    errno.EROFS: _RIGHTS,
    errno.EACCES: _RIGHTS,
    errno.EPERM: _RIGHTS,
}


class StorageError(ValueError):
    """A stored record that is missing, incomplete or of another kind; the message says how to rebuild it."""


class DamagedError(StorageError):
    """Stored files that differ from the hashes they were written with; the message names the first of them."""


class NotWrittenError(OSError):
    """A file that could not be written; the message says which, why and the way out."""


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Say which file could not be written, and the way out, where a disk is full or must not be written to.

    Raises
    ------
    NotWrittenError
        Instead of the error of the system.
    """
    try:
        yield
    except NotWrittenError:
        raise
    except OSError as error:
        # numpy tells of a write that was cut short in words only
        number = errno.ENOSPC if error.errno is None and "requested and" in str(error) else error.errno
        if number not in WAYS_OUT:
            raise
        told = f"[Errno {number}] {os.strerror(number)}: {path} was not written"
        # without the error behind it, whose message would be shown in place of this one
        raise NotWrittenError(f"{told}; {WAYS_OUT[number]}, then ask again: what is finished stays") from None


def sha256_of(path: Path) -> str:
    """Hex sha256 of one file."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def known_sha256(path: Path) -> str:
    """Hex sha256 of one file, read once a process as long as the file is neither replaced nor written to."""
    found = path.stat()
    return _known_sha256(path, (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns))


@lru_cache(maxsize=2**15)
def _known_sha256(path: Path, stamp: tuple[int, ...]) -> str:
    del stamp
    return sha256_of(path)


def fault_in(folder: Path, files: Mapping[str, str]) -> str:
    """First file below ``folder`` that is not what its hash says, in words; empty where all are."""
    for name, sha256 in files.items():
        path = folder / name
        if not path.is_file():
            return f"{path}: is missing"
        if known_sha256(path) != sha256:
            return f"{path}: sha256 differs from the one it was written with"
    return ""


def content_hash(record: Any) -> str:
    """Hex sha256 over the fields of a frozen dataclass: equal content, equal hash, whatever the memory layout."""
    from scipy import sparse

    digest = hashlib.sha256(type(record).__name__.encode())
    for item in dataclasses.fields(record):
        value = getattr(record, item.name)
        digest.update(item.name.encode())
        if sparse.issparse(value):
            arrays = [value.data, value.indices, value.indptr, np.asarray(value.shape)]
        elif isinstance(value, np.ndarray):
            arrays = [_no_objects(item.name, value)]
        elif isinstance(value, pd.DataFrame):
            buffer = io.BytesIO()
            value.to_parquet(buffer, compression="zstd")
            digest.update(buffer.getvalue())
            continue
        else:
            digest.update(canonical_json(value).encode())
            continue
        for array in arrays:
            digest.update(f"{array.dtype.str} {array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def write_atomically(path: Path, write: Callable[[Path], None]) -> None:
    """Let ``write`` fill a temporary file beside ``path``, then move it into place after an fsync.

    Raises
    ------
    NotWrittenError
        Where the disk is full or must not be written to; ``path`` is as it was.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".writing-", suffix=path.suffix)
        os.close(handle)
        temporary = Path(name)
        try:
            write(temporary)
            with temporary.open("rb") as done:
                os.fsync(done.fileno())
            temporary.chmod(0o644)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def check_writable(folder: Path) -> None:
    """Make ``folder``, and a file in it that goes again: asked before hours of work whose end could not be kept.

    Raises
    ------
    NotWrittenError
        Where nothing can be written.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".writing-") as probe:
            probe.write(b"\0")


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8") and None)


def write_bytes(path: Path, content: bytes) -> None:
    """Write bytes atomically."""
    write_atomically(path, lambda temporary: temporary.write_bytes(content) and None)


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no NaN, so that equal content means equal bytes."""
    return json.dumps(value, sort_keys=True, indent=1, allow_nan=False, default=_plain) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, Path):
        return value.as_posix()
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} does not belong in a JSON file")


def write_table(path: Path, frame: pd.DataFrame) -> None:
    """Write a frame as zstd parquet without an index; equal frames give equal bytes."""
    write_atomically(path, lambda temporary: frame.to_parquet(temporary, index=False, compression="zstd"))


def save_records(folder: Path, records: Mapping[str, Any], place: str = "") -> None:
    """Replace ``folder`` by one sub-folder for each frozen dataclass in ``records``; the swap is a rename.

    A folder that holds exactly these records stays as it is, so that nobody who reads them is disturbed. ``place`` is
    the end of the folder's path that makes it what it is, such as ``cells/<dataset>/references``: in a folder of
    another place the records are refused.

    Raises
    ------
    NotWrittenError
        Where the disk is full or must not be written to; ``folder`` is as it was.
    """
    with writing(folder), alone(folder):
        temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".writing-"))
        try:
            for name, record in records.items():
                _save(temporary / name, record, place and f"{place}/{name}")
            temporary.chmod(0o755)
            if not folder.exists():
                temporary.rename(folder)
            elif _metas(folder) != _metas(temporary) or fault_in_records(folder):
                previous = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".previous-"))
                folder.rename(previous / "old")
                temporary.rename(folder)
                shutil.rmtree(previous)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _metas(folder: Path) -> dict[str, bytes]:
    """Content of the JSON file of every record in ``folder``; they state the hashes of all else."""
    return {path.parent.name: path.read_bytes() for path in sorted(folder.glob(f"*/{META}"))}


def records_digest(folder: Path) -> str:
    """Hex sha256 over the JSON files of the records in ``folder``, which state the hashes of all else."""
    digest = hashlib.sha256()
    for name, content in _metas(folder).items():
        digest.update(f"{name} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def fault_in_records(folder: Path) -> str:
    """First file of the records in ``folder`` that is not what was written there, in words; empty where all are."""
    parts = sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    if not parts:
        return f"{folder}: nothing is stored there"
    for part in parts:
        try:
            _stated(part)
        except StorageError as error:
            return str(error)
    return ""


def _save(folder: Path, record: Any, place: str) -> None:
    from scipy import sparse

    folder.mkdir(parents=True)
    meta: dict[str, Any] = {"kind": type(record).__name__, "place": place, "fields": {}, "values": {}}
    for item in dataclasses.fields(record):
        value = getattr(record, item.name)
        if isinstance(value, np.ndarray):
            np.save(folder / f"{item.name}.npy", _no_objects(item.name, value), allow_pickle=False)
            meta["fields"][item.name] = "array"
        elif sparse.issparse(value):
            matrix = value.tocsr()
            for part in ("data", "indices", "indptr"):
                np.save(folder / f"{item.name}.{part}.npy", getattr(matrix, part), allow_pickle=False)
            meta["fields"][item.name] = {"csr": list(matrix.shape)}
        elif isinstance(value, pd.DataFrame):
            value.to_parquet(folder / f"{item.name}.parquet", compression="zstd")
            meta["fields"][item.name] = "frame"
        else:
            meta["values"][item.name] = value
    meta["files"] = {path.name: sha256_of(path) for path in sorted(folder.iterdir())}
    (folder / META).write_text(canonical_json(meta | {"sha256": _own_hash(meta)}), encoding="utf-8")


def _own_hash(meta: Mapping[str, Any]) -> str:
    return hashlib.sha256(canonical_json(meta).encode("utf-8")).hexdigest()


def _no_objects(name: str, value: np.ndarray) -> np.ndarray:
    if value.dtype == object:
        return value.astype(np.str_)
    if value.dtype.hasobject:
        raise StorageError(f"field {name} holds Python objects; only plain arrays are stored")
    return value


def _stated(folder: Path) -> dict[str, Any]:
    """What a record's JSON file states, if it and the files beside it are what was written at this place.

    Raises
    ------
    StorageError
        When nothing is stored there, and `DamagedError` where a file is not what was written.
    """
    meta_file = folder / META
    if not meta_file.is_file():
        raise StorageError(f"{folder}: no stored record; materialise the asset that writes it")
    text = meta_file.read_bytes()
    try:
        stated = json.loads(text)
        meta = {key: value for key, value in stated.items() if key != "sha256"}
        whole = text == canonical_json(stated).encode("utf-8") and stated["sha256"] == _own_hash(meta)
        fault = "" if whole else f"{meta_file}: is not what was written"
        if whole and not folder.resolve().as_posix().endswith(meta["place"]):
            fault = f"{meta_file}: is the record of {meta['place']}"
        fault = fault or fault_in(folder, meta["files"])
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise DamagedError(f"{meta_file}: damaged ({error}); materialise the asset that writes it") from error
    if fault:
        raise DamagedError(f"{fault} (damaged); materialise the asset that writes it")
    return meta


def load_record(folder: Path, kind: type[T], *, mmap: bool = True) -> T:
    """Record of dataclass ``kind`` stored in ``folder``; arrays are memory-mapped unless ``mmap`` is False.

    Every file is hashed before it is read, once a process.

    Raises
    ------
    StorageError
        When the folder is absent, incomplete, damaged, or holds another kind of record.
    """
    from scipy import sparse

    meta = _stated(folder)
    if meta["kind"] != kind.__name__:
        raise StorageError(f"{folder}: holds a {meta['kind']}, expected a {kind.__name__}")
    values: dict[str, Any] = dict(meta["values"])
    mode = "r" if mmap else None
    for name, form in meta["fields"].items():
        if form == "array":
            values[name] = np.load(folder / f"{name}.npy", mmap_mode=mode, allow_pickle=False)
        elif form == "frame":
            values[name] = pd.read_parquet(folder / f"{name}.parquet")
        else:
            parts = [
                np.load(folder / f"{name}.{part}.npy", allow_pickle=False) for part in ("data", "indices", "indptr")
            ]
            values[name] = sparse.csr_matrix(tuple(parts), shape=tuple(form["csr"]), copy=False)
    return kind(**values)


def stored_kind(folder: Path) -> str | None:
    """Name of the record class stored in ``folder``, or None when nothing is there.

    Raises
    ------
    DamagedError
        When a file is not what was written.
    """
    return str(_stated(folder)["kind"]) if (folder / META).is_file() else None

"""Records on disk: one folder a record, plain arrays and tables, written atomically, hashed by content.

Arrays become ``.npy`` (memory-mappable), sparse matrices three of them, frames parquet, everything else one
JSON file. No pickle in either direction.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd

T = TypeVar("T")
META = "record.json"


class StorageError(ValueError):
    """A stored record that is missing, incomplete or of another kind; the message says how to rebuild it."""


def sha256_of(path: Path) -> str:
    """Hex sha256 of one file."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


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
    """Let ``write`` fill a temporary file beside ``path``, then move it into place after an fsync."""
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


def save_records(folder: Path, records: Mapping[str, Any]) -> None:
    """Replace ``folder`` by one sub-folder for each frozen dataclass in ``records``; the swap is a rename."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".writing-"))
    try:
        for name, record in records.items():
            _save(temporary / name, record)
        temporary.chmod(0o755)
        if folder.exists():
            previous = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".previous-"))
            folder.rename(previous / "old")
            temporary.rename(folder)
            shutil.rmtree(previous)
        else:
            temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _save(folder: Path, record: Any) -> None:
    from scipy import sparse

    folder.mkdir(parents=True)
    meta: dict[str, Any] = {"kind": type(record).__name__, "fields": {}, "values": {}}
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
    (folder / META).write_text(canonical_json(meta), encoding="utf-8")


def _no_objects(name: str, value: np.ndarray) -> np.ndarray:
    if value.dtype == object:
        return value.astype(np.str_)
    if value.dtype.hasobject:
        raise StorageError(f"field {name} holds Python objects; only plain arrays are stored")
    return value


def load_record(folder: Path, kind: type[T], *, mmap: bool = True) -> T:
    """Record of dataclass ``kind`` stored in ``folder``; arrays are memory-mapped unless ``mmap`` is False.

    Raises
    ------
    StorageError
        When the folder is absent, incomplete, or holds another kind of record.
    """
    from scipy import sparse

    meta_file = folder / META
    if not meta_file.is_file():
        raise StorageError(f"{folder}: no stored {kind.__name__}; materialise the asset that writes it")
    meta = json.loads(meta_file.read_text(encoding="utf-8"))
    if meta["kind"] != kind.__name__:
        raise StorageError(f"{folder}: holds a {meta['kind']}, expected a {kind.__name__}")
    values: dict[str, Any] = dict(meta["values"])
    mode = "r" if mmap else None
    try:
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
    except (OSError, ValueError) as error:
        raise StorageError(f"{folder}: damaged ({error}); delete the folder and materialise it again") from error
    return kind(**values)


def stored_kind(folder: Path) -> str | None:
    """Name of the record class stored in ``folder``, or None when nothing complete is there."""
    meta_file = folder / META
    if not meta_file.is_file():
        return None
    return str(json.loads(meta_file.read_text(encoding="utf-8"))["kind"])

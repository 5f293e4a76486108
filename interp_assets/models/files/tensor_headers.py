"""What a weights file says it holds, read and checked before a single weight is.

What belongs here: the header of safetensors files, the directory of torch archives; neither needs torch, and a claim
that the file cannot keep (an absurd shape, bytes that overlap, a compressed entry) is refused before anything is
allocated. What does not: reading weights (`checkpoints.read_state_dict`), or what shapes a model needs
(`description`).

Formats: safetensors (https://github.com/huggingface/safetensors, "Format"): 8 bytes little-endian header length, JSON
``{name: {dtype, shape, data_offsets}}``, data. Torch archives are zip files of stored, never compressed, entries.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeGuard

from interp_assets.models.files.file_rules import (
    FileSizeError,
    ManifestError,
    TruncatedFileError,
    UnsafePickleError,
    refuse_lfs_pointer,
)
from qc_standards.json_text import plain_json

HEADER_LIMIT: Final = 100 * 10**6  # the format's own limit
PICKLE_LIMIT: Final = 64 * 2**20
ENTRIES: Final = 100_000
# Bytes an element takes; what the libraries can load today.
WIDTHS: Final[Mapping[str, int]] = {
    "F64": 8,
    "F32": 4,
    "F16": 2,
    "BF16": 2,
    "F8_E4M3": 1,
    "F8_E5M2": 1,
    "I64": 8,
    "U64": 8,
    "I32": 4,
    "U32": 4,
    "I16": 2,
    "U16": 2,
    "I8": 1,
    "U8": 1,
    "BOOL": 1,
}
_DTYPES: Final = {"float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16", "int64": "I64"}
_AGAIN: Final = "The copy or download stopped early; copy the file again."


@dataclass(frozen=True, slots=True)
class TensorHeader:
    """Number format (as safetensors names it, ``F32``) and shape of one tensor."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def elements(self) -> int:
        """Number of elements.

        >>> TensorHeader("F32", (3, 4)).elements, TensorHeader("F32", ()).elements
        (12, 1)
        """
        return math.prod(self.shape)


def tensor_headers(path: Path) -> dict[str, TensorHeader]:
    """Header of every tensor of a weights file by name: safetensors without torch, torch files through its safe reader.

    Raises
    ------
    ReleaseFileError
        If the file is truncated, an LFS pointer, malformed, or not tensors only; the subclass says which.
    """
    refuse_lfs_pointer(path)
    if path.suffix == ".safetensors":
        return safetensors_header(path)
    from interp_assets.models.files.checkpoints import named_tensors, read_state_dict  # both stand on this module

    return {
        name: TensorHeader(_dtype_name(tensor), tuple(tensor.shape))
        for name, tensor in named_tensors(read_state_dict(path)).items()
    }


def _dtype_name(tensor: Any) -> str:
    name = str(tensor.dtype).removeprefix("torch.")
    return _DTYPES.get(name, name)


def safetensors_header(path: Path) -> dict[str, TensorHeader]:
    """Checked header of a safetensors file.

    The bytes of the tensors follow each other without gap or overlap and end where the file ends; every shape takes
    exactly its bytes.

    Raises
    ------
    TruncatedFileError
        If the file ends before its header or its data do.
    FileSizeError
        If it is longer than its header says, or the header above the format's limit.
    ManifestError
        If the header is no JSON object of tensors, names one twice, or claims what its bytes cannot hold.
    """
    size = path.stat().st_size
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if size < 8:
            raise TruncatedFileError(path, f"{size} bytes are no safetensors file", _AGAIN)
        if length > HEADER_LIMIT:
            raise FileSizeError(
                path, f"states a header of {length} bytes, limit {HEADER_LIMIT}", "Use the original file."
            )
        if length > size - 8:
            raise TruncatedFileError(path, f"truncated: {size} bytes, its header alone takes {length + 8}", _AGAIN)
        text = stream.read(length)
    entries = _header_entries(path, text)
    data = size - 8 - length
    headers: dict[str, TensorHeader] = {}
    spans: list[tuple[int, int, str]] = []
    for name, entry in entries.items():
        headers[name], span = _header(path, name, entry)
        spans.append((*span, name))
    end = _end_of(path, sorted(spans))
    if data < end:
        raise TruncatedFileError(path, f"truncated: {size} of {end + 8 + length} bytes", _AGAIN)
    if data > end:
        raise FileSizeError(path, f"holds {data - end} bytes behind its last tensor", "Use the original file.")
    return headers


def _header_entries(path: Path, text: bytes) -> dict[str, Any]:
    try:
        entries = plain_json(text)
    except ValueError as error:
        raise ManifestError(path, f"its header is not valid JSON: {error}", "Copy the file again.") from error
    if not isinstance(entries, dict):
        raise ManifestError(path, "its header is not an object", "Use the original file.")
    entries.pop("__metadata__", None)
    if not entries:
        raise ManifestError(path, "holds no tensor", "Use the complete checkpoint.")
    return entries


def _header(path: Path, name: str, entry: Any) -> tuple[TensorHeader, tuple[int, int]]:
    remedy = "Use the checkpoint as it was saved."
    told = entry if isinstance(entry, dict) else {}
    dtype, shape, offsets = told.get("dtype"), told.get("shape"), told.get("data_offsets")
    if dtype not in WIDTHS:
        raise ManifestError(path, f"{name[:80]!r} is of unknown number format {dtype!r}", remedy)
    if not (_counts(shape) and _counts(offsets) and len(offsets) == 2):
        raise ManifestError(path, f"{name[:80]!r} states no shape and two offsets", remedy)
    header = TensorHeader(str(dtype), tuple(shape))
    held, needed = offsets[1] - offsets[0], header.elements * WIDTHS[header.dtype]
    if held != needed:
        claim = f"{name[:80]!r} claims shape {_short(shape)}, {needed} bytes, but holds {held}"
        raise ManifestError(path, claim, remedy)
    return header, (offsets[0], offsets[1])


def _counts(values: Any) -> TypeGuard[list[int]]:
    return isinstance(values, list) and len(values) <= 16 and all(type(value) is int and value >= 0 for value in values)


def _short(shape: Sequence[int]) -> str:
    return f"({', '.join(map(str, shape))})"[:100]


def _end_of(path: Path, spans: Sequence[tuple[int, int, str]]) -> int:
    """End of the last of sorted spans, which follow each other without gap or overlap."""
    end = 0
    for start, stop, name in spans:
        if start != end:
            kind = "overlaps the one before" if start < end else f"leaves {start - end} bytes unused before it"
            raise ManifestError(path, f"{name[:80]!r} {kind}", "Use the checkpoint as it was saved.")
        end = stop
    return end


def check_torch_archive(path: Path) -> None:
    """Check the directory of a torch file in the zip format; older files are one pickle and have none.

    Raises
    ------
    TruncatedFileError
        If the file starts as an archive but has no directory at its end.
    ManifestError
        If the archive has no ``data.pkl`` or more entries than any model.
    UnsafePickleError
        If an entry is compressed or larger than the archive (a zip bomb), leaves the archive by its name, or the
        description of the tensors is larger than any model needs.
    """
    with path.open("rb") as stream:
        start = stream.read(4)
    if not start:
        raise TruncatedFileError(path, "is empty", _AGAIN)
    if start != b"PK\x03\x04":
        return
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, ValueError, EOFError, OSError) as error:
        raise TruncatedFileError(
            path, f"truncated: an archive without a readable directory ({error})", _AGAIN
        ) from error
    _check_entries(path, entries)


def _check_entries(path: Path, entries: Sequence[zipfile.ZipInfo]) -> None:
    remedy = "Do not open it by other means; convert the weights to safetensors where they were made."
    if len(entries) > ENTRIES:
        raise ManifestError(path, f"has {len(entries)} entries, limit {ENTRIES}", remedy)
    described = [entry for entry in entries if entry.filename.rsplit("/", 1)[-1] == "data.pkl"]
    if len(described) != 1:
        raise ManifestError(path, f"holds {len(described)} data.pkl where a torch archive has one", "Use a state dict.")
    if described[0].file_size > PICKLE_LIMIT:
        raise UnsafePickleError(path, f"data.pkl takes {described[0].file_size} bytes, limit {PICKLE_LIMIT}", remedy)
    size = path.stat().st_size
    total = 0
    for entry in entries:
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
            raise UnsafePickleError(path, f"entry {entry.filename[:80]!r} is compressed; torch stores", remedy)
        if entry.filename.startswith("/") or ".." in entry.filename.split("/"):
            raise UnsafePickleError(path, f"entry {entry.filename[:80]!r} leaves the archive", remedy)
        total += entry.file_size
    if total > size:
        raise UnsafePickleError(path, f"its entries claim {total} bytes in a file of {size}", remedy)

"""Reading files that came from elsewhere: verified first, parsed by readers that cannot run code.

What belongs here: path, size and hash rules of a release folder, limited JSON, the restricted reader for
Geneformer dictionaries, weights-only loading. What does not: what the files mean for a model.

Order of the rules: the path stays inside the folder, no link, present, not a Git LFS pointer, size, sha256;
only then is a file opened by a parser. There is no fallback to a reader that could execute anything.
"""

from __future__ import annotations

import io
import os
import pickle
import pickletools
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from interp_assets.models.files.file_rules import (
    FileSizeError,
    HashMismatchError,
    ManifestError,
    MissingFileError,
    ReleaseFileError,
    TruncatedFileError,
    UnsafePathError,
    UnsafePickleError,
    never_opened,
    refuse_lfs_pointer,
    refuse_link,
)
from interp_assets.models.files.file_rules import LfsPointerError as LfsPointerError  # the errors are one family
from interp_assets.models.files.tensor_headers import check_torch_archive, safetensors_header
from qc_standards.json_text import plain_json

JSON_LIMIT = 64 * 2**20
DICTIONARY_LIMIT = 64 * 2**20
DICTIONARY_ENTRIES = 1_000_000
LISTED_FILES = 10_000
_SHA256 = re.compile(r"[0-9a-f]{64}")
_PLAIN_NUMBER = re.compile(r"[<>|=]?[iuf][1248]")


@dataclass(frozen=True, slots=True, order=True)
class ReleaseFile:
    """One listed file: path relative to the release folder (POSIX), size in bytes, sha256."""

    path: str
    size: int
    sha256: str


def listed_files(manifest: Path, entries: Any) -> tuple[ReleaseFile, ...]:
    """Listed files of a manifest, sorted by path.

    Raises
    ------
    ManifestError
        If ``entries`` is not a non-empty list of ``{path, size, sha256}``, is longer than any model needs, or lists
        a path twice.
    UnsafePathError
        If a path is absolute or contains ``..``.
    """
    remedy = "Write `files` as a list of {path, size, sha256}, one entry a file."
    if not isinstance(entries, list) or not entries:
        raise ManifestError(manifest, "`files` is missing or empty", remedy)
    if len(entries) > LISTED_FILES:
        raise ManifestError(
            manifest, f"`files` has {len(entries)} entries, limit {LISTED_FILES}", "List what is needed."
        )
    files = tuple(sorted(_listed_file(manifest, entry, remedy) for entry in entries))
    twice = sorted(path for path, times in Counter(file.path for file in files).items() if times > 1)
    if twice:
        raise ManifestError(manifest, f"`files` lists {', '.join(twice)} more than once", remedy)
    return files


def _listed_file(manifest: Path, entry: Any, remedy: str) -> ReleaseFile:
    if not isinstance(entry, dict):
        raise ManifestError(manifest, f"entry of `files` is not an object: {entry!r}", remedy)
    path, size, digest = entry.get("path"), entry.get("size"), entry.get("sha256")
    sound = (
        isinstance(path, str)
        and bool(path)
        and isinstance(size, int)
        and not isinstance(size, bool)
        and size >= 0
        and isinstance(digest, str)
        and _SHA256.fullmatch(digest.lower()) is not None
    )
    if not sound:
        raise ManifestError(manifest, f"entry of `files` is incomplete: {entry!r}", remedy)
    pure = PurePosixPath(str(path))
    if not _inside(str(path), pure):
        raise UnsafePathError(manifest, f"`files` lists {path!r}", "List paths inside the release folder.")
    return ReleaseFile(str(pure), int(str(size)), str(digest).lower())


def _inside(path: str, pure: PurePosixPath) -> bool:
    """Whether a listed path is plain, relative and names something below its folder."""
    if not pure.parts or pure.is_absolute() or ".." in pure.parts or not path.isprintable():
        return False
    return "\\" not in path and ":" not in pure.parts[0] and all(len(part) <= 200 for part in pure.parts)


def verify_files(folder: Path, files: Sequence[ReleaseFile]) -> None:
    """Check every listed file by path, presence, size and sha256; returns nothing.

    Sizes are compared before anything is read. A file is hashed once per (path, size, modification time) in a
    process, so a sensor that looks every minute does not read gigabytes each time.

    Raises
    ------
    ReleaseFileError
        The subclass names the rule that was broken.
    """
    for file in files:
        verify_file(folder, file)


def verify_file(folder: Path, file: ReleaseFile) -> Path:
    """Path of one verified file (see `verify_files`)."""
    path = folder / file.path
    _refuse_links(folder, path)
    if not path.is_file():
        raise MissingFileError(path, "listed in the manifest but absent", "Copy the whole folder again.")
    size = path.stat().st_size
    if size != file.size:
        refuse_lfs_pointer(path)
        if size < file.size:
            raise TruncatedFileError(
                path,
                f"truncated: {size} of {file.size} bytes",
                "The copy or download stopped early; copy the file again.",
            )
        raise FileSizeError(
            path, f"{size} bytes where {file.size} are listed", "Copy the file again or renew the manifest."
        )
    if file_sha256(path) != file.sha256:
        raise HashMismatchError(
            path,
            f"sha256 is not the listed {file.sha256[:16]}...",
            "The content changed: restore the file, or publish the change as a new release.",
        )
    return path


def _refuse_links(folder: Path, path: Path) -> None:
    for step in (path, *path.parents):
        if step == folder:
            return
        if step.is_symlink():
            raise UnsafePathError(step, "is a link", "Replace the link by the file itself.")
    raise UnsafePathError(path, "lies outside the release folder", "List paths inside the release folder.")


def file_sha256(path: Path) -> str:
    """Sha256 of a file, remembered per (path, size, modification time) for the life of the process."""
    stat = path.stat()
    return _file_sha256(os.fspath(path), stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=4096)
def _file_sha256(path: str, size: int, mtime_ns: int) -> str:
    digest = sha256()
    with Path(path).open("rb") as stream:
        while block := stream.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def read_json(path: Path, *, limit: int = JSON_LIMIT) -> Any:
    """Content of a JSON file no larger than ``limit`` bytes, in which no object names a key twice.

    Of two values under one key readers take the first or the last, so that a file with two has no one meaning.

    Raises
    ------
    MissingFileError, UnsafePathError, FileSizeError, LfsPointerError, ManifestError
        If the file is absent, a link, too large, an LFS pointer, not JSON, nested too deeply, or names a key twice.
    """
    refuse_link(path)
    if not path.is_file():
        raise MissingFileError(path, "is absent", "Copy the whole folder again.")
    size = path.stat().st_size
    if size > limit:
        raise FileSizeError(path, f"{size} bytes of JSON, limit {limit}", "Use the original file.")
    refuse_lfs_pointer(path)
    try:
        return plain_json(path.read_bytes())
    except ValueError as error:  # also numbers of thousands of digits, which are no JSONDecodeError
        raise ManifestError(path, f"is not valid JSON: {error}", "Copy the file again.") from error


def read_dictionary(path: Path) -> dict[str, int] | dict[str, float] | dict[str, str]:
    """Dictionary of a release: names to whole numbers, to numbers, or to names, from JSON or a pickle.

    Raises
    ------
    UnsafePickleError
        If a pickle asks for any global but plain numpy numbers.
    ManifestError
        If the content is no such dictionary, or mixes kinds of values.
    FileSizeError
        If the file exceeds the limit.
    """
    if path.suffix == ".json":
        return _plain_dictionary(path, read_json(path, limit=DICTIONARY_LIMIT))
    if path.suffix not in {".pkl", ".pickle"}:
        raise ManifestError(path, f"dictionary of unknown kind {path.suffix!r}", "Use .json or .pkl.")
    refuse_link(path)
    if path.stat().st_size > DICTIONARY_LIMIT:
        raise FileSizeError(path, f"above {DICTIONARY_LIMIT} bytes", "Use the original dictionary.")
    refuse_lfs_pointer(path)
    return _plain_dictionary(path, _restricted_pickle(path))


def _restricted_pickle(path: Path) -> Any:
    content = path.read_bytes()
    try:
        _bound_memo(path, content)
        return _DictionaryUnpickler(path, content).load()
    except ReleaseFileError:
        raise
    except (
        pickle.UnpicklingError,
        EOFError,
        ValueError,
        TypeError,
        ArithmeticError,
        LookupError,
        AttributeError,
    ) as error:
        raise ManifestError(path, f"is not a readable pickle: {error}", "Copy the file again.") from error


def _bound_memo(path: Path, content: bytes) -> None:
    """Refuse a pickle that numbers its memo beyond its own length: the reader would allocate up to the number."""
    for operation, number, _ in pickletools.genops(content):
        if operation.name in ("PUT", "BINPUT", "LONG_BINPUT") and int(number or 0) > len(content):
            raise UnsafePickleError(path, f"numbers a memo entry {number} in {len(content)} bytes", "Use JSON.")


class _DictionaryUnpickler(pickle.Unpickler):
    """Unpickler that knows two globals: the numpy scalar maker and the numpy dtype, both for plain numbers."""

    def __init__(self, path: Path, content: bytes) -> None:
        super().__init__(io.BytesIO(content))
        self._path = path

    def find_class(self, module: str, name: str) -> Callable[..., Any]:
        if module in {"numpy.core.multiarray", "numpy._core.multiarray"} and name == "scalar":
            return self._scalar
        if (module, name) == ("numpy", "dtype"):
            return self._dtype
        raise UnsafePickleError(
            self._path,
            f"asks for {module}.{name}",
            "Do not open this file by other means; convert the dictionary to JSON where it was made.",
        )

    def persistent_load(self, pid: Any) -> Any:
        raise UnsafePickleError(self._path, f"refers to {pid!r} outside itself", "Use JSON.")

    def _dtype(self, code: Any, *_: Any) -> _PlainNumberType:
        if not isinstance(code, str) or not _PLAIN_NUMBER.fullmatch(code):
            raise UnsafePickleError(self._path, f"asks for a numpy {code!r}", "Use JSON.")
        return _PlainNumberType(code)

    def _scalar(self, kind: Any, content: Any = None) -> int | float:
        if not isinstance(kind, _PlainNumberType) or not isinstance(content, bytes):
            raise UnsafePickleError(self._path, "holds a numpy object", "Use JSON.")
        dtype = np.dtype(kind.order + kind.code.lstrip("<>|="))
        if len(content) != dtype.itemsize:
            raise UnsafePickleError(self._path, "holds a malformed number", "Use JSON.")
        number: int | float = np.frombuffer(content, dtype=dtype)[0].item()
        return number


class _PlainNumberType:
    """Stand-in for a numpy dtype inside a restricted pickle: a checked code and a byte order, nothing else."""

    __slots__ = ("code", "order")

    def __init__(self, code: str) -> None:
        self.code = code
        self.order = code[0] if code[0] in "<>" else "<"

    def __setstate__(self, state: Any) -> None:
        # numpy stores (version, byte order, ...); only the byte order of a plain number matters
        if isinstance(state, tuple) and len(state) > 1 and state[1] in {"<", ">"}:
            self.order = state[1]


def _plain_dictionary(path: Path, content: Any) -> dict[str, Any]:
    remedy = "A dictionary maps names to whole numbers, to numbers or to names, one kind a file."
    if not isinstance(content, dict) or not content:
        raise ManifestError(path, "is not a dictionary, or empty", remedy)
    if len(content) > DICTIONARY_ENTRIES:
        raise FileSizeError(path, f"{len(content)} entries, limit {DICTIONARY_ENTRIES}", remedy)
    if not all(type(key) is str for key in content):
        raise ManifestError(path, "has keys that are not names", remedy)
    entries: dict[str, Any] = dict(content)
    kinds = {type(value) for value in entries.values()}
    if kinds == {int, float}:
        kinds = {float}
        entries = {key: float(value) for key, value in entries.items()}
    if len(kinds) != 1 or not kinds <= {int, float, str}:
        named = ", ".join(sorted(kind.__name__ for kind in kinds))
        raise ManifestError(path, f"mixes values or holds unknown ones ({named})", remedy)
    return entries


def read_state_dict(path: Path) -> Mapping[str, Any]:
    """Tensors of one ``.safetensors`` file, or of one torch file read with ``weights_only=True``, on the processor.

    What the file claims is checked before anything is allocated (`tensor_headers`). A torch file that needs more than
    tensors raises; it is never reopened with a reader that could run code. The weights of a release, which may lie in
    several files, come from `weights.read_weights`.

    Raises
    ------
    ReleaseFileError
        If the file is no such checkpoint (`ManifestError`, `TruncatedFileError`, `UnsafePickleError`);
        ``training_args.bin`` and optimiser states are refused by name.
    """
    refuse_lfs_pointer(path)
    if never_opened(path.name):
        raise UnsafePickleError(path, "is not a weights file", "Leave it out of the release.")
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        safetensors_header(path)
        try:
            return load_file(path, device="cpu")
        except SafetensorError as error:
            raise ManifestError(path, f"is not a readable safetensors file: {error}", "Copy it again.") from error
    return _torch_tensors(path)


def _torch_tensors(path: Path) -> Mapping[str, Any]:
    import torch

    check_torch_archive(path)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, TypeError, LookupError, OverflowError) as error:
        raise UnsafePickleError(
            path, f"cannot be read as tensors only: {str(error)[:200]}", "Convert it to safetensors."
        ) from error
    if not isinstance(state, dict):
        raise ManifestError(path, f"holds a {type(state).__name__}, not named tensors", "Use a state dict.")
    for name, tensor in named_tensors(state).items():
        if tensor.layout != torch.strided or tensor.is_quantized:
            raise ManifestError(path, f"{name} is sparse or quantised", "Save plain tensors.")
        stored = tensor.untyped_storage().nbytes()
        if tensor.numel() * tensor.element_size() > stored:
            claimed = f"claims shape {tuple(tensor.shape)} over {stored} stored bytes"
            raise ManifestError(path, f"{name} {claimed}", "Use the checkpoint as it was saved.")
    return state


def named_tensors(state: Mapping[str, Any], depth: int = 3) -> dict[str, Any]:
    """Tensors of a checkpoint by name, those a training script wrapped under a key of their own included."""
    found: dict[str, Any] = {}
    for name, part in state.items():
        if isinstance(part, Mapping) and depth:
            found |= named_tensors(part, depth - 1)
        elif hasattr(part, "element_size"):
            found[str(name)] = part
    return found

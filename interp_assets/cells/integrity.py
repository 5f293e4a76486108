"""Checks that a file is the file it was declared to be, and the named errors when it is not."""

from __future__ import annotations

import hashlib
from pathlib import Path

_POINTER = b"version https://git-lfs.github.com/spec/"


class DataFileError(ValueError):
    """A data file is present but must not be used; the message names it and the remedy."""


class EmptyFileError(DataFileError):
    """The file holds no bytes."""


class PointerFileError(DataFileError):
    """The file is a Git LFS pointer, not the data it points to."""


class TruncatedFileError(DataFileError):
    """The file ends before its declared size."""


class WrongHashError(DataFileError):
    """The file's sha256 is not the declared one."""


def sha256_of(path: Path) -> str:
    """Sha256 of a file in lower-case hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def verify_file(path: Path, sha256: str | None, size: int | None, remedy: str) -> str:
    """Sha256 of the file, returned only if it and the size are the declared ones.

    Parameters
    ----------
    path
        An existing file.
    sha256, size
        What it must be; ``size`` None skips the size, which only sharpens the message. ``sha256`` None measures it.
    remedy
        Sentence that ends every error.

    Raises
    ------
    DataFileError
        One of its subclasses: empty, pointer, truncated, wrong hash.
    """
    found = path.stat().st_size
    if found == 0:
        raise EmptyFileError(f"{path}: the file is empty. {remedy}")
    with path.open("rb") as stream:
        if stream.read(len(_POINTER)) == _POINTER:
            raise PointerFileError(f"{path}: this is a Git LFS pointer, not the data. Run `git lfs pull`. {remedy}")
    if size is not None and found < size:
        raise TruncatedFileError(f"{path}: the file is truncated, {found:,} of {size:,} bytes. {remedy}")
    digest = sha256_of(path)
    if sha256 is not None and digest != sha256:
        raise WrongHashError(f"{path}: sha256 is {digest}, declared is {sha256} ({found:,} bytes). {remedy}")
    return digest

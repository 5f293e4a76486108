"""Rules that every file of a release keeps, each with the error that names it; no file is parsed here.

What belongs here: the errors, and checks that look at a path or at the first bytes of a file. What does not: readers
(`checkpoints`, `tensor_headers`) and what a family needs (`description`).
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

LFS_MARK = b"version https://git-lfs"
# Pickles of a training run beside the weights. Nothing here reads them, whatever the name promises.
NEVER_OPENED = (
    "training_args.bin",
    "optimizer.pt",
    "optimizer.bin",
    "scheduler.pt",
    "scaler.pt",
    "trainer_state.pt",
    "rng_state.pth",
)


class ReleaseFileError(ValueError):
    """A file of a release that breaks a rule; says which file, which rule and what to do."""

    rule: ClassVar[str] = "every file of a release can be read safely"

    def __init__(self, file: Path | str, problem: str, remedy: str) -> None:
        self.file, self.problem, self.remedy = str(file), problem, remedy
        super().__init__(f"{file}: {problem} (rule: {self.rule}). {remedy}")


class MissingFileError(ReleaseFileError):
    """A file that the manifest lists is not there."""

    rule = "every listed file is present"


class UnsafePathError(ReleaseFileError):
    """A listed path leaves the release folder, or is a link."""

    rule = "listed paths are relative, without '..', and no links"


class TruncatedFileError(ReleaseFileError):
    """A file is shorter than the manifest says."""

    rule = "a file has exactly the listed size"


class FileSizeError(ReleaseFileError):
    """A file is longer than the manifest says, or above the limit of its reader."""

    rule = "a file has exactly the listed size and stays under the limit of its reader"


class LfsPointerError(ReleaseFileError):
    """A file is a Git LFS pointer instead of the content."""

    rule = "files hold their content, not a Git LFS pointer"


class HashMismatchError(ReleaseFileError):
    """The content of a file differs from the manifest."""

    rule = "the sha256 of a file equals the listed one"


class ManifestError(ReleaseFileError):
    """A manifest, configuration or dictionary does not have the agreed form."""

    rule = "manifests, configurations and dictionaries have the agreed form"


class UnsafePickleError(ReleaseFileError):
    """A pickle asks for more than plain names and numbers."""

    rule = "a dictionary pickle holds only names and numbers"


def refuse_lfs_pointer(path: Path) -> None:
    """Raise `LfsPointerError` if the file starts like a Git LFS pointer."""
    with path.open("rb") as stream:
        if stream.read(len(LFS_MARK)) == LFS_MARK:
            raise LfsPointerError(
                path, "is a Git LFS pointer, not the content", "Run `git lfs pull` and copy the file again."
            )


def refuse_link(path: Path) -> None:
    """Raise `UnsafePathError` if the path itself is a symbolic link."""
    if path.is_symlink():
        raise UnsafePathError(path, "is a link", "Replace the link by the file itself.")


def never_opened(name: str) -> bool:
    """Whether a file is left from training and is never opened: pickles of arguments, optimisers, random states.

    >>> never_opened("checkpoint-9/training_args.bin"), never_opened("rng_state_0.pth"), never_opened("model.pt")
    (True, True, False)
    """
    own = name.rsplit("/", 1)[-1]
    return own in NEVER_OPENED or (own.startswith("rng_state") and own.endswith(".pth"))

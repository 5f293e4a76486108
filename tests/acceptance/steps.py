"""What every step of the acceptance run uses: commands from the outside, and the two ways a step does not pass."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
REQUIRED = frozenset(filter(None, os.environ.get("INTERP_REQUIRE", "").split(",")))

# Seconds without an end that count as hanging, where several deployments share the machine: no promise of speed.
HUNG = 1200

# What an evaluation leaves in the folder of one release in one study.
RESULT_FILES = (
    "tests.parquet",
    "tests.csv",
    "claims.json",
    "verdict.json",
    "statement.json",
    "standards.json",
    "report.html",
    "provenance.json",
)


class StepFailedError(Exception):
    """A promise that was not kept."""


class StepSkippedError(Exception):
    """Something this machine lacks."""


# They hold times; whatever else an evaluation writes has the same bytes every time.
WITH_TIMES = ("provenance.json", "report.html")


def content_of(folder: Path) -> dict[str, str]:
    """Sha256 of every result file that holds no time, by its path below ``folder``."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name not in WITH_TIMES)
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def must(condition: bool, said: str) -> None:
    """Fail the step unless ``condition`` holds."""
    if not condition:
        raise StepFailedError(said)


def command(*arguments: str, env: dict[str, str], expect: int | None = 0) -> subprocess.CompletedProcess[str]:
    """Run one installed command and hold it to its exit code."""
    done = subprocess.run(arguments, env=env, capture_output=True, text=True, cwd=PROJECT, check=False)
    if expect is not None and done.returncode != expect:
        tail = "\n".join((done.stdout + done.stderr).splitlines()[-25:])
        raise StepFailedError(f"{' '.join(arguments)} ended with {done.returncode}, expected {expect}:\n{tail}")
    return done

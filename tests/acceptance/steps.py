"""What every step of the acceptance run uses: commands from the outside, and the two ways a step does not pass."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
REQUIRED = frozenset(filter(None, os.environ.get("INTERP_REQUIRE", "").split(",")))

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

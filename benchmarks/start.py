"""Seconds until a command answers or a package is imported: medians of fresh processes, and the heavy modules loaded.

What a person waits for at a prompt, and a server before its first page. Seconds are those of the clock on the wall, in
a process of its own each time, after one run that is not counted (it writes compiled files and fills the disk cache).
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).parents[1]
HEAVY = (
    "anndata",
    "dagster",
    "great_expectations",
    "matplotlib",
    "numba",
    "numpy",
    "pandas",
    "pyarrow",
    "scanpy",
    "scipy",
    "sklearn",
    "torch",
    "transformers",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """One way in, and the seconds it may take.

    words : arguments of the Python interpreter, made when it is measured.
    """

    path: str
    goal: float
    words: Callable[[], Sequence[str]]
    rounds: int = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """One way in as it is written to ``results.json``: medians over rounds."""

    path: str
    seconds: float
    low: float
    high: float
    processor_s: float
    goal: float
    met: bool
    rounds: int
    loads: tuple[str, ...]


def measure(start: Start, rounds: int | None = None) -> Started:
    """Times of one way in.

    Raises
    ------
    RuntimeError
        Where it ends with an error; a command that fails fast has no time.
    """
    words, wanted = list(start.words()), rounds or start.rounds
    loads = loaded(words)
    taken = [_seconds(words) for _ in range(wanted)]
    wall = [each for each, _ in taken]
    return Started(
        path=start.path,
        seconds=statistics.median(wall),
        low=min(wall),
        high=max(wall),
        processor_s=statistics.median(used for _, used in taken),
        goal=start.goal,
        met=statistics.median(wall) <= start.goal,
        rounds=wanted,
        loads=loads,
    )


def loaded(words: Sequence[str]) -> tuple[str, ...]:
    """Heavy packages that the process imports, by name."""
    told = _run(["-X", "importtime", *words]).stderr
    names = {line.rsplit("|", 1)[1].strip() for line in told.splitlines() if line.startswith("import time:")}
    return tuple(name for name in HEAVY if name in names)


def _seconds(words: Sequence[str]) -> tuple[float, float]:
    """Seconds on the wall and of the processor."""
    before, used = time.perf_counter(), _children()
    _run(words)
    return time.perf_counter() - before, _children() - used


def _children() -> float:
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return ended.ru_utime + ended.ru_stime


def _run(words: Sequence[str]) -> subprocess.CompletedProcess[str]:
    quiet = {"DAGSTER_DISABLE_TELEMETRY": "1", "GX_ANALYTICS_ENABLED": "False"}
    done = subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, cwd=PROJECT, env={**os.environ, **quiet}, check=False
    )
    if done.returncode not in GATE_ANSWERS:
        raise RuntimeError(f"{' '.join(words)}: exit code {done.returncode}: {done.stderr[-500:]}")
    return done


# 1 is an answer too: the gate says so where claims are refuted.
GATE_ANSWERS = (0, 1)


def _command(name: str, *words: str) -> Callable[[], list[str]]:
    return lambda: [str(Path(sys.executable).with_name(name)), *words]


def _import(module: str) -> Callable[[], list[str]]:
    return lambda: ["-c", f"import {module}"]


TIMES = (
    Start(path="import qc_standards", goal=0.5, words=_import("qc_standards")),
    Start(path="import interp_assets", goal=0.5, words=_import("interp_assets")),
    Start(path="qc-gate --help", goal=0.5, words=_command("qc-gate", "--help")),
    Start(path="interp --help", goal=0.5, words=_command("interp", "--help")),
    Start(path="interp releases list", goal=1.0, words=_command("interp", "releases", "list")),
    Start(path="code location", goal=3.0, words=_import("interp_assets.definitions")),
)

"""One undisturbed evaluation, and copies of its store to break."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.tiny_store import Environment, deployment, evaluate, judge_control

FAST = Path("/dev/shm") if Path("/dev/shm").is_dir() and os.access("/dev/shm", os.W_OK) else None


@pytest.fixture(autouse=True, scope="module")
def _environment() -> Iterator[None]:
    """Whatever a test says of its deployment ends with its module."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="session")
def whole(soak: int) -> bool:
    """Whether the study is evaluated to its end: in the long form."""
    return soak > 1


@pytest.fixture(scope="session")
def memory() -> Iterator[Path]:
    """Temporary folder in memory where there is one."""
    with tempfile.TemporaryDirectory(dir=FAST, prefix="interp-faults-") as name:
        yield Path(name)


@pytest.fixture(scope="session")
def finished(memory: Path, data_wheels: Path, whole: bool) -> Environment:
    """Deployment whose store an undisturbed evaluation has filled; no test changes it."""
    before = dict(os.environ)
    environment = deployment(memory / "finished" / "store", data_wheels)
    try:
        evaluate(environment, whole)
        if not whole:
            judge_control(environment)
    finally:
        os.environ.clear()
        os.environ.update(before)
    return environment


@pytest.fixture
def broken(finished: Environment, memory: Path) -> Iterator[Callable[[], Environment]]:
    """Function that copies the finished store, to be broken; the copies go with the test."""
    with tempfile.TemporaryDirectory(dir=memory) as name:
        made = 0

        def copy() -> Environment:
            nonlocal made
            made += 1
            store = Path(name) / str(made) / "store"
            shutil.copytree(finished["INTERP_STORE"], store)
            return {**finished, "INTERP_STORE": str(store)}

        yield copy

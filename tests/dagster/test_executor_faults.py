"""Executors on a small graph where steps fail or are killed: who is stopped by it, and what is run again."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.reconstruct import ReconstructableJob, ReconstructableRepository
from dagster._core.execution.api import ReexecutionOptions

from interp_assets.executors import DESCRIBING, ExecutorSettings, chosen_executor

FOLDER = "INTERP_TEST_TOY"  # where steps say when they ran, and where a file called `mended` heals the faults
POOL = "toy_pool"
PRELOAD = ("dagster", "pytest", "interp_assets.executors")
SPAN = 0.4  # seconds of a step that holds the pool


@contextmanager
def told(name: str) -> Iterator[Path]:
    """A step of this name begins and ends; a step that is killed never ends."""
    folder = Path(os.environ[FOLDER])
    with (folder / f"{name}.begun").open("a") as file:
        file.write(f"{time.monotonic_ns()}\n")
    yield folder
    with (folder / f"{name}.ended").open("a") as file:
        file.write(f"{time.monotonic_ns()}\n")


@dg.asset(pool=POOL)
def first_in_pool() -> None:
    with told("first_in_pool"):
        time.sleep(SPAN)


@dg.asset(pool=POOL)
def second_in_pool() -> None:
    with told("second_in_pool"):
        time.sleep(SPAN)


@dg.asset
def failing() -> None:
    with told("failing") as folder:
        if not (folder / "mended").exists():
            raise ValueError("fails on purpose")


@dg.asset(deps=[failing, first_in_pool])
def behind_failing() -> None:
    with told("behind_failing"):
        pass


@dg.asset(pool=POOL)
def killed() -> None:
    with told("killed") as folder:
        if not (folder / "mended").exists():
            os.kill(os.getpid(), signal.SIGKILL)


@dg.asset(deps=[killed])
def behind_killed() -> None:
    with told("behind_killed"):
        pass


@dg.asset(deps=[first_in_pool, second_in_pool])
def beside() -> None:
    with told("beside"):
        pass


FAULTY = ("failing", "killed")
BEHIND = ("behind_failing", "behind_killed")
UNTOUCHED = ("beside", "first_in_pool", "second_in_pool")
ASSETS = [first_in_pool, second_in_pool, failing, behind_failing, killed, behind_killed, beside]
multiprocess = dg.Definitions(
    ASSETS, executor=chosen_executor(ExecutorSettings(kind="multiprocess", processes=2, preload=PRELOAD))
)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder of the steps; the executors' own changes of the environment end with the test."""
    monkeypatch.setenv(FOLDER, str(tmp_path))
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
        monkeypatch.setenv(name, "1")
    for name in DESCRIBING:
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def job() -> ReconstructableJob:
    return ReconstructableRepository.for_file(__file__, "multiprocess").get_reconstructable_job("__ASSET_JOB")


def outcomes(result: dg.ExecuteJobResult) -> dict[str, set[str]]:
    kinds = {"STEP_SUCCESS": "succeeded", "STEP_FAILURE": "failed"}
    found: dict[str, set[str]] = {name: set() for name in kinds.values()}
    for event in result.all_events:
        if event.event_type_value in kinds:
            found[kinds[event.event_type_value]].add(str(event.step_key))
    return found


def begun(folder: Path, name: str) -> list[int]:
    path = folder / f"{name}.begun"
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def ended(folder: Path, name: str) -> list[int]:
    path = folder / f"{name}.ended"
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def test_a_fault_stops_what_lies_behind_it_and_nothing_else(folder: Path, instance: dg.DagsterInstance) -> None:
    """One step raises and the process of another is killed; then only what did not end is run again."""
    instance.event_log_storage.set_concurrency_slots(POOL, 1)
    with dg.execute_job(job(), instance) as result:
        assert outcomes(result) == {"succeeded": set(UNTOUCHED), "failed": set(FAULTY)}
        before = result.run_id
    assert {name: begun(folder, name) for name in BEHIND} == {name: [] for name in BEHIND}
    assert begun(folder, "killed")
    assert not ended(folder, "killed")
    spans = sorted((begun(folder, name)[0], ended(folder, name)[0]) for name in ("first_in_pool", "second_in_pool"))
    assert spans[0][1] <= spans[1][0], "two steps of a pool with one slot ran side by side"

    (folder / "mended").touch()
    with dg.execute_job(
        job(), instance, reexecution_options=ReexecutionOptions.from_failure(before, instance)
    ) as result:
        assert outcomes(result) == {"succeeded": {*FAULTY, *BEHIND}, "failed": set()}
    assert {name: len(begun(folder, name)) for name in UNTOUCHED} == dict.fromkeys(UNTOUCHED, 1)

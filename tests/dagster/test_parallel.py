"""Worker processes: what they are told, that their failures come back, and that one job needs none of them."""

from __future__ import annotations

import time
from concurrent.futures import BrokenExecutor, ThreadPoolExecutor
from pathlib import Path

import dagster as dg
import pytest

from interp_assets import parallel
from interp_assets.evaluate import ChainRun, EvaluationError
from interp_assets.stages import Stage


def chain(name: str) -> tuple[Stage, ...]:
    return (Stage(name, (dg.AssetKey("cells"),), name),)


@pytest.mark.parametrize(("cores", "gpu", "jobs"), [(1, None, 1), (2, None, 2), (16, None, 2), (16, "/bin/smi", 1)])
def test_one_job_beside_a_gpu_and_two_on_two_cores(monkeypatch, cores: int, gpu: str | None, jobs: int) -> None:
    monkeypatch.setattr(parallel.os, "cpu_count", lambda: cores)
    monkeypatch.setattr(parallel.shutil, "which", lambda _: gpu)
    assert parallel.default_jobs() == jobs


def test_a_line_says_the_time_since_the_start() -> None:
    assert parallel.told(time.time() - 125, "battery").startswith(" 2:05")


def test_one_job_starts_no_process() -> None:
    with parallel.worker_pool(1, time.time()) as beside:
        assert beside is None


def test_chains_come_back_in_order_with_steps_and_errors(monkeypatch) -> None:
    def run(chain):
        title = chain[0].title if chain else ""
        return ChainRun([(title, title)], "cells: no counts" if title == "b" else "")

    monkeypatch.setattr(parallel, "_run", run)
    with ThreadPoolExecutor(2) as pool:
        found = parallel.SideBySide(pool, 2)([chain("a"), chain("b"), chain("c")])
    assert [run.steps for run in found] == [[("a", "a")], [("b", "b")], [("c", "c")]]
    assert [run.error for run in found] == ["", "cells: no counts", ""]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (BrokenExecutor("terminated abruptly"), "a worker process was lost: terminated abruptly"),
        (KeyError("analysis_99"), "a worker failed outside every step: KeyError: 'analysis_99'"),
    ],
)
def test_a_worker_that_fails_ends_the_wave_with_its_own_words(monkeypatch, error: Exception, words: str) -> None:
    def run(chain):
        if chain[0].title == "b":
            raise error
        return ChainRun([])

    monkeypatch.setattr(parallel, "_run", run)
    with ThreadPoolExecutor(2) as pool, pytest.raises(EvaluationError, match=f"^{words}$"):
        parallel.SideBySide(pool, 2)([chain("a"), chain("b"), chain("c")])


class BrokenPool(ThreadPoolExecutor):
    """A pool whose workers died while it was idle: it takes nothing any more."""

    def submit(self, *_: object, **__: object):
        raise BrokenExecutor("not usable anymore")


def test_workers_lost_before_the_wave_are_told_in_the_same_way() -> None:
    with BrokenPool(1) as pool, pytest.raises(EvaluationError, match="lost: not usable anymore"):
        parallel.SideBySide(pool, 1)([chain("a")])


def test_a_worker_process_answers(tmp_path: Path, monkeypatch) -> None:
    """A real process: it opens the store by itself and runs nothing when it is handed nothing."""
    monkeypatch.setenv("INTERP_STORE", str(tmp_path))
    with parallel.worker_pool(2, time.time()) as beside:
        assert beside is not None
        beside.warm()
        assert beside([(), ()]) == [ChainRun([]), ChainRun([])]
    assert (tmp_path / ".dagster" / "dagster.yaml").is_file()

"""Evaluation on several cores: worker processes that each run whole chains of stages on the shared store.

What belongs here: the pool and what a worker needs to know. What does not: which stages there are (`evaluate`). Every
worker opens the run history and the store by itself, as the daemon's runs do; the results are those of one process.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, BrokenExecutor, Executor, ProcessPoolExecutor, wait
from contextlib import contextmanager
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

from interp_assets.evaluate import ChainRun, EvaluationError, Evaluator, dagster_instance
from interp_assets.layout import read_layout
from interp_assets.models.bars import counted, one_look
from interp_assets.stages import Stage, Wave

if TYPE_CHECKING:
    import dagster as dg

POOL = "gpu"
_WORKER: dict[str, Any] = {}


def has_gpu() -> bool:
    """Whether a GPU driver is installed."""
    return shutil.which("nvidia-smi") is not None


def default_jobs() -> int:
    """Two processes where there are two cores; one beside a GPU, which one model at a time may use."""
    return 1 if has_gpu() else min(2, os.cpu_count() or 1)


def models_at_once(instance: dg.DagsterInstance, jobs: int) -> None:
    """Let as many models run at once as there are jobs, where they run on processor cores.

    The run history holds one slot for steps that run a model, so that two never share a GPU; workers without one would
    wait for each other.
    """
    if jobs > 1 and not has_gpu():
        instance.event_log_storage.set_concurrency_slots(POOL, jobs)


def share_cores(jobs: int) -> None:
    """Let this process and its children compute on one job's share of the cores, unless the environment says more."""
    threads = str(max(1, (os.cpu_count() or 1) // jobs))
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ.setdefault(name, threads)


def told(started: float, title: str) -> str:
    """Line that says what is about to run, with the time since the start."""
    minutes, seconds = divmod(int(time.time() - started), 60)
    return f"{minutes:2d}:{seconds:02d} \u00b7 {title}"


class SideBySide:
    """Runs the chains of a wave side by side; its processes start when there is something to run."""

    def __init__(self, pool: Executor, jobs: int) -> None:
        self._pool, self._jobs, self._warm = pool, jobs, False

    def warm(self) -> None:
        """Start the processes while the caller does other things."""
        if not self._warm:
            self._warm = True
            for _ in range(self._jobs):
                self._pool.submit(_run, ())

    def __call__(self, wave: Wave) -> list[ChainRun]:
        """What came of every chain, in order; one that fails by a step of its own stops no other.

        Raises
        ------
        EvaluationError
            When a worker is lost or fails outside every step; chains that had not begun are left out.
        """
        try:
            asked = [self._pool.submit(_run, chain) for chain in wave]
            _, left = wait(asked, return_when=FIRST_EXCEPTION)
            for future in left:
                future.cancel()
            return [future.result() for future in asked if not future.cancelled()]
        except BrokenExecutor as error:
            raise EvaluationError(f"a worker process was lost: {error}") from error
        except Exception as error:
            raise EvaluationError(f"a worker failed outside every step: {type(error).__name__}: {error}") from error


@contextmanager
def worker_pool(jobs: int, started: float) -> Iterator[SideBySide | None]:
    """Processes for the chains of waves; None for one job."""
    if jobs < 2:
        yield None
        return
    context = get_context("spawn")
    numbers = context.Queue()
    for number in range(jobs):
        numbers.put(number)
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=_begin, initargs=(jobs, numbers, started)) as pool:
        yield SideBySide(pool, jobs)


def _begin(jobs: int, numbers: Any, started: float) -> None:
    """Prepare a worker: its share of the cores, its own line for progress bars, its own view of store and history."""
    number = numbers.get()
    share_cores(jobs)
    os.environ["TQDM_POSITION"] = str(number)
    one_look()
    from interp_assets.cli import quiet_dagster
    from interp_assets.definitions import build_definitions

    quiet_dagster()
    layout = read_layout()
    evaluator = Evaluator(build_definitions(layout), layout, dagster_instance(layout))
    evaluator.progress.before = lambda title: print(told(started, title), flush=True)  # noqa: T201 (a worker's voice)
    evaluator.progress.counting = counted
    _WORKER["evaluator"] = evaluator


def _run(chain: Sequence[Stage]) -> ChainRun:
    found: ChainRun = _WORKER["evaluator"].run_chain(chain)
    return found

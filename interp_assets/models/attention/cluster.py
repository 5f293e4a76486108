"""Shards of an extraction added by the workers of a dask scheduler, and handed back in the order of the plan.

What belongs here: what a shard needs elsewhere, how it is added there, and what is refused. What does not: the plan
(`plan`), the reduction and its checkpoints (`sums`), which stay in the process that asks.

Batches and shards are those of a run in one process, and shard sums are reduced in shard order there, so that neither
the number of workers nor a worker that died changes a byte. At most `AHEAD` shards a worker are under way, and one
at a time is received.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import CancelledError
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from interp_assets.models.adapter import AttentionModel
from interp_assets.models.attention.plan import BatchPlan, ScoredCells
from interp_assets.models.attention.settings import KERNEL_VERSION, ExtractionSettings, library_versions
from interp_assets.models.attention.sums import ShardSums, Sums
from interp_assets.models.files.releases import Release, read_release

if TYPE_CHECKING:
    from distributed import Client, Future

    from interp_assets.models.attention.run import ExtractionRun

AHEAD: Final = 2
CONNECT_SECONDS: Final = 20.0
# How long a run waits where the scheduler has no worker left.
WORKER_SECONDS: Final = 120.0
_POLL_SECONDS: Final = 15.0
_log = logging.getLogger(__name__)
# One shard at a time in a process: threads of a model are settings of the process, and sums are large.
_ONE_SHARD = threading.Lock()


class ClusterError(RuntimeError):
    """Workers that cannot be had, or were lost; an unfinished extraction goes on from its last checkpoint."""


class ClusterMismatchError(ClusterError):
    """A worker that could add other bits than this process would."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardJob:
    """Everything a worker needs for the sums of one shard: its cells alone, and where the release lies.

    ``batches`` number the cells of this shard from 0. ``distinct``: no cell of the whole extraction holds a gene at two
    positions, which chooses the kernel's path and cannot be told from one shard. ``kernel`` and ``form`` (in the
    settings) are those the asking process chose.
    """

    number: int
    folder: Path
    release_id: str
    load: Callable[..., AttentionModel]
    settings: ExtractionSettings
    device: str
    kernel: str
    layers: range
    cells: ScoredCells
    batches: tuple[NDArray[np.int64], ...]
    distinct: bool
    versions: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class AddedShard:
    """Sums of one shard (slabs x G x G, float32), the shard's number, and the threads that added them."""

    number: int
    sums: Sums
    threads: int

    def taken(self) -> Sums:
        """The sums, writable: arrays received over a connection may not be."""
        return np.require(self.sums, requirements=["C", "W"])


def versions_here(device: str) -> dict[str, str]:
    """What the bits of a sum depend on beside the plan: libraries, kernel, and what computes in this process."""
    import torch

    if device == "cpu":
        computes = torch.backends.cpu.get_cpu_capability()
    else:
        computes = torch.cuda.get_device_name() if torch.cuda.is_available() else "without CUDA"
    return {**library_versions(), "KERNEL_VERSION": str(KERNEL_VERSION), "processor": computes}


def add_shard(job: ShardJob) -> AddedShard:
    """Sums of one shard, added in the process that calls; the model is loaded once a process.

    Raises
    ------
    ClusterMismatchError
        If this process has other libraries, another kernel or processor, or another release in the folder than asked.
    """
    from interp_assets.models.attention.extraction import _full_precision, _thread_limits
    from interp_assets.models.attention.run import ExtractionRun

    own = versions_here(job.device)
    if told := differences(job.versions, own):
        raise ClusterMismatchError(f"a worker that joined later differs: {told}")
    with _ONE_SHARD, _thread_limits(job.settings.threads) as threads, _full_precision(job.device):
        model = _model(job.folder, job.release_id, job.device, job.settings.dtype, job.load)
        run = ExtractionRun(model=model, cells=job.cells, settings=job.settings, folder=Path(), key="", label="")
        if (run.form, run.kernel) != (job.settings.form, job.kernel):
            raise ClusterMismatchError(f"a worker would add {run.form} by {run.kernel}, not by {job.kernel}")
        run.distinct = job.distinct
        sums = ShardSums(run.sums.shape(job.layers), run.facts.device)
        for batch in job.batches:
            run._add(batch, sums, job.layers)
        return AddedShard(number=job.number, sums=sums.taken(), threads=threads)


@lru_cache(maxsize=1)
def _model(folder: Path, release_id: str, device: str, dtype: str, load: Callable[..., AttentionModel]) -> Any:
    """Model of a folder whose files were hashed here and are those of the release asked for.

    How cells are encoded plays no part: they come encoded.
    """
    release = read_release(folder)
    if release.release_id != release_id:
        raise ClusterMismatchError(
            f"{folder} holds release {release.release_id[:12]} on a worker, {release_id[:12]} was asked for; give "
            "every worker the same files under the same path"
        )
    return load(release, device=device, dtype=dtype)


def differences(asked: Mapping[str, str], found: Mapping[str, str]) -> str:
    """What differs, by name; empty where nothing does.

    >>> differences({"numpy": "2.4", "torch": "2.13"}, {"numpy": "2.3", "torch": "2.13"})
    'numpy 2.3 instead of 2.4'
    """
    names = sorted({*asked, *found})
    unlike = [name for name in names if asked.get(name) != found.get(name)]
    return ", ".join(f"{name} {found.get(name, 'absent')} instead of {asked.get(name, 'absent')}" for name in unlike)


def shard_cells(cells: ScoredCells, numbers: NDArray[np.int64]) -> ScoredCells:
    """Some cells, in the order given, as records of their own."""
    encoded = cells.encoded
    flat, offsets = _spans(encoded.offsets, numbers)
    scored, scored_offsets = _spans(cells.offsets, numbers)
    own = replace(encoded, tokens=encoded.tokens[flat], column=encoded.column[flat], offsets=offsets, left_out=None)
    return ScoredCells(
        encoded=own, where=cells.where[scored], gene=cells.gene[scored], offsets=scored_offsets, genes=cells.genes
    )


def _spans(offsets: NDArray[np.int64], numbers: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Flat positions of some cells, and their new offsets."""
    lengths = offsets[numbers + 1] - offsets[numbers]
    new = np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)
    return np.repeat(offsets[numbers] - new[:-1], lengths) + np.arange(new[-1]), new


@dataclass(kw_only=True)
class ShardWorkers:
    """Connected workers of a scheduler that were compared with this process; see `shard_workers`."""

    client: Client
    release: Release
    settings: ExtractionSettings
    device: str
    load: Callable[..., AttentionModel]
    versions: Mapping[str, str]
    threads: set[int] = field(default_factory=set)

    def told_threads(self, here: int) -> int | list[int]:
        """Threads of every worker, one number if they agree; ``here`` where no worker added anything."""
        found = sorted(self.threads) or [here]
        return found[0] if len(found) == 1 else found

    def shards(self, run: ExtractionRun, plan: BatchPlan, layers: range, done: int) -> Iterator[AddedShard]:
        """Sums of the shards from number ``done`` on, in order."""
        waiting: deque[tuple[int, Future[AddedShard]]] = deque()
        to_come = iter(range(done, len(plan.shards)))
        try:
            while True:
                with _scheduler_lost(self.settings, done, len(plan.shards)):
                    for number in self._room(to_come, len(waiting)):
                        job = self._job(run, plan, layers, number)
                        waiting.append((number, self.client.submit(add_shard, job, pure=False)))
                if not waiting:
                    return
                number, future = waiting.popleft()
                added = self._received(future, number, len(plan.shards))
                future.release()
                self.threads.add(added.threads)
                done = number + 1
                yield added
                del added
        finally:
            for _, future in waiting:
                future.release()

    def _room(self, to_come: Iterator[int], waiting: int) -> Iterator[int]:
        """The next shards for which there is room."""
        workers = max(1, len(self.client.nthreads()))
        for _, number in zip(range(AHEAD * workers - waiting), to_come, strict=False):
            yield number

    def _job(self, run: ExtractionRun, plan: BatchPlan, layers: range, number: int) -> ShardJob:
        batches = [plan.batches[batch] for batch in plan.shards[number]]
        starts = np.cumsum([0, *(batch.size for batch in batches)])
        wanted = "auto" if run.kernel == "softmax" else run.kernel
        return ShardJob(
            number=number,
            folder=self.release.folder.resolve(),
            release_id=self.release.release_id,
            load=self.load,
            settings=replace(self.settings, form=run.form, kernel=wanted, scheduler=None),
            device=self.device,
            kernel=run.kernel,
            layers=layers,
            cells=shard_cells(run.cells, np.concatenate(batches)),
            batches=tuple(np.arange(start, stop) for start, stop in pairwise(starts)),
            distinct=run.distinct,
            versions=self.versions,
        )

    def _received(self, future: Future[AddedShard], number: int, shards: int) -> AddedShard:
        """Sums of one shard, waited for as long as there are workers."""
        from distributed import KilledWorker

        idle = 0.0
        while True:
            try:
                with _scheduler_lost(self.settings, number, shards, future):
                    return future.result(timeout=_POLL_SECONDS)
            except KilledWorker as error:
                raise ClusterError(
                    f"shard {number + 1} of {shards}: every worker that took it died ({error}); most likely memory ran "
                    "out. Lower `memory_gib` or `batch_tokens`, or give workers more memory; see their logs"
                ) from error
            except TimeoutError:
                if future.status == "error":
                    raise
            with _scheduler_lost(self.settings, number, shards):
                idle = 0.0 if self.client.nthreads() else idle + _POLL_SECONDS
            if idle >= WORKER_SECONDS:
                raise ClusterError(
                    f"scheduler {self.settings.scheduler} has had no worker for {idle:.0f} s, {number} of {shards} "
                    "shards are done; start workers and run again"
                )


@contextmanager
def shard_workers(
    release: Release, settings: ExtractionSettings, device: str, load: Callable[..., AttentionModel]
) -> Iterator[ShardWorkers | None]:
    """Workers of the scheduler in the settings, None without one; connected as long as the context is open.

    Raises
    ------
    ClusterError
        If dask.distributed is not installed, or the scheduler or its workers cannot be reached.
    ClusterMismatchError
        If libraries, kernel or processor of a worker differ from those of this process; nothing has run then.
    """
    if settings.scheduler is None:
        yield None
        return
    try:
        from distributed import Client
    except ImportError as error:
        raise ClusterError("a scheduler is set, but dask.distributed is not installed: install [cluster]") from error
    try:
        client = Client(settings.scheduler, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise ClusterError(
            f"scheduler {settings.scheduler!r} does not answer ({error}); start it, or leave `scheduler` out to "
            "extract in this process"
        ) from error
    import dask

    # a shard travels inside its task: data scattered to a worker would be lost with it
    with client, dask.config.set({"distributed.admin.large-graph-warning-threshold": "1GB"}):
        versions = versions_here(device)
        _compare(client, settings, device, versions)
        yield ShardWorkers(
            client=client, release=release, settings=settings, device=device, load=load, versions=versions
        )


def _compare(client: Client, settings: ExtractionSettings, device: str, versions: Mapping[str, str]) -> None:
    try:
        client.wait_for_workers(1, timeout=CONNECT_SECONDS)
        found: dict[str, dict[str, str]] = client.run(versions_here, device)
    except TimeoutError as error:
        raise ClusterError(f"scheduler {settings.scheduler} has no worker; start some with `dask worker`") from error
    except ImportError as error:
        raise ClusterError(f"a worker cannot import {error.name}; install the platform there as here") from error
    told = [f"{address}: {text}" for address, own in found.items() if (text := differences(versions, own))]
    if told:
        raise ClusterMismatchError(
            f"workers would not add the same bits as this process: {'; '.join(sorted(told))}. Give workers the "
            "environment of the lock file, on processors of one kind"
        )
    _log.info("%d workers of %s add the shards", len(found), settings.scheduler)


@contextmanager
def _scheduler_lost(
    settings: ExtractionSettings, done: int, shards: int, future: Future[AddedShard] | None = None
) -> Iterator[None]:
    """Turn whatever a lost connection raises into one error; what a shard itself raised passes."""
    from distributed import KilledWorker

    try:
        yield
    except (CancelledError, OSError) as error:
        own = isinstance(error, (KilledWorker, TimeoutError)) or (future is not None and future.status == "error")
        if own:
            raise
        raise ClusterError(
            f"the scheduler {settings.scheduler} was lost, {done} of {shards} shards are done; start it again and run "
            "again: the extraction goes on from its last checkpoint"
        ) from error

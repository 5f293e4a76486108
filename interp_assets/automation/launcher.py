"""Dagster's own run launcher, which also knows when the worker of a run is gone.

What belongs here: how the daemon learns that a run has lost its process, so that it is ended and started again (named
in dagster.yaml). What does not: deciding what to do then (``run_retries`` and `failures`).

Dagster's default launcher notices a dead worker as long as the code server that started it lives. When both are killed,
as by a power cut or an out-of-memory killer, the run would stay "started" for ever and hold its slot of the gpu pool.
At the command line, where no daemon runs, the next command looks for such runs (`end_lost_runs`).
"""

from __future__ import annotations

import json
import os
import socket
import time
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.launcher import CheckRunHealthResult, DefaultRunLauncher, WorkerStatus

SERVER_TAG = ".dagster/grpc_info"
HOST_TAG = "interp/host"
PROCESS_TAG = "interp/process"
# Seconds by which the start of a process may seem to lie after a moment at which it was there: clocks are set.
CLOCKS_APART = 60.0
PATIENCE = 5  # seconds for an answer of a code server


class WatchedRunLauncher(DefaultRunLauncher):
    """Launches runs in the code server and answers whether their processes live."""

    @property
    def supports_check_run_worker_health(self) -> bool:
        """True: the daemon asks for every run that has started."""
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """Whether the process of a run lives; where nobody can know, it counts as living."""
        if HOST_TAG in run.tags:  # a run of `interp evaluate`, which has no code server
            return _of_process(run.tags.get(HOST_TAG, ""), run.tags.get(PROCESS_TAG, ""))
        server = json.loads(run.tags.get(SERVER_TAG, "{}"))
        if not server:
            return CheckRunHealthResult(WorkerStatus.RUNNING, "no worker is named")
        if server.get("socket"):
            return self._by_history(run.run_id)
        known = self._server_lists(run.run_id)
        if known is False:
            return CheckRunHealthResult(WorkerStatus.NOT_FOUND, "its code server runs no such process")
        return CheckRunHealthResult(WorkerStatus.RUNNING, "its code server runs it, or cannot be asked now")

    def _server_lists(self, run_id: str) -> bool | None:
        """Whether the code server that started a run names it among its runs; None when it does not answer.

        Dagster has a question of its own for this (``can_cancel_execution``), which must never be asked: it takes a
        lock that the process of the run holds while it ends. Asked in that moment (seen on a busy machine) the code
        server waits for a process that is gone, and answers nobody any more.
        """
        from dagster._core.errors import DagsterUserCodeUnreachableError
        from dagster._grpc.__generated__ import dagster_api_pb2
        from dagster._grpc.types import GetCurrentRunsResult
        from dagster_shared.serdes import deserialize_value

        client: Any = self._get_grpc_client_for_termination(run_id)
        if client is None:
            return None
        try:
            # `client.get_current_runs()` with less patience: the daemon asks for one run after the other.
            answer = client._query("GetCurrentRuns", dagster_api_pb2.Empty, timeout=PATIENCE)
        except DagsterUserCodeUnreachableError:
            return None
        return run_id in deserialize_value(answer.serialized_current_runs, GetCurrentRunsResult).current_runs

    def _by_history(self, run_id: str) -> CheckRunHealthResult:
        """What the process that the run told of is doing; a socket means that it ran on this machine."""
        for entry in self._instance.all_logs(run_id, of_type=dg.DagsterEventType.ENGINE_EVENT):
            number = entry.dagster_event.event_specific_data.metadata.get("pid")
            if number is not None:
                return _of_process(socket.gethostname(), str(number.value), told=entry.timestamp)
        return CheckRunHealthResult(WorkerStatus.NOT_FOUND, "its code server is gone and it never told of a process")


def this_process() -> dict[str, str]:
    """Tags of a run that this very process carries out."""
    return {HOST_TAG: socket.gethostname(), PROCESS_TAG: f"{os.getpid()}:{_born(os.getpid())}"}


def end_lost_runs(instance: dg.DagsterInstance) -> list[str]:
    """End runs of `interp evaluate` whose process is gone, and free what they hold; their ids.

    The daemon does so by itself. Without one, the slot of a killed run in the pool ``gpu`` would stay taken, and the
    next evaluation wait for it for ever.
    """
    from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES

    ended = []
    for run in instance.get_runs(dg.RunsFilter(statuses=list(NOT_FINISHED_STATUSES))):
        if HOST_TAG not in run.tags:
            continue
        health = _of_process(run.tags[HOST_TAG], run.tags.get(PROCESS_TAG, ""))
        if health.status is WorkerStatus.NOT_FOUND:
            instance.report_run_canceled(run, message=f"ended by the next command: {health.msg}")
            instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
            ended.append(run.run_id)
    return ended


def _of_process(host: str, process: str, told: float = 0.0) -> CheckRunHealthResult:
    """Whether a process lives: its number, with the tick of its start or the moment when it ``told`` of itself."""
    number, _, born = process.partition(":")
    if host != socket.gethostname() or not number.isdigit():
        return CheckRunHealthResult(WorkerStatus.RUNNING, f"it runs on {host}, which cannot be asked from here")
    now = _born(int(number))
    another = (born and born != now) or (told and now.isdigit() and _moment(now) > told + CLOCKS_APART)
    if now == "" or another:
        return CheckRunHealthResult(WorkerStatus.NOT_FOUND, f"its process {number} on {host} is gone")
    return CheckRunHealthResult(WorkerStatus.RUNNING, f"process {number}")


def _moment(ticks: str) -> float:
    """Seconds since 1970 of a start in ticks since the machine started (of the machine, whatever a container shows)."""
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + int(ticks) / os.sysconf("SC_CLK_TCK")


def _born(number: int) -> str:
    """Start of a process in ticks of the machine's clock, which tells reused numbers apart; empty when it is gone."""
    try:
        fields = Path(f"/proc/{number}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return "" if Path("/proc/self/stat").exists() else _answers(number)
    return "" if fields[0] in ("Z", "X") else fields[19]


def _answers(number: int) -> str:
    """Where there is no /proc: a word when a process of this number exists, else nothing."""
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return ""
    except PermissionError:
        return "running"
    return "running"

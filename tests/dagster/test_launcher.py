"""How the daemon learns whether the process of a run is there, without a question that its code server may die of."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.events import EngineEventData
from dagster._grpc.client import DagsterGrpcClient

from interp_assets.automation.launcher import HOST_TAG, PROCESS_TAG, SERVER_TAG, WatchedRunLauncher, this_process

GONE = 4194304  # above the largest number of a process


@pytest.fixture
def launcher(instance: dg.DagsterInstance) -> WatchedRunLauncher:
    found = WatchedRunLauncher()
    found.register_instance(instance)
    return found


def run_told_of(instance: dg.DagsterInstance, server: dict[str, object], pid: int | None) -> dg.DagsterRun:
    """A run that has begun, on a code server, with the event by which its process tells of itself."""
    job = dg.Definitions(jobs=[dg.define_asset_job("one", [thing])], assets=[thing]).resolve_job_def("one")
    started = dg.DagsterRunStatus.STARTED
    run = instance.create_run_for_job(job, status=started, tags={SERVER_TAG: json.dumps(server)})
    if pid is not None:
        told = EngineEventData({"pid": dg.MetadataValue.text(str(pid))})
        instance.report_engine_event(f"Started process for run (pid: {pid}).", run, told)
    return run


@dg.asset
def thing() -> int:
    return 1


def test_a_process_of_the_command_line_is_known_by_its_number_and_its_start() -> None:
    here = this_process()
    number, _, born = here[PROCESS_TAG].partition(":")

    def status(**tags: str) -> str:
        return WatchedRunLauncher().check_run_worker_health(dg.DagsterRun(job_name="job", tags=tags)).status.value

    assert status(**here) == "RUNNING"
    assert status(**{**here, PROCESS_TAG: f"{number}:{int(born) + 1}"}) == "NOT_FOUND", "another process of its number"
    assert status(**{**here, PROCESS_TAG: f"{GONE}:1"}) == "NOT_FOUND"
    assert status(**{HOST_TAG: "another-machine", PROCESS_TAG: f"{GONE}:1"}) == "RUNNING", "nobody here can know"
    assert status() == "RUNNING"


@pytest.mark.parametrize(
    "pid, expected",
    [(os.getpid(), "RUNNING"), (GONE, "NOT_FOUND"), (None, "NOT_FOUND")],
    ids=["alive", "gone", "never told"],
)
def test_on_this_machine_the_process_is_looked_for_and_no_server_is_asked(
    instance, launcher, monkeypatch: pytest.MonkeyPatch, pid: int | None, expected: str
) -> None:
    monkeypatch.setattr(DagsterGrpcClient, "_query", lambda *_, **__: pytest.fail("the code server was asked"))
    run = run_told_of(instance, {"socket": "/nowhere"}, pid)
    assert launcher.check_run_worker_health(run).status.value == expected


def test_a_younger_process_of_the_same_number_is_another(instance, launcher, monkeypatch: pytest.MonkeyPatch) -> None:
    long_ago = time.time() - 10 * 365 * 86400
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: long_ago)
        run = run_told_of(instance, {"socket": "/nowhere"}, os.getpid())
    assert launcher.check_run_worker_health(run).status.value == "NOT_FOUND"


def answers(client: DagsterGrpcClient) -> bool:
    try:
        return client.ping("here")["echo"] == "here"
    except DagsterUserCodeUnreachableError:
        return False


@pytest.fixture
def code_server(tmp_path: Path) -> Iterator[dict[str, object]]:
    """Address of a code server of its own, as `deploy/compose.yaml` starts one."""
    (tmp_path / "nothing.py").write_text("import dagster\n\ndefs = dagster.Definitions()\n")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "dagster", "api", "grpc", "--host", "127.0.0.1", "--port", str(port)]
    process = subprocess.Popen([*command, "-f", "nothing.py"], cwd=tmp_path, stderr=subprocess.DEVNULL)
    client = DagsterGrpcClient(host="127.0.0.1", port=port)
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not answers(client):
            time.sleep(0.2)
        yield {"host": "127.0.0.1", "port": port}
    finally:
        process.kill()  # it holds nothing
        process.wait()


def test_on_another_machine_the_server_says_which_runs_it_has(
    instance, launcher, code_server, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    real = DagsterGrpcClient._query

    def heard(client: DagsterGrpcClient, question: str, *more: object, **options: object) -> object:
        asked.append(question)
        return real(client, question, *more, **options)

    monkeypatch.setattr(DagsterGrpcClient, "_query", heard)
    gone = run_told_of(instance, code_server, os.getpid())
    assert launcher.check_run_worker_health(gone).status.value == "NOT_FOUND"
    silent = run_told_of(instance, {**code_server, "port": 1}, os.getpid())
    assert launcher.check_run_worker_health(silent).status.value == "RUNNING", "a server that is away may come back"
    assert asked == ["GetCurrentRuns", "GetCurrentRuns"]

"""One graph, three executors: settings, same bytes and data versions."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest

from interp_assets import executors, parallel
from interp_assets.cells.declared import DeclarationError
from interp_assets.deployment import read_deployment
from interp_assets.executors import PRELOAD, ExecutorSettings, chosen_executor, executor_settings
from interp_assets.settings import Folders

HERE = Path(__file__).resolve().parent
RELEASE = "geneformer-small-2k"
# Files, cells and what is computed from them side by side, a release, and two steps that share the `gpu` pool.
FILES = (
    "baron_pancreas_human_sample",
    "gencode44_human",
    "go_biological_process",
    "kegg_curated",
    "pathway_commons_expression",
    "reactome_curated",
)
CHAIN = (
    *(f"{name}:raw/{name}" for name in FILES),
    "planted_tiny:cells,de_labels,correlation,references,gene_features",
    f"{RELEASE}:release",
    f"planted_tiny|{RELEASE}:attention,random_weights/attention",
)
SCHEDULER = "tcp://127.0.0.1:18797"
# A scheduler with two workers, in the environment of the deployment, until its input ends.
CLUSTER = f"""
import sys
from distributed import LocalCluster
if __name__ == "__main__":
    cluster = LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, scheduler_port={SCHEDULER[-5:]})
    print("ready", flush=True)
    sys.stdin.read()
"""
KINDS = ("in_process", "multiprocess", "dask")


def settings_of(tmp_path: Path, text: str) -> ExecutorSettings:
    (tmp_path / "platform.yaml").write_text(text, encoding="utf-8")
    folders = Folders(store=tmp_path, releases=tmp_path, wheels=tmp_path, config=tmp_path)
    return executor_settings(read_deployment(folders))


@pytest.fixture(autouse=True)
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("INTERP_PLATFORM", raising=False)
    monkeypatch.setattr(parallel.os, "cpu_count", lambda: 2)
    monkeypatch.setattr(parallel.shutil, "which", lambda _: None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ExecutorSettings()),
        ("executor: {}", ExecutorSettings()),
        ("executor: {kind: multiprocess}", ExecutorSettings(kind="multiprocess", processes=2, preload=PRELOAD)),
        (
            "executor: {kind: multiprocess, processes: 4, preload: [json]}",
            ExecutorSettings(kind="multiprocess", processes=4, preload=("json",)),
        ),
        (
            "executor: {kind: dask, processes: 3, memory: 2GiB}",
            ExecutorSettings(kind="dask", processes=3, memory="2GiB"),
        ),
        (
            "executor: {kind: dask, scheduler: 'tcp://head:8786'}",
            ExecutorSettings(kind="dask", processes=0, scheduler="tcp://head:8786"),
        ),
    ],
)
def test_settings_are_what_the_file_says(tmp_path: Path, text: str, expected: ExecutorSettings) -> None:
    assert settings_of(tmp_path, text) == expected


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("executor: {kind: ray}", "allowed: in_process, multiprocess, dask"),
        ("executor: {kind: in_process, processes: 2}", "`executor.processes`: is not known here"),
        ("executor: {kind: multiprocess, processes: 0}", "at least 1"),
        ("executor: {kind: multiprocess, preload: [no_such_module]}", "module no_such_module is not installed"),
        ("executor: {kind: multiprocess, scheduler: 'tcp://a:1'}", "`executor.scheduler`: is not known here"),
        ("executor: {kind: dask, scheduler: head}", "write the whole address"),
        ("executor: {kind: dask, scheduler: 'tcp://a:1', processes: 2}", "belongs to the workers of that scheduler"),
    ],
)
def test_a_slip_names_the_key_and_the_way_out(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(DeclarationError, match=r"platform\.yaml") as caught:
        settings_of(tmp_path, text)
    assert problem in str(caught.value)


def test_a_missing_package_names_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executors, "_installed", lambda _: False)
    with pytest.raises(DeclarationError, match=r"interp-assets\[cluster\]"):
        settings_of(tmp_path, "executor: {kind: dask}")


def test_in_process_is_dagsters_own() -> None:
    assert chosen_executor(ExecutorSettings()) is dg.in_process_executor


class Lost:
    """A future whose worker did not report."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def result(self) -> None:
        raise self._error


def reported(error: BaseException) -> tuple[str, Any, str]:
    """The step, the error and the state that the run is told of when a worker did not report."""
    plan = SimpleNamespace(
        for_step=lambda step: step,
        executor=SimpleNamespace(log_failure_or_retry_event_after_error=lambda *told: told),
    )
    active = SimpleNamespace(get_step_by_key=lambda key: f"step {key}", get_known_state=lambda: "state")
    (event,) = executors._events(Lost(error), plan, active, "attention")
    return event


@pytest.mark.parametrize("error", [RuntimeError("worker died three times"), MemoryError("limit"), EOFError("cut off")])
def test_a_worker_that_did_not_report_fails_its_own_step_with_its_error(error: Exception) -> None:
    step, told, state = reported(error)
    assert (step, state) == ("step attention", "state")
    assert told.cls_name == type(error).__name__
    assert str(error) in told.message
    assert any("in result" in line for line in told.stack)


def test_an_interruption_is_no_failure_of_a_step() -> None:
    with pytest.raises(KeyboardInterrupt):
        reported(KeyboardInterrupt())


def test_a_worker_of_another_deployment_refuses_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the check its step succeeds, in its own store: seen with a worker that had no INTERP_STORE."""
    for name in executors.DESCRIBING:
        monkeypatch.delenv(name, raising=False)
    done: list[int] = []
    asked = {"INTERP_STORE": "/data/store"}
    with pytest.raises(executors.OtherDeploymentError, match=r"INTERP_STORE is None, the run has '/data/store'"):
        executors._on_worker(asked, done.append, 1)
    assert done == []
    monkeypatch.setenv("INTERP_STORE", "/data/store")
    executors._on_worker(asked, done.append, 1)
    assert done == [1]


def environment(folder: Path, wheels: Path, releases: Path, kind: str, deployed) -> dict[str, str]:
    folder.mkdir(parents=True, exist_ok=True)
    platform = folder / "platform.yaml"
    further = {"in_process": "", "multiprocess": ", processes: 2", "dask": f", scheduler: '{SCHEDULER}'"}[kind]
    platform.write_text(f"executor: {{kind: {kind}{further}}}\n")
    described = deployed(folder, wheels, "tiny", releases) | {"INTERP_PLATFORM": str(platform), "OMP_NUM_THREADS": "1"}
    kept = {name: value for name, value in os.environ.items() if name != "INTERP_DATA_MIRROR"}
    return kept | described | {"PYTHONPATH": str(HERE.parents[1])}


def materialised(environment: dict[str, str], wanted: tuple[str, ...]) -> list[dict]:
    command = [sys.executable, str(HERE / "materialise.py"), *wanted]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


@contextmanager
def workers(environment: dict[str, str], folder: Path) -> Iterator[None]:
    script = folder / "cluster.py"
    script.write_text(CLUSTER, encoding="utf-8")
    command = [sys.executable, str(script)]
    piped = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, env=environment, text=True, **piped) as cluster:
        assert cluster.stdout is not None
        assert cluster.stdout.readline().strip() == "ready"
        try:
            yield
        finally:
            cluster.terminate()


def content(store: Path) -> dict[str, str]:
    return {
        path.relative_to(store).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in store.rglob("*")
        if path.is_file() and not path.relative_to(store).as_posix().startswith(".dagster/")
    }


def versions(store: Path) -> dict[tuple[str, str | None], str | None]:
    """Data version of every materialisation in the run history of a store."""
    with dg.DagsterInstance.from_config(str(store / ".dagster")) as instance:
        found = {}
        for key in instance.get_asset_keys():
            for record in instance.fetch_materializations(key, limit=50).records:
                tags = record.asset_materialization.tags
                found[(key.to_user_string(), record.partition_key)] = tags["dagster/data_version"]
    return found


@pytest.mark.slow
def test_the_same_bytes_and_data_versions_under_every_executor(
    fast_folder: Path, data_wheels: Path, shipped_releases: Path, deployed
) -> None:
    stores = {}
    for kind in KINDS:
        folder = fast_folder / f"executors-{kind}"
        described = environment(folder, data_wheels, shipped_releases, kind, deployed)
        with workers(described, folder) if kind == "dask" else nullcontext():
            runs = materialised(described, CHAIN)
        assert all(run["success"] for run in runs), kind
        stores[kind] = folder / "store"
    expected = content(stores["in_process"])
    assert any(name.startswith(f"attention/{RELEASE}/") for name in expected)
    for kind in KINDS[1:]:
        assert content(stores[kind]) == expected, kind
        assert versions(stores[kind]) == versions(stores["in_process"]), kind

"""A running deployment: web server and daemon as a child process, and questions to its GraphQL endpoint."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pandas as pd

BACKFILL = """mutation Launch($keys: [AssetKeyInput!]!, $partitions: [String!]!) {
  launchPartitionBackfill(backfillParams: {assetSelection: $keys, partitionNames: $partitions}) {
    __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }"""
BACKFILL_STATE = """query State($id: String!) {
  partitionBackfillOrError(backfillId: $id) { __typename ... on PartitionBackfill { status } } }"""
RUNS = """{ runsOrError(limit: 500) { ... on Runs { results {
  runId status assetSelection { path } tags { key value } } } } }"""
STALE = """query Stale($key: AssetKeyInput!, $partition: String!) {
  assetNodes(assetKeys: [$key]) { staleStatus(partition: $partition) } }"""
TICKS = """query Ticks($selector: InstigationSelector!) { instigationStateOrError(instigationSelector: $selector) {
  __typename ... on InstigationState { ticks(limit: 50) { timestamp status runIds skipReason } }
  ... on PythonError { message } } }"""


class Served:
    """`interp ui` for the length of a ``with`` block; its log is kept for the error message."""

    def __init__(self, environment: dict[str, str], log: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        self._environment, self._log = environment, log
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Served:
        command = ["interp", "ui", "--port", str(self.port)]
        with self._log.open("wb") as out:
            self._process = subprocess.Popen(
                command, env=self._environment, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
            )
        wait_for(self._answers, 120, f"the web server; log {self._log}", every=1)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
        with contextlib.suppress(ProcessLookupError):
            # It leads a session of its own, so its number is also that of the group of its daemon and runs.
            os.killpg(self._process.pid, signal.SIGKILL)
        if kind is not None:
            print("\n".join(self._log.read_text(errors="replace").splitlines()[-60:]), flush=True)

    def _answers(self) -> bool:
        if self._process is not None and self._process.poll() is not None:
            raise RuntimeError(f"interp ui ended by itself:\n{self._log.read_text()[-3000:]}")
        try:
            return bool(self.ask("{ version }"))
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """Data of one GraphQL answer; an error in it is raised."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/graphql", data=body, headers={"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=30) as reply:
            answer = json.load(reply)
        if answer.get("errors"):
            raise RuntimeError(f"GraphQL: {answer['errors'][0]['message']}")
        data: dict[str, Any] = answer["data"]
        return data

    def backfill(self, keys: list[list[str]], partition: str, seconds: float) -> None:
        """Launch a backfill of some assets over one partition and wait until it has succeeded."""
        launched = self.ask(BACKFILL, keys=[{"path": key} for key in keys], partitions=[partition])
        outcome = launched["launchPartitionBackfill"]
        if outcome["__typename"] != "LaunchBackfillSuccess":
            raise RuntimeError(f"backfill of {keys} was not launched: {outcome}")

        def state() -> str:
            return str(self.ask(BACKFILL_STATE, id=outcome["backfillId"])["partitionBackfillOrError"]["status"])

        def done() -> bool:
            if state() in ("FAILED", "COMPLETED_FAILED", "CANCELED"):
                raise RuntimeError(f"backfill of {keys} ended as {state()}")
            return state() in ("COMPLETED", "COMPLETED_SUCCESS")

        wait_for(done, seconds, f"the backfill of {keys}", every=2)

    def stale_status(self, key: list[str], partition: str) -> str:
        """What the UI says of one partition of one asset: FRESH, STALE or MISSING."""
        (node,) = self.ask(STALE, key={"path": key}, partition=partition)["assetNodes"]
        return str(node["staleStatus"])

    def ticks(self, name: str) -> list[dict[str, Any]]:
        """Ticks of one sensor or schedule, newest first: time, status, the runs it asked for or why it did not."""
        selector = {
            "repositoryName": "__repository__",
            "repositoryLocationName": "interp_assets.definitions",
            "name": name,
        }
        found = self.ask(TICKS, selector=selector)["instigationStateOrError"]
        if found["__typename"] != "InstigationState":
            raise RuntimeError(f"no ticks of {name}: {found}")
        ticks: list[dict[str, Any]] = found["ticks"]
        return ticks

    def runs(self) -> list[dict[str, Any]]:
        """Every run: status, partition, the tick that asked for it, the run it tries again (or none), its assets."""
        found = []
        for run in self.ask(RUNS)["runsOrError"]["results"]:
            tags = {tag["key"]: tag["value"] for tag in run["tags"]}
            found.append(
                {
                    "id": run["runId"],
                    "status": run["status"],
                    "partition": tags.get("dagster/partition", ""),
                    "tick": tags.get("dagster/asset_evaluation_id", ""),
                    "parent": tags.get("dagster/parent_run_id", ""),
                    "assets": ["/".join(key["path"]) for key in run["assetSelection"] or []],
                }
            )
        return found


def write_edge_table(score: Path, folder: Path) -> None:
    """A release folder with an edge table made of stored scores, as a person with an own method would write it."""
    genes, values = np.load(score / "genes.npy"), np.load(score / "score.npy")
    source, target = np.nonzero(np.isfinite(values))
    folder.mkdir()
    table = pd.DataFrame({"source": genes[source], "target": genes[target], "score": values[source, target]})
    table[table["source"] != table["target"]].to_csv(folder / "edges.csv", index=False)
    content = (folder / "edges.csv").read_bytes()
    manifest = {
        "name": folder.name,
        "family": "edge_table",
        "gene_key": "symbol",
        "cells_hash": json.loads((score / "record.json").read_text())["values"]["cells_hash"],
        "files": [{"path": "edges.csv", "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}],
    }
    (folder / "release.json").write_text(json.dumps(manifest))


def wait_for(done: Callable[[], bool], seconds: float, what: str, every: float) -> None:
    """Ask ``done`` until it holds.

    Raises
    ------
    TimeoutError
        When it does not within ``seconds``.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if done():
            return
        time.sleep(every)
    raise TimeoutError(f"waited {seconds:.0f} s for {what}")

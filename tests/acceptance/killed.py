"""Run workers, code server and daemon are killed in the middle: nothing is lost, only unfinished steps are repeated.

A deployment on the run history in the store evaluates the study ``tiny``. First the process of a run is killed, then,
while attention is extracted, every process of the deployment at once, as by a power cut; it is started again and has to
end with every verdict.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from served import Served, wait_for
from steps import HUNG, PROJECT, content_of

RELEASE = "geneformer-small-2k"
EVENTS = """query Events($id: ID!) { logsForRun(runId: $id) { ... on EventConnection { events {
  __typename ... on EngineEvent { metadataEntries { label ... on TextMetadataEntry { text }
  ... on IntMetadataEntry { intValue } } } ... on MaterializationEvent { assetKey { path } partition } } } } }"""


def killed(environment: dict[str, str], folder: Path) -> dict[str, Any]:
    """Kill a worker, then the whole deployment; what was repeated, and the verdicts of the end.

    Raises
    ------
    RuntimeError
        When a run that was tried again repeats a step that had succeeded, more than one step in twenty was made twice
        for whatever reason, a run stays unfinished, or no verdict comes.
    """
    releases = folder / "releases"
    releases.mkdir(parents=True)
    shutil.copytree(PROJECT / "releases" / RELEASE, releases / RELEASE)
    environment = {**environment, "INTERP_STORE": str(folder / "store"), "INTERP_RELEASES": str(releases)}
    environment |= {"INTERP_STUDIES": "tiny"}
    with Served(environment, folder / "first.log") as deployment:
        worker = wait_for_worker(deployment)
        os.kill(worker, signal.SIGKILL)
        print(f"killed the process {worker} of a run", flush=True)
        wait_for_worker(deployment, but=worker, making="attention")
        os.killpg(deployment_group(deployment), signal.SIGKILL)
        print("killed every process of the deployment", flush=True)
    with Served(environment, folder / "second.log") as deployment:
        verdict = folder / "store" / "tiny" / RELEASE / "report.html"
        wait_for(verdict.exists, HUNG, f"{verdict}", every=3)
        wait_for(lambda: not unfinished(deployment), HUNG, "the last run to end", every=3)
        made = materialized(deployment)
        retries = [(run["id"], run["parent"]) for run in deployment.runs() if run["parent"]]
    if not retries:
        raise RuntimeError("no run was tried again, although processes of runs were killed")
    again = sorted({" of ".join(step) for run, parent in retries for step in made[run].keys() & made[parent].keys()})
    if again:
        raise RuntimeError(f"a run that was tried again repeated steps that had succeeded: {', '.join(again)}")
    total = sum(made.values(), Counter())
    # The first look of a daemon after its start forgets what ended while it looked, and asks for it once more.
    twice = sorted(" of ".join(step) for step, times in total.items() if times > 1)
    if len(twice) > len(total) // 20:
        raise RuntimeError(f"{len(twice)} of {len(total)} steps were made twice: {', '.join(twice)}")
    results = content_of(folder / "store" / "tiny" / RELEASE)
    return {"steps": len(total), "tried again": len(retries), "made twice": twice, "results": results}


def deployment_group(deployment: Served) -> int:
    """Number of the process group that the deployment leads."""
    process = deployment._process
    if process is None:
        raise RuntimeError("the deployment has ended by itself")
    return process.pid


def unfinished(deployment: Served) -> list[str]:
    """Runs that are neither over nor given up."""
    return [run["id"] for run in deployment.runs() if run["status"] not in ("SUCCESS", "FAILURE", "CANCELED")]


def wait_for_worker(deployment: Served, but: int = 0, making: str = "") -> int:
    """Number of the process of a run that has begun a step; with ``making``, of one that is to make that asset."""
    found: list[int] = []

    def begun() -> bool:
        for run in deployment.runs():
            if run["status"] == "STARTED" and (not making or making in run["assets"]):
                found.extend(number for number in processes(deployment, run["id"]) if number != but)
        return bool(found)

    wait_for(begun, HUNG, "a run to start", every=0.5)
    return found[-1]


def processes(deployment: Served, run_id: str) -> list[int]:
    """Process numbers that the events of a run tell of."""
    events = deployment.ask(EVENTS, id=run_id)["logsForRun"]["events"]
    entries = [entry for event in events for entry in event.get("metadataEntries", ()) if entry["label"] == "pid"]
    return [int(entry.get("text") or entry.get("intValue") or 0) for entry in entries]


def materialized(deployment: Served) -> dict[str, Counter[tuple[str, str]]]:
    """How often each partition of each asset was made, run by run."""
    made: dict[str, Counter[tuple[str, str]]] = {}
    for run in deployment.runs():
        made[run["id"]] = Counter()
        for event in deployment.ask(EVENTS, id=run["id"])["logsForRun"]["events"]:
            if event["__typename"] == "MaterializationEvent":
                made[run["id"]]["/".join(event["assetKey"]["path"]), event["partition"] or ""] += 1
    return made


def main() -> int:
    """Run it by itself in a temporary folder."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="interp-killed-") as name:
        outcome = killed(dict(os.environ), Path(name))
    outcome["results"] = f"{len(outcome['results'])} files"
    print(f"{outcome} in {time.monotonic() - started:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

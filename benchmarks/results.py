"""``benchmarks/results.json``: what was measured, when, and on what machine."""

from __future__ import annotations

import dataclasses
import datetime
import json
import os
import pathlib
import platform
from collections.abc import Sequence
from typing import Any

from benchmarks import evaluation, growth, paired, start
from benchmarks.catalogue import Entry

Record = dict[str, Any]
FOLDER = pathlib.Path(__file__).resolve().parent
RESULTS = FOLDER / "results.json"
LISTS = {
    paired.Path: "paths",
    evaluation.Evaluation: "paths",
    growth.Growth: "growth",
    start.Start: "times",
    evaluation.Checked: "times",
}


def measured(entry: Entry, rounds: int | None = None) -> Record:
    """One entry measured in a process of its own, with the day; one run of an evaluation serves all its entries."""
    if isinstance(entry.what, evaluation.Evaluation | evaluation.Checked):
        found = entry.what.measured()
    else:
        found = paired.in_own_process(_measured, entry.what, rounds)
    return {**found, "date": datetime.date.today().isoformat()}


def _measured(what: paired.Path | growth.Growth | start.Start, rounds: int | None) -> Record:
    if isinstance(what, paired.Path):
        return dataclasses.asdict(paired.measure(what, rounds))
    if isinstance(what, start.Start):
        return dataclasses.asdict(start.measure(what, rounds))
    points = growth.measure(what)
    return {
        "path": what.path,
        "of": what.of,
        "promise": what.promise,
        "points": [dataclasses.asdict(point) for point in points],
        "exponent": growth.exponent(points),
    }


def machine() -> Record:
    """Where and when this is run; cores and threads are those a measured process may use."""
    return {
        "date": datetime.date.today().isoformat(),
        "python": platform.python_version(),
        "processor": processor_model(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "load_average": [round(load, 1) for load in os.getloadavg()],
        "threads": 1,
    }


def processor_model() -> str:
    """Name of the processor as Linux tells it, else its architecture."""
    told = pathlib.Path("/proc/cpuinfo")
    lines = told.read_text(encoding="utf-8").splitlines() if told.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def read(path: pathlib.Path) -> Record:
    """Stored results; empty lists where there are none yet."""
    if not path.is_file():
        return {name: [] for name in LISTS.values()}
    return json.loads(path.read_text(encoding="utf-8"))


def merged(before: Record, found: Sequence[Record], asked: Sequence[Entry], known: Sequence[Entry]) -> Record:
    """New results beside the stored ones that were not asked for; in the order of the catalogue, which must know them.

    An entry that was asked for and gave no result is left out: its old figure is not today's.
    """
    again = {entry.name for entry in asked}
    kept = [record for name in LISTS.values() for record in before.get(name, ()) if record["path"] not in again]
    by_name = {record["path"]: record for record in [*kept, *found]}
    lists: Record = {name: [] for name in LISTS.values()}
    for entry in known:
        if entry.name in by_name:
            lists[LISTS[type(entry.what)]].append(by_name[entry.name])
    return {"measured": machine(), **lists}


def write(path: pathlib.Path, results: Record) -> None:
    """Sorted keys and rounded figures, so that two files can be compared line by line."""
    path.write_text(json.dumps(rounded(results), indent=1, sort_keys=True) + "\n", encoding="utf-8")


def rounded(value: Any) -> Any:
    """Numbers with four figures that count."""
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {name: rounded(each) for name, each in value.items()}
    return [rounded(each) for each in value] if isinstance(value, list | tuple) else value

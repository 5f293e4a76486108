"""What an evaluated store cost: seconds, bytes, files and events of each kind of step, and the model of more of them.

    python -m benchmarks.scaling STORE --study demo [--releases 1000] [--contexts 50] [--write docs/scaling.md]

Reads the sqlite run history and the files of a finished store; changes neither. Seconds are those between start and end
of a step, so that a busy machine makes them longer. The model multiplies; it knows no cache and no overlap.
"""

from __future__ import annotations

import argparse
import sqlite3
from collections import Counter, defaultdict
from datetime import datetime
from pathlib import Path

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
READINGS = (
    "cell_attention",
    "mediation",
    "deletions",
    "sensitivity_grid",
    "restricted_attention",
    "value_weighted",
)
DATASET = (
    "raw",
    "cells",
    "de_labels",
    "correlation",
    "references",
    "gene_features",
    "grid_outcomes",
    "null_calibration",
)
KINDS = ("dataset", "study", "attention", "readings", "interventions", "battery", "judgement", "report")


def kind_of(step: str) -> str:
    """Kind of work of one step, by the name that Dagster gives it (asset key, parts joined by ``__``)."""
    first, last = step.split("__")[0], step.split("__")[-1]
    if first in DATASET:
        return "dataset"
    if first == "of_study" or last.endswith("_inputs"):
        return "study"
    if last in ("attention", "release"):
        return "attention"
    if last in READINGS or last in ("layer_choice", "screens"):
        return "readings"
    if last == "interventions":
        return "interventions"
    if first in ("figure", "report", "leaderboard"):
        return "report"
    if first in ("claim", "qc_verdict", "standards_results") or last == "control_outcome":
        return "judgement"
    return "battery"


def rows(database: Path, query: str) -> list[tuple]:
    """Rows of a query on a database opened read-only."""
    connection = sqlite3.connect(f"file:{database}?mode=ro&immutable=1", uri=True)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


def steps(store: Path) -> tuple[dict[str, float], Counter[str], int, int]:
    """Seconds and number of finished steps by kind, events and runs of the whole history."""
    seconds: dict[str, float] = defaultdict(float)
    number: Counter[str] = Counter()
    events = runs = 0
    for database in (store / ".dagster" / "history" / "runs").glob("*-*.db"):
        found = rows(database, "select dagster_event_type, step_key, timestamp from event_logs order by id")
        events, runs = events + len(found), runs + 1
        started: dict[str, float] = {}
        for event, step, stamp in found:
            moment = datetime.fromisoformat(stamp).timestamp()
            if event == "STEP_START":
                started[step] = moment
            elif event == "STEP_SUCCESS" and step in started:
                seconds[kind_of(step)] += moment - started[step]
                number[kind_of(step)] += 1
    return seconds, number, events, runs


def held(folder: Path) -> tuple[int, int]:
    """Files of a folder and their bytes; a file that several names share counts once."""
    seen = {}
    for path in folder.rglob("*"):
        if path.is_file():
            state = path.stat()
            seen[(state.st_dev, state.st_ino)] = state.st_size
    return len(seen), sum(seen.values())


def measured(store: Path, study: str) -> dict[str, float]:
    """Per judged name: seconds, bytes, files, events."""
    folders = [path for path in (store / study).iterdir() if path.is_dir()]
    judged = [path.name for path in folders if not path.name.endswith((".shuffled", ".random-weights"))]
    seconds, number, events, runs = steps(store)
    result = {"judged": len(judged), "events": events, "runs": runs, "steps": sum(number.values())}
    for kind in KINDS:
        result[f"seconds {kind}"], result[f"steps {kind}"] = seconds[kind], number[kind]
    places = {"attention": store / "attention", "cells": store / "cells", "results": store / study}
    for name, place in (places | {"history": store / ".dagster"}).items():
        result[f"files {name}"], result[f"bytes {name}"] = held(place)
    return result


def table(found: dict[str, float], releases: int, contexts: int) -> list[str]:
    """Measured and multiplied numbers as Markdown."""
    judged, pairs = found["judged"], releases * contexts
    lines = ["| step | steps | seconds | seconds a judged name | hours for all pairs |", "|---|---:|---:|---:|---:|"]
    for kind in KINDS:
        total = found[f"seconds {kind}"]
        shared = kind in ("dataset", "study")
        model = total * contexts if shared else total / judged * pairs
        each = "shared" if shared else f"{total / judged:.0f}"
        lines.append(f"| {kind} | {found[f'steps {kind}']:.0f} | {total:.0f} | {each} | {model / 3600:,.0f} |")
    lines += ["", "| held | files | GB | GB a judged name | TB for all pairs | million files for all pairs |"]
    lines += ["|---|---:|---:|---:|---:|---:|"]
    for name in ("attention", "cells", "results", "history"):
        files, size = found[f"files {name}"], found[f"bytes {name}"] / 1e9
        factor, each = (contexts, "shared") if name == "cells" else (pairs / judged, f"{size / judged:.3f}")
        lines.append(
            f"| {name} | {files:.0f} | {size:.2f} | {each} | {size * factor / 1e3:,.1f} | {files * factor / 1e6:,.1f} |"
        )
    rate = found["events"] / judged
    lines += [
        "",
        f"{found['runs']:.0f} runs, {found['steps']:.0f} steps, {found['events']:.0f} event rows: {rate:.0f} rows a "
        f"judged name, {rate * pairs / 1e6:,.0f} million for all pairs.",
    ]
    return lines


def main() -> None:
    """Measure a store, print the tables, and write them between the marks of a page where one is named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("store", type=Path)
    parser.add_argument("--study", default="demo")
    parser.add_argument("--releases", type=int, default=1000)
    parser.add_argument("--contexts", type=int, default=50)
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    text = "\n".join(table(measured(options.store, options.study), options.releases, options.contexts))
    print(text)
    if options.write:
        page = options.write.read_text(encoding="utf-8")
        before, rest = page.split(BEGIN)
        options.write.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.split(END)[1]}", encoding="utf-8")


if __name__ == "__main__":
    main()

"""The whole ``demo`` evaluation of one release, beside the same battery written straightforwardly, and evaluated again.

The evaluation runs once, in one process, as `interp evaluate --jobs 1` does. Our fast functions are counted there and
held against their straightforward twins (`benchmarks.straightforward`), of whose independent parts a share is done for
real. Everything that has no twin (figures, reports, standards, Dagster, files) counts alike on both sides. Afterwards
the same store is evaluated again with nothing changed, and with the code of one analysis changed.

    python -m benchmarks.evaluation [--study demo] [--release NAME] [--full]    # prints the tables; --full takes hours
"""

from __future__ import annotations

import argparse
import functools
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks import start
from benchmarks.evaluation_tables import tables
from benchmarks.paired import Better, Measured, in_own_process, processor_seconds, wall_seconds

STUDY, RELEASE = "demo", "geneformer-small-2k"
CHANGED = 21  # analysis whose code is said to have changed
ROUNDS_AGAIN = 3
PROJECT = pathlib.Path(__file__).resolve().parents[1]
PLACES = (
    ("raw data", "data"),
    ("cells and outcomes", "data"),
    ("inputs of study", "data"),
    ("analyses of study", "battery"),
    ("release", "attention"),
    ("attention", "attention"),
    ("layer and screens", "battery"),
    ("interventions", "interventions and readings"),
    ("readings", "interventions and readings"),
    ("battery", "battery"),
)
ELSEWHERE = "verdict, figures, report"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """One promise about the evaluation; all of them are read from one run (`evaluated`).

    reads : which part of the run it is about.
    why : where the goal is missed, by what; shown only then.
    """

    path: str
    against: str
    goal: float
    better: Better
    reads: str
    why: str = ""

    def measured(self) -> dict[str, Any]:
        """Record as it is written to ``results.json``, with tables of the run where there are any."""
        return told(self, evaluated())


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """How long the gate takes on the results of the evaluated release."""

    path: str
    goal: float
    why: str = ""

    def measured(self) -> dict[str, Any]:
        """Record as it is written to ``results.json``."""
        return part(evaluated(), "check")


TIMES = (
    Checked(
        path="qc-gate check FOLDER",
        goal=5.0,
        why="A third is the import of Great Expectations, and most of the rest its evaluation of the suites; the "
        "gate keeps both, since the suites are the standards.",
    ),
)
PATHS = (
    Evaluation(
        path="whole demo evaluation of one release",
        against="the same battery written straightforwardly",
        goal=5.0,
        better="at least",
        reads="whole",
        why="Two fifths of our time (data, figures, standards, files, Dagster) have no twin and count alike; most of "
        "the rest is the model's own arithmetic, matrix products and attention, which both ways leave to the same "
        "library. The battery alone is above the goal.",
    ),
    Evaluation(
        path="re-evaluation, nothing changed",
        against="the full run of one release",
        goal=0.02,
        better="at most",
        reads="nothing",
    ),
    Evaluation(
        path="re-evaluation, one analysis changed",
        against="the full run of one release",
        goal=0.1,
        better="at most",
        reads="one",
    ),
)


def part(run: dict[str, Any], name: str) -> dict[str, Any]:
    """One part of a finished run; raises RuntimeError, with its error, where that part failed."""
    found: dict[str, Any] = run[name]
    if "error" in found:
        raise RuntimeError(found["error"])
    return found


def told(what: Evaluation, run: dict[str, Any]) -> dict[str, Any]:
    """One promise out of a finished run; raises RuntimeError where that part of it failed."""
    found = part(run, what.reads)
    ours, theirs = found["ours_s"], found["theirs_s"]
    ratio = theirs / ours if what.better == "at least" else ours / theirs
    spread = [ratio] if "each" not in found else [each / theirs for each in found["each"]]
    measured = Measured(
        path=what.path,
        against=what.against,
        ratio=ratio,
        low=min(spread),
        high=max(spread),
        goal=what.goal,
        better=what.better,
        met=bool(ratio >= what.goal if what.better == "at least" else ratio <= what.goal),
        ours_s=ours,
        theirs_s=theirs,
        share=found.get("share", 1.0),
        rounds=len(spread),
        ours_mib=None,
        theirs_mib=None,
        agreement=found["agreement"],
        why=what.why,
    )
    return {**asdict(measured), **{name: found[name] for name in ("stages", "functions", "steps") if name in found}}


def evaluated(study: str = STUDY, release: str = RELEASE, *, full: bool = False) -> dict[str, Any]:
    """The run, once a process.

    Raises
    ------
    RuntimeError
        Where a step failed or two ways disagreed; asked again, it is not run again.
    """
    found = _outcome(study, release, full)
    if isinstance(found, str):
        raise RuntimeError(found)
    return found


@functools.cache
def _outcome(study: str, release: str, full: bool) -> dict[str, Any] | str:
    """What came of the run, or its error; its store lies in a folder of its own and is gone afterwards."""
    try:
        with tempfile.TemporaryDirectory() as folder:
            return _measured(folder, study, release, full)
    except (RuntimeError, subprocess.CalledProcessError) as error:
        return str(error)


def _measured(folder: str, study: str, release: str, full: bool) -> dict[str, Any]:
    first = in_own_process(_first, folder, study, release, full)
    gate = start.Start(path=TIMES[0].path, goal=TIMES[0].goal, words=_gate(folder, study, release))
    return {
        "whole": first,
        "check": _or_error(lambda: {**asdict(start.measure(gate)), "why": TIMES[0].why}),
        "nothing": _or_error(lambda: _nothing_changed(folder, study, release, first)),
        "one": _or_error(lambda: _one_analysis_changed(folder, study, release, first)),
    }


def _or_error(measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """One part of the run, or its error: what was measured before it, in a quarter of an hour, stays."""
    try:
        return measure()
    except (RuntimeError, subprocess.CalledProcessError) as error:
        return {"error": str(error)}


def _nothing_changed(folder: str, study: str, release: str, first: dict[str, Any]) -> dict[str, Any]:
    each = [processor_seconds(lambda: _again(folder, study, release)) for _ in range(ROUNDS_AGAIN)]
    return {
        "ours_s": statistics.median(each),
        "theirs_s": first["ours_s"],
        "each": each,
        "agreement": "no step is run; processor seconds of the command, imports included",
    }


def _one_analysis_changed(folder: str, study: str, release: str, first: dict[str, Any]) -> dict[str, Any]:
    one = in_own_process(_one_changed, folder, study, release)
    return {
        "ours_s": one["seconds"],
        "theirs_s": first["ours_s"],
        "steps": one["steps"],
        "agreement": f"{len(one['steps'])} of {first['steps_run']} steps are run: {', '.join(one['steps'])}",
    }


def _environment(folder: str) -> dict[str, str]:
    """Settings of a deployment in ``folder``, without a mirror: what a fresh machine has."""
    kept = {name: value for name, value in os.environ.items() if name != "INTERP_DATA_MIRROR"}
    own = {"INTERP_STORE": str(pathlib.Path(folder) / "store"), "DAGSTER_HOME": ""}
    return {**kept, **own, "DAGSTER_DISABLE_TELEMETRY": "1", "GX_ANALYTICS_ENABLED": "False"}


def _again(folder: str, study: str, release: str) -> None:
    """The command on a store where all is fresh."""
    program = pathlib.Path(sys.executable).with_name("interp")
    command = [program, "evaluate", "--study", study, "--release", release, "--jobs", "1"]
    done = subprocess.run(command, env=_environment(folder), cwd=PROJECT, capture_output=True, text=True, check=True)
    if "nothing to recompute" not in done.stdout:
        raise RuntimeError(f"a finished store was not fresh: {done.stdout[-300:]}")


def _gate(folder: str, study: str, release: str) -> Callable[[], list[str]]:
    """Words of the command that checks the results of a release."""
    program = pathlib.Path(sys.executable).with_name("qc-gate")
    return lambda: [str(program), "check", str(pathlib.Path(folder) / "store" / study / release)]


def _opened(folder: str, study: str) -> tuple[Any, Any]:
    """Layout and evaluator class of the deployment in ``folder``, in this process."""
    os.environ.pop("INTERP_DATA_MIRROR", None)
    os.environ.update(_environment(folder))
    from interp_assets.cli import quiet_dagster
    from interp_assets.layout import read_layout
    from interp_assets.planning import request_study

    quiet_dagster()
    request_study(study)
    layout = read_layout()
    os.environ["DAGSTER_HOME"] = str(layout.folders.dagster_home)
    return layout, _evaluator()


def _evaluator() -> Any:
    """`Evaluator` that tells the seconds of every stage."""
    from interp_assets.evaluate import Evaluator

    class Timed(Evaluator):
        clock: Any = None
        seconds: dict[str, float]

        def _materialise(self, keys: Sequence[Any], partition: str | None, title: str = "") -> None:
            place = place_of(title)
            if self.clock is not None:
                self.clock.place = place
            before = time.process_time() - (self.clock.spent if self.clock is not None else 0.0)
            super()._materialise(keys, partition, title)
            after = time.process_time() - (self.clock.spent if self.clock is not None else 0.0)
            self.seconds[place] = self.seconds.get(place, 0.0) + after - before

    return Timed


def place_of(title: str) -> str:
    """Part of the evaluation that a stage belongs to, from its title."""
    return next((place for begin, place in PLACES if title.startswith(begin)), ELSEWHERE)


def _first(folder: str, study: str, release: str, full: bool) -> dict[str, Any]:
    """The evaluation on an empty store, with our functions held against their twins."""
    from benchmarks.straightforward.clock import Clock, standing_in
    from benchmarks.straightforward.stands import stands
    from interp_assets.definitions import build_definitions
    from interp_assets.evaluate import dagster_instance

    layout, kind = _opened(folder, study)
    clock = Clock(full=full)
    started = time.perf_counter()
    with dagster_instance(layout) as instance, standing_in(stands(), clock):
        evaluator = kind(build_definitions(layout), layout, instance)
        evaluator.clock, evaluator.seconds = clock, {}
        before = time.process_time()
        done = evaluator.evaluate(study, [release])
        ours = time.process_time() - before - clock.spent
    clock.require_agreement()
    if done.failed:
        raise RuntimeError(f"the evaluation failed: {done.failed}")
    return {
        **summed(clock, evaluator.seconds, ours),
        "steps_run": len(done.steps),
        "wall_s": time.perf_counter() - started,
        "sampling_s": clock.spent,
    }


def summed(clock: Any, seconds: dict[str, float], ours: float) -> dict[str, Any]:
    """Seconds of both ways by part of the evaluation and by function."""
    seconds = {**seconds, "graph and history": ours - sum(seconds.values())}
    stages = []
    for place, took in seconds.items():
        fast = sum(seen.fast_at.get(place, 0.0) for seen in clock.counted.values())
        plain = sum(seen.straightforward_at(place) for seen in clock.counted.values())
        stages.append({"stage": place, "ours_s": took, "common_s": took - fast, "theirs_s": took - fast + plain})
    theirs = sum(stage["theirs_s"] for stage in stages)
    functions = [
        {
            "function": name,
            "topic": seen.topic,
            "calls": seen.calls,
            "ours_s": seen.fast,
            "theirs_s": seen.straightforward,
            "calls_done": seen.calls_done,
            "parts_done": seen.parts_done,
            "parts": seen.parts,
            "largest_difference": seen.worst,
            "tolerance": seen.tolerance,
        }
        for name, seen in sorted(clock.counted.items(), key=lambda item: -item[1].straightforward)
    ]
    battery = next((stage for stage in stages if stage["stage"] == "battery"), None)
    replaced = sum(each["ours_s"] for each in functions)
    compared = sum(each["parts_done"] for each in functions)
    done = sum(seen.plain_spent for seen in clock.counted.values())
    share = done / max(1e-9, sum(each["theirs_s"] for each in functions))
    text = (
        f"{compared:,} parts of {len(functions)} functions compared, all within their tolerances; "
        f"{replaced / ours:.0%} of our time is in functions with a twin, the rest counts alike on both sides"
    )
    if battery:
        text += f"; the battery alone {battery['theirs_s'] / battery['ours_s']:.1f} x"
    return {
        "ours_s": ours,
        "theirs_s": theirs,
        "share": min(1.0, share),
        "stages": stages,
        "functions": functions,
        "agreement": text,
    }


def _one_changed(folder: str, study: str, release: str) -> dict[str, Any]:
    """The finished store evaluated again with the code of one analysis changed: steps and seconds."""
    layout, kind = _opened(folder, study)
    from interp_assets import code_version as versions
    from interp_assets.analyses.catalogue import row
    from interp_assets.assets import analyses
    from interp_assets.definitions import build_definitions
    from interp_assets.evaluate import dagster_instance

    def edited(*sources: str) -> str:
        version = versions.code_version(*sources)
        return f"{version}-edited" if row(CHANGED).function in sources else version

    analyses.code_version = edited
    with dagster_instance(layout) as instance:
        evaluator = kind(build_definitions(layout), layout, instance)
        evaluator.seconds = {}
        steps: list[Any] = []
        seconds = processor_seconds(lambda: steps.extend(evaluator.evaluate(study, [release]).steps))
    named = sorted(f"{key} of {partition}" for key, partition in steps)
    if not named or any(row(CHANGED).key != key for key, _ in steps):
        raise RuntimeError(f"new code of {row(CHANGED).key} that changes no number has run {named}")
    return {"steps": named, "seconds": seconds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--study", default=STUDY)
    parser.add_argument("--release", default=RELEASE)
    parser.add_argument("--full", action="store_true", help="every part of every twin is done (hours)")
    options = parser.parse_args()
    run: dict[str, Any] = {}
    wall = wall_seconds(lambda: run.update(evaluated(options.study, options.release, full=options.full)))
    print(tables(run["whole"]))
    for promise in PATHS:
        try:
            found = told(promise, run)
        except RuntimeError as error:
            print(f"{promise.path}: not measured: {error}")
            continue
        print(f"{promise.path}: {found['ratio']:.3g} ({promise.better} {promise.goal:g}); {found['agreement']}")
    check = run["check"]
    print("qc-gate check: " + (check["error"] if "error" in check else f"{check['seconds']:.2f} s"))
    print(f"{wall:.0f} s on the wall, of which twins {run['whole']['sampling_s']:.0f} s of the processor")


if __name__ == "__main__":
    main()

"""Acceptance run: the promises of the README, tried from the outside with the installed commands.

Run by ``make check``. Each step prints one line with its seconds; the last line counts them. A step that needs
what this machine lacks is skipped and says so, unless INTERP_REQUIRE names it.
"""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import SubprocessError
from typing import NamedTuple

import pandas as pd
from bench import on_real_outcomes, same_page
from brought import FAMILIES, names_its_model, write_all
from deployed import Deployed
from killed import killed
from pictures import every_entry
from postgres import Postgres, required_programs
from steps import PROJECT, REQUIRED, RESULT_FILES, StepFailedError, StepSkippedError, command, content_of, must
from watched import watched

from qc_standards.extended import extended_tests
from qc_standards.registry import tests_of_role

CONTROLS = ("control-planted", "control-coexpression")
GIB = 1024**3
# Times are printed beside their promise; a busy machine is no failure, a hanging command is. Seconds for one release.
LONGEST = 10 * 60


class Acceptance:
    """The steps share one store, as a user's commands do."""

    def __init__(self, store: Path) -> None:
        self.store = store
        self.mirror = os.environ.get("INTERP_DATA_MIRROR", "")
        self.env = {key: value for key, value in os.environ.items() if key != "INTERP_DATA_MIRROR"}
        self.env |= {"INTERP_STORE": str(store), "DAGSTER_DISABLE_TELEMETRY": "1", "COLUMNS": "160"}
        self.shipped: list[str] = []
        # Way of evaluating, release, and what came out, for `same_every_way`.
        self.ways: list[tuple[str, str, dict[str, str]]] = []

    def clean_evaluation(self) -> None:
        """`interp evaluate` on an empty store, without a mirror, in time and memory."""
        listing = command("interp", "releases", "list", env=self.env).stdout
        self.shipped = [line.split()[1] for line in listing.splitlines() if line.startswith("complete")]
        must(len(self.shipped) >= 3, f"three shipped releases expected, found {self.shipped}")
        started = time.monotonic()
        done = command("interp", "evaluate", "--study", "demo", env=self.env)
        seconds = time.monotonic() - started
        print(done.stdout[-4000:], flush=True)
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
        print(
            f"clean evaluation: {seconds:.0f} s (promise 600 s on two idle cores), peak {peak / GIB:.1f} GiB",
            flush=True,
        )
        must(seconds < len(self.shipped) * LONGEST, f"took {seconds:.0f} s: something hangs")
        must(peak < 6 * GIB, f"peak memory {peak / GIB:.1f} GiB; 6 GiB is the promise")
        for name in self.evaluated():
            folder = self.store / "demo" / name
            absent = [file for file in RESULT_FILES if not (folder / file).is_file()]
            must(not absent, f"{folder} lacks {', '.join(absent)}")
            must(any((folder / "figures").glob("*.svg")), f"{folder} holds no figure")
            must(str(folder / "report.html") in done.stdout or name not in self.shipped, f"no report path of {name}")
        for name in self.shipped:
            self._every_row(name)
            every_entry(self.store / "demo" / name)

    def _every_row(self, name: str) -> None:
        """All 153 rows of a release: none failed, none without an analysis, at least 140 with an answer."""
        tests = pd.read_parquet(self.store / "demo" / name / "tests.parquet")
        answered = (tests["status"] == "run") | tests["reason"].astype(str).str.startswith("same as ")
        print(f"{name}: {int(answered.sum())} of {len(tests)} rows run or the same as another", flush=True)
        must(len(tests) == 153 and tests["test_id"].is_unique, f"{name}: {len(tests)} rows")
        failed = tests.loc[tests["status"] == "failed", "test_id"].tolist()
        must(not failed, f"{name}: failed rows {', '.join(failed)}")
        must(not tests["reason"].astype(str).str.contains("not built").any(), f"{name}: an analysis is not built")
        must(int(answered.sum()) >= 140, f"{name}: only {int(answered.sum())} rows have an answer")
        table = self.store / "demo" / name / "extended.parquet"
        must(table.is_file(), f"{table} was not written")
        extended = pd.read_parquet(table)
        run = extended["status"] == "run"
        print(f"{name}: {int(run.sum())} of {len(extended)} extended rows run", flush=True)
        declared = [spec.test_id for spec in extended_tests()]
        must(extended["test_id"].tolist() == declared, f"{name}: extended rows are not the declared ones")
        silent = extended.loc[~run & (extended["reason"].astype(str).str.strip() == ""), "test_id"].tolist()
        failed = extended.loc[extended["status"] == "failed", "test_id"].tolist()
        must(not failed and not silent, f"{name}: failed {failed}, skipped without a reason {silent}")
        answering = {name.split(".")[0] for name in extended.loc[run, "test_id"]}
        due = {f"E{number}" for number in (1, 2, 3, 4, 6, 7, 8, 9)}
        due |= {"E5"} if name.startswith("scgpt-") else set()  # E5 is for models of the scGPT family
        must(due <= answering, f"{name}: no row of {', '.join(sorted(due - answering))} was run")

    def one_analysis(self) -> None:
        """`interp analysis` explains an analysis and runs it again, to the same rows."""
        told = command("interp", "analysis", "16", "--explain", env=self.env).stdout
        must(all(part in told for part in ("Question", "Null", "Traps", "Source")), f"no explanation:\n{told}")
        rows = self.store / "demo" / self.shipped[0] / "results" / "analysis_22.json"
        before = rows.read_bytes()
        asked = ("--study", "demo", "--release", self.shipped[0])
        printed = command("interp", "analysis", "22", *asked, env=self.env).stdout
        must("A22.1" in printed, f"no row was printed:\n{printed[-2000:]}")
        must(rows.read_bytes() == before, "the same analysis gave other rows")

    def evaluated(self) -> list[str]:
        """Names of everything a demo evaluation leaves behind."""
        twins = [f"{name}.{twin}" for name in self.shipped for twin in ("shuffled", "random-weights")]
        return [*self.shipped, *CONTROLS, *twins]

    def second_run(self) -> None:
        """Nothing is recomputed, nothing changes, within 20 seconds."""
        before = self.bytes_of_results("demo")
        started = time.monotonic()
        done = command("interp", "evaluate", "--study", "demo", env=self.env)
        seconds = time.monotonic() - started
        must("nothing to recompute" in done.stdout, f"something was recomputed:\n{done.stdout[-2000:]}")
        print(f"second run: {seconds:.1f} s (promise 20 s)", flush=True)
        must(seconds < 120, f"took {seconds:.1f} s to find nothing to do")
        must(self.bytes_of_results("demo") == before, "a file changed in a run that recomputed nothing")

    def bytes_of_results(self, study: str) -> dict[str, bytes]:
        """Content of every result file of one study."""
        files = (path for path in (self.store / study).rglob("*") if path.is_file())
        return {path.relative_to(self.store).as_posix(): path.read_bytes() for path in files}

    def gate(self, study: str, release: str, expect: int, *more: str) -> str:
        """Output of `qc-gate check` on one result folder."""
        folder = str(self.store / study / release)
        return command("qc-gate", "check", folder, *more, env=self.env, expect=expect).stdout

    def gate_on_controls(self) -> None:
        """The planted control is supported on all four criteria; every negative control is refuted."""
        claims = self.store / "asserted.yaml"
        claims.write_text(
            "claims: [attention_is_regulatory, beats_gene_level_baselines, adds_incremental_value, "
            "survives_confounds_and_degree, causally_used]\n"
        )
        self.gate("demo", "control-planted", 0)
        self.gate("demo", "control-planted", 0, "--claims", str(claims))
        negatives = [name for name in self.evaluated() if name not in (*self.shipped, "control-planted")]
        for name in negatives:
            self.gate("demo", name, 1)
        claims.unlink()

    def gate_on_damage(self) -> None:
        """A truncated folder, a missing table and an edited verdict are invalid input."""
        whole = self.store / "demo" / "control-planted"
        with tempfile.TemporaryDirectory() as name:
            for damage in (self._truncate, self._drop_table, self._edit_verdict):
                folder = Path(name) / damage.__name__.strip("_")
                shutil.copytree(whole, folder)
                damage(folder)
                done = command("qc-gate", "check", str(folder), env=self.env, expect=2)
                must(bool((done.stdout + done.stderr).strip()), f"{damage.__name__}: refused without a reason")

    @staticmethod
    def _truncate(folder: Path) -> None:
        file = folder / "tests.parquet"
        file.write_bytes(file.read_bytes()[:-100])

    @staticmethod
    def _drop_table(folder: Path) -> None:
        (folder / "tables" / "incremental_value.parquet").unlink()

    @staticmethod
    def _edit_verdict(folder: Path) -> None:
        file = folder / "verdict.json"
        verdict = json.loads(file.read_text())
        verdict["headline"]["state"] = "refuted"
        file.write_text(json.dumps(verdict))

    def simulated_truth_clears_nobody(self) -> None:
        """No claim about a shipped release is supported on semi-synthetic outcomes."""
        for name in self.shipped:
            claims = json.loads((self.store / "demo" / name / "claims.json").read_text())["claims"]
            cleared = [entry["id"] for entry in claims if entry["cleared"]]
            must(not cleared, f"{name}: {', '.join(cleared)} cleared by planted outcomes")

    def real_outcomes(self) -> None:
        """`bench` ends with a verdict on real outcomes, every screen counted; its AUROC equals scikit-learn's."""
        env = self._with_mirror()
        started = time.monotonic()
        # Those of `docs/results-bench.md`; the third small release answers in `demo`, where every release does.
        judged = [name for name in self.shipped if name.startswith("geneformer-")]
        asked = [word for name in judged for word in ("--release", name)]
        done = command("interp", "evaluate", "--study", "bench", *asked, env=env)
        print(done.stdout[-6000:], flush=True)
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
        seconds = time.monotonic() - started
        print(
            f"bench: {seconds:.0f} s (promise 1200 s on two idle cores), peak {peak / GIB:.1f} GiB (promise 8 GiB)",
            flush=True,
        )
        must(seconds < 2 * len(judged) * LONGEST, f"took {seconds:.0f} s: something hangs")
        must(peak < 8 * GIB, f"peak memory {peak / GIB:.1f} GiB; 8 GiB is the promise")
        for name in judged:
            on_real_outcomes(self.store / "bench" / name, done.stdout)
        same_page(command("interp", "export", "screens", "--study", "bench", env=env).stdout)
        recomputed = PROJECT / "tests" / "acceptance" / "recompute_auroc.py"
        print(command(sys.executable, str(recomputed), str(self.store), *judged, env=env).stdout, flush=True)

    def _with_mirror(self) -> dict[str, str]:
        """Environment with the data mirror; without one the step is skipped, or fails where it is required."""
        if self.mirror:
            return self.env | {"INTERP_DATA_MIRROR": self.mirror}
        if "mirror" in REQUIRED:
            raise StepFailedError("INTERP_REQUIRE names the mirror, but INTERP_DATA_MIRROR is not set")
        raise StepSkippedError("INTERP_DATA_MIRROR is not set")

    def brought_releases(self) -> None:
        """Folders as published, one a family: `interp releases add`, a verdict, a report that names the model."""
        env = self._with_mirror()
        with tempfile.TemporaryDirectory() as name:
            source, releases, store = (Path(name) / part for part in ("source", "releases", "store"))
            releases.mkdir()
            env |= {"INTERP_STORE": str(store), "INTERP_RELEASES": str(releases), "INTERP_STUDIES": "tiny"}
            for release, options in write_all(source, Path(self.mirror)).items():
                command("interp", "releases", "add", str(source / release), *options, env=env)
            command("interp", "releases", "verify", env=env)
            command("interp", "evaluate", "--study", "tiny", env=env)
            for release, family in FAMILIES.items():
                names_its_model(store / "tiny" / release, family)

    def absent_data(self) -> None:
        """Without a mirror and without data wheels `bench` completes, says what is missing, and clears nothing."""
        with tempfile.TemporaryDirectory() as name, tempfile.TemporaryDirectory() as no_wheels:
            env = self.env | {"INTERP_STORE": name, "INTERP_DATA_WHEELS": no_wheels}
            command("interp", "evaluate", "--study", "bench", "--release", self.shipped[0], env=env)
            verdict = json.loads((Path(name) / "bench" / self.shipped[0] / "verdict.json").read_text())
            must(verdict["headline"]["state"] == "not evaluable", f"state {verdict['headline']['state']}")
            tests = pd.read_parquet(Path(name) / "bench" / self.shipped[0] / "tests.parquet")
            of_screen = tests["test_id"].isin([spec.test_id for spec in tests_of_role("primary_screen")])
            must((tests.loc[of_screen, "status"] == "skipped").all(), "a test was run without its screen")

    def served(self) -> None:
        """On PostgreSQL: evaluations side by side, backfills, releases judged without a command, a missed schedule."""
        with Postgres(required_programs()) as database:
            deployed = Deployed(self.store.parent, self.env | database.environment(), database)
            deployed.evaluations_side_by_side(*self.shipped[:2])
            self._came_out("side by side on PostgreSQL", deployed.store, self.shipped[:2])
            deployed.judges_by_itself(self.shipped[0], self.shipped[2])
            deployed.catches_up_with_the_schedule()

    def watched(self) -> None:
        """On the embedded run history: a second release appears, is judged and compared, and a message is sent."""
        for name, content in watched().items():
            self.ways.append(("one after the other, the second by the daemon", name, content))

    def killed(self) -> None:
        """Worker and deployment killed in the middle: nothing is lost, only unfinished steps are repeated."""
        with tempfile.TemporaryDirectory(prefix="interp-killed-") as name:
            outcome = killed(self.env, Path(name))
        self.ways.append(("killed twice on the way", self.shipped[0], outcome.pop("results")))
        print(f"        {outcome}", flush=True)

    def _came_out(self, way: str, store: Path, names: Sequence[str]) -> None:
        """Keep what a way of evaluating gave."""
        self.ways += [(way, name, content_of(store / "tiny" / name)) for name in names]

    def same_every_way(self) -> None:
        """Side by side or one after the other, SQLite or PostgreSQL, killed or not: the same bytes."""
        if len(self.ways) < 2:
            raise StepSkippedError("fewer than two ways of evaluating ended with results")
        for name in sorted({name for _, name, _ in self.ways}):
            (first, expected), *others = [(way, content) for way, found, content in self.ways if found == name]
            for way, content in others:
                differing = sorted(file for file in {*expected, *content} if expected.get(file) != content.get(file))
                must(not differing, f"{name}: {way} differs from {first} in {', '.join(differing[:5])}")
            print(f"        {name}: {len(expected)} files, the same in {len(others) + 1} ways", flush=True)

    def slow_tests(self) -> None:
        """Tests marked slow: bands of planted worlds over several seeds, at full settings."""
        pytest = [sys.executable, "-m", "pytest", "-q", "-m", "slow", "-p", "no:cacheprovider"]
        env = {key: value for key, value in os.environ.items() if key != "INTERP_STORE"}
        last = command(*pytest, env=env).stdout.strip().splitlines()[-1]
        counted = {word: int(count) for count, word in re.findall(r"(\d+) (passed|skipped)", last)}
        must(counted.get("passed", 0) > 0, f"no slow test was run: {last}")
        must(counted["passed"] >= counted.get("skipped", 0), f"most slow tests were skipped: {last}")
        print(f"        {last.strip('= ')}", flush=True)

    def bad_input(self) -> None:
        """Unknown study and release: one line, exit code not 0."""
        for arguments, said in (
            (("--study", "nowhere"), "unknown study nowhere"),
            (("--study", "demo", "--release", "nobody"), "no release nobody"),
        ):
            done = command("interp", "evaluate", *arguments, env=self.env, expect=2)
            must(said in done.stderr, f"{arguments}: said {done.stderr!r}")


Step = Callable[[], None]


class Outcome(NamedTuple):
    """How a step went: passed, failed or skipped; of a failure also its last words."""

    step: str
    kind: str
    told: str = ""


def attempt(step: Step) -> Outcome:
    """Run one step and say how it went."""
    started = time.monotonic()
    try:
        step()
    except StepSkippedError as skip:
        print(f"skipped {step.__name__}: {skip}", flush=True)
        return Outcome(step.__name__, "skipped")
    except (StepFailedError, RuntimeError, TimeoutError, OSError, LookupError, ValueError, SubprocessError) as failure:
        print(f"FAILED  {step.__name__}: {failure}", flush=True)
        return Outcome(step.__name__, "failed", "\n".join(str(failure).strip().splitlines()[-3:]))
    print(f"passed  {step.__name__} ({time.monotonic() - started:.0f} s)", flush=True)
    return Outcome(step.__name__, "passed")


def went(chain: Sequence[Step], place: int) -> list[Outcome]:
    """What came of the steps of one chain; all but the first of a phase give way, since the first takes longest."""
    os.nice(5 if place else 0)  # on Linux of this thread and the processes that it starts
    return [attempt(step) for step in chain]


def phases(acceptance: Acceptance) -> list[tuple[list[Step], ...]]:
    """Steps in order: phases one after the other, chains of a phase side by side, steps of a chain in their order.

    What is timed against a promise, or uses both cores by itself, has a phase of its own. Chains of one phase share no
    file: `absent_data`, `brought_releases`, `served`, `killed` and `watched` have stores of their own, and the slow
    tests have none. Daemons wait between runs, so that three chains keep two cores busy.
    """
    return [
        ([acceptance.clean_evaluation, acceptance.one_analysis, acceptance.second_run],),
        (
            [acceptance.served],
            [acceptance.killed, acceptance.slow_tests],
            [
                acceptance.gate_on_controls,
                acceptance.gate_on_damage,
                acceptance.simulated_truth_clears_nobody,
                acceptance.bad_input,
                acceptance.watched,
                acceptance.brought_releases,
                acceptance.absent_data,
            ],
        ),
        ([acceptance.same_every_way, acceptance.real_outcomes],),
    ]


def main() -> int:
    """Run every step; stop at nothing, count everything; what failed is told once more at the end."""
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory(prefix="interp-check-") as name:
        acceptance = Acceptance(Path(name) / "store")
        acceptance.store.mkdir()
        for chains in phases(acceptance):
            with ThreadPoolExecutor(len(chains)) as pool:
                for of_chain in pool.map(went, chains, range(len(chains))):
                    outcomes += of_chain
    counted = Counter(outcome.kind for outcome in outcomes)
    for outcome in outcomes:
        if outcome.kind == "failed":
            print(f"FAILED  {outcome.step}: {outcome.told}")
    print(f"{counted['passed']} passed, {counted['failed']} failed, {counted['skipped']} skipped")
    return 1 if counted["failed"] or not counted["passed"] else 0


if __name__ == "__main__":
    raise SystemExit(main())

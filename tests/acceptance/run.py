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
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
from brought import FAMILIES, names_its_model, write_all
from served import Served, wait_for, write_edge_table
from steps import PROJECT, REQUIRED, StepFailedError, StepSkippedError, command, must

from qc_standards.extended import extended_tests
from qc_standards.registry import tests_of_role

CONTROLS = ("control-planted", "control-coexpression")
RESULT_FILES = (
    "tests.parquet",
    "tests.csv",
    "claims.json",
    "verdict.json",
    "statement.json",
    "standards.json",
    "report.html",
    "provenance.json",
)
# As any process that shares the run history may do it; nothing of the platform is asked.
REGISTER = """
import sys, dagster
with dagster.DagsterInstance.from_config(sys.argv[1]) as instance:
    instance.add_dynamic_partitions("release", sys.argv[2:])
"""
GIB = 1024**3
# Times are printed beside their promise; a busy machine is no failure, a hanging command is. Seconds for one release.
HUNG = 10 * 60


def copy_release(source: Path, target: Path) -> None:
    """Copy a release folder as a person would, slowly and with the manifest last."""
    target.mkdir()
    for file in sorted(source.iterdir(), key=lambda path: path.name == "release.json"):
        shutil.copy(file, target)
        time.sleep(0.5)


class Acceptance:
    """The steps share one store, as a user's commands do."""

    def __init__(self, store: Path) -> None:
        self.store = store
        self.mirror = os.environ.get("INTERP_DATA_MIRROR", "")
        self.env = {key: value for key, value in os.environ.items() if key != "INTERP_DATA_MIRROR"}
        self.env |= {"INTERP_STORE": str(store), "DAGSTER_DISABLE_TELEMETRY": "1", "COLUMNS": "160"}
        self.shipped: list[str] = []

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
        must(seconds < len(self.shipped) * HUNG, f"took {seconds:.0f} s: something hangs")
        must(peak < 6 * GIB, f"peak memory {peak / GIB:.1f} GiB; 6 GiB is the promise")
        for name in self.evaluated():
            folder = self.store / "demo" / name
            absent = [file for file in RESULT_FILES if not (folder / file).is_file()]
            must(not absent, f"{folder} lacks {', '.join(absent)}")
            must(any((folder / "figures").glob("*.svg")), f"{folder} holds no figure")
            must(str(folder / "report.html") in done.stdout or name not in self.shipped, f"no report path of {name}")
        for name in self.shipped:
            self._every_row(name)

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
        must(seconds < 2 * len(judged) * HUNG, f"took {seconds:.0f} s: something hangs")
        must(peak < 8 * GIB, f"peak memory {peak / GIB:.1f} GiB; 8 GiB is the promise")
        for name in judged:
            self._on_real_outcomes(name, done.stdout)
        self._same_page(command("interp", "export", "screens", "--study", "bench", env=env).stdout)
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

    def _on_real_outcomes(self, name: str, printed: str) -> None:
        """One release: nothing failed, rows that ran are real, and every screen of the study is counted in print."""
        folder = self.store / "bench" / name
        verdict = json.loads((folder / "verdict.json").read_text())
        must(verdict["headline"]["data_origin"] == "real", f"{name}: bench is not on real outcomes")
        controls = pd.read_parquet(folder / "tables" / "control_outcomes.parquet")
        astray = controls.loc[~controls["behaves"].astype(bool), "control"].tolist()
        must(not astray, f"{name}: {', '.join(astray)} did not come out as it must, so that no verdict counts")
        tests = pd.read_parquet(folder / "tests.parquet")
        failed = tests.loc[tests["status"] == "failed", "test_id"].tolist()
        must(not failed, f"{name}: failed rows {', '.join(failed)}")
        run = tests[tests["status"] == "run"]
        measured = set(run.loc[run["dataset"] != "simulation", "data_origin"])
        must(measured == {"real"}, f"{name}: rows were run on {', '.join(sorted(map(str, measured)))} data")
        simulated = set(run.loc[run["dataset"] == "simulation", "data_origin"])
        must(simulated == {"simulated"}, f"{name}: simulated rows are called {simulated}")
        for number in (6, 7, 8, 28, 37):
            rows = run[run["test_id"].str.startswith(f"A{number:02d}.")]
            must(len(rows) > 0, f"{name}: no row of analysis {number} ran on real data")
        screens = pd.read_parquet(folder / "tables" / "screen_evaluability.parquet")["dataset"].unique()
        must(len(screens) >= 10, f"{name}: only {len(screens)} screens were counted")
        lost = [screen for screen in screens if screen not in printed]
        must(not lost, f"the terminal does not name {', '.join(lost)}")

    @staticmethod
    def _same_page(made: str) -> None:
        """`docs/results-bench.md` is what this evaluation gives: the same text, numbers within two thousandths."""
        number = re.compile(r"(?<![\w.])[-+]?\d+\.\d+(?:e[-+]\d+)?(?![\w.])")
        kept = (PROJECT / "docs" / "results-bench.md").read_text(encoding="utf-8")
        must(number.sub("#", made) == number.sub("#", kept), "docs/results-bench.md is out of date; export it again")
        pairs = zip(number.findall(made), number.findall(kept), strict=True)
        worst = max((abs(float(one) - float(other)) for one, other in pairs), default=0.0)
        print(f"docs/results-bench.md: numbers agree within {worst:.3f}", flush=True)
        must(worst <= 0.002, f"docs/results-bench.md differs by up to {worst:.3f}; export it again")

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
        """Backfills launched from the web server, and releases that are judged without a command.

        One release, an edge table, is registered before the daemon's first tick; one arrives while it runs. Both
        get a verdict by the same conditions, on the store and run history of `interp evaluate`.
        """
        releases, store = self.store.parent / "releases", self.store.parent / "served"
        releases.mkdir()
        env = self.env | {"INTERP_STORE": str(store), "INTERP_RELEASES": str(releases), "INTERP_STUDIES": "tiny"}
        known, late = self.shipped[:2]
        shutil.copytree(PROJECT / "releases" / known, releases / known)
        command("interp", "evaluate", "--study", "tiny", "--release", known, env=env)
        early = "same-cells-table"
        write_edge_table(store / "cells" / "planted_tiny" / "correlation" / "rank_distance", releases / early)
        command(sys.executable, "-c", REGISTER, str(store / ".dagster"), early, env=env)
        with Served(env, self.store.parent / "served.log") as deployment:
            for keys, partition in (
                ([["attention"]], f"planted_tiny|{known}"),
                ([["analysis_21"], ["test_results"]], f"{known}|tiny"),
            ):
                deployment.backfill(keys, partition, 240)
            for key, partition in (("attention", f"planted_tiny|{known}"), ("report", f"{known}|tiny")):
                status = deployment.stale_status([key], partition)
                must(status == "FRESH", f"{key} of {partition} is {status} after the backfill")
            copy_release(PROJECT / "releases" / late, releases / late)
            for name in (early, late):
                self.judged_without_a_hand(deployment, store / "tiny" / name, env)
            self.no_needless_runs(deployment, early, late)

    def judged_without_a_hand(self, deployment: Served, folder: Path, env: dict[str, str]) -> None:
        """Wait for verdict and report of one release; both are fresh, and the gate can read the folder."""
        started = time.monotonic()
        whole = [folder / file for file in RESULT_FILES]
        wait_for(lambda: all(file.is_file() for file in whole), 420, f"the verdict in {folder}", every=2)
        partition = f"{folder.name}|tiny"
        wait_for(
            lambda: deployment.stale_status(["report"], partition) == "FRESH", 120, f"a fresh report of {partition}", 2
        )
        done = command("qc-gate", "check", str(folder), env=env, expect=None)
        must(done.returncode in (1, 2) and "verdict" in done.stdout.lower(), f"qc-gate on {folder}:\n{done.stdout}")
        print(f"        {folder.name}: judged {time.monotonic() - started:.0f} s later", flush=True)

    @staticmethod
    def no_needless_runs(deployment: Served, *releases: str) -> None:
        """Every run succeeded, no asset was run twice for a release, and assets run together, not one by one.

        With every tick between two runs a release takes five (`test_a_new_release_needs_six_runs_and_the_leaderboard`
        holds that). A tick during a run asks at once for what reads the results that are there, so how many runs there
        are depends on how fast the machine is; five assets a run, on average, is a bound that does not.
        """
        runs = deployment.runs()
        bad = [run for run in runs if run["status"] in ("FAILURE", "CANCELED")]
        must(not bad, f"{len(bad)} run(s) failed, such as {bad[:1]}")
        for name in releases:
            mine = [run for run in runs if name in run["partition"].split("|")]
            print(f"        {name}: {len(mine)} runs", flush=True)
            times = Counter((asset, run["partition"]) for run in mine for asset in run["assets"])
            twice = sorted(asset for (asset, _), count in times.items() if count > 1)
            must(not twice, f"{name}: run twice without a change: {', '.join(twice)}")
            ticks = Counter((run["tick"], run["partition"]) for run in mine if run["tick"])
            apart = [asked for asked, count in ticks.items() if count > 1]
            must(not apart, f"{name}: one tick asked for several runs of one partition: {apart}")
            must(bool(ticks), f"{name}: no run says which tick asked for it")
            must(5 * len(mine) <= len(times), f"{name} took {len(mine)} runs: {[run['assets'] for run in mine]}")

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


def attempt(step: Step) -> str:
    """Run one step and say how it went: passed, failed or skipped."""
    started = time.monotonic()
    try:
        step()
    except StepSkippedError as skip:
        print(f"skipped {step.__name__}: {skip}", flush=True)
        return "skipped"
    except (StepFailedError, RuntimeError, TimeoutError, OSError, LookupError, ValueError) as failure:
        print(f"FAILED  {step.__name__}: {failure}", flush=True)
        return "failed"
    print(f"passed  {step.__name__} ({time.monotonic() - started:.0f} s)", flush=True)
    return "passed"


def phases(acceptance: Acceptance) -> list[tuple[list[Step], ...]]:
    """Steps in order: phases one after the other, chains of a phase side by side, steps of a chain in their order.

    What is timed against a promise, or uses both cores by itself, has a phase of its own. Chains of one phase share no
    file: `absent_data`, `brought_releases` and `served` have stores of their own, and the slow tests have none.
    """
    return [
        ([acceptance.clean_evaluation, acceptance.one_analysis, acceptance.second_run],),
        (
            [
                acceptance.gate_on_controls,
                acceptance.gate_on_damage,
                acceptance.simulated_truth_clears_nobody,
                acceptance.bad_input,
            ],
            [acceptance.absent_data],
            [acceptance.brought_releases],
        ),
        ([acceptance.real_outcomes],),
        ([acceptance.served], [acceptance.slow_tests]),
    ]


def main() -> int:
    """Run every step; stop at nothing, count everything."""
    counted: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="interp-check-") as name:
        acceptance = Acceptance(Path(name) / "store")
        acceptance.store.mkdir()
        for chains in phases(acceptance):
            with ThreadPoolExecutor(len(chains)) as pool:
                for outcomes in pool.map(lambda chain: [attempt(step) for step in chain], chains):
                    counted.update(outcomes)
    print(f"{counted['passed']} passed, {counted['failed']} failed, {counted['skipped']} skipped")
    return 1 if counted["failed"] or not counted["passed"] else 0


if __name__ == "__main__":
    raise SystemExit(main())

"""A team's deployment on PostgreSQL: web server, daemon and commands on one store and one database.

What belongs here: the promises of `docs/deployment.md` and of the daemon, tried from the outside. What does not: how
the deployment and the database are started (`served`, `postgres`), or deployments on the embedded run history
(`watched`, `killed`).
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from postgres import Postgres
from served import Served, wait_for, write_edge_table
from steps import HUNG, PROJECT, RESULT_FILES, command, must

# As any process that shares the run history may do it; nothing of the platform is asked.
REGISTER = """
import sys, dagster
with dagster.DagsterInstance.from_config(sys.argv[1]) as instance:
    instance.add_dynamic_partitions("release", sys.argv[2:])
"""
# As if the server had been down when the month began: the schedule was on, and its last look lies forty days back.
MISSED = """
import dataclasses, sys, time, dagster
with dagster.DagsterInstance.from_config(sys.argv[1]) as instance:
    (state,) = [found for found in instance.all_instigator_state() if found.name == "monthly_reevaluation"]
    begun = time.time() - 40 * 86400
    data = state.instigator_data._replace(start_timestamp=begun, last_iteration_timestamp=begun)
    instance.update_instigator_state(state.with_data(data))
"""


def copy_release(source: Path, target: Path) -> None:
    """Copy a release folder as a person would, slowly and with the manifest last."""
    target.mkdir()
    for file in sorted(source.iterdir(), key=lambda path: path.name == "release.json"):
        shutil.copy(file, target)
        time.sleep(0.5)


class Deployed:
    """Steps that share one store, one releases folder and one database, in the order in which they stand."""

    def __init__(self, folder: Path, environment: dict[str, str], database: Postgres) -> None:
        self._log, self._database = folder / "served.log", database
        self.store, self.releases = folder / "served", folder / "releases"
        self.releases.mkdir()
        self.env = environment | {"INTERP_STORE": str(self.store), "INTERP_RELEASES": str(self.releases)}
        self.env |= {"INTERP_STUDIES": "tiny"}

    def evaluations_side_by_side(self, known: str, beside: str) -> None:
        """After a first evaluation two at once, a release and an edge table: all end with a verdict the gate can read.

        The first one computes what all share, so that the two do not both wait for the controls.
        """
        for name in (known, beside):
            shutil.copytree(PROJECT / "releases" / name, self.releases / name)
        command("interp", "evaluate", "--study", "tiny", "--release", known, env=self.env)
        names = (beside, "own-table")
        write_edge_table(self._score("co_detection"), self.releases / names[1])
        started = time.monotonic()
        logs = [self._log.with_name(f"evaluate-{name}.log") for name in names]
        running = []
        for name, log in zip(names, logs, strict=True):
            with log.open("wb") as out:
                asked = ["interp", "evaluate", "--study", "tiny", "--release", name, "--jobs", "1"]
                running.append(subprocess.Popen(asked, env=self.env, stdout=out, stderr=subprocess.STDOUT))
        ended = [process.wait(HUNG) for process in running]
        told = "\n".join(log.read_text(errors="replace")[-1500:] for log in logs)
        must(ended == [0, 0], f"two evaluations side by side ended with {ended}:\n{told}")
        for name in (known, *names):
            self._readable(self.store / "tiny" / name)
        again = command("interp", "evaluate", "--study", "tiny", env=self.env).stdout
        must("nothing to recompute" in again, f"after two evaluations side by side:\n{again[-1500:]}")
        must(int(self._database.sql("SELECT count(*) FROM event_logs")) > 0, "PostgreSQL holds no event")
        must(not list((self.store / ".dagster").rglob("*.db")), "there is a sqlite database beside PostgreSQL")
        print(f"        two evaluations side by side: {time.monotonic() - started:.0f} s", flush=True)

    def _score(self, name: str) -> Path:
        """A stored score on the cells of the study, for edge tables."""
        return self.store / "cells" / "planted_tiny" / "correlation" / name

    def judges_by_itself(self, known: str, late: str) -> None:
        """Backfills launched from the web server, and releases that are judged without a command.

        One release, an edge table, is registered before the daemon's first tick; one arrives while it runs. Both
        get a verdict by the same conditions, on the store and run history of `interp evaluate`.
        """
        early = "same-cells-table"
        write_edge_table(self._score("rank_distance"), self.releases / early)
        command(sys.executable, "-c", REGISTER, str(self.store / ".dagster"), early, env=self.env)
        with Served(self.env, self._log) as deployment:
            for keys, partition in (
                ([["attention"]], f"planted_tiny|{known}"),
                ([["analysis_21"], ["test_results"]], f"{known}|tiny"),
            ):
                deployment.backfill(keys, partition, 240)
            for key, partition in (("attention", f"planted_tiny|{known}"), ("report", f"{known}|tiny")):
                status = deployment.stale_status([key], partition)
                must(status == "FRESH", f"{key} of {partition} is {status} after the backfill")
            copy_release(PROJECT / "releases" / late, self.releases / late)
            for name in (early, late):
                self.judged_without_a_hand(deployment, self.store / "tiny" / name)
            self.no_needless_runs(deployment, early, late)

    def catches_up_with_the_schedule(self) -> None:
        """A deployment that was down on the first of the month makes up for it: a real tick of the real daemon."""
        command(sys.executable, "-c", MISSED, str(self.store / ".dagster"), env=self.env)
        with Served(self.env, self._log) as deployment:

            def ended() -> list[dict[str, Any]]:
                return [tick for tick in deployment.ticks("monthly_reevaluation") if tick["status"] != "STARTED"]

            wait_for(lambda: bool(ended()), HUNG, "a tick of the monthly schedule", every=2)
            (tick,) = ended()
            must(tick["status"] == "SUCCESS", f"the monthly schedule ended as {tick}")
            # One run for each control and each release, in one study.
            must(len(tick["runIds"]) >= 2, f"the monthly schedule asked for no run: {tick}")
            wait_for(lambda: bool(deployment.ticks("new_releases")), HUNG, "a tick of the sensor of new releases", 2)
            print(f"        the monthly schedule was made up for: {len(tick['runIds'])} runs", flush=True)

    def _readable(self, folder: Path) -> None:
        """The gate reads a results folder and comes to a verdict of its own: refuted or not evaluable here."""
        done = command("qc-gate", "check", str(folder), env=self.env, expect=None)
        must(done.returncode in (1, 2) and "verdict" in done.stdout.lower(), f"qc-gate on {folder}:\n{done.stdout}")

    def judged_without_a_hand(self, deployment: Served, folder: Path) -> None:
        """Wait for verdict and report of one release; both are fresh, and the gate can read the folder."""
        started = time.monotonic()
        whole = [folder / file for file in RESULT_FILES]
        wait_for(lambda: all(file.is_file() for file in whole), HUNG, f"the verdict in {folder}", every=2)
        partition = f"{folder.name}|tiny"
        wait_for(
            lambda: deployment.stale_status(["report"], partition) == "FRESH", HUNG, f"a fresh report of {partition}", 2
        )
        self._readable(folder)
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

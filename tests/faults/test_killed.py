"""kill -9 while attention is extracted, a battery computed, results written: nothing is lost and nothing is wrong."""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path

import dagster as dg
import numpy as np
import pytest

from interp_assets.automation.launcher import end_lost_runs, this_process
from interp_assets.evaluate import dagster_instance
from interp_assets.models.attention.store import AttentionStoreError, open_attention
from interp_assets.parallel import POOL
from qc_standards.gate import check_folder
from qc_standards.results import ResultsError
from tests.faults.tiny_store import (
    CONTROL,
    STUDY,
    Environment,
    changes_counted,
    content_of,
    dies,
    evaluate,
    extract,
    forget,
    judge_control,
    of,
)


@pytest.mark.parametrize("passes", [False, True])
def test_an_extraction_killed_anywhere_ends_with_the_same_bytes(
    finished, memory, tmp_path, tally, soak, passes
) -> None:
    started = time.monotonic()
    with changes_counted() as changes:
        extract(finished, tmp_path / "whole", passes)
    seconds = time.monotonic() - started
    expected = content_of(tmp_path / "whole")
    rng = np.random.default_rng([1, passes])
    for attempt in range(soak):
        folder = tmp_path / str(attempt)
        # the folder fills up over the attempts, so that later deaths meet what earlier ones left
        for at in sorted(rng.integers(1, changes[0] + 1, 1 if soak == 1 else 3)):
            killed = dies(extract, finished, folder, passes, at=int(at))
            killed |= dies(extract, finished, folder, passes, after=float(rng.uniform(0.1, seconds)))
            if not killed or (folder / "manifest.json").is_file():
                open_attention(folder, verify=True)
            else:
                with pytest.raises(AttentionStoreError, match="no finished attention"):
                    open_attention(folder)
            tally("fault", "kill -9 while attention is extracted, at a rename and at a random time", times=2)
        extract(finished, folder, passes)
        assert content_of(folder) == expected
        assert not (folder / "partial").exists()
        shutil.rmtree(folder)


def test_a_battery_killed_anywhere_ends_with_the_same_bytes(finished, broken, whole, tally, soak) -> None:
    expected = content_of(Path(finished["INTERP_STORE"]))
    rng = np.random.default_rng(2)
    for _ in range(soak):
        deployed = broken()
        store = Path(deployed["INTERP_STORE"])
        forget(store, rng)
        assert dies(evaluate, deployed, whole, at=int(rng.integers(1, 60)))
        dies(evaluate, deployed, whole, after=float(rng.uniform(1, 8)))
        evaluate(deployed, whole)
        assert content_of(store) == expected
        tally("fault", "kill -9 while a battery is computed, at a rename and at a random time", times=2)
        shutil.rmtree(store)


@pytest.mark.parametrize("lives", [False, True])
def test_a_killed_evaluation_gives_its_place_at_the_model_back(finished, broken, tally, soak, lives) -> None:
    """Regression: the next evaluation waited for ever for the slot of a run whose process was gone."""
    for _ in range(soak):
        deployed = broken()
        if lives:
            claim(deployed, die=False)
        else:
            assert dies(claim, deployed, True)
        with dagster_instance(of(deployed)) as instance:
            (run,) = instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED]))
            assert end_lost_runs(instance) == ([] if lives else [run.run_id])
            info = instance.event_log_storage.get_concurrency_info(POOL)
            assert info.active_slot_count == int(lives)
            assert instance.get_run_by_id(run.run_id).is_finished is not lives
        tally("fault", "kill -9 while a model runs, and an evaluation after it")


def claim(deployed: Environment, die: bool) -> None:
    """Begin a run of this process that holds the place at the model."""
    with dagster_instance(of(deployed)) as instance:
        job = dg.Definitions(jobs=[dg.define_asset_job("one", [model])], assets=[model]).resolve_job_def("one")
        run = instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED, tags=this_process())
        instance.event_log_storage.initialize_concurrency_limit_to_default(POOL)
        assert instance.event_log_storage.claim_concurrency_slot(POOL, run.run_id, "model").is_claimed
        if die:
            os.kill(os.getpid(), signal.SIGKILL)


@dg.asset
def model() -> int:
    return 1


def test_a_half_written_results_folder_never_passes(broken, tally, soak) -> None:
    undisturbed = broken()
    judge_control(undisturbed)
    expected = content_of(Path(undisturbed["INTERP_STORE"]) / STUDY / CONTROL)
    judgement = check_folder(Path(undisturbed["INTERP_STORE"]) / STUDY / CONTROL)
    rng = np.random.default_rng(3)
    for _ in range(soak):
        deployed = broken()
        folder = Path(deployed["INTERP_STORE"]) / STUDY / CONTROL
        for document in ("verdict.json", "claims.json", "standards.json", "report.html"):
            (folder / document).unlink()
        for at in sorted(rng.integers(1, 40, 2)):
            assert dies(judge_control, deployed, at=int(at))
            try:
                found = check_folder(folder)
            except ResultsError:
                tally("fault", "the gate reads a folder whose writing was killed", "refused")
            else:
                assert found.verdicts == judgement.verdicts
                tally("fault", "the gate reads a folder whose writing was killed")
        judge_control(deployed)
        assert content_of(folder) == expected
        tally("fault", "kill -9 while results and report are written", times=2)

"""Several processes meet a store that no one used before."""

from __future__ import annotations

import multiprocessing
from multiprocessing.synchronize import Barrier

from interp_assets import evaluate
from interp_assets.layout import read_layout

PROCESSES = 4


def _open(gate: Barrier) -> None:
    layout = read_layout()
    gate.wait()
    evaluate.dagster_instance(layout).dispose()


def test_processes_that_begin_at_once_make_one_history(tmp_path, monkeypatch, tally, soak) -> None:
    """Regression: the tables of a new history were made by two workers, and one of them died of it."""
    forked = multiprocessing.get_context("fork")
    for attempt in range(2 * soak):
        store = tmp_path / str(attempt)
        monkeypatch.setenv("INTERP_STORE", str(store))
        gate = forked.Barrier(PROCESSES)
        processes = [forked.Process(target=_open, args=(gate,)) for _ in range(PROCESSES)]
        for process in processes:
            process.start()
        for process in processes:
            process.join(60)
        assert [process.exitcode for process in processes] == [0] * PROCESSES
        assert (store / ".dagster" / "dagster.yaml").is_file()
        assert not list((store / ".dagster").glob(".*.guard"))
        tally("fault", f"{PROCESSES} processes meet a new store at once")

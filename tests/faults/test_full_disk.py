"""A disk that fills up: one error that names the file and the way out, and the same bytes once there is room."""

from __future__ import annotations

import dataclasses
import errno
import os
import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from interp_assets.automation.failure_kinds import StepError, failure_kind
from interp_assets.evaluate import EvaluationError
from interp_assets.models.attention.store import AttentionStoreError, open_attention
from interp_assets.storage import NotWrittenError, save_records, write_table
from tests.faults.mounted import mounted
from tests.faults.tiny_store import content_of, evaluate, extract, forget

TOLD = r"No space left on device: .* was not written; free space on that disk \(`interp store clean`"


@contextmanager
def full_at(write: int) -> Iterator[None]:
    """The disk is full when the n-th file is to be kept, and from then on."""
    seen, fsync = 0, os.fsync

    def refusing(handle: int) -> None:
        nonlocal seen
        seen += 1
        if seen >= write:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(handle)

    os.fsync = refusing
    try:
        yield
    finally:
        os.fsync = fsync


def test_an_extraction_on_a_full_disk_says_so_and_goes_on_later(finished, tmp_path, tally, soak) -> None:
    extract(finished, tmp_path / "whole", True)
    expected = content_of(tmp_path / "whole")
    rng = np.random.default_rng(21)
    for attempt in range(soak):
        folder = tmp_path / str(attempt)
        for write in rng.integers(1, 12, 3):
            with full_at(int(write)), pytest.raises(NotWrittenError, match=TOLD):
                extract(finished, folder, True)
            with pytest.raises(AttentionStoreError, match="no finished attention"):
                open_attention(folder)
            tally("fault", "disk full while attention is extracted", "refused")
        extract(finished, folder, True)
        assert content_of(folder) == expected
        tally("fault", "attention extracted once there is room again")


def test_an_evaluation_on_a_full_disk_says_so_and_goes_on_later(finished, broken, whole, tally, soak) -> None:
    expected = content_of(Path(finished["INTERP_STORE"]))
    rng = np.random.default_rng(22)
    for _ in range(soak):
        deployed = broken()
        store = Path(deployed["INTERP_STORE"])
        forget(store, rng)
        shutil.rmtree(store / "cells" / "kegg_curated")
        with full_at(int(rng.integers(1, 20))), pytest.raises(EvaluationError, match=TOLD) as caught:
            evaluate(deployed, whole)
        assert failure_kind("STEP_FAILURE", [StepError("NotWrittenError", str(caught.value))]) == "infrastructure"
        tally("fault", "disk full while tables and results are written", "refused")
        evaluate(deployed, whole)
        assert content_of(store) == expected
        tally("fault", "an evaluation once there is room again")


@dataclasses.dataclass(frozen=True)
class Sample:
    """A record with every form that is stored."""

    scores: np.ndarray
    table: pd.DataFrame
    facts: dict[str, str]


@contextmanager
def no_file_over(size: int) -> Iterator[None]:
    """No file may grow over a number of bytes: writes are cut short, as by a disk that fills up in the middle."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_write_that_is_cut_short_leaves_what_was_there(tmp_path, tally, soak) -> None:
    rng = np.random.default_rng(23)

    def sample(seed: int) -> Sample:
        values = np.random.default_rng(seed).random(40_000)
        return Sample(values, pd.DataFrame({"score": values}), {"text": "x" * 20_000})

    save_records(tmp_path / "records", {"one": sample(0)})
    write_table(tmp_path / "table.parquet", sample(0).table)
    before = content_of(tmp_path)
    for size in rng.integers(1, 300_000, 20 * soak):
        with no_file_over(int(size)):
            with pytest.raises(NotWrittenError, match=r"records was not written; (free space|raise the limit)"):
                save_records(tmp_path / "records", {"one": sample(1)})
            with pytest.raises(NotWrittenError, match=r"table.parquet was not written; (free space|raise the limit)"):
                write_table(tmp_path / "table.parquet", sample(1).table)
        assert content_of(tmp_path) == before
        assert sorted(path.name for path in tmp_path.iterdir()) == ["records", "table.parquet"]
        tally("fault", "a write of records or of a table cut short at a random byte", "refused", times=2)


def test_a_disk_that_is_really_full(finished, memory, whole, tally, soak) -> None:
    """Everything at once, the run history too: whichever file meets the end of the disk first."""
    expected = content_of(Path(finished["INTERP_STORE"]))
    rng = np.random.default_rng(24)
    used = sum(path.stat().st_blocks * 512 for path in Path(finished["INTERP_STORE"]).rglob("*")) / 2**20
    with mounted(memory / "disk", int(used) + 40) as disk:
        for _ in range(soak):
            store = disk / "store"
            shutil.copytree(finished["INTERP_STORE"], store)
            deployed = {**finished, "INTERP_STORE": str(store)}
            forget(store, rng)
            ballast = disk / "ballast"
            free = shutil.disk_usage(disk).free
            ballast.write_bytes(b"\0" * (free - int(rng.integers(0, 600_000))))
            with pytest.raises(
                (EvaluationError, NotWrittenError), match=r"(full|No space left|disk I/O error).*free space"
            ):
                evaluate(deployed, whole)
            tally("fault", "a disk that is full, the run history on it", "refused")
            ballast.unlink()
            evaluate(deployed, whole)
            assert content_of(store) == expected
            tally("fault", "an evaluation once there is room again")
            shutil.rmtree(store)

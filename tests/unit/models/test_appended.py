"""Arrays made a part at a time: the same numbers in memory and in a file, and the file is nobody's to clean up."""

from __future__ import annotations

import os
import tempfile

import numpy as np
import pytest

from interp_assets.models.adapter import EncodedCells
from interp_assets.models.attention import appended, plan
from interp_assets.models.attention.appended import Appended
from interp_assets.models.attention.encoded_blocks import joined
from interp_assets.models.attention.facts import sampled_cells
from interp_assets.models.attention.plan import plan_batches, score_cells
from interp_assets.storage import NotWrittenError


@pytest.mark.parametrize("bound", [0, 40, 10_000])
def test_numbers_are_those_of_the_parts_wherever_they_lie(tmp_path, bound):
    rng = np.random.default_rng(0)
    parts = [rng.integers(0, 99, size) for size in (5, 0, 17, 3)]
    made = Appended(np.int32, tmp_path / "new", held_bytes=bound)
    for part in parts:
        made.append(part)
    found = made.array()
    np.testing.assert_array_equal(found, np.concatenate(parts))
    assert (type(found), found.dtype, made.size) == (np.ndarray, np.int32, 25)
    assert isinstance(found.base, np.memmap) == (bound < 100)
    assert not list(tmp_path.glob("*/*"))


def test_nothing_appended_is_an_empty_array(tmp_path):
    assert Appended(np.int64, tmp_path, held_bytes=0).array().tolist() == []


def test_a_full_disk_names_the_folder_and_the_way_out(tmp_path, monkeypatch):
    def full(**_: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    with pytest.raises(NotWrittenError, match=rf"{tmp_path}.*free space on that disk"):
        Appended(np.int32, tmp_path, held_bytes=0).append(np.arange(4))


def cells_of(seed: int) -> list[EncodedCells]:
    """Cells of one model in blocks; a gene stands once in a cell, and some positions hold no gene."""
    rng = np.random.default_rng(seed)
    blocks = []
    for cells in (3, 4, 2):
        columns = [rng.permutation(np.r_[-1, rng.choice(30, rng.integers(1, 12), replace=False)]) for _ in range(cells)]
        offsets = np.cumsum([0, *map(len, columns)])
        flat = np.concatenate(columns).astype(np.int32)
        blocks.append(EncodedCells(tokens=flat + 5, column=flat, offsets=offsets, left_out=np.arange(cells)))
    return blocks


@pytest.mark.parametrize("seed", range(3))
def test_an_extraction_is_planned_alike_from_memory_and_from_files(tmp_path, monkeypatch, seed):
    scored = np.random.default_rng(seed).choice(30, 12, replace=False)
    held = score_cells(joined(cells_of(seed)), scored)
    monkeypatch.setattr(appended, "HELD_BYTES", 0)
    monkeypatch.setattr(plan, "BLOCK", 4)
    filed = score_cells(joined(cells_of(seed), tmp_path), scored, tmp_path)
    assert isinstance(filed.gene.base, np.memmap)
    for name in ("where", "gene", "offsets"):
        np.testing.assert_array_equal(getattr(filed, name), getattr(held, name))
    for name in ("tokens", "column", "offsets", "left_out"):
        np.testing.assert_array_equal(getattr(filed.encoded, name), getattr(held.encoded, name))
    assert plan_batches(filed, 30, 3).plan_hash == plan_batches(held, 30, 3).plan_hash
    assert filed.held == held.held == held.gene.size
    assert sampled_cells(filed.encoded, scored, 4).tolist() == sampled_cells(held.encoded, scored, 4).tolist()


def test_a_gene_at_two_positions_is_found_in_a_later_block(monkeypatch):
    monkeypatch.setattr(plan, "BLOCK", 2)
    column = np.array([1, 2, 1, 2, 1, 2, 2], dtype=np.int32)
    cells = EncodedCells(tokens=column, column=column, offsets=np.array([0, 2, 4, 7]))
    with pytest.raises(ValueError, match=r"\(1 times, first in cell 2\)"):
        score_cells(cells, [1, 2])

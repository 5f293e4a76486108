"""Where the explorer's single heads come from, and what the report takes of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from interp_assets.assets.explorer import FINISHED_SCORES, NAME, explorer_tables, stored_heads
from interp_assets.edges.records import AttentionEdges
from interp_assets.io_managers import StoredFiles, parquet_bytes
from interp_assets.models.attention.store import open_attention, write_attention, write_layer
from interp_assets.readings.records import Reading, kept_files
from interp_assets.report.explorer import explorer_view

GENES = np.array(["A", "B", "C"])
SUMS = np.arange(2 * 2 * 9, dtype=np.float32).reshape(2, 2, 3, 3)  # layers x heads x G x G
COUNTS = np.array([[4, 2, 0], [2, 4, 1], [0, 1, 4]], dtype=np.int32)


def extracted(folder: Path, kept: str) -> AttentionEdges:
    """Attention of two layers of two heads on three genes, as an extraction leaves it."""
    arrays = folder / "arrays"
    arrays.mkdir(parents=True)
    for layer, heads in enumerate(SUMS):
        write_layer(arrays, layer, heads.mean(axis=0), heads if kept == "all" else None)
    facts = {
        "release": "r",
        "dataset": "d",
        "layers": 2,
        "heads": 2,
        "heads_kept": kept,
        "cells_hash": "c",
        "device": "cpu",
        "dtype": "float32",
    }
    write_attention(folder, arrays=arrays, counts=COUNTS, genes=GENES, facts=facts)
    return open_attention(folder)


def test_single_heads_are_read_from_the_sums_that_were_kept(tmp_path: Path) -> None:
    heads = stored_heads(extracted(tmp_path, "all"))
    assert callable(heads)
    with np.errstate(invalid="ignore", divide="ignore"):
        expected = np.where(COUNTS > 0, SUMS[1, 0] / COUNTS, np.nan)
    np.testing.assert_array_equal(heads(1, 0).score, expected)


def test_without_single_heads_the_reason_is_that_of_the_extraction(tmp_path: Path) -> None:
    told = stored_heads(extracted(tmp_path, "mean only: too little memory"))
    assert told == "the extraction kept mean only: too little memory"
    table = AttentionEdges(
        release="t", dataset="d", genes=GENES, layers=1, heads=1, cells_hash="c", layer_matrix=lambda layer: None
    )
    assert stored_heads(table) == FINISHED_SCORES


@pytest.fixture
def stored(tmp_path: Path):
    def write(found: Reading | str) -> StoredFiles:
        files = kept_files(NAME, found, parquet_bytes)
        for name, content in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(content)
        return StoredFiles(folder=tmp_path, names=tuple(files))

    return write


def test_the_report_takes_tables_under_names_of_their_own(stored) -> None:
    frame = pd.DataFrame({"regulator": ["A"]})
    tables = explorer_tables(stored(Reading(tables={"regulators": frame})))
    assert list(tables) == ["explorer_regulators"]
    pd.testing.assert_frame_equal(tables["explorer_regulators"], frame)


def test_nothing_to_explore_reaches_the_page_as_its_reason(stored) -> None:
    kept = stored("controls run only the rows that claims need")
    assert not [name for name in kept.names if name.startswith("tables/")]
    view = explorer_view(explorer_tables(kept))
    assert view is not None
    assert (view.reason, view.data) == ("controls run only the rows that claims need", "")

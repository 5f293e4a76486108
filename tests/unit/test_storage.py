"""Stored records: the same back, the same bytes again, and no half-written folder."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from interp_assets import storage
from interp_assets.storage import StorageError, content_hash, load_record, save_records


@dataclass(frozen=True)
class Sample:
    names: Any
    matrix: Any
    table: pd.DataFrame
    facts: dict[str, Any]


def folder_hash(folder: Path) -> str:
    """Names and bytes of everything below a folder, as one digest."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return hashlib.sha256(b"".join(path.name.encode() + path.read_bytes() for path in files)).hexdigest()


def sample() -> Sample:
    return Sample(
        names=np.array(["GATA1", "NA"]),
        matrix=sparse.csr_matrix(np.array([[0, 3], [1, 0]], dtype=np.int32)),
        table=pd.DataFrame({"x": [1.5, np.nan]}, index=["GATA1", "NA"]),
        facts={"cells": 2},
    )


def test_a_record_comes_back_equal(tmp_path: Path) -> None:
    save_records(tmp_path / "r", {"one": sample()})
    back = load_record(tmp_path / "r" / "one", Sample)
    assert back.names.tolist() == ["GATA1", "NA"]
    assert (back.matrix != sample().matrix).nnz == 0
    assert back.matrix.dtype == np.int32
    pd.testing.assert_frame_equal(back.table, sample().table)
    assert back.facts == {"cells": 2}


def test_equal_records_have_equal_bytes_and_equal_hashes(tmp_path: Path) -> None:
    save_records(tmp_path / "a", {"one": sample()})
    save_records(tmp_path / "b", {"one": sample()})
    assert folder_hash(tmp_path / "a") == folder_hash(tmp_path / "b")
    assert content_hash(sample()) == content_hash(sample())
    assert content_hash(sample()) != content_hash(replace(sample(), facts={"cells": 3}))


def test_saving_again_replaces_the_whole_folder(tmp_path: Path) -> None:
    save_records(tmp_path / "r", {"one": sample(), "two": sample()})
    save_records(tmp_path / "r", {"one": sample()})
    assert [path.name for path in (tmp_path / "r").iterdir()] == ["one"]
    assert [path.name for path in tmp_path.iterdir()] == ["r"]


def test_a_failure_while_saving_leaves_the_old_record(tmp_path: Path) -> None:
    save_records(tmp_path / "r", {"one": sample()})
    before = folder_hash(tmp_path / "r")
    with pytest.raises(ValueError, match="JSON compliant"):
        save_records(tmp_path / "r", {"one": replace(sample(), facts={"bad": float("nan")})})
    assert folder_hash(tmp_path / "r") == before
    assert [path.name for path in tmp_path.iterdir()] == ["r"]


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda folder: (folder / "record.json").unlink(), "materialise the asset"),
        (lambda folder: (folder / "names.npy").write_bytes(b"\x93NUMPY"), "damaged"),
        (lambda folder: (folder / "table.parquet").unlink(), "damaged"),
    ],
)
def test_a_damaged_record_is_named_not_guessed(tmp_path: Path, damage: Any, said: str) -> None:
    save_records(tmp_path / "r", {"one": sample()})
    damage(tmp_path / "r" / "one")
    with pytest.raises(StorageError, match=said):
        load_record(tmp_path / "r" / "one", Sample)


def test_a_record_of_another_kind_is_refused(tmp_path: Path) -> None:
    save_records(tmp_path / "r", {"one": sample()})
    with pytest.raises(StorageError, match="holds a Sample"):
        load_record(tmp_path / "r" / "one", storage.StorageError)

"""Result folders and exported zips are read as they were written or refused; a damaged one is never judged."""

from __future__ import annotations

import json
import shutil
import zipfile
from functools import cache
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from interp_assets.operations.crate import DataSource, accepted, write_crate
from qc_standards import crate, documents
from qc_standards.content import table_hash
from qc_standards.results import JUDGED_FILES, PROVENANCE_FILE, ResultsError, check_stored, read_results
from qc_standards.verdicts import Judgement
from tests.properties.damage import SEEDS, damaged_bytes, damaged_table, damaged_text
from tests.properties.laws import REFUSED, reader
from tests.unit.qc_standards import conftest as evaluations

RELEASE = "control-coexpression"


@cache
def judged() -> Judgement:
    return evaluations.build(evaluations.COEXPRESSION).judge()


@pytest.fixture(scope="module")
def stored(tmp_path_factory) -> Path:
    """One result folder; tests put back what they change."""
    return evaluations.build(evaluations.COEXPRESSION).write(tmp_path_factory.mktemp("store") / "demo" / RELEASE)


@pytest.fixture(scope="module")
def exported(stored, tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("out") / "one.zip"
    write_crate(path, RELEASE, [accepted(stored, (DataSource(name="x", title="X", licence="CC-BY-4.0"),))])
    return path.read_bytes()


def as_json(tree) -> str:
    return json.dumps(tree)


@reader("results folder: damaged documents and provenance", 40)
@given(st.sampled_from([*JUDGED_FILES, PROVENANCE_FILE]), SEEDS)
def test_a_damaged_document_is_refused_or_found_to_differ(stored, name, seed):
    path = stored / name
    whole = path.read_bytes()
    changed = damaged_text(whole, json.loads(whole), as_json, seed)
    try:
        path.write_bytes(changed)
        found = read_results(stored)
        check_stored(found, judged())
    except ResultsError as refused:
        assert str(refused).startswith(str(stored))
        return REFUSED
    finally:
        path.write_bytes(whole)
    same = name == PROVENANCE_FILE or not documents.differences(json.loads(changed), json.loads(whole))
    assert same, "another verdict was taken for the one that the tables give"
    return None


@reader("results folder: damaged tests.parquet and tables", 40)
@given(st.integers(0, 60), st.booleans(), SEEDS)
def test_a_damaged_table_is_refused_or_has_another_hash(stored, place, raw, seed):
    paths = [stored / "tests.parquet", *sorted((stored / "tables").glob("*.parquet"))]
    path = paths[place % len(paths) if place % 3 else 0]
    whole = path.read_bytes()
    before = pd.read_parquet(path)
    try:
        if raw:
            path.write_bytes(damaged_bytes(whole, seed))
        else:
            try:
                damaged_table(before, seed).to_parquet(path)
            except (ValueError, TypeError, OSError):  # what no parquet file can hold
                assume(False)
        found = read_results(stored)
    except ResultsError as refused:
        assert str(path) in str(refused) or path.stem in str(refused)
        return REFUSED
    finally:
        path.write_bytes(whole)
    if path.stem == "tests":
        assert table_hash(found.tests) == judged().inputs["tests"], "a changed battery passed for the one judged"
    return None


@reader("exported zip: damaged bytes, members and metadata", 60)
@given(st.sampled_from(["bytes", "metadata", "member", "twice", "cut"]), SEEDS)
def test_a_damaged_zip_is_refused(exported, tmp_path, way, seed):
    path = tmp_path / "changed.zip"
    path.write_bytes(_changed(exported, way, seed))
    try:
        with crate.unpacked(path) as found:
            folders = [read_results(folder) for folder in found.folders.values()]
    except (crate.CrateError, ResultsError) as refused:
        assert str(refused)
        return REFUSED
    assert len(folders) == 1
    return None


def _changed(content: bytes, way: str, seed: int) -> bytes:
    rng = np.random.default_rng(seed)
    if way == "bytes":
        return damaged_bytes(content, seed)
    if way == "cut":
        return content[: int(rng.integers(len(content)))]
    made = BytesIO()
    with zipfile.ZipFile(BytesIO(content)) as old, zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as new:
        names = old.namelist()
        hit = "ro-crate-metadata.json" if way == "metadata" else names[int(rng.integers(len(names)))]
        for entry in old.infolist():
            held = old.read(entry)
            if entry.filename == hit and way == "metadata":
                held = damaged_text(held, json.loads(held), as_json, seed)
            elif entry.filename == hit and way == "member":
                held = damaged_bytes(held, seed)
            new.writestr(entry, held)
        if way == "twice":
            new.writestr(hit.upper() if rng.random() < 0.5 else f"{hit}/x", b"x")
    return made.getvalue()


def test_the_undamaged_folder_and_zip_are_read(stored, exported, tmp_path):
    check_stored(read_results(stored), judged())
    path = tmp_path / "whole.zip"
    path.write_bytes(exported)
    with crate.unpacked(path) as found:
        (folder,) = found.folders.values()
        check_stored(read_results(folder), judged())


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, '{"format":1,"format":1}', "9" * 5000, "\ufeff{}"])
def test_json_that_no_reader_survives_is_refused_by_name(stored, tmp_path, text, tally):
    folder = Path(shutil.copytree(stored, tmp_path / RELEASE))
    for name in (*JUDGED_FILES, PROVENANCE_FILE):
        whole = (folder / name).read_bytes()
        (folder / name).write_text(text, encoding="utf-8")
        with pytest.raises(ResultsError, match=name):
            read_results(folder)
        (folder / name).write_bytes(whole)
    tally("reader", "results folder: deep nesting, repeated keys, huge numbers", "refused", len(JUDGED_FILES) + 1)

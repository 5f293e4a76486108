"""Files of a release and of the platform's own memory are read or refused by their own error."""

from __future__ import annotations

import json
import pickle
import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interp_assets import quarantine
from interp_assets.automation.discovery import SensorCursor
from interp_assets.automation.failures import Memory as FailureMemory
from interp_assets.cells.integrity import DataFileError
from interp_assets.cells.source_locks import OWN_FILE, Locks
from interp_assets.discovery.memory import Memory, Settled, memory_file, remember, remembered
from interp_assets.models.files.checkpoints import read_dictionary, read_state_dict
from interp_assets.models.files.file_rules import ReleaseFileError
from interp_assets.models.files.releases import find_releases, read_release, usable_name
from interp_assets.settings import PROJECT
from tests.properties.damage import SEEDS, bombs, damaged_bytes, damaged_text
from tests.properties.laws import REFUSED, reader

DICTIONARIES = ({"A": 1, "B": 2}, {"A": 1.5, "B": 0.25}, {"A": np.float32(2.5)}, {"A": "ENSG1", "B": "ENSG2"})


def as_json(tree) -> str:
    return json.dumps(tree)


@pytest.fixture(scope="module")
def release(tmp_path_factory) -> Path:
    """Copy of a shipped release; tests put back what they change."""
    folder = tmp_path_factory.mktemp("releases") / "geneformer-small-2k"
    return Path(shutil.copytree(PROJECT / "releases" / folder.name, folder))


@reader("release.json: a damaged manifest is a release or a refusal of its folder", 120)
@given(SEEDS)
def test_a_damaged_manifest_is_refused(release, seed):
    path = release / "release.json"
    whole = path.read_bytes()
    try:
        path.write_bytes(damaged_text(whole, json.loads(whole), as_json, seed))
        try:
            found = read_release(release)
        except ReleaseFileError as refused:
            assert str(path.parent) in str(refused)
            scan = find_releases(release.parent)
            assert not scan.complete
            assert release in scan.refused or release in scan.incoming
            return REFUSED
    finally:
        path.write_bytes(whole)
    assert usable_name(found.name)
    assert all(file.path and ".." not in Path(file.path).parts for file in found.files)
    return None


@reader("dictionaries: damaged JSON and pickles", 200)
@given(st.sampled_from(DICTIONARIES), st.sampled_from(["json", 0, 2, 4]), SEEDS)
def test_a_damaged_dictionary_is_refused(tmp_path, entries, form, seed):
    if form == "json":
        plain = {name: getattr(value, "item", lambda value=value: value)() for name, value in entries.items()}
        path = tmp_path / "d.json"
        path.write_bytes(damaged_text(as_json(plain).encode(), plain, as_json, seed))
    else:
        path = tmp_path / "d.pkl"
        path.write_bytes(damaged_bytes(pickle.dumps(entries, protocol=form), seed))
    try:
        found = read_dictionary(path)
    except ReleaseFileError:
        return REFUSED
    assert all(type(name) is str for name in found)
    assert len({type(value) for value in found.values()}) == 1
    return None


@pytest.fixture(scope="module")
def weights() -> dict[str, bytes]:
    """Small checkpoints in both formats."""
    import io

    import torch
    from safetensors.torch import save

    tensors = {"a": torch.ones(3, 4), "b": torch.arange(5)}
    packed = io.BytesIO()
    torch.save(tensors, packed)
    return {"m.safetensors": save(tensors), "m.bin": packed.getvalue()}


@reader("checkpoints: damaged safetensors and torch files", 150)
@given(st.sampled_from(["m.safetensors", "m.bin"]), SEEDS)
def test_damaged_weights_are_refused(weights, tmp_path, name, seed):
    path = tmp_path / name
    path.write_bytes(damaged_bytes(weights[name], seed))
    try:
        found = read_state_dict(path)
    except ReleaseFileError:
        return REFUSED
    assert sum(tensor.numel() for tensor in found.values()) < 100
    return None


@reader("locks of downloads: damaged files", 80)
@given(SEEDS)
def test_a_damaged_lock_is_refused_and_never_trusted(tmp_path, seed):
    path = tmp_path / OWN_FILE
    tree = {"files": {"https://host/file": {"sha256": "a" * 64, "size": 12}}}
    path.write_bytes(damaged_text(as_json(tree).encode(), tree, as_json, seed))
    locks = Locks(own=path)
    try:
        found = locks.find("https://host/file")
    except DataFileError as refused:
        assert str(path) in str(refused)
        return REFUSED
    assert found is None or len(found.sha256) == 64
    return None


@reader("memory of a source of releases: damaged files", 80)
@given(SEEDS)
def test_a_damaged_memory_of_a_source_is_refused(tmp_path, seed):
    settled = {"f" * 64: Settled(outcome="refused", name="m", place="p", commit="c", reason="r", attempts=2)}
    remember(tmp_path, "k", "told", Memory("c", settled, {"p": "id"}))
    path = memory_file(tmp_path, "k")
    path.write_bytes(damaged_text(path.read_bytes(), json.loads(path.read_bytes()), as_json, seed))
    try:
        found = remembered(tmp_path, "k")
    except ValueError as refused:
        assert str(path) in str(refused)
        return REFUSED
    assert all(entry.attempts >= 0 for entry in found.settled.values())
    return None


@reader("quarantine: a damaged record still keeps its release there", 80)
@given(SEEDS)
def test_a_damaged_record_keeps_its_release_in_quarantine(tmp_path, seed):
    record = dict.fromkeys(("release_id", "stage", "asset", "partition", "run_id", "since", "files"), "x")
    record |= {"release": "model-1", "kind": "release", "reason": "its files are damaged"}
    path = tmp_path / quarantine.FOLDER / "model-1.json"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(damaged_text(as_json(record).encode(), record, as_json, seed))
    found = quarantine.read(tmp_path)
    assert list(found) == ["model-1"]
    return REFUSED if str(path) in found["model-1"].reason else None


@reader("cursors of sensors: damaged texts begin anew", 150)
@given(SEEDS, st.booleans())
def test_a_damaged_cursor_begins_anew(seed, of_releases):
    used = SensorCursor({"source": 1.0e9}, {"model": ("id", 2)})
    failed = FailureMemory(1.0e9, ["run"], {"run": 2.0e9}, {"model": "files"})
    text = used.text() if of_releases else as_json(asdict(failed))
    changed = damaged_text(text.encode(), json.loads(text), as_json, seed).decode("utf-8", "replace")
    if of_releases:
        found = SensorCursor.read(changed)
        assert json.loads(found.text())
        times = list(found.asked.values())
        begun = found == SensorCursor()
    else:
        memory = FailureMemory.of(changed)
        times = [memory.read_until, *memory.waiting.values()]
        begun = memory == FailureMemory()
    assert np.isfinite(times).all(), "no time comes after NaN, so that nothing would happen any more"
    return REFUSED if begun else None


@pytest.mark.parametrize("text", bombs())
def test_no_bomb_brings_down_a_reader_of_json(release, tmp_path, text, tally):
    for path, read in (
        (tmp_path / "d.json", lambda path: read_dictionary(path)),
        (memory_file(tmp_path, "k"), lambda _: remembered(tmp_path, "k")),
        (tmp_path / OWN_FILE, lambda path: Locks(own=path).find("x")),
    ):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(text)
        with pytest.raises(ValueError, match=path.name):
            read(path)
    told = text.decode("utf-8", "replace")
    assert FailureMemory.of(told) == FailureMemory()
    assert SensorCursor.read(told) == SensorCursor()
    tally("reader", "JSON of releases and memory: bombs and texts that are none", "refused", 5)

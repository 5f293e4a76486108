"""``platform.yaml``: found where it should be, read whole, and refused with file, key and remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from interp_assets.cells.declared import DeclarationError
from interp_assets.deployment import read_deployment
from interp_assets.settings import Folders


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folders:
    monkeypatch.delenv("INTERP_PLATFORM", raising=False)
    return Folders(store=tmp_path / "store", releases=tmp_path, wheels=tmp_path, config=tmp_path)


def written(folders: Folders, text: str) -> Path:
    assert folders.config is not None
    path = folders.config / "platform.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_without_the_file_every_section_is_empty(folders: Folders) -> None:
    deployment = read_deployment(folders)
    assert deployment.path is None
    assert deployment.section("executor") == {}
    assert deployment.entries("sources") == ()


@pytest.mark.parametrize("text", ["", "# sources:\n\n  # - {kind: folder}\n"])
def test_a_template_that_says_nothing_is_as_good_as_none(folders: Folders, text: str) -> None:
    path = written(folders, text)
    assert read_deployment(folders).path == path
    assert read_deployment(folders).section("runs") == {}


def test_sections_reach_their_readers_as_written(folders: Folders) -> None:
    path = written(
        folders, "executor: {kind: dask}\nsources:\n- {kind: folder, path: a}\n- {kind: hub, folder: null}\n"
    )
    deployment = read_deployment(folders)
    assert deployment.path == path
    assert deployment.section("executor") == {"kind": "dask"}
    assert deployment.entries("sources") == ({"kind": "folder", "path": "a"}, {"kind": "hub", "folder": None})
    assert deployment.section("notify") == {}


def test_no_reader_changes_what_the_next_one_sees(folders: Folders) -> None:
    written(folders, "runs: {priorities: {new: 3}}\nsources: [{kind: hub, tags: [a]}]\n")
    deployment = read_deployment(folders)
    deployment.section("runs")["priorities"]["new"] = 0
    deployment.entries("sources")[0]["tags"].append("b")
    assert deployment.section("runs") == {"priorities": {"new": 3}}
    assert deployment.entries("sources")[0]["tags"] == ["a"]


def test_the_variable_wins_over_the_folder(folders: Folders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(folders, "executor: {kind: dask}\n")
    other = tmp_path / "other.yaml"
    other.write_text("executor: {kind: multiprocess}\n", encoding="utf-8")
    monkeypatch.setenv("INTERP_PLATFORM", str(other))
    assert read_deployment(folders).section("executor") == {"kind": "multiprocess"}
    other.unlink()
    with pytest.raises(DeclarationError, match=r"other\.yaml: no such file, though INTERP_PLATFORM names it"):
        read_deployment(folders)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("exectuor: {kind: dask}\n", "`exectuor`: is not known here; known keys: executor, notify, runs, sources"),
        ("executor: dask\n", "`executor`: must be a mapping"),
        ("sources: {kind: folder}\n", "`sources`: must be a list of mappings"),
        ("sources: [folder]\n", "`sources`: must be a list of mappings"),
        ("runs: {timeout: 1}\nruns: {timeout: 2}\n", "key written twice: runs"),
        ("- executor\n", "holds no mapping"),
        ("executor: {kind\n", "not valid YAML"),
    ],
)
def test_a_slip_is_an_error_that_names_file_and_key(folders: Folders, text: str, problem: str) -> None:
    path = written(folders, text)
    with pytest.raises(DeclarationError) as caught:
        read_deployment(folders)
    assert str(path) in str(caught.value)
    assert problem in str(caught.value)


def test_errors_of_a_section_name_file_and_full_key(folders: Folders) -> None:
    path = written(folders, "executor: {processes: many}\nsources: [{kind: hub}, {kind: 3}]\n")
    deployment = read_deployment(folders)
    with pytest.raises(DeclarationError, match=rf"{path}: key `executor\.processes`: must be a whole number"):
        deployment.declaration("executor").integer("processes")
    with pytest.raises(DeclarationError, match=r"key `sources\[1\]\.kind`: must be text"):
        deployment.declarations("sources")[1].text("kind")


def test_a_section_nobody_knows_is_a_slip_of_the_caller(folders: Folders) -> None:
    with pytest.raises(KeyError, match="none of the sections"):
        read_deployment(folders).section("sources")

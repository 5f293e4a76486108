"""Releases of a hub: what is fetched, pinned and refused; against a hub on this machine, never the public one."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from interp_assets.cli import main
from interp_assets.models.files.adding import AddError, NoRoomError, Request
from interp_assets.models.files.file_rules import FileSizeError, HashMismatchError, TruncatedFileError
from interp_assets.models.files.hub import HubError, add_from_hub, hub_address, hub_tree
from interp_assets.models.files.releases import find_releases, read_release

from .conftest import files_of
from .hub_server import Hub, serving

REPO = "lab/Geneformer"


@pytest.fixture
def hub(geneformer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A repository of one model with its dictionaries in a folder of their own, as Geneformer's is."""
    files = files_of(geneformer())
    files |= {
        "README.md": b"# A model",
        "geneformer/tokenizer.py": b"raise SystemExit",
        "fine_tuned/config.json": b"{}",
    }
    with serving(Hub(REPO)) as found:
        found.commit(files, "v1")
        monkeypatch.setenv("HF_ENDPOINT", found.endpoint)
        yield found


def add(text: str, releases: Path, **stated) -> object:
    address = hub_address(text)
    assert address is not None
    return add_from_hub(address, releases, Request(**stated))


def test_a_model_of_a_folder_is_fetched_with_its_dictionaries_and_its_commit(hub, releases):
    add(f"{REPO}/Geneformer-V2-tiny", releases)
    release = read_release(releases / "Geneformer-V2-tiny")
    commit = hub.refs["main"]
    assert release.facts["hub"] == {
        "endpoint": hub.endpoint,
        "repo": REPO,
        "folder": "Geneformer-V2-tiny",
        "commit": commit,
        "revision": "main",
    }
    assert {entry["from"] for entry in release.facts["converted"]} == {
        "token_dictionary_gc104M.pkl",
        "gene_median_dictionary_gc104M.pkl",
        "ensembl_mapping_dict_gc104M.pkl",
        "gene_name_id_dict_gc104M.pkl",
    }
    assert [path.name for path in releases.iterdir()] == ["Geneformer-V2-tiny"]
    fetched = {line.rsplit(commit, 1)[-1] for line in hub.asked if line.startswith("GET") and "/resolve/" in line}
    assert fetched == {
        "/Geneformer-V2-tiny/config.json",
        "/Geneformer-V2-tiny/model.safetensors",
        "/geneformer/token_dictionary_gc104M.pkl",
        "/geneformer/gene_median_dictionary_gc104M.pkl",
        "/geneformer/ensembl_mapping_dict_gc104M.pkl",
        "/geneformer/gene_name_id_dict_gc104M.pkl",
    }


def test_the_hub_and_the_folder_give_one_release(hub, releases, tmp_path, geneformer):
    from interp_assets.models.files.adding import add_release

    folder = geneformer()
    first = add_release(folder, releases, Request(name="disk", dictionaries=folder.parent / "geneformer"))
    added = add(f"{REPO}/Geneformer-V2-tiny@v1", releases)
    assert added.existing == "disk"
    assert added.release.release_id == first.release.release_id


def test_of_three_commits_two_are_releases(hub, releases, geneformer):
    """New weights and a new dictionary are new releases, a new README is none."""
    files = dict(hub.commits[hub.refs["main"]])
    add(f"{REPO}/Geneformer-V2-tiny@v1", releases, name="first")
    hub.commit({**files, "README.md": b"# Better words"})
    assert add(f"{REPO}/Geneformer-V2-tiny", releases, name="second").existing == "first"
    weights = (geneformer("other", seed=1) / "model.safetensors").read_bytes()
    hub.commit({**files, "Geneformer-V2-tiny/model.safetensors": weights}, "v2")
    assert add(f"{REPO}/Geneformer-V2-tiny@v2", releases, name="third").existing == ""
    assert len(find_releases(releases).complete) == 2


def test_a_listing_alone_downloads_nothing(hub, tmp_path):
    tree = hub_tree(hub_address(f"{REPO}/Geneformer-V2-tiny"), tmp_path / "cache")
    assert set(tree.sizes) == {"config.json", "generation_config.json", "model.safetensors", "training_args.bin"}
    assert not any("/resolve/" in line for line in hub.asked)
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("path", ["Geneformer-V2-tiny/model.safetensors", "Geneformer-V2-tiny/config.json"])
def test_wrong_bytes_are_refused_and_fetched_again_later(hub, releases, path):
    true = hub.commits[hub.refs["main"]][path]
    hub.broken[path] = true[:-1] + bytes([true[-1] ^ 1])
    with pytest.raises(HashMismatchError, match="run the command again"):
        add(f"{REPO}/Geneformer-V2-tiny", releases)
    assert find_releases(releases).complete == ()
    hub.broken.clear()
    add(f"{REPO}/Geneformer-V2-tiny", releases)
    assert len(find_releases(releases).complete) == 1


@pytest.mark.filterwarnings("ignore:Not enough free disk space")
def test_a_full_disk_is_told_before_anything_is_fetched(hub, releases, monkeypatch):
    usage = shutil.disk_usage(releases)._replace(free=10)
    monkeypatch.setattr("interp_assets.models.files.adding.shutil.disk_usage", lambda _: usage)
    with pytest.raises(NoRoomError, match=r"GB are needed and 0\.00 GB are free in .*; make room"):
        add(f"{REPO}/Geneformer-V2-tiny", releases)
    assert not any(line.startswith("GET") and line.endswith("/model.safetensors") for line in hub.asked)


def test_what_a_broken_download_left_needs_no_room_twice(hub, releases, monkeypatch):
    """Neither files of other commits nor second names of the same file count as bytes that are there already."""
    top = "Geneformer-V2-tiny"
    tree = hub_tree(hub_address(f"{REPO}/{top}"), releases / ".download-x")
    wanted = [f"{top}/config.json", f"{top}/model.safetensors"]
    whole = sum(tree.entries[path].size for path in wanted)
    assert tree.awaited(wanted) == whole
    tree.fetch(wanted[0])
    (tree.cache / ".only").mkdir()
    (tree.cache / ".only" / "config.json").write_bytes(b"x" * 10_000)
    (tree.cache / "other.safetensors").write_bytes(b"x" * 10_000_000)
    assert tree.awaited(wanted) == tree.entries[wanted[1]].size
    hub.short.add(wanted[1])
    with pytest.raises((TruncatedFileError, HubError)):
        tree.fetch(wanted[1])
    assert tree.awaited(wanted) == tree.entries[wanted[1]].size, "a file that broke off begins anew"


def test_a_download_of_another_length_is_refused(hub, releases):
    path = "Geneformer-V2-tiny/model.safetensors"
    true = hub.commits[hub.refs["main"]][path]
    hub.broken[path] = true[:-40]
    with pytest.raises((TruncatedFileError, HubError), match=r"bytes arrived|[Cc]onsistency|size"):
        add(f"{REPO}/Geneformer-V2-tiny", releases)
    hub.broken[path] = true + b"more"
    with pytest.raises((FileSizeError, HubError), match=r"bytes arrived|[Cc]onsistency|size"):
        add(f"{REPO}/Geneformer-V2-tiny", releases)
    assert find_releases(releases).complete == ()


def test_a_download_that_is_cut_off_is_refused_and_goes_on_later(hub, releases):
    path = "Geneformer-V2-tiny/model.safetensors"
    hub.short.add(path)
    with pytest.raises((TruncatedFileError, HubError)) as refusal:
        add(f"{REPO}/Geneformer-V2-tiny", releases)
    assert len(str(refusal.value).splitlines()) == 1
    assert find_releases(releases).complete == ()
    hub.short.clear()
    assert add(f"{REPO}/Geneformer-V2-tiny", releases).existing == ""
    assert [path.name for path in releases.iterdir()] == ["Geneformer-V2-tiny"]


def test_a_tree_that_leads_out_of_the_folder_is_not_followed(hub, releases):
    files = dict(hub.commits[hub.refs["main"]])
    hub.commit({**files, "Geneformer-V2-tiny/../../escaped": b"x", "/etc/absolute": b"x"})
    tree = hub_tree(hub_address(REPO), releases / "cache")
    assert not [path for path in tree.entries if ".." in path or path.startswith("/")]


def refused(capsys: pytest.CaptureFixture[str], text: str) -> str:
    assert main(["releases", "add", text]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.splitlines()) == 1
    assert said.err.startswith("error: ")
    return said.err


def test_what_the_hub_does_not_have_is_told_in_one_line(hub, releases, capsys):
    assert f"no model lab/nothing on {hub.endpoint}" in refused(capsys, "lab/nothing")
    assert f"{REPO} on {hub.endpoint} has no revision v9" in refused(capsys, f"{REPO}@v9")
    told = refused(capsys, f"{REPO}/Geneformer-V3")
    assert "has no folder Geneformer-V3; its folders: Geneformer-V2-tiny, fine_tuned, geneformer" in told
    assert "no family is recognised by the file names" in refused(capsys, REPO)
    assert "no such file or folder, and no org/name" in refused(capsys, "./lab/model")
    assert list(releases.iterdir()) == []


def test_a_hub_that_does_not_answer_is_told_in_one_line(releases, monkeypatch, capsys):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert "http://127.0.0.1:9 does not give lab/model: " in refused(capsys, "lab/model")


def test_a_machine_that_stays_offline_is_told_so(hub, releases, monkeypatch, capsys):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert "switched off by HF_HUB_OFFLINE; unset it, or add a folder on disk" in refused(capsys, f"{REPO}@v1")
    assert hub.asked == []


def test_dictionaries_that_the_repository_lacks_are_asked_for(hub, releases):
    files = {path: body for path, body in hub.commits[hub.refs["main"]].items() if not path.startswith("geneformer/")}
    hub.commit(files)
    with pytest.raises(AddError, match=r"no dictionaries for a vocabulary of 64 tokens .* with `--dictionaries`"):
        add(f"{REPO}/Geneformer-V2-tiny", releases)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("org/name", ("org/name", "", "main")),
        ("org/name@v1.0", ("org/name", "", "v1.0")),
        ("org/name/a/b@refs/pr/3", ("org/name", "a/b", "refs/pr/3")),
        ("name", None),
        ("../org/name", None),
        ("/org/name", None),
        ("org/../name", None),
        ("org/na me", None),
    ],
)
def test_addresses(text, parts):
    found = hub_address(text)
    assert (None if found is None else (found.repo, found.folder, found.revision)) == parts

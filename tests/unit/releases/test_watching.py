"""Watched hubs: which commits are releases, what is fetched, kept, skipped; against a hub on this machine."""

from __future__ import annotations

import errno
import json
import shutil
from pathlib import Path

import pytest

from interp_assets.discovery.memory import locked, memory_file, remembered
from interp_assets.discovery.sources import HubSource
from interp_assets.discovery.watch import ATTEMPTS, known_releases, look_at
from interp_assets.models.files.adding import Request, add_release
from interp_assets.models.files.hub import hub_address, hub_tree
from interp_assets.models.files.hub_identity import fetch_small_files, identity, stated_release
from interp_assets.models.files.releases import find_releases, read_release

from .hub_server import Hub
from .watched import MODEL, REPO, names, weights_fetched, words


def test_weights_readme_dictionary_are_a_release_no_release_and_a_release(
    hub, source, files, releases, other_weights, other_dictionary
):
    """models.md section 8, item 4: new weights, README only, new dictionary -> yes, no, yes."""
    assert words(look_at(source, releases)) == ["fetched"]
    weights = hub.commit({**files, f"{MODEL}/model.safetensors": other_weights})
    assert words(look_at(source, releases)) == ["fetched"]
    assert names(releases) == [MODEL, f"{MODEL}-{weights[:7]}"]

    hub.asked.clear()
    hub.commit({**files, f"{MODEL}/model.safetensors": other_weights, "README.md": b"# Better words"})
    assert words(look_at(source, releases)) == ["unchanged"]
    assert weights_fetched(hub) == 0

    newest = {**files, f"{MODEL}/model.safetensors": other_weights}
    newest["geneformer/token_dictionary_gc104M.pkl"] = other_dictionary
    dictionary = hub.commit(newest)
    assert words(look_at(source, releases)) == ["fetched"]
    third = read_release(releases / f"{MODEL}-{dictionary[:7]}")
    assert third.facts["hub"]["commit"] == dictionary
    assert third.facts["hub"]["revision"] == "main"
    assert third.facts["follows"] == f"{MODEL}-{weights[:7]}"
    assert remembered(releases, source.key).commit == dictionary
    assert not [path for path in releases.iterdir() if path.name.startswith((".download", ".incoming"))]


def test_several_commits_at_once_are_gone_through_oldest_first(
    hub, source, files, releases, other_weights, other_dictionary
):
    look_at(source, releases)
    weights = hub.commit({**files, f"{MODEL}/model.safetensors": other_weights})
    hub.commit({**files, f"{MODEL}/model.safetensors": other_weights, "README.md": b"#"})
    dictionary = hub.commit({**files, "geneformer/token_dictionary_gc104M.pkl": other_dictionary})
    hub.commit(files)  # and back again
    look = look_at(source, releases)
    assert [(entry.word, entry.finding.listed.commit) for entry in look.found] == [
        ("fetched", weights),
        ("fetched", dictionary),
        ("unchanged", hub.refs["main"]),
    ]
    assert names(releases) == sorted([MODEL, f"{MODEL}-{weights[:7]}", f"{MODEL}-{dictionary[:7]}"])


def test_a_moved_folder_is_no_new_release(hub, files, releases):
    source = HubSource(repo=REPO, endpoint=hub.endpoint)
    assert words(look_at(source, releases)) == ["fetched"]
    hub.asked.clear()
    hub.commit({path.replace(MODEL, "models/renamed"): body for path, body in files.items()})
    (found,) = look_at(source, releases).found
    assert found.word == "moved"
    assert found.reason == f"same files as release {MODEL}, before in {REPO}/{MODEL}"
    assert weights_fetched(hub) == 0
    assert names(releases) == [MODEL]


def test_what_was_added_by_hand_is_known_without_fetching_weights(hub, source, geneformer, releases):
    folder = geneformer()
    add_release(folder, releases, Request(name="mine", dictionaries=folder.parent / "geneformer"))
    (found,) = look_at(source, releases).found
    assert (found.word, found.name) == ("unchanged", "mine")
    assert weights_fetched(hub) == 0


@pytest.mark.parametrize("layout", ["pickles elsewhere", "with release.json", "edge table", "scgpt"])
def test_the_id_said_before_fetching_is_that_of_the_added_release(hub, files, source, tmp_path, releases, layout):
    folder = MODEL
    if layout == "with release.json":
        look_at(source, tmp_path / "elsewhere")
        whole = tmp_path / "elsewhere" / MODEL
        hub.commit({f"whole/{path.name}": path.read_bytes() for path in whole.iterdir()})
        folder = "whole"
    elif layout == "edge table":
        hub.commit({"net/edges.csv": b"source,target,score\nA,B,0.5\nB,C,0.1\n"})
        folder = "net"
    elif layout == "scgpt":
        shipped = next(Path(__file__).resolve().parents[3].glob("releases/scgpt-*"))
        kept = [path for path in shipped.iterdir() if path.name != "release.json"]
        hub.commit({f"scgpt/{path.name}": path.read_bytes() for path in kept})
        folder = "scgpt"
    tree = hub_tree(hub_address(f"{REPO}/{folder}"), tmp_path / "cache", hub.endpoint)
    stated = stated_release(tree, Request())
    fetch_small_files(stated, Request())
    said = identity(stated, Request())
    fetched = {path.name for path in (tmp_path / "cache").rglob("*") if path.is_file()}
    assert not fetched & {"model.safetensors", "best_model.pt"} or layout == "edge table"
    watched = HubSource(repo=REPO, folder=folder, endpoint=hub.endpoint)
    assert words(look_at(watched, releases)) == ["fetched"]
    assert {said} == set(known_releases(releases))


def test_an_upload_in_several_commits_is_incoming_until_it_is_whole(hub, source, files, releases):
    without = {path: body for path, body in files.items() if not path.endswith(".safetensors")}
    hub.commit(without)
    (found,) = look_at(source, releases).found
    assert found.word == "incoming"
    assert "no family is recognised by the file names yet" in found.reason
    hub.commit(files)
    assert words(look_at(source, releases)) == ["fetched"]


def test_a_download_that_breaks_off_is_never_a_release_and_is_fetched_again(hub, source, releases):
    hub.short.add(f"{MODEL}/model.safetensors")
    (found,) = look_at(source, releases).found
    assert found.word == "failed"
    assert f"attempt 1 of {ATTEMPTS}" in found.reason
    assert find_releases(releases).complete == ()
    assert remembered(releases, source.key).commit == ""
    hub.short.clear()
    assert words(look_at(source, releases)) == ["fetched"]
    assert remembered(releases, source.key).commit == hub.refs["main"]


def test_what_a_killed_download_left_takes_no_room_for_ever(hub, source, releases):
    left = releases / f".download-{source.key}" / ".cache" / "huggingface" / "download" / "x.0a1b.incomplete"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half a model")
    hub.short.add(f"{MODEL}/model.safetensors")
    assert words(look_at(source, releases)) == ["failed"]
    assert not left.exists()
    assert (releases / f".download-{source.key}" / MODEL / "config.json").is_file(), "what arrived whole is kept"


def test_a_release_that_never_arrives_is_given_up_and_blocks_no_later_one(hub, source, files, releases, other_weights):
    look_at(source, releases)
    hub.commit({**files, f"{MODEL}/model.safetensors": other_weights})
    hub.broken[f"{MODEL}/model.safetensors"] = other_weights[:-1] + bytes([other_weights[-1] ^ 1])
    for _ in range(ATTEMPTS - 1):
        assert words(look_at(source, releases)) == ["failed"]
    look = look_at(source, releases)
    assert words(look) == ["refused"]
    assert f"given up after {ATTEMPTS} attempts" in look.found[0].reason
    assert remembered(releases, source.key).commit == hub.refs["main"]
    hub.broken.clear()
    assert words(look_at(source, releases)) == ["refused"]
    assert words(look_at(source, releases, again=True)) == ["fetched"]


def test_a_release_that_breaks_a_rule_is_refused_once_and_not_fetched_again(hub, source, files, releases):
    hub.commit(
        {
            **files,
            f"{MODEL}/config.json": files[f"{MODEL}/config.json"].replace(b'"vocab_size": 64', b'"vocab_size": 65'),
        }
    )
    assert words(look_at(source, releases)) == ["refused"]
    assert list(find_releases(releases).complete) == []
    hub.asked.clear()
    assert words(look_at(source, releases)) == ["refused"]
    assert weights_fetched(hub) == 0


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500])
def test_a_hub_that_refuses_is_skipped_with_the_reason_and_the_cursor_is_kept(hub, source, releases, status):
    look_at(source, releases)
    before = memory_file(releases, source.key).read_bytes()
    hub.refusing = status
    look = look_at(source, releases)
    assert look.found == []
    assert hub.endpoint in look.skipped
    assert memory_file(releases, source.key).read_bytes() == before


def test_an_unreachable_hub_and_offline_mode_are_skipped(hub, source, releases, monkeypatch):
    import huggingface_hub.constants

    look = look_at(HubSource(repo=REPO, endpoint="http://127.0.0.1:9"), releases)
    assert "http://127.0.0.1:9 does not give lab/Geneformer" in look.skipped
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert "switched off by HF_HUB_OFFLINE" in look_at(source, releases).skipped
    assert hub.asked == []


def test_a_page_that_is_no_hub_is_skipped(hub, source, releases, monkeypatch):
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", lambda *_, **__: (_ for _ in ()).throw(TypeError("html")))
    assert "answers for lab/Geneformer, but not as a hub does" in look_at(source, releases).skipped


def test_a_full_disk_is_told_before_anything_is_fetched(hub, source, releases, monkeypatch):
    monkeypatch.setattr("interp_assets.discovery.watch.SPARE_BYTES", 2**60)
    (found,) = look_at(source, releases).found
    assert found.word == "failed"
    assert "make room" in found.reason
    assert weights_fetched(hub) == 0
    assert remembered(releases, source.key).settled == {}


def test_a_disk_with_room_for_one_copy_takes_a_release_of_a_hub(hub, source, files, releases, monkeypatch):
    """What was fetched becomes the release under a second name; asking for its room once more would refuse it."""
    needed = sum(len(body) for path, body in files.items() if path.endswith((".safetensors", ".pkl", "config.json")))
    real = shutil.disk_usage(releases)

    def usage(_: Path):
        there = {path.stat().st_ino: path.stat().st_size for path in releases.rglob("*") if path.is_file()}
        return real._replace(free=int(1.5 * needed) - sum(there.values()))

    monkeypatch.setattr("interp_assets.discovery.watch.SPARE_BYTES", 0)
    monkeypatch.setattr(shutil, "disk_usage", usage)
    assert words(look_at(source, releases)) == ["fetched"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_disk_that_fills_up_is_never_the_fault_of_the_release(hub, source, releases, monkeypatch, number):
    def full(*_: object, **__: object) -> None:
        raise OSError(number, "full")

    with monkeypatch.context() as patch:
        patch.setattr("huggingface_hub.hf_hub_download", full)
        patch.setattr("interp_assets.discovery.hub_source.fetch_small_files", lambda *_: None)
        patch.setattr("interp_assets.discovery.hub_source.identity", lambda *_: "")
        patch.setattr("interp_assets.models.files.hub.HubTree.json", lambda tree, path: json.loads(config(hub, path)))
        for _ in range(ATTEMPTS + 1):
            assert words(look_at(source, releases)) == ["failed"]
    assert remembered(releases, source.key).commit == ""
    assert words(look_at(source, releases)) == ["fetched"]


def config(hub: Hub, path: str) -> bytes:
    return hub.commits[hub.refs["main"]][f"{MODEL}/{path}"]


@pytest.mark.parametrize("pattern", ["", "Geneformer-*", MODEL])
def test_a_configuration_that_arrives_broken_hides_no_model_and_holds_up_no_later_commit(
    hub, files, releases, other_weights, pattern
):
    source = HubSource(repo=REPO, folder=pattern, endpoint=hub.endpoint)
    path = f"{MODEL}/config.json"
    hub.broken[path] = files[path].replace(b"relu", b"gelu")
    for number in range(1, ATTEMPTS):
        (found,) = look_at(source, releases).found
        assert found.word == "failed"
        assert "the download is not the file of the commit" in found.reason
        assert f"attempt {number} of {ATTEMPTS}" in found.reason
        assert remembered(releases, source.key).commit == ""
    assert words(look_at(source, releases)) == ["refused"]
    assert remembered(releases, source.key).commit == hub.refs["main"]
    assert words(look_at(source, releases)) == ["refused"]
    hub.broken.clear()
    hub.commit({**files, f"{MODEL}/model.safetensors": other_weights})
    assert words(look_at(source, releases)) == ["fetched"]


@pytest.mark.parametrize("damage", ["{", "[]", '{"commit": ""}', "sold"])
def test_a_damaged_memory_is_told_and_not_overwritten(hub, source, releases, damage):
    look_at(source, releases)
    path = memory_file(releases, source.key)
    before = path.read_text()
    path.write_text(before.replace('"here"', '"sold"') if damage == "sold" else damage)
    damaged = path.read_text()
    look = look_at(source, releases)
    assert look.found == []
    assert f"{path}: what was settled cannot be read" in look.skipped
    assert "remove the file" in look.skipped
    assert path.read_text() == damaged
    path.unlink()
    assert words(look_at(source, releases)) == ["unchanged"]


def test_two_looks_at_once_are_one(hub, source, releases):
    with locked(releases, source.key) as alone:
        assert alone
        assert look_at(source, releases).skipped == "another look at it is under way"


def test_a_removed_release_is_not_fetched_again_by_itself(hub, source, releases):
    look_at(source, releases)
    shutil.rmtree(releases / MODEL)
    assert words(look_at(source, releases)) == ["unchanged"]
    assert names(releases) == []


def test_a_rewritten_branch_is_read_from_its_newest_commit(hub, source, files, releases, other_weights):
    look_at(source, releases)
    hub.commits.clear()
    newest = hub.commit({**files, f"{MODEL}/model.safetensors": other_weights, "README.md": b"rewritten"})
    hub.commits["f" * 40] = hub.commits.pop(newest)
    hub.refs["main"] = "f" * 40
    assert words(look_at(source, releases)) == ["fetched"]
    assert names(releases) == [MODEL, f"{MODEL}-fffffff"]

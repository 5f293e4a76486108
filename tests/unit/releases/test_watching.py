"""Watched sources: which commits are releases, what is fetched, kept, skipped; against a hub on this machine."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from interp_assets.cli import main
from interp_assets.discovery.memory import locked, memory_file, remembered
from interp_assets.discovery.sources import FolderSource, HubSource
from interp_assets.discovery.watch import ATTEMPTS, Look, awaits_fetch, known_releases, look_at
from interp_assets.models.files.adding import Request, add_release
from interp_assets.models.files.hub import hub_address, hub_tree
from interp_assets.models.files.hub_identity import fetch_small_files, identity, stated_release
from interp_assets.models.files.releases import find_releases, read_release

from .conftest import ENSEMBL, files_of, write_bert, write_dictionaries
from .hub_server import Hub, serving

REPO = "lab/Geneformer"
MODEL = "Geneformer-V2-tiny"


@pytest.fixture
def files(geneformer) -> dict[str, bytes]:
    """A repository of one model with its dictionaries in a folder of their own, as Geneformer's is."""
    return {**files_of(geneformer()), "README.md": b"# A model"}


@pytest.fixture
def hub(files) -> Iterator[Hub]:
    with serving(Hub(REPO)) as found:
        found.commit(files)
        yield found


@pytest.fixture
def source(hub) -> HubSource:
    return HubSource(repo=REPO, folder=MODEL, endpoint=hub.endpoint)


@pytest.fixture
def other_weights(files, tmp_path) -> bytes:
    return (write_bert(tmp_path / "other", len(ENSEMBL) + 4, seed=1) / "model.safetensors").read_bytes()


@pytest.fixture
def other_dictionary(tmp_path) -> bytes:
    """A token dictionary of the same genes in another order."""
    folder = write_dictionaries(tmp_path / "turned", "gc104M", (*ENSEMBL[1:], ENSEMBL[0]))
    return (folder / "token_dictionary_gc104M.pkl").read_bytes()


def words(look: Look) -> list[str]:
    assert look.skipped == ""
    return [entry.word for entry in look.found]


def names(releases: Path) -> list[str]:
    return sorted(release.name for release in find_releases(releases).complete)


def weights_fetched(hub: Hub) -> int:
    return sum(line.startswith("GET") and line.endswith("/model.safetensors") for line in hub.asked)


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


def test_a_watched_folder_is_copied_later_where_the_disk_is_full(tmp_path, geneformer, releases, monkeypatch):
    source, folder = shared_release(tmp_path, geneformer)
    real = shutil.disk_usage(releases)
    size = sum(path.stat().st_size for path in folder.iterdir() if path.name != "release.json")
    frees = iter([size, size - 1])
    with monkeypatch.context() as patch:
        patch.setattr("interp_assets.discovery.watch.SPARE_BYTES", 0)
        patch.setattr(shutil, "disk_usage", lambda _: real._replace(free=next(frees)))
        (found,) = look_at(source, releases).found
    assert found.word == "failed"
    assert "make room" in found.reason
    assert words(look_at(source, releases)) == ["fetched"]


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


def shared_release(tmp_path: Path, geneformer) -> tuple[FolderSource, Path]:
    """A watched folder in which someone has put one release, manifest included."""
    folder = geneformer()
    shared = tmp_path / "shared"
    shared.mkdir()
    add_release(folder, shared, Request(name="theirs", dictionaries=folder.parent / "geneformer"))
    return FolderSource(path=shared), shared / "theirs"


def test_a_watched_folder_is_copied_once_its_manifest_is_complete(tmp_path, geneformer, releases):
    source, folder = shared_release(tmp_path, geneformer)
    manifest = (folder / "release.json").rename(tmp_path / "later.json")
    assert [(entry.word, entry.reason) for entry in look_at(source, releases).found] == [
        ("incoming", "no release.json yet")
    ]
    assert awaits_fetch(source, releases, {}) == ((), ("theirs incoming: no release.json yet",))
    manifest.rename(folder / "release.json")
    weights = folder / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:100])
    assert "100 of" in look_at(source, releases).found[0].reason
    weights.write_bytes(whole)
    assert len(awaits_fetch(source, releases, {})[0]) == 1
    assert words(look_at(source, releases)) == ["fetched"]
    assert names(releases) == ["theirs"]
    assert awaits_fetch(source, releases, known_releases(releases)) == ((), ())


def test_a_damaged_release_of_a_watched_folder_is_refused_until_it_is_mended(tmp_path, geneformer, releases):
    source, folder = shared_release(tmp_path, geneformer)
    weights = folder / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert words(look_at(source, releases)) == ["refused"]
    waiting, (left,) = awaits_fetch(source, releases, {})
    assert waiting == ()
    assert left.startswith("theirs refused: ")
    assert "sha256" in left
    weights.write_bytes(whole)
    assert words(look_at(source, releases)) == ["fetched"]


def test_a_folder_that_cannot_be_looked_into_stops_no_other(tmp_path, geneformer, releases):
    source, folder = shared_release(tmp_path, geneformer)
    endless = {"path": "/".join(["a" * 200] * 25), "size": 1, "sha256": "0" * 64}
    (folder.parent / "endless").mkdir()
    manifest = json.loads((folder / "release.json").read_text()) | {"files": [endless]}
    (folder.parent / "endless" / "release.json").write_text(json.dumps(manifest))
    look = look_at(source, releases)
    assert words(look) == ["refused", "fetched"]
    assert "File name too long" in look.found[0].reason


def test_an_absent_folder_is_skipped(tmp_path, releases):
    assert "No such file" in look_at(FolderSource(path=tmp_path / "unmounted"), releases).skipped


@pytest.fixture
def declare(tmp_path, monkeypatch, releases):
    def write(text: str) -> Path:
        path = tmp_path / "platform.yaml"
        path.write_text(text)
        monkeypatch.setenv("INTERP_PLATFORM", str(path))
        return path

    return write


def test_watch_once_prints_what_was_found_and_skipped(hub, declare, releases, capsys):
    declare(
        f"sources:\n- {{kind: hub, repo: {REPO}, folder: {MODEL}, endpoint: '{hub.endpoint}', name: ours}}\n"
        f"- {{kind: hub, repo: lab/absent, endpoint: '{hub.endpoint}'}}\n- {{kind: folder, path: unmounted}}\n"
    )
    assert main(["releases", "watch", "--once"]) == 0
    said = capsys.readouterr().out
    assert f"fetched    {REPO}/{MODEL}@{hub.refs['main'][:12]} as release ours" in said
    assert f"skipped    no model lab/absent on {hub.endpoint}" in said
    assert said.count("skipped") == 2
    assert f"releases: 1 complete in {releases}" in said
    assert main(["releases", "watch"]) == 0
    assert "unchanged" in capsys.readouterr().out


def test_what_was_refused_is_tried_again_by_the_first_look_only(declare, hub, source, files, releases, monkeypatch):
    bad = files[f"{MODEL}/config.json"].replace(b'"vocab_size": 64', b'"vocab_size": 65')
    hub.commit({**files, f"{MODEL}/config.json": bad})
    declare(f"sources:\n- {{kind: hub, repo: {REPO}, folder: {MODEL}, endpoint: '{hub.endpoint}'}}\n")
    assert words(look_at(source, releases)) == ["refused"]
    fetched = []

    def pause(_: float) -> None:
        fetched.append(weights_fetched(hub))
        hub.asked.clear()
        if len(fetched) == 2:
            raise KeyboardInterrupt

    hub.asked.clear()
    monkeypatch.setattr("time.sleep", pause)
    assert main(["releases", "watch", "--every", "10m"]) == 0
    assert fetched == [1, 0]


def test_watch_without_sources_looks_at_the_releases_folder(releases, capsys, monkeypatch):
    monkeypatch.delenv("INTERP_PLATFORM", raising=False)
    (releases / "copying").mkdir()
    assert main(["releases", "watch", "--once"]) == 0
    said = capsys.readouterr().out
    assert "incoming   copying: no release.json yet" in said
    assert [path.name for path in releases.iterdir()] == ["copying"]


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ("{kind: ftp, path: x}", "allowed: folder, hub"),
        ("{kind: hub, repo: nothing}", "write org/name"),
        ("{kind: hub, repo: lab/model@v2}", "write org/name"),
        ("{kind: hub, repo: lab/model, folder: ../up}", "write a folder of the repository"),
        ("{kind: hub, repo: lab/model, every: soon}", "is no span of time"),
        ("{kind: hub, repo: lab/model, endpoint: 'https://me:secret@hub'}", "holds a user, password or query"),
        ("{kind: hub, repo: lab/model, endpoint: 'file:///hub'}", "is no http(s) address"),
        ("{kind: hub, repo: lab/model, name: control-x}", "no name of a control"),
        ("{kind: hub, repo: lab/model, family: gpt9}", "is no family"),
        ("{kind: hub, repo: lab/model, token: abc}", "token"),
        ("{kind: folder}", "is missing"),
    ],
)
def test_a_misdeclared_source_ends_with_exit_code_2_and_names_the_key(declare, capsys, entry, told):
    path = declare(f"sources:\n- {entry}\n")
    assert main(["releases", "watch", "--once"]) == 2
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1
    assert told in said
    assert str(path) in said
    assert "secret" not in said

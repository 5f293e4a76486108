"""Release folders: identity, copies in progress, refusals, and what is new."""

from __future__ import annotations

import json
import shutil

import pytest

from interp_assets.models.files.checkpoints import HashMismatchError, ManifestError, MissingFileError, UnsafePathError
from interp_assets.models.files.releases import find_releases, new_releases, read_release


def rewrite(folder, **changes):
    path = folder / "release.json"
    content = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps(content))


def test_same_files_are_the_same_release_whatever_the_name_or_notes(write_release, tmp_path):
    first = read_release(write_release("one", facts={"commit": "aaa"}))
    shutil.copytree(first.folder, tmp_path / "copy")
    rewrite(tmp_path / "copy", name="two", commit="bbb", files=list(reversed(json.loads(
        (first.folder / "release.json").read_text())["files"])))  # fmt: skip
    (tmp_path / "copy" / "README.md").write_text("unlisted files are provenance")
    second = read_release(tmp_path / "copy")
    assert second.release_id == first.release_id
    assert (first.name, second.name, second.facts["commit"]) == ("one", "two", "bbb")
    rewrite(tmp_path / "copy", family="other")
    assert read_release(tmp_path / "copy").release_id != first.release_id


def test_changed_dictionary_is_a_new_release(write_release, seal_release):
    folder = write_release("one")
    before = read_release(folder).release_id
    path = folder / "gene_median_dictionary.json"
    path.write_text(path.read_text().replace("1.41", "1.42", 1))
    with pytest.raises(HashMismatchError, match="publish the change as a new release"):
        read_release(folder)
    seal_release(folder)
    assert read_release(folder).release_id != before


@pytest.mark.parametrize(
    ("training", "gap", "untrained"),
    [
        ({"gap": 0.4}, 0.4, False),
        ({"gap": -0.1}, -0.1, True),
        ({"gap": 0}, 0.0, True),
        ({"baseline": 6.5, "held_out_loss": 5.0}, 1.5, False),
        ({}, None, False),
    ],
)
def test_a_release_that_does_not_beat_its_baseline_is_untrained(write_release, training, gap, untrained):
    release = read_release(write_release(facts={"training": {"cells_hash": "abc", **training}}))
    assert (release.gap, release.untrained) == (gap, untrained)
    assert release.trained_on == ("abc",)


def test_folders_are_complete_incoming_or_refused(write_release, tmp_path):
    good = write_release("good")
    root = good.parent
    no_manifest = write_release("copying")
    (no_manifest / "release.json").unlink()
    waiting = write_release("waiting", seed=1)
    (waiting / "model.safetensors").unlink()
    broken = write_release("broken", seed=2)
    content = bytearray((broken / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (broken / "model.safetensors").write_bytes(bytes(content))
    pointer = write_release("pointer", seed=3)
    (pointer / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\n")
    short = write_release("short", seed=4)
    (short / "config.json").write_text("{")
    shutil.copytree(good, root / "same")
    (root / ".hidden").mkdir()
    (root / "loose-file").write_text("")

    scan = find_releases(root, tmp_path / "does-not-exist", root)
    assert [release.name for release in scan.complete] == ["good"]
    assert {path.name: why for path, why in scan.incoming.items()} == {
        "copying": "no release.json yet",
        "waiting": "waiting for model.safetensors",
    }
    refused = {path.name: why for path, why in scan.refused.items()}
    assert set(refused) == {"broken", "pointer", "short", "same"}
    assert "sha256" in refused["broken"]
    assert "LFS" in refused["pointer"]
    assert "truncated" in refused["short"]
    assert "same files as release good" in refused["same"]


def test_incoming_folder_becomes_complete_on_a_later_look(write_release):
    folder = write_release("late")
    manifest = (folder / "release.json").read_text()
    (folder / "release.json").unlink()
    assert find_releases(folder.parent).complete == ()
    (folder / "release.json").write_text(manifest)
    assert [release.name for release in find_releases(folder.parent).complete] == ["late"]


def test_two_releases_may_not_share_a_name(write_release):
    write_release("a")
    rewrite(write_release("b", seed=1), name="a")
    scan = find_releases(write_release("c", seed=2).parent)
    assert [release.name for release in scan.complete] == ["a", "c"]
    assert "same name" in next(iter(scan.refused.values()))


def test_new_releases_is_a_set_difference_in_found_order(write_release):
    first = read_release(write_release("one"))
    second = read_release(write_release("two", seed=1))
    assert new_releases([second, first, second], []) == (second, first)
    assert new_releases([second, first], [second.release_id, "gone"]) == (first,)
    assert new_releases([], ["gone"]) == ()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": ""}, "`name` is missing"),
        ({"family": None}, "`family` is missing"),
        ({"name": "../up"}, "not usable as a folder name"),
        ({"name": ".hidden"}, "not usable as a folder name"),
        ({"kind": "winner"}, "kind 'winner' is unknown"),
        ({"files": []}, "`files` is missing or empty"),
        ({"training": {"gap": "large"}}, "gap 'large' is not a number"),
        ({"training": {"gap": float("nan")}}, "not a number"),
    ],
)
def test_malformed_manifests_name_the_key(write_release, changes, message):
    folder = write_release()
    rewrite(folder, **changes)
    with pytest.raises(ManifestError, match=message):
        read_release(folder)


def test_unlisted_files_and_linked_manifests_are_not_read(write_release, tmp_path):
    release = read_release(write_release())
    with pytest.raises(MissingFileError, match="not listed"):
        release.file("training_args.bin")
    (release.folder / "release.json").rename(tmp_path / "release.json")
    (release.folder / "release.json").symlink_to(tmp_path / "release.json")
    with pytest.raises(UnsafePathError):
        read_release(release.folder)


def test_bare_edge_table_is_a_release(tmp_path):
    path = tmp_path / "my.method.csv.gz"
    path.write_bytes(b"x")
    release = read_release(path)
    assert (release.name, release.family) == ("my.method", "edge_table")
    assert release.file(path.name) == path
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(ManifestError, match="neither a release folder nor an edge table"):
        read_release(tmp_path / "notes.txt")
    with pytest.raises(MissingFileError):
        read_release(tmp_path)

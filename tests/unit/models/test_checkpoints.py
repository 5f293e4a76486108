"""Every rule for untrusted files has a file that breaks it, and a named error."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from interp_assets.models.files import checkpoints
from interp_assets.models.files.checkpoints import (
    FileSizeError,
    HashMismatchError,
    LfsPointerError,
    ManifestError,
    MissingFileError,
    ReleaseFileError,
    TruncatedFileError,
    UnsafePathError,
    UnsafePickleError,
    file_sha256,
    listed_files,
    read_dictionary,
    read_json,
    read_state_dict,
    verify_files,
)


def listed(folder: Path, **overrides):
    entries = [
        {"path": path.name, "size": path.stat().st_size, "sha256": file_sha256(path), **overrides}
        for path in sorted(folder.iterdir())
    ]
    return listed_files(folder / "release.json", entries)


@pytest.fixture
def folder(tmp_path) -> Path:
    inside = tmp_path / "release"
    inside.mkdir()
    (inside / "weights.bin").write_bytes(b"0123456789" * 20)
    return inside


def test_intact_files_pass(folder):
    verify_files(folder, listed(folder))


def test_truncated_file_is_named(folder):
    files = listed(folder)
    (folder / "weights.bin").write_bytes(b"0123456789")
    with pytest.raises(TruncatedFileError, match=r"weights\.bin: truncated: 10 of 200 bytes") as error:
        verify_files(folder, files)
    assert error.value.file.endswith("weights.bin")
    assert error.value.remedy


def test_longer_file_and_changed_file_are_told_apart(folder):
    files = listed(folder)
    (folder / "weights.bin").write_bytes(b"x" * 201)
    with pytest.raises(FileSizeError, match="201 bytes where 200"):
        verify_files(folder, files)
    (folder / "weights.bin").write_bytes(b"x" * 200)
    with pytest.raises(HashMismatchError, match="sha256"):
        verify_files(folder, files)


def test_lfs_pointer_is_called_one(folder):
    files = listed(folder)
    (folder / "weights.bin").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 200\n")
    with pytest.raises(LfsPointerError, match="git lfs pull"):
        verify_files(folder, files)


def test_absent_file(folder):
    files = listed(folder)
    (folder / "weights.bin").unlink()
    with pytest.raises(MissingFileError):
        verify_files(folder, files)


def test_links_are_refused_even_to_the_right_content(folder, tmp_path):
    files = listed(folder)
    (folder / "weights.bin").rename(tmp_path / "elsewhere.bin")
    (folder / "weights.bin").symlink_to(tmp_path / "elsewhere.bin")
    with pytest.raises(UnsafePathError, match="is a link"):
        verify_files(folder, files)


def test_linked_folder_inside_a_release_is_refused(folder, tmp_path):
    (tmp_path / "aside").mkdir()
    (tmp_path / "aside" / "deep.bin").write_bytes(b"1")
    (folder / "sub").symlink_to(tmp_path / "aside")
    entry = {"path": "sub/deep.bin", "size": 1, "sha256": file_sha256(tmp_path / "aside" / "deep.bin")}
    with pytest.raises(UnsafePathError, match="is a link"):
        verify_files(folder, listed_files(folder / "release.json", [entry]))


@pytest.mark.parametrize("path", ["../secret", "a/../../secret", "/etc/passwd", "C:/x", "a\\b"])
def test_paths_leaving_the_folder_are_refused(folder, path):
    with pytest.raises(UnsafePathError):
        listed(folder, path=path)


@pytest.mark.parametrize(
    "entries",
    [
        None,
        [],
        {"path": "a"},
        ["a"],
        [{"path": "a", "size": 1}],
        [{"path": "a", "size": -1, "sha256": "0" * 64}],
        [{"path": "a", "size": True, "sha256": "0" * 64}],
        [{"path": "a", "size": 1, "sha256": "zz"}],
        [{"path": "a", "size": 1, "sha256": "0" * 64}] * 2,
    ],
)
def test_malformed_file_lists_are_refused(tmp_path, entries):
    with pytest.raises(ManifestError, match="files"):
        listed_files(tmp_path / "release.json", entries)


def test_size_is_compared_before_anything_is_hashed(folder, monkeypatch):
    files = listed(folder)
    (folder / "weights.bin").write_bytes(b"short")

    def never(_):
        raise AssertionError("hashed before the size was compared")

    monkeypatch.setattr(checkpoints, "file_sha256", never)
    with pytest.raises(TruncatedFileError):
        verify_files(folder, files)


def test_rewritten_file_is_hashed_again(folder):
    path = folder / "weights.bin"
    before = file_sha256(path)
    path.write_bytes(b"9876543210" * 20)
    os.utime(path, ns=(1, 1))
    assert file_sha256(path) != before


def test_oversized_and_broken_json(tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"a": "b" * 100}))
    assert read_json(path) == {"a": "b" * 100}
    with pytest.raises(FileSizeError, match="limit 50"):
        read_json(path, limit=50)
    path.write_text("{")
    with pytest.raises(ManifestError, match="not valid JSON"):
        read_json(path)
    path.write_text("[" * 100_000)
    with pytest.raises(ManifestError, match="not valid JSON"):
        read_json(path)


class Run:
    """Pickles to a call of any function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


MARK = "restricted_reader_was_breached"


@pytest.mark.parametrize(
    "payload",
    [
        {"a": Run(os.mkdir, MARK)},
        [[Run(eval, f"__import__('os').mkdir('{MARK}')")]],
        {"a": Run(getattr, Run(__import__, "os"), "mkdir")},
        {"a": Run(os.system, f"mkdir {MARK}")},
        {"a": np.float64},
        {"a": np.array([1.0])},
        {"a": np.array([{"x": 1}], dtype=object)},
    ],
    ids=["mkdir", "nested eval", "getattr chain", "system", "class", "array", "object array"],
)
@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_malicious_pickles_are_blocked_without_side_effects(tmp_path, monkeypatch, payload, protocol):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "token_dictionary.pkl"
    path.write_bytes(pickle.dumps(payload, protocol=protocol))
    with pytest.raises(ReleaseFileError):
        read_dictionary(path)
    assert not (tmp_path / MARK).exists()


def test_the_payload_above_would_run_in_a_plain_reader(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pickle.loads(pickle.dumps({"a": Run(os.mkdir, MARK)}))
    assert (tmp_path / MARK).exists()


def test_torch_files_with_code_are_blocked_in_both_formats(tmp_path, monkeypatch):
    import torch

    monkeypatch.chdir(tmp_path)
    for zipped in (True, False):
        path = tmp_path / f"model{zipped}.pt"
        torch.save({"a": Run(os.mkdir, MARK)}, path, _use_new_zipfile_serialization=zipped)
        with pytest.raises(UnsafePickleError):
            read_state_dict(path)
    assert not (tmp_path / MARK).exists()
    torch.save({"weight": torch.ones(2)}, tmp_path / "fine.pt")
    assert read_state_dict(tmp_path / "fine.pt")["weight"].tolist() == [1, 1]
    torch.save({"lr": 1}, tmp_path / "training_args.bin")
    with pytest.raises(UnsafePickleError, match="not a weights file"):
        read_state_dict(tmp_path / "training_args.bin")


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_published_shapes_of_dictionaries_are_read(tmp_path, protocol):
    tables = {
        "tokens": ({"<pad>": 0, "ENSG1": np.int16(1), "ENSG2": 2}, {"<pad>": 0, "ENSG1": 1, "ENSG2": 2}),
        "medians": ({"ENSG1": np.float64(0.25), "ENSG2": np.float64(3.5)}, {"ENSG1": 0.25, "ENSG2": 3.5}),
        "big_endian": ({"ENSG1": np.array([0.25], dtype=">f8")[0]}, {"ENSG1": 0.25}),
        "names": ({"TP53": "ENSG00000141510"}, {"TP53": "ENSG00000141510"}),
    }
    for name, (content, expected) in tables.items():
        path = tmp_path / f"{name}.pkl"
        path.write_bytes(pickle.dumps(content, protocol=protocol))
        found = read_dictionary(path)
        assert found == expected
        assert {type(value) for value in found.values()} == {type(value) for value in expected.values()}


@pytest.mark.parametrize(
    "content", [[], {}, {"a": 1, "b": "x"}, {"a": [1]}, {"a": None}, {"a": True}, {1: 2}, 5], ids=str
)
def test_other_content_is_no_dictionary(tmp_path, content):
    path = tmp_path / "token_dictionary.pkl"
    path.write_bytes(pickle.dumps(content))
    with pytest.raises(ManifestError):
        read_dictionary(path)


def test_truncated_pickle_and_unknown_suffix(tmp_path):
    path = tmp_path / "token_dictionary.pkl"
    path.write_bytes(pickle.dumps({"a": 1})[:-3])
    with pytest.raises(ManifestError, match="not a readable pickle"):
        read_dictionary(path)
    with pytest.raises(ManifestError, match="unknown kind"):
        read_dictionary(tmp_path / "token_dictionary.npy")

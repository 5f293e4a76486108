from __future__ import annotations

import io
import zipfile
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from interp_assets.cells import sources
from interp_assets.cells.data_wheels import fetch_wheels, required_wheels
from interp_assets.cells.datasets import load_datasets
from interp_assets.cells.integrity import (
    DataFileError,
    EmptyFileError,
    PointerFileError,
    TruncatedFileError,
    WrongHashError,
)
from interp_assets.cells.records import Unavailable
from interp_assets.cells.sources import LocatedFile, SourceContext, locate, source_context

CONTENT = b"counts of cells, many of them\n" * 40


def digest(content: bytes) -> str:
    return sha256(content).hexdigest()


def wheel_bytes(content: bytes = CONTENT) -> bytes:
    """A wheel with an archive inside that holds the member."""
    inner, outer = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("deep/member.tsv", content)
    with zipfile.ZipFile(outer, "w") as archive:
        archive.writestr("package/data.zip", inner.getvalue())
        archive.writestr("package/__init__.py", "raise SystemExit('a data wheel must never be imported')")
    return outer.getvalue()


@pytest.fixture
def context(tmp_path: Path) -> SourceContext:
    for name in ("mirror", "wheels"):
        (tmp_path / name).mkdir()
    return SourceContext(
        mirror=tmp_path / "mirror",
        wheels=tmp_path / "wheels",
        cache=tmp_path / "store" / "cells" / ".sources",
        allow_download=False,
    )


def mirror_entry(content: bytes = CONTENT) -> dict[str, Any]:
    return {"mirror": {"path": "tables/member.tsv", "size": len(content), "sha256": digest(content)}}


def wheel_entry(wheel: bytes, members: list[str] | None = None) -> dict[str, Any]:
    return {
        "wheel": {
            "file": "package-1-py3-none-any.whl",
            "wheel_sha256": digest(wheel),
            "members": members or ["package/data.zip", "deep/member.tsv"],
            "size": len(CONTENT),
            "sha256": digest(CONTENT),
        }
    }


def put(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_the_mirror_comes_first(document, declare, context):
    spec = declare(document | {"sources": [mirror_entry(), wheel_entry(wheel_bytes())]})
    path = put(context.mirror, "tables/member.tsv", CONTENT)
    found = locate(spec, context)
    assert isinstance(found, LocatedFile)
    assert (found.origin, found.path, found.sha256) == ("mirror", path, digest(CONTENT))


def test_without_a_mirror_the_nested_member_of_the_wheel_is_taken(document, declare, context):
    wheel = wheel_bytes()
    spec = declare(document | {"sources": [mirror_entry(), wheel_entry(wheel)]})
    put(context.wheels, "package-1-py3-none-any.whl", wheel)
    found = locate(spec, context)
    assert found.origin == "wheel"
    assert found.path.read_bytes() == CONTENT
    assert found.address == "package-1-py3-none-any.whl/package/data.zip/deep/member.tsv"
    assert [path.name for path in context.cache.iterdir()] == [found.path.name]


def test_a_damaged_cached_member_is_made_again(document, declare, context):
    wheel = wheel_bytes()
    spec = declare(document | {"sources": [wheel_entry(wheel)]})
    put(context.wheels, "package-1-py3-none-any.whl", wheel)
    cached = locate(spec, context).path
    cached.write_bytes(CONTENT[:-1])
    assert locate(spec, context).path.read_bytes() == CONTENT


def test_nothing_at_hand_gives_every_reason(document, declare, context):
    download_entry = {"download": {"url": "https://example.org/x", "size": 1, "sha256": "0" * 64}}
    spec = declare(document | {"sources": [mirror_entry(), wheel_entry(b"x"), download_entry]})
    found = locate(spec, context)
    assert isinstance(found, Unavailable)
    assert found.dataset == "toy"
    for part in ("the data mirror has no tables/member.tsv", "no data wheel package-1", "switched off"):
        assert part in found.reason


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (b"", EmptyFileError, "the file is empty"),
        (CONTENT[:100], TruncatedFileError, "truncated, 100 of 1,200 bytes"),
        (CONTENT.replace(b"many", b"some"), WrongHashError, "sha256 is"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", PointerFileError, "git lfs pull"),
    ],
)
def test_a_wrong_file_is_an_error_and_never_skipped(document, declare, context, content, error, message):
    wheel = wheel_bytes()
    spec = declare(document | {"sources": [mirror_entry(), wheel_entry(wheel)]})
    put(context.wheels, "package-1-py3-none-any.whl", wheel)
    path = put(context.mirror, "tables/member.tsv", content)
    with pytest.raises(error, match=message) as caught:
        locate(spec, context)
    assert str(path) in str(caught.value)
    assert "INTERP_DATA_MIRROR" in str(caught.value)


@pytest.mark.parametrize(
    ("wheel", "entry", "message"),
    [
        (wheel_bytes()[:-30], wheel_entry(wheel_bytes()), "sha256 is"),
        (wheel_bytes(), wheel_entry(wheel_bytes(), ["package/other.zip", "x"]), "has no member"),
        (wheel_bytes(), wheel_entry(wheel_bytes(), ["package/__init__.py", "x"]), "as an archive"),
        (wheel_bytes(b"other"), wheel_entry(wheel_bytes(b"other")), "truncated, 5 of 1,200"),
    ],
)
def test_a_wrong_wheel_is_an_error_and_leaves_nothing_behind(document, declare, context, wheel, entry, message):
    spec = declare(document | {"sources": [entry]})
    put(context.wheels, "package-1-py3-none-any.whl", wheel)
    with pytest.raises(DataFileError, match=message):
        locate(spec, context)
    assert not context.cache.exists() or not list(context.cache.iterdir())


def test_the_context_comes_from_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("INTERP_DATA_MIRROR", str(tmp_path))
    monkeypatch.delenv("INTERP_DATA_WHEELS", raising=False)
    found = source_context(tmp_path / "store")
    assert (found.mirror, found.wheels) == (tmp_path, Path("data-wheels"))
    monkeypatch.setenv("INTERP_DATA_MIRROR", str(tmp_path / "absent"))
    with pytest.raises(DataFileError, match="INTERP_DATA_MIRROR names no folder"):
        source_context(tmp_path / "store")


def requirements(tmp_path: Path, wheel: bytes) -> Path:
    return put(tmp_path, "requirements-data.txt", f"# data\npackage==1 --hash=sha256:{digest(wheel)}\n".encode())


def test_wheels_are_fetched_once_with_hashes_required(tmp_path):
    wheel, calls = wheel_bytes(), []

    def pip(arguments: list[str]) -> None:
        calls.append(arguments)
        put(Path(arguments[-1]), "package-1-py3-none-any.whl", wheel)

    pinned = requirements(tmp_path, wheel)
    assert [path.name for path in fetch_wheels(pinned, tmp_path / "wheels", pip)] == ["package-1-py3-none-any.whl"]
    assert fetch_wheels(pinned, tmp_path / "wheels", pip) == ()
    assert len(calls) == 1
    assert {"--no-deps", "--only-binary=:all:", "--require-hashes"} <= set(calls[0])
    assert [path.name for path in (tmp_path / "wheels").iterdir()] == ["package-1-py3-none-any.whl"]


def test_a_wheel_that_is_not_the_pinned_one_is_refused(tmp_path):
    def pip(arguments: list[str]) -> None:
        put(Path(arguments[-1]), "package-1-py3-none-any.whl", b"something else")

    with pytest.raises(DataFileError, match=r"package==1"):
        fetch_wheels(requirements(tmp_path, wheel_bytes()), tmp_path / "wheels", pip)
    assert not list((tmp_path / "wheels").iterdir())


def test_a_requirement_without_hash_is_refused(tmp_path):
    path = put(tmp_path, "requirements-data.txt", b"package==1\n")
    with pytest.raises(DataFileError, match="Pin it"):
        required_wheels(path)


def test_the_command_reports_one_line_and_a_failing_code(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert sources.main() == 2
    assert "requirements-data.txt: not found" in capsys.readouterr().err


@pytest.mark.parametrize("name", [name for name, spec in load_datasets().items() if spec.sources])
def test_every_declared_wheel_member_is_the_declared_file(name, data_wheels, tmp_path_factory):
    spec = load_datasets()[name]
    cache = tmp_path_factory.getbasetemp() / "members"
    found = locate(spec, SourceContext(wheels=data_wheels, cache=cache, allow_download=False))
    has_wheel = any("wheel" in type(source).__name__.lower() for source in spec.sources)
    assert isinstance(found, LocatedFile if has_wheel else Unavailable)

"""Downloads against a server on this machine: whole, cut, changed, refused; what is left on the disk each time."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest

from interp_assets.cells import downloads
from interp_assets.cells.dataset_records import LOCKED, DownloadSource
from interp_assets.cells.downloads import (
    ATTEMPTS,
    NoSpaceError,
    Unreachable,
    UnsafeAddressError,
    WrongContentError,
    download,
)
from interp_assets.cells.integrity import DataFileError, WrongHashError

CONTENT = b"\x89HDF\r\n\x1a\n" + bytes(range(256)) * 40  # 10,248 bytes that begin like an h5ad
OTHER = CONTENT[:-1] + b"!"
HASH = hashlib.sha256(CONTENT).hexdigest()
MD5 = hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "BLOCK", 500)


def source(server, sha256: str = LOCKED, size: int = 0, **more: object) -> DownloadSource:
    return DownloadSource(url=f"{server.address}/cells.h5ad", sha256=sha256, size=size, **more)


def fetched(declared: DownloadSource, folder: Path, waits: list[float] | None = None) -> str:
    return download(declared, folder / "cells.h5ad", sleep=(waits if waits is not None else []).append)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_whole_file_arrives_and_nothing_else(web, tmp_path):
    with web.serving(CONTENT) as server:
        assert fetched(source(server), tmp_path) == HASH
        assert fetched(source(server, HASH, len(CONTENT), md5=MD5), tmp_path) == HASH
    assert names(tmp_path) == ["cells.h5ad"]
    assert (tmp_path / "cells.h5ad").read_bytes() == CONTENT


@pytest.mark.parametrize(("sha256", "size"), [(LOCKED, 0), (LOCKED, len(CONTENT)), (HASH, len(CONTENT))])
def test_a_cut_transfer_goes_on_where_it_stopped(web, tmp_path, sha256, size):
    waits: list[float] = []
    with web.serving(CONTENT) as server:
        server.script = [web.Answer(cut=3000), web.Answer(cut=2000)]
        assert fetched(source(server, sha256, size), tmp_path, waits) == HASH
        assert server.starts == [0, 3000, 5000]
        assert [each.get("If-Range") for each in server.requests] == [None, server.version, server.version]
    assert waits == [1.0, 2.0]
    assert names(tmp_path) == ["cells.h5ad"]


def test_the_next_run_goes_on_with_what_was_kept(web, tmp_path):
    with web.serving(CONTENT) as server:
        server.script = [web.Answer(cut=2000), *[web.Answer(status=503)] * (ATTEMPTS - 1)]
        with pytest.raises(Unreachable, match=r"HTTP 503 after 4 attempts; 2,000 bytes are kept"):
            fetched(source(server), tmp_path)
        assert names(tmp_path) == ["cells.h5ad.partial", "cells.h5ad.partial.json"]
        assert fetched(source(server), tmp_path) == HASH
        assert server.starts[-1] == 2000


def test_a_server_without_ranges_begins_anew(web, tmp_path):
    with web.serving(CONTENT) as server:
        server.script = [web.Answer(cut=3000), web.Answer(ranges=False)]
        assert fetched(source(server), tmp_path) == HASH
    assert (tmp_path / "cells.h5ad").read_bytes() == CONTENT


def test_a_file_that_changed_in_between_is_not_stitched_together(web, tmp_path):
    with web.serving(CONTENT) as server:
        server.script = [web.Answer(cut=3000), *[web.Answer(status=500)] * (ATTEMPTS - 1)]
        with pytest.raises(Unreachable):
            fetched(source(server), tmp_path)
        server.content = b"\x89HDF\r\n\x1a\n" + b"new" * 4000
        assert fetched(source(server), tmp_path) == hashlib.sha256(server.content).hexdigest()
        assert server.starts[-1] == 3000  # it was asked for the rest, and answered with the whole


def test_without_a_version_a_file_of_unknown_hash_begins_anew(web, tmp_path):
    with web.serving(CONTENT) as server:
        server.etag = False
        server.script = [web.Answer(cut=3000)]
        assert fetched(source(server), tmp_path) == HASH
        assert server.starts == [0, 0]
        server.requests.clear()
        server.script = [web.Answer(cut=3000)]
        assert fetched(source(server, HASH, len(CONTENT)), tmp_path) == HASH  # the hash would notice
        assert server.starts == [0, 3000]


def test_what_was_kept_of_another_address_is_dropped(web, tmp_path):
    with web.serving(CONTENT) as server:
        server.script = [web.Answer(cut=3000), *[web.Answer(status=500)] * (ATTEMPTS - 1)]
        with pytest.raises(Unreachable):
            fetched(source(server), tmp_path)
        moved = DownloadSource(url=f"{server.address}/other/cells.h5ad", sha256=LOCKED, size=0)
        assert fetched(moved, tmp_path) == HASH
        assert server.starts[-1] == 0


def test_a_file_that_always_ends_early_is_never_used(web, tmp_path):
    with web.serving(CONTENT) as server:
        server.script = [web.Answer(cut=100, ranges=False)] * ATTEMPTS
        with pytest.raises(Unreachable, match="after 4 attempts"):
            fetched(source(server), tmp_path)
    assert "cells.h5ad" not in names(tmp_path)


@pytest.mark.parametrize("told", [len(CONTENT) + 1, len(CONTENT) - 1])
def test_another_size_than_the_declared_one_is_refused_before_it_is_read(web, tmp_path, told):
    with (
        web.serving(CONTENT) as server,
        pytest.raises(WrongContentError, match=rf"announces 10,248 bytes, declared are {told:,}"),
    ):
        fetched(source(server, size=told), tmp_path)
    assert names(tmp_path) == []


@pytest.mark.parametrize("status", [200, 206])
def test_a_web_page_is_no_file(web, tmp_path, status):
    with web.serving(CONTENT) as server:
        server.script = [web.Answer(status=status, page=True)]
        with pytest.raises(WrongContentError, match=r"answers with a web page \(text/html\)"):
            fetched(source(server), tmp_path)
    assert names(tmp_path) == []


def test_something_else_under_the_right_type_is_no_h5ad(web, tmp_path):
    with web.serving(b"<html>gone</html>" * 20) as server, pytest.raises(WrongContentError, match=r"is no \.h5ad file"):
        fetched(source(server), tmp_path)
    assert names(tmp_path) == []


def test_an_empty_file_is_refused(web, tmp_path):
    with web.serving(b"") as server, pytest.raises(DataFileError, match="empty"):
        fetched(source(server), tmp_path)
    assert names(tmp_path) == []


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_what_is_not_there_is_not_asked_for_again(web, tmp_path, status):
    waits: list[float] = []
    with web.serving(CONTENT) as server:
        server.script = [web.Answer(status=status)]
        with pytest.raises(Unreachable, match=rf"HTTP {status}; the address has no such file"):
            fetched(source(server), tmp_path, waits)
        assert len(server.requests) == 1
    assert (waits, names(tmp_path)) == ([], [])


@pytest.mark.parametrize(
    ("status", "headers", "wait"),
    [
        (500, {}, 1.0),
        (503, {"Retry-After": "7"}, 7.0),
        (429, {"Retry-After": "9999"}, 60.0),
        (503, {"Retry-After": "x"}, 1),
    ],
)
def test_a_server_in_trouble_is_asked_again_after_a_while(web, tmp_path, status, headers, wait):
    waits: list[float] = []
    with web.serving(CONTENT) as server:
        server.script = [web.Answer(status=status, headers=headers)]
        assert fetched(source(server), tmp_path, waits) == HASH
    assert waits == [wait]


def test_a_server_that_never_answers_leaves_a_reason(tmp_path):
    closed = DownloadSource(url="http://127.0.0.1:9/cells.h5ad", sha256=LOCKED, size=0)
    with pytest.raises(Unreachable, match="ConnectionError after 4 attempts"):
        fetched(closed, tmp_path)
    assert names(tmp_path) == []


def test_a_redirect_on_this_machine_is_followed(web, tmp_path):
    with web.serving(CONTENT) as server:
        server.script = [web.Answer(location="/elsewhere/cells.h5ad")]
        assert fetched(source(server), tmp_path) == HASH
        assert [each["path"] for each in server.requests] == ["/cells.h5ad", "/elsewhere/cells.h5ad"]


@pytest.mark.parametrize("location", ["http://example.org/cells.h5ad", "ftp://example.org/x", "file:///etc/passwd"])
def test_a_redirect_to_an_address_that_may_not_be_read_is_refused(web, tmp_path, location):
    with web.serving(CONTENT) as server:
        server.script = [web.Answer(location=location)]
        with pytest.raises(UnsafeAddressError, match="only https is read") as caught:
            fetched(source(server), tmp_path)
    assert location in str(caught.value)
    assert names(tmp_path) == []


def test_redirects_in_a_circle_end(web, tmp_path):
    with web.serving(CONTENT) as server:
        server.script = [web.Answer(location="/again")] * 10
        with pytest.raises(Unreachable, match="more than 5 redirects"):
            fetched(source(server), tmp_path)


def test_another_file_than_the_declared_one_leaves_nothing(web, tmp_path):
    with web.serving(OTHER) as server:
        with pytest.raises(WrongHashError, match=r"the address changed its file"):
            fetched(source(server, HASH, len(CONTENT)), tmp_path)
        with pytest.raises(WrongHashError, match=rf"the repository publishes {MD5}"):
            fetched(source(server, md5=MD5), tmp_path)
    assert names(tmp_path) == []


def test_without_a_length_a_cut_file_could_not_be_told(web, tmp_path):
    with web.serving(CONTENT) as server:
        server.script = [web.Answer(length=False)]
        with pytest.raises(WrongContentError, match=r"announces no length.*Declare its `size` or `md5`"):
            fetched(source(server), tmp_path)
        server.script = [web.Answer(length=False)]
        assert fetched(source(server, size=len(CONTENT)), tmp_path) == HASH


def test_a_full_disk_is_named_before_anything_is_read(web, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(downloads.shutil, "disk_usage", lambda _: usage._replace(free=downloads.SPARE + 100))
    with web.serving(CONTENT) as server, pytest.raises(NoSpaceError, match=r"are free, .* are needed for cells\.h5ad"):
        fetched(source(server), tmp_path)
    assert names(tmp_path) == []

"""A store that cannot be written to: said before any work begins; whoever only reads is not disturbed."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from pathlib import Path

import pytest

from interp_assets.cli import main
from qc_standards.cli import main as gate
from tests.faults.mounted import mounted, remount
from tests.faults.tiny_store import CONTROL, STUDY, content_of, of

READING = (
    ["releases", "list"],
    ["quarantine", "list"],
    ["store", "clean", "--dry-run"],
    ["analysis", "24", "--explain"],
    ["export", "screens", "--study", STUDY],
)
WRITING = (["evaluate", "--study", STUDY], ["analysis", "24", "--study", STUDY])


def test_evaluation_of_a_read_only_store_ends_before_it_begins(
    finished, broken, monkeypatch, capsys, tally, soak
) -> None:
    deployed = broken()
    of(deployed)
    before = content_of(Path(deployed["INTERP_STORE"]))

    def refusing(*given: object, **named: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(tempfile, "NamedTemporaryFile", refusing)
    for command in WRITING:
        assert main(command) == 2
        told = capsys.readouterr().err
        assert told.count("\n") == 1
        assert f"Read-only file system: {deployed['INTERP_STORE']} was not written; make that folder writable" in told
        tally("fault", "a command that writes, on a store that cannot be written to", "refused")
    assert content_of(Path(deployed["INTERP_STORE"])) == before


def test_a_store_that_is_mounted_read_only_is_still_read(finished, memory, capsys, tally, soak) -> None:
    folder = Path(finished["INTERP_STORE"]) / STUDY / CONTROL
    capsys.readouterr()
    code = gate(["check", str(folder)])
    judged = capsys.readouterr().out
    used = sum(path.stat().st_blocks * 512 for path in Path(finished["INTERP_STORE"]).rglob("*")) / 2**20
    with mounted(memory / "read-only", int(used) + 20) as disk:
        store = disk / "store"
        shutil.copytree(finished["INTERP_STORE"], store)
        of({**finished, "INTERP_STORE": str(store)})
        remount(disk, "ro")
        for command in WRITING:
            assert main(command) == 2
            told = capsys.readouterr().err
            assert told.count("\n") == 1
            assert f"{store} was not written; make that folder writable, or set INTERP_STORE to one that is" in told
            tally("fault", "a command that writes, on a store that cannot be written to", "refused")
        for command in READING:
            assert main(command) in (0, 2)
            assert "Read-only" not in capsys.readouterr().err
            tally("fault", "a command that reads, on a store that cannot be written to")
        assert gate(["check", str(store / STUDY / CONTROL)]) == code
        assert capsys.readouterr().out.replace(str(store), finished["INTERP_STORE"]) == judged
        tally("fault", "a command that reads, on a store that cannot be written to")


def test_the_way_out_is_told_for_every_reason_a_folder_refuses(tmp_path, tally) -> None:
    from interp_assets.storage import NotWrittenError, writing

    for number in (errno.EROFS, errno.EACCES, errno.EPERM):
        with (
            pytest.raises(NotWrittenError, match=r"was not written; make that folder writable, or set INTERP_STORE"),
            writing(tmp_path / "file"),
        ):
            raise OSError(number, os.strerror(number))
        tally("fault", "a file in a folder that refuses it", "refused")
    with pytest.raises(FileNotFoundError), writing(tmp_path / "file"):
        raise FileNotFoundError(errno.ENOENT, "another fault keeps its own words")

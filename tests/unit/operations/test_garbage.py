"""Cleaning a store: what is cited stays byte for byte, and a crash in the middle loses nothing."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from interp_assets.cli.store import seconds
from interp_assets.operations import garbage
from interp_assets.operations.garbage import Removable, removable, remove, sizes

NOW, DAY = 2_000_000_000.0, 86_400.0


def put(path: Path, content: bytes = b"x", age: float = 30 * DAY) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.utime(path, (NOW - age, NOW - age))
    for parent in path.parents[:3]:
        os.utime(parent, (NOW - age, NOW - age))
    return path


def results(store: Path, study: str, release: str, files: list[str]) -> None:
    """A finished results folder: half of its files in a listing, all in the provenance."""
    folder = store / study / release
    names = ["tests.parquet", *files]
    for name in names:
        put(folder / name, name.encode())
    put(folder / "provenance.json", json.dumps({"@graph": [{"@id": name} for name in names]}).encode())
    listing = dict.fromkeys(names[::2], "hash")
    put(store / ".files" / study / release / "test_results.json", json.dumps(listing).encode())


def state(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def store(tmp_path: Path) -> Path:
    place = tmp_path / "store"
    for release in ("kept", "gone", "control-planted"):
        results(place, "study", release, ["verdict.json", "tables/one.parquet"])
        for name in (release, f"{release}.random-weights"):
            put(place / "attention" / name / "cells" / "manifest.json", b"{}")
            put(place / "attention" / name / "cells" / "layer-0-mean.npy", b"12345")
    put(place / "history" / "study" / "gone" / "snapshots" / "a.json")
    put(place / "quarantine" / "gone.json")
    put(place / ".notices" / "a.json")
    put(place / "cells" / "cells" / "cells" / "record.json")
    put(place / ".dagster" / "history" / "runs.db")
    return place


def kinds(found: list[Removable]) -> list[tuple[str, str]]:
    return [(each.kind, each.path.name) for each in found]


def test_only_the_attention_of_a_release_that_is_gone_goes(store: Path) -> None:
    before = state(store)
    found = removable(store, {"kept"}, NOW, DAY)
    assert [(each.release, each.dataset, each.size) for each in found] == [
        ("gone", "cells", 7),
        ("gone.random-weights", "cells", 7),
    ]
    assert sizes(found) == {"attention of a release that is gone": (2, 14)}
    told: list[str] = []
    assert remove(store, found, lambda each: told.append(f"{each.release} {each.path.exists()}")) == found
    assert told == ["gone True", "gone.random-weights True"]  # told before it goes
    lost = set(before) - set(state(store))
    assert lost == {name for name in before if name.startswith(("attention/gone/", "attention/gone.random-weights/"))}
    assert removable(store, {"kept"}, NOW, DAY) == []


def test_leftovers_partial_extractions_uncited_files_and_old_logs(store: Path) -> None:
    put(store / "study" / "kept" / ".writing-abc.json")
    put(store / "cells" / "cells" / ".writing-folder" / "part" / "a.npy")
    put(store / "cells" / "cells" / ".previous-x" / "old" / "a.npy")  # perhaps the only copy
    put(store / "attention" / "kept" / "cells" / "partial" / "layers" / "0.npy")
    put(store / "study" / "kept" / "of_an_older_version.csv")
    put(store / ".dagster" / "storage" / "run" / "compute_logs" / "a.out")
    put(store / ".dagster" / "storage" / "other" / "no_log.txt")
    found = removable(store, {"kept", "gone"}, NOW, DAY)
    assert kinds(found) == [
        ("leftover", ".writing-folder"),
        ("leftover", ".writing-abc.json"),
        ("partial attention", "partial"),
        ("uncited file", "of_an_older_version.csv"),
        ("run log", "run"),
    ]
    assert [each for each in found if each.release] == []  # nothing for the run history to forget
    assert removable(store, {"kept", "gone"}, NOW, 60 * DAY)[2:] == []


def test_what_is_young_stays(store: Path) -> None:
    put(store / "study" / "kept" / ".writing-now.json", age=60)
    put(store / "attention" / "kept" / "cells" / "partial" / "layers" / "0.npy", age=60)
    put(store / "study" / "kept" / "new.csv", age=60)
    put(store / "attention" / "gone" / "cells" / "layer-1-mean.npy", age=60)
    assert kinds(removable(store, {"kept"}, NOW, DAY)) == [("attention of a release that is gone", "cells")]


@pytest.mark.parametrize("damaged", ["provenance.json", "listing"])
def test_where_a_list_cannot_be_read_nothing_is_uncited(store: Path, damaged: str) -> None:
    put(store / "study" / "kept" / "new.csv")
    path = store / "study" / "kept" / damaged
    put(store / ".files" / "study" / "kept" / "test_results.json" if damaged == "listing" else path, b"{ no json")
    assert removable(store, {"kept", "gone"}, NOW, DAY) == []


def test_without_any_list_nothing_is_uncited(store: Path) -> None:
    """A store that was copied without its hidden folders."""
    put(store / "study" / "kept" / "new.csv")
    assert kinds(removable(store, {"kept", "gone"}, NOW, DAY)) == [("uncited file", "new.csv")]
    shutil.rmtree(store / ".files")
    assert removable(store, {"kept", "gone"}, NOW, DAY) == []


def test_links_lead_nowhere(store: Path, tmp_path: Path) -> None:
    outside = put(tmp_path / "outside" / "cells" / "precious.npy")
    (store / "attention" / "linked").symlink_to(tmp_path / "outside")
    (store / "attention" / "gone" / "linked").symlink_to(tmp_path / "outside" / "cells")
    os.utime(store / "attention" / "gone" / "cells", (NOW - 30 * DAY,) * 2)
    remove(store, removable(store, {"kept"}, NOW, DAY))
    assert outside.read_bytes() == b"x"


def test_a_crash_between_renaming_and_deleting_is_finished_by_the_next_call(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = removable(store, {"kept"}, NOW, DAY)

    def killed(path: Path) -> None:
        raise KeyboardInterrupt

    kept = {name: found_hash for name, found_hash in state(store).items() if not name.startswith("attention/gone")}
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            remove(store, found)
    assert (store / garbage.TRASH).is_dir()
    assert removable(store, {"kept"}, NOW, DAY) == []
    assert remove(store, []) == []
    assert not (store / garbage.TRASH).exists()
    assert state(store) == kept


def test_nothing_outside_the_store_is_removed(store: Path, tmp_path: Path) -> None:
    outside = put(tmp_path / "outside.txt")
    for path in (outside, store / ".." / "outside.txt"):
        with pytest.raises(ValueError, match="outside the store"):
            remove(store, [Removable(kind="leftover", path=path, size=1, why="")])
    assert outside.exists()


def test_an_absent_store_holds_nothing(tmp_path: Path) -> None:
    assert removable(tmp_path / "none", set(), NOW, 0) == []


def test_linked_files_free_nothing(store: Path) -> None:
    layer = store / "attention" / "gone" / "cells" / "layer-0-mean.npy"
    os.link(layer, store / "attention" / "kept" / "cells" / "linked.npy")
    assert garbage.size_of(layer) == 0


@pytest.mark.parametrize(("age", "expected"), [("30m", 1800.0), ("12h", 43200.0), ("7d", 604800.0)])
def test_ages(age: str, expected: float) -> None:
    assert seconds(age) == expected


@pytest.mark.parametrize("age", ["", "7", "d", "-1d", "1.5h", "7w", "7d "])
def test_other_ages_are_refused(age: str) -> None:
    with pytest.raises(ValueError, match="write a whole number"):
        seconds(age)


NAMES = st.sampled_from(["r1", "r2", "r1.shuffled", "r2.random-weights", "control-planted"])
STUDIES = st.sampled_from(["s1", "s2"])
PLACES = st.sampled_from(["s1/r1", "s2/r2", "attention/r1/d", "attention/r3/d", "cells/d"])
FILES = st.lists(st.sampled_from(["verdict.json", "claims.json", "tables/a.parquet", "tables/b.parquet"]), unique=True)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    judged=st.lists(st.tuples(STUDIES, NAMES, FILES), max_size=5, unique_by=lambda each: each[:2]),
    junk=st.lists(st.tuples(PLACES, st.integers(0, 9)), max_size=6),
    present=st.sets(st.sampled_from(["r1", "r2", "r3"])),
)
def test_whatever_the_store_cited_files_stay(tmp_path_factory, judged, junk, present) -> None:
    store = tmp_path_factory.mktemp("store")
    for study, release, files in judged:
        results(store, study, release, files)
    for place, number in junk:
        put(store / place / (f".writing-{number}" if number < 3 else f"junk-{number}"))
    for study, release, _ in judged:
        put(store / "history" / study / release / "history.json", release.encode())
    before = state(store)
    listed = {
        f"{listing.parent.relative_to(store / '.files')}/{name}"
        for listing in (store / ".files").rglob("*.json")
        for name in json.loads(listing.read_bytes())
    }
    cited = listed | {f"{study}/{release}/{name}" for study, release, files in judged for name in files}
    cited |= {name for name in before if name.startswith(("history/", ".files/", "cells/d/junk"))}
    remove(store, removable(store, present, NOW, DAY))
    after = state(store)
    assert {name: after.get(name) for name in cited} == {name: before.get(name) for name in cited}
    assert not [name for name in after if "/.writing-" in name]
    assert not [name for name in after if name.startswith("attention/r1/") and "r1" not in present]

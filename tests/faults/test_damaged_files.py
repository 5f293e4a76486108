"""Truncated, flipped, swapped and vanished files of a store: found by hash, made again, and never read."""

from __future__ import annotations

import json
import shutil
from collections import defaultdict
from pathlib import Path

import dagster as dg
import numpy as np
import pytest

from interp_assets.evaluate import EvaluationError, dagster_instance
from interp_assets.io_managers import PATH, AttentionIOManager, FilesIOManager, read_records
from interp_assets.models.sourcing import open_edges
from interp_assets.storage import StorageError
from tests.faults.tiny_store import (
    CONTROL,
    DATASET,
    JUDGED,
    PROJECT,
    RELEASE,
    STUDY,
    changes_counted,
    content_of,
    dies,
    evaluate,
    extract,
    of,
)

DAMAGES = ("cut short", "a bit flipped", "of another place", "gone")


def damage(path: Path, how: str, rng: np.random.Generator, others: list[Path]) -> None:
    """Break a file in one way; ``others`` are files that might have been taken for it."""
    content = path.read_bytes()
    others = [other for other in others if other.name == path.name and other.read_bytes() != content]
    if how == "of another place" and others:
        changed = others[int(rng.integers(len(others)))].read_bytes()
    elif how == "cut short":
        changed = content[: int(rng.integers(len(content)))]
    elif how == "gone":
        path.unlink()
        return
    else:
        flipped, at = bytearray(content), int(rng.integers(len(content)))
        flipped[at] ^= 1 << int(rng.integers(8))
        changed = bytes(flipped)
    # a new file, as a copy over it makes: arrays that a process has mapped keep what they show
    path.unlink()
    path.write_bytes(changed)


def files_by_kind(store: Path, whole: bool) -> dict[tuple[str, str], list[Path]]:
    """Files that an evaluation makes again, by the part of the store and their ending."""
    own = {
        path
        for path in store.rglob("*")
        if path.is_file() and not path.is_relative_to(store / ".dagster") and path.stat().st_size
    }
    if not whole:  # written beside the evaluation
        folder, listing = store / STUDY / CONTROL, store / ".files" / STUDY / CONTROL / f"{JUDGED}.json"
        own -= {listing, *(folder / name for name in content_listed(listing))}
    kinds: dict[tuple[str, str], list[Path]] = defaultdict(list)
    # earlier judgements cannot be made again: a damaged one is refused (`comparison.history`)
    for path in sorted(path for path in own if not path.is_relative_to(store / "history")):
        kinds[path.relative_to(store).parts[0], "".join(path.suffixes[-1:])].append(path)
    return kinds


def content_listed(listing: Path) -> list[str]:
    """Names of the files that a list holds."""
    return list(json.loads(listing.read_text()))


def test_every_kind_of_file_is_found_and_made_again(finished, broken, whole, tally, soak) -> None:
    expected = content_of(Path(finished["INTERP_STORE"]))
    rng = np.random.default_rng(11)
    for _ in range(soak):
        deployed = broken()
        store = Path(deployed["INTERP_STORE"])
        kinds = files_by_kind(store, whole)
        assert {top for top, _ in kinds} >= {"attention", "cells", "releases", "studies", STUDY, ".files"}
        for files in kinds.values():
            chosen = files[int(rng.integers(len(files)))]
            damage(chosen, DAMAGES[int(rng.integers(len(DAMAGES)))], rng, files)
        assert content_of(store) != expected
        assert evaluate(deployed, whole)
        assert content_of(store) == expected
        assert evaluate(deployed, whole) == []
        tally("fault", "a file of each kind in a store cut short, flipped, swapped or gone", times=len(kinds))
        shutil.rmtree(store)


def test_no_damaged_record_is_ever_read(finished, broken, tally, soak) -> None:
    deployed = broken()
    store = Path(deployed["INTERP_STORE"])
    rng = np.random.default_rng(12)
    folders = sorted(folder for folder in (store / "cells").glob("*/*") if folder.is_dir())
    folders += [store / "attention" / CONTROL / DATASET]
    files = [path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()]
    for number in rng.integers(0, len(files), 40 * soak):
        path = files[int(number)]
        folder = next(folder for folder in folders if folder in path.parents)
        if path.stat().st_size > 2**23:
            continue
        kept = path.read_bytes()
        damage(path, DAMAGES[int(rng.integers(len(DAMAGES)))], rng, files)
        if path.is_file() and path.read_bytes() == kept:
            continue
        with pytest.raises(StorageError, match="materialise"):
            (open_edges if folder.is_relative_to(store / "attention") else read_records)(folder)
        path.write_bytes(kept)
        tally("fault", "a damaged record is read", "refused")
    one, other = (store / "cells" / name / "raw" for name in ("gencode44_human", "kegg_curated"))
    one.rename(store / "kept")
    shutil.copytree(other, one)
    with pytest.raises(StorageError, match=r"is the record of cells/kegg_curated/raw"):
        read_records(one)
    tally("fault", "a folder that belongs to another dataset is read", "refused")


def test_no_damaged_result_is_ever_handed_on(finished, broken, tally, soak) -> None:
    deployed = broken()
    store = Path(deployed["INTERP_STORE"])
    manager, folder = FilesIOManager(store=str(store)), store / STUDY / CONTROL
    rng = np.random.default_rng(13)
    listings = sorted((store / ".files" / STUDY / CONTROL).glob("*.json"))
    for number in rng.integers(0, len(listings), 30 * soak):
        listing = listings[int(number)]
        files = [listing, *(folder / name for name in content_listed(listing))]
        path = files[int(rng.integers(len(files)))]
        kept = path.read_bytes()
        damage(path, DAMAGES[int(rng.integers(3))], rng, [*listings, *sorted(folder.rglob("*.parquet"))])
        if path.read_bytes() != kept:
            with pytest.raises(StorageError, match="materialise"):
                manager._stored(folder, dg.AssetKey(listing.stem.split(".")))
            tally("fault", "a damaged result is read", "refused")
        path.write_bytes(kept)


def test_a_damaged_model_of_a_control_is_found_though_its_attention_is_whole(finished, broken, tally) -> None:
    """Regression: nobody looked at the files that a control was built from until something read them again."""
    deployed = broken()
    manager = AttentionIOManager(store=deployed["INTERP_STORE"])
    folder = Path(deployed["INTERP_STORE"]) / "attention" / CONTROL / DATASET
    key, metadata, rng = dg.AssetKey("attention"), {PATH: f"attention/{CONTROL}/{DATASET}"}, np.random.default_rng(15)
    shutil.copytree(PROJECT / "releases" / RELEASE, folder / "release")  # as controls with a model have it
    told = manager._digest(folder, key)
    assert manager.fault(key, metadata, None, told) == ""
    for path in sorted((folder / "release").iterdir()):
        kept = path.read_bytes()
        for how in ("cut short", "a bit flipped", "gone"):
            damage(path, how, rng, [])
            assert str(folder) in manager.fault(key, metadata, None, told), (path.name, how)
            path.write_bytes(kept)
            tally("fault", "a file of a control's model cut short, flipped or gone")
    shutil.rmtree(folder / "release")
    assert "holds something else" in manager.fault(key, metadata, None, told)


def open_sums(folder: Path) -> list[Path]:
    """Checkpoints of passes that are not finished."""
    found = sorted(folder.rglob("sums-*.npy"))
    return [path for path in found if not (folder / "partial" / f"{path.parent.name}.json").is_file()]


def test_damaged_working_files_of_an_extraction_are_not_continued(finished, tmp_path, tally, soak) -> None:
    with changes_counted() as changes:
        extract(finished, tmp_path / "whole", True)
    expected = content_of(tmp_path / "whole")
    rng = np.random.default_rng(14)
    for attempt in range(soak):
        left = tmp_path / f"left-{attempt}"
        # one pass finished and the next begun: working files of every kind, all of which the next run would use
        while not list(left.rglob("pass-*.json")) or not open_sums(left):
            shutil.rmtree(left, ignore_errors=True)
            assert dies(extract, finished, left, True, at=int(rng.integers(changes[0] // 5, changes[0] // 2)))
        working = [path for path in sorted((left / "partial").rglob("*")) if path.suffix in (".json", ".npy")]
        kinds = {path.name[:4] + path.suffix: path for path in rng.permutation(np.array(working, dtype=object))}
        kinds["sums.npy"] = open_sums(left)[0]
        for kind in ["sums.npy", *rng.permutation(sorted(kinds.keys() - {"sums.npy"}))][: 2 if soak == 1 else None]:
            path = kinds[kind]
            folder = tmp_path / f"{kind}-{attempt}"
            shutil.copytree(left, folder)
            broke = folder / path.relative_to(left)
            damage(broke, DAMAGES[int(rng.integers(3))], rng, [])
            extract(finished, folder, True)
            assert content_of(folder) == expected, kind
            tally("fault", "a working file of an extraction cut short or flipped")


def test_a_damaged_finished_extraction_is_made_again(finished, tmp_path, tally, soak) -> None:
    folder = tmp_path / "attention"
    extract(finished, folder, False)
    expected = content_of(folder)
    rng = np.random.default_rng(15)
    for _ in range(soak):
        files = sorted(path for path in folder.iterdir() if path.is_file())
        for path in rng.choice(np.array(files, dtype=object), 4, replace=False):
            damage(path, DAMAGES[int(rng.integers(3))], rng, [])
        with pytest.raises(ValueError, match="materialise attention"):
            open_edges(folder)
        extract(finished, folder, False)
        assert content_of(folder) == expected
        tally("fault", "files of finished attention cut short or flipped", times=4)


def test_a_damaged_run_history_is_one_error_and_nothing_stored_is_lost(finished, broken, whole, tally, soak) -> None:
    deployed = broken()
    store = Path(deployed["INTERP_STORE"])
    index = store / ".dagster" / "history" / "runs" / "index.db"
    for left in index.parent.glob("index.db-*"):
        left.unlink()
    for content in (b"no database", index.read_bytes()[: 3 * 4096]):
        index.write_bytes(content)
        with pytest.raises(EvaluationError, match=r"run history .*\.dagster: .*move that folder away and ask again"):
            evaluate(deployed, whole)
        tally("fault", "the run history is damaged", "refused")
    if soak > 1:
        shutil.rmtree(store / ".dagster")
        evaluate(deployed, whole)
        assert content_of(store) == content_of(Path(finished["INTERP_STORE"]))
        tally("fault", "the run history is taken away")
    with dagster_instance(of(finished)) as instance:
        assert instance.get_runs_count() > 0

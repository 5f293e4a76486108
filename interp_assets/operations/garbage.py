"""What a store may drop: leftovers that nothing cites, by kind and size, removed so that a crash loses nothing.

What belongs here: finding such paths and removing them. What does not: whether a run is in progress and what the run
history has to forget (`cli.store`), or results, which are never removed.

The rule is a list of what may go; whatever is not on it stays. Results folders, histories, quarantine records, notices,
cells and the attention of every release that is still there are on no list. What a listing of the store (``.files``) or
the ``provenance.json`` of its folder cites is never touched.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from interp_assets.models.attention.store import PARTIAL
from interp_assets.models.controls.catalogue import base_release
from interp_assets.models.files.releases import RESERVED_NAME
from qc_standards.json_text import plain_json
from qc_standards.results import PROVENANCE_FILE, TESTS_FILE

Kind = Literal["leftover", "partial attention", "attention of a release that is gone", "uncited file", "run log"]
TRASH = ".trash"
WRITING = ".writing-*"
LEFTOVER_SECONDS = 3600.0  # a file that is being written is younger
MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Removable:
    """One path that may go, and why. ``size`` is in bytes; a file that is linked elsewhere too frees none.

    ``release`` and ``dataset`` are those of an attention folder, empty otherwise.
    """

    kind: Kind
    path: Path
    size: int
    why: str
    release: str = ""
    dataset: str = ""


def removable(store: Path, present: Collection[str], now: float, older_than: float) -> list[Removable]:
    """Everything in a store that may go, sorted by kind and path.

    Parameters
    ----------
    present
        Names of releases that are there in whatever state: complete, still being copied, refused.
    now
        Seconds since the epoch by the clock of the store's file system.
    older_than
        Seconds since the last change after which a partial extraction, an uncited file or a run log may go.
    """
    age = _Age(now, older_than)
    found = [*_leftovers(store, age), *_partial(store, age), *_gone(store, set(present), age)]
    found += [*_uncited(store, age), *_run_logs(store, age)]
    outer = {each.path for each in found}
    kept = [each for each in found if not outer & set(each.path.parents)]
    return sorted(kept, key=lambda each: (get_args(Kind).index(each.kind), each.path))


@dataclass(frozen=True, slots=True)
class _Age:
    now: float
    older_than: float

    def over(self, path: Path, seconds: float | None = None) -> bool:
        """Whether the youngest thing at or below a path is older than a time; what vanished meanwhile is not."""
        try:
            youngest = max(each.lstat().st_mtime for each in _all(path))
        except FileNotFoundError:
            return False
        return self.now - youngest > (self.older_than if seconds is None else seconds)


def _all(path: Path) -> Iterator[Path]:
    yield path
    if path.is_dir() and not path.is_symlink():
        yield from path.rglob("*")


def size_of(path: Path) -> int:
    """Bytes that removing a path frees: files with a second link elsewhere count nothing."""
    total = 0
    for each in _all(path):
        try:
            found = each.lstat()
        except FileNotFoundError:
            continue
        if not each.is_dir() and found.st_nlink == 1:
            total += found.st_size
    return total


def _leftovers(store: Path, age: _Age) -> Iterator[Removable]:
    """Temporary files and folders of writes that were cut off.

    ``.previous-*`` is not among them: where a swap was cut off in the middle it holds the only copy of a record.
    """
    for path in store.rglob(WRITING):
        inside = path.relative_to(store).parts
        if not {".dagster", TRASH} & set(inside) and age.over(path, LEFTOVER_SECONDS):
            yield Removable(kind="leftover", path=path, size=size_of(path), why="a write that was cut off")


def _attention_folders(store: Path) -> Iterator[tuple[str, Path]]:
    root = store / "attention"
    for release in sorted(root.iterdir()) if root.is_dir() else ():
        if release.is_dir() and not release.is_symlink() and not release.name.startswith("."):
            for dataset in sorted(release.iterdir()):
                if dataset.is_dir() and not dataset.is_symlink() and not dataset.name.startswith("."):
                    yield release.name, dataset


def _partial(store: Path, age: _Age) -> Iterator[Removable]:
    """Extractions that were begun and are not going on; a finished one beside them needs no more of them."""
    for release, folder in _attention_folders(store):
        partial = folder / PARTIAL
        if partial.is_dir() and age.over(partial):
            done = (folder / MANIFEST).is_file()
            why = "the extraction is finished" if done else "an extraction that stopped; it would begin anew"
            size = size_of(partial)
            # no release and dataset: the folder and its record in the run history stay
            yield Removable(kind="partial attention", path=partial, size=size, why=f"{release}/{folder.name}: {why}")


def _gone(store: Path, present: set[str], age: _Age) -> Iterator[Removable]:
    """Attention of releases whose folder is no more: the results stay, the sums can be computed from the release."""
    for release, folder in _attention_folders(store):
        base = base_release(release)  # a negative twin lives and goes with its release
        if base in present or RESERVED_NAME.fullmatch(base) or not age.over(folder):
            continue
        yield Removable(
            kind="attention of a release that is gone",
            path=folder,
            size=size_of(folder),
            why=f"no release {base} in the releases folder; its results stay",
            release=release,
            dataset=folder.name,
        )


def cited(store: Path, folder: Path) -> set[Path] | None:
    """Files of one results folder that a listing of an asset or its provenance names.

    None where a list cannot be read, or no listing is there (a store that was copied without its hidden folders): then
    nothing can be said, and nothing may go.
    """
    named: set[str] = {PROVENANCE_FILE}
    listings = sorted((store / ".files" / folder.relative_to(store)).glob("*.json"))
    if not listings:
        return None
    try:
        for listing in listings:
            named |= set(plain_json(listing.read_bytes()))
        graph = plain_json((folder / PROVENANCE_FILE).read_bytes())["@graph"]
        named |= {str(entity["@id"]) for entity in graph}
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return {folder / name for name in named}


def _uncited(store: Path, age: _Age) -> Iterator[Removable]:
    """Files in finished results folders that no asset wrote and no provenance names."""
    for tests in sorted(store.glob(f"*/*/{TESTS_FILE}")):
        folder = tests.parent
        hidden = any(part.startswith(".") for part in folder.relative_to(store).parts)
        names = None if hidden else cited(store, folder)
        if names is None:
            continue
        for path in sorted(folder.rglob("*")):
            if path.is_dir() or path in names or path.name.startswith(".") or not age.over(path):
                continue
            yield Removable(
                kind="uncited file", path=path, size=size_of(path), why="no asset and no provenance names it"
            )


def _run_logs(store: Path, age: _Age) -> Iterator[Removable]:
    """What steps of old runs printed; events, materialisations and ticks are the run history and stay."""
    root = store / ".dagster" / "storage"
    for folder in sorted(root.iterdir()) if root.is_dir() else ():
        inside = [path.name for path in folder.iterdir()] if folder.is_dir() and not folder.is_symlink() else []
        if inside == ["compute_logs"] and age.over(folder):
            yield Removable(kind="run log", path=folder, size=size_of(folder), why="printed output of an old run")


def sizes(found: Collection[Removable]) -> Mapping[str, tuple[int, int]]:
    """Number of paths and bytes by kind, in the order of `Kind`; kinds without a path are left out."""
    totals: dict[str, tuple[int, int]] = {}
    for kind in get_args(Kind):
        of_kind = [each.size for each in found if each.kind == kind]
        if of_kind:
            totals[kind] = (len(of_kind), sum(of_kind))
    return totals


def remove(
    store: Path, found: Collection[Removable], forget: Callable[[Removable], None] = lambda each: None
) -> list[Removable]:
    """Remove paths and return those removed: each is first renamed into ``.trash``, which is then deleted.

    ``forget`` is told of each path before it goes, so that the run history never calls something fresh that is no
    more. A crash leaves at most paths in the trash, which the next call deletes. What vanished meanwhile is skipped.
    """
    trash = store / TRASH
    trash.mkdir(parents=True, exist_ok=True)
    removed = []
    for each in found:
        if not each.path.is_relative_to(store) or ".." in each.path.parts:
            raise ValueError(f"{each.path}: lies outside the store {store}; nothing there is removed")
        if not each.path.exists() and not each.path.is_symlink():
            continue
        forget(each)
        each.path.rename(Path(tempfile.mkdtemp(dir=trash)) / each.path.name)
        removed.append(each)
    shutil.rmtree(trash)
    return removed

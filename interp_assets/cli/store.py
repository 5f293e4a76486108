"""`interp store`: what lies in the store and may go, and making it go.

What belongs here: asking, printing, and keeping the run history true. What does not: what may go
(`interp_assets.operations.garbage`).
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interp_assets.settings import Folders

if TYPE_CHECKING:
    import dagster as dg

    from interp_assets.operations.garbage import Removable

UNITS = {"m": 60.0, "h": 3600.0, "d": 86400.0}
BUSY = 3


def add_store_commands(commands: Any) -> None:
    """Register ``interp store clean``."""
    store = commands.add_parser("store", help="what the store may drop").add_subparsers(required=True)
    clean = store.add_parser("clean", help="remove leftovers that no verdict, history or provenance cites")
    clean.add_argument("--dry-run", action="store_true", help="only say what would go; the default without --yes")
    clean.add_argument("--yes", action="store_true", help="remove it")
    clean.add_argument("--older-than", default="7d", metavar="AGE", help="such as 12h or 30d (default: %(default)s)")
    clean.set_defaults(run=_clean)


def seconds(age: str) -> float:
    """Seconds of an age such as ``30m``, ``12h`` or ``7d``.

    Raises
    ------
    ValueError
        When it is written otherwise.

    Examples
    --------
    >>> seconds("12h")
    43200.0
    """
    found = re.fullmatch(r"(\d{1,6})([mhd])", age)
    if found is None:
        raise ValueError(f"--older-than {age!r}: write a whole number and m, h or d, such as 12h or 7d")
    return int(found[1]) * UNITS[found[2]]


def _clean(options: argparse.Namespace) -> int:
    from interp_assets.evaluate import dagster_instance
    from interp_assets.layout import read_layout
    from interp_assets.operations.garbage import removable, remove, sizes

    folders = Folders.from_environment()
    age = seconds(options.older_than)
    if not folders.store.is_dir():
        print(f"{folders.store}: no store yet")
        return 0
    found = removable(folders.store, _present(folders), _now(folders.store), age)
    for each in found:
        print(f"{each.size / 1e6:10.1f} MB  {each.path.relative_to(folders.store)}  ({each.why})")
    for kind, (count, size) in sizes(found).items():
        print(f"{kind}: {count}, {size / 1e6:.1f} MB")
    if options.dry_run or not options.yes:
        print("nothing removed; add --yes to remove it" if found else "nothing to remove")
        return 0
    with dagster_instance(read_layout(folders)) as instance:
        if busy := _in_progress(instance):
            told = f"{len(busy)} run(s) in progress ({', '.join(busy[:3])})"
            print(f"{told}; wait, or end them in `interp ui`; nothing removed", file=sys.stderr)
            return BUSY
        removed = remove(folders.store, found, _forgetting(instance))
    print(f"removed {len(removed)}, {sum(each.size for each in removed) / 1e6:.1f} MB")
    return 0


def _present(folders: Folders) -> set[str]:
    """Names of all releases that are there in any state; of one that cannot be read, the name of its folder.

    Raises
    ------
    FileNotFoundError
        When there is no complete release: a disk that is not mounted must not make every release look gone.
    """
    from interp_assets.models.files.releases import find_releases

    listing = find_releases(folders.releases)
    if not listing.complete:
        raise FileNotFoundError(f"{folders.releases}: no complete release; is its disk mounted? nothing was removed")
    names = {release.name for release in listing.complete}
    folder_names = {path.name for path in folders.releases.iterdir()}
    return names | folder_names | _stated_names([*listing.refused, *listing.incoming])


def _stated_names(folders: Iterable[Path]) -> set[str]:
    """Names that the manifests of refused or incoming folders state, as far as these can be read."""
    from interp_assets.models.files.checkpoints import read_json
    from interp_assets.models.files.file_rules import ReleaseFileError
    from interp_assets.models.files.releases import MANIFEST, MANIFEST_LIMIT

    names = set()
    for folder in folders:
        try:
            content = read_json(folder / MANIFEST, limit=MANIFEST_LIMIT)
        except (ReleaseFileError, OSError):
            continue
        if isinstance(content, dict):
            names.add(str(content.get("name", "")))
    return names


def _now(store: Path) -> float:
    """Time by the clock that stamps files in the store, which on a network disk is another machine's.

    A store that cannot be written to stamps none; what may go is still listed, by this machine's clock.
    """
    try:
        with tempfile.NamedTemporaryFile(dir=store, prefix=".clock-") as probe:
            return Path(probe.name).stat().st_mtime
    except OSError:
        return time.time()


def _in_progress(instance: dg.DagsterInstance) -> list[str]:
    """Ids of runs that have begun or wait to begin; those of killed commands are ended."""
    import dagster as dg
    from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES

    from interp_assets.automation.launcher import end_lost_runs

    end_lost_runs(instance)
    found = instance.get_run_records(dg.RunsFilter(statuses=list(NOT_FINISHED_STATUSES)))
    return [record.dagster_run.run_id for record in found]


def _forgetting(instance: dg.DagsterInstance) -> Callable[[Removable], None]:
    """Hook that lets an evaluation compute removed attention again, should its release come back.

    The storage of events cannot forget one partition. So the last materialisation is repeated with its data version and
    a code version that nothing has: stale for whoever asks next, unchanged for everything made from it.
    """
    import dagster as dg

    from interp_assets.layout import grid_key
    from interp_assets.models.controls.catalogue import base_release

    def forget(each: Removable) -> None:
        if not each.release:
            return
        base = base_release(each.release)
        key = dg.AssetKey("attention" if base == each.release else ["random_weights", "attention"])
        partition = grid_key(release=base, dataset=each.dataset)
        records = instance.fetch_materializations(
            dg.AssetRecordsFilter(asset_key=key, asset_partitions=[partition]), limit=1
        ).records
        last = records[0].asset_materialization if records else None
        if last is None:
            return
        tags = {**(last.tags or {}), "dagster/code_version": "removed"}
        told = f"removed by `interp store clean`: {each.why}"
        instance.report_runless_asset_event(
            dg.AssetMaterialization(key, description=told, partition=partition, tags=tags)
        )

    return forget

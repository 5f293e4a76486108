"""`interp releases watch`: look at every declared source once or again and again, in the terminal."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interp_assets.settings import Folders

if TYPE_CHECKING:
    from interp_assets.discovery.sources import Source
    from interp_assets.discovery.watch import Look

WATCH_HELP = """Looks at the releases folder and at every source that platform.yaml declares, fetches what is new and
says what was found, skipped and why. A source that does not answer is skipped and ends nothing; the exit code is then
still 0. The first look also tries what was refused or given up before. Judging is left to the daemon or to
`interp evaluate`."""


def add_watch_command(releases: Any) -> None:
    """Register ``interp releases watch``."""
    watch = releases.add_parser(
        "watch", help="look at the declared sources and fetch new releases", description=WATCH_HELP
    )
    pace = watch.add_mutually_exclusive_group()
    pace.add_argument("--once", action="store_true", help="one look, then end; the default")
    pace.add_argument("--every", metavar="SPAN", help="look again and again, such as every 10m; end with Ctrl-C")
    watch.set_defaults(run=_watch)


def _watch(options: argparse.Namespace) -> int:
    from interp_assets.discovery.sources import read_sources, seconds

    folders = Folders.from_environment()
    pace = seconds(options.every) if options.every else 0
    again = True
    try:
        while True:
            sources = read_sources(folders)
            _one_round(sources, folders.releases, again)
            if not pace:
                return 0
            again = False  # a release that breaks a rule is not fetched every ten minutes
            time.sleep(pace)
    except KeyboardInterrupt:
        print("ended; what was being fetched goes on at the next look")
        return 0


def _one_round(sources: Sequence[Source], releases: Path, again: bool) -> None:
    from interp_assets.discovery.watch import look_at

    fetched = []
    for source in sources:
        print(f"{source.key}: {source.told}", flush=True)
        look = look_at(source, releases, again=again, say=lambda text: print(f"  {text}", flush=True))
        for line in look_lines(look):
            print(f"  {line}", flush=True)
        fetched += [entry.name for entry in look.having("fetched")]
    for line in folder_lines(releases):
        print(line)
    if not sources:
        print("no sources are declared beside the releases folder; see docs/releases.md")
    for name in fetched:
        print(f"next: interp evaluate --study demo --release {name}  (a running daemon does it by itself)")


def look_lines(look: Look) -> Iterable[str]:
    """One line a finding, and why the look ended early if it did."""
    for entry in look.found:
        listed = entry.finding.listed
        place = f"{listed.place}@{listed.commit[:12]}" if listed.commit else listed.place
        became = f" as release {entry.name}" if entry.word == "fetched" else ""
        yield f"{entry.word:<10} {place}{became}: {entry.reason}"
    if look.skipped:
        yield f"{'skipped':<10} {look.skipped}; what was settled before is kept"
    elif not look.found:
        yield f"{'nothing':<10} no release folder is there"


def folder_lines(releases: Path) -> Iterable[str]:
    """What the releases folder holds, with the reason of everything that is no complete release."""
    from interp_assets.models.files.releases import find_releases

    scan = find_releases(releases)
    yield f"releases: {len(scan.complete)} complete in {releases}"
    for word, folders in (("incoming", scan.incoming), ("refused", scan.refused)):
        for path, reason in folders.items():
            yield f"  {word:<10} {path.name}: {' '.join(reason.split())}"

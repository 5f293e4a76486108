"""Run the calibration and write its page: ``python -m interp_assets.calibration``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from interp_assets.settings import PROJECT, Folders


def main(arguments: list[str] | None = None) -> int:
    """Make the seeds that are not there yet, then the page and its figures; exit code 0."""
    from interp_assets.calibration.design import DESIGNS
    from interp_assets.calibration.run import calibrate, design_named, results_folder

    folders = Folders.from_environment()
    parser = argparse.ArgumentParser(prog="python -m interp_assets.calibration", description=main.__doc__)
    parser.add_argument("--seeds", type=int, default=300, help="seeds of the noise worlds")
    parser.add_argument("--power-seeds", type=int, default=60, help="seeds of every planted strength")
    parser.add_argument("--matched-seeds", type=int, default=100, help="seeds of the matched pairs (the dearest test)")
    parser.add_argument("--processes", type=int, default=1, help="worker processes")
    parser.add_argument("--design", choices=sorted(DESIGNS), default="small", help="size of the worlds")
    parser.add_argument("--out", type=Path, default=folders.store / "calibration", help="folder of the results")
    parser.add_argument("--wheels", type=Path, default=folders.wheels, help="folder of the data wheels")
    parser.add_argument("--page", type=Path, default=PROJECT / "docs" / "calibration.md", help="page to write")
    parser.add_argument("--results", type=Path, help="run nothing, write the page from this results folder")
    given = parser.parse_args(arguments)
    folder = given.results
    if folder is None:
        design = design_named(given.design)
        folder = results_folder(given.out, design)
        seeds = {"noise": given.seeds, "power": given.power_seeds, "matched": given.matched_seeds}
        calibrate(folder, design, seeds, given.wheels, processes=given.processes)
    from interp_assets.calibration.page import write_page

    for path in write_page(folder, given.page):
        sys.stdout.write(f"{path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

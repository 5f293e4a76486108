"""`interp ui`, `interp doctor` and `interp export`: running the platform and taking results out of it."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from interp_assets.settings import Folders


def add_operation_commands(commands: Any) -> None:
    """Register ``interp export``, ``interp ui`` and ``interp doctor``."""
    export = commands.add_parser("export", help="write stored results as a page").add_subparsers(required=True)
    screens = export.add_parser("screens", help="scores, reach and checks of every screen of a study, as Markdown")
    screens.add_argument("--study", default="bench")
    screens.add_argument("--to", type=Path, help="file to write; default: print")
    screens.set_defaults(run=_export_screens)

    ui = commands.add_parser("ui", help="open the asset graph in the Dagster UI, with its daemon")
    ui.add_argument("--host", default="127.0.0.1")
    ui.add_argument("--port", default="3000")
    ui.set_defaults(run=_ui)

    commands.add_parser("doctor", help="what this machine has and what is missing").set_defaults(run=_doctor)


def _export_screens(options: argparse.Namespace) -> int:
    from interp_assets.models.controls.catalogue import is_control
    from interp_assets.report.screens import read_screens, screens_page
    from interp_assets.storage import write_text

    store = Folders.from_environment().store
    folders = sorted(path.name for path in (store / options.study).glob("*") if path.is_dir())
    results = read_screens(store, options.study, [name for name in folders if not is_control(name)])
    if not results.releases:
        first = f"run `interp evaluate --study {options.study}` first"
        raise FileNotFoundError(f"{store / options.study}: no release has screen tables; {first}")
    page = screens_page(results, f"interp export screens --study {options.study}")
    if options.to is None:
        print(page, end="")
    else:
        write_text(options.to, page)
    return 0


def _ui(options: argparse.Namespace) -> int:
    from interp_assets.evaluate import dagster_instance
    from interp_assets.layout import read_layout
    from interp_assets.settings import PROJECT

    layout = read_layout()
    with dagster_instance(layout):
        pass
    os.environ["DAGSTER_HOME"] = str(layout.folders.dagster_home)
    os.environ["INTERP_STORE"] = str(layout.folders.store)
    os.chdir(PROJECT)
    dagster = str(Path(sys.executable).with_name("dagster"))
    command = [dagster, "dev", "-w", "workspace.yaml", "--host", options.host, "--port", options.port]
    print(f"asset graph on http://{options.host}:{options.port} (stop with Ctrl-C)", flush=True)
    os.execv(dagster, command)  # noqa: S606 (the process becomes the server, so that signals reach it)


def _doctor(options: argparse.Namespace) -> int:
    import importlib.util
    import shutil

    from interp_assets.models.files.releases import find_releases

    folders = Folders.from_environment()
    mirror = os.environ.get("INTERP_DATA_MIRROR")
    wheels = sorted(path.name for path in folders.wheels.glob("*.whl")) if folders.wheels.is_dir() else []
    rows = {
        "store": f"{folders.store} ({'exists' if folders.store.is_dir() else 'made on first use'})",
        "releases": f"{len(find_releases(folders.releases).complete)} complete in {folders.releases}",
        "data wheels": ", ".join(wheels) or f"none in {folders.wheels}; `make setup` fetches them",
        "data mirror": mirror or "not set (INTERP_DATA_MIRROR); studies on real screens will say what is missing",
        "chromium": shutil.which("chromium") or "not found; only screenshots and browser tests need it",
        "torch": "installed" if importlib.util.find_spec("torch") else "missing; install the [platform] extra",
    }
    for name, value in rows.items():
        print(f"{name:<12} {value}")
    return 0

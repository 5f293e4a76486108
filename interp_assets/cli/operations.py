"""`interp ui`, `interp doctor`, `interp store`, `interp export`: running the platform, taking results out."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interp_assets.cli.doctor import add_doctor_command
from interp_assets.cli.store import add_store_commands
from interp_assets.settings import Folders

if TYPE_CHECKING:
    from interp_assets.operations.crate import DataSource


def add_operation_commands(commands: Any) -> None:
    """Register ``interp export``, ``interp store``, ``interp ui`` and ``interp doctor``."""
    export = commands.add_parser("export", help="write stored results as a page or as one file").add_subparsers(
        required=True
    )
    screens = export.add_parser("screens", help="scores, reach and checks of every screen of a study, as Markdown")
    screens.add_argument("--study", default="bench")
    screens.add_argument("--to", type=Path, help="file to write; default: print")
    screens.set_defaults(run=_export_screens)
    release = export.add_parser("release", help="results of one release as an RO-Crate zip that `qc-gate check` judges")
    release.add_argument("name")
    release.add_argument("--study", action="append", default=[], help="default: every study; may be repeated")
    release.add_argument("--to", type=Path, required=True, metavar="FILE.zip")
    release.set_defaults(run=_export_release)

    add_store_commands(commands)

    ui = commands.add_parser("ui", help="open the asset graph in the Dagster UI, with its daemon")
    ui.add_argument("--host", default="127.0.0.1")
    ui.add_argument("--port", default="3000")
    ui.set_defaults(run=_ui)

    add_doctor_command(commands)


def _export_screens(options: argparse.Namespace) -> int:
    from interp_assets.models.controls.catalogue import is_control
    from interp_assets.models.files.releases import usable_name
    from interp_assets.report.screens import read_screens, screens_page
    from interp_assets.storage import write_text

    if not usable_name(options.study):
        raise ValueError(f"{options.study!r:.80} is no name of a study; `interp studies list` names them")
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


def _export_release(options: argparse.Namespace) -> int:
    from interp_assets.operations.crate import accepted, exportable, write_crate

    folders = exportable(Folders.from_environment().store, options.name, options.study)
    judged = [accepted(folder, _data_sources(folder.parent.name)) for folder in folders]
    path = write_crate(options.to, options.name, judged)
    studies = ", ".join(each.study for each in judged)
    print(
        f"{path}: {options.name} in {studies}, {path.stat().st_size / 1e6:.1f} MB; check it with `qc-gate check {path}`"
    )
    return 0


def _data_sources(study: str) -> list[DataSource]:
    """Datasets that a study of this deployment uses; none where it does not know the study."""
    from interp_assets.layout import read_layout
    from interp_assets.operations.crate import DataSource

    layout = read_layout()
    if study not in layout.studies:
        return []
    names = sorted({file for dataset in layout.used_by(study) for file in (dataset, *layout.files_behind(dataset))})
    specs = {name: layout.datasets[name] for name in names}
    return [DataSource(name=name, title=spec.title, licence=spec.licence) for name, spec in specs.items()]


def _ui(options: argparse.Namespace) -> int:
    from interp_assets.evaluate import dagster_instance
    from interp_assets.layout import read_layout
    from interp_assets.settings import PROJECT

    layout = read_layout()
    with dagster_instance(layout):
        pass
    os.environ["DAGSTER_HOME"] = str(layout.folders.dagster_home)
    os.environ["INTERP_STORE"] = str(layout.folders.store)
    # Hundreds of releases take longer to look through than Dagster's 60 s (docs/scaling.md); a person's choice counts.
    os.environ.setdefault("DAGSTER_SENSOR_GRPC_TIMEOUT_SECONDS", "300")
    os.chdir(PROJECT)
    dagster = str(Path(sys.executable).with_name("dagster"))
    command = [dagster, "dev", "-w", "workspace.yaml", "--host", options.host, "--port", options.port]
    print(f"asset graph on http://{options.host}:{options.port} (stop with Ctrl-C)", flush=True)
    os.execv(dagster, command)  # noqa: S606 (the process becomes the server, so that signals reach it)

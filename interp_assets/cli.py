"""`interp`: evaluate releases, look at what is declared, open the asset graph."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from interp_assets.cli_releases import add_release_commands
from interp_assets.settings import Folders, SettingsError

if TYPE_CHECKING:
    from rich.console import Console

    from interp_assets.evaluate import Evaluator
    from interp_assets.layout import Layout


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; an error a person can mend ends with one line and exit code 2."""
    os.environ.setdefault("DAGSTER_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "False")
    options = _parser().parse_args(arguments)
    if options.config_dir:
        os.environ["INTERP_CONFIG_DIR"] = str(options.config_dir)
    try:
        return int(options.run(options))
    except (ValueError, RuntimeError, FileNotFoundError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="interp", description=__doc__)
    parser.add_argument("--config-dir", type=Path, help="folder with your own datasets/*.yaml and studies/*.yaml")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    evaluate = commands.add_parser("evaluate", help="judge releases in a study and print the verdict table")
    evaluate.add_argument("--study", default="demo")
    evaluate.add_argument("--release", action="append", help="default: every complete release; may be repeated")
    evaluate.add_argument("--jobs", type=int, help="processes side by side; default: 2, or 1 beside a GPU")
    evaluate.set_defaults(run=_evaluate)

    analysis = commands.add_parser("analysis", help="run one analysis again and print its rows, or explain it")
    analysis.add_argument("number", help="1 to 37, or E1 to E9")
    analysis.add_argument("--study", default="demo")
    analysis.add_argument("--release", help="default: the first complete release")
    analysis.add_argument("--explain", action="store_true", help="question, method, formula, null, traps, source")
    analysis.set_defaults(run=_analysis)

    add_release_commands(commands)

    studies = commands.add_parser("studies", help="list, check or plan studies").add_subparsers(required=True)
    studies.add_parser("list", help="studies and the datasets of their roles").set_defaults(run=_list_studies)
    check_study = studies.add_parser("check", help="validate a study file")
    check_study.add_argument("file", type=Path)
    check_study.set_defaults(run=_check_study)
    plan = studies.add_parser("plan", help="what a study would fetch and compute; nothing is fetched or computed")
    plan.add_argument("name")
    plan.add_argument("--json", action="store_true", help="print the plan as JSON")
    plan.set_defaults(run=_plan_study)

    datasets = commands.add_parser("datasets", help="list, check or unlock datasets").add_subparsers(required=True)
    datasets.add_parser("list", help="declared datasets and whether their files are here").set_defaults(
        run=_list_datasets
    )
    check_dataset = datasets.add_parser("check", help="validate a dataset file and prepare what it describes")
    check_dataset.add_argument("file", type=Path)
    check_dataset.set_defaults(run=_check_dataset)
    unlock = datasets.add_parser("unlock", help="forget the hash of a file that was trusted when it first came")
    unlock.add_argument("name")
    unlock.set_defaults(run=_unlock_dataset)

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
    return parser


def _chosen(options: argparse.Namespace, releases: Sequence[str]) -> tuple[Layout, list[str]]:
    """Layout, and the releases asked for or all complete ones; an unknown study or no release is an error."""
    from interp_assets.layout import read_layout
    from interp_assets.models.releases import find_releases
    from interp_assets.models.sourcing import release_card
    from interp_assets.planning import request_study

    request_study(options.study)
    layout = read_layout()
    if options.study not in layout.studies:
        raise SettingsError(f"unknown study {options.study}; known: {', '.join(layout.studies)}")
    found = list(releases) or [release.name for release in find_releases(layout.folders.releases).complete]
    if not found:
        raise FileNotFoundError(f"no complete release in {layout.folders.releases}; `interp releases list` says why")
    for name in releases:  # before anything is registered under a name that nothing answers to
        release_card(name, layout.folders)
    return layout, found


def _evaluate(options: argparse.Namespace) -> int:
    layout, releases = _chosen(options, options.release or ())
    from interp_assets.parallel import default_jobs

    return _judge(layout, options.study, releases, default_jobs() if options.jobs is None else options.jobs)


def quiet_dagster() -> None:
    """Keep Dagster's own log and its notes on preview features off the terminal; the run history holds them."""
    import logging
    import warnings

    import dagster as dg

    for category in (dg.PreviewWarning, dg.BetaWarning, dg.SupersessionWarning):
        warnings.simplefilter("ignore", category)
    logging.getLogger("dagster").setLevel(logging.ERROR)


@contextmanager
def _evaluator(layout: Layout, started: float) -> Iterator[tuple[Evaluator, Console]]:
    """Evaluator over the deployment, and the console it tells its stages on; Dagster's own log is quiet."""
    from rich.console import Console

    from interp_assets.definitions import build_definitions
    from interp_assets.evaluate import Evaluator, dagster_instance
    from interp_assets.parallel import told

    quiet_dagster()
    console = Console()
    os.environ["DAGSTER_HOME"] = str(layout.folders.dagster_home)
    with dagster_instance(layout) as instance:
        evaluator = Evaluator(build_definitions(layout), layout, instance)
        evaluator.progress.before = lambda title: console.print(told(started, title), highlight=False)
        yield evaluator, console


def _analysis(options: argparse.Namespace) -> int:
    """Explain an analysis, or run it again whatever is stored and print its rows."""
    from interp_assets.analyses.catalogue import labelled

    entry = labelled(options.number)
    if options.explain:
        from interp_assets.analyses.page import explanation

        print(explanation(options.number))
        return 0
    from interp_assets.report.terminal import print_rows

    layout, releases = _chosen(options, [options.release] if options.release else ())
    with _evaluator(layout, time.time()) as (evaluator, console):
        results = evaluator.rerun(options.study, releases[0], entry)
        print_rows(console, f"Analysis {entry.label} of {releases[0]} in {options.study}: {entry.title}", results)
    return 0


def _judge(layout: Layout, study: str, releases: Sequence[str], jobs: int) -> int:
    """Run the evaluation and print the verdict table."""
    from interp_assets.parallel import models_at_once, worker_pool
    from interp_assets.report.stored import print_summary

    started = time.time()
    with _evaluator(layout, started) as (evaluator, console), worker_pool(jobs, started) as beside:
        models_at_once(evaluator.instance, jobs)
        progress = evaluator.evaluate(study, releases, beside)
    console.print(f"{len(progress.steps)} step(s) run" if progress.steps else "nothing to recompute: all is fresh")
    print_summary(console, layout.folders.store, study, releases)
    return 0


def _export_screens(options: argparse.Namespace) -> int:
    from interp_assets.models.controls import is_control
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


def _list_studies(options: argparse.Namespace) -> int:
    from interp_assets.settings import load_study, study_files

    for path in study_files(Folders.from_environment().config).values():
        study = load_study(path)
        print(f"{study.name}: {study.title}")
        for role, filling in study.roles.items():
            print(f"  {role}: {filling.dataset} ({filling.role_fit})")
    return 0


def _plan_study(options: argparse.Namespace) -> int:
    from rich.console import Console

    from interp_assets.planning import plan
    from interp_assets.planning_terminal import print_plan

    found = plan(options.name, Folders.from_environment())
    if options.json:
        print(found.as_json())
    else:
        print_plan(Console(), found)
    return 0


def _check_study(options: argparse.Namespace) -> int:
    from interp_assets.cells.datasets import load_datasets
    from interp_assets.layout import check_kinds
    from interp_assets.settings import load_study

    datasets = load_datasets(Folders.from_environment().config)
    study = load_study(options.file, frozenset(datasets))
    check_kinds(study, datasets)
    print(f"{options.file}: valid; {len(study.roles)} roles, {len(study.datasets)} datasets")
    return 0


def _list_datasets(options: argparse.Namespace) -> int:
    from dataclasses import replace

    from interp_assets.assets.datasets import archive
    from interp_assets.cells.artefacts import raw_file
    from interp_assets.cells.records import Unavailable
    from interp_assets.layout import read_layout

    layout = read_layout()
    shelf = archive(layout)
    shelf = replace(shelf, context=replace(shelf.context, allow_download=False))  # a list fetches nothing
    for name, spec in sorted(layout.datasets.items()):
        if not spec.sources:
            print(f"derived    {name}  {spec.data_origin}  from {spec.base}")
            continue
        found = raw_file(shelf, name)
        state = (
            f"absent     {name}  {found.reason}"
            if isinstance(found, Unavailable)
            else (f"available  {name}  {spec.data_origin}  {found.origin}")
        )
        print(state)
    return 0


def _unlock_dataset(options: argparse.Namespace) -> int:
    from interp_assets.cells.datasets import dataset, load_datasets
    from interp_assets.cells.sources import source_context, unlock

    folders = Folders.from_environment()
    spec = dataset(load_datasets(folders.config), options.name, "interp datasets unlock")
    freed = unlock(spec, source_context(folders.store, wheels=folders.wheels))
    print("\n".join(f"unlocked {key}" for key in freed) or f"{spec.id}: no file of it is locked")
    return 0


def _check_dataset(options: argparse.Namespace) -> int:
    from dataclasses import replace

    from interp_assets.assets.datasets import archive
    from interp_assets.cells import artefacts
    from interp_assets.cells.datasets import check_references, load_dataset
    from interp_assets.cells.records import Unavailable
    from interp_assets.layout import read_layout

    layout = read_layout()
    spec = load_dataset(options.file)
    shelf = replace(archive(layout), datasets={**layout.datasets, spec.id: spec})
    check_references(spec, shelf.datasets)
    if spec.kind not in ("cells", "planted", "outcome_only", "simulated"):
        held = artefacts.contents(shelf, spec.id)
        told = f"absent: {held.reason}" if isinstance(held, Unavailable) else f"verified, {held}"
        print(f"{options.file}: valid; file {told}")
        return 0
    cells = artefacts.prepared_cells(shelf, spec.id)
    if isinstance(cells, Unavailable):
        print(f"{options.file}: valid, but its data are absent: {cells.reason}")
        return 0
    labels = artefacts.screen_outcomes(shelf, spec.id, cells)
    outcome = labels.reason if isinstance(labels, Unavailable) else f"{len(labels.perturbations)} tested"
    print(
        f"{options.file}: valid; {cells.counts.shape[0]} cells ({int(cells.control.sum())} control), "
        f"{len(cells.universe)} scored genes, cells hash {cells.cells_hash}; perturbations: {outcome}"
    )
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

    from interp_assets.models.releases import find_releases

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

"""`interp studies` and `interp datasets`: list, check, plan, unlock what is declared."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from interp_assets.settings import Folders


def add_study_commands(commands: Any) -> None:
    """Register ``interp studies`` and its commands."""
    studies = commands.add_parser("studies", help="list, check or plan studies").add_subparsers(required=True)
    studies.add_parser("list", help="studies and the datasets of their roles").set_defaults(run=_list_studies)
    check_study = studies.add_parser("check", help="validate a study file")
    check_study.add_argument("file", type=Path)
    check_study.set_defaults(run=_check_study)
    plan = studies.add_parser("plan", help="what a study would fetch and compute; nothing is fetched or computed")
    plan.add_argument("name")
    plan.add_argument("--json", action="store_true", help="print the plan as JSON")
    plan.set_defaults(run=_plan_study)


def add_dataset_commands(commands: Any) -> None:
    """Register ``interp datasets`` and its commands."""
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

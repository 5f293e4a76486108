"""Small releases: trained here on real pancreas cells, written as ordinary release folders of their family.

``python -m interp_assets.models.small --family F --steps N --out releases/<F>-small-<n>k`` makes one. They exist
so that a first run has a real transformer that learned something; they say nothing about published models.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

from interp_assets.cells.panels import read_panel
from interp_assets.models.files.written_folders import json_bytes
from interp_assets.models.small.cells import CELLS_DATASET, DonorCells, baron_cells, training_and_held_out
from interp_assets.models.small.geneformer import MaskedGenes
from interp_assets.models.small.scgpt import MaskedValues, ValueTrainingSettings
from interp_assets.models.small.training import Task, Trained, TrainingSettings, train

MANIFEST = "release.json"
VOCABULARY_PANEL = "small_vocabulary"


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How the releases of one family are trained: the task, its settings, and the step counts of those that ship."""

    task: type[Task]
    settings: type[TrainingSettings]
    shipped_steps: tuple[int, ...]


LAYOUTS = {
    layout.task.family: layout
    for layout in (
        Layout(task=MaskedGenes, settings=TrainingSettings, shipped_steps=(2000, 4000)),
        Layout(task=MaskedValues, settings=ValueTrainingSettings, shipped_steps=(2000,)),
    )
}


def make_release(
    out: Path,
    task: type[Task],
    settings: TrainingSettings,
    cells: DonorCells,
    genes: list[str],
    *,
    replace: bool = False,
    progress: bool = True,
) -> dict[str, Any]:
    """Train a small model, write its release folder, and return the manifest.

    Everything fitted uses every donor but the held-out one. The folder appears complete or not at all: it
    is written under a hidden name beside ``out`` and renamed. With ``replace`` an existing folder stays until
    the new one is complete.

    Raises
    ------
    ValueError
        If ``out`` exists and ``replace`` is not set, a gene of the vocabulary is not measured, or training diverges.
    """
    if out.exists() and not replace:
        raise ValueError(f"{out}: exists already; name another folder, or ask for it to be replaced (--replace)")
    training, held_out = training_and_held_out(cells)
    given = task.of_donors(training, held_out, genes, settings)
    trained = train(given, progress=progress)
    return write_release(out, given, trained, genes, training_facts(given, trained, training, held_out))


def training_facts(task: Task, trained: Trained, training: DonorCells, held_out: DonorCells) -> dict[str, Any]:
    """What the manifest says about training: data, seed, budget, losses, versions. No times."""
    loss, settings = trained.held_out, task.settings
    return {
        "trained_on": [CELLS_DATASET],
        "data": training.data,
        "data_sha256": training.data_sha256,
        "cells_sha256": training.cells_sha256,
        "cells": int(training.names.size),
        "donors": sorted(set(training.donors.tolist())),
        "held_out_donor": sorted(set(held_out.donors.tolist())),
        "held_out_cells": loss.cells,
        "seed": settings.seed,
        "steps": settings.steps,
        "held_out_loss": round(loss.model, 4),
        "baseline": round(loss.baseline, 4),
        "gap": round(loss.gap, 4),
        "baselines": {name: round(value, 4) for name, value in loss.baselines.items()},
        "loss_unit": task.loss_unit,
        "masked_positions": loss.masked_positions,
        "settings": asdict(settings),
        "training_curve": [[step, round(value, 4)] for step, value in trained.training_curve],
        "held_out_curve": [[step, genes, round(value, 4)] for step, genes, value in trained.held_out_curve],
        "repeats": "same bytes on the same processor type with these versions and this thread count",
        "versions": {name: version(name) for name in task.libraries} | {"python": platform.python_version()},
        "machine": platform.machine(),
    }


def write_release(
    out: Path, task: Task, trained: Trained, genes: list[str], facts: Mapping[str, Any]
) -> dict[str, Any]:
    """Write the family's files and, last, the manifest; return the manifest."""
    scratch = out.with_name(f".incoming-{out.name}")
    if scratch.exists():
        shutil.rmtree(scratch)
    scratch.mkdir(parents=True)
    task.write(trained.model, genes, scratch)
    for path in scratch.iterdir():
        path.chmod(0o644)  # safetensors writes for the owner only
    manifest: dict[str, Any] = {
        "name": out.name,
        "family": task.family,
        "adapter": task.family,
        "kind": "release",
        "source": "trained in this repository by `make train-small` (python -m interp_assets.models.small)",
        "licence": "Apache-2.0; trained on cells of Baron et al. 2016 (GEO GSE84133) from an MIT package",
        "gene_key": "symbol",
        "note": "A small model for first runs and tests; its results say nothing about large models.",
        "files": [_listed(path) for path in sorted(scratch.iterdir())],
        "training": dict(facts),
    }
    (scratch / MANIFEST).write_bytes(json_bytes(manifest))
    if out.exists():
        shutil.rmtree(out)
    scratch.rename(out)
    return manifest


def _listed(path: Path) -> dict[str, Any]:
    return {"path": path.name, "size": path.stat().st_size, "sha256": sha256(path.read_bytes()).hexdigest()}


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0 once the release folders are complete; 2 with the reason if one cannot be made."""
    parser = argparse.ArgumentParser(description="Train small releases; without --steps and --out, the shipped ones.")
    parser.add_argument(
        "--family", choices=sorted(LAYOUTS), help="only this family; with --steps, geneformer if absent"
    )
    parser.add_argument("--steps", type=int, help="training steps: the whole budget")
    parser.add_argument("--out", type=Path, help="release folder to write")
    parser.add_argument("--folder", type=Path, default=Path("releases"), help="where the shipped ones go")
    parser.add_argument("--replace", action="store_true", help="take the place of an existing folder")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1, help="torch threads; part of what repeats")
    parser.add_argument("--wheels", type=Path, default=Path(os.environ.get("INTERP_DATA_WHEELS") or "data-wheels"))
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    options = parser.parse_args(arguments)
    if (options.steps is None) != (options.out is None):
        parser.error("--steps and --out go together")
    if options.out:
        wanted = [(LAYOUTS[options.family or MaskedGenes.family], options.out, options.steps)]
    else:
        wanted = _shipped(options.folder, options.family)
    try:
        cells, genes = baron_cells(options.wheels), list(read_panel(VOCABULARY_PANEL))
        for layout, out, steps in wanted:
            manifest = make_release(
                out,
                layout.task,
                layout.settings(steps=steps, seed=options.seed, threads=options.threads),
                cells,
                genes,
                replace=options.replace,
                progress=not options.quiet,
            )
            sys.stdout.write(f"{out}: {_quality(manifest)}\n")
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def _shipped(folder: Path, family: str | None) -> list[tuple[Layout, Path, int]]:
    """Layout, folder and steps of every shipped release, or of those of one family."""
    return [
        (layout, folder / f"{name}-small-{steps // 1000}k", steps)
        for name, layout in LAYOUTS.items()
        if family in (None, name)
        for steps in layout.shipped_steps
    ]


def _quality(manifest: Mapping[str, Any]) -> str:
    training = manifest["training"]
    return (
        f"held-out loss {training['held_out_loss']:.3f}, "
        f"{training['gap']:.3f} below the best baseline {training['baseline']:.3f}"
    )

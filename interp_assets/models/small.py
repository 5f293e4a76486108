"""Small Geneformer-layout releases: trained here on real pancreas cells, written as ordinary release folders.

``python -m interp_assets.models.small --steps N --out releases/geneformer-small-<n>k`` makes one. They exist
so that a first run has a real transformer that learned something; they say nothing about published models.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
from collections.abc import Mapping
from dataclasses import asdict
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from interp_assets.cells.panels import read_panel
from interp_assets.models.rank_value import fit_medians
from interp_assets.models.small_batches import FIRST_GENE, SPECIAL_TOKENS, EncodedCells
from interp_assets.models.small_cells import CELLS_DATASET, DonorCells, baron_cells, training_and_held_out
from interp_assets.models.small_training import Trained, TrainingSettings, train

VOCABULARY_PANEL = "small_vocabulary"
MANIFEST = "release.json"
SHIPPED_STEPS = (2000, 4000)
LIBRARIES = ("numpy", "scipy", "torch", "transformers", "safetensors")


def make_release(
    out: Path,
    settings: TrainingSettings,
    cells: DonorCells,
    genes: list[str],
    *,
    replace: bool = False,
    progress: bool = True,
) -> dict[str, Any]:
    """Train a small model, write its release folder, and return the manifest.

    Medians and training use every donor but the held-out one. The folder appears complete or not at all: it
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
    vocabulary = _columns(cells, genes)
    totals = np.asarray(training.counts.sum(axis=1), dtype=np.float64).ravel()
    medians = fit_medians(training.counts, totals, vocabulary)
    trained = train(
        EncodedCells(counts=training.counts[:, vocabulary], medians=medians),
        EncodedCells(counts=held_out.counts[:, vocabulary], medians=medians),
        settings,
        progress=progress,
    )
    facts = training_facts(trained, settings, training, held_out)
    return write_release(out, trained, genes, dict(zip(genes, medians.tolist(), strict=True)), facts)


def training_facts(
    trained: Trained, settings: TrainingSettings, training: DonorCells, held_out: DonorCells
) -> dict[str, Any]:
    """What the manifest says about training: data, seed, budget, losses, versions. No times."""
    loss = trained.held_out
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
        "loss_unit": "nats per masked position, every masked gene shown as <mask>",
        "masked_positions": loss.masked_positions,
        "settings": asdict(settings),
        "training_curve": [[step, round(value, 4)] for step, value in trained.training_curve],
        "held_out_curve": [[step, genes, round(value, 4)] for step, genes, value in trained.held_out_curve],
        "repeats": "same bytes on the same processor type with these versions and this thread count",
        "versions": {name: version(name) for name in LIBRARIES} | {"python": platform.python_version()},
        "machine": platform.machine(),
    }


def write_release(
    out: Path, trained: Trained, genes: list[str], medians: Mapping[str, float], facts: Mapping[str, Any]
) -> dict[str, Any]:
    """Write weights, configuration, JSON dictionaries and, last, the manifest; return the manifest."""
    scratch = out.with_name(f".incoming-{out.name}")
    if scratch.exists():
        shutil.rmtree(scratch)
    scratch.mkdir(parents=True)
    trained.model.save_pretrained(scratch)
    tokens = SPECIAL_TOKENS | {gene: FIRST_GENE + i for i, gene in enumerate(genes)}
    _write_json(scratch / "token_dictionary.json", tokens)
    _write_json(scratch / "gene_median_dictionary.json", dict(medians))
    for path in scratch.iterdir():
        path.chmod(0o644)  # safetensors writes for the owner only
    manifest: dict[str, Any] = {
        "name": out.name,
        "family": "geneformer",
        "adapter": "geneformer",
        "kind": "release",
        "source": "trained in this repository by `make train-small` (python -m interp_assets.models.small)",
        "licence": "Apache-2.0; trained on cells of Baron et al. 2016 (GEO GSE84133) from an MIT package",
        "gene_key": "symbol",
        "note": "A small model for first runs and tests; its results say nothing about large models.",
        "files": [_listed(path) for path in sorted(scratch.iterdir())],
        "training": dict(facts),
    }
    _write_json(scratch / MANIFEST, manifest)
    if out.exists():
        shutil.rmtree(out)
    scratch.rename(out)
    return manifest


def _columns(cells: DonorCells, genes: list[str]) -> np.ndarray[Any, np.dtype[np.int32]]:
    where = {gene: i for i, gene in enumerate(cells.genes.tolist())}
    unknown = [gene for gene in genes if gene not in where]
    if unknown:
        raise ValueError(f"vocabulary genes {unknown[:10]} ({len(unknown)}) are not measured in the cells")
    return np.array([where[gene] for gene in genes], dtype=np.int32)


def _listed(path: Path) -> dict[str, Any]:
    return {"path": path.name, "size": path.stat().st_size, "sha256": sha256(path.read_bytes()).hexdigest()}


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1, ensure_ascii=True) + "\n", encoding="utf-8")


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0 once the release folders are complete; 2 with the reason if one cannot be made."""
    parser = argparse.ArgumentParser(
        description="Train small Geneformer-layout releases; without --steps and --out, the shipped ones."
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
    wanted = {options.out: options.steps} if options.out else _shipped(options.folder)
    try:
        cells, genes = baron_cells(options.wheels), list(read_panel(VOCABULARY_PANEL))
        for out, steps in wanted.items():
            settings = TrainingSettings(steps=steps, seed=options.seed, threads=options.threads)
            manifest = make_release(out, settings, cells, genes, replace=options.replace, progress=not options.quiet)
            sys.stdout.write(f"{out}: {_quality(manifest)}\n")
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def _shipped(folder: Path) -> dict[Path, int]:
    return {folder / f"geneformer-small-{steps // 1000}k": steps for steps in SHIPPED_STEPS}


def _quality(manifest: Mapping[str, Any]) -> str:
    training = manifest["training"]
    return (
        f"held-out loss {training['held_out_loss']:.3f}, "
        f"{training['gap']:.3f} below the best baseline {training['baseline']:.3f}"
    )


if __name__ == "__main__":
    sys.exit(main())

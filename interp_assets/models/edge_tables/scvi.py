"""Edge tables from scVI, trained here on the control cells of a dataset.

``python -m interp_assets.models.edge_tables.scvi --dataset D --out releases/scvi-D`` makes one. scVI has no attention
between genes; what it learns of a gene is a vector, and the score of a pair is minus the Euclidean distance of the two
vectors. The score has no direction: ``A -> B`` and ``B -> A`` get the same number.

Two rules say what the vector of a gene is. ``decoder``: its row of the weight of the decoder's output layer
(``px_scale_decoder``, as wide as the hidden layer). ``loadings``: its row of `LinearSCVI.get_loadings` (as long as the
latent space). Lopez et al. 2018 (scVI), Svensson et al. 2020 (linear decoder). Needs the extra ``scvi``.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import logging
import math
import platform
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict, dataclass
from importlib.metadata import version
from io import BytesIO, StringIO
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interp_assets.cells.artefacts import Archive, prepared_cells
from interp_assets.cells.datasets import dataset, load_datasets
from interp_assets.cells.records import PreparedCells, Unavailable
from interp_assets.cells.sources import source_context
from interp_assets.models.files.releases import Release, read_release, usable_name
from interp_assets.models.files.written_folders import write_control_release
from interp_assets.settings import Folders

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

Rule = Literal["decoder", "loadings"]
LIBRARIES = ("scvi-tools", "torch", "lightning", "anndata", "numpy")
FEWEST_CELLS = 30
BATCH = 128
CURVE_POINTS = 20
INSTALL = "scVI is trained with scvi-tools, which is not installed: pip install '.[scvi]'"


class ScviError(ValueError):
    """No scVI release can be made; the message says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScviSettings:
    """How a model is trained: rule of the gene vectors, latent dimensions, budget, share of cells trained on, seed.

    Training ends after ``epochs``, or once the held-out ELBO has not improved for ``patience`` of them. On a processor
    with ``threads`` threads.
    """

    rule: Rule = "decoder"
    latent: int = 10
    epochs: int = 400
    patience: int = 45
    train_share: float = 0.9
    seed: int = 0
    threads: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingCounts:
    """Raw counts (cells x genes, int32) of control cells over scored genes; what was left out is counted."""

    counts: csr_matrix
    genes: NDArray[np.str_]
    cells_without_counts: int
    genes_without_counts: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneVectors:
    """Vectors of genes (G x D, float64) of a trained model, and what the manifest says about its training."""

    vectors: NDArray[np.float64]
    facts: Mapping[str, Any]


def training_counts(cells: PreparedCells) -> TrainingCounts:
    """Counts that scVI is trained on: control cells by scored genes, without empty genes and empty cells.

    A gene that no control cell shows has a vector that nothing was learned for, and a cell without a count has no
    library size; neither can take part.

    Raises
    ------
    ScviError
        If fewer than two genes or `FEWEST_CELLS` cells are left.
    """
    column = pd.Index(cells.genes).get_indexer(pd.Index(cells.universe))
    counts = cells.counts[np.flatnonzero(cells.control)][:, column].tocsr()
    shown = np.asarray(counts.sum(axis=0)).ravel() > 0
    counts = counts[:, np.flatnonzero(shown)]
    filled = np.asarray(counts.sum(axis=1)).ravel() > 0
    counts = counts[np.flatnonzero(filled)]
    if counts.shape[0] < FEWEST_CELLS or counts.shape[1] < 2:
        raise ScviError(
            f"dataset {cells.dataset}: {counts.shape[0]} control cells and {counts.shape[1]} scored genes hold counts; "
            f"scVI needs {FEWEST_CELLS} cells and two genes. Name a dataset with more control cells"
        )
    return TrainingCounts(
        counts=counts,
        genes=np.asarray(cells.universe)[shown],
        cells_without_counts=int((~filled).sum()),
        genes_without_counts=tuple(np.asarray(cells.universe)[~shown].tolist()),
    )


def minus_distances(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Minus the Euclidean distance of every two rows (G x G, symmetric, 0 on the diagonal, higher = closer)."""
    from scipy.spatial.distance import cdist

    distances: NDArray[np.float64] = -cdist(vectors, vectors)
    return distances


def edge_frame(genes: NDArray[np.str_], score: NDArray[np.float64], cells: int) -> pd.DataFrame:
    """Edge table of a score (G x G): source, target, score (float32), cells; every ordered pair of different genes."""
    source, target = np.nonzero(~np.eye(genes.size, dtype=bool))
    names = genes.astype(object)
    return pd.DataFrame(
        {
            "source": names[source],
            "target": names[target],
            "score": score[source, target].astype(np.float32),
            "cells": np.full(source.size, cells, dtype=np.int32),
        }
    )


def batch_size(cells: int, largest: int = BATCH) -> int:
    """Largest batch size up to a limit whose last batch holds at least three cells.

    Batch normalisation has no variance over a batch of one.

    >>> batch_size(1280), batch_size(1281)
    (128, 127)
    """
    return next(size for size in range(largest, 0, -1) if cells % size == 0 or cells % size >= 3)


def train(given: TrainingCounts, settings: ScviSettings) -> GeneVectors:
    """Vectors of the genes of a model trained on counts, with its losses.

    Raises
    ------
    ScviError
        If scvi-tools is not installed, or training ended in numbers that are not finite.
    """
    if importlib.util.find_spec("scvi") is None:
        raise ScviError(INSTALL)
    trained = math.ceil(settings.train_share * given.counts.shape[0])
    batch = batch_size(trained)
    with _quietly(settings.threads) as scvi:
        from anndata import AnnData

        scvi.settings.seed = settings.seed
        data = AnnData(given.counts.astype(np.float32))
        data.obs_names = [str(cell) for cell in range(data.n_obs)]
        data.var_names = given.genes.tolist()
        family = scvi.model.SCVI if settings.rule == "decoder" else scvi.model.LinearSCVI
        family.setup_anndata(data)
        model = family(data, n_latent=settings.latent)
        model.train(
            max_epochs=settings.epochs,
            accelerator="cpu",
            devices=1,
            train_size=settings.train_share,
            batch_size=batch,
            early_stopping=True,
            early_stopping_monitor="elbo_validation",
            early_stopping_patience=settings.patience,
            enable_progress_bar=False,
        )
    if settings.rule == "decoder":
        vectors = model.module.decoder.px_scale_decoder[0].weight.detach().cpu().numpy()
    else:
        vectors = model.get_loadings().loc[given.genes.tolist()].to_numpy()
    if not np.isfinite(vectors).all():
        raise ScviError("training ended in gene vectors that are not finite; train fewer epochs or with another seed")
    facts = {"cells": data.n_obs, "genes": data.n_vars, "cells_trained_on": trained, "batch_size": batch}
    return GeneVectors(
        vectors=vectors.astype(np.float64),
        facts={**facts, "vector_length": int(vectors.shape[1]), **_losses(model.history)},
    )


@contextmanager
def _quietly(threads: int) -> Iterator[ModuleType]:
    """The library on so many threads, without its notices about devices, cloud loggers and deprecated calls."""
    import torch

    with warnings.catch_warnings(), redirect_stdout(StringIO()):
        warnings.simplefilter("ignore")
        scvi = importlib.import_module("scvi")
        # levels are set only now: the libraries set their own when they are imported
        loggers = {name: logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric", "scvi")}
        levels = {name: logger.level for name, logger in loggers.items()}
        before = torch.get_num_threads()
        try:
            torch.set_num_threads(threads)
            for logger in loggers.values():
                logger.setLevel(logging.ERROR)
            yield scvi
        finally:
            torch.set_num_threads(before)
            for name, logger in loggers.items():
                logger.setLevel(levels[name])


def _losses(history: Mapping[str, pd.DataFrame]) -> dict[str, Any]:
    """Epochs run and negative ELBO a cell (nats): last on cells trained on, and best and last on held-out cells."""
    held_out = history["elbo_validation"].to_numpy(dtype=np.float64).ravel()
    on_trained = history["elbo_train"].to_numpy(dtype=np.float64).ravel()
    step = max(1, held_out.size // CURVE_POINTS)
    return {
        "epochs_run": int(held_out.size),
        "loss_unit": "negative ELBO a cell, nats",
        "trained_loss_last": round(float(on_trained[-1]), 4),
        "held_out_loss_first": round(float(held_out[0]), 4),
        "held_out_loss_best": round(float(held_out.min()), 4),
        "held_out_loss_last": round(float(held_out[-1]), 4),
        "held_out_curve": [[epoch + 1, round(float(held_out[epoch]), 4)] for epoch in range(0, held_out.size, step)],
        "weights": "of the last epoch",
    }


def write_scvi_release(
    folder: Path, cells: PreparedCells, given: TrainingCounts, found: GeneVectors, settings: ScviSettings, licence: str
) -> Release:
    """Verified release of the edges, written to ``folder`` as a whole; an existing folder is replaced.

    No time is written, so that the same training gives the same bytes.
    """
    stream = BytesIO()
    frame = edge_frame(given.genes, minus_distances(found.vectors), given.counts.shape[0])
    frame.to_parquet(stream, index=False)
    base = str(cells.facts.get("cells_from", ""))
    facts = {
        "family": "edge_table",
        "adapter": "edge_table",
        "kind": "release",
        "created": "trained here; no time is written",
        "source": "python -m interp_assets.models.edge_tables.scvi",
        "licence": f"as the cells: {licence}",
        "gene_key": "symbol",
        "cells_hash": cells.cells_hash,
        "rule": f"minus Euclidean distance of gene vectors: {RULES[settings.rule]}",
        "symmetric": True,
        "training": {
            "trained_on": [cells.dataset, *([base] if base else [])],
            "seed": settings.seed,
            "epochs": settings.epochs,
            "settings": asdict(settings),
            **found.facts,
            "cells_without_counts": given.cells_without_counts,
            "genes_without_counts": list(given.genes_without_counts),
            "repeats": "same bytes on the same processor type with these versions and this thread count",
            "versions": _versions(),
            "machine": platform.machine(),
        },
    }
    write_control_release(folder, {"edges.parquet": stream.getvalue()}, facts)
    return read_release(folder)


RULES: Mapping[Rule, str] = {
    "decoder": "rows of the weight of px_scale_decoder in the decoder of scvi.model.SCVI",
    "loadings": "rows of get_loadings() of scvi.model.LinearSCVI",
}


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except ModuleNotFoundError:
            found[name] = "not installed"
    return found


def make_release(name: str, out: Path, settings: ScviSettings, folders: Folders, *, replace: bool = False) -> Release:
    """Verified release of scVI trained on the control cells of a declared dataset.

    Raises
    ------
    ScviError
        If scvi-tools is not installed, ``out`` exists or cannot be the name of a release, or the cells are absent.
    """
    if importlib.util.find_spec("scvi") is None:
        raise ScviError(INSTALL)
    if not usable_name(out.name):
        raise ScviError(f"{out}: {out.name!r} cannot be the name of a release; use letters, digits, '-', '_' and '.'")
    if out.exists() and not replace:
        raise ScviError(f"{out}: exists already; name another folder, or ask for it to be replaced (--replace)")
    datasets = load_datasets(folders.config)
    spec = dataset(datasets, name, "--dataset")
    archive = Archive(datasets=datasets, context=source_context(folders.store, wheels=folders.wheels))
    cells = prepared_cells(archive, spec.id)
    if isinstance(cells, Unavailable):
        raise ScviError(f"dataset {cells.dataset}: {cells.reason}")
    given = training_counts(cells)
    return write_scvi_release(out, cells, given, train(given, settings), settings, spec.licence)


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0 once the release folder is complete; 2 with the reason in one line if it cannot be made."""
    defaults = ScviSettings()
    parser = argparse.ArgumentParser(description="Train scVI on the control cells of a dataset; write its edge table.")
    parser.add_argument("--dataset", required=True, help="declared dataset with raw counts")
    parser.add_argument("--out", type=Path, required=True, help="release folder to write, such as releases/scvi-D")
    parser.add_argument("--rule", choices=get_args(Rule), default=defaults.rule, help="what the vector of a gene is")
    parser.add_argument("--epochs", type=int, default=defaults.epochs, help="most epochs")
    parser.add_argument("--seed", type=int, default=defaults.seed)
    parser.add_argument("--replace", action="store_true", help="take the place of an existing folder")
    options = parser.parse_args(arguments)
    settings = ScviSettings(rule=options.rule, epochs=options.epochs, seed=options.seed)
    try:
        release = make_release(
            options.dataset, options.out, settings, Folders.from_environment(), replace=options.replace
        )
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    told = release.facts["training"]
    sys.stdout.write(
        f"{options.out}: {told['genes']} genes, {told['cells']} cells, {told['epochs_run']} epochs, "
        f"held-out loss {told['held_out_loss_first']:.1f} -> {told['held_out_loss_last']:.1f} ({told['loss_unit']})\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())

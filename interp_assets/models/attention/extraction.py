"""Attention of a release on the control cells of a dataset, as gene x gene sums per layer and head.

What belongs here: from a release and its cells to stored edges, and what is stated of them. What does not: running the
plan (`run`), kernels (`kernel`), bookkeeping of batches (`plan`), files
(`store`).

The score of a gene pair is the mean softmax weight from the position of the first gene (query, regulator) to
that of the second (key, target), over the cells whose sequence holds both. Exact: padding is masked, special
tokens and unscored genes count in the denominator and are dropped afterwards. Sums are float32 by shards of
whole batches, shard sums added in order. Another rule for what a cell says of a pair can be chosen (`edge_rules`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interp_assets.cells.count_sources import CountSource, control_counts
from interp_assets.cells.records import PreparedCells
from interp_assets.edges.records import AttentionEdges
from interp_assets.exclusive import alone
from interp_assets.models.adapter import AttentionModel, Duplicates, encoded_by, load_model
from interp_assets.models.attention.agreement import EDGE_TOLERANCE
from interp_assets.models.attention.check import MASS_TOLERANCE, AttentionMassError, AttentionNotFiniteError, check_mass
from interp_assets.models.attention.cluster import shard_workers
from interp_assets.models.attention.edge_rules import unreadable
from interp_assets.models.attention.encoded_blocks import encode_blocks
from interp_assets.models.attention.facts import reading_facts
from interp_assets.models.attention.plan import ScoredCells, pair_counts, score_cells
from interp_assets.models.attention.pooling import order_control, possible_counts
from interp_assets.models.attention.run import Extracted, ExtractionRun
from interp_assets.models.attention.settings import (
    ExtractionSettings,
    RequestKeys,
    library_versions,
    request_keys,
    resolve_device,
)
from interp_assets.models.attention.store import finished_with, open_attention, take_over, write_attention
from interp_assets.models.files.releases import Release
from interp_assets.models.records import NothingToReadError

__all__ = [
    "MASS_TOLERANCE",
    "AttentionMassError",
    "AttentionNotFiniteError",
    "ExtractionSettings",
    "check_mass",
    "extract_attention",
]

LoadModel = Callable[..., AttentionModel]


def extract_attention(
    release: Release,
    cells: PreparedCells,
    folder: Path,
    settings: ExtractionSettings | None = None,
    *,
    load: LoadModel = load_model,
    neighbours: Iterable[Path] = (),
    counts: CountSource | None = None,
) -> AttentionEdges:
    """Attention edges of a release on the control cells of a dataset, extracted unless already in ``folder``.

    A finished folder with the same key (release id, counts, universe, settings, device, library versions) whose files
    are what was written is opened at once, without loading the model; arrays of a finished folder among ``neighbours``
    that read the same cells and genes are taken over. A killed run continues after its last checkpoint and ends with
    the same bytes as an undisturbed one. Of several processes that ask for one folder at once, one fills it.

    ``counts`` hands out the counts of the control cells by rows, in their order and over ``cells.genes``; the matrices
    of ``cells`` are not looked at then. None takes them from ``cells``: same key, same bytes.

    Raises
    ------
    ValueError
        If no control cell, or fewer than two genes of the universe, can be read by the model
        (`NothingToReadError`); if weights do not sum to one or are no numbers (`AttentionMassError`,
        `AttentionNotFiniteError`); or from the adapter.
    """
    settings = settings or ExtractionSettings()
    device = resolve_device(settings.device)
    source = _control_counts(cells, counts)
    keys = request_keys(release, cells, settings, device, source)
    with alone(folder):
        finished = finished_with(folder, keys.key)
        if not finished and not take_over(folder, neighbours, keys.key, keys.content, cells.dataset):
            _extract(release, cells, folder, settings, keys, source, device, load)
    return open_attention(folder)


def _extract(
    release: Release,
    cells: PreparedCells,
    folder: Path,
    settings: ExtractionSettings,
    keys: RequestKeys,
    source: CountSource,
    device: str,
    load: LoadModel,
) -> None:
    """Run the model over the cells and fill the folder."""
    model = encoded_by(load(release, device=device, dtype=settings.dtype), settings.encoding)
    scored, genes = _scored_cells(model, cells, source, settings.duplicates, folder)
    if lacking := unreadable(settings.edge_rule, model.describe(), several=scored.encoded.several):
        raise NothingToReadError(cells.dataset, lacking)
    run = ExtractionRun(model=model, cells=scored, settings=settings, folder=folder, key=keys.key, label=release.name)
    with _thread_limits(settings.threads) as threads, _full_precision(device):
        with shard_workers(release, settings, device, load) as run.workers, _named(release, cells):
            done = run.run()
        threads = run.workers.told_threads(threads) if run.workers else threads
        read = reading_facts(model, cells, scored.encoded, genes, run.form, source)
    facts = _facts(release, cells, run, done, genes) | read
    facts |= {"batch_tokens_used": done.batch_tokens, "threads": threads, "device": device, "key": keys.key}
    facts["content"] = keys.content
    counts = pair_counts(scored)
    off_diagonal = max(1, genes.size * (genes.size - 1))
    facts["missing_pair_share"] = float(((counts == 0).sum() - (counts.diagonal() == 0).sum()) / off_diagonal)
    if scored.encoded.causal:
        means = [done.layers / f"layer-{layer}-mean.npy" for layer in range(run.facts.layers)]
        facts |= {"symmetric": True, "order_control": order_control(scored, means)}
        counts = possible_counts(scored)
    write_attention(folder, arrays=done.layers, counts=counts, genes=genes, facts=facts)
    return open_attention(folder)


@contextmanager
def _named(release: Release, cells: PreparedCells) -> Iterator[None]:
    """Put the release and the dataset before what a check of a batch says."""
    try:
        yield
    except AttentionMassError as error:
        told = f"release {release.name}, dataset {cells.dataset}: {error}"
        raise type(error)(told).with_traceback(error.__traceback__) from None


def _control_counts(cells: PreparedCells, counts: CountSource | None) -> CountSource:
    source = control_counts(cells) if counts is None else counts
    wanted = (int(np.count_nonzero(cells.control)), len(cells.genes))
    if source.shape != wanted:
        raise ValueError(
            f"dataset {cells.dataset}: counts are {source.shape[0]} cells x {source.shape[1]} genes, but there are "
            f"{wanted[0]} control cells and {wanted[1]} genes; hand out these cells and genes alone"
        )
    return source


def _scored_cells(
    model: AttentionModel, cells: PreparedCells, counts: CountSource, duplicates: Duplicates, folder: Path
) -> tuple[ScoredCells, NDArray[np.str_]]:
    """Encoded control cells with the positions of the evaluable genes, and these genes in universe order."""
    if not cells.control.any():
        raise NothingToReadError(cells.dataset, "no control cells to read attention from")
    column_of = {str(gene): column for column, gene in reversed(list(enumerate(cells.genes)))}
    lacking = [str(gene) for gene in cells.universe if str(gene) not in column_of]
    if lacking:
        raise ValueError(f"dataset {cells.dataset}: universe gene {lacking[0]} is not among the measured genes")
    known = model.known(cells.genes)
    universe = np.array([column_of[str(gene)] for gene in cells.universe], dtype=np.int64)
    evaluable = universe[known[universe]] if universe.size else universe
    if evaluable.size < 2:
        raise NothingToReadError(
            cells.dataset,
            f"only {evaluable.size} of {universe.size} scored genes are in the vocabulary of the release; check the "
            "species and the gene key of its dictionary",
        )
    encoded = encode_blocks(model, counts, cells.genes, duplicates, folder)
    scored = score_cells(encoded, evaluable, folder)
    if scored.used.size == 0:
        raise NothingToReadError(cells.dataset, "no control cell expresses a scored gene")
    return scored, cells.genes[evaluable]


def _facts(
    release: Release, cells: PreparedCells, run: ExtractionRun, done: Extracted, genes: NDArray[np.str_]
) -> dict[str, Any]:
    facts, plan = run.facts, done.plan
    return {
        "release": release.name,
        "release_id": release.release_id,
        "family": release.family,
        "dataset": cells.dataset,
        "cells_hash": cells.cells_hash,
        "cells": int(np.count_nonzero(cells.control)),
        "cells_used": int(run.cells.used.size),
        "genes_in_universe": len(cells.universe),
        "genes_evaluable": int(genes.size),
        "layers": facts.layers,
        "heads": facts.heads,
        "width": facts.width,
        "max_length": facts.max_length,
        "direction": facts.direction,
        "heads_kept": run.sums.told,
        "sums": run.sums.facts(),
        "dtype": facts.dtype,
        "form": run.form,
        "kernel": run.kernel,
        "tolerance": EDGE_TOLERANCE[facts.dtype].facts(),
        "edge_rule": run.settings.edge_rule,
        "kept_mass": [None if mass is None else round(mass, 6) for mass in done.kept_mass],
        "settings": run.settings.keyed(),
        "plan": {"hash": plan.plan_hash, "batches": len(plan.batches), "shards": len(plan.shards)},
        "versions": library_versions(),
    }


@contextmanager
def _thread_limits(threads: int | None) -> Iterator[int]:
    """Same thread number for torch and numba, one for BLAS inside the kernels; restored afterwards."""
    import numba
    import torch
    from threadpoolctl import threadpool_limits

    before, numba_before = torch.get_num_threads(), numba.get_num_threads()
    wanted = threads or before
    torch.set_num_threads(wanted)
    numba.set_num_threads(min(wanted, numba.config.NUMBA_NUM_THREADS))
    try:
        with threadpool_limits(1, user_api="blas"):
            yield wanted
    finally:
        torch.set_num_threads(before)
        numba.set_num_threads(numba_before)


@contextmanager
def _full_precision(device: str) -> Iterator[None]:
    """No TF32 in float32 products on CUDA: it rounds queries and keys to 10 bits; restored afterwards."""
    import torch

    if device == "cpu":
        yield
        return
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)

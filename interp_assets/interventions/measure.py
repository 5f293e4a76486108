"""Interventions on one release, read on one screen: from a loaded model to tables.

What belongs here: putting cells, rankings, conditions, runs and read-outs together. What does not: tests
(`interp_assets.analyses.ablation`), or where models and screens come from.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interp_assets.cells.records import PreparedCells
from interp_assets.interventions.cells import encoded_cells, richest_cells, row_counts, subset
from interp_assets.interventions.conditions import CLEAN, Condition, HeadTable, plan_conditions
from interp_assets.interventions.readouts import ATTENTION, LAST_ATTENTION, LOGITS
from interp_assets.interventions.records import Interventions
from interp_assets.interventions.run import Runner, Setting, Sums, head_rows
from interp_assets.interventions.self_test import check_interventions
from interp_assets.models.attention.plan import ScoredCells, plan_batches, token_batch
from interp_assets.models.interventions import Intervention, InterventionModel
from interp_assets.models.records import NothingToReadError
from interp_assets.stats.ranking import auroc, rank_rows
from interp_assets.stats.resampling import bootstrap_statistic

CELLS_PER_SHARD: Final = 1 << 30
DISTANCE_BOOTSTRAP: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Screen:
    """What read-outs are held against, over the scored genes (G names) of the release.

    ``source`` (P) are the perturbed genes' places in ``genes``, ``label`` is P x G (1, 0, -1 no candidate, the
    perturbed gene itself among these). ``regulators`` (R, gene places) and ``member`` (R x G) are the reference that
    heads are ranked by.
    """

    genes: NDArray[np.str_]
    perturbations: NDArray[np.str_]
    source: NDArray[np.int64]
    label: NDArray[np.int8]
    regulators: NDArray[np.int64]
    member: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How interventions are run.

    ``read_out`` is the layer analyses read; ``tokens`` bounds the cells by the length of their sequences (0: all
    control cells); ``memory_gib`` bounds the sums held at once; ``batch_tokens`` the padded tokens of a batch, halved
    when a device runs out of memory.
    """

    read_out: int
    tokens: int
    random_sets: int
    seed: int
    memory_gib: float = 0.6
    batch_tokens: int = 2048
    progress: bool | None = None


def measure_interventions(model: InterventionModel, cells: PreparedCells, screen: Screen, plan: Plan) -> Interventions:
    """Every condition run and read; see `Interventions` for what comes back.

    Raises
    ------
    NothingToReadError
        If no control cell holds a perturbed gene.
    InterventionError
        If interventions on this model do not do what they say (`check_interventions`).
    """
    chosen = _chosen_cells(model, cells, screen, plan)
    tokens = plan.batch_tokens
    while True:
        try:
            return _measured(model, chosen, screen, plan, tokens)
        except RuntimeError as error:
            if type(error).__name__ != "OutOfMemoryError" or tokens < int(chosen.encoded.lengths.max()):
                raise
        import torch

        torch.cuda.empty_cache()
        tokens //= 2
        warnings.warn(f"out of device memory: batches halved to {tokens} tokens", stacklevel=2)


def _chosen_cells(model: InterventionModel, cells: PreparedCells, screen: Screen, plan: Plan) -> ScoredCells:
    encoded = encoded_cells(model, cells, screen.genes)
    best = richest_cells(encoded, screen.source, plan.tokens)
    if best.size == 0:
        raise NothingToReadError(cells.dataset, "no control cell holds a perturbed gene")
    return subset(encoded, best)


def _measured(
    model: InterventionModel, cells: ScoredCells, screen: Screen, plan: Plan, batch_tokens: int
) -> Interventions:
    facts = model.describe()
    form = facts.forms[0]
    batches = plan_batches(cells, batch_tokens, CELLS_PER_SHARD).batches
    tried = _tried_cells(cells, batches, batch_tokens)
    check_interventions(model, token_batch(cells, tried, facts.padding), form)
    read_layers = tuple(dict.fromkeys((plan.read_out, facts.layers - 1)))
    common = {"model": model, "cells": cells, "batches": batches, "form": form, "read_layers": read_layers}
    table, ranked_by = _head_table(common, screen, plan)
    conditions = plan_conditions(table, plan.read_out, plan.random_sets, plan.seed)
    setting = Setting(rows=screen.source, **common)
    reader = _Reader(setting, screen, plan.read_out)
    sums = _run_in_groups(setting, conditions, reader, plan)
    lengths = cells.encoded.lengths
    return Interventions(
        conditions=_condition_rows(conditions, sums, plan.read_out, facts.layers, lengths),
        aurocs=pd.concat(reader.frames, ignore_index=True),
        fidelity=_fidelity_rows(conditions, sums, lengths, plan.seed, logits=model.output() is not None),
        heads=_head_rows(table, plan.read_out),
        facts={
            "family": facts.family,
            "layers": facts.layers,
            "heads": facts.heads,
            "read_out_layer": plan.read_out,
            "read_outs": [reader.name_of(layer) for layer in read_layers] + ([LOGITS] if model.output() else []),
            "cells": int(lengths.size),
            "tokens": int(lengths.sum()),
            "random_sets": plan.random_sets,
            "perturbations": int(reader.kept.sum()),
            "perturbations_in_no_cell": int((~reader.kept).sum()),
            "missing_pair_share": reader.missing_share,
            **ranked_by,
            "form": form,
            "device": facts.device,
            "dtype": facts.dtype,
        },
    )


def _tried_cells(cells: ScoredCells, batches: Sequence[NDArray[np.int64]], batch_tokens: int) -> NDArray[np.int64]:
    """Cells of the self-test: the longest, where every intervention acts, and the shortest, which needs padding."""
    longest, shortest = batches[0][0], batches[-1][-1]
    both = 2 * cells.encoded.lengths[longest] <= batch_tokens
    return np.unique([longest, shortest]) if both else np.array([longest])


def _head_table(common: Mapping[str, Any], screen: Screen, plan: Plan) -> tuple[HeadTable, dict[str, int]]:
    """What heads are ranked by, on the same cells; as many layers at a time as their sums fit in memory."""
    facts = common["model"].describe()
    rows = np.union1d(screen.regulators, screen.source)
    counts = row_counts(common["cells"], rows)
    member = screen.member.astype(np.int8)
    member[np.arange(screen.regulators.size), screen.regulators] = -1
    ranked, perturbed = np.searchsorted(rows, screen.regulators), np.searchsorted(rows, screen.source)
    at_once = max(1, int(plan.memory_gib * 2**30 / (4 * facts.heads * rows.size * screen.genes.size)))
    parts = []
    for first in range(0, facts.layers, at_once):
        layers = range(first, min(first + at_once, facts.layers))
        sums, entropy = head_rows(Setting(rows=rows, **common), layers)
        recovered = _head_aurocs(sums[:, :, ranked], counts[ranked], member, pooled=True)
        predicted = _head_aurocs(sums[:, :, perturbed], counts[perturbed], screen.label, pooled=False)
        parts.append((recovered, predicted, entropy))
    reference, outcomes, entropy = (np.concatenate(part) for part in zip(*parts, strict=True))
    told = {"ranking_regulators": int(screen.regulators.size), "ranking_pairs": int((member == 1).sum())}
    return HeadTable(reference=reference, screen=outcomes, entropy=entropy), told


def _head_aurocs(
    sums: NDArray[np.float32], counts: NDArray[np.int64], label: NDArray[np.int8], *, pooled: bool
) -> NDArray[np.float64]:
    """AUROC of every head (layers x heads), pooled over pairs or or by row; missing if unrankable."""
    found = np.full(sums.shape[:2], np.nan)
    for layer, head in np.ndindex(*found.shape):
        scores, _ = _scores(sums[layer, head], counts)
        values = auroc(scores.reshape(1, -1), label.reshape(1, -1)) if pooled else auroc(scores, label)
        if np.isfinite(values).any():
            found[layer, head] = float(np.nanmean(values))
    return found


def _scores(total: NDArray[np.floating], counts: NDArray[np.int64]) -> tuple[NDArray[np.float64], float]:
    """Means over cells, and the share of pairs without a cell, which get the lowest score of all.

    The rule of `stats.ranking.fill_missing`, for rows that are no square of pairs: no diagonal is special, and where
    no pair has a cell all are alike.
    """
    held = counts > 0
    mean = np.zeros(total.shape)
    np.divide(total, counts, out=mean, where=held, casting="same_kind")
    mean[~held] = mean[held].min() if held.any() else 0.0
    return mean, float((~held).mean())


class _Reader:
    """Turns sums into AUROC by perturbation, condition after condition."""

    def __init__(self, setting: Setting, screen: Screen, read_out: int) -> None:
        self.setting, self.screen, self._read_out = setting, screen, read_out
        self._counts = row_counts(setting.cells, setting.rows)
        # a perturbed gene that stands in no cell has no score under any condition
        self.kept = self._counts[np.arange(setting.rows.size), setting.rows] > 0
        self.missing_share = float((self._counts[self.kept] == 0).mean()) if self.kept.any() else 1.0
        self.frames: list[pd.DataFrame] = []
        self._clean: dict[int, NDArray[np.float64]] = {}
        output = setting.model.output()
        self._output = output
        self._tokens = [] if output is None else setting.model.gene_tokens(list(map(str, screen.genes)))

    def name_of(self, layer: int) -> str:
        """Name of the read-out of one layer."""
        return ATTENTION if layer == self._read_out else LAST_ATTENTION

    def read(self, names: Sequence[str], sums: Sums) -> None:
        """AUROC of every read-out under one intervention; a layer it cannot act on reads as in the clean run."""
        for layer in self.setting.read_layers:
            found = sums.attention.get(layer)
            if found is not None:
                values = self._aurocs(_scores(found.total.cpu().numpy()[self.kept], self._counts[self.kept])[0])
                self._clean.setdefault(layer, values)
            else:
                values = self._clean[layer]
            self._keep(names, self.name_of(layer), values)
        if sums.output is not None and self._output is not None:
            cells = self._counts[np.arange(self.setting.rows.size), self.setting.rows]
            logits = sums.output.logits(self._output, self._tokens, cells)
            self._keep(names, LOGITS, self._aurocs(logits[self.kept]))

    def _aurocs(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        return rank_rows(scores).auroc(self.screen.label[self.kept])

    def _keep(self, conditions: Sequence[str], read_out: str, values: NDArray[np.float64]) -> None:
        told = {"read_out": read_out, "perturbation": self.screen.perturbations[self.kept], "auroc": values}
        self.frames += [pd.DataFrame({"condition": condition, **told}) for condition in conditions]


@dataclass(frozen=True, slots=True)
class _Kept:
    """What is left of the sums of one condition once its read-outs are AUROCs."""

    distance: NDArray[np.float64]
    changed: bool


def _run_in_groups(setting: Setting, conditions: Sequence[Condition], reader: _Reader, plan: Plan) -> list[_Kept]:
    """Run every distinct intervention once, as many at a time as their sums fit in memory.

    The clean run is repeated for each group. Conditions that change the same parts share one run.
    """
    from tqdm import tqdm

    named: dict[Intervention, list[str]] = {}
    for condition in conditions:
        named.setdefault(condition.intervention, []).append(condition.name)
    changes = list(named)
    size = 4 * setting.rows.size * (setting.cells.genes * len(setting.read_layers) + setting.model.describe().width)
    at_once = max(1, int(plan.memory_gib * 2**30 / size))
    kept: dict[Intervention, _Kept] = {}
    total = len(changes) * len(setting.batches)
    disable = None if plan.progress is None else not plan.progress
    with tqdm(total=total, desc="interventions", unit="run", disable=disable, leave=False) as bar:
        for start in range(0, len(changes), at_once):
            group = changes[start : start + at_once]
            clean, found = Runner(setting).run(group, bar.update)
            if start == 0:
                reader.read([CLEAN], clean)
            for change, sums in zip(group, found, strict=True):
                reader.read(named[change], sums)
                kept[change] = _Kept(sums.distance, sums.changed)
    return [kept[condition.intervention] for condition in conditions]


def _condition_rows(
    conditions: Sequence[Condition], sums: Sequence[_Kept], read_out: int, layers: int, lengths: NDArray[np.int64]
) -> pd.DataFrame:
    rows = []
    for condition, found in zip(conditions, sums, strict=True):
        hidden = found.distance[:layers].sum(axis=1) / lengths.sum()
        logits = found.distance[layers].sum() / lengths.sum()
        rows.append(
            {
                "condition": condition.name,
                "family": condition.family,
                "operation": condition.operation,
                "pool": condition.pool,
                "dose": condition.dose,
                "draw": condition.draw,
                "size": condition.size,
                "parts": condition.parts,
                "first_layer": condition.first_layer,
                "read_out_layer": read_out,
                "upstream_parts": condition.upstream_parts(read_out),
                "upstream": condition.upstream_parts(read_out) == condition.size,
                "upstream_of_last": condition.upstream_parts(layers - 1) == condition.size,
                "uses_outcomes": condition.uses_outcomes,
                "changed": found.changed,
                "hidden_distance": float(hidden.max()),
                "hidden_layer": int(hidden.argmax()),
                "logit_distance": float(logits),
                "cells": int(lengths.size),
            }
        )
    return pd.DataFrame(rows)


def _fidelity_rows(
    conditions: Sequence[Condition], sums: Sequence[_Kept], lengths: NDArray[np.int64], seed: int, *, logits: bool
) -> pd.DataFrame:
    """Mean cosine distance after every block from the first change on, and of the logits, with intervals over cells."""
    rows = []
    for condition, found in zip(conditions, sums, strict=True):
        layers = found.distance.shape[0] - 1
        draws = np.random.default_rng([seed, 36])
        for at in range(condition.first_layer, layers + logits):
            total = found.distance[at]
            interval = bootstrap_statistic(
                lengths.size,
                lambda chosen, total=total: float(total[chosen].sum() / lengths[chosen].sum()),
                draws,
                DISTANCE_BOOTSTRAP,
            )
            rows.append(
                {
                    "condition": condition.name,
                    "state": "hidden" if at < layers else "logits",
                    "layer": at if at < layers else -1,
                    "distance": float(total.sum() / lengths.sum()),
                    "ci_low": interval.low,
                    "ci_high": interval.high,
                    "resamples_requested": interval.resamples_requested,
                    "resamples_done": interval.resamples_done,
                    "cells": int(lengths.size),
                    "tokens": int(lengths.sum()),
                }
            )
    return pd.DataFrame(rows)


def _head_rows(table: HeadTable, read_out: int) -> pd.DataFrame:
    rank = {head: place for place, head in enumerate(table.ranked(table.reference), start=1)}
    return pd.DataFrame(
        [
            {
                "layer": layer,
                "head": head,
                "rank": rank[layer, head],
                "reference_auroc": float(table.reference[layer, head]),
                "screen_auroc": float(table.screen[layer, head]),
                "composite": float(table.composite[layer, head]),
                "entropy": float(table.entropy[layer, head]),
                "upstream": layer < read_out,
            }
            for layer, head in sorted(rank)
        ]
    )

"""Tables behind the explorer of the report: scores of chosen regulators over chosen targets, and what they recover.

What belongs here: the numbers of the analyses, kept pair by pair. What does not: any new statistic, any number that a
test or a claim reads, and how a page shows them. Looking through layers and heads is exploration: nothing here feeds
the choice of a layer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interp_assets.analyses.explorer_choice import OUTCOME, Held, Shown, directions_of, held_against, within_budget
from interp_assets.analyses.explorer_choice import ordered_regulators as every_regulator
from interp_assets.analyses.inputs import RoleInputs
from interp_assets.analyses.scores import check_same_cells, gene_scores
from interp_assets.edges.layers import LayerChoice, resolve_layer
from interp_assets.edges.records import EdgeMatrix
from interp_assets.edges.scores import restrict_edges
from interp_assets.readings.records import Reading
from interp_assets.stats.ranking import auroc, fill_missing

Float = NDArray[np.float64]
HeadMatrix = Callable[[int, int], EdgeMatrix]

NAME: Final = "explorer"
PAIRWISE: Final = ("attention", "correlation")
GENE_LEVEL: Final = ("variance", "mean", "one_minus_dropout")
NO_LAYER = MEAN_HEAD = -1  # of a score without layers; of the mean over heads


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One score of a pair: its name, and of attention the layer and the head (-1: mean over heads)."""

    name: str
    layer: int = NO_LAYER
    head: int = MEAN_HEAD


def explore(
    role: RoleInputs, choice: LayerChoice, heads: HeadMatrix | str, outcomes: pd.DataFrame, seed: int
) -> Reading | str:
    """Tables of the explorer for one release on one screen, or why there are none.

    Parameters
    ----------
    heads
        Attention of a single head by (layer, head), over genes that hold those of the role; or why there is none.
    outcomes
        Measured change of each tested pair (`ScreenLabels.table`).

    Returns
    -------
    Reading
        Tables ``facts`` (one row), ``references``, ``regulators``, ``targets`` (one row a pair shown), ``listed`` (one
        row a pair and network), ``scores`` (one row a pair and score: the value of the analyses, NaN where no cell held
        both genes, and its rank among all other evaluable genes, 1 the highest, ties averaged, missing pairs at the
        lowest score) and ``recovery`` (AUROC of a regulator's targets by each score over *all* candidates, as in
        analyses 18, 19 and 21; NaN without both kinds of candidates).

    Raises
    ------
    ValueError
        When scores come from different cells.
    """
    check_same_cells(role)
    held = held_against(role)
    if not held:
        return f"{role.dataset}: no reference network lists an evaluable gene and no perturbation has a responding one"
    layer = resolve_layer(choice.depth, role.attention.layers)
    scores = scores_of(role, heads)
    strength, _ = fill_missing(role.attention.layer_matrix(layer).score)
    shown = within_budget(role, held, strength, len(scores), seed)
    numbers = [_scored(role, held, shown, score, heads) for score in scores]
    tables = {
        "facts": _facts(role, choice, layer, heads, held, shown),
        "references": _references(role, held),
        "regulators": _regulators(role, held, shown),
        "targets": _targets(role, held, shown, outcomes),
        "listed": _listed(role, held, shown),
        "scores": pd.concat([one.pairs for one in numbers], ignore_index=True),
        "recovery": pd.concat([one.recovery for one in numbers], ignore_index=True),
    }
    return Reading(tables=tables)


def scores_of(role: RoleInputs, heads: HeadMatrix | str) -> tuple[Score, ...]:
    """Scores of a pair: attention by layer, mean over heads and (where kept) each head, and those without a layer."""
    layers, single = range(role.attention.layers), 0 if isinstance(heads, str) else role.attention.heads
    attention = [Score(name="attention", layer=at, head=head) for at in layers for head in (MEAN_HEAD, *range(single))]
    return (*attention, *(Score(name=name) for name in ("correlation", *GENE_LEVEL)))


def score_matrix(role: RoleInputs, score: Score, heads: HeadMatrix | str) -> Float:
    """One score over all ordered pairs (G x G), NaN where missing; a gene-level score is the target's own."""
    if score.name in GENE_LEVEL:
        return np.broadcast_to(gene_scores(role)[score.name], (role.genes.size, role.genes.size))
    edges = role.correlation
    if score.name == "attention" and score.head == MEAN_HEAD:
        edges = role.attention.layer_matrix(score.layer)
    elif score.name == "attention":
        if isinstance(heads, str):
            raise ValueError(f"{role.dataset}: head {score.head} of layer {score.layer} was asked for; {heads}")
        edges = heads(score.layer, score.head)
        if not np.array_equal(edges.genes, role.genes):
            edges = restrict_edges(edges, role.genes)
        if edges.cells_hash != role.cells_hash:
            raise ValueError(
                f"{role.dataset}: single heads come from other cells than the head mean; extract both again"
            )
    return np.asarray(edges.score, dtype=np.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scored:
    """One score on the pairs shown, and what it recovers."""

    pairs: pd.DataFrame
    recovery: pd.DataFrame


def _scored(
    role: RoleInputs, held: Sequence[Held], shown: Sequence[Shown], score: Score, heads: HeadMatrix | str
) -> _Scored:
    raw = score_matrix(role, score, heads)
    filled, _ = fill_missing(raw)
    row = np.array([one.regulator for one in shown])
    ways = {True: filled[row]}
    if not all(one.directed for one in held):
        ways[False] = ((filled + filled.T) / 2.0)[row] if score.name in PAIRWISE else filled[row]
    ranks = {directed: row_ranks(rows, row) for directed, rows in ways.items()}
    pairs = [
        pd.DataFrame(
            {
                "regulator": str(role.genes[one.regulator]),
                "target": role.genes[one.targets].astype(object),
                "score": score.name,
                "layer": score.layer,
                "head": score.head,
                "value": raw[one.regulator, one.targets],
                "rank": ranks[True][at, one.targets],
                "rank_both_directions": ranks[False][at, one.targets] if False in ranks else np.nan,
            }
        )
        for at, one in enumerate(shown)
    ]
    return _Scored(
        pairs=pd.concat(pairs, ignore_index=True),
        recovery=pd.concat([_recovery(role, one, row, score, ways[one.directed]) for one in held], ignore_index=True),
    )


def row_ranks(scores: Float, own: NDArray[np.int64]) -> Float:
    """Rank of every gene in rows R x G, 1 the highest, ties averaged; the row's own gene (R) comes last."""
    from scipy.stats import rankdata

    rows = scores.copy()
    rows[np.arange(own.size), own] = -np.inf
    return np.asarray(rankdata(-rows, axis=1))


def _recovery(role: RoleInputs, held: Held, row: NDArray[np.int64], score: Score, scores: Float) -> pd.DataFrame:
    labels = held.labels(row)
    return pd.DataFrame(
        {
            "regulator": role.genes[row].astype(object),
            "reference": held.name,
            "score": score.name,
            "layer": score.layer,
            "head": score.head,
            "auroc": auroc(scores, labels),
            "n_targets": (labels == 1).sum(axis=1),
            "n_candidates": (labels >= 0).sum(axis=1),
        }
    )


def _facts(
    role: RoleInputs,
    choice: LayerChoice,
    layer: int,
    heads: HeadMatrix | str,
    held: Sequence[Held],
    shown: Sequence[Shown],
) -> pd.DataFrame:
    facts: Mapping[str, Any] = {
        "release": role.attention.release,
        "dataset": role.dataset,
        "role": role.role,
        "data_origin": role.data_origin,
        "role_fit": role.role_fit,
        "context_mismatch": role.context_mismatch,
        "cells": int(role.correlation.cells_behind.max()),
        "cells_hash": role.cells_hash,
        "genes": role.genes.size,
        "layers": role.attention.layers,
        "heads": role.attention.heads,
        "heads_kept": not isinstance(heads, str),
        "heads_reason": heads if isinstance(heads, str) else "",
        "read_layer": layer,
        "chosen_by": choice.chosen_by,
        "pairs": sum(one.targets.size for one in shown),
        "marked_left_out": sum(one.left_out for one in shown),
        "regulators_shown": len(shown),
        "regulators": every_regulator(role, held).size,
    }
    return pd.DataFrame([facts])


def _references(role: RoleInputs, held: Sequence[Held]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "reference": [one.name for one in held],
            "kind": ["outcome" if one.name == OUTCOME else "network" for one in held],
            "directed": [one.directed for one in held],
            "primary": [one.name == role.primary_reference for one in held],
        }
    )


def _regulators(role: RoleInputs, held: Sequence[Held], shown: Sequence[Shown]) -> pd.DataFrame:
    perturbed = set(role.source.tolist())
    return pd.DataFrame(
        {
            "regulator": [str(role.genes[one.regulator]) for one in shown],
            "perturbed": [one.regulator in perturbed for one in shown],
            "candidates": role.genes.size - 1,
            "shown": [one.targets.size for one in shown],
            "marked_left_out": [one.left_out for one in shown],
        }
    )


def _targets(role: RoleInputs, held: Sequence[Held], shown: Sequence[Shown], outcomes: pd.DataFrame) -> pd.DataFrame:
    """One row a pair: why it is shown, cells behind it, signed correlation, and what perturbing the regulator did."""
    outcome = next((one for one in held if one.name == OUTCOME), None)
    signed, cells_behind = role.signed_correlation, role.attention.layer_matrix(0).cells_behind
    frames = []
    for one in shown:
        at = (one.regulator, one.targets)
        label = np.full(one.targets.size, -1) if outcome is None else outcome.labels(np.array([at[0]]))[0, one.targets]
        told = {
            "regulator": str(role.genes[one.regulator]),
            "target": role.genes[one.targets].astype(object),
            "why": one.why,
            "cells_behind": cells_behind[at],
            "signed_correlation": np.nan if signed is None else signed.score[at].astype(np.float64),
            "outcome": label,
        }
        frames.append(pd.DataFrame(told))
    pairs = pd.concat(frames, ignore_index=True)
    measured = outcomes.rename(columns={"perturbation": "regulator", "gene": "target"})
    measured = measured[["regulator", "target", "lfc", "q"]].drop_duplicates(["regulator", "target"])
    return pairs.merge(measured, on=["regulator", "target"], how="left", validate="one_to_one")


def _listed(role: RoleInputs, held: Sequence[Held], shown: Sequence[Shown]) -> pd.DataFrame:
    """One row a pair shown and network that lists it; ``direction`` as in `edges.records.Reference`, 0 not known."""
    frames = []
    for one in shown:
        directions = directions_of(held, one)
        for network in held:
            if network.name == OUTCOME:
                continue
            of = network.member[one.regulator, one.targets]
            told = {
                "regulator": str(role.genes[one.regulator]),
                "target": role.genes[one.targets[of]].astype(object),
                "reference": network.name,
                "direction": directions[network.name][of].astype(np.int64),
            }
            frames.append(pd.DataFrame(told))
    return pd.concat(frames, ignore_index=True)

"""How much of a regulator's effect on the predicted target runs through each part of a model, alone and together.

What belongs here: silencing heads and feed-forward layers while one regulator-target pair is read in single cells.
What does not: bounds, certificates, Shapley values or comparisons of tissues (`analyses.mediation`,
`analyses.cross_tissue`).

Read-out of a pair in a cell that holds both genes: the logit of the target at its own place, where the mask token
stands in its stead, with the regulator's token in the sequence minus with the mask token in its place. Places are kept:
nothing else in the sequence changes. Of a model that is told genes and values, values are hidden instead of genes, and
the predicted value of the target is read (`hidden_genes`).

Effect of a set S of components in a cell: m(S) = read-out of the model as it is - read-out with S silenced. Silenced
heads hand 0 to the output projection, a silenced feed-forward layer adds 0 to the residual. The total effect is m of
all components of a granularity: every head, or every feed-forward layer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interp_assets.models.adapter import SCORE_FAMILIES, TokenBatch, load_model
from interp_assets.models.attention.settings import resolve_device
from interp_assets.models.interventions import InterventionError, InterventionModel, Output
from interp_assets.readings.coalitions import (
    GRANULARITIES,
    Component,
    Sequences,
    chain_coalitions,
    components_of,
    read_coalitions,
)
from interp_assets.readings.hidden_genes import HiddenGenes, hidden_genes
from interp_assets.readings.records import Reading, ReadingContext
from interp_assets.readings.tf_target_pairs import Pair, PairSequence, Tissue, choose_pairs, pair_sequence, tissue_of
from interp_assets.stats.games import MOST_EXACT

Int = NDArray[np.int64]
Float = NDArray[np.float64]
ROLES: Final = ("tissues[1]", "tissues[2]", "tissues[3]")
SETTINGS: Final = (
    "mediation_pairs",
    "mediation_cells",
    "mediation_tokens",
    "mediation_set_cells",
    "mediation_permutations",
)
EVERYTHING: Final = -1
INTERACTING: Final = 5
MOST_COMPONENTS: Final = 62  # a coalition is a bit mask in 64 bits
NO_MODEL: Final = "a table of finished scores has no components that could be silenced"
NO_BLOCKS: Final = "this family cannot be intervened on: its adapter runs no blocks"
NO_OUTPUT: Final = (
    "release {}: the checkpoint has no token prediction head, so the effect of a regulator on a target cannot be read; "
    "add its weights to the checkpoint (cls.predictions in Geneformer layout, decoder.fc in scGPT layout)"
)
NO_MASK: Final = "release {}: family {} has no mask token and no value to hide the target behind"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    """One pair in one cell of a tissue; ``cell`` is its number among the control cells."""

    pair: Pair
    cell: int
    asked: int
    sequence: PairSequence


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """The model, what is silenced in it, and how much is measured."""

    model: InterventionModel
    output: Output
    hidden: HiddenGenes
    parts: Mapping[str, tuple[Component, ...]]
    orders: Mapping[str, Int]
    settings: Mapping[str, int]
    seed: int
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Measured:
    """What was measured of one granularity in one tissue; ``clean`` is the read-out of every case."""

    clean: Float
    effects: pd.DataFrame
    sets: pd.DataFrame
    interacting: list[int]


def read(context: ReadingContext) -> Reading | str:
    """Effects of silenced components on regulator-target pairs in up to three tissues; or why there are none.

    Pairs (``mediation_pairs``) are the same in as many tissues as possible, see `tf_target_pairs.choose_pairs`, and
    their regulators those of the network, transcription factors or not where it lists others; each
    is read in up to ``mediation_cells`` cells drawn among the control cells that hold both genes, in sequences of at
    most ``mediation_tokens`` tokens (0: whole). Tables, every row naming role, regulator, target and granularity
    (``mlp`` or ``heads``, see `coalitions.components_of`) where it has one:

    - ``run_pairs``: dataset, cells_hash, reference that lists the pair, cells_with_both, cells, set_cells, tokens (mean
      length of a sequence), read_out and read_out_sd over cells;
    - ``parts``: component (number), name, layer, heads;
    - ``effects``: component (-1 for everything at once), cell, effect m;
    - ``sets``: coalition (bit mask over components), cell, effect m, in ``mediation_set_cells`` of the cells. Up to 10
      components: every coalition. Beyond: those along ``mediation_permutations`` orders of joining, every second one
      the reverse of the one before (array ``orders_<granularity>``), and all sets of up to three of the five
      components with the largest mean |m| in the tissue (``facts["interacting"]``).
    """
    prepared = _tissues(context)
    if isinstance(prepared, str):
        return prepared
    plan, tissues, reasons = prepared
    try:
        return _read_tissues(plan, tissues, reasons)
    except InterventionError as error:
        return f"release {context.release.name}: {error}"


def _read_tissues(plan: _Plan, tissues: Mapping[str, Tissue], reasons: dict[str, str]) -> Reading:
    pairs = choose_pairs(tissues, plan.settings["mediation_pairs"], plan.settings["mediation_cells"])
    found: dict[str, list[pd.DataFrame]] = {"run_pairs": [], "effects": [], "sets": []}
    interacting: dict[str, dict[str, list[int]]] = {}
    for role, tissue in tissues.items():
        cases = _cases(plan, tissue, pairs, ROLES.index(role))
        if not cases:
            reasons[role] = f"{tissue.cells.dataset}: no cell holds both genes of a pair chosen over all tissues"
            continue
        _check(plan, cases[0])
        measured = {granularity: _measured(plan, cases, granularity, role) for granularity in GRANULARITIES}
        found["run_pairs"].append(_run_pairs(plan, role, tissue, cases, measured["mlp"].clean))
        for granularity, one in measured.items():
            found["effects"].append(_labelled(one.effects, role, granularity))
            found["sets"].append(_labelled(one.sets, role, granularity))
        interacting[role] = {granularity: one.interacting for granularity, one in measured.items()}
    facts = plan.model.describe()
    return Reading(
        tables={name: pd.concat(frames, ignore_index=True) for name, frames in found.items()} | {"parts": _parts(plan)},
        arrays={f"orders_{granularity}": orders for granularity, orders in plan.orders.items()},
        facts={
            **plan.settings,
            "device": facts.device,
            "dtype": facts.dtype,
            "layers": facts.layers,
            "heads": facts.heads,
            "interacting": interacting,
            "pairs": [list(pair) for pair in pairs],
            "reasons": reasons,
            "regulator_absent": plan.hidden.absent,
            "predicts": plan.hidden.predicts,
        },
    )


def _tissues(context: ReadingContext) -> tuple[_Plan, dict[str, Tissue], dict[str, str]] | str:
    """The plan, the tissues that can be read, and why others cannot; or why nothing can."""
    release = context.release
    if release.family in SCORE_FAMILIES:
        return NO_MODEL
    reasons = {role: reason for role, reason in context.absent.items() if role in ROLES}
    filled = {role: context.data[role] for role in ROLES if role in context.data}
    if not filled:
        return "; ".join(dict.fromkeys(reasons.values())) or "the study fills no role tissues[1] to tissues[3]"
    device = resolve_device(context.device)
    model = load_model(release, device=device, dtype=context.dtype, encoding=context.encoding)
    if not isinstance(model, InterventionModel):
        return NO_BLOCKS
    plan = _plan(context, model)
    if isinstance(plan, str):
        return plan
    encoded = {}
    for role, data in filled.items():
        tissue = tissue_of(model, data.cells, data.references, data.primary_reference)
        if isinstance(tissue, str):
            reasons[role] = tissue
        else:
            encoded[role] = tissue
    if not encoded:
        return "; ".join(f"{role}: {reason}" for role, reason in reasons.items())
    return plan, encoded, reasons


def _plan(context: ReadingContext, model: InterventionModel) -> _Plan | str:
    settings = {name: int(context.settings[name]) for name in SETTINGS}
    facts, hidden = model.describe(), hidden_genes(model)
    if hidden is None:
        return NO_MASK.format(context.release.name, facts.family)
    if hidden.output is None:
        return NO_OUTPUT.format(context.release.name)
    parts = {granularity: components_of(granularity, facts.layers, facts.heads) for granularity in GRANULARITIES}
    most = max(len(components) for components in parts.values())
    if most > MOST_COMPONENTS:
        return (
            f"release {context.release.name}: {most} components, and coalitions of at most {MOST_COMPONENTS} are kept"
        )
    orders = {
        granularity: _orders(np.random.default_rng([context.seed, 2, 9, number]), len(components), settings)
        for number, (granularity, components) in enumerate(parts.items())
        if len(components) > MOST_EXACT
    }
    return _Plan(
        model=model,
        output=hidden.output,
        hidden=hidden,
        parts=parts,
        orders=orders,
        settings=settings,
        seed=context.seed,
        label=context.release.name,
    )


def _orders(rng: np.random.Generator, components: int, settings: Mapping[str, int]) -> Int:
    """Orders of joining, every second one the reverse of the one before (P x K)."""
    permutations = settings["mediation_permutations"]
    if permutations < 4 or permutations % 2:
        raise ValueError(f"mediation_permutations = {permutations}: use an even number of at least 4")
    drawn = rng.permuted(np.tile(np.arange(components), (permutations // 2, 1)), axis=1)
    return np.stack([drawn, drawn[:, ::-1]], axis=1).reshape(-1, components).astype(np.int64)


def _cases(plan: _Plan, tissue: Tissue, pairs: Sequence[Pair], number: int) -> list[_Case]:
    """Pairs in the cells drawn for them, pair after pair, cells in the order drawn."""
    encoded, hide, most = tissue.scored.encoded, plan.hidden.hide, plan.settings["mediation_tokens"]
    cases = []
    for place, pair in enumerate(pairs):
        if pair not in tissue.held:
            continue
        rng = np.random.default_rng([plan.seed, 2, number, place])
        drawn = rng.permutation(tissue.cells_with(pair))[: plan.settings["mediation_cells"]]
        regulator, target = (tissue.column(gene) for gene in pair)
        asked = plan.hidden.row(pair[1])
        for cell in drawn.tolist():
            sequence = pair_sequence(encoded, cell, regulator, target, hide, most)
            cases.append(_Case(pair=pair, cell=cell, asked=asked, sequence=sequence))
    return cases


def _check(plan: _Plan, case: _Case) -> None:
    """Refuse a model on which silencing does not do what it says."""
    from interp_assets.interventions.self_test import check_interventions

    tokens = np.stack([case.sequence.shown, case.sequence.hidden])
    batch = TokenBatch(tokens=tokens, lengths=np.full(2, tokens.shape[1], dtype=np.int64))
    check_interventions(plan.model, batch, plan.model.describe().forms[0])


def _measured(plan: _Plan, cases: list[_Case], granularity: str, role: str) -> _Measured:
    """Single and total effects in every cell, coalitions in some of them, and the components taken in sets."""
    components = plan.parts[granularity]
    everything = (1 << len(components)) - 1
    singles = [1 << i for i in range(len(components))]
    label = f"{granularity} of {plan.label} on {role}"
    clean, effects = _effects(plan, cases, components, [*singles, everything], label)
    if not effects[-1].any():
        raise InterventionError(f"silencing all {granularity} changed no read-out in any of {len(cases)} cells")
    strongest = sorted(np.argsort(-np.abs(effects[:-1]).mean(axis=1), kind="stable")[:INTERACTING].tolist())
    coalitions = _coalitions(len(components), plan.orders.get(granularity), strongest)
    within = _set_cases(cases, plan.settings["mediation_set_cells"])
    _, sets = _effects(plan, within, components, coalitions, label)
    return _Measured(
        clean=clean,
        effects=_long(cases, effects, "component", [*range(len(components)), EVERYTHING]),
        sets=_long(within, sets, "coalition", coalitions),
        interacting=strongest if granularity in plan.orders else list(range(len(components))),
    )


def _effects(
    plan: _Plan, cases: list[_Case], components: Sequence[Component], coalitions: Sequence[int], label: str
) -> tuple[Float, Float]:
    """Read-out of the model as it is in every case, and m of every coalition (coalitions x cases)."""
    from tqdm import tqdm

    tokens = [part for case in cases for part in (case.sequence.shown, case.sequence.hidden)]
    at = np.repeat(np.array([case.sequence.at for case in cases], dtype=np.int64), 2)
    asked = np.repeat(np.array([case.asked for case in cases], dtype=np.int64), 2)
    sequences = Sequences(tokens=tokens, at=at, asked=asked)
    with tqdm(total=len(tokens), unit="sequence", desc=f"silencing {label}", disable=None, leave=False) as bar:
        logits = read_coalitions(plan.model, plan.output, sequences, components, [0, *coalitions], tell=bar.update)
    read_out = logits[:, ::2] - logits[:, 1::2]
    return read_out[0], np.asarray(read_out[:1] - read_out[1:], dtype=np.float64)


def _coalitions(components: int, orders: Int | None, strongest: list[int]) -> list[int]:
    """Coalitions that are measured, ascending, without the empty one."""
    if orders is None:
        return list(range(1, 1 << components))
    wanted = {1 << i for i in range(components)} | set(chain_coalitions(orders).ravel().tolist())
    for size in (2, 3):
        wanted |= {sum(1 << i for i in chosen) for chosen in combinations(strongest, size)}
    return sorted(wanted - {0})


def _set_cases(cases: list[_Case], most: int) -> list[_Case]:
    """The first cells drawn for each pair."""
    taken: dict[Pair, int] = {}
    kept = []
    for case in cases:
        taken[case.pair] = taken.get(case.pair, 0) + 1
        if taken[case.pair] <= most:
            kept.append(case)
    return kept


def _long(cases: list[_Case], values: Float, name: str, numbers: Sequence[int]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "regulator": np.repeat([case.pair[0] for case in cases], len(numbers)),
            "target": np.repeat([case.pair[1] for case in cases], len(numbers)),
            name: np.tile(np.array(numbers, dtype=np.int64), len(cases)),
            "cell": np.repeat(np.array([case.cell for case in cases], dtype=np.int64), len(numbers)),
            "effect": values.T.ravel(),
        }
    )


def _labelled(frame: pd.DataFrame, role: str, granularity: str) -> pd.DataFrame:
    named = frame.copy()
    named.insert(0, "role", role)
    named.insert(3, "granularity", granularity)
    return named


def _run_pairs(plan: _Plan, role: str, tissue: Tissue, cases: list[_Case], clean: Float) -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    for pair in dict.fromkeys(case.pair for case in cases):
        own = np.array([case.pair == pair for case in cases])
        lengths = [case.sequence.shown.size for case in cases if case.pair == pair]
        rows.append(
            {
                "role": role,
                "dataset": tissue.cells.dataset,
                "cells_hash": tissue.cells.cells_hash,
                "regulator": pair[0],
                "target": pair[1],
                "reference": tissue.reference,
                "cells_with_both": tissue.held[pair],
                "cells": int(own.sum()),
                "set_cells": min(int(own.sum()), plan.settings["mediation_set_cells"]),
                "tokens": float(np.mean(lengths)),
                "read_out": float(clean[own].mean()),
                "read_out_sd": float(clean[own].std(ddof=1)) if own.sum() > 1 else float("nan"),
            }
        )
    return pd.DataFrame(rows)


def _parts(plan: _Plan) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "granularity": granularity,
                "component": number,
                "name": part.name,
                "layer": part.layer,
                "heads": ";".join(str(head) for head in part.heads),
            }
            for granularity, components in plan.parts.items()
            for number, part in enumerate(components)
        ]
    )

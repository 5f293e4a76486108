"""The positive control: a transformer whose early heads carry a known network and whose read-out needs them.

What belongs here: planted scores and the release folder. What does not: the construction (`planted_weights`).
The weights are constructed, not trained; nothing in them was learned from a cell.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from interp_assets.cells.records import ScreenLabels
from interp_assets.edges.layers import resolve_layer
from interp_assets.edges.records import Reference
from interp_assets.models.controls.planted_weights import (
    SPECIALS,
    Plan,
    PlantedWeights,
    intermediate_size,
    layout,
)
from interp_assets.models.files.written_folders import json_bytes, write_control_release

READ_OUT_DEPTH = 13 / 17
GATE_DEPTH = 8 / 17
HEADS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class PlantedScore:
    """What a planted model is given to say: R regulators x genes, a typical edge at 1, no edge at 0, plus noise."""

    regulators: NDArray[np.str_]
    genes: NDArray[np.str_]
    score: NDArray[np.float64]


def planted_score_from_labels(
    labels: ScreenLabels, references: Iterable[Reference], noise: float, seed: int
) -> PlantedScore:
    """Planted scores for a screen whose truth is not planted: its own outcomes and reference networks.

    Every positive outcome and every reference pair scores 1, everything else 0, plus N(0, `noise`). Regulators
    are the perturbed genes and the genes that a reference lists a scored target for.

    **What such a control shows.** The model is handed the answers of the very screen it is judged on. That it
    passes says that this battery, on this screen, sees a network when one is there: the screen has enough
    perturbations, positives and scorable pairs, and no criterion is out of reach. It says nothing about any
    model, and nothing about whether the outcomes are regulation.

    Raises
    ------
    ValueError
        If no perturbed gene and no regulator is among the scored genes.
    """
    genes = labels.genes
    where = {gene: i for i, gene in enumerate(genes.tolist())}
    names = dict.fromkeys(name for name in labels.perturbations.tolist() if name in where)
    pairs = [
        pair
        for reference in references
        for pair in zip(
            reference.genes[reference.source].tolist(), reference.genes[reference.target].tolist(), strict=True
        )
        if pair[0] in where and pair[1] in where
    ]
    names |= dict.fromkeys(sorted({source for source, _ in pairs}))
    # Regulators are dealt over the heads in this order. With the best listed first every head gets its share of the
    # pairs that heads are ranked by, and none carries outcomes alone.
    listed = Counter(source for source, _ in pairs)
    names = dict.fromkeys(sorted(names, key=lambda name: (-listed[name], name)))
    if not names:
        raise ValueError(
            f"{labels.dataset}: no perturbed gene and no regulator is among the scored genes; nothing can be planted"
        )
    row = {name: i for i, name in enumerate(names)}
    edge = np.zeros((len(row), len(genes)))
    for name, outcome in zip(labels.perturbations.tolist(), labels.label, strict=True):
        if name in row:
            edge[row[name], outcome == 1] = 1.0
    for source, target in pairs:
        edge[row[source], where[target]] = 1.0
    score = edge + np.random.default_rng([seed, 21]).normal(0.0, noise, size=edge.shape)
    return PlantedScore(regulators=np.array(list(row), dtype=str), genes=genes, score=score)


def planted_plan(layers: int) -> Plan:
    """Acting layers of a planted model: the gate MLP and the read-out sit at the published relative depths.

    >>> planted_plan(8)
    Plan(layers=8, early=1, gate=3, read_out=5, slope=1.0)
    """
    plan = Plan(
        layers=layers,
        early=min(1, resolve_layer(GATE_DEPTH, layers)),
        gate=resolve_layer(GATE_DEPTH, layers),
        read_out=resolve_layer(READ_OUT_DEPTH, layers),
    )
    if not plan.early <= plan.gate < plan.read_out:
        raise ValueError(f"{layers} layers leave no room for an early layer, a gate and a read-out; use at least 2")
    return plan


def build_planted_release(
    folder: Path,
    *,
    genes: Sequence[str] | NDArray[np.str_],
    regulators: Sequence[str] | NDArray[np.str_],
    score: NDArray[np.floating],
    medians: Mapping[str, float] | None = None,
    seed: int = 0,
    max_length: int = 512,
    layers: int = 8,
    name: str = "",
) -> None:
    """Write a complete Geneformer-layout release folder that carries `score` in its early heads.

    Parameters
    ----------
    folder
        Destination; an existing folder is replaced.
    genes
        Vocabulary, G gene symbols.
    regulators
        R of these genes; only they get a specific attention row.
    score
        R x G planted scores, a typical edge at 1 (noise included; up to about 3). Self pairs are ignored.
    medians
        Non-zero medians of the genes for rank-value encoding; None means 1 for every gene.
    seed
        Of the idle heads and random codes.
    max_length
        Longest sequence, special tokens included.
    layers
        At least 2; 8 layers and 8 heads make the published head shares whole numbers.
    name
        Release name; the folder's own name if empty.

    Raises
    ------
    ValueError
        If shapes disagree, a regulator is no gene, a gene repeats, a score is not finite or a median is missing.
    """
    names, rows, table = _checked(genes, regulators, score)
    place, plan = layout(len(rows), HEADS), planted_plan(layers)
    weights = PlantedWeights(place, plan, table, rows, positions=max_length, rng=np.random.default_rng([seed, 20]))
    from safetensors.numpy import save

    contents = {
        "model.safetensors": save(weights.tensors(), metadata={"format": "pt"}),
        "config.json": json_bytes(_config(len(names) + len(SPECIALS), place.width, len(rows), layers, max_length)),
        "token_dictionary.json": json_bytes({name: i for i, name in enumerate([*SPECIALS, *names])}),
        "gene_median_dictionary.json": json_bytes(_medians(names, medians)),
    }
    facts = {
        "family": "geneformer",
        "adapter": "geneformer",
        "kind": "positive_control",
        "control": "positive",
        "gene_key": "symbol",
        "source": "constructed from planted scores; no weight was trained",
        "licence": "Apache-2.0",
        "seed": seed,
        "regulators": len(rows),
        "layers_acting": {"early": plan.early, "gate": plan.gate, "read_out": plan.read_out},
    }
    write_control_release(Path(folder), contents, facts, name)


def _checked(
    genes: Sequence[str] | NDArray[np.str_],
    regulators: Sequence[str] | NDArray[np.str_],
    score: NDArray[np.floating],
) -> tuple[list[str], NDArray[np.int64], NDArray[np.float64]]:
    names = [str(gene) for gene in genes]
    where = {name: i for i, name in enumerate(names)}
    wanted = [str(name) for name in regulators]
    if len(where) != len(names) or len(set(wanted)) != len(wanted):
        raise ValueError("genes or regulators repeat a name; every gene needs one token")
    unknown = [name for name in wanted if name not in where]
    if unknown or not wanted:
        raise ValueError(
            f"{len(unknown)} of {len(wanted)} regulators are not among the genes, such as {', '.join(unknown[:5])}; "
            "every regulator must be in the vocabulary"
        )
    table = np.array(score, dtype=np.float64)
    if table.shape != (len(wanted), len(names)):
        raise ValueError(f"score has shape {table.shape}; {len(wanted)} regulators x {len(names)} genes are needed")
    if not np.isfinite(table).all():
        raise ValueError("score holds missing or infinite values; a planted score is known for every pair")
    rows = np.array([where[name] for name in wanted])
    table[np.arange(len(rows)), rows] = 0.0
    return names, rows, table


def _config(vocabulary: int, width: int, regulators: int, layers: int, max_length: int) -> dict[str, object]:
    return {
        "architectures": ["BertForMaskedLM"],
        "model_type": "bert",
        "vocab_size": vocabulary,
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": HEADS,
        "intermediate_size": intermediate_size(regulators),
        "hidden_act": "relu",
        "hidden_dropout_prob": 0.02,
        "attention_probs_dropout_prob": 0.02,
        "max_position_embeddings": max_length,
        "type_vocab_size": 2,
        "layer_norm_eps": 1e-12,
        "initializer_range": 0.02,
        "pad_token_id": 0,
        "position_embedding_type": "absolute",
    }


def _medians(names: Sequence[str], medians: Mapping[str, float] | None) -> dict[str, float]:
    if medians is None:
        return dict.fromkeys(names, 1.0)
    lacking = [name for name in names if name not in medians]
    if lacking:
        raise ValueError(f"medians lack {len(lacking)} genes, such as {', '.join(lacking[:5])}; give one each, or None")
    return {name: float(medians[name]) for name in names}

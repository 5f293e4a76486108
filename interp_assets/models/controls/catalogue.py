"""The control catalogue: what each control is, how it is made, and what an honest assay says about it.

What belongs here: names, expectations and the cheap negative twins. What does not: the positive control's
construction (`planted_transformer`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interp_assets.cells.records import PreparedCells, ScreenLabels
from interp_assets.edges.records import AttentionEdges, EdgeMatrix, Reference
from interp_assets.models.files.checkpoints import read_json
from interp_assets.models.files.releases import Release, read_release
from interp_assets.models.files.written_folders import write_control_release

PLANTED = "control-planted"
COEXPRESSION = "control-coexpression"
SHUFFLED = "shuffled"
RANDOM_WEIGHTS = "random-weights"

Expectation = Literal["supported", "refuted"]

# Above .25 the planted score no longer beats gene variance on a planted screen.
PLANTED_NOISE = 0.25
PLANTED_LENGTH = 512
# (output layer, what it repeats where both are one tensor), as torch files of masked language models list them.
TIED = (
    ("cls.predictions.decoder.weight", "bert.embeddings.word_embeddings.weight"),
    ("cls.predictions.decoder.bias", "cls.predictions.bias"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """One control: its name (or the suffix a release's name gets), what it is and what must come out."""

    name: str
    kind: Literal["positive", "negative"]
    scope: Literal["study", "release"]
    made: str
    expected: Expectation
    why: str

    def of(self, release: str) -> str:
        """Name under which this control of a release is evaluated; study-wide controls have one name."""
        return f"{release}.{self.name}" if self.scope == "release" else self.name


CONTROLS: tuple[Control, ...] = (
    Control(
        name=PLANTED,
        kind="positive",
        scope="study",
        made="a constructed transformer whose early heads carry the network behind the outcomes",
        expected="supported",
        why="if it does not pass, the assay could not see a network that is there",
    ),
    Control(
        name=COEXPRESSION,
        kind="negative",
        scope="study",
        made="absolute Spearman correlation on the same control cells, read through the edge-table adapter",
        expected="refuted",
        why="co-expression recovers known pairs and beats chance without being regulation",
    ),
    Control(
        name=SHUFFLED,
        kind="negative",
        scope="release",
        made="target columns of the release's attention permuted, once for all layers",
        expected="refuted",
        why="every row keeps its values but no pair keeps its own",
    ),
    Control(
        name=RANDOM_WEIGHTS,
        kind="negative",
        scope="release",
        made="weights of the release drawn anew with each tensor's own mean and spread, same tokeniser",
        expected="refuted",
        why="whatever passes here comes from the input encoding, not from learning",
    ),
)


def control(name: str) -> Control | None:
    """Catalogue entry behind an evaluated name, or None for a plain release.

    >>> control("geneformer-small-2k.shuffled").kind, control("geneformer-small-2k")
    ('negative', None)
    """
    for entry in CONTROLS:
        if entry.scope == "study" and name == entry.name:
            return entry
        if entry.scope == "release" and name.endswith(f".{entry.name}") and len(name) > len(entry.name) + 1:
            return entry
    return None


def is_control(name: str) -> bool:
    """Whether a name is that of a control.

    >>> is_control("control-planted"), is_control("geneformer-small-2k")
    (True, False)
    """
    return control(name) is not None


def base_release(name: str) -> str:
    """Release that a negative twin was made from; any other name comes back unchanged.

    >>> base_release("geneformer-small-2k.shuffled"), base_release("control-planted")
    ('geneformer-small-2k', 'control-planted')
    """
    entry = control(name)
    return name.removesuffix(f".{entry.name}") if entry is not None and entry.scope == "release" else name


def shuffled(edges: AttentionEdges, seed: int) -> AttentionEdges:
    """The same attention with target columns permuted: the negative twin ``<release>.shuffled``.

    One permutation serves every layer, so that whatever links layers stays. Scores, cell counts and missing
    pairs move together; the self pair of a gene lands on another pair and the other way round.
    """
    order = np.random.default_rng([seed, 11]).permutation(len(edges.genes))
    name = f"{edges.release}.{SHUFFLED}"

    def layer_matrix(layer: int) -> EdgeMatrix:
        matrix = edges.layer_matrix(layer)
        return replace(
            matrix,
            name=name,
            score=np.ascontiguousarray(matrix.score[:, order]),
            cells_behind=np.ascontiguousarray(matrix.cells_behind[:, order]),
            facts={**matrix.facts, "control": SHUFFLED, "control_seed": seed},
        )

    facts = {**edges.facts, "control": SHUFFLED, "control_seed": seed}
    return replace(edges, release=name, layer_matrix=layer_matrix, facts=facts)


def random_weights_release(
    release: Release, folder: Path, seed: int, spread: Literal["trained", "config"] = "trained"
) -> Release:
    """Verified twin ``<release>.random-weights`` in `folder`: same architecture and tokeniser, nothing learned.

    Every weight matrix is drawn from a normal distribution; layer norms are reset to 1 and 0 and biases to 0.
    With ``spread="trained"`` each matrix keeps its own mean and standard deviation. Initialising as for training
    (``"config"``, standard deviation ``initializer_range``) makes small models attend almost uniformly, and the
    ranking of near-ties then follows numerical detail; at the trained spread the attention is as uneven as the
    release's own, so that only learning differs. Either way rank order is defined, and an AUROC near chance is
    expected, not guaranteed: input encoding alone may carry expression level.

    Parameters
    ----------
    release
        A verified release with weights; the twin holds them as one ``model.safetensors``.
    folder
        Destination of the new release folder; an existing one is replaced.
    seed
        Of the draw.
    spread
        ``"trained"`` or ``"config"``.

    Raises
    ------
    ValueError
        If the release lists no weights, or `spread` is unknown.
    """
    from safetensors.numpy import save

    from interp_assets.models.files.weights import WEIGHT_FILES, weight_paths

    if spread not in ("trained", "config"):
        raise ValueError(f"spread = {spread!r}; use trained or config")
    scale = None
    if spread == "config":
        scale = float(read_json(release.file("config.json")).get("initializer_range", 0.02))
    rng = np.random.default_rng([seed, 12])
    tensors = _untied(release)
    drawn = {name: _redrawn(name, tensors[name], scale, rng) for name in sorted(tensors)}
    weights = {*WEIGHT_FILES, *(path.relative_to(release.folder).as_posix() for path in weight_paths(release))}
    kept = [file.path for file in release.files if file.path not in weights]
    contents = {path: release.file(path).read_bytes() for path in kept}
    contents["model.safetensors"] = save(drawn, metadata={"format": "pt"})
    facts = {key: value for key, value in release.facts.items() if key not in {"name", "created", "training"}}
    facts |= {
        "kind": "negative_control",
        "control": "negative",
        "source": f"weights of {release.name} drawn anew",
        "base_release": release.name,
        "base_release_id": release.release_id,
        "seed": seed,
        "spread": spread,
    }
    write_control_release(Path(folder), contents, facts, f"{release.name}.{RANDOM_WEIGHTS}")
    return read_release(Path(folder))


def _untied(release: Release) -> dict[str, NDArray[np.generic]]:
    """Tensors of a release, floating ones as float32; an output layer that repeats the embedding is left out.

    A model reads the embedding where the output layer is absent, so both stay one matrix when they are drawn anew.
    """
    from interp_assets.models.files.weights import read_weights

    state = read_weights(release)
    tensors = {name: (held.float() if held.is_floating_point() else held).numpy() for name, held in state.items()}
    for copy, original in TIED:
        if copy in tensors and original in tensors and np.array_equal(tensors[copy], tensors[original]):
            del tensors[copy]
    return tensors


def _redrawn(
    name: str, trained: NDArray[np.generic], scale: float | None, rng: np.random.Generator
) -> NDArray[np.generic]:
    """A fresh tensor of the same shape, by the role its name gives it."""
    if not np.issubdtype(trained.dtype, np.floating):
        return trained
    # a weight of one dimension scales a norm; the variance of a batch norm starts at 1
    if name.endswith("running_var") or (name.endswith("weight") and trained.ndim == 1):
        return np.ones(trained.shape, dtype=np.float32)
    # without this bias W1 v has one direction for every v, and the norm behind it removes the value altogether
    if name.endswith(("bias", "running_mean")) and not name.endswith("value_encoder.linear1.bias"):
        return np.zeros(trained.shape, dtype=np.float32)
    values = trained.astype(np.float64)
    mean, deviation = (values.mean(), values.std()) if scale is None else (0.0, scale)
    drawn = rng.normal(mean, deviation, size=trained.shape).astype(np.float32)
    if name.endswith("word_embeddings.weight"):
        drawn[0] = 0.0  # the padding row is never attended and stays empty
    return drawn


def coexpression_edge_table(correlation: EdgeMatrix) -> pd.DataFrame:
    """Edge table of ``control-coexpression``: source, target, |score|, cells; one row an ordered pair.

    Self pairs, pairs without a score and pairs that no cell stands behind are left out. The table is symmetric:
    correlation has no direction, which is part of what the control shows.
    """
    score = np.abs(correlation.score)
    keep = np.isfinite(score) & (correlation.cells_behind > 0)
    np.fill_diagonal(keep, False)
    source, target = np.nonzero(keep)
    genes = correlation.genes.astype(object)
    return pd.DataFrame(
        {
            "source": genes[source],
            "target": genes[target],
            "score": score[source, target],
            "cells": correlation.cells_behind[source, target],
        }
    )


def coexpression_release(folder: Path, correlation: EdgeMatrix) -> Release:
    """Verified ``control-coexpression``: an edge-table release written to `folder`, on the cells of the scores."""
    table = coexpression_edge_table(correlation)
    if table.empty:
        raise ValueError(f"{correlation.name}: no pair has a correlation; {COEXPRESSION} cannot be made")
    stream = BytesIO()
    table.to_parquet(stream, index=False)
    facts = {
        "family": "edge_table",
        "adapter": "edge_table",
        "kind": "negative_control",
        "control": "negative",
        "gene_key": "symbol",
        "source": "absolute Spearman correlation on the same control cells",
        "licence": "as the cells",
        "cells_hash": correlation.cells_hash,
    }
    write_control_release(Path(folder), {"edges.parquet": stream.getvalue()}, facts, COEXPRESSION)
    return read_release(Path(folder))


def planted_control_release(
    folder: Path, cells: PreparedCells, labels: ScreenLabels, references: Mapping[str, Reference], seed: int
) -> Release:
    """Verified ``control-planted`` for one screen, written to `folder`.

    Where the screen was planted, the model carries the planted network; otherwise it is handed the outcomes
    themselves and the references (see `planted_transformer.planted_score_from_labels` for what that shows).
    Medians come from the control cells; a gene they never show gets 1.

    Parameters
    ----------
    folder
        Destination of the release folder; an existing one is replaced.
    cells
        Cells the attention will be extracted from; their universe becomes the vocabulary.
    labels
        Outcomes of the screen, on the same universe.
    references
        Reference networks; looked at only if nothing was planted.
    seed
        Of the score noise and the idle heads.
    """
    from interp_assets.cells.planted_scores import planted_score
    from interp_assets.models.controls.planted_transformer import (
        PlantedScore,
        build_planted_release,
        planted_score_from_labels,
    )

    if labels.planted_weight is None:
        given = planted_score_from_labels(labels, references.values(), PLANTED_NOISE, seed)
    else:
        noisy = planted_score(labels.planted_weight, PLANTED_NOISE, np.random.default_rng([seed, 21]))
        given = PlantedScore(regulators=labels.perturbations, genes=labels.genes, score=noisy)
    build_planted_release(
        Path(folder),
        genes=given.genes,
        regulators=given.regulators,
        score=given.score,
        medians=_non_zero_medians(cells, given.genes),
        seed=seed,
        max_length=PLANTED_LENGTH,
        name=PLANTED,
    )
    return read_release(Path(folder))


def _non_zero_medians(cells: PreparedCells, genes: NDArray[np.str_]) -> dict[str, float]:
    from interp_assets.models.families.rank_value import fit_medians

    counts = cells.counts[np.flatnonzero(cells.control)]
    column = pd.Index(cells.genes).get_indexer(genes)
    if (column < 0).any():
        raise ValueError(
            f"{cells.dataset} lacks {int((column < 0).sum())} scored genes of the screen, such as "
            f"{genes[column < 0][0]}; build the control on the cells its attention is read from"
        )
    shown = np.bincount(counts.indices[counts.data > 0], minlength=counts.shape[1])[column] > 0
    totals = np.asarray(counts.sum(axis=1), dtype=np.float64).ravel()
    medians = np.ones(len(genes))
    medians[shown] = fit_medians(counts, totals, column[shown].astype(np.int32))
    return dict(zip(genes.tolist(), medians.tolist(), strict=True))

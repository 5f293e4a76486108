"""Edge scores of known nature: what noise, a confounder, co-expression and the planted network would score.

What belongs here: a screen in, one score of every pair (regulator, target) out. What does not: what may be concluded
from a score (`catalogue`).

Every score is handed to the battery in place of attention. The battery refuses to compare scores of different cells;
these scores state the cells of the correlation they stand beside, also where what they know comes from other cells.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from interp_assets.calibration.screens import SCREEN, Screen
from interp_assets.cells.planted_scores import confound_only, planted_score
from interp_assets.edges.records import AttentionEdges, EdgeMatrix

Score = Callable[[Screen], NDArray[np.float64]]
# A level of its own for every regulator, drawn by lot: real attention has such levels and they know no outcome.
REGULATOR_LEVEL: Final = 0.4


def pure(screen: Screen) -> NDArray[np.float64]:
    """Score (P x G) that knows nothing: N(0, 1)."""
    return screen.rng("pure").normal(size=screen.weight.shape)


def gene_confound(screen: Screen) -> NDArray[np.float64]:
    """Score (P x G) that knows target variance and a random level of every regulator, and nothing about pairs.

    .8 x normal score of log variance + N(0, .4) a regulator + N(0, 1) a pair.
    """
    rng = screen.rng("confound_only")
    score = confound_only(screen.variance_score, screen.source.size, rng)
    return score + rng.normal(0.0, REGULATOR_LEVEL, size=(screen.source.size, 1))


def mean_elsewhere(screen: Screen) -> NDArray[np.float64]:
    """Score (P x G) that is the target's mean expression, measured in other cells: the confounder at full strength."""
    return np.broadcast_to(screen.mean_elsewhere, screen.weight.shape).copy()


def coexpression(screen: Screen) -> NDArray[np.float64]:
    """Absolute Spearman correlation (P x G) of the pair in other cells."""
    return screen.elsewhere.score[screen.source].astype(np.float64)


def coexpression_of_others(screen: Screen) -> NDArray[np.float64]:
    """Absolute Spearman correlation (P x G) in other cells, the perturbed genes' rows permuted by lot.

    Gene effects stay, which regulator a row belongs to is noise. A row meets the gene it was taken from as a target;
    there it gets the correlation of the two genes and not that of the gene with itself.
    """
    order = screen.rng("regulators").permutation(screen.source.size)
    taken = screen.source[order]
    score = screen.elsewhere.score[taken].astype(np.float64)
    score[np.arange(taken.size), taken] = screen.elsewhere.score[taken, screen.source]
    return score


def planted_at(strength: float) -> Score:
    """Score of the planted network: |weight| / 1.8 + N(0, 1 / strength), an edge of the usual size against noise."""

    def score(screen: Screen) -> NDArray[np.float64]:
        return planted_score(screen.weight, 1.0 / strength, screen.rng(f"planted {strength:g}"))

    return score


def as_attention(screen: Screen, score: NDArray[np.float64], name: str) -> AttentionEdges:
    """A score (P x G) in the shape of attention with one layer; only perturbed genes are regulators."""
    correlation = screen.artefacts.edges["correlation"]
    full = np.full(correlation.score.shape, np.nan, dtype=np.float32)
    full[screen.source] = score
    np.fill_diagonal(full, np.nan)
    edges: EdgeMatrix = replace(correlation, name="attention", score=full, layer=0)
    return AttentionEdges(
        release=name,
        dataset=SCREEN,
        genes=edges.genes,
        layers=1,
        heads=1,
        cells_hash=edges.cells_hash,
        layer_matrix=lambda layer: edges,
    )

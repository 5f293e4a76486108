"""Candidate pairs of a database in the shape analysis E1 scores them, and their scores at every layer.

What belongs here: which pairs of genes a database is asked about, and the score each of them has. What does not: any
test. A directed database is asked about ordered pairs, each listed regulator against every other gene; an undirected
one about unordered pairs with at least one listed gene, each once, scored with a symmetrised edge (paper section 2.3).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from interp_assets.analyses.inputs import AnalysisInputs, RoleInputs
from interp_assets.analyses.scores import ReferencePairs, edge_scores, reference_pairs
from interp_assets.stats.ranking import RankedRows, rank_rows

Float = NDArray[np.float64]
Variant = Literal["directed", "mean", "max"]
VARIANTS: Final[tuple[Variant, ...]] = ("directed", "mean", "max")
MIN_POSITIVES: Final = 10  # as for the choice of the layer


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabasePairs:
    """One database over the evaluable genes (G).

    ``name`` is the study's word for it and ``dataset`` what it was read from. ``role`` says why it is here: "database",
    or "primary reference", which goes along as a yardstick and has no declared row. ``pairs`` as in recovery of any
    reference.
    """

    name: str
    dataset: str
    role: Literal["database", "primary reference"]
    pairs: ReferencePairs

    @property
    def primary(self) -> Variant:
        """The score its tests read: the edge itself, or the mean of both directions for an undirected database."""
        return "directed" if self.pairs.directed else "mean"

    @property
    def genes(self) -> int:
        """Number of evaluable genes."""
        return int(self.pairs.member.shape[1])

    def members(self) -> NDArray[np.bool_]:
        """Which ordered pairs (G x G) it lists, rows that it could not list False."""
        listed = np.zeros((self.genes, self.genes), dtype=bool)
        listed[self.pairs.regulators] = self.pairs.member
        return listed

    def label(self, variant: Variant) -> NDArray[np.int8]:
        """1 listed, 0 another candidate, -1 no candidate, of every pair in the order of `pairs_of`."""
        able = np.zeros(self.genes, dtype=bool)
        able[self.pairs.regulators] = True
        unordered = not self.pairs.directed and variant != "directed"
        candidate = able[:, None] | able[None, :] if unordered else np.repeat(able[:, None], self.genes, axis=1)
        label = np.where(self.members(), 1, np.where(candidate, 0, -1)).astype(np.int8)
        np.fill_diagonal(label, -1)
        return pairs_of(label, unordered=unordered)

    def scores(self, edge: Float, variant: Variant) -> Float:
        """Scores of the same pairs from an edge score (G x G)."""
        return pairs_of(combined(edge, variant), unordered=not self.pairs.directed and variant != "directed")


def combined(edge: Float, variant: Variant) -> Float:
    """An edge score (G x G) as it is, or the mean or the maximum of its two directions."""
    if variant == "directed":
        return edge
    return (edge + edge.T) / 2.0 if variant == "mean" else np.maximum(edge, edge.T)


def pairs_of(matrix: NDArray[Any], *, unordered: bool) -> NDArray[Any]:
    """Entries of a G x G matrix: those above the diagonal, row by row, or all of them."""
    return np.asarray(matrix[np.triu_indices(matrix.shape[0], 1)] if unordered else matrix.ravel())


def databases(role: RoleInputs) -> tuple[dict[str, DatabasePairs], dict[str, str]]:
    """Databases of a role by name, and by name the reason why a named one cannot be used.

    The role's primary reference is among them under the key "primary reference", whatever it is.
    """
    found: dict[str, DatabasePairs] = {}
    lacking: dict[str, str] = {}
    asked = [(name, name, role.reference_sets) for name in role.reference_sets]
    if role.primary_reference in role.references:
        asked.append(("primary reference", role.primary_reference, role.references))
    for name, key, held in asked:
        pairs = reference_pairs(replace(role, references=held), key)
        positives = int(np.triu(_square(pairs), 1).sum()) if not pairs.directed else int(pairs.member.sum())
        if positives < MIN_POSITIVES:
            lacking[name] = (
                f"{name} has {positives} pairs among the {role.genes.size} evaluable genes of {role.dataset}; "
                f"{MIN_POSITIVES} are needed"
            )
            continue
        found[name] = DatabasePairs(
            name=key,
            dataset=held[key].name,
            role="primary reference" if name == "primary reference" else "database",
            pairs=pairs,
        )
    return found, lacking


def why_absent(inputs: AnalysisInputs, lacking: Mapping[str, str], name: str) -> str:
    """Why the tests of a database cannot be run."""
    unnamed = f"study {inputs.study} names no database {name} that is available (key reference_sets)"
    return lacking.get(name) or inputs.absent.get(name) or unnamed


def _square(pairs: ReferencePairs) -> NDArray[np.bool_]:
    listed = np.zeros((pairs.member.shape[1],) * 2, dtype=bool)
    listed[pairs.regulators] = pairs.member
    return listed


@dataclass(frozen=True, slots=True)
class LayerScores:
    """Edge scores (G x G) of one layer, missing pairs at the lowest, and their share; sorted once for all databases."""

    score: Float
    missing_share: float
    sorted: dict[Variant, RankedRows]

    def auroc(self, database: DatabasePairs, label: NDArray[np.int8], variant: Variant) -> float:
        """AUROC of a database's candidates; ``label`` is that of `DatabasePairs.label` for the same variant."""
        if database.pairs.directed:
            candidate = label >= 0  # few regulators: sorting their pairs is cheaper than sorting all
            ranked = rank_rows(database.scores(self.score, variant)[candidate])
            return float(ranked.auroc(label[candidate][None])[0])
        if variant not in self.sorted:
            self.sorted[variant] = rank_rows(database.scores(self.score, variant))
        return float(self.sorted[variant].auroc(label[None])[0])


def attention_layers(role: RoleInputs) -> Iterator[LayerScores]:
    """Attention of every layer, the first one first."""
    for layer in range(role.attention.layers):
        yield attention_scores(role, layer)


def attention_scores(role: RoleInputs, layer: int) -> LayerScores:
    """Attention of one layer."""
    filled = edge_scores(role, "attention", layer)
    return LayerScores(filled.score, filled.filled_share, {})


def correlation_scores(role: RoleInputs) -> LayerScores:
    """Absolute correlation in the same shape; it has one direction only."""
    filled = edge_scores(role, "correlation")
    return LayerScores(filled.score, filled.filled_share, {})

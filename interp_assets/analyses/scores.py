"""Edge scores, labels and reference pairs in the shape the statistics take them.

Orientation is regulator -> target everywhere and a higher score means more regulatory. Every function
refuses arrays whose genes or cells are not those of the role (paper section 9, rules 2 and 4).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from interp_assets.analyses.inputs import RoleInputs
from interp_assets.edges.records import EdgeMatrix, Reference
from interp_assets.stats.matching import paired_by_rank
from interp_assets.stats.ranking import fill_missing

Subset = Literal["all", "informative", "expression_matched"]
SUBSETS: Final[tuple[Subset, ...]] = ("all", "informative", "expression_matched")

GENE_LEVEL = ("variance", "mean", "one_minus_dropout", "tf_out_degree")
DE_RATE: Final = "de_rate"
# Share of the genes by whose rank in mean expression a matched negative may differ: on sparse lists nine in ten
# positives find one, and mean expression falls from AUROC .75 to .51.
EXPRESSION_CALIPER: Final = 0.05


@dataclass(frozen=True, slots=True)
class FilledScores:
    """Scores of all ordered pairs (genes x genes, float64), and the share that `fill_missing` filled."""

    score: NDArray[np.float64]
    filled_share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferencePairs:
    """Candidate pairs of reference recovery: each listed regulator against every other gene.

    ``regulators`` (R) are gene positions; ``member`` is R x G, True where the reference holds the pair. The
    candidates are all R x (G - 1) pairs but the self pairs.
    """

    name: str
    directed: bool
    regulators: NDArray[np.int64]
    member: NDArray[np.bool_]


def check_same_cells(role: RoleInputs) -> None:
    """Refuse to compare scores that were computed from different cells.

    Raises
    ------
    ValueError
        Naming the score whose cells hash differs from that of attention.
    """
    others = {"correlation": role.correlation, **role.trivial}
    for name, edges in others.items():
        if edges.cells_hash != role.attention.cells_hash:
            raise ValueError(
                f"{role.dataset}: {name} comes from cells {edges.cells_hash[:12]} and attention from "
                f"{role.attention.cells_hash[:12]}; recompute both on the same sampled control cells"
            )


def edge_scores(role: RoleInputs, edge: str, layer: int | None = None) -> FilledScores:
    """Scores of one edge type over all ordered pairs, missing ones at the lowest observed score.

    Parameters
    ----------
    edge
        "attention" (head mean of `layer`), "correlation" (absolute Spearman), or a name in ``role.trivial``.
    """
    return _filled(role, _matrix(role, edge, layer))


def _matrix(role: RoleInputs, edge: str, layer: int | None) -> EdgeMatrix:
    if edge == "attention":
        if layer is None:
            raise ValueError("attention needs a layer; see edges.layers.resolve_layer")
        return role.attention.layer_matrix(layer)
    if edge == "correlation":
        return role.correlation
    if edge in role.trivial:
        return role.trivial[edge]
    raise ValueError(f"{role.dataset}: unknown edge score {edge}; known: attention, correlation, {list(role.trivial)}")


def _filled(role: RoleInputs, edges: EdgeMatrix) -> FilledScores:
    if not np.array_equal(edges.genes, role.genes):
        raise ValueError(
            f"{role.dataset}: genes of {edges.name} are not the evaluable genes in their order; "
            "restrict the score to role.genes first"
        )
    return FilledScores(*fill_missing(edges.score))


def gene_scores(role: RoleInputs) -> dict[str, NDArray[np.float64]]:
    """Gene-level predictors (G each): properties of the target alone, equal for every perturbation.

    Raises
    ------
    ValueError
        If a feature is missing or not finite for some gene: ranking would place it silently.
    """
    columns = {name: role.features[name].to_numpy(np.float64) for name in ("mean", "variance", "dropout", "out_degree")}
    for name, values in columns.items():
        if values.shape != role.genes.shape or not np.isfinite(values).all():
            raise ValueError(f"{role.dataset}: gene feature {name} is missing for some evaluable genes")
    scores = (columns["variance"], columns["mean"], 1.0 - columns["dropout"], columns["out_degree"])
    return dict(zip(GENE_LEVEL, scores, strict=True))


def rate_scores(role: RoleInputs) -> NDArray[np.float64] | None:
    """How often each gene answers to other training perturbations (P x G); None where that is not known.

    Beside the gene-level predictors this is the one that has seen outcomes, never those of its own row
    (`stats.de_rate`).

    Raises
    ------
    ValueError
        If the rates are not perturbations x genes, or one is missing.
    """
    if role.de_rate is None:
        return None
    rates = np.asarray(role.de_rate, dtype=np.float64)
    if rates.shape != role.label.shape or not np.isfinite(rates).all():
        raise ValueError(f"{role.dataset}: response rates are missing for some perturbations or genes")
    return rates


def candidate_labels(role: RoleInputs, subset: Subset = "all") -> NDArray[np.int8]:
    """Labels perturbations x genes: 1 responds, 0 does not, -1 no candidate.

    The perturbed gene is never a candidate, whatever the screen says: its own knock-down would inflate the
    AUROC (paper analysis 19). Subset "informative" keeps genes with both labels among training
    perturbations, the fair subset of screens that list only some pairs. Subset "expression_matched" keeps each
    positive with one negative of its own perturbation that is expressed like it (`expression_matched_label`).
    """
    label = role.label.copy()
    label[np.arange(label.shape[0]), role.source] = -1
    if subset == "informative":
        label[:, ~role.informative] = -1
    if subset == "expression_matched":
        return expression_matched_label(label, gene_scores(role)["mean"])
    return label


def expression_matched_label(label: NDArray[np.int8], mean: NDArray[np.float64]) -> NDArray[np.int8]:
    """Labels (P x G) that keep each positive with one negative of its row expressed like it, others -1.

    A positive without a free negative within `EXPRESSION_CALIPER` of its rank in mean expression (G) drops out.
    """
    return paired_by_rank(label, mean, EXPRESSION_CALIPER)


def subsets(role: RoleInputs) -> tuple[Subset, ...]:
    """Gene subsets worth reporting: "informative" where it differs from "all", "expression_matched" in partial lists.

    A list of outcomes without cells (`RoleInputs.baseline_label`) that leaves pairs out chose its negatives by a
    rule of its own; there, negatives expressed like the positives say what the choice cannot explain.
    """
    unlisted = (candidate_labels(role) < 0).sum() > role.label.shape[0]
    offered = {
        "all": True,
        "informative": not role.informative.all(),
        "expression_matched": role.baseline_label is None and unlisted,
    }
    return tuple(subset for subset in SUBSETS if offered[subset])


def reference_pairs(role: RoleInputs, name: str | None = None) -> ReferencePairs:
    """Membership of a reference among the ordered pairs it could have listed (default: the primary one).

    Regulators are those the reference lists with at least one target inside the genes, targets any other
    gene; self pairs are no candidates. A reference without any pair inside the genes has no regulators.

    Raises
    ------
    ValueError
        If the reference is unknown or is indexed on other genes.
    """
    name = name or role.primary_reference
    reference = role.references.get(name)
    if reference is None:
        raise ValueError(f"{role.dataset}: no reference {name!r}; known: {', '.join(role.references)}")
    if not np.array_equal(reference.genes, role.genes):
        raise ValueError(f"{role.dataset}: reference {name} is indexed on other genes than the evaluable ones")
    listed = _membership(reference, role.genes.size)
    able = np.zeros(role.genes.size, dtype=bool)
    able[reference.regulators] = True
    regulators = np.flatnonzero(able & listed.any(axis=1))
    return ReferencePairs(name=name, directed=reference.directed, regulators=regulators, member=listed[regulators])


def pairs_or_reason(role: RoleInputs) -> ReferencePairs | str:
    """Candidate pairs of the primary reference, or why there are none: not available, or no pair inside the genes."""
    if role.primary_reference not in role.references:
        return f"reference {role.primary_reference!r} is not available for {role.dataset}"
    pairs = reference_pairs(role)
    if pairs.regulators.size == 0:
        return f"reference {pairs.name} has no pair among the {role.genes.size} evaluable genes"
    return pairs


def _membership(reference: Reference, size: int) -> NDArray[np.bool_]:
    listed = np.zeros((size, size), dtype=bool)
    listed[reference.source, reference.target] = True
    np.fill_diagonal(listed, val=False)
    return listed


def reference_scores(pairs: ReferencePairs, score: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scores R x G of the candidate pairs; a symmetric reference gets the mean of the two directions."""
    edges = score if pairs.directed else (score + score.T) / 2.0
    return np.asarray(edges[pairs.regulators])

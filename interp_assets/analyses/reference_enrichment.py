"""The best edges of analysis E1: which databases they hold more, or less, often than all other pairs do."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interp_assets.analyses.database_pairs import DatabasePairs, combined, pairs_of, why_absent
from interp_assets.analyses.inputs import AnalysisInputs, RoleInputs
from interp_assets.analyses.rows import chosen_settings, declared, generator, row, skip
from interp_assets.edges.layers import resolve_layer
from interp_assets.stats.mantel import gene_permutations
from interp_assets.stats.pair_membership import TopEnrichment, relabelled_hits, top_enrichment
from qc_standards.records import TestResult

Float = NDArray[np.float64]
Mask = NDArray[np.bool_]
NUMBER: Final = 1014  # generators of its own within analysis E1
FIRST: Final = 14
DATABASES: Final = ("KEGG", "GO BP", "Reactome")
DEPTHS: Final = 5
TAILS: Final = ("greater", "less")
# Rows run through depths, then databases, then tails.
ENRICHED: Final[Mapping[str, tuple[str, str]]] = {
    f"E1.{FIRST + place}": (database, tail)
    for place, (_, database, tail) in enumerate(product(range(DEPTHS), DATABASES, TAILS))
}
RELABELLINGS: Final = 999
LARGEST_SHARE: Final = 0.1  # of the scored pairs; more than that are not the top of anything
COLUMNS: Final = (
    *("key", "role", "evaluated_dataset", "database", "dataset", "database_role", "layer", "primary_edge"),
    *("top_edges", "n_pairs", "n_positives", "hits", "expected_hits", "odds_ratio", "ci_low", "ci_high"),
    *("p_greater", "p_less", "odds_ratio_listed", "n_pairs_listed", "genes_in_top", "largest_gene_share"),
    *("relabelled_hits", "relabelled_sd", "p_relabelled_greater", "p_relabelled_less", "relabellings", "reason"),
)


def enrichment_table(inputs: AnalysisInputs, role: RoleInputs, found: Mapping[str, DatabasePairs]) -> pd.DataFrame:
    """One row a database and declared layer: the 2 x 2 table of best edges and membership, both tails.

    Pairs are all scored ones: unordered and with the mean of both directions for an undirected database, those of the
    listed regulators for a directed one; a pair that no cell held together is not scored. ``odds_ratio_listed`` is
    over pairs of two listed genes alone, because a gene that no set of the database holds can only miss.
    ``genes_in_top`` and ``largest_gene_share`` say how few genes the best edges belong to, and ``p_relabelled_*`` what
    is left when genes, not pairs, are what is exchanged (`stats.pair_membership.relabelled_hits`). ``reason`` says why
    a row has no numbers.
    """
    wanted = {name: one for name, one in found.items() if name in DATABASES or one.role != "database"}
    depths = {spec.depth for spec in inputs.tests if spec.test_id in ENRICHED and spec.depth is not None}
    layers = sorted({resolve_layer(float(depth), role.attention.layers) for depth in depths})
    count = int(chosen_settings(inputs, "top_edges")["top_edges"])
    # The same relabellings at every layer and for every database: their rows differ by the score alone.
    labels = gene_permutations(role.genes.size, RELABELLINGS, generator(inputs, NUMBER))
    records = []
    for layer in layers:
        raw = np.asarray(role.attention.layer_matrix(layer).score, dtype=np.float64)
        records += [_record(role, name, one, raw, layer, count, labels) for name, one in wanted.items()]
    return pd.DataFrame(records, columns=list(COLUMNS))


def _record(
    role: RoleInputs, name: str, one: DatabasePairs, raw: Float, layer: int, count: int, labels: NDArray[np.int64]
) -> dict[str, Any]:
    score, member, listed, ends = _scored(one, raw)
    record: dict[str, Any] = dict.fromkeys(COLUMNS, np.nan) | {
        "key": name,
        "role": role.role,
        "evaluated_dataset": role.dataset,
        "database": one.name,
        "dataset": one.dataset,
        "database_role": one.role,
        "layer": layer,
        "primary_edge": one.primary,
        "top_edges": count,
        "n_pairs": score.size,
        "n_positives": int(member.sum()),
        "reason": "",
    }
    if count > LARGEST_SHARE * score.size:
        told = f"the best {count} of {score.size} scored pairs are more than {LARGEST_SHARE:.0%} of them"
        return record | {"reason": f"{told}; lower top_edges or score more genes"}
    if not 0 < member.sum() < member.size:
        return record | {"reason": f"{int(member.sum())} of {member.size} scored pairs are in the database"}
    test = top_enrichment(score, member, count)
    at = ends[:, test.places]
    degree = np.bincount(at.ravel(), minlength=one.genes)
    exchanged = relabelled_hits(one.members(), at[0], at[1], labels, both=not one.pairs.directed)
    inside = _listed_only(score[listed], member[listed], count)
    return record | {
        "hits": test.held,
        "expected_hits": count * test.held_all / test.pairs,
        "odds_ratio": test.odds_ratio,
        "ci_low": test.ci_low,
        "ci_high": test.ci_high,
        "p_greater": test.greater,
        "p_less": test.less,
        "odds_ratio_listed": inside.odds_ratio if inside else np.nan,
        "n_pairs_listed": int(listed.sum()),
        "genes_in_top": int((degree > 0).sum()),
        "largest_gene_share": float(degree.max() / count),
        "relabelled_hits": exchanged.mean,
        "relabelled_sd": exchanged.sd,
        "p_relabelled_greater": exchanged.greater,
        "p_relabelled_less": exchanged.less,
        "relabellings": exchanged.done,
    }


def _listed_only(score: Float, member: Mask, count: int) -> TopEnrichment | None:
    if count > LARGEST_SHARE * score.size or not 0 < member.sum() < member.size:
        return None
    return top_enrichment(score, member, count)


def _scored(one: DatabasePairs, raw: Float) -> tuple[Float, Mask, Mask, NDArray[np.intp]]:
    """Score, membership, whether both genes are listed, and the two genes (2 x N), of every scored pair."""
    unordered = not one.pairs.directed
    score = pairs_of(_both(raw, one), unordered=unordered)
    genes = np.arange(one.genes)
    able = np.zeros(one.genes, dtype=bool)
    able[one.pairs.regulators] = True
    target = able if unordered else np.ones(one.genes, dtype=bool)
    ends = np.stack(
        [pairs_of(side, unordered=unordered) for side in np.broadcast_arrays(genes[:, None], genes[None, :])]
    )
    kept = np.isfinite(score) & (ends[0] != ends[1])
    if not unordered:
        kept &= able[ends[0]]
    member = pairs_of(one.members(), unordered=unordered)
    ends = ends[:, kept]
    return score[kept], member[kept], able[ends[0]] & target[ends[1]], ends


def _both(raw: Float, one: DatabasePairs) -> Float:
    """Score of the primary edge; a pair seen in one direction only has that direction's score."""
    if one.primary == "directed":
        return raw
    other = raw.T
    return combined(np.where(np.isnan(raw), other, raw), "mean")


def enrichment_rows(
    inputs: AnalysisInputs, role: RoleInputs, table: pd.DataFrame, lacking: Mapping[str, str]
) -> list[TestResult]:
    """Result rows of the declared depths, databases and tails; a second row of one layer is skipped as the same."""
    first: dict[tuple[int, str, str], str] = {}
    results = []
    for test_id, (name, tail) in ENRICHED.items():
        spec = declared(inputs, test_id)
        if spec.depth is None or spec.alternative != tail:
            raise ValueError(f"{test_id}: declared depth {spec.depth}, {spec.alternative}; expected a depth and {tail}")
        layer = resolve_layer(float(spec.depth), role.attention.layers)
        earlier = first.setdefault((layer, name, tail), test_id)
        if earlier != test_id:
            results.append(skip(inputs, test_id, f"same as {earlier}", role=role, layer=layer))
            continue
        results.append(_row(inputs, role, test_id, table, why_absent(inputs, lacking, name), layer))
    return results


def _row(
    inputs: AnalysisInputs, role: RoleInputs, test_id: str, table: pd.DataFrame, absent: str, layer: int
) -> TestResult:
    name, tail = ENRICHED[test_id]
    used = chosen_settings(inputs, "top_edges") | {"database": name, "tail": tail}
    part = table[(table["key"] == name) & (table["layer"] == layer)]
    if part.empty or part.iloc[0]["reason"]:
        reason = absent if part.empty else f"{name}: {part.iloc[0]['reason']}"
        return skip(inputs, test_id, reason, role=role, settings=used, layer=layer)
    found = part.iloc[0]
    told = ("n_pairs", "n_positives", "hits", "genes_in_top")
    listed, share = float(found["odds_ratio_listed"]), float(found["largest_gene_share"])
    used |= {
        "assumes": "pairs share genes; Fisher's test takes them as independent",
        "dataset": found["dataset"],
        "largest_gene_share": share,
        "odds_ratio_listed": listed if np.isfinite(listed) else None,
        "p_relabelled": float(found[f"p_relabelled_{tail}"]),
        "primary_edge": found["primary_edge"],
        **{key: int(found[key]) for key in told},
    }
    inside = np.isfinite(found["ci_low"])
    return row(
        inputs,
        role,
        test_id,
        settings=used,
        layer=layer,
        statistic=found["hits"],
        effect=found["odds_ratio"],
        ci_low=found["ci_low"] if inside else None,
        ci_high=found["ci_high"] if inside else None,
        p=found[f"p_{tail}"],
        n=int(found["n_pairs"]),
        null_name="hypergeometric",
        null_mean=found["expected_hits"],
        direction=(
            f"odds ratio, {'over' if tail == 'greater' else 'under'}-representation; the statistic is the hits; with "
            f"genes relabelled instead of pairs p is {found[f'p_relabelled_{tail}']:.3g}"
        ),
    )

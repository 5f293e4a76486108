"""Tables behind the rows of analysis 6, one fact a row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interp_assets.analyses.inputs import CellSample
from interp_assets.analyses.ortholog_pairs import FEWEST_TARGETS, SpeciesPair, Transfer
from interp_assets.stats.edge_transfer import PairedEdges, permutation_p, shared_top, sign_agreement, spearman

SIGN_BINS: Final = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 1.0)
ANTI: Final = 0.15  # |rho| in at least one species, from which a pair of opposite signs is anti-conserved
GAP: Final = 0.3  # difference of |rho| from which a pair of equal signs is fragile
CATEGORIES: Final = ("conserved", "fragile", "anti_conserved", "opposite_weak")


def all_tables(
    sample: CellSample, pair: SpeciesPair, found: Sequence[Transfer], floor: float
) -> dict[str, pd.DataFrame]:
    """Every table of the analysis by name; each names the dataset and the cells it is about."""
    made = {
        "ortholog_edges": pd.concat([_edges(one) for one in found]),
        "ortholog_summary": _frame(found, lambda one: _summary(one, pair)),
        "ortholog_null": _frame(found, _nulls),
        "ortholog_sign_bins": _frame(found, _sign_bins),
        "ortholog_overlap": _frame(found, _overlap),
        "ortholog_per_tf": _frame(found, lambda one: _per_tf(one, pair)),
        "ortholog_categories": _frame(found, lambda one: _categories(one, pair)),
    }
    partner = sample.partner.dataset if sample.partner is not None else ""
    where = {"role": sample.role, "dataset": sample.dataset, "partner": partner, "reference": pair.reference}
    named = {name: table.assign(**where, floor=floor).reset_index(drop=True) for name, table in made.items()}
    first = [*where, "floor"]
    return {name: table[[*first, *table.columns.drop(first)]] for name, table in named.items()}


def _frame(found: Sequence[Transfer], lines: Any) -> pd.DataFrame:
    return pd.DataFrame([{"cells": one.view.cells, **line} for one in found for line in lines(one)])


def category(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.str_]:
    """Category of each pair.

    Equal signs: fragile where the two |rho| differ by more than .3, else conserved. Opposite signs: anti-conserved
    where |rho| exceeds .15 in at least one species, else too weak to tell.
    """
    same = np.sign(first) == np.sign(second)
    gap = np.abs(np.abs(first) - np.abs(second)) > GAP
    strong = np.maximum(np.abs(first), np.abs(second)) > ANTI
    return np.select([same & ~gap, same, strong], CATEGORIES[:3], CATEGORIES[3])


def _edges(one: Transfer) -> pd.DataFrame:
    edges, kept = one.view.edges, one.passing
    first, second = edges.first[kept], edges.second[kept]
    return pd.DataFrame(
        {
            "cells": one.view.cells,
            "tf": one.view.genes[edges.row[kept]],
            "target": one.view.genes[edges.column[kept]],
            "rho": first.astype(np.float32),
            "rho_partner": second.astype(np.float32),
            "category": category(first, second),
        }
    )


def _groups(one: Transfer, pair: SpeciesPair) -> Iterator[tuple[dict[str, Any], NDArray[np.bool_], int]]:
    """All regulators, then each class of regulators: its name, its pairs (N) and its number of regulators."""
    edges = one.view.edges
    names = one.view.genes[: edges.regulators].tolist()
    yield {"class_by": "none", "tf_class": "all"}, np.ones(edges.row.size, dtype=bool), len(names)
    for by, classes in pair.classes.items():
        of = np.array([classes[name] for name in names])
        for value in sorted(set(of.tolist())):
            yield {"class_by": by, "tf_class": value}, _pairs_of(edges, of == value), int((of == value).sum())


def _pairs_of(edges: PairedEdges, regulators: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pairs (N) that any of the regulators takes part in, as regulator of the other gene."""
    extended = np.zeros(edges.genes, dtype=bool)
    extended[: edges.regulators] = regulators
    return np.asarray(extended[edges.row] | extended[edges.column])


def _summary(one: Transfer, pair: SpeciesPair) -> Iterator[dict[str, Any]]:
    edges = one.view.edges
    for named, inside, regulators in _groups(one, pair):
        for pairs, kept in (("filtered", inside & one.passing), ("all", inside)):
            whole = named["class_by"] == "none"
            interval = one.interval if pairs == "filtered" else one.interval_all
            yield {
                **named,
                "pairs": pairs,
                "n_pairs": int(kept.sum()),
                "n_tfs": regulators,
                "n_genes": edges.genes,
                "spearman": spearman(edges.first[kept], edges.second[kept]),
                "ci_low": interval.low if whole else np.nan,
                "ci_high": interval.high if whole else np.nan,
                "sign_agreement": sign_agreement(edges.first[kept], edges.second[kept]),
            }


def _nulls(one: Transfer) -> Iterator[dict[str, Any]]:

    for name, null in one.nulls.items():
        told = [
            ("filtered", "spearman", one.spearman, null.spearman, True),
            ("all", "spearman", one.spearman_all, null.spearman_all, True),
            ("filtered", "sign_agreement", one.sign_agreement, null.sign_agreement, False),
            ("filtered", "pairs", float(one.passing.sum()), null.pairs.astype(np.float64), False),
        ]
        told += [
            ("all", f"shared_top_{k}", float(one.shared_top[at]), null.shared_top[:, at].astype(np.float64), False)
            for at, k in enumerate(one.tops)
        ]
        for pairs, statistic, observed, draws, two_sided in told:
            kept = draws[np.isfinite(draws)]
            spread = float(kept.std(ddof=1)) if kept.size > 1 else np.nan
            yield {
                "null": name,
                "pairs": pairs,
                "statistic": statistic,
                "observed": observed,
                "null_mean": float(kept.mean()) if kept.size else np.nan,
                "null_sd": spread,
                "z": (observed - kept.mean()) / spread if spread > 0 else np.nan,
                "p": permutation_p(observed, draws, two_sided=two_sided),
                "permutations_requested": draws.size,
                "permutations_done": kept.size,
            }


def _sign_bins(one: Transfer) -> Iterator[dict[str, Any]]:
    """Sign agreement by the smaller |rho| of the two species."""
    edges = one.view.edges
    weaker = np.minimum(np.abs(edges.first), np.abs(edges.second))
    for low, high in pairwise(SIGN_BINS):
        inside = (weaker >= low) & ((weaker < high) | (high == SIGN_BINS[-1]))
        yield {
            "rho_low": low,
            "rho_high": high,
            "n_pairs": int(inside.sum()),
            "sign_agreement": sign_agreement(edges.first[inside], edges.second[inside]),
        }


def _overlap(one: Transfer) -> Iterator[dict[str, Any]]:

    edges = one.view.edges
    for at, k in enumerate(one.tops):
        gene, edge = (one.nulls[name].shared_top[:, at].astype(np.float64) for name in ("gene_label", "edge_label"))
        observed = one.shared_top[at]
        yield {
            "pairs": "all",
            "k": k,
            "n_pairs": int(edges.first.size),
            "overlap": observed,
            "expected": float(gene.mean()),
            "expected_edge_label": float(edge.mean()),
            "expected_hypergeometric": k * k / edges.first.size,
            "fold": observed / gene.mean() if gene.mean() > 0 else np.nan,
            "fold_edge_label": observed / edge.mean() if edge.mean() > 0 else np.nan,
            "p": permutation_p(float(observed), gene),
            "p_edge_label": permutation_p(float(observed), edge),
        }
    n = int(one.passing.sum())
    for k in dict.fromkeys(min(k, n) for k in one.tops if n):
        observed = shared_top(edges.first[one.passing], edges.second[one.passing], k)
        expected = k * k / n
        yield {
            "pairs": "filtered",
            "k": k,
            "n_pairs": n,
            "overlap": observed,
            "expected_hypergeometric": expected,
            "fold": observed / expected,
        }


def _per_tf(one: Transfer, pair: SpeciesPair) -> Iterator[dict[str, Any]]:
    edges, gene = one.view.edges, one.nulls["gene_label"]
    draws = np.where(gene.pairs_by_regulator >= FEWEST_TARGETS, gene.by_regulator, np.nan)
    named = category(edges.first, edges.second)
    for at, tf in enumerate(one.view.genes[: edges.regulators].tolist()):
        places = edges.of_regulator(at)
        kept = places[one.passing[places]]
        null = draws[np.isfinite(draws[:, at]), at]
        yield {
            "tf": tf,
            "n_pairs": kept.size,
            "spearman": one.by_regulator[at],
            "sign_agreement": sign_agreement(edges.first[kept], edges.second[kept]),
            "n_pairs_all": places.size,
            "spearman_all": one.by_regulator_all[at],
            **{name: int((named[kept] == name).sum()) for name in CATEGORIES},
            "null_mean": float(null.mean()) if null.size else np.nan,
            "null_sd": float(null.std(ddof=1)) if null.size > 1 else np.nan,
            "p": permutation_p(float(one.by_regulator[at]), null),
            "targets_in_reference": pair.targets[tf],
            "target_class": pair.classes["targets"][tf],
            "direction_class": pair.classes["direction"][tf],
        }


def _categories(one: Transfer, pair: SpeciesPair) -> Iterator[dict[str, Any]]:
    edges = one.view.edges
    named = category(edges.first, edges.second)
    strict = np.minimum(np.abs(edges.first), np.abs(edges.second)) > ANTI
    for group, inside, _ in _groups(one, pair):
        for pairs, kept in (("filtered", inside & one.passing), ("all", inside)):
            total = int(kept.sum())
            for name in CATEGORIES:
                chosen = kept & (named == name)
                yield {
                    **group,
                    "pairs": pairs,
                    "category": name,
                    "n_pairs": int(chosen.sum()),
                    "share": float(chosen.sum() / total) if total else np.nan,
                    "n_strong_in_both": int((chosen & strict).sum()),
                }

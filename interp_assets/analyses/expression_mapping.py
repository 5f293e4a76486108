"""Analysis 14: how much of an attention edge is expression of its two genes, and how much another tissue knows of it.

Three quantities of expression stand in rows of their own, because a correlation with one says nothing of another.
Pairs share genes: p and intervals come from relabelling and resampling genes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Final

import numpy as np
import pandas as pd

from interp_assets.analyses.inputs import AnalysisInputs, AnalysisOutput, RoleInputs
from interp_assets.analyses.pair_scores import (
    CO_EXPRESSION,
    LAYER,
    LAYER_MEAN,
    PRODUCT,
    QUANTITIES,
    PairScore,
    attention_pairs,
    expression_pairs,
    observed_spearman,
    scores_over,
)
from interp_assets.analyses.rows import analysis_layer, chosen_settings, collect, generator, role_or_reason, row, skip
from interp_assets.analyses.scores import check_same_cells
from interp_assets.stats.mantel import (
    MantelTest,
    PairRanks,
    gene_bootstrap,
    gene_permutations,
    mantel_test,
    mantel_tests,
    pair_ranks,
    spearman_of_pairs,
)
from interp_assets.stats.pair_fit import PairFit, PairMoments, fit_pairs, pair_moments
from interp_assets.stats.resampling import Interval, group_weights, percentile_interval
from qc_standards.records import TestResult

NUMBER: Final = 14
SETTINGS: Final = ("analysis_depth", "bootstrap", "folds", "mantel_permutations")
ROLES: Final = ("tissues[1]", "tissues[2]", "tissues[3]")
# Fixed before any number was seen: the published sentence is about expression of the two genes, while co-expression
# has rows of its own in A12.5 and A14.2.
PRIMARY_QUANTITY: Final = PRODUCT
TOGETHER: Final = "all_three"
FEWEST_GENES: Final = 20
# Across tissues the test is a column of a table and no row, so that fewer relabellings do.
ACROSS_PERMUTATIONS: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tissue:
    """Pair scores of one tissue by name: attention at the analysis layer and as mean of all, and expression."""

    role: RoleInputs
    layer: int
    scores: Mapping[str, PairScore]
    ranks: Mapping[str, PairRanks]
    moments: PairMoments

    @property
    def place(self) -> int:
        """Number of the role among the tissues, which seeds its draws."""
        return ROLES.index(self.role.role)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Mapped:
    """Attention at the analysis layer against one quantity of one tissue."""

    test: MantelTest
    interval: Interval
    fit: PairFit


def attention_mapping(inputs: AnalysisInputs) -> AnalysisOutput:
    """Correlation of attention with expression of its genes, linear share, and what another tissue explains.

    A14.1 is the Spearman correlation of attention at the analysis layer with the product of mean expression in
    the first tissue; A14.2 the R2 of attention on co-expression there, out of fold by target gene; A14.3 the mean R2
    of one tissue's attention on another's over the genes both score.

    Tables
    ------
    ``attention_mapping`` : role, dataset, edge (one layer, and the mean over layers), layer, quantity (product of
    means, minimum of means, co-expression, all three in one fit), spearman with its gene bootstrap interval,
    spearman_observed (pairs some cell held), p_mantel, null_mean, null_sd, r2_in_sample, r2_cross_fitted with interval
    over target genes, counts.
    ``attention_across_tissues`` : ordered pairs of tissues and the predictor, attention or co-expression of the other.
    """
    chosen_settings(inputs, *SETTINGS)
    tissues, reasons = _tissues(inputs)
    mapped = {(name, q): one for name, tissue in tissues.items() for q, one in _map(inputs, tissue).items()}
    across, apart = _across(inputs, tissues)
    reasons |= apart
    results = [_row(inputs, tissues, reasons, mapped, across, spec.test_id) for spec in inputs.tests]
    tables = {}
    if tissues:
        lines = [line for tissue in tissues.values() for line in _lines(inputs, tissue, mapped)]
        tables["attention_mapping"] = pd.DataFrame(lines)
    if not across.empty:
        tables["attention_across_tissues"] = across
    return collect(inputs, results, tables)


def _tissues(inputs: AnalysisInputs) -> tuple[dict[str, _Tissue], dict[str, str]]:
    found: dict[str, _Tissue] = {}
    reasons: dict[str, str] = {}
    for name in ROLES:
        role = role_or_reason(inputs, name)
        tissue = role if isinstance(role, str) else _tissue(inputs, role)
        if isinstance(tissue, str):
            reasons[name] = tissue
        else:
            found[name] = tissue
    return found, reasons


def _tissue(inputs: AnalysisInputs, role: RoleInputs) -> _Tissue | str:
    check_same_cells(role)
    if role.genes.size < FEWEST_GENES:
        return f"{role.dataset}: {role.genes.size} evaluable genes; a map over pairs needs at least {FEWEST_GENES}"
    layer = analysis_layer(inputs, role)
    every = (attention_pairs(role, layer), attention_pairs(role, None), *expression_pairs(role).values())
    for score in every:
        if np.ptp(score.of_pairs) == 0.0:
            return f"{role.dataset}: {score.name} is the same for every gene pair, so that nothing can be mapped"
    return _Tissue(
        role=role,
        layer=layer,
        scores={score.name: score for score in every},
        ranks={score.name: pair_ranks(score.score) for score in every},
        moments=pair_moments({score.name: score.score for score in every}),
    )


def _map(inputs: AnalysisInputs, tissue: _Tissue) -> dict[str, _Mapped]:
    """Attention against each quantity; all of them meet the same relabelled and resampled genes."""
    used = chosen_settings(inputs, "bootstrap", "mantel_permutations")
    resamples, permutations = int(used["bootstrap"]), int(used["mantel_permutations"])
    own, others = tissue.ranks[LAYER], [tissue.ranks[quantity] for quantity in QUANTITIES]
    relabelled = gene_permutations(own.genes, permutations, generator(inputs, NUMBER, 1, tissue.place))
    tests = mantel_tests(own, others, relabelled)
    draws = gene_bootstrap(own, others, generator(inputs, NUMBER, 2, tissue.place), resamples)
    return {
        quantity: _Mapped(
            test=test,
            interval=percentile_interval(drawn, requested=resamples),
            fit=_fit(inputs, tissue.moments, LAYER, [quantity], tissue.place),
        )
        for quantity, test, drawn in zip(QUANTITIES, tests, draws, strict=True)
    }


def _fit(inputs: AnalysisInputs, moments: PairMoments, outcome: str, given: Sequence[str], *purpose: int) -> PairFit:
    """R2 of least squares over all ordered pairs; out of fold, all pairs of a target gene are left out together."""
    used = chosen_settings(inputs, "bootstrap", "folds")
    genes = moments.sums.shape[0]
    weights = group_weights(genes, int(used["bootstrap"]), generator(inputs, NUMBER, 4, *purpose))
    rng = generator(inputs, NUMBER, 3, *purpose)
    return fit_pairs(moments, outcome, given, folds=int(used["folds"]), rng=rng, weights=weights)


def _across(inputs: AnalysisInputs, tissues: Mapping[str, _Tissue]) -> tuple[pd.DataFrame, dict[str, str]]:
    """Lines of every pair of tissues that can be compared, and by pair why another one cannot."""
    lines: list[dict[str, object]] = []
    apart: dict[str, str] = {}
    for one, other in combinations(tissues.values(), 2):
        found = _between(inputs, one, other)
        if isinstance(found, str):
            apart[f"{one.role.role} with {other.role.role}"] = found
        else:
            lines += found
    return pd.DataFrame(lines), apart


def _between(inputs: AnalysisInputs, one: _Tissue, other: _Tissue) -> list[dict[str, object]] | str:
    """Attention of either tissue on attention and on co-expression of the other, over the genes both score."""
    if one.role.dataset == other.role.dataset:
        return f"both are {one.role.dataset}; only different datasets are compared"
    shared = np.intersect1d(one.role.genes, other.role.genes)
    if shared.size < FEWEST_GENES:
        return f"{shared.size} genes in common; at least {FEWEST_GENES} are needed"
    scores = {
        f"{name} {tissue.place}": scores_over(tissue.role, tissue.scores[name].score, shared)
        for tissue in (one, other)
        for name in (LAYER, CO_EXPRESSION)
    }
    if any(np.ptp(table[~np.eye(shared.size, dtype=bool)]) == 0.0 for table in scores.values()):
        return "a score is the same for every pair of the genes in common"
    ranks = {name: pair_ranks(table) for name, table in scores.items()}
    moments = pair_moments(scores)
    wanted = int(chosen_settings(inputs, "mantel_permutations")["mantel_permutations"])
    drawn = generator(inputs, NUMBER, 5, one.place, other.place)
    relabelled = gene_permutations(shared.size, min(wanted, ACROSS_PERMUTATIONS), drawn)
    # The same test whichever tissue comes first, so one serves both orders.
    test = mantel_test(ranks[f"{LAYER} {one.place}"], ranks[f"{LAYER} {other.place}"], relabelled)
    lines = []
    for here, there in ((one, other), (other, one)):
        for predictor in (LAYER, CO_EXPRESSION):
            own, known = f"{LAYER} {here.place}", f"{predictor} {there.place}"
            fit = _fit(inputs, moments, own, [known], here.place, there.place)
            judged = test if predictor == LAYER else None
            lines.append(
                {
                    "role": here.role.role,
                    "dataset": here.role.dataset,
                    "other_role": there.role.role,
                    "other_dataset": there.role.dataset,
                    "predictor": predictor,
                    "layer": here.layer,
                    "spearman": spearman_of_pairs(ranks[own], ranks[known]),
                    **_judged(judged),
                    **_explained(fit),
                    "n_genes": int(shared.size),
                    "n_pairs": int(shared.size * (shared.size - 1)),
                }
            )
    return lines


def _lines(
    inputs: AnalysisInputs, tissue: _Tissue, mapped: Mapping[tuple[str, str], _Mapped]
) -> list[dict[str, object]]:
    """Lines of one tissue: each quantity alone, then all three in one fit, for either form of attention."""
    names = list(tissue.scores)
    observed = observed_spearman(list(tissue.scores.values()))
    lines = []
    for quantity in (*QUANTITIES, TOGETHER):
        given = QUANTITIES if quantity == TOGETHER else (quantity,)
        for edge in (LAYER, LAYER_MEAN):
            one = mapped[tissue.role.role, quantity] if edge == LAYER and quantity != TOGETHER else None
            fit = one.fit if one else _fit(inputs, tissue.moments, edge, given, tissue.place)
            alone = quantity != TOGETHER
            lines.append(
                {
                    "role": tissue.role.role,
                    "dataset": tissue.role.dataset,
                    "edge": edge,
                    "layer": tissue.layer if edge == LAYER else -1,
                    "quantity": quantity,
                    "spearman": spearman_of_pairs(tissue.ranks[edge], tissue.ranks[quantity]) if alone else np.nan,
                    "ci_low": one.interval.low if one else np.nan,
                    "ci_high": one.interval.high if one else np.nan,
                    "spearman_observed": observed[names.index(edge), names.index(quantity)] if alone else np.nan,
                    **_judged(one.test if one else None),
                    **_explained(fit),
                    "n_genes": int(tissue.role.genes.size),
                    "n_pairs": int(tissue.role.genes.size * (tissue.role.genes.size - 1)),
                    "missing_share": tissue.scores[edge].missing_share,
                }
            )
    return lines


def _judged(test: MantelTest | None) -> dict[str, object]:
    return {
        "p_mantel": test.p if test else np.nan,
        "null_mean": test.null_mean if test else np.nan,
        "null_sd": test.null_sd if test else np.nan,
        "permutations": test.permutations if test else 0,
    }


def _explained(fit: PairFit) -> dict[str, object]:
    return {
        "r2_in_sample": fit.in_sample,
        "r2_cross_fitted": fit.out_of_fold,
        "r2_ci_low": fit.interval.low,
        "r2_ci_high": fit.interval.high,
    }


def _row(
    inputs: AnalysisInputs,
    tissues: Mapping[str, _Tissue],
    reasons: Mapping[str, str],
    mapped: Mapping[tuple[str, str], _Mapped],
    across: pd.DataFrame,
    test_id: str,
) -> TestResult:
    if test_id == "A14.3":
        return _across_row(inputs, tissues, reasons, across)
    name = ROLES[0]
    if name not in tissues:
        return skip(inputs, test_id, reasons[name], role=inputs.roles.get(name))
    tissue = tissues[name]
    quantity = PRIMARY_QUANTITY if test_id == "A14.1" else CO_EXPRESSION
    one = mapped[name, quantity]
    named = ("bootstrap", "mantel_permutations") if test_id == "A14.1" else ("bootstrap", "folds")
    used = chosen_settings(inputs, "analysis_depth", *named) | {
        "edge": LAYER,
        "quantity": quantity,
        "missing_rule": "lowest",
        "missing_share": tissue.scores[LAYER].missing_share,
        "missing_share_of_quantity": tissue.scores[quantity].missing_share,
        "pairs": one.test.n_pairs,
    }
    if test_id == "A14.1":
        other = {q: mapped[name, q].test.correlation for q in QUANTITIES}
        return _correlation_row(inputs, tissue, one, used | {"spearman_of_each_quantity": other})
    used |= {"r2_in_sample": one.fit.in_sample, "folds_by": "target_gene"}
    return row(
        inputs,
        tissue.role,
        test_id,
        settings=used,
        layer=tissue.layer,
        statistic=one.fit.out_of_fold,
        effect=one.fit.out_of_fold,
        ci_low=one.fit.interval.low,
        ci_high=one.fit.interval.high,
        n=one.test.n_genes,
        unit="target gene",
        null_name="mean of all pairs",
        null_mean=0.0,
        resamples_requested=one.fit.interval.resamples_requested,
        resamples_done=one.fit.interval.resamples_done,
        direction="share of the variance of attention that co-expression predicts for unseen target genes; "
        "0 is none, below 0 is worse than the mean",
    )


def _correlation_row(inputs: AnalysisInputs, tissue: _Tissue, one: _Mapped, used: Mapping[str, Any]) -> TestResult:
    return row(
        inputs,
        tissue.role,
        "A14.1",
        settings=used,
        layer=tissue.layer,
        statistic=one.test.correlation,
        effect=one.test.correlation,
        ci_low=one.interval.low,
        ci_high=one.interval.high,
        p=one.test.p,
        n=one.test.n_genes,
        unit="gene",
        null_name="relabelled genes",
        null_mean=one.test.null_mean,
        null_sd=one.test.null_sd,
        resamples_requested=one.test.permutations,
        resamples_done=one.test.permutations,
        direction="Spearman correlation of attention with the product of mean expression of the two genes; "
        "above 0 means that attention is high between highly expressed genes",
    )


def _across_row(
    inputs: AnalysisInputs, tissues: Mapping[str, _Tissue], reasons: Mapping[str, str], across: pd.DataFrame
) -> TestResult:
    if across.empty:
        told = "; ".join(f"{name}: {why}" for name, why in reasons.items())
        why = (
            f"{len(tissues)} of {len(ROLES)} tissues can be read, with fewer than two of different datasets that share "
        )
        why += f"{FEWEST_GENES} genes" + (f" ({told})" if told else "")
        return skip(inputs, "A14.3", why, role=next((t.role for t in tissues.values()), None))
    used = chosen_settings(inputs, "analysis_depth", "folds")
    own, expressed = (across[across["predictor"] == name] for name in (LAYER, CO_EXPRESSION))
    first = next(iter(tissues.values()))
    values = own["r2_cross_fitted"]
    return row(
        inputs,
        first.role,
        "A14.3",
        settings=used
        | {
            "edge": LAYER,
            "folds_by": "target_gene",
            "missing_rule": "lowest",
            "missing_share": {name: tissue.scores[LAYER].missing_share for name, tissue in tissues.items()},
            "tissues": sorted(set(own["role"])),
            "absent": dict(reasons),
            "r2_lowest": float(values.min()),
            "r2_highest": float(values.max()),
            "r2_in_sample": float(own["r2_in_sample"].mean()),
            "r2_of_co_expression": float(expressed["r2_cross_fitted"].mean()),
        },
        layer=first.layer,
        statistic=float(values.mean()),
        effect=float(values.mean()),
        n=int(values.size),
        unit="ordered pair of tissues",
        null_name="mean of all pairs",
        null_mean=0.0,
        reason="few pairs of tissues: lowest and highest stand in the settings instead of an interval",
        direction="mean share of the variance of attention in one tissue that attention in another predicts for unseen "
        "target genes; 0 is none",
    )

"""Rows A12.5 and A12.6: attention against co-expression and against membership of a network, by relabelled genes.

Both are Spearman correlations over all ordered gene pairs of a role, of the head and layer mean of attention.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interp_assets.analyses.inputs import AnalysisInputs, RoleInputs
from interp_assets.analyses.pair_scores import (
    CO_EXPRESSION,
    LAYER_MEAN,
    PairScore,
    attention_pairs,
    co_expression_pairs,
    observed_spearman,
)
from interp_assets.analyses.rows import chosen_settings, generator, role_or_reason, row, skip
from interp_assets.analyses.scores import check_same_cells
from interp_assets.edges.records import Reference
from interp_assets.stats.mantel import (
    FEWEST_GENES,
    MantelTest,
    gene_bootstrap,
    gene_permutations,
    mantel_membership,
    mantel_test,
    pair_ranks,
)
from interp_assets.stats.resampling import percentile_interval
from qc_standards.records import TestResult

NUMBER: Final = 12
ROLES: Final = ("layer_selection", "tissues[1]")
MEMBERSHIP: Final = "membership"
OF_ROW: Final = {"A12.5": CO_EXPRESSION, "A12.6": MEMBERSHIP}
TELLS: Final = {
    "A12.5": "Spearman correlation of attention with absolute co-expression over gene pairs, mean over datasets; above "
    "0 means that attention follows co-expression",
    "A12.6": "Spearman correlation of attention with membership of the reference over gene pairs, mean over datasets; "
    "above 0 means that listed pairs get more attention. Its size is bounded by how few pairs are listed",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Association:
    """Attention against one quantity on one dataset, with its bootstrap over genes."""

    role: RoleInputs
    quantity: str
    reference: str
    test: MantelTest
    draws: NDArray[np.float64]
    observed: float
    missing_share: float
    missing_share_of_quantity: float


Found = Mapping[str, Association | str]


def associations(inputs: AnalysisInputs) -> dict[str, Found]:
    """By role, attention against co-expression and membership, or why there is none; a dataset counts once."""
    found: dict[str, Found] = {}
    met: set[str] = set()
    for place, name in enumerate(ROLES):
        role = role_or_reason(inputs, name)
        why = role if isinstance(role, str) else _unfit(role, met)
        if isinstance(role, str) or why:
            found[name] = dict.fromkeys(OF_ROW.values(), str(why))
            continue
        met.add(role.dataset)
        found[name] = _associated(inputs, role, place)
    return found


def association_table(found: Mapping[str, Found]) -> pd.DataFrame:
    """One line a role and quantity that could be computed."""
    every = [one for each in found.values() for one in each.values()]
    lines = [_line(one) for one in every if isinstance(one, Association)]
    return pd.DataFrame(lines)


def association_row(inputs: AnalysisInputs, found: Mapping[str, Found], test_id: str) -> TestResult:
    """Mean correlation over the datasets; the dataset with the largest p decides."""
    quantity = OF_ROW[test_id]
    each = {name: by[quantity] for name, by in found.items()}
    ran = {name: one for name, one in each.items() if isinstance(one, Association)}
    absent = {name: one for name, one in each.items() if isinstance(one, str)}
    if not ran:
        return skip(inputs, test_id, "; ".join(dict.fromkeys(absent.values())))
    ones = list(ran.values())
    decides = max(ones, key=lambda one: one.test.p)
    draws = np.mean([one.draws for one in ones], axis=0)
    interval = percentile_interval(draws, requested=draws.size)
    used = chosen_settings(inputs, "bootstrap", "mantel_permutations") | {
        "absent": absent,
        "datasets": {name: one.role.dataset for name, one in ran.items()},
        "decides": decides.role.dataset,
        "edge": LAYER_MEAN,
        "missing_rule": "lowest",
        "missing_share": {name: one.missing_share for name, one in ran.items()},
        "missing_share_of_quantity": {name: one.missing_share_of_quantity for name, one in ran.items()},
        "p": {name: one.test.p for name, one in ran.items()},
        "p_rule": "largest p over the datasets",
        "quantity": quantity,
        "reference": {name: one.reference for name, one in ran.items() if one.reference},
        "spearman": {name: one.test.correlation for name, one in ran.items()},
    }
    mean = float(np.mean([one.test.correlation for one in ones]))
    return row(
        inputs,
        ones[0].role,
        test_id,
        settings=used,
        layer=None,
        reason="; ".join(f"{name}: {why}" for name, why in absent.items()),
        statistic=mean,
        effect=mean,
        ci_low=interval.low,
        ci_high=interval.high,
        p=decides.test.p,
        n=sum(one.test.n_genes for one in ones),
        unit="gene",
        null_name="relabelled genes",
        null_mean=decides.test.null_mean,
        null_sd=decides.test.null_sd,
        resamples_requested=decides.test.permutations,
        resamples_done=decides.test.permutations,
        direction=TELLS[test_id],
    )


def _unfit(role: RoleInputs, met: set[str]) -> str:
    if role.dataset in met:
        return f"{role.role}: the same dataset {role.dataset} fills another role"
    if role.genes.size < FEWEST_GENES:
        return f"{role.dataset}: {role.genes.size} evaluable genes; pairs need at least {FEWEST_GENES}"
    return ""


def _associated(inputs: AnalysisInputs, role: RoleInputs, place: int) -> Found:
    check_same_cells(role)
    used = chosen_settings(inputs, "bootstrap", "mantel_permutations")
    attention, expressed = attention_pairs(role, None), co_expression_pairs(role)
    for score in (attention, expressed):
        if np.ptp(score.of_pairs) == 0.0:
            why = f"{role.dataset}: {score.name} is the same for every gene pair"
            return dict.fromkeys(OF_ROW.values(), why)
    genes, resamples = role.genes.size, int(used["bootstrap"])
    relabelled = gene_permutations(genes, int(used["mantel_permutations"]), generator(inputs, NUMBER, 2, place))
    own, other = pair_ranks(attention.score), pair_ranks(expressed.score)
    with_expression = Association(
        role=role,
        quantity=CO_EXPRESSION,
        reference="",
        test=mantel_test(own, other, relabelled),
        draws=gene_bootstrap(own, [other], generator(inputs, NUMBER, 3, place), resamples)[0],
        observed=float(observed_spearman([attention, expressed])[0, 1]),
        missing_share=attention.missing_share,
        missing_share_of_quantity=expressed.missing_share,
    )
    member = _membership(inputs, role, attention, relabelled, place)
    return {CO_EXPRESSION: with_expression, MEMBERSHIP: member}


def _membership(
    inputs: AnalysisInputs, role: RoleInputs, attention: PairScore, relabelled: NDArray[np.int64], place: int
) -> Association | str:
    reference = role.references.get(role.primary_reference)
    if reference is None:
        return f"reference {role.primary_reference!r} is not available for {role.dataset}"
    listed = _listed(reference, role.genes.size)
    if not 0 < listed.sum() < listed.size - role.genes.size:
        return f"{role.dataset}: reference {reference.name} lists {int(listed.sum())} pairs among the evaluable genes"
    score = attention.score if reference.directed else (attention.score + attention.score.T) / 2.0
    ranks = pair_ranks(score)
    resamples = int(chosen_settings(inputs, "bootstrap")["bootstrap"])
    return Association(
        role=role,
        quantity=MEMBERSHIP,
        reference=reference.name,
        test=mantel_membership(ranks, *np.nonzero(listed), relabelled),
        draws=gene_bootstrap(ranks, [pair_ranks(listed)], generator(inputs, NUMBER, 4, place), resamples)[0],
        observed=float(observed_spearman([attention, _known(listed)])[0, 1]),
        missing_share=attention.missing_share,
        missing_share_of_quantity=0.0,
    )


def _listed(reference: Reference, genes: int) -> NDArray[np.bool_]:
    listed = np.zeros((genes, genes), dtype=bool)
    listed[reference.source, reference.target] = True
    np.fill_diagonal(listed, val=False)
    return listed


def _known(listed: NDArray[np.bool_]) -> PairScore:
    return PairScore(name=MEMBERSHIP, score=listed.astype(np.float64), observed=np.ones_like(listed))


def _line(one: Association) -> dict[str, object]:
    interval = percentile_interval(one.draws, requested=one.draws.size)
    return {
        "role": one.role.role,
        "dataset": one.role.dataset,
        "edge": LAYER_MEAN,
        "quantity": one.quantity,
        "reference": one.reference,
        "spearman": one.test.correlation,
        "ci_low": interval.low,
        "ci_high": interval.high,
        "spearman_observed": one.observed,
        "p_mantel": one.test.p,
        "p_mantel_greater": one.test.p_greater,
        "null_mean": one.test.null_mean,
        "null_sd": one.test.null_sd,
        "permutations": one.test.permutations,
        "n_genes": one.test.n_genes,
        "n_pairs": one.test.n_pairs,
        "missing_share": one.missing_share,
        "missing_share_of_quantity": one.missing_share_of_quantity,
    }

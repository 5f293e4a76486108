"""The matched set of analysis 35: which pairs it holds, how alike its sides are, what an edge adds on it.

What belongs here: everything computed once for one evaluation. What does not: tables and rows (`matched`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from interp_assets.analyses.incremental_value import EDGES, SEED_NUMBER, edge_columns, gene_feature_columns
from interp_assets.analyses.inputs import AnalysisInputs, RoleInputs
from interp_assets.analyses.rows import analysis_layer, chosen_settings, generator
from interp_assets.analyses.scores import candidate_labels, edge_scores, reference_pairs
from interp_assets.stats.crossfit import FoldPlan, Logistic, plan_folds
from interp_assets.stats.fit_memory import SHARED_FITS
from interp_assets.stats.incremental import CandidatePairs, Gain, candidate_pairs, incremental_gains
from interp_assets.stats.matching import Balance, Matching, balance, propensity_matching, restricted_plan
from interp_assets.stats.source_swap import swapped_gains

NUMBER: Final = 35
COVARIATES: Final = ("mean", "variance", "dropout", "tgt_n_affected")
SETTINGS: Final = (
    *("analysis_depth", "bootstrap", "folds", "gain_margin", "matched_smd", "matches_per_positive"),
    *("min_positives", "min_negatives"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchedSet:
    """Matched set of one evaluation: its distinct pairs, how they came about, and how alike the two sides are."""

    role: RoleInputs
    layer: int
    settings: Mapping[str, Any]
    pairs: CandidatePairs
    label: NDArray[np.int8]
    matching: Matching
    balance: Balance
    gains: Mapping[str, tuple[Gain, ...]]
    nulls: Mapping[str, Mapping[str, NDArray[np.float64]]]
    missing_share: Mapping[str, float]

    @property
    def limit(self) -> float:
        """Largest standardised mean difference of a balanced covariate."""
        return float(self.settings["matched_smd"])

    @property
    def balanced(self) -> bool:
        """Whether every covariate is below the limit on distinct pairs."""
        return bool((self.balance.distinct < self.limit).all())

    @property
    def imbalance(self) -> str:
        """Covariates that miss the limit, as the reason of a row; empty where there are none."""
        missed = [
            f"{name} {value:.2f}"
            for name, value in zip(COVARIATES, self.balance.distinct, strict=True)
            if not value < self.limit
        ]
        return f"matching left an imbalance (SMD of {', '.join(missed)}; limit {self.limit:g})" if missed else ""

    def gain(self, edge: str, metric: str) -> Gain:
        """Gain of an edge in one metric on distinct pairs."""
        return next(gain for gain in self.gains[edge] if gain.metric == metric)

    def direct_targets(self) -> NDArray[np.int8]:
        """Matched labels whose positives are targets of the perturbed gene in the primary reference.

        Other positives drop out; without such a reference every positive does.
        """
        role, label = self.role, self.label.copy()
        member = np.zeros((role.genes.size, role.genes.size), dtype=bool)
        if role.primary_reference in role.references:
            listed = reference_pairs(role)
            member[listed.regulators] = listed.member
        label[(label == 1) & ~member[role.source]] = -1
        return label


def matched_set(inputs: AnalysisInputs, role: RoleInputs) -> MatchedSet:
    """Matched set of the primary screen, gains and their nulls included.

    Raises
    ------
    TooLittleDataError
        When the pairs cannot fill the folds or the matches.
    """
    used = chosen_settings(inputs, *SETTINGS)
    layer = analysis_layer(inputs, role)
    label = candidate_labels(role)
    pairs = candidate_pairs(label, role.source)
    # The folds of analysis 26, so that the two differ in the pairs alone.
    seed = [inputs.seed, SEED_NUMBER, 0]
    plan = plan_folds("perturbation", pairs.perturbation, pairs.target, folds=int(used["folds"]), seed=seed)
    traits = role.features[["mean", "variance", "dropout"]].to_numpy(np.float64)
    matches = int(used["matches_per_positive"])
    matching = propensity_matching(traits, pairs, plan, matches=matches, rng=generator(inputs, NUMBER, 0))
    kept = matching.distinct
    place = np.nonzero(label >= 0)
    matched_label = np.full_like(label, -1)
    matched_label[place[0][kept], place[1][kept]] = pairs.positive[kept]
    matched_pairs, matched_plan = pairs.subset(kept), restricted_plan(plan, kept)
    gains, nulls, missing_share = _gains(inputs, role, layer, matched_pairs, matched_plan)
    return MatchedSet(
        role=role,
        layer=layer,
        settings=used,
        pairs=matched_pairs,
        label=matched_label,
        matching=matching,
        balance=balance(np.column_stack([traits[pairs.target], matching.n_affected]), pairs.positive, matching),
        gains=gains,
        nulls=nulls,
        missing_share=missing_share,
    )


def _gains(
    inputs: AnalysisInputs, role: RoleInputs, layer: int, pairs: CandidatePairs, plan: FoldPlan
) -> tuple[dict[str, tuple[Gain, ...]], dict[str, dict[str, NDArray[np.float64]]], dict[str, float]]:
    """Gains by edge, their nulls by edge and metric, and the share of missing scores by edge."""
    used, genes = chosen_settings(inputs, "bootstrap", "gain_margin"), gene_feature_columns(role)
    resamples = int(used["bootstrap"])
    gains, nulls, missing = {}, {}, {}
    for edge in EDGES:
        found = edge_columns(role, edge, layer, pairs)
        missing[edge] = found.missing_share
        gains[edge] = incremental_gains(
            genes,
            found.columns,
            pairs,
            plan,
            Logistic(),
            recall_at=(),
            resamples=resamples,
            seed=[inputs.seed, NUMBER, 1],
            memory=SHARED_FITS,
            margin=float(used["gain_margin"]),
        )
        nulls[edge] = swapped_gains(
            genes,
            _lookup(role, edge, layer, pairs.target, found.columns.shape[1] > 1),
            pairs,
            plan,
            Logistic(),
            permutations=resamples,
            seed=[inputs.seed, NUMBER, 3],
            memory=SHARED_FITS,
        )
    return gains, nulls, missing


def _lookup(
    role: RoleInputs, edge: str, layer: int, target: NDArray[np.intp], indicator: bool
) -> Callable[[NDArray[np.intp]], NDArray[np.float64]]:
    """Edge features of the matched targets at any sources, with a missing indicator where the observed ones have it."""
    score = edge_scores(role, edge, layer).score
    matrix = role.attention.layer_matrix(layer) if edge == "attention" else role.correlation
    missing = np.isnan(matrix.score)

    def columns(source: NDArray[np.intp]) -> NDArray[np.float64]:
        read = score[source, target]
        return np.column_stack([read, missing[source, target]]) if indicator else read[:, None]

    return columns

"""Analyses 26 and 31: what an edge adds to gene-level features, under plain and under harder splits.

Both read the same cells: split x learner, same folds, draws and seeds. Analysis 26 is the perturbation
split under logistic regression, with power; analysis 31 is all six cells and all metrics. Every gain stands beside
its equivalence test: an interval over 0 alone does not say that nothing is added.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interp_assets.analyses.inputs import AnalysisInputs, AnalysisOutput, RoleInputs
from interp_assets.analyses.rows import (
    analysis_layer,
    chosen_settings,
    collect,
    role_or_reason,
    row,
    skip,
    skip_all,
)
from interp_assets.analyses.scores import candidate_labels, check_same_cells, edge_scores, gene_scores
from interp_assets.stats.crossfit import (
    LEARNERS,
    SPLITS,
    Boosting,
    Classifier,
    LearnerName,
    Logistic,
    Split,
    TooLittleDataError,
    plan_folds,
)
from interp_assets.stats.fit_memory import SHARED_FITS, FitMemory
from interp_assets.stats.incremental import (
    CandidatePairs,
    Gain,
    candidate_pairs,
    incremental_gains,
)
from interp_assets.stats.power import Power, simulated_power
from qc_standards.records import TestResult

# One number for both analyses: with it the cell they share has the same folds and draws.
SEED_NUMBER: Final = 26
EDGES: Final = ("attention", "correlation")
GENE_FEATURES: Final = ("mean", "variance", "one_minus_dropout")
SETTINGS: Final = ("analysis_depth", "bootstrap", "folds", "boosting", "recall_at", "gain_margin")


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeColumns:
    """Edge features of the candidate pairs: the score, and a missing indicator where any score is missing.

    ``columns`` is n x 1 or n x 2. A missing score takes the lowest observed one (`fill_missing`), which
    alone would read "nobody looked" as "weakest edge"; the indicator lets a learner tell them apart.
    """

    columns: NDArray[np.float64]
    missing_share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What every cell of one evaluation shares: pairs, gene features, edge features, settings."""

    pairs: CandidatePairs
    gene_features: NDArray[np.float64]
    edges: Mapping[str, EdgeColumns]
    settings: Mapping[str, Any]
    seed: int
    layer: int

    def learner(self, name: LearnerName) -> Classifier:
        """Learner of a cell, boosting with the study's settings."""
        return Logistic() if name == "logistic" else Boosting(**self.settings["boosting"], seed=self.seed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """Gains of one edge under one split and one learner, or the reason why there are none."""

    edge: str
    split: Split
    learner: LearnerName
    gains: tuple[Gain, ...] = ()
    reason: str = ""

    def gain(self, metric: str) -> Gain:
        """Gain in one metric."""
        for gain in self.gains:
            if gain.metric == metric:
                return gain
        raise ValueError(f"{self.edge}, {self.split}, {self.learner}: no metric {metric}")


def conditional_incremental_value(inputs: AnalysisInputs) -> AnalysisOutput:
    """What attention and correlation add to gene-level features, perturbation split, logistic regression.

    Pooled out-of-fold AUROC(gene + edge) - AUROC(gene) over all candidate pairs with a bootstrap over
    perturbations, and the power to see a true gain (paper analysis 26). Table `incremental_power`.
    """
    comparison = comparison_or_reason(inputs)
    role = inputs.roles.get("primary_screen")
    if isinstance(comparison, str) or role is None:
        return skip_all(inputs, str(comparison), role=role)
    cells = incremental_cells(comparison, EDGES, ("perturbation",), ("logistic",))
    power = _power(inputs, comparison)
    table = pd.DataFrame([_power_row(cell, inputs, power) for cell in cells if cell.gains], columns=POWER_COLUMNS)
    by_test = dict(zip(("A26.1", "A26.2"), cells, strict=True))
    results = [
        gain_row(inputs, role, comparison, spec.test_id, by_test[spec.test_id], "auroc", "delta_auroc")
        for spec in inputs.tests
    ]
    return collect(inputs, results, {"incremental_power": table})


def hard_generalisation_splits(inputs: AnalysisInputs) -> AnalysisOutput:
    """What attention and correlation add under three splits, two learners and all metrics.

    Splits by perturbation, by target gene, and joint with mixed blocks discarded; logistic regression and
    boosting (paper analysis 31). Table `incremental_value` has one row per edge, split, learner and
    metric; a cell that could not be fitted is absent from it. Rows: the gain in AUROC under the gene and
    the joint split (logistic), and the largest gain in AUPRC over the splits under boosting.
    """
    comparison = comparison_or_reason(inputs)
    role = inputs.roles.get("primary_screen")
    if isinstance(comparison, str) or role is None:
        return skip_all(inputs, str(comparison), role=role)
    cells = incremental_cells(comparison, EDGES, SPLITS, LEARNERS)
    at = {(cell.edge, cell.split, cell.learner): cell for cell in cells}
    boosted = [at["attention", split, "boosting"] for split in SPLITS]
    chosen = {
        "A31.1": (at["attention", "target_gene", "logistic"], "auroc", "delta_auroc"),
        "A31.2": (at["attention", "joint", "logistic"], "auroc", "delta_auroc"),
        "A31.3": (_largest(boosted, "auprc"), "auprc", "delta_auprc"),
    }
    results = [gain_row(inputs, role, comparison, spec.test_id, *chosen[spec.test_id]) for spec in inputs.tests]
    return collect(inputs, results, {"incremental_value": value_table(role, cells)})


def incremental_cells(
    comparison: Comparison,
    edges: Iterable[str],
    splits: Iterable[Split],
    learners: Iterable[LearnerName],
    memory: FitMemory = SHARED_FITS,
) -> list[Cell]:
    """Cells edge x split x learner, each with its gains or with the reason why its folds cannot be filled."""
    wanted = [(edge, split, learner) for edge in edges for split in splits for learner in learners]
    return [_cell(comparison, *names, memory) for names in wanted]


def _cell(comparison: Comparison, edge: str, split: Split, learner: LearnerName, memory: FitMemory) -> Cell:
    pairs, used = comparison.pairs, comparison.settings
    seed = [comparison.seed, SEED_NUMBER]
    try:
        plan = plan_folds(split, pairs.perturbation, pairs.target, folds=int(used["folds"]), seed=[*seed, 0])
        gains = incremental_gains(
            comparison.gene_features,
            comparison.edges[edge].columns,
            pairs,
            plan,
            comparison.learner(learner),
            recall_at=used["recall_at"],
            resamples=int(used["bootstrap"]),
            seed=[*seed, 1],
            memory=memory,
            margin=float(used["gain_margin"]),
        )
    except TooLittleDataError as error:
        return Cell(edge=edge, split=split, learner=learner, reason=str(error))
    return Cell(edge=edge, split=split, learner=learner, gains=gains)


def comparison_or_reason(
    inputs: AnalysisInputs, chosen: NDArray[np.bool_] | None = None, screen: str = "primary_screen"
) -> Comparison | str:
    """Pairs, features and settings of the screen in one role, or the reason why there are none.

    ``chosen`` (P) keeps some perturbations only.
    """
    role = role_or_reason(inputs, screen)
    if isinstance(role, str):
        return role
    check_same_cells(role)
    layer = analysis_layer(inputs, role)
    label = candidate_labels(role)
    if chosen is not None:
        label[~chosen] = -1
    try:
        pairs = candidate_pairs(label, role.source)
    except TooLittleDataError as error:
        return f"{role.dataset}: {error}"
    return Comparison(
        pairs=pairs,
        gene_features=gene_feature_columns(role),
        edges={edge: edge_columns(role, edge, layer, pairs) for edge in EDGES},
        settings=chosen_settings(inputs, *SETTINGS),
        seed=inputs.seed,
        layer=layer,
    )


def gene_feature_columns(role: RoleInputs) -> NDArray[np.float64]:
    """Gene-level features (G x 3) that an edge has to add to, in the order of `GENE_FEATURES`."""
    genes = gene_scores(role)
    return np.column_stack([genes[name] for name in GENE_FEATURES])


def edge_columns(role: RoleInputs, edge: str, layer: int, pairs: CandidatePairs) -> EdgeColumns:
    """Edge features of the candidate pairs, read at (perturbed gene, target)."""
    matrix = role.attention.layer_matrix(layer) if edge == "attention" else role.correlation
    missing = np.isnan(matrix.score[pairs.source, pairs.target])
    columns = [edge_scores(role, edge, layer).score[pairs.source, pairs.target]]
    if missing.any():
        columns.append(missing.astype(np.float64))
    return EdgeColumns(columns=np.column_stack(columns), missing_share=float(missing.mean()))


def _power(inputs: AnalysisInputs, comparison: Comparison) -> Power | str:
    """Power of the screen, whatever the release, or the reason why the gain cannot be simulated."""
    used = chosen_settings(inputs, "power_gain", "power_simulations")
    pairs, seed = comparison.pairs, [comparison.seed, SEED_NUMBER]
    folds, resamples = int(comparison.settings["folds"]), int(comparison.settings["bootstrap"])
    try:
        plan = plan_folds("perturbation", pairs.perturbation, pairs.target, folds=folds, seed=[*seed, 0])
        return simulated_power(
            comparison.gene_features,
            pairs,
            plan,
            Logistic(),
            true_gain=float(used["power_gain"]),
            simulations=int(used["power_simulations"]),
            resamples=resamples,
            seed=[*seed, 2],
            memory=SHARED_FITS,
        )
    except TooLittleDataError as error:
        return str(error)


POWER_COLUMNS: Final = [
    "edge",
    "true_gain",
    "simulations",
    "detected",
    "power",
    "gene_only",
    "gene_only_ci_low",
    "gene_only_ci_high",
    "delta",
    "ci_low",
    "ci_high",
    "n_pairs",
    "n_positive",
    "simulated_gain",
    "reason",
    *("margin", "p_equivalent", "equivalent"),
]


def _power_row(cell: Cell, inputs: AnalysisInputs, power: Power | str) -> dict[str, object]:
    gain = cell.gain("auroc")
    simulated: dict[str, object] = {
        "true_gain": float(chosen_settings(inputs, "power_gain")["power_gain"]),
        "simulations": 0,
        "detected": 0,
        "power": np.nan,
        "simulated_gain": np.nan,
        "reason": power if isinstance(power, str) else "",
    }
    if isinstance(power, Power):
        simulated |= {
            "simulations": power.simulations,
            "detected": power.detected,
            "power": power.power,
            "simulated_gain": power.achieved_gain,
        }
    return {
        "edge": cell.edge,
        "gene_only": gain.gene_only,
        "gene_only_ci_low": gain.gene_only_low,
        "gene_only_ci_high": gain.gene_only_high,
        "delta": gain.delta,
        "ci_low": gain.ci_low,
        "ci_high": gain.ci_high,
        "n_pairs": gain.n_pairs,
        "n_positive": gain.n_positive,
        **equivalence(gain),
        **simulated,
    }


VALUE_COLUMNS: Final = [
    "role",
    "dataset",
    "edge",
    "split",
    "learner",
    "metric",
    "gene_only",
    "gene_plus_edge",
    "delta",
    "ci_low",
    "ci_high",
    "n_perturbations",
    "n_pairs",
    "resamples_requested",
    "resamples_done",
    *("margin", "p_equivalent", "equivalent"),
]


def value_table(role: RoleInputs, cells: Iterable[Cell]) -> pd.DataFrame:
    """One row per edge, split, learner and metric of the cells that could be fitted."""
    rows = [
        {
            "role": role.role,
            "dataset": role.dataset,
            "edge": cell.edge,
            "split": cell.split,
            "learner": cell.learner,
            **asdict(gain),
        }
        for cell in cells
        for gain in cell.gains
    ]
    return pd.DataFrame(rows, columns=VALUE_COLUMNS)


def equivalence(gain: Gain) -> dict[str, object]:
    """Columns of the equivalence test beside a gain: margin, p_equivalent, equivalent."""
    return {"margin": gain.margin, "p_equivalent": gain.p_equivalent, "equivalent": gain.equivalent}


def _largest(cells: Iterable[Cell], metric: str) -> Cell:
    """Cell with the largest gain; a cell without gains wins, since the largest is then not known."""
    return max(cells, key=lambda cell: cell.gain(metric).delta if cell.gains else np.inf)


def gain_row(
    inputs: AnalysisInputs,
    role: RoleInputs,
    comparison: Comparison,
    test_id: str,
    cell: Cell,
    metric: str,
    effect_kind: str,
) -> TestResult:
    """Result row of one gain, or the skipped row that says why its cell could not be fitted."""
    used = {name: comparison.settings[name] for name in ("analysis_depth", "bootstrap", "folds", "gain_margin")}
    used |= {
        "edge": cell.edge,
        "gene_features": GENE_FEATURES,
        "learner": cell.learner,
        "metric": metric,
        "missing_rule": "lowest, with indicator",
        "missing_share": comparison.edges[cell.edge].missing_share,
        "split": cell.split,
        "joint_blocks": "diagonal" if cell.split == "joint" else "none",
    }
    if cell.learner == "boosting":
        used["boosting"] = comparison.settings["boosting"]
    if not cell.gains:
        return skip(inputs, test_id, cell.reason, role=role, settings=used, layer=comparison.layer)
    gain = cell.gain(metric)
    used |= {"gene_only": gain.gene_only, "pairs": gain.n_pairs, "positive_pairs": gain.n_positive}
    used |= {"equivalent": gain.equivalent, "p_equivalent": gain.p_equivalent if gain.resamples_done else None}
    return row(
        inputs,
        role,
        test_id,
        settings=used,
        layer=comparison.layer,
        statistic=gain.gene_plus_edge,
        effect=gain.delta,
        effect_kind=effect_kind,
        ci_low=gain.ci_low,
        ci_high=gain.ci_high,
        n=gain.n_perturbations,
        unit="perturbation",
        resamples_requested=gain.resamples_requested,
        resamples_done=gain.resamples_done,
        direction="gene and edge minus gene only",
    )

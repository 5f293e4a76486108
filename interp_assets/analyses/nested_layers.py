"""Analysis 30: whether any layer beats correlation once the choice of the layer is paid for.

Outer folds over perturbed genes judge, inner folds of the training part choose. Folds share their training data, so
the p of the pooled differences is corrected over the layers and the interval repeats the whole choice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interp_assets.analyses.inputs import AnalysisInputs, AnalysisOutput, RoleInputs
from interp_assets.analyses.perturbation_first import evaluable
from interp_assets.analyses.rows import (
    analysis_layer,
    chosen_settings,
    collect,
    generator,
    role_or_reason,
    row,
    skip_all,
)
from interp_assets.analyses.scores import candidate_labels, check_same_cells, edge_scores
from interp_assets.edges.layers import relative_depth
from interp_assets.stats.nested_choice import NestedChoice, NestedDraws, nested_bootstrap, nested_choice
from interp_assets.stats.paired import SignedRank, cohens_d, signed_rank
from interp_assets.stats.ranking import rank_rows
from interp_assets.stats.resampling import bootstrap_mean, percentile_interval
from qc_standards.records import TestResult

NUMBER: Final = 30
SETTINGS: Final = ("analysis_depth", "bootstrap", "folds", "min_positives", "min_negatives")
# A held-out fold of fewer perturbations says nothing about the layer that was chosen for it.
LEAST_IN_FOLD: Final = 4
CHOSEN_BY: Final = "inner_folds"
PUBLISHED_SIZE: Final = "A30.2"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Nested:
    """Everything the rows and tables of one screen are made of; AUROCs are layers x n and n."""

    role: RoleInputs
    perturbations: NDArray[np.str_]
    groups: NDArray[np.int64]
    attention: NDArray[np.float64]
    correlation: NDArray[np.float64]
    missing_share: float
    choice: NestedChoice
    draws: NestedDraws
    settings: dict[str, Any]

    @property
    def layers(self) -> int:
        """Layers among which is chosen."""
        return int(self.attention.shape[0])

    @property
    def differences(self) -> NDArray[np.float64]:
        """Held-out attention minus correlation (n), each perturbation once."""
        return self.choice.held_out - self.correlation


def nested_layer_selection(inputs: AnalysisInputs) -> AnalysisOutput:
    """Held-out attention at a layer chosen by inner folds, minus correlation, pooled over five outer folds.

    A30.1: mean difference, one-sided signed-rank p times the number of layers (Bonferroni), interval from a bootstrap
    over perturbed genes that repeats folds and choice. A30.2: paired Cohen's d of the same differences with its
    interval from the same draws (paper section 5, analysis 30). Table `nested_layer_choice` has a row an outer fold,
    `nested_layer_profile` a row a layer over all perturbations: a secondary view that has seen what it judges.
    """
    used = chosen_settings(inputs, *SETTINGS)
    role = role_or_reason(inputs, "primary_screen")
    if isinstance(role, str):
        return skip_all(inputs, role)
    if role.attention.layers == 1:
        return skip_all(inputs, f"{inputs.release} has one layer: there is no layer to choose", role=role)
    check_same_cells(role)
    label = candidate_labels(role)
    keep = evaluable(inputs, label)
    genes, least = np.unique(role.source[keep]).size, LEAST_IN_FOLD * int(used["folds"])
    if genes < least:
        few = f"{genes} perturbed genes can be evaluated; {least} are needed for {used['folds']} outer folds"
        return skip_all(inputs, f"{few} of at least {LEAST_IN_FOLD}; see perturbation_exclusions", role=role)
    nested = _nested(inputs, role, label, keep, used)
    results = [_row(inputs, nested, spec.test_id) for spec in inputs.tests]
    tables = {"nested_layer_choice": fold_table(nested), "nested_layer_profile": profile_table(inputs, nested)}
    return collect(inputs, results, tables)


def _nested(
    inputs: AnalysisInputs,
    role: RoleInputs,
    label: NDArray[np.int8],
    keep: NDArray[np.bool_],
    used: dict[str, Any],
) -> _Nested:
    folds = int(used["folds"])
    attention, shares = [], []
    for layer in range(role.attention.layers):
        filled = edge_scores(role, "attention", layer)
        attention.append(rank_rows(filled.score[role.source[keep]]).auroc(label[keep]))
        shares.append(filled.filled_share)
    values = np.array(attention)
    correlation = rank_rows(edge_scores(role, "correlation").score[role.source[keep]]).auroc(label[keep])
    groups = role.source[keep].astype(np.int64)
    return _Nested(
        role=role,
        perturbations=role.perturbations[keep],
        groups=groups,
        attention=values,
        correlation=correlation,
        missing_share=max(shares),
        choice=nested_choice(values, groups, outer=folds, inner=folds, rng=generator(inputs, NUMBER, 0)),
        draws=nested_bootstrap(
            values,
            correlation,
            groups,
            outer=folds,
            inner=folds,
            rng=generator(inputs, NUMBER, 1),
            resamples=int(used["bootstrap"]),
        ),
        settings=used,
    )


def fold_table(nested: _Nested) -> pd.DataFrame:
    """One row an outer fold: which layer the inner folds of its training part chose, and what it gives held out.

    ``margin_to_second`` is the inner score of the chosen layer minus that of the next best (AUROC).
    """
    choice, rows = nested.choice, []
    for fold, layer in enumerate(choice.chosen.tolist()):
        test, train = choice.fold == fold, choice.fold != fold
        scores = np.sort(choice.inner[fold])
        edge, correlation = float(choice.held_out[test].mean()), float(nested.correlation[test].mean())
        rows.append(
            {
                "fold": fold + 1,
                "role": nested.role.role,
                "dataset": nested.role.dataset,
                "n_train": int(train.sum()),
                "n_test": int(test.sum()),
                "shared_perturbations": int(np.intersect1d(nested.groups[train], nested.groups[test]).size),
                "chosen_by": CHOSEN_BY,
                "layer": layer,
                "layers": nested.layers,
                "depth": relative_depth(layer, nested.layers),
                "inner_score": float(choice.inner[fold, layer]),
                "margin_to_second": float(scores[-1] - scores[-2]),
                "edge": edge,
                "correlation": correlation,
                "difference": edge - correlation,
            }
        )
    return pd.DataFrame(rows)


def profile_table(inputs: AnalysisInputs, nested: _Nested) -> pd.DataFrame:
    """One row a layer over all evaluated perturbations; picking its best one would be choosing on the evaluation.

    ``folds_chosen`` counts the outer folds that chose the layer, ``chosen_share_of_draws`` how often the bootstrap
    did; ``fixed_beforehand`` marks the layer every other analysis reads.
    """
    fixed = analysis_layer(inputs, nested.role)
    times = nested.draws.times_chosen
    share = times / times.sum() if times.any() else np.full(times.size, np.nan)
    rows = []
    for layer, values in enumerate(nested.attention):
        gap = values - nested.correlation
        interval = bootstrap_mean(gap, generator(inputs, NUMBER, 2, layer), int(nested.settings["bootstrap"]))
        rows.append(
            {
                "role": nested.role.role,
                "dataset": nested.role.dataset,
                "layer": layer,
                "depth": relative_depth(layer, nested.layers),
                "n_perturbations": values.size,
                "mean_auroc": values.mean(),
                "sd_auroc": values.std(ddof=1),
                "mean_difference": gap.mean(),
                "ci_low": interval.low,
                "ci_high": interval.high,
                "cohen_d": cohens_d(gap),
                "folds_chosen": int((nested.choice.chosen == layer).sum()),
                "chosen_share_of_draws": float(share[layer]),
                "fixed_beforehand": layer == fixed,
                "resamples_requested": interval.resamples_requested,
                "resamples_done": interval.resamples_done,
            }
        )
    return pd.DataFrame(rows)


def _row(inputs: AnalysisInputs, nested: _Nested, test_id: str) -> TestResult:
    gaps, requested = nested.differences, int(nested.settings["bootstrap"])
    test = signed_rank(gaps, "greater")
    sized = test_id == PUBLISHED_SIZE
    interval = percentile_interval(nested.draws.effect_size if sized else nested.draws.mean, requested=requested)
    chosen = nested.choice.chosen.tolist()
    commonest = int(np.bincount(nested.choice.chosen).argmax())
    told = f"chosen layers {', '.join(map(str, chosen))} of 0..{nested.layers - 1}"
    return row(
        inputs,
        nested.role,
        test_id,
        settings=_settings(nested, test),
        layer=commonest,
        statistic=float(nested.choice.held_out.mean()) if sized else test.statistic,
        effect=cohens_d(gaps) if sized else gaps.mean(),
        effect_kind="cohen_d" if sized else "delta_auroc",
        ci_low=interval.low,
        ci_high=interval.high,
        p=None if sized else min(1.0, test.p * nested.layers),
        n=gaps.size,
        unit="perturbation",
        null_name="no difference",
        null_mean=0.0,
        resamples_requested=requested,
        resamples_done=interval.resamples_done,
        direction=(
            "paired d of held-out attention - correlation; the statistic is the mean held-out AUROC; " + told
            if sized
            else f"held-out attention - correlation; p is multiplied by {nested.layers} layers and takes perturbations "
            f"as independent, though folds share training data: read it with the interval; {told}"
        ),
    )


def _settings(nested: _Nested, test: SignedRank) -> dict[str, Any]:
    used = {name: value for name, value in nested.settings.items() if name != "analysis_depth"}  # for the profile only
    return used | {
        "alternative": "greater",
        "chosen_by": CHOSEN_BY,
        "chosen_layers": nested.choice.chosen,
        "correlation": float(nested.correlation.mean()),
        "correction": f"Bonferroni over {nested.layers} layers",
        "held_out_attention": float(nested.choice.held_out.mean()),
        "inner_folds": int(nested.settings["folds"]),
        "interval": "bootstrap over perturbed genes, folds and choice repeated",
        "missing_rule": "lowest",
        "missing_share": nested.missing_share,
        "p_uncorrected": test.p,
        "perturbed_genes": int(np.unique(nested.groups).size),
        "smallest_attainable_p": min(1.0, test.smallest_p * nested.layers),
    }

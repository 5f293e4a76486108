"""Analysis 17: whether recovery of a curated network leans on its entries of unknown direction.

The framework takes these as the entries likelier to come from co-expression, which would make recovery circular.
Leaving them out also leaves positives and regulators out, so random parts of the same size are drawn beside.
Correlation goes through the same subsets as attention.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interp_assets.analyses.inputs import AnalysisInputs, AnalysisOutput, RoleInputs
from interp_assets.analyses.rows import (
    analysis_layer,
    chosen_settings,
    collect,
    generator,
    role_or_reason,
    row,
    skip_all,
)
from interp_assets.analyses.scores import (
    ReferencePairs,
    check_same_cells,
    edge_scores,
    reference_pairs,
    reference_scores,
)
from interp_assets.edges.records import Reference
from interp_assets.stats.resampling import Interval, group_weights, percentile_interval
from interp_assets.stats.subsets import (
    SizeMatched,
    SubsetRecovery,
    size_matched_recovery,
    subset_labels,
    subset_recovery,
)
from qc_standards.records import TestResult

Subset = Literal["all", "direction_known", "size_matched"]
NUMBER: Final = 17
EDGES: Final = ("attention", "correlation")
FEWEST_REGULATORS: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectedPairs:
    """Candidate pairs of a reference (`ReferencePairs`, R x G) and what it knows of their directions.

    ``known`` marks the pairs it holds with at least one direction; ``conflicting``, a part of them, those listed
    both as activation and as repression. ``candidate`` is every pair but the self pairs.
    """

    pairs: ReferencePairs
    known: NDArray[np.bool_]
    conflicting: NDArray[np.bool_]

    @property
    def candidate(self) -> NDArray[np.bool_]:
        """Pairs R x G that may be scored."""
        genes = np.arange(self.pairs.member.shape[1])
        return np.asarray(self.pairs.regulators[:, None] != genes[None, :])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Circularity:
    """Both sets of positives and the size-matched draws of one edge score."""

    edge: str
    filled_share: float
    whole: SubsetRecovery
    known: SubsetRecovery
    matched: SizeMatched


def trrust_circularity(inputs: AnalysisInputs) -> AnalysisOutput:
    """Recovery of all entries of a curated network against its entries with known direction.

    The network is the first of the study's references, the primary one before the others, that knows directions
    for some of its pairs inside the evaluable genes and not for others. Regulators and candidates are those of
    the whole network; a pair of unknown direction is then neither positive nor negative, and a regulator without
    any other positive drops out. Conflicting directions count as known (so do the 4,859 of 8,427 unique pairs in
    paper section 2.3) and are counted beside.

    A second comparison draws random parts with as many positives *of each regulator* as are known
    (``size_matched_draws``; see `stats.subsets.size_matched_recovery`), which separates circularity from the loss
    of positives and of regulators.

    Rows: known minus all, of the pooled AUROC (A17.1) and of the mean over regulators (A17.2), intervals by a
    paired bootstrap over regulators. Tables `circularity` and `circularity_per_regulator`.
    """
    role = role_or_reason(inputs, "primary_screen")
    if isinstance(role, str):
        return skip_all(inputs, role)
    check_same_cells(role)
    directed = direction_reference(role)
    if isinstance(directed, str):
        return skip_all(inputs, directed, role=role)
    layer = analysis_layer(inputs, role)
    found = [_compare(inputs, role, directed, edge, layer) for edge in EDGES]
    tables = {
        "circularity": pd.DataFrame([line for one in found for line in _summary(role, directed, one)]).astype(
            {"conflicting": "Int64"}
        ),
        "circularity_per_regulator": pd.concat([_per_regulator(role, directed, one) for one in found]).reset_index(
            drop=True
        ),
    }
    results = [_row(inputs, role, directed, found[0], spec.test_id, layer) for spec in inputs.tests]
    return collect(inputs, results, tables)


def direction_reference(role: RoleInputs) -> DirectedPairs | str:
    """Pairs of the first reference that knows some directions and not others, or why there is none."""
    looked_at = []
    names = dict.fromkeys([role.primary_reference, *role.references])
    for name in names:
        if name not in role.references:
            looked_at.append(f"{name} (not available)")
            continue
        found = _directions(role, role.references[name])
        if isinstance(found, DirectedPairs):
            return found
        looked_at.append(f"{name} ({found})")
    listed = ", ".join(looked_at) or "none"
    return f"{role.dataset}: no reference knows directions for a part of its pairs; looked at: {listed}"


def _directions(role: RoleInputs, reference: Reference) -> DirectedPairs | str:
    if reference.direction is None:
        return "states no directions"
    if reference.direction.shape != reference.source.shape or not np.isin(reference.direction, (-1, 0, 1, 2)).all():
        raise ValueError(
            f"{role.dataset}: reference {reference.name} needs one direction a pair, each of -1, 0, 1 or 2 (both)"
        )
    pairs = reference_pairs(role, reference.name)
    activates, represses = (_listed(reference, role.genes.size, codes)[pairs.regulators] for codes in ((1, 2), (-1, 2)))
    known = (activates | represses) & pairs.member
    held, count = int(pairs.member.sum()), int(known.sum())
    if not 0 < count < held:
        return f"knows {count} of {held} directions"
    return DirectedPairs(pairs=pairs, known=known, conflicting=activates & represses & pairs.member)


def _listed(reference: Reference, size: int, codes: Iterable[int]) -> NDArray[np.bool_]:
    listed = np.zeros((size, size), dtype=bool)
    wanted = np.isin(np.asarray(reference.direction), list(codes))
    listed[reference.source[wanted], reference.target[wanted]] = True
    return listed


def _compare(inputs: AnalysisInputs, role: RoleInputs, directed: DirectedPairs, edge: str, layer: int) -> _Circularity:
    used = chosen_settings(inputs, "bootstrap", "size_matched_draws")
    filled = edge_scores(role, edge, layer)
    scores = reference_scores(directed.pairs, filled.score)
    candidate, member = directed.candidate, directed.pairs.member
    # The same generators for both edges: they meet the same regulators and the same random parts.
    weights = group_weights(member.shape[0], int(used["bootstrap"]), generator(inputs, NUMBER, 1))
    whole, known = (
        subset_recovery(scores, subset_labels(candidate, member, part), weights) for part in (member, directed.known)
    )
    draws = int(used["size_matched_draws"])
    matched = size_matched_recovery(scores, candidate, member, directed.known, generator(inputs, NUMBER, 2), draws)
    return _Circularity(edge=edge, filled_share=filled.filled_share, whole=whole, known=known, matched=matched)


def _interval(draws: NDArray[np.float64], *regulators: int) -> Interval:
    """Interval over regulators; none where a single regulator leaves nothing to resample."""
    if min(regulators) < FEWEST_REGULATORS:
        return Interval(float("nan"), float("nan"), draws.size, 0)
    return percentile_interval(draws, requested=draws.size)


def _where(role: RoleInputs, directed: DirectedPairs, edge: str) -> dict[str, object]:
    return {"role": role.role, "dataset": role.dataset, "edge": edge, "reference": directed.pairs.name}


def _summary(role: RoleInputs, directed: DirectedPairs, found: _Circularity) -> list[dict[str, object]]:
    matched = found.matched
    known = _subset_line(role, directed, found, "direction_known", found.known)
    known["p_against_size_matched"] = matched.p
    known["mean_p_against_size_matched"] = matched.mean_p
    known["draws_below"] = float((matched.draws < found.known.auroc).mean()) if matched.movable else np.nan
    return [_subset_line(role, directed, found, "all", found.whole), known, _matched_line(role, directed, found)]


def _subset_line(
    role: RoleInputs, directed: DirectedPairs, found: _Circularity, subset: Subset, one: SubsetRecovery
) -> dict[str, object]:
    interval = _interval(one.draws, one.regulators)
    values = one.by_regulator[np.isfinite(one.by_regulator)]
    return {
        **_where(role, directed, found.edge),
        "subset": subset,
        "auroc": one.auroc,
        "ci_low": interval.low,
        "ci_high": interval.high,
        "n_positive": int(one.n_positive.sum()),
        "n_pairs": int(one.n_candidates.sum()),
        "n_regulators": one.regulators,
        "conflicting": int(directed.conflicting.sum()),
        "draws_requested": interval.resamples_requested,
        "draws_done": interval.resamples_done,
        "p_against_size_matched": np.nan,
        "auroc_sd": float(one.draws[np.isfinite(one.draws)].std(ddof=1)) if interval.resamples_done > 1 else np.nan,
        "expected": np.nan,
        "draws_below": np.nan,
        "regulator_mean": one.regulator_mean,
        "regulator_median": float(np.median(values)) if values.size else np.nan,
        "regulators_above_half": int((values > 0.5).sum()),
        "mean_p_against_size_matched": np.nan,
        "filled_share": found.filled_share,
    }


def _matched_line(role: RoleInputs, directed: DirectedPairs, found: _Circularity) -> dict[str, object]:
    matched = found.matched
    interval = percentile_interval(matched.draws, requested=matched.draws.size)
    line = _subset_line(role, directed, found, "size_matched", found.known)
    values = matched.by_regulator[np.isfinite(matched.by_regulator)]
    return line | {
        "auroc": float(matched.draws.mean()),
        "ci_low": interval.low,
        "ci_high": interval.high,
        "conflicting": pd.NA,
        "draws_requested": interval.resamples_requested,
        "draws_done": interval.resamples_done,
        "auroc_sd": float(matched.draws.std(ddof=1)) if matched.draws.size > 1 else np.nan,
        "expected": matched.expected,
        "regulator_mean": float(matched.mean_draws.mean()),
        "regulator_median": float(np.median(values)) if values.size else np.nan,
        "regulators_above_half": int((values > 0.5).sum()),
    }


def _per_regulator(role: RoleInputs, directed: DirectedPairs, found: _Circularity) -> pd.DataFrame:
    genes = role.genes[directed.pairs.regulators]
    frames = []
    parts: list[tuple[Subset, SubsetRecovery, NDArray[np.float64]]] = [
        ("all", found.whole, found.whole.by_regulator),
        ("direction_known", found.known, found.known.by_regulator),
        ("size_matched", found.known, found.matched.by_regulator),
    ]
    for subset, one, auroc in parts:
        stays = one.n_positive > 0
        facts = _where(role, directed, found.edge) | {"subset": subset, "regulator": genes[stays]}
        numbers = {"n_targets": one.n_positive[stays], "n_candidates": one.n_candidates[stays], "auroc": auroc[stays]}
        frames.append(pd.DataFrame(facts | numbers))
    return pd.concat(frames)


def _settings(
    inputs: AnalysisInputs, role: RoleInputs, directed: DirectedPairs, found: _Circularity, quantity: str
) -> dict[str, Any]:
    """Settings of a row, with what both sets of positives hold and the difference over the same regulators."""
    stays = np.isfinite(found.known.by_regulator) & np.isfinite(found.whole.by_regulator)
    same = found.known.by_regulator[stays] - found.whole.by_regulator[stays]
    return chosen_settings(inputs, "analysis_depth", "bootstrap", "size_matched_draws") | {
        "conflicting": int(directed.conflicting.sum()),
        "conflicting_rule": "known",
        "draws_differ_in_regulators": found.matched.movable,
        "edge": found.edge,
        "matched_on": "positives of each regulator",
        "missing_rule": "lowest",
        "missing_share": found.filled_share,
        "positives": {"all": int(found.whole.n_positive.sum()), "direction_known": int(found.known.n_positive.sum())},
        "reference": directed.pairs.name,
        "regulators": {"all": found.whole.regulators, "direction_known": found.known.regulators},
        "same_regulators_mean_difference": float(same.mean()) if same.size else None,
        "statistic": quantity,
        "unknown_direction": "no candidates",
    }


def _reason(found: _Circularity) -> str:
    why = []
    if found.known.regulators < FEWEST_REGULATORS:
        why.append(f"{found.known.regulators} regulator with known directions: no interval over regulators")
    if not found.matched.movable:
        why.append("no regulator has known and unknown directions: random parts of the same size are the same part")
    return "; ".join(why)


def _row(
    inputs: AnalysisInputs, role: RoleInputs, directed: DirectedPairs, found: _Circularity, test_id: str, layer: int
) -> TestResult:
    whole, known, matched = found.whole, found.known, found.matched
    if test_id == "A17.1":
        what, statistic, before = "pooled AUROC", known.auroc, whole.auroc
        draws, null = known.draws - whole.draws, matched.draws
    else:
        what, statistic, before = "mean AUROC over regulators", known.regulator_mean, whole.regulator_mean
        draws, null = known.mean_draws - whole.mean_draws, matched.mean_draws
    interval = _interval(draws, known.regulators, whole.regulators)
    nothing = {} if matched.movable else {"null_mean": None, "null_sd": None}
    numbers: dict[str, Any] = {"null_mean": null.mean(), "null_sd": null.std(ddof=1) if null.size > 1 else None}
    return row(
        inputs,
        role,
        test_id,
        settings=_settings(inputs, role, directed, found, f"{what}, direction known"),
        layer=layer,
        reason=_reason(found),
        statistic=statistic,
        effect=statistic - before,
        effect_kind="delta_auroc",
        ci_low=interval.low,
        ci_high=interval.high,
        n=known.regulators,
        unit="regulator",
        null_name="size-matched part",
        resamples_requested=interval.resamples_requested,
        resamples_done=interval.resamples_done,
        direction=f"{what} with direction-known entries minus with all entries; below 0 means recovery falls",
        **(numbers | nothing),
    )

"""Extended analysis E2: what context vectors tell about responders, beside attention weights and correlation.

What belongs here: value-weighted edges against attention and correlation, layer by layer. What does not: capturing
context vectors (`readings.value_weighted`).

All scores come from the same cells and are held against the same candidates: pairs that some read cell holds, and for
which every score exists. So any two of them pair completely, over the same perturbations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interp_assets.analyses.inputs import AnalysisInputs, AnalysisOutput, RoleInputs
from interp_assets.analyses.paired_contexts import row_aurocs
from interp_assets.analyses.perturbation_first import evaluable
from interp_assets.analyses.rows import (
    analysis_layer,
    chosen_settings,
    collect,
    generator,
    reading_or_reason,
    role_or_reason,
    row,
    skip_all,
)
from interp_assets.analyses.scores import ReferencePairs, candidate_labels, pairs_or_reason, reference_scores
from interp_assets.edges.layers import relative_depth
from interp_assets.readings.records import Reading
from interp_assets.readings.value_weighted import VARIANTS
from interp_assets.stats.paired import cohens_d, signed_rank
from interp_assets.stats.ranking import auroc, fill_missing
from interp_assets.stats.resampling import bootstrap_mean, bootstrap_statistic, paired_mean_difference
from qc_standards.records import TestResult

Float = NDArray[np.float64]

NUMBER: Final = 202  # separates the random numbers of E2 from those of analysis 2
READING: Final = "value_weighted"
CHIEF: Final = "cosine"
ATTENTION: Final = "attention"
CORRELATION: Final = "correlation"
SCORES: Final = (*VARIANTS, ATTENTION)
# Cosines carry single-precision sums: what agrees in these digits is equal, so that heads that bring the same back for
# every token are no ranking of rounding errors. Attention and dot products have no scale to round on.
DIGITS: Final[Mapping[str, int]] = {"cosine": 6, "centroid": 6}
BEST_ON_EVALUATION: Final = "both layers were chosen on the outcomes they are scored with"
BEST_ONE: Final = "the layer was chosen on the outcomes it is scored with"
# Declared row -> what the value-weighted cosine is held against, and in which layer.
PAIRED: Final[Mapping[str, tuple[str, str]]] = {
    "E2.1": (ATTENTION, "best"),
    "E2.2": (CORRELATION, "best"),
    "E2.4": (ATTENTION, "frozen"),
    "E2.5": (CORRELATION, "frozen"),
}
LEVEL: Final = "E2.3"
OVER_LAYERS: Final = "E2.6"
COLUMNS: Final = (
    *("role", "dataset", "layer", "depth", "variant", "n", "mean_auroc", "sd_auroc"),
    *("reference", "reference_auroc", "n_pairs", "n_positive"),
    *("minus_attention", "attention_ci_low", "attention_ci_high"),
    *("minus_correlation", "correlation_ci_low", "correlation_ci_high"),
    *("resamples_requested", "resamples_done", "cells_used", "cells_control"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """AUROC by perturbation (n) of every score: by layer (L x n) those of the model, once (n) that of correlation.

    ``reference`` is the pooled AUROC against the primary reference (L, or one number), missing without a reference.
    """

    role: RoleInputs
    reading: Reading
    aurocs: Mapping[str, Float]
    reference: Mapping[str, Float]
    reference_name: str
    n_pairs: int
    n_positive: int
    candidate_share: float

    @property
    def layers(self) -> int:
        """Number of layers."""
        return int(self.aurocs[CHIEF].shape[0])

    @property
    def n(self) -> int:
        """Number of perturbations."""
        return int(self.aurocs[CORRELATION].size)

    def best(self, score: str) -> int:
        """Layer with the highest mean AUROC over perturbations; the first of equals."""
        return int(self.aurocs[score].mean(axis=1).argmax())

    def at(self, score: str, layer: int) -> Float:
        """AUROC by perturbation (n) of a score in a layer; correlation knows no layer."""
        return self.aurocs[score] if score == CORRELATION else self.aurocs[score][layer]


def value_weighted_edges(inputs: AnalysisInputs) -> AnalysisOutput:
    """Value-weighted cosine against attention and correlation: best layers, the frozen layer, over all layers.

    Table ``value_weighted_profile``: one row a layer and score with its AUROC over perturbations, that against the
    primary reference, and the difference to attention of the same layer and to correlation, with intervals over
    perturbations.
    """
    role, reading = role_or_reason(inputs, "primary_screen"), reading_or_reason(inputs, READING)
    used = chosen_settings(inputs, "analysis_depth", "bootstrap", "min_positives", "min_negatives", "value_flips")
    if isinstance(role, str):
        return skip_all(inputs, role)
    if isinstance(reading, str):
        return skip_all(inputs, reading, role=role)
    scored = _scored(inputs, role, reading)
    if scored.n == 0:
        reason = "no perturbation has enough positive and negative candidates among the pairs that were read"
        return skip_all(inputs, reason, role=role)
    tables = {"value_weighted_profile": _profile(inputs, scored, int(used["bootstrap"]))}
    return collect(inputs, [_row(inputs, scored, spec.test_id, used) for spec in inputs.tests], tables)


def _scored(inputs: AnalysisInputs, role: RoleInputs, reading: Reading) -> Scored:
    if reading.facts["cells_hash"] != role.cells_hash:
        raise ValueError(f"{role.dataset}: context vectors come from other cells; materialise {READING} again")
    at = _places(role, reading)
    both = np.ix_(at, at)
    layers = int(reading.arrays[CHIEF].shape[0])
    correlation = np.asarray(reading.arrays[CORRELATION], dtype=np.float64)[both]
    held = (np.asarray(reading.arrays["cells_behind"])[both] > 0) & np.isfinite(correlation)
    label = candidate_labels(role)
    label[~held[role.source]] = -1
    keep = evaluable(inputs, label)
    pairs = pairs_or_reason(role)
    asked = None if isinstance(pairs, str) else _Asked(pairs, held)

    def of(score: Float) -> tuple[Float, float]:
        filled, _ = fill_missing(np.where(held, score, np.nan))
        recovered = np.nan if asked is None else asked.auroc(filled)
        return row_aurocs(filled[role.source], label, keep), recovered

    found: dict[str, Float] = {}
    recovered: dict[str, Float] = {}
    if keep.any():
        for name in SCORES:
            each = [of(_score(reading, name, layer)[both]) for layer in range(layers)]
            found[name] = np.array([values for values, _ in each])
            recovered[name] = np.array([value for _, value in each])
        found[CORRELATION], single = of(correlation)
        recovered[CORRELATION] = np.array([single])
    candidates = candidate_labels(role) >= 0
    return Scored(
        role=role,
        reading=reading,
        aurocs=found or {CORRELATION: np.empty(0)},
        reference=recovered,
        reference_name="" if asked is None else asked.pairs.name,
        n_pairs=0 if asked is None else int(asked.candidate.sum()),
        n_positive=0 if asked is None else int(asked.pairs.member[asked.candidate].sum()),
        candidate_share=float(((label >= 0) & candidates).sum() / max(1, candidates.sum())),
    )


def _score(reading: Reading, name: str, layer: int) -> Float:
    """Scores of one layer (read genes x read genes); cosines in the digits they are known to."""
    score = np.asarray(reading.arrays[name][layer], dtype=np.float64)
    return np.round(score, DIGITS[name]) if name in DIGITS else score


class _Asked:
    """Candidate pairs of the primary reference among those that were read."""

    def __init__(self, pairs: ReferencePairs, held: NDArray[np.bool_]) -> None:
        self.pairs = pairs
        both = held if pairs.directed else held & held.T
        own = pairs.regulators[:, None] != np.arange(held.shape[0])[None, :]
        self.candidate = both[pairs.regulators] & own

    def auroc(self, score: Float) -> float:
        """Pooled AUROC; missing without a positive or a negative pair."""
        if not self.candidate.any():
            return float("nan")
        label = self.pairs.member[self.candidate].astype(np.int8)
        return float(auroc(reference_scores(self.pairs, score)[self.candidate], label[None])[0])


def _places(role: RoleInputs, reading: Reading) -> NDArray[np.int64]:
    """Where the evaluable genes stand among those that were read."""
    place = {str(gene): number for number, gene in enumerate(reading.arrays["genes"])}
    lacking = [str(gene) for gene in role.genes if str(gene) not in place]
    if lacking:
        raise ValueError(
            f"{role.dataset}: context vectors of {len(lacking)} evaluable genes such as {lacking[0]} were not read; "
            f"materialise {READING} again"
        )
    return np.array([place[str(gene)] for gene in role.genes], dtype=np.int64)


def _row(inputs: AnalysisInputs, scored: Scored, test_id: str, used: Mapping[str, Any]) -> TestResult:
    told = {**used, **_read(scored), "score": CHIEF}
    if test_id == LEVEL:
        return _level(inputs, scored, told)
    if test_id == OVER_LAYERS:
        return _over_layers(inputs, scored, told)
    against, which = PAIRED[test_id]
    layer = analysis_layer(inputs, scored.role)
    chosen = {name: scored.best(name) if which == "best" else layer for name in (CHIEF, ATTENTION)}
    own, other = scored.at(CHIEF, chosen[CHIEF]), scored.at(against, chosen[ATTENTION])
    draws = generator(inputs, NUMBER, int(test_id.split(".")[1]))
    difference, test = paired_mean_difference(own, other, draws, int(used["bootstrap"])), signed_rank(own - other)
    told |= {"against": against, "layers": which, "value_weighted_layer": chosen[CHIEF]}
    told |= {"attention_layer": chosen[ATTENTION]} if against == ATTENTION else {}
    told["d"] = None if not np.isfinite(d := cohens_d(own - other)) else d
    return row(
        inputs,
        scored.role,
        test_id,
        settings=told,
        layer=layer,
        reason=(BEST_ON_EVALUATION if against == ATTENTION else BEST_ONE) if which == "best" else "",
        statistic=test.statistic,
        effect=difference.mean,
        ci_low=difference.interval.low,
        ci_high=difference.interval.high,
        p=test.p,
        n=scored.n,
        null_name=against,
        null_mean=other.mean(),
        resamples_requested=difference.interval.resamples_requested,
        resamples_done=difference.interval.resamples_done,
        direction=f"value-weighted minus {against}",
    )


def _level(inputs: AnalysisInputs, scored: Scored, told: dict[str, Any]) -> TestResult:
    """Mean AUROC of the best layer; the statistic is the best AUROC against the primary reference."""
    best = scored.best(CHIEF)
    values, recovered = scored.at(CHIEF, best), scored.reference[CHIEF]
    known = np.isfinite(recovered).any()
    told |= {"value_weighted_layer": best, "reference": scored.reference_name}
    told |= {"reference_layer": int(np.nanargmax(recovered)) if known else None}
    told |= {f"best_{name}": float(scored.aurocs[name].mean(axis=1).max()) for name in SCORES}
    told |= {"level_correlation": float(scored.aurocs[CORRELATION].mean())}
    interval = bootstrap_mean(values, generator(inputs, NUMBER, 3), int(told["bootstrap"]))
    return row(
        inputs,
        scored.role,
        LEVEL,
        settings=told,
        layer=analysis_layer(inputs, scored.role),
        reason=BEST_ONE,
        statistic=float(np.nanmax(recovered)) if known else None,
        effect=values.mean(),
        ci_low=interval.low,
        ci_high=interval.high,
        n=scored.n,
        null_name="chance",
        null_mean=0.5,
        resamples_requested=interval.resamples_requested,
        resamples_done=interval.resamples_done,
        direction="mean AUROC of the best layer; the statistic is the best AUROC against the primary reference",
    )


def median_difference(differences: Float) -> float:
    """Median over layers of the mean difference over units (differences: layers x units)."""
    return float(np.median(differences.mean(axis=1)))


def sign_flip_null(differences: Float, rng: np.random.Generator, draws: int) -> Float:
    """`median_difference` with the signs of whole units flipped at random (draws): the two scores exchanged.

    All layers of a unit flip together, so that their dependence is kept.
    """
    signs = rng.choice(np.array([-1.0, 1.0]), size=(draws, differences.shape[1]))
    flipped = np.median(signs @ differences.T / differences.shape[1], axis=1)
    return np.asarray(flipped, dtype=np.float64)


def _over_layers(inputs: AnalysisInputs, scored: Scored, told: dict[str, Any]) -> TestResult:
    """Median over layers of the same-layer difference: no layer is chosen at all."""
    differences = scored.aurocs[CHIEF] - scored.aurocs[ATTENTION]
    effect, flips = median_difference(differences), int(told["value_flips"])
    null = sign_flip_null(differences, generator(inputs, NUMBER, 7), flips)
    interval = bootstrap_statistic(
        scored.n,
        lambda drawn: median_difference(differences[:, drawn]),
        generator(inputs, NUMBER, 6),
        int(told["bootstrap"]),
    )
    # two relabellings of equal size are equal up to the last bits of their sums
    beyond = int((np.abs(null) >= abs(effect) - 1e-12).sum())
    return row(
        inputs,
        scored.role,
        OVER_LAYERS,
        settings={**told, "against": ATTENTION, "layers": "median over all", "bootstrap_done": interval.resamples_done},
        layer=analysis_layer(inputs, scored.role),
        statistic=float((differences.mean(axis=1) > 0).mean()),
        effect=effect,
        ci_low=interval.low,
        ci_high=interval.high,
        p=(beyond + 1) / (flips + 1),
        n=scored.n,
        null_name="scores exchanged within perturbations",
        null_mean=null.mean(),
        null_sd=null.std(ddof=1) if flips > 1 else None,
        resamples_requested=flips,
        resamples_done=null.size,
        direction="value-weighted minus attention; the statistic is the share of layers in which it is above 0",
    )


def _read(scored: Scored) -> dict[str, Any]:
    """What was read, for the settings of a row."""
    names = ("cells_used", "cells_control", "cells_drawn", "value_cells", "zero_vector_share", "device", "dtype")
    facts = {name: scored.reading.facts[name] for name in names}
    return {**facts, "missing_rule": "no candidate", "candidate_share": scored.candidate_share}


def _profile(inputs: AnalysisInputs, scored: Scored, resamples: int) -> pd.DataFrame:
    records = [_record(inputs, scored, name, layer, resamples) for name in SCORES for layer in range(scored.layers)]
    frame = pd.DataFrame([*records, _record(inputs, scored, CORRELATION, None, resamples)], columns=list(COLUMNS))
    return frame.astype({"layer": "Int64"})


def _record(inputs: AnalysisInputs, scored: Scored, name: str, layer: int | None, resamples: int) -> dict[str, Any]:
    """One row of the profile; a score is not held against itself."""
    values = scored.at(name, layer or 0)
    told: dict[str, Any] = {
        "role": scored.role.role,
        "dataset": scored.role.dataset,
        "layer": layer,
        "depth": np.nan if layer is None else relative_depth(layer, scored.layers),
        "variant": name,
        "n": scored.n,
        "mean_auroc": values.mean(),
        "sd_auroc": values.std(ddof=1) if values.size > 1 else np.nan,
        "reference": scored.reference_name,
        "reference_auroc": scored.reference[name][layer or 0],
        "n_pairs": scored.n_pairs,
        "n_positive": scored.n_positive,
        "cells_used": scored.reading.facts["cells_used"],
        "cells_control": scored.reading.facts["cells_control"],
        "resamples_requested": resamples if name != CORRELATION else 0,
    }
    done = [0]
    for other in (ATTENTION, CORRELATION):
        if name != CORRELATION and name != other:
            # one draw of perturbations for the whole profile, so that its rows can be held against each other
            found = paired_mean_difference(
                values, scored.at(other, layer or 0), generator(inputs, NUMBER, 0), resamples
            )
            told |= {f"minus_{other}": found.mean, f"{other}_ci_low": found.interval.low}
            told |= {f"{other}_ci_high": found.interval.high}
            done.append(found.interval.resamples_done)
    return told | {"resamples_done": min(done[1:], default=0)}

"""Analysis 5: agreement of in-silico deletions with the effects that screens measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interp_assets.analyses.inputs import AnalysisInputs, AnalysisOutput, CellSample
from interp_assets.analyses.rows import (
    chosen_settings,
    collect,
    generator,
    reading_or_reason,
    row,
    sample_or_reason,
    skip,
)
from interp_assets.cells.composition import COMPOSITION_SHIFT
from interp_assets.cells.outcome_tables import positions
from interp_assets.cells.own_change import EXPECTED
from interp_assets.readings.records import Reading
from interp_assets.stats.rank_association import (
    LEAST_ORDERS,
    ShuffleTest,
    SourcePairs,
    asymptotic_p,
    bootstrap_rank_correlation,
    detectable_rho,
    source_shuffle_test,
)
from interp_assets.stats.resampling import Interval, percentile_interval
from qc_standards.records import TestResult

NUMBER: Final = 5
READING: Final = "deletions"
SCREENS: Final = tuple(f"agreement_screens[{number}]" for number in (1, 2, 3, 4))
# Which screen a declared test reads, and whether confounds are regressed out of both sides.
TESTS: Final[Mapping[str, tuple[str, bool]]] = {
    "A05.1": (SCREENS[0], False),
    "A05.2": (SCREENS[0], True),
    "A05.3": (SCREENS[1], False),
    "A05.4": (SCREENS[2], False),
    "A05.5": (SCREENS[3], False),
    "A05.6": (SCREENS[3], True),
}
SETTINGS: Final = ("agreement_bootstrap", "agreement_shuffles")
LEVEL: Final = 0.05
READ_OUTS: Final = ("logit_change", "cosine_distance")
BASELINES: Final = ("target_expression", "source_expression")
LEAST_PAIRS: Final = 10
LEAST_SOURCES: Final = 4
NO_TYPES: Final = "composition shift left out: the cell types of perturbed cells are not known"
NO_SHIFT: Final = "composition shift left out: it is the same for every source"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Linked:
    """Pairs of one screen with everything measured about them; ``left_out`` says what could not be adjusted for."""

    pairs: pd.DataFrame
    measured: NDArray[np.float64]
    left_out: str
    sample: CellSample

    def read_out(self, name: str) -> SourcePairs:
        """Pairs with one read-out of the model; a distance has no sign, so it is held against effect sizes."""
        sizes = np.abs(self.measured) if name == "cosine_distance" else self.measured
        shift = self.pairs.drop_duplicates("source_number").set_index("source_number")["composition_shift"]
        moving = np.empty((0, self.measured.shape[0]))
        if not self.left_out:
            moving = shift.reindex(np.arange(self.measured.shape[0])).to_numpy(np.float64)[None]
        return SourcePairs(
            effect=self.pairs[name].to_numpy(np.float64),
            source=self.pairs["source_number"].to_numpy(np.int64),
            target=self.pairs["target_number"].to_numpy(np.int64),
            measured=sizes,
            covariates=self.pairs[list(BASELINES)].to_numpy(np.float64).T,
            source_covariates=moving,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Agreement:
    """One correlation with its interval, null and power."""

    test: ShuffleTest
    interval: Interval
    p_asymptotic: float
    detectable: float
    pairs: int
    sources: int
    covariates: tuple[str, ...]


def screen_agreement(inputs: AnalysisInputs) -> AnalysisOutput:
    """Rank correlation of deletion effects with measured fold changes, raw and with confounds regressed out.

    The model's effect is the change of the target's logit when the source is deleted (`readings.deletions`), the
    screen's the log fold of the target, with the sign turned where the screen raises the source. Adjusted: partial
    Spearman given mean log expression of target and source in control cells and, where cell types of perturbed cells
    are known, the composition shift of the source. The p comes from giving each source another one's measured effects;
    the asymptotic p stands beside it (paper section 5, analysis 5).

    Tables: ``agreement_pairs``, one row a pair (role, dataset, source, target, listed, cells, logit_change and
    cosine_distance with standard errors, measured_fold, measured_effect, the covariates), and ``agreement_summary``,
    one row a screen, read-out and adjustment.
    """
    used = chosen_settings(inputs, *SETTINGS)
    reading = reading_or_reason(inputs, READING)
    linked = {role: _linked(inputs, role, reading) for role in SCREENS}
    tables: dict[str, pd.DataFrame] = {}
    frames = [found.pairs for found in linked.values() if isinstance(found, _Linked)]
    if frames:
        hidden = ["source_number", "target_number"]
        tables["agreement_pairs"] = pd.concat(frames, ignore_index=True).drop(columns=hidden)
    found = {
        (role, name, adjusted): _agreement(inputs, role, pairs, name, adjusted, used)
        for role, pairs in linked.items()
        if isinstance(pairs, _Linked)
        for name in READ_OUTS
        for adjusted in (False, True)
    }
    if found:
        tables["agreement_summary"] = pd.DataFrame([_summary(linked, key, value) for key, value in found.items()])
    results = [_row(inputs, spec.test_id, linked, found, used) for spec in inputs.tests]
    return collect(inputs, results, tables)


def _linked(inputs: AnalysisInputs, role: str, reading: Reading | str) -> _Linked | str:
    """Pairs of one screen with measured effects and covariates; or why there are none."""
    sample = sample_or_reason(inputs, role)
    if isinstance(sample, str) or isinstance(reading, str):
        return sample if isinstance(sample, str) else str(reading)
    if role not in reading.facts["roles"]:
        return str(reading.facts["reasons"].get(role, f"{READING} holds no pairs of {role}"))
    if reading.facts["roles"][role]["cells_hash"] != sample.cells_hash:
        raise ValueError(
            f"{sample.dataset}: deletions were read in other cells than those of the screen; "
            f"materialise {READING} again"
        )
    if sample.labels.modality.lower() not in EXPECTED:
        return f"{sample.dataset}: whether {sample.labels.modality!r} raises or lowers a gene is not known"
    table = reading.tables["deletion_pairs"]
    pairs = table[table["role"] == role].reset_index(drop=True)
    measured = _measured(sample, pairs)
    pairs = pairs.assign(source_number=pd.factorize(pairs["source"])[0], target_number=pd.factorize(pairs["target"])[0])
    fold = measured[pairs["source_number"], pairs["target_number"]]
    pairs = pairs.assign(measured_fold=fold * _direction(sample), measured_effect=fold, **_covariates(sample, pairs))
    return _Linked(
        pairs=pairs[np.isfinite(fold)].reset_index(drop=True),
        measured=measured,
        left_out=_left_out(pairs),
        sample=sample,
    )


def _direction(sample: CellSample) -> float:
    """-1 where the screen raises its genes, so that every measured effect is that of lowering the source."""
    return -1.0 if EXPECTED[sample.labels.modality.lower()] == "up" else 1.0


def _measured(sample: CellSample, pairs: pd.DataFrame) -> NDArray[np.float64]:
    """Log fold of every target of the pairs under every source of them (sources x targets), NaN where not tested."""
    sources, targets = pd.unique(pairs["source"]), pd.unique(pairs["target"])
    table = sample.labels.table
    kept = table[table["perturbation"].isin(sources) & table["gene"].isin(targets)]
    folds = kept.pivot_table(index="perturbation", columns="gene", values="lfc", aggfunc="mean")
    wide = folds.reindex(index=sources, columns=targets).to_numpy(np.float64)
    return np.asarray(wide * _direction(sample), dtype=np.float64)


def _covariates(sample: CellSample, pairs: pd.DataFrame) -> dict[str, NDArray[np.float64]]:
    cells = sample.cells
    mean = np.asarray(cells.log[cells.control].mean(axis=0)).ravel().astype(np.float64)
    shift = sample.labels.facts.get(COMPOSITION_SHIFT) or {}
    return {
        "target_expression": mean[positions(cells.genes, pairs["target"])],
        "source_expression": mean[positions(cells.genes, pairs["source"])],
        "composition_shift": np.array([shift.get(str(name), np.nan) for name in pairs["source"]], dtype=np.float64),
    }


def _left_out(pairs: pd.DataFrame) -> str:
    shift = pairs["composition_shift"]
    if shift.isna().any():
        return NO_TYPES
    return NO_SHIFT if shift.nunique() < 2 else ""


def _agreement(
    inputs: AnalysisInputs, role: str, linked: _Linked, name: str, adjusted: bool, used: Mapping[str, Any]
) -> _Agreement | str:
    """Correlation of one read-out with the measured effects; or why there is none."""
    pairs = linked.pairs
    sources = int(pairs["source"].nunique())
    if pairs[name].isna().any():
        return "the release has no token head, so no target is predicted; only hidden states can be compared"
    if len(pairs) < LEAST_PAIRS or sources < LEAST_SOURCES:
        return (
            f"{len(pairs)} pairs of {sources} sources; at least {LEAST_PAIRS} of {LEAST_SOURCES} are needed for a rank "
            "correlation over pairs and a shuffle of sources"
        )
    given = linked.read_out(name)
    purpose = (SCREENS.index(role), READ_OUTS.index(name), int(adjusted))
    test = source_shuffle_test(
        given, generator(inputs, NUMBER, *purpose, 0), int(used["agreement_shuffles"]), adjusted=adjusted
    )
    if not np.isfinite(test.observed):
        return (
            f"{name} or the measured effect does not vary over the {len(pairs)} pairs, or covariates explain all of it"
        )
    own = np.arange(given.measured.shape[0], dtype=np.int64)[None]
    effects, covariates = given.linked(own, adjusted=adjusted)
    asked = int(used["agreement_bootstrap"])
    draws = bootstrap_rank_correlation(
        given.effect,
        effects[0],
        None if covariates is None else covariates[0],
        generator(inputs, NUMBER, *purpose, 1),
        asked,
    )
    names = (*BASELINES, *(() if linked.left_out else ("composition_shift",))) if adjusted else ()
    return _Agreement(
        test=test,
        interval=percentile_interval(draws, requested=asked),
        p_asymptotic=asymptotic_p(test.observed, len(pairs), len(names)),
        detectable=detectable_rho(len(pairs), len(names)),
        pairs=len(pairs),
        sources=sources,
        covariates=names,
    )


Key = tuple[str, str, bool]


def _summary(linked: Mapping[str, _Linked | str], key: Key, found: _Agreement | str) -> dict[str, Any]:
    role, name, adjusted = key
    screen = linked[role]
    dataset = screen.sample.dataset if isinstance(screen, _Linked) else ""
    about = {"role": role, "dataset": dataset, "read_out": name, "adjusted": adjusted}
    if isinstance(found, str):
        return {**about, "reason": found}
    return {
        **about,
        "pairs": found.pairs,
        "sources": found.sources,
        "covariates": ";".join(found.covariates),
        "left_out": screen.left_out if adjusted and isinstance(screen, _Linked) else "",
        "rho": found.test.observed,
        "ci_low": found.interval.low,
        "ci_high": found.interval.high,
        "p": found.test.p,
        "p_asymptotic": found.p_asymptotic,
        "null_mean": found.test.mean,
        "null_sd": found.test.sd,
        "shuffles_requested": found.test.requested,
        "shuffles_done": found.test.done,
        "orders": found.test.orders,
        "bootstrap_requested": found.interval.resamples_requested,
        "bootstrap_done": found.interval.resamples_done,
        "detectable_rho": found.detectable,
        "reason": "",
    }


def _row(
    inputs: AnalysisInputs,
    test_id: str,
    linked: Mapping[str, _Linked | str],
    found: Mapping[Key, _Agreement | str],
    used: dict[str, Any],
) -> TestResult:
    role, adjusted = TESTS[test_id]
    screen = linked[role]
    if isinstance(screen, str):
        return skip(inputs, test_id, screen, role=inputs.samples.get(role), settings=used)
    agreement = found[role, "logit_change", adjusted]
    if isinstance(agreement, str):
        return skip(inputs, test_id, agreement, role=screen.sample, settings=used)
    test = agreement.test
    facts = inputs.readings[READING].facts
    power = f"{agreement.pairs} pairs show a correlation of {agreement.detectable:.2f} or more with power .8"
    adjusting = f"given {', '.join(agreement.covariates)}; " if adjusted else ""
    lacking = f"{screen.left_out}; " if adjusted and screen.left_out else ""
    settings = used | {
        "agreement_pairs": facts["agreement_pairs"],
        "deletion_cells": facts["deletion_cells"],
        "read_out": "logit_change",
        "covariates": list(agreement.covariates),
        "left_out": screen.left_out if adjusted else "",
        "sources": agreement.sources,
        "reference": facts["roles"][role]["reference"],
        "pairs_listed": int(screen.pairs["listed"].sum()),
        "p_asymptotic": agreement.p_asymptotic,
        "detectable_rho": agreement.detectable,
        "bootstrap_done": agreement.interval.resamples_done,
        "modality": screen.sample.labels.modality,
    }
    return row(
        inputs,
        screen.sample,
        test_id,
        settings=settings,
        layer=None,
        reason=""
        if np.isfinite(test.p)
        else f"{test.orders} other orders of sources have a measured effect for every "
        f"pair; {LEAST_ORDERS} are needed for a p",
        statistic=test.observed,
        effect=test.observed,
        ci_low=agreement.interval.low,
        ci_high=agreement.interval.high,
        p=test.p,
        n=agreement.pairs,
        null_name="measured effects of another source",
        null_mean=test.mean,
        null_sd=test.sd,
        resamples_requested=test.requested,
        resamples_done=test.done,
        direction=f"{adjusting}{lacking}positive: the model and the screen move targets the same way; "
        f"{_parted(agreement)}{power}",
    )


def _parted(found: _Agreement) -> str:
    """In words where interval and p part: the one is held against 0, the other against shuffled sources."""
    apart = found.interval.low > 0.0 or found.interval.high < 0.0
    if apart and found.test.p > LEVEL:
        return f"the interval leaves 0 out, but with shuffled sources the mean is {found.test.mean:.2f} and p large; "
    if not apart and found.test.p <= LEVEL:
        return f"the interval holds 0, but with shuffled sources the mean is {found.test.mean:.2f} and p small; "
    return ""

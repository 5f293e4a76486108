"""Analysis 9: whether edge scores can be turned into honest probabilities, and whether calibrators travel.

Perturbations are split into a fit, a calibration and a test part; no pair of a tested perturbation was seen before.
The calibrator of another screen is compared with one fitted to other perturbations of the same screen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from interp_assets.analyses.calibration_judged import ALPHAS, NUMBER, Float, Judged, Sets, carry, conformal, judge
from interp_assets.analyses.calibration_screens import Pairs, Split, pooled, screen_pairs, split_pairs
from interp_assets.analyses.calibration_tables import calibration_tables
from interp_assets.analyses.inputs import AnalysisInputs, AnalysisOutput, CellSample, Pooled
from interp_assets.analyses.pooled import pooled_source
from interp_assets.analyses.rows import chosen_settings, collect, generator, row, sample_or_reason, skip
from interp_assets.stats.calibration import contradicted_p
from interp_assets.stats.expression_scorers import SCORERS
from interp_assets.stats.resampling import percentile_interval
from qc_standards.records import TestResult

SOURCES: Final = ("agreement_screens[1]", "agreement_screens[3]")
CARRIED: Final = "agreement_screens[3]"
TARGET: Final = "agreement_screens[4]"
FEWEST_FITTED: Final = 5  # perturbations behind a calibrator that is carried elsewhere


def edge_calibration(inputs: AnalysisInputs) -> AnalysisOutput:
    """Calibration of six expression scores on two screens taken together, and its transfer to a third.

    Raw scores lie between 0 and 1 and are compared with shares of edges as they are. Calibrators are fitted on half of
    the perturbations, conformal thresholds on a quarter (from Platt probabilities, which keep the score's order), both
    judged on the last quarter. For the transfer, perturbations tested in the target screen are left out of the fit.

    Tables: `calibration` (QCS-34), `conformal` (QCS-35: one threshold), `conformal_by_class` (a threshold a class),
    `calibration_bins` (reliability), `calibration_scorers` (a score in a screen), `calibration_transfer`.
    """
    used = chosen_settings(inputs, "calibration_bins", "calibration_bootstrap", "min_perturbations")
    screens = _screens(inputs)
    local, target, carried = _contexts(inputs, screens, used)
    judged = [one for split in (local, target) if isinstance(split, Split) for one in judge(inputs, split, used)]
    sets = [one for split in (local, target) if isinstance(split, Split) for one in conformal(inputs, split, used)]
    travelled = [] if isinstance(carried, str) or isinstance(target, str) else carry(inputs, carried, target, used)
    results = [
        *_local_rows(inputs, used, screens, local, judged, sets),
        _transfer_row(inputs, used, screens, target, carried, judged, travelled),
    ]
    splits = [split for split in (local, target) if isinstance(split, Split)]
    return collect(inputs, results, calibration_tables(splits, [*judged, *travelled], sets))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Screen:
    sample: CellSample
    pairs: Pairs


def _screens(inputs: AnalysisInputs) -> dict[str, _Screen | str]:
    """Scored pairs by role; a dataset in two roles is scored once."""
    by_dataset: dict[str, Pairs | str] = {}
    found: dict[str, _Screen | str] = {}
    for role in (*SOURCES, TARGET):
        sample = sample_or_reason(inputs, role)
        if isinstance(sample, str):
            found[role] = f"{role}: {sample}"
            continue
        if sample.dataset not in by_dataset:
            by_dataset[sample.dataset] = screen_pairs(sample)
        pairs = by_dataset[sample.dataset]
        found[role] = pairs if isinstance(pairs, str) else _Screen(sample=sample, pairs=pairs)
    return found


def _contexts(
    inputs: AnalysisInputs, screens: Mapping[str, _Screen | str], used: Mapping[str, Any]
) -> tuple[Split | str, Split | str, Pairs | str]:
    """Source screens taken together, the target screen, and the pairs that the carried calibrator is fitted to."""
    fewest = int(used["min_perturbations"])
    held = {one.sample.dataset: one.pairs for role in SOURCES if isinstance(one := screens[role], _Screen)}
    why = "; ".join(one for role in SOURCES if isinstance(one := screens[role], str))
    local: Split | str = split_pairs(pooled(list(held.values())), generator(inputs, NUMBER, 1), fewest) if held else why
    if not isinstance(local, Split) and why and held:
        local = f"{local}; {why}"
    place, source = screens[TARGET], screens[CARRIED]
    target = place if isinstance(place, str) else split_pairs(place.pairs, generator(inputs, NUMBER, 2), fewest)
    if isinstance(source, str) or isinstance(target, str):
        return local, target, source if isinstance(source, str) else str(target)
    if source.sample.dataset == target.name:
        return local, target, f"{CARRIED} and {TARGET} are both {target.name}; name another screen for one of them"
    return local, target, _carried(local, source.pairs, target)


def _carried(local: Split | str, source: Pairs, target: Split) -> Pairs | str:
    """Pairs of the source screen in the fit part, without perturbations that are tested in the target."""
    if isinstance(local, str):
        return local
    kept = np.isin(source.names, local.fit.names) & ~np.isin(source.names, target.test.names)
    fitted = source.where(kept[source.perturbation])
    if fitted.names.size < FEWEST_FITTED or np.unique(fitted.label).size < 2:
        return (
            f"{source.name}: {fitted.names.size} perturbations are left to fit a calibrator that {target.name} does "
            f"not test; {FEWEST_FITTED} with both edges and others are needed"
        )
    return fitted


def _mean_over_scorers(judged: list[Judged], context: str, *calibrators: str) -> tuple[float, Float]:
    """Error of the named calibrators, mean over scorers, and the same in every resample."""
    held = [one for one in judged if one.context == context and one.calibrator in calibrators]
    return float(np.mean([one.ece for one in held])), np.mean([one.draws for one in held], axis=0)


def _settings(used: Mapping[str, Any], split: Split, **facts: Any) -> dict[str, Any]:
    return {
        **used,
        "datasets": list(split.whole.datasets),
        "perturbations": {"fit": split.fit.names.size, "calibrate": split.calibrate.names.size}
        | {"test": split.test.names.size},
        "positive_share": {"fit": float(split.fit.label.mean()), "test": float(split.test.label.mean())},
        "scorers": list(SCORERS),
        "split_by": "perturbation",
        "truth": dict(zip(split.whole.datasets, split.whole.rules, strict=True)),
        **facts,
    }


def _spoken_for(screens: Mapping[str, _Screen | str], split: Split) -> CellSample | Pooled:
    samples = [one.sample for one in screens.values() if isinstance(one, _Screen)]
    return pooled_source(sample for sample in samples if sample.dataset in split.whole.datasets)


def _bootstrap(draws: Float, requested: int) -> dict[str, Any]:
    interval = percentile_interval(draws, requested=requested)
    return {
        "ci_low": interval.low,
        "ci_high": interval.high,
        "resamples_requested": interval.resamples_requested,
        "resamples_done": interval.resamples_done,
    }


def _local_rows(
    inputs: AnalysisInputs,
    used: Mapping[str, Any],
    screens: Mapping[str, _Screen | str],
    split: Split | str,
    judged: list[Judged],
    sets: list[Sets],
) -> list[TestResult]:
    """Rows A09.1 to A09.4, of the source screens taken together."""
    ids = ("A09.1", "A09.2", "A09.3", "A09.4")
    if isinstance(split, str):
        held = next((one.sample for role in SOURCES if isinstance(one := screens[role], _Screen)), None)
        return [skip(inputs, test_id, split, role=held) for test_id in ids]
    absent = "; ".join(one for role in SOURCES if isinstance(one := screens[role], str))
    numbers = {**_error_numbers(used, split, judged), **_set_numbers(used, split, judged, sets)}
    raw, _ = _mean_over_scorers(judged, split.name, "raw")
    isotonic, _ = _mean_over_scorers(judged, split.name, "isotonic")
    constant = next(one.ece_constant for one in judged if one.context == split.name)
    facts = {"ece": {"constant": constant, "isotonic": isotonic, "raw": raw}, "conformal_from": "platt"}
    return [
        row(
            inputs,
            _spoken_for(screens, split),
            test_id,
            settings=_settings(used, split, **facts),
            layer=None,
            reason=absent,
            n=split.test.label.size if test_id == "A09.3" else split.test.names.size,
            **numbers[test_id],
        )
        for test_id in ids
    ]


def _error_numbers(used: Mapping[str, Any], split: Split, judged: list[Judged]) -> dict[str, dict[str, Any]]:
    """What calibration does to the error (A09.1, A09.2)."""
    resamples = int(used["calibration_bootstrap"])
    raw, raw_draws = _mean_over_scorers(judged, split.name, "raw")
    both, both_draws = _mean_over_scorers(judged, split.name, "platt", "isotonic")
    isotonic, isotonic_draws = _mean_over_scorers(judged, split.name, "isotonic")
    return {
        "A09.1": {
            "statistic": raw - both,
            "effect": raw / both if both > 0.0 else float("nan"),
            **_bootstrap(
                np.divide(raw_draws, both_draws, where=both_draws > 0.0, out=np.full(resamples, np.nan)), resamples
            ),
            "p": contradicted_p(raw_draws - both_draws),
            "null_name": "no change (ratio 1)",
            "null_mean": 1.0,
            "direction": "raw over calibrated ECE, mean of six scores; above 1 means that calibration lowers it",
        },
        "A09.2": {
            "statistic": isotonic,
            "effect": isotonic - raw,
            **_bootstrap(isotonic_draws - raw_draws, resamples),
            "p": contradicted_p(raw_draws - isotonic_draws),
            "null_name": "raw score",
            "null_mean": raw,
            "direction": "isotonic minus raw ECE, mean of six scores; below 0 means that isotonic is better",
        },
    }


def _set_numbers(
    used: Mapping[str, Any], split: Split, judged: list[Judged], sets: list[Sets]
) -> dict[str, dict[str, Any]]:
    """Coverage of the strictest sets, and how far the error moves under resampling (A09.3, A09.4)."""
    resamples = int(used["calibration_bootstrap"])
    strict = [one for one in sets if one.context == split.name and one.alpha == ALPHAS[0] and not one.by_class]
    isotonic = [one for one in judged if one.context == split.name and one.calibrator == "isotonic"]
    intervals = [percentile_interval(one.draws, requested=resamples) for one in isotonic]
    width = [interval.high - interval.low for interval in intervals]
    return {
        "A09.3": {
            "statistic": float(np.mean([one.sets.shares[1] for one in strict])),
            "effect": float(np.mean([one.coverage for one in strict])),
            **_bootstrap(np.mean([one.draws for one in strict], axis=0), resamples),
            "null_name": "promised coverage",
            "null_mean": 1.0 - ALPHAS[0],
            "direction": "share of sets that hold the true label, mean of six scores; the statistic is the share of "
            "sets that name one label",
        },
        "A09.4": {
            "statistic": float(np.max(width)),
            "effect": float(np.mean(width)),
            "resamples_requested": resamples,
            "resamples_done": min(interval.resamples_done for interval in intervals),
            "direction": "width of the 95 % interval of the isotonic ECE, mean of six scores (statistic: widest)",
        },
    }


def _transfer_row(
    inputs: AnalysisInputs,
    used: Mapping[str, Any],
    screens: Mapping[str, _Screen | str],
    target: Split | str,
    carried: Pairs | str,
    judged: list[Judged],
    travelled: list[Judged],
) -> TestResult:
    """Row A09.5: the error of carried calibrators minus that of local ones, on the same held-out pairs."""
    place = screens[TARGET]
    held = None if isinstance(place, str) else place.sample
    if isinstance(target, str) or isinstance(carried, str) or held is None:
        return skip(inputs, "A09.5", target if isinstance(target, str) else str(carried), role=held)
    local, local_draws = _mean_over_scorers(judged, target.name, "isotonic")
    moved, moved_draws = _mean_over_scorers(travelled, target.name, "isotonic")
    facts = {
        "calibrator": "isotonic",
        "ece": {"constant": travelled[0].ece_constant, "local": local, "transferred": moved},
        "fitted_on": carried.name,
        "perturbations_fitted_elsewhere": carried.names.size,
        "positive_share_elsewhere": float(carried.label.mean()),
    }
    sources = [one.sample for role in (TARGET, CARRIED) if isinstance(one := screens[role], _Screen)]
    return row(
        inputs,
        pooled_source(sources),
        "A09.5",
        settings=_settings(used, target, **facts),
        layer=None,
        statistic=moved,
        effect=moved - local,
        **_bootstrap(moved_draws - local_draws, int(used["calibration_bootstrap"])),
        p=contradicted_p(moved_draws - local_draws),
        n=target.test.names.size,
        null_name="calibrator of other perturbations of the same screen",
        null_mean=local,
        direction="ECE of carried minus local isotonic calibrators, mean of six scores; above 0: they do not travel",
    )

"""Analysis 3: how many cells effects of two kinds need, when the advantage of one vanishes, and whether theory holds.

Everything is closed form or simulated; no dataset and no model enters, and every release gets the same numbers.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd

from interp_assets.analyses.detection_grid import (
    FEATURES,
    OBSERVATIONS,
    SIGNALS,
    SNR,
    agreement_row,
    agreement_table,
    detection_table,
)
from interp_assets.analyses.inputs import AnalysisInputs, AnalysisOutput, Simulated
from interp_assets.analyses.rows import chosen_settings, collect, generator, row
from interp_assets.stats.detectability import (
    ALPHA,
    POWER,
    SCHEMES,
    EffectClass,
    PilotEffects,
    break_even_tail,
    cells_needed,
    cells_ratio,
    phase_log2_ratio,
    projected_ratios,
    simulated_pilot,
)
from interp_assets.stats.detection_simulation import (
    FAMILIES,
    NOISE_SD,
    DetectionRates,
    detection_rates,
    gaussian_detection,
)
from interp_assets.stats.resampling import percentile_interval
from qc_standards.records import TestResult

NUMBER: Final = 3
ATTENTION: Final = EffectClass(effect=0.08)
INTERVENTION: Final = EffectClass(effect=0.12)
CLASSES: Final = {"attention_like": ATTENTION, "intervention_like": INTERVENTION}
TESTED: Final = (500, 2000, 10_000)
RATIOS: Final = tuple(float(value) for value in np.geomspace(0.4, 3.2, 25))
NEAR_EQUAL: Final = 1.25  # numbers of cells within this factor are called near equal
ATTENTION_TAILS: Final = (1.0, 1.2)
INTERVENTION_TAILS: Final = (0.5, 1.0, 1.2, 1.5, 1.8, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0)

EFFECTS: Final = (0.05, 0.08, 0.12, 0.2, 0.3, 0.5)
CELLS: Final = tuple(round(50 * 2 ** (step / 2)) for step in range(15))
EDGES: Final = 100
TRUE_SHARE: Final = 0.2
LEVEL: Final = 0.05
REPEATS: Final = 100

PILOT_EDGES: Final = 400
PILOT_GROUPS: Final = 50
PILOT_CELLS: Final = 2000
JUDGED: Final = "groups"  # edges of a group go together: the other schemes have intervals that are too narrow
BINS: Final = 40


def detectability_theory(inputs: AnalysisInputs) -> AnalysisOutput:
    """Cells needed by attention-like (.08) and intervention-like (.12) effects, in closed form and by simulation.

    Rows: correlation of the framework's logistic prediction with the simulated detection AUROC (A03.1; the expected
    AUROC in closed form stands beside it in the settings and the table), and the ratio of cells projected from a
    simulated pilot, p by resampling its groups (A03.2; the closed-form ratio is its statistic).

    Tables: ``detectability_cells`` (class, tested edges, cells), ``detectability_grid`` (log2 ratio over effect ratio
    x noise ratio, with a regime), ``detectability_tails`` (ratio by tail factors of both classes),
    ``detectability_rates`` (family, estimator, effect, cells: true positive and false discovery rate),
    ``detectability_boundary`` (smallest number of cells that detects), ``detectability_area`` (detectable share of
    the grid, Huber against mean), ``detectability_projection`` (histogram of projected ratios by scheme),
    ``detectability_projection_summary``, ``detection_theory`` (grid of predictions), ``detection_agreement``.
    """
    used = chosen_settings(inputs, "bootstrap", "detectability_draws", "simulation_seeds")
    rates = _simulated_rates(inputs, int(used["simulation_seeds"]))
    pilot = simulated_pilot(
        ATTENTION,
        INTERVENTION,
        generator(inputs, NUMBER, 3),
        edges=PILOT_EDGES,
        groups=PILOT_GROUPS,
        pilot_cells=PILOT_CELLS,
    )
    histogram, summary = _projection(inputs, pilot, int(used["detectability_draws"]))
    auroc = gaussian_detection(
        SNR, OBSERVATIONS, generator(inputs, NUMBER, 4), repeats=REPEATS, features=FEATURES, signals=SIGNALS
    )
    grid = detection_table(auroc, bias_sd=0.0)
    agreed = agreement_table(inputs, NUMBER, grid)
    tables = {
        "detectability_cells": _cells(),
        "detectability_grid": _phases(),
        "detectability_tails": _tails(),
        "detectability_rates": pd.concat([_rates(one) for one in rates], ignore_index=True),
        "detectability_boundary": _boundaries(rates),
        "detectability_area": _areas(rates),
        "detectability_projection": histogram,
        "detectability_projection_summary": summary,
        "detection_theory": grid,
        "detection_agreement": agreed,
    }
    theory = chosen_settings(inputs, "bootstrap", "detectability_draws")
    theory |= {"bias_sd": 0.0, "noise": "gaussian", "repeats": REPEATS, "score": "absolute t of one sample"}
    results = [agreement_row(inputs, "A03.1", agreed, theory), _ratio_row(inputs, pilot, summary)]
    return collect(inputs, results, tables)


def _cells() -> pd.DataFrame:
    rows = []
    for name, of in CLASSES.items():
        for tested, cells in zip(TESTED, cells_needed(of, TESTED), strict=True):
            rows.append(
                {
                    "effect_class": name,
                    "effect": of.effect,
                    "noise": of.noise,
                    "tail": of.tail,
                    "tested_edges": tested,
                    "alpha": ALPHA,
                    "power": POWER,
                    "cells_needed": cells,
                    "ratio_to_attention_like": cells_ratio(of, ATTENTION),
                }
            )
    return pd.DataFrame(rows)


def _phases() -> pd.DataFrame:
    """Regime by the number of cells intervention-like effects need over attention-like ones, with equal tails."""
    log2 = phase_log2_ratio(RATIOS, RATIOS)
    effect, noise = np.meshgrid(RATIOS, RATIOS, indexing="ij")
    limit = np.log2(NEAR_EQUAL)
    regime = np.select([log2 < -limit, log2 > limit], ["intervention better", "attention better"], "near equal")
    columns = {"effect_ratio": effect, "noise_ratio": noise, "log2_ratio": log2, "regime": regime}
    return pd.DataFrame({name: values.ravel() for name, values in columns.items()})


def _tails() -> pd.DataFrame:
    rows = []
    for first in ATTENTION_TAILS:
        against = EffectClass(effect=ATTENTION.effect, tail=first)
        # A tail that both classes share comes first: it cancels and changes nothing.
        for second in dict.fromkeys((first, *INTERVENTION_TAILS)):
            of = EffectClass(effect=INTERVENTION.effect, tail=second)
            ratio = cells_ratio(of, against)
            rows.append(
                {
                    "tail_attention": first,
                    "tail_intervention": second,
                    "ratio": ratio,
                    "fewer_cells": bool(ratio < 1.0 - 1e-12),
                    "break_even_tail": break_even_tail(of, against),
                }
            )
    return pd.DataFrame(rows)


def _simulated_rates(inputs: AnalysisInputs, simulations: int) -> list[DetectionRates]:
    if simulations < 1:
        raise ValueError(f"study {inputs.study}: simulation_seeds = {simulations}; simulate once or more")
    found: list[DetectionRates] = []
    for place, family in enumerate(FAMILIES):
        seeds = [[inputs.seed, NUMBER, 5, place, number] for number in range(simulations)]
        found.extend(detection_rates(family, EFFECTS, CELLS, seeds, edges=EDGES, true_share=TRUE_SHARE, level=LEVEL))
    return found


def _rates(one: DetectionRates) -> pd.DataFrame:
    effect, cells = np.meshgrid(one.effects, one.cells, indexing="ij")
    return pd.DataFrame(
        {
            "family": one.family,
            "estimator": one.estimator,
            "effect": effect.ravel(),
            "cells": cells.ravel(),
            "true_positive_rate": one.true_positive_rate.ravel(),
            "false_discovery_rate": one.false_discovery_rate.ravel(),
            "detectable": one.detectable.ravel(),
            "seeds": one.seeds,
        }
    )


def _boundaries(rates: list[DetectionRates]) -> pd.DataFrame:
    """Smallest number of cells that detects; missing where no number of the grid does.

    ``theory_cells`` is n* for the mean at the family's standard deviation, Bonferroni over as many edges: stricter than
    Benjamini-Hochberg, so that boundaries lie below it.
    """
    rows = []
    for one in rates:
        for place, effect in enumerate(one.effects):
            cells = one.boundary(place)
            at = one.cells.index(cells) if cells is not None else None
            of = EffectClass(effect=effect, noise=NOISE_SD[one.family])
            rows.append(
                {
                    "family": one.family,
                    "estimator": one.estimator,
                    "effect": effect,
                    "boundary_cells": cells,
                    "true_positive_rate": np.nan if at is None else one.true_positive_rate[place, at],
                    "false_discovery_rate": np.nan if at is None else one.false_discovery_rate[place, at],
                    "theory_cells": float(cells_needed(of, EDGES)),
                    "most_cells": max(one.cells),
                    "seeds": one.seeds,
                }
            )
    return pd.DataFrame(rows).astype({"boundary_cells": "Int64"})


def _areas(rates: list[DetectionRates]) -> pd.DataFrame:
    area = {(one.family, one.estimator): one.area for one in rates}
    rows = []
    for family in FAMILIES:
        mean, huber = area[family, "mean"], area[family, "huber"]
        change = huber / mean - 1.0 if mean > 0 else np.nan
        rows.append({"family": family, "mean_area": mean, "huber_area": huber, "relative_change": change})
    return pd.DataFrame(rows)


def _projection(inputs: AnalysisInputs, pilot: PilotEffects, draws: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Histogram over log-spaced ratios (the outer bins hold what lies beyond) and summary of each scheme."""
    edges = np.geomspace(0.1, 3.2, BINS + 1)
    histograms, rows = [], []
    for place, scheme in enumerate(SCHEMES):
        ratios = projected_ratios(pilot, scheme, generator(inputs, NUMBER, 6, place), draws)
        interval = percentile_interval(ratios, requested=draws)
        count, _ = np.histogram(np.clip(ratios, edges[0], edges[-1]), bins=edges)
        numbers = {"ratio_low": edges[:-1], "ratio_high": edges[1:], "draws": count, "share": count / draws}
        histograms.append(pd.DataFrame({"scheme": scheme, **numbers}))
        rows.append(
            {
                "scheme": scheme,
                "pilot_ratio": pilot.ratio,
                "closed_form": cells_ratio(INTERVENTION, ATTENTION),
                "median": float(np.median(ratios)),
                "ci_low": interval.low,
                "ci_high": interval.high,
                "share_below_one": float((ratios < 1.0).mean()),
                "p": float((1 + (ratios >= 1.0).sum()) / (draws + 1)),
                "resamples_requested": interval.resamples_requested,
                "resamples_done": interval.resamples_done,
            }
        )
    return pd.concat(histograms, ignore_index=True), pd.DataFrame(rows)


def _ratio_row(inputs: AnalysisInputs, pilot: PilotEffects, summary: pd.DataFrame) -> TestResult:
    by = summary.set_index("scheme")
    found = by.loc[JUDGED]
    settings = chosen_settings(inputs, "detectability_draws") | {
        "effects": {name: of.effect for name, of in CLASSES.items()},
        "effects_are": "assumed, not measured",
        "p_by_scheme": {scheme: float(by.loc[scheme, "p"]) for scheme in SCHEMES},
        "pilot": {"cells": PILOT_CELLS, "edges": PILOT_EDGES, "groups": PILOT_GROUPS},
        "scheme": JUDGED,
    }
    return row(
        inputs,
        Simulated(),
        "A03.2",
        settings=settings,
        layer=None,
        statistic=found["closed_form"],
        effect=pilot.ratio,
        effect_kind="n_star_ratio",
        ci_low=found["ci_low"],
        ci_high=found["ci_high"],
        p=found["p"],
        n=int(found["resamples_done"]),
        unit="bootstrap draw",
        null_name="as many cells for both (ratio 1)",
        null_mean=1.0,
        resamples_requested=int(found["resamples_requested"]),
        resamples_done=int(found["resamples_done"]),
        direction="cells for intervention-like over cells for attention-like effects of a simulated pilot; below 1 "
        "means fewer cells; statistic: the ratio in closed form",
    )

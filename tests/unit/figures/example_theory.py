"""Test-only tables of component effects, detectability and the synthetic truth. No number here is a result."""

from __future__ import annotations

import numpy as np
import pandas as pd

BUDGETS = ("uniform", "proportional", "concentrated")
LAMBDAS = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)
TISSUES = {"tissues[1]": "example-lung", "tissues[2]": "example-kidney"}


def theory_tables(seed: int = 0) -> dict[str, pd.DataFrame]:
    """Tables of analyses 2, 3 and 11."""
    rng = np.random.default_rng(seed)
    pairs = _run_pairs(rng)
    recovery = _recovery(rng)
    return {
        "mediation_run_pairs": pairs,
        "mediation_summary": _mediation_summary(pairs),
        "mediation_certificate": _certificate(pairs),
        "detectability_grid": _grid(),
        "detectability_cells": _cells(),
        "detectability_tails": _tails(),
        "detectability_projection": _projection(),
        "detectability_projection_summary": _projection_summary(),
        "detectability_boundary": _boundary(),
        "detectability_area": _area(),
        "synthetic_recovery": recovery,
        "synthetic_recovery_summary": _recovery_summary(recovery),
        "synthetic_recovery_trend": _trend(),
        "synthetic_circuits": _circuits(rng),
        "synthetic_detection": _detection(rng),
        "synthetic_detection_agreement": _agreement(),
        "detection_theory": _detection(rng),
        "detection_agreement": _agreement(),
    }


def _run_pairs(rng: np.random.Generator) -> pd.DataFrame:
    rows = []
    for place, (role, dataset) in enumerate(TISSUES.items()):
        for pair in range(3):
            for granularity in ("mlp", "heads"):
                one_cell = (place, pair) == (1, 2)
                total, residual = rng.uniform(0.02, 0.1), rng.uniform(0.01, 0.08)
                se = 0.0 if one_cell else rng.uniform(0.003, 0.02)
                bound = max(0.0, residual - 1.96 * se)
                rows.append(
                    {
                        "role": role,
                        "dataset": dataset,
                        "regulator": f"REG{pair}",
                        "target": f"TGT{pair}",
                        "granularity": granularity,
                        "cells": 1 if one_cell else 12,
                        "total": total,
                        "residual": residual,
                        "se": se,
                        "lower_bound": bound,
                        "relative": bound / total,
                        "positive": bound > 0,
                        "se_known": not one_cell,
                    }
                )
    return pd.DataFrame(rows)


def _mediation_summary(pairs: pd.DataFrame) -> pd.DataFrame:
    parts = {"more_than_one_cell": pairs[pairs["cells"] > 1], "one_cell": pairs[pairs["cells"] == 1]}
    rows = [
        {
            "subset": subset,
            "granularity": "all",
            "standard_error": error,
            "run_pairs": len(part),
            "positive": int(part["positive"].sum()),
            "rate": part["positive"].mean(),
            "median_relative": part["relative"].median(),
        }
        for subset, part in parts.items()
        for error in ("independent", "paired")
    ]
    return pd.DataFrame(rows)


def _certificate(pairs: pd.DataFrame) -> pd.DataFrame:
    names = ["role", "dataset", "regulator", "target", "granularity", "cells"]
    rows = [
        {
            **pair,
            "budget": budget,
            "budget_factor": factor,
            "certified_share": (0.3 - 0.05 * place) / factor,
            "top_certified": number < 6 and factor < 2,
        }
        for number, pair in enumerate(pairs[names].to_dict("records"))
        for place, budget in enumerate(BUDGETS)
        for factor in LAMBDAS
    ]
    return pd.DataFrame(rows)


def _grid() -> pd.DataFrame:
    ratios = np.geomspace(0.4, 3.2, 13)
    effect, noise = (values.ravel() for values in np.meshgrid(ratios, ratios, indexing="ij"))
    log2 = 2 * np.log2(noise / effect)
    near = np.log2(1.25)
    regime = np.select([log2 < -near, log2 > near], ["intervention better", "attention better"], "near equal")
    return pd.DataFrame({"effect_ratio": effect, "noise_ratio": noise, "log2_ratio": log2, "regime": regime})


def _cells() -> pd.DataFrame:
    rows = [
        {"effect_class": name, "effect": effect, "tested_edges": tested, "cells_needed": scale * np.log(tested)}
        for name, effect, scale in (("attention_like", 0.08, 600.0), ("intervention_like", 0.12, 266.0))
        for tested in (500, 2000, 10_000)
    ]
    return pd.DataFrame(rows)


def _tails() -> pd.DataFrame:
    rows = [
        {
            "tail_attention": first,
            "tail_intervention": second,
            "ratio": (second / first) ** 2 * 4 / 9,
            "break_even_tail": 1.5 * first,
        }
        for first in (1.0, 1.2)
        for second in (0.5, 1.0, 1.2, 1.5, 1.8, 2.0, 3.0, 5.0)
    ]
    return pd.DataFrame(rows)


def _projection() -> pd.DataFrame:
    edges = np.geomspace(0.1, 3.2, 21)
    middle = np.sqrt(edges[:-1] * edges[1:])
    frames = []
    for scheme, width in (("edges_apart", 0.3), ("edges_paired", 0.2), ("groups", 0.35)):
        share = np.exp(-0.5 * (np.log(middle / 0.5) / width) ** 2)
        numbers = {"ratio_low": edges[:-1], "ratio_high": edges[1:], "share": share / share.sum()}
        frames.append(pd.DataFrame({"scheme": scheme, **numbers}))
    return pd.concat(frames, ignore_index=True)


def _projection_summary() -> pd.DataFrame:
    rows = [
        {"scheme": scheme, "median": 0.5, "ci_low": 0.3, "ci_high": 0.8, "share_below_one": 0.999}
        for scheme in ("edges_apart", "edges_paired", "groups")
    ]
    return pd.DataFrame(rows)


def _boundary() -> pd.DataFrame:
    rows = []
    for place, family in enumerate(("gaussian", "contaminated", "correlated", "heteroskedastic", "student_t4")):
        for estimator, factor in (("mean", 1.0), ("huber", 0.8)):
            for effect in (0.05, 0.08, 0.12, 0.2, 0.3, 0.5):
                cells = 8.0 / effect**2 * (1 + 0.3 * place) * factor
                found = cells if cells <= 6400 else pd.NA
                theory = {"theory_cells": 18.7 / effect**2, "most_cells": 6400, "seeds": 3}
                names = {"family": family, "estimator": estimator, "effect": effect}
                rows.append({**names, "boundary_cells": found, **theory})
    frame = pd.DataFrame(rows)
    return frame.assign(boundary_cells=frame["boundary_cells"].astype("Float64").round().astype("Int64"))


def _area() -> pd.DataFrame:
    changes = {"gaussian": 0.02, "contaminated": 0.31, "correlated": np.nan, "student_t4": 0.28}
    return pd.DataFrame({"family": list(changes), "relative_change": list(changes.values())})


def _recovery(rng: np.random.Generator) -> pd.DataFrame:
    cells = (200, 500, 1000, 2000)
    series = {
        "growing_states": list(zip(cells, range(1, 5), strict=True)),
        "one_state": [(number, 1) for number in cells],
        "all_states": [(number, 4) for number in cells],
        "fixed_cells": [(1000, states) for states in range(1, 5)],
    }
    rows = [
        {
            "series": name,
            "score": score,
            "seed": seed,
            "cells": number,
            "states": states,
            "heterogeneity": 0.07 * (states - 1) + 0.002 * seed,
            "recovery": level + 0.04 * np.log(number / 200) - 0.03 * states + rng.normal(0, 0.01),
        }
        for name, points in series.items()
        for number, states in points
        for score, level in (("regression", 0.32), ("coexpression", 0.28))
        for seed in range(3)
    ]
    return pd.DataFrame(rows)


def _recovery_summary(points: pd.DataFrame) -> pd.DataFrame:
    grouped = points.groupby(["series", "score", "cells", "states"])
    return grouped.agg(
        recovery=("recovery", "mean"), recovery_sd=("recovery", "std"), seeds=("seed", "nunique")
    ).reset_index()


def _trend() -> pd.DataFrame:
    rows = [
        {"series": series, "score": score, "r_heterogeneity": r if series == "fixed_cells" else np.nan, "p_less": 0.002}
        for series in ("growing_states", "one_state", "all_states", "fixed_cells")
        for score, r in (("regression", -0.63), ("coexpression", -0.93))
    ]
    return pd.DataFrame(rows)


def _circuits(rng: np.random.Generator, circuits: int = 40) -> pd.DataFrame:
    rows = [
        {"circuit": circuit, "estimator": name, "truth": truth, "components": 8, "rho": mean - rng.uniform(0, 0.2)}
        for truth, shift in (("contribution", 0.0), ("path_strength", -0.15))
        for name, level in (("shapley", 1.0), ("single_restored", 0.97), ("single_removed", 0.93))
        for mean in (level + shift,)
        for circuit in range(circuits)
    ]
    return pd.DataFrame(rows)


def _detection(rng: np.random.Generator) -> pd.DataFrame:
    snr, n = (part.ravel() for part in np.meshgrid(np.geomspace(0.1, 10, 7), (100, 500, 2000), indexing="ij"))
    logistic = 1 / (1 + np.exp(-snr))
    auroc = np.clip(logistic + rng.normal(0, 0.03, snr.size), 0, 1)
    columns = {"snr": snr, "observations": n, "auroc": auroc, "logistic": logistic}
    return pd.DataFrame({**columns, "expected_auroc_with_bias": np.clip(logistic + 0.05, 0, 1)})


def _agreement() -> pd.DataFrame:
    return pd.DataFrame({"predictor": ["logistic", "expected_auroc_with_bias"], "r": [0.972, 0.981]})

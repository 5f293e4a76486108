"""Test-only tables of scoring within cell states. No number here is a result."""

from __future__ import annotations

import numpy as np
import pandas as pd

STRATA = {"oracle": 1.0, "estimated": 0.7, "shuffled": 0.8, "random": 0.78, "gene_permuted": 0.76}
NULLS = ("shuffled", "random", "gene_permuted")
RULES = {"max": 1.0, "mean": 0.85, "scenic": 0.8}
SETUPS = ((200, 2), (400, 4), (600, 6), (1000, 8))
NUMBERS = (2, 3, 4, 5, 6, 8, 10)


def cssi_tables(seed: int = 0) -> dict[str, pd.DataFrame]:
    """Tables of analyses 10 and 24."""
    rng = np.random.default_rng(seed)
    return {
        "cssi_summary": _summary(),
        "cssi_dilution": _dilution(rng),
        "cssi_k_scan": _k_scan(),
        "cssi_attention_scan": _attention_scan(rng),
        "cssi_null": _null(),
        "cssi_null_draws": _null_draws(rng),
    }


def _summary() -> pd.DataFrame:
    rows = [
        {
            "design": "synthetic",
            "cells": cells,
            "states": states,
            "strata": strata,
            "aggregator": rule,
            "f1": 0.95 * factor * part,
            "f1_pooled": 0.9 - 0.05 * states,
            "datasets": 3,
        }
        for cells, states in SETUPS
        for strata, factor in STRATA.items()
        for rule, part in RULES.items()
    ]
    return pd.DataFrame(rows)


def _dilution(rng: np.random.Generator) -> pd.DataFrame:
    rows = [
        {"share": share, "shift": shift, "expected": expected, "simulated": expected + rng.normal(0, 0.005)}
        for share in (1.0, 0.5, 0.25, 0.1)
        for shift in (0.0, 1.0)
        for expected in (0.7 * share + shift * share * (1 - share) * 0.5,)
    ]
    return pd.DataFrame(rows)


def _k_scan() -> pd.DataFrame:
    rows = [
        {"k": 1, "strata": "pooled", "aggregator": "pooled", "f1_ratio": 1.0, "false_share": 0.05, "power": 0.29}
        | {"refused": ""}
    ]
    for k in NUMBERS:
        for strata, factor in STRATA.items():
            for rule, part in RULES.items():
                calls = {"false_share": np.nan, "power": np.nan}
                if strata not in NULLS:
                    calls = {"false_share": 0.02 * k * part, "power": factor * (0.5 + 0.04 * k)}
                ratio = 1.6 * factor * part * (1 - 0.03 * abs(k - 6)) if strata == "oracle" else factor * part
                row = {"k": k, "strata": strata, "aggregator": rule, "f1_ratio": ratio, "refused": ""}
                rows.append(row | calls)
    rows.append({"k": 31, "strata": "", "aggregator": "", "f1_ratio": np.nan, "refused": "31 strata of 20 cells"})
    return pd.DataFrame(rows).assign(cells=600, states=6, datasets=1)


def _attention_scan(rng: np.random.Generator) -> pd.DataFrame:
    rows = [
        {
            "k": k,
            "layer": 5,
            "cells": 497,
            "reference": "example-curated",
            "pooled": 0.531,
            "strata": strata,
            "aggregator": rule,
            "refused": "",
            "draws": 1 if strata == "estimated" else 10,
            "gain": 0.01 * part + rng.normal(0, 0.002),
        }
        for k in (2, 4, 6)
        for strata in ("estimated", "shuffled")
        for rule, part in RULES.items()
    ]
    return pd.DataFrame(rows)


def _null() -> pd.DataFrame:
    rows = [
        {
            "strata": strata,
            "aggregator": rule,
            "k": k,
            "n_cells": 600,
            "pooled": 0.864,
            "datasets": 1,
            "gain": (0.1 if strata == "oracle" else -0.05) * part,
            "ci_low": (0.1 if strata == "oracle" else -0.08) * part,
            "ci_high": (0.1 if strata == "oracle" else -0.01) * part,
        }
        for k in NUMBERS
        for strata in STRATA
        for rule, part in RULES.items()
    ]
    return pd.DataFrame(rows)


def _null_draws(rng: np.random.Generator) -> pd.DataFrame:
    rows = [{"strata": "oracle", "draw": -1, "gain": 0.117}, {"strata": "estimated", "draw": -1, "gain": -0.087}]
    rows += [
        {"strata": strata, "draw": draw, "gain": gain}
        for strata in NULLS
        for draw, gain in enumerate(rng.normal(0.01, 0.02, 20))
    ]
    return pd.DataFrame(rows).assign(best_k=3, best_aggregator="max", choices=21)

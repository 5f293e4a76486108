"""A causal ablation of one synthetic evaluation: an 18 x 18 model read at layer 13, with a drop of a given size."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pandas as pd

PRIMARY = {"role": "primary_screen", "dataset": "screen-main"}
READ_OUT_LAYER, LAST = 13, 17
DOSES = (5, 10, 20, 50)
SETS = 20
DRAWN = {"resamples_requested": 200, "resamples_done": 200}


def _heads(number: int, start: int, layers: int = READ_OUT_LAYER) -> str:
    return ";".join(f"{(start + at) % layers}.{(start + at) // layers % 18}" for at in range(number))


def _condition(name: str, family: str, operation: str, pool: str, parts: str, **facts: Any) -> dict[str, Any]:
    layers = [int(part.removeprefix("mlp.").split(".")[0]) for part in parts.split(";")]
    before = sum(layer < READ_OUT_LAYER for layer in layers)
    return {
        **PRIMARY,
        "condition": name,
        "family": family,
        "operation": operation,
        "pool": pool,
        "dose": 0,
        "draw": 0,
        "size": len(layers),
        "parts": parts,
        "first_layer": min(layers),
        "read_out_layer": READ_OUT_LAYER,
        "upstream_parts": before,
        "upstream": before == len(layers),
        "upstream_of_last": all(layer < LAST for layer in layers),
        "uses_outcomes": False,
        "changed": True,
        "hidden_distance": 0.05,
        "hidden_layer": 17,
        "logit_distance": 0.01,
        "cells": 400,
        **facts,
    }


def conditions() -> pd.DataFrame:
    """Every condition that criterion d reads, and some that cannot act on the read-out."""
    rows = [
        _condition(f"upstream-top-{dose}", "top", "zero_heads", "upstream", _heads(dose, 0), dose=dose)
        for dose in DOSES
    ]
    rows += [
        _condition(f"upstream-uniform-top-{dose}", "top", "uniform_attention", "upstream", _heads(dose, 0), dose=dose)
        for dose in (5, 10)
    ]
    rows += [
        _condition(
            f"upstream-random-{dose}/{draw}",
            "random",
            "zero_heads",
            "upstream",
            _heads(dose, 60 + 7 * draw),
            dose=dose,
            draw=draw,
        )
        for dose, draw in product(DOSES, range(1, SETS + 1))
    ]
    rows += [
        _condition("top-5", "top", "zero_heads", "all", "12.0;13.1;14.2;3.3;4.4", dose=5),
        _condition("layer-14", "layer", "zero_heads", "all", ";".join(f"14.{head}" for head in range(18))),
        _condition("mlp-8", "mlp", "zero_mlp", "all", "mlp.8"),
        _condition("mlp-15", "mlp", "zero_mlp", "all", "mlp.15"),
    ]
    return pd.DataFrame(rows)


def _mean_drop(row: dict[str, Any], drop: float) -> float:
    if not row["upstream"]:
        return 0.0
    share = row["dose"] / max(DOSES) if row["dose"] else 0.5
    return drop * share * (0.15 if row["family"] == "random" else 1.0)


def ablation_tables(drop: float, perturbations: int) -> dict[str, pd.DataFrame]:
    """Tables of analyses 29, 32 and 36; ``drop`` is what silencing the 50 best heads takes from the read-out."""
    rng = np.random.default_rng(7)
    shown = conditions()
    clean = rng.normal(0.85, 0.02, perturbations)
    aurocs, fidelity = [], []
    for row in [{"condition": "clean", "upstream": False}, *shown.to_dict(orient="records")]:
        for read_out in ("attention", "last_attention", "logits"):
            noise = rng.normal(0.0, 0.002, perturbations)
            changed = clean - (_mean_drop(row, drop) + noise if row["upstream"] else 0.0)
            aurocs.append(
                pd.DataFrame(
                    {
                        **PRIMARY,
                        "condition": row["condition"],
                        "read_out": read_out,
                        "perturbation": [f"TF{i}" for i in range(perturbations)],
                        "auroc": changed,
                    }
                )
            )
    for row, (state, layer) in product(shown.to_dict(orient="records"), (("hidden", LAST), ("logits", -1))):
        distance = row["hidden_distance"] if state == "hidden" else row["logit_distance"]
        interval = {"ci_low": distance * 0.9, "ci_high": distance * 1.1}
        told = {"condition": row["condition"], "state": state, "layer": layer, "distance": distance}
        fidelity.append({**PRIMARY, **told, **interval, **DRAWN, "cells": 400, "tokens": 200_000})
    return {
        "intervention_conditions": shown,
        "intervention_auroc": pd.concat(aurocs, ignore_index=True),
        "intervention_fidelity": pd.DataFrame(fidelity),
    }

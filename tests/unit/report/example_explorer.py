"""Test-only tables of the explorer, with names that try to be markup. No number here is a result."""

from __future__ import annotations

import numpy as np
import pandas as pd

OUTCOME = "perturbation outcome"
REGULATORS = ("TF-1", "</script><script>document.title='taken'</script>", "<img src=x onerror=alert(1)> & $TF$")
GENES = (*(f"GENE{number:02d}" for number in range(36)), "<b>bold</b>", "Ω" * 120)
LAYERS, HEADS, READ = 3, 2, 1


def example_explorer(*, heads: bool = True, seed: int = 4) -> dict[str, pd.DataFrame]:
    """Tables ``explorer_<name>``: three regulators, two networks (one without directions) and an outcome."""
    rng = np.random.default_rng(seed)
    kinds = [("attention", at, head) for at in range(LAYERS) for head in (-1, *range(HEADS if heads else 0))]
    kinds += [(name, -1, -1) for name in ("correlation", "variance", "mean", "one_minus_dropout")]
    member = {name: rng.random((3, len(GENES))) < 0.3 for name in ("planted_net", "both_ways")}
    outcome = rng.integers(0, 2, (3, len(GENES)))
    outcome[2] = -1  # not perturbed
    shown = [np.sort(rng.choice(len(GENES), 30, replace=False)) for _ in REGULATORS]
    scores, recovery = [], []
    for score, layer, head in kinds:
        value = np.round(rng.normal(size=(3, len(GENES))) * 10.0 ** rng.integers(-7, 3), 12)
        value[0, shown[0][3]] = np.nan if score == "attention" else 0.0
        filled = np.where(np.isnan(value), np.nanmin(value), value)
        ranks, both = (pd.DataFrame(-each).rank(axis=1).to_numpy() for each in (filled, filled + 0.5 * filled[:, ::-1]))
        told = {"score": score, "layer": layer, "head": head}
        for at, regulator in enumerate(REGULATORS):
            pair = {"regulator": regulator, "target": [GENES[gene] for gene in shown[at]], **told}
            numbers = {"value": value[at, shown[at]], "rank": ranks[at, shown[at]]}
            scores.append(pd.DataFrame({**pair, **numbers, "rank_both_directions": both[at, shown[at]]}))
        for name in (*member, OUTCOME):
            label = outcome if name == OUTCOME else member[name].astype(int)
            for at, regulator in enumerate(REGULATORS):
                targets, candidates = int((label[at] == 1).sum()), int((label[at] >= 0).sum())
                auroc = float(rng.random()) if targets else np.nan
                told_of = {"auroc": auroc, "n_targets": targets, "n_candidates": candidates}
                recovery.append({"regulator": regulator, "reference": name, **told, **told_of})
    listed = [
        {"regulator": regulator, "target": GENES[gene], "reference": name, "direction": int(rng.integers(-1, 3))}
        for at, regulator in enumerate(REGULATORS)
        for name in member
        for gene in shown[at]
        if member[name][at, gene]
    ]
    tables = {
        "facts": _facts(heads),
        "references": pd.DataFrame(
            {
                "reference": [*member, OUTCOME],
                "kind": ["network", "network", "outcome"],
                "directed": [True, False, True],
                "primary": [True, False, False],
            }
        ),
        "regulators": pd.DataFrame(
            {
                "regulator": REGULATORS,
                "perturbed": [True, True, False],
                "candidates": 37,
                "shown": 30,
                "marked_left_out": 2,
            }
        ),
        "targets": _targets(rng, shown, member, outcome),
        "listed": pd.DataFrame(listed),
        "scores": pd.concat(scores, ignore_index=True),
        "recovery": pd.DataFrame(recovery),
    }
    return {f"explorer_{name}": frame for name, frame in tables.items()}


def _facts(heads: bool) -> pd.DataFrame:
    facts = {
        "release": "geneformer-small-2k",
        "dataset": "example-screen",
        "role": "primary_screen",
        "data_origin": "semi_synthetic",
        "role_fit": "full",
        "context_mismatch": "",
        "cells": 1200,
        "cells_hash": "c" * 64,
        "genes": len(GENES),
        "layers": LAYERS,
        "heads": HEADS,
        "heads_kept": heads,
        "heads_reason": "" if heads else "an edge table holds one finished score a pair and no heads",
        "read_layer": READ,
        "chosen_by": "best AUROC of a network on other cells",
        "pairs": 90,
        "marked_left_out": 6,
        "regulators_shown": len(REGULATORS),
        "regulators": 41,
    }
    return pd.DataFrame([facts])


def _targets(rng, shown, member, outcome) -> pd.DataFrame:
    rows = []
    for at, regulator in enumerate(REGULATORS):
        for gene in shown[at]:
            tested = outcome[at, gene] >= 0
            marked = any(listed[at, gene] for listed in member.values())
            plain = "responds" if outcome[at, gene] == 1 else str(rng.choice(["attention", "drawn"]))
            rows.append(
                {
                    "regulator": regulator,
                    "target": GENES[gene],
                    "why": "listed" if marked else plain,
                    "cells_behind": int(rng.integers(0, 1200)),
                    "signed_correlation": float(rng.uniform(-1, 1)),
                    "outcome": int(outcome[at, gene]),
                    "lfc": float(rng.normal()) if tested else np.nan,
                    "q": float(rng.random()) if tested else np.nan,
                }
            )
    return pd.DataFrame(rows)

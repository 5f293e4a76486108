"""How often criterion d errs, over simulated ablations: no model is run, only what read-outs of heads would be."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom

from qc_standards.causal_use import causally_used
from qc_standards.claims import claims_registry
from qc_standards.evidence import Evidence
from qc_standards.records import Outcome

SPEC = claims_registry().criteria["d"]
PRIMARY = {"role": "primary_screen", "dataset": "simulated"}
HEADS, PERTURBATIONS, SETS = 100, 60, 20
SIZES = {5: 2, 10: 3, 20: 6, 50: 15}


def ablation(seed: int, carriers: int, effect: float, ranked: bool) -> dict[str, pd.DataFrame]:
    """Tables of an ablation in which ``carriers`` of 100 heads take ``effect`` from a share of the perturbations.

    ``ranked``: the ranking puts carriers first; otherwise it knows nothing about them.
    """
    rng = np.random.default_rng(seed)
    takes = np.zeros((HEADS, PERTURBATIONS))
    takes[:carriers] = effect * (rng.random((carriers, PERTURBATIONS)) < 0.3)
    order = np.arange(HEADS) if ranked else rng.permutation(HEADS)
    clean = rng.normal(0.8, 0.03, PERTURBATIONS)
    chosen = {f"upstream-top-{dose}": ("top", "zero_heads", dose, 0, order[:size]) for dose, size in SIZES.items()}
    chosen["upstream-uniform-top-10"] = ("top", "uniform_attention", 10, 0, order[: SIZES[10]])
    for draw in range(1, SETS + 1):
        drawn = rng.permutation(HEADS)
        for dose, size in SIZES.items():
            chosen[f"upstream-random-{dose}/{draw}"] = ("random", "zero_heads", dose, draw, drawn[:size])
    rows, aurocs = [], [_read("clean", clean)]
    for name, (family, operation, dose, draw, heads) in chosen.items():
        parts = ";".join(f"{head // 10}.{head % 10}" for head in heads)
        rows.append(_condition(name, family, operation, "upstream", dose, draw, parts))
        aurocs.append(_read(name, clean - takes[heads].sum(axis=0) + rng.normal(0, 0.003, PERTURBATIONS)))
    rows.append(_condition("mlp-8", "mlp", "zero_mlp", "all", 0, 0, "mlp.8"))
    aurocs.append(_read("mlp-8", clean - takes.sum(axis=0) + rng.normal(0, 0.003, PERTURBATIONS)))
    return {"intervention_conditions": pd.DataFrame(rows), "intervention_auroc": pd.concat(aurocs)}


def _condition(name: str, family: str, operation: str, pool: str, dose: int, draw: int, parts: str) -> dict:
    size = len(parts.split(";"))
    told = {"family": family, "operation": operation, "pool": pool, "dose": dose, "draw": draw, "size": size}
    place = {"parts": parts, "read_out_layer": 13, "upstream_parts": size, "upstream": True, "uses_outcomes": False}
    moved = {"changed": True, "hidden_distance": 0.1, "logit_distance": 0.01, "cells": 100}
    return {**PRIMARY, "condition": name, **told, **place, **moved}


def _read(name: str, auroc: np.ndarray) -> pd.DataFrame:
    perturbations = [f"P{i}" for i in range(PERTURBATIONS)]
    told = {"condition": name, "read_out": "attention", "perturbation": perturbations, "auroc": auroc}
    return pd.DataFrame({**PRIMARY, **told})


def passes(seeds: range, **world: object) -> int:
    found = [
        causally_used(Evidence(tests=pd.DataFrame(), tables=ablation(seed, **world)), SPEC).outcome for seed in seeds
    ]
    return sum(outcome is Outcome.PASS for outcome in found)


@pytest.mark.parametrize("carriers", [8, 60])
def test_a_ranking_that_knows_nothing_passes_at_most_as_often_as_its_level(carriers):
    """Heads matter, the ranked ones no more than others: only the random sets stand between this and a pass."""
    seeds = range(120)
    limit = binom.ppf(0.999, len(seeds), SPEC.thresholds["alpha"])
    assert passes(seeds, carriers=carriers, effect=0.05, ranked=False) <= limit


def test_heads_that_do_nothing_never_pass():
    assert passes(range(60), carriers=0, effect=0.0, ranked=True) == 0


def test_ranked_carriers_are_found():
    seeds = range(30)
    assert passes(seeds, carriers=8, effect=0.1, ranked=True) >= 27
    assert passes(seeds, carriers=8, effect=0.001, ranked=True) == 0

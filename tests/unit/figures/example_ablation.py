"""Test-only tables of the interventions (analyses 29, 32, 34, 36). No number here is a result."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

ROLE = {"role": "primary_screen", "dataset": "example-screen"}
LAYERS, HEADS, READ_OUT = 8, 8, 5
RANDOM_SETS = 20
SIZES = {5: 1, 10: 2, 20: 4, 50: 10}
READ_OUTS = ("attention", "last_attention", "logits")
CLEAN = {"attention": 0.937, "last_attention": 0.543, "logits": 0.929}
# Planted heads, best first: the first ten lie before the read-out layer.
RANKED = [(1, 6), (2, 4), (0, 1), (1, 2), (3, 7), (4, 0), (2, 2), (0, 5), (3, 3), (4, 6), (6, 2), (7, 1)]
TOP_DELTA = {5: -0.042, 10: -0.081, 20: -0.167, 50: -0.325}
TOP_HIDDEN = {5: 0.10, 10: 0.46, 20: 0.67, 50: 0.76}
RANDOM_DELTA = {5: (-0.044, 0.0), 10: (-0.06, 0.0), 20: (-0.087, 0.0), 50: (-0.137, -0.087)}


class Case(NamedTuple):
    """One condition of the example: what is changed, its change of AUROC by read-out, and how far states move."""

    name: str
    family: str
    operation: str
    pool: str
    parts: tuple[tuple[int, int], ...]
    delta: dict[str, float]
    hidden: float
    dose: int = 0
    draw: int = 0

    @property
    def text(self) -> str:
        kind = self.operation == "zero_mlp"
        return ";".join(f"mlp.{layer}" if kind else f"{layer}.{head}" for layer, head in self.parts)


def ablation_tables(rng: np.random.Generator, perturbations: int = 40) -> dict[str, pd.DataFrame]:
    """The five tables of the interventions for a planted network that the model uses."""
    cases = [*_published(rng), *_upstream(rng)]
    aurocs = _aurocs(cases, rng, perturbations)
    return {
        "head_ranking": _heads(rng),
        "intervention_conditions": pd.DataFrame([_condition(case) for case in cases]),
        "intervention_auroc": aurocs,
        "causal_ablation": _ablation(cases, aurocs),
        "intervention_fidelity": pd.DataFrame([row for case in cases for row in _fidelity(case)]),
    }


def _deltas(attention: float, last: float, logits: float) -> dict[str, float]:
    return dict(zip(READ_OUTS, (attention, last, logits), strict=True))


def _drawn(rng: np.random.Generator, size: int, below: int) -> tuple[tuple[int, int], ...]:
    chosen = rng.permutation(below * HEADS)[:size]
    return tuple(sorted((int(at // HEADS), int(at % HEADS)) for at in chosen))


def _masks(family: str, dose: int, parts, delta: float, hidden: float, **more) -> Case:
    pool = more.pop("pool", "all")
    name = f"{family.replace('_', '-')}-{dose}" + (f"/{more['draw']}" if more.get("draw") else "")
    acts = any(layer < READ_OUT for layer, _ in parts)
    return Case(
        name=f"upstream-{name}" if pool == "upstream" else name,
        family=family,
        operation="zero_heads",
        pool=pool,
        parts=tuple(parts),
        delta=_deltas(delta if acts else 0.0, delta / 8, delta * 0.8),
        hidden=hidden,
        dose=dose,
        **more,
    )


def _published(rng: np.random.Generator) -> list[Case]:
    low = [(7, 7), (6, 6)]
    cases = [_masks("top", dose, RANKED[:size], TOP_DELTA[dose], TOP_HIDDEN[dose]) for dose, size in SIZES.items()]
    cases += [_masks("bottom", dose, low[: SIZES[dose]], -0.001, 0.012) for dose in (5, 10)]
    cases += [_masks("composite", dose, RANKED[: SIZES[dose]], TOP_DELTA[dose], TOP_HIDDEN[dose]) for dose in (5, 10)]
    cases.append(_masks("entropy_matched", 5, [(3, 1)], -0.004, 0.03))
    for dose, draw in ((5, 1), (5, 2), (5, 3), (10, 1), (20, 1), (50, 1)):
        parts = _drawn(rng, SIZES[dose], LAYERS) if dose > 5 else ((2 * draw + 1, draw),)
        cases.append(_masks("random", dose, parts, 0.004 if dose == 5 else -0.002 * dose, 0.01 * dose, draw=draw))
    cases += [
        _uniform("top", 5, RANKED[:1], -0.03, 0.04),
        _uniform("top", 10, RANKED[:2], -0.06, 0.09),
        _uniform("random", 10, [(2, 0), (6, 1)], 0.002, 0.015, draw=1),
        Case(
            name="layer-14",
            family="layer",
            operation="zero_heads",
            pool="all",
            parts=tuple((6, head) for head in range(HEADS)),
            delta=_deltas(0.0, 0.01, -0.09),
            hidden=0.2,
        ),
        *(_mlp(*row) for row in (("mlp-15", (6,), 0.0), ("mlp-13-15", (5, 6), 0.0), ("mlp-8", (3,), -0.365))),
    ]
    return cases


def _uniform(family: str, dose: int, parts, delta: float, hidden: float, pool: str = "all", draw: int = 0) -> Case:
    name = f"uniform-{family}-{dose}" + (f"/{draw}" if draw else "")
    return Case(
        name=f"upstream-{name}" if pool == "upstream" else name,
        family=family,
        operation="uniform_attention",
        pool=pool,
        parts=tuple(parts),
        delta=_deltas(delta, delta / 6, delta * 1.2),
        hidden=hidden,
        dose=dose,
        draw=draw,
    )


def _mlp(name: str, layers: tuple[int, ...], delta: float) -> Case:
    return Case(
        name=name,
        family="mlp",
        operation="zero_mlp",
        pool="all",
        parts=tuple((layer, 0) for layer in layers),
        delta=_deltas(delta, -0.01, -0.03 + delta / 2),
        hidden=0.054,
    )


def _upstream(rng: np.random.Generator) -> list[Case]:
    cases = [
        _masks("top", dose, RANKED[:size], TOP_DELTA[dose], TOP_HIDDEN[dose], pool="upstream")
        for dose, size in SIZES.items()
    ]
    cases += [_uniform("top", dose, RANKED[: SIZES[dose]], -0.006 * dose, 0.009 * dose, "upstream") for dose in (5, 10)]
    for draw in range(1, RANDOM_SETS + 1):
        for dose, size in SIZES.items():
            parts = _drawn(rng, size, READ_OUT)
            delta = float(rng.uniform(*RANDOM_DELTA[dose]))
            hidden = float(rng.uniform(0.004, 0.012)) * dose
            cases.append(_masks("random", dose, parts, delta, hidden, pool="upstream", draw=draw))
    return cases


def _condition(case: Case) -> dict:
    layers = [layer for layer, _ in case.parts]
    return {
        **ROLE,
        "condition": case.name,
        "family": case.family,
        "operation": case.operation,
        "pool": case.pool,
        "dose": case.dose,
        "draw": case.draw,
        "size": len(case.parts),
        "parts": case.text,
        "first_layer": min(layers),
        "read_out_layer": READ_OUT,
        "upstream_parts": sum(layer < READ_OUT for layer in layers),
        "upstream": max(layers) < READ_OUT,
        "upstream_of_last": max(layers) < LAYERS - 1,
        "uses_outcomes": case.family == "composite",
        "changed": True,
        "hidden_distance": case.hidden,
        "hidden_layer": min(layers) + 1 if min(layers) + 1 < LAYERS else min(layers),
        "logit_distance": case.hidden / 20,
        "cells": 750,
    }


def _aurocs(cases: list[Case], rng: np.random.Generator, n: int) -> pd.DataFrame:
    clean = {name: np.clip(mean + rng.normal(0, 0.05, n), 0.05, 0.999) for name, mean in CLEAN.items()}
    names = [f"GENE{i:03d}" for i in range(n)]
    frames = []
    for name, base in clean.items():
        for condition, delta in (("clean", 0.0), *((case.name, case.delta[name]) for case in cases)):
            noise = rng.normal(0, 0.02, n) if delta else np.zeros(n)
            told = {**ROLE, "condition": condition, "read_out": name, "perturbation": names}
            frames.append(pd.DataFrame({**told, "auroc": np.clip(base + delta + noise - noise.mean(), 0.01, 1.0)}))
    return pd.concat(frames, ignore_index=True)


def _ablation(cases: list[Case], aurocs: pd.DataFrame) -> pd.DataFrame:
    means = aurocs.groupby(["condition", "read_out"])["auroc"].mean()
    n = aurocs["perturbation"].nunique()
    rows = []
    for case in cases:
        for name in READ_OUTS:
            clean, mean = float(means["clean", name]), float(means[case.name, name])
            delta = mean - clean
            rows.append(
                {
                    **ROLE,
                    "condition": case.name,
                    "read_out": name,
                    "family": case.family,
                    "operation": case.operation,
                    "pool": case.pool,
                    "dose": case.dose,
                    "draw": case.draw,
                    "size": len(case.parts),
                    "upstream": max(layer for layer, _ in case.parts) < READ_OUT,
                    "n": n,
                    "clean_auroc": clean,
                    "mean_auroc": mean,
                    "delta": delta,
                    "ci_low": delta - 0.006 if delta else 0.0,
                    "ci_high": delta + 0.006 if delta else 0.0,
                    "p": 1e-6 if abs(delta) > 0.01 else (0.2 if delta else 1.0),
                    "d": delta / 0.02,
                    "resamples_requested": 200,
                    "resamples_done": 200,
                    "random_sets": 0,
                    "random_mean": np.nan,
                    "random_sd": np.nan,
                    "p_random": np.nan,
                }
            )
    return _against_random(pd.DataFrame(rows))


def _against_random(frame: pd.DataFrame) -> pd.DataFrame:
    """Mean and spread of the random sets of the same dose, and the share of them that lower as much."""
    upstream = frame[(frame["pool"] == "upstream") & (frame["family"] == "top") & (frame["operation"] == "zero_heads")]
    for at, row in upstream.iterrows():
        same = (frame["pool"] == "upstream") & (frame["family"] == "random") & (frame["dose"] == row["dose"])
        deltas = frame.loc[same & (frame["read_out"] == row["read_out"]), "delta"]
        frame.loc[at, "random_sets"] = len(deltas)
        frame.loc[at, "random_mean"] = deltas.mean()
        frame.loc[at, "random_sd"] = deltas.std(ddof=1)
        frame.loc[at, "p_random"] = ((deltas <= row["delta"]).sum() + 1) / (len(deltas) + 1)
    return frame


def _fidelity(case: Case) -> list[dict]:
    first = min(layer for layer, _ in case.parts)
    peak = min(first + 1, LAYERS - 1)
    distances = [("hidden", layer, case.hidden * 0.8 ** abs(layer - peak)) for layer in range(first, LAYERS)]
    return [
        {
            **ROLE,
            "condition": case.name,
            "state": state,
            "layer": layer,
            "distance": distance,
            "ci_low": distance * 0.9,
            "ci_high": distance * 1.1,
            "resamples_requested": 200,
            "resamples_done": 200,
            "cells": 750,
            "tokens": 412_000,
        }
        for state, layer, distance in (*distances, ("logits", -1, case.hidden / 20))
    ]


def _heads(rng: np.random.Generator) -> pd.DataFrame:
    others = [(layer, head) for layer in range(LAYERS) for head in range(HEADS) if (layer, head) not in RANKED]
    rows = []
    for rank, (layer, head) in enumerate([*RANKED, *others], start=1):
        reference, screen = 0.9 - 0.006 * rank, float(rng.uniform(0.45, 0.8))
        rows.append(
            {
                **ROLE,
                "layer": layer,
                "head": head,
                "rank": rank,
                "reference": "planted",
                "reference_auroc": reference,
                "screen_auroc": screen,
                "composite": reference * screen,
                "entropy": float(rng.uniform(2.0, 5.0)),
                "upstream": layer < READ_OUT,
            }
        )
    return pd.DataFrame(rows)

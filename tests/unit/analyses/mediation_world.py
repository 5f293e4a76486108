"""Games of components with known interactions, and the readings, cells and inputs that analyses 2 and 4 take.

What belongs here: making them. What does not: a test.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix

from interp_assets.analyses.inputs import AnalysisInputs, CellSample
from interp_assets.cells.outcomes import no_outcomes
from interp_assets.cells.records import PreparedCells
from interp_assets.readings.records import Reading
from qc_standards.registry import tests_of_analysis

ROLES = ("tissues[1]", "tissues[2]", "tissues[3]")
PAIRS = (("TFA", "T1"), ("TFB", "T2"))
SETTINGS = {"mediation_bootstrap": 200, "tissue_bootstrap": 200, "tissue_permutations": 199}
K = {"mlp": 5, "heads": 12}


def game(rng, components, *, pairwise=0.0, singles=None):
    """Dividends of a game: single effects, and interactions of two components."""
    single = rng.normal(0, 1, components) if singles is None else singles
    joint = {pair: pairwise * rng.choice([-1, 1]) for pair in combinations(range(components), 2)}
    return single, joint


def value(game, members):
    single, joint = game
    return sum(single[i] for i in members) + sum(joint[pair] for pair in combinations(sorted(members), 2))


def members_of(mask):
    return [i for i in range(mask.bit_length()) if mask >> i & 1]


def orders_of(rng, components, number=4):
    drawn = np.stack([rng.permutation(components) for _ in range(number // 2)])
    return np.stack([drawn, drawn[:, ::-1]], axis=1).reshape(-1, components)


def trace(games, *, cells=12, noise=0.2, seed=0, kinds=tuple(K)):
    """Reading of games[role, pair, granularity], every effect measured with noise of its own in each cell."""
    rng = np.random.default_rng([seed, 1])
    orders = orders_of(rng, K["heads"])
    chain = {sum(1 << i for i in order[:n]) for order in orders.tolist() for n in range(1, K["heads"] + 1)}
    few = {1 << i for i in range(K["heads"])} | {
        sum(1 << i for i in s) for n in (2, 3) for s in combinations(range(5), n)
    }
    measured = {"mlp": list(range(1, 1 << K["mlp"])), "heads": sorted(chain | few)}
    effects, sets, rows = [], [], []
    for (role, pair, kind), one in games.items():
        where = {"role": role, "regulator": pair[0], "target": pair[1], "granularity": kind}
        alone = {i: value(one, [i]) for i in range(K[kind])} | {-1: value(one, range(K[kind]))}
        together = {mask: value(one, members_of(mask)) for mask in measured[kind]}
        for cell in range(cells):
            effects += [
                {**where, "component": i, "cell": cell, "effect": m + rng.normal(0, noise)} for i, m in alone.items()
            ]
        for cell in range(min(cells, 3)):
            sets += [
                {**where, "coalition": mask, "cell": cell, "effect": m + 0.1 * cell} for mask, m in together.items()
            ]
        rows.append(
            {
                **{n: where[n] for n in ("role", "regulator", "target")},
                "dataset": f"set {role[8]}",
                "reference": "net",
                "cells_hash": role[8] * 64,
            }
        )
    parts = [
        {"granularity": kind, "component": i, "name": f"{kind}.{i}", "layer": i, "heads": ""}
        for kind in kinds for i in range(K[kind])
    ]  # fmt: skip
    return Reading(
        tables={
            "effects": pd.DataFrame(effects),
            "sets": pd.DataFrame(sets),
            "run_pairs": pd.DataFrame(rows).drop_duplicates(ignore_index=True),
            "parts": pd.DataFrame(parts),
        },
        arrays={"orders_heads": orders},
        facts={"mediation_pairs": 2, "mediation_cells": cells, "reasons": {}},
    )


def games_of(seed=0, *, pairwise=0.0, kinds=tuple(K), roles=ROLES, profile=None):
    rng = np.random.default_rng([seed, 2])
    found = {}
    for role in roles:
        for pair in PAIRS:
            for kind in kinds:
                singles = None if profile is None else profile(rng, role, pair, kind)
                found[role, pair, kind] = game(rng, K[kind], pairwise=pairwise, singles=singles)
    return found


def sample(role, origin="real", fit="full", cells_hash=""):
    cells = PreparedCells(
        dataset=f"set {role[8]}", species="human", data_origin=origin,
        counts=csr_matrix((2, 2), dtype=np.int32), log=csr_matrix((2, 2), dtype=np.float32),
        genes=np.array(["A", "B"]), obs=pd.DataFrame(index=["c0", "c1"]), control=np.ones(2, dtype=bool),
        cells_hash=cells_hash or role[8] * 64, universe=np.array(["A", "B"]),
    )  # fmt: skip
    labels = replace(no_outcomes(cells), data_origin=origin)
    return CellSample(role=role, role_fit=fit, cells=cells, labels=labels, references={}, primary_reference="")


def inputs_of(number, reading, *, absent=None, samples=None, seed=0, **settings):
    held = {"mediation": reading} if isinstance(reading, Reading) else {}
    return AnalysisInputs(
        study="synthetic", release="r", tests=tests_of_analysis(number), roles={}, absent=absent or {},
        settings={**SETTINGS, **settings}, seed=seed, readings=held,
        samples={role: sample(role) for role in ROLES} if samples is None else samples,
    )  # fmt: skip


def results_of(output):
    return {result.test_id: result for result in output.results}

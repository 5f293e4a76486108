"""Edges that tell no pair from another, or no regulator from another, through every analysis that reads edges."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from interp_assets.analyses.catalogue import AnalysisRow, built
from interp_assets.analyses.inputs import AnalysisInputs, RoleInputs
from interp_assets.settings import COMPARED_ROLES, SELECTION_ROLE
from qc_standards.records import Status
from tests.unit.analyses.conftest import CHOICE, SETTINGS, World, edge_matrix, make_role, specs

PROFILE = pd.DataFrame({"layer": [0, 1], "f1_at_positives": [0.1, 0.2]})
SCREENS = {*COMPARED_ROLES, SELECTION_ROLE}
READ_A_MODEL = (20, 29, 32, 34, 36)  # what they read of a running model, it was checked while it ran
ON_EDGES = [
    row
    for row in built()
    if row.attended and set(row.roles) <= SCREENS and not row.reads_selection and row.number not in READ_A_MODEL
]
Edges = Callable[[np.random.Generator, int], np.ndarray]
TIES: dict[str, Edges] = {
    "every pair alike": lambda rng, genes: np.full((genes, genes), 0.02),
    "no weight on any pair": lambda rng, genes: np.zeros((genes, genes)),
    "one score, pairs missing": lambda rng, genes: np.where(rng.random((genes, genes)) < 0.3, np.nan, 0.02),
}


def with_attention(role: RoleInputs, score: np.ndarray) -> RoleInputs:
    """The screen with the same scores in every layer."""
    layers = replace(role.attention, layer_matrix=lambda layer: edge_matrix("attention", role.genes, score, layer))
    return replace(role, attention=layers)


def inputs(row: AnalysisRow, edges: Edges, seed: int) -> AnalysisInputs:
    world = World(genes=40, perturbations=22, targets=7, layers=2, seed=seed)
    role = make_role(world)
    role = with_attention(role, edges(np.random.default_rng(seed), world.genes))
    roles = {name: replace(role, role=name) for name in row.roles}
    return AnalysisInputs(
        study="synthetic",
        release="synthetic-release",
        tests=specs(row.number),
        roles=roles,
        absent={},
        settings={**SETTINGS, "bootstrap": 40},
        seed=seed,
        layer_choice=CHOICE,
        selection_profile=PROFILE,
        interventions=None,
    )


@pytest.mark.parametrize("row", ON_EDGES, ids=lambda row: row.key)
@pytest.mark.parametrize("what", TIES)
def test_ties_are_half_right_and_never_significant(row, what, tally) -> None:
    assert row.run is not None
    output = row.run(inputs(row, TIES[what], 0))
    for result in output.results:
        assert result.status in (Status.RUN, Status.SKIPPED)
        assert result.status is Status.RUN or result.reason
        assert result.effect is None or np.isfinite(result.effect)
    for name, frame in output.tables.items():
        for label in {"score", "edge"} & set(frame) if "auroc" in frame else ():
            assert set(frame.loc[frame[label] == "attention", "auroc"].dropna()) <= {0.5}, name
    tally("fault", "edges that tell no pair from another")


@pytest.mark.parametrize("row", ON_EDGES, ids=lambda row: row.key)
def test_one_row_for_all_regulators_is_judged_like_any_score(row, tally) -> None:
    assert row.run is not None
    output = row.run(inputs(row, lambda rng, genes: np.tile(rng.random(genes), (genes, 1)), 1))
    for result in output.results:
        assert result.status is Status.RUN or result.reason
        assert result.effect is None or np.isfinite(result.effect)
        assert result.p is None or 0.0 < result.p <= 1.0
    tally("fault", "edges that tell no regulator from another")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("row", ON_EDGES, ids=lambda row: row.key)
def test_a_layer_without_a_number_becomes_none(row, value, tally) -> None:
    """Extraction refuses such a layer; were one handed in all the same, no row of it could be run."""
    assert row.run is not None
    with pytest.raises(ValueError, match=r"no pair has a score|infinite|finite|missing"):
        row.run(inputs(row, lambda rng, genes: np.full((genes, genes), value), 2))
    tally("fault", "edges that are no numbers", "refused")

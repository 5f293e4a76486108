"""Screens in which nothing, or next to nothing, can be ranked: every analysis completes and says why."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from interp_assets.analyses.catalogue import AnalysisRow, built
from interp_assets.analyses.inputs import AnalysisInputs, RoleInputs
from interp_assets.settings import COMPARED_ROLES, SELECTION_ROLE
from qc_standards.records import Status

Alter = Callable[[RoleInputs], RoleInputs]
# Analyses that read attention on screens only, and nothing of the dataset the layer is chosen on.
SCREENS = {*COMPARED_ROLES, SELECTION_ROLE}
ON_SCREENS = [row for row in built() if row.attended and set(row.roles) <= SCREENS and not row.reads_selection]
REFERENCE_ONLY = {16, 17, 18, 25, 37}  # hold edges (in some rows) against a network and need no perturbation


def first(count: int, *, cells: bool) -> Alter:
    """The first perturbations only; from cells (with a baseline configuration) or from a published table."""

    def cut(role: RoleInputs) -> RoleInputs:
        label = role.label[:count]
        return replace(
            role,
            perturbations=role.perturbations[:count],
            source=role.source[:count],
            label=label,
            training=None if role.training is None else role.training[:count],
            de_rate=np.full(label.shape, 0.5),
            baseline_label=label if cells else None,
        )

    return cut


def one_answer(value: int) -> Alter:
    """Every candidate with the same outcome."""

    def alter(role: RoleInputs) -> RoleInputs:
        label = np.where(role.label >= 0, np.int8(value), role.label)
        return replace(role, label=label, baseline_label=label)

    return alter


def in_every_role(row: AnalysisRow, inputs: AnalysisInputs) -> AnalysisInputs:
    """The same screen in every role the analysis asks for."""
    (screen,) = inputs.roles.values()
    return replace(inputs, roles={role: replace(screen, role=role) for role in row.roles})


@pytest.mark.parametrize("row", ON_SCREENS, ids=lambda row: row.key)
@pytest.mark.parametrize("cells", [True, False])
def test_a_screen_without_a_scored_perturbation_is_skipped_with_a_reason(
    make_inputs, row: AnalysisRow, cells: bool
) -> None:
    assert row.run is not None
    output = row.run(in_every_role(row, make_inputs(row.number, alter=first(0, cells=cells))))
    assert len(output.results) > 0
    if row.number not in REFERENCE_ONLY:
        assert {result.status for result in output.results} == {Status.SKIPPED}
        assert all(result.reason for result in output.results)


@pytest.mark.parametrize("row", ON_SCREENS, ids=lambda row: row.key)
@pytest.mark.parametrize(
    "alter", [first(1, cells=True), first(2, cells=False), one_answer(1), one_answer(0)], ids=["1", "2", "all", "none"]
)
def test_next_to_nothing_completes(make_inputs, row: AnalysisRow, alter: Alter) -> None:
    assert row.run is not None
    output = row.run(in_every_role(row, make_inputs(row.number, alter=alter)))
    assert {result.status for result in output.results} <= {Status.RUN, Status.SKIPPED}
    skipped = [result for result in output.results if result.status is Status.SKIPPED]
    assert all(result.reason for result in skipped)

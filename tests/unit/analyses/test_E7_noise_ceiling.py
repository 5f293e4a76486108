"""Analysis E7: the ceiling that a screen sets itself, on screens that repeat themselves and screens that do not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix

from interp_assets.analyses import noise_ceiling as module
from interp_assets.analyses.inputs import AnalysisInputs, CellSample
from interp_assets.analyses.noise_ceiling import noise_ceiling
from interp_assets.analyses.perturbation_first import paired_aurocs, score_aurocs
from interp_assets.analyses.rows import generator
from interp_assets.cells.differential import LabelRule, called
from interp_assets.cells.halves import cells_tested, half_outcomes
from interp_assets.cells.outcomes import no_outcomes
from interp_assets.cells.prepare import CONTROL, normalised_log
from interp_assets.cells.records import PreparedCells
from interp_assets.stats.ranking import auroc
from qc_standards.extended import read_extended
from qc_standards.registry import REGISTRY_FOLDER
from qc_standards.standards import shipped_standards
from qc_standards.suites import judge_frame

RULE = {"q": 0.05, "log_fold": 0.3, "min_cells": 20}
SPECS = tuple(spec for spec in read_extended(REGISTRY_FOLDER / "extended") if spec.analysis_no == 7)


@pytest.fixture
def screen(make_inputs):
    """Function: inputs of a screen whose planted targets change by ``fold``; its labels are tested on its cells."""

    def make(fold: float = 3.0, cells_each: int = 40, real: bool = True, **settings: object) -> AnalysisInputs:
        inputs = make_inputs(19, genes=80, perturbations=24, targets=8, settings=settings)
        role = inputs.roles["primary_screen"]
        rng = np.random.default_rng(9)
        names = np.repeat([*role.perturbations, CONTROL], [cells_each] * 24 + [200])
        rate = np.tile(rng.uniform(1.0, 4.0, 80), (names.size, 1))
        for place, name in enumerate(role.perturbations):
            rate[np.ix_(names == name, role.label[place] == 1)] *= fold
        counts = csr_matrix(rng.poisson(rate), dtype=np.int32)
        cells = PreparedCells(
            dataset="synthetic-screen",
            species="human",
            data_origin="simulated",
            counts=counts,
            log=normalised_log(counts),
            genes=role.genes,
            obs=pd.DataFrame({"perturbation": names}, index=np.arange(names.size).astype(str)),
            control=names == CONTROL,
            cells_hash=role.cells_hash,
            universe=role.genes,
        )
        blank = replace(no_outcomes(cells), kind="cells", perturbations=role.perturbations, facts={"rule": RULE})
        tested = cells_tested(cells, replace(blank, label=role.label))
        outcome = called(tested.outcome(np.ones(names.size, dtype=bool)), LabelRule(**RULE))
        if not real:  # labels that have nothing to do with the cells
            outcome = np.where(outcome < 0, -1, rng.random(outcome.shape) < 0.1).astype(np.int8)
        labels = replace(blank, label=outcome)
        sample = CellSample(
            role="primary_screen",
            role_fit="full",
            cells=cells,
            labels=labels,
            references={},
            primary_reference="planted",
        )
        roles = {"primary_screen": replace(role, label=outcome)}
        return replace(inputs, tests=SPECS, roles=roles, samples={"primary_screen": sample})

    return make


def rows(output) -> dict[str, object]:
    return {result.test_id: result for result in output.results}


def test_a_screen_that_repeats_itself_has_a_high_ceiling(screen):
    inputs = screen(ceiling_draws=10)
    output = noise_ceiling(inputs)
    found = rows(output)
    assert found["E7.1"].effect > 0.95
    assert found["E7.1"].p < 1e-4
    assert found["E7.3"].effect < 0
    assert found["E7.4"].effect < -0.2
    assert found["E7.4"].p < 1e-4
    frame, _ = score_aurocs(inputs, inputs.roles["primary_screen"], 2, ("attention", "variance", "mean"))
    table = output.tables["noise_ceiling"].set_index("score")
    for name, values in paired_aurocs(frame, "all").items():
        assert table.loc[name, "auroc"] == pytest.approx(values.mean())
    share = (table.loc["attention", "auroc"] - 0.5) / (table.loc["attention", "ceiling"] - 0.5)
    assert found["E7.2"].effect == pytest.approx(share)
    assert found["E7.2"].ci_low < share < found["E7.2"].ci_high
    assert table["best_baseline"].nunique() == 1
    assert table["best_baseline"].iloc[0] == table.loc[["variance", "mean", "one_minus_dropout"], "auroc"].max()


def test_the_table_is_what_the_standard_reads(screen):
    table = noise_ceiling(screen(ceiling_draws=10)).tables["noise_ceiling"]
    checked = judge_frame(shipped_standards()["QCS-38"], table)
    assert [check.id for check in checked.checks if not check.success or check.error] == []
    few = judge_frame(shipped_standards()["QCS-38"], noise_ceiling(screen(ceiling_draws=4)).tables["noise_ceiling"])
    assert [check.id for check in few.checks if not check.success] == ["enough-halves"]


def test_the_ceiling_equals_a_loop_over_halves(screen):
    inputs = screen(fold=1.9, ceiling_draws=3)
    output = noise_ceiling(inputs)
    sample, role = inputs.samples["primary_screen"], inputs.roles["primary_screen"]
    tested, rng = cells_tested(sample.cells, sample.labels), generator(inputs, module.NUMBER, 0)
    found: dict[str, list[float]] = {str(name): [] for name in role.perturbations}
    for _ in range(3):
        pair = half_outcomes(tested, rng)
        for ranked, judged in (pair, pair[::-1]):
            label = called(judged, LabelRule(**RULE))
            for place, name in enumerate(role.perturbations):
                asked = np.flatnonzero(role.label[place] >= 0)
                given = label[place, asked]
                if (given == 1).sum() >= 3 and (given == 0).sum() >= 3:
                    found[str(name)].append(auroc(np.abs(ranked.log_fold[place, asked])[None], given[None])[0])
    table = output.tables["noise_ceiling_perturbations"].set_index("perturbation")
    assert 0 < len(table) <= 24
    for name, line in table.iterrows():
        assert line["ceiling"] == pytest.approx(np.mean(found[name]))
        assert line["share_of_draws"] == pytest.approx(len(found[name]) / 6)
        assert line["share_of_draws"] >= 0.5
    enough = ((role.label == 1).sum(axis=1) >= 3) & ((role.label == 0).sum(axis=1) >= 3)
    lost = output.tables["noise_ceiling"]["perturbations_without_ceiling"].iloc[0]
    assert lost == sum(len(found[str(name)]) < 3 for name in role.perturbations[enough])


def test_noise_has_no_ceiling(screen):
    """Nothing responds, so that no half has enough positives: a reason and no number."""
    output = noise_ceiling(screen(fold=1.0, real=False))
    assert {str(result.status) for result in output.results} == {"skipped"}
    assert "too few cells a perturbation for a ceiling" in output.results[0].reason
    assert output.tables == {}


def test_outcomes_without_cells_are_skipped_with_the_reason(screen):
    inputs = screen()
    sample = inputs.samples["primary_screen"]
    listed = replace(sample, labels=replace(sample.labels, kind="outcome_only"))
    output = noise_ceiling(replace(inputs, samples={"primary_screen": listed}))
    assert output.tables == {}
    assert all("its outcomes came without cells" in result.reason for result in output.results)
    absent = noise_ceiling(replace(inputs, roles={}, absent={"primary_screen": "not there"}))
    assert {result.reason for result in absent.results} == {"not there"}


def test_the_same_seed_gives_the_same_numbers(screen):
    first, second = noise_ceiling(screen()), noise_ceiling(screen())
    assert first.results == second.results
    other = noise_ceiling(replace(screen(), seed=5))
    assert other.results[0].effect != first.results[0].effect

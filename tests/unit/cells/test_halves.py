"""Random halves of a screen's cells are tested like the whole screen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.sparse import csr_matrix

from interp_assets.cells.differential import differential_expression
from interp_assets.cells.halves import cells_tested, half_outcomes, halves
from interp_assets.cells.outcomes import no_outcomes
from interp_assets.cells.prepare import CONTROL, normalised_log
from interp_assets.cells.records import PreparedCells, ScreenLabels

GENES = np.array([f"G{n:02d}" for n in range(12)])
PERTURBED = np.array(["G00", "G03", "absent"])


@pytest.fixture
def cells() -> PreparedCells:
    rng = np.random.default_rng(0)
    names = np.repeat([*PERTURBED, CONTROL, "G07"], [20, 31, 16, 60, 5])  # G07 has too few cells for labels
    counts = csr_matrix(rng.poisson(2.0, (names.size, GENES.size)), dtype=np.int32)
    return PreparedCells(
        dataset="toy",
        species="human",
        data_origin="simulated",
        counts=counts,
        log=normalised_log(counts),
        genes=GENES,
        obs=pd.DataFrame({"perturbation": names}, index=[f"c{n}" for n in range(names.size)]),
        control=names == CONTROL,
        cells_hash="a" * 64,
        universe=GENES,
    )


@pytest.fixture
def labels(cells) -> ScreenLabels:
    label = np.zeros((PERTURBED.size, GENES.size), dtype=np.int8)
    return replace(no_outcomes(cells), kind="cells", perturbations=PERTURBED, label=label)


def test_a_half_holds_half_of_every_stratum():
    stratum = np.repeat([0, 1, 2], [10, 7, 1])
    drawn = np.array([halves(stratum, np.random.default_rng(seed)) for seed in range(400)])
    held = np.array([[half[stratum == group].sum() for group in range(3)] for half in drawn])
    assert set(held[:, 0]) == {5}
    assert set(held[:, 1]) == {3, 4}
    assert set(held[:, 2]) == {0, 1}
    assert np.abs(drawn.mean(axis=0) - 0.5).max() < 0.1  # each cell is in either half equally often


def test_a_half_is_tested_like_a_screen_of_its_cells(cells, labels):
    tested = cells_tested(cells, labels)
    first, second = half_outcomes(tested, np.random.default_rng(3))
    chosen = halves(tested.stratum, np.random.default_rng(3))
    names = cells.obs["perturbation"].to_numpy()
    known = np.isin(names, [*PERTURBED, CONTROL])
    for found, half in ((first, chosen), (second, ~chosen)):
        own, log = names[known][half], cells.log[known][half].toarray().astype(np.float64)
        for place, name in enumerate(PERTURBED):
            inside, outside = log[own == name], log[own == CONTROL]
            expected = stats.ttest_ind(inside, outside, equal_var=False)
            free = name != GENES
            np.testing.assert_allclose(found.t[place, free], expected.statistic[free], rtol=1e-9)
            np.testing.assert_allclose(found.p[place, free], expected.pvalue[free], rtol=1e-9)
            np.testing.assert_allclose(
                found.log_fold[place, free], (inside.mean(axis=0) - outside.mean(axis=0))[free], rtol=1e-9
            )
            assert np.isnan(found.t[place, ~free]).all()
    assert (first.cells + second.cells).tolist() == [20, 31, 16]


def test_all_cells_at_once_give_the_outcomes_of_the_screen(cells, labels):
    tested = cells_tested(cells, labels)
    names = cells.obs["perturbation"].to_numpy(dtype=np.str_)
    group = np.array([{"G00": 0, "G03": 1, "absent": 2}.get(name, -1) for name in names])
    whole = differential_expression(cells.log, group, names == CONTROL, np.array([0, 3, -1]))
    found = tested.outcome(np.ones(tested.stratum.size, dtype=bool))
    np.testing.assert_allclose(found.t, whole.t, rtol=1e-12)
    np.testing.assert_allclose(found.q, whole.q, rtol=1e-12)


def test_kept_cells_of_a_planted_screen_are_used(cells, labels):
    names = cells.obs["perturbation"].to_numpy(dtype=np.str_)
    kept = np.isin(names, [*PERTURBED, CONTROL])
    group = np.array([{"G00": 0, "G03": 1, "absent": 2}.get(name, -1) for name in names[kept]], dtype=np.int32)
    planted = replace(labels, planted_weight=np.zeros(labels.label.shape, np.float32))
    assert "kept for the primary screen" in cells_tested(cells, planted)
    found = cells_tested(cells, replace(planted, tested_log=cells.log[kept], tested_group=group))
    everyone = np.ones(int(kept.sum()), dtype=bool)
    np.testing.assert_array_equal(found.outcome(everyone).t, cells_tested(cells, labels).outcome(everyone).t)


def test_cells_of_several_guides_are_compared_with_the_rest(cells, labels):
    rng = np.random.default_rng(5)
    held = csr_matrix((rng.random((cells.log.shape[0], 2)) < 0.3).astype(np.int8))
    table = pd.DataFrame({"guide": ["a", "b"], "group": ["a", "b"], "kind": "target", "gene": ["G00", "G03"]})
    several = replace(cells, guides=held, guide_table=table)
    two = replace(labels, perturbations=PERTURBED[:2], label=labels.label[:2])
    tested = cells_tested(several, two)
    half = halves(tested.stratum, np.random.default_rng(1))
    found, log = tested.outcome(half), cells.log.toarray().astype(np.float64)
    inside = held.toarray()[:, 1].astype(bool)
    expected = stats.ttest_ind(log[half & inside], log[half & ~inside], equal_var=False)
    np.testing.assert_allclose(np.delete(found.t[1], 3), np.delete(expected.statistic, 3), rtol=1e-9)


def test_outcomes_without_cells_say_so(cells, labels):
    assert "came without cells" in cells_tested(cells, replace(labels, kind="outcome_only"))

"""Outcomes against control sets of several sizes: the base is the screen's own, bit for bit."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy import sparse, stats

from interp_assets.cells.composition import COMPOSITION_SHIFT, composition_shift
from interp_assets.cells.dataset_records import UniverseRule
from interp_assets.cells.differential import LabelRule, called
from interp_assets.cells.grid_outcomes import CELL_FACTORS, GridOutcomes, control_sets, edge_sets, grid_outcomes
from interp_assets.cells.outcomes import labels_from_cells
from interp_assets.cells.prepare import CONTROL, cells_hash, normalised_log, sample_cells
from interp_assets.cells.records import PreparedCells, Unavailable
from interp_assets.storage import content_hash, load_record, save_records

RULE = LabelRule(log_fold=0.2, min_cells=10)


@pytest.fixture(scope="module")
def cells() -> PreparedCells:
    """200 control cells, of which 40 are sampled, and three perturbations, one of too few cells; 25 genes."""
    rng = np.random.default_rng(0)
    names = np.array([CONTROL] * 200 + ["g3"] * 30 + ["g7"] * 30 + ["g9"] * 5)
    rate = np.tile(rng.uniform(0.3, 5.0, 25), (names.size, 1))
    rate[names == "g3", 10:14] *= 3.0
    rate[:, 24] = 0.0
    counts = sparse.csr_matrix(rng.poisson(rate).astype(np.int32))
    genes = np.array([f"g{number}" for number in range(25)])
    obs = pd.DataFrame(
        {"perturbation": names, "cell_type": rng.choice(["a", "b"], names.size)},
        index=[f"cell{number}" for number in range(names.size)],
    )
    control = sample_cells(names == CONTROL, 40, 1)
    return PreparedCells(
        dataset="toy",
        species="human",
        data_origin="simulated",
        counts=counts,
        log=normalised_log(counts),
        genes=genes,
        obs=obs,
        control=control,
        cells_hash=cells_hash(obs.index.to_numpy(str)[control]),
        universe=genes[2:16],
    )


def archive(kind: str = "cells") -> SimpleNamespace:
    spec = SimpleNamespace(id="toy", kind=kind, differential=RULE, universe=UniverseRule(min_detection=0.01))
    return SimpleNamespace(datasets={"toy": spec})


def test_the_base_is_the_screen_itself(cells):
    labels = labels_from_cells(
        cells, control=(cells.obs["perturbation"] == CONTROL).to_numpy(), modality="crispri", rule=RULE
    )
    grid = grid_outcomes(archive(), "toy", cells)
    found = grid.against(1, cells.universe)
    assert np.array_equal(grid.perturbations, labels.perturbations)
    assert np.array_equal(called(found, RULE), labels.label)
    listed = labels.label >= 0
    assert np.array_equal(found.p[listed], labels.table["p"].to_numpy())
    assert np.array_equal(found.log_fold[listed], labels.table["lfc"].to_numpy())
    assert (labels.label == 1).sum() > 0


def test_a_smaller_control_set_is_another_test(cells):
    grid = grid_outcomes(archive(), "toy", cells)
    small = control_sets((cells.obs["perturbation"] == CONTROL).to_numpy())[0]
    assert grid.control_cells.tolist() == [50, 200, 200]
    at = cells.universe.tolist().index("g11")
    column = np.flatnonzero(cells.genes == "g11")
    own = (cells.obs["perturbation"] == "g7").to_numpy()
    log = cells.log.toarray()[:, column[0]].astype(np.float64)
    wanted = stats.ttest_ind(log[own], log[small], equal_var=False)
    found = grid.against(0, cells.universe)
    assert found.p[1, at] == pytest.approx(wanted.pvalue)
    assert not np.allclose(found.p[1], grid.against(1, cells.universe).p[1], equal_nan=True)
    assert np.array_equal(grid.against(2, cells.universe).p, grid.against(1, cells.universe).p, equal_nan=True)


def test_genes_that_no_cell_detects_are_left_out(cells):
    grid = grid_outcomes(archive(), "toy", cells)
    assert "g24" not in grid.genes
    with pytest.raises(ValueError, match="g24"):
        grid.against(1, np.array(["g24"]))


def test_edge_sets_are_nested_and_hold_no_perturbed_cell(cells):
    small, base, large = edge_sets(cells)
    assert [int(mask.sum()) for mask in (small, base, large)] == [10, 40, 200]
    assert np.array_equal(base, cells.control)
    assert not (small & ~base).any()
    assert not (base & ~large).any()
    assert set(cells.obs["perturbation"][large]) == {CONTROL}
    assert int(edge_sets(cells, 90)[2].sum()) == 90
    assert np.array_equal(edge_sets(cells, 5)[2], base)
    assert len(CELL_FACTORS) == 3


def test_screens_without_a_control_set_say_why(cells):
    for kind, words in (("outcome_only", "without cells"),):
        found = grid_outcomes(archive(kind), "toy", cells)
        assert isinstance(found, Unavailable)
        assert words in found.reason
    guided = replace(cells, guides=cells.counts)
    assert "several guides" in grid_outcomes(archive(), "toy", guided).reason
    bare = replace(cells, obs=cells.obs.drop(columns="perturbation"))
    assert "nothing was perturbed" in grid_outcomes(archive(), "toy", bare).reason
    few = replace(cells, obs=cells.obs.assign(perturbation=CONTROL))
    assert "enough cells" in grid_outcomes(archive(), "toy", few).reason


def test_the_mix_of_cell_types_is_compared_with_controls():
    obs = pd.DataFrame(
        {"perturbation": ["control"] * 4 + ["x"] * 2 + ["y"] * 2, "cell_type": ["a", "a", "b", "b", "a", "b", "c", "c"]}
    )
    control = (obs["perturbation"] == "control").to_numpy()
    assert composition_shift(obs, np.array(["x", "y"]), control) == {"x": 0.0, "y": 2.0}
    assert composition_shift(obs, np.array(["x", "gone"]), control) == {"x": 0.0}
    assert composition_shift(obs.drop(columns="cell_type"), np.array(["x"]), control) == {}


def test_labels_carry_the_composition_shift(cells):
    control = (cells.obs["perturbation"] == CONTROL).to_numpy()
    labels = labels_from_cells(cells, control=control, modality="crispri", rule=RULE)
    share = (cells.obs["cell_type"] == "a").to_numpy()
    own = (cells.obs["perturbation"] == "g3").to_numpy()
    wanted = 2 * abs(share[own].mean() - share[control].mean())
    assert labels.facts[COMPOSITION_SHIFT]["g3"] == pytest.approx(wanted)


def test_they_can_be_stored(cells, tmp_path):
    grid = grid_outcomes(archive(), "toy", cells)
    save_records(tmp_path / "kept", {"grid": grid})
    again = load_record(tmp_path / "kept" / "grid", GridOutcomes)
    assert content_hash(again) == content_hash(grid)
    assert np.array_equal(again.against(0, cells.universe).p, grid.against(0, cells.universe).p, equal_nan=True)

"""The grid reads each control set for itself, and its base is the stored edges bit for bit."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from interp_assets.analyses.assemble import DatasetArtefacts, role_inputs
from interp_assets.analyses.inputs import AnalysisInputs
from interp_assets.analyses.sensitivity_grid import sensitivity_grid
from interp_assets.cells.artefacts import pairwise_edges
from interp_assets.cells.dataset_records import UniverseRule
from interp_assets.cells.differential import LabelRule
from interp_assets.cells.features import gene_features
from interp_assets.cells.grid_outcomes import edge_sets, grid_outcomes
from interp_assets.cells.outcomes import labels_from_cells
from interp_assets.cells.prepare import CONTROL, cells_hash, normalised_log
from interp_assets.cells.records import PreparedCells
from interp_assets.edges.records import Reference
from interp_assets.models.attention.extraction import ExtractionSettings, extract_attention
from interp_assets.models.families.geneformer import load_geneformer
from interp_assets.models.files.releases import read_release
from interp_assets.readings import sensitivity_grid as module
from interp_assets.readings.catalogue import reading
from interp_assets.readings.records import ReadData, kept_files
from interp_assets.settings import RoleFilling
from interp_assets.stats.ranking import fill_missing
from qc_standards.records import Status
from qc_standards.registry import tests_of_analysis

RULE = LabelRule(log_fold=0.2, min_cells=10)
DEPTH = 0.5


@pytest.fixture(scope="module")
def folder(peaked_release):
    return peaked_release


@pytest.fixture(scope="module")
def cells(models) -> PreparedCells:
    """60 unperturbed cells, 20 of them the control sample, four perturbations of 25; 46 genes, 20 scored, 6 unknown."""
    rng = np.random.default_rng(3)
    names = np.repeat([CONTROL, "G1", "G2", "G3", "G4"], [60, 25, 25, 25, 25])
    genes = np.array([*(f"G{number}" for number in rng.permutation(40)), *(f"X{number}" for number in range(6))])
    rate = np.tile(rng.uniform(0.05, 2.5, genes.size), (names.size, 1))
    for number in range(1, 5):
        own = np.isin(genes, [f"G{(7 * number + k) % 20}" for k in range(6)])
        rate[np.ix_(names == f"G{number}", own)] *= 4.0
    counts = rng.poisson(rate)
    cells = models.prepared_cells(counts, genes.tolist())
    control = np.zeros(names.size, dtype=bool)
    control[rng.permutation(60)[:20]] = True
    universe = np.array([f"G{number}" for number in range(19)] + ["X0"])
    index = cells.obs.index.to_numpy(str)
    return replace(
        cells,
        log=normalised_log(cells.counts),
        obs=pd.DataFrame({"perturbation": names}, index=index),
        control=control,
        cells_hash=cells_hash(index[control]),
        universe=universe[rng.permutation(20)],
    )


@pytest.fixture(scope="module")
def labels(cells):
    control = (cells.obs["perturbation"] == CONTROL).to_numpy()
    return labels_from_cells(cells, control=control, modality="crispri", rule=RULE)


@pytest.fixture(scope="module")
def grid(cells):
    spec = SimpleNamespace(id="toy", kind="cells", differential=RULE, universe=UniverseRule())
    return grid_outcomes(SimpleNamespace(datasets={"toy": spec}), "toy", cells)


@pytest.fixture(scope="module")
def ask(folder, cells, labels, grid, make_context):
    """Function: a context on the toy screen."""

    def factory(**changes):
        held = ReadData(role=module.ROLE, cells=cells, labels=labels, references={}, primary_reference="", grid=grid)
        held = replace(held, **changes.pop("held", {}))
        return replace(make_context(folder, held, settings={"grid_edge_cells": 10_000}, depth=DEPTH), **changes)

    return factory


@pytest.fixture(scope="module")
def found(ask):
    return module.read(ask())


@pytest.fixture(scope="module")
def stored(folder, cells, tmp_path_factory):
    return extract_attention(
        read_release(folder), cells, tmp_path_factory.mktemp("stored"), ExtractionSettings(device="cpu")
    )


def test_the_catalogue_names_it():
    assert reading("sensitivity_grid").run is module.read
    assert reading("sensitivity_grid").roles == (module.ROLE,)


@pytest.mark.parametrize("memory", [0.6, 8e-6])
def test_the_base_is_the_stored_attention_bit_for_bit(ask, folder, cells, tmp_path, memory):
    how = ExtractionSettings(device="cpu", memory_budget_gib=memory)
    edges = extract_attention(read_release(folder), cells, tmp_path, how)
    got = module.read(ask(memory_gib=memory))
    matrix = edges.layer_matrix(got.facts["layer"])
    at = module.positions(got.arrays["genes"], matrix.genes)
    rows = module.positions(matrix.genes, got.arrays["perturbations"])
    assert np.array_equal(got.arrays["attention"][1][:, at], matrix.score[rows], equal_nan=True)
    assert got.arrays["attention_lowest"][1, 1] == np.float32(fill_missing(matrix.score)[0].min())


def test_the_base_is_the_stored_correlation_and_gene_statistics(found, cells):
    edges = pairwise_edges(cells)["correlation"]
    known = found.arrays["universe"][1] & found.arrays["known"]
    genes = found.arrays["genes"][known]
    at, rows = module.positions(edges.genes, genes), module.positions(edges.genes, found.arrays["perturbations"])
    assert np.array_equal(found.arrays["correlation"][1][:, known], edges.score[np.ix_(rows, at)], equal_nan=True)
    told = gene_features(cells).loc[genes.tolist()]
    for name in ("mean", "variance", "dropout"):
        assert np.array_equal(found.arrays[name][1][known], told[name].to_numpy())


@pytest.mark.parametrize("size", [0, 2])
def test_other_control_sets_are_extractions_of_their_own_cells(found, folder, cells, tmp_path, size):
    chosen = edge_sets(cells)[size]
    genes = found.arrays["genes"]
    other = replace(cells, control=chosen, universe=genes)
    edges = extract_attention(read_release(folder), other, tmp_path, ExtractionSettings(device="cpu", heads="mean"))
    matrix = edges.layer_matrix(found.facts["layer"])
    at = module.positions(genes, matrix.genes)
    rows = module.positions(matrix.genes, found.arrays["perturbations"])
    np.testing.assert_allclose(found.arrays["attention"][size][:, at], matrix.score[rows], rtol=2e-6)
    assert found.facts["edge_cells"][size] == chosen.sum() != cells.control.sum()
    assert not np.array_equal(found.arrays["attention"][size], found.arrays["attention"][1], equal_nan=True)
    assert not np.array_equal(found.arrays["correlation"][size], found.arrays["correlation"][1], equal_nan=True)


def test_gene_lists_are_nested_and_hold_the_perturbed_genes(found, cells, grid):
    half, base, wide = found.arrays["universe"]
    assert not (half & ~base).any()
    assert wide.all()
    assert [int(mask.sum()) for mask in (half, base)] == [10, 20]
    assert set(found.arrays["genes"][base]) == set(cells.universe)
    perturbed = np.isin(found.arrays["genes"], found.arrays["perturbations"])
    assert (half & perturbed).sum() == 4
    further = found.arrays["genes"][wide & ~base]
    assert not [gene for gene in further if gene.startswith("X")]
    order = dict(zip(grid.genes, grid.variability, strict=True))
    kept = [order[gene] for gene in found.arrays["genes"][half & ~perturbed]]
    lost = [order[gene] for gene in found.arrays["genes"][base & ~half]]
    assert min(kept) >= max(value for value in lost if np.isfinite(value))


def test_fewer_cells_can_be_asked_for(ask, found):
    got = module.read(ask(settings={"grid_edge_cells": 30}))
    assert got.facts["edge_cells"] == [5, 20, 30]
    assert np.array_equal(got.arrays["attention"][1], found.arrays["attention"][1], equal_nan=True)


def test_a_rerun_gives_the_same_bytes(ask, found):
    again = kept_files("grid", module.read(ask()), lambda frame: frame.to_csv().encode())
    assert again == kept_files("grid", found, lambda frame: frame.to_csv().encode())


def test_what_cannot_be_read_says_why(ask, grid):
    assert "fills no role" in module.read(ask(data={}))
    assert module.read(ask(data={}, absent={module.ROLE: "gone"})) == "gone"
    assert "without cells" in module.read(ask(held={"grid": "lists outcomes without cells"}))
    foreign = replace(grid, perturbations=np.array(["Y1", "Y2", "Y3", "Y4"]))
    assert module.NO_PERTURBATION in module.read(ask(held={"grid": foreign}))
    table = replace(ask().release, family="edge_table")
    assert module.read(ask(release=table)) == module.NO_MODEL


def test_the_base_condition_is_analysis_19(found, stored, cells, labels, folder):
    """The whole way from cells to the row: same labels, same attention, same AUROC."""
    genes = cells.universe
    nothing = np.empty(0, dtype=np.int32)
    reference = Reference(name="none", genes=genes, source=nothing, target=nothing, directed=True, regulators=nothing)
    artefacts = DatasetArtefacts(
        labels=labels,
        features=gene_features(cells, reference),
        edges=pairwise_edges(cells),
        references={"none": reference},
    )
    filling = RoleFilling(dataset="toy", role_fit="full")
    role = role_inputs(module.ROLE, filling, artefacts, stored, "none", (1, 1))
    inputs = AnalysisInputs(
        study="toy",
        release="tiny",
        tests=tests_of_analysis(20),
        roles={module.ROLE: role},
        settings={"analysis_depth": DEPTH, "bootstrap": 20, "min_positives": 1, "min_negatives": 1},
        readings={"sensitivity_grid": found},
    )
    output = sensitivity_grid(inputs)
    table = output.tables["sensitivity_grid"]
    assert len(table) == 27 * 5
    base = table[table["is_base"]].set_index("score")
    assert (base["base_difference"] == 0.0).all()
    assert (base["n"] >= 2).all()
    assert all(result.status is Status.RUN for result in output.results)
    # labels of another screen are no base
    changed = replace(role, label=np.where(role.label == 1, 0, role.label).astype(np.int8))
    with pytest.raises(ValueError, match="materialise sensitivity_grid again"):
        sensitivity_grid(replace(inputs, roles={module.ROLE: changed}))


def test_the_model_is_loaded_once_and_knows_its_genes(folder, found):
    model = load_geneformer(read_release(folder))
    assert np.array_equal(model.known(found.arrays["genes"]), found.arrays["known"])

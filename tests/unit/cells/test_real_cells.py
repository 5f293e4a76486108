"""Cells of the data mirror as their declarations read them; counts as the mirror states them."""

from __future__ import annotations

import numpy as np
import pytest

from interp_assets.cells.artefacts import Archive, prepared_cells
from interp_assets.cells.datasets import load_datasets
from interp_assets.cells.prepare import CONTROL
from interp_assets.cells.records import PreparedCells, Unavailable
from interp_assets.cells.sources import SourceContext, source_context

pytestmark = pytest.mark.mirror


@pytest.fixture(scope="module")
def archive(data_mirror, tmp_path_factory) -> Archive:
    return Archive(
        datasets=load_datasets(), context=source_context(tmp_path_factory.mktemp("store"), mirror=data_mirror)
    )


def prepared(archive: Archive, name: str) -> PreparedCells:
    found = prepared_cells(archive, name)
    assert isinstance(found, PreparedCells), found
    return found


@pytest.mark.parametrize(
    ("name", "read", "kept", "genes", "control", "universe", "groups"),
    [
        ("papalexi21_thp1", 20_729, 18_826, 299, 2_205, 299, {"perturbation": 26, "batch": 3}),
        ("dixit16_bmdc", 14_427, 14_416, 24, 990, 24, {"perturbation": 9}),
        ("gasperini19_k562", 40_002, 40_002, 366, 34_411, 366, {"batch": 2}),
        ("norman19_k562_crispra", 3_375, 3_375, 500, 100, 103, {"perturbation": 34}),
        ("mcfaline23_gbm", 2_586, 2_586, 500, 300, 394, {"perturbation": 10, "batch": 3}),
        ("kang_pbmc_ifn", 1_556, 1_556, 1_267, 1_556, 1_267, {"donor": 2, "condition": 2, "cell_type": 5}),
        ("paul15_bone_marrow_mouse", 2_660, 2_660, 3_004, 2_660, 2_000, {"cell_type": 7}),
        ("tuck_mesc_neural_mouse", 459, 459, 510, 459, 510, {"batch": 7}),
    ],
)
def test_cells_have_their_published_numbers(archive, name, read, kept, genes, control, universe, groups):
    found = prepared(archive, name)
    assert found.facts["cells_read"] == read
    assert found.counts.shape == (kept, genes)
    assert (int(found.control.sum()), len(found.universe)) == (control, universe)
    assert {column: found.obs[column].nunique() for column in groups} == groups
    if "perturbation" in groups:
        assert (found.obs["perturbation"][found.control] == CONTROL).all()


def test_guides_of_the_enhancer_screen_are_joined(archive):
    found = prepared(archive, "gasperini19_k562")
    assert found.guides.shape == (40_002, 79)
    assert found.guide_table["kind"].value_counts().to_dict() == {"other": 34, "non_targeting": 25, "target": 20}
    targets = found.guide_table[found.guide_table["kind"] == "target"]
    assert targets["gene"].nunique() == 10
    assert (targets["group"] == targets["gene"] + "_TSS").all()
    assert set(targets["gene"]) <= set(found.genes)
    assert found.facts["control_candidates"] == 34_411
    perturbing = (found.guide_table["kind"] != "non_targeting").to_numpy()
    assert found.guides[found.control][:, perturbing].nnz == 0
    assert found.guides[found.control].nnz > 0


def test_mouse_transcription_factors_carry_human_names(archive):
    found = prepared(archive, "dixit16_bmdc")
    assert (found.species, found.facts["renamed_by"], found.facts["genes_without_ortholog"]) == (
        "mouse",
        "ensembl105_human_mouse",
        0,
    )
    perturbed = set(found.obs["perturbation"]) - {CONTROL}
    assert perturbed == {"CEBPB", "HIF1A", "NFKB1", "REL", "RELA", "SPI1", "STAT1", "STAT2"}
    assert perturbed <= set(found.universe)


@pytest.mark.parametrize(("name", "share"), [("norman19_k562_crispra", 0.011), ("mcfaline23_gbm", 0.055)])
def test_a_panel_is_scaled_by_the_counts_of_all_genes(archive, name, share):
    """The 500 genes hold 1 to 5 % of a cell's counts, so that panel totals would make them 20 to 100 times larger."""
    found = prepared(archive, name)
    scaled = np.expm1(found.log.astype(np.float64).toarray()).sum(axis=1)
    assert np.median(scaled) / 1e4 == pytest.approx(share, rel=0.3)


def test_cells_of_weak_guide_calls_are_left_out(archive):
    assert prepared(archive, "papalexi21_thp1").facts["cells_dropped_keep"] == 20_729 - 18_826


def test_without_their_tables_the_cells_are_not_available(data_mirror, tmp_path):
    """A screen whose guide or ortholog table is gone says which one, and never reads its cells without it."""
    from shutil import copytree, ignore_patterns

    part = tmp_path / "mirror"
    copytree(data_mirror / "perturb", part / "perturb", ignore=ignore_patterns("*grnas*", "perturbqa*", "replogle*"))
    copytree(data_mirror / "gene_ids", part / "gene_ids")
    context = source_context(tmp_path / "store", mirror=part, wheels=tmp_path / "none")
    archive = Archive(datasets=load_datasets(), context=context)
    for name, table in (("gasperini19_k562", "gasperini19_guides"), ("dixit16_bmdc", "ensembl105_human_mouse")):
        found = prepared_cells(archive, name)
        assert isinstance(found, Unavailable)
        assert table in found.reason


def test_orthologs_are_the_same_with_and_without_the_mirror(archive, data_wheels, tmp_path):
    from interp_assets.cells.gene_names import read_gene_names
    from interp_assets.cells.orthologs import read_orthologs

    spec = archive.datasets["ensembl105_human_mouse"]
    wheels = SourceContext(wheels=data_wheels, cache=tmp_path)
    wheels_only = Archive(datasets=archive.datasets, context=wheels)
    paths = [found.path(spec.id) for found in (archive, wheels_only)]
    first, second = map(read_orthologs, paths)
    assert paths[0] != paths[1]
    assert first == second
    assert len(first) == 16_757
    names = [read_gene_names(path, spec.id).symbols for path in paths]
    assert names[0] == names[1]

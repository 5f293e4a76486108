"""What real screens did to their own perturbed genes."""

from __future__ import annotations

import pytest

from interp_assets.cells.artefacts import Archive, prepared_cells, screen_outcomes
from interp_assets.cells.datasets import load_datasets
from interp_assets.cells.own_change import modality_agreement
from interp_assets.cells.records import PreparedCells, ScreenLabels
from interp_assets.cells.sources import source_context

pytestmark = pytest.mark.mirror


@pytest.fixture(scope="module")
def outcomes(data_mirror, tmp_path_factory):
    archive = Archive(
        datasets=load_datasets(), context=source_context(tmp_path_factory.mktemp("store"), mirror=data_mirror)
    )

    def of(dataset: str) -> ScreenLabels:
        cells = prepared_cells(archive, dataset)
        assert isinstance(cells, PreparedCells)
        found = screen_outcomes(archive, dataset, cells)
        assert isinstance(found, ScreenLabels)
        return found

    return of


@pytest.mark.parametrize(
    ("dataset", "modality", "genes", "yes", "undecided"),
    [
        ("papalexi21_thp1", "crisprko", 9, 9, set()),
        ("dixit16_bmdc", "crisprko", 8, 6, {"RELA", "SPI1"}),
        ("gasperini19_k562", "crispri", 10, 9, {"LARP1"}),
        ("norman19_k562_crispra", "crispra", 1, 1, set()),
    ],
)
def test_screens_moved_their_genes_as_their_modality_promises(outcomes, dataset, modality, genes, yes, undecided):
    labels = outcomes(dataset)
    table = modality_agreement(labels.own_change, labels.modality).set_index("perturbation")
    assert set(table["modality"]) == {modality}
    assert len(table) == genes
    assert (table["agrees"] == "yes").sum() == yes
    assert set(table.index[table["agrees"] == "undecided"]) == undecided
    assert not (table["agrees"] == "no").any()


def test_activation_is_told_from_interference(outcomes):
    """TMSB4X rises ninefold: the Norman screen could not pass for interference."""
    own = outcomes("norman19_k562_crispra").own_change
    assert own["perturbation"].tolist() == ["TMSB4X"]
    assert own["lfc"].item() > 2
    assert modality_agreement(own, "crispri")["agrees"].tolist() == ["no"]


def test_a_screen_of_p_values_keeps_perturbations_that_the_cells_do_not_measure(outcomes):
    labels = outcomes("replogle22_k562_top100")
    assert labels.perturbations.size == 100
    assert labels.facts["self_pairs_dropped"] == 100
    assert 0 < (~labels.with_scored_source).sum() < 20
    assert labels.training is None
    assert labels.table["p"].between(0, 1).all()

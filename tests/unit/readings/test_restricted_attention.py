"""Attention read on fewer genes equals an extraction from cells that hold only those genes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from interp_assets.cells.outcomes import no_outcomes
from interp_assets.cells.records import PreparedCells
from interp_assets.models.attention.extraction import ExtractionSettings, extract_attention
from interp_assets.models.families.geneformer import load_geneformer
from interp_assets.readings import restricted_attention as module
from interp_assets.readings.catalogue import reading
from interp_assets.readings.records import ReadData, kept_files

SHARE = 0.5


@pytest.fixture(scope="module")
def cells(models) -> PreparedCells:
    return models.toy_cells.__wrapped__()


@pytest.fixture(scope="module")
def ask(peaked_release, cells, make_context):
    """Function: a context on the toy cells, some universe genes perturbed."""

    def factory(perturbed=slice(0, None, 2), share=SHARE, **changes):
        labels = replace(no_outcomes(cells), perturbations=cells.universe[perturbed])
        held = ReadData(role=module.ROLE, cells=cells, labels=labels, references={}, primary_reference="")
        return replace(make_context(peaked_release, held, settings={"restricted_share": share}), **changes)

    return factory


@pytest.fixture(scope="module")
def found(ask):
    return module.read(ask())


def test_the_catalogue_names_it():
    assert reading("restricted_attention").run is module.read
    assert reading("restricted_attention").roles == (module.ROLE,)


def test_genes_are_the_most_variable_known_ones(found, ask, cells):
    model = load_geneformer(ask().release)
    known = cells.universe[model.known(cells.universe)]
    column = {str(gene): number for number, gene in enumerate(cells.genes)}
    log = cells.log[cells.control].toarray()
    variance = np.array([log[:, column[gene]].var(ddof=1) for gene in known])
    expected = known[np.sort(np.argsort(-variance, kind="stable")[: round(SHARE * known.size)])]
    assert found.arrays["genes"].tolist() == expected.tolist()
    assert set(found.arrays["perturbations"]) == set(expected) & set(cells.universe[::2])


def test_it_equals_an_extraction_from_those_genes_alone(found, ask, cells, tmp_path):
    genes = found.arrays["genes"]
    columns = [list(cells.genes).index(gene) for gene in genes]
    narrow = replace(
        cells, counts=cells.counts[:, columns], log=cells.log[:, columns], genes=cells.genes[columns], universe=genes
    )
    edges = extract_attention(ask().release, narrow, tmp_path / "out", ExtractionSettings(device="cpu"))
    rows = np.isin(genes, found.arrays["perturbations"])
    for place, layer in enumerate(found.arrays["layers"].tolist()):
        expected = edges.layer_matrix(layer)
        assert np.array_equal(expected.cells_behind[rows], found.arrays["cells_behind"])
        got, wanted = found.arrays["attention"][place], expected.score[rows]
        assert np.array_equal(np.isnan(got), np.isnan(wanted))
        assert np.nanmax(np.abs(got - wanted)) < 1e-6


def test_other_genes_take_part_in_no_softmax(found, ask, tmp_path, cells):
    """With every gene in the sequence the same pairs have less weight: the denominator is larger."""
    whole = extract_attention(ask().release, cells, tmp_path / "whole", ExtractionSettings(device="cpu"))
    place = {str(gene): number for number, gene in enumerate(whole.genes)}
    rows = [place[gene] for gene in found.arrays["perturbations"]]
    columns = [place[gene] for gene in found.arrays["genes"]]
    layer = int(found.arrays["layers"][0])
    before = whole.layer_matrix(layer).score[np.ix_(rows, columns)]
    after = found.arrays["attention"][0]
    both = np.isfinite(before) & np.isfinite(after)
    assert after[both].mean() > before[both].mean()
    assert not np.allclose(after[both], before[both])


def test_totals_of_the_whole_cell_change_no_order(ask, cells):
    """Encoding the kept genes from whole cells or from cut cells gives the same order of them."""
    model = load_geneformer(ask().release)
    narrow, genes = module.restricted_cells(model, cells, SHARE)
    whole = model.encode(cells.counts, cells.genes)
    cut = model.encode(narrow.counts, narrow.genes)
    for cell in range(cells.counts.shape[0]):
        named = [cells.genes[c] for c in whole.column[whole.offsets[cell] : whole.offsets[cell + 1]] if c >= 0]
        order = [narrow.genes[c] for c in cut.column[cut.offsets[cell] : cut.offsets[cell + 1]] if c >= 0]
        kept = [gene for gene in named if gene in set(genes)]
        assert order[: len(kept)] == kept


def test_it_is_kept_and_says_what_it_was_made_of(found, ask, cells):
    files = kept_files("restricted_attention", found, lambda frame: b"")
    assert any(name.endswith("attention.npy") for name in files)
    assert found.facts["cells_hash"] == cells.cells_hash
    assert found.facts["genes"] == found.arrays["genes"].size
    assert found.facts["restricted_share"] == SHARE
    again = module.read(ask())
    assert np.array_equal(again.arrays["attention"], found.arrays["attention"], equal_nan=True)


def test_what_cannot_be_read_is_told(ask):
    assert module.read(ask(release=replace(ask().release, family="edge_table"))) == module.NO_MODEL
    gone = ask(data={}, absent={module.ROLE: "licence"})
    assert module.read(gone) == "licence"
    assert "fills no role" in module.read(ask(data={}))
    assert "0 perturbed genes" in module.read(ask(perturbed=slice(0, 0)))
    with pytest.raises(ValueError, match="share"):
        module.read(ask(share=0.0))

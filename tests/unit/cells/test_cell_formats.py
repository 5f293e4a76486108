"""Cells chosen by their columns, scaled by a stated library size, renamed by orthologs, or holding guides."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from interp_assets.cells.dataset_records import DatasetSpec, GuideTableFormat
from interp_assets.cells.gene_names import read_gene_names
from interp_assets.cells.guides import read_guide_table
from interp_assets.cells.integrity import DataFileError
from interp_assets.cells.orthologs import read_orthologs
from interp_assets.cells.prepare import CONTROL, CellsError, normalised_log, prepare

ORTHOLOGS = {"G0": "H0", "G1": "H1", "G3": "H3", "G6": "H6"}
TABLE = pd.DataFrame(
    {
        "guide": ["n1", "a1", "a2", "e1", "unused"],
        "group": ["nt", "A_tss", "A_tss", "enhancer", "x"],
        "kind": ["non_targeting", "target", "target", "other", "target"],
        "gene": ["", "A", "A", "", "X"],
    }
)
UMI = np.array([[0, 0, 0, 0], [4, 0, 0, 0], [5, 0, 0, 0], [0, 5, 9, 0], [0, 0, 0, 6], [9, 0, 0, 5], [1, 4, 4, 4]])


@pytest.fixture
def with_columns(cells_file) -> Callable[..., Path]:
    """Writes the toy cells with further columns."""

    def write(**columns: Any) -> Path:
        path = cells_file()
        data = anndata.read_h5ad(path)
        for name, values in columns.items():
            data.obs[name] = values
        data.write_h5ad(path)
        return path

    return write


@pytest.fixture
def with_guides(cells_file) -> Callable[..., Path]:
    """Writes the toy cells with guide UMIs; the pattern of `UMI` for the first cells, no guide for the others."""

    def write(umi: Any = None, names: Any = ("n1", "a1", "a2", "e1"), *, dense: bool = False) -> Path:
        path = cells_file()
        data = anndata.read_h5ad(path)
        if umi is None:
            umi = np.vstack([UMI, np.zeros((data.n_obs - len(UMI), 4), dtype=int)])
        data.obsm["umi"] = umi if dense else sparse.csr_matrix(umi)
        data.uns["names"] = np.array(names, dtype=object)
        data.write_h5ad(path)
        return path

    return write


def totals_of(path: Path) -> np.ndarray:
    return np.asarray(anndata.read_h5ad(path).X.sum(axis=1)).ravel()


@pytest.mark.parametrize(
    ("rule", "kept"),
    [
        ({"share": {"min": 0.5}}, 30),
        ({"share": {"min": 0.5, "max": 0.75}}, 16),
        ({"share": {"max": 0.25}}, 16),
        ({"type": ["b"]}, 30),
        ({"type": ["b"], "share": {"min": 0.5}}, 15),
        ({"year": ["2016"]}, 20),
    ],
)
def test_cells_are_kept_by_their_columns_and_the_others_counted(document, declare, with_columns, rule, kept):
    path = with_columns(share=np.arange(60) / 60, year=np.repeat([2015, 2016, 2017], 20))
    document["cells"] |= {"keep": rule}
    for key in ("control_label", "obs"):
        del document["cells"][key]
    found = prepare(declare(document), path)
    assert found.counts.shape[0] == len(found.obs) == kept
    assert found.facts["cells_dropped_keep"] == 60 - kept


def test_a_cell_without_a_number_is_outside_any_bounds(document, declare, with_columns):
    share = np.ones(60)
    share[3] = np.nan
    document["cells"] |= {"keep": {"share": {"min": 0}}}
    found = prepare(declare(document), with_columns(share=share))
    assert "cell3" not in found.obs.index
    assert found.facts["cells_dropped_keep"] == 1


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"frac": {"min": 0}}, r"key `cells\.keep\.frac` of toy\.yaml\): no column frac; columns: guide, type"),
        ({"type": ["c"]}, r"key `cells\.keep` of toy\.yaml\): no cell meets every rule"),
        ({"type": {"min": 0}}, r"no cell meets every rule"),
    ],
)
def test_a_rule_that_fits_no_cell_is_named(document, declare, cells_file, rule, message):
    document["cells"] |= {"keep": rule}
    with pytest.raises(CellsError, match=message):
        prepare(declare(document), cells_file())


def test_a_stated_total_counts_scales_the_counts(document, declare, with_columns, cells_file):
    totals = totals_of(cells_file()) * 10 + np.arange(60)
    document["cells"] |= {"total_counts": "total", "keep": {"type": ["b"]}}
    found = prepare(declare(document), with_columns(total=totals))
    expected = np.log1p(found.counts.toarray() / totals[1::2, None] * 1e4)
    np.testing.assert_allclose(found.log.toarray(), expected, rtol=1e-6)
    same = normalised_log(found.counts, np.asarray(found.counts.sum(axis=1), dtype=float).ravel())
    np.testing.assert_array_equal(same.data, normalised_log(found.counts).data)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (0.0, "holds entries that are no positive numbers"),
        (np.nan, "holds entries that are no positive numbers"),
        (np.inf, "holds entries that are no positive numbers"),
        (1.0, "is below the counts of the matrix in 1 cells"),
    ],
)
def test_a_total_counts_that_cannot_be_is_refused(document, declare, with_columns, bad, message):
    totals = np.full(60, 1e4)
    totals[7] = bad
    document["cells"] |= {"total_counts": "total"}
    with pytest.raises(CellsError, match=rf"key `cells\.total_counts` of toy\.yaml\): column total {message}"):
        prepare(declare(document), with_columns(total=totals))


def test_an_absent_total_counts_lists_the_columns(document, declare, cells_file):
    document["cells"] |= {"total_counts": "total"}
    with pytest.raises(CellsError, match="no column total; columns: guide, type"):
        prepare(declare(document), cells_file())


def test_genes_and_perturbations_take_their_human_names(document, declare, with_columns, cells_file):
    path = with_columns(guide=np.repeat(["NT", "G1", "G2", "G3+G4"], 15))
    document["cells"] |= {"orthologs": "table"}
    found = prepare(declare(document | {"species": "mouse"}), path, orthologs=ORTHOLOGS)
    assert found.genes.tolist() == ["H0", "H1", "H3", "H6"]
    assert set(found.obs["perturbation"]) == {CONTROL, "H1", "G2", "H3+G4"}
    assert (found.species, found.facts["renamed_by"], found.facts["genes_without_ortholog"]) == ("mouse", "table", 4)
    counts = anndata.read_h5ad(path).X.toarray()
    expected = np.log1p(counts[:, [0, 1, 3, 6]] / counts.sum(axis=1, keepdims=True) * 1e4)
    np.testing.assert_allclose(found.log.toarray(), expected, rtol=1e-6)


def test_renaming_needs_a_table_that_fits(document, declare, cells_file):
    document["species"] = "mouse"
    document["cells"] |= {"orthologs": "table"}
    with pytest.raises(CellsError, match=r"key `cells\.orthologs` of toy\.yaml\): the table table was not handed in"):
        prepare(declare(document), cells_file())
    with pytest.raises(CellsError, match="no gene has a one-to-one ortholog in table"):
        prepare(declare(document), cells_file(), orthologs={"g0": "H0"})


def test_orthologs_are_one_to_one(tmp_path):
    rows = ["A a", "B b1", "B b2", "C c", "D c", "E ", " f", "NA Na", "A a"]
    (tmp_path / "a.csv").write_text("\n".join(row.replace(" ", ",") for row in rows) + "\n", encoding="utf-8")
    tabbed = "human\tmouse\ttype\n" + "\n".join(row.replace(" ", "\t") + "\tx" for row in rows) + "\n"
    (tmp_path / "a.tsv.gz").write_bytes(gzip.compress(tabbed.encode()))
    for name in ("a.csv", "a.tsv.gz"):
        assert read_orthologs(tmp_path / name) == {"a": "A", "Na": "NA"}
        # A gene table of the same file knows the symbols that have a partner, one to one or not.
        assert read_gene_names(tmp_path / name, "t").symbols == {"a", "b1", "b2", "c", "Na"}
    (tmp_path / "b.csv").write_text("A,a\nA,b\n", encoding="utf-8")
    with pytest.raises(DataFileError, match="holds no one-to-one ortholog"):
        read_orthologs(tmp_path / "b.csv")
    (tmp_path / "c.csv").write_text("A\nB\n", encoding="utf-8")
    with pytest.raises(DataFileError, match="not a readable table of two columns of names"):
        read_orthologs(tmp_path / "c.csv")


@pytest.mark.parametrize("dense", [False, True])
def test_a_cell_holds_the_guides_with_enough_umis(document, declare, with_guides, dense):
    document["cells"] = {"guides": {"matrix": "obsm/umi", "names": "uns/names", "table": "toy_guides"}}
    found = prepare(declare(document), with_guides(dense=dense), guide_table=TABLE)
    assert sparse.isspmatrix_csr(found.guides) and found.guides.dtype == np.int8
    np.testing.assert_array_equal(found.guides[: len(UMI)].toarray(), UMI >= 5)
    assert found.guide_table.equals(TABLE.iloc[:4])
    # Cells with a target or enhancer guide are perturbed, those with non-targeting guides or none are not.
    assert found.control[: len(UMI)].tolist() == [True, True, True, False, False, False, True]
    assert found.control[len(UMI) :].all()
    assert found.facts["control_candidates"] == 57


def test_guides_follow_their_cells_and_the_control_sample_is_seeded(document, declare, with_guides):
    guides = {"matrix": "obsm/umi", "names": "uns/names", "table": "toy_guides", "min_umi": 4}
    document["cells"] = {"guides": guides, "keep": {"type": ["b"]}, "control_cells": 5, "control_seed": 1}
    found = prepare(declare(document), with_guides(names=("e1", "n1", "a2", "a1")), guide_table=TABLE)
    np.testing.assert_array_equal(found.guides[:3].toarray(), UMI[1:7:2] >= 4)
    assert found.guide_table["guide"].tolist() == ["e1", "n1", "a2", "a1"]
    perturbed = np.asarray(found.guides[:, [0, 2, 3]].sum(axis=1)).ravel() > 0
    assert found.control.sum() == 5
    assert not (found.control & perturbed).any()


@pytest.mark.parametrize(
    ("changes", "table", "message"),
    [
        ({}, None, r"key `cells\.guides\.table` of toy\.yaml\): the guide table toy_guides was not handed in"),
        ({"names": ("n1", "a1", "a1", "e1")}, TABLE, r"uns/names repeats a guide"),
        ({"names": ("n1", "a1", "new", "e1")}, TABLE, r"guide new \(1 in all\) is not in guide table toy_guides"),
        ({"names": ("n1", "a1")}, TABLE, r"obsm/umi has 4 columns and uns/names 2 names"),
        ({"umi": -np.ones((60, 4))}, TABLE, r"guide UMI counts are negative or not finite"),
        ({"umi": np.full((60, 4), 5.5)}, TABLE, r"no whole numbers: `min_umi` is a limit on raw counts"),
        ({"umi": np.full((60, 4), np.nan)}, TABLE, r"guide UMI counts are negative or not finite"),
        ({"umi": np.full((60, 4), 7)}, TABLE, r"every cell holds a perturbing guide. Raise `min_umi`"),
    ],
)
def test_guides_that_cannot_be_told_apart_are_refused(document, declare, with_guides, changes, table, message):
    document["cells"] = {"guides": {"matrix": "obsm/umi", "names": "uns/names", "table": "toy_guides"}}
    with pytest.raises(CellsError, match=message):
        prepare(declare(document), with_guides(**changes), guide_table=table)


@pytest.mark.parametrize(("key", "place", "there"), [("matrix", "obsm/seen", "umi"), ("names", "uns/seen", "names")])
def test_an_absent_place_of_guides_lists_what_there_is(document, declare, with_guides, key, place, there):
    guides = {"matrix": "obsm/umi", "names": "uns/names", "table": "toy_guides"}
    document["cells"] = {"guides": guides | {key: place}}
    with pytest.raises(CellsError, match=f"the file has no {place}; there are: {there}"):
        prepare(declare(document), with_guides(), guide_table=TABLE)


def guide_spec(**changes: Any) -> DatasetSpec:
    form = GuideTableFormat(
        guide="id", group="group", kind="kind", gene="gene", kinds={"tss": "target", "nt": "non_targeting"}
    )
    return DatasetSpec(
        id="toy_guides",
        title="toy",
        kind="guide_table",
        species="human",
        data_origin="simulated",
        licence="CC0",
        file=Path("datasets/toy_guides.yaml"),
        guide_table=replace(form, **changes),
    )


def written(tmp_path: Path, *rows: str) -> Path:
    path = tmp_path / "guides.tsv"
    path.write_text("".join(row.replace(" ", "\t") + "\n" for row in rows), encoding="utf-8")
    return path


def test_a_guide_table_is_translated(tmp_path):
    found = read_guide_table(guide_spec(), written(tmp_path, "id group kind gene", "x A tss NA", "y n nt "))
    assert found.to_dict("list") == {
        "guide": ["x", "y"],
        "group": ["A", "n"],
        "kind": ["target", "non_targeting"],
        "gene": ["NA", ""],
    }


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (("id group kind", "x A tss"), r"no column 'gene' \(key `guide_table.gene` of datasets/toy_guides.yaml\)"),
        (("id group kind gene", "x A tss A", "x B tss B"), "guide x is listed more than once"),
        (("id group kind gene", "x A promoter A"), "column 'kind' holds promoter; translate it under"),
        (("id group kind gene", "x A tss "), "guide x targets a gene and names none"),
    ],
)
def test_a_wrong_guide_table_is_named(tmp_path, rows, message):
    path = written(tmp_path, *rows)
    with pytest.raises(DataFileError, match=message) as caught:
        read_guide_table(guide_spec(), path)
    assert str(path) in str(caught.value)


def test_a_guide_table_must_be_one(tmp_path):
    with pytest.raises(DataFileError, match="is network, guide_table is needed"):
        read_guide_table(replace(guide_spec(), kind="network", guide_table=None), written(tmp_path, "id"))
    path = tmp_path / "guides.tsv.gz"
    path.write_bytes(b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff garbage")
    with pytest.raises(DataFileError, match="not a readable table"):
        read_guide_table(guide_spec(), path)

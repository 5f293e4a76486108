from __future__ import annotations

from pathlib import Path

import anndata
import numpy as np
import pytest
from scipy import sparse

from interp_assets.cells.dataset_records import UniverseRule
from interp_assets.cells.datasets import load_datasets
from interp_assets.cells.gene_names import GeneNames, read_gene_names, symbols_of
from interp_assets.cells.integrity import DataFileError
from interp_assets.cells.moments import grouped_moments, moments
from interp_assets.cells.prepare import (
    CONTROL,
    CellsError,
    cells_hash,
    normalised_log,
    prepare,
    rescored,
    sample_cells,
)
from interp_assets.cells.sources import SourceContext, locate
from interp_assets.cells.universe import choose_universe, seurat_dispersion


def counts_like(cells: int = 60, genes: int = 8, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.poisson(rng.uniform(0.2, 4.0, size=genes), size=(cells, genes))


def test_prepared_cells_hold_counts_log_control_and_universe(document, declare, cells_file):
    found = prepare(declare(document), cells_file())
    assert found.counts.shape == found.log.shape == (60, 8)
    assert (found.counts.dtype, found.log.dtype) == (np.int32, np.float32)
    assert found.control.sum() == 20
    assert set(found.obs["perturbation"]) == {CONTROL, "G1", "G2"}
    assert found.obs["cell_type"].tolist()[:2] == ["a", "b"]
    assert len(found.universe) == 5
    assert found.cells_hash == cells_hash([f"cell{i}" for i in range(20)])
    assert found.facts["gene_table"] == "not checked"


def test_the_log_matrix_is_log1p_of_counts_per_ten_thousand():
    counts = counts_like()
    log = normalised_log(sparse.csr_matrix(counts))
    expected = np.log1p(counts / counts.sum(axis=1, keepdims=True) * 1e4)
    np.testing.assert_allclose(log.toarray(), expected, rtol=1e-6)


def test_a_log_normalised_matrix_is_refused(document, declare, cells_file):
    log = np.log1p(counts_like() / 3.0)
    with pytest.raises(CellsError, match="raw integer counts are expected and this looks log-normalised") as caught:
        prepare(declare(document), cells_file(matrix=log, layer=counts_like()))
    assert "toy.h5ad" in str(caught.value)
    assert "`cells.counts` of toy.yaml" in str(caught.value)
    assert "layers: counts" in str(caught.value)


def test_counts_may_lie_in_a_layer(document, declare, cells_file):
    document["cells"]["counts"] = "layers/counts"
    counts = counts_like()
    found = prepare(declare(document), cells_file(matrix=np.log1p(counts), layer=counts))
    np.testing.assert_array_equal(found.counts.toarray(), counts)


@pytest.mark.parametrize(("bad", "message"), [(-1.0, "no counts"), (np.nan, "NaN or infinite"), (3e9, "exceeds")])
def test_values_that_are_no_counts_are_refused(document, declare, cells_file, bad, message):
    matrix = counts_like().astype(float)
    matrix[3, 3] = bad
    with pytest.raises(CellsError, match=message):
        prepare(declare(document), cells_file(matrix=matrix))


def test_a_missing_control_label_lists_the_labels(document, declare, cells_file):
    document["cells"]["control_label"] = "non-targeting"
    with pytest.raises(CellsError, match="no cell is labelled 'non-targeting'; labels: G1, G2, NT"):
        prepare(declare(document), cells_file())


def labelled(cells_file, guides: list[str]) -> Path:
    """The toy cells with other perturbations."""
    path = cells_file()
    data = anndata.read_h5ad(path)
    data.obs["guide"] = guides
    data.write_h5ad(path)
    return path


@pytest.mark.parametrize(
    ("guides", "message"),
    [
        (["NT"] + ["G1"] * 59, r"key `cells` of toy\.yaml\): 1 control cell of 60 cells"),
        (["NT"] * 30 + ["control"] * 30, r"`cells\.control_label` .* is 'NT', but 30 cells are labelled 'control'"),
        (["NT"] * 59 + [" "], r"`cells\.obs\.perturbation` .* column guide has missing or empty values"),
    ],
)
def test_perturbations_that_cannot_be_told_from_control_are_refused(document, declare, cells_file, guides, message):
    with pytest.raises(CellsError, match=message):
        prepare(declare(document), labelled(cells_file, guides))


def test_blanks_around_a_perturbation_are_no_part_of_its_name(document, declare, cells_file):
    found = prepare(declare(document), labelled(cells_file, ["NT "] * 30 + [" G1"] * 15 + ["G1"] * 15))
    assert found.obs["perturbation"].value_counts().to_dict() == {"control": 30, "G1": 30}


def test_a_missing_column_lists_the_columns(document, declare, cells_file):
    document["cells"]["obs"]["donor"] = ["donor", "patient"]
    with pytest.raises(CellsError, match=r"cells\.obs\.donor.*no column donor or patient; columns: guide, type"):
        prepare(declare(document), cells_file())


def test_unknown_gene_ids_are_refused_beyond_the_allowed_share(document, declare, cells_file):
    names = GeneNames(table="toy_table", symbols=frozenset({"G0", "G1"}), symbol_of={})
    document["cells"]["max_unknown_genes"] = 0.75
    assert prepare(declare(document), cells_file(), gene_names=names).facts["genes_unknown"] == 6
    document["cells"]["max_unknown_genes"] = 0.7
    with pytest.raises(CellsError, match=r"6 of 8 gene ids are unknown to toy_table \(such as G0, G1, G2\)"):
        prepare(declare(document), cells_file(), gene_names=names)


def test_ensembl_ids_become_symbols_and_repeated_ones_are_summed(document, declare, cells_file):
    document["cells"] |= {"gene_id": "ensembl", "gene_table": "gencode44_human"}
    ids = [f"ENSG{i}.{i}" for i in range(8)]
    names = GeneNames(
        table="t", symbols=frozenset("ABC"), symbol_of={"ENSG0": "A", "ENSG1": "B", "ENSG5": "A", "ENSG6": "C"}
    )
    counts = counts_like()
    found = prepare(declare(document), cells_file(genes=ids), gene_names=names)
    assert found.genes.tolist() == ["A", "B", "ENSG2", "ENSG3", "ENSG4", "C", "ENSG7"]
    assert (found.facts["genes_summed"], found.facts["genes_unknown"]) == (1, 4)
    rng_counts = prepare_counts(cells_file(genes=ids))
    np.testing.assert_array_equal(found.counts[:, 0].toarray().ravel(), rng_counts[:, 0] + rng_counts[:, 5])
    assert found.counts.sum() == rng_counts.sum()
    assert counts.shape == rng_counts.shape
    with pytest.raises(CellsError, match="cannot become symbols without the gene table"):
        prepare(declare(document), cells_file(genes=ids))


def prepare_counts(path: Path) -> np.ndarray:
    import anndata

    return anndata.read_h5ad(path).X.toarray().astype(int)


def test_an_empty_dataset_is_refused(document, declare, cells_file):
    import pandas as pd

    empty = pd.DataFrame({"guide": [], "type": []}, index=pd.Index([], dtype=str))
    with pytest.raises(CellsError, match="the matrix is empty, 0 cells x 8 genes"):
        prepare(declare(document), cells_file(matrix=np.zeros((0, 8)), obs=empty))
    document["cells"]["min_genes_per_cell"] = 9
    with pytest.raises(CellsError, match="nothing is left: 0 of 60 cells"):
        prepare(declare(document), cells_file())
    with pytest.raises(CellsError, match="nothing is left"):
        prepare(declare(document), cells_file(matrix=np.zeros((60, 8))))


def test_a_truncated_file_is_named(document, declare, cells_file):
    path = cells_file()
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(DataFileError, match="not a readable h5ad file"):
        prepare(declare(document), path)


def test_repeated_cell_names_are_refused(document, declare, cells_file):
    import pandas as pd

    obs = pd.DataFrame({"guide": "NT", "type": "a"}, index=["same"] * 60)
    with (
        pytest.warns(UserWarning, match="not unique"),
        pytest.raises(CellsError, match="cell names repeat"),
    ):
        prepare(declare(document), cells_file(obs=obs))


def test_what_quality_control_drops_is_counted(document, declare, cells_file):
    matrix = counts_like()
    matrix[5] = 0
    matrix[:, 2] = 0
    matrix[0, 2] = 1
    document["cells"]["min_cells_per_gene"] = 2
    found = prepare(declare(document), cells_file(matrix=matrix))
    assert found.counts.shape == (59, 7)
    assert found.facts["cells_dropped_few_genes"] == 1
    assert found.facts["genes_dropped_few_cells"] == 1
    assert "cell5" not in found.obs.index
    assert len(found.control) == 59


def test_the_control_sample_is_seeded_and_hashed_in_order(document, declare, cells_file):
    document["cells"] |= {"control_cells": 7, "control_seed": 3}
    path = cells_file()
    first, again = (prepare(declare(document), path) for _ in range(2))
    assert first.control.sum() == 7
    assert first.cells_hash == again.cells_hash == cells_hash(first.obs.index[first.control].tolist())
    assert (first.obs["perturbation"][first.control] == CONTROL).all()
    document["cells"]["control_seed"] = 4
    assert prepare(declare(document), path).cells_hash != first.cells_hash
    assert cells_hash(["a", "b"]) != cells_hash(["b", "a"])


def test_a_sample_of_all_is_all():
    candidates = np.array([True, False, True])
    for wanted in (0, 2, 9):
        np.testing.assert_array_equal(sample_cells(candidates, wanted, 0), candidates)


def test_forced_genes_are_scored_and_absent_ones_counted():
    counts = counts_like()
    counts[:, 1] = 0
    log = normalised_log(sparse.csr_matrix(counts))
    genes = np.array([f"G{i}" for i in range(8)])
    rule = UniverseRule(genes=4, method="log_variance")
    chosen, facts = choose_universe(log, genes, rule, forced=["G6", "G1", "nowhere"])
    variance = np.var(log.toarray(), axis=0, ddof=1)
    variance[[6, 1]] = -1
    expected = {"G6", *genes[np.argsort(-variance)[:3]]}
    assert set(chosen) == expected
    assert chosen.tolist() == [gene for gene in genes if gene in expected]
    assert (facts["forced_not_in_matrix"], facts["forced_rarely_detected"]) == (1, 1)


def test_a_panel_limits_what_is_forced():
    log = normalised_log(sparse.csr_matrix(counts_like()))
    genes = np.array([f"G{i}" for i in range(8)])
    rule = UniverseRule(genes=0, forced="panel", panel="p", panel_genes=("G5", "G2", "G7"))
    assert choose_universe(log, genes, rule)[0].tolist() == ["G2", "G5", "G7"]
    assert choose_universe(log, genes, rule, forced=["G7", "G0"])[0].tolist() == ["G7"]
    with pytest.raises(ValueError, match="no gene is left to score"):
        choose_universe(log, genes, rule, forced=["G0"])


def test_rescored_cells_keep_the_cells_and_change_the_genes(document, declare, cells_file):
    cells = prepare(declare(document), cells_file())
    other = rescored(cells, dataset="screen", rule=UniverseRule(genes=0, forced="screen"), forced=["G7", "G1"])
    assert (other.dataset, other.universe.tolist()) == ("screen", ["G1", "G7"])
    assert other.cells_hash == cells.cells_hash
    assert other.facts["cells_from"] == "toy"
    with pytest.raises(CellsError, match="dataset 'screen' on the cells of 'toy'"):
        rescored(cells, dataset="screen", rule=UniverseRule(genes=0, forced="screen"), forced=["X"])


def test_normalised_dispersion_equals_scanpy():
    import anndata
    import scanpy

    rng = np.random.default_rng(1)
    counts = rng.negative_binomial(2, 2 / (2 + rng.lognormal(0, 1.5, size=300)), size=(120, 300))
    counts[:, 0] = 0
    log = normalised_log(sparse.csr_matrix(counts))
    data = anndata.AnnData(log.astype(np.float64))
    scanpy.pp.highly_variable_genes(data, flavor="seurat", n_top_genes=50)
    ours = seurat_dispersion(log)
    np.testing.assert_allclose(ours, data.var["dispersions_norm"], rtol=1e-5)
    top = set(np.argsort(-np.nan_to_num(ours, nan=-np.inf))[:50].tolist())
    assert top == set(np.flatnonzero(data.var["highly_variable"]).tolist())


def test_moments_by_group_equal_plain_loops():
    counts = counts_like(50, 6, seed=2)
    log = normalised_log(sparse.csr_matrix(counts))
    group = np.random.default_rng(3).integers(-1, 3, size=50)
    mean, variance, cells = grouped_moments(log, group, 4)
    dense = log.toarray().astype(np.float64)
    for k in range(3):
        np.testing.assert_allclose(mean[k], dense[group == k].mean(axis=0), rtol=1e-12)
        np.testing.assert_allclose(variance[k], dense[group == k].var(axis=0, ddof=1), rtol=1e-9)
        assert cells[k] == (group == k).sum()
    assert cells[3] == 0
    assert np.isnan(mean[3]).all()
    assert np.isnan(variance[3]).all()
    np.testing.assert_allclose(moments(log)[1], dense.var(axis=0, ddof=1), rtol=1e-9)


def test_a_single_cell_has_no_variance():
    _, variance, _ = grouped_moments(sparse.csr_matrix([[1.0, 2.0]]), np.array([0]), 1)
    assert np.isnan(variance).all()


def test_gene_tables_of_both_layouts_keep_genes_called_na(tmp_path):
    (tmp_path / "a.csv").write_text("ENSG1,NA\nENSG2,\nENSG3,NAN\n", encoding="utf-8")
    (tmp_path / "b.tsv").write_text("id\tsymbol\tmore\nENSG1\tNA\t1\nENSG3\tNAN\t2\n", encoding="utf-8")
    for path in (tmp_path / "a.csv", tmp_path / "b.tsv"):
        names = read_gene_names(path, "t")
        assert names.symbols == {"NA", "NAN"}
        assert names.symbol_of == {"ENSG1": "NA", "ENSG3": "NAN"}
    assert symbols_of(["NA", "X"], "symbol", names)[1] == 1
    (tmp_path / "c.csv").write_text("ENSG2,\n", encoding="utf-8")
    with pytest.raises(DataFileError, match="holds no symbol"):
        read_gene_names(tmp_path / "c.csv", "t")


@pytest.mark.mirror
def test_pancreas_cells_are_the_same_with_and_without_the_mirror(data_wheels, data_mirror, tmp_path):
    specs = load_datasets()
    wheels_only = SourceContext(wheels=data_wheels, cache=tmp_path)
    mirror = SourceContext(wheels=tmp_path / "none", cache=tmp_path, mirror=data_mirror)
    found = []
    for context in (wheels_only, mirror):
        names = read_gene_names(locate(specs["gencode44_human"], context).path, "gencode44_human")
        path = locate(specs["baron_pancreas_human"], context).path
        found.append(prepare(specs["baron_pancreas_human"], path, gene_names=names))
    first, second = found
    assert first.facts == second.facts
    assert first.cells_hash == second.cells_hash
    assert first.obs.equals(second.obs)
    for ours, theirs in ((first.genes, second.genes), (first.universe, second.universe)):
        np.testing.assert_array_equal(ours, theirs)
    for ours, theirs in ((first.counts, second.counts), (first.log, second.log)):
        assert (ours.data.tobytes(), ours.indices.tobytes()) == (theirs.data.tobytes(), theirs.indices.tobytes())


def test_pancreas_cells_from_the_wheel(data_wheels, tmp_path):
    specs = load_datasets()
    context = SourceContext(wheels=data_wheels, cache=tmp_path)
    names = read_gene_names(locate(specs["gencode44_human"], context).path, "gencode44_human")
    spec = specs["baron_pancreas_human_sample"]
    found = prepare(spec, locate(spec, context).path, gene_names=names)
    assert (found.facts["cells_read"], found.facts["genes_read"]) == (2142, 20125)
    assert found.facts["genes_dropped_few_cells"] == 3712
    assert found.facts["genes_unknown"] == 1657
    assert found.control.sum() == 500
    assert (found.obs["donor"].nunique(), found.obs["cell_type"].nunique()) == (4, 14)

"""Edge tables in the exact layout each method writes, against rows worked out by hand; what is refused, and why."""

from __future__ import annotations

import gzip
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy.sparse import csc_matrix, csr_matrix

from interp_assets.models.edge_tables import files as edge_files
from interp_assets.models.edge_tables.formats import EdgeTableError, recognise, smaller_is_better
from interp_assets.models.edge_tables.reading import load_edge_table
from interp_assets.models.files.releases import read_release

NAN = float("nan")
# File name, content, then by hand: layout, pairs (source, target, score, sign), rows left out.
TEXT_LAYOUTS = {
    "GRNBoost2 command line, no header": (
        "network.tsv",
        "SPI1\tCD14\t53.0\nSPI1\tNA\t1.5e-3\nGATA1\tKLF1\t7\n",
        "GENIE3, GRNBoost2 or pySCENIC adjacencies",
        [("SPI1", "CD14", 53.0, NAN), ("SPI1", "NA", 0.0015, NAN), ("GATA1", "KLF1", 7.0, NAN)],
        {},
    ),
    "arboreto frame written with its index": (
        "network.csv",
        ",TF,target,importance\n17,SPI1,CD14,53.0\n4,GATA1,KLF1,7.25\n",
        "GENIE3, GRNBoost2 or pySCENIC adjacencies",
        [("SPI1", "CD14", 53.0, NAN), ("GATA1", "KLF1", 7.25, NAN)],
        {},
    ),
    "pySCENIC adjacencies with correlation": (
        "adjacencies.tsv",
        "TF\ttarget\timportance\tregulation\trho\nSPI1\tCD14\t53.0\t1\t0.31\nSPI1\tGATA1\t9.5\t-1\t-0.2\n"
        "GATA1\tKLF1\t2\t0\t0.01\n",
        "GENIE3, GRNBoost2 or pySCENIC adjacencies",
        [("SPI1", "CD14", 53.0, 1.0), ("SPI1", "GATA1", 9.5, -1.0), ("GATA1", "KLF1", 2.0, 0.0)],
        {},
    ),
    "GENIE3 link list of R, row names without a name": (
        "links.tsv",
        '"regulatoryGene"\t"targetGene"\t"weight"\n"1"\t"SPI1"\t"CD14"\t0.8\n"2"\t"GATA1"\t"KLF1"\t0.1\n',
        "GENIE3 link list",
        [("SPI1", "CD14", 0.8, NAN), ("GATA1", "KLF1", 0.1, NAN)],
        {},
    ),
    "SCENIC+ eRegulons: a row a region, the best row of a pair, signs that disagree": (
        "eRegulon_direct.tsv",
        "Region\tGene\timportance_R2G\trho_R2G\timportance_x_rho\timportance_x_abs_rho\tTF\tis_extended\teRegulon_name\t"
        "Gene_signature_name\tRegion_signature_name\timportance_TF2G\tregulation\trho_TF2G\ttriplet_rank\n"
        "chr1:1-500\tCD14\t0.1\t0.2\t0.02\t0.02\tSPI1\tFalse\tSPI1_direct_+/+\tg\tr\t4.0\t1\t0.4\t10\n"
        "chr1:900-1400\tCD14\t0.3\t0.1\t0.03\t0.03\tSPI1\tFalse\tSPI1_direct_+/+\tg\tr\t4.0\t1\t0.4\t2\n"
        "chr2:1-500\tKLF1\t0.3\t0.1\t0.03\t0.03\tGATA1\tFalse\tGATA1_direct_+/+\tg\tr\t1.5\t1\t0.2\t7\n"
        "chr2:1-500\tKLF1\t0.3\t0.1\t0.03\t0.03\tGATA1\tTrue\tGATA1_extended_-/+\tg\tr\t2.5\t-1\t-0.1\t9\n"
        "chr3:1-500\tSPI1\t0.3\t0.1\t0.03\t0.03\tSPI1\tFalse\tSPI1_direct_+/+\tg\tr\t9.0\t1\t0.9\t1\n",
        "SCENIC+ eRegulons",
        [("SPI1", "CD14", 4.0, 1.0), ("GATA1", "KLF1", 2.5, 0.0)],
        {"gene with itself": 1, "pair repeated, best kept": 2},
    ),
    "SCENIC+ before 1.0": (
        "eRegulon_metadata.csv",
        "Region,Gene,R2G_importance,R2G_rho,TF,TF2G_importance,TF2G_regulation,TF2G_rho\n"
        "chr1:1-500,CD14,0.1,0.2,SPI1,4.0,1,0.4\nchr2:1-500,KLF1,0.1,0.2,GATA1,3.0,-1,-0.4\n",
        "SCENIC+ eRegulons",
        [("SPI1", "CD14", 4.0, 1.0), ("GATA1", "KLF1", 3.0, -1.0)],
        {},
    ),
    "CollecTRI as decoupler gives it": (
        "collectri.csv",
        "source,target,weight,resources,references,sign_decision\nMYC,TERT,1.0,ExTRI;HTRI,10022128,PMID\n"
        'SPI1,BGLAP,-1.0,"ExTRI,TRRUST",10022617,PMID\n',
        "decoupler, CollecTRI or geneRNIB",
        [("MYC", "TERT", 1.0, 1.0), ("SPI1", "BGLAP", 1.0, -1.0)],
        {},
    ),
    "DoRothEA with mode of regulation": (
        "dorothea.tsv",
        "tf\tconfidence\ttarget\tmor\nADNP\tA\tATF7IP\t1\nADNP\tD\tDYRK1A\t-0.25\n",
        "decoupler or DoRothEA",
        [("ADNP", "ATF7IP", 1.0, 1.0), ("ADNP", "DYRK1A", 0.25, -1.0)],
        {},
    ),
    "CellOracle links": (
        "links.csv",
        ",source,target,coef_mean,coef_abs,p,-logp\n0,Klf6,Sox4,-0.02,0.02,1e-10,10.0\n1,Gata1,Klf1,0.5,0.5,0.2,0.7\n",
        "CellOracle links",
        [("Klf6", "Sox4", 0.02, -1.0), ("Gata1", "Klf1", 0.5, 1.0)],
        {},
    ),
    "OmniPath interactions: accessions beside symbols, undirected rows": (
        "omnipath.tsv",
        "source\ttarget\tsource_genesymbol\ttarget_genesymbol\tis_directed\tis_stimulation\tis_inhibition\t"
        "consensus_direction\tconsensus_stimulation\tconsensus_inhibition\tcuration_effort\n"
        "P17947\tP08571\tSPI1\tCD14\tTrue\tTrue\tFalse\tTrue\tTrue\tFalse\t7\n"
        "P15976\tQ13351\tGATA1\tKLF1\t1\t1\t1\t1\t0\t1\t3\n"
        "P15976\tP17947\tGATA1\tSPI1\tTrue\tTrue\tTrue\tTrue\tTrue\tTrue\t2\n"
        "P01106\tP61244\tMYC\tMAX\tFalse\tFalse\tFalse\tFalse\tFalse\tFalse\t90\n",
        "OmniPath interactions",
        [("SPI1", "CD14", 7.0, 1.0), ("GATA1", "KLF1", 3.0, -1.0), ("GATA1", "SPI1", 2.0, 0.0)],
        {"no direction stated": 1},
    ),
    "plain table with signs of its own": (
        "mine.csv",
        "source,target,score,sign\nA,B,-2,+\nB,C,1,\nC,A,3,-\n",
        "edge table",
        [("A", "B", -2.0, 1.0), ("B", "C", 1.0, NAN), ("C", "A", 3.0, -1.0)],
        {},
    ),
    "square matrix: rows are regulators, an empty entry has no score": (
        "grn.csv",
        ",A,B,C\nA,9,-0.5,0\nB,0.25,9,\nC,1,2,9\n",
        "matrix of genes by genes",
        [
            ("A", "B", 0.5, -1.0),
            ("A", "C", 0.0, 0.0),
            ("B", "A", 0.25, 1.0),
            ("C", "A", 1.0, 1.0),
            ("C", "B", 2.0, 1.0),
        ],
        {"no score in the matrix": 1, "gene with itself": 3},
    ),
    "regulators by genes, the way R writes a matrix": (
        "grn.tsv",
        "A\tB\tNA\tD\nA\t0\t1\t2\t3\nNA\t4\t5\t0\t6\n",
        "matrix of genes by genes",
        [
            ("A", "B", 1.0, 1.0),
            ("A", "NA", 2.0, 1.0),
            ("A", "D", 3.0, 1.0),
            ("NA", "A", 4.0, 1.0),
            ("NA", "B", 5.0, 1.0),
            ("NA", "D", 6.0, 1.0),
        ],
        {"gene with itself": 2},
    ),
}


def by_hand(pairs) -> pd.DataFrame:
    return pd.DataFrame(pairs, columns=["source", "target", "score", "sign"])


def same(table, pairs) -> None:
    pd.testing.assert_frame_equal(table.edges[["source", "target", "score", "sign"]], by_hand(pairs))


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gz"])
@pytest.mark.parametrize(("name", "text", "layout", "pairs", "left_out"), TEXT_LAYOUTS.values(), ids=TEXT_LAYOUTS)
def test_layouts_of_text_files(tmp_path, name, text, layout, pairs, left_out, packed):
    path = tmp_path / (f"{name}.gz" if packed else name)
    path.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    table = load_edge_table(path)
    same(table, pairs)
    told = table.facts["table"]
    assert (told["layout"], told["rows_left_out"], told["pairs"]) == (layout, left_out, len(pairs))
    assert told["rows_read"] == len(pairs) + sum(left_out.values())


@pytest.mark.parametrize("case", ["CellOracle links", "pySCENIC adjacencies with correlation"])
def test_the_same_table_as_parquet(tmp_path, case):
    name, text, layout, pairs, _ = TEXT_LAYOUTS[case]
    (tmp_path / name).write_text(text)
    frame = pd.read_csv(tmp_path / name, sep="\t" if name.endswith("tsv") else ",", index_col=None)
    frame.astype({"target": "category"}).to_parquet(tmp_path / "t.parquet")
    table = load_edge_table(tmp_path / "t.parquet")
    same(table, pairs)
    assert table.facts["table"]["layout"] == layout


def test_matrix_as_parquet_with_genes_as_index(tmp_path):
    frame = pd.DataFrame([[0.0, 1.0, 2.0], [3.0, np.nan, 5.0]], index=["A", "B"], columns=["A", "B", "C"])
    for number, given in enumerate((frame, frame.rename_axis("tf"), frame.rename_axis("gene").reset_index())):
        given.to_parquet(tmp_path / f"{number}.parquet")
        table = load_edge_table(tmp_path / f"{number}.parquet")
        same(table, [("A", "B", 1.0, 1.0), ("A", "C", 2.0, 1.0), ("B", "A", 3.0, 1.0), ("B", "C", 5.0, 1.0)])
        assert table.facts["table"]["rows_left_out"] == {"no score in the matrix": 1, "gene with itself": 1}


PREDICTION = [("SPI1", "CD14", "0.75"), ("SPI1", "NA", "-0.5"), ("GATA1", "KLF1", "1e-3"), ("KLF1", "KLF1", "9")]


@pytest.mark.parametrize("kind", ["texts", "numbers", "categories"])
def test_gene_rnib_prediction(tmp_path, kind):
    frame = pd.DataFrame(PREDICTION, columns=["source", "target", "weight"])
    if kind == "numbers":
        frame["weight"] = frame["weight"].astype(float)
    if kind == "categories":
        frame = frame.astype("category")
    AnnData(X=None, uns={"method_id": "m", "dataset_id": "op", "prediction": frame}).write_h5ad(tmp_path / "p.h5ad")
    table = load_edge_table(tmp_path / "p.h5ad")
    same(table, [("SPI1", "CD14", 0.75, 1.0), ("SPI1", "NA", 0.5, -1.0), ("GATA1", "KLF1", 0.001, 1.0)])
    told = table.facts["table"]
    assert (told["place"], told["rows_left_out"]) == ("uns/prediction", {"gene with itself": 1})
    assert told["score_rule"] == "size of weight"
    assert told["signs"] == {"+": 2, "-": 1, "none": 0}


@pytest.mark.parametrize("form", [np.asarray, csr_matrix, csc_matrix])
def test_matrix_in_h5ad(tmp_path, form):
    values = np.array([[5.0, 1.0, 0.0], [-2.0, 0.0, 4.0]])
    data = AnnData(form(values))
    data.obs_names, data.var_names = ["A", "B"], ["A", "B", "C"]
    data.write_h5ad(tmp_path / "m.h5ad")
    table = load_edge_table(tmp_path / "m.h5ad")
    same(table, [("A", "B", 1.0, 1.0), ("A", "C", 0.0, 0.0), ("B", "A", 2.0, -1.0), ("B", "C", 4.0, 1.0)])


def released(folder: Path, seal, name: str, text: str, **facts) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text)
    return seal(folder, family="edge_table", **facts)


NAMED = {"source": "regulator", "target": "gene", "score": "p_value"}
TABLE = "regulator,gene,p_value,beta,n\nA,B,0.01,-3,7\nB,C,0.5,2,9\nA,B,0.2,1,5\n"


def test_stated_columns_override_and_p_values_need_a_direction(tmp_path, seal_release):
    folder = tmp_path / "mine"
    facts = {"columns": {**NAMED, "sign": "beta", "cells": "n"}}
    with pytest.raises(EdgeTableError, match=r'p_value looks like .*"direction": "lower"') as error:
        load_edge_table(read_release(released(folder, seal_release, "t.csv", TABLE, **facts)))
    assert str(folder / "t.csv") in str(error.value)
    facts["table"] = {"direction": "lower"}
    with pytest.raises(EdgeTableError, match="2 rows repeat a pair, such as A -> B"):
        load_edge_table(read_release(released(folder, seal_release, "t.csv", TABLE, **facts)))
    facts["table"] = {"direction": "lower", "repeats": "max"}
    table = load_edge_table(read_release(released(folder, seal_release, "t.csv", TABLE, **facts)))
    same(table, [("A", "B", -0.01, 0.0), ("B", "C", -0.5, 1.0)])  # signs of A -> B disagree
    assert table.edges["cells"].tolist() == [7, 9]
    assert table.facts["table"]["score_rule"] == "minus p_value (smaller is better)"
    assert table.facts["table"]["rows_left_out"] == {"pair repeated, best kept": 1}


@pytest.mark.parametrize(
    ("columns", "table", "message"),
    [
        ({"source": "regulator", "target": "gene"}, {}, "does not name score"),
        ({**NAMED, "colour": "n"}, {}, "has no key colour"),
        ({**NAMED, "score": "absent"}, {}, r"names absent; found: regulator, gene, p_value, beta, n"),
        ({**NAMED, "score": "gene"}, {}, "one column twice"),
        ("regulator", {}, "must map source, target, score"),
        (NAMED, {"direction": "down"}, "`table.direction` is 'down'; use one of higher, lower"),
        (NAMED, {"colour": "red"}, "`table` has no key 'colour'"),
        (NAMED, {"place": "uns/x"}, "only h5ad files hold several tables"),
        (NAMED, [], "`table` must be an object"),
        ({**NAMED, "score": "beta"}, {"strength": "none"}, "as given, absolute"),
    ],
)
def test_what_a_release_states_is_checked(tmp_path, seal_release, columns, table, message):
    folder = released(tmp_path / "mine", seal_release, "t.csv", TABLE, columns=columns, table=table)
    with pytest.raises(EdgeTableError, match=message):
        load_edge_table(read_release(folder))


def test_matrix_with_more_rows_than_columns_says_which_side_regulates(tmp_path, seal_release):
    text = "gene,A,B\nA,0,1\nB,2,0\nC,3,4\n"
    folder = released(tmp_path / "mine", seal_release, "t.csv", text)
    with pytest.raises(EdgeTableError, match=r'3 rows and 2 columns.*"rows": "target"'):
        load_edge_table(read_release(folder))
    released(folder, seal_release, "t.csv", text, table={"rows": "target"})
    pairs = [("B", "A", 1.0, 1.0), ("A", "B", 2.0, 1.0), ("A", "C", 3.0, 1.0), ("B", "C", 4.0, 1.0)]
    same(load_edge_table(read_release(folder)), pairs)
    released(folder, seal_release, "t.csv", text, table={"rows": "source"})
    pairs = [(target, source, score, sign) for source, target, score, sign in pairs]
    same(load_edge_table(read_release(folder)), pairs)


def test_distances_written_as_negative_weights_are_not_turned_upside_down(tmp_path, seal_release):
    text = "source,target,weight\nA,B,-1\nB,C,-2\n"
    folder = released(tmp_path / "mine", seal_release, "t.csv", text)
    with pytest.raises(EdgeTableError, match=r'no value of weight is above zero.*"as given"'):
        load_edge_table(read_release(folder))
    released(folder, seal_release, "t.csv", text, table={"strength": "as given"})
    same(load_edge_table(read_release(folder)), [("A", "B", -1.0, NAN), ("B", "C", -2.0, NAN)])
    released(folder, seal_release, "t.csv", text, table={"strength": "absolute"})
    same(load_edge_table(read_release(folder)), [("A", "B", 1.0, -1.0), ("B", "C", 2.0, -1.0)])


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("t.csv", "source,target,weight,score\nA,B,1,2\n", r"fit several layouts: edge table .*found: source, target"),
        ("t.csv", "TF,target,importance,source,weight\nA,B,1,C,2\n", "fit several layouts"),
        ("t.csv", "source,target,Score,SCORE\nA,B,1,2\n", "Score, SCORE differ in case only"),
        ("t.csv", "source,target,score,score\nA,B,1,2\n", "column score stands there more than once"),
        ("t.csv", "source,target,p_value\nA,B,0.1\n", r"column score is missing .*Smaller is better in p_value"),
        ("t.csv", "source,target,score\nA,B,1\nA,C,1,2\n", "Expected 3 columns, got 4"),
        ("t.csv", "source,target,score\nA,B,1e39\n", "1 scores are not finite"),
        ("t.csv", "source,target,score\nA,A,1\nB,B,2\n", r"no pair is left of 2 rows \(2 gene with itself\)"),
        ("t.csv", "source,target,score,sign\nA,B,1,up\n", "sign 'up' in column sign, row 1"),
        ("t.csv", ",A,B\nA,1,2\nA,3,4\nB,1,1\n", "3 rows and 2 columns"),
        ("t.csv", ",A,B,C\nA,1,2,3\nA,3,4,5\nB,1,1,1\n", "row A stands in the matrix 2 times"),
        ("t.csv", ",A,B\nA,1,high\nB,1,1\n", "not a readable table"),
        ("t.csv", ",X,Y\nA,1,2\nB,1,1\n", "nor a matrix of genes by genes"),
        ("t.tsv", "source,target,score\nA,B,1\n", r"found: source,target,score\)"),
        ("t.csv", "version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
        ("t.h5ad", "no h5ad", "not a readable h5ad file"),
    ],
)
def test_refusals_list_what_was_found(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(EdgeTableError, match=message) as error:
        load_edge_table(tmp_path / name)
    assert str(tmp_path / name) in str(error.value)


def test_limits_hold_before_a_table_is_built(tmp_path, monkeypatch):
    frame = pd.DataFrame(np.ones((3, 3)), index=list("ABC"), columns=list("ABC"))
    frame.to_csv(tmp_path / "m.csv")
    frame.to_parquet(tmp_path / "m.parquet")
    AnnData(frame).write_h5ad(tmp_path / "m.h5ad")
    monkeypatch.setattr(edge_files, "ENTRY_LIMIT", 8)
    monkeypatch.setattr("interp_assets.models.edge_tables.h5ad.ENTRY_LIMIT", 8)
    for name in ("m.csv", "m.parquet", "m.h5ad"):
        with pytest.raises(EdgeTableError, match="9 entries of a matrix, limit 8"):
            load_edge_table(tmp_path / name)
    monkeypatch.setattr(edge_files, "ROW_LIMIT", 2)
    with pytest.raises(EdgeTableError, match="3 rows, limit 2"):
        load_edge_table(tmp_path / "m.parquet")
    with gzip.open(tmp_path / "t.csv.gz", "wt") as file:
        file.write("source,target,score\n" + "A,B,1\n" * 100_000)
    with pytest.raises(EdgeTableError, match="rows or more, limit 2"):
        load_edge_table(tmp_path / "t.csv.gz")


def crafted(path: Path, change) -> Path:
    """A geneRNIB file on which ``change`` was tried."""
    frame = pd.DataFrame(PREDICTION, columns=["source", "target", "weight"])
    AnnData(X=None, uns={"prediction": frame}).write_h5ad(path)
    with h5py.File(path, "r+") as file:
        change(file["uns/prediction"])
    return path


def replaced(name, make):
    def change(table):
        del table[name]
        make(table, name)

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            replaced("weight", lambda table, name: table.create_dataset(name, data=np.zeros(4, dtype="V8"))),
            "neither texts",
        ),
        (
            replaced("weight", lambda table, name: table.create_dataset(name, data=np.zeros(4, dtype="i4,f8"))),
            "neither texts nor numbers",
        ),
        (
            replaced("weight", lambda table, name: table.create_dataset(name, (4,), dtype=h5py.vlen_dtype(np.uint8))),
            "holds object objects",
        ),
        (replaced("weight", lambda table, name: table.create_dataset(name, data=np.zeros((4, 2)))), "no dataset of 1"),
        (replaced("weight", lambda table, name: table.create_dataset(name, data=np.zeros(3))), "differ in length"),
        (replaced("weight", lambda table, name: table.update({name: h5py.SoftLink("/uns")})), "is a link"),
        (replaced("weight", lambda table, name: table.update({name: h5py.ExternalLink("x.h5", "/a")})), "is a link"),
        (
            replaced(
                "weight",
                lambda table, name: table.create_dataset(name, (4,), dtype="f8", external=[("x.raw", 0, 32)]),
            ),
            "lies in another file",
        ),
        (replaced("weight", lambda table, name: table.create_group(name)), "not a column of texts or numbers"),
        (replaced("weight", lambda table, name: None), "is not in the file"),
    ],
)
def test_crafted_h5ad_is_refused(tmp_path, change, message):
    with pytest.raises(EdgeTableError, match=message):
        load_edge_table(crafted(tmp_path / "p.h5ad", change))


def test_another_place_of_an_h5ad_is_named(tmp_path, seal_release):
    folder = tmp_path / "mine"
    folder.mkdir()
    frame = pd.DataFrame([("A", "B", 2.0)], columns=["source", "target", "weight"])
    AnnData(X=None, uns={"links": frame, "method_id": "m"}).write_h5ad(folder / "p.h5ad")
    with pytest.raises(EdgeTableError, match=r'tables: uns/links. State the place: "table"'):
        load_edge_table(folder / "p.h5ad")
    release = read_release(seal_release(folder, family="edge_table", table={"place": "uns/links"}))
    same(load_edge_table(release), [("A", "B", 2.0, 1.0)])


def test_columns_are_compared_without_case_and_named_as_they_stand():
    layout = recognise(["Gene", "tf", "IMPORTANCE_tf2g"])
    assert (layout.source, layout.target, layout.score, layout.repeats) == ("tf", "Gene", "IMPORTANCE_tf2g", "max")
    assert recognise(["a", "b", "c"]) is None


@pytest.mark.parametrize(
    "name", ["p", "PValue", "p.value", "adj_p_val", "padj", "FDR", "q-value", "rank", "gene_distance"]
)
def test_smaller_is_better_by_name(name):
    assert smaller_is_better(name)


@pytest.mark.parametrize(
    "name", ["-logp", "neg_log10_pvalue", "importance", "weight", "score", "X.logp", "prob", "ranking_score"]
)
def test_larger_is_better_by_name(name):
    assert not smaller_is_better(name)


@pytest.mark.mirror
@pytest.mark.parametrize(("file", "score"), [("collectri_human.tsv.gz", "weight"), ("dorothea_human.parquet", "mor")])
def test_published_networks_lose_no_row(data_mirror, file, score):
    path = data_mirror / "networks" / file
    given = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path, sep="\t", keep_default_na=False)
    table = load_edge_table(path)
    source = "source" if "source" in given else "tf"
    other = given[given[source].astype(str) != given["target"].astype(str)]
    assert len(table.edges) == len(other)
    loops = len(given) - len(other)
    assert table.facts["table"]["rows_left_out"] == ({"gene with itself": loops} if loops else {})
    np.testing.assert_array_equal(table.edges["score"] * table.edges["sign"], other[score])
    assert table.edges["target"].tolist() == other["target"].tolist()

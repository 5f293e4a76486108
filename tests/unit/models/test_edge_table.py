"""Edge tables of users and other methods: what is read, what is refused, orientation."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from interp_assets.cells.records import Unavailable
from interp_assets.models.edge_tables.reading import EdgeTableError, edge_table_edges, load_edge_table, read_edge_table
from interp_assets.models.files.releases import read_release
from interp_assets.models.records import ReleaseCard
from interp_assets.models.sourcing import release_attention
from interp_assets.settings import AttentionSettings

UNIVERSE = np.array(["A", "B", "C", "NA"])


def frame(**changes) -> pd.DataFrame:
    base = {"source": ["A", "B", "NA", "Z"], "target": ["B", "A", "C", "A"], "score": [0.5, -1.0, 2.0, 9.0]}
    return pd.DataFrame({**base, **changes})


def write(path, table):
    if path.suffix == ".parquet":
        table.to_parquet(path)
    else:
        table.to_csv(path, sep="\t" if ".tsv" in path.name else ",", index=False)
    return path


@pytest.mark.parametrize("name", ["t.parquet", "t.csv", "t.tsv", "t.csv.gz", "t.tsv.gz"])
def test_rows_are_sources_in_every_format_and_gene_NA_stays_a_gene(tmp_path, name):  # noqa: N802
    table = load_edge_table(write(tmp_path / name, frame(cells=[7, 8, 9, 10])))
    edges = edge_table_edges(table, dataset="d", universe=UNIVERSE, cells_hash="h")
    assert (edges.layers, edges.heads, edges.release, edges.cells_hash) == (1, 1, "t", "h")
    matrix = edges.layer_matrix(0)
    expected = np.full((4, 4), np.nan)
    expected[0, 1], expected[1, 0], expected[3, 2] = 0.5, -1.0, 2.0
    np.testing.assert_array_equal(matrix.score, expected.astype(np.float32))
    assert matrix.cells_behind[0, 1] == 7
    assert matrix.cells_behind[2, 0] == 0
    assert edges.facts["unknown_gene_share"] == pytest.approx(1 / 5)
    assert edges.facts["missing_pair_share"] == pytest.approx(9 / 12)
    assert edges.facts["cells_stated"]
    with pytest.raises(ValueError, match="layer 1 does not exist"):
        edges.layer_matrix(1)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (frame().drop(columns="score"), r"column score is missing \(found: source, target\)"),
        (frame().rename(columns={"source": "tf"}), "column source is missing"),
        (frame().iloc[:0], "no rows"),
        (frame(score=[1.0, np.nan, 2.0, 3.0]), "1 scores are not finite numbers, first in row 2"),
        (frame(score=[1.0, 2.0, np.inf, 3.0]), "not finite"),
        (frame(score=["high", "1", "2", "3"]), "not finite"),
        (frame(source=["A", "A", "A", "Z"], target=["B", "B", "C", "A"]), "2 rows repeat a pair, such as A -> B"),
        (frame(source=["A", " ", "C", "Z"]), "1 rows have no source, first in row 2"),
        (frame(cells=[1, 0, 2, 3]), "`cells` must hold whole numbers"),
        (frame(cells=[1, 1.5, 2, 3]), "`cells` must hold whole numbers"),
    ],
)
@pytest.mark.parametrize("name", ["t.parquet", "t.csv"])
def test_tables_that_cannot_be_judged_name_the_file_and_the_rule(tmp_path, name, table, message):
    path = write(tmp_path / name, table)
    with pytest.raises(EdgeTableError, match=message) as error:
        load_edge_table(path)
    assert str(path) in str(error.value)


def test_files_that_are_no_tables(tmp_path):
    for name, content in (("t.parquet", b"no parquet"), ("t.csv", b"")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(EdgeTableError, match="not a readable table"):
            load_edge_table(tmp_path / name)
    with pytest.raises(EdgeTableError, match="no such file"):
        load_edge_table(tmp_path / "absent.csv")
    with pytest.raises(EdgeTableError, match="unknown kind"):
        load_edge_table(tmp_path / "t.xlsx")


def test_another_name_space_is_refused(tmp_path):
    ids = frame(source=["ENSG1", "ENSG2", "ENSG3", "A"], target=["ENSG4", "ENSG5", "ENSG6", "B"])
    table = load_edge_table(write(tmp_path / "t.csv", ids))
    with pytest.raises(EdgeTableError, match=r"75% of its 8 genes are not measured in dataset d \(such as ENSG1"):
        edge_table_edges(table, dataset="d", universe=UNIVERSE)
    measured = np.array([*UNIVERSE, "ENSG1", "ENSG2", "ENSG3"])
    assert edge_table_edges(table, dataset="d", universe=UNIVERSE, measured=measured).genes.tolist() == ["A", "B"]
    with pytest.raises(EdgeTableError, match="1 of 1 scored genes"):
        edge_table_edges(table, dataset="d", universe=UNIVERSE[:1], measured=measured)


def test_a_table_of_other_genes_has_no_edges_on_a_dataset_and_says_why(tmp_path, toy_cells, seal_release):
    folder = tmp_path / "mine"
    folder.mkdir()
    write(folder / "edges.csv", frame())
    seal_release(folder, family="edge_table", cells_hash="own")
    card = ReleaseCard(name="mine", kind="release", family="edge_table", folder=str(folder))
    found = release_attention(card, toy_cells, tmp_path / "kept", AttentionSettings())
    assert isinstance(found, Unavailable)
    assert "genes are not measured in dataset" in found.reason


def test_release_folder_with_its_own_cells_hash(tmp_path, seal_release):
    folder = tmp_path / "control-coexpression"
    folder.mkdir()
    write(folder / "edges.parquet", frame())
    seal_release(folder, family="edge_table", kind="negative_control", cells_hash="own")
    release = read_release(folder)
    assert release.kind == "negative_control"
    edges = edge_table_edges(load_edge_table(release), dataset="d", universe=UNIVERSE, cells_hash="other")
    assert (edges.release, edges.cells_hash) == ("control-coexpression", "own")
    assert not edges.facts["cells_stated"]
    assert edges.layer_matrix(0).cells_behind.max() == 1
    write(folder / "more.csv", frame())
    seal_release(folder, family="edge_table")
    with pytest.raises(ValueError, match="with 2 tables"):
        load_edge_table(read_release(folder))


def test_table_is_read_over_the_cells_of_a_dataset(tmp_path, make_cells):
    cells = make_cells(np.ones((2, 5)), ["A", "B", "C", "NA", "Z"], universe=UNIVERSE)
    edges = read_edge_table(write(tmp_path / "t.csv", frame()), cells)
    assert (edges.dataset, edges.cells_hash, edges.genes.tolist()) == ("toy", "", UNIVERSE.tolist())
    assert edges.facts["unknown_gene_share"] == 0
    assert not edges.facts["cells_hash_stated"]

"""Edge tables from scVI: distances, the folder, refusals, and a training where the library is installed."""

from __future__ import annotations

import importlib.util
import json

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from interp_assets.models.edge_tables import scvi as scvi_edges
from interp_assets.models.edge_tables.reading import load_edge_table, read_edge_table
from interp_assets.models.edge_tables.scvi import (
    GeneVectors,
    ScviError,
    ScviSettings,
    batch_size,
    edge_frame,
    main,
    make_release,
    minus_distances,
    train,
    training_counts,
    write_scvi_release,
)
from interp_assets.models.files.releases import read_release
from interp_assets.settings import Folders

GENES = [f"G{number}" for number in range(12)]


@pytest.fixture
def cells(make_cells):
    """60 control cells of 70, one of them empty; two groups of genes that rise together, one gene without counts."""
    rng = np.random.default_rng(3)
    state = rng.random((70, 1))
    rates = np.where(np.arange(12) < 6, 8 * state, 8 * (1 - state))
    counts = rng.poisson(rates)
    counts[:, 4] = 0
    counts[11] = 0
    return make_cells(counts, GENES, universe=[*GENES[1:], GENES[0]][:11], control=np.arange(70) < 60)


def folders(tmp_path) -> Folders:
    return Folders(store=tmp_path / "store", releases=tmp_path, wheels=tmp_path, config=None)


def test_scores_are_minus_euclidean_distances_and_have_no_direction():
    vectors = np.random.default_rng(0).normal(size=(7, 5))
    score = minus_distances(vectors)
    by_loop = [[-np.sqrt(sum((a - b) ** 2 for a, b in zip(x, y, strict=True))) for y in vectors] for x in vectors]
    np.testing.assert_allclose(score, by_loop, atol=1e-12)
    np.testing.assert_allclose(score, -cdist(vectors, vectors, "euclidean"), atol=1e-12)
    np.testing.assert_array_equal(score, score.T)
    assert (minus_distances(np.array([[0.0, 0.0], [3.0, 4.0]])) == [[0, -5], [-5, 0]]).all()


def test_every_ordered_pair_of_different_genes_is_listed_once():
    score = minus_distances(np.array([[0.0], [1.0], [5.0]]))
    frame = edge_frame(np.array(["A", "B", "NA"]), score, 40)
    listed = {(row.source, row.target): row.score for row in frame.itertuples()}
    expected = {("A", "B"): -1, ("A", "NA"): -5, ("B", "NA"): -4}
    assert listed == expected | {(target, source): value for (source, target), value in expected.items()}
    assert set(frame["cells"]) == {40}


@pytest.mark.parametrize("cells", range(30, 700, 7))
def test_no_batch_is_left_with_one_or_two_cells(cells):
    size = batch_size(cells)
    assert 120 <= size <= 128
    assert cells % size == 0 or cells % size >= 3


def test_trained_on_control_cells_and_scored_genes_that_hold_counts(cells, make_cells):
    given = training_counts(cells)
    assert given.counts.shape == (59, 10)  # 60 control cells but one, 11 scored genes but one
    assert given.genes.tolist() == [gene for gene in cells.universe if gene != "G4"]
    assert (given.cells_without_counts, given.genes_without_counts) == (1, ("G4",))
    kept = [number for number in range(60) if number != 11]
    by_hand = cells.counts.toarray()[kept][:, [GENES.index(gene) for gene in given.genes]]
    np.testing.assert_array_equal(given.counts.toarray(), by_hand)
    few = make_cells(np.ones((29, 3)), ["A", "B", "C"])
    with pytest.raises(ScviError, match="29 control cells and 3 scored genes hold counts; scVI needs 30 cells"):
        training_counts(few)


def test_the_folder_is_an_edge_table_release_of_the_control_cells(tmp_path, cells):
    given = training_counts(cells)
    vectors = np.random.default_rng(1).normal(size=(10, 4))
    found = GeneVectors(vectors=vectors, facts={"epochs_run": 3, "held_out_loss_last": 1.5})
    out = tmp_path / "scvi-toy"
    release = write_scvi_release(out, cells, given, found, ScviSettings(seed=5), "CC0")
    first = (out / "release.json").read_bytes(), (out / "edges.parquet").read_bytes()
    assert (release.name, release.family, release.gap) == ("scvi-toy", "edge_table", None)
    assert release.trained_on == ("toy", cells.cells_hash)
    manifest = json.loads(first[0])
    assert manifest["symmetric"] is True
    assert "px_scale_decoder" in manifest["rule"]
    told = manifest["training"]
    assert (told["seed"], told["epochs_run"], told["held_out_loss_last"]) == (5, 3, 1.5)
    assert told["genes_without_counts"] == ["G4"]
    edges = read_edge_table(read_release(out), cells)
    assert edges.cells_hash == cells.cells_hash
    assert edges.genes.tolist() == given.genes.tolist()
    matrix = edges.layer_matrix(0)
    expected = -cdist(vectors, vectors)
    np.fill_diagonal(expected, np.nan)
    np.testing.assert_allclose(matrix.score, expected, rtol=1e-6)
    assert load_edge_table(release).facts["table"]["score_rule"] == "score"
    write_scvi_release(out, cells, given, found, ScviSettings(seed=5), "CC0")
    assert first == ((out / "release.json").read_bytes(), (out / "edges.parquet").read_bytes())
    assert [path.name for path in tmp_path.iterdir()] == ["scvi-toy"]


def test_without_the_library_one_line_says_what_to_install(tmp_path, monkeypatch, capsys, cells):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "scvi" else found(name, *rest))
    assert main(["--dataset", "planted_tiny", "--out", str(tmp_path / "scvi-x")]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "pip install '.[scvi]'" in told
    with pytest.raises(ScviError, match=r"pip install '\.\[scvi\]'"):
        train(training_counts(cells), ScviSettings())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("dataset", "out", "message"),
    [
        ("planted_tiny", "there", "exists already"),
        ("planted_tiny", "a name", "cannot be the name of a release"),
        ("no_such", "new", "unknown dataset 'no_such'"),
        ("baron_pancreas_human", "new", "dataset baron_pancreas_human: "),
    ],
)
def test_what_cannot_be_made_is_refused_before_training(tmp_path, monkeypatch, dataset, out, message):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    for variable in ("INTERP_DATA_MIRROR", "INTERP_DATA_WHEELS"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("INTERP_OFFLINE", "1")
    (tmp_path / "there").mkdir()
    with pytest.raises(ValueError, match=message):
        make_release(dataset, tmp_path / out, ScviSettings(), folders(tmp_path))
    assert not (tmp_path / "new").exists()


trains = pytest.mark.skipif(
    importlib.util.find_spec("scvi") is None, reason="scvi-tools is not installed (pip install '.[scvi]')"
)


@trains
@pytest.mark.parametrize(("rule", "length"), [("decoder", 128), ("loadings", 10)])
def test_training_gives_a_vector_a_gene_and_repeats(cells, rule, length):
    given = training_counts(cells)
    settings = ScviSettings(rule=rule, epochs=12, seed=4)
    first, again = train(given, settings), train(given, settings)
    assert first.vectors.shape == (10, length)
    np.testing.assert_array_equal(first.vectors, again.vectors)
    assert first.facts == again.facts
    assert first.facts["epochs_run"] == 12
    assert first.facts["held_out_loss_last"] < first.facts["held_out_loss_first"]
    other = train(given, ScviSettings(rule=rule, epochs=12, seed=5))
    assert not np.array_equal(first.vectors, other.vectors)


@trains
def test_genes_that_rise_together_come_closer(cells):
    """The planted groups of genes, found again: the one thing that only a model that learned can show."""
    given = training_counts(cells)
    found = train(given, ScviSettings(rule="loadings", epochs=200, seed=0))
    group = np.array([int(gene[1:]) < 6 for gene in given.genes])
    score = minus_distances(found.vectors)
    together = group[:, None] == group
    off = ~np.eye(len(group), dtype=bool)
    assert score[together & off].mean() > score[~together].mean()
    assert scvi_edges.batch_size(found.facts["cells_trained_on"]) == found.facts["batch_size"]

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from interp_assets.cells.planted import plant
from interp_assets.cells.planted_labels import screen_labels
from interp_assets.edges.records import AttentionEdges, EdgeMatrix
from interp_assets.models.controls.catalogue import (
    CONTROLS,
    base_release,
    coexpression_edge_table,
    coexpression_release,
    control,
    is_control,
    planted_control_release,
    random_weights_release,
    shuffled,
)
from interp_assets.models.controls.planted_transformer import build_planted_release
from interp_assets.models.edge_tables.reading import read_edge_table
from interp_assets.models.files.releases import read_release

GENES = np.array(["a", "b", "c", "d", "e"])


def matrix(layer: int = 0) -> EdgeMatrix:
    rng = np.random.default_rng(layer)
    score = rng.random((5, 5)).astype(np.float32)
    score[0, 3] = np.nan
    cells = np.full((5, 5), 7, dtype=np.int32)
    cells[0, 3] = 0
    return EdgeMatrix(name="m", genes=GENES, score=score, cells_behind=cells, cells_hash="h", layer=layer)


def edges() -> AttentionEdges:
    return AttentionEdges(
        release="small", dataset="toy", genes=GENES, layers=2, heads=1, cells_hash="h", layer_matrix=matrix
    )


@pytest.mark.parametrize(
    ("name", "entry", "base"),
    [
        ("control-planted", "control-planted", "control-planted"),
        ("control-coexpression", "control-coexpression", "control-coexpression"),
        ("small-2k.shuffled", "shuffled", "small-2k"),
        ("small.v1.random-weights", "random-weights", "small.v1"),
        ("small-2k", None, "small-2k"),
        (".shuffled", None, ".shuffled"),
        ("my-control-planted", None, "my-control-planted"),
    ],
)
def test_names_of_controls(name, entry, base):
    found = control(name)
    assert (found.name if found else None) == entry
    assert is_control(name) == (entry is not None)
    assert base_release(name) == base


def test_catalogue_names_round_trip_and_only_the_planted_one_must_pass():
    for entry in CONTROLS:
        assert control(entry.of("some-release")) is entry
        assert entry.expected == ("supported" if entry.kind == "positive" else "refuted")
    assert [entry.name for entry in CONTROLS if entry.kind == "positive"] == ["control-planted"]


def test_shuffled_twin_permutes_targets_once_for_all_layers():
    twin = shuffled(edges(), seed=3)
    assert twin.release == "small.shuffled"
    assert twin.cells_hash == "h"
    orders = []
    for layer in range(2):
        original, mixed = matrix(layer), twin.layer_matrix(layer)
        assert mixed.name == "small.shuffled"
        np.testing.assert_array_equal(np.sort(mixed.score, axis=1), np.sort(original.score, axis=1))
        order = [int(np.flatnonzero(original.score[1] == value)[0]) for value in mixed.score[1]]
        np.testing.assert_array_equal(mixed.score, original.score[:, order])
        np.testing.assert_array_equal(mixed.cells_behind, original.cells_behind[:, order])
        orders.append(order)
    assert orders[0] == orders[1]
    assert sorted(orders[0]) == list(range(5))
    assert orders[0] != list(range(5))
    again = shuffled(edges(), seed=3).layer_matrix(0).score
    np.testing.assert_array_equal(again, twin.layer_matrix(0).score)


def test_coexpression_table_has_every_scored_ordered_pair_once():
    given = matrix()
    table = coexpression_edge_table(given)
    assert list(table.columns) == ["source", "target", "score", "cells"]
    assert len(table) == 5 * 4 - 1
    assert (table["source"] != table["target"]).all()
    assert not table.duplicated(["source", "target"]).any()
    row = table[(table["source"] == "b") & (table["target"] == "e")].iloc[0]
    assert row["score"] == given.score[1, 4]
    assert not ((table["source"] == "a") & (table["target"] == "d")).any()
    negative = EdgeMatrix(
        name="m", genes=GENES, score=-given.score, cells_behind=given.cells_behind, cells_hash="h", layer=None
    )
    pd.testing.assert_frame_equal(coexpression_edge_table(negative), table)


def test_coexpression_release_reads_back_through_the_edge_table_adapter(base, tmp_path):
    genes = base.universe[:20]
    rng = np.random.default_rng(0)
    score = rng.random((20, 20)).astype(np.float32)
    correlation = EdgeMatrix(
        name="correlation",
        genes=genes,
        score=score,
        cells_behind=np.full((20, 20), 5, dtype=np.int32),
        cells_hash=base.cells_hash,
    )
    release = coexpression_release(tmp_path / "release", correlation)
    assert release.name == "control-coexpression"
    assert release.kind == "negative_control"
    found = read_edge_table(release, base)
    assert found.cells_hash == base.cells_hash
    at = pd.Index(found.genes).get_indexer(genes)
    back = found.layer_matrix(0).score[np.ix_(at, at)]
    off = ~np.eye(20, dtype=bool)
    np.testing.assert_allclose(back[off], score[off], rtol=1e-6)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    folder = tmp_path_factory.mktemp("small") / "tiny-model"
    rng = np.random.default_rng(0)
    genes = [f"g{i}" for i in range(12)]
    build_planted_release(folder, genes=genes, regulators=genes[:4], score=rng.random((4, 12)), max_length=16)
    return read_release(folder)


def tensors(folder: Path) -> dict[str, np.ndarray]:
    from safetensors.numpy import load_file

    return load_file(folder / "model.safetensors")


def test_random_weights_keep_shape_tokeniser_and_spread_but_no_value(small, tmp_path):
    twin = random_weights_release(small, tmp_path / "release", seed=1)
    assert twin.name == "tiny-model.random-weights"
    assert twin.kind == "negative_control"
    assert twin.facts["base_release_id"] == small.release_id
    old, new = tensors(small.folder), tensors(twin.folder)
    assert {name: value.shape for name, value in old.items()} == {name: value.shape for name, value in new.items()}
    name = "bert.encoder.layer.5.attention.self.query.weight"
    assert new[name].std() == pytest.approx(old[name].std(), rel=0.05)
    assert abs(np.corrcoef(new[name].ravel(), old[name].ravel())[0, 1]) < 0.05
    norm = "bert.encoder.layer.0.output.LayerNorm"
    assert (new[f"{norm}.weight"] == 1).all()
    assert (new[f"{norm}.bias"] == 0).all()
    for file in ("config.json", "token_dictionary.json", "gene_median_dictionary.json"):
        assert (twin.folder / file).read_bytes() == (small.folder / file).read_bytes()


def test_random_weights_follow_the_seed_and_the_asked_spread(small, tmp_path):
    ids = [
        random_weights_release(small, tmp_path / str(number), seed=seed).release_id
        for number, seed in enumerate((1, 1, 2))
    ]
    assert ids[0] == ids[1] != ids[2]
    plain = random_weights_release(small, tmp_path / "config", seed=1, spread="config")
    name = "bert.encoder.layer.0.attention.self.query.weight"
    assert tensors(plain.folder)[name].std() == pytest.approx(0.02, rel=0.05)
    with pytest.raises(ValueError, match="spread"):
        random_weights_release(small, tmp_path / "x", seed=1, spread="none")  # type: ignore[arg-type]


def test_planted_control_of_a_planted_screen_carries_its_network(base, pairs, params, tmp_path):
    labels = screen_labels(base, plant(base, pairs, params()))
    release = planted_control_release(tmp_path / "release", base, labels, {}, seed=0)
    assert release.name == "control-planted"
    assert release.facts["regulators"] == len(labels.perturbations)
    embedding = tensors(release.folder)["bert.embeddings.word_embeddings.weight"]
    score = np.abs(embedding[4:, : len(labels.perturbations)]).T
    edge = labels.planted_weight != 0
    assert score[edge].mean() > 3 * score[~edge].mean()
    again = planted_control_release(tmp_path / "again", base, labels, {}, seed=0)
    assert again.release_id == release.release_id

"""Models whose attention is no number, is constant, or says nothing: refused by name, or a tie that clears nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from interp_assets.cells.records import PreparedCells
from interp_assets.edges.records import AttentionEdges
from interp_assets.models.attention.extraction import (
    AttentionMassError,
    AttentionNotFiniteError,
    ExtractionSettings,
    extract_attention,
)
from interp_assets.models.files.releases import read_release
from interp_assets.stats.ranking import auroc, fill_missing
from tests.unit.models.conftest import prepared_cells, save_bert, seal

GENES = [f"G{number}" for number in range(16)]
HIDDEN, HEADS = 32, 4
Change = Callable[[dict[str, Any]], None]
RULES = ("softmax_mean", "double_rank")


def weight(layer: int, part: str) -> str:
    return f"bert.encoder.layer.{layer}.attention.self.{part}"


def release(folder: Path, change: Change):
    """A tiny model of Geneformer's layout whose weights were changed before its files were listed."""
    folder.mkdir(parents=True)
    tokens = {name: number for number, name in enumerate(("<pad>", "<mask>", "<cls>", "<eos>", *GENES))}
    (folder / "token_dictionary.json").write_text(json.dumps(tokens))
    medians = {gene: 1.0 + number / 100 for number, gene in enumerate(GENES)}
    (folder / "gene_median_dictionary.json").write_text(json.dumps(medians))
    save_bert(folder, len(tokens), 4.0, 0)
    state = load_file(folder / "model.safetensors")
    change(state)
    save_file(state, folder / "model.safetensors")
    return read_release(seal(folder))


def in_head(layer: int, head: int, value: float) -> Change:
    """One value for all query weights of one head."""

    def change(state: dict[str, Any]) -> None:
        own = HIDDEN // HEADS
        state[weight(layer, "query.weight")][head * own : (head + 1) * own] = value

    return change


def in_gene(gene: str, value: float) -> Change:
    """One value for the embedding of one gene: only cells that hold it are touched."""

    def change(state: dict[str, Any]) -> None:
        state["bert.embeddings.word_embeddings.weight"][4 + GENES.index(gene)] = value

    return change


def scaled(factor: float) -> Change:
    """All queries and keys multiplied."""

    def change(state: dict[str, Any]) -> None:
        for layer in range(2):
            for part in ("query.weight", "key.weight"):
                state[weight(layer, part)] *= factor

    return change


def without_queries(state: dict[str, Any]) -> None:
    """Every query is zero: each position attends to all others alike."""
    for layer in range(2):
        for part in ("query.weight", "query.bias"):
            state[weight(layer, part)][:] = 0.0


def one_query(state: dict[str, Any]) -> None:
    """Every position asks the same: all rows of a layer are equal."""
    for layer in range(2):
        state[weight(layer, "query.weight")][:] = 0.0
        state[weight(layer, "query.bias")][:] = 2.0


@pytest.fixture(scope="module")
def some_cells() -> PreparedCells:
    """12 cells of different depth; G0 is only in the deep ones, which are never the shortest of a batch."""
    rng = np.random.default_rng(3)
    counts = rng.poisson(3.0, (12, len(GENES))) * (rng.random((12, len(GENES))) < np.linspace(0.3, 1.0, 12)[:, None])
    counts[:, 1:4] += 1
    counts[:, 0] = np.arange(12) > 8
    return prepared_cells(counts, GENES)


@pytest.fixture(scope="module")
def full_cells() -> PreparedCells:
    """10 cells that hold every gene: no pair is held by more cells than another."""
    return prepared_cells(np.random.default_rng(4).poisson(3.0, (10, len(GENES))) + 1, GENES)


NOT_FINITE = {
    "NaN queries of one head": (in_head(1, 2, np.nan), "layer 1, head 2: attention is NaN or infinite"),
    "infinite queries of one head": (in_head(0, 3, np.inf), "layer 0, head 3: attention is NaN or infinite"),
    "a NaN gene": (in_gene("G0", np.nan), "layer 0, head 0, 1, 2, 3: attention is NaN or infinite in 3 of 12 cells"),
    "an infinite gene": (in_gene("G0", np.inf), "layer 0, head 0, 1, 2, 3: attention is NaN or infinite in 3 of 12"),
    "logits beyond the largest number": (scaled(1e25), "layer 0, head 0, 1, 2, 3: attention is NaN or infinite"),
}


@pytest.mark.parametrize("what", NOT_FINITE)
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("form", ["logsumexp", "softmax"])
def test_attention_that_is_no_number_is_refused_by_name(what, rule, form, some_cells, tmp_path, tally) -> None:
    """Regression: ranks of NaN scores were taken for scores wherever the shortest cell of a batch had none."""
    change, said = NOT_FINITE[what]
    broken = release(tmp_path / "broken", change)
    settings = ExtractionSettings(device="cpu", form=form, edge_rule=rule, heads="all")
    told = set()
    for _ in range(2):
        with pytest.raises(AttentionNotFiniteError) as caught:
            extract_attention(broken, some_cells, tmp_path / "out", settings)
        told.add(str(caught.value))
        assert not (tmp_path / "out" / "manifest.json").exists()
    (message,) = told
    assert message.startswith("release broken, dataset toy: ")
    assert said in message
    assert "Look for NaN or infinite values among the weights" in message
    tally("fault", "a model whose attention is NaN or infinite", "refused", 2)


def attention(change: Change, cells: PreparedCells, folder: Path, rule: str = "softmax_mean") -> AttentionEdges:
    made = release(folder / "made", change)
    return extract_attention(made, cells, folder / "out", ExtractionSettings(device="cpu", edge_rule=rule))


def recoveries(score: np.ndarray, draws: int) -> list[float]:
    """AUROC of each regulator for random targets, as analyses take it: missing pairs last, no self pairs."""
    filled, _ = fill_missing(score)
    rng = np.random.default_rng(0)
    found: list[float] = []
    for _ in range(draws):
        label = (rng.random(filled.shape) < 0.3).astype(np.int8)
        np.fill_diagonal(label, -1)
        label[:, 1:3] = np.where(label[:, 1:3] < 0, -1, [1, 0])  # both labels in every row
        found += auroc(filled, label).tolist()
    return found


@pytest.mark.parametrize("rule", RULES)
def test_equal_attention_is_a_tie(rule, full_cells, tmp_path, tally, soak) -> None:
    edges = attention(without_queries, full_cells, tmp_path, rule)
    for layer in range(2):
        score = edges.layer_matrix(layer).score
        assert np.ptp(score) == 0.0
        if rule == "softmax_mean":
            assert score[0, 0] == pytest.approx(1 / (len(GENES) + 2), rel=1e-6)  # two special tokens
        assert set(recoveries(score, 3 * soak)) == {0.5}
    tally("fault", "a model that attends to everything alike", times=2)


def test_equal_attention_is_the_mean_share_of_a_position(some_cells, tmp_path, tally) -> None:
    edges = attention(without_queries, some_cells, tmp_path)
    held = some_cells.counts.toarray() > 0
    share = 1.0 / (held.sum(axis=1) + 2)
    both = held[:, :, None] & held[:, None, :]
    cells = both.sum(axis=0)
    expected = np.where(cells > 0, (both * share[:, None, None]).sum(axis=0) / np.maximum(cells, 1), np.nan)
    np.testing.assert_allclose(edges.layer_matrix(1).score, expected, rtol=1e-5)
    tally("fault", "a model that attends to everything alike")


def test_rows_that_are_all_equal_rank_targets_and_no_regulator(full_cells, tmp_path, tally) -> None:
    edges = attention(one_query, full_cells, tmp_path)
    for layer in range(2):
        score = edges.layer_matrix(layer).score
        np.testing.assert_allclose(score, np.broadcast_to(score[:1], score.shape), rtol=1e-5)
        assert np.ptp(score[0]) > 0
    tally("fault", "a layer whose rows are all equal", times=2)


def test_attention_that_reaches_no_scored_gene_is_told(full_cells, tmp_path, tally) -> None:
    """All of it on the start token: the scored genes have none, so that nothing could be ranked."""

    def to_the_start(state: dict[str, Any]) -> None:
        for layer in range(2):
            for part in ("query.weight", "key.weight"):
                state[weight(layer, part)][:] = 0.0
            state[weight(layer, "query.bias")][:] = 1.0
            state[weight(layer, "key.bias")][:] = 0.0
        # the start token alone has the first coordinate, which keys read
        embedding = state["bert.embeddings.word_embeddings.weight"]
        embedding[:, 0] = 0.0
        embedding[2, 0] = 1e4
        state[weight(0, "key.weight")][:, 0] = 1e4
        state[weight(1, "key.weight")][:, 0] = 1e4

    made = release(tmp_path / "made", to_the_start)
    for form in ("logsumexp", "softmax"):
        settings = ExtractionSettings(device="cpu", form=form)
        said = "release made, dataset toy: layer 0: attention reaches no scored gene"
        with pytest.raises(AttentionMassError, match=said):
            extract_attention(made, full_cells, tmp_path / form, settings)
        tally("fault", "a model that attends to no scored gene", "refused")

"""Causal language models: attention by gene against eager transformers in float64 and naive loops over tokens."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import spearmanr

from interp_assets.evaluation_tables import model_table, reading_table
from interp_assets.models.adapter import load_model
from interp_assets.models.attention.extraction import ExtractionSettings, extract_attention
from interp_assets.models.attention.plan import pair_counts, score_cells
from interp_assets.models.attention.pooling import both_orders, order_sums, possible_counts
from interp_assets.models.attention.store import head_matrix
from interp_assets.models.files.releases import read_release
from interp_assets.models.records import ReleaseCard
from interp_assets.report.model import model_view
from tests.unit.models import causal_folders as folders

CARD = {"name": "maxtoki", "kind": "release", "family": "maxtoki"}
GENES = [*folders.NAMES, "two words"]


@pytest.fixture
def cells(make_cells):
    """11 cells of different depth over 20 genes and a name that cannot be written, 13 scored; one is no control."""
    rng = np.random.default_rng(8)
    depth = np.linspace(0.1, 0.95, 11)[:, None]
    counts = rng.poisson(4.0, (11, 21)) * (rng.random((11, 21)) < depth)
    counts[2] = 0
    universe = [str(name) for name in rng.permutation(folders.NAMES)[:13]]
    counts[:, GENES.index(universe[4])] = 0
    counts[1, GENES.index(universe[4])] = 3  # seen in one cell, so that some pairs never stand together
    return make_cells(counts, GENES, universe, control=np.arange(11) != 7)


def sentences(folder: Path, cells, prompt: str, most: int):
    """Tokens and owners of each control cell, every name tokenised on its own with the space before it."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    assert prompt.endswith(" ")
    found = []
    for cell in np.flatnonzero(cells.control):
        row = np.asarray(cells.counts[cell].todense()).ravel()
        listed = sorted((-row[at], at) for at, name in enumerate(cells.genes) if row[at] > 0 and " " not in name)
        tokens = list(tokenizer.encode(prompt[:-1] if listed else prompt).ids)
        owners: list[str | None] = [None] * len(tokens)
        for _, at in listed:
            ids = tokenizer.encode(f" {cells.genes[at]}").ids
            if len(tokens) + len(ids) > most:
                break
            tokens += ids
            owners += [str(cells.genes[at])] * len(ids)
        found.append((tokens, owners))
    return found


def ranked(folder: Path, cells, most: int):
    """Tokens and owners of each control cell by count over median, start and end tokens around them."""
    tokens = json.loads((folder / "token_dictionary.json").read_text())
    medians = json.loads((folder / "gene_median_dictionary.json").read_text())
    found = []
    for cell in np.flatnonzero(cells.control):
        row = np.asarray(cells.counts[cell].todense()).ravel()
        listed = [
            (-row[at] / medians[name], tokens[name], name)
            for at, name in enumerate(cells.genes)
            if row[at] > 0 and name in tokens
        ]
        genes = [name for *_, name in sorted(listed)][: most - 2]
        found.append(
            ([tokens["<cls>"], *(tokens[name] for name in genes), tokens["<eos>"]], [None, *map(str, genes), None])
        )
    return found


def c2s(tmp_path, seal, **asked):
    return folders.write_c2s(tmp_path / "releases" / "c2s", seal, **asked)


def maxtoki(tmp_path, seal, **asked):
    return folders.write_maxtoki(tmp_path / "releases" / "maxtoki", seal, **asked)


def case(family, tmp_path, seal, cells, **asked):
    """Release folder and naive sequences of a family."""
    if family == "c2s":
        folder = c2s(tmp_path, seal, **asked)
        return folder, sentences(folder, cells, folders.PROMPT, 64)
    folder = maxtoki(tmp_path, seal, **({"max_position_embeddings": 16} | asked))
    return folder, ranked(folder, cells, 16)


def means_of(sums, possible, both):
    """Pooled scores (L x G x G) of naive sums, NaN where no cell holds both."""
    total, counts = both_orders(sums), both_orders(possible)
    np.testing.assert_array_equal(counts, both)
    return np.where(both > 0, total / np.maximum(both, 1), np.nan)


@pytest.mark.parametrize("form", ["logsumexp", "softmax"])
@pytest.mark.parametrize("family", ["c2s", "maxtoki"])
def test_edges_equal_eager_attention_with_padding_prompt_truncation_and_genes_of_several_tokens(
    family, form, seal_release, cells, tmp_path
):
    folder, sequences = case(family, tmp_path, seal_release, cells)
    sums, possible, both = folders.naive_edges(folder, sequences, cells.universe)
    settings = ExtractionSettings(device="cpu", form=form, heads="all", batch_tokens=200)
    edges = extract_attention(read_release(folder), cells, tmp_path / "out", settings)
    found = np.stack([np.load(tmp_path / "out" / f"layer-{layer}-heads.npy") for layer in range(2)])
    assert np.abs(sums).max() > 0.5
    np.testing.assert_allclose(found, sums, rtol=3e-6, atol=2e-6)
    np.testing.assert_array_equal(np.load(tmp_path / "out" / "counts.npy"), possible)
    assert not np.array_equal(possible, possible.T)
    assert not found[:, :, possible == 0].any()
    scores = means_of(sums, possible, both)
    assert (both == 0).any()
    for layer in range(2):
        np.testing.assert_allclose(edges.layer_matrix(layer).score, scores[layer].mean(0), rtol=3e-6, atol=2e-6)
        single = head_matrix(tmp_path / "out", layer, 2).score
        np.testing.assert_allclose(single, scores[layer, 2], rtol=3e-6, atol=2e-6)
        np.testing.assert_array_equal(edges.layer_matrix(layer).cells_behind, both)
    assert edges.facts["direction"] == "causal"
    assert edges.facts["symmetric"] is True
    off = both[~np.eye(len(both), dtype=bool)]
    assert edges.facts["missing_pair_share"] == pytest.approx((off == 0).mean())


@pytest.mark.parametrize("family", ["c2s", "maxtoki"])
def test_sequences_of_the_cells_have_what_the_exactness_test_needs(family, seal_release, cells, tmp_path):
    folder, sequences = case(family, tmp_path, seal_release, cells)
    encoded = load_model(read_release(folder)).encode(cells.counts[np.flatnonzero(cells.control)], cells.genes)
    column = {name: at for at, name in enumerate(cells.genes)}
    for cell, (tokens, owners) in enumerate(sequences):
        span = slice(int(encoded.offsets[cell]), int(encoded.offsets[cell + 1]))
        assert encoded.tokens[span].tolist() == list(tokens)
        assert encoded.column[span].tolist() == [-1 if owner is None else column[owner] for owner in owners]
    expressed = np.diff(cells.counts[np.flatnonzero(cells.control)][:, :20].tocsr().indptr)
    shown = [len({owner for owner in owners if owner}) for _, owners in sequences]
    np.testing.assert_array_equal(encoded.left_out, expressed - np.array(shown))
    assert encoded.left_out.max() > 0
    assert encoded.left_out.min() == 0
    several = [owners.count(owner) for _, owners in sequences for owner in set(owners) - {None}]
    assert len(set(several)) == 1 if family == "maxtoki" else {1, 2, 3} <= set(several)


@pytest.mark.parametrize("form", ["logsumexp", "softmax"])
@pytest.mark.parametrize("family", ["c2s", "maxtoki"])
def test_head_mean_only_equals_mean_of_heads(family, form, seal_release, cells, tmp_path):
    folder, _ = case(family, tmp_path, seal_release, cells)
    scores = []
    for heads in ("all", "mean"):
        settings = ExtractionSettings(device="cpu", heads=heads, form=form)
        edges = extract_attention(read_release(folder), cells, tmp_path / heads, settings)
        scores.append(np.stack([edges.layer_matrix(layer).score for layer in range(2)]))
    np.testing.assert_allclose(scores[0], scores[1], rtol=3e-6)


@pytest.mark.parametrize("family", ["c2s", "maxtoki"])
def test_mass_on_tokens_of_no_gene_is_that_of_eager_attention(family, seal_release, cells, tmp_path):
    import torch

    folder, sequences = case(family, tmp_path, seal_release, cells)
    model = folders.load_reference(folder)
    scored = set(cells.universe.tolist())
    rows: list[np.ndarray] = []
    for tokens, owners in sequences:
        with torch.no_grad():
            found = model(torch.tensor([tokens]), output_attentions=True, use_cache=False).attentions
        other = np.array([owner is None for owner in owners])
        own = [at for at, owner in enumerate(owners) if owner in scored]
        rows += [np.stack([layer[0].mean(0).numpy()[at][other].sum() for layer in found]) for at in own]
    edges = extract_attention(read_release(folder), cells, tmp_path / "out", ExtractionSettings(device="cpu"))
    np.testing.assert_allclose(edges.facts["mass"]["no_gene"], np.mean(rows, axis=0), atol=1e-5)
    assert min(edges.facts["mass"]["no_gene"]) > 0.02


def test_possible_counts_and_order_sums_equal_loops(seal_release, cells, tmp_path):
    folder, sequences = case("c2s", tmp_path, seal_release, cells)
    columns = np.array([GENES.index(name) for name in cells.universe])
    encoded = load_model(read_release(folder)).encode(cells.counts[np.flatnonzero(cells.control)], cells.genes)
    scored = score_cells(encoded, columns)
    size = len(columns)
    possible, order = np.zeros((size, size), dtype=int), np.zeros((size, size))
    for _, owners in sequences:
        for i, query in enumerate(cells.universe):
            for j, key in enumerate(cells.universe):
                mine = [at for at, owner in enumerate(owners) if owner == query]
                other = [at for at, owner in enumerate(owners) if owner == key]
                possible[i, j] += bool(mine and other) and other[0] <= mine[-1]
                order[i, j] += sum(1 / (at + 1) for at in mine for seen in other if seen <= at) / max(1, len(mine))
    np.testing.assert_array_equal(possible_counts(scored), possible)
    np.testing.assert_allclose(order_sums(scored), order, rtol=1e-6)
    np.testing.assert_array_equal(both_orders(possible), pair_counts(scored))
    assert scored.held == int(np.trace(possible))


def test_a_model_that_looks_evenly_at_all_it_sees_is_its_own_order_control(seal_release, cells, tmp_path):
    """Without queries and keys every softmax is 1/(i + 1): order is all there is, and the control says so."""
    folder, _ = case("maxtoki", tmp_path, seal_release, cells, peak=0.0)
    edges = extract_attention(read_release(folder), cells, tmp_path / "even", ExtractionSettings(device="cpu"))
    control = edges.facts["order_control"]
    assert control["spearman"] == [pytest.approx(1.0, abs=1e-3)] * 2
    folder, _ = case("c2s", tmp_path, seal_release, cells, peak=12.0)
    edges = extract_attention(read_release(folder), cells, tmp_path / "peaked", ExtractionSettings(device="cpu"))
    model = load_model(read_release(folder))
    encoded = model.encode(cells.counts[np.flatnonzero(cells.control)], cells.genes)
    scored = score_cells(encoded, np.array([GENES.index(name) for name in edges.genes]))
    counts = pair_counts(scored)
    pair = np.triu(counts > 0, 1)
    alone = both_orders(order_sums(scored))[pair] / counts[pair]
    expected = [spearmanr(edges.layer_matrix(layer).score[pair], alone).statistic for layer in range(2)]
    assert edges.facts["order_control"]["spearman"] == pytest.approx(expected, abs=2e-3)
    assert edges.facts["order_control"]["pairs"] == int(pair.sum())
    assert 0.5 <= edges.facts["order_control"]["possible_share"] < 1


def test_another_prompt_is_another_extraction(seal_release, cells, tmp_path):
    """The prompt stands in the manifest and not in a file: it changes the scores, and so it has to change the key."""
    first = read_release(c2s(tmp_path / "one", seal_release))
    other = read_release(c2s(tmp_path / "two", seal_release, prompt="Cells: "))
    assert first.release_id == other.release_id
    settings = ExtractionSettings(device="cpu")
    one = extract_attention(first, cells, tmp_path / "out", settings)
    scores = one.layer_matrix(1).score.copy()
    assert one.facts["model"]["facts"]["prompt"] == folders.PROMPT
    two = extract_attention(other, cells, tmp_path / "out", settings)
    assert two.facts["model"]["facts"]["prompt"] == "Cells: "
    assert np.nanmax(np.abs(two.layer_matrix(1).score - scores)) > 1e-3


def test_order_control_stands_in_the_table_behind_the_report(seal_release, cells, tmp_path):
    folder, _ = case("maxtoki", tmp_path, seal_release, cells)
    edges = extract_attention(read_release(folder), cells, tmp_path / "out", ExtractionSettings(device="cpu"))
    roles = {"primary_screen": SimpleNamespace(dataset="toy", attention=edges)}
    row = reading_table(roles).iloc[0]
    assert row["order_spearman"] == pytest.approx(np.mean(edges.facts["order_control"]["spearman"]), abs=1e-3)
    assert row["mass_no_gene"] == pytest.approx(np.mean(edges.facts["mass"]["no_gene"]), abs=1e-3)
    view = model_view({"model_facts": model_table(ReleaseCard(**CARD), roles), "model_reading": reading_table(roles)})
    assert view is not None
    assert view.reading is not None
    shown = dict(view.reading.rows)
    assert float(shown["rank correlation of its scores with token order alone"]) == pytest.approx(
        row["order_spearman"], abs=1e-3
    )

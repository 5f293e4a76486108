"""Extraction equals eager ``output_attentions``, cell by cell, with every trap switched on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

from interp_assets.models.attention.extraction import ExtractionSettings, extract_attention
from interp_assets.models.attention.store import head_matrix, open_attention
from interp_assets.models.families.geneformer import GeneformerModel, load_geneformer
from interp_assets.models.files.releases import read_release


def eager_sums(folder: Path, cells, double: bool):
    """Naive sums and counts: one unpadded cell at a time, eager attention, Python loops over pairs."""
    import torch
    from transformers import BertConfig, BertModel

    config = json.loads((folder / "config.json").read_text())
    tokens = json.loads((folder / "token_dictionary.json").read_text())
    medians = json.loads((folder / "gene_median_dictionary.json").read_text())
    bert = BertModel(BertConfig(**config, attn_implementation="eager"), add_pooling_layer=False).eval()
    state = {k.removeprefix("bert."): v for k, v in load_file(folder / "model.safetensors").items()}
    bert.load_state_dict(state, strict=False)
    bert = bert.double() if double else bert
    universe = [gene for gene in cells.universe if gene in tokens]
    number = {gene: index for index, gene in enumerate(universe)}
    layers, heads = config["num_hidden_layers"], config["num_attention_heads"]
    sums = np.zeros((layers, heads, len(universe), len(universe)))
    counts = np.zeros((len(universe), len(universe)), dtype=int)
    wrapped = "<cls>" in tokens
    for cell in np.flatnonzero(cells.control):
        row = np.asarray(cells.counts[cell].todense()).ravel()
        listed = [
            (-row[column] / medians[gene], tokens[gene], gene)
            for column, gene in enumerate(cells.genes)
            if row[column] > 0 and gene in tokens
        ]
        ranked = [gene for *_, gene in sorted(listed)][: config["max_position_embeddings"] - 2 * wrapped]
        sequence = ["<cls>", *ranked, "<eos>"] if wrapped else ranked
        if not sequence:
            continue
        with torch.no_grad():
            out = bert(torch.tensor([[tokens[gene] for gene in sequence]]), output_attentions=True)
        assert len(out.attentions) == layers
        for i, query in enumerate(sequence):
            for j, key in enumerate(sequence):
                if query in number and key in number:
                    counts[number[query], number[key]] += 1
                    for layer in range(layers):
                        weights = out.attentions[layer][0, :, i, j].numpy()
                        sums[layer, :, number[query], number[key]] += weights
    return sums, counts, universe


def extracted(release, cells, folder, **settings):
    extract_attention(release, cells, folder, ExtractionSettings(device="cpu", **settings))
    return np.stack([np.load(path) for path in sorted(folder.glob("layer-*-heads.npy"))])


@pytest.mark.parametrize("form", ["logsumexp", "softmax"])
@pytest.mark.parametrize("peak", [1.0, 12.0])
def test_sums_equal_eager_attention_with_padding_specials_truncation_and_unlisted_genes(
    write_release, toy_cells, tmp_path, form, peak
):
    folder = write_release(peak=peak)
    single, counts, universe = eager_sums(folder, toy_cells, double=False)
    double, _, _ = eager_sums(folder, toy_cells, double=True)
    out = tmp_path / "out"
    sums = extracted(read_release(folder), toy_cells, out, form=form, heads="all", batch_tokens=120)
    tolerance = max(1e-6, 4 * np.abs(single - double).max())
    assert np.abs(sums - double).max() <= tolerance
    assert np.array_equal(np.load(out / "counts.npy"), counts)
    edges = open_attention(out, verify=True)
    assert edges.genes.tolist() == universe
    assert edges.facts["cells_used"] == 11  # two of 13 control cells hold no scored gene
    assert edges.facts["kept_mass"][0] < 1
    for layer in range(2):
        matrix = edges.layer_matrix(layer)
        expected = np.where(counts > 0, double[layer].mean(0) / np.maximum(counts, 1), np.nan)
        np.testing.assert_allclose(matrix.score, expected, atol=2e-6)
        assert np.isnan(matrix.score[counts == 0]).all()
        head = head_matrix(out, layer, 3)
        expected = np.where(counts > 0, double[layer, 3] / np.maximum(counts, 1), np.nan)
        np.testing.assert_allclose(head.score, expected, atol=2e-6)


def test_truncation_padding_and_missing_pairs_occur_in_the_toy_cells(write_release, toy_cells):
    # otherwise the exactness tests above would say less than they claim
    model = load_geneformer(read_release(write_release()))
    encoded = model.encode(toy_cells.counts[np.flatnonzero(toy_cells.control)], toy_cells.genes)
    assert encoded.lengths.max() == 24
    assert (encoded.lengths == 24).sum() >= 2
    assert encoded.lengths.min() == 2
    assert np.unique(encoded.lengths).size > 5


@pytest.mark.parametrize("form", ["logsumexp", "softmax"])
def test_head_mean_only_equals_mean_of_heads(write_release, toy_cells, tmp_path, form):
    release = read_release(write_release(peak=4.0))
    for heads in ("all", "mean"):
        settings = ExtractionSettings(device="cpu", heads=heads, form=form)
        extract_attention(release, toy_cells, tmp_path / heads, settings)
    every, mean = open_attention(tmp_path / "all"), open_attention(tmp_path / "mean")
    for layer in range(2):
        np.testing.assert_allclose(
            every.layer_matrix(layer).score, mean.layer_matrix(layer).score, rtol=2e-6, equal_nan=True
        )
    with pytest.raises(ValueError, match="memory budget"):
        head_matrix(tmp_path / "mean", 0, 0)


def test_release_without_start_and_end_tokens(write_release, toy_cells, tmp_path):
    folder = write_release(specials=("<pad>", "<mask>"))
    double, _, _ = eager_sums(folder, toy_cells, double=True)
    sums = extracted(read_release(folder), toy_cells, tmp_path / "out", heads="all")
    assert np.abs(sums - double).max() <= 1e-6


def test_large_batches_and_many_genes_run_through_every_row_block(write_release, make_cells, tmp_path):
    rng = np.random.default_rng(0)
    genes = [f"G{number}" for number in range(150)]
    cells = make_cells(rng.poisson(0.8, (9, 150)), genes)
    folder = write_release(genes=genes, peak=6.0, max_position_embeddings=96)
    single, _, _ = eager_sums(folder, cells, double=False)
    double, _, _ = eager_sums(folder, cells, double=True)
    sums = extracted(read_release(folder), cells, tmp_path / "out", heads="all", batch_tokens=300)
    assert np.abs(sums - double).max() <= max(1e-6, 4 * np.abs(single - double).max())


def test_rows_are_queries_and_columns_keys(write_release, make_cells, tmp_path):
    """Three genes by hand: the weight of G0 -> G1 is softmax of q(G0).k(G1), found in row 0, column 1."""
    folder = write_release(
        genes=("G0", "G1", "G2"),
        specials=("<pad>", "<mask>"),
        medians={"G0": 1.0, "G1": 1.0, "G2": 1.0},
        peak=8.0,
        hidden_size=8,
        num_attention_heads=1,
        num_hidden_layers=1,
    )
    cells = make_cells(np.array([[1, 3, 2]]), ["G0", "G1", "G2"])
    weights = {k: v.double().numpy() for k, v in load_file(folder / "model.safetensors").items()}
    order = [1, 2, 0]  # by falling count
    emb = "bert.embeddings."
    x = (
        weights[emb + "word_embeddings.weight"][[2 + gene for gene in order]]
        + weights[emb + "position_embeddings.weight"][:3]
        + weights[emb + "token_type_embeddings.weight"][0]
    )
    x = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-12)
    x = x * weights[emb + "LayerNorm.weight"] + weights[emb + "LayerNorm.bias"]
    own = "bert.encoder.layer.0.attention.self."
    query = x @ weights[own + "query.weight"].T + weights[own + "query.bias"]
    key = x @ weights[own + "key.weight"].T + weights[own + "key.bias"]
    score = np.exp(query @ key.T / np.sqrt(8))
    score /= score.sum(1, keepdims=True)
    expected = np.empty((3, 3))
    expected[np.ix_(order, order)] = score
    edges = extract_attention(
        read_release(folder), cells, tmp_path / "out", ExtractionSettings(device="cpu", heads="all")
    )
    found = edges.layer_matrix(0).score
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert np.abs(found - found.T).max() > 0.01


def test_padding_is_not_attended_although_an_unregistered_mask_would_be_dropped_silently(write_release, toy_cells):
    """Regression: without a mask function of the same name transformers passes None, and padding is attended."""
    import torch
    from transformers import AttentionInterface

    from interp_assets.models.attention import kernel
    from interp_assets.models.attention.extraction import AttentionMassError, check_mass
    from interp_assets.models.attention.plan import plan_batches, score_cells, token_batch

    model = load_geneformer(read_release(write_release()))
    encoded = model.encode(toy_cells.counts, toy_cells.genes)
    cells = score_cells(encoded, np.arange(10))
    batch = token_batch(cells, plan_batches(cells, 200, 99).batches[0])
    assert batch.padded
    model.attend(batch, lambda layer, found: check_mass(found, batch, layer, 1e-5), form="logsumexp")
    model.attend(batch, lambda layer, found: check_mass(found, batch, layer, 1e-5), form="softmax")

    AttentionInterface.register("no_mask_for_this_one", kernel._logsumexp_attention)
    model.encoder.set_attn_implementation("no_mask_for_this_one")
    valid = torch.arange(batch.tokens.shape[1])[None, :] < torch.from_numpy(batch.lengths)[:, None]
    with (
        torch.inference_mode(),
        pytest.raises(AttentionMassError, match="mask"),
        kernel.streaming(lambda layer, found: check_mass(found, batch, layer, 1e-3)),
    ):
        model.encoder(input_ids=torch.from_numpy(batch.tokens), attention_mask=valid)


def test_streaming_leaves_the_hidden_states_as_eager_gives_them(write_release, toy_cells):
    import torch

    model: GeneformerModel = load_geneformer(read_release(write_release(peak=4.0)))
    tokens = torch.tensor([[2, 7, 9, 12, 3], [2, 30, 3, 0, 0]])
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    states = {}
    for name in ("eager", "interp_logsumexp", "interp_softmax"):
        model.encoder.set_attn_implementation(name)
        with torch.inference_mode():
            states[name] = model.encoder(input_ids=tokens, attention_mask=mask).last_hidden_state[mask.bool()]
    for name in ("interp_logsumexp", "interp_softmax"):
        torch.testing.assert_close(states[name], states["eager"], atol=2e-6, rtol=1e-5)


def test_bfloat16_is_a_recorded_approximation(write_release, toy_cells, tmp_path):
    release = read_release(write_release(peak=4.0))
    exact = extract_attention(release, toy_cells, tmp_path / "fp32", ExtractionSettings(device="cpu"))
    rough = extract_attention(release, toy_cells, tmp_path / "bf16", ExtractionSettings(device="cpu", dtype="bfloat16"))
    assert (exact.facts["dtype"], rough.facts["dtype"]) == ("float32", "bfloat16")
    known = ~np.isnan(exact.layer_matrix(1).score)
    one, other = exact.layer_matrix(1).score[known], rough.layer_matrix(1).score[known]
    assert np.corrcoef(one, other)[0, 1] > 0.99
    assert 0 < np.abs(one - other).max() < 0.05


def test_genes_sharing_a_key_are_summed_and_only_the_first_is_evaluable(write_release, toy_cells, make_cells, tmp_path):
    counts = np.asarray(toy_cells.counts.todense())
    release = read_release(write_release())
    doubled = np.hstack([counts, counts[:, :1] * 2])
    genes = [*toy_cells.genes, toy_cells.genes[0]]
    universe = list(toy_cells.genes[:20])
    with pytest.raises(ValueError, match="share a dictionary key"):
        extract_attention(
            release, make_cells(doubled, genes, universe), tmp_path / "no", ExtractionSettings(device="cpu")
        )
    once = counts.copy()
    once[:, 0] *= 3
    settings = ExtractionSettings(device="cpu", duplicates="sum")
    summed = extract_attention(release, make_cells(doubled, genes, universe), tmp_path / "sum", settings)
    single = extract_attention(release, make_cells(once, toy_cells.genes, universe), tmp_path / "one", settings)
    assert np.array_equal(summed.genes, single.genes)
    np.testing.assert_array_equal(summed.layer_matrix(1).score, single.layer_matrix(1).score)

"""Facts of an extraction: genes lost, truncation, and where the attention of scored genes goes."""

from __future__ import annotations

import json

import numpy as np
import pytest

from interp_assets.models.adapter import EncodedCells, LayerAttention, TokenBatch
from interp_assets.models.attention.extraction import ExtractionSettings, extract_attention
from interp_assets.models.attention.facts import MASS_PARTS, attention_mass, coverage, reading_facts, sampled_cells
from interp_assets.models.families.geneformer import load_geneformer
from interp_assets.models.files.releases import read_release

SPECIALS = {"V1": ("<pad>", "<mask>"), "V2": ("<pad>", "<mask>", "<cls>", "<eos>")}


def eager_shares(model, encoded, columns):
    """The same shares from transformers' own attention, every cell, position by position."""
    import torch

    encoder = model.encoder
    encoder.set_attn_implementation("eager")
    layers = encoder.config.num_hidden_layers
    total, rows, cells = np.zeros((layers, 3)), 0, 0
    for cell in range(encoded.offsets.size - 1):
        span = slice(encoded.offsets[cell], encoded.offsets[cell + 1])
        column = encoded.column[span]
        if not np.isin(column, columns).any():
            continue
        cells += 1
        tokens = torch.from_numpy(encoded.tokens[span].astype(np.int64))[None]
        with torch.inference_mode():
            weights = encoder(input_ids=tokens, output_attentions=True).attentions
        for place, gene in enumerate(column):
            if gene not in columns:
                continue
            rows += 1
            for layer in range(layers):
                for key, other in enumerate(column):
                    part = 2 if other < 0 else 0 if other in columns else 1
                    total[layer, part] += float(weights[layer][0, :, place, key].mean())
    return total / rows, rows, cells


@pytest.mark.parametrize("version", ["V1", "V2"])
@pytest.mark.parametrize("form", ["logsumexp", "softmax"])
def test_shares_are_those_of_eager_attention(write_release, toy_cells, version, form):
    model = load_geneformer(read_release(write_release(specials=SPECIALS[version], peak=3.0)))
    encoded = model.encode(toy_cells.counts, toy_cells.genes)
    columns = np.flatnonzero(np.isin(toy_cells.genes, toy_cells.universe) & model.known(toy_cells.genes))
    found = attention_mass(model, encoded, columns, form)
    expected, rows, cells = eager_shares(model, encoded, columns)
    shares = np.array([found[part] for part in MASS_PARTS]).T
    assert np.abs(shares - expected).max() < 2e-6
    assert np.abs(shares.sum(axis=1) - 1).max() < 3e-6
    assert (found["rows"], found["cells"]) == (rows, cells)
    assert (shares[:, 2] > 0).all() == (version == "V2")
    assert (shares[:, :2] > 0).all()


def test_few_cells_are_sampled_from_longest_to_shortest():
    lengths = np.array([3, 9, 1, 7, 5])
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    column = np.concatenate([np.arange(size) for size in lengths]).astype(np.int32)
    encoded = EncodedCells(tokens=column + 4, column=column, offsets=offsets)
    assert sampled_cells(encoded, np.array([0])).tolist() == [1, 3, 4, 0, 2]
    assert sampled_cells(encoded, np.array([0]), 3).tolist() == [1, 4, 2]
    assert sampled_cells(encoded, np.array([2]), 3).tolist() == [1, 4, 0]  # the cell of one gene holds no scored one
    assert sampled_cells(encoded, np.array([99])).size == 0


def test_a_causal_model_puts_nothing_on_later_positions():
    """Two tokens and a prompt: weights by hand."""
    import torch

    class Looking:
        def describe(self):
            from types import SimpleNamespace

            return SimpleNamespace(layers=1)

        def attend(self, batch: TokenBatch, sink, *, form):
            # every score is 0, so that a row is even over what it can see: log-sum-exp = log(1 + place)
            length = batch.tokens.shape[1]
            parts = torch.zeros(1, length, 1, 2)
            shift = torch.log(torch.arange(1, length + 1).float())[None, None]
            sink(0, LayerAttention(form="logsumexp", query=parts, key=parts, logsumexp=shift, causal=True))

    encoded = EncodedCells(
        tokens=np.arange(3, dtype=np.int32), column=np.array([-1, 0, 1], dtype=np.int32), offsets=np.array([0, 3])
    )
    found = attention_mass(Looking(), encoded, np.array([0, 1]), "logsumexp")
    # rows: gene 0 sees the prompt and itself (1/2, 1/2), gene 1 all three (1/3 each)
    assert found["no_gene"] == [pytest.approx((1 / 2 + 1 / 3) / 2, abs=1e-6)]
    assert found["scored_genes"] == [pytest.approx((1 / 2 + 2 / 3) / 2, abs=1e-6)]
    assert found["unscored_genes"] == [0.0]


def test_lost_genes_and_truncation_are_counted(write_release, make_cells):
    genes = ["A", "B", "C", "D", "X", "Y"]
    folder = write_release(genes=("A", "B", "C", "D"), medians=dict.fromkeys("ABCD", 1.0), max_position_embeddings=5)
    model = load_geneformer(read_release(folder))
    counts = np.array([[5, 4, 3, 2, 1, 0], [1, 2, 0, 0, 9, 9], [1, 1, 1, 1, 0, 0], [7, 7, 7, 7, 7, 7]])
    control = np.array([True, True, True, False])
    cells = make_cells(counts, genes, universe=["B", "D", "X"], control=control)
    encoded = model.encode(cells.counts[np.flatnonzero(control)], cells.genes)
    assert encoded.left_out.tolist() == [1, 0, 1]  # room for three genes beside <cls> and <eos>
    found = coverage(model, cells, encoded)
    assert found == {
        "genes_measured": 6,
        "genes_known": 4,
        "genes_collapsed": 0,
        "genes_unknown": 2,
        "scored_genes_lost": ["X"],
        "truncated_share": round(2 / 3, 6),
        "left_out_share": 0.2,
        "left_out_most": 1,
    }


def test_names_of_one_gene_are_counted_as_collapsed(write_release, seal_release, make_cells):
    folder = write_release(genes=("ENSG1", "ENSG2"), medians={"ENSG1": 1.0, "ENSG2": 1.0})
    (folder / "ensembl_mapping_dict.json").write_text(json.dumps({"OLD": "ENSG1", "NEW": "ENSG1", "B": "ENSG2"}))
    (folder / "gene_name_id_dict.json").write_text(json.dumps({"New": "ENSG1", "B": "ENSG2"}))
    seal_release(folder, gene_key="ensembl")
    model = load_geneformer(read_release(folder))
    cells = make_cells(np.array([[1, 2, 2, 4]]), ["OLD", "New", "B", "none"])
    encoded = model.encode(cells.counts, cells.genes)
    # OLD and New add up to 3 and stand at New's column, before B
    assert encoded.column.tolist() == [-1, 1, 2, -1]
    found = coverage(model, cells, encoded)
    assert (found["genes_known"], found["genes_collapsed"], found["genes_unknown"]) == (2, 1, 1)


def test_a_family_that_cuts_nothing_reports_no_truncation(write_release, toy_cells):
    model = load_geneformer(read_release(write_release()))
    encoded = model.encode(toy_cells.counts, toy_cells.genes)
    uncut = EncodedCells(tokens=encoded.tokens, column=encoded.column, offsets=encoded.offsets)
    found = coverage(model, toy_cells, uncut)
    assert (found["truncated_share"], found["left_out_share"], found["left_out_most"]) == (0.0, 0.0, 0)


def test_an_extraction_states_what_it_read(write_release, toy_cells, tmp_path):
    release = read_release(write_release())
    edges = extract_attention(release, toy_cells, tmp_path / "edges", ExtractionSettings(device="cpu"))
    facts = edges.facts
    model = load_geneformer(release)
    encoded = model.encode(toy_cells.counts[np.flatnonzero(toy_cells.control)], toy_cells.genes)
    expected = reading_facts(model, toy_cells, encoded, edges.genes, facts["form"])
    assert {name: facts[name] for name in expected} == json.loads(json.dumps(expected))
    told = facts["model"]
    assert (told["family"], told["layers"], told["heads"], told["width"]) == ("geneformer", 2, 4, 32)
    assert (told["vocabulary"], told["max_length"], told["mask"]) == (44, 24, 1)
    assert told["facts"]["specials"] == ["<cls>", "<eos>", "<mask>", "<pad>"]
    # over all cells, the mean weight on scored genes is that of the sums; here the sample is all of them
    for layer in range(2):
        assert facts["mass"]["scored_genes"][layer] == pytest.approx(facts["kept_mass"][layer], abs=2e-6)


def test_numbers_of_an_extraction_are_drawn_over_releases(write_release, toy_cells, tmp_path):
    from interp_assets.assets.releases import _attention_output

    edges = extract_attention(read_release(write_release(max_position_embeddings=10)), toy_cells, tmp_path / "edges")
    stored = _attention_output(tmp_path / "edges", edges).metadata
    shown = {label: entry.value for label, entry in stored.items()}
    assert shown["genes evaluable"] == 25
    assert shown["measured genes the model does not know"] == 6
    assert shown["cells cut at the model's length (share)"] == edges.facts["truncated_share"] > 0
    assert shown["expressed genes left out of sequences (share)"] == edges.facts["left_out_share"] > 0
    mass = edges.facts["mass"]["no_gene"]
    assert shown["attention on positions without a gene (mean of layers)"] == pytest.approx(sum(mass) / 2)

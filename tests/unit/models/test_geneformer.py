"""Geneformer-layout adapter: dictionaries, encoding, strict loading."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
from safetensors.torch import load_file, save_file
from scipy.sparse import csr_matrix

from interp_assets.models.families.bert_blocks import load_encoder, read_bert_config
from interp_assets.models.families.geneformer import load_geneformer, read_vocabulary
from interp_assets.models.files.checkpoints import ManifestError, ReleaseFileError
from interp_assets.models.files.releases import read_release

GENES = ("A", "B", "C", "D", "E")
MEDIANS = {"A": 1.0, "B": 2.0, "C": 1.0, "D": 4.0, "E": 1.0}


def small(write_release, **changes):
    shape = {"hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 8, "max_position_embeddings": 6}
    return write_release(**{"genes": GENES, "medians": MEDIANS, **shape, **changes})


def test_tokens_by_hand(write_release):
    model = load_geneformer(read_release(small(write_release)))
    genes = np.array(["E", "unknown", "B", "A", "C", "D"])
    #                 values: E 3, B 4/2, A 3, C 0, D 8/4; ties keep the order of the dictionary
    counts = csr_matrix(np.array([[3, 90, 4, 3, 0, 8], [0, 5, 0, 0, 0, 0], [1, 0, 20, 5, 7, 4]]))
    encoded = model.encode(counts, genes)
    assert encoded.offsets.tolist() == [0, 6, 8, 14]
    assert encoded.tokens.tolist() == [2, 4, 8, 5, 7, 3, 2, 3, 2, 5, 6, 4, 7, 3]
    assert encoded.column.tolist() == [-1, 3, 0, 2, 5, -1, -1, -1, -1, 2, 4, 3, 5, -1]
    assert model.known(genes).tolist() == [True, False, True, True, True, True]


def test_v1_like_and_v2_like_releases_rank_alike(write_release, seal_release):
    """Two specials, int16 pickles and a position buffer against four specials and JSON."""
    modern = load_geneformer(read_release(small(write_release, name="v2", max_position_embeddings=7)))
    folder = small(write_release, name="v1", specials=("<pad>", "<mask>"), max_position_embeddings=5)
    tokens = json.loads((folder / "token_dictionary.json").read_text())
    (folder / "token_dictionary.json").unlink()
    (folder / "gene_median_dictionary.json").unlink()
    mixed = {gene: np.int16(token) if token > 1 else token for gene, token in tokens.items()}
    (folder / "token_dictionary_gc30M.pkl").write_bytes(pickle.dumps(mixed))
    medians = {gene: np.float64(median) for gene, median in MEDIANS.items()}
    (folder / "gene_median_dictionary_gc30M.pkl").write_bytes(pickle.dumps(medians))
    import torch

    state = load_file(folder / "model.safetensors")
    save_file({**state, "bert.embeddings.position_ids": torch.arange(5)[None]}, folder / "model.safetensors")
    seal_release(folder)
    early = load_geneformer(read_release(folder))
    assert "bert.embeddings.position_ids" in early.describe().facts["unexpected_weights"]
    counts = csr_matrix(np.random.default_rng(0).poisson(2.0, (6, 5)))
    old, new = early.encode(counts, np.array(GENES)), modern.encode(counts, np.array(GENES))
    assert np.array_equal(old.column, new.column[new.column >= 0])


@pytest.mark.parametrize(
    "counts",
    [np.array([[0.5, 1.0]]), np.array([[-1.0, 1.0]]), np.array([[np.nan, 1.0]]), np.log1p(np.array([[3.0, 7.0]]))],
    ids=["fraction", "negative", "nan", "log"],
)
def test_anything_but_counts_is_refused(write_release, counts):
    model = load_geneformer(read_release(small(write_release)))
    with pytest.raises(ValueError, match="raw counts"):
        model.encode(csr_matrix(counts), np.array(["A", "B"]))


def test_gene_names_have_to_fit(write_release):
    model = load_geneformer(read_release(small(write_release)))
    with pytest.raises(ValueError, match=r"none of the 2 gene names .such as ENSG1. .* keyed by symbol"):
        model.encode(csr_matrix(np.ones((1, 2))), np.array(["ENSG1", "ENSG2"]))
    with pytest.raises(ValueError, match="3 count columns but 2 gene names"):
        model.encode(csr_matrix(np.ones((1, 3))), np.array(["A", "B"]))
    with pytest.raises(ValueError, match="no cells"):
        model.encode(csr_matrix((0, 2)), np.array(["A", "B"]))


def test_genes_measured_twice_are_refused_or_summed(write_release):
    model = load_geneformer(read_release(small(write_release)))
    genes = np.array(["A", "B", "A", "C"])
    counts = csr_matrix(np.array([[1, 4, 2, 0], [0, 1, 5, 2]]))
    with pytest.raises(ValueError, match=r"share a dictionary key with another one of the same name \(A\)"):
        model.encode(counts, genes)
    found = model.encode(counts, genes, duplicates="sum")
    once = model.encode(csr_matrix(np.array([[3, 4, 0], [5, 1, 2]])), np.array(["A", "B", "C"]))
    assert np.array_equal(found.tokens, once.tokens)
    assert set(found.column) == {-1, 0, 1, 3}


def test_ensembl_releases_accept_versions_and_mapped_symbols(write_release, seal_release):
    folder = small(write_release, genes=("ENSG1", "ENSG2"), medians={"ENSG1": 1.0, "ENSG2": 1.0})
    (folder / "ensembl_mapping_dict.json").write_text(json.dumps({"TP53": "ENSG1", "OLD": "ENSG9"}))
    seal_release(folder, gene_key="ensembl")
    model = load_geneformer(read_release(folder))
    genes = np.array(["tp53", "ENSG2.14", "OLD", "ENSG9"])
    assert model.known(genes).tolist() == [True, True, False, False]
    encoded = model.encode(csr_matrix(np.array([[1, 2, 3, 4]])), genes)
    assert encoded.tokens.tolist() == [2, 5, 4, 3]


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("token_dictionary.json", lambda d: {**d, "F": 99}, "token ids are not 0..9"),
        ("token_dictionary.json", lambda d: {**d, "F": 9}, "no median for 1 tokens such as F"),
        ("token_dictionary.json", lambda d: {k: float(v) for k, v in d.items()}, "not whole numbers"),
        ("token_dictionary.json", lambda d: {("<x>" if k == "<eos>" else k): v for k, v in d.items()}, "special"),
        ("gene_median_dictionary.json", lambda d: {k: v for k, v in d.items() if k != "B"}, "no median for 1"),
        ("gene_median_dictionary.json", lambda d: {**d, "B": 0.0}, "median of B is not a positive number"),
        ("config.json", lambda d: {**d, "vocab_size": 8}, "vocab_size 8, but the token dictionary has 9"),
        ("config.json", lambda d: {**d, "model_type": "gpt2"}, "not the configuration of a BERT encoder"),
        ("config.json", lambda d: {**d, "is_decoder": True}, "decoder"),
        ("config.json", lambda d: {**d, "hidden_size": 16}, "has shape"),
        ("config.json", lambda d: {**d, "num_hidden_layers": 3}, "lacks 16 weights"),
    ],
)
def test_files_that_do_not_belong_together_are_refused(write_release, seal_release, file, change, message):
    folder = small(write_release)
    content = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps(change(content)))
    seal_release(folder)
    with pytest.raises(ManifestError, match=message):
        load_geneformer(read_release(folder))


def test_vocabulary_extended_in_both_dictionaries_still_has_to_fit_the_weights(write_release, seal_release):
    folder = small(write_release)
    for file, value in (("token_dictionary.json", 9), ("gene_median_dictionary.json", 1.0)):
        content = json.loads((folder / file).read_text())
        (folder / file).write_text(json.dumps({**content, "F": value}))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "vocab_size": 10}))
    seal_release(folder)
    with pytest.raises(ManifestError, match="word_embeddings"):
        load_geneformer(read_release(folder))


def test_missing_weights_are_never_made_up(write_release, seal_release):
    folder = small(write_release)
    state = load_file(folder / "model.safetensors")
    gone = "bert.encoder.layer.1.attention.self.key.bias"
    save_file({name: tensor for name, tensor in state.items() if name != gone}, folder / "model.safetensors")
    seal_release(folder)
    with pytest.raises(
        ManifestError, match=r"lacks 1 weights such as bert\.encoder\.layer\.1\.attention\.self\.key\.bias"
    ):
        load_geneformer(read_release(folder))


def test_damaged_weights_are_refused_by_the_parser_too(write_release, seal_release):
    folder = small(write_release)
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ReleaseFileError, match="truncated"):
        read_release(folder)
    seal_release(folder)
    with pytest.raises(ReleaseFileError, match="truncated"):
        load_geneformer(read_release(folder))


def test_loading_leaves_random_numbers_alone_and_switches_dropout_off(write_release):
    import torch

    release = read_release(small(write_release))
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    model = load_geneformer(release)
    assert torch.equal(torch.rand(2), expected)
    assert not model.encoder.training
    assert not any(weight.requires_grad for weight in model.encoder.parameters())
    with pytest.raises(ValueError, match="dtype 'float16'"):
        load_geneformer(release, dtype="float16")


def test_masked_language_head_is_loaded_on_request(write_release):
    import torch

    release = read_release(small(write_release))
    config = read_bert_config(release.file("config.json"), read_vocabulary(release).size)
    model, unexpected = load_encoder(release.file("model.safetensors"), config, head=True)
    assert unexpected == []
    state = load_file(release.file("model.safetensors"))
    embedding = state["bert.embeddings.word_embeddings.weight"]
    assert torch.equal(model.get_output_embeddings().weight, embedding)
    assert torch.equal(model.bert.embeddings.word_embeddings.weight, embedding)
    assert torch.equal(model.cls.predictions.decoder.bias, state["cls.predictions.bias"])


def test_a_manifest_may_ask_for_shorter_sequences(write_release, seal_release):
    folder = small(write_release)
    counts, genes = csr_matrix(np.array([[5, 4, 3, 2, 1]])), np.array(GENES)
    whole = load_geneformer(read_release(folder)).encode(counts, genes)
    model = load_geneformer(read_release(seal_release(folder, max_length=5)))
    assert model.describe().max_length == 5
    cut = model.encode(counts, genes)
    assert cut.tokens.tolist() == [*whole.tokens[:4], 3]
    assert (whole.left_out.tolist(), cut.left_out.tolist()) == ([1], [2])
    for wrong in (7, 3, "5", True, 5.0):
        with pytest.raises(ManifestError, match="whole number from 4 to 6"):
            load_geneformer(read_release(seal_release(folder, max_length=wrong)))

"""Weights of Geneformer releases in every form they come in, and what is refused by name."""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.torch import load_file, save_file
from scipy.sparse import csr_matrix

from interp_assets.models.adapter import LayerAttention, TokenBatch
from interp_assets.models.controls.catalogue import random_weights_release
from interp_assets.models.families.geneformer import load_geneformer
from interp_assets.models.files.checkpoints import ManifestError, ReleaseFileError
from interp_assets.models.files.releases import read_release
from interp_assets.models.files.weights import read_weights
from interp_assets.models.interventions import InterventionModel
from tests.unit.models import full_layout

GENES = tuple(f"G{number}" for number in range(12))
SPECIALS = {"V1": ("<pad>", "<mask>"), "V2": ("<pad>", "<mask>", "<cls>", "<eos>")}


@pytest.fixture
def write(write_release, seal_release):
    """Function that writes a release of a kind, with published key names and few genes."""

    def written(version="V2", kind="masked", file="model.safetensors", name="tiny"):
        folder = write_release(name=name, genes=GENES, specials=SPECIALS[version])
        config = full_layout.published_config(
            version, vocab_size=len(GENES) + len(SPECIALS[version]), max_position_embeddings=16
        )
        config["architectures"] = [full_layout.CLASSES[kind]]
        (folder / "model.safetensors").unlink()
        (folder / "config.json").write_text(json.dumps(config))
        full_layout.write_weights(folder, config, version, kind, file)
        return seal_release(folder)

    return written


def attention_of(model, layers=2):
    """Softmax weights of every layer for two cells of unlike length."""
    counts = csr_matrix(np.array([[3, 1, 0, 2, 5, 0, 0, 1, 0, 0, 0, 4], [1, 0, 0, 0, 0, 0, 0, 2, 0, 0, 1, 0]]))
    encoded = model.encode(counts, np.array(GENES))
    width = int(encoded.lengths.max())
    tokens = np.zeros((2, width), dtype=np.int64)
    for cell in range(2):
        own = encoded.tokens[encoded.offsets[cell] : encoded.offsets[cell + 1]]
        tokens[cell, : own.size] = own
    batch = TokenBatch(tokens=tokens, lengths=encoded.lengths)
    found = []
    model.attend(batch, lambda layer, attention: found.append(attention.weights.clone()), form="softmax")
    assert len(found) == layers
    return batch, found


def eager(folder, kind, batch):
    """Attention of transformers' own class, loaded by its own loader, and the keys it reports as missing."""
    import torch
    import transformers

    cls = getattr(transformers, full_layout.CLASSES[kind])
    model, told = cls.from_pretrained(folder, attn_implementation="eager", output_loading_info=True)
    tokens = torch.from_numpy(batch.tokens)
    valid = (torch.arange(tokens.shape[1])[None] < torch.from_numpy(batch.lengths)[:, None]).long()
    with torch.inference_mode():
        ours = model.eval()(input_ids=tokens, attention_mask=valid, output_attentions=True).attentions
    return ours, told["missing_keys"]


FORMS = [("V1", "masked"), ("V2", "masked"), ("V2", "sequence"), ("V2", "token"), ("V2", "encoder")]


@pytest.mark.parametrize(("version", "kind"), FORMS)
@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin"])
def test_every_published_form_gives_the_attention_of_transformers(write, version, file, kind):
    folder = write(version, kind, file)
    model = load_geneformer(read_release(folder))
    batch, found = attention_of(model)
    expected, missing = eager(folder, kind, batch)
    assert not missing
    for own, theirs in zip(found, expected, strict=True):
        for cell, length in enumerate(batch.lengths):
            difference = (own[cell, :, :length, :length] - theirs[cell, :, :length, :length]).abs().max()
            assert difference < 1e-6
    facts = model.describe().facts
    told = {
        ("masked", "V1"): ["bert.embeddings.position_ids"],
        ("masked", "V2"): [],
        ("sequence", "V2"): [
            "bert.pooler.dense.bias",
            "bert.pooler.dense.weight",
            "classifier.bias",
            "classifier.weight",
        ],
        ("token", "V2"): ["classifier.bias", "classifier.weight"],
        ("encoder", "V2"): ["pooler.dense.bias", "pooler.dense.weight"],
    }
    assert facts["unexpected_weights"] == told[kind, version]
    assert facts["predicts_tokens"] is (kind == "masked")
    assert (model.output() is not None) is (kind == "masked")
    assert isinstance(model, InterventionModel)


def test_output_matrix_is_the_embedding_wherever_the_file_repeats_it(write):
    import torch

    plain = load_geneformer(read_release(write(file="model.safetensors")))
    repeated = load_geneformer(read_release(write(file="pytorch_model.bin", name="bin")))
    hidden = torch.randn(1, 3, 16, generator=torch.Generator().manual_seed(0))
    first, second = plain.output(), repeated.output()
    assert torch.equal(first.weight, second.weight)
    assert torch.equal(first.bias, second.bias)
    assert torch.equal(first.transform(hidden), second.transform(hidden))


def test_weights_without_metadata_load(write, seal_release):
    folder = write()
    state = load_file(folder / "model.safetensors")
    save_file(state, folder / "model.safetensors")
    assert load_geneformer(read_release(seal_release(folder))).output() is not None


@pytest.mark.parametrize(
    ("kind", "gone"),
    [
        ("sequence", "bert.encoder.layer.0.attention.self.query.weight"),
        ("token", "bert.embeddings.LayerNorm.bias"),
        ("encoder", "encoder.layer.1.output.dense.bias"),
    ],
)
def test_a_fine_tune_without_a_part_of_its_encoder_is_refused_by_name(write, seal_release, kind, gone):
    folder = write(kind=kind)
    state = load_file(folder / "model.safetensors")
    del state[gone]
    save_file(state, folder / "model.safetensors")
    with pytest.raises(ManifestError, match=rf"lacks 1 weights such as {gone.replace('.', chr(92) + '.')} "):
        load_geneformer(read_release(seal_release(folder)))


def test_a_classifier_head_alone_is_no_model(write, seal_release):
    folder = write(kind="token")
    state = load_file(folder / "model.safetensors")
    save_file({name: held for name, held in state.items() if "classifier" in name}, folder / "model.safetensors")
    with pytest.raises(ManifestError, match="lacks 37 weights"):
        load_geneformer(read_release(seal_release(folder)))


def test_half_a_prediction_head_is_refused(write, seal_release):
    folder = write()
    state = load_file(folder / "model.safetensors")
    del state["cls.predictions.transform.dense.weight"]
    save_file(state, folder / "model.safetensors")
    with pytest.raises(ManifestError, match=r"cls\.predictions\.transform\.dense\.weight: no such tensor"):
        load_geneformer(read_release(seal_release(folder)))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("hidden_act", "mish-mash", "hidden_act 'mish-mash' is not an activation"),
        ("hidden_act", 3, "hidden_act 3 is not an activation"),
        ("position_embedding_type", "relative_key", "position_embedding_type is 'relative_key'"),
        ("is_decoder", True, "is_decoder is True"),
        ("add_cross_attention", True, "add_cross_attention is True"),
        ("num_attention_heads", 3, "num_attention_heads 3 does not divide hidden_size 16"),
        ("num_hidden_layers", 0, "num_hidden_layers is 0, not a positive whole number"),
        ("hidden_size", "16", "hidden_size is '16'"),
        ("max_position_embeddings", 2.5, r"max_position_embeddings is 2\.5"),
        ("max_position_embeddings", 12, r"position_embeddings\.weight has shape \(16, 16\)"),
        ("intermediate_size", 64, r"intermediate\.dense\.weight has shape"),
        ("vocab_size", 17, "vocab_size 17, but the token dictionary has 16 entries"),
        ("model_type", "roberta", "not the configuration of a BERT encoder"),
    ],
)
def test_configurations_are_refused_by_name(write, seal_release, key, value, message):
    folder = write()
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, key: value}))
    with pytest.raises(ManifestError, match=message):
        load_geneformer(read_release(seal_release(folder)))


@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin"])
def test_pointers_and_truncated_weights_are_refused_before_anything_is_built(write, seal_release, file):
    folder = write(file=file)
    whole = (folder / file).read_bytes()
    (folder / file).write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    with pytest.raises(ReleaseFileError, match="LFS pointer"):
        load_geneformer(read_release(seal_release(folder)))
    (folder / file).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ReleaseFileError, match=file):
        load_geneformer(read_release(seal_release(folder)))


def test_a_release_without_weights_says_which_it_looks_for(write, seal_release):
    folder = write()
    (folder / "model.safetensors").unlink()
    with pytest.raises(ReleaseFileError, match=r"no weights.*model\.safetensors"):
        load_geneformer(read_release(seal_release(folder)))


def test_training_arguments_are_never_opened(write, seal_release):
    """A pickle that ends the process that opens it, listed among the files."""
    folder = write()
    (folder / "training_args.bin").write_bytes(b"\x80\x03cos\nabort\nq\x00)Rq\x01.")
    release = read_release(seal_release(folder))
    assert "training_args.bin" in {file.path for file in release.files}
    assert load_geneformer(release).describe().layers == 2


def test_an_encoder_that_runs_other_attention_raises_instead_of_giving_nothing(write, monkeypatch):
    model = load_geneformer(read_release(write()))
    batch, _ = attention_of(model)
    seen: list[int] = []

    def sink(layer: int, attention: LayerAttention) -> None:
        seen.append(layer)

    monkeypatch.setattr("interp_assets.models.families.geneformer.use_form", lambda encoder, form: None)
    monkeypatch.setattr("interp_assets.models.families.bert_blocks.use_form", lambda encoder, form: None)
    for other in ("sdpa", "eager"):
        model.encoder.set_attn_implementation(other)
        with pytest.raises(RuntimeError, match=r"layers \[\], expected \[0, 1\]"):
            model.attend(batch, sink, form="softmax")
        blocks = model.blocks(batch, form="softmax")
        with pytest.raises(RuntimeError, match=r"layers \[\], expected \[0\]"):
            blocks.step(0, blocks.start(), sink)
        assert blocks.step(0, blocks.start()).shape == (2, batch.tokens.shape[1], 16)  # nothing asked, nothing missing
    assert seen == []
    monkeypatch.undo()
    model.encoder.set_attn_implementation("sdpa")
    assert len(attention_of(model)[1]) == 2  # the adapter sets its own function again


@pytest.mark.parametrize("kind", ["masked", "sequence"])
def test_random_twin_of_torch_weights_keeps_the_output_tied(write, tmp_path, kind):
    import torch

    release = read_release(write(kind=kind, file="pytorch_model.bin"))
    twin = random_weights_release(release, tmp_path / "twin", seed=1)
    assert {file.path for file in twin.files} >= {"model.safetensors", "config.json"}
    assert "pytorch_model.bin" not in {file.path for file in twin.files}
    before, after = read_weights(release), read_weights(twin)
    assert set(before) - set(after) == (
        {"cls.predictions.decoder.weight", "cls.predictions.decoder.bias"} if kind == "masked" else set()
    )
    name = "bert.encoder.layer.0.attention.self.query.weight"
    assert not torch.equal(before[name], after[name])
    assert load_geneformer(twin).describe().facts["predicts_tokens"] is (kind == "masked")
    assert random_weights_release(release, tmp_path / "again", seed=1).release_id == twin.release_id

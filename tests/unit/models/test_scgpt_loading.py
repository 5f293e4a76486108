"""Folders in scGPT layout read strictly: wrappings, specials, what is refused by name, and the published size."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix

from interp_assets.models.adapter import TokenBatch, load_model
from interp_assets.models.families.scgpt_vocabulary import read_settings
from interp_assets.models.families.scgpt_weights import encoder_shapes, output_shapes
from interp_assets.models.files.file_rules import ManifestError, MissingFileError, UnsafePickleError
from interp_assets.models.files.releases import read_release
from tests.unit.models import example_scgpt_folder as example

GENES = np.array(example.GENES)


def loaded(folder: Path, **settings: Any):
    return load_model(read_release(folder), **settings)


@pytest.fixture(scope="module")
def counts() -> csr_matrix:
    """3 cells over 40 genes."""
    rng = np.random.default_rng(3)
    return csr_matrix(rng.poisson(2.0, (3, 40)) * (rng.random((3, 40)) < 0.4))


def batch_of(model, counts) -> TokenBatch:
    encoded = model.encode(counts, GENES)
    tokens = np.full((counts.shape[0], int(encoded.lengths.max())), model.describe().padding, dtype=np.int64)
    for row, (start, stop) in enumerate(zip(encoded.offsets[:-1], encoded.offsets[1:], strict=True)):
        tokens[row, : stop - start] = encoded.tokens[start:stop]
    return TokenBatch(tokens=tokens, lengths=encoded.lengths)


def last_state(model, batch):
    return model.blocks(batch, form="softmax").run(lambda *_: None)


@pytest.mark.parametrize(
    "kind",
    [
        {"wrapped": "model_state_dict"},
        {"wrapped": "state_dict"},
        {"wrapped": "model"},
        {"prefix": "module."},
        {"wrapped": "model_state_dict", "prefix": "module."},
        {"weights": "model.safetensors"},
        {"args": {"nhead": 4}},
    ],
    ids=lambda kind: "-".join(kind),
)
def test_wrappings_change_nothing(tmp_path, counts, kind):
    plain, other = loaded(example.write_scgpt(tmp_path / "plain")), dict(kind)
    prefix = other.pop("prefix", "")
    if "args" in other:
        other["args"] = {key: value for key, value in example.args_of().items() if key != "nheads"} | other["args"]
    folder = example.write_scgpt(tmp_path / "other", **other)
    if prefix:
        held = torch.load(folder / "best_model.pt", weights_only=True)
        named = {f"{prefix}{name}": tensor for name, tensor in held.get("model_state_dict", held).items()}
        torch.save({"model_state_dict": named} if other else named, folder / "best_model.pt")
        example.seal(folder)
    batch = batch_of(plain, counts)
    assert torch.equal(last_state(loaded(folder), batch), last_state(plain, batch))


def test_what_is_not_used_is_listed(tmp_path):
    further = {
        "dsbn.bns.0.weight": torch.ones(16),
        "dsbn.bns.1.weight": torch.ones(16),
        "cls_decoder.out_layer.weight": torch.ones(3, 16),
        "grad_reverse_discriminator.out_layer.bias": torch.ones(2),
        "batch_encoder.embedding.weight": torch.ones(2, 16),
        "pert_encoder.weight": torch.ones(3, 16),
        "flag_encoder.weight": torch.ones(3, 16),  # two or three rows occur
    }
    facts = loaded(example.write_scgpt(tmp_path / "s", change=further)).describe()
    assert facts.facts["unused_weights"] == {
        "batch_encoder": 1,
        "cls_decoder": 1,
        "dsbn": 2,
        "flag_encoder": 1,
        "grad_reverse_discriminator": 1,
        "mvc_decoder": 3,
        "pert_encoder": 1,
    }
    assert facts.facts["value_prediction"] == "decoder.fc"
    assert (facts.family, facts.attention, facts.gene_key, facts.mask) == ("scgpt", "recomputed", "symbol", None)
    assert (facts.layers, facts.heads, facts.width, facts.vocabulary, facts.max_length) == (2, 4, 16, 43, 24)


L1 = "transformer_encoder.layers.1."


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"encoder.embedding.weight": None}, "lacks 1 tensors of the encoder such as encoder.embedding.weight"),
        ({"encoder.enc_norm.bias": None}, "encoder.enc_norm.bias"),
        ({"value_encoder.linear1.weight": None}, "value_encoder.linear1.weight"),
        ({f"{L1}self_attn.Wqkv.weight": None}, r"transformer_encoder.layers.1.self_attn.Wqkv.weight"),
        (
            {f"{L1}norm2.weight": None, f"{L1}norm2.bias": None},
            r"lacks 2 tensors .* transformer_encoder.layers.1.norm2.bias",
        ),
        ({"encoder.embedding.weight": torch.ones(42, 16)}, r"shape \(42, 16\), .* ask for \(43, 16\)"),
        ({f"{L1}linear1.weight": torch.ones(25, 16)}, r"linear1.weight has shape \(25, 16\)"),
        ({f"{L1}self_attn.out_proj.weight": torch.ones(16, 8)}, "out_proj.weight has shape"),
        ({"value_encoder.linear1.weight": torch.ones(16, 51)}, r"linear1.weight has shape \(16, 51\)"),
        ({"transformer_encoder.layers.2.norm1.weight": torch.ones(16)}, "further tensors of the encoder"),
        ({f"{L1}self_attn.q_norm.weight": torch.ones(16)}, "further tensors .*q_norm"),
        ({f"{L1}self_attn.in_proj_weight": torch.ones(48, 16)}, "Wqkv.weight twice, in two layouts"),
        ({"bn.weight": torch.ones(16)}, "lacks 3 tensors of the encoder such as bn.bias"),
    ],
)
def test_an_encoder_that_is_not_complete_is_refused_by_name(tmp_path, change, said):
    with pytest.raises(ManifestError, match=said) as caught:
        loaded(example.write_scgpt(tmp_path / "s", change=change))
    assert "best_model.pt" in caught.value.file


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ({"pre_norm": True}, "pre_norm"),
        ({"input_emb_style": "category"}, "input_emb_style is 'category'; only 'continuous'"),
        ({"input_emb_style": "scaling"}, "input_emb_style"),
        ({"input_style": "log1p"}, "input_style is 'log1p'"),
        ({"nheads": 3}, "3 heads do not divide a width of 16"),
        ({"nheads": None}, "nheads is None"),
        ({"nlayers": 3}, "lacks 12 tensors of the encoder such as transformer_encoder.layers.2"),
        ({"nlayers": 1}, "12 further tensors"),
        ({"embsize": 32}, "shape"),
        ({"n_bins": 2}, "n_bins is 2; a whole number of at least 3"),
        ({"embsize": 16.0}, "embsize is 16.0"),
        ({"mask_value": "auto"}, "mask_value is 'auto'"),
    ],
)
def test_settings_of_another_model_are_refused(tmp_path, args, said):
    folder = example.write_scgpt(tmp_path / "s")
    (folder / "args.json").write_text(json.dumps(example.args_of() | args))
    with pytest.raises(ManifestError, match=said):
        loaded(example.seal(folder))


def test_missing_specials_are_appended_in_order_and_sizes_have_to_agree(tmp_path, counts):
    bare = {gene: number for number, gene in enumerate(example.GENES)}
    whole = loaded(example.write_scgpt(tmp_path / "whole"))
    model = loaded(example.write_scgpt(tmp_path / "bare", vocabulary=bare))
    assert model.describe().facts["appended_specials"] == ["<pad>", "<cls>", "<eoc>"]
    assert [model.vocabulary.entries[token] for token in example.SPECIALS] == [40, 41, 42]
    batch = batch_of(whole, counts)
    assert batch_of(model, counts).tokens.tolist() == batch.tokens.tolist()
    # <pad> and <cls> in the middle, <eoc> missing: it alone goes to the end
    mixed = {"<pad>": 0, "<cls>": 1} | {gene: number + 2 for number, gene in enumerate(example.GENES)}
    other = loaded(example.write_scgpt(tmp_path / "mixed", vocabulary=mixed))
    assert other.describe().facts["appended_specials"] == ["<eoc>"]
    assert other.describe().padding == 0
    for number, (wrong, said) in enumerate(
        (
            (bare | {"MORE": 40}, r"encoder.embedding.weight has shape \(43, 16\), .* ask for \(44, 16\)"),
            (bare | {"MORE": 39}, "not 0..40, each once"),
            (bare | {"MORE": 99}, "not 0..40, each once"),
            ({gene: float(number) for gene, number in bare.items()}, "not whole numbers"),
        )
    ):
        with pytest.raises(ManifestError, match=said):
            loaded(example.write_scgpt(tmp_path / f"wrong{number}", vocabulary=wrong))


def test_files_that_cannot_be_weights_are_refused(tmp_path):
    folder = example.write_scgpt(tmp_path / "s")
    (folder / "best_model.pt").unlink()
    with pytest.raises(MissingFileError, match="lists no weights"):
        loaded(example.seal(folder))
    torch.save({"model": {"epoch": 3}}, folder / "best_model.pt")
    with pytest.raises(ManifestError, match="hold epoch, which is no tensor"):
        loaded(example.seal(folder))
    torch.save({"encoder.embedding.weight": torch.ones(2), "home": Path("x")}, folder / "best_model.pt")
    with pytest.raises(UnsafePickleError, match="cannot be read as tensors only"):
        loaded(example.seal(folder))


def test_full_size_has_the_published_number_of_tensors_and_elements(tmp_path):
    """Whole-human: 163 tensors, 51.33 M elements, by shape arithmetic on the names this adapter asks for."""
    args = example.args_of(layers=12, heads=8, width=512, inner=512, length=1200)
    (tmp_path / "args.json").write_text(json.dumps(args))
    settings = read_settings(tmp_path / "args.json")
    assert (settings.bins, settings.max_length, settings.codes) == (51, 1200, 53)
    wanted = encoder_shapes(settings, 60_697) | output_shapes(512)
    unused = {"flag_encoder": (2, 512), "gene2query.w": (512, 512), "gene2query.b": (512,), "W": (512, 512)}
    shapes = [*wanted.values(), *unused.values()]
    assert len(shapes) == 163
    elements = sum(int(np.prod(shape)) for shape in shapes)
    assert elements == 51_330_049
    # published size of best_model.pt: four bytes an element and the names, shapes and padding of a torch archive
    assert 0 < 205_385_258 - 4 * elements < 163 * 512
    # the same by torch's own modules, on the meta device
    with torch.device("meta"):
        model = example.TorchScgpt(60_697, args)
    held = example.in_layout({name: torch.empty(0) for name in model.state_dict()}, "flash")
    assert set(wanted) <= set(held)
    assert len(held) == 163
    assert sum(part.numel() for part in model.state_dict().values()) == elements
    assert {name: tuple(part.shape) for name, part in model.state_dict().items() if name in wanted} == {
        name: shape for name, shape in wanted.items() if "Wqkv" not in name
    }

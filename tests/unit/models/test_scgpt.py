"""Folders in scGPT layout: the encoder against torch's own modules, three layouts bit for bit, strict loading."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix

from interp_assets.interventions.self_test import check_interventions
from interp_assets.models.adapter import Encoding, EncodingModel, TokenBatch, load_model
from interp_assets.models.attention.plan import score_cells, token_batch
from interp_assets.models.controls.catalogue import random_weights_release
from interp_assets.models.files.checkpoints import read_state_dict
from interp_assets.models.files.releases import read_release
from interp_assets.models.interventions import Intervention, InterventionModel, ValueModel
from tests.unit.interventions import example_scgpt as naive
from tests.unit.models import example_scgpt_folder as example

FORMS = ("logsumexp", "softmax")
GENES = np.array(example.GENES)


def loaded(folder: Path, **settings: Any):
    return load_model(read_release(folder), **settings)


@pytest.fixture(scope="module")
def counts() -> csr_matrix:
    """5 cells over 40 genes: one longer than the model reads, one with a single gene."""
    rng = np.random.default_rng(3)
    dense = rng.poisson(2.0, (5, 40)) * (rng.random((5, 40)) < np.array([0.9, 0.5, 0.3, 0.2, 0.0])[:, None])
    dense[4, 7] = 3
    return csr_matrix(dense)


def batch_of(model, counts, **asked) -> TokenBatch:
    encoded = model.encoding_by(Encoding(**asked)).encode(counts, GENES)
    scored = score_cells(encoded, np.arange(GENES.size))
    return token_batch(scored, np.arange(counts.shape[0]), model.describe().padding)


def run(model, batch, form="softmax", **change):
    """Hidden states before the first and behind every layer, and softmax weights where the form has them."""
    found = {}
    blocks = model.blocks(batch, form=form)
    with model.intervening(Intervention(**change) if change else None):
        hidden = [blocks.start()]
        for layer in range(model.describe().layers):
            hidden.append(blocks.step(layer, hidden[-1], lambda at, told: found.update({at: told.weights})))
    return hidden, found


def torch_run(batch, model, *, batch_norm=False, dtype=torch.float32, args=None):
    """The same batch through torch's own modules; genes and values are taken out of the tokens by hand."""
    args = args or example.args_of()
    reference = example.torch_scgpt(model.describe().vocabulary, args, batch_norm).to(dtype)
    codes = args["n_bins"] + 2
    values = torch.tensor([-2.0, -1.0, *range(args["n_bins"])], dtype=dtype)
    tokens = torch.from_numpy(batch.tokens)
    padding = torch.arange(tokens.shape[1])[None] >= torch.from_numpy(batch.lengths)[:, None]
    states, weights = reference(tokens // codes, values[tokens % codes], padding)
    return states, weights, ~padding


@pytest.mark.parametrize("batch_norm", [False, True], ids=["plain", "batch norm"])
@pytest.mark.parametrize("form", FORMS)
def test_the_forward_pass_equals_torch_modules(tmp_path, counts, form, batch_norm):
    model = loaded(example.write_scgpt(tmp_path / "s", batch_norm=batch_norm))
    batch = batch_of(model, counts)
    assert batch.lengths.tolist()[0] == 24
    assert batch.padded
    found, weights = run(model, batch, form)
    states, expected, real = torch_run(batch, model, batch_norm=batch_norm)
    for own, other in zip(found, states, strict=True):
        torch.testing.assert_close(own[real], other[real], atol=1e-5, rtol=1e-5)
    if form == "softmax":
        for layer, other in enumerate(expected):
            for cell, length in enumerate(batch.lengths):
                torch.testing.assert_close(
                    weights[layer][cell, :, :length, :length], other[cell, :, :length, :length], atol=2e-6, rtol=1e-4
                )
    exact = torch_run(batch, model, batch_norm=batch_norm, dtype=torch.float64)[0][-1]
    assert float((found[-1].double() - exact)[real].abs().max()) < 2e-5
    assert model.describe().facts["batch_norm"] is batch_norm


def test_hidden_and_masked_values_reach_the_value_encoder(tmp_path, counts):
    """-1 where a value is hidden and -2 at <cls>: neither is the value of a bin."""
    model = loaded(example.write_scgpt(tmp_path / "s"))
    batch = batch_of(model, counts)
    hidden = batch.tokens.copy()
    hidden[0, 3:6] = model.hidden_values(hidden[0, 3:6])
    assert (hidden[0, 3:6] // 53 == batch.tokens[0, 3:6] // 53).all()
    masked = TokenBatch(tokens=hidden, lengths=batch.lengths)
    found, (states, _, real) = run(model, masked)[0], torch_run(masked, model)
    torch.testing.assert_close(found[-1][real], states[-1][real], atol=1e-5, rtol=1e-5)
    before = run(model, batch)[0]
    assert not torch.allclose(found[0][0, 3:6], before[0][0, 3:6])
    assert torch.equal(found[0][0, 6:], before[0][0, 6:])
    other = TokenBatch(tokens=np.where(hidden == hidden[0, 0], hidden + 2, hidden), lengths=batch.lengths)
    assert not torch.allclose(run(model, other)[0][0][:, 0], found[0][:, 0])  # <cls> with value 0 is another token


@pytest.mark.parametrize("form", FORMS)
def test_the_layouts_of_one_set_of_weights_give_the_same_bits(tmp_path, counts, form):
    runs = []
    for number, layout in enumerate(example.LAYOUTS):
        folder = example.write_scgpt(tmp_path / str(number), layout=layout, batch_norm=True)
        held = read_state_dict(folder / "best_model.pt")
        named = {"flash": "self_attn.Wqkv.weight", "flash wrapper": "self_attn._impl.Wqkv.weight"}
        assert f"transformer_encoder.layers.1.{named.get(layout, 'self_attn.in_proj_weight')}" in held
        model = loaded(folder)
        assert model.describe().facts["layout"] == layout
        batch, told = batch_of(model, counts), []
        model.attend(batch, lambda _, attention: told.append(attention), form=form)  # noqa: B023
        runs.append((run(model, batch, form)[0], told))
    for states, told in runs[1:]:
        assert all(torch.equal(one, other) for one, other in zip(states, runs[0][0], strict=True))
        for one, other in zip(told, runs[0][1], strict=True):
            pairs = zip((one.query, one.key, one.weights), (other.query, other.key, other.weights), strict=True)
            assert all((a is None and b is None) or torch.equal(a, b) for a, b in pairs)


def test_encoding_packs_gene_and_bin_behind_cls(tmp_path, counts):
    model = loaded(example.write_scgpt(tmp_path / "s"))
    names = np.array(["X", *example.GENES[::-1], "<pad>", "Y"])
    wider = csr_matrix(np.hstack([np.full((5, 1), 9), counts.toarray()[:, ::-1], np.full((5, 2), 9)]))
    encoded = model.encode(wider, names)
    plain = model.encode(counts, GENES)
    assert encoded.tokens.tolist() == plain.tokens.tolist()  # neither columns nor foreign genes count
    assert model.known(names).tolist() == [False, *[True] * 40, False, False]
    for cell in range(5):
        span = slice(encoded.offsets[cell], encoded.offsets[cell + 1])
        tokens, column = encoded.tokens[span], encoded.column[span]
        assert (tokens[0], column[0]) == (41 * 53, -1)  # <cls> with the value of padding
        assert names[column[1:]].tolist() == [example.GENES[token // 53] for token in tokens[1:]]
        assert ((tokens[1:] % 53 >= 3) & (tokens[1:] % 53 <= 52)).all()  # bins 1..50
        expressed = int((counts[cell].toarray() > 0).sum())
        assert encoded.left_out[cell] == max(0, expressed - 23) == expressed - (tokens.size - 1)
    zeros = model.encoding_by(Encoding(zeros="keep")).encode(counts, GENES)
    assert zeros.lengths.tolist() == [24] * 5
    assert (zeros.tokens % 53 == 2).any()
    assert isinstance(model, EncodingModel)
    told = model.encoding_by(Encoding(zeros="keep", ties="left", seed=4)).describe().facts
    assert (told["zeros"], told["ties"], told["encoding_seed"]) == ("keep", "left", 4)


def test_counts_that_cannot_be_binned_are_refused(tmp_path, counts):
    model = loaded(example.write_scgpt(tmp_path / "s"))
    with pytest.raises(ValueError, match="binned encoding needs raw counts"):
        model.encode(counts * 0.5, GENES)
    with pytest.raises(ValueError, match=r"none of the 40 gene names \(such as X0\) is in the vocabulary"):
        model.encode(counts, np.array([f"X{number}" for number in range(40)]))
    twice = GENES.copy()
    twice[1] = twice[0]
    with pytest.raises(ValueError, match="share a dictionary key"):
        model.encode(counts, twice)
    dense = counts.toarray()
    summed = model.encode(counts, twice, duplicates="sum")
    merged = csr_matrix(np.hstack([dense[:, :1] + dense[:, 1:2], dense[:, 2:]]))
    assert summed.tokens.tolist() == model.encode(merged, np.delete(twice, 1)).tokens.tolist()


CHANGES = {
    "heads": {"zero": ((0, 1), (1, 3))},
    "uniform": {"uniform": ((0, 0), (1, 2))},
    "feed-forward": {"mlp": (1,)},
    "all kinds": {"zero": ((0, 2),), "uniform": ((1, 1),), "mlp": (0,)},
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_interventions_equal_layers_written_by_hand_and_leave_no_trace(tmp_path, counts, form, change):
    model = loaded(example.write_scgpt(tmp_path / "s", layout="flash wrapper"))
    modules = example.torch_scgpt(43, example.args_of()).transformer_encoder["layers"]
    batch = batch_of(model, counts)
    before = run(model, batch, form)[0]
    found = run(model, batch, form, **change)[0]
    after = run(model, batch, form)[0]
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))
    for cell, length in enumerate(batch.lengths):
        x = found[0][cell, :length].double()
        for layer, module in enumerate(modules):
            own = {kind: [head for at, head in change.get(kind, ()) if at == layer] for kind in ("zero", "uniform")}
            x, _ = naive.naive_layer(module, x, **own, mlp=layer in change.get("mlp", ()))
            torch.testing.assert_close(found[layer + 1][cell, :length].double(), x, atol=5e-5, rtol=1e-4)
    assert float((found[-1] - before[-1])[0].abs().max()) > 0.02
    check_interventions(model, batch, form)
    assert isinstance(model, InterventionModel)


def test_values_are_predicted_as_by_the_published_head(tmp_path, counts):
    model = loaded(example.write_scgpt(tmp_path / "s"))
    batch = batch_of(model, counts)
    output = model.value_output()
    hidden = run(model, batch)[0][-1]
    found = output.transform(hidden) @ output.weight.T + output.bias
    reference = example.torch_scgpt(43, example.args_of())
    torch.testing.assert_close(found, reference.decoder["fc"](hidden), atol=1e-5, rtol=1e-5)
    assert float(found.std()) > 0.05
    assert isinstance(model, ValueModel)
    assert model.output() is None
    assert model.gene_tokens(["G3", "G0"]) == [3 * 53 + 1, 1]
    for number, (change, said) in enumerate(
        (
            ({"decoder.fc.4.bias": None}, "the checkpoint has no decoder.fc.4.bias"),
            ({"decoder.fc.0.weight": torch.ones(16, 32)}, r"decoder.fc.0.weight has shape \(16, 32\)"),
        )
    ):
        bare = loaded(example.write_scgpt(tmp_path / f"bare{number}", change=change))
        assert bare.value_output() is None
        assert re.search(said, bare.describe().facts["value_prediction"])
        assert bare.describe().facts["unused_weights"]["decoder"] >= 5


def test_bfloat16_is_close_and_other_formats_are_refused(tmp_path, counts):
    folder = example.write_scgpt(tmp_path / "s", batch_norm=True)
    exact, rough = loaded(folder), loaded(folder, dtype="bfloat16")
    batch = batch_of(exact, counts)
    for form in rough.describe().forms:
        states, other = run(rough, batch, form)[0][-1], run(exact, batch, form)[0][-1]
        assert states.dtype == torch.bfloat16
        real = torch.arange(states.shape[1])[None] < torch.from_numpy(batch.lengths)[:, None]
        gap = (states.float() - other)[real]
        assert 0 < float(gap.abs().mean()) < 0.05
    with pytest.raises(ValueError, match="float16"):
        loaded(folder, dtype="float16")
    with pytest.raises(ValueError, match="attention form 'other'"):
        exact.blocks(batch, form="other")


@pytest.mark.parametrize("wrapped", ["", "model_state_dict"])
def test_the_random_twin_keeps_shapes_and_still_tells_values_apart(tmp_path, counts, wrapped):
    release = read_release(example.write_scgpt(tmp_path / "s", batch_norm=True, layout="torch", wrapped=wrapped))
    twin = random_weights_release(release, tmp_path / "twin", seed=1)
    assert twin.family == "scgpt"
    own, other = load_model(release), load_model(twin)
    assert twin.release_id == random_weights_release(release, tmp_path / "again", seed=1).release_id
    batch = batch_of(own, counts)
    assert batch_of(other, counts).tokens.tolist() == batch.tokens.tolist()
    assert not torch.allclose(run(own, batch)[0][-1], run(other, batch)[0][-1])
    norm = other.weights.batch_norm
    assert torch.equal(norm.mean, torch.zeros(16))
    assert torch.equal(norm.variance, torch.ones(16))
    layer = other.weights.layers[0]
    assert torch.equal(layer.norm1[0], torch.ones(16))
    assert not layer.fused[1].any()
    spread = float(layer.fused[0].std() / own.weights.layers[0].fused[0].std())
    assert spread == pytest.approx(1, abs=0.1)
    bins = other.weights.values[3:]  # without a bias before the ReLU all bins above 0 would be one point
    assert float((bins[0] - bins[-1]).abs().max()) > 0.1

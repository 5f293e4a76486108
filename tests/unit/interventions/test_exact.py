"""Every intervention equals a forward pass written out by hand: states, attention before the change, logits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from interp_assets.models.families.geneformer import load_geneformer
from interp_assets.models.files.releases import read_release
from interp_assets.models.interventions import Intervention, active, intervened_context

FORMS = ("logsumexp", "softmax")
ALL = tuple((1, head) for head in range(4))
CHANGES = {
    "nothing": {},
    "one head": {"zero": ((1, 2),)},
    "two heads of the first layer": {"zero": ((0, 0), (0, 3))},
    "heads of several layers": {"zero": ((0, 1), (2, 0), (3, 3))},
    "a whole layer": {"zero": ALL},
    "one uniform head": {"uniform": ((1, 2),)},
    "uniform heads of several layers": {"uniform": ((0, 2), (1, 0), (1, 3), (3, 1))},
    "a uniform layer": {"uniform": ALL},
    "one feed-forward layer": {"mlp": (1,)},
    "several feed-forward layers": {"mlp": (0, 2, 3)},
    "all kinds, in one layer and in others": {"zero": ((1, 0), (2, 3)), "uniform": ((1, 1), (0, 3)), "mlp": (1, 3)},
}


def run(model, batch, form, change, weights_of):
    """States, softmax weights and logits of a batch under an intervention."""
    intervention = Intervention(**change) if change else None
    weights = {}
    blocks = model.blocks(batch, form=form)
    with model.intervening(intervention):
        states = [blocks.start()]
        for layer in range(model.describe().layers):
            states.append(blocks.step(layer, states[-1], lambda at, found: weights.update({at: weights_of(found)})))
    output = model.output()
    return states, weights, output.transform(states[-1]) @ output.weight.T + output.bias


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_padded_batches_equal_unpadded_cells_by_hand(model, naive, batch, weights_of, form, change):
    states, weights, logits = run(model, batch, form, change, weights_of)
    for row, length in enumerate(batch.lengths):
        expected = naive.run(batch.tokens[row, :length], **change)
        for found, state in zip(states, expected.states, strict=True):
            torch.testing.assert_close(found[row, :length].double(), state, atol=2e-5, rtol=1e-4)
        for layer, weight in enumerate(expected.weights):
            found = weights[layer][row, :, :length, :length].double()
            torch.testing.assert_close(found, weight, atol=2e-5, rtol=1e-4)
        torch.testing.assert_close(logits[row, :length].double(), expected.logits, atol=1e-4, rtol=1e-4)


def test_the_changes_above_are_far_larger_than_the_tolerance(naive, batch):
    clean = naive.run(batch.tokens[1, :7])
    for name, change in CHANGES.items():
        gap = float((naive.run(batch.tokens[1, :7], **change).states[-1] - clean.states[-1]).abs().max())
        assert (gap > 0.05) == (name != "nothing"), (name, gap)


@pytest.mark.parametrize("form", FORMS)
def test_attend_is_intervened_on_like_the_blocks(model, naive, batch, weights_of, form):
    change = CHANGES["all kinds, in one layer and in others"]
    found = {}
    with model.intervening(Intervention(**change)):
        model.attend(batch, lambda layer, attention: found.update({layer: weights_of(attention)}), form=form)
    for row, length in enumerate(batch.lengths):
        for layer, weight in enumerate(naive.run(batch.tokens[row, :length], **change).weights):
            torch.testing.assert_close(
                found[layer][row, :, :length, :length].double(), weight, atol=2e-5, rtol=1e-4, msg=f"layer {layer}"
            )


@pytest.mark.parametrize("form", FORMS)
def test_clean_run_equals_the_eager_model_of_transformers(model, folder, batch, weights_of, form):
    from transformers import BertForMaskedLM

    eager, info = BertForMaskedLM.from_pretrained(
        folder, attn_implementation="eager", output_loading_info=True, tie_word_embeddings=False
    )
    assert set(info["missing_keys"]) <= {"cls.predictions.decoder.bias"}
    eager = eager.eval()
    with torch.no_grad():
        eager.cls.predictions.decoder.bias.copy_(load_file(folder / "model.safetensors")["cls.predictions.bias"])
        real = torch.arange(batch.tokens.shape[1])[None] < torch.from_numpy(batch.lengths)[:, None]
        expected = eager(
            torch.from_numpy(batch.tokens), attention_mask=real, output_attentions=True, output_hidden_states=True
        )
    states, weights, logits = run(model, batch, form, {}, weights_of)
    for found, state in zip(states, expected.hidden_states, strict=True):
        torch.testing.assert_close(found[real], state[real], atol=1e-5, rtol=1e-4)
    pairs = (real[:, None, :, None] & real[:, None, None, :]).expand_as(weights[0])
    for layer, weight in enumerate(expected.attentions):
        torch.testing.assert_close(weights[layer][pairs], weight[pairs], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(logits[real], expected.logits[real], atol=5e-5, rtol=1e-4)


@pytest.mark.parametrize("head", ["tied", "untied"])
def test_output_head_is_the_one_of_the_checkpoint(write_bert, naive_of, batch, weights_of, head):
    folder = write_bert(head=head)
    model = load_geneformer(read_release(folder))
    _, _, logits = run(model, batch, "softmax", {}, weights_of)
    expected = naive_of(folder).run(batch.tokens[0, :12]).logits
    torch.testing.assert_close(logits[0, :12].double(), expected, atol=1e-4, rtol=1e-4)
    state = load_file(folder / "model.safetensors")
    own = "cls.predictions.decoder.weight" if head == "untied" else "bert.embeddings.word_embeddings.weight"
    assert torch.equal(model.output().weight, state[own])


def context(values, mask):
    """Two heads of values (S x d), the second uniform in layer 0, the first as the model gave it (zeros)."""
    value = torch.stack([values, values])[None]
    with active(Intervention(uniform=((0, 1),))):
        return intervened_context(torch.zeros_like(value), value, mask, 0)[0]


def test_uniform_rows_are_one_over_the_real_tokens_whatever_stands_in_the_padding():
    values = torch.tensor([[1.0, 10.0], [2.0, 20.0], [6.0, 0.0], [1e6, -1e6]])
    mask = torch.tensor([0.0, 0.0, 0.0, torch.finfo(torch.float32).min])[None, None, None]
    found = context(values, mask)
    assert torch.equal(found[1], torch.tensor([3.0, 10.0]).expand(4, 2))
    assert not found[0].any()
    assert torch.equal(context(values[:3], None)[1], torch.tensor([3.0, 10.0]).expand(3, 2))


def test_uniform_attention_in_bfloat16_is_rounded_once_with_padding_as_without():
    """Regression: the number of real tokens was counted in bfloat16, which does not know 301."""
    values = torch.randn((302, 64), generator=torch.Generator().manual_seed(0)).add(2.0).bfloat16()
    mask = torch.zeros((1, 1, 1, 302), dtype=torch.bfloat16)
    mask[..., 301:] = torch.finfo(torch.bfloat16).min
    exact = values[:301].double().mean(0).bfloat16()
    assert torch.equal(context(values, mask)[1][0], exact)
    assert torch.equal(context(values[:301], None)[1][0], exact)


def test_tokens_of_genes_follow_the_dictionary(model):
    assert model.gene_tokens(["G0", "G29", "G7"]) == [4, 33, 11]
    with pytest.raises(KeyError, match="nowhere"):
        model.gene_tokens(["G0", "nowhere"])


def test_bfloat16_intervenes_alike_within_its_precision(folder, naive, batch, weights_of):
    model = load_geneformer(read_release(folder), dtype="bfloat16")
    change = CHANGES["heads of several layers"]
    states, _, _ = run(model, batch, "softmax", change, weights_of)
    expected = naive.run(batch.tokens[0, :12], **change).states[-1].numpy()
    found = states[-1][0, :12].double().numpy()
    clean = naive.run(batch.tokens[0, :12]).states[-1].numpy()
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.99
    assert np.abs(found - expected).mean() < 0.3 * np.abs(clean - expected).mean()

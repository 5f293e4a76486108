"""What an intervention leaves behind: nothing, also after an error. And what is no intervention at all."""

from __future__ import annotations

import pytest
import torch

from interp_assets.interventions.run import Setting
from interp_assets.models.interventions import Intervention, InterventionError, InterventionModel

EVERYTHING = Intervention(zero=((0, 1), (2, 3)), uniform=((1, 0),), mlp=(1, 3))


def hooks(model) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.encoder.modules())


def last_state(model, batch, form="logsumexp"):
    """Last hidden state, run in the context that is open."""
    blocks = model.blocks(batch, form=form)
    hidden = blocks.start()
    for layer in range(model.describe().layers):
        hidden = blocks.step(layer, hidden)
    return hidden


@pytest.mark.parametrize("form", ["logsumexp", "softmax"])
@pytest.mark.parametrize("fails", [False, True], ids=["closed", "broken off"])
def test_afterwards_the_model_is_the_same_bit_for_bit(model, batch, form, fails):
    weights = {name: tensor.clone() for name, tensor in model.encoder.state_dict().items()}
    before = last_state(model, batch, form)
    try:
        with model.intervening(EVERYTHING):
            changed = last_state(model, batch, form)
            if fails:
                raise RuntimeError("in the middle of a run")
    except RuntimeError:
        assert fails
    assert not torch.equal(before, changed)
    assert torch.equal(before, last_state(model, batch, form))
    assert hooks(model) == 0
    for name, tensor in model.encoder.state_dict().items():
        assert torch.equal(tensor, weights[name]), name


def test_a_block_that_breaks_inside_a_step_leaves_no_hook(model, batch, monkeypatch):
    before = last_state(model, batch)
    with monkeypatch.context() as patch:
        patch.setattr(type(model.encoder.encoder.layer[2]), "forward", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError), model.intervening(EVERYTHING):
            last_state(model, batch)
    assert hooks(model) == 0
    assert torch.equal(before, last_state(model, batch))


@pytest.mark.parametrize(
    "inner", [None, Intervention(zero=((0, 0),)), Intervention(mlp=(2,)), Intervention(mlp=(1,)), EVERYTHING]
)
def test_the_innermost_context_alone_counts(model, batch, inner):
    """Regression: a silenced feed-forward layer of the outer context stayed silent in the inner one."""
    with model.intervening(EVERYTHING):
        outside = last_state(model, batch)
    with model.intervening(inner):
        alone = last_state(model, batch)
    with model.intervening(EVERYTHING):
        with model.intervening(inner):
            within = last_state(model, batch)
        again = last_state(model, batch)
    assert torch.equal(within, alone)
    assert torch.equal(again, outside)
    assert hooks(model) == 0


@pytest.mark.parametrize(
    ("intervention", "says"),
    [
        (Intervention(), "changes nothing"),
        (Intervention(zero=((4, 0),)), "layer 4: the model has 4 layers of 4 heads, from 0"),
        (Intervention(zero=((-1, 0),)), "layer -1"),
        (Intervention(zero=((1, 0), (2, 4))), "head 2.4: the model has 4 layers"),
        (Intervention(uniform=((2, -1),)), "head 2.-1"),
        (Intervention(mlp=(1, 7)), "layer 7"),
        (Intervention(mlp=(-2,)), "layer -2"),
        (Intervention(zero=((1, 1), (2, 2)), uniform=((2, 2),)), "head .2, 2. is to be silenced and made uniform"),
    ],
)
def test_what_names_no_part_of_the_model_is_refused_before_anything_runs(model, batch, intervention, says):
    before = last_state(model, batch)
    with pytest.raises(InterventionError, match=says), model.intervening(intervention):
        pytest.fail("the context was opened")
    assert hooks(model) == 0
    assert torch.equal(before, last_state(model, batch))


def test_layers_and_heads_of_an_intervention():
    assert EVERYTHING.layers == (0, 1, 2, 3)
    assert EVERYTHING.heads_of(2) == ([3], [])
    assert EVERYTHING.heads_of(1) == ([], [0])
    assert EVERYTHING.heads_of(3) == ([], [])


def test_the_model_offers_what_interventions_need(model, setting):
    assert isinstance(model, InterventionModel)
    assert isinstance(setting, Setting)
    assert setting.device == "cpu"

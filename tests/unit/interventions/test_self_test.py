"""Block by block equals one piece; and a model on which interventions do not work is refused with the reason."""

from __future__ import annotations

import re
from contextlib import contextmanager

import pytest
import torch

from interp_assets.interventions.measure import measure_interventions
from interp_assets.interventions.self_test import check_interventions
from interp_assets.models.attention import kernel
from interp_assets.models.families import bert_blocks
from interp_assets.models.interventions import InterventionError

FORMS = ("logsumexp", "softmax")


@pytest.mark.parametrize("form", FORMS)
def test_stepping_equals_the_encoder_in_one_piece(model, batch, form):
    real = torch.arange(batch.tokens.shape[1])[None] < torch.from_numpy(batch.lengths)[:, None]
    blocks = model.blocks(batch, form=form)
    with torch.inference_mode():
        whole = model.encoder(torch.from_numpy(batch.tokens), attention_mask=real, output_hidden_states=True)
    hidden = blocks.start()
    for layer, state in enumerate(whole.hidden_states):
        torch.testing.assert_close(hidden[real], state[real], atol=1e-6, rtol=1e-6)
        if layer < 4:
            hidden = blocks.step(layer, hidden)
    seen = []
    blocks.step(2, whole.hidden_states[2], lambda layer, attention: seen.append((layer, attention.form)))
    assert seen == [(2, form)]


def test_a_step_without_a_sink_tells_nobody(model, batch):
    seen = []
    with kernel.streaming(lambda layer, _: seen.append(layer)):
        blocks = model.blocks(batch, form="softmax")
        blocks.step(0, blocks.start())
    assert seen == []


@pytest.mark.parametrize("form", FORMS)
def test_a_sound_model_passes(model, batch, form):
    check_interventions(model, batch, form)


def ignored(monkeypatch, **_):
    """Fused attention that knows no masks: the change of the context is lost."""
    monkeypatch.setattr(kernel, "intervened_context", lambda context, *_, **__: context)
    return "silenced heads in layer 2 changed nothing behind it"


def uniform_ignored(monkeypatch, **_):
    kept = kernel.intervened_context

    def only_zeros(context, value, mask, layer, **how):
        changed = kept(context, value, mask, layer, **how)
        return changed if not changed.any() else context

    monkeypatch.setattr(kernel, "intervened_context", only_zeros)
    return "uniform attention in layer 2 changed nothing behind it"


def unhooked(monkeypatch, **_):
    """The hook sits on a module that is never called."""
    monkeypatch.setattr(bert_blocks, "mlp_silenced", lambda layer: False)
    return "a silenced feed-forward layer in layer 2 changed nothing behind it"


def leaking(monkeypatch, **_):
    """The layer before is changed as well."""
    kept = kernel.intervened_context
    shifted = lambda context, value, mask, layer, **how: kept(context, value, mask, min(layer + 1, 3), **how)  # noqa: E731
    monkeypatch.setattr(kernel, "intervened_context", shifted)
    return "silenced heads in layer 2 changed a state before it"


def staying(monkeypatch, *, model):
    """The hook of a feed-forward layer is never taken off."""

    @contextmanager
    def stuck(intervention):
        for layer in intervention.mlp if intervention else ():
            dense = model.encoder.encoder.layer[layer].output.dense
            dense.register_forward_hook(lambda _, __, out: torch.zeros_like(out))
        with bert_blocks.active(intervention):
            yield

    monkeypatch.setattr(model, "intervening", stuck)
    return "the model is not the same after an intervention"


def two_minds(monkeypatch, *, model):
    """Run in one piece the model ignores the intervention."""
    kept = type(model).attend

    def clean_attend(batch, sink, *, form):
        with bert_blocks.active(None):
            kept(model, batch, sink, form=form)

    monkeypatch.setattr(model, "attend", clean_attend)
    return "silenced heads: a run in one piece and a run block by block differ"


@pytest.mark.parametrize("broken", [ignored, uniform_ignored, unhooked, leaking, staying, two_minds])
@pytest.mark.parametrize("form", FORMS)
def test_a_model_that_cannot_be_intervened_on_is_refused_by_what_fails(model, batch, monkeypatch, form, broken):
    says = broken(monkeypatch, model=model)
    with pytest.raises(InterventionError, match=re.escape(f"{says}; interventions on this model cannot be trusted")):
        check_interventions(model, batch, form)


def test_no_condition_is_run_on_a_model_that_fails(model, cells, screen, plan, monkeypatch):
    says = ignored(monkeypatch)
    monkeypatch.setattr("interp_assets.interventions.measure.Runner", lambda _: pytest.fail("a condition was run"))
    with pytest.raises(InterventionError, match=says):
        measure_interventions(model, cells, screen, plan)


def test_a_cell_of_one_token_does_not_condemn_a_model(write_bert, make_cells, screen, plan):
    """Regression: tried on the shortest cell alone, uniform attention over one token is the model's own."""
    from dataclasses import replace

    import numpy as np

    from interp_assets.models.families.geneformer import load_geneformer
    from interp_assets.models.files.releases import read_release

    model = load_geneformer(read_release(write_bert(layers=4, specials=("<pad>", "<mask>"))))
    counts = np.ones((4, 30), dtype=int)
    counts[3] = 0
    counts[3, int(screen.perturbations[0][1:])] = 1
    genes = [f"G{number}" for number in range(30)]
    for tokens in (2048, 24):
        found = measure_interventions(
            model, make_cells(counts, genes, genes), screen, replace(plan, batch_tokens=tokens)
        )
        assert found.facts["cells"] == 4

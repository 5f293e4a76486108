"""Do interventions do what they say on this model? Tried before any condition is run.

What belongs here: the checks that every loaded model has to pass. What does not: conditions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from interp_assets.models.adapter import AttentionForm, LayerAttention, TokenBatch
from interp_assets.models.interventions import Intervention, InterventionError, InterventionModel

if TYPE_CHECKING:
    import torch


def check_interventions(model: InterventionModel, batch: TokenBatch, form: AttentionForm) -> None:
    """Refuse a model on which a change of a middle layer does not act downstream only, or does not end.

    For a silenced layer of heads, uniform attention and a silenced feed-forward layer: states before the layer are
    those of the clean run bit for bit, the state behind it is not; running in one piece and block by block give the
    same attention; a run afterwards is the clean one again.

    Raises
    ------
    InterventionError
        Naming the operation and the layer. Fused attention that ignores masks, or a hook on a module that is never
        called, ends here and not as a null result (paper section 9, items 6 and 7).
    """
    facts = model.describe()
    layer = facts.layers // 2
    heads = tuple((layer, head) for head in range(facts.heads))
    clean = _states(model, batch, form, None)
    tried = {
        "silenced heads": Intervention(zero=heads),
        "uniform attention": Intervention(uniform=heads),
        "a silenced feed-forward layer": Intervention(mlp=(layer,)),
    }
    for what, intervention in tried.items():
        states = _states(model, batch, form, intervention)
        _require(_same(states[: layer + 1], clean[: layer + 1]), f"{what} in layer {layer} changed a state before it")
        behind = _same(states[layer + 1 :], clean[layer + 1 :])
        _require(not behind, f"{what} in layer {layer} changed nothing behind it")
        _require(
            _close(_attention(model, batch, form, intervention), _stepped(model, batch, form, intervention)),
            f"{what}: a run in one piece and a run block by block differ",
        )
    _require(_same(_states(model, batch, form, None), clean), "the model is not the same after an intervention")


def _require(condition: bool, said: str) -> None:
    if not condition:
        raise InterventionError(f"{said}; interventions on this model cannot be trusted and none is run")


def _states(
    model: InterventionModel, batch: TokenBatch, form: AttentionForm, intervention: Intervention | None
) -> list[torch.Tensor]:
    blocks = model.blocks(batch, form=form)
    with model.intervening(intervention):
        found = [blocks.start()]
        for layer in range(model.describe().layers):
            found.append(blocks.step(layer, found[-1]))
    return found


def _attention(
    model: InterventionModel, batch: TokenBatch, form: AttentionForm, intervention: Intervention
) -> list[torch.Tensor]:
    found: list[torch.Tensor] = []
    with model.intervening(intervention):
        model.attend(batch, lambda layer, attention: found.append(_told(attention)), form=form)
    return found


def _stepped(
    model: InterventionModel, batch: TokenBatch, form: AttentionForm, intervention: Intervention
) -> list[torch.Tensor]:
    found: list[torch.Tensor] = []
    blocks = model.blocks(batch, form=form)
    with model.intervening(intervention):
        hidden = blocks.start()
        for layer in range(model.describe().layers):
            hidden = blocks.step(layer, hidden, lambda at, attention: found.append(_told(attention)))
    return found


def _told(attention: LayerAttention) -> torch.Tensor:
    """Something every form of attention has: the weights, or the log-sum-exp behind them."""
    told = attention.weights if attention.weights is not None else attention.logsumexp
    if told is None:
        raise InterventionError("the model handed over attention without content")
    return told.clone()


def _same(first: list[torch.Tensor], second: list[torch.Tensor]) -> bool:
    import torch

    return len(first) == len(second) and all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def _close(first: list[torch.Tensor], second: list[torch.Tensor]) -> bool:
    import torch

    return len(first) == len(second) and all(
        torch.allclose(a, b, rtol=1e-4, atol=1e-5) for a, b in zip(first, second, strict=True)
    )

"""What can be done to a running model: heads silenced, attention made uniform, feed-forward layers silenced.

What belongs here: the record of an intervention, the context it is active in, the capture of context vectors, and what
a model offers so that it can be run block by block. What does not: which heads are chosen and what is read
(`interp_assets.interventions`), or how one family does it (`bert_blocks`, `encoder_layers`).

Nothing is written into a weight: while an intervention is active the forward pass differs, afterwards it is the same
as before, bit for bit. Softmax weights are handed to the sink as the head computed them from its input, before the
head is silenced: a read-out then shows what a change upstream did, and never the change itself (paper section 5,
analysis 29).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from interp_assets.models.adapter import AttentionForm, AttentionModel, LayerSink, TokenBatch

if TYPE_CHECKING:
    import torch

Head = tuple[int, int]
# Takes the number of a layer and its context vectors (B x H x S x d): softmax weights times values.
ContextSink = Callable[[int, "torch.Tensor"], None]
_ACTIVE: ContextVar[Intervention | None] = ContextVar("intervention", default=None)
_CAPTURE: ContextVar[ContextSink | None] = ContextVar("context_sink", default=None)


class InterventionError(ValueError):
    """An intervention that names no part of the model, or a model on which interventions do not do what they say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Intervention:
    """Parts of a model that are changed together; heads as (layer, head), both counted from 0.

    ``zero``: output of the head is 0 before the output projection. ``uniform``: every row of the head's attention is
    1/n over the n real tokens it can see (all, or earlier ones and itself), values kept. ``mlp``: output of the
    feed-forward part (bias included) is 0; residual and norm stay.
    """

    zero: tuple[Head, ...] = ()
    uniform: tuple[Head, ...] = ()
    mlp: tuple[int, ...] = ()

    @property
    def layers(self) -> tuple[int, ...]:
        """Layers that are touched, ascending."""
        return tuple(sorted({layer for layer, _ in (*self.zero, *self.uniform)} | set(self.mlp)))

    def heads_of(self, layer: int) -> tuple[list[int], list[int]]:
        """Heads of one layer that are silenced, and that are made uniform."""
        return [h for at, h in self.zero if at == layer], [h for at, h in self.uniform if at == layer]

    def check(self, layers: int, heads: int) -> None:
        """Raise `InterventionError` unless every named part exists and at least one is named."""
        if not self.layers:
            raise InterventionError("an intervention that changes nothing; name a head or a layer")
        wrong = [f"layer {layer}" for layer in self.layers if not 0 <= layer < layers]
        wrong += [f"head {layer}.{head}" for layer, head in (*self.zero, *self.uniform) if not 0 <= head < heads]
        if wrong:
            raise InterventionError(f"{', '.join(wrong)}: the model has {layers} layers of {heads} heads, from 0")
        both = set(self.zero) & set(self.uniform)
        if both:
            raise InterventionError(f"head {min(both)} is to be silenced and made uniform; choose one")


@contextmanager
def active(intervention: Intervention | None) -> Iterator[None]:
    """While open, attention functions apply the intervention; nested contexts replace the outer one."""
    token = _ACTIVE.set(intervention)
    try:
        yield
    finally:
        _ACTIVE.reset(token)


@contextmanager
def capturing(sink: ContextSink) -> Iterator[None]:
    """While open, every layer hands its context vectors to ``sink(layer, context)``, padded positions included.

    They are what the output projection of the layer receives, an active intervention applied. What the sink does not
    copy is gone afterwards; a nested context replaces the outer one.
    """
    token = _CAPTURE.set(sink)
    try:
        yield
    finally:
        _CAPTURE.reset(token)


def mlp_silenced(layer: int) -> bool:
    """Whether the active intervention silences the feed-forward part of a layer."""
    intervention = _ACTIVE.get()
    return intervention is not None and layer in intervention.mlp


def intervened_context(
    context: torch.Tensor, value: torch.Tensor, attention_mask: torch.Tensor | None, layer: int, *, causal: bool = False
) -> torch.Tensor:
    """Context vectors of one layer (B x H x S x d) with the active intervention applied; unchanged without one.

    Every attention function passes its output through here, before the output projection. ``attention_mask`` is
    additive (B x 1 x 1 x S), negative on padding, or None where nothing is padding. Uniform attention is the mean of
    the values over real tokens, for every query; where positions look back (``causal``), over those a query can see.
    """
    changed = _changed_context(context, value, attention_mask, layer, causal)
    sink = _CAPTURE.get()
    if sink is not None:
        sink(layer, changed)
    return changed


def _changed_context(
    context: torch.Tensor, value: torch.Tensor, attention_mask: torch.Tensor | None, layer: int, causal: bool
) -> torch.Tensor:
    intervention = _ACTIVE.get()
    if intervention is None:
        return context
    zero, uniform = intervention.heads_of(layer)
    if not zero and not uniform:
        return context
    changed = context.clone()
    if zero:
        changed[:, zero] = 0
    if uniform:
        even = _running_mean(value[:, uniform]) if causal else _mean_value(value[:, uniform], attention_mask)
        changed[:, uniform] = even.to(changed.dtype)
    return changed


def _mean_value(value: torch.Tensor, attention_mask: torch.Tensor | None) -> torch.Tensor:
    import torch

    value = value.to(torch.promote_types(value.dtype, torch.float32))  # bfloat16 cannot count beyond 256
    if attention_mask is None:
        return value.mean(dim=2, keepdim=True)
    real = (attention_mask >= 0).transpose(2, 3)  # B x 1 x S x 1
    return (value * real).sum(dim=2, keepdim=True) / real.sum(dim=2, keepdim=True)


def _running_mean(value: torch.Tensor) -> torch.Tensor:
    """Mean of the values up to and including each position (padding lies behind every real one)."""
    import torch

    value = value.to(torch.promote_types(value.dtype, torch.float32))
    seen = torch.arange(1, value.shape[2] + 1, device=value.device, dtype=value.dtype)
    return value.cumsum(dim=2) / seen[:, None]


class Output(Protocol):
    """The part of a model that predicts tokens from the last hidden state: ``weight @ transform(hidden) + bias``."""

    weight: torch.Tensor  # V x D
    bias: torch.Tensor  # V

    def transform(self, hidden: torch.Tensor) -> torch.Tensor:
        """What the output matrix is applied to (B x S x D)."""
        ...


class Blocks(Protocol):
    """One batch on its way through a model, block by block, so that unchanged blocks need not run again."""

    def start(self) -> torch.Tensor:
        """Hidden state before the first block (B x S x D)."""
        ...

    def step(self, layer: int, hidden: torch.Tensor, sink: LayerSink | None = None) -> torch.Tensor:
        """Hidden state after block ``layer``; its attention goes to ``sink`` if there is one."""
        ...


@runtime_checkable
class InterventionModel(AttentionModel, Protocol):
    """A model that can be intervened on. `AttentionModel.attend` inside `intervening` is intervened on as well."""

    def intervening(self, intervention: Intervention | None) -> AbstractContextManager[None]:
        """Context in which the model runs with the intervention; None runs it as it is."""
        ...

    def blocks(self, batch: TokenBatch, *, form: AttentionForm) -> Blocks:
        """The batch, ready to be run block by block."""
        ...

    def output(self) -> Output | None:
        """Token prediction of the model; None for a release without one."""
        ...

    def gene_tokens(self, genes: list[str]) -> list[int]:
        """Vocabulary entry of each gene; all of them are known to the model."""
        ...


@runtime_checkable
class ValueModel(InterventionModel, Protocol):
    """A model that is told genes and their values: what can be hidden, and is predicted, is the value of a gene."""

    def hidden_values(self, tokens: NDArray[np.int64]) -> NDArray[np.int64]:
        """The same genes with their values hidden, as in training."""
        ...

    def value_output(self) -> Output | None:
        """Prediction of the value of a token from its own last hidden state, in one row; None without a head."""
        ...

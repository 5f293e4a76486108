"""Kernels that add attention to gene x gene sums without ever holding a token x token matrix of every head.

What belongs here: the attention and mask functions registered with transformers, the numba kernels, and the
torch path for full softmax weights. What does not: batches, shards and files (`attention`, `attention_store`).

The fused CPU operator returns the log-sum-exp of every query over *all* its keys. With it the probability of
any single pair is ``exp(scale * q . k - logsumexp)``, so only pairs of scored genes are ever computed, and
special tokens and unscored genes still count in the denominator.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from interp_assets.models.adapter import AttentionForm, LayerAttention, LayerSink
from interp_assets.models.interventions import intervened_context

if TYPE_CHECKING:
    import torch

IMPLEMENTATION = {"logsumexp": "interp_logsumexp", "softmax": "interp_softmax"}
# Gene rows are cut into this many blocks whatever the number of threads, so that threads cannot change a bit.
ROW_BLOCKS = 8
_SIGNATURE = (
    "aten::_scaled_dot_product_flash_attention_for_cpu(Tensor query, Tensor key, Tensor value, "
    "float dropout_p=0., bool is_causal=False, *, Tensor? attn_mask=None, float? scale=None) "
    "-> (Tensor output, Tensor logsumexp)"
)
_SINK: ContextVar[LayerSink | None] = ContextVar("attention_sink", default=None)


@contextmanager
def streaming(sink: LayerSink | None) -> Iterator[None]:
    """While open, the registered attention functions hand every layer of a forward pass to ``sink``."""
    token = _SINK.set(sink)
    try:
        yield
    finally:
        _SINK.reset(token)


@cache
def fused_operator_usable() -> bool:
    """Whether this torch has the private fused operator with the signature the kernel was written for."""
    import torch

    operator = getattr(torch.ops.aten, "_scaled_dot_product_flash_attention_for_cpu", None)
    return operator is not None and str(operator.default._schema) == _SIGNATURE


def available_forms(device: str) -> tuple[AttentionForm, ...]:
    """Forms of attention that can be had on a device, fastest first."""
    if device != "cpu":
        return ("softmax",)
    if fused_operator_usable():
        return ("logsumexp", "softmax")
    warnings.warn(
        "this torch has no fused attention operator of the known signature: attention is read from the full softmax, "
        "exact but several times slower",
        stacklevel=2,
    )
    return ("softmax",)


@cache
def register_streaming() -> None:
    """Register the streaming attention and mask functions with transformers (once a process).

    Without a mask function under the same name, transformers passes no mask and padding is attended silently.
    """
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface

    for form, function in (("logsumexp", _logsumexp_attention), ("softmax", _softmax_attention)):
        AttentionInterface.register(IMPLEMENTATION[form], function)
        AttentionMaskInterface.register(IMPLEMENTATION[form], narrow_mask)


def narrow_mask(
    *, attention_mask: torch.Tensor | None = None, dtype: torch.dtype | None = None, **_: Any
) -> torch.Tensor | None:
    """Additive mask (B x 1 x 1 x S), or None where no position is padding."""
    import torch

    if attention_mask is None or bool(attention_mask.all()):
        return None
    kind = dtype or torch.float32
    mask = torch.zeros(attention_mask.shape, dtype=kind, device=attention_mask.device)
    mask.masked_fill_(~attention_mask.bool(), torch.finfo(kind).min)
    return mask[:, None, None, :]


def _logsumexp_attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    import torch

    scale = query.size(-1) ** -0.5 if scaling is None else scaling
    output, logsumexp = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
        query, key, value, attn_mask=attention_mask, scale=scale
    )
    sink = _SINK.get()
    if sink is not None:
        attention = LayerAttention(
            form="logsumexp",
            query=query.transpose(1, 2),
            key=key.transpose(1, 2),
            logsumexp=logsumexp,
            scale=float(scale),
        )
        sink(int(module.layer_idx), attention)
    output = intervened_context(output, value, attention_mask, int(module.layer_idx))
    return output.transpose(1, 2), None


def _softmax_attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    import torch

    scale = query.size(-1) ** -0.5 if scaling is None else scaling
    scores = torch.matmul(query, key.transpose(2, 3)) * scale
    if attention_mask is not None:
        scores = scores + attention_mask
    weights = torch.softmax(scores, dim=-1, dtype=torch.promote_types(scores.dtype, torch.float32))
    sink = _SINK.get()
    if sink is not None:
        sink(int(module.layer_idx), LayerAttention(form="softmax", weights=weights, scale=float(scale)))
    output = torch.matmul(weights.to(value.dtype), value)
    output = intervened_context(output, value, attention_mask, int(module.layer_idx))
    return output.transpose(1, 2).contiguous(), None


def context_vectors(
    form: AttentionForm,
    layer: int,
    projected: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
    mask: torch.Tensor | None,
) -> torch.Tensor:
    """Context vectors (B x S x H x d) of one layer, from its queries, keys and values (each B x H x S x d).

    For encoders that transformers does not know: attention goes to the open sink, an active intervention acts. The
    scale is one over the square root of d; ``mask`` is that of `narrow_mask`.
    """
    attend = {"logsumexp": _logsumexp_attention, "softmax": _softmax_attention}[form]
    context: torch.Tensor = attend(SimpleNamespace(layer_idx=layer), *projected, mask)[0]
    return context


Positions = tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int64]]


def add_logsumexp(sums: NDArray[np.float32], attention: LayerAttention, positions: Positions, *, heads: bool) -> None:
    """Add the probabilities of one layer and batch to ``sums``: (H, G, G), or (G, G) for the sum over heads.

    ``positions`` holds, flat over the cells of the batch, token positions and their gene numbers (rising
    within a cell, no gene twice) and the cells' offsets. Equals the softmax path up to float32 rounding; the
    order of additions depends on nothing but the batch.
    """
    import torch

    if attention.query is None or attention.key is None or attention.logsumexp is None:
        raise ValueError("the log-sum-exp kernel needs queries, keys and the log-sum-exp")
    query, key = (part.to(torch.float32).contiguous().numpy() for part in (attention.query, attention.key))
    # the operator returns strides (S*H, 1, H)
    logsumexp = attention.logsumexp.to(torch.float32).contiguous().numpy()
    where, gene, offsets = positions
    kernel = _kernels()[0 if heads else 1]
    kernel(sums, query, key, logsumexp, where, gene, offsets, np.float32(attention.scale), ROW_BLOCKS)


def add_softmax(sums: torch.Tensor, attention: LayerAttention, positions: Positions, *, heads: bool) -> None:
    """Add full softmax weights of one layer and batch to ``sums`` (as `add_logsumexp`), on the sums' device.

    Cells are added one after the other and no gene occurs twice in a cell, so no two additions meet and the
    result does not depend on scheduling.
    """
    import torch

    if attention.weights is None:
        raise ValueError("the softmax path needs weights")
    where, gene, offsets = (torch.from_numpy(part.astype(np.int64)).to(sums.device) for part in positions)
    for cell in range(len(offsets) - 1):
        own = slice(int(offsets[cell]), int(offsets[cell + 1]))
        block = attention.weights[cell][:, where[own]][:, :, where[own]].to(sums.dtype)
        rows, columns = gene[own][:, None], gene[own][None, :]
        if heads:
            sums[:, rows, columns] += block
        else:
            sums[rows, columns] += block.sum(0)


@cache
def _kernels() -> tuple[Callable[..., None], Callable[..., None]]:
    """Compiled kernels: sums per head, and sums over heads."""
    from interp_assets.models import attention_numba

    return attention_numba.add_heads, attention_numba.add_head_sum

"""Kernels that add attention to gene x gene sums without ever holding a token x token matrix of every head.

What belongs here: the attention and mask functions registered with transformers, and which kernel adds. What does not:
the operators of torch (`operators`), the kernels themselves (`compiled`, `gene_order`,
`triton_kernel`), or batches, shards and files (`attention`, `store`).

The fused operator of a device returns the log-sum-exp of every query over *all* its keys. With it the probability of
any single pair is ``exp(scale * q . k - logsumexp)``, so only pairs of scored genes are ever computed, and
special tokens and unscored genes still count in the denominator.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from functools import cache
from importlib.util import find_spec
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from interp_assets.models.adapter import AttentionForm, LayerAttention, LayerSink
from interp_assets.models.attention.gene_order import GeneOrder, add_gene_order, gene_order
from interp_assets.models.attention.operators import (
    available_forms,
    fused_attention,
    fused_operator_usable,
    narrow_mask,
)
from interp_assets.models.attention.pooling import by_position, gene_block, query_weights, token_weights
from interp_assets.models.interventions import intervened_context

if TYPE_CHECKING:
    import torch

__all__ = [
    "IMPLEMENTATION",
    "Kernel",
    "Positions",
    "add_attention",
    "add_logsumexp",
    "add_softmax",
    "available_forms",
    "context_vectors",
    "fused_operator_usable",
    "heads_part",
    "kernel_for",
    "narrow_mask",
    "register_streaming",
    "streaming",
    "triton_usable",
]

IMPLEMENTATION = {"logsumexp": "interp_logsumexp", "softmax": "interp_softmax"}
# Gene rows are cut into this many blocks whatever the number of threads, so that threads cannot change a bit.
ROW_BLOCKS = 8
Kernel = Literal["numba", "gene_order", "triton", "softmax"]
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
def register_streaming() -> None:
    """Register the streaming attention and mask functions with transformers (once a process).

    Without a mask function under the same name, transformers passes no mask and padding is attended silently.
    """
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface

    for form, function in (("logsumexp", _logsumexp_attention), ("softmax", _softmax_attention)):
        AttentionInterface.register(IMPLEMENTATION[form], function)
        AttentionMaskInterface.register(IMPLEMENTATION[form], narrow_mask)


def _logsumexp_attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    scale = query.size(-1) ** -0.5 if scaling is None else scaling
    causal = _looks_back(module)
    key, value = _for_every_head(query, key), _for_every_head(query, value)
    mask = None if causal else attention_mask
    output, logsumexp = fused_attention(query, key, value, mask, scale, causal=causal)
    sink = _SINK.get()
    if sink is not None:
        attention = LayerAttention(
            form="logsumexp",
            query=query.transpose(1, 2),
            key=key.transpose(1, 2),
            logsumexp=logsumexp,
            scale=float(scale),
            causal=causal,
        )
        sink(int(module.layer_idx), attention)
    output = intervened_context(output, value, attention_mask, int(module.layer_idx), causal=causal)
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
    causal = _looks_back(module)
    key, value = _for_every_head(query, key), _for_every_head(query, value)
    scores = torch.matmul(query, key.transpose(2, 3)) * scale
    if causal:
        later = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).triu(1)
        scores = scores.masked_fill(later, torch.finfo(scores.dtype).min)
    elif attention_mask is not None:
        scores = scores + attention_mask
    weights = torch.softmax(scores, dim=-1, dtype=torch.promote_types(scores.dtype, torch.float32))
    sink = _SINK.get()
    if sink is not None:
        attention = LayerAttention(form="softmax", weights=weights, scale=float(scale), causal=causal)
        sink(int(module.layer_idx), attention)
    output = torch.matmul(weights.to(value.dtype), value)
    output = intervened_context(output, value, attention_mask, int(module.layer_idx), causal=causal)
    return output.transpose(1, 2).contiguous(), None


def _looks_back(module: Any) -> bool:
    """Whether positions see earlier ones and themselves alone.

    Batches are padded on the right, behind every real position: a row that looks back never reaches padding, so that
    such a model needs no other mask.
    """
    return bool(getattr(module, "is_causal", False))


def _for_every_head(query: torch.Tensor, grouped: torch.Tensor) -> torch.Tensor:
    """Keys or values with one head a query head: where query heads share them, each is repeated for its group."""
    groups = int(query.shape[1]) // int(grouped.shape[1])
    return grouped if groups == 1 else grouped.repeat_interleave(groups, dim=1)


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


def kernel_for(form: AttentionForm, device: str, wanted: str = "auto") -> Kernel:
    """Kernel that adds attention of a form on a device.

    ``auto`` is the numba kernel on the processor; on CUDA the Triton kernel, or plain torch in gene order where Triton
    is absent. Full softmax weights have one kernel.

    Raises
    ------
    ValueError
        If the wanted kernel cannot add this form here.
    """
    if form == "softmax":
        if wanted != "auto":
            raise ValueError(f"kernel {wanted} needs the log-sum-exp, but attention comes as full softmax weights here")
        return "softmax"
    if wanted == "numba" or (wanted == "auto" and device == "cpu"):
        if device != "cpu":
            raise ValueError(f"kernel numba adds on the processor, not on {device}; use `auto` or `gene_order`")
        return "numba"
    usable = triton_usable(device)
    if wanted == "triton" and not usable:
        raise ValueError(f"kernel triton needs the triton package and a CUDA device, not {device}; use `auto`")
    return "triton" if usable and wanted != "gene_order" else "gene_order"


@cache
def triton_usable(device: str) -> bool:
    """Whether the Triton kernel can run on a device: CUDA, or any with Triton's interpreter switched on."""
    return find_spec("triton") is not None and (device == "cuda" or os.environ.get("TRITON_INTERPRET") == "1")


def add_attention(
    sums: torch.Tensor,
    attention: LayerAttention,
    positions: Positions,
    *,
    heads: bool,
    kernel: Kernel | None = None,
    order: GeneOrder | None = None,
) -> None:
    """Add attention of one layer and batch, in either form, to sums on their device (see `add_logsumexp`).

    ``kernel`` None is that of `kernel_for`. ``order`` spares making it from ``positions`` again for every layer. Where
    genes have several tokens there is no gene order, and their weights are added token by token.
    """
    chosen = kernel or kernel_for(attention.form, sums.device.type)
    if chosen in {"gene_order", "triton"} and order is None and query_weights(*positions[1:]) is not None:
        chosen = "softmax"
    if chosen == "softmax":
        add_softmax(sums, attention, positions, heads=heads)
    elif chosen == "numba":
        add_logsumexp(sums.numpy(), attention, positions, heads=heads)  # shares the memory of the tensor
    else:
        order = order or gene_order(positions, int(sums.shape[-1]), sums.device)
        if chosen == "triton":
            from interp_assets.models.attention.triton_kernel import add_gene_order_triton

            add_gene_order_triton(sums, attention, order, heads=heads)
        else:
            add_gene_order(sums, attention, order, heads=heads)


def heads_part(attention: LayerAttention, heads: Sequence[int]) -> LayerAttention:
    """Attention of some heads of a layer."""
    some = list(heads)
    if attention.weights is not None:
        return replace(attention, weights=attention.weights[:, some])
    if attention.query is None or attention.key is None or attention.logsumexp is None:
        raise ValueError("attention came without content")
    return replace(
        attention,
        query=attention.query[:, :, some],
        key=attention.key[:, :, some],
        logsumexp=attention.logsumexp[:, some],
    )


def add_logsumexp(sums: NDArray[np.float32], attention: LayerAttention, positions: Positions, *, heads: bool) -> None:
    """Add the probabilities of one layer and batch to ``sums``: (H, G, G), or (G, G) for the sum over heads.

    ``positions`` holds, flat over the cells of the batch, token positions and their gene numbers (rising
    within a cell) and the cells' offsets. A gene of several tokens is pooled: mean over those of the query, sum over
    those of the key. Equals the softmax path up to float32 rounding; the order of additions depends on nothing but the
    batch.
    """
    import torch

    if attention.query is None or attention.key is None or attention.logsumexp is None:
        raise ValueError("the log-sum-exp kernel needs queries, keys and the log-sum-exp")
    query, key = (part.to(torch.float32).contiguous().numpy() for part in (attention.query, attention.key))
    # the operator returns strides (S*H, 1, H)
    logsumexp = attention.logsumexp.to(torch.float32).contiguous().numpy()
    where, gene, offsets = positions
    weight, scale, causal = query_weights(gene, offsets), np.float32(attention.scale), attention.causal
    pooled = causal or weight is not None
    if pooled:
        order = by_position(where, offsets)
        where, gene, weight = where[order], gene[order], None if weight is None else weight[order]
    share = np.ones(gene.size, dtype=np.float32) if weight is None else weight
    add_heads, add_sum, add_pooled_sum = _kernels()
    if heads:
        add_heads(sums, query, key, logsumexp, where, gene, share, offsets, scale, ROW_BLOCKS, causal)
    elif pooled:
        add_pooled_sum(sums, query, key, logsumexp, where, gene, share, offsets, scale, ROW_BLOCKS, causal)
    else:
        add_sum(sums, query, key, logsumexp, where, gene, offsets, scale, ROW_BLOCKS)


def add_softmax(sums: torch.Tensor, attention: LayerAttention, positions: Positions, *, heads: bool) -> None:
    """Add softmax weights of one layer and batch, token by token, to ``sums`` (as `add_logsumexp`), on their device.

    Full weights are read as they are; those of the log-sum-exp form are made for the scored positions of a cell. Cells
    are added one after the other and the tokens of a gene are pooled before (`pooling.gene_block`), so no two
    additions meet and the result does not depend on scheduling.
    """
    import torch

    where, gene, offsets = (part.astype(np.int64) for part in positions)
    for cell in range(len(offsets) - 1):
        own = slice(int(offsets[cell]), int(offsets[cell + 1]))
        block = token_weights(attention, cell, where[own], where[own])
        block, names = gene_block(block, torch.from_numpy(gene[own]).to(sums.device))
        rows, columns = names[:, None], names[None, :]
        if heads:
            sums[:, rows, columns] += block
        else:
            sums[rows, columns] += block.sum(0)


@cache
def _kernels() -> tuple[Callable[..., None], Callable[..., None], Callable[..., None]]:
    """Compiled kernels: sums per head; over heads; over heads where rows see a prefix or genes have several tokens."""
    from interp_assets.models.attention import compiled, compiled_causal

    return compiled.add_heads, compiled.add_head_sum, compiled_causal.add_head_sum

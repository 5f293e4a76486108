"""Fused attention of torch that also returns the log-sum-exp, on the processor and on CUDA.

What belongs here: the private operators, the checks that they are what the code was written for, and masks as they want
them. What does not: what is done with the log-sum-exp (`kernel`).
"""

from __future__ import annotations

import warnings
from functools import cache
from typing import TYPE_CHECKING, Any

from interp_assets.models.adapter import AttentionForm

if TYPE_CHECKING:
    import torch

# Private operators, by kind of device: name, and the signature the code below was written for.
OPERATORS = {
    "cpu": (
        "_scaled_dot_product_flash_attention_for_cpu",
        "(Tensor query, Tensor key, Tensor value, float dropout_p=0., bool is_causal=False, *, "
        "Tensor? attn_mask=None, float? scale=None) -> (Tensor output, Tensor logsumexp)",
    ),
    "cuda": (
        "_scaled_dot_product_efficient_attention",
        "(Tensor query, Tensor key, Tensor value, Tensor? attn_bias, bool compute_log_sumexp, float dropout_p=0., "
        "bool is_causal=False, *, float? scale=None) "
        "-> (Tensor output, Tensor log_sumexp, Tensor philox_seed, Tensor philox_offset)",
    ),
}
# The CUDA operator reads rows of its bias, and queries and keys, in pieces of this many numbers.
_ALIGNED_ROW = 16
_ALIGNED_WIDTH = 8


def available_forms(device: str) -> tuple[AttentionForm, ...]:
    """Forms of attention that can be had on a device, fastest first."""
    if fused_operator_usable(device):
        return ("logsumexp", "softmax")
    warnings.warn(
        "this torch has no fused attention operator of the known signature: attention is read from the full softmax, "
        "exact but several times slower",
        stacklevel=2,
    )
    return ("softmax",)


@cache
def fused_operator_usable(device: str = "cpu") -> bool:
    """Whether this torch has the private fused operator of a device, with the signature the code was written for.

    On CUDA it also has to run and to give the natural logarithm: a small batch with padding is held against
    `torch.logsumexp`.
    """
    import torch

    if device not in OPERATORS:
        return False
    name, signature = OPERATORS[device]
    operator = getattr(torch.ops.aten, name, None)
    if operator is None or str(operator.default._schema) != f"aten::{name}{signature}":
        return False
    return device == "cpu" or logsumexp_agrees(device)


def logsumexp_agrees(device: str) -> bool:
    """Whether `fused_attention` gives the log-sum-exp of a float64 softmax, to 1e-4, on two cells with padding."""
    import torch

    generator = torch.Generator().manual_seed(0)
    query, key = (torch.randn((2, 2, 19, 12), generator=generator).to(device) for _ in range(2))
    valid = torch.ones((2, 19), dtype=torch.bool, device=device)
    valid[1, 11:] = False
    try:
        _, found = fused_attention(query, key, key, narrow_mask(attention_mask=valid), 0.25)
    except RuntimeError as error:  # a card, or a build of torch, without such a kernel
        warnings.warn(f"the fused attention operator does not run on {device}: {error}", stacklevel=2)
        return False
    scores = query.double() @ key.double().transpose(2, 3) * 0.25
    expected = torch.logsumexp(scores.masked_fill(~valid[:, None, None, :], -torch.inf), -1)
    return bool((found - expected).abs().max() < 1e-4)


def fused_attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None,
    scale: float,
    *,
    causal: bool = False,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Context vectors (B x H x S x d) and log-sum-exp (B x H x S, natural, float32) by the operator of the device.

    ``mask`` is additive and broadcasts to B x H x S x S; with ``causal`` positions see earlier ones and themselves.
    """
    import torch

    if on_processor(query):
        output, logsumexp = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
            query, key, value, is_causal=causal, attn_mask=mask, scale=scale
        )
        return output, logsumexp
    length, width = int(query.shape[2]), int(query.shape[3])
    if width % _ALIGNED_WIDTH:
        # zeros behind the vectors change no product
        more = (0, -width % _ALIGNED_WIDTH)
        query, key, value = (torch.nn.functional.pad(part, more) for part in (query, key, value))
    bias = None if mask is None else aligned_bias(mask, query)
    output, logsumexp = torch.ops.aten._scaled_dot_product_efficient_attention(
        query, key, value, bias, True, is_causal=causal, scale=scale
    )[:2]
    # the operator pads the length of its log-sum-exp
    return output[..., :width], logsumexp[:, :, :length]


def on_processor(tensor: torch.Tensor) -> bool:
    """Whether a tensor lies in host memory."""
    return bool(tensor.device.type == "cpu")


def aligned_bias(mask: torch.Tensor, query: torch.Tensor) -> torch.Tensor:
    """Additive mask as the CUDA operator wants it: B x H x S x S, rows beginning at multiples of 16 numbers.

    A view wherever the mask is the same for all heads or queries; only the padded rows themselves are stored.
    """
    import torch

    keys = int(mask.shape[-1])
    padded = torch.nn.functional.pad(mask, (0, -keys % _ALIGNED_ROW))[..., :keys]
    return padded.expand(*query.shape[:3], keys)


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

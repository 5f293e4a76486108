"""The check that attention handed over by a model is finite and sums to one.

What belongs here: the check of a batch while it is read, and its tolerances. What does not: where the mass goes
(`facts`).
"""

from __future__ import annotations

from typing import Final

from interp_assets.models.adapter import LayerAttention, TokenBatch

MASS_TOLERANCE: Final = {"float32": 1e-3, "bfloat16": 3e-2}
_MASS_ROWS: Final = 4


class AttentionMassError(ValueError):
    """Softmax weights that do not sum to one: the mask, the scale or the log-sum-exp is wrong."""


class AttentionNotFiniteError(AttentionMassError):
    """Softmax weights that are no numbers: the weights of the model, or what its products overflow to, give none."""


def check_mass(attention: LayerAttention, batch: TokenBatch, layer: int, tolerance: float) -> None:
    """Return only if every row is finite and sampled rows of the shortest cell sum to one over its real tokens.

    Sums over real tokens only, so weight lost to padding is seen as well as a wrong scale or log-sum-exp.

    Raises
    ------
    AttentionNotFiniteError
        Naming the heads, if a row of any cell is NaN or infinite. One such number would make others of every pair
        the cell holds, and a ranked one would pass for a score.
    AttentionMassError
        If a sampled row does not sum to one within ``tolerance``.
    """
    import torch

    _refuse_unfinished_rows(attention, batch, layer)
    length = int(batch.lengths.min())
    cell = int(batch.lengths.argmin())
    rows = torch.linspace(0, length - 1, min(_MASS_ROWS, length)).long()
    if attention.form == "softmax" and attention.weights is not None:
        mass = attention.weights[cell][:, rows.to(attention.weights.device), :length].float().sum(-1)
    elif attention.query is not None and attention.key is not None and attention.logsumexp is not None:
        query = attention.query[cell, rows].float().transpose(0, 1)
        key = attention.key[cell, :length].float().permute(1, 2, 0)
        shift = attention.logsumexp[cell][:, rows].float()
        weights = torch.exp(query @ key * attention.scale - shift[:, :, None])
        if attention.causal:
            later = torch.arange(length)[None, :] > rows[:, None]
            weights = weights.masked_fill(later.to(weights.device), 0.0)
        mass = weights.sum(-1)
    else:
        raise ValueError(f"layer {layer}: attention came without content")
    worst = float((mass - 1).abs().max())
    if not worst <= tolerance:
        raise AttentionMassError(
            f"layer {layer}: attention rows sum to 1 only within {worst:.3g} (tolerance {tolerance}); the mask, the "
            'scale or the log-sum-exp is wrong. Use form="softmax" and report the library versions'
        )


def _refuse_unfinished_rows(attention: LayerAttention, batch: TokenBatch, layer: int) -> None:
    """Look at one number for each row, its log-sum-exp or its sum; that is finite only if the whole row is."""
    import torch

    found = attention.logsumexp
    if attention.form == "softmax" and attention.weights is not None:
        found = attention.weights.sum(-1)
    if found is None:
        return
    lengths = torch.as_tensor(batch.lengths, device=found.device)
    real = torch.arange(found.shape[-1], device=found.device)[None, :] < lengths[:, None]
    lost = ~torch.isfinite(found) & real[:, None, :]
    if not bool(lost.any()):
        return
    heads = torch.nonzero(lost.any(-1).any(0)).ravel().tolist()
    cells = int(lost.any(-1).any(-1).sum())
    raise AttentionNotFiniteError(
        f"layer {layer}, head {', '.join(map(str, heads))}: attention is NaN or infinite in {cells} of {len(lengths)} "
        "cells of a batch, and no score can be made of it. Look for NaN or infinite values among the weights of the "
        "release; where dtype is bfloat16, use float32"
    )

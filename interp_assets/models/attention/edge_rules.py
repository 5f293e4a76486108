"""What the attention of one cell says of a gene pair: named rules, chosen in the settings of an extraction.

What belongs here: the names, and every rule but the softmax mean, which is the kernels' own (`kernel`). What
does not: sums over batches and cells (`attention`).

``softmax_mean``: the softmax weight from the first gene (query) to the second (key).

``double_rank``: the score of scGPT's tutorial on attention networks. Scores q . k, before scaling and softmax, are
ranked within each row (the keys of a query), divided by the M tokens of the cell, then ranked within each column (the
queries of a key) and divided by M again. Both rules are meaned over heads and over the cells that hold both genes, and
both are written with the row as regulator; the tutorial reads the edges of a regulator from its column, which is the
transposed matrix (analysis E9 reads both orientations).

Differences from the tutorial, on purpose: equal scores share the mean of their ranks, since their order would be that
of the sequence, which means nothing; padding is left out; every cell counts, where the tutorial's running sum skips the
first cell of a condition and divides by all; every layer is scored, where it takes the last.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from interp_assets.models.adapter import LayerAttention, ModelFacts

if TYPE_CHECKING:
    import torch

    from interp_assets.models.attention.kernel import Positions

EdgeRule = Literal["softmax_mean", "double_rank"]
Add = Callable[..., None]


def unreadable(rule: str, facts: ModelFacts, *, several: bool = False) -> str:
    """Why a rule cannot be had of a model; empty if it can. ``several``: genes may stand at several positions.

    Raises
    ------
    ValueError
        If there is no such rule.
    """
    if rule not in get_args(EdgeRule):
        raise ValueError(f"edge_rule = {rule!r}; use {' or '.join(get_args(EdgeRule))}")
    if rule == "softmax_mean":
        return ""
    if facts.direction != "bidirectional":
        return (
            f"edge rule {rule} ranks all queries of a key, and in a {facts.direction} model (family {facts.family}) "
            "most keys have no score for most queries; use softmax_mean"
        )
    if several:
        return f"edge rule {rule} needs genes of one token each, which family {facts.family} has not; use softmax_mean"
    return ""


def adder(rule: EdgeRule, lengths: NDArray[np.int64], **of_kernel: Any) -> Add:
    """What adds one layer and batch to sums, as `kernel.add_attention` does, under a rule.

    ``lengths`` are the real tokens of each cell of the batch; ``of_kernel`` reaches the kernels of the softmax mean.
    """
    from interp_assets.models.attention.kernel import add_attention

    if rule == "double_rank":
        return functools.partial(add_double_rank, lengths=lengths)
    return functools.partial(add_attention, **of_kernel)


def double_rank(scores: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """Double rank of some tokens of one cell (H x n x n, in [0, 1)) from the scores of all (H x M x M, row = query).

    Ranks count from 0. ``chosen`` (n) are the places of the tokens that come back; all M take part in every ranking.
    """
    import torch

    rank = _on_processor if scores.device.type == "cpu" else _on_device
    return torch.stack([rank(head, chosen) for head in scores])  # one at a time: ranking copies M x M


def _on_processor(scores: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    import torch

    from interp_assets.models.attention.edge_rules_compiled import rank_twice

    values = scores.contiguous().numpy()
    found = np.empty((chosen.numel(), chosen.numel()), dtype=np.float32)
    rank_twice(values, np.argsort(values, axis=1), chosen.numpy(), found)
    return torch.from_numpy(found)


def _on_device(scores: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    within_row = _ranks(scores, scores)
    columns = within_row[:, chosen].T.contiguous()
    return _ranks(columns, columns[:, chosen]).T / scores.shape[-1]


def _ranks(rows: torch.Tensor, asked: torch.Tensor) -> torch.Tensor:
    """Rank from 0 of asked values within their row; equal values share the mean of their ranks."""
    import torch

    ordered = rows.sort(dim=-1).values
    below = torch.searchsorted(ordered, asked.contiguous())
    through = torch.searchsorted(ordered, asked.contiguous(), right=True)
    return (below + through - 1).to(torch.float32) / 2


def raw_scores(attention: LayerAttention, cell: int, length: int) -> torch.Tensor:
    """Scores of the real tokens of one cell (H x M x M, float32, row = query), to be ranked within rows.

    q . k where queries and keys are at hand; else the softmax weights, which order the keys of a query alike.
    """
    if attention.query is not None and attention.key is not None:
        query = attention.query[cell, :length].float().transpose(0, 1)
        return query @ attention.key[cell, :length].float().permute(1, 2, 0)
    if attention.weights is None:
        raise ValueError("attention came without content")
    return attention.weights[cell][:, :length, :length].float()


def add_double_rank(
    sums: torch.Tensor, attention: LayerAttention, positions: Positions, *, lengths: NDArray[np.int64], heads: bool
) -> None:
    """Add the double ranks of one layer and batch to ``sums``: (H, G, G), or (G, G) for the sum over heads.

    ``lengths`` are the real tokens of each cell; ``positions`` as in `kernel.add_softmax`.

    Raises
    ------
    ValueError
        If a cell holds a gene at several positions, or positions see earlier ones only (see `unreadable`).
    """
    import torch

    for cell, length in enumerate(lengths.tolist()):
        where, gene = (part[positions[2][cell] : positions[2][cell + 1]].astype(np.int64) for part in positions[:2])
        if attention.causal or (np.diff(gene) == 0).any():
            raise ValueError("double_rank needs attention both ways and genes of one token each; use softmax_mean")
        place, names = (torch.from_numpy(part).to(sums.device) for part in (where, gene))
        block = double_rank(raw_scores(attention, cell, length), place)
        if heads:
            sums[:, names[:, None], names[None, :]] += block
        else:
            sums[names[:, None], names[None, :]] += block.sum(0)

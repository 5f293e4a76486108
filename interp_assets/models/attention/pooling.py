"""From tokens to genes where a gene has several tokens or the model looks back only: pooling, possible pairs, order.

What belongs here: what a pair of genes means in such sequences, and what their order alone would give. What does not:
running a model (`attention`), or families (`causal`).

Gene x gene = mean over the tokens of the query gene of the sum over the tokens of the key gene. A model that looks back
gives a value in one direction of a pair in each cell: from the gene that comes later to the earlier one. Sums and
counts keep that direction; scores pool both, (sum_ij + sum_ji) / (n_ij + n_ji), so that a pair has one score, and none
where no cell holds both.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from interp_assets.models.adapter import LayerAttention

if TYPE_CHECKING:
    import torch

    from interp_assets.models.attention.plan import ScoredCells

Ints = NDArray[np.int32]


def both_orders(directed: NDArray[Any]) -> NDArray[Any]:
    """Sums or counts of a pair in both orders together (... x G x G); the diagonal stays as it is.

    >>> both_orders(np.array([[5, 1], [2, 7]])).tolist()
    [[5, 3], [3, 7]]
    """
    pooled = np.asarray(directed + np.swapaxes(directed, -1, -2))
    own = np.arange(pooled.shape[-1])
    pooled[..., own, own] = directed[..., own, own]
    return pooled


def query_weights(gene: Ints, offsets: NDArray[np.int64]) -> NDArray[np.float32] | None:
    """1 / (tokens of the gene in its cell) for each scored position; None where every gene has one token.

    ``gene`` rises within each cell.
    """
    again = repeated(gene, offsets)
    if not again.any():
        return None
    run = np.cumsum(~again) - 1
    shares: NDArray[np.float32] = (1.0 / np.bincount(run)[run]).astype(np.float32)
    return shares


def repeated(gene: NDArray[Any], offsets: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which scored positions hold the gene of the one before in the same cell.

    >>> repeated(np.array([3, 3, 7, 7, 7]), np.array([0, 3, 5])).tolist()
    [False, True, False, False, True]
    """
    again = np.zeros(gene.size, dtype=np.bool_)
    again[1:] = gene[1:] == gene[:-1]
    again[offsets[:-1][offsets[:-1] < gene.size]] = False
    return again


def by_position(where: Ints, offsets: NDArray[np.int64]) -> NDArray[np.int64]:
    """Order that sorts the scored positions of each cell by place in the sequence."""
    cell = np.repeat(np.arange(offsets.size - 1), np.diff(offsets))
    return np.lexsort((where, cell))


def token_weights(
    attention: LayerAttention, cell: int, query: NDArray[np.int64], key: NDArray[np.int64]
) -> torch.Tensor:
    """Softmax weights of every head between some positions of one cell (H x r x n, float32); 0 where none is seen."""
    import torch

    query_at, key_at = torch.from_numpy(query), torch.from_numpy(key)
    if attention.weights is not None:
        return attention.weights[cell][:, query_at][:, :, key_at].float()
    if attention.query is None or attention.key is None or attention.logsumexp is None:
        raise ValueError("attention came without weights and without queries, keys and log-sum-exp")
    own = attention.query[cell, query_at].float().transpose(0, 1)
    other = attention.key[cell, key_at].float().permute(1, 2, 0)
    weights = torch.exp(own @ other * attention.scale - attention.logsumexp[cell][:, query_at].float()[:, :, None])
    if attention.causal:
        weights = weights.masked_fill((key_at[None, :] > query_at[:, None]).to(weights.device), 0.0)
    return weights


def even_weights(query: NDArray[np.int64], key: NDArray[np.int64]) -> torch.Tensor:
    """Weights between positions that look evenly at all they can see (1 x r x n, float32)."""
    import torch

    seen = key[None, :] <= query[:, None]
    return torch.from_numpy(np.where(seen, 1.0 / (query[:, None] + 1.0), 0.0).astype(np.float32))[None]


def pooled_turns(values: torch.Tensor, place: torch.Tensor, size: int, dim: int, *, mean: bool = False) -> torch.Tensor:
    """Entries along ``dim`` added up by ``place`` (0 to ``size`` - 1, rising), or their mean.

    The k-th entries of all places are added together, so that no two additions meet and the result does not depend on
    scheduling.
    """
    import torch

    entries = torch.bincount(place, minlength=size)
    start = torch.cumsum(entries, 0) - entries
    turn = torch.arange(place.numel(), device=place.device) - start[place]
    moved = values.movedim(dim, 0)
    pooled = moved.new_zeros((size, *moved.shape[1:]))
    for number in range(int(entries.max())):
        own = turn == number
        pooled[place[own]] += moved[own]
    if mean:
        pooled /= entries.view(-1, *(1 for _ in moved.shape[1:]))
    return pooled.movedim(0, dim)


def gene_weights(
    weights: torch.Tensor,
    query_of: NDArray[np.int64] | None,
    queries: int,
    key_of: NDArray[np.int64] | None,
    keys: int,
) -> torch.Tensor:
    """Weights between tokens (H x r x n) by gene: mean over the tokens of a query, sum over those of a key.

    ``query_of`` and ``key_of`` number the gene of each token, rising; None where a gene has one token.
    """
    import torch

    if key_of is not None:
        weights = pooled_turns(weights, torch.from_numpy(key_of).to(weights.device), keys, 2)
    if query_of is not None:
        weights = pooled_turns(weights, torch.from_numpy(query_of).to(weights.device), queries, 1, mean=True)
    return weights


def gene_block(block: torch.Tensor, gene: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Attention of the scored tokens of one cell (H x n x n) by gene (H x g x g), and the genes; ``gene`` (n) rises."""
    import torch

    names, place = torch.unique_consecutive(gene, return_inverse=True)
    if names.numel() == gene.numel():
        return block, gene
    columns = pooled_turns(block, place, int(names.numel()), 2)
    return pooled_turns(columns, place, int(names.numel()), 1, mean=True), names


def possible_counts(cells: ScoredCells) -> Ints:
    """Number of cells in which a token of the query gene (row) can see one of the key gene (column), G x G.

    In a model that looks back: some token of the key stands at or before some token of the query. The pair of a gene
    with itself is possible wherever the gene stands. Both orders together are `plan.pair_counts`, as long as
    the tokens of a gene stand side by side.
    """
    from interp_assets.models.attention.compiled_causal import count_possible

    counts = np.zeros((cells.genes, cells.genes), dtype=np.int32)
    if cells.gene.size:
        cell = np.repeat(np.arange(cells.offsets.size - 1), np.diff(cells.offsets))
        run = np.flatnonzero(np.diff(cell, prepend=-1) | np.diff(cells.gene, prepend=-1))
        first, last = np.minimum.reduceat(cells.where, run), np.maximum.reduceat(cells.where, run)
        offsets = np.searchsorted(cell[run], np.arange(cells.offsets.size)).astype(np.int64)
        count_possible(counts, first, last, cells.gene[run], offsets)
    return counts


def order_sums(cells: ScoredCells) -> NDArray[np.float64]:
    """Sums of a layer (G x G) if every position looked evenly at all it can see: 1/(i + 1) at place i.

    No model is run: this is the part of a causal attention score that token order alone gives.
    """
    from interp_assets.models.attention.compiled_causal import add_order

    sums = np.zeros((cells.genes, cells.genes), dtype=np.float64)
    order = by_position(cells.where, cells.offsets)
    weight = query_weights(cells.gene, cells.offsets)
    share = np.ones(cells.gene.size, dtype=np.float32) if weight is None else weight
    add_order(sums, cells.where[order], cells.gene[order], share[order], cells.offsets)
    return sums


def order_control(cells: ScoredCells, means: Iterable[Path]) -> dict[str, Any]:
    """How far token order alone explains the scores of each layer of a causal model, as facts of an extraction.

    ``means`` are the files with the sums of the head mean (G x G) of each layer. ``spearman`` holds the rank
    correlation of each layer's pooled scores with those of `order_sums`, over unordered pairs that a cell holds; None
    where either is constant or fewer than three pairs have a score.
    ``possible_share`` is the mean share of a pair's cells in which its more frequent order occurs: 1 where order is
    fixed.
    """
    directed = possible_counts(cells)
    counts = both_orders(directed)
    pair = np.triu(counts > 0, 1)
    alone = both_orders(order_sums(cells))[pair] / counts[pair]
    read = (both_orders(np.load(path, allow_pickle=False)) for path in means)
    found = [_spearman(mean[pair] / counts[pair], alone) for mean in read]
    more = np.maximum(directed, directed.T)[pair] / counts[pair]
    return {
        "score": "attention spread evenly over the visible positions, 1/(i + 1)",
        "pairs": int(pair.sum()),
        "spearman": found,
        "possible_share": round(float(more.mean()), 6) if more.size else None,
    }


def _spearman(first: NDArray[Any], second: NDArray[Any]) -> float | None:
    from scipy.stats import rankdata

    if first.size < 3 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return None
    return round(float(np.corrcoef(rankdata(first), rankdata(second))[0, 1]), 6)

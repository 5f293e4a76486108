"""What is read from a run, and how far a run lies from the clean one.

What belongs here: sums of read-outs over cells, and cosine distances. What does not: choosing or running conditions.

Three read-outs of a perturbed gene s and a scored gene t, each a mean over the cells whose sequence holds s:

- ``attention``: head mean of softmax(q k)[s, t] in the layer all analyses read (the published read-out);
- ``last_attention``: the same in the last layer, downstream of every other one;
- ``logits``: how much likelier the model's output makes t at the position of s than at the other positions of the
  same cell, logit_t(s) - mean over positions logit_t: downstream of every head and layer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from interp_assets.interventions.cells import CellRows
from interp_assets.models.adapter import LayerAttention, TokenBatch
from interp_assets.models.attention.pooling import even_weights, gene_weights, pooled_turns, token_weights
from interp_assets.models.interventions import Output

if TYPE_CHECKING:
    import torch

# Takes positions of queries and keys and gives the weights between them (H x r x n).
TokenWeights = Callable[[NDArray[np.int64], NDArray[np.int64]], "torch.Tensor"]
ATTENTION: Final = "attention"
LAST_ATTENTION: Final = "last_attention"
LOGITS: Final = "logits"


def row_weights(attention: LayerAttention, cell: int, rows: CellRows) -> torch.Tensor:
    """Softmax weights of every head from the row genes to the scored genes of one cell (H x r x n, float32).

    Of a gene of several tokens: mean over those of the row, sum over those of the column. In a model that looks back a
    pair has one weight in a cell, from the later gene to the earlier one, whichever of them is the row.

    Raises
    ------
    ValueError
        If the model looks back and ``rows`` do not say where the row genes are among the scored ones.
    """
    return _pair_weights(rows, lambda query, key: token_weights(attention, cell, query, key), attention.causal)


def order_weights(rows: CellRows) -> NDArray[np.float32]:
    """What `row_weights` would be if every position looked evenly at all it can see, 1/(i + 1) at place i (r x n).

    The order control of a model that looks back: what the order of tokens alone gives a pair in this cell.
    """
    found: NDArray[np.float32] = _pair_weights(rows, even_weights, True)[0].numpy()
    return found


def _pair_weights(rows: CellRows, tokens: TokenWeights, causal: bool) -> torch.Tensor:
    """Weights by gene out of weights between tokens; both orders of a pair where positions look back."""
    weights = tokens(rows.row_at, rows.column_at)
    forth = gene_weights(weights, rows.row_of, rows.row.size, rows.column_of, rows.column.size)
    if not causal:
        return forth
    if rows.own is None:
        raise ValueError("rows of a model that looks back must say where they are among the scored genes")
    weights = tokens(rows.column_at, rows.row_at)
    back = gene_weights(weights, rows.column_of, rows.column.size, rows.row_of, rows.row.size).transpose(1, 2).clone()
    back[:, np.arange(rows.own.size), rows.own] = 0.0  # a gene to itself stands in both
    both: torch.Tensor = forth + back
    return both


def row_entropy(attention: LayerAttention, cell: int, length: int) -> torch.Tensor:
    """Mean entropy (nats) of the attention rows of one cell over its real tokens, for each head (H)."""
    import torch

    everywhere = np.arange(length)
    weights = token_weights(attention, cell, everywhere, everywhere)
    return -torch.special.xlogy(weights, weights).sum(-1).mean(-1)


class RowSums:
    """Sums over cells of one attention read-out: rows x genes."""

    def __init__(self, rows: int, genes: int, device: str) -> None:
        import torch

        self.total = torch.zeros((rows, genes), dtype=torch.float32, device=device)

    def add(self, attention: LayerAttention, batch: Sequence[CellRows]) -> None:
        """Add the head mean of one batch."""
        import torch

        for cell, rows in enumerate(batch):
            if rows.row.size:
                block = row_weights(attention, cell, rows).mean(0)
                row, column = torch.from_numpy(rows.row)[:, None], torch.from_numpy(rows.column)[None, :]
                self.total[row, column] += block


class OutputSums:
    """Sums over cells of the output state at row genes minus its cell mean (rows x D); see `logits`."""

    def __init__(self, rows: int, width: int, device: str) -> None:
        import torch

        self.total = torch.zeros((rows, width), dtype=torch.float32, device=device)

    def add(self, state: torch.Tensor, real: torch.Tensor, batch: Sequence[CellRows]) -> None:
        """Add one batch: what the output matrix is applied to (B x S x D), and which tokens are real (B x S)."""
        import torch

        mean = (state * real[:, :, None]).sum(1) / real.sum(1, keepdim=True)
        for cell, rows in enumerate(batch):
            if rows.row.size:
                own = state[cell, torch.from_numpy(rows.row_at)]
                if rows.row_of is not None:
                    own = pooled_turns(own, torch.from_numpy(rows.row_of), rows.row.size, 0, mean=True)
                self.total[torch.from_numpy(rows.row)] += own - mean[cell]

    def logits(self, output: Output, tokens: Sequence[int], cells: NDArray[np.int64]) -> NDArray[np.float64]:
        """Mean logit of each gene at the row gene minus its mean over the cell (rows x genes).

        The output matrix is linear and its bias cancels, so it is applied once to the summed states.
        """
        weight = output.weight[list(tokens)].float()
        summed: NDArray[np.float64] = (self.total @ weight.T).cpu().numpy().astype(np.float64)
        return summed / np.maximum(cells, 1)[:, None]


@dataclass(frozen=True, slots=True)
class CleanState:
    """Hidden state of the clean run after one block: as it is (B x S x D), and at unit length."""

    hidden: torch.Tensor
    unit: torch.Tensor


def clean_state(hidden: torch.Tensor) -> CleanState:
    """A clean state, ready for distances."""
    return CleanState(hidden, _unit(hidden))


def _unit(hidden: torch.Tensor) -> torch.Tensor:
    state = hidden.float()
    return state / state.norm(dim=-1, keepdim=True).clamp_min(1e-12)


def hidden_distance(clean: CleanState, hidden: torch.Tensor, real: torch.Tensor) -> tuple[torch.Tensor, bool]:
    """Sum over real tokens of 1 - cos(clean, changed) for each cell (B), and whether any bit differs.

    1 - cos = |u - v|^2 / 2 for unit vectors: no cancellation near 0. Padded tokens count nothing.
    """
    import torch

    changed = not torch.equal(clean.hidden, hidden)
    gap = (_unit(hidden) - clean.unit).square().sum(-1) / 2
    return (gap * real).sum(1), changed


class LogitDistance:
    """1 - cos between logit vectors over the whole vocabulary, without making them.

    With W (V x D) and b: <Wx + b, Wy + b> = x'My + c'x + c'y + b'b, where M = W'W and c = W'b. Float64, because
    distances are small.
    """

    def __init__(self, output: Output) -> None:
        weight, bias = output.weight.double(), output.bias.double()
        self._gram, self._cross, self._square = weight.T @ weight, weight.T @ bias, float(bias @ bias)

    def prepared(self, state: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """State (B x S x D), the same through M, and squared length of its logits (B x S)."""
        exact = state.double()
        through = exact @ self._gram
        square = (through * exact).sum(-1) + 2 * (exact @ self._cross) + self._square
        return exact, through, square

    def distance(
        self, clean: tuple[torch.Tensor, torch.Tensor, torch.Tensor], state: torch.Tensor, real: torch.Tensor
    ) -> torch.Tensor:
        """Sum over real tokens of the distance to the clean logits for each cell (B)."""
        exact, _, square = self.prepared(state)
        first, through, own = clean
        product = (through * exact).sum(-1) + (first + exact) @ self._cross + self._square
        cosine = product / (own.clamp_min(1e-24) * square.clamp_min(1e-24)).sqrt()
        return ((1 - cosine).clamp_min(0) * real).sum(1)


def real_tokens(batch: TokenBatch, device: str) -> torch.Tensor:
    """Which positions of a batch are real (B x S, float32)."""
    import torch

    valid = torch.arange(batch.tokens.shape[1])[None, :] < torch.from_numpy(batch.lengths)[:, None]
    return valid.to(device=device, dtype=torch.float32)

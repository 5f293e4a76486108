"""The transformer that the small scGPT-layout releases are trained as: plain torch modules, published names.

What belongs here: the modules, whose state dict is what ``best_model.pt`` holds. What does not: cells, masks and
losses (`scgpt`), or reading attention from a finished release (the adapter of the family, written apart).
The module imports torch at once; import it inside functions.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

LARGEST_VALUE = 512.0  # the published encoder cuts values here; binned ones never get there


class GeneEncoder(nn.Module):
    """Embedding of gene tokens (B x S -> B x S x width), normalised."""

    def __init__(self, vocabulary: int, width: int, padding: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width, padding_idx=padding)
        self.enc_norm = nn.LayerNorm(width)

    @torch.no_grad()
    def start_from(self, loadings: NDArray[np.float32]) -> None:
        """Turn the first rows towards loadings (genes x axes) in random orthogonal directions, with some noise left."""
        rows = self.embedding.weight[: len(loadings)]
        directions = torch.linalg.qr(torch.randn(rows.shape[1], loadings.shape[1]))[0]
        rows.mul_(0.5).add_(torch.from_numpy(loadings) @ directions.T, alpha=rows.shape[1] ** 0.5)

    def forward(self, genes: Tensor) -> Tensor:
        """Normalised embeddings."""
        normalised: Tensor = self.enc_norm(self.embedding(genes))
        return normalised


class ValueEncoder(nn.Module):
    """Embedding of one number a token: two layers and a norm (B x S -> B x S x width)."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.linear1 = nn.Linear(1, width)
        self.linear2 = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, values: Tensor) -> Tensor:
        """``dropout(LN(W2 relu(W1 min(v, 512))))``."""
        hidden = torch.relu(self.linear1(values.unsqueeze(-1).clamp(max=LARGEST_VALUE)))
        embedded: Tensor = self.dropout(self.norm(self.linear2(hidden)))
        return embedded


class SelfAttention(nn.Module):
    """Multi-head attention with one matrix for queries, keys and values, in this order."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.Wqkv = nn.Linear(width, 3 * width)
        self.out_proj = nn.Linear(width, width)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """Context vectors; ``bias`` (B x 1 x 1 x S) is added to the scores, minus infinity at padding."""
        cells, length, width = x.shape
        split = self.Wqkv(x).view(cells, length, 3, self.heads, width // self.heads)
        query, key, value = split.permute(2, 0, 3, 1, 4)
        scores = query @ key.transpose(2, 3) * (width // self.heads) ** -0.5 + bias
        context = torch.softmax(scores, dim=-1).to(value.dtype) @ value
        projected: Tensor = self.out_proj(context.transpose(1, 2).reshape(cells, length, width))
        return projected


class EncoderLayer(nn.Module):
    """One block; both norms come after the residual sum."""

    def __init__(self, width: int, heads: int, feed_forward: int, dropout: float) -> None:
        super().__init__()
        self.self_attn = SelfAttention(width, heads)
        self.linear1 = nn.Linear(width, feed_forward)
        self.linear2 = nn.Linear(feed_forward, width)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """``x = LN1(x + attention(x))``, then ``LN2(x + W2 relu(W1 x))``."""
        x = self.norm1(x + self.dropout(self.self_attn(x, bias)))
        update = self.linear2(self.dropout(torch.relu(self.linear1(x))))
        normalised: Tensor = self.norm2(x + self.dropout(update))
        return normalised


class Encoder(nn.Module):
    """The blocks, first to last."""

    def __init__(self, layers: int, width: int, heads: int, feed_forward: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(EncoderLayer(width, heads, feed_forward, dropout) for _ in range(layers))

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """Hidden states after the last block."""
        for layer in self.layers:
            x = layer(x, bias)
        return x


class ValueDecoder(nn.Module):
    """Predicted binned value of a token from its hidden state (... x width -> ...)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc = nn.Sequential(
            nn.Linear(width, width), nn.LeakyReLU(), nn.Linear(width, width), nn.LeakyReLU(), nn.Linear(width, 1)
        )

    @torch.no_grad()
    def start_at(self, centre: float, spread: float) -> None:
        """Shift and scale what fresh weights predict to the scale of the bins."""
        weight, bias = self.fc[-1].parameters()
        weight.mul_(spread)
        bias.fill_(centre)

    def forward(self, hidden: Tensor) -> Tensor:
        """One number a position, in bins."""
        predicted: Tensor = self.fc(hidden)
        return predicted.squeeze(-1)


class MaskedValueModel(nn.Module):
    """Encoder over pairs of gene and binned value, with the head that predicts hidden values.

    ``padding`` is the token that fills up a batch; no position attends to it. Gene order carries nothing: there is
    no position embedding.
    """

    def __init__(
        self, *, vocabulary: int, padding: int, layers: int, heads: int, width: int, feed_forward: int, dropout: float
    ) -> None:
        super().__init__()
        self.padding = padding
        self.encoder = GeneEncoder(vocabulary, width, padding)
        self.value_encoder = ValueEncoder(width, dropout)
        self.transformer_encoder = Encoder(layers, width, heads, feed_forward, dropout)
        self.decoder = ValueDecoder(width)

    def forward(self, genes: Tensor, values: Tensor) -> Tensor:
        """Hidden states (B x S x width) after the last block."""
        bias = torch.zeros(genes.shape, dtype=torch.float32, device=genes.device)
        bias = bias.masked_fill(genes == self.padding, float("-inf"))[:, None, None, :]
        hidden: Tensor = self.transformer_encoder(self.encoder(genes) + self.value_encoder(values), bias)
        return hidden

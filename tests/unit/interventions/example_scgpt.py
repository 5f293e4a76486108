"""A tiny encoder of scGPT's type, as its adapter would be, and one layer of it written out head by head in float64."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from interp_assets.models.adapter import EncodedCells, LayerSink, ModelFacts, TokenBatch
from interp_assets.models.attention.kernel import available_forms
from interp_assets.models.families.encoder_layers import FusedLayer, LayerBlocks, fused_layer, intervening_on_layers
from interp_assets.models.interventions import Intervention

PAD, CLS, BINS = 0, 1, 4


def torch_layers(
    layers: int, width: int, heads: int, inner: int, *, seed: int = 0, **kind: Any
) -> list[torch.nn.TransformerEncoderLayer]:
    """Layers as torch makes them, no weight of which is plain."""
    draws = torch.Generator().manual_seed(seed)
    made = []
    for _ in range(layers):
        with torch.random.fork_rng(devices=[]):
            layer = torch.nn.TransformerEncoderLayer(width, heads, inner, dropout=0.0, batch_first=True, **kind)
        with torch.no_grad():
            for name, part in layer.named_parameters():
                spread, centre = (0.2, float("norm" in name and "weight" in name)) if part.dim() == 1 else (0.3, 0.0)
                part.copy_(centre + spread * torch.randn(part.shape, generator=draws))
        made.append(layer.eval().requires_grad_(False))
    return made


def flash_names(state: dict[str, torch.Tensor], wrapped: bool = False) -> dict[str, torch.Tensor]:
    """The weights of a torch layer under the names of the flash attention layouts."""
    new = "self_attn._impl." if wrapped else "self_attn."
    renamed = {}
    for name, tensor in state.items():
        fused = name.replace("self_attn.in_proj_", "self_attn.Wqkv.")
        renamed[fused.replace("self_attn.", new)] = tensor
    return renamed


class ToyScgpt:
    """Genes with binned counts, in any order, behind a <cls> token; a token is a pair of gene and bin."""

    def __init__(self, genes: int = 30, layers: int = 4, width: int = 16, heads: int = 4, seed: int = 0) -> None:
        draws = torch.Generator().manual_seed(seed + 1)
        self.names = [f"G{number}" for number in range(genes)]
        self.modules = torch_layers(layers, width, heads, 24, seed=seed)
        self.layers: list[FusedLayer] = [fused_layer(layer.state_dict(), "", heads=heads) for layer in self.modules]
        self.embedding = torch.randn((2 + genes * BINS, width), generator=draws)
        self._facts = ModelFacts(
            family="scgpt",
            layers=layers,
            heads=heads,
            width=width,
            vocabulary=2 + genes * BINS,
            max_length=genes + 1,
            direction="bidirectional",
            attention="recomputed",
            forms=available_forms("cpu"),
            dtype="float32",
            device="cpu",
            gene_key="symbol",
            padding=PAD,
        )

    def describe(self) -> ModelFacts:
        return self._facts

    def known(self, genes: np.ndarray) -> np.ndarray:
        return np.isin(genes, self.names)

    def encode(self, counts: Any, genes: np.ndarray, *, duplicates: str = "refuse") -> EncodedCells:
        number = {name: at for at, name in enumerate(self.names)}
        tokens, column, offsets = [], [], [0]
        for values in counts.toarray():
            tokens.append(CLS)
            column.append(-1)
            for at, count in enumerate(values):
                if count > 0 and str(genes[at]) in number:
                    tokens.append(2 + number[str(genes[at])] * BINS + min(int(count), BINS) - 1)
                    column.append(at)
            offsets.append(len(tokens))
        return EncodedCells(
            tokens=np.array(tokens, dtype=np.int32), column=np.array(column, dtype=np.int32), offsets=np.array(offsets)
        )

    def blocks(self, batch: TokenBatch, *, form: str) -> LayerBlocks:
        return LayerBlocks(self.layers, self.embedding[torch.from_numpy(batch.tokens)], batch, form)

    def attend(self, batch: TokenBatch, sink: LayerSink, *, form: str) -> None:
        self.blocks(batch, form=form).run(sink)

    def intervening(self, intervention: Intervention | None) -> Any:
        return intervening_on_layers(self.layers, intervention)

    def output(self) -> None:
        return None

    def gene_tokens(self, genes: list[str]) -> list[int]:
        return [2 + self.names.index(gene) * BINS for gene in genes]


def naive_layer(
    module: torch.nn.TransformerEncoderLayer,
    x: torch.Tensor,
    *,
    zero: Sequence[int] = (),
    uniform: Sequence[int] = (),
    mlp: bool = False,
) -> tuple[torch.Tensor, torch.Tensor]:
    """State behind one layer (n x D, float64) of one unpadded cell, and its softmax weights (H x n x n)."""
    state = {name: tensor.double() for name, tensor in module.state_dict().items()}
    heads, width = module.self_attn.num_heads, x.shape[1]
    part = width // heads

    def norm(name: str, given: torch.Tensor) -> torch.Tensor:
        return functional.layer_norm(given, (width,), state[f"{name}.weight"], state[f"{name}.bias"], 1e-5)

    given = norm("norm1", x) if module.norm_first else x
    rows = given @ state["self_attn.in_proj_weight"].T + state["self_attn.in_proj_bias"]
    context, weights = torch.zeros_like(x), []
    for head in range(heads):
        query, key, value = (
            rows[:, block * width + head * part : block * width + (head + 1) * part] for block in range(3)
        )
        weight = torch.softmax(query @ key.T / part**0.5, dim=1)
        weights.append(weight)
        used = torch.full_like(weight, 1 / len(x)) if head in uniform else weight
        context[:, head * part : (head + 1) * part] = 0.0 if head in zero else used @ value
    x = x + context @ state["self_attn.out_proj.weight"].T + state["self_attn.out_proj.bias"]
    x = x if module.norm_first else norm("norm1", x)
    given = norm("norm2", x) if module.norm_first else x
    act = functional.relu if module.activation is functional.relu else functional.gelu
    inner = act(given @ state["linear1.weight"].T + state["linear1.bias"])
    x = x + (0.0 if mlp else inner @ state["linear2.weight"].T + state["linear2.bias"])
    return (x if module.norm_first else norm("norm2", x)), torch.stack(weights)

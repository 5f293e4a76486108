"""A tiny random masked language model as a release, and its forward pass written out in plain torch, head by head."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors.torch import load_file, save_file

SPECIALS = ("<pad>", "<mask>", "<cls>", "<eos>")


def write_bert(
    folder: Path,
    seal: Callable[..., Path],
    *,
    genes: int = 30,
    layers: int = 3,
    heads: int = 4,
    width: int = 16,
    positions: int = 24,
    head: str = "tied",
    specials: Sequence[str] = SPECIALS,
    seed: int = 0,
) -> Path:
    """Sealed release of a BERT in which no bias is 0 and no norm plain; ``head``: tied, untied or none."""
    from transformers import BertConfig, BertForMaskedLM

    folder.mkdir(parents=True)
    names = [*specials, *(f"G{number}" for number in range(genes))]
    config = {
        "model_type": "bert",
        "vocab_size": len(names),
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": 24,
        "max_position_embeddings": positions,
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-12,
    }
    draws = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        shapes = {name: tensor.shape for name, tensor in BertForMaskedLM(BertConfig(**config)).state_dict().items()}
    state = {}
    for name, shape in sorted(shapes.items()):
        spread, centre = (0.2, float("LayerNorm.weight" in name)) if len(shape) == 1 else (0.3, 0.0)
        state[name] = centre + spread * torch.randn(shape, generator=draws)
    dropped = {"tied": "decoder", "untied": "decoder.bias", "none": "cls."}[head]
    save_file({name: tensor for name, tensor in state.items() if dropped not in name}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "token_dictionary.json").write_text(json.dumps({name: number for number, name in enumerate(names)}))
    medians = {name: 1.0 for name in names if name not in specials}
    (folder / "gene_median_dictionary.json").write_text(json.dumps(medians))
    return seal(folder)


class Run(NamedTuple):
    """States before the first and after every block (n x D), softmax of every block (H x n x n), logits (n x V)."""

    states: list[torch.Tensor]
    weights: list[torch.Tensor]
    logits: torch.Tensor


class Naive:
    """The forward pass of one unpadded cell in float64, with loops over heads."""

    def __init__(self, folder: Path) -> None:
        self.state = {name: tensor.double() for name, tensor in load_file(folder / "model.safetensors").items()}
        self.config = json.loads((folder / "config.json").read_text())

    def linear(self, name: str, x: torch.Tensor) -> torch.Tensor:
        return x @ self.state[f"{name}.weight"].T + self.state[f"{name}.bias"]

    def norm(self, name: str, x: torch.Tensor) -> torch.Tensor:
        centred = x - x.mean(-1, keepdim=True)
        scaled = centred / (centred.square().mean(-1, keepdim=True) + 1e-12).sqrt()
        return scaled * self.state[f"{name}.weight"] + self.state[f"{name}.bias"]

    def run(self, tokens: Sequence[int], zero: Sequence = (), uniform: Sequence = (), mlp: Sequence = ()) -> Run:
        heads = self.config["num_attention_heads"]
        part = self.config["hidden_size"] // heads
        emb = "bert.embeddings."
        x = self.state[emb + "word_embeddings.weight"][list(tokens)]
        x = x + self.state[emb + "position_embeddings.weight"][: len(tokens)]
        x = self.norm(emb + "LayerNorm", x + self.state[emb + "token_type_embeddings.weight"][0])
        states, weights = [x], []
        for layer in range(self.config["num_hidden_layers"]):
            own = f"bert.encoder.layer.{layer}."
            query, key, value = (self.linear(f"{own}attention.self.{name}", x) for name in ("query", "key", "value"))
            context, softmax = torch.zeros_like(x), []
            for head in range(heads):
                span = slice(head * part, (head + 1) * part)
                weight = torch.exp(query[:, span] @ key[:, span].T / part**0.5)
                weight = weight / weight.sum(1, keepdim=True)
                softmax.append(weight)
                used = torch.full_like(weight, 1 / len(tokens)) if (layer, head) in uniform else weight
                context[:, span] = 0.0 if (layer, head) in zero else used @ value[:, span]
            x = self.norm(f"{own}attention.output.LayerNorm", x + self.linear(f"{own}attention.output.dense", context))
            inner = torch.nn.functional.gelu(self.linear(f"{own}intermediate.dense", x))
            change = torch.zeros_like(x) if layer in mlp else self.linear(f"{own}output.dense", inner)
            x = self.norm(f"{own}output.LayerNorm", x + change)
            states.append(x)
            weights.append(torch.stack(softmax))
        return Run(states, weights, self.logits(x))

    def logits(self, x: torch.Tensor) -> torch.Tensor:
        head = "cls.predictions."
        if f"{head}bias" not in self.state:
            return torch.zeros(0)
        x = torch.nn.functional.gelu(self.linear(f"{head}transform.dense", x))
        x = self.norm(f"{head}transform.LayerNorm", x)
        tied = self.state["bert.embeddings.word_embeddings.weight"]
        return x @ self.state.get(f"{head}decoder.weight", tied).T + self.state[f"{head}bias"]


def toy_counts(cells: int, genes: int, seed: int = 0) -> np.ndarray:
    """Counts of cells of very different depth; the first cell is the fullest."""
    rng = np.random.default_rng(seed)
    depth = np.linspace(0.75, 0.1, cells)[:, None]
    return (1 + rng.poisson(3.0, (cells, genes))) * (rng.random((cells, genes)) < depth)

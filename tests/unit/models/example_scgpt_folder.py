"""Tiny folders in scGPT layout with the published file names, settings and tensor names, and the model in torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

LAYOUTS = ("flash", "flash wrapper", "torch")
SPECIALS = ("<pad>", "<cls>", "<eoc>")
GENES = tuple(f"G{number}" for number in range(40))
# What whole-human states and an adapter has no use for; paths are shortened.
FURTHER_ARGS = {
    "data_source": "cellxgene",
    "save_dir": "save",
    "load_model": None,
    "n_hvg": None,
    "valid_size_or_ratio": 0.003,
    "dist_backend": "nccl",
    "grad_accu_steps": 1,
    "pad_token": "<pad>",
    "input_style": "binned",
    "input_emb_style": "continuous",
    "training_tasks": "both",
    "mask_ratio": [0.25, 0.5, 0.75],
    "trunc_by_sample": True,
    "vocab_path": "vocab.json",
    "rank": 0,
    "batch_size": 32,
    "epochs": 6,
    "lr": 0.0001,
    "fp16": True,
    "fast_transformer": True,
    "n_layers_cls": 3,
    "dropout": 0.2,
    "pad_value": -2,
    "mask_value": -1,
    "USE_CLS": False,
    "USE_GENERATIVE_TRAINING": True,
    "MVC": True,
    "no_cls": True,
    "no_cce": True,
}


def args_of(*, bins: int = 51, length: int = 24, layers: int = 2, heads: int = 4, width: int = 16, inner: int = 24):
    """``args.json`` of an encoder."""
    own = {"embsize": width, "nheads": heads, "nlayers": layers, "d_hid": inner, "n_bins": bins, "max_seq_len": length}
    return FURTHER_ARGS | own


class TorchScgpt(nn.Module):
    """The published forward pass from torch's own modules, independent of the adapter."""

    def __init__(self, vocabulary: int, args: Mapping[str, Any], batch_norm: bool = False) -> None:
        super().__init__()
        width, heads, inner = args["embsize"], args["nheads"], args["d_hid"]
        self.encoder = nn.ModuleDict({"embedding": nn.Embedding(vocabulary, width), "enc_norm": nn.LayerNorm(width)})
        parts = {"linear1": nn.Linear(1, width), "linear2": nn.Linear(width, width), "norm": nn.LayerNorm(width)}
        self.value_encoder = nn.ModuleDict(parts)
        self.bn = nn.BatchNorm1d(width, eps=6.1e-5) if batch_norm else None
        self.transformer_encoder = nn.ModuleDict(
            {
                "layers": nn.ModuleList(
                    nn.TransformerEncoderLayer(width, heads, inner, dropout=0.0, batch_first=True)
                    for _ in range(args["nlayers"])
                )
            }
        )
        head = (nn.Linear(width, width), nn.LeakyReLU(), nn.Linear(width, width), nn.LeakyReLU(), nn.Linear(width, 1))
        self.decoder = nn.ModuleDict({"fc": nn.Sequential(*head)})
        self.mvc_decoder = nn.ModuleDict(
            {"gene2query": nn.Linear(width, width), "W": nn.Linear(width, width, bias=False)}
        )
        self.flag_encoder = nn.Embedding(2, width)

    def forward(self, genes: torch.Tensor, values: torch.Tensor, padding: torch.Tensor) -> Any:
        """Hidden states before the first and behind every layer, and softmax weights of every layer (B x H x S x S)."""
        value = torch.relu(self.value_encoder["linear1"](values[..., None].clamp(max=512)))
        hidden = self.encoder["enc_norm"](self.encoder["embedding"](genes))
        hidden = hidden + self.value_encoder["norm"](self.value_encoder["linear2"](value))
        if self.bn is not None:
            hidden = self.bn(hidden.transpose(1, 2)).transpose(1, 2)
        states, weights = [hidden], []
        for layer in self.transformer_encoder["layers"]:
            given = states[-1]
            attend = {"key_padding_mask": padding, "need_weights": True, "average_attn_weights": False}
            weights.append(layer.self_attn(given, given, given, **attend)[1])
            states.append(layer(given, src_key_padding_mask=padding))
        return states, weights


def torch_scgpt(vocabulary: int, args: Mapping[str, Any], batch_norm: bool = False, seed: int = 0) -> TorchScgpt:
    """The model with weights of which none is plain."""
    draws = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        model = TorchScgpt(vocabulary, args, batch_norm)
    with torch.no_grad():
        for name, part in [*model.named_parameters(), *model.named_buffers()]:
            if part.is_floating_point():
                centre = float("norm" in name and name.endswith("weight")) + float(name in {"bn.weight"})
                spread = 0.2 if part.dim() == 1 else 0.35
                part.copy_(centre + spread * torch.randn(part.shape, generator=draws))
        if model.bn is not None:
            model.bn.running_var.copy_(model.bn.running_var.abs() + 0.5)
    return model.eval().requires_grad_(False)


def in_layout(state: Mapping[str, torch.Tensor], layout: str) -> dict[str, torch.Tensor]:
    """The same tensors under the names of a layout."""
    renamed = {}
    for name, tensor in state.items():
        if layout != "torch":
            name = name.replace("self_attn.in_proj_", "self_attn.Wqkv.")
        if layout == "flash wrapper":
            name = name.replace(".self_attn.", ".self_attn._impl.")
        renamed[name] = tensor.clone()
    return renamed


def write_scgpt(
    folder: Path,
    genes: Sequence[str] = GENES,
    *,
    layout: str = "flash",
    batch_norm: bool = False,
    seed: int = 0,
    args: Mapping[str, Any] | None = None,
    vocabulary: Mapping[str, int] | None = None,
    change: Mapping[str, torch.Tensor | None] | None = None,
    wrapped: str = "",
    weights: str = "best_model.pt",
    facts: Mapping[str, Any] | None = None,
) -> Path:
    """Folder with weights, settings, vocabulary and manifest; ``change`` replaces tensors, or drops them (None)."""
    folder.mkdir(parents=True, exist_ok=True)
    args = dict(args_of() if args is None else args)
    entries = {token: number for number, token in enumerate([*genes, *SPECIALS])}
    model = torch_scgpt(len(entries), {"nheads": args.get("nhead"), **args}, batch_norm, seed)
    state: dict[str, Any] = in_layout(model.state_dict(), layout) | dict(change or {})
    state = {name: tensor for name, tensor in state.items() if tensor is not None}
    if weights.endswith(".safetensors"):
        from safetensors.torch import save_file

        save_file(state, folder / weights)
    else:
        torch.save({wrapped: state, "epoch": 3} if wrapped else state, folder / weights)
    (folder / "args.json").write_text(json.dumps(args, indent=2))
    (folder / "vocab.json").write_text(json.dumps(entries if vocabulary is None else dict(vocabulary), indent=2))
    return seal(folder, **dict(facts or {}))


def seal(folder: Path, **facts: Any) -> Path:
    """Write release.json over the files of a folder."""
    files = [
        {"path": path.name, "size": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
        for path in sorted(folder.iterdir())
        if path.name != "release.json"
    ]
    manifest = {"name": folder.name, "family": "scgpt", "adapter": "scgpt", "gene_key": "symbol", **facts}
    (folder / "release.json").write_text(json.dumps(manifest | {"files": files}))
    return folder

"""Weights of a folder in scGPT layout: three ways to name the same tensors, loaded strictly.

What belongs here: names and shapes, embeddings, encoder layers and the head that predicts values. What does not:
vocabularies and settings (`scgpt_vocabulary`), or running a batch (`scgpt`).

Published loading code drops every tensor whose name or shape does not fit and goes on with random ones. Here every
tensor of the encoder has to be there, in its shape; what else a checkpoint holds is listed and not used.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from interp_assets.models.families.encoder_layers import Affine, FusedLayer, fused_layer
from interp_assets.models.families.scgpt_vocabulary import ScgptSettings
from interp_assets.models.files.file_rules import ManifestError
from interp_assets.models.files.weights import read_weights, weight_paths

if TYPE_CHECKING:
    import torch

    from interp_assets.models.files.releases import Release

LARGEST_VALUE: Final = 512.0
BATCH_NORM_EPSILON: Final = 6.1e-5
LAYER = "transformer_encoder.layers.{}."
ENCODER_PREFIXES: Final = ("encoder.", "value_encoder.", "transformer_encoder.", "bn.")
DECODER = "decoder.fc."
# counts training steps
UNUSED: Final = frozenset({"bn.num_batches_tracked"})
Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchNorm:
    """Batch norm in evaluation: mean, variance, scale and shift of each feature (D)."""

    mean: torch.Tensor
    variance: torch.Tensor
    scale: torch.Tensor
    shift: torch.Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueOutput:
    """Head that predicts the value of a token from its last hidden state (satisfies `interventions.Output`).

    Two layers with leaky ReLU, then one row: ``weight`` is 1 x D, ``bias`` has one number, and what they give is a
    value on the scale of the bins.
    """

    first: Affine
    second: Affine
    weight: torch.Tensor
    bias: torch.Tensor

    def transform(self, hidden: torch.Tensor) -> torch.Tensor:
        """Hidden states through both layers (B x S x D)."""
        import torch
        from torch.nn.functional import leaky_relu, linear

        with torch.inference_mode():
            return leaky_relu(linear(leaky_relu(linear(hidden, *self.first)), *self.second))


@dataclass(frozen=True, slots=True, kw_only=True)
class ScgptWeights:
    """Everything the encoder runs on.

    ``genes`` (V x D) and ``gene_norm`` embed the vocabulary, ``values`` (codes x D) is the embedding of every value a
    token can have. ``layout`` says how the file names its attention weights; ``unused`` counts other tensors by prefix;
    ``no_output`` says why there is no ``output``.
    """

    genes: torch.Tensor
    gene_norm: Affine
    values: torch.Tensor
    batch_norm: BatchNorm | None
    layers: tuple[FusedLayer, ...]
    output: ValueOutput | None
    no_output: str
    layout: str
    unused: Mapping[str, int]

    def embedded(self, entries: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        """Hidden state before the first layer (B x S x D) of vocabulary entries and value codes (B x S)."""
        from torch.nn.functional import batch_norm, embedding, layer_norm

        gene = layer_norm(embedding(entries, self.genes), self.genes.shape[1:], *self.gene_norm, 1e-5)
        hidden = gene + embedding(codes, self.values)
        norm = self.batch_norm
        if norm is None:
            return hidden
        flat = hidden.flatten(0, 1)
        normed = batch_norm(flat, norm.mean, norm.variance, norm.scale, norm.shift, False, 0.0, BATCH_NORM_EPSILON)
        return normed.view_as(hidden)


def encoder_shapes(settings: ScgptSettings, vocabulary: int) -> Shapes:
    """Every tensor the encoder needs, under the names of the first layout, and its shape."""
    width, inner = settings.width, settings.inner
    wanted: Shapes = {"encoder.embedding.weight": (vocabulary, width)}
    wanted |= _affine_shapes("encoder.enc_norm", width)
    wanted |= _affine_shapes("value_encoder.linear1", width, 1) | _affine_shapes("value_encoder.linear2", width, width)
    wanted |= _affine_shapes("value_encoder.norm", width)
    for number in range(settings.layers):
        layer = LAYER.format(number)
        wanted |= _affine_shapes(f"{layer}self_attn.Wqkv", 3 * width, width)
        wanted |= _affine_shapes(f"{layer}self_attn.out_proj", width, width)
        wanted |= _affine_shapes(f"{layer}linear1", inner, width) | _affine_shapes(f"{layer}linear2", width, inner)
        wanted |= _affine_shapes(f"{layer}norm1", width) | _affine_shapes(f"{layer}norm2", width)
    return wanted


def output_shapes(width: int) -> Shapes:
    """Tensors of the head that predicts values."""
    hidden = _affine_shapes(f"{DECODER}0", width, width) | _affine_shapes(f"{DECODER}2", width, width)
    return hidden | _affine_shapes(f"{DECODER}4", 1, width)


def _affine_shapes(name: str, rows: int, *columns: int) -> Shapes:
    return {f"{name}.weight": (rows, *columns), f"{name}.bias": (rows,)}


def _batch_norm_shapes(width: int) -> Shapes:
    statistics: Shapes = {f"bn.running_{part}": (width,) for part in ("mean", "var")}
    return statistics | _affine_shapes("bn", width)


def load_weights(
    release: Release, settings: ScgptSettings, vocabulary: int, *, device: str, dtype: str
) -> ScgptWeights:
    """Weights of a release, checked against settings and vocabulary, on a device in one number format.

    Raises
    ------
    ManifestError
        Naming the tensor of the encoder that is missing or misshapen, that no layer of the settings would use, or that
        stands there in two layouts.
    """
    import torch

    if dtype not in {"float32", "bfloat16"}:
        raise ValueError(f"dtype {dtype!r} is not available; use float32, or bfloat16 for screening")
    path = weight_paths(release)[0]
    state, layout = _named_alike(path, read_weights(release))
    wanted = encoder_shapes(settings, vocabulary)
    normed = any(name.startswith("bn.") for name in state)
    wanted |= _batch_norm_shapes(settings.width) if normed else {}
    _require(path, state, wanted)
    without = _no_output(state, settings.width)
    used = {*wanted, *(() if without else output_shapes(settings.width))}
    held = {name: state[name].to(device=device, dtype=torch.float32) for name in used}
    values = _embedded_values(held, torch.from_numpy(settings.values).to(device))
    kind = getattr(torch, dtype)
    held = {name: tensor.to(kind) for name, tensor in held.items()}
    layers = range(settings.layers)
    return ScgptWeights(
        genes=held["encoder.embedding.weight"],
        gene_norm=_affine(held, "encoder.enc_norm"),
        values=values.to(kind),
        batch_norm=_batch_norm(held) if normed else None,
        layers=tuple(fused_layer(held, LAYER.format(number), heads=settings.heads) for number in layers),
        output=None if without else _output(held),
        no_output=without,
        layout=layout,
        unused=dict(sorted(Counter(name.split(".")[0] for name in state if name not in used | UNUSED).items())),
    )


def _named_alike(path: Path, state: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """Tensors under the names of the first layout, and the layout they came in. Rows are the same in all three."""
    renamed: dict[str, Any] = {}
    layouts: set[str] = set()
    for stored, tensor in state.items():
        name = stored.removeprefix("module.")
        plain = re.sub(r"\.self_attn\.in_proj_(weight|bias)$", r".self_attn.Wqkv.\1", name)
        plain = plain.replace(".self_attn._impl.", ".self_attn.")
        if plain in renamed:
            raise ManifestError(
                path, f"holds {plain} twice, in two layouts", "Keep one layout of the attention weights."
            )
        renamed[plain] = tensor
        if plain.endswith(".self_attn.Wqkv.weight"):
            layouts.add("torch" if "in_proj" in name else "flash wrapper" if "_impl" in name else "flash")
    return renamed, " and ".join(sorted(layouts)) or "none"


def _require(path: Path, state: Mapping[str, Any], wanted: Shapes) -> None:
    missing = sorted(name for name in wanted if name not in state)
    if missing:
        raise ManifestError(
            path,
            f"lacks {len(missing)} tensors of the encoder such as {missing[0]}",
            "Use the complete checkpoint; missing weights are never made up.",
        )
    for name, shape in wanted.items():
        found = tuple(state[name].shape)
        if found != shape:
            raise ManifestError(
                path,
                f"{name} has shape {found}, args.json and vocab.json ask for {shape}",
                "Use the args.json and vocab.json the weights were trained with.",
            )
    known = {*wanted, *UNUSED}
    foreign = sorted(name for name in state if name.startswith(ENCODER_PREFIXES) and name not in known)
    if foreign:
        raise ManifestError(
            path,
            f"holds {len(foreign)} further tensors of the encoder such as {foreign[0]}",
            "Use the args.json the weights were trained with: a tensor that is left out would change every result.",
        )


def _no_output(state: Mapping[str, Any], width: int) -> str:
    """Why the checkpoint predicts no values; empty if it does."""
    wanted = output_shapes(width)
    lacking = [name for name in wanted if name not in state]
    if lacking:
        return f"the checkpoint has no {lacking[0]}"
    for name, shape in wanted.items():
        if tuple(state[name].shape) != shape:
            return f"{name} has shape {tuple(state[name].shape)} where {shape} predicts a value from one hidden state"
    return ""


def _affine(state: Mapping[str, torch.Tensor], name: str) -> Affine:
    return state[f"{name}.weight"], state[f"{name}.bias"]


def _embedded_values(state: Mapping[str, torch.Tensor], values: torch.Tensor) -> torch.Tensor:
    """LN(W2 relu(W1 min(v, 512))) of each value (N x D)."""
    import torch
    from torch.nn.functional import layer_norm, linear, relu

    with torch.inference_mode():
        inner = relu(linear(values[:, None].clamp(max=LARGEST_VALUE), *_affine(state, "value_encoder.linear1")))
        embedded = linear(inner, *_affine(state, "value_encoder.linear2"))
        return layer_norm(embedded, embedded.shape[1:], *_affine(state, "value_encoder.norm"), 1e-5)


def _batch_norm(state: Mapping[str, torch.Tensor]) -> BatchNorm:
    scale, shift = _affine(state, "bn")
    return BatchNorm(mean=state["bn.running_mean"], variance=state["bn.running_var"], scale=scale, shift=shift)


def _output(state: Mapping[str, torch.Tensor]) -> ValueOutput:
    weight, bias = _affine(state, f"{DECODER}4")
    return ValueOutput(
        first=_affine(state, f"{DECODER}0"), second=_affine(state, f"{DECODER}2"), weight=weight, bias=bias
    )

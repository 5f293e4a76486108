"""Transformer encoders run layer by layer from their weights, for models that transformers does not know.

What belongs here: what one layer has to offer so that its attention can be read and intervened on, the run over such
layers, and the layer with one fused projection (`torch.nn.TransformerEncoderLayer` and the layouts of scGPT). What
does not: vocabularies, embeddings and prediction heads of a family, or BERT (`bert_blocks`).

Module hooks are of no use on these models: torch reads the weights of the output projection without calling it, and
its fused path skips every submodule. So a layer is run from its weights, and the two places where an intervention acts
are calls: `context_vectors` before the output projection, and the output of the feed-forward part.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, Protocol

from interp_assets.models.adapter import AttentionForm, LayerSink, TokenBatch
from interp_assets.models.attention.kernel import context_vectors, narrow_mask, streaming
from interp_assets.models.interventions import Intervention, active, mlp_silenced

if TYPE_CHECKING:
    import torch

Activation = Literal["relu", "gelu"]
Projected = tuple["torch.Tensor", "torch.Tensor", "torch.Tensor"]
Affine = tuple["torch.Tensor", "torch.Tensor"]
# Names of one tensor in the layouts that occur: flash attention, its wrapper, torch.
FUSED: Final = ("self_attn.Wqkv", "self_attn._impl.Wqkv", "self_attn.in_proj")
OUTPUT: Final = ("self_attn.out_proj", "self_attn._impl.out_proj")


class EncoderLayer(Protocol):
    """One layer, cut where interventions act. A family that can say this can be intervened on."""

    @property
    def heads(self) -> int:
        """Number of heads."""
        ...

    def projected(self, hidden: torch.Tensor) -> Projected:
        """Queries, keys and values (each B x H x S x d) of a hidden state (B x S x D)."""
        ...

    def attended(self, hidden: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        """Hidden state behind the attention part; ``context`` (B x S x D) is what the output projection receives."""
        ...

    def feed_forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Output of the feed-forward part (B x S x D), bias included, before the residual is added."""
        ...

    def fed(self, hidden: torch.Tensor, change: torch.Tensor) -> torch.Tensor:
        """Hidden state behind the layer; ``change`` is what `feed_forward` gave, or zeros where it is silenced."""
        ...


class LayerBlocks:
    """One batch on its way through encoder layers (satisfies `interventions.Blocks`).

    ``hidden`` (B x S x D) is the embedded batch; the form of attention is one of `kernel.available_forms`.
    """

    def __init__(
        self, layers: Sequence[EncoderLayer], hidden: torch.Tensor, batch: TokenBatch, form: AttentionForm
    ) -> None:
        import torch

        self._layers, self._hidden, self._form = layers, hidden, form
        valid = torch.arange(hidden.shape[1])[None, :] < torch.from_numpy(batch.lengths)[:, None]
        self._mask = narrow_mask(attention_mask=valid.to(hidden.device), dtype=hidden.dtype)

    def start(self) -> torch.Tensor:
        """Hidden state before the first layer (B x S x D)."""
        return self._hidden

    def step(self, layer: int, hidden: torch.Tensor, sink: LayerSink | None = None) -> torch.Tensor:
        """Hidden state after layer ``layer`` (B x S x D); its attention goes to ``sink``."""
        import torch

        own = self._layers[layer]
        with torch.inference_mode(), streaming(sink):
            context = context_vectors(self._form, layer, own.projected(hidden), self._mask)
            hidden = own.attended(hidden, context.flatten(2))
            change = own.feed_forward(hidden)
            return own.fed(hidden, change.new_zeros(change.shape) if mlp_silenced(layer) else change)

    def run(self, sink: LayerSink) -> torch.Tensor:
        """Last hidden state (B x S x D) of a run in one piece; the attention of every layer goes to ``sink``."""
        hidden = self.start()
        for layer in range(len(self._layers)):
            hidden = self.step(layer, hidden, sink)
        return hidden


@contextmanager
def intervening_on_layers(layers: Sequence[EncoderLayer], intervention: Intervention | None) -> Iterator[None]:
    """Run encoder layers with an intervention; refused before anything runs if it names no part of them."""
    if intervention is not None:
        intervention.check(len(layers), layers[0].heads)
    with active(intervention):
        yield


@dataclass(frozen=True, slots=True, kw_only=True)
class FusedLayer:
    """Encoder layer with one projection for queries, keys and values (satisfies `EncoderLayer`).

    Every part is (weight, bias). Rows of ``fused`` are three blocks of D, each split head after head into d. Post-norm:
    x = norm1(x + out(attention(x))), x = norm2(x + W2 act(W1 x)). ``norm_first`` puts the norms before the parts
    instead, as torch does, residuals untouched.
    """

    heads: int
    fused: Affine
    out: Affine
    first: Affine
    second: Affine
    norm1: Affine
    norm2: Affine
    activation: Activation = "relu"
    norm_first: bool = False
    epsilon: float = 1e-5

    def projected(self, hidden: torch.Tensor) -> Projected:
        """Queries, keys and values (each B x H x S x d)."""
        from torch.nn.functional import linear

        given = self._norm(hidden, self.norm1) if self.norm_first else hidden
        rows = linear(given, *self.fused).view(*hidden.shape[:2], 3, self.heads, -1)
        query, key, value = rows.permute(2, 0, 3, 1, 4).unbind(0)
        return query, key, value

    def attended(self, hidden: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        """Hidden state behind the attention part (B x S x D)."""
        from torch.nn.functional import linear

        changed = hidden + linear(context, *self.out)
        return changed if self.norm_first else self._norm(changed, self.norm1)

    def feed_forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """W2 act(W1 x) with biases (B x S x D)."""
        from torch.nn import functional
        from torch.nn.functional import linear

        given = self._norm(hidden, self.norm2) if self.norm_first else hidden
        inner = linear(given, *self.first)
        return linear(functional.relu(inner) if self.activation == "relu" else functional.gelu(inner), *self.second)

    def fed(self, hidden: torch.Tensor, change: torch.Tensor) -> torch.Tensor:
        """Hidden state behind the layer (B x S x D)."""
        changed = hidden + change
        return changed if self.norm_first else self._norm(changed, self.norm2)

    def _norm(self, hidden: torch.Tensor, norm: Affine) -> torch.Tensor:
        from torch.nn.functional import layer_norm

        return layer_norm(hidden, hidden.shape[-1:], *norm, self.epsilon)


def fused_layer(
    state: Mapping[str, torch.Tensor],
    prefix: str,
    *,
    heads: int,
    activation: Activation = "relu",
    norm_first: bool = False,
    epsilon: float = 1e-5,
) -> FusedLayer:
    """Layer from the tensors whose names start with ``prefix``, in any of the layouts of the same weights.

    Raises
    ------
    ValueError
        Naming the tensor that is missing or misshapen, or a number of heads that does not divide the width.
    """
    fused = _affine(state, prefix, *FUSED)
    width = int(fused[0].shape[1])
    if heads < 1 or width % heads:
        raise ValueError(f"{prefix}: {heads} heads do not divide a width of {width}; take the number from the settings")
    first, second = _affine(state, prefix, "linear1"), _affine(state, prefix, "linear2")
    inner = int(first[0].shape[0])
    parts = {"fused": fused, "out": _affine(state, prefix, *OUTPUT), "first": first, "second": second}
    parts |= {name: _affine(state, prefix, name) for name in ("norm1", "norm2")}
    wanted: dict[str, tuple[int, ...]] = {"norm1": (width,), "norm2": (width,)}
    wanted |= {"fused": (3 * width, width), "out": (width, width), "first": (inner, width), "second": (width, inner)}
    for name, shape in wanted.items():
        weight, bias = (tuple(tensor.shape) for tensor in parts[name])
        if weight != shape or bias != shape[:1]:
            raise ValueError(f"{prefix}: {name} has shapes {weight} and {bias}, {shape} and {shape[:1]} are needed")
    return FusedLayer(heads=heads, activation=activation, norm_first=norm_first, epsilon=epsilon, **parts)


def _affine(state: Mapping[str, torch.Tensor], prefix: str, *names: str) -> Affine:
    """Weight and bias under the first of the names that is there."""
    for name in names:
        for joint in (".", "_"):
            weight, bias = (state.get(f"{prefix}{name}{joint}{part}") for part in ("weight", "bias"))
            if weight is not None and bias is not None:
                return weight, bias
    raise ValueError(f"{prefix}: no weight and bias of {' or '.join(names)}; use the complete checkpoint")

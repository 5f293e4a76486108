"""Decoder networks that look back (GPT-NeoX, Llama): built from config.json, loaded strictly, run block by block.

What belongs here: what the causal families share. What does not: tokens and genes (`causal`, `cell_sentences`).

Nothing but numbers of the configuration is taken over, and the classes are those of transformers: no code of a model
repository runs. Batches are padded on the right, behind every real token, where a row that looks back sees nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from interp_assets.models.adapter import AttentionForm, LayerSink, TokenBatch
from interp_assets.models.attention.kernel import streaming
from interp_assets.models.families.bert_blocks import (
    CountedLayers,
    check_shape,
    device_tokens,
    intervening_on,
    use_form,
)
from interp_assets.models.files.checkpoints import read_json
from interp_assets.models.files.file_rules import ManifestError
from interp_assets.models.files.releases import Release
from interp_assets.models.files.weights import read_weights, weight_paths
from interp_assets.models.interventions import Intervention

if TYPE_CHECKING:
    import torch

_COMMON: Final = (
    *("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "hidden_act"),
    *("max_position_embeddings", "attention_bias", "tie_word_embeddings", "initializer_range"),
    *("rope_scaling", "rope_parameters", "rope_theta"),
)
_OWN: Final[Mapping[str, tuple[str, ...]]] = {
    "gpt_neox": ("layer_norm_eps", "use_parallel_residual", "rotary_pct", "rotary_emb_base"),
    "llama": ("rms_norm_eps", "num_key_value_heads", "head_dim", "mlp_bias"),
}
_PREFIX: Final = {"gpt_neox": "gpt_neox.", "llama": "model."}
_HEADS: Final = ("embed_out.weight", "lm_head.weight")
# Rotations that depend on positions alone; others change with the length of the batch.
_ROPE: Final = frozenset({"default", "linear", "llama3"})
# Buffers that older libraries saved beside the weights: masks and rotation frequencies, made anew here.
_BUFFER: Final = re.compile(r".*\.(attention\.(bias|masked_bias)|rotary_emb\.inv_freq)")
_REMEDY: Final = "Use the configuration the weights were trained with."


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A loaded network without its head: transformers model, configuration, head (V x D) or None.

    ``unused`` names tensors of the checkpoint that are no weights of the network: buffers of older libraries.
    """

    model: Any
    config: Any
    head: torch.Tensor | None
    device: str
    dtype: str
    unused: tuple[str, ...]

    @property
    def last_norm(self) -> Any:
        """Norm behind the last block."""
        return self.model.final_layer_norm if self.config.model_type == "gpt_neox" else self.model.norm


class CausalBlocks:
    """One batch of a causal network (satisfies `interventions.Blocks`)."""

    def __init__(self, network: Network, batch: TokenBatch, form: AttentionForm, device: str) -> None:
        import torch

        use_form(network.model, form)
        self._model = network.model
        self._tokens, _ = device_tokens(batch, device)
        self._places = torch.arange(self._tokens.shape[1], device=self._tokens.device)[None]

    def start(self) -> torch.Tensor:
        """Hidden state before the first block (B x S x D)."""
        import torch

        with torch.inference_mode():
            hidden: torch.Tensor = self._model.get_input_embeddings()(self._tokens)
        return hidden

    def step(self, layer: int, hidden: torch.Tensor, sink: LayerSink | None = None) -> torch.Tensor:
        """Hidden state after block ``layer`` (B x S x D); its attention goes to ``sink``."""
        import torch

        counted = None if sink is None else CountedLayers(sink)
        with torch.inference_mode(), streaming(counted):
            turned = self._model.rotary_emb(hidden, self._places)
            after: torch.Tensor = self._model.layers[layer](
                hidden, attention_mask=None, position_ids=self._places, position_embeddings=turned
            )
        if counted is not None:
            counted.require([layer])
        return after


class CausalOutput:
    """Prediction of the next token (satisfies `interventions.Output`); the head has no bias."""

    def __init__(self, network: Network) -> None:
        import torch

        if network.head is None:
            raise ValueError("the checkpoint has no head that predicts tokens")
        self._norm = network.last_norm
        self.weight = network.head
        self.bias = torch.zeros(self.weight.shape[0], dtype=self.weight.dtype, device=self.weight.device)

    def transform(self, hidden: torch.Tensor) -> torch.Tensor:
        """Hidden states through the last norm (B x S x D)."""
        import torch

        with torch.inference_mode():
            changed: torch.Tensor = self._norm(hidden)
        return changed


def intervening_on_network(network: Network, intervention: Intervention | None) -> AbstractContextManager[None]:
    """Run the network with an intervention; both architectures add what ``mlp`` returns to the residual."""
    return intervening_on(network.model, intervention, lambda model, layer: model.layers[layer].mlp)


def load_network(release: Release, architectures: tuple[str, ...], *, device: str, dtype: str) -> Network:
    """Network of a verified release in evaluation mode, every weight accounted for.

    Raises
    ------
    ReleaseFileError
        If ``config.json`` is of another architecture than ``architectures`` or asks for what is not supported; if a
        weight is missing, misshapen, or none of the network's. The message names it.
    """
    import torch

    if dtype not in {"float32", "bfloat16"}:
        raise ValueError(f"dtype {dtype!r} is not available; use float32, or bfloat16 for screening")
    config = read_causal_config(release.file("config.json"), architectures)
    with torch.random.fork_rng(devices=[]):
        model = _model_class(config.model_type)(config)
    head, unused = _load_strictly(model, config, read_weights(release), weight_paths(release)[0])
    kind = {"dtype": getattr(torch, dtype), "device": device}
    model = model.to(**kind).eval().requires_grad_(False)
    if head is not None:
        head = model.get_input_embeddings().weight if config.tie_word_embeddings else head.to(**kind)
    return Network(model=model, config=config, head=head, device=device, dtype=dtype, unused=unused)


def _model_class(kind: str) -> Any:
    from transformers import GPTNeoXModel, LlamaModel

    return {"gpt_neox": GPTNeoXModel, "llama": LlamaModel}[kind]


def read_causal_config(path: Path, architectures: tuple[str, ...]) -> Any:
    """Configuration of a causal network (`transformers.GPTNeoXConfig` or `LlamaConfig`), without dropout.

    Raises
    ------
    ManifestError
        Naming an architecture that is not among ``architectures``, a rotation that depends on the length of the batch,
        or a size that is no positive number.
    """
    from transformers import GPTNeoXConfig, LlamaConfig

    content = read_json(path, limit=2**20)
    kind = content.get("model_type") if isinstance(content, dict) else None
    if kind not in architectures:
        listed = content.get("architectures") if isinstance(content, dict) else None
        raise ManifestError(
            path,
            f"is of architecture {kind!r:.80} ({listed!s:.80}); supported here: {', '.join(architectures)}",
            "Attention of other architectures needs an adapter of its own; code of a model repository is never run.",
        )
    check_shape(path, content, _REMEDY)
    for name in ("rope_scaling", "rope_parameters"):
        stated = content.get(name) or {}
        rope = stated.get("rope_type", stated.get("type", "default")) if isinstance(stated, dict) else stated
        if not isinstance(rope, str) or rope not in _ROPE:
            raise ManifestError(path, f"{name} is {rope!r:.80}; supported: {', '.join(sorted(_ROPE))}", _REMEDY)
    key_heads = content.get("num_key_value_heads") or content.get("num_attention_heads", 1)
    if type(key_heads) is not int or key_heads < 1 or content.get("num_attention_heads", key_heads) % key_heads:
        raise ManifestError(path, f"num_key_value_heads {key_heads!r:.80} does not divide the heads", _REMEDY)
    plain = {name: content[name] for name in (*_COMMON, *_OWN[kind]) if content.get(name) is not None}
    return {"gpt_neox": GPTNeoXConfig, "llama": LlamaConfig}[kind](**plain)


def _load_strictly(
    model: Any, config: Any, state: Mapping[str, Any], weights: Path
) -> tuple[torch.Tensor | None, tuple[str, ...]]:
    """Load a network; the head beside it (None without one) and names that are no weights."""
    own = model.state_dict()
    prefix = _PREFIX[config.model_type]
    prefix = prefix if any(name.startswith(prefix) for name in state) else ""
    heads = [name for name in _HEADS if name in state]
    given = {name.removeprefix(prefix): tensor for name, tensor in state.items() if name not in heads}
    missing = sorted(name for name in own if name not in given)
    if missing:
        raise ManifestError(
            weights,
            f"lacks {len(missing)} weights such as {prefix}{missing[0]}",
            "Use the complete checkpoint; missing weights are never made up.",
        )
    more = sorted(name for name in given if name not in own)
    foreign = [name for name in more if not _BUFFER.fullmatch(f".{name}")]
    if foreign:
        raise ManifestError(
            weights,
            f"holds {len(foreign)} weights that {config.model_type} of this configuration has not, such as "
            f"{prefix}{foreign[0]}",
            "Use the checkpoint that belongs to config.json; unknown weights are never dropped.",
        )
    wanted = {name: tuple(own[name].shape) for name in own}
    for name, shape in wanted.items():
        if tuple(given[name].shape) != shape:
            raise ManifestError(
                weights,
                f"{prefix}{name} has shape {tuple(given[name].shape)}, config.json asks for {shape}",
                "Use matching files.",
            )
    head = _head(config, {name: state[name] for name in heads}, weights, own)
    model.load_state_dict({name: given[name] for name in own})
    return head, tuple(f"{prefix}{name}" for name in more)


def _head(config: Any, heads: Mapping[str, Any], weights: Path, own: Mapping[str, Any]) -> torch.Tensor | None:
    """Head of the checkpoint, its embedding where both are tied, None without one."""
    if len(heads) > 1:
        raise ManifestError(weights, f"has two heads: {', '.join(heads)}", "Use the checkpoint as it was saved.")
    shape = (config.vocab_size, config.hidden_size)
    for name, tensor in heads.items():
        if tuple(tensor.shape) != shape:
            raise ManifestError(
                weights, f"{name} has shape {tuple(tensor.shape)}, {shape} is needed", "Use matching files."
            )
    found: torch.Tensor | None = next(iter(heads.values()), None)
    if config.tie_word_embeddings:
        found = next(tensor for tensor in own.values() if tuple(tensor.shape) == shape)
    return found

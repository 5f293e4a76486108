"""BERT encoders run block by block and intervened on; strict loading of their weights.

What belongs here: what is common to releases whose model is a transformers ``BertModel``. What does not: vocabularies
and the encoding of cells (`geneformer`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interp_assets.models.adapter import AttentionForm, LayerAttention, LayerSink, TokenBatch
from interp_assets.models.attention.kernel import IMPLEMENTATION, narrow_mask, streaming
from interp_assets.models.files.checkpoints import read_json, read_state_dict
from interp_assets.models.files.file_rules import ManifestError
from interp_assets.models.interventions import Intervention, active, mlp_silenced

if TYPE_CHECKING:
    import torch

HEAD = "cls.predictions"
_PREFIX = "bert."
# What the checkpoint's configuration may say beyond the plain encoder, and the only value that is run here.
_ONLY = {"is_decoder": False, "add_cross_attention": False, "position_embedding_type": "absolute"}
_SIZES = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "max_position_embeddings",
)


class CountedLayers:
    """Sink that passes attention on and remembers which layers came: an encoder can run without handing any over.

    transformers' own attention functions know no sink, and asked for weights they return nothing and raise nothing.
    """

    def __init__(self, sink: LayerSink) -> None:
        self._sink = sink
        self._seen: list[int] = []

    def __call__(self, layer: int, attention: LayerAttention) -> None:
        """Take the attention of one layer."""
        self._seen.append(layer)
        self._sink(layer, attention)

    def require(self, layers: Iterable[int]) -> None:
        """Raise RuntimeError unless exactly these layers came, in order."""
        wanted = list(layers)
        if self._seen != wanted:
            raise RuntimeError(
                f"the encoder handed over attention of layers {self._seen}, expected {wanted}: it does not run the "
                "registered attention function; load the release again and leave its attention implementation alone"
            )


class BertBlocks:
    """One batch of a BERT encoder (satisfies `interventions.Blocks`)."""

    def __init__(self, encoder: Any, batch: TokenBatch, form: AttentionForm, device: str) -> None:
        use_form(encoder, form)
        self._encoder = encoder
        self._tokens, valid = device_tokens(batch, device)
        self._mask = narrow_mask(attention_mask=valid, dtype=encoder.dtype)

    def start(self) -> torch.Tensor:
        """Hidden state before the first block (B x S x D)."""
        import torch

        with torch.inference_mode():
            hidden: torch.Tensor = self._encoder.embeddings(input_ids=self._tokens)
        return hidden

    def step(self, layer: int, hidden: torch.Tensor, sink: LayerSink | None = None) -> torch.Tensor:
        """Hidden state after block ``layer`` (B x S x D); its attention goes to ``sink``."""
        import torch

        counted = None if sink is None else CountedLayers(sink)
        with torch.inference_mode(), streaming(counted):
            after: torch.Tensor = self._encoder.encoder.layer[layer](hidden, self._mask)
        if counted is not None:
            counted.require([layer])
        return after


class BertOutput:
    """Masked-token prediction of a BERT release (satisfies `interventions.Output`)."""

    def __init__(self, transform: Any, weight: torch.Tensor, bias: torch.Tensor) -> None:
        self._transform, self.weight, self.bias = transform, weight, bias

    def transform(self, hidden: torch.Tensor) -> torch.Tensor:
        """Hidden states through the dense layer, activation and norm of the head (B x S x D)."""
        import torch

        with torch.inference_mode():
            changed: torch.Tensor = self._transform(hidden)
        return changed


def use_form(encoder: Any, form: AttentionForm) -> None:
    """Make the encoder hand over attention in one form."""
    if encoder.config._attn_implementation != IMPLEMENTATION[form]:
        encoder.set_attn_implementation(IMPLEMENTATION[form])


def device_tokens(batch: TokenBatch, device: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens of a batch on the device, and which of them are real (both B x S)."""
    import torch

    tokens = torch.from_numpy(batch.tokens).to(device)
    valid = torch.arange(tokens.shape[1])[None, :] < torch.from_numpy(batch.lengths)[:, None]
    return tokens, valid.to(device)


def _silencing(layer: int) -> Callable[..., torch.Tensor]:
    """Hook that returns zeros while the innermost intervention silences the layer."""

    def hook(module: Any, given: Any, result: torch.Tensor) -> torch.Tensor:
        return result.new_zeros(result.shape) if mlp_silenced(layer) else result

    return hook


def _last_dense(encoder: Any, layer: int) -> Any:
    """Dense layer behind the activation: what it returns is added to the residual and normed."""
    return encoder.encoder.layer[layer].output.dense


@contextmanager
def intervening_on(
    encoder: Any, intervention: Intervention | None, feed_forward: Callable[[Any, int], Any] = _last_dense
) -> Iterator[None]:
    """Run the encoder with an intervention. Hooks are gone afterwards, also after an error.

    ``feed_forward`` gives the module of a layer whose output is what the feed-forward part adds to the residual.
    """
    with ExitStack() as stack:
        for layer in intervention.mlp if intervention is not None else ():
            hook = feed_forward(encoder, layer).register_forward_hook(_silencing(layer))
            stack.callback(hook.remove)
        stack.enter_context(active(intervention))
        yield


def read_bert_config(path: Path, vocabulary: int) -> Any:
    """Configuration of a plain BERT encoder (`transformers.BertConfig`); dropout is switched off.

    Raises
    ------
    ManifestError
        Naming the key that asks for something else than a BERT encoder with absolute positions and an activation that
        transformers knows, a size that is no positive number, heads that do not divide the width, or a vocabulary of
        another size than the token dictionary (``vocabulary``).
    """
    from transformers import BertConfig

    content = read_json(path, limit=2**20)
    remedy = "Use the configuration the weights were trained with."
    if not isinstance(content, dict) or content.get("model_type") != "bert":
        raise ManifestError(path, "is not the configuration of a BERT encoder", remedy)
    for name, only in _ONLY.items():
        if content.get(name, only) != only:
            problem = f"{name} is {content[name]!r}; only {only!r} is supported (no decoder, no relative positions)"
            raise ManifestError(path, problem, remedy)
    if content.get("vocab_size") != vocabulary:
        raise ManifestError(
            path,
            f"vocab_size {content.get('vocab_size')}, but the token dictionary has {vocabulary} entries",
            f"{remedy} Published: V1 has 25426 (gc30M), V2 has 20275 (gc104M, the same file as gc95M).",
        )
    check_shape(path, content, remedy)
    # nothing else of a stranger's configuration is taken over; attention is read without dropout
    names = (*_SIZES, "hidden_act", "type_vocab_size", "layer_norm_eps", "pad_token_id", "initializer_range")
    plain = {name: content[name] for name in names if name in content}
    return BertConfig(**plain, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)


def check_shape(path: Path, content: Mapping[str, Any], remedy: str) -> None:
    """Refuse sizes and activations that no encoder can be built from, each by its name."""
    from transformers.activations import ACT2FN

    for name in _SIZES:
        size = content.get(name, 1)
        if not isinstance(size, int) or isinstance(size, bool) or size < 1:
            raise ManifestError(path, f"{name} is {size!r}, not a positive whole number", remedy)
    activation = content.get("hidden_act", "gelu")
    if not isinstance(activation, str) or activation not in ACT2FN:
        raise ManifestError(path, f"hidden_act {activation!r} is not an activation that transformers knows", remedy)
    width, heads = content.get("hidden_size"), content.get("num_attention_heads")
    if width is not None and heads is not None and width % heads:
        raise ManifestError(path, f"num_attention_heads {heads} does not divide hidden_size {width}", remedy)


def load_encoder(
    weights: Path, config: Any, *, head: bool = False, dtype: str = "float32", state: Mapping[str, Any] | None = None
) -> tuple[Any, list[str]]:
    """``BertModel`` (or ``BertForMaskedLM`` with ``head``) in evaluation mode, and the weights it had no use for.

    Tensors are read from ``weights`` unless given as ``state``; errors name the file either way.

    Raises
    ------
    ManifestError
        If a weight is missing, has another shape, or the file is not readable as safetensors.
    """
    import torch
    from transformers import BertForMaskedLM, BertModel

    if dtype not in {"float32", "bfloat16"}:
        raise ValueError(f"dtype {dtype!r} is not available; use float32, or bfloat16 for screening")
    state = read_state_dict(weights) if state is None else state
    kind = BertForMaskedLM if head else BertModel
    extra = {} if head else {"add_pooling_layer": False}
    # random initialisation before loading must not advance anybody's random numbers
    with torch.random.fork_rng(devices=[]):
        encoder = kind(config, **extra)
    own = encoder.state_dict()
    # a bare encoder was saved without the prefix that a model with a head puts before its names
    prefix = "" if head or not any(name.startswith(_PREFIX) for name in state) else _PREFIX
    given = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    tied = {"cls.predictions.decoder.weight", "cls.predictions.decoder.bias"}
    missing = sorted(name for name in own if name not in given and name not in tied)
    if missing:
        raise ManifestError(
            weights,
            f"lacks {len(missing)} weights such as {prefix}{missing[0]}",
            "Use the complete checkpoint; missing weights are never made up.",
        )
    wrong = [name for name in own if name in given and given[name].shape != own[name].shape]
    if wrong:
        found, wanted = tuple(given[wrong[0]].shape), tuple(own[wrong[0]].shape)
        raise ManifestError(
            weights, f"{prefix}{wrong[0]} has shape {found}, config.json asks for {wanted}", "Use matching files."
        )
    encoder.load_state_dict({name: given[name] for name in own if name in given}, strict=False)
    if head:
        encoder.tie_weights()
    encoder = encoder.to(getattr(torch, dtype)).eval()
    return encoder.requires_grad_(False), sorted(name for name in state if name.removeprefix(prefix) not in own)


def load_output(
    weights: Path, encoder: Any, config: Any, *, state: Mapping[str, Any] | None = None
) -> BertOutput | None:
    """Masked-token head of a checkpoint beside its loaded encoder; None where the checkpoint has none.

    The output matrix is the token embedding unless the checkpoint stores one of its own. Tensors are read from
    ``weights`` unless given as ``state``.

    Raises
    ------
    ManifestError
        If a part of the head is missing or misshapen: a head is whole or absent.
    """
    import torch
    from transformers.models.bert.modeling_bert import BertPredictionHeadTransform

    state = read_state_dict(weights) if state is None else state
    given = {name: tensor for name, tensor in state.items() if name.startswith(HEAD)}
    if not given:
        return None
    with torch.random.fork_rng(devices=[]):
        transform = BertPredictionHeadTransform(config)
    wanted = {f"{HEAD}.transform.{name}": tuple(tensor.shape) for name, tensor in transform.state_dict().items()}
    bias = next((name for name in (f"{HEAD}.bias", f"{HEAD}.decoder.bias") if name in given), f"{HEAD}.bias")
    wanted[bias] = (config.vocab_size,)
    own = f"{HEAD}.decoder.weight"
    if own in given:
        wanted[own] = (config.vocab_size, config.hidden_size)
    for name, shape in wanted.items():
        found = tuple(given[name].shape) if name in given else "no such tensor"
        if found != shape:
            raise ManifestError(weights, f"{name}: {found}, {shape} is needed", "Use the complete checkpoint.")
    prefix = f"{HEAD}.transform."
    transform.load_state_dict({name: given[prefix + name] for name in transform.state_dict()})
    kind = {"dtype": encoder.dtype, "device": encoder.device}
    weight = given[own].to(**kind) if own in given else encoder.embeddings.word_embeddings.weight
    return BertOutput(transform.to(**kind).eval().requires_grad_(False), weight, given[bias].to(**kind))

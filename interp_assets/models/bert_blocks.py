"""BERT encoders run block by block and intervened on; strict loading of their weights.

What belongs here: what is common to releases whose model is a transformers ``BertModel``. What does not: vocabularies
and the encoding of cells (`geneformer`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interp_assets.models.adapter import AttentionForm, LayerSink, TokenBatch
from interp_assets.models.attention_kernel import IMPLEMENTATION, narrow_mask, streaming
from interp_assets.models.checkpoints import ManifestError, read_json, read_state_dict
from interp_assets.models.interventions import Intervention, active, mlp_silenced

if TYPE_CHECKING:
    import torch

_HEAD = "cls.predictions"


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

        with torch.inference_mode(), streaming(sink):
            after: torch.Tensor = self._encoder.encoder.layer[layer](hidden, self._mask)
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


@contextmanager
def intervening_on(encoder: Any, intervention: Intervention | None) -> Iterator[None]:
    """Run the encoder with an intervention. Hooks are gone afterwards, also after an error."""
    with ExitStack() as stack:
        for layer in intervention.mlp if intervention is not None else ():
            # the dense layer behind the activation: what it returns is added to the residual and normed
            dense = encoder.encoder.layer[layer].output.dense
            hook = dense.register_forward_hook(_silencing(layer))
            stack.callback(hook.remove)
        stack.enter_context(active(intervention))
        yield


def read_bert_config(path: Path, vocabulary: int) -> Any:
    """Configuration of a plain BERT encoder (`transformers.BertConfig`), refused if it is anything else."""
    from transformers import BertConfig

    content = read_json(path, limit=2**20)
    remedy = "Use the configuration the weights were trained with."
    if not isinstance(content, dict) or content.get("model_type") != "bert":
        raise ManifestError(path, "is not the configuration of a BERT encoder", remedy)
    if content.get("is_decoder") or content.get("position_embedding_type", "absolute") != "absolute":
        raise ManifestError(path, "is a decoder or has relative positions", remedy)
    if content.get("vocab_size") != vocabulary:
        raise ManifestError(
            path, f"vocab_size {content.get('vocab_size')}, but the token dictionary has {vocabulary} entries", remedy
        )
    names = (
        "vocab_size hidden_size num_hidden_layers num_attention_heads intermediate_size hidden_act "
        "max_position_embeddings type_vocab_size layer_norm_eps pad_token_id initializer_range"
    )
    # nothing else of a stranger's configuration is taken over; attention is read without dropout
    plain = {name: content[name] for name in names.split() if name in content}
    return BertConfig(**plain, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)


def load_encoder(weights: Path, config: Any, *, head: bool = False, dtype: str = "float32") -> tuple[Any, list[str]]:
    """``BertModel`` (or ``BertForMaskedLM`` with ``head``) in evaluation mode, and the weights it had no use for.

    Raises
    ------
    ManifestError
        If a weight is missing, has another shape, or the file is not readable as safetensors.
    """
    import torch
    from transformers import BertForMaskedLM, BertModel

    if dtype not in {"float32", "bfloat16"}:
        raise ValueError(f"dtype {dtype!r} is not available; use float32, or bfloat16 for screening")
    state = dict(read_state_dict(weights))
    kind = BertForMaskedLM if head else BertModel
    extra = {} if head else {"add_pooling_layer": False}
    # random initialisation before loading must not advance anybody's random numbers
    with torch.random.fork_rng(devices=[]):
        encoder = kind(config, **extra)
    own = encoder.state_dict()
    given = {name if head else name.removeprefix("bert."): tensor for name, tensor in state.items()}
    tied = {"cls.predictions.decoder.weight", "cls.predictions.decoder.bias"}
    missing = sorted(name for name in own if name not in given and name not in tied)
    if missing:
        raise ManifestError(
            weights,
            f"lacks {len(missing)} weights such as {missing[0]}",
            "Use the complete checkpoint; missing weights are never made up.",
        )
    wrong = [name for name in own if name in given and given[name].shape != own[name].shape]
    if wrong:
        found, wanted = tuple(given[wrong[0]].shape), tuple(own[wrong[0]].shape)
        raise ManifestError(
            weights, f"{wrong[0]} has shape {found}, config.json asks for {wanted}", "Use matching files."
        )
    encoder.load_state_dict({name: given[name] for name in own if name in given}, strict=False)
    if head:
        encoder.tie_weights()
    encoder = encoder.to(getattr(torch, dtype)).eval()
    return encoder.requires_grad_(False), sorted(name for name in given if name not in own)


def load_output(weights: Path, encoder: Any, config: Any) -> BertOutput | None:
    """Masked-token head of a checkpoint beside its loaded encoder; None where the checkpoint has none.

    The output matrix is the token embedding unless the checkpoint stores one of its own.

    Raises
    ------
    ManifestError
        If a part of the head is missing or misshapen: a head is whole or absent.
    """
    import torch
    from transformers.models.bert.modeling_bert import BertPredictionHeadTransform

    given = {name: tensor for name, tensor in read_state_dict(weights).items() if name.startswith(_HEAD)}
    if not given:
        return None
    with torch.random.fork_rng(devices=[]):
        transform = BertPredictionHeadTransform(config)
    wanted = {f"{_HEAD}.transform.{name}": tuple(tensor.shape) for name, tensor in transform.state_dict().items()}
    bias = next((name for name in (f"{_HEAD}.bias", f"{_HEAD}.decoder.bias") if name in given), f"{_HEAD}.bias")
    wanted[bias] = (config.vocab_size,)
    own = f"{_HEAD}.decoder.weight"
    if own in given:
        wanted[own] = (config.vocab_size, config.hidden_size)
    for name, shape in wanted.items():
        found = tuple(given[name].shape) if name in given else "no such tensor"
        if found != shape:
            raise ManifestError(weights, f"{name}: {found}, {shape} is needed", "Use the complete checkpoint.")
    prefix = f"{_HEAD}.transform."
    transform.load_state_dict({name: given[prefix + name] for name in transform.state_dict()})
    kind = {"dtype": encoder.dtype, "device": encoder.device}
    weight = given[own].to(**kind) if own in given else encoder.embeddings.word_embeddings.weight
    return BertOutput(transform.to(**kind).eval().requires_grad_(False), weight, given[bias].to(**kind))

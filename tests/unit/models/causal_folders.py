"""Tiny causal language model releases with random weights, written with the file names and keys of real ones."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

PROMPT = "Genes of a cell, most first: "
# Long and short names, shared beginnings: byte pairs make one to five tokens of them.
NAMES = (
    *("CD3E", "CD3D", "CD8A", "HLA-DRA", "HLA-DRB1", "MT-CO1", "MT-ND4", "GAPDH", "B2M", "ACTB"),
    *("LYZ", "NKG7", "GNLY", "MS4A1", "PPBP", "FCER1A", "C1orf112", "RPL13A", "RPS27", "TMSB4X"),
)


def write_tokenizer(folder: Path, names: Sequence[str] = NAMES, size: int = 120) -> int:
    """Byte-level BPE ``tokenizer.json`` trained on sentences of the names; the number of its tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    few = list(names)[::3]
    alphabet = [*sorted(set("".join(names) + PROMPT) - {" "}), "Ġ"]
    trainer = trainers.BpeTrainer(
        vocab_size=size, initial_alphabet=alphabet, special_tokens=["<|endoftext|>"], show_progress=False
    )
    tokenizer.train_from_iterator([" ".join(few)] * 4, trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    return int(tokenizer.get_vocab_size())


def causal_config(kind: str, vocabulary: int, **shape: Any) -> dict[str, Any]:
    """config.json of a tiny network, keys as published."""
    sizes = {"vocab_size": vocabulary, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    sizes |= {"intermediate_size": 48, "max_position_embeddings": 64}
    if kind == "gpt_neox":
        own = {"hidden_act": "gelu", "layer_norm_eps": 1e-5, "rotary_pct": 0.25, "rotary_emb_base": 10000}
        own |= {"use_parallel_residual": True, "tie_word_embeddings": False}
        named = {"architectures": ["GPTNeoXForCausalLM"], "model_type": "gpt_neox"}
    else:
        own = {"hidden_act": "silu", "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "num_key_value_heads": 2}
        named = {"architectures": ["LlamaForCausalLM"], "model_type": "llama"}
    return {**named, **sizes, **own, **shape}


def network_of(config: Mapping[str, Any], attention: str = "eager") -> Any:
    """The transformers model with head behind a config.json, eager attention, evaluation mode."""
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM, LlamaConfig, LlamaForCausalLM

    plain = {name: value for name, value in config.items() if name not in {"architectures", "model_type"}}
    kinds = {"gpt_neox": (GPTNeoXConfig, GPTNeoXForCausalLM), "llama": (LlamaConfig, LlamaForCausalLM)}
    make, model = kinds[config["model_type"]]
    return model(make(**plain, attn_implementation=attention)).eval()


def save_network(folder: Path, config: Mapping[str, Any], *, peak: float = 20.0, seed: int = 0) -> None:
    """Random weights under their published names, attention made uneven by ``peak``; the config beside them."""
    import torch
    from safetensors.torch import save_file

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = network_of(config)
        with torch.no_grad():
            for name, weight in model.named_parameters():
                if any(part in name for part in ("query_key_value.weight", "q_proj", "k_proj")):
                    weight.normal_(0, 0.02 * peak)
                elif name.endswith("bias"):
                    weight.normal_(0, 0.1)
    state = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    if config.get("tie_word_embeddings"):
        state.pop("lm_head.weight")
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config))


def load_reference(folder: Path, *, double: bool = True) -> Any:
    """The transformers model of a folder, loaded by transformers' own rules, in float64 unless told."""
    from safetensors.torch import load_file

    model = network_of(json.loads((folder / "config.json").read_text()))
    state = load_file(folder / "model.safetensors")
    if "embed_out.weight" in state:
        state["lm_head.weight"] = state.pop("embed_out.weight")
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not unexpected
    assert set(missing) <= {"lm_head.weight"}
    return model.double() if double else model


def write_c2s(folder: Path, seal: Callable[..., Path], *, names: Sequence[str] = NAMES, **asked: Any) -> Path:
    """A release of family c2s: GPT-NeoX and a fast tokeniser."""
    folder.mkdir(parents=True)
    facts = {key: asked.pop(key) for key in ("prompt", "max_length", "max_genes") if key in asked}
    peak = asked.pop("peak", 20.0)
    vocabulary = write_tokenizer(folder, names) + 5  # published embeddings are padded beyond the tokens
    config = causal_config("gpt_neox", vocabulary, **asked)
    save_network(folder, config, peak=peak)
    _rename_head(folder)
    return seal(folder, **{"family": "c2s", "prompt": PROMPT, **facts})


def write_maxtoki(folder: Path, seal: Callable[..., Path], *, names: Sequence[str] = NAMES, **asked: Any) -> Path:
    """A release of family maxtoki: Llama with shared key heads, and dictionaries as of Geneformer V2."""
    folder.mkdir(parents=True)
    tokens = {name: at for at, name in enumerate(("<pad>", "<mask>", "<cls>", "<eos>", *names))}
    roots = np.sqrt([2.0, 3.0, 5.0, 6.0, 7.0, 10.0, 11.0])
    (folder / "token_dictionary.json").write_text(json.dumps(tokens))
    medians = {name: float(roots[at % 7]) for at, name in enumerate(names)}
    (folder / "gene_median_dictionary.json").write_text(json.dumps(medians))
    peak = asked.pop("peak", 20.0)
    save_network(folder, causal_config("llama", len(tokens), **asked), peak=peak)
    return seal(folder, family="maxtoki")


def _rename_head(folder: Path) -> None:
    """Call the head as published GPT-NeoX files do."""
    from safetensors.torch import load_file, save_file

    state = load_file(folder / "model.safetensors")
    state["embed_out.weight"] = state.pop("lm_head.weight")
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})


def naive_edges(
    folder: Path, sequences: Sequence[tuple[Sequence[int], Sequence[str | None]]], genes: Sequence[str]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Directed sums (L x H x G x G), possible counts and counts of cells with both, by loops over eager attention.

    Each sequence is its tokens and, for each token, the gene it stands for or None. One cell at a time, float64.
    """
    import torch

    model = load_reference(folder)
    number = {gene: at for at, gene in enumerate(genes)}
    layers, heads = model.config.num_hidden_layers, model.config.num_attention_heads
    sums = np.zeros((layers, heads, len(genes), len(genes)))
    possible, both = (np.zeros((len(genes), len(genes)), dtype=int) for _ in range(2))
    for tokens, owners in sequences:
        if not len(tokens):
            continue
        with torch.no_grad():
            found = model(torch.tensor([list(tokens)]), output_attentions=True, use_cache=False).attentions
        assert len(found) == layers
        held = [gene for gene in dict.fromkeys(owners) if gene in number]
        places = {gene: [at for at, owner in enumerate(owners) if owner == gene] for gene in held}
        for query in held:
            for key in held:
                row, column = number[query], number[key]
                both[row, column] += 1
                possible[row, column] += min(places[key]) <= max(places[query])
                for layer in range(layers):
                    weights = found[layer][0].numpy()
                    assert not np.triu(weights, 1).any()
                    total = sum(weights[:, i, j] for i in places[query] for j in places[key])
                    sums[layer, :, row, column] += total / len(places[query])
    return sums, possible, both

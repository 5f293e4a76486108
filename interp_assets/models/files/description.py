"""What a release holds, read from its configuration, dictionaries and tensor headers, and checked against each other.

What belongs here: one reader a family. A mismatch between files is an error here, before any model is built. What does
not: loading a model (`adapter.load_model`), which checks again what it needs.

Reading a release in safetensors imports no torch; torch files are read by their safe reader to see what they hold.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from interp_assets.models.adapter import SCORE_FAMILIES, WITHOUT_ATTENTION, no_attention
from interp_assets.models.files.checkpoints import ReleaseFile, read_json
from interp_assets.models.files.file_rules import ManifestError, TruncatedFileError
from interp_assets.models.files.published import published_match, published_size, vocabulary_named
from interp_assets.models.files.releases import Release, longest_sequence
from interp_assets.models.files.tensor_headers import TensorHeader
from interp_assets.models.files.weights import weight_headers, weight_paths

CONFIG_LIMIT: Final = 2**20
LAYER_LIMIT: Final = 1000
_DTYPES: Final = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}
NO_PROMPT: Final = "states no prompt; the text the model was trained with goes into `prompt` of release.json"
_WHOLE: Final = "Use the complete checkpoint; missing weights are never made up."
_TOGETHER: Final = "Use the configuration, dictionaries and weights that belong together."
Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Size and habits of a model as its files state them; 0 where a family has no such number.

    ``max_length`` counts special tokens. ``attention`` is ``softmax``, ``finished scores`` or why there is none.
    ``unknown`` are tensors the adapter has no use for.
    """

    layers: int = 0
    heads: int = 0
    width: int = 0
    vocabulary: int = 0
    max_length: int = 0
    direction: str = "none"
    attention: str = "softmax"
    dtype: str = "none"
    parameters: int = 0
    tensors: int = 0
    unknown: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """A release and its shape; ``published`` says which published checkpoint it is or is like, empty if none."""

    name: str
    family: str
    kind: str
    release_id: str
    gap: float | None
    gene_key: str
    shape: Shape
    files: tuple[ReleaseFile, ...]
    published: str = ""
    source: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)


def describe_release(release: Release) -> Description:
    """Description of a verified release; its files agree with each other.

    Raises
    ------
    ReleaseFileError
        If a configuration, dictionary or weights file is malformed, or two of them do not belong together.
    ValueError
        If an edge table breaks a rule of `reading`.
    """
    if release.family in WITHOUT_ATTENTION:
        shape = Shape(attention=no_attention(release.family))
    elif release.family in _READERS:
        shape = _READERS[release.family](release)
    else:
        shape = Shape(attention=no_attention(release.family) or "see the adapter of the family")
    sizes = {name: getattr(shape, name) for name in ("layers", "heads", "width", "vocabulary")}
    return Description(
        name=release.name,
        family=release.family,
        kind=release.kind,
        release_id=release.release_id,
        gap=release.gap,
        gene_key=release.gene_key,
        shape=shape,
        files=release.files,
        published=published_match(release.family, release.files, sizes),
        source=str(release.facts.get("source", "")),
        facts={key: release.facts[key] for key in ("created", "licence", "hub", "converted") if key in release.facts},
    )


def _config(release: Release, *kinds: str) -> tuple[Path, dict[str, Any]]:
    path = release.file("config.json")
    content = read_json(path, limit=CONFIG_LIMIT)
    kind = content.get("model_type") if isinstance(content, dict) else None
    if kind not in kinds:
        told = f"is of model_type {kind!r}, a {release.family} release has {' or '.join(kinds)}"
        raise ManifestError(path, told, _TOGETHER)
    return path, content


def _size(path: Path, content: Mapping[str, Any], key: str) -> int:
    found = content.get(key)
    most = LAYER_LIMIT if key == "num_hidden_layers" else 10**9
    if type(found) is not int or not 0 < found <= most:
        raise ManifestError(path, f"{key} is {str(found)[:40]}, a whole number from 1 to {most} is needed", _TOGETHER)
    return found


def _headers(release: Release, sizes: Mapping[str, int]) -> dict[str, TensorHeader]:
    """Tensor headers; a truncated file is told what the published one takes."""
    try:
        return weight_headers(release)
    except TruncatedFileError as error:
        known = published_size(release.family, Path(error.file).name, sizes)
        if not known:
            raise
        raise TruncatedFileError(error.file, f"{error.problem}; {known}", error.remedy) from error


def _stated(headers: Mapping[str, TensorHeader], **shape: Any) -> Shape:
    """Shape with what the headers say: parameters (numbers with a fraction), tensors, number formats."""
    real = [header for header in headers.values() if header.dtype in _DTYPES]
    dtypes = sorted({_DTYPES[header.dtype] for header in real})
    parameters = sum(header.elements for header in real)
    return Shape(dtype=" and ".join(dtypes) or "none", parameters=parameters, tensors=len(headers), **shape)


def _require(weights: Path, headers: Mapping[str, TensorHeader], wanted: Shapes) -> None:
    missing = sorted(name for name in wanted if name not in headers)
    if missing:
        raise ManifestError(weights, f"lacks {len(missing)} weights such as {missing[0]}", _WHOLE)
    for name, shape in wanted.items():
        if headers[name].shape != shape:
            told = f"{name} has shape {headers[name].shape}, the configuration asks for {shape}"
            raise ManifestError(weights, told, _TOGETHER)


def bert_shapes(layers: int, width: int, inner: int, vocabulary: int, positions: int, types: int = 2) -> Shapes:
    """Every tensor of a BERT encoder and its shape, without the prefix ``bert.`` (16 a layer and 5)."""
    wanted: Shapes = {
        "embeddings.word_embeddings.weight": (vocabulary, width),
        "embeddings.position_embeddings.weight": (positions, width),
        "embeddings.token_type_embeddings.weight": (types, width),
    }
    linear = {"attention.self.query": (width, width), "attention.self.key": (width, width)}
    linear |= {"attention.self.value": (width, width), "attention.output.dense": (width, width)}
    linear |= {"intermediate.dense": (inner, width), "output.dense": (width, inner)}
    norms = ["embeddings.LayerNorm"]
    for number in range(layers):
        prefix = f"encoder.layer.{number}."
        for name, shape in linear.items():
            wanted |= {f"{prefix}{name}.weight": shape, f"{prefix}{name}.bias": shape[:1]}
        norms += [f"{prefix}attention.output.LayerNorm", f"{prefix}output.LayerNorm"]
    for name in norms:
        wanted |= {f"{name}.weight": (width,), f"{name}.bias": (width,)}
    return wanted


def _geneformer(release: Release) -> Shape:
    path, config = _config(release, "bert")
    keys = {"layers": "num_hidden_layers", "heads": "num_attention_heads", "width": "hidden_size"}
    keys |= {"vocabulary": "vocab_size", "max_length": "max_position_embeddings"}
    sizes = {name: _size(path, config, key) for name, key in keys.items()}
    headers = {name.removeprefix("bert."): header for name, header in _headers(release, sizes).items()}
    weights = weight_paths(release)[0]
    rows = headers.get("embeddings.word_embeddings.weight")
    notes = _token_dictionary(release, weights, rows.shape[0] if rows is not None and rows.shape else 0)
    wanted = bert_shapes(
        sizes["layers"],
        sizes["width"],
        _size(path, config, "intermediate_size"),
        sizes["vocabulary"],
        sizes["max_length"],
        int(config.get("type_vocab_size", 2)),
    )
    _require(weights, headers, wanted)
    if sizes["width"] % sizes["heads"]:
        raise ManifestError(path, f"{sizes['heads']} heads do not divide a width of {sizes['width']}", _TOGETHER)
    unknown = tuple(sorted(name for name in headers if name not in wanted and not name.startswith("cls.predictions.")))
    sizes["max_length"] = longest_sequence(release, sizes["max_length"])
    return _stated(headers, **sizes, direction="bidirectional", unknown=unknown, notes=notes)


def _token_dictionary(release: Release, weights: Path, rows: int) -> tuple[str, ...]:
    """Check the dictionaries of a Geneformer folder against the rows of its embedding; what is worth saying."""
    from interp_assets.models.families.geneformer_vocabulary import read_vocabulary

    if release.facts.get("awaits_dictionaries"):
        return (f"no dictionaries beside the weights; {rows} tokens are embedded{vocabulary_named(rows)}",)
    vocabulary = read_vocabulary(release)
    if rows and vocabulary.size != rows:
        own, there = vocabulary_named(vocabulary.size), vocabulary_named(rows)
        told = f"embeds {rows} tokens{there}, but the token dictionary has {vocabulary.size} entries{own}"
        raise ManifestError(weights, told, "Give the dictionaries the weights were trained with (`--dictionaries`).")
    return (f"special tokens {', '.join(sorted(vocabulary.specials))}", f"gene names by {vocabulary.named_by}")


def _scgpt(release: Release) -> Shape:
    from interp_assets.models.families.scgpt_vocabulary import read_settings, read_vocabulary
    from interp_assets.models.families.scgpt_weights import load_weights

    settings = read_settings(release.file("args.json"))
    vocabulary = read_vocabulary(release.file("vocab.json"), settings)
    sizes = {"layers": settings.layers, "heads": settings.heads, "width": settings.width}
    sizes |= {"vocabulary": len(vocabulary.entries), "max_length": settings.max_length}
    headers = _headers(release, sizes)
    loaded = load_weights(release, settings, len(vocabulary.entries), device="cpu", dtype="float32")
    notes = (f"attention weights named as in the {loaded.layout} layout", f"{settings.bins} bins of expression")
    unknown = tuple(f"{prefix}.* ({count})" for prefix, count in loaded.unused.items())
    return _stated(headers, **sizes, direction="bidirectional", unknown=unknown, notes=notes)


# Prefix, embedding and names of the tensors of a causal language model, by model_type. Both heads occur with both.
_LAYER: Final = r"layers\.\d+\."
_NEOX: Final = (
    r"(input_layernorm|post_attention_layernorm|attention\.(query_key_value|dense)|mlp\.dense_(h_to_4h|4h_to_h))"
)
_LLAMA: Final = r"(input_layernorm|post_attention_layernorm|self_attn\.[qkvo]_proj|mlp\.(gate|up|down)_proj)"
_CAUSAL: Final[Mapping[str, tuple[str, str, str]]] = {
    "gpt_neox": ("gpt_neox.", "embed_in.weight", rf"(embed_in|final_layer_norm|{_LAYER}{_NEOX})\.(weight|bias)"),
    "llama": ("model.", "embed_tokens.weight", rf"(embed_tokens|norm|{_LAYER}{_LLAMA})\.(weight|bias)"),
}
_HEADS: Final = ("embed_out.weight", "lm_head.weight")


def _causal(release: Release) -> Shape:
    path, config = _config(release, *_CAUSAL)
    keys = {"layers": "num_hidden_layers", "heads": "num_attention_heads", "width": "hidden_size"}
    keys |= {"vocabulary": "vocab_size", "max_length": "max_position_embeddings"}
    sizes = {name: _size(path, config, key) for name, key in keys.items()}
    prefix, embedding, known = _CAUSAL[str(config["model_type"])]
    headers = {name.removeprefix(prefix): header for name, header in _headers(release, sizes).items()}
    weights = weight_paths(release)[0]
    if release.family == "maxtoki":
        notes = _token_dictionary(release, weights, sizes["vocabulary"])
    else:
        notes = () if "prompt" in release.facts else (NO_PROMPT,)
    _require(weights, headers, {embedding: (sizes["vocabulary"], sizes["width"])})
    held = {int(found.group(1)) for name in headers if (found := re.match(r"layers\.(\d+)\.", name))}
    if held != set(range(sizes["layers"])):
        told = f"holds {len(held)} layers, the configuration asks for {sizes['layers']}"
        raise ManifestError(weights, told, _TOGETHER)
    unknown = tuple(sorted(name for name in headers if name not in _HEADS and not re.fullmatch(known, name)))
    sizes["max_length"] = longest_sequence(release, sizes["max_length"])
    return _stated(headers, **sizes, direction="causal", unknown=unknown, notes=notes)


def _edge_table(release: Release) -> Shape:
    from interp_assets.models.edge_tables.reading import load_edge_table

    table = load_edge_table(release)
    genes = set(table.edges["source"]) | set(table.edges["target"])
    rows = f"{len(table.edges):,} pairs of {len(genes):,} genes"
    notes = (rows,) if table.cells_hash else (rows, "states no cells_hash; a comparison with same-cell scores needs it")
    return Shape(layers=1, heads=1, vocabulary=len(genes), attention="finished scores", notes=notes)


_READERS: Final[Mapping[str, Callable[[Release], Shape]]] = {
    "geneformer": _geneformer,
    "scgpt": _scgpt,
    "c2s": _causal,
    "maxtoki": _causal,
    **dict.fromkeys(SCORE_FAMILIES, _edge_table),
}


def named_by_ensembl(tokens: Mapping[str, Any]) -> bool:
    """Whether most keys of a token dictionary are Ensembl ids.

    >>> named_by_ensembl({"<pad>": 0, "ENSG00000141510": 1}), named_by_ensembl({"<pad>": 0, "TP53": 1})
    (True, False)
    """
    genes = [name for name in tokens if not name.startswith("<")]
    ids = sum(re.match(r"ENS[A-Z]*\d", name.upper()) is not None for name in genes)
    return ids > len(genes) / 2

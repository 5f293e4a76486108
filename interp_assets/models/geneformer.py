"""Adapter for folders in Geneformer layout: a BERT encoder over genes ranked by median-scaled expression.

What belongs here: finding and checking the dictionaries, encoding cells, strict loading of the weights, and
running a batch. What does not: the rank-value formula (`rank_value`), gene pairs (`attention`).

A folder holds ``config.json``, ``model.safetensors``, a token dictionary and a median dictionary (JSON, or the
published pickles through the restricted reader) and, where the dictionaries are keyed by Ensembl id, optionally
a mapping from symbols or old ids to those keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from interp_assets.models.adapter import (
    AttentionForm,
    Duplicates,
    EncodedCells,
    LayerSink,
    ModelFacts,
    TokenBatch,
)
from interp_assets.models.attention_kernel import available_forms, register_streaming, streaming
from interp_assets.models.bert_blocks import (
    BertBlocks,
    BertOutput,
    device_tokens,
    intervening_on,
    load_encoder,
    load_output,
    read_bert_config,
    use_form,
)
from interp_assets.models.checkpoints import ManifestError, read_dictionary
from interp_assets.models.interventions import Intervention
from interp_assets.models.rank_value import rank_value_tokens

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

    from interp_assets.models.releases import Release

PAD, MASK, START, END = "<pad>", "<mask>", "<cls>", "<eos>"
SPECIALS = (PAD, MASK, START, END)
DICTIONARIES: Mapping[str, tuple[str, ...]] = {
    "tokens": ("token_dictionary",),
    "medians": ("gene_median_dictionary",),
    "mapping": ("ensembl_mapping_dict", "gene_name_id_dict", "gene_mapping"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """Dictionaries of a release, checked against each other.

    ``tokens`` and ``medians`` cover the same genes, ``specials`` the tokens without a gene, ``mapping`` maps
    upper-case names to keys (empty where names are keys).
    """

    tokens: Mapping[str, int]
    medians: Mapping[str, float]
    specials: Mapping[str, int]
    mapping: Mapping[str, str]
    gene_key: Literal["symbol", "ensembl"]

    @property
    def size(self) -> int:
        """Rows the embedding matrix must have."""
        return len(self.tokens) + len(self.specials)

    def key(self, gene: str) -> str | None:
        """Dictionary key of a gene name, or None where the vocabulary does not know it."""
        name = gene.split(".")[0].upper() if self.gene_key == "ensembl" else gene
        for candidate in (name, self.mapping.get(gene.upper(), self.mapping.get(name))):
            if candidate is not None and candidate in self.tokens:
                return candidate
        return None


class GeneformerModel:
    """A loaded Geneformer-layout encoder (satisfies `interventions.InterventionModel`)."""

    def __init__(
        self, encoder: Any, vocabulary: Vocabulary, facts: ModelFacts, output: BertOutput | None = None
    ) -> None:
        self._encoder, self._vocabulary, self._facts, self._output = encoder, vocabulary, facts, output

    @property
    def encoder(self) -> Any:
        """The transformers ``BertModel`` in evaluation mode."""
        return self._encoder

    @property
    def vocabulary(self) -> Vocabulary:
        """Checked dictionaries of the release."""
        return self._vocabulary

    def describe(self) -> ModelFacts:
        """Shape and habits of the model."""
        return self._facts

    def known(self, genes: NDArray[np.str_]) -> NDArray[np.bool_]:
        """Which genes a token can stand for: known by name or through the mapping, and first of their key."""
        seen: set[str | None] = {None}
        known = np.zeros(len(genes), dtype=np.bool_)
        for number, gene in enumerate(genes):
            key = self._vocabulary.key(str(gene))
            known[number] = key not in seen
            seen.add(key)
        return known

    def encode(self, counts: csr_matrix, genes: NDArray[np.str_], *, duplicates: Duplicates = "refuse") -> EncodedCells:
        """Rank-value tokens of raw counts, special tokens added where the dictionary has them.

        Ties keep the order of the token dictionary. Two columns of one dictionary key are refused, or summed
        into the first of them with ``duplicates="sum"``.

        Raises
        ------
        ValueError
            If counts are not whole non-negative numbers, names and columns differ in number, no gene is known
            or one is measured twice and ``duplicates`` is ``"refuse"``.
        """
        require_counts(counts, genes)
        counts, columns, keys = self._dictionary_columns(counts, genes, duplicates)
        token_ids = np.array([self._vocabulary.tokens[key] for key in keys], dtype=np.int32)
        medians = np.array([self._vocabulary.medians[key] for key in keys], dtype=np.float64)
        order = np.argsort(token_ids, kind="stable")
        wrapped = START in self._vocabulary.specials
        room = self._facts.max_length - 2 * wrapped
        flat, offsets = rank_value_tokens(counts, columns[order], token_ids[order], medians[order], room)
        column_of = np.full(self._vocabulary.size, -1, dtype=np.int32)
        column_of[token_ids] = columns
        if wrapped:
            flat, offsets = self._wrap(flat, offsets)
        return EncodedCells(tokens=flat, column=column_of[flat], offsets=offsets)

    def _wrap(self, flat: NDArray[np.int32], offsets: NDArray[np.int64]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Put the start token in front of every cell and the end token behind it."""
        cells = offsets.size - 1
        wider = offsets + 2 * np.arange(cells + 1)
        tokens = np.empty(flat.size + 2 * cells, dtype=np.int32)
        inside = np.ones(tokens.size, dtype=np.bool_)
        inside[wider[:-1]] = inside[wider[1:] - 1] = False
        tokens[inside] = flat
        tokens[wider[:-1]] = self._vocabulary.specials[START]
        tokens[wider[1:] - 1] = self._vocabulary.specials[END]
        return tokens, wider

    def _dictionary_columns(
        self, counts: csr_matrix, genes: NDArray[np.str_], duplicates: Duplicates
    ) -> tuple[csr_matrix, NDArray[np.int32], list[str]]:
        """Counts with one column a dictionary key, those columns, and their keys."""
        first: dict[str, int] = {}
        repeated: list[tuple[int, int]] = []
        for column, gene in enumerate(genes):
            key = self._vocabulary.key(str(gene))
            if key is None:
                continue
            if key in first:
                repeated.append((column, first[key]))
            else:
                first[key] = column
        if not first:
            kind = self._vocabulary.gene_key
            raise ValueError(
                f"none of the {len(genes)} gene names (such as {genes[0]}) is in the token dictionary, which is "
                f"keyed by {kind}; translate the names or add a mapping dictionary to the release"
            )
        if repeated:
            if duplicates == "refuse":
                names = ", ".join(sorted({str(genes[column]) for column, _ in repeated})[:10])
                raise ValueError(
                    f"{len(repeated)} measured genes share a dictionary key with another one ({names}); make names "
                    'unique, or encode with duplicates="sum"'
                )
            counts = _sum_columns(counts, repeated)
        return counts, np.array(list(first.values()), dtype=np.int32), list(first)

    def attend(self, batch: TokenBatch, sink: LayerSink, *, form: AttentionForm) -> None:
        """Run the batch once; ``sink(layer, attention)`` receives every layer in order (see the protocol)."""
        import torch

        if form not in self._facts.forms:
            raise ValueError(f"attention form {form!r} is not available on {self._facts.device}")
        use_form(self._encoder, form)
        tokens, valid = device_tokens(batch, self._facts.device)
        with torch.inference_mode(), streaming(sink):
            self._encoder(input_ids=tokens, attention_mask=valid)

    def intervening(self, intervention: Intervention | None) -> AbstractContextManager[None]:
        """Context in which the encoder runs with the intervention (see the protocol)."""
        if intervention is not None:
            intervention.check(self._facts.layers, self._facts.heads)
        return intervening_on(self._encoder, intervention)

    def blocks(self, batch: TokenBatch, *, form: AttentionForm) -> BertBlocks:
        """The batch, ready to be run block by block."""
        return BertBlocks(self._encoder, batch, form, self._facts.device)

    def output(self) -> BertOutput | None:
        """Masked-token head of the release, or None."""
        return self._output

    def gene_tokens(self, genes: list[str]) -> list[int]:
        """Token of each gene; a gene that is not in the vocabulary is a `KeyError`."""
        return [self._vocabulary.tokens[self._vocabulary.key(gene) or gene] for gene in genes]


def require_counts(counts: csr_matrix, genes: NDArray[np.str_]) -> None:
    """Raise ValueError unless ``counts`` are whole, finite, non-negative and match the gene names."""
    if counts.shape[1] != len(genes):
        raise ValueError(f"{counts.shape[1]} count columns but {len(genes)} gene names")
    if counts.shape[0] == 0 or counts.shape[1] == 0:
        raise ValueError(f"no cells or no genes to encode (shape {counts.shape})")
    data = counts.data
    whole = np.isfinite(data).all() and bool((data >= 0).all()) and bool((data == np.floor(data)).all())
    if not whole:
        raise ValueError(
            "rank-value encoding needs raw counts, but the matrix holds fractions, negative or missing values; "
            "give the counts layer instead of normalised values"
        )


def _sum_columns(counts: csr_matrix, repeated: list[tuple[int, int]]) -> csr_matrix:
    """Counts with repeated columns added to their first one and emptied."""
    from scipy.sparse import csr_matrix, identity

    target = np.arange(counts.shape[1])
    for column, first in repeated:
        target[column] = first
    moved = identity(counts.shape[1], dtype=counts.dtype, format="csr")
    moved = csr_matrix((moved.data, target, moved.indptr), shape=moved.shape)
    return csr_matrix(counts @ moved)


def read_vocabulary(release: Release) -> Vocabulary:
    """Dictionaries of a release, found among its listed files and checked against each other.

    Raises
    ------
    ManifestError
        If a dictionary is missing or ambiguous, token ids are not 0..n-1, a special token is missing, or a gene
        token has no positive median.
    """
    token_file = _dictionary_file(release, "tokens")
    median_file = _dictionary_file(release, "medians")
    if token_file is None or median_file is None:
        raise ManifestError(
            release.folder,
            "lists no token dictionary or no median dictionary",
            "List token_dictionary.json and gene_median_dictionary.json in release.json.",
        )
    remedy = "Use the dictionaries the weights were trained with."
    entries = read_dictionary(token_file)
    if not all(isinstance(token, int) for token in entries.values()):
        raise ManifestError(token_file, "token ids are not whole numbers", remedy)
    ids = cast("dict[str, int]", entries)
    if sorted(ids.values()) != list(range(len(ids))):
        raise ManifestError(token_file, f"token ids are not 0..{len(ids) - 1}, each once", remedy)
    specials = {name: ids[name] for name in SPECIALS if name in ids}
    if PAD not in specials or MASK not in specials or (START in specials) != (END in specials):
        raise ManifestError(
            token_file, f"special tokens are {sorted(specials)}; <pad>, <mask> and both or none of <cls>, <eos>", remedy
        )
    tokens = {gene: token for gene, token in ids.items() if gene not in specials}
    medians = _medians(median_file, tokens, remedy)
    gene_key = release.gene_key
    if gene_key not in {"symbol", "ensembl"}:
        raise ManifestError(release.folder / "release.json", f"gene_key is {gene_key!r}", "Use `symbol` or `ensembl`.")
    return Vocabulary(
        tokens=tokens,
        medians=medians,
        specials=specials,
        mapping=_mapping(release),
        gene_key=cast("Literal['symbol', 'ensembl']", gene_key),
    )


def _dictionary_file(release: Release, role: str) -> Path | None:
    named = release.facts.get("dictionaries")
    if isinstance(named, dict) and role in named:
        return release.file(str(named[role]))
    found = [
        file.path
        for file in release.files
        if Path(file.path).name.startswith(DICTIONARIES[role])
        and Path(file.path).suffix in {".json", ".pkl", ".pickle"}
    ]
    if len(found) > 1:
        raise ManifestError(
            release.folder, f"has several {role} dictionaries: {', '.join(found)}", "Name one in `dictionaries`."
        )
    return release.file(found[0]) if found else None


def _medians(path: Path, tokens: Mapping[str, int], remedy: str) -> dict[str, float]:
    stated = read_dictionary(path)
    lacking = [gene for gene in tokens if gene not in stated]
    if lacking:
        raise ManifestError(path, f"has no median for {len(lacking)} tokens such as {lacking[0]}", remedy)
    medians = {gene: stated[gene] for gene in tokens}
    wrong = [g for g, m in medians.items() if isinstance(m, str) or not np.isfinite(m) or m <= 0]
    if wrong:
        raise ManifestError(path, f"median of {wrong[0]} is not a positive number", remedy)
    return {gene: float(median) for gene, median in medians.items()}


def _mapping(release: Release) -> dict[str, str]:
    path = _dictionary_file(release, "mapping")
    if path is None:
        return {}
    mapping = read_dictionary(path)
    if not all(isinstance(value, str) for value in mapping.values()):
        raise ManifestError(path, "maps names to something other than names", "Use a name-to-id dictionary.")
    return {name.upper(): str(key) for name, key in mapping.items()}


def load_geneformer(release: Release, *, device: str = "cpu", dtype: str = "float32") -> GeneformerModel:
    """Geneformer-layout model of a verified release, weights checked against configuration and dictionary.

    ``dtype`` is ``float32`` (exact) or ``bfloat16`` (screening only: about 2 % off in sums).

    Raises
    ------
    ManifestError
        If the configuration is no plain BERT encoder, the dictionary and the embedding differ in size, or an
        encoder weight is missing or misshapen.
    """
    vocabulary = read_vocabulary(release)
    config = read_bert_config(release.file("config.json"), vocabulary.size)
    encoder, unexpected = load_encoder(release.file("model.safetensors"), config, dtype=dtype)
    encoder = encoder.to(device)
    output = load_output(release.file("model.safetensors"), encoder, config)
    register_streaming()
    facts = ModelFacts(
        family="geneformer",
        layers=config.num_hidden_layers,
        heads=config.num_attention_heads,
        width=config.hidden_size,
        vocabulary=vocabulary.size,
        max_length=config.max_position_embeddings,
        direction="bidirectional",
        attention="softmax",
        forms=available_forms(device),
        dtype=dtype,
        device=device,
        gene_key=vocabulary.gene_key,
        padding=vocabulary.specials[PAD],
        mask=vocabulary.specials[MASK],
        facts={"specials": sorted(vocabulary.specials), "unexpected_weights": unexpected},
    )
    return GeneformerModel(encoder, vocabulary, facts, output)

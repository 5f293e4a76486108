"""Adapter for folders in Geneformer layout: a BERT encoder over genes ranked by median-scaled expression.

What belongs here: encoding cells, strict loading of the weights, and running a batch. What does not: the dictionaries
(`geneformer_vocabulary`), the rank-value formula (`rank_value`), gene pairs (`attention`).

A folder holds ``config.json``, ``model.safetensors`` or ``pytorch_model.bin``, a token dictionary and a median
dictionary (JSON, or the published pickles through the restricted reader) and, where the dictionaries are keyed by
Ensembl id, optionally a mapping from symbols or old ids to those keys. A fine-tuned classifier is read as the encoder
it holds: it predicts no tokens.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

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
from interp_assets.models.attention.kernel import available_forms, register_streaming, streaming
from interp_assets.models.families.bert_blocks import (
    HEAD,
    BertBlocks,
    BertOutput,
    CountedLayers,
    device_tokens,
    intervening_on,
    load_encoder,
    load_output,
    read_bert_config,
    use_form,
)
from interp_assets.models.families.geneformer_vocabulary import (
    DICTIONARIES,
    END,
    MASK,
    PAD,
    START,
    Vocabulary,
    read_vocabulary,
)
from interp_assets.models.families.rank_value import expressed, rank_value_tokens
from interp_assets.models.families.vocabulary_columns import known_genes, require_counts, vocabulary_columns
from interp_assets.models.files.releases import longest_sequence
from interp_assets.models.files.weights import read_weights, weight_paths
from interp_assets.models.interventions import Intervention

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

    from interp_assets.models.files.releases import Release

__all__ = ["DICTIONARIES", "GeneformerModel", "Vocabulary", "load_geneformer", "read_vocabulary"]


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
        """Which genes a token can stand for: known by name or through the mapping, one column a dictionary key."""
        return known_genes(genes, self._vocabulary.key, self._vocabulary.rank)

    def collapsed(self, genes: NDArray[np.str_]) -> NDArray[np.bool_]:
        """Which columns are added to another one, because the mapping says that both names are one gene."""
        added = np.zeros(len(genes), dtype=np.bool_)
        added[[column for column, _ in self._vocabulary.columns(genes).collapsed]] = True
        return added

    def encode(self, counts: csr_matrix, genes: NDArray[np.str_], *, duplicates: Duplicates = "refuse") -> EncodedCells:
        """Rank-value tokens of raw counts, special tokens added where the dictionary has them.

        Ties keep the order of the token dictionary. Columns of several names that the mapping gives one dictionary key
        are summed, as the published tokeniser collapses them; two columns of the very same name are refused, or summed
        with ``duplicates="sum"``. Cell totals are those of all measured genes: ``n_counts`` scales a whole cell and
        cannot change an order.

        Raises
        ------
        ValueError
            If counts are not whole non-negative numbers, names and columns differ in number, no gene is known
            or one is measured twice and ``duplicates`` is ``"refuse"``.
        """
        require_counts(counts, genes)
        described = f"token dictionary, which is keyed by {self._vocabulary.gene_key}"
        known = self._vocabulary
        counts, columns, keys = vocabulary_columns(counts, genes, known.key, duplicates, described, known.rank)
        token_ids = np.array([known.tokens[key] for key in keys], dtype=np.int32)
        medians = np.array([known.medians[key] for key in keys], dtype=np.float64)
        order = np.argsort(token_ids, kind="stable")
        wrapped = START in known.specials
        room = self._facts.max_length - 2 * wrapped
        flat, offsets = rank_value_tokens(counts, columns[order], token_ids[order], medians[order], room)
        left_out = expressed(counts, columns) - np.diff(offsets)
        column_of = np.full(known.size, -1, dtype=np.int32)
        column_of[token_ids] = columns
        if wrapped:
            flat, offsets = self._wrap(flat, offsets)
        return EncodedCells(tokens=flat, column=column_of[flat], offsets=offsets, left_out=left_out)

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

    def attend(self, batch: TokenBatch, sink: LayerSink, *, form: AttentionForm) -> None:
        """Run the batch once; ``sink(layer, attention)`` receives every layer in order (see the protocol)."""
        import torch

        if form not in self._facts.forms:
            raise ValueError(f"attention form {form!r} is not available on {self._facts.device}")
        use_form(self._encoder, form)
        tokens, valid = device_tokens(batch, self._facts.device)
        counted = CountedLayers(sink)
        with torch.inference_mode(), streaming(counted):
            self._encoder(input_ids=tokens, attention_mask=valid)
        counted.require(range(self._facts.layers))

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


def load_geneformer(release: Release, *, device: str = "cpu", dtype: str = "float32") -> GeneformerModel:
    """Geneformer-layout model of a verified release, weights checked against configuration and dictionary.

    Weights are those of a masked language model, of a classifier fine-tuned from one, or of the bare encoder. A
    ``max_length`` in the manifest cuts sequences earlier than the model has to; a cut at 512 makes large models usable
    on processors.

    ``dtype`` is ``float32`` (exact) or ``bfloat16`` (screening only: about 2 % off in sums).

    Raises
    ------
    ManifestError
        If the configuration is no plain BERT encoder, the dictionary and the embedding differ in size, an encoder
        weight is missing or misshapen, or ``max_length`` is no length the model has.
    """
    vocabulary = read_vocabulary(release)
    config = read_bert_config(release.file("config.json"), vocabulary.size)
    state, weights = read_weights(release), weight_paths(release)[0]
    encoder, unexpected = load_encoder(weights, config, dtype=dtype, state=state)
    encoder = encoder.to(device)
    output = load_output(weights, encoder, config, state=state)
    register_streaming()
    facts = ModelFacts(
        family="geneformer",
        layers=config.num_hidden_layers,
        heads=config.num_attention_heads,
        width=config.hidden_size,
        vocabulary=vocabulary.size,
        max_length=longest_sequence(release, config.max_position_embeddings),
        direction="bidirectional",
        attention="softmax",
        forms=available_forms(device),
        dtype=dtype,
        device=device,
        gene_key=vocabulary.gene_key,
        padding=vocabulary.specials[PAD],
        mask=vocabulary.specials[MASK],
        facts={
            "specials": sorted(vocabulary.specials),
            "unexpected_weights": [name for name in unexpected if output is None or not name.startswith(HEAD)],
            "names": vocabulary.named_by,
            "predicts_tokens": output is not None,
        },
    )
    return GeneformerModel(encoder, vocabulary, facts, output)

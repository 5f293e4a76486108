"""Adapter for folders in scGPT layout: an encoder over pairs of gene and binned expression value.

What belongs here: encoding cells, running a batch, what is hidden and predicted. What does not: the formula of the bins
(`binning`), settings and vocabulary (`scgpt_vocabulary`), weights (`scgpt_weights`), gene pairs (`attention`).

A folder holds ``best_model.pt`` (or ``model.safetensors``), ``args.json`` and ``vocab.json``. The encoder is
written out here: published code computes attention in fused calls that no hook reaches. There is no position
embedding, so the order of genes in a sequence means nothing to the model.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from interp_assets.models.adapter import (
    AttentionForm,
    Duplicates,
    EncodedCells,
    Encoding,
    LayerSink,
    ModelFacts,
    TokenBatch,
)
from interp_assets.models.attention.kernel import available_forms
from interp_assets.models.families.binning import binned_cells
from interp_assets.models.families.encoder_layers import LayerBlocks, intervening_on_layers
from interp_assets.models.families.scgpt_vocabulary import (
    FIRST_BIN,
    ScgptSettings,
    ScgptVocabulary,
    read_settings,
    read_vocabulary,
)
from interp_assets.models.families.scgpt_weights import ScgptWeights, ValueOutput, load_weights
from interp_assets.models.families.vocabulary_columns import known_genes, require_counts, vocabulary_columns
from interp_assets.models.files.file_rules import ManifestError
from interp_assets.models.interventions import Intervention

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

    from interp_assets.models.files.releases import Release

SETTINGS: Final = "args.json"
VOCABULARY: Final = "vocab.json"


class ScgptModel:
    """A loaded scGPT-layout encoder (satisfies `interventions.InterventionModel` and `interventions.ValueModel`)."""

    def __init__(
        self,
        weights: ScgptWeights,
        vocabulary: ScgptVocabulary,
        settings: ScgptSettings,
        facts: ModelFacts,
        encoding: Encoding,
    ) -> None:
        self._weights, self._vocabulary, self._settings = weights, vocabulary, settings
        self._encoding = encoding
        chosen = {"zeros": encoding.zeros, "ties": encoding.ties, "encoding_seed": encoding.seed}
        self._facts = replace(facts, facts={**facts.facts, **chosen})

    @property
    def vocabulary(self) -> ScgptVocabulary:
        """Checked vocabulary of the release."""
        return self._vocabulary

    @property
    def weights(self) -> ScgptWeights:
        """Checked weights of the release."""
        return self._weights

    def describe(self) -> ModelFacts:
        """Shape and habits of the model."""
        return self._facts

    def encoding_by(self, encoding: Encoding) -> ScgptModel:
        """The same model, encoding cells as asked."""
        return ScgptModel(self._weights, self._vocabulary, self._settings, self._facts, encoding)

    def known(self, genes: NDArray[np.str_]) -> NDArray[np.bool_]:
        """Which genes have an entry, by their exact name; of several of one name the first."""
        return known_genes(genes, self._vocabulary.key)

    def encode(self, counts: csr_matrix, genes: NDArray[np.str_], *, duplicates: Duplicates = "refuse") -> EncodedCells:
        """``<cls>`` and the binned genes of every cell, by falling bin; see `binning.binned_cells`.

        Raises
        ------
        ValueError
            If counts are not whole non-negative numbers, names and columns differ in number, no gene is known
            or one is measured twice and ``duplicates`` is ``"refuse"``.
        """
        require_counts(counts, genes, "binned encoding")
        counts, columns, names = vocabulary_columns(counts, genes, self._vocabulary.key, duplicates, "vocabulary")
        entries = np.array([self._vocabulary.entries[name] for name in names], dtype=np.int64)
        order = np.argsort(entries)
        entries, columns = entries[order], columns[order]
        room = self._facts.max_length - 1
        found = binned_cells(counts[:, columns], entries, self._settings.bins, room, self._encoding)
        cells = found.offsets.size - 1
        offsets = found.offsets + np.arange(cells + 1)
        tokens = np.full(found.gene.size + cells, self._vocabulary.start, dtype=np.int32)
        column = np.full(tokens.size, -1, dtype=np.int32)
        genes_at = np.ones(tokens.size, dtype=np.bool_)
        genes_at[offsets[:-1]] = False
        tokens[genes_at] = entries[found.gene] * self._vocabulary.codes + FIRST_BIN + found.bin
        column[genes_at] = columns[found.gene]
        return EncodedCells(tokens=tokens, column=column, offsets=offsets, left_out=found.left_out)

    def attend(self, batch: TokenBatch, sink: LayerSink, *, form: AttentionForm) -> None:
        """Run the batch once; ``sink(layer, attention)`` receives every layer in order (see the protocol)."""
        self.blocks(batch, form=form).run(sink)

    def intervening(self, intervention: Intervention | None) -> AbstractContextManager[None]:
        """Context in which the encoder runs with the intervention (see the protocol)."""
        return intervening_on_layers(self._weights.layers, intervention)

    def blocks(self, batch: TokenBatch, *, form: AttentionForm) -> LayerBlocks:
        """The batch, ready to be run block by block."""
        import torch

        if form not in self._facts.forms:
            raise ValueError(f"attention form {form!r} is not available on {self._facts.device}")
        tokens = torch.from_numpy(batch.tokens).to(self._facts.device)
        with torch.inference_mode():
            hidden = self._weights.embedded(tokens // self._vocabulary.codes, tokens % self._vocabulary.codes)
        return LayerBlocks(self._weights.layers, hidden, batch, form)

    def output(self) -> None:
        """None: no token is predicted, only the value of the one that is there (see `value_output`)."""
        return

    def gene_tokens(self, genes: list[str]) -> list[int]:
        """Token of each gene with its value hidden; a gene that is not in the vocabulary is a `KeyError`."""
        entries = np.array([self._vocabulary.entries[gene] for gene in genes], dtype=np.int64)
        return [int(token) for token in self._vocabulary.hidden(entries * self._vocabulary.codes)]

    def hidden_values(self, tokens: NDArray[np.int64]) -> NDArray[np.int64]:
        """The same genes with their values hidden, as in training."""
        return self._vocabulary.hidden(tokens)

    def value_output(self) -> ValueOutput | None:
        """Head that predicts the binned value of a token from its own hidden state; None for a release without one."""
        return self._weights.output


def load_scgpt(release: Release, *, device: str = "cpu", dtype: str = "float32") -> ScgptModel:
    """scGPT-layout model of a verified release, weights checked against settings and vocabulary.

    ``dtype`` is ``float32`` (exact) or ``bfloat16`` (screening only).

    Raises
    ------
    ManifestError
        If settings ask for a model that this encoder is not, the vocabulary and the embedding differ in size, or a
        tensor of the encoder is missing, misshapen or unknown.
    """
    settings = read_settings(release.file(SETTINGS))
    vocabulary = read_vocabulary(release.file(VOCABULARY), settings)
    if settings.width % settings.heads:
        raise ManifestError(
            release.file(SETTINGS),
            f"{settings.heads} heads do not divide a width of {settings.width}",
            "Use matching files.",
        )
    weights = load_weights(release, settings, len(vocabulary.entries), device=device, dtype=dtype)
    facts = ModelFacts(
        family="scgpt",
        layers=settings.layers,
        heads=settings.heads,
        width=settings.width,
        vocabulary=len(vocabulary.entries),
        max_length=settings.max_length,
        direction="bidirectional",
        attention="recomputed",
        forms=available_forms(device),
        dtype=dtype,
        device=device,
        gene_key="ensembl" if release.facts.get("gene_key") == "ensembl" else "symbol",
        padding=vocabulary.padding,
        facts=_facts(settings, vocabulary, weights),
    )
    return ScgptModel(weights, vocabulary, settings, facts, Encoding())


def _facts(settings: ScgptSettings, vocabulary: ScgptVocabulary, weights: ScgptWeights) -> dict[str, Any]:
    return {
        "specials": list(vocabulary.specials),
        "appended_specials": list(vocabulary.appended),
        "layout": weights.layout,
        "bins": settings.bins,
        "batch_norm": weights.batch_norm is not None,
        "value_prediction": weights.no_output or "decoder.fc",
        "unused_weights": dict(weights.unused),
    }

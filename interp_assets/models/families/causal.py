"""Adapter for causal language models over cells: sentences of gene names (C2S) and Geneformer V2 tokens (MaxToki).

What belongs here: the two kinds of models, which differ in what a token is. What does not: building and running the
network (`causal_network`), sentences (`cell_sentences`), ranks and dictionaries (`geneformer`).

Family ``c2s``: a folder with ``config.json`` (GPT-NeoX, or Llama), ``model.safetensors`` and ``tokenizer.json``; a gene
takes one or more tokens. ``release.json`` may state ``prompt`` (text before the genes), ``max_length`` (tokens) and
``max_genes``. Family ``maxtoki``: ``config.json`` (Llama), ``model.safetensors``, a token and a median dictionary as of
Geneformer V2; the medians that MaxToki was trained with are not published, so those the release brings are used and
named.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, cast

import numpy as np
from numpy.typing import NDArray

from interp_assets.models.adapter import AttentionForm, Duplicates, EncodedCells, LayerSink, ModelFacts, TokenBatch
from interp_assets.models.attention.kernel import available_forms, register_streaming
from interp_assets.models.families.causal_network import (
    CausalBlocks,
    CausalOutput,
    Network,
    intervening_on_network,
    load_network,
)
from interp_assets.models.families.cell_sentences import (
    DEFAULT_PROMPT,
    SentenceRules,
    read_tokenizer,
    sentence_key,
    sentence_tokens,
)
from interp_assets.models.families.geneformer import GeneformerModel
from interp_assets.models.families.geneformer_vocabulary import PAD, read_vocabulary
from interp_assets.models.families.vocabulary_columns import known_genes, require_counts, vocabulary_columns
from interp_assets.models.files.file_rules import ManifestError
from interp_assets.models.files.releases import MANIFEST, Release
from interp_assets.models.interventions import Intervention, InterventionError

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

SENTENCES: Final = "c2s"
GENE_TOKENS: Final = "maxtoki"
ARCHITECTURES: Final = {SENTENCES: ("gpt_neox", "llama"), GENE_TOKENS: ("llama",)}
# A cell of Geneformer V2, special tokens included; trajectories of several cells are longer and are not read.
CELL_TOKENS: Final = 4096


class CausalModel:
    """What both families share: a network that looks back, run in one piece or block by block."""

    def __init__(self, network: Network, facts: ModelFacts) -> None:
        self._network, self._facts = network, facts

    @property
    def network(self) -> Any:
        """The transformers model without its head, in evaluation mode."""
        return self._network.model

    def describe(self) -> ModelFacts:
        """Shape and habits of the model."""
        return self._facts

    def attend(self, batch: TokenBatch, sink: LayerSink, *, form: AttentionForm) -> None:
        """Run the batch once; ``sink(layer, attention)`` receives every layer in order (see the protocol)."""
        if form not in self._facts.forms:
            raise ValueError(f"attention form {form!r} is not available on {self._facts.device}")
        blocks = self.blocks(batch, form=form)
        hidden = blocks.start()
        for layer in range(self._facts.layers):
            hidden = blocks.step(layer, hidden, sink)

    def intervening(self, intervention: Intervention | None) -> AbstractContextManager[None]:
        """Context in which the network runs with the intervention (see the protocol)."""
        if intervention is not None:
            intervention.check(self._facts.layers, self._facts.heads)
        return intervening_on_network(self._network, intervention)

    def blocks(self, batch: TokenBatch, *, form: AttentionForm) -> CausalBlocks:
        """The batch, ready to be run block by block."""
        return CausalBlocks(self._network, batch, form, self._facts.device)


class SentenceModel(CausalModel):
    """A model that reads cells as sentences (satisfies `interventions.InterventionModel`)."""

    def __init__(self, network: Network, facts: ModelFacts, tokenizer: Any, rules: SentenceRules) -> None:
        super().__init__(network, facts)
        self._tokenizer, self._rules = tokenizer, rules

    def known(self, genes: NDArray[np.str_]) -> NDArray[np.bool_]:
        """Which genes can be written: any name without white space, and the first of its name."""
        return known_genes(genes, sentence_key)

    def encode(self, counts: csr_matrix, genes: NDArray[np.str_], *, duplicates: Duplicates = "refuse") -> EncodedCells:
        """Tokens of every cell's sentence: expressed genes by falling count, ties in the order of the columns.

        Raises
        ------
        ValueError
            If counts are not whole non-negative numbers, a name is measured twice and ``duplicates`` is ``"refuse"``,
            or the tokeniser does not fit sentences of genes (`cell_sentences.sentence_tokens`).
        """
        require_counts(counts, genes, "the order of genes in a cell sentence")
        counts, columns, names = vocabulary_columns(
            counts, genes, sentence_key, duplicates, "writable names (no white space)"
        )
        return sentence_tokens(counts, columns, names, self._tokenizer, self._rules)

    def output(self) -> None:
        """None: a gene takes several tokens, so no single prediction is that of a gene."""
        return

    def gene_tokens(self, genes: list[str]) -> list[int]:
        """Refused: a gene has no one token here."""
        raise InterventionError(
            f"family {self._facts.family} writes a gene in several tokens; {genes[0]} has no one token"
        )


class GeneTokenModel(CausalModel):
    """A model over ranked gene tokens, one a gene (satisfies `interventions.InterventionModel`)."""

    def __init__(
        self, network: Network, facts: ModelFacts, cells: GeneformerModel, output: CausalOutput | None
    ) -> None:
        super().__init__(network, facts)
        self._cells, self._output = cells, output

    def known(self, genes: NDArray[np.str_]) -> NDArray[np.bool_]:
        """Which genes a token can stand for, as in Geneformer."""
        return self._cells.known(genes)

    def encode(self, counts: csr_matrix, genes: NDArray[np.str_], *, duplicates: Duplicates = "refuse") -> EncodedCells:
        """Rank-value tokens of raw counts, as Geneformer encodes them (`GeneformerModel.encode`)."""
        return replace(self._cells.encode(counts, genes, duplicates=duplicates), causal=True)

    def output(self) -> CausalOutput | None:
        """Prediction of the next token; None for a release without a head."""
        return self._output

    def gene_tokens(self, genes: list[str]) -> list[int]:
        """Token of each gene; a gene that is not in the vocabulary is a `KeyError`."""
        return self._cells.gene_tokens(genes)


def load_causal(release: Release, *, device: str = "cpu", dtype: str = "float32") -> SentenceModel | GeneTokenModel:
    """Causal language model of a verified release of family ``c2s`` or ``maxtoki``.

    ``dtype`` is ``float32`` (exact) or ``bfloat16`` (screening only).

    Raises
    ------
    ReleaseFileError
        If the architecture is another one (named), a setting of the manifest is none, tokeniser or dictionary and
        embedding do not fit, or weights are missing, misshapen or not those of the architecture.
    """
    if release.family not in ARCHITECTURES:
        raise ValueError(f"release {release.name}: family {release.family!r} is not one of {sorted(ARCHITECTURES)}")
    network = load_network(release, ARCHITECTURES[release.family], device=device, dtype=dtype)
    register_streaming()
    return _sentences(release, network) if release.family == SENTENCES else _gene_tokens(release, network)


def _sentences(release: Release, network: Network) -> SentenceModel:
    tokenizer = read_tokenizer(release.file("tokenizer.json"), network.config.vocab_size)
    rules = SentenceRules(
        prompt=_prompt(release),
        max_tokens=_whole_number(release, "max_length", network.config.max_position_embeddings),
        max_genes=_whole_number(release, "max_genes", None),
    )
    told = {
        "tokens": "genes by falling count, written by name",
        "prompt": rules.prompt,
        "prompt_stated_by": "release.json" if "prompt" in release.facts else "default of this platform",
        "max_genes": rules.max_genes,
    }
    facts = _facts(release, network, told, max_length=rules.max_tokens, gene_key=_gene_key(release, "symbol"))
    return SentenceModel(network, facts, tokenizer, rules)


def _gene_tokens(release: Release, network: Network) -> GeneTokenModel:
    vocabulary = read_vocabulary(release)
    config = network.config
    if config.vocab_size != vocabulary.size:
        raise ManifestError(
            release.file("config.json"),
            f"vocab_size {config.vocab_size}, but the token dictionary has {vocabulary.size} entries",
            "Use the dictionary the weights were trained with: MaxToki has the 20275 tokens of Geneformer V2.",
        )
    most = _whole_number(release, "max_length", min(CELL_TOKENS, config.max_position_embeddings))
    told = {
        "tokens": "genes by falling rank value, as Geneformer V2",
        "specials": sorted(vocabulary.specials),
        "names": vocabulary.named_by,
        "medians": "those of the release; the medians the model was trained with are not published",
        "predicts_tokens": network.head is not None,
    }
    facts = _facts(release, network, told, max_length=int(most), gene_key=vocabulary.gene_key)
    facts = replace(facts, padding=vocabulary.specials[PAD])
    output = None if network.head is None else CausalOutput(network)
    return GeneTokenModel(network, facts, GeneformerModel(network.model, vocabulary, facts), output)


def _facts(
    release: Release, network: Network, told: dict[str, Any], *, max_length: int, gene_key: Literal["symbol", "ensembl"]
) -> ModelFacts:
    config = network.config
    device = network.device
    return ModelFacts(
        family=release.family,
        layers=config.num_hidden_layers,
        heads=config.num_attention_heads,
        width=config.hidden_size,
        vocabulary=config.vocab_size,
        max_length=max_length,
        direction="causal",
        attention="softmax",
        # gene order, the route of other devices, has one row a gene
        forms=available_forms(device) if device == "cpu" or release.family == GENE_TOKENS else ("softmax",),
        dtype=network.dtype,
        device=device,
        gene_key=gene_key,
        # trained to continue a sequence, never to fill a gap: no token hides a gene
        mask=None,
        facts={
            "architecture": config.model_type,
            "key_value_heads": getattr(config, "num_key_value_heads", config.num_attention_heads),
            "unexpected_weights": list(network.unused),
            **told,
        },
    )


def _prompt(release: Release) -> str:
    prompt = release.facts.get("prompt", DEFAULT_PROMPT)
    if not isinstance(prompt, str):
        raise ManifestError(
            release.folder / MANIFEST,
            f"prompt {prompt!r:.80} is no text",
            "State the text that stands before the genes.",
        )
    return prompt


def _whole_number(release: Release, name: str, otherwise: Any) -> Any:
    """A positive whole number of the manifest, at most what the configuration allows; ``otherwise`` if not stated."""
    value = release.facts.get(name)
    if value is None:
        return otherwise
    if type(value) is not int or value < 1 or (otherwise is not None and value > otherwise):
        limit = "" if otherwise is None else f" up to {otherwise}"
        raise ManifestError(
            release.folder / MANIFEST,
            f"{name} is {value!r:.80}",
            f"State a whole number from 1{limit}, or leave it out.",
        )
    return value


def _gene_key(release: Release, otherwise: str) -> Literal["symbol", "ensembl"]:
    key = release.facts.get("gene_key", otherwise)
    if key not in {"symbol", "ensembl"}:
        raise ManifestError(Path(release.folder) / MANIFEST, f"gene_key is {key!r}", "Use `symbol` or `ensembl`.")
    return cast("Literal['symbol', 'ensembl']", key)

"""What a model has to offer so that its attention can be read: the adapter contract.

What belongs here: the records and protocols every model family shares, and the table of families. What does
not: how attention becomes gene pairs (`attention`), or anything a single family needs. A new model is one
module with a ``load`` function, one line in `FAMILIES`, and a test.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch
    from scipy.sparse import csr_matrix

    from interp_assets.models.files.releases import Release

AttentionForm = Literal["logsumexp", "softmax"]
Duplicates = Literal["refuse", "sum"]

# Family of a release -> where its loader lives. Resolved on use, so that listing releases imports no torch.
FAMILIES: Mapping[str, str] = {
    "c2s": "interp_assets.models.families.causal:load_causal",
    "geneformer": "interp_assets.models.families.geneformer:load_geneformer",
    "maxtoki": "interp_assets.models.families.causal:load_causal",
    "scgpt": "interp_assets.models.families.scgpt:load_scgpt",
}
# Modules of the loaders, once each: code versions name them, since no import shows that they are used.
LOADERS = tuple(sorted({loader.partition(":")[0] for loader in FAMILIES.values()}))
# Families that hold finished scores instead of a transformer (see `reading`).
SCORE_FAMILIES = frozenset({"edge_table"})
# Families whose releases are recognised, and why no attention between genes can be read from them here.
WITHOUT_ATTENTION: Mapping[str, str] = {
    "cellplm": "its tokens are cells, and its attention between them is linear: no pair of genes has a weight",
    "scfoundation": "its decoder is a Performer, which forms no weights, and its encoder's would have to be recomputed "
    "from queries and keys by an adapter that is not written",
    "scprint": "its checkpoint is a Lightning pickle of classes of its own, which is not opened; weights would have to "
    "be recomputed from queries and keys",
    "scvi": "it is an autoencoder without attention, released as a pickle that its library opens unsafely; train it "
    "on the cells instead and judge the edges as an edge table",
    "state": "its transition model has cells as tokens, and its embedding model is a Lightning pickle that is not "
    "opened; weights would have to be recomputed from queries and keys",
    "tahoe_x1": "its flash attention forms no weights, and its torch path is not built here",
    "transcriptformer": "its attention is compiled and hands out no weights; they would have to be recomputed from "
    "queries, keys and counts by an adapter that is not written",
    "uce": "genes are drawn with replacement and stand at several positions, and weights would have to be recomputed "
    "from queries and keys by an adapter that is not written",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """Shape and habits of a loaded model.

    ``attention`` says whether softmax weights exist (``softmax``), have to be recomputed from queries and keys
    (``recomputed``) or do not exist for gene pairs (``none``). ``forms`` are the forms `AttentionModel.attend`
    can hand over on this device, fastest first. ``max_length`` counts special tokens. ``mask`` is the token that hides
    a gene the model is to predict; None for a vocabulary without one.
    """

    family: str
    layers: int
    heads: int
    width: int
    vocabulary: int
    max_length: int
    direction: Literal["bidirectional", "causal"]
    attention: Literal["softmax", "recomputed", "none"]
    forms: tuple[AttentionForm, ...]
    dtype: str
    device: str
    gene_key: Literal["symbol", "ensembl"]
    padding: int = 0
    mask: int | None = None
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """What a study may ask of the encoding of cells; families whose encoding leaves no choice ignore it.

    ``zeros``: genes without a count are left out of a sequence, or shown with value 0. ``ties``: a value on several
    bin edges gets one of their bins at random, or always the highest. ``seed`` of those draws, and of the genes drawn
    where a cell holds more than fit.
    """

    zeros: Literal["drop", "keep"] = "drop"
    ties: Literal["random", "left"] = "random"
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse words that mean nothing."""
        for name, value, known in (("zeros", self.zeros, ("drop", "keep")), ("ties", self.ties, ("random", "left"))):
            if value not in known:
                raise ValueError(f"{name} = {value!r}; use {' or '.join(known)}")
        if self.seed < 0:
            raise ValueError(f"encoding seed {self.seed}; use 0 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedCells:
    """Token sequences of several cells, special tokens included, without padding.

    ``tokens`` is flat (int32); cell ``i`` owns ``tokens[offsets[i]:offsets[i + 1]]``. ``column`` has the same
    length and says which column of the encoded matrix a token stands for, or -1 (special tokens, text of a prompt).
    What a token is belongs to the family: a gene, a pair of gene and binned value, a piece of text. ``left_out``
    counts, for each cell, expressed genes of the vocabulary that did not fit into the sequence; None where nothing is
    cut. ``causal``: a position sees earlier ones and itself alone. ``several``: a gene may stand at several positions.
    """

    tokens: NDArray[np.int32]
    column: NDArray[np.int32]
    offsets: NDArray[np.int64]
    left_out: NDArray[np.int64] | None = None
    causal: bool = False
    several: bool = False

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each cell."""
        return np.diff(self.offsets)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenBatch:
    """Right-padded tokens (B x S, int64) of one batch and the number of real tokens in each row."""

    tokens: NDArray[np.int64]
    lengths: NDArray[np.int64]

    @property
    def padded(self) -> bool:
        """Whether any position is padding."""
        return bool((self.lengths < self.tokens.shape[1]).any())


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerAttention:
    """Attention of one layer for one batch, in one of two equivalent forms.

    ``logsumexp``: ``query`` and ``key`` (B x S x H x d) with ``logsumexp`` (B x H x S, natural logarithm), so
    that ``exp(scale * q . k - logsumexp)`` is the softmax weight over all real tokens. ``softmax``: ``weights``
    (B x H x S x S), row = query. Both count special tokens and exclude padding. ``causal``: a position sees earlier
    ones and itself alone, so that ``exp(...)`` of a later key is no weight; ``weights`` are 0 there.
    """

    form: AttentionForm
    query: torch.Tensor | None = None
    key: torch.Tensor | None = None
    logsumexp: torch.Tensor | None = None
    scale: float = 1.0
    weights: torch.Tensor | None = None
    causal: bool = False


LayerSink = Callable[[int, LayerAttention], None]


@runtime_checkable
class AttentionModel(Protocol):
    """A loaded model whose attention between genes can be read, layer by layer."""

    def describe(self) -> ModelFacts:
        """Shape and habits of the model."""
        ...

    def known(self, genes: NDArray[np.str_]) -> NDArray[np.bool_]:
        """Which of the measured genes a token can stand for; of several with one vocabulary entry the first."""
        ...

    def encode(self, counts: csr_matrix, genes: NDArray[np.str_], *, duplicates: Duplicates = "refuse") -> EncodedCells:
        """Token sequences of raw counts (cells x genes); anything but whole counts is refused."""
        ...

    def attend(self, batch: TokenBatch, sink: LayerSink, *, form: AttentionForm) -> None:
        """Run the batch once and hand the attention of every layer to ``sink(layer, attention)``, in order.

        What the sink does not copy is gone afterwards: attention is never stacked.
        """
        ...


@runtime_checkable
class EncodingModel(AttentionModel, Protocol):
    """A model whose encoding leaves a choice."""

    def encoding_by(self, encoding: Encoding) -> AttentionModel:
        """The same model, encoding cells as asked."""
        ...


def no_attention(family: str) -> str:
    """Why no attention can be read from a family, empty where it can.

    >>> no_attention("geneformer"), no_attention("cellplm")[:43]
    ('', 'attention not available: its tokens are cel')
    """
    if family in FAMILIES or family in SCORE_FAMILIES:
        return ""
    known = ", ".join(sorted({*FAMILIES, *SCORE_FAMILIES, *WITHOUT_ATTENTION}))
    reason = WITHOUT_ATTENTION.get(family, f"no adapter for family {family!r} (known: {known})")
    return f"attention not available: {reason}"


def load_model(
    release: Release, *, device: str = "cpu", dtype: str = "float32", encoding: Encoding | None = None
) -> AttentionModel:
    """Loaded model of a release, ready to read attention from; ``encoding`` reaches families that leave a choice.

    Raises
    ------
    ValueError
        If no adapter is known for the family, the family holds finished scores rather than a model, or has no
        attention that can be read (`WITHOUT_ATTENTION`).
    """
    if release.family in SCORE_FAMILIES:
        raise ValueError(
            f"release {release.name}: family {release.family} holds finished edge scores, not a model; "
            "read it with `reading.read_edge_table`"
        )
    if lacking := no_attention(release.family):
        raise ValueError(f"release {release.name}: {lacking}; an adapter is a module and a line in `adapter.FAMILIES`")
    module, _, function = FAMILIES[release.family].partition(":")
    model: AttentionModel = getattr(import_module(module), function)(release, device=device, dtype=dtype)
    return model if encoding is None else encoded_by(model, encoding)


def encoded_by(model: AttentionModel, encoding: Encoding) -> AttentionModel:
    """The model, encoding cells as asked; the model itself where its encoding leaves no choice."""
    return model.encoding_by(encoding) if isinstance(model, EncodingModel) else model

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

    from interp_assets.models.releases import Release

AttentionForm = Literal["logsumexp", "softmax"]
Duplicates = Literal["refuse", "sum"]

# Family of a release -> where its loader lives. Resolved on use, so that listing releases imports no torch.
FAMILIES: Mapping[str, str] = {"geneformer": "interp_assets.models.geneformer:load_geneformer"}
# Families that hold finished scores instead of a transformer (see `edge_table`).
SCORE_FAMILIES = frozenset({"edge_table"})


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
class EncodedCells:
    """Token sequences of several cells, special tokens included, without padding.

    ``tokens`` is flat (int32); cell ``i`` owns ``tokens[offsets[i]:offsets[i + 1]]``. ``column`` has the same
    length and says which column of the encoded matrix a token stands for, or -1 (special tokens).
    """

    tokens: NDArray[np.int32]
    column: NDArray[np.int32]
    offsets: NDArray[np.int64]

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
    (B x H x S x S), row = query. Both count special tokens and exclude padding.
    """

    form: AttentionForm
    query: torch.Tensor | None = None
    key: torch.Tensor | None = None
    logsumexp: torch.Tensor | None = None
    scale: float = 1.0
    weights: torch.Tensor | None = None


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


def load_model(release: Release, *, device: str = "cpu", dtype: str = "float32") -> AttentionModel:
    """Loaded model of a release, ready to read attention from.

    Raises
    ------
    ValueError
        If no adapter is known for the family, or the family holds finished scores rather than a model.
    """
    if release.family in SCORE_FAMILIES:
        raise ValueError(
            f"release {release.name}: family {release.family} holds finished edge scores, not a model; "
            "read it with `edge_table.read_edge_table`"
        )
    if release.family not in FAMILIES:
        known = ", ".join(sorted({*FAMILIES, *SCORE_FAMILIES}))
        raise ValueError(
            f"release {release.name}: no adapter for family {release.family!r} (known: {known}); "
            "add a loader module and a line to `adapter.FAMILIES`"
        )
    module, _, function = FAMILIES[release.family].partition(":")
    model: AttentionModel = getattr(import_module(module), function)(release, device=device, dtype=dtype)
    return model

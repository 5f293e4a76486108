"""What a small Geneformer-layout model is shown and measured against: cells as tokens, masks, context-free baselines.

What belongs here: numpy only; `VocabularyCells` is what every small model draws from. What does not: the model and
its losses (`geneformer`), and pairs of gene and value (`values`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from interp_assets.models.families.rank_value import rank_value_tokens

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

PAD, MASK, CLS, EOS = 0, 1, 2, 3
SPECIAL_TOKENS = {"<pad>": PAD, "<mask>": MASK, "<cls>": CLS, "<eos>": EOS}
FIRST_GENE = len(SPECIAL_TOKENS)
IGNORED = -100
RANK_BUCKET = 16  # ranks per bucket of the rank-aware baseline


@dataclass(frozen=True, slots=True, kw_only=True)
class VocabularyCells:
    """Counts of cells, restricted to the vocabulary (cells x vocabulary genes)."""

    counts: csr_matrix

    def spread(self, cells: int) -> Self:
        """At most this many of the cells, spread evenly over their order."""
        total = self.counts.shape[0]
        rows = np.unique(np.linspace(0, total - 1, min(cells, total)).astype(np.int64))
        return replace(self, counts=self.counts[rows])

    def thinned(self, rows: NDArray[np.int64], rng: np.random.Generator, floor: float) -> csr_matrix:
        """Counts of the chosen cells with every molecule kept by chance.

        The keep-rate is drawn once per cell, uniform between ``floor`` and 1.
        """
        chosen = self.counts[rows]
        keep = np.repeat(rng.uniform(floor, 1.0, size=rows.size), np.diff(chosen.indptr))
        chosen.data = rng.binomial(chosen.data, keep).astype(chosen.data.dtype)
        return chosen


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedCells(VocabularyCells):
    """Cells whose genes are put in order by rank-value encoding, which needs the genes' medians.

    Column ``j`` carries token ``FIRST_GENE + j``.
    """

    medians: NDArray[np.float64]

    def tokens(self, rows: NDArray[np.int64], max_genes: int) -> list[NDArray[np.int32]]:
        """Rank-value tokens of the chosen cells."""
        return self._encoded(self.counts[rows], max_genes)

    def thinned_tokens(
        self, rows: NDArray[np.int64], max_genes: int, rng: np.random.Generator, floor: float
    ) -> list[NDArray[np.int32]]:
        """Rank-value tokens of binomially thinned counts, different at every draw."""
        return self._encoded(self.thinned(rows, rng, floor), max_genes)

    def _encoded(self, counts: csr_matrix, max_genes: int) -> list[NDArray[np.int32]]:
        genes = np.arange(counts.shape[1], dtype=np.int32)
        flat, offsets = rank_value_tokens(counts, genes, genes + FIRST_GENE, self.medians, max_genes)
        return [flat[a:b] for a, b in pairwise(offsets)]


def sequences(tokens: list[NDArray[np.int32]]) -> NDArray[np.int64]:
    """Cells x positions: ``<cls>``, the gene tokens, ``<eos>``, then padding to the longest cell."""
    ids = np.full((len(tokens), max(len(t) for t in tokens) + 2), PAD, dtype=np.int64)
    ids[:, 0] = CLS
    for row, cell in zip(ids, tokens, strict=True):
        row[1 : len(cell) + 1] = cell
        row[len(cell) + 1] = EOS
    return ids


def mask_genes(
    ids: NDArray[np.int64], share: float, vocabulary: int, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Inputs with a share of the genes hidden, and the targets (`IGNORED` elsewhere).

    BERT's rule: of the chosen positions 80 % become ``<mask>``, 10 % a random gene, 10 % stay. Special tokens
    and padding are never chosen.
    """
    chosen = (rng.random(ids.shape) < share) & (ids >= FIRST_GENE)
    fate = rng.random(ids.shape)
    random_gene = rng.integers(FIRST_GENE, vocabulary, size=ids.shape)
    inputs = np.where(chosen & (fate < 0.8), MASK, ids)
    inputs = np.where(chosen & (fate >= 0.8) & (fate < 0.9), random_gene, inputs)
    return inputs, np.where(chosen, ids, IGNORED)


def baseline_losses(
    training: list[NDArray[np.int32]], truth: NDArray[np.int64], chosen: NDArray[np.bool_], vocabulary: int
) -> dict[str, float]:
    """Cross-entropy at the chosen positions of four rules that know at most which genes are visible.

    ``unigram``: gene frequency in the training sequences (one added to each count). ``rank``: the same within
    buckets of `RANK_BUCKET` ranks, shrunk towards the unigram by 100 pseudo-tokens. ``..._unseen``: either,
    without the genes already visible in the cell, renormalised.
    """
    position = np.concatenate([np.arange(len(t)) for t in training]) // RANK_BUCKET
    buckets = max(int(position.max()), (truth.shape[1] - 2) // RANK_BUCKET) + 1
    counts = np.zeros((buckets, vocabulary))
    np.add.at(counts, (position, np.concatenate(training)), 1.0)
    unigram = counts.sum(axis=0)
    unigram[FIRST_GENE:] += 1.0
    unigram /= unigram.sum()
    by_rank = (counts + 100.0 * unigram) / (counts.sum(axis=1, keepdims=True) + 100.0)
    totals = dict.fromkeys(("unigram", "unigram_unseen", "rank", "rank_unseen"), 0.0)
    for ids, hidden in zip(truth, chosen, strict=True):
        places = np.flatnonzero(hidden)
        visible = ids[(ids >= FIRST_GENE) & ~hidden]
        for name, table in (
            ("unigram", np.broadcast_to(unigram, (places.size, vocabulary))),
            ("rank", by_rank[(places - 1) // RANK_BUCKET]),
        ):
            hit = -np.log(table[np.arange(places.size), ids[places]])
            totals[name] += float(hit.sum())
            totals[f"{name}_unseen"] += float((hit + np.log1p(-table[:, visible].sum(axis=1))).sum())
    return {name: value / int(chosen.sum()) for name, value in totals.items()}

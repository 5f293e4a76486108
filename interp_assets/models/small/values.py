"""What a small scGPT-layout model is shown: cells as genes with binned values, hidden values, plain baselines.

What belongs here: numpy only. What does not: the model and its optimisation (`scgpt`).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from interp_assets.models.families.binning import value_bins
from interp_assets.models.small.batches import VocabularyCells

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

SPECIAL_TOKENS = ("<pad>", "<cls>", "<eoc>")  # ids after the genes, in this order
PAD_VALUE, MASK_VALUE = -2.0, -1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueSequences:
    """Tokens (cells x positions) and their values: ``<cls>``, then genes in any order, then padding.

    ``values`` are bins (0 = not expressed) with equal counts in one bin, ``read`` what the model is shown of them, the
    same but for ties; both hold `PAD_VALUE` at ``<cls>`` and padding. ``is_gene`` marks the genes.
    """

    genes: NDArray[np.int64]
    values: NDArray[np.float32]
    read: NDArray[np.float32]
    is_gene: NDArray[np.bool_]

    def part(self, rows: slice) -> ValueSequences:
        """Some of the cells."""
        return ValueSequences(
            genes=self.genes[rows], values=self.values[rows], read=self.read[rows], is_gene=self.is_gene[rows]
        )

    def hidden(self, share: float, rng: np.random.Generator) -> NDArray[np.bool_]:
        """Gene positions whose value is hidden, each with chance ``share``."""
        return (rng.random(self.genes.shape) < share) & self.is_gene

    def shown(self, hidden: NDArray[np.bool_]) -> NDArray[np.float32]:
        """What the model reads, the hidden values replaced by `MASK_VALUE`."""
        return np.where(hidden, np.float32(MASK_VALUE), self.read)


def binned(
    counts: csr_matrix, bins: int, random_ties: float = 0.0, rng: np.random.Generator | None = None
) -> csr_matrix:
    """Bins of the non-zero values of each cell (`binning.value_bins`); zeros stay zero.

    Equal values of a cell share one bin, or, with chance ``random_ties`` a cell, each gets one of their bins at random.
    """
    coded = counts.astype(np.int32)
    coded.eliminate_zeros()
    for start, end in pairwise(coded.indptr):
        if end > start:
            values = coded.data[start:end].astype(np.float64)
            scattered = rng is not None and rng.random() < random_ties
            coded.data[start:end] = value_bins(values, bins, rng.random(values.size) if rng and scattered else None)
    return coded


def places_of(expressed: int, silent: int, genes: int, zero_share: float) -> tuple[int, int]:
    """How many expressed genes and how many zeros a sequence of at most ``genes`` genes shows.

    >>> places_of(500, 1500, 128, 0.25), places_of(30, 1500, 128, 0.25)
    ((96, 32), (30, 10))
    """
    shown = min(expressed, genes - round(genes * zero_share))
    return shown, min(silent, genes - shown, round(shown * zero_share / (1.0 - zero_share)))


def value_sequences(
    cells: csr_matrix,
    genes: int,
    bins: int,
    zero_share: float | NDArray[np.float64],
    rng: np.random.Generator,
    random_ties: float = 0.0,
) -> ValueSequences:
    """Sequences of raw counts (cells x vocabulary genes): a random choice of the expressed genes, and some zeros.

    ``zero_share`` is one for all cells, or one a cell. Values are binned over all expressed genes of a cell before any
    gene is drawn; see `binned` for ``random_ties``, which change what is read and never what is to be predicted.
    """
    coded, vocabulary = binned(cells, bins), cells.shape[1]
    read = binned(cells, bins, random_ties, rng)
    pad, cls = vocabulary, vocabulary + 1
    shape = (coded.shape[0], genes + 1)
    tokens = np.full(shape, pad, dtype=np.int64)
    tokens[:, 0] = cls
    values, seen = (np.full(shape, PAD_VALUE, dtype=np.float32) for _ in range(2))
    shares = np.broadcast_to(zero_share, coded.shape[0])
    longest = 0
    for cell, (start, end) in enumerate(pairwise(coded.indptr)):
        expressed = coded.indices[start:end]
        silent = np.setdiff1d(np.arange(vocabulary), expressed, assume_unique=True)
        shown, zeros = places_of(expressed.size, silent.size, genes, float(shares[cell]))
        chosen = rng.permutation(expressed.size)[:shown]
        places, length = slice(1, shown + 1), shown + zeros + 1
        tokens[cell, places] = expressed[chosen]
        values[cell, places] = coded.data[start:end][chosen]
        seen[cell, places] = read.data[start:end][chosen]
        tokens[cell, shown + 1 : length] = silent[rng.permutation(silent.size)[:zeros]]
        values[cell, shown + 1 : length] = seen[cell, shown + 1 : length] = 0.0
        longest = max(longest, length)
    kept = slice(0, longest)
    return ValueSequences(
        genes=tokens[:, kept], values=values[:, kept], read=seen[:, kept], is_gene=tokens[:, kept] < vocabulary
    )


def mean_values(cells: VocabularyCells, genes: int, bins: int, zero_share: float) -> NDArray[np.float64]:
    """Mean bin of each gene over all sequences that could be drawn from the cells, no draw needed.

    A gene counts in a cell with the chance of being drawn there. One pseudo-cell at the mean of all genes keeps the
    value of a gene that is hardly ever drawn near that mean.
    """
    coded = binned(cells.counts, bins)
    vocabulary = coded.shape[1]
    weight, total = np.zeros(vocabulary), np.zeros(vocabulary)
    for start, end in pairwise(coded.indptr):
        expressed = coded.indices[start:end]
        shown, zeros = places_of(expressed.size, vocabulary - expressed.size, genes, zero_share)
        chance = np.full(vocabulary, zeros / max(1, vocabulary - expressed.size))
        chance[expressed] = shown / max(1, expressed.size)
        weight += chance
        total[expressed] += chance[expressed] * coded.data[start:end]
    overall = total.sum() / weight.sum()
    means: NDArray[np.float64] = (total + overall) / (weight + 1.0)
    return means


def value_baselines(means: NDArray[np.float64], truth: ValueSequences, hidden: NDArray[np.bool_]) -> dict[str, float]:
    """Mean squared error, in squared bins, of two rules that know no other gene's meaning.

    ``gene_mean``: the gene's mean over the training cells. ``gene_and_cell``: the same, shifted by how much the
    visible genes of the cell lie above or below their own means.
    """
    known = np.append(means, np.zeros(len(SPECIAL_TOKENS)))[truth.genes]
    visible = truth.is_gene & ~hidden
    shift = np.where(visible, truth.values - known, 0.0).sum(axis=1) / np.maximum(visible.sum(axis=1), 1)
    rules = {"gene_mean": known, "gene_and_cell": known + shift[:, None]}
    return {name: float(np.square(rule - truth.values)[hidden].mean()) for name, rule in rules.items()}

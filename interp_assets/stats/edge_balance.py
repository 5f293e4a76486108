"""How edge scores move when donors (batches, assays) are balanced or left out.

The edge score here is the Pearson correlation of regulator and target over cells, signed. Every subset of cells is a
row of a membership matrix, so that any number of subsets costs one product with the cells' moments (paper section 5,
analysis 8; section 4, ASI).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]
Codes = NDArray[np.intp]

FLOOR: Final = 0.01  # smallest score that a change is held against
MOMENTS: Final = 20_000_000  # numbers of cell moments held at once


def subset_correlations(z: Float, source: Codes, target: Codes, members: Float) -> Float:
    """Pearson correlation of every pair (E) within every subset of cells (B x n, 0 or 1, or weights): B x E.

    NaN where a gene is constant in the subset. ``z`` (n x G) is best standardised over all cells, which keeps the
    moments well conditioned.
    """
    found = np.empty((members.shape[0], source.size))
    cells = members.sum(axis=1)
    for part, block in _blocks(z, source, target):
        found[:, part] = _correlations(block.sums(members), cells)
    return found


@dataclass(frozen=True, slots=True)
class _Block:
    """Moments of the cells for a block of pairs: x and xx a gene (n x genes), xy a pair (n x pairs)."""

    genes: Float
    squares: Float
    products: Float
    source: Codes
    target: Codes

    def sums(self, members: Float) -> tuple[Float, ...]:
        """Sums of x, y, xx, yy and xy over every subset of cells (B x pairs each)."""
        first, second = members @ self.genes, members @ self.squares
        return (
            first[:, self.source],
            first[:, self.target],
            second[:, self.source],
            second[:, self.target],
            members @ self.products,
        )


def _blocks(z: Float, source: Codes, target: Codes) -> Iterator[tuple[slice, _Block]]:
    step = max(1, MOMENTS // z.shape[0])
    for start in range(0, source.size, step):
        part = slice(start, min(start + step, source.size))
        genes, place = np.unique(np.concatenate([source[part], target[part]]), return_inverse=True)
        pairs = part.stop - part.start
        x = z[:, genes]
        yield part, _Block(x, x * x, z[:, source[part]] * z[:, target[part]], place[:pairs], place[pairs:])


def _correlations(sums: tuple[Float, ...], cells: Float) -> Float:
    x, y, xx, yy, xy = sums
    n = cells[..., None]
    spread = (n * xx - x * x) * (n * yy - y * y)
    tiny = 1e-10 * n**4
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(spread > tiny, (n * xy - x * y) / np.sqrt(spread), np.nan))


def balanced_members(code: Codes, rng: np.random.Generator, draws: int) -> Float:
    """Subsets (draws x n) with as many cells of every label as the rarest label has."""
    parts = [np.flatnonzero(code == k) for k in np.unique(code)]
    size = min(part.size for part in parts)
    members = np.zeros((draws, code.size))
    for row in members:
        for part in parts:
            row[rng.choice(part, size, replace=False)] = 1.0
    return members


def random_members(cells: int, size: int, rng: np.random.Generator, draws: int) -> Float:
    """Random subsets (draws x cells) of one size."""
    members = np.zeros((draws, cells))
    for row in members:
        row[rng.choice(cells, size, replace=False)] = 1.0
    return members


def artefact_sensitivity(full: Float, balanced: Float) -> Float:
    """ASI = |full - balanced| / max(|full|, .01) of every edge.

    >>> artefact_sensitivity(np.array([0.2, 0.0]), np.array([0.1, 0.02])).tolist()
    [0.5, 2.0]
    """
    return np.asarray(np.abs(full - balanced) / np.maximum(np.abs(full), FLOOR))


@dataclass(frozen=True, slots=True)
class Balanced:
    """Scores of the edges (E) over all cells, over balanced cells and over as many random cells (means of draws)."""

    full: Float
    balanced: Float
    size_matched: Float
    cells_a_draw: int

    @property
    def asi(self) -> Float:
        """Artefact sensitivity of every edge."""
        return artefact_sensitivity(self.full, self.balanced)

    @property
    def asi_size_matched(self) -> Float:
        """The same index where the cells were drawn without looking at the labels: what sampling alone does."""
        return artefact_sensitivity(self.full, self.size_matched)

    @property
    def sign_flipped(self) -> NDArray[np.bool_]:
        """Edges whose balanced score has the other sign."""
        return np.asarray(self.full * self.balanced < 0.0)


def balanced_scores(
    z: Float, source: Codes, target: Codes, code: Codes, rng: np.random.Generator, draws: int
) -> Balanced:
    """Edge scores with the labels balanced: mean over draws of equally many cells a label.

    Where the labels are balanced already every draw holds all cells and the index is 0.
    """
    drawn = balanced_members(code, rng, draws)
    size = int(drawn[0].sum())
    random = random_members(code.size, size, rng, draws)
    full = subset_correlations(z, source, target, np.ones((1, code.size)))[0]
    balanced, matched = (_mean_of_draws(subset_correlations(z, source, target, members)) for members in (drawn, random))
    return Balanced(full, balanced, matched, size)


def _mean_of_draws(values: Float) -> Float:
    held = np.isfinite(values).sum(axis=0)
    total = np.nansum(values, axis=0)
    return np.asarray(np.divide(total, held, out=np.full(total.shape, np.nan), where=held > 0))


def leave_one_out_sd(z: Float, source: Codes, target: Codes, groupings: Codes) -> Float:
    """SD over groups of the correlation without the group, for several groupings of the cells at once.

    Parameters
    ----------
    groupings
        B x n group codes, every row with the same codes 0 to D - 1.

    Returns
    -------
    NDArray
        B x E standard deviations (D - 1 in the denominator); NaN where the correlation without some group is not
        defined.

    Notes
    -----
    Leaving a group out subtracts its moments from those of all cells, so that a grouping costs one product.
    """
    groups = int(groupings.max()) + 1
    found = np.empty((groupings.shape[0], source.size))
    for part, block in _blocks(z, source, target):
        total = block.sums(np.ones((1, z.shape[0])))
        step = max(1, MOMENTS // (groups * max(z.shape[0], 5 * (part.stop - part.start))))
        for start in range(0, groupings.shape[0], step):
            drawn = groupings[start : start + step]
            member = (drawn[:, None, :] == np.arange(groups)[None, :, None]).reshape(-1, z.shape[0]).astype(np.float64)
            left = tuple(every - some for every, some in zip(total, block.sums(member), strict=True))
            without = _correlations(left, z.shape[0] - member.sum(axis=1))
            found[start : start + step, part] = without.reshape(drawn.shape[0], groups, -1).std(axis=1, ddof=1)
    return found


@dataclass(frozen=True, slots=True)
class LeaveOneOut:
    """SD of every edge (E) over leave-one-group-out, and the same for random groups of the same sizes (B x E)."""

    observed: Float
    null: Float

    @property
    def edge_p(self) -> Float:
        """(draws whose SD is as large + 1) / (draws + 1), edge by edge; a draw without an SD counts as one."""
        reached = 1 + (~(self.null < self.observed)).sum(axis=0)
        return np.asarray(np.where(np.isfinite(self.observed), reached / (self.null.shape[0] + 1), np.nan))

    @property
    def medians(self) -> Float:
        """Median over edges in every draw (B)."""
        return np.asarray(np.nanmedian(self.null, axis=1))

    @property
    def median(self) -> float:
        """Median over edges as observed."""
        return float(np.nanmedian(self.observed))

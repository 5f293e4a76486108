"""Which regulator-target pairs are traced through a model, in which cells, and the sequences they are read from.

What belongs here: a choice that looks at which genes stand in which sequence, and at nothing a model or a screen says
about them. What does not: running a model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from interp_assets.cells.records import PreparedCells
from interp_assets.edges.records import Reference
from interp_assets.interventions.cells import encoded_cells
from interp_assets.models.adapter import AttentionModel, EncodedCells
from interp_assets.models.attention.plan import ScoredCells, pair_counts

Int = NDArray[np.int64]
Pair = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tissue:
    """Encoded control cells of one tissue, and the listed pairs that they can be read for.

    ``columns`` (G) are the matrix columns of ``genes`` (G), the scored genes in the vocabulary, by which ``scored``
    numbers them. ``held`` holds for each pair of ``reference`` the number of cells whose sequence has both genes (one
    at least).
    """

    cells: PreparedCells
    genes: NDArray[np.str_]
    columns: Int
    scored: ScoredCells
    reference: str
    held: Mapping[Pair, int]

    def cells_with(self, pair: Pair) -> Int:
        """Control cells (numbers among them) whose sequence holds both genes."""
        number = {str(gene): place for place, gene in enumerate(self.genes)}
        owner = np.repeat(np.arange(self.scored.offsets.size - 1), np.diff(self.scored.offsets))
        first, second = (owner[self.scored.gene == number[gene]] for gene in pair)
        return np.intersect1d(first, second)

    def column(self, gene: str) -> int:
        """Matrix column of a gene."""
        return int(self.columns[np.flatnonzero(self.genes == gene)[0]])


def tissue_of(
    model: AttentionModel, cells: PreparedCells, references: Mapping[str, Reference], primary: str
) -> Tissue | str:
    """Control cells of a tissue, encoded, with the pairs they hold; or why there is none.

    Pairs are those of one network, so that they mean one thing: the primary reference if it is directed and lists a
    pair of genes the model knows, else the first of the others that does.
    """
    known = set(cells.genes[model.known(cells.genes)].tolist())
    genes = np.array([gene for gene in cells.universe.tolist() if gene in known], dtype=np.str_)
    order = [name for name in dict.fromkeys([primary, *references]) if name in references]
    found = {name: directed_pairs(references[name], set(genes.tolist())) for name in order}
    reference = next((name for name, pairs in found.items() if pairs), None)
    if reference is None:
        names = ", ".join(order) or "none"
        return f"{cells.dataset}: no directed reference lists a pair of genes the model knows; references: {names}"
    listed = found[reference]
    scored = encoded_cells(model, cells, genes)
    counts = pair_counts(scored)
    number = {str(gene): place for place, gene in enumerate(genes)}
    held = {(source, target): int(counts[number[source], number[target]]) for source, target in listed}
    held = {pair: count for pair, count in held.items() if count > 0}
    if not held:
        return f"{cells.dataset}: no control cell holds both genes of any of {len(listed)} pairs of {reference}"
    position = {str(gene): column for column, gene in reversed(list(enumerate(cells.genes)))}
    columns = np.array([position[str(gene)] for gene in genes], dtype=np.int64)
    return Tissue(cells=cells, genes=genes, columns=columns, scored=scored, reference=reference, held=held)


def directed_pairs(reference: Reference, genes: set[str]) -> list[Pair]:
    """Pairs (regulator, target) of a directed reference among ``genes``, self pairs dropped; none of another one."""
    if not reference.directed:
        return []
    sources, targets = reference.genes[reference.source].tolist(), reference.genes[reference.target].tolist()
    every = dict.fromkeys(zip(sources, targets, strict=True))
    return [pair for pair in every if pair[0] != pair[1] and pair[0] in genes and pair[1] in genes]


def choose_pairs(tissues: Mapping[str, Tissue], most: int, cells: int) -> list[Pair]:
    """At most ``most`` pairs, those that can be read in the most cells of the most tissues.

    Ordered by the cells that hold both genes, at most ``cells`` a tissue, summed over tissues; then by all cells that
    hold both; then by name. In that order a pair is taken if its regulator and its target are new, so that pairs are
    not variants of one; if too few are left, the others follow in the same order.
    """
    every = {pair for tissue in tissues.values() for pair in tissue.held}

    def rank(pair: Pair) -> tuple[int, int, Pair]:
        held = [tissue.held.get(pair, 0) for tissue in tissues.values()]
        return -sum(min(count, cells) for count in held), -sum(held), pair

    order = sorted(every, key=rank)
    taken: list[Pair] = []
    for pair in order:
        if len(taken) < most and not any(pair[0] == other[0] or pair[1] == other[1] for other in taken):
            taken.append(pair)
    rest = [pair for pair in order if pair not in set(taken)]
    return taken + rest[: most - len(taken)]


@dataclass(frozen=True, slots=True, kw_only=True)
class PairSequence:
    """Sequence of one cell for one pair, with the target hidden and the regulator shown or hidden.

    ``shown`` and ``hidden`` (n tokens each) differ at the regulator's place only; ``at`` is the target's place.
    """

    shown: Int
    hidden: Int
    at: int


def pair_sequence(
    encoded: EncodedCells, cell: int, regulator: int, target: int, hide: Callable[[Int], Int], most: int
) -> PairSequence:
    """Sequence of a cell that holds both genes (given as matrix columns), at most ``most`` tokens long (0: all).

    ``hide`` gives what stands in the place of hidden tokens (`hidden_genes.HiddenGenes`).
    A longer one keeps special tokens, regulator and target and the highest-ranked of the other genes, all in order:
    the cell as a shallower measurement would have shown it.
    """
    span = slice(int(encoded.offsets[cell]), int(encoded.offsets[cell + 1]))
    tokens, column = encoded.tokens[span].astype(np.int64), encoded.column[span]
    needed = (column < 0) | (column == regulator) | (column == target)
    if most and tokens.size > most:
        room = max(0, most - int(needed.sum()))
        kept = needed.copy()
        kept[np.flatnonzero(~needed)[:room]] = True
        tokens, column = tokens[kept], column[kept]
    at = int(np.flatnonzero(column == target)[0])
    shown = tokens.copy()
    shown[at] = hide(tokens[at : at + 1])[0]
    hidden = shown.copy()
    hidden[column == regulator] = hide(tokens[column == regulator])
    return PairSequence(shown=shown, hidden=hidden, at=at)

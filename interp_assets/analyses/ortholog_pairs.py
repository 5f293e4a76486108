"""Edge scores of the same regulator-target pairs in two species, from the cells of a pair of datasets.

What belongs here: which genes, regulators, classes and cells are compared. What does not: how well they agree
(`ortholog_transfer`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from interp_assets.analyses.inputs import CellSample
from interp_assets.cells.moments import detection
from interp_assets.cells.records import PreparedCells
from interp_assets.edges.records import Reference
from interp_assets.stats.edge_transfer import PairedEdges, TransferNull, paired_edges, rank_edges
from interp_assets.stats.resampling import Interval

LEAST_DETECTION: Final = 0.01
FEWEST_REGULATORS: Final = 3
FEWEST_CELLS: Final = 30  # control cells of a type in either species
FEWEST_DIRECTIONS: Final = 3
MOSTLY: Final = 2 / 3
EXPRESSION_BANDS: Final = 10
FEWEST_TARGETS: Final = 10  # pairs of a regulator before its own correlation is told
ALL_CELLS: Final = "all"
WITHIN: Final = "within_cell_type"


@dataclass(frozen=True, slots=True, kw_only=True)
class CellView:
    """Scores of the pairs over one choice of cells.

    ``genes`` (G) are in the order of ``edges``, its ``regulators`` first; ``band`` (G) is the expression band in the
    partner. ``cells`` says which cells: ``all`` or ``within_cell_type``. ``left_out`` counts genes without a score.
    """

    cells: str
    genes: NDArray[np.str_]
    edges: PairedEdges
    band: NDArray[np.int64]
    left_out: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeciesPair:
    """Two species in one gene list; ``classes`` maps a way of classing regulators to the class of each by name."""

    reference: str
    direction_reference: str
    whole: CellView
    within: CellView | str
    targets: dict[str, int]
    classes: dict[str, dict[str, str]]
    facts: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """Agreement of one choice of cells (`CellView`), and its nulls by name.

    ``passing`` (N) are the filtered pairs. ``shared_top`` holds one count for each of ``tops``. ``by_regulator`` (R) is
    Spearman over a regulator's filtered pairs, ``by_regulator_all`` over all of them; NaN below `FEWEST_TARGETS`.
    """

    view: CellView
    passing: NDArray[np.bool_]
    spearman: float
    spearman_all: float
    interval: Interval
    interval_all: Interval
    sign_agreement: float
    sign_agreement_all: float
    tops: tuple[int, ...]
    shared_top: tuple[int, ...]
    by_regulator: NDArray[np.float64]
    by_regulator_all: NDArray[np.float64]
    nulls: dict[str, TransferNull]


def species_pair(sample: CellSample) -> SpeciesPair | str:
    """The pair of datasets behind a role, or why nothing can be compared.

    Genes are those scored in either species, measured in both and seen in at least 1 % of the control cells of both.
    Regulators are those of the first directed reference, the primary one before the others, that has at least three
    among them.
    """
    partner = sample.partner
    if partner is None:
        return f"role {sample.role} names no partner dataset; give it one under `partner` in the study"
    genes = shared_genes(sample.cells, partner.cells)
    chosen = _regulators(sample, partner, genes)
    if isinstance(chosen, str):
        return chosen
    reference, regulators = chosen
    whole = _whole(sample.cells, partner.cells, genes, regulators)
    if isinstance(whole, str):
        return whole
    listed = _listed((sample, partner), reference, set(whole.genes.tolist()))
    targets = {tf: len(listed.get(tf, {})) for tf in _regulator_names(whole)}
    directed = next((name for name in _names(sample) if _knows_directions(sample.references[name])), "")
    return SpeciesPair(
        reference=reference,
        direction_reference=directed,
        whole=whole,
        within=_within(sample.cells, partner.cells, whole),
        targets=targets,
        classes={
            "targets": target_bands(targets),
            "direction": _direction_classes((sample, partner), directed, targets),
        },
        facts={
            "genes": int(whole.genes.size),
            "least_detection": LEAST_DETECTION,
            "partner": partner.dataset,
            "partner_cells_hash": partner.cells_hash,
            "regulators": whole.edges.regulators,
        },
    )


def shared_genes(one: PreparedCells, other: PreparedCells) -> NDArray[np.str_]:
    """Genes scored in either dataset and seen in both, sorted."""
    scored = np.union1d(one.universe, other.universe)
    for cells in (one, other):
        seen = cells.genes[detection(cells.log[cells.control]) >= LEAST_DETECTION]
        scored = np.intersect1d(scored, seen)
    return scored


def _names(sample: CellSample) -> list[str]:
    names = dict.fromkeys([sample.primary_reference, *sample.references])
    return [name for name in names if name in sample.references]


def _regulators(sample: CellSample, partner: CellSample, genes: NDArray[np.str_]) -> tuple[str, NDArray[np.str_]] | str:
    """First directed reference with enough regulators among the shared genes, and those, sorted."""
    looked_at = []
    for name in _names(sample):
        if not sample.references[name].directed:
            looked_at.append(f"{name} (undirected)")
            continue
        found: set[str] = set()
        for one in (sample, partner):
            if name in one.references:
                reference = one.references[name]
                found |= set(reference.genes[reference.regulators].tolist())
        shared = np.intersect1d(np.array(sorted(found), dtype=np.str_), genes)
        if shared.size >= FEWEST_REGULATORS:
            return name, shared
        looked_at.append(f"{name} ({shared.size} regulators)")
    return (
        f"{sample.dataset} and {partner.dataset}: no reference has {FEWEST_REGULATORS} regulators among the "
        f"{genes.size} shared genes; looked at: {', '.join(looked_at) or 'none'}"
    )


def _whole(
    one: PreparedCells, other: PreparedCells, genes: NDArray[np.str_], regulators: NDArray[np.str_]
) -> CellView | str:
    ordered = np.concatenate([regulators, np.setdiff1d(genes, regulators)])
    tables = [rank_edges(_values(cells, ordered, cells.control), regulators.size) for cells in (one, other)]
    return _view(ALL_CELLS, ordered, regulators.size, tables, other)


def _within(one: PreparedCells, other: PreparedCells, whole: CellView) -> CellView | str:
    """Scores inside the cell types that both have, averaged with the same weights in both species.

    The weight of a type is its smaller number of cells, so that neither composition enters. A pair that has no type in
    which both genes vary in both species has no score, so that one of its genes is left out (`_scored`).
    """
    types = shared_types(one, other)
    if isinstance(types, str):
        return types
    regulators = whole.edges.regulators
    total = [np.zeros((regulators, whole.genes.size)) for _ in (one, other)]
    weight = np.zeros((regulators, whole.genes.size))
    for name, size in types.items():
        found = [rank_edges(_values(cells, whole.genes, _of_type(cells, name)), regulators) for cells in (one, other)]
        known = np.isfinite(found[0]) & np.isfinite(found[1])
        weight += size * known
        for sums, scores in zip(total, found, strict=True):
            sums += size * np.where(known, scores, 0.0)
    tables = [sums / np.where(weight > 0, weight, np.nan) for sums in total]
    return _view(WITHIN, whole.genes, regulators, tables, other)


def shared_types(one: PreparedCells, other: PreparedCells) -> dict[str, int] | str:
    """Cell types with enough control cells in both, each with its smaller count."""
    for cells in (one, other):
        if "cell_type" not in cells.obs:
            return f"{cells.dataset} names no cell types"
    counts = [cells.obs.loc[cells.control, "cell_type"].value_counts() for cells in (one, other)]
    both = {
        name: int(min(counts[0][name], counts[1][name])) for name in sorted({*counts[0].index} & {*counts[1].index})
    }
    kept = {name: size for name, size in both.items() if size >= FEWEST_CELLS}
    return kept or f"no cell type has {FEWEST_CELLS} control cells in both {one.dataset} and {other.dataset}"


def _of_type(cells: PreparedCells, name: str) -> NDArray[np.bool_]:
    return cells.control & (cells.obs["cell_type"] == name).to_numpy(dtype=bool)


def _values(cells: PreparedCells, genes: NDArray[np.str_], kept: NDArray[np.bool_]) -> NDArray[np.float64]:
    place = {gene: at for at, gene in enumerate(cells.genes.tolist())}
    columns = [place[gene] for gene in genes.tolist()]
    return np.asarray(cells.log[kept][:, columns].toarray(), dtype=np.float64)


def _view(
    cells: str,
    genes: NDArray[np.str_],
    regulators: int,
    tables: list[NDArray[np.float64]],
    partner: PreparedCells,
) -> CellView | str:
    """Pairs of the genes that vary in both species; expression bands by detection in the partner."""
    known = _scored(np.isfinite(tables[0]) & np.isfinite(tables[1]))
    rows = known[:regulators]
    if int(rows.sum()) < FEWEST_REGULATORS:
        return f"{int(rows.sum())} regulators vary over the cells of both species; {FEWEST_REGULATORS} are needed"
    one, other = (table[rows][:, known] for table in tables)
    kept = genes[known]
    place = {gene: at for at, gene in enumerate(partner.genes.tolist())}
    seen = detection(partner.log[partner.control])[[place[gene] for gene in kept.tolist()]]
    rank = np.argsort(np.argsort(seen, kind="stable"), kind="stable")
    return CellView(
        cells=cells,
        genes=kept,
        edges=paired_edges(one, other),
        band=(rank * EXPRESSION_BANDS // kept.size).astype(np.int64),
        left_out=int((~known).sum()),
    )


def _scored(finite: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Genes (G) that have a score with each other kept gene, from scores at hand (R x G, regulators first).

    While a pair has none, the gene with the largest share of missing pairs goes, so that few are lost.
    """
    regulators = finite.shape[0]
    known = np.ones(finite.shape[1], dtype=np.bool_)
    while True:
        rows = known[:regulators]
        missing = np.where(rows[:, None] & known[None, :], ~finite, False)
        share = np.concatenate([missing.sum(axis=1), missing[:, regulators:].sum(axis=0)]).astype(np.float64)
        share[:regulators] /= max(1, int(known.sum()))
        share[regulators:] /= max(1, int(rows.sum()))
        if not share.any():
            return known
        known[np.flatnonzero(share == share.max())[-1]] = False


def _regulator_names(view: CellView) -> list[str]:
    names: list[str] = view.genes[: view.edges.regulators].tolist()
    return names


def _listed(samples: Iterable[CellSample], name: str, genes: set[str]) -> dict[str, dict[str, int]]:
    """Targets of every regulator of a reference among the genes, with their direction (0 where it states none)."""
    found: dict[str, dict[str, int]] = {}
    for sample in samples:
        if name not in sample.references:
            continue
        reference = sample.references[name]
        source, target = reference.genes[reference.source].tolist(), reference.genes[reference.target].tolist()
        stated = reference.direction if reference.direction is not None else np.zeros(len(source), dtype=np.int8)
        for tf, gene, direction in zip(source, target, stated.tolist(), strict=True):
            if gene in genes:
                found.setdefault(tf, {})[gene] = direction
    return found


def _knows_directions(reference: Reference) -> bool:
    return reference.direction is not None and bool(np.isin(reference.direction, (-1, 1)).any())


def target_bands(targets: dict[str, int]) -> dict[str, str]:
    """Thirds of the regulators by number of targets, named by their counts; equal counts stay together."""
    counts = np.array(list(targets.values()))
    edges = np.quantile(counts, [1 / 3, 2 / 3], method="nearest")
    band = np.searchsorted(edges, counts, side="left")
    names = {int(b): f"{counts[band == b].min()}-{counts[band == b].max()} targets" for b in np.unique(band)}
    return {tf: names[int(b)] for tf, b in zip(targets, band, strict=True)}


def _direction_classes(samples: Iterable[CellSample], name: str, targets: dict[str, int]) -> dict[str, str]:
    """Mostly activating or repressing regulators, from the targets of known direction in any gene of the reference."""
    samples = tuple(samples)
    genes = {gene for one in samples if name in one.references for gene in one.references[name].genes.tolist()}
    listed = _listed(samples, name, genes) if name else {}
    return {tf: _direction_class(list(listed.get(tf, {}).values())) for tf in targets}


def _direction_class(directions: list[int]) -> str:
    up, down = directions.count(1), directions.count(-1)
    if up + down < FEWEST_DIRECTIONS:
        return "direction not known"
    share = up / (up + down)
    if share >= MOSTLY:
        return "mostly activating"
    return "mostly repressing" if share <= 1 - MOSTLY else "mixed"

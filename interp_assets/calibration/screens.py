"""One planted screen on freshly drawn control cells, with everything that is stored of a dataset.

What belongs here: reading the real cells once, drawing a part of them for each seed, planting in them. What does
not: the recipe (`cells.planted`) and the scores that are judged (`scores`).

Who is drawn. Each seed takes its own half of the cells of every type, so that gene statistics and co-expression vary
between seeds; that half is what is perturbed and what outcomes are called against. It is halved once more: gene
features and correlation come from its first part, what a noise score knows about genes from its second. The two parts
are exchangeable, so that a score of the second part is one more measurement of what the first part measured.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interp_assets.analyses.assemble import DatasetArtefacts
from interp_assets.calibration.design import USUAL_OFF_NETWORK, Design
from interp_assets.cells.datasets import BUILT_IN, load_dataset
from interp_assets.cells.features import gene_features
from interp_assets.cells.moments import detection
from interp_assets.cells.planted import plant
from interp_assets.cells.planted_labels import screen_labels
from interp_assets.cells.planted_network import cell_annotation
from interp_assets.cells.prepare import cells_hash, prepare
from interp_assets.cells.records import PreparedCells
from interp_assets.edges.records import EdgeMatrix
from interp_assets.edges.references import planted_reference, read_network
from interp_assets.edges.scores import spearman_edges
from interp_assets.models.small.cells import from_wheel
from interp_assets.settings import PLANTED_REFERENCE

SCREEN: Final = "calibration"
CELLS: Final = "baron_pancreas_human"
NETWORK: Final = "pathway_commons_expression"


@dataclass(frozen=True, slots=True)
class Material:
    """Real control cells, and the known regulator-target pairs (columns tf, target) networks are drawn from."""

    cells: PreparedCells
    pairs: pd.DataFrame


@dataclass(frozen=True, slots=True, kw_only=True)
class Screen:
    """A planted screen of one seed over P perturbations and G genes.

    ``artefacts`` hold labels, gene features, correlation and the planted network as reference. ``weight`` (P x G) is
    the planted network, ``source`` (P) the positions of the perturbed genes, ``variance_score`` (G) the normal score
    of log variance. ``elsewhere`` and ``mean_elsewhere`` (G) are |Spearman| and mean expression in the other cells.
    """

    seed: int
    artefacts: DatasetArtefacts
    weight: NDArray[np.float64]
    source: NDArray[np.intp]
    variance_score: NDArray[np.float64]
    elsewhere: EdgeMatrix
    mean_elsewhere: NDArray[np.float64]

    def rng(self, purpose: str) -> np.random.Generator:
        """Random generator of its own for one purpose in this screen."""
        return np.random.default_rng([self.seed, zlib.crc32(purpose.encode())])


def load_material(wheels: Path, design: Design) -> Material:
    """Human pancreas cells and known pairs of the data wheels, genes below ``design.detection`` left out.

    Raises
    ------
    ValueError
        If a data wheel is absent or is not the pinned one.
    """
    with TemporaryDirectory() as folder:
        place = Path(folder)
        cells = prepare(load_dataset(BUILT_IN / f"{CELLS}.yaml"), from_wheel(CELLS, wheels, place).path)
        pairs = read_network(load_dataset(BUILT_IN / f"{NETWORK}.yaml"), from_wheel(NETWORK, wheels, place).path)
    seen = detection(cells.counts) >= design.detection
    kept = replace(
        cells,
        counts=cells.counts[:, seen].tocsr(),
        log=cells.log[:, seen].tocsr(),
        genes=cells.genes[seen],
        universe=cells.genes[seen],
    )
    return Material(kept, pairs)


def draw_screen(material: Material, design: Design, seed: int, off_network: float = USUAL_OFF_NETWORK) -> Screen:
    """Planted screen of one seed: cells, network, effects and outcomes are drawn anew.

    ``off_network`` is the share of planted effects that follow no edge (`PlantedParams.generic_share`).
    """
    params = design.params(seed, off_network)
    rng = np.random.default_rng([seed, zlib.crc32(b"cells")])
    types = cell_annotation(material.cells, params).to_numpy()
    cells = subset(material.cells, draw_within(types, design.cell_share, rng))
    first = draw_within(cell_annotation(cells, params).to_numpy(), 0.5, rng)
    screen = plant(cells, material.pairs, params)
    labels = replace(screen_labels(cells, screen), dataset=SCREEN)
    if labels.planted_weight is None:
        raise ValueError(f"seed {seed}: the planted screen carries no network")
    scored, other = (replace(subset(cells, part), dataset=SCREEN, universe=labels.genes) for part in (first, ~first))
    reference = planted_reference(labels, labels.genes)
    return Screen(
        seed=seed,
        artefacts=DatasetArtefacts(
            labels=labels,
            features=gene_features(scored, reference),
            edges={"correlation": spearman_edges(scored)},
            references={PLANTED_REFERENCE: reference},
        ),
        weight=labels.planted_weight.astype(np.float64),
        source=pd.Index(labels.genes).get_indexer(labels.perturbations).astype(np.intp),
        variance_score=screen.network.variance_score,
        elsewhere=spearman_edges(other),
        mean_elsewhere=gene_features(other)["mean"].to_numpy(np.float64),
    )


def draw_within(types: NDArray[np.str_], share: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Mask of a share of the members of every type, without replacement; a part of one member is drawn by lot.

    >>> mask = draw_within(np.array(["a"] * 4 + ["b"] * 2), 0.5, np.random.default_rng(0))
    >>> int(mask[:4].sum()), int(mask[4:].sum())
    (2, 1)
    """
    chosen = np.zeros(types.size, dtype=bool)
    for name in np.unique(types):
        members = rng.permutation(np.flatnonzero(types == name))
        wanted = share * members.size
        chosen[members[: int(wanted) + int(rng.random() < wanted - int(wanted))]] = True
    return chosen


def subset(cells: PreparedCells, chosen: NDArray[np.bool_]) -> PreparedCells:
    """The chosen cells alone, their hash made anew."""
    obs = cells.obs[chosen]
    control = cells.control[chosen]
    return replace(
        cells,
        counts=cells.counts[chosen],
        log=cells.log[chosen],
        obs=obs,
        control=control,
        cells_hash=cells_hash(obs.index.to_numpy(dtype=np.str_)[control]),
    )


def with_permuted_outcomes(screen: Screen) -> Screen:
    """The same screen whose outcomes are shuffled over the candidate genes of each perturbation.

    Every perturbation keeps its number of positives and its own gene stays no candidate; the labels of both
    configurations move together. No score of whatever kind has anything to find then.
    """
    labels = screen.artefacts.labels
    rng = screen.rng("permuted outcomes")
    label = labels.label.copy()
    baseline = None if labels.baseline_label is None else labels.baseline_label.copy()
    for row in range(label.shape[0]):
        place = np.flatnonzero(label[row] >= 0)
        moved = rng.permutation(place)
        label[row, place] = labels.label[row, moved]
        if baseline is not None and labels.baseline_label is not None:
            baseline[row, place] = labels.baseline_label[row, moved]
    shuffled = replace(labels, label=label, baseline_label=baseline)
    return replace(screen, artefacts=replace(screen.artefacts, labels=shuffled))

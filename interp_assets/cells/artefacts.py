"""What the platform keeps of each dataset: cells, labels, features, edges and references, by kind of dataset.

One function an artefact; each takes what the previous ones made and returns records to be stored. A dataset
whose file cannot be had becomes `Unavailable` at its first step and stays so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pandas as pd

from interp_assets.cells.dataset_records import DatasetSpec, UniverseRule
from interp_assets.cells.planted_recipe import edge_cells, planted_params
from interp_assets.cells.records import PreparedCells, ScreenLabels, Unavailable
from interp_assets.cells.sources import LocatedFile, SourceContext, locate
from interp_assets.edges.records import EdgeMatrix, Reference

if TYPE_CHECKING:
    from interp_assets.cells.gene_names import GeneNames
    from interp_assets.cells.planted import PlantedScreen

T = TypeVar("T")
PLANTED = "planted"
UNPERTURBED = "unperturbed"


@dataclass(frozen=True, slots=True, kw_only=True)
class RawFile:
    """The verified file behind a dataset: where it was found and its hash."""

    dataset: str
    sha256: str
    size: int
    origin: str
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneFeatures:
    """Gene-level features of one dataset; ``table`` has the gene as index.

    Beside `cells.features` it holds ``is_tf`` where a catalogue of transcription factors is named by ``tf_catalogue``,
    and ``in_<vocabulary>`` for each published tokeniser whose reach is counted.
    """

    dataset: str
    table: pd.DataFrame
    tf_catalogue: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """Declared datasets and where their files may lie."""

    datasets: Mapping[str, DatasetSpec]
    context: SourceContext

    def path(self, name: str) -> Path | Unavailable:
        """Verified local path of a dataset's file."""
        found = locate(self.datasets[name], self.context)
        return found if isinstance(found, Unavailable) else found.path

    def pairs(self, name: str) -> pd.DataFrame | Unavailable:
        """Pairs (tf, target) of a declared network."""
        from interp_assets.edges.references import read_network

        path = self.path(name)
        return path if isinstance(path, Unavailable) else read_network(self.datasets[name], path)

    def read(self, name: str, read: Callable[[Path], T]) -> T | Unavailable:
        """What ``read`` makes of a dataset's file, or why there is none."""
        path = self.path(name)
        return path if isinstance(path, Unavailable) else read(path)

    def gene_names(self, table: str) -> GeneNames | Unavailable:
        """Known symbols and ids of a declared gene table."""
        from interp_assets.cells.gene_names import read_gene_names

        return self.read(table, partial(read_gene_names, table=table))


def contents(archive: Archive, name: str) -> str | Unavailable:
    """What the file of a dataset that is no screen holds, in words, after it was read as declared."""
    from interp_assets.cells.guides import read_guide_table
    from interp_assets.cells.vocabularies import read_vocabulary
    from interp_assets.edges.references import gene_set_reference, read_gene_list, read_network

    spec = archive.datasets[name]
    form = spec.vocabulary
    names = archive.gene_names(form.gene_table) if form is not None and form.gene_table else None
    if isinstance(names, Unavailable):
        return names
    nothing = np.empty(0, dtype=np.str_)
    readers: dict[str, Callable[[Path], str]] = {
        "network": lambda path: f"{len(read_network(spec, path)):,} pairs",
        "gene_sets": lambda path: f"{gene_set_reference(spec, path, nothing).facts['sets_read']:,} sets",
        "gene_list": lambda path: f"{len(read_gene_list(spec, path)):,} genes",
        "guide_table": lambda path: f"{len(read_guide_table(spec, path)):,} guides",
        "vocabulary": lambda path: f"{len(read_vocabulary(spec, path, names)):,} genes",
        "gene_table": lambda path: f"{path.stat().st_size:,} bytes",
    }
    return archive.read(name, readers[spec.kind])


def raw_file(archive: Archive, name: str) -> RawFile | Unavailable:
    """Record of the file behind ``name``, or why there is none."""
    found = locate(archive.datasets[name], archive.context)
    if not isinstance(found, LocatedFile):
        return found
    return RawFile(dataset=name, sha256=found.sha256, size=found.size, origin=found.origin, address=found.address)


def prepared_cells(archive: Archive, name: str) -> PreparedCells | Unavailable:
    """Control cells that every edge score of dataset ``name`` is computed from, with its scored universe."""
    spec = archive.datasets[name]
    if spec.kind == "cells":
        return _own_cells(archive, spec)
    if spec.kind == "simulated":
        return _simulated_cells(archive, spec)
    if spec.kind == "outcome_only" and isinstance(gone := archive.path(name), Unavailable):
        return gone  # before the cells are prepared in vain
    base = prepared_cells(archive, spec.base)
    if isinstance(base, Unavailable):
        return replace(base, dataset=name)
    return _planted_cells(archive, spec, base) if spec.kind == "planted" else _foreign_cells(archive, spec, base)


def _own_cells(archive: Archive, spec: DatasetSpec) -> PreparedCells | Unavailable:
    from interp_assets.cells.guides import read_guide_table
    from interp_assets.cells.orthologs import read_orthologs
    from interp_assets.cells.prepare import prepare

    path = archive.path(spec.id)
    if isinstance(path, Unavailable):
        return path
    form = spec.cells
    tables: dict[str, Any] = {}
    wanted: list[tuple[str, str, Callable[[str], Any]]] = []
    if form is not None and form.gene_table:
        wanted.append(("gene_names", form.gene_table, archive.gene_names))
    if form is not None and form.orthologs:
        wanted.append(("orthologs", form.orthologs, lambda name: archive.read(name, read_orthologs)))
    if form is not None and form.guides is not None:
        guides = archive.datasets[form.guides.table]
        wanted.append(("guide_table", guides.id, lambda name: archive.read(name, partial(read_guide_table, guides))))
    for argument, name, read in wanted:
        found = read(name)
        if isinstance(found, Unavailable):
            return Unavailable(spec.id, f"table {name}: {found.reason}")
        tables[argument] = found
    return prepare(spec, path, forced=_forced(_universe_rule(spec), list), **tables)


def _foreign_cells(archive: Archive, spec: DatasetSpec, base: PreparedCells) -> PreparedCells | Unavailable:
    """Cells of another study under an outcome-only screen's name, with the screen's genes as universe."""
    from interp_assets.cells.outcome_pairs import read_pairs, screen_genes
    from interp_assets.cells.prepare import rescored

    path = archive.path(spec.id)
    if isinstance(path, Unavailable):
        return path
    rule = _universe_rule(spec)
    forced = _forced(rule, lambda: screen_genes(read_pairs(spec, path)).tolist())
    return rescored(base, dataset=spec.id, rule=rule, forced=forced)


def _universe_rule(spec: DatasetSpec) -> UniverseRule:
    if spec.universe is None:
        raise ValueError(f"{spec.file}: key `universe`: is missing. Say which genes are scored.")
    return spec.universe


def _forced(rule: UniverseRule, of_screen: Callable[[], list[str]]) -> list[str]:
    """Genes that are scored whatever their variance, by the universe rule."""
    return of_screen() if rule.forced == "screen" else list(rule.panel_genes)


def _simulated_cells(archive: Archive, spec: DatasetSpec) -> PreparedCells | Unavailable:
    from interp_assets.cells.simulated_trajectory import simulate

    pairs = archive.pairs(spec.planted_network)
    if isinstance(pairs, Unavailable):
        return Unavailable(spec.id, f"network {spec.planted_network}: {pairs.reason}")
    return simulate(spec, pairs)


def _planted_cells(archive: Archive, spec: DatasetSpec, base: PreparedCells) -> PreparedCells | Unavailable:
    from interp_assets.cells.planted import draw_universe
    from interp_assets.cells.prepare import cells_hash, sample_cells

    params = planted_params(spec)
    pairs = archive.pairs(spec.planted_network)
    if isinstance(pairs, Unavailable):
        return Unavailable(spec.id, f"network {spec.planted_network}: {pairs.reason}")
    universe = draw_universe(base, pairs, params)[0] if params.universe is None else np.array(params.universe)
    at = np.flatnonzero(np.isin(base.genes, universe))
    control = sample_cells(base.control, edge_cells(spec), params.network_seed)
    return replace(
        base,
        dataset=spec.id,
        data_origin=spec.data_origin,
        universe=base.genes[at],
        obs=base.obs.assign(**{UNPERTURBED: base.control}),
        control=control,
        cells_hash=cells_hash(base.obs.index.to_numpy(dtype=np.str_)[control]),
        facts={**base.facts, "cells_from": base.dataset, "control_cells": int(control.sum())},
    )


def screen_outcomes(
    archive: Archive, name: str, cells: PreparedCells, *, keep_cells: bool = False
) -> ScreenLabels | Unavailable:
    """Labels of the screen ``name``: planted and tested here, tested on its cells, or read from the published table.

    Cells without a perturbation have outcomes of nothing: labels of no perturbation. ``keep_cells``: labels of a
    planted screen hold the cells it was tested on, for those who test them again.

    Raises
    ------
    OutcomesError
        If the cells name perturbed genes and the declaration does not say what was done to them.
    """
    from interp_assets.cells.guide_outcomes import labels_from_guides
    from interp_assets.cells.outcome_pairs import read_pairs
    from interp_assets.cells.outcomes import labels_from_cells, labels_from_pairs, no_outcomes
    from interp_assets.cells.prepare import CONTROL

    spec = archive.datasets[name]
    if spec.kind == "planted":
        return _planted_outcomes(archive, spec, cells, keep_cells=keep_cells)
    if spec.kind == "outcome_only":
        path = archive.path(name)
        return path if isinstance(path, Unavailable) else labels_from_pairs(spec, read_pairs(spec, path), cells)
    if cells.guides is not None:
        labels = labels_from_guides(cells, modality=spec.modality, rule=spec.differential)
    elif "perturbation" not in cells.obs:
        return no_outcomes(cells)
    else:
        unperturbed = (cells.obs["perturbation"] == CONTROL).to_numpy(dtype=bool)
        labels = labels_from_cells(cells, control=unperturbed, modality=spec.modality, rule=spec.differential)
    _check_modality(spec, labels)
    return labels


def _check_modality(spec: DatasetSpec, labels: ScreenLabels) -> None:
    """Refuse a screen of genes that does not say how they were perturbed: its own-gene changes would mean nothing."""
    from interp_assets.cells.outcome_tables import OutcomesError
    from interp_assets.cells.own_change import EXPECTED

    own = labels.own_change
    if len(own) and spec.modality not in EXPECTED:
        raise OutcomesError(
            f"{spec.file}: key `modality`: is {spec.modality!r}, but {len(own)} perturbations of dataset {spec.id!r} "
            f"are measured genes, such as {own['perturbation'].iloc[0]}. Say {', '.join(EXPECTED)}."
        )


def _planted_outcomes(
    archive: Archive, spec: DatasetSpec, cells: PreparedCells, *, keep_cells: bool
) -> ScreenLabels | Unavailable:
    from interp_assets.cells.planted_labels import screen_labels

    found = planted_screen(archive, spec, cells)
    if isinstance(found, Unavailable):
        return found
    return replace(screen_labels(*found, keep_cells=keep_cells), dataset=spec.id)


def planted_screen(
    archive: Archive, spec: DatasetSpec, cells: PreparedCells
) -> tuple[PreparedCells, PlantedScreen] | Unavailable:
    """The unperturbed cells of a planted screen, and its perturbed ones, made again from them and the seed."""
    from interp_assets.cells.planted import plant

    pairs = archive.pairs(spec.planted_network)
    if isinstance(pairs, Unavailable):
        return Unavailable(spec.id, f"network {spec.planted_network}: {pairs.reason}")
    params = replace(planted_params(spec), universe=tuple(cells.universe.tolist()))
    everyone = replace(cells, control=cells.obs[UNPERTURBED].to_numpy(dtype=bool))
    return everyone, plant(everyone, pairs, params)


def pairwise_edges(cells: PreparedCells) -> dict[str, EdgeMatrix]:
    """Correlation, with and without its sign, and the trivial pairwise baselines, all from the control cells."""
    from interp_assets.edges.scores import (
        absolute_edges,
        co_detection_edges,
        rank_distance_edges,
        signed_spearman_edges,
    )

    signed = signed_spearman_edges(cells)
    return {
        "correlation": absolute_edges(signed),
        "correlation_signed": signed,
        "rank_distance": rank_distance_edges(cells),
        "co_detection": co_detection_edges(cells),
    }


def reference_networks(
    archive: Archive, names: tuple[str, ...], cells: PreparedCells, labels: ScreenLabels
) -> dict[str, Reference] | Unavailable:
    """Reference networks inside the universe by name; ``planted`` is the network behind a planted screen.

    A network whose file cannot be had is left out, and whatever needs it says that it is not available; only where
    none is left the whole artefact is unavailable.
    """
    found: dict[str, Reference] = {}
    lost: list[str] = []
    for name in names:
        reference = _reference(archive, name, cells, labels)
        if isinstance(reference, Unavailable):
            lost.append(reference.reason)
        else:
            found[name] = reference
    if found:
        return found
    return Unavailable(labels.dataset, "; ".join(lost) or "no study asks for a reference network here")


def _reference(archive: Archive, name: str, cells: PreparedCells, labels: ScreenLabels) -> Reference | Unavailable:
    from interp_assets.edges.references import gene_set_reference, network_reference, planted_reference

    made = archive.datasets.get(labels.dataset)
    if name == PLANTED and made is not None and made.kind == "simulated":
        return _simulated_reference(archive, made, cells)
    if name == PLANTED:
        if labels.planted_weight is None:
            return Unavailable(labels.dataset, "reference `planted` is asked for, but nothing was planted")
        return planted_reference(labels, cells.universe)
    spec, path = archive.datasets[name], archive.path(name)
    if isinstance(path, Unavailable):
        return Unavailable(labels.dataset, f"reference {name}: {path.reason}")
    read = network_reference if spec.kind == "network" else gene_set_reference
    return read(spec, path, cells.universe)


def _simulated_reference(archive: Archive, spec: DatasetSpec, cells: PreparedCells) -> Reference | Unavailable:
    from interp_assets.cells.simulated_trajectory import simulated_reference

    pairs = archive.pairs(spec.planted_network)
    return pairs if isinstance(pairs, Unavailable) else simulated_reference(spec, pairs, cells.universe, PLANTED)


def features(
    archive: Archive,
    cells: PreparedCells,
    degree_reference: Reference | None,
    *,
    catalogue: str = "",
    vocabularies: tuple[str, ...] = (),
) -> GeneFeatures:
    """Gene-level features; out-degree is counted in ``degree_reference``.

    A catalogue or vocabulary whose file cannot be had adds no column.
    """
    from interp_assets.cells.features import gene_features
    from interp_assets.cells.vocabularies import read_vocabulary
    from interp_assets.edges.references import read_gene_list

    table = gene_features(cells, degree_reference)
    path = archive.path(catalogue) if catalogue else Unavailable(cells.dataset, "no catalogue is named")
    if not isinstance(path, Unavailable):
        table["is_tf"] = table.index.isin(read_gene_list(archive.datasets[catalogue], path))
    for name in vocabularies:
        where, form = archive.path(name), archive.datasets[name].vocabulary
        names = archive.gene_names(form.gene_table) if form is not None and form.gene_table else None
        if not isinstance(where, Unavailable) and not isinstance(names, Unavailable):
            table[f"in_{name}"] = table.index.isin(read_vocabulary(archive.datasets[name], where, names))
    return GeneFeatures(dataset=cells.dataset, table=table, tf_catalogue=catalogue if "is_tf" in table.columns else "")

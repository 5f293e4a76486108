"""Cells of four types with counts, and attention of each cell with a known answer, for analyses that draw cells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix

from interp_assets.analyses.inputs import AnalysisInputs, CellSample, RoleInputs
from interp_assets.cells.outcomes import no_outcomes
from interp_assets.cells.prepare import normalised_log
from interp_assets.cells.records import PreparedCells
from interp_assets.edges.records import Reference
from interp_assets.readings.records import Reading
from qc_standards.registry import tests_of_analysis

HELD = (140, 120, 50, 10)  # the last type is missed by many small draws
CELLS, GENES, ROWS, LAYERS, EDGES = sum(HELD), 40, 8, 2, 24


@dataclass(frozen=True, kw_only=True)
class Knobs:
    """``signal`` is added to an edge, in all cells or (``typed``) in those of its type.

    ``spread`` is how much wider than others its attention varies over cells, ``holding`` the share of the genes that
    a cell holds. ``order`` is added to attention from a gene that comes before its target in the order of tokens;
    a cell then holds genes with counts alone.
    """

    role: str = "tissues[2]"
    signal: float = 0.0
    typed: bool = False
    spread: float = 1.0
    holding: float = 0.7
    order: float = 0.0
    references: tuple[str, ...] = ("net", "other")
    named: bool = True
    seed: int = 0


def names() -> np.ndarray:
    return np.array([f"G{number:02d}" for number in range(GENES)])


def kinds() -> np.ndarray:
    return np.repeat(np.arange(len(HELD)), HELD)


def edges(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Edge e of ``net`` goes from row e % ROWS to a gene that is no row; those of ``other`` lie elsewhere.

    ``single`` lists as many targets of one row alone.
    """
    number = np.arange(EDGES)
    if name == "single":
        return np.zeros(EDGES, dtype=np.int32), (ROWS + number).astype(np.int32)
    shift = {"net": 0, "other": 5}[name]
    return (number % ROWS).astype(np.int32), (ROWS + (number + shift * (1 + number // ROWS)) % 32).astype(np.int32)


def counts(seed: int) -> np.ndarray:
    rng = np.random.default_rng([seed, 1])
    return rng.poisson(rng.uniform(0.5, 6.0, GENES), size=(CELLS, GENES))


def sample(knobs: Knobs) -> CellSample:
    genes, matrix = names(), csr_matrix(counts(knobs.seed), dtype=np.int32)
    index = [f"cell{number}" for number in range(CELLS)]
    obs = pd.DataFrame({"cell_type": np.array(["a", "b", "c", "d"])[kinds()]}, index=index)
    cells = PreparedCells(
        dataset="toy",
        species="human",
        data_origin="simulated",
        counts=matrix,
        log=normalised_log(matrix),
        genes=genes,
        obs=obs if knobs.named else obs[[]],
        control=np.ones(CELLS, dtype=bool),
        cells_hash="a" * 64,
        universe=genes,
    )
    networks = {}
    for name in knobs.references:
        source, target = edges(name)
        regulators = np.arange(ROWS, dtype=np.int32)
        networks[name] = Reference(
            name=name, genes=genes, source=source, target=target, directed=True, regulators=regulators
        )
    return CellSample(
        role=knobs.role,
        role_fit="full",
        cells=cells,
        labels=no_outcomes(cells),
        references=networks,
        primary_reference="net",
    )


def cell_values(knobs: Knobs) -> tuple[np.ndarray, np.ndarray]:
    """Attention L x N x R x G, and which genes a cell holds (N x G)."""
    rng = np.random.default_rng([knobs.seed, 2])
    value = rng.normal(1.0, 1.0, (LAYERS, CELLS, ROWS, GENES)).astype(np.float32)
    source, target = edges("net")
    for number in range(EDGES):
        inside = kinds() == number % len(HELD) if knobs.typed else np.ones(CELLS, dtype=bool)
        of_edge = value[:, inside, source[number], target[number]]
        value[:, inside, source[number], target[number]] = 1 + (of_edge - 1) * knobs.spread + knobs.signal
    held = rng.random((CELLS, GENES)) < knobs.holding
    if knobs.order:
        held &= counts(knobs.seed) > 0
        share = counts(knobs.seed) / counts(knobs.seed).sum(axis=1, keepdims=True)
        expressed = share / np.array([np.median(column[column > 0]) for column in share.T])
        value += knobs.order * (expressed[:, :ROWS, None] > expressed[:, None, :])
    return value, held


def reading(knobs: Knobs) -> Reading:
    value, held = cell_values(knobs)
    rows, columns, kept, offsets = [], [], [], [0]
    for cell in range(CELLS):
        own, seen = np.flatnonzero(held[cell, :ROWS]), np.flatnonzero(held[cell])
        row, column = np.repeat(own, seen.size), np.tile(seen, own.size)
        rows.append(row)
        columns.append(column)
        kept.append(value[:, cell, row, column])
        offsets.append(offsets[-1] + row.size)
    arrays = {
        "offsets": np.array(offsets),
        "row": np.concatenate(rows).astype(np.int16),
        "column": np.concatenate(columns).astype(np.int16),
        "value": np.concatenate(kept, axis=1),
        "cells": np.arange(CELLS),
        "genes": names(),
        "rows": np.arange(ROWS),
    }
    slug = knobs.role.replace("[", "_").replace("]", "")
    return Reading(arrays={f"{slug}_{name}": values for name, values in arrays.items()}, facts={})


def run_inputs(
    number: int,
    settings: Mapping[str, object],
    knobs: Knobs,
    *,
    read: bool = True,
    filled: bool = True,
    roles: Mapping[str, RoleInputs] | None = None,
) -> AnalysisInputs:
    """Inputs of one analysis; ``read`` and ``filled`` False leave out the reading and the cells."""
    absent = {} if filled else {knobs.role: f"study toy fills no role {knobs.role}"}
    return AnalysisInputs(
        study="toy",
        release="toy-release",
        tests=tests_of_analysis(number),
        roles=roles or {},
        absent=absent | ({} if read else {"cell_attention": "a table of finished scores has no model"}),
        settings=settings,
        seed=knobs.seed,
        samples={knobs.role: sample(knobs)} if filled else {},
        readings={"cell_attention": reading(knobs)} if read else {},
    )

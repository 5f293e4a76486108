"""Single-cell attention with a known answer: edges that exist in one cell type only, or nowhere."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix

from interp_assets.analyses.inputs import AnalysisInputs, CellSample
from interp_assets.cells.outcomes import no_outcomes
from interp_assets.cells.records import PreparedCells
from interp_assets.edges.records import Reference
from interp_assets.readings.records import Reading
from qc_standards.registry import tests_of_analysis

CELLS, GENES, ROWS, LAYERS, TYPES = 240, 24, 6, 3, 4


def sample(reference: bool = True, named: bool = True) -> CellSample:
    genes = np.array([f"G{number}" for number in range(GENES)])
    names = [f"cell{number}" for number in range(CELLS)]
    obs = pd.DataFrame({"cell_type": np.repeat(["a", "b", "c", "d"], CELLS // TYPES)}, index=names)
    cells = PreparedCells(
        dataset="toy",
        species="human",
        data_origin="simulated",
        counts=csr_matrix((CELLS, GENES), dtype=np.int32),
        log=csr_matrix((CELLS, GENES), dtype=np.float32),
        genes=genes,
        obs=obs if named else obs[[]],
        control=np.ones(CELLS, dtype=bool),
        cells_hash="a" * 64,
        universe=genes,
    )
    source, target = edges()
    network = Reference(
        name="net",
        genes=genes,
        source=source,
        target=target,
        directed=True,
        regulators=np.arange(ROWS, dtype=np.int32),
    )
    return CellSample(
        role="layer_selection",
        role_fit="full",
        cells=cells,
        labels=no_outcomes(cells),
        references={"net": network} if reference else {},
        primary_reference="net",
    )


def edges() -> tuple[np.ndarray, np.ndarray]:
    """Edge number e goes from row e % ROWS to a target of its own and is active in cell type e % TYPES."""
    number = np.arange(12)
    return (number % ROWS).astype(np.int32), (ROWS + number).astype(np.int32)


def cell_reading(signal: float, seed: int = 0, embedded: bool = True) -> Reading:
    """Every cell holds every gene; ``signal`` is added to an edge in the cells of its type."""
    rng = np.random.default_rng(seed)
    kind = np.repeat(np.arange(TYPES), CELLS // TYPES)
    value = rng.normal(1.0, 1.0, (LAYERS, CELLS, ROWS, GENES)).astype(np.float32)
    source, target = edges()
    for number in range(source.size):
        value[:, kind == number % TYPES, source[number], target[number]] += signal
    row, column = (index.ravel().astype(np.int16) for index in np.indices((ROWS, GENES)))
    arrays = {
        "offsets": np.arange(CELLS + 1) * ROWS * GENES,
        "row": np.tile(row, CELLS),
        "column": np.tile(column, CELLS),
        "value": value.reshape(LAYERS, -1),
        "cells": np.arange(CELLS),
        "genes": np.array([f"G{number}" for number in range(GENES)]),
        "rows": np.arange(ROWS),
    }
    if embedded:
        arrays["embedding"] = (rng.normal(size=(CELLS, 5)) + 12 * np.eye(TYPES, 5)[kind]).astype(np.float32)
    return Reading(arrays={f"layer_selection_{name}": values for name, values in arrays.items()}, facts={})


def cssi_inputs(
    number: int,
    settings: Mapping[str, object],
    reading: Reading | None = None,
    cells: CellSample | None = None,
    seed: int = 0,
) -> AnalysisInputs:
    return AnalysisInputs(
        study="toy",
        release="toy-release",
        tests=tests_of_analysis(number),
        roles={},
        absent={} if cells else {"layer_selection": "study toy fills no role layer_selection"},
        settings=settings,
        seed=seed,
        samples={"layer_selection": cells} if cells else {},
        readings={"cell_attention": reading} if reading else {},
    )

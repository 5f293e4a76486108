from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from interp_assets.cells.planted_params import PlantedParams
from interp_assets.cells.prepare import cells_hash, normalised_log
from interp_assets.cells.records import PreparedCells

REGULATORS = 30


@pytest.fixture(scope="session")
def base() -> PreparedCells:
    """Control cells: 240 cells of three types, 300 genes, overdispersed counts."""
    from scipy.sparse import csr_matrix

    rng = np.random.default_rng(1)
    genes = np.array([f"g{i:03d}" for i in range(300)])
    rate = np.exp(rng.normal(0.3, 1.0, size=300))
    cell_type = np.repeat(["alpha", "beta", "delta"], 80)
    by_type = np.exp(rng.normal(0.0, 0.5, size=(3, 300)))[np.repeat([0, 1, 2], 80)]
    depth = rng.lognormal(0.0, 0.3, size=(240, 1))
    counts = csr_matrix(rng.poisson(rate * by_type * depth * rng.gamma(4.0, 0.25, size=(240, 300))).astype(np.int32))
    names = [f"cell{i}" for i in range(240)]
    return PreparedCells(
        dataset="toy",
        species="human",
        data_origin="simulated",
        counts=counts,
        log=normalised_log(counts),
        genes=genes,
        obs=pd.DataFrame({"cell_type": cell_type}, index=names),
        control=np.ones(240, dtype=bool),
        cells_hash=cells_hash(names),
        universe=genes,
    )


@pytest.fixture(scope="session")
def pairs() -> pd.DataFrame:
    """Known pairs: 30 regulators (g000-g029) of about 25 targets each, some of them regulators."""
    rng = np.random.default_rng(2)
    rows = [
        (f"g{tf:03d}", f"g{target:03d}") for tf in range(REGULATORS) for target in rng.choice(300, 25, replace=False)
    ]
    return pd.DataFrame(rows, columns=["tf", "target"]).drop_duplicates()


@pytest.fixture
def params() -> Callable[..., PlantedParams]:
    """Knobs for the toy cells; tests change some."""

    def make(**changes: object) -> PlantedParams:
        small: dict[str, object] = {
            "n_perturbations": 12,
            "n_genes": 200,
            "cells_per_perturbation": 40,
            "edges_per_regulator": 20.0,
            "target_mean_floor": 0.1,
            "max_count_share": 0.2,
            "min_known_targets": 5,
        }
        return PlantedParams(**{**small, **changes})  # type: ignore[arg-type]

    return make

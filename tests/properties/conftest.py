"""Real cells and known pairs from the data wheels, read once for all properties."""

from __future__ import annotations

import pandas as pd
import pytest

from interp_assets.cells.datasets import BUILT_IN, load_dataset
from interp_assets.cells.prepare import prepare
from interp_assets.cells.records import PreparedCells
from interp_assets.edges.references import read_network
from interp_assets.models.small.cells import from_wheel


@pytest.fixture(scope="session")
def pancreas(data_wheels, tmp_path_factory) -> PreparedCells:
    """Prepared human pancreas cells, all of them control cells."""
    folder = tmp_path_factory.mktemp("cells")
    spec = load_dataset(BUILT_IN / "baron_pancreas_human.yaml")
    return prepare(spec, from_wheel("baron_pancreas_human", data_wheels, folder).path)


@pytest.fixture(scope="session")
def known_pairs(data_wheels, tmp_path_factory) -> pd.DataFrame:
    """Known pairs of regulator and target, columns ``tf`` and ``target``."""
    folder = tmp_path_factory.mktemp("network")
    name = "pathway_commons_expression"
    spec = load_dataset(BUILT_IN / f"{name}.yaml")
    return read_network(spec, from_wheel(name, data_wheels, folder).path)

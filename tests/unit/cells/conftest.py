from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pytest
import yaml
from scipy import sparse

from interp_assets.cells.datasets import DatasetSpec, load_dataset

Document = dict[str, Any]
_SPEC = importlib.util.spec_from_file_location("file_server", Path(__file__).with_name("file_server.py"))
assert _SPEC is not None
assert _SPEC.loader is not None
_SERVER = importlib.util.module_from_spec(_SPEC)
sys.modules[_SPEC.name] = _SERVER
_SPEC.loader.exec_module(_SERVER)


@pytest.fixture
def web() -> ModuleType:
    """The local file server: `web.serving(content)` and the `web.Answer` it is told to give."""
    return _SERVER


@pytest.fixture
def document() -> Document:
    """A valid declaration of cells; tests change one key."""
    return {
        "id": "toy",
        "title": "Toy cells",
        "kind": "cells",
        "species": "human",
        "data_origin": "simulated",
        "licence": "CC0",
        "provenance": {"study": "made in this test"},
        "sources": [{"mirror": {"path": "cells/toy.h5ad", "size": 10, "sha256": "0" * 64}}],
        "cells": {"obs": {"perturbation": ["guide", "target"], "cell_type": "type"}, "control_label": "NT"},
        "universe": {"genes": 5},
    }


@pytest.fixture
def declare(tmp_path: Path) -> Callable[[Document], DatasetSpec]:
    def write(content: Document) -> DatasetSpec:
        path = tmp_path / "datasets" / f"{content['id']}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(yaml.safe_dump(content), encoding="utf-8")
        return load_dataset(path)

    return write


@pytest.fixture
def cells_file(tmp_path: Path) -> Callable[..., Path]:
    """Writes a small h5ad of raw counts: 60 cells, 8 genes, three guides."""

    def write(**changes: Any) -> Path:
        rng = np.random.default_rng(0)
        counts = rng.poisson(rng.uniform(0.5, 4.0, size=8), size=(60, 8))
        obs = pd.DataFrame(
            {"guide": np.repeat(["NT", "G1", "G2"], 20), "type": np.tile(["a", "b"], 30)},
            index=[f"cell{i}" for i in range(60)],
        )
        matrix = changes.get("matrix", counts)
        data = anndata.AnnData(
            X=sparse.csr_matrix(matrix.astype(np.float32)),
            obs=changes.get("obs", obs),
            var=pd.DataFrame(index=changes.get("genes", [f"G{i}" for i in range(8)])),
        )
        if "layer" in changes:
            data.layers["counts"] = sparse.csr_matrix(changes["layer"].astype(np.float32))
        path = tmp_path / "toy.h5ad"
        data.write_h5ad(path)
        return path

    return write


def digest(content: bytes) -> str:
    return sha256(content).hexdigest()

"""One declared screen of a few cells in folders of its own: what a person brings through INTERP_CONFIG_DIR."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pytest
import yaml
from scipy import sparse

Document = dict[str, Any]
CONTROL = "NT"


@dataclass
class World:
    """Folders of one deployment; `environment` describes them."""

    root: Path
    documents: dict[str, Document] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("mirror", "releases", "wheels", "config/datasets", "config/studies"):
            (self.root / name).mkdir(parents=True)

    @property
    def environment(self) -> dict[str, str]:
        return {
            "INTERP_STORE": str(self.root / "store"),
            "INTERP_RELEASES": str(self.root / "releases"),
            "INTERP_DATA_WHEELS": str(self.root / "wheels"),
            "INTERP_DATA_MIRROR": str(self.root / "mirror"),
            "INTERP_CONFIG_DIR": str(self.root / "config"),
        }

    def described(self, patch: pytest.MonkeyPatch) -> None:
        """Let this process see the deployment."""
        for name in ("INTERP_STUDIES", "INTERP_OFFLINE", "INTERP_DAGSTER_YAML", "INTERP_PLATFORM"):
            patch.delenv(name, raising=False)
        for name, value in self.environment.items():
            patch.setenv(name, value)

    def mirrored(self, name: str) -> list[Document]:
        """Section ``sources`` of a file in the mirror."""
        path = self.root / "mirror" / name
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        return [{"mirror": {"path": name, "size": path.stat().st_size, "sha256": digest}}]

    def declare(self, name: str, file: str, kind: str, **further: Any) -> Path:
        """Declaration of a mirrored file."""
        document = {
            "id": name,
            "title": name,
            "kind": kind,
            "species": "human",
            "data_origin": "simulated",
            "licence": "CC0",
            "provenance": {"study": "made in this test"},
            "sources": self.mirrored(file),
            **further,
        }
        path = self.root / "config" / "datasets" / f"{name}.yaml"
        path.write_text(yaml.safe_dump(document, allow_unicode=True), encoding="utf-8")
        return path

    def declare_cells(self, name: str, **changes: Any) -> Path:
        """Declaration of the screen in ``<name>.h5ad``; ``cells`` and ``universe`` are added to, the rest replaced."""
        cells = {"obs": {"perturbation": ["guide"]}, "control_label": CONTROL} | changes.pop("cells", {})
        universe = {"genes": 40, "method": "log_variance"} | changes.pop("universe", {})
        further = {"modality": "crispri", "differential": {"min_cells": 5}} | changes
        return self.declare(name, f"{name}.h5ad", "cells", cells=cells, universe=universe, **further)


@dataclass
class Screen:
    """Raw counts of a screen with their names, before they are written."""

    counts: np.ndarray
    genes: list[str]
    cells: list[str]
    obs: dict[str, Sequence[Any]]

    def written(self, path: Path) -> Path:
        """The h5ad file."""
        frame = pd.DataFrame(self.obs, index=pd.Index(self.cells, dtype=object))
        matrix = sparse.csr_matrix(self.counts.astype(np.float64))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of repeated names
            data = anndata.AnnData(X=matrix, obs=frame, var=pd.DataFrame(index=pd.Index(self.genes, dtype=object)))
            data.write_h5ad(path)
        return path


def drawn_screen(genes: Sequence[str], perturbed: Sequence[str], seed: int, *, controls: int = 40, each: int = 15):
    """A screen whose perturbed genes fall themselves and raise or lower a third of the others."""
    rng = np.random.default_rng(seed)
    labels = np.repeat([CONTROL, *perturbed], [controls, *[each] * len(perturbed)]).astype(object)
    rate = np.tile(rng.uniform(1.0, 8.0, len(genes)), (len(labels), 1)) * rng.lognormal(0.0, 0.3, (len(labels), 1))
    for name in perturbed:
        rows = labels == name
        factor = np.where(rng.random(len(genes)) < 0.33, rng.choice([0.25, 4.0], len(genes)), 1.0)
        if name in genes:
            factor[list(genes).index(name)] = 0.1
        rate[rows] *= factor
    cells = [f"cell{number}" for number in range(len(labels))]
    return Screen(rng.poisson(rate), list(genes), cells, {"guide": labels})

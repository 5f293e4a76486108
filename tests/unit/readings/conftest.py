"""Builders that readings share: the tiny releases and cells of the model tests, and a context to read them in."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from interp_assets.edges.layers import settled_depth
from interp_assets.models.files.releases import read_release
from interp_assets.readings.records import ReadData, ReadingContext

UNIT = Path(__file__).parent.parent


def _module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"readings_{path.parent.name}_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def models() -> ModuleType:
    """Builders of releases and prepared cells (`models/conftest.py`)."""
    return _module(UNIT / "models" / "conftest.py")


@pytest.fixture(scope="session")
def example() -> ModuleType:
    """A tiny BERT with its naive forward pass (`interventions/example_bert.py`)."""
    return _module(UNIT / "interventions" / "example_bert.py")


@pytest.fixture(scope="module")
def peaked_release(models, tmp_path_factory) -> Path:
    """Folder of a tiny release whose attention is far from uniform."""
    return models.write_release.__wrapped__(tmp_path_factory.mktemp("peaked"))(peak=6.0)


@pytest.fixture(scope="session")
def make_context() -> Callable[..., ReadingContext]:
    """Function: a context of study `toy` over the release in a folder and the data of some roles."""

    def make(
        folder: Path,
        *data: ReadData,
        settings: Mapping[str, Any],
        absent: Mapping[str, str] | None = None,
        seed: int = 0,
        depth: float = 0.5,
    ) -> ReadingContext:
        return ReadingContext(
            study="toy",
            release=read_release(folder),
            data={one.role: one for one in data},
            absent=dict(absent or {}),
            settings=dict(settings),
            choice=settled_depth(depth, "a test"),
            seed=seed,
            device="cpu",
        )

    return make

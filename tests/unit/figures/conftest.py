"""Fixtures of the figure tests."""

import importlib.util
from pathlib import Path

import pytest

from interp_assets.figures.records import FigureContext

_SPEC = importlib.util.spec_from_file_location("example_tables", Path(__file__).with_name("example_tables.py"))
_MODULE = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_MODULE)


@pytest.fixture(scope="session")
def tables():
    return _MODULE.example_tables()


@pytest.fixture(scope="session")
def context():
    return FigureContext(
        study="demo",
        release="geneformer-small-2k",
        data_origin="semi_synthetic",
        verdict_state="refuted (semi-synthetic)",
        closed=True,
    )

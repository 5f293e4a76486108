"""Fixtures of the report tests."""

import importlib.util
from pathlib import Path

import pytest

_SPEC = importlib.util.spec_from_file_location("example_results", Path(__file__).with_name("example_results.py"))
_MODULE = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_MODULE)


@pytest.fixture(scope="session")
def example():
    return _MODULE


@pytest.fixture(scope="session")
def results():
    return _MODULE.example_results()

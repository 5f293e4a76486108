"""Fixtures of the report tests."""

import importlib.util
import sys
from pathlib import Path

import pytest


def _loaded(name):
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


_EXAMPLE = _loaded("example_results")


@pytest.fixture(scope="session")
def example():
    return _EXAMPLE


@pytest.fixture(scope="session")
def results():
    return _EXAMPLE.example_results()


@pytest.fixture(scope="session")
def example_explorer():
    return _loaded("example_explorer")

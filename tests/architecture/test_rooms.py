"""The rooms keep their doors: import directions, cheap imports, no unsafe loading."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
PLATFORM, STANDARDS = PROJECT / "interp_assets", PROJECT / "qc_standards"
# Room -> rooms it may import from, besides itself and the standards' records and registry.
FLOORS = {
    "stats": set(),
    "cells": {"edges", "exclusive", "stats", "models", "settings"},
    "edges": {"cells"},
    "models": {"cells", "edges", "exclusive", "settings", "stats", "storage"},
    "interventions": {"cells", "edges", "models", "stats"},
    "readings": {"cells", "edges", "interventions", "models", "stats"},
    "analyses": {"cells", "edges", "interventions", "readings", "settings", "stats"},
    "supplement": {"analyses"},
    "figures": {"analyses", "supplement"},
    "comparison": {"stats", "storage"},
    "discovery": {"cells", "deployment", "models", "settings", "storage"},
    "notices": {"quarantine", "settings", "storage"},
    "operations": {"deployment", "models", "settings", "storage"},
    "report": {"figures", "supplement", "analyses", "comparison", "settings", "storage"},
    "calibration": {
        "analyses",
        "battery",
        "battery_settings",
        "cells",
        "code_version",
        "edges",
        "evaluation_tables",
        "figures",
        "models",
        "settings",
    }
    | {"stats", "storage"},
}
DAGSTER_ROOMS = {
    "assets",
    "automation",
    "definitions",
    "evaluate",
    "executors",
    "io_managers",
    "layout",
    "metadata",
    "cli",
    "parallel",
    "run_history",
    "stages",
}
HEAVY = (
    "anndata",
    "dask",
    "distributed",
    "great_expectations",
    "matplotlib",
    "numba",
    "scanpy",
    "sklearn",
    "torch",
    "transformers",
)


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def platform_rooms(path: Path) -> set[str]:
    parts = (name.split(".") for name in imports(path) if name.startswith("interp_assets."))
    return {part[1] for part in parts}


def test_the_standards_know_nothing_of_the_platform() -> None:
    for path in STANDARDS.rglob("*.py"):
        tops = {name.split(".")[0] for name in imports(path)}
        assert not tops & {"interp_assets", "dagster", "torch"}, path


@pytest.mark.parametrize("room", FLOORS)
def test_data_flows_one_way(room: str) -> None:
    for path in (PLATFORM / room).rglob("*.py"):
        climbed = platform_rooms(path) - FLOORS[room] - {room}
        assert not climbed, f"{path.relative_to(PROJECT)} reads up into {sorted(climbed)}"


def test_only_the_dagster_rooms_know_dagster() -> None:
    for path in PLATFORM.rglob("*.py"):
        room = path.relative_to(PLATFORM).parts[0].removesuffix(".py")
        if room not in DAGSTER_ROOMS:
            assert "dagster" not in {name.split(".")[0] for name in imports(path)}, path


def imported_by(statement: str) -> set[str]:
    code = f"import sys\n{statement}\nprint(' '.join(sorted({{name.split('.')[0] for name in sys.modules}})))"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True, cwd=PROJECT
    )
    return set(done.stdout.split())


def test_importing_the_definitions_pulls_in_nothing_heavy() -> None:
    assert not set(HEAVY) & imported_by("import interp_assets.definitions")


def test_the_gate_answers_help_without_pandas_or_great_expectations() -> None:
    statement = "import qc_standards.cli as cli\ntry: cli.main(['--help'])\nexcept SystemExit: pass"
    assert not {"great_expectations", "pandas", *HEAVY} & imported_by(statement)


@pytest.mark.parametrize(
    "forbidden", ["allow_pickle=True", "weights_only=False", "trust_remote_code=True", "pickle.load(", "joblib.load"]
)
def test_no_unsafe_loading(forbidden: str) -> None:
    places = [path for root in (PLATFORM, STANDARDS) for path in root.rglob("*.py") if forbidden in path.read_text()]
    assert not places


def test_nothing_is_simply_called_utils() -> None:
    names = {path.stem for root in (PLATFORM, STANDARDS) for path in root.rglob("*.py")}
    assert not names & {"utils", "util", "helpers", "misc", "common"}


def test_files_stay_readable() -> None:
    long = {
        str(path.relative_to(PROJECT)): lines
        for root in (PLATFORM, STANDARDS)
        for path in root.rglob("*.py")
        if (lines := len(path.read_text().splitlines())) > 450
    }
    assert not long

"""Shared fixtures: where data may come from, and a run history that lies in memory."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]
REQUIRED = frozenset(filter(None, os.environ.get("INTERP_REQUIRE", "").split(",")))


def absent(what: str, reason: str) -> None:
    """Skip a test that lacks ``what``, or fail it where the environment promised it (INTERP_REQUIRE)."""
    if what in REQUIRED:
        pytest.fail(f"INTERP_REQUIRE names {what}, but {reason}")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def data_wheels() -> Path:
    """Folder of the data wheels."""
    folder = Path(os.environ.get("INTERP_DATA_WHEELS") or PROJECT / "data-wheels")
    if not list(folder.glob("*.whl")):
        absent("wheels", f"no data wheels in {folder}; `make setup` fetches them")
    return folder.resolve()


@pytest.fixture(scope="session")
def data_mirror() -> Path:
    """Folder of the data mirror."""
    named = os.environ.get("INTERP_DATA_MIRROR", "")
    if not named or not Path(named).is_dir():
        absent("mirror", "INTERP_DATA_MIRROR names no folder")
    return Path(named).resolve()


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of a headless browser."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or ""
    if not found:
        absent("chromium", "no chromium on this machine")
    return found


@pytest.fixture(autouse=True)
def _quiet_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No telemetry, whatever the caller's environment says."""
    monkeypatch.setenv("DAGSTER_DISABLE_TELEMETRY", "1")
    monkeypatch.setenv("GX_ANALYTICS_ENABLED", "False")


@pytest.fixture(autouse=True)
def _mirror_marker(request: pytest.FixtureRequest) -> None:
    """Tests marked ``mirror`` skip, and say why, where there is none."""
    if request.node.get_closest_marker("mirror"):
        request.getfixturevalue("data_mirror")

"""Shared fixtures: where data may come from, and a run history that lies in memory."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

PROJECT = Path(__file__).resolve().parents[1]
REQUIRED = frozenset(filter(None, os.environ.get("INTERP_REQUIRE", "").split(",")))
# Read once: tests of the platform describe other deployments in the environment while they run.
WHEELS = Path(os.environ.get("INTERP_DATA_WHEELS") or PROJECT / "data-wheels")
MIRROR = os.environ.get("INTERP_DATA_MIRROR", "")


def absent(what: str, reason: str) -> None:
    """Skip a test that lacks ``what``, or fail it where the environment promised it (INTERP_REQUIRE)."""
    if what in REQUIRED:
        pytest.fail(f"INTERP_REQUIRE names {what}, but {reason}")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def data_wheels() -> Path:
    """Folder of the data wheels."""
    if not list(WHEELS.glob("*.whl")):
        absent("wheels", f"no data wheels in {WHEELS}; `make setup` fetches them")
    return WHEELS.resolve()


@pytest.fixture(scope="session")
def data_mirror() -> Path:
    """Folder of the data mirror."""
    if not MIRROR or not Path(MIRROR).is_dir():
        absent("mirror", "INTERP_DATA_MIRROR names no folder")
    return Path(MIRROR).resolve()


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of a headless browser."""
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next((path for path in map(shutil.which, names) if path), "")
    if not found:
        absent("chromium", "no chromium on this machine")
    return found


@pytest.fixture
def tally(record_property) -> Callable[..., None]:
    """Say how an attempt ended: ``tally("fault", "disk full while tables are written", "refused")``.

    Kinds are those of `tests.faults.reliability`; an attempt ends ``right`` (a correct result) or ``refused`` (one
    clear error). ``times`` counts several of one outcome at once.
    """

    def say(kind: str, what: str, ended: str = "right", times: int = 1) -> None:
        assert kind in {"fault", "property", "reader", "security"}
        assert ended in {"right", "refused"}
        record_property("attempt", [kind, what, ended, times])

    return say


@pytest.fixture(scope="session")
def soak() -> int:
    """How many times as many attempts as in the short form: SOAK of the environment, 1 without it."""
    return int(os.environ.get("SOAK") or 1)


@pytest.fixture(scope="session")
def walk() -> ModuleType:
    """Functions that walk over a report and follow its numbers to what is stored."""
    path = PROJECT / "tests" / "unit" / "report" / "page_walk.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True, scope="session")
def _shipped_configuration() -> Iterator[None]:
    """The shipped studies, datasets and releases, whatever the caller's environment selects."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("INTERP_STUDIES", "INTERP_CONFIG_DIR", "INTERP_RELEASES"):
            patch.delenv(name, raising=False)
        yield


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

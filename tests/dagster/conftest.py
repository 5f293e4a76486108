"""A store in memory, a tiny release, and the graph built over both."""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest

from interp_assets.layout import Layout, read_layout

FAST = Path("/dev/shm") if Path("/dev/shm").is_dir() and os.access("/dev/shm", os.W_OK) else None
SHIPPED = Path(__file__).resolve().parents[2] / "releases"

for _category in (dg.PreviewWarning, dg.BetaWarning, dg.SupersessionWarning):
    warnings.filterwarnings("ignore", category=_category)


@dataclass(frozen=True)
class Platform:
    """One deployment: its layout and the environment that describes it."""

    layout: Layout
    environment: dict[str, str]


@pytest.fixture(scope="session")
def shipped_releases() -> Path:
    """Folder of the releases that ship with the repository."""
    return SHIPPED


@pytest.fixture
def shipped(shipped_releases: Path) -> Path:
    """Folder of the first of them."""
    return sorted(path.parent for path in shipped_releases.glob("*/release.json"))[0]


@pytest.fixture(scope="session")
def deployed() -> Callable[[Path, Path, str, Path], dict[str, str]]:
    """Function that describes a deployment as environment variables."""
    return deployment


def deployment(folder: Path, wheels: Path, studies: str, releases: Path) -> dict[str, str]:
    """Environment of a deployment whose every folder lies in ``folder``."""
    return {
        "INTERP_STORE": str(folder / "store"),
        "INTERP_RELEASES": str(releases),
        "INTERP_DATA_WHEELS": str(wheels),
        "INTERP_STUDIES": studies,
    }


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deployed) -> Layout:
    """The ``tiny`` study of a deployment of its own: an empty releases folder and nothing declared."""
    releases = tmp_path / "releases"
    releases.mkdir()
    for name in ("INTERP_DATA_MIRROR", "INTERP_DAGSTER_YAML", "INTERP_PLATFORM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in deployed(tmp_path, tmp_path / "wheels", "tiny", releases).items():
        monkeypatch.setenv(name, value)
    return read_layout()


@pytest.fixture(scope="session")
def fast_folder() -> Iterator[Path]:
    """Temporary folder in memory where there is one: the run history is bound by fsync."""
    with tempfile.TemporaryDirectory(dir=FAST, prefix="interp-test-") as name:
        yield Path(name)


@pytest.fixture
def instance(fast_folder: Path) -> Iterator[dg.DagsterInstance]:
    """Instance with a run history in memory; unlike an ephemeral one it can be handed to schedules and servers.

    It captures no output of steps: Dagster's capture waits for a ``tail`` process, which on a busy machine may never
    see the signal to end.
    """
    silent = {"module": "dagster._core.storage.noop_compute_log_manager", "class": "NoOpComputeLogManager"}
    with (
        tempfile.TemporaryDirectory(dir=fast_folder) as name,
        dg.instance_for_test(temp_dir=name, overrides={"compute_logs": silent}) as found,
    ):
        yield found


@pytest.fixture(scope="module")
def tiny(fast_folder: Path, data_wheels: Path) -> Iterator[Platform]:
    """The ``tiny`` study over the shipped releases, in a store of its own."""
    environment = deployment(fast_folder / "tiny", data_wheels, "tiny", SHIPPED)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("INTERP_DATA_MIRROR", raising=False)
        for name, value in environment.items():
            patch.setenv(name, value)
        yield Platform(read_layout(), environment)

"""`interp store clean` keeps the run history true, and never works beside a run."""

from __future__ import annotations

import os
from pathlib import Path

import dagster as dg
import numpy as np
import pytest
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContextForTest

from interp_assets.cli import main
from interp_assets.cli.store import BUSY, _forgetting, _present
from interp_assets.layout import grid_key
from interp_assets.models.files.checkpoints import file_sha256
from interp_assets.operations.garbage import Removable
from interp_assets.settings import Folders
from interp_assets.storage import canonical_json

GRID = dg.MultiPartitionsDefinition(
    {"release": dg.DynamicPartitionsDefinition(name="release"), "dataset": dg.StaticPartitionsDefinition(["d"])}
)
PART = grid_key(release="gone", dataset="d")


@dg.asset(partitions_def=GRID, code_version="1")
def attention() -> dg.Output[int]:
    return dg.Output(1, data_version=dg.DataVersion("same"))


@dg.asset(partitions_def=GRID, code_version="1")
def read_out(attention: int) -> dg.Output[int]:
    return dg.Output(attention, data_version=dg.DataVersion("also same"))


def stale(instance: dg.DagsterInstance) -> dict[str, StaleStatus]:
    graph = dg.Definitions([attention, read_out]).resolve_asset_graph()
    found = CachingStaleStatusResolver(instance, graph, LoadingContextForTest(instance))
    return {name: found.get_status(dg.AssetKey(name), PART) for name in ("attention", "read_out")}


def test_removed_attention_is_computed_again_and_nothing_made_from_it(tmp_path: Path) -> None:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        instance.add_dynamic_partitions("release", ["gone"])
        dg.materialize([attention, read_out], instance=instance, partition_key=PART)
        assert set(stale(instance).values()) == {StaleStatus.FRESH}
        removed = Removable(
            kind="attention of a release that is gone", path=tmp_path, size=1, why="x", release="gone", dataset="d"
        )
        _forgetting(instance)(removed)
        assert stale(instance)["attention"] is StaleStatus.STALE
        dg.materialize([attention], instance=instance, partition_key=PART)
        assert set(stale(instance).values()) == {StaleStatus.FRESH}


@pytest.fixture
def deployment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store with a leftover, and one complete release."""
    store, release = tmp_path / "store", tmp_path / "releases" / "kept"
    release.mkdir(parents=True)
    np.save(release / "weights.npy", np.zeros(3))
    digest, size = file_sha256(release / "weights.npy"), (release / "weights.npy").stat().st_size
    listed = [{"path": "weights.npy", "size": size, "sha256": digest}]
    manifest = {"name": "kept", "family": "geneformer", "files": listed}
    (release / "release.json").write_text(canonical_json(manifest))
    leftover = store / "tiny" / ".writing-x"
    leftover.parent.mkdir(parents=True)
    leftover.write_text("half a")
    os.utime(leftover, (1, 1))
    monkeypatch.setenv("INTERP_STORE", str(store))
    monkeypatch.setenv("INTERP_RELEASES", str(tmp_path / "releases"))
    monkeypatch.setenv("INTERP_STUDIES", "tiny")
    return tmp_path


def test_the_command_asks_removes_and_waits_for_runs(deployment: Path, capsys: pytest.CaptureFixture[str]) -> None:
    leftover = deployment / "store" / "tiny" / ".writing-x"
    assert main(["store", "clean"]) == 0
    assert "add --yes" in capsys.readouterr().out
    assert main(["store", "clean", "--yes", "--dry-run"]) == 0
    assert leftover.exists()
    home = deployment / "store" / ".dagster"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    with dg.DagsterInstance.from_config(str(home)) as instance:
        run = instance.create_run_for_job(
            dg.Definitions(jobs=[dg.define_asset_job("one", [attention])], assets=[attention]).resolve_job_def("one"),
            status=dg.DagsterRunStatus.STARTED,
        )
        assert main(["store", "clean", "--yes"]) == BUSY
        assert "1 run(s) in progress" in capsys.readouterr().err
        assert leftover.exists()
        instance.report_run_canceled(run)
    assert main(["store", "clean", "--yes"]) == 0
    assert "removed 1" in capsys.readouterr().out
    assert not leftover.exists()


def test_without_a_release_every_release_would_look_gone(
    deployment: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("INTERP_RELEASES", str(deployment / "not mounted"))
    assert main(["store", "clean", "--yes"]) == 2
    assert "is its disk mounted?" in capsys.readouterr().err
    assert (deployment / "store" / "tiny" / ".writing-x").exists()


def test_a_release_that_is_being_copied_is_there_under_its_stated_name(deployment: Path) -> None:
    folder = deployment / "releases" / "download-17"
    folder.mkdir()
    listed = [{"path": "weights.npy", "size": 10, "sha256": "0" * 64}]
    (folder / "release.json").write_text(canonical_json({"name": "coming", "family": "geneformer", "files": listed}))
    assert _present(Folders.from_environment()) == {"kept", "download-17", "coming"}

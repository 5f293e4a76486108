"""The commands around a study whose files come from a server: check, plan, list, unlock, evaluate on request."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pytest
import yaml
from scipy import sparse

from interp_assets.cli import main

_SPEC = importlib.util.spec_from_file_location("file_server", Path(__file__).parent / "cells" / "file_server.py")
assert _SPEC is not None
assert _SPEC.loader is not None


@pytest.fixture(scope="module")
def web() -> ModuleType:
    module = importlib.util.module_from_spec(_SPEC)
    sys.modules[_SPEC.name] = module
    _SPEC.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def screens(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, bytes]:
    """Two small screens in the layout of the scPerturb collection, the second another version of the first."""
    made = []
    for seed in (0, 1):
        rng = np.random.default_rng(seed)
        obs = pd.DataFrame(
            {"perturbation": np.repeat(["control", "TP53", "MYC"], 40), "nperts": np.repeat([0, 1, 1], 40)}
        )
        obs.index = pd.Index([f"cell{i}" for i in range(120)])
        genes = ["TP53", "MYC", *(f"MT-ND{i}" for i in range(1, 7))]
        counts = sparse.csr_matrix(rng.poisson(3.0, size=(120, 8)).astype(np.float32))
        path = tmp_path_factory.mktemp("made") / "screen.h5ad"
        anndata.AnnData(X=counts, obs=obs, var=pd.DataFrame(index=genes)).write_h5ad(path)
        made.append(path.read_bytes())
    return made[0], made[1]


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("store", "releases", "wheels"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(f"INTERP_{'DATA_WHEELS' if name == 'wheels' else name.upper()}", str(tmp_path / name))
    monkeypatch.delenv("INTERP_DATA_MIRROR", raising=False)
    for name in ("INTERP_STUDIES", "INTERP_CONFIG_DIR", "INTERP_OFFLINE"):
        monkeypatch.setenv(name, "")
    for name in ("datasets", "studies"):
        (tmp_path / "config" / name).mkdir(parents=True)
    return tmp_path / "config"


def declared(config: Path, address: str) -> Path:
    document: dict[str, Any] = {
        "id": "served",
        "title": "A served screen",
        "kind": "cells",
        "species": "human",
        "data_origin": "real",
        "licence": "CC0",
        "provenance": {"study": "made in this test"},
        "modality": "crispri",
        "sources": [{"download": {"url": f"{address}/screen.h5ad", "sha256": "on-first-download"}}],
        "cells": {
            "obs": {"perturbation": "perturbation"},
            "control_label": "control",
            "control_cells": 30,
            "keep": {"nperts": {"max": 1}},
        },
        "universe": {"genes": 6},
    }
    study = {
        "title": "Served",
        "on_request": True,
        "published_context": True,
        "primary_reference": "pathway_commons_expression",
        "roles": {"primary_screen": "served"},
    }
    (config / "studies" / "served.yaml").write_text(yaml.safe_dump(study))
    path = config / "datasets" / "served.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


def interp(config: Path, *arguments: str) -> int:
    return main(["--config-dir", str(config), *arguments])


def test_a_served_screen_from_plan_to_unlock(
    web: ModuleType, screens: tuple[bytes, bytes], config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cache = config.parent / "store" / "cells" / ".sources"
    with web.serving(screens[0]) as server:
        file = declared(config, server.address)
        assert interp(config, "studies", "check", str(config / "studies" / "served.yaml")) == 0
        assert interp(config, "studies", "plan", "served", "--json") == 0
        plan = json.loads(capsys.readouterr().out.partition("\n")[2])
        assert [item["state"] for item in plan["files"] if item["file"] == "screen.h5ad"] == ["missing"]
        os.environ["INTERP_STUDIES"] = "served"
        assert interp(config, "datasets", "list") == 0
        assert "absent     served  downloads are switched off" in capsys.readouterr().out
        assert server.requests == []  # nothing so far asked for the file

        server.script = [web.Answer(cut=len(screens[0]) // 2)]
        assert interp(config, "datasets", "check", str(file)) == 0
        told = capsys.readouterr().out
        assert "120 cells (30 control), 6 scored genes" in told
        assert "perturbations: 2 tested" in told
        assert len(server.requests) == 2  # cut once, then the rest
        assert interp(config, "datasets", "list") == 0
        assert "available  served  real  download" in capsys.readouterr().out

        next(cache.glob("*-screen.h5ad")).unlink()
        server.content = screens[1]
        assert interp(config, "datasets", "check", str(file)) == 2
        assert "run `interp datasets unlock served`" in capsys.readouterr().err
        assert not list(cache.glob("*-screen.h5ad*"))
        assert interp(config, "datasets", "unlock", "served") == 0
        assert capsys.readouterr().out == f"unlocked {server.address}/screen.h5ad\n"
        assert interp(config, "datasets", "check", str(file)) == 0
        assert interp(config, "datasets", "unlock", "pathway_commons_expression") == 0
        assert "no file of it is locked" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ([{"page": True}], "answers with a web page"),
        ([{"location": "http://example.org/screen.h5ad"}], "only https is read"),
        ([{"length": False}], "announces no length"),
    ],
)
def test_what_the_server_should_not_send_ends_in_one_line(
    web: ModuleType,
    screens: tuple[bytes, bytes],
    config: Path,
    capsys: pytest.CaptureFixture[str],
    answers: list[dict[str, Any]],
    words: str,
) -> None:
    with web.serving(screens[0]) as server:
        server.script = [web.Answer(**each) for each in answers]
        assert interp(config, "datasets", "check", str(declared(config, server.address))) == 2
    said = capsys.readouterr().err
    assert words in said
    assert len(said.splitlines()) == 1


def test_a_file_that_is_not_there_is_a_reason_and_no_error(
    web: ModuleType, screens: tuple[bytes, bytes], config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with web.serving(screens[0]) as server:
        server.script = [web.Answer(status=404)]
        assert interp(config, "datasets", "check", str(declared(config, server.address))) == 0
    assert "valid, but its data are absent" in capsys.readouterr().out


@pytest.mark.parametrize("study", ["paper", "served"])
def test_evaluate_finds_a_study_on_request(config: Path, capsys: pytest.CaptureFixture[str], study: str) -> None:
    declared(config, "https://example.org")
    assert interp(config, "evaluate", "--study", study) == 2
    assert "no complete release" in capsys.readouterr().err  # past the choice of the study
    os.environ["INTERP_STUDIES"] = ""
    assert interp(config, "evaluate", "--study", "nobody") == 2
    assert "unknown study nobody; known: bench, demo" in capsys.readouterr().err

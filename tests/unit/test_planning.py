"""Plans of studies: offline, honest about what is not known, and with numbers that other sources confirm."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from interp_assets.cells.dataset_records import LOCKED, DownloadSource, MirrorSource
from interp_assets.cells.datasets import load_datasets
from interp_assets.cells.sources import download_path, source_context
from interp_assets.layout import read_layout
from interp_assets.planning import PUBLISHED_SHAPE, Shape, plan, request_study
from interp_assets.planning_terminal import size_words
from interp_assets.settings import Folders, SettingsError, load_study, studies, study_files
from qc_standards.registry import REGISTRY_FOLDER

PROJECT = Path(__file__).resolve().parents[2]
# The command, with every way to the network closed.
OFFLINE = """
import socket, sys
def closed(*_): raise SystemExit("the network was asked for")
socket.socket.connect = socket.create_connection = socket.getaddrinfo = closed
from interp_assets.cli import main
sys.exit(main(sys.argv[1:]))
"""
DOCUMENT = {
    "id": "served",
    "title": "A served file",
    "kind": "cells",
    "species": "human",
    "data_origin": "real",
    "licence": "CC0",
    "provenance": {"study": "made in this test", "url": "https://example.org"},
    "traps": ["none"],
    "modality": "crispri",
    "published": {"modality": "CRISPRa", "disputed": "says who", "cells": 1000, "genes": 10, "dense": True},
    "cells": {"obs": {"perturbation": "perturbation"}, "control_label": "control", "control_cells": 300},
    "universe": {"genes": 50},
}
STUDY = {
    "title": "Mine",
    "primary_reference": "pathway_commons_expression",
    "on_request": True,
    "roles": {"primary_screen": "served", "tissues[1]": "served"},
}


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folders:
    for name in ("INTERP_DATA_MIRROR", "INTERP_DATA_WHEELS"):
        monkeypatch.delenv(name, raising=False)
    for name in ("INTERP_STUDIES", "INTERP_CONFIG_DIR", "INTERP_OFFLINE"):
        monkeypatch.setenv(name, "")
    config = tmp_path / "config"
    for folder in ("datasets", "studies"):
        (config / folder).mkdir(parents=True)
    source = {"url": "https://example.org/served.h5ad", "sha256": LOCKED, "about": 2_000_000}
    document = DOCUMENT | {"sources": [{"download": source}]}
    (config / "datasets" / "served.yaml").write_text(yaml.safe_dump(document))
    (config / "studies" / "mine.yaml").write_text(yaml.safe_dump(STUDY))
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("a plan asks the network for nothing"))
    return Folders(store=tmp_path / "store", releases=tmp_path / "releases", wheels=tmp_path / "wheels", config=config)


def test_the_plan_of_the_paper_runs_in_its_own_process_without_network_or_mirror(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("INTERP_")}
    environment |= {"INTERP_STORE": str(tmp_path / "store"), "COLUMNS": "80"}
    command = [sys.executable, "-c", OFFLINE, "studies", "plan", "paper"]
    told = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    for words in ("Estimates, not measurements", "zenodo.org", "about 471 MB", "(assumed", "crispri", "(disputed)"):
        assert words in told
    assert "all 153 rows have a role here" in told
    assert max(map(len, told.splitlines())) <= 80
    assert not (tmp_path / "store").exists()


def test_every_file_of_the_paper_says_what_is_not_known(folders: Folders) -> None:
    found = plan("paper", folders)
    by_name = {item.file: item for item in found.files}
    essential = by_name["ReplogleWeissman2022_K562_essential.h5ad"]
    assert (essential.size, essential.size_is, essential.state) == (1_546_729_675, "exact", "missing")
    assert essential.hash == "locked on first use"
    assert by_name["tabula_sapiens_immune.h5ad"].datasets == (
        "sapiens_b_cells",
        "sapiens_immune",
        "sapiens_myeloid",
        "sapiens_t_cells",
    )
    assert by_name["dlpfc_11k.h5ad"].state == "to be supplied"
    assert size_words(by_name["dlpfc_11k.h5ad"].size, by_name["dlpfc_11k.h5ad"].size_is) == "not known"
    missing = sum(item.size for item in found.files if item.state == "missing")
    download = next(item for item in found.estimates if item.what == "download")
    assert download.value == pytest.approx(missing / 1e9)
    assert all(item.formula for item in found.estimates)
    assert {row.dataset for row in found.datasets if row.disputed} == {"adamson16_k562", "shifrut18_tcells"}
    assert json.loads(found.as_json())["study"] == "paper"
    again = replace(plan("paper", folders), free_bytes=found.free_bytes)
    assert found.as_json() == again.as_json()


def test_every_dataset_of_the_paper_is_locked_and_read_by_the_published_rules() -> None:
    specs = load_datasets()
    study = load_study(study_files(None)["paper"], frozenset(specs))
    assert (study.published_context, study.on_request) == (True, True)
    for name in study.datasets:
        spec = specs[name]
        source = spec.sources[0]
        assert isinstance(source, DownloadSource | MirrorSource), name
        assert source.sha256 == LOCKED, name
        assert "hash" in spec.provenance, name
        assert "size" in spec.provenance, name
        assert spec.published is not None, name
        assert spec.modality_disputed == (name in ("adamson16_k562", "shifrut18_tcells")), name
    rules = {name: specs[name].differential.log_fold for name in study.datasets if specs[name].modality != "none"}
    assert rules == {
        "replogle22_k562_essential": 0.5,
        "replogle22_rpe1": 0.5,
        "adamson16_k562": 0.5,
        "shifrut18_tcells": 0.1,
        "tian19_neurons": 0.1,
        "dixit16_k562_13d": 0.1,
        "dixit16_k562_7d": 0.1,
    }
    assert {specs[name].cells.control_cells for name in rules} == {2000}
    assert (specs["replogle22_rpe1"].universe.genes, specs["replogle22_rpe1"].universe.forced) == (3309, "perturbed")
    battery = study.battery
    assert (battery.bootstrap, battery.curveball_networks, battery.label_shuffles) == (200, 200, 1000)
    assert {battery.context_bootstrap, battery.tissue_bootstrap, battery.recovery_bootstrap} == {10_000}


def test_the_shape_of_the_published_model_gives_its_published_costs() -> None:
    """Weights against the 316,354,867 of the checkpoint; FLOP against the figures of the extraction prototype."""
    width, vocabulary, positions = PUBLISHED_SHAPE.width, 20_275, 4096
    embeddings = (vocabulary + positions + 2) * width + 2 * width
    per_layer = 9 * width + PUBLISHED_SHAPE.feed_forward  # biases and norms
    head = width**2 + 3 * width + vocabulary
    assert PUBLISHED_SHAPE.weights + embeddings + 18 * per_layer + head == 316_354_867
    assert PUBLISHED_SHAPE.forward() / 1e12 == pytest.approx(3.7, abs=0.05)
    half = Shape(**{name: getattr(PUBLISHED_SHAPE, name) for name in Shape.__slots__} | {"tokens": 2048})
    assert half.forward() / 1e12 == pytest.approx(1.5, abs=0.05)


def test_rows_without_a_role_are_those_of_a_naive_count(folders: Folders) -> None:
    filled = {"primary_screen", "tissues[1]"}
    with (REGISTRY_FOLDER / "tests.csv").open(encoding="utf-8", newline="") as handle:
        wanted = {row["test_id"]: set(row["roles"].split(";")) - {"none", ""} for row in csv.DictReader(handle)}
    lacking = {name: roles - filled for name, roles in wanted.items() if roles - filled}
    found = plan("mine", folders)
    assert {name: set(roles) for name, roles in found.without_role.items()} == lacking
    assert 0 < len(lacking) < found.rows == 153


def test_a_file_moves_from_missing_to_here_and_its_size_to_the_locked_one(folders: Folders) -> None:
    before = next(item for item in plan("mine", folders).files if item.file == "served.h5ad")
    assert (before.state, before.size, before.size_is) == ("missing", 2_000_000, "rough")
    context = source_context(folders.store, wheels=folders.wheels)
    spec = load_datasets(folders.config)["served"]
    context.locks.keep(spec.sources[0].key, "a" * 64, 1234)
    locked = next(item for item in plan("mine", folders).files if item.file == "served.h5ad")
    assert (locked.state, locked.size, locked.hash) == ("missing", 1234, f"locked {'a' * 12}")
    download_path(spec.sources[0], context).write_bytes(b"x")
    here = next(item for item in plan("mine", folders).files if item.file == "served.h5ad")
    assert here.state == "here"


def test_estimates_follow_their_formulas(folders: Folders) -> None:
    config = {"num_hidden_layers": 2, "num_attention_heads": 3, "hidden_size": 8, "intermediate_size": 16}
    folder = folders.releases / "small"
    folder.mkdir(parents=True)
    content = json.dumps(config | {"max_position_embeddings": 10}).encode()
    (folder / "config.json").write_bytes(content)
    listed = {"path": "config.json", "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    manifest = {"name": "small", "family": "geneformer", "adapter": "geneformer", "kind": "release", "files": [listed]}
    (folder / "release.json").write_text(json.dumps(manifest))
    found = plan("mine", folders)
    assert [shape.name for shape in found.releases] == ["small"]
    values = {item.what: item.value for item in found.estimates}
    assert values["small: extraction"] == pytest.approx(600 * 10 * 2 / 1e6)  # 300 cells, and again with random weights
    weights, sums = 2 * (4 * 64 + 2 * 128), 4 * 2 * 3 * 50**2
    flop = 600 * (2 * weights * 10 + 4 * 2 * 100 * 8) * 1.5
    assert values["small: extraction on one core"] == pytest.approx(flop / 1.2e11 / 3600)
    assert values["small: GPU memory"] == pytest.approx((2 * sums + 4 * weights) / 2**30)
    assert found.datasets[0].reading_gib == pytest.approx(1.5 * 4 * 1000 * 10 / 2**30, abs=0.05)


@pytest.mark.parametrize("heads", ["nheads", "nhead"])
def test_a_release_in_scgpt_layout_states_its_shape_elsewhere(folders: Folders, heads: str) -> None:
    folder = folders.releases / "cells"
    folder.mkdir(parents=True)
    told = {"nlayers": 12, heads: 8, "embsize": 512, "d_hid": 256, "max_seq_len": 1200}
    listed = []
    for name, content in (("args.json", told), ("best_model.pt", {})):
        data = json.dumps(content).encode()
        (folder / name).write_bytes(data)
        listed.append({"path": name, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()})
    (folder / "release.json").write_text(json.dumps({"name": "cells", "family": "scgpt", "files": listed}))
    (shape,) = plan("mine", folders).releases
    assert (shape.layers, shape.heads, shape.width, shape.feed_forward, shape.tokens) == (12, 8, 512, 256, 1200)


def test_an_unknown_study_is_refused_by_name(folders: Folders) -> None:
    with pytest.raises(SettingsError, match=r"unknown study nobody; known: .*paper"):
        plan("nobody", folders)


def test_a_study_on_request_joins_only_when_it_is_named(folders: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    assert {"paper", "mine", "tiny"}.isdisjoint(studies(folders.config))
    assert {"demo", "bench"} <= set(studies(folders.config))
    monkeypatch.setenv("INTERP_CONFIG_DIR", str(folders.config))
    request_study("demo")
    assert os.environ["INTERP_STUDIES"] == ""
    request_study("mine")
    assert list(read_layout().studies) == ["mine"]
    request_study("paper")  # what was asked for in the environment stays
    assert os.environ["INTERP_STUDIES"] == "mine"

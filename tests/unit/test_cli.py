"""The `interp` command: what it lists, what it refuses, and with which words."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from interp_assets.cli import main

PROJECT = Path(__file__).resolve().parents[2]
STUDY = """
title: Mine
primary_reference: planted
roles: {primary_screen: planted_tiny}
"""


@pytest.fixture(autouse=True)
def deployment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Empty folders of a deployment; nothing of the caller's environment is seen."""
    for name in ("store", "releases", "wheels", "mirror"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("INTERP_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("INTERP_RELEASES", str(tmp_path / "releases"))
    monkeypatch.setenv("INTERP_DATA_WHEELS", str(tmp_path / "wheels"))
    monkeypatch.setenv("INTERP_DATA_MIRROR", str(tmp_path / "mirror"))
    monkeypatch.setenv("INTERP_CONFIG_DIR", "")  # `--config-dir` sets it; this puts it back
    monkeypatch.delenv("INTERP_STUDIES", raising=False)
    return tmp_path


def written(path: Path, text: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return str(path)


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line a command says when it refuses."""
    assert main(arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("error: ")
    assert len(said.err.splitlines()) == 1
    return said.err


def test_studies_are_listed_with_their_datasets(capsys: pytest.CaptureFixture[str], deployment: Path) -> None:
    written(deployment / "config" / "studies" / "mine.yaml", STUDY)
    assert main(["--config-dir", str(deployment / "config"), "studies", "list"]) == 0
    told = capsys.readouterr().out
    assert "demo: " in told
    assert "  primary_screen: perturbqa_k562 (partial)" in told
    assert "mine: Mine\n  primary_screen: planted_tiny (full)" in told


def test_a_good_study_is_called_valid(capsys: pytest.CaptureFixture[str], deployment: Path) -> None:
    file = written(deployment / "mine.yaml", STUDY)
    assert main(["studies", "check", file]) == 0
    assert capsys.readouterr().out == f"{file}: valid; 1 roles, 1 datasets\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (STUDY.replace("planted_tiny", "nowhere"), ["`primary_screen`", "`nowhere`"]),
        (STUDY.replace("planted\n", "hearsay\n"), ["`references`", "hearsay"]),
        (STUDY.replace("title: Mine", ""), ["`title`"]),
        (STUDY + "battery: {bootstrap: many}\n", ["battery.bootstrap", "'many'"]),
        ("roles: [\nbroken: {", ["cannot be read as YAML"]),
    ],
    ids=["unknown dataset", "unknown reference", "no title", "wrong type", "no yaml"],
)
def test_a_bad_study_is_refused_in_one_line(capsys, deployment: Path, text: str, words: list[str]) -> None:
    file = written(deployment / "mine.yaml", text)
    told = refused(capsys, "studies", "check", file)
    assert all(word in told for word in [file, *words])


def test_an_absent_study_file_is_refused(capsys, deployment: Path) -> None:
    assert str(deployment / "no.yaml") in refused(capsys, "studies", "check", str(deployment / "no.yaml"))


def test_an_unknown_study_is_not_evaluated(capsys) -> None:
    assert "unknown study nowhere; known: " in refused(capsys, "evaluate", "--study", "nowhere")


def test_nothing_to_evaluate_is_said(capsys, deployment: Path) -> None:
    assert f"no complete release in {deployment / 'releases'}" in refused(capsys, "evaluate", "--study", "demo")


def toy(**changes: Any) -> dict[str, Any]:
    """Declaration of a small screen with cells, changed by dotted key; None removes the key."""
    document: dict[str, Any] = {
        "id": "toy",
        "title": "Toy screen",
        "kind": "cells",
        "species": "human",
        "data_origin": "simulated",
        "licence": "CC0",
        "provenance": {"study": "made in this test"},
        "sources": [{"mirror": {"path": "toy.h5ad", "size": 1, "sha256": "0" * 64}}],
        "cells": {"obs": {"perturbation": "guide"}, "control_label": "NT"},
        "universe": {"genes": 5},
    }
    for key, value in changes.items():
        *parents, last = key.split(".")
        target = document
        for parent in parents:
            target = target[parent]
        target[last] = value
    return document


def counts() -> np.ndarray:
    return np.random.default_rng(0).poisson(2.0, size=(30, 8)).astype(np.float32)


@pytest.fixture
def declared(deployment: Path):
    """Writes the matrix into the mirror and its declaration, with the right hash, into a file."""

    def write(matrix: np.ndarray, keep: int | None = None, **changes: Any) -> str:
        import anndata

        file = deployment / "mirror" / "toy.h5ad"
        data = anndata.AnnData(
            X=matrix,
            obs=pd.DataFrame({"guide": ["NT", "G1", "G2"] * 10}, index=[f"cell{i}" for i in range(30)]),
            var=pd.DataFrame(index=[f"G{i}" for i in range(8)]),
        )
        data.write_h5ad(file)
        content = file.read_bytes()
        source = {"path": file.name, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        if keep is not None:
            file.write_bytes(content[:keep])
        return written(deployment / "toy.yaml", yaml.safe_dump(toy(sources=[{"mirror": source}], **changes)))

    return write


def test_a_good_dataset_is_prepared_and_described(capsys, declared) -> None:
    file = declared(counts(), differential={"min_cells": 10}, modality="crispri")
    assert main(["datasets", "check", file]) == 0
    told = capsys.readouterr().out
    assert told.startswith(f"{file}: valid; 30 cells (10 control), 5 scored genes, cells hash ")
    assert told.endswith("; perturbations: 2 tested\n")


def test_outcomes_that_cannot_be_tested_are_refused_by_the_check(capsys, declared) -> None:
    told = refused(capsys, "datasets", "check", declared(counts(), modality="crispri"))
    assert "no perturbation has 30 cells" in told
    assert "`differential.min_cells`" in told


def test_a_screen_of_genes_says_how_they_were_perturbed(capsys, deployment: Path, declared) -> None:
    told = refused(capsys, "datasets", "check", declared(counts(), differential={"min_cells": 10}))
    assert f"{deployment / 'toy.yaml'}: key `modality`: is 'none'" in told
    assert "crispri, crispra, crisprko" in told


def test_the_rows_of_a_network_are_read_by_the_check(capsys, deployment: Path) -> None:
    content = b"tf\ttarget\nA\tB\nA\tC\n"
    (deployment / "mirror" / "net.tsv").write_bytes(content)
    source = {"path": "net.tsv", "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    document = toy(kind="network", sources=[{"mirror": source}], network={"format": "tsv"})
    for section in ("cells", "universe"):
        del document[section]
    file = written(deployment / "toy.yaml", yaml.safe_dump(document))
    assert main(["datasets", "check", file]) == 0
    assert capsys.readouterr().out == f"{file}: valid; file verified, 2 pairs\n"
    written(deployment / "toy.yaml", yaml.safe_dump(document | {"network": {"format": "tsv", "source": "regulator"}}))
    assert "no column 'regulator' (key `network.source`" in refused(capsys, "datasets", "check", file)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (
            "roles: {primary_screen: trrust_human}",
            "`roles.primary_screen` names trrust_human, which is of kind network",
        ),
        ("references: [planted, planted_tiny]", "`references` names planted_tiny, which is of kind planted"),
        ("tf_catalogue: trrust_human", "`tf_catalogue` names trrust_human"),
        ("vocabularies: [tf_list_human_lambert]", "a dataset of kind vocabulary can stand there"),
        ("layer_reference: planted_tiny", "a dataset of kind network or gene_sets can stand there"),
    ],
)
def test_a_dataset_of_another_kind_is_refused_where_it_is_named(capsys, deployment: Path, more: str, said: str) -> None:
    text = yaml.safe_dump(yaml.safe_load(STUDY) | yaml.safe_load(more))
    file = written(deployment / "config" / "studies" / "mine.yaml", text)
    for command in (["studies", "check", file], ["evaluate", "--study", "mine"]):
        told = refused(capsys, "--config-dir", str(deployment / "config"), *command)
        assert f"{file}: " in told
        assert said in told


def test_a_log_normalised_matrix_is_refused(capsys, deployment: Path, declared) -> None:
    told = refused(capsys, "datasets", "check", declared(np.log1p(counts())))
    assert str(deployment / "mirror" / "toy.h5ad") in told
    assert "`cells.counts` of toy.yaml" in told
    assert "looks log-normalised" in told


def test_a_missing_control_label_is_refused_with_the_labels_there_are(capsys, deployment: Path, declared) -> None:
    file = declared(counts(), cells={"obs": {"perturbation": "guide"}, "control_label": "safe"})
    told = refused(capsys, "datasets", "check", file)
    assert "`cells.control_label` of toy.yaml" in told
    assert "no cell is labelled 'safe'; labels: G1, G2, NT" in told


def test_a_truncated_file_is_refused(capsys, deployment: Path, declared) -> None:
    told = refused(capsys, "datasets", "check", declared(counts(), keep=1000))
    assert str(deployment / "mirror" / "toy.h5ad") in told
    assert "truncated, 1,000 of " in told
    assert "dataset toy" in told


def test_a_malformed_dataset_is_refused_with_its_key(capsys, deployment: Path) -> None:
    file = written(deployment / "toy.yaml", yaml.safe_dump(toy(species="yeast")))
    told = refused(capsys, "datasets", "check", file)
    assert file in told
    assert "`species`" in told


def test_a_dataset_on_unknown_cells_is_refused(capsys, deployment: Path) -> None:
    shipped = (PROJECT / "interp_assets" / "datasets" / "planted_tiny.yaml").read_text(encoding="utf-8")
    file = written(deployment / "planted_tiny.yaml", shipped.replace("baron_pancreas_human_sample", "nowhere"))
    told = refused(capsys, "datasets", "check", file)
    assert f"{file}: key `base`" in told
    assert "'nowhere'" in told


def test_absent_data_are_no_error(capsys, deployment: Path) -> None:
    file = written(deployment / "toy.yaml", yaml.safe_dump(toy()))
    assert main(["datasets", "check", file]) == 0
    assert "valid, but its data are absent: the data mirror has no toy.h5ad" in capsys.readouterr().out


def test_datasets_are_listed_with_where_they_are(capsys, deployment: Path, declared) -> None:
    declared(counts())
    folder = deployment / "config" / "datasets"
    folder.mkdir(parents=True)
    shutil.copy(deployment / "toy.yaml", folder)
    assert main(["--config-dir", str(deployment / "config"), "datasets", "list"]) == 0
    lines = {line.split()[1]: line for line in capsys.readouterr().out.splitlines()}
    assert lines["toy"].startswith("available  toy  simulated  mirror")
    assert lines["planted_tiny"].startswith("derived    planted_tiny  semi_synthetic")
    assert lines["perturbqa_k562"].startswith("absent     perturbqa_k562  the data mirror has no perturb/")


@pytest.fixture
def shipped() -> Path:
    return sorted(path.parent for path in (PROJECT / "releases").glob("*/release.json"))[0]


def test_releases_are_listed_by_state(capsys, deployment: Path, shipped: Path) -> None:
    assert main(["releases", "list"]) == 0
    assert "no release folders in" in capsys.readouterr().out
    folder = deployment / "releases"
    shutil.copytree(shipped, folder / shipped.name)
    shutil.copytree(shipped, folder / "damaged")
    with (folder / "damaged" / "config.json").open("a") as file:
        file.write(" ")
    (folder / "arriving").mkdir()
    assert main(["releases", "list"]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split() == ["state", "name", "family", "size", "kind", "gap", "id"]
    rows = {line.split()[1]: line.split() for line in lines}
    states = {name: row[0] for name, row in rows.items()}
    assert states == {shipped.name: "complete", "damaged": "refused", "arriving": "incoming"}
    size = sum(path.stat().st_size for path in shipped.iterdir() if path.name != "release.json")
    assert rows[shipped.name][2:5] == ["geneformer", f"{size / 1e6:.1f}", "MB"]
    assert rows[shipped.name][5] == "release"
    assert rows[shipped.name][6].startswith("+")


def test_a_release_is_verified_or_refused_with_the_file(capsys, deployment: Path, shipped: Path) -> None:
    assert main(["releases", "verify", str(shipped)]) == 0
    assert capsys.readouterr().out.startswith(f"verified  {shipped.name}: geneformer, 4 files, 8 layers x 8 heads")
    copy = deployment / "copy"
    shutil.copytree(shipped, copy)
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    assert main(["releases", "verify", str(copy)]) == 1
    assert str(weights) in capsys.readouterr().out
    (copy / "release.json").write_text("{", encoding="utf-8")
    assert main(["releases", "verify", str(copy)]) == 1
    assert str(copy / "release.json") in capsys.readouterr().out
    assert "no release of this name" in refused(capsys, "releases", "verify", "nowhere")


def test_all_releases_are_verified_and_one_refusal_decides_the_exit_code(capsys, deployment, shipped) -> None:
    folder = deployment / "releases"
    assert main(["releases", "verify"]) == 0
    assert "no release folders" in capsys.readouterr().out
    shutil.copytree(shipped, folder / shipped.name)
    (folder / "arriving").mkdir()
    assert main(["releases", "verify"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["verified", "incoming"]
    shutil.copytree(shipped, folder / "pointer")
    (folder / "pointer" / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\n")
    assert main(["releases", "verify"]) == 1
    told = capsys.readouterr().out
    assert "refused  pointer: " in told
    assert "git lfs pull" in told


def test_files_that_do_not_belong_together_fail_the_verification(capsys, deployment: Path, shipped: Path) -> None:
    """Every hash is right, and yet the weights are those of another vocabulary."""
    import json

    copy = deployment / "releases" / "mixed"
    shutil.copytree(shipped, copy)
    tokens = json.loads((copy / "token_dictionary.json").read_text())
    (copy / "token_dictionary.json").write_text(json.dumps(dict(list(tokens.items())[:-1])))
    manifest = json.loads((copy / "release.json").read_text())
    for entry in manifest["files"]:
        content = (copy / entry["path"]).read_bytes()
        entry |= {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (copy / "release.json").write_text(json.dumps(manifest))
    assert main(["releases", "verify", "mixed"]) == 1
    assert "embeds 2048 tokens, but the token dictionary has 2047 entries" in capsys.readouterr().out


def test_a_release_is_described_by_name_or_path(capsys, deployment: Path, shipped: Path) -> None:
    import json

    assert main(["releases", "describe", str(shipped), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["shape"]["layers"], found["shape"]["heads"], found["shape"]["width"]) == (8, 8, 128)
    assert (found["gene_key"], found["shape"]["direction"], found["shape"]["dtype"]) == (
        "symbol",
        "bidirectional",
        "float32",
    )
    assert {file["path"]: file["size"] for file in found["files"]} == {
        path.name: path.stat().st_size for path in shipped.iterdir() if path.name != "release.json"
    }
    shutil.copytree(shipped, deployment / "releases" / shipped.name)
    assert main(["releases", "describe", shipped.name]) == 0
    told = capsys.readouterr().out
    assert "layers x heads   8 x 8\n" in told
    assert f"id               {found['release_id']}\n" in told
    assert "no release of this name" in refused(capsys, "releases", "describe", "nowhere")


def test_a_release_is_added_once_and_the_next_command_is_told(capsys, deployment: Path, shipped: Path) -> None:
    assert main(["releases", "add", str(shipped), "--name", "mine", "--fact", "note=from a disk"]) == 0
    told = capsys.readouterr().out
    assert told.startswith("mine: geneformer, 8 layers x 8 heads, width 128, 2,048 tokens, up to 258 a cell, ")
    assert told.endswith("next: interp evaluate --study demo --release mine\n")
    assert '"note": "from a disk"' in (deployment / "releases" / "mine" / "release.json").read_text()
    assert main(["releases", "add", str(shipped)]) == 0
    assert "the same files are there already as release mine; nothing was copied" in capsys.readouterr().out
    assert [path.name for path in (deployment / "releases").iterdir()] == ["mine"]
    assert main(["releases", "verify", "mine"]) == 0


def test_what_cannot_be_added_is_refused_in_one_line(capsys, deployment: Path, shipped: Path) -> None:
    assert "no such file or folder" in refused(capsys, "releases", "add", str(deployment / "nowhere"))
    (deployment / "some").mkdir()
    assert "no family is recognised" in refused(capsys, "releases", "add", str(deployment / "some"))
    assert "kept for the platform's own controls" in refused(
        capsys, "releases", "add", str(shipped), "--name", "control-planted"
    )
    assert "write KEY=VALUE" in refused(capsys, "releases", "add", str(shipped), "--fact", "files=[]")


def test_the_doctor_says_what_is_missing(capsys, deployment: Path) -> None:
    assert main(["doctor"]) == 0
    told = capsys.readouterr().out
    assert f"none in {deployment / 'wheels'}" in told
    assert f"0 complete in {deployment / 'releases'}" in told


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom interp_assets.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'dagster', 'torch', 'numpy', 'pandas', 'scanpy', 'anndata', 'rich'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=PROJECT)
    assert done.returncode == 0, done.stderr
    assert "evaluate" in done.stdout

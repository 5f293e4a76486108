"""What a person edits or brings reaches the results: files, declarations and studies, and nothing else is run again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anndata
import dagster as dg
import numpy as np
import pandas as pd
import pytest
import yaml

from interp_assets.definitions import build_definitions
from interp_assets.evaluate import EvaluationError, Evaluator
from interp_assets.io_managers import read_records
from interp_assets.layout import read_layout
from interp_assets.settings import _studies
from interp_assets.stages import stages

GENES = [f"G{number}" for number in range(12)]
ABOUT = {"species": "human", "data_origin": "simulated", "licence": "CC0", "provenance": {"study": "this test"}}
Steps = set[tuple[str, str | None]]


class Deployment:
    """A folder with one study, its datasets and their files; `run` brings the dataset level up to date."""

    def __init__(self, home: Path, instance: dg.DagsterInstance) -> None:
        self.home = home
        self.instance = instance
        for name in ("mirror", "config/datasets", "config/studies"):
            (home / name).mkdir(parents=True)
        cells = np.random.default_rng(0).poisson(3.0, size=(60, len(GENES))).astype(np.float32)
        obs = pd.DataFrame({"guide": np.repeat(["NT", "G1", "G2"], 20)}, index=[f"c{i}" for i in range(60)])
        anndata.AnnData(cells, obs=obs, var=pd.DataFrame(index=GENES)).write_h5ad(home / "mirror" / "cells")
        self.screen(differential={"min_cells": 20})
        self.network("first", GENES[:4])
        self.pairs(GENES[:3])
        self.study(references=["first"])

    def dataset(self, name: str, kind: str, file: str, **sections: Any) -> None:
        content = (self.home / "mirror" / file).read_bytes()
        source = {"path": file, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        document = {"id": name, "title": name, "kind": kind, **ABOUT, "sources": [{"mirror": source}], **sections}
        (self.home / "config" / "datasets" / f"{name}.yaml").write_text(yaml.safe_dump(document))

    def screen(self, **sections: Any) -> None:
        form = {"obs": {"perturbation": "guide"}, "control_label": "NT"}
        self.dataset("screen", "cells", "cells", cells=form, universe={"genes": 50}, modality="crispri", **sections)

    def network(self, name: str, regulators: list[str]) -> None:
        rows = [f"{tf}\t{target}" for tf in regulators for target in GENES if tf != target]
        (self.home / "mirror" / name).write_text("\n".join(["tf\ttarget", *rows]) + "\n")
        self.dataset(name, "network", name, network={"format": "tsv"})

    def pairs(self, perturbed: list[str]) -> None:
        rows = [f"{p}\t{g}\t{int(g > p)}" for p in perturbed for g in GENES if p != g]
        (self.home / "mirror" / "pairs").write_text("\n".join(["p\tg\tl", *rows]) + "\n")
        outcomes = {"perturbation": "p", "gene": "g", "label": "l"}
        further = {"base": "screen", "context_mismatch": "none in truth", "universe": {"genes": 50}}
        self.dataset("table", "outcome_only", "pairs", outcomes=outcomes, modality="crispri", **further)

    def study(self, **changes: Any) -> None:
        roles = {"primary_screen": "screen", "second_screen": "table"}
        document = {"title": "Mine", "roles": roles, "primary_reference": "first"}
        document |= {"compared_screens": ["second_screen"], **changes}
        (self.home / "config" / "studies" / "mine.yaml").write_text(yaml.safe_dump(document))

    def run(self) -> Steps:
        """Steps that were run until the inputs of the study are fresh."""
        _studies.cache_clear()  # every command is a process of its own
        layout = read_layout()
        evaluator = Evaluator(build_definitions(layout), layout, self.instance)
        for stage in stages(layout, [], "mine", []):
            if stage.title.startswith("release"):
                break
            evaluator._run(stage)
        return set(evaluator.progress.steps)

    def records(self, dataset: str, name: str) -> Any:
        return read_records(self.home / "store" / "cells" / dataset / name)


@pytest.fixture
def mine(tmp_path: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployment]:
    monkeypatch.setenv("INTERP_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("INTERP_RELEASES", str(tmp_path / "releases"))
    monkeypatch.setenv("INTERP_DATA_MIRROR", str(tmp_path / "mirror"))
    monkeypatch.setenv("INTERP_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setenv("INTERP_STUDIES", "mine")
    deployment = Deployment(tmp_path, instance)
    assert deployment.run()
    assert deployment.run() == set()
    yield deployment


def test_a_new_outcome_table_over_the_same_cells_gives_new_labels(mine: Deployment) -> None:
    before = len(mine.records("table", "de_labels")["labels"].perturbations)
    mine.pairs(GENES[:5])
    steps = mine.run()
    assert (before, len(mine.records("table", "de_labels")["labels"].perturbations)) == (3, 5)
    assert {name for _, name in steps} == {"table", "mine"}
    assert ("screen_inputs", "mine") in steps
    assert mine.run() == set()


def test_a_rule_edited_in_the_declaration_gives_new_labels(mine: Deployment) -> None:
    mine.screen(differential={"min_cells": 20, "q": 0.9, "log_fold": 0.0})
    assert ("de_labels", "screen") in mine.run()
    assert mine.records("screen", "de_labels")["labels"].facts["rule"]["q"] == 0.9


def test_a_reference_added_to_the_study_is_read_and_a_removed_one_is_gone(mine: Deployment) -> None:
    mine.network("more", GENES[4:8])
    mine.study(references=["first", "more"])
    steps = mine.run()
    assert set(mine.records("screen", "references")) == {"first", "more"}
    assert not {step for step, _ in steps} & {"cells", "de_labels", "correlation"}
    mine.study(references=["first"])
    mine.run()
    assert set(mine.records("screen", "references")) == {"first"}
    mine.study(references=["first", "more"])
    assert ("references", "screen") in mine.run()
    assert set(mine.records("screen", "references")) == {"first", "more"}


def test_a_catalogue_added_to_the_study_marks_the_genes(mine: Deployment) -> None:
    (mine.home / "mirror" / "tfs").write_text("\n".join(GENES[:5]) + "\n")
    mine.dataset("tfs", "gene_list", "tfs")
    mine.study(references=["first"], tf_catalogue="tfs")
    mine.run()
    assert mine.records("screen", "gene_features")["features"].table["is_tf"].sum() == 5


def test_a_screen_that_tests_read_from_now_on_has_its_control_looked_at_again(mine: Deployment) -> None:
    """The positive control is not built for a screen that is only compared; that must not stay so."""
    before = attention_version()
    mine.study(roles={"primary_screen": "table", "second_screen": "screen"}, references=["first"])
    assert attention_version() != before


def attention_version() -> str | None:
    _studies.cache_clear()
    graph = build_definitions(read_layout()).resolve_asset_graph()
    return graph.get(dg.AssetKey("attention")).code_version


def test_settings_of_the_study_reach_what_its_analyses_read(mine: Deployment) -> None:
    mine.study(references=["first"], battery={"bootstrap": 77})
    steps = mine.run()
    assert steps == {(f"{use}_inputs", "mine") for use in ("study", "sample", "screen", "layer")}
    assert '"bootstrap": 77' in (mine.home / "store" / "studies" / "mine" / "study_inputs.json").read_text()


def test_a_file_that_is_gone_since_stops_what_would_read_it_and_spoils_nothing(mine: Deployment) -> None:
    place, away = mine.home / "mirror" / "first", mine.home / "first"
    place.rename(away)
    assert mine.run() == set()
    mine.network("more", GENES[4:8])
    mine.study(references=["first", "more"])
    with pytest.raises(EvaluationError, match="its file was here before and is not now"):
        mine.run()
    assert set(mine.records("screen", "references")) == {"first"}
    away.rename(place)
    mine.run()
    assert set(mine.records("screen", "references")) == {"first", "more"}


@pytest.mark.parametrize("file", ["pairs", "more"])
def test_a_file_that_was_absent_is_read_once_it_is_there(mine: Deployment, file: str) -> None:
    mine.network("more", GENES[4:8])
    mine.pairs(GENES[:5])
    mine.study(references=["first", "more"])
    place, away = mine.home / "mirror" / file, mine.home / file
    place.rename(away)
    mine.run()
    assert mine.run() == set()
    away.rename(place)
    assert mine.run()
    assert set(mine.records("screen", "references")) == {"first", "more"}
    assert len(mine.records("table", "de_labels")["labels"].perturbations) == 5
    assert mine.run() == set()

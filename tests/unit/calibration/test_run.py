from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from interp_assets.calibration import run
from interp_assets.calibration.catalogue import Block, World
from interp_assets.calibration.design import TINY
from interp_assets.calibration.judging import Finding
from qc_standards.records import Outcome


@pytest.fixture
def made(monkeypatch) -> list[tuple[str, int]]:
    """Two blocks whose only world answers at once; which (block, seed) were really made."""
    drawn: list[tuple[str, int]] = []

    def answer(screen, design) -> Finding:
        return Finding(
            criteria={"a": Outcome.FAIL, "d": Outcome.PASS},
            reasons={"a": "no", "d": "yes"},
            parts={"a/mean": (Outcome.FAIL, -0.1), "c/degree": (Outcome.NOT_EVALUABLE, None)},
            p={"A19.2": 0.25 + screen.seed / 100, "A16.2": None},
            facts={"perturbations": 40.0},
        )

    blocks = tuple(
        Block(
            name=name,
            worlds=(World(name=f"world of {name}", title="t", what="w", run=answer, noise="pure"),),
            seeds=seeds,
            off_network=share,
        )
        for name, seeds, share in (("first", "noise", 0.02), ("second", "power", 0.35))
    )

    def draw(material, design, seed, off_network):
        drawn.append(({0.02: "first", 0.35: "second"}[off_network], seed))
        labels = SimpleNamespace(facts={"positive_rate": 0.03, "positives_with_edge": None})
        return SimpleNamespace(seed=seed, artefacts=SimpleNamespace(labels=labels))

    monkeypatch.setattr(run, "BLOCKS", blocks)
    monkeypatch.setattr(run, "draw_screen", draw)
    monkeypatch.setattr(run, "load_material", lambda wheels, design: None)
    return drawn


def calibrate(folder: Path, noise: int, power: int) -> None:
    run.calibrate(folder, TINY, {"noise": noise, "power": power, "matched": 0}, Path("wheels"), progress=False)


def test_a_stopped_run_goes_on_where_it_was(tmp_path, made):
    calibrate(tmp_path, 2, 1)
    assert made == [("first", 0), ("first", 1), ("second", 0)]
    made.clear()
    run.Task("first", 1).path(tmp_path).unlink()
    calibrate(tmp_path, 3, 1)
    assert made == [("first", 1), ("first", 2)]
    made.clear()
    calibrate(tmp_path, 3, 1)
    assert made == []


def test_what_is_stored_is_what_was_found(tmp_path, made):
    calibrate(tmp_path, 1, 0)
    table = pd.read_parquet(run.Task("first", 0).path(tmp_path)).set_index(["kind", "name"])
    assert table.loc[("criterion", "a"), "outcome"] == "fail"
    assert table.loc[("criterion", "d"), "reason"] == "yes"
    assert table.loc[("part", "a/mean"), "value"] == -0.1
    assert pd.isna(table.loc[("part", "c/degree"), "value"])
    assert table.loc[("test", "A19.2"), "value"] == 0.25
    assert pd.isna(table.loc[("test", "A16.2"), "value"])
    assert table.loc[("fact", "positive_rate"), "value"] == 0.03
    assert ("fact", "positives_with_edge") not in table.index


def test_seeds_behind_a_gap_do_not_count(tmp_path, made):
    calibrate(tmp_path, 4, 2)
    run.Task("first", 2).path(tmp_path).unlink()
    assert run.stored_seeds(tmp_path, run.BLOCKS) == {"first": 2, "second": 2}


def test_an_empty_folder_has_no_results(tmp_path):
    with pytest.raises(FileNotFoundError, match="run the calibration first"):
        run.read_results(tmp_path)


def test_another_design_has_another_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(run, "code_version", lambda *sources: "this")
    here = run.results_folder(tmp_path, TINY)
    assert here == run.results_folder(tmp_path, replace(TINY))
    assert here != run.results_folder(tmp_path, replace(TINY, perturbations=25))
    assert here != run.results_folder(tmp_path, replace(TINY, battery=replace(TINY.battery, bootstrap=41)))


def test_other_code_has_another_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(run, "code_version", lambda *sources: "this")
    here = run.results_folder(tmp_path, TINY)
    monkeypatch.setattr(run, "code_version", lambda *sources: "other")
    assert here != run.results_folder(tmp_path, TINY)


def test_a_design_can_travel_to_another_process_and_stays_the_same():
    travelled = pickle.loads(pickle.dumps(TINY.portable()))
    assert travelled.as_mapping() == TINY.as_mapping()


def test_an_unknown_design_is_named(tmp_path):
    with pytest.raises(ValueError, match="unknown design huge; known: small, tiny"):
        run.design_named("huge")

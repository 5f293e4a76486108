"""Simulated trajectories: declared, drawn, and true to what was asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from interp_assets.cells import artefacts
from interp_assets.cells.artefacts import Archive
from interp_assets.cells.datasets import load_datasets
from interp_assets.cells.declared import DeclarationError
from interp_assets.cells.outcomes import no_outcomes
from interp_assets.cells.prepare import prepare
from interp_assets.cells.read_cells import CellsError
from interp_assets.cells.records import Unavailable
from interp_assets.cells.simulated_trajectory import (
    TRUTH,
    TrajectoryParams,
    simulate,
    simulated_pairs,
    simulated_reference,
    trajectory_params,
)
from interp_assets.cells.sources import SourceContext

NETWORK = pd.DataFrame({"tf": [f"T{i // 3:03d}" for i in range(300)], "target": [f"Y{i:03d}" for i in range(300)]})


def declared_trajectory(**changes: Any) -> dict[str, Any]:
    spec = load_datasets()["simulated_trajectory_1"]
    return yaml.safe_load(spec.file.read_text(encoding="utf-8")) | {"id": "line"} | changes


@pytest.fixture
def spec(declare):
    return declare(declared_trajectory(simulated={"seed": 4, "pairs": 20, "background": 120, "leading_share": 0.3}))


def test_the_shipped_ones_differ_in_how_many_regulators_lead():
    shipped = [spec for spec in load_datasets().values() if spec.kind == "simulated"]
    assert [trajectory_params(spec).leading_share for spec in shipped] == [0.5, 0.25, 0.0]
    assert {spec.data_origin for spec in shipped} == {"simulated"}
    assert len({spec.fingerprint() for spec in shipped}) == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data_origin": "real"}, r"line.yaml: key `data_origin`: is 'real'; a simulated trajectory is simulated"),
        ({"simulated": None}, r"line.yaml: key `simulated`: is missing"),
        ({"network": None}, r"line.yaml: key `network`: is missing"),
        ({"universe": {"genes": 5}}, r"line.yaml: key `universe`: is not known here"),
    ],
)
def test_declarations_are_checked(declare, changes, message):
    with pytest.raises(DeclarationError, match=message):
        declare(declared_trajectory(**changes))


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"colour": 1}, r"line.yaml: key `simulated.colour`: is not known here; known keys: seed, cells"),
        ({"cells": 3}, r"line.yaml: key `simulated`: cells = 3; a whole number of at least 20"),
        ({"pairs": 2.5}, "pairs = 2.5"),
        ({"leading_share": 1.5}, "leading_share = 1.5 is out of range"),
        ({"lag": 0.7}, "lag = 0.7 is out of range"),
        ({"dispersion": 0}, "dispersion = 0 must be above 0"),
        ({"smoothness": "wide"}, "key `simulated`"),
    ],
)
def test_a_wrong_knob_is_named(declare, knobs, message):
    with pytest.raises(DeclarationError, match=message):
        trajectory_params(declare(declared_trajectory(simulated=knobs)))


def test_the_network_must_be_one(tmp_path, declare):
    declare(declared_trajectory(network="baron_pancreas_human"))
    with pytest.raises(DeclarationError, match="'baron_pancreas_human' is of kind cells; it must be of kind network"):
        load_datasets(tmp_path)


def test_pairs_share_no_gene_and_lead_as_often_as_asked():
    found = simulated_pairs(NETWORK, TrajectoryParams(pairs=20, leading_share=0.3, lag=0.1, seed=2))
    genes = found[["tf", "target"]].to_numpy().ravel()
    assert len(set(genes)) == 40
    assert found["lag"].tolist().count(0.1) == 6
    assert set(found["direction"]) == {1, -1}
    known = set(zip(NETWORK["tf"], NETWORK["target"], strict=True))
    assert set(zip(found["tf"], found["target"], strict=True)) <= known


def test_stated_directions_are_kept():
    stated = NETWORK.assign(direction=np.resize([1, -1, 0, 2], len(NETWORK)))
    found = simulated_pairs(stated, TrajectoryParams(pairs=20)).merge(stated, on=["tf", "target"])
    assert (found["direction_x"] == found["direction_y"]).all()


def test_too_small_a_network_is_refused(spec):
    with pytest.raises(ValueError, match="pairs = 24, but the network has 3"):
        simulated_pairs(NETWORK.head(9), TrajectoryParams())
    with pytest.raises(ValueError, match="background = 120, but the network has"):
        simulate(spec, NETWORK.head(100))


def test_cells_are_raw_counts_with_their_truth(spec):
    cells = simulate(spec, NETWORK)
    assert cells.counts.shape == (600, 160)
    assert cells.counts.dtype == np.int32
    assert cells.control.all()
    assert cells.universe.tolist() == cells.genes.tolist()
    assert len(set(cells.genes)) == 160
    time = cells.obs[TRUTH].to_numpy()
    assert sorted(time) == pytest.approx((np.arange(600) + 0.5) / 600)
    assert ((cells.obs["early"] == "yes").to_numpy() == (time < 0.1)).all()
    assert no_outcomes(cells).perturbations.size == 0
    again = simulate(spec, NETWORK)
    assert (again.counts != cells.counts).nnz == 0
    assert again.cells_hash == cells.cells_hash


def test_targets_follow_at_the_planted_delay_with_the_planted_sign(spec):
    cells, pairs = simulate(spec, NETWORK), simulated_pairs(NETWORK, trajectory_params(spec))
    order = np.argsort(cells.obs[TRUTH].to_numpy())
    log = cells.log.toarray()[order]
    place = {gene: at for at, gene in enumerate(cells.genes)}
    delays = np.arange(-60, 61, 3)
    for pair in pairs.itertuples():
        one, other = (log[:, place[gene]] for gene in (pair.tf, pair.target))
        found = [np.corrcoef(one[60:540], other[60 + d : 540 + d])[0, 1] * pair.direction for d in delays]
        assert delays[int(np.argmax(found))] == pytest.approx(pair.lag * 600, abs=15)
        assert max(found) > 0.4


def test_the_reference_holds_signs_and_no_lags(spec):
    cells, pairs = simulate(spec, NETWORK), simulated_pairs(NETWORK, trajectory_params(spec))
    found = simulated_reference(spec, NETWORK, cells.universe, "planted")
    told = {
        (str(found.genes[s]), str(found.genes[t])): int(d)
        for s, t, d in zip(found.source, found.target, found.direction, strict=True)
    }
    assert told == {(p.tf, p.target): p.direction for p in pairs.itertuples()}
    assert found.directed


def test_it_goes_through_the_artefacts_of_a_dataset(spec, monkeypatch, tmp_path):
    archive = Archive(datasets={spec.id: spec}, context=SourceContext(mirror=None, wheels=tmp_path, cache=tmp_path))
    monkeypatch.setattr(Archive, "pairs", lambda self, name: NETWORK)
    cells = artefacts.prepared_cells(archive, spec.id)
    labels = artefacts.screen_outcomes(archive, spec.id, cells)
    assert (labels.kind, labels.data_origin) == ("none", "simulated")
    found = artefacts.reference_networks(archive, ("planted",), cells, labels)
    assert found["planted"].source.size == 20
    monkeypatch.setattr(Archive, "pairs", lambda self, name: Unavailable(name, "no file"))
    gone = artefacts.prepared_cells(archive, spec.id)
    assert gone == Unavailable(spec.id, "network pathway_commons_expression: no file")


def test_early_cells_of_a_file_are_marked(declare, document, cells_file):
    document["cells"] |= {"early": {"type": ["a"]}}
    spec = declare(document)
    found = prepare(spec, cells_file())
    assert (found.obs["early"] == np.where(found.obs["cell_type"] == "a", "yes", "no")).all()
    document["cells"] |= {"early": {"type": ["nowhere"]}}
    with pytest.raises(CellsError, match=r"key `cells\.early` of toy\.yaml\): no cell meets every rule"):
        prepare(declare(document), cells_file())
    document["cells"] |= {"early": {"type": []}}
    with pytest.raises(DeclarationError, match=r"key `cells\.early\.type`: must be a list of values"):
        declare(document)
    document["cells"] |= {"early": {"type": ["a"]}, "obs": document["cells"]["obs"] | {"early": "type"}}
    with pytest.raises(DeclarationError, match="exclude each other"):
        declare(document)

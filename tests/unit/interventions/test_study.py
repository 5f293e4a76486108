"""Interventions on one release in one study: which model, which screen, and the reasons why there are none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from interp_assets import intervening
from interp_assets.analyses.catalogue import built
from interp_assets.analyses.inputs import AnalysisInputs, RoleInputs
from interp_assets.battery_settings import BatterySettings
from interp_assets.edges.layers import settled_depth
from interp_assets.edges.records import AttentionEdges, Reference
from interp_assets.interventions.records import Interventions
from interp_assets.models.attention.extraction import ExtractionSettings, extract_attention
from interp_assets.models.files.releases import read_release
from interp_assets.models.records import ReleaseCard
from interp_assets.settings import AttentionSettings
from qc_standards.evidence import TABLE_COLUMNS
from qc_standards.records import Status
from qc_standards.registry import tests_of_analysis

CHOICE = settled_depth(13 / 17, "for a test")


def study(**battery):
    """The part of a study that interventions read."""
    return SimpleNamespace(
        name="toy",
        seed=0,
        attention=AttentionSettings(device="cpu"),
        battery=BatterySettings(**{"random_head_sets": 2, "intervention_tokens": 100, **battery}),
    )


@pytest.fixture
def role(screen):
    """The screen as analyses receive it; the labels of perturbed genes are not left out yet."""
    label = screen.label.copy()
    label[np.arange(9), screen.source] = 1
    regulator, target = np.nonzero(screen.member)
    reference = Reference(
        name="pairs",
        genes=screen.genes,
        source=screen.regulators[regulator].astype(np.int32),
        target=target.astype(np.int32),
        directed=True,
        regulators=screen.regulators.astype(np.int32),
    )
    attention = AttentionEdges(
        release="tiny",
        dataset="toy",
        genes=screen.genes,
        layers=4,
        heads=4,
        cells_hash="h",
        layer_matrix=lambda _: None,
    )
    return RoleInputs(
        role="primary_screen", dataset="toy", data_origin="simulated", role_fit="full", genes=screen.genes,
        perturbations=screen.perturbations, source=screen.source.astype(np.int32), label=label,
        informative=np.ones(22, dtype=bool), features=pd.DataFrame(), attention=attention, correlation=None, trivial={},
        references={"pairs": reference}, primary_reference="pairs", exclusions=pd.DataFrame(),
        evaluability=pd.DataFrame(),
    )  # fmt: skip


def test_settings_of_the_study_reach_the_run(folder, role, cells):
    found = intervening.study_interventions(study(), read_release(folder), role, cells, CHOICE)
    assert isinstance(found, Interventions)
    assert found.facts["read_out_layer"] == 2
    assert found.facts["tokens"] <= 100
    assert found.facts["random_sets"] == found.conditions.query("pool == 'upstream'")["draw"].max() == 2


def test_the_analyses_read_what_a_run_leaves(folder, role, cells):
    """The tables of a real run through all four analyses, so that the two ends cannot drift apart."""
    run = intervening.study_interventions(study(), read_release(folder), role, cells, CHOICE)
    tables = {}
    for row in (entry for entry in built() if "interventions" in entry.needs):
        inputs = AnalysisInputs(
            study="toy", release="tiny", tests=tests_of_analysis(row.number), roles={"primary_screen": role},
            settings=BatterySettings().as_mapping(), interventions=run,
        )  # fmt: skip
        output = row.run(inputs)
        tables |= output.tables
        assert len(output.results) == row.tests
        for result in output.results:
            assert (result.status is Status.RUN) != result.reason.startswith("same as")
            assert (result.effect is None) == (result.status is Status.SKIPPED)
    assert set(tables) == {
        *("head_ranking", "causal_ablation", "intervention_conditions", "intervention_auroc"),
        "intervention_fidelity",
    }
    for name, frame in tables.items():
        lacking = set(TABLE_COLUMNS[name]) - set(frame.columns)
        assert not lacking, (name, lacking)
    ablation = tables["causal_ablation"].query("read_out == 'attention' and not upstream and operation == 'zero_mlp'")
    assert (ablation["delta"] == 0).all()
    assert (ablation["p"] == 1).all()


def test_the_screen_is_that_of_analysis_19_with_the_perturbed_gene_left_out(role, screen):
    found = intervening.screen_of(study(), role)
    assert np.array_equal(found.label, screen.label)
    assert np.array_equal(found.member, screen.member)
    assert np.array_equal(found.regulators, screen.regulators)
    starved = role.label.copy()
    starved[4, np.flatnonzero(starved[4] == 1)[2:]] = 0  # the perturbed gene may be among the two that are left
    part = intervening.screen_of(study(), replace(role, label=starved))
    assert part.perturbations.tolist() == np.delete(screen.perturbations, 4).tolist()
    assert np.array_equal(part.source, np.delete(screen.source, 4))
    strict = intervening.screen_of(study(min_positives=99), role)
    assert strict == "no perturbation has enough positive and negative candidates; see perturbation_exclusions"
    assert (
        intervening.study_interventions(
            study(min_positives=99), SimpleNamespace(family="geneformer"), role, None, CHOICE
        )
        == strict
    )


def test_heads_that_cannot_be_ranked_are_a_reason(role):
    absent = intervening.screen_of(study(), replace(role, primary_reference="elsewhere"))
    assert absent == "heads cannot be ranked: reference 'elsewhere' is not available for toy"
    bare = replace(role.references["pairs"], source=np.empty(0, np.int32), target=np.empty(0, np.int32))
    assert "has no pair among the 22" in intervening.screen_of(study(), replace(role, references={"pairs": bare}))


def test_an_edge_table_has_no_heads(role):
    release = SimpleNamespace(family="edge_table")
    assert intervening.study_interventions(study(), release, role, None, CHOICE) == intervening.NO_HEADS


def test_a_family_that_runs_no_blocks_is_a_reason_and_no_error(folder, role, cells, model, monkeypatch):
    class AttentionOnly:
        """An adapter as it was before interventions."""

        describe, known, encode, attend = (getattr(model, name) for name in ("describe", "known", "encode", "attend"))

    monkeypatch.setattr("interp_assets.models.adapter.load_model", lambda *_, **__: AttentionOnly())
    found = intervening.study_interventions(study(), read_release(folder), role, cells, CHOICE)
    assert found == intervening.NO_MODEL_CHANGE


def test_cells_without_a_perturbed_gene_are_a_reason(folder, role, make_cells, screen):
    counts = np.ones((3, 30), dtype=int)
    counts[:, [int(name[1:]) for name in screen.perturbations]] = 0
    cells = make_cells(counts, [f"G{number}" for number in range(30)])
    found = intervening.study_interventions(study(), read_release(folder), role, cells, CHOICE)
    assert found == "toy: no control cell holds a perturbed gene"


def test_extracted_attention_knows_the_release_behind_it(folder, cells, tmp_path):
    card = ReleaseCard(name="tiny", kind="release", family="geneformer", folder=str(folder))
    edges = extract_attention(read_release(folder), cells, tmp_path / "out", ExtractionSettings(device="cpu"))
    found = intervening.release_behind(card, Path(edges.facts["folder"]), edges.facts["release_id"])
    assert found.folder == folder


def test_a_control_is_the_model_built_beside_its_attention(folder, tmp_path, write_bert):
    card = ReleaseCard(name="tiny", kind="release", family="geneformer", folder=str(folder))
    own, built = read_release(folder).release_id, write_bert(seed=1)
    twin = read_release(built).release_id
    assert twin != own
    assert intervening.release_behind(card, tmp_path, own).folder == folder
    with pytest.raises(ValueError, match=f"holds release {own[:12]}, but the attention .* {twin[:12]}"):
        intervening.release_behind(card, tmp_path, twin)  # the files of the twin are gone: never the release instead
    (tmp_path / "attention").mkdir()
    built.rename(tmp_path / "attention" / "release")
    assert intervening.release_behind(card, tmp_path / "attention", twin).folder == tmp_path / "attention" / "release"

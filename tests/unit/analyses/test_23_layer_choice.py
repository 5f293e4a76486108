"""Analysis 23: the layer is chosen by reference recovery elsewhere, frozen, and only read by the evaluation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score, roc_auc_score

from interp_assets.analyses.inputs import RoleInputs
from interp_assets.analyses.layer_choice import choose_layer, layer_prespecification
from interp_assets.analyses.rows import analysis_layer
from interp_assets.analyses.scores import edge_scores, reference_pairs
from interp_assets.edges.layers import LayerChoice, resolve_layer, settled_depth
from qc_standards.records import Status


def selection_role(make_inputs, **knobs) -> RoleInputs:
    role = make_inputs(23, **knobs).roles["primary_screen"]
    return replace(role, role="layer_selection", dataset="selection-cells")


def chosen(role: RoleInputs) -> tuple[LayerChoice, pd.DataFrame]:
    choice, profile = choose_layer(role, "planted", 50, 0)
    assert isinstance(choice, LayerChoice)
    return choice, profile


def test_the_layer_that_carries_the_network_is_chosen(make_inputs) -> None:
    """In the planted world the signal grows with depth, so the last of four layers must win."""
    choice, profile = chosen(selection_role(make_inputs, kind="planted", noise=1.0))
    assert (choice.layer, choice.layers) == (3, 4)
    assert choice.depth == 1.0
    assert profile["auroc"].is_monotonic_increasing
    assert profile["chosen"].tolist() == [False, False, False, True]
    assert choice.score == profile["auroc"].max()


def test_a_noise_profile_is_flat_and_says_so(make_inputs) -> None:
    _, profile = chosen(selection_role(make_inputs, kind="noise", seed=3))
    assert profile["auroc"].between(0.42, 0.58).all()
    assert ((profile["ci_low"] < 0.5) & (profile["ci_high"] > 0.5)).mean() >= 0.75


def test_the_profile_equals_a_plain_computation(make_inputs) -> None:
    role = selection_role(make_inputs, kind="planted", noise=1.5, missing=0.1)
    _, profile = chosen(role)
    pairs = reference_pairs(role, "planted")
    for layer in range(role.attention.layers):
        scores = edge_scores(role, "attention", layer).score
        rows = [(s, t) for s in pairs.regulators for t in range(role.genes.size) if s != t]
        values = np.array([scores[s, t] for s, t in rows])
        member = np.array([pairs.member[list(pairs.regulators).index(s), t] for s, t in rows])
        assert profile["auroc"][layer] == pytest.approx(roc_auc_score(member, values), abs=1e-12)
        if np.unique(values).size == values.size:
            top = values >= np.sort(values)[-member.sum()]
            assert profile["f1_at_positives"][layer] == pytest.approx(f1_score(member, top), abs=1e-12)


def test_ties_go_to_the_earlier_layer(make_inputs) -> None:
    role = selection_role(make_inputs, kind="planted")
    same = replace(role, attention=replace(role.attention, layer_matrix=lambda layer: edge0(role)))
    choice, profile = chosen(same)
    assert profile["auroc"].nunique() == 1
    assert choice.layer == 0


def edge0(role: RoleInputs):
    return role.attention.layer_matrix(0)


@pytest.mark.parametrize(
    ("reference", "said"), [("unheard_of", "'unheard_of' is not available"), ("planted", "pairs among the")]
)
def test_a_dataset_that_cannot_choose_says_why(make_inputs, reference: str, said: str) -> None:
    role = selection_role(make_inputs, kind="planted")
    few = replace(role.references["planted"], source=np.zeros(1, np.int32), target=np.ones(1, np.int32))
    found, profile = choose_layer(replace(role, references={"planted": few}), reference, 50, 0)
    assert isinstance(found, str)
    assert said in found
    assert profile.empty


def test_outcomes_cannot_move_the_choice(make_inputs) -> None:
    """No label reaches `choose_layer`: with every outcome turned round the frozen record keeps its hash."""
    role = selection_role(make_inputs, kind="planted", noise=1.0)
    turned = replace(role, label=np.where(role.label >= 0, 1 - role.label, -1).astype(np.int8))
    assert chosen(role)[0].sha256 == chosen(turned)[0].sha256


def test_the_hash_covers_every_field(make_inputs) -> None:
    choice, _ = chosen(selection_role(make_inputs, kind="planted"))
    for change in ({"layer": 0}, {"score": 0.1}, {"reference": "x"}, {"profile_hash": "0"}, {"cells_hash": "1"}):
        assert replace(choice, **change).sha256 != choice.sha256


def frozen(make_inputs, **knobs):
    """Inputs of an evaluation whose layer was chosen on other cells."""
    choice, profile = chosen(selection_role(make_inputs, kind="planted", noise=1.0))
    choice = replace(choice, cells_hash="d" * 64)
    inputs = make_inputs(23, settings={"analysis_depth": choice.depth}, **knobs)
    return replace(inputs, layer_choice=choice, selection_profile=profile)


def test_the_row_reads_the_frozen_layer(make_inputs) -> None:
    inputs = frozen(make_inputs, kind="planted", noise=1.0)
    output = layer_prespecification(inputs)
    (row,) = output.results
    role = inputs.roles["primary_screen"]
    scores = edge_scores(role, "attention", 3).score[role.source]
    expected = [roc_auc_score(y[y >= 0], s[y >= 0]) for y, s in zip(role.label, scores, strict=True)]
    assert row.status is Status.RUN
    assert row.layer == 3
    assert row.effect == pytest.approx(np.mean(expected), abs=1e-12)
    assert row.ci_low < row.effect < row.ci_high
    (record,) = output.tables["layer_choice"].to_dict("records")
    assert record["sha256"] == inputs.layer_choice.sha256
    assert not record["same_cells"]
    assert inputs.layer_choice.sha256 in row.settings_used


def test_a_layer_that_was_not_chosen_elsewhere_is_no_result(make_inputs) -> None:
    inputs = replace(make_inputs(23, kind="planted"), layer_choice=settled_depth(13 / 17, "no such role"))
    (row,) = layer_prespecification(inputs).results
    assert row.status is Status.SKIPPED
    assert "no such role" in row.reason
    assert row.effect is None


@pytest.mark.parametrize("layers", [1, 2, 4, 6, 12, 18, 30])
def test_a_chosen_layer_survives_being_written_as_a_depth(layers: int) -> None:
    for layer in range(layers):
        choice = LayerChoice(depth=layer / (layers - 1) if layers > 1 else 0.0, chosen_by="x", layer=layer)
        assert resolve_layer(choice.depth, layers) == layer


def test_analyses_read_the_chosen_depth(make_inputs) -> None:
    inputs = frozen(make_inputs, kind="planted")
    assert analysis_layer(inputs, inputs.roles["primary_screen"]) == inputs.layer_choice.layer

"""Analysis 36: rows are the furthest layer of the table, logits beside it, nothing where there are none."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest

from interp_assets.analyses.ablation import CONDITIONS as TESTED
from interp_assets.analyses.fidelity import CONDITIONS, intervention_fidelity
from qc_standards.records import Status
from qc_standards.registry import tests_of_analysis

ROLE = "primary_screen"


@pytest.fixture
def ask(make_inputs, make_interventions):
    """Function: inputs with a made-up run and the declared tests."""

    def factory(**knobs):
        inputs = make_inputs(36)
        record = make_interventions(inputs.roles[ROLE], **knobs)
        return replace(inputs, interventions=record, tests=tests_of_analysis(36))

    return factory


def furthest(record, condition):
    """Row of the hidden state that lies furthest, by a loop."""
    found = None
    for row in record.fidelity.to_dict(orient="records"):
        if row["condition"] == condition and row["state"] == "hidden":
            found = row if found is None or row["distance"] > found["distance"] else found
    return found


def test_rows_are_the_furthest_hidden_state_and_the_logits(ask):
    inputs = ask()
    record = inputs.interventions
    results = intervention_fidelity(inputs).results
    assert [result.test_id for result in results] == [f"A36.{number}" for number in range(1, 7)]
    for result in results:
        name = CONDITIONS[result.test_id]
        row = furthest(record, name)
        logits = record.fidelity.query("condition == @name and state == 'logits'")
        assert result.status is Status.RUN
        assert (result.effect, result.ci_low, result.ci_high) == (row["distance"], row["ci_low"], row["ci_high"])
        assert result.statistic == logits["distance"].item()
        assert (
            result.direction == f"hidden states after layer {row['layer']}; the statistic is the distance of the logits"
        )
        assert (result.n, result.unit, result.p, result.null_mean) == (40, "cell", None, 0.0)
        assert (result.resamples_requested, result.resamples_done) == (200, 200)
        assert result.layer == 2


def test_the_hypotheses_name_the_conditions():
    words = {
        "uniform-top-5": "uniform attention top-5", "uniform-top-10": "uniform attention top-10",
        "uniform-random-10/1": "uniform attention random-10", "mlp-15": "MLP zero L15",
        "mlp-13-15": "MLP zero L13-L15", "mlp-8": "MLP zero L8",
    }  # fmt: skip
    for spec in tests_of_analysis(36):
        assert spec.hypothesis.startswith(f"{words[CONDITIONS[spec.test_id]]} materially"), spec.test_id
    assert set(CONDITIONS.values()) == {name for test, name in TESTED.items() if test.startswith("A34")}


def test_a_release_without_logits_says_so_and_has_no_statistic(ask):
    for result in intervention_fidelity(ask(logits=False)).results:
        assert result.status is Status.RUN
        assert result.statistic is None
        assert result.effect > 0
        assert result.direction.endswith("; the release predicts no tokens")


def test_the_table_covers_the_head_masks_too(ask):
    inputs = ask()
    table = intervention_fidelity(inputs).tables["intervention_fidelity"]
    pd.testing.assert_frame_equal(table.drop(columns=["role", "dataset"]), inputs.interventions.fidelity)
    assert set(TESTED.values()) <= set(table["condition"])


def test_conditions_that_are_one_here_are_told_once(ask):
    results = intervention_fidelity(ask(shape=(2, 1), read_out=1)).results
    reasons = {result.test_id: result.reason for result in results}
    assert reasons["A36.1"] == reasons["A36.4"] == reasons["A36.6"] == ""
    assert reasons["A36.2"] == "same as A36.1"
    assert reasons["A36.5"] == "same as A36.4"


def test_the_order_of_the_record_does_not_matter(ask):
    inputs = ask()
    mixed = {name: frame.sample(frac=1, random_state=1) for name, frame in inputs.interventions.tables().items()}
    other = intervention_fidelity(replace(inputs, interventions=replace(inputs.interventions, **mixed)))
    assert other.results == intervention_fidelity(inputs).results


def test_without_interventions_every_row_says_why(ask):
    inputs = replace(ask(), interventions=None, absent={"interventions": "an edge table has no heads"})
    output = intervention_fidelity(inputs)
    assert {result.reason for result in output.results} == {"an edge table has no heads"}
    assert {result.status for result in output.results} == {Status.SKIPPED}
    assert not output.tables

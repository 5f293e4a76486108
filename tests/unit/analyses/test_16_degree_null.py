"""Analysis 16: a planted network passes both nulls, hubs pass only the first, noise passes neither."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from interp_assets.analyses.degree_null import degree_preserving_null
from interp_assets.analyses.scores import reference_pairs
from interp_assets.edges.records import Reference
from qc_standards.records import Status

PRIMARY = "primary_screen"


def summary(output):
    return output.tables["degree_null"].set_index(["edge", "null"])


def with_reference(**changes):
    def alter(role):
        reference = replace(role.references["planted"], **changes)
        return replace(role, references={"planted": reference})

    return alter


def test_a_planted_network_passes_both_nulls(make_inputs):
    output = degree_preserving_null(make_inputs(16))
    table = summary(output)
    assert table.loc[("attention", "curveball"), "z"] > 10
    assert table.loc[("attention", "curveball"), "residual_part"] > 0.3
    assert table.loc[("attention", "curveball"), "mean_jaccard"] > 0.8
    assert table.loc[("attention", "curveball"), "degrees_kept"]
    shuffled, rewired, parts = output.results
    assert (shuffled.p, rewired.p) == (1 / 201, 1 / 51)
    assert shuffled.resamples_requested == shuffled.resamples_done == 200
    assert rewired.resamples_requested == rewired.resamples_done == 50
    assert parts.effect == pytest.approx(shuffled.statistic - rewired.null_mean)
    assert parts.p is None
    assert '"reference":"planted"' in rewired.settings_used


def test_hubs_pass_shuffled_labels_and_fail_rewired_networks(make_inputs):
    output = degree_preserving_null(make_inputs(16, kind="confound"))
    shuffled, rewired, _ = output.results
    assert shuffled.effect > 5
    assert abs(rewired.effect) < 3
    row = summary(output).loc[("attention", "curveball")]
    assert row["chance_part"] + row["degree_part"] + row["residual_part"] == pytest.approx(row["observed"], abs=1e-12)
    assert row["degree_part"] > 0.1
    assert abs(row["residual_part"]) < 0.03


def test_noise_passes_neither_more_often_than_the_level(make_inputs):
    found = np.zeros(2)
    for seed in range(60):
        inputs = make_inputs(
            16,
            kind="noise",
            seed=seed,
            genes=60,
            perturbations=15,
            targets=6,
            layers=1,
            settings={"label_shuffles": 39, "curveball_networks": 39},
        )
        results = degree_preserving_null(inputs).results
        found += [results[0].p <= 0.05, results[1].p <= 0.05]
    # Three expected of 60 at .05; four binomial deviations above is ten.
    assert found.max() <= 10


def test_observed_equals_scikit_learn_over_every_candidate_pair(make_inputs):
    inputs = make_inputs(16, missing=0.2)
    role = inputs.roles[PRIMARY]
    reference = role.references["planted"]
    known = set(zip(reference.source.tolist(), reference.target.tolist(), strict=True))
    score = role.attention.layer_matrix(2).score.astype(float)
    lowest = np.nanmin(score[~np.eye(150, dtype=bool)])
    labels, scores = [], []
    for regulator in sorted(set(reference.source.tolist())):
        for target in range(150):
            if target != regulator:
                labels.append((regulator, target) in known)
                scores.append(lowest if np.isnan(score[regulator, target]) else score[regulator, target])
    output = degree_preserving_null(inputs)
    observed = summary(output).loc[("attention", "label_shuffle"), "observed"]
    assert observed == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    assert output.results[0].n == len(labels)


def test_correlation_runs_beside_on_the_same_networks(make_inputs):
    def twin(role):
        return replace(role, correlation=replace(role.attention.layer_matrix(2), name="correlation"))

    output = degree_preserving_null(make_inputs(16, alter=twin))
    draws = output.tables["degree_null_draws"]
    assert len(draws) == 2 * (200 + 50)
    attention, correlation = (draws[draws["edge"] == e]["auroc"].to_numpy() for e in ("attention", "correlation"))
    np.testing.assert_array_equal(attention, correlation)


def test_draws_are_those_behind_the_summary(make_inputs):
    output = degree_preserving_null(make_inputs(16, seed=5))
    table = summary(output)
    for key, part in output.tables["degree_null_draws"].groupby(["edge", "null"]):
        row = table.loc[key]
        assert row["null_mean"] == pytest.approx(part["auroc"].mean())
        assert row["null_sd"] == pytest.approx(part["auroc"].std())
        assert row["exceed"] == (part["auroc"] >= row["observed"]).sum()
        assert row["p"] == (row["exceed"] + 1) / (len(part) + 1)
        assert row["draws_done"] == row["draws_requested"] == len(part)


def test_a_score_of_the_target_alone_is_not_evaluable(make_inputs):
    def flat(role):
        score = np.tile(role.features["variance"].to_numpy(np.float32), (150, 1))
        edges = replace(role.correlation, name="attention", score=score)
        return replace(role, attention=replace(role.attention, layer_matrix=lambda _: edges))

    output = degree_preserving_null(make_inputs(16, kind="confound", alter=flat))
    shuffled, rewired, parts = output.results
    assert shuffled.p < 0.01
    assert (rewired.effect, rewired.p, parts.effect) == (None, None, None)
    assert "cannot move" in rewired.reason
    assert np.isnan(summary(output).loc[("attention", "curveball"), "z"])


def test_a_network_with_one_regulator_is_not_evaluable(make_inputs):
    def lonely(role):
        reference = role.references["planted"]
        only = reference.source == reference.source[0]
        return with_reference(source=reference.source[only], target=reference.target[only])(role)

    output = degree_preserving_null(make_inputs(16, alter=lonely))
    rewired = output.results[1]
    assert rewired.status is Status.RUN
    assert rewired.p is None
    assert "0 regulators have targets to trade" in rewired.reason
    assert (rewired.resamples_requested, rewired.resamples_done) == (50, 0)
    assert not summary(output).loc[("attention", "curveball"), "degrees_kept"], "nothing was verified"


def test_candidate_regulators_are_listed_ones_with_a_target_inside(make_inputs):
    def more(role):
        reference = role.references["planted"]
        idle = np.setdiff1d(np.arange(150), reference.regulators)[:2].astype(np.int32)
        own = reference.source[:1]
        return with_reference(
            regulators=np.concatenate([reference.regulators, idle]),
            source=np.concatenate([reference.source, own]),
            target=np.concatenate([reference.target, own]),
        )(role)

    role = make_inputs(16, alter=more).roles[PRIMARY]
    pairs = reference_pairs(role)
    np.testing.assert_array_equal(pairs.regulators, role.source)
    assert not pairs.member[np.arange(30), pairs.regulators].any(), "self pairs are no candidates"


def test_a_symmetric_reference_is_scored_with_both_directions(make_inputs):
    def symmetric(role):
        source, target = role.references["planted"].source, role.references["planted"].target
        both = Reference(
            name="planted",
            genes=role.genes,
            source=np.concatenate([source, target]),
            target=np.concatenate([target, source]),
            directed=False,
            regulators=np.arange(150, dtype=np.int32),
        )
        return replace(role, references={"planted": both})

    inputs = make_inputs(16, alter=symmetric)
    role = inputs.roles[PRIMARY]
    score = role.attention.layer_matrix(2).score.astype(float)
    mean = (score + score.T) / 2
    member = np.zeros((150, 150), dtype=bool)
    member[role.references["planted"].source, role.references["planted"].target] = True
    listed = member.any(axis=1)
    keep = ~np.eye(150, dtype=bool)[listed]
    expected = roc_auc_score(member[listed][keep], mean[listed][keep])
    observed = summary(degree_preserving_null(inputs)).loc[("attention", "label_shuffle"), "observed"]
    assert observed == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("kind", ["absent role", "no reference", "empty reference"])
def test_without_a_reference_every_row_is_skipped(make_inputs, kind):
    empty = np.array([], dtype=np.int32)
    inputs = {
        "absent role": lambda: make_inputs(16, absent="no screen"),
        "no reference": lambda: make_inputs(16, alter=lambda r: replace(r, references={})),
        "empty reference": lambda: make_inputs(16, alter=with_reference(source=empty, target=empty)),
    }[kind]()
    output = degree_preserving_null(inputs)
    assert len(output.results) == 3
    assert {r.status for r in output.results} == {Status.SKIPPED}
    assert all(r.reason for r in output.results)
    assert output.tables == {}


def test_seed_decides_the_draws(make_inputs):
    one, same = (degree_preserving_null(make_inputs(16, seed=1)).tables["degree_null_draws"] for _ in range(2))
    pd.testing.assert_frame_equal(one, same)

"""Analysis 17: known directions against all entries and against random parts of the same size."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from interp_assets.analyses.circularity import DirectedPairs, direction_reference, trrust_circularity
from qc_standards.records import Status

TABLE = [
    "role", "dataset", "edge", "reference", "subset", "auroc", "ci_low", "ci_high", "n_positive", "n_pairs",
    "n_regulators", "conflicting", "draws_requested", "draws_done", "p_against_size_matched",
]  # fmt: skip
EACH = ["role", "dataset", "edge", "reference", "subset", "regulator", "n_targets", "n_candidates", "auroc"]


def summary(output, edge="attention"):
    table = output.tables["circularity"]
    return table[table["edge"] == edge].set_index("subset")


def with_directions(choose):
    """Role whose planted reference has the directions ``choose(role, reference)``."""

    def alter(role):
        reference = role.references["planted"]
        direction = choose(role, reference)
        direction = None if direction is None else np.asarray(direction, dtype=np.int8)
        return replace(role, references={"planted": replace(reference, direction=direction)})

    return alter


def circular(role, reference):
    """Unknown direction where attention is strong: entries that look as if read off the score."""
    score = role.attention.layer_matrix(2).score[reference.source, reference.target]
    return np.where(score > np.median(score), 0, 1)


def at_random(role, reference):
    return np.random.default_rng(8).choice([0, 1, -1, 2], reference.source.size, p=[0.4, 0.3, 0.2, 0.1])


@pytest.fixture
def found(make_inputs):
    return trrust_circularity(make_inputs(17, noise=1.0))


def test_tables_have_the_agreed_columns(found):
    table, each = found.tables["circularity"], found.tables["circularity_per_regulator"]
    assert list(table)[: len(TABLE)] == TABLE
    assert list(each) == EACH
    subsets = ["all", "direction_known", "size_matched"]
    assert list(table[["edge", "subset"]].itertuples(index=False, name=None)) == [
        (edge, subset) for edge in ("attention", "correlation") for subset in subsets
    ]
    assert table.groupby("subset")["draws_requested"].first().to_dict() == {
        "all": 200, "direction_known": 200, "size_matched": 50,
    }  # fmt: skip
    assert (table["draws_done"] == table["draws_requested"]).all()
    assert table["p_against_size_matched"].notna().tolist() == [False, True, False] * 2
    assert each.groupby(["edge", "subset"]).size().to_dict() == {
        (edge, s): 30 for edge in ("attention", "correlation") for s in subsets
    }


def test_entries_read_off_the_score_are_called_circular(make_inputs):
    inputs = make_inputs(17, noise=1.0, alter=with_directions(circular))
    output = trrust_circularity(inputs)
    table = summary(output)
    assert table.loc["direction_known", "auroc"] < table.loc["all", "auroc"] - 0.05
    assert table.loc["direction_known", "auroc"] < table.loc["size_matched", "ci_low"]
    assert table.loc["direction_known", "p_against_size_matched"] == 1 / 51
    assert table.loc["direction_known", "draws_below"] == 0.0
    for result in output.results:
        assert result.effect < -0.05
        assert result.ci_high < 0.0
        assert result.p is None
        assert result.null_mean > result.statistic + 0.05
    assert summary(output, "correlation").loc["direction_known", "p_against_size_matched"] > 0.05


def test_directions_at_random_are_not(make_inputs):
    output = trrust_circularity(make_inputs(17, noise=1.0, alter=with_directions(at_random)))
    table = summary(output)
    known, drawn = table.loc["direction_known"], table.loc["size_matched"]
    assert drawn["ci_low"] < known["auroc"] < drawn["ci_high"]
    assert known["p_against_size_matched"] > 0.05
    assert all(r.ci_low < 0.0 < r.ci_high for r in output.results)


def test_random_directions_are_called_circular_as_often_as_the_level(make_inputs):
    small = 0
    for seed in range(60):
        inputs = make_inputs(
            17, "noise", seed=seed, genes=60, perturbations=12, targets=8, layers=1,
            settings={"bootstrap": 5, "size_matched_draws": 39},
        )  # fmt: skip
        small += summary(trrust_circularity(inputs)).loc["direction_known", "p_against_size_matched"] <= 0.05
    # Three expected of 60 at .05; four binomial deviations above is ten.
    assert small <= 10


def test_unknown_pairs_are_no_candidates_and_regulators_may_drop_out(make_inputs):
    def some(role, reference):
        direction = at_random(role, reference)
        direction[np.isin(reference.source, np.unique(reference.source)[:4])] = 0
        return direction

    inputs = make_inputs(17, noise=1.0, alter=with_directions(some), missing=0.1)
    role = inputs.roles["primary_screen"]
    reference = role.references["planted"]
    score = role.attention.layer_matrix(2).score.astype(float)
    score = np.where(np.isnan(score), np.nanmin(score[~np.eye(150, dtype=bool)]), score)
    state = dict(
        zip(zip(reference.source.tolist(), reference.target.tolist(), strict=True), reference.direction, strict=True)
    )
    labels, scores, per_regulator = [], [], []
    for regulator in sorted(set(reference.source.tolist())):
        mine = [t for t in range(150) if t != regulator and state.get((regulator, t), 1) != 0]
        label = [(regulator, t) in state for t in mine]
        if any(label):
            labels += label
            scores += score[regulator, mine].tolist()
            per_regulator.append(roc_auc_score(label, score[regulator, mine]))
    output = trrust_circularity(inputs)
    known = summary(output).loc["direction_known"]
    assert known["auroc"] == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    assert (known["n_pairs"], known["n_positive"], known["n_regulators"]) == (len(labels), sum(labels), 26)
    each = output.tables["circularity_per_regulator"]
    each = each[(each["edge"] == "attention") & (each["subset"] == "direction_known")]
    np.testing.assert_allclose(each["auroc"], per_regulator, atol=1e-12)
    assert each["n_candidates"].sum() == len(labels)
    pooled, mean = output.results
    assert pooled.statistic == known["auroc"]
    assert mean.statistic == pytest.approx(np.mean(per_regulator), abs=1e-12)
    assert pooled.n == mean.n == 26
    # Treating unknown pairs as negatives is the mistake: it gives another number.
    wrong = [(r, t) for r in sorted(set(reference.source.tolist()))[4:] for t in range(150) if t != r]
    as_negatives = roc_auc_score([state.get(pair, 0) != 0 for pair in wrong], [score[pair] for pair in wrong])
    assert abs(as_negatives - known["auroc"]) > 0.005


def test_rows_are_differences_with_their_settings(found):
    pooled, mean = found.results
    table = summary(found)
    assert pooled.effect == pytest.approx(table.loc["direction_known", "auroc"] - table.loc["all", "auroc"])
    assert mean.effect == pytest.approx(
        table.loc["direction_known", "regulator_mean"] - table.loc["all", "regulator_mean"]
    )
    assert pooled.null_mean == pytest.approx(table.loc["size_matched", "auroc"])
    assert mean.null_mean == pytest.approx(table.loc["size_matched", "regulator_mean"])
    for result in found.results:
        assert result.status is Status.RUN
        assert result.ci_low <= result.effect <= result.ci_high
        assert (result.unit, result.effect_kind, result.null_name) == ("regulator", "delta_auroc", "size-matched part")
        assert (result.resamples_requested, result.resamples_done) == (200, 200)
        assert "minus" in result.direction
        used = json.loads(result.settings_used)
        assert used["unknown_direction"] == "no candidates"
        assert used["positives"]["direction_known"] == table.loc["direction_known", "n_positive"]
        assert (used["reference"], used["edge"], used["missing_rule"]) == ("planted", "attention", "lowest")
    assert "mean AUROC over regulators" in mean.direction


def test_conflicting_directions_are_known_and_counted(make_inputs):
    def conflict(role, reference):
        direction = np.zeros(reference.source.size, dtype=np.int8)
        direction[::3] = 1
        direction[:30:3] = 2
        return direction

    role = make_inputs(17, alter=with_directions(conflict)).roles["primary_screen"]
    directed = direction_reference(role)
    assert isinstance(directed, DirectedPairs)
    assert (directed.known.sum(), directed.conflicting.sum()) == (140, 10)
    assert (directed.known | ~directed.conflicting).all()
    output = trrust_circularity(make_inputs(17, alter=with_directions(conflict)))
    assert summary(output).loc["direction_known", "n_positive"] == 140
    assert (summary(output).loc[["all", "direction_known"], "conflicting"] == 10).all()
    assert json.loads(output.results[0].settings_used)["conflicting"] == 10


def test_a_pair_listed_twice_with_opposite_directions_is_one_conflicting_pair(make_inputs):
    def twice(role):
        reference = role.references["planted"]
        direction = np.zeros(reference.source.size, dtype=np.int8)
        direction[:5] = 1
        again = {
            name: np.append(getattr(reference, name), getattr(reference, name)[0]) for name in ("source", "target")
        }
        changed = replace(reference, direction=np.append(direction, np.int8(-1)), **again)
        return replace(role, references={"planted": changed})

    directed = direction_reference(make_inputs(17, alter=twice).roles["primary_screen"])
    assert (directed.known.sum(), directed.conflicting.sum()) == (5, 1)


def test_the_primary_reference_comes_first_and_others_follow_in_study_order(make_inputs):
    def three(role):
        planted = role.references["planted"]
        none, full = replace(planted, direction=None), replace(planted, direction=np.ones_like(planted.direction))
        networks = {"a": replace(none, name="a"), "b": replace(planted, name="b"), "c": replace(planted, name="c")}
        return replace(role, references={**networks, "planted": full})

    role = make_inputs(17, alter=three).roles["primary_screen"]
    assert direction_reference(role).pairs.name == "b"
    primary = replace(role, primary_reference="c")
    assert direction_reference(primary).pairs.name == "c"
    output = trrust_circularity(make_inputs(17, alter=three))
    assert set(output.tables["circularity"]["reference"]) == {"b"}
    assert json.loads(output.results[0].settings_used)["reference"] == "b"


@pytest.mark.parametrize(
    ("choose", "why"),
    [
        (lambda _, __: None, "planted (states no directions)"),
        (lambda _, reference: np.ones(reference.source.size), "planted (knows 420 of 420 directions)"),
        (lambda _, reference: np.zeros(reference.source.size), "planted (knows 0 of 420 directions)"),
    ],
)
def test_without_directions_every_row_is_skipped_and_the_reason_names_the_references(make_inputs, choose, why):
    output = trrust_circularity(make_inputs(17, alter=with_directions(choose)))
    assert {r.status for r in output.results} == {Status.SKIPPED}
    assert {why in r.reason for r in output.results} == {True}
    assert not output.tables
    absent = trrust_circularity(make_inputs(17, absent="no screen"))
    assert {r.reason for r in absent.results} == {"no screen"}
    bare = trrust_circularity(make_inputs(17, alter=lambda role: replace(role, references={})))
    assert "looked at: planted (not available)" in bare.results[0].reason


def test_directions_of_another_length_or_code_are_refused(make_inputs):
    for wrong in (lambda _, __: np.ones(3), lambda _, reference: np.full(reference.source.size, 5)):
        with pytest.raises(ValueError, match="one direction a pair"):
            trrust_circularity(make_inputs(17, alter=with_directions(wrong)))


def test_whole_regulators_known_or_unknown_leave_nothing_to_draw(make_inputs):
    def by_regulator(role, reference):
        return np.isin(reference.source, np.unique(reference.source)[:10])

    output = trrust_circularity(make_inputs(17, alter=with_directions(by_regulator)))
    assert np.isnan(summary(output).loc["direction_known", "p_against_size_matched"])
    for result in output.results:
        assert "random parts of the same size are the same part" in result.reason
        assert (result.null_mean, result.null_sd) == (None, None)
        assert result.effect is not None


def test_one_known_regulator_has_no_interval_over_regulators(make_inputs):
    def lonely(role, reference):
        direction = np.zeros(reference.source.size)
        direction[:5] = 1
        return direction

    output = trrust_circularity(make_inputs(17, alter=with_directions(lonely)))
    for result in output.results:
        assert (result.ci_low, result.ci_high, result.resamples_done) == (None, None, 0)
        assert "no interval over regulators" in result.reason
        assert result.n == 1


def test_both_edges_meet_the_same_draws(make_inputs):
    def twin(role):
        return replace(role, correlation=replace(role.attention.layer_matrix(2), name="correlation"))

    output = trrust_circularity(make_inputs(17, alter=twin))
    attention, correlation = (summary(output, edge).drop(columns="edge") for edge in ("attention", "correlation"))
    assert attention.equals(correlation)


def test_same_inputs_give_the_same_bytes(make_inputs, found):
    again = trrust_circularity(make_inputs(17, noise=1.0))
    assert again.results == found.results
    for name, table in found.tables.items():
        assert table.equals(again.tables[name])

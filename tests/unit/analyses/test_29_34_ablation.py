"""Analyses 29, 32 and 34 on made-up runs: tests are those of scipy, structural zeros say so, order does not matter."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import wilcoxon

from interp_assets.analyses.ablation import (
    CONDITIONS,
    expanded_head_ablation,
    original_head_ablation,
    orthogonal_interventions,
)
from qc_standards.records import Status
from qc_standards.registry import tests_of_analysis

FUNCTIONS = {29: original_head_ablation, 32: expanded_head_ablation, 34: orthogonal_interventions}
ROLE = "primary_screen"
STRUCTURAL = "structural zero: every changed part lies at or after the read-out layer"


def aurocs(record, condition, read_out="attention"):
    """AUROC by perturbation, by a loop over the table."""
    rows = record.aurocs
    kept = rows[(rows["condition"] == condition) & (rows["read_out"] == read_out)]
    return {row.perturbation: row.auroc for row in kept.itertuples()}


def differences(record, condition, read_out="attention"):
    clean, changed = aurocs(record, "clean", read_out), aurocs(record, condition, read_out)
    assert set(clean) == set(changed)
    return np.array([changed[name] - clean[name] for name in sorted(clean)])


def layers(record, condition):
    parts = record.conditions.set_index("condition").loc[condition, "parts"].split(";")
    return [int(part.removeprefix("mlp.").split(".")[0]) for part in parts]


def shuffled(record, seed):
    """The same run with the rows of every table in another order."""
    tables = {name: frame.sample(frac=1, random_state=seed) for name, frame in record.tables().items()}
    return replace(record, **tables)


@pytest.fixture
def ask(make_inputs, make_interventions):
    """Function: inputs of one analysis with a made-up run and the declared tests of the registry."""

    def factory(number, settings=None, **knobs):
        inputs = make_inputs(number, settings=settings)
        record = make_interventions(inputs.roles[ROLE], **knobs)
        return replace(inputs, interventions=record, tests=tests_of_analysis(number))

    return factory


@pytest.mark.parametrize("number", FUNCTIONS)
def test_p_effect_and_interval_of_every_row(ask, number):
    inputs = ask(number, effects={"top-5": -0.03, "uniform-top-5": 0.04, "mlp-8": -0.1, "random-20/1": 0.02})
    record = inputs.interventions
    results = FUNCTIONS[number](inputs).results
    assert [result.test_id for result in results] == [spec.test_id for spec in tests_of_analysis(number)]
    for spec, result in zip(inputs.tests, results, strict=True):
        name = CONDITIONS[spec.test_id]
        change, values = differences(record, name), np.array(list(aurocs(record, name).values()))
        acts = min(layers(record, name)) < 13
        assert result.status is Status.RUN
        assert change.any() == acts
        if spec.confirmatory:
            assert result.p == pytest.approx(wilcoxon(change).pvalue if acts else 1.0)
        else:
            assert result.p is None
        assert result.effect == pytest.approx(values.mean())
        assert result.null_mean == pytest.approx(np.mean(list(aurocs(record, "clean").values())))
        assert result.ci_low < result.effect < result.ci_high
        assert result.ci_high - result.ci_low == pytest.approx(2 * 1.96 * values.std() / np.sqrt(30), rel=0.35)
        assert (result.n, result.unit, result.layer) == (30, "perturbation", 2)
        assert (result.resamples_requested, result.resamples_done) == (200, 200)
        assert result.direction.startswith(f"{change.mean():+.4f}")
        assert result.reason == ("" if acts else STRUCTURAL)
        used = json.loads(result.settings_used)
        assert used["upstream_parts"] == sum(layer < 13 for layer in layers(record, name))
        assert used["uses_outcomes"] == name.startswith("composite")
        assert used["read_out"] == "attention"


def test_statistic_is_the_rank_sum_of_the_positive_changes(ask):
    inputs = ask(29, effects={"top-5": 1.0, "random-5/1": -1.0})
    results = original_head_ablation(inputs).results
    assert results[0].statistic == 30 * 31 / 2
    assert results[1].statistic == 0


def test_the_published_layers_behind_the_read_out_are_structural_zeros(ask):
    zeros = {
        result.test_id
        for number, function in FUNCTIONS.items()
        for result in function(ask(number)).results
        if result.reason == STRUCTURAL
    }
    assert {"A32.12", "A34.5", "A34.6"} <= zeros
    assert not {"A32.2", "A32.7", "A34.4"} & zeros


@pytest.mark.parametrize("number", FUNCTIONS)
def test_the_order_of_the_record_does_not_matter(ask, number):
    """Regression: clean and changed AUROC were paired by their place in the table."""
    inputs = ask(number, effects={"top-5": -0.02, "uniform-top-10": -0.02})
    one = FUNCTIONS[number](inputs)
    other = FUNCTIONS[number](replace(inputs, interventions=shuffled(inputs.interventions, 3)))
    assert other.results == one.results
    assert set(one.tables) == set(other.tables)
    for name, table in one.tables.items():
        key = [column for column in ("read_out", "condition", "perturbation", "layer", "head") if column in table]
        frames = [frame.sort_values(key).reset_index(drop=True) for frame in (table, other.tables[name])]
        pd.testing.assert_frame_equal(*frames)


def test_a_perturbation_missing_under_one_condition_is_refused(ask):
    inputs = ask(29)
    rows = inputs.interventions.aurocs
    lost = rows[(rows["condition"] == "top-5") & (rows["read_out"] == "attention")].index[0]
    broken = replace(inputs, interventions=replace(inputs.interventions, aurocs=rows.drop(lost)))
    with pytest.raises(ValueError, match="a unit has no difference"):
        original_head_ablation(broken)


@pytest.mark.parametrize("shape", [(4, 4), (2, 1), (8, 8)], ids=str)
def test_published_numbers_that_are_one_number_here_are_tested_once(ask, shape):
    skipped = {}
    for number, function in FUNCTIONS.items():
        inputs = ask(number, shape=shape, read_out=round(13 / 17 * (shape[0] - 1)))
        known = inputs.interventions.conditions.set_index("condition")
        seen = {}
        for result in function(inputs).results:
            row = known.loc[CONDITIONS[result.test_id]]
            same = (row["operation"], frozenset(row["parts"].split(";")))
            earlier = seen.setdefault(same, result.test_id)
            skipped[result.test_id] = earlier != result.test_id
            assert result.status is (Status.SKIPPED if skipped[result.test_id] else Status.RUN)
            assert not skipped[result.test_id] or result.reason == f"same as {earlier}"
            assert not skipped[result.test_id] or (result.p, result.effect) == (None, None)
    assert skipped["A32.8"] == (shape != (8, 8))  # top-5 where top-20 is one head as well
    assert skipped["A34.6"] == (shape == (2, 1))  # mlp-13-15 where it is the one layer of mlp-15


def test_one_head_alone_has_none_to_be_matched_with(ask):
    """Regression: a model of one head ended in an error."""
    results = original_head_ablation(ask(29, shape=(1, 1), read_out=0)).results
    assert [result.status for result in results] == [Status.RUN, *[Status.SKIPPED] * 4]
    assert results[4].reason == "the model has a single head: there is none to match"
    assert results[1].reason == "same as A29.1"
    assert results[0].reason == STRUCTURAL


@pytest.mark.parametrize("number", FUNCTIONS)
def test_without_interventions_every_row_says_why(ask, number):
    inputs = replace(ask(number), interventions=None, absent={"interventions": "an edge table has no heads"})
    output = FUNCTIONS[number](inputs)
    assert {result.reason for result in output.results} == {"an edge table has no heads"}
    assert {result.dataset for result in output.results} == {"synthetic-screen"}
    assert len(output.results) == len(inputs.tests)
    assert not output.tables
    unfilled = replace(inputs, roles={}, absent={ROLE: "not here", "interventions": "never asked"})
    assert {result.reason for result in FUNCTIONS[number](unfilled).results} == {"not here"}
    silent = FUNCTIONS[number](replace(inputs, absent={}))
    assert {result.reason for result in silent.results} == {"no interventions were run"}


@pytest.fixture
def tables(ask):
    """Inputs and tables of analysis 32 on a run in which the best upstream heads matter."""
    effects = {"upstream-top-5": -0.02, "upstream-top-50": -0.3, "upstream-random-20/3": -0.5}
    inputs = ask(32, effects=effects, random_sets=6)
    return inputs, expanded_head_ablation(inputs).tables


def test_the_table_covers_every_condition_and_read_out(tables):
    inputs, found = tables
    table, record = found["causal_ablation"], inputs.interventions
    assert not table.duplicated(["read_out", "condition"]).any()
    assert len(table) == 3 * len(record.conditions)
    assert set(table["role"]) == {ROLE}
    for row in table.itertuples():
        change = differences(record, row.condition, row.read_out)
        assert row.delta == pytest.approx(change.mean())
        assert row.mean_auroc - row.clean_auroc == pytest.approx(row.delta)
        assert row.p == pytest.approx(wilcoxon(change).pvalue if change.any() else 1.0)
        assert row.n == 30
        assert row.ci_low <= row.delta <= row.ci_high
        if change.any():
            assert row.d == pytest.approx(change.mean() / change.std(ddof=1))
        limit = {"attention": 13, "last_attention": 17, "logits": 18}[row.read_out]
        assert row.upstream == (max(layers(record, row.condition)) < limit)


def test_p_against_random_sets_counts_sets_of_the_same_size_and_pool(tables):
    inputs, found = tables
    record, table = inputs.interventions, found["causal_ablation"].set_index(["read_out", "condition"])
    judged = [f"upstream-top-{dose}" for dose in (5, 10, 20, 50)]
    for (read_out, name), row in table.iterrows():
        if name not in judged:
            assert row["random_sets"] == 0
            assert np.isnan(row["p_random"])
            continue
        dose = name.split("-")[-1]
        sets = [differences(record, f"upstream-random-{dose}/{n}", read_out).mean() for n in range(1, 7)]
        own = differences(record, name, read_out).mean()
        assert row["random_sets"] == 6
        assert row["p_random"] == pytest.approx((1 + sum(one <= own for one in sets)) / 7)
        assert row["random_mean"] == pytest.approx(np.mean(sets))
        assert row["random_sd"] == pytest.approx(np.std(sets, ddof=1))
    assert table.loc[("attention", "upstream-top-50"), "p_random"] == pytest.approx(1 / 7)
    assert table.loc[("attention", "upstream-top-20"), "p_random"] >= 2 / 7


def test_a_random_set_that_is_the_best_set_counts_against_it(ask):
    """In a small pool a random set may hold the very heads that rank best; it then lowers as much."""
    inputs = ask(32)
    rows = inputs.interventions.aurocs
    best = rows[rows["condition"] == "upstream-top-5"]
    others = rows[~rows["condition"].isin(["upstream-random-5/2"])]
    twice = pd.concat([others, best.assign(condition="upstream-random-5/2")], ignore_index=True)
    found = expanded_head_ablation(replace(inputs, interventions=replace(inputs.interventions, aurocs=twice)))
    table = found.tables["causal_ablation"].set_index(["read_out", "condition"])
    deltas = [table.loc[("attention", f"upstream-random-5/{number}"), "delta"] for number in (1, 3, 4)]
    own = table.loc[("attention", "upstream-top-5")]
    assert own["p_random"] == pytest.approx((2 + sum(delta <= own["delta"] for delta in deltas)) / 5)


def test_what_criterion_d_reads_is_handed_on_as_it_was_measured(tables):
    inputs, found = tables
    for table, frame in (("intervention_conditions", "conditions"), ("intervention_auroc", "aurocs")):
        kept = found[table].drop(columns=["role", "dataset"])
        pd.testing.assert_frame_equal(kept, getattr(inputs.interventions, frame))
        assert set(found[table]["dataset"]) == {"synthetic-screen"}


def test_the_ranking_of_heads_is_told_with_its_reference(ask):
    inputs = ask(29)
    table = original_head_ablation(inputs).tables["head_ranking"]
    assert len(table) == 324
    assert set(table["reference"]) == {"planted"}


def test_noise_is_called_no_more_often_than_the_level(ask):
    found = []
    for seed in range(12):
        inputs = ask(34, seed=seed, settings={"bootstrap": 2})
        found += [result.p for result in orthogonal_interventions(inputs).results[:4]]
    # 48 tests at .05: 2.4 expected, four binomial deviations above is 8
    assert np.sum(np.array(found) <= 0.05) <= 8


def test_the_same_inputs_give_the_same_bytes(ask):
    one, other = (expanded_head_ablation(ask(32, seed=2)) for _ in range(2))
    assert one.results == other.results
    for name, table in one.tables.items():
        pd.testing.assert_frame_equal(table, other.tables[name])

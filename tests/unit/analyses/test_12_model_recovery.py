"""Analysis 12: recovery beside scores that need no model, order of tokens, ties, relabelled genes."""

from __future__ import annotations

import importlib.util
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from interp_assets.analyses.cell_runs import RunReference, run_cells, run_scores
from interp_assets.analyses.model_recovery import _judge, _Models, _recovery, multi_model_recovery
from interp_assets.analyses.model_scores import KINDS, missing_rule_of_order, model_scores
from interp_assets.edges.records import Reference
from interp_assets.stats.mantel import gene_permutations
from interp_assets.stats.relabelled import relabelled_targets
from interp_assets.stats.resampling import group_weights
from qc_standards.records import Status

spec = importlib.util.spec_from_file_location("run_world", Path(__file__).with_name("run_world.py"))
world = sys.modules["run_world"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(world)

SETTINGS = {
    "analysis_depth": 1.0,
    "bootstrap": 100,
    "folds": 4,
    "mantel_permutations": 99,
    "recovery_bootstrap": 400,
    "recovery_cells": (40, 100, 250),
}
ROLES = ("layer_selection", "tissues[1]")


@pytest.fixture
def recover(make_inputs):
    """Factory of outputs; attention of the roles is ``follows`` x co-expression + ``listed`` x membership + noise."""

    def roles(seed, follows, listed, names):
        made = {}
        for number, name in enumerate(names):
            role = make_inputs(12, "noise", genes=50, perturbations=8, targets=6, layers=2, seed=seed * 10 + number)
            role = role.roles["primary_screen"]
            rng = np.random.default_rng([seed, number, 4])
            shape = (50, 50)
            expressed = np.abs(rng.normal(size=shape))
            expressed = expressed + expressed.T
            member = np.zeros(shape)
            network = role.references["planted"]
            member[network.source, network.target] = 1.0
            score = follows * expressed + listed * member + rng.normal(size=shape)
            matrix = role.attention.layer_matrix
            attention = replace(
                role.attention, layer_matrix=lambda k, m=matrix, s=score: replace(m(k), score=s.astype(np.float32))
            )
            correlation = replace(role.correlation, score=expressed.astype(np.float32))
            made[name] = replace(
                role, role=name, dataset=f"data {number}", attention=attention, correlation=correlation
            )
        return made

    def factory(*, settings=None, follows=0.0, listed=0.0, names=ROLES, read=True, filled=True, **knobs):
        chosen = world.Knobs(role="layer_selection", **knobs)
        made = roles(chosen.seed, follows, listed, names)
        inputs = world.run_inputs(12, {**SETTINGS, **(settings or {})}, chosen, read=read, filled=filled, roles=made)
        return multi_model_recovery(inputs)

    return factory


def result(output, test):
    return next(row for row in output.results if row.test_id == test)


def score(output, name, cells=250, reference="net", table="model_recovery"):
    found = output.tables[table]
    chosen = found[(found["score"] == name) & (found["cells"] == cells) & (found["reference"] == reference)]
    return chosen.iloc[0]


def test_planted_edges_are_recovered_and_others_are_not(recover):
    output = recover(signal=1.0)
    assert {row.status for row in output.results} == {Status.RUN}
    planted, other = result(output, "A12.1"), result(output, "A12.2")
    assert planted.effect > 0.85
    assert planted.ci_low > 0.7
    assert planted.p == 0.01
    assert other.p > 0.05
    assert result(output, "A12.3").ci_low > 0.2
    assert json.loads(result(output, "A12.4").settings_used)["intervals"] == 6
    assert json.loads(result(output, "A12.4").settings_used)["intervals_with_half"] <= 4
    assert score(output, "correlation")["auroc"] == pytest.approx(0.5, abs=0.15)
    assert set(output.tables["model_recovery"]["score"]) == set(KINDS)


def test_noise_recovers_nothing(recover):
    p, rho = [], []
    for seed in range(8):
        output = recover(seed=seed, settings={"recovery_bootstrap": 200, "mantel_permutations": 39, "bootstrap": 5})
        p += [result(output, "A12.1").p, result(output, "A12.2").p]
        rho += [result(output, "A12.5").p, result(output, "A12.6").p]
    assert sum(value <= 0.05 for value in p) <= 2
    assert sum(value <= 0.05 for value in rho) <= 2


def test_a_score_below_one_half_recovers_nothing_whatever_relabelling_says(recover):
    output = recover(signal=-1.0)
    row = result(output, "A12.1")
    assert row.effect < 0.3
    assert row.p > 0.95


def test_the_larger_of_both_p_counts():
    """Regulators with many targets have low scores: relabelled targets fall below one half, and the score less far."""
    rng = np.random.default_rng(0)
    own, genes = np.arange(6), 40
    candidate = own[:, None] != np.arange(genes)[None, :]
    member = np.zeros((6, genes), dtype=bool)
    for row, targets in enumerate((14, 12, 10, 1, 1, 1)):
        member[row, 6 : 6 + targets] = True
    score = rng.normal(size=member.shape) + 1.0 * member - 3.0 * (own < 3)[:, None]
    reference = RunReference(name="net", directed=True, rows=own, own=own, candidate=candidate, member=member)
    inputs = world.run_inputs(12, SETTINGS, world.Knobs())
    relabelled = relabelled_targets(member, own, gene_permutations(genes, 99, rng))
    weights = group_weights(6, 400, rng)
    judged = _judge(inputs, reference, "attention_layer_mean", score, weights, relabelled)
    models = _Models(source=None, counts=(1,), made={}, judged={("net", 1, "attention_layer_mean"): judged})
    found = _recovery(models, reference)
    assert judged.counted.auroc < 0.5
    assert found["settings"]["p_relabelled"] == 0.01
    assert found["p"] == found["settings"]["p_against_half"] > 0.5
    assert "was added after the first alone" in found["direction"]


def test_one_regulator_has_no_interval_and_no_p(recover):
    output = recover(references=("net", "single"))
    row = result(output, "A12.2")
    assert row.status is Status.RUN
    assert row.effect is not None
    assert (row.p, row.ci_low, row.ci_high) == (None, None, None)
    assert "could not be computed" in row.reason
    used = json.loads(result(output, "A12.4").settings_used)
    assert (used["intervals"], used["intervals_absent"]) == (3, 3)
    table = output.tables["model_comparison"].set_index("reference")
    assert table.loc["single", "ci_low"].isna().all()
    assert (table.loc["single", "resamples_done"] == 0).all()


def test_a_layer_chosen_on_the_same_data_is_told(recover):
    output = recover()
    assert "chosen by its recovery on this very dataset" in result(output, "A12.3").direction
    for test in ("A12.1", "A12.2", "A12.4"):
        used = json.loads(result(output, test).settings_used)
        assert used["layer_rule"] == "mean over all layers; none is chosen"
        assert not {"analysis_depth", "folds"} & set(used)


def test_numbers_equal_sklearn(recover):
    output = recover(signal=0.4)
    knobs = world.Knobs(role="layer_selection", signal=0.4)
    value, held = world.cell_values(knobs)
    drawn = np.random.default_rng([0, 12, 1]).permutation(world.CELLS)[:40]
    both = held[drawn][:, : world.ROWS, None] & held[drawn][:, None, :]
    attention = (value.mean(axis=0)[drawn] * both).sum(axis=0) / both.sum(axis=0)
    member = np.zeros(attention.shape, dtype=bool)
    member[world.edges("net")] = True
    pair = np.arange(world.ROWS)[:, None] != np.arange(world.GENES)[None, :]
    assert both.sum(axis=0)[pair].min() > 0
    found = score(output, "attention_layer_mean", cells=40)
    assert found["auroc"] == pytest.approx(roc_auc_score(member[pair], attention[pair]), abs=1e-6)
    assert found["ci_low"] < found["auroc"] < found["ci_high"]
    assert found["ci_edge_low"] < found["auroc"] < found["ci_edge_high"]
    row = result(output, "A12.1")
    every = [score(output, "attention_layer_mean", cells=cells)["auroc"] for cells in (40, 100, 250)]
    assert row.effect == pytest.approx(np.mean(every))
    assert json.loads(row.settings_used)["auroc"] == pytest.approx(every)
    side = score(output, "correlation", table="model_comparison")
    assert result(output, "A12.3").effect == pytest.approx(side["difference"])
    assert side["difference"] == pytest.approx(side["auroc_attention"] - side["auroc"])


def test_attention_that_is_token_order_loses_all_of_it():
    inputs = world.run_inputs(12, SETTINGS, world.Knobs(role="layer_selection", order=3.0))
    source = run_cells(inputs, "layer_selection")
    made = model_scores(source, np.arange(world.CELLS), every=True, folds=4, seed=[0])
    pair = source.references[0].candidate
    order = made.scores["token_order"][pair]
    assert spearmanr(made.scores["attention_layer_mean"][pair], order).statistic > 0.7
    assert abs(spearmanr(made.scores["attention_without_token_order"][pair], order).statistic) < 0.1


def test_order_control_of_a_model_that_looks_back_is_that_of_its_own_tokens():
    """Where the reading states what order alone gives an entry, that is the order score, pooled like the attention."""
    inputs = world.run_inputs(12, SETTINGS, world.Knobs(role="layer_selection", holding=0.12))
    kept = inputs.readings["cell_attention"]
    order = np.random.default_rng(3).random(kept.arrays["layer_selection_value"].shape[1]).astype(np.float32)
    arrays = {**kept.arrays, "layer_selection_order": order}
    stated = replace(inputs, readings={"cell_attention": replace(kept, arrays=arrays)})
    source, cells = run_cells(stated, "layer_selection"), np.arange(40)
    made = model_scores(source, cells, every=True, folds=4, seed=[0])
    inside = source.averaged.cell < 40
    pair = source.averaged.pair[inside]
    count = np.bincount(pair, minlength=made.scores["token_order"].size)
    mean = np.bincount(pair, order[inside], minlength=count.size) / np.maximum(count, 1)
    off = source.averaged.rows[:, None] != np.arange(world.GENES)
    seen = count.reshape(off.shape) > 0
    expected = np.where(seen, mean.reshape(off.shape), mean.reshape(off.shape)[seen & off].min())
    assert not seen[off].all()
    np.testing.assert_allclose(made.scores["token_order"][off], expected[off], rtol=1e-6)
    assert missing_rule_of_order(source) == "lowest"
    assert "one half" in missing_rule_of_order(run_cells(inputs, "layer_selection"))


def test_pairs_that_no_cell_holds_are_never_among_the_top():
    inputs = world.run_inputs(12, SETTINGS, world.Knobs(role="layer_selection", holding=0.12))
    source, cells = run_cells(inputs, "layer_selection"), np.arange(40)
    observed = run_scores(source, cells, "attention_layer_mean")[1]
    assert (observed.sum(axis=1) < 20).any()
    kept = model_scores(source, cells, every=True, folds=4, seed=[0]).scores["attention_top_20"] > 0
    assert not (kept & ~observed).any()
    assert np.array_equal(kept.sum(axis=1), np.minimum(observed.sum(axis=1), 20))


def test_ties_decide_truncated_scores(recover):
    table = recover().tables["model_ties"].set_index(["reference", "score"])
    cut, whole = table.loc[("net", "attention_top_20")], table.loc[("net", "attention_layer_mean")]
    assert cut["tied_share"] > 0.1 > whole["tied_share"]
    assert cut["auroc_ties_against"] < cut["auroc_ties_half"] < cut["auroc_ties_for"]
    assert cut["auroc_broken_mean"] == pytest.approx(cut["auroc_ties_half"], abs=0.03)
    assert cut["auroc_broken_sd"] > 0.0


def test_associations_are_found_with_their_size(recover):
    output = recover(follows=1.0, listed=2.0)
    expression, member = result(output, "A12.5"), result(output, "A12.6")
    for row in (expression, member):
        assert row.p == 0.01
        assert row.ci_low > 0.0
        assert row.n == 100
    table = output.tables["model_mapping"].set_index(["role", "quantity"])
    assert expression.effect == pytest.approx(
        np.mean([table.loc[(role, "co_expression"), "spearman"] for role in ROLES])
    )
    assert set(table.index.get_level_values(1)) == {"co_expression", "membership"}


def test_the_weaker_dataset_decides_and_a_dataset_counts_once(recover, make_inputs):
    output = recover(follows=1.0)
    used = json.loads(result(output, "A12.6").settings_used)
    assert result(output, "A12.6").p == max(used["p"].values())
    alone = recover(follows=1.0, names=ROLES[:1])
    assert result(alone, "A12.5").status is Status.RUN
    assert "tissues[1]" in result(alone, "A12.5").reason


def test_without_a_model_only_the_associations_run(recover):
    output = recover(read=False, follows=1.0)
    assert [row.status for row in output.results] == [Status.SKIPPED] * 4 + [Status.RUN] * 2
    assert "table of finished scores" in output.results[0].reason
    assert set(output.tables) == {"model_mapping"}
    nothing = recover(read=False, filled=False, names=())
    assert {row.status for row in nothing.results} == {Status.SKIPPED}
    assert all(row.reason for row in nothing.results)
    assert not nothing.tables


def test_one_reference_and_few_cells_say_so(recover):
    one = recover(references=("net",))
    assert [row.test_id for row in one.results if row.status is Status.SKIPPED] == ["A12.2"]
    assert "target_in_degree_elsewhere" not in set(one.tables["model_recovery"]["score"])
    few = recover(settings={"recovery_cells": (20, 500, 4000)})
    assert [row.status for row in few.results[:4]] == [Status.SKIPPED] * 4
    assert "they must rise from 20" in few.results[0].reason


def test_membership_equals_scipy_and_an_undirected_network_is_symmetric(make_inputs):
    role = make_inputs(12, "planted", genes=50, perturbations=8, targets=6, layers=1).roles["primary_screen"]
    source, target = role.references["planted"].source, role.references["planted"].target
    both = Reference(
        name="planted",
        genes=role.genes,
        source=np.concatenate([source, target]),
        target=np.concatenate([target, source]),
        directed=False,
        regulators=np.arange(50, dtype=np.int32),
    )
    role = replace(role, role="tissues[1]", references={"planted": both})
    inputs = world.run_inputs(12, SETTINGS, world.Knobs(role="layer_selection"), read=False, roles={"tissues[1]": role})
    table = multi_model_recovery(inputs).tables["model_mapping"].set_index("quantity")
    attention = role.attention.layer_matrix(0).score.astype(float)
    listed = np.zeros((50, 50))
    listed[both.source, both.target] = 1.0
    pair = ~np.eye(50, dtype=bool)
    expected = spearmanr(((attention + attention.T) / 2)[pair], listed[pair]).statistic
    assert table.loc["membership", "spearman"] == pytest.approx(expected, abs=1e-9)


def test_same_inputs_give_the_same_bytes(recover):
    one, two = recover(signal=0.3), recover(signal=0.3)
    assert one.results == two.results
    for name, table in one.tables.items():
        assert table.equals(two.tables[name])

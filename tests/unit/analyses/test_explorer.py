"""Explorer tables: the very numbers of the analyses, recovery over all candidates, a choice that no score decides."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from interp_assets.analyses import explorer_choice
from interp_assets.analyses.explorer import explore, row_ranks
from interp_assets.analyses.per_regulator import per_regulator_bootstrap
from interp_assets.analyses.perturbation_first import perturbation_first_evaluation
from interp_assets.edges.records import EdgeMatrix, Reference

NO_HEADS = "an edge table has no heads"
KEY = ["regulator", "target"]


def outcomes_of(role):
    rows, columns = np.nonzero(role.label >= 0)
    return pd.DataFrame(
        {
            "perturbation": role.perturbations[rows],
            "gene": role.genes[columns],
            "lfc": rows - columns / 100.0,
            "p": 0.5,
            "q": columns / 1000.0,
            "label": role.label[rows, columns],
        }
    )


def head_scores(role):
    """Heads whose scores are known: those of the layer, shifted by the head, over genes in another order."""
    genes = role.genes[::-1].copy()

    def heads(layer, head):
        whole = role.attention.layer_matrix(layer)
        score = (whole.score + np.float32(head) * whole.score.T)[::-1, ::-1].copy()
        return EdgeMatrix(
            name="head", genes=genes, score=score, cells_behind=whole.cells_behind, cells_hash=whole.cells_hash
        )

    return heads


def both_ways(role):
    """The planted network without directions: every pair in both orders."""
    planted = role.references["planted"]
    pairs = {tuple(sorted(pair)) for pair in zip(planted.source.tolist(), planted.target.tolist(), strict=True)}
    source, target = np.array(sorted(pairs), dtype=np.int32).T
    return Reference(
        name="undirected",
        genes=role.genes,
        source=np.concatenate([source, target]),
        target=np.concatenate([target, source]),
        directed=False,
        regulators=np.arange(role.genes.size, dtype=np.int32),
    )


@pytest.fixture(scope="module")
def inputs(make_inputs):
    def alter(role):
        return replace(role, references={**role.references, "undirected": both_ways(role)})

    return make_inputs(18, alter=alter, missing=0.1, genes=120, perturbations=12, listed=0.8)


@pytest.fixture(scope="module")
def role(inputs):
    return inputs.roles["primary_screen"]


@pytest.fixture(scope="module")
def found(role, inputs):
    return explore(role, inputs.layer_choice, head_scores(role), outcomes_of(role), seed=0).tables


def one_score(found, table="scores", **wanted):
    frame = found[table]
    for column, value in wanted.items():
        frame = frame[frame[column] == value]
    return frame


def test_values_are_those_of_the_edge_matrices_and_features(role, found):
    at = {str(gene): place for place, gene in enumerate(role.genes)}
    heads = head_scores(role)
    for row in found["scores"].sample(400, random_state=0).itertuples():
        i, j = at[row.regulator], at[row.target]
        if row.score == "correlation":
            expected = role.correlation.score[i, j]
        elif row.score == "attention" and row.head == -1:
            expected = role.attention.layer_matrix(row.layer).score[i, j]
        elif row.score == "attention":
            flipped = heads(row.layer, row.head)
            expected = flipped.score[role.genes.size - 1 - i, role.genes.size - 1 - j]
        elif row.score == "one_minus_dropout":
            expected = 1 - role.features["dropout"].iloc[j]
        else:
            expected = role.features[row.score].iloc[j]
        np.testing.assert_equal(row.value, float(expected))
    assert found["scores"]["value"].isna().any()


def test_every_layer_head_and_gene_level_score_is_there_once_for_each_pair(role, found):
    kinds = found["scores"][["score", "layer", "head"]].drop_duplicates()
    assert len(kinds) == role.attention.layers * (1 + role.attention.heads) + 4
    assert len(found["scores"]) == len(kinds) * len(found["targets"])
    assert not found["scores"].duplicated([*KEY, "score", "layer", "head"]).any()


def test_rank_counts_the_other_evaluable_genes_that_score_higher(role, found):
    score = np.array(role.attention.layer_matrix(1).score, dtype=np.float64)
    np.fill_diagonal(score, np.nan)
    score[np.isnan(score)] = np.nanmin(score)
    at = {str(gene): place for place, gene in enumerate(role.genes)}
    for row in one_score(found, score="attention", layer=1, head=-1).iloc[::7].itertuples():
        own = np.delete(score[at[row.regulator]], at[row.regulator])
        value = score[at[row.regulator], at[row.target]]
        assert row.rank == (own > value).sum() + ((own == value).sum() + 1) / 2


def test_recovery_is_that_of_the_analyses(inputs, role, found):
    table = per_regulator_bootstrap(inputs).tables["per_regulator"]
    layer = int(found["facts"]["read_layer"].iloc[0])
    for edge, at in (("attention", layer), ("correlation", -1)):
        expected = table[table["edge"] == edge].set_index("regulator")
        own = one_score(found, "recovery", score=edge, layer=at, head=-1, reference="planted").set_index("regulator")
        common = own.index[own["n_targets"] > 0]
        np.testing.assert_allclose(own.loc[common, "auroc"], expected.loc[common, "auroc"], rtol=1e-12)
        assert (own.loc[common, "n_candidates"] == expected.loc[common, "n_candidates"]).all()


def test_recovery_of_outcomes_is_that_of_analysis_19(make_inputs, inputs, found):
    screen = replace(make_inputs(19), roles=inputs.roles)
    table = perturbation_first_evaluation(screen).tables["perturbation_auroc"]
    layer = int(found["facts"]["read_layer"].iloc[0])
    for name in ("attention", "variance"):
        expected = table[(table["score"] == name) & (table["subset"] == "all")].set_index("perturbation")["auroc"]
        at = layer if name == "attention" else -1
        own = one_score(found, "recovery", score=name, layer=at, head=-1, reference=explorer_choice.OUTCOME)
        own = own.set_index("regulator")["auroc"]
        common = expected.index.intersection(own.index)
        assert common.size
        np.testing.assert_allclose(own[common], expected[common], rtol=1e-12)


def test_a_network_without_directions_is_scored_by_the_mean_of_both(role, found):
    score = np.array(role.attention.layer_matrix(0).score, dtype=np.float64)
    np.fill_diagonal(score, np.nan)
    score[np.isnan(score)] = np.nanmin(score)
    mean = (score + score.T) / 2
    rows = one_score(found, "recovery", score="attention", layer=0, head=-1, reference="undirected").iloc[:3]
    network = role.references["undirected"]
    for row in rows.itertuples():
        i = int(np.flatnonzero(role.genes == row.regulator)[0])
        member = np.isin(np.arange(role.genes.size), network.target[network.source == i])
        others = np.arange(role.genes.size) != i
        assert row.auroc == pytest.approx(roc_auc_score(member[others], mean[i, others]), abs=1e-12)
    held = one_score(found, score="attention", layer=0, head=-1)
    assert (held["rank_both_directions"] != held["rank"]).any()


def test_every_target_says_why_it_is_shown_and_what_was_left_out(role, found):
    targets, listed = found["targets"], found["listed"]
    named = listed.groupby(KEY, sort=False).size()
    of = targets.set_index(KEY)["why"]
    assert set(of[of == "listed"].index) == set(named.index)
    assert set(of) <= {"listed", "responds", "attention", "drawn"}
    assert (targets[targets["why"] == "responds"]["outcome"] == 1).all()
    assert (targets[targets["why"].isin(["attention", "drawn"])]["outcome"] != 1).all()
    network = role.references["planted"]
    for regulator, shown in found["regulators"].set_index("regulator")["shown"].items():
        i = int(np.flatnonzero(role.genes == regulator)[0])
        assert shown == (targets["regulator"] == regulator).sum()
        planted = set(role.genes[network.target[network.source == i]])
        here = listed[(listed["regulator"] == regulator) & (listed["reference"] == "planted")]
        assert set(here["target"]) == planted
        expected = {
            role.genes[t]: d
            for s, t, d in zip(network.source, network.target, network.direction, strict=True)
            if s == i
        }
        assert here.set_index("target")["direction"].to_dict() == expected


def test_outcome_and_measured_change_are_the_screens(role, found):
    measured = outcomes_of(role).set_index(["perturbation", "gene"])
    perturbed = found["regulators"].set_index("regulator")["perturbed"]
    targets = found["targets"]
    assert (targets[~targets["regulator"].map(perturbed)]["outcome"] == -1).all()
    for row in targets[targets["outcome"] >= 0].iloc[::5].itertuples():
        told = measured.loc[(row.regulator, row.target)]
        assert (row.outcome, row.lfc, row.q) == (told["label"], told["lfc"], told["q"])
    assert targets[targets["outcome"] < 0]["lfc"].isna().all()


def test_a_crowd_of_listed_genes_is_thinned_by_draw_and_not_by_score(role, monkeypatch):
    monkeypatch.setattr(explorer_choice, "MOST_MARKED", 5)
    held = explorer_choice.held_against(role)
    regulator = int(explorer_choice.ordered_regulators(role, held)[0])
    strength = np.random.default_rng(3).random(role.genes.size)
    shown = explorer_choice.shown_targets(role, held, regulator, strength, seed=0)
    again = explorer_choice.shown_targets(role, held, regulator, strength[::-1].copy(), seed=0)
    marked = [gene for gene, why in zip(shown.targets, shown.why, strict=True) if why in ("listed", "responds")]
    assert marked == [gene for gene, why in zip(again.targets, again.why, strict=True) if why in ("listed", "responds")]
    every = np.logical_or.reduce([one.member[regulator] for one in held])
    assert (len(marked), shown.left_out) == (5, int(every.sum()) - 5)


def test_the_budget_bounds_the_page_and_the_first_regulators_stay(role, inputs, monkeypatch, found):
    monkeypatch.setattr(explorer_choice, "NUMBERS", 15_000)
    few = explore(role, inputs.layer_choice, head_scores(role), outcomes_of(role), seed=0).tables
    names = few["regulators"]["regulator"].tolist()
    assert len(few["scores"]) <= 5000
    assert names == found["regulators"]["regulator"].tolist()[: len(names)]
    assert few["facts"]["regulators"].iloc[0] == found["facts"]["regulators"].iloc[0] > len(names)


def test_without_heads_the_layers_are_there_and_the_reason_is_kept(role, inputs):
    tables = explore(role, inputs.layer_choice, NO_HEADS, outcomes_of(role), seed=0).tables
    facts = tables["facts"].iloc[0]
    assert (bool(facts["heads_kept"]), facts["heads_reason"]) == (False, NO_HEADS)
    assert set(tables["scores"]["head"]) == {-1}


def test_heads_of_other_cells_are_refused(role, inputs):
    def heads(layer, head):
        return replace(head_scores(role)(layer, head), cells_hash="other")

    with pytest.raises(ValueError, match="other cells"):
        explore(role, inputs.layer_choice, heads, outcomes_of(role), seed=0)


def test_nothing_listed_and_nothing_responding_is_a_reason(role, inputs):
    bare = replace(role, references={}, label=np.where(role.label == 1, 0, role.label).astype(np.int8))
    assert "no reference network" in explore(bare, inputs.layer_choice, NO_HEADS, outcomes_of(bare), seed=0)


def test_ties_share_a_rank_and_the_own_gene_comes_last():
    assert row_ranks(np.array([[3.0, 9.0, 3.0, 1.0]]), np.array([1])).tolist() == [[1.5, 4.0, 1.5, 3.0]]

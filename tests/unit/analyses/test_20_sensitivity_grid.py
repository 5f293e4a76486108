"""Analysis 20: planted edges are above chance in all conditions, noise in none; copies count once."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from interp_assets.analyses.sensitivity_grid import (
    CHANCE,
    EDGES,
    GENE_LEVEL,
    LEVEL,
    conditions,
    name_of,
    sensitivity_grid,
)
from interp_assets.readings.records import Reading
from interp_assets.stats.ranking import fill_missing
from qc_standards.records import Status
from qc_standards.registry import tests_of_analysis

ROLE = "primary_screen"
LAYER = 2
SHARES = (0.5, 1.0)


def reading_of(role, seed=0, *, cells=(25, 100, 500), spread=(2.0, 1.0, 0.8)) -> Reading:
    """Reading whose base holds the role's edges and labels; other control sets add noise of their own to both."""
    rng = np.random.default_rng([seed, 20])
    p_count, genes = role.label.shape
    half = rng.random(genes) < SHARES[0]
    half[role.source] = True
    every = np.ones(genes, dtype=bool)
    matrices = {"attention": role.attention.layer_matrix(LAYER).score, "correlation": role.correlation.score}
    arrays = {
        "genes": role.genes,
        "universe": np.array([half, every, every]),
        "known": every,
        "perturbations": role.perturbations,
        "source": role.source.astype(np.int64),
    }
    for name, matrix in matrices.items():
        noise = rng.normal(size=(3, genes, genes)) * (np.array(spread) * (np.arange(3) != 1))[:, None, None] * 0.2
        own = (matrix[None] + noise).astype(np.float32)
        arrays[name] = own[:, role.source]
        lists = arrays["universe"]
        arrays[f"{name}_lowest"] = np.array(
            [[fill_missing(layer[np.ix_(mask, mask)])[0].min() for mask in lists] for layer in own]
        )
    for name in ("mean", "variance", "dropout"):
        arrays[name] = np.tile(role.features[name].to_numpy(np.float64), (3, 1))
    p = np.where(role.label == 1, 1e-9, rng.uniform(0.2, 1.0, (p_count, genes)))
    fold = np.where(role.label == 1, 1.3, rng.uniform(0.0, 0.2, (p_count, genes)))
    missing = role.label < 0
    arrays["p"] = np.tile(np.where(missing, np.nan, p), (3, 1, 1))
    arrays["log_fold"] = np.tile(np.where(missing, np.nan, fold), (3, 1, 1))
    # the smaller control set loses some positives, and folds above 1 are fewer still
    lost = (role.label == 1) & (rng.random(role.label.shape) < 0.2)
    arrays["p"][0][lost] = 0.9
    arrays["log_fold"][:, (role.label == 1) & (rng.random(role.label.shape) < 0.3)] = 0.7
    facts = {
        "cells_hash": role.cells_hash,
        "layer": LAYER,
        "cell_factors": [0.25, 1.0, 5.0],
        "gene_factors": [0.5, 1.0, 2.5],
        "edge_cells": list(cells),
        "outcome_cells": list(cells),
        "genes_tested": arrays["universe"].sum(axis=1).tolist(),
        "genes_scored": arrays["universe"].sum(axis=1).tolist(),
        "q": 0.05,
        "log_fold": 0.5,
        "grid_edge_cells": 10_000,
    }
    return Reading(arrays=arrays, facts=facts)


@pytest.fixture
def ask(make_inputs):
    """Function: inputs with a made-up grid and the declared tests; ``change`` alters the reading."""

    def factory(kind="planted", *, change=None, grid=None, **knobs):
        inputs = make_inputs(20, kind, **knobs)
        found = reading_of(inputs.roles[ROLE], knobs.get("seed", 0), **(grid or {}))
        found = found if change is None else change(found)
        return replace(inputs, readings={"sensitivity_grid": found}, tests=tests_of_analysis(20))

    return factory


def row_of(output, number):
    return output.results[number - 1]


def test_planted_edges_are_above_chance_in_every_condition(ask):
    output = sensitivity_grid(ask())
    first, second = output.results
    table = output.tables["sensitivity_grid"]
    own = table[(table["score"] == "attention") & (table["same_as"] == "")]
    assert first.status is Status.RUN
    assert (first.effect, first.n, first.unit) == (len(own), 18, "condition")
    assert first.p == own["p"].max() < LEVEL
    assert first.statistic == own["mean_auroc"].min() > 0.7
    assert first.ci_low == first.ci_high == 18
    assert second.effect == pytest.approx(own["mean_auroc"].max() - own["mean_auroc"].min())
    assert second.statistic == 0
    assert second.p is None
    assert (first.resamples_requested, first.resamples_done) == (200, 200)


def test_noise_gives_no_finding(ask):
    largest, called = [], []
    for seed in range(5):
        result = row_of(sensitivity_grid(ask("noise", seed=seed)), 1)
        largest.append(result.p)
        called.append(result.effect / result.n)
        assert result.ci_low <= result.effect
    assert min(largest) > LEVEL
    assert np.mean(called) < 0.15


def test_gene_level_dominance_is_counted(ask):
    output = sensitivity_grid(ask("confound", targets=20))
    table = output.tables["sensitivity_grid"]
    own = table[(table["score"] == "attention") & (table["same_as"] == "")]
    assert row_of(output, 2).statistic == own["gene_level_wins"].sum() > 0
    for row in own.itertuples():
        means = table[(table["condition"] == row.condition) & table["score"].isin(GENE_LEVEL)]
        best = means.loc[means["mean_auroc"].idxmax()]
        assert (row.gene_level_best, row.gene_level_auroc) == (best["score"], best["mean_auroc"])
        assert row.gene_level_minus_score == pytest.approx(best["mean_auroc"] - row.mean_auroc)


def test_every_condition_equals_a_loop(ask):
    """Labels by scipy's BH, AUROC by scikit-learn, t by scipy."""
    inputs = ask(missing=0.2, genes=40, perturbations=8, targets=8)
    found = inputs.readings["sensitivity_grid"]
    table = sensitivity_grid(inputs).tables["sensitivity_grid"]
    for condition in conditions(found.facts):
        fold, cells, genes = condition.place
        listed = np.flatnonzero(found.arrays["universe"][genes])
        for score in ("attention", "mean"):
            aurocs = []
            for place, source in enumerate(found.arrays["source"]):
                p, change = (found.arrays[name][cells, place, listed] for name in ("p", "log_fold"))
                tested = ~np.isnan(p)
                q = stats.false_discovery_control(p[tested])
                label = (q < 0.05) & (np.abs(change[tested]) > (0.25, 0.5, 1.0)[fold])
                if not (3 <= label.sum() <= label.size - 3):
                    continue
                values = found.arrays[score][cells]
                values = values[place, listed][tested] if score in EDGES else values[listed][tested]
                lowest = found.arrays["attention_lowest"][cells, genes]
                aurocs.append(roc_auc_score(label, np.where(np.isnan(values), lowest, values)))
                assert source not in listed[tested]
            told = table[(table["score"] == score) & (table["log_fold"] == (0.25, 0.5, 1.0)[fold])]
            told = told[(told["edge_cells"] == found.facts["edge_cells"][cells])]
            told = told[told["gene_factor"] == (0.5, 1.0, 2.5)[genes]].iloc[0]
            assert told["n"] == len(aurocs)
            if len(aurocs) > 1:
                assert told["mean_auroc"] == pytest.approx(np.mean(aurocs))
                assert told["p"] == pytest.approx(stats.ttest_1samp(aurocs, CHANCE, alternative="greater").pvalue)


def test_the_base_is_analysis_19(ask):
    inputs = ask(missing=0.1)
    table = sensitivity_grid(inputs).tables["sensitivity_grid"]
    base = table[table["is_base"]]
    assert set(base["score"]) == {*EDGES, *GENE_LEVEL}
    assert (base["base_difference"] == 0.0).all()
    assert table.loc[~table["is_base"], "base_difference"].isna().all()
    assert (base["same_as"] == "").all()


def test_conditions_of_equal_numbers_count_once(ask):
    inputs = ask(grid={"cells": (100, 100, 100), "spread": (0.0, 0.0, 0.0)})
    output = sensitivity_grid(inputs)
    table = output.tables["sensitivity_grid"]
    assert len(table) == 27 * 5
    assert row_of(output, 1).n == 6
    assert '"conditions_same_as_another":21' in row_of(output, 1).settings_used
    wide = table[(table["gene_factor"] == 2.5) & (table["cell_factor"] == 5.0)]
    assert set(wide["same_as"]) == {f"fold {fold}, cells x1, genes x1" for fold in ("0.25", "0.5", "1")}


@pytest.mark.parametrize(
    ("capped", "distinct"),
    [((), 27), (("edge_cells",), 27), (("outcome_cells",), 27), (("edge_cells", "outcome_cells"), 18)],
)
def test_only_a_cap_on_both_sides_makes_a_copy(capped, distinct):
    """Most screens compare with all control cells they have, while edges still come from more of them."""
    facts = {name: [25, 100, 100 if name in capped else 500] for name in ("edge_cells", "outcome_cells")}
    facts |= {"genes_tested": [10, 20, 50], "genes_scored": [9, 18, 40], "log_fold": 0.5}
    facts |= {"cell_factors": [0.25, 1.0, 5.0], "gene_factors": [0.5, 1.0, 2.5]}
    found = {name_of(condition.place, facts): condition for condition in conditions(facts)}
    assert len(found) == 27
    assert sum(not condition.same_as for condition in found.values()) == distinct
    for condition in found.values():
        if condition.same_as:
            original = found[condition.same_as]
            assert original.same_as == ""
            assert (original.fold, original.cells, original.genes) == (condition.fold, 1, condition.genes)


def test_untestable_conditions_leave_no_p(ask):
    def weak(found):
        arrays = dict(found.arrays)
        arrays["log_fold"] = np.minimum(arrays["log_fold"], 0.9)
        return replace(found, arrays=arrays)

    result = row_of(sensitivity_grid(ask(change=weak)), 1)
    assert result.status is Status.RUN
    assert result.p is None
    assert "no test" in result.reason
    assert result.effect == 12


def test_a_condition_without_attention_is_neither_won_nor_lost(ask):
    def unread(found):
        arrays = {name: np.array(values) for name, values in found.arrays.items()}
        arrays["attention"][0], arrays["attention_lowest"][0] = np.nan, np.nan
        return replace(found, arrays=arrays)

    output = sensitivity_grid(ask("confound", change=unread, targets=20, missing=0.1))
    table = output.tables["sensitivity_grid"]
    own = table[(table["score"] == "attention") & (table["same_as"] == "")]
    silent = own["mean_auroc"].isna()
    assert silent.sum() == 6
    assert own.loc[silent, "gene_level_wins"].isna().all()
    assert own.loc[~silent, "gene_level_wins"].notna().all()
    second = row_of(output, 2)
    assert second.statistic == (own["gene_level_auroc"] > own["mean_auroc"]).sum()
    assert "conditions of 12 in which" in second.direction
    used = json.loads(second.settings_used)
    assert used["largest_missing_share"] == own["filled_share"].max() > 0.05


def test_nothing_evaluable_is_skipped(ask, make_inputs):
    def silent(found):
        return replace(found, arrays={**found.arrays, "p": np.ones_like(found.arrays["p"])})

    def quiet(role):
        return replace(role, label=np.minimum(role.label, 0))

    output = sensitivity_grid(ask(change=silent, alter=quiet))
    assert {result.status for result in output.results} == {Status.SKIPPED}
    assert "no perturbation" in row_of(output, 1).reason
    bare = replace(make_inputs(20), tests=tests_of_analysis(20))
    assert "was not read" in row_of(sensitivity_grid(bare), 1).reason
    told = replace(bare, absent={"sensitivity_grid": "lists outcomes without cells"})
    assert row_of(sensitivity_grid(told), 2).reason == "lists outcomes without cells"


def test_a_grid_of_other_cells_or_layer_is_refused(ask):
    for name, value in (("cells_hash", "f" * 64), ("layer", LAYER + 1)):
        with pytest.raises(ValueError, match="materialise sensitivity_grid again"):
            sensitivity_grid(ask(change=lambda found, n=name, v=value: replace(found, facts={**found.facts, n: v})))


def test_the_same_seed_gives_the_same_rows(ask):
    assert sensitivity_grid(ask(seed=3)).results == sensitivity_grid(ask(seed=3)).results

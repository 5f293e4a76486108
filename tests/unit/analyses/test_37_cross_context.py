"""Analysis 37: every context told once, universes compared on the same perturbations, the re-read condition beside."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import wilcoxon
from sklearn.metrics import roc_auc_score

from interp_assets.analyses.cross_context import cross_context_battery
from interp_assets.analyses.restricted_universe import (
    CONDITIONS,
    compare_universes,
    restricted_role,
    universe_table,
)
from interp_assets.readings.records import Reading
from interp_assets.stats.paired import signed_rank
from qc_standards.records import Status
from qc_standards.registry import tests_of_analysis

OTHER, SMALL, PRIMARY = "other_line_screen", "small_screens[2]", "primary_screen"
FAST = {"bootstrap": 40, "context_bootstrap": 200, "residual_seeds": 1}


@pytest.fixture
def ask(make_inputs):
    """Function: inputs with the three roles filled from knobs of worlds, ``without`` some of them."""

    def factory(without=(), other=None, small=None, **knobs):
        knobs = {"genes": 90, "perturbations": 24, "layers": 18, "targets": 10, "settings": FAST, **knobs}
        made = {
            PRIMARY: make_inputs(37, **knobs),
            OTHER: make_inputs(37, **{**knobs, "seed": 41, **(other or {})}),
            SMALL: make_inputs(37, **{**knobs, "seed": 42, "perturbations": 7, **(small or {})}),
        }
        roles = {
            name: replace(inputs.roles[PRIMARY], role=name, dataset=f"data-{number}")
            for number, (name, inputs) in enumerate(made.items())
            if name not in without
        }
        return replace(made[PRIMARY], roles=roles, tests=tests_of_analysis(37))

    return factory


def read_again(role, share=2000 / 3309, noise=0.0, layer=15):
    """A reading whose attention is that of the role on the most variable genes, with noise."""
    variance = role.features["variance"].to_numpy()
    at = np.sort(np.argsort(-variance, kind="stable")[: round(share * role.genes.size)])
    small = restricted_role(role, at)
    attention = small.attention.layer_matrix(layer).score[small.source]
    attention = attention + np.random.default_rng(0).normal(0, noise, attention.shape)
    return Reading(
        arrays={
            "attention": attention[None].astype(np.float32),
            "layers": np.array([layer]),
            "perturbations": small.perturbations,
            "genes": small.genes,
            "cells_behind": np.ones(attention.shape, dtype=np.int32),
        },
        facts={"cells_hash": role.cells_hash},
    )


def by_id(output):
    return {result.test_id: result for result in output.results}


def protocol(output):
    return output.tables["hvg_protocol"].set_index("condition")


def test_planted_contexts_are_found_and_named_once(ask):
    output = cross_context_battery(ask())
    results = by_id(output)
    assert len(results) == 12
    for number in (1, 2, 3, 4, 5, 7, 9):
        assert results[f"A37.{number}"].effect > 0.2, number
        assert results[f"A37.{number}"].p < 0.05, number
    assert [results[f"A37.{number}"].layer for number in (1, 2, 3, 4, 5, 7)] == [6, 13, 15, 17, 15, 15]
    assert results["A37.8"].reason == "same as A37.3"
    assert results["A37.10"].effect > 0.1
    assert results["A37.11"].statistic > 0.9
    assert results["A37.12"].effect > 0.9
    table = output.tables["replication_37"]
    assert not table.duplicated(["comparison", "context"]).any()
    assert table.groupby("comparison")["role"].nunique().tolist() == [2, 3, 2, 2]
    assert table.notna().all().all()


def test_universes_equal_scikit_learn_and_scipy(ask):
    inputs = ask(kind="confound")
    role = inputs.roles[OTHER]
    share = float(inputs.settings["restricted_share"])
    variance = role.features["variance"].to_numpy()
    kept = np.sort(np.argsort(-variance, kind="stable")[: round(share * 90)])
    scores = [role.attention.layer_matrix(15).score, role.correlation.score]
    gaps = {"wide": [], "restricted": []}
    for y, s in zip(role.label, role.source, strict=True):
        small = y[kept]
        if s not in kept or (small == 1).sum() < 3 or (small == 0).sum() < 3:
            continue
        for name, at in (("wide", np.arange(90)), ("restricted", kept)):
            at = at[y[at] >= 0]
            attention, correlation = (roc_auc_score(y[at], score[s, at]) for score in scores)
            gaps[name].append(attention - correlation)
    change = np.array(gaps["restricted"]) - np.array(gaps["wide"])
    result = by_id(cross_context_battery(inputs))["A37.6"]
    assert result.n == change.size
    assert result.effect == pytest.approx(change.mean(), abs=1e-12)
    assert result.p == pytest.approx(wilcoxon(change).pvalue, rel=1e-9)
    used = json.loads(result.settings_used)
    assert used["restricted"]["difference"] == pytest.approx(np.mean(gaps["restricted"]), abs=1e-12)
    assert used["whole_universe"]["difference"] == pytest.approx(np.mean(gaps["wide"]), abs=1e-12)
    assert used["genes"] == kept.size


def test_restriction_takes_away_what_variance_gives(ask):
    """In a world of variance alone both the gene-level baseline and attention fall with the spread of variance."""
    table = protocol(cross_context_battery(ask(kind="confound", other={"perturbations": 60, "genes": 160})))
    assert table.loc["restricted", "mean_variance"] < table.loc["wide, same perturbations", "mean_variance"] - 0.05
    assert table.loc["restricted", "change"] < -0.03
    assert table.loc["restricted", "change_ci_high"] < 0


def test_noise_changes_nothing(ask):
    wide, change = 0, 0
    for seed in range(30):
        knobs = {"kind": "noise", "genes": 70, "perturbations": 22, "layers": 1}
        inputs = ask(without=(SMALL,), other={"seed": seed}, **knobs)
        found = compare_universes(inputs, inputs.roles[OTHER], 0)
        wide += signed_rank(found.wide.difference).p <= 0.05
        change += signed_rank(found.restricted.difference - found.same.difference).p <= 0.05
    # 1.5 expected of 30 at .05
    assert wide <= 5
    assert change <= 5


def test_a_model_of_one_layer_tells_every_context_once(ask):
    results = by_id(cross_context_battery(ask(without=(SMALL,), layers=1)))
    assert [results[f"A37.{number}"].reason for number in (2, 3, 4, 8)] == ["same as A37.1"] * 4
    assert results["A37.7"].status is Status.RUN


def test_the_condition_read_again_stands_beside_the_published_one(ask):
    inputs = ask()
    role = inputs.roles[OTHER]
    same = replace(inputs, readings={"restricted_attention": read_again(role)})
    table = protocol(cross_context_battery(same))
    assert (table["attention_missing_share"] == 0.0).all()
    last = "restricted, attention read again"
    assert tuple(table.index) == CONDITIONS
    assert table.loc[last, "mean_attention"] == pytest.approx(table.loc["restricted", "mean_attention"], abs=1e-9)
    assert table.loc[last, "change"] == pytest.approx(table.loc["restricted", "change"], abs=1e-9)
    noisy = replace(inputs, readings={"restricted_attention": read_again(role, noise=3.0)})
    output = cross_context_battery(noisy)
    assert protocol(output).loc[last, "mean_attention"] < table.loc[last, "mean_attention"] - 0.1
    assert protocol(output).loc[last, "change"] < -0.1
    assert json.loads(by_id(output)["A37.6"].settings_used)["change_read_again"]["change"] < -0.1
    # the row itself is the published protocol and does not move
    assert by_id(output)["A37.6"].effect == by_id(cross_context_battery(same))["A37.6"].effect


@pytest.mark.parametrize(
    ("alter", "why"),
    [
        (lambda r: replace(r, facts={"cells_hash": "x"}), "other cells"),
        (lambda r: replace(r, arrays={**r.arrays, "genes": r.arrays["genes"][::-1]}), "other genes"),
        (lambda r: replace(r, arrays={**r.arrays, "layers": np.array([2])}), "layer 15"),
        (lambda r: replace(r, arrays={**r.arrays, "attention": r.arrays["attention"] * np.nan}), "no cell holds"),
    ],
)
def test_a_reading_that_does_not_fit_is_told_and_not_used(ask, alter, why):
    inputs = ask(without=(PRIMARY, SMALL))
    role = inputs.roles[OTHER]
    inputs = replace(inputs, readings={"restricted_attention": alter(read_again(role))})
    found = compare_universes(inputs, role, 15)
    assert found.again is None
    told = universe_table(inputs, found, 37, 20).set_index("condition").loc["restricted, attention read again"]
    assert why in told["reason"]
    assert np.isnan(told["mean_attention"])


def test_without_a_reading_the_table_says_so(ask):
    inputs = replace(
        ask(without=(SMALL, PRIMARY)), absent={"restricted_attention": "a table of finished scores has no model"}
    )
    table = protocol(cross_context_battery(inputs))
    assert table.loc["restricted, attention read again", "reason"] == "a table of finished scores has no model"
    assert table.loc["restricted", "n_perturbations"] >= 5


def test_a_role_cut_down_keeps_its_pairs(ask):
    role = ask().roles[OTHER]
    at = np.arange(5, 60)
    small = restricted_role(role, at)
    assert (small.genes == role.genes[at]).all()
    assert (small.genes[small.source] == small.perturbations).all()
    kept = np.isin(role.source, at)
    assert np.array_equal(small.label, role.label[kept][:, at])
    assert np.array_equal(small.correlation.score, role.correlation.score[np.ix_(at, at)])
    layer = small.attention.layer_matrix(3)
    assert np.array_equal(layer.score, role.attention.layer_matrix(3).score[np.ix_(at, at)])
    assert np.array_equal(small.de_rate, role.de_rate[kept][:, at])
    assert small.features["variance"].tolist() == role.features["variance"].iloc[at].tolist()


def test_direct_targets_leave_unlisted_responders_out(ask):
    inputs = ask()
    role = inputs.roles[OTHER]
    half = np.arange(role.references["planted"].source.size) % 2 == 0
    known = role.references["planted"]
    thinned = replace(known, source=known.source[half], target=known.target[half], direction=known.direction[half])
    inputs = replace(inputs, roles={**inputs.roles, OTHER: replace(role, references={"planted": thinned})})
    table = cross_context_battery(inputs).tables["direct_targets_37"]
    first = table.iloc[0]
    source = role.source[role.perturbations == first["perturbation"]][0]
    label = role.label[role.perturbations == first["perturbation"]][0].copy()
    listed = np.zeros(90, dtype=bool)
    listed[thinned.target[thinned.source == source]] = True
    label[(label == 1) & ~listed] = -1
    kept = label >= 0
    assert first["n_direct"] == (label == 1).sum()
    assert first["attention"] == pytest.approx(
        roc_auc_score(label[kept], role.attention.layer_matrix(13).score[source][kept]), abs=1e-12
    )


def test_shares_of_pairs_without_attention_are_told(ask):
    inputs = ask(without=(PRIMARY, SMALL), missing=0.25)
    role = inputs.roles[OTHER]
    read = read_again(role)
    held = np.array(read.arrays["attention"])
    inputs = replace(inputs, readings={"restricted_attention": read})
    output = cross_context_battery(inputs)
    share = json.loads(by_id(output)["A37.12"].settings_used)["missing_share"]
    assert share["attention"] == pytest.approx(
        np.isnan(role.attention.layer_matrix(13).score).sum() / (90 * 89), abs=0.02
    )
    assert share["attention"] > 0.2
    told = protocol(output)["attention_missing_share"]
    assert told["restricted, attention read again"] == pytest.approx(np.isnan(held).mean(), abs=0.02)
    assert (told > 0.2).all()


def test_few_direct_targets_are_listed_and_not_averaged(ask):
    inputs = ask(without=(PRIMARY, SMALL))
    role = inputs.roles[OTHER]
    known = role.references["planted"]
    few = np.isin(known.source, np.unique(known.source)[:4])
    thinned = replace(known, source=known.source[few], target=known.target[few], direction=known.direction[few])
    inputs = replace(inputs, roles={OTHER: replace(role, references={"planted": thinned})})
    output = cross_context_battery(inputs)
    assert len(output.tables["direct_targets_37"]) == 4
    assert "4 perturbed regulators" in by_id(output)["A37.12"].reason


def test_absent_roles_and_small_screens_are_skipped_with_their_reason(ask):
    results = by_id(cross_context_battery(ask(without=(OTHER, SMALL))))
    assert results["A37.7"].status is Status.RUN
    for number in (1, 5, 6, 8, 9, 10, 11, 12):
        assert results[f"A37.{number}"].status is Status.SKIPPED
        assert "fills no role" in results[f"A37.{number}"].reason
    few = by_id(cross_context_battery(ask(other={"perturbations": 4})))
    assert "can be evaluated: 4" in few["A37.1"].reason
    assert "among its most variable genes" in few["A37.6"].reason
    lost = ask()
    lost = replace(lost, roles={**lost.roles, OTHER: replace(lost.roles[OTHER], references={})})
    results = by_id(cross_context_battery(lost))
    assert "not available" in results["A37.11"].reason
    assert "not available" in results["A37.12"].reason
    assert results["A37.10"].status is Status.RUN


def test_a_screen_without_any_inside_perturbation_says_so(ask):
    inputs = ask()
    role = inputs.roles[OTHER]
    low = role.features.copy()
    low.loc[low.index[role.source], "variance"] = 1e-9
    inputs = replace(inputs, roles={**inputs.roles, OTHER: replace(role, features=low)})
    inputs = replace(inputs, settings={**inputs.settings, "restricted_share": 0.5})
    output = cross_context_battery(inputs)
    assert "can be evaluated: 0" in by_id(output)["A37.6"].reason
    assert protocol(output).loc["restricted", "n_perturbations"] == 0


def test_a_second_run_is_the_same(ask):
    inputs = ask(genes=60, perturbations=20)
    one, other = cross_context_battery(inputs), cross_context_battery(inputs)
    assert one.results == other.results
    for name, table in one.tables.items():
        pd.testing.assert_frame_equal(table, other.tables[name])

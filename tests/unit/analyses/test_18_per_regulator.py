"""Analysis 18: planted regulators are found, noise is not, single targets use the exact p and stand apart."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from interp_assets.analyses.per_regulator import per_regulator_bootstrap
from interp_assets.edges.records import Reference
from qc_standards.records import Status

COLUMNS = [
    "role", "dataset", "reference", "edge", "regulator", "n_targets", "n_candidates", "auroc", "ci_low", "ci_high",
    "p_exact", "method", "above_chance", "resamples_requested", "resamples_done",
]  # fmt: skip
DEGREES = (1, 1, 1, 2, 2, 5, 9, 10, 14, 14)


def with_degrees(degrees=DEGREES, **changes):
    """Role whose reference keeps the first targets of each regulator, as many as listed."""

    def alter(role):
        reference = role.references["planted"]
        keep = np.zeros(reference.source.size, dtype=bool)
        for regulator, degree in zip(np.unique(reference.source), degrees, strict=False):
            keep[np.flatnonzero(reference.source == regulator)[:degree]] = True
        direction = None if reference.direction is None else reference.direction[keep]
        cut = replace(reference, source=reference.source[keep], target=reference.target[keep], direction=direction)
        return replace(role, references={"planted": replace(cut, **changes)})

    return alter


def lines(output, edge="attention"):
    table = output.tables["per_regulator"]
    return table[table["edge"] == edge].reset_index(drop=True)


def test_planted_regulators_are_above_chance(make_inputs):
    output = per_regulator_bootstrap(make_inputs(18))
    (result,) = output.results
    assert result.status is Status.RUN
    assert (result.effect, result.n, result.unit, result.effect_kind) == (30.0, 30, "regulator", "count")
    assert result.statistic > 0.95
    assert result.p is None
    assert (result.resamples_requested, result.resamples_done) == (100, 100)
    assert list(output.tables["per_regulator"]) == COLUMNS
    used = json.loads(result.settings_used)
    assert used["by_targets"]["10+"] == {"exact_p_below_alpha": None, "interval_above_half": 30, "regulators": 30}
    assert (used["reference"], used["missing_rule"], used["regulators_counted"]) == ("planted", "lowest", 30)


def test_noise_is_above_chance_as_often_as_its_level_allows(make_inputs):
    interval, single, counted = 0, 0, 0
    for seed in range(12):
        output = per_regulator_bootstrap(
            make_inputs(18, "noise", seed=seed, layers=1, alter=with_degrees([1] * 10 + [14] * 20))
        )
        used = json.loads(output.results[0].settings_used)["by_targets"]
        interval += used["10+"]["interval_above_half"]
        single += used["1"]["exact_p_below_alpha"]
        counted += used["10+"]["regulators"]
    # 240 regulators at about .03 to .05 and 120 exact p at .05.
    assert counted == 240
    assert 1 <= interval <= 24
    assert 0 <= single <= 15


def test_single_targets_use_the_exact_p_and_are_counted_apart(make_inputs):
    output = per_regulator_bootstrap(make_inputs(18, alter=with_degrees()))
    found = lines(output)
    assert tuple(found["n_targets"]) == DEGREES
    one = found["n_targets"] == 1
    assert set(found.loc[one, "method"]) == {"exact rank"}
    assert found.loc[one, ["ci_low", "ci_high"]].isna().all(axis=None)
    assert (found.loc[one, ["resamples_requested", "resamples_done"]] == 0).all(axis=None)
    assert (found.loc[one, "above_chance"] == (found.loc[one, "p_exact"] < 0.05)).all()
    assert set(found.loc[~one, "method"]) == {"bootstrap"}
    assert (found.loc[~one, "above_chance"] == (found.loc[~one, "ci_low"] > 0.5)).all()
    assert found["p_exact"].isna().tolist() == [degree > 9 for degree in DEGREES]
    (result,) = output.results
    assert result.effect == found.loc[~one, "above_chance"].sum()
    assert (result.n, result.statistic) == (10, pytest.approx(found["auroc"].mean()))
    assert "of 7 with two or more targets" in result.direction
    used = json.loads(result.settings_used)["by_targets"]
    assert {name: used[name]["regulators"] for name in used} == {"1": 3, "2": 2, "3-9": 2, "10+": 3}
    assert used["1"] == {
        "regulators": 3,
        "interval_above_half": None,
        "exact_p_below_alpha": int(found.loc[one, "above_chance"].sum()),
    }


def test_single_target_p_is_its_share_of_candidates_ties_in_full(make_inputs):
    output = per_regulator_bootstrap(make_inputs(18, alter=with_degrees([1] * 12), missing=0.5))
    role = make_inputs(18, alter=with_degrees([1] * 12), missing=0.5).roles["primary_screen"]
    score = role.attention.layer_matrix(2).score.astype(float)
    score = np.where(np.isnan(score), np.nanmin(score[~np.eye(150, dtype=bool)]), score)
    reference = role.references["planted"]
    ties = 0
    for line, source, target in zip(lines(output).itertuples(), reference.source, reference.target, strict=True):
        candidates = np.delete(score[source], source)
        assert line.p_exact == pytest.approx((candidates >= score[source, target]).sum() / 149, abs=1e-12)
        assert line.auroc == pytest.approx(
            roc_auc_score(np.delete(np.arange(150) == target, source), candidates), abs=1e-12
        )
        ties += (candidates == score[source, target]).sum() > 1
    assert ties >= 2, "a tied target must be among them"


def test_auroc_equals_scikit_learn_and_the_interval_a_slow_bootstrap(make_inputs):
    inputs = make_inputs(18, "confound", settings={"regulator_bootstrap": 2000})
    role = inputs.roles["primary_screen"]
    score, reference = role.attention.layer_matrix(2).score.astype(float), role.references["planted"]
    rng = np.random.default_rng(0)
    for line in lines(per_regulator_bootstrap(inputs)).iloc[:3].itertuples():
        own = int(np.flatnonzero(role.genes == line.regulator)[0])
        label = np.isin(np.arange(150), reference.target[reference.source == own])
        label, mine = np.delete(label, own), np.delete(score[own], own)
        assert line.n_candidates == 149
        assert line.auroc == pytest.approx(roc_auc_score(label, mine), abs=1e-12)
        sorted_labels = np.sort(label)[::-1]
        draws = [
            roc_auc_score(
                sorted_labels, np.r_[rng.choice(mine[label], label.sum()), rng.choice(mine[~label], (~label).sum())]
            )
            for _ in range(800)
        ]
        np.testing.assert_allclose([line.ci_low, line.ci_high], np.quantile(draws, [0.025, 0.975]), atol=0.025)


def test_both_edges_and_the_reference_of_analysis_17_are_in_the_table(make_inputs):
    def two(role):
        planted = role.references["planted"]
        return replace(
            role, references={"planted": replace(planted, direction=None), "curated": replace(planted, name="curated")}
        )

    output = per_regulator_bootstrap(make_inputs(18, alter=two))
    counts = output.tables["per_regulator"].groupby(["reference", "edge"], sort=False).size().to_dict()
    assert counts == {(r, e): 30 for r in ("planted", "curated") for e in ("attention", "correlation")}
    assert json.loads(output.results[0].settings_used)["reference"] == "planted"
    alone = per_regulator_bootstrap(make_inputs(18))
    assert set(alone.tables["per_regulator"]["reference"]) == {"planted"}


def test_only_single_targets_leave_no_interval_to_count(make_inputs):
    (result,) = per_regulator_bootstrap(make_inputs(18, alter=with_degrees([1] * 30))).results
    assert result.status is Status.RUN
    assert result.effect is None, "a missing count is not 0"
    assert "no regulator has two targets" in result.reason
    assert result.statistic is not None
    assert (result.n, result.resamples_requested, result.resamples_done) == (30, 0, 0)


def test_a_regulator_that_lists_every_gene_has_no_contrast(make_inputs):
    def everything(role):
        reference = role.references["planted"]
        own = int(reference.source[0])
        rest = reference.source != own
        others = np.delete(np.arange(150), own).astype(np.int32)
        full = Reference(
            name="planted",
            genes=role.genes,
            source=np.concatenate([np.full(149, own, np.int32), reference.source[rest]]),
            target=np.concatenate([others, reference.target[rest]]),
            directed=True,
            regulators=reference.regulators,
        )
        return replace(role, references={"planted": full})

    output = per_regulator_bootstrap(make_inputs(18, alter=everything))
    first = lines(output).iloc[0]
    assert (first["method"], first["above_chance"]) == ("no contrast", False)
    assert np.isnan(first["auroc"])
    assert output.results[0].n == 29
    assert json.loads(output.results[0].settings_used)["regulators_without_contrast"] == 1


@pytest.mark.parametrize("kind", ["absent role", "no reference", "empty reference"])
def test_without_a_reference_the_row_is_skipped(make_inputs, kind):
    inputs = {
        "absent role": lambda: make_inputs(18, absent="no screen"),
        "no reference": lambda: make_inputs(18, alter=lambda r: replace(r, references={})),
        "empty reference": lambda: make_inputs(18, alter=with_degrees([])),
    }[kind]()
    output = per_regulator_bootstrap(inputs)
    assert {r.status for r in output.results} == {Status.SKIPPED}
    assert all(r.reason for r in output.results)
    assert not output.tables


def test_seed_decides_the_draws(make_inputs):
    one, same, other = (per_regulator_bootstrap(replace(make_inputs(18), seed=seed)) for seed in (1, 1, 2))
    assert one.results == same.results
    assert one.tables["per_regulator"].equals(same.tables["per_regulator"])
    assert not one.tables["per_regulator"].equals(other.tables["per_regulator"])

"""E9: a transposed score is told apart, a symmetric one equals itself, and the declared orientation never moves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import wilcoxon
from sklearn.metrics import roc_auc_score
from statsmodels.stats.weightstats import ttost_paired

from interp_assets.analyses.orientations import orientations
from qc_standards.extended import extended_tests_of, family_sizes
from qc_standards.records import Status


@pytest.fixture
def judge(make_inputs):
    """Output of E9 on a synthetic screen; knobs as in ``make_inputs``."""

    def run(kind="planted", **knobs):
        inputs = make_inputs(21, kind, settings={"pairwise_bootstrap": 400}, **knobs)
        return orientations(replace(inputs, tests=extended_tests_of(9)))

    return run


def by_id(output):
    return {result.test_id: result for result in output.results}


def turned(change):
    """Attention of every layer changed by ``change(score)``."""

    def alter(role):
        read = role.attention.layer_matrix

        def again(layer):
            edges = read(layer)
            return replace(edges, score=np.ascontiguousarray(change(edges.score)))

        return replace(role, attention=replace(role.attention, layer_matrix=again))

    return alter


def by_row(role, score):
    rows = zip(role.label, score[role.source], strict=True)
    return np.array([roc_auc_score(label[label >= 0], values[label >= 0]) for label, values in rows])


def test_a_planted_direction_is_lost_by_transposing_and_diluted_by_symmetry(judge):
    found = by_id(judge())
    for test_id in ("E9.1", "E9.4"):
        assert found[test_id].effect < -0.3
        assert found[test_id].p < 0.01
        assert found[test_id].direction == "transposed - declared (query = regulator): smaller"
    for test_id in ("E9.2", "E9.3", "E9.5", "E9.6"):
        assert found["E9.1"].effect < found[test_id].effect < 0
        assert found[test_id].ci_high < 0


def test_attention_stored_the_wrong_way_round_shows_and_is_still_read_as_declared(judge):
    wrong, right = by_id(judge(alter=turned(np.transpose))), by_id(judge())
    assert wrong["E9.1"].effect == pytest.approx(-right["E9.1"].effect)
    assert wrong["E9.1"].direction.endswith("greater")
    assert wrong["E9.1"].statistic > 0.9


def test_noise_has_no_orientation(judge):
    p = []
    for seed in range(25):
        found = by_id(judge("noise", seed=seed, genes=80, perturbations=20, layers=1))
        p += [found[f"E9.{k}"].p for k in (1, 2, 4, 5)]
    # Of 100 dependent tests five are expected at .05; three binomial deviations above is twelve.
    assert sum(each <= 0.05 for each in p) <= 12


def test_a_model_that_looks_back_has_no_orientation_to_compare(judge):
    def pooled(role):
        role = turned(lambda score: (score + score.T) / 2)(role)
        return replace(role, attention=replace(role.attention, facts={**role.attention.facts, "symmetric": True}))

    found = by_id(judge(alter=pooled))
    for number in range(1, 7):
        assert found[f"E9.{number}"].status is Status.SKIPPED
        assert "looks back" in found[f"E9.{number}"].reason
    assert found["E9.7"].effect == pytest.approx(0.0, abs=1e-6)


def test_a_symmetric_score_is_equal_in_every_orientation(judge):
    output = judge(alter=turned(lambda score: (score + score.T) / 2))
    found = by_id(output)
    for place in range(1, 7):
        assert (found[f"E9.{place}"].effect, found[f"E9.{place}"].p) == (0.0, 1.0)
        assert found[f"E9.{place}"].direction.endswith("equal")
    assert found["E9.7"].effect == 0.0
    assert set(output.tables["orientations"]["reading"]) == {"equal"}


def test_numbers_equal_scikit_learn_scipy_and_statsmodels(judge, make_inputs):
    knobs = {"kind": "planted", "seed": 3, "missing": 0.1}
    table = judge(**knobs).tables["orientations"]
    role = make_inputs(21, **knobs).roles["primary_screen"]
    member = np.zeros((150, 150), int)
    member[role.references["planted"].source, role.references["planted"].target] = 1
    able = np.zeros((150, 150), bool)
    able[role.source] = True
    np.fill_diagonal(able, val=False)
    for layer in range(role.attention.layers):
        score = np.nan_to_num(role.attention.layer_matrix(layer).score.astype(float), nan=-np.inf)
        np.fill_diagonal(score, np.inf)
        score[np.isinf(score)] = score[np.isfinite(score)].min()
        ways = {"declared": score, "transposed": score.T, "mean": (score + score.T) / 2}
        ways["maximum"] = np.where(score > score.T, score, score.T)
        # Whole numbers of half pairs: rounding in the last digit would break ties of the signed-rank test.
        pairs = 2.0 * (role.label == 1).sum(axis=1) * (role.label == 0).sum(axis=1)
        units = {name: np.rint(by_row(role, way) * pairs) / 2 / (pairs / 2) for name, way in ways.items()}
        for name, way in ways.items():
            rows = table[(table["layer"] == layer) & (table["orientation"] == name)].set_index("truth")
            change = units[name] - units["declared"]
            assert rows.loc["screen", "auroc"] == pytest.approx(units[name].mean(), abs=1e-12)
            assert rows.loc["planted", "auroc"] == pytest.approx(roc_auc_score(member[able], way[able]), abs=1e-12)
            assert rows.loc["screen", "difference"] == pytest.approx(change.mean(), abs=1e-12)
            if name != "declared":
                assert rows.loc["screen", "p"] == pytest.approx(wilcoxon(change).pvalue, rel=1e-9)
                close = ttost_paired(units[name], units["declared"], -0.02, 0.02)[0]
                assert rows.loc["screen", "p_equivalent"] == pytest.approx(close, rel=1e-9)


def test_every_layer_is_in_the_table_and_the_frozen_one_is_in_the_rows(judge):
    output = judge()
    table = output.tables["orientations"]
    assert len(table) == 4 * 4 * 2
    frozen = table[table["frozen"] & (table["orientation"] == "mean") & (table["truth"] == "screen")].iloc[0]
    result = by_id(output)["E9.2"]
    assert (result.layer, frozen["layer"]) == (2, 2)
    assert (result.effect, result.ci_low) == (frozen["difference"], frozen["ci_low"])
    own = table[table["orientation"] == "declared"]
    assert not own["difference"].any()
    assert set(own["p"]) == {1.0}


def test_correlation_is_symmetric_and_attention_is_not(judge):
    def symmetric(role):
        score = (role.correlation.score + role.correlation.score.T) / 2
        return replace(role, correlation=replace(role.correlation, score=score))

    found = by_id(judge("noise", alter=symmetric))
    assert found["E9.8"].effect == 0.0
    # Two independent normal values differ by 2 / sqrt(pi) standard deviations on average.
    assert found["E9.7"].effect == pytest.approx(2 / np.sqrt(np.pi), rel=0.02)
    assert found["E9.7"].p is None


def test_a_reference_without_direction_and_absent_data_are_skipped_with_the_reason(judge):
    both = by_id(
        judge(alter=lambda r: replace(r, references={"planted": replace(r.references["planted"], directed=False)}))
    )
    assert both["E9.4"].status is Status.SKIPPED
    assert both["E9.4"].reason.startswith("reference planted lists no direction")
    assert both["E9.1"].status is Status.RUN
    mute = by_id(judge(alter=lambda r: replace(r, label=np.minimum(r.label, 0).astype(np.int8))))
    assert "perturbation_exclusions" in mute["E9.1"].reason
    assert mute["E9.4"].status is Status.RUN
    assert {r.reason for r in judge(absent="licence").results} == {"licence"}


def test_families_keep_screen_reference_and_description_apart():
    assert sorted(family_sizes(extended_tests_of(9)).values()) == [2, 3, 3]

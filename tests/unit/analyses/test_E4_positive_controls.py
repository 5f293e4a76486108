"""E4: controls that behave say so with their numbers, a broken one says it does not, and absent ones are skipped."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr, wilcoxon
from sklearn.metrics import roc_auc_score

from interp_assets.analyses.confound_only import confound_only, confound_score
from interp_assets.analyses.inputs import ControlEvidence
from interp_assets.analyses.positive_controls import CONFOUND, PARTS, positive_controls
from interp_assets.analyses.scores import candidate_labels
from interp_assets.layout import CONTROLS
from qc_standards.extended import extended_tests_of, family_sizes
from qc_standards.records import Status, TestResult, skipped

EVALUATIONS = Path(__file__).parents[1] / "qc_standards" / "conftest.py"
PLANTED, COEXPRESSION = "control-planted", "control-coexpression"


@pytest.fixture(scope="module")
def evaluations():
    """The module that builds whole evaluations of known outcome."""
    spec = importlib.util.spec_from_file_location("known_evaluations", EVALUATIONS)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def extended_row(test_id, effect, low, p=1e-6):
    numbers = {"effect": effect, "ci_low": low, "ci_high": effect + 0.02, "p": p, "n": 60, "layer": 5}
    return TestResult(test_id=test_id, status=Status.RUN, effect_kind="auroc", unit="perturbation", **numbers)


def partial(value, p=1e-9):
    row = {"database_role": "primary reference", "database": "planted", "layer": 5, "raw": 0.2, "partial": value}
    counts = {"p": p, "n": 500, "samples_requested": 10, "samples_done": 10}
    return pd.DataFrame([row | counts, row | counts | {"database_role": "database", "partial": -0.5}])


@pytest.fixture
def controls(evaluations):
    """Both controls as they must come out; keywords change the numbers of the planted one."""

    def make(**changed):
        planted = evaluations.build(replace(evaluations.PLANTED, **changed))
        coexpression = evaluations.build(evaluations.COEXPRESSION)
        tables = {**planted.tables, "partial_correlation_samples": partial(0.15)}
        rows = [("E2.5", 0.1, 0.05), ("E6.7", 0.9, 0.88), ("E6.15", 0.8, 0.7)]
        return {
            PLANTED: ControlEvidence(
                tests=planted.tests, tables=tables, extended={name: extended_row(name, *n) for name, *n in rows}
            ),
            COEXPRESSION: ControlEvidence(tests=coexpression.tests, tables=coexpression.tables, extended={}),
        }

    return make


@pytest.fixture
def judge(make_inputs):
    """Output of E4 with given controls on a small synthetic screen."""

    def run(controls, kind="confound", **knobs):
        knobs = {"genes": 200, "perturbations": 30, "layers": 1, **knobs}
        inputs = make_inputs(21, kind, settings={"pairwise_bootstrap": 300}, **knobs)
        return positive_controls(replace(inputs, tests=extended_tests_of(4), controls=controls))

    return run


def by_id(output):
    return {result.test_id: result for result in output.results}


def behaving(output):
    return output.tables["positive_controls"].set_index("test_id")["behaves"]


def test_controls_that_come_out_as_they_must_say_so(judge, controls):
    output = judge(controls())
    assert behaving(output).all()
    assert {result.status for result in output.results} == {Status.RUN}
    for result in output.results:
        assert "as it must" in result.direction
        assert "NOT" not in result.direction
        assert result.effect is not None
        assert result.n > 0


def test_the_numbers_are_those_of_the_controls_tables(judge, controls):
    given = controls()
    found = by_id(judge(given))
    tables = given[PLANTED].tables
    wide = tables["perturbation_auroc"].pivot(index="perturbation", columns="score", values="auroc")
    gap = {name: (wide["attention"] - wide[name]) for name in ("variance", "mean", "one_minus_dropout")}
    assert found["E4.1"].effect == pytest.approx(min(each.mean() for each in gap.values()))
    assert found["E4.1"].ci_low == pytest.approx(gap["variance"].mean() - 1.96 * gap["variance"].sem(), abs=0.002)
    gains = tables["incremental_value"]
    gains = gains[
        (gains["edge"] == "attention") & (gains["split"] == "joint") & ~gains["metric"].str.contains("recall")
    ]
    assert found["E4.14"].ci_low == gains["ci_low"].min()
    assert found["E4.14"].p is None
    kept = tables["residual_summary"].query("edge == 'attention' and learner == 'boosting'").iloc[0]
    assert (found["E4.16"].effect, found["E4.16"].ci_high) == (kept["kept"], kept["kept_ci_high"])
    null = tables["degree_null"].query("edge == 'attention' and null == 'curveball'").iloc[0]
    assert (found["E4.2"].effect, found["E4.2"].p) == (null["z"], null["p"])
    aurocs = tables["intervention_auroc"].query("read_out == 'attention'")
    aurocs = aurocs.pivot(index="perturbation", columns="condition", values="auroc")
    conditions = tables["intervention_conditions"]
    top = conditions[
        (conditions["family"] == "top") & (conditions["operation"] == "zero_heads") & conditions["upstream"]
    ]
    change = aurocs[top.sort_values("size")["condition"].iloc[-1]] - aurocs["clean"]
    assert found["E4.3"].effect == pytest.approx(change.mean())
    assert found["E4.3"].p == pytest.approx(wilcoxon(change, alternative="less").pvalue)
    assert (found["E4.7"].effect, found["E4.7"].ci_low, found["E4.7"].null_mean) == (0.9, 0.88, 0.5)
    assert found["E4.5"].effect == 0.15


@pytest.mark.parametrize(
    ("broken", "rows"),
    [
        ({"attention": 0.7}, ("E4.1",)),
        ({"gain": 0.0}, ("E4.12", "E4.13", "E4.14")),
        ({"kept": 0.3}, ("E4.15", "E4.16")),
        ({"z": 1.0}, ("E4.2",)),
        ({"drop": 0.0}, ("E4.3", "E4.4")),
    ],
)
def test_a_planted_control_that_misses_a_criterion_is_named(judge, controls, broken, rows):
    output = judge(controls(**broken))
    told = behaving(output)
    assert not told[list(rows)].any()
    assert told[[name for name in told.index if name not in rows]].all()
    assert all("NOT as it must" in by_id(output)[name].direction for name in rows)


def test_extended_rows_of_the_planted_control_that_stay_silent_are_named(judge, controls):
    given = controls()
    silent = {"E6.7": extended_row("E6.7", 0.51, 0.49), "E6.15": skipped("E6.15", "no reference")}
    tables = {**given[PLANTED].tables, "partial_correlation_samples": partial(0.01, 0.3)}
    given[PLANTED] = replace(given[PLANTED], extended=silent, tables=tables)
    output = judge(given)
    found, told = by_id(output), behaving(output)
    assert not told["E4.7"]
    assert not told["E4.5"]
    assert (found["E4.8"].status, found["E4.8"].reason) == (Status.SKIPPED, f"{PLANTED}: E6.15 no reference")
    assert pd.isna(told["E4.8"])
    assert found["E4.6"].reason.startswith(f"{PLANTED} has no row E2.5")


def test_a_coexpression_control_that_passes_everything_does_not_behave(judge, controls):
    given = controls()
    output = judge({**given, COEXPRESSION: given[PLANTED]})
    assert not behaving(output)[["E4.9", "E4.17", "E4.18"]].any()
    assert "fails none" in by_id(output)["E4.9"].direction


def test_absent_controls_are_skipped_and_the_score_of_confounds_is_still_judged(judge):
    output = judge({})
    for result in output.results:
        if result.test_id in CONFOUND:
            assert result.status is Status.RUN
        else:
            assert result.status is Status.SKIPPED
            assert "was not evaluated in study synthetic" in result.reason
    assert behaving(output).dropna().index.tolist() == ["E4.10", "E4.11", "E4.19"]


def test_a_score_of_confounds_ranks_responders_adds_nothing_and_leaves_nothing(make_inputs):
    raw, left, low = [], [], []
    for seed in range(12):
        inputs = make_inputs(21, "confound", genes=200, layers=1, seed=seed, settings={"pairwise_bootstrap": 300})
        found = confound_only(inputs, inputs.roles["primary_screen"], 104)
        raw.append(found.raw.interval.low > 0.6)
        left.append(found.left.interval.low <= 0.5 <= found.left.interval.high)
        low.append(found.gain.ci_low > 0)
    assert all(raw)
    # One in twenty intervals misses; of twelve at most three do with probability .998.
    assert sum(left) >= 9
    assert sum(low) <= 2


def test_the_confound_score_knows_the_genes_and_not_the_pair(make_inputs):
    inputs = make_inputs(21, "confound", genes=300)
    role = inputs.roles["primary_screen"]
    score = confound_score(role, np.random.default_rng(1))
    assert spearmanr(score.mean(axis=0), role.features["variance"]).statistic > 0.97
    assert spearmanr(score.mean(axis=1), role.features["mean"]).statistic > 0.97
    left = score - score.mean(axis=0) - score.mean(axis=1)[:, None] + score.mean()
    assert left.std() == pytest.approx(1.0, abs=0.02)
    truth = role.references["planted"]
    assert abs(left[truth.source, truth.target].mean()) < 4 / np.sqrt(truth.source.size)


def test_the_raw_auroc_of_the_confound_score_equals_scikit_learn(make_inputs):
    inputs = make_inputs(21, "confound", settings={"pairwise_bootstrap": 300})
    role = inputs.roles["primary_screen"]
    score = confound_score(role, np.random.default_rng([0, 104, 1]))
    rows = zip(candidate_labels(role), score[role.source], strict=True)
    each = [roc_auc_score(y[y >= 0], s[y >= 0]) for y, s in rows]
    found = confound_only(inputs, role, 104)
    assert found.raw.auroc == pytest.approx(np.mean(each), abs=1e-12)
    assert found.raw.p_above_chance == pytest.approx(wilcoxon(np.array(each) - 0.5, alternative="greater").pvalue)


def test_without_a_screen_everything_is_skipped(make_inputs):
    inputs = replace(make_inputs(21, absent="licence"), tests=extended_tests_of(4))
    assert {result.reason for result in positive_controls(inputs).results} == {"licence"}


def test_the_controls_are_those_of_every_study():
    assert {part.control for part in PARTS.values()} == set(CONTROLS)


def test_rows_with_a_p_have_a_family_of_their_own(judge, controls):
    assert sorted(family_sizes(extended_tests_of(4)).values()) == [8, 11]
    output = judge(controls())
    family = {spec.test_id: "no p" not in spec.local_family for spec in extended_tests_of(4)}
    assert {result.test_id: result.p is not None for result in output.results} == family

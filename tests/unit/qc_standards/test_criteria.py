import numpy as np
import pandas as pd
import pytest
from scipy.stats import bootstrap, wilcoxon

from qc_standards.claims import claims_registry
from qc_standards.criteria import bootstrap_mean_interval, judge_criterion
from qc_standards.criterion_parts import combine
from qc_standards.evidence import Evidence
from qc_standards.records import Outcome, Status, TestResult, skipped

P, F, U, N = Outcome.PASS, Outcome.FAIL, Outcome.UNDECIDED, Outcome.NOT_EVALUABLE
ATTENTION = {"edge": "attention"}
CURVEBALL = {"edge": "attention", "null": "curveball"}


def judge(evaluation, criterion):
    evidence = Evidence(tests=evaluation.tests, tables=evaluation.tables)
    return judge_criterion(evidence, claims_registry().criteria[criterion])


def shift(evaluation, score, amount):
    table = evaluation.tables["perturbation_auroc"].copy()
    table.loc[table["score"] == score, "auroc"] += amount
    evaluation.tables["perturbation_auroc"] = table
    return evaluation


def drop(evaluation, table, **where):
    frame = evaluation.tables[table]
    mask = np.ones(len(frame), dtype=bool)
    for column, value in where.items():
        mask &= (frame[column] == value).to_numpy()
    evaluation.tables[table] = frame[~mask].reset_index(drop=True)
    return evaluation


@pytest.mark.parametrize("criterion", ["a", "b", "c"])
def test_planted_passes_and_coexpression_fails(planted, coexpression, criterion):
    assert judge(planted, criterion).outcome is P
    assert judge(coexpression, criterion).outcome is F


@pytest.mark.parametrize(
    ("outcomes", "combined"),
    [([P, P], P), ([P, U], U), ([U, N], N), ([N, F], F), ([], N), ([P, U, N, F], F)],
)
def test_combination(outcomes, combined):
    assert combine(outcomes) is combined


class TestBaselines:
    def test_numbers_equal_a_plain_recomputation(self, planted):
        wide = planted.tables["perturbation_auroc"].pivot(index="perturbation", columns="score", values="auroc")
        result = judge(planted, "a")
        raw = {}
        for part in result.parts:
            difference = wide["attention"] - wide[part.name]
            raw[part.name] = wilcoxon(difference, alternative="greater").pvalue
            assert part.numbers["mean"] == pytest.approx(difference.mean(), abs=1e-12)
        worst = max(raw.values())
        assert max(part.numbers["q"] for part in result.parts) == pytest.approx(worst, rel=1e-9)

    def test_interval_agrees_with_scipy(self):
        values = np.random.default_rng(0).normal(0.1, 0.2, 80)
        low, high = bootstrap_mean_interval(values, 4000, np.random.default_rng(1))
        other = bootstrap((values,), np.mean, n_resamples=4000, method="percentile", rng=np.random.default_rng(2))
        assert low == pytest.approx(other.confidence_interval.low, abs=0.004)
        assert high == pytest.approx(other.confidence_interval.high, abs=0.004)

    def test_row_order_changes_nothing(self, planted):
        before = judge(planted, "a")
        planted.tables["perturbation_auroc"] = planted.tables["perturbation_auroc"].iloc[::-1].reset_index(drop=True)
        assert judge(planted, "a") == before

    def test_one_baseline_as_good_is_undecided(self, planted):
        shift(planted, "attention", -0.0695)
        result = judge(planted, "a")
        assert result.outcome is U
        assert "variance" in result.reason

    def test_one_baseline_better_fails(self, planted):
        shift(planted, "variance", 0.1)
        result = judge(planted, "a")
        assert result.outcome is F
        assert "variance" in result.reason
        assert "mean" not in result.reason

    def test_fewer_than_twenty_perturbations(self, planted):
        table = planted.tables["perturbation_auroc"]
        planted.tables["perturbation_auroc"] = table[table["perturbation"].isin([f"TF{i}" for i in range(19)])]
        result = judge(planted, "a")
        assert (result.outcome, result.reason) == (N, "19 evaluable perturbations, at least 20 are needed")

    @pytest.mark.parametrize("score", ["attention", "variance"])
    def test_a_lacking_or_partial_score(self, planted, score):
        table = planted.tables["perturbation_auroc"]
        whole = table[table["score"] != score]
        planted.tables["perturbation_auroc"] = whole
        assert score in judge(planted, "a").reason
        planted.tables["perturbation_auroc"] = table.drop(table[table["score"] == score].index[0])
        assert judge(planted, "a").outcome is N

    def test_nan_auroc_is_not_evaluable(self, planted):
        planted.set("perturbation_auroc", {"score": "attention", "perturbation": "TF3"}, auroc=np.nan)
        assert judge(planted, "a").outcome is N

    def test_the_informative_subset_and_other_roles_are_not_mixed_in(self, planted):
        before = judge(planted, "a")
        more = planted.tables["perturbation_auroc"].assign(auroc=0.5)
        other = more.assign(role="other_line_screen")
        informative = more.assign(subset="informative")
        planted.tables["perturbation_auroc"] = pd.concat(
            [planted.tables["perturbation_auroc"], other, informative], ignore_index=True
        )
        assert judge(planted, "a") == before

    def test_a_repeated_perturbation_is_not_evaluable(self, planted):
        table = planted.tables["perturbation_auroc"]
        planted.tables["perturbation_auroc"] = pd.concat([table, table.head(1)], ignore_index=True)
        assert "repeats" in judge(planted, "a").reason

    def test_identical_scores_do_not_pass(self, planted):
        table = planted.tables["perturbation_auroc"]
        table = table[table["score"] != "variance"]
        copy = table[table["score"] == "attention"].assign(score="variance")
        planted.tables["perturbation_auroc"] = pd.concat([table, copy], ignore_index=True)
        assert judge(planted, "a").outcome is U


CELL = {"edge": "attention", "split": "joint", "learner": "boosting", "metric": "auprc"}


class TestIncrementalValue:
    @pytest.mark.parametrize(
        ("low", "high", "outcome"),
        [(0.006, 0.1, P), (0.005, 0.1, U), (0.001, 0.1, U), (-0.2, 0.0049, F), (-0.01, 0.005, U), (np.nan, 0.1, N)],
    )
    def test_the_weakest_cell_decides(self, planted, low, high, outcome):
        planted.set("incremental_value", CELL, ci_low=low, ci_high=high)
        assert judge(planted, "b").outcome is outcome

    def test_recall_is_reported_and_not_required(self, planted):
        planted.set("incremental_value", {"edge": "attention", "metric": "recall_100"}, ci_low=-0.1, ci_high=-0.01)
        assert judge(planted, "b").outcome is P

    def test_a_missing_cell_is_not_evaluable(self, planted):
        result = judge(drop(planted, "incremental_value", **CELL), "b")
        assert result.outcome is N
        assert "joint/boosting/auprc" in result.reason

    def test_a_missing_cell_outweighs_a_failing_one(self, planted):
        planted.set("incremental_value", {"edge": "attention", "learner": "logistic"}, ci_low=-0.1, ci_high=-0.01)
        assert judge(drop(planted, "incremental_value", **CELL), "b").outcome is N

    def test_resamples_short(self, planted):
        planted.set("incremental_value", CELL, resamples_done=150)
        result = judge(planted, "b")
        assert result.outcome is N
        assert "resamples done 150" in result.reason

    def test_no_resamples_at_all(self, planted):
        planted.set("incremental_value", CELL, resamples_done=0, resamples_requested=0)
        assert judge(planted, "b").outcome is N

    def test_correlation_rows_do_not_count(self, planted):
        planted.set("incremental_value", {"edge": "correlation"}, ci_low=-0.9, ci_high=-0.8)
        assert judge(planted, "b").outcome is P


class TestConfounds:
    @pytest.mark.parametrize(
        ("kept", "high", "outcome"),
        [(0.8, 0.9, P), (1.11, 1.2, P), (0.79, 0.85, U), (0.5, 0.79, F), (0.5, np.nan, N), (np.nan, 0.9, N)],
    )
    @pytest.mark.parametrize("learner", ["ols", "boosting"])
    def test_retention_in_either_learner(self, planted, learner, kept, high, outcome):
        planted.set("residual_summary", {**ATTENTION, "learner": learner}, kept=kept, kept_ci_high=high)
        assert judge(planted, "c").outcome is outcome

    @pytest.mark.parametrize(("raw", "low"), [(0.549, 0.53), (0.56, 0.5), (0.56, 0.45)])
    def test_nothing_to_retain_fails_however_much_is_kept(self, planted, raw, low):
        planted.set("residual_summary", ATTENTION, auroc_raw=raw, raw_ci_low=low, kept=17.0, kept_ci_high=20.0)
        result = judge(planted, "c")
        assert result.outcome is F
        assert "nothing to retain" in result.reason

    def test_nothing_to_retain_fails_even_where_resamples_of_the_share_are_short(self, planted):
        changed = {"auroc_raw": 0.5, "raw_ci_low": 0.45, "resamples_done": 190}
        planted.set("residual_summary", ATTENTION, **changed)
        assert judge(planted, "c").outcome is F

    def test_a_retained_share_from_too_few_resamples_is_not_evaluable(self, planted):
        planted.set("residual_summary", ATTENTION, resamples_done=190)
        assert judge(planted, "c").outcome is N

    @pytest.mark.parametrize(
        ("values", "outcome"),
        [
            ({"z": 3.0}, F),
            ({"z": 3.01}, P),
            ({"z": -2.0}, F),
            ({"observed": 0.619}, F),
            ({"null_sd": 5e-5}, N),
            ({"mean_jaccard": 0.49}, N),
            ({"tradeable_regulators": 1}, N),
            ({"draws_done": 150}, N),
            ({"degrees_kept": False}, N),
            ({"degrees_kept": None}, N),
            ({"z": np.nan}, N),
        ],
    )
    def test_degree_null(self, planted, values, outcome):
        planted.set("degree_null", CURVEBALL, **values)
        assert judge(planted, "c").outcome is outcome

    def test_an_unreadable_null_does_not_hide_a_failed_retention(self, planted):
        planted.set("degree_null", CURVEBALL, z=np.nan)
        planted.set("residual_summary", ATTENTION, kept=0.1, kept_ci_high=0.2)
        assert judge(planted, "c").outcome is F

    def test_label_shuffle_is_not_read(self, planted):
        planted.set("degree_null", {"edge": "attention", "null": "label_shuffle"}, z=0.0)
        assert judge(planted, "c").outcome is P

    def test_a_missing_learner_is_not_evaluable(self, planted):
        assert judge(drop(planted, "residual_summary", learner="boosting"), "c").outcome is N

    def test_several_references_need_a_named_one(self, planted):
        for name in ("residual_summary", "degree_null"):
            frame = planted.tables[name]
            weak = {"kept": 0.1, "kept_ci_high": 0.2} if name == "residual_summary" else {"z": 0.0}
            planted.tables[name] = pd.concat([frame, frame.assign(reference="TRRUST", **weak)], ignore_index=True)
        result = judge(planted, "c")
        assert result.outcome is N
        assert "none is named primary" in result.reason
        planted.tables["evaluation"]["primary_reference"] = "planted"
        assert judge(planted, "c").outcome is P
        planted.tables["evaluation"]["primary_reference"] = "TRRUST"
        assert judge(planted, "c").outcome is F

    def test_rows_flagged_primary_win(self, planted):
        for name in ("residual_summary", "degree_null"):
            frame = planted.tables[name].assign(primary=True)
            planted.tables[name] = pd.concat(
                [frame, frame.assign(reference="TRRUST", primary=False)], ignore_index=True
            )
        assert judge(planted, "c").outcome is P


class TestPublishedFindings:
    @pytest.mark.parametrize(
        ("values", "outcome"),
        [
            ({"p_tost": 0.01, "ci_low": -0.005, "ci_high": 0.01, "equivalent": True}, P),
            ({"p_tost": 0.01, "ci_low": -0.005, "ci_high": 0.01, "equivalent": False}, N),
            ({"p_tost": 0.3, "ci_low": -0.005, "ci_high": 0.03, "equivalent": True}, N),
            ({"p_tost": 0.3, "ci_low": -0.005, "ci_high": 0.03, "p": 0.73}, U),
            ({"p_tost": 0.9, "ci_low": 0.021, "ci_high": 0.05}, F),
            ({"p_tost": 0.9, "ci_low": -0.05, "ci_high": -0.021}, F),
            ({"p_tost": 0.01, "equivalence_margin": 0.1}, N),
            ({"p_tost": np.nan}, N),
        ],
    )
    def test_equality_needs_an_equivalence_test(self, planted, values, outcome):
        planted.set("attention_vs_correlation", {"subset": "all"}, **values)
        assert judge(planted, "equal_to_correlation").outcome is outcome

    def test_no_gain(self, planted, coexpression):
        assert judge(coexpression, "no_incremental_gain").outcome is P
        assert judge(planted, "no_incremental_gain").outcome is F

    @pytest.mark.parametrize(("power", "outcome"), [(0.8, P), (0.79, U), (np.nan, N)])
    def test_no_gain_needs_power(self, coexpression, power, outcome):
        coexpression.set("incremental_power", {"edge": "attention"}, power=power)
        assert judge(coexpression, "no_incremental_gain").outcome is outcome

    @pytest.mark.parametrize(
        "values",
        [
            {"p_equivalent": np.nan},
            {"margin": 0.02},
            {"margin": 0.0},
            {"margin": np.nan},
            {"equivalent": False},
            {"equivalent": None},
        ],
    )
    def test_no_gain_needs_a_readable_equivalence_test(self, coexpression, values):
        cell = {"edge": "attention", "split": "joint", "learner": "boosting", "metric": "auroc"}
        coexpression.set("incremental_value", cell, **values)
        assert judge(coexpression, "no_incremental_gain").outcome is N

    def test_a_loss_is_no_gain_and_is_not_called_equal(self, coexpression, example_tables):
        cell = {"edge": "attention", "split": "joint", "learner": "boosting", "metric": "auroc"}
        coexpression.set("incremental_value", cell, **example_tables.equality(-0.02))
        result = judge(coexpression, "no_incremental_gain")
        assert result.outcome is P
        told = next(part.reason for part in result.parts if part.name == "attention/joint/boosting/auroc")
        assert "not shown equal to none" in told

    def test_a_clear_gain_refutes_without_an_equivalence_test(self, planted):
        planted.set("incremental_value", {"edge": "attention", "metric": "auroc"}, p_equivalent=np.nan)
        assert judge(planted, "no_incremental_gain").outcome is F

    def test_baselines_win(self, planted, coexpression):
        assert judge(coexpression, "baselines_win").outcome is P
        assert judge(planted, "baselines_win").outcome is F

    def test_baselines_must_be_significant_in_family_a(self, coexpression, make_row, numbers):
        coexpression.rebuild(make_row("A21.6", numbers(), p=0.2))
        result = judge(coexpression, "baselines_win")
        assert result.outcome is U
        assert "mean against attention" in result.reason


@pytest.mark.parametrize(
    ("criterion", "table", "tests"),
    [
        ("a", "perturbation_auroc", ["A21.5", "A21.6", "A21.7"]),
        ("b", "incremental_value", ["A26.1", "A31.1", "A31.2", "A31.3"]),
        ("c", "residual_summary", ["A25.1", "A25.3"]),
    ],
)
def test_an_absent_table_is_explained_by_the_skipped_rows(planted, criterion, table, tests):
    del planted.tables[table]
    planted.rebuild(*[skipped(t, "no dataset serves primary_screen") for t in tests])
    result = judge(planted, criterion)
    assert result.outcome is N
    assert table in result.reason
    assert "no dataset serves primary_screen" in result.reason


@pytest.mark.parametrize("criterion", ["a", "b", "c", "equal_to_correlation", "no_incremental_gain", "baselines_win"])
def test_empty_tables_and_lacking_columns_are_not_evaluable(planted, criterion):
    spec = claims_registry().criteria[criterion]
    for table in spec.tables:
        whole = planted.tables[table]
        planted.tables[table] = whole.head(0)
        assert judge(planted, criterion).outcome in (N, F)
        assert judge(planted, criterion).outcome is not P
        planted.tables[table] = whole.drop(columns=["role"] if "role" in whole else ["edge"])
        assert judge(planted, criterion).outcome is not P
        planted.tables[table] = whole


def test_a_row_skipped_as_same_as_a_run_row_is_not_missing(planted):
    planted.rebuild(skipped("A26.1", "same as A31.1"))
    evidence = Evidence(tests=planted.tests, tables=planted.tables)
    assert evidence.why_absent(["A26.1", "A31.1"]) == ""
    planted.rebuild(skipped("A31.1", "no input"))
    evidence = Evidence(tests=planted.tests, tables=planted.tables)
    assert "A26.1" in evidence.why_absent(["A26.1"])


def test_weakest_origin_counts_unknown_as_simulated(planted):
    evidence = Evidence(tests=planted.tests, tables=planted.tables)
    assert evidence.weakest_origin(["A21.5"]) == "semi_synthetic"
    row = TestResult(test_id="A21.5", status=Status.RUN, p=0.1, data_origin="invented")
    planted.rebuild(row)
    evidence = Evidence(tests=planted.tests, tables=planted.tables)
    assert evidence.weakest_origin(["A21.5"]) == "simulated"

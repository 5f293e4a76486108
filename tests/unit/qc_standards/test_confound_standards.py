"""Standards on layers, confounds, screens and flags: each fires on its planted fault and on nothing else."""

import numpy as np
import pandas as pd
import pytest

from qc_standards.evidence import Evidence, MissingEvidenceError
from qc_standards.layer_metrics import record_hash
from qc_standards.metrics import view
from qc_standards.records import Outcome, skipped
from qc_standards.screen_metrics import FLAGS
from qc_standards.standards import shipped_standards
from qc_standards.suites import judge_standard

STANDARDS = shipped_standards()
ATTENTION = {"score": "attention"}
SINGLE = {"regulator": "FOXA1", "edge": "attention"}
MATCHED = {"subset": "size_matched", "edge": "attention"}
KNOWN = {"subset": "direction_known", "edge": "attention"}
RATE_OF_ONE = {"score": "de_rate", "perturbation": "TF3"}
FOLD = {"edge": "attention", "learner": "ols", "folds_by": "target_gene"}
RELEASE_ONLY = [name for name, item in STANDARDS.items() if item.applies_when.get("release_kind") == ("release",)]
HELD_BY = {
    "QCS-17": "layer_choice",
    "QCS-18": "layer_choice",
    "QCS-19": "covariate_r2",
    "QCS-20": "circularity",
    "QCS-21": "per_regulator",
    "QCS-22": "tf_strata",
    "QCS-23": "matched_balance",
    "QCS-24": "modality_audit",
    "QCS-25": "modality_audit",
    "QCS-26": "null_calibration_summary",
    "QCS-27": "perturbation_auroc",
    "QCS-31": "context_replication",
    "QCS-32": "label_leakage",
    "QCS-33": "edge_balance",
    "QCS-34": "calibration",
    "QCS-35": "conformal",
    "QCS-36": "cssi_null",
    "QCS-37": "stability",
    "QCS-38": "noise_ceiling",
    "QCS-39": "nested_layer_choice",
}


def judged(evaluation, name):
    return judge_standard(STANDARDS[name], Evidence(tests=evaluation.tests, tables=evaluation.tables))


def failed(result):
    return [check.id for check in result.checks if not check.success]


def without(table, **where):
    def change(evaluation):
        frame = evaluation.tables[table]
        keep = np.ones(len(frame), dtype=bool)
        for column, value in where.items():
            keep &= (frame[column] != value).to_numpy()
        evaluation.tables[table] = frame[keep].reset_index(drop=True)

    return change


def changed(table, where, **values):
    return lambda evaluation: evaluation.set(table, where, **values)


def rerun(test_id, **values):
    def change(evaluation):
        row = next(row for row in evaluation.rows if row.test_id == test_id)
        facts = {name: getattr(row, name) for name in row.__dataclass_fields__}
        evaluation.rebuild(type(row)(**{**facts, **values}))

    return change


FAULTS = [
    ("QCS-02", changed("matched_value", {"metric": "auroc"}, resamples_done=10), "none-short"),
    ("QCS-02", changed("matched_value", {"metric": "auroc"}, draws_done=10), "none-short"),
    ("QCS-12", changed("lineage", ATTENTION, layer_chosen_on="screen-main"), "not-on-an-evaluated-dataset"),
    ("QCS-12", changed("lineage", ATTENTION, layer_choice=""), "record-named"),
    ("QCS-12", changed("lineage", ATTENTION, layer_choice="0123"), "record-named"),
    ("QCS-12", changed("lineage", ATTENTION, layer_chosen_by="the evaluation data"), "not-on-evaluation-data"),
    ("QCS-12", changed("lineage", ATTENTION, layer_chosen_by=" "), "somebody-chose"),
    ("QCS-12", changed("lineage", ATTENTION, layer_chosen_on=""), "evaluation-agrees"),
    ("QCS-12", changed("evaluation", {}, layer_selected=False), "evaluation-agrees"),
    ("QCS-14", changed("incremental_value", {"metric": "auroc"}, p_equivalent=np.nan), "not-null-p_equivalent"),
    ("QCS-14", changed("incremental_value", {"metric": "auroc"}, margin=0.02), "margin-declared"),
    ("QCS-14", changed("incremental_value", {"metric": "auroc"}, margin=0.0), "margin"),
    ("QCS-14", changed("tf_strata", {"stratum": "tf"}, equivalent=True), "flag-agrees"),
    ("QCS-14", changed("tf_strata", {"stratum": "tf"}, equivalent=None), "not-null-equivalent"),
    ("QCS-14", changed("matched_value", {"metric": "auprc"}, equivalent=True), "flag-agrees"),
    ("QCS-14", changed("matched_value", {"metric": "auroc"}, margin=0.1), "margin-declared"),
    ("QCS-14", changed("attention_vs_correlation", {}, equivalence_margin=0.1), "margin-declared"),
    ("QCS-14", changed("attention_vs_correlation", {}, equivalent=True), "flag-agrees"),
    ("QCS-17", changed("layer_choice", {}, sha256="0" * 64), "record-unchanged"),
    ("QCS-17", changed("layer_choice", {}, sha256="none"), "hashed"),
    ("QCS-17", changed("layer_choice", {}, profile_hash=""), "profile-hashed"),
    ("QCS-17", changed("layer_choice", {}, depth=0.5), "depth-read"),
    ("QCS-17", changed("layer_choice", {}, layer=12), "same-layer-marked"),
    ("QCS-17", changed("layer_choice", {}, dataset="screen-main"), "not-on-an-evaluated-dataset"),
    ("QCS-17", changed("lineage", ATTENTION, layer_choice="0" * 64), "lineage-names-it"),
    ("QCS-17", changed("lineage", ATTENTION, layer_depth=0.1), "depth-read"),
    ("QCS-17", changed("layer_selection_profile", {"layer": 2}, chosen=True), "one-layer-marked"),
    ("QCS-17", changed("layer_selection_profile", {"layer": 2}, auroc=0.9), "best-by-criterion"),
    ("QCS-18", changed("layer_choice", {}, same_cells=True), "other-cells"),
    ("QCS-19", without("covariate_r2", folds_by="target_gene"), "not-null-r2"),
    ("QCS-19", without("covariate_r2", folds_by="pair"), "not-null-r2_pair"),
    ("QCS-19", without("covariate_r2", learner="boosting"), "keys"),
    ("QCS-19", without("covariate_r2", variant="signed"), "keys"),
    ("QCS-19", changed("covariate_r2", {"folds_by": "pair"}, folds_by="in_sample"), "no-other-folds"),
    ("QCS-19", changed("covariate_r2", FOLD, r2=0.5), "row-is-by-target-gene"),
    ("QCS-19", changed("covariate_r2", FOLD, resamples_done=20), "resamples"),
    ("QCS-19", changed("covariate_r2", FOLD, n_targets=2), "targets"),
    ("QCS-19", rerun("A15.1", effect=0.5), "row-is-by-target-gene"),
    ("QCS-20", without("circularity", subset="size_matched"), "keys"),
    ("QCS-20", without("circularity", edge="correlation"), "keys"),
    ("QCS-20", changed("circularity", MATCHED, draws_requested=20, draws_done=20), "enough-matched-draws"),
    ("QCS-20", changed("circularity", MATCHED, draws_done=150), "draws"),
    ("QCS-20", changed("circularity", MATCHED, n_positive=200), "same-size"),
    ("QCS-20", changed("circularity", MATCHED, n_regulators=18), "same-size"),
    ("QCS-20", changed("circularity", KNOWN, conflicting=None), "conflicts-counted"),
    ("QCS-21", changed("per_regulator", SINGLE, method="bootstrap", p_exact=np.nan), "no-interval-of-one"),
    ("QCS-21", changed("per_regulator", SINGLE, ci_low=0.6, ci_high=0.9), "no-interval-of-one"),
    ("QCS-21", changed("per_regulator", SINGLE, p_exact=np.nan, above_chance=False), "exact-p-of-one"),
    ("QCS-21", changed("per_regulator", SINGLE, p_exact=0.3), "call-by-own-method"),
    ("QCS-21", changed("per_regulator", {"regulator": "SPI1"}, above_chance=True), "call-by-own-method"),
    ("QCS-21", changed("per_regulator", {"regulator": "NFYB"}, above_chance=True), "call-by-own-method"),
    ("QCS-21", changed("per_regulator", {"regulator": "GATA1"}, resamples_done=20), "resamples"),
    ("QCS-21", without("per_regulator", edge="correlation"), "both-scores"),
    ("QCS-21", rerun("A18.1", settings_used="{}"), "split-by-targets"),
    ("QCS-22", without("tf_strata", stratum="tf"), "keys"),
    ("QCS-22", changed("tf_strata", {"stratum": "tf"}, catalogue=" "), "catalogue-named"),
    ("QCS-22", changed("tf_strata", {"stratum": "tf"}, delta=np.nan), "number-or-reason"),
    ("QCS-22", changed("tf_strata", {"stratum": "tf"}, reason="too small"), "not-both"),
    ("QCS-22", changed("tf_strata", {"stratum": "tf"}, n_perturbations=None), "not-null-n_perturbations"),
    ("QCS-23", changed("matched_balance", {"covariate": "mean"}, smd_distinct=0.1), "distinct-balanced"),
    ("QCS-23", changed("matched_balance", {"covariate": "mean"}, smd_distinct=np.inf), "distinct-balanced"),
    ("QCS-23", changed("matched_balance", {"covariate": "mean"}, smd_distinct=np.nan), "not-null-smd_distinct"),
    ("QCS-23", changed("matched_balance", {}, limit=0.5), "limit"),
    ("QCS-23", changed("matched_balance", {"covariate": "mean"}, balanced=False), "flag-agrees"),
    ("QCS-23", changed("matched_value", {"edge": "attention"}, balanced=False), "gains-agree"),
    ("QCS-23", without("matched_balance", covariate="tgt_n_affected"), "keys"),
    ("QCS-24", changed("modality_audit", {"role": "primary_screen"}, agrees="no"), "agrees"),
    ("QCS-24", changed("modality_audit", {"role": "primary_screen"}, agrees="perhaps"), "all-judged"),
    ("QCS-24", changed("modality_audit", {"role": "primary_screen"}, modality="none"), "modality-named"),
    ("QCS-24", without("modality_audit", role="primary_screen"), "rows"),
    ("QCS-25", changed("modality_audit", {"role": "second_screen"}, agrees="no"), "agrees"),
    ("QCS-26", changed("null_calibration_summary", {"genes": "detected"}, share_below_05=0.2), "inside-band"),
    ("QCS-26", changed("null_calibration_summary", {"genes": "detected"}, ks=0.2), "inside-limit"),
    ("QCS-26", changed("null_calibration_summary", {"test": "score 1"}, ks=0.2), "flag-not-overstated"),
    ("QCS-26", changed("null_calibration_summary", {"test": "score 1"}, replicates=5), "replicates"),
    ("QCS-27", without("perturbation_auroc", score="de_rate"), "rate-everywhere"),
    ("QCS-27", changed("perturbation_auroc", RATE_OF_ONE, auroc=np.nan), "rate-everywhere"),
    ("QCS-27", changed("evaluation", {}, outcome_only=True), "matched-where-listed"),
    *[("QCS-28", changed("evaluation", {}, **{flag: False}), "none-denied") for flag in list(FLAGS)[:-1]],
    ("QCS-28", changed("screen_scores", {}, kind="outcome_only"), "none-denied"),
    ("QCS-28", changed("evaluation", {}, null_guides=None), "not-null-stated"),
    ("QCS-28", changed("evaluation", {}, null_guides="False"), "not-null-stated"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "change", "check"), FAULTS, ids=[f"{n}-{i}-{c}" for i, (n, _, c) in enumerate(FAULTS)]
)
@pytest.mark.filterwarnings("ignore:Setting an item of incompatible dtype")
def test_a_planted_fault_fails_its_standard(make_release, name, change, check):
    release = make_release()
    change(release)
    result = judged(release, name)
    assert result.outcome is Outcome.FAIL, result
    assert check in failed(result)
    assert result.blocking == (STANDARDS[name].severity == "critical")


@pytest.mark.parametrize("name", list(HELD_BY))
@pytest.mark.parametrize("how", ["absent", "empty"])
def test_a_missing_table_is_not_evaluable_and_says_which(make_release, name, how):
    release = make_release()
    if how == "absent":
        del release.tables[HELD_BY[name]]
    else:
        release.tables[HELD_BY[name]] = release.tables[HELD_BY[name]].head(0)
    result = judged(release, name)
    assert (result.outcome, result.applies) == (Outcome.NOT_EVALUABLE, True)
    assert f"{HELD_BY[name]} is {how}" in result.reason


def test_the_reason_of_the_skipped_rows_explains_an_absent_table(make_release):
    release = make_release().rebuild(skipped("A35.1", "screen-main: too few pairs fill the folds"))
    del release.tables["matched_balance"]
    assert "A35.1 skipped: screen-main: too few pairs fill the folds" in judged(release, "QCS-23").reason


@pytest.mark.parametrize("name", RELEASE_ONLY)
def test_standards_of_releases_leave_controls_alone(planted, coexpression, name):
    for control in (planted, coexpression):
        result = judged(control, name)
        assert not result.applies
        assert not result.blocking


def test_which_standards_are_for_releases_only():
    assert ["QCS-11", "QCS-16", *HELD_BY] == RELEASE_ONLY


FLAGGED = {
    "QCS-17": "layer_selected",
    "QCS-18": "layer_selected",
    "QCS-20": "direction_reference",
    "QCS-22": "tf_catalogue",
    "QCS-24": "own_gene_measured",
    "QCS-25": "screen_own_genes",
    "QCS-26": "null_guides",
}


@pytest.mark.parametrize(("name", "flag"), FLAGGED.items())
@pytest.mark.parametrize("no", [False, np.False_])
def test_a_study_without_the_input_is_not_concerned(make_release, name, flag, no):
    release = make_release()
    release.tables["evaluation"][flag] = pd.Series([no], dtype=object)
    assert not judged(release, name).applies


@pytest.mark.parametrize(("name", "flag"), FLAGGED.items())
@pytest.mark.parametrize("yes", [True, np.True_])
def test_plain_and_numpy_yes_are_the_same(make_release, name, flag, yes):
    release = make_release()
    release.tables["evaluation"][flag] = pd.Series([yes], dtype=object)
    assert judged(release, name).outcome is Outcome.PASS


@pytest.mark.parametrize(("name", "flag"), FLAGGED.items())
@pytest.mark.parametrize("nothing", [None, np.nan, pd.NA, ""])
def test_an_unstated_flag_switches_nothing_off(make_release, name, flag, nothing):
    release = make_release()
    release.tables["evaluation"][flag] = pd.Series([nothing], dtype=object)
    result = judged(release, name)
    assert (result.outcome, result.applies) == (Outcome.NOT_EVALUABLE, True)
    assert f"does not state {flag}" in result.reason


def test_an_evaluation_without_its_flags_is_unusable(make_release):
    release = make_release()
    release.tables["evaluation"] = release.tables["evaluation"].drop(columns="null_guides")
    with pytest.raises(MissingEvidenceError, match="null_guides"):
        release.judge()


def settled(release):
    """The same release where the study settings fixed the layer."""
    release.set("lineage", ATTENTION, layer_chosen_by="study settings, depth .7647: one layer", layer_chosen_on="")
    release.set("evaluation", {}, layer_selected=False)
    for name in ("layer_choice", "layer_selection_profile"):
        del release.tables[name]
    return release


def test_a_layer_of_the_study_settings_needs_no_record(make_release):
    release = settled(make_release())
    assert judged(release, "QCS-12").outcome is Outcome.PASS
    assert judged(release, "QCS-28").outcome is Outcome.PASS
    assert not judged(release, "QCS-17").applies


def test_two_choices_in_one_evaluation_are_refused(make_release):
    release = make_release()
    lineage = release.tables["lineage"]
    other = lineage[lineage["score"] == "attention"].assign(role="second_screen", layer_choice="1" * 64)
    release.tables["lineage"] = pd.concat([lineage, other], ignore_index=True)
    assert failed(judged(release, "QCS-12")) == ["one-choice"]


def test_the_record_hash_is_the_one_the_platform_writes(example_tables):
    from interp_assets.edges.layers import LayerChoice

    row = example_tables.layer_choice().iloc[0].to_dict()
    shared = (
        "depth",
        "chosen_by",
        "dataset",
        "reference",
        "criterion",
        "layer",
        "layers",
        "cells_hash",
        "profile_hash",
    )
    choice = LayerChoice(**{name: row[name] for name in shared}, score=row["auroc"])
    assert choice.sha256 == row["sha256"] == record_hash(row)


def test_every_table_that_states_equality_is_covered(make_release):
    release = make_release()
    evidence = Evidence(tests=release.tests, tables=release.tables)
    audit = view(evidence, "equivalence_audit")
    assert audit["source"].value_counts().to_dict() == {
        "incremental_value": 12,
        "tf_strata": 4,
        "matched_value": 4,
        "attention_vs_correlation": 1,
    }
    assert set(audit["declared_margin"]) == {0.005, 0.02}


def test_a_stratum_too_small_for_a_number_states_nothing(make_release):
    release = make_release()
    numbers = ("gene_only", "gene_plus_edge", "delta", "ci_low", "ci_high", "p_equivalent")
    small = {"reason": "3 perturbations", "resamples_done": 0, "equivalent": False, **dict.fromkeys(numbers, np.nan)}
    release.set("tf_strata", {"stratum": "tf"}, **small)
    for name in ("QCS-02", "QCS-14", "QCS-22"):
        assert judged(release, name).outcome is Outcome.PASS
    release.set("tf_strata", {"stratum": "tf"}, equivalent=True)
    assert judged(release, "QCS-14").outcome is Outcome.FAIL


def test_genes_that_few_cells_detect_do_not_count_against_calibration(make_release):
    release = make_release().set(
        "null_calibration_summary", {"genes": "all"}, ks=0.5, share_below_05=0.6, uniform=False
    )
    assert judged(release, "QCS-26").outcome is Outcome.PASS
    release.set("null_calibration_summary", {"genes": "detected"}, replicates=0, note="too few guides")
    result = judged(release, "QCS-26")
    assert result.outcome is Outcome.NOT_EVALUABLE
    assert "too few guides" in result.reason


def test_one_test_in_ten_may_miss_its_band_by_chance(make_release):
    release = make_release().set("null_calibration_summary", {"test": "score 1"}, share_below_05=0.09)
    assert judged(release, "QCS-26").outcome is Outcome.PASS
    release.set("null_calibration_summary", {"test": "score 2"}, share_below_05=0.09)
    assert judged(release, "QCS-26").outcome is Outcome.FAIL


def test_outcomes_without_cells_pass_with_a_matched_subset(make_release):
    release = make_release().set("evaluation", {}, outcome_only=True).set("screen_scores", {}, kind="outcome_only")
    table = release.tables["perturbation_auroc"]
    release.tables["perturbation_auroc"] = pd.concat([table, table.assign(subset="expression_matched")])
    assert judged(release, "QCS-27").outcome is Outcome.PASS

import numpy as np
import pandas as pd
import pytest
import yaml

from qc_standards import metrics, suites
from qc_standards.evidence import TABLE_COLUMNS, Evidence, MissingEvidenceError
from qc_standards.records import Outcome
from qc_standards.standards import (
    STANDARDS_FOLDER,
    StandardError,
    read_standard,
    read_standards,
    shipped_standards,
    standards_hash,
)
from qc_standards.suites import build_suite, evaluate_frame, expectation_specs, judge_standard

STANDARDS = shipped_standards()


def frame(rows):
    return pd.DataFrame([dict(row) for row in rows])


@pytest.mark.parametrize("name", list(STANDARDS))
@pytest.mark.parametrize("kind", ["passing", "failing"])
def test_examples_behave(name, kind):
    example = STANDARDS[name].examples[kind]
    checks = evaluate_frame(STANDARDS[name], frame(example.rows))
    assert sorted(c.id for c in checks if not c.success) == sorted(example.fails)
    assert not [c for c in checks if c.error]


@pytest.mark.parametrize("name", list(STANDARDS))
def test_nothing_passes_on_nothing(name):
    standard = STANDARDS[name]
    empty = frame(standard.examples["passing"].rows).head(0)
    checks = evaluate_frame(standard, empty)
    assert not all(check.success for check in checks)
    assert not next(check for check in checks if check.id == "rows").success


@pytest.mark.parametrize("name", list(STANDARDS))
def test_all_null_columns_do_not_pass(name):
    standard = STANDARDS[name]
    rows = frame(standard.examples["passing"].rows)
    for column in standard.not_null:
        if column in standard.select or (standard.keys and column in standard.keys.columns):
            continue
        nulled = rows.assign(**{column: None})
        checks = evaluate_frame(standard, nulled)
        assert not next(c for c in checks if c.id == f"not-null-{column}").success, column
        break


@pytest.mark.parametrize("name", list(STANDARDS))
def test_a_missing_column_is_an_error_and_no_failure(name):
    standard = STANDARDS[name]
    rows = frame(standard.examples["passing"].rows)
    for column in suites.required_columns(standard):
        with pytest.raises(MissingEvidenceError, match=column):
            evaluate_frame(standard, rows.drop(columns=column))


@pytest.mark.parametrize("name", list(STANDARDS))
def test_suite_holds_what_the_file_declares(name):
    suite = build_suite(STANDARDS[name])
    specs = expectation_specs(STANDARDS[name])
    assert len(suite.expectations) == len(specs) > 1
    assert {e.expectation_type for e in suite.expectations} == {s.type for s in specs}
    assert specs[0].type == "expect_rows_as_declared"


@pytest.mark.parametrize("name", list(STANDARDS))
def test_each_standard_reads_a_known_view_or_table(name):
    standard = STANDARDS[name]
    known = standard.applies_to in metrics.VIEWS or standard.applies_to in TABLE_COLUMNS
    assert known or set(standard.columns) == set(suites.required_columns(standard))
    assert STANDARDS[name].evidence
    assert STANDARDS[name].how_to_fix


@pytest.mark.parametrize("name", list(STANDARDS))
def test_each_standard_explains_itself(name):
    standard = STANDARDS[name]
    assert set(standard.columns) == set(suites.required_columns(standard))
    assert standard.row
    assert any(character.isdigit() for entry in standard.evidence for character in entry["finding"])
    assert all(entry["source"] for entry in standard.evidence)
    assert min(len(standard.rationale), len(standard.how_to_fix)) > 40


def test_what_the_design_asks_for_is_there():
    assert len(STANDARDS) >= 37
    assert {item.status for item in STANDARDS.values()} == {"active"}


def test_all_pass_on_a_clean_release(passed_standards):
    assert [result.id for result in passed_standards] == list(STANDARDS)
    for result in passed_standards:
        assert result.outcome is Outcome.PASS
        assert len(result.checks) == len(expectation_specs(STANDARDS[result.id]))


def break_resamples(e):
    e.set("incremental_value", {"edge": "attention", "split": "joint"}, resamples_done=10)


def break_cells(e):
    e.set("lineage", {"score": "correlation"}, cells_hash="ffffffffffff")


def break_layer(e):
    e.set("lineage", {"score": "attention"}, layer_chosen_by="evaluation data")


def break_origin(e):
    e.tables["evaluation"]["data_origin"] = "real"


def drop_baseline(e):
    t = e.tables["baseline_differences"]
    e.tables["baseline_differences"] = t[t["baseline"] != "variance"]


def drop_joint(e):
    t = e.tables["incremental_value"]
    e.tables["incremental_value"] = t[t["split"] != "joint"]


def drop_recall(e):
    t = e.tables["incremental_value"]
    e.tables["incremental_value"] = t[~t["metric"].str.startswith("recall")]


def drop_boosting(e):
    t = e.tables["residual_summary"]
    e.tables["residual_summary"] = t[t["learner"] != "boosting"]


def break_mixing(e):
    e.set("degree_null", {"edge": "attention", "null": "curveball"}, mean_jaccard=0.1)


def grow_pairs(e):
    e.set("evaluability", {"stage": "scorable"}, pairs=90000)


def break_tost(e):
    e.set("attention_vs_correlation", {"subset": "all"}, equivalent=True)


@pytest.mark.parametrize(
    ("name", "change", "check"),
    [
        ("QCS-02", break_resamples, "none-short"),
        ("QCS-04", break_cells, "one-cell-set"),
        ("QCS-05", drop_baseline, "rows"),
        ("QCS-06", drop_joint, "rows"),
        ("QCS-07", drop_recall, "rows"),
        ("QCS-08", drop_boosting, "rows"),
        ("QCS-09", break_mixing, "mixing"),
        ("QCS-10", grow_pairs, "never-grows"),
        ("QCS-12", break_layer, "not-on-evaluation-data"),
        ("QCS-13", break_origin, "not-understated"),
        ("QCS-14", break_tost, "flag-agrees"),
    ],
)
def test_a_broken_evaluation_fails_its_standard(planted, name, change, check):
    change(planted)
    result = judge_standard(STANDARDS[name], Evidence(tests=planted.tests, tables=planted.tables))
    assert result.outcome is Outcome.FAIL
    assert result.blocking
    assert check in [c.id for c in result.checks if not c.success]
    assert STANDARDS[name].how_to_fix in result.reason


@pytest.mark.parametrize(
    ("name", "changes", "check"),
    [
        ("QCS-02", {"resamples_done": 100}, "none-short"),
        ("QCS-02", {"resamples_done": None}, "none-unreported"),
        ("QCS-03", {"settings_hash": "0000"}, "hash-recomputed"),
        ("QCS-03", {"settings_used": "{}", "settings_hash": metrics.settings_hash("{}")}, "settings-listed"),
        ("QCS-13", {"data_origin": ""}, "all-have-origin"),
        ("QCS-13", {"role_fit": ""}, "all-have-role-fit"),
        ("QCS-15", {"seed": None}, "not-null-seed"),
        ("QCS-15", {"cells_hash": ""}, "cells-hashed"),
        ("QCS-15", {"release": ""}, "release-named"),
        ("QCS-15", {"n": None}, "not-null-n"),
    ],
)
def test_a_row_without_its_provenance_fails(planted, make_row, numbers, name, changes, check):
    planted.rebuild(make_row("A21.5", numbers(origin="semi_synthetic"), **changes))
    result = judge_standard(STANDARDS[name], Evidence(tests=planted.tests, tables=planted.tables))
    assert check in [c.id for c in result.checks if not c.success]


def test_the_registry_audit_sees_an_edited_q_and_a_lost_row(planted):
    edited = planted.tests.copy()
    edited.loc[edited["test_id"] == "A21.5", "q_a"] = 1e-6
    result = judge_standard(STANDARDS["QCS-01"], Evidence(tests=edited, tables=planted.tables))
    assert [c.id for c in result.checks if not c.success] == ["q-recomputed"]
    lost = planted.tests[planted.tests["test_id"] != "A21.5"]
    result = judge_standard(STANDARDS["QCS-01"], Evidence(tests=lost, tables=planted.tables))
    failed = [c.id for c in result.checks if not c.success]
    assert {"emitted-153", "none-missing", "family-a", "family-b"} <= set(failed)
    assert result.outcome is Outcome.FAIL


def test_controls_apply_to_releases_only(planted, make_release):
    standard = STANDARDS["QCS-11"]
    result = judge_standard(standard, Evidence(tests=planted.tests, tables=planted.tables))
    assert not result.applies
    assert not result.blocking
    release = make_release()
    release.tables["control_outcomes"].loc[0, "behaves"] = False
    result = judge_standard(standard, Evidence(tests=release.tests, tables=release.tables))
    assert result.blocking
    del release.tables["control_outcomes"]
    result = judge_standard(standard, Evidence(tests=release.tests, tables=release.tables))
    assert result.outcome is Outcome.FAIL


def test_an_absent_table_is_not_evaluable_and_blocks(planted):
    del planted.tables["incremental_value"]
    result = judge_standard(STANDARDS["QCS-06"], Evidence(tests=planted.tests, tables=planted.tables))
    assert (result.outcome, result.blocking) == (Outcome.NOT_EVALUABLE, True)
    assert "incremental_value is absent" in result.reason


def test_a_metric_that_cannot_be_computed_is_an_error_and_no_failure(planted):
    planted.tables["baseline_differences"] = planted.tables["baseline_differences"].assign(mean_difference="text")
    result = judge_standard(STANDARDS["QCS-05"], Evidence(tests=planted.tests, tables=planted.tables))
    assert result.outcome is Outcome.NOT_EVALUABLE
    assert "inside-interval" in result.reason


def test_a_null_that_could_not_be_drawn_is_open_about_it(planted):
    openly = {"draws_done": 0, "z": np.nan, "p": np.nan, "null_sd": np.nan, "degrees_kept": None}
    planted.tables["degree_null"]["degrees_kept"] = planted.tables["degree_null"]["degrees_kept"].astype("boolean")
    planted.set("degree_null", {"edge": "attention", "null": "curveball"}, **openly)
    evidence = Evidence(tests=planted.tests, tables=planted.tables)
    audit = metrics.resampling_audit(evidence).set_index("source").loc["degree_null"]
    assert (audit["short"], audit["not_done"]) == (0, 1)
    assert judge_standard(STANDARDS["QCS-02"], evidence).outcome is Outcome.PASS
    assert judge_standard(STANDARDS["QCS-09"], evidence).outcome is Outcome.FAIL
    planted.set("degree_null", {"edge": "attention", "null": "curveball"}, z=9.0)
    evidence = Evidence(tests=planted.tests, tables=planted.tables)
    assert judge_standard(STANDARDS["QCS-02"], evidence).outcome is Outcome.FAIL


def test_the_same_question_is_evaluated_once_and_a_changed_one_again():
    standard = STANDARDS["QCS-02"]
    rows = frame(standard.examples["passing"].rows)
    first = evaluate_frame(standard, rows)
    before = suites._evaluated.cache_info().misses
    assert evaluate_frame(standard, rows.copy()) is first
    assert suites._evaluated.cache_info().misses == before
    assert not all(check.success for check in evaluate_frame(standard, rows.assign(short=1)))
    assert suites._evaluated.cache_info().misses == before + 1


def test_a_missing_null_spread_does_not_pass(planted):
    planted.set("degree_null", {"edge": "attention", "null": "curveball"}, null_sd=np.nan)
    result = judge_standard(STANDARDS["QCS-09"], Evidence(tests=planted.tests, tables=planted.tables))
    assert result.outcome is Outcome.FAIL


def bent(tmp_path, change, name="QCS-02_resamples_as_requested.yaml"):
    content = yaml.safe_load((STANDARDS_FOLDER / name).read_text())
    change(content)
    path = tmp_path / name
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.pop("rationale"), "missing \\['rationale'\\]"),
        (lambda c: c.update(colour="red"), "unknown \\['colour'\\]"),
        (lambda c: c.update(severity="fatal"), "severity"),
        (lambda c: c.update(version="1.0"), "MAJOR"),
        (lambda c: c.update(version="1.1.0"), "last changelog entry"),
        (lambda c: c.update(id="QCS-77"), "begin the file name"),
        (lambda c: c.update(rows=0), "positive number"),
        (lambda c: c.update(not_null=[]), "may not be null"),
        (lambda c: c.update(status="deprecated"), "deprecated_by"),
        (lambda c: c["examples"].pop("failing"), "passing"),
        (lambda c: c["examples"]["failing"].update(fails=[]), "must name what it fails"),
        (lambda c: c["expectations"].append(dict(c["expectations"][0])), "repeat"),
        (lambda c: c["keys"].update(product={"source": ["a", "b"]}), "key product"),
        (lambda c: c.update(evidence=[]), "without evidence is an opinion"),
        (lambda c: c["evidence"][0].pop("source"), "names a finding and its source"),
        (lambda c: c["evidence"][0].update(finding=" "), "names a finding and its source"),
        (lambda c: c.update(changelog=[]), "last changelog entry"),
        (lambda c: c["changelog"].insert(0, {"version": "1.2.0", "change": "x"}), "must rise, oldest first"),
        (lambda c: c["changelog"].insert(0, {"version": "one", "change": "x"}), "not MAJOR"),
        (lambda c: c["columns"].pop("short"), "unexplained \\['short'\\]"),
        (lambda c: c["columns"].update(colour="red"), "never read \\['colour'\\]"),
        (lambda c: c["expectations"][0].update(where={"colour": "red"}), "where` reads colour; list it"),
        (lambda c: c["expectations"][0].update(where={"rows": {"near": 3}}), "or one of above"),
        (lambda c: c["expectations"][0].update(where={"rows": {"above": "many"}}), "no number"),
        (lambda c: c["expectations"][0].update(where={"rows": {"above": 1, "below": 3}}), "or one of above"),
        (lambda c: c["expectations"][0].update(where={"rows": [True, False]}), "one value or a list"),
        (lambda c: c["expectations"][0].update(where={"rows": []}), "one value or a list"),
    ],
)
def test_an_incomplete_file_is_refused(tmp_path, change, message):
    with pytest.raises(StandardError, match=message):
        read_standard(bent(tmp_path, change))


def test_an_unknown_expectation_raises_instead_of_vanishing(tmp_path):
    path = bent(tmp_path, lambda c: c["expectations"][0].update(type="expect_nothing_at_all"))
    with pytest.raises(ValueError, match="expect_nothing_at_all"):
        build_suite(read_standard(path))


def test_changing_a_threshold_changes_the_content_hash(tmp_path):
    path = bent(tmp_path, lambda c: c["expectations"][0].update(max_value=3))
    assert read_standard(path).content_hash != STANDARDS["QCS-02"].content_hash
    assert len(standards_hash()) == 64


def test_a_bent_standard_is_not_served_from_the_cache(tmp_path):
    loose = read_standard(bent(tmp_path, lambda c: c["expectations"][0].update(max_value=3)))
    rows = frame(STANDARDS["QCS-02"].examples["failing"].rows)
    assert all(check.success for check in evaluate_frame(loose, rows))
    assert not all(check.success for check in evaluate_frame(STANDARDS["QCS-02"], rows))


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(StandardError, match="0 standards"):
        read_standards(tmp_path)

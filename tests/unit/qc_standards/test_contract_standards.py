"""Standards whose tables no analysis writes yet: absent or failing, they are told and close nothing."""

import pandas as pd
import pytest

from qc_standards.evidence import TABLE_COLUMNS, Evidence
from qc_standards.metrics import VIEWS
from qc_standards.records import Outcome
from qc_standards.standards import required_columns, shipped_standards
from qc_standards.suites import judge_frame, judge_standard

STANDARDS = shipped_standards()
NINE = [f"QCS-{number}" for number in range(31, 40)]
TABLES = {name: STANDARDS[name].applies_to for name in NINE}


def example(name, kind):
    return pd.DataFrame([dict(row) for row in STANDARDS[name].examples[kind].rows])


def states(judgement):
    return {name: verdict.state for name, verdict in judgement.verdicts.items()}


def judged(release, name):
    return judge_standard(STANDARDS[name], Evidence(tests=release.tests, tables=release.tables))


@pytest.mark.parametrize("name", NINE)
def test_the_contract_is_in_the_standard(name):
    standard = STANDARDS[name]
    assert standard.row
    assert set(standard.columns) == set(required_columns(standard))
    assert (standard.kind, standard.severity) == ("validity", "warning")
    assert standard.applies_to not in VIEWS
    assert set(TABLE_COLUMNS.get(standard.applies_to, ())) <= set(standard.columns) | {"role", "dataset"}


@pytest.mark.parametrize("name", NINE)
def test_an_absent_table_is_told_and_is_no_pass(make_release, name):
    release = make_release()
    del release.tables[TABLES[name]]
    result = judged(release, name)
    assert result.outcome is Outcome.NOT_EVALUABLE
    assert result.applies
    assert result.unexamined
    assert not result.blocking
    assert f"table {TABLES[name]} is absent" in result.reason


def test_the_skipped_rows_of_the_analysis_say_why_its_table_is_absent(make_release):
    release = make_release()
    del release.tables["label_leakage"]
    of_donors = release.tests["test_id"].str.startswith("A08.")
    release.tests.loc[of_donors, ["status", "reason"]] = ["skipped", "one donor"]
    assert "A08.1, A08.2, A08.3, A08.6 skipped: one donor" in judged(release, "QCS-32").reason


@pytest.mark.parametrize("name", NINE)
def test_a_lost_column_is_named(make_release, name):
    release = make_release()
    column = STANDARDS[name].not_null[-1]
    release.tables[TABLES[name]] = release.tables[TABLES[name]].drop(columns=column)
    result = judged(release, name)
    assert result.outcome is Outcome.NOT_EVALUABLE
    assert column in result.reason


def test_without_these_tables_every_verdict_is_the_same_and_says_what_was_not_examined(make_release):
    whole, bare = make_release(), make_release()
    for table in TABLES.values():
        del bare.tables[table]
    judgement = bare.judge()
    assert states(judgement) == states(whole.judge())
    for name in NINE:
        assert any(name in note for note in judgement.verdicts[judgement.headline].notes)


def test_failing_tables_are_told_and_close_nothing(make_release):
    whole, failing = make_release(), make_release()
    for name, table in TABLES.items():
        failing.tables[table] = example(name, "failing")
    judgement = failing.judge()
    results = {result.id: result for result in judgement.standards}
    assert {results[name].outcome for name in NINE} == {Outcome.FAIL}
    closed = {name for name, state in states(judgement).items() if state != states(whole.judge())[name]}
    integrity = [result.id for result in judgement.standards if result.kind == "integrity" and result.blocking]
    assert (closed, integrity) == (set(), [])


def test_too_few_draws_in_such_a_table_are_still_an_integrity_failure(make_release):
    release = make_release()
    release.tables["noise_ceiling"]["draws_done"] = 3
    result = judged(release, "QCS-02")
    assert result.outcome is Outcome.FAIL
    assert result.blocking


@pytest.mark.parametrize("name", NINE)
@pytest.mark.parametrize("kind", ["passing", "failing"])
def test_a_table_that_went_through_a_spreadsheet_is_judged_the_same(tmp_path, name, kind):
    path = tmp_path / "table.csv"
    example(name, kind).to_csv(path, index=False)
    result = judge_frame(STANDARDS[name], pd.read_csv(path))
    assert [check.id for check in result.checks if not check.success] == sorted(
        STANDARDS[name].examples[kind].fails, key=[check.id for check in result.checks].index
    )

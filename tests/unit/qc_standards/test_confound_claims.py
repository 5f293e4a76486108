"""What follows for claims: the matched null, the equivalence behind every null, and evidence that is withdrawn."""

import pytest

from qc_standards.records import VerdictState, skipped
from qc_standards.screen_metrics import FLAGS


class TestMatchedClaim:
    CLAIM = "published_matched_gain_null"

    def verdict(self, release, standards=None):
        return release.judge(standards=standards).verdicts[self.CLAIM]

    def test_an_equivalent_gain_on_balanced_pairs_supports_it(self, make_release, passed_standards):
        assert self.verdict(make_release(gain=0.0), passed_standards).state is VerdictState.SUPPORTED

    def test_a_gain_refutes_it(self, make_release, passed_standards):
        assert self.verdict(make_release(), passed_standards).state is VerdictState.REFUTED

    def test_a_wide_interval_is_inconclusive(self, make_release, passed_standards):
        wide = {"p_equivalent": 0.3, "equivalent": False, "ci_low": -0.02, "ci_high": 0.02}
        release = make_release(gain=0.0).set("matched_value", {}, **wide)
        assert self.verdict(release, passed_standards).state is VerdictState.INCONCLUSIVE

    @pytest.mark.parametrize("gain", [0.0, 0.06])
    def test_imbalance_closes_it_in_both_directions_and_no_other_claim(self, make_release, gain):
        release = make_release(gain=gain)
        before = release.judge().verdicts
        release.set("matched_balance", {"covariate": "mean"}, smd_distinct=0.71, balanced=False)
        release.set("matched_value", {}, balanced=False)
        after = release.judge().verdicts
        assert after[self.CLAIM].state is VerdictState.NOT_EVALUABLE
        told = " ".join(after[self.CLAIM].reasons)
        assert "QCS-23" in told
        assert "may not be read as balanced" in told
        assert {n: v.state for n, v in after.items() if n != self.CLAIM} == {
            n: v.state for n, v in before.items() if n != self.CLAIM
        }

    def test_a_gain_said_to_be_balanced_against_its_table_is_no_support(self, make_release):
        release = make_release(gain=0.0).set("matched_balance", {"covariate": "mean"}, smd_distinct=0.71)
        assert self.verdict(release).state is VerdictState.NOT_EVALUABLE

    def test_without_the_planted_control_it_stays_closed(self, make_release, passed_standards):
        release = make_release(gain=0.0)
        frame = release.tables["control_outcomes"]
        release.tables["control_outcomes"] = frame[frame["control"] != "control-planted"]
        assert self.verdict(release, passed_standards).state is VerdictState.NOT_EVALUABLE

    @pytest.mark.parametrize("test_id", ["A35.1", "A35.2", "A35.3"])
    def test_each_of_its_rows_is_needed(self, make_release, passed_standards, test_id):
        release = make_release(gain=0.0).rebuild(skipped(test_id, "withdrawn"))
        assert self.verdict(release, passed_standards).state is VerdictState.NOT_EVALUABLE

    def test_planted_truth_cannot_support_it(self, make_release, passed_standards):
        verdict = self.verdict(make_release(gain=0.0, origin="semi_synthetic"), passed_standards)
        assert verdict.label == "not evaluable: no real perturbation outcomes in this study"


def cleared(release):
    return {name for name, verdict in release.judge().verdicts.items() if verdict.cleared}


def test_the_null_claims_rest_on_their_equivalence_tests(make_release):
    release = make_release(gain=0.0, attention=0.65)
    release.set("attention_vs_correlation", {}, p_tost=0.001, equivalent=True)
    nulls = {"published_matched_gain_null", "published_no_incremental_value", "published_attention_equals_correlation"}
    assert nulls <= cleared(release)
    release.set("tf_strata", {"stratum": "tf"}, equivalent=False)
    assert not nulls & cleared(release)


NEW_TABLES = (
    *("covariate_r2", "circularity", "per_regulator", "tf_strata", "matched_balance", "matched_value"),
    *("layer_choice", "layer_selection_profile", "screen_scores", "modality_audit", "null_calibration_summary"),
)


@pytest.mark.parametrize("table", NEW_TABLES)
def test_removing_evidence_opens_no_claim(make_release, table):
    release = make_release(gain=0.0)
    before = cleared(release)
    del release.tables[table]
    assert cleared(release) <= before


@pytest.mark.parametrize("flag", list(FLAGS))
def test_denying_evidence_closes_every_claim(make_release, flag):
    release = make_release()
    if flag == "outcome_only":
        release.set("screen_scores", {}, kind="outcome_only")
    assert cleared(release) or flag == "outcome_only"
    release.set("evaluation", {}, **{flag: False})
    assert not cleared(release)


def test_a_contradicted_modality_closes_what_rests_on_the_outcomes(make_release):
    release = make_release().set("modality_audit", {"role": "primary_screen"}, agrees="no")
    assert cleared(release) == {"survives_confounds_and_degree"}


@pytest.mark.parametrize(
    ("table", "where", "values", "name"),
    [
        ("layer_choice", {}, {"same_cells": True}, "QCS-18"),
        ("modality_audit", {"role": "second_screen"}, {"agrees": "no"}, "QCS-25"),
        ("per_regulator", {"regulator": "FOXA1", "edge": "attention"}, {"p_exact": 0.3}, "QCS-21"),
    ],
)
def test_descriptive_standards_are_noted_and_close_nothing(make_release, table, where, values, name):
    release = make_release()
    before = cleared(release)
    release.set(table, where, **values)
    assert cleared(release) == before
    assert any(f"warning {name}" in note for note in release.judge().verdicts["adds_incremental_value"].notes)

from dataclasses import replace

import pandas as pd
import pytest

from qc_standards.claims import ClaimsError, claims_registry
from qc_standards.gate import (
    check_folder,
    control_outcome,
    controls_frame,
    judge_standards,
    judge_tables,
    missing_control,
)
from qc_standards.records import Outcome, VerdictState, skipped
from qc_standards.results import ResultsError

HEADLINE = "attention_is_regulatory"
CRITERION_CLAIMS = {
    "beats_gene_level_baselines": "a",
    "adds_incremental_value": "b",
    "survives_confounds_and_degree": "c",
    "causally_used": "d",
}


def test_positive_control_is_supported_on_all_four_criteria(planted):
    judgement = planted.judge()
    for claim in (HEADLINE, *CRITERION_CLAIMS):
        assert judgement.verdicts[claim].state is VerdictState.SUPPORTED, judgement.verdicts[claim].reasons
    assert "data origin semi_synthetic" in judgement.verdicts[HEADLINE].notes


def test_without_interventions_the_headline_stays_closed(planted):
    for name in ("intervention_auroc", "intervention_conditions", "intervention_fidelity"):
        del planted.tables[name]
    verdict = planted.judge().verdicts[HEADLINE]
    assert verdict.state is VerdictState.NOT_EVALUABLE
    assert verdict.reasons[0].startswith("criterion d not evaluable: table intervention_conditions is absent")


def test_negative_control_is_refuted(coexpression, passed_standards):
    judgement = coexpression.judge(standards=passed_standards)
    for claim in (HEADLINE, *CRITERION_CLAIMS):
        state = VerdictState.NOT_EVALUABLE if claim == "causally_used" else VerdictState.REFUTED
        assert judgement.verdicts[claim].state is state
    assert judgement.verdicts[HEADLINE].label == "refuted"


def test_a_real_release_with_behaving_controls_supports_its_criteria(make_release, passed_standards):
    judgement = make_release().judge(standards=passed_standards)
    for claim in CRITERION_CLAIMS:
        verdict = judgement.verdicts[claim]
        assert verdict.cleared
        assert not verdict.provisional
        assert verdict.notes == ()


@pytest.fixture
def repeated_in_part(make_release, example_tables):
    """A real release whose `stability` repeats the numbers of criteria a and c, as the standard's example does."""
    release = make_release()
    release.tables["stability"] = example_tables.contract_tables()["stability"].assign(repeats=3)
    return release


def test_a_criterion_that_nothing_repeats_keeps_its_claims_provisional(repeated_in_part, passed_standards):
    judgement = repeated_in_part.judge(standards=passed_standards)
    for claim, criterion in CRITERION_CLAIMS.items():
        assert judgement.verdicts[claim].provisional is (criterion in "bd")
    assert judgement.verdicts[HEADLINE].provisional
    assert "criteria b, d read with one seed" in judgement.verdicts[HEADLINE].notes[0]


def test_semi_synthetic_truth_clears_no_release(make_release, passed_standards):
    judgement = make_release(origin="semi_synthetic").judge(standards=passed_standards)
    for claim in CRITERION_CLAIMS:
        verdict = judgement.verdicts[claim]
        assert verdict.state is VerdictState.NOT_EVALUABLE
        assert verdict.label == "not evaluable: no real perturbation outcomes in this study"
    weak = make_release(origin="semi_synthetic", attention=0.6, gain=0.0, kept=0.2)
    verdict = weak.judge(standards=passed_standards).verdicts[HEADLINE]
    assert verdict.state is VerdictState.REFUTED
    assert verdict.label == "refuted (semi-synthetic)"


def test_one_planted_row_behind_a_claim_is_enough_to_keep_it_closed(make_release, make_row, numbers, passed_standards):
    release = make_release().rebuild(make_row("A26.1", numbers(origin="semi_synthetic")))
    verdicts = release.judge(standards=passed_standards).verdicts
    assert not verdicts["adds_incremental_value"].cleared
    assert verdicts["beats_gene_level_baselines"].cleared


@pytest.mark.parametrize("control", ["control-planted", "control-coexpression", "geneformer-small-2k.shuffled"])
@pytest.mark.parametrize("how", ["absent", "misbehaves"])
def test_an_absent_or_misbehaving_control_closes_every_claim_that_needs_it(
    make_release, passed_standards, control, how
):
    release = make_release()
    frame = release.tables["control_outcomes"]
    if how == "absent":
        frame = frame[frame["control"] != control]
    else:
        frame.loc[frame["control"] == control, "behaves"] = False
    release.tables["control_outcomes"] = frame
    verdict = release.judge(standards=passed_standards).verdicts["beats_gene_level_baselines"]
    assert verdict.state is VerdictState.NOT_EVALUABLE
    assert control in verdict.reasons[0]


def test_an_optional_control_counts_once_it_was_judged(make_release, control_rows, passed_standards):
    release = make_release()
    bad = {**control_rows[1], "control": "geneformer-small-2k.random-weights", "behaves": False}
    release.tables["control_outcomes"] = controls_frame([*control_rows, bad], "geneformer-small-2k")
    verdict = release.judge(standards=passed_standards).verdicts["adds_incremental_value"]
    assert verdict.state is VerdictState.NOT_EVALUABLE
    assert "random-weights" in verdict.reasons[0]


def test_no_control_table_closes_a_release(make_release, passed_standards):
    release = make_release()
    del release.tables["control_outcomes"]
    verdict = release.judge(standards=passed_standards).verdicts["adds_incremental_value"]
    assert verdict.state is VerdictState.NOT_EVALUABLE


def test_a_broken_integrity_standard_closes_everything(planted):
    planted.set("lineage", {"score": "correlation"}, cells_hash="ffff0000ffff")
    judgement = planted.judge()
    for verdict in judgement.verdicts.values():
        assert verdict.state is VerdictState.NOT_EVALUABLE
        assert verdict.reasons[0].startswith("QCS-04")


def test_a_broken_validity_standard_closes_only_the_claims_that_name_it(planted):
    planted.set("evaluability", {"stage": "scorable"}, pairs=99999)
    verdicts = planted.judge().verdicts
    assert verdicts["beats_gene_level_baselines"].state is VerdictState.NOT_EVALUABLE
    assert verdicts["survives_confounds_and_degree"].state is VerdictState.SUPPORTED
    assert verdicts["published_baselines_win"].state is VerdictState.REFUTED


def test_a_required_row_that_was_not_run_closes_its_claim(planted, passed_standards):
    planted.rebuild(skipped("A21.5", "no dataset serves primary_screen"))
    verdicts = planted.judge(standards=passed_standards).verdicts
    assert verdicts["beats_gene_level_baselines"].state is VerdictState.NOT_EVALUABLE
    assert "A21.5 skipped: no dataset serves primary_screen" in verdicts["beats_gene_level_baselines"].reasons[0]
    assert verdicts["adds_incremental_value"].cleared


def test_a_missing_table_is_not_evaluable_and_says_which(planted, passed_standards):
    del planted.tables["incremental_value"]
    verdict = planted.judge(standards=passed_standards).verdicts["adds_incremental_value"]
    assert verdict.state is VerdictState.NOT_EVALUABLE
    assert "incremental_value" in verdict.reasons[0]


def test_a_study_without_any_data_is_judged_and_stays_closed(make_release, tmp_path):
    release = make_release()
    release.rebuild(*[skipped(row.test_id, "no dataset serves primary_screen") for row in release.rows])
    release.tables = {name: release.tables[name] for name in ("evaluation", "control_outcomes")}
    release.tables["evaluation"]["data_origin"] = "none"
    verdicts = check_folder(release.write(tmp_path / "empty")).verdicts
    for verdict in verdicts.values():
        assert verdict.state is VerdictState.NOT_EVALUABLE
        assert verdict.label == "not evaluable: no real perturbation outcomes in this study"
    assert any("no dataset serves primary_screen" in reason for reason in verdicts[HEADLINE].reasons)


def test_context_mismatch_caps_and_is_shown(make_release, passed_standards):
    release = make_release()
    release.tables["evaluation"]["context_mismatch"] = "control cells from another laboratory"
    verdict = release.judge(standards=passed_standards).verdicts["beats_gene_level_baselines"]
    assert verdict.state is VerdictState.INCONCLUSIVE
    assert "another laboratory" in verdict.reasons[0]


def test_what_is_shown_beside_a_verdict(make_release, passed_standards):
    release = make_release(seeds=1)
    release.tables["evaluation"]["role_fit"] = "partial"
    release.tables["evaluation"]["untrained"] = True
    verdict = release.judge(standards=passed_standards).verdicts[HEADLINE]
    assert verdict.provisional
    assert verdict.untrained
    assert verdict.evidence_level == "causal"
    told = " ".join(verdict.notes)
    assert "role fit partial" in told
    assert "1 seed(s), 3 are needed" in told
    assert "untrained" in told


def test_warnings_are_noted_and_never_block(make_release):
    release = make_release()
    release.tables["evaluation"]["trained_on_evaluated_cells"] = True
    verdict = release.judge().verdicts["beats_gene_level_baselines"]
    assert verdict.cleared
    assert any("QCS-16" in note for note in verdict.notes)


@pytest.mark.parametrize(
    ("column", "value"),
    [("release_kind", "friend"), ("data_origin", "believed"), ("release", ""), ("study", None)],
)
def test_an_unusable_evaluation_row_is_refused(planted, column, value):
    planted.tables["evaluation"][column] = value
    with pytest.raises(ResultsError, match=column if value else "must be named"):
        planted.judge()


def test_standards_of_other_results_are_refused(planted, passed_standards):
    with pytest.raises(ResultsError, match="not those of the shipped standards"):
        planted.judge(standards=passed_standards[1:])


def test_asserted_claims_must_be_declared(planted, passed_standards):
    with pytest.raises(ClaimsError, match="unknown claim mine"):
        planted.judge("mine", standards=passed_standards)
    with pytest.raises(ClaimsError, match="no claim"):
        judge_tables(planted.tests, planted.tables, [], standards=passed_standards)


def test_removing_any_table_opens_no_claim(make_release, passed_standards):
    def cleared(release):
        return {name for name, v in release.judge(standards=passed_standards).verdicts.items() if v.cleared}

    before = cleared(make_release())
    assert before == {HEADLINE, *CRITERION_CLAIMS}
    for name in set(make_release().tables) - {"evaluation"}:
        release = make_release()
        del release.tables[name]
        assert cleared(release) <= before, name


def test_removing_any_required_row_opens_no_claim(make_release, passed_standards):
    needed = {test for claim in claims_registry().claims.values() for test in claim.tests}
    built = sorted(needed & {row.test_id for row in make_release().rows if row.status == "run"})
    for test_id in built[::4]:
        release = make_release(attention=0.5, gain=0.0, kept=0.1)
        before = {n for n, v in release.judge(standards=passed_standards).verdicts.items() if v.cleared}
        release.rebuild(skipped(test_id, "withdrawn"))
        after = {n for n, v in release.judge(standards=passed_standards).verdicts.items() if v.cleared}
        assert after <= before


class TestControlOutcome:
    def test_behaving_controls(self, control_rows):
        assert [row["behaves"] for row in control_rows] == [True, True, True]
        assert control_rows[0]["observed"] == "a pass, b pass, c pass, d pass"
        assert control_rows[1]["observed"] == "attention_is_regulatory refuted"

    def test_a_positive_control_that_misses_a_criterion(self, planted, passed_standards):
        planted.set("incremental_value", {"edge": "attention", "split": "joint"}, ci_low=-0.01)
        row = control_outcome(planted.judge(standards=passed_standards))
        assert row["behaves"] is False
        assert row["observed"] == "a pass, b undecided, c pass, d pass"
        assert row["reason"].startswith("criterion b undecided")

    def test_a_positive_control_with_broken_integrity(self, planted):
        planted.set("lineage", {"score": "correlation"}, cells_hash="ffff0000ffff")
        row = control_outcome(planted.judge())
        assert row["behaves"] is False
        assert "QCS-04" in row["reason"]

    def test_a_negative_control_that_is_not_refuted(self, planted, passed_standards):
        judgement = planted.judge(standards=passed_standards)
        row = control_outcome(judgement, "control-coexpression")
        assert row["behaves"] is False
        assert row["observed"] == "attention_is_regulatory supported"

    def test_missing_controls_are_filled_in_and_do_not_behave(self, control_rows):
        frame = controls_frame(control_rows[:1], "geneformer-small-2k")
        assert sorted(frame["control"]) == [
            "control-coexpression",
            "control-planted",
            "geneformer-small-2k.shuffled",
        ]
        assert frame.set_index("control")["behaves"].to_dict() == {
            "control-coexpression": False,
            "control-planted": True,
            "geneformer-small-2k.shuffled": False,
        }
        assert missing_control("control-planted", "crashed")["reason"] == "crashed"

    def test_a_plain_release_is_no_control(self, make_release, passed_standards):
        with pytest.raises(ClaimsError, match="not a declared control"):
            control_outcome(make_release().judge(standards=passed_standards))


def test_a_control_needs_no_controls(planted, passed_standards):
    assert "control_outcomes" not in planted.tables
    verdict = planted.judge(standards=passed_standards).verdicts["beats_gene_level_baselines"]
    assert dict(verdict.criteria) == {"a": Outcome.PASS}
    assert verdict.cleared


def test_a_claim_that_names_no_active_standard_stays_closed(make_release, passed_standards, monkeypatch):
    from qc_standards import gate

    registry = claims_registry()
    claim = registry.claims["survives_confounds_and_degree"]
    bent = replace(claim, standards=(*claim.standards, "QCS-99"))
    monkeypatch.setattr(gate, "claims_registry", lambda: replace(registry, claims={**registry.claims, claim.id: bent}))
    verdict = make_release().judge(standards=passed_standards).verdicts[claim.id]
    assert verdict.state is VerdictState.NOT_EVALUABLE
    assert "standard QCS-99 not evaluable: is no active standard" in verdict.reasons


def test_standards_that_found_no_table_are_told_in_one_note(make_release):
    release = make_release()
    for name in ("stability", "noise_ceiling"):
        del release.tables[name]
    notes = release.judge().verdicts[HEADLINE].notes
    assert [note for note in notes if note.startswith("not examined")] == [
        "not examined, their table is absent or incomplete: QCS-37, QCS-38"
    ]


def test_the_evaluation_cannot_state_its_seeds_by_itself(make_release, passed_standards):
    release = make_release()
    del release.tables["stability"]
    release.tables["evaluation"]["seeds"] = 3
    judgement = release.judge(standards=passed_standards)
    assert all(verdict.provisional for verdict in judgement.verdicts.values())
    assert judgement.grounds.seeds == 1


def test_a_reading_that_changes_between_seeds_makes_a_verdict_provisional(repeated_in_part, passed_standards):
    release = repeated_in_part.set("stability", {"criterion": "a", "varied": "seed"}, readings=2)
    verdicts = release.judge(standards=passed_standards).verdicts
    assert verdicts["beats_gene_level_baselines"].provisional
    assert not verdicts["survives_confounds_and_degree"].provisional
    assert "its reading changes" in verdicts[HEADLINE].notes[0]


def test_an_absent_table_is_explained_by_the_extended_rows(make_release):
    release = make_release()
    del release.tables["noise_ceiling"]
    reason = "perturbqa: its outcomes came without cells"
    extended = pd.DataFrame([{"test_id": "E7.1", "status": "skipped", "reason": reason}])
    judged = {item.id: item for item in judge_standards(release.tests, release.tables, extended)}
    assert judged["QCS-38"].outcome is Outcome.NOT_EVALUABLE
    assert judged["QCS-38"].reason == f"table noise_ceiling is absent (E7.1 skipped: {reason})"
    assert judged["QCS-37"].outcome is Outcome.PASS

"""A model author's claims file: it chooses declared claims, and can loosen none."""

from __future__ import annotations

import pytest

from qc_standards.assertions import ClaimsFileError, check_contexts, covered_contexts, read_claims_file
from qc_standards.claims import EvidenceLevel, claims_registry
from qc_standards.cli import main
from qc_standards.records import skipped
from qc_standards.results import Results


@pytest.fixture
def written(tmp_path):
    def write(text, name="claims.yaml"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_plain_ids_are_asserted_at_their_declared_level(written):
    asserted = read_claims_file(written("claims:\n  - beats_gene_level_baselines\n\n  - attention_is_regulatory\n"))
    assert asserted.ids == ("beats_gene_level_baselines", "attention_is_regulatory")
    assert [a.line for a in asserted.assertions] == [2, 4]
    assert [a.level for a in asserted.assertions] == [EvidenceLevel.INTERVENTION_CONSISTENT, EvidenceLevel.CAUSAL]
    assert {a.context for a in asserted.assertions} == {""}


def test_an_entry_may_be_weaker_and_say_where(written):
    text = """\
claims:
  - id: adds_incremental_value
    context: demo
    level: decoding
    wording: Attention tells something that gene-level features do not.
  - {level: intervention_consistent, id: beats_gene_level_baselines}
"""
    first, second = read_claims_file(written(text)).assertions
    assert (first.id, first.level, first.context, first.line) == (
        "adds_incremental_value",
        EvidenceLevel.DECODING,
        "demo",
        2,
    )
    assert first.wording.startswith("Attention tells")
    assert (second.id, second.line) == ("beats_gene_level_baselines", 6)


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("claims: [my_claim]\n", 1, "unknown claim my_claim; declared: attention_is_regulatory"),
        ("claims:\n  - adds_incremental_valu\n", 2, "did you mean adds_incremental_value?"),
        ("claims:\n  - causally_used\n  - causally_used\n", 3, "asserted in line 2 already"),
        ("claims:\n  - causally_used\n  - {id: causally_used, context: demo}\n", 3, "asserted in line 2 already"),
        ("claims:\n  - id: causally_used\n    criteria: [a]\n", 3, "unknown key `criteria`"),
        ("claims:\n  - id: causally_used\n    thresholds: {z: 1}\n", 3, "cannot redefine it"),
        ("claims:\n  - id: causally_used\n    id: attention_is_regulatory\n", 3, "`id` is given twice"),
        ("claims:\n  - level: causal\n", 2, "needs the `id`"),
        ("claims:\n  - id:\n", 2, "`id` must be a text"),
        ("claims:\n  - id: 7\n", 2, "`id` must be a text"),
        ("claims:\n  - 7\n", 2, "`id` must be a text"),
        ("claims:\n  - [causally_used]\n", 2, "got a list"),
        ("claims:\n  - id: causally_used\n    context: ''\n", 3, "`context` must be a text"),
        ("claims:\n  - id: causally_used\n    context: [demo, bench]\n", 3, "`context` must be a text"),
        ("claims:\n  - id: causally_used\n    level: proof\n", 3, "level `proof` is not one of decoding"),
        ("claims:\n  - id: survives_confounds_and_degree\n    level: causal\n", 3, "lies above decoding"),
        (
            "claims:\n  - id: beats_gene_level_baselines\n    level: causal\n",
            3,
            "attention_is_regulatory, causally_used",
        ),
        (
            "claims:\n  - id: beats_gene_level_baselines\n    wording: Attention\n      drives expression.\n",
            3,
            "`drive` (needs causal)",
        ),
        (
            "claims:\n  - id: causally_used\n    level: decoding\n    wording: It ranks perturbed genes.\n",
            4,
            "says more than level decoding allows: `perturb`",
        ),
        ("claims: [causally_used]\nstandards: [QCS-01]\n", 2, "unknown key `standards`"),
        ("claims: [causally_used]\nclaims: [attention_is_regulatory]\n", 2, "`claims` is given twice"),
        ("- causally_used\n", 1, "the one key `claims`"),
        ("claims: causally_used\n", 1, "the one key `claims`"),
        ("claims:\n  a: causally_used\n", 2, "the one key `claims`"),
        ("claims:\n  - causally_used\n  - [unclosed\n", 4, "not YAML"),
        ("claims: []\n", 0, "no claim is asserted"),
        ("", 0, "no claim is asserted"),
        ("claims:\n", 1, "the one key `claims`"),
        ("claims: !!python/object/apply:os.getcwd []\n", 1, "the one key `claims`"),
    ],
)
def test_a_claims_file_cannot_loosen_invent_or_be_vague(written, text, line, message):
    path = written(text)
    with pytest.raises(ClaimsFileError) as told:
        read_claims_file(path)
    problem = told.value.problems[0]
    assert problem.line == line
    assert message in problem.text
    assert str(told.value).startswith(f"{path}:{line}: " if line else f"{path}: ")


def test_every_wrong_line_is_told_at_once(written):
    path = written("claims:\n  - a_claim\n  - id: causally_used\n    colour: red\nextra: 1\n")
    with pytest.raises(ClaimsFileError) as told:
        read_claims_file(path)
    assert [problem.line for problem in told.value.problems] == [2, 4, 5]


def test_an_absent_or_unreadable_file_is_named(tmp_path):
    with pytest.raises(ClaimsFileError, match=r"claims\.yaml: no such claims file"):
        read_claims_file(tmp_path / "claims.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"claims: [\xff\xfe]\n")
    with pytest.raises(ClaimsFileError, match=r"binary\.yaml: not UTF-8"):
        read_claims_file(tmp_path / "binary.yaml")


def results_of(evaluation):
    return Results(tests=evaluation.tests, tables=evaluation.tables, stored={})


def test_results_cover_their_study_and_the_datasets_behind_the_claim(make_release, make_row, numbers):
    release = make_release()
    claim = claims_registry().claims["adds_incremental_value"]
    assert covered_contexts(claim, results_of(release)) == ("demo", "screen-main")
    release.rebuild(make_row("A26.1", numbers(), dataset="screen-side"), make_row("A01.1", numbers(), dataset="other"))
    assert set(covered_contexts(claim, results_of(release))) == {"demo", "screen-main", "screen-side"}
    release.rebuild(*[skipped(test, "no dataset serves primary_screen") for test in claim.tests])
    assert covered_contexts(claim, results_of(release)) == ("demo",)


def test_a_context_mismatch_is_covered_only_where_the_registry_names_it(make_release, written):
    release = make_release()
    release.tables["evaluation"]["context_mismatch"] = "cells of another laboratory"
    text = "claims:\n  - id: beats_gene_level_baselines\n    context: cells of another laboratory\n"
    with pytest.raises(ClaimsFileError, match="is asserted for cells of another laboratory, and these results cover"):
        check_contexts(read_claims_file(written(text)), results_of(release))


@pytest.mark.parametrize(("context", "code"), [("demo", 0), ("screen-main", 0), ("bench", 2), ("screen-2", 2)])
def test_the_gate_refuses_a_context_that_the_results_do_not_cover(planted_folder, written, capsys, context, code):
    path = written(f"claims:\n  - id: beats_gene_level_baselines\n    context: {context}\n")
    assert main(["check", str(planted_folder), "--claims", str(path)]) == code
    said = capsys.readouterr()
    if code:
        assert f"claims.yaml:2: beats_gene_level_baselines is asserted for {context}" in said.err
        assert "VERDICT" not in said.out
    else:
        assert f"context  {context}" in said.out


def test_a_weaker_level_is_shown_and_changes_no_verdict(refuted_folder, planted_folder, written, capsys):
    path = written("claims:\n  - id: beats_gene_level_baselines\n    level: decoding\n")
    assert main(["check", str(planted_folder), "--claims", str(path)]) == 0
    assert "asserted as decoding, declared as intervention_consistent" in capsys.readouterr().out
    assert main(["check", str(refuted_folder), "--claims", str(path)]) == 1


def test_claims_files_are_checked_without_results(written, capsys, monkeypatch):
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    good = written("claims: [causally_used]\n", "good.yaml")
    bad = written("claims:\n  - {id: causally_used, tables: []}\n  - nothing\n", "bad.yaml")
    assert main(["claims", str(good)]) == 0
    assert "causally_used" in capsys.readouterr().out
    assert main(["claims", str(good), str(bad)]) == 2
    told = capsys.readouterr()
    assert [line.split(": ")[0] for line in told.err.splitlines()] == [f"{bad}:2", f"{bad}:3"]
    assert "::error" not in told.out
    assert main(["claims", str(bad), "--github"]) == 2
    assert capsys.readouterr().out.count("::error") == 2

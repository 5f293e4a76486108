"""What may be said: never above its evidence level, for every state, level and origin, and with the right numbers."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from itertools import product
from types import MappingProxyType

import pytest

from qc_standards.assertions import ClaimsFileError, read_claims_file
from qc_standards.claims import EvidenceLevel, claims_registry, levels_up_to, words_above
from qc_standards.cli import main
from qc_standards.documents import documents
from qc_standards.outputs.said import markdown_lines, terminal_lines
from qc_standards.records import DataOrigin, Outcome, VerdictState
from qc_standards.sentences import Sentence, WordingError, check_wording, markdown_code, markdown_text, plain
from qc_standards.statement_claims import PHRASES, claim_sentence
from qc_standards.statement_data import setting
from qc_standards.statements import statement, statement_document
from qc_standards.verdicts import Clause, Grounds

DECODING, CAUSAL = EvidenceLevel.DECODING, EvidenceLevel.CAUSAL
INTERVENTION = EvidenceLevel.INTERVENTION_CONSISTENT
FAILING = {"attention": 0.7, "gain": 0.0, "kept": 0.5, "z": 1.0, "excess": 0.01}
HOSTILE = "x\n# <img src=x onerror=alert(1)> **b** `c` [l](http://e.org) {study} \x1b[31m | perturbs and drives"


_JUDGED = {}  # frozen, so that every test of this file can look at the same one


@pytest.fixture
def judged(make_release, passed_standards):
    """Judgement of a release; keyword arguments as in `Numbers`, standards taken as passed."""

    def judge(**changes):
        key = tuple(sorted(changes.items()))
        if key not in _JUDGED:
            _JUDGED[key] = make_release(**changes).judge(standards=passed_standards)
        return _JUDGED[key]

    return judge


@pytest.fixture
def supported(judged):
    return judged()


def with_verdict(judgement, claim, **changes):
    """The judgement with one verdict changed."""
    verdicts = dict(judgement.verdicts)
    verdicts[claim] = replace(verdicts[claim], **changes)
    return replace(judgement, verdicts=MappingProxyType(verdicts))


def with_all(judgement, **changes):
    verdicts = {name: replace(verdict, **changes) for name, verdict in judgement.verdicts.items()}
    return replace(judgement, verdicts=MappingProxyType(verdicts))


@pytest.mark.parametrize("state", list(VerdictState))
@pytest.mark.parametrize("origin", list(DataOrigin))
def test_no_sentence_is_worded_above_its_level(supported, state, origin, tmp_path):
    """Every claim at every level, in every state, on data of every origin, with every limit there is."""
    file = tmp_path / "claims.yaml"
    unmet = (
        (),
        (Clause(name="criterion a", outcome=Outcome.UNDECIDED, reason="causes"),),
        (Clause(name="control perturbation-driver", outcome=Outcome.FAIL, reason="drives"),),
        (Clause(name="QCS-09 (Causal title)", outcome=Outcome.FAIL, reason="mechanism"),),
        (Clause(name="required rows", outcome=Outcome.NOT_EVALUABLE, reason="CRISPR"),),
    )
    for claim, level, deciding in product(claims_registry().claims, EvidenceLevel, unmet):
        changes = {"state": state, "data_origin": origin, "evidence_level": level, "deciding": deciding}
        judgement = with_verdict(supported, claim, **changes)
        sentence = claim_sentence(judgement, judgement.verdicts[claim])
        assert not words_above(sentence.words, sentence.level), sentence.text
        if origin is not DataOrigin.REAL:
            assert sentence.level is DECODING
        elif state is VerdictState.SUPPORTED:
            assert sentence.level is level
        else:  # no causal verb for what was not supported, whatever the claim's level
            assert not words_above(sentence.words, INTERVENTION)
        declared = claims_registry().claims[claim].evidence_level
        if sentence.level in levels_up_to(declared):  # the very rule of `qc-gate check --claims`
            entry = {"id": claim, "level": str(sentence.level), "wording": sentence.words}
            file.write_text(json.dumps({"claims": [entry]}))
            assert read_claims_file(file).ids == (claim,)


@pytest.mark.parametrize("state", list(VerdictState))
@pytest.mark.parametrize("origin", [*map(str, DataOrigin), "none"])
def test_the_whole_paragraph_stays_within_its_levels(supported, state, origin):
    grounds = Grounds(origin=origin, datasets=("a", "b"), stand_ins=("c",), trained_on_evaluated_cells=True, seeds=1)
    data_origin = DataOrigin.SIMULATED if origin == "none" else DataOrigin(origin)
    common = {"state": state, "data_origin": data_origin, "provisional": True, "untrained": True}
    judgement = with_all(supported, **common, context_mismatch="K562 against RPE1", role_fit="partial")
    said = statement(replace(judgement, grounds=grounds))
    assert 2 <= len(said.may_say) <= 4
    for sentence in said.may_say:
        assert not words_above(sentence.words, sentence.level)
        if origin != "real":
            assert not words_above(sentence.words, DECODING), sentence.text
    text = said.text
    assert "provisional: 1 of 3 seeds" in text
    assert "untrained" in text
    assert "different contexts (K562 against RPE1)" in text
    assert "stand-in data serve in some roles (c)" in text
    many = replace(judgement, grounds=replace(grounds, stand_ins=("c", "d", "e", "f")))
    assert "stand-in data serve in some roles (4 datasets, named in the citation)" in setting(many).text
    assert "trained on cells that it was evaluated on" in text
    assert ("says nothing about biology" in text) is (origin not in ("real", "none"))
    assert ("no outcomes could be read" in text) is (origin == "none")


def test_the_wording_check_can_refuse(tmp_path):
    for words, level in (("X drives the response", INTERVENTION), ("X after a knock-down", DECODING)):
        with pytest.raises(WordingError, match="says more than level"):
            check_wording(Sentence(template=words, level=level))
        entry = {"id": "attention_is_regulatory", "level": str(level), "wording": words}
        (tmp_path / "c.yaml").write_text(json.dumps({"claims": [entry]}))
        with pytest.raises(ClaimsFileError, match="says more than level"):
            read_claims_file(tmp_path / "c.yaml")
    named = Sentence(template="{release} ranks genes", level=DECODING, names={"release": "driver of perturbations"})
    assert check_wording(named).text == "driver of perturbations ranks genes"


def test_every_declared_claim_has_its_phrases():
    assert set(PHRASES) == set(claims_registry().claims)
    for name, phrase in PHRASES.items():
        blanks = set(re.findall(r"\[(\w+)\]", phrase.holds + phrase.causal + phrase.fails)) - {"targets", "outcomes"}
        claim = claims_registry().claims[name]
        assert blanks <= {key for c in claim.criteria for key in claims_registry().criteria[c].thresholds}


def test_a_supported_claim_is_said_at_its_level_and_no_further(supported):
    said = statement(supported)
    assert said.level is CAUSAL
    assert said.in_short.text == "On these data, its attention may be read as a gene regulatory network."
    assert "the model depends causally on the heads" in said.text
    first = said.must_not_say[0]
    assert first.sentence.text.endswith("is a gene regulatory network in other cells, screens or models.")
    assert "judged in study demo on screen-main and nowhere else" in first.because.text
    seen = {item.sentence.text: item.because.text for item in said.must_not_say}
    assert "is refuted" in seen["No pairwise edge score adds predictive value to gene-level features."]


def test_a_provisional_verdict_says_so_and_is_not_final(judged):
    said = statement(judged(seeds=1))
    assert "(provisional: 1 of 3 seeds)" in said.in_short.text
    final = [item for item in said.must_not_say if "is final" in item.sentence.text]
    assert final[0].because.text == "1 of 3 seeds that are needed stand behind it"


def test_refuted_claims_are_findings_with_their_numbers(judged, make_release):
    judgement = judged(**FAILING)
    said = statement(judgement)
    assert "not met: a fail, b fail, c fail, d pass" in said.in_short.text
    assert "attention does not add to gene-level features in predicting perturbation outcomes" in said.text
    # the best baseline, computed again from the table
    auroc = make_release(**FAILING).tables["perturbation_auroc"]
    means = auroc[auroc["subset"] == "all"].groupby("score")["auroc"].mean()
    differences = {name: means["attention"] - means[name] for name in ("variance", "mean", "one_minus_dropout")}
    best = min(differences, key=differences.get)
    assert best == "variance"
    assert f"to the best one, target variance, {differences[best]:+.3f}, 95 % interval" in said.text
    part = next(part for part in judgement.criteria["a"].parts if part.name == best)
    assert f"{part.numbers['ci_low']:+.3f} to {part.numbers['ci_high']:+.3f}, n 60" in said.text
    refused = {item.claim: item for item in said.must_not_say}
    headline = refused["attention_is_regulatory"]
    assert headline.sentence.text.endswith("is a gene regulatory network of the cells of screen-main.")
    assert "is refuted: criterion a fail" in headline.because.text
    assert words_above(headline.sentence.words, INTERVENTION)  # it is an overstatement by the rule itself


def test_nothing_added_is_said_only_where_it_was_shown(judged, make_release, passed_standards):
    assert "no pairwise score adds 0.005 AUROC or more" in statement(judged(**FAILING)).text
    wide = make_release(**FAILING)
    wide.set("incremental_value", {"metric": "auroc", "edge": "attention"}, ci_low=-0.02, ci_high=0.02)
    judgement = wide.judge(standards=passed_standards)
    assert judgement.verdicts["adds_incremental_value"].state is VerdictState.REFUTED
    assert judgement.verdicts["published_no_incremental_value"].state is VerdictState.INCONCLUSIVE
    said = statement(judgement)
    assert "no pairwise score adds" not in said.text
    (refused,) = [item for item in said.must_not_say if item.claim == "published_no_incremental_value"]
    assert refused.because.text.endswith("a gain that was not shown is no shown absence of one")


def test_undecided_and_unjudged_are_said_as_such(make_release, passed_standards):
    open_ended = make_release()
    open_ended.set("incremental_value", {"edge": "attention", "split": "joint"}, ci_low=-0.01)
    said = statement(open_ended.judge(standards=passed_standards))
    assert "undecided: a pass, b undecided, c pass, d pass" in said.in_short.text
    assert "whether attention adds to gene-level features" in said.text
    gap = make_release()
    del gap.tables["residual_summary"]
    said = statement(gap.judge(standards=passed_standards))
    assert "was not judged, as criterion c is not evaluable" in said.in_short.text
    assert "not judged: gene-level confounds and degree" in said.text
    bare = make_release()
    del bare.tables["control_outcomes"]
    said = statement(bare.judge(standards=passed_standards))
    assert "as control control-planted was not judged" in said.in_short.text
    assert len(said.may_say) == 2  # nothing more to say where nothing was judged


def test_a_misbehaving_control_is_named(make_release, passed_standards):
    release = make_release()
    frame = release.tables["control_outcomes"].copy()
    frame.loc[frame["control"] == "control-planted", "behaves"] = False
    release.tables["control_outcomes"] = frame
    said = statement(release.judge(standards=passed_standards))
    assert "was not judged, as control control-planted did not behave" in said.in_short.text


def test_a_broken_integrity_standard_is_named(make_release, passed_standards):
    first = next(item for item in passed_standards if item.kind == "integrity" and item.severity == "critical")
    broken = tuple(replace(item, outcome=Outcome.FAIL) if item is first else item for item in passed_standards)
    said = statement(make_release().judge(standards=broken))
    assert said.in_short.text.endswith(f"was not judged, as standard {first.id} is not passed.")
    assert f"{first.id} ({first.title}) fail" in said.must_not_say[0].because.text


def test_an_assay_run_says_nothing_about_biology(judged):
    said = statement(judged(origin="semi_synthetic"))
    assert said.level is None
    assert "held against outcomes simulated on real cells (screen-main): a run of the assay" in said.text
    assert "no outcome was measured; criteria a, b, c, d pass on these, which clears nothing" in said.text
    assert "perturb" not in said.text
    texts = {item.sentence.text for item in said.must_not_say}
    assert "These results say how genes regulate each other in cells." in texts
    failed = statement(judged(origin="semi_synthetic", attention=0.7))
    assert "attention does not rank the responding genes better" in failed.text.lower()
    assert "is refuted (semi-synthetic): criterion a fail" in failed.must_not_say[0].because.text


def test_a_context_mismatch_is_undecided_whatever_passes(make_release, passed_standards):
    release = make_release()
    release.tables["evaluation"]["context_mismatch"] = "cells K562, outcomes RPE1"
    said = statement(release.judge(standards=passed_standards))
    assert said.level is None
    assert said.in_short.text.endswith("as cells and outcomes come from different contexts.")
    assert "context mismatch: cells K562, outcomes RPE1" in said.must_not_say[0].because.text


def test_support_below_the_causal_level_bars_causal_words(judged):
    judgement = with_verdict(judged(drop=0.0), "causally_used", state=VerdictState.REFUTED)
    said = statement(judgement)
    assert said.level is INTERVENTION
    (barred,) = [item for item in said.must_not_say if "which genes drive" in item.sentence.text]
    assert "reaches evidence level intervention consistent" in barred.because.text
    assert "such words need level causal" in barred.because.text


@pytest.mark.parametrize("kind", ["planted", "coexpression"])
def test_a_control_speaks_of_the_assay_alone(request, kind, passed_standards):
    evaluation = request.getfixturevalue(kind)
    said = statement(evaluation.judge(standards=passed_standards))
    assert said.findings == ()
    assert said.level is None
    assert "control" in said.may_say[0].text
    assert "as it must" in said.in_short.text
    assert said.may_say[-1].text == (
        "It is a control: it says what the assay can tell, and nothing about a model or about biology."
    )
    assert all(not words_above(sentence.words, DECODING) for sentence in said.may_say)


def test_a_control_that_misbehaves_takes_the_verdicts_with_it(planted, coexpression, passed_standards):
    del planted.tables["incremental_value"]
    lost = statement(planted.judge(standards=passed_standards)).in_short.text
    assert "does not (a pass, b not evaluable, c pass, d pass)" in lost
    assert "no verdict that rests on it counts" in lost
    refuted = coexpression.judge(standards=passed_standards)
    taken = with_verdict(refuted, "attention_is_regulatory", state=VerdictState.SUPPORTED)
    told = statement(taken).in_short.text
    assert "is supported for it where it must be refuted" in told
    stranger = replace(refuted, release="my-control")
    assert "No behaviour is declared" in statement(stranger).in_short.text


def test_what_to_cite_is_what_the_verdict_rests_on(make_release, passed_standards):
    release = make_release()
    release.tables["evaluation"]["release_id"] = "f" * 64
    stand_in = next(row for row in release.rows if row.test_id == "A12.1")
    release.rebuild(replace(stand_in, dataset="pancreas", role_fit="partial"))
    judgement = release.judge(standards=passed_standards)
    cite = statement_document(judgement)["cite"]
    registry = claims_registry()
    assert (cite["study"], cite["release"], cite["release_id"]) == ("demo", judgement.release, "f" * 64)
    assert (cite["claims_version"], cite["claims_hash"]) == (registry.version, registry.content_hash)
    assert cite["datasets"] == ["screen-main"]
    assert cite["stand_ins"] == ["pancreas"]
    verdict = documents(judgement)["verdict.json"]
    for key in ("registry_hash", "standards_hash", "claims_hash"):
        assert cite[key] == verdict[key]
    assert cite["results_hash"] == verdict["inputs"]["tests"]


def test_hostile_names_stay_text(supported):
    judgement = replace(
        with_all(supported, release=HOSTILE, context_mismatch=HOSTILE),
        release=HOSTILE,
        study=HOSTILE,
        grounds=replace(supported.grounds, datasets=(HOSTILE,)),
    )
    said = statement(judgement)
    for line in terminal_lines(said):
        assert "\x1b" not in line
        assert "\n" not in line
    assert "{study}" in said.text  # a name is never read as a template
    written = "\n".join(markdown_lines(said))
    shown = re.sub(r"(`+)(?!`).+?(?<!`)\1(?!`)", "", written)  # what is left when code spans are taken away
    for active in ("<img", "**b**", "](http", "\n# "):
        assert active not in shown
    assert "onerror" in written


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a|b", "a\\|b"),
        ("[l](http://e.org)", "\\[l](http\\://e.org)"),
        ("one_minus_dropout", "one_minus_dropout"),
        ("_em_ *b* ~~s~~", "\\_em\\_ \\*b\\* \\~\\~s\\~\\~"),
        ("&lt; & x", "\\&lt; & x"),
        ("a\r\n- b", "a - b"),
    ],
)
def test_markdown_text_reads_as_itself(text, expected):
    assert markdown_text(text) == expected


def test_a_code_span_cannot_be_left():
    assert markdown_code("a `` b") == "```a `` b```"
    assert markdown_code("`") == "`` ` ``"
    assert markdown_code("\n") == "`(no name)`"
    assert plain("a\u202eb\x00") == "a b"


def test_the_document_is_judged_like_the_others(planted_folder, copy_of, capsys):
    folder = copy_of(planted_folder)
    stored = (folder / "statement.json").read_text()
    (folder / "statement.json").write_text(stored.replace("as it must", "as we hoped"))
    for command in (["check", str(folder)], ["say", str(folder)]):
        assert main(command) == 2
        err = capsys.readouterr().err
        assert "statement.json: in_short: stored" in err or "statement.json: may_say: stored" in err
    (folder / "statement.json").unlink()
    assert main(["say", str(folder)]) == 2
    captured = capsys.readouterr()
    assert "statement.json: missing" in captured.err
    assert captured.out == ""


def test_say_prints_the_statement_alone(planted_folder, refuted_folder, capsys):
    assert main(["say", str(refuted_folder)]) == 0  # a refuted claim is a statement like any other
    out = capsys.readouterr().out
    assert out.startswith("MAY BE SAID\n  In study demo, control-coexpression is a negative control")
    assert "\nMUST NOT BE SAID\n" in out
    assert "\nCITE\n  study demo; release control-coexpression; " in out
    assert "VERDICT" not in out
    assert main(["say", str(planted_folder), "--json"]) == 0
    assert capsys.readouterr().out == (planted_folder / "statement.json").read_text()
    assert main(["say", str(planted_folder), "--markdown"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("### What may be said\n\nIn study `demo`, `control-planted` is a positive control")


def test_check_shows_it_in_a_few_lines(planted_folder, tmp_path, capsys):
    file = tmp_path / "out.md"
    claims = tmp_path / "claims.yaml"
    claims.write_text("claims: [adds_incremental_value]\n")
    assert main(["check", str(planted_folder), "--claims", str(claims), "--markdown", str(file)]) == 0
    out = capsys.readouterr().out
    assert out.index("VERDICT") < out.index("MAY BE SAID") < out.index("MUST NOT BE SAID")
    assert "### What may be said" in file.read_text()
    assert main(["check", str(planted_folder), "--standard", "QCS-09"]) == 0
    assert "MAY BE SAID" not in capsys.readouterr().out  # no claim was judged

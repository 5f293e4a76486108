"""What may be said of a judged release, and what must not: sentences made from verdicts, never written by hand.

What belongs here: the paragraph, the sentences that would overstate it with the reason against each, and what has to be
cited beside it. What does not: judging. Every sentence that may be said is held to its evidence level by the rule that
``qc-gate check --claims`` applies to the wording of a claims file; names of releases and data are no words of ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from qc_standards.claims import ClaimsError, ControlExpectation, EvidenceLevel, claims_registry, expectation
from qc_standards.records import VerdictState
from qc_standards.sentences import Sentence, check_wording, joined
from qc_standards.statement_claims import PHRASES, claim_sentence
from qc_standards.statement_data import ORIGIN_WORDS, citation, origin_of, setting
from qc_standards.statement_refusals import Refusal, control_refusals, refusals
from qc_standards.verdicts import FULL_SEEDS, behaves

if TYPE_CHECKING:
    from qc_standards.verdicts import Judgement, Verdict

FORMAT: Final = 1
_DECODING: Final = EvidenceLevel.DECODING


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What was found on one claim."""

    claim: str
    state: VerdictState
    label: str
    sentence: Sentence


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """What may be said of one release in one study.

    ``may_say`` are the sentences of one paragraph, ``in_short`` the one that answers the headline claim. ``level`` is
    the highest level of a claim that is supported, None where none is. ``cite`` names what belongs beside it.
    """

    study: str
    release: str
    release_kind: str
    in_short: Sentence
    may_say: tuple[Sentence, ...]
    findings: tuple[Finding, ...]
    must_not_say: tuple[Refusal, ...]
    level: EvidenceLevel | None
    cite: Mapping[str, Any]

    @property
    def text(self) -> str:
        """The paragraph that may be said."""
        return " ".join(sentence.text for sentence in self.may_say)


def statement(judgement: Judgement) -> Statement:
    """Statement of a judged release.

    Raises
    ------
    qc_standards.sentences.WordingError
        When a sentence that may be said is worded above its evidence level: nothing is stated then.
    """
    control = judgement.release_kind != "release"
    findings = () if control else tuple(_finding(judgement, verdict) for verdict in judgement.verdicts.values())
    short = _control_short(judgement) if control else _ended(_short(judgement, findings))
    told = [_control_setting(judgement), short, _CONTROL_LIMIT] if control else _paragraph(judgement, findings, short)
    reached = [finding.sentence.level for finding in findings if finding.state is VerdictState.SUPPORTED]
    return Statement(
        study=judgement.study,
        release=judgement.release,
        release_kind=judgement.release_kind,
        in_short=check_wording(short),
        may_say=tuple(check_wording(sentence) for sentence in told),
        findings=findings,
        must_not_say=control_refusals(judgement, _expected(judgement)) if control else refusals(judgement),
        level=max(reached, key=list(EvidenceLevel).index) if reached else None,
        cite=MappingProxyType(citation(judgement)),
    )


def _finding(judgement: Judgement, verdict: Verdict) -> Finding:
    sentence = check_wording(claim_sentence(judgement, verdict))
    return Finding(claim=verdict.claim, state=verdict.state, label=verdict.label, sentence=sentence)


def _ended(sentence: Sentence) -> Sentence:
    """Clause as a sentence: a capital first letter and a full stop."""
    template = f"{sentence.template[0].upper()}{sentence.template[1:]}."
    return Sentence(template=template, level=sentence.level, names=sentence.names, quotes=sentence.quotes)


def _short(judgement: Judgement, findings: tuple[Finding, ...]) -> Sentence:
    """Answer to the headline claim, with what makes it provisional."""
    headline = next(finding for finding in findings if finding.claim == judgement.headline)
    verdict = judgement.verdicts[judgement.headline]
    told = headline.sentence.template
    limits = []
    if verdict.provisional:
        limits.append(f"provisional: {judgement.grounds.seeds} of {FULL_SEEDS} seeds")
    if verdict.untrained:
        limits.append("the model is untrained")
    template = f"on these data, {told}" + (f" ({'; '.join(limits)})" if limits else "")
    return Sentence(template=template, level=headline.sentence.level, names=headline.sentence.names)


def _paragraph(judgement: Judgement, findings: tuple[Finding, ...], short: Sentence) -> list[Sentence]:
    """Setting, headline, the findings of its own claims, and the published findings that hold here."""
    published = {claim.id for claim in claims_registry().claims.values() if claim.published_claim is not None}
    own = [f for f in findings if f.claim != judgement.headline and f.claim not in published]
    held = [f for f in findings if f.claim in published and f.state is VerdictState.SUPPORTED]
    told = [setting(judgement), short]
    judged = [finding for finding in own if finding.state is not VerdictState.NOT_EVALUABLE]
    if judged:  # where nothing was, the headline says why
        told.append(_ended(_together(judged, _not_judged(own))))
    if held:
        told.append(_ended(_together(held, before="of the published findings these hold here: ")))
    return told


def _not_judged(findings: list[Finding]) -> str:
    topics = [PHRASES[finding.claim].topic for finding in findings if finding.state is VerdictState.NOT_EVALUABLE]
    return f"; not judged: {', '.join(topics)}" if topics else ""


def _together(findings: list[Finding], after: str = "", before: str = "") -> Sentence:
    """Findings as one clause; each was held to its own level before."""
    level = max((finding.sentence.level for finding in findings), key=list(EvidenceLevel).index)
    told = joined([finding.sentence for finding in findings], "; ", level)
    return replace(told, template=f"{before}{told.template}{after}")


_CONTROL_LIMIT: Final = Sentence(
    template="It is a control: it says what the assay can tell, and nothing about a model or about biology.",
    level=_DECODING,
)


def _control_setting(judgement: Judgement) -> Sentence:
    kind = "positive" if judgement.release_kind == "positive_control" else "negative"
    told = ORIGIN_WORDS[origin_of(judgement)]
    return Sentence(
        template=f"In study {{study}}, {{release}} is a {kind} control, held against {told}.",
        level=_DECODING,
        names={"study": judgement.study, "release": judgement.release},
    )


def _expected(judgement: Judgement) -> ControlExpectation | None:
    try:
        return expectation(judgement.release)
    except ClaimsError:
        return None


def _control_short(judgement: Judgement) -> Sentence:
    """Whether a control did what it must, and what that shows about the assay."""
    expected = _expected(judgement)
    if expected is None:
        template = "No behaviour is declared for a control of this name, so it shows nothing about the assay."
        return Sentence(template=template, level=_DECODING)
    good = behaves(judgement, expected)
    void = ", and no verdict that rests on it counts"
    if expected.verdict is not None:
        state = judgement.verdicts[expected.claim].state
        told = (
            "The claim is refuted for it, as it must be: the assay does not take such scores for regulatory ones."
            if good
            else f"The claim is {state} for it where it must be {expected.verdict}: the assay is not shown to turn "
            f"such scores away{void}."
        )
        return Sentence(template=told, level=_DECODING)
    outcomes = ", ".join(f"{name} {judgement.criteria[name].outcome}" for name in expected.passes)
    named = ", ".join(expected.passes)
    told = (
        f"It passes criteria {named}, as it must: the assay finds a network that is known to be there."
        if good
        else f"It must pass criteria {named} with every integrity standard and does not ({outcomes}): the assay is not "
        f"shown to find a network that is known to be there{void}."
    )
    return Sentence(template=told, level=_DECODING)


def statement_document(judgement: Judgement) -> dict[str, Any]:
    """Content of ``statement.json``: what may be said, what must not and why, and what to cite."""
    said = statement(judgement)
    return {
        "format": FORMAT,
        "study": said.study,
        "release": said.release,
        "release_kind": said.release_kind,
        "in_short": said.in_short.text,
        "may_say": said.text,
        "evidence_level": None if said.level is None else str(said.level),
        "findings": [
            {
                "claim": finding.claim,
                "state": str(finding.state),
                "label": finding.label,
                "level": str(finding.sentence.level),
                "sentence": finding.sentence.text,
            }
            for finding in said.findings
        ],
        "must_not_say": [
            {"claim": item.claim, "sentence": item.sentence.text, "because": item.because.text}
            for item in said.must_not_say
        ],
        "cite": dict(said.cite),
    }

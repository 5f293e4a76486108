"""What may be said of each declared claim, in its four states and at the level that its evidence has.

What belongs here: one phrase a claim, and the sentence that its state makes of it. What does not: the paragraph, and
what must not be said (`qc_standards.statements`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from qc_standards.claims import Claim, EvidenceLevel, claims_registry, levels_up_to
from qc_standards.records import DataOrigin, Outcome, VerdictState
from qc_standards.sentences import Sentence
from qc_standards.statement_numbers import numbers_told

if TYPE_CHECKING:
    from qc_standards.verdicts import Judgement, Verdict

_DECODING: Final = EvidenceLevel.DECODING
_INTERVENTION: Final = EvidenceLevel.INTERVENTION_CONSISTENT
_CAUSAL: Final = EvidenceLevel.CAUSAL
_SHOWN_CLAUSES: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Phrase:
    """A claim as a clause: what holds where it is supported, what was found where it is refuted.

    ``topic`` names it where it was not judged. ``[targets]`` and ``[outcomes]`` name perturbations only at a level that
    may. ``causal`` replaces ``holds`` where the claim is supported as a causal one.
    """

    holds: str
    fails: str
    topic: str
    causal: str = ""


PHRASES: Final[Mapping[str, Phrase]] = MappingProxyType(
    {
        "attention_is_regulatory": Phrase(
            holds="its attention may be read as regulatory",
            causal="its attention may be read as a gene regulatory network",
            fails="the criteria for reading its attention as regulatory are not met",
            topic="the reading of its attention",
        ),
        "beats_gene_level_baselines": Phrase(
            holds="attention ranks [targets] better than every gene-level baseline",
            fails="attention does not rank [targets] better than every gene-level baseline",
            topic="gene-level baselines",
        ),
        "adds_incremental_value": Phrase(
            holds="attention adds to gene-level features in predicting [outcomes] in every split, learner and metric",
            fails=(
                "attention does not add to gene-level features in predicting [outcomes] in every split, learner and "
                "metric"
            ),
            topic="gain over gene-level features",
        ),
        "survives_confounds_and_degree": Phrase(
            holds="the recovery of the reference network survives gene-level confounds and degree",
            fails="the recovery of the reference network does not survive gene-level confounds and degree",
            topic="gene-level confounds and degree",
        ),
        "causally_used": Phrase(
            holds="silencing the best-ranked heads lowers what attention recovers, with dose and beyond random heads",
            causal="the model depends causally on the heads that carry its regulatory attention",
            fails=(
                "silencing the best-ranked heads does not lower what attention recovers with dose and beyond random "
                "heads"
            ),
            topic="use of the best-ranked heads",
        ),
        "published_attention_equals_correlation": Phrase(
            holds="attention ranks [targets] as well as correlation does, within [margin] AUROC",
            fails="attention and correlation differ by more than [margin] AUROC in ranking [targets]",
            topic="equality with correlation",
        ),
        "published_no_incremental_value": Phrase(
            holds="no pairwise score adds [gain] AUROC or more to gene-level features in predicting [outcomes]",
            fails=(
                "a pairwise score adds more than [gain] AUROC to gene-level features in predicting [outcomes] in at "
                "least one comparison"
            ),
            topic="absence of a gain",
        ),
        "published_baselines_win": Phrase(
            holds="gene-level baselines rank [targets] better than attention and correlation do",
            fails="at least one gene-level baseline ranks [targets] worse than attention or correlation does",
            topic="gene-level baselines against correlation and attention",
        ),
        "published_matched_gain_null": Phrase(
            holds="attention adds nothing to gene-level features on pairs matched on these, within [margin] AUROC",
            fails="attention adds more than [margin] AUROC to gene-level features on pairs matched on these",
            topic="gain on matched pairs",
        ),
    }
)


def level_of(verdict: Verdict) -> EvidenceLevel:
    """Level that a sentence about a verdict may be worded at.

    Simulated outcomes decode what was put in, whatever the claim. What was not supported is no causal finding: it was
    found on outcomes of interventions at most.
    """
    if verdict.data_origin is not DataOrigin.REAL:
        return _DECODING
    if verdict.state is VerdictState.SUPPORTED:
        return verdict.evidence_level
    return _INTERVENTION if _INTERVENTION in levels_up_to(verdict.evidence_level) else verdict.evidence_level


def _worded(text: str, claim: Claim, level: EvidenceLevel) -> str:
    """Clause with its blanks filled: thresholds of the claim's criteria, and words that the level may use."""
    named = _INTERVENTION in levels_up_to(level)
    blanks = {
        "targets": "the targets of a perturbation" if named else "the responding genes",
        "outcomes": "perturbation outcomes" if named else "the outcomes",
    }
    for name in claim.criteria:
        blanks |= {key: f"{value:g}" for key, value in claims_registry().criteria[name].thresholds.items()}
    for key, value in blanks.items():
        text = text.replace(f"[{key}]", value)
    return text


def _closers(verdict: Verdict) -> tuple[str, dict[str, str]]:
    """What kept a claim from being judged, by name: "control X did not behave, QCS-09 is not passed"."""
    told, names = [], {}
    unmet = [clause for clause in verdict.deciding if clause.outcome is not Outcome.PASS]
    for place, clause in enumerate(unmet[:_SHOWN_CLAUSES]):
        kind, _, rest = clause.name.partition(" ")
        key = f"{verdict.claim}_{place}"
        if kind == "control":
            names[key] = rest
            unjudged = clause.outcome is Outcome.NOT_EVALUABLE
            told.append(f"control {{{key}}} {'was not judged' if unjudged else 'did not behave'}")
        elif kind == "criterion":
            told.append(f"criterion {rest} is {clause.outcome}")
        elif kind == "required":
            told.append("rows that it needs were not run")
        else:
            told.append(f"standard {rest.partition(' ')[0] if kind == 'standard' else kind} is not passed")
    if len(unmet) > _SHOWN_CLAUSES:
        told.append(f"{len(unmet) - _SHOWN_CLAUSES} more")
    return ", ".join(told), names


def _numbers(judgement: Judgement, claim: Claim) -> str:
    """Numbers of a claim that rests on one criterion, in brackets; the headline's stand beside its parts."""
    told = numbers_told(judgement.criteria[claim.criteria[0]]) if len(claim.criteria) == 1 else ""
    return f" ({told})" if told else ""


def _outcomes(judgement: Judgement, claim: Claim) -> str:
    """Outcomes of several criteria: "a fail, b undecided"; nothing for a claim with one."""
    if len(claim.criteria) < 2:
        return ""
    return ": " + ", ".join(f"{name} {judgement.criteria[name].outcome}" for name in claim.criteria)


def _not_judged(judgement: Judgement, verdict: Verdict, claim: Claim, holds: str) -> tuple[str, dict[str, str]]:
    closers, names = _closers(verdict)
    if closers:
        return f"whether {holds} was not judged, as {closers}", names
    if verdict.data_origin is DataOrigin.REAL:
        return f"whether {holds} was not judged", {}
    met = all(judgement.criteria[name].outcome is Outcome.PASS for name in claim.criteria)
    several = len(claim.criteria) > 1
    passed = f"criteria {', '.join(claim.criteria)} pass" if several else f"criterion {claim.criteria[0]} passes"
    told = f"; {passed} on these, which clears nothing" if met else ""
    return f"whether {holds} was not judged, as no outcome was measured{told}", {}


def claim_sentence(judgement: Judgement, verdict: Verdict) -> Sentence:
    """What was found on one claim, as a clause without a full stop, at the level its evidence has."""
    claim = claims_registry().claims[verdict.claim]
    phrase, level = PHRASES[claim.id], level_of(verdict)
    causal = phrase.causal if level is _CAUSAL and verdict.state is VerdictState.SUPPORTED else ""
    holds = _worded(causal or phrase.holds, claim, level)
    outcomes, numbers = _outcomes(judgement, claim), _numbers(judgement, claim)
    names: dict[str, str] = {}
    if verdict.state is VerdictState.SUPPORTED:
        text = holds + numbers
    elif verdict.state is VerdictState.REFUTED:
        text = _worded(phrase.fails, claim, level) + outcomes + numbers
    elif verdict.state is VerdictState.INCONCLUSIVE:
        # A supported verdict that a context mismatch caps has no criterion that is undecided.
        capped = all(clause.outcome is Outcome.PASS for clause in verdict.deciding) and verdict.context_mismatch
        why = outcomes + (", as cells and outcomes come from different contexts" if capped and claim.headline else "")
        text = f"whether {holds} is undecided{why}{numbers}"
    else:
        text, names = _not_judged(judgement, verdict, claim, holds)
    return Sentence(template=text, level=level, names=names)

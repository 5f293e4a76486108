"""What must not be said of a judged release, and why: the sentences that would overstate its verdicts.

What belongs here: overstatements and the reason against each, in the words of the gate. What does not: what may be said
(`qc_standards.statements`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from qc_standards.claims import ControlExpectation, EvidenceLevel
from qc_standards.records import VerdictState
from qc_standards.sentences import Sentence
from qc_standards.statement_data import ORIGIN_WORDS, listed, origin_of
from qc_standards.verdicts import FULL_SEEDS

if TYPE_CHECKING:
    from qc_standards.verdicts import Judgement, Verdict

_DECODING: Final = EvidenceLevel.DECODING
_CAUSAL: Final = EvidenceLevel.CAUSAL
_ABSENCE: Final[Mapping[str, str]] = MappingProxyType(
    {
        "published_attention_equals_correlation": "a difference that was not shown is no equality",
        "published_no_incremental_value": "a gain that was not shown is no shown absence of one",
        "published_matched_gain_null": "a gain that was not shown is no shown absence of one",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A sentence that would say more than was found, and why it must not be said. ``claim`` is empty for none."""

    claim: str
    sentence: Sentence
    because: Sentence


def refusals(judgement: Judgement) -> tuple[Refusal, ...]:
    """Sentences that would overstate the verdicts, the strongest first."""
    headline = judgement.verdicts[judgement.headline]
    found = _of_headline(judgement, headline)
    if origin_of(judgement) != "real":
        found.append(_of_origin(judgement))
    rest = [v for name, v in judgement.verdicts.items() if name != judgement.headline and not v.cleared]
    return (*found, *(_of_claim(verdict) for verdict in rest))


def _why(verdict: Verdict, more: str = "") -> Sentence:
    """State of a claim with the first thing that closes it, in the words of the gate."""
    reason = verdict.reasons[0] if verdict.reasons else "no reason is recorded"
    return Sentence(
        template=f"{verdict.claim} is {verdict.label.partition(':')[0]}: {{reason}}{more}",
        level=_CAUSAL,
        quotes={"reason": reason.rstrip(".")},
    )


def _of_headline(judgement: Judgement, headline: Verdict) -> list[Refusal]:
    cells, names = listed(judgement.grounds.datasets, "data")
    names |= {"release": judgement.release, "study": judgement.study}
    network = "The attention of {release} is a gene regulatory network"
    if not headline.cleared:
        of = f" of the cells of {cells}." if cells else "."
        sentence = Sentence(template=network + of, level=_CAUSAL, names=names)
        return [Refusal(claim=headline.claim, sentence=sentence, because=_why(headline)), *_above(judgement)]
    beyond = Sentence(template=f"{network} in other cells, screens or models.", level=_CAUSAL, names=names)
    judged_on = f" on {cells}" if cells else ""
    because = Sentence(
        template=f"{headline.claim} was judged in study {{study}}{judged_on} and nowhere else",
        level=_CAUSAL,
        names=names,
    )
    told = [Refusal(claim=headline.claim, sentence=beyond, because=because)]
    if headline.provisional:
        seeds = f"{judgement.grounds.seeds} of {FULL_SEEDS} seeds that are needed stand behind it"
        told.append(
            Refusal(
                claim=headline.claim,
                sentence=Sentence(template="The verdict on {release} is final.", level=_DECODING, names=names),
                because=Sentence(template=seeds, level=_DECODING),
            )
        )
    return told


def _above(judgement: Judgement) -> list[Refusal]:
    """Causal words for what was supported below the causal level, or for how the model uses its own heads."""
    cleared = [verdict for verdict in judgement.verdicts.values() if verdict.cleared]
    if not cleared:
        return []
    top = max(cleared, key=lambda verdict: list(EvidenceLevel).index(verdict.evidence_level))
    sentence = Sentence(
        template="The attention of {release} tells which genes drive which others.",
        level=_CAUSAL,
        names={"release": judgement.release},
    )
    if top.evidence_level is _CAUSAL:
        because = f"{top.claim} says what the model depends on, and nothing about cells"
    else:
        because = (
            f"what is supported reaches evidence level {str(top.evidence_level).replace('_', ' ')} ({top.claim}); "
            f"such words need level causal, and {judgement.headline} is "
            f"{judgement.verdicts[judgement.headline].label}"
        )
    return [Refusal(claim=top.claim, sentence=sentence, because=Sentence(template=because, level=_CAUSAL))]


def _of_origin(judgement: Judgement) -> Refusal:
    told = ORIGIN_WORDS[origin_of(judgement)]
    because = f"this study held {told}; a claim about a model needs measured ones"
    return Refusal(
        claim="",
        sentence=Sentence(template="These results say how genes regulate each other in cells.", level=_CAUSAL),
        because=Sentence(template=because, level=_CAUSAL),
    )


def _of_claim(verdict: Verdict) -> Refusal:
    unshown = verdict.claim in _ABSENCE and verdict.state is not VerdictState.REFUTED
    more = f"; {_ABSENCE[verdict.claim]}" if unshown else ""
    sentence = Sentence(template="{sentence}", level=verdict.evidence_level, quotes={"sentence": verdict.sentence})
    return Refusal(claim=verdict.claim, sentence=sentence, because=_why(verdict, more))


def control_refusals(judgement: Judgement, expected: ControlExpectation | None) -> tuple[Refusal, ...]:
    """What a control must not be taken for."""
    names = {"release": judgement.release}
    sentence = Sentence(
        template="{release} shows that attention is a gene regulatory network, or that it is none.",
        level=_CAUSAL,
        names=names,
    )
    kind = judgement.release_kind.replace("_", " ")
    note = expected.note.rstrip(".") if expected else ""
    template = f"it is a {kind}, judged without controls of its own" + ("; {note}" if note else "")
    because = Sentence(template=template, level=_CAUSAL, quotes={"note": note} if note else {})
    return (Refusal(claim=expected.claim if expected else "", sentence=sentence, because=because),)

"""What a statement is about: who was evaluated, on what data, and what belongs beside it.

What belongs here: the setting and the citation. What does not: findings (`qc_standards.statements`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from qc_standards.claims import EvidenceLevel, claims_registry
from qc_standards.registry import registry_hash
from qc_standards.sentences import Sentence
from qc_standards.standards import standards_hash

if TYPE_CHECKING:
    from qc_standards.verdicts import Judgement

ORIGIN_WORDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "real": "measured outcomes",
        "archived": "archived outcomes that were not measured anew",
        "semi_synthetic": "outcomes simulated on real cells",
        "simulated": "simulated data",
        "none": "no outcomes",
    }
)

MOST_NAMED: Final = 3  # stand-ins named in a sentence that is to stay short


def origin_of(judgement: Judgement) -> str:
    """Origin of the headline's data; what an evaluation that read nothing states."""
    stated = judgement.grounds.origin
    return stated if stated == "none" else str(judgement.verdicts[judgement.headline].data_origin)


def listed(items: Sequence[str], key: str) -> tuple[str, dict[str, str]]:
    """Fields and names of a list of names."""
    names = {f"{key}{place}": item for place, item in enumerate(items)}
    return ", ".join(f"{{{name}}}" for name in names), names


def setting(judgement: Judgement) -> Sentence:
    """Who was evaluated, on what kind of data, and where stand-ins or other contexts served."""
    grounds, headline = judgement.grounds, judgement.verdicts[judgement.headline]
    origin = origin_of(judgement)
    names = {"study": judgement.study, "release": judgement.release}
    if origin == "none":
        template = "In study {study}, no outcomes could be read for the attention of {release}"
    else:
        template = f"In study {{study}}, the attention of {{release}} was held against {ORIGIN_WORDS[origin]}"
    data, shown = listed(grounds.datasets, "data")
    template += f" ({data})" if data else ""
    if origin not in ("real", "none"):
        template += ": a run of the assay, which says nothing about biology"
    if headline.context_mismatch:
        template += "; cells and outcomes come from different contexts ({mismatch})"
        names["mismatch"] = headline.context_mismatch
    if headline.role_fit != "full":
        stand_ins, more = listed(grounds.stand_ins, "stand_in")
        if len(grounds.stand_ins) > MOST_NAMED:
            stand_ins, more = f"{len(grounds.stand_ins)} datasets, named in the citation", {}
        template += "; stand-in data serve in some roles" + (f" ({stand_ins})" if stand_ins else "")
        shown |= more
    if grounds.trained_on_evaluated_cells:
        template += "; the release was trained on cells that it was evaluated on"
    return Sentence(template=f"{template}.", level=EvidenceLevel.DECODING, names=names | shown)


def citation(judgement: Judgement) -> dict[str, Any]:
    """What belongs beside the statement, so that a reader can find what it rests on."""
    grounds, headline = judgement.grounds, judgement.verdicts[judgement.headline]
    registry = claims_registry()
    return {
        "study": judgement.study,
        "release": judgement.release,
        "release_id": grounds.release_id,
        "base_release": grounds.base_release,
        "seeds": grounds.seeds,
        "data_origin": origin_of(judgement),
        "datasets": list(grounds.datasets),
        "role_fit": headline.role_fit,
        "stand_ins": list(grounds.stand_ins),
        "context_mismatch": headline.context_mismatch,
        "claims_version": registry.version,
        "claims_hash": registry.content_hash,
        "standards_hash": standards_hash(),
        "registry_hash": registry_hash(),
        "results_hash": judgement.inputs.get("tests", ""),
    }


def cite_lines(cite: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """What to cite as (name, value) lines, hashes shortened to 12 characters; what is not stated says so."""
    data = ", ".join(cite["datasets"]) or "none named"
    return tuple(
        (name, str(value) or "not stated")
        for name, value in (
            ("study", cite["study"]),
            ("release", cite["release"]),
            ("release id", cite["release_id"][:12]),
            ("data", f"{data} ({str(cite['data_origin']).replace('_', '-')})"),
            ("seeds", cite["seeds"]),
            ("claims", f"{cite['claims_version']} ({cite['claims_hash'][:12]})"),
            ("standards", cite["standards_hash"][:12]),
            ("tests", cite["registry_hash"][:12]),
            ("results", cite["results_hash"][:12]),
        )
    )

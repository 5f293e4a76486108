"""Declared claims, criteria definitions and control expectations.

What belongs here: reading ``registry/claims.yaml`` and answering what a claim of some level may say. What does
not: judging claims, or reading the claims file of a user (`qc_standards.assertions`).
"""

from __future__ import annotations

import functools
import hashlib
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from qc_standards.records import VerdictState
from qc_standards.registry import (
    FAMILY_SIZES,
    PRIMARY_ROLE,
    REGISTRY_FOLDER,
    RegistryError,
    declared_ids,
    tests_of_role,
)
from qc_standards.yaml_text import plain_yaml

CLAIMS_FILE: Final = REGISTRY_FOLDER / "claims.yaml"
RELEASE_PLACEHOLDER: Final = "{release}"


class EvidenceLevel(StrEnum):
    """How much a claim's evidence can say, from weakest to strongest."""

    DECODING = "decoding"
    CROSS_MODEL_AGREEMENT = "cross_model_agreement"
    INTERVENTION_CONSISTENT = "intervention_consistent"
    CAUSAL = "causal"


class ClaimsError(ValueError):
    """A claims file names unknown claims or tries to redefine one."""


_WORDS: Final[Mapping[EvidenceLevel, tuple[str, ...]]] = MappingProxyType(
    {
        EvidenceLevel.CROSS_MODEL_AGREEMENT: ("across models", "all models", "every model", "models agree"),
        EvidenceLevel.INTERVENTION_CONSISTENT: ("perturb", "interven", "knock", "crispr"),
        EvidenceLevel.CAUSAL: (
            *("causal", "cause", "drive", "driving", "control the", "controls the", "regulate", "regulating"),
            *("mediate", "mechanis", "lead to", "leads to", "gene regulatory network"),
        ),
    }
)
"""Beginnings of words and phrases that say more than evidence below their level can."""


def levels_up_to(level: EvidenceLevel) -> tuple[EvidenceLevel, ...]:
    """Levels from the weakest to the given one, that one included."""
    ordered = tuple(EvidenceLevel)
    return ordered[: ordered.index(level) + 1]


def words_above(text: str, level: EvidenceLevel) -> tuple[tuple[str, EvidenceLevel], ...]:
    """Words of a sentence that need a higher evidence level than the given one, each with the level it needs.

    Spelling is compared without case, hyphens and line breaks; "regulatory" alone says nothing above decoding.

    Examples
    --------
    >>> [word for word, _ in words_above("Attention drives the response.", EvidenceLevel.DECODING)]
    ['drive']
    """
    plain = re.sub(r"[\W_]+", " ", unicodedata.normalize("NFKC", text).casefold())
    allowed = levels_up_to(level)
    return tuple(
        (word, needed)
        for needed, words in _WORDS.items()
        if needed not in allowed
        for word in words
        if re.search(rf"\b{word}", plain)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CriterionSpec:
    """Definition of one criterion: the tables and tests it reads and its thresholds."""

    id: str
    title: str
    definition: str
    tables: tuple[str, ...]
    tests: tuple[str, ...]
    thresholds: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlExpectation:
    """What a control must do: a positive one passes criteria, a negative one has the claim refuted."""

    id: str
    kind: str
    claim: str
    passes: tuple[str, ...]
    verdict: VerdictState | None
    required: bool
    note: str = ""

    def named(self, release: str) -> str:
        """Name of the control that belongs to a release.

        Examples
        --------
        >>> expectation("{release}.shuffled").named("geneformer-small-2k")
        'geneformer-small-2k.shuffled'
        """
        return self.id.replace(RELEASE_PLACEHOLDER, release)

    @property
    def expected(self) -> str:
        """The expectation as one line of text."""
        if self.passes:
            return f"passes criteria {', '.join(self.passes)}"
        return f"{self.claim} {self.verdict}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One declared claim. ``tests`` are the rows that must have been run for it."""

    id: str
    sentence: str
    evidence_level: EvidenceLevel
    criteria: tuple[str, ...]
    tests: tuple[str, ...]
    standards: tuple[str, ...]
    controls: tuple[str, ...]
    polarity: str
    caveats: tuple[str, ...]
    headline: bool = False
    published_claim: int | None = None
    contexts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimsRegistry:
    """All declared claims, criteria and control expectations of one claims file."""

    version: str
    claims: Mapping[str, Claim]
    criteria: Mapping[str, CriterionSpec]
    controls: Mapping[str, ControlExpectation]
    content_hash: str

    @property
    def headline(self) -> Claim:
        """The claim that is asserted when nothing else is named."""
        return next(claim for claim in self.claims.values() if claim.headline)


def _criterion(name: str, entry: Mapping[str, Any]) -> CriterionSpec:
    unknown = sorted(set(entry["tests"]) - set(declared_ids()))
    if unknown:
        raise RegistryError(f"criterion {name} needs undeclared tests: {', '.join(unknown)}")
    thresholds = {key: float(value) for key, value in entry["thresholds"].items()}
    return CriterionSpec(
        id=name,
        title=entry["title"],
        definition=entry["definition"],
        tables=tuple(entry["tables"]),
        tests=tuple(entry["tests"]),
        thresholds=MappingProxyType(thresholds),
    )


def _control(entry: Mapping[str, Any]) -> ControlExpectation:
    passes = tuple(entry.get("passes", ()))
    verdict = VerdictState(entry["verdict"]) if "verdict" in entry else None
    if bool(passes) == (verdict is not None):
        raise RegistryError(f"control {entry['id']}: say either `passes` or `verdict`")
    return ControlExpectation(
        id=entry["id"],
        kind=entry["kind"],
        claim=entry["claim"],
        passes=passes,
        verdict=verdict,
        required=bool(entry["required"]),
        note=entry.get("note", ""),
    )


def _claim(entry: Mapping[str, Any], criteria: Mapping[str, CriterionSpec]) -> Claim:
    name = entry["id"]
    unknown = sorted(set(entry["criteria"]) - set(criteria))
    if unknown or not entry["criteria"]:
        raise RegistryError(f"claim {name}: unknown or no criteria ({', '.join(unknown) or 'none named'})")
    level = EvidenceLevel(entry["evidence_level"])
    worded = [word for word, _ in words_above(entry["sentence"], level)]
    if worded:
        raise RegistryError(f"claim {name} is worded above its evidence level {level}: {', '.join(worded)}")
    needed = dict.fromkeys(test for criterion in entry["criteria"] for test in criteria[criterion].tests)
    elsewhere = sorted(set(needed) - {spec.test_id for spec in tests_of_role(PRIMARY_ROLE)})
    if elsewhere:
        # An evaluation states origin and context of its primary screen; a claim about another needs both for that one.
        raise RegistryError(
            f"claim {name} rests on {', '.join(elsewhere)}, which read no {PRIMARY_ROLE}; data origin and context "
            "mismatch of an evaluation are those of the primary screen and would not cap this claim"
        )
    return Claim(
        id=name,
        sentence=entry["sentence"],
        evidence_level=level,
        criteria=tuple(entry["criteria"]),
        tests=tuple(needed),
        standards=tuple(entry["standards"]),
        controls=tuple(entry["controls"]),
        polarity=entry["polarity"],
        caveats=tuple(entry["caveats"]),
        headline=bool(entry.get("headline", False)),
        published_claim=entry.get("published_claim"),
        contexts=tuple(entry.get("contexts", ())),
    )


def _check_registry(registry: ClaimsRegistry, families: Mapping[str, Mapping[str, Any]]) -> None:
    sizes = {name: entry["size"] for name, entry in families.items()}
    if sizes != dict(FAMILY_SIZES):
        raise RegistryError(f"claims file declares families {sizes}, the battery {dict(FAMILY_SIZES)}")
    headlines = [claim.id for claim in registry.claims.values() if claim.headline]
    if len(headlines) != 1:
        raise RegistryError(f"exactly one headline claim is needed, found {headlines}")
    for claim in registry.claims.values():
        stray = sorted(set(claim.controls) - set(registry.controls))
        if stray:
            raise RegistryError(f"claim {claim.id} names undeclared controls: {', '.join(stray)}")
    for control in registry.controls.values():
        if control.claim not in registry.claims or set(control.passes) - set(registry.criteria):
            raise RegistryError(f"control {control.id} is judged on an undeclared claim or criterion")


def _by_id(items: Iterable[Any]) -> Mapping[str, Any]:
    listed = list(items)
    ids = [item.id for item in listed]
    doubled = sorted({name for name in ids if ids.count(name) > 1})
    if doubled:
        raise RegistryError(f"declared twice: {', '.join(doubled)}")
    return MappingProxyType({item.id: item for item in listed})


def read_registry(path: Path) -> ClaimsRegistry:
    """Claims, criteria and control expectations of a registry file, cross-checked.

    Raises `RegistryError` for undeclared tests, criteria or controls, a claim worded above its evidence
    level, family sizes that differ from the battery, or any number of headline claims but one.
    """
    raw = path.read_bytes()
    content = plain_yaml(raw)
    criteria = {name: _criterion(name, entry) for name, entry in content["criteria"].items()}
    registry = ClaimsRegistry(
        version=content["version"],
        claims=_by_id(_claim(entry, criteria) for entry in content["claims"]),
        criteria=MappingProxyType(criteria),
        controls=_by_id(_control(entry) for entry in content["controls"]),
        content_hash=hashlib.sha256(raw).hexdigest(),
    )
    _check_registry(registry, content["families"])
    return registry


@functools.cache
def claims_registry() -> ClaimsRegistry:
    """The claims that ship with the standards."""
    return read_registry(CLAIMS_FILE)


def expectation(control: str) -> ControlExpectation:
    """What a control must do, by its declared id or by its name for a release.

    Examples
    --------
    >>> expectation("control-planted").expected
    'passes criteria a, b, c'
    """
    for item in claims_registry().controls.values():
        suffix = item.id.removeprefix(RELEASE_PLACEHOLDER)
        if control == item.id or (suffix != item.id and control.endswith(suffix)):
            return item
    known = ", ".join(claims_registry().controls)
    raise ClaimsError(f"{control} is not a declared control; declared: {known}")


def required_controls(release: str) -> tuple[str, ...]:
    """Names of the controls without which no claim about a release is evaluable."""
    return tuple(item.named(release) for item in claims_registry().controls.values() if item.required)


def check_claim_ids(ids: Iterable[str]) -> tuple[str, ...]:
    """Return the ids unchanged, without repeats; unknown or no ids are a `ClaimsError`."""
    asserted = tuple(dict.fromkeys(ids))
    unknown = [name for name in asserted if name not in claims_registry().claims]
    if unknown:
        known = ", ".join(claims_registry().claims)
        raise ClaimsError(f"unknown claim {', '.join(unknown)}; declared: {known}")
    if not asserted:
        raise ClaimsError("no claim is asserted; list at least one id under `claims:`")
    return asserted

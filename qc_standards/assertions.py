"""The claims file of a model author: which declared claims are asserted, how strongly, and where.

What belongs here: reading the file with its lines, and refusing what it may not say. What does not: declaring or
judging claims. A file chooses among declared claims; it can assert one more weakly and never loosen it.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

from qc_standards.claims import Claim, ClaimsError, EvidenceLevel, claims_registry, levels_up_to, words_above
from qc_standards.yaml_text import yaml_nodes

if TYPE_CHECKING:
    from qc_standards.results import Results

KEYS: Final = ("id", "context", "level", "wording")
_TEXT, _LIST, _MAPPING = (f"tag:yaml.org,2002:{kind}" for kind in ("str", "seq", "map"))
_SHAPE: Final = "a claims file has the one key `claims`, with a list of declared claim ids"


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What is wrong in one line of a claims file; line 0 where the whole file is meant."""

    line: int
    text: str


class ClaimsFileError(ClaimsError):
    """A claims file says what it may not say. ``problems`` name the lines."""

    def __init__(self, path: Path, problems: Sequence[Problem]) -> None:
        self.path = path
        self.problems = tuple(sorted(problems, key=lambda problem: problem.line))
        super().__init__("\n".join(f"{self.where(problem)}: {problem.text}" for problem in self.problems))

    def where(self, problem: Problem) -> str:
        """File and line of a problem as text."""
        return f"{self.path}:{problem.line}" if problem.line else str(self.path)


@dataclass(frozen=True, slots=True, kw_only=True)
class Assertion:
    """One asserted claim: at most its declared evidence level, and the context it is asserted for, if any."""

    id: str
    level: EvidenceLevel
    context: str
    wording: str
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimsFile:
    """A claims file whose every entry is allowed."""

    path: Path
    assertions: tuple[Assertion, ...]

    @property
    def ids(self) -> tuple[str, ...]:
        """Ids of the asserted claims, in the order of the file."""
        return tuple(assertion.id for assertion in self.assertions)


_Tell = Callable[[yaml.Node, str], None]


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _root(path: Path) -> yaml.Node | None:
    if not path.is_file():
        raise ClaimsFileError(path, [Problem(line=0, text="no such claims file")])
    try:
        return yaml_nodes(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise ClaimsFileError(path, [Problem(line=0, text=f"not UTF-8 text ({error.reason})")]) from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        what = getattr(error, "problem", None) or "unreadable"
        raise ClaimsFileError(path, [Problem(line=mark.line + 1 if mark else 0, text=f"not YAML ({what})")]) from error


def _entries(root: yaml.Node | None, tell: _Tell) -> list[yaml.Node]:
    """Entries under ``claims``; anything else at the top level is told."""
    if not isinstance(root, yaml.MappingNode):
        if root is not None:
            tell(root, _SHAPE)
        return []
    entries: list[yaml.Node] = []
    seen = 0
    for key, value in root.value:
        if key.value != "claims":
            tell(key, f"unknown key `{_shown(key)}`; {_SHAPE}")
            continue
        seen += 1
        if seen > 1:
            tell(key, "`claims` is given twice; list all asserted claims once")
        elif isinstance(value, yaml.SequenceNode) and value.tag == _LIST:
            entries = list(value.value)
        else:
            tell(value, _SHAPE)
    return entries


def _shown(node: yaml.Node) -> str:
    if isinstance(node, yaml.ScalarNode):
        return str(node.value)
    return "a list" if isinstance(node, yaml.SequenceNode) else "a mapping"


def _text(node: yaml.Node, key: str, tell: _Tell) -> str:
    """Text of a value; empty, and told, where it is none."""
    if isinstance(node, yaml.ScalarNode) and node.tag == _TEXT and node.value.strip():
        return str(node.value).strip()
    tell(node, f"`{key}` must be a text that is not empty; put other values in quotes")
    return ""


def _fields(entry: yaml.Node, tell: _Tell) -> dict[str, tuple[str, yaml.Node]]:
    """Allowed keys of an entry with their text and node; a plain id is an entry with one key."""
    if isinstance(entry, yaml.ScalarNode):
        return {"id": (_text(entry, "id", tell), entry)}
    if not isinstance(entry, yaml.MappingNode) or entry.tag != _MAPPING:
        tell(entry, f"a claim is an id or a mapping with {', '.join(KEYS)}; got {_shown(entry)}")
        return {}
    found: dict[str, tuple[str, yaml.Node]] = {}
    for key, value in entry.value:
        name = _shown(key)
        if name not in KEYS:
            tell(
                key, f"unknown key `{name}`; an entry has {', '.join(KEYS)}: it chooses a claim and cannot redefine it"
            )
        elif name in found:
            tell(key, f"`{name}` is given twice")
        else:
            found[name] = (_text(value, name, tell), value)
    if "id" not in found:
        tell(entry, "an entry needs the `id` of a declared claim; `qc-gate list claims` prints them")
    return found


def _declared(name: str, node: yaml.Node, tell: _Tell) -> Claim | None:
    claims = claims_registry().claims
    if name in claims:
        return claims[name]
    if name:
        close = difflib.get_close_matches(name, list(claims), n=1)
        meant = f" (did you mean {close[0]}?)" if close else ""
        tell(node, f"unknown claim {name}{meant}; declared: {', '.join(claims)}")
    return None


def _level(claim: Claim, given: tuple[str, yaml.Node] | None, tell: _Tell) -> EvidenceLevel:
    """Asserted level of a claim: its declared one where none, or none that is allowed, is given."""
    declared = claim.evidence_level
    if given is None or not given[0]:
        return declared
    text, node = given
    known = {str(level): level for level in EvidenceLevel}
    if text not in known:
        tell(node, f"level `{text}` is not one of {', '.join(known)}")
        return declared
    level = known[text]
    if level not in levels_up_to(declared):
        others = [c.id for c in claims_registry().claims.values() if level in levels_up_to(c.evidence_level)]
        tell(
            node,
            f"level {level} lies above {declared}, the evidence level of {claim.id}; assert it at {declared} or below, "
            f"or a claim whose evidence reaches {level}: {', '.join(others) or 'none is declared'}",
        )
        return declared
    return level


def _check_wording(text: str, node: yaml.Node, level: EvidenceLevel, tell: _Tell) -> None:
    above = words_above(text, level)
    if above:
        said = ", ".join(f"`{word}` (needs {needed})" for word, needed in above)
        tell(node, f"the wording says more than level {level} allows: {said}; reword it or leave `wording` out")


def _assertion(entry: yaml.Node, tell: _Tell) -> Assertion | None:
    found = _fields(entry, tell)
    name, node = found.get("id", ("", entry))
    claim = _declared(name, node, tell)
    if claim is None:
        return None
    level = _level(claim, found.get("level"), tell)
    wording = found.get("wording")
    if wording:
        _check_wording(*wording, level, tell)
    return Assertion(
        id=name,
        level=level,
        context=found.get("context", ("", entry))[0],
        wording=wording[0] if wording else "",
        line=_line(node),
    )


def read_claims_file(path: Path) -> ClaimsFile:
    """Claims that a user's file asserts, each with its line.

    The file holds ``claims:`` with a list. An entry is a declared id, or a mapping with ``id`` and, where wanted,
    ``context`` (a study, a dataset or a declared context), ``level`` (an evidence level up to the declared one) and
    ``wording`` (a sentence whose words stay within that level).

    Raises
    ------
    ClaimsFileError
        For every line with an unknown claim, key or level, a level or wording above the declared level, a repeated
        claim or key, and for a file that asserts nothing.
    """
    problems: list[Problem] = []

    def tell(node: yaml.Node, text: str) -> None:
        problems.append(Problem(line=_line(node), text=text))

    found = [_assertion(entry, tell) for entry in _entries(_root(path), tell)]
    asserted: dict[str, Assertion] = {}
    for assertion in filter(None, found):
        first = asserted.setdefault(assertion.id, assertion)
        if first is not assertion:
            told = f"claim {assertion.id} is asserted in line {first.line} already; assert it once"
            problems.append(Problem(line=assertion.line, text=told))
    if not found and not problems:
        problems.append(Problem(line=0, text="no claim is asserted; list at least one id under `claims:`"))
    if problems:
        raise ClaimsFileError(path, problems)
    return ClaimsFile(path=path, assertions=tuple(asserted.values()))


def covered_contexts(claim: Claim, results: Results) -> tuple[str, ...]:
    """Contexts in which results speak about a claim: their study, and the datasets behind the claim's own rows.

    A context mismatch that the claim declares under ``contexts`` is covered where the evaluation states it.
    """
    evaluation: dict[Any, Any] = results.tables["evaluation"].iloc[0].to_dict()
    tests = results.tests
    run = tests[tests["test_id"].isin(list(claim.tests)) & (tests["status"] == "run")]
    mismatch = str(evaluation["context_mismatch"])
    named = [str(evaluation["study"]), *(str(name) for name in run["dataset"])]
    return tuple(dict.fromkeys(name for name in (*named, *({mismatch} & set(claim.contexts))) if name))


def check_contexts(asserted: ClaimsFile, results: Results) -> None:
    """Raise `ClaimsFileError` where a claim is asserted for a context that the results do not cover."""
    problems = []
    for assertion in asserted.assertions:
        covered = covered_contexts(claims_registry().claims[assertion.id], results)
        if assertion.context and assertion.context not in covered:
            text = (
                f"{assertion.id} is asserted for {assertion.context}, and these results cover {', '.join(covered)}; "
                "check results of that context, or assert the claim for one that is covered"
            )
            problems.append(Problem(line=assertion.line, text=text))
    if problems:
        raise ClaimsFileError(asserted.path, problems)

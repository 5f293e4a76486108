"""What a changed state can be put down to: which pieces of lineage differ, and whether rules or numbers moved it.

What belongs here: causes and readings, never more than is identified. What does not: rows (`changes`).

With R the rules (standards, claims, judging code) and N the numbers, a state S(N, R) went from S(N0, R0) to S(N1, R1).
S(N0, R1) is computed: the old numbers judged by the new rules (`history.judged_again`). Where it equals the new state
the rules alone explain the change; where it equals the old one, the numbers; else it took both. Without it nothing is
put down to either.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from interp_assets.comparison.history import Judged
from interp_assets.comparison.snapshot import JUDGING

CAUSES = ("release", "weights", "dictionary", "standard", "claims", "data", "settings", "code")
MODEL = ("release", "weights", "dictionary")
RULES = ("standard", "claims")
BOTH = "standard and numbers together"
NOT_SHOWN = "other model, no difference shown"


@dataclass(frozen=True, slots=True)
class Causes:
    """What differs between two judgements, in the order of `CAUSES`, and what a reader should know of it."""

    names: tuple[str, ...]
    judging_code: bool
    number_code: bool
    standards: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    controls: tuple[str, ...] = ()

    @property
    def numbers(self) -> tuple[str, ...]:
        """Those that can have changed the numbers."""
        return tuple(name for name in self.names if name not in RULES and (name != "code" or self.number_code))

    @property
    def rules(self) -> bool:
        """Whether what turns numbers into states differs."""
        return self.judging_code or any(name in RULES for name in self.names)


def causes(old: Judged, new: Judged) -> Causes:
    """Pieces of lineage that differ between two judgements.

    What neither recorded is not among them; what only one recorded is, since nobody can say that it is the same.
    """
    before, after = old.snapshot["lineage"], new.snapshot["lineage"]
    changed = {name for name in ("weights", "dictionary") if before[name] != after[name]}
    other_id = before["release_id"] != after["release_id"]
    if old.snapshot["release"] != new.snapshot["release"] or (other_id and not changed):
        changed.add("release")
    standards = changed_standards(old, new)
    if standards:
        changed.add("standard")
    if any(before[name] != after[name] for name in ("claims_hash", "registry_hash", "families")):
        changed.add("claims")
    datasets = _different(before["data"], after["data"])
    if datasets:
        changed.add("data")
    if before["settings"] != after["settings"]:
        changed.add("settings")
    code = _different(old.code, new.code)
    if code:
        changed.add("code")
    names = tuple(name for name in CAUSES if name in changed)
    judging = {name in JUDGING for name in code}
    return Causes(names, True in judging, False in judging, standards, datasets, _controls(old, new))


def changed_standards(old: Judged, new: Judged) -> tuple[str, ...]:
    """Standards with another content, or that one side does not have, each with its versions."""
    before, after = old.snapshot["standards"], new.snapshot["standards"]
    told = []
    for name in sorted(set(before) | set(after)):
        first, second = before.get(name), after.get(name)
        if first is None or second is None:
            told.append(f"{name} {'added' if first is None else 'withdrawn'}")
        elif first["content_hash"] != second["content_hash"]:
            told.append(f"{name} {first['version']} -> {second['version']}")
    return tuple(told)


def _different(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(name for name in sorted(set(before) | set(after)) if before.get(name) != after.get(name))


def _controls(old: Judged, new: Judged) -> tuple[str, ...]:
    """Controls whose behaviour differs; twins are named after their release, so only what follows the name counts."""
    before, after = (_behaviour(entry) for entry in (old, new))
    return tuple(name for name in sorted(set(before) | set(after)) if before.get(name) != after.get(name))


def _behaviour(entry: Judged) -> dict[str, bool]:
    release = str(entry.snapshot["release"])
    return {name.removeprefix(release): bool(item["behaves"]) for name, item in entry.snapshot["controls"].items()}


def reading(
    found: Causes,
    level: str,
    old: str,
    new: str,
    middle: str | None,
    why_not: str,
    better: bool | None,
    shown: bool = True,
) -> str:
    """Word group for what moved one state.

    Parameters
    ----------
    found
        What differs.
    level
        Level of the row; a claim also depends on controls.
    old, new
        The states.
    middle
        State of the old numbers under the new rules; None where it is not known.
    why_not
        Why it is not known.
    better
        Whether the change speaks for the model; None where it says nothing of that.
    shown
        Whether the difference of the deciding number is told apart from 0 by its interval, as far as it has one.
    """
    if not found.names:
        return "not separable: nothing that is recorded differs"
    if found.rules and not found.numbers:
        return _rules(found, better)
    if level in ("verdict", "claim") and found.controls:
        return f"not separable: another behaviour of control {', '.join(found.controls)}"
    if not found.rules:
        return _numbers(found, better, shown)
    if middle is None:
        return f"not separable: {why_not or 'rules and numbers both changed'}"
    if middle == new:
        return _rules(found, better)
    return _numbers(found, better, shown) if middle == old else BOTH


def _rules(found: Causes, better: bool | None) -> str:
    if not any(name in RULES for name in found.names):
        return "other code"
    return {True: "looser standard", False: "stricter standard", None: "other standard"}[better]


def _numbers(found: Causes, better: bool | None, shown: bool) -> str:
    kinds = {("model" if name in MODEL else name) for name in found.numbers}
    if len(kinds) > 1:
        return "several causes: " + ", ".join(name for name in found.numbers)
    (kind,) = kinds
    if kind == "model" and better is not None and not shown:
        return NOT_SHOWN
    if kind == "model":
        return {True: "better model", False: "worse model", None: "other model"}[better]
    return f"other {kind}"


def middle_states(old: Judged, new: Judged) -> Mapping[str, Any]:
    """States of the old numbers under the rules of ``new``: stored where ``old`` stands right before it."""
    own = old.snapshot["release"] == new.snapshot["release"] and old.place + 1 == new.place
    return new.rejudged if own else {}

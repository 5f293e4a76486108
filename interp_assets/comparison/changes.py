"""Rows of ``verdict_changes``: what differs between two judgements, level by level, with cause and effect.

What belongs here: which judgements are held against each other, and one row for every state that differs. What does
not: causes and readings (`attribution`), effects (`effects`), sentences (`sentences`).

A release is held against its own judgement before, entry by entry of its history, and its first judgement against that
of the release it follows (`lines`): of that one's judgements the one that differs in the fewest other things, so that a
new release is not told apart from an old one by a standard that came in between.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pandas as pd

from interp_assets.comparison.attribution import MODEL, Causes, causes, middle_states, reading
from interp_assets.comparison.effects import QUANTITIES, Effect, difference
from interp_assets.comparison.history import History, Judged, rules_of
from interp_assets.comparison.lines import Follows, lines
from interp_assets.comparison.sentences import sentence
from interp_assets.comparison.snapshot import digest, read_evidence
from interp_assets.storage import canonical_json

COLUMNS = (
    *(
        "change_id",
        "study",
        "release",
        "compared_with",
        "level",
        "item",
        "old",
        "new",
        "direction",
        "causes",
        "reading",
    ),
    *("effect", "old_effect", "new_effect", "difference", "difference_low", "difference_high", "interval"),
    *("data_origin", "sentence", "old_snapshot", "new_snapshot"),
)
# How far a state opens a claim. What is not evaluable stands beside that order, not in it.
RANKS = {"supported": 3, "inconclusive": 2, "refuted": 1, "pass": 3, "undecided": 2, "fail": 1}
OPEN = ("supported", "pass")
ABSENT = "absent"
TABLES = ("perturbation_auroc",)  # the only ones that paired differences read


@dataclass(frozen=True, slots=True)
class Pair:
    """Two judgements that are held against each other; ``follows`` where they are of two releases."""

    old: Judged
    new: Judged
    histories: tuple[History, History]
    follows: Follows | None = None

    def tables(self) -> tuple[Mapping[str, pd.DataFrame], Mapping[str, pd.DataFrame]] | None:
        """Kept tables of both; None where those of one are gone."""
        kept = [history.evidence(entry) for history, entry in zip(self.histories, (self.old, self.new), strict=True)]
        if kept[0] is None or kept[1] is None:
            return None
        return read_evidence(kept[0], TABLES), read_evidence(kept[1], TABLES)


def pairs(histories: Sequence[History], order: Sequence[str] = ()) -> Iterator[Pair]:
    """Judgements of one study to hold against each other, by release and entry."""
    held = {history.release: history for history in histories if history.entries}
    real = {name: found for name, found in held.items() if found.entries[-1].snapshot["release_kind"] == "release"}
    stated = {name: found.entries[-1].snapshot["lineage"]["stated"] for name, found in real.items()}
    follows = lines(stated, order)
    for name in sorted(held):
        history = held[name]
        if name in follows:
            before = held[follows[name].before]
            first = history.entries[0]
            yield Pair(nearest(before.entries, first), first, (before, history), follows[name])
        for old, new in pairwise(history.entries):
            yield Pair(old, new, (history, history))


def nearest(entries: Iterable[Judged], to: Judged) -> Judged:
    """Judgement that differs from ``to`` in the fewest things, the model left out; the latest of equals."""

    def distance(entry: Judged) -> tuple[bool, int, int]:
        found = causes(entry, to)
        return rules_of(entry)[:2] != rules_of(to)[:2], len([n for n in found.names if n not in MODEL]), -entry.place

    return min(entries, key=distance)


def verdict_changes(histories: Iterable[Sequence[History]], order: Sequence[str] = ()) -> pd.DataFrame:
    """All changes of all studies, columns `COLUMNS`: by study, release, judgement, level.

    ``histories`` are given study by study (`history.histories`); ``order`` as in `lines.lines`.
    """
    rows = [row for group in histories for pair in pairs(group, order) for row in pair_rows(pair)]
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    numbers = [name for name in COLUMNS if name.endswith("_effect") or name.startswith("difference")]
    return frame.astype(dict.fromkeys(numbers, "float64"))


def pair_rows(pair: Pair) -> list[dict[str, Any]]:
    """Rows of one pair: the verdict, claims, criteria and standards whose state differs."""
    changed = list(_changed(pair.old.snapshot, pair.new.snapshot))
    if not changed:
        return []
    found = causes(pair.old, pair.new)
    tables = pair.tables() if any(level != "standard" for level, *_ in changed) else None
    effects = {}
    for name in sorted(set(pair.old.snapshot["criteria"]) & set(pair.new.snapshot["criteria"])):
        old, new = (entry.snapshot["criteria"][name] for entry in (pair.old, pair.new))
        effects[name] = difference(name, old, new, tables)
    return [_row(pair, found, effects, change) for change in changed]


Change = tuple[str, str, str, str]


def _changed(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
    """Level, item, old state and new state of everything whose state differs."""
    headline = str(new["headline"])
    for name in _items(old["claims"], new["claims"]):
        states = [side["claims"][name]["state"] if name in side["claims"] else ABSENT for side in (old, new)]
        if states[0] != states[1]:
            if name == headline:
                yield "verdict", name, states[0], states[1]
            yield "claim", name, states[0], states[1]
    for name in _items(old["criteria"], new["criteria"]):
        states = [side["criteria"][name]["outcome"] if name in side["criteria"] else ABSENT for side in (old, new)]
        if states[0] != states[1]:
            yield "criterion", name, states[0], states[1]
    for name in _items(old["standards"], new["standards"]):
        states = [_standard_state(side["standards"].get(name)) for side in (old, new)]
        if states[0] != states[1]:
            yield "standard", name, states[0], states[1]


def _items(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    return [*new, *(name for name in old if name not in new)]


def _standard_state(entry: Mapping[str, Any] | None) -> str:
    if entry is None:
        return ABSENT
    return str(entry["outcome"]) if entry["applies"] else "does not apply"


def direction(old: str, new: str) -> str:
    """Whether a state was gained or lost, or neither can be said.

    Examples
    --------
    >>> direction("supported", "not evaluable"), direction("refuted", "inconclusive"), direction("refuted", "absent")
    ('lost', 'gained', 'other')
    """
    if old in RANKS and new in RANKS:
        return "gained" if RANKS[new] > RANKS[old] else "lost"
    if old in OPEN:
        return "lost"
    return "gained" if new in OPEN else "other"


def _row(pair: Pair, found: Causes, effects: Mapping[str, Effect], change: Change) -> dict[str, Any]:
    level, item, old, new = change
    after = pair.new.snapshot
    way = direction(old, new)
    criterion = _criterion_behind(pair, level, item)
    effect = effects.get(criterion, Effect())
    states = middle_states(pair.old, pair.new)
    middle, why_not = _middle(states, level, item), str(states.get("why_not", ""))
    shown = not effect.low <= 0 <= effect.high  # without an interval (NaN) nothing speaks against the difference
    told = reading(found, level, old, new, middle, why_not, _better(pair, criterion, way, effect), shown)
    row = {
        "study": after["study"],
        "release": after["release"],
        "compared_with": pair.follows.before if pair.follows else "",
        "level": level,
        "item": item,
        "old": old,
        "new": new,
        "direction": way,
        "causes": ";".join(found.names),
        "reading": told,
        "effect": effect.words,
        "old_effect": effect.old,
        "new_effect": effect.new,
        "difference": effect.difference,
        "difference_low": effect.low,
        "difference_high": effect.high,
        "interval": effect.interval,
        "data_origin": _origin(pair, level, item),
        "old_snapshot": pair.old.name,
        "new_snapshot": pair.new.name,
    }
    stable = [str(row[name]) for name in ("study", "release", "compared_with", "level", "item", "old", "new")]
    row["change_id"] = digest(canonical_json([*stable, pair.new.place]).encode())
    row["sentence"] = sentence(row, pair, found)
    return row


def _origin(pair: Pair, level: str, item: str) -> str:
    """Data origin of the claim that a row is about, else of the headline; claims may rest on other data."""
    old, new = pair.old.snapshot, pair.new.snapshot
    if level not in ("verdict", "claim"):
        return str(new["data_origin"])
    return str((new["claims"].get(item) or old["claims"][item])["data_origin"])


def _criterion_behind(pair: Pair, level: str, item: str) -> str:
    """Criterion whose number stands for an item: of a claim the first that changed, else the first it lists."""
    if level == "criterion":
        return item
    if level not in ("verdict", "claim"):
        return ""
    old, new = pair.old.snapshot, pair.new.snapshot
    listed = (new["claims"].get(item) or old["claims"][item])["criteria"]
    outcomes = [(old["criteria"].get(n, {}).get("outcome"), new["criteria"].get(n, {}).get("outcome")) for n in listed]
    moved = [name for name, (first, second) in zip(listed, outcomes, strict=True) if first != second]
    return str((moved or listed)[0])


def _middle(states: Mapping[str, Any], level: str, item: str) -> str | None:
    kind = {"verdict": "claims", "claim": "claims", "criterion": "criteria"}.get(level, "standards")
    found = states.get(kind, {}).get(item)
    return None if found is None else str(found)


def _better(pair: Pair, criterion: str, way: str, effect: Effect) -> bool | None:
    """Whether a change speaks for the model: a published finding against attention gains where the model loses."""
    claims = pair.new.snapshot["claims"].values()
    against = {name for entry in claims if entry["published_claim"] is not None for name in entry["criteria"]}
    if way == "other" or criterion not in against:
        return {"gained": True, "lost": False}.get(way)
    if criterion in QUANTITIES and effect.difference == effect.difference and effect.difference:
        return bool(effect.difference * QUANTITIES[criterion].favours > 0)
    return None

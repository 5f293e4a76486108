"""Which release follows which: the pairs that a comparison of releases is made of.

What belongs here: the rule, pure. What does not: comparing (`changes`).

First match wins, and the rule that matched is stated with the pair:

1. the manifest says ``follows: <release>``;
2. both came from the same address of a model hub: the one that was registered just before;
3. same family, and names alike but for their parts with a digit (``geneformer-small-2k``, ``geneformer-small-4k``): the
   nearest smaller name, numbers compared as numbers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

STATED, SAME_SOURCE, SAME_NAME = "stated in its manifest", "same hub repository", "same family and name"


@dataclass(frozen=True, slots=True)
class Follows:
    """A release, the one before it, and the rule that made them a pair."""

    release: str
    before: str
    rule: str


def name_stem(name: str) -> str:
    """Name without the parts that hold a digit.

    Examples
    --------
    >>> name_stem("geneformer-small-4k"), name_stem("scgpt_v2"), name_stem("uce")
    ('geneformer-small', 'scgpt', 'uce')
    """
    return "-".join(part for part in re.split(r"[-_.]", name) if part and not re.search(r"\d", part))


def _natural(name: str) -> tuple[tuple[int, int, str], ...]:
    """Key that orders names by their numbers: v9 before v10."""
    return tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.findall(r"\d+|\D+", name))


def lines(releases: Mapping[str, Mapping[str, Any]], order: Sequence[str] = ()) -> dict[str, Follows]:
    """Pairs of releases that follow each other, by the later one.

    Parameters
    ----------
    releases
        What every release states (``lineage.stated`` of a snapshot), by name; controls left out.
    order
        Names in the order they were registered; the natural order of names where one is not listed.
    """
    ranked = {name: place for place, name in enumerate(order)}
    arrived = sorted(releases, key=lambda name: (ranked.get(name, len(ranked)), _natural(name)))
    last_of_source: dict[str, str] = {}
    pairs: dict[str, Follows] = {}
    for name in arrived:
        source = _hub(releases[name])
        stated = str(releases[name].get("follows", ""))
        if stated in releases and stated != name:
            pairs[name] = Follows(name, stated, STATED)
        elif source and source in last_of_source:
            pairs[name] = Follows(name, last_of_source[source], SAME_SOURCE)
        if source:
            last_of_source[source] = name
    return _by_name(releases, pairs)


def _by_name(releases: Mapping[str, Mapping[str, Any]], pairs: dict[str, Follows]) -> dict[str, Follows]:
    groups: dict[tuple[str, str], list[str]] = {}
    for name in sorted(releases, key=_natural):
        stem = name_stem(name)
        if stem:
            groups.setdefault((str(releases[name].get("family", "")), stem), []).append(name)
    for names in groups.values():
        for before, name in pairwise(names):
            pairs.setdefault(name, Follows(name, before, SAME_NAME))
    return _without_circles({name: pairs[name] for name in sorted(pairs)})


def _hub(stated: Mapping[str, Any]) -> str:
    source = str(stated.get("source", ""))
    return source if source.startswith(("http://", "https://")) else ""


def _without_circles(pairs: dict[str, Follows]) -> dict[str, Follows]:
    """Pairs without those that lead back to themselves: manifests may name each other."""
    kept = {}
    for name, pair in pairs.items():
        seen, at = {name}, pair.before
        while at in pairs and at not in seen:
            seen.add(at)
            at = pairs[at].before
        if at != name:
            kept[name] = pair
    return kept

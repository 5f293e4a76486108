"""Which regulators the explorer of the report shows, and which candidate targets of each.

What belongs here: a choice that a page of bounded size forces, and what it leaves out. What does not: scores.
Regulators are chosen by what references and the screen say of them, never by how well a score does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from interp_assets.analyses.inputs import RoleInputs
from interp_assets.analyses.scores import candidate_labels, reference_pairs

Int = NDArray[np.int64]
Mask = NDArray[np.bool_]

OUTCOME: Final = "perturbation outcome"
# A page holds a value and a rank of 16 bits for each pair and score, and a second rank where a network states no
# directions: 220,000 such numbers are about 590 kB of text, which leaves room for names and memberships in the 700 kB
# that the explorer may take of a 5 MB page.
NUMBERS: Final = 220_000
# Listed and responding genes carry the marks of the chart; the strongest and the drawn ones stand for the rest.
MOST_MARKED: Final = 60
STRONGEST: Final = 8
DRAWN: Final = 8
MOST_REGULATORS: Final = 60  # a longer list is no longer read


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A network, or the outcome of the screen, that scores of every gene's candidates are held against.

    ``member`` and ``candidate`` are G x G by (regulator, target): what is a target, and what could have been. A
    regulator without any target has no candidate either. ``direction`` is G x G int8 (`edges.records.Reference`), None
    where no sign is stated. Pairs of an undirected network are scored by the mean of both directions.
    """

    name: str
    directed: bool
    member: Mask
    candidate: Mask
    direction: NDArray[np.int8] | None = None

    def labels(self, regulators: Int) -> NDArray[np.int8]:
        """Labels R x G as in `analyses.scores`: 1 target, 0 other candidate, -1 no candidate."""
        member, candidate = self.member[regulators], self.candidate[regulators]
        return np.where(candidate, member.astype(np.int8), np.int8(-1))


def held_against(role: RoleInputs) -> tuple[Held, ...]:
    """Networks with a regulator among the genes, the primary one first, then the outcome of the screen if any."""
    order = dict.fromkeys([role.primary_reference, *role.references])
    found = [held for name in order if name in role.references and (held := _network(role, name)).member.any()]
    outcome = _outcome(role)
    return (*found, *([outcome] if outcome.member.any() else []))


def _network(role: RoleInputs, name: str) -> Held:
    pairs, reference, size = reference_pairs(role, name), role.references[name], role.genes.size
    member, candidate = np.zeros((2, size, size), dtype=bool)
    member[pairs.regulators] = pairs.member
    candidate[pairs.regulators] = True
    np.fill_diagonal(candidate, val=False)
    direction = None
    if reference.direction is not None:
        direction = np.zeros((size, size), dtype=np.int8)
        direction[reference.source, reference.target] = reference.direction
    return Held(name=name, directed=pairs.directed, member=member, candidate=candidate, direction=direction)


def _outcome(role: RoleInputs) -> Held:
    label = candidate_labels(role)
    member, candidate = np.zeros((2, role.genes.size, role.genes.size), dtype=bool)
    member[role.source], candidate[role.source] = label == 1, label >= 0
    return Held(name=OUTCOME, directed=True, member=member, candidate=candidate)


def ordered_regulators(role: RoleInputs, held: Sequence[Held]) -> Int:
    """Genes (positions) with a target in some network, or with a gene that responds, most telling first.

    First those of the primary network that the screen perturbed, then by targets in the primary network, in the other
    networks, responding genes, and name.
    """
    targets = {one.name: one.member.sum(axis=1) for one in held}
    none = np.zeros(role.genes.size, dtype=np.int64)
    primary, responding = (targets.get(name, none) for name in (role.primary_reference, OUTCOME))
    other = sum((n for name, n in targets.items() if name not in (role.primary_reference, OUTCOME)), none)
    both = (primary > 0) & np.isin(np.arange(role.genes.size), role.source)
    order = np.lexsort((role.genes, -responding, -other, -primary, ~both))
    return np.asarray(order[(primary + other + responding)[order] > 0], dtype=np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """Targets shown of one regulator: gene positions (rising) and why each is shown.

    ``why`` is ``listed`` (by a network), ``responds`` (in the screen), ``attention`` (among the strongest of the
    layer read) or ``drawn`` (a sample of the rest). ``left_out`` counts listed and responding genes that are not shown.
    """

    regulator: int
    targets: Int
    why: tuple[str, ...]
    left_out: int


def shown_targets(
    role: RoleInputs, held: Sequence[Held], regulator: int, strength: NDArray[np.float64], seed: int
) -> Shown:
    """Targets of one regulator: listed by the primary network, by the others, responding, strongest, drawn.

    Where more are listed than `MOST_MARKED`, those of the class that overflows are drawn, so that no score decides
    which of them is seen. ``strength`` (G) is attention in the layer read, missing pairs lowest.
    """
    rng = np.random.default_rng([seed, regulator])
    why: dict[int, str] = {}
    marked: dict[int, None] = {}
    for one in held:
        listed = np.flatnonzero(one.member[regulator] & one.candidate[regulator]).tolist()
        free = [gene for gene in listed if gene not in why]
        marked |= dict.fromkeys(free)
        room = max(0, MOST_MARKED - len(why))
        kept = free if len(free) <= room else rng.choice(free, room, replace=False).tolist()
        why |= dict.fromkeys(kept, "responds" if one.name == OUTCOME else "listed")
    left_out = len(marked) - len(why)
    closed = {regulator, *marked}
    strong = [gene for gene in np.argsort(-strength, kind="stable").tolist() if gene not in closed][:STRONGEST]
    rest = [gene for gene in range(role.genes.size) if gene not in closed and gene not in set(strong)]
    drawn = rng.choice(rest, min(DRAWN, len(rest)), replace=False).tolist()
    why |= dict.fromkeys(strong, "attention") | dict.fromkeys(drawn, "drawn")
    targets = sorted(why)
    return Shown(
        regulator=regulator,
        targets=np.array(targets, dtype=np.int64),
        why=tuple(why[gene] for gene in targets),
        left_out=left_out,
    )


def within_budget(
    role: RoleInputs, held: Sequence[Held], strength: NDArray[np.float64], scores: int, seed: int
) -> list[Shown]:
    """Regulators in order with their targets, as many as `NUMBERS` allow; one at least.

    ``strength`` is G x G, ``scores`` the number of scores of a pair.
    """
    found: list[Shown] = []
    numbers, each = 0, scores * (2 if all(one.directed for one in held) else 3)
    for regulator in ordered_regulators(role, held)[:MOST_REGULATORS].tolist():
        shown = shown_targets(role, held, regulator, strength[regulator], seed)
        numbers += shown.targets.size * each
        if found and numbers > NUMBERS:
            break
        found.append(shown)
    return found


def directions_of(held: Sequence[Held], shown: Shown) -> Mapping[str, NDArray[np.int8]]:
    """What each network says of the targets shown, by network: its direction, or 0 where it states none."""
    return {
        one.name: np.zeros(shown.targets.size, dtype=np.int8)
        if one.direction is None
        else one.direction[shown.regulator, shown.targets]
        for one in held
        if one.name != OUTCOME
    }

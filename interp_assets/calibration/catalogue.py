"""The worlds of the calibration: what is scored, what is true there, and which criteria and tests are asked.

What belongs here: one row a world. What does not: how a score is made (`scores`) or judged (`judging`). A new
criterion joins by a row whose ``run`` returns its outcome; nothing else has to know of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final

import numpy as np

from interp_assets.calibration import scores
from interp_assets.calibration.design import USUAL_OFF_NETWORK, Design
from interp_assets.calibration.judging import Finding, judge
from interp_assets.calibration.screens import Screen, with_permuted_outcomes

# Analyses that a criterion reads (`for_controls` in the catalogue of analyses), and those that read outcomes a gene
# at a time and no reference: only these say anything where outcomes are permuted.
CRITERIA: Final = ("a", "b", "c")
JUDGED: Final = (16, 19, 21, 22, 25, 26, 31)
BY_OUTCOME: Final = (19, 21, 22)
MATCHED: Final = (35,)
Run = Callable[[Screen, Design], Finding]


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """One thing that is judged in every screen of its block.

    ``what`` completes "a score that knows ...". ``criteria`` are the ids it gives outcomes for; where ``noise`` is
    set, passing any of them is a false pass. ``nulls`` are the tests whose null hypothesis is true here, each with
    the reason; ``told`` says why the others' are not. ``strength`` and ``off_network`` place a planted score on a
    power curve.
    """

    name: str
    title: str
    what: str
    run: Run
    noise: str = ""
    criteria: tuple[str, ...] = CRITERIA
    nulls: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    told: str = ""
    strength: float | None = None
    off_network: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Worlds that share their screens; ``off_network`` of the planted effects follow no edge of the network."""

    name: str
    worlds: tuple[World, ...]
    seeds: str  # which of the numbers of seeds of a run it takes: noise, power or matched
    off_network: float = USUAL_OFF_NETWORK


def scored(
    name: str,
    score: scores.Score,
    *,
    permuted: bool = False,
    analyses: tuple[int, ...] = JUDGED,
    criteria: tuple[str, ...] = CRITERIA,
    bootstrap: int | None = None,
) -> Run:
    """Run of a world that hands ``score`` to the battery as attention, on outcomes as called or permuted.

    ``bootstrap`` replaces the design's number of resamples.
    """

    def run(screen: Screen, design: Design) -> Finding:
        values = score(screen)
        judged = with_permuted_outcomes(screen) if permuted else screen
        attention = scores.as_attention(judged, values, name)
        if bootstrap is not None:
            fewer = min(bootstrap, design.battery.bootstrap)
            design = replace(design, battery=replace(design.battery, bootstrap=fewer))
        return judge(judged, design, attention, criteria=criteria, analyses=analyses)

    return run


INDEPENDENT: Final = "the score is independent of everything"
LOT: Final = "given the degrees, which pair scores high is drawn by lot"
SWAPPED: Final = "regulators are exchangeable: which row belongs to which regulator is drawn by lot"
TWIN: Final = "both scores are the same measurement on exchangeable cells"
NOTHING: Final = "outcomes are drawn by lot over the candidate genes"

OUTCOME_TESTS: Final = ("A19.1", "A19.2", "A21.5", "A21.6", "A21.7", "A22.1")
UNREAD: Final = ("A21.1", "A21.2", "A21.3", "A21.4")  # compare correlation with baselines, whatever is judged


def _nulls(reason: str, *tests: str) -> Mapping[str, str]:
    return MappingProxyType(dict.fromkeys(tests, reason))


def _noise(name: str, title: str, what: str, kind: str, score: scores.Score, told: str, **nulls: str) -> World:
    """World of a noise on planted outcomes; ``nulls`` are test ids with an underscore for the dot."""
    true = MappingProxyType({test.replace("_", "."): reason for test, reason in nulls.items()})
    run = scored(name, score)
    return World(name=name, title=title, what=what, noise=kind, run=run, nulls=true, told=told)


def _permuted(name: str, title: str, kind: str, score: scores.Score, *more: str) -> World:
    """World of a noise on permuted outcomes, where every test of outcomes is a true null."""
    true = _nulls(NOTHING, *OUTCOME_TESTS, *more)
    return World(
        name=f"{name}/permuted",
        title=f"{title}, outcomes permuted",
        what="nothing about outcomes, which are drawn by lot",
        noise=kind,
        run=scored(name, score, permuted=True, analyses=BY_OUTCOME, criteria=("a",)),
        criteria=("a",),
        nulls=true,
        told="tests of reference recovery do not read outcomes",
    )


NOISE: Final = (
    _noise(
        "pure", "pure noise", "nothing", "pure", scores.pure,
        "variance and correlation predict outcomes and this score does not, so it differs from both",
        A16_1=INDEPENDENT, A16_2=INDEPENDENT, A19_1=INDEPENDENT, A19_2=INDEPENDENT,
    ),
    _noise(
        "confound_only", "gene confound", "target variance with noise, and a random level of every regulator",
        "confound-only", scores.gene_confound,
        "target variance predicts outcomes and network degree, so it is above chance and worse than variance itself",
        A16_2=LOT,
    ),
    _noise(
        "mean_elsewhere", "target mean", "the target's mean expression, measured in other cells, and nothing else",
        "confound-only", scores.mean_elsewhere,
        "it is as good as the best baseline, so above chance and above the weaker ones; degrees cannot move it",
        A21_6=TWIN,
    ),
    _noise(
        "coexpression", "co-expression", "the co-expression of the pair, measured in other cells",
        "co-expression-only", scores.coexpression,
        "real regulators are co-expressed with their targets and variable genes with everything",
        A22_1=TWIN,
    ),
    _noise(
        "coexpression_of_others", "co-expression of other regulators",
        "the co-expression of the target with another regulator, drawn by lot",
        "co-expression-only", scores.coexpression_of_others,
        "variable genes are co-expressed with everything and respond to everything",
        A16_2=SWAPPED,
    ),
    _permuted("pure", "pure noise", "pure", scores.pure, *UNREAD),
    _permuted("confound_only", "gene confound", "confound-only", scores.gene_confound),
    _permuted("coexpression", "co-expression", "co-expression-only", scores.coexpression),
)  # fmt: skip


def _matched(name: str, title: str, what: str, kind: str, score: scores.Score, reason: str) -> World:
    return World(
        name=f"{name}/matched",
        title=title,
        what=what,
        noise=kind,
        run=scored(name, score, analyses=MATCHED, criteria=(), bootstrap=MATCHED_DRAWS),
        criteria=(),
        nulls=_nulls(reason, "A35.1"),
    )


# Each draw fits the matched pairs again. 120 put six steps of p below .05: the level is reached to .0496.
MATCHED_DRAWS: Final = 120
MATCHED_PAIRS: Final = (
    _matched("pure", "pure noise", "nothing", "pure", scores.pure, INDEPENDENT),
    _matched("confound_only", "gene confound", "target variance", "confound-only", scores.gene_confound, SWAPPED),
    _matched(
        "coexpression_of_others",
        "co-expression of other regulators",
        "the co-expression of the target with another regulator",
        "co-expression-only",
        scores.coexpression_of_others,
        SWAPPED,
    ),
)

STRENGTHS: Final = (0.0625, 0.125, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0)
SHIPPED_STRENGTH: Final = 4.0  # 1 / .25, the score noise of the shipped planted control
OFF_NETWORK: Final = (0.05, 0.10, 0.20, 0.35)


def _planted(strength: float, off_network: float) -> World:
    name = f"planted {strength:g} off {off_network:g}"
    return World(
        name=name,
        title=f"planted, strength {strength:g}, {off_network:.0%} off the network",
        what="the planted network",
        run=scored(name, scores.planted_at(strength)),
        strength=strength,
        off_network=off_network,
    )


BLOCKS: Final = (
    Block(name="noise", worlds=NOISE, seeds="noise"),
    Block(name="strength", worlds=tuple(_planted(s, USUAL_OFF_NETWORK) for s in STRENGTHS), seeds="power"),
    *(
        Block(name=f"off-{share:g}", worlds=(_planted(SHIPPED_STRENGTH, share),), seeds="power", off_network=share)
        for share in OFF_NETWORK
    ),
    Block(name="matched", worlds=MATCHED_PAIRS, seeds="matched"),
)


def worlds() -> dict[str, World]:
    """Every world by name."""
    return {world.name: world for block in BLOCKS for world in block.worlds}


def strength_label(strength: float) -> str:
    """Strength as a ratio of edge to noise, without needless digits.

    >>> strength_label(0.25), strength_label(4.0)
    ('0.25', '4')
    """
    return np.format_float_positional(strength, trim="-")

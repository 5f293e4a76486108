"""Which heads and layers are changed together: the conditions of the causal ablation.

What belongs here: turning head rankings into named conditions, for a model of any shape. What does not: running a
model (`interp_assets.interventions.run`), or testing what came out (`interp_assets.analyses.ablation`).

Published numbers of heads are shares of 324 (k / 324 of all heads, at least one) and published layers relative
depths (docs/architecture.md). Two pools of heads are used. ``all``: every head, as published; heads at or after the
read-out layer cannot act on it. ``upstream``: heads before the read-out layer, on which criterion d is judged, with a
null of many random sets of the same size from the same pool.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from interp_assets.edges.layers import resolve_layer
from interp_assets.models.interventions import Head, Intervention

Family = Literal["top", "bottom", "random", "entropy_matched", "composite", "layer", "mlp"]
Operation = Literal["zero_heads", "uniform_attention", "zero_mlp"]
Pool = Literal["all", "upstream"]

PUBLISHED_HEADS: Final = 324
PUBLISHED_LAST_LAYER: Final = 17
DOSES: Final = (5, 10, 20, 50)
# Two doses made uniform, as published; the larger is the one criterion d reads.
UNIFORM_DOSES: Final = (5, 10)
MLP_LAYERS: Final = ((15,), (13, 14, 15), (8,))
CLEAN: Final = "clean"


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One condition: what is changed, and why these parts.

    ``dose`` is the published number of heads the size stands for, 0 for whole layers. ``draw`` numbers random sets
    from 1, 0 elsewhere. ``uses_outcomes``: the parts were chosen with the outcomes that the read-out is held against.
    """

    name: str
    family: Family
    operation: Operation
    pool: Pool
    intervention: Intervention
    dose: int = 0
    draw: int = 0
    uses_outcomes: bool = False

    @property
    def heads(self) -> tuple[Head, ...]:
        """Heads that are changed; none for feed-forward layers."""
        return (*self.intervention.zero, *self.intervention.uniform)

    @property
    def parts(self) -> str:
        """Changed parts as text: heads as layer.head, or feed-forward layers as mlp.layer."""
        layers = [f"mlp.{layer}" for layer in self.intervention.mlp]
        return ";".join([f"{layer}.{head}" for layer, head in self.heads] + layers)

    @property
    def first_layer(self) -> int:
        """First layer that is changed; states before it are those of the clean model."""
        return self.intervention.layers[0]

    def upstream_parts(self, layer: int) -> int:
        """How many of the changed parts can act on the attention of ``layer``: those of earlier layers."""
        return sum(at < layer for at in (*(at for at, _ in self.heads), *self.intervention.mlp))

    @property
    def size(self) -> int:
        """Number of changed heads, or of changed feed-forward layers."""
        return len(self.heads) or len(self.intervention.mlp)


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadTable:
    """What is known of every head (each layers x heads): reference recovery, screen recovery, attention entropy.

    ``reference`` is the pooled AUROC of the reference network, ``screen`` the mean AUROC over perturbations,
    ``entropy`` the mean entropy of attention rows in nats.
    """

    reference: NDArray[np.float64]
    screen: NDArray[np.float64]
    entropy: NDArray[np.float64]

    def ranked(self, values: NDArray[np.float64]) -> list[Head]:
        """All heads, highest value first; ties by layer, then head."""
        order = np.argsort(-values.ravel(), kind="stable")
        return [(int(at // values.shape[1]), int(at % values.shape[1])) for at in order]

    @property
    def composite(self) -> NDArray[np.float64]:
        """Reference recovery times screen recovery (paper section 5, analysis 32)."""
        return self.reference * self.screen


def heads_for(dose: int, total: int) -> int:
    """Number of heads that stands for a published one: the same share of all heads, at least one.

    >>> heads_for(5, 324), heads_for(50, 64), heads_for(5, 16)
    (5, 10, 1)
    """
    return max(1, round(dose / PUBLISHED_HEADS * total))


def published_layer(layer: int, layers: int) -> int:
    """Layer that stands for a published one, by relative depth.

    >>> published_layer(8, 18), published_layer(15, 8)
    (8, 6)
    """
    return resolve_layer(layer / PUBLISHED_LAST_LAYER, layers)


def plan_conditions(table: HeadTable, read_out: int, random_sets: int, seed: int) -> tuple[Condition, ...]:
    """All conditions of one model whose attention is read at layer ``read_out``, published ones first.

    Conditions of the ``upstream`` pool exist only where there are heads before the read-out, and a dose only where
    the pool is larger than the dose (all of it at once has no random counterpart).
    """
    published = [*_published_heads(table, seed), *_published_layers(table.reference.shape)]
    return (*published, *_upstream(table, read_out, random_sets, seed))


def _published_heads(table: HeadTable, seed: int) -> Iterator[Condition]:
    """Head masks of analyses 29 and 32 and uniform attention of analysis 34, over all heads."""
    best, worst = table.ranked(table.reference), table.ranked(-table.reference)
    both = table.ranked(table.composite)
    total = table.reference.size
    draws = np.random.default_rng([seed, 29])
    for dose in DOSES:
        yield _zero("top", dose, best[: heads_for(dose, total)])
    for dose in (5, 10):
        yield _zero("bottom", dose, worst[: heads_for(dose, total)])
    for dose in (5, 10):
        yield replace(_zero("composite", dose, both[: heads_for(dose, total)]), uses_outcomes=True)
    if total > 1:  # a single head has no other to be matched with
        yield _zero("entropy_matched", 5, entropy_matched(table.entropy, best[: heads_for(5, total)]))
    drawn: dict[tuple[int, int], list[Head]] = {}
    for dose, number in ((5, 1), (5, 2), (5, 3), (10, 1), (20, 1), (50, 1)):
        drawn[dose, number] = _drawn(best, heads_for(dose, total), draws)
        yield _zero("random", dose, drawn[dose, number], draw=number)
    for dose in UNIFORM_DOSES:
        yield _uniform("top", dose, best[: heads_for(dose, total)])
    yield _uniform("random", 10, drawn[10, 1], draw=1)


def _published_layers(shape: tuple[int, ...]) -> Iterator[Condition]:
    """The whole layer of analysis 32 and the feed-forward layers of analysis 34."""
    layers, heads = shape
    at = published_layer(14, layers)
    whole = Intervention(zero=tuple((at, head) for head in range(heads)))
    yield Condition(name="layer-14", family="layer", operation="zero_heads", pool="all", intervention=whole)
    for published in MLP_LAYERS:
        silenced = tuple(dict.fromkeys(published_layer(layer, layers) for layer in published))
        name = f"mlp-{published[0]}" if len(published) == 1 else f"mlp-{published[0]}-{published[-1]}"
        yield Condition(
            name=name, family="mlp", operation="zero_mlp", pool="all", intervention=Intervention(mlp=silenced)
        )


def _upstream(table: HeadTable, read_out: int, random_sets: int, seed: int) -> Iterator[Condition]:
    """Dose response, uniform attention and random sets among the heads that can act on the read-out."""
    best = [head for head in table.ranked(table.reference) if head[0] < read_out]
    sizes = {dose: heads_for(dose, table.reference.size) for dose in DOSES}
    doses = [dose for dose in DOSES if sizes[dose] < len(best)]
    for dose in doses:
        yield _zero("top", dose, best[: sizes[dose]], pool="upstream")
    for dose in UNIFORM_DOSES:
        if dose in doses:
            yield _uniform("top", dose, best[: sizes[dose]], pool="upstream")
    for number in range(1, random_sets + 1):
        draws = np.random.default_rng([seed, 32, number])
        order = _drawn(best, len(best), draws)
        for dose in doses:
            yield _zero("random", dose, order[: sizes[dose]], pool="upstream", draw=number)


def _drawn(heads: list[Head], number: int, draws: np.random.Generator) -> list[Head]:
    return [heads[at] for at in draws.permutation(len(heads))[:number]]


def _zero(family: Family, dose: int, heads: Iterable[Head], pool: Pool = "all", draw: int = 0) -> Condition:
    return _heads(family, "zero_heads", dose, pool, draw, Intervention(zero=tuple(sorted(heads))))


def _uniform(family: Family, dose: int, heads: Iterable[Head], pool: Pool = "all", draw: int = 0) -> Condition:
    return _heads(family, "uniform_attention", dose, pool, draw, Intervention(uniform=tuple(sorted(heads))))


def _heads(
    family: Family, operation: Operation, dose: int, pool: Pool, draw: int, intervention: Intervention
) -> Condition:
    words = ["upstream"] if pool == "upstream" else []
    words += ["uniform"] if operation == "uniform_attention" else []
    words += [family.replace("_", "-"), str(dose)]
    name = "-".join(words) + (f"/{draw}" if draw else "")
    return Condition(
        name=name, family=family, operation=operation, pool=pool, intervention=intervention, dose=dose, draw=draw
    )


def entropy_matched(entropy: NDArray[np.float64], chosen: list[Head]) -> list[Head]:
    """As many other heads, each standing for one of ``chosen``, with the least total difference in entropy.

    An assignment over all pairs, so the result does not depend on the order of ``chosen``.

    Raises
    ------
    ValueError
        If there are fewer other heads than chosen ones.
    """
    from scipy.optimize import linear_sum_assignment

    others = [
        (layer, head)
        for layer in range(entropy.shape[0])
        for head in range(entropy.shape[1])
        if (layer, head) not in set(chosen)
    ]
    if len(others) < len(chosen):
        raise ValueError(f"{len(chosen)} heads cannot be matched: only {len(others)} others exist")
    gap = np.abs(np.array([[entropy[a] - entropy[b] for b in others] for a in chosen]))
    _, taken = linear_sum_assignment(gap)
    return [others[at] for at in taken]

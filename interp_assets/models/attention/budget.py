"""Which sums an extraction holds at once, so that a memory budget is kept.

What belongs here: the choice of heads, its text form, and the cut into passes over groups of layers. What does not:
running them (`run`).

One slab is the float32 G x G sums of one head, or of the sum over heads, of one layer. A pass holds the slabs of
some consecutive layers and runs the model up to the last of them; sums of a layer do not depend on the pass it is in.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

GIBIBYTE = 2**30
_NAMED = ("auto", "all", "mean")
_HEAD = re.compile(r"(\d+)\.(\d+)")

HeadsKept = Literal["all", "listed", "mean"]


def heads_text(heads: str | Mapping[int, Sequence[int]]) -> str:
    """Canonical text of a choice of heads: ``auto``, ``all``, ``mean``, or a list such as ``0.3, 5.0, 5.11``.

    A list names single heads as layer.head, both counted from 0; a mapping from layers to heads says the same.

    >>> heads_text({5: [11, 0], 0: [3]}), heads_text("5.11,5.0 0.3")
    ('0.3, 5.0, 5.11', '0.3, 5.0, 5.11')

    Raises
    ------
    ValueError
        If it is none of these.
    """
    if isinstance(heads, str):
        if heads in _NAMED:
            return heads
        words = heads.replace(",", " ").split()
        found = [_HEAD.fullmatch(word) for word in words]
        wrong = [word for word, match in zip(words, found, strict=True) if match is None]
        if wrong or not words:
            raise ValueError(
                f"heads is {heads!r}; use `auto`, `all`, `mean`, or single heads as layer.head such as `0.3, 5.11`"
            )
        pairs = {(int(match[1]), int(match[2])) for match in found if match is not None}
    else:
        pairs = {(int(layer), int(head)) for layer, own in heads.items() for head in own}
        if not pairs or min(min(pair) for pair in pairs) < 0:
            raise ValueError(f"heads is {dict(heads)!r}; name at least one head, layers and heads counted from 0")
    return ", ".join(f"{layer}.{head}" for layer, head in sorted(pairs))


@dataclass(frozen=True, slots=True, kw_only=True)
class SumsPlan:
    """Slabs of every layer, the passes that hold them, and where the sum of finished shards lies meanwhile.

    ``listed`` maps layers to the heads kept beside the mean. ``totals`` is ``memory`` where two copies of the largest
    pass (open shard and finished shards) fit the budget, else ``disk``.
    """

    layers: int
    heads: int
    genes: int
    kept: HeadsKept
    listed: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    passes: tuple[range, ...]
    totals: Literal["memory", "disk"]
    budget_gib: float
    reason: str

    def heads_of(self, layer: int) -> tuple[int, ...]:
        """Heads of a layer with a slab of their own."""
        return tuple(range(self.heads)) if self.kept == "all" else self.listed.get(layer, ())

    def slabs(self, layer: int) -> int:
        """Slabs of a layer: one a kept head, and one for the sum over heads unless all of them are kept."""
        return len(self.heads_of(layer)) + (self.kept != "all")

    def slice_of(self, layer: int, within: range) -> slice:
        """Where the slabs of a layer lie in the sums of a pass; the sum over heads comes first."""
        start = sum(self.slabs(before) for before in range(within.start, layer))
        return slice(start, start + self.slabs(layer))

    def shape(self, within: range) -> tuple[int, int, int]:
        """Shape of the sums of a pass: slabs x G x G."""
        return (sum(self.slabs(layer) for layer in within), self.genes, self.genes)

    @property
    def layers_run(self) -> int:
        """Layers run for every cell over all passes; the number of layers where there is one pass."""
        return sum(own.stop for own in self.passes)

    @property
    def told(self) -> str:
        """What is kept, in words."""
        if self.kept == "all":
            return "all"
        if self.kept == "listed":
            listed = {layer: list(heads) for layer, heads in self.listed.items()}
            return f"mean, and the listed heads: {heads_text(listed)}"
        return f"mean only: {self.reason}"

    def facts(self) -> dict[str, Any]:
        """The choice and its reason, as it is written into a manifest."""
        sums = max(_size(self.shape(own)) for own in self.passes)
        return {
            "heads": self.kept,
            "reason": self.reason,
            "listed": {str(layer): list(heads) for layer, heads in self.listed.items()},
            "passes": [[own.start, own.stop - 1] for own in self.passes],
            "layers_run_per_cell": self.layers_run,
            "budget_gib": self.budget_gib,
            "sums_gib": round(sums / GIBIBYTE, 4),
            "totals": self.totals,
        }


def plan_sums(
    *, layers: int, heads: int, genes: int, choice: str | Mapping[int, Sequence[int]], budget_gib: float
) -> SumsPlan:
    """Sums to hold for a choice of heads (see `heads_text`) within a budget of ``budget_gib`` GiB.

    ``auto`` keeps all heads if their sums fit at once, else the head mean; nothing else of the choice depends on the
    budget. What does not fit at once is cut into groups of layers, the smaller ones first because a pass runs every
    layer below its last. One layer is never cut: if it alone is larger than the budget, a warning says so.

    Raises
    ------
    ValueError
        If a listed head does not exist.
    """
    choice = heads_text(choice)
    room = int(budget_gib * GIBIBYTE)
    slab = _size((1, genes, genes))
    every = layers * heads * slab
    listed: dict[int, tuple[int, ...]] = {}
    kept: HeadsKept
    if choice == "auto":
        kept = "all" if every <= room else "mean"
        needed = f"the sums of all {layers * heads} heads need {every / GIBIBYTE:.3g} GiB"
        reason = f"{needed}, {'within' if kept == 'all' else 'above'} the memory budget of {budget_gib:g} GiB"
    elif choice in {"all", "mean"}:
        kept, reason = ("all" if choice == "all" else "mean"), f"heads: {choice} was asked for"
    else:
        kept, reason, listed = "listed", "these heads were asked for", _listed(choice, layers, heads)
    own = [(heads if kept == "all" else 1 + len(listed.get(layer, ()))) * slab for layer in range(layers)]
    if max(own) > room:
        warnings.warn(
            f"the sums of one layer need {max(own) / GIBIBYTE:.3g} GiB, more than the memory budget of {budget_gib:g} "
            "GiB; they are held all the same. Score fewer genes or keep fewer heads to stay within it",
            stacklevel=2,
        )
    passes = _passes(own, room)
    largest = max(sum(own[layer] for layer in group) for group in passes)
    return SumsPlan(
        layers=layers,
        heads=heads,
        genes=genes,
        kept=kept,
        listed=MappingProxyType(listed),
        passes=passes,
        totals="memory" if 2 * largest <= room else "disk",
        budget_gib=budget_gib,
        reason=reason,
    )


def keeps_all_heads(*, layers: int, heads: int, genes: int, budget_gib: float) -> bool:
    """Whether ``heads: auto`` keeps single heads."""
    return layers * heads * _size((1, genes, genes)) <= int(budget_gib * GIBIBYTE)


def _size(shape: tuple[int, int, int]) -> int:
    return shape[0] * shape[1] * shape[2] * 4


def _listed(choice: str, layers: int, heads: int) -> dict[int, tuple[int, ...]]:
    pairs = [tuple(map(int, word.split("."))) for word in choice.split(", ")]
    wrong = [f"{layer}.{head}" for layer, head in pairs if layer >= layers or head >= heads]
    if wrong:
        raise ValueError(
            f"head {', '.join(wrong)} does not exist: the model has {layers} layers of {heads} heads, counted from 0"
        )
    return {layer: tuple(head for at, head in pairs if at == layer) for layer in sorted({at for at, _ in pairs})}


def _passes(sizes: Sequence[int], room: int) -> tuple[range, ...]:
    """Consecutive layers whose sizes add up to at most ``room``, filled from the last layer downwards."""
    groups: list[range] = []
    stop = len(sizes)
    while stop:
        start = stop - 1
        while start and sum(sizes[start - 1 : stop]) <= room:
            start -= 1
        groups.append(range(start, stop))
        stop = start
    return tuple(reversed(groups))

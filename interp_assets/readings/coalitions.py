"""Parts of a model silenced in many combinations, each prefix of blocks run once.

What belongs here: components, the plan over coalitions, and one number read at the end of every sequence. What does
not: which coalitions are wanted, or what the numbers mean.

Coalitions are bit masks, as in `stats.games`: bit i says whether component i is silenced; 0 is the model as it is.
Two coalitions that agree up to a layer share every block up to it, so that all 2**K coalitions of K feed-forward
layers cost 2**(K + 1) - 2 blocks instead of K 2**K.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from interp_assets.models.adapter import TokenBatch
from interp_assets.models.interventions import Head, Intervention, InterventionModel, Output

if TYPE_CHECKING:
    import torch

GRANULARITIES: Final = ("mlp", "heads")
HEAD_COMPONENTS: Final = 24
BATCH_TOKENS: Final = {"cpu": 2048, "other": 32_768}


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """A part of one layer that is silenced as a whole: its feed-forward part (no ``heads``) or some of its heads."""

    layer: int
    heads: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        """Name such as ``mlp.3`` or ``heads.3.0-2``."""
        if not self.heads:
            return f"mlp.{self.layer}"
        last = f"-{self.heads[-1]}" if len(self.heads) > 1 else ""
        return f"heads.{self.layer}.{self.heads[0]}{last}"


def components_of(granularity: str, layers: int, heads: int) -> tuple[Component, ...]:
    """Components of a model: its feed-forward layers, or its heads in about 24 groups.

    Up to 24 heads stand alone. Beyond that every layer is cut into round(24 / layers) groups of neighbouring heads
    (one at least, sizes differ by one at most), as in the published 12 x 2 groups.

    >>> len(components_of("heads", 12, 8)), len(components_of("heads", 8, 8)), len(components_of("mlp", 8, 8))
    (24, 24, 8)
    """
    if granularity == "mlp":
        return tuple(Component(layer=layer) for layer in range(layers))
    if granularity != "heads":
        raise ValueError(f"granularity {granularity!r}: use {' or '.join(GRANULARITIES)}")
    groups = heads if layers * heads <= HEAD_COMPONENTS else min(heads, max(1, round(HEAD_COMPONENTS / layers)))
    parts = [tuple(int(head) for head in part) for part in np.array_split(np.arange(heads), groups)]
    return tuple(Component(layer=layer, heads=part) for layer in range(layers) for part in parts)


def silenced(components: Sequence[Component], coalition: int, layer: int) -> Intervention | None:
    """What a coalition silences in one layer; None for nothing."""
    within = [part for i, part in enumerate(components) if coalition >> i & 1 and part.layer == layer]
    zero: list[Head] = [(layer, head) for part in within for head in part.heads]
    mlp = (layer,) if any(not part.heads for part in within) else ()
    return Intervention(zero=tuple(zero), mlp=mlp) if zero or mlp else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sequences:
    """Token sequences (each n_i, int64), the place in each where the model predicts, and the token asked for there."""

    tokens: Sequence[NDArray[np.int64]]
    at: NDArray[np.int64]
    asked: NDArray[np.int64]

    def batches(self, padding: int, most: int) -> list[tuple[NDArray[np.int64], TokenBatch]]:
        """Sequences longest first in batches of at most ``most`` padded tokens, with their numbers."""
        lengths = np.array([tokens.size for tokens in self.tokens], dtype=np.int64)
        order = np.argsort(-lengths, kind="stable")
        found, start = [], 0
        while start < order.size:
            width = int(lengths[order[start]])
            chosen = order[start : start + max(1, most // width)]
            tokens = np.full((chosen.size, width), padding, dtype=np.int64)
            for row, number in enumerate(chosen):
                tokens[row, : lengths[number]] = self.tokens[number]
            found.append((chosen, TokenBatch(tokens=tokens, lengths=lengths[chosen])))
            start += chosen.size
        return found


def read_coalitions(
    model: InterventionModel,
    output: Output,
    sequences: Sequences,
    components: Sequence[Component],
    coalitions: Sequence[int],
    *,
    batch_tokens: int = 0,
    tell: Callable[[int], object] | None = None,
) -> NDArray[np.float64]:
    """Logit of the asked token at its place, for every coalition silenced (coalitions x sequences).

    ``batch_tokens`` bounds the padded tokens of a batch (0: by device); ``tell(n)`` is called after a batch of n
    sequences.
    """
    facts = model.describe()
    most = batch_tokens or BATCH_TOKENS["cpu" if facts.device == "cpu" else "other"]
    found = np.empty((len(coalitions), len(sequences.tokens)))
    for numbers, batch in sequences.batches(facts.padding, most):
        run = _Run(model, output, batch, components, (sequences.at[numbers], sequences.asked[numbers]))
        for place, values in run.read(coalitions):
            found[place, numbers] = values
        if tell is not None:
            tell(numbers.size)
    return found


class _Run:
    """One batch on its way through every coalition."""

    def __init__(
        self,
        model: InterventionModel,
        output: Output,
        batch: TokenBatch,
        components: Sequence[Component],
        asked: tuple[NDArray[np.int64], NDArray[np.int64]],
    ) -> None:
        self._model, self._output, self._components = model, output, components
        facts = model.describe()
        self._layers = facts.layers
        self._blocks = model.blocks(batch, form=facts.forms[0])
        self._asked = asked

    def read(self, coalitions: Sequence[int]) -> Iterable[tuple[int, NDArray[np.float64]]]:
        """Place of a coalition in the list, and its logits."""
        return self._from(0, self._blocks.start(), list(enumerate(coalitions)))

    def _from(
        self, layer: int, hidden: torch.Tensor, wanted: list[tuple[int, int]]
    ) -> Iterable[tuple[int, NDArray[np.float64]]]:
        if layer == self._layers:
            values = self._logits(hidden)
            yield from ((place, values) for place, _ in wanted)
            return
        alike: dict[Intervention | None, list[tuple[int, int]]] = {}
        for place, coalition in wanted:
            alike.setdefault(silenced(self._components, coalition, layer), []).append((place, coalition))
        for intervention, own in alike.items():
            with self._model.intervening(intervention):
                after = self._blocks.step(layer, hidden)
            yield from self._from(layer + 1, after, own)

    def _logits(self, hidden: torch.Tensor) -> NDArray[np.float64]:
        import torch

        at, asked = (torch.from_numpy(part).to(hidden.device) for part in self._asked)
        with torch.inference_mode():
            state = self._output.transform(hidden[torch.arange(at.numel(), device=hidden.device), at][:, None])[:, 0]
            logit = (state.float() * self._output.weight[asked].float()).sum(-1) + self._output.bias[asked].float()
        values: NDArray[np.float64] = logit.cpu().numpy().astype(np.float64)
        return values


def chain_coalitions(orders: NDArray[np.int64]) -> NDArray[np.int64]:
    """Coalitions along orders of joining (P x K), from nobody to everybody (P x (K + 1)).

    >>> chain_coalitions(np.array([[1, 0, 2]])).tolist()
    [[0, 2, 3, 7]]
    """
    joined = np.cumsum(np.left_shift(np.int64(1), orders.astype(np.int64)), axis=1)
    return np.concatenate([np.zeros((orders.shape[0], 1), dtype=np.int64), joined], axis=1)

"""Weights of the planted transformer: a Geneformer-layout encoder written down instead of trained.

What belongs here: where each kind of information lives in the hidden state, and the matrices that move it.
What does not: folders, manifests and where the planted scores come from (`planted_transformer`).

How it works, with R regulators dealt over the heads (regulator i answers in head i mod H, slot i div H):

1. The embedding of gene t holds the planted score of every regulator on t; that of a regulator also holds its
   head and slot.
2. Early layer, head h: a regulator of h attends its targets (softmax of slope x score) and writes how much
   planted score it found there into its own stream. Every other gene attends the start token.
3. Gate layer, MLP: where that amount is well above what uniform attention would find, the regulator's head
   and slot are written again, as a query for later layers.
4. Read-out layer, head h: queries with that second code, keys are planted scores again, so a regulator's row
   is proportional to exp(slope x score). A start token of large constant weight makes rows comparable between
   cells of different length. Without the second code a row follows a fixed random code instead, which
   carries nothing: ranking, unlike flatness, would otherwise survive.

Zeroing an early head, making it uniform or zeroing the gate MLP therefore removes the read-out of the
regulators that depend on it. Every head and MLP also flips a small constant part of the hidden state, so that
removing any of them moves the hidden state materially (cosine distance above .02). Layer norm stays a constant
scaling because every embedding has the same length.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float32]

PAD, MASK, START, END = 0, 1, 2, 3
SPECIALS = ("<pad>", "<mask>", "<cls>", "<eos>")

SCRATCH = DECOYS = 8
COMPENSATION = 4
RANDOM_UNITS = 8
EARLY_SLOPE = 6.0
EARLY_GATE = 25.0
READ_GATE = 25.0
SINK = 14.0
DECOY = 0.08
FLIP = 0.08
# Found score is written small, so that the length of a regulator's state hardly depends on the cell.
FOUND_WRITE = 0.25
FOUND_GAIN, FOUND_FLOOR, CODE_WEIGHT = 8.0 / FOUND_WRITE, 0.25, 20.0
FOUND_SHARE = 0.2
LOGIT_GAIN = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Places in the hidden state, for R regulators and H heads.

    ``score`` planted scores (R); ``slot``, ``head`` identity of a regulator; ``found`` what the early heads
    bring back (one place a slot); ``late_slot``, ``late_head`` the query of the read-out; ``flip_head``,
    ``flip_mlp`` the constant part every head and MLP turns over; ``start`` flag of the start token; ``one``
    the constant 1; ``even`` places that level sum and length; ``scratch`` a random code of each gene that
    idle heads and MLPs write to; ``decoy`` another one that nothing writes to.
    """

    regulators: int
    heads: int
    width: int
    head_width: int
    slots: int
    score: slice
    slot: slice
    head: slice
    found: slice
    late_slot: slice
    late_head: slice
    flip_head: slice
    flip_mlp: slice
    start: int
    one: int
    even: slice
    scratch: slice
    decoy: slice


def layout(regulators: int, heads: int = 8) -> Layout:
    """Layout for a number of regulators; width is a multiple of the number of heads.

    >>> layout(100).width, layout(400).width
    (192, 600)
    """
    if regulators < 1:
        raise ValueError("a planted transformer needs at least one regulator")
    slots = -(-regulators // heads)
    sizes = {
        "score": regulators,
        "slot": slots,
        "head": heads,
        "found": slots,
        "late_slot": slots,
        "late_head": heads,
        "flip_head": heads,
        "flip_mlp": 2,
        "flags": 2,
        "even": COMPENSATION,
        "scratch": SCRATCH,
        "decoy": DECOYS,
    }
    at: dict[str, slice] = {}
    end = 0
    for name, size in sizes.items():
        at[name] = slice(end, end + size)
        end += size
    flags = at.pop("flags").start
    head_width = max(-(-end // heads), slots + 1 + SCRATCH)
    return Layout(
        regulators=regulators,
        heads=heads,
        width=heads * head_width,
        head_width=head_width,
        slots=slots,
        start=flags,
        one=flags + 1,
        **at,
    )


def intermediate_size(regulators: int) -> int:
    """Units of every MLP: two a regulator, one constant, a few random; rounded up to a multiple of 8."""
    return -(-(2 * regulators + 1 + RANDOM_UNITS) // 8) * 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Layers that do something, and the slope of the read-out on the planted score."""

    layers: int
    early: int
    gate: int
    read_out: int
    slope: float = 1.0


class PlantedWeights:
    """Tensors of the planted transformer by their Geneformer names.

    Parameters
    ----------
    place, plan
        Where things live and which layers act.
    score
        Planted scores, R x genes, in units of a typical edge; 0 for the regulator itself.
    regulator_at
        Position of each regulator among the genes.
    positions
        Rows of the position embedding.
    """

    def __init__(
        self,
        place: Layout,
        plan: Plan,
        score: NDArray[np.float64],
        regulator_at: NDArray[np.int64],
        *,
        positions: int,
        rng: np.random.Generator,
    ) -> None:
        self.place, self.plan, self.rng = place, plan, rng
        index = np.arange(place.regulators)
        self.of_head, self.of_slot = index % place.heads, index // place.heads
        # Alternating signs keep the sum of an embedding small, which layer norm would otherwise subtract.
        self.sign = np.where(index % 2 == 0, 1.0, -1.0)
        self.score = score
        self.regulator_at = regulator_at
        self.positions = positions
        self.alternate = np.where(np.arange(place.heads) % 2 == 0, 1.0, -1.0)
        self.embedding, self.length = self._embedding()
        self.head_flip = np.sqrt(FLIP * self.length)
        self.mlp_flip = np.sqrt(FLIP * self.length / 2.0)

    def tensors(self) -> dict[str, Matrix]:
        """All tensors of the masked language model, the tied decoder left out as usual."""
        width = self.place.width
        found = {
            "bert.embeddings.word_embeddings.weight": self.embedding,
            "bert.embeddings.position_embeddings.weight": self._positions(),
            "bert.embeddings.token_type_embeddings.weight": np.zeros((2, width)),
            **self._norm("bert.embeddings.LayerNorm"),
        }
        for layer in range(self.plan.layers):
            found |= self._layer(layer)
        found |= self._prediction()
        return {name: np.ascontiguousarray(value, dtype=np.float32) for name, value in found.items()}

    def _embedding(self) -> tuple[NDArray[np.float64], float]:
        """Embeddings of equal length and zero sum, and their squared length."""
        place = self.place
        genes = self.score.shape[1]
        table = np.zeros((len(SPECIALS) + genes, place.width))
        body = table[len(SPECIALS) :]
        body[:, place.score] = (self.score * self.sign[:, None]).T
        body[self.regulator_at, place.slot.start + self.of_slot] = 1.0
        body[self.regulator_at, place.head.start + self.of_head] = 1.0
        table[:, place.scratch] = self.rng.normal(size=(len(table), SCRATCH))
        table[:, place.decoy] = self.rng.normal(size=(len(table), DECOYS))
        table[:, place.one] = 1.0
        table[START, place.start] = 1.0
        total = table.sum(axis=1)
        square = (table**2).sum(axis=1) + total**2 / COMPENSATION
        # The flipping parts take 2 FLIP (heads) and FLIP / 4 (MLP) of the squared length.
        heads, mlp = place.heads * FLIP / 4.0, FLIP / 4.0
        length = float(square.max() * 1.02 / (1.0 - heads - mlp))
        table[:, place.flip_head] = -self.alternate * np.sqrt(FLIP * length) / 2.0
        table[:, place.flip_mlp] = np.array([-1.0, 1.0]) * np.sqrt(FLIP * length / 2.0) / 2.0
        rest = np.sqrt((length * (1.0 - heads - mlp) - square) / COMPENSATION)
        pattern = np.where(np.arange(COMPENSATION) % 2 == 0, 1.0, -1.0)
        table[:, place.even] = -total[:, None] / COMPENSATION + rest[:, None] * pattern
        return table, length

    def _positions(self) -> NDArray[np.float64]:
        table = np.zeros((self.positions, self.place.width))
        table[:, self.place.scratch] = self.rng.normal(0.0, 0.05, size=(self.positions, SCRATCH))
        return self._level(table.T).T

    def _level(self, written: NDArray[np.float64]) -> NDArray[np.float64]:
        """The same matrix (width x inputs) with every column made to write a zero sum.

        Layer norm subtracts the mean of a state; without this a strong write would reach every other place.
        """
        written[self.place.even] -= written.sum(axis=0) / COMPENSATION
        return written

    def _norm(self, name: str) -> dict[str, NDArray[np.float64]]:
        """Layer norm that restores the common length: a constant scaling for states of zero sum."""
        width = self.place.width
        return {f"{name}.weight": np.full(width, np.sqrt(self.length / width)), f"{name}.bias": np.zeros(width)}

    def _layer(self, layer: int) -> dict[str, NDArray[np.float64]]:
        place = self.place
        query, key, value, out = (np.zeros((place.width, place.width)) for _ in range(4))
        for head in range(place.heads):
            rows = slice(head * place.head_width, (head + 1) * place.head_width)
            q, k, v, o = query[rows], key[rows], value[rows], out[:, rows]
            k[place.slots, place.start] = 1.0
            if layer == self.plan.early:
                self._early_head(head, q, k, v, o)
            elif layer == self.plan.read_out:
                self._read_out_head(head, q, k)
            else:
                # An idle head attends every gene alike: a code of its own would rank genes by chance, the same way
                # for all regulators, and on a reference of few pairs such a head can outrank one that carries some.
                q[place.slots, place.one] = SINK
                # Drawn and not used: the codes of the other layers stay those that the bands were measured on.
                self.rng.normal(size=(SCRATCH, SCRATCH))
                self._random_write(v, o)
            v[place.slots, place.start] = 1.0
            o[place.flip_head.start + head, place.slots] = self._turn(layer) * self.alternate[head] * self.head_flip
            q *= np.sqrt(place.head_width)
        prefix = f"bert.encoder.layer.{layer}"
        dense = {
            f"{prefix}.attention.self.query": query,
            f"{prefix}.attention.self.key": key,
            f"{prefix}.attention.self.value": value,
            f"{prefix}.attention.output.dense": self._level(out),
        }
        found = {f"{name}.weight": weight for name, weight in dense.items()}
        found |= {f"{name}.bias": np.zeros(place.width) for name in dense}
        found |= self._norm(f"{prefix}.attention.output.LayerNorm")
        return found | self._mlp(layer, prefix) | self._norm(f"{prefix}.output.LayerNorm")

    @staticmethod
    def _turn(layer: int) -> float:
        return 1.0 if layer % 2 == 0 else -1.0

    def _own(self, head: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Regulators of a head and their slots."""
        own = np.flatnonzero(self.of_head == head)
        return own, self.of_slot[own]

    def _early_head(
        self,
        head: int,
        q: NDArray[np.float64],
        k: NDArray[np.float64],
        v: NDArray[np.float64],
        o: NDArray[np.float64],
    ) -> None:
        place = self.place
        own, slot = self._own(head)
        q[slot, place.slot.start + slot] = EARLY_SLOPE
        k[slot, own] = self.sign[own]
        q[place.slots, place.one] = EARLY_GATE
        q[place.slots, place.head.start + head] = -EARLY_GATE
        uniform, found = self._expected(own)
        # A regulator whose scores are all alike finds nothing anywhere and stays silent.
        gain = np.divide(1.0, found - uniform, out=np.zeros(len(own)), where=found > uniform)
        level = uniform + FOUND_SHARE * (found - uniform)
        v[slot, own] = self.sign[own] * gain
        v[slot, place.one] = -level * gain
        v[slot, place.start] = level * gain
        o[place.found.start + slot, slot] = FOUND_WRITE

    def _expected(self, own: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Score found by uniform attention and by the early head, over all genes, per regulator."""
        score = self.score[own]
        weight = np.exp(EARLY_SLOPE * (score - score.max(axis=1, keepdims=True)))
        weight /= weight.sum(axis=1, keepdims=True)
        return score.mean(axis=1), (weight * score).sum(axis=1)

    def _read_out_head(self, head: int, q: NDArray[np.float64], k: NDArray[np.float64]) -> None:
        place, slope = self.place, self.plan.slope
        own, slot = self._own(head)
        q[slot, place.late_slot.start + slot] = slope
        k[slot, own] = self.sign[own]
        # The start token outweighs five times the densest row, so that row sums hardly depend on the cell.
        constant = np.log(5.0 * np.exp(slope * self.score).sum(axis=1).max())
        q[place.slots, place.one] = constant
        # Closed by the code of another head, not by the absence of its own: a regulator without a late code then
        # stays at the same level in every cell, whatever an intervention did to the length of its state.
        others = np.arange(place.heads) != head
        q[place.slots, place.late_head][others] = READ_GATE
        self._random_code(q, k, place.decoy, spread=DECOY)

    def _random_code(self, q: NDArray[np.float64], k: NDArray[np.float64], code: slice, spread: float) -> None:
        """Scores between genes that depend on their random codes only, standard deviation `spread`."""
        place = self.place
        rows = slice(place.slots + 1, place.slots + 1 + SCRATCH)
        q[rows, code] = self.rng.normal(0.0, spread / SCRATCH, size=(SCRATCH, SCRATCH))
        k[rows, code] = np.eye(SCRATCH)

    def _random_write(self, v: NDArray[np.float64], o: NDArray[np.float64]) -> None:
        place = self.place
        rows = slice(place.slots + 1, place.slots + 1 + SCRATCH)
        v[rows, place.scratch] = np.eye(SCRATCH)
        o[place.scratch, rows] = self.rng.normal(0.0, 0.05, size=(SCRATCH, SCRATCH))

    def _mlp(self, layer: int, prefix: str) -> dict[str, NDArray[np.float64]]:
        place, regulators = self.place, self.place.regulators
        units = intermediate_size(regulators)
        into, back = np.zeros((units, place.width)), np.zeros((place.width, units))
        if layer == self.plan.gate:
            self._gate_units(into, back)
        constant = 2 * regulators
        into[constant, place.one] = 1.0
        back[place.flip_mlp, constant] = self._turn(layer) * np.array([1.0, -1.0]) * self.mlp_flip
        random = slice(constant + 1, constant + 1 + RANDOM_UNITS)
        into[random, place.scratch] = self.rng.normal(0.0, 0.3, size=(RANDOM_UNITS, SCRATCH))
        back[place.scratch, random] = self.rng.normal(0.0, 0.05, size=(SCRATCH, RANDOM_UNITS))
        return {
            f"{prefix}.intermediate.dense.weight": into,
            f"{prefix}.intermediate.dense.bias": np.zeros(units),
            f"{prefix}.output.dense.weight": self._level(back),
            f"{prefix}.output.dense.bias": np.zeros(place.width),
        }

    def _gate_units(self, into: NDArray[np.float64], back: NDArray[np.float64]) -> None:
        """Two units a regulator, relu(x) - relu(x - 1): on when its own code and enough found score meet.

        Thresholds are taken from the constant 1 in the state, not from a bias, so that a state rescaled by layer
        norm (after an intervention) does not cross them.
        """
        place = self.place
        index = np.arange(place.regulators)
        for unit, floor in ((index, FOUND_FLOOR), (place.regulators + index, FOUND_FLOOR + 1.0)):
            into[unit, place.found.start + self.of_slot] = FOUND_GAIN
            into[unit, place.slot.start + self.of_slot] = CODE_WEIGHT
            into[unit, place.head.start + self.of_head] = CODE_WEIGHT
            into[unit, place.one] = -2.0 * CODE_WEIGHT - floor
            turn = 1.0 if floor == FOUND_FLOOR else -1.0
            back[place.late_slot.start + self.of_slot, unit] = turn
            back[place.late_head.start + self.of_head, unit] = turn

    def _prediction(self) -> dict[str, NDArray[np.float64]]:
        """Head for masked tokens: at a regulator whose late code is on, its planted targets become likelier."""
        place = self.place
        name = "cls.predictions.transform"
        dense = np.zeros((place.width, place.width))
        index = np.arange(place.regulators)
        dense[index, place.late_slot.start + self.of_slot] = 1.0
        dense[index, place.late_head.start + self.of_head] = 1.0
        dense[index, place.one] = -1.0
        bias = np.zeros(place.width)
        bias[place.even.start] = 10.0
        mean, spread = bias.mean(), bias.std()
        weight, shift = np.zeros(place.width), np.zeros(place.width)
        weight[place.score] = LOGIT_GAIN * spread * self.sign
        shift[place.score] = LOGIT_GAIN * mean * self.sign
        return {
            f"{name}.dense.weight": dense,
            f"{name}.dense.bias": bias,
            f"{name}.LayerNorm.weight": weight,
            f"{name}.LayerNorm.bias": shift,
            "cls.predictions.bias": np.zeros(len(self.embedding)),
        }

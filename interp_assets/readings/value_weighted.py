"""Value-weighted edges: how alike the context vectors of two genes are, in every layer, beside attention itself.

What belongs here: one pass of the model over some control cells, sums over gene pairs, and attention and correlation
of these same cells. What does not: any comparison of the scores (`analyses.value_weighted`).

The context vector of a token in a head is its softmax weights times the values, before the output projection: what
the head tells the token. Attention says where a head looks, the context vector what it brings back (paper section 6,
E2). It is captured where every attention function passes it on (`models.interventions.capturing`), so that any model
with an adapter can be read.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from interp_assets.edges.scores import spearman_edges
from interp_assets.interventions.cells import encoded_cells, subset
from interp_assets.models.adapter import SCORE_FAMILIES, AttentionModel, LayerAttention, TokenBatch, load_model
from interp_assets.models.attention.extraction import MASS_TOLERANCE, check_mass
from interp_assets.models.attention.kernel import Positions, add_attention
from interp_assets.models.attention.plan import ScoredCells, batch_positions, pair_counts, plan_batches, token_batch
from interp_assets.models.attention.pooling import both_orders, pooled_turns
from interp_assets.models.attention.settings import resolve_device
from interp_assets.models.interventions import capturing
from interp_assets.readings.records import ReadData, Reading, ReadingContext

if TYPE_CHECKING:
    import torch

ROLE: Final = "primary_screen"
VARIANTS: Final = ("cosine", "centroid", "dot")
BATCH_TOKENS: Final = 4096
GIBIBYTE: Final = 2**30
NO_MODEL: Final = "a table of finished scores has no model whose context vectors could be read"
NO_CONTEXT: Final = "the adapter of this model hands over no context vectors, so there are no value-weighted edges"


def read(context: ReadingContext) -> Reading | str:
    """Value-weighted edges of the primary screen's control cells; or why there are none.

    Arrays, with G evaluable genes, L layers, N cells; a mean over cells is over those that hold both genes, NaN where
    none does. c_h(g) is the context vector of gene g in head h, the mean over its tokens where it has several. Of a
    model that looks back, attention pools both orders of a pair, as the extraction does.

    - ``genes`` (G) names, ``cells`` (N) positions among the prepared cells, ``cells_behind`` (G x G int32);
    - ``cosine`` (L x G x G float32): cos(c_h(g), c_h(t)), mean over heads, then over cells;
    - ``centroid``: cosine of the cell means of c_h(g) and c_h(t), each over the cells that hold the gene, mean over
      heads; NaN only where a gene stands in no cell;
    - ``dot``: c_h(g) . c_h(t), mean over heads, then over cells;
    - ``attention``: softmax weight from g (row) to t, mean over heads, then over cells, as in the extraction;
    - ``correlation`` (G x G): absolute Spearman correlation over the same cells.

    A vector of length 0 points nowhere: its cosine counts as 0, and ``facts`` states the share of such vectors. At most
    ``value_cells`` cells (0: all) are read; beyond that they are drawn at random from the seed. Running sums of as many
    layers as fit in the memory of the study are held at once, for which the model runs again over the same cells.
    """
    if context.release.family in SCORE_FAMILIES:
        return NO_MODEL
    data = context.data.get(ROLE)
    if data is None:
        return context.absent.get(ROLE, f"study {context.study} fills no role {ROLE}")
    device = resolve_device(context.device)
    model = load_model(context.release, device=device, dtype=context.dtype, encoding=context.encoding)
    asked = _asked(model, data, int(context.settings["value_cells"]), np.random.default_rng([context.seed, 2, 18]))
    if isinstance(asked, str):
        return asked
    arrays = _read_layers(model, asked, context.memory_gib, context.release.name)
    if isinstance(arrays, str):
        return arrays
    zero = float(arrays.pop("zero"))
    control = np.zeros(data.cells.control.size, dtype=bool)
    control[asked.positions] = True
    same = data.cells if not asked.drawn else replace(data.cells, control=control)
    arrays |= {"genes": asked.genes, "cells": asked.positions}
    arrays["correlation"] = spearman_edges(same, asked.genes).score.astype(np.float32)
    facts = model.describe()
    return Reading(
        arrays=arrays,
        facts={
            "dataset": data.cells.dataset,
            "cells_hash": data.cells.cells_hash,
            "cells_control": int(np.count_nonzero(data.cells.control)),
            "cells_used": int(asked.positions.size),
            "cells_drawn": asked.drawn,
            "value_cells": int(context.settings["value_cells"]),
            "tokens": int(asked.cells.encoded.lengths.sum()),
            "genes": int(asked.genes.size),
            "missing_pair_share": float((arrays["cells_behind"] == 0).mean()),
            "zero_vector_share": zero,
            "layers": facts.layers,
            "heads": facts.heads,
            "device": facts.device,
            "dtype": facts.dtype,
        },
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """Cells and genes that are read; ``drawn``: some control cells that hold a scored gene were left out."""

    cells: ScoredCells
    genes: NDArray[np.str_]
    positions: NDArray[np.int64]
    drawn: bool


def _asked(model: AttentionModel, data: ReadData, most: int, rng: np.random.Generator) -> _Asked | str:
    cells = data.cells
    known = set(cells.genes[model.known(cells.genes)].tolist())
    genes = np.array([gene for gene in cells.universe if str(gene) in known], dtype=np.str_)
    if genes.size < 2:
        return (
            f"dataset {cells.dataset}: {genes.size} of its {len(cells.universe)} scored genes are in the vocabulary of "
            "the release; at least 2 are needed"
        )
    scored = encoded_cells(model, cells, genes)
    used = np.sort(scored.used)
    if used.size == 0:
        return f"dataset {cells.dataset}: no control cell holds a scored gene"
    drawn = 0 < most < used.size
    chosen = np.sort(rng.permutation(used)[:most]) if drawn else used
    control = np.flatnonzero(cells.control)
    return _Asked(
        cells=subset(scored, chosen), genes=genes, positions=control[chosen].astype(np.int64), drawn=bool(drawn)
    )


def _read_layers(model: AttentionModel, asked: _Asked, memory_gib: float, label: str) -> dict[str, Any] | str:
    from tqdm import tqdm

    facts, genes = model.describe(), asked.genes.size
    counts = pair_counts(asked.cells)
    names = (*VARIANTS, "attention")
    found: dict[str, Any] = {name: np.empty((facts.layers, genes, genes), dtype=np.float32) for name in names}
    at_once = max(1, int(memory_gib * GIBIBYTE / (4 * genes * (3 * genes + facts.width))))
    groups = [range(first, min(first + at_once, facts.layers)) for first in range(0, facts.layers, at_once)]
    batches = plan_batches(asked.cells, BATCH_TOKENS, BATCH_TOKENS).batches
    zero = total = 0
    with tqdm(total=len(groups) * len(batches), unit="batch", desc=f"context vectors of {label}", disable=None) as bar:
        for layers in groups:
            sums = _Sums(layers, genes, facts.device, causal=facts.direction == "causal")
            for cells in batches:
                _run(model, asked.cells, cells, sums, facts.dtype)
                bar.update()
            if sums.vectors == 0:
                return NO_CONTEXT
            for name, values in sums.means(counts).items():
                found[name][layers.start : layers.stop] = values
            zero, total = zero + sums.zero, total + sums.vectors
    return found | {"cells_behind": counts, "zero": zero / total}


def _run(model: AttentionModel, scored: ScoredCells, cells: NDArray[np.int64], sums: _Sums, dtype: str) -> None:
    """One batch through the model, its attention and context vectors added to the sums."""
    facts = model.describe()
    batch = token_batch(scored, cells, facts.padding)
    sums.open(batch_positions(scored, cells))

    def sink(layer: int, attention: LayerAttention, batch: TokenBatch = batch) -> None:
        if layer in sums.layers:
            check_mass(attention, batch, layer, MASS_TOLERANCE[dtype])
            sums.add_attention(layer, attention)

    with capturing(sums.add_context):
        model.attend(batch, sink, form=facts.forms[0])


class _Sums:
    """Running sums over cells of some layers, all genes x genes but the summed vectors (G x D)."""

    def __init__(self, layers: range, genes: int, device: str, *, causal: bool = False) -> None:
        import torch

        self.layers, self.heads, self.zero, self.vectors = layers, 0, 0, 0
        self._device, self._genes, self._causal = device, genes, causal
        shape = (len(layers), genes, genes)
        self.cosine, self.dot, self.attention = (
            torch.zeros(shape, dtype=torch.float32, device=device) for _ in range(3)
        )
        self.vector: torch.Tensor | None = None
        self._positions: Positions | None = None
        self._cells: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor | None]] = []

    def open(self, positions: Positions) -> None:
        """Say where the scored genes of the next batch stand."""
        import torch

        self._positions = positions
        where, gene, offsets = (part.astype(np.int64) for part in positions)
        self._cells = []
        for cell in range(offsets.size - 1):
            own = slice(offsets[cell], offsets[cell + 1])
            names, place = np.unique(gene[own], return_inverse=True)
            pair = (names[:, None] * self._genes + names[None, :]).ravel()
            at, named, flat, of = (torch.from_numpy(part).to(self._device) for part in (where[own], names, pair, place))
            self._cells.append((at, named, flat, of if names.size < place.size else None))

    def add_attention(self, layer: int, attention: LayerAttention) -> None:
        """Add the sum over heads of the softmax weights of one layer."""
        if self._positions is None:
            raise ValueError("attention came before the positions of its batch were given")
        own = self.attention[layer - self.layers.start]
        add_attention(own, attention, self._positions, heads=False)

    def add_context(self, layer: int, context: torch.Tensor) -> None:
        """Add cosines, dot products and vectors of one layer; ``context`` is B x H x S x d."""
        import torch

        if layer not in self.layers:
            return
        own, heads = layer - self.layers.start, int(context.shape[1])
        if self.vector is None:
            shape = (len(self.layers), self._genes, heads * int(context.shape[3]))
            self.heads, self.vector = heads, torch.zeros(shape, dtype=torch.float32, device=self._device)
        for cell, (where, gene, pair, of) in enumerate(self._cells):
            vectors = context[cell].index_select(1, where).transpose(0, 1).float()  # n x H x d
            if of is not None:
                vectors = pooled_turns(vectors, of, int(gene.numel()), 0, mean=True)
            unit, zero = _units(vectors)
            self.zero, self.vectors = self.zero + zero, self.vectors + heads * int(gene.numel())
            flat, directions = vectors.flatten(1), unit.flatten(1)
            self.vector[own].index_add_(0, gene, flat)
            # one product of all heads at once: the sum over heads of their products
            self.cosine[own].view(-1).index_add_(0, pair, (directions @ directions.T).view(-1))
            self.dot[own].view(-1).index_add_(0, pair, (flat @ flat.T).view(-1))

    def means(self, counts: NDArray[np.int32]) -> dict[str, NDArray[np.float32]]:
        """Means over heads and over the cells that hold both genes (layers x G x G); NaN where none does."""
        import torch

        if self.vector is None:
            raise ValueError("no context vector was captured")
        behind = torch.from_numpy(counts).to(self._device)
        held = behind.diagonal()[:, None]
        found: dict[str, Any] = {}
        for name in ("cosine", "dot", "attention"):
            sums: torch.Tensor = getattr(self, name)
            if name == "attention" and self._causal:
                sums = torch.from_numpy(both_orders(sums.cpu().numpy())).to(self._device)
            found[name] = torch.where(behind > 0, sums / (behind * self.heads), torch.nan)
        centre = torch.where(held > 0, self.vector / held, torch.nan).view(*self.vector.shape[:2], self.heads, -1)
        directions = _units(centre)[0].flatten(2)
        found["centroid"] = directions @ directions.transpose(1, 2) / self.heads
        return {name: values.cpu().numpy() for name, values in found.items()}


def _units(vectors: torch.Tensor) -> tuple[torch.Tensor, int]:
    """Vectors at unit length, those of length 0 as they are, and the number of the latter."""
    length = vectors.norm(dim=-1, keepdim=True)
    zero = length == 0
    return vectors / length.masked_fill(zero, 1.0), int(zero.sum())

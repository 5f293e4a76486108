"""Ways of reading the attention of a random model: the extraction of the platform, and what is done today."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import BertConfig, BertModel

from interp_assets.models.adapter import EncodedCells, LayerSink, ModelFacts, TokenBatch
from interp_assets.models.attention.extraction import _full_precision
from interp_assets.models.attention.kernel import available_forms, register_streaming, streaming
from interp_assets.models.attention.plan import plan_batches, score_cells, token_batch
from interp_assets.models.attention.run import ExtractionRun
from interp_assets.models.attention.settings import ExtractionSettings
from interp_assets.models.attention.sums import ShardSums
from interp_assets.models.families.bert_blocks import BertBlocks, device_tokens, use_form

ON_PROCESSOR = ExtractionSettings(device="cpu", dtype="float32", progress=False, batch_tokens=2048)


@dataclass(frozen=True, kw_only=True)
class Size:
    """A random model, and cells of that many tokens of which a share is scored."""

    layers: int
    heads: int
    width: int
    tokens: tuple[int, int]
    genes: int
    scored: float
    cells: int
    inner: int = 2

    @property
    def told(self) -> str:
        low, high = self.tokens
        span = str(high) if low == high else f"{low}-{high}"
        share = "all tokens scored" if self.scored == 1 else f"{self.scored:.0%} of tokens scored"
        return f"{self.layers} layers x {self.heads} heads x {self.width}, {span} tokens, {share}, {self.genes} genes"


SMALL = Size(layers=6, heads=4, width=256, tokens=(320, 512), genes=2000, scored=1.0, cells=8)
PARTLY = replace(SMALL, scored=0.4)
SHORT = Size(layers=4, heads=4, width=128, tokens=(128, 128), genes=1200, scored=1.0, cells=32)
# The shape of Geneformer V2-316M.
FULL = Size(layers=18, heads=18, width=1152, inner=4, tokens=(2048, 2048), genes=2000, scored=0.9, cells=16)


class BertUnderTest:
    """A random BERT encoder as the extraction sees a model."""

    def __init__(self, size: Size, device: str, dtype: str) -> None:
        config = BertConfig(
            vocab_size=2 * size.genes + 4, hidden_size=size.width, num_hidden_layers=size.layers, hidden_act="relu",
            num_attention_heads=size.heads, intermediate_size=size.inner * size.width,
            max_position_embeddings=size.tokens[1],
        )  # fmt: skip
        torch.manual_seed(0)
        self.bert = BertModel(config, add_pooling_layer=False).eval().to(device, getattr(torch, dtype))
        register_streaming()
        self._facts = ModelFacts(
            family="geneformer", layers=size.layers, heads=size.heads, width=size.width, vocabulary=config.vocab_size,
            max_length=size.tokens[1], direction="bidirectional", attention="softmax", forms=available_forms(device),
            dtype=dtype, device=device, gene_key="symbol",
        )  # fmt: skip

    def describe(self) -> ModelFacts:
        return self._facts

    def attend(self, batch: TokenBatch, sink: LayerSink, *, form: str) -> None:
        use_form(self.bert, form)
        tokens, valid = device_tokens(batch, self._facts.device)
        with torch.inference_mode(), streaming(sink):
            self.bert(input_ids=tokens, attention_mask=valid)

    def blocks(self, batch: TokenBatch, *, form: str) -> BertBlocks:
        return BertBlocks(self.bert, batch, form, self._facts.device)

    # the rest of what an `InterventionModel` has; nothing here calls it
    known = encode = intervening = output = gene_tokens = None

    @torch.inference_mode()
    def forward(self, batch: TokenBatch) -> None:
        self.bert.set_attn_implementation("sdpa")
        tokens, valid = device_tokens(batch, self._facts.device)
        self.bert(input_ids=tokens, attention_mask=valid if batch.padded else None)

    @torch.inference_mode()
    def eager(self, tokens: np.ndarray) -> tuple[torch.Tensor, ...]:
        self.bert.set_attn_implementation("eager")
        return self.bert(input_ids=torch.from_numpy(tokens.astype(np.int64))[None], output_attentions=True).attentions


def random_cells(size: Size) -> EncodedCells:
    """Cells between two special tokens; token = gene + 4, the scored genes come first in the dictionary."""
    rng = np.random.default_rng(0)
    rows = []
    for inside in rng.integers(size.tokens[0], size.tokens[1] + 1, size.cells) - 2:
        scored = min(size.genes, round(inside * size.scored))
        others = size.genes + rng.permutation(size.genes)[: inside - scored]
        own = rng.permutation(np.concatenate([rng.permutation(size.genes)[:scored], others]))
        rows.append(np.concatenate([[-1], own, [-1]]))
    column = np.concatenate(rows).astype(np.int32)
    offsets = np.cumsum([0, *map(len, rows)], dtype=np.int64)
    return EncodedCells(tokens=np.where(column < 0, 2, column + 4).astype(np.int32), column=column, offsets=offsets)


class Readings:
    """Every way of reading the same cells; each call reads all of them once."""

    def __init__(self, size: Size, settings: ExtractionSettings = ON_PROCESSOR) -> None:
        self.size, self.settings = size, settings
        self.model = BertUnderTest(size, settings.device, settings.dtype)
        self.encoded = random_cells(size)
        self.cells = score_cells(self.encoded, np.arange(size.genes))
        self.plan = plan_batches(self.cells, settings.batch_tokens, 10**9)

    def forward(self) -> None:
        """The plain fused forward pass, which gives no attention."""
        for batch in self.plan.batches:
            self.model.forward(token_batch(self.cells, batch))

    def run(self, heads: str, **changes: Any) -> ExtractionRun:
        settings = replace(self.settings, heads=heads, memory_budget_gib=1e3, **changes)
        return ExtractionRun(
            model=self.model, cells=self.cells, settings=settings, folder=Path(), key="", label="benchmark"
        )

    def sums(self, heads: str, **changes: Any) -> Callable[[], np.ndarray]:
        """The extraction batch by batch, without files; its sums are made once, as in a run over many cells."""
        run = self.run(heads, **changes)
        layers = range(self.size.layers)
        sums = ShardSums(run.sums.shape(layers), self.settings.device)

        def way() -> np.ndarray:
            with _full_precision(self.settings.device):
                for batch in self.plan.batches:
                    run._add(batch, sums, layers)
            return sums.tensor(slice(None)).cpu().numpy()

        return way

    def stored(self, heads: str, budget_gib: float) -> None:
        """The extraction with its files, as a run does it."""
        settings = replace(self.settings, heads=heads, memory_budget_gib=budget_gib, cells_per_shard=4)
        with tempfile.TemporaryDirectory() as folder, _full_precision(self.settings.device):
            ExtractionRun(
                model=self.model, cells=self.cells, settings=settings, folder=Path(folder), key="", label="benchmark"
            ).run()

    def eager(self) -> np.ndarray:
        """Sums of every cell's outputs (layers x heads x genes x genes), mapped to genes and dropped cell by cell."""
        sums = self._eager_sums
        for cell in range(self.encoded.offsets.size - 1):
            self._map(sums, cell, [weights[0].numpy() for weights in self._outputs(cell)])
        return sums

    def listed(self) -> np.ndarray:
        """The same sums from a list of every cell's outputs, mapped at the end."""
        kept = [
            [weights[0].numpy() for weights in self._outputs(cell)] for cell in range(self.encoded.offsets.size - 1)
        ]
        sums = self._eager_sums
        for cell, layers in enumerate(kept):
            self._map(sums, cell, layers)
        return sums

    @functools.cached_property
    def _eager_sums(self) -> np.ndarray:
        """Sums of both eager ways; made once, as ours are, so that every call adds to them."""
        return np.zeros((self.size.layers, self.size.heads, self.size.genes, self.size.genes), dtype=np.float32)

    def _span(self, cell: int) -> slice:
        return slice(self.encoded.offsets[cell], self.encoded.offsets[cell + 1])

    def _outputs(self, cell: int) -> tuple[torch.Tensor, ...]:
        return self.model.eager(self.encoded.tokens[self._span(cell)])

    def _map(self, sums: np.ndarray, cell: int, layers: list[np.ndarray]) -> None:
        column = self.encoded.column[self._span(cell)]
        where = np.flatnonzero((column >= 0) & (column < self.size.genes))
        for layer, weights in enumerate(layers):
            sums[layer][:, column[where][:, None], column[where]] += weights[:, where[:, None], where]

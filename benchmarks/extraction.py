"""What reading attention costs beside the forward pass alone, and beside eager ``output_attentions``.

Prints milliseconds a cell and ratios to the plain sdpa forward of the same round. All ways run interleaved in one
process, in an order drawn anew every round: timings of different processes, and of a baseline that runs first,
do not compare.

    python benchmarks/extraction.py [--layers 8 --heads 8 --hidden 128 --tokens 256 --genes 1200 --rounds 7]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from transformers import BertConfig, BertModel

from interp_assets.models.adapter import EncodedCells
from interp_assets.models.attention import _thread_limits
from interp_assets.models.attention_kernel import (
    IMPLEMENTATION,
    add_logsumexp,
    add_softmax,
    register_streaming,
    streaming,
)
from interp_assets.models.attention_plan import (
    batch_positions,
    plan_batches,
    score_cells,
    token_batch,
)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, value in {
        "layers": 8, "heads": 8, "hidden": 128, "tokens": 256, "genes": 1200, "vocabulary": 2000,
        "cells": 16, "batch-tokens": 2048, "threads": 2, "rounds": 7,
    }.items():  # fmt: skip
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--scored", type=float, default=1.0, help="share of a cell's tokens that are scored genes")
    parser.add_argument("--cpu-time", action="store_true", help="CPU instead of wall time, for a busy machine")
    return parser.parse_args()


def random_cells(rng: np.random.Generator, options: argparse.Namespace) -> EncodedCells:
    """Cells of full length; the first and last token are special, the scored genes come first in the dictionary."""
    inside = options.tokens - 2
    scored = min(options.genes, round(inside * options.scored))
    rows = [
        np.concatenate([
            rng.permutation(options.genes)[:scored],
            options.genes + rng.permutation(options.vocabulary - options.genes)[: inside - scored],
        ])
        for _ in range(options.cells)
    ]  # fmt: skip
    column = np.concatenate([np.concatenate([[-1], rng.permutation(row), [-1]]) for row in rows]).astype(np.int32)
    offsets = np.arange(options.cells + 1, dtype=np.int64) * options.tokens
    return EncodedCells(tokens=np.where(column < 0, 2, column + 4).astype(np.int32), column=column, offsets=offsets)


def ways(bert: BertModel, encoded: EncodedCells, options: argparse.Namespace) -> dict[str, Callable[[], None]]:
    cells = score_cells(encoded, np.arange(options.genes))
    plan = plan_batches(cells, options.batch_tokens, 10**9)
    prepared = [(token_batch(cells, batch), batch_positions(cells, batch)) for batch in plan.batches]
    genes = options.genes
    per_head = np.zeros((options.layers, options.heads, genes, genes), dtype=np.float32)
    head_sum = np.zeros((options.layers, genes, genes), dtype=np.float32)

    def forward() -> None:
        bert.set_attn_implementation("sdpa")
        for batch, _ in prepared:
            bert(input_ids=torch.from_numpy(batch.tokens))

    def kernel(sums: np.ndarray, heads: bool) -> None:
        bert.set_attn_implementation(IMPLEMENTATION["logsumexp"])
        for batch, positions in prepared:
            with streaming(lambda layer, found, p=positions: add_logsumexp(sums[layer], found, p, heads=heads)):
                bert(input_ids=torch.from_numpy(batch.tokens))

    def softmax() -> None:
        bert.set_attn_implementation(IMPLEMENTATION["softmax"])
        sums = torch.from_numpy(per_head)
        for batch, positions in prepared:
            with streaming(lambda layer, found, p=positions: add_softmax(sums[layer], found, p, heads=True)):
                bert(input_ids=torch.from_numpy(batch.tokens))

    def eager() -> None:
        bert.set_attn_implementation("eager")
        for cell in range(options.cells):
            own = slice(encoded.offsets[cell], encoded.offsets[cell + 1])
            found = bert(
                input_ids=torch.from_numpy(encoded.tokens[own].astype(np.int64))[None], output_attentions=True
            ).attentions
            where = np.flatnonzero((encoded.column[own] >= 0) & (encoded.column[own] < genes))
            gene = encoded.column[own][where]
            for layer, weights in enumerate(found):
                block = weights[0].numpy()[:, where[:, None], where]
                per_head[layer][:, gene[:, None], gene] += block

    return {
        "forward (sdpa)": forward,
        "kernel, every head": lambda: kernel(per_head, True),
        "kernel, head mean": lambda: kernel(head_sum, False),
        "full softmax, every head": softmax,
        "eager output_attentions, a cell at a time": eager,
    }


def main() -> None:
    options = arguments()
    rng = np.random.default_rng(0)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=options.vocabulary + 4,
        hidden_size=options.hidden,
        num_hidden_layers=options.layers,
        num_attention_heads=options.heads,
        intermediate_size=2 * options.hidden,
        max_position_embeddings=options.tokens,
        hidden_act="relu",
    )
    bert = BertModel(config, add_pooling_layer=False).eval()
    register_streaming()
    clock = time.process_time if options.cpu_time else time.perf_counter
    timings: dict[str, list[float]] = {}
    with torch.inference_mode(), _thread_limits(options.threads):
        table = ways(bert, random_cells(rng, options), options)
        for run in table.values():
            run()
        for _ in range(options.rounds):
            for name in rng.permutation(list(table)):
                start = clock()
                table[name]()
                timings.setdefault(name, []).append(1000 * (clock() - start) / options.cells)
    forward = np.array(timings["forward (sdpa)"])
    print(f"{'way':44}{'ms a cell':>10}{'ratio':>8}   range of paired ratios")
    for name in table:
        own = np.array(timings[name])
        ratio = own / forward
        spread = f"{ratio.min():.2f}-{ratio.max():.2f}"
        print(f"{name:44}{np.median(own):10.2f}{np.median(ratio):8.2f}   {spread}")


if __name__ == "__main__":
    main()

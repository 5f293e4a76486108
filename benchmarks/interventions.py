"""What a condition costs when unchanged blocks are shared, beside running every condition again from the start.

Three ways with the same conditions, cells and read-outs (attention rows of two layers, hidden and logit distances):
`Runner`, the same blocks without sharing, and transformers' eager model with ``output_attentions`` and hooks. Prints
milliseconds a condition and cell and ratios to `Runner` in the same round. All ways run interleaved in one process, in
an order drawn anew every round. Before that, the ways have to agree.

    python benchmarks/interventions.py [--layers 8 --heads 8 --hidden 128 --tokens 256 --genes 1200 --rounds 5]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from transformers import BertConfig, BertForMaskedLM

from interp_assets.edges.layers import resolve_layer
from interp_assets.interventions.cells import cell_rows
from interp_assets.interventions.conditions import HeadTable, plan_conditions
from interp_assets.interventions.run import Runner, Setting, Sums
from interp_assets.models.adapter import EncodedCells, ModelFacts
from interp_assets.models.attention.extraction import _thread_limits
from interp_assets.models.attention.kernel import available_forms, register_streaming
from interp_assets.models.attention.plan import plan_batches, score_cells, token_batch
from interp_assets.models.families.bert_blocks import BertOutput
from interp_assets.models.families.geneformer import GeneformerModel, Vocabulary
from interp_assets.models.interventions import Intervention


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, value in {
        "layers": 8, "heads": 8, "hidden": 128, "tokens": 256, "genes": 1200, "cells": 6, "rows": 100,
        "random-sets": 2, "batch-tokens": 2048, "threads": 1, "rounds": 5,
    }.items():  # fmt: skip
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--cpu-time", action="store_true", help="CPU instead of wall time, for a busy machine")
    return parser.parse_args()


def random_model(options: argparse.Namespace) -> tuple[GeneformerModel, BertForMaskedLM]:
    """The same random weights as the platform runs them, and as an eager model of transformers."""
    config = BertConfig(
        vocab_size=options.genes + 4,
        hidden_size=options.hidden,
        num_hidden_layers=options.layers,
        num_attention_heads=options.heads,
        intermediate_size=2 * options.hidden,
        max_position_embeddings=options.tokens,
        hidden_act="relu",
        attn_implementation="eager",
    )
    eager = BertForMaskedLM(config).eval().requires_grad_(False)
    # a shared configuration would share the attention function
    ours = BertForMaskedLM(deepcopy(config)).eval().requires_grad_(False)
    ours.load_state_dict(eager.state_dict())
    genes = [f"g{number}" for number in range(options.genes)]
    vocabulary = Vocabulary(
        tokens={gene: number + 4 for number, gene in enumerate(genes)},
        medians=dict.fromkeys(genes, 1.0),
        specials={"<pad>": 0, "<mask>": 1, "<cls>": 2, "<eos>": 3},
        mapping={},
        gene_key="symbol",
    )
    facts = ModelFacts(
        family="geneformer", layers=options.layers, heads=options.heads, width=options.hidden,
        vocabulary=vocabulary.size, max_length=options.tokens, direction="bidirectional", attention="softmax",
        forms=available_forms("cpu"), dtype="float32", device="cpu", gene_key="symbol",
    )  # fmt: skip
    head = ours.cls.predictions
    output = BertOutput(head.transform, ours.bert.embeddings.word_embeddings.weight, head.bias)
    return GeneformerModel(ours.bert, vocabulary, facts, output), eager


def random_setting(model: GeneformerModel, rng: np.random.Generator, options: argparse.Namespace) -> Setting:
    """Cells of half to full length, all genes scored, the first ones perturbed."""
    lengths = rng.integers(options.tokens // 2, options.tokens - 1, options.cells)
    parts = [np.concatenate([[-1], rng.permutation(options.genes)[:length], [-1]]) for length in lengths]
    column = np.concatenate(parts).astype(np.int32)
    offsets = np.cumsum([0, *map(len, parts)], dtype=np.int64)
    encoded = EncodedCells(tokens=np.where(column < 0, 2, column + 4).astype(np.int32), column=column, offsets=offsets)
    cells = score_cells(encoded, np.arange(options.genes))
    read_out = resolve_layer(13 / 17, options.layers)
    return Setting(
        model=model,
        cells=cells,
        batches=plan_batches(cells, options.batch_tokens, 10**9).batches,
        rows=np.arange(options.rows),
        read_layers=tuple(dict.fromkeys((read_out, options.layers - 1))),
        form=model.describe().forms[0],
    )


class FromTheStart(Runner):
    """The same blocks, but every condition runs all of them."""

    def _changed(self, batch: Any, change: Intervention, sums: Sums) -> None:
        first = change.layers[0]
        with self.setting.model.intervening(change):
            hidden = batch.blocks.start()
            for layer in range(first):
                hidden = batch.blocks.step(layer, hidden)
        super()._changed(batch, change, sums)


@contextmanager
def hooked(eager: BertForMaskedLM, change: Intervention) -> Iterator[None]:
    """An intervention by hooks alone, the way it is usually written."""
    width = eager.config.hidden_size // eager.config.num_attention_heads
    values: dict[int, torch.Tensor] = {}

    def before_dense(layer: int) -> Callable[..., tuple[torch.Tensor]]:
        zero, uniform = change.heads_of(layer)

        def hook(_: Any, given: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
            context = given[0].clone()
            for head in zero:
                context[..., head * width : (head + 1) * width] = 0
            for head in uniform:
                own = slice(head * width, (head + 1) * width)
                context[..., own] = (values[layer][..., own] * values[-1]).sum(1, keepdim=True) / values[-1].sum(
                    1, keepdim=True
                )
            return (context,)

        return hook

    with ExitStack() as stack:
        mask = eager.bert.register_forward_pre_hook(
            lambda _, __, named: values.update({-1: named["attention_mask"][..., None].float()}), with_kwargs=True
        )
        stack.callback(mask.remove)
        for layer in {layer for layer, _ in (*change.zero, *change.uniform)}:
            attention = eager.bert.encoder.layer[layer].attention
            keep = attention.self.value.register_forward_hook(
                lambda _, __, out, layer=layer: values.update({layer: out})
            )
            stack.callback(keep.remove)
            stack.callback(attention.output.dense.register_forward_pre_hook(before_dense(layer)).remove)
        for layer in change.mlp:
            dense = eager.bert.encoder.layer[layer].output.dense
            stack.callback(dense.register_forward_hook(lambda _, __, out: torch.zeros_like(out)).remove)
        yield


def eager_run(eager: BertForMaskedLM, setting: Setting, changes: list[Intervention]) -> list[dict[int, np.ndarray]]:
    """Read-outs of every condition from whole runs with all attention, hidden states and logits."""
    found = [
        {layer: np.zeros((setting.rows.size, setting.cells.genes)) for layer in setting.read_layers} for _ in changes
    ]
    for cells in setting.batches:
        batch = token_batch(setting.cells, cells)
        rows = cell_rows(setting.cells, cells, setting.rows)
        tokens = torch.from_numpy(batch.tokens)
        real = torch.arange(tokens.shape[1])[None] < torch.from_numpy(batch.lengths)[:, None]
        asked = {"attention_mask": real, "output_attentions": True, "output_hidden_states": True}
        clean = eager(tokens, **asked)
        for change, sums in zip(changes, found, strict=True):
            with hooked(eager, change):
                run = eager(tokens, **asked)
            pairs = [*zip(clean.hidden_states[1:], run.hidden_states[1:], strict=True), (clean.logits, run.logits)]
            for one, other in pairs:
                ((1 - torch.cosine_similarity(one, other, dim=-1)) * real).sum(1)
            for layer, total in sums.items():
                mean = run.attentions[layer].mean(1).numpy()
                for cell, own in enumerate(rows):
                    block = mean[cell][own.row_at[:, None], own.column_at]
                    total[own.row[:, None], own.column] += block
    return found


def largest_gap(ours: list[Sums], plain: list[dict[int, np.ndarray]]) -> float:
    """Largest difference between the attention sums of two ways, beside their largest value."""
    gaps = [
        float(np.abs(rows.total.numpy() - other[layer]).max() / other[layer].max())
        for sums, other in zip(ours, plain, strict=True)
        for layer, rows in sums.attention.items()
    ]
    return max(gaps)


def main() -> None:
    options = arguments()
    rng = np.random.default_rng(0)
    torch.manual_seed(0)
    register_streaming()
    model, eager = random_model(options)
    setting = random_setting(model, rng, options)
    shape = (options.layers, options.heads)
    table = HeadTable(reference=rng.random(shape), screen=rng.random(shape), entropy=rng.random(shape))
    planned = plan_conditions(table, setting.read_layers[0], options.random_sets, 0)
    changes = list(dict.fromkeys(condition.intervention for condition in planned))
    ways: dict[str, Callable[[], object]] = {
        "shared blocks (Runner)": lambda: Runner(setting).run(changes),
        "same blocks, each condition from the start": lambda: FromTheStart(setting).run(changes),
        "eager output_attentions and hooks": lambda: eager_run(eager, setting, changes),
    }
    clock = time.process_time if options.cpu_time else time.perf_counter
    timings: dict[str, list[float]] = {}
    with torch.inference_mode(), _thread_limits(options.threads):
        gap = largest_gap(Runner(setting).run(changes)[1], eager_run(eager, setting, changes))
        for _ in range(options.rounds):
            for name in rng.permutation(list(ways)):
                start = clock()
                ways[name]()
                timings.setdefault(name, []).append(1000 * (clock() - start) / options.cells / len(changes))
    print(f"{len(changes)} conditions on {options.cells} cells; largest relative gap of attention sums {gap:.1e}")
    print("milliseconds a condition and cell")
    shared = np.array(timings["shared blocks (Runner)"])
    print(f"{'way':44}{'ms':>10}{'ratio':>8}   range of paired ratios")
    for name in ways:
        own = np.array(timings[name])
        ratio = own / shared
        print(f"{name:44}{np.median(own):10.2f}{np.median(ratio):8.2f}   {ratio.min():.2f}-{ratio.max():.2f}")


if __name__ == "__main__":
    main()

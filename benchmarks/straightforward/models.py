"""Running a model straightforwardly: eager attention of every cell mapped to genes, every condition from its start.

What a user of ``transformers`` writes: ``output_attentions=True``, hooks on the modules that are changed, and numpy.
Models in Geneformer layout; each function takes the arguments of the one it stands for and returns `Parts`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from benchmarks.straightforward.clock import Parts
from interp_assets.interventions.cells import cell_rows
from interp_assets.interventions.run import Runner, Setting, head_rows
from interp_assets.models.attention.plan import token_batch
from interp_assets.models.attention.run import ExtractionRun
from interp_assets.models.attention.sums import ShardSums
from interp_assets.models.interventions import Intervention

Ints = np.ndarray
Arrays = dict[Any, np.ndarray]


def eager(encoder: Any, tokens: Ints, lengths: Ints | None = None) -> Any:
    """Hidden states and softmax weights of every layer for a batch of tokens (B x S)."""
    if encoder.config._attn_implementation != "eager":
        encoder.set_attn_implementation("eager")
    given = torch.from_numpy(np.ascontiguousarray(tokens, dtype=np.int64))
    valid = None if lengths is None else torch.arange(given.shape[1])[None, :] < torch.from_numpy(lengths)[:, None]
    with torch.inference_mode():
        return encoder(input_ids=given, attention_mask=valid, output_attentions=True, output_hidden_states=True)


def cell_tokens(cells: Any, cell: int) -> tuple[Ints, slice]:
    """Tokens of one cell as a batch of one, and where they lie."""
    span = slice(int(cells.encoded.offsets[cell]), int(cells.encoded.offsets[cell + 1]))
    return cells.encoded.tokens[span][None], span


def extraction_run(run: ExtractionRun) -> Parts:
    """`ExtractionRun.run`: each cell's weights added to gene x gene sums of every layer."""
    cells, used = run.cells, run.cells.used
    every = run.sums.kept == "all"
    layers, heads = run.facts.layers, run.facts.heads if every else 1
    sums = np.zeros((layers, heads, cells.genes, cells.genes), dtype=np.float32)

    def part(number: int) -> list[np.ndarray]:
        cell = int(used[number])
        found = eager(run.model.encoder, cell_tokens(cells, cell)[0])
        own = slice(int(cells.offsets[cell]), int(cells.offsets[cell + 1]))
        where, gene = cells.where[own], cells.gene[own]
        seen = []
        for layer, weights in enumerate(found.attentions):
            block = weights[0].numpy()[:, where[:, None], where]
            block = block if every else block.mean(axis=0, keepdims=True)
            sums[layer][:, gene[:, None], gene] += block
            seen.append(block)
        return seen

    def ours(_: Any, number: int) -> list[np.ndarray]:
        cell = int(used[number])
        gene = cells.gene[int(cells.offsets[cell]) : int(cells.offsets[cell + 1])]
        every_layer = range(layers)
        alone = ShardSums(run.sums.shape(every_layer), run.facts.device)
        run._add(np.array([cell]), alone, every_layer)
        slabs = alone.taken()
        found = []
        for layer in every_layer:
            own = slabs[run.sums.slice_of(layer, every_layer)][:, gene[:, None], gene]
            found.append(own if every else own[:1] / run.facts.heads)
        return found

    return Parts(count=used.size, part=part, ours=ours)


def read_cells(model: Any, asked: Any, label: str) -> Parts:
    """`cell_attention._read_cells`: weights from regulators to genes in every cell, and its mean hidden state."""
    every = np.arange(asked.positions.size)
    begins = np.concatenate([[0], np.cumsum(asked.entries)])

    def part(cell: int) -> list[np.ndarray]:
        tokens, span = cell_tokens(asked.cells, cell)
        found = eager(model.encoder, tokens)
        rows = cell_rows(asked.cells, every[cell : cell + 1], asked.rows)[0]
        weights = [found.attentions[layer][0].mean(0).numpy() for layer in asked.layers]
        value = np.stack([each[np.ix_(rows.row_at, rows.column_at)].ravel() for each in weights])
        if not asked.embedded:
            return [value]
        genes = asked.cells.encoded.column[span] >= 0
        return [value, found.hidden_states[-1][0].numpy()[genes].mean(axis=0)]

    def ours(found: Arrays, cell: int) -> list[np.ndarray]:
        value = found["value"][:, begins[cell] : begins[cell + 1]]
        return [value, found["embedding"][cell]] if asked.embedded else [value]

    return Parts(count=every.size, part=part, ours=ours)


def all_head_rows(setting: Setting, layers: range) -> Parts:
    """`head_rows`: weights of every head from the row genes, and the entropy of its attention, cell by cell."""
    every = np.concatenate(list(setting.batches))
    heads, genes = setting.model.describe().heads, setting.cells.genes

    def part(number: int) -> tuple[np.ndarray, np.ndarray]:
        cell = every[number : number + 1]
        found = eager(setting.model.encoder, cell_tokens(setting.cells, int(cell[0]))[0])
        rows = cell_rows(setting.cells, cell, setting.rows)[0]
        total = np.zeros((len(layers), heads, setting.rows.size, genes), dtype=np.float32)
        entropy = np.zeros((len(layers), heads))
        for place, layer in enumerate(layers):
            weights = found.attentions[layer][0]
            entropy[place] = torch.special.entr(weights).sum(-1).mean(-1).numpy()
            block = weights.numpy()[:, rows.row_at[:, None], rows.column_at]
            total[place][:, rows.row[:, None], rows.column] += block
        return total, entropy / (setting.cells.offsets.size - 1)

    def ours(_: Any, number: int) -> tuple[np.ndarray, np.ndarray]:
        return head_rows(replace(setting, batches=[every[number : number + 1]]), layers)

    return Parts(count=every.size, part=part, ours=ours)


@contextmanager
def changed(encoder: Any, change: Intervention | None, lengths: Ints) -> Iterator[None]:
    """Hooks that silence heads and feed-forward layers, or make attention uniform, while the encoder runs."""
    size = encoder.config.hidden_size // encoder.config.num_attention_heads
    real = (torch.arange(int(lengths.max()))[None, :] < torch.from_numpy(lengths)[:, None])[:, :, None]
    values: dict[int, torch.Tensor] = {}
    with ExitStack() as hooks:
        for layer in () if change is None else change.layers:
            zero, uniform = change.heads_of(layer)
            block = encoder.encoder.layer[layer]

            def keep(module: Any, given: Any, result: torch.Tensor, layer: int = layer) -> None:
                values[layer] = result

            def context(module: Any, given: Any, layer: int = layer, zero: Any = zero, uniform: Any = uniform) -> Any:
                own = given[0].clone()
                for head in zero:
                    own[:, :, head * size : (head + 1) * size] = 0
                for head in uniform:
                    value = values[layer][:, :, head * size : (head + 1) * size]
                    own[:, :, head * size : (head + 1) * size] = (value * real).sum(1, keepdim=True) / real.sum(
                        1, keepdim=True
                    )
                return (own,)

            hooks.callback(block.attention.self.value.register_forward_hook(keep).remove)
            hooks.callback(block.attention.output.dense.register_forward_pre_hook(context).remove)
            if layer in change.mlp:
                silence = block.output.dense.register_forward_hook(lambda m, given, result: torch.zeros_like(result))
                hooks.callback(silence.remove)
        yield


def conditions_run(runner: Runner, changes: Sequence[Intervention], tell: Any = None) -> Parts:
    """`Runner.run`: every condition runs every batch from its first layer, with the logits of the whole vocabulary.

    Parts are batches x (clean run and conditions), from the batch in the middle on: batches are ordered by length.
    """
    setting, output = runner.setting, runner.setting.model.output()
    batches = list(range(len(setting.batches) // 2, len(setting.batches))) + list(range(len(setting.batches) // 2))
    clean: dict[int, tuple[list[torch.Tensor], torch.Tensor | None]] = {}

    def part(number: int) -> Arrays:
        at, place = divmod(number, len(changes) + 1)
        cells = setting.batches[batches[at]]
        batch = token_batch(setting.cells, cells, setting.model.describe().padding)
        rows = cell_rows(setting.cells, cells, setting.rows)
        with changed(setting.model.encoder, changes[place - 1] if place else None, batch.lengths):
            found = eager(setting.model.encoder, batch.tokens, batch.lengths)
        logits = None
        if output is not None:
            logits = output.transform(found.hidden_states[-1]) @ output.weight.T + output.bias
        if not place:
            clean.clear()
            clean[at] = list(found.hidden_states[1:]), logits
        told = {layer: _attention_rows(setting, found.attentions[layer], rows) for layer in setting.read_layers}
        real = np.arange(batch.tokens.shape[1])[None, :] < batch.lengths[:, None]
        if logits is not None:
            told["logits"] = _logit_rows(setting, logits, rows, batch.lengths)
        states, before = clean[at]
        told["distance"] = np.array(
            [_distance(one, other, real) for one, other in zip(states, found.hidden_states[1:], strict=True)]
            + ([] if logits is None else [_distance(before, logits, real)])
        )
        return told

    def ours(_: Any, number: int) -> Arrays:
        at, place = divmod(number, len(changes) + 1)
        cells = setting.batches[batches[at]]
        unchanged, after = Runner(replace(setting, batches=[cells])).run(changes[place - 1 : place] if place else [])
        sums = after[0] if place else unchanged
        told: Arrays = {
            layer: sums.attention.get(layer, unchanged.attention[layer]).total.numpy() for layer in setting.read_layers
        }
        if output is not None:
            told["logits"] = (sums.output.total @ output.weight.T).numpy()
        layers = setting.model.describe().layers + (output is not None)
        told["distance"] = sums.distance[:layers, cells]
        return told

    return Parts(count=len(batches) * (len(changes) + 1), part=part, ours=ours, in_order=True)


def _attention_rows(setting: Setting, weights: torch.Tensor, rows: Sequence[Any]) -> np.ndarray:
    total = np.zeros((setting.rows.size, setting.cells.genes), dtype=np.float32)
    for cell, own in enumerate(rows):
        mean = weights[cell].mean(0).numpy()
        total[own.row[:, None], own.column] += mean[own.row_at[:, None], own.column_at]
    return total


def _logit_rows(setting: Setting, logits: torch.Tensor, rows: Sequence[Any], lengths: Ints) -> np.ndarray:
    total = np.zeros((setting.rows.size, logits.shape[2]), dtype=np.float32)
    for cell, own in enumerate(rows):
        mine = logits[cell, : lengths[cell]].numpy()
        total[own.row] += mine[own.row_at] - mine.mean(axis=0)
    return total


def _distance(one: torch.Tensor, other: torch.Tensor, real: np.ndarray) -> np.ndarray:
    """Sum over real tokens of 1 - cosine for each cell."""
    cosine = torch.nn.functional.cosine_similarity(one.double(), other.double(), dim=-1).numpy()
    return ((1.0 - cosine) * real).sum(axis=1)

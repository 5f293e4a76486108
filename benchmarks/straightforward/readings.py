"""What else is read from a running model, straightforwardly: every sequence and coalition is a forward pass of its own.

Models in Geneformer layout; each function takes the arguments of the one it stands for and returns `Parts`.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
import torch

from benchmarks.straightforward.clock import Parts
from benchmarks.straightforward.models import cell_tokens, changed, eager
from interp_assets.interventions.cells import cell_rows
from interp_assets.interventions.readouts import RowSums
from interp_assets.models.attention.plan import ScoredCells, token_batch
from interp_assets.models.interventions import Intervention
from interp_assets.readings import value_weighted
from interp_assets.readings.coalitions import BATCH_TOKENS, Component, Sequences, silenced
from interp_assets.readings.layer_attention import Wanted, _run, _Sums, member_positions


def last_state(encoder: Any, tokens: np.ndarray, lengths: np.ndarray | None = None) -> torch.Tensor:
    """Last hidden state of a batch of tokens (B x S x D)."""
    if encoder.config._attn_implementation != "sdpa":
        encoder.set_attn_implementation("sdpa")
    given = torch.from_numpy(np.ascontiguousarray(tokens, dtype=np.int64))
    valid = None if lengths is None else torch.arange(given.shape[1])[None, :] < torch.from_numpy(lengths)[:, None]
    with torch.inference_mode():
        return encoder(input_ids=given, attention_mask=valid).last_hidden_state


def read_coalitions(
    model: Any,
    output: Any,
    sequences: Sequences,
    components: Sequence[Component],
    coalitions: Sequence[int],
    *,
    batch_tokens: int = 0,
    tell: Any = None,
) -> Parts:
    """`coalitions.read_coalitions`: every coalition runs from the first layer, and predicts the whole vocabulary."""
    facts = model.describe()
    batches = sequences.batches(facts.padding, batch_tokens or BATCH_TOKENS["cpu"])
    order = np.roll(np.arange(len(batches)), -(len(batches) // 2))  # they are ordered by length

    def change_of(coalition: int) -> Intervention | None:
        each = [silenced(components, coalition, layer) for layer in range(facts.layers)]
        found = [one for one in each if one is not None]
        zero = tuple(head for one in found for head in one.zero)
        mlp = tuple(layer for one in found for layer in one.mlp)
        return Intervention(zero=zero, mlp=mlp) if found else None

    def part(number: int) -> np.ndarray:
        at, place = divmod(number, len(coalitions))
        numbers, batch = batches[order[at]]
        with changed(model.encoder, change_of(coalitions[place]), batch.lengths):
            state = last_state(model.encoder, batch.tokens, batch.lengths)
        with torch.inference_mode():
            logits = output.transform(state) @ output.weight.T + output.bias
        rows = torch.arange(numbers.size)
        return logits[rows, sequences.at[numbers], sequences.asked[numbers]].double().numpy()

    def ours(found: np.ndarray, number: int) -> np.ndarray:
        at, place = divmod(number, len(coalitions))
        return found[place, batches[order[at]][0]]

    return Parts(count=len(batches) * len(coalitions), part=part, ours=ours, in_order=True)


def at_places(model: Any, hidden: Any, sequences: list[np.ndarray], places: list[int], row: int) -> Parts:
    """`deletions._at_places`: one sequence at a time, with the logits of the whole vocabulary."""

    def part(number: int) -> tuple[float, np.ndarray]:
        state = last_state(model.encoder, sequences[number][None])
        value = float("nan")
        if hidden.output is not None:
            with torch.inference_mode():
                logits = hidden.output.transform(state) @ hidden.output.weight.T + hidden.output.bias
            at = logits[0, places[number]].double()
            value = float(at[row] - at.mean())
        return value, state[0, places[number]].double().numpy()

    def ours(found: tuple[np.ndarray, np.ndarray], number: int) -> tuple[float, np.ndarray]:
        return float(found[0][number]), found[1][number]

    return Parts(count=len(sequences), part=part, ours=ours)


def layer_sums(model: Any, plan_on: ScoredCells, wanted: Sequence[Wanted], layer: int, bar: Any) -> Parts:
    """`layer_attention.layer_sums`: eager attention of every layer, of which one is mapped, cell by cell."""
    if any(want.edge_rule != "softmax_mean" for want in wanted):
        return Parts(count=0, part=float, ours=lambda found, _: found)
    used = plan_on.used
    sums = [np.zeros((want.cells.genes, want.cells.genes), dtype=np.float32) for want in wanted]

    def part(number: int) -> list[np.ndarray]:
        cell = used[number : number + 1]
        mean = eager(model.encoder, cell_tokens(plan_on, int(cell[0]))[0]).attentions[layer][0].mean(0).numpy()
        seen = []
        for want, total in zip(wanted, sums, strict=True):
            where, gene, _ = member_positions(want, cell)
            seen.append(mean[where[:, None], where])
            total[gene[:, None], gene] += seen[-1]
        return seen

    def ours(_: Any, number: int) -> list[np.ndarray]:
        facts, cell = model.describe(), used[number : number + 1]
        alone = [_Sums(want, facts.heads, facts.device) for want in wanted]

        def sink(at: int, attention: Any) -> None:
            for each in alone:
                each.add(attention, cell)

        _run(model, token_batch(plan_on, cell, facts.padding), facts.forms[0], layer, sink)
        found = []
        for want, each in zip(wanted, alone, strict=True):
            each.close_shard()
            gene = member_positions(want, cell)[1]
            found.append(each.head_mean()[gene[:, None], gene])
        return found

    return Parts(count=used.size, part=part, ours=ours)


def read_rows(
    model: Any, scored: ScoredCells, rows: np.ndarray, layers: list[int], counts: np.ndarray, *, label: str = ""
) -> Parts:
    """`restricted_attention.read_rows`: eager attention of every layer, cell by cell."""
    used = scored.used
    sums = np.zeros((len(layers), rows.size, scored.genes), dtype=np.float32)

    def part(number: int) -> list[np.ndarray]:
        cell = used[number : number + 1]
        found = eager(model.encoder, cell_tokens(scored, int(cell[0]))[0])
        own = cell_rows(scored, cell, rows)[0]
        seen = []
        for place, layer in enumerate(layers):
            seen.append(found.attentions[layer][0].mean(0).numpy()[own.row_at[:, None], own.column_at])
            sums[place][own.row[:, None], own.column] += seen[-1]
        return seen

    def ours(_: Any, number: int) -> list[np.ndarray]:
        facts, cell = model.describe(), used[number : number + 1]
        own = cell_rows(scored, cell, rows)
        alone = {layer: RowSums(rows.size, scored.genes, facts.device) for layer in layers}

        def sink(layer: int, attention: Any) -> None:
            if layer in alone:
                alone[layer].add(attention, own)

        model.attend(token_batch(scored, cell, facts.padding), sink, form=facts.forms[0])
        return [alone[layer].total.numpy()[own[0].row[:, None], own[0].column] for layer in layers]

    return Parts(count=used.size, part=part, ours=ours)


def value_layers(model: Any, asked: Any, memory_gib: float, label: str) -> Parts:
    """`value_weighted._read_layers`: context vectors of one cell at a time, caught by hooks, head by head."""
    cells, facts = asked.cells, model.describe()
    used, genes = cells.used, asked.genes.size
    sums = np.zeros((facts.layers, 3, genes, genes), dtype=np.float32)

    def part(number: int) -> np.ndarray:
        cell = int(used[number])
        own = slice(int(cells.offsets[cell]), int(cells.offsets[cell + 1]))
        where, gene = cells.where[own].astype(np.int64), cells.gene[own]
        with ExitStack() as hooks:
            caught: list[torch.Tensor] = []
            for block in model.encoder.encoder.layer:
                hook = block.attention.output.dense.register_forward_pre_hook(lambda _, given: caught.append(given[0]))
                hooks.callback(hook.remove)
            found = eager(model.encoder, cell_tokens(cells, cell)[0])
        seen = []
        for layer, context in enumerate(caught):
            vectors = context[0, where].reshape(where.size, facts.heads, -1)
            unit = torch.nn.functional.normalize(vectors, dim=-1)
            weights = found.attentions[layer][0].sum(0).numpy()[where[:, None], where]
            each = [torch.einsum("ihd,jhd->ij", one, one).numpy() for one in (unit, vectors)]
            seen.append(np.stack([*each, weights]))
            sums[layer][:, gene[:, None], gene] += seen[-1]
        return np.stack(seen)

    def ours(_: Any, number: int) -> np.ndarray:
        cell = used[number : number + 1]
        gene = cells.gene[int(cells.offsets[cell[0]]) : int(cells.offsets[cell[0] + 1])]
        alone = value_weighted._Sums(range(facts.layers), genes, facts.device)
        value_weighted._run(model, cells, cell, alone, facts.dtype)
        each = (alone.cosine, alone.dot, alone.attention)
        return np.stack([total.numpy()[:, gene[:, None], gene] for total in each], axis=1)

    return Parts(count=used.size, part=part, ours=ours)

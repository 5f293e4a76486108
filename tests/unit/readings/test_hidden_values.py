"""Deletions and mediation of a model that predicts hidden values, against torch's own modules with weights zeroed."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from interp_assets.cells.outcomes import no_outcomes
from interp_assets.edges.records import Reference
from interp_assets.models.adapter import Encoding, load_model
from interp_assets.models.files.releases import read_release
from interp_assets.readings import deletions, mediation
from interp_assets.readings.hidden_genes import hidden_genes
from interp_assets.readings.records import ReadData
from tests.unit.models import example_scgpt_folder as layout

CODES, LAYERS, GENES = 53, 3, 30
TRACED = {
    "mediation_pairs": 2,
    "mediation_cells": 3,
    "mediation_tokens": 12,
    "mediation_set_cells": 2,
    "mediation_permutations": 4,
}


ARGS = layout.args_of(layers=LAYERS, length=22)
NAMES = [f"G{number}" for number in range(GENES)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return layout.write_scgpt(tmp_path_factory.mktemp("values") / "tiny", NAMES, args=ARGS)


@pytest.fixture(scope="module")
def reference():
    return layout.torch_scgpt(GENES + 3, ARGS).double()


@pytest.fixture(scope="module")
def data(example, models) -> ReadData:
    """40 cells, six perturbed genes; a network that lists two targets of G0 and one of G1."""
    cells = models.prepared_cells(example.toy_counts(40, GENES, seed=4), NAMES, control=np.arange(40) != 7)
    rows = [
        {"perturbation": f"G{s}", "gene": f"G{t}", "lfc": 1.0, "p": 0.5, "q": 0.5, "label": 0}
        for s in range(6)
        for t in range(GENES)
        if s != t
    ]
    labels = replace(no_outcomes(cells), table=pd.DataFrame(rows), perturbations=np.array([f"G{s}" for s in range(6)]))
    network = Reference(
        name="net",
        genes=cells.universe,
        source=np.array([0, 0, 1], dtype=np.int32),
        target=np.array([9, 12, 14], dtype=np.int32),
        directed=True,
        regulators=np.array([0, 1], dtype=np.int32),
    )
    return ReadData(
        role="agreement_screens[1]",
        cells=cells,
        labels=labels,
        references={"net": network},
        primary_reference="net",
    )


def predicted(model: Any, tokens: list[int], at: int) -> tuple[float, torch.Tensor]:
    """Predicted value and last hidden state at one place of an unpadded sequence of gene x value tokens."""
    values = torch.tensor([-2.0, -1.0, *range(51)], dtype=torch.float64)
    packed = torch.tensor(tokens)[None]
    states, _ = model(packed // CODES, values[packed % CODES], torch.zeros(packed.shape, dtype=torch.bool))
    here = states[-1][0, at]
    return float(model.decoder["fc"](here)), here


def hide(token: int) -> int:
    return token // CODES * CODES + 1  # value -1


def encoded_of(folder: Path, cells, **asked) -> list[list[int]]:
    model = load_model(read_release(folder), encoding=Encoding(**asked))
    encoded = model.encode(cells.counts[np.flatnonzero(cells.control)], cells.genes)
    return [encoded.tokens[a:b].tolist() for a, b in zip(encoded.offsets[:-1], encoded.offsets[1:], strict=True)]


def gene_place(tokens: list[int], name: str) -> int:
    return [token // CODES for token in tokens].index(int(name.removeprefix("G")))


@pytest.mark.parametrize("asked", [{}, {"zeros": "keep", "seed": 2}], ids=["expressed", "zeros kept"])
def test_deletions_read_the_predicted_value_of_the_hidden_target(folder, reference, data, make_context, asked):
    context = make_context(folder, data, settings={"agreement_pairs": 4, "deletion_cells": 5})
    found = deletions.read(replace(context, encoding=Encoding(**asked)))
    assert found.facts["read_out"] == "predicted bin"
    sequences = encoded_of(folder, data.cells, **asked)
    assert len(found.tables["deletion_pairs"]) == 4
    for row in found.tables["deletion_pairs"].itertuples():
        wanted = {int(name.removeprefix("G")) for name in (row.source, row.target)}
        both = [tokens for tokens in sequences if wanted <= {token // CODES for token in tokens}]
        assert row.cells_with_both == len(both)
        changes, distances = [], []
        for cell in deletions.spread(np.arange(len(both)), 5):
            whole = list(both[cell])
            at = gene_place(whole, row.target)
            whole[at] = hide(whole[at])
            without = [token for token in whole if token // CODES != int(row.source.removeprefix("G"))]
            before, state = predicted(reference, whole, at)
            after, other = predicted(reference, without, gene_place(without, row.target))
            changes.append(after - before)
            distances.append(1 - float(state @ other / (state.norm() * other.norm())))
        assert row.logit_change == pytest.approx(np.mean(changes), abs=2e-5)
        assert row.logit_change_se == pytest.approx(np.std(changes, ddof=1) / np.sqrt(len(changes)), abs=2e-5)
        assert row.cosine_distance == pytest.approx(np.mean(distances), abs=2e-5)
        assert abs(row.logit_change) > 1e-3


def silenced(model: Any, *, mlp: tuple[int, ...] = (), heads: tuple[tuple[int, int], ...] = ()) -> Any:
    """A copy of the model with weights set to zero: what silencing means, done the other way."""
    changed = copy.deepcopy(model)
    layers = changed.transformer_encoder["layers"]
    with torch.no_grad():
        for layer in mlp:
            layers[layer].linear2.weight.zero_()
            layers[layer].linear2.bias.zero_()
        for layer, head in heads:
            layers[layer].self_attn.out_proj.weight[:, head * 4 : head * 4 + 4] = 0
    return changed


def test_mediation_reads_what_a_shown_value_does_to_the_predicted_one(folder, reference, data, make_context):
    tissue = replace(data, role="tissues[1]", labels=no_outcomes(data.cells))
    found = mediation.read(make_context(folder, tissue, settings=TRACED, seed=3))
    assert found.facts["regulator_absent"] == "its value hidden"
    assert found.facts["predicts"] == "value"
    sequences = encoded_of(folder, data.cells)
    effects = found.tables["effects"]
    largest = 0.0
    every = tuple((layer, head) for layer in range(LAYERS) for head in range(4))
    for row in effects.itertuples():
        tokens = sequences[row.cell]
        needed = {0, *(gene_place(tokens, name) for name in (row.regulator, row.target))}
        spare = [place for place in range(1, len(tokens)) if place not in needed][: max(0, 12 - len(needed))]
        shown = [tokens[place] for place in sorted(needed | set(spare))]
        assert len(shown) <= 12
        at, own = gene_place(shown, row.target), gene_place(shown, row.regulator)
        shown[at] = hide(shown[at])
        hidden = list(shown)
        hidden[own] = hide(hidden[own])

        def read_out(model: Any, shown=shown, hidden=hidden, at=at) -> float:
            return predicted(model, shown, at)[0] - predicted(model, hidden, at)[0]

        if row.granularity == "mlp":
            change = {"mlp": (row.component,) if row.component >= 0 else tuple(range(LAYERS))}
        else:
            change = {"heads": (every[row.component],) if row.component >= 0 else every}
        expected = read_out(reference) - read_out(silenced(reference, **change))
        assert row.effect == pytest.approx(expected, abs=5e-5)
        largest = max(largest, abs(expected))
    assert largest > 0.05


def test_what_stands_for_a_hidden_gene_differs_by_family(folder, example, models, tmp_path):
    value = hidden_genes(load_model(read_release(folder)))
    tokens = np.array([5 * CODES + 40, 7 * CODES + 2])
    assert value.hide(tokens).tolist() == [5 * CODES + 1, 7 * CODES + 1]
    assert (value.predicts, value.row("G3"), value.row("G9")) == ("value", 0, 0)
    direction, shift = value.contrast(0)
    assert torch.equal(direction.float(), value.output.weight[0])
    assert shift == pytest.approx(float(value.output.bias[0]))
    token = hidden_genes(load_model(read_release(example.write_bert(tmp_path / "b", models.seal, head="untied"))))
    assert token.hide(tokens).tolist() == [1, 1]
    assert (token.predicts, token.row("G3")) == ("token", 7)
    direction, _ = token.contrast(7)
    assert torch.allclose(direction, token.output.weight[7].double() - token.output.weight.double().mean(0))


def test_a_release_without_the_head_says_what_is_lacking(data, make_context, tmp_path):
    change = {f"decoder.fc.{number}.{part}": None for number in (0, 2, 4) for part in ("weight", "bias")}
    bare = layout.write_scgpt(tmp_path / "bare", NAMES, args=ARGS, change=change)
    tissue = replace(data, role="tissues[1]", labels=no_outcomes(data.cells))
    said = mediation.read(make_context(bare, tissue, settings=TRACED))
    assert "no token prediction head" in said
    assert "decoder.fc in scGPT layout" in said
    table = deletions.read(make_context(bare, data, settings={"agreement_pairs": 2, "deletion_cells": 5})).tables[
        "deletion_pairs"
    ]
    assert table["logit_change"].isna().all()
    assert (table["cosine_distance"] > 0).all()

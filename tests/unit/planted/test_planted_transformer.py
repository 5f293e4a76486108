"""The planted transformer in the plain masked language model of transformers, eager attention."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from interp_assets.cells.records import ScreenLabels
from interp_assets.edges.records import Reference
from interp_assets.models.controls.planted_transformer import (
    build_planted_release,
    planted_plan,
    planted_score_from_labels,
)
from interp_assets.models.controls.planted_weights import layout
from interp_assets.models.files.releases import read_release

GENES, REGULATORS, CELLS = 240, 40, 16
PLAN = planted_plan(8)


@pytest.fixture(scope="module")
def truth() -> tuple[np.ndarray, np.ndarray]:
    """Edges (regulators x genes) and their noisy scores; the first genes are the regulators."""
    rng = np.random.default_rng(4)
    edge = rng.random((REGULATORS, GENES)) < 0.08
    edge[np.arange(REGULATORS), np.arange(REGULATORS)] = False
    score = edge * rng.lognormal(0.0, 0.4, size=edge.shape) + rng.normal(0.0, 0.25, size=edge.shape)
    return edge, score


@pytest.fixture(scope="module")
def folder(truth, tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("releases") / "control-planted"
    genes = [f"g{i}" for i in range(GENES)]
    build_planted_release(place, genes=genes, regulators=genes[:REGULATORS], score=truth[1], seed=0, max_length=256)
    return place


@pytest.fixture(scope="module")
def model(folder):
    import torch
    from transformers import BertForMaskedLM

    found, info = BertForMaskedLM.from_pretrained(folder, attn_implementation="eager", output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    # Matrices of this size are slower on several threads, many times so on a busy machine.
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield found.eval()
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def cells() -> list[np.ndarray]:
    """Gene orders of cells of 100 to 200 genes."""
    rng = np.random.default_rng(5)
    return [rng.permutation(GENES)[: rng.integers(100, 200)] for _ in range(CELLS)]


@contextmanager
def intervened(model, zero=(), uniform=(), mlp=()) -> Iterator[None]:
    """Zeroed heads, heads that average over all tokens, and zeroed MLPs, as (layer, head) and layers."""
    import torch

    width = model.config.hidden_size // model.config.num_attention_heads
    values: dict[int, object] = {}

    def change(layer: int, head: int, average: bool):
        def hook(_, inputs):
            context = inputs[0].clone()
            part = slice(head * width, (head + 1) * width)
            context[..., part] = values[layer][..., part].mean(1, keepdim=True) if average else 0.0
            return (context,)

        return model.bert.encoder.layer[layer].attention.output.dense.register_forward_pre_hook(hook)

    with ExitStack() as stack:
        for layer in {layer for layer, _ in uniform}:
            keep = model.bert.encoder.layer[layer].attention.self.value.register_forward_hook(
                lambda _, __, output, layer=layer: values.__setitem__(layer, output)
            )
            stack.callback(keep.remove)
        for layer, head in zero:
            stack.callback(change(layer, head, average=False).remove)
        for layer, head in uniform:
            stack.callback(change(layer, head, average=True).remove)
        for layer in mlp:
            output = model.bert.encoder.layer[layer].output.dense
            stack.callback(output.register_forward_hook(lambda _, __, out: torch.zeros_like(out)).remove)
        yield


def attention(model, cells, layer: int, **changes) -> np.ndarray:
    """Mean attention regulator -> gene over the cells that hold both; head mean of a layer."""
    import torch

    total, count = np.zeros((REGULATORS, GENES)), np.zeros((REGULATORS, GENES))
    with torch.no_grad(), intervened(model, **changes):
        for genes in cells:
            tokens = torch.tensor([[2, *(genes + 4).tolist(), 3]])
            weights = model.bert(tokens, output_attentions=True).attentions[layer][0].mean(0).numpy()
            rows = np.flatnonzero(genes < REGULATORS)
            total[np.ix_(genes[rows], genes)] += weights[np.ix_(rows + 1, np.arange(1, len(genes) + 1))]
            count[np.ix_(genes[rows], genes)] += 1
    return total / np.maximum(count, 1)


def quality(edge: np.ndarray, score: np.ndarray) -> float:
    """Mean over regulators of the AUROC of a score for its edges."""
    return float(np.mean([roc_auc_score(edge[i], score[i]) for i in range(REGULATORS)]))


def test_folder_is_a_verified_release_with_the_geneformer_files(folder):
    release = read_release(folder)
    assert release.name == "control-planted"
    assert release.kind == "positive_control"
    assert release.family == "geneformer"
    assert release.facts["control"] == "positive"
    assert {file.path for file in release.files} == {
        "config.json",
        "model.safetensors",
        "token_dictionary.json",
        "gene_median_dictionary.json",
    }


def test_same_seed_gives_the_same_bytes_and_another_seed_others(folder, truth, tmp_path):
    genes = [f"g{i}" for i in range(GENES)]
    ids = []
    for number, seed in enumerate((0, 1)):
        place = tmp_path / str(number) / "control-planted"
        build_planted_release(
            place, genes=genes, regulators=genes[:REGULATORS], score=truth[1], seed=seed, max_length=256
        )
        ids.append(read_release(place).release_id)
    assert ids[0] == read_release(folder).release_id
    assert ids[1] != ids[0]


def test_read_out_layer_ranks_targets_as_the_planted_score_does(model, cells, truth):
    edge, score = truth
    found = quality(edge, attention(model, cells, PLAN.read_out))
    assert found > quality(edge, score) - 0.02
    assert found > 0.93


def test_idle_layers_carry_nothing(model, cells, truth):
    for layer in (0, 4, 7):
        assert abs(quality(truth[0], attention(model, cells, layer)) - 0.5) < 0.06


def test_zeroing_early_heads_lowers_the_read_out_step_by_step(model, cells, truth):
    values = [
        quality(truth[0], attention(model, cells, PLAN.read_out, zero=[(PLAN.early, h) for h in range(k)]))
        for k in range(9)
    ]
    steps = np.diff(values)
    assert (steps < -0.02).all(), values
    assert abs(values[-1] - 0.5) < 0.08


def test_a_zeroed_early_head_silences_its_own_regulators_only(model, cells, truth):
    score = attention(model, cells, PLAN.read_out, zero=[(PLAN.early, 3)])
    own = np.arange(REGULATORS) % 8 == 3
    each = np.array([roc_auc_score(truth[0][i], score[i]) for i in range(REGULATORS)])
    assert each[~own].mean() > 0.93
    assert abs(each[own].mean() - 0.5) < 0.15


def test_heads_of_other_layers_change_next_to_nothing(model, cells, truth):
    rest = quality(truth[0], attention(model, cells, PLAN.read_out))
    sets = ([(0, h) for h in range(4)] + [(2, h) for h in range(4)], [(4, h) for h in range(8)])
    for zero in sets:
        assert quality(truth[0], attention(model, cells, PLAN.read_out, zero=zero)) > rest - 0.02


def test_uniform_attention_and_a_zeroed_gate_break_the_read_out(model, cells, truth):
    early = [(PLAN.early, head) for head in range(8)]
    assert quality(truth[0], attention(model, cells, PLAN.read_out, uniform=early)) < 0.65
    assert quality(truth[0], attention(model, cells, PLAN.read_out, uniform=early[:1])) < 0.93
    assert quality(truth[0], attention(model, cells, PLAN.read_out, mlp=[PLAN.gate])) < 0.6


@pytest.mark.parametrize(
    "changes",
    [{"zero": [(1, 0)]}, {"zero": [(6, 5)]}, {"uniform": [(1, 2)]}, {"uniform": [(4, 7)]}, {"mlp": [3]}, {"mlp": [6]}],
)
def test_every_single_intervention_moves_the_hidden_state_materially(model, cells, changes):
    import torch

    tokens = torch.tensor([[2, *(cells[0] + 4).tolist(), 3]])
    with torch.no_grad():
        rest = model.bert(tokens, output_hidden_states=True).hidden_states
        with intervened(model, **changes):
            moved = model.bert(tokens, output_hidden_states=True).hidden_states
        after = model.bert(tokens, output_hidden_states=True).hidden_states
    distance = [1 - torch.cosine_similarity(a, b, dim=-1).mean().item() for a, b in zip(rest, moved, strict=True)]
    assert max(distance) > 0.02
    layer = next(iter(changes.get("mlp", [item[0] for item in changes.get("zero", changes.get("uniform", []))])))
    assert max(distance[: layer + 1]) < 1e-6
    assert all(torch.equal(a, b) for a, b in zip(rest, after, strict=True))


def test_logits_at_a_regulator_favour_its_targets_through_the_early_heads(model, cells, truth):
    import torch

    genes = cells[0]
    tokens = torch.tensor([[2, *(genes + 4).tolist(), 3]])

    def favour(**changes) -> float:
        with torch.no_grad(), intervened(model, **changes):
            logits = model(tokens).logits[0].numpy()
        rows = np.flatnonzero(genes < REGULATORS)
        return float(np.mean([roc_auc_score(truth[0][genes[r]], logits[r + 1, 4:]) for r in rows]))

    assert favour() > 0.9
    assert favour(zero=[(PLAN.early, head) for head in range(8)]) < 0.7


def test_layout_grows_with_the_regulators_and_heads_divide_it():
    for regulators in (1, 7, 100, 400):
        place = layout(regulators)
        assert place.width == place.heads * place.head_width
        assert place.head_width > place.slots
        assert place.decoy.stop <= place.width
    assert layout(400).width <= 608


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"regulators": ["g0", "other"]}, "other"),
        ({"genes": ["g0", "g0", "g1"]}, "repeat"),
        ({"score": np.zeros((2, 2))}, "shape"),
        ({"score": np.full((2, 3), np.nan)}, "missing"),
        ({"medians": {"g0": 1.0}}, "medians lack 2"),
        ({"layers": 1}, "at least 2"),
    ],
)
def test_bad_input_is_refused_and_nothing_is_written(tmp_path, changes, says):
    given = {"genes": ["g0", "g1", "g2"], "regulators": ["g0", "g1"], "score": np.zeros((2, 3)), **changes}
    with pytest.raises(ValueError, match=says):
        build_planted_release(tmp_path / "control-planted", **given)
    assert not list(tmp_path.iterdir())


def test_scores_from_labels_hold_outcomes_and_reference_pairs():
    import pandas as pd

    genes = np.array(["a", "b", "c", "d"])
    label = np.array([[-1, 1, 0, -1], [0, -1, 0, 1]], dtype=np.int8)
    labels = ScreenLabels(
        dataset="toy",
        data_origin="real",
        kind="outcome_only",
        modality="CRISPRi",
        perturbations=np.array(["a", "b"]),
        genes=genes,
        label=label,
        informative=np.ones(4, dtype=bool),
        table=pd.DataFrame(),
        exclusions=pd.DataFrame(),
    )
    reference = Reference(
        name="known",
        genes=np.array(["d", "x", "c"]),
        source=np.array([0, 0, 1], dtype=np.int32),
        target=np.array([2, 1, 2], dtype=np.int32),
        directed=True,
        regulators=np.array([0], dtype=np.int32),
    )
    found = planted_score_from_labels(labels, [reference], noise=0.0, seed=0)
    # the listed regulator first, so that listed ones are dealt over all heads
    assert found.regulators.tolist() == ["d", "a", "b"]
    np.testing.assert_array_equal(found.score, [[0, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
    noisy = planted_score_from_labels(labels, [], noise=0.25, seed=0)
    assert noisy.regulators.tolist() == ["a", "b"]
    assert 0 < np.abs(noisy.score - found.score[1:]).max() < 1.5

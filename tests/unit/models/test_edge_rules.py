"""Double rank against rankings in plain loops, by itself and through a whole extraction; both rules are keyed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import numpy as np
import pytest
import torch

from interp_assets.interventions.cells import encoded_cells
from interp_assets.models.adapter import LayerAttention, load_model
from interp_assets.models.attention import edge_rules
from interp_assets.models.attention.edge_rules import EdgeRule, add_double_rank, double_rank, unreadable
from interp_assets.models.attention.extraction import ExtractionSettings, extract_attention
from interp_assets.models.attention.settings import request_keys
from interp_assets.models.attention.store import open_attention
from interp_assets.models.files.releases import read_release
from interp_assets.models.records import NothingToReadError
from interp_assets.readings.layer_attention import Wanted, held_together, layer_sums
from interp_assets.settings import EDGE_RULES, AttentionSettings, SettingsError, load_study
from tests.unit.models import example_scgpt_folder as example

RANKINGS = {"processor": edge_rules._on_processor, "device": edge_rules._on_device}


def ranks(values) -> list[float]:
    """Ranks from 0 in plain Python; equal values share the mean of theirs."""
    return [sum(other < own for other in values) + (sum(other == own for other in values) - 1) / 2 for own in values]


def naive(scores: np.ndarray) -> np.ndarray:
    """Double rank of one head (M x M, row = query)."""
    tokens = len(scores)
    rows = np.array([ranks(row) for row in scores]) / tokens
    return np.array([ranks(column) for column in rows.T]).T / tokens


@pytest.mark.parametrize("where", RANKINGS)
@pytest.mark.parametrize("decimals", [0, 1, 6], ids=["many ties", "ties", "no tie"])
def test_ranks_equal_plain_loops(where, decimals):
    draws = torch.Generator().manual_seed(decimals)
    scores = torch.randn((13, 13), generator=draws).round(decimals=decimals)
    chosen = torch.tensor([12, 0, 4, 7])
    found = RANKINGS[where](scores, chosen).numpy()
    expected = naive(scores.numpy())[np.ix_(chosen, chosen)]
    np.testing.assert_allclose(found, expected, atol=1e-7)
    assert (found >= 0).all()
    assert (found < 1).all()


def test_rows_are_ranked_before_columns():
    scores = torch.tensor([[[3.0, 2.0, 1.0], [9.0, 1.0, 5.0], [2.0, 8.0, 4.0]]])
    # within rows: 2 1 0 | 2 0 1 | 0 2 1; then within columns, where 2 and 2, 1 and 1 share their ranks
    expected = [[1.5, 1.0, 0.0], [1.5, 0.0, 1.5], [0.0, 2.0, 1.5]]
    np.testing.assert_allclose(double_rank(scores, torch.arange(3))[0] * 3, expected, atol=1e-6)
    # the transposed matrix is another score: orientation matters
    turned = double_rank(scores.transpose(1, 2).contiguous(), torch.arange(3))[0].T * 3
    assert not np.allclose(turned, expected)


def scgpt_expected(folder: Path, cells, args) -> tuple[np.ndarray, np.ndarray]:
    """Sums over cells (L x H x G x G) and pair counts: torch modules, one unpadded cell at a time, plain rankings."""
    model = load_model(read_release(folder))
    reference = example.torch_scgpt(model.describe().vocabulary, args).double()
    genes = [gene for gene in cells.universe if gene in example.GENES]
    size = (args["nlayers"], args["nheads"], len(genes), len(genes))
    sums, counts = np.zeros(size), np.zeros(size[2:], dtype=int)
    encoded = model.encode(cells.counts[np.flatnonzero(cells.control)], cells.genes)
    values = torch.tensor([-2.0, -1.0, *range(51)], dtype=torch.float64)
    for start, stop in zip(encoded.offsets[:-1], encoded.offsets[1:], strict=True):
        tokens = torch.from_numpy(encoded.tokens[start:stop].astype(np.int64))
        names = [cells.genes[at] if at >= 0 else "" for at in encoded.column[start:stop]]
        places = [(at, genes.index(name)) for at, name in enumerate(names) if name in genes]
        padding = torch.zeros((1, len(tokens)), dtype=torch.bool)
        states, _ = reference(tokens[None] // 53, values[tokens % 53][None], padding)
        for layer, module in enumerate(reference.transformer_encoder["layers"]):
            rows = states[layer][0] @ module.self_attn.in_proj_weight.T + module.self_attn.in_proj_bias
            query, key, _ = rows.reshape(len(tokens), 3, args["nheads"], -1).permute(1, 2, 0, 3)
            for head in range(args["nheads"]):
                double = naive((query[head] @ key[head].T).numpy().astype(np.float32))
                for i, one in places:
                    for j, other in places:
                        sums[layer, head, one, other] += double[i, j]
        for _, one in places:
            counts[one, [other for _, other in places]] += 1
    return sums, counts


@pytest.fixture(scope="module")
def args():
    return example.args_of(layers=2, heads=4, width=16, inner=24, length=18)


@pytest.mark.parametrize("form", ["logsumexp", "softmax"])
def test_an_extraction_by_double_rank_equals_plain_loops_over_cells(toy_cells, tmp_path, args, form):
    folder = example.write_scgpt(tmp_path / "s", args=args)
    expected, counts = scgpt_expected(folder, toy_cells, args)
    release, common = read_release(folder), {"device": "cpu", "form": form, "edge_rule": "double_rank"}
    for heads in ("all", "mean"):
        settings = ExtractionSettings(heads=heads, batch_tokens=60, cells_per_shard=4, **common)
        extract_attention(release, toy_cells, tmp_path / heads, settings)
    edges = open_attention(tmp_path / "all", verify=True)
    found = np.stack([np.load(tmp_path / "all" / f"layer-{layer}-heads.npy") for layer in range(2)])
    # no first cell is skipped, padding takes no rank, and each sum is divided by the cells that hold the pair.
    # Scores that differ by rounding alone may change places: a rank step of 1/M in a pair or two.
    steps = np.abs(found - expected)
    assert (steps > 1e-5).mean() < 0.002
    assert steps.max() < 0.2
    for layer in range(2):
        mean = np.where(counts > 0, expected[layer].mean(0) / np.maximum(counts, 1), np.nan)
        np.testing.assert_allclose(edges.layer_matrix(layer).score, mean, atol=0.01)
        other = open_attention(tmp_path / "mean").layer_matrix(layer).score
        np.testing.assert_allclose(other, edges.layer_matrix(layer).score, atol=1e-5)
    assert edges.facts["edge_rule"] == "double_rank"
    assert edges.facts["kept_mass"] == [None, None]
    assert np.array_equal(np.load(tmp_path / "all" / "counts.npy"), counts)


def test_the_two_rules_are_two_scores_of_the_same_pairs(write_release, toy_cells, tmp_path):
    release = read_release(write_release(peak=6.0))
    found = {}
    for rule in get_args(EdgeRule):
        settings = ExtractionSettings(device="cpu", edge_rule=rule)
        found[rule] = extract_attention(release, toy_cells, tmp_path / rule, settings)
    one, other = (found[rule].layer_matrix(1).score for rule in get_args(EdgeRule))
    assert np.array_equal(np.isnan(one), np.isnan(other))
    held = ~np.isnan(one)
    assert np.corrcoef(one[held], other[held])[0, 1] < 0.95
    assert found["softmax_mean"].facts["kept_mass"][0] > 0
    stored = [np.load(tmp_path / rule / "counts.npy") for rule in get_args(EdgeRule)]
    assert np.array_equal(*stored)


@pytest.mark.parametrize("rule", get_args(EdgeRule))
def test_a_layer_that_a_reading_runs_again_follows_the_rule_of_the_stored_one(write_release, toy_cells, tmp_path, rule):
    release = read_release(write_release(peak=6.0))
    edges = extract_attention(release, toy_cells, tmp_path / "x", ExtractionSettings(device="cpu", edge_rule=rule))
    scored = encoded_cells(load_model(release), toy_cells, edges.genes)
    members = np.ones(scored.offsets.size - 1, dtype=bool)
    want = Wanted(cells=scored, members=members, single_heads=True, edge_rule=rule)
    (sums,) = layer_sums(load_model(release), scored, [want], 1, SimpleNamespace(update=lambda _: None))
    counts = held_together(want, scored)
    held = counts > 0
    mean = (sums[held] / counts[held]).astype(np.float32)
    np.testing.assert_array_equal(mean, edges.layer_matrix(1).score[held])


def test_every_choice_belongs_to_the_key(write_release, toy_cells):
    release = read_release(write_release())
    choices = [{}, {"edge_rule": "double_rank"}, {"zeros": "keep"}, {"bin_ties": "left"}, {"encoding_seed": 1}]
    keys = {request_keys(release, toy_cells, ExtractionSettings(**choice), "cpu").key for choice in choices}
    assert len(keys) == len(choices)


def test_rules_that_cannot_be_had_are_refused(write_release, toy_cells, tmp_path):
    both, causal = (SimpleNamespace(direction=kind, family="f") for kind in ("bidirectional", "causal"))
    for rule in get_args(EdgeRule):
        assert unreadable(rule, both) == ""
    assert unreadable("softmax_mean", causal, several=True) == ""
    assert "in a causal model (family f) most keys have no score" in unreadable("double_rank", causal)
    assert "needs genes of one token each" in unreadable("double_rank", both, several=True)
    settings = ExtractionSettings(device="cpu", edge_rule="rank")
    with pytest.raises(ValueError, match="edge_rule = 'rank'; use softmax_mean or double_rank"):
        extract_attention(read_release(write_release()), toy_cells, tmp_path / "x", settings)
    with pytest.raises(ValueError, match="came without content"):
        edge_rules.raw_scores(LayerAttention(form="softmax"), 0, 3)
    told = LayerAttention(form="softmax", weights=torch.rand(1, 2, 3, 3))
    twice = (np.array([0, 1], dtype=np.int32), np.array([5, 5], dtype=np.int32), np.array([0, 2]))
    once = (twice[0], np.array([4, 5], dtype=np.int32), twice[2])
    back = LayerAttention(form="softmax", weights=told.weights, causal=True)
    add_double_rank(torch.zeros(6, 6), told, once, lengths=np.array([3]), heads=False)
    for attention, positions in ((told, twice), (back, once)):
        with pytest.raises(ValueError, match="genes of one token each"):
            add_double_rank(torch.zeros(6, 6), attention, positions, lengths=np.array([3]), heads=False)


def test_a_model_that_looks_back_has_no_edges_under_double_rank_and_stops_nothing(write_release, toy_cells, tmp_path):
    class LooksBack:
        def __init__(self, model):
            self.model = model

        def __getattr__(self, name):
            return getattr(self.model, name)

        def describe(self):
            return replace(self.model.describe(), direction="causal")

    settings = ExtractionSettings(device="cpu", edge_rule="double_rank")
    with pytest.raises(NothingToReadError, match="in a causal model"):
        extract_attention(
            read_release(write_release()),
            toy_cells,
            tmp_path / "x",
            settings,
            load=lambda *given, **how: LooksBack(load_model(*given, **how)),
        )


def test_the_study_names_the_rule_and_the_encoding(tmp_path):
    assert get_args(EdgeRule) == EDGE_RULES
    text = "title: t\nprimary_reference: planted\nroles: {primary_screen: {dataset: d, role_fit: full}}\nattention: "
    path = tmp_path / "own.yaml"
    path.write_text(text + "{edge_rule: double_rank, zeros: keep, bin_ties: left, encoding_seed: 3}\n")
    told = load_study(path).attention
    assert told.edge_rule == "double_rank"
    assert (told.encoding.zeros, told.encoding.ties, told.encoding.seed) == ("keep", "left", 3)
    for wrong, said in (
        ("{edge_rule: sum}", "attention: edge_rule = 'sum'"),
        ("{zeros: some}", "attention: zeros = 'some'; use drop or keep"),
        ("{bin_ties: both}", "random or left"),
        ("{encoding_seed: -1}", "0 or more"),
    ):
        path.write_text(text + wrong)
        with pytest.raises(SettingsError, match=said):
            load_study(path)
    plain = AttentionSettings()
    assert (plain.edge_rule, plain.encoding) == ("softmax_mean", ExtractionSettings().encoding)

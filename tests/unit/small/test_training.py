"""Masked-gene training of small models: draws, masking, losses, baselines and what repeats."""

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix

from interp_assets.models.small.batches import (
    CLS,
    EOS,
    FIRST_GENE,
    IGNORED,
    MASK,
    PAD,
    EncodedCells,
    baseline_losses,
    mask_genes,
    sequences,
)
from interp_assets.models.small.geneformer import MaskedGenes, build_model
from interp_assets.models.small.training import TrainingSettings, train

TINY = {
    "layers": 2,
    "heads": 2,
    "width": 16,
    "feed_forward": 32,
    "batch": 8,
    "long_batch": 4,
    "short_genes": 12,
    "long_genes": 20,
    "warmup": 5,
    "held_out_points": 2,
    "held_out_curve_cells": 8,
}


def two_programmes(cells: int, seed: int, genes: int = 80) -> EncodedCells:
    """Cells of two types, each expressing about a third of its own half of the genes."""
    rng = np.random.default_rng(seed)
    rate = np.full((cells, genes), 0.005)
    half = genes // 2
    for cell, programme in enumerate(rng.integers(0, 2, cells)):
        rate[cell, programme * half : (programme + 1) * half] = 0.45
    return EncodedCells(counts=csr_matrix(rng.poisson(rate).astype(np.int32)), medians=np.ones(genes))


@pytest.fixture(scope="module")
def cells():
    return two_programmes(60, 0), two_programmes(20, 1)


def trained_on(training, held_out, settings):
    return train(MaskedGenes(training=training, held_out=held_out, settings=settings), progress=False)


def test_sequences_frame_and_pad():
    ids = sequences([np.array([9, 8, 7]), np.array([5])])
    assert ids.tolist() == [[CLS, 9, 8, 7, EOS], [CLS, 5, EOS, PAD, PAD]]


def test_masking_follows_the_rule_and_spares_special_tokens():
    genes = np.random.default_rng(0).integers(FIRST_GENE, 500, size=(200, 300))
    ids = np.concatenate((np.full((200, 1), CLS), genes, np.full((200, 1), EOS), np.full((200, 2), PAD)), axis=1)
    inputs, targets = mask_genes(ids, 0.2, 500, np.random.default_rng(1))
    chosen = targets != IGNORED
    assert not chosen[ids < FIRST_GENE].any()
    assert (targets[chosen] == ids[chosen]).all()
    assert (inputs[~chosen] == ids[~chosen]).all()
    assert chosen.sum() / genes.size == pytest.approx(0.2, abs=0.01)
    assert (inputs[chosen] == MASK).mean() == pytest.approx(0.8, abs=0.02)
    assert (inputs[chosen] == ids[chosen]).mean() == pytest.approx(0.1, abs=0.02)
    assert inputs[chosen].max() < 500


def test_thinning_keeps_a_uniform_share_of_molecules():
    counts = csr_matrix(np.full((2000, 3), 50, dtype=np.int32))
    cells = EncodedCells(counts=counts, medians=np.ones(3))
    before = counts.copy()
    drawn = cells.thinned(np.arange(2000), np.random.default_rng(0), floor=0.5)
    share = np.asarray(drawn.sum(axis=1)).ravel() / 150
    assert (cells.counts != before).nnz == 0
    assert share.mean() == pytest.approx(0.75, abs=0.01)
    assert share.min() < 0.5 and share.max() > 0.95
    assert (drawn.data <= 50).all()


def test_tokens_without_thinning_follow_falling_value():
    cells = EncodedCells(counts=csr_matrix(np.array([[1, 6, 3], [0, 0, 2]])), medians=np.array([1.0, 3.0, 1.0]))
    tokens = cells.tokens(np.array([1, 0]), 2)
    assert [t.tolist() for t in tokens] == [[FIRST_GENE + 2], [FIRST_GENE + 2, FIRST_GENE + 1]]


def test_baselines_equal_a_plain_loop():
    rng = np.random.default_rng(0)
    vocabulary, genes = 24, 20
    training = [rng.permutation(np.arange(FIRST_GENE, vocabulary))[: rng.integers(3, genes)] for _ in range(30)]
    truth = sequences([rng.permutation(np.arange(FIRST_GENE, vocabulary))[: 18 - i] for i in range(4)])
    chosen = (rng.random(truth.shape) < 0.4) & (truth >= FIRST_GENE)
    unigram = dict.fromkeys(range(FIRST_GENE, vocabulary), 1.0)
    bucket_counts = {}
    for cell in training:
        for rank, gene in enumerate(cell):
            unigram[gene] += 1.0
            bucket_counts.setdefault(rank // 16, dict.fromkeys(range(vocabulary), 0.0))[gene] += 1.0
    total = sum(unigram.values())
    unigram = {g: n / total for g, n in unigram.items()}
    expected = dict.fromkeys(("unigram", "unigram_unseen", "rank", "rank_unseen"), 0.0)
    for ids, hidden in zip(truth, chosen, strict=True):
        visible = {g for g, h in zip(ids, hidden, strict=True) if g >= FIRST_GENE and not h}
        for place in np.flatnonzero(hidden):
            counts = bucket_counts[(place - 1) // 16]
            size = sum(counts.values()) + 100.0
            rank = {g: (counts[g] + 100.0 * unigram[g]) / size for g in unigram}
            for name, rule in (("unigram", unigram), ("rank", rank)):
                left = sum(p for g, p in rule.items() if g not in visible)
                expected[name] -= np.log(rule[ids[place]])
                expected[f"{name}_unseen"] -= np.log(rule[ids[place]] / left)
    found = baseline_losses(training, truth, chosen, vocabulary)
    for name, value in expected.items():
        assert found[name] == pytest.approx(value / chosen.sum(), rel=1e-10), name


def test_schedule_warms_up_decays_and_lengthens():
    settings = TrainingSettings(steps=400, warmup=100, long_share=0.25, learning_rate=2e-3)
    rates = [settings.rate(step) for step in range(400)]
    assert rates[0] == pytest.approx(2e-5) and max(rates) == pytest.approx(2e-3)
    assert np.argmax(rates) in (99, 100) and rates[-1] == pytest.approx(2e-3 / 300)
    assert settings.at(299) == (16, 126) and settings.at(300) == (8, 256)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 0}, "steps is 0"),
        ({"heads": 3}, "does not split"),
        ({"mask_share": 1.0}, "mask_share"),
        ({"thinning_floor": 0.0}, "thinning_floor"),
        ({"short_genes": 300}, "short_genes"),
    ],
)
def test_settings_that_make_no_sense_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        TrainingSettings(**({"steps": 1} | change))


def test_a_model_learns_two_programmes(cells):
    """A masked gene of a cell belongs to the programme of its visible genes: half the vocabulary drops out."""
    settings = TrainingSettings(steps=150, learning_rate=1e-2, bfloat16=False, **(TINY | {"warmup": 20}))
    trained = trained_on(*cells, settings)
    assert trained.held_out.gap > 0.1
    assert trained.held_out_curve[0][2] > trained.held_out_curve[-1][2] + 0.3
    assert [point[1] for point in trained.held_out_curve] == [12, 12, 20]
    assert trained.training_curve[-1][0] == 150 and trained.training_curve[0][0] == 50


def test_weights_repeat_and_the_callers_torch_state_stays(cells):
    settings = TrainingSettings(steps=3, **TINY)
    torch.manual_seed(123)
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    first = trained_on(*cells, settings)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads
    torch.manual_seed(7)
    second = trained_on(*cells, settings)
    other = trained_on(*cells, TrainingSettings(steps=3, seed=1, **TINY))
    pairs = zip(first.model.state_dict().values(), second.model.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert first.held_out == second.held_out != other.held_out


def test_held_out_cells_teach_nothing(cells):
    training, held_out = cells
    settings = TrainingSettings(steps=3, **TINY)
    first = trained_on(training, held_out, settings)
    second = trained_on(training, two_programmes(20, 99), settings)
    pairs = zip(first.model.state_dict().values(), second.model.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_a_loss_that_stops_being_finite_is_an_error(cells):
    settings = TrainingSettings(steps=5, learning_rate=1e30, bfloat16=False, **(TINY | {"warmup": 1}))
    with pytest.raises(ValueError, match="lower learning_rate"):
        trained_on(*cells, settings)


def test_unmaskable_cells_are_an_error(cells):
    empty = EncodedCells(counts=csr_matrix((3, 80), dtype=np.int32), medians=np.ones(80))
    with pytest.raises(ValueError, match="too few genes"):
        trained_on(cells[0], empty, TrainingSettings(steps=1, **TINY))


def test_the_shipped_shape_is_eight_by_eight():
    model = build_model(TrainingSettings(steps=1), 2048)
    config = model.config
    shape = (config.num_hidden_layers, config.num_attention_heads, config.hidden_size, config.intermediate_size)
    assert shape == (8, 8, 128, 256)
    assert config.hidden_act == "relu" and config.max_position_embeddings == 258

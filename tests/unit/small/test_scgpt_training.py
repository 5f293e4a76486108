"""Hidden-value training of small scGPT-layout models: the modules, what is learned, what repeats, what is written."""

import json

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix

from interp_assets.cells.prepare import normalised_log
from interp_assets.models.adapter import Encoding, load_model
from interp_assets.models.attention.plan import score_cells, token_batch
from interp_assets.models.files.checkpoints import read_state_dict
from interp_assets.models.files.releases import read_release
from interp_assets.models.small import making, scgpt_model
from interp_assets.models.small.batches import VocabularyCells
from interp_assets.models.small.cells import DonorCells
from interp_assets.models.small.scgpt import (
    MaskedValues,
    ValueTrainingSettings,
    build_model,
    principal_loadings,
    squared_errors,
)
from interp_assets.models.small.training import train
from interp_assets.models.small.values import ValueSequences, value_sequences

TINY = {
    "layers": 2,
    "heads": 2,
    "width": 16,
    "feed_forward": 24,
    "batch": 8,
    "long_batch": 4,
    "short_genes": 12,
    "long_genes": 16,
    "warmup": 5,
    "bins": 11,
    "axes": 4,
    "held_out_points": 2,
    "held_out_curve_cells": 8,
}
GENES = [f"G{i}" for i in range(24)]


def two_programmes(cells: int, seed: int, genes: int = 24) -> csr_matrix:
    """Counts of cells of two types, each with high counts in its own half of the genes and low ones elsewhere."""
    rng = np.random.default_rng(seed)
    rate = np.full((cells, genes), 0.6)
    for cell, programme in enumerate(rng.integers(0, 2, cells)):
        rate[cell, programme * genes // 2 : (programme + 1) * genes // 2] = 6.0
    return csr_matrix(rng.poisson(rate).astype(np.int32))


@pytest.fixture(scope="module")
def cells() -> DonorCells:
    return DonorCells(
        counts=two_programmes(90, 0),
        genes=np.array(GENES),
        names=np.array([f"cell{i}" for i in range(90)]),
        donors=np.repeat(np.array(["human1", "human2", "human4"]), 30),
        data="test",
        data_sha256="ab" * 32,
    )


def task(cells: DonorCells, **settings) -> MaskedValues:
    training, held_out = cells.of(("human1", "human2")), cells.of(("human4",))
    return MaskedValues.of_donors(training, held_out, GENES, ValueTrainingSettings(**(TINY | settings)))


@pytest.fixture(scope="module")
def folder(cells, tmp_path_factory):
    out = tmp_path_factory.mktemp("releases") / "scgpt-small-0k"
    making.make_release(out, MaskedValues, ValueTrainingSettings(steps=6, **TINY), cells, GENES, progress=False)
    return out


def drawn(seed: int, cells: int = 4) -> ValueSequences:
    """Sequences of unequal length."""
    counts = two_programmes(cells, seed).toarray()
    counts[0, 5:] = 0
    return value_sequences(csr_matrix(counts), 16, 11, 0.25, np.random.default_rng(seed))


def test_the_encoder_is_torchs_own_post_norm_encoder():
    torch.manual_seed(0)
    model = build_model(ValueTrainingSettings(steps=1, **TINY), 24).eval()
    layer = torch.nn.TransformerEncoderLayer(16, 2, 24, 0.0, batch_first=True)
    reference = torch.nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).train()
    renamed = {
        name.replace("Wqkv.", "in_proj_"): tensor for name, tensor in model.transformer_encoder.state_dict().items()
    }
    reference.load_state_dict(renamed)
    shown = drawn(1)
    genes, values = torch.from_numpy(shown.genes), torch.from_numpy(shown.values)
    padding = genes == 24
    assert padding.any()
    with torch.no_grad():
        embedded = model.encoder(genes) + model.value_encoder(values)
        expected = reference(embedded, src_key_padding_mask=padding)
        torch.testing.assert_close(model(genes, values)[~padding], expected[~padding], atol=2e-6, rtol=1e-5)


def test_padding_and_the_order_of_genes_change_nothing():
    torch.manual_seed(0)
    model = build_model(ValueTrainingSettings(steps=1, **TINY), 24).eval()
    shown = drawn(2)
    genes, values = torch.from_numpy(shown.genes), torch.from_numpy(shown.values)
    length = int(shown.is_gene[0].sum()) + 1
    order = torch.randperm(length)
    with torch.no_grad():
        whole = model(genes, values)[0, :length]
        alone = model(genes[:1, :length][:, order], values[:1, :length][:, order])[0]
    torch.testing.assert_close(alone, whole[order], atol=2e-6, rtol=1e-5)


def test_the_loss_is_the_squared_error_of_hidden_values_alone():
    torch.manual_seed(0)
    model = build_model(ValueTrainingSettings(steps=1, **TINY), 24).eval()
    shown = drawn(3)
    hidden = shown.hidden(0.4, np.random.default_rng(0))
    with torch.no_grad():
        errors = squared_errors(model, shown, hidden, bfloat16=False)
        states = model(torch.from_numpy(shown.genes), torch.from_numpy(shown.shown(hidden)))
        predicted = model.decoder(states).numpy()
    assert errors.shape == (hidden.sum(),)
    np.testing.assert_allclose(errors, (predicted - shown.values)[hidden] ** 2, rtol=1e-4)


def test_loadings_are_those_of_the_covariance_of_standardised_genes(cells):
    """An eigendecomposition of the genes gives the same axes as the decomposition of the cells."""
    given = task(cells, steps=1)
    log = normalised_log(given.training.counts).toarray().astype(float)
    spread = (log - log.mean(axis=0)) / (log.std(axis=0) + 0.05)
    size, axes = np.linalg.eigh(spread.T @ spread / len(log))
    found = principal_loadings(given.training, given.settings)
    assert found.shape == (24, 5)
    for k in range(4):
        expected = axes[:, -1 - k] * np.sqrt(size[-1 - k])
        np.testing.assert_allclose(np.abs(found[:, k]), np.abs(expected), atol=1e-5)
    programme = np.repeat([1.0, -1.0], 12)
    assert (np.sign(found[:, 0]) == np.sign(found[0, 0]) * programme).all(), "the first axis tells the two programmes"
    np.testing.assert_allclose(np.std(found[:, 4]), 0.5, rtol=1e-5)


def test_training_cells_differ_in_their_zeros():
    """Shares of zeros range from none to twice the held-out share, so that visible zeros do not tell of hidden ones."""
    shares = ValueTrainingSettings(steps=1).zero_shares(4000, np.random.default_rng(0))
    assert (shares == 0).mean() == pytest.approx(0.25, abs=0.03)
    assert shares.max() < 0.5 and shares[shares > 0].mean() == pytest.approx(0.25, abs=0.01)


def test_genes_start_from_their_loadings(cells):
    """Genes of one programme start close to each other, special tokens at random."""
    torch.manual_seed(0)
    start = task(cells, steps=1, width=64).build().encoder.embedding.weight.detach()[:24]
    alike = torch.corrcoef(start)
    same = torch.arange(24)[:, None] // 12 == torch.arange(24) // 12
    off = ~torch.eye(24, dtype=torch.bool)
    assert float(alike[same & off].mean()) > 0.3 + float(alike[~same].mean())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"zero_share": 0.5}, "zero_share"),
        ({"without_zeros": -0.1}, "without_zeros"),
        ({"bins": 2}, "bins is 2"),
        ({"random_ties": 1.5}, "random_ties"),
        ({"axes": 128}, "axes in"),
        ({"heads": 3}, "does not split"),
    ],
)
def test_settings_that_make_no_sense_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        ValueTrainingSettings(**({"steps": 1} | change))


def test_a_model_learns_two_programmes(cells):
    """A hidden value of a cell is high where the visible genes of its programme are: gene means cannot know."""
    trained = train(task(cells, steps=100, learning_rate=1e-2, bfloat16=False), progress=False)
    assert trained.held_out.model < 0.85 * trained.held_out.baseline
    assert trained.held_out_curve[0][2] > trained.held_out_curve[-1][2]


def test_unhidden_cells_are_an_error(cells):
    empty = VocabularyCells(counts=csr_matrix((3, 24), dtype=np.int32))
    given = task(cells, steps=1)
    with pytest.raises(ValueError, match="too few genes"):
        MaskedValues(training=given.training, held_out=empty, settings=given.settings).quiz(8)


def test_the_same_settings_make_the_same_bytes(folder, cells, tmp_path):
    again = tmp_path / folder.name
    making.make_release(again, MaskedValues, ValueTrainingSettings(steps=6, **TINY), cells, GENES, progress=False)
    assert sorted(path.name for path in again.iterdir()) == ["args.json", "best_model.pt", "release.json", "vocab.json"]
    for path in sorted(folder.iterdir()):
        assert (again / path.name).read_bytes() == path.read_bytes(), path.name


def test_another_seed_makes_another_model(folder, cells, tmp_path):
    other = tmp_path / folder.name
    settings = ValueTrainingSettings(steps=6, seed=1, **TINY)
    making.make_release(other, MaskedValues, settings, cells, GENES, progress=False)
    assert (other / "best_model.pt").read_bytes() != (folder / "best_model.pt").read_bytes()


def test_the_folder_names_tensors_as_published_checkpoints_do(folder):
    state = read_state_dict(folder / "best_model.pt")
    layers = {f"transformer_encoder.layers.{i}.{name}" for i in range(2) for name in (
        "self_attn.Wqkv.weight", "self_attn.Wqkv.bias", "self_attn.out_proj.weight", "self_attn.out_proj.bias",
        "linear1.weight", "linear1.bias", "linear2.weight", "linear2.bias",
        "norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias",
    )}  # fmt: skip
    values = {f"value_encoder.{name}.{part}" for name in ("linear1", "linear2", "norm") for part in ("weight", "bias")}
    decoder = {f"decoder.fc.{i}.{part}" for i in (0, 2, 4) for part in ("weight", "bias")}
    genes = {"encoder.embedding.weight", "encoder.enc_norm.weight", "encoder.enc_norm.bias"}
    assert set(state) == layers | values | decoder | genes
    assert state["encoder.embedding.weight"].shape == (27, 16)
    vocabulary = json.loads((folder / "vocab.json").read_text())
    assert list(vocabulary) == [*GENES, "<pad>", "<cls>", "<eoc>"] and list(vocabulary.values()) == list(range(27))
    arguments = json.loads((folder / "args.json").read_text())
    assert (arguments["embsize"], arguments["nheads"], arguments["nlayers"], arguments["d_hid"]) == (16, 2, 2, 24)
    assert (arguments["n_bins"], arguments["max_seq_len"], arguments["pad_value"]) == (11, 17, -2)


def test_the_manifest_says_how_the_model_came_to_be(folder, cells):
    release = read_release(folder)
    assert (release.name, release.family, release.gene_key) == ("scgpt-small-0k", "scgpt", "symbol")
    training = release.facts["training"]
    assert training["donors"] == ["human1", "human2"] and training["held_out_donor"] == ["human4"]
    assert training["cells_sha256"] == cells.of(("human1", "human2")).cells_sha256
    assert training["baseline"] == min(training["baselines"].values())
    assert training["gap"] == pytest.approx(training["baseline"] - training["held_out_loss"], abs=2e-4)
    assert training["settings"]["steps"] == training["steps"] == training["training_curve"][-1][0] == 6
    assert set(training["versions"]) >= {"torch", "numpy", "python"}


def test_the_adapter_runs_the_model_that_was_trained(folder, monkeypatch):
    """Two encoders written apart, the one that trains and the one that reads attention, give the same numbers."""
    model = load_model(read_release(folder), encoding=Encoding(ties="left"))
    counts = two_programmes(5, 9)
    scored = score_cells(model.encode(counts, np.array(GENES)), np.arange(24))
    batch = token_batch(scored, np.arange(5), model.describe().padding)
    blocks = model.blocks(batch, form="softmax")
    read = {}
    hidden = blocks.start()
    for layer in range(2):
        hidden = blocks.step(layer, hidden, lambda at, told: read.update({at: told.weights}))
    trained = build_model(ValueTrainingSettings(steps=1, **TINY), 24).eval()
    trained.load_state_dict(torch.load(folder / "best_model.pt", weights_only=True))
    seen = []
    softmax = torch.softmax

    def noted(scores, dim):
        seen.append(softmax(scores, dim))
        return seen[-1]

    monkeypatch.setattr(scgpt_model.torch, "softmax", noted)
    codes = 11 + 2
    genes, code = batch.tokens // codes, batch.tokens % codes
    values = np.where(code == 0, -2.0, code - 2.0).astype(np.float32)
    with torch.no_grad():
        expected = trained(torch.from_numpy(genes), torch.from_numpy(values))
    real = np.arange(genes.shape[1]) < batch.lengths[:, None]
    assert len(seen) == 2 and real.sum() > 5 * 10
    np.testing.assert_allclose(hidden[torch.from_numpy(real)], expected[torch.from_numpy(real)], atol=5e-6)
    for layer in range(2):
        for cell, length in enumerate(batch.lengths):
            found = read[layer][cell, :, :length, :length]
            np.testing.assert_allclose(found, seen[layer][cell, :, :length, :length], atol=1e-6)

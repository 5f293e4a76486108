"""Tiny models that can be intervened on, their naive forward pass, and a screen to read them on."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from interp_assets.cells.records import PreparedCells
from interp_assets.interventions.cells import encoded_cells, richest_cells, subset
from interp_assets.interventions.measure import Plan, Screen, measure_interventions
from interp_assets.interventions.records import Interventions
from interp_assets.interventions.run import Setting
from interp_assets.models.adapter import LayerAttention, TokenBatch
from interp_assets.models.attention.plan import plan_batches
from interp_assets.models.families.geneformer import GeneformerModel, load_geneformer
from interp_assets.models.files.releases import read_release


def _module(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(f"interventions_{path.parent.name}_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


HERE = Path(__file__).parent
example, models = _module(HERE / "example_bert.py"), _module(HERE.parent / "models" / "conftest.py")
GENES, PERTURBED, REGULATORS = 22, 9, 6


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    """Matrices of this size are slower on several threads, many times so on a busy machine."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def write_bert(tmp_path: Path) -> Callable[..., Path]:
    """Function that writes a release of a tiny BERT (see `example_bert.write_bert`) and returns its folder."""
    return lambda name="tiny", **shape: example.write_bert(tmp_path / "releases" / name, models.seal, **shape)


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    """Release of 4 layers x 4 heads over 30 genes, with a token head of its own (untied)."""
    return example.write_bert(tmp_path_factory.mktemp("bert") / "tiny", models.seal, layers=4, head="untied")


@pytest.fixture(scope="session")
def naive(folder):
    """Naive forward pass of the model."""
    return example.Naive(folder)


@pytest.fixture(scope="session")
def naive_of() -> Callable[[Path], Any]:
    """Naive forward pass of the release in a folder."""
    return example.Naive


@pytest.fixture
def model(folder) -> GeneformerModel:
    """The model as the platform loads it."""
    return load_geneformer(read_release(folder))


@pytest.fixture(scope="session")
def batch() -> TokenBatch:
    """Three cells of 12, 7 and 3 tokens, padded."""
    rng = np.random.default_rng(3)
    lengths = np.array([12, 7, 3])
    tokens = np.zeros((3, 12), dtype=np.int64)
    for row, length in enumerate(lengths):
        tokens[row, :length] = [2, *rng.choice(np.arange(4, 34), length - 2, replace=False), 3]
    return TokenBatch(tokens=tokens, lengths=lengths)


def softmax_of(attention: LayerAttention):
    """Full softmax weights (B x H x S x S) from either form."""
    import torch

    if attention.weights is not None:
        return attention.weights.clone()
    scores = torch.einsum("bqhd,bkhd->bhqk", attention.query, attention.key) * attention.scale
    return torch.exp(scores - attention.logsumexp[..., None])


@pytest.fixture(scope="session")
def weights_of() -> Callable[[LayerAttention], Any]:
    """The function `softmax_of`."""
    return softmax_of


@pytest.fixture(scope="session")
def cells() -> PreparedCells:
    """13 cells, one of them perturbed, over 34 genes of which 4 are unknown to the model."""
    genes = [*(f"X{number}" for number in range(2)), *(f"G{number}" for number in range(30)), "X2", "X3"]
    counts = example.toy_counts(13, 34)
    counts[5, 2:] = 0
    return models.prepared_cells(counts, genes, genes[2:24], control=np.arange(13) != 4)


@pytest.fixture(scope="session")
def make_cells() -> Callable[..., PreparedCells]:
    """Prepared cells around a dense count matrix."""
    return models.prepared_cells


@pytest.fixture(scope="session")
def screen() -> Screen:
    """Nine perturbations in no order and six regulators over 22 scored genes, labels and pairs at random."""
    rng = np.random.default_rng(8)
    genes = np.array([f"G{number}" for number in rng.permutation(GENES)])
    source = rng.permutation(GENES)[:PERTURBED].astype(np.int64)
    label = rng.integers(0, 2, (PERTURBED, GENES)).astype(np.int8)
    label[rng.random(label.shape) < 0.1] = -1
    label[np.arange(PERTURBED), source] = -1
    regulators = np.sort(rng.permutation(GENES)[:REGULATORS]).astype(np.int64)
    member = rng.random((REGULATORS, GENES)) < 0.3
    member[np.arange(REGULATORS), regulators] = False
    return Screen(
        genes=genes, perturbations=genes[source], source=source, label=label, regulators=regulators, member=member
    )


@pytest.fixture(scope="session")
def plan() -> Plan:
    """Read-out in layer 2 of 4, all cells, three random sets, batches of two cells or so."""
    return Plan(read_out=2, tokens=0, random_sets=3, seed=0, batch_tokens=40, progress=False)


@pytest.fixture(scope="session")
def measured(folder, cells, screen, plan) -> Interventions:
    """Every condition on the tiny model."""
    return measure_interventions(load_geneformer(read_release(folder)), cells, screen, plan)


@pytest.fixture
def setting(model, cells, screen) -> Setting:
    """Every control cell that holds a perturbed gene, in padded batches, rows of the screen, layers 2 and 3 read."""
    scored = encoded_cells(model, cells, screen.genes)
    scored = subset(scored, richest_cells(scored, screen.source, 0))
    batches = plan_batches(scored, 60, 10**6).batches
    return Setting(model=model, cells=scored, batches=batches, rows=screen.source, read_layers=(2, 3), form="logsumexp")


@pytest.fixture
def setting_of(setting) -> Callable[..., Setting]:
    """The setting with some parts exchanged."""
    return lambda **changes: replace(setting, **changes)

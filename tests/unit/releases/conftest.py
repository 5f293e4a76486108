"""Folders in the layout of published models, small, and deployments to add them to."""

from __future__ import annotations

import hashlib
import json
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from interp_assets.discovery.sources import HubSource

from .hub_server import Hub, serving
from .watched import MODEL, REPO

SPECIALS = ("<pad>", "<mask>", "<cls>", "<eos>")
ENSEMBL = tuple(f"ENSG{number:011d}" for number in range(60))
WriteFolder = Callable[..., Path]


def sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def files_of(folder: Path) -> dict[str, bytes]:
    """Files of the folder above one, by path: a repository with that folder and what lies beside it."""
    top = folder.parent
    return {path.relative_to(top).as_posix(): path.read_bytes() for path in sorted(top.rglob("*")) if path.is_file()}


def write_bert(
    folder: Path, vocabulary: int, *, weights: str = "model.safetensors", seed: int = 0, **sizes: int
) -> Path:
    """config.json and weights of a small random `BertForMaskedLM`, saved as upstream saves them."""
    import torch
    from safetensors.torch import save_file
    from transformers import BertConfig, BertForMaskedLM

    shape = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    shape |= {"max_position_embeddings": 20, **sizes}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = BertForMaskedLM(BertConfig(vocab_size=vocabulary, hidden_act="relu", **shape))
    tied = "cls.predictions.decoder."
    state = {name: tensor.contiguous() for name, tensor in model.state_dict().items() if not name.startswith(tied)}
    folder.mkdir(parents=True, exist_ok=True)
    if weights.endswith(".safetensors"):
        save_file(state, folder / weights, metadata={"format": "pt"})
    else:
        torch.save(state, folder / weights)
    config = {"architectures": ["BertForMaskedLM"], "model_type": "bert", "vocab_size": vocabulary, "pad_token_id": 0}
    config |= {"hidden_act": "relu", "layer_norm_eps": 1e-12, "position_embedding_type": "absolute", **shape}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def write_dictionaries(folder: Path, tag: str, genes: tuple[str, ...] = ENSEMBL, specials: Any = SPECIALS) -> Path:
    """The four pickled dictionaries of Geneformer, with the numpy scalars the published ones hold."""
    folder.mkdir(parents=True, exist_ok=True)
    tokens: dict[str, Any] = {name: number for number, name in enumerate(specials)}
    tokens |= {gene: np.int16(number + len(specials)) for number, gene in enumerate(genes)}
    contents: dict[str, Any] = {
        "token_dictionary": tokens,
        "gene_median_dictionary": {gene: np.float64(1 + number % 7) for number, gene in enumerate(genes)},
        "gene_name_id_dict": {f"GENE{number}": gene for number, gene in enumerate(genes)},
        "ensembl_mapping_dict": {f"ALIAS{number}": gene for number, gene in enumerate(genes)},
    }
    for name, content in contents.items():
        (folder / f"{name}_{tag}.pkl").write_bytes(pickle.dumps(content, protocol=4))
    return folder


@pytest.fixture
def geneformer(tmp_path: Path) -> WriteFolder:
    """Function that writes ``Geneformer-V2-tiny`` as published, its dictionaries in ``geneformer`` beside it."""

    def write(name: str = "Geneformer-V2-tiny", *, weights: str = "model.safetensors", seed: int = 0) -> Path:
        top = tmp_path / "upstream"
        folder = write_bert(top / name, len(ENSEMBL) + 4, weights=weights, seed=seed)
        (folder / "generation_config.json").write_text("{}")
        (folder / "training_args.bin").write_bytes(pickle.dumps({"lr": 1}))
        write_dictionaries(top / "geneformer", "gc104M")
        return folder

    return write


@pytest.fixture
def releases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Empty releases folder of a deployment."""
    folder = tmp_path / "releases"
    folder.mkdir()
    monkeypatch.setenv("INTERP_RELEASES", str(folder))
    monkeypatch.setenv("INTERP_STORE", str(tmp_path / "store"))
    return folder


@pytest.fixture
def files(geneformer) -> dict[str, bytes]:
    """A repository of one model with its dictionaries in a folder of their own, as Geneformer's is."""
    return {**files_of(geneformer()), "README.md": b"# A model"}


@pytest.fixture
def hub(files) -> Iterator[Hub]:
    with serving(Hub(REPO)) as found:
        found.commit(files)
        yield found


@pytest.fixture
def source(hub) -> HubSource:
    return HubSource(repo=REPO, folder=MODEL, endpoint=hub.endpoint)


@pytest.fixture
def other_weights(files, tmp_path) -> bytes:
    return (write_bert(tmp_path / "other", len(ENSEMBL) + 4, seed=1) / "model.safetensors").read_bytes()


@pytest.fixture
def other_dictionary(tmp_path) -> bytes:
    """A token dictionary of the same genes in another order."""
    folder = write_dictionaries(tmp_path / "turned", "gc104M", (*ENSEMBL[1:], ENSEMBL[0]))
    return (folder / "token_dictionary_gc104M.pkl").read_bytes()

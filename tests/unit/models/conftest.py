"""Tiny Geneformer-layout releases with random weights, written the way a real release is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix

from interp_assets.cells.records import PreparedCells

WriteRelease = Callable[..., Path]


def seal(folder: Path, **facts: Any) -> Path:
    """Write release.json over the files of a folder."""
    files = [
        {
            "path": path.relative_to(folder).as_posix(),
            "size": path.stat().st_size,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        }
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "release.json"
    ]
    manifest = {"name": folder.name, "family": "geneformer", "gene_key": "symbol", **facts, "files": files}
    (folder / "release.json").write_text(json.dumps(manifest))
    return folder


def save_bert(folder: Path, vocabulary: int, peak: float, seed: int, **shape: int) -> None:
    """Random masked language model, query and key weights multiplied by ``peak``."""
    import torch
    from safetensors.torch import save_file
    from transformers import BertConfig, BertForMaskedLM

    sizes = {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "max_position_embeddings": 24,
        **shape,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = BertForMaskedLM(BertConfig(vocab_size=vocabulary, hidden_act="relu", **sizes))
        with torch.no_grad():
            for layer in model.bert.encoder.layer:
                for part in (layer.attention.self.query, layer.attention.self.key):
                    part.weight.normal_(0, 0.05).mul_(peak)
                    part.bias.normal_(0, 0.1)
    state = {name: tensor.contiguous() for name, tensor in model.state_dict().items() if "decoder" not in name}
    save_file(state, folder / "model.safetensors")
    config = {"model_type": "bert", "vocab_size": vocabulary, "hidden_act": "relu", "layer_norm_eps": 1e-12, **sizes}
    (folder / "config.json").write_text(json.dumps(config))


@pytest.fixture
def write_release(tmp_path: Path) -> WriteRelease:
    """Function that writes a release folder and returns it."""

    def write(
        name: str = "tiny",
        genes: Sequence[str] = tuple(f"G{number}" for number in range(40)),
        *,
        specials: Sequence[str] = ("<pad>", "<mask>", "<cls>", "<eos>"),
        medians: Mapping[str, float] | None = None,
        peak: float = 1.0,
        seed: int = 0,
        facts: Mapping[str, Any] | None = None,
        **shape: int,
    ) -> Path:
        folder = tmp_path / "releases" / name
        folder.mkdir(parents=True)
        tokens = {token: number for number, token in enumerate([*specials, *genes])}
        (folder / "token_dictionary.json").write_text(json.dumps(tokens))
        # square-free roots: equal counts of genes with equal medians tie exactly, nothing else nearly ties
        roots = np.sqrt([2.0, 3.0, 5.0, 6.0, 7.0, 10.0, 11.0])
        stated = medians or {gene: float(roots[number % 7]) for number, gene in enumerate(genes)}
        (folder / "gene_median_dictionary.json").write_text(json.dumps(stated))
        save_bert(folder, len(tokens), peak, seed, **shape)
        return seal(folder, **(facts or {}))

    return write


def prepared_cells(
    counts: np.ndarray,
    genes: Sequence[str],
    universe: Sequence[str] | None = None,
    control: np.ndarray | None = None,
) -> PreparedCells:
    """Prepared cells around a dense count matrix."""
    cells = counts.shape[0]
    names = [f"cell{number}" for number in range(cells)]
    marked = np.ones(cells, dtype=bool) if control is None else control
    digest = hashlib.sha256("\n".join(np.array(names)[marked]).encode()).hexdigest()
    return PreparedCells(
        dataset="toy",
        species="human",
        data_origin="simulated",
        counts=csr_matrix(counts.astype(np.int32)),
        log=csr_matrix(np.log1p(counts).astype(np.float32)),
        genes=np.array(genes, dtype=np.str_),
        obs=pd.DataFrame(index=names),
        control=marked,
        cells_hash=digest,
        universe=np.array(genes if universe is None else universe, dtype=np.str_),
    )


@pytest.fixture
def make_cells() -> Callable[..., PreparedCells]:
    """The function `prepared_cells`."""
    return prepared_cells


@pytest.fixture
def seal_release() -> Callable[..., Path]:
    """The function `seal`."""
    return seal


@pytest.fixture
def toy_cells() -> PreparedCells:
    """14 cells of very different depth over 46 genes, 6 of them unknown to the tiny release, 25 scored."""
    rng = np.random.default_rng(5)
    genes = [f"G{number}" for number in rng.permutation(40)] + [f"X{number}" for number in range(6)]
    depth = np.linspace(0.02, 0.9, 14)[:, None]
    counts = rng.poisson(3.0, (14, 46)) * (rng.random((14, 46)) < depth)
    counts[3] = 0
    universe = [f"G{number}" for number in rng.permutation(40)[:25]] + ["X0"]
    return prepared_cells(counts, genes, universe, control=np.arange(14) != 9)

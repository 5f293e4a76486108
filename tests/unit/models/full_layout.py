"""Geneformer folders as they are published: file names, key layouts and dictionaries, with small random weights.

The dictionaries come from the data mirror, the layouts from the published files; only the width is made small. Run as
``python full_layout.py V1|V2 FOLDER`` it writes a folder as it comes from the Hub, without a manifest.
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd

Version = Literal["V1", "V2"]
Kind = Literal["masked", "sequence", "token", "encoder"]
CLASSES = {
    "masked": "BertForMaskedLM",
    "sequence": "BertForSequenceClassification",
    "token": "BertForTokenClassification",
    "encoder": "BertModel",
}
MIRROR_NAMES = {"V1": "gc30M", "V2": "gc95M"}  # the files published as gc104M are byte for byte those of gc95M
FILE_NAMES = {"V1": "gc30M", "V2": "gc104M"}
SMALL = {"hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 2, "intermediate_size": 32}


class Checkpoint(NamedTuple):
    """A published checkpoint: its shape, and what its weights file is known to hold."""

    name: str
    version: Version
    layers: int
    heads: int
    width: int
    inner: int
    elements: int
    tensors: int
    size: int | None


CHECKPOINTS = (
    Checkpoint("V1-10M", "V1", 6, 4, 256, 512, 10_288_722, 106, 41_183_536),
    Checkpoint("V1-12L-40M", "V1", 12, 8, 512, 1024, 39_591_250, 202, None),
    Checkpoint("V2-12L-38M", "V2", 12, 8, 512, 1024, 37_997_363, 202, None),
    Checkpoint("V2-104M", "V2", 12, 12, 768, 3072, 104_386_867, 202, 417_571_156),
    Checkpoint("V2-316M", "V2", 18, 18, 1152, 4608, 316_354_867, 298, 1_265_455_076),
)


def published_config(version: Version, **shape: int) -> dict[str, Any]:
    """``config.json`` of a checkpoint with other sizes."""
    config: dict[str, Any] = {
        "architectures": ["BertForMaskedLM"],
        "attention_probs_dropout_prob": 0.02,
        "hidden_act": "relu",
        "hidden_dropout_prob": 0.02,
        "initializer_range": 0.02,
        "layer_norm_eps": 1e-12,
        "max_position_embeddings": 2048 if version == "V1" else 4096,
        "model_type": "bert",
        "pad_token_id": 0,
        "position_embedding_type": "absolute",
        "type_vocab_size": 2,
        "use_cache": True,
        "vocab_size": 25_426 if version == "V1" else 20_275,
    }
    own = (
        {"gradient_checkpointing": False, "transformers_version": "4.6.0"}
        if version == "V1"
        else {"torch_dtype": "float32", "transformers_version": "4.44.2"}
    )
    return {**config, **own, **SMALL, **shape}


def table(mirror: Path, version: Version, name: str) -> pd.DataFrame:
    """A table of the data mirror about one tokeniser, as text."""
    path = mirror / "models" / f"geneformer_{MIRROR_NAMES[version]}_{name}.tsv.gz"
    return pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)


@cache
def dictionaries(mirror: Path, version: Version) -> dict[str, dict[str, Any]]:
    """The four dictionaries of a version by file name, with the kinds of numbers the published pickles hold."""
    rows = table(mirror, version, "tokens_medians")
    tokens = {gene: int(token) for gene, token in zip(rows["ensembl_id"], rows["token_id"], strict=True)}
    medians = {g: np.float64(m) for g, m in zip(rows["ensembl_id"], rows["nonzero_median"], strict=True) if m}
    if version == "V1":
        tokens = {gene: np.int16(token) if token > 1 else token for gene, token in tokens.items()}
    else:  # medians are published for more genes than have a token
        medians |= {f"ENSG009{number:08d}": np.float64(1.0) for number in range(42_005 - len(medians))}
    names, mapping = table(mirror, version, "gene_name_to_id"), table(mirror, version, "ensembl_mapping")
    mark = FILE_NAMES[version]
    return {
        f"token_dictionary_{mark}.pkl": tokens,
        f"gene_median_dictionary_{mark}.pkl": medians,
        f"gene_name_id_dict_{mark}.pkl": dict(zip(names["gene_name"], names["ensembl_id"], strict=True)),
        f"ensembl_mapping_dict_{mark}.pkl": dict(zip(mapping["alias_or_id"], mapping["ensembl_id"], strict=True)),
    }


def write_pickle(path: Path, content: Mapping[str, Any]) -> None:
    """Pickle a dictionary the way numpy 1 did: scalars are named by the module it kept them in."""
    text = pickle.dumps(dict(content), protocol=3)
    path.write_bytes(text.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n"))


def write_weights(
    folder: Path, config: Mapping[str, Any], version: Version, kind: Kind = "masked", file: str = "model.safetensors"
) -> None:
    """Random weights under the published keys, query and key weights large enough for uneven attention."""
    import torch
    import transformers
    from safetensors.torch import save_file

    known = {name: value for name, value in config.items() if name in {*SMALL, "vocab_size", "hidden_act"}}
    plain = transformers.BertConfig(**known, max_position_embeddings=config["max_position_embeddings"])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = getattr(transformers, CLASSES[kind])(plain)
        for layer in getattr(model, "bert", model).encoder.layer:
            for part in (layer.attention.self.query, layer.attention.self.key):
                torch.nn.init.normal_(part.weight, 0.0, 0.5)
    state = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
    if version == "V1":  # files of transformers 4.6 keep the buffer
        state["bert.embeddings.position_ids"] = torch.arange(plain.max_position_embeddings)[None]
    if file == "pytorch_model.bin":
        torch.save(state, folder / file)
        return
    state = {name: tensor for name, tensor in state.items() if "cls.predictions.decoder" not in name}
    save_file(state, folder / file, metadata={"format": "pt"})


def write_folder(
    folder: Path,
    mirror: Path,
    version: Version,
    kind: Kind = "masked",
    file: str = "model.safetensors",
    **shape: int,
) -> Path:
    """A published folder with its dictionaries beside it; no manifest."""
    folder.mkdir(parents=True)
    config = {**published_config(version, **shape), "architectures": [CLASSES[kind]]}
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    if version == "V2":
        (folder / "generation_config.json").write_text(json.dumps({"_from_model_config": True, "pad_token_id": 0}))
    write_weights(folder, config, version, kind, file)
    (folder / "training_args.bin").write_bytes(b"\x80\x03cos\nabort\nq\x00)Rq\x01.")  # ends the process that opens it
    for name, content in dictionaries(mirror, version).items():
        write_pickle(folder / name, content)
    return folder


def write_manifest(folder: Path, **facts: Any) -> Path:
    """``release.json`` over what a folder holds but ``training_args.bin``, as registering it would write."""
    listed = sorted(path for path in folder.iterdir() if path.name not in {"release.json", "training_args.bin"})
    files = [
        {"path": path.name, "size": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
        for path in listed
    ]
    about = {"name": folder.name, "family": "geneformer", "gene_key": "ensembl", **facts}
    (folder / "release.json").write_text(json.dumps({**about, "files": files}))
    return folder


def main() -> None:
    """Write one folder."""
    if len(sys.argv) != 3 or sys.argv[1] not in MIRROR_NAMES or not os.environ.get("INTERP_DATA_MIRROR"):
        raise SystemExit("usage: INTERP_DATA_MIRROR=DIR python full_layout.py V1|V2 FOLDER")
    write_folder(Path(sys.argv[2]), Path(os.environ["INTERP_DATA_MIRROR"]), sys.argv[1])


if __name__ == "__main__":
    main()

"""Families by their file names, what each description says, and what is known of published files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from interp_assets.models.adapter import FAMILIES, WITHOUT_ATTENTION, load_model
from interp_assets.models.files.adding import Request, add_release
from interp_assets.models.files.checkpoints import ReleaseFile
from interp_assets.models.files.description import NO_PROMPT, bert_shapes, describe_release
from interp_assets.models.files.file_rules import ManifestError, TruncatedFileError
from interp_assets.models.files.published import published, published_match
from interp_assets.models.files.recognise import FolderListing, recognise
from interp_assets.models.files.releases import read_release

from .conftest import ENSEMBL, write_dictionaries


def touched(folder: Path, *names: str, **contents: Any) -> Path:
    """Folder with files of these names, empty or holding JSON."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x")
    for name, content in contents.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return folder


PUBLISHED_FOLDERS: dict[str, tuple[str, tuple[str, ...], dict[str, Any]]] = {
    "V1 folder": ("geneformer", ("model.safetensors", "training_args.bin"), {"config": {"model_type": "bert"}}),
    "older Geneformer": ("geneformer", ("pytorch_model.bin",), {"config": {"model_type": "bert"}}),
    "scGPT": ("scgpt", ("best_model.pt", "run.log"), {"args": {}, "vocab": {"<pad>": 0}}),
    "C2S-Pythia": ("c2s", ("model.safetensors", "tokenizer.json"), {"config": {"model_type": "gpt_neox"}}),
    "MaxToki": (
        "maxtoki",
        ("model.safetensors", "token_dictionary.json", "gene_median_dictionary.json"),
        {"config": {"model_type": "llama"}},
    ),
    "CellPLM": ("cellplm", ("20231027_85M.best.ckpt", "20231027_85M.config.json"), {}),
    "scFoundation": ("scfoundation", ("models.ckpt", "OS_scRNA_gene_index.19264.tsv"), {}),
    "UCE": ("uce", ("33l_8ep_1024t_1280.torch", "all_tokens.torch"), {}),
    "UCE small": ("uce", ("4layer_model.torch",), {}),
    "scPRINT": ("scprint", ("medium-v1.5.ckpt",), {}),
    "Tahoe-x1": (
        "tahoe_x1",
        ("model.safetensors", "model_config.yml", "collator_config.yml"),
        {"vocab": {"a": 0}},
    ),
    "STATE": ("state", ("se600m_epoch16.ckpt", "protein_embeddings.pt", "config.yaml"), {}),
    "TranscriptFormer": ("transcriptformer", ("model_weights.pt", "vocabs/human.h5"), {"config": {}}),
    "scVI": ("scvi", ("model.pt",), {}),
    "edge table": ("edge_table", ("network.parquet", "notes.txt"), {}),
}


@pytest.mark.parametrize(("family", "names", "contents"), PUBLISHED_FOLDERS.values(), ids=PUBLISHED_FOLDERS)
def test_published_folders_are_recognised_by_their_files(tmp_path, family, names, contents):
    found = recognise(FolderListing(touched(tmp_path, *names, **contents)))
    assert found is not None
    assert found.family == family
    taken = {*found.files, *found.dictionaries.values()}
    held = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert taken | set(found.left_out) == held
    assert not [path for path in taken if path.endswith((".log", ".txt")) or path == "training_args.bin"]


def test_every_family_is_recognised_somewhere():
    assert {family for family, *_ in PUBLISHED_FOLDERS.values()} == {*FAMILIES, *WITHOUT_ATTENTION, "edge_table"}


@pytest.mark.parametrize(
    "contents",
    [{}, {"config": {"model_type": "t5"}}, {"config": []}, {"args": {}}, {"vocab": {}}],
    ids=str,
)
def test_other_folders_are_not(tmp_path, contents):
    assert recognise(FolderListing(touched(tmp_path, "model.safetensors", **contents))) is None


def test_hidden_files_and_linked_folders_are_no_part_of_a_folder(tmp_path):
    (tmp_path / "model").mkdir()
    touched(tmp_path / "aside", "vocabs/human.h5")
    touched(tmp_path / "model", ".hidden", "model_weights.pt", "a/b/c/deep.pt", config={})
    (tmp_path / "model" / "vocabs").symlink_to(tmp_path / "aside" / "vocabs")
    assert set(FolderListing(tmp_path / "model").sizes) == {"model_weights.pt", "config.json"}
    assert recognise(FolderListing(tmp_path / "model")) is None


def test_a_family_can_be_stated_where_names_say_nothing(tmp_path):
    folder = touched(tmp_path, "weights.ckpt", "settings.yaml", "optimizer.pt")
    found = recognise(FolderListing(folder), "scprint")
    assert found is not None
    assert found.files == ("settings.yaml", "weights.ckpt")
    assert found.left_out == {"optimizer.pt": "a pickle of a training run, never opened"}
    with pytest.raises(ManifestError, match=r"no scgpt release.*args\.json, vocab\.json"):
        recognise(FolderListing(folder), "scgpt")


@pytest.mark.parametrize("family", sorted(WITHOUT_ATTENTION))
def test_models_without_attention_are_added_and_say_why(tmp_path, releases, family):
    names, contents = next((n, c) for f, n, c in PUBLISHED_FOLDERS.values() if f == family)
    (tmp_path / "model").mkdir()
    folder = touched(tmp_path / "model", *names, **contents)
    if "model.safetensors" in names:
        save_file({"w": np.zeros(2, np.float32)}, folder / "model.safetensors")
    added = add_release(folder, releases, Request())
    assert added.release.family == family
    assert added.description.shape.attention == f"attention not available: {WITHOUT_ATTENTION[family]}"
    with pytest.raises(ValueError, match="attention not available: "):
        load_model(added.release)


def scgpt_folder(folder: Path) -> Path:
    """A tiny scGPT folder, whole-human settings, keys as in the flash layout."""
    import torch

    folder.mkdir()
    names = ["<pad>", "<cls>", "<eoc>", *(f"G{number}" for number in range(9))]
    width, inner = 8, 12
    args = {"embsize": width, "nheads": 2, "nlayers": 1, "d_hid": inner, "n_bins": 51, "max_seq_len": 24}
    (folder / "args.json").write_text(json.dumps({**args, "input_style": "binned", "pad_token": "<pad>"}))
    (folder / "vocab.json").write_text(json.dumps({name: number for number, name in enumerate(names)}))
    layer = "transformer_encoder.layers.0."
    shapes: dict[str, tuple[int, ...]] = {"encoder.embedding.weight": (len(names), width)}
    shapes |= {"value_encoder.linear1.weight": (width, 1), "value_encoder.linear2.weight": (width, width)}
    shapes |= {f"{layer}self_attn.Wqkv.weight": (3 * width, width), f"{layer}self_attn.Wqkv.bias": (3 * width,)}
    shapes |= {f"{layer}self_attn.out_proj.weight": (width, width), f"{layer}self_attn.out_proj.bias": (width,)}
    shapes |= {f"{layer}linear1.weight": (inner, width), f"{layer}linear1.bias": (inner,)}
    shapes |= {f"{layer}linear2.weight": (width, inner), f"{layer}linear2.bias": (width,)}
    norms = ("encoder.enc_norm", "value_encoder.norm", f"{layer}norm1", f"{layer}norm2")
    shapes |= {f"{name}.{part}": (width,) for name in norms for part in ("weight", "bias")}
    shapes |= {f"value_encoder.linear{number}.bias": (width,) for number in (1, 2)}
    shapes |= {"flag_encoder.weight": (2, width)}
    torch.save({name: torch.zeros(shape) for name, shape in shapes.items()}, folder / "best_model.pt")
    return folder


def test_a_scgpt_folder_is_described_with_its_layout_and_unused_tensors(tmp_path, releases):
    import torch

    added = add_release(scgpt_folder(tmp_path / "scGPT"), releases, Request())
    shape = added.description.shape
    assert (shape.layers, shape.heads, shape.width, shape.vocabulary, shape.max_length) == (1, 2, 8, 12, 24)
    state = torch.load(tmp_path / "scGPT" / "best_model.pt", weights_only=True)
    assert shape.parameters == sum(tensor.numel() for tensor in state.values())
    assert shape.unknown == ("flag_encoder.* (1)",)
    assert added.release.gene_key == "symbol"


def test_a_cut_off_checkpoint_is_told_what_the_published_one_takes(tmp_path, releases):
    folder = scgpt_folder(tmp_path / "whole-human")
    args = json.loads((folder / "args.json").read_text()) | {"embsize": 512, "nheads": 8, "nlayers": 12, "d_hid": 512}
    (folder / "args.json").write_text(json.dumps(args))
    (folder / "vocab.json").write_text(
        json.dumps(
            {name: n for n, name in enumerate(["<pad>", "<cls>", "<eoc>"])}
            | {f"G{number}": number for number in range(3, 60697)}
        )
    )
    weights = folder / "best_model.pt"
    weights.write_bytes(weights.read_bytes()[:-30])
    with pytest.raises(TruncatedFileError, match="the published scGPT whole-human takes 205385258 bytes"):
        add_release(folder, releases, Request())
    assert list(releases.iterdir()) == []


def causal_folder(folder: Path, kind: str) -> Path:
    """A tiny causal language model, saved by the library."""
    import torch
    from safetensors.torch import save_file
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM, LlamaConfig, LlamaForCausalLM

    folder.mkdir()
    sizes = {"vocab_size": 64, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    sizes |= {"intermediate_size": 24, "max_position_embeddings": 32}
    model: Any
    if kind == "gpt_neox":
        model = GPTNeoXForCausalLM(GPTNeoXConfig(**sizes))
    else:
        model = LlamaForCausalLM(LlamaConfig(**sizes, num_key_value_heads=1))
    state = {name: torch.zeros_like(tensor) for name, tensor in model.state_dict().items()}
    save_file(state, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"model_type": kind, **sizes}))
    return folder


@pytest.mark.parametrize("kind", ["gpt_neox", "llama"])
def test_causal_language_models_are_described(tmp_path, releases, kind):
    folder = causal_folder(tmp_path / "model", kind)
    (folder / "tokenizer.json").write_text("{}")
    added = add_release(folder, releases, Request())
    shape = added.description.shape
    assert (added.release.family, shape.direction) == ("c2s", "causal")
    assert (shape.layers, shape.heads, shape.width, shape.vocabulary, shape.max_length) == (2, 2, 16, 64, 32)
    assert shape.unknown == ()
    assert "tokenizer.json" in {file.path for file in added.release.files}
    assert shape.notes == (NO_PROMPT,)
    (releases / added.release.name).rename(tmp_path / "kept")
    assert add_release(folder, releases, Request(facts={"prompt": "Genes: "})).description.shape.notes == ()


def test_maxtoki_needs_the_dictionaries_of_geneformer(tmp_path, releases):
    folder = causal_folder(tmp_path / "MaxToki", "llama")
    write_dictionaries(tmp_path / "geneformer", "gc104M", ENSEMBL)
    added = add_release(folder, releases, Request(dictionaries=tmp_path / "geneformer"))
    assert (added.release.family, added.release.gene_key) == ("maxtoki", "ensembl")
    write_dictionaries(tmp_path / "fewer", "gc104M", ENSEMBL[:-1])
    with pytest.raises(ManifestError, match="embeds 64 tokens, but the token dictionary has 63 entries"):
        add_release(folder, releases, Request(name="fewer", dictionaries=tmp_path / "fewer"))


def _more_layers(config: dict[str, Any]) -> None:
    config["num_hidden_layers"] = 3


def _other_vocabulary(config: dict[str, Any]) -> None:
    config["vocab_size"] = 65


@pytest.mark.parametrize(
    ("change", "said"), [(_more_layers, "holds 2 layers, the configuration asks for 3"), (_other_vocabulary, "shape")]
)
def test_a_configuration_of_another_network_is_refused(tmp_path, releases, change: Callable[..., None], said: str):
    folder = causal_folder(tmp_path / "model", "gpt_neox")
    (folder / "tokenizer.json").write_text("{}")
    config = json.loads((folder / "config.json").read_text())
    change(config)
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ManifestError, match=said):
        add_release(folder, releases, Request())
    assert list(releases.iterdir()) == []


V2 = {"layers": 12, "heads": 12, "width": 768, "vocabulary": 20275}


@pytest.mark.parametrize(
    ("size", "digest", "shape", "said"),
    [
        (417571156, "fff5cba29ddd8792" + "0" * 48, V2, "is the published Geneformer V2-104M (sha256 matches)"),
        (417571156, "0" * 64, V2, "has the size of the published Geneformer V2-104M, but another hash"),
        (300, "0" * 64, V2, "has the shape of the published Geneformer V2-104M but is another file (300 bytes"),
        (300, "0" * 64, {**V2, "layers": 5}, ""),
        (1265455076, "965ceccea81953d3" + "f" * 48, {}, "is the published Geneformer V2-316M"),
    ],
)
def test_published_files_are_told_from_their_likes(size, digest, shape, said):
    told = published_match("geneformer", [ReleaseFile("model.safetensors", size, digest)], shape)
    assert said in told
    assert bool(told) == bool(said)


def test_published_sizes_follow_from_the_published_shapes():
    """A file is 4 bytes an element and a header of 12 to 36 kB; V1 also holds an int64 buffer of its positions."""
    inner = {"Geneformer V1-10M": (512, 2048), "Geneformer V2-104M": (3072, 4096), "Geneformer V2-316M": (4608, 4096)}
    checked = 0
    for entry in published()[0]:
        if entry.name in inner and entry.size:
            feed, positions = inner[entry.name]
            width, vocabulary = entry.shape["width"], entry.shape["vocabulary"]
            shapes = bert_shapes(entry.shape["layers"], width, feed, vocabulary, positions)
            elements = sum(int(np.prod(shape)) for shape in shapes.values()) + width * (width + 3) + vocabulary
            buffer = 8 * positions if "V1" in entry.name else 0
            assert 12_000 < entry.size - 4 * elements - buffer < 36_000
            checked += 1
    assert checked == 3


def test_the_shipped_releases_are_no_published_ones():
    project = Path(__file__).resolve().parents[3]
    for folder in sorted((project / "releases").glob("geneformer-small-*")):
        assert describe_release(read_release(folder)).published == ""

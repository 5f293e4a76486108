"""Folders as published become releases: what is taken, left out, converted, told and refused."""

from __future__ import annotations

import json
import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from interp_assets.models.adapter import load_model
from interp_assets.models.files import adding
from interp_assets.models.files.adding import AddError, NoRoomError, Request, add_release, release_at
from interp_assets.models.files.checkpoints import read_dictionary
from interp_assets.models.files.description import bert_shapes, describe_release
from interp_assets.models.files.file_rules import (
    LfsPointerError,
    ManifestError,
    ReleaseFileError,
    TruncatedFileError,
    UnsafePathError,
    UnsafePickleError,
)
from interp_assets.models.files.releases import find_releases, read_release

from .conftest import ENSEMBL, sha, write_bert, write_dictionaries


def dictionaries(folder: Path) -> Request:
    return Request(dictionaries=folder.parent / "geneformer")


def test_a_geneformer_folder_becomes_a_release(geneformer, releases):
    folder = geneformer()
    added = add_release(folder, releases, dictionaries(folder))
    release = read_release(releases / "Geneformer-V2-tiny")
    assert added.release.release_id == release.release_id
    assert release.gene_key == "ensembl"
    assert [file.path for file in release.files] == [
        "config.json",
        "ensembl_mapping_dict_gc104M.json",
        "gene_median_dictionary_gc104M.json",
        "gene_name_id_dict_gc104M.json",
        "model.safetensors",
        "token_dictionary_gc104M.json",
    ]
    assert added.left_out == {
        "generation_config.json": "not needed",
        "training_args.bin": "a pickle of a training run, never opened",
    }
    assert sorted(path.name for path in releases.iterdir()) == ["Geneformer-V2-tiny"]
    assert str(folder.parent) not in (release.folder / "release.json").read_text()


def test_converted_dictionaries_hold_what_the_pickles_hold_and_both_hashes_are_kept(geneformer, releases):
    folder = geneformer()
    release = add_release(folder, releases, dictionaries(folder)).release
    converted = release.facts["converted"]
    assert {entry["role"] for entry in converted} == {"tokens", "medians", "mapping", "names"}
    for entry in converted:
        pickled = folder.parent / "geneformer" / entry["from"]
        assert (entry["from_sha256"], entry["sha256"]) == (sha(pickled), sha(release.folder / entry["to"]))
        assert entry["from_size"] == pickled.stat().st_size
        assert read_dictionary(release.folder / entry["to"]) == pickle.loads(pickled.read_bytes())
    assert release.facts["dictionaries"]["tokens"] == "token_dictionary_gc104M.json"


def test_an_added_release_is_read_by_its_adapter(geneformer, releases):
    folder = geneformer()
    model = load_model(add_release(folder, releases, dictionaries(folder)).release)
    facts = model.describe()
    assert (facts.layers, facts.heads, facts.width, facts.vocabulary, facts.max_length) == (2, 2, 16, 64, 20)
    assert model.known(np.array(["GENE3", "ALIAS4", ENSEMBL[5], "nothing"])).tolist() == [True, True, True, False]


@pytest.mark.parametrize("length", [3, 21, True, "12"])
def test_a_cut_the_model_cannot_make_is_refused_before_anything_is_kept(geneformer, releases, length):
    folder = geneformer()
    options = replace(dictionaries(folder), facts={"max_length": length})
    with pytest.raises(ManifestError, match=r"max_length is .* from 4 to 20"):
        add_release(folder, releases, options)
    assert not [path for path in releases.iterdir() if not path.name.startswith(".")]


def test_the_cut_of_the_manifest_is_the_length_that_is_described_and_read(geneformer, releases):
    folder = geneformer()
    added = add_release(folder, releases, replace(dictionaries(folder), facts={"max_length": 12}))
    assert added.description.shape.max_length == 12
    assert load_model(added.release).describe().max_length == 12


def test_the_same_files_are_one_release_whatever_the_name(geneformer, releases):
    folder = geneformer()
    first = add_release(folder, releases, dictionaries(folder))
    again = add_release(folder, releases, Request(name="other", dictionaries=folder.parent / "geneformer"))
    assert (first.existing, again.existing) == ("", "Geneformer-V2-tiny")
    assert again.release.release_id == first.release.release_id
    assert [path.name for path in releases.iterdir()] == ["Geneformer-V2-tiny"]


def test_other_dictionaries_make_another_release_of_the_same_weights(geneformer, releases):
    folder = geneformer()
    add_release(folder, releases, dictionaries(folder))
    shutil.rmtree(folder.parent / "geneformer")
    write_dictionaries(folder.parent / "geneformer", "gc104M", tuple(reversed(ENSEMBL)))
    with pytest.raises(AddError, match=r"name Geneformer-V2-tiny is taken by .*; choose one with `--name`"):
        add_release(folder, releases, dictionaries(folder))
    second = add_release(folder, releases, Request(name="reversed", dictionaries=folder.parent / "geneformer"))
    assert second.relatives == ("Geneformer-V2-tiny",)
    assert len(find_releases(releases).complete) == 2


def test_a_folder_with_a_manifest_is_taken_as_it_is(geneformer, releases, tmp_path):
    folder = geneformer()
    first = add_release(folder, releases, dictionaries(folder)).release
    shutil.move(first.folder, tmp_path / "carried")
    added = add_release(tmp_path / "carried", releases, Request(name="carried", facts={"note": "by disk"}))
    assert added.release.release_id == first.release_id
    assert (added.release.name, added.release.facts["note"]) == ("carried", "by disk")
    assert added.release.facts["converted"] == first.facts["converted"]


def test_torch_weights_are_taken_where_there_is_no_safetensors_file(geneformer, releases):
    folder = geneformer(weights="pytorch_model.bin")
    added = add_release(folder, releases, dictionaries(folder))
    assert "pytorch_model.bin" in {file.path for file in added.release.files}
    assert added.description.shape.dtype == "float32"
    assert load_model(added.release).describe().layers == 2


def test_sharded_weights_come_with_every_shard(geneformer, releases):
    from safetensors.numpy import load_file, save_file

    folder = geneformer()
    whole = load_file(folder / "model.safetensors")
    names = sorted(whole)
    shards = {"model-00001-of-00002.safetensors": names[::2], "model-00002-of-00002.safetensors": names[1::2]}
    for file, held in shards.items():
        save_file({name: whole[name] for name in held}, folder / file)
    index = {"weight_map": {name: file for file, held in shards.items() for name in held}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "model.safetensors").unlink()
    added = add_release(folder, releases, dictionaries(folder))
    assert set(shards) < {file.path for file in added.release.files}
    assert added.description.shape.tensors == len(whole)
    assert load_model(added.release).describe().layers == 2


@pytest.mark.parametrize("layers", [1, 3])
def test_the_shapes_asked_for_are_those_of_the_library(layers):
    import torch
    from transformers import BertConfig, BertModel

    sizes = {"hidden_size": 24, "num_hidden_layers": layers, "num_attention_heads": 3, "intermediate_size": 40}
    with torch.device("meta"):
        model = BertModel(BertConfig(vocab_size=30, max_position_embeddings=12, **sizes), add_pooling_layer=False)
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items() if "position_ids" not in name}
    assert bert_shapes(layers, 24, 40, 30, 12) == expected


def test_published_element_counts_follow_from_the_shapes():
    heads = {"V1-10M": (6, 256, 512, 25426, 2048, 10288722), "V2-104M": (12, 768, 3072, 20275, 4096, 104386867)}
    heads["V2-316M"] = (18, 1152, 4608, 20275, 4096, 316354867)
    for layers, width, inner, vocabulary, positions, published in heads.values():
        encoder = sum(
            int(np.prod(shape)) for shape in bert_shapes(layers, width, inner, vocabulary, positions).values()
        )
        head = width * width + width + 2 * width + vocabulary  # transform, its norm, bias; the decoder is tied
        assert encoder + head == published


def test_dictionaries_of_another_generation_are_refused(tmp_path, releases):
    """V1 tokens run through V2 weights without an error and mean other genes: the sizes tell."""
    weights = write_bert(tmp_path / "v2", 20275, hidden_size=2, num_hidden_layers=1, num_attention_heads=1)
    first = tuple(f"ENSG{number:011d}" for number in range(25424))
    write_dictionaries(tmp_path / "v1", "gc30M", first, ("<pad>", "<mask>"))
    said = r"embeds 20275 tokens \(as in V2 .*\), but the token dictionary has 25426 entries \(as in V1 \(gc30M\)\)"
    with pytest.raises(ManifestError, match=said):
        add_release(weights, releases, Request(dictionaries=tmp_path / "v1"))
    assert list(releases.iterdir()) == []


def test_of_several_generations_in_one_folder_the_right_one_is_taken(tmp_path, releases):
    weights = write_bert(tmp_path / "v2", 20275, hidden_size=2, num_hidden_layers=1, num_attention_heads=1)
    both = tmp_path / "geneformer"
    write_dictionaries(both / "gene_dictionaries_30m", "gc30M", ENSEMBL, ("<pad>", "<mask>"))
    write_dictionaries(both, "gc104M", tuple(f"ENSG{number:011d}" for number in range(20271)))
    release = add_release(weights, releases, Request(dictionaries=both)).release
    assert release.facts["dictionaries"]["tokens"] == "token_dictionary_gc104M.json"
    assert release.facts["dictionaries"]["medians"] == "gene_median_dictionary_gc104M.json"


def test_several_sets_that_could_be_meant_are_refused(geneformer, releases):
    folder = geneformer()
    write_dictionaries(folder.parent / "geneformer", "mine")
    with pytest.raises(ManifestError, match="could each be the tokens dictionary"):
        add_release(folder, releases, dictionaries(folder))


def test_a_folder_without_dictionaries_says_what_is_missing(geneformer, releases):
    with pytest.raises(AddError, match=r"no token and median dictionaries .* with `--dictionaries`"):
        add_release(geneformer(), releases, Request())


def test_a_dictionary_that_would_run_code_is_refused_unread(geneformer, releases, tmp_path, monkeypatch):
    import os

    monkeypatch.chdir(tmp_path)

    class Run:
        def __reduce__(self):
            return os.mkdir, ("breached",)

    folder = geneformer()
    file = folder.parent / "geneformer" / "gene_median_dictionary_gc104M.pkl"
    file.write_bytes(pickle.dumps({"a": Run()}))
    with pytest.raises(UnsafePickleError, match=r"gene_median_dictionary_gc104M\.pkl: asks for (posix|nt)\.mkdir"):
        add_release(folder, releases, dictionaries(folder))
    assert not (tmp_path / "breached").exists()
    assert list(releases.iterdir()) == []


def _shorten(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])


def _pointer(folder: Path) -> None:
    (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 9\n")


def _link(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder.parent / "elsewhere")
    (folder / "model.safetensors").symlink_to(folder.parent / "elsewhere")


def _other_width(folder: Path) -> None:
    content = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(content | {"hidden_size": 32}))


def _fewer_layers(folder: Path) -> None:
    content = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(content | {"num_hidden_layers": 3}))


def _absurd_layers(folder: Path) -> None:
    content = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(content | {"num_hidden_layers": 10**9}))


def _key_twice(folder: Path) -> None:
    text = (folder / "config.json").read_text()
    (folder / "config.json").write_text('{"model_type": "llama", ' + text[1:])


@pytest.mark.parametrize(
    ("damage", "error", "said"),
    [
        (_shorten, TruncatedFileError, "truncated"),
        (_pointer, LfsPointerError, "git lfs pull"),
        (_link, UnsafePathError, "is a link"),
        (_other_width, ManifestError, "has shape"),
        (_fewer_layers, ManifestError, "lacks 16 weights"),
        (_absurd_layers, ManifestError, "num_hidden_layers is 1000000000"),
        (_key_twice, ManifestError, "'model_type' stands twice"),
    ],
)
def test_damaged_folders_are_refused_and_leave_nothing(geneformer, releases, damage, error, said):
    folder = geneformer()
    damage(folder)
    with pytest.raises(error, match=said):
        add_release(folder, releases, dictionaries(folder))
    assert list(releases.iterdir()) == []


def test_a_copy_that_went_wrong_is_noticed(geneformer, releases):
    folder = geneformer()

    def wrong(origin: Path, target: Path) -> None:
        content = bytearray(origin.read_bytes())
        content[-1] ^= 1
        target.write_bytes(bytes(content))

    with pytest.raises(ReleaseFileError, match="sha256"):
        add_release(folder, releases, dictionaries(folder), wrong)
    assert list(releases.iterdir()) == []


@pytest.mark.parametrize("name", ["control-planted", "mine.shuffled", "mine.random-weights"])
def test_names_of_controls_are_not_given_away(geneformer, releases, name):
    folder = geneformer()
    with pytest.raises(AddError, match="kept for the platform's own controls"):
        add_release(folder, releases, Request(name=name, dictionaries=folder.parent / "geneformer"))


def test_a_full_disk_is_told_before_anything_is_copied(geneformer, releases, monkeypatch):
    folder = geneformer()
    usage = shutil.disk_usage(releases)._replace(free=10)
    monkeypatch.setattr(adding.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(NoRoomError, match=r"0\.00 GB are free in .*; make room"):
        add_release(folder, releases, dictionaries(folder))


def test_an_edge_table_is_added_with_what_is_stated_of_it(tmp_path, releases):
    table = tmp_path / "my grn.v2.csv"
    table.write_text("source,target,score\nTP53,MDM2,0.5\nMYC,NCL,0.25\n")
    added = add_release(table, releases, Request(facts={"cells_hash": "ab" * 32}))
    assert added.release.name == "my-grn.v2"
    assert (added.release.family, added.release.gene_key) == ("edge_table", "symbol")
    assert added.release.facts["cells_hash"] == "ab" * 32
    assert added.description.shape.attention == "finished scores"
    assert "2 pairs of 4 genes" in added.description.shape.notes
    table.write_text("source,target,score\nTP53,MDM2,none\n")
    with pytest.raises(ValueError, match="finite"):
        add_release(table, releases, Request(name="broken"))
    assert [path.name for path in releases.iterdir()] == ["my-grn.v2"]


def test_what_is_no_release_says_what_would_be_one(tmp_path, releases):
    with pytest.raises(AddError, match="no such file or folder"):
        add_release(tmp_path / "nowhere", releases, Request())
    (tmp_path / "some").mkdir()
    (tmp_path / "some" / "notes.txt").write_text("x")
    with pytest.raises(AddError, match=r"no family is recognised .* scgpt: args\.json, vocab\.json and best_model\.pt"):
        add_release(tmp_path / "some", releases, Request())
    with pytest.raises(AddError, match="of a model name the folder"):
        add_release(tmp_path / "some" / "notes.txt", releases, Request())
    with pytest.raises(ManifestError, match="is no family"):
        add_release(tmp_path / "some", releases, Request(family="oracle"))
    with pytest.raises(ManifestError, match="holds no geneformer release"):
        add_release(tmp_path / "some", releases, Request(family="geneformer"))


def test_a_fine_tune_lists_the_weights_that_are_not_used(geneformer, releases):
    from safetensors.numpy import load_file, save_file

    folder = geneformer()
    state = load_file(folder / "model.safetensors")
    state = {name: tensor for name, tensor in state.items() if not name.startswith("cls.")}
    save_file({**state, "classifier.weight": np.zeros((3, 16), np.float32)}, folder / "model.safetensors")
    added = add_release(folder, releases, dictionaries(folder))
    assert added.description.shape.unknown == ("classifier.weight",)


def test_a_folder_can_be_described_where_it_lies(geneformer):
    folder = geneformer()
    found = describe_release(release_at(folder))
    # encoder as in bert_shapes, then transform, its norm and bias of the prediction head
    parameters = sum(int(np.prod(shape)) for shape in bert_shapes(2, 16, 32, 64, 20).values()) + 16 * 19 + 64
    assert (found.shape.layers, found.shape.vocabulary, found.shape.parameters) == (2, 64, parameters)
    assert "no dictionaries beside the weights; 64 tokens are embedded" in found.shape.notes
    for file in (folder.parent / "geneformer").iterdir():
        shutil.copy(file, folder)
    found = describe_release(release_at(folder))
    assert found.gene_key == "ensembl"
    assert "special tokens <cls>, <eos>, <mask>, <pad>" in found.shape.notes
    assert not (folder / "release.json").exists()


def test_a_folder_that_lies_among_the_releases_gets_its_manifest_there(geneformer, releases):
    folder = geneformer()
    shutil.move(folder, releases / "mine")
    inode = (releases / "mine" / "model.safetensors").stat().st_ino
    added = add_release(releases / "mine", releases, Request(dictionaries=folder.parent / "geneformer"))
    assert [release.name for release in find_releases(releases).complete] == ["mine"]
    assert added.release.release_id == read_release(releases / "mine").release_id
    assert (releases / "mine" / "model.safetensors").stat().st_ino == inode
    again = add_release(releases / "mine", releases, Request())
    assert again.existing == "mine"


def test_a_refusal_among_the_releases_takes_back_what_was_written(geneformer, releases):
    folder = geneformer()
    shutil.move(folder, releases / "mine")
    before = sorted(path.name for path in (releases / "mine").iterdir())
    write_dictionaries(folder.parent / "fewer", "gc104M", ENSEMBL[:-1])
    with pytest.raises(ManifestError, match="embeds 64 tokens, but the token dictionary has 63 entries"):
        add_release(releases / "mine", releases, Request(dictionaries=folder.parent / "fewer"))
    assert sorted(path.name for path in (releases / "mine").iterdir()) == before

"""Plan, resume, threads, mass check, device rules and the folder of an extraction."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import dagster as dg
import numpy as np
import pytest

from interp_assets.cells.records import Unavailable
from interp_assets.io_managers import PATH, AttentionIOManager
from interp_assets.models.adapter import AttentionModel, EncodedCells, LayerAttention, TokenBatch, load_model
from interp_assets.models.attention import sums as attention_sums
from interp_assets.models.attention.extraction import (
    AttentionMassError,
    ExtractionSettings,
    check_mass,
    extract_attention,
)
from interp_assets.models.attention.plan import batch_positions, pair_counts, plan_batches, score_cells, token_batch
from interp_assets.models.attention.run import ExtractionRun
from interp_assets.models.attention.settings import request_key, resolve_device
from interp_assets.models.attention.store import AttentionStoreError, open_attention
from interp_assets.models.files.releases import read_release
from interp_assets.models.records import ReleaseCard
from interp_assets.models.sourcing import open_edges, random_twin_attention, release_attention
from interp_assets.settings import AttentionSettings


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.glob("*.*"))}


def quick(**changes) -> ExtractionSettings:
    base = {"device": "cpu", "batch_tokens": 48, "cells_per_shard": 3, "checkpoint_seconds": 0.0, "threads": 1}
    return ExtractionSettings(**{**base, **changes})


class KilledError(RuntimeError):
    """Stands for a killed process."""


@pytest.mark.parametrize("heads", ["all", "mean"])
@pytest.mark.parametrize("after", [1, 2])
def test_killed_run_resumes_to_the_same_bytes(write_release, toy_cells, tmp_path, monkeypatch, heads, after):
    release = read_release(write_release(peak=5.0))
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    extract_attention(release, toy_cells, whole, quick(heads=heads))

    write = attention_sums.write_checkpoint
    batches: list[int] = []

    def write_and_die(folder, shards, total, owner):
        path = write(folder, shards, total, owner)
        if shards == after:
            raise KilledError
        return path

    with monkeypatch.context() as patch:
        patch.setattr(attention_sums, "write_checkpoint", write_and_die)
        with pytest.raises(KilledError):
            extract_attention(release, toy_cells, broken, quick(heads=heads))
    with pytest.raises(AttentionStoreError, match="no finished attention"):
        open_attention(broken)
    (broken / "partial" / "pass-0-1" / "sums-00099.npy.part").write_bytes(b"torn")

    add = ExtractionRun._add
    monkeypatch.setattr(ExtractionRun, "_add", lambda run, *given: (batches.append(1), add(run, *given)))
    extract_attention(release, toy_cells, broken, quick(heads=heads))
    assert digests(broken) == digests(whole)
    assert not (broken / "partial").exists()
    plan = open_attention(whole).facts["plan"]
    assert plan["shards"] >= 3
    assert 0 < len(batches) < plan["batches"]


def test_checkpoint_of_other_settings_is_not_continued(write_release, toy_cells, tmp_path, monkeypatch):
    release = read_release(write_release())
    extract_attention(release, toy_cells, tmp_path / "whole", quick(batch_tokens=24))

    def die(folder, shards, total, owner):
        np.save(folder / "sums-00002.npy", np.full_like(total, 7))
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(attention_sums, "write_checkpoint", die)
        with pytest.raises(KilledError):
            extract_attention(release, toy_cells, tmp_path / "broken", quick(batch_tokens=48))
    extract_attention(release, toy_cells, tmp_path / "broken", quick(batch_tokens=24))
    assert digests(tmp_path / "broken") == digests(tmp_path / "whole")


def test_one_and_two_threads_give_the_same_arrays(write_release, toy_cells, tmp_path):
    release = read_release(write_release(peak=5.0))
    for heads in ("all", "mean"):
        found = []
        for threads in (1, 2):
            folder = tmp_path / f"{heads}{threads}"
            edges = extract_attention(release, toy_cells, folder, quick(heads=heads, threads=threads))
            assert edges.facts["threads"] == threads
            found.append({name: value for name, value in digests(folder).items() if name != "manifest.json"})
        assert found[0] == found[1]
        assert len(found[0]) == (6 if heads == "all" else 4)


def test_finished_folder_is_opened_without_loading_the_model(write_release, toy_cells, tmp_path):
    release = read_release(write_release())
    first = extract_attention(release, toy_cells, tmp_path / "out", quick())

    def never(*_, **__):
        raise AssertionError("the model was loaded again")

    again = extract_attention(release, toy_cells, tmp_path / "out", quick(threads=2, progress=False), load=never)
    assert np.array_equal(first.layer_matrix(1).score, again.layer_matrix(1).score, equal_nan=True)
    (tmp_path / "out" / "counts.npy").write_bytes(b"short")
    with pytest.raises(AssertionError, match="loaded again"):
        extract_attention(release, toy_cells, tmp_path / "out", quick(), load=never)


def test_a_screen_on_the_same_cells_and_genes_takes_the_arrays_over(write_release, toy_cells, tmp_path):
    release = read_release(write_release())
    first = extract_attention(release, toy_cells, tmp_path / "one", quick())

    def never(*_, **__):
        raise AssertionError("the model was loaded again")

    other = dataclasses.replace(toy_cells, dataset="another_screen")
    second = extract_attention(release, other, tmp_path / "two", quick(), load=never, neighbours=[tmp_path / "one"])
    assert second.dataset == "another_screen"
    assert np.array_equal(first.layer_matrix(1).score, second.layer_matrix(1).score, equal_nan=True)
    alone = extract_attention(release, other, tmp_path / "elsewhere" / "two", quick())
    assert digests(tmp_path / "two") == digests(tmp_path / "elsewhere" / "two")
    assert alone.facts["key"] == second.facts["key"] != first.facts["key"]


def test_other_cells_or_a_damaged_neighbour_are_not_taken_over(write_release, toy_cells, tmp_path):
    release = read_release(write_release())
    extract_attention(release, toy_cells, tmp_path / "one", quick())

    def never(*_, **__):
        raise AssertionError("extracted")

    fewer = dataclasses.replace(toy_cells, dataset="fewer", universe=toy_cells.universe[:-1])
    with pytest.raises(AssertionError, match="extracted"):
        extract_attention(release, fewer, tmp_path / "fewer", quick(), load=never, neighbours=[tmp_path / "one"])
    flipped = bytearray((tmp_path / "one" / "layer-0-mean.npy").read_bytes())
    flipped[-1] ^= 1
    (tmp_path / "one" / "layer-0-mean.npy").write_bytes(bytes(flipped))
    same = dataclasses.replace(toy_cells, dataset="same")
    with pytest.raises(AssertionError, match="extracted"):
        extract_attention(release, same, tmp_path / "same", quick(), load=never, neighbours=[tmp_path / "one"])


def test_key_depends_on_what_changes_bytes_and_on_nothing_else(write_release, toy_cells, make_cells):
    release = read_release(write_release())
    key = request_key(release, toy_cells, quick(), "cpu")
    assert key == request_key(release, toy_cells, quick(threads=2, checkpoint_seconds=9.0, progress=True), "cpu")
    other = toy_cells.counts.copy()
    other.data[0] += 1
    changed = [
        request_key(release, toy_cells, quick(), "cuda"),
        request_key(release, toy_cells, quick(batch_tokens=64), "cpu"),
        request_key(release, toy_cells, quick(dtype="bfloat16"), "cpu"),
        request_key(release, dataclasses.replace(toy_cells, counts=other), quick(), "cpu"),
        request_key(release, dataclasses.replace(toy_cells, universe=toy_cells.universe[::-1]), quick(), "cpu"),
        request_key(release, dataclasses.replace(toy_cells, cells_hash="x"), quick(), "cpu"),
        request_key(dataclasses.replace(release, release_id="x"), toy_cells, quick(), "cpu"),
    ]
    assert len({key, *changed}) == 8


def test_damaged_or_unfinished_folders_are_not_opened(write_release, toy_cells, tmp_path):
    out = tmp_path / "out"
    extract_attention(read_release(write_release()), toy_cells, out, quick())
    array = np.load(out / "layer-1-mean.npy")
    np.save(out / "layer-1-mean.npy", array + 1)
    open_attention(out)
    with pytest.raises(AttentionStoreError, match=r"layer-1-mean\.npy: sha256"):
        open_attention(out, verify=True)
    (out / "layer-1-mean.npy").unlink()
    with pytest.raises(AttentionStoreError, match="no finished attention"):
        open_attention(out)
    with pytest.raises(ValueError, match="layer 2 does not exist"):
        extract_attention(read_release(tmp_path / "releases" / "tiny"), toy_cells, out, quick()).layer_matrix(2)


def test_facts_say_what_lineage_needs(write_release, toy_cells, tmp_path):
    edges = extract_attention(read_release(write_release()), toy_cells, tmp_path / "out", quick())
    assert edges.cells_hash == toy_cells.cells_hash
    assert edges.facts["orientation"] == "row = query = regulator, column = key = target"
    wanted = {
        "device": "cpu", "dtype": "float32", "form": "logsumexp", "genes_in_universe": 26, "genes_evaluable": 25,
        "cells": 13, "heads_kept": "all",
    }  # fmt: skip
    assert {name: edges.facts[name] for name in wanted} == wanted
    score = edges.layer_matrix(0).score
    pairs = ~np.eye(25, dtype=bool)
    assert edges.facts["missing_pair_share"] == pytest.approx(np.isnan(score[pairs]).mean())
    assert edges.layer_matrix(0).cells_behind.dtype == np.int32


def test_heads_are_dropped_above_the_budget(write_release, toy_cells, tmp_path):
    edges = extract_attention(read_release(write_release()), toy_cells, tmp_path / "out", quick(memory_budget_gib=6e-6))
    assert edges.facts["heads_kept"].startswith("mean only")
    assert not list((tmp_path / "out").glob("*heads*"))


def test_missing_operator_falls_back_to_full_softmax(write_release, toy_cells, tmp_path, monkeypatch):
    from interp_assets.models.attention import operators

    release = read_release(write_release())
    exact = extract_attention(release, toy_cells, tmp_path / "fused", quick())
    monkeypatch.setattr(operators, "fused_operator_usable", lambda device: False)
    with pytest.warns(UserWarning, match="full softmax"):
        edges = extract_attention(release, toy_cells, tmp_path / "plain", quick())
    assert edges.facts["form"] == "softmax"
    np.testing.assert_allclose(edges.layer_matrix(1).score, exact.layer_matrix(1).score, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"control": np.zeros(14, dtype=bool)}, "no control cells"),
        ({"universe": np.array(["X0", "X1", "G3"])}, "only 1 of 3 scored genes"),
        ({"universe": np.array(["nowhere", "G3"])}, "nowhere is not among the measured genes"),
        ({"control": np.arange(14) == 3}, "no control cell expresses"),
    ],
)
def test_nothing_to_extract_is_an_error(write_release, toy_cells, tmp_path, change, message):
    cells = dataclasses.replace(toy_cells, **change)
    with pytest.raises(ValueError, match=message):
        extract_attention(read_release(write_release()), cells, tmp_path / "out", quick())
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_a_release_that_knows_too_few_genes_has_no_attention_there(write_release, toy_cells, tmp_path):
    cells = dataclasses.replace(toy_cells, universe=np.array(["X0", "X1", "G3"]))
    card = ReleaseCard(name="toy", kind="release", family="geneformer", folder=str(write_release()))
    expected = Unavailable(
        cells.dataset,
        "only 1 of 3 scored genes are in the vocabulary of the release; check the species and the gene key of its "
        "dictionary",
    )
    assert release_attention(card, cells, tmp_path / "own", AttentionSettings()) == expected
    assert random_twin_attention(card, cells, tmp_path / "twin", AttentionSettings(), 0) == expected


def test_attention_that_could_not_be_had_before_is_read_once_it_is_there(write_release, toy_cells, tmp_path):
    manager = AttentionIOManager(store=str(tmp_path))
    first, second = (dg.build_output_context(definition_metadata={PATH: "attention"}) for _ in range(2))
    folder = tmp_path / "attention"
    manager.handle_output(first, Unavailable("toy", "the data mirror has no toy.h5ad"))
    assert isinstance(open_edges(folder), Unavailable)
    extract_attention(read_release(write_release()), toy_cells, folder, quick())
    manager.handle_output(second, folder)
    assert open_edges(folder).genes.size > 0
    assert open_edges(folder).dataset == toy_cells.dataset


def test_cuda_is_never_replaced_silently(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto") == "cpu"
    with pytest.raises(ValueError, match="cuda is not available"):
        resolve_device("cuda")


def test_mass_check_sees_a_wrong_scale_and_weight_on_padding():
    import torch

    torch.manual_seed(0)
    query, key = torch.randn(2, 6, 3, 4), torch.randn(2, 6, 3, 4)
    scores = torch.einsum("bihd,bjhd->bhij", query, key) * 0.5
    scores[1, :, :, 4:] = -torch.inf
    batch = TokenBatch(tokens=np.zeros((2, 6), dtype=np.int64), lengths=np.array([6, 4]))
    logsumexp = torch.logsumexp(scores, -1)
    parts = {"form": "logsumexp", "query": query, "key": key, "logsumexp": logsumexp}
    check_mass(LayerAttention(**parts, scale=0.5), batch, 0, 1e-5)
    with pytest.raises(AttentionMassError, match="layer 3"):
        check_mass(LayerAttention(**parts, scale=0.4), batch, 3, 1e-3)
    weights = torch.softmax(scores, -1)
    check_mass(LayerAttention(form="softmax", weights=weights), batch, 0, 1e-5)
    with pytest.raises(AttentionMassError):
        check_mass(LayerAttention(form="softmax", weights=torch.full_like(weights, 1 / 6)), batch, 0, 1e-3)


def test_plan_covers_every_cell_once_longest_first_within_the_token_bound():
    rng = np.random.default_rng(1)
    lengths = rng.integers(1, 30, 50)
    column = np.concatenate([rng.permutation(60)[:length] for length in lengths]).astype(np.int32)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    cells = score_cells(EncodedCells(tokens=column, column=column, offsets=offsets), np.arange(5, 60))
    plan = plan_batches(cells, 100, 7)
    planned = np.concatenate(plan.batches)
    assert sorted(planned) == sorted(cells.used)
    assert (np.diff(lengths[planned]) <= 0).all()
    assert all(batch.size == 1 or batch.size * lengths[batch].max() <= 100 for batch in plan.batches)
    assert [number for shard in plan.shards for number in shard] == list(range(len(plan.batches)))
    assert plan_batches(cells, 200, 7).plan_hash != plan.plan_hash
    for batch in plan.batches[:5]:
        tokens = token_batch(cells, batch, padding=99).tokens
        where, gene, spans = batch_positions(cells, batch)
        for row in range(batch.size):
            own = slice(spans[row], spans[row + 1])
            assert (np.diff(gene[own]) > 0).all()
            assert (tokens[row, where[own]] == gene[own] + 5).all()


def test_pair_counts_equal_a_loop():
    rng = np.random.default_rng(2)
    lengths = rng.integers(0, 12, 30)
    column = np.concatenate([rng.permutation(20)[:length] for length in lengths]).astype(np.int32)
    encoded = EncodedCells(tokens=column, column=column, offsets=np.concatenate([[0], np.cumsum(lengths)]))
    scored = [3, 1, 19, 7, 8]
    expected = np.zeros((5, 5), dtype=int)
    for cell in range(30):
        own = set(column[encoded.offsets[cell] : encoded.offsets[cell + 1]])
        present = [gene in own for gene in scored]
        expected += np.outer(present, present)
    assert np.array_equal(pair_counts(score_cells(encoded, scored)), expected)


def test_gene_at_two_positions_of_a_cell_is_refused():
    column = np.array([-1, 4, 2, 4], dtype=np.int32)
    encoded = EncodedCells(tokens=column, column=column, offsets=np.array([0, 4]))
    with pytest.raises(ValueError, match="several positions"):
        score_cells(encoded, [4, 2])
    assert score_cells(encoded, [2]).where.tolist() == [2]


def test_loader_satisfies_the_protocol_and_unknown_families_are_named(write_release):
    release = read_release(write_release())
    model = load_model(release)
    assert isinstance(model, AttentionModel)
    assert model.describe().forms == ("logsumexp", "softmax")
    with pytest.raises(ValueError, match="no adapter for family 'oracle'"):
        load_model(dataclasses.replace(release, family="oracle"))
    with pytest.raises(ValueError, match="finished edge scores"):
        load_model(dataclasses.replace(release, family="edge_table"))


def test_a_manifest_without_the_hash_of_itself_is_not_trusted(write_release, toy_cells, tmp_path):
    """One flipped bit in the name of the hash must not take the guard away."""
    extract_attention(read_release(write_release()), toy_cells, tmp_path / "edges", ExtractionSettings(progress=False))
    manifest = tmp_path / "edges" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('\n "sha256"', '\n "sha257"'))
    with pytest.raises(AttentionStoreError, match="no finished attention"):
        open_attention(tmp_path / "edges")

"""Passes over groups of layers, listed heads and totals on disk: less memory, the same bits, and what is recorded."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from interp_assets.models.attention import progress as attention_progress
from interp_assets.models.attention import run as attention_run
from interp_assets.models.attention import store
from interp_assets.models.attention import sums as attention_sums
from interp_assets.models.attention.budget import GIBIBYTE, heads_text, keeps_all_heads, plan_sums
from interp_assets.models.attention.extraction import ExtractionSettings, extract_attention
from interp_assets.models.attention.settings import request_key
from interp_assets.models.attention.store import AttentionStoreError, head_matrix
from interp_assets.models.files.releases import read_release
from interp_assets.settings import AttentionSettings

LAYERS, HEADS, GENES = 5, 4, 25
SLAB = GENES**2 * 4 / GIBIBYTE


@pytest.fixture
def release(write_release):
    return read_release(write_release(peak=5.0, num_hidden_layers=LAYERS))


def quick(**changes) -> ExtractionSettings:
    base = {"device": "cpu", "batch_tokens": 48, "cells_per_shard": 3, "checkpoint_seconds": 1e9, "threads": 1}
    return ExtractionSettings(**{**base, **changes})


def arrays(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.npy"))}


@pytest.mark.parametrize("slabs", [4.0, 8.0, 9.0, 20.0, 39.0])
@pytest.mark.parametrize("form", ["logsumexp", "softmax"])
def test_passes_and_totals_on_disk_change_no_bit(release, toy_cells, tmp_path, slabs, form):
    extract_attention(release, toy_cells, tmp_path / "whole", quick(heads="all", form=form))
    how = quick(heads="all", form=form, memory_budget_gib=slabs * SLAB)
    edges = extract_attention(release, toy_cells, tmp_path / "cut", how)
    assert arrays(tmp_path / "cut") == arrays(tmp_path / "whole")
    sums = edges.facts["sums"]
    group = int(slabs) // HEADS
    assert [last - first + 1 for first, last in sums["passes"][1:]] == [group] * (len(sums["passes"]) - 1)
    assert [layer for first, last in sums["passes"] for layer in range(first, last + 1)] == list(range(LAYERS))
    assert sums["totals"] == "disk"
    assert sums["sums_gib"] <= slabs * SLAB
    assert edges.facts["heads_kept"] == "all"


def test_a_pass_runs_no_layer_above_its_group(release, toy_cells, tmp_path, monkeypatch):
    run = attention_run.attend_up_to
    asked: list[int] = []
    seen: list[int] = []

    def watched(model, batch, layers, sink, *, form):
        asked.append(layers)
        run(model, batch, layers, lambda at, found: (seen.append(at), sink(at, found)), form=form)

    monkeypatch.setattr(attention_run, "attend_up_to", watched)
    edges = extract_attention(release, toy_cells, tmp_path, quick(heads="mean", memory_budget_gib=2 * SLAB))
    batches = edges.facts["plan"]["batches"]
    assert edges.facts["sums"]["passes"] == [[0, 0], [1, 2], [3, 4]]
    assert asked == [1] * batches + [3] * batches + [5] * batches
    assert len(seen) == batches * edges.facts["sums"]["layers_run_per_cell"] == batches * (1 + 3 + 5)


def test_a_model_that_runs_no_single_blocks_is_run_whole_in_every_pass(release, toy_cells, tmp_path):
    from interp_assets.models.adapter import load_model

    class Plain:
        def __init__(self, model):
            self.describe, self.known, self.encode, self.attend = (
                model.describe, model.known, model.encode, model.attend,
            )  # fmt: skip

    def load(*given, **settings):
        return Plain(load_model(*given, **settings))

    extract_attention(release, toy_cells, tmp_path / "whole", quick(heads="all"))
    how = quick(heads="all", memory_budget_gib=8 * SLAB)
    extract_attention(release, toy_cells, tmp_path / "cut", how, load=load)
    assert arrays(tmp_path / "cut") == arrays(tmp_path / "whole")


@pytest.mark.parametrize("form", ["logsumexp", "softmax"])
def test_listed_heads_are_those_of_all_heads_and_the_mean_that_of_the_mean(release, toy_cells, tmp_path, form):
    extract_attention(release, toy_cells, tmp_path / "all", quick(heads="all", form=form))
    extract_attention(release, toy_cells, tmp_path / "mean", quick(heads="mean", form=form))
    how = quick(heads={3: [2, 0], 1: [1]}, form=form, memory_budget_gib=3 * SLAB)
    edges = extract_attention(release, toy_cells, tmp_path / "some", how)
    assert edges.facts["heads_kept"] == "mean, and the listed heads: 1.1, 3.0, 3.2"
    assert edges.facts["sums"]["listed"] == {"1": [1], "3": [0, 2]}
    assert sorted(path.name for path in (tmp_path / "some").glob("*heads.npy")) == [
        "layer-1-heads.npy", "layer-3-heads.npy",
    ]  # fmt: skip
    mean, some = arrays(tmp_path / "mean"), arrays(tmp_path / "some")
    assert {name: some[name] for name in mean} == mean
    for layer, head in ((1, 1), (3, 0), (3, 2)):
        single = head_matrix(tmp_path / "some", layer, head)
        assert single.facts["head"] == head
        np.testing.assert_array_equal(single.score, head_matrix(tmp_path / "all", layer, head).score)
    for layer, head in ((3, 1), (0, 0)):
        with pytest.raises(AttentionStoreError, match=f"head {layer}.{head} was not kept"):
            head_matrix(tmp_path / "some", layer, head)


class KilledError(RuntimeError):
    """Stands for a killed process."""


@pytest.mark.parametrize("adds", [3, 9, 14])
def test_a_run_killed_in_any_pass_continues_to_the_same_bytes(release, toy_cells, tmp_path, monkeypatch, adds):
    how = quick(heads="3.1 4.0", memory_budget_gib=3 * SLAB)
    extract_attention(release, toy_cells, tmp_path / "whole", how)
    add = attention_run.ExtractionRun._add
    done: list[int] = []

    def dying(run, *given):
        if len(done) == adds:
            raise KilledError
        done.append(1)
        add(run, *given)

    with monkeypatch.context() as patch:
        patch.setattr(attention_run.ExtractionRun, "_add", dying)
        with pytest.raises(KilledError):
            extract_attention(release, toy_cells, tmp_path / "broken", how)
    before = len(done)
    monkeypatch.setattr(attention_run.ExtractionRun, "_add", lambda run, *given: (done.append(1), add(run, *given)))
    edges = extract_attention(release, toy_cells, tmp_path / "broken", how)
    assert arrays(tmp_path / "broken") == arrays(tmp_path / "whole")
    assert (tmp_path / "broken" / "manifest.json").read_bytes() == (tmp_path / "whole" / "manifest.json").read_bytes()
    total = edges.facts["plan"]["batches"] * len(edges.facts["sums"]["passes"])
    assert before == adds
    assert total - before <= len(done) - before < total


def test_one_copy_of_the_sums_is_held_where_two_do_not_fit(tmp_path, monkeypatch):
    """The total on disk is read slab by slab, and equals the total in memory bit for bit."""
    rng = np.random.default_rng(0)
    shards = rng.random((4, 3, 6, 6)).astype(np.float32)
    found = {}
    for kept in ("memory", "disk"):
        totals = attention_sums.ShardTotals(tmp_path / kept, 4, (3, 6, 6), kept, 1e9)
        sums = attention_sums.ShardSums((3, 6, 6), "cpu")
        for number, shard in enumerate(shards):
            sums.tensor(slice(0, 3)).add_(as_tensor(shard))
            totals.close_shard(sums)
            assert sorted(path.name for path in (tmp_path / kept).iterdir()) == (
                [f"sums-{min(number + 1, 3):05d}.npy"] if kept == "disk" else []
            )
        found[kept] = totals.result()
    assert np.array_equal(found["memory"], found["disk"])
    np.testing.assert_allclose(found["memory"], shards.astype(np.float64).sum(0), rtol=1e-6)


def as_tensor(array):
    import torch

    return torch.from_numpy(array)


def test_full_size_plans_fit_the_budget():
    """18 x 18 heads over 2,000 genes: all heads by passes of two layers in 0.6 GiB, at once in 5 GiB, means always."""
    shape = {"layers": 18, "heads": 18, "genes": 2000}
    small = plan_sums(**shape, choice="all", budget_gib=0.6)
    assert small.shape(small.passes[-1]) == (36, 2000, 2000)
    assert (len(small.passes), small.layers_run) == (9, 90)
    large = plan_sums(**shape, choice="all", budget_gib=5.0)
    assert (large.passes, large.totals) == ((range(18),), "disk")
    assert plan_sums(**shape, choice="all", budget_gib=10.0).totals == "memory"
    mean = plan_sums(**shape, choice="auto", budget_gib=0.6)
    assert (mean.kept, mean.passes, mean.totals) == ("mean", (range(18),), "memory")
    assert "need 4.83 GiB, above the memory budget of 0.6 GiB" in mean.told
    assert not keeps_all_heads(**shape, budget_gib=0.6)
    assert plan_sums(**shape, choice="auto", budget_gib=5.0).kept == "all"


def test_one_layer_above_the_budget_is_held_with_a_warning():
    with pytest.warns(UserWarning, match="sums of one layer need 0.268 GiB, more than the memory budget of 0.1"):
        plan = plan_sums(layers=3, heads=18, genes=2000, choice="all", budget_gib=0.1)
    assert plan.passes == (range(1), range(1, 2), range(2, 3))


@pytest.mark.parametrize(
    ("heads", "text"),
    [("auto", "auto"), ("all", "all"), ("5.11, 0.3 5.11", "0.3, 5.11"), ({2: [1, 0], 0: [7]}, "0.7, 2.0, 2.1")],
)
def test_choices_of_heads_have_one_spelling(heads, text):
    assert heads_text(heads) == text
    assert ExtractionSettings(heads=heads).heads == text


@pytest.mark.parametrize("heads", ["some", "", "3", "3.x", "1.2.3", {}, {0: []}, {-1: [0]}])
def test_other_choices_of_heads_are_refused(heads):
    with pytest.raises(ValueError, match="heads is"):
        ExtractionSettings(heads=heads)


def test_listed_heads_have_to_exist(release, toy_cells, tmp_path):
    with pytest.raises(ValueError, match=r"head 5.0 does not exist: the model has 5 layers of 4 heads"):
        extract_attention(release, toy_cells, tmp_path, quick(heads="5.0, 4.3"))


def test_the_budget_belongs_to_the_key_where_it_decides(release, toy_cells):
    def key(**changes):
        return request_key(release, toy_cells, quick(**changes), "cpu")

    assert key(heads="all") == key(heads="all", memory_budget_gib=5.0)
    assert key() != key(memory_budget_gib=5.0)
    assert key(heads="1.0 0.1") == key(heads={0: [1], 1: [0]}) != key(heads="mean")


def test_progress_is_logged_where_there_is_no_terminal(release, toy_cells, tmp_path, monkeypatch, caplog, capsys):
    monkeypatch.setattr(attention_progress, "LOG_SECONDS", 0.0)
    with caplog.at_level(logging.INFO, logger="interp_assets.models.attention.progress"):
        extract_attention(release, toy_cells, tmp_path / "told", quick(heads="mean", memory_budget_gib=3 * SLAB))
    lines = [record.getMessage() for record in caplog.records]
    assert lines[-1].startswith("attention of tiny: done, 22 of 22 cells, ")
    assert any("cells/s" in line and "left, layers 2-4 of 5, head means" in line for line in lines)
    assert capsys.readouterr().err == ""
    caplog.clear()
    extract_attention(release, toy_cells, tmp_path / "quiet", quick(progress=False))
    assert not caplog.records


def test_a_bar_shows_rate_time_left_and_what_is_kept(release, toy_cells, tmp_path, capsys):
    extract_attention(release, toy_cells, tmp_path, quick(heads="all", progress=True))
    shown = capsys.readouterr().err
    assert "11/11 cells" in shown
    assert "cell/s" in shown
    assert "0 s left, layers 0-4 of 5, all heads" in shown


def test_a_run_killed_while_its_folder_is_written_reads_no_cell_again(release, toy_cells, tmp_path, monkeypatch):
    how = quick(heads="all", memory_budget_gib=8 * SLAB)
    extract_attention(release, toy_cells, tmp_path / "whole", how)
    write = store.replace_bytes

    def dying(path, content):
        if path.name == "genes.json":
            raise KilledError
        write(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(store, "replace_bytes", dying)
        with pytest.raises(KilledError):
            extract_attention(release, toy_cells, tmp_path / "broken", how)

    def never(*given):
        raise AssertionError("a batch was read again")

    monkeypatch.setattr(attention_run.ExtractionRun, "_add", never)
    extract_attention(release, toy_cells, tmp_path / "broken", how)
    assert arrays(tmp_path / "broken") == arrays(tmp_path / "whole")
    assert not (tmp_path / "broken" / "partial").exists()


def test_studies_choose_heads_and_memory_and_are_refused_nonsense():
    assert AttentionSettings(heads="1.1 0.3") == AttentionSettings(heads="0.3, 1.1")
    for wrong in ({"heads": "most"}, {"memory_gib": 0.0}, {"batch_tokens": 0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            AttentionSettings(**wrong)

"""Shards added by the workers of a dask scheduler: same bytes, a killed worker, what is refused."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import signal
from collections import Counter
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from tokenizers import Tokenizer

from interp_assets.models.adapter import EncodedCells, load_model
from interp_assets.models.attention import cluster as attention_cluster
from interp_assets.models.attention import sums as attention_sums
from interp_assets.models.attention.cluster import (
    ClusterError,
    ClusterMismatchError,
    ShardWorkers,
    add_shard,
    differences,
    shard_cells,
)
from interp_assets.models.attention.extraction import ExtractionSettings, extract_attention
from interp_assets.models.attention.plan import batch_positions, score_cells, token_batch
from interp_assets.models.attention.settings import library_versions, request_key
from interp_assets.models.files.releases import read_release
from interp_assets.models.records import ReleaseCard
from interp_assets.models.sourcing import release_attention
from interp_assets.settings import AttentionSettings
from tests.unit.models import causal_folders as folders

distributed = pytest.importorskip("distributed", reason="dask.distributed is not installed: [cluster]")
cloudpickle = pytest.importorskip("cloudpickle")


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.glob("*.*"))}


def quick(**changes) -> ExtractionSettings:
    base = {"device": "cpu", "batch_tokens": 24, "cells_per_shard": 2, "checkpoint_seconds": 0.0, "threads": 1}
    return ExtractionSettings(**{**base, **changes})


@pytest.fixture(scope="module")
def cluster():
    """Two worker processes of one thread each."""
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as made:
        yield made


@pytest.fixture
def local(write_release, toy_cells, tmp_path):
    """A release, and the folder extracted in this process."""
    release = read_release(write_release(peak=5.0))
    extract_attention(release, toy_cells, tmp_path / "local", quick(heads="all"))
    return release, tmp_path / "local"


def busiest(scheduler) -> str:
    """Address of the worker that holds or adds most shards."""
    found: Counter[str] = Counter()
    for task in list(scheduler.tasks.values()):
        found.update(worker.address for worker in {task.processing_on, *(task.who_has or ())} - {None})
    return found.most_common(1)[0][0]


def test_two_workers_and_a_killed_one_give_the_bytes_of_one_process(cluster, local, toy_cells, tmp_path, monkeypatch):
    release, folder = local
    how = quick(heads="all", scheduler=cluster.scheduler_address)
    edges = extract_attention(release, toy_cells, tmp_path / "two", how)
    assert digests(tmp_path / "two") == digests(folder)
    assert edges.facts["plan"]["shards"] >= 5
    assert edges.facts["threads"] == 1

    with distributed.Client(cluster.scheduler_address, set_as_default=False) as client:
        pids = client.run(os.getpid)
    killed: list[int] = []
    close = attention_sums.ShardTotals.close_shard

    def close_and_kill(totals, sums):
        close(totals, sums)
        if not killed:
            killed.append(pids[busiest(cluster.scheduler)])
            os.kill(killed[0], signal.SIGKILL)

    cluster.scheduler.transition_log.clear()
    monkeypatch.setattr(attention_sums.ShardTotals, "close_shard", close_and_kill)
    extract_attention(release, toy_cells, tmp_path / "killed", how)
    taken = Counter(key for key, _, state, *_ in cluster.scheduler.transition_log if state == "processing")
    assert max(count for key, count in taken.items() if str(key).startswith("add_shard")) > 1
    assert digests(tmp_path / "killed") == digests(folder)


def test_one_worker_and_head_means_within_little_memory_give_the_same_bytes(local, toy_cells, tmp_path):
    release, folder = local
    made = distributed.LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=":0")
    with made as one:
        address = one.scheduler_address
        extract_attention(release, toy_cells, tmp_path / "one", quick(heads="all", scheduler=address))
        assert digests(tmp_path / "one") == digests(folder)
        # one pass a layer, totals kept on disk: sums received over a connection are added to in place
        little = quick(heads="mean", memory_budget_gib=25 * 25 * 4 / 2**30)
        there = dataclasses.replace(little, scheduler=address)
        assert extract_attention(release, toy_cells, tmp_path / "a", little).facts["sums"]["totals"] == "disk"
        extract_attention(release, toy_cells, tmp_path / "b", there)
        assert digests(tmp_path / "a") == digests(tmp_path / "b")

        moved = read_release(release.folder)
        (release.folder / "config.json").write_text((release.folder / "config.json").read_text() + " ")
        attention_cluster._model.cache_clear()
        with pytest.raises(ValueError, match=r"config\.json"):
            extract_attention(
                moved, toy_cells, tmp_path / "moved", there, load=lambda *_, **how: load_model(moved, **how)
            )


def test_a_worker_of_another_version_is_refused_before_anything_runs(cluster, local, toy_cells, tmp_path, monkeypatch):
    release, _ = local
    here = library_versions
    monkeypatch.setattr(attention_cluster, "library_versions", lambda: {**here(), "numpy": "1.0"})
    monkeypatch.setattr(ShardWorkers, "shards", lambda *_: pytest.fail("a shard was handed out"))
    with pytest.raises(ClusterMismatchError, match=rf"numpy {here()['numpy']} instead of 1\.0"):
        extract_attention(release, toy_cells, tmp_path / "out", quick(scheduler=cluster.scheduler_address))
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_a_worker_that_joins_later_compares_too(local, toy_cells, tmp_path, monkeypatch):
    release, _ = local
    jobs: list[attention_cluster.ShardJob] = []

    class Client:
        def nthreads(self):
            return {"one": 1}

        def submit(self, add, job, **_):
            jobs.append(job)
            raise KeyError

    here = attention_cluster.versions_here("cpu")
    workers = ShardWorkers(
        client=Client(), release=release, settings=quick(), device="cpu", load=load_model, versions=here
    )

    monkeypatch.setattr("interp_assets.models.attention.extraction.shard_workers", lambda *_: nullcontext(workers))
    with pytest.raises(KeyError):
        extract_attention(release, toy_cells, tmp_path / "out", quick())
    assert add_shard(jobs[0]).sums.shape == (8, 25, 25)
    with pytest.raises(ClusterMismatchError, match="torch"):
        add_shard(dataclasses.replace(jobs[0], versions={**here, "torch": "0"}))
    attention_cluster._model.cache_clear()
    with pytest.raises(ClusterMismatchError, match="the same files under the same path"):
        add_shard(dataclasses.replace(jobs[0], release_id="other"))


class AtOnce:
    """A client that adds a shard where it is handed out, from bytes as a worker would receive."""

    def __init__(self):
        self.jobs = []

    def nthreads(self):
        return {"here": 1}

    def submit(self, add, job, **_):
        self.jobs.append(cloudpickle.loads(cloudpickle.dumps(job)))
        added = add(self.jobs[-1])
        return SimpleNamespace(result=lambda timeout: added, release=lambda: None, status="finished")


@pytest.mark.parametrize(
    "how",
    [
        {"kernel": "gene_order"},
        {"form": "softmax"},
        {"edge_rule": "double_rank"},
        {"heads": "1.3, 0.0"},
        {"family": "c2s"},
        {"family": "c2s", "kernel": "gene_order"},
    ],
    ids=lambda how: "-".join(map(str, how.values())),
)
def test_every_way_of_adding_has_the_bytes_of_one_process(local, make_cells, seal_release, tmp_path, monkeypatch, how):
    causal = how.get("family") == "c2s"
    release = read_release(folders.write_c2s(tmp_path / "c2s", seal_release)) if causal else local[0]
    genes = list(folders.NAMES) if causal else [f"G{number}" for number in range(40)]
    rng = np.random.default_rng(3)
    counts = rng.poisson(2.0, (15, len(genes))) * (rng.random((15, len(genes))) < 0.4)
    counts[8:, :4] += 1
    if causal:
        # some shards hold no gene of several tokens, others do
        tokenizer = Tokenizer.from_file(str(release.folder / "tokenizer.json"))
        counts[:8] = 0
        counts[:8, [len(tokenizer.encode(f" {gene}").ids) == 1 for gene in genes]] = 2
    cells = make_cells(counts, genes)
    settings = quick(**{name: value for name, value in how.items() if name != "family"})
    extract_attention(release, cells, tmp_path / "here", settings)
    versions = attention_cluster.versions_here("cpu")
    client = AtOnce()
    workers = ShardWorkers(
        client=client, release=release, settings=settings, device="cpu", load=load_model, versions=versions
    )
    monkeypatch.setattr("interp_assets.models.attention.extraction.shard_workers", lambda *_: nullcontext(workers))
    attention_cluster._model.cache_clear()
    edges = extract_attention(release, cells, tmp_path / "there", settings)
    assert len(client.jobs) == edges.facts["plan"]["shards"] > 2
    # whether a gene stands twice anywhere is told of all cells, also where the cells of a shard hold each gene once
    assert all(job.distinct != causal for job in client.jobs)
    if causal:
        assert any(job.cells.held == job.cells.gene.size for job in client.jobs)
    assert digests(tmp_path / "there") == digests(tmp_path / "here")


def test_a_lost_scheduler_is_one_error_and_the_run_goes_on_from_its_checkpoint(local, toy_cells, tmp_path, monkeypatch):
    release, folder = local
    made = distributed.LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=":0")
    monkeypatch.setattr(attention_cluster, "CONNECT_SECONDS", 1.0)
    close = attention_sums.ShardTotals.close_shard

    def close_and_stop(totals, sums):
        close(totals, sums)
        if totals.done == 3:
            made.close()

    with made, monkeypatch.context() as patch:
        patch.setattr(attention_sums.ShardTotals, "close_shard", close_and_stop)
        with pytest.raises(ClusterError, match=r"scheduler .* was lost, 3 of \d+ shards are done"):
            extract_attention(
                release, toy_cells, tmp_path / "lost", quick(heads="all", scheduler=made.scheduler_address)
            )
    assert (tmp_path / "lost" / "partial" / "pass-0-1" / "sums-00003.npy").is_file()
    extract_attention(release, toy_cells, tmp_path / "lost", quick(heads="all"))
    assert digests(tmp_path / "lost") == digests(folder)


def test_an_absent_scheduler_is_named_and_comes_from_the_settings_of_a_study(local, toy_cells, tmp_path, monkeypatch):
    monkeypatch.setattr(attention_cluster, "CONNECT_SECONDS", 0.2)
    card = ReleaseCard(name="tiny", kind="release", family="geneformer", folder=str(local[0].folder))
    with pytest.raises(ClusterError, match=r"tcp://127\.0\.0\.1:9.* does not answer"):
        release_attention(card, toy_cells, tmp_path / "out", AttentionSettings(scheduler="tcp://127.0.0.1:9"))


class Waiting:
    """A future that ends as told."""

    status = "pending"

    def __init__(self, error):
        self.error = error

    def result(self, timeout):
        raise self.error


@pytest.mark.parametrize(
    ("error", "threads", "told"),
    [
        (
            lambda: distributed.KilledWorker("shard", SimpleNamespace(address="tcp://w:1"), 3),
            {"one": 1},
            r"shard 2 of 9: every worker .* memory",
        ),
        (TimeoutError, {}, r"has had no worker for 2 s, 1 of 9 shards are done"),
    ],
)
def test_shards_that_kill_workers_and_absent_workers_end_the_run(local, monkeypatch, error, threads, told):
    monkeypatch.setattr(attention_cluster, "_POLL_SECONDS", 1.0)
    monkeypatch.setattr(attention_cluster, "WORKER_SECONDS", 2.0)
    there = {"client": SimpleNamespace(nthreads=lambda: threads), "settings": quick(scheduler="tcp://there:1")}
    workers = ShardWorkers(**there, release=local[0], device="cpu", load=load_model, versions={})
    with pytest.raises(ClusterError, match=told):
        workers._received(Waiting(error()), 1, 9)


def test_an_error_of_a_shard_passes_as_it_is(local):
    there = {"client": SimpleNamespace(nthreads=dict), "settings": quick(scheduler="tcp://there:1")}
    workers = ShardWorkers(**there, release=local[0], device="cpu", load=load_model, versions={})
    failed = Waiting(FileNotFoundError("model.safetensors"))
    failed.status = "error"
    with pytest.raises(FileNotFoundError, match="safetensors"):
        workers._received(failed, 1, 9)


def test_the_scheduler_is_no_part_of_the_key(local, toy_cells):
    there = quick(scheduler="tcp://somewhere:8786")
    assert request_key(local[0], toy_cells, there, "cpu") == request_key(local[0], toy_cells, quick(), "cpu")


def test_cells_of_a_shard_are_those_of_the_whole():
    rng = np.random.default_rng(0)
    lengths = rng.integers(0, 9, 20)
    column = np.concatenate([rng.permutation(30)[:length] for length in lengths]).astype(np.int32)
    offsets = np.concatenate(([0], np.cumsum(lengths)))
    whole = score_cells(EncodedCells(tokens=column + 7, column=column, offsets=offsets), np.arange(3, 25))
    chosen = np.array([13, 2, 8, 19, 5])
    part = shard_cells(whole, chosen)
    numbers = np.arange(chosen.size)
    assert np.array_equal(part.encoded.lengths, lengths[chosen])
    assert np.array_equal(token_batch(part, numbers).tokens, token_batch(whole, chosen).tokens)
    for own, expected in zip(batch_positions(part, numbers), batch_positions(whole, chosen), strict=True):
        assert np.array_equal(own, expected)


def test_every_difference_is_named():
    assert differences({"a": "1"}, {"a": "1"}) == ""
    assert differences({"a": "1", "b": "2"}, {"a": "2"}) == "a 2 instead of 1, b absent instead of 2"

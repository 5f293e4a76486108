"""Files whose hash nobody stated: trusted once, held to it ever after, and what a person can do about it."""

from __future__ import annotations

import hashlib
import json
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from interp_assets.cells import sources
from interp_assets.cells.artefacts import Archive, prepared_cells, screen_outcomes
from interp_assets.cells.dataset_records import LOCKED
from interp_assets.cells.declared import DeclarationError
from interp_assets.cells.integrity import DataFileError, EmptyFileError
from interp_assets.cells.read_cells import CellsError
from interp_assets.cells.records import Unavailable
from interp_assets.cells.source_locks import LockedFileError, Locks
from interp_assets.cells.sources import LocatedFile, SourceContext, locate, source_context, unlock

FIRST, SECOND = b"\x89HDF\r\n\x1a\nfirst" * 20, b"\x89HDF\r\n\x1a\nother" * 20


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def context(tmp_path: Path) -> SourceContext:
    return SourceContext(wheels=tmp_path / "wheels", cache=tmp_path / "store" / "cells" / ".sources")


def fetched_from(server: Any, **more: Any) -> list[dict[str, Any]]:
    return [{"download": {"url": f"{server.address}/cells.h5ad", "sha256": LOCKED} | more}]


def test_the_first_file_is_trusted_and_the_next_use_needs_no_server(web, document, declare, context):
    with web.serving(FIRST) as server:
        spec = declare(document | {"sources": fetched_from(server)})
        found = locate(spec, context)
        assert isinstance(found, LocatedFile)
        assert (found.sha256, found.size, found.origin) == (digest(FIRST), len(FIRST), "download")
        assert locate(spec, context) == found
        assert len(server.requests) == 1
    assert locate(spec, replace(context, allow_download=False)) == found
    content = json.loads((context.cache / "lock.json").read_text())
    assert content == {"files": {f"{server.address}/cells.h5ad": {"sha256": digest(FIRST), "size": len(FIRST)}}}
    assert sorted(path.name for path in context.cache.iterdir()) == sorted([found.path.name, "lock.json"])


def test_another_file_at_the_address_is_refused_until_it_is_unlocked(web, document, declare, context):
    with web.serving(FIRST) as server:
        spec = declare(document | {"sources": fetched_from(server)})
        locate(spec, context).path.unlink()
        server.content = SECOND
        with pytest.raises(LockedFileError) as caught:
            locate(spec, context)
        for words in (digest(FIRST), digest(SECOND), "interp datasets unlock toy", "lock.json", server.address):
            assert words in str(caught.value)
        assert [path.name for path in context.cache.iterdir()] == ["lock.json"]
        assert unlock(spec, context) == (f"{server.address}/cells.h5ad",)
        assert unlock(spec, context) == ()
        assert locate(spec, context).sha256 == digest(SECOND)


def test_a_copy_that_changed_is_refused_and_comes_again_once_deleted(web, document, declare, context):
    with web.serving(FIRST) as server:
        spec = declare(document | {"sources": fetched_from(server)})
        path = locate(spec, context).path
        path.write_bytes(SECOND)
        with pytest.raises(LockedFileError, match=r"or the copy is damaged\. Delete the copy"):
            locate(spec, context)
        path.unlink()
        assert locate(spec, context).sha256 == digest(FIRST)
        assert len(server.requests) == 2


def test_without_a_lock_a_copy_must_at_least_be_of_its_kind(web, document, declare, context):
    with web.serving(FIRST) as server:
        spec = declare(document | {"sources": fetched_from(server)})
        path = locate(spec, context).path
        unlock(spec, context)
        path.write_bytes(b"<html>proxy login</html>")
        with pytest.raises(DataFileError, match=r"is no \.h5ad file"):
            locate(spec, context)
        path.write_bytes(b"")
        with pytest.raises(EmptyFileError):
            locate(spec, context)
    assert json.loads((context.cache / "lock.json").read_text()) == {"files": {}}


def test_a_committed_lock_comes_first_and_is_never_written(web, document, declare, context, tmp_path, monkeypatch):
    with web.serving(FIRST) as server:
        spec = declare(document | {"sources": fetched_from(server)})
        key = f"{server.address}/cells.h5ad"
        given = tmp_path / "locks.json"
        given.write_text(json.dumps({"files": {key: {"sha256": digest(SECOND), "size": len(SECOND)}}}))
        monkeypatch.setenv("INTERP_CONFIG_DIR", str(tmp_path))
        monkeypatch.delenv("INTERP_DATA_MIRROR", raising=False)
        told = source_context(tmp_path / "store", wheels=context.wheels)
        assert told.given_locks == (given,)
        with pytest.raises(LockedFileError, match=digest(SECOND)):
            locate(spec, told)
        with pytest.raises(DataFileError, match=r"locks\.json: holds the lock of .* never written here"):
            unlock(spec, told)
        server.content = SECOND
        assert locate(spec, told).sha256 == digest(SECOND)
    assert not (told.cache / "lock.json").exists()


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"files": []}', '{"files": {"x": {"sha256": "0"}}}', '{"files": {"x": 1}}']
)
def test_a_broken_lock_file_is_named_and_never_ignored(web, document, declare, context, text):
    context.cache.mkdir(parents=True)
    (context.cache / "lock.json").write_text(text)
    with web.serving(FIRST) as server, pytest.raises(DataFileError, match=r"lock\.json: is no lock file"):
        locate(declare(document | {"sources": fetched_from(server)}), context)


def test_datasets_of_one_address_share_one_download(web, document, declare, context):
    with web.serving(FIRST) as server:
        both = [declare(document | {"id": name, "sources": fetched_from(server)}) for name in ("toy", "toy_again")]
        assert len({locate(spec, context).path for spec in both}) == 1
        assert len(server.requests) == 1


def test_two_at_once_fetch_once(web, document, declare, context):
    with web.serving(FIRST) as server:
        spec = declare(document | {"sources": fetched_from(server)})
        found: list[Any] = []
        threads = [threading.Thread(target=lambda: found.append(locate(spec, context))) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(server.requests) == 1
    assert {each.sha256 for each in found} == {digest(FIRST)}
    assert len(found) == 4


def test_writers_of_the_lock_file_lose_nothing(tmp_path):
    locks = Locks(tmp_path / "lock.json")
    threads = [threading.Thread(target=locks.keep, args=(f"https://x/{i}", "0" * 64, i)) for i in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {locks.find(f"https://x/{i}").size for i in range(12)} == set(range(12))
    assert [path.name for path in tmp_path.iterdir()] == ["lock.json"]


def test_downloads_switched_off_are_a_reason(web, document, declare, context, monkeypatch, tmp_path):
    monkeypatch.setenv("INTERP_OFFLINE", "1")
    monkeypatch.delenv("INTERP_DATA_MIRROR", raising=False)
    offline = source_context(tmp_path / "store", wheels=context.wheels)
    with web.serving(FIRST) as server:
        found = locate(declare(document | {"sources": fetched_from(server)}), offline)
        assert isinstance(found, Unavailable)
        assert "downloads are switched off" in found.reason
        assert not server.requests


def test_a_file_that_its_user_supplies_is_locked_when_it_is_first_read(document, declare, context, tmp_path):
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    spec = declare(document | {"sources": [{"mirror": {"path": "own/cells.h5ad", "sha256": LOCKED}}]})
    supplied = replace(context, mirror=mirror)
    assert isinstance(locate(spec, supplied), Unavailable)
    (mirror / "own").mkdir()
    (mirror / "own" / "cells.h5ad").write_bytes(FIRST)
    assert locate(spec, supplied).sha256 == digest(FIRST)
    (mirror / "own" / "cells.h5ad").write_bytes(SECOND)
    with pytest.raises(LockedFileError, match="interp datasets unlock toy"):
        locate(spec, supplied)
    assert unlock(spec, supplied) == ("mirror:own/cells.h5ad",)
    assert locate(spec, supplied).sha256 == digest(SECOND)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"url": "http://example.org/x.h5ad"}, "only https is read"),
        ({"url": "ftp://127.0.0.1/x.h5ad"}, "only https is read"),
        ({"url": "https://example.org/"}, "`sources[0].download.name`: is missing"),
        ({"sha256": "trust me"}, "64 lower-case hexadecimal digits"),
        ({"sha256": "0" * 64}, "`sources[0].download.size`: is missing"),
        ({"md5": "0" * 31}, "32 lower-case hexadecimal digits"),
        ({"size": 5, "about": 6}, "Give one of them"),
    ],
)
def test_a_source_that_cannot_be_held_to_anything_is_refused(document, declare, change, message):
    entry = {"download": {"url": "https://example.org/x.h5ad", "sha256": LOCKED} | change}
    with pytest.raises(DeclarationError) as caught:
        declare(document | {"sources": [entry]})
    assert message in str(caught.value)


def perturb_seq(path: Path, **changes: Any) -> bytes:
    """A small h5ad laid out as the scPerturb collection does it; 90 cells, 12 genes, two guides and controls."""
    rng = np.random.default_rng(1)
    counts = rng.poisson(4.0, size=(90, 12)).astype(np.float32)
    counts[30:60, 3] *= 8
    obs = pd.DataFrame(
        {
            "perturbation": np.repeat(["control", "GENE1", "GENE2"], 30),
            "nperts": np.repeat([0, 1, 1], 30),
            "batch": np.tile(["1", "2"], 45),
        },
        index=[f"cell{i}" for i in range(90)],
    ).assign(**changes.get("obs", {}))
    data = anndata.AnnData(
        X=counts if changes.get("dense") else sparse.csr_matrix(counts),
        obs=obs,
        var=pd.DataFrame({"feature_name": [f"GENE{i}" for i in range(12)]}, index=[f"GENE{i}" for i in range(12)]),
    )
    if changes.get("raw"):
        data.raw = data.copy()
        data.X = np.log1p(counts)
        data.var_names = [f"ENSG{i:011d}" for i in range(12)]
        data.raw.var.index = data.var_names
    data.write_h5ad(path)
    return path.read_bytes()


def screen(document: dict[str, Any], server: Any, cells: dict[str, Any]) -> dict[str, Any]:
    return document | {
        "modality": "crispri",
        "sources": fetched_from(server),
        "cells": {"control_label": "control"} | cells,
        "differential": {"min_cells": 20},
        "universe": {"genes": 5, "forced": "perturbed"},
    }


@pytest.mark.parametrize("dense", [False, True])
def test_a_served_screen_is_downloaded_locked_read_and_tested(web, document, declare, context, tmp_path, dense):
    with web.serving(perturb_seq(tmp_path / "made.h5ad", dense=dense)) as server:
        spec = declare(screen(document, server, {"obs": {"perturbation": "perturbation", "batch": "batch"}}))
        shelf = Archive(datasets={spec.id: spec}, context=context)
        cells = prepared_cells(shelf, "toy")
        labels = screen_outcomes(shelf, "toy", cells)
        assert len(server.requests) == 1
    assert cells.counts.shape == (90, 12)
    assert int(cells.control.sum()) == 30
    assert {"GENE1", "GENE2"} <= set(cells.universe.tolist())  # forced in, whatever their variance
    assert len(cells.universe) == 5
    assert labels.perturbations.tolist() == ["GENE1", "GENE2"]


def test_labels_of_plasmids_and_of_two_columns_become_genes(web, document, declare, context, tmp_path):
    plasmids = ["62(mod)_pBA581"] * 20 + ["*"] * 5 + [None] * 5 + ["GENE1_pDS255"] * 30 + ["GENE2_pDS88-1"] * 30
    form = {
        "columns": ["target", "perturbation"],
        "control": ["62(mod)_pBA581"],
        "drop": ["*"],
        "pattern": "(?P<gene>[A-Za-z0-9.-]+)_p[A-Z]+[0-9-]+",
    }
    targets = [None] * 60 + ["GENE7"] * 30  # names the last group though its plasmid names another gene
    content = perturb_seq(tmp_path / "made.h5ad", obs={"perturbation": plasmids, "target": targets})
    with web.serving(content) as server:
        spec = declare(screen(document, server, {"obs": {"perturbation": "labels"}, "labels": form}))
        cells = prepared_cells(Archive(datasets={spec.id: spec}, context=context), "toy")
    assert cells.obs["perturbation"].value_counts().to_dict() == {"GENE1": 30, "GENE7": 30, "control": 20}
    assert cells.facts["cells_without_label"] == 10
    assert int(cells.control.sum()) == 20


def test_raw_counts_and_symbols_of_a_column_are_read(web, document, declare, context, tmp_path):
    content = perturb_seq(tmp_path / "made.h5ad", raw=True)
    with web.serving(content) as server:
        columns = {"obs": {"perturbation": "perturbation"}}
        raw = declare(screen(document, server, columns | {"counts": "raw", "gene_column": "feature_name"}))
        cells = prepared_cells(Archive(datasets={raw.id: raw}, context=context), "toy")
        assert cells.genes.tolist() == [f"GENE{i}" for i in range(12)]
        assert cells.counts.dtype.kind == "i"
        for change, message in (
            ({"counts": "X"}, "raw integer counts are expected"),
            ({"counts": "raw", "gene_column": "symbol"}, "genes have no column symbol"),
        ):
            wrong = declare(screen(document, server, columns | change))
            with pytest.raises(CellsError, match=message):
                prepared_cells(Archive(datasets={wrong.id: wrong}, context=context), "toy")
    assert sources.download_path(raw.sources[0], context).is_file()


def test_a_file_without_raw_or_labels_is_named(web, document, declare, context, tmp_path):
    with web.serving(perturb_seq(tmp_path / "made.h5ad")) as server:
        obs = {"perturbation": "perturbation"}
        for cells, message in (
            ({"obs": obs, "counts": "raw"}, "the file has no raw"),
            ({"obs": {"perturbation": "labels"}, "labels": {"columns": "guide", "control": "x"}}, "no column guide"),
        ):
            spec = declare(screen(document, server, cells))
            with pytest.raises(CellsError, match=message):
                prepared_cells(Archive(datasets={spec.id: spec}, context=context), "toy")


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"control": "x"}, "`cells.labels.columns`"),
        ({"columns": "p"}, "`cells.labels.control`"),
        ({"columns": "p", "control": "x", "pattern": "(?P<gene>"}, "is no regular expression"),
        ({"columns": "p", "control": "x", "pattern": "(.*)_p"}, "no group called gene"),
    ],
)
def test_a_rule_for_labels_that_says_too_little_is_refused(document, declare, labels, message):
    cells = {"obs": {"perturbation": "labels"}, "control_label": "control", "labels": labels}
    with pytest.raises(DeclarationError) as caught:
        declare(document | {"cells": cells})
    assert message in str(caught.value)

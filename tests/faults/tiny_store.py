"""A store of the study ``tiny``, what is done to it in other processes, and how these die.

Work that is to be killed runs in processes of a fork server, which has imported everything and computed nothing: they
start at once, and no thread or database of the tests lives on in them.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import signal
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import yaml

from interp_assets.assets.judgement import judged_files
from interp_assets.definitions import build_definitions
from interp_assets.evaluate import EvaluationError, Evaluator, dagster_instance, history_faults
from interp_assets.io_managers import PATH, FilesIOManager, read_records
from interp_assets.layout import Layout, read_layout
from interp_assets.models.attention.extraction import ExtractionSettings, extract_attention
from interp_assets.models.files.releases import read_release
from interp_assets.stages import Stage, waves
from interp_assets.storage import canonical_json

STUDY, RELEASE, CONTROL, DATASET = "tiny", "geneformer-small-2k", "control-coexpression", "planted_tiny"
JUDGED = "judged.control_outcome"
PROJECT = Path(__file__).resolve().parents[2]
# What holds times; every other byte of a store is the same after every evaluation.
WITH_TIMES = ("provenance.json", "report.html")
CHANGES = ("replace", "rename", "link", "unlink", "rmdir")
HEAVY = (
    "anndata",
    "great_expectations",
    "matplotlib.pyplot",
    "numba",
    "sklearn.ensemble",
    "statsmodels.api",
    "torch",
    "transformers.models.bert.modeling_bert",
)
KILLED = -signal.SIGKILL
Environment = dict[str, str]


def deployment(store: Path, wheels: Path) -> Environment:
    """Environment of a deployment over the shipped releases.

    Its history is the project's, but captures no output of steps: Dagster's capture starts processes that outlive a
    killed run.
    """
    configuration = store.parent / "dagster.yaml"
    configuration.parent.mkdir(parents=True, exist_ok=True)
    silent = {"module": "dagster._core.storage.noop_compute_log_manager", "class": "NoOpComputeLogManager"}
    configuration.write_text((PROJECT / "dagster.yaml").read_text() + yaml.safe_dump({"compute_logs": silent}))
    return {
        "INTERP_DAGSTER_YAML": str(configuration),
        "INTERP_STORE": str(store),
        "INTERP_RELEASES": str(PROJECT / "releases"),
        "INTERP_DATA_WHEELS": str(wheels),
        "INTERP_STUDIES": STUDY,
        "DAGSTER_DISABLE_TELEMETRY": "1",
        "GX_ANALYTICS_ENABLED": "False",
        "OMP_NUM_THREADS": "1",
        "NUMBA_NUM_THREADS": "1",
    }


def of(environment: Environment) -> Layout:
    """Layout of a deployment, which is that of this process from now on."""
    for name in ("INTERP_DATA_MIRROR", "INTERP_PLATFORM", "INTERP_CONFIG_DIR"):
        os.environ.pop(name, None)
    os.environ.update(environment)
    for category in (dg.PreviewWarning, dg.BetaWarning, dg.SupersessionWarning):
        warnings.filterwarnings("ignore", category=category)
    return read_layout()


def evaluate(environment: Environment, whole: bool = False) -> list[tuple[str, str | None]]:
    """Bring a store up to date and say which steps were run.

    Not ``whole``: what the battery of the co-expression control is made from and the battery itself, which is every
    kind of file short of a verdict.
    """
    layout = of(environment)
    with dagster_instance(layout) as instance:
        evaluator = Evaluator(build_definitions(layout), layout, instance)
        if whole:
            return evaluator.evaluate(STUDY, [RELEASE]).steps
        with history_faults(layout):
            evaluator._register(())
        for chain in _of_one_control(layout, evaluator):
            done = evaluator.run_chain(chain)
            if done.error:
                raise EvaluationError(done.error)
        return evaluator.progress.steps


def _of_one_control(layout: Layout, evaluator: Evaluator) -> Iterator[tuple[Stage, ...]]:
    for wave in waves(layout, evaluator._graph.materializable_asset_keys, STUDY, []):
        for chain in wave:
            of_another = chain and chain[0].release not in (None, CONTROL)
            if chain and not of_another and not chain[0].title.startswith(("verdict", "changes")):
                yield chain


def extract(environment: Environment, folder: Path, passes: bool) -> None:
    """Attention of a shipped release on some cells of a store, in shards with a checkpoint each."""
    of(environment)
    cells = read_records(Path(environment["INTERP_STORE"]) / "cells" / DATASET / "cells")["cells"]
    some = np.zeros_like(cells.control)
    some[np.flatnonzero(cells.control)[:24]] = True
    settings = ExtractionSettings(
        device="cpu",
        heads="all",
        memory_budget_gib=0.001 if passes else 0.6,
        cells_per_shard=8,
        checkpoint_seconds=0.0,
        threads=1,
        progress=False,
    )
    few = replace(cells, control=some, universe=cells.universe[:120])
    extract_attention(read_release(PROJECT / "releases" / RELEASE), few, folder, settings)


def judge_control(environment: Environment) -> None:
    """Documents, figures, provenance and report beside the battery of a control, as the assets of twins write them."""
    layout = of(environment)
    manager = FilesIOManager(store=environment["INTERP_STORE"])
    context = dg.build_output_context(
        asset_key=dg.AssetKey(JUDGED.split(".")), definition_metadata={PATH: f"{STUDY}/{CONTROL}"}
    )
    files, _ = judged_files(layout, layout.folders.store / STUDY / CONTROL)
    manager.handle_output(context, files)


def forget(store: Path, rng: np.random.Generator) -> None:
    """Lose the files of a quarter of the steps that a battery is made of."""
    listings = sorted((store / ".files" / STUDY / CONTROL).glob("*.json"))
    for listing in rng.choice(np.array(listings, dtype=object), len(listings) // 4, replace=False):
        if listing.stem != JUDGED:
            for name in json.loads(listing.read_text()):
                (store / STUDY / CONTROL / name).unlink()


def content_of(folder: Path) -> dict[str, str]:
    """Sha256 of every file by its path below ``folder``, without run history, times and what a cut-off write left."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    names = {path.relative_to(folder): path for path in files if path.name not in WITH_TIMES}
    return {
        name.as_posix(): hashlib.sha256(_timeless(path) if name.parts[0] == ".files" else path.read_bytes()).hexdigest()
        for name, path in names.items()
        if not any(part.startswith(".") and part != ".files" for part in name.parts)
    }


def _timeless(listing: Path) -> bytes:
    """A list of files without the hashes of those that hold times; a damaged list as it is."""
    content = listing.read_bytes()
    try:
        listed = json.loads(content)
        whole = content == canonical_json(listed).encode()
    except (ValueError, RecursionError):
        return content
    if not whole:
        return content
    return canonical_json({name: value for name, value in listed.items() if name not in WITH_TIMES}).encode()


@contextmanager
def changes_counted(at: int = 0) -> Iterator[list[int]]:
    """Count what is renamed, linked or removed; where ``at`` is reached the process kills itself before it happens."""
    seen, kept = [0], {name: getattr(os, name) for name in CHANGES}

    def counting(change: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*given: Any, **named: Any) -> Any:
            seen[0] += 1
            if seen[0] == at:
                os.kill(os.getpid(), signal.SIGKILL)
            return change(*given, **named)

        return counted

    for name, change in kept.items():
        setattr(os, name, counting(change))
    try:
        yield seen
    finally:
        for name, change in kept.items():
            setattr(os, name, change)


def _child(job: Callable[..., Any], given: tuple[Any, ...], at: int, begun: Any) -> None:
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    begun.set()
    with changes_counted(at):
        job(*given)


def dies(job: Callable[..., Any], *given: Any, at: int = 0, after: float = 0.0) -> bool:
    """Whether a process that does a job was killed on the way: at its n-th change of a folder, or after seconds."""
    server = _server()
    begun = server.Event()
    process = server.Process(target=_child, args=(job, given, at, begun))
    process.start()
    assert begun.wait(120)
    process.join(after or 300)
    if process.is_alive():
        process.kill()
        process.join()
    assert process.exitcode in (0, KILLED), process.exitcode
    return process.exitcode == KILLED


def at_once(jobs: Mapping[str, tuple[Any, ...]], job: Callable[..., Any]) -> list[int | None]:
    """Exit codes of processes that do one job at the same time."""
    server = _server()
    processes = [server.Process(target=job, args=given, name=name) for name, given in jobs.items()]
    for process in processes:
        process.start()
    for process in processes:
        process.join(600)
    return [process.exitcode for process in processes]


def _server() -> Any:
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload([*HEAVY, __name__])
    return server

"""Many seeds of every world: which are still to be made, in how many processes, and where their results lie.

What belongs here: one file a block and seed, and who makes it. What does not: what a world is (`catalogue`), or
what follows from the results (`summary`).

A file holds a long table: world, seed, kind (criterion, part, test or fact), name, outcome (of a criterion or part),
value (deciding number of a part, p of a test, fact), reason (of a criterion). It depends on block, seed, design and
code alone, so that any number of processes gives the same files and a run that was stopped goes on where it was. The
folder carries a hash of design and code: results of other code are never mixed in.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from interp_assets.calibration.catalogue import BLOCKS, Block
from interp_assets.calibration.design import DESIGNS, Design
from interp_assets.calibration.judging import Finding
from interp_assets.calibration.screens import Material, draw_screen, load_material
from interp_assets.code_version import code_version
from interp_assets.storage import canonical_json, write_table, write_text

COLUMNS: Final = ("world", "seed", "kind", "name", "outcome", "value", "reason")
MANIFEST: Final = "run.json"
_worker: dict[str, Any] = {}


@dataclass(frozen=True, slots=True)
class Task:
    """One seed of one block; its file name says both."""

    block: str
    seed: int

    def path(self, folder: Path) -> Path:
        """File of this seed in a results folder."""
        return folder / self.block / f"seed-{self.seed:05d}.parquet"


def results_folder(out: Path, design: Design) -> Path:
    """Folder of the results of a design under the present code."""
    text = canonical_json(design.as_mapping()) + code_version("interp_assets.calibration.catalogue")
    return out / f"{design.name}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def seed_frame(material: Material, design: Design, block: Block, seed: int) -> pd.DataFrame:
    """Results of every world of a block for one seed, in the columns of `COLUMNS`."""
    screen = draw_screen(material, design, seed, block.off_network)
    facts = screen.artefacts.labels.facts
    known = {name: facts[name] for name in ("positive_rate", "positives_with_edge") if facts.get(name) is not None}
    lines = [line for world in block.worlds for line in _lines(world.name, seed, world.run(screen, design), known)]
    return pd.DataFrame(lines, columns=list(COLUMNS)).astype({"seed": np.int64, "value": np.float64})


def _lines(world: str, seed: int, found: Finding, known: Mapping[str, float]) -> Iterator[tuple[object, ...]]:
    for name, outcome in found.criteria.items():
        yield world, seed, "criterion", name, str(outcome), np.nan, found.reasons.get(name, "")
    for name, (outcome, value) in found.parts.items():
        yield world, seed, "part", name, str(outcome), _number(value), ""
    for kind, values in (("test", found.p), ("fact", {**known, **found.facts})):
        for name, value in values.items():
            yield world, seed, kind, name, "", _number(value), ""


def _number(value: float | None) -> float:
    return np.nan if value is None else float(value)


def calibrate(
    folder: Path, design: Design, seeds: Mapping[str, int], wheels: Path, *, processes: int = 1, progress: bool = True
) -> None:
    """Make what `folder` lacks: as many seeds of each block as ``seeds`` names for the block's kind.

    Parameters
    ----------
    seeds
        Number of seeds of ``noise``, ``power`` and ``matched`` blocks.
    processes
        Worker processes, each kept to a core of its own where the system allows it; 1 works in this process.
    """
    from tqdm import tqdm

    write_text(folder / MANIFEST, canonical_json({"design": design.as_mapping(), "seeds": dict(seeds)}))
    every = [Task(block.name, seed) for block in BLOCKS for seed in range(seeds[block.seeds])]
    todo = [task for task in every if not task.path(folder).exists()]
    with tqdm(total=len(every), initial=len(every) - len(todo), unit="seed", disable=not progress) as bar:
        for _ in _done(todo, folder, design, wheels, processes):
            bar.update()


def _done(todo: list[Task], folder: Path, design: Design, wheels: Path, processes: int) -> Iterator[Task]:
    if not todo:
        return
    if processes <= 1:
        material = load_material(wheels, design)
        for task in todo:
            _make(task, folder, design, material)
            yield task
        return
    context = multiprocessing.get_context("spawn")
    cores = context.Queue()
    for number in range(processes):
        cores.put(number)
    design = design.portable()
    given = (cores, wheels, design)
    with ProcessPoolExecutor(processes, mp_context=context, initializer=_start, initargs=given) as pool:
        for future in as_completed([pool.submit(_work, task, folder, design) for task in todo]):
            yield future.result()


def _start(cores: Any, wheels: Path, design: Design) -> None:
    """Set a worker up: one core, so that the fits of two workers do not share one, and the cells read once."""
    number = cores.get()
    if hasattr(os, "sched_setaffinity"):
        usable = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {usable[number % len(usable)]})
    _worker["material"] = load_material(wheels, design)


def _work(task: Task, folder: Path, design: Design) -> Task:
    _make(task, folder, design, _worker["material"])
    return task


def _make(task: Task, folder: Path, design: Design, material: Material) -> None:
    block = next(block for block in BLOCKS if block.name == task.block)
    write_table(task.path(folder), seed_frame(material, design, block, task.seed))


def stored_seeds(folder: Path, blocks: Iterable[Block] = BLOCKS) -> dict[str, int]:
    """How many seeds of each block are there without a gap from 0 on."""
    found = {}
    for block in blocks:
        count = 0
        while Task(block.name, count).path(folder).exists():
            count += 1
        found[block.name] = count
    return found


def read_results(folder: Path) -> pd.DataFrame:
    """Every stored result in the order of blocks and seeds; seeds behind a gap are left out.

    Raises
    ------
    FileNotFoundError
        If there is none.
    """
    tasks = [Task(block, seed) for block, count in stored_seeds(folder).items() for seed in range(count)]
    if not tasks:
        raise FileNotFoundError(f"{folder} holds no results; run the calibration first")
    return pd.concat([pd.read_parquet(task.path(folder)) for task in tasks], ignore_index=True)


def stored_design(folder: Path) -> dict[str, Any]:
    """Sizes and settings that the results of a folder were made with."""
    manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["design"]
    return manifest


def design_named(name: str) -> Design:
    """Design of that name.

    Raises
    ------
    ValueError
        If there is none.
    """
    if name not in DESIGNS:
        raise ValueError(f"unknown design {name}; known: {', '.join(DESIGNS)}")
    return DESIGNS[name]

"""Stages of an evaluation: which assets are run together, on which partition, and what has to come before.

What belongs here: the order, as waves of chains that need nothing of each other. What does not: running them
(`evaluate`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import dagster as dg

from interp_assets.analyses import catalogue
from interp_assets.layout import CONTROLS, Layout, grid_key
from interp_assets.readings.catalogue import READINGS

DATASET_ASSETS = (
    "cells",
    "de_labels",
    "correlation",
    "references",
    "gene_features",
    "grid_outcomes",
    "null_calibration",
)
INPUT_ASSETS = ("study_inputs", "sample_inputs", "screen_inputs", "layer_inputs")
FOUNDATION = ("layer_choice", "screens", "explorer")
ATTENTION_ASSETS = ("attention", "random_weights/attention")
INTERVENTIONS = ("interventions", "random_weights/interventions")
JUDGED = (
    "extended_results",
    "standards_results",
    "qc_verdict",
    "claim",
    "figure",
    "supplement",
    "published_entries",
    "report",
    "verdict_history",
)
# They hold a release's numbers against the controls of the study, so they follow every battery.
AFTER_CONTROLS = tuple(row.key for row in catalogue.extended() if "controls" in row.needs)


@dataclass(frozen=True, slots=True)
class Stage:
    """Assets that share a partition and are run together."""

    title: str
    keys: tuple[dg.AssetKey, ...]
    partition: str | None

    @property
    def release(self) -> str | None:
        """The release that the stage is about; None where it is shared by all."""
        if isinstance(self.partition, dg.MultiPartitionKey):
            return self.partition.keys_by_dimension.get("release")
        return self.partition if self.keys == (dg.AssetKey(["release"]),) else None


def _key(text: str) -> dg.AssetKey:
    return dg.AssetKey(text.split("/"))


Wave = list[tuple[Stage, ...]]


def stages(layout: Layout, assets: Iterable[dg.AssetKey], study: str, releases: Sequence[str]) -> Iterator[Stage]:
    """Stages that a judgement of ``releases`` in ``study`` needs, upstream first."""
    for wave in waves(layout, assets, study, releases):
        for chain in wave:
            yield from chain


def waves(layout: Layout, assets: Iterable[dg.AssetKey], study: str, releases: Sequence[str]) -> Iterator[Wave]:
    """Stages as waves of chains: chains of one wave need nothing of each other, only of the waves before.

    Every battery comes before the first verdict: a verdict reads the outcome of all controls. Model and battery of one
    name are one chain, and releases, which cost most, come before the controls, so that processes end together.
    """
    present = set(assets)
    datasets = layout.used_by(study)
    feeds = [name for name, fed in layout.raw_feeds.items() if set(fed) & set(datasets)]
    yield [tuple(Stage(f"raw data: {name}", (_key(f"raw/{name}"),), name) for name in feeds)]
    yield [(Stage(f"cells and outcomes: {name}", tuple(map(_key, DATASET_ASSETS)), name),) for name in datasets]
    of_study = tuple(sorted(key for key in present if key.path[0] == "of_study"))
    simulated = (Stage(f"analyses of study {study} that read no release", of_study, study),) if of_study else ()
    yield [(Stage(f"inputs of study {study}", tuple(map(_key, INPUT_ASSETS)), study), *simulated)]
    everyone = (*releases, *CONTROLS)
    battery = tuple(sorted(key for key in present if _is_battery(key)))
    yield [
        (
            *_read_stages(layout, study, release),
            Stage(f"battery of {release} in {study}", battery, grid_key(release=release, study=study)),
        )
        for release in everyone
    ]
    judged = tuple(sorted(key for key in present if key.path[0] in (*AFTER_CONTROLS, *JUDGED)))
    yield [
        (Stage(f"verdict of {release} in {study}", judged, grid_key(release=release, study=study)),)
        for release in everyone
    ]
    yield [(Stage("changes and leaderboard", (_key("verdict_changes"), _key("leaderboard")), None),)]


def _read_stages(layout: Layout, study: str, release: str) -> Iterator[Stage]:
    """Stages that run the model of one release: attention, interventions, readings."""
    yield Stage(f"release {release}", (_key("release"),), release)
    for name in layout.read_by(study):
        wanted = ATTENTION_ASSETS if name in layout.answered(study) else ATTENTION_ASSETS[:1]
        partition = grid_key(release=release, dataset=name)
        yield Stage(f"attention of {release} on {name}", tuple(map(_key, wanted)), partition)
    partition = grid_key(release=release, study=study)
    yield Stage(f"layer and screens of {release} in {study}", tuple(map(_key, FOUNDATION)), partition)
    yield Stage(f"interventions on {release} in {study}", tuple(map(_key, INTERVENTIONS)), partition)
    if READINGS:
        yield Stage(f"readings of {release} in {study}", tuple(_key(entry.name) for entry in READINGS), partition)


def of_another(partition: str | None, release: str) -> bool:
    """Whether a partition belongs to a release other than ``release``."""
    if isinstance(partition, dg.MultiPartitionKey):
        return partition.keys_by_dimension.get("release", release) != release
    return partition in CONTROLS and partition != release


def _is_battery(key: dg.AssetKey) -> bool:
    """Assets on the (release, study) grid that a verdict on another release may read."""
    first, last = key.path[0], key.path[-1]
    if first in (*AFTER_CONTROLS, *JUDGED):
        return False
    return first.startswith(("analysis_", "extended_")) or last in ("test_results", "control_outcome")

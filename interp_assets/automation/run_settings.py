"""Section ``runs`` of platform.yaml: how urgent runs are, how long they may take, how often they are tried again.

What belongs here: the numbers, and the tags that Dagster reads them from. What does not: who makes the runs, and the
tags that say what a run is for (`run_tags`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

import dagster as dg

from interp_assets.automation.run_tags import Cause, Dimension, run_tags

if TYPE_CHECKING:
    from interp_assets.settings import Folders

Scope = Literal["shared", "release", "attention", "study"]
PRIORITY_TAG = "dagster/priority"
TIMEOUT_TAG = "dagster/max_runtime"
ATTEMPT_TAG = "interp/attempt"
# Higher runs first. What every release waits for goes before all; a person at a terminal waits for nobody.
PRIORITIES: Mapping[str, int] = MappingProxyType(
    {"shared": 40, "new-release": 30, "changed": 20, "backfill": 10, "schedule": 0, "command": 50}
)
HOURS: Mapping[str, int] = MappingProxyType({"shared": 12, "release": 2, "attention": 48, "study": 48})


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings:
    """How runs of one deployment are queued, ended and tried again.

    ``hours`` is the longest time by scope: what all releases share (datasets, studies), the files of a release, its
    attention on one dataset, and everything of it in one study. ``retries`` counts how often a run is tried again
    whose worker, disk or database failed, the first time after ``delay`` seconds and twice as long each time.
    """

    priorities: Mapping[str, int] = field(default_factory=lambda: PRIORITIES)
    hours: Mapping[str, int] = field(default_factory=lambda: HOURS)
    retries: int = 2
    delay: int = 60

    def tags(self, partition: str | None, cause: Cause, *, plain: Dimension) -> dict[str, str]:
        """All tags of a run over one partition: what it is for, its priority and its time limit.

        ``plain`` says what a key without dimensions names.
        """
        scope = scope_of(partition, plain)
        urgent = "shared" if scope == "shared" and cause in ("new-release", "changed") else cause
        return {
            **run_tags(partition, cause, dimension=plain),
            PRIORITY_TAG: str(self.priorities[urgent]),
            TIMEOUT_TAG: str(self.hours[scope] * 3600),
        }


def scope_of(partition: str | None, plain: str) -> Scope:
    """Which time limit holds for runs over a partition.

    >>> scope_of(dg.MultiPartitionKey({"release": "r", "dataset": "d"}), "release"), scope_of("d", "dataset")
    ('attention', 'shared')
    """
    if isinstance(partition, dg.MultiPartitionKey):
        return "attention" if "dataset" in partition.keys_by_dimension else "study"
    return "release" if partition is not None and plain == "release" else "shared"


def read_run_settings(folders: Folders) -> RunSettings:
    """Run settings of this deployment; what section ``runs`` of platform.yaml leaves out has its default.

    Raises
    ------
    DeclarationError
        For a key that is unknown or a number that cannot be, naming file and key.
    """
    from interp_assets.deployment import read_deployment

    declared, usual = read_deployment(folders).declaration("runs"), RunSettings()
    numbers: dict[str, Mapping[str, int]] = {}
    for key, defaults, least in (("priorities", PRIORITIES, 0), ("hours", HOURS, 1)):
        if not declared.has(key):
            numbers[key] = defaults
            continue
        section = declared.section(key)
        numbers[key] = {name: section.integer(name, default, least) for name, default in defaults.items()}
        section.finish()
    settings = RunSettings(
        priorities=numbers["priorities"],
        hours=numbers["hours"],
        retries=declared.integer("retries", usual.retries),
        delay=declared.integer("delay", usual.delay),
    )
    declared.finish()
    return settings

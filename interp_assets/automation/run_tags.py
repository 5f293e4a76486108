"""Tags that every run of the platform carries: which release, which study or dataset, and why it runs.

What belongs here: the names of the tags, the causes, and the function that makes tags from a partition. What does not:
who makes runs (schedules, sensors, backfills, `interp evaluate`), and Dagster's own tags such as a priority.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

import dagster as dg

Cause = Literal["new-release", "changed", "schedule", "backfill", "command"]
Dimension = Literal["release", "study", "dataset"]

RELEASE_TAG = "interp/release"
STUDY_TAG = "interp/study"
DATASET_TAG = "interp/dataset"
CAUSE_TAG = "interp/cause"
TAGS = (RELEASE_TAG, STUDY_TAG, DATASET_TAG, CAUSE_TAG)


def run_tags(partition: str | None, cause: Cause, *, dimension: Dimension = "release") -> dict[str, str]:
    """Tags of a run over one partition, for ``tags=`` of a run, a run request or a backfill.

    Parameters
    ----------
    partition
        A key of the grid names its release and its study or dataset by itself. A plain key names what ``dimension``
        says. None, as of the leaderboard, names nothing.
    cause
        Why the run was asked for: a release that was never judged, something it reads that changed, a schedule, a
        backfill, or a person at the command line.

    Raises
    ------
    ValueError
        When the cause or a dimension of the key is not one of those above.

    Examples
    --------
    >>> run_tags(dg.MultiPartitionKey({"release": "r1", "study": "demo"}), "new-release")
    {'interp/release': 'r1', 'interp/study': 'demo', 'interp/cause': 'new-release'}
    >>> run_tags("demo", "schedule", dimension="study")
    {'interp/study': 'demo', 'interp/cause': 'schedule'}
    >>> run_tags(None, "changed")
    {'interp/cause': 'changed'}
    """
    if cause not in get_args(Cause):
        raise ValueError(f"cause {cause!r} of a run: one of {', '.join(get_args(Cause))}")
    named = _dimensions(partition, dimension)
    if unknown := sorted(set(named) - set(get_args(Dimension))):
        raise ValueError(f"partition {partition}: dimension {', '.join(unknown)} has no tag; see run_tags.TAGS")
    tags = {f"interp/{name}": named[name] for name in get_args(Dimension) if name in named}
    return {**tags, CAUSE_TAG: cause}


def _dimensions(partition: str | None, dimension: Dimension) -> Mapping[str, str]:
    if partition is None:
        return {}
    if isinstance(partition, dg.MultiPartitionKey):
        return partition.keys_by_dimension
    return {dimension: partition}

"""Materialises assets of the deployment that the environment describes, with its own executor, as a run worker does.

    python tests/dagster/materialise.py PARTITION:asset,asset PARTITION:asset ...

Prints one JSON line a run: its id, whether it succeeded, and its steps by outcome. ``from-failure:RUN`` instead of a
partition runs again what did not finish of a run.
"""

from __future__ import annotations

import json
import sys
import warnings

import dagster as dg

for _category in (dg.PreviewWarning, dg.BetaWarning, dg.SupersessionWarning):
    warnings.filterwarnings("ignore", category=_category)

from dagster._core.definitions.reconstruct import ReconstructableRepository  # noqa: E402
from dagster._core.execution.api import ReexecutionOptions  # noqa: E402

from interp_assets.definitions import defs  # noqa: E402
from interp_assets.evaluate import dagster_instance  # noqa: E402
from interp_assets.layout import CONTROLS, RELEASE, read_layout  # noqa: E402

OUTCOMES = ("STEP_SUCCESS", "STEP_FAILURE", "STEP_SKIPPED")


def tags_of(partition: str, keys: list[dg.AssetKey]) -> dict[str, str]:
    """Tags of a run over one partition of all ``keys``."""
    definition = defs.resolve_asset_graph().get(keys[0]).partitions_def
    if isinstance(definition, dg.MultiPartitionsDefinition):
        return dict(definition.get_tags_for_partition_key(partition))
    return {"dagster/partition": partition}


def main(wanted: list[str]) -> None:
    """One run after the other."""
    job = ReconstructableRepository.for_module("interp_assets.definitions", "defs").get_reconstructable_job(
        "__ASSET_JOB"
    )
    with dagster_instance(read_layout()) as instance:
        instance.add_dynamic_partitions(RELEASE.name or "", [*CONTROLS, "geneformer-small-2k"])
        for word in wanted:
            partition, _, names = word.partition(":")
            if partition == "from-failure":
                options = ReexecutionOptions.from_failure(names, instance)
                before = instance.get_run_by_id(names)
                tags = {key: value for key, value in before.tags.items() if key.startswith("dagster/partition")}
                done = dg.execute_job(job, instance, tags=tags, reexecution_options=options)
            else:
                keys = [dg.AssetKey(name.split("/")) for name in names.split(",")]
                done = dg.execute_job(job, instance, tags=tags_of(partition, keys), asset_selection=keys)
            told = {
                kind: sorted(str(event.step_key) for event in done.all_events if event.event_type_value == kind)
                for kind in OUTCOMES
            }
            print(json.dumps({"run": done.run_id, "success": done.success} | told), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])

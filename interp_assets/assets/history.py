"""Assets of the comparison: the history of every judgement, and what changed from one to the next.

What belongs here: what is read from the store and the run history. What does not: comparing (room `comparison`).
"""

import json
from pathlib import Path
from typing import Any

import dagster as dg

from interp_assets.analyses import catalogue
from interp_assets.assets.judging import JUDGEMENT, verdict_in_force
from interp_assets.assets.stored_inputs import dimensions
from interp_assets.automation.conditions import gathering, incremental
from interp_assets.code_version import code_version
from interp_assets.comparison.snapshot import JUDGING
from interp_assets.io_managers import PATH, StoredFiles, files_version, parquet_bytes
from interp_assets.layout import CONTROLS, RELEASE, Layout, grid_key
from interp_assets.metadata import TEAM, plain
from interp_assets.readings.catalogue import READINGS
from interp_assets.storage import StorageError, canonical_json

STEPS = (
    *(row.key for row in catalogue.built()),
    *(entry.name for entry in READINGS),
    *("layer_choice", "interventions", "screens", "test_results", *JUDGING),
)
MOST_SHOWN = 20


def verdict_history_asset(layout: Layout) -> dg.AssetsDefinition:
    """All judgements of one release in one study, oldest first, with the numbers behind each."""

    @dg.asset(
        key="verdict_history",
        partitions_def=layout.release_by_study,
        ins={name: dg.AssetIn() for name in JUDGEMENT},
        io_manager_key="files",
        code_version=code_version("interp_assets.comparison.history"),
        metadata={PATH: "history/{study}/{release}"},
        group_name="comparison",
        kinds={"json"},
        owners=[TEAM],
        description="How was this release judged before? Distinct judgements in order; earlier ones are kept with "
        "their numbers.",
        automation_condition=incremental(),
    )
    def verdict_history(context: dg.AssetExecutionContext, **stored: StoredFiles) -> dg.Output[dict[str, bytes]]:
        from interp_assets.comparison.history import extended, read_history
        from interp_assets.comparison.snapshot import made_with

        study, release = dimensions(context)
        verdict_in_force(stored["qc_verdict"])
        before = read_history(layout.folders.store, study, release)
        made = made_with(
            _study_inputs(layout.folders.store, study), _code_behind(layout, context.instance, study, release)
        )
        files = extended(before, stored["qc_verdict"].folder, made)
        judged = sum(name.startswith("snapshots/") for name in files)
        return dg.Output(files, data_version=files_version(files), metadata={"judgements": judged})

    return verdict_history


def _study_inputs(store: Path, study: str) -> dict[str, Any]:
    """Versions of what a study reads; without them a change of data would be put down to the model."""
    path = store / "studies" / study / "study_inputs.json"
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StorageError(f"{path}: cannot be read ({error}); materialise study_inputs of {study} again") from error
    return content


def _code_behind(layout: Layout, instance: dg.DagsterInstance, study: str, release: str) -> dict[str, str]:
    """Code versions of the steps behind a judgement, as their last runs recorded them; what never ran is left out."""
    from dagster._core.definitions.data_version import extract_data_provenance_from_entry

    grid = grid_key(release=release, study=study)
    steps = {name: (dg.AssetKey(name), grid) for name in STEPS}
    for dataset in layout.read_by(study):
        steps[f"attention on {dataset}"] = (dg.AssetKey("attention"), grid_key(release=release, dataset=dataset))
    found = {}
    for name, (key, partition) in sorted(steps.items()):
        record = instance.get_latest_data_version_record(key, partition_key=partition)
        told = extract_data_provenance_from_entry(record.event_log_entry) if record is not None else None
        if told is not None:
            # what judges also holds the hash of the standards in its version, after that of its code
            found[name] = told.code_version[:16] if name in JUDGING else told.code_version
    return found


def verdict_changes_asset(layout: Layout) -> dg.AssetsDefinition:
    """Everything that changed from one judgement to the next, over all releases and studies."""

    @dg.asset(
        key="verdict_changes",
        deps=["verdict_history"],
        io_manager_key="files",
        code_version=code_version("interp_assets.comparison.changes"),
        metadata={PATH: "."},
        group_name="comparison",
        kinds={"parquet"},
        owners=[TEAM],
        description="What changed from one judgement to the next? Verdicts, claims, criteria and standards, with "
        "cause, reading and effect.",
        automation_condition=gathering(),
    )
    def verdict_changes(context: dg.AssetExecutionContext) -> dg.Output[dict[str, bytes]]:
        from interp_assets.comparison.changes import verdict_changes as changes
        from interp_assets.comparison.history import histories

        order = [*CONTROLS, *context.instance.get_dynamic_partitions(RELEASE.name or "")]
        frame = changes((histories(layout.folders.store, study) for study in sorted(layout.studies)), order)
        rows = json.loads(frame.to_json(orient="records", double_precision=12))
        files = {
            "verdict_changes.parquet": parquet_bytes(frame),
            "verdict_changes.json": canonical_json({"format": 1, "changes": rows}).encode("utf-8"),
        }
        told = "\n".join(f"- {plain(line)}" for line in frame["sentence"].head(MOST_SHOWN)) or "nothing changed yet"
        shown = {"changes": len(frame), "lost": int((frame["direction"] == "lost").sum())}
        return dg.Output(
            files, data_version=files_version(files), metadata={**shown, "sentences": dg.MetadataValue.md(told)}
        )

    return verdict_changes


def history_assets(layout: Layout) -> list[dg.AssetsDefinition]:
    """The two assets of the comparison."""
    return [verdict_history_asset(layout), verdict_changes_asset(layout)]

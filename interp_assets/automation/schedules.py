"""The monthly re-evaluation of every release in every study."""

from collections.abc import Iterator

import dagster as dg

from interp_assets import quarantine
from interp_assets.automation.run_settings import read_run_settings
from interp_assets.layout import RELEASE, Layout, grid_key


def reevaluation(layout: Layout, assets: dg.AssetSelection) -> dg.ScheduleDefinition:
    """Monthly run of the whole evaluation for every release and study; unchanged content stops early."""
    job = dg.define_asset_job(
        "reevaluate",
        selection=assets,
        description="Battery, standards, verdict and report of one release in one study.",
    )

    @dg.schedule(
        job=job,
        cron_schedule="0 3 1 * *",
        name="monthly_reevaluation",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Re-evaluates every registered release in every study on the first of the month.",
    )
    def monthly_reevaluation(
        context: dg.ScheduleEvaluationContext,
    ) -> Iterator[dg.RunRequest] | dg.SkipReason:
        known = context.instance.get_dynamic_partitions(RELEASE.name or "")
        if not known:
            return dg.SkipReason("no release is registered yet")
        held = quarantine.read(layout.folders.store)
        settings = read_run_settings(layout.folders)
        month = context.scheduled_execution_time.strftime("%Y-%m")
        keys = [grid_key(release=name, study=study) for study in layout.studies for name in known if name not in held]
        return (
            dg.RunRequest(
                run_key=f"{month}:{key.keys_by_dimension['study']}:{key.keys_by_dimension['release']}",
                partition_key=key,
                tags=settings.tags(key, "schedule", plain="release"),
            )
            for key in keys
        )

    return monthly_reevaluation

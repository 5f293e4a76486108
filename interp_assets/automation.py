"""When the platform acts by itself: new releases, missing or changed partitions, a monthly re-evaluation.

What belongs here: conditions, sensors and schedules, each thin around a pure function. What does not: any
evaluation.
"""

from collections.abc import Iterator, Sequence

import dagster as dg

from interp_assets.layout import CONTROLS, RELEASE, Layout, grid_key


def incremental() -> dg.AutomationCondition[dg.AssetKey]:
    """Request a partition when it is missing, its code changed, or an input's content changed.

    ``missing`` instead of ``newly_missing``: a release that was registered before the daemon's first tick is
    evaluated too. A partition whose last run failed is left alone until something it reads changes, so a
    broken release does not run in a loop; one whose inputs are absent or in progress waits. So does one that
    ended since the last tick: a tick reads the events of its beginning but the runs of its end, and would take
    what ended in between for neither running nor updated, and ask for it again.
    """
    condition = dg.AutomationCondition
    changed = condition.any_deps_match(condition.data_version_changed() | condition.will_be_requested())
    wanted = (condition.missing() & ~condition.execution_failed()) | (
        (changed | condition.code_version_changed()).since_last_handled()
    )
    idle = ~condition.in_progress()
    runs_or_just_ran = condition.in_progress().since(idle & ~idle.newly_true()) | condition.newly_requested()
    waits = condition.any_deps_missing() | condition.any_deps_in_progress() | runs_or_just_ran
    return (condition.in_latest_time_window() & wanted & ~waits).with_label("missing or changed")


def unregistered(found: Sequence[str], known: Sequence[str]) -> list[str]:
    """Names to register so that ``found`` releases can be judged: the controls first, then what is new."""
    return [name for name in (*CONTROLS, *sorted(found)) if name not in set(known)]


def release_sensor(layout: Layout) -> dg.SensorDefinition:
    """Sensor that registers complete, verified release folders as partitions; conditions do the rest."""

    @dg.sensor(
        name="new_releases",
        minimum_interval_seconds=15,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Registers release folders whose manifest is complete and matches their files.",
    )
    def new_releases(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        from interp_assets.models.releases import find_releases

        listing = find_releases(layout.folders.releases)
        for folder, reason in listing.refused.items():
            context.log.warning(f"release {folder.name} refused: {reason}")
        names = [release.name for release in listing.complete]
        new = unregistered(names, context.instance.get_dynamic_partitions(RELEASE.name or ""))
        if not new:
            waiting = f", {len(listing.incoming)} still being copied" if listing.incoming else ""
            return dg.SkipReason(f"{len(names)} release(s) known{waiting}, {len(listing.refused)} refused")
        return dg.SensorResult(dynamic_partitions_requests=[RELEASE.build_add_request(new)])

    return new_releases


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
        month = context.scheduled_execution_time.strftime("%Y-%m")
        return (
            dg.RunRequest(run_key=f"{month}:{study}:{name}", partition_key=grid_key(release=name, study=study))
            for study in layout.studies
            for name in known
        )

    return monthly_reevaluation


def condition_sensor() -> dg.AutomationConditionSensorDefinition:
    """Sensor that acts on the assets' conditions; running from the start."""
    return dg.AutomationConditionSensorDefinition(
        "evaluate_what_is_missing",
        target=dg.AssetSelection.all(),
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=15,
    )

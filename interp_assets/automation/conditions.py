"""What makes an asset run by itself: missing or changed partitions, asked again after everything they read."""

import dagster as dg


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


def condition_sensor() -> dg.AutomationConditionSensorDefinition:
    """Sensor that acts on the assets' conditions; running from the start."""
    return dg.AutomationConditionSensorDefinition(
        "evaluate_what_is_missing",
        target=dg.AssetSelection.all(),
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=15,
    )

"""The code location: assets, IO managers, sensors, schedule. Importing it loads no model library."""

from __future__ import annotations

import warnings

import dagster as dg

# Partitioned checks and conditions are marked preview or beta upstream; their behaviour is covered by our tests.
for _category in (dg.PreviewWarning, dg.BetaWarning):
    warnings.filterwarnings("ignore", category=_category)

from interp_assets.analyses import catalogue  # noqa: E402
from interp_assets.assets.analyses import analysis_asset, study_analysis_asset  # noqa: E402
from interp_assets.assets.battery import layer_choice_asset, test_results_asset  # noqa: E402
from interp_assets.assets.datasets import dataset_assets  # noqa: E402
from interp_assets.assets.explorer import explorer_asset  # noqa: E402
from interp_assets.assets.extended import extended_results_asset  # noqa: E402
from interp_assets.assets.history import history_assets  # noqa: E402
from interp_assets.assets.interventions import intervention_assets  # noqa: E402
from interp_assets.assets.judgement import judgement_assets  # noqa: E402
from interp_assets.assets.presentation import placed, presented  # noqa: E402
from interp_assets.assets.readings import reading_assets  # noqa: E402
from interp_assets.assets.releases import release_assets  # noqa: E402
from interp_assets.assets.screens import screens_asset  # noqa: E402
from interp_assets.assets.twins import twin_assets  # noqa: E402
from interp_assets.automation.conditions import condition_sensor  # noqa: E402
from interp_assets.automation.discovery import release_sensor  # noqa: E402
from interp_assets.automation.failures import failure_sensor  # noqa: E402
from interp_assets.automation.notices import notice_sensors  # noqa: E402
from interp_assets.automation.schedules import reevaluation  # noqa: E402
from interp_assets.deployment import read_deployment  # noqa: E402
from interp_assets.executors import chosen_executor, executor_settings  # noqa: E402
from interp_assets.io_managers import io_managers  # noqa: E402
from interp_assets.layout import Layout, read_layout  # noqa: E402

JUDGED_GROUPS = (
    "readings",
    "analyses",
    "extended",
    "results",
    "negative_twins",
    "judgement",
    "claims",
    "figures",
    "supplement",
    "report",
    "comparison",
)


def build_definitions(layout: Layout) -> dg.Definitions:
    """Fresh definitions over one layout; tests build them over their own folders."""
    assets = [
        *dataset_assets(layout),
        *release_assets(layout),
        *reading_assets(layout),
        *(study_analysis_asset(layout, row) for row in catalogue.every() if row.release_free),
        *(analysis_asset(layout, row) for row in catalogue.every()),
        layer_choice_asset(layout),
        screens_asset(layout),
        *intervention_assets(layout),
        test_results_asset(layout),
        extended_results_asset(layout),
        explorer_asset(layout),
        *twin_assets(layout),
        *judgement_assets(layout),
        *history_assets(layout),
    ]
    judged = dg.AssetSelection.groups(*map(placed, JUDGED_GROUPS)) | dg.AssetSelection.assets("layer_choice")
    judged -= dg.AssetSelection.assets("leaderboard", "verdict_changes", dg.AssetKey(["random_weights", "attention"]))
    schedule = reevaluation(layout, judged)
    return dg.Definitions(
        assets=presented(assets),
        resources=io_managers(layout.folders.store),
        sensors=[release_sensor(layout), condition_sensor(), failure_sensor(layout), *notice_sensors(layout)],
        schedules=[schedule],
        executor=chosen_executor(executor_settings(read_deployment(layout.folders))),
    )


defs = build_definitions(read_layout())

"""Asset of the screen comparison: every real (or planted) screen of a study side by side, for one release."""

from typing import TYPE_CHECKING, Any

import dagster as dg
import pandas as pd

from interp_assets.analyses.calibration import Calibration
from interp_assets.assets.stored_inputs import (
    FOLDER,
    Loaded,
    attention_of_study,
    by_dataset,
    dimensions,
    load_artefacts,
    stored_choice,
)
from interp_assets.automation.conditions import incremental
from interp_assets.cells.records import Unavailable
from interp_assets.code_version import code_version
from interp_assets.io_managers import MANY, PATH, StoredFiles, files_version, parquet_bytes, read_records
from interp_assets.layout import Layout
from interp_assets.metadata import TEAM, source_link
from interp_assets.settings import SELECTION_ROLE

if TYPE_CHECKING:
    from interp_assets.analyses.screens import Limits, Screen

COMPARISON = "interp_assets.analyses.screens:compare_screens"


def screens_asset(layout: Layout) -> dg.AssetsDefinition:
    """Scores, evaluable counts, own-gene changes and null calibration over the screens of a study."""

    @dg.asset(
        key="screens",
        partitions_def=layout.release_by_study,
        ins={
            "attention": dg.AssetIn(partition_mapping=attention_of_study(layout, "compared"), metadata={MANY: True}),
            "screen_inputs": dg.AssetIn(),
            "layer_choice": dg.AssetIn(),
        },
        io_manager_key="files",
        code_version=code_version(COMPARISON),
        metadata={PATH: FOLDER, **source_link(COMPARISON)},
        group_name="results",
        kinds={"parquet"},
        owners=[TEAM],
        description="Do the scores agree over screens? Gene-level, pairwise and attention scores on every screen of "
        "the study, what could be scored and why the rest could not; p-values where nothing was perturbed.",
        automation_condition=incremental(),
    )
    def screens(
        context: dg.AssetExecutionContext,
        attention: dict[str, Any],
        screen_inputs: StoredFiles,
        layer_choice: StoredFiles,
    ) -> dg.Output[dict[str, bytes]]:
        from interp_assets.analyses.screens import compare_screens

        study, _ = dimensions(context)
        versions = screen_inputs.json("screen_inputs.json")["datasets"]
        artefacts = load_artefacts(layout, versions)
        choice, _ = stored_choice(layer_choice)
        compared = screens_of(layout, study, artefacts, by_dataset(attention))
        tables = compare_screens(compared, choice.depth, limits_of(layout, study))
        tables |= calibration_tables(layout, versions)
        files = {f"tables/{name}.parquet": parquet_bytes(table) for name, table in tables.items() if len(table)}
        shown = {"screens": len(artefacts), "scores": len(tables["screen_scores"])}
        return dg.Output(files, data_version=files_version(files), metadata=shown)

    return screens


def limits_of(layout: Layout, study: str) -> "Limits":
    """Settings of the comparison in one study."""
    from interp_assets.analyses.screens import Limits

    settings = layout.studies[study]
    battery = settings.battery
    return Limits(
        min_positives=battery.min_positives,
        min_negatives=battery.min_negatives,
        bootstrap=battery.bootstrap,
        folds=battery.folds,
        seed=settings.seed,
    )


def screens_of(layout: Layout, study: str, artefacts: dict[str, Loaded], attention: dict[str, Any]) -> "list[Screen]":
    """Screens of a study, each once: those its tests read, then the others in role order."""
    from interp_assets.analyses.screens import Screen

    settings, found = layout.studies[study], {}
    listed = layout.compared(study)
    order = sorted(
        (item for item in settings.roles.items() if item[1].dataset in listed),
        key=lambda item: listed.index(item[1].dataset),
    )
    for role, filling in order:
        if role != SELECTION_ROLE and filling.dataset in artefacts and filling.dataset not in found:
            found[filling.dataset] = Screen(
                role=role,
                role_fit=filling.role_fit,
                data=artefacts[filling.dataset],
                attention=attention[filling.dataset],
                vocabularies=settings.vocabularies,
            )
    return list(found.values())


def calibration_tables(layout: Layout, datasets: dict[str, str]) -> dict[str, pd.DataFrame]:
    """Stored null calibration of every dataset that has one, as two tables."""
    found: dict[str, Calibration] = {}
    for name in datasets:
        records = read_records(layout.folders.store / "cells" / name / "null_calibration")
        if not isinstance(records, Unavailable):
            found[name] = records["calibration"]
    if not found:
        return {}
    return {
        "null_calibration": pd.concat([each.p.assign(dataset=name) for name, each in found.items()]),
        "null_calibration_summary": pd.concat([each.summary.assign(dataset=name) for name, each in found.items()]),
    }

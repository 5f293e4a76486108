"""Assets that read more from a running model than its mean attention, one for each row of the readings catalogue."""

from pathlib import Path
from typing import Any

import dagster as dg

from interp_assets.assets.stored_inputs import FOLDER, dimensions, load_samples, stored_choice
from interp_assets.automation.conditions import incremental
from interp_assets.battery import NOT_FOR_CONTROLS, SampledData, primary_reference
from interp_assets.cells.records import Unavailable
from interp_assets.code_version import code_version
from interp_assets.io_managers import PATH, StoredFiles, files_version, parquet_bytes, read_records
from interp_assets.layout import Layout
from interp_assets.metadata import TEAM, source_link
from interp_assets.models.adapter import LOADERS, SCORE_FAMILIES, no_attention
from interp_assets.models.controls.catalogue import is_control
from interp_assets.models.records import ReleaseCard
from interp_assets.readings.catalogue import READINGS, ReadingRow
from interp_assets.readings.records import ReadData, Reading, ReadingContext, kept_files

NO_MODEL = "an edge table holds finished scores; there is no model to read"


def reading_asset(layout: Layout, row: ReadingRow) -> dg.AssetsDefinition:
    """Asset of one reading on the (release, study) grid; an op of the gpu pool. Controls are not read."""

    @dg.asset(
        key=row.name,
        partitions_def=layout.release_by_study,
        ins={name: dg.AssetIn() for name in ("release", "sample_inputs", "study_inputs", "layer_choice")},
        io_manager_key="files",
        code_version=code_version(row.function, *LOADERS),
        metadata={PATH: FOLDER, **source_link(row.function)},
        group_name="readings",
        kinds={"torch"},
        owners=[TEAM],
        pool="gpu",
        description=row.description,
        automation_condition=incremental(),
    )
    def reading(
        context: dg.AssetExecutionContext,
        release: dict[str, ReleaseCard],
        sample_inputs: StoredFiles,
        study_inputs: StoredFiles,
        layer_choice: StoredFiles,
    ) -> dg.Output[dict[str, bytes]]:
        del study_inputs  # the study's settings, which the code below reads from the study itself
        study, _ = dimensions(context)
        found = _found(layout, study, row, release["card"], sample_inputs, layer_choice)
        files = kept_files(row.name, found, parquet_bytes)
        shown = {"reason": found} if isinstance(found, str) else _shown(found)
        return dg.Output(files, data_version=files_version(files), metadata=shown)

    return reading


def _found(
    layout: Layout,
    study: str,
    row: ReadingRow,
    card: ReleaseCard,
    sample_inputs: StoredFiles,
    layer_choice: StoredFiles,
) -> Reading | str:
    from interp_assets.models.files.releases import read_release
    from interp_assets.models.records import NothingToReadError

    if is_control(card.name):
        return NOT_FOR_CONTROLS
    if card.family in SCORE_FAMILIES:
        return NO_MODEL
    if lacking := no_attention(card.family):
        return lacking
    settings = layout.studies[study]
    data, absent = read_data(layout, study, row, sample_inputs)
    if not data:
        return "; ".join(dict.fromkeys(absent.values()))
    choice, _ = stored_choice(layer_choice)
    context = ReadingContext(
        study=study,
        release=read_release(Path(card.folder)),
        data=data,
        absent=absent,
        settings=settings.battery.as_mapping(),
        choice=choice,
        seed=settings.seed,
        device=settings.attention.device,
        dtype=settings.attention.dtype,
        memory_gib=settings.attention.memory_gib,
        encoding=settings.attention.encoding,
        edge_rule=settings.attention.edge_rule,
    )
    try:
        return row.run(context)
    except NothingToReadError as error:
        return f"{error.dataset}: {error.reason}"


def read_data(
    layout: Layout, study: str, row: ReadingRow, sample_inputs: StoredFiles
) -> tuple[dict[str, ReadData], dict[str, str]]:
    """Data of every role of a reading, and the reason for each role that has none."""
    settings = layout.studies[study]
    stored = load_samples(layout, sample_inputs, [name for role in row.roles if (name := settings.dataset_of(role))])
    data: dict[str, ReadData] = {}
    absent: dict[str, str] = {}
    for role in row.roles:
        found = stored.get(settings.dataset_of(role) or "")
        if isinstance(found, SampledData):
            data[role] = ReadData(
                role=role,
                cells=found.cells,
                labels=found.labels,
                references=found.references,
                primary_reference=primary_reference(settings, role, found.references),
                **({"grid": _grid(layout, found.cells.dataset)} if row.gridded else {}),
            )
        elif isinstance(found, Unavailable):
            absent[role] = f"{found.dataset}: {found.reason}"
        else:
            absent[role] = f"study {study} fills no role {role}"
    return data, absent


def _grid(layout: Layout, dataset: str) -> Any:
    """Stored outcomes against other control sets, or why there are none."""
    found = read_records(layout.folders.store / "cells" / dataset / "grid_outcomes")
    return found.reason if isinstance(found, Unavailable) else found["grid"]


def _shown(found: Reading) -> dict[str, Any]:
    plain = {key: value for key, value in found.facts.items() if isinstance(value, int | float | str)}
    return {**plain, "tables": len(found.tables), "arrays": len(found.arrays)}


def reading_assets(layout: Layout) -> list[dg.AssetsDefinition]:
    """All readings."""
    return [reading_asset(layout, row) for row in READINGS]

"""Assets that change a running model: the interventions on each release, and on its random-weights twin."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg

from interp_assets.analyses import catalogue
from interp_assets.assets.stored_inputs import (
    FOLDER,
    attention_of_study,
    by_dataset,
    dimensions,
    load_roles,
    stored_choice,
)
from interp_assets.assets.twins import no_twin
from interp_assets.automation.conditions import incremental
from interp_assets.cells.records import Unavailable
from interp_assets.code_version import code_version
from interp_assets.edges.records import AttentionEdges
from interp_assets.interventions.records import Interventions, kept_files
from interp_assets.io_managers import MANY, PATH, StoredFiles, files_version, parquet_bytes, read_records
from interp_assets.layout import Layout
from interp_assets.metadata import TEAM, source_link
from interp_assets.models.adapter import LOADERS
from interp_assets.models.records import ReleaseCard

ROLE = "primary_screen"
SOURCES = ("interp_assets.intervening", *LOADERS, "interp_assets.models.attention.kernel")


def interventions_asset(layout: Layout, prefix: str = "", suffix: str = "") -> dg.AssetsDefinition:
    """Interventions on every release, or with a prefix and suffix on its twin; an op of the gpu pool."""
    key = [prefix, "interventions"] if prefix else ["interventions"]
    attention_key = [prefix, "attention"] if prefix else ["attention"]

    @dg.asset(
        key=key,
        partitions_def=layout.release_by_study,
        ins={
            "attention": dg.AssetIn(
                dg.AssetKey(attention_key),
                partition_mapping=attention_of_study(layout, "answered"),
                metadata={MANY: True},
            ),
            "study_inputs": dg.AssetIn(),
            "layer_choice": dg.AssetIn(),
            "release": dg.AssetIn(),
        },
        io_manager_key="files",
        code_version=code_version(*SOURCES),
        metadata={PATH: f"{FOLDER}.{suffix}" if suffix else FOLDER, **source_link(SOURCES[0])},
        group_name="negative_twins" if prefix else "readings",
        kinds={"torch"},
        owners=[TEAM],
        pool="gpu",
        description="Does the model use the heads that carry the network? Heads silenced or made uniform, layers "
        "silenced: what read-outs lose, and how far the model moved.",
        automation_condition=incremental(),
    )
    def interventions(
        context: dg.AssetExecutionContext,
        attention: dict[str, Any],
        study_inputs: StoredFiles,
        layer_choice: StoredFiles,
        release: dict[str, ReleaseCard],
    ) -> dg.Output[dict[str, bytes]]:
        study, name = dimensions(context)
        card = release["card"]
        if suffix:
            lacking = no_twin(card, suffix)
            if lacking:
                return dg.Output({}, data_version=dg.DataVersion("no twin"), metadata={"twin": f"none: {lacking}"})
            card = replace(card, name=f"{name}.{suffix}")
        found = _found(layout, study, card, study_inputs, attention, layer_choice)
        files = kept_files(found, parquet_bytes)
        shown: dict[str, Any] = {"reason": found} if isinstance(found, str) else _shown(found)
        return dg.Output(files, data_version=files_version(files), metadata=shown)

    return interventions


def _found(
    layout: Layout,
    study: str,
    card: ReleaseCard,
    study_inputs: StoredFiles,
    attention: dict[str, Any],
    layer_choice: StoredFiles,
) -> Interventions | str:
    from interp_assets.intervening import NO_HEADS, release_behind, study_interventions

    dataset = layout.studies[study].dataset_of(ROLE)
    edges = by_dataset(attention).get(dataset or "")
    if dataset is None or edges is None:
        return f"study {study} fills no role {ROLE}"
    if isinstance(edges, Unavailable):
        return f"{edges.dataset}: {edges.reason}"
    if not isinstance(edges, AttentionEdges) or "folder" not in edges.facts:
        return NO_HEADS  # finished scores
    rows = [row for row in catalogue.built() if "interventions" in row.needs]
    roles, absent = load_roles(layout, study, card.name, study_inputs, attention, rows)
    cells = read_records(layout.folders.store / "cells" / dataset / "cells")
    if isinstance(cells, Unavailable) or ROLE not in roles:
        return absent.get(ROLE, f"{dataset}: no cells")
    if cells["cells"].cells_hash != edges.cells_hash:
        raise ValueError(f"{dataset}: attention of {card.name} comes from other cells; materialise it again")
    choice, _ = stored_choice(layer_choice)
    release = release_behind(card, Path(str(edges.facts["folder"])), str(edges.facts["release_id"]))
    return study_interventions(layout.studies[study], release, roles[ROLE], cells["cells"], choice)


def _shown(found: Interventions) -> dict[str, Any]:
    largest = found.conditions["hidden_distance"].max()
    return {
        "conditions": len(found.conditions),
        "cells": int(found.facts["cells"]),
        "read-out layer": int(found.facts["read_out_layer"]),
        "largest hidden-state distance": float(largest),
        "device": str(found.facts["device"]),
    }


def intervention_assets(layout: Layout) -> list[dg.AssetsDefinition]:
    """Interventions on releases and controls, and on the random-weights twins."""
    return [interventions_asset(layout), interventions_asset(layout, "random_weights", "random-weights")]

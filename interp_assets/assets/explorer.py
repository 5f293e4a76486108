"""Asset of the explorer: what the report lets a reader look up pair by pair."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd

from interp_assets.analyses import catalogue
from interp_assets.analyses.assemble import DatasetArtefacts
from interp_assets.assets.stored_inputs import (
    FOLDER,
    attention_of_row,
    dimensions,
    load_artefacts,
    load_roles,
    stored_choice,
)
from interp_assets.automation.conditions import incremental
from interp_assets.battery import NOT_FOR_CONTROLS
from interp_assets.code_version import code_version
from interp_assets.edges.records import AttentionEdges, EdgeMatrix
from interp_assets.io_managers import PATH, StoredFiles, files_version, parquet_bytes
from interp_assets.layout import Layout
from interp_assets.metadata import TEAM, source_link
from interp_assets.models.controls.catalogue import is_control
from interp_assets.readings.records import Reading, kept_files, read_files

NAME = "explorer"
ROLE = "primary_screen"
EXPLORE = "interp_assets.analyses.explorer:explore"
HEADS = "interp_assets.models.attention.store:head_matrix"
SEEN_BY = 18  # the analysis that looks at single regulators on the same attention
FINISHED_SCORES = "an edge table holds one finished score a pair and no heads"


def explorer_asset(layout: Layout) -> dg.AssetsDefinition:
    """Pair-by-pair scores of the primary screen for the report; it feeds no test, no verdict and no choice of a layer.

    Its tables lie in ``results/explorer/`` and not in ``tables/``, which holds what a judgement reads and hashes.
    """
    row = catalogue.row(SEEN_BY)

    @dg.asset(
        key=NAME,
        partitions_def=layout.release_by_study,
        ins={**attention_of_row(layout, row), "study_inputs": dg.AssetIn(), "layer_choice": dg.AssetIn()},
        io_manager_key="files",
        code_version=code_version(EXPLORE, HEADS),
        metadata={PATH: FOLDER, **source_link(EXPLORE)},
        group_name="report",
        kinds={"parquet"},
        owners=[TEAM],
        description="Where do the known targets of a regulator stand among all genes? Attention by layer and head, "
        "correlation and gene-level scores pair by pair; a look at the numbers, behind no test.",
        automation_condition=incremental(),
    )
    def explorer(
        context: dg.AssetExecutionContext,
        attention: dict[str, Any],
        study_inputs: StoredFiles,
        layer_choice: StoredFiles,
    ) -> dg.Output[dict[str, bytes]]:
        study, release = dimensions(context)
        found = _found(layout, study, release, study_inputs, attention, layer_choice)
        files = kept_files(NAME, found, parquet_bytes)
        shown = {"reason": found} if isinstance(found, str) else _shown(found)
        return dg.Output(files, data_version=files_version(files), metadata=shown)

    return explorer


def _found(
    layout: Layout,
    study: str,
    release: str,
    study_inputs: StoredFiles,
    attention: dict[str, Any],
    layer_choice: StoredFiles,
) -> Reading | str:
    from interp_assets.analyses.explorer import explore

    if is_control(release):
        return NOT_FOR_CONTROLS
    roles, absent = load_roles(layout, study, release, study_inputs, attention, [catalogue.row(SEEN_BY)])
    if ROLE not in roles:
        return absent.get(ROLE, f"study {study} fills no role {ROLE}")
    dataset = roles[ROLE].dataset
    data = load_artefacts(layout, {dataset: study_inputs.json("study_inputs.json")["datasets"][dataset]})[dataset]
    outcomes = data.labels.table if isinstance(data, DatasetArtefacts) else pd.DataFrame()
    choice, _ = stored_choice(layer_choice)
    return explore(roles[ROLE], choice, stored_heads(roles[ROLE].attention), outcomes, layout.studies[study].seed)


def stored_heads(edges: AttentionEdges) -> Callable[[int, int], EdgeMatrix] | str:
    """Attention of a single head by (layer, head) from what the extraction kept, or why there is none."""
    from interp_assets.models.attention.store import head_matrix

    kept = edges.facts.get("heads_kept")
    if kept is None:
        return FINISHED_SCORES
    return partial(head_matrix, Path(str(edges.facts["folder"]))) if kept == "all" else f"the extraction kept {kept}"


def _shown(found: Reading) -> dict[str, Any]:
    facts = found.tables["facts"].iloc[0]
    return {
        "regulators shown": int(facts["regulators_shown"]),
        "regulators": int(facts["regulators"]),
        "pairs": len(found.tables["targets"]),
        "single heads": "yes" if facts["heads_kept"] else str(facts["heads_reason"]),
    }


def explorer_tables(stored: StoredFiles) -> dict[str, pd.DataFrame]:
    """Tables of the explorer as the report takes them, ``explorer_<name>``; of one without tables the reason alone."""
    found = read_files(NAME, stored.path)
    if isinstance(found, str):
        return {"explorer_facts": pd.DataFrame({"reason": [found]})}
    return {f"explorer_{name}": frame for name, frame in found.tables.items()}

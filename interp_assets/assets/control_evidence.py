"""What the controls of a study came out as, for analyses that hold a release's numbers against them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd

from interp_assets.analyses import catalogue
from interp_assets.analyses.inputs import ControlEvidence
from interp_assets.battery import results_from_json
from interp_assets.io_managers import MANY
from interp_assets.layout import CONTROLS

TESTS_INPUT = "control_tests"


def controls_of_study() -> dg.MultiPartitionMapping:
    """Mapping from any release to the two controls in the same study."""
    return dg.MultiPartitionMapping(
        {
            "release": dg.DimensionPartitionMapping("release", dg.SpecificPartitionsPartitionMapping(list(CONTROLS))),
            "study": dg.DimensionPartitionMapping("study", dg.IdentityPartitionMapping()),
        }
    )


def controls_of_row(row: catalogue.AnalysisRow) -> dict[str, dg.AssetIn]:
    """Inputs of an analysis that asks for the controls: their tests, and the extended rows they run themselves."""
    if "controls" not in row.needs:
        return {}
    names = {TESTS_INPUT: "test_results", **{f"control_{key}": key for key in _extended_of_controls()}}
    return {
        name: dg.AssetIn(key, partition_mapping=controls_of_study(), metadata={MANY: True})
        for name, key in names.items()
    }


def _extended_of_controls() -> list[str]:
    return [row.key for row in catalogue.extended() if row.for_controls]


def control_evidence(given: Mapping[str, Any]) -> dict[str, ControlEvidence]:
    """Evidence of each control by name, from the stored outputs that `controls_of_row` asks for."""
    from interp_assets.report.stored import StoredTables

    found = {}
    for stored in given[TESTS_INPUT].values():
        folder: Path = stored.folder
        rows = [
            result
            for key in _extended_of_controls()
            if (folder / "results" / f"{key}.json").is_file()
            for result in results_from_json((folder / "results" / f"{key}.json").read_bytes())
        ]
        found[folder.name] = ControlEvidence(
            tests=pd.read_parquet(folder / "tests.parquet"),
            tables=StoredTables(folder / "tables"),
            extended={result.test_id: result for result in rows},
        )
    return found

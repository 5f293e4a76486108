"""The table of the extended tests of one release in one study, apart from the 153."""

from typing import Any

import dagster as dg

from interp_assets.analyses import catalogue
from interp_assets.assets.reported import reported
from interp_assets.assets.stored_inputs import FOLDER, dimensions
from interp_assets.automation.conditions import incremental
from interp_assets.battery import extended_rows, results_from_json
from interp_assets.code_version import code_version
from interp_assets.io_managers import PATH, StoredFiles, files_version, parquet_bytes
from interp_assets.layout import Layout
from interp_assets.metadata import TEAM, counts_metadata, significant_metadata
from interp_assets.storage import canonical_json
from qc_standards.extended import EXTENDED_CSV, EXTENDED_FILE, extended_frame


def extended_results_asset(layout: Layout) -> dg.AssetsDefinition:
    """The declared extended tests, with q-values within each local family."""
    keys = [row.key for row in catalogue.extended()]

    @dg.asset(
        key="extended_results",
        partitions_def=layout.release_by_study,
        ins={key: dg.AssetIn() for key in keys},
        io_manager_key="files",
        code_version=code_version("interp_assets.battery:extended_rows", "qc_standards.extended"),
        metadata={PATH: FOLDER},
        group_name="extended",
        kinds={"parquet"},
        owners=[TEAM],
        description="What did the extended tests E1 to E9 find? One row each, corrected in local families; none of "
        "them is one of the 153.",
        automation_condition=incremental(),
    )
    def extended_results(context: dg.AssetExecutionContext, **analyses: StoredFiles) -> dg.Output[dict[str, bytes]]:
        from qc_standards.documents import table_hash

        study, release = dimensions(context)
        results = [
            result
            for key in keys
            for result in results_from_json(analyses[key].path(f"results/{key}.json").read_bytes())
        ]
        rows = extended_rows(results, release)
        frame = extended_frame(rows)
        tables: dict[str, Any] = {name: table for key in keys for name, table in analyses[key].tables().items()}
        files = {
            EXTENDED_FILE: parquet_bytes(frame),
            EXTENDED_CSV: frame.to_csv(index=False, lineterminator="\n").encode("utf-8"),
            "results/extended_tables.json": canonical_json(
                {name: table_hash(table) for name, table in sorted(tables.items())}
            ).encode("utf-8"),
        }
        shown = counts_metadata(rows) | significant_metadata(files[EXTENDED_FILE])
        shown |= reported(layout, study, release, "extended")
        return dg.Output(files, data_version=files_version(files), metadata=shown)

    return extended_results

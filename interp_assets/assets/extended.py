"""The table of the extended tests of one release in one study, apart from the 153."""

from typing import Any

import dagster as dg

from interp_assets.analyses import catalogue
from interp_assets.assets.stored_inputs import FOLDER, dimensions
from interp_assets.automation.conditions import incremental
from interp_assets.battery import extended_rows, results_from_json
from interp_assets.code_version import code_version
from interp_assets.io_managers import PATH, StoredFiles, files_version, parquet_bytes
from interp_assets.layout import Layout
from interp_assets.metadata import TEAM, result_metadata
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
        description="Declared extended tests E1 to E9, one row each, corrected in local families; none is of the 153.",
        automation_condition=incremental(),
    )
    def extended_results(context: dg.AssetExecutionContext, **analyses: StoredFiles) -> dg.Output[dict[str, bytes]]:
        from qc_standards.documents import table_hash

        _, release = dimensions(context)
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
        return dg.Output(files, data_version=files_version(files), metadata=result_metadata(rows))

    return extended_results

"""Assets of the paper's supplementary tables, and of what became of each of its figures and tables."""

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

import dagster as dg

from interp_assets.assets.judging import verdict_in_force
from interp_assets.assets.stored_inputs import FOLDER
from interp_assets.automation.conditions import incremental
from interp_assets.code_version import code_version
from interp_assets.figures import catalogue, entries
from interp_assets.io_managers import PATH, StoredFiles, files_version
from interp_assets.layout import Layout
from interp_assets.metadata import TEAM
from interp_assets.supplement.catalogue import TABLES
from interp_assets.supplement.records import TableSpec, Tabulated

GROUP = "supplement"
ENTRIES = "published_entries"


def supplement_keys() -> list[dg.AssetKey]:
    """Keys of every asset made here, which the report waits for."""
    return [*(dg.AssetKey([GROUP, spec.table_id]) for spec in TABLES), dg.AssetKey(ENTRIES)]


def supplement_asset(layout: Layout, spec: TableSpec) -> dg.AssetsDefinition:
    """One supplementary table, from the rows and tables of an evaluation, or the reason why there is none."""

    @dg.asset(
        key=[GROUP, spec.table_id],
        partitions_def=layout.release_by_study,
        ins={"test_results": dg.AssetIn(), "extended_results": dg.AssetIn(), "qc_verdict": dg.AssetIn()},
        io_manager_key="files",
        code_version=code_version("interp_assets.supplement.catalogue") + _declared_version(),
        metadata={PATH: FOLDER},
        group_name=GROUP,
        kinds={"csv"},
        owners=[TEAM],
        description=f"{spec.published[0]}: {spec.title}. {spec.caption}",
        automation_condition=incremental(),
    )
    def supplement(
        context: dg.AssetExecutionContext,
        test_results: StoredFiles,
        extended_results: StoredFiles,
        qc_verdict: StoredFiles,
    ) -> dg.Output[dict[str, bytes]]:
        from interp_assets.report.supplement import evaluated, table_files
        from interp_assets.supplement.catalogue import tabulate

        results, judgement = verdict_in_force(qc_verdict)
        made = tabulate(spec, evaluated(results, judgement, qc_verdict.json("claims.json")["claims"]))
        files = table_files(made)
        shown: dict[str, Any] = {"made": isinstance(made, Tabulated)}
        shown |= {"rows": len(made.frame)} if isinstance(made, Tabulated) else {"reason": made.reason}
        return dg.Output(files, data_version=files_version(files), metadata=shown)

    return supplement


def published_entries_asset(layout: Layout) -> dg.AssetsDefinition:
    """State of every figure and table of the paper in one evaluation."""

    @dg.asset(
        key=ENTRIES,
        partitions_def=layout.release_by_study,
        ins={"qc_verdict": dg.AssetIn()},
        deps=[
            *(dg.AssetKey(["figure", spec.figure_id]) for spec in catalogue.CATALOGUE),
            *(dg.AssetKey([GROUP, spec.table_id]) for spec in TABLES),
        ],
        io_manager_key="files",
        code_version=code_version("interp_assets.figures.entry_states") + _declared_version(),
        metadata={PATH: FOLDER},
        group_name="figures",
        kinds={"csv"},
        owners=[TEAM],
        description="What became of the paper's 45 figures and 14 supplementary tables in this evaluation: drawn, "
        "partly drawn, skipped with the reason, or without a picture here.",
        automation_condition=incremental(),
    )
    def published_entries(context: dg.AssetExecutionContext, qc_verdict: StoredFiles) -> dg.Output[dict[str, bytes]]:
        from interp_assets.figures.entry_states import ENTRIES_FILE, EntryState, entries_csv, stored_entries

        rows = stored_entries(qc_verdict.folder)
        files = {ENTRIES_FILE: entries_csv(rows).encode("utf-8")}
        counts = {str(state): sum(row.state is state for row in rows) for state in EntryState}
        return dg.Output(files, data_version=files_version(files), metadata=counts)

    return published_entries


@cache
def _declared_version() -> str:
    """Hash of what is declared as data: the entries of the paper, its printed values and claims."""
    folders = (Path(entries.__file__).parent, Path(__file__).parents[1] / "supplement")
    content = b"".join(path.read_bytes() for folder in folders for path in sorted(folder.glob("*.csv")))
    return hashlib.sha256(content).hexdigest()[:16]


def supplement_assets(layout: Layout) -> list[dg.AssetsDefinition]:
    """Every supplementary table, then the states of the paper's figures and tables."""
    return [*(supplement_asset(layout, spec) for spec in TABLES), published_entries_asset(layout)]

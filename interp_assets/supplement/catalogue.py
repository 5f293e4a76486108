"""The catalogue of supplementary tables: one row a table, and the one function that makes any of them.

A table that needs something that was not computed gives a `TableSkipped` with the reason, never an empty file.
Importing this module imports no analysis.
"""

from __future__ import annotations

import pandas as pd

from interp_assets.supplement import declared_tables, edge_tables, extended_tables, screen_tables
from interp_assets.supplement.printed import PREFIX
from interp_assets.supplement.records import (
    Evaluated,
    NothingToTabulateError,
    TableSkipped,
    TableSpec,
    Tabulated,
)
from qc_standards.records import Status

KEYS = ("published_context", "published_layer")  # which published row stands beside a computed one
NOT_COMPUTED, NOT_PRINTED = "not computed", "not printed"

TABLES: tuple[TableSpec, ...] = (
    TableSpec(
        table_id="table_s01",
        title="Overview of the analyses",
        caption="One row an analysis: what it asks, on which data, how many of its declared rows ran, and its first "
        "computed effect.",
        published=("Table S1",),
        make=declared_tables.overview,
    ),
    TableSpec(
        table_id="table_s02",
        title="Screens and how they were read",
        caption="One row a published context: the data set that stands for it, its rules, its evaluable perturbations.",
        published=("Table S2",),
        make=screen_tables.parametrisations,
        analyses=(19, 28, 33, 37),
    ),
    TableSpec(
        table_id="table_s03",
        title="Validation under other choices",
        caption="Agreement of predicted and measured effects by screen, then AUROC in 27 conditions.",
        published=("Table S3",),
        make=screen_tables.sensitivity,
        analyses=(5, 20),
    ),
    TableSpec(
        table_id="table_s04",
        title="Overlap of the strongest edges across species",
        caption="Pairs that both species have among their k strongest, against permuted gene names.",
        published=("Table S4",),
        make=edge_tables.ortholog_overlap,
        tables=("ortholog_overlap",),
        analyses=(6,),
    ),
    TableSpec(
        table_id="table_s05",
        title="Strata on synthetic designs",
        caption="F1 pooled and with strata. Simulated cells; estimated strata stand beside the known ones.",
        published=("Table S5",),
        make=edge_tables.synthetic_designs,
        tables=("cssi_summary",),
        tests=("A10.1", "A10.2", "A10.3"),
    ),
    TableSpec(
        table_id="table_s06",
        title="Strata on structured designs",
        caption="AUROC pooled and with strata by number of cells. Simulated cells.",
        published=("Table S6",),
        make=edge_tables.structured_designs,
        tables=("cssi_summary",),
        tests=("A10.5",),
    ),
    TableSpec(
        table_id="table_s07",
        title="Strata on attention by layer",
        caption="Pooled AUROC and the best stratified score of each layer; null strata show what choosing gives.",
        published=("Table S7",),
        make=edge_tables.attention_strata,
        tables=("cssi_real_attention",),
        tests=("A10.6",),
    ),
    TableSpec(
        table_id="table_s08",
        title="Attention against the curated reference",
        caption="AUROC by number of cells, mean over layers. The published values are those of Geneformer V1.",
        published=("Table S8",),
        make=edge_tables.recovery_of_primary,
        tables=("model_recovery",),
        analyses=(12,),
    ),
    TableSpec(
        table_id="table_s09",
        title="Attention against further references",
        caption="AUROC by number of cells, mean over layers. The published values are those of Geneformer V1.",
        published=("Table S9",),
        make=edge_tables.recovery_of_others,
        tables=("model_recovery",),
        analyses=(12,),
    ),
    TableSpec(
        table_id="table_s10",
        title="Registry of tests",
        caption="All 153 declared rows with status, effect, p, corrected p, and what the paper printed.",
        published=("Table S10",),
        make=declared_tables.registry,
    ),
    TableSpec(
        table_id="table_s11",
        title="Claims and their evidence",
        caption="Claims of this project with their verdict, then the rows behind each claim of the paper.",
        published=("Table S11",),
        make=declared_tables.claims,
    ),
    TableSpec(
        table_id="table_s12",
        title="Biology of each layer",
        caption="AUROC of every layer, and of correlation, against every database of the study.",
        published=("Table S12",),
        make=extended_tables.biology,
        tables=("reference_profile",),
        extended=(1,),
    ),
    TableSpec(
        table_id="table_s13",
        title="Edges weighted by values",
        caption="Best layer of each kind of edge on the screen and on the reference; choosing a layer flatters all.",
        published=("Table S13",),
        make=extended_tables.value_weighted,
        tables=("value_weighted_profile",),
        extended=(2,),
    ),
    TableSpec(
        table_id="table_s14",
        title="Single regulators",
        caption="Class, number of targets and AUROC of each regulator.",
        published=("Table S14",),
        make=extended_tables.regulators,
        tables=("regulator_characterisation",),
        extended=(3,),
    ),
)


def tabulate(spec: TableSpec, found: Evaluated) -> Tabulated | TableSkipped:
    """Make one supplementary table from what was computed, or say why it cannot be made.

    Every row names study, release and the origin of the data behind it.
    """
    reason = _lacking(spec, found)
    if reason:
        return TableSkipped(table_id=spec.table_id, title=spec.title, reason=reason)
    try:
        frame = spec.make(found)
    except NothingToTabulateError as nothing:
        return TableSkipped(table_id=spec.table_id, title=spec.title, reason=str(nothing))
    origin = frame["data_origin"] if "data_origin" in frame else pd.Series(None, index=frame.index, dtype=object)
    frame = frame.assign(data_origin=origin.fillna(_origin(spec, found)), study=found.study, release=found.release)
    names = [str(name) for name in frame]
    printed = [name for name in names if name.startswith(PREFIX) and name not in KEYS]
    frame = frame[[name for name in names if name not in printed] + printed].reset_index(drop=True)
    return Tabulated(table_id=spec.table_id, title=spec.title, caption=spec.caption, frame=frame)


def table_csv(table: Tabulated) -> bytes:
    """The table as text with commas; a missing number is said in words. Equal frames give equal bytes."""
    frame = table.frame.astype(object)
    for name in map(str, frame):
        missing = NOT_PRINTED if name.startswith(PREFIX) else NOT_COMPUTED
        frame[name] = frame[name].where(frame[name].notna(), missing)
    return frame.to_csv(index=False, lineterminator="\n").encode("utf-8")


def _lacking(spec: TableSpec, found: Evaluated) -> str:
    absent = [name for name in spec.tables if name not in found.tables]
    if absent:
        return f"table {', '.join(absent)} was not computed in this evaluation{_why(spec, found)}"
    empty = [name for name in spec.tables if found.tables[name].empty]
    return f"table {', '.join(empty)} has no rows in this evaluation{_why(spec, found)}" if empty else ""


def _rows(spec: TableSpec, found: Evaluated) -> pd.DataFrame:
    """Result rows of the analyses (or the tests) behind a table."""
    labels = [*(f"A{number:02d}" for number in spec.analyses), *(f"E{number}" for number in spec.extended)]
    every = pd.concat([found.tests, found.extended]) if len(found.extended) else found.tests
    of_analysis = every["test_id"].str.partition(".")[0].isin(labels)
    return every[of_analysis | every["test_id"].isin(spec.tests)]


def _why(spec: TableSpec, found: Evaluated) -> str:
    """First reason that a row of its analyses gives for not having run."""
    rows = _rows(spec, found)
    reasons = [str(reason) for reason in rows.loc[rows["status"] != str(Status.RUN), "reason"] if str(reason)]
    return f" ({reasons[0]})" if reasons else ""


def _origin(spec: TableSpec, found: Evaluated) -> str:
    rows = _rows(spec, found)
    named = sorted({str(origin) for origin in rows.loc[rows["status"] == str(Status.RUN), "data_origin"] if origin})
    return "; ".join(named) or found.data_origin

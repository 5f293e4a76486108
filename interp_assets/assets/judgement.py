"""Assets of the judgement: controls, standards, verdict, claims, figures, report, leaderboard.

Verdicts are data. A failed blocking check stops Dagster only within one run, so claims, figures and the report read
``qc_verdict`` and refuse by themselves; the asset checks mirror the same states for the reader of the UI.
"""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import dagster as dg

from interp_assets.assets.control_evidence import controls_of_study
from interp_assets.assets.explorer import explorer_tables
from interp_assets.assets.judging import JUDGEMENT, documents_of, judged, rules_version, verdict_in_force
from interp_assets.assets.reported import reported
from interp_assets.assets.stored_inputs import FOLDER, dimensions
from interp_assets.assets.supplement import supplement_assets, supplement_keys
from interp_assets.automation.conditions import gathering, incremental
from interp_assets.code_version import code_version
from interp_assets.figures.catalogue import CATALOGUE
from interp_assets.figures.records import Drawing, FigureSpec
from interp_assets.io_managers import MANY, PATH, StoredFiles, files_version, parquet_bytes
from interp_assets.layout import CONTROLS, Layout
from interp_assets.metadata import (
    TEAM,
    claim_metadata,
    leaderboard_metadata,
    picture,
    plain,
    standard_metadata,
    verdict_metadata,
)
from interp_assets.report import page
from interp_assets.storage import canonical_json
from qc_standards.claims import claims_registry
from qc_standards.extended import EXTENDED_FILE
from qc_standards.records import VerdictState
from qc_standards.standards import shipped_standards

GATE = "qc_standards.gate"
OUTCOME_FILE = "results/control_outcome.json"
SEVERITY = {"critical": dg.AssetCheckSeverity.ERROR, "warning": dg.AssetCheckSeverity.WARN}


def _outcome(folder: Path) -> dict[str, Any]:
    """Row of ``control_outcomes`` for the control whose results lie in ``folder``."""
    from qc_standards.gate import control_outcome, judge

    return control_outcome(judge(folder))


def judged_files(layout: Layout, folder: Path) -> tuple[dict[str, bytes], dict[str, Any]]:
    """Everything a control's folder holds beside its battery, and what the UI shows of it."""
    from interp_assets.report.evaluation import draw_all, figure_files, provenance_document, report_html
    from qc_standards.documents import documents
    from qc_standards.gate import control_outcome, judge
    from qc_standards.results import read_results

    results = read_results(folder, judged=False)
    judgement = judge(results)
    outcome = control_outcome(judgement)
    files = documents_of(judgement) | {OUTCOME_FILE: canonical_json(outcome).encode("utf-8")}
    drawings = draw_all(judgement, results.tables, preview=False)  # the UI shows no picture of a twin
    for drawing in drawings:
        files |= figure_files(drawing)
    provenance = provenance_document(judgement, files, folder)
    files["provenance.json"] = canonical_json(provenance).encode("utf-8")
    files["report.html"] = report_html(
        judgement, documents(judgement), results.tests, results.tables, drawings, provenance
    )
    return files, {key: str(outcome[key]) for key in ("expected", "observed", "behaves", "reason")}


def control_outcome_asset(layout: Layout) -> dg.AssetsDefinition:
    """Whether a control behaves; for an ordinary release nothing."""

    @dg.asset(
        key="control_outcome",
        partitions_def=layout.release_by_study,
        ins={"test_results": dg.AssetIn()},
        io_manager_key="files",
        code_version=code_version(GATE) + rules_version(),
        metadata={PATH: FOLDER},
        group_name="results",
        kinds={"json"},
        owners=[TEAM],
        description="Does a control behave: does it pass, or fail, as it must? Judged without controls of its own; for "
        "an ordinary release empty.",
        automation_condition=incremental(),
    )
    def control_outcome(context: dg.AssetExecutionContext, test_results: StoredFiles) -> dg.Output[dict[str, bytes]]:
        _, release = dimensions(context)
        if release not in CONTROLS:
            return dg.Output({}, data_version=dg.DataVersion("no control"), metadata={"control": "no"})
        outcome = _outcome(test_results.folder)
        files = {OUTCOME_FILE: canonical_json(outcome).encode("utf-8")}
        return dg.Output(files, data_version=files_version(files), metadata={k: str(v) for k, v in outcome.items()})

    return control_outcome


def standards_results_asset(layout: Layout) -> dg.AssetsDefinition:
    """Every standard on one release in one study, with a check for each."""
    active = [item for item in shipped_standards().values() if item.status == "active"]

    @dg.asset(
        key="standards_results",
        partitions_def=layout.release_by_study,
        ins={
            "test_results": dg.AssetIn(),
            "extended_results": dg.AssetIn(),
            "controls": dg.AssetIn("control_outcome", partition_mapping=controls_of_study(), metadata={MANY: True}),
            "shuffled": dg.AssetIn(dg.AssetKey(["shuffled", "control_outcome"])),
            "random_weights": dg.AssetIn(dg.AssetKey(["random_weights", "control_outcome"])),
        },
        io_manager_key="files",
        code_version=code_version("qc_standards.suites") + rules_version(),
        metadata={PATH: FOLDER},
        group_name="judgement",
        kinds={"greatexpectations"},
        owners=[TEAM],
        check_specs=[
            dg.AssetCheckSpec(_check_name(item.id), asset="standards_results", description=item.title)
            for item in active
        ],
        description="Is this evaluation good enough to be believed? Each QC standard is a Great Expectations suite "
        "over its tables and stands here as a check: integrity standards as ERROR, warnings as WARN.",
        automation_condition=incremental(),
    )
    def standards_results(
        context: dg.AssetExecutionContext,
        test_results: StoredFiles,
        extended_results: StoredFiles,
        controls: dict[str, StoredFiles],
        shuffled: StoredFiles,
        random_weights: StoredFiles,
    ) -> Iterator[Any]:
        from qc_standards.documents import canonical_json as document_text
        from qc_standards.documents import standards_document
        from qc_standards.gate import controls_frame, judge_tables
        from qc_standards.results import read_results

        study, release = dimensions(context)
        results = read_results(test_results.folder, judged=False)
        tables = {name: frame for name, frame in results.tables.items() if name != "control_outcomes"}
        files: dict[str, bytes] = {}
        if release not in CONTROLS:
            rows = [
                stored.json(OUTCOME_FILE)
                for stored in (*controls.values(), shuffled, random_weights)
                if OUTCOME_FILE in stored.names
            ]
            tables["control_outcomes"] = controls_frame(rows, release)
            files["tables/control_outcomes.parquet"] = parquet_bytes(tables["control_outcomes"])
        judgement = judge_tables(results.tests, tables, extended=results.extended)
        files["standards.json"] = document_text(standards_document(judgement)).encode("utf-8")
        passed = sum(not result.blocking for result in judgement.standards)
        yield dg.Output(
            files,
            data_version=files_version(files),
            metadata={
                "standards met": passed,
                "standards": len(judgement.standards),
                **reported(layout, study, release, "standards"),
            },
        )
        for result in judgement.standards:
            yield dg.AssetCheckResult(
                asset_key="standards_results",
                check_name=_check_name(result.id),
                passed=not result.blocking,
                severity=SEVERITY[str(result.severity)],
                metadata=standard_metadata(judgement, result),
            )

    return standards_results


def _templates_version() -> str:
    """Hash of the page's templates, which are no Python and so in no code version."""
    folder = Path(page.__file__).parent / "templates"
    content = b"".join(path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file())
    return hashlib.sha256(content).hexdigest()[:16]


def _check_name(identifier: str) -> str:
    return identifier.replace("-", "_").replace(".", "_")


def qc_verdict_asset(layout: Layout) -> dg.AssetsDefinition:
    """Verdicts of every declared claim, with a check for each."""
    claims = claims_registry().claims

    @dg.asset(
        key="qc_verdict",
        partitions_def=layout.release_by_study,
        ins={"test_results": dg.AssetIn(), "standards_results": dg.AssetIn()},
        io_manager_key="files",
        code_version=code_version(GATE) + rules_version(),
        metadata={PATH: FOLDER},
        group_name="judgement",
        kinds={"json"},
        owners=[TEAM],
        check_specs=[
            dg.AssetCheckSpec(_check_name(claim.id), asset="qc_verdict", description=claim.sentence)
            for claim in claims.values()
        ],
        description="May the attention of this release be read as a gene regulatory network? Every claim is supported, "
        "refuted, inconclusive or not evaluable, with reasons; a check mirrors each. A refuted claim is a result, "
        "not a failed run.",
        automation_condition=incremental(),
    )
    def qc_verdict(
        context: dg.AssetExecutionContext, test_results: StoredFiles, standards_results: StoredFiles
    ) -> Iterator[Any]:
        _, judgement = judged(test_results.folder)
        files = {name: content for name, content in documents_of(judgement).items() if name != "standards.json"}
        yield dg.Output(
            files,
            data_version=files_version(files),
            metadata=verdict_metadata(judgement) | reported(layout, *dimensions(context), "verdict"),
        )
        for verdict in judgement.verdicts.values():
            yield dg.AssetCheckResult(
                asset_key="qc_verdict",
                check_name=_check_name(verdict.claim),
                passed=verdict.state is VerdictState.SUPPORTED,
                severity=dg.AssetCheckSeverity.WARN,
                metadata=claim_metadata(judgement, verdict),
            )

    return qc_verdict


def claim_asset(layout: Layout, claim: Any) -> dg.AssetsDefinition:
    """One claim as one asset: its sentence and what may be said of it for this release in this study."""

    @dg.asset(
        key=["claim", claim.id],
        partitions_def=layout.release_by_study,
        ins={"qc_verdict": dg.AssetIn()},
        io_manager_key="files",
        code_version=code_version("interp_assets.assets.judgement:claim_asset"),
        metadata={PATH: FOLDER, "evidence level": str(claim.evidence_level)},
        group_name="claims",
        kinds={"json"},
        owners=[TEAM],
        tags={"evidence_level": str(claim.evidence_level).replace(" ", "-").replace("_", "-")},
        description=f"May this be said? **{plain(claim.sentence)}**",
        automation_condition=incremental(),
    )
    def stated(context: dg.AssetExecutionContext, qc_verdict: StoredFiles) -> dg.Output[dict[str, bytes]]:
        verdict_in_force(qc_verdict)
        entries = {entry["id"]: entry for entry in qc_verdict.json("claims.json")["claims"]}
        entry = entries[claim.id]
        files = {f"claims/{claim.id}.json": canonical_json(entry).encode("utf-8")}
        shown = {"verdict": entry["label"], "open": bool(entry["cleared"])}
        shown |= reported(layout, *dimensions(context), f"claim-{claim.id}")
        return dg.Output(files, data_version=files_version(files), metadata=shown)

    return stated


def figure_asset(layout: Layout, spec: FigureSpec) -> dg.AssetsDefinition:
    """One figure, drawn from computed tables and marked with its claim's verdict."""

    @dg.asset(
        key=["figure", spec.figure_id],
        partitions_def=layout.release_by_study,
        ins={"test_results": dg.AssetIn(), "qc_verdict": dg.AssetIn()},
        io_manager_key="files",
        code_version=code_version("interp_assets.figures.catalogue", "interp_assets.report.evaluation:figure_files"),
        metadata={PATH: FOLDER},
        group_name="figures",
        kinds={"matplotlib"},
        owners=[TEAM],
        description=f"{spec.title}. {spec.caption}",
        automation_condition=incremental(),
    )
    def figure(
        context: dg.AssetExecutionContext, test_results: StoredFiles, qc_verdict: StoredFiles
    ) -> dg.Output[dict[str, bytes]]:
        from interp_assets.report.evaluation import draw_all, figure_files

        results, judgement = verdict_in_force(qc_verdict)
        (drawing,) = draw_all(judgement, results.tables, (spec,))
        files = figure_files(drawing)
        shown: dict[str, Any] = {"drawn": isinstance(drawing, Drawing)}
        if isinstance(drawing, Drawing):
            shown["picture"] = picture(drawing.png, drawing.alt)
        else:
            shown["reason"] = drawing.reason
        shown |= reported(layout, *dimensions(context), f"figure-{spec.figure_id}")
        return dg.Output(files, data_version=files_version(files), metadata=shown)

    return figure


def report_asset(layout: Layout) -> dg.AssetsDefinition:
    """The report page and the provenance of one evaluation."""

    @dg.asset(
        key="report",
        partitions_def=layout.release_by_study,
        ins={name: dg.AssetIn() for name in (*JUDGEMENT, "explorer")},
        deps=[*(dg.AssetKey(["figure", spec.figure_id]) for spec in CATALOGUE), *supplement_keys()],
        io_manager_key="files",
        code_version=code_version("interp_assets.report.evaluation") + _templates_version(),
        metadata={PATH: FOLDER},
        group_name="report",
        kinds={"html"},
        owners=[TEAM],
        description="Everything about one release in one study, on one self-contained page: verdict, claims, "
        "standards, all 153 tests, figures, provenance.",
        automation_condition=incremental(),
    )
    def report(context: dg.AssetExecutionContext, **stored: StoredFiles) -> dg.Output[dict[str, bytes]]:
        from interp_assets.figures.entry_states import stored_entries
        from interp_assets.report.evaluation import provenance_document, report_html, stored_figure
        from qc_standards.documents import documents

        folder = stored["test_results"].folder
        results, judgement = verdict_in_force(stored["qc_verdict"])
        provenance = provenance_document(judgement, {}, folder)
        html = report_html(
            judgement,
            documents(judgement),
            results.tests,
            {**results.tables, **explorer_tables(stored["explorer"])},
            [stored_figure(spec, folder) for spec in CATALOGUE],
            provenance,
            extended=results.extended,
            entries=stored_entries(folder),
        )
        files = {"report.html": html, "provenance.json": canonical_json(provenance).encode("utf-8")}
        version = files_version(
            documents_of(judgement)
            | {EXTENDED_FILE: stored["extended_results"].path(EXTENDED_FILE).read_bytes()}
            | {name: stored["explorer"].path(name).read_bytes() for name in stored["explorer"].names}
        )
        where = str(folder / "report.html")
        return dg.Output(files, data_version=version, metadata={"report": dg.MetadataValue.path(where)})

    return report


def leaderboard_asset(layout: Layout) -> dg.AssetsDefinition:
    """All judged releases over all studies, and the index page; never one mixed score."""

    @dg.asset(
        key="leaderboard",
        deps=["report", "verdict_changes"],
        io_manager_key="files",
        # the page shows the changes, whose updates the condition ignores: their code is its code
        code_version=code_version("interp_assets.report.stored", "interp_assets.comparison.changes")
        + _templates_version(),
        metadata={PATH: "."},
        group_name="report",
        kinds={"html"},
        owners=[TEAM],
        description="How do all evaluated releases stand, side by side? Verdict, criteria, controls and data origin by "
        "release and study; never one mixed score.",
        automation_condition=gathering().ignore(dg.AssetSelection.assets("verdict_changes")),  # it runs in the same run
    )
    def leaderboard(context: dg.AssetExecutionContext) -> dg.Output[dict[str, bytes]]:
        from interp_assets import quarantine
        from interp_assets.report.index import render_index
        from interp_assets.report.stored import stored_changes, stored_claims, stored_leaderboard
        from interp_assets.report.timelines import stored_judgements

        store, studies = layout.folders.store, tuple(layout.studies)
        frame, claims = stored_leaderboard(store, studies), stored_claims(store, studies)
        held = {name: record.reason for name, record in quarantine.read(store).items()}
        files = {
            "leaderboard.parquet": parquet_bytes(frame),
            "leaderboard_claims.parquet": parquet_bytes(claims),
            "index.html": render_index(
                frame, claims, stored_changes(store), held, stored_judgements(store, studies)
            ).encode("utf-8"),
        }
        return dg.Output(files, data_version=files_version(files), metadata=leaderboard_metadata(frame))

    return leaderboard


def judgement_assets(layout: Layout) -> list[dg.AssetsDefinition]:
    """All assets from the controls to the leaderboard."""
    claims: Mapping[str, Any] = claims_registry().claims
    return [
        control_outcome_asset(layout),
        standards_results_asset(layout),
        qc_verdict_asset(layout),
        *(claim_asset(layout, claim) for claim in claims.values()),
        *(figure_asset(layout, spec) for spec in CATALOGUE),
        *supplement_assets(layout),
        report_asset(layout),
        leaderboard_asset(layout),
    ]

"""Test-only results in the shapes that the gate writes. No number here is a result."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pandas as pd

from interp_assets.figures.catalogue import CATALOGUE, draw, figure
from interp_assets.figures.entry_states import entry_rows
from interp_assets.figures.records import FigureContext
from interp_assets.report.inputs import ReportInputs
from interp_assets.report.reading import criteria_table
from qc_standards.claims import Claim, claims_registry
from qc_standards.criterion_parts import CriterionPart, CriterionResult
from qc_standards.documents import documents
from qc_standards.records import DataOrigin, Outcome, TestSpec, VerdictState
from qc_standards.standards import shipped_standards
from qc_standards.suites import StandardResult
from qc_standards.verdicts import Grounds, Judgement, Verdict

RELEASE = "geneformer-small-2k"


def _example_tables() -> dict[str, pd.DataFrame]:
    path = Path(__file__).parents[1] / "figures" / "example_tables.py"
    spec = importlib.util.spec_from_file_location("example_tables", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.example_tables()


OUTCOMES = {
    "a": ("fail", "variance: mean difference -0.324 (-0.344 to -0.304)"),
    "b": ("fail", "18 of 18 intervals reach below .005"),
    "c": ("fail", "kept 0.31 (OLS) and 0.22 (boosting), 0.8 required; z 2.4"),
    "d": ("not evaluable", "causal ablation not built"),
    "baselines_win": ("pass", "six of six intervals above 0"),
}


def example_judgement(release: str = RELEASE, release_kind: str = "release") -> Judgement:
    """Judgement of the gate's own records, so that the page is tested on the shapes the gate writes."""
    registry = claims_registry()
    criteria = {name: _criterion(name, spec.title) for name, spec in registry.criteria.items()}
    return Judgement(
        study="demo",
        release=release,
        release_kind=release_kind,
        standards=_standards(),
        criteria=criteria,
        verdicts={name: _verdict(claim, release, criteria) for name, claim in registry.claims.items()},
        asserted=(registry.headline.id,),
        headline=registry.headline.id,
        inputs={"tests": "b" * 64},
        counts={"run": 28, "skipped": 125, "failed": 0},
        significant={"A": 11, "B": 14, "C": 3},
        grounds=Grounds(seeds=1, origin="semi_synthetic", release_id="d" * 64, datasets=("example-screen",)),
    )


def _criterion(name: str, title: str) -> CriterionResult:
    outcome, reason = OUTCOMES.get(name, ("undecided", "interval spans the threshold"))
    part = CriterionPart(name="variance", outcome=Outcome(outcome), reason=reason, numbers={"q": 0.9})
    return CriterionResult(id=name, title=title, outcome=Outcome(outcome), reason=reason, parts=(part,))


def _verdict(claim: Claim, release: str, criteria: dict[str, CriterionResult]) -> Verdict:
    outcomes = tuple((name, criteria[name].outcome) for name in claim.criteria)
    refuted = any(outcome is Outcome.FAIL for _, outcome in outcomes)
    state = VerdictState.REFUTED if refuted else VerdictState.NOT_EVALUABLE
    label = "refuted (semi-synthetic)" if refuted else "not evaluable: no real perturbation outcomes in this study"
    reasons = tuple(f"criterion {name} {criteria[name].outcome}: {criteria[name].reason}" for name, _ in outcomes)
    return Verdict(
        claim=claim.id,
        sentence=claim.sentence,
        release=release,
        study="demo",
        state=state,
        label=label,
        reasons=reasons,
        notes=("warning QCS-16 (Cells unseen by the release): trained on evaluated cells",),
        criteria=outcomes,
        evidence_level=claim.evidence_level,
        polarity=claim.polarity,
        data_origin=DataOrigin.SEMI_SYNTHETIC,
        role_fit="full",
        context_mismatch="",
        provisional=True,
        untrained=False,
    )


def _standards() -> tuple[StandardResult, ...]:
    return tuple(
        StandardResult(
            id=item.id,
            version=item.version,
            title=item.title,
            kind=item.kind,
            severity=item.severity,
            applies_to=item.applies_to,
            outcome=Outcome.FAIL if item.id == "QCS-16" else Outcome.PASS,
            applies=item.id != "QCS-14",
            reason="trained on evaluated cells" if item.id == "QCS-16" else "",
            content_hash=item.content_hash,
        )
        for item in shipped_standards().values()
    )


def example_controls(release: str = RELEASE) -> pd.DataFrame:
    """Return control outcomes that are all as expected."""
    rows = [
        ("control-planted", "passes criteria a, b, c", "a pass, b pass, c pass", True, ""),
        ("control-coexpression", "attention_is_regulatory refuted", "attention_is_regulatory refuted", True, ""),
        (f"{release}.shuffled", "attention_is_regulatory refuted", "attention_is_regulatory refuted", True, ""),
    ]
    return pd.DataFrame(rows, columns=["control", "expected", "observed", "behaves", "reason"])


def joined_verdict(judgement: Judgement) -> dict:
    """``verdict.json`` joined with the criteria of ``claims.json``, as the report gets it."""
    written = documents(judgement)
    return {**written["verdict.json"], "criteria": written["claims.json"]["criteria"]}


def example_registry() -> tuple[TestSpec, ...]:
    """Return 153 declared tests: 95 confirmatory, spread over 37 analyses, short texts."""
    specs = []
    for number in range(153):
        analysis = number % 37 + 1
        specs.append(
            TestSpec(
                test_id=f"A{analysis:02d}.{number // 37 + 1}",
                analysis_no=analysis,
                analysis="Degree-preserving null" if analysis == 16 else f"Analysis of kind {analysis}",
                hypothesis="Recovery exceeds degree-preserving networks" if analysis == 16 else f"Statement {number}",
                test_type="Wilcoxon signed-rank",
                confirmatory=number < 95,
                family_c_primary=number < 27,
                roles=("primary_screen",),
                effect_kind="mean_difference",
                alternative="greater",
                resampling_unit="perturbation",
                comparison="attention minus variance, per perturbation",
                published={"effect": "+.186", "p": "<1e-24", "significant": "yes"} if number % 3 == 0 else {},
            )
        )
    return tuple(sorted(specs, key=lambda spec: (spec.analysis_no, spec.test_id)))


# A few pictures stand for all, which the tests of the figures draw: points, bars, nulls, many rows, one that cannot be
# drawn, and the one that the page shows as cards.
DRAWN = ("criteria_summary", "evaluable_flow", "layer_profile", "degree_null", "causal_ablation", "circularity")
BUILT = {16, 19, 21, 22, 25, 26, 31}


def example_tests(registry: tuple[TestSpec, ...], release: str = RELEASE) -> pd.DataFrame:
    rows = [_run(i, spec, release) if spec.analysis_no in BUILT else _skipped(spec) for i, spec in enumerate(registry)]
    frame = pd.DataFrame(rows)
    return frame.astype({"n": "Int64", "layer": "Int64", "seed": "Int64"})


def _skipped(spec: TestSpec) -> dict:
    return {
        "test_id": spec.test_id,
        "status": "skipped",
        "reason": "analysis not built",
        "significant_a": False,
    }


def _run(index: int, spec: TestSpec, release: str) -> dict:
    return {
        "test_id": spec.test_id,
        "status": "run",
        "reason": "",
        "statistic": 3.2,
        "effect": -0.3 + 0.017 * index,
        "effect_kind": spec.effect_kind,
        "ci_low": -0.34 + 0.017 * index,
        "ci_high": -0.26 + 0.017 * index,
        "p": 10.0 ** -(index % 9),
        "q_a": min(1.0, 10.0 ** -(index % 9) * 3),
        "significant_a": index % 9 > 2,
        "n": 97,
        "unit": "perturbations",
        "null_name": "curveball" if spec.analysis_no == 16 else "",
        "null_mean": 0.5,
        "null_sd": 0.01,
        "resamples_requested": 200,
        "resamples_done": 200,
        "seed": 7,
        "settings_used": json.dumps({"bootstrap": 200, "folds": 5}),
        "settings_hash": "0123456789abcdef",
        "dataset": "example-screen",
        "data_origin": "semi_synthetic",
        "role_fit": "full",
        "release": release,
        "cells_hash": "c" * 64,
        "layer": 5,
    }


def example_extended_registry() -> tuple[TestSpec, ...]:
    """Five extended tests of two analyses in three local families, one of them with published values."""
    declared = [
        (1, "Biological characterisation", "depth correlations", {"effect": "rho = -0.608", "q": "0.011"}, "published"),
        (1, "Biological characterisation", "depth correlations", {}, "published"),
        (1, "Biological characterisation", "partial correlations", {}, "published"),
        (7, "Noise ceiling", "noise ceiling", {}, "own"),
        (7, "Noise ceiling", "noise ceiling", {}, "own"),
    ]
    return tuple(
        TestSpec(
            test_id=f"E{number}.{place + 1 - 3 * (number == 7)}",
            analysis_no=number,
            analysis=analysis,
            hypothesis=f"Extended statement {place}",
            test_type="Spearman correlation",
            confirmatory=False,
            family_c_primary=False,
            roles=("primary_screen",),
            effect_kind="spearman_rho",
            alternative="two-sided",
            resampling_unit="layer",
            comparison="layer against AUROC",
            published=published,
            local_family=family,
            source=source,
        )
        for place, (number, analysis, family, published, source) in enumerate(declared)
    )


def example_extended(release: str = RELEASE) -> pd.DataFrame:
    """Extended rows in the columns of ``extended.parquet`` that the page reads: one run, one without p, two skipped."""
    run = {"status": "run", "reason": "", "ci_low": -0.8, "ci_high": -0.2, "n": 18, "unit": "layers"}
    run |= {"dataset": "example-screen", "data_origin": "semi_synthetic"}
    rows = [
        {**run, "test_id": "E1.1", "effect": -0.547, "p": 0.004, "q_local": 0.008, "significant_local": True},
        {**run, "test_id": "E1.2", "effect": 0.123, "p": None, "q_local": 1.0, "significant_local": False},
        {"test_id": "E1.3", "status": "skipped", "reason": "no reference set", "q_local": 1.0},
        {"test_id": "E7.1", "status": "skipped", "reason": "too few cells", "q_local": 1.0},
    ]
    return pd.DataFrame(rows).assign(effect_kind="spearman_rho", release=release).astype({"n": "Int64"})


def example_results(release: str = RELEASE, figures: tuple[str, ...] = DRAWN) -> ReportInputs:
    """Everything a report shows, for one semi-synthetic evaluation that refutes the claim."""
    judgement = example_judgement(release)
    written = documents(judgement)
    registry = example_registry()
    evaluation = {
        "study": "demo",
        "release": release,
        "release_kind": "release",
        "base_release": release,
        "seeds": 1,
        "data_origin": "semi_synthetic",
        "context_mismatch": "",
        "role_fit": "full",
        "untrained": False,
        "trained_on_evaluated_cells": True,
    }
    tables = {
        **_example_tables(),
        "criteria": criteria_table(judgement),
        "evaluation": pd.DataFrame([evaluation]),
        "control_outcomes": example_controls(release),
    }
    context = FigureContext(
        study="demo",
        release=release,
        data_origin="semi_synthetic",
        verdict_state=judgement.verdicts[judgement.headline].label,
        closed=True,
    )
    drawn = [draw(s, tables, context) for s in CATALOGUE if s.figure_id in figures]
    drawn += [draw(figure("null_calibration"), {}, context)]  # one that could not be drawn
    return ReportInputs(
        study="demo",
        release=release,
        verdict=joined_verdict(judgement),
        claims=written["claims.json"]["claims"],
        standards=written["standards.json"]["standards"],
        tests=example_tests(registry, release),
        registry=registry,
        tables=tables,
        figures=drawn,
        entries=entry_rows({item.figure_id: getattr(item, "reason", "") for item in drawn}),
        provenance={"release_hash": "a" * 64, "versions": {"numpy": "2.1.0", "torch": "2.6.0"}},
        statement=written["statement.json"],
        extended=example_extended(release),
        extended_registry=example_extended_registry(),
    )

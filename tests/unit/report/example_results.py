"""Test-only gate results in the shapes of `verdict.json`, `claims.json` and `standards.json`. No result is real."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pandas as pd

from interp_assets.figures.catalogue import CATALOGUE, draw
from interp_assets.figures.records import FigureContext
from interp_assets.report.inputs import ReportInputs
from interp_assets.report.reading import criteria_table
from qc_standards.records import TestSpec

RELEASE = "geneformer-small-2k"


def _example_tables() -> dict[str, pd.DataFrame]:
    path = Path(__file__).parents[1] / "figures" / "example_tables.py"
    spec = importlib.util.spec_from_file_location("example_tables", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.example_tables()


def example_verdict(release: str = RELEASE) -> dict:
    return {
        "release": release,
        "study": "demo",
        "headline": {
            "claim": "attention_is_regulatory",
            "state": "refuted",
            "text": "refuted (semi-synthetic)",
            "reasons": [
                "criterion a fails: attention - variance is -0.324 on average, interval -0.344 to -0.304",
                "criterion b fails: 18 of 18 intervals reach below .005",
                "criterion c fails: kept 0.31 (OLS) and 0.22 (boosting), 0.8 required",
            ],
        },
        "criteria": [
            _criterion("a", "Attention beats each gene-level baseline", "fail", "variance: -0.324 (-0.344 to -0.304)"),
            _criterion("b", "Attention adds to gene-level features", "fail", "18 of 18 intervals reach below .005"),
            _criterion(
                "c",
                "Recovery survives confounds and degree",
                "fail",
                "kept 0.31 and 0.22, 0.8 required; z 2.4",
            ),
            _criterion("d", "The model uses the attention", "not evaluable", "causal ablation not built"),
        ],
        "controls": [
            {
                "control": "control-planted",
                "expected": "passes criteria a, b, c",
                "observed": "a pass, b pass, c pass",
                "behaves": True,
                "reason": "",
            },
            {
                "control": "control-coexpression",
                "expected": "attention_is_regulatory refuted",
                "observed": "refuted",
                "behaves": True,
                "reason": "",
            },
            {
                "control": f"{release}.shuffled",
                "expected": "attention_is_regulatory refuted",
                "observed": "refuted",
                "behaves": True,
                "reason": "",
            },
        ],
        "flags": {"provisional": True, "role_fit": "full"},
    }


def _criterion(name: str, title: str, outcome: str, reason: str) -> dict:
    part = {"name": "variance", "outcome": outcome, "reason": reason}
    return {"id": name, "title": title, "outcome": outcome, "reason": reason, "parts": [part]}


def example_claims() -> list[dict]:
    return [
        {
            "claim_id": "attention_is_regulatory",
            "sentence": "The attention of this model may be read as a gene regulatory network.",
            "state": "refuted",
            "text": "refuted (semi-synthetic)",
            "evidence_level": "causal",
            "reasons": ["criteria a, b and c fail"],
            "tests": ["A16.2", "A21.5"],
            "criteria": ["a", "b", "c", "d"],
            "standards": ["QCS-05"],
            "polarity": "Supported means the reading is justified for this release in this study.",
            "provisional": True,
            "caveats": ["Passing c alone, or a alone, supports nothing."],
        },
        {
            "claim_id": "published_baselines_win",
            "sentence": "Trivial gene-level baselines rank the targets of a perturbation better than pairwise edges.",
            "state": "supported",
            "text": "supported (semi-synthetic)",
            "evidence_level": "intervention_consistent",
            "reasons": [],
            "tests": ["A21.1"],
            "criteria": ["baselines_win"],
            "standards": ["QCS-05"],
            "polarity": "Supported means the published finding holds here, which is bad news for attention.",
            "provisional": True,
            "published_claim": 9,
        },
    ]


def example_standards() -> list[dict]:
    common = {"version": "1.0.0", "severity": "critical"}
    return [
        {
            **common,
            "standard_id": "QCS-01",
            "title": "Declared tests are emitted",
            "outcome": "pass",
            "kind": "integrity",
            "reason": "153 of 153",
            "how_to_fix": "Emit a row for every declared test.",
        },
        {
            **common,
            "standard_id": "QCS-05",
            "title": "Trivial baselines are reported",
            "outcome": "fail",
            "kind": "validity",
            "reason": "mean is missing",
            "how_to_fix": "Run analysis 21.",
        },
    ]


def example_registry() -> tuple[TestSpec, ...]:
    """Return 153 declared tests: 95 confirmatory, spread over 37 analyses."""
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


def example_results(release: str = RELEASE, figures: tuple[str, ...] | None = None) -> ReportInputs:
    """Everything a report shows, for one semi-synthetic evaluation that refutes the claim."""
    verdict = example_verdict(release)
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
        "criteria": criteria_table(verdict),
        "evaluation": pd.DataFrame([evaluation]),
    }
    context = FigureContext(
        study="demo",
        release=release,
        data_origin="semi_synthetic",
        verdict_state=verdict["headline"]["text"],
        closed=True,
    )
    return ReportInputs(
        study="demo",
        release=release,
        verdict=verdict,
        claims=example_claims(),
        standards=example_standards(),
        tests=example_tests(registry, release),
        registry=registry,
        tables=tables,
        figures=[draw(s, tables, context) for s in CATALOGUE if figures is None or s.figure_id in figures],
        provenance={"release_hash": "a" * 64, "versions": {"numpy": "2.1.0", "torch": "2.6.0"}},
    )

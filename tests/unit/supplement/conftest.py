"""Test-only rows and tables behind the supplementary tables. No number here is a result."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from interp_assets.supplement.records import Evaluated
from qc_standards.extended import extended_frame, extended_tests
from qc_standards.multiplicity import results_frame
from qc_standards.records import Status, TestResult
from qc_standards.registry import declared_tests

# Rows that ran: test -> effect, p, dataset, origin. All others are skipped with a reason.
RUN = {
    "A06.3": (20.0, 0.001, "example-lung", "real"),
    "A10.1": (1.4, 0.01, "designs", "simulated"),
    "A10.5": (1.2, 0.01, "designs", "simulated"),
    "A10.6": (0.06, 0.3, "example-cortex", "real"),
    "A12.1": (0.52, 0.2, "example-cortex", "real"),
    "A19.2": (0.61, 0.001, "example-screen", "semi_synthetic"),
    "A22.1": (0.05, 0.01, "example-screen", "semi_synthetic"),
    "A28.2": (-0.1, 0.02, "example-second", "semi_synthetic"),
}
REASON = "study example fills no such role"


def _result(spec, run) -> TestResult:
    effect, p, dataset, origin = run
    return TestResult(
        test_id=spec.test_id,
        status=Status.RUN,
        effect=effect,
        effect_kind=spec.effect_kind,
        ci_low=effect - 0.1,
        ci_high=effect + 0.1,
        p=p,
        n=24,
        unit=spec.resampling_unit,
        settings_used='{"configuration":"Welch","genes":300,"min_positives":3}',
        dataset=dataset,
        data_origin=origin,
        role_fit="partial",
        release="example-release",
    )


def _skipped(spec) -> TestResult:
    return TestResult(test_id=spec.test_id, status=Status.SKIPPED, reason=REASON, effect_kind=spec.effect_kind)


@pytest.fixture(scope="session")
def tests() -> pd.DataFrame:
    return results_frame(
        _result(spec, RUN[spec.test_id]) if spec.test_id in RUN else _skipped(spec) for spec in declared_tests()
    )


@pytest.fixture(scope="session")
def extended() -> pd.DataFrame:
    run = (0.3, 0.01, "example-screen", "semi_synthetic")
    return extended_frame(
        _result(spec, run) if spec.test_id in ("E1.1", "E2.1", "E3.1") else _skipped(spec) for spec in extended_tests()
    )


@pytest.fixture
def found(tests, extended) -> Evaluated:
    claim = {
        "id": "beats_baselines",
        "sentence": "Attention beats <b>baselines</b>, $x$.",
        "label": "refuted",
        "evidence_level": "decoding",
        "tests": ["A22.1", "A21.5"],
    }
    return Evaluated(
        study="example",
        release="example-release",
        data_origin="semi_synthetic",
        tests=tests,
        extended=extended,
        tables=_tables(),
        claims=(claim,),
    )


def _tables() -> dict[str, pd.DataFrame]:
    return {
        "ortholog_overlap": _overlap(),
        "cssi_summary": _designs(),
        "cssi_real_attention": _attention(),
        "model_recovery": _recovery(),
        "sensitivity_grid": _grid(),
        "screen_scores": pd.DataFrame([{"dataset": "example-screen", "modality": "CRISPRi"}]),
        "reference_profile": _profile(),
        "value_weighted_profile": _weighted(),
        "regulator_characterisation": _regulators(),
    }


def _overlap() -> pd.DataFrame:
    about = {"dataset": "example-lung", "partner": "mouse", "cells": "all control cells", "pairs": "all"}
    rows = [{**about, "k": k, "n_pairs": 9000, "overlap": k / 5, "expected": 2.0, "fold": k / 10} for k in (100, 700)]
    return pd.DataFrame(rows).assign(p=[0.001, np.nan])


def _designs() -> pd.DataFrame:
    rows = [
        {
            "design": design,
            "cells": cells,
            "states": states,
            "strata": strata,
            "aggregator": aggregator,
            "strata_scored": 2.0,
            "datasets": 5,
            "f1_pooled": 0.8,
            "f1": 0.9 if strata == "oracle" else 0.6,
            "f1_ratio": 1.125 if strata == "oracle" else 0.75,
            "auroc": 0.95,
            "auroc_pooled": 0.9,
            "auroc_gain": 0.05,
        }
        for design, cells, states in (("synthetic", 200, 2), ("synthetic", 400, 4), ("structured", 500, 15))
        for strata in ("oracle", "estimated", "random")
        for aggregator in ("max", "mean")
    ]
    return pd.DataFrame(rows)


def _attention() -> pd.DataFrame:
    variants = {"mean": 0.56, "max": 0.61, "range": 0.58, "deviation": 0.57}
    rows = [
        {
            "layer": layer,
            "aggregator": name,
            "pooled": 0.55,
            "stratified": value,
            "gain": value - 0.55,
            "strata": strata,
            "draws": 1,
            "cells": 240,
            "positives": 30,
            "reference": "planted",
        }
        for strata in ("random", "estimated")
        for layer in range(8)
        for name, value in {**variants, "best": 0.61}.items()
    ]
    return pd.DataFrame(rows)


def _recovery() -> pd.DataFrame:
    rows = [
        {
            "reference": reference,
            "cells": cells,
            "score": score,
            "auroc": 0.5 + cells / 10_000,
            "ci_low": 0.48,
            "ci_high": 0.56,
            "p_relabelled": 0.3,
            "positives": 39,
            "pairs": 4000,
            "regulators": 12,
        }
        for reference in ("dorothea", "TRRUST v2", "planted")
        for cells in (500, 200)
        for score in ("attention", "correlation")
    ]
    return pd.DataFrame(rows)


def _grid() -> pd.DataFrame:
    rows = [
        {"condition": f"c{i}", "dataset": "example-screen", "score": score, "mean_auroc": 0.6, "p": p, "n": 24}
        for score in ("attention", "correlation", "variance")
        for i, p in enumerate([0.001, 0.02, np.nan, *[0.5] * 24])
    ]
    return pd.DataFrame(rows)


def _profile() -> pd.DataFrame:
    rows = [
        {
            "layer": layer,
            "depth": layer / 7,
            "database": database,
            "dataset": database.lower(),
            "auroc_attention": 0.5 + layer / 100,
            "auroc_correlation": 0.58,
            "n_pairs": 7000,
            "n_positives": 300,
            "missing_share_attention": 0.1,
            "missing_share_correlation": 0.0,
        }
        for layer in range(8)
        for database in ("KEGG", "TRRUST", "house list")
    ]
    return pd.DataFrame(rows)


def _weighted() -> pd.DataFrame:
    layers = [
        {"variant": kind, "layer": layer, "mean_auroc": base + step * layer, "reference_auroc": base - step * layer}
        for kind, base, step in (("cosine", 0.5, 0.01), ("attention", 0.6, 0.02))
        for layer in range(8)
    ]
    rows = [*layers, {"variant": "correlation", "layer": None, "mean_auroc": 0.63, "reference_auroc": np.nan}]
    about = {"dataset": "example-screen", "n": 24, "reference": "planted", "n_positive": 300}
    frame = pd.DataFrame(rows).assign(**about, minus_attention=-0.1, minus_correlation=-0.05)
    return frame.astype({"layer": "Int64"})


def _regulators() -> pd.DataFrame:
    rows = [
        {"regulator": name, "n_targets": targets, "auroc": auroc, "class": "unclassified"}
        for name, targets, auroc in (("GATA1", 5, 0.7), ("<i>TF</i>", 30, 0.6), ("EGR1", 1, 0.9))
    ]
    about = {"class_source": "", "dataset": "example-screen", "reference": "planted", "layer": 5, "n_candidates": 299}
    return pd.DataFrame(rows).assign(**about, ci_low=0.5, ci_high=0.8, p_exact=[np.nan, np.nan, 0.1])

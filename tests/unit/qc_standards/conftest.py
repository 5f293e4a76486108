"""Synthetic but self-consistent evaluations, in memory and as result folders."""

from __future__ import annotations

import functools
import importlib.util
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from qc_standards import results
from qc_standards.claims import claims_registry, required_controls
from qc_standards.gate import control_outcome, controls_frame, judge_standards, judge_tables
from qc_standards.metrics import settings_hash
from qc_standards.multiplicity import results_frame
from qc_standards.records import Status, TestResult, skipped
from qc_standards.registry import declared_tests


def _beside(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


example, ablation = _beside("example_tables"), _beside("example_ablation")

INTERVENED = (29, 32, 34, 36)
FOR_CONTROLS = (16, 19, 21, 22, 25, 26, *INTERVENED, 31)
NO_HEADS = "an edge table has no heads and no layers to intervene on"
NOT_FOR_CONTROLS = "controls run only the rows that claims need"
RELEASE = "geneformer-small-2k"


@dataclass
class Evaluation:
    """Results frame and tables of one evaluation, easy to bend in a test."""

    tests: pd.DataFrame
    tables: dict[str, pd.DataFrame]
    rows: list[TestResult] = field(default_factory=list)

    def judge(self, *claims: str, standards: Any = None):
        return judge_tables(self.tests, self.tables, claims or None, standards=standards)

    def write(self, folder: Path) -> Path:
        results.write_tests(folder, self.tests)
        results.write_tables(folder, self.tables)
        judgement = self.judge()
        results.write_standards(folder, judgement)
        results.write_claims(folder, judgement)
        results.write_verdict(folder, judgement)
        results.write_statement(folder, judgement)
        (folder / "provenance.json").write_text(json.dumps({"@graph": []}), encoding="utf-8")
        return folder

    def set(self, table: str, where: dict[str, Any], **values: Any) -> Evaluation:
        """Change cells of the rows of a table that match ``where``; at least one must."""
        frame = self.tables[table].copy()
        mask = np.ones(len(frame), dtype=bool)
        for column, value in where.items():
            mask &= (frame[column] == value).to_numpy()
        assert mask.any(), f"no row of {table} matches {where}"
        for column, value in values.items():
            if value is None:
                frame[column] = frame[column].astype(object)
            frame.loc[mask, column] = value
        self.tables[table] = frame
        return self

    def rebuild(self, *changed: TestResult) -> Evaluation:
        """Replace result rows by test id and correct again."""
        by_id = {row.test_id: row for row in self.rows}
        by_id.update({row.test_id: row for row in changed})
        self.rows = list(by_id.values())
        self.tests = results_frame(self.rows)
        return self


@dataclass(frozen=True)
class Numbers:
    """What distinguishes one evaluation from another."""

    release: str = RELEASE
    kind: str = "release"
    origin: str = "real"
    seeds: int = 3
    attention: float = 0.95  # mean AUROC of the edge score
    gain: float = 0.06
    kept: float = 0.96
    z: float = 60.0
    excess: float = 0.3
    drop: float | None = 0.3  # what silencing the best heads takes from the read-out; None for an edge table
    p: float = 1e-9


def result_row(test_id: str, numbers: Numbers, **changes: Any) -> TestResult:
    settings = {"bootstrap": 200, **({"by_targets": example.BY_TARGETS} if test_id == "A18.1" else {})}
    used = json.dumps(settings, separators=(",", ":"))
    values: dict[str, Any] = {
        "test_id": test_id,
        "status": Status.RUN,
        "statistic": 1.0,
        "effect": 0.1,
        "effect_kind": "delta_auroc",
        "ci_low": 0.05,
        "ci_high": 0.15,
        "p": numbers.p,
        "n": example.PERTURBATIONS,
        "unit": "perturbation",
        "resamples_requested": 200,
        "resamples_done": 200,
        "seed": 1,
        "settings_used": used,
        "settings_hash": settings_hash(used),
        "dataset": "screen-main",
        "data_origin": numbers.origin,
        "role_fit": "full",
        "release": numbers.release,
        "cells_hash": example.CELLS,
        "layer": 5,
    }
    return TestResult(**{**values, **changes})


def _test_rows(numbers: Numbers) -> list[TestResult]:
    rows = []
    for spec in declared_tests():
        if numbers.kind != "release" and spec.analysis_no not in FOR_CONTROLS:
            rows.append(skipped(spec.test_id, NOT_FOR_CONTROLS))
        elif spec.analysis_no in INTERVENED and numbers.drop is None:
            rows.append(skipped(spec.test_id, NO_HEADS))
        else:
            p = numbers.p if spec.confirmatory else None
            rows.append(result_row(spec.test_id, numbers, p=p))
    return rows


def _perturbation_auroc(numbers: Numbers) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    centre = {"attention": numbers.attention, "correlation": 0.65, "variance": 0.88, "mean": 0.86}
    centre |= {"one_minus_dropout": 0.84, "de_rate": 0.9}
    rows = []
    for (score, mean), i in product(centre.items(), range(example.PERTURBATIONS)):
        rows.append(
            {
                "role": "primary_screen",
                "dataset": "screen-main",
                "perturbation": f"TF{i}",
                "subset": "all",
                "score": score,
                "auroc": float(np.clip(rng.normal(mean, 0.02), 0, 1)),
                "n_positive": 25,
                "n_negative": 1100,
            }
        )
    return pd.DataFrame(rows)


def _baseline_differences(numbers: Numbers) -> pd.DataFrame:
    means = {"variance": 0.88, "mean": 0.86, "one_minus_dropout": 0.84}
    edges = {"attention": numbers.attention, "correlation": 0.65}
    rows = [
        {
            "role": "primary_screen",
            "dataset": "screen-main",
            "subset": "all",
            "baseline": baseline,
            "edge": edge,
            "n": example.PERTURBATIONS,
            "mean_edge": edges[edge],
            "mean_baseline": means[baseline],
            "mean_difference": means[baseline] - edges[edge],
            "ci_low": means[baseline] - edges[edge] - 0.01,
            "ci_high": means[baseline] - edges[edge] + 0.01,
            "p_two_sided": 1e-9,
            "p_edge_greater": 0.5,
            "q_edge_greater": 0.5,
            "resamples_requested": 200,
            "resamples_done": 200,
        }
        for edge, baseline in product(edges, means)
    ]
    return pd.DataFrame(rows)


def _incremental(numbers: Numbers) -> pd.DataFrame:
    gains = {"attention": numbers.gain, "correlation": 0.0}
    metrics = ("auroc", "auprc", "r_precision", "recall_10", "recall_50", "recall_100")
    rows = [
        {
            "role": "primary_screen",
            "dataset": "screen-main",
            "edge": edge,
            "split": split,
            "learner": learner,
            "metric": metric,
            "gene_only": 0.6,
            "gene_plus_edge": 0.6 + gain,
            **example.equality(gain),
            "n_perturbations": example.PERTURBATIONS,
            "n_pairs": 5000,
            "resamples_requested": 200,
            "resamples_done": 200,
        }
        for (edge, gain), split, learner, metric in product(
            gains.items(), ("perturbation", "target_gene", "joint"), ("logistic", "boosting"), metrics
        )
    ]
    return pd.DataFrame(rows)


def _residual_summary(numbers: Numbers) -> pd.DataFrame:
    rows = [
        {
            "role": "primary_screen",
            "dataset": "screen-main",
            "edge": edge,
            "reference": "planted",
            "learner": learner,
            "auroc_raw": 0.9,
            "raw_ci_low": 0.87,
            "raw_ci_high": 0.93,
            "auroc_residual": 0.5 + 0.4 * kept,
            "kept": kept,
            "kept_ci_low": kept - 0.03,
            "kept_ci_high": kept + 0.03,
            "sd_over_seeds": 0.001,
            "resamples_requested": 200,
            "resamples_done": 200,
        }
        for (edge, kept), learner in product(
            {"attention": numbers.kept, "correlation": 0.3}.items(), ("ols", "boosting")
        )
    ]
    return pd.DataFrame(rows)


def _degree_null(numbers: Numbers) -> pd.DataFrame:
    rows = [
        {
            "role": "primary_screen",
            "dataset": "screen-main",
            "edge": edge,
            "reference": "planted",
            "null": null,
            "observed": 0.6 + numbers.excess,
            "null_mean": 0.6,
            "null_sd": max(numbers.excess, 0.02) / max(abs(numbers.z), 1.0),
            "z": numbers.z,
            "p": 1 / 201,
            "exceed": 0,
            "draws_requested": 200,
            "draws_done": 200,
            "mean_jaccard": 0.84,
            "tradeable_regulators": 60,
            "degrees_kept": True,
        }
        for edge, null in product(("attention", "correlation"), ("label_shuffle", "curveball"))
    ]
    return pd.DataFrame(rows)


def build(numbers: Numbers) -> Evaluation:
    """An evaluation of one's own to bend: the same numbers always make the same one."""
    whole = _built(numbers)
    tables = {name: frame.copy() for name, frame in whole.tables.items()}
    return Evaluation(tests=whole.tests.copy(), tables=tables, rows=list(whole.rows))


@functools.lru_cache(maxsize=16)
def _built(numbers: Numbers) -> Evaluation:
    rows = _test_rows(numbers)
    tables = {
        "perturbation_auroc": _perturbation_auroc(numbers),
        "baseline_differences": _baseline_differences(numbers),
        "incremental_value": _incremental(numbers),
        "residual_summary": _residual_summary(numbers),
        "degree_null": _degree_null(numbers),
        **example.other_tables(numbers),
    }
    if numbers.drop is not None:
        tables |= ablation.ablation_tables(numbers.drop, example.PERTURBATIONS)
    if numbers.kind == "release":
        tables |= example.confound_tables(numbers.gain) | example.contract_tables()
        # An evaluation in which the number of every criterion was repeated, so that ``seeds`` alone decides.
        tables["stability"] = tables["stability"].assign(
            repeats=numbers.seeds, criterion="; ".join(claims_registry().criteria)
        )
    if ".shuffled" not in numbers.release:
        tables |= example.screen_tables()
    return Evaluation(tests=results_frame(rows), tables=tables, rows=rows)


PLANTED = Numbers(release="control-planted", kind="positive_control", origin="semi_synthetic")
COEXPRESSION = Numbers(
    release="control-coexpression",
    kind="negative_control",
    origin="semi_synthetic",
    attention=0.65,
    gain=0.0,
    kept=0.1,
    z=5.0,
    excess=0.05,
    drop=None,
)
SHUFFLED = Numbers(
    release=f"{RELEASE}.shuffled",
    kind="negative_control",
    origin="semi_synthetic",
    attention=0.5,
    gain=0.0,
    kept=0.1,
    z=0.2,
    excess=0.0,
    drop=None,
)


@pytest.fixture(scope="session")
def passed_standards():
    """Real standard results of a clean release: every standard applies and passes."""
    evaluation = build(Numbers())
    rows = [
        {"control": name, "expected": "", "observed": "", "behaves": True, "reason": ""}
        for name in required_controls(RELEASE)
    ]
    evaluation.tables["control_outcomes"] = pd.DataFrame(rows)
    judged = judge_standards(evaluation.tests, evaluation.tables)
    assert all(result.outcome == "pass" for result in judged), [r for r in judged if r.outcome != "pass"]
    return judged


@pytest.fixture(scope="session")
def control_rows(passed_standards) -> list[dict[str, Any]]:
    """Rows of control_outcomes from three judged controls."""
    controls = (PLANTED, COEXPRESSION, SHUFFLED)
    return [control_outcome(build(numbers).judge(standards=passed_standards)) for numbers in controls]


@pytest.fixture(scope="session")
def example_tables() -> Any:
    """The module with the good tables of confounds and screens."""
    return example


@pytest.fixture
def numbers() -> type[Numbers]:
    """The record that says what an evaluation looks like."""
    return Numbers


@pytest.fixture
def make_row() -> Callable[..., TestResult]:
    """A complete result row of a declared test: ``make_row(test_id, numbers, **changes)``."""
    return result_row


@pytest.fixture
def planted() -> Evaluation:
    return build(PLANTED)


@pytest.fixture
def coexpression() -> Evaluation:
    return build(COEXPRESSION)


@pytest.fixture
def make_release(control_rows: list[dict[str, Any]]) -> Callable[..., Evaluation]:
    """Evaluation of a release with behaving controls; keyword arguments as in `Numbers`."""

    def make(**changes: Any) -> Evaluation:
        evaluation = build(Numbers(**changes))
        evaluation.tables["control_outcomes"] = controls_frame(control_rows, RELEASE)
        return evaluation

    return make


@pytest.fixture(scope="session")
def planted_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete folder of a passing control; copy before changing it."""
    return build(PLANTED).write(tmp_path_factory.mktemp("store") / "control-planted")


@pytest.fixture(scope="session")
def refuted_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete folder of a negative control; copy before changing it."""
    return build(COEXPRESSION).write(tmp_path_factory.mktemp("store") / "control-coexpression")


@pytest.fixture
def copy_of(tmp_path: Path) -> Callable[[Path], Path]:
    """Copy of a result folder to break."""
    import shutil

    def copy(folder: Path) -> Path:
        target = tmp_path / folder.name
        shutil.copytree(folder, target)
        return target

    return copy

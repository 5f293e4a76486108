"""Time of analyses 25, 26 and 31 at the size of the demo study, beside what a user would run instead.

    python benchmarks/incremental.py [--perturbations 100] [--genes 1200] [--listed 1.0]

Prints seconds of each analysis with nothing remembered and with a second release in the same process, and
the ratio of one cell to the same cell by scikit-learn's ``cross_val_predict`` with a naive bootstrap.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd

from interp_assets.analyses.incremental_value import conditional_incremental_value, hard_generalisation_splits
from interp_assets.analyses.inputs import AnalysisInputs, AnalysisOutput, RoleInputs
from interp_assets.analyses.residualisation import cross_fitted_residualisation
from interp_assets.edges.records import AttentionEdges, EdgeMatrix, Reference
from interp_assets.stats.crossfit import Logistic, plan_folds
from interp_assets.stats.fit_memory import FitMemory
from interp_assets.stats.incremental import candidate_pairs, incremental_gains
from qc_standards.records import TestSpec

SETTINGS = {
    "analysis_depth": 13 / 17,
    "bootstrap": 200,
    "folds": 5,
    "boosting": {"iterations": 60, "learning_rate": 0.15, "leaves": 15},
    "power_gain": 0.005,
    "power_simulations": 20,
    "residual_seeds": 10,
    "residual_boosting_seeds": 3,
    "recall_at": [10, 50, 100],
}
ANALYSES: tuple[tuple[int, int, Callable[[AnalysisInputs], AnalysisOutput]], ...] = (
    (25, 3, cross_fitted_residualisation),
    (26, 2, conditional_incremental_value),
    (31, 3, hard_generalisation_splits),
)


def edges(name: str, genes: np.ndarray, score: np.ndarray, layer: int | None = None) -> EdgeMatrix:
    return EdgeMatrix(
        name=name,
        genes=genes,
        score=score.astype(np.float32),
        cells_behind=np.full(score.shape, 100, np.int32),
        cells_hash="benchmark",
        layer=layer,
    )


def screen(perturbations: int, size: int, listed: float, release: int) -> RoleInputs:
    rng = np.random.default_rng(0)
    genes = np.array([f"G{i:05d}" for i in range(size)])
    source = np.sort(rng.choice(size, perturbations, replace=False)).astype(np.int32)
    z = rng.normal(size=size)
    network = rng.random((size, size)) < np.minimum(0.5, 0.012 * np.exp(1.2 * z))
    network[~np.isin(np.arange(size), source)] = False
    np.fill_diagonal(network, val=False)
    label = (network[source] & (rng.random((perturbations, size)) < 0.7)).astype(np.int8)
    label[rng.random(label.shape) >= listed] = -1
    label[np.arange(perturbations), source] = -1
    features = pd.DataFrame(
        {
            "mean": np.exp(0.6 * z + rng.normal(0, 0.8, size)),
            "variance": np.exp(z),
            "dropout": 1 / (1 + np.exp(0.5 * z + rng.normal(0, 1, size))),
            "out_degree": rng.poisson(2, size),
        },
        index=genes,
    )
    noise = np.random.default_rng([1, release]).normal(0, 0.5, (size, size))
    attention = AttentionEdges(
        release=f"release-{release}",
        dataset="benchmark",
        genes=genes,
        layers=1,
        heads=1,
        cells_hash="benchmark",
        layer_matrix=lambda layer: edges("attention", genes, network + noise, layer),
    )
    regulator, target = np.nonzero(network)
    reference = Reference(
        name="planted",
        genes=genes,
        source=regulator.astype(np.int32),
        target=target.astype(np.int32),
        directed=True,
        regulators=source,
    )
    return RoleInputs(
        role="primary_screen",
        dataset="benchmark",
        data_origin="simulated",
        role_fit="full",
        genes=genes,
        perturbations=genes[source],
        source=source,
        label=label,
        informative=np.ones(size, bool),
        features=features,
        attention=attention,
        correlation=edges("correlation", genes, np.abs(0.3 * z + rng.normal(0, 1, (size, size)))),
        trivial={},
        references={"planted": reference},
        primary_reference="planted",
        exclusions=pd.DataFrame(),
        evaluability=pd.DataFrame(),
    )


def inputs(number: int, rows: int, role: RoleInputs) -> AnalysisInputs:
    tests = tuple(
        TestSpec(
            test_id=f"A{number}.{i}",
            analysis_no=number,
            analysis="",
            hypothesis="",
            test_type="",
            confirmatory=False,
            family_c_primary=False,
            roles=("primary_screen",),
            effect_kind="",
            alternative="",
            resampling_unit="",
            comparison="",
        )
        for i in range(1, rows + 1)
    )
    return AnalysisInputs(
        study="benchmark",
        release=role.attention.release,
        tests=tests,
        roles={"primary_screen": role},
        settings=SETTINGS,
    )


@contextmanager
def timed(what: str, into: dict[str, float]) -> Iterator[None]:
    start, worked = time.perf_counter(), time.process_time()
    yield
    into[what] = time.perf_counter() - start
    worked = time.process_time() - worked
    print(f"{what:55s} {into[what]:7.2f} s, {worked:7.2f} s of one core", flush=True)


def compare_with_scikit_learn(role: RoleInputs) -> None:
    """Gene-only and gene + edge under the perturbation split, AUROC and its bootstrap, both ways."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import GroupKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    took: dict[str, float] = {}
    pairs = candidate_pairs(role.label, role.source)
    gene = role.features[["mean", "variance", "dropout"]].to_numpy()
    edge = role.attention.layer_matrix(0).score[pairs.source, pairs.target].astype(np.float64)[:, None]
    with timed("one logistic cell, all metrics", took):
        plan = plan_folds("perturbation", pairs.perturbation, pairs.target, folds=5, seed=[0])
        incremental_gains(
            gene,
            edge,
            pairs,
            plan,
            Logistic(),
            recall_at=[10, 50, 100],
            resamples=200,
            seed=[0],
            memory=FitMemory(),
        )
    with timed("the same with scikit-learn, AUROC alone", took):
        model = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=1000))
        blocks = (gene[pairs.target], np.column_stack([gene[pairs.target], edge]))
        scores = [
            cross_val_predict(
                model, x, pairs.positive, groups=pairs.perturbation, cv=GroupKFold(5), method="decision_function"
            )
            for x in blocks
        ]
        rng, units = np.random.default_rng(0), pairs.perturbations
        members = [np.flatnonzero(pairs.perturbation == u) for u in range(units)]
        for _ in range(200):
            rows = np.concatenate([members[u] for u in rng.integers(0, units, units)])
            for score in scores:
                roc_auc_score(pairs.positive[rows], score[rows])
    ours, theirs = took.values()
    print(f"{'ratio':55s} {theirs / ours:7.1f} x")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--perturbations", type=int, default=100)
    parser.add_argument("--genes", type=int, default=1200)
    parser.add_argument("--listed", type=float, default=1.0, help="share of pairs that the screen lists")
    asked = parser.parse_args()
    took: dict[str, float] = {}
    for release in (0, 1):
        role = screen(asked.perturbations, asked.genes, asked.listed, release)
        for number, rows, analysis in ANALYSES:
            with timed(f"release {release}, analysis {number}", took):
                analysis(inputs(number, rows, role))
    for release in (0, 1):
        total = sum(seconds for what, seconds in took.items() if what.startswith(f"release {release}"))
        print(f"{f'release {release}, 25 + 26 + 31':55s} {total:7.2f} s")
    compare_with_scikit_learn(screen(asked.perturbations, asked.genes, asked.listed, 0))


if __name__ == "__main__":
    main()

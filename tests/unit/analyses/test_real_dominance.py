"""Gene-level dominance on real screens, recomputed from the raw files with anndata, scipy and scikit-learn alone.

Nothing of the platform takes part in the expected numbers: cells are read and normalised here, ranks come from scipy,
AUROCs from scikit-learn, perturbation by perturbation.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy.stats import rankdata
from sklearn.metrics import roc_auc_score

from interp_assets.analyses.assemble import DatasetArtefacts
from interp_assets.analyses.screens import Limits, Screen, compare_screens
from interp_assets.cells import artefacts
from interp_assets.cells.datasets import load_datasets
from interp_assets.cells.records import PreparedCells, ScreenLabels, Unavailable
from interp_assets.cells.sources import SourceContext

pytestmark = pytest.mark.mirror
LINES = ("perturbqa_k562", "perturbqa_rpe1")
LABELS = {
    "perturbqa_k562": "perturbqa_k562_crispri_de_labels.tsv.gz",
    "perturbqa_rpe1": "perturbqa_rpe1_crispri_de_labels.tsv.gz",
}
PANEL_OF = "perturbqa_k562"
SCORES = ("mean", "variance", "one_minus_dropout", "correlation")


@pytest.fixture(scope="module")
def pancreas(data_mirror: Path) -> pd.DataFrame:
    """Log1p of counts per 10,000, cells x genes with at least one count, from the file itself."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = anndata.read_h5ad(data_mirror / "cells/baron_pancreas_human.h5ad")
    counts = pd.DataFrame(data.X.toarray(), columns=data.var_names).T.groupby(level=0, sort=False).sum().T
    counts = counts.loc[:, counts.sum() > 0]
    return np.log1p(counts.div(counts.sum(axis=1), axis=0) * 1e4)


def computed(dataset: str, mirror: Path, tmp: Path) -> tuple[dict[str, pd.DataFrame], PreparedCells]:
    datasets = dict(load_datasets(None))
    # The panel keeps the plain script short; the wider universe of the second line is the same code.
    datasets[dataset] = replace(datasets[dataset], universe=datasets[PANEL_OF].universe)
    context = SourceContext(mirror=mirror, wheels=tmp, cache=tmp, allow_download=False)
    archive = artefacts.Archive(datasets=datasets, context=context)
    cells = artefacts.prepared_cells(archive, dataset)
    assert isinstance(cells, PreparedCells)
    labels = artefacts.screen_outcomes(archive, dataset, cells)
    assert isinstance(labels, ScreenLabels)
    data = DatasetArtefacts(
        labels=labels,
        features=artefacts.features(archive, cells, None).table,
        edges=artefacts.pairwise_edges(cells),
        references={},
    )
    screen = Screen(role="primary_screen", role_fit="full", data=data, attention=Unavailable(dataset, "no release"))
    limits = Limits(min_positives=3, min_negatives=3, bootstrap=200, folds=5, seed=0)
    return compare_screens([screen], 0.5, limits), cells


def recomputed(log: pd.DataFrame, labels: pd.DataFrame, genes: list[str]) -> pd.DataFrame:
    """AUROC of every score on the pairs with both genes scored, one row a perturbation."""
    panel = log[genes]
    ranks = np.apply_along_axis(rankdata, 0, panel.to_numpy())
    correlation = pd.DataFrame(np.abs(np.corrcoef(ranks, rowvar=False)), index=genes, columns=genes)
    gene_level = {"mean": panel.mean(), "variance": panel.var(), "one_minus_dropout": (panel > 0).mean()}
    inside = labels["perturbed_gene"].isin(genes) & labels["target_gene"].isin(genes)
    kept = labels[inside & (labels["perturbed_gene"] != labels["target_gene"])]
    rows = []
    for perturbation, pairs in kept.groupby("perturbed_gene"):
        y, target = pairs["is_de"].to_numpy(), pairs["target_gene"]
        if y.sum() < 3 or (1 - y).sum() < 3:
            continue
        found = {name: roc_auc_score(y, values[target]) for name, values in gene_level.items()}
        rows.append({**found, "correlation": roc_auc_score(y, correlation.loc[perturbation, target])})
    return pd.DataFrame(rows)


@pytest.mark.parametrize("dataset", LINES)
def test_single_genes_beat_correlation_and_the_numbers_are_those_of_a_plain_script(
    dataset: str, pancreas: pd.DataFrame, data_mirror: Path, tmp_path: Path
) -> None:
    tables, cells = computed(dataset, data_mirror, tmp_path)
    labels = pd.read_csv(data_mirror / "perturb" / LABELS[dataset], sep="\t", keep_default_na=False)
    expected = recomputed(pancreas, labels, cells.universe.tolist())
    table = tables["screen_scores"]
    common = table[(table["basis"] == "common") & (table["subset"] == "all")].set_index("score")
    assert common["n_perturbations"].unique().tolist() == [len(expected)]
    for name in SCORES:
        # Single precision of the stored log values moves a rank here and there.
        assert common.loc[name, "mean_auroc"] == pytest.approx(expected[name].mean(), abs=2e-4), name
    gain = expected["variance"] - expected["correlation"]
    assert gain.mean() > 0.1
    assert gain.mean() / (gain.std() / np.sqrt(len(gain))) > 10
    assert common.loc["variance", "ci_low"] > common.loc["correlation", "ci_high"]
    assert common.loc["de_rate", "mean_auroc"] > common.loc["variance", "mean_auroc"]

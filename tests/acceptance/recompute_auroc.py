"""Recompute the per-perturbation AUROC of `bench` with plain scikit-learn and compare to 1e-9.

Reads the raw label table and the stored edge scores; shares no statistics code with the platform.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

LABELS = "perturb/perturbqa_k562_crispri_de_labels.tsv.gz"
DATASET = "perturbqa_k562"
TOLERANCE = 1e-9


def stored_scores(store: Path, release: str) -> dict[str, pd.DataFrame]:
    """Edge scores by name as gene x gene frames, read from the store's plain arrays."""
    attention = store / "attention" / release / DATASET
    table = pd.read_parquet(store / "bench" / release / "tables" / "lineage.parquet")
    layer = int(table.loc[table["score"] == "attention", "layer"].iloc[0])
    names = pd.read_json(attention / "genes.json", typ="series").tolist()
    sums = np.load(attention / f"layer-{layer}-mean.npy").astype(np.float64)
    counts = np.load(attention / "counts.npy")
    mean = np.where(counts > 0, (sums / np.maximum(counts, 1)).astype(np.float32).astype(np.float64), np.nan)
    scores = {"attention": pd.DataFrame(mean, index=names, columns=names)}
    for name in ("correlation", "rank_distance", "co_detection"):
        folder = store / "cells" / DATASET / "correlation" / name
        genes = np.load(folder / "genes.npy")
        matrix = np.load(folder / "score.npy").astype(np.float64)
        scores[name] = pd.DataFrame(matrix, index=genes, columns=genes).loc[names, names]
    return scores


def recomputed(labels: pd.DataFrame, scores: dict[str, pd.DataFrame], features: pd.DataFrame) -> pd.DataFrame:
    """AUROC of every score for every perturbation with at least three positives and three negatives."""
    genes = scores["attention"].index
    kept = labels[labels["perturbed_gene"].isin(genes) & labels["target_gene"].isin(genes)]
    kept = kept[kept["perturbed_gene"] != kept["target_gene"]]
    off_diagonal = ~np.eye(len(genes), dtype=bool)
    lowest = {name: np.nanmin(frame.to_numpy()[off_diagonal]) for name, frame in scores.items()}
    gene_level = {
        "variance": features["variance"],
        "mean": features["mean"],
        "one_minus_dropout": 1 - features["dropout"],
        "tf_out_degree": features["out_degree"],
    }
    rows = []
    for perturbation, pairs in kept.groupby("perturbed_gene"):
        label, target = pairs["is_de"].astype(int).to_numpy(), pairs["target_gene"].to_numpy()
        if label.sum() < 3 or (1 - label).sum() < 3:
            continue
        for name, frame in scores.items():
            score = frame.loc[perturbation, target].fillna(lowest[name]).to_numpy()
            rows.append((perturbation, name, roc_auc_score(label, score)))
        for name, values in gene_level.items():
            rows.append((perturbation, name, roc_auc_score(label, values.loc[target].to_numpy())))
    return pd.DataFrame(rows, columns=["perturbation", "score", "expected"])


def main(arguments: list[str]) -> int:
    """Compare every stored AUROC of subset `all`; the largest difference decides."""
    store, releases = Path(arguments[0]), arguments[1:]
    path = Path(os.environ["INTERP_DATA_MIRROR"]) / LABELS
    labels = pd.read_csv(path, sep="\t", keep_default_na=False)
    folder = store / "cells" / DATASET / "gene_features" / "features"
    features = pd.read_parquet(folder / "table.parquet")
    for release in releases:
        expected = recomputed(labels, stored_scores(store, release), features)
        stored = pd.read_parquet(store / "bench" / release / "tables" / "perturbation_auroc.parquet")
        stored = stored[stored["subset"] == "all"]
        both = expected.merge(stored, on=["perturbation", "score"], how="outer", indicator=True)
        lonely = both[both["_merge"] != "both"]
        if len(lonely):
            print(f"{release}: {len(lonely)} rows only on one side, such as {lonely.iloc[0].to_dict()}")
            return 1
        worst = float((both["expected"] - both["auroc"]).abs().max())
        print(f"{release}: {len(both)} AUROCs agree with scikit-learn within {worst:.1e}")
        if not worst <= TOLERANCE:
            return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

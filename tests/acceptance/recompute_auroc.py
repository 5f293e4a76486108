"""Recompute the per-perturbation AUROC of `bench` with plain scikit-learn and compare to 1e-9.

Reads the raw label tables and the stored edge scores; shares no statistics code with the platform. Every screen of
listed pairs is checked against `screen_scores`, the primary one perturbation by perturbation.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

LABELS = {
    "perturbqa_k562": "perturb/perturbqa_k562_crispri_de_labels.tsv.gz",
    "perturbqa_k562_all_genes": "perturb/perturbqa_k562_crispri_de_labels.tsv.gz",
    "perturbqa_rpe1": "perturb/perturbqa_rpe1_crispri_de_labels.tsv.gz",
    "perturbqa_jurkat": "perturb/perturbqa_jurkat_crispri_de_labels.tsv.gz",
}
PRIMARY = "perturbqa_k562"
TOLERANCE = 1e-9


def stored_scores(store: Path, release: str, dataset: str) -> dict[str, pd.DataFrame]:
    """Edge scores by name as gene x gene frames, read from the store's plain arrays."""
    attention = store / "attention" / release / dataset
    table = pd.read_parquet(store / "bench" / release / "tables" / "lineage.parquet")
    layer = int(table.loc[table["score"] == "attention", "layer"].iloc[0])
    names = pd.read_json(attention / "genes.json", typ="series").tolist()
    sums = np.load(attention / f"layer-{layer}-mean.npy").astype(np.float64)
    counts = np.load(attention / "counts.npy")
    mean = np.where(counts > 0, (sums / np.maximum(counts, 1)).astype(np.float32).astype(np.float64), np.nan)
    scores = {"attention": pd.DataFrame(mean, index=names, columns=names)}
    for name in ("correlation", "rank_distance", "co_detection"):
        folder = store / "cells" / dataset / "correlation" / name
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
    rates = training_rates(labels[labels["target_gene"].isin(features.index)])
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
        if (pairs["split"] == "test").all():
            rows.append((perturbation, "de_rate", roc_auc_score(label, rates.loc[target].to_numpy())))
    return pd.DataFrame(rows, columns=["perturbation", "score", "expected"])


def training_rates(labels: pd.DataFrame) -> pd.Series:
    """How often each gene answers to the training perturbations, drawn to their overall rate by one pair."""
    training = labels[(labels["split"] == "train") & (labels["perturbed_gene"] != labels["target_gene"])]
    overall = training["is_de"].mean()
    grouped = training.groupby("target_gene")["is_de"].agg(["sum", "count"])
    rates = (grouped["sum"] + overall) / (grouped["count"] + 1)
    return rates.reindex(sorted(set(labels["target_gene"])), fill_value=overall)


def compared(expected: pd.DataFrame, stored: pd.DataFrame, keys: list[str], what: str) -> bool:
    """Whether both sides hold the same rows and agree; a score that only one side could compute is a failure."""
    both = expected.merge(stored, on=keys, how="outer", indicator=True)
    lonely = both[both["_merge"] != "both"]
    if len(lonely):
        print(f"{what}: {len(lonely)} rows only on one side, such as {lonely.iloc[0].to_dict()}")
        return False
    worst = float((both["expected"] - both["found"]).abs().max())
    print(f"{what}: {len(both)} numbers agree with scikit-learn within {worst:.1e}")
    return worst <= TOLERANCE


def agree(store: Path, release: str, dataset: str, labels: pd.DataFrame) -> bool:
    """Whether one release's stored numbers on one screen are those of scikit-learn."""
    features = pd.read_parquet(store / "cells" / dataset / "gene_features" / "features" / "table.parquet")
    expected = recomputed(labels, stored_scores(store, release, dataset), features)
    tables = store / "bench" / release / "tables"
    screens = pd.read_parquet(tables / "screen_scores.parquet")
    mine = (screens["dataset"] == dataset) & (screens["subset"] == "all") & (screens["basis"] == "common")
    # The rate of other perturbations is cross-fitted within training, so that only test ones can be made again.
    means = expected[expected["score"] != "de_rate"].groupby("score", as_index=False)["expected"].mean()
    stored = screens[mine & (screens["score"] != "de_rate")].rename(columns={"mean_auroc": "found"})
    good = compared(means, stored[["score", "found"]], ["score"], f"{release} on {dataset}, means")
    if dataset == PRIMARY:
        each = pd.read_parquet(tables / "perturbation_auroc.parquet").rename(columns={"auroc": "found"})
        each = each[each["subset"] == "all"]
        tested = set(expected.loc[expected["score"] == "de_rate", "perturbation"])
        each = each[(each["score"] != "de_rate") | each["perturbation"].isin(tested)]
        columns = ["perturbation", "score", "found"]
        good &= compared(expected, each[columns], columns[:2], f"{release} on {dataset}")
    return good


def main(arguments: list[str]) -> int:
    """Compare every screen of listed pairs; any difference above the tolerance fails."""
    store, releases = Path(arguments[0]), arguments[1:]
    mirror = Path(os.environ["INTERP_DATA_MIRROR"])
    tables = {name: pd.read_csv(mirror / file, sep="\t", keep_default_na=False) for name, file in LABELS.items()}
    found = [agree(store, release, name, labels) for release in releases for name, labels in tables.items()]
    return 0 if found and all(found) else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

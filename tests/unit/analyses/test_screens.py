"""Screens side by side: reach is counted honestly, scores equal plain ones, nothing is compared on unlike pairs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from interp_assets.analyses.assemble import DatasetArtefacts, role_inputs
from interp_assets.analyses.perturbation_first import score_aurocs
from interp_assets.analyses.screens import Limits, Screen, compare_screens
from interp_assets.cells.records import ScreenLabels, Unavailable
from interp_assets.edges.records import AttentionEdges, EdgeMatrix
from interp_assets.edges.scores import restrict_edges
from interp_assets.settings import RoleFilling

LIMITS = Limits(min_positives=3, min_negatives=3, bootstrap=50, folds=5, seed=0)
HASH = "a" * 64


def matrix(name: str, genes: np.ndarray, score: np.ndarray) -> EdgeMatrix:
    behind = np.ones(score.shape, np.int32)
    return EdgeMatrix(name=name, genes=genes, score=score.astype(np.float32), cells_behind=behind, cells_hash=HASH)


def screen(
    *,
    genes: int = 40,
    scored: int = 12,
    unscored: int = 4,
    known: int = 30,
    kind: str = "cells",
    listed: float = 1.0,
    missing: float = 0.1,
    seed: int = 0,
    role: str = "primary_screen",
) -> Screen:
    """A screen whose edges carry nothing; ``known`` genes are in the vocabulary of the release."""
    rng = np.random.default_rng(seed)
    names = np.array([f"G{i:02d}" for i in range(genes)])
    perturbed = np.concatenate([names[:scored], [f"X{i}" for i in range(unscored)]])
    label = (rng.random((perturbed.size, genes)) < 0.3).astype(np.int8)
    label[rng.random(label.shape) >= listed] = -1
    label[np.arange(scored), np.arange(scored)] = -1
    labels = ScreenLabels(
        dataset="toy",
        data_origin="real",
        kind=kind,
        modality="crispri",
        perturbations=perturbed,
        genes=names,
        label=label,
        informative=np.ones(genes, bool),
        table=pd.DataFrame(),
        exclusions=pd.DataFrame({"perturbation": ["Z"], "reason": ["3 cells, 30 needed"]}, dtype=object),
    )
    columns = {name: rng.random(genes) for name in ("mean", "variance", "dropout")}
    features = pd.DataFrame({**columns, "out_degree": 0.0, "in_published": np.arange(genes) < 5}, index=names)
    edges = {}
    for name in ("correlation", "rank_distance", "co_detection"):
        score = rng.random((genes, genes))
        score[rng.random(score.shape) < missing] = np.nan
        edges[name] = matrix(name, names, score)
    kept = names[genes - known :]
    attention = AttentionEdges(
        release="toy-release",
        dataset="toy",
        genes=kept,
        layers=3,
        heads=1,
        cells_hash=HASH,
        layer_matrix=lambda layer: matrix("attention", kept, np.random.default_rng(layer).random((known, known))),
    )
    data = DatasetArtefacts(labels=labels, features=features, edges=edges, references={})
    return Screen(role=role, role_fit="full", data=data, attention=attention)


def scores(tables: dict[str, pd.DataFrame], basis: str, subset: str = "all") -> pd.DataFrame:
    table = tables["screen_scores"]
    return table[(table["basis"] == basis) & (table["subset"] == subset)].set_index("score")


def test_every_score_on_the_common_basis_reads_the_same_pairs() -> None:
    tables = compare_screens([screen()], 0.5, LIMITS)
    common = scores(tables, "common")
    assert common["n_perturbations"].nunique() == 1
    assert common["n_pairs"].nunique() == 1
    own = scores(tables, "own")
    assert own.loc["mean", "n_pairs"] > own.loc["correlation", "n_pairs"] > own.loc["attention", "n_pairs"]


def test_the_common_basis_equals_what_the_tests_of_the_battery_read(make_inputs) -> None:
    """Same perturbations, candidates and filled scores as analysis 19 on the same screen."""
    one = screen(missing=0.3)
    role = role_inputs(
        "primary_screen", RoleFilling(dataset="toy", role_fit="full"), one.data, one.attention, "none", (3, 3)
    )
    inputs = make_inputs(19)
    frame, _ = score_aurocs(inputs, role, 1)
    expected = frame[frame["subset"] == "all"].groupby("score")["auroc"].mean()
    found = scores(compare_screens([one], 0.5, LIMITS), "common")["mean_auroc"]
    for name in ("attention", "correlation", "rank_distance", "co_detection", "mean", "variance"):
        assert found[name] == pytest.approx(expected[name], abs=1e-12), name


def test_gene_level_scores_equal_scikit_learn_on_every_listed_pair() -> None:
    one = screen(listed=0.7, kind="outcome_only")
    labels, values = one.data.labels.label, one.data.features["variance"].to_numpy()
    enough = ((labels == 1).sum(axis=1) >= 3) & ((labels == 0).sum(axis=1) >= 3)
    plain = [roc_auc_score(row[row >= 0], values[row >= 0]) for row in labels[enough]]
    own = scores(compare_screens([one], 0.5, LIMITS), "own")
    assert own.loc["variance", "mean_auroc"] == pytest.approx(np.mean(plain), abs=1e-12)
    assert own.loc["variance", "n_perturbations"] == len(plain)
    assert own.loc["variance", "ci_low"] <= np.mean(plain) <= own.loc["variance", "ci_high"]


def test_reach_and_reasons_add_up() -> None:
    tables = compare_screens([screen()], 0.5, LIMITS)
    reach = tables["screen_evaluability"].set_index("score")
    assert reach.loc["gene_level", "perturbations"] == 16
    assert reach.loc["pairwise", "perturbations"] == 12
    assert reach.loc["attention", "perturbations"] == 2  # G10 and G11; the release knows the last 30 of 40 genes
    assert reach.loc["published", "perturbations"] == 5
    losses = tables["screen_losses"]
    told = losses[losses["score"] == "attention"].set_index("reason")["perturbations"]
    assert told["3 cells, 30 needed"] == 1
    assert told["perturbed gene is not scored"] == 4
    assert told["perturbed gene is not in the vocabulary"] == 10


def test_a_screen_whose_perturbed_genes_are_not_measured_has_gene_level_scores_only() -> None:
    tables = compare_screens([screen(scored=0, unscored=8)], 0.5, LIMITS)
    assert set(tables["screen_scores"]["level"]) == {"gene_level"}
    assert set(tables["screen_scores"]["basis"]) == {"own"}
    reach = tables["screen_evaluability"].set_index("score")
    assert reach.loc[["pairwise", "attention"], "pairs"].tolist() == [0, 0]


def test_absent_attention_leaves_the_other_scores_and_says_why() -> None:
    one = replace(screen(), attention=Unavailable("toy", "the release knows no gene of it"))
    tables = compare_screens([one], 0.5, LIMITS)
    assert "attention" not in set(tables["screen_scores"]["score"])
    losses = tables["screen_losses"]
    assert (losses["reason"] == "the release knows no gene of it").any()
    assert scores(tables, "common").loc["correlation", "n_perturbations"] == 12


def test_where_attention_scores_no_perturbation_the_pairwise_scores_still_share_theirs() -> None:
    """The release knows the targets but only two of the perturbed genes, neither of which has enough candidates."""
    strict = replace(LIMITS, min_positives=13)
    tables = compare_screens([screen(known=30)], 0.5, strict)
    reach = tables["screen_evaluability"].set_index("score")
    assert reach.loc["attention", "scorable_perturbations"] == 0
    common = scores(tables, "common")
    assert common.loc["correlation", "n_perturbations"] == reach.loc["pairwise", "scorable_perturbations"] > 0
    assert common.loc["correlation", "n_pairs"] == common.loc["mean", "n_pairs"]


def test_an_absent_screen_is_listed_with_its_reason_and_no_number() -> None:
    gone = Screen(
        role="screens[1]", role_fit="full", data=Unavailable("far", "no mirror"), attention=Unavailable("far", "x")
    )
    tables = compare_screens([screen(), gone], 0.5, LIMITS)
    (row,) = tables["screen_losses"][tables["screen_losses"]["dataset"] == "far"].to_dict("records")
    assert row["reason"] == "no mirror"
    assert pd.isna(row["perturbations"])
    assert "far" not in set(tables["screen_scores"]["dataset"])


def test_a_vocabulary_whose_file_is_not_there_is_named_and_no_reach_is_made_up() -> None:
    tables = compare_screens([replace(screen(), vocabularies=("published", "lost"))], 0.5, LIMITS)
    (row,) = tables["screen_losses"][tables["screen_losses"]["score"] == "lost"].to_dict("records")
    assert row["reason"].startswith("vocabulary lost is not available")
    assert pd.isna(row["perturbations"])
    assert "lost" not in set(tables["screen_evaluability"]["score"])
    assert "published" in set(tables["screen_evaluability"]["score"])


def test_only_absent_screens_give_no_scores_but_a_reason() -> None:
    gone = Screen(
        role="screens[1]", role_fit="full", data=Unavailable("far", "no mirror"), attention=Unavailable("far", "x")
    )
    tables = compare_screens([gone], 0.5, LIMITS)
    assert tables["screen_scores"].empty
    assert tables["screen_losses"]["reason"].tolist() == ["no mirror"]


def test_expression_matched_negatives_take_mean_expression_out_of_the_question() -> None:
    one = screen(genes=200, scored=60, unscored=0, known=200, kind="outcome_only", listed=0.6, missing=0.0)
    mean = one.data.features["mean"].to_numpy()
    rng = np.random.default_rng(5)
    label = np.where(rng.random((60, 200)) < mean, np.int8(1), np.int8(0))
    label[one.data.labels.label == -1] = -1
    one = replace(one, data=replace(one.data, labels=replace(one.data.labels, label=label)))
    tables = compare_screens([one], 0.5, LIMITS)
    assert scores(tables, "own").loc["mean", "mean_auroc"] > 0.75
    assert scores(tables, "own", "expression_matched").loc["mean", "mean_auroc"] == pytest.approx(0.5, abs=0.04)


def test_missing_edges_are_filled_among_the_genes_that_are_compared() -> None:
    one = screen(missing=0.4)
    kept = restrict_edges(one.data.edges["correlation"], one.attention.genes)
    assert np.isnan(kept.score).any()
    own, common = (scores(compare_screens([one], 0.5, LIMITS), basis) for basis in ("own", "common"))
    assert np.isfinite(own.loc["correlation", "mean_auroc"])
    assert np.isfinite(common.loc["correlation", "mean_auroc"])

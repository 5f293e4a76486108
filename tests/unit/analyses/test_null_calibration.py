from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from interp_assets.analyses.null_calibration import (
    Calibration,
    CalibrationSettings,
    NothingToCalibrateError,
    Scored,
    detected_genes,
    null_calibration,
    null_cells,
    scored_by,
)
from interp_assets.cells.artefacts import Archive, prepared_cells
from interp_assets.cells.datasets import load_datasets
from interp_assets.cells.features import gene_features
from interp_assets.cells.prepare import normalised_log
from interp_assets.cells.records import PreparedCells
from interp_assets.cells.sources import source_context
from interp_assets.edges.scores import rank_distance_edges, spearman_edges

CELLS, GUIDES, PLENTY, RARE = 1900, 18, 150, 50
QUICK = CalibrationSettings(replicates=60, draws=6)
KEYS = ["analysis", "scores", "labels", "genes", "assignment"]


def knocked_down(cells: PreparedCells, rng: np.random.Generator) -> PreparedCells:
    """The cells after half of the non-targeting guides each lowered 40 of the well detected genes to a third."""
    counts = cells.counts.toarray()
    seen = np.flatnonzero((counts > 0).mean(axis=0) > 0.3)
    silent = np.flatnonzero(cells.guide_table["kind"] == "non_targeting")
    for guide in silent[::2]:
        held = cells.guides[:, [guide]].toarray().ravel() > 0
        at = np.ix_(held, rng.choice(seen, 40, replace=False))
        counts[at] = rng.binomial(counts[at], 1 / 3)
    matrix = sparse.csr_matrix(counts, dtype=np.int32)
    return replace(cells, counts=matrix, log=normalised_log(matrix))


def scored(cells: PreparedCells, *edges: str) -> Scored:
    made = {"correlation": spearman_edges, "rank_distance": rank_distance_edges}
    return scored_by([made[name](cells) for name in edges], gene_features(cells))


@pytest.fixture(scope="module")
def cells() -> PreparedCells:
    """Co-expressed genes, a third of them rare, in cells of 14 guides that change nothing; some hold two."""
    rng = np.random.default_rng(1)
    rate = np.concatenate([rng.lognormal(0.7, 0.6, PLENTY), np.full(RARE, 0.004)])
    state = np.exp(0.5 * rng.normal(size=(CELLS, 4)))
    module = rng.integers(0, 4, rate.size)
    counts = sparse.csr_matrix(rng.poisson(rate * state[:, module]), dtype=np.int32)
    guides = np.zeros((CELLS, GUIDES + 1), dtype=np.int8)
    guides[np.arange(CELLS), rng.integers(0, GUIDES + 1, CELLS)] = 1
    guides[:30, :2] = 1
    table = pd.DataFrame(
        {
            "guide": [*[f"n{i:02d}" for i in range(GUIDES)], "t"],
            "group": "g",
            "kind": [*["non_targeting"] * GUIDES, "target"],
            "gene": [*[""] * GUIDES, "G0"],
        }
    )
    genes = np.array([f"G{i}" for i in range(rate.size)])
    return PreparedCells(
        dataset="toy_null",
        species="human",
        data_origin="simulated",
        counts=counts,
        log=normalised_log(counts),
        genes=genes,
        obs=pd.DataFrame(index=[f"c{i}" for i in range(CELLS)]),
        control=np.ones(CELLS, dtype=bool),
        cells_hash="hash",
        universe=genes,
        guides=sparse.csr_matrix(guides),
        guide_table=table,
    )


@pytest.fixture(scope="module")
def calibrated(cells) -> Calibration:
    return null_calibration(cells, scored(cells, "correlation", "rank_distance"), QUICK)


def rows(found: Calibration, **wanted: str) -> pd.DataFrame:
    table = found.summary
    for column, value in wanted.items():
        table = table[table[column] == value]
    assert len(table)
    return table


def test_only_cells_with_one_silent_guide_take_part(cells):
    null = null_cells(cells, cells.universe, QUICK)
    guides = cells.guides.toarray()[:, :GUIDES]
    alone = guides.sum(axis=1) == 1
    assert null.log.shape == (alone.sum(), cells.genes.size)
    assert np.bincount(null.guide).tolist() == guides[alone].sum(axis=0).tolist()
    assert not alone[:30].any()
    seen = detected_genes(null, QUICK)
    assert seen[:PLENTY].all()
    assert not seen[PLENTY:].any()


def test_every_test_of_the_battery_is_there(calibrated):
    names = {(row.analysis, row.scores) for row in calibrated.summary.itertuples()}
    features, edges = ("variance", "mean", "one_minus_dropout"), ("correlation", "rank_distance")
    assert names == {
        ("differential_expression", "differential_expression"),
        *(("19", edge) for edge in edges),
        *(("21", f"{feature} - {edge}") for feature in features for edge in edges),
        ("22", "correlation - rank_distance"),
    }
    assert not calibrated.summary.duplicated(KEYS).any()
    assert not calibrated.summary["test"].duplicated().any()
    assert list(calibrated.summary["test"].unique()) == list(calibrated.p["test"].unique())
    assert calibrated.summary["test"].iloc[[0, 1]].tolist() == ["Welch p of a gene", "AUROC of correlation above .5"]
    assert set(calibrated.summary["guides"]) == {GUIDES}
    assert calibrated.summary.groupby("genes")["n_genes"].first().to_dict() == {
        "all": PLENTY + RARE,
        "detected": PLENTY,
    }
    listed = calibrated.p.groupby(KEYS).size()
    expected = calibrated.summary.set_index(KEYS)["replicates"]
    pd.testing.assert_series_equal(listed, expected[listed.index], check_names=False, check_dtype=False)
    assert calibrated.p["p"].between(0, 1).all()
    assert expected.loc["19", "correlation", "welch", "detected", "shuffled"] == QUICK.replicates
    assert expected.loc["19", "correlation", "welch", "detected", "observed"] == QUICK.draws


def test_p_values_are_uniform_where_nothing_was_perturbed(calibrated):
    found = rows(calibrated, genes="detected")
    # Each limit lets one test in twenty through by chance.
    assert found["uniform"].mean() > 0.85
    means = rows(calibrated, genes="detected", assignment="shuffled").set_index("analysis")["mean_p"]
    assert means.drop("19").between(0.35, 0.65).all()
    # Genes of one module are called together: AUROC is skewed and its one-sided test errs on the safe side only.
    assert means["19"].between(0.4, 0.75).all()


def test_genes_of_few_cells_make_welch_too_sure_and_mann_whitney_not(calibrated):
    de = {"analysis": "differential_expression", "genes": "all", "assignment": "shuffled"}
    welch, ranks = rows(calibrated, labels="welch", **de), rows(calibrated, labels="mann_whitney", **de)
    assert not welch["uniform"].item()
    assert welch["share_below_05"].item() > 2 * ranks["share_below_05"].item()
    edges = rows(calibrated, labels="welch", genes="all", analysis="19", scores="correlation")
    assert edges["mean_p"].item() > 0.9  # the called genes are the rare ones, which correlate with nothing
    assert not edges["uniform"].item()


def test_a_planted_effect_is_not_uniform(cells):
    changed = knocked_down(cells, np.random.default_rng(3))
    found = null_calibration(changed, scored(cells, "correlation"), QUICK)
    for labels in ("welch", "mann_whitney"):
        de = {"analysis": "differential_expression", "genes": "detected", "labels": labels}
        assert not rows(found, assignment="observed", **de)["uniform"].item()
        assert rows(found, assignment="observed", **de)["share_below_05"].item() > 0.1


def test_edges_that_know_the_answer_are_not_uniform(cells):
    """A score by the genes that really change: every pretended source ranks them first."""
    rng = np.random.default_rng(5)
    counts = cells.counts.toarray()
    moved = np.arange(40)
    for guide in range(0, GUIDES, 2):
        at = np.ix_(cells.guides[:, [guide]].toarray().ravel() > 0, moved)
        counts[at] = rng.binomial(counts[at], 0.5)
    matrix = sparse.csr_matrix(counts, dtype=np.int32)
    score = np.tile(
        np.isin(np.arange(cells.genes.size), moved) + rng.uniform(size=cells.genes.size), (PLENTY + RARE, 1)
    )
    told = replace(scored(cells, "correlation"), edges={"oracle": score})
    changed = replace(cells, counts=matrix, log=normalised_log(matrix))
    found = null_calibration(changed, told, QUICK)
    row = rows(found, analysis="19", labels="welch", genes="detected", assignment="observed")
    assert not row["uniform"].item()
    assert row["mean_p"].item() < 0.05


def test_the_same_seed_gives_the_same_numbers(cells, calibrated):
    again = null_calibration(cells, scored(cells, "correlation", "rank_distance"), QUICK)
    pd.testing.assert_frame_equal(again.p, calibrated.p)
    pd.testing.assert_frame_equal(again.summary, calibrated.summary)


def test_what_cannot_serve_as_a_null_is_refused(cells):
    given = scored(cells, "correlation")
    with pytest.raises(NothingToCalibrateError, match="0 non-targeting guides have 400 cells"):
        null_calibration(cells, given, replace(QUICK, min_cells=400))
    targets = replace(cells, guide_table=cells.guide_table.assign(kind="target"))
    with pytest.raises(NothingToCalibrateError, match="no non-targeting guide"):
        null_calibration(targets, given, QUICK)
    with pytest.raises(NothingToCalibrateError, match="0 genes are expected in 1000"):
        null_calibration(cells, given, replace(QUICK, detecting_cells=1000))
    with pytest.raises(NothingToCalibrateError, match="1 scored genes are not measured, such as 'X'"):
        null_calibration(cells, replace(given, genes=np.append(cells.genes[:-1], "X")), QUICK)


def test_scores_of_other_genes_or_cells_are_refused(cells):
    features, edges = gene_features(cells), spearman_edges(cells)
    given = scored_by([edges], features.iloc[::-1])
    np.testing.assert_allclose(given.features["one_minus_dropout"], 1 - features["dropout"])
    with pytest.raises(NothingToCalibrateError, match="no edge score"):
        scored_by([], features)
    with pytest.raises(NothingToCalibrateError, match="other and correlation are over different genes or cells"):
        scored_by([edges, replace(edges, name="other", cells_hash="else")], features)
    with pytest.raises(NothingToCalibrateError, match="1 scored genes have no features, such as 'G0'"):
        scored_by([edges], features.drop(index="G0"))


def test_too_few_called_genes_are_said_and_not_passed(cells):
    few = scored(cells, "correlation").only(np.arange(PLENTY + RARE) < 14)
    found = null_calibration(cells, few, QUICK)
    row = rows(found, analysis="19", labels="welch", genes="detected", assignment="shuffled")
    assert row["replicates"].item() == 0
    assert not row["uniform"].item()
    assert "too few guides" in row["note"].item()


@pytest.fixture(scope="module")
def screen(data_mirror, tmp_path_factory) -> PreparedCells:
    """K562 cells of Gasperini 2019 with 25 non-targeting guides."""
    context = source_context(tmp_path_factory.mktemp("store"), mirror=data_mirror)
    found = prepared_cells(Archive(datasets=load_datasets(), context=context), "gasperini19_k562")
    assert isinstance(found, PreparedCells)
    return found


@pytest.mark.mirror
def test_the_battery_is_uniform_on_real_non_targeting_guides(screen):
    found = null_calibration(screen, scored(screen, "correlation", "rank_distance"), CalibrationSettings())
    primary = rows(found, labels="welch", genes="detected")
    assert set(primary["guides"]) == {25}
    assert primary["valid"].all(), primary.loc[~primary["valid"], ["test", "ks", "excess", "ks_limit"]]
    # Co-expressed genes are called together: the one-sided test against .5 may err on the safe side, nothing else may.
    off = primary.loc[~primary["uniform"], ["test", "analysis", "ks", "ks_limit"]]
    assert set(off["analysis"]) <= {"19"}, off
    # Rare genes: half of the pairs of fewer than one expected cell have p < .05, and all comparisons follow them.
    rare = rows(found, labels="welch", genes="all", assignment="shuffled")
    assert not rare["uniform"].any()
    assert rare.set_index("analysis").loc["differential_expression", "share_below_05"] > 0.08


@pytest.mark.mirror
def test_a_knock_down_in_real_cells_is_not_uniform(screen):
    changed = knocked_down(screen, np.random.default_rng(7))
    found = null_calibration(changed, scored(screen, "correlation"), replace(QUICK, replicates=25))
    de = rows(found, analysis="differential_expression", genes="detected", assignment="observed")
    assert not de["uniform"].any()
    assert (de["share_below_05"] > 0.1).all()

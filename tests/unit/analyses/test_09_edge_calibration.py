"""Analysis 9: calibration by perturbation, conformal sets and transfer on screens with a known network."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import roc_auc_score

from interp_assets.analyses.calibration_screens import PERMISSIVE, PUBLISHED, pooled, screen_pairs, split_pairs
from interp_assets.analyses.edge_calibration import edge_calibration
from interp_assets.analyses.inputs import AnalysisInputs, CellSample
from interp_assets.cells.records import PreparedCells, ScreenLabels
from interp_assets.stats.calibration import calibrated
from interp_assets.stats.expression_scorers import SCORERS
from qc_standards.records import Status
from qc_standards.registry import tests_of_analysis
from qc_standards.standards import shipped_standards
from qc_standards.suites import evaluate_frame

SETTINGS = {"calibration_bins": 10, "calibration_bootstrap": 40, "min_perturbations": 20}
STANDARDS = shipped_standards()
FIRST, THIRD, FOURTH = (f"agreement_screens[{n}]" for n in (1, 3, 4))


def make_screen(role, name, *, perturbations=40, rate=0.35, seed=0, tables=True, signal=1.0, genes=90):
    """Each perturbed gene drives a fifth of the others; a pair is an edge by chance plus ``signal`` if it is driven."""
    rng = np.random.default_rng([seed, 9])
    cells = 150
    names = np.array([f"G{k:03d}" for k in range(genes)])
    driven = rng.random((perturbations, genes)) < 0.2
    values = 1.0 + 0.4 * rng.normal(size=(cells, genes))
    values += 0.25 * (values[:, :perturbations] - 1.0) @ driven
    log = csr_matrix(np.maximum(values, 0.0).astype(np.float32))
    odds = np.clip(rate + signal * 0.3 * (driven - 0.2), 0.01, 0.99)
    label = (rng.random((perturbations, genes)) < odds).astype(np.int8)
    label[np.arange(perturbations), np.arange(perturbations)] = -1
    row, column = np.nonzero(label >= 0)
    hit = label[row, column] == 1
    table = pd.DataFrame({"perturbation": names[row], "gene": names[column], "label": label[row, column]})
    table["lfc"] = np.where(hit, 0.3, 0.05) if tables else np.nan
    table["q"] = np.where(hit, 0.01, 0.5) if tables else np.nan
    prepared = PreparedCells(
        dataset=name, species="human", data_origin="simulated", counts=log.astype(np.int32), log=log, genes=names,
        obs=pd.DataFrame(index=[f"c{k}" for k in range(cells)]), control=np.ones(cells, dtype=bool),
        cells_hash="a" * 64, universe=names,
    )  # fmt: skip
    labels = ScreenLabels(
        dataset=name, data_origin="simulated", kind="cells", modality="crispri", perturbations=names[:perturbations],
        genes=names, label=label, informative=np.ones(genes, dtype=bool), table=table,
        exclusions=pd.DataFrame({"perturbation": [], "reason": []}, dtype=object),
    )  # fmt: skip
    return CellSample(
        role=role, role_fit="full", cells=prepared, labels=labels, references={}, primary_reference="network"
    )


def make(*samples, settings=None, seed=0):
    return AnalysisInputs(
        study="synthetic", release="synthetic-release", tests=tests_of_analysis(9), roles={},
        samples={sample.role: sample for sample in samples}, settings={**SETTINGS, **(settings or {})}, seed=seed,
    )  # fmt: skip


def by_id(output):
    return {result.test_id: result for result in output.results}


def renamed(sample, prefix):
    """The same screen with genes of other names, so that no perturbation is shared."""
    names = np.array([prefix + name for name in sample.cells.genes])
    table = sample.labels.table.assign(
        perturbation=prefix + sample.labels.table["perturbation"], gene=prefix + sample.labels.table["gene"]
    )
    cells = replace(sample.cells, genes=names, universe=names)
    count = sample.labels.perturbations.size
    return replace(
        sample, cells=cells, labels=replace(sample.labels, genes=names, perturbations=names[:count], table=table)
    )


@pytest.fixture(scope="module")
def found():
    return edge_calibration(
        make(
            make_screen(FIRST, "first"),
            renamed(make_screen(THIRD, "third", seed=1), "x"),
            make_screen(FOURTH, "fourth", seed=2, rate=0.1),
        )
    )


def test_calibration_lowers_the_error_and_a_screen_of_other_rate_breaks_it(found):
    rows = by_id(found)
    assert {r.status for r in found.results} == {Status.RUN}
    assert rows["A09.1"].effect > 2.0
    assert rows["A09.1"].p == pytest.approx(1 / 41)
    assert rows["A09.2"].effect < -0.05
    assert rows["A09.2"].ci_high < 0.0
    assert rows["A09.2"].p == pytest.approx(1 / 41)
    assert 0.9 < rows["A09.3"].effect <= 1.0
    assert 0.0 < rows["A09.4"].effect < 0.2
    assert rows["A09.5"].effect > 0.15
    assert rows["A09.5"].p == pytest.approx(1 / 41)
    used = json.loads(rows["A09.5"].settings_used)
    assert used["ece"]["constant"] == pytest.approx(used["ece"]["transferred"], abs=0.05)
    assert used["truth"] == {"fourth": PERMISSIVE}
    assert (rows["A09.1"].dataset, rows["A09.5"].dataset) == ("first + third", "fourth + third")


def test_tables_meet_their_standards(found):
    for name, table in (("QCS-34", "calibration"), ("QCS-35", "conformal"), ("QCS-35", "conformal_by_class")):
        failed = {check.id for check in evaluate_frame(STANDARDS[name], found.tables[table]) if not check.success}
        # Scores that say little give sets of both labels; whether they do is the finding, not the format.
        assert failed <= {"says-something", "small-error", "small-error-equal-size", "reaches-nominal"}
    table = found.tables["calibration"]
    assert len(table) == 6 * 3 * 2 + 6 * 2
    assert (table["shared_perturbations"] == 0).all()
    assert (table.loc[table["used_as_probability"], "ece"] < 0.1).all()
    assert len(found.tables["calibration_transfer"]) == 12
    assert len(found.tables["calibration_scorers"]) == 18


def test_platt_keeps_the_ranking_and_isotonic_nearly(found):
    table = found.tables["calibration"]
    signal = table[table["auroc_raw"] > 0.55]
    assert len(signal) > 12
    platt = signal[(signal["calibrator"] == "platt") & ~signal["transferred"]]
    # Probabilities of the far tail round to the same number, so a few pairs tie.
    assert np.allclose(platt["auroc"], platt["auroc_raw"], atol=1e-4)
    isotonic = signal[signal["calibrator"] == "isotonic"]
    assert (np.abs(isotonic["auroc"] - isotonic["auroc_raw"]) < 0.03).all()


def test_numbers_equal_a_plain_recomputation(found):
    sample = make_screen(FOURTH, "fourth", seed=2, rate=0.1)
    pairs = screen_pairs(sample)
    inputs = make(sample)
    split = split_pairs(pairs, np.random.default_rng([inputs.seed, 9, 2]), 20)
    score, label = split.fit.scores["spearman"], split.fit.label
    new, truth = split.test.scores["spearman"], split.test.label
    p = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(score, label).predict(new)
    number = np.minimum((p * 10).astype(int), 9)
    ece = sum((number == b).mean() * abs(p[number == b].mean() - truth[number == b].mean()) for b in np.unique(number))
    table = found.tables["calibration"]
    line = table[(table["scorer"] == "spearman") & (table["calibrator"] == "isotonic") & (table["context"] == "fourth")]
    line = line[~line["transferred"]].iloc[0]
    assert line["ece"] == pytest.approx(ece)
    assert line["auroc"] == pytest.approx(roc_auc_score(truth, p))
    bins = found.tables["calibration_bins"]
    own = bins[(bins["context"] == "fourth") & (bins["scorer"] == "spearman") & (bins["calibrator"] == "isotonic")]
    own = own[(own["fitted_on"] == "fourth") & (own["binning"] == "equal_width")]
    share = own["n_pairs"] / own["n_pairs"].sum()
    assert (share * (own["mean_probability"] - own["share_edges"]).abs()).sum() == pytest.approx(ece)


def test_a_perturbation_of_two_screens_lies_in_one_part():
    one, other = (screen_pairs(make_screen(FIRST, name, seed=k)) for k, name in enumerate(("a", "b")))
    together = pooled([one, other])
    assert together.names.size == 40
    split = split_pairs(together, np.random.default_rng(0), 20)
    parts = [split.fit.names, split.calibrate.names, split.test.names]
    assert [part.size for part in parts] == [20, 10, 10]
    assert len(set(np.concatenate(parts))) == 40
    for part in (split.fit, split.calibrate, split.test):
        assert set(part.datasets) == {"a", "b"}
        assert set(part.scores) == set(SCORERS)


def test_the_carried_fit_never_saw_what_is_tested():
    output = edge_calibration(make(make_screen(THIRD, "third"), make_screen(FOURTH, "fourth", seed=2)))
    table = output.tables["calibration"]
    carried = table[table["transferred"]]
    assert (carried["shared_perturbations"] == 0).all()
    assert carried["n_perturbations_fit"].max() < 20
    assert FIRST in by_id(output)["A09.1"].reason


def test_a_screen_of_the_same_kind_shows_no_transfer_loss():
    gaps = []
    for seed in range(5):
        third, fourth = make_screen(THIRD, "third", seed=20 + seed), make_screen(FOURTH, "fourth", seed=40 + seed)
        gaps.append(by_id(edge_calibration(make(third, renamed(fourth, "y"), seed=seed)))["A09.5"])
    assert abs(np.mean([row.effect for row in gaps])) < 0.03
    assert max(row.p for row in gaps) > 0.1


def test_scores_of_noise_are_calibrated_to_the_share_of_edges():
    output = edge_calibration(make(make_screen(THIRD, "third", signal=0.0)))
    table = output.tables["calibration"]
    held = table[table["used_as_probability"]]
    assert np.abs(held["auroc"] - 0.5).max() < 0.06
    assert np.abs(held["ece"] - held["ece_constant"]).max() < 0.05


def test_a_screen_without_folds_keeps_its_labels():
    pairs = screen_pairs(make_screen(THIRD, "third", tables=False))
    assert pairs.rules == (PUBLISHED,)
    assert pairs.label.size == 40 * 89
    strict = make_screen(THIRD, "third")
    table = strict.labels.table.assign(lfc=0.09)
    none = screen_pairs(replace(strict, labels=replace(strict.labels, table=table)))
    assert none.label.sum() == 0


def test_a_perturbed_gene_is_no_target_of_itself():
    screen = make_screen(THIRD, "third", tables=False)
    label = screen.labels.label.copy()
    label[np.arange(40), np.arange(40)] = 1
    pairs = screen_pairs(replace(screen, labels=replace(screen.labels, label=label)))
    assert np.bincount(pairs.perturbation).tolist() == [89] * 40


def test_thresholds_come_from_the_part_between(found):
    sample = make_screen(FOURTH, "fourth", seed=2, rate=0.1)
    split = split_pairs(screen_pairs(sample), np.random.default_rng([0, 9, 2]), 20)
    learned = split.fit.scores["pearson"], split.fit.label
    held, new = (calibrated("platt", *learned, part.scores["pearson"]) for part in (split.calibrate, split.test))
    missed = np.sort(np.where(split.calibrate.label == 1, 1 - held, held))
    threshold = missed[int(np.ceil((missed.size + 1) * 0.8 - 1e-9)) - 1]
    covered = np.where(split.test.label == 1, 1 - new, new) <= threshold
    table = found.tables["conformal"].set_index(["context", "scorer", "nominal"])
    assert table.loc[("fourth", "pearson", 0.8), "coverage"] == pytest.approx(covered.mean(), abs=1e-12)


@pytest.mark.parametrize(
    ("sample", "told"),
    [
        ({"perturbations": 12}, "20 are needed"),
        ({"rate": 0.0, "signal": 0.0}, "has no"),
    ],
)
def test_what_cannot_be_calibrated_is_skipped_with_its_reason(sample, told):
    screen = make_screen(THIRD, "third", **sample)
    if "rate" in sample:
        label = np.minimum(screen.labels.label, 0).astype(np.int8)
        table = screen.labels.table.assign(lfc=0.0)
        screen = replace(screen, labels=replace(screen.labels, label=label, table=table))
    output = edge_calibration(make(screen))
    assert {r.status for r in output.results} == {Status.SKIPPED}
    assert told in by_id(output)["A09.1"].reason
    assert output.tables == {}


def test_one_screen_in_both_places_is_no_transfer():
    output = edge_calibration(make(make_screen(THIRD, "third"), make_screen(FOURTH, "third")))
    assert "are both third" in by_id(output)["A09.5"].reason


def test_unfilled_roles_are_named():
    output = edge_calibration(make())
    assert {r.status for r in output.results} == {Status.SKIPPED}
    assert FOURTH in by_id(output)["A09.5"].reason

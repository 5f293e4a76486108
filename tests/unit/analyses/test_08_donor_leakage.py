"""Analysis 8: planted donor effects are found, permuted donors are not, and a lone donor gives no number."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix

from interp_assets.analyses import donor_audit
from interp_assets.analyses.donor_leakage import donor_leakage
from interp_assets.analyses.inputs import AnalysisInputs, CellSample
from interp_assets.cells.outcomes import no_outcomes
from interp_assets.cells.records import PreparedCells
from interp_assets.edges.records import Reference
from interp_assets.stats.leakage import donor_gap
from qc_standards.records import Status
from qc_standards.registry import tests_of_analysis
from qc_standards.standards import shipped_standards
from qc_standards.suites import evaluate_frame

SETTINGS = {
    "balance_draws": 5,
    "folds": 5,
    "leakage_permutations": 40,
    "leakage_trees": 4,
    "lodo_draws": 30,
}
STANDARDS = shipped_standards()
ROLES = ("donor_audit[1]", "donor_audit[2]", "donor_audit[3]")


def make_sample(
    role, name, *, effect=0.0, donors=3, columns=("donor", "batch", "assay", "cell_type"), seed=0, pairs=30
):
    """Cells of two types; in the first donor regulators and targets rise and fall together by ``effect``."""
    rng = np.random.default_rng([seed, 8])
    cells, genes = 300, 2 * pairs
    donor = np.arange(cells) % donors
    kind = rng.integers(0, 2, cells)
    values = 1.5 + 0.5 * rng.normal(size=(cells, genes)) + 0.8 * (kind[:, None] * (np.arange(genes) % 2))
    tied = effect * (donor == 0)[:, None] * rng.normal(size=(cells, pairs))
    values[:, :pairs] += tied
    values[:, pairs:] += tied
    log = csr_matrix(np.maximum(values, 0.0).astype(np.float32))
    known = {
        "donor": np.array([f"d{k}" for k in donor]),
        "batch": np.array([f"b{k}" for k in rng.integers(0, 2, cells)]),
        "assay": np.where((donor == 0) | (rng.random(cells) < 0.2), "smart", "droplet"),
        "cell_type": np.where(kind == 0, "alpha", "beta"),
    }
    names = np.array([f"G{k:03d}" for k in range(genes)])
    index = [f"c{k}" for k in range(cells)]
    prepared = PreparedCells(
        dataset=name, species="human", data_origin="simulated", counts=log.astype(np.int32), log=log, genes=names,
        obs=pd.DataFrame({c: known[c] for c in columns}, index=index), control=np.ones(cells, dtype=bool),
        cells_hash="a" * 64, universe=names,
    )  # fmt: skip
    reference = Reference(
        name="network", genes=names, source=np.arange(pairs, dtype=np.int32),
        target=np.arange(pairs, 2 * pairs, dtype=np.int32), directed=True, regulators=np.arange(pairs, dtype=np.int32),
    )  # fmt: skip
    return CellSample(
        role=role, role_fit="full", cells=prepared, labels=no_outcomes(prepared), references={"network": reference},
        primary_reference="network",
    )  # fmt: skip


def make(*samples, settings=None, seed=0):
    held = {sample.role: sample for sample in samples}
    return AnalysisInputs(
        study="synthetic", release="synthetic-release", tests=tests_of_analysis(8), roles={}, samples=held,
        settings={**SETTINGS, **(settings or {})}, seed=seed,
    )  # fmt: skip


def by_id(output):
    return {result.test_id: result for result in output.results}


@pytest.fixture(scope="module")
def planted():
    return donor_leakage(
        make(
            make_sample(ROLES[0], "immune", effect=1.0),
            make_sample(ROLES[1], "kidney", donors=1, columns=("donor", "cell_type"), seed=1),
            make_sample(ROLES[2], "lung", effect=1.0, seed=2),
        )
    )


def test_a_planted_donor_effect_is_found_in_every_row(planted):
    rows = by_id(planted)
    assert {r.status for r in planted.results} == {Status.RUN}
    for name in ("A08.1", "A08.2", "A08.3"):
        assert rows[name].effect > 0.6
        assert rows[name].ci_low > 0.5
        assert rows[name].p == pytest.approx(1 / 41)
        assert abs(rows[name].null_mean - 0.5) < 0.03
    left_out = rows["A08.4"]
    assert left_out.effect > left_out.null_mean + 4 * left_out.null_sd
    assert left_out.n == 6
    assert json.loads(left_out.settings_used)["ratio_to_null"] > 1.5
    assert rows["A08.3"].dataset == rows["A08.4"].dataset == rows["A08.6"].dataset == "immune + lung"
    assert rows["A08.1"].dataset == "immune"
    assert rows["A08.6"].n == 600
    assert json.loads(left_out.settings_used)["edges_without_sd"] == {"immune": 0, "lung": 0}
    assert rows["A08.6"].effect > 0.55
    assert 0.0 < rows["A08.6"].statistic < 0.2


def test_the_lone_donor_says_so_and_has_no_number(planted):
    table = planted.tables["label_leakage"]
    kidney = table[table["tissue"] == "kidney"]
    assert len(kidney) == 12
    assert kidney["auc"].isna().all()
    assert kidney["reason"].str.len().min() > 10
    assert not kidney["leaks"].any()
    assert "kidney" not in set(planted.tables["edge_balance"]["tissue"])
    assert "kidney" in by_id(planted)["A08.3"].reason


def test_tables_meet_their_standards(planted):
    for name, table, may_fail in (
        ("QCS-32", "label_leakage", set()),
        ("QCS-33", "edge_balance", {"few-in-every-tissue"}),
    ):
        checks = evaluate_frame(STANDARDS[name], planted.tables[table])
        assert {check.id for check in checks if not check.success} <= may_fail
    asi = planted.tables["edge_asi"]
    assert len(asi) == 60
    assert (asi["asi_max"] >= asi[["asi_donor", "asi_batch", "asi_assay"]].max(axis=1) - 1e-12).all()
    assert (asi["blacklisted"] == (asi["asi_max"] > 0.5)).all()
    # Every donor has as many cells here, so balancing donors changes nothing.
    assert np.allclose(asi["asi_donor"], 0.0)
    scan = planted.tables["asi_scan"]
    assert scan.groupby(["tissue", "balanced_by"]).size().eq(10).all()
    lodo = planted.tables["lodo_edges"]
    assert len(lodo) == 60
    assert (lodo["q"] >= lodo["p"] - 1e-12).all()
    known = planted.tables["label_association"].set_index(["tissue", "label", "other_label"])["cramers_v"]
    assert known["immune", "donor", "assay"] > 0.5
    assert known["immune", "donor", "batch"] < 0.2


def test_without_a_donor_effect_nothing_is_found():
    small = []
    for seed in range(5):
        sample = make_sample(ROLES[0], "immune", seed=10 + seed, columns=("donor", "cell_type"))
        output = donor_leakage(make(sample, seed=seed, settings={"leakage_trees": 2}))
        rows = by_id(output)
        small += [rows["A08.1"].p, rows["A08.4"].p]
        assert abs(rows["A08.1"].effect - 0.5) < 0.12
        assert rows["A08.2"].status == Status.SKIPPED
    assert np.mean(np.array(small) <= 0.05) < 0.3
    assert 0.2 < np.mean(small) < 0.8


def test_one_dataset_in_two_roles_is_audited_once():
    output = donor_leakage(make(make_sample(ROLES[0], "blood", effect=1.0), make_sample(ROLES[2], "blood", effect=1.0)))
    rows = by_id(output)
    assert rows["A08.2"].reason == "same as A08.1"
    assert rows["A08.4"].n == 3
    assert len(output.tables["lodo_edges"]) == 30
    again = donor_leakage(make(make_sample(ROLES[0], "blood", effect=1.0), make_sample(ROLES[2], "blood", effect=1.0)))
    assert again.results == output.results


@pytest.mark.parametrize(
    ("sample", "told"),
    [
        ({"columns": ("cell_type",)}, "names no donor"),
        ({"donors": 1}, "one donor"),
        ({"pairs": 5}, "10 are needed"),
    ],
)
def test_what_cannot_be_audited_is_skipped_with_its_reason(sample, told):
    output = donor_leakage(make(make_sample(ROLES[0], "odd", **sample), make_sample(ROLES[2], "odd", **sample)))
    rows = by_id(output)
    for name in ("A08.1", "A08.4", "A08.5"):
        assert rows[name].status == Status.SKIPPED
        assert told in rows[name].reason
        assert rows[name].effect is None


def test_the_gap_permutes_donors_within_cell_types_only(monkeypatch):
    seen = []

    def kept(features, state, donor, fold, permuted):
        seen.append((state, permuted))
        return donor_gap(features, state, donor, fold, permuted)

    monkeypatch.setattr(donor_audit, "donor_gap", kept)
    donor_leakage(make(make_sample(ROLES[2], "lung")))
    ((state, permuted),) = seen
    assert permuted.shape == (40 // 5, 300)
    assert (state[permuted] == state).all()
    assert (permuted != np.arange(300)).any(axis=1).all()


def test_a_type_rarer_than_the_donors_has_no_gap_and_says_so():
    sample = make_sample(ROLES[2], "lung", donors=14)
    kind = sample.cells.obs["cell_type"].to_numpy().copy()
    kind[:12] = "rare"
    cells = replace(sample.cells, obs=sample.cells.obs.assign(cell_type=kind))
    row = by_id(donor_leakage(make(replace(sample, cells=cells))))["A08.5"]
    assert (row.status, row.reason) == (Status.SKIPPED, "a cell type of lung has 12 cells, fewer than its 14 donors")


def test_cells_without_types_have_no_reading_within_them():
    output = donor_leakage(make(make_sample(ROLES[2], "lung", effect=1.0, columns=("donor",))))
    rows = by_id(output)
    assert rows["A08.2"].status == Status.RUN
    assert "cell_type" in rows["A08.5"].reason
    table = output.tables["label_leakage"].set_index(["label", "classifier", "cells"])
    assert table.loc[("donor", "logistic", "all"), "n_labels"] == 3
    assert table.loc[("donor", "logistic", "within_cell_type"), "n_labels"] == 1
    assert not [c.id for c in evaluate_frame(STANDARDS["QCS-32"], table.reset_index()) if not c.success]


def test_an_unfilled_role_is_named():
    output = donor_leakage(make())
    assert {r.status for r in output.results} == {Status.SKIPPED}
    assert output.tables == {}
    assert "donor_audit[3]" in by_id(output)["A08.5"].reason

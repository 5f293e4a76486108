"""Analysis 24: meaningless strata gain nothing beyond the choice of the best; too many strata are refused."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from interp_assets.analyses.cssi_null import cssi_null
from interp_assets.stats.state_mixtures import multi_state
from qc_standards.evidence import TABLE_COLUMNS
from qc_standards.records import Status

spec = importlib.util.spec_from_file_location("cssi_world", Path(__file__).parent / "cssi_world.py")
world = importlib.util.module_from_spec(spec)
spec.loader.exec_module(world)

SETTINGS = {
    "analysis_depth": 0.5,
    "cssi_draws": 60,
    "cssi_minimum": 20,
    "cssi_scan_seeds": 3,
    "cssi_k_max": 8,
    "cssi_attention_draws": 20,
}


@pytest.fixture(scope="module")
def found():
    return cssi_null(world.cssi_inputs(24, SETTINGS, world.cell_reading(0.45), world.sample()))


def test_rows_and_table_of_the_standard(found):
    assert [row.test_id for row in found.results] == ["A24.1", "A24.2", "A24.3", "A24.4"]
    assert {row.status for row in found.results} == {Status.RUN}
    table = found.tables["cssi_null"]
    assert set(TABLE_COLUMNS["cssi_null"]) <= set(table)
    assert len(table) == 7 * 3 * 5
    assert (table.groupby(["aggregator", "k"])["strata"].nunique() == 5).all()
    assert table["gain_called"].dtype == bool
    assert not table.loc[table["strata"] != "estimated", "gain_called"].any()
    assert (table["smallest_stratum"] >= 20).all()
    assert table["p_against_null"].notna().equals(table["strata"].isin(["oracle", "estimated"]))
    np.testing.assert_allclose(table["stratified"] - table["pooled"], table["gain"], atol=1e-12)
    assert ((table["ci_low"] <= table["gain"]) & (table["gain"] <= table["ci_high"])).all()


def test_null_strata_gain_nothing_and_known_states_do(found):
    table = found.tables["cssi_null"].set_index(["strata", "aggregator", "k"])
    for kind in ("shuffled", "random", "gene_permuted"):
        assert table.loc[(kind, "max", 6), "ci_high"] < 0
        assert abs(table.loc[(kind, "mean", 6), "gain"]) < 0.02
    assert table.loc[("oracle", "max", 6), "gain"] > 0.1
    assert table.loc[("oracle", "max", 6), "p_against_null"] == 1 / 181
    assert table.loc[("estimated", "max", 6), "gain"] < 0
    for row in found.results[:3]:
        assert row.p == 1 / 61
        assert row.effect < 0.03
        assert (row.resamples_requested, row.resamples_done) == (60, 60)


def test_best_choice_is_the_same_for_real_and_null_strata(found):
    draws, table = found.tables["cssi_null_draws"], found.tables["cssi_null"]
    assert draws.groupby("strata").size().to_dict() == {
        "oracle": 1, "estimated": 1, "shuffled": 60, "random": 60, "gene_permuted": 60,
    }  # fmt: skip
    assert (draws["choices"] == 21).all()
    for kind in ("oracle", "estimated"):
        best = table[table["strata"] == kind]["gain"].max()
        assert draws.loc[draws["strata"] == kind, "gain"].item() == pytest.approx(best)


def test_scan_has_its_best_at_the_true_number_with_few_false_edges(found):
    scan = found.tables["cssi_k_scan"]
    known = scan[(scan["strata"] == "oracle") & (scan["aggregator"] == "max")].set_index("k")
    assert known["f1_ratio"].idxmax() in (5, 6, 7)
    assert known.loc[6, "false_share"] < 0.2
    assert known.loc[6, "power"] > 0.8
    assert found.results[3].effect == pytest.approx(known["f1_ratio"].max(), rel=0.1)
    attention = found.tables["cssi_attention_scan"].set_index(["k", "strata", "aggregator"])
    assert attention.loc[(4, "estimated", "max"), "gain"] > 0.03
    assert attention.loc[(4, "estimated", "max"), "p_against_null"] == 1 / 21
    assert attention.loc[(4, "shuffled", "max"), "gain"] < 0.03


def test_edges_without_signal_are_called_at_the_level():
    from interp_assets.analyses.cssi_designs import recovered, scored_dataset

    called = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        data = scored_dataset(multi_state(rng, 600, 6, strength=0.0))
        found = recovered(data, data.mixture.state[None], 6, 20, aggregators=("max", "mean", "scenic"), calls=rng)
        called.append([found.power[name][0] for name in ("max", "mean", "scenic")])
    assert np.mean(called) < 0.05


def test_too_many_strata_are_refused_and_missing_attention_is_said():
    small = {**SETTINGS, "cssi_draws": 3, "cssi_scan_seeds": 1, "cssi_k_max": 5, "cssi_minimum": 130}
    output = cssi_null(world.cssi_inputs(24, small))
    scan = output.tables["cssi_k_scan"]
    refused = scan[scan["refused"] != ""].set_index("k")["refused"]
    assert "at most 4 strata" in refused[5]
    assert "cssi_attention_scan" not in output.tables
    assert "Real attention was not scanned: study toy fills no role" in output.results[3].direction
    nothing = cssi_null(world.cssi_inputs(24, {**small, "cssi_minimum": 400}))
    assert {row.status for row in nothing.results} == {Status.SKIPPED}
    assert all("strata of 600 cells hold" in row.reason for row in nothing.results)


def test_same_seed_same_bytes():
    small = {**SETTINGS, "cssi_draws": 4, "cssi_scan_seeds": 1, "cssi_k_max": 3}
    one, other = (cssi_null(world.cssi_inputs(24, small)) for _ in range(2))
    assert one.results == other.results
    for name, table in one.tables.items():
        pd.testing.assert_frame_equal(table, other.tables[name])

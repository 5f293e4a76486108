"""Analysis E8: numbers and edges over draws of cells, for attention that every cell carries and attention of few."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from interp_assets.analyses.inputs import AnalysisInputs, CellSample
from interp_assets.analyses.perturbation_first import paired_aurocs, score_aurocs
from interp_assets.analyses.stability import ROWS, stability
from interp_assets.analyses.stability_runs import draws, judged_cells, measured, redrawn
from interp_assets.cells.features import gene_features
from interp_assets.cells.outcomes import no_outcomes
from interp_assets.cells.prepare import normalised_log
from interp_assets.cells.records import PreparedCells
from interp_assets.edges.scores import spearman_edges
from interp_assets.readings.records import Reading
from qc_standards.extended import read_extended
from qc_standards.registry import REGISTRY_FOLDER
from qc_standards.standards import shipped_standards
from qc_standards.suites import judge_frame

CELLS, GENES = 80, 60
SPECS = tuple(spec for spec in read_extended(REGISTRY_FOLDER / "extended") if spec.analysis_no == 8)


def reading(role, signal: float, spread: float, holding: float, seed: int) -> Reading:
    """Per-cell attention of one layer: a planted network, alike in all cells up to ``spread``."""
    rng = np.random.default_rng([seed, 8])
    rows = np.unique(role.source).astype(np.int64)
    network = np.zeros((GENES, GENES))
    network[role.references["planted"].source, role.references["planted"].target] = signal
    # What all cells share beside the network keeps the order of the edges.
    shared = network[rows] + rng.normal(0, 1, (rows.size, GENES))
    held = rng.random((CELLS, GENES)) < holding
    parts, offsets = [], [0]
    for cell in range(CELLS):
        own, seen = np.flatnonzero(held[cell, rows]), np.flatnonzero(held[cell])
        row, column = np.repeat(own, seen.size), np.tile(seen, own.size)
        parts.append((row, column, shared[row, column] + rng.normal(0, spread, row.size)))
        offsets.append(offsets[-1] + row.size)
    row, column, value = (np.concatenate(part) for part in zip(*parts, strict=True))
    arrays = {"offsets": np.array(offsets), "row": row, "column": column, "value": value[None].astype(np.float32)}
    arrays |= {"cells": np.arange(CELLS), "genes": role.genes, "rows": rows}
    return Reading(arrays={f"primary_screen_{name}": values for name, values in arrays.items()}, facts={})


@pytest.fixture
def ask(make_inputs):
    """Function: inputs whose scores and baselines all come from the same 80 cells."""

    def make(signal=1.5, spread=1.0, holding=0.8, seed=0, **settings: object) -> AnalysisInputs:
        inputs = make_inputs(19, genes=GENES, perturbations=24, targets=8, seed=seed, settings=settings)
        role = inputs.roles["primary_screen"]
        rng = np.random.default_rng([seed, 7])
        counts = csr_matrix(rng.poisson(rng.uniform(0.2, 3.0, GENES), (CELLS, GENES)), dtype=np.int32)
        cells = PreparedCells(
            dataset="synthetic-screen",
            species="human",
            data_origin="simulated",
            counts=counts,
            log=normalised_log(counts),
            genes=role.genes,
            obs=pd.DataFrame(index=np.arange(CELLS).astype(str)),
            control=np.ones(CELLS, dtype=bool),
            cells_hash=role.cells_hash,
            universe=role.genes,
        )
        features = role.features.copy()
        features[["mean", "variance", "dropout"]] = gene_features(cells)[["mean", "variance", "dropout"]].to_numpy()
        sample = CellSample(
            role="primary_screen",
            role_fit="full",
            cells=cells,
            labels=no_outcomes(cells),
            references=role.references,
            primary_reference="planted",
        )
        return replace(
            inputs,
            tests=SPECS,
            roles={"primary_screen": replace(role, correlation=spearman_edges(cells), features=features)},
            samples={"primary_screen": sample},
            readings={"cell_attention": reading(role, signal, spread, holding, seed)},
        )

    return make


def table_of(inputs) -> pd.DataFrame:
    return stability(inputs).tables["stability"].set_index(["quantity", "varied"])


def test_attention_that_every_cell_carries_is_stable(ask):
    output = stability(ask(spread=0.3, stability_repeats=6))
    found = {result.test_id: result for result in output.results}
    assert {str(result.status) for result in output.results} == {"run"}
    assert found["E8.1"].effect < 0.02
    assert found["E8.1"].p < 0.05
    assert (found["E8.1"].n, found["E8.1"].unit, found["E8.1"].null_mean) == (6, "repeat", 0.02)
    table = output.tables["stability"].set_index(["quantity", "varied"])
    assert table.loc[("mean AUROC of attention", "seed"), "rank_agreement"] > 0.9
    assert table.loc[("mean AUROC of attention", "seed"), "read_as"] == "greater"


def test_attention_that_is_noise_of_single_cells_keeps_no_order(ask):
    """The network is not there and cells agree on nothing: halves that share half of their cells correlate by half."""
    table = table_of(ask(signal=0.0, spread=100.0, holding=1.0, stability_repeats=8))
    seeds, draw = (table.loc[("mean AUROC of attention", varied)] for varied in ("seed", "cell_draw"))
    assert seeds["rank_agreement"] == pytest.approx(0.5, abs=0.1)
    assert seeds["top_overlap"] < 0.3
    assert draw["rank_agreement"] > 0.93  # one cell of forty is exchanged
    assert seeds["sd"] > draw["sd"]


def test_all_cells_give_what_the_battery_says(ask):
    inputs = ask(holding=1.0)
    role = inputs.roles["primary_screen"]
    judged = judged_cells(inputs, 50)
    found = {one.quantity: one for one in measured(judged, np.arange(CELLS))}
    frame, _ = score_aurocs(inputs, role, judged.layer, ("correlation", "variance", "mean", "one_minus_dropout"))
    values = paired_aurocs(frame, "all")
    assert found[1].value == pytest.approx(values["correlation"].mean())
    best = max(("variance", "mean", "one_minus_dropout"), key=lambda name: values[name].mean())
    assert found[2].baseline == best
    assert found[2].value == pytest.approx(found[0].value - values[best].mean())
    assert found[3].value == pytest.approx(found[0].value - found[1].value)


def test_numbers_of_a_draw_equal_loops_over_its_cells(ask):
    inputs = ask(holding=0.5)
    role, arrays = inputs.roles["primary_screen"], inputs.readings["cell_attention"].arrays
    judged = judged_cells(inputs, 50)
    chosen = np.arange(0, CELLS, 4)
    total, count = np.zeros((GENES, GENES)), np.zeros((GENES, GENES))
    rows = arrays["primary_screen_rows"]
    for cell in chosen:
        span = slice(arrays["primary_screen_offsets"][cell], arrays["primary_screen_offsets"][cell + 1])
        at = rows[arrays["primary_screen_row"][span]], arrays["primary_screen_column"][span]
        total[at] += arrays["primary_screen_value"][0, span]
        count[at] += 1
    mean = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
    np.fill_diagonal(mean, np.nan)
    filled = np.where(np.isnan(mean), np.nanmin(mean), mean)
    aurocs = []
    for source, label in zip(role.source, role.label, strict=True):
        asked = (label >= 0) & (np.arange(GENES) != source)
        if (label[asked] == 1).sum() >= 3:
            aurocs.append(roc_auc_score(label[asked], filled[source, asked]))
    found = {one.quantity: one for one in measured(judged, chosen)}
    assert found[0].value == pytest.approx(np.mean(aurocs))
    reference = role.references["planted"]
    member = np.zeros((GENES, GENES), dtype=bool)
    member[reference.source, reference.target] = True
    listed = np.unique(reference.source)
    inside = listed[:, None] != np.arange(GENES)[None, :]
    assert found[4].value == pytest.approx(roc_auc_score(member[listed][inside], filled[listed][inside]))
    assert np.isnan(found[4].scores).sum() == np.isnan(mean[listed][inside]).sum() > 0


def test_draws_are_halves_and_exchange_what_they_say(ask):
    inputs = ask()
    seeds = list(draws(inputs, CELLS, "seed", 4, 0.02))
    assert {each.size for each in seeds} == {CELLS // 2}
    assert all(np.unique(each).size == each.size for each in seeds)
    assert 10 < np.intersect1d(seeds[0], seeds[1]).size < 30
    near = list(draws(inputs, CELLS, "cell_draw", 6, 0.1))
    moved = redrawn(CELLS // 2, 0.1)
    assert moved == 4
    for one, other in pairwise(near):
        assert one.size == CELLS // 2
        assert CELLS // 2 - 2 * moved <= np.intersect1d(one, other).size < CELLS // 2


def test_spread_over_halves_is_that_of_independent_samples_of_the_whole_size():
    """The rule the draws rest on: halves of N values vary about their mean like fresh means of N values."""
    rng = np.random.default_rng(0)
    pool = rng.normal(size=200)
    halved = [pool[rng.permutation(200)[:100]].mean() for _ in range(4000)]
    assert np.std(halved) == pytest.approx(pool.std(ddof=1) / np.sqrt(200), rel=0.05)


def test_the_table_is_what_the_standard_reads(ask):
    table = stability(ask(spread=0.2, stability_repeats=3)).tables["stability"]
    assert len(table) == 10
    checked = judge_frame(shipped_standards()["QCS-37"], table)
    assert [check.id for check in checked.checks if check.error] == []
    findings = {"small-spread", "one-reading", "edges-keep-order"}  # of the data; the rest is the table's own shape
    assert {check.id for check in checked.checks if not check.success} <= findings
    assert set(table.loc[table["varied"] == "seed", "criterion"]) == {
        *("none", "a;baselines_win", "equal_to_correlation", "c")
    }


def test_agreement_is_over_pairs_that_every_repeat_holds(ask):
    inputs = ask(holding=0.15, stability_repeats=3)
    runs = [measured(judged_cells(inputs, 20), cells)[0].scores for cells in draws(inputs, CELLS, "seed", 3, 0.02)]
    table = np.array(runs)
    common = np.isfinite(table).all(axis=0)
    line = table_of(inputs).loc[("mean AUROC of attention", "seed")]
    assert 0 < common.sum() == line["edges_compared"] < common.size
    pairs = [spearmanr(table[a, common], table[b, common]).statistic for a, b in ((0, 1), (0, 2), (1, 2))]
    assert line["rank_agreement"] == pytest.approx(np.median(pairs))


def test_rows_without_input_say_why(ask):
    inputs = ask()
    few = dict(inputs.readings["cell_attention"].arrays)
    few["primary_screen_cells"] = few["primary_screen_cells"][:39]
    few["primary_screen_offsets"] = few["primary_screen_offsets"][:40]
    end = few["primary_screen_offsets"][-1]
    few |= {f"primary_screen_{name}": few[f"primary_screen_{name}"][:end] for name in ("row", "column")}
    few["primary_screen_value"] = few["primary_screen_value"][:, :end]
    cases = {
        "39 cells were read one by one": replace(inputs, readings={"cell_attention": Reading(arrays=few)}),
        "no model": replace(inputs, readings={}, absent={"cell_attention": "no model"}),
        "single cells of role primary_screen were not read": replace(inputs, readings={"cell_attention": Reading()}),
        "stability_repeats = 1": replace(inputs, settings={**inputs.settings, "stability_repeats": 1}),
    }
    for reason, given in cases.items():
        output = stability(given)
        assert output.tables == {}
        assert all(str(result.status) == "skipped" and reason in result.reason for result in output.results)


def test_a_missing_reference_leaves_the_other_numbers(ask):
    inputs = ask()
    bare = replace(inputs.roles["primary_screen"], references={})
    output = stability(replace(inputs, roles={"primary_screen": bare}))
    status = {result.test_id: str(result.status) for result in output.results}
    assert {test_id for test_id, value in status.items() if value == "skipped"} == {"E8.9", "E8.10"}
    assert "is not available" in output.results[-1].reason
    assert len(output.tables["stability"]) == 8


def test_a_reading_of_other_genes_is_refused(ask):
    inputs = ask()
    arrays = dict(inputs.readings["cell_attention"].arrays)
    arrays["primary_screen_genes"] = np.char.add(arrays["primary_screen_genes"], "x")
    with pytest.raises(ValueError, match="not of these cells, genes and layer"):
        stability(replace(inputs, readings={"cell_attention": Reading(arrays=arrays)}))


def test_declared_rows_cover_every_quantity_under_both_sources():
    assert tuple(ROWS) == tuple(spec.test_id for spec in SPECS)
    assert [varied for _, varied in ROWS.values()] == ["seed", "cell_draw"] * 5

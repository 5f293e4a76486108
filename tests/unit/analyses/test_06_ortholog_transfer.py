"""Analysis 6: edges that carry over to the other species, edges that do not, and what only cell types share."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix
from scipy.stats import spearmanr

from interp_assets.analyses.inputs import AnalysisInputs, CellSample
from interp_assets.analyses.ortholog_pairs import shared_genes, species_pair, target_bands
from interp_assets.analyses.ortholog_tables import category
from interp_assets.analyses.ortholog_transfer import ortholog_transfer
from interp_assets.cells.outcomes import no_outcomes
from interp_assets.cells.prepare import normalised_log
from interp_assets.cells.records import PreparedCells
from interp_assets.edges.references import signed_reference
from qc_standards.records import Status
from qc_standards.registry import tests_of_analysis

GENES = np.array([f"G{i:03d}" for i in range(90)])
SETTINGS = {"ortholog_permutations": 99, "ortholog_floor": 0.05, "bootstrap": 50}


def cells_of(rate, dataset, types, genes=GENES, seed=0):
    """Cells drawn around a log rate (cells x genes)."""
    rng = np.random.default_rng([seed, len(dataset)])
    counts = csr_matrix(rng.poisson(np.exp(rate + 1.0)).astype(np.int32))
    names = pd.Index([f"{dataset}{i}" for i in range(counts.shape[0])], name="cell")
    return PreparedCells(
        dataset=dataset,
        species="human",
        data_origin="simulated",
        counts=counts,
        log=normalised_log(counts),
        genes=genes,
        obs=pd.DataFrame({"cell_type": types}, index=names),
        control=np.ones(counts.shape[0], dtype=bool),
        cells_hash=dataset.ljust(64, "0"),
        universe=genes,
    )


def sample_of(cells, partner=None, direction=None):
    rng = np.random.default_rng(3)
    pairs = pd.DataFrame(
        [
            (f"G{tf:03d}", f"G{gene:03d}")
            for tf in range(12)
            for gene in rng.choice(np.arange(12, 90), 3 + 2 * tf, False)
        ],
        columns=["tf", "target"],
    )
    pairs["direction"] = np.where(pairs["tf"] < "G006", 1, -1) if direction is None else direction
    reference = signed_reference("curated", pairs, cells.universe)
    return CellSample(
        role="species_pair",
        role_fit="partial",
        cells=cells,
        labels=no_outcomes(cells),
        references={"curated": reference},
        primary_reference="curated",
        partner=partner,
    )


def world(kind, seed=0, number=160):
    """Two species: `conserved` share programmes, `noise` nothing, `types` only which type expresses a gene."""
    rng = np.random.default_rng([seed, 5])
    loads = rng.normal(size=(2, 4, 90))
    if kind == "conserved":
        loads[1] = loads[0]
    type_levels = 0.8 * rng.normal(size=(2, 90))
    found = []
    for species in range(2):
        types = np.repeat(["a", "b"], number // 2)
        rate = rng.normal(size=(number, 4)) @ loads[species] * 0.35
        if kind == "types":
            rate = rate + type_levels[(types == "b").astype(int)]
        found.append(cells_of(rate, f"species{species}", types, seed=seed + species))
    return sample_of(found[0], partner=sample_of(found[1]))


def run(sample, **changes):
    inputs = AnalysisInputs(
        study="synthetic",
        release="release",
        tests=tests_of_analysis(6),
        roles={},
        samples={"species_pair": sample} if sample is not None else {},
        settings={**SETTINGS, **changes},
    )
    return ortholog_transfer(inputs)


@pytest.fixture(scope="module")
def conserved():
    return run(world("conserved"))


def test_conserved_edges_are_found(conserved):
    rho, signs, top, spread = conserved.results
    assert all(result.status is Status.RUN for result in conserved.results)
    assert rho.effect > 0.6
    assert rho.ci_low < rho.effect < rho.ci_high
    assert signs.effect > 0.8
    assert top.effect > 3.0
    assert rho.p == signs.p == 1 / 100
    assert abs(rho.null_mean) < 0.1
    assert (rho.resamples_requested, rho.resamples_done) == (99, 99)
    assert spread.p is None
    assert spread.n == 12
    assert json.loads(rho.settings_used)["partner"] == "species1"
    assert ["bootstrap" in json.loads(row.settings_used) for row in conserved.results] == [True, False, False, False]
    assert {(row.dataset, row.role_fit) for row in conserved.results} == {("species0 + species1", "partial")}


def test_noise_is_not_transferred():
    p = [run(world("noise", seed)).results[0].p for seed in range(8)]
    assert sum(value <= 0.05 for value in p) <= 2


def test_what_only_cell_types_share_vanishes_within_them():
    output = run(world("types", number=240))
    table = output.tables["ortholog_null"].query("null == 'gene_label' and statistic == 'spearman' and pairs == 'all'")
    by_cells = table.set_index("cells")
    assert by_cells.loc["all", "observed"] > 0.3
    assert by_cells.loc["all", "p"] == 1 / 100
    assert abs(by_cells.loc["within_cell_type", "observed"]) < 0.15


def test_numbers_equal_a_plain_computation(conserved):
    sample = world("conserved")
    tables = [spearmanr(one.cells.log.toarray()).statistic for one in (sample, sample.partner)]
    pairs = [(i, j) for i in range(12) for j in range(i + 1, 90)]
    first, second = (np.array([table[i, j] for i, j in pairs]) for table in tables)
    kept = (np.abs(first) >= 0.05) & (np.abs(second) >= 0.05)
    rho, signs, top, spread = conserved.results
    assert rho.effect == pytest.approx(spearmanr(first[kept], second[kept]).statistic)
    assert rho.n == kept.sum()
    assert signs.effect == pytest.approx((np.sign(first[kept]) == np.sign(second[kept])).mean())
    summary = conserved.tables["ortholog_summary"].query("cells == 'all' and class_by == 'none'").set_index("pairs")
    assert summary.loc["all", "spearman"] == pytest.approx(spearmanr(first, second).statistic)
    own = []
    for tf in range(12):
        one, other = (np.delete(table[tf], tf) for table in tables)
        passing = (np.abs(one) >= 0.05) & (np.abs(other) >= 0.05)
        own.append(spearmanr(one[passing], other[passing]).statistic)
    assert spread.effect == pytest.approx(max(own) - min(own))
    assert top.statistic == len(set(np.argsort(-abs(first))[:100]) & set(np.argsort(-abs(second))[:100]))
    assert json.loads(top.settings_used)["k"] == 100


def test_tables_say_both_filters_and_every_class(conserved):
    summary = conserved.tables["ortholog_summary"]
    assert set(summary["pairs"]) == {"filtered", "all"}
    assert set(summary["class_by"]) == {"none", "targets", "direction"}
    assert {"mostly activating", "mostly repressing"} <= set(summary["tf_class"])
    categories = conserved.tables["ortholog_categories"].query("cells == 'all' and class_by == 'none'")
    totals = categories.groupby("pairs")["n_pairs"].sum()
    assert totals["all"] == 12 * 78 + 66
    assert len(conserved.tables["ortholog_edges"].query("cells == 'all'")) == totals["filtered"]
    bins = conserved.tables["ortholog_sign_bins"].query("cells == 'all'")
    assert bins["n_pairs"].sum() == totals["all"]
    assert set(conserved.tables["ortholog_null"]["null"]) == {
        "gene_label", "gene_label_within_expression", "edge_label",
    }  # fmt: skip
    assert conserved.tables["ortholog_overlap"].query("cells == 'all' and pairs == 'all'")["k"].tolist() == [
        100, 500, 1000, 1002,
    ]  # fmt: skip
    assert all((table["partner"] == "species1").all() for table in conserved.tables.values())


def test_categories_follow_the_rule():
    first = np.array([0.3, 0.6, 0.2, -0.1, 0.06])
    second = np.array([0.2, 0.1, -0.1, 0.05, -0.06])
    assert category(first, second).tolist() == [
        "conserved", "fragile", "anti_conserved", "opposite_weak", "opposite_weak",
    ]  # fmt: skip


def test_bands_of_targets_keep_equal_counts_together():
    bands = target_bands({"a": 1, "b": 1, "c": 1, "d": 5, "e": 9})
    assert bands["a"] == bands["b"] == bands["c"] == "1-1 targets"
    assert len(set(bands.values())) == 3 or bands["d"] == bands["e"]


def test_genes_are_matched_by_name_and_rare_ones_left_out():
    sample = world("conserved")
    other = sample.partner.cells
    shuffled = np.random.default_rng(0).permutation(90)
    moved = replace(
        other,
        genes=other.genes[shuffled],
        universe=other.genes[shuffled],
        counts=other.counts[:, shuffled],
        log=other.log[:, shuffled],
    )
    again = run(replace(sample, partner=replace(sample.partner, cells=moved)))
    assert again.results[0].effect == pytest.approx(run(sample).results[0].effect)
    rare = other.log.tolil()
    rare[:, 4] = 0
    assert "G004" not in shared_genes(sample.cells, replace(other, log=rare.tocsr()))


def test_without_a_pair_every_row_says_why():
    alone = replace(world("conserved"), partner=None)
    for sample, told in ((None, "fills no role species_pair"), (alone, "names no partner")):
        output = run(sample)
        assert all(result.status is Status.SKIPPED and told in result.reason for result in output.results)


def test_too_few_regulators_or_pairs_are_skipped():
    sample = world("conserved")
    few = replace(sample.references["curated"], regulators=np.array([0], dtype=np.int32))
    lonely = replace(sample, references={"curated": few}, partner=replace(sample.partner, references={}))
    assert "1 regulators" in run(lonely).results[0].reason
    strict = run(sample, ortholog_floor=0.99)
    assert [result.status for result in strict.results] == [
        Status.SKIPPED, Status.SKIPPED, Status.RUN, Status.SKIPPED,
    ]  # fmt: skip
    assert "lower `ortholog_floor`" in strict.results[0].reason


def test_without_shared_types_the_whole_is_still_compared():
    sample = world("conserved")
    obs = sample.partner.cells.obs.assign(cell_type="elsewhere")
    output = run(replace(sample, partner=replace(sample.partner, cells=replace(sample.partner.cells, obs=obs))))
    assert output.results[0].status is Status.RUN
    assert "no cell type has" in json.loads(output.results[0].settings_used)["within_cell_type_reason"]
    assert set(output.tables["ortholog_summary"]["cells"]) == {"all"}


def test_a_row_is_as_weak_as_the_weaker_species():
    sample = world("conserved")
    labels = replace(sample.labels, data_origin="real")
    assert run(replace(sample, labels=labels)).results[0].data_origin == "simulated"


def test_pairs_that_share_no_cell_type_are_left_out_and_not_0():
    sample = world("conserved")

    def apart(one):
        log, types = one.cells.log.tolil(), one.cells.obs["cell_type"].to_numpy()
        log[np.flatnonzero(types == "a"), 3] = 0.0
        log[np.flatnonzero(types == "b"), 40] = 0.0
        return replace(one, cells=replace(one.cells, log=log.tocsr()))

    pair = species_pair(replace(apart(sample), partner=apart(sample.partner)))
    assert (pair.whole.left_out, pair.within.left_out) == (0, 1)
    assert set(pair.whole.genes) - set(pair.within.genes) == {"G040"}
    assert (pair.within.edges.first != 0).all()


def test_names_permuted_within_expression_are_another_null(conserved):
    null = conserved.tables["ortholog_null"].query("cells == 'all' and pairs == 'all' and statistic == 'spearman'")
    mean = null.set_index("null")["null_mean"]
    assert mean["gene_label_within_expression"] != mean["gene_label"]


def test_types_are_weighed_by_their_smaller_number_of_cells():
    sample = world("conserved")
    types = [np.repeat(["a", "b"], sizes) for sizes in ((40, 120), (60, 100))]
    samples = [
        replace(one, cells=replace(one.cells, obs=one.cells.obs.assign(cell_type=of)))
        for one, of in zip((sample, sample.partner), types, strict=True)
    ]
    within = species_pair(replace(samples[0], partner=samples[1])).within
    place = [GENES.tolist().index(gene) for gene in within.genes]
    for one, of, scores in zip(samples, types, (within.edges.first, within.edges.second), strict=True):
        log = one.cells.log.toarray()[:, place]
        each = [spearmanr(log[of == name]).statistic for name in ("a", "b")]
        expected = (40 * each[0] + 100 * each[1]) / 140
        np.testing.assert_allclose(scores, expected[within.edges.row, within.edges.column], atol=1e-12)


def test_it_is_the_same_twice(conserved):
    again = run(world("conserved"))
    assert [result.p for result in again.results] == [result.p for result in conserved.results]
    assert [result.ci_low for result in again.results] == [result.ci_low for result in conserved.results]

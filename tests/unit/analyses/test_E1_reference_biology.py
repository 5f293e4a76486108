"""E1: planted databases fire, random ones do not, and the numbers are those of scikit-learn and scipy."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from interp_assets.analyses.reference_biology import TRENDS, reference_biology
from interp_assets.analyses.reference_enrichment import ENRICHED
from interp_assets.edges.records import Reference
from qc_standards.extended import extended_frame, extended_tests_of
from qc_standards.records import Status

SETTINGS = {"partial_samples": 20, "top_edges": 100}
UNDIRECTED = ("STRING700", "STRING900", "Reactome", "KEGG", "GO BP")


def database(role, name, member, *, directed):
    member = member.copy() if directed else member | member.T
    np.fill_diagonal(member, val=False)
    source, target = np.nonzero(member)
    listed = np.flatnonzero(member.any(axis=1)).astype(np.int32)
    return Reference(
        name=f"{name.lower()}_file",
        genes=role.genes,
        source=source.astype(np.int32),
        target=target.astype(np.int32),
        directed=directed,
        regulators=listed,
    )


def planted(role):
    listed = np.zeros((role.genes.size,) * 2, dtype=bool)
    listed[role.references["planted"].source, role.references["planted"].target] = True
    return listed


def with_databases(**random):
    """Role with all six databases: the planted network, or where ``random`` names one, as many pairs at random."""

    def alter(role):
        rng = np.random.default_rng(5)
        sets = {}
        for name in (*UNDIRECTED, "TRRUST"):
            member = planted(role)
            if name.replace(" ", "_") in random:
                member = rng.permuted(member.ravel()).reshape(member.shape)
            sets[name] = database(role, name, member, directed=name == "TRRUST")
        return replace(role, reference_sets=sets)

    return alter


@pytest.fixture
def judge(make_inputs):
    """Output of E1 on a synthetic screen with six layers whose signal grows with depth."""

    def run(kind="planted", *, alter=None, settings=None, layers=6, noise=1.0, **knobs):
        alter = alter or with_databases(GO_BP=True)
        inputs = make_inputs(
            23, kind, settings=SETTINGS | (settings or {}), alter=alter, layers=layers, noise=noise, **knobs
        )
        return reference_biology(replace(inputs, tests=extended_tests_of(1)))

    return run


def by_id(output):
    return {result.test_id: result for result in output.results}


def test_rows_are_the_declared_ones_and_enter_their_families(judge):
    output = judge()
    assert [result.test_id for result in output.results] == [spec.test_id for spec in extended_tests_of(1)]
    frame = extended_frame(output.results, extended_tests_of(1))
    assert frame.groupby("local_family", sort=False).size().tolist() == [6, 3, 4, 30]
    assert frame.set_index("test_id").loc["E1.1", "significant_local"]
    assert list(output.tables) == [
        "reference_profile", "reference_profile_correlation", "partial_correlation_samples", "top_edge_enrichment",
    ]  # fmt: skip


def test_planted_databases_fire_and_a_random_one_does_not(judge):
    found = by_id(judge())
    assert found["E1.5"].effect == found["E1.3"].effect == 1.0
    assert found["E1.5"].p == pytest.approx(2 / 720)
    for name in ("E1.10", "E1.12", "E1.13"):
        assert found[name].effect > 0.2
        assert found[name].p < 1e-6
    assert abs(found["E1.11"].effect) < 0.1
    assert found["E1.11"].p > 0.01
    over, under = found["E1.38"], found["E1.39"]
    assert over.ci_low > 2
    assert over.p < 1e-6
    assert under.p > 0.99
    assert json.loads(over.settings_used)["p_relabelled"] == 1 / 1000
    assert json.loads(found["E1.40"].settings_used)["p_relabelled"] > 0.01
    go_over, go_under = found["E1.40"], found["E1.41"]
    assert go_over.ci_low < 1 < go_over.ci_high
    assert min(go_over.p, go_under.p) > 0.01


def test_the_primary_reference_is_found_where_attention_was_made_to_carry_it(judge):
    output = judge()
    for table, column, least in (
        ("reference_profile", "auroc_attention", 0.6),
        ("partial_correlation_samples", "partial", 0.2),
        ("top_edge_enrichment", "odds_ratio", 2.0),
    ):
        part = output.tables[table].query("database_role == 'primary reference'")
        assert set(part["database"]) == {"planted"}
        assert part.sort_values("layer")[column].iloc[-1] > least


def test_noise_fires_nothing(judge):
    output = judge("noise", alter=with_databases())
    frame = extended_frame(output.results, extended_tests_of(1))
    assert not frame["significant_local"].any()
    assert output.tables["reference_profile"]["auroc_attention"].between(0.4, 0.6).all()


@pytest.mark.parametrize("name", ["KEGG", "TRRUST"])
def test_profiles_are_those_of_a_naive_loop(judge, make_inputs, name):
    output = judge(missing=0.05)
    role = make_inputs(23, layers=6, noise=1.0, missing=0.05, alter=with_databases(GO_BP=True)).roles["primary_screen"]
    reference = role.reference_sets[name]
    listed = set(zip(reference.source.tolist(), reference.target.tolist(), strict=True))
    able = set(reference.regulators.tolist())
    genes = range(role.genes.size)
    if reference.directed:
        pairs = [(i, j) for i in genes for j in genes if i in able and i != j]
    else:
        pairs = [(i, j) for i, j in combinations(genes, 2) if i in able or j in able]
    label = [pair in listed for pair in pairs]
    table = output.tables["reference_profile"].query("database == @name").set_index("layer")
    for layer in (0, 5):
        score = role.attention.layer_matrix(layer).score.astype(float)
        np.fill_diagonal(score, np.nan)
        score = np.where(np.isnan(score), np.nanmin(score), score)
        directed = [score[i, j] for i, j in pairs]
        ways = {"mean": [(score[i, j] + score[j, i]) / 2 for i, j in pairs]}
        ways["max"] = [max(score[i, j], score[j, i]) for i, j in pairs]
        if reference.directed:
            ways["directed"] = directed
        for way, values in ways.items():
            assert table.loc[layer, f"auroc_attention_{way}"] == pytest.approx(roc_auc_score(label, values))
        primary = "directed" if reference.directed else "mean"
        assert table.loc[layer, "primary_edge"] == primary
        assert table.loc[layer, "auroc_attention"] == table.loc[layer, f"auroc_attention_{primary}"]
        other = role.correlation.score.astype(float)
        other = other if reference.directed else other + other.T
        correlation = [other[i, j] for i, j in pairs]
        assert table.loc[layer, "auroc_correlation"] == pytest.approx(roc_auc_score(label, correlation))
    assert (table["n_pairs"] == len(pairs)).all()
    assert (table["n_positives"] == sum(label)).all()


def test_trends_and_agreement_are_those_of_scipy(judge):
    output = judge("noise", alter=with_databases(GO_BP=True, KEGG=True, Reactome=True))
    table = output.tables["reference_profile"].query("database_role == 'database'")
    profile = table.pivot_table(index="layer", columns="database", values="auroc_attention")
    found = by_id(output)
    for test_id, name in TRENDS.items():
        assert found[test_id].effect == pytest.approx(stats.spearmanr(range(6), profile[name]).statistic)
        assert (found[test_id].n, found[test_id].layer) == (6, None)
    assert found["E1.7"].effect == pytest.approx(stats.spearmanr(profile["STRING900"], profile["TRRUST"]).statistic)
    three = [
        stats.spearmanr(profile[a], profile[b]).statistic for a, b in combinations(("KEGG", "GO BP", "Reactome"), 2)
    ]
    assert found["E1.9"].effect == pytest.approx(np.median(three))
    assert found["E1.9"].p is None
    pairs = output.tables["reference_profile_correlation"]
    assert len(pairs) == 21
    assert (pairs["smallest_attainable_p"] > 0).all()


def test_enrichment_is_that_of_scipy_over_the_scored_pairs(judge, make_inputs):
    output = judge(missing=0.1)
    role = make_inputs(23, layers=6, noise=1.0, missing=0.1, alter=with_databases(GO_BP=True)).roles["primary_screen"]
    score = role.attention.layer_matrix(5).score.astype(float)
    held = set(zip(role.reference_sets["KEGG"].source, role.reference_sets["KEGG"].target, strict=True))
    scored = {}
    for i, j in combinations(range(role.genes.size), 2):
        seen = [value for value in (score[i, j], score[j, i]) if np.isfinite(value)]
        if seen:
            scored[i, j] = np.mean(seen)
    best = set(sorted(scored, key=scored.get)[-100:])
    hits, members = len(best & held), len(scored.keys() & held)
    table = [[hits, 100 - hits], [members - hits, len(scored) - 100 - members + hits]]
    found = by_id(output)
    assert found["E1.38"].effect == pytest.approx(stats.fisher_exact(table).statistic)
    assert found["E1.38"].p == pytest.approx(stats.fisher_exact(table, "greater").pvalue)
    assert found["E1.39"].p == pytest.approx(stats.fisher_exact(table, "less").pvalue)
    assert (found["E1.38"].n, found["E1.38"].layer) == (len(scored), 5)
    assert json.loads(found["E1.38"].settings_used)["genes_in_top"] == len({gene for pair in best for gene in pair})


def test_with_four_layers_a_second_row_of_a_layer_is_the_same_and_p_stops_at_a_twelfth(judge):
    found = by_id(judge(layers=4))
    assert found["E1.32"].status == Status.SKIPPED
    assert found["E1.32"].reason == "same as E1.26"
    assert {found[name].layer for name in ENRICHED} == {0, 1, 2, 3}
    assert sum(result.reason.startswith("same as") for result in found.values()) == 6
    assert found["E1.5"].p == pytest.approx(2 / 24)
    assert "can reach 0.0833 with 4 layers" in found["E1.5"].direction


def test_what_is_not_there_is_skipped_with_the_reason(judge):
    def only_kegg(role):
        return replace(role, reference_sets={"KEGG": with_databases()(role).reference_sets["KEGG"]})

    def too_small(role):
        few = np.zeros((role.genes.size,) * 2, dtype=bool)
        few[:2, 2:5] = True
        return replace(role, reference_sets={"KEGG": database(role, "KEGG", few, directed=False)})

    found = by_id(judge(alter=only_kegg, layers=3))
    assert found["E1.5"].status == Status.SKIPPED
    assert "3 layers" in found["E1.5"].reason
    assert found["E1.12"].status == Status.RUN
    assert "names no database TRRUST" in found["E1.10"].reason
    assert "names no database GO BP" in found["E1.9"].reason
    assert found["E1.40"].p is None
    nothing = judge(alter=lambda role: role)
    assert {result.status for result in nothing.results} == {Status.SKIPPED}
    assert "reference_sets" in nothing.results[0].reason
    assert "KEGG has 6 pairs" in judge(alter=too_small).results[0].reason
    large = by_id(judge(settings={"top_edges": 5000}))
    assert "more than 10%" in large["E1.14"].reason


def test_partial_rows_state_one_samples_n_and_what_p_assumes(judge):
    output = judge()
    row = by_id(output)["E1.12"]
    table = output.tables["partial_correlation_samples"].set_index("database")
    assert row.n == table.loc["KEGG", "n"] == 2 * table.loc["KEGG", "n_positives"]
    assert (row.resamples_requested, row.resamples_done) == (20, 20)
    used = json.loads(row.settings_used)
    assert "independent" in used["assumes"]
    assert used["kept_share"] == pytest.approx(row.effect / used["raw"])
    assert set(table.index) == {"TRRUST", "GO BP", "KEGG", "Reactome", "planted"}

"""E6: a planted edge beats trivial pairwise scores, a copy of one is equal to it, and a noisy copy leaves nothing."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import spearmanr, wilcoxon
from sklearn.metrics import roc_auc_score
from statsmodels.stats.weightstats import ttost_paired

from interp_assets.analyses.pairwise_baselines import pairwise_baselines
from interp_assets.analyses.perturbation_first import score_aurocs
from interp_assets.edges.records import Reference
from interp_assets.stats.resampling import grouped_auroc_bootstrap
from qc_standards.extended import extended_tests_of, family_sizes
from qc_standards.records import Status

BOOTSTRAP = 400


@pytest.fixture
def judge(make_inputs):
    """Output of E6 on a synthetic screen; knobs as in ``make_inputs``."""

    def run(kind="planted", **knobs):
        inputs = make_inputs(21, kind, settings={"pairwise_bootstrap": BOOTSTRAP}, **knobs)
        return pairwise_baselines(replace(inputs, tests=extended_tests_of(6)))

    return run


def by_id(output):
    return {result.test_id: result for result in output.results}


def line(output, table, **where):
    rows = output.tables[table]
    for column, value in where.items():
        rows = rows[rows[column] == value]
    assert len(rows) == 1
    return rows.iloc[0]


def attention_as(make):
    """Replaces attention by ``make(role)``, genes x genes, in every layer."""

    def alter(role):
        edges = replace(role.correlation, name="attention", score=make(role).astype(np.float32))
        return replace(role, attention=replace(role.attention, layer_matrix=lambda _: edges))

    return alter


def test_planted_attention_fires_against_the_screen_and_the_reference(judge):
    found = by_id(judge())
    for test_id in ("E6.1", "E6.2", "E6.3", "E6.9", "E6.10", "E6.11"):
        assert found[test_id].effect > 0.3
        assert found[test_id].ci_low > 0
        assert found[test_id].p < 0.01
        assert found[test_id].direction.endswith("greater")
    for test_id in ("E6.7", "E6.15"):
        assert found[test_id].ci_low > 0.9
        assert found[test_id].p < 0.01
    assert {found[name].unit for name in ("E6.1", "E6.7")} == {"perturbation"}
    assert {found[name].unit for name in ("E6.9", "E6.15")} == {"regulator"}


def test_noise_does_not(judge):
    p, beyond = [], []
    for seed in range(20):
        found = by_id(judge("noise", seed=seed, genes=80, perturbations=20, layers=1))
        p += [found[f"E6.{k}"].p for k in (1, 2, 9, 10)]
        beyond += [found[f"E6.{k}"].p for k in (7, 15)]
    # Of 80 and 40 dependent tests 4 and 2 are expected at .05; these limits are three binomial deviations above.
    assert sum(each <= 0.05 for each in p) <= 10
    assert sum(each <= 0.05 for each in beyond) <= 6


def test_a_copy_of_a_trivial_score_is_equal_to_it_and_leaves_nothing(judge):
    output = judge(alter=attention_as(lambda role: role.trivial["co_detection"].score))
    found = by_id(output)
    assert (found["E6.2"].effect, found["E6.2"].p) == (0.0, 1.0)
    assert found["E6.2"].direction == "attention - co_detection: equal"
    assert found["E6.10"].direction.endswith("equal")
    assert line(output, "pairwise_baselines", score="attention", baseline="co_detection", truth="screen")["equivalent"]
    assert (found["E6.7"].effect, found["E6.7"].p) == (0.5, 1.0)
    assert found["E6.18"].effect == pytest.approx(1.0)


def test_a_noisy_copy_of_a_trivial_score_finds_targets_and_nothing_beyond_it(judge):
    def hub(role):
        """Labels of the confound world follow the target's variance; so does this trivial score."""
        rng = np.random.default_rng(8)
        z = np.log(role.features["variance"].to_numpy())
        trivial = np.tile(z, (z.size, 1)) + 0.3 * rng.normal(size=(z.size, z.size))
        edges = replace(role.trivial["co_detection"], score=trivial.astype(np.float32))
        copy = attention_as(lambda _: trivial + rng.normal(size=trivial.shape))
        return copy(replace(role, trivial={**role.trivial, "co_detection": edges}))

    output = judge("confound", alter=hub, genes=300, perturbations=60)
    left = by_id(output)["E6.7"]
    assert left.statistic > 0.65
    # Variance and mean move together here and only a noisy view of them is regressed out, so a little may stay.
    assert left.effect < 0.53
    assert line(output, "pairwise_residual", truth="screen", score="attention", deciding=True)["auroc_residual"] == (
        pytest.approx(left.effect)
    )


def test_numbers_on_the_screen_equal_scipy_statsmodels_and_analysis_19(judge, make_inputs):
    knobs = {"kind": "confound", "seed": 5, "informative": 0.6, "missing": 0.05}
    output = judge(**knobs)
    inputs = make_inputs(21, **knobs)
    role = inputs.roles["primary_screen"]
    frame, _ = score_aurocs(inputs, role, 2, ("attention", "correlation", "rank_distance"))
    for subset in ("all", "informative"):
        wide = frame[frame["subset"] == subset].pivot(index="perturbation", columns="score", values="auroc")
        for edge in ("attention", "correlation"):
            change = wide[edge] - wide["rank_distance"]
            where = {"truth": "screen", "subset": subset, "score": edge, "baseline": "rank_distance"}
            record = line(output, "pairwise_baselines", **where)
            assert record["auroc_score"] == pytest.approx(wide[edge].mean(), abs=1e-12)
            assert record["difference"] == pytest.approx(change.mean(), abs=1e-12)
            assert record["p"] == pytest.approx(wilcoxon(change).pvalue, rel=1e-9)
            assert record["p_equivalent"] == pytest.approx(
                ttost_paired(wide[edge], wide["rank_distance"], -0.02, 0.02)[0], rel=1e-9
            )
            # A percentile interval of a mean over many units is close to the normal one.
            half = 1.96 * change.std() / np.sqrt(len(change))
            assert record["ci_high"] - record["ci_low"] == pytest.approx(2 * half, rel=0.2)
            assert record["n_units"] == len(change)


def test_numbers_on_the_reference_equal_scikit_learn(judge, make_inputs):
    output = judge()
    role = make_inputs(21).roles["primary_screen"]
    reference = role.references["planted"]
    member = np.zeros((150, 150), int)
    member[reference.source, reference.target] = 1
    mean = role.features["mean"].to_numpy()
    at = np.zeros((150, 150), bool)
    at[np.unique(reference.source)] = True
    np.fill_diagonal(at, val=False)
    record = line(output, "pairwise_baselines", truth="planted", score="attention", baseline="product_of_means")
    scores = {"auroc_score": role.attention.layer_matrix(2).score, "auroc_baseline": np.outer(mean, mean)}
    for column, score in scores.items():
        assert record[column] == pytest.approx(roc_auc_score(member[at], score[at].astype(np.float32)), abs=1e-6)
    group = np.unique(np.nonzero(at)[0], return_inverse=True)[1]
    weights = np.random.default_rng(1).multinomial(30, np.full(30, 1 / 30), size=BOOTSTRAP)
    one, other = (grouped_auroc_bootstrap(s[at], member[at], group, weights) for s in scores.values())
    low, high = np.quantile(one - other, [0.025, 0.975])
    assert (record["ci_low"], record["ci_high"]) == (pytest.approx(low, abs=0.01), pytest.approx(high, abs=0.01))


def test_ranks_within_a_regulator_drop_what_separates_regulators(judge):
    def shifted(role):
        """A regulator with many targets gets a low score everywhere: pooled recovery falls, ranks within it do not."""
        rng = np.random.default_rng(4)
        member = np.zeros((150, 150))
        member[role.references["planted"].source, role.references["planted"].target] = 1
        return member + rng.normal(0, 0.3, member.shape) - 3.0 * rng.random((150, 1))

    record = line(
        judge(alter=attention_as(shifted)), "pairwise_residual", truth="planted", score="attention", deciding=True
    )
    assert record["auroc_score"] < 0.85
    assert record["auroc_ranked"] > 0.95
    assert record["auroc_residual"] == pytest.approx(record["auroc_ranked"], abs=0.02)
    screen = line(judge(), "pairwise_residual", truth="screen", score="attention", deciding=True)
    assert screen["auroc_ranked"] == pytest.approx(screen["auroc_score"], abs=1e-12)


def test_association_is_spearman_over_observed_pairs(judge, make_inputs):
    output = judge(missing=0.2)
    role = make_inputs(21, missing=0.2).roles["primary_screen"]
    attention, other = role.attention.layer_matrix(2).score, role.trivial["rank_distance"].score
    kept = ~np.isnan(attention) & ~np.eye(150, dtype=bool)
    result = by_id(output)["E6.17"]
    assert result.effect == pytest.approx(spearmanr(attention[kept], other[kept]).statistic, abs=1e-9)
    assert (result.n, result.p) == (kept.sum(), None)


def test_every_reference_of_the_role_is_in_the_tables_and_the_primary_one_is_in_the_rows(judge):
    def second(role):
        known = role.references["planted"]
        other = Reference(
            name="elsewhere",
            genes=known.genes,
            source=known.target[:40],
            target=known.source[:40],
            directed=False,
            regulators=np.unique(known.target[:40]),
        )
        return replace(role, references={"elsewhere": other, **role.references})

    output = judge(alter=second)
    table = output.tables["pairwise_baselines"]
    assert list(dict.fromkeys(table["truth"])) == ["screen", "planted", "elsewhere"]
    assert table.loc[~table["primary"], "truth"].unique().tolist() == ["elsewhere"]
    assert by_id(output)["E6.9"].n == by_id(judge())["E6.9"].n == 30
    assert json.loads(by_id(output)["E6.9"].settings_used)["truth"] == "planted"


def test_what_is_absent_is_skipped_with_its_reason(judge):
    gone = judge(absent="licence")
    assert {(r.status, r.reason) for r in gone.results} == {(Status.SKIPPED, "licence")}
    mute = by_id(judge(alter=lambda r: replace(r, label=np.minimum(r.label, 0).astype(np.int8))))
    assert mute["E6.7"].status is Status.SKIPPED
    assert "perturbation_exclusions" in mute["E6.1"].reason
    assert mute["E6.9"].status is Status.RUN
    bare = by_id(judge(alter=lambda r: replace(r, references={})))
    assert "reference 'planted' is not available" in bare["E6.15"].reason
    assert bare["E6.1"].status is Status.RUN
    lone = judge(alter=lambda r: replace(r, trivial={"co_detection": r.trivial["co_detection"]}))
    assert {r.reason for r in lone.results} == {"synthetic-screen: no score rank_distance was computed"}


def test_families_keep_screen_reference_and_description_apart():
    assert family_sizes(extended_tests_of(6)) == {
        "trivial pairwise scores, screen": 8,
        "trivial pairwise scores, reference": 8,
        "trivial pairwise scores, association (descriptive)": 3,
    }

"""Analysis 14: attention against three quantities of expression, by relabelled genes, and across tissues."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.linear_model import LinearRegression

from interp_assets.analyses.expression_mapping import attention_mapping
from qc_standards.records import Status
from qc_standards.registry import tests_of_analysis

GENES = 60
PAIR = ~np.eye(GENES, dtype=bool)
TISSUES = ("tissues[1]", "tissues[2]", "tissues[3]")


@pytest.fixture
def tissues(make_inputs):
    """Factory of inputs with up to three tissues whose attention is ``weight`` x product of means + noise."""

    def factory(weight=0.0, shared=0.0, names=TISSUES, seed=0, missing=0.0, alter=None, **settings):
        common = np.random.default_rng([seed, 9]).normal(size=(GENES, GENES))
        roles = {}
        for number, name in enumerate(TISSUES):
            if name not in names:
                continue
            base = make_inputs(14, "noise", genes=GENES, perturbations=8, targets=5, layers=3, seed=seed * 10 + number)
            role = base.roles["primary_screen"]
            rng = np.random.default_rng([seed, number, 5])
            mean = role.features["mean"].to_numpy()
            noise = rng.normal(size=(GENES, GENES))
            product = np.outer(mean, mean)
            score = weight * (product - product.mean()) / product.std() + shared * common + noise
            score[rng.random(score.shape) < missing] = np.nan
            matrix = role.attention.layer_matrix
            attention = replace(
                role.attention,
                layer_matrix=lambda k, m=matrix, s=score: replace(m(k), score=s.astype(np.float32)),
            )
            role = replace(role, role=name, dataset=f"tissue {number}", attention=attention)
            roles[name] = alter(role) if alter else role
        absent = {name: f"study synthetic fills no role {name}" for name in TISSUES if name not in roles}
        settings = {**base.settings, "mantel_permutations": 199, "bootstrap": 100, **settings}
        return replace(base, tests=tests_of_analysis(14), roles=roles, absent=absent, settings=settings)

    return factory


def line(output, **where):
    table = output.tables["attention_mapping"]
    for column, value in ({"role": "tissues[1]", "edge": "attention"} | where).items():
        table = table[table[column] == value]
    return table.iloc[0]


def test_a_planted_product_of_means_is_found_with_its_size(tissues):
    output = attention_mapping(tissues(weight=1.0))
    rho, r2, across = output.results
    assert {row.status for row in output.results} == {Status.RUN}
    assert rho.p == 1 / 200
    assert rho.effect > 0.3
    assert rho.ci_low < rho.effect < rho.ci_high
    product = line(output, quantity="product_of_means")
    assert product["r2_cross_fitted"] == pytest.approx(0.5, abs=0.12)
    assert rho.effect == product["spearman"]
    assert abs(r2.effect) < 0.02  # co-expression of this world is unrelated
    assert line(output, quantity="all_three")["r2_in_sample"] >= product["r2_in_sample"]
    assert abs(across.effect) < 0.3
    assert set(json.loads(rho.settings_used)["spearman_of_each_quantity"]) == {
        "product_of_means", "minimum_of_means", "co_expression",
    }  # fmt: skip


def test_noise_maps_on_nothing(tissues):
    p, r2 = [], []
    for seed in range(12):
        output = attention_mapping(tissues(seed=seed, names=TISSUES[:1], mantel_permutations=39, bootstrap=5))
        p.append(output.results[0].p)
        r2.append(output.results[1].effect)
        assert output.results[2].status is Status.SKIPPED
    assert sum(value <= 0.05 for value in p) <= 3
    assert 0.2 < np.mean(p) < 0.8
    assert max(r2) < 0.01


def test_numbers_equal_scipy_and_sklearn(tissues):
    inputs = tissues(weight=0.5)
    output = attention_mapping(inputs)
    role = inputs.roles["tissues[1]"]
    attention = role.attention.layer_matrix(2).score.astype(float)
    mean = role.features["mean"].to_numpy()
    quantities = {
        "product_of_means": np.outer(mean, mean),
        "minimum_of_means": np.minimum.outer(mean, mean),
        "co_expression": role.correlation.score.astype(float),
    }
    for name, values in quantities.items():
        found = line(output, quantity=name)
        expected = spearmanr(attention[PAIR], values[PAIR]).statistic
        assert found["spearman"] == pytest.approx(expected, abs=1e-10)
        assert found["spearman_observed"] == pytest.approx(expected, abs=1e-10)
        x = values[PAIR][:, None]
        assert found["r2_in_sample"] == pytest.approx(
            LinearRegression().fit(x, attention[PAIR]).score(x, attention[PAIR])
        )
    every = np.column_stack([values[PAIR] for values in quantities.values()])
    expected = LinearRegression().fit(every, attention[PAIR]).score(every, attention[PAIR])
    assert line(output, quantity="all_three")["r2_in_sample"] == pytest.approx(expected)


def test_attention_that_returns_in_other_tissues_is_explained_by_them(tissues):
    output = attention_mapping(tissues(shared=2.0))
    across = output.results[2]
    # Variance of the common part over the whole, squared correlation of two such scores.
    assert across.effect == pytest.approx((4 / 5) ** 2, abs=0.05)
    assert across.n == 6
    table = output.tables["attention_across_tissues"]
    own = table[table["predictor"] == "attention"]
    assert len(own) == 6
    assert (own["p_mantel"] == 1 / 200).all()
    assert table[table["predictor"] == "co_expression"]["r2_cross_fitted"].abs().max() < 0.05


def test_missing_pairs_are_filled_and_told(tissues):
    output = attention_mapping(tissues(weight=1.0, missing=0.2))
    found = line(output, quantity="product_of_means")
    assert found["missing_share"] == pytest.approx(0.2, abs=0.03)
    # Filled at random, they only dilute what the observed pairs say.
    assert found["spearman_observed"] > found["spearman"] > 0


def test_what_is_filled_or_not_compared_is_told(tissues):
    def altered(role):
        score = role.correlation.score.copy()
        score[0] = score[:, 0] = np.nan
        dataset = role.dataset if role.role == "tissues[3]" else "one"
        return replace(role, dataset=dataset, correlation=replace(role.correlation, score=score))

    output = attention_mapping(tissues(missing=0.1, alter=altered))
    used = json.loads(output.results[1].settings_used)
    assert used["missing_share_of_quantity"] == pytest.approx(2 / GENES)
    assert used["missing_share"] == pytest.approx(0.1, abs=0.02)
    across = output.results[2]
    assert across.n == 4
    assert json.loads(across.settings_used)["absent"] == {
        "tissues[1] with tissues[2]": "both are one; only different datasets are compared"
    }


def test_one_dataset_in_two_roles_and_absent_tissues_are_no_pair(tissues):
    same = attention_mapping(tissues(names=TISSUES[:2], alter=lambda role: replace(role, dataset="one")))
    assert same.results[2].status is Status.SKIPPED
    assert "different datasets" in same.results[2].reason
    first = attention_mapping(tissues(names=TISSUES[1:]))
    assert [row.status for row in first.results] == [Status.SKIPPED, Status.SKIPPED, Status.RUN]
    assert first.results[0].reason == "study synthetic fills no role tissues[1]"


def test_constant_attention_is_refused_with_its_name(tissues):
    def flat(role):
        matrix = role.attention.layer_matrix
        attention = replace(
            role.attention, layer_matrix=lambda k: replace(matrix(k), score=np.ones((GENES, GENES), dtype=np.float32))
        )
        return replace(role, attention=attention)

    output = attention_mapping(tissues(alter=flat))
    assert {row.status for row in output.results} == {Status.SKIPPED}
    assert "attention is the same for every gene pair" in output.results[0].reason
    assert not output.tables


def test_same_inputs_give_the_same_bytes(tissues):
    one, two = attention_mapping(tissues(weight=0.3)), attention_mapping(tissues(weight=0.3))
    assert one.results == two.results
    for name, table in one.tables.items():
        assert table.equals(two.tables[name])

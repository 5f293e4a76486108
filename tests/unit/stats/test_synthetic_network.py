"""Synthetic networks: steady states are steady, scores know nothing of the truth, states and not noise differ by N."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from interp_assets.stats import synthetic_network as net


@pytest.fixture(scope="module")
def network():
    return net.draw_network(np.random.default_rng(0))


def test_a_network_has_the_declared_shape(network):
    off = network.weights[network.edges]
    assert 0.12 < (off != 0).mean() < 0.18
    assert np.abs(off).max() <= 2.0
    assert abs(off[off != 0].mean()) < 0.2
    assert (np.diag(network.weights) < 0).all()
    assert network.active.sum(axis=1).tolist() == [10] * 4
    assert network.active.sum(axis=0).max() == 1, "each state has active genes of its own"


def test_a_steady_state_satisfies_its_equation_and_is_reached_from_anywhere(network):
    drive = np.random.default_rng(1).normal(size=(6, 50))
    x = net.steady_state(network, drive)
    decay = -np.diag(network.weights)
    for cell in range(6):
        for gene in range(50):
            others = np.arange(50) != gene
            pushed = (network.weights[others, gene] * np.tanh(x[cell, others])).sum() / decay[gene]
            assert x[cell, gene] == pytest.approx(pushed + drive[cell, gene], abs=1e-5)


def test_regression_weights_equal_scikit_learn_ridge():
    rng = np.random.default_rng(2)
    x = rng.normal(size=(80, 6)) @ rng.normal(size=(6, 6))
    standard = (x - x.mean(axis=0)) / x.std(axis=0)
    found = net.regression_weights(x)
    for target in range(6):
        others = np.arange(6) != target
        ridge = Ridge(alpha=net.RIDGE * 80, fit_intercept=False).fit(standard[:, others], standard[:, target])
        np.testing.assert_allclose(found[others, target], ridge.coef_, atol=1e-10)


@pytest.mark.parametrize("weights", net.WEIGHTS)
def test_scores_recover_a_planted_network_and_not_another_one(network, weights):
    cells = net.draw_cells(network, 3000, 1, np.random.default_rng(3))
    score = net.attention_like(net.WEIGHTS[weights](cells.expression), cells.expression, np.zeros(50))
    assert net.recovery(score, network) > 0.35
    assert net.undirected_recovery(score, network) > net.recovery(score, network)
    other = net.draw_network(np.random.default_rng(4))
    assert abs(net.recovery(score, other)) < 0.08


def test_more_cells_help_where_the_states_stay_and_more_states_hurt_where_the_cells_stay(network):
    def mean_recovery(cells, states):
        drawn = [net.draw_cells(network, cells, states, np.random.default_rng([k, states])) for k in range(3)]
        return np.mean([net.recovery(net.regression_weights(one.expression), network) for one in drawn])

    assert mean_recovery(2000, 1) > mean_recovery(200, 1) + 0.1
    assert mean_recovery(2000, 4) > mean_recovery(200, 4) + 0.05
    assert mean_recovery(1000, 1) > mean_recovery(1000, 4) + 0.02


def test_heterogeneity_counts_states_that_differ_and_not_labels_or_cells(network):
    rng = np.random.default_rng(5)
    one = net.draw_cells(network, 600, 1, rng)
    labelled = net.SyntheticCells(expression=one.expression, state=np.arange(600) % 4)
    assert net.between_state_share(one) == 0.0
    assert abs(net.between_state_share(labelled)) < 0.005
    few, many = (net.between_state_share(net.draw_cells(network, n, 4, rng)) for n in (200, 2000))
    assert few == pytest.approx(many, abs=0.04)
    two = net.between_state_share(net.draw_cells(network, 2000, 2, rng))
    assert 0.05 < two < many


def test_noise_does_not_grow_with_the_number_of_cells(network):
    spread = [net.draw_cells(network, n, 1, np.random.default_rng(6)).expression.std(axis=0) for n in (200, 2000)]
    assert spread[1].mean() == pytest.approx(spread[0].mean(), rel=0.03)


def test_dropout_and_bias_are_as_stated(network):
    drawn = net.draw_cells(network, 2000, 1, np.random.default_rng(7)).expression
    assert (drawn == 0).mean() > net.DROPOUT
    bias = net.draw_bias(200_000, np.random.default_rng(8))
    assert bias.std() == pytest.approx(net.BIAS_SD, rel=0.1)


def test_detection_in_the_network_rises_with_snr_and_stops_rising_with_n(network):
    runs = [net.network_detection(network, [0.0, 0.3, 3.0], [100, 2000], np.random.default_rng(k)) for k in range(12)]
    found = np.mean(runs, axis=0)
    assert found[0] == pytest.approx(0.5, abs=0.1), "no signal, no detection"
    assert found[0, 0] < found[1, 0] < found[2, 0]
    assert found[2].min() > 0.97
    assert found[1, 1] < 0.97, "a bias does not go away with more observations"


def test_what_has_no_weights_is_refused(network):
    with pytest.raises(ValueError, match="constant"):
        net.regression_weights(np.ones((10, 3)))
    with pytest.raises(ValueError, match="two or more cells"):
        net.coexpression_weights(np.ones((1, 3)))
    with pytest.raises(ValueError, match="states"):
        net.draw_cells(network, 100, 5, np.random.default_rng(0))
    with pytest.raises(ValueError, match="do not fit"):
        net.draw_network(np.random.default_rng(0), genes=20)

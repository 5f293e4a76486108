"""Folds cannot leak, learners equal their textbook twins, and nothing falls back in silence."""

from __future__ import annotations

import numpy as np
import pytest

from interp_assets.stats import crossfit
from interp_assets.stats.crossfit import (
    SPLITS,
    Boosting,
    Fold,
    FoldPlan,
    LeakingFoldError,
    LearnerError,
    Logistic,
    TooLittleDataError,
    group_folds,
    out_of_fold_means,
    out_of_fold_scores,
    plan_folds,
    recalibrated_log_odds,
)

FAST = Boosting(iterations=12, learning_rate=0.15, leaves=7)


def table_of_pairs(perturbations=12, genes=30, seed=0, columns=4):
    rng = np.random.default_rng(seed)
    perturbation, target = (a.ravel() for a in np.indices((perturbations, genes)))
    features = rng.normal(size=(perturbation.size, columns)) * [1.0, 50.0, 1e-3, 1.0][:columns]
    positive = rng.random(perturbation.size) < 1 / (1 + np.exp(1.5 - features[:, 0]))
    return perturbation, target, features, positive


@pytest.mark.parametrize("split", SPLITS)
def test_plan_keeps_groups_apart_and_covers_what_it_says(split):
    perturbation, target, *_ = table_of_pairs()
    plan = plan_folds(split, perturbation, target, folds=5, seed=[3])
    for fold in plan.folds:
        shared_p = set(perturbation[fold.train]) & set(perturbation[fold.test])
        shared_t = set(target[fold.train]) & set(target[fold.test])
        assert bool(shared_p) == (split == "target_gene")
        assert bool(shared_t) == (split == "perturbation")
    share = plan.tested.mean()
    assert share == (pytest.approx(0.2, abs=0.02) if split == "joint" else 1.0)


def test_joint_split_discards_both_mixed_blocks():
    perturbation, target, *_ = table_of_pairs(10, 10)
    plan = plan_folds("joint", perturbation, target, folds=5, seed=[0])
    for fold in plan.folds:
        assert fold.test.size == 2 * 2
        assert fold.train.size == 8 * 8


def test_splits_share_their_groups():
    perturbation, target, *_ = table_of_pairs()
    plans = {s: plan_folds(s, perturbation, target, folds=5, seed=[1, 2]) for s in SPLITS}
    for number in range(5):
        joint = set(plans["joint"].folds[number].test)
        by_p, by_t = (set(plans[s].folds[number].test) for s in ("perturbation", "target_gene"))
        assert joint == by_p & by_t


def test_seed_decides_the_folds():
    perturbation, target, *_ = table_of_pairs()
    tests = [plan_folds("perturbation", perturbation, target, folds=5, seed=[s]).folds[0].test for s in (0, 0, 1)]
    assert np.array_equal(tests[0], tests[1])
    assert not np.array_equal(tests[0], tests[2])


@pytest.mark.parametrize(("split", "named"), [("perturbation", "perturbation"), ("target_gene", "target gene")])
def test_leaking_fold_is_refused(split, named):
    perturbation, target, *_ = table_of_pairs(4, 4)
    leaking = Fold(np.arange(0, 8), np.arange(7, 16))
    with pytest.raises(LeakingFoldError, match=named):
        FoldPlan(split, perturbation, target, (leaking,))


def test_folds_of_pair_labels_are_no_joint_holdout():
    # Grouping by the pair (perturbation, gene) leaves both sides in training: the trap of analysis 31.
    perturbation, target, *_ = table_of_pairs(6, 6)
    group = group_folds(perturbation * 6 + target, 3, np.random.default_rng(0))
    folds = tuple(Fold(np.flatnonzero(group != k), np.flatnonzero(group == k)) for k in range(3))
    with pytest.raises(LeakingFoldError, match="occur in training and in test"):
        FoldPlan("joint", perturbation, target, folds)


def test_pair_tested_twice_is_refused():
    perturbation, target, *_ = table_of_pairs(4, 4)
    fold = Fold(np.flatnonzero(perturbation > 0), np.flatnonzero(perturbation == 0))
    with pytest.raises(LeakingFoldError, match="tested twice"):
        FoldPlan("perturbation", perturbation, target, (fold, fold))


def test_too_few_groups_and_unknown_split():
    perturbation, target, *_ = table_of_pairs(4, 10)
    with pytest.raises(TooLittleDataError, match="perturbations: 4 groups cannot fill 5 folds"):
        plan_folds("perturbation", perturbation, target, folds=5, seed=[0])
    with pytest.raises(ValueError, match="none of perturbation, target_gene, joint"):
        plan_folds("pairs", perturbation, target, folds=2, seed=[0])
    with pytest.raises(ValueError, match="at least 2"):
        plan_folds("perturbation", perturbation, target, folds=1, seed=[0])


def test_joint_block_without_pairs_is_refused():
    # A sparse screen: every perturbation lists one gene of its own, so no diagonal block needs to be filled.
    perturbation = target = np.arange(10)
    with pytest.raises(TooLittleDataError, match="fold 0 has no training or no test pairs"):
        plan_folds("joint", perturbation, target, folds=5, seed=[0])


@pytest.mark.parametrize("split", SPLITS)
def test_logistic_equals_cross_val_predict(split):
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    perturbation, target, x, y = table_of_pairs()
    plan = plan_folds(split, perturbation, target, folds=5, seed=[0])
    found = out_of_fold_scores(x, y, plan, Logistic())
    model = make_pipeline(
        StandardScaler(), LogisticRegression(class_weight="balanced", solver="lbfgs", tol=1e-13, max_iter=10_000)
    )
    if split == "joint":
        expected = np.full(y.size, np.nan)
        for fold in plan.folds:
            expected[fold.test] = model.fit(x[fold.train], y[fold.train]).decision_function(x[fold.test])
    else:
        cv = [(fold.train, fold.test) for fold in plan.folds]
        expected = cross_val_predict(model, x, y, cv=cv, method="decision_function")
    # Two solvers of one strictly convex problem.
    np.testing.assert_allclose(found, expected, atol=1e-6)
    exact = make_pipeline(
        StandardScaler(), LogisticRegression(class_weight="balanced", solver="newton-cholesky", tol=1e-12)
    )
    first = plan.folds[0]
    by_newton = exact.fit(x[first.train], y[first.train]).decision_function(x[first.test])
    np.testing.assert_allclose(found[first.test], by_newton, atol=1e-9)


def test_logistic_equals_group_k_fold():
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GroupKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    perturbation, target, x, y = table_of_pairs()
    folds = tuple(Fold(a, b) for a, b in GroupKFold(5).split(x, y, perturbation))
    plan = FoldPlan("perturbation", perturbation, target, folds)
    model = make_pipeline(
        StandardScaler(), LogisticRegression(class_weight="balanced", solver="newton-cholesky", tol=1e-12)
    )
    expected = cross_val_predict(model, x, y, groups=perturbation, cv=GroupKFold(5), method="decision_function")
    np.testing.assert_allclose(out_of_fold_scores(x, y, plan, Logistic()), expected, atol=1e-9)


@pytest.mark.parametrize("learner", [Logistic(), FAST], ids=["logistic", "boosting"])
def test_result_does_not_depend_on_threads(learner):
    perturbation, target, x, y = table_of_pairs()
    plan = plan_folds("perturbation", perturbation, target, folds=5, seed=[0])
    one, four = (out_of_fold_scores(x, y, plan, learner, threads=t) for t in (1, 4))
    assert np.array_equal(one, four)


def test_fits_run_on_one_thread_and_leave_the_limits_as_they_were(monkeypatch):
    from sklearn import ensemble, linear_model  # noqa: F401 (else the fit loads libraries that were not there before)
    from threadpoolctl import threadpool_info, threadpool_limits

    seen = []
    fit = crossfit._fit_logistic

    def watched(*arguments):
        seen.extend(library["num_threads"] for library in threadpool_info())
        return fit(*arguments)

    monkeypatch.setattr(crossfit, "_fit_logistic", watched)
    perturbation, target, x, y = table_of_pairs()
    plan = plan_folds("perturbation", perturbation, target, folds=5, seed=[0])
    with threadpool_limits(3):
        before = [library["num_threads"] for library in threadpool_info()]
        out_of_fold_scores(x, y, plan, Logistic(), threads=2)
        after = [library["num_threads"] for library in threadpool_info()]
    assert set(seen) == {1}
    assert before == after


def test_boosting_equals_scikit_learn():
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    perturbation, target, x, y = table_of_pairs()
    plan = plan_folds("joint", perturbation, target, folds=5, seed=[0])
    settings = {"max_iter": 12, "learning_rate": 0.15, "max_leaf_nodes": 7, "early_stopping": False}
    scores, means = out_of_fold_scores(x, y, plan, FAST), out_of_fold_means(x, x[:, 0], plan, FAST)
    for fold in plan.folds:
        classifier = HistGradientBoostingClassifier(**settings).fit(x[fold.train], y[fold.train])
        regressor = HistGradientBoostingRegressor(**settings).fit(x[fold.train], x[fold.train, 0])
        np.testing.assert_allclose(scores[fold.test], classifier.decision_function(x[fold.test]), atol=1e-9)
        np.testing.assert_allclose(means[fold.test], regressor.predict(x[fold.test]), atol=1e-9)
    assert np.isnan(scores[~plan.tested]).all()


def test_least_squares_equals_statsmodels():
    import statsmodels.api as sm

    perturbation, target, x, _ = table_of_pairs()
    score = np.random.default_rng(5).normal(size=target.size) + x @ [1.0, 0.02, 300.0, 0.0]
    plan = plan_folds("target_gene", perturbation, target, folds=5, seed=[0])
    found = out_of_fold_means(x, score, plan, None)
    for fold in plan.folds:
        fit = sm.OLS(score[fold.train], sm.add_constant(x[fold.train])).fit()
        expected = fit.predict(sm.add_constant(x[fold.test], has_constant="add"))
        np.testing.assert_allclose(found[fold.test], expected, rtol=1e-10, atol=1e-10)


def test_constant_and_collinear_columns_change_nothing():
    perturbation, target, x, y = table_of_pairs(columns=2)
    plan = plan_folds("perturbation", perturbation, target, folds=5, seed=[0])
    constant = np.column_stack([x, np.full(y.size, 0.1), np.zeros(y.size)])
    np.testing.assert_allclose(
        out_of_fold_scores(x, y, plan, Logistic()), out_of_fold_scores(constant, y, plan, Logistic()), atol=1e-9
    )
    doubled = np.column_stack([x, 3 * x[:, :1] + 1, np.full(y.size, 0.1)])
    np.testing.assert_allclose(
        out_of_fold_means(x, y.astype(float), plan, None),
        out_of_fold_means(doubled, y.astype(float), plan, None),
        atol=1e-9,
    )


def test_training_fold_without_a_class_is_refused():
    perturbation, target, x, y = table_of_pairs()
    plan = plan_folds("perturbation", perturbation, target, folds=5, seed=[0])
    only_here = np.zeros(y.size, bool)
    only_here[plan.folds[2].test] = True
    for learner in (Logistic(), FAST):
        with pytest.raises(TooLittleDataError, match="training fold 2 has no positive"):
            out_of_fold_scores(x, only_here, plan, learner)
        with pytest.raises(TooLittleDataError, match="training fold 2 has no negative"):
            out_of_fold_scores(x, ~only_here, plan, learner)


def test_boosting_on_a_handful_of_pairs_is_refused():
    perturbation, target, x, y = table_of_pairs(6, 5)
    plan = plan_folds("perturbation", perturbation, target, folds=5, seed=[0])
    with pytest.raises(TooLittleDataError, match="boosting needs 40"):
        out_of_fold_scores(x, np.arange(y.size) % 2 == 0, plan, FAST)
    with pytest.raises(TooLittleDataError, match="boosting needs 40"):
        out_of_fold_means(x, x[:, 0], plan, FAST)


def test_unconverged_logistic_is_an_error():
    perturbation, target, x, y = table_of_pairs()
    plan = plan_folds("perturbation", perturbation, target, folds=5, seed=[0])
    with pytest.raises(LearnerError, match="did not converge"), pytest.warns(UserWarning):
        out_of_fold_scores(x, y, plan, Logistic(steps=1))


def test_boosting_that_stops_early_is_an_error(monkeypatch):
    perturbation, target, x, y = table_of_pairs()
    plan = plan_folds("perturbation", perturbation, target, folds=5, seed=[0])
    arguments = crossfit._boosting_arguments
    monkeypatch.setattr(crossfit, "_boosting_arguments", lambda s: arguments(s) | {"max_iter": 3})
    with pytest.raises(LearnerError, match="ran 3 of 12 iterations"):
        out_of_fold_scores(x, y, plan, FAST)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_missing_features_are_refused(bad):
    perturbation, target, x, y = table_of_pairs()
    plan = plan_folds("perturbation", perturbation, target, folds=5, seed=[0])
    x[3, 1] = bad
    with pytest.raises(ValueError, match="finite"):
        out_of_fold_scores(x, y, plan, Logistic())
    with pytest.raises(ValueError, match="do not belong"):
        out_of_fold_means(x[1:], y[1:].astype(float), plan, None)


def test_recalibrated_log_odds_of_worthless_scores_are_flat():
    rng = np.random.default_rng(0)
    positive = rng.random(40_000) < 0.3
    worthless, informative = rng.normal(size=40_000), rng.normal(size=40_000) + 2 * positive
    assert recalibrated_log_odds(worthless, positive).std() < 0.1
    # N(2, 1) against N(0, 1): the log likelihood ratio is 2 x - 2.
    slope = np.polyfit(informative, recalibrated_log_odds(informative, positive), 1)[0]
    assert slope == pytest.approx(2.0, abs=0.15)

"""Whether a label of the cells (donor, batch, assay) can be read off the products that make up edge scores.

What belongs here: product features, classifiers in stratified folds, the permutation null of a linear classifier that
is fitted again for every permutation, and the loss of a classifier on donors it has not seen (paper section 5,
analysis 8). What does not: how edge scores move when donors are balanced (`stats.edge_balance`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from interp_assets.stats.edge_transfer import permutation_p

Float = NDArray[np.float64]
Codes = NDArray[np.intp]
ClassifierName = Literal["logistic", "random_forest"]
CLASSIFIERS: Final[tuple[ClassifierName, ...]] = ("logistic", "random_forest")

PENALTY: Final = 0.1  # ridge penalty for each training cell, on standardised features
BLOCK: Final = 4_000_000  # numbers held at once by the permutations
LEAF: Final = 3  # cells in the smallest leaf of a tree


def standardised(values: Float) -> Float:
    """Columns with mean 0 and standard deviation 1 over the cells (n x G); a constant column becomes NaN.

    >>> standardised(np.array([[1.0, 5.0], [3.0, 5.0]])).tolist()
    [[-1.0, nan], [1.0, nan]]
    """
    centred = values - values.mean(axis=0)
    spread = np.sqrt((centred**2).mean(axis=0))
    return np.asarray(centred / np.where(spread > 1e-12, spread, np.nan))


def product_features(z: Float, source: Codes, target: Codes, top: int) -> tuple[Float, Codes]:
    """Products z[source] x z[target] of the ``top`` pairs whose product varies most over the cells.

    The mean of such a product over the cells is the Pearson correlation of the pair, so that these features are what
    an edge score adds up. Pairs with a constant gene are left out.

    Returns
    -------
    features
        n x at most ``top``, raw products.
    chosen
        Positions of the pairs behind the columns, most varying first; ties in the order of the pairs.

    Raises
    ------
    ValueError
        If no pair varies.
    """
    variance = np.full(source.size, -np.inf)
    step = max(1, BLOCK // max(1, z.shape[0]))
    for start in range(0, source.size, step):
        part = slice(start, start + step)
        found = (z[:, source[part]] * z[:, target[part]]).var(axis=0)
        variance[part] = np.where(np.isfinite(found), found, -np.inf)
    order = np.argsort(-variance, kind="stable")[:top]
    chosen = order[variance[order] > 0.0]
    if chosen.size == 0:
        raise ValueError("no pair has a product that varies over the cells; there is no feature to learn from")
    return z[:, source[chosen]] * z[:, target[chosen]], chosen


def stratified_folds(label: Codes, folds: int, rng: np.random.Generator) -> Codes:
    """Fold number of every cell; each label is dealt out evenly, so that no fold lacks a label of ``folds`` cells.

    Raises
    ------
    ValueError
        If a label has fewer cells than folds.
    """
    counts = np.bincount(label)
    if counts[counts > 0].min() < folds:
        raise ValueError(f"a label has {counts[counts > 0].min()} cells, fewer than the {folds} folds")
    fold = np.empty(label.size, dtype=np.intp)
    dealt = 0
    for code in np.flatnonzero(counts):
        cells = rng.permutation(np.flatnonzero(label == code))
        fold[cells] = (dealt + np.arange(cells.size)) % folds
        dealt += cells.size
    return fold


def macro_auc(score: Float, label: Codes) -> float:
    """Mean over labels of the AUC of a label against the rest, from one score a label (n x K); mid-ranks for ties.

    A label that is absent, or alone, has no AUC and is left out of the mean; NaN if none is left.
    """
    from scipy.stats import rankdata

    rank = rankdata(score, axis=0)
    member = label[:, None] == np.arange(score.shape[1])
    inside = member.sum(axis=0)
    pairs = inside * (label.size - inside)
    held = pairs > 0
    if not held.any():
        return float("nan")
    above = (rank * member).sum(axis=0) - inside * (inside + 1) / 2.0
    return float((above[held] / pairs[held]).mean())


def balanced_accuracy(predicted: Codes, label: Codes) -> float:
    """Share of the cells of a label that are called so, mean over the labels that occur."""
    return float(np.mean([(predicted[label == code] == code).mean() for code in np.unique(label)]))


@dataclass(frozen=True, slots=True)
class CrossValidation:
    """One number a fold: AUC (mean over labels) and balanced accuracy."""

    auc: Float
    balanced_accuracy: Float


def cross_validated(
    features: Float, label: Codes, fold: Codes, classifier: ClassifierName, *, trees: int, seed: int
) -> CrossValidation:
    """Classifier of the labels 0 to K - 1 in the given folds; features are standardised on the training cells.

    Both classifiers weigh labels equally. Logistic regression has an L2 penalty of C = 1, forests leaves of at least
    three cells.
    """
    make = _maker(classifier, trees, seed)
    auc, accuracy = [], []
    for number in np.unique(fold):
        train, test = fold != number, fold == number
        centre, spread = features[train].mean(axis=0), features[train].std(axis=0)
        spread = np.where(spread > 1e-12, spread, 1.0)
        model = make().fit((features[train] - centre) / spread, label[train])
        probability = model.predict_proba((features[test] - centre) / spread)
        auc.append(macro_auc(probability, label[test]))
        accuracy.append(balanced_accuracy(model.classes_[probability.argmax(axis=1)], label[test]))
    return CrossValidation(np.array(auc), np.array(accuracy))


def _maker(classifier: ClassifierName, trees: int, seed: int) -> Callable[[], Any]:
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression

    if classifier == "logistic":
        return lambda: LogisticRegression(C=1.0, max_iter=1000, class_weight="balanced")
    return lambda: RandomForestClassifier(
        trees, min_samples_leaf=LEAF, class_weight="balanced", random_state=seed, n_jobs=1
    )


def fold_interval(values: Float, *, level: float = 0.95) -> tuple[float, float, float]:
    """Mean over folds with its t interval, cut to 0 and 1; a single fold has no interval (NaN).

    Training sets of different folds overlap, so the interval is a little too narrow.
    """
    from scipy.stats import t

    mean = float(values.mean())
    if values.size < 2:
        return mean, float("nan"), float("nan")
    half = float(t.ppf((1.0 + level) / 2.0, values.size - 1) * values.std(ddof=1) / np.sqrt(values.size))
    return mean, max(0.0, mean - half), min(1.0, mean + half)


@dataclass(frozen=True, slots=True)
class LinearNull:
    """AUC of a linear classifier (mean over folds) on the labels as they are and on permuted ones."""

    auc: float
    draws: Float

    @property
    def p(self) -> float:
        """(permutations that reach the AUC + 1) / (permutations + 1)."""
        return permutation_p(self.auc, self.draws)


def permute_within(blocks: Codes, rng: np.random.Generator, draws: int) -> Codes:
    """Positions (draws x n) that put every cell's label on a cell of the same block (codes from 0)."""
    order = np.argsort(blocks, kind="stable")
    placed = np.empty((draws, blocks.size), dtype=np.intp)
    step = max(1, BLOCK // blocks.size)
    for start in range(0, draws, step):
        part = placed[start : start + step]
        part[:, order] = np.argsort(blocks + rng.random(part.shape), axis=1)
    return placed


def linear_null(
    features: Float, label: Codes, fold: Codes, blocks: Codes, rng: np.random.Generator, permutations: int
) -> LinearNull:
    """Ridge regression of label membership, fitted again in every fold for every permutation of the labels.

    The features do not change under permutation, so that one factorisation a fold serves all permutations: only the
    products of features and labels change, and they add up over folds. Features are standardised on the training
    cells. Labels are permuted within the folds, which stay stratified, and within ``blocks`` (one code a cell: all 0,
    or the cell type).
    """
    classes = int(label.max()) + 1
    columns = np.arange(classes) if classes > 2 else np.array([1])
    joint = np.unique(np.stack([fold, blocks]), axis=1, return_inverse=True)[1].ravel()
    placed = np.concatenate([np.arange(label.size)[None], permute_within(joint, rng, permutations)])
    parts = [rng.permutation(np.flatnonzero(fold == number)) for number in np.unique(fold)]
    ridges = [_Ridge.fit(features, np.flatnonzero(~np.isin(np.arange(label.size), part)), part) for part in parts]
    auc = np.zeros(permutations + 1)
    step = max(1, BLOCK // (label.size * columns.size))
    for start in range(0, placed.shape[0], step):
        drawn = label[placed[start : start + step]]
        member = (drawn[:, None, :] == columns[None, :, None]).reshape(-1, label.size)
        each = [member[:, part] for part in parts]
        crossed = [held.astype(np.float64) @ features[part] for held, part in zip(each, parts, strict=True)]
        total, count = np.sum(crossed, axis=0), member.sum(axis=1)
        for ridge, held, cross in zip(ridges, each, crossed, strict=True):
            score = ridge.scores(total - cross, count - held.sum(axis=1))
            auc[start : start + step] += _rows_auc(score, held).reshape(-1, columns.size).mean(axis=1)
    auc /= len(parts)
    return LinearNull(float(auc[0]), auc[1:])


@dataclass(frozen=True, slots=True)
class _Ridge:
    """Ridge on the training cells of one fold, for any labels: ``solve`` (F x F) and test features (F x n test)."""

    centre: Float
    solve: Float
    test: Float

    @classmethod
    def fit(cls, features: Float, train: Codes, test: Codes) -> _Ridge:
        """Factorise standardised training features with a penalty that grows with the cells."""
        centre, spread = features[train].mean(axis=0), features[train].std(axis=0)
        spread = np.where(spread > 1e-12, spread, 1.0)
        x = (features[train] - centre) / spread
        solve = np.linalg.inv(x.T @ x + PENALTY * train.size * np.eye(x.shape[1]))
        return cls(centre, solve / spread[:, None], ((features[test] - centre) / spread).T)

    def scores(self, crossed: Float, members: NDArray[np.int64]) -> Float:
        """Scores of the test cells for every label vector, from its product with the raw training features (R x F)."""
        return np.asarray(((crossed - members[:, None] * self.centre) @ self.solve) @ self.test)


def _rows_auc(score: Float, member: NDArray[np.bool_]) -> Float:
    """AUC of every row of scores (R x n); ties fall by the order of the cells, which the caller shuffles."""
    order = np.argsort(score, axis=1)
    ranks = np.arange(1, score.shape[1] + 1, dtype=np.float64)
    inside = member.sum(axis=1)
    above = np.take_along_axis(member, order, axis=1) @ ranks - inside * (inside + 1) / 2.0
    pairs = inside * (score.shape[1] - inside)
    return np.asarray(np.divide(above, pairs, out=np.full(above.shape, np.nan), where=pairs > 0))


@dataclass(frozen=True, slots=True)
class DonorGap:
    """AUC of a cell state in the cells of each donor, by classifiers that have seen other cells of the donor or none.

    ``random`` and ``grouped`` hold one AUC a donor; ``draws`` the mean gap for donors permuted among the cells.
    """

    random: Float
    grouped: Float
    draws: Float

    @property
    def gap(self) -> float:
        """Mean over donors of random minus grouped."""
        return float((self.random - self.grouped).mean())

    @property
    def p(self) -> float:
        """(permutations whose gap is as large + 1) / (permutations + 1)."""
        return permutation_p(self.gap, self.draws)


def donor_gap(
    features: Float, state: Codes, donor: Codes, fold: Codes, permuted: Codes, *, components: int = 50
) -> DonorGap:
    """How much better a cell state is recognised when other cells of the same donor were seen.

    Ridge regression of state membership on the leading principal components. ``random``: predictions from the given
    stratified folds; ``grouped``: from all other donors. Both are judged on the same cells, donor by donor. The null
    permutes donors (``permuted``, draws x n positions, within states so that composition stays), and fits again.
    """
    x = principal_components(features, components)
    x = np.column_stack([np.ones(x.shape[0]), x])
    member = (state[:, None] == np.arange(int(state.max()) + 1)).astype(np.float64)
    seen = _left_out_scores(x, member, fold)
    random, grouped = _by_donor(x, member, seen, donor)
    draws = np.empty(permuted.shape[0])
    for draw, placed in enumerate(permuted):
        first, second = _by_donor(x, member, seen, donor[placed])
        draws[draw] = (first - second).mean()
    return DonorGap(random, grouped, draws)


def principal_components(features: Float, components: int) -> Float:
    """Leading principal components of the standardised features (n x at most ``components``), variance 1."""
    z = np.nan_to_num(standardised(features))
    left, size, _ = np.linalg.svd(z, full_matrices=False)
    kept = min(components, int((size > 1e-9 * size[0]).sum()))
    return np.asarray(left[:, :kept] * np.sqrt(features.shape[0]))


def _left_out_scores(x: Float, member: Float, group: Codes) -> Float:
    """Scores of every cell (n x K) by the ridge that was fitted without its group."""
    codes = np.unique(group)
    parts = [np.flatnonzero(group == code) for code in codes]
    grams = np.array([x[part].T @ x[part] for part in parts])
    crossed = np.array([x[part].T @ member[part] for part in parts])
    penalty = PENALTY * np.eye(x.shape[1])
    penalty[0, 0] = 0.0
    score = np.empty_like(member)
    for part, gram, cross in zip(parts, grams.sum(axis=0) - grams, crossed.sum(axis=0) - crossed, strict=True):
        score[part] = x[part] @ np.linalg.solve(gram + penalty * (x.shape[0] - part.size), cross)
    return score


def _by_donor(x: Float, member: Float, seen: Float, donor: Codes) -> tuple[Float, Float]:
    unseen = _left_out_scores(x, member, donor)
    cells = [np.flatnonzero(donor == code) for code in np.unique(donor)]
    return _auc_in_each(seen, member, cells), _auc_in_each(unseen, member, cells)


def _auc_in_each(score: Float, member: Float, parts: Sequence[Codes]) -> Float:
    """AUC within each part of the cells, mean over the states that part of its cells have."""
    found = np.empty(len(parts))
    for place, cells in enumerate(parts):
        inside = member[cells].sum(axis=0)
        mixed = np.flatnonzero((inside > 0) & (inside < cells.size))
        found[place] = _rows_auc(score[np.ix_(cells, mixed)].T, member[np.ix_(cells, mixed)].T > 0).mean()
    return found


def cramers_v(one: Codes, other: Codes) -> float:
    """Cramer's V of two labels of the same cells (0 unrelated, 1 one tells the other); NaN if either is constant."""
    from scipy.stats.contingency import association, crosstab

    table = crosstab(one, other).count
    if min(table.shape) < 2:
        return float("nan")
    return float(association(table, method="cramer"))

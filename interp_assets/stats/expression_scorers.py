"""Six scores of gene pairs from expression alone, each between 0 and 1, as raw probabilities are.

Sources are a few genes, targets all (paper section 5, analysis 9): Pearson, Spearman, mutual information, partial
correlation, LASSO, and the mean of their ranks. A gene that does not vary scores 0 with every other one.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from interp_assets.stats.compiled import compiled

Float = NDArray[np.float64]
Codes = NDArray[np.intp]

SCORERS: Final = ("pearson", "spearman", "mutual_information", "partial_correlation", "lasso", "ensemble")
BINS: Final = 5  # no expression, and four bins of equal size above
SWEEPS: Final = 1000
TOLERANCE: Final = 1e-6


def expression_scores(values: Float, source: Codes) -> dict[str, Float]:
    """Scores by name (P x G) of the source genes (P positions) with all genes, from cells x genes ``values``.

    Pearson and Spearman: absolute correlation. Mutual information I of binned values: ``sqrt(1 - exp(-2 I))``, the
    correlation that a normal pair of that information has. Partial correlation: absolute, from the shrunken
    correlation matrix. LASSO: absolute standardised coefficient of the source in a regression of the target on all
    sources, at most 1. Ensemble: mean over these five of the share of pairs that score lower (ties half).

    Raises
    ------
    ValueError
        If there are fewer than three cells, or a value is not finite.
    """
    if values.shape[0] < 3 or not np.isfinite(values).all():
        raise ValueError(f"scores need finite values of at least 3 cells, got {values.shape[0]}")
    z = _standardised(values)
    correlation = z.T @ z / z.shape[0]
    scores = {
        "pearson": np.abs(correlation[source]),
        "spearman": np.abs(_spearman(values, source)),
        "mutual_information": np.sqrt(-np.expm1(-2.0 * mutual_information(values, source))),
        "partial_correlation": np.abs(partial_correlation(z)[source]),
        "lasso": np.abs(lasso_coefficients(correlation, source, z.shape[0])),
    }
    clipped = {name: np.clip(score, 0.0, 1.0) for name, score in scores.items()}
    return clipped | {"ensemble": mean_rank(list(clipped.values()), source)}


def _standardised(values: Float) -> Float:
    centred = values - values.mean(axis=0)
    spread = np.sqrt((centred**2).mean(axis=0))
    return np.asarray(centred / np.where(spread > 1e-12, spread, np.inf))


def _spearman(values: Float, source: Codes) -> Float:
    from scipy.stats import rankdata

    rank = _standardised(rankdata(values, axis=0))
    return np.asarray(rank[:, source].T @ rank / rank.shape[0])


def expression_bins(values: Float, bins: int = BINS) -> NDArray[np.int8]:
    """Bin of every value (n x G): 0 for no expression, then ``bins - 1`` bins of equal size over what is expressed.

    Equal values never part: a value's bin is that of the first of its kind.
    """
    from scipy.stats import rankdata

    code = np.zeros(values.shape, dtype=np.int8)
    for gene in range(values.shape[1]):
        shown = np.flatnonzero(values[:, gene] > 0.0)
        if shown.size:
            rank = rankdata(values[shown, gene], method="min") - 1
            code[shown, gene] = 1 + (rank * (bins - 1)) // shown.size
    return code


def mutual_information(values: Float, source: Codes) -> Float:
    """Plug-in mutual information (nats, P x G) of binned source and target values; see `expression_bins`."""
    code = expression_bins(values)
    cells = values.shape[0]
    member = [(code == k).astype(np.float32) for k in range(BINS)]
    share = [m.mean(axis=0, dtype=np.float64) for m in member]
    found = np.zeros((source.size, values.shape[1]))
    for k in range(BINS):
        for m in range(BINS):
            joint = (member[k][:, source].T @ member[m]).astype(np.float64) / cells
            expected = share[k][source][:, None] * share[m][None, :]
            ratio = np.divide(joint, expected, out=np.ones_like(joint), where=joint > 0.0)
            found += joint * np.log(ratio)
    return np.maximum(found, 0.0)


def partial_correlation(z: Float) -> Float:
    """Correlation of every two genes given all others (G x G) from a covariance shrunken by Ledoit and Wolf's rule.

    ``z`` is standardised (n x G); the covariance is pulled towards the identity, so that it can be inverted whatever
    the number of genes. Constant genes have partial correlation 0.
    """
    from scipy.linalg import cho_factor, cho_solve
    from sklearn.covariance import ledoit_wolf

    shrunken, _ = ledoit_wolf(z, assume_centered=True)
    precision = cho_solve(cho_factor(shrunken), np.eye(z.shape[1]))
    scale = np.sqrt(np.diag(precision))
    partial = -precision / np.outer(scale, scale)
    np.fill_diagonal(partial, 1.0)
    return np.asarray(partial)


def lasso_penalty(predictors: int, cells: int) -> float:
    """Universal penalty ``sqrt(2 log p / n)`` of standardised variables: what noise alone stays under."""
    return float(np.sqrt(2.0 * np.log(max(2, predictors)) / cells))


def lasso_coefficients(correlation: Float, source: Codes, cells: int) -> Float:
    """LASSO coefficients (P x G) of every target on all sources but itself, with one penalty for all targets.

    Minimises ``|y - X b|^2 / 2n + penalty |b|_1`` for standardised y and X by coordinate descent on their
    correlations, the objective of ``sklearn.linear_model.Lasso`` without an intercept.
    """
    gram = np.ascontiguousarray(correlation[np.ix_(source, source)])
    crossed = np.ascontiguousarray(correlation[:, source])
    own = np.full(correlation.shape[0], -1, dtype=np.int64)
    own[source] = np.arange(source.size)
    found = _coordinate_descent(gram, crossed, own, lasso_penalty(source.size, cells), SWEEPS, TOLERANCE)
    return np.ascontiguousarray(found.T)


@compiled
def _shrunken(value: float, penalty: float) -> float:  # pragma: no cover - compiled
    """Value pulled towards 0 by the penalty, and 0 within it."""
    if value > penalty:
        return value - penalty
    if value < -penalty:
        return value + penalty
    return 0.0


@compiled
def _coordinate_descent(
    gram: Float, crossed: Float, own: NDArray[np.int64], penalty: float, sweeps: int, tolerance: float
) -> Float:  # pragma: no cover - compiled
    targets, predictors = crossed.shape
    found = np.zeros((targets, predictors))
    for t in range(targets):
        left = crossed[t].copy()  # correlation of each predictor with the residual
        b = found[t]
        for _ in range(sweeps):
            largest = 0.0
            for j in range(predictors):
                if j == own[t] or gram[j, j] <= 0.0:
                    continue
                rho = left[j] + b[j] * gram[j, j]
                new = _shrunken(rho, penalty) / gram[j, j]
                change = new - b[j]
                if change != 0.0:
                    for k in range(predictors):
                        left[k] -= change * gram[j, k]
                    b[j] = new
                    largest = max(largest, abs(change))
            if largest < tolerance:
                break
    return found


def mean_rank(scores: list[Float], source: Codes) -> Float:
    """Mean over scores (each P x G) of the share of other pairs that score lower, ties half; self pairs get 0.

    >>> mean_rank([np.array([[9.0, 1.0, 2.0]])], np.array([0])).tolist()
    [[0.0, 0.25, 0.75]]
    """
    from scipy.stats import rankdata

    pair = np.ones(scores[0].shape, dtype=bool)
    pair[np.arange(source.size), source] = False
    found = np.zeros(scores[0].shape)
    found[pair] = np.mean([(rankdata(score[pair]) - 0.5) / pair.sum() for score in scores], axis=0)
    return found

"""Components of a network as players of a game: how far single effects are from adding up, and Shapley values.

What belongs here: lower bounds on interaction, certificates of a ranking, exact and sampled Shapley values,
interactions. What does not: which components are switched, and what is read (readings, analyses).

A *value* is what is read with the components of a coalition switched (restored or ablated alike) and all others not.
Coalitions of K components are numbered by bit mask: bit i of the number says whether component i is in, so number 0
is nobody, 2**i component i alone, 2**K - 1 everybody.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from math import factorial
from typing import Final, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Float = NDArray[np.float64]
Budget = Literal["uniform", "proportional", "concentrated"]
BUDGETS: Final[tuple[Budget, ...]] = ("uniform", "proportional", "concentrated")
LAMBDAS: Final = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)
Z_95: Final = 1.96
MOST_EXACT: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class NonAdditivity:
    """What the effects of single components leave of a total effect.

    ``residual`` = total - sum of single effects, ``se`` its standard error, ``lower_bound`` =
    max(0, |residual| - 1.96 se), ``relative`` = lower_bound / |total| (NaN for a total of 0). ``se_known`` is False
    where a mean rests on one observation: its spread reads 0 and any residual passes the bound.
    """

    residual: float
    se: float
    lower_bound: float
    relative: float
    se_known: bool


def non_additivity(
    total: float,
    components: ArrayLike,
    *,
    component_sd: ArrayLike,
    component_n: ArrayLike,
    total_sd: float,
    total_n: int,
    z: float = Z_95,
) -> NonAdditivity:
    """Lower confidence bound on the interaction between components (paper section 4).

    R = TE - sum m_i; SE = sqrt(sum sd_i^2 / n_i + sd_TE^2 / n_TE); A_lb = max(0, |R| - z SE). R is the sum of all
    interactions of order two and above, so that the summed absolute interaction is at least |R|.

    Parameters
    ----------
    components, component_sd, component_n : K single effects, the standard deviations over their observations and the
        numbers of these (a scalar holds for all components).
    total, total_sd, total_n : the same of the effect of all components at once.

    Raises
    ------
    ValueError
        If there is no component, a number is not finite, a deviation is negative or a count is below one.
    """
    m = _vector(components, "single effects")
    sd = _vector(np.broadcast_to(np.asarray(component_sd, dtype=np.float64), m.shape), "standard deviations")
    n = _vector(np.broadcast_to(np.asarray(component_n, dtype=np.float64), m.shape), "numbers of observations")
    if not np.isfinite([total, total_sd]).all():
        raise ValueError(f"total effect {total} with deviation {total_sd}: both must be finite")
    if (sd < 0).any() or total_sd < 0:
        raise ValueError("a standard deviation is negative")
    if (n < 1).any() or total_n < 1:
        raise ValueError("an effect has no observation; leave its run-pair out and say so")
    residual = float(total - m.sum())
    se = float(np.sqrt((sd**2 / n).sum() + total_sd**2 / total_n))
    bound = max(0.0, abs(residual) - z * se)
    return NonAdditivity(
        residual=residual,
        se=se,
        lower_bound=bound,
        relative=bound / abs(total) if total != 0 else float("nan"),
        se_known=bool((n > 1).all() and total_n > 1),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """How much of a ranking survives one interaction budget.

    ``certified`` of ``pairs`` pairs of components keep their order whatever the interactions within the budget;
    ``top_certified``: the first component does against every other one.
    """

    budget: Budget
    budget_factor: float
    certified: int
    pairs: int
    top_certified: bool

    @property
    def certified_share(self) -> float:
        """Certified share of the pairs."""
        return self.certified / self.pairs


def ranking_certificate(
    components: ArrayLike,
    component_se: ArrayLike,
    lower_bound: float,
    *,
    lambdas: Sequence[float] = LAMBDAS,
    budget: Budget = "uniform",
    z: float = Z_95,
) -> tuple[Certificate, ...]:
    """Whether an order of K components by |m_i| withstands interactions of lambda times the lower bound.

    A pair is certified when ||m_i| - |m_j|| > b_i + b_j. With A = lambda A_lb, b_i = share_i + z SE_i, where share_i
    is A / K (uniform), A |m_i| / sum |m| (proportional) or the whole of A (concentrated) (paper section 4). Components
    with equal |m| are never certified.

    Parameters
    ----------
    components, component_se : K single effects and their standard errors.
    lower_bound, lambdas : A_lb of `non_additivity`, and how many times it interactions may be; a certificate each.

    Raises
    ------
    ValueError
        If there are fewer than two components, a number is missing or negative, or the budget is unknown.
    """
    size = np.abs(_vector(components, "single effects"))
    se = _vector(component_se, "standard errors")
    if se.shape != size.shape or size.size < 2:
        raise ValueError(f"{size.size} effects with {se.size} standard errors; a ranking needs two or more of each")
    if (se < 0).any() or not np.isfinite(lower_bound) or lower_bound < 0:
        raise ValueError(f"lower bound {lower_bound} and standard errors must be finite and not negative")
    shares = _budget_shares(size, budget)
    first, second = np.triu_indices(size.size, 1)
    apart = np.abs(size[first] - size[second])
    with_top = (first == size.argmax()) | (second == size.argmax())
    found = []
    for factor in lambdas:
        margin = factor * lower_bound * shares + z * se
        holds = apart > margin[first] + margin[second]
        top = bool(holds[with_top].all())
        kept = int(holds.sum())
        found.append(
            Certificate(budget=budget, budget_factor=float(factor), certified=kept, pairs=holds.size, top_certified=top)
        )
    return tuple(found)


def _budget_shares(size: Float, budget: str) -> Float:
    """Share of the interaction budget that each component may have got."""
    if budget == "uniform":
        return np.full(size.size, 1.0 / size.size)
    if budget == "concentrated":
        return np.ones(size.size)
    if budget == "proportional":
        total = size.sum()
        return size / total if total > 0 else np.zeros(size.size)
    raise ValueError(f"budget {budget!r}: use {', '.join(BUDGETS)}")


def coalition_members(components: int) -> NDArray[np.bool_]:
    """Membership of every coalition, 2**K x K, in bit-mask order.

    >>> coalition_members(2).astype(int).tolist()
    [[0, 0], [1, 0], [0, 1], [1, 1]]
    """
    if not 1 <= components <= 20:
        raise ValueError(f"{components} components: all coalitions are listed for 1 to 20")
    masks = np.arange(2**components)
    return np.asarray((masks[:, None] >> np.arange(components)) & 1, dtype=bool)


def single_effects(values: ArrayLike) -> Float:
    """Effect of each component alone, v({i}) - v(nobody), from values ... x 2**K; gives ... x K."""
    v, components = _game(values)
    return np.asarray(v[..., 2 ** np.arange(components)] - v[..., :1], dtype=np.float64)


def exact_shapley(values: ArrayLike) -> Float:
    """Shapley values ... x K from the values of all coalitions, ... x 2**K in bit-mask order, K <= 10.

    phi_i = sum over S without i of |S|! (K - |S| - 1)! / K! (v(S + i) - v(S)) (paper section 4). They add up to
    v(all) - v(nobody); see `efficiency_gap`.

    Raises
    ------
    ValueError
        If the last axis is no power of two, K > 10 (then `sampled_shapley`) or a value is missing.

    >>> exact_shapley([0.0, 1.0, 2.0, 5.0]).tolist()
    [2.0, 3.0]
    """
    v, components = _game(values)
    if components > MOST_EXACT:
        raise ValueError(f"{components} components: exact up to {MOST_EXACT}, sample permutations beyond")
    return np.asarray(v @ _shapley_weights(components), dtype=np.float64)


@cache
def _shapley_weights(components: int) -> Float:
    """Weight of the value of each coalition in each Shapley value, 2**K x K."""
    members = coalition_members(components)
    size = members.sum(axis=1)
    whole = factorial(components)
    joins = np.array([0.0, *(factorial(s - 1) * factorial(components - s) / whole for s in range(1, components + 1))])
    stays = np.array([*(factorial(s) * factorial(components - s - 1) / whole for s in range(components)), 0.0])
    weights: Float = np.where(members, joins[size][:, None], -stays[size][:, None])
    weights.flags.writeable = False
    return weights


def efficiency_gap(shapley: ArrayLike, values: ArrayLike) -> Float:
    """Sum of the Shapley values minus v(all) - v(nobody): 0 but for rounding; anything else is a wrong game."""
    v, _ = _game(values)
    total = np.asarray(shapley, dtype=np.float64).sum(axis=-1)
    return np.asarray(total - (v[..., -1] - v[..., 0]), dtype=np.float64)


def harsanyi_dividends(values: ArrayLike) -> Float:
    """Interaction of every set of components, ... x 2**K: what it adds beyond all of its parts.

    d(S) = sum over T in S of (-1)^(|S| - |T|) v(T), by the fast Moebius transform; entry 0 is v(nobody). A Shapley
    value is the sum over sets with i of d(S) / |S|, so v({i}) - v(nobody) misses it by minus the sum over sets of two
    and more (paper section 4).
    """
    v, components = _game(values)
    d: Float = v.copy()
    index = np.arange(d.shape[-1])
    for i in range(components):
        inside = index[(index >> i) & 1 == 1]
        d[..., inside] -= d[..., inside ^ (1 << i)]
    return d


def aggregate_interaction(values: ArrayLike) -> Float:
    """Summed absolute interaction of order two and above: what A_lb bounds from below."""
    d, size = _by_size(values)
    return np.asarray(np.abs(d[..., size >= 2]).sum(axis=-1), dtype=np.float64)


def _by_size(values: ArrayLike) -> tuple[Float, NDArray[np.int64]]:
    d = harsanyi_dividends(values)
    return d, coalition_members(d.shape[-1].bit_length() - 1).sum(axis=1)


def measured_interactions(effects: Mapping[frozenset[int], float]) -> dict[frozenset[int], float]:
    """Interactions of the sets of two and more components whose own effect and all parts' effects were measured.

    For tables that hold single components, some pairs and some triplets. ``effects`` are against nothing switched:
    I_ij = m_ij - m_i - m_j, I_ijk = m_ijk - m_ij - m_ik - m_jk + m_i + m_j + m_k. A set with an unmeasured part is
    left out; it is not an interaction of 0.

    >>> measured_interactions({frozenset({0}): 1.0, frozenset({1}): 2.0, frozenset({0, 1}): 2.5})
    {frozenset({0, 1}): -0.5}
    """
    found: dict[frozenset[int], float] = {}
    for joint in sorted((s for s in effects if len(s) >= 2), key=lambda s: (len(s), sorted(s))):
        parts = [frozenset(part) for size in range(1, len(joint)) for part in combinations(sorted(joint), size)]
        if all(part in effects for part in parts):
            signed = sum((-1.0) ** (len(joint) - len(part)) * effects[part] for part in parts)
            found[joint] = float(effects[joint] + signed)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class SampledShapley:
    """Shapley values of K components from permutations, with the standard error of each.

    ``efficiency_gap`` is their sum minus v(all) - v(nobody). ``independent`` counts what the errors rest on:
    permutations, or pairs of one and its reverse.
    """

    shapley: Float
    se: Float
    permutations: int
    independent: int
    efficiency_gap: float


def shapley_from_marginals(
    marginals: ArrayLike, *, total: float = float("nan"), antithetic: bool = False
) -> SampledShapley:
    """Shapley values from marginal contributions measured along permutations, permutations x K.

    The error is that of the mean over independent permutations; with ``antithetic`` rows 2k and 2k + 1 are an order
    and its reverse and count as one. ``total`` is v(all) - v(nobody), for the efficiency gap.

    Raises
    ------
    ValueError
        If there are fewer than two independent permutations, an odd number of antithetic ones, or a gap in the table.
    """
    table = np.asarray(marginals, dtype=np.float64)
    step = 2 if antithetic else 1
    if table.ndim != 2 or table.shape[0] < 2 * step or table.shape[0] % step:
        raise ValueError(f"marginals of shape {table.shape}: permutations x components, two independent ones or more")
    if not np.isfinite(table).all():
        raise ValueError("a marginal contribution is missing; leave out its whole permutation")
    means = table.reshape(-1, step, table.shape[1]).mean(axis=1)
    shapley = means.mean(axis=0)
    return SampledShapley(
        shapley=shapley,
        se=np.asarray(means.std(axis=0, ddof=1) / np.sqrt(means.shape[0])),
        permutations=table.shape[0],
        independent=means.shape[0],
        efficiency_gap=float(shapley.sum() - total),
    )


def _game(values: ArrayLike) -> tuple[Float, int]:
    """Values as 64-bit numbers, and the number of components."""
    v = np.atleast_1d(np.asarray(values, dtype=np.float64))
    size = v.shape[-1]
    if size < 2 or size & (size - 1):
        raise ValueError(f"{size} values: all coalitions of K components are 2**K values in bit-mask order")
    if not np.isfinite(v).all():
        raise ValueError("the value of a coalition is missing; an incomplete game has no exact Shapley value")
    return v, size.bit_length() - 1


def _vector(values: ArrayLike, name: str) -> Float:
    found = np.asarray(values, dtype=np.float64)
    if found.ndim != 1 or found.size == 0 or not np.isfinite(found).all():
        raise ValueError(f"{name}: one finite number for each of one or more components is needed")
    return found

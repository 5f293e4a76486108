"""The deciding number of a criterion, and how much it differs between two judgements, with an interval.

What belongs here: which number of which part decides, and differences of it. What does not: states (`changes`).

Paired where both judgements scored the same perturbations: the mean over perturbations of the difference of their
values, with a percentile bootstrap over perturbations. Else from two stored 95 % intervals taken as independent and
normal: half width sqrt(h1^2 + h2^2), h the half width of each. The interval names how it was made.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from qc_standards.registry import PRIMARY_ROLE

RESAMPLES, SEED, LEAST_UNITS = 2000, 20811, 5
PAIRED = "paired over {n} perturbations, bootstrap"
INDEPENDENT = "independent estimates, normal approximation"


@dataclass(frozen=True, slots=True)
class Quantity:
    """What is read of the parts of a criterion: number, bounds, words, and whether more of it speaks for the model."""

    value: str
    low: str
    high: str
    words: str
    favours: int


QUANTITIES: Mapping[str, Quantity] = {
    "a": Quantity("mean", "ci_low", "ci_high", "AUROC of attention minus {part}", 1),
    "b": Quantity("delta", "ci_low", "ci_high", "gain over gene-level features, {part}", 1),
    "c": Quantity("kept", "kept_ci_low", "kept_ci_high", "share of recovery kept, {part}", 1),
    "d": Quantity("change", "ci_low", "ci_high", "change of AUROC under intervention, {part}", -1),
    "equal_to_correlation": Quantity("mean_difference", "ci_low", "ci_high", "AUROC of attention minus correlation", 1),
    "no_incremental_gain": Quantity("delta", "ci_low", "ci_high", "gain over gene-level features, {part}", 1),
    "matched_gain_null": Quantity("delta", "ci_low", "ci_high", "gain on matched pairs, {part}", 1),
    "baselines_win": Quantity("mean_difference", "ci_low", "ci_high", "AUROC of {part}", -1),
}


@dataclass(frozen=True, slots=True)
class Number:
    """Deciding number of a criterion in one judgement; bounds are NaN where none are stored."""

    criterion: str
    part: str
    words: str
    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Effect:
    """Deciding number before and after, and the difference; NaN and empty text where there is none."""

    words: str = ""
    old: float = math.nan
    new: float = math.nan
    difference: float = math.nan
    low: float = math.nan
    high: float = math.nan
    interval: str = ""


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


def _readable(criterion: str, entry: Mapping[str, Any]) -> dict[str, Number]:
    """Numbers of all parts of a criterion that have the quantity it is read by, in the order of its parts."""
    quantity = QUANTITIES.get(criterion)
    if quantity is None:
        return {}
    found = {}
    for part in entry["parts"]:
        numbers = part["numbers"]
        if numbers.get(quantity.value) is not None:
            low, high = (_number(numbers.get(name)) for name in (quantity.low, quantity.high))
            words = quantity.words.format(part=str(part["name"]).replace("_", " "))
            found[part["name"]] = Number(criterion, part["name"], words, float(numbers[quantity.value]), low, high)
    return found


def deciding(criterion: str, entry: Mapping[str, Any]) -> Number | None:
    """Number of the part that decides a criterion: of those with its outcome, that which speaks most against the model.

    Where no part with that outcome has the number, the same of all parts; None where none has it.
    """
    numbers = _readable(criterion, entry)
    if not numbers:
        return None
    same = [part["name"] for part in entry["parts"] if part["outcome"] == entry["outcome"] and part["name"] in numbers]
    sign = QUANTITIES[criterion].favours
    return numbers[min(same or list(numbers), key=lambda name: sign * numbers[name].value)]


def perturbation_values(tables: Mapping[str, pd.DataFrame], number: Number) -> pd.Series | None:
    """Values of a number by perturbation of the primary screen, where its mean over perturbations is the number.

    None for numbers that are no such mean (gains, shares kept, changes under intervention).
    """
    frame = tables.get("perturbation_auroc")
    if frame is None:
        return None
    rows = frame[(frame["role"] == PRIMARY_ROLE) & (frame["subset"] == "all")]
    wide = rows.pivot_table(index=["dataset", "perturbation"], columns="score", values="auroc", aggfunc="mean")
    first, second = _scores_of(number)
    if first not in wide.columns or second not in wide.columns:
        return None
    values = (wide[first] - wide[second]).dropna()
    # what is paired must be what was judged
    same = len(values) > 0 and math.isclose(float(values.mean()), number.value, rel_tol=1e-6, abs_tol=1e-9)
    return values if same else None


def _scores_of(number: Number) -> tuple[str, str]:
    if number.criterion == "a":
        return "attention", number.part
    if number.criterion == "equal_to_correlation":
        return "attention", "correlation"
    first, _, second = number.part.partition(" against ")
    return (first, second) if number.criterion == "baselines_win" else ("", "")


def difference(
    criterion: str,
    old: Mapping[str, Any],
    new: Mapping[str, Any],
    tables: tuple[Mapping[str, pd.DataFrame], Mapping[str, pd.DataFrame]] | None = None,
) -> Effect:
    """Deciding number of a criterion in two judgements and their difference, new minus old.

    The part is the one that decides the new judgement, else the old one; the same part is read in both. ``tables`` are
    the kept tables of both, where at hand.
    """
    now = deciding(criterion, new) or deciding(criterion, old)
    if now is None:
        return Effect()
    before, after = (_readable(criterion, entry).get(now.part) for entry in (old, new))
    if before is None or after is None:
        only = before or after or now
        values = (math.nan if item is None else item.value for item in (before, after))
        return Effect(only.words, *values)
    if tables is not None:
        values = [perturbation_values(frames, number) for frames, number in zip(tables, (before, after), strict=True)]
        if values[0] is not None and values[1] is not None:
            paired = _paired(before, after, values[0], values[1])
            if paired is not None:
                return paired
    return independent(before, after)


def _paired(before: Number, after: Number, old: pd.Series, new: pd.Series) -> Effect | None:
    """Paired difference where both judgements have the very same perturbations; None where they have not."""
    from interp_assets.stats.resampling import paired_mean_difference

    if len(old) < LEAST_UNITS or set(old.index) != set(new.index):
        return None
    new = new.reindex(old.index)
    rng = np.random.default_rng(SEED)
    found = paired_mean_difference(new.to_numpy(dtype=float), old.to_numpy(dtype=float), rng, RESAMPLES)
    told = PAIRED.format(n=len(old))
    bounds = (found.interval.low, found.interval.high)
    return Effect(after.words, before.value, after.value, found.mean, *bounds, told)


def independent(before: Number, after: Number) -> Effect:
    """Difference of two numbers from their stored 95 % intervals, taken as independent and normal.

    Examples
    --------
    >>> one = Number("b", "x", "gain", 0.1, 0.07, 0.13)
    >>> two = Number("b", "x", "gain", 0.3, 0.26, 0.34)
    >>> found = independent(one, two)
    >>> round(found.low, 6), round(found.high, 6)
    (0.15, 0.25)
    """
    gap = after.value - before.value
    half = math.hypot((before.high - before.low) / 2, (after.high - after.low) / 2)
    told = "" if math.isnan(half) else INDEPENDENT
    return Effect(after.words, before.value, after.value, gap, gap - half, gap + half, told)

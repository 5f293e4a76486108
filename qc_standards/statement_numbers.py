"""The numbers that a statement quotes: for each criterion the comparison that says most, with its interval.

What belongs here: choosing parts of a judged criterion and writing them. What does not: computing or judging anything.
Where a number is missing nothing is quoted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from qc_standards.criterion_parts import CriterionPart, CriterionResult

_BASELINES: Final = {"variance": "target variance", "mean": "target mean", "one_minus_dropout": "1 - target dropout"}
_METRICS: Final = {"auroc": "AUROC", "auprc": "AUPRC", "r_precision": "R-precision"}
_LEARNERS: Final = {"ols": "OLS", "boosting": "boosting", "logistic": "logistic"}
_SPLITS: Final = {"perturbation": "held-out regulators", "target_gene": "held-out targets", "joint": "both held out"}


def _complete(result: CriterionResult, *columns: str) -> list[tuple[CriterionPart, dict[str, float]]]:
    """Parts that hold all the named numbers, with these."""
    found = []
    for part in result.parts:
        numbers = {name: value for name in columns if (value := part.numbers.get(name)) is not None}
        if len(numbers) == len(columns):
            found.append((part, numbers))
    return found


def _interval(low: float, high: float, digits: int = 3, sign: str = "+") -> str:
    return f"95 % interval {low:{sign}.{digits}f} to {high:{sign}.{digits}f}"


def _against_best_baseline(result: CriterionResult) -> str:
    """Mean AUROC difference to the baseline that attention comes off worst against."""
    parts = [item for item in _complete(result, "mean", "ci_low", "ci_high", "n") if item[0].name in _BASELINES]
    if len(parts) < len(_BASELINES):
        return ""
    part, found = min(parts, key=lambda item: item[1]["mean"])
    return (
        f"mean AUROC difference to the best one, {_BASELINES[part.name]}, {found['mean']:+.3f}, "
        f"{_interval(found['ci_low'], found['ci_high'])}, n {found['n']:.0f}"
    )


def _cell(part: CriterionPart) -> str:
    """Comparison of a gain in words: "attention, AUROC, held-out regulators, logistic"."""
    edge, split, learner, metric = part.name.split("/")
    words = (edge, _METRICS.get(metric, metric), _SPLITS.get(split, split), _LEARNERS.get(learner, learner))
    return ", ".join(words)


def _gains(result: CriterionResult) -> list[tuple[CriterionPart, dict[str, float]]]:
    return [item for item in _complete(result, "delta", "ci_low", "ci_high") if item[0].name.count("/") == 3]


def _smallest_gain(result: CriterionResult) -> str:
    parts = _gains(result)
    if not parts:
        return ""
    part, found = min(parts, key=lambda item: item[1]["ci_low"])
    told = f"{found['delta']:+.4f}, {_interval(found['ci_low'], found['ci_high'], 4)}"
    return f"smallest of {len(parts)} gains {told}, {_cell(part)}"


def _largest_gain(result: CriterionResult) -> str:
    parts = _gains(result)
    if not parts:
        return ""
    part, found = max(parts, key=lambda item: item[1]["ci_high"])
    told = f"{found['delta']:+.4f}, {_interval(found['ci_low'], found['ci_high'], 4)}"
    return f"largest of {len(parts)} gains {told}, {_cell(part)}"


def _retention(result: CriterionResult) -> str:
    told = []
    kept = [i for i in _complete(result, "kept", "kept_ci_low", "kept_ci_high", "auroc_raw") if "/" in i[0].name]
    if kept:
        part, found = min(kept, key=lambda item: item[1]["kept"])
        told.append(
            f"{found['kept']:.2f} of the above-chance recovery is kept, "
            f"{_interval(found['kept_ci_low'], found['kept_ci_high'], 2, '')}, "
            f"{_LEARNERS.get(part.name.split('/')[1], part.name)}, raw AUROC {found['auroc_raw']:.3f}"
        )
    degree = [found for part, found in _complete(result, "z", "observed", "null_mean") if part.name == "degree"]
    if degree:
        excess = degree[0]["observed"] - degree[0]["null_mean"]
        told.append(f"{excess:+.3f} AUROC over degree-preserving networks, z {degree[0]['z']:.1f}")
    return "; ".join(told)


def _dose(result: CriterionResult) -> str:
    parts = _complete(result, "change", "ci_low", "ci_high", "n")
    chosen = [found for part, found in parts if part.name == "dose response"]
    if not chosen:
        return ""
    told = f"{chosen[0]['change']:+.4f}, {_interval(chosen[0]['ci_low'], chosen[0]['ci_high'], 4)}"
    return f"AUROC change with the largest set of silenced heads {told}, n {chosen[0]['n']:.0f}"


def _equivalence(result: CriterionResult) -> str:
    parts = _complete(result, "mean_difference", "ci_low", "ci_high")
    if not parts:
        return ""
    found = parts[0][1]
    told = _interval(found["ci_low"], found["ci_high"])
    return f"mean AUROC difference, attention less correlation, {found['mean_difference']:+.3f}, {told}"


def _smallest_win(result: CriterionResult) -> str:
    parts = _complete(result, "mean_difference", "ci_low", "ci_high")
    if not parts:
        return ""
    part, found = min(parts, key=lambda item: item[1]["ci_low"])
    baseline, _, edge = part.name.partition(" against ")
    told = f"{found['mean_difference']:+.3f}, {_interval(found['ci_low'], found['ci_high'])}"
    return f"smallest of {len(parts)} mean AUROC differences {told}, {_BASELINES.get(baseline, baseline)} less {edge}"


def _matched(result: CriterionResult) -> str:
    parts = [i for i in _complete(result, "delta", "ci_low", "ci_high") if i[0].name.endswith("/auroc")]
    if not parts:
        return ""
    found = parts[0][1]
    return f"AUROC gain on matched pairs {found['delta']:+.4f}, {_interval(found['ci_low'], found['ci_high'], 4)}"


_TOLD: Final[Mapping[str, Callable[[CriterionResult], str]]] = MappingProxyType(
    {
        "a": _against_best_baseline,
        "b": _smallest_gain,
        "c": _retention,
        "d": _dose,
        "equal_to_correlation": _equivalence,
        "no_incremental_gain": _largest_gain,
        "matched_gain_null": _matched,
        "baselines_win": _smallest_win,
    }
)


def numbers_told(result: CriterionResult) -> str:
    """The number of a criterion that says most, with its 95 % interval and n where it has one; empty where none is."""
    return _TOLD[result.id](result) if result.id in _TOLD else ""

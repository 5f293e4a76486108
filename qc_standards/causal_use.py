"""Criterion d: whether the model uses the attention it is credited with.

What belongs here: the decision over the per-perturbation read-outs of a causal ablation. What does not: how a model
was run. Nothing is taken from a summary: drops, intervals and the random null are computed again from
``intervention_auroc``, and whether a part could act on the read-out from ``intervention_conditions.parts``.

Judged on the published read-out (attention of the analysis layer) and on heads that lie before it, because no other
head can change it (paper section 9, item 7). A change is condition minus clean model over the same perturbations, the
sign of every table; a drop is its opposite.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from qc_standards.claims import CriterionSpec
from qc_standards.criterion_parts import CriterionPart, CriterionResult, conjunction
from qc_standards.evidence import PRIMARY_ROLE, Evidence, MissingEvidenceError
from qc_standards.records import Outcome

CLEAN: Final = "clean"
READ_OUT: Final = "attention"
MIN_SIZES: Final = 2
Float = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lowered:
    """A drop over perturbations: mean, 95 % bootstrap interval, one-sided signed-rank p, and what follows."""

    outcome: Outcome
    mean: float
    low: float
    high: float
    p: float
    n: int

    @property
    def text(self) -> str:
        """The numbers as one phrase."""
        return f"change {-self.mean:+.4f} [{-self.high:+.4f}, {-self.low:+.4f}], p {self.p:.2g}, n {self.n}"

    @property
    def numbers(self) -> dict[str, float | None]:
        """The numbers by name."""
        change = {"change": -self.mean, "ci_low": -self.high, "ci_high": -self.low}
        return {**change, "p": self.p, "n": float(self.n)}


def lowered(drop: Float, thresholds: Mapping[str, float], stream: int) -> Lowered:
    """Whether a drop (one entry a perturbation) is there.

    Fail: the upper bound of its interval lies below the margin, so whatever there is is negligible. Pass: one-sided
    signed-rank p below alpha and a lower bound above 0. Otherwise undecided.
    """
    p, (low, high) = one_sided(drop), _interval(drop, thresholds, stream)
    if high < thresholds["margin"]:
        outcome = Outcome.FAIL
    elif p < thresholds["alpha"] and low > 0.0:
        outcome = Outcome.PASS
    else:
        outcome = Outcome.UNDECIDED
    return Lowered(outcome=outcome, mean=float(drop.mean()), low=low, high=high, p=p, n=drop.size)


def one_sided(values: Float) -> float:
    """Signed-rank p that values (one a perturbation) lie above 0; 1 where all are 0."""
    from scipy.stats import wilcoxon

    return float(wilcoxon(values, alternative="greater").pvalue) if values.any() else 1.0


def _interval(values: Float, thresholds: Mapping[str, float], stream: int) -> tuple[float, float]:
    rng = np.random.default_rng([int(thresholds["seed"]), stream])
    draws = rng.integers(0, values.size, size=(int(thresholds["bootstrap"]), values.size))
    low, high = np.quantile(values[draws].mean(axis=1), [0.025, 0.975])
    return float(low), float(high)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ablation:
    """Conditions that can act on the read-out, and the AUROC of every condition by perturbation."""

    conditions: pd.DataFrame
    auroc: pd.DataFrame

    def drop(self, condition: str) -> Float:
        """Clean model minus condition, one entry a perturbation."""
        return np.asarray(self.auroc[CLEAN] - self.auroc[condition], dtype=np.float64)

    def chosen(self, **where: object) -> pd.DataFrame:
        """Conditions whose columns have the given values."""
        kept = self.conditions
        for column, value in where.items():
            kept = kept[kept[column] == value]
        return kept

    def top(self) -> pd.DataFrame:
        """Masks of the best-ranked heads, smallest first; of equal sizes the first dose only."""
        rows = self.chosen(pool="upstream", family="top", operation="zero_heads").sort_values(["size", "dose"])
        return rows.drop_duplicates("size")


def read_ablation(evidence: Evidence, thresholds: Mapping[str, float]) -> Ablation:
    """Evidence of the primary screen, checked: every condition once, every perturbation under every condition.

    Raises `MissingEvidenceError` when a table is incomplete, a value is missing, too few perturbations are there, or
    a condition says of itself that it could act on the read-out although its parts lie elsewhere.
    """
    conditions = evidence.rows("intervention_conditions", role=PRIMARY_ROLE)
    repeated = conditions["condition"][conditions["condition"].duplicated()]
    if len(repeated):
        raise MissingEvidenceError(f"table intervention_conditions repeats {repeated.iloc[0]}")
    for row in conditions.to_dict(orient="records"):
        if bool(row["upstream"]) is not _acts(row):
            raise MissingEvidenceError(
                f"table intervention_conditions: {row['condition']} says upstream {row['upstream']}, its parts "
                f"{row['parts']} and read-out layer {row['read_out_layer']} say otherwise"
            )
    rows = evidence.rows("intervention_auroc", role=PRIMARY_ROLE, read_out=READ_OUT)
    if rows.duplicated(["condition", "perturbation"]).any():
        raise MissingEvidenceError("table intervention_auroc repeats a condition and perturbation")
    wide = rows.pivot(index="perturbation", columns="condition", values="auroc").sort_index()
    judged = conditions[conditions["upstream"].astype(bool)]
    lacking = [name for name in (CLEAN, *judged["condition"]) if name not in wide.columns]
    if lacking or wide[[CLEAN, *judged["condition"]]].isna().to_numpy().any():
        raise MissingEvidenceError(
            f"table intervention_auroc lacks {lacking[0] if lacking else 'a perturbation under some condition'}"
        )
    least = int(thresholds["min_perturbations"])
    if len(wide) < least:
        raise MissingEvidenceError(f"{len(wide)} perturbations under intervention, at least {least} are needed")
    return Ablation(conditions=judged, auroc=wide)


def _acts(row: Mapping[Any, Any]) -> bool:
    """Whether every changed part lies before the read-out layer, from the parts themselves."""
    layers = [int(part.removeprefix("mlp.").split(".")[0]) for part in str(row["parts"]).split(";")]
    return all(layer < int(row["read_out_layer"]) for layer in layers)


def causally_used(evidence: Evidence, spec: CriterionSpec) -> CriterionResult:
    """Criterion d: silencing top-ranked heads lowers the read-out with dose and beyond random heads.

    Five parts, all required: dose response; beyond random sets of the same size; uniform attention; silenced
    feed-forward layers; every condition these read is material. See ``registry/claims.yaml`` for the thresholds.
    """
    t = spec.thresholds
    ablation = read_ablation(evidence, t)
    top = ablation.top()
    uniform = ablation.chosen(pool="upstream", family="top", operation="uniform_attention").sort_values("size").tail(1)
    mlp = ablation.chosen(operation="zero_mlp")
    read = pd.concat([top, uniform, mlp])
    parts = [
        _dose_part(ablation, top, t),
        _random_part(ablation, top, t),
        _lowered_part("uniform attention", ablation, uniform, t, 200),
        _lowered_part("feed-forward", ablation, mlp, t, 300),
        _material_part(read, t),
    ]
    return conjunction(spec, parts)


def _part(name: str, outcome: Outcome, reason: str, numbers: Mapping[str, float | None] | None = None) -> CriterionPart:
    return CriterionPart(name=name, outcome=outcome, reason=f"{name}: {reason}", numbers=numbers or {})


def _dose_part(ablation: Ablation, top: pd.DataFrame, t: Mapping[str, float]) -> CriterionPart:
    """Drops rise with the number of heads, in the mean and over perturbations, and the largest is there."""
    name = "dose response"
    if len(top) < MIN_SIZES:
        reason = f"{len(top)} sizes of head sets before the read-out layer, at least {MIN_SIZES} are needed"
        return _part(name, Outcome.NOT_EVALUABLE, reason)
    drops = np.stack([ablation.drop(condition) for condition in top["condition"]])
    largest = lowered(drops[-1], t, 0)
    steps = np.diff(np.vstack([np.zeros(drops.shape[1]), drops]), axis=0)
    monotone = bool((steps.mean(axis=1) >= 0.0).all())
    dose = np.arange(len(drops) + 1) - len(drops) / 2
    trend = one_sided(np.asarray(dose @ np.vstack([np.zeros(drops.shape[1]), drops]), dtype=np.float64))
    reversed_step = any(_interval(step, t, 10 + place)[1] < 0.0 for place, step in enumerate(steps))
    if largest.outcome is Outcome.FAIL or reversed_step:
        outcome = Outcome.FAIL
    elif largest.outcome is Outcome.PASS and monotone and trend < t["alpha"]:
        outcome = Outcome.PASS
    else:
        outcome = Outcome.UNDECIDED
    told = ", ".join(f"{size} {-drop:+.4f}" for size, drop in zip(top["size"], drops.mean(axis=1), strict=True))
    reason = f"by heads {told}; {'monotone' if monotone else 'not monotone'}, trend p {trend:.2g}; {largest.text}"
    part = _part(name, outcome, reason, {**largest.numbers, "trend_p": trend, "monotone": float(monotone)})
    return _no_evidence_if_idle(part, top.tail(1), t)


def _random_part(ablation: Ablation, top: pd.DataFrame, t: Mapping[str, float]) -> CriterionPart:
    """The best-ranked heads matter more than as many random ones, at every size and clearly at the largest."""
    name = "beyond random heads"
    excesses: list[Float] = []
    p = 1.0
    for row in top.to_dict(orient="records"):
        drawn = ablation.chosen(pool="upstream", family="random", dose=row["dose"])
        drawn = drawn[drawn["size"] == row["size"]]
        if len(drawn) < t["random_sets"] or drawn["draw"].duplicated().any():
            reason = f"{len(drawn)} random sets of {row['size']} heads, at least {t['random_sets']:g} are needed"
            return _part(name, Outcome.NOT_EVALUABLE, reason)
        own, others = ablation.drop(row["condition"]), np.stack([ablation.drop(c) for c in drawn["condition"]])
        excesses.append(own - others.mean(axis=0))
        p = float((1 + (others.mean(axis=1) >= own.mean()).sum()) / (1 + len(others)))
    if not excesses:
        return _part(name, Outcome.NOT_EVALUABLE, "no top-ranked heads lie before the read-out layer")
    low, high = _interval(excesses[-1], t, 100)
    ahead = all(excess.mean() >= 0.0 for excess in excesses)
    if high < t["margin"]:
        outcome = Outcome.FAIL
    elif p < t["alpha"] and low > 0.0 and ahead:
        outcome = Outcome.PASS
    else:
        outcome = Outcome.UNDECIDED
    mean = float(excesses[-1].mean())
    reason = f"largest set {-mean:+.4f} [{-high:+.4f}, {-low:+.4f}] against the mean of random sets, p {p:.2g}"
    reason += "" if ahead else "; behind them at a smaller size"
    part = _part(name, outcome, reason, {"change": -mean, "ci_low": -high, "ci_high": -low, "p": p})
    return _no_evidence_if_idle(part, top.tail(1), t)


def _lowered_part(
    name: str, ablation: Ablation, rows: pd.DataFrame, t: Mapping[str, float], stream: int
) -> CriterionPart:
    """Every one of the conditions lowers the read-out."""
    if rows.empty:
        return _part(name, Outcome.NOT_EVALUABLE, "no such condition lies before the read-out layer")
    found = []
    for place in range(len(rows)):
        row = rows.iloc[place : place + 1]
        which = str(row["condition"].iloc[0])
        drop = lowered(ablation.drop(which), t, stream + place)
        part = _part(name, drop.outcome, f"{which} {drop.text}", drop.numbers)
        found.append(_no_evidence_if_idle(part, row, t))
    return min(found, key=lambda one: _ORDER.index(one.outcome))


_ORDER: Final[Sequence[Outcome]] = (Outcome.FAIL, Outcome.NOT_EVALUABLE, Outcome.UNDECIDED, Outcome.PASS)


def _idle(rows: pd.DataFrame, t: Mapping[str, float]) -> pd.Series:
    """Conditions that hardly change the network; an unknown distance counts as none."""
    distance = pd.to_numeric(rows["hidden_distance"], errors="coerce")
    return ~(distance > t["material"]) | ~rows["changed"].astype(bool)


def _no_evidence_if_idle(part: CriterionPart, condition: pd.DataFrame, t: Mapping[str, float]) -> CriterionPart:
    """A drop that is not there cannot count against a model whose states the intervention hardly changed."""
    if part.outcome is not Outcome.FAIL or not _idle(condition, t).any():
        return part
    reason = f"{part.reason}; but the intervention hardly changes the network, so this is no evidence"
    return CriterionPart(name=part.name, outcome=Outcome.NOT_EVALUABLE, reason=reason, numbers=part.numbers)


def _material_part(read: pd.DataFrame, t: Mapping[str, float]) -> CriterionPart:
    """Every condition that was read moved the network; one that did not is no evidence, whatever the read-out says."""
    name = "material"
    distance = pd.to_numeric(read["hidden_distance"], errors="coerce")
    idle = read[_idle(read, t)]
    smallest = float(distance.min()) if len(read) and distance.notna().all() else None
    if read.empty or len(idle):
        which = f"{len(idle)} of {len(read)} interventions hardly change the network"
        told = f", such as {idle['condition'].iloc[0]}" if len(idle) else ""
        limit = f" (cosine distance of hidden states must exceed {t['material']:g})"
        return _part(name, Outcome.NOT_EVALUABLE, which + told + limit, {"smallest": smallest})
    reason = f"every hidden-state distance exceeds {t['material']:g}, smallest {smallest:.3f}"
    return _part(name, Outcome.PASS, reason, {"smallest": smallest})

"""Extended analysis E4: whether this battery finds what is there, and refuses what only looks like it.

A null result means nothing where a known network would have gone unnoticed too. Rows hold the study's planted control
to what it must pass, and its coexpression control and a score made of confounds to what they must fail.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import pandas as pd

from interp_assets.analyses.confound_only import EDGE, LEARNER, SHARE, SPLIT, ConfoundOnly, confound_only
from interp_assets.analyses.incremental_value import GENE_FEATURES
from interp_assets.analyses.inputs import AnalysisInputs, AnalysisOutput, ControlEvidence, RoleInputs
from interp_assets.analyses.rows import chosen_settings, collect, role_or_reason, row, skip, skip_all
from interp_assets.analyses.score_contrasts import CHANCE, Recovered
from qc_standards.claims import claims_registry
from qc_standards.criteria import judge_criterion
from qc_standards.criterion_parts import CriterionPart, CriterionResult, combine
from qc_standards.evidence import PRIMARY_ROLE, Evidence, MissingEvidenceError
from qc_standards.records import Outcome, Status, TestResult

PLANTED: Final = "control-planted"
COEXPRESSION: Final = "control-coexpression"
NUMBER: Final = 104  # generators of its own, apart from those of analysis 4
MUST_FAIL: Final = ("a", "b", "c")  # criteria a negative control may be refuted by
INTERVAL: Final = ("ci_low", "ci_high")
PARTIAL: Final = "partial_correlation_samples"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """Parts of a criterion that one row reads: those whose name starts with ``prefix``.

    ``numbers`` are the names of effect, lower and upper bound; ``twin`` is the declared test of the 153 that says on
    how many units the part rests.
    """

    control: str
    criterion: str
    prefix: str
    numbers: tuple[str, str, str]
    twin: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """What one row says: who was held to what, what came of it, and whether that is as it must be."""

    control: str
    expected: str
    observed: str
    behaves: bool
    numbers: Mapping[str, Any]
    used: Mapping[str, Any] = field(default_factory=dict)

    @property
    def told(self) -> str:
        """The row in one phrase."""
        return f"must {self.expected}: {self.observed}, {'as it must' if self.behaves else 'NOT as it must'}"


PARTS: Final[Mapping[str, _Part]] = {
    "E4.1": _Part(control=PLANTED, criterion="a", prefix="", numbers=("mean", *INTERVAL), twin="A21.5"),
    "E4.2": _Part(control=PLANTED, criterion="c", prefix="degree", numbers=("z", "", ""), twin="A16.2"),
    "E4.3": _Part(control=PLANTED, criterion="d", prefix="dose", numbers=("change", *INTERVAL), twin="A29.1"),
    "E4.4": _Part(control=PLANTED, criterion="d", prefix="beyond", numbers=("change", *INTERVAL), twin="A29.1"),
    "E4.9": _Part(control=COEXPRESSION, criterion="a", prefix="", numbers=("mean", *INTERVAL), twin="A21.5"),
    "E4.12": _Part(
        control=PLANTED,
        criterion="b",
        prefix="attention/perturbation/",
        numbers=("delta", *INTERVAL),
        twin="A26.1",
    ),
    "E4.13": _Part(
        control=PLANTED,
        criterion="b",
        prefix="attention/target_gene/",
        numbers=("delta", *INTERVAL),
        twin="A31.1",
    ),
    "E4.14": _Part(
        control=PLANTED, criterion="b", prefix="attention/joint/", numbers=("delta", *INTERVAL), twin="A31.2"
    ),
    "E4.15": _Part(
        control=PLANTED,
        criterion="c",
        prefix="residual/ols",
        numbers=("kept", "kept_ci_low", "kept_ci_high"),
        twin="A25.1",
    ),
    "E4.16": _Part(
        control=PLANTED,
        criterion="c",
        prefix="residual/boosting",
        numbers=("kept", "kept_ci_low", "kept_ci_high"),
        twin="A25.3",
    ),
    "E4.17": _Part(control=COEXPRESSION, criterion="b", prefix="", numbers=("delta", *INTERVAL), twin="A26.1"),
    "E4.18": _Part(
        control=COEXPRESSION,
        criterion="c",
        prefix="residual/",
        numbers=("kept", "kept_ci_low", "kept_ci_high"),
        twin="A25.1",
    ),
}
# Rows of the planted control's own extended analyses, and the value their effect must exceed.
EXTENDED: Final[Mapping[str, tuple[str, float]]] = {
    "E4.6": ("E2.5", 0.0),
    "E4.7": ("E6.7", CHANCE),
    "E4.8": ("E6.15", CHANCE),
}
TRUTH_BEYOND_COEXPRESSION: Final = "E4.5"
CONFOUND: Final[Mapping[str, str]] = {"E4.10": "raw", "E4.11": "left", "E4.19": "gain"}


def positive_controls(inputs: AnalysisInputs) -> AnalysisOutput:
    """Rows that say for each control what it came out as, and whether that is what it must come out as.

    The planted control is judged part by part with the criteria's own functions (`qc_standards.criteria`) on its stored
    tables, and by its rows of E1, E2 and E6. The coexpression control must fail a, b or c. The confound-only score
    (`confound_only`) must rank responders, must add nothing to gene-level features, and must leave nothing once these
    are regressed out. A control that is absent, or whose evidence was skipped, leaves its row skipped with that reason.

    Table ``positive_controls``: one row a declared test, with ``expected``, ``observed`` and ``behaves``.
    """
    role = role_or_reason(inputs, PRIMARY_ROLE)
    if isinstance(role, str):
        return skip_all(inputs, role)
    judged = {name: _judged(given) for name, given in inputs.controls.items()}
    confound = confound_only(inputs, role, NUMBER)
    found = {spec.test_id: _found(inputs, judged, confound, spec.test_id) for spec in inputs.tests}
    results = [_row(inputs, role, test_id, one) for test_id, one in found.items()]
    return collect(inputs, results, {"positive_controls": _table(found, results)})


def _judged(given: ControlEvidence) -> dict[str, CriterionResult]:
    """Criteria of a control, each judged once."""
    evidence = Evidence(tests=given.tests, tables=given.tables)
    return {name: judge_criterion(evidence, claims_registry().criteria[name]) for name in ("a", "b", "c", "d")}


def _found(
    inputs: AnalysisInputs, judged: Mapping[str, Mapping[str, CriterionResult]], confound: ConfoundOnly, test_id: str
) -> _Found | str:
    if test_id in CONFOUND:
        return _confound_part(confound, CONFOUND[test_id])
    control = PARTS[test_id].control if test_id in PARTS else PLANTED
    given = inputs.controls.get(control)
    if given is None:
        return inputs.absent.get(control, f"{control} was not evaluated in study {inputs.study}")
    if test_id in EXTENDED:
        return _extended_part(given, *EXTENDED[test_id])
    if test_id == TRUTH_BEYOND_COEXPRESSION:
        return _truth_part(given)
    part = PARTS[test_id]
    judge = _must_pass if control == PLANTED else _must_fail
    return judge(given, judged[control], part)


def _must_pass(given: ControlEvidence, judged: Mapping[str, CriterionResult], part: _Part) -> _Found | str:
    """Parts of a criterion of the planted control: all must pass; the numbers are those of the weakest."""
    parts = [one for one in judged[part.criterion].parts if one.name.startswith(part.prefix)]
    outcome = combine([one.outcome for one in parts])
    if outcome is Outcome.NOT_EVALUABLE:
        gaps = [one.reason for one in parts if one.outcome is Outcome.NOT_EVALUABLE]
        return f"{part.control}: criterion {part.criterion}: {(gaps or [judged[part.criterion].reason])[0]}"
    weakest = min(parts, key=lambda one: _strength(one, part))
    passed = sum(one.outcome is Outcome.PASS for one in parts)
    return _Found(
        control=part.control,
        expected=f"pass criterion {part.criterion}",
        observed=f"{passed} of {len(parts)} parts pass, weakest {weakest.reason}",
        behaves=outcome is Outcome.PASS,
        numbers=_part_numbers(given, weakest, part),
        used=_part_settings(part, weakest),
    )


def _must_fail(given: ControlEvidence, judged: Mapping[str, CriterionResult], part: _Part) -> _Found | str:
    """One criterion of a negative control; it behaves if it fails any of a, b and c."""
    result = judged[part.criterion]
    if result.outcome is Outcome.NOT_EVALUABLE:
        return f"{part.control}: criterion {part.criterion}: {result.reason}"
    failed = [name for name in MUST_FAIL if judged[name].outcome is Outcome.FAIL]
    parts = [one for one in result.parts if one.name.startswith(part.prefix)]
    weakest = min(parts, key=lambda one: _strength(one, part))
    return _Found(
        control=part.control,
        expected=f"fail {', '.join(MUST_FAIL[:-1])} or {MUST_FAIL[-1]}",
        observed=f"criterion {part.criterion} {result.outcome}, fails {', '.join(failed) or 'none'}",
        behaves=bool(failed),
        numbers=_part_numbers(given, weakest, part),
        used=_part_settings(part, weakest),
    )


def _strength(one: CriterionPart, part: _Part) -> float:
    """Lower bound of a part; for a change, which must be negative, minus its upper bound."""
    effect, low, high = part.numbers
    value = one.numbers.get(high if effect == "change" else low)
    if value is None:
        return -math.inf
    return -value if effect == "change" else value


def _part_numbers(given: ControlEvidence, one: CriterionPart, part: _Part) -> dict[str, Any]:
    effect, low, high = part.numbers
    twin = given.tests[given.tests["test_id"] == part.twin].iloc[0]
    thresholds = claims_registry().criteria[part.criterion].thresholds
    resamples = thresholds.get("bootstrap")  # criteria a and d resample by themselves, b and c read stored intervals
    found: dict[str, Any] = {
        "effect": _number(one.numbers.get(effect)),
        "p": _part_p(given, one, part),
        "n": int(one.numbers.get("n") or twin["n"]) if one.numbers.get("n") or pd.notna(twin["n"]) else None,
        "layer": int(twin["layer"]) if pd.notna(twin["layer"]) else None,
        "resamples_requested": int(resamples) if resamples else _count(twin["resamples_requested"]),
        "resamples_done": int(resamples) if resamples else _count(twin["resamples_done"]),
    }
    if low:
        found |= {"ci_low": _number(one.numbers.get(low)), "ci_high": _number(one.numbers.get(high))}
    if part.prefix == "degree":
        null = {"statistic": "observed", "null_mean": "null_mean"}
        found |= {name: _number(one.numbers.get(key)) for name, key in null.items()}
        found["null_name"] = "curveball"
    return found


def _part_p(given: ControlEvidence, one: CriterionPart, part: _Part) -> float | None:
    """The p of a part where it has one of its own, as the part or the table behind it states it."""
    if part.criterion == "a":
        where = {"subset": "all", "edge": "attention", "baseline": one.name}
        return _from_table(given, "baseline_differences", where, "p_edge_greater")
    if part.prefix == "degree":
        return _from_table(given, "degree_null", {"edge": "attention", "null": "curveball"}, "p")
    return _number(one.numbers.get("p")) if part.criterion == "d" else None


def _from_table(given: ControlEvidence, name: str, where: Mapping[str, str], column: str) -> float:
    rows = Evidence(tests=given.tests, tables=given.tables).rows(name, role=PRIMARY_ROLE, **where)
    return float(rows[column].iloc[0]) if len(rows) == 1 else math.nan


def _part_settings(part: _Part, one: CriterionPart) -> dict[str, Any]:
    thresholds = claims_registry().criteria[part.criterion].thresholds
    return {"criterion": part.criterion, "part": one.name, "thresholds": dict(thresholds), "reads": part.twin}


def _extended_part(given: ControlEvidence, test_id: str, limit: float) -> _Found | str:
    """A row of the planted control's own extended analyses: its effect must exceed the limit with its interval."""
    result = given.extended.get(test_id)
    if result is None:
        return f"{PLANTED} has no row {test_id}: its analysis is not among those that controls run"
    if result.status is not Status.RUN or result.effect is None or result.ci_low is None:
        return f"{PLANTED}: {test_id} {result.reason or 'has no interval'}"
    names = ("effect", "statistic", "ci_low", "ci_high", "p", "n", "layer", "resamples_requested", "resamples_done")
    return _Found(
        control=PLANTED,
        expected=f"exceed {limit:g} in {test_id}",
        observed=f"{result.effect:.3f} [{result.ci_low:.3f}, {result.ci_high:.3f}]",
        behaves=result.ci_low > limit,
        numbers={name: getattr(result, name) for name in names} | {"null_mean": limit},
        used={"reads": test_id},
    )


def _truth_part(given: ControlEvidence) -> _Found | str:
    """E1 on the planted network itself: attention goes with it beyond co-expression."""
    try:
        rows = Evidence(tests=given.tests, tables=given.tables).rows(PARTIAL, database_role="primary reference")
    except MissingEvidenceError as error:
        return f"{PLANTED}: {error}"
    if len(rows) != 1:
        return f"{PLANTED}: table {PARTIAL} holds {len(rows)} rows of the primary reference instead of 1"
    one = rows.iloc[0]
    partial, p = float(one["partial"]), float(one["p"])
    return _Found(
        control=PLANTED,
        expected="go with its network beyond co-expression",
        observed=f"partial correlation {partial:+.3f} with {one['database']}, p {p:.2g}",
        behaves=partial > 0.0 and p < 0.05,
        numbers={
            **{"effect": partial, "statistic": float(one["raw"]), "p": p, "n": int(one["n"]), "null_mean": 0.0},
            **{"layer": int(one["layer"]), "resamples_requested": int(one["samples_requested"])},
            "resamples_done": int(one["samples_done"]),
        },
        used={"assumes": "pairs are independent", "database": str(one["database"]), "table": PARTIAL},
    )


def _confound_part(confound: ConfoundOnly, which: str) -> _Found | str:
    if which == "gain":
        return _confound_gain(confound)
    found = confound.raw if which == "raw" else confound.left
    if isinstance(found, str):
        return found
    interval = found.interval
    above, beside = interval.low > CHANCE, interval.low <= CHANCE <= interval.high
    return _Found(
        control=EDGE,
        expected="rank responders" if which == "raw" else "leave nothing beside gene-level features",
        observed=f"AUROC {found.auroc:.3f} [{interval.low:.3f}, {interval.high:.3f}]",
        behaves=above if which == "raw" else beside,
        numbers=_recovered_numbers(found, confound.units),
        used={"score": EDGE, "share": SHARE, "given": () if which == "raw" else GENE_FEATURES},
    )


def _recovered_numbers(found: Recovered, units: int) -> dict[str, Any]:
    interval = found.interval
    return {
        **{"effect": found.auroc, "ci_low": interval.low, "ci_high": interval.high, "p": found.p_above_chance},
        **{"n": units, "null_mean": CHANCE, "resamples_requested": interval.resamples_requested},
        "resamples_done": interval.resamples_done,
    }


def _confound_gain(confound: ConfoundOnly) -> _Found | str:
    gain = confound.gain
    if isinstance(gain, str):
        return gain
    return _Found(
        control=EDGE,
        expected="add nothing to gene-level features",
        observed=f"gain {gain.delta:+.4f} [{gain.ci_low:+.4f}, {gain.ci_high:+.4f}]",
        behaves=not gain.ci_low > 0.0,
        numbers={
            **{"effect": gain.delta, "statistic": gain.gene_plus_edge, "ci_low": gain.ci_low, "ci_high": gain.ci_high},
            **{"n": gain.n_perturbations, "resamples_requested": gain.resamples_requested},
            "resamples_done": gain.resamples_done,
        },
        used={"score": EDGE, "share": SHARE, "split": SPLIT, "learner": LEARNER, "gene_features": GENE_FEATURES},
    )


def _row(inputs: AnalysisInputs, role: RoleInputs, test_id: str, one: _Found | str) -> TestResult:
    if isinstance(one, str):
        return skip(inputs, test_id, one, role=role)
    numbers = {"layer": None, **one.numbers}
    used = {**one.used, "control": one.control}
    if test_id in CONFOUND:
        used |= chosen_settings(inputs, "bootstrap", "folds", "pairwise_bootstrap", "min_positives", "min_negatives")
    return row(inputs, role, test_id, settings=used, direction=one.told, **numbers)


def _table(found: Mapping[str, _Found | str], results: list[TestResult]) -> pd.DataFrame:
    lines = []
    for result in results:
        one = found[result.test_id]
        told = asdict(result)
        columns = ("test_id", "effect_kind", "effect", "ci_low", "ci_high", "p", "n", "unit", "status", "reason")
        named = {"control": PARTS[result.test_id].control if result.test_id in PARTS else _control(result.test_id)}
        judged: dict[str, Any] = {"expected": "", "observed": "", "behaves": None}
        if isinstance(one, _Found):
            judged = {"expected": one.expected, "observed": one.observed, "behaves": one.behaves}
        lines.append({**{name: told[name] for name in columns}, **named, **judged})
    numbers = dict.fromkeys(("effect", "ci_low", "ci_high", "p"), "float64")
    types = {**numbers, "n": "Int64", "behaves": "boolean", "status": "string"}
    return pd.DataFrame(lines).astype(types)


def _control(test_id: str) -> str:
    return EDGE if test_id in CONFOUND else PLANTED


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _count(value: Any) -> int | None:
    return int(value) if pd.notna(value) else None

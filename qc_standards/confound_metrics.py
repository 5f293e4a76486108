"""Metrics views of what could explain an edge score: covariates, circularity, few targets, strata, matching.

What belongs here: views over the tables of analyses 15, 17, 18, 27 and 35. What does not: judging.
"""

from __future__ import annotations

import json
from typing import Any, Final

import numpy as np
import pandas as pd

from qc_standards.criterion_parts import number_or_none
from qc_standards.equality_metrics import EQUIVALENT_BELOW
from qc_standards.evidence import PRIMARY_ROLE, Evidence, MissingEvidenceError, is_missing
from qc_standards.records import Status

GROUPINGS: Final = ("target_gene", "pair")
EXPLAINED_ROWS: Final = {
    "attention absolute ols": "A15.1",
    "correlation absolute ols": "A15.2",
    "attention absolute boosting": "A15.3",
    "correlation absolute boosting": "A15.4",
}
_FROM_TARGET: Final = ("r2", "ci_low", "ci_high", "n_pairs", "n_targets", "resamples_requested", "resamples_done")


def covariate_explanation(evidence: Evidence) -> pd.DataFrame:
    """R2 of gene-level covariates, one row a score and learner: folds by target gene beside folds by pair.

    ``score`` is "attention absolute", "correlation absolute" or "correlation signed": attention is never
    negative, so its signed variant is no score of its own. ``other_folds`` counts rows whose folds are grouped
    otherwise, which cannot be told from a fit to its own data. ``row_gap`` is how far the reported row of
    analysis 15 lies from the number by target gene; infinite where it was not run.
    """
    frame = evidence.rows("covariate_r2", role=PRIMARY_ROLE)
    effects = _run_effects(evidence)
    rows = []
    for (edge, variant, learner), group in frame.groupby(["edge", "variant", "learner"], sort=True):
        if (edge, variant) == ("attention", "signed"):
            continue
        by = {name: group[group["folds_by"] == name] for name in GROUPINGS}
        target = by["target_gene"]
        row = {column: target[column].iloc[0] if len(target) == 1 else np.nan for column in _FROM_TARGET}
        row |= {
            "score": f"{edge} {variant}",
            "learner": learner,
            "r2_pair": by["pair"]["r2"].iloc[0] if len(by["pair"]) == 1 else np.nan,
            "other_folds": int((~group["folds_by"].isin(list(GROUPINGS))).sum()),
            "row_gap": _row_gap(effects, EXPLAINED_ROWS.get(f"{edge} {variant} {learner}"), row["r2"]),
        }
        rows.append(row)
    return pd.DataFrame(rows, columns=["score", "learner", *_FROM_TARGET, "r2_pair", "other_folds", "row_gap"])


def _run_effects(evidence: Evidence) -> dict[str, Any]:
    run = evidence.tests[evidence.tests["status"] == Status.RUN.value]
    return dict(zip(run["test_id"].astype(str), run["effect"], strict=True))


def _row_gap(effects: dict[str, Any], test_id: str | None, r2: Any) -> float:
    if test_id is None:
        return 0.0
    effect, number = number_or_none(effects.get(test_id)), number_or_none(r2)
    return float("inf") if effect is None or number is None else abs(effect - number)


def circularity_subsets(evidence: Evidence) -> pd.DataFrame:
    """Reference recovery by subset, with whether the random parts match and conflicts were counted.

    ``conflicts_uncounted`` is 1 where the entries with known direction do not say how many of them conflict.
    ``size_differs`` is 1 where the size-matched parts hold another number of positives or regulators than the
    entries with known direction. ``matched_draws`` repeats the draws of the size-matched parts on their row.
    """
    frame = evidence.rows("circularity", role=PRIMARY_ROLE).reset_index(drop=True)
    matched = frame["subset"] == "size_matched"
    known = frame[frame["subset"] == "direction_known"].set_index(["edge", "reference"])
    return frame.assign(
        conflicts_uncounted=[
            int(name == "direction_known" and is_missing(count))
            for name, count in zip(frame["subset"], frame["conflicting"], strict=True)
        ],
        size_differs=[
            int(bool(here) and not _same_size(row, known))
            for here, row in zip(matched, frame.to_dict(orient="records"), strict=True)
        ],
        matched_draws=frame["draws_done"].where(matched),
    )


def _same_size(row: dict[Any, Any], known: pd.DataFrame) -> bool:
    key = (row["edge"], row["reference"])
    if key not in known.index or known.index.duplicated().any():
        return False
    return all(row[column] == known.loc[key, column] for column in ("n_positive", "n_regulators"))


def regulators_judged(evidence: Evidence) -> pd.DataFrame:
    """Recovery of each regulator, with whether its own method may call it above chance.

    ``interval_of_one`` is 1 where a single target has a bootstrap interval, ``no_exact_p`` where it has no exact
    p. ``call_differs`` is 1 where the call is not the one of the method: an interval that starts above .5, an exact
    p below .05, never a row without contrast. ``target_classes`` counts the classes by number of targets that the
    battery's row reports.
    """
    frame = evidence.rows("per_regulator", role=PRIMARY_ROLE).reset_index(drop=True)
    single = frame["n_targets"] == 1
    exact, drawn = frame["method"] == "exact rank", frame["method"] == "bootstrap"
    interval = frame[["ci_low", "ci_high"]].notna().any(axis=1)
    above = (drawn & (frame["ci_low"] > 0.5)) | (exact & (frame["p_exact"] < EQUIVALENT_BELOW))
    return frame.assign(
        interval_of_one=(single & (drawn | interval)).astype(int),
        no_exact_p=(single & exact & frame["p_exact"].isna()).astype(int),
        call_differs=_differs(frame["above_chance"], above),
        target_classes=_target_classes(evidence),
    )


def _differs(stated: pd.Series, found: pd.Series) -> list[int]:
    """1 where a flag is missing or is not what the numbers beside it give."""
    return [int(is_missing(a) or bool(a) != bool(b)) for a, b in zip(stated, found, strict=True)]


def _target_classes(evidence: Evidence) -> int:
    rows = evidence.tests[(evidence.tests["test_id"] == "A18.1") & (evidence.tests["status"] == Status.RUN.value)]
    listed = [json.loads(str(text)).get("by_targets") for text in rows["settings_used"]]
    return len(listed[0]) if listed and isinstance(listed[0], dict) else 0


def perturbation_strata(evidence: Evidence) -> pd.DataFrame:
    """Gains by stratum and edge: ``silent`` is 1 for a row without number or reason, ``both`` for one with the two."""
    frame = evidence.rows("tf_strata", role=PRIMARY_ROLE).reset_index(drop=True)
    told = [not is_missing(reason) and str(reason).strip() != "" for reason in frame["reason"]]
    numbers = frame[["gene_only", "gene_plus_edge", "delta", "ci_low", "ci_high"]].notna()
    return frame.assign(
        reason=[str(text) if said else "" for text, said in zip(frame["reason"], told, strict=True)],
        silent=[int(not said and not full) for said, full in zip(told, numbers.all(axis=1), strict=True)],
        both=[int(said and some) for said, some in zip(told, numbers.any(axis=1), strict=True)],
    )


def matching_balance(evidence: Evidence) -> pd.DataFrame:
    """Balance of the matched set, one row a covariate.

    ``flag_differs`` is 1 where a covariate is called balanced and its difference on distinct pairs is not below
    the stated limit, or the reverse; ``value_differs`` where the gains on matched pairs call the set balanced
    although some covariate is not, or the reverse.
    """
    frame = evidence.rows("matched_balance", role=PRIMARY_ROLE).reset_index(drop=True)
    if frame.empty:
        raise MissingEvidenceError(f"table matched_balance has no row of {PRIMARY_ROLE}")
    below = frame["smd_distinct"] < frame["limit"]
    values = evidence.rows("matched_value", role=PRIMARY_ROLE)["balanced"]
    called = {None if is_missing(value) else bool(value) for value in values}
    return frame.assign(
        flag_differs=_differs(frame["balanced"], below),
        value_differs=int(called != {bool(below.all())}),
    )

"""Metrics views of the screens: modality, calibration, outcome-aware baselines, and what is said to be absent.

What belongs here: views over the tables of the screens and the flags of the evaluation. What does not: judging.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

import numpy as np
import pandas as pd

from qc_standards.evidence import PRIMARY_ROLE, Evidence, MissingEvidenceError, is_missing

MATCHED_SUBSETS: Final = ("informative", "expression_matched")


def modality_screens(evidence: Evidence) -> pd.DataFrame:
    """Own-gene changes against the declared modality, one row a screen.

    ``measured`` counts perturbations whose own gene is measured, ``agree`` and ``disagree`` those with a
    significant change, ``undecided`` the others; ``disagree_share`` is the share of disagreement among the
    significant ones, 0 where there are none. ``unknown`` counts rows that are none of the three.
    """
    frame = evidence.table("modality_audit")
    rows = []
    for (role, dataset), group in frame.groupby(["role", "dataset"], sort=True):
        count = {name: int((group["agrees"] == name).sum()) for name in ("yes", "no", "undecided")}
        decided = count["yes"] + count["no"]
        rows.append(
            {
                "role": role,
                "dataset": dataset,
                "modality": "|".join(sorted({str(value) for value in group["modality"]})),
                "measured": len(group),
                "agree": count["yes"],
                "disagree": count["no"],
                "undecided": count["undecided"],
                "unknown": len(group) - decided - count["undecided"],
                "disagree_share": count["no"] / decided if decided else 0.0,
            }
        )
    return pd.DataFrame(rows)


def null_tests(evidence: Evidence) -> pd.DataFrame:
    """Calibration of the battery's tests on non-targeting guides, one row a test that could be calibrated.

    Only genes that the smallest guide is expected to detect count, where the table knows others: without that
    rule some tests are known to be too sure. ``outside_band`` is 1 where the share of p below .05 lies outside its
    band, ``beyond_limit`` where the distance to uniform exceeds its limit, ``overstated`` where a test is called
    uniform beyond its limit.

    Raises
    ------
    MissingEvidenceError
        When no test could be calibrated; the notes of the table say why.
    """
    frame = evidence.table("null_calibration_summary")
    if "genes" in frame.columns:
        frame = frame[frame["genes"] == "detected"]
    able = frame[frame["replicates"] > 0].reset_index(drop=True)
    if able.empty:
        notes = sorted({str(note) for note in frame["note"]})
        raise MissingEvidenceError(f"null_calibration_summary calibrates no test: {'; '.join(notes) or 'no row'}")
    keys = [name for name in ("dataset", "analysis", "test", "labels", "assignment") if name in able.columns]
    beyond = able["ks"] > able["ks_limit"]
    below, above = able["share_below_05"] < able["share_low"], able["share_below_05"] > able["share_high"]
    return able.assign(
        check=able[keys].astype(str).agg(" ".join, axis=1),
        outside_band=(below | above).astype(int),
        beyond_limit=beyond.astype(int),
        overstated=[int(is_missing(u) or (bool(u) and bool(b))) for u, b in zip(able["uniform"], beyond, strict=True)],
    )


def outcome_baselines(evidence: Evidence) -> pd.DataFrame:
    """One row a dataset of the primary screen: what attention is shown beside, perturbation by perturbation.

    ``without_rate`` counts perturbations with attention and no AUROC of the response rate. ``matched_subsets``
    counts the subsets that take expression or never-responding genes out of the question; ``unmatched`` is 1
    where the outcomes come without cells and there is none.
    """
    outcome_only = evidence.flag("outcome_only")
    if outcome_only is None:
        raise MissingEvidenceError("table evaluation does not state outcome_only")
    frame = evidence.rows("perturbation_auroc", role=PRIMARY_ROLE)
    rows = []
    for dataset, group in frame.groupby("dataset", sort=True):
        every = group[group["subset"] == "all"]
        scored = {
            name: set(every.loc[(every["score"] == name) & every["auroc"].notna(), "perturbation"])
            for name in ("attention", "de_rate")
        }
        subsets = set(group.loc[group["score"] == "attention", "subset"]) & set(MATCHED_SUBSETS)
        rows.append(
            {
                "dataset": dataset,
                "perturbations": len(scored["attention"]),
                "with_rate": len(scored["de_rate"]),
                "without_rate": len(scored["attention"] - scored["de_rate"]),
                "matched_subsets": len(subsets),
                "unmatched": int(outcome_only and not subsets),
            }
        )
    return pd.DataFrame(rows, columns=_BASELINE_COLUMNS)


_BASELINE_COLUMNS: Final = ["dataset", "perturbations", "with_rate", "without_rate", "matched_subsets", "unmatched"]


def _has(name: str, **where: object) -> Callable[[Evidence], bool]:
    def found(evidence: Evidence) -> bool:
        frame = evidence.tables.get(name)
        if frame is None or frame.empty:
            return False
        return all(column in frame.columns for column in where) and len(evidence.rows(name, **where)) > 0

    return found


def _chosen(evidence: Evidence) -> bool:
    lineage = evidence.tables.get("lineage")
    named = () if lineage is None or "layer_chosen_on" not in lineage.columns else lineage["layer_chosen_on"]
    return _has("layer_choice")(evidence) or any(not is_missing(value) for value in named)


FLAGS: Final[Mapping[str, Callable[[Evidence], bool]]] = MappingProxyType(
    {
        "layer_selected": _chosen,
        "direction_reference": _has("circularity"),
        "tf_catalogue": _has("tf_strata"),
        "own_gene_measured": _has("modality_audit", role=PRIMARY_ROLE),
        "screen_own_genes": _has("modality_audit"),
        "null_guides": _has("null_calibration_summary"),
        "outcome_only": _has("screen_scores", role=PRIMARY_ROLE, kind="outcome_only"),
    }
)
"""Flags of the evaluation that switch standards off, and how to see that what they deny is there."""


def stated_absences(evidence: Evidence) -> pd.DataFrame:
    """One row a flag of the evaluation: what it states (1, 0, missing) and whether it denies what is there."""
    rows = []
    for name, found in FLAGS.items():
        stated = evidence.flag(name)
        there = found(evidence)
        rows.append(
            {
                "flag": name,
                "stated": np.nan if stated is None else float(stated),
                "found": int(there),
                "denied": int(there and stated is not True),
            }
        )
    return pd.DataFrame(rows)

"""Metrics views: derived tables that standards are evaluated over, one row per metric or unit.

What belongs here: pure functions from an evaluation's evidence to a small frame with no threshold in it, and
their names. What does not: judging. A standard names one of these views, or a result table, under
``applies_to``. Views of layers, equality, confounds, screens and ablations have modules of their own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

import numpy as np
import pandas as pd

from qc_standards.ablation_metrics import ablation_audit, read_out_positions
from qc_standards.claims import required_controls
from qc_standards.confound_metrics import (
    circularity_subsets,
    covariate_explanation,
    matching_balance,
    perturbation_strata,
    regulators_judged,
)
from qc_standards.equality_metrics import equivalence_audit
from qc_standards.evidence import PRIMARY_ROLE, Evidence, MissingEvidenceError, is_missing
from qc_standards.layer_metrics import layer_lineage, layer_record
from qc_standards.multiplicity import add_multiplicity
from qc_standards.records import DataOrigin, Status
from qc_standards.registry import FAMILY_SIZES, declared_ids, declared_tests, in_family, tests_of_role
from qc_standards.screen_metrics import modality_screens, null_tests, outcome_baselines, stated_absences

COMPARED_SCORES: Final = ("attention", "correlation")
_FROM_RESAMPLES: Final = ("ci_low", "ci_high", "kept_ci_low", "kept_ci_high", "z", "p")
STAGES: Final = ("listed", "measured", "in_vocabulary", "scorable")


def settings_hash(settings_used: str) -> str:
    """sha256 (first 16 digits) of a row's canonical settings JSON."""
    return hashlib.sha256(settings_used.encode()).hexdigest()[:16]


def registry_audit(evidence: Evidence) -> pd.DataFrame:
    """One row: emitted against declared tests, family sizes, and how far stored q lie from recomputed ones."""
    emitted = evidence.tests["test_id"].astype(str)
    declared = declared_ids()
    same = list(emitted) == list(declared)
    worst, flags = (np.nan, np.nan)
    if same:
        again = add_multiplicity(evidence.tests, declared_tests())
        gaps = [np.abs(again[q].fillna(-1.0) - evidence.tests[q].fillna(-1.0)).max() for q in ("q_a", "q_b", "q_c")]
        worst = float(max(gaps))
        names = ["significant_a", "significant_b", "significant_c"]
        flags = int((again[names].to_numpy() != evidence.tests[names].to_numpy()).sum())
    sizes = {
        f"family_{family.lower()}": sum(
            in_family(spec, family) for spec in declared_tests() if spec.test_id in set(emitted)
        )
        for family in FAMILY_SIZES
    }
    row = {
        "declared": len(declared),
        "emitted": len(emitted),
        "missing": len(set(declared) - set(emitted)),
        "undeclared": len(set(emitted) - set(declared)),
        "repeated": int(emitted.duplicated().sum()),
        **sizes,
        "largest_q_difference": worst,
        "flags_that_differ": flags,
    }
    return pd.DataFrame([row])


def run_rows(evidence: Evidence) -> pd.DataFrame:
    """Rows of the battery that were run, with their settings hash recomputed from the settings they list."""
    run = evidence.tests[evidence.tests["status"] == Status.RUN.value].copy()
    run["recomputed_hash"] = [settings_hash(text) for text in run["settings_used"].astype(str)]
    run["settings_listed"] = [text not in ("", "{}") for text in run["settings_used"].astype(str)]
    return run.reset_index(drop=True)


def resampling_audit(evidence: Evidence) -> pd.DataFrame:
    """One row per source of resamples (the battery and each table): how many rows fell short.

    A table with both resamples and null draws is two sources, the second named "<table> draws".

    ``short`` counts rows with fewer resamples done than requested, ``unreported`` rows that give one of the
    two numbers only. A row with none done and nothing derived from them (no interval, z or p) is openly
    without its null, not short of it: it counts in ``not_done`` and its criterion is not evaluable.
    """
    sources = {"tests": evidence.tests[evidence.tests["status"] == Status.RUN.value], **evidence.tables}
    rows = []
    for name, frame in sorted(sources.items()):
        for kind in ("resamples", "draws"):
            if f"{kind}_requested" not in frame.columns or f"{kind}_done" not in frame.columns:
                continue
            requested = pd.to_numeric(frame[f"{kind}_requested"], errors="coerce").astype("float64")
            done = pd.to_numeric(frame[f"{kind}_done"], errors="coerce").astype("float64")
            derived = [column for column in _FROM_RESAMPLES if column in frame.columns]
            idle = (done == 0) & frame[derived].isna().all(axis=1)
            rows.append(
                {
                    "source": f"{name} draws" if kind == "draws" and "resamples_done" in frame.columns else name,
                    "rows": len(frame),
                    "short": int(((done < requested) & ~idle).sum()),
                    "unreported": int((requested.isna() != done.isna()).sum()),
                    "not_done": int(idle.sum()),
                }
            )
    return pd.DataFrame(rows, columns=["source", "rows", "short", "unreported", "not_done"])


def score_cells(evidence: Evidence) -> pd.DataFrame:
    """One row per role and dataset with edge scores: how many different cell sets its scores come from.

    ``attention`` and ``correlation`` count the lineage rows of the two compared scores; ``cell_sets`` counts
    distinct cell hashes over these, ``unhashed`` those without one.
    """
    lineage = evidence.table("lineage")
    scores = lineage[lineage["score"].isin(COMPARED_SCORES)]
    rows = []
    for (role, dataset), group in scores.groupby(["role", "dataset"], sort=True):
        hashes = group["cells_hash"].fillna("").astype(str)
        rows.append(
            {
                "role": role,
                "dataset": dataset,
                "attention": int((group["score"] == "attention").sum()),
                "correlation": int((group["score"] == "correlation").sum()),
                "cell_sets": int(hashes.nunique()),
                "unhashed": int((hashes == "").sum()),
            }
        )
    if not rows:
        raise MissingEvidenceError("table lineage has no row for attention or correlation")
    return pd.DataFrame(rows)


def control_clause(evidence: Evidence) -> pd.DataFrame:
    """One row per required control of the release: whether it was judged and behaves."""
    outcomes = evidence.tables.get("control_outcomes")
    release = str(evidence.evaluation["release"])
    rows = []
    for name in required_controls(release):
        found = outcomes[outcomes["control"] == name] if outcomes is not None else pd.DataFrame()
        behaves = len(found) == 1 and bool(found["behaves"].iloc[0])
        rows.append({"control": name, "judged": len(found), "behaves": behaves})
    return pd.DataFrame(rows)


def origin_audit(evidence: Evidence) -> pd.DataFrame:
    """One row: origin and role fit the evaluation states, beside the weakest ones of the rows that were run.

    ``understated`` is 0 unless the evaluation claims a stronger data origin than its rows of the primary screen, or a
    fuller role than any row. Rows that simulate, or read other datasets, state their own origin.
    """
    order = [str(origin) for origin in DataOrigin]
    run = run_rows(evidence)
    shown = evidence.evaluation
    judged = {spec.test_id for spec in tests_of_role(PRIMARY_ROLE)}
    known = [origin for origin in run["data_origin"].astype(str) if origin in order]
    of_screen = run.loc[run["test_id"].isin(judged), "data_origin"].astype(str)
    weakest = max((origin for origin in of_screen if origin in order), key=order.index, default="")
    stated = str(shown["data_origin"])
    worse = weakest != "" and stated in order and order.index(stated) < order.index(weakest)
    partial = bool((run["role_fit"] == "partial").any()) and str(shown["role_fit"]) == "full"
    return pd.DataFrame(
        [
            {
                "rows_run": len(run),
                "rows_without_origin": len(run) - len(known),
                "rows_without_role_fit": int((~run["role_fit"].isin(["full", "partial"])).sum()),
                "stated_origin": stated,
                "weakest_origin": weakest,
                "understated": int(worse) + int(partial),
            }
        ]
    )


def evaluable_stages(evidence: Evidence) -> pd.DataFrame:
    """Evaluable set of the primary screen, stage by stage, with the share of pairs that reach each stage.

    ``grown`` is 1 where a stage holds more pairs than the one before it.
    """
    frame = evidence.rows("evaluability", role=PRIMARY_ROLE)
    frame = frame[frame["stage"].isin(STAGES)].copy()
    frame["place"] = [STAGES.index(stage) for stage in frame["stage"]]
    frame = frame.sort_values(["dataset", "place"]).reset_index(drop=True)
    before = frame.groupby("dataset")["pairs"].shift(1)
    first = frame.groupby("dataset")["pairs"].transform("first")
    frame["grown"] = (frame["pairs"] > before).astype(int)
    frame["pair_share"] = frame["pairs"] / first.where(first > 0)
    return frame


def residual_primary(evidence: Evidence) -> pd.DataFrame:
    """Residual summary of both edges on the reference the criteria use."""
    reference = evidence.primary_reference("residual_summary")
    return evidence.rows("residual_summary", role=PRIMARY_ROLE, reference=reference)


def degree_primary(evidence: Evidence) -> pd.DataFrame:
    """Degree-preserving null of attention on the reference the criteria use, flags as 0 or 1."""
    reference = evidence.primary_reference("degree_null")
    frame = evidence.rows(
        "degree_null", role=PRIMARY_ROLE, edge="attention", reference=reference, null="curveball"
    ).copy()
    kept = frame["degrees_kept"]
    frame["degrees_kept"] = [np.nan if is_missing(value) else float(bool(value)) for value in kept]
    return frame


VIEWS: Final[Mapping[str, Callable[[Evidence], pd.DataFrame]]] = MappingProxyType(
    {
        "registry_audit": registry_audit,
        "run_rows": run_rows,
        "resampling_audit": resampling_audit,
        "score_cells": score_cells,
        "control_clause": control_clause,
        "origin_audit": origin_audit,
        "evaluable_stages": evaluable_stages,
        "equivalence_audit": equivalence_audit,
        "residual_primary": residual_primary,
        "degree_primary": degree_primary,
        "layer_lineage": layer_lineage,
        "layer_record": layer_record,
        "covariate_explanation": covariate_explanation,
        "circularity_subsets": circularity_subsets,
        "regulators_judged": regulators_judged,
        "perturbation_strata": perturbation_strata,
        "matching_balance": matching_balance,
        "modality_screens": modality_screens,
        "null_tests": null_tests,
        "outcome_baselines": outcome_baselines,
        "stated_absences": stated_absences,
        "ablation_audit": ablation_audit,
        "read_out_positions": read_out_positions,
    }
)


def view(evidence: Evidence, name: str) -> pd.DataFrame:
    """Frame that a standard with ``applies_to: name`` is evaluated over: a metrics view or a result table."""
    return VIEWS[name](evidence) if name in VIEWS else evidence.table(name)

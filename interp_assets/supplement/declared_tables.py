"""Tables made from declarations and rows: overview of the analyses, registry of tests, claims (S1, S10, S11)."""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from interp_assets.analyses.cards import card
from interp_assets.analyses.catalogue import CATALOGUE
from interp_assets.supplement.records import Evaluated
from qc_standards.records import Status
from qc_standards.registry import declared_tests

CLAIMS_FILE = Path(__file__).with_name("published_claims.csv")
NUMBERS = ("effect", "ci_low", "ci_high", "p", "q_a", "q_b", "q_c", "n")
FLAGS = ("significant_a", "significant_b", "significant_c")
PUBLISHED = ("effect", "p", "q", "n", "significant", "dataset", "model")
CLAIMED = "claim_no"  # column of the registry: number of the published claim that a row is evidence for


def overview(found: Evaluated) -> pd.DataFrame:
    """Table S1: one row an analysis with its question, its data, how many rows ran, and its first computed effect."""
    rows = found.tests.set_index("test_id")
    return pd.DataFrame([_analysis(entry, rows.loc[list(entry.test_ids)]) for entry in CATALOGUE])


def _analysis(entry: Any, rows: pd.DataFrame) -> dict[str, Any]:
    run = rows[rows["status"] == str(Status.RUN)]
    first = run.iloc[0] if len(run) else None
    skipped = rows.loc[rows["status"] != str(Status.RUN), "reason"]
    return {
        "analysis": entry.number,
        "title": entry.title,
        "question": card(entry.card_name).question,
        "datasets": _joined(run["dataset"]),
        "data_origin": _joined(run["data_origin"]),
        "tests_declared": len(rows),
        "tests_run": len(run),
        "first_row_run": "" if first is None else first.name,
        "effect_kind": "" if first is None else first["effect_kind"],
        **{name: None if first is None else first[name] for name in ("effect", "ci_low", "ci_high", "p", "q_b", "n")},
        "not_run_because": _joined(skipped),
    }


def registry(found: Evaluated) -> pd.DataFrame:
    """Table S10: all declared tests with what was computed, and what the paper printed in columns of their own."""
    rows = found.tests.set_index("test_id")
    return pd.DataFrame([_test(spec, rows.loc[spec.test_id]) for spec in declared_tests()])


def _test(spec: Any, row: Any) -> dict[str, Any]:
    declared = {
        "test_id": spec.test_id,
        "analysis": spec.analysis_no,
        "section": CATALOGUE[spec.analysis_no - 1].section,
        "hypothesis": spec.hypothesis,
        "test": spec.test_type,
        "confirmatory": spec.confirmatory,
        "effect_kind": spec.effect_kind,
    }
    computed = {name: row[name] for name in ("status", *NUMBERS, "unit", *FLAGS, "dataset", "data_origin", "reason")}
    return declared | computed | {f"published_{name}": spec.published.get(name, "") for name in PUBLISHED}


def claims(found: Evaluated) -> pd.DataFrame:
    """Table S11: every claim of this project with its verdict, then the rows behind each published claim.

    ``key_test`` is the first row that a claim names. ``significant_b`` is its flag over the 153 declared rows. The
    sentences of the published claims are ours.
    """
    rows = found.tests.set_index("test_id")
    own = [_claim(entry, rows) for entry in found.claims]
    behind: dict[int, list[Any]] = {}
    for spec in declared_tests():
        if spec.published.get(CLAIMED):
            behind.setdefault(int(spec.published[CLAIMED]), []).append(spec)
    return pd.DataFrame([*own, *(_published(number, behind[number], rows) for number in sorted(behind))])


@cache
def published_sentences() -> dict[int, str]:
    """Sentence of each of the 20 published claims (paper section 7.3), in our words, by its number."""
    with CLAIMS_FILE.open(encoding="utf-8", newline="") as handle:
        return {int(row["number"]): row["sentence"] for row in csv.DictReader(handle)}


def _claim(entry: Any, rows: pd.DataFrame) -> dict[str, Any]:
    tests = [str(name) for name in entry["tests"]]
    key = tests[0] if tests else ""
    return {
        "claim": entry["id"],
        "kind": "claim of this project",
        "sentence": entry["sentence"],
        "verdict": entry["label"],
        "evidence_level": entry["evidence_level"],
        "analyses": _analyses_of(tests),
        "tests": "; ".join(tests),
        "key_test": key,
        **_key_row(rows, key),
        "published_flag": "",
    }


def _published(number: int, specs: list[Any], rows: pd.DataFrame) -> dict[str, Any]:
    tests = [spec.test_id for spec in specs]
    return {
        "claim": f"published claim {number}",
        "kind": "claim of the paper",
        "sentence": published_sentences()[number],
        "verdict": "",
        "evidence_level": "",
        "analyses": _analyses_of(tests),
        "tests": "; ".join(tests),
        "key_test": tests[0],
        **_key_row(rows, tests[0]),
        "published_flag": specs[0].published.get("significant", "") or "descriptive",
    }


def _key_row(rows: pd.DataFrame, key: str) -> dict[str, Any]:
    names = ("status", "effect_kind", "effect", "ci_low", "ci_high", "p", "q_b", "significant_b", "data_origin")
    return {name: rows.loc[key, name] if key in rows.index else None for name in names}


def _analyses_of(tests: list[str]) -> str:
    return "; ".join(dict.fromkeys(name.partition(".")[0].removeprefix("A").lstrip("0") for name in tests))


def _joined(values: pd.Series) -> str:
    return "; ".join(sorted({str(value) for value in values if str(value)}))

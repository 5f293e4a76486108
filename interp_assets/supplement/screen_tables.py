"""Tables of the screens: what each one is, and how the validation depends on choices (S2, S3)."""

from __future__ import annotations

import json
from typing import Any, Final

import pandas as pd

from interp_assets.supplement.printed import with_printed
from interp_assets.supplement.records import Evaluated, NothingToTabulateError
from qc_standards.multiplicity import benjamini_hochberg
from qc_standards.records import Status
from qc_standards.registry import test_spec

# Row whose data set and setting stand for a published context -> what the paper calls the context.
CONTEXTS: Final = {
    "A19.1": "K562, baseline setting",
    "A19.2": "K562, primary setting",
    "A22.1": "K562, attention",
    "A28.2": "second screen (Adamson K562)",
    "A37.3": "other cell line (RPE1)",
    "A33.3": "small screen (Shifrut T cells)",
    "A37.5": "small screen (Tian neurons)",
}
GRID_CONDITIONS: Final = 27
SHOWN: Final = ("attention", "correlation")


def parametrisations(found: Evaluated) -> pd.DataFrame:
    """Table S2: one row a published context with the data set that stands for it here and how it was read.

    ``evaluable_perturbations`` is the number of perturbations in the row of that context. ``settings`` are those the
    row used.
    """
    rows = found.tests.set_index("test_id")
    facts = found.tables.get("screen_scores")
    table = pd.DataFrame([_context(rows.loc[name], label, facts) for name, label in CONTEXTS.items()])
    table = table.astype(dict.fromkeys(("genes", "min_positives", "min_negatives"), "Int64"))
    return with_printed(table, "table_s02", list(CONTEXTS))


def _context(row: Any, label: str, facts: pd.DataFrame | None) -> dict[str, Any]:
    run = row["status"] == str(Status.RUN)
    used = json.loads(row["settings_used"]) if row["settings_used"] else {}
    about = pd.DataFrame() if facts is None or not run else facts[facts["dataset"] == row["dataset"]]
    return {
        "published_context": label,
        "test_id": row.name,
        "dataset": row["dataset"],
        "data_origin": row["data_origin"],
        "role_fit": row["role_fit"],
        "modality": about["modality"].iloc[0] if len(about) else "",
        "differential_expression": used.get("configuration", "as the data set declares") if run else "",
        "genes": used.get("genes"),
        "min_positives": used.get("min_positives"),
        "min_negatives": used.get("min_negatives"),
        "layer": row["layer"],
        "evaluable_perturbations": row["n"],
        "not_run_because": row["reason"],
    }


def sensitivity(found: Evaluated) -> pd.DataFrame:
    """Table S3: agreement of predicted and measured effects by screen, then AUROC under each of the 27 conditions.

    ``q`` of an agreement row is that of its declared test over family A; of a condition, Benjamini-Hochberg over the
    27 conditions of its score, those without a p counting as 1.
    """
    parts = [_agreement(found.tests), *(_grid(found.tables.get("sensitivity_grid"), score) for score in SHOWN)]
    parts = [part for part in parts if len(part)]
    if not parts:
        raise NothingToTabulateError("no row of analysis 5 was run and table sensitivity_grid was not computed")
    return pd.concat(parts, ignore_index=True)


def _agreement(tests: pd.DataFrame) -> pd.DataFrame:
    rows = tests[tests["test_id"].str.startswith("A05.") & (tests["status"] == str(Status.RUN))]
    return pd.DataFrame(
        {
            "part": "predicted against measured effects",
            "condition": [f"{name}: {test_spec(name).test_type}" for name in rows["test_id"]],
            "dataset": rows["dataset"],
            "data_origin": rows["data_origin"],
            "score": "effect in the model",
            "statistic": rows["effect_kind"],
            "value": rows["effect"],
            "ci_low": rows["ci_low"],
            "ci_high": rows["ci_high"],
            "p": rows["p"],
            "q": rows["q_a"],
            "n": rows["n"],
        }
    )


def _grid(frame: pd.DataFrame | None, score: str) -> pd.DataFrame:
    if frame is None:
        return pd.DataFrame()
    rows = frame[frame["score"] == score]
    return pd.DataFrame(
        {
            "part": "grid of conditions",
            "condition": rows["condition"],
            "dataset": rows["dataset"],
            "score": score,
            "statistic": "mean AUROC",
            "value": rows["mean_auroc"],
            "p": rows["p"],
            "q": benjamini_hochberg(rows["p"], max(GRID_CONDITIONS, len(rows))),
            "n": rows["n"],
        }
    )

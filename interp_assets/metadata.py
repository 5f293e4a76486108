"""What the Dagster UI shows beside an asset: numbers that draw trends, a small picture, a link to the code."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import dagster as dg
import pandas as pd

from qc_standards.records import Status, TestResult

if TYPE_CHECKING:
    from qc_standards.suites import StandardResult
    from qc_standards.verdicts import Judgement, Verdict

TEAM = "team:interpretability"
INLINE_PNG_LIMIT = 150_000
LEADERBOARD_COLUMNS = ("study", "release", "verdict", "criterion_a", "criterion_b", "criterion_c", "criterion_d")


def source_link(source: str) -> Mapping[str, Any]:
    """Definition metadata that names the file behind a ``module:function`` source, relative to the project."""
    module = source.partition(":")[0]
    return {"code": dg.MetadataValue.text(f"{module.replace('.', '/')}.py ({source})")}


def result_metadata(results: Iterable[TestResult]) -> dict[str, dg.MetadataValue | float | int]:
    """Counts by status, and the effect of every test that was run as its own number."""
    listed = list(results)
    run = [result for result in listed if result.status is Status.RUN]
    shown: dict[str, Any] = {"tests run": len(run), "tests skipped": len(listed) - len(run)}
    shown |= {f"effect {result.test_id}": float(result.effect) for result in run if result.effect is not None}
    reasons = sorted({result.reason for result in listed if result.status is not Status.RUN})
    if reasons:
        shown["skipped because"] = dg.MetadataValue.md("\n".join(f"- {reason}" for reason in reasons))
    return shown


def picture(png: bytes, alt: str) -> dg.MetadataValue:
    """Inline picture for the UI; one that is too large for the event log is described instead."""
    if len(png) > INLINE_PNG_LIMIT:
        return dg.MetadataValue.text(f"{alt} (picture of {len(png) // 1000} kB: see the file)")
    encoded = base64.b64encode(png).decode("ascii")
    return dg.MetadataValue.md(f"![{alt}](data:image/png;base64,{encoded})")


def standard_metadata(judgement: Judgement, result: StandardResult) -> dict[str, str]:
    """Outcome of one standard; release and study are named because the UI shows a check without its partition."""
    shown = {"outcome": str(result.outcome), "reason": result.reason, "version": result.version}
    return {"release": judgement.release, "study": judgement.study, **shown}


def claim_metadata(judgement: Judgement, verdict: Verdict) -> dict[str, str]:
    """Verdict of one claim with its first reason, for which release in which study."""
    shown = {"verdict": verdict.label, "reason": verdict.reasons[0] if verdict.reasons else ""}
    return {"release": judgement.release, "study": judgement.study, **shown}


def verdict_metadata(judgement: Judgement) -> dict[str, Any]:
    """Headline verdict: label, criteria, data origin, reasons, and how many claims are supported."""
    headline = judgement.verdicts[judgement.headline]
    return {
        "verdict": headline.label,
        **{f"criterion {name}": str(outcome) for name, outcome in headline.criteria},
        "data origin": str(headline.data_origin),
        "claims supported": sum(verdict.cleared for verdict in judgement.verdicts.values()),
        "reasons": dg.MetadataValue.md("\n".join(f"- {reason}" for reason in headline.reasons)),
    }


def leaderboard_metadata(frame: pd.DataFrame) -> dict[str, Any]:
    """Number of evaluations, and verdict and criteria of each as a table."""
    names = {column: column.removeprefix("criterion_") for column in LEADERBOARD_COLUMNS}
    records = [
        dg.TableRecord({name: str(row[column]) for column, name in names.items()}) for row in frame.to_dict("records")
    ]
    schema = dg.TableSchema([dg.TableColumn(name, "string") for name in names.values()])
    return {"evaluations": len(frame), "verdicts": dg.MetadataValue.table(records=records, schema=schema)}

"""What the Dagster UI shows beside an asset: numbers that draw trends, a small picture, a link to the code."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from typing import Any

import dagster as dg

from qc_standards.records import Status, TestResult

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

"""Rows as `verdict_changes` has them, for tests of what is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from interp_assets.quarantine import Quarantined


def change(number: int = 0, **given: Any) -> dict[str, Any]:
    row = {
        "change_id": f"{number:016x}",
        "study": "demo",
        "release": "model-b",
        "compared_with": "model-a",
        "level": "verdict",
        "item": "headline",
        "old": "supported",
        "new": "refuted",
        "direction": "lost",
        "sentence": f"sentence {number}",
        "old_snapshot": "1" * 16,
        "new_snapshot": "2" * 16,
    }
    return row | given


def changes(*rows: dict[str, Any]) -> pd.DataFrame:
    return pd.DataFrame(list(rows), columns=list(change()))


def many(count: int, **given: Any) -> pd.DataFrame:
    return changes(*(change(number, release=f"model-{number:04d}", **given) for number in range(count)))


def write_changes(store: Path, frame: pd.DataFrame) -> None:
    store.mkdir(parents=True, exist_ok=True)
    frame.to_parquet(store / "verdict_changes.parquet", index=False)


def held(release: str = "model-x", **given: Any) -> Quarantined:
    values = {
        "release": release,
        "release_id": "9" * 12,
        "stage": "attention",
        "asset": "attention",
        "partition": f"planted|{release}",
        "kind": "release",
        "reason": "layer 3 holds NaN",
        "run_id": "run-1",
        "since": "2026-11-26T10:00:00+00:00",
    }
    return Quarantined(**(values | given))

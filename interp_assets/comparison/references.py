"""Reference lines of an evaluation: the noise ceiling of its screen and the strongest trivial baseline on it.

What belongs here: the values an effect is shown against. What does not: drawing them (`report`), or the controls'
values, which are evaluations of their own.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from qc_standards.evidence import is_missing
from qc_standards.registry import PRIMARY_ROLE

TRIVIAL = ("variance", "mean", "one_minus_dropout")


def reference_lines(ceiling: pd.DataFrame | None, scores: pd.DataFrame | None) -> dict[str, Any]:
    """Mean AUROC over perturbations of the primary screen: scores, noise ceiling, strongest trivial baseline.

    Keys are absent where the evaluation has no such number; nothing stands in for it.
    """
    lines: dict[str, Any] = {}
    if scores is not None:
        rows = scores[(scores["role"] == PRIMARY_ROLE) & (scores["subset"] == "all")]
        means = rows.groupby("score")["auroc"].mean().dropna()
        lines["scores"] = {str(name): float(value) for name, value in means.items()}
        lines["perturbations"] = int(rows["perturbation"].nunique())
        trivial = {name: lines["scores"][name] for name in TRIVIAL if name in lines["scores"]}
        if trivial:
            best = max(sorted(trivial), key=lambda name: trivial[name])
            lines["trivial"] = {"name": best, "auroc": trivial[best]}
    if ceiling is not None:
        rows = ceiling[ceiling["context"].astype(str).str.startswith(f"{PRIMARY_ROLE}:")]
        rows = rows[rows["ceiling"].notna()]
        if len(rows):
            first = rows.iloc[0]
            values = {name: first[name] for name in ("ceiling", "ci_low", "ci_high")}
            lines["ceiling"] = {name: None if is_missing(value) else float(value) for name, value in values.items()}
    return lines

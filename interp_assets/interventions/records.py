"""What a run of interventions leaves behind, and how it is kept.

What belongs here: the record and its file form. What does not: any computation.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pandas as pd

TABLES: Final = ("conditions", "aurocs", "fidelity", "heads")


@dataclass(frozen=True, slots=True, kw_only=True)
class Interventions:
    """Interventions on one release, read on one screen.

    ``conditions``: one row a condition, what was changed and where it stands to the read-outs. ``aurocs``: one row a
    (condition, read_out, perturbation); condition ``clean`` is the unchanged model. ``fidelity``: one row a
    (condition, state, layer) with the mean cosine distance to the clean run. ``heads``: one row a head with what it
    was ranked by. ``facts``: family, cells, tokens, layers, read-out layer, perturbations left out, device and dtype.
    """

    conditions: pd.DataFrame
    aurocs: pd.DataFrame
    fidelity: pd.DataFrame
    heads: pd.DataFrame
    facts: Mapping[str, Any] = field(default_factory=dict)

    def tables(self) -> dict[str, pd.DataFrame]:
        """Frames by name."""
        return {name: getattr(self, name) for name in TABLES}

    def auroc_of(self, condition: str, read_out: str) -> pd.Series:
        """AUROC by perturbation, sorted, under one condition; empty where that read-out does not exist."""
        rows = self.aurocs[(self.aurocs["condition"] == condition) & (self.aurocs["read_out"] == read_out)]
        return rows.set_index("perturbation")["auroc"].sort_index()


FOLDER: Final = "results/interventions"


def kept_files(found: Interventions | str, parquet: Callable[[pd.DataFrame], bytes]) -> dict[str, bytes]:
    """Files of a run by relative name: its facts, or the reason why there is none, and its tables."""
    content = {"reason": found} if isinstance(found, str) else {"reason": "", "facts": dict(found.facts)}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    tables = {} if isinstance(found, str) else found.tables()
    return {f"{FOLDER}.json": text.encode("utf-8")} | {
        f"{FOLDER}/{name}.parquet": parquet(frame) for name, frame in tables.items()
    }


def read_files(path_of: Callable[[str], Path]) -> Interventions | str:
    """Run kept by `kept_files`, or the reason why there is none; ``path_of`` finds a file by relative name."""
    content = json.loads(path_of(f"{FOLDER}.json").read_text(encoding="utf-8"))
    if content["reason"]:
        return str(content["reason"])
    tables = {name: pd.read_parquet(path_of(f"{FOLDER}/{name}.parquet")) for name in TABLES}
    return Interventions(**tables, facts=content["facts"])

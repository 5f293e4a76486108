"""What the published study printed: its numbers with tolerances, and where its sources contradict each other.

What belongs here: reading ``registry/signatures.csv`` and ``registry/contradictions.csv``, and setting computed values
beside them. What does not: anything that decides a claim; no gate reads a published number.
"""

from __future__ import annotations

import csv
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from qc_standards.registry import REGISTRY_FOLDER, RegistryError, declared_ids

if TYPE_CHECKING:
    import pandas as pd

SIGNATURES_FILE: Final = REGISTRY_FOLDER / "signatures.csv"
CONTRADICTIONS_FILE: Final = REGISTRY_FOLDER / "contradictions.csv"
COMPARISON_COLUMNS: Final = (
    "test_id",
    "signature_id",
    "name",
    "published_dataset",
    "published_model",
    "unit",
    "published",
    "low",
    "high",
    "computed",
    "within",
    "remark",
)


# Units of the published numbers -> the effect kinds of declared rows that are the same quantity under another name.
SAME_QUANTITY: Final = MappingProxyType(
    {
        "rho": ("spearman_rho",),
        "r": ("pearson_r",),
        "z": ("z_score",),
        "d": ("cohen_d",),
        "auroc": ("auroc_condition",),
        "ratio": ("f1_ratio",),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Contradiction:
    """Two published values of one quantity, and what this project shows instead of choosing silently."""

    id: str
    topic: str
    first: str
    second: str
    shown: str
    tests: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """One line for readers."""
        return f"{self.topic}: {self.first}; elsewhere {self.second}. Shown here: {self.shown}."


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """One published number; ``test_id`` is the declared row it belongs to, where it is the effect of one."""

    id: str
    name: str
    value: str
    low: float | None
    high: float | None
    unit: str
    dataset: str
    model: str
    analysis: str
    test_id: str
    kind: str
    notes: str


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


def _known(path: Path, row_id: str, tests: tuple[str, ...]) -> None:
    unknown = sorted(set(tests) - set(declared_ids()))
    if unknown:
        raise RegistryError(f"{path.name}, row {row_id}: {', '.join(unknown)} is no declared test; correct the id")


@functools.cache
def contradictions() -> tuple[Contradiction, ...]:
    """Every published contradiction, in order.

    Raises
    ------
    RegistryError
        If a row names a test that was not declared.
    """
    found = []
    for row in _rows(CONTRADICTIONS_FILE):
        tests = tuple(name for name in row.pop("tests").split(";") if name)
        _known(CONTRADICTIONS_FILE, row["id"], tests)
        found.append(Contradiction(**row, tests=tests))
    return tuple(found)


def contradictions_of(test_id: str) -> tuple[Contradiction, ...]:
    """Contradictions in which the published value of a declared test takes part."""
    return tuple(each for each in contradictions() if test_id in each.tests)


@functools.cache
def signatures() -> tuple[Signature, ...]:
    """Every published number with its tolerance, in order.

    Raises
    ------
    RegistryError
        If a row names a test that was not declared, or a bound that is no number.
    """
    found = []
    for row in _rows(SIGNATURES_FILE):
        _known(SIGNATURES_FILE, row["signature_id"], (row["test_id"],) if row["test_id"] else ())
        found.append(
            Signature(
                id=row["signature_id"],
                low=_bound(row, "low"),
                high=_bound(row, "high"),
                **{name: row[name] for name in ("name", "value", "unit", "dataset", "model", "analysis")},
                **{name: row[name] for name in ("test_id", "kind", "notes")},
            )
        )
    return tuple(found)


def _bound(row: Mapping[str, str], name: str) -> float | None:
    try:
        return float(row[name]) if row[name] else None
    except ValueError as error:
        raise RegistryError(f"{SIGNATURES_FILE.name}, row {row['signature_id']}: {name} is no number") from error


def compared(tests: pd.DataFrame) -> pd.DataFrame:
    """Published numbers beside the computed effects of the same rows, one row a signature of a declared test.

    ``within`` says whether the computed effect lies between the published tolerance bounds; it is missing, and
    ``remark`` says why, where the row did not run, the units differ, or no tolerance was published. Meant for studies
    that are the published context; elsewhere another value is no disagreement.
    """
    import pandas as pd

    computed = {str(row["test_id"]): row for row in tests.to_dict("records")}
    rows = []
    for signature in signatures():
        if not signature.test_id:
            continue
        row = computed.get(signature.test_id, {})
        effect, remark = _effect(signature, row)
        within = None if remark else signature.low <= effect <= signature.high  # type: ignore[operator]
        values = (
            signature.test_id,
            signature.id,
            signature.name,
            signature.dataset,
            signature.model,
            signature.unit,
            signature.value,
            signature.low,
            signature.high,
            effect,
            within,
            remark,
        )
        rows.append(dict(zip(COMPARISON_COLUMNS, values, strict=True)))
    frame = pd.DataFrame(rows, columns=list(COMPARISON_COLUMNS))
    return frame.astype({"low": float, "high": float, "computed": float, "within": "boolean"})


def _effect(signature: Signature, row: Mapping[Any, Any]) -> tuple[float | None, str]:
    """Computed effect, and why it cannot be held against the published one."""
    import pandas as pd

    if str(row.get("status", "")) != "run" or pd.isna(row.get("effect")):
        return None, "the row did not run"
    effect, kind = float(row["effect"]), str(row.get("effect_kind", ""))
    if kind not in (signature.unit, *SAME_QUANTITY.get(signature.unit, ())):
        return effect, f"the row states {kind}, the published number {signature.unit}"
    if signature.low is None or signature.high is None:
        return effect, "no tolerance was published"
    return effect, ""

"""The leaderboard claim by claim: state and deciding number of every claim, with the reference lines of its study.

What belongs here: rows of ``store/leaderboard_claims.parquet``. What does not: drawing them (`dot_plots`), one mixed
score. Controls, twins, noise ceiling and trivial baseline are rows of their own, marked by ``kind``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from interp_assets.comparison.effects import Number, deciding
from interp_assets.comparison.references import reference_lines

CLAIM_COLUMNS = (
    *("study", "release", "kind", "claim", "state", "label", "criterion", "outcome", "effect", "value", "low", "high"),
    *("n", "data_origin", "provisional", "released"),
)
CEILING, TRIVIAL, MEAN_AUROC = "noise_ceiling", "trivial_baseline", "mean AUROC over perturbations"
KIND_ORDER = {"release": 0, "positive_control": 1, "negative_control": 2, CEILING: 3, TRIVIAL: 4}


def claim_rows(
    study: str, release: str, documents: Mapping[str, Mapping[str, Any]], tables: Mapping[str, pd.DataFrame]
) -> list[dict[str, Any]]:
    """Rows of one evaluation: one a claim, one for its mean AUROC, and the reference lines of its screen."""
    claims, headline = documents["claims"], documents["verdict"]["headline"]
    common = {
        "study": study,
        "release": release,
        "kind": str(documents["verdict"]["release_kind"]),
        "data_origin": str(headline["data_origin"]),
        "released": release,
    }
    rows = [_claim_row(common, entry, claims["criteria"]) for entry in claims["claims"]]
    lines = reference_lines(tables.get("noise_ceiling"), tables.get("perturbation_auroc"))
    own = [line for line in _lines(lines) if common["kind"] == "release" or not line[0]]
    return rows + [_line(common, *line) for line in own]


def _claim_row(common: Mapping[str, Any], entry: Mapping[str, Any], criteria: Mapping[str, Any]) -> dict[str, Any]:
    """Row of one claim; its number is that of the first criterion that decides it."""
    name = _deciding_criterion(entry, criteria)
    number = deciding(name, criteria[name]) if name in criteria else None
    own = {
        "claim": str(entry["id"]),
        "state": str(entry["state"]),
        "label": str(entry["label"]),
        "criterion": name,
        "outcome": str(criteria[name]["outcome"]) if name in criteria else "",
        "data_origin": str(entry["data_origin"]),
        "provisional": bool(entry["provisional"]),
    }
    return {**common, **own, **_shown(number, criteria.get(name, {}))}


def _deciding_criterion(entry: Mapping[str, Any], criteria: Mapping[str, Any]) -> str:
    """First criterion of a claim in the order in which outcomes close it: fail, not evaluable, undecided, pass."""
    listed = [name for name in entry["criteria"] if name in criteria]
    rank = {"fail": 0, "not evaluable": 1, "undecided": 2, "pass": 3}
    return min(listed, key=lambda name: rank.get(str(criteria[name]["outcome"]), 1), default="")


def _shown(number: Number | None, criterion: Mapping[str, Any]) -> dict[str, Any]:
    if number is None:
        return {"effect": "", "value": None, "low": None, "high": None, "n": None}
    part = next(part for part in criterion["parts"] if part["name"] == number.part)
    kept = {"value": number.value, "low": number.low, "high": number.high, "n": part["numbers"].get("n")}
    return {"effect": number.words, **kept}


def _lines(lines: Mapping[str, Any]) -> Iterable[tuple[str, str, float, float | None, float | None, int | None]]:
    """Kind, name, value, bounds and perturbations of the mean AUROC rows."""
    units = lines.get("perturbations")
    if "attention" in lines.get("scores", {}):
        yield "", "", lines["scores"]["attention"], None, None, units
    if "ceiling" in lines:
        found = lines["ceiling"]
        yield CEILING, "noise ceiling of the screen", found["ceiling"], found["ci_low"], found["ci_high"], units
    if "trivial" in lines:
        yield (
            TRIVIAL,
            f"target {lines['trivial']['name'].replace('_', ' ')}",
            lines["trivial"]["auroc"],
            None,
            None,
            units,
        )


def _line(
    common: Mapping[str, Any], kind: str, name: str, value: float, low: float | None, high: float | None, n: int | None
) -> dict[str, Any]:
    empty = {"claim": "", "state": "", "label": "", "criterion": "", "outcome": "", "provisional": False}
    own = {"effect": MEAN_AUROC, "value": value, "low": low, "high": high, "n": n}
    return {**common, **empty, **own, "kind": kind or common["kind"], "release": name or common["release"]}


def claims_board(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Frame of all claim rows, columns `CLAIM_COLUMNS`: by study, releases before controls before reference lines.

    A reference line that several releases of a study share, number by number, stands there once.
    """
    frame = pd.DataFrame(list(rows), columns=list(CLAIM_COLUMNS))
    frame = frame.astype(dict.fromkeys(("value", "low", "high", "n"), "float64"))
    shared = frame["kind"].isin([CEILING, TRIVIAL])
    repeats = shared & frame.duplicated(["study", "kind", "release", "value", "low", "high", "n"])
    return by_study_and_kind(frame[~repeats], "kind")


def by_study_and_kind(frame: pd.DataFrame, kind: str) -> pd.DataFrame:
    """Rows by study, kind (in the order of `KIND_ORDER`, unknown ones last) and release."""
    place = frame[kind].map(KIND_ORDER).fillna(len(KIND_ORDER))
    ordered = frame.assign(_kind=place).sort_values(["study", "_kind", "release"], kind="stable")
    return ordered.drop(columns="_kind").reset_index(drop=True)

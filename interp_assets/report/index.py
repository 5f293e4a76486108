"""The leaderboard over releases and studies, and its page ``store/index.html``.

A row holds verdict, criteria, controls and a few named measurements side by side. They are never mixed into
one score: no criterion makes up for another.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import pandas as pd

from interp_assets.figures.screen_figures import main_role
from interp_assets.figures.wording import MISSING, is_missing, is_small, origin_label
from interp_assets.report import advice, reading
from interp_assets.report.claims_board import CLAIM_COLUMNS, by_study_and_kind
from interp_assets.report.dot_plots import dot_plots
from interp_assets.report.timelines import CRITERIA, JUDGEMENT_COLUMNS, SIGNS, timelines
from qc_standards.records import Outcome

COLUMNS = (
    "study",
    "release",
    "release_kind",
    "small",
    "data_origin",
    "context_mismatch",
    "role_fit",
    "provisional",
    "state",
    "verdict",
    "criterion_a",
    "criterion_b",
    "criterion_c",
    "criterion_d",
    "controls_expected",
    "controls_behaving",
    "mean_auroc_attention",
    "mean_auroc_correlation",
    "mean_auroc_variance",
    "perturbations",
    "in_short",
    "next_step",
    "report",
)
MOST_CHANGES = 50
TWINS = (".shuffled", ".random-weights")


def leaderboard_row(
    study: str,
    release: str,
    verdict: Mapping[str, Any],
    standards: Sequence[Mapping[str, Any]] = (),
    tables: Mapping[str, pd.DataFrame] | None = None,
    in_short: str = "",
) -> dict[str, Any]:
    """One row of the leaderboard from the stored results of one evaluation, with the columns `COLUMNS`."""
    tables = tables or {}
    facts = verdict.get("headline") or {}
    view = reading.evaluation(release, verdict, tables)
    headline = reading.headline(verdict)
    outcomes = {item.id: item.outcome for item in reading.criteria(verdict)}
    controls = reading.controls(tables)
    return {
        "study": study,
        "release": release,
        "release_kind": view.release_kind,
        "small": view.small,
        "data_origin": view.data_origin,
        "context_mismatch": "" if is_missing(facts.get("context_mismatch")) else str(facts["context_mismatch"]),
        "role_fit": "" if is_missing(facts.get("role_fit")) else str(facts["role_fit"]),
        "provisional": headline.provisional,
        "state": headline.state,
        "verdict": str(headline.text),
        **{f"criterion_{name}": outcomes.get(name, str(Outcome.NOT_EVALUABLE)) for name in CRITERIA},
        "controls_expected": len(controls),
        "controls_behaving": sum(item.behaves is True for item in controls),
        **_measurements(tables.get("perturbation_auroc")),
        "in_short": in_short,
        "next_step": str(advice.next_step(release, verdict, standards, tables)),
        "report": f"{study}/{release}/report.html",
    }


def _measurements(frame: pd.DataFrame | None) -> dict[str, Any]:
    scores = ("attention", "correlation", "variance")
    if frame is None or frame.empty:
        return {**{f"mean_auroc_{score}": None for score in scores}, "perturbations": None}
    rows = main_role(frame)
    rows = rows[rows["subset"] == "all"]
    means = {f"mean_auroc_{s}": _mean(rows.loc[rows["score"] == s, "auroc"]) for s in scores}
    return {**means, "perturbations": int(rows["perturbation"].nunique())}


def _mean(values: pd.Series) -> float | None:
    return float(values.mean()) if values.notna().any() else None


def leaderboard(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Leaderboard frame: columns `COLUMNS`, ordered by study, then releases before controls, then name."""
    return by_study_and_kind(pd.DataFrame(list(rows), columns=list(COLUMNS)), "release_kind")


def render_index(
    frame: pd.DataFrame,
    claims: pd.DataFrame | None = None,
    changes: pd.DataFrame | None = None,
    quarantined: Mapping[str, str] | None = None,
    judgements: pd.DataFrame | None = None,
) -> str:
    """``store/index.html``: tables, dot plots, timelines and changes study by study, links relative to ``store/``.

    Parameters
    ----------
    frame
        The leaderboard (`leaderboard`).
    claims
        The claims board (`claims_board.claims_board`); without it no claims and no plots are shown.
    changes
        Rows of ``verdict_changes``; without it no changes are shown.
    quarantined
        Reasons why releases are left alone, by name.
    judgements
        Every kept judgement (`timelines.stored_judgements`); without it no timelines are shown.
    """
    from interp_assets.report.page import environment

    groups = [
        _group(str(study), rows, claims, changes, judgements) for study, rows in frame.groupby("study", sort=False)
    ]
    held = sorted((quarantined or {}).items())
    page = environment().get_template("index.html")
    return page.render(groups=groups, criteria=CRITERIA, quarantined=held, signs=SIGNS.items())


def _group(
    study: str,
    rows: pd.DataFrame,
    claims: pd.DataFrame | None,
    changes: pd.DataFrame | None,
    judgements: pd.DataFrame | None = None,
) -> dict[str, Any]:
    """What the page shows of one study."""
    own = pd.DataFrame(columns=list(CLAIM_COLUMNS)) if claims is None else claims[claims["study"] == study]
    names = list(dict.fromkeys(own.loc[own["claim"] != "", "claim"]))
    moved = pd.DataFrame() if changes is None else changes[changes["study"] == study]
    views = [_view(row) for row in rows.to_dict("records")]
    judged = (
        pd.DataFrame(columns=list(JUDGEMENT_COLUMNS))
        if judgements is None
        else judgements[judgements["study"] == study]
    )
    return {
        "study": study,
        "rows": views,
        "reports": {view["release"]: view["report"] for view in views},
        "timelines": timelines(judged, [view["release"] for view in views], moved),
        "claims": _claim_table(own, names),
        "names": names,
        "plots": dot_plots(own),
        "changes": moved.tail(MOST_CHANGES).iloc[::-1].to_dict("records"),
        "more": max(0, len(moved) - MOST_CHANGES),
    }


def _claim_table(rows: pd.DataFrame, names: Sequence[str]) -> list[dict[str, Any]]:
    """Releases and controls with the state of every named claim, in the order of the board; twins are in the plots.

    A claim that a release was not judged on (it was judged before the claim was declared) is None.
    """
    stated = rows[rows["claim"] != ""]
    stated = stated[~stated["release"].str.endswith(TWINS)]
    table = []
    for release, own in stated.groupby("release", sort=False):
        judged = {cell["claim"]: cell for cell in own.to_dict("records")}
        origins = ", ".join(dict.fromkeys(origin_label(origin) for origin in own["data_origin"]))
        table.append({"release": release, "origin": origins, "cells": [judged.get(name) for name in names]})
    return table


def _view(row: Mapping[Any, Any]) -> dict[str, Any]:
    kind = str(row["release_kind"]).replace("_", " ")
    return {
        **row,
        "report": quote(str(row["report"])) if row["report"] else "",
        "kind_words": f"{kind}, small model" if is_small(str(row["release"])) else kind,
        "twin": str(row["release"]).endswith(TWINS),
        "outcomes": [row[f"criterion_{name}"] for name in CRITERIA],
        "controls": _controls(row),
        "owes": row["next_step"] != advice.BEHAVES,
        "origin": origin_label(row["data_origin"]),
    }


def _controls(row: Mapping[Any, Any]) -> str:
    if row["controls_expected"]:
        return f"{row['controls_behaving']} of {row['controls_expected']} behave"
    return "behaves as it must" if row["next_step"] == advice.BEHAVES else MISSING

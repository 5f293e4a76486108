"""Attention beside trivial scores of the same pairs, and read the other way round, as Markdown from stored tables.

What belongs here: reading the tables of E6 and E9 aloud, a release at a time. What does not: any number that is not in
them. Sentences are put together from the readings in the tables, so that they change with the numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import pandas as pd

from interp_assets.figures.wording import MISSING, count, is_missing, label, listing, number, p_value, signed
from interp_assets.report.markdown import header, line, plain

PAIRWISE_TABLES: Final = ("pairwise_baselines", "pairwise_residual", "orientations")
BASELINES: Final = {
    "rank_distance": "rank distance",
    "co_detection": "co-detection",
    "product_of_means": "product of means",
}
EDGES: Final = {"attention": "attention", "correlation": "correlation"}
ORIENTATIONS: Final = ("declared", "transposed", "mean", "maximum")
TURNED: Final = {
    "transposed": "read the other way round",
    "mean": "as the mean of both directions",
    "maximum": "as the larger of both directions",
}
READINGS: Final = {
    "greater": "is above {names}",
    "smaller": "is below {names}",
    "equal": "equals {names} within the margin",
    "undecided": "cannot be told from {names} and is not shown to equal {it}",
}
SUBSETS: Final = {"informative": ", informative genes", "expression_matched": ", matched negatives"}
SCREEN: Final = "screen"
HALF: Final = 0.5


def pairwise_lines(tables: Mapping[str, Mapping[str, pd.DataFrame]]) -> list[str]:
    """Section of the results page: for each release that has the tables, its scores, differences and orientations.

    ``tables`` are stored tables by release and name.
    """
    lines: list[str] = []
    for release, own in tables.items():
        baselines = own.get("pairwise_baselines", pd.DataFrame())
        turned = own.get("orientations", pd.DataFrame())
        if baselines.empty and turned.empty:
            continue
        lines += [f"### {plain(release)}", ""]
        if len(baselines):
            lines += _pairwise(baselines, own.get("pairwise_residual", pd.DataFrame()))
        if len(turned):
            lines += _orientations(turned[turned["frozen"].astype(bool)])
    return lines


def _pairwise(table: pd.DataFrame, residual: pd.DataFrame) -> list[str]:
    """What each score finds, what separates them, and what is left of the edges beyond the three."""
    margin = table["margin"].iloc[0]
    lines = [
        f"AUROC [95 % interval] on {plain(str(table['dataset'].iloc[0]))}, attention in layer "
        f"{count(table['layer'].iloc[0])}; units are perturbations on the screen and regulators on a reference.",
        "",
        *header(["held against", "units", *EDGES.values(), *BASELINES.values()]),
        *(_score_line(rows) for rows in _truths(table)),
        "",
        f"Paired differences; *equal* needs the equivalence test within ±{number(margin, 2)}.",
        "",
        *header(["held against", *(f"{edge} - {name}" for edge in EDGES for name in BASELINES.values())]),
        *(_difference_line(rows) for rows in _truths(table)),
        "",
    ]
    if len(residual):
        deciding = residual[residual["deciding"].astype(bool)]
        lines += [
            "What is left once the three together are taken out within each unit: AUROC [95 % interval], p against .5; "
            "in brackets the AUROC of the ranks within each unit with nothing taken out.",
            "",
            *header(["held against", *EDGES.values()]),
            *(_residual_line(rows) for rows in _truths(deciding)),
            "",
        ]
    return [*lines, *_pairwise_said(table, residual), ""]


def _truths(table: pd.DataFrame) -> list[pd.DataFrame]:
    """Rows of each truth and gene subset, in the order stored."""
    return [rows for _, rows in table.groupby(["truth", "subset"], sort=False)]


def _named(rows: pd.DataFrame) -> str:
    first = rows.iloc[0]
    marked = " (primary reference)" if first["primary"] and first["truth"] != SCREEN else ""
    return f"{first['truth']}{SUBSETS.get(str(first['subset']), '')}{marked}"


def _score_line(rows: pd.DataFrame) -> str:
    edges = {row["score"]: row for row in rows.to_dict("records")}
    names = {row["baseline"]: row for row in rows.to_dict("records")}
    cells = [_auroc(edges.get(edge), "score") for edge in EDGES]
    cells += [_auroc(names.get(name), "baseline") for name in BASELINES]
    return line([_named(rows), count(rows["n_units"].iloc[0]), *cells])


def _auroc(row: Mapping[Any, Any] | None, which: str) -> str:
    if row is None:
        return MISSING
    return _with_interval(number(row[f"auroc_{which}"]), row[f"{which}_ci_low"], row[f"{which}_ci_high"])


def _with_interval(value: str, low: Any, high: Any, show: Any = number) -> str:
    return value if is_missing(low) or is_missing(high) else f"{value} [{show(low)}, {show(high)}]"


def _difference_line(rows: pd.DataFrame) -> str:
    found = {(row["score"], row["baseline"]): row for row in rows.to_dict("records")}
    return line([_named(rows), *(_difference(found.get((edge, name))) for edge in EDGES for name in BASELINES)])


def _difference(row: Mapping[Any, Any] | None) -> str:
    if row is None:
        return MISSING
    shown = _with_interval(signed(row["difference"]), row["ci_low"], row["ci_high"], signed)
    return f"{shown} {row['reading']}"


def _residual_line(rows: pd.DataFrame) -> str:
    found = {row["score"]: row for row in rows.to_dict("records")}
    return line([_named(rows), *(_left(found.get(edge)) for edge in EDGES)])


def _left(row: Mapping[Any, Any] | None) -> str:
    if row is None:
        return MISSING
    shown = _with_interval(number(row["auroc_residual"]), row["ci_low"], row["ci_high"])
    return f"{shown}, p {p_value(row['p'])} ({number(row['auroc_ranked'])})"


def _pairwise_said(table: pd.DataFrame, residual: pd.DataFrame) -> list[str]:
    """One line a truth on all genes, for attention."""
    said = []
    for rows in _truths(table[(table["score"] == "attention") & (table["subset"] == "all")]):
        first = rows.iloc[0]
        sentence = f"- {plain(_named(rows))}: attention {_compared(rows)}{_below_chance(rows)}"
        if len(residual):
            left = residual[(residual["truth"] == first["truth"]) & (residual["subset"] == "all")]
            left = left[(left["score"] == "attention") & left["deciding"].astype(bool)]
            sentence += "".join(f"; {_beyond(row)}" for row in left.to_dict("records"))
        said.append(f"{sentence}.")
    return said


def _compared(rows: pd.DataFrame) -> str:
    told = []
    for reading, words in READINGS.items():
        names = [label(BASELINES, name) for name in rows.loc[rows["reading"] == reading, "baseline"]]
        if names:
            told.append(words.format(names=listing(names), it="it" if len(names) == 1 else "them"))
    return listing(told) if told else "was compared with nothing"


def _below_chance(rows: pd.DataFrame) -> str:
    """Trivial scores that rank targets backwards: to exceed one of them shows nothing."""
    names = [label(BASELINES, name) for name in rows.loc[rows["baseline_ci_high"] < HALF, "baseline"]]
    if not names:
        return ""
    verb, them = ("lies", "it") if len(names) == 1 else ("lie", "them")
    return f" ({listing(names)} {verb} below .5, so that to exceed {them} shows nothing)"


def _beyond(row: Mapping[Any, Any]) -> str:
    if is_missing(row["ci_low"]) or is_missing(row["ci_high"]):
        return "what is left beyond the three has no interval"
    if row["ci_low"] > HALF:
        return "what is left beyond the three still ranks targets above chance"
    if row["ci_high"] < HALF:
        return "what is left beyond the three ranks targets below chance"
    return "what is left beyond the three cannot be told from chance"


def _orientations(table: pd.DataFrame) -> list[str]:
    """Attention in every orientation at the frozen layer; the declared one is what everything else reads."""
    lines = [
        "Attention by orientation at the same layer (declared: the regulator is the query): AUROC, and the difference "
        "to the declared one [95 % interval]. Nothing switches to an orientation that scores better here.",
        "",
        *header(["held against", "units", *ORIENTATIONS]),
    ]
    said = []
    for truth, rows in table.groupby("truth", sort=False):
        found = {row["orientation"]: row for row in rows.to_dict("records")}
        lines.append(
            line([str(truth), count(rows["n_units"].iloc[0]), *(_turned(found.get(name)) for name in ORIENTATIONS)])
        )
        said.append(f"- {plain(str(truth))}: {_turned_said(found)}.")
    return [*lines, "", *said, ""]


def _turned(row: Mapping[Any, Any] | None) -> str:
    if row is None:
        return MISSING
    auroc = number(row["auroc"])
    if row["orientation"] == ORIENTATIONS[0]:
        return _with_interval(auroc, row["auroc_ci_low"], row["auroc_ci_high"])
    return f"{auroc} ({_difference(row)})"


def _turned_said(found: Mapping[str, Mapping[Any, Any]]) -> str:
    words: Sequence[str] = [
        f"{how}, attention {READINGS[str(found[name]['reading'])].format(names='the declared orientation', it='it')}"
        for name, how in TURNED.items()
        if name in found
    ]
    return "; ".join(words) if words else "no other orientation was read"

"""What the interventions showed, in sentences beside criterion d.

What belongs here: reading the tables of the causal ablation aloud. What does not: judging the criterion
(`qc_standards`), or drawing (`interp_assets.figures`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from interp_assets.figures.ablation_rows import ATTENTION, MATERIAL, changes, sweep
from interp_assets.figures.screen_figures import main_role
from interp_assets.figures.wording import count, number, p_value, short, signed
from interp_assets.report.shown import StoredRow, aggregate, constant, in_prose, joined, listed

TABLES = CHANGES, CONDITIONS = ("causal_ablation", "intervention_conditions")
PLACE = "place_in_table"


def interventions_said(tables: Mapping[str, pd.DataFrame]) -> tuple[str, ...]:
    """What the interventions showed, a sentence each; nothing where none were run.

    Changes are condition minus clean model, of the published read-out. Random sets of the dose response are the null,
    not interventions of their own. Every number carries the rows of the table it is read from.
    """
    if any(name not in tables or tables[name].empty for name in TABLES):
        return ()
    numbered = {name: tables[name].assign(**{PLACE: range(len(tables[name]))}) for name in TABLES}
    frame = changes(numbered)
    frame = frame[frame["read_out"] == ATTENTION]
    conditions = main_role(numbered["intervention_conditions"]).drop_duplicates("condition")
    chosen = conditions[(conditions["pool"] != "upstream") | (conditions["family"] != "random")]
    said = (_dose_said(frame), _others_said(frame), _structural_said(chosen), _weak_said(chosen))
    return tuple(sentence for sentence in said if sentence)


def _stored(table: str, rows: pd.DataFrame) -> list[StoredRow]:
    return [StoredRow(table, row[PLACE], row) for row in rows.to_dict("records")]


def _dose_said(frame: pd.DataFrame) -> str:
    masks = frame[frame["operation"] == "zero_heads"]
    if sweep(masks, ATTENTION) is None:
        return "Dose response: none, because no set of heads before the read-out layer was masked."
    rows = masks[(masks["pool"] == "upstream") & np.isfinite(masks["mean_auroc"])]
    top = _stored(CHANGES, rows[rows["family"] == "top"].drop_duplicates("size").sort_values("size"))
    last = top[-1]
    sets = rows[(rows["family"] == "random") & (rows["size"] == last.values["size"])].drop_duplicates("draw")
    return joined(
        "Dose response: the clean model has a mean AUROC of ",
        top[0].number("clean_auroc"),
        "; masking the ",
        in_prose([row.number("size", count) for row in top]),
        f" top-ranked {'head' if last.values['size'] == 1 else 'heads'} before the read-out layer leaves ",
        in_prose([row.number("mean_auroc") for row in top]),
        "; ",
        _random_said(sets, last) if len(sets) else "no random set of that size",
        ".",
    )


def _random_said(sets: pd.DataFrame, largest: StoredRow) -> str:
    """What random sets as large as the largest one leave."""
    place: dict[str, Any] = {"table": CHANGES, "rows": list(sets[PLACE]), "column": "mean_auroc"}
    left = sets["mean_auroc"]
    return joined(
        aggregate(len(sets), count(len(sets)), **place, how="count"),
        " random sets of ",
        largest.number("size", count),
        " leave ",
        aggregate(left.min(), number(left.min()), **place, how="min"),
        " to ",
        aggregate(left.max(), number(left.max()), **place, how="max"),
        " (p ",
        largest.number("p_random", p_value),
        ")",
    )


def _others_said(frame: pd.DataFrame) -> str:
    """Interventions other than masks, of parts that all can act on the published read-out."""
    rows = frame[(frame["operation"] != "zero_heads") & frame["upstream"].astype(bool) & frame["delta"].notna()]
    parts = [
        joined(_name(row), " ", row.number("delta", signed), " (", row.interval(), ")")
        for row in _stored(CHANGES, rows)
    ]
    if not parts:
        return ""
    return joined("Other interventions before the read-out layer change AUROC by: ", listed(parts), ".")


def _structural_said(conditions: pd.DataFrame) -> str:
    """Published interventions that cannot act on the published read-out."""
    published = conditions[conditions["pool"] == "all"]
    idle = published[published["upstream_parts"] == 0]
    if idle.empty:
        return ""
    return joined(
        _count(idle),
        " of ",
        _count(published),
        " published interventions lie at or after the read-out layer and cannot act on it, so that their zeros say "
        "nothing: ",
        listed([_name(row) for row in _stored(CONDITIONS, idle)]),
        ".",
    )


def _weak_said(conditions: pd.DataFrame) -> str:
    """How many interventions that can act on the published read-out move the model enough to say something."""
    acting = conditions[conditions["upstream_parts"] > 0]
    known = acting[acting["hidden_distance"].notna()]
    if known.empty:
        return ""
    material = known[(known["hidden_distance"] > MATERIAL) & known["changed"].astype(bool)]
    furthest = _stored(CONDITIONS, known.loc[[known["hidden_distance"].idxmax()]])[0]
    return joined(
        _count(material),
        " of ",
        _count(known),
        " interventions that can act on it move the hidden state by a cosine distance above ",
        constant(number(MATERIAL, 2)),
        ", at most ",
        furthest.number("hidden_distance"),
        " (",
        _name(furthest),
        ").",
    )


def _count(rows: pd.DataFrame) -> str:
    place: dict[str, Any] = {"table": CONDITIONS, "rows": list(rows[PLACE]), "column": "condition"}
    return aggregate(len(rows), count(len(rows)), **place, how="count")


def _name(row: StoredRow) -> str:
    return row.words("condition", lambda name: short(name, 40))

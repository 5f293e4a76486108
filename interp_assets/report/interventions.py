"""What the interventions showed, in sentences beside criterion d.

What belongs here: reading the tables of the causal ablation aloud. What does not: judging the criterion
(`qc_standards`), or drawing (`interp_assets.figures`).
"""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from interp_assets.figures.ablation_rows import ATTENTION, MATERIAL, changes, sweep
from interp_assets.figures.screen_figures import main_role
from interp_assets.figures.wording import count, interval, is_missing, listing, number, p_value, short, signed

TABLES = ("causal_ablation", "intervention_conditions")


def interventions_said(tables: Mapping[str, pd.DataFrame]) -> tuple[str, ...]:
    """What the interventions showed, a sentence each; nothing where none were run.

    Changes are condition minus clean model, of the published read-out. Random sets of the dose response are the null,
    not interventions of their own.
    """
    if any(name not in tables or tables[name].empty for name in TABLES):
        return ()
    frame = changes(tables)
    frame = frame[frame["read_out"] == ATTENTION]
    conditions = main_role(tables["intervention_conditions"]).drop_duplicates("condition")
    chosen = conditions[(conditions["pool"] != "upstream") | (conditions["family"] != "random")]
    said = (_dose_said(frame), _others_said(frame), _structural_said(chosen), _weak_said(chosen))
    return tuple(sentence for sentence in said if sentence)


def _dose_said(frame: pd.DataFrame) -> str:
    found = sweep(frame[frame["operation"] == "zero_heads"], ATTENTION)
    if found is None:
        return "Dose response: none, because no set of heads before the read-out layer was masked."
    last = len(found.sizes) - 1
    sizes, left = listing([count(size) for size in found.sizes]), listing([number(mean) for mean in found.mean])
    sets = found.random[last]
    null = "no random set of that size"
    if len(sets):
        null = f"{len(sets)} random sets of {count(found.sizes[last])} leave {interval(sets.min(), sets.max())}"
        null += f" (p {p_value(found.p_random[last])})"
    heads = "head" if found.sizes[last] == 1 else "heads"
    return (
        f"Dose response: the clean model has a mean AUROC of {number(found.clean)}; masking the {sizes} top-ranked "
        f"{heads} before the read-out layer leaves {left}; {null}."
    )


def _others_said(frame: pd.DataFrame) -> str:
    """Interventions other than masks, of parts that all can act on the published read-out."""
    rows = frame[(frame["operation"] != "zero_heads") & frame["upstream"].astype(bool)]
    parts = [
        f"{short(row.condition, 40)} {signed(row.delta)} ({interval(row.ci_low, row.ci_high)})"
        for row in rows.itertuples()
        if not is_missing(row.delta)
    ]
    return f"Other interventions before the read-out layer change AUROC by: {', '.join(parts)}." if parts else ""


def _structural_said(conditions: pd.DataFrame) -> str:
    """Published interventions that cannot act on the published read-out."""
    published = conditions[conditions["pool"] == "all"]
    idle = published.loc[published["upstream_parts"] == 0, "condition"]
    if idle.empty:
        return ""
    return (
        f"{len(idle)} of {len(published)} published interventions lie at or after the read-out layer and cannot act on "
        f"it, so that their zeros say nothing: {', '.join(short(name, 40) for name in idle)}."
    )


def _weak_said(conditions: pd.DataFrame) -> str:
    """How many interventions that can act on the published read-out move the model enough to say something."""
    acting = conditions[conditions["upstream_parts"] > 0]
    known = acting[acting["hidden_distance"].notna()]
    if known.empty:
        return ""
    material = (known["hidden_distance"] > MATERIAL) & known["changed"].astype(bool)
    furthest = known.loc[known["hidden_distance"].idxmax()]
    return (
        f"{material.sum()} of {len(known)} interventions that can act on it move the hidden state by a cosine distance "
        f"above {number(MATERIAL, 2)}, at most {number(furthest['hidden_distance'])} "
        f"({short(furthest['condition'], 40)})."
    )

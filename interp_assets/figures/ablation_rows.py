"""What the figures of interventions share: which condition can act on which read-out, its look and its name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interp_assets.figures import shapes, style
from interp_assets.figures.screen_figures import main_role
from interp_assets.figures.wording import is_missing, parts_changed

ATTENTION, LAST_ATTENTION, LOGITS = READ_OUTS = ("attention", "last_attention", "logits")
MATERIAL = 0.02  # mean cosine distance to the clean model above which an intervention counts (paper analysis 36)
FAMILY_LOOKS = {
    "top": (style.BLUE, "o"),
    "bottom": (style.ORANGE, "v"),
    "composite": (style.PURPLE, "D"),
    "entropy_matched": (style.GREEN, "^"),
    "random": (style.MUTED, "s"),
    "layer": (style.INK, "P"),
    "mlp": (style.VERMILLION, "X"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """Dose response of one read-out: by number of masked heads, what is left, and what random sets leave.

    ``ends`` (2 x sizes) is the interval of the paired change, put at the mean of the clean model. ``random`` holds the
    mean AUROC of every random set of that size.
    """

    sizes: list[int]
    clean: float
    mean: NDArray[np.float64]
    ends: NDArray[np.float64]
    p_random: list[float]
    random: list[NDArray[np.float64]]


def look(family: Any) -> tuple[str, str]:
    """Colour and marker of a family of conditions."""
    return FAMILY_LOOKS.get(str(family), (style.MUTED, "*"))


def named(row: Any) -> str:
    """Name of a condition with what it changes in this model."""
    return f"{row.condition} ({parts_changed(row.size, row.family)})"


def with_acting(row: Any) -> str:
    """Name of a condition, and how much of what it changes can act on the published read-out where only a part can."""
    acting = getattr(row, "upstream_parts", None)
    if is_missing(acting) or not 0 < acting < row.size:
        return named(row)
    return f"{row.condition} ({int(acting)} of {parts_changed(row.size, row.family)} act)"


def in_order(rows: pd.DataFrame) -> pd.DataFrame:
    """Conditions by family, then dose and draw; layers and conditions alike in all that stay in their order."""
    order = {family: place for place, family in enumerate(FAMILY_LOOKS)}
    place = rows["family"].map(order).fillna(len(order))
    pool = rows["pool"] == "upstream"
    keyed = rows.assign(_pool=pool, _place=place)
    return keyed.sort_values(["_pool", "_place", "dose", "draw"], kind="stable").drop(columns=["_pool", "_place"])


def changes(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Rows of `causal_ablation` of the primary screen with what the conditions say of them.

    ``acts``: whether any changed part can act on the read-out. A part acts on the attention of a later layer only;
    every part acts on the logits. Where no condition changes the last layer, every one acts on its attention.
    ``upstream_parts``: how many parts can act on the published read-out.
    """
    about = ["first_layer", "read_out_layer", "upstream_parts"]
    frame = main_role(tables["causal_ablation"]).drop_duplicates(["condition", "read_out"])
    conditions = main_role(tables["intervention_conditions"]).drop_duplicates("condition")
    found = frame.drop(columns=about, errors="ignore").merge(
        conditions[["condition", *about]], on="condition", how="left"
    )
    last = last_layer(conditions)
    read_at = found["read_out_layer"].where(found["read_out"] == ATTENTION)
    read_at = read_at.mask(found["read_out"] == LAST_ATTENTION, np.nan if last is None else last)
    return found.assign(acts=~(found["first_layer"] >= read_at))


def of_read_out(frame: pd.DataFrame, read_out: str, conditions: pd.DataFrame) -> pd.DataFrame:
    """Changes of one read-out, a row for each of ``conditions`` in their order; one without a row has no number."""
    about = ["condition", "family", "size"]
    numbers = ["acts", "clean_auroc", "delta", "ci_low", "ci_high", "p"]
    rows = frame.loc[frame["read_out"] == read_out, ["condition", *numbers]]
    found = conditions[about].merge(rows, on="condition", how="left")
    return found.assign(acts=[is_missing(acts) or bool(acts) for acts in found["acts"]])


def last_layer(conditions: pd.DataFrame) -> int | None:
    """Last layer of the model where some condition changes it, else None.

    >>> last_layer(pd.DataFrame({"parts": ["1.6;7.0", "mlp.3"], "upstream_of_last": [False, True]}))
    7
    """
    reach = conditions.loc[~conditions["upstream_of_last"].astype(bool), "parts"]
    layers = [int(part.removeprefix("mlp.").split(".")[0]) for parts in reach for part in str(parts).split(";")]
    return max(layers, default=None)


def estimate(row: Any) -> shapes.Estimate:
    """Change of a read-out under one condition as a row of a forest; hollow where the condition cannot act on it."""
    colour, marker = look(row.family)
    return shapes.Estimate(
        label=with_acting(row),
        value=shapes.finite(row.delta),
        low=shapes.finite(row.ci_low),
        high=shapes.finite(row.ci_high),
        colour=colour,
        marker=marker,
        hollow=not row.acts,
    )


def sweep(masks: pd.DataFrame, read_out: str) -> Sweep | None:
    """Dose response of one read-out over the heads before the read-out layer; None where no top-ranked set was masked.

    Doses that come to the same number of heads are one mask and shown once.
    """
    rows = masks[(masks["pool"] == "upstream") & (masks["read_out"] == read_out) & np.isfinite(masks["mean_auroc"])]
    top = rows[rows["family"] == "top"].drop_duplicates("size").sort_values("size")
    if top.empty or shapes.finite(top["clean_auroc"].iloc[0]) is None:
        return None
    sets = rows[rows["family"] == "random"].drop_duplicates(["size", "draw"])
    clean = float(top["clean_auroc"].iloc[0])
    mean = top["mean_auroc"].to_numpy(dtype=float)
    ends = clean + top[["ci_low", "ci_high"]].to_numpy(dtype=float).T
    return Sweep(
        sizes=[int(size) for size in top["size"]],
        clean=clean,
        mean=mean,
        ends=np.where(np.isfinite(ends), ends, mean),
        p_random=[float(p) for p in top["p_random"]],
        random=[sets.loc[sets["size"] == size, "mean_auroc"].to_numpy(dtype=float) for size in top["size"]],
    )

"""What a calibration found, in sentences that follow from its numbers alone.

What belongs here: one sentence a fact, chosen by rules. What does not: tables (`page`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import pandas as pd

from interp_assets.calibration import summary
from interp_assets.calibration.catalogue import SHIPPED_STRENGTH, strength_label
from interp_assets.calibration.design import USUAL_OFF_NETWORK

NEEDED: Final = 0.8


def percent(share: float) -> str:
    """Share in per cent with one decimal.

    >>> percent(0.0099), percent(1.0)
    ('1.0 %', '100.0 %')
    """
    return "-" if pd.isna(share) else f"{100 * share:.1f} %"


def range_of(low: float, high: float) -> str:
    """Limits of a share in per cent.

    >>> range_of(0.031, 0.08)
    '[3.1, 8.0]'
    """
    return "-" if pd.isna(low) or pd.isna(high) else f"[{100 * low:.1f}, {100 * high:.1f}]"


def findings(passes: pd.DataFrame, levels: pd.DataFrame, power: pd.DataFrame) -> list[str]:
    """Sentences about false passes, the level of tests, and power; only about what the run holds."""
    planted = passes[~passes["world"].str.contains("/")]
    permuted = passes[passes["world"].str.endswith("/permuted")]
    lines = [*_criteria(planted, "on planted outcomes"), *_criteria(permuted, "on permuted outcomes"), *_tests(levels)]
    return [*lines, *_power(power), *_off_network(power)]


def _criteria(passes: pd.DataFrame, where: str) -> list[str]:
    lines = []
    order = [name for name in (summary.TOGETHER, "a", "b", "c") if name in set(passes["criterion"])]
    for criterion in [*order, *sorted(set(passes["criterion"]) - set(order))]:
        rows = passes[passes["criterion"] == criterion]
        name = "The three criteria together" if criterion == summary.TOGETHER else f"Criterion {criterion}"
        opened = rows[rows["pass"] > 0]
        if opened.empty:
            upper = percent(rows["upper"].max())
            lines.append(f"**{name}** {where}: no false pass, upper limit {upper} in each of {len(rows)} worlds.")
            continue
        told = "; ".join(
            f"{row['title']} {row['pass']} of {row['n']} ({percent(row['rate'])}, upper limit {percent(row['upper'])})"
            for row in opened.to_dict("records")
        )
        rest = len(rows) - len(opened)
        others = f"; none in the other {rest} worlds" if rest else ""
        lines.append(f"**{name}** {where}: false passes in {told}{others}.")
    return lines


def _tests(levels: pd.DataFrame) -> list[str]:
    if levels.empty:
        return []
    verdict = pd.Series(
        [summary.level_verdict(*row) for row in levels[["low", "high", "n"]].itertuples(index=False)],
        index=levels.index,
    )
    judged = int((verdict != "too few seeds").sum())
    lines = [
        f"**Tests**: {int((verdict == 'holds').sum())} of {judged} rates of rejection under a true null fit the "
        f"nominal 5 %, {int((verdict == 'too often').sum())} lie above it and {int((verdict == 'too seldom').sum())} "
        "below it."
    ]
    if judged < len(levels):
        short = levels[verdict == "too few seeds"]
        lines.append(
            f"Not judged for want of seeds (at least {summary.FEWEST_SEEDS} are needed): "
            f"{', '.join(dict.fromkeys(short['test']))}, {short['n'].min()} seeds."
        )
    for word, chosen in (("Rejected too often", "too often"), ("Rejected too seldom", "too seldom")):
        rows = levels[verdict == chosen]
        if not rows.empty:
            lines.append(f"{word}: {_named(rows)}.")
    uneven = levels[(levels["q_uniform"] < summary.ALPHA) & (verdict == "holds")]
    if not uneven.empty:
        lines.append(f"At their level but with p that are not uniform: {_named(uneven)}.")
    return lines


def _named(rows: pd.DataFrame) -> str:
    return "; ".join(
        f"{row['test']} in {row['title']} ({percent(row['rate'])} {range_of(row['low'], row['high'])}; {row['reason']})"
        for row in rows.to_dict("records")
    )


def _power(power: pd.DataFrame) -> list[str]:
    if power.empty:
        return []
    weakest = float(power["strength"].min())
    told = []
    for criterion, strength in summary.crossings(power, USUAL_OFF_NETWORK, NEEDED).items():
        name = "all three" if criterion == summary.TOGETHER else criterion
        if strength is None:
            told.append(f"{name} not reached")
        elif strength <= weakest:
            told.append(f"{name} at or below {strength_label(weakest)}")
        else:
            told.append(f"{name} {strength:.2f}")
    shipped = strength_label(SHIPPED_STRENGTH)
    return [
        f"**Power** of .8 is reached at a strength (edge over noise) of: {'; '.join(told)}. The shipped planted "
        f"control has {shipped}."
    ]


def _off_network(power: pd.DataFrame) -> list[str]:
    if power.empty:
        return []
    shipped = power[power["strength"] == SHIPPED_STRENGTH]
    lines = []
    for criterion in _present(("a", "b", "c"), shipped["criterion"]):
        rows = shipped[shipped["criterion"] == criterion].sort_values("off_network")
        below = rows[rows["rate"] < NEEDED]
        last = rows.iloc[-1]
        if below.empty:
            lines.append(
                f"Criterion {criterion} keeps power {percent(last['rate'])} with {last['off_network']:.0%} of effects "
                "off the network."
            )
        else:
            first = below.iloc[0]
            lines.append(
                f"Criterion {criterion} falls to power {percent(first['rate'])} where {first['off_network']:.0%} of "
                f"effects lie off the network ({first['with_edge']:.0%} of positives have an edge), although the score "
                "is the network."
            )
    return lines


def _present(names: Iterable[str], column: pd.Series[str]) -> list[str]:
    there = set(column)
    return [name for name in names if name in there]

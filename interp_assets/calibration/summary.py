"""Rates, uniformity and power of a calibration run: long results in, one table a question out.

What belongs here: counting seeds. What does not: words about the numbers (`page`) and pictures (`pictures`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interp_assets.calibration.catalogue import BLOCKS, CRITERIA, World, worlds
from interp_assets.calibration.rates import Rate, crossing, rate
from qc_standards.records import Outcome

ALPHA: Final = 0.05
TOGETHER: Final = "all"  # a, b and c in the same seed
SPLITS: Final = ("perturbation", "target_gene", "joint")
GAIN: Final = 0.005
FEWEST_SEEDS: Final = 72  # 1 - .025 ** (1 / 72) < .05
NO_FACTS: Final = pd.DataFrame({"name": pd.Series(dtype=str), "value": pd.Series(dtype=float)})


def noise_worlds() -> list[World]:
    """Worlds in which passing a criterion is a false pass, or a test's null is true, in catalogue order."""
    return [world for block in BLOCKS for world in block.worlds if world.noise]


def _together(outcomes: pd.DataFrame) -> pd.Series[str]:
    """Outcome of all criteria of a seed taken together: pass where every one passes, else that of the worst."""
    order = [Outcome.FAIL, Outcome.NOT_EVALUABLE, Outcome.UNDECIDED, Outcome.PASS]
    rank = {str(outcome): place for place, outcome in enumerate(order)}
    worst = outcomes.map(rank.__getitem__).min(axis=1)
    return worst.map(lambda place: str(order[int(place)]))


def of_kind(results: pd.DataFrame, kind: str) -> dict[str, pd.DataFrame]:
    """Rows of one kind by world."""
    return {str(world): rows for world, rows in results[results["kind"] == kind].groupby("world", sort=False)}


def _wide(rows: pd.DataFrame) -> pd.DataFrame:
    """Outcomes of a world, one row a seed and one column a criterion, and `TOGETHER` where a, b and c are there."""
    wide = rows.pivot(index="seed", columns="name", values="outcome")
    if set(CRITERIA) <= set(wide.columns):
        wide[TOGETHER] = _together(wide[list(CRITERIA)])
    return wide


def false_passes(results: pd.DataFrame) -> pd.DataFrame:
    """One row a noise world and criterion: counts of the four outcomes, and the exact limits of the pass rate.

    Columns noise, world, title, criterion, n, pass, fail, undecided, not_evaluable, rate, low, high, upper.
    """
    lines = []
    judged = of_kind(results, "criterion")
    for world in noise_worlds():
        wide = _wide(judged[world.name]) if world.name in judged else pd.DataFrame()
        for criterion in wide.columns:
            counts = wide[criterion].value_counts()
            number = {outcome: int(counts.get(str(outcome), 0)) for outcome in Outcome}
            found = rate(number[Outcome.PASS], len(wide))
            lines.append(
                {
                    **{"noise": world.noise, "world": world.name, "title": world.title, "criterion": criterion},
                    **{"n": found.n, "pass": found.count, "fail": number[Outcome.FAIL]},
                    **{"undecided": number[Outcome.UNDECIDED], "not_evaluable": number[Outcome.NOT_EVALUABLE]},
                    **{"rate": found.value, "low": found.low, "high": found.high, "upper": found.upper},
                }
            )
    return pd.DataFrame(lines)


def part_rates(results: pd.DataFrame, criterion: str) -> pd.DataFrame:
    """Share of seeds in which each part of a criterion passes, noise worlds x parts; NaN where it was not judged."""
    names = [world.name for world in noise_worlds() if criterion in world.criteria]
    rows = results[(results["kind"] == "part") & results["name"].str.startswith(f"{criterion}/")]
    passed = rows.assign(passed=rows["outcome"] == str(Outcome.PASS))
    table = passed.pivot_table(index="world", columns="name", values="passed", aggfunc="mean", sort=False)
    return table.reindex([name for name in names if name in table.index])


def gain_openings(results: pd.DataFrame) -> pd.DataFrame:
    """How often a single combination of criterion b has a lower bound above 0 and above .005, noise worlds x splits.

    Shares are of combinations (learner x metric) x seeds; those of one seed are not independent. ``any`` counts the
    seeds with at least one combination above .005.
    """
    lines = []
    parts = of_kind(results, "part")
    for world in noise_worlds():
        rows = parts.get(world.name, pd.DataFrame({"name": []}, dtype=str))
        for name in SPLITS:
            chosen = rows[rows["name"].str.startswith(f"b/{name}/")]
            if chosen.empty:
                continue
            above = chosen["value"] > GAIN
            lines.append(
                {
                    **{"world": world.name, "title": world.title, "split": name, "combinations": len(chosen)},
                    **{"above_0": float((chosen["value"] > 0).mean()), "above_margin": float(above.mean())},
                    **{"any": int(above.groupby(chosen["seed"]).any().sum()), "seeds": chosen["seed"].nunique()},
                }
            )
    return pd.DataFrame(lines)


def p_values(results: pd.DataFrame) -> dict[tuple[str, str], NDArray[np.float64]]:
    """P of every test by (world, test), one a seed, NaN where the test gave none."""
    rows = results[results["kind"] == "test"]
    return {
        (str(world), str(test)): values.to_numpy(np.float64)
        for (world, test), values in rows.groupby(["world", "name"], sort=False)["value"]
    }


def levels_of_tests(results: pd.DataFrame) -> pd.DataFrame:
    """One row for every test and world in which its null is true: rejections at .05 and the distance to uniform.

    Columns test, noise, world, title, reason, n, without_p, rejected, rate, low, high, ks, ks_limit, p_uniform,
    q_uniform, valid. ``ks_limit`` is the exact 95 % limit of the Kolmogorov distance; ``p_uniform`` its p and
    ``q_uniform`` that over all rows (Benjamini-Hochberg); ``valid``: no excess of small p beyond the limit.
    """
    from scipy.stats import false_discovery_control, kstwo

    from interp_assets.stats.uniformity import independent_uniformity

    lines = []
    recorded = p_values(results)
    for world in noise_worlds():
        for test, reason in world.nulls.items():
            every = recorded.get((world.name, test), np.empty(0))
            p = every[np.isfinite(every)]
            if not p.size:
                continue
            found = independent_uniformity(p, alpha=ALPHA)
            share = rate(int((p < ALPHA).sum()), p.size)
            lines.append(
                {
                    **{"test": test, "noise": world.noise, "world": world.name, "title": world.title},
                    **{"reason": reason, "n": p.size, "without_p": every.size - p.size},
                    **{"rejected": share.count, "rate": share.value, "low": share.low, "high": share.high},
                    **{"ks": found.ks, "ks_limit": found.ks_limit, "valid": found.valid},
                    "p_uniform": float(kstwo.sf(found.ks, p.size)),
                }
            )
    frame = pd.DataFrame(lines)
    if not frame.empty:
        frame["q_uniform"] = false_discovery_control(frame["p_uniform"])
        frame = frame.sort_values("test", key=lambda names: names.map(_order), kind="stable", ignore_index=True)
    return frame


def _order(test: str) -> float:
    analysis, number = test[1:].split(".")
    return int(analysis) + int(number) / 100


def level_verdict(low: float, high: float, n: int) -> str:
    """Whether a rejection rate with these limits over ``n`` seeds fits the nominal 5 %.

    With fewer than `FEWEST_SEEDS` no rejection at all would still fit, so that fitting says nothing.

    >>> level_verdict(0.03, 0.08, 300), level_verdict(0.06, 0.12, 300), level_verdict(0.0, 0.3, 10)
    ('holds', 'too often', 'too few seeds')
    """
    if low > ALPHA:
        return "too often"
    if high < ALPHA:
        return "too seldom"
    return "holds" if n >= FEWEST_SEEDS else "too few seeds"


def power(results: pd.DataFrame) -> pd.DataFrame:
    """One row a planted score and criterion: strength, off_network, pass rate with exact limits.

    ``attention`` is the mean per-perturbation AUROC of the score, ``best_baseline`` that of the best gene-level one,
    ``with_edge`` the share of positives that have a planted edge.
    """
    lines = []
    judged, known = of_kind(results, "criterion"), of_kind(results, "fact")
    for world in worlds().values():
        if world.strength is None or world.name not in judged:
            continue
        wide = _wide(judged[world.name])
        facts = _facts(known.get(world.name, NO_FACTS))
        for criterion in wide.columns:
            found: Rate = rate(int((wide[criterion] == str(Outcome.PASS)).sum()), len(wide))
            where = {"strength": world.strength, "off_network": world.off_network, "criterion": criterion}
            numbers = {key: value for key, value in asdict(found).items() if key != "upper"}
            lines.append({**where, **numbers, "rate": found.value, **facts})
    return pd.DataFrame(lines)


def _facts(rows: pd.DataFrame) -> dict[str, float]:
    mean = rows.groupby("name")["value"].mean()
    baselines = [mean.get(f"auroc {name}", np.nan) for name in ("variance", "mean", "one_minus_dropout")]
    return {
        "attention": float(mean.get("auroc attention", np.nan)),
        "best_baseline": float(np.max(baselines)),
        "with_edge": float(mean.get("positives_with_edge", np.nan)),
    }


def world_facts(results: pd.DataFrame, names: Iterable[str]) -> pd.DataFrame:
    """Mean over seeds of every recorded fact, worlds x facts."""
    rows = results[(results["kind"] == "fact") & results["world"].isin(list(names))]
    table = rows.pivot_table(index="world", columns="name", values="value", aggfunc="mean", sort=False)
    return table.reindex([name for name in names if name in table.index])


def crossings(table: pd.DataFrame, off_network: float, level: float = 0.8) -> dict[str, float | None]:
    """Strength at which each criterion's power reaches ``level`` for good, by criterion (`rates.crossing`)."""
    found: dict[str, float | None] = {}
    for criterion, rows in table[table["off_network"] == off_network].groupby("criterion", sort=False):
        ordered = rows.sort_values("strength")
        found[str(criterion)] = crossing(ordered["strength"].tolist(), ordered["rate"].tolist(), level)
    return found

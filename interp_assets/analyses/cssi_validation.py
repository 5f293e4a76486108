"""Analysis 10: does scoring within cell states recover edges that pooling loses? (paper section 5, analysis 10).

What belongs here: the declared rows and tables. What does not: generators, strata, scores (`stats`), one dataset of a
design (`cssi_designs`), real attention (`cssi_attention`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interp_assets.analyses import rows
from interp_assets.analyses.cssi_attention import READING, VARIANTS, JudgedAttention, judged_attention
from interp_assets.analyses.cssi_designs import Dataset, run_rows, scored_dataset
from interp_assets.analyses.inputs import AnalysisInputs, AnalysisOutput, Simulated
from interp_assets.stats.cssi import aggregate, exceedance_p, weighted_correlations
from interp_assets.stats.paired import signed_rank
from interp_assets.stats.ranking import recall_at
from interp_assets.stats.resampling import Interval, percentile_interval
from interp_assets.stats.state_mixtures import (
    STRUCTURED,
    SYNTHETIC,
    blood_cells,
    immune_types,
    multi_state,
    pooled_correlation,
)
from interp_assets.stats.strata import random_strata, shuffled_strata
from qc_standards.records import TestResult

Float = NDArray[np.float64]

NUMBER: Final = 10
SETTINGS: Final = ("bootstrap", "cssi_seeds", "cssi_minimum", "cssi_run_draws", "cssi_attention_draws", "cssi_k_max")
SYNTHETIC_ROWS: Final = ("A10.1", "A10.2", "A10.3", "A10.4", "A10.5")
TOP: Final = 100
CELL_BOOTSTRAP: Final = 100  # declared for A10.4
ESTIMATED_NOTE: Final = "A user has estimated strata, not known ones"
# Estimated strata of the simulated designs still know how many states there are, where the minimum size allows it.
ESTIMATED: Final = "k-means strata, as many as known states"


def cssi_validation(inputs: AnalysisInputs) -> AnalysisOutput:
    """Rows A10.1 to A10.6.

    Tables
    ------
    cssi_runs
        One dataset of a simulated design under one kind of strata and aggregator: ``design`` (synthetic, structured,
        blood), ``cells``, ``states``, ``seed``, ``strata`` (oracle, estimated, shuffled, random, gene_permuted), ``k``,
        ``aggregator``, ``draws``, ``draws_scored`` (those with a stratum of at least ``minimum`` cells),
        ``strata_scored`` (mean number of such strata), ``true_edges``, ``candidate_edges``, ``f1`` and ``auroc`` (mean
        over scored draws), ``f1_pooled``, ``auroc_pooled``.
    cssi_summary
        Means of `cssi_runs` over the datasets that have a score, with the ratio and difference to pooled cells.
    cssi_dilution
        Pooled correlation by closed form and in simulated cells: ``share``, ``shift``, ``expected``, ``within``,
        ``between``, ``simulated``.
    cssi_planted_recovery
        Planted edges among the best 100 pairs of the PBMC-like design, by score, with the bootstrap interval.
    cssi_real_attention
        Real attention by layer, kind of strata and aggregator (see `attention_table`).
    """
    used = rows.chosen_settings(inputs, *SETTINGS)
    runs, blood = _runs(inputs, used)
    table = pd.DataFrame(runs)
    planted = _planted_recovery(blood, int(used["cssi_minimum"]), rows.generator(inputs, NUMBER, 4))
    results = [*_state_rows(inputs, table, used), _structured_row(inputs, table, used)]
    results.append(_planted_row(inputs, planted, table, used))
    tables = {"cssi_runs": table, "cssi_summary": _summary(table), "cssi_dilution": _dilution(inputs)}
    tables["cssi_planted_recovery"] = planted
    judged = judged_attention(
        inputs, int(used["cssi_minimum"]), int(used["cssi_k_max"]), rows.generator(inputs, NUMBER, 6)
    )
    if isinstance(judged, str):
        results.append(rows.skip(inputs, "A10.6", judged))
    else:
        attention, maxima = attention_table(judged, used, rows.generator(inputs, NUMBER, 7))
        tables["cssi_real_attention"] = attention
        results.append(_attention_row(inputs, judged, attention, maxima, used))
    return rows.collect(inputs, results, tables)


def _runs(inputs: AnalysisInputs, used: Mapping[str, Any]) -> tuple[list[dict[str, Any]], Dataset]:
    """Rows of every dataset of the three designs, and the first PBMC-like dataset."""
    how = {"minimum": int(used["cssi_minimum"]), "draws": int(used["cssi_run_draws"])}
    found: list[dict[str, Any]] = []
    first: Dataset | None = None
    for seed in range(int(used["cssi_seeds"])):
        for number, (cells, states) in enumerate(SYNTHETIC):
            rng = rows.generator(inputs, NUMBER, 1, seed, number)
            found += run_rows("synthetic", scored_dataset(multi_state(rng, cells, states)), seed, **how, rng=rng)
        for number, cells in enumerate(STRUCTURED):
            rng = rows.generator(inputs, NUMBER, 2, seed, number)
            found += run_rows("structured", scored_dataset(immune_types(rng, cells)), seed, **how, rng=rng)
        if seed == 0:
            rng = rows.generator(inputs, NUMBER, 3, seed)
            first = scored_dataset(blood_cells(rng))
            found += run_rows("blood", first, seed, **how, rng=rng)
    if first is None:
        raise ValueError("cssi_seeds is 0; give at least 1")
    return found, first


def _paired(table: pd.DataFrame, design: str, strata: str, aggregator: str = "max") -> pd.DataFrame:
    chosen = table[(table["design"] == design) & (table["strata"] == strata) & (table["aggregator"] == aggregator)]
    return chosen.dropna(subset=["f1", "f1_pooled"])


def _left_out(table: pd.DataFrame, design: str) -> dict[str, int]:
    """Datasets of a design that no stratum of the minimum size can score, by kind of strata."""
    chosen = table[(table["design"] == design) & (table["aggregator"] == "max")]
    gone = chosen["f1"].isna() | chosen["f1_pooled"].isna()
    return {kind: int(gone[chosen["strata"] == kind].sum()) for kind in ("oracle", "estimated")}


def _state_rows(inputs: AnalysisInputs, table: pd.DataFrame, used: Mapping[str, Any]) -> list[TestResult]:
    known, estimated = _paired(table, "synthetic", "oracle"), _paired(table, "synthetic", "estimated")
    told = {**_told(used), "design": "synthetic", "aggregator": "max", "strata": "oracle"}
    told["datasets_left_out"] = _left_out(table, "synthetic")
    guess, _ = _spearman(estimated["states"], estimated["f1"])
    beaten = signed_rank((estimated["f1"] - estimated["f1_pooled"]).to_numpy(), "two-sided")
    aside = (
        f"{ESTIMATED_NOTE}: with {ESTIMATED}, the same correlation is {guess:.3f}, and F1 is "
        f"{estimated['f1'].mean():.3f} against {estimated['f1_pooled'].mean():.3f} pooled (two-sided p {beaten.p:.2g})."
    )
    found = []
    for test, column, what in (
        ("A10.1", "f1", "best-stratum F1 with known states"),
        ("A10.2", "f1_pooled", "pooled F1"),
    ):
        rho, p = _spearman(known["states"], known[column])
        interval = _bootstrapped(
            inputs, known, lambda part, column=column: _spearman(part["states"], part[column])[0], used, int(test[-1])
        )
        text = f"Rank correlation of {what} with the number of states; below 0 the score falls as states are added. "
        found.append(_simulated(inputs, test, told, rho, interval, p=p, n=len(known), direction=text + aside))
    found.append(_ratio_row(inputs, "A10.3", known, estimated, told, used))
    return found


def _structured_row(inputs: AnalysisInputs, table: pd.DataFrame, used: Mapping[str, Any]) -> TestResult:
    known, estimated = _paired(table, "structured", "oracle"), _paired(table, "structured", "estimated")
    told = {**_told(used), "design": "structured", "aggregator": "max", "strata": "oracle"}
    told["datasets_left_out"] = _left_out(table, "structured")
    return _ratio_row(inputs, "A10.5", known, estimated, told, used)


def _ratio_row(
    inputs: AnalysisInputs,
    test: str,
    known: pd.DataFrame,
    estimated: pd.DataFrame,
    told: Mapping[str, Any],
    used: Mapping[str, Any],
) -> TestResult:
    if len(known) < 2:
        return rows.skip(inputs, test, "fewer than two simulated datasets; raise cssi_seeds", role=Simulated())
    found = signed_rank((known["f1"] - known["f1_pooled"]).to_numpy(), "greater")
    interval = _bootstrapped(inputs, known, _ratio, used, int(test[-1]))
    other = signed_rank((estimated["f1"] - estimated["f1_pooled"]).to_numpy(), "greater")
    text = (
        "Mean F1 of the best-stratum score over mean F1 of pooled cells; above 1 strata recover more, here with known "
        f"states. {ESTIMATED_NOTE}: with {ESTIMATED}, the ratio is {_ratio(estimated):.3f} (p {other.p:.2g})."
    )
    return _simulated(inputs, test, told, _ratio(known), interval, p=found.p, n=found.n, direction=text)


def _simulated(
    inputs: AnalysisInputs, test: str, told: Mapping[str, Any], effect: float, interval: Interval, **numbers: Any
) -> TestResult:
    return rows.row(
        inputs,
        Simulated(),
        test,
        settings=told,
        layer=None,
        effect=effect,
        ci_low=interval.low,
        ci_high=interval.high,
        resamples_requested=interval.resamples_requested,
        resamples_done=interval.resamples_done,
        **numbers,
    )


def _ratio(part: pd.DataFrame) -> float:
    pooled = float(part["f1_pooled"].mean()) if len(part) else 0.0
    return float(part["f1"].mean()) / pooled if pooled > 0 else float("nan")


def _spearman(states: pd.Series, values: pd.Series) -> tuple[float, float]:
    """Rank correlation and its two-sided p; NaN where one side does not vary."""
    from scipy.stats import spearmanr

    if len(states) < 3 or states.nunique() < 2 or values.nunique() < 2:
        return float("nan"), float("nan")
    found = spearmanr(states, values)
    return float(found.statistic), float(found.pvalue)


def _bootstrapped(
    inputs: AnalysisInputs, table: pd.DataFrame, statistic: Any, used: Mapping[str, Any], part: int
) -> Any:
    """Percentile interval of a statistic of the runs, datasets drawn with replacement."""
    draws = int(used["bootstrap"])
    picked = rows.generator(inputs, NUMBER, 5, part).integers(0, max(1, len(table)), (draws, len(table)))
    return percentile_interval([statistic(table.iloc[pick]) for pick in picked], requested=draws)


def _told(used: Mapping[str, Any]) -> dict[str, Any]:
    names = ("bootstrap", "cssi_seeds", "cssi_minimum")
    return {**{name: used[name] for name in names}, "k": "number of true edges", "estimated_strata": ESTIMATED}


def _planted_recovery(data: Dataset, minimum: int, rng: np.random.Generator) -> pd.DataFrame:
    """Table `cssi_planted_recovery`: cells drawn again within their type, every score computed anew."""
    mixture = data.mixture
    types = (mixture.state[None, :] == np.arange(mixture.states)[:, None]).astype(np.float64)
    weight = np.ones((CELL_BOOTSTRAP + 1, data.cells))
    for number in range(mixture.states):
        inside = np.flatnonzero(mixture.state == number)
        weight[1:, inside] = rng.multinomial(inside.size, np.full(inside.size, 1 / inside.size), CELL_BOOTSTRAP)
    pooled = weighted_correlations(data.products, weight)
    size = np.bincount(mixture.state, minlength=mixture.states)
    strata = weighted_correlations(data.products, (weight[:, None, :] * types).reshape(-1, data.cells))
    strata = strata.reshape(len(weight), mixture.states, -1)
    sizes = np.broadcast_to(size, strata.shape[:2])
    best = aggregate(strata, sizes, pooled, ("max",), minimum=minimum)["max"]
    edges = int(mixture.true.sum())
    found = {"pooled": np.abs(pooled), "max": best}
    hits = {name: recall_at(score, mixture.true.ravel()[None].astype(np.int8).repeat(len(score), 0), TOP) * edges
            for name, score in found.items()}  # fmt: skip
    hits["difference"] = (hits["max"] - hits["pooled"]) / edges
    # Where pooled cells find no edge there is no ratio; such a draw is counted out.
    hits["ratio"] = hits["max"] / np.where(hits["pooled"] > 0, hits["pooled"], np.nan)
    table = []
    for name, values in hits.items():
        interval = percentile_interval(values[1:], requested=CELL_BOOTSTRAP)
        row = {"score": name, "value": float(values[0]), "ci_low": interval.low, "ci_high": interval.high}
        row |= {"resamples_requested": CELL_BOOTSTRAP, "resamples_done": interval.resamples_done}
        row |= {"p_not_greater": exceedance_p(-values[1:], 0.0) if name == "difference" else np.nan}
        table.append({**row, "edges": edges, "top": TOP, "cells": data.cells, "minimum": minimum})
    return pd.DataFrame(table)


def _planted_row(
    inputs: AnalysisInputs, planted: pd.DataFrame, table: pd.DataFrame, used: Mapping[str, Any]
) -> TestResult:
    found, guess = planted.set_index("score"), _paired(table, "blood", "estimated")
    ratio, gap = found.loc["ratio"], found.loc["difference"]
    text = (
        f"Planted edges among the best {TOP} pairs, best-stratum score with known types over pooled cells "
        f"({found.loc['max', 'value']:.3g} against {found.loc['pooled', 'value']:.3g} of {int(ratio['edges'])}); "
        f"above 1 strata recover more. The difference in recovered share is {gap['value']:.3f} [{gap['ci_low']:.3f}, "
        f"{gap['ci_high']:.3f}]. {ESTIMATED_NOTE}: with {ESTIMATED}, F1 at K edges of the same cells is "
        f"{guess['f1'].mean():.3f} against {guess['f1_pooled'].mean():.3f} pooled. Cells are simulated."
    )
    return rows.row(
        inputs,
        Simulated(),
        "A10.4",
        settings={
            "cssi_minimum": used["cssi_minimum"],
            "design": "blood",
            "strata": "oracle",
            "aggregator": "max",
            "estimated_strata": ESTIMATED,
            "top": TOP,
            "cells": int(ratio["cells"]),
            "cell_bootstrap": CELL_BOOTSTRAP,
        },
        layer=None,
        effect=float(ratio["value"]),
        ci_low=float(ratio["ci_low"]),
        ci_high=float(ratio["ci_high"]),
        p=float(gap["p_not_greater"]),
        n=int(ratio["cells"]),
        resamples_requested=CELL_BOOTSTRAP,
        resamples_done=int(ratio["resamples_done"]),
        direction=text,
    )


def _summary(table: pd.DataFrame) -> pd.DataFrame:
    by = ["design", "cells", "states", "strata", "aggregator"]
    numbers = ["k", "strata_scored", "f1", "f1_pooled", "auroc", "auroc_pooled"]
    # Stratified and pooled means are of the same datasets.
    scored = table.assign(**{name: table[name].where(table["f1"].notna()) for name in numbers[1:]})
    groups = scored.groupby(by, sort=False)
    found = groups[numbers].mean().reset_index()
    found["datasets"] = groups["f1"].count().to_numpy()
    found["f1_ratio"] = found["f1"] / found["f1_pooled"].where(found["f1_pooled"] > 0)
    return found.assign(auroc_gain=found["auroc"] - found["auroc_pooled"])


def _dilution(inputs: AnalysisInputs) -> pd.DataFrame:
    """Table `cssi_dilution`: an edge of correlation .7 in a part of the cells, with and without a shift of means."""
    rng, cells, rho = rows.generator(inputs, NUMBER, 8), 20_000, 0.7
    table = []
    for share in (1.0, 0.5, 0.25, 0.1):
        for shift in (0.0, 1.0):
            inside = np.arange(cells) < round(share * cells)
            x = rng.normal(size=cells)
            y = np.where(inside, rho, 0.0) * x + np.where(inside, np.sqrt(1 - rho**2), 1.0) * rng.normal(size=cells)
            lifted = shift * inside
            expected, within, between = pooled_correlation(
                [share, 1 - share], [[shift, shift], [0.0, 0.0]], np.ones((2, 2)), [rho, 0.0]
            )
            row = {"share": share, "shift": shift, "expected": expected, "within": within, "between": between}
            table.append({**row, "simulated": float(np.corrcoef(x + lifted, y + lifted)[0, 1]), "cells": cells})
    return pd.DataFrame(table)


def attention_table(
    judged: JudgedAttention, used: Mapping[str, Any], rng: np.random.Generator
) -> tuple[pd.DataFrame, Float]:
    """Table `cssi_real_attention`, and for each null draw the largest best-of-variants gain over layers.

    One row a layer, kind of strata (oracle, estimated, shuffled, random) and aggregator (`VARIANTS` and ``best``, the
    largest of them, chosen alike for real and for null strata): ``layer``, ``strata``, ``aggregator``, ``k``,
    ``strata_scored``, ``smallest_stratum``, ``draws``, ``pooled`` and ``stratified`` (AUROC, mean over draws),
    ``gain``, ``gain_low`` and ``gain_high`` (2.5 and 97.5 % of null draws), ``cells``, ``pairs``, ``pairs_unseen``,
    ``positives``, ``reference``, ``method``. Shuffled strata keep the sizes of the estimated ones.
    """
    minimum, draws = int(used["cssi_minimum"]), int(used["cssi_attention_draws"])
    layers = range(judged.layers)
    pooled, base = judged.pooled(layers), judged.pooled_auroc(layers)
    k = int(judged.estimated.max()) + 1
    sets = {} if judged.oracle is None else {"oracle": judged.oracle[None]}
    sets["estimated"] = judged.estimated[None]
    sets["shuffled"] = shuffled_strata(judged.estimated, rng, draws)
    sets["random"] = random_strata(judged.cells, k, rng, draws)
    table, maxima = [], np.empty(0)
    for kind, labels in sets.items():
        found = np.stack([judged.recovered(label, layers, pooled, VARIANTS, minimum) for label in labels])
        found = np.concatenate([found, found.max(axis=2, keepdims=True)], axis=2)
        if kind == "shuffled":
            maxima = (found[:, :, -1] - base).max(axis=1)
        size = np.stack([np.bincount(label[label >= 0], minlength=int(labels.max()) + 1) for label in labels])
        about = _attention_facts(judged, kind, size, minimum)
        for layer in layers:
            for number, name in enumerate((*VARIANTS, "best")):
                gain = found[:, layer, number] - base[layer]
                row = {"layer": layer, "aggregator": name, "pooled": base[layer], "gain": gain.mean()}
                row |= {"stratified": found[:, layer, number].mean()}
                inner = percentile_interval(gain if kind in ("shuffled", "random") else [], requested=gain.size)
                table.append({**row, "gain_low": inner.low, "gain_high": inner.high, **about})
    return pd.DataFrame(table), maxima


def _attention_facts(judged: JudgedAttention, kind: str, size: NDArray[np.int64], minimum: int) -> dict[str, Any]:
    kept = size >= minimum
    return {
        "strata": kind,
        "k": int(size.shape[1]),
        "strata_scored": float(kept.sum(axis=1).mean()),
        "smallest_stratum": int(size[kept].min()) if kept.any() else 0,
        "draws": int(size.shape[0]),
        "cells": judged.cells,
        "pairs": int(judged.true.size),
        "pairs_unseen": judged.unseen,
        "positives": int(judged.true.sum()),
        "reference": judged.reference,
        "method": judged.method if kind == "estimated" else kind,
    }


def _attention_row(
    inputs: AnalysisInputs, judged: JudgedAttention, table: pd.DataFrame, maxima: Float, used: Mapping[str, Any]
) -> TestResult:
    best = table[(table["aggregator"] == "best") & (table["strata"] == "estimated")].set_index("layer")
    known = table[(table["aggregator"] == "best") & (table["strata"] == "oracle")]
    if best["gain"].isna().all():
        why = f"{judged.sample.dataset}: no estimated stratum holds {used['cssi_minimum']} cells; lower cssi_minimum"
        return rows.skip(inputs, "A10.6", why, role=judged.sample)
    layer = int(best["gain"].idxmax())
    oracle = f"{known['gain'].max():.3f}" if len(known) else "not known here (no cell_type column)"
    text = (
        "Largest gain in AUROC of the best of four stratified scores over pooled attention, over all layers, with "
        f"strata estimated from the model's embedding ({judged.method}); above 0 strata recover more. The same maximum "
        f"under shuffled strata is the null; with known cell types it is {oracle}. Best pooled layer: "
        f"{int(table.loc[table['pooled'].idxmax(), 'layer'])} at {table['pooled'].max():.3f}."
    )
    told = {name: used[name] for name in ("cssi_minimum", "cssi_attention_draws", "cssi_k_max")}
    told |= {"reading": READING, "reference": judged.reference, "variants": VARIANTS}
    told |= {"missing": "lowest within strata; pairs that no cell holds are left out", "pairs_unseen": judged.unseen}
    told |= {"cells": judged.cells, "pairs": int(judged.true.size), "positives": int(judged.true.sum())}
    return rows.row(
        inputs,
        judged.sample,
        "A10.6",
        settings={**told, "k": int(judged.estimated.max()) + 1, "method": judged.method},
        layer=layer,
        effect=float(best.loc[layer, "gain"]),
        p=exceedance_p(maxima, float(best.loc[layer, "gain"])),
        n=judged.cells,
        unit="cell",
        null_name="shuffled strata, maximum over layers and variants",
        null_mean=float(np.nanmean(maxima)),
        null_sd=float(np.nanstd(maxima, ddof=1)) if maxima.size > 1 else None,
        resamples_requested=int(used["cssi_attention_draws"]),
        resamples_done=int(np.isfinite(maxima).sum()),
        direction=text,
    )

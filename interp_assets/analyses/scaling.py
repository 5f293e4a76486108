"""Analysis 1: whether more cells recover more of a curated network, by a fixed number of top edges and by all of them.

One release is one tier, so seeds stand for the runs over tiers and seeds of the framework. Each seed is one order of
the cells; a larger count adds cells to a smaller one, so that the counts of a seed are paired. Both metrics are always
printed together, because they may move in opposite directions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interp_assets.analyses.cell_runs import ATTENTION, FEWEST_POSITIVES, KEPT_SHARE, RunCells, halved_counts, run_cells
from interp_assets.analyses.inputs import AnalysisInputs, AnalysisOutput
from interp_assets.analyses.rows import chosen_settings, collect, generator, row, skip, skip_all
from interp_assets.analyses.scaling_runs import HIGH, LOW, MIDDLE, NUMBER, SEEDS_IN_A_TIER, TOP, Scaling, scaled
from interp_assets.stats.paired import signed_rank
from interp_assets.stats.recovery import sign_test
from interp_assets.stats.relabelled import relabelled_p
from interp_assets.stats.resampling import Interval, bootstrap_mean, bootstrap_statistic
from qc_standards.records import TestResult

ROLE: Final = "tissues[2]"
SETTINGS: Final = ("analysis_depth", "mantel_permutations", "scaling_bootstrap", "scaling_cells", "scaling_seeds")
# What each row used of them beside cells and seeds; the analysis layer stands in the tables alone.
USED: Final[Mapping[str, tuple[str, ...]]] = {
    "A01.1": ("mantel_permutations",),
    "A01.2": ("mantel_permutations", "scaling_bootstrap"),
    "A01.3": ("mantel_permutations",),
    "A01.4": ("scaling_bootstrap",),
    "A01.5": ("scaling_bootstrap",),
    "A01.6": ("scaling_bootstrap",),
}
# Draws share one pool of cells: with more cells all of them come nearer to the same edges, noise of the pool included,
# and then F1 of any reference may fall in every seed. Relabelled copies of the reference fall alike.
P_RULE: Final = (
    "larger of two: the exact test over seeds, and references with relabelled target genes in the same draws; the "
    "second was added after the exact test alone had called trends of unrelated references"
)
FEWEST_CELLS: Final = 20
FEWEST_SEEDS: Final = 3
METRICS: Final = ("f1", "auroc", "auprc", "recall", "hits", "expected")
TIE_RULE: Final = "a run without a hit has F1 0; a seed whose F1 does not change counts against the alternative"


def scaling_behaviour(inputs: AnalysisInputs) -> AnalysisOutput:
    """Recovery at three numbers of cells over independent draws, and how much the kept edges repeat.

    F1 of a kept network, 5 % of the candidate pairs, is the thresholded metric; a run without a hit has F1 0. AUROC of
    all candidate pairs is the continuous one. Edges are the head and layer mean of attention; the analysis layer
    and correlation of the same cells stand beside.

    Tables
    ------
    ``scaling_runs`` : seed, cells, edge, reference, K kept edges with hits and expected hits, F1, recall; AUROC, AUPRC;
    F1 and recall at 20 to 500; AUROC over the pairs that the smallest count of the seed had seen; observed types.
    ``scaling_seed_pairs`` : cells, two draws, whether they share no cell, Jaccard of kept edges, Spearman of scores.
    ``scaling_summary`` : mean of each metric by cells, edge and reference with its bootstrap interval over seeds.
    """
    used = chosen_settings(inputs, *SETTINGS)
    source = run_cells(inputs, ROLE)
    if isinstance(source, str):
        return skip_all(inputs, source)
    counts = halved_counts(used["scaling_cells"], source.count)
    why = _unfit(source, counts, int(used["scaling_seeds"]))
    if why:
        return skip_all(inputs, why, role=source.sample)
    scaling = scaled(inputs, source, counts, int(used["scaling_seeds"]))
    summary = _summary(inputs, scaling, int(used["scaling_bootstrap"]))
    results = [_row(inputs, scaling, summary, spec.test_id, used) for spec in inputs.tests]
    tables = {"scaling_runs": scaling.runs, "scaling_seed_pairs": scaling.pairs, "scaling_summary": summary}
    return collect(inputs, results, tables)


def _unfit(source: RunCells, counts: tuple[int, ...], seeds: int) -> str:
    where = source.sample.dataset
    if len(counts) != HIGH + 1 or list(counts) != sorted(set(counts)):
        return f"scaling_cells must be three rising numbers of cells; {list(counts)} remain of them on {where}"
    if counts[LOW] < FEWEST_CELLS:
        return (
            f"{where}: {source.count} cells were read one by one, so that the counts would be {list(counts)}; the "
            f"smallest must be {FEWEST_CELLS} or more: use a larger dataset or closer scaling_cells"
        )
    return "" if seeds >= FEWEST_SEEDS else f"scaling_seeds = {seeds}; a test over runs needs at least {FEWEST_SEEDS}"


def _summary(inputs: AnalysisInputs, scaling: Scaling, resamples: int) -> pd.DataFrame:
    lines = []
    groups = scaling.runs.groupby(["edge", "reference", "cells"], sort=False)
    for (edge, reference, cells), part in groups:
        for place, metric in enumerate(METRICS):
            # The same seeds are drawn for every group, so that counts can be compared draw by draw.
            interval = bootstrap_mean(part[metric].to_numpy(), generator(inputs, NUMBER, 2, place), resamples)
            lines.append(
                {
                    "edge": edge,
                    "reference": reference,
                    "cells": cells,
                    "metric": metric,
                    "mean": part[metric].mean(),
                    "sd": part[metric].std(ddof=1),
                    "ci_low": interval.low,
                    "ci_high": interval.high,
                    "seeds": len(part),
                    "resamples_requested": interval.resamples_requested,
                    "resamples_done": interval.resamples_done,
                }
            )
    return pd.DataFrame(lines)


def _row(
    inputs: AnalysisInputs, scaling: Scaling, summary: pd.DataFrame, test_id: str, used: Mapping[str, Any]
) -> TestResult:
    source = scaling.source
    wanted = 1 if test_id == "A01.3" else 0
    settings = _settings(scaling, {name: used[name] for name in ("scaling_cells", "scaling_seeds", *USED[test_id])})
    if wanted >= len(source.references):
        names = ", ".join(one.name for one in source.references)
        why = f"{source.sample.dataset}: only one reference network has {FEWEST_POSITIVES} pairs among the read genes "
        why += f"({names}); add another one to `references` of the study"
        return skip(inputs, test_id, why, role=source.sample, settings=settings, layer=None)
    reference = source.references[wanted].name
    settings |= {"reference": reference, "pairs": _pairs(source, wanted)}
    settings |= _means(scaling, reference, "missing_share")
    # Pairs that no cell held are level, and the kept ones of them would be the same in every draw.
    if test_id == "A01.4" and scaling.values(reference, "missing_share").max() > 1.0 - KEPT_SHARE:
        why = f"{source.sample.dataset}: some draws hold fewer pairs than the {KEPT_SHARE:.0%} that are kept, so that "
        why += "their edges cannot be compared; use larger scaling_cells"
        return skip(inputs, test_id, why, role=source.sample, settings=settings, layer=None)
    numbers = {
        "A01.1": _falling,
        "A01.2": _ranked,
        "A01.3": _falling,
        "A01.4": _repeated,
        "A01.5": _uncertain,
        "A01.6": _both_metrics,
    }[test_id](inputs, scaling, summary, reference, int(used["scaling_bootstrap"]))
    settings |= numbers.pop("settings")
    return row(inputs, source.sample, test_id, settings=settings, layer=None, **numbers)


def _settings(scaling: Scaling, used: Mapping[str, Any]) -> dict[str, Any]:
    return dict(used) | {
        "cells": list(scaling.counts),
        "cells_to_draw_from": scaling.source.count,
        "counts_rule": "all counts are halved until the largest fits",
        "draws": "one order of the cells a seed; a larger count holds the smaller one",
        "edge": ATTENTION,
        "kept_share": KEPT_SHARE,
        "missing_rule": "lowest",
        "tie_rule": TIE_RULE,
    }


def _pairs(source: RunCells, number: int) -> dict[str, int]:
    one = source.references[number]
    return {"kept": one.kept, "positives": int(one.member.sum()), "candidates": int(one.candidate.sum())}


def _means(scaling: Scaling, reference: str, *metrics: str) -> dict[str, list[float]]:
    return {metric: scaling.values(reference, metric).mean(axis=0).tolist() for metric in metrics}


def _falling(_: AnalysisInputs, scaling: Scaling, __: pd.DataFrame, reference: str, ___: int) -> dict[str, Any]:
    found = sign_test(scaling.differences(reference, "f1"), "less")
    told = {"rising": found.above, "tied": found.tied, "p_without_ties": found.p_without_ties}
    auroc_falls = int((scaling.differences(reference, "auroc") < 0).sum())
    copies = scaling.copies[reference]
    falls = (copies[:, MIDDLE] - copies[:, LOW] < 0).sum(axis=0)
    p_relabelled = relabelled_p(float(found.below), falls, "greater")
    told |= {"p_exact": found.p, "p_relabelled": p_relabelled, "p_rule": P_RULE}
    return {
        "settings": told | {"auroc_falls": auroc_falls} | _means(scaling, reference, "f1", "auroc", "hits", "expected"),
        "statistic": float(found.below),
        "effect": float(found.below),
        "p": float(np.max([found.p, p_relabelled])),
        "n": found.n,
        "unit": "seed",
        "null_name": "relabelled target genes",
        "null_mean": float(falls.mean()),
        "null_sd": float(falls.std()),
        "resamples_requested": int(falls.size),
        "resamples_done": int(falls.size),
        "direction": f"seeds of {found.n} in which F1 of the kept edges falls from {scaling.counts[LOW]} to "
        f"{scaling.counts[MIDDLE]} cells; more than half means that more cells recover less at the top. p: {P_RULE}",
    }


def _ranked(
    inputs: AnalysisInputs, scaling: Scaling, _: pd.DataFrame, reference: str, resamples: int
) -> dict[str, Any]:
    differences = scaling.differences(reference, "f1")
    found = signed_rank(differences, "less")
    interval = _median_interval(inputs, differences, resamples)
    copies = scaling.copies[reference]
    medians = np.median(copies[:, MIDDLE] - copies[:, LOW], axis=0)
    p_relabelled = relabelled_p(float(np.median(differences)), medians, "less")
    return {
        "settings": {"zero_differences": found.n_zero, "method": found.method, "smallest_p": found.smallest_p}
        | {"p_exact": found.p, "p_relabelled": p_relabelled, "p_rule": P_RULE}
        | _means(scaling, reference, "f1", "auroc"),
        "statistic": found.statistic,
        "effect": float(np.median(differences)),
        "ci_low": interval.low,
        "ci_high": interval.high,
        "p": float(np.max([found.p, p_relabelled])),
        "n": found.n,
        "unit": "seed",
        "null_name": "relabelled target genes",
        "null_mean": float(medians.mean()),
        "null_sd": float(medians.std()),
        "resamples_requested": interval.resamples_requested,
        "resamples_done": interval.resamples_done,
        "direction": f"median of F1 at {scaling.counts[MIDDLE]} minus F1 at {scaling.counts[LOW]} cells; below 0 means "
        f"that more cells recover less at the top. The interval takes seeds as independent. p: {P_RULE}",
    }


def _median_interval(inputs: AnalysisInputs, values: NDArray[np.float64], resamples: int) -> Interval:
    drawn = generator(inputs, NUMBER, 3)
    return bootstrap_statistic(values.size, lambda at: float(np.median(values[at])), drawn, resamples)


def _repeated(inputs: AnalysisInputs, scaling: Scaling, _: pd.DataFrame, __: str, resamples: int) -> dict[str, Any]:
    low, middle = (_jaccards(scaling, count, disjoint=False) for count in (scaling.counts[LOW], scaling.counts[MIDDLE]))
    found = signed_rank(middle - low, "less")
    relative = _relative(middle, low)
    interval = bootstrap_statistic(
        low.size, lambda at: _relative(middle[at], low[at]), generator(inputs, NUMBER, 4), resamples
    )
    apart = {
        str(count): float(values.mean())
        for count in scaling.counts
        if (values := _jaccards(scaling, count, disjoint=True)).size
    }
    return {
        "settings": {
            "seeds_in_a_tier": SEEDS_IN_A_TIER,
            "jaccard": [float(_jaccards(scaling, count, disjoint=False).mean()) for count in scaling.counts],
            "jaccard_without_cells_in_common": apart,
            "share_of_cells_in_common": [count / scaling.source.count for count in scaling.counts],
            "smallest_p": found.smallest_p,
        },
        "statistic": found.statistic,
        "effect": float(relative),
        "ci_low": interval.low,
        "ci_high": interval.high,
        "p": found.p,
        "n": found.n,
        "unit": "seed pair within tier",
        "null_name": "no difference",
        "null_mean": 0.0,
        "resamples_requested": interval.resamples_requested,
        "resamples_done": interval.resamples_done,
        "direction": f"overlap of kept edges between seeds at {scaling.counts[MIDDLE]} over that at "
        f"{scaling.counts[LOW]} cells, minus 1; below 0 means that edges repeat less. Larger draws of one dataset "
        "share more cells, which raises the overlap; pairs of one tier share seeds, which the test does not know",
    }


def _relative(condition: NDArray[np.float64], baseline: NDArray[np.float64]) -> float:
    """Relative change of a mean; NaN where the baseline is 0."""
    before = float(baseline.mean())
    return float(condition.mean()) / before - 1.0 if before else float("nan")


def _jaccards(scaling: Scaling, count: int, *, disjoint: bool) -> NDArray[np.float64]:
    frame = scaling.pairs
    chosen = frame[(frame["cells"] == count) & (frame["disjoint"] == disjoint)]
    return chosen["jaccard"].to_numpy(np.float64)


def _uncertain(_: AnalysisInputs, scaling: Scaling, summary: pd.DataFrame, reference: str, __: int) -> dict[str, Any]:
    chosen = summary[
        (summary["edge"] == ATTENTION) & (summary["reference"] == reference) & (summary["metric"] == "f1")
    ].set_index("cells")
    at = chosen.loc[scaling.counts[HIGH]]
    return {
        "settings": {
            "f1": [float(chosen.loc[count, "mean"]) for count in scaling.counts],
            "ci_low": [float(chosen.loc[count, "ci_low"]) for count in scaling.counts],
            "ci_high": [float(chosen.loc[count, "ci_high"]) for count in scaling.counts],
            **_means(scaling, reference, "auroc"),
        },
        "statistic": float(at["mean"]),
        "effect": float(at["mean"]),
        "effect_kind": "f1",
        "ci_low": float(at["ci_low"]),
        "ci_high": float(at["ci_high"]),
        "n": int(at["seeds"]),
        "unit": "seed",
        "resamples_requested": int(at["resamples_requested"]),
        "resamples_done": int(at["resamples_done"]),
        "direction": f"mean F1 of the kept edges at {scaling.counts[HIGH]} cells; the settings hold the other counts",
    }


def _both_metrics(
    inputs: AnalysisInputs, scaling: Scaling, _: pd.DataFrame, reference: str, resamples: int
) -> dict[str, Any]:
    rise = scaling.differences(reference, "auroc", HIGH)
    interval = bootstrap_mean(rise, generator(inputs, NUMBER, 5), resamples)
    # A draw that has seen no listed pair at all has no AUROC over the pairs it has seen.
    seen = [
        float(known.mean()) if (known := column[np.isfinite(column)]).size else None
        for column in scaling.values(reference, "auroc_seen_by_fewest").T
    ]
    at_each_k = {f"f1_{k}": scaling.values(reference, f"f1_{k}").mean(axis=0).tolist() for k in TOP}
    at_each_k |= {f"recall_{k}": scaling.values(reference, f"recall_{k}").mean(axis=0).tolist() for k in TOP}
    return {
        "settings": at_each_k
        | _means(scaling, reference, "auroc", "auprc", "f1")
        | {
            "auroc_of_pairs_seen_by_fewest": seen,
            "seeds_with_seen_pairs": np.isfinite(scaling.values(reference, "auroc_seen_by_fewest"))
            .sum(axis=0)
            .tolist(),
            "auroc_falls": int((rise < 0).sum()),
            "f1_falls": int((scaling.differences(reference, "f1", HIGH) < 0).sum()),
        },
        "statistic": float(scaling.values(reference, "auroc")[:, HIGH].mean()),
        "effect": float(rise.mean()),
        "effect_kind": "delta_auroc",
        "ci_low": interval.low,
        "ci_high": interval.high,
        "n": int(rise.size),
        "unit": "seed",
        "null_name": "no difference",
        "null_mean": 0.0,
        "resamples_requested": interval.resamples_requested,
        "resamples_done": interval.resamples_done,
        "direction": f"mean AUROC of all candidate pairs at {scaling.counts[HIGH]} minus at {scaling.counts[LOW]} "
        "cells; above 0 means that more cells rank better. Read it beside F1 of the same runs, in the settings",
    }

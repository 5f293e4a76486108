"""Tables of analysis 9, one row a fact; see `edge_calibration` for what each holds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from interp_assets.analyses.calibration_judged import Judged, Sets
from interp_assets.analyses.calibration_screens import Pairs, Split
from interp_assets.stats.calibration import BinSums, contradicted_p
from interp_assets.stats.expression_scorers import SCORERS
from interp_assets.stats.ranking import auroc
from interp_assets.stats.resampling import percentile_interval


def calibration_tables(
    splits: Sequence[Split], judged: Sequence[Judged], sets: Sequence[Sets]
) -> dict[str, pd.DataFrame]:
    """All tables; one without a row is left out."""
    tables = {
        "calibration": pd.DataFrame([_calibration(one) for one in judged]),
        "conformal": pd.DataFrame([_conformal(one) for one in sets if not one.by_class]),
        "conformal_by_class": pd.DataFrame([_conformal(one) for one in sets if one.by_class]),
        "calibration_bins": pd.DataFrame([line for one in judged for line in _bins(one)]),
        "calibration_scorers": pd.DataFrame([line for split in splits for line in _scorers(split.whole)]),
        "calibration_transfer": pd.DataFrame(list(_transfers(judged))),
    }
    return {name: table for name, table in tables.items() if len(table)}


def _auroc(score: Any, label: Any) -> float:
    return float(auroc(score[None], label[None])[0])


def _calibration(one: Judged) -> dict[str, Any]:
    shared = np.intersect1d(one.fitted.names, one.test.names).size
    interval = percentile_interval(one.draws, requested=one.draws.size)
    return {
        "context": one.context,
        "scorer": one.scorer,
        "calibrator": one.calibrator,
        "fitted_on": one.fitted_on,
        "transferred": one.transferred,
        # What is read as a probability is decided before looking: isotonic, fitted in the same screen.
        "used_as_probability": one.calibrator == "isotonic" and not one.transferred,
        "split_by": "perturbation",
        "n_perturbations_fit": one.fitted.names.size,
        "n_perturbations_test": one.test.names.size,
        "shared_perturbations": shared,
        "n_edges_test": one.test.label.size,
        "positive_share": float(one.test.label.mean()),
        "ece": one.ece,
        "ece_equal_size": float(one.mass.ece()[0]),
        "auroc": _auroc(one.probability, one.test.label),
        "auroc_raw": _auroc(one.test.scores[one.scorer], one.test.label),
        "ci_low": interval.low,
        "ci_high": interval.high,
        "resamples_requested": interval.resamples_requested,
        "resamples_done": interval.resamples_done,
        "positive_share_fit": float(one.fitted.label.mean()),
        "ece_constant": one.ece_constant,
        "truth": "; ".join(dict.fromkeys(one.test.rules)),
    }


def _conformal(one: Sets) -> dict[str, Any]:
    interval = percentile_interval(one.draws, requested=one.draws.size)
    covered, edge = one.sets.covered(one.test.label), one.test.label == 1
    empty, single, double = one.sets.shares
    return {
        "context": one.context,
        "scorer": one.scorer,
        "nominal": round(1.0 - one.alpha, 2),
        "n_calibration": one.calibration.label.size,
        "n_test": one.test.label.size,
        "shared_perturbations": np.intersect1d(one.calibration.names, one.test.names).size,
        "coverage": one.coverage,
        "ci_low": interval.low,
        "ci_high": interval.high,
        "coverage_edges": float(covered[edge].mean()),
        "coverage_others": float(covered[~edge].mean()),
        "share_empty": empty,
        "share_single": single,
        "share_double": double,
        "n_perturbations_calibration": one.calibration.names.size,
        "n_perturbations_test": one.test.names.size,
        "resamples_done": interval.resamples_done,
    }


def _bins(one: Judged) -> Iterator[dict[str, Any]]:
    parts: tuple[tuple[str, BinSums], ...] = (("equal_width", one.width), ("equal_size", one.mass))
    for binning, found in parts:
        pairs, probability, edges = (table.sum(axis=0) for table in (found.pairs, found.probability, found.edges))
        for number in np.flatnonzero(pairs):
            yield {
                "context": one.context,
                "scorer": one.scorer,
                "calibrator": one.calibrator,
                "fitted_on": one.fitted_on,
                "binning": binning,
                "bin": int(number),
                "n_pairs": int(pairs[number]),
                "mean_probability": probability[number] / pairs[number],
                "share_edges": edges[number] / pairs[number],
            }


def _scorers(pairs: Pairs) -> Iterator[dict[str, Any]]:
    """One line a score and screen, over all pairs; nothing is fitted here."""
    for place, dataset in enumerate(pairs.datasets):
        mask = pairs.screen == place
        label = pairs.label[mask]
        for scorer in SCORERS:
            score = pairs.scores[scorer][mask]
            yield {
                "dataset": dataset,
                "scorer": scorer,
                "truth": pairs.rules[place],
                "n_perturbations": np.unique(pairs.perturbation[mask]).size,
                "n_pairs": label.size,
                "positive_share": float(label.mean()),
                "mean_score": float(score.mean()),
                "share_zero": float((score == 0.0).mean()),
                "auroc": _auroc(score, label),
            }


def _transfers(judged: Sequence[Judged]) -> Iterator[dict[str, Any]]:
    local = {(one.context, one.scorer, one.calibrator): one for one in judged if not one.transferred}
    for one in judged:
        home = local.get((one.context, one.scorer, one.calibrator))
        if not one.transferred or home is None:
            continue
        change = one.draws - home.draws
        interval = percentile_interval(change, requested=change.size)
        yield {
            "context": one.context,
            "fitted_on": one.fitted_on,
            "scorer": one.scorer,
            "calibrator": one.calibrator,
            "ece_transferred": one.ece,
            "ece_local": home.ece,
            "ece_constant": one.ece_constant,
            "difference": one.ece - home.ece,
            "ci_low": interval.low,
            "ci_high": interval.high,
            "p": contradicted_p(change),
            "resamples_done": interval.resamples_done,
        }

"""Analysis E8: whether the numbers that are judged, and the edges behind them, repeat with other cells of the screen.

Two sources of variation: ``seed``, everything random in the evaluation of a fixed release, which is the cells its
scores are read from; and ``cell_draw``, a small share of these cells exchanged. The training seed of a released
checkpoint is fixed: releases of other training seeds are releases of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any, Final

import numpy as np
import pandas as pd

from interp_assets.analyses.cell_runs import KEPT_SHARE
from interp_assets.analyses.inputs import AnalysisInputs, AnalysisOutput
from interp_assets.analyses.rows import chosen_settings, collect, row, skip, skip_all
from interp_assets.analyses.stability_runs import (
    CRITERIA,
    NOTHING,
    REFERENCE,
    VARIED,
    Judged,
    Measured,
    draws,
    judged_cells,
    measured,
    redrawn,
)
from interp_assets.stats.repeats import FEWEST, Agreement, Spread, agreement, spread_below
from qc_standards.records import TestResult

SETTINGS: Final = (
    *("analysis_depth", "bootstrap", "equivalence_margin", "min_positives", "min_negatives"),
    *("redrawn_share", "stability_repeats"),
)
# What each declared row is about: quantity by number, and what varies.
ROWS: Final = {f"E8.{place}": what for place, what in enumerate(product(range(len(CRITERIA)), VARIED), start=1)}
TOLD: Final = {
    "seed": "independent random halves of the cells; a half varies about all cells as independent draws of their whole "
    "number vary about the population",
    "cell_draw": "one random half of the cells, a share of it exchanged for others",
}
FIXED: Final = (
    "the training seed of a released checkpoint is fixed: releases trained with other seeds are releases of their own"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeated:
    """One quantity over the repeats of one source of variation, and from all cells at once (``whole``)."""

    quantity: int
    varied: str
    runs: tuple[Measured, ...]
    spread: Spread
    edges: Agreement
    compared: int
    whole: Measured

    @property
    def readings(self) -> list[str]:
        """Different readings among the repeats and that of all cells, which the verdict follows."""
        return sorted({str(run.reading) for run in (*self.runs, self.whole)})


def stability(inputs: AnalysisInputs) -> AnalysisOutput:
    """Spread of five judged quantities over draws of cells, against the declared margin, and agreement of their edges.

    Quantities: mean per-perturbation AUROC of attention and of correlation, attention minus the best gene-level
    baseline (criterion a), attention minus correlation, AUROC of attention against the primary reference (recovery
    behind criterion c). All scores and baselines of a repeat come from the same cells; outcomes stay. A row tests
    whether the standard deviation over repeats lies below ``equivalence_margin``.

    Tables
    ------
    ``stability`` : quantity, varied, as standard QCS-37 reads it; the number from all cells at once (``all_cells``)
    tells what the size of a draw does. ``stability_runs`` : quantity, varied, repeat, value, interval, reading, best
    baseline.
    """
    used = chosen_settings(inputs, *SETTINGS)
    if int(used["stability_repeats"]) < FEWEST:
        return skip_all(inputs, f"stability_repeats = {used['stability_repeats']}; ask for {FEWEST} or more")
    judged = judged_cells(inputs, int(used["bootstrap"]))
    if isinstance(judged, str):
        return skip_all(inputs, judged)
    whole = {one.quantity: one for one in measured(judged, np.arange(judged.cells))}
    found = {key: each for varied in VARIED for key, each in _repeated(inputs, judged, varied, used, whole).items()}
    results = [_row(inputs, judged, found, used, spec.test_id) for spec in inputs.tests]
    return collect(inputs, results, _tables(judged, found, used) if found else {})


def _repeated(
    inputs: AnalysisInputs, judged: Judged, varied: str, used: Mapping[str, Any], whole: Mapping[int, Measured]
) -> dict[tuple[int, str], Repeated]:
    repeats, share = int(used["stability_repeats"]), float(used["redrawn_share"])
    runs = [measured(judged, cells) for cells in draws(inputs, judged.cells, varied, repeats, share)]
    found = {}
    for series in zip(*runs, strict=True):
        table = np.array([run.scores for run in series])
        # Pairs that some repeat never saw are level in it, and would agree for no other reason.
        table = table[:, np.isfinite(table).all(axis=0)]
        if table.shape[1] < FEWEST:
            continue
        found[series[0].quantity, varied] = Repeated(
            quantity=series[0].quantity,
            varied=varied,
            runs=series,
            spread=spread_below([run.value for run in series], float(used["equivalence_margin"])),
            edges=agreement(table, max(1, round(KEPT_SHARE * table.shape[1]))),
            compared=int(table.shape[1]),
            whole=whole[series[0].quantity],
        )
    return found


def _tables(
    judged: Judged, found: Mapping[tuple[int, str], Repeated], used: Mapping[str, Any]
) -> dict[str, pd.DataFrame]:
    lines = [_line(judged, each, used) for _, each in sorted(found.items())]
    runs = [
        {
            "quantity": judged.names[each.quantity],
            "varied": each.varied,
            "repeat": place,
            "value": run.value,
            "ci_low": run.low,
            "ci_high": run.high,
            "reading": str(run.reading),
            "best_baseline": run.baseline,
        }
        for _, each in sorted(found.items())
        for place, run in enumerate(each.runs)
    ]
    return {"stability": pd.DataFrame(lines), "stability_runs": pd.DataFrame(runs)}


def _line(judged: Judged, each: Repeated, used: Mapping[str, Any]) -> dict[str, object]:
    """One quantity under one source of variation; see standard QCS-37."""
    values = [run.value for run in each.runs]
    size = judged.cells // 2
    return {
        "quantity": judged.names[each.quantity],
        "varied": each.varied,
        "repeats": each.spread.n,
        "mean": each.spread.mean,
        "sd": each.spread.sd,
        "lowest": min(values),
        "highest": max(values),
        "readings": len(each.readings),
        "rank_agreement": each.edges.spearman,
        "top_overlap": each.edges.overlap,
        "criterion": CRITERIA[each.quantity],
        "read_as": "; ".join(each.readings),
        "all_cells": each.whole.value,
        "cells": size,
        "cells_to_draw_from": judged.cells,
        "cells_exchanged": redrawn(size, float(used["redrawn_share"])) if each.varied == "cell_draw" else size,
        "edges_compared": each.compared,
        "top_edges": each.edges.k,
        "layer": judged.layer,
    }


def _row(
    inputs: AnalysisInputs,
    judged: Judged,
    found: Mapping[tuple[int, str], Repeated],
    used: Mapping[str, Any],
    test_id: str,
) -> TestResult:
    quantity, varied = ROWS[test_id]
    each = found.get((quantity, varied))
    settings = {**used, "quantity": judged.names[quantity], "varied": varied, "missing_rule": "lowest"}
    if each is None:
        why = judged.pairs if quantity == REFERENCE and isinstance(judged.pairs, str) else _why_none(judged, quantity)
        return skip(inputs, test_id, why, role=judged.role, settings=settings, layer=judged.layer)
    line = _line(judged, each, used)
    kept = ("mean", "lowest", "highest", "all_cells", "read_as", "rank_agreement", "top_overlap", "cells")
    more = ("cells_to_draw_from", "cells_exchanged", "edges_compared", "top_edges")
    settings |= {name: line[name] for name in (*kept, *more)}
    if not np.isfinite(each.edges.spearman):
        settings["rank_agreement"] = "not defined: all edges are alike"
    margin = float(used["equivalence_margin"])
    return row(
        inputs,
        judged.role,
        test_id,
        settings=settings,
        layer=judged.layer,
        statistic=each.spread.statistic,
        effect=each.spread.sd,
        ci_low=each.spread.low,
        ci_high=each.spread.high,
        p=each.spread.p,
        n=each.spread.n,
        unit="repeat",
        null_name="spread as wide as the margin",
        null_mean=margin,
        resamples_requested=int(used["stability_repeats"]),
        resamples_done=each.spread.n,
        direction=f"standard deviation over repeats below {margin:g}; {TOLD[varied]}. {FIXED}",
    )


def _why_none(judged: Judged, quantity: int) -> str:
    if quantity != REFERENCE and not judged.kept.size:
        return NOTHING
    return f"{judged.role.dataset}: no pair of genes was seen together in every draw, so that edges cannot be compared"

"""Analysis 18: for how many regulators recovery of their own targets is above chance.

Most regulators of a curated network have one or two targets among the evaluable genes. Their numbers stand apart:
a single target has an exact p and no interval, and intervals of few targets are too narrow to be counted with the
others unseen. Correlation goes through the same analysis beside attention.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interp_assets.analyses.circularity import DirectedPairs, direction_reference
from interp_assets.analyses.inputs import AnalysisInputs, AnalysisOutput, RoleInputs
from interp_assets.analyses.rows import (
    analysis_layer,
    chosen_settings,
    collect,
    generator,
    role_or_reason,
    row,
    skip_all,
)
from interp_assets.analyses.scores import (
    ReferencePairs,
    check_same_cells,
    edge_scores,
    pairs_or_reason,
    reference_scores,
)
from interp_assets.stats.per_unit import ALPHA, EXACT_UP_TO, RowRecovery, row_recovery
from qc_standards.records import TestResult

NUMBER: Final = 18
EDGES: Final = ("attention", "correlation")
# Classes of regulators by number of targets: name -> fewest and most.
BY_TARGETS: Final[Mapping[str, tuple[int, float]]] = {"1": (1, 1), "2": (2, 2), "3-9": (3, 9), "10+": (10, np.inf)}


@dataclass(frozen=True, slots=True, kw_only=True)
class RegulatorRecovery:
    """Recovery of every regulator (R) of one reference by one edge score."""

    edge: str
    reference: str
    filled_share: float
    regulators: NDArray[np.str_]
    recoveries: tuple[RowRecovery, ...]

    @property
    def evaluable(self) -> list[RowRecovery]:
        """Recoveries that have an AUROC: some candidate is a target and some is not."""
        return [one for one in self.recoveries if one.method != "no contrast"]


def per_regulator_bootstrap(inputs: AnalysisInputs) -> AnalysisOutput:
    """AUROC of each listed regulator over its candidate targets, and for how many it is above chance.

    Candidates of a regulator are all other evaluable genes. With two or more targets, the interval is that of
    ``regulator_bootstrap`` class-stratified resamples of the candidates; with one, the exact one-sided p of the
    target's rank takes its place (paper section 5, analysis 18). The row counts the regulators with two or more
    targets whose interval starts above .5; its statistic is the mean AUROC over all regulators, and its settings
    hold the counts by number of targets. Table `per_regulator` covers the primary reference and, where it is
    another, the one analysis 17 reads.
    """
    role = role_or_reason(inputs, "primary_screen")
    if isinstance(role, str):
        return skip_all(inputs, role)
    check_same_cells(role)
    primary = pairs_or_reason(role)
    if isinstance(primary, str):
        return skip_all(inputs, primary, role=role)
    layer = analysis_layer(inputs, role)
    references = [primary]
    directed = direction_reference(role)
    if isinstance(directed, DirectedPairs) and directed.pairs.name != primary.name:
        references.append(directed.pairs)
    found = [regulator_recovery(inputs, role, pairs, edge, layer) for pairs in references for edge in EDGES]
    table = pd.DataFrame([line for one in found for line in _table_rows(role, one)])
    results = [_row(inputs, role, found[0], spec.test_id, layer) for spec in inputs.tests]
    return collect(inputs, results, {"per_regulator": table})


def regulator_recovery(
    inputs: AnalysisInputs, role: RoleInputs, pairs: ReferencePairs, edge: str, layer: int
) -> RegulatorRecovery:
    """Recovery of every regulator of a reference by one edge score, self pairs left out."""
    filled = edge_scores(role, edge, layer)
    labels = pairs.member.astype(np.int8)
    labels[np.arange(pairs.regulators.size), pairs.regulators] = -1
    resamples = int(chosen_settings(inputs, "regulator_bootstrap")["regulator_bootstrap"])
    rng = generator(inputs, NUMBER, EDGES.index(edge))
    return RegulatorRecovery(
        edge=edge,
        reference=pairs.name,
        filled_share=filled.filled_share,
        regulators=role.genes[pairs.regulators],
        recoveries=tuple(row_recovery(reference_scores(pairs, filled.score), labels, rng, resamples)),
    )


def counts_by_targets(recoveries: Sequence[RowRecovery]) -> dict[str, dict[str, int | None]]:
    """Regulators and those above chance, by number of targets ("1", "2", "3-9", "10+").

    ``interval_above_half`` counts bootstrap intervals, ``exact_p_below_alpha`` exact one-sided p below .05; each
    is None in the classes that have no such number.
    """
    found: dict[str, dict[str, int | None]] = {}
    for name, (fewest, most) in BY_TARGETS.items():
        members = [one for one in recoveries if fewest <= one.n_targets <= most]
        found[name] = {
            "regulators": len(members),
            "interval_above_half": _bootstrapped(members) if fewest > 1 else None,
            "exact_p_below_alpha": sum(one.p_exact < ALPHA for one in members) if fewest <= EXACT_UP_TO else None,
        }
    return found


def _bootstrapped(recoveries: Sequence[RowRecovery]) -> int:
    return sum(one.above_chance for one in recoveries if one.method == "bootstrap")


def _table_rows(role: RoleInputs, found: RegulatorRecovery) -> list[dict[str, object]]:
    return [
        {
            "role": role.role,
            "dataset": role.dataset,
            "reference": found.reference,
            "edge": found.edge,
            "regulator": str(name),
            "n_targets": one.n_targets,
            "n_candidates": one.n_candidates,
            "auroc": one.auroc,
            "ci_low": one.interval.low,
            "ci_high": one.interval.high,
            "p_exact": one.p_exact,
            "method": one.method,
            "above_chance": one.above_chance,
            "resamples_requested": one.interval.resamples_requested,
            "resamples_done": one.interval.resamples_done,
        }
        for name, one in zip(found.regulators, found.recoveries, strict=True)
    ]


def _row(inputs: AnalysisInputs, role: RoleInputs, found: RegulatorRecovery, test_id: str, layer: int) -> TestResult:
    evaluable = found.evaluable
    several = [one for one in evaluable if one.n_targets > 1]
    used: dict[str, Any] = chosen_settings(inputs, "analysis_depth", "regulator_bootstrap") | {
        "alpha": ALPHA,
        "by_targets": counts_by_targets(evaluable),
        "edge": found.edge,
        "missing_rule": "lowest",
        "missing_share": found.filled_share,
        "reference": found.reference,
        "regulators": len(found.recoveries),
        "regulators_counted": len(several),
        "regulators_without_contrast": len(found.recoveries) - len(evaluable),
        "sd_auroc": float(np.std([one.auroc for one in evaluable], ddof=1)) if len(evaluable) > 1 else None,
        "statistic": "mean AUROC over all evaluable regulators",
    }
    resamples = used["regulator_bootstrap"] if several else 0
    done = min((one.interval.resamples_done for one in several), default=0)
    return row(
        inputs,
        role,
        test_id,
        settings=used,
        layer=layer,
        reason="" if several else "no regulator has two targets and another candidate: there is no interval to count",
        statistic=float(np.mean([one.auroc for one in evaluable])) if evaluable else float("nan"),
        effect=float(_bootstrapped(several)) if several else float("nan"),
        effect_kind="count",
        n=len(evaluable),
        unit="regulator",
        resamples_requested=resamples,
        resamples_done=done,
        direction=f"regulators, of {len(several)} with two or more targets, whose interval starts above .5",
    )

"""Effects of silenced components, as analyses 2 and 4 read them from `readings.mediation`.

What belongs here: run-pairs and their summaries over cells. What does not: tests.

A run-pair is one regulator-target pair in one tissue at one granularity (feed-forward layers, or groups of heads).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import spearmanr

from interp_assets.analyses.inputs import AnalysisInputs, CellSample, Pooled
from interp_assets.analyses.pooled import pooled_source
from interp_assets.analyses.rows import reading_or_reason, sample_or_reason
from interp_assets.readings.records import Reading
from interp_assets.stats.games import NonAdditivity, non_additivity

Float = NDArray[np.float64]
Int = NDArray[np.int64]
READING: Final = "mediation"
ROLES: Final = ("tissues[1]", "tissues[2]", "tissues[3]")
EVERYTHING: Final = -1
NAMED: Final = ("role", "regulator", "target", "granularity")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPair:
    """Effects of the K components of a granularity on one pair in one tissue.

    ``single`` (K x cells) and ``total`` (cells) are m of one component and of all. ``coalitions`` (C, ascending bit
    masks) and ``joint`` (C x some of the cells) are m of sets. ``reference`` lists the pair.
    """

    role: str
    dataset: str
    cells_hash: str
    reference: str
    regulator: str
    target: str
    granularity: str
    components: pd.DataFrame
    single: Float
    total: Float
    coalitions: Int
    joint: Float

    @property
    def cells(self) -> int:
        """Cells the pair was read in."""
        return int(self.total.size)

    @property
    def mean(self) -> Float:
        """Mean effect of each component (K)."""
        return np.asarray(self.single.mean(axis=1), dtype=np.float64)

    @property
    def sd(self) -> Float:
        """Standard deviation over cells (K); 0 for a single cell, as published."""
        return _sd(self.single)

    @property
    def se(self) -> Float:
        """Standard error of each mean (K)."""
        return np.asarray(self.sd / np.sqrt(self.cells), dtype=np.float64)

    @property
    def bound(self) -> NonAdditivity:
        """What single effects leave of the total, standard errors taken as independent (paper section 4)."""
        return non_additivity(
            float(self.total.mean()),
            self.mean,
            component_sd=self.sd,
            component_n=self.cells,
            total_sd=float(_sd(self.total)),
            total_n=self.cells,
        )

    @property
    def paired_bound(self) -> NonAdditivity:
        """The same with the standard error of the residual itself, cell by cell: all effects come from the same cells.

        Written as one component of spread 0 beside a total that carries the spread of the residual.
        """
        residual = self.total - self.single.sum(axis=0)
        return non_additivity(
            float(self.total.mean()),
            self.mean,
            component_sd=0.0,
            component_n=self.cells,
            total_sd=float(_sd(residual)),
            total_n=self.cells,
        )

    @property
    def names(self) -> dict[str, str]:
        """Columns that name the run-pair in every table."""
        return {
            "role": self.role,
            "dataset": self.dataset,
            "regulator": self.regulator,
            "target": self.target,
            "granularity": self.granularity,
        }


def _sd(values: Float) -> Float:
    """Standard deviation along the last axis, 0 for a single value."""
    if values.shape[-1] < 2:
        return np.zeros(values.shape[:-1])
    return np.asarray(values.std(axis=-1, ddof=1), dtype=np.float64)


def run_pairs(reading: Reading) -> list[RunPair]:
    """Run-pairs of a reading, in its order.

    Raises
    ------
    ValueError
        If an effect is missing or not finite: a component that was not measured is no component without effect.
    """
    tables = reading.tables
    single = dict(tuple(tables["effects"].groupby(list(NAMED), sort=False)))
    joint = dict(tuple(tables["sets"].groupby(list(NAMED), sort=False)))
    facts = {(row.role, row.regulator, row.target): row for row in tables["run_pairs"].itertuples(index=False)}
    parts = dict(tuple(tables["parts"].groupby("granularity", sort=False)))
    found = []
    for key, frame in single.items():
        role, regulator, target, granularity = (str(part) for part in key)
        effects = _wide(frame, "component", key)
        sets = _wide(joint[key], "coalition", key)
        about, components = facts[(role, regulator, target)], parts[granularity].reset_index(drop=True)
        wanted = [EVERYTHING, *components["component"].tolist()]
        if effects.index.tolist() != wanted:
            raise ValueError(f"{role}, {regulator} to {target}: effects of {granularity} lack a component")
        found.append(
            RunPair(
                role=role,
                dataset=str(about.dataset),
                cells_hash=str(about.cells_hash),
                reference=str(about.reference),
                regulator=regulator,
                target=target,
                granularity=granularity,
                components=components,
                single=effects.to_numpy()[1:],
                total=effects.to_numpy()[0],
                coalitions=sets.index.to_numpy(dtype=np.int64),
                joint=sets.to_numpy(),
            )
        )
    return found


def _wide(frame: pd.DataFrame, name: str, key: Any) -> pd.DataFrame:
    wide = frame.pivot(index=name, columns="cell", values="effect").sort_index()
    if not np.isfinite(wide.to_numpy()).all():
        raise ValueError(f"{', '.join(map(str, key))}: an effect is missing; measure every {name} in the same cells")
    return wide


def traced(inputs: AnalysisInputs) -> tuple[Reading, list[RunPair]] | str:
    """The reading and its run-pairs; or why there are none.

    Raises
    ------
    ValueError
        If a tissue of the study holds other cells now than those that were read.
    """
    reading = reading_or_reason(inputs, READING)
    if isinstance(reading, str):
        return reading
    found = run_pairs(reading)
    for pair in found:
        sample = inputs.samples.get(pair.role)
        if sample is not None and sample.cells_hash != pair.cells_hash:
            raise ValueError(
                f"{sample.dataset}: components were read in other cells than those of {pair.role}; materialise "
                f"{READING} again"
            )
    return (reading, found) if found else "no regulator-target pair was traced in any tissue"


def tissue_source(inputs: AnalysisInputs, roles: Sequence[str]) -> CellSample | Pooled | str:
    """The tissues a row rests on, as one record; or why one of them has no cells."""
    samples = [sample_or_reason(inputs, role) for role in roles]
    reasons = [sample for sample in samples if isinstance(sample, str)]
    if reasons:
        return "; ".join(dict.fromkeys(reasons))
    return pooled_source(sample for sample in samples if isinstance(sample, CellSample))


def reading_settings(reading: Reading, pairs: Sequence[RunPair]) -> dict[str, Any]:
    """What the effects of some run-pairs were read on and with, for the settings of a row."""
    names = ("mediation_pairs", "mediation_cells", "mediation_tokens", "regulator_absent", "device", "dtype")
    return {
        **{name: reading.facts.get(name) for name in names},
        "components": {pair.granularity: pair.single.shape[0] for pair in pairs},
        "datasets": {pair.role: pair.dataset for pair in pairs},
        "references": {pair.role: pair.reference for pair in pairs},
    }


def rank_agreement(first: Float, second: Float) -> float:
    """Spearman correlation of two vectors; NaN where one is constant or too short."""
    if first.size < 2 or np.ptp(first) == 0.0 or np.ptp(second) == 0.0:
        return float("nan")
    return float(spearmanr(first, second).statistic)

"""Analysis 27: what an edge adds for perturbed transcription factors, and for all other perturbed genes.

Analysis 26 within each stratum: folds, models and draws see the perturbations of that stratum alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interp_assets.analyses.incremental_value import (
    EDGES,
    GENE_FEATURES,
    Cell,
    Comparison,
    comparison_or_reason,
    equivalence,
    incremental_cells,
)
from interp_assets.analyses.inputs import AnalysisInputs, AnalysisOutput, RoleInputs
from interp_assets.analyses.rows import analysis_layer, chosen_settings, collect, role_or_reason, row, skip, skip_all
from qc_standards.records import TestResult

STRATA: Final = ("tf", "non_tf")
SETTINGS: Final = ("analysis_depth", "bootstrap", "folds", "gain_margin")
COLUMNS: Final = (
    *("role", "dataset", "catalogue", "stratum", "edge", "n_perturbations", "n_pairs", "n_positive"),
    *("gene_only", "gene_plus_edge", "delta", "ci_low", "ci_high", "margin", "p_equivalent", "equivalent"),
    *("resamples_requested", "resamples_done", "reason"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stratum:
    """Gains of both edges in one stratum, or the reason why it has none; counts stand either way."""

    name: str
    perturbations: int
    pairs: int
    positives: int
    cells: Mapping[str, Cell]
    missing_share: Mapping[str, float]


def tf_stratification(inputs: AnalysisInputs) -> AnalysisOutput:
    """Gain of attention and correlation over gene-level features among TF and among non-TF perturbations.

    Pooled out-of-fold AUROC(gene + edge) - AUROC(gene) as in analysis 26, everything fitted again within the
    stratum (paper analysis 27). Table `tf_strata` has a row per stratum and edge; a stratum that cannot fill
    the folds has its counts and the reason there and no number. The row reports the larger of the two gains of
    attention and is skipped where one of them is not known: "no gain in either" needs both.
    """
    role = role_or_reason(inputs, "primary_screen")
    if isinstance(role, str):
        return skip_all(inputs, role)
    if not role.tf_catalogue:
        unset = f"study {inputs.study} names no catalogue of transcription factors; set tf_catalogue"
        return skip_all(inputs, inputs.absent.get("tf_catalogue", unset), role=role)
    is_tf = perturbed_tf(role)
    strata = [_stratum(inputs, role, name, is_tf if name == "tf" else ~is_tf) for name in STRATA]
    records = [_record(inputs, role, stratum, edge) for stratum in strata for edge in EDGES]
    table = pd.DataFrame(records, columns=list(COLUMNS))
    return collect(inputs, [_row(inputs, role, spec.test_id, strata) for spec in inputs.tests], {"tf_strata": table})


def perturbed_tf(role: RoleInputs) -> NDArray[np.bool_]:
    """Perturbations (P) whose perturbed gene the catalogue lists.

    Raises
    ------
    ValueError
        If the gene features do not say of every gene whether it is listed.
    """
    listed = role.features.get("is_tf")
    if listed is None or listed.isna().any():
        raise ValueError(f"{role.dataset}: gene features do not say which genes {role.tf_catalogue} lists")
    return np.asarray(listed.to_numpy(dtype=bool)[role.source])


def _stratum(inputs: AnalysisInputs, role: RoleInputs, name: str, chosen: NDArray[np.bool_]) -> _Stratum:
    found = comparison_or_reason(inputs, chosen) if chosen.any() else f"{role.dataset}: no perturbation is in it"
    if not isinstance(found, Comparison):
        cells = {edge: Cell(edge=edge, split="perturbation", learner="logistic", reason=found) for edge in EDGES}
        unread = dict.fromkeys(EDGES, 0.0)
        number = int(np.unique(role.source[chosen]).size)
        return _Stratum(name=name, perturbations=number, pairs=0, positives=0, cells=cells, missing_share=unread)
    made = incremental_cells(found, EDGES, ("perturbation",), ("logistic",))
    return _Stratum(
        name=name,
        perturbations=found.pairs.perturbations,
        pairs=found.pairs.size,
        positives=int(found.pairs.positive.sum()),
        cells={cell.edge: cell for cell in made},
        missing_share={edge: found.edges[edge].missing_share for edge in EDGES},
    )


def _record(inputs: AnalysisInputs, role: RoleInputs, stratum: _Stratum, edge: str) -> dict[str, object]:
    used = chosen_settings(inputs, "bootstrap", "gain_margin")
    record: dict[str, object] = dict.fromkeys(COLUMNS, np.nan)
    record |= {
        "role": role.role,
        "dataset": role.dataset,
        "catalogue": role.tf_catalogue,
        "stratum": stratum.name,
        "edge": edge,
        "n_perturbations": stratum.perturbations,
        "n_pairs": stratum.pairs,
        "n_positive": stratum.positives,
        "margin": float(used["gain_margin"]),
        "equivalent": False,
        "resamples_requested": int(used["bootstrap"]),
        "resamples_done": 0,
        "reason": stratum.cells[edge].reason,
    }
    if not stratum.cells[edge].gains:
        return record
    gain = stratum.cells[edge].gain("auroc")
    return record | {
        "gene_only": gain.gene_only,
        "gene_plus_edge": gain.gene_plus_edge,
        "delta": gain.delta,
        "ci_low": gain.ci_low,
        "ci_high": gain.ci_high,
        **equivalence(gain),
        "resamples_done": gain.resamples_done,
    }


def _row(inputs: AnalysisInputs, role: RoleInputs, test_id: str, strata: list[_Stratum]) -> TestResult:
    """The larger gain of attention; both gains, counts and equivalence tests are in the settings it used."""
    layer = analysis_layer(inputs, role)
    cells = {stratum.name: stratum.cells["attention"] for stratum in strata}
    used = chosen_settings(inputs, *SETTINGS) | {
        "catalogue": role.tf_catalogue,
        "edge": "attention",
        "gene_features": GENE_FEATURES,
        "learner": "logistic",
        "metric": "auroc",
        "missing_rule": "lowest, with indicator",
        "missing_share": {stratum.name: stratum.missing_share["attention"] for stratum in strata},
        "n_perturbations": {stratum.name: stratum.perturbations for stratum in strata},
        "split": "perturbation",
    }
    lacking = [f"stratum {name} has no gain: {cell.reason}" for name, cell in cells.items() if not cell.gains]
    if lacking:
        return skip(inputs, test_id, "; ".join(lacking), role=role, settings=used, layer=layer)
    gains = {name: cell.gain("auroc") for name, cell in cells.items()}
    used |= {
        "gene_only": {name: gain.gene_only for name, gain in gains.items()},
        "gain": {name: gain.delta for name, gain in gains.items()},
        "p_equivalent": {n: gain.p_equivalent if gain.resamples_done else None for n, gain in gains.items()},
        "equivalent": {name: gain.equivalent for name, gain in gains.items()},
    }
    larger = max(gains, key=lambda name: gains[name].delta)
    gain = gains[larger]
    return row(
        inputs,
        role,
        test_id,
        settings=used | {"stratum": larger},
        layer=layer,
        statistic=gain.gene_plus_edge,
        effect=gain.delta,
        effect_kind="delta_auroc",
        ci_low=gain.ci_low,
        ci_high=gain.ci_high,
        n=gain.n_perturbations,
        unit="perturbation",
        resamples_requested=gain.resamples_requested,
        resamples_done=gain.resamples_done,
        direction=f"gene and edge minus gene only, larger of the strata tf and non_tf: {larger}",
    )

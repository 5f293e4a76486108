"""What an analysis receives and what it returns. One shape for all 37."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interp_assets.edges.layers import LayerChoice
from interp_assets.edges.records import AttentionEdges, EdgeMatrix, Reference
from interp_assets.interventions.records import Interventions
from qc_standards.records import TestResult, TestSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleInputs:
    """Everything known about one dataset in one role, restricted to the evaluable genes of the release.

    ``genes`` (G) is shared by every array here. ``perturbations`` (P) are the perturbed genes that are
    evaluable, ``source`` (P) their positions in ``genes``; ``label`` is P x G int8 (1, 0, -1 = no
    candidate). ``features`` has columns mean, variance, dropout, out_degree in gene order. ``correlation``
    is absolute Spearman; ``trivial`` holds pairwise baselines by name (rank_distance, co_detection).
    ``references`` by name; ``primary_reference`` names the one the criteria use.
    ``baseline_label`` has the shape of ``label``, called in the published baseline configuration; None where
    the screen holds no cells. ``signed_correlation`` is Spearman with its sign. ``de_rate`` is P x G: how often the
    gene answers to *other, training* perturbations of this screen (`stats.de_rate`), so that a row never saw its own
    outcome. ``training`` (P) marks training perturbations where the screen declares a split. ``tf_catalogue`` names
    the list behind ``features["is_tf"]``; empty, and no such column, where the study names none.
    """

    role: str
    dataset: str
    data_origin: str
    role_fit: str
    genes: NDArray[np.str_]
    perturbations: NDArray[np.str_]
    source: NDArray[np.int32]
    label: NDArray[np.int8]
    informative: NDArray[np.bool_]
    features: pd.DataFrame
    attention: AttentionEdges
    correlation: EdgeMatrix
    trivial: Mapping[str, EdgeMatrix]
    references: Mapping[str, Reference]
    primary_reference: str
    exclusions: pd.DataFrame
    evaluability: pd.DataFrame
    context_mismatch: str = ""
    baseline_label: NDArray[np.int8] | None = None
    signed_correlation: EdgeMatrix | None = None
    de_rate: NDArray[np.float64] | None = None
    training: NDArray[np.bool_] | None = None
    tf_catalogue: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalysisInputs:
    """Inputs of one analysis for one release in one study.

    ``roles`` holds the datasets the catalogue row asked for; a role that the study does not fill is absent
    and its reason is in ``absent``. ``settings`` are the analysis settings of the study (see
    ``interp_assets.settings.BatterySettings``), with ``analysis_depth`` at the depth that ``layer_choice`` fixed;
    ``tests`` are the declared rows of this analysis. ``selection_profile`` is the table behind the choice, empty
    where the settings made it. ``interventions`` is what came of intervening on the release, for the analyses that ask
    for it; where there is none, ``absent["interventions"]`` says why.
    """

    study: str
    release: str
    tests: tuple[TestSpec, ...]
    roles: Mapping[str, RoleInputs]
    absent: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    layer_choice: LayerChoice | None = None
    selection_profile: pd.DataFrame = field(default_factory=pd.DataFrame)
    interventions: Interventions | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalysisOutput:
    """Results for every declared row of the analysis, and the tables behind them.

    Table names become ``tables/<name>.parquet``; they are plain frames with one fact a row.
    """

    results: tuple[TestResult, ...]
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)

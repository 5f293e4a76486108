"""What an analysis receives and what it returns. One shape for all 37."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interp_assets.cells.records import PreparedCells, ScreenLabels
from interp_assets.edges.layers import LayerChoice
from interp_assets.edges.records import AttentionEdges, EdgeMatrix, Reference
from interp_assets.interventions.records import Interventions
from interp_assets.readings.records import Reading
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
    the list behind ``features["is_tf"]``; empty, and no such column, where the study names none. ``reference_sets``
    are the databases the study names for a comparison by layer, by database name, such as ``KEGG``.
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
    reference_sets: Mapping[str, Reference] = field(default_factory=dict)

    @property
    def cells_hash(self) -> str:
        """Hash of the cells every score of this role was computed from."""
        return self.attention.cells_hash


@dataclass(frozen=True, slots=True, kw_only=True)
class CellSample:
    """Cells of one dataset in one role, for analyses of expression itself.

    ``cells`` are as stored: all quality-controlled cells, with ``cells.control`` marking those that edge scores are
    computed from, ``cells.universe`` the scored genes, and in ``cells.obs`` what is known of each cell (columns
    ``cell_type``, ``donor``, ``batch``, ``assay``, ``condition``, ``pseudotime``, ``lineage``, ``perturbation`` where
    the dataset has them). ``references`` are over the universe. ``labels`` are the outcomes of the screen, with no
    perturbation where it is none. ``partner`` is the second dataset of a pair, such as the other species of
    ``species_pair``, its genes under the same names.
    """

    role: str
    role_fit: str
    cells: PreparedCells
    labels: ScreenLabels
    references: Mapping[str, Reference]
    primary_reference: str
    partner: CellSample | None = None

    @property
    def dataset(self) -> str:
        """Name of the dataset."""
        return self.cells.dataset

    @property
    def data_origin(self) -> str:
        """What kind of data it is; the weaker one of cells and outcomes."""
        return self.labels.data_origin

    @property
    def cells_hash(self) -> str:
        """Hash of the control cells."""
        return self.cells.cells_hash


@dataclass(frozen=True, slots=True, kw_only=True)
class Pooled:
    """Stands for the data of a row over several datasets (`analyses.pooled`): all names, weakest origin and fit."""

    dataset: str
    data_origin: str
    role_fit: str
    cells_hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulated:
    """Stands for the data of a row that simulates its own: no dataset, no role, no model.

    Settings and seed determine every simulated cell, so that the row states a hash of these as its ``cells_hash``.
    """

    dataset: str = "simulation"
    data_origin: str = "simulated"
    role_fit: str = "full"
    cells_hash: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlEvidence:
    """What one control of the study came out as.

    ``tests`` is its frame of the 153 tests (`qc_standards.multiplicity.FRAME_COLUMNS`), ``tables`` its tables by name,
    ``extended`` the rows of its extended analyses by test id, those that read controls left out.
    """

    tests: pd.DataFrame
    tables: Mapping[str, pd.DataFrame]
    extended: Mapping[str, TestResult]


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalysisInputs:
    """Inputs of one analysis for one release in one study.

    ``roles`` holds the datasets the catalogue row asked for; a role that the study does not fill is absent
    and its reason is in ``absent``. ``settings`` are the analysis settings of the study
    (``battery_settings.BatterySettings``), with ``analysis_depth`` at the depth that ``layer_choice`` fixed;
    ``tests`` are the declared rows of this analysis. ``selection_profile`` is the table behind the choice, empty
    where the settings made it. ``interventions`` is what came of intervening on the release, for the analyses that ask
    for it; where there is none, ``absent["interventions"]`` says why. ``samples`` holds the cells behind the roles of
    an analysis that needs cells, ``readings`` by name what it asked to have read from the running model; an absent
    one has its reason in ``absent`` under the role's or the reading's name. ``controls`` are the study's controls by
    name, for the analyses that ask for them.
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
    samples: Mapping[str, CellSample] = field(default_factory=dict)
    readings: Mapping[str, Reading] = field(default_factory=dict)
    controls: Mapping[str, ControlEvidence] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalysisOutput:
    """Results for every declared row of the analysis, and the tables behind them.

    Table names become ``tables/<name>.parquet``; they are plain frames with one fact a row.
    """

    results: tuple[TestResult, ...]
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)

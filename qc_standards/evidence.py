"""Reading evidence out of the result tables: the one place that selects rows and says what is missing.

What belongs here: typed access to tables for criteria and metrics views. What does not: thresholds.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import pandas as pd

from qc_standards.records import DataOrigin, Status
from qc_standards.registry import PRIMARY_ROLE as PRIMARY_ROLE

_SAME_AS: Final = re.compile(r"same as (A\d+\.\d+)")

_EVALUATION: Final = (
    "study",
    "release",
    "release_kind",
    "base_release",
    "data_origin",
    "context_mismatch",
    "role_fit",
    "untrained",
    "trained_on_evaluated_cells",
    "layer_selected",
    "direction_reference",
    "tf_catalogue",
    "own_gene_measured",
    "screen_own_genes",
    "null_guides",
    "outcome_only",
)
_RESAMPLES: Final = ("resamples_requested", "resamples_done")
_INTERVAL: Final = ("ci_low", "ci_high", *_RESAMPLES)
_EQUALITY: Final = ("margin", "p_equivalent", "equivalent")
_GAIN: Final = ("gene_only", "gene_plus_edge", "delta")
_MATCHED: Final = ("smd_before", "smd_reused", "smd_distinct", "limit", "balanced")

TABLE_COLUMNS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "evaluation": _EVALUATION,
        "lineage": (
            "score",
            "dataset",
            "role",
            "cells_hash",
            "layer",
            "layer_depth",
            "layer_chosen_by",
            "layer_chosen_on",
            "layer_choice",
            "orientation",
            "device",
            "dtype",
            "genes_in_universe",
            "genes_evaluable",
            "missing_pair_share",
        ),
        "evaluability": ("role", "dataset", "stage", "perturbations", "genes", "pairs", "positives"),
        "control_outcomes": ("control", "expected", "observed", "behaves", "reason"),
        "perturbation_auroc": (
            "role",
            "dataset",
            "perturbation",
            "subset",
            "score",
            "auroc",
            "n_positive",
            "n_negative",
        ),
        "baseline_differences": (
            "role",
            "dataset",
            "subset",
            "baseline",
            "edge",
            "n",
            "mean_edge",
            "mean_baseline",
            "mean_difference",
            "ci_low",
            "ci_high",
            "p_two_sided",
            "p_edge_greater",
            "q_edge_greater",
            "resamples_requested",
            "resamples_done",
        ),
        "attention_vs_correlation": (
            "role",
            "dataset",
            "subset",
            "n",
            "mean_difference",
            "ci_low",
            "ci_high",
            "p",
            "equivalence_margin",
            "p_tost",
            "equivalent",
        ),
        "degree_null": (
            "role",
            "dataset",
            "edge",
            "reference",
            "null",
            "observed",
            "null_mean",
            "null_sd",
            "z",
            "p",
            "draws_requested",
            "draws_done",
            "mean_jaccard",
            "tradeable_regulators",
            "degrees_kept",
        ),
        "residual_summary": (
            "role",
            "dataset",
            "edge",
            "reference",
            "learner",
            "auroc_raw",
            "raw_ci_low",
            "raw_ci_high",
            "auroc_residual",
            "kept",
            "kept_ci_low",
            "kept_ci_high",
            "resamples_requested",
            "resamples_done",
        ),
        "incremental_value": (
            "role",
            "dataset",
            "edge",
            "split",
            "learner",
            "metric",
            *_GAIN,
            *_INTERVAL,
            *_EQUALITY,
        ),
        "incremental_power": ("edge", "true_gain", "simulations", "detected", "power"),
        "covariate_r2": (
            *("role", "dataset", "edge", "variant", "learner", "folds_by", "r2", "n_pairs", "n_targets"),
            *_INTERVAL,
        ),
        "circularity": (
            *("role", "dataset", "edge", "reference", "subset", "auroc", "ci_low", "ci_high", "n_positive", "n_pairs"),
            *("n_regulators", "conflicting", "draws_requested", "draws_done", "p_against_size_matched"),
        ),
        "per_regulator": (
            *("role", "dataset", "reference", "edge", "regulator", "n_targets", "n_candidates", "auroc"),
            *("p_exact", "method", "above_chance"),
            *_INTERVAL,
        ),
        "layer_choice": (
            *("dataset", "reference", "criterion", "layer", "layers", "depth", "auroc", "layer_by_f1"),
            *("evaluated_dataset", "same_cells", "cells_hash", "profile_hash", "sha256", "chosen_by"),
        ),
        "layer_selection_profile": ("dataset", "reference", "layer", "depth", "auroc", "chosen", *_INTERVAL),
        "tf_strata": (
            *("role", "dataset", "catalogue", "stratum", "edge", "n_perturbations", "n_pairs", "n_positive", "reason"),
            *(*_GAIN, *_INTERVAL, *_EQUALITY),
        ),
        "matched_balance": (
            *("role", "dataset", "covariate", "n_positive", "n_negative_reused", "n_negative_distinct"),
            *_MATCHED,
        ),
        "matched_value": (
            *("role", "dataset", "edge", "metric", "p", "n_pairs", "n_positive", "n_perturbations", "balanced"),
            *(*_GAIN, *_INTERVAL, *_EQUALITY),
        ),
        "intervention_conditions": (
            *("role", "dataset", "condition", "family", "operation", "pool", "dose", "draw", "size", "parts"),
            *("read_out_layer", "upstream_parts", "upstream", "uses_outcomes", "changed", "cells"),
            *("hidden_distance", "logit_distance"),
        ),
        "intervention_auroc": ("role", "dataset", "condition", "read_out", "perturbation", "auroc"),
        "causal_ablation": (
            *("role", "dataset", "condition", "family", "operation", "pool", "dose", "size", "read_out", "upstream"),
            *("n", "clean_auroc", "mean_auroc", "delta", "p", "random_sets", "random_mean", "p_random"),
            *_INTERVAL,
        ),
        "intervention_fidelity": ("role", "dataset", "condition", "state", "layer", "distance", "cells", *_INTERVAL),
        "head_ranking": (
            *("role", "dataset", "layer", "head", "rank", "reference", "reference_auroc", "screen_auroc"),
            *("composite", "entropy", "upstream"),
        ),
        "screen_scores": ("role", "dataset", "kind", "subset", "basis", "score", "mean_auroc"),
        "modality_audit": ("role", "dataset", "perturbation", "modality", "lfc", "q", "expected", "agrees"),
        "null_calibration_summary": (
            *("test", "replicates", "guides", "n_genes", "mean_p", "share_below_05", "share_low", "share_high"),
            *("ks", "ks_limit", "uniform", "note"),
        ),
        "context_replication": (
            "comparison",
            "context",
            "setting",
            "n_perturbations",
            "mean_difference",
            "sd_difference",
            "ci_low",
            "ci_high",
            "margin",
            "smallest_p",
            "detectable_difference",
            "power_at_margin",
            "reading",
        ),
        "nested_layer_choice": (
            *("fold", "n_train", "n_test", "shared_perturbations", "chosen_by", "layer", "layers"),
            *("edge", "correlation"),
        ),
        "cssi_null": (
            "strata",
            "aggregator",
            "k",
            "n_cells",
            "smallest_stratum",
            "draws_requested",
            "draws_done",
            "pooled",
            "stratified",
            "gain",
            "ci_low",
            "ci_high",
            "p_against_null",
            "gain_called",
        ),
        "label_leakage": (
            *("tissue", "label", "classifier", "cells", "n_cells", "n_labels", "auc", "ci_low", "ci_high"),
            *("balanced_accuracy", "leaks", "reason"),
        ),
        "edge_balance": (
            *("tissue", "balanced_by", "source", "target", "score_full", "score_balanced", "asi"),
            *("blacklisted", "sign_flipped"),
        ),
        "calibration": (
            *("context", "scorer", "calibrator", "fitted_on", "transferred", "used_as_probability", "split_by"),
            *("n_perturbations_fit", "n_perturbations_test", "shared_perturbations", "n_edges_test"),
            *("positive_share", "ece", "ece_equal_size", "auroc"),
        ),
        "conformal": (
            *("context", "scorer", "nominal", "n_calibration", "n_test", "shared_perturbations", "coverage"),
            *("ci_low", "ci_high", "coverage_edges", "coverage_others", "share_empty", "share_single"),
            *("share_double",),
        ),
        "stability": (
            *("quantity", "criterion", "varied", "repeats", "mean", "sd", "lowest", "highest", "readings"),
            *("rank_agreement", "top_overlap"),
        ),
        "noise_ceiling": (
            *("context", "score", "n_perturbations", "draws_requested", "draws_done", "ceiling", "ci_low", "ci_high"),
            *("auroc", "best_baseline"),
        ),
    }
)
"""Columns that standards and criteria read; a table may hold more."""


class MissingEvidenceError(ValueError):
    """A table, column or row that a criterion or standard needs is not there; the message says which."""


def _origin(value: object) -> DataOrigin:
    known = {str(origin): origin for origin in DataOrigin}
    return known.get(str(value), DataOrigin.SIMULATED)


def is_missing(value: Any) -> bool:
    """Whether a scalar cell is None, NaN, NA or empty text."""
    return value is None or value is pd.NA or (isinstance(value, float) and value != value) or value == ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Results frame and tables of one release in one study.

    ``extended`` are its extended tests, where there are any: they say why a table is absent, and decide nothing.
    """

    tests: pd.DataFrame
    tables: Mapping[str, pd.DataFrame]
    extended: pd.DataFrame | None = None

    def table(self, name: str) -> pd.DataFrame:
        """Return the named table with its contracted columns.

        Raises `MissingEvidenceError` when it is absent, empty or lacks a column; an absent table is
        explained by the skipped rows of the battery where these say why.
        """
        if name == "tests":
            return self.tests
        frame = self.tables.get(name)
        if frame is None:
            raise MissingEvidenceError(f"table {name} is absent")
        lacking = [column for column in TABLE_COLUMNS.get(name, ()) if column not in frame.columns]
        if lacking:
            raise MissingEvidenceError(f"table {name} lacks column {', '.join(lacking)}")
        if frame.empty:
            raise MissingEvidenceError(f"table {name} is empty")
        return frame

    def rows(self, name: str, **where: object) -> pd.DataFrame:
        """Rows of a table where every named column equals the value, or is in the list, given for it."""
        return select(self.table(name), where, name)

    def primary_reference(self, name: str) -> str:
        """Name of the reference network the criteria use in a table with a ``reference`` column.

        Rows flagged ``primary`` win; else the evaluation's ``primary_reference``; else the only reference
        the attention rows have. Several references and no name is a `MissingEvidenceError`.
        """
        frame = self.rows(name, role=PRIMARY_ROLE, edge="attention")
        if "primary" in frame.columns:
            frame = frame[frame["primary"].astype(bool)]
        elif "primary_reference" in self.evaluation:
            return str(self.evaluation["primary_reference"])
        names = sorted(frame["reference"].astype(str).unique())
        if len(names) != 1:
            raise MissingEvidenceError(
                f"table {name} holds references {', '.join(names) or 'none'} and none is named primary"
            )
        return str(names[0])

    @property
    def evaluation(self) -> Mapping[str, Any]:
        """The single row of the ``evaluation`` table."""
        frame = self.table("evaluation")
        if len(frame) != 1:
            raise MissingEvidenceError(f"table evaluation has {len(frame)} rows, not 1")
        return MappingProxyType({str(key): value for key, value in frame.iloc[0].to_dict().items()})

    def flag(self, name: str) -> bool | None:
        """What the evaluation states about itself under a yes-or-no column; None where it states neither."""
        value = self.evaluation.get(name)
        return bool(value) if isinstance(value, (bool, np.bool_)) else None

    def why_absent(self, test_ids: Sequence[str]) -> str:
        """Reasons that the named tests were not run, each once; empty when all were run.

        A row skipped as "same as <id>" counts as run when that row was.
        """
        columns = ["test_id", "status", "reason"]
        known = [frame[columns] for frame in (self.tests, self.extended) if frame is not None]
        every = known[0] if len(known) == 1 else pd.concat(known)
        named = every[every["test_id"].isin(list(test_ids))]
        idle = named[named["status"] != Status.RUN.value]
        run = set(self.tests.loc[self.tests["status"] == Status.RUN.value, "test_id"])
        grouped: dict[str, list[str]] = {}
        for test_id, status, reason in idle[columns].itertuples(index=False):
            twin = _SAME_AS.match(str(reason))
            if not (twin and twin.group(1) in run):
                grouped.setdefault(f"{status}: {reason}", []).append(str(test_id))
        return "; ".join(f"{', '.join(ids)} {why}" for why, ids in grouped.items())

    def weakest_origin(self, test_ids: Sequence[str]) -> DataOrigin:
        """Weakest data origin behind the named tests that were run, and the one the evaluation states.

        An unknown origin counts as simulated.
        """
        named = self.tests[self.tests["test_id"].isin(list(test_ids))]
        run = named[named["status"] == Status.RUN.value]
        stated = [self.evaluation["data_origin"], *run["data_origin"]]
        return max((_origin(value) for value in stated), key=list(DataOrigin).index)


def select(frame: pd.DataFrame, where: Mapping[str, Any], name: str) -> pd.DataFrame:
    """Rows of ``frame`` where every column named in ``where`` equals, or is listed in, its value."""
    kept = frame
    for column, wanted in where.items():
        if column not in kept.columns:
            raise MissingEvidenceError(f"table {name} lacks column {column}")
        values = wanted if isinstance(wanted, (list, tuple)) else [wanted]
        kept = kept[kept[column].isin(list(values))]
    return kept

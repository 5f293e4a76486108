"""Settings of the analyses: one field a number that a study may set, with the default it has elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class BatterySettings:
    """Settings of the analyses; defaults are those of paper section 2.4 where it states them."""

    analysis_depth: float = 13 / 17
    bootstrap: int = 200
    folds: int = 5
    boosting: Mapping[str, float] = field(
        default_factory=lambda: MappingProxyType({"iterations": 60, "learning_rate": 0.15, "leaves": 15})
    )
    power_gain: float = 0.005
    power_simulations: int = 20
    label_shuffles: int = 1000
    curveball_networks: int = 200
    curveball_trades: int = 5
    residual_seeds: int = 10
    residual_boosting_seeds: int = 3
    min_positives: int = 3
    min_negatives: int = 3
    min_perturbations: int = 20
    equivalence_margin: float = 0.02
    recall_at: tuple[int, ...] = (10, 50, 100)
    covariate_pairs: int = 100_000
    size_matched_draws: int = 200
    regulator_bootstrap: int = 200
    gain_margin: float = 0.005
    matches_per_positive: int = 5
    matched_smd: float = 0.1
    intervention_tokens: int = 32_000
    random_head_sets: int = 20
    simulation_seeds: int = 5
    synthetic_seeds: int = 20
    simulated_circuits: int = 200
    detectability_draws: int = 5000
    leakage_permutations: int = 1000
    leakage_trees: int = 100
    balance_draws: int = 50
    lodo_draws: int = 1000
    calibration_bins: int = 10
    calibration_bootstrap: int = 200
    ortholog_permutations: int = 1000
    ortholog_floor: float = 0.05
    directionality_pairs: int = 24
    pseudotime_bins: int = 50
    pseudotime_lags: int = 10
    pseudotime_weak: float = 0.2
    pseudotime_shuffles: int = 500
    random_pair_sets: int = 200
    cell_attention_entries: int = 24_000_000
    grid_edge_cells: int = 10_000
    agreement_pairs: int = 40
    agreement_bootstrap: int = 1000
    agreement_shuffles: int = 400
    deletion_cells: int = 16
    mantel_permutations: int = 1000
    scaling_cells: tuple[int, ...] = (200, 1000, 3000)
    scaling_seeds: int = 9
    scaling_bootstrap: int = 10_000
    composition_runs: int = 24
    composition_permutations: int = 10_000
    recovery_cells: tuple[int, ...] = (200, 500, 1000)
    recovery_bootstrap: int = 10_000
    cssi_draws: int = 100
    cssi_minimum: int = 20
    cssi_seeds: int = 10
    cssi_run_draws: int = 5
    cssi_scan_seeds: int = 5
    cssi_k_max: int = 20
    cssi_attention_draws: int = 20
    context_bootstrap: int = 10_000
    restricted_share: float = 2000 / 3309
    mediation_pairs: int = 4
    mediation_cells: int = 24
    mediation_tokens: int = 0
    mediation_set_cells: int = 4
    mediation_permutations: int = 8
    mediation_bootstrap: int = 10_000
    pairwise_bootstrap: int = 10_000
    ceiling_draws: int = 20
    stability_repeats: int = 10
    redrawn_share: float = 0.02
    tissue_bootstrap: int = 10_000
    tissue_permutations: int = 5_000
    partial_samples: int = 200
    top_edges: int = 1000
    regulator_permutations: int = 10_000
    value_cells: int = 200
    value_flips: int = 1000

    def as_mapping(self) -> dict[str, Any]:
        """Plain mapping of every setting, as the analyses receive it."""
        plain = {item.name: getattr(self, item.name) for item in fields(self)}
        return {**plain, "boosting": dict(self.boosting), "recall_at": list(self.recall_at)}

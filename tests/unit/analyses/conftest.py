"""Synthetic analysis inputs with a known answer, small enough for a test in milliseconds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import numpy as np
import pandas as pd
import pytest

from interp_assets.analyses.catalogue import CATALOGUE
from interp_assets.analyses.inputs import AnalysisInputs, RoleInputs
from interp_assets.analyses.scores import candidate_labels
from interp_assets.edges.layers import LayerChoice
from interp_assets.edges.records import AttentionEdges, EdgeMatrix, Reference
from interp_assets.interventions.conditions import Condition, HeadTable, plan_conditions
from interp_assets.interventions.records import Interventions
from qc_standards.records import TestSpec

INTERVENED = (29, 32, 34, 36)
TEST_COUNTS = {entry.number: entry.tests for entry in CATALOGUE}
SETTINGS = MappingProxyType(
    {
        "analysis_depth": 13 / 17,
        "bootstrap": 200,
        "folds": 5,
        "boosting": {"iterations": 20, "learning_rate": 0.15, "leaves": 7},
        "power_gain": 0.005,
        "power_simulations": 20,
        "label_shuffles": 200,
        "curveball_networks": 50,
        "curveball_trades": 5,
        "residual_seeds": 2,
        "residual_boosting_seeds": 1,
        "min_positives": 3,
        "min_negatives": 3,
        "min_perturbations": 20,
        "equivalence_margin": 0.02,
        "recall_at": [10, 50, 100],
        "covariate_pairs": 0,
        "size_matched_draws": 50,
        "regulator_bootstrap": 100,
        "gain_margin": 0.005,
        "matches_per_positive": 5,
        "matched_smd": 0.1,
        "intervention_tokens": 2000,
        "random_head_sets": 4,
        "cell_attention_entries": 100_000,
        "grid_edge_cells": 10_000,
        "agreement_pairs": 40,
        "agreement_bootstrap": 200,
        "agreement_shuffles": 99,
        "deletion_cells": 4,
        "cssi_draws": 12,
        "cssi_minimum": 20,
        "cssi_seeds": 1,
        "cssi_run_draws": 1,
        "cssi_scan_seeds": 2,
        "cssi_k_max": 4,
        "cssi_attention_draws": 5,
        "simulation_seeds": 1,
        "synthetic_seeds": 3,
        "simulated_circuits": 30,
        "detectability_draws": 199,
        "leakage_permutations": 40,
        "leakage_trees": 5,
        "balance_draws": 10,
        "lodo_draws": 40,
        "calibration_bins": 10,
        "calibration_bootstrap": 40,
        "context_bootstrap": 400,
        "restricted_share": 2000 / 3309,
        "mediation_pairs": 2,
        "mediation_cells": 6,
        "mediation_tokens": 32,
        "mediation_set_cells": 3,
        "mediation_permutations": 4,
        "mediation_bootstrap": 200,
        "tissue_bootstrap": 200,
        "tissue_permutations": 199,
        "ortholog_permutations": 99,
        "ortholog_floor": 0.05,
        "directionality_pairs": 24,
        "pseudotime_bins": 50,
        "pseudotime_lags": 10,
        "pseudotime_weak": 0.2,
        "pseudotime_shuffles": 99,
        "random_pair_sets": 99,
        "mantel_permutations": 99,
        "scaling_cells": (20, 40, 60),
        "scaling_seeds": 9,
        "scaling_bootstrap": 200,
        "composition_runs": 12,
        "composition_permutations": 199,
        "recovery_cells": (20, 40, 60),
        "recovery_bootstrap": 200,
        "ceiling_draws": 6,
        "stability_repeats": 4,
        "redrawn_share": 0.02,
    }
)
HASH = "c" * 64
CHOICE = LayerChoice(
    depth=13 / 17,
    chosen_by="best AUROC of curated on elsewhere",
    dataset="elsewhere",
    reference="curated",
    criterion="auroc",
    layer=1,
    layers=2,
    score=0.6,
    cells_hash="e" * 64,
)


@dataclass(frozen=True)
class World:
    """Knobs of a synthetic evaluation. `kind` says where labels and attention come from.

    planted: labels are a regulator network and attention carries it. noise: labels, attention and the
    reference are unrelated. confound: labels follow the target's variance and so does attention; the
    reference is a network whose targets have high variance, so recovery is hub structure only.
    """

    kind: str = "planted"
    genes: int = 150
    perturbations: int = 30
    layers: int = 4
    targets: int = 14
    noise: float = 0.25
    missing: float = 0.0
    listed: float = 1.0
    informative: float = 1.0
    seed: int = 0


def specs(number: int) -> tuple[TestSpec, ...]:
    return tuple(
        TestSpec(
            test_id=f"A{number:02d}.{i}",
            analysis_no=number,
            analysis=f"analysis {number}",
            hypothesis="synthetic",
            test_type="synthetic",
            confirmatory=True,
            family_c_primary=i == 1,
            roles=("primary_screen",),
            effect_kind="declared_kind",
            alternative="two-sided",
            resampling_unit="perturbation",
            comparison="synthetic",
        )
        for i in range(1, TEST_COUNTS[number] + 1)
    )


def edge_matrix(name: str, genes: np.ndarray, score: np.ndarray, layer: int | None = None) -> EdgeMatrix:
    return EdgeMatrix(
        name=name,
        genes=genes,
        score=score.astype(np.float32),
        cells_behind=np.where(np.isnan(score), 0, 100).astype(np.int32),
        cells_hash=HASH,
        layer=layer,
    )


def make_role(world: World, role: str = "primary_screen") -> RoleInputs:
    rng = np.random.default_rng([world.seed, 77])
    g, p = world.genes, world.perturbations
    genes = np.array([f"G{i:04d}" for i in range(g)])
    source = np.sort(rng.choice(g, p, replace=False)).astype(np.int32)
    z = rng.normal(size=g)
    network = draw_network(world, rng, source, z)
    label = draw_labels(world, rng, source, z, network)
    signal = {"planted": 1.0 * network, "noise": np.zeros((g, g)), "confound": np.tile(0.8 * z, (g, 1))}[world.kind]
    spread = {"planted": world.noise, "noise": 1.0, "confound": 1.0}[world.kind]
    layers = [signal * (k + 1) / world.layers + rng.normal(0, spread, (g, g)) for k in range(world.layers)]
    for scores in layers:
        scores[rng.random((g, g)) < world.missing] = np.nan
    informative = rng.random(g) < world.informative
    variance = np.exp(z)
    features = pd.DataFrame(
        {
            "mean": np.exp(0.6 * z + rng.normal(0, 0.8, g)),
            "variance": variance,
            "dropout": 1 / (1 + np.exp(0.5 * z + rng.normal(0, 1, g))),
            "out_degree": rng.poisson(2, g),
            "is_tf": np.isin(np.arange(g), source[::2]),
        },
        index=genes,
    )
    attention = AttentionEdges(
        release="synthetic",
        dataset="synthetic-screen",
        genes=genes,
        layers=world.layers,
        heads=4,
        cells_hash=HASH,
        layer_matrix=lambda k: edge_matrix("attention", genes, layers[k], k),
    )
    trivial = {name: edge_matrix(name, genes, rng.normal(size=(g, g))) for name in ("rank_distance", "co_detection")}
    regulator, target = np.nonzero(network)
    signed = 0.3 * z + rng.normal(0, 1, (g, g))
    de_rate = np.tile((label == 1).sum(axis=0) / np.maximum(1, (label >= 0).sum(axis=0)), (p, 1))
    reference = Reference(
        name="planted",
        genes=genes,
        source=regulator.astype(np.int32),
        target=target.astype(np.int32),
        directed=True,
        regulators=source,
        direction=rng.choice(np.array([1, -1, 2, 0], dtype=np.int8), regulator.size, p=[0.35, 0.2, 0.05, 0.4]),
    )
    return RoleInputs(
        role=role,
        dataset="synthetic-screen",
        data_origin="simulated",
        role_fit="full",
        genes=genes,
        perturbations=genes[source],
        source=source,
        label=label,
        informative=informative,
        features=features,
        attention=attention,
        correlation=edge_matrix("correlation", genes, np.abs(signed)),
        signed_correlation=edge_matrix("correlation_signed", genes, signed),
        de_rate=de_rate,
        tf_catalogue="synthetic_catalogue",
        trivial=trivial,
        references={"planted": reference},
        primary_reference="planted",
        exclusions=pd.DataFrame({"perturbation": [], "reason": []}, dtype=str),
        evaluability=pd.DataFrame(),
    )


def draw_network(world: World, rng: np.random.Generator, source: np.ndarray, z: np.ndarray) -> np.ndarray:
    network = np.zeros((world.genes, world.genes), dtype=bool)
    weight = np.exp(1.5 * z) if world.kind == "confound" else np.ones(world.genes)
    for regulator in source:
        odds = weight.copy()
        odds[regulator] = 0.0
        network[regulator, rng.choice(world.genes, world.targets, replace=False, p=odds / odds.sum())] = True
    return network


def draw_labels(
    world: World, rng: np.random.Generator, source: np.ndarray, z: np.ndarray, network: np.ndarray
) -> np.ndarray:
    shape = (source.size, world.genes)
    if world.kind == "planted":
        label = network[source].astype(np.int8)
    elif world.kind == "noise":
        label = (rng.random(shape) < world.targets / world.genes).astype(np.int8)
    elif world.kind == "confound":
        label = (rng.random(shape) < 1 / (1 + np.exp(2.5 - 1.5 * z))).astype(np.int8)
    else:
        raise ValueError(f"unknown world {world.kind}")
    label[rng.random(shape) >= world.listed] = -1
    label[np.arange(source.size), source] = -1
    return label


@dataclass(frozen=True)
class Intervened:
    """Knobs of a made-up run of interventions.

    ``effects`` by condition (what its AUROC changes by, 0.05 sd around it); others change by noise. What cannot act on
    a read-out leaves it as it is. ``logits`` False: a release without a token head.
    """

    shape: tuple[int, int] = (18, 18)
    read_out: int = 13
    random_sets: int = 4
    effects: Mapping[str, float] = field(default_factory=dict)
    logits: bool = True
    seed: int = 0


def intervened(perturbations: np.ndarray, knobs: Intervened) -> Interventions:
    """Made-up run of the conditions that a model of that shape has."""
    rng = np.random.default_rng([knobs.seed, 29])
    table = HeadTable(**{name: rng.random(knobs.shape) for name in ("reference", "screen", "entropy")})
    conditions = plan_conditions(table, knobs.read_out, knobs.random_sets, knobs.seed)
    last = knobs.shape[0] - 1
    clean = dict(
        zip(("attention", "last_attention", "logits"), rng.uniform(0.4, 0.9, (3, perturbations.size)), strict=True)
    )
    acts = {"attention": knobs.read_out, "last_attention": last, "logits": knobs.shape[0]}
    rows, aurocs, fidelity = [], [], []
    for read_out, values in clean.items():
        aurocs.append(
            pd.DataFrame({"condition": "clean", "read_out": read_out, "perturbation": perturbations, "auroc": values})
        )
    for condition in conditions:
        distance = rng.uniform(0.02, 0.4, knobs.shape[0] + 1)
        rows.append(condition_row(condition, knobs, distance))
        for read_out, values in clean.items():
            change = rng.normal(knobs.effects.get(condition.name, 0.0), 0.05, perturbations.size)
            changed = values + change if condition.first_layer < acts[read_out] else values
            told = {"condition": condition.name, "read_out": read_out, "perturbation": perturbations, "auroc": changed}
            aurocs.append(pd.DataFrame(told))
        for layer in (*range(condition.first_layer, last + 1), -1):
            told = {"condition": condition.name, "state": "logits" if layer < 0 else "hidden", "layer": layer}
            numbers = {"distance": distance[layer], "ci_low": distance[layer] - 0.01, "ci_high": distance[layer] + 0.01}
            fidelity.append({**told, **numbers, "resamples_requested": 200, "resamples_done": 200, "cells": 40})
    known = pd.concat(aurocs, ignore_index=True)
    moved = pd.DataFrame(fidelity)
    if not knobs.logits:
        known, moved = known[known["read_out"] != "logits"], moved[moved["state"] != "logits"]
    heads = pd.DataFrame([{"layer": layer, "head": head} for layer, head in np.ndindex(*knobs.shape)])
    facts = {"cells": 40, "tokens": 1900, "missing_pair_share": 0.1, "read_out_layer": knobs.read_out}
    return Interventions(conditions=pd.DataFrame(rows), aurocs=known, fidelity=moved, heads=heads, facts=facts)


def condition_row(condition: Condition, knobs: Intervened, distance: np.ndarray) -> dict[str, object]:
    layers = [int(part.removeprefix("mlp.").split(".")[0]) for part in condition.parts.split(";")]
    plain = ("family", "operation", "pool", "dose", "draw", "size", "parts", "first_layer", "uses_outcomes")
    return {
        "condition": condition.name,
        **{name: getattr(condition, name) for name in plain},
        "read_out_layer": knobs.read_out,
        "upstream_parts": sum(layer < knobs.read_out for layer in layers),
        "upstream": max(layers) < knobs.read_out,
        "upstream_of_last": max(layers) < knobs.shape[0] - 1,
        "changed": True,
        "hidden_distance": distance[condition.first_layer : -1].max(),
        "logit_distance": distance[-1] if knobs.logits else np.nan,
        "cells": 40,
    }


def scored_perturbations(role: RoleInputs) -> np.ndarray:
    label = candidate_labels(role)
    return role.perturbations[((label == 1).sum(axis=1) >= 3) & ((label == 0).sum(axis=1) >= 3)]


@pytest.fixture(scope="session")
def make_interventions() -> Callable[..., Interventions]:
    """Factory ``make_interventions(role, **knobs of Intervened)``."""
    return lambda role, **knobs: intervened(scored_perturbations(role), Intervened(**knobs))


@pytest.fixture(scope="session")
def make_inputs() -> Callable[..., AnalysisInputs]:
    """Factory ``make_inputs(number, kind="planted", settings={...}, seed=0, **knobs of World)``.

    `alter` maps the role inputs before use; ``absent="reason"`` leaves the role unfilled.
    """

    def factory(
        number: int,
        kind: str = "planted",
        *,
        settings: Mapping[str, object] | None = None,
        alter: Callable[[RoleInputs], RoleInputs] | None = None,
        absent: str = "",
        **knobs: object,
    ) -> AnalysisInputs:
        world = replace(World(kind=kind), **knobs)
        role = make_role(world)
        if alter is not None:
            role = alter(role)
        missing = {"primary_screen": absent} if absent else {}
        changed = None
        if number in INTERVENED and scored_perturbations(role).size:
            changed = intervened(scored_perturbations(role), Intervened(seed=world.seed))
        elif number in INTERVENED:
            missing["interventions"] = "no perturbation has enough positive and negative candidates"
        return AnalysisInputs(
            study="synthetic",
            release="synthetic-release",
            tests=specs(number),
            roles={} if absent else {"primary_screen": role},
            absent=missing,
            settings={**SETTINGS, **(settings or {})},
            seed=world.seed,
            layer_choice=CHOICE,
            selection_profile=pd.DataFrame({"layer": [0, 1], "f1_at_positives": [0.1, 0.2]}),
            interventions=changed,
        )

    return factory

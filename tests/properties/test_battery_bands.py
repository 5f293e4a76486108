"""Bands of the criteria on planted worlds: the real analyses and criteria, real cells, scores of known nature.

A score that knows the planted network must clear criteria a, b and c by a margin; scores that know co-expression,
gene variance or nothing must not, whatever the seed. One smaller world with fewer resamples is in the fast suite;
three seeds at full size, with the learners and bootstraps of `demo`, are marked slow. Bands, not values, so that a
better recipe does not break them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pandas as pd
import pytest

from interp_assets.analyses.assemble import DatasetArtefacts
from interp_assets.analyses.catalogue import built
from interp_assets.battery import Gathered, all_rows, layer_choice, run_analysis, study_roles
from interp_assets.battery_settings import BatterySettings
from interp_assets.cells.artefacts import Archive, pairwise_edges, prepared_cells, reference_networks, screen_outcomes
from interp_assets.cells.datasets import load_datasets
from interp_assets.cells.features import gene_features
from interp_assets.cells.planted import PlantedScreen, plant
from interp_assets.cells.planted_labels import screen_labels
from interp_assets.cells.planted_params import PlantedParams
from interp_assets.cells.planted_scores import confound_only, planted_score, shuffled
from interp_assets.cells.records import PreparedCells, ScreenLabels
from interp_assets.cells.sources import SourceContext
from interp_assets.edges.records import AttentionEdges, EdgeMatrix
from interp_assets.edges.references import planted_reference
from interp_assets.evaluation_tables import evaluation_table
from interp_assets.models.records import ReleaseCard
from interp_assets.models.sourcing import PLANTED, planted_control_attention
from interp_assets.settings import PACKAGE, AttentionSettings, RoleFilling, Study, load_study
from qc_standards.claims import claims_registry
from qc_standards.criteria import CriterionResult, judge_criterion
from qc_standards.evidence import Evidence
from qc_standards.multiplicity import results_frame
from qc_standards.records import Outcome

SCREEN = "planted_world"
NEGATIVES = ("coexpression", "shuffled", "confound_only")
SCORES = ("planted", *NEGATIVES)
JUDGED = tuple(row for row in built() if row.for_controls)
# Enough genes and resamples for the bands, few enough for the fast suite.
SMALL = PlantedParams(n_perturbations=80, n_genes=900)
QUICK = BatterySettings(
    bootstrap=30,
    boosting=MappingProxyType({"iterations": 40, "learning_rate": 0.2, "leaves": 15}),
    power_simulations=1,
    label_shuffles=20,
    curveball_networks=20,
    residual_seeds=1,
    residual_boosting_seeds=1,
)
THOROUGH = BatterySettings(
    power_simulations=1, label_shuffles=20, curveball_networks=50, residual_seeds=2, residual_boosting_seeds=1
)


@dataclass(frozen=True)
class World:
    """One planted screen with everything that is stored of a dataset."""

    labels: ScreenLabels
    artefacts: DatasetArtefacts
    scores: Mapping[str, EdgeMatrix]


def dense(world: DatasetArtefacts, name: str, rows: np.ndarray) -> EdgeMatrix:
    """Scores of the perturbed genes as gene x gene edges; no other gene is a regulator here."""
    correlation = world.edges["correlation"]
    score = np.full(correlation.score.shape, np.nan, dtype=np.float32)
    score[pd.Index(correlation.genes).get_indexer(world.labels.perturbations)] = rows
    return replace(correlation, name=name, score=score)


def make_world(base: PreparedCells, pairs: pd.DataFrame, params: PlantedParams) -> World:
    screen: PlantedScreen = plant(base, pairs, params)
    labels = replace(screen_labels(base, screen), dataset=SCREEN)
    cells = replace(base, dataset=SCREEN, universe=labels.genes)
    reference = planted_reference(labels, labels.genes)
    artefacts = DatasetArtefacts(
        labels=labels,
        features=gene_features(cells, reference),
        edges=pairwise_edges(cells),
        references={"planted": reference},
    )
    rng = np.random.default_rng([params.seed, 9])
    weight = labels.planted_weight
    assert weight is not None
    planted = planted_score(weight, params.score_noise, rng)
    rows = {
        "planted": planted,
        "shuffled": shuffled(planted, rng),
        "confound_only": confound_only(screen.network.variance_score, len(planted), rng),
    }
    scores = {name: dense(artefacts, name, score) for name, score in rows.items()}
    return World(labels, artefacts, {**scores, "coexpression": artefacts.edges["correlation"]})


def as_attention(name: str, edges: EdgeMatrix) -> AttentionEdges:
    return AttentionEdges(
        release=name,
        dataset=SCREEN,
        genes=edges.genes,
        layers=1,
        heads=1,
        cells_hash=edges.cells_hash,
        layer_matrix=lambda layer: replace(edges, name="attention", layer=layer),
    )


def study_of(battery: BatterySettings) -> Study:
    demo = load_study(PACKAGE / "studies" / "demo.yaml")
    roles = {"primary_screen": RoleFilling(dataset=SCREEN, role_fit="full")}
    return replace(demo, roles=roles, references=("planted",), battery=battery)


def judged(
    release: str, attention: AttentionEdges, artefacts: DatasetArtefacts, battery: BatterySettings
) -> dict[str, CriterionResult]:
    """Criteria a, b and c of one score, from the tables of the real analyses."""
    study = study_of(battery)
    roles, absent = study_roles(study, release, JUDGED, {SCREEN: artefacts}, {SCREEN: attention})
    choice = layer_choice(study, release, None, None)
    # Only what the criteria read, as for any control.
    gathered = Gathered(choice=choice, roles=roles, absent=absent)
    outputs = {row.number: run_analysis(study, release, row, gathered) for row in JUDGED}
    results = all_rows([row for output in outputs.values() for row in output.results], release)
    tables = {name: table for output in outputs.values() for name, table in output.tables.items()}
    card = ReleaseCard(name=release, kind="release", family="edge_table", release_id=release)
    tables["evaluation"] = evaluation_table(study, card, roles, results, {}, tables, choice[0])
    evidence = Evidence(tests=results_frame(results), tables=tables)
    criteria = claims_registry().criteria
    return {name: judge_criterion(evidence, criteria[name]) for name in "abc"}


def judge_world(world: World, battery: BatterySettings) -> dict[str, dict[str, CriterionResult]]:
    return {name: judged(name, as_attention(name, world.scores[name]), world.artefacts, battery) for name in SCORES}


def number(result: CriterionResult, part: str, name: str) -> float:
    (found,) = [entry.numbers[name] for entry in result.parts if entry.name == part]
    assert found is not None
    return found


def assert_planted_clears_its_bands(found: Mapping[str, CriterionResult]) -> None:
    for name in "abc":
        assert found[name].outcome is Outcome.PASS, f"{name}: {found[name].reason}"
    assert min(number(found["a"], part, "mean") for part in ("variance", "mean", "one_minus_dropout")) >= 0.04
    assert len(found["b"].parts) == 18
    assert min(number(found["b"], part.name, "ci_low") for part in found["b"].parts) >= 0.03
    for learner in ("ols", "boosting"):
        assert number(found["c"], f"residual/{learner}", "kept") >= 0.9
    assert number(found["c"], "degree", "z") >= 20


def assert_signal_bands(found: Mapping[str, Mapping[str, CriterionResult]]) -> None:
    assert_planted_clears_its_bands(found["planted"])
    for name in NEGATIVES:
        outcomes = {key: result.outcome for key, result in found[name].items()}
        assert outcomes["a"] is Outcome.FAIL, f"{name}: {found[name]['a'].reason}"
        assert outcomes["b"] is not Outcome.PASS, f"{name}: {found[name]['b'].reason}"
        assert outcomes["c"] is not Outcome.PASS, f"{name}: {found[name]['c'].reason}"


def assert_confound_bands(found: Mapping[str, Mapping[str, CriterionResult]]) -> None:
    for name in SCORES:
        for key in "ab":
            assert found[name][key].outcome is not Outcome.PASS, f"{name} {key}: {found[name][key].reason}"


def test_only_the_planted_network_clears_a_signal_world(pancreas, known_pairs) -> None:
    assert_signal_bands(judge_world(make_world(pancreas, known_pairs, SMALL), QUICK))


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_only_the_planted_network_clears_signal_worlds_at_full_settings(pancreas, known_pairs, seed) -> None:
    world = make_world(pancreas, known_pairs, PlantedParams(seed=seed, network_seed=seed))
    assert_signal_bands(judge_world(world, THOROUGH))


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_confound_world_opens_neither_a_nor_b(pancreas, known_pairs, seed) -> None:
    world = make_world(pancreas, known_pairs, PlantedParams(world="confound", seed=seed, network_seed=seed))
    assert_confound_bands(judge_world(world, THOROUGH))


def tiny_world(seed: int, wheels: Path, folder: Path) -> tuple[PreparedCells, DatasetArtefacts]:
    """Cells and artefacts of a screen like `planted_tiny`, with another network and other cells."""
    datasets = dict(load_datasets(None))
    tiny = datasets["planted_tiny"]
    knobs = {**tiny.planted, "seed": seed, "network_seed": seed}
    datasets[SCREEN] = replace(tiny, id=SCREEN, planted=knobs)
    archive = Archive(datasets=datasets, context=SourceContext(wheels=wheels, cache=folder, allow_download=False))
    cells = prepared_cells(archive, SCREEN)
    assert isinstance(cells, PreparedCells)
    labels = screen_outcomes(archive, SCREEN, cells)
    assert isinstance(labels, ScreenLabels)
    references = reference_networks(archive, ("planted",), cells, labels)
    assert isinstance(references, dict)
    features = gene_features(cells, references["planted"])
    return cells, DatasetArtefacts(labels=labels, features=features, edges=pairwise_edges(cells), references=references)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_the_constructed_transformer_clears_tiny_worlds(data_wheels, tmp_path, seed) -> None:
    cells, artefacts = tiny_world(seed, data_wheels, tmp_path / "files")
    settings = AttentionSettings(device="cpu")
    attention = planted_control_attention(
        cells, artefacts.labels, artefacts.references, tmp_path / "control", settings, seed
    )
    found = judged(PLANTED, attention, artefacts, THOROUGH)
    for name in "abc":
        assert found[name].outcome is Outcome.PASS, f"{name}: {found[name].reason}"

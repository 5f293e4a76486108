from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from interp_assets.analyses.assemble import DatasetArtefacts
from interp_assets.calibration import scores
from interp_assets.calibration.catalogue import BLOCKS, NOISE, STRENGTHS, worlds
from interp_assets.calibration.judging import confirmatory
from interp_assets.calibration.screens import Screen, draw_within, with_permuted_outcomes
from interp_assets.cells.records import ScreenLabels
from interp_assets.edges.records import EdgeMatrix
from qc_standards.claims import claims_registry

GENES, PERTURBED = 40, 6


@pytest.fixture
def screen() -> Screen:
    rng = np.random.default_rng(3)
    genes = np.array([f"G{i:02d}" for i in range(GENES)])
    source = np.arange(0, 2 * PERTURBED, 2)
    label = (rng.random((PERTURBED, GENES)) < 0.2).astype(np.int8)
    label[np.arange(PERTURBED), source] = -1
    square = rng.random((GENES, GENES)).astype(np.float32)
    square = (square + square.T) / 2
    np.fill_diagonal(square, 1.0)
    edges = EdgeMatrix(
        name="correlation",
        genes=genes,
        score=square,
        cells_behind=np.ones((GENES, GENES), dtype=np.int32),
        cells_hash="cells",
    )
    labels = ScreenLabels(
        dataset="calibration",
        data_origin="semi_synthetic",
        kind="cells",
        modality="CRISPRi",
        perturbations=genes[source],
        genes=genes,
        label=label,
        informative=np.ones(GENES, dtype=bool),
        table=pd.DataFrame(),
        exclusions=pd.DataFrame(columns=["perturbation", "reason"]),
        baseline_label=label.copy(),
    )
    artefacts = DatasetArtefacts(labels=labels, features=pd.DataFrame(), edges={"correlation": edges}, references={})
    return Screen(
        seed=5,
        artefacts=artefacts,
        weight=rng.normal(size=(PERTURBED, GENES)) * (rng.random((PERTURBED, GENES)) < 0.3),
        source=source.astype(np.intp),
        variance_score=rng.normal(size=GENES),
        elsewhere=replace(edges, name="elsewhere"),
        mean_elsewhere=rng.random(GENES),
    )


def test_every_null_is_a_declared_confirmatory_test():
    named = {test for world in worlds().values() for test in world.nulls}
    assert named <= confirmatory()


def test_every_confirmatory_test_on_the_primary_screens_outcomes_has_a_true_null():
    named = {test for world in worlds().values() for test in world.nulls}
    of_analyses = {test for test in confirmatory() if int(test[1:].split(".")[0]) in (16, 19, 21, 22, 35)}
    assert of_analyses
    assert of_analyses <= named


def test_the_three_noises_face_every_criterion_and_no_planted_world_is_a_noise():
    declared = set(claims_registry().criteria)
    for kind in ("pure", "confound-only", "co-expression-only"):
        faced = {criterion for world in NOISE if world.noise == kind for criterion in world.criteria}
        assert {"a", "b", "c"} <= faced <= declared
    assert not [world.name for world in worlds().values() if world.strength is not None and world.noise]


def test_worlds_and_blocks_have_names_of_their_own():
    assert max(Counter(world.name for block in BLOCKS for world in block.worlds).values()) == 1
    assert max(Counter(block.name for block in BLOCKS).values()) == 1
    assert list(STRENGTHS) == sorted(set(STRENGTHS))


def test_a_true_null_on_permuted_outcomes_is_a_test_that_reads_outcomes():
    for world in worlds().values():
        if world.name.endswith("/permuted"):
            assert not {test for test in world.nulls if test.startswith(("A16", "A25"))}


def test_shares_are_drawn_within_every_type_and_the_rest_is_by_lot():
    types = np.array(["a"] * 10 + ["b"] * 5 + ["c"])
    drawn = np.array([draw_within(types, 0.5, np.random.default_rng(seed)) for seed in range(200)])
    assert set(drawn[:, :10].sum(axis=1)) == {5}
    assert set(drawn[:, 10:15].sum(axis=1)) == {2, 3}
    assert 0.35 < drawn[:, 15].mean() < 0.65
    assert np.abs(drawn[:, :10].mean(axis=0) - 0.5).max() < 0.15


def test_permuted_outcomes_keep_counts_and_candidates_and_move_both_configurations_together(screen):
    before, after = screen.artefacts.labels, with_permuted_outcomes(screen).artefacts.labels
    assert np.array_equal(before.label == -1, after.label == -1)
    assert np.array_equal((before.label == 1).sum(axis=1), (after.label == 1).sum(axis=1))
    assert np.array_equal(after.label, after.baseline_label)
    assert (before.label != after.label).any(axis=1).all()
    again = with_permuted_outcomes(screen).artefacts.labels
    assert np.array_equal(after.label, again.label)


def test_co_expression_of_others_is_a_row_of_another_gene_and_never_a_gene_with_itself(screen):
    found = scores.coexpression_of_others(screen)
    rows = screen.elsewhere.score[screen.source].astype(float)
    taken = [int(np.argmin([np.abs(row - own).sum() for own in rows])) for row in found]
    assert sorted(taken) == list(range(PERTURBED))
    assert taken != list(range(PERTURBED))
    for row, origin in enumerate(taken):
        own = screen.source[row]
        place = screen.source[origin]
        changed = np.flatnonzero(found[row] != rows[origin])
        assert set(changed) <= {place}
        assert found[row, place] == screen.elsewhere.score[place, own]


def test_target_mean_is_one_value_a_gene_whatever_the_regulator(screen):
    found = scores.mean_elsewhere(screen)
    assert (found == screen.mean_elsewhere).all()


def test_the_gene_confound_follows_variance_and_gives_regulators_levels(screen):
    many = np.mean([scores.gene_confound(replace(screen, seed=seed)) for seed in range(300)], axis=0)
    slope = np.polyfit(screen.variance_score, many.mean(axis=0), 1)[0]
    assert slope == pytest.approx(0.8, abs=0.05)
    levels = np.array([scores.gene_confound(replace(screen, seed=s)).mean(axis=1) for s in range(300)])
    assert levels.std() == pytest.approx((0.4**2 + 1 / GENES) ** 0.5, rel=0.1)


def test_strength_is_the_usual_edge_over_the_noise(screen):
    edge = np.abs(screen.weight) / 1.8
    noise = {s: (scores.planted_at(s)(screen) - edge).std() for s in (0.5, 4.0)}
    assert noise[0.5] == pytest.approx(2.0, rel=0.1)
    assert noise[4.0] == pytest.approx(0.25, rel=0.1)


def test_a_score_stands_in_for_attention_at_the_rows_of_perturbed_genes_only(screen):
    attention = scores.as_attention(screen, scores.pure(screen), "pure")
    matrix = attention.layer_matrix(0)
    assert np.isnan(np.delete(matrix.score, screen.source, axis=0)).all()
    assert np.isnan(np.diag(matrix.score)).all()
    assert np.isfinite(matrix.score[screen.source]).sum() == PERTURBED * (GENES - 1)
    assert attention.cells_hash == screen.artefacts.edges["correlation"].cells_hash

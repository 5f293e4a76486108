"""Analysis 5: planted agreement is found, confounded agreement is not, and what is lacking is said."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import sparse, stats

from interp_assets.analyses.inputs import AnalysisInputs, CellSample
from interp_assets.analyses.screen_agreement import NO_TYPES, SCREENS, TESTS, screen_agreement
from interp_assets.cells.composition import COMPOSITION_SHIFT
from interp_assets.cells.outcomes import no_outcomes
from interp_assets.cells.records import PreparedCells
from interp_assets.readings.records import Reading
from qc_standards.records import Status
from qc_standards.registry import tests_of_analysis

SOURCES, TARGETS = 20, 40
SETTINGS = {"agreement_bootstrap": 200, "agreement_shuffles": 199}


def screen(role, rng, *, common=0.0, modality="crispri", shift=True) -> tuple[CellSample, pd.DataFrame, np.ndarray]:
    """Screen of 20 sources; ``common`` moves every target by its expression, whatever the source."""
    genes = np.array([*(f"S{n}" for n in range(SOURCES)), *(f"T{n}" for n in range(TARGETS))])
    log = sparse.csr_matrix(rng.gamma(2.0, rng.uniform(0.2, 2.0, genes.size), (30, genes.size)).astype(np.float32))
    cells = PreparedCells(
        dataset=f"screen of {role}",
        species="human",
        data_origin="simulated",
        counts=log,
        log=log,
        genes=genes,
        obs=pd.DataFrame(index=[f"c{n}" for n in range(30)]),
        control=np.arange(30) < 25,
        cells_hash="d" * 64,
        universe=genes,
    )
    mean = np.asarray(log[:25].mean(axis=0)).ravel()
    fold = rng.normal(size=(SOURCES, TARGETS)) + common * stats.zscore(mean[SOURCES:])
    table = pd.DataFrame(
        [
            {"perturbation": f"S{s}", "gene": f"T{t}", "lfc": fold[s, t], "p": 0.5, "q": 0.5, "label": 0}
            for s, t in np.ndindex(fold.shape)
        ]
    )
    facts = {COMPOSITION_SHIFT: {f"S{n}": float(rng.uniform()) for n in range(SOURCES)} if shift else {}}
    labels = replace(no_outcomes(cells), table=table, modality=modality, facts=facts)
    sample = CellSample(
        role=role, role_fit="full", cells=cells, labels=labels, references={}, primary_reference="curated"
    )
    return sample, table, fold


def made(seed=0, *, agree=0.0, common=0.0, pairs=40, modality="crispri", shift=True) -> AnalysisInputs:
    """Four screens; the model moves targets like the screen does to the degree ``agree``."""
    samples, frames, roles = {}, [], {}
    for number, role in enumerate(SCREENS):
        rng = np.random.default_rng([seed, number])
        sample, _, fold = screen(role, rng, common=common, modality=modality, shift=shift)
        source = np.arange(pairs) % SOURCES
        target = (np.arange(pairs) * 7 + np.arange(pairs) // SOURCES) % TARGETS
        mean = np.asarray(sample.cells.log[:25].mean(axis=0)).ravel()[SOURCES:]
        model = agree * fold[source, target] + common * stats.zscore(mean)[target] + rng.normal(size=pairs)
        frames.append(
            pd.DataFrame(
                {
                    "role": role,
                    "dataset": sample.dataset,
                    "source": [f"S{n}" for n in source],
                    "target": [f"T{n}" for n in target],
                    "listed": True,
                    "cells_with_both": 20,
                    "cells": 16,
                    "logit_change": model,
                    "logit_change_se": 0.1,
                    "cosine_distance": np.abs(model),
                    "cosine_distance_se": 0.1,
                }
            )
        )
        samples[role] = sample
        roles[role] = {"cells_hash": sample.cells_hash, "reference": "curated"}
    facts = {"roles": roles, "reasons": {}, "agreement_pairs": 40, "deletion_cells": 16}
    return AnalysisInputs(
        study="toy",
        release="tiny",
        tests=tests_of_analysis(5),
        roles={},
        samples=samples,
        settings=SETTINGS,
        seed=seed,
        readings={"deletions": Reading(tables={"deletion_pairs": pd.concat(frames, ignore_index=True)}, facts=facts)},
    )


def with_pairs(inputs, change):
    found = inputs.readings["deletions"]
    return replace(inputs, readings={"deletions": replace(found, tables={"deletion_pairs": change(found)})})


def test_tests_name_their_screens_and_adjustment():
    for spec in tests_of_analysis(5):
        role, adjusted = TESTS[spec.test_id]
        assert spec.roles == (role,)
        assert adjusted == spec.hypothesis.startswith("Confound-adjusted")


def test_planted_agreement_is_found_raw_and_adjusted():
    output = screen_agreement(made(agree=2.0))
    for result in output.results:
        assert result.status is Status.RUN
        assert 0.75 < result.effect < 1.0
        assert result.p == 1 / 200
        assert result.ci_low > 0.5
        assert (result.n, result.unit, result.resamples_done) == (40, "source-target pair", 199)
        assert abs(result.null_mean) < 0.2
        told = "0.46" if TESTS[result.test_id][1] else "0.44"
        assert f"40 pairs show a correlation of {told} or more with power .8" in result.direction


def test_raw_rows_are_scipys_spearman():
    inputs = made(agree=0.5)
    output = screen_agreement(inputs)
    pairs = output.tables["agreement_pairs"]
    for result in output.results:
        role, adjusted = TESTS[result.test_id]
        own = pairs[pairs["role"] == role]
        wanted = stats.spearmanr(own["logit_change"], own["measured_effect"])
        if not adjusted:
            assert result.effect == pytest.approx(wanted.statistic)
            assert json.loads(result.settings_used)["p_asymptotic"] == pytest.approx(wanted.pvalue)
            continue
        names = ["target_expression", "source_expression", "composition_shift"]
        table = own[["logit_change", "measured_effect", *names]].rank().to_numpy()
        precision = np.linalg.inv(np.corrcoef(table.T))
        assert result.effect == pytest.approx(-precision[0, 1] / np.sqrt(precision[0, 0] * precision[1, 1]))


def test_noise_gives_no_finding():
    found = [result.p for seed in range(8) for result in screen_agreement(made(seed)).results if result.p is not None]
    assert np.mean(np.array(found) < 0.05) < 0.17
    assert stats.kstest(found, "uniform").pvalue > 0.005


def test_what_targets_do_under_every_source_is_no_agreement():
    """Raw correlation is large, its shuffled null as large; given expression nothing is left."""
    p, raw, adjusted, null = [], [], [], []
    for seed in range(5):
        output = screen_agreement(made(seed, common=3.0))
        first, second = output.results[:2]
        p.append(first.p)
        raw.append(first.effect)
        adjusted.append(second.effect)
        null.append(first.null_mean)
        assert first.ci_low > 0
        assert ("the interval leaves 0 out, but with shuffled sources" in first.direction) == (first.p > 0.05)
    assert min(raw) > 0.6
    assert min(null) > 0.6
    assert np.median(p) > 0.1
    assert abs(np.mean(adjusted)) < 0.25


def test_a_screen_that_raises_genes_has_its_sign_turned():
    down, up = made(agree=2.0), made(agree=2.0, modality="CRISPRa")
    first = screen_agreement(down).results[0]
    second = screen_agreement(up).results[0]
    assert second.effect == pytest.approx(-first.effect)
    pairs = screen_agreement(up).tables["agreement_pairs"]
    assert (pairs["measured_fold"] == -pairs["measured_effect"]).all()


def test_a_screen_whose_direction_is_not_known_is_skipped():
    output = screen_agreement(made(agree=2.0, modality="none"))
    assert {result.status for result in output.results} == {Status.SKIPPED}
    assert "whether 'none' raises or lowers a gene is not known" in output.results[0].reason
    knocked = screen_agreement(made(agree=2.0, modality="crisprko")).results[0]
    assert knocked.effect == screen_agreement(made(agree=2.0)).results[0].effect


def test_without_cell_types_the_shift_is_left_out_and_said():
    output = screen_agreement(made(agree=1.0, shift=False))
    adjusted = output.results[1]
    assert NO_TYPES in adjusted.direction
    assert '"covariates":["target_expression","source_expression"]' in adjusted.settings_used
    assert NO_TYPES not in output.results[0].direction
    summary = output.tables["agreement_summary"]
    assert (summary.loc[summary["adjusted"], "left_out"] == NO_TYPES).all()
    assert len(summary) == 4 * 2 * 2


def test_few_pairs_and_lacking_predictions_are_skipped():
    few = with_pairs(made(), lambda found: found.tables["deletion_pairs"].groupby("role").head(6))
    output = screen_agreement(few)
    assert {result.status for result in output.results} == {Status.SKIPPED}
    assert "6 pairs of 6 sources" in output.results[0].reason
    headless = with_pairs(made(), lambda found: found.tables["deletion_pairs"].assign(logit_change=np.nan))
    assert "no token head" in screen_agreement(headless).results[0].reason
    flat = with_pairs(made(), lambda found: found.tables["deletion_pairs"].assign(logit_change=1.0))
    assert "does not vary" in screen_agreement(flat).results[0].reason


def test_absent_screens_and_readings_say_why():
    inputs = made()
    without = replace(inputs, samples={SCREENS[0]: inputs.samples[SCREENS[0]]}, absent={SCREENS[1]: "no file"})
    output = screen_agreement(without)
    assert [result.status for result in output.results[:2]] == [Status.RUN, Status.RUN]
    assert output.results[2].reason == "no file"
    assert "fills no role" in output.results[3].reason
    unread = replace(inputs, readings={}, absent={"deletions": "an edge table has no model"})
    assert {result.reason for result in screen_agreement(unread).results} == {"an edge table has no model"}
    found = inputs.readings["deletions"]
    facts = {**found.facts, "roles": {}, "reasons": {SCREENS[0]: "no pair"}}
    lost = replace(inputs, readings={"deletions": replace(found, facts=facts)})
    assert screen_agreement(lost).results[0].reason == "no pair"


def test_deletions_in_other_cells_are_refused():
    inputs = made()
    inputs.readings["deletions"].facts["roles"][SCREENS[0]]["cells_hash"] = "e" * 64
    with pytest.raises(ValueError, match="other cells"):
        screen_agreement(inputs)


def test_the_same_seed_gives_the_same_rows():
    assert screen_agreement(made(2)).results == screen_agreement(made(2)).results

"""E2: planted context vectors fire, noise does not, and every number equals scipy, scikit-learn or a plain loop."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import wilcoxon
from sklearn.metrics import roc_auc_score

from interp_assets.analyses.catalogue_extended import ROWS
from interp_assets.analyses.scores import candidate_labels
from interp_assets.analyses.value_weighted import (
    BEST_ON_EVALUATION,
    BEST_ONE,
    SCORES,
    median_difference,
    sign_flip_null,
    value_weighted_edges,
)
from interp_assets.readings.records import Reading
from qc_standards.extended import extended_tests_of
from qc_standards.records import Status

ROLE, READING = "primary_screen", "value_weighted"
FLIPS = 199


def arrays_of(role, carries, layers, missing, seed):
    """Scores of a made-up reading; ``carries`` says how strongly each follows the planted network, layer by layer."""
    rng = np.random.default_rng([seed, 5])
    size = role.genes.size
    reference = role.references["planted"]
    network = np.zeros((size, size))
    network[reference.source, reference.target] = 1.0
    seen = np.triu(rng.random((size, size)) >= missing)
    seen |= seen.T
    arrays = {"genes": role.genes, "cells": np.arange(40), "cells_behind": np.where(seen, 40, 0).astype(np.int32)}
    for name in SCORES:
        made = [
            carries.get(name, 0.0) * (layer + 1) / layers * network + rng.normal(size=(size, size))
            for layer in range(layers)
        ]
        arrays[name] = np.where(seen, np.array(made), np.nan).astype(np.float32)
    arrays["correlation"] = np.abs(carries.get("correlation", 0.0) * network + rng.normal(size=(size, size)))
    return arrays


@pytest.fixture
def ask(make_inputs):
    """Function: inputs of E2 with a made-up reading over the genes of the screen."""

    def factory(carries=None, *, seed=0, layers=4, missing=0.0, alter=None, settings=None, **knobs):
        inputs = make_inputs(
            22, alter=alter, seed=seed, layers=layers, settings={"value_flips": FLIPS, **(settings or {})}, **knobs
        )
        role = inputs.roles[ROLE]
        facts = {
            "cells_hash": role.cells_hash,
            "cells_used": 40,
            "cells_control": 60,
            "cells_drawn": True,
            "value_cells": 40,
            "zero_vector_share": 0.0,
            "device": "cpu",
            "dtype": "float32",
        }
        reading = Reading(arrays=arrays_of(role, carries or {}, layers, missing, seed), facts=facts)
        return replace(inputs, tests=extended_tests_of(2), readings={READING: reading})

    return factory


def rows_of(inputs):
    found = value_weighted_edges(inputs)
    return {result.test_id: result for result in found.results}, found.tables["value_weighted_profile"]


def naive_auroc(truth, score):
    """Share of positive-negative pairs in the right order: whole and half numbers until the division."""
    positive, negative = score[truth][:, None], score[~truth][None, :]
    return ((positive > negative).sum() + (positive == negative).sum() / 2) / (positive.size * negative.size)


def aurocs(inputs, name, layer=None):
    """AUROC by perturbation over the pairs that were read, by counting pairs; scikit-learn agrees."""
    role, arrays = inputs.roles[ROLE], inputs.readings[READING].arrays
    label = candidate_labels(role)
    score = arrays[name] if layer is None else arrays[name][layer]
    values = []
    for row, source in zip(label, role.source, strict=True):
        kept = (row >= 0) & (arrays["cells_behind"][source] > 0)
        if (row[kept] == 1).sum() >= 3 and (row[kept] == 0).sum() >= 3:
            values.append(naive_auroc(row[kept] == 1, score[source][kept]))
            assert values[-1] == pytest.approx(roc_auc_score(row[kept], score[source][kept]), abs=1e-12)
    return np.array(values)


def test_context_vectors_that_carry_the_network_win_and_lose_where_attention_does(ask):
    for carries, sign in (({"cosine": 2.0}, 1), ({"attention": 2.0, "correlation": 3.0}, -1)):
        results, _ = rows_of(ask(carries))
        for test_id in ("E2.1", "E2.2", "E2.4", "E2.5", "E2.6"):
            result = results[test_id]
            assert result.status is Status.RUN
            assert sign * result.effect > 0.1, test_id
            assert result.p < 0.01, test_id
            assert min(sign * result.ci_low, sign * result.ci_high) > 0, test_id
    assert results["E2.6"].p == pytest.approx(1 / (FLIPS + 1))


def test_noise_is_called_no_more_often_than_the_level(ask):
    found = {"E2.4": [], "E2.5": [], "E2.6": []}
    for seed in range(25):
        results, _ = rows_of(ask(seed=seed, genes=60, perturbations=12, settings={"bootstrap": 5}, kind="noise"))
        for test_id, values in found.items():
            values.append(results[test_id].p)
    for test_id, values in found.items():
        assert np.sum(np.array(values) <= 0.05) <= 5, test_id  # 25 at .05: 1.25 expected, more than 5 has p < .002


def test_every_row_equals_scipy_and_scikit_learn(ask):
    inputs = ask({"cosine": 0.6, "attention": 0.9, "correlation": 0.8}, missing=0.3)
    results, profile = rows_of(inputs)
    own = {name: np.array([aurocs(inputs, name, layer) for layer in range(4)]) for name in SCORES}
    correlation = aurocs(inputs, "correlation")
    best = {name: values.mean(axis=1).argmax() for name, values in own.items()}
    frozen = 2  # depth 13/17 of 4 layers
    pairs = {
        "E2.1": (own["cosine"][best["cosine"]], own["attention"][best["attention"]]),
        "E2.2": (own["cosine"][best["cosine"]], correlation),
        "E2.4": (own["cosine"][frozen], own["attention"][frozen]),
        "E2.5": (own["cosine"][frozen], correlation),
    }
    for test_id, (first, second) in pairs.items():
        result, difference = results[test_id], first - second
        assert result.effect == pytest.approx(difference.mean(), abs=1e-12)
        assert result.p == pytest.approx(wilcoxon(difference).pvalue)
        assert result.null_mean == pytest.approx(second.mean())
        error = difference.std(ddof=1) / np.sqrt(difference.size)
        assert result.ci_high - result.ci_low == pytest.approx(2 * 1.96 * error, rel=0.35)
        assert (result.n, result.layer, result.unit) == (correlation.size, frozen, "perturbation")
        used = json.loads(result.settings_used)
        assert used["d"] == pytest.approx(difference.mean() / difference.std(ddof=1))
        assert used["candidate_share"] == pytest.approx(0.7, abs=0.05)
        assert (used["cells_used"], used["cells_control"]) == (40, 60)
    assert results["E2.1"].reason == BEST_ON_EVALUATION
    assert results["E2.2"].reason == BEST_ONE
    assert results["E2.4"].reason == results["E2.5"].reason == ""
    level = results["E2.3"]
    assert level.effect == pytest.approx(own["cosine"].mean(axis=1).max())
    assert level.p is None
    median = results["E2.6"]
    assert median.effect == pytest.approx(np.median([d.mean() for d in own["cosine"] - own["attention"]]))
    assert median.ci_low < median.effect < median.ci_high
    table = profile.set_index(["variant", "layer"])
    for name, layer in itertools.product(SCORES, range(4)):
        entry = table.loc[(name, layer)]
        assert entry["mean_auroc"] == pytest.approx(own[name][layer].mean())
        assert entry["minus_correlation"] == pytest.approx((own[name][layer] - correlation).mean())
        assert entry["correlation_ci_low"] < entry["minus_correlation"] < entry["correlation_ci_high"]
        if name == "attention":
            assert np.isnan(entry["minus_attention"])
        else:
            assert entry["minus_attention"] == pytest.approx((own[name][layer] - own["attention"][layer]).mean())
    assert profile.loc[profile["variant"] == "correlation", "layer"].isna().all()
    assert len(profile) == 17


def test_recovery_of_the_reference_is_that_of_all_pairs_read(ask):
    inputs = ask({"cosine": 1.0}, missing=0.4)
    results, profile = rows_of(inputs)
    role, arrays = inputs.roles[ROLE], inputs.readings[READING].arrays
    reference = role.references["planted"]
    listed = set(zip(reference.source.tolist(), reference.target.tolist(), strict=True))
    able = sorted({source for source, _ in listed})
    pairs = [(s, t) for s in able for t in range(role.genes.size) if s != t and arrays["cells_behind"][s, t] > 0]
    truth = [pair in listed for pair in pairs]
    table = profile.set_index(["variant", "layer"])
    for layer in range(4):
        expected = roc_auc_score(truth, [arrays["cosine"][layer][pair] for pair in pairs])
        assert table.loc[("cosine", layer), "reference_auroc"] == pytest.approx(expected)
    assert set(profile["n_pairs"]) == {len(pairs)}
    assert set(profile["n_positive"]) == {sum(truth)}
    assert results["E2.3"].statistic == pytest.approx(table.loc["cosine", "reference_auroc"].max())


def test_pairs_that_were_not_read_are_no_candidates_of_any_score(ask):
    inputs = ask({"cosine": 1.0}, missing=0.3)
    reading = inputs.readings[READING]
    unread = reading.arrays["cells_behind"] == 0
    changed = {name: np.where(unread, 99.0, reading.arrays[name]) for name in (*SCORES, "correlation")}
    other = replace(inputs, readings={READING: replace(reading, arrays={**reading.arrays, **changed})})
    first, second = value_weighted_edges(inputs), value_weighted_edges(other)
    assert first.results == second.results
    assert first.tables["value_weighted_profile"].equals(second.tables["value_weighted_profile"])


@pytest.mark.parametrize("name", ["cosine", "centroid"])
def test_cosines_that_are_all_alike_tie_whatever_their_last_bits(ask, name):
    """Regression: heads that bring the same back for every token gave cosines of 1, ranked by their rounding."""
    inputs = ask({name: 2.0})
    reading = inputs.readings[READING]
    signal = reading.arrays[name]
    alike = np.float32(1.0) + np.sign(signal) * np.float32(1.2e-7)
    assert np.ptp(alike) > 0
    other = replace(inputs, readings={READING: replace(reading, arrays={**reading.arrays, name: alike})})
    _, profile = rows_of(other)
    assert set(profile.loc[profile["variant"] == name, "mean_auroc"]) == {0.5}


def test_the_order_of_genes_in_the_reading_does_not_matter(ask):
    inputs = ask({"dot": 1.0})
    reading = inputs.readings[READING]
    order = np.random.default_rng(1).permutation(reading.arrays["genes"].size)
    moved = {
        name: values[order] if values.ndim == 1 else values[..., order, :][..., order]
        for name, values in reading.arrays.items()
        if name != "cells"
    }
    other = replace(inputs, readings={READING: replace(reading, arrays={**reading.arrays, **moved})})
    assert value_weighted_edges(inputs).results == value_weighted_edges(other).results


def test_sign_flips_equal_all_relabellings():
    rng = np.random.default_rng(3)
    differences = rng.normal(0.2, 0.5, (3, 8))
    every = [median_difference(differences * np.array(signs)) for signs in itertools.product((-1.0, 1.0), repeat=8)]
    null = sign_flip_null(differences, rng, 20_000)
    effect = median_difference(differences)
    exact = np.mean(np.abs(every) >= abs(effect) - 1e-12)
    assert np.mean(np.abs(null) >= abs(effect) - 1e-12) == pytest.approx(exact, abs=0.015)
    assert set(np.round(null, 9)) <= set(np.round(every, 9))


def test_reasons_and_refusals(ask):
    inputs = ask()
    told = replace(inputs, readings={}, absent={READING: "no model"})
    assert {(r.status, r.reason) for r in value_weighted_edges(told).results} == {(Status.SKIPPED, "no model")}
    nobody = replace(inputs, roles={}, absent={ROLE: "no screen"})
    assert {r.reason for r in value_weighted_edges(nobody).results} == {"no screen"}
    reading = inputs.readings[READING]
    unread = {"cells_behind": np.zeros_like(reading.arrays["cells_behind"])}
    nothing = replace(inputs, readings={READING: replace(reading, arrays={**reading.arrays, **unread})})
    assert all("among the pairs that were read" in r.reason for r in value_weighted_edges(nothing).results)
    elsewhere = replace(reading, facts={**reading.facts, "cells_hash": "other"})
    with pytest.raises(ValueError, match="other cells; materialise value_weighted again"):
        value_weighted_edges(replace(inputs, readings={READING: elsewhere}))
    renamed = {"genes": np.array([f"Q{gene}" for gene in reading.arrays["genes"]])}
    strange = replace(reading, arrays={**reading.arrays, **renamed})
    with pytest.raises(ValueError, match="150 evaluable genes such as G0000 were not read"):
        value_weighted_edges(replace(inputs, readings={READING: strange}))


def test_without_a_reference_the_screen_still_answers(ask):
    inputs = ask({"cosine": 1.0}, alter=lambda role: role)
    role = replace(inputs.roles[ROLE], references={}, primary_reference="absent")
    results, profile = rows_of(replace(inputs, roles={ROLE: role}))
    assert results["E2.1"].p is not None
    assert results["E2.3"].statistic is None
    assert profile["reference_auroc"].isna().all()
    assert set(profile["n_pairs"]) == {0}


def test_a_model_of_one_layer_has_one_difference(ask):
    results, _ = rows_of(ask({"cosine": 1.0}, layers=1))
    assert results["E2.1"].effect == results["E2.4"].effect == pytest.approx(results["E2.6"].effect)


def test_the_row_declares_what_is_read(ask):
    entry = next(entry for entry in ROWS if entry.number == 2)
    inputs = ask()
    assert entry.readings == (READING,)
    assert entry.tests == len(extended_tests_of(2)) == len(entry.run(inputs).results)
    only = {name: inputs.settings[name] for name in entry.settings}
    assert len(entry.run(replace(inputs, settings=only)).results) == 6
    for name in entry.settings:
        fewer = {key: value for key, value in only.items() if key != name}
        with pytest.raises(ValueError, match=name):
            entry.run(replace(inputs, settings=fewer))


def test_the_same_inputs_give_the_same_bytes(ask):
    one, other = (value_weighted_edges(ask({"dot": 1.0}, seed=2)) for _ in range(2))
    assert one.results == other.results
    assert one.tables["value_weighted_profile"].equals(other.tables["value_weighted_profile"])

"""Readings of models that look back, against loops over eager attention in float64: one value a pair and cell."""

from __future__ import annotations

import numpy as np
import pytest

from interp_assets.cells.outcomes import no_outcomes
from interp_assets.interventions.cells import cell_rows, encoded_cells, richest_cells, row_counts, subset
from interp_assets.interventions.readouts import order_weights
from interp_assets.models.adapter import load_model
from interp_assets.models.attention.extraction import ExtractionSettings, extract_attention
from interp_assets.models.attention.plan import pair_counts, score_cells
from interp_assets.models.attention.pooling import both_orders, order_sums
from interp_assets.models.files.releases import read_release
from interp_assets.readings import cell_attention, deletions, mediation, restricted_attention, value_weighted
from interp_assets.readings.layer_attention import Wanted, held_together, layer_sums
from interp_assets.readings.records import ReadData, Reading
from tests.unit.models import causal_folders as folders

GENES = list(folders.NAMES)
SETTINGS = {"cell_attention_entries": 10**6, "value_cells": 0, "restricted_share": 1.0}
SETTINGS |= {"agreement_pairs": 4, "deletion_cells": 4}
SETTINGS |= {f"mediation_{name}": 4 for name in ("pairs", "cells", "tokens", "set_cells", "permutations")}


@pytest.fixture(scope="module", params=["c2s", "maxtoki"])
def folder(request, models, tmp_path_factory):
    """Release of either family."""
    write = {"c2s": folders.write_c2s, "maxtoki": folders.write_maxtoki}[request.param]
    return write(tmp_path_factory.mktemp("causal") / request.param, models.seal)


@pytest.fixture(scope="module")
def cells(models):
    """8 cells over 20 genes, 12 scored."""
    rng = np.random.default_rng(3)
    counts = rng.poisson(3.0, (8, 20)) * (rng.random((8, 20)) < np.linspace(0.3, 1, 8)[:, None])
    return models.prepared_cells(counts, GENES, GENES[4:16], control=np.arange(8) != 2)


@pytest.fixture(scope="module")
def scored(folder, cells):
    """Encoded control cells with their scored genes."""
    return encoded_cells(load_model(read_release(folder)), cells, cells.universe)


@pytest.fixture(scope="module")
def naive(folder, scored):
    """Head mean (L x G x G) of every cell, both orders of a pair together, by loops over eager attention."""
    found = []
    encoded = scored.encoded
    for cell in range(encoded.offsets.size - 1):
        span = slice(int(encoded.offsets[cell]), int(encoded.offsets[cell + 1]))
        owners = [GENES[column] if column >= 0 else None for column in encoded.column[span]]
        sums, _, both = folders.naive_edges(folder, [(encoded.tokens[span].tolist(), owners)], GENES[4:16])
        found.append((both_orders(sums.mean(1)), both))
    return found


@pytest.fixture(scope="module")
def ask(folder, cells, make_context):
    """Function: the reading of a module on the cells, in a role."""

    def asked(module, role):
        labels = no_outcomes(cells)
        labels = type(labels)(
            **{name: getattr(labels, name) for name in labels.__slots__} | {"perturbations": cells.universe[:3]}
        )
        data = ReadData(role=role, cells=cells, labels=labels, references={}, primary_reference="net")
        return module.read(make_context(folder, data, settings=SETTINGS))

    return asked


def test_single_cells_hold_the_one_value_that_exists(ask, naive, cells):
    found = ask(cell_attention, "tissues[2]")
    assert isinstance(found, Reading)
    arrays = {name.removeprefix("tissues_2_"): np.asarray(values) for name, values in found.arrays.items()}
    assert arrays["rows"].tolist() == [0, 1, 2]
    seen = 0
    for cell, (sums, both) in enumerate(naive):
        span = slice(arrays["offsets"][cell], arrays["offsets"][cell + 1])
        row, column = arrays["rows"][arrays["row"][span]], arrays["column"][span]
        np.testing.assert_allclose(arrays["value"][:, span], sums[:, row, column], rtol=5e-6, atol=1e-6)
        assert row.size == int(both[:3].sum())
        seen += row.size
        assert (arrays["value"][:, span] > 0).all()
    assert seen == arrays["offsets"][-1] > 50
    assert arrays["order"].shape == (seen,)


def test_order_of_single_cells_adds_up_to_that_of_the_extraction(scored):
    rows = np.arange(12)
    total = np.zeros((12, 12))
    for found in cell_rows(scored, np.arange(scored.offsets.size - 1), rows):
        total[found.row[:, None], found.column[None, :]] += order_weights(found)
    np.testing.assert_allclose(total, both_orders(order_sums(scored)), rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(row_counts(scored, rows), pair_counts(scored))


def test_layers_value_weighted_and_restricted_attention_are_the_stored_scores(folder, cells, naive, ask, tmp_path):
    edges = extract_attention(read_release(folder), cells, tmp_path / "out", ExtractionSettings(device="cpu"))
    both = sum(held for _, held in naive)
    expected = np.where(both > 0, sum(sums for sums, _ in naive) / np.maximum(both, 1), np.nan)
    close = {"rtol": 5e-6, "atol": 1e-6}
    np.testing.assert_allclose(edges.layer_matrix(1).score, expected[1], **close)
    values = ask(value_weighted, "primary_screen")
    assert isinstance(values, Reading)
    np.testing.assert_allclose(values.arrays["attention"], expected, **close)
    np.testing.assert_array_equal(values.arrays["cells_behind"], both)
    cosine = values.arrays["cosine"][0]
    np.testing.assert_allclose(cosine[both > 0], cosine.T[both > 0], atol=1e-6)
    np.testing.assert_allclose(np.diagonal(cosine)[np.diagonal(both) > 0], 1.0, atol=1e-5)

    model = load_model(read_release(folder))
    encoded = model.encode(cells.counts[np.flatnonzero(cells.control)], cells.genes)
    plan_on = score_cells(encoded, np.arange(4, 16))
    want = Wanted(cells=plan_on, members=np.ones(7, dtype=bool))
    from tqdm import tqdm

    with tqdm(disable=True) as bar:
        sums = layer_sums(model, plan_on, [want], 1, bar)[0]
    np.testing.assert_array_equal(held_together(want, plan_on), both)
    # the bits of the stored scores where the sums are made alike: every head by itself, as the extraction keeps them
    want = Wanted(cells=plan_on, members=np.ones(7, dtype=bool), single_heads=True)
    with tqdm(disable=True) as bar:
        exact = layer_sums(model, plan_on, [want], 1, bar)[0]
    stored = edges.layer_matrix(1)
    assert edges.facts["heads_kept"] == "all"
    score = np.full(exact.shape, np.nan, dtype=np.float32)
    np.divide(exact, stored.cells_behind, out=score, where=both > 0, casting="same_kind")
    np.testing.assert_array_equal(score, stored.score)
    np.testing.assert_allclose(sums / np.maximum(both, 1), np.nan_to_num(expected[1]), **close)

    # all scored genes are kept, but the sequences hold no other: cells, not values, are those of the extraction
    fewer = ask(restricted_attention, "other_line_screen")
    assert isinstance(fewer, Reading)
    assert fewer.arrays["attention"].shape == (1, 3, 12)
    np.testing.assert_array_equal(np.isfinite(fewer.arrays["attention"][0]), fewer.arrays["cells_behind"] > 0)


def test_value_vectors_of_a_gene_of_several_tokens_are_their_mean(folder, cells, ask, scored):
    """Dot product of gene means by hand, from the context vectors that the model hands over."""
    from interp_assets.models.attention.plan import token_batch
    from interp_assets.models.interventions import capturing

    model = load_model(read_release(folder))
    caught = {}
    total = np.zeros((2, 12, 12))
    for cell in range(scored.offsets.size - 1):
        batch = token_batch(scored, np.array([cell]))
        with capturing(lambda layer, context: caught.__setitem__(layer, context[0].double().numpy())):
            model.attend(batch, lambda layer, attention: None, form="logsumexp")
        span = slice(scored.offsets[cell], scored.offsets[cell + 1])
        where, gene = scored.where[span], scored.gene[span]
        for layer in range(2):
            mean = {int(one): caught[layer][:, where[gene == one]].mean(1) for one in np.unique(gene)}
            for one, u in mean.items():
                for other, v in mean.items():
                    total[layer, one, other] += (u * v).sum(1).mean()
    values = ask(value_weighted, "primary_screen")
    both = values.arrays["cells_behind"]
    np.testing.assert_allclose((values.arrays["dot"] * both)[:, both > 0], total[:, both > 0], rtol=2e-4, atol=1e-6)


def test_what_needs_a_hidden_gene_is_not_read_and_says_so(folder, ask):
    said = ask(deletions, "agreement_screens[1]")
    assert isinstance(said, str)
    assert "no mask token" in said
    said = ask(mediation, "tissues[1]")
    assert isinstance(said, str)
    assert folder.name in said
    assert "mask" in said or "predict" in said


def test_a_subset_of_cells_keeps_what_the_encoding_says(scored):
    chosen = richest_cells(scored, np.arange(3), 120)
    part = subset(scored, chosen)
    assert part.encoded.causal
    assert part.encoded.several == scored.encoded.several
    np.testing.assert_array_equal(part.encoded.left_out, scored.encoded.left_out[chosen])
    again = np.unique(scored.gene[scored.offsets[chosen[0]] : scored.offsets[chosen[0] + 1]]).size
    assert int(np.diff(part.offsets)[0]) >= again

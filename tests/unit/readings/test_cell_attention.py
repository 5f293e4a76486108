"""Single cells read from a model pool to the extraction's edges, whatever the set of cells."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from interp_assets.analyses.cell_scores import cell_attention
from interp_assets.cells.outcomes import no_outcomes
from interp_assets.cells.records import PreparedCells
from interp_assets.edges.layers import resolve_layer
from interp_assets.edges.records import Reference
from interp_assets.models.attention.extraction import ExtractionSettings, extract_attention
from interp_assets.models.families.geneformer import load_geneformer
from interp_assets.readings import cell_attention as module
from interp_assets.readings.catalogue import reading
from interp_assets.readings.records import ReadData, ReadingContext, kept_files, read_files


@pytest.fixture(scope="module")
def cells(models) -> PreparedCells:
    return models.toy_cells.__wrapped__()


@pytest.fixture(scope="module")
def ask(peaked_release, cells, make_context) -> Callable[..., ReadingContext]:
    """Function: a context that keeps so many entries."""
    data, absent = data_of(cells), {"layer_selection": "study toy fills no role layer_selection"}
    return lambda entries=10**6: make_context(
        peaked_release, data, settings={"cell_attention_entries": entries}, absent=absent, seed=3
    )


@pytest.fixture(scope="module")
def context(ask) -> ReadingContext:
    return ask()


def data_of(cells: PreparedCells) -> ReadData:
    universe = cells.universe
    listed = np.array([0, 3, 8, 25], dtype=np.int32)  # the last one is unknown to the release
    reference = Reference(
        name="net",
        genes=universe,
        source=np.array([0, 3, 25], dtype=np.int32),
        target=np.array([1, 2, 4], dtype=np.int32),
        directed=True,
        regulators=listed,
    )
    labels = replace(no_outcomes(cells), perturbations=universe[[5]])
    return ReadData(
        role="tissues[2]", cells=cells, labels=labels, references={"net": reference}, primary_reference="net"
    )


@pytest.fixture(scope="module")
def found(context):
    return module.read(context)


def test_catalogue_row_reads_it():
    assert reading("cell_attention").run is module.read


def test_all_cells_pooled_equal_the_extraction(context, found, cells, tmp_path):
    view = cell_attention(found, "tissues[2]")
    edges = extract_attention(context.release, cells, tmp_path / "out", ExtractionSettings(device="cpu"))
    assert view.genes.tolist() == edges.genes.tolist()
    assert set(view.genes[view.rows]) == set(cells.universe[[0, 3, 8, 5]])
    assert view.layers == edges.layers == 2
    for layer in range(2):
        score, count = view.pooled(layer)
        matrix = edges.layer_matrix(layer)
        np.testing.assert_allclose(score, matrix.score[view.rows], atol=2e-6)
        assert np.array_equal(count, matrix.cells_behind[view.rows])
        assert np.isnan(score[count == 0]).all()
    assert (count == 0).any()


def test_a_part_of_the_cells_equals_an_extraction_of_that_part(context, found, cells, tmp_path):
    view = cell_attention(found, "tissues[2]")
    part = np.arange(1, view.cells.size, 2)
    marked = np.zeros(cells.control.size, dtype=bool)
    marked[view.cells[part]] = True
    fewer = replace(cells, control=marked, cells_hash="part")
    edges = extract_attention(context.release, fewer, tmp_path / "part", ExtractionSettings(device="cpu"))
    score, count = view.pooled(1, part)
    np.testing.assert_allclose(score, edges.layer_matrix(1).score[view.rows], atol=2e-6)
    assert np.array_equal(view.counts(part), count)


def test_a_cell_is_pooled_once(found):
    view = cell_attention(found, "tissues[2]")
    with pytest.raises(ValueError, match="given twice"):
        view.pooled(0, [1, 1])


def test_embedding_is_the_mean_last_hidden_state_of_gene_tokens(context, found, cells):
    import torch

    view = cell_attention(found, "tissues[2]")
    model = load_geneformer(context.release)
    encoded = model.encode(cells.counts[view.cells], cells.genes)
    for cell in range(view.cells.size):
        span = slice(encoded.offsets[cell], encoded.offsets[cell + 1])
        with torch.inference_mode():
            tokens = torch.from_numpy(encoded.tokens[span].astype(np.int64))[None]
            hidden = model.encoder(input_ids=tokens, attention_mask=torch.ones_like(tokens)).last_hidden_state[0]
        expected = hidden[torch.from_numpy(encoded.column[span] >= 0)].mean(0)
        np.testing.assert_allclose(view.embedding[cell], expected.numpy(), atol=2e-5)


def test_model_without_blocks_has_no_embedding_and_the_same_scores(context, found, monkeypatch):
    real = load_geneformer(context.release)
    parts = ("describe", "known", "encode", "attend")
    monkeypatch.setattr(module, "load_model", lambda *a, **k: SimpleNamespace(**{p: getattr(real, p) for p in parts}))
    plain = module.read(context)
    assert "tissues_2_embedding" not in plain.arrays
    assert plain.facts["roles"]["tissues[2]"]["embedding"] == module.NO_HIDDEN
    np.testing.assert_allclose(plain.arrays["tissues_2_value"], found.arrays["tissues_2_value"], atol=1e-7)


def test_cap_draws_cells_at_random_and_says_how_many(ask, found):
    whole = found.facts["roles"]["tissues[2]"]
    assert whole["cells_used"] == whole["cells_with_scored_genes"] == 11
    assert not whole["cells_drawn"]
    one, other = (module.read(ask(entries=whole["entries"])) for _ in range(2))
    told = one.facts["roles"]["tissues[2]"]
    assert told["cells_drawn"]
    assert 2 <= told["cells_used"] < 11
    assert told["entries"] * 2 <= whole["entries"]
    assert all(np.array_equal(one.arrays[name], other.arrays[name]) for name in one.arrays)


def test_arrays_survive_being_kept(found, tmp_path):
    for name, content in kept_files("cell_attention", found, lambda frame: b"").items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    again = cell_attention(read_files("cell_attention", lambda name: tmp_path / name), "tissues[2]")
    np.testing.assert_array_equal(again.pooled(1)[0], cell_attention(found, "tissues[2]").pooled(1)[0])


def test_reasons(context, found, cells):
    assert cell_attention(found, "layer_selection") == "study toy fills no role layer_selection"
    assert "were not read" in cell_attention(found, "tissues[1]")
    table = replace(context, release=replace(context.release, family="edge_table"))
    assert module.read(table) == module.NO_MODEL
    assert module.read(replace(context, data={})) == "study toy fills no role layer_selection"
    data = context.data["tissues[2]"]
    nobody = replace(data, references={}, labels=no_outcomes(cells))
    reason = module.read(replace(context, data={"tissues[2]": nobody}))
    assert "none of its 26 scored genes is a regulator" in reason


def test_on_the_judged_screen_the_frozen_layer_and_judged_regulators_are_kept(context, cells, found):
    data = context.data["tissues[2]"]
    other = replace(data.references["net"], name="other", regulators=np.array([9], dtype=np.int32))
    judged = replace(data, role="primary_screen", references={"net": data.references["net"], "other": other})
    both = module.read(replace(context, data={"primary_screen": judged, "tissues[2]": data}))
    view, whole = cell_attention(both, "primary_screen"), cell_attention(both, "tissues[2]")
    layer = resolve_layer(context.choice.depth, whole.layers)
    assert both.facts["roles"]["primary_screen"]["layers"] == [layer]
    assert (view.layers, whole.layers) == (1, 2)
    assert set(view.genes[view.rows]) == set(cells.universe[[0, 3, 8, 5]])  # no regulator of the other network
    np.testing.assert_array_equal(view.pooled(0)[0], whole.pooled(layer)[0])
    # Reading it changes nothing of what the other roles hold.
    for name, values in found.arrays.items():
        np.testing.assert_array_equal(both.arrays[name], values)


def test_blocks_behind_the_frozen_layer_are_not_run_on_the_judged_screen(context, monkeypatch):
    run = []
    plain = module._blocks
    monkeypatch.setattr(module, "_blocks", lambda *given: run.append(given[-1]) or plain(*given))
    judged = replace(context.data["tissues[2]"], role="primary_screen")
    first = replace(context, data={"primary_screen": judged}, choice=replace(context.choice, depth=0.0))
    found = module.read(first)
    assert set(run) == {1}
    assert found.facts["roles"]["primary_screen"]["embedding"] == module.NOT_ASKED
    assert "primary_screen_embedding" not in found.arrays
    assert cell_attention(found, "primary_screen").embedding is None

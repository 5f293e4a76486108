"""Value-weighted edges equal a naive loop over cells, heads and pairs of an eager transformer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from scipy.stats import spearmanr

from interp_assets.cells.outcomes import no_outcomes
from interp_assets.cells.records import PreparedCells
from interp_assets.models.adapter import TokenBatch
from interp_assets.models.attention.extraction import ExtractionSettings, extract_attention
from interp_assets.models.controls.planted_transformer import build_planted_release
from interp_assets.models.families.geneformer import load_geneformer
from interp_assets.models.files.releases import read_release
from interp_assets.models.interventions import Intervention, capturing
from interp_assets.readings import value_weighted as module
from interp_assets.readings.catalogue import reading
from interp_assets.readings.records import ReadData, Reading, ReadingContext, kept_files, read_files

ROLE = "primary_screen"
LAYERS, HEADS, WIDTH = 3, 4, 16


@pytest.fixture(scope="module")
def folder(example, models, tmp_path_factory):
    """Release of a BERT of 3 layers x 4 heads over 30 genes, no bias of which is 0."""
    return example.write_bert(tmp_path_factory.mktemp("values") / "tiny", models.seal)


@pytest.fixture(scope="module")
def cells(example, models) -> PreparedCells:
    """12 cells, one of them perturbed, over 34 genes; 20 of the 24 scored ones are known to the model."""
    genes = [*(f"X{number}" for number in range(4)), *(f"G{number}" for number in range(30))]
    counts = example.toy_counts(12, 34, seed=2)
    counts[:, 9] = 0  # a scored gene that stands in no cell
    return models.prepared_cells(counts, genes, genes[:24], control=np.arange(12) != 5)


@pytest.fixture(scope="module")
def ask(folder, cells, make_context) -> Callable[..., ReadingContext]:
    """Function: a context that reads so many cells (0: all)."""
    data = data_of(cells)
    return lambda most=0, seed=0: make_context(folder, data, settings={"value_cells": most}, seed=seed)


@pytest.fixture(scope="module")
def found(ask) -> Reading:
    return module.read(ask())


def data_of(cells: PreparedCells) -> ReadData:
    return ReadData(role=ROLE, cells=cells, labels=no_outcomes(cells), references={}, primary_reference="net")


def eager_contexts(folder, tokens) -> tuple[np.ndarray, np.ndarray]:
    """Softmax weights and context vectors (layers x heads x n x d) of one cell, by transformers' eager attention."""
    from transformers import BertModel

    model = BertModel.from_pretrained(folder, attn_implementation="eager", add_pooling_layer=False).eval()
    given = torch.from_numpy(np.asarray(tokens, dtype=np.int64))[None]
    with torch.no_grad():
        told = model(given, output_attentions=True, output_hidden_states=True)
        weights = torch.stack([weight[0] for weight in told.attentions])
        values = [
            block.attention.self.value(state)[0].view(-1, HEADS, WIDTH // HEADS).transpose(0, 1)
            for block, state in zip(model.encoder.layer, told.hidden_states, strict=False)
        ]
    return weights.double().numpy(), (weights @ torch.stack(values)).double().numpy()


def naive(folder, cells: PreparedCells, chosen, genes) -> dict[str, np.ndarray]:
    """The four scores by loops over cells, layers, heads and pairs."""
    model = load_geneformer(read_release(folder))
    encoded = model.encode(cells.counts[chosen], cells.genes)
    size = len(genes)
    sums = {name: np.zeros((LAYERS, size, size)) for name in ("cosine", "dot", "attention")}
    count, held = np.zeros((size, size)), np.zeros(size)
    centre = np.zeros((LAYERS, HEADS, size, WIDTH // HEADS))
    for cell in range(len(chosen)):
        span = slice(encoded.offsets[cell], encoded.offsets[cell + 1])
        if span.stop - span.start == 0:
            continue
        weights, contexts = eager_contexts(folder, encoded.tokens[span])
        stands = {str(cells.genes[c]): at for at, c in enumerate(encoded.column[span]) if c >= 0}
        inside = [(number, stands[gene]) for number, gene in enumerate(genes) if gene in stands]
        for one, at in inside:
            held[one] += 1
            centre[:, :, one] += contexts[:, :, at]
            for other, there in inside:
                count[one, other] += 1
                for layer in range(LAYERS):
                    for head in range(HEADS):
                        u, v = contexts[layer, head, at], contexts[layer, head, there]
                        sums["cosine"][layer, one, other] += u @ v / np.sqrt(u @ u * (v @ v)) / HEADS
                        sums["dot"][layer, one, other] += u @ v / HEADS
                        sums["attention"][layer, one, other] += weights[layer, head, at, there] / HEADS
    with np.errstate(invalid="ignore"):
        means = {name: total / count for name, total in sums.items()}
        centre = centre / held[:, None]
    unit = centre / np.linalg.norm(centre, axis=-1, keepdims=True)
    means["centroid"] = np.einsum("lhid,lhjd->lij", unit, unit) / HEADS
    return means | {"cells_behind": count}


def test_catalogue_row_reads_it():
    assert reading("value_weighted").run is module.read
    assert reading("value_weighted").roles == (ROLE,)


def test_every_score_equals_the_naive_loop(folder, cells, found):
    genes = [gene for gene in cells.universe if gene.startswith("G")]
    assert found.arrays["genes"].tolist() == genes
    expected = naive(folder, cells, np.flatnonzero(cells.control), genes)
    behind = expected["cells_behind"]
    assert np.array_equal(found.arrays["cells_behind"], behind)
    assert (behind == 0).any()
    for name in ("cosine", "centroid", "dot", "attention"):
        np.testing.assert_allclose(found.arrays[name], expected[name], atol=1e-5, err_msg=name)
        assert found.arrays[name].dtype == np.float32
    assert np.nanstd(expected["cosine"]) > 0.05  # far from constant, so that the tolerance means something
    for name in ("cosine", "dot", "attention"):
        assert np.array_equal(np.isnan(found.arrays[name][1]), behind == 0), name


def test_a_gene_is_wholly_like_itself_and_scores_are_symmetric(found):
    seen = found.arrays["cells_behind"].diagonal() > 0
    for name in ("cosine", "centroid"):
        for layer in found.arrays[name]:
            np.testing.assert_allclose(layer.diagonal()[seen], 1.0, atol=1e-6)
            np.testing.assert_allclose(layer, layer.T, atol=1e-6)
            assert np.isnan(layer.diagonal()[~seen]).all()


def test_attention_is_that_of_the_extraction(ask, found, cells, tmp_path):
    edges = extract_attention(ask().release, cells, tmp_path / "out", ExtractionSettings(device="cpu"))
    assert edges.genes.tolist() == found.arrays["genes"].tolist()
    for layer in range(LAYERS):
        np.testing.assert_allclose(found.arrays["attention"][layer], edges.layer_matrix(layer).score, atol=1e-6)


def test_drawn_cells_stand_behind_all_scores(folder, cells, ask, found):
    one, again, other = (module.read(ask(4, seed)) for seed in (0, 0, 1))
    assert (found.facts["cells_drawn"], found.facts["cells_used"]) == (False, found.arrays["cells"].size)
    assert (one.facts["cells_drawn"], one.facts["cells_used"], one.facts["value_cells"]) == (True, 4, 4)
    assert all(np.array_equal(one.arrays[name], again.arrays[name], equal_nan=name != "genes") for name in again.arrays)
    assert one.arrays["cells"].tolist() != other.arrays["cells"].tolist()
    assert cells.control[one.arrays["cells"]].all()
    genes = one.arrays["genes"].tolist()
    expected = naive(folder, cells, one.arrays["cells"], genes)
    np.testing.assert_allclose(one.arrays["cosine"], expected["cosine"], atol=1e-5)
    np.testing.assert_allclose(one.arrays["attention"], expected["attention"], atol=1e-5)
    log = cells.log[one.arrays["cells"]].toarray()[:, [list(cells.genes).index(gene) for gene in genes]]
    varies = np.flatnonzero(np.ptp(log, axis=0) > 0)[:6]
    rho = np.abs(spearmanr(log[:, varies]).statistic)
    np.testing.assert_allclose(one.arrays["correlation"][np.ix_(varies, varies)], rho, atol=1e-6)


def test_little_memory_reads_layers_in_turn_to_the_same_numbers(ask, found):
    tight = module.read(replace(ask(), memory_gib=1e-9))
    for name, values in found.arrays.items():
        assert np.array_equal(tight.arrays[name], values, equal_nan=name != "genes"), name
    assert tight.facts == found.facts


def test_the_full_softmax_gives_the_same_edges(ask, found, monkeypatch):
    real = load_geneformer(ask().release)
    facts = replace(real.describe(), forms=("softmax",))
    parts = {part: getattr(real, part) for part in ("known", "encode", "attend")}
    monkeypatch.setattr(module, "load_model", lambda *_, **__: SimpleNamespace(describe=lambda: facts, **parts))
    plain = module.read(ask())
    for name in ("cosine", "centroid", "dot", "attention"):
        np.testing.assert_allclose(plain.arrays[name], found.arrays[name], rtol=1e-5, atol=1e-6)


def test_a_head_that_brings_nothing_back_counts_as_0_and_is_told(folder, cells, models, make_context, tmp_path):
    place = tmp_path / "silent"
    place.mkdir()
    for file in folder.iterdir():
        if file.name != "release.json":
            (place / file.name).write_bytes(file.read_bytes())
    state = load_file(place / "model.safetensors")
    for part in ("weight", "bias"):
        state[f"bert.encoder.layer.1.attention.self.value.{part}"][4:8] = 0.0  # head 1 of layer 1
    save_file(state, place / "model.safetensors")
    models.seal(place)
    found = module.read(make_context(place, data_of(cells), settings={"value_cells": 0}))
    seen = found.arrays["cells_behind"].diagonal() > 0
    np.testing.assert_allclose(found.arrays["cosine"][1].diagonal()[seen], 0.75, atol=1e-6)
    np.testing.assert_allclose(found.arrays["cosine"][0].diagonal()[seen], 1.0, atol=1e-6)
    np.testing.assert_allclose(found.arrays["centroid"][1].diagonal()[seen], 0.75, atol=1e-6)
    assert found.facts["zero_vector_share"] == pytest.approx(1 / 12)


def test_captured_vectors_are_what_the_output_projection_receives(folder, cells):
    model = load_geneformer(read_release(folder))
    encoded = model.encode(cells.counts[[0]], cells.genes)
    batch = TokenBatch(tokens=encoded.tokens[None].astype(np.int64), lengths=encoded.lengths)
    given, captured = [], {}
    hooks = [
        block.attention.output.dense.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0].clone()))
        for block in model.encoder.encoder.layer
    ]
    change = Intervention(zero=((0, 1),), uniform=((2, 3),))
    with model.intervening(change), capturing(lambda layer, context: captured.update({layer: context.clone()})):
        model.attend(batch, lambda *_: None, form="logsumexp")
    for hook in hooks:
        hook.remove()
    assert sorted(captured) == [0, 1, 2]
    for layer, projected in enumerate(given):
        assert torch.equal(captured[layer].transpose(1, 2).flatten(2), projected), layer
    assert not captured[0][:, 1].any()
    model.attend(batch, lambda *_: captured.clear(), form="logsumexp")
    assert not captured  # nothing is captured once the context is closed


def test_the_planted_control_can_be_read(models, make_context, tmp_path):
    rng = np.random.default_rng(0)
    genes = [f"g{number}" for number in range(24)]
    score = (rng.random((8, 24)) < 0.2) * 1.0
    build_planted_release(
        tmp_path / "control-planted", genes=genes, regulators=genes[:8], score=score, max_length=24, layers=3
    )
    cells = models.prepared_cells(1 + rng.poisson(2.0, (6, 24)), genes)
    found = module.read(make_context(tmp_path / "control-planted", data_of(cells), settings={"value_cells": 0}))
    together = found.arrays["cells_behind"] > 0
    assert together.any()
    for name in ("cosine", "centroid"):
        assert found.arrays[name].shape == (3, 24, 24)
        assert (np.abs(found.arrays[name][:, together]) <= 1 + 1e-6).all()
    assert np.array_equal(np.isfinite(found.arrays["cosine"]), np.broadcast_to(together, (3, 24, 24)))
    # the layer between idle ones brings different things back; idle heads bring the same for every token
    assert np.nanstd(found.arrays["cosine"][1]) > 0.05
    np.testing.assert_allclose(found.arrays["cosine"][2][together], 1.0, atol=1e-6)


def test_arrays_survive_being_kept(found, tmp_path):
    for name, content in kept_files("value_weighted", found, lambda frame: b"").items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    again = read_files("value_weighted", lambda name: tmp_path / name)
    assert again.facts == found.facts
    np.testing.assert_array_equal(again.arrays["dot"], found.arrays["dot"])


def test_reasons(ask, cells, monkeypatch, make_context, folder):
    context = ask()
    table = replace(context, release=replace(context.release, family="edge_table"))
    assert module.read(table) == module.NO_MODEL
    assert module.read(replace(context, data={})) == "study toy fills no role primary_screen"
    assert module.read(replace(context, data={}, absent={ROLE: "no file"})) == "no file"
    strangers = replace(cells, universe=np.array(["X0", "X1", "G3"]))
    assert "1 of its 3 scored genes" in module.read(replace(context, data={ROLE: data_of(strangers)}))
    empty = replace(cells, universe=np.array(["G5", "G6"]), counts=cells.counts * 0)
    assert module.read(replace(context, data={ROLE: data_of(empty)})).endswith("no control cell holds a scored gene")
    real = load_geneformer(context.release)

    def attend(batch, sink, *, form):
        with capturing(lambda *_: None):  # an adapter whose attention function keeps its context vectors to itself
            real.attend(batch, sink, form=form)

    parts = {part: getattr(real, part) for part in ("describe", "known", "encode")}
    monkeypatch.setattr(module, "load_model", lambda *_, **__: SimpleNamespace(attend=attend, **parts))
    assert module.read(context) == module.NO_CONTEXT

"""Read-outs and distances: against extraction, real logits, scipy, and loops over cells."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cosine
from scipy.stats import entropy

from interp_assets.interventions.cells import row_counts
from interp_assets.interventions.readouts import LogitDistance, OutputSums, clean_state, hidden_distance, real_tokens
from interp_assets.interventions.run import Runner, head_rows
from interp_assets.models.adapter import TokenBatch
from interp_assets.models.attention.extraction import ExtractionSettings, extract_attention
from interp_assets.models.attention.plan import token_batch
from interp_assets.models.attention.store import head_matrix
from interp_assets.models.files.releases import read_release
from interp_assets.models.interventions import Intervention

FORMS = ("logsumexp", "softmax")


def sequences(setting):
    """Tokens of every cell, and where its scored genes stand by gene number."""
    cells = setting.cells
    for cell in range(cells.offsets.size - 1):
        span = slice(cells.encoded.offsets[cell], cells.encoded.offsets[cell + 1])
        own = slice(cells.offsets[cell], cells.offsets[cell + 1])
        yield cells.encoded.tokens[span], dict(zip(cells.gene[own].tolist(), cells.where[own].tolist(), strict=True))


def naive_sums(naive, setting, change):
    """Per cell: sums of the head mean by layer, of logits minus their cell mean, and of cosine distances."""
    rows, genes = setting.rows, setting.cells.genes
    tokens = setting.model.gene_tokens([f"G{number}" for number in range(30)])
    attention = np.zeros((4, rows.size, genes))
    logits, distance = np.zeros((rows.size, len(tokens))), np.zeros((5, setting.cells.offsets.size - 1))
    for cell, (sequence, place) in enumerate(sequences(setting)):
        clean, run = naive.run(sequence), naive.run(sequence, **change)
        favour = (run.logits - run.logits.mean(0))[:, tokens].numpy()
        for number, row in enumerate(rows.tolist()):
            if row in place:
                logits[number] += favour[place[row]]
                for gene, at in place.items():
                    for layer in range(4):
                        attention[layer, number, gene] += run.weights[layer][:, place[row], at].mean()
        pairs = [*zip(clean.states[1:], run.states[1:], strict=True), (clean.logits, run.logits)]
        for state, (before, after) in enumerate(pairs):
            distance[state, cell] = sum(cosine(one, other) for one, other in zip(before, after, strict=True))
    return attention, logits, distance


CHANGES = {
    "heads": {"zero": ((1, 0), (1, 3), (2, 2))},
    "uniform": {"uniform": ((0, 1), (2, 0))},
    "mlp": {"mlp": (1, 2)},
    "mixed": {"zero": ((0, 1),), "uniform": ((0, 2),), "mlp": (3,)},
    "last": {"zero": ((3, 0),)},
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", CHANGES)
def test_shared_prefixes_equal_a_run_of_every_cell_from_its_start(setting_of, naive, form, name):
    """Attention, logits and distances of the runner against the naive model, which shares nothing."""
    change = CHANGES[name]
    runner = Runner(setting_of(form=form))
    setting = runner.setting
    assert any(token_batch(setting.cells, batch).padded for batch in setting.batches)
    clean, (found,) = runner.run([Intervention(**change)])
    cells = row_counts(setting.cells, setting.rows)[np.arange(setting.rows.size), setting.rows]
    tokens = setting.model.gene_tokens([f"G{number}" for number in range(30)])
    for sums, own in ((clean, {}), (found, change)):
        attention, logits, distance = naive_sums(naive, setting, own)
        for layer, row_sums in sums.attention.items():
            np.testing.assert_allclose(row_sums.total.numpy(), attention[layer], atol=5e-5)
        scores = sums.output.logits(setting.model.output(), tokens, cells)
        np.testing.assert_allclose(scores * np.maximum(cells, 1)[:, None], logits, atol=2e-3)
        np.testing.assert_allclose(sums.distance, distance, atol=2e-5)
    assert clean.changed is False
    assert found.changed
    first = min(
        layer
        for layer, _ in (*change.get("zero", ()), *change.get("uniform", ()), *((m, 0) for m in change.get("mlp", ())))
    )
    assert set(found.attention) == {layer for layer in (2, 3) if layer > first}


def test_a_read_out_at_or_before_the_change_is_the_clean_one_bit_for_bit(setting):
    """What the runner leaves out because it cannot differ, run all the same."""
    for change in (Intervention(zero=tuple((2, head) for head in range(4))), Intervention(uniform=((2, 0),), mlp=(2,))):
        for cells in setting.batches:
            blocks = setting.model.blocks(token_batch(setting.cells, cells), form="softmax")
            told = {}
            for which, intervention in (("clean", None), ("changed", change)):
                seen = told.setdefault(which, [])
                with setting.model.intervening(intervention):
                    hidden = blocks.start()
                    for layer in range(4):
                        hidden = blocks.step(layer, hidden, lambda _, found, seen=seen: seen.append(found.weights))
            same = [torch.equal(one, other) for one, other in zip(told["clean"], told["changed"], strict=True)]
            assert same == [True, True, True, False]


@pytest.mark.parametrize("form", FORMS)
def test_attention_read_outs_are_rows_of_the_extracted_attention(folder, cells, setting_of, screen, tmp_path, form):
    setting = setting_of(form=form, read_layers=(0, 1, 2, 3))
    edges = extract_attention(
        read_release(folder), cells, tmp_path / "out", ExtractionSettings(device="cpu", heads="all")
    )
    place = [edges.genes.tolist().index(gene) for gene in screen.genes]
    clean, _ = Runner(setting).run([])
    counts = row_counts(setting.cells, setting.rows)
    heads, _ = head_rows(setting, range(4))
    for layer in range(4):
        expected = edges.layer_matrix(layer).score[np.ix_(np.array(place)[screen.source], place)]
        assert np.array_equal(np.isnan(expected), counts == 0)
        held = counts > 0
        np.testing.assert_allclose(
            (clean.attention[layer].total.numpy() / np.maximum(counts, 1))[held], expected[held], rtol=2e-5
        )
        one = head_matrix(tmp_path / "out", layer, 1).score[np.ix_(np.array(place)[screen.source], place)]
        np.testing.assert_allclose((heads[layer, 1] / np.maximum(counts, 1))[held], one[held], rtol=2e-5, atol=1e-7)
    assert held.any()
    assert not held.all()


@pytest.mark.parametrize("form", FORMS)
def test_entropy_and_head_sums_equal_loops_and_do_not_depend_on_how_many_layers_are_read_at_once(
    setting_of, naive, form
):
    setting = setting_of(form=form)
    told = [list(map(naive.run, [sequence for sequence, _ in sequences(setting)]))]
    expected = np.array(
        [
            [np.mean([entropy(run.weights[layer][head], axis=1).mean() for run in told[0]]) for head in range(4)]
            for layer in range(4)
        ]
    )
    sums, found = head_rows(setting, range(4))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    for layers in (range(1), range(1, 3), range(3, 4)):
        part, own = head_rows(setting, layers)
        assert np.array_equal(part, sums[layers.start : layers.stop])
        assert np.array_equal(own, found[layers.start : layers.stop])


def test_logit_read_out_equals_a_loop_over_the_logits_of_transformers(write_bert, make_cells, cells, screen):
    from transformers import BertForMaskedLM

    from interp_assets.interventions.cells import encoded_cells
    from interp_assets.interventions.run import Setting
    from interp_assets.models.attention.plan import plan_batches
    from interp_assets.models.families.geneformer import load_geneformer

    folder = write_bert(layers=2)
    model = load_geneformer(read_release(folder))
    scored = encoded_cells(model, cells, screen.genes)
    batches = plan_batches(scored, 60, 10**6).batches
    setting = Setting(model=model, cells=scored, batches=batches, rows=screen.source, read_layers=(1,), form="softmax")
    eager = BertForMaskedLM.from_pretrained(folder, attn_implementation="eager").eval()
    total, counts = np.zeros((9, 22)), np.zeros(9, dtype=int)
    names = [4 + int(gene[1:]) for gene in screen.genes]
    for sequence, place in sequences(setting):
        with torch.no_grad():
            logits = eager(torch.from_numpy(sequence.astype(np.int64))[None]).logits[0].double().numpy()
        for row, gene in enumerate(screen.source.tolist()):
            if gene in place:
                counts[row] += 1
                for column, token in enumerate(names):
                    total[row, column] += logits[place[gene], token] - logits[:, token].mean()
    clean, _ = Runner(setting).run([])
    found = clean.output.logits(model.output(), model.gene_tokens(screen.genes.tolist()), counts)
    np.testing.assert_allclose(found, total / np.maximum(counts, 1)[:, None], atol=1e-4)
    assert np.abs(found).max() > 0.5


@pytest.fixture
def states():
    """A clean and a changed state, two cells of 5 and 3 tokens."""
    draws = torch.Generator().manual_seed(1)
    clean = torch.randn((2, 5, 16), generator=draws)
    return clean, clean + 0.3 * torch.randn((2, 5, 16), generator=draws), np.array([5, 3])


def padded(state, length, fill):
    return torch.cat([state, torch.full((2, length - state.shape[1], state.shape[2]), fill)], dim=1)


def real_of(length, lengths):
    return real_tokens(TokenBatch(tokens=np.zeros((2, length), dtype=np.int64), lengths=lengths), "cpu")


@pytest.mark.parametrize("length", [5, 9])
def test_hidden_distance_is_one_minus_cosine_over_real_tokens(states, length):
    clean, changed, lengths = states
    expected = [
        sum(cosine(clean[cell, at].double(), changed[cell, at].double()) for at in range(lengths[cell]))
        for cell in range(2)
    ]
    real = real_of(length, lengths)
    first, second = padded(clean, length, 7.0), padded(changed, length, -3.0)
    found, differs = hidden_distance(clean_state(first), second, real)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5)
    assert differs
    none, differs = hidden_distance(clean_state(first), first.clone(), real)
    assert not none.any()
    assert not differs


def test_small_hidden_distances_do_not_cancel():
    direction = torch.zeros((1, 1, 16))
    direction[0, 0, 0] = 1.0
    moved = direction.clone()
    moved[0, 0, 1] = 1e-4
    found, _ = hidden_distance(clean_state(direction), moved, torch.ones((1, 1)))
    assert float(found) == pytest.approx(5e-9, rel=1e-3)


@pytest.mark.parametrize("length", [5, 9])
def test_logit_distance_equals_the_cosine_of_explicit_logits(model, states, length):
    clean, changed, lengths = states
    output = model.output()
    weight, bias = output.weight.double().numpy(), output.bias.double().numpy()
    expected = [
        sum(
            cosine(weight @ clean[cell, at].double().numpy() + bias, weight @ changed[cell, at].double().numpy() + bias)
            for at in range(lengths[cell])
        )
        for cell in range(2)
    ]
    distance = LogitDistance(output)
    real = real_of(length, lengths)
    before = distance.prepared(padded(clean, length, 7.0))
    np.testing.assert_allclose(distance.distance(before, padded(changed, length, -3.0), real), expected, rtol=1e-9)
    assert float(distance.distance(before, padded(clean, length, 0.0), real).abs().max()) < 1e-12


def test_padding_changes_no_output_sum(setting, states):
    from interp_assets.interventions.cells import CellRows

    state, _, lengths = states
    rows = [
        CellRows(row_at=np.array([1, 4]), row=np.array([0, 2]), column_at=np.array([1]), column=np.array([0])),
        CellRows(row_at=np.array([2]), row=np.array([2]), column_at=np.array([2]), column=np.array([0])),
    ]
    found = []
    for length in (5, 9):
        sums = OutputSums(3, 16, "cpu")
        sums.add(padded(state, length, 50.0), real_of(length, lengths), rows)
        found.append(sums.total.double())
    mean = [state[0].double().mean(0), state[1, :3].double().mean(0)]
    expected = torch.zeros((3, 16), dtype=torch.float64)
    expected[0] = state[0, 1] - mean[0]
    expected[2] = state[0, 4] - mean[0] + state[1, 2] - mean[1]
    for one in found:
        torch.testing.assert_close(one, expected, atol=1e-5, rtol=1e-5)

"""Effects of silenced components equal a forward pass written out by hand, in any batch."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from interp_assets.cells.outcomes import no_outcomes
from interp_assets.edges.records import Reference
from interp_assets.models.families.geneformer import GeneformerModel, load_geneformer
from interp_assets.models.files.releases import read_release
from interp_assets.readings import mediation as module
from interp_assets.readings.catalogue import reading
from interp_assets.readings.coalitions import (
    Sequences,
    chain_coalitions,
    components_of,
    read_coalitions,
    silenced,
)
from interp_assets.readings.records import ReadData, Reading, ReadingContext, kept_files, read_files
from interp_assets.readings.tf_target_pairs import choose_pairs, directed_pairs, pair_sequence, tissue_of

LAYERS, HEADS, TOKENS = 3, 4, 14
SETTINGS = {
    "mediation_pairs": 2,
    "mediation_cells": 4,
    "mediation_tokens": TOKENS,
    "mediation_set_cells": 2,
    "mediation_permutations": 4,
}
ALL_HEADS = [(layer, head) for layer in range(LAYERS) for head in range(HEADS)]


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, example, models) -> Path:
    return example.write_bert(tmp_path_factory.mktemp("traced") / "tiny", models.seal, layers=LAYERS, heads=HEADS)


def network(genes: np.ndarray, pairs: list[tuple[str, str]], *, directed: bool = True, name: str = "net") -> Reference:
    number = {str(gene): place for place, gene in enumerate(genes)}
    source, target = (np.array([number[pair[side]] for pair in pairs], dtype=np.int32) for side in (0, 1))
    return Reference(
        name=name, genes=genes, source=source, target=target, directed=directed, regulators=np.unique(source)
    )


PAIRS = [("G3", "G8"), ("G3", "G9"), ("G11", "G4"), ("G20", "G20"), ("G2", "X0")]


@pytest.fixture(scope="module")
def tissue(example, models) -> Callable[..., ReadData]:
    """Function: a tissue of nine cells, eight of them control, whose network lists some pairs."""

    def make(role: str, seed: int, pairs=PAIRS, *, directed: bool = True) -> ReadData:
        genes = [f"G{number}" for number in range(30)]
        counts = np.hstack([example.toy_counts(9, 30, seed), np.ones((9, 1), dtype=int)])
        cells = models.prepared_cells(counts, [*genes, "X0"], [*genes[:25], "X0"], control=np.arange(9) != 6)
        cells = replace(cells, dataset=f"toy{seed}", cells_hash=str(seed) * 64)
        references = {"net": network(cells.universe, pairs, directed=directed)}
        return ReadData(
            role=role, cells=cells, labels=no_outcomes(cells), references=references, primary_reference="net"
        )

    return make


@pytest.fixture(scope="module")
def ask(make_context) -> Callable[..., ReadingContext]:
    """Function: a context on some tissues, settings changed by name."""
    absent = {"tissues[3]": "study toy fills no role tissues[3]"}
    return lambda folder, *data, **settings: make_context(
        folder, *data, settings={**SETTINGS, **settings}, absent=absent, seed=3
    )


@pytest.fixture(scope="module")
def context(ask, folder, tissue) -> ReadingContext:
    return ask(folder, tissue("tissues[1]", 0), tissue("tissues[2]", 1))


@pytest.fixture(scope="module")
def found(context) -> Reading:
    return module.read(context)


def naive_effects(naive: Any, data: ReadData, pair: tuple[str, str], cell: int, changes: list[dict]) -> list[float]:
    """m of every change by hand: the sequence from the counts, a float64 pass with loops, logits subtracted."""
    names = data.cells.genes.tolist()
    counts = data.cells.counts[np.flatnonzero(data.cells.control)].toarray()[cell][:30]
    order = sorted(np.flatnonzero(counts).tolist(), key=lambda gene: (-counts[gene], gene))[:22]
    source, target = (names.index(gene) for gene in pair)
    spare = [gene for gene in order if gene not in (source, target)][: TOKENS - 4]
    kept = [gene for gene in order if gene in (source, target) or gene in spare]
    shown = [2, *(1 if gene == target else gene + 4 for gene in kept), 3]
    hidden = [1 if token == source + 4 else token for token in shown]
    at = 1 + kept.index(target)

    def read_out(change: dict) -> float:
        with_it, without = (naive.run(tokens, **change).logits[at, target + 4] for tokens in (shown, hidden))
        return float(with_it - without)

    clean = read_out({})
    return [clean - read_out(change) for change in changes]


def change_of(granularity: str, coalition: int) -> dict:
    if granularity == "mlp":
        return {"mlp": tuple(layer for layer in range(LAYERS) if coalition >> layer & 1)}
    return {"zero": tuple(head for number, head in enumerate(ALL_HEADS) if coalition >> number & 1)}


def test_catalogue_row_reads_it():
    assert reading("mediation").run is module.read
    assert reading("mediation").roles == module.ROLES


@pytest.mark.parametrize(("granularity", "components"), [("mlp", LAYERS), ("heads", LAYERS * HEADS)])
def test_every_effect_equals_the_forward_pass_by_hand(context, found, folder, example, granularity, components):
    naive = example.Naive(folder)
    everything = (1 << components) - 1
    for name in ("effects", "sets"):
        table = found.tables[name]
        table = table[table["granularity"] == granularity]
        largest = 0.0
        for (role, regulator, target, cell), own in table.groupby(["role", "regulator", "target", "cell"]):
            if name == "effects":
                coalitions = [1 << part if part >= 0 else everything for part in own["component"]]
            else:
                coalitions = own["coalition"].tolist()
                coalitions = coalitions[:: 1 if components < 5 else 7]  # a seventh of the many sets of heads
                own = own.iloc[:: 1 if components < 5 else 7]
            changes = [change_of(granularity, coalition) for coalition in coalitions]
            expected = naive_effects(naive, context.data[role], (regulator, target), int(cell), changes)
            np.testing.assert_allclose(own["effect"], expected, atol=5e-5)
            largest = max(largest, *map(abs, expected))
        assert largest > 0.05  # far above the tolerance


def test_all_components_are_measured_in_the_cells_that_hold_both_genes(context, found):
    effects, sets, pairs = (found.tables[name] for name in ("effects", "sets", "run_pairs"))
    assert set(effects["component"][effects["granularity"] == "mlp"]) == {-1, 0, 1, 2}
    assert set(effects["component"][effects["granularity"] == "heads"]) == {-1, *range(12)}
    mlp = sets[sets["granularity"] == "mlp"]
    assert (
        mlp.groupby(["role", "regulator", "cell"])["coalition"].apply(sorted).apply(tuple) == tuple(range(1, 8))
    ).all()
    assert set(pairs[["regulator", "target"]].itertuples(index=False, name=None)) <= {
        ("G3", "G8"),
        ("G3", "G9"),
        ("G11", "G4"),
    }
    for row in pairs.itertuples():
        cells = context.data[row.role].cells
        counts = cells.counts[np.flatnonzero(cells.control)].toarray()
        both = np.flatnonzero(counts[:, [int(row.regulator[1:]), int(row.target[1:])]].all(axis=1))
        own = effects[(effects["role"] == row.role) & (effects["regulator"] == row.regulator)]
        assert set(own["cell"]) <= set(both.tolist())
        assert row.cells == own["cell"].nunique() == min(row.cells_with_both, 4)
        assert row.cells_with_both <= both.size  # a gene may lie beyond the longest sequence
        assert (row.set_cells, row.reference) == (min(row.cells, 2), "net")
    assert found.facts["reasons"] == {"tissues[3]": "study toy fills no role tissues[3]"}
    assert found.arrays["orders_heads"].shape == (4, 12)
    assert "orders_mlp" not in found.arrays


def test_without_any_head_nothing_of_the_regulator_reaches_the_target(found):
    effects, pairs = found.tables["effects"], found.tables["run_pairs"]
    heads = effects[(effects["granularity"] == "heads") & (effects["component"] == -1)]
    mean = heads.groupby(["role", "regulator", "target"], sort=False)["effect"].mean()
    np.testing.assert_allclose(mean.to_numpy(), pairs["read_out"], atol=1e-5)


def test_orders_of_joining_and_strongest_sets_are_measured(found):
    sets = found.tables["sets"]
    heads = sets[sets["granularity"] == "heads"]
    orders = found.arrays["orders_heads"]
    assert (np.sort(orders, axis=1) == np.arange(12)).all()
    assert (orders[1::2] == orders[::2, ::-1]).all()
    for role, own in heads.groupby("role"):
        measured = set(own["coalition"])
        assert set(chain_coalitions(orders)[:, 1:].ravel().tolist()) <= measured
        a, b, c, *_ = found.facts["interacting"][role]["heads"]
        assert {1 << a | 1 << b, 1 << a | 1 << b | 1 << c} <= measured
    assert len(found.facts["interacting"]["tissues[1]"]["heads"]) == 5


def sequences_of(lengths=(14, 9, 5, 14, 7, 3)) -> Sequences:
    rng = np.random.default_rng(4)
    tokens = [np.concatenate([[2], rng.permutation(np.arange(4, 34))[: n - 2], [3]]) for n in lengths]
    return Sequences(tokens=tokens, at=np.ones(len(lengths), dtype=np.int64), asked=np.arange(4, 4 + len(lengths)))


def test_pooled_batches_equal_cell_by_cell(folder):
    model = load_geneformer(read_release(folder))
    parts, asked = components_of("heads", LAYERS, HEADS), [0, 1, 6, 4095, 2048]
    pooled = read_coalitions(model, model.output(), sequences_of(), parts, asked, batch_tokens=1000)
    alone = read_coalitions(model, model.output(), sequences_of(), parts, asked, batch_tokens=1)
    np.testing.assert_allclose(pooled, alone, atol=2e-5)
    assert (np.abs(pooled[1:] - pooled[0]).max(axis=1) > 1e-3).all()


def test_coalitions_that_agree_share_their_blocks(folder, monkeypatch):
    model, steps = load_geneformer(read_release(folder)), []
    blocks = model.blocks

    def counted(batch, *, form):
        made = blocks(batch, form=form)
        return SimpleNamespace(
            start=made.start, step=lambda layer, hidden: (steps.append(layer), made.step(layer, hidden))[1]
        )

    monkeypatch.setattr(model, "blocks", counted)
    parts = components_of("mlp", LAYERS, HEADS)
    read_coalitions(model, model.output(), sequences_of((6, 6)), parts, list(range(8)))
    assert len(steps) == 2**4 - 2


def test_components_are_single_heads_or_about_24_groups():
    assert [part.name for part in components_of("heads", 2, 2)] == ["heads.0.0", "heads.0.1", "heads.1.0", "heads.1.1"]
    groups = components_of("heads", 8, 8)
    assert len(groups) == 24
    assert sorted(head for part in groups if part.layer == 5 for head in part.heads) == list(range(8))
    assert len(components_of("heads", 18, 18)) == 18
    assert [part.name for part in components_of("mlp", 2, 9)] == ["mlp.0", "mlp.1"]
    assert silenced(groups, 0b101, 0).zero == ((0, 0), (0, 1), (0, 2), (0, 6), (0, 7))
    assert silenced(groups, 0b101, 1) is None
    with pytest.raises(ValueError, match="use mlp or heads"):
        components_of("layers", 2, 2)


def held(**counts: dict[tuple[str, str], int]) -> dict[str, Any]:
    return {role: SimpleNamespace(held=own) for role, own in counts.items()}


def test_pairs_of_most_cells_in_most_tissues_come_first_and_genes_stand_once():
    ab, ac, db, ef, gh = ("A", "B"), ("A", "C"), ("D", "B"), ("E", "F"), ("G", "H")
    tissues = held(one={ab: 9, ac: 8, db: 7, ef: 50, gh: 3}, two={ab: 9, ac: 9, db: 9, gh: 3}, three={ab: 5, gh: 3})
    assert choose_pairs(tissues, 3, 6) == [ab, gh, ef]
    assert choose_pairs(tissues, 5, 6) == [ab, gh, ef, ac, db]
    assert choose_pairs(held(one={}), 3, 6) == []


def test_pairs_come_from_one_directed_network_without_self_pairs(folder, tissue):
    genes = np.array(["A", "B", "C"])
    listed = network(genes, [("A", "B"), ("C", "C"), ("A", "C"), ("A", "B")])
    assert directed_pairs(listed, {"A", "B", "C"}) == [("A", "B"), ("A", "C")]
    assert directed_pairs(listed, {"A", "C"}) == [("A", "C")]
    assert directed_pairs(replace(listed, directed=False), {"A", "B", "C"}) == []
    model, data = load_geneformer(read_release(folder)), tissue("tissues[1]", 0)
    universe = data.cells.universe
    references = {
        "undirected": network(universe, [("G1", "G2")], directed=False),
        "second": network(universe, [("G3", "G8")]),
        "third": network(universe, [("G4", "G5")]),
    }
    for primary, reference, pair in (
        ("third", "third", ("G4", "G5")),
        ("undirected", "second", ("G3", "G8")),
        ("absent", "second", ("G3", "G8")),
    ):
        found = tissue_of(model, data.cells, references, primary)
        assert (found.reference, list(found.held)) == (reference, [pair])


def test_a_long_sequence_keeps_the_pair_and_the_highest_ranks():
    encoded = SimpleNamespace(
        tokens=np.array([2, 10, 11, 12, 13, 14, 3], dtype=np.int32),
        column=np.array([-1, 0, 1, 2, 3, 4, -1], dtype=np.int32),
        offsets=np.array([0, 7]),
    )
    whole = pair_sequence(encoded, 0, regulator=4, target=2, hide=np.ones_like, most=0)
    assert (whole.shown.tolist(), whole.hidden.tolist(), whole.at) == (
        [2, 10, 11, 1, 13, 14, 3],
        [2, 10, 11, 1, 13, 1, 3],
        3,
    )
    short = pair_sequence(encoded, 0, regulator=4, target=2, hide=np.ones_like, most=5)
    assert (short.shown.tolist(), short.hidden.tolist(), short.at) == ([2, 10, 1, 14, 3], [2, 10, 1, 1, 3], 2)


def test_a_change_that_changes_nothing_is_caught(context, monkeypatch):
    monkeypatch.setattr(GeneformerModel, "intervening", lambda self, intervention: nullcontext())
    assert "changed nothing behind it" in module.read(context)
    monkeypatch.setattr(module, "_check", lambda plan, case: None)
    assert "silencing all mlp changed no read-out in any of 4 cells" in module.read(context)


def test_what_cannot_be_traced_has_a_reason(ask, folder, tissue, example, models, tmp_path, context):
    headless = example.write_bert(tmp_path / "bare", models.seal, head="none")
    assert "no token prediction head" in module.read(ask(headless, tissue("tissues[1]", 0)))
    table = replace(context, release=SimpleNamespace(family="edge_table", name="table"))
    assert module.read(table) == module.NO_MODEL
    assert module.read(replace(context, data={})) == "study toy fills no role tissues[3]"
    undirected = ask(folder, tissue("tissues[1]", 0, directed=False))
    assert "no directed reference lists a pair" in module.read(undirected)
    with pytest.raises(ValueError, match="even number of at least 4"):
        module.read(ask(folder, tissue("tissues[1]", 0), mediation_permutations=3))


def test_a_pair_that_no_cell_holds_leaves_its_tissue_out(ask, folder, tissue):
    one, two = tissue("tissues[1]", 0), tissue("tissues[2]", 1)
    counts = two.cells.counts.toarray()
    counts[:, 3] = 0
    empty = replace(two, cells=replace(two.cells, counts=type(two.cells.counts)(counts)))
    only = [("G3", "G8")]
    one, empty = (replace(d, references={"net": network(d.cells.universe, only)}) for d in (one, empty))
    found = module.read(ask(folder, one, empty))
    assert set(found.tables["run_pairs"]["role"]) == {"tissues[1]"}
    assert "no control cell holds both genes" in found.facts["reasons"]["tissues[2]"]
    assert "no control cell holds both" in module.read(ask(folder, empty))


def test_same_context_same_numbers_and_files_keep_them(context, found, tmp_path):
    again = module.read(context)
    for name, table in found.tables.items():
        assert table.equals(again.tables[name])
    assert again.facts == found.facts

    def parquet(frame: pd.DataFrame) -> bytes:
        held = BytesIO()
        frame.to_parquet(held)
        return held.getvalue()

    for name, content in kept_files("mediation", found, parquet).items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    back = read_files("mediation", lambda name: tmp_path / name)
    assert back.facts == dict(found.facts)
    pd.testing.assert_frame_equal(back.tables["effects"], found.tables["effects"])

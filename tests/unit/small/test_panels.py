"""The committed gene lists: what they hold, that they can be made again, and that no outcome chose them."""

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix

from interp_assets.cells.panels import BUILT_IN, read_panel
from interp_assets.models.small import panels
from interp_assets.models.small.cells import DonorCells, baron_cells, training_and_held_out


def cells_of(counts, genes, donors=None):
    counts = csr_matrix(np.asarray(counts, dtype=np.int32))
    names = np.array([f"cell{i}" for i in range(counts.shape[0])])
    donors = np.array(donors if donors is not None else ["a"] * counts.shape[0])
    return DonorCells(
        counts=counts, genes=np.array(genes), names=names, donors=donors, data="test", data_sha256="0" * 64
    )


def test_committed_panels_have_their_sizes():
    universe, bench = set(read_panel("demo_universe")), set(read_panel("perturbation_genes"))
    vocabulary = set(read_panel("small_vocabulary"))
    assert (len(universe), len(bench), len(vocabulary)) == (1200, 760, 2044)
    assert bench <= vocabulary
    assert set(read_panel("layer_selection_genes")) == vocabulary - universe
    assert len(universe - vocabulary) <= 5


def test_densest_genes_equal_a_plain_loop():
    rng = np.random.default_rng(0)
    source, target = rng.integers(0, 30, 150), rng.integers(0, 30, 150)
    alive = set(source.tolist()) | set(target.tolist())
    while len(alive) > 12:
        degree = {
            g: sum(int(g == a) + int(g == b) for a, b in zip(source, target, strict=True) if a in alive and b in alive)
            for g in alive
        }
        alive.remove(min(sorted(alive), key=lambda g: degree[g]))
    found = panels._densest_genes(source, target, 30, 12)
    assert set(np.flatnonzero(found).tolist()) == alive


@pytest.fixture
def screen():
    rng = np.random.default_rng(4)
    genes = [f"G{i}" for i in range(60)]
    cells = cells_of(rng.poisson(rng.uniform(0.05, 2, 60), size=(80, 60)), genes)
    pairs = pd.DataFrame({"perturbed_gene": rng.choice(genes, 900), "target_gene": rng.choice(genes, 900)})
    return cells, pairs.assign(is_de=rng.integers(0, 2, 900))


def test_the_bench_panel_never_looks_at_an_outcome(screen, monkeypatch):
    monkeypatch.setattr(panels, "BENCH_GENES", 25)
    cells, labels = screen
    chosen = panels.bench_panel(cells, labels)
    turned = panels.bench_panel(cells, labels.assign(is_de=1 - labels["is_de"]))
    nothing = panels.bench_panel(cells, labels.assign(is_de=0))
    assert chosen.genes == turned.genes == nothing.genes and len(chosen.genes) == 25
    assert chosen.evaluable_perturbations > 0 == nothing.evaluable_perturbations


def test_the_bench_panel_counts_what_it_keeps(screen, monkeypatch):
    monkeypatch.setattr(panels, "BENCH_GENES", 25)
    cells, labels = screen
    panel = panels.bench_panel(cells, labels)
    present = (cells.counts.toarray() > 0).astype(int)
    together = present.T @ present
    where = {gene: i for i, gene in enumerate(cells.genes)}
    pairs, outcomes = 0, {}
    for row in labels.itertuples():
        a, b = row.perturbed_gene, row.target_gene
        if a != b and a in panel.genes and b in panel.genes and together[where[a], where[b]] >= 5:
            pairs += 1
            outcomes.setdefault(a, []).append(row.is_de)
    evaluable = sum(sum(o) >= 3 and len(o) - sum(o) >= 3 for o in outcomes.values())
    assert (panel.pairs, panel.perturbations, panel.evaluable_perturbations) == (pairs, len(outcomes), evaluable)
    assert f"keep {pairs} of 900 listed pairs" in panel.sentence()


def test_a_screen_without_known_genes_keeps_nothing(screen):
    cells, labels = screen
    panel = panels.bench_panel(cells, labels.assign(perturbed_gene="ELSEWHERE"))
    assert panel.genes == [] and panel.pairs == 0 and panel.evaluable_perturbations == 0


def test_a_vocabulary_that_cannot_hold_its_parts_is_an_error(monkeypatch):
    monkeypatch.setattr(panels, "VOCABULARY_GENES", 10)
    monkeypatch.setattr(panels, "demo_universe", lambda *_: [f"G{i}" for i in range(9)])
    cells = cells_of(np.eye(3), ["G0", "G1", "G2"])
    with pytest.raises(ValueError, match="hold 11 genes"):
        panels.small_vocabulary(cells, pd.DataFrame(columns=["tf", "target"]), ["X", "Y"])


def test_a_missing_wheel_is_named(tmp_path, capsys):
    assert panels.main(["--labels", str(tmp_path / "none.tsv"), "--wheels", str(tmp_path)]) == 2
    assert "came-0.1.13-py3-none-any.whl" in capsys.readouterr().err


def test_the_wheel_gives_the_committed_universe_and_vocabulary(data_wheels):
    training, held_out = training_and_held_out(baron_cells(data_wheels))
    assert (training.names.size, held_out.names.size) == (1836, 306)
    assert not set(training.donors) & set(held_out.donors)
    pairs = panels.regulator_targets(data_wheels)
    bench = list(read_panel("perturbation_genes"))
    assert panels.demo_universe(training, pairs) == list(read_panel("demo_universe"))
    assert panels.small_vocabulary(training, pairs, bench) == list(read_panel("small_vocabulary"))


@pytest.mark.mirror
def test_the_screen_gives_the_committed_bench_panel(data_wheels, data_mirror, tmp_path):
    labels = data_mirror / "perturb/perturbqa_k562_crispri_de_labels.tsv.gz"
    kept = panels.build_panels(data_wheels, labels, tmp_path)
    made = sorted(tmp_path.glob("*.txt"))
    assert [path.stem for path in made] == [
        "demo_universe",
        "layer_selection_genes",
        "perturbation_genes",
        "small_vocabulary",
    ]
    for path in made:
        assert path.read_bytes() == (BUILT_IN / path.name).read_bytes(), path.name
    assert (kept.pairs, kept.perturbations, kept.evaluable_perturbations) == (15_239, 706, 615)


def test_donors_are_split_and_named():
    cells = cells_of(np.arange(8).reshape(4, 2), ["A", "B"], ["x", "y", "x", "z"])
    rest, held_out = training_and_held_out(cells, "x")
    assert rest.names.tolist() == ["cell1", "cell3"] and held_out.counts.toarray().tolist() == [[0, 1], [4, 5]]
    with pytest.raises(ValueError, match="known: \\['x', 'y', 'z'\\]"):
        cells.of(("w",))
    with pytest.raises(ValueError, match="have no cells"):
        cells.of(())


def test_the_cells_hash_forgets_order_and_nothing_else():
    cells = cells_of(np.eye(3), ["A", "B", "C"])
    turned = cells_of(np.eye(3), ["A", "B", "C"])
    object.__setattr__(turned, "names", cells.names[::-1])
    assert cells.cells_sha256 == turned.cells_sha256
    object.__setattr__(turned, "names", np.array(["cell0", "cell1", "cell9"]))
    assert cells.cells_sha256 != turned.cells_sha256

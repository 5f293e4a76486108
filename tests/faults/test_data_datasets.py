"""Screens that hold next to nothing, or what is no count: each is prepared right or refused by name."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from interp_assets.assets.datasets import archive
from interp_assets.cells import artefacts
from interp_assets.cells.prepare import CONTROL as OWN_CONTROL
from interp_assets.cells.records import PreparedCells, ScreenLabels, Unavailable
from interp_assets.cli import main
from interp_assets.layout import read_layout
from tests.faults.small_world import CONTROL, Screen, World, drawn_screen

pytestmark = pytest.mark.filterwarnings("ignore:Variable names are not unique")

GENES = [f"G{number}" for number in range(12)]
PERTURBED = ["G0", "G1", "G2"]
Alter = Callable[[Screen], None]


@pytest.fixture
def world(tmp_path, monkeypatch) -> World:
    found = World(tmp_path)
    found.described(monkeypatch)
    return found


def check(path) -> tuple[int, str, str]:
    """Exit code, output and errors of ``interp datasets check``."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # anndata tells of repeated names
        code = main(["datasets", "check", str(path)])
    return code, out.getvalue(), err.getvalue()


def prepared(name: str) -> tuple[PreparedCells, ScreenLabels]:
    """Cells and outcomes of a declared screen, as their assets make them."""
    shelf = archive(read_layout())
    cells = artefacts.prepared_cells(shelf, name)
    assert not isinstance(cells, Unavailable)
    labels = artefacts.screen_outcomes(shelf, name, cells)
    assert not isinstance(labels, Unavailable)
    return cells, labels


@dataclass(frozen=True)
class Case:
    """A fault of a screen, what its refusal says, and what else is declared of it."""

    what: str
    alter: Alter
    said: str
    declared: dict[str, Any] = field(default_factory=dict)


def only(*labels: str) -> Alter:
    """Keep the cells with these labels."""

    def alter(screen: Screen) -> None:
        kept = np.isin(np.asarray(screen.obs["guide"], dtype=str), labels)
        screen.counts = screen.counts[kept]
        screen.cells = [name for name, keep in zip(screen.cells, kept, strict=True) if keep]
        screen.obs = {key: np.asarray(values, dtype=object)[kept] for key, values in screen.obs.items()}

    return alter


def put(value: float, gene: int = 3) -> Alter:
    def alter(screen: Screen) -> None:
        screen.counts = screen.counts.astype(np.float64)
        screen.counts[5, gene] = value

    return alter


def shaped(cells: int, genes: int) -> Alter:
    def alter(screen: Screen) -> None:
        screen.counts, screen.genes = screen.counts[:cells, :genes], screen.genes[:genes]
        screen.cells = screen.cells[:cells]
        screen.obs = {key: values[:cells] for key, values in screen.obs.items()}

    return alter


def first_labels(count: int) -> Alter:
    """The first cells of every label."""

    def alter(screen: Screen) -> None:
        labels = pd.Series(np.asarray(screen.obs["guide"], dtype=str))
        kept = (labels.groupby(labels).cumcount() < count).to_numpy()
        screen.counts = screen.counts[kept]
        screen.cells = [name for name, keep in zip(screen.cells, kept, strict=True) if keep]
        screen.obs = {key: np.asarray(values, dtype=object)[kept] for key, values in screen.obs.items()}

    return alter


def named(index: int, name: str) -> Alter:
    def alter(screen: Screen) -> None:
        screen.genes[index] = name

    return alter


def cell_named(index: int, name: str) -> Alter:
    def alter(screen: Screen) -> None:
        screen.cells[index] = name

    return alter


def huge_twice(screen: Screen) -> None:
    """Two genes of one name, each with a count that fits, whose sum does not."""
    put(2e9, 3)(screen)
    put(2e9, 4)(screen)
    screen.genes[4] = screen.genes[3]


def labelled(value: Any) -> Alter:
    """Give the last cells another label."""

    def alter(screen: Screen) -> None:
        labels = np.asarray(screen.obs["guide"], dtype=object).copy()
        labels[-15:] = value
        screen.obs["guide"] = labels

    return alter


def one_control(screen: Screen) -> None:
    """One perturbation, and one of its cells called a control cell."""
    only("G0")(screen)
    labels = np.asarray(screen.obs["guide"], dtype=object).copy()
    labels[0] = CONTROL
    screen.obs["guide"] = labels


def as_drawn(screen: Screen) -> None:
    """The screen is sound; what is declared of it is not."""


WITH_DONOR = {"cells": {"obs": {"perturbation": ["guide"], "donor": ["donor"]}}}
REFUSED = (
    Case("no control cell", only(*PERTURBED), "key `cells.control_label` of toy.yaml): no cell is labelled 'NT'"),
    Case("one control cell", one_control, "1 control cell of 15 cells"),
    Case("a matrix of zeros", lambda s: s.counts.fill(0), "nothing is left: 0 of 85 cells"),
    Case("no cell", shaped(0, 12), "the matrix is empty, 0 cells x 12 genes"),
    Case("no gene", shaped(85, 0), "the matrix is empty, 85 cells x 0 genes"),
    Case("repeated cell names", cell_named(1, "cell0"), "cell names repeat. Make obs_names unique"),
    Case("a negative count", put(-1.0), "are no counts, the first is -1; raw integer counts are expected"),
    Case("half a count", put(0.5), "are no counts, the first is 0.5"),
    Case("a NaN count", put(np.nan), "the matrix holds NaN or infinite values"),
    Case("an infinite count", put(np.inf), "the matrix holds NaN or infinite values"),
    Case("a count beyond 32 bits", put(2.0**31), "a count exceeds 2,147,483,647"),
    Case("a sum beyond 32 bits of genes of one name", huge_twice, "genes of one name are summed: a count exceeds"),
    Case("a cell without a label", labelled(np.nan), "column guide has missing or empty values"),
    Case("a blank label", labelled("  "), "column guide has missing or empty values"),
    Case("cells of another's control name", labelled(OWN_CONTROL), "15 cells are labelled 'control'"),
    Case("too few cells of every perturbation", first_labels(4), "no perturbation has 5 cells; 3 excluded"),
    Case("a gene without a name", named(2, "  "), "1 genes have no name. Name them in var_names"),
    Case("a line break in a gene", named(2, "a\nb"), "gene 'a\\nb' holds '\\n'; a name has no line break"),
    Case("a line break in a cell", cell_named(2, "a\nb"), "cell 'a\\nb' holds '\\n'; a name has no line break"),
    Case("an escape in a label", labelled("\x1b[31mG2"), "column guide: label '\\x1b[31mG2' holds '\\x1b'"),
    Case("a name of 1,001 characters", named(2, "x" * 1001), "has 1,001 characters; a name has at most 1,000"),
    Case("no modality", as_drawn, "3 perturbations of dataset 'toy' are measured genes", {"modality": "none"}),
    Case("no donor column", as_drawn, "no column donor; columns: guide", WITH_DONOR),
)


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.what)
def test_a_screen_that_cannot_be_is_refused_by_name(case, world, tally) -> None:
    screen = drawn_screen(GENES, PERTURBED, seed=0)
    case.alter(screen)
    screen.written(world.root / "mirror" / "toy.h5ad")
    path = world.declare_cells("toy", **case.declared)
    code, out, err = check(path)
    assert (code, out) == (2, "")
    assert case.said in err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert "toy" in err
    assert not list((world.root / "store").glob("cells/toy/*"))
    tally("fault", "a screen that cannot be one", "refused")


def repeated_gene(screen: Screen) -> None:
    screen.genes[7] = screen.genes[4]


def no_gene_perturbed(screen: Screen) -> None:
    labels = np.asarray(screen.obs["guide"], dtype=object)
    screen.obs["guide"] = np.where(labels == CONTROL, CONTROL, [f"{name}-guide" for name in labels]).astype(object)


def zero_gene(screen: Screen) -> None:
    screen.counts[:, 4] = 0


def zero_in_controls(screen: Screen) -> None:
    screen.counts[np.asarray(screen.obs["guide"]) == CONTROL, 4] = 0


def constant_gene(screen: Screen) -> None:
    screen.counts[:, 4] = 1


SOUND = {
    "one perturbation": only(CONTROL, "G1"),
    "no perturbation": only(CONTROL),
    "10 cells": first_labels(5),
    "two genes": shaped(85, 2),
    "one gene": shaped(85, 1),
    "a gene without a count": zero_gene,
    "a gene without a count in control cells": zero_in_controls,
    "one count of a gene in every cell": constant_gene,
    "two genes of one name": repeated_gene,
    "labels that name no gene": no_gene_perturbed,
    "a count of 2,000,000,000": put(2e9),
}


@dataclass(frozen=True)
class Expected:
    """What plain loops make of a screen: counts by gene and cell, and p of every pair that is tested."""

    counts: dict[tuple[str, str], int]
    p: dict[tuple[str, str], float]


def plain(screen: Screen, min_cells: int = 5) -> Expected:
    """Plain loops over cells and genes, with scipy's Welch test."""
    labels = np.asarray(screen.obs["guide"], dtype=str)
    kept = screen.counts.sum(axis=1) > 0
    names = list(dict.fromkeys(screen.genes))
    summed = np.array([screen.counts[:, np.array(screen.genes) == name].sum(axis=1) for name in names]).T[kept]
    labels, cells = labels[kept], np.array(screen.cells)[kept]
    log = np.log1p(summed / summed.sum(axis=1, keepdims=True) * 1e4).astype(np.float32).astype(np.float64)
    control = labels == CONTROL
    scored = [name for at, name in enumerate(names) if summed[control, at].any()]
    p = {}
    for label in sorted({*labels} - {CONTROL}):
        own = labels == label
        for at, gene in enumerate(names):
            if own.sum() >= min_cells and gene in scored and gene != label:
                p[label, gene] = welch(log[own, at], log[control, at])
    counts = {(cell, gene): int(summed[i, j]) for i, cell in enumerate(cells) for j, gene in enumerate(names)}
    return Expected(counts, p)


def welch(one: np.ndarray, other: np.ndarray) -> float:
    if np.ptp(one) == 0 and np.ptp(other) == 0:
        return 1.0
    return float(stats.ttest_ind(one, other, equal_var=False).pvalue)


def compare(screen: Screen, name: str) -> int:
    """Hold what the platform makes of a screen against plain loops; how many pairs were tested."""
    expected = plain(screen)
    cells, labels = prepared(name)
    dense = cells.counts.toarray()
    found = {(c, g): int(dense[i, j]) for i, c in enumerate(cells.obs.index) for j, g in enumerate(cells.genes)}
    assert found == expected.counts
    assert np.isfinite(cells.log.data).all()
    tested = {(row.perturbation, row.gene): row.p for row in labels.table.itertuples()}
    assert set(tested) == set(expected.p)
    assert list(tested.values()) == pytest.approx([expected.p[pair] for pair in tested], rel=1e-6, abs=1e-12)
    places = {gene: at for at, gene in enumerate(labels.genes)}
    for at, perturbation in enumerate(labels.perturbations):
        outside = {gene for gene in places if (perturbation, gene) not in expected.p}
        assert {gene for gene, place in places.items() if labels.label[at, place] == -1} == outside
    return len(tested)


@pytest.mark.parametrize("what", SOUND)
def test_a_poor_screen_is_prepared_as_plain_loops_prepare_it(what, world, tally) -> None:
    screen = drawn_screen(GENES, PERTURBED, seed=1)
    SOUND[what](screen)
    screen.written(world.root / "mirror" / "toy.h5ad")
    code, out, err = check(world.declare_cells("toy"))
    assert (code, err) == (0, "")
    assert f"valid; {int((screen.counts.sum(axis=1) > 0).sum())} cells" in out
    tested = compare(screen, "toy")
    assert tested > 0 or what in ("no perturbation", "one gene")
    tally("fault", "a screen that holds next to nothing")


def drawn_fault(rng: np.random.Generator) -> Screen:
    """A small screen with a few faults at once."""
    genes = [str(name) for name in rng.choice(GENES, int(rng.integers(1, 9)))]
    screen = drawn_screen(genes, PERTURBED, int(rng.integers(2**31)), controls=int(rng.integers(0, 9)), each=6)
    screen.counts[:, rng.random(len(genes)) < 0.2] = 0
    screen.counts[rng.random(len(screen.cells)) < 0.2] = 0
    kept = rng.random(len(screen.cells)) < 0.9
    return Screen(
        screen.counts[kept],
        genes,
        [name for name, keep in zip(screen.cells, kept, strict=True) if keep],
        {"guide": np.asarray(screen.obs["guide"], dtype=object)[kept]},
    )


def test_any_small_screen_is_prepared_right_or_refused(world, tally, soak) -> None:
    ended = {"right": 0, "refused": 0}
    for attempt in range(12 * soak):
        screen = drawn_fault(np.random.default_rng([7, attempt]))
        screen.written(world.root / "mirror" / "toy.h5ad")
        world.declare_cells("toy")
        try:
            compare(screen, "toy")
            ended["right"] += 1
        except ValueError as error:
            assert "dataset toy" in str(error) or "dataset 'toy'" in str(error)
            assert not plain(screen).p or int((np.asarray(screen.obs["guide"]) == CONTROL).sum()) < 2, error
            ended["refused"] += 1
    assert min(ended.values()) > 0, ended
    for how, times in ended.items():
        tally("fault", "random small screens with zeros, repeated genes and few cells", how, times)

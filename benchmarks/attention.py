"""Reading attention beside the forward pass alone, and beside what is done today; memory over cells and genes."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from benchmarks.growth import Growth
from benchmarks.paired import Path, Ways

if TYPE_CHECKING:
    from benchmarks.attention_ways import Size

Name = Literal["SMALL", "PARTLY", "SHORT"]
# What is read, most forward passes for every head and for the head mean, and how many times as fast as eager outputs.
# Eager goals are what eager outputs took when the first goals were set (4.65, 2.14, 5.73 passes) over those goals.
SIZES: dict[Name, tuple[str, float, float, float]] = {
    "SMALL": ("6 layers x 4 heads x 256, 320-512 tokens, all scored", 1.6, 1.3, 2.9),
    "PARTLY": ("6 layers x 4 heads x 256, 320-512 tokens, 40 % scored", 1.2, 1.1, 1.8),
    "SHORT": ("4 layers x 4 heads x 128, 128 tokens, all scored", 1.9, 1.5, 3.0),
}
LARGEST_DIFFERENCE = 1e-6
WHY_EAGER = (
    "The goal is what eager outputs took when goals were set, timed once, over our own goal beside the forward pass. "
    "Here they take fewer forward passes, a cell at a time and so without padding, and both ways run one."
)


def of_size(name: Name) -> Size:
    from benchmarks import attention_ways

    return getattr(attention_ways, name)


def beside_forward(size: Size, heads: Literal["all", "mean"]) -> Ways:
    """Ours against the forward pass, which gives nothing to compare: eager outputs of the same cells are compared."""
    from benchmarks.attention_ways import Readings

    readings = Readings(size)
    ours = readings.sums(heads)
    return Ways(
        ours=ours,
        theirs=readings.forward,
        agree=lambda sums, _: same_sums(sums, readings.eager(), size),
        warm=lambda: warmed(size, heads),
    )


def beside_eager(size: Size, way: Literal["eager", "listed"]) -> Ways:
    """Ours with every head against the outputs of an eager forward pass, mapped to genes."""
    from benchmarks.attention_ways import Readings

    readings = Readings(size)
    return Ways(
        ours=readings.sums("all"),
        theirs=getattr(readings, way),
        agree=lambda sums, eager: same_sums(sums, eager, size),
        warm=lambda: warmed(size, "all"),
    )


def warmed(size: Size, heads: str) -> None:
    """Kernels compiled, and the libraries' own memory taken, on a few small cells."""
    from benchmarks.attention_ways import Readings

    Readings(replace(size, genes=64, tokens=(40, 40), layers=2, cells=4)).sums(heads)()


def same_sums(sums: np.ndarray, eager: np.ndarray, size: Size) -> str:
    """Sums over cells of every pair and head, or of the sum over heads."""
    shape = (size.layers, -1, size.genes, size.genes)
    ours, theirs = sums.reshape(shape), eager
    if ours.shape[1] == 1:
        theirs = eager.sum(axis=1, keepdims=True)
    largest = float(np.abs(ours - theirs).max())
    if not largest <= LARGEST_DIFFERENCE:
        raise AssertionError(f"sums of attention differ from those of eager outputs by up to {largest:.2g}")
    return (
        f"sums over {size.cells} cells, up to {theirs.max():.2g}, differ from those of eager outputs by at most "
        f"{largest:.1g} (bound {LARGEST_DIFFERENCE:.0e})"
    )


def over_cells(cells: int) -> Callable[[], None]:
    """A whole run with its files; every head, held within half the memory of their sums."""
    size = replace(of_size("SMALL"), cells=cells)
    half = 4 * size.layers * size.heads * size.genes**2 / 2**31
    return _run(size, "all", half)


def over_genes(genes: int) -> Callable[[], None]:
    """A whole run with its files; head means of a small model, within the default bound of 0.6 GiB."""
    size = replace(of_size("SHORT"), layers=2, width=64, tokens=(512, 512), genes=genes, cells=8)
    return _run(size, "mean", 0.6)


def _run(size: Size, heads: str, budget_gib: float) -> Callable[[], None]:
    from benchmarks.attention_ways import Readings

    warmed(size, heads)
    readings = Readings(size)

    def work() -> None:
        with warnings.catch_warnings():
            # One layer of 20,000 genes is above the bound: the run says so and goes on.
            warnings.simplefilter("ignore")
            readings.stored(heads, budget_gib)

    return work


def _paths() -> tuple[Path, ...]:
    found = []
    for name, (told, every, mean, eager) in SIZES.items():
        for heads, kept, goal in (("all", "every head", every), ("mean", "head mean", mean)):
            found.append(
                Path(
                    path=f"attention, {kept}: {told}",
                    against="plain forward pass",
                    goal=goal,
                    better="at most",
                    rounds=9,
                    ways=lambda name=name, heads=heads: beside_forward(of_size(name), heads),
                )
            )
        found.append(
            Path(
                path=f"attention, every head, against eager: {told}",
                against="eager outputs, mapped to genes cell by cell",
                goal=eager,
                ways=lambda name=name: beside_eager(of_size(name), "eager"),
                why=WHY_EAGER,
            )
        )
    return tuple(found)


PATHS = (
    *_paths(),
    Path(
        path=f"attention, every head, against a list of cells: {SIZES['SMALL'][0]}",
        against="eager outputs of all cells kept, mapped at the end",
        goal=SIZES["SMALL"][3],
        ways=lambda: beside_eager(of_size("SMALL"), "listed"),
        why=WHY_EAGER,
    ),
)
GROWTHS = (
    Growth(
        path="extraction with its files, every head, bound at half of their sums (183 MiB)",
        of="cells",
        sizes=(8, 32, 128),
        work=over_cells,
        promise="Memory does not depend on the number of cells.",
    ),
    Growth(
        path="extraction with its files, head means of 2 layers, bound 614 MiB, 8 cells of 512 tokens",
        of="genes",
        sizes=(2500, 5000, 10_000, 20_000),
        work=over_genes,
        promise="What does not fit the bound is made layer by layer; one layer is never cut: its sums and their mean "
        "take 8 bytes a pair of genes.",
    ),
)

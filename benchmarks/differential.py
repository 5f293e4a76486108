"""Differential expression of every perturbation against control cells, beside scanpy's t-test on the same matrix.

Both read the same log-normalised cells x genes matrix as CSR in float32, as a dataset holds it; from a dense one scanpy
is slower. Both test every gene (no gene is a perturbation's own here) and correct over the genes of a perturbation.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from benchmarks.growth import Growth
from benchmarks.paired import Path, Ways

CELLS, GENES, PERTURBATIONS = 20_000, 2_000, 100
CONTROL_SHARE: Final = 0.25
CELLS_EACH: Final = 50  # of a perturbation, where perturbations grow in number
TOLERANCE: Final = 1e-4
DRAWN: Final = 10_000  # cells drawn at most; more are repetitions, which cost the same to read


@dataclass(frozen=True, kw_only=True)
class Screen:
    """Log-normalised cells x genes (CSR, about a quarter of the values above 0) and the perturbation of every cell."""

    log: Any
    group: np.ndarray
    perturbations: int

    def ours(self) -> Any:
        """Fold, t, p and q, perturbations x genes."""
        from interp_assets.cells.differential import differential_expression

        nobody = np.full(self.perturbations, -1)
        return differential_expression(self.log, self.group, self.group < 0, nobody)

    def scanpy(self) -> Callable[[], Any]:
        """``rank_genes_groups`` on the annotated matrix; what it returns is the table that scanpy leaves."""
        import anndata
        import numba
        import pandas as pd
        import scanpy

        # Memory is measured in a forked process, and none can be forked once numba ran threads of GNU OpenMP.
        numba.config.THREADING_LAYER = "workqueue"

        width = len(str(self.perturbations))
        names = np.array(["control", *(f"p{number:0{width}d}" for number in range(self.perturbations))])
        cells = anndata.AnnData(
            self.log,
            obs=pd.DataFrame({"group": pd.Categorical(names[self.group + 1])}, index=_names(self.log.shape[0])),
            var=pd.DataFrame(index=_names(self.log.shape[1])),
            uns={"log1p": {"base": None}},
        )

        def ranked() -> Any:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of pandas, about the table that scanpy builds
                scanpy.tl.rank_genes_groups(cells, "group", reference="control", method="t-test")
            return cells.uns["rank_genes_groups"]

        return ranked


def _names(count: int) -> np.ndarray:
    return np.arange(count).astype(str)


def screen(cells: int, genes: int, perturbations: int) -> Screen:
    """Poisson counts of uneven genes and depths; a tenth of the genes answer to a perturbation."""
    from scipy import sparse

    from interp_assets.cells.prepare import normalised_log

    rng = np.random.default_rng(0)
    group = np.where(rng.random(cells) < CONTROL_SHARE, -1, rng.integers(0, perturbations, cells))
    rate = np.exp(rng.normal(-1.5, 1.2, genes))
    fold = np.exp(rng.normal(0, 0.5, (perturbations + 1, genes)) * (rng.random((perturbations + 1, genes)) < 0.1))
    fold[-1] = 1.0
    drawn, blocks = min(cells, DRAWN), []
    for first in range(0, drawn, 1000):
        part = group[first : min(first + 1000, drawn)]
        depth = rng.gamma(5, 0.2, (part.size, 1))
        blocks.append(sparse.csr_matrix(rng.poisson(rate * fold[part] * depth).astype(np.float32)))
    log = normalised_log(sparse.vstack(blocks, format="csr"))
    if cells > drawn:
        log = sparse.vstack([log] * -(-cells // drawn), format="csr")[:cells]
    return Screen(log=log, group=group, perturbations=perturbations)


def agree(ours: Any, theirs: Any) -> str:
    """Same t, p and q of every perturbation and gene; where neither group varies scanpy writes t as 0."""
    largest = 0.0
    for number, name in enumerate(theirs["names"].dtype.names):
        gene = theirs["names"][name].astype(np.int64)
        for what, one, other in (
            ("t", np.nan_to_num(ours.t[number, gene]), theirs["scores"][name]),
            ("p", ours.p[number, gene], theirs["pvals"][name]),
            ("q", ours.q[number, gene], theirs["pvals_adj"][name]),
        ):
            apart = float((np.abs(one - other) / np.maximum(np.abs(other), 1e-300)).max())
            if not apart <= TOLERANCE:
                raise AssertionError(f"{name}: {what} differs by a share of {apart:.2g}")
            largest = max(largest, apart)
    return (
        f"t, p and q of {ours.t.size:,} tests differ by at most {largest:.0e} of their value (tolerance {TOLERANCE:g})"
    )


def expression_ways(cells: int = CELLS, genes: int = GENES, perturbations: int = PERTURBATIONS) -> Ways:
    """Welch's t of every perturbation in both ways."""
    made = screen(cells, genes, perturbations)
    return Ways(ours=made.ours, theirs=made.scanpy(), agree=agree, warm=made.ours)


def more_perturbations(count: int) -> Callable[[], Any]:
    """Screens of ever more perturbations of 50 cells, and a third as many control cells in all."""
    screen(500, 50, 2).ours()
    return screen(round(count * CELLS_EACH / (1 - CONTROL_SHARE)), GENES, count).ours


PATHS: Final = (
    Path(
        path="Welch DE, 20,000 cells x 2,000 genes x 100 perturbations",
        against="scanpy rank_genes_groups (t-test, sparse)",
        goal=20.0,
        ways=expression_ways,
        why="scanpy, too, reads a sparse matrix with compiled loops since version 1.11. What no way can leave out, one "
        "walk over 11 million values and 200,000 tails of t, is most of our time and more than a twentieth of its time",
    ),
)
GROWTHS: Final = (
    Growth(
        path="Welch DE, 50 cells a perturbation, 2,000 genes",
        of="perturbations",
        sizes=(250, 500, 1_000, 2_000),
        work=more_perturbations,
        promise="Time and memory grow with the perturbations; the cells are never copied.",
    ),
)

"""Frozen records of prepared cells and perturbation outcomes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


OWN_CHANGE = ("perturbation", "lfc", "p", "q", "cells")


def no_own_change() -> pd.DataFrame:
    """Table of own-gene changes without a row."""
    frame = pd.DataFrame({name: np.empty(0) for name in OWN_CHANGE[1:]})
    frame.insert(0, "perturbation", np.empty(0, dtype=object))
    return frame.astype({"cells": np.int64})


@dataclass(frozen=True, slots=True)
class Unavailable:
    """A dataset, or something derived from it, that could not be had; carried downstream with its reason."""

    dataset: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedCells:
    """Quality-controlled cells of one dataset, counts kept beside the once-normalised matrix.

    ``counts`` and ``log`` are cells x genes over *all* measured genes (CSR, int32 and float32; ``log`` is
    log1p of counts per 10,000). ``control`` marks the sampled control cells every edge score is computed
    from; ``cells_hash`` is the sha256 of their ordered names. ``universe`` lists the scored genes in order.

    A cell of a high-multiplicity screen holds several guides: ``guides`` is then cells x guides (CSR, int8, 1 =
    the cell holds the guide) and ``guide_table`` has one row a column of it, in order: guide, group, kind
    (``target``, ``non_targeting`` or ``other``), gene (the gene the guide perturbs, "" for none). Both are None
    where every cell carries one perturbation, named in ``obs.perturbation``.
    """

    dataset: str
    species: str
    data_origin: str
    counts: csr_matrix
    log: csr_matrix
    genes: NDArray[np.str_]
    obs: pd.DataFrame
    control: NDArray[np.bool_]
    cells_hash: str
    universe: NDArray[np.str_]
    guides: csr_matrix | None = None
    guide_table: pd.DataFrame | None = None
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScreenLabels:
    """Outcome of a perturbation screen over the scored universe.

    ``perturbations`` are all whose outcome is known over ``genes``, whether or not the perturbed gene is scored
    itself: one that is not (or that perturbs two genes at once) has no edge score, but gene-level predictors can
    be held against it. `with_scored_source` tells them apart.

    ``label`` is perturbations x genes, int8: 1 differentially expressed, 0 tested and not, -1 no
    candidate (the perturbed gene itself, or a pair the screen does not list). ``table`` has one row per
    tested pair (perturbation, gene, lfc, p, q, label; columns absent from outcome-only screens are NaN).
    ``exclusions`` has one row per perturbation that cannot be scored (perturbation, reason).
    ``baseline_label`` has the shape of ``label`` and is called in the published baseline configuration
    (Mann-Whitney, fold .1, 500 control cells); None where there are no cells to call it from.
    ``planted_weight`` is the signed network weight behind a planted screen, else None.
    ``training`` marks the perturbations that a published split calls training ones; None without a split.
    ``own_change`` says what the perturbation did to its own gene (columns perturbation, lfc, p, q, cells; q is
    Benjamini-Hochberg over its rows): one row for each perturbation whose gene is measured in perturbed and
    control cells; no row where the screen holds no cells.
    ``tested_log`` holds the cells that a planted screen was tested on (cells x genes, CSR, log-normalised) and
    ``tested_group`` the number of the perturbation of each, -1 for a control cell; None where they were not kept, or
    where the prepared cells themselves were tested (`cells.halves.cells_tested`).
    """

    dataset: str
    data_origin: str
    kind: str  # "cells" | "outcome_only"
    modality: str
    perturbations: NDArray[np.str_]
    genes: NDArray[np.str_]
    label: NDArray[np.int8]
    informative: NDArray[np.bool_]  # genes with both labels among training perturbations
    table: pd.DataFrame
    exclusions: pd.DataFrame
    context_mismatch: str = ""
    baseline_label: NDArray[np.int8] | None = None
    planted_weight: NDArray[np.float32] | None = None
    training: NDArray[np.bool_] | None = None
    own_change: pd.DataFrame = field(default_factory=no_own_change)
    tested_log: csr_matrix | None = None
    tested_group: NDArray[np.int32] | None = None
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def with_scored_source(self) -> NDArray[np.bool_]:
        """Mask of the perturbations whose own gene is among the scored genes."""
        return np.isin(self.perturbations, self.genes)

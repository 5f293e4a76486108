"""What a perturbation did to its own gene, and whether that is what its modality promises."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interp_assets.cells.differential import Differential, benjamini_hochberg
from interp_assets.cells.outcome_tables import positions
from interp_assets.cells.records import OWN_CHANGE, no_own_change

EXPECTED = {"crispri": "down", "crispra": "up", "crisprko": "not up"}
SIGNIFICANT = 0.05


def own_changes(
    perturbations: NDArray[np.str_],
    genes: NDArray[np.str_],
    test: Callable[[NDArray[np.int64]], Differential],
) -> pd.DataFrame:
    """Change of the perturbed gene itself, one row for each perturbation of one gene that is measured.

    Columns perturbation, lfc (difference of mean log1p), p, q (Benjamini-Hochberg over the rows) and cells
    (perturbed cells). Perturbations of two genes at once have no gene of their own and no row.

    Parameters
    ----------
    genes
        All measured genes, scored or not.
    test
        Differential expression of all perturbations at the given positions among ``genes``, none left out.
    """
    at = positions(genes, perturbations)
    row = np.flatnonzero(at >= 0)
    if not row.size:
        return no_own_change()
    found = test(at[row])
    own = (row, np.arange(row.size))
    p = found.p[own]
    values = (perturbations[row].astype(object), found.log_fold[own], p, benjamini_hochberg(p), found.cells[row])
    return pd.DataFrame(dict(zip(OWN_CHANGE, values, strict=True)))


def modality_agreement(own_change: pd.DataFrame, modality: str) -> pd.DataFrame:
    """Whether each perturbation moved its own gene as its modality promises, one row each.

    Columns perturbation, modality, lfc, p, q, cells, expected (``down``, ``up``, ``not up``) and agrees (``yes``,
    ``no``, ``undecided``). A change counts at q < .05; without one the row is undecided, because a screen of few
    cells may miss it. CRISPR interference lowers the transcript and CRISPR activation raises it. A knock-out cuts
    the gene: frameshift transcripts are often degraded, so the transcript may fall, but it need not, and it has no
    reason to rise. There a fall agrees, a rise does not, and no change leaves it undecided. A whole screen that
    disagrees with its label was probably labelled wrongly (paper 2.1: disputed modalities).

    Parameters
    ----------
    own_change
        From `own_changes`.
    modality
        ``crispri``, ``crispra`` or ``crisprko``, in either case.

    Raises
    ------
    ValueError
        For another modality, where there is a row to judge.
    """
    named = modality.lower()
    if named not in EXPECTED and not own_change.empty:
        raise ValueError(
            f"modality {modality!r} promises nothing about the perturbed gene; key `modality` of the dataset must be "
            f"one of {', '.join(EXPECTED)}."
        )
    expected = EXPECTED.get(named, "")
    moved = np.where(own_change["lfc"] > 0, "up", "down")
    as_promised = moved == ("down" if expected == "not up" else expected)
    clear = (own_change["q"] < SIGNIFICANT).to_numpy(dtype=bool)
    agrees = np.where(clear, np.where(as_promised, "yes", "no"), "undecided").astype(object)
    table = own_change[list(OWN_CHANGE)].assign(expected=expected, agrees=agrees)
    table.insert(1, "modality", named)
    return table.reset_index(drop=True)

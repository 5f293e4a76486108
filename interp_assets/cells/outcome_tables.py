"""What all outcome labels share: their table, names and positions of genes, and how pairs are counted."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interp_assets.cells.differential import Differential

TABLE_COLUMNS = ("perturbation", "gene", "lfc", "p", "q", "label")
PAIRED = "+"  # between the genes of a perturbation of two genes at once


class OutcomesError(ValueError):
    """Outcome labels cannot be made; the message names the file or dataset, the key and the remedy."""


def both_labels(label: NDArray[np.int8]) -> NDArray[np.bool_]:
    """Mask of genes (columns) that are positive for some perturbation and negative for another."""
    return (label == 1).any(axis=0) & (label == 0).any(axis=0)


def positions(names: NDArray[np.str_], wanted: Collection[str] | NDArray[np.str_] | pd.Series) -> NDArray[np.int64]:
    """Position of each wanted name among unique `names`; -1 where there is none."""
    return pd.Index(names.astype(object)).get_indexer(np.asarray(wanted, dtype=object)).astype(np.int64)


def perturbed_genes(perturbation: str) -> tuple[str, ...]:
    """The genes that a perturbation is aimed at: one, or the several that "+" joins.

    >>> perturbed_genes("KLF1+MAP2K6"), perturbed_genes("KLF1")
    (('KLF1', 'MAP2K6'), ('KLF1',))
    """
    return tuple(perturbation.split(PAIRED))


def own_positions(genes: NDArray[np.str_], perturbations: NDArray[np.str_]) -> NDArray[np.int64]:
    """Positions of the perturbed genes among ``genes``: perturbations x most genes of one; -1 for none."""
    aimed = [perturbed_genes(name) for name in perturbations.tolist()]
    width = max((len(names) for names in aimed), default=1)
    padded = [name for names in aimed for name in (*names, *[""] * (width - len(names)))]
    found = positions(genes, padded)
    found[np.array(padded, dtype=object) == ""] = -1
    return found.reshape(-1, width)


def label_counts(label: NDArray[np.int8]) -> dict[str, int]:
    """Perturbations, genes, pairs and positives that a label matrix lists."""
    listed = label >= 0
    return {
        "perturbations": int(listed.any(axis=1).sum()),
        "genes": int(listed.any(axis=0).sum()),
        "pairs": int(listed.sum()),
        "positives": int((label == 1).sum()),
    }


def differential_table(
    perturbations: NDArray[np.str_], genes: NDArray[np.str_], found: Differential, label: NDArray[np.int8]
) -> pd.DataFrame:
    """One row for each tested pair, with the columns `TABLE_COLUMNS`."""
    row, column = np.nonzero(label >= 0)
    return pd.DataFrame(
        {
            "perturbation": perturbations[row].astype(object),
            "gene": genes[column].astype(object),
            "lfc": found.log_fold[row, column],
            "p": found.p[row, column],
            "q": found.q[row, column],
            "label": label[row, column],
        },
        columns=list(TABLE_COLUMNS),
    )


def too_few_cells(names: NDArray[np.str_], cells: NDArray[np.int64], least: int) -> pd.DataFrame:
    """Rows (perturbation, reason) of the perturbations with fewer than ``least`` cells."""
    few = cells < least
    reasons = [f"{count} cells, {least} needed" for count in cells[few].tolist()]
    return pd.DataFrame({"perturbation": names[few].astype(object), "reason": reasons}, dtype=object)

"""Names of perturbed genes out of the words of a published file, where guides, plasmids or two columns hold them."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interp_assets.cells.dataset_records import LabelsFormat
from interp_assets.cells.dataset_sections import CONTROL

_EMPTY = ("", "nan", "None", "NA")  # how files write that a cell has no label


def gene_labels(obs: pd.DataFrame, form: LabelsFormat) -> tuple[pd.Series, NDArray[np.bool_]]:
    """Label of every cell, and the mask of cells that have one.

    A cell is a control cell if any of the columns says so, else it carries what the first column that holds something
    names, with the gene cut out by ``pattern``. Cells without a label, or with one of ``drop``, are outside the mask.

    Raises
    ------
    ValueError
        When the file has none of the columns.
    """
    present = [name for name in form.columns if name in obs.columns]
    if not present:
        raise ValueError(
            f"no column {' or '.join(form.columns)}; columns: {', '.join(map(str, obs.columns)) or 'none'}."
        )
    found = pd.Series("", index=obs.index, dtype=object)
    control = np.zeros(len(obs), dtype=bool)
    for name in present:
        words = obs[name].astype(object).where(obs[name].notna(), "").astype(str).str.strip()
        words = words.mask(words.isin(_EMPTY), "")
        control |= words.isin(form.control).to_numpy(dtype=bool)
        found = found.mask(found == "", words)
    dropped = found.isin(form.drop).to_numpy(dtype=bool)
    if form.pattern:
        named = {word: _gene(word, form.pattern) for word in found.unique()}
        found = found.map(named)
    found = found.mask(control, CONTROL)
    return found, control | ((found != "").to_numpy(dtype=bool) & ~dropped)


def _gene(word: str, pattern: str) -> str:
    matched = re.fullmatch(pattern, word)
    return matched["gene"] if matched and matched["gene"] else word

"""How far the mix of cell types among the cells of a perturbation lies from that of its control cells."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

COMPOSITION_SHIFT = "composition_shift"
CELL_TYPE = "cell_type"


def composition_shift(
    obs: pd.DataFrame, perturbations: NDArray[np.str_], control: NDArray[np.bool_]
) -> dict[str, float]:
    """L1 distance of cell-type shares, perturbed against control cells, by perturbation; empty without cell types.

    Sum over types of |share among perturbed - share among control cells|: 0 where the mix is the same, 2 where no
    type is shared (paper section 5, analysis 5). ``obs`` has ``perturbation`` and ``cell_type``; a cell without a type
    is of the type "". A perturbation without cells has no mix and is left out.
    """
    if CELL_TYPE not in obs.columns or not control.any():
        return {}
    kind = obs[CELL_TYPE].astype(object).where(obs[CELL_TYPE].notna(), "").astype(str).to_numpy()
    types, code = np.unique(kind, return_inverse=True)
    usual = np.bincount(code[control], minlength=types.size) / control.sum()
    names = obs["perturbation"].to_numpy(dtype=np.str_)
    found = {}
    for name in perturbations.tolist():
        own = (names == name) & ~control
        if not own.any():
            continue
        shares = np.bincount(code[own], minlength=types.size) / own.sum()
        found[name] = float(np.abs(shares - usual).sum())
    return found

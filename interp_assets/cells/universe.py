"""Which genes are scored: forced genes, then highly variable ones."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interp_assets.cells.dataset_records import UniverseRule
from interp_assets.cells.moments import detection, moments

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


def seurat_dispersion(log: csr_matrix, bins: int = 20) -> NDArray[np.float64]:
    """Normalised dispersion of every gene; NaN where it has none (equal to scanpy's ``flavor="seurat"``).

    Log of variance over mean of the un-logged values, centred and scaled within bins of log mean; a bin of
    one gene scores 1 by convention.
    """
    linear = log.astype(np.float64)
    linear.data = np.expm1(linear.data)
    mean, variance = moments(linear)
    mean = np.where(mean == 0, 1e-12, mean)
    with np.errstate(divide="ignore"):
        dispersion = np.log(np.where(variance == 0, np.nan, variance / mean))
    frame = pd.DataFrame({"bin": pd.cut(np.log1p(mean), bins=bins), "dispersion": dispersion})
    grouped = frame.groupby("bin", observed=True)["dispersion"]
    centre, spread = grouped.transform("mean"), grouped.transform("std")
    alone = spread.isna()
    spread = spread.mask(alone, centre)
    centre = centre.mask(alone, 0.0)
    return ((frame["dispersion"] - centre) / spread).to_numpy(np.float64)


def choose_universe(
    log: csr_matrix, genes: NDArray[np.str_], rule: UniverseRule, forced: Collection[str] = ()
) -> tuple[NDArray[np.str_], dict[str, Any]]:
    """Scored genes in the order of `genes`, and what was left out and why.

    Forced genes come first whatever their variance (with a panel: those of them in it, or all of it if none is
    given); the most variable of the others fill up to ``rule.genes``. Genes detected in fewer than
    ``rule.min_detection`` of the given (control) cells, or in none, are not scored. Ties in variability are
    broken by gene order.

    Raises
    ------
    ValueError
        If no gene is left.
    """
    if rule.panel_genes:
        forced = sorted(set(rule.panel_genes) & set(forced)) if forced else rule.panel_genes
    seen = detection(log)
    measured = (seen > 0) & (seen >= rule.min_detection)
    wanted = np.isin(genes, np.array(sorted(forced), dtype=np.str_)) if forced else np.zeros(len(genes), bool)
    chosen = wanted & measured
    fill = max(0, rule.genes - int(chosen.sum()))
    if fill:
        score = seurat_dispersion(log) if rule.method == "seurat_dispersion" else moments(log)[1]
        open_to = np.flatnonzero(measured & ~chosen & ~np.isnan(score))
        order = open_to[np.argsort(-score[open_to], kind="stable")]
        chosen[order[:fill]] = True
    if not chosen.any():
        raise ValueError(
            f"no gene is left to score: {len(forced)} forced, {int(measured.sum())} of {len(genes)} genes "
            "are "
            f"detected in at least {rule.min_detection:.0%} of the control cells. Lower "
            "`universe.min_detection` "
            "or check that the gene names match."
        )
    known = set(genes.tolist())
    facts = {
        "universe_genes": int(chosen.sum()),
        "universe_forced": int((wanted & chosen).sum()),
        "universe_variable": int((chosen & ~wanted).sum()),
        "forced_not_in_matrix": sum(gene not in known for gene in forced),
        "forced_rarely_detected": int((wanted & ~measured).sum()),
    }
    return genes[chosen], facts

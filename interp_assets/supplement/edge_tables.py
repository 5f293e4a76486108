"""Tables of edges across species, of strata, and of recovery by number of cells (S4 to S9)."""

from __future__ import annotations

from typing import Final

import pandas as pd

from interp_assets.supplement.printed import published_layer, with_printed
from interp_assets.supplement.records import Evaluated, NothingToTabulateError

CURATED: Final = "trrust"  # the small reference of the paper; the primary reference of a study stands in for it
ESTIMATED_FIRST: Final = ("estimated", "oracle", "shuffled", "random")


def ortholog_overlap(found: Evaluated) -> pd.DataFrame:
    """Table S4: pairs shared by the k strongest of both species, observed and expected, all pairs and filtered ones."""
    columns = ("dataset", "partner", "cells", "pairs", "k", "n_pairs", "overlap", "expected", "fold", "p")
    frame = found.tables["ortholog_overlap"]
    frame = frame.reindex(columns=[*columns, "expected_hypergeometric"])
    return with_printed(frame, "table_s04", _keys(frame["k"]))


def synthetic_designs(found: Evaluated) -> pd.DataFrame:
    """Table S5: pooled F1 and F1 of the largest stratum score by synthetic design, under known and estimated strata."""
    frame = _strata(found, "synthetic", ("oracle", "estimated"))
    columns = ("cells", "states", "strata", "datasets", "f1_pooled", "f1", "f1_ratio")
    frame = frame[list(columns)].rename(columns={"f1": "f1_strata"})
    keys = [f"{row.cells}/{row.states}" if row.strata == "oracle" else "" for row in frame.itertuples()]
    return with_printed(frame, "table_s05", keys)


def structured_designs(found: Evaluated) -> pd.DataFrame:
    """Table S6: AUROC pooled and of the largest stratum score by number of cells of the structured design."""
    frame = _strata(found, "structured", ("oracle", "estimated"))
    columns = ("cells", "strata", "strata_scored", "datasets", "auroc", "auroc_pooled", "auroc_gain")
    frame = frame[list(columns)].rename(columns={"auroc": "auroc_strata"})
    keys = [str(row.cells) if row.strata == "oracle" else "" for row in frame.itertuples()]
    return with_printed(frame, "table_s06", keys)


def _strata(found: Evaluated, design: str, strata: tuple[str, ...]) -> pd.DataFrame:
    frame = found.tables["cssi_summary"]
    frame = frame[(frame["design"] == design) & (frame["aggregator"] == "max") & frame["strata"].isin(strata)]
    if frame.empty:
        raise NothingToTabulateError(f"cssi_summary has no row of the {design} design scored by its largest stratum")
    return frame.sort_values(["cells", "states", "strata"], ascending=[True, True, False], kind="stable")


def attention_strata(found: Evaluated) -> pd.DataFrame:
    """Table S7: pooled AUROC and best stratified score of attention by layer, beside what null strata reach.

    The best of several variants is chosen by its AUROC, so that null strata gain too: compare with their rows.
    ``published_layer`` is the published layer (of 18) at the same depth.
    """
    frame = found.tables["cssi_real_attention"]
    named = frame[frame["aggregator"] != "best"].sort_values(["stratified", "aggregator"], kind="stable")
    variant = named.groupby(["strata", "layer"], sort=False)["aggregator"].last()
    best = frame[frame["aggregator"] == "best"]
    if best.empty:
        raise NothingToTabulateError("cssi_real_attention has no best score of a layer")
    order = {name: place for place, name in enumerate(ESTIMATED_FIRST)}
    best = best.sort_values(["strata", "layer"], key=lambda values: values.map(order).fillna(values), kind="stable")
    last = max(int(best["layer"].max()), 1)
    table = pd.DataFrame(
        {
            "layer": best["layer"],
            "strata": best["strata"],
            "auroc_pooled": best["pooled"],
            "auroc_best": best["stratified"],
            "gain": best["gain"],
            "variant": [variant.get((row.strata, row.layer), "") for row in best.itertuples()],
            "draws": best["draws"],
            "cells": best["cells"],
            "positives": best["positives"],
            "reference": best["reference"],
            "published_layer": [published_layer(layer / last) for layer in best["layer"]],
        }
    )
    keys = [str(row.published_layer) if row.strata == "estimated" else "" for row in table.itertuples()]
    return with_printed(table, "table_s07", keys)


def recovery_of_primary(found: Evaluated) -> pd.DataFrame:
    """Table S8: AUROC of attention against the curated reference by number of cells, with its interval."""
    return _recovery(found, "table_s08", primary=True)


def recovery_of_others(found: Evaluated) -> pd.DataFrame:
    """Table S9: AUROC of attention against every further reference by number of cells, with its interval."""
    return _recovery(found, "table_s09", primary=False)


def _recovery(found: Evaluated, table_id: str, *, primary: bool) -> pd.DataFrame:
    frame = found.tables["model_recovery"]
    frame = frame[frame["score"] == "attention"]
    curated = [name for name in frame["reference"].unique() if CURATED in str(name).lower()]
    chosen = curated[0] if curated else frame["reference"].iloc[0] if len(frame) else ""
    rows = frame[(frame["reference"] == chosen) == primary].sort_values(["reference", "cells"], kind="stable")
    if rows.empty:
        what = "the curated reference" if primary else f"a reference other than {chosen}"
        raise NothingToTabulateError(f"model_recovery has no row of attention against {what}")
    columns = ("reference", "cells", "positives", "pairs", "regulators", "auroc", "ci_low", "ci_high", "p_relabelled")
    return with_printed(rows[list(columns)], table_id, _keys(rows["cells"]))


def _keys(values: pd.Series) -> list[str]:
    return [str(int(value)) for value in values]

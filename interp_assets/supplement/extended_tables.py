"""Tables of the extended analyses E1 to E3: layers against databases, value-weighted edges, regulators (S12 to S14)."""

from __future__ import annotations

from typing import Any, Final

import pandas as pd

from interp_assets.supplement.printed import published_layer, with_printed
from interp_assets.supplement.records import Evaluated, NothingToTabulateError

CORRELATION: Final = "correlation"
VALUE_WEIGHTED: Final = ("cosine", "centroid", "dot")
PRIMARY_VARIANT: Final = "cosine"  # the published edge; the others are its variants


def biology(found: Evaluated) -> pd.DataFrame:
    """Table S12: AUROC of every layer against every database, and of correlation, one row each.

    Each database is read with its primary edge (directed where the database is, else the mean of both directions).
    """
    frame = found.tables["reference_profile"]
    edge = pd.DataFrame(
        {
            "edge": "attention",
            "layer": frame["layer"],
            "database": frame["database"],
            "dataset": frame["dataset"],
            "auroc": frame["auroc_attention"],
            "pairs": frame["n_pairs"],
            "positives": frame["n_positives"],
            "missing_share": frame["missing_share_attention"],
            "published_layer": [published_layer(depth) for depth in frame["depth"]],
        }
    )
    one = frame.drop_duplicates("database")
    beside = pd.DataFrame(
        {
            "edge": CORRELATION,
            "layer": "",
            "published_layer": "",
            "database": one["database"],
            "dataset": one["dataset"],
            "auroc": one["auroc_correlation"],
            "pairs": one["n_pairs"],
            "positives": one["n_positives"],
            "missing_share": one["missing_share_correlation"],
        }
    )
    table = pd.concat([edge.astype({"layer": object, "published_layer": object}), beside], ignore_index=True)
    first = table["published_layer"].astype(str).where(table["edge"] != CORRELATION, CORRELATION)
    keys = list(first + "/" + table["database"].astype(str))
    return with_printed(table, "table_s12", keys)


def value_weighted(found: Evaluated) -> pd.DataFrame:
    """Table S13: best layer of each kind of edge on the screen and on the reference, with the numbers there.

    Best against best hides that a layer was chosen; ``same_layer`` compares an edge with attention of its own layer.
    """
    frame = found.tables["value_weighted_profile"]
    frame = frame[frame["mean_auroc"].notna()]
    kinds = [kind for kind in (*VALUE_WEIGHTED, "attention", CORRELATION) if (frame["variant"] == kind).any()]
    if not kinds:
        raise NothingToTabulateError("value_weighted_profile has no finite AUROC")
    table = pd.DataFrame([_best(frame[frame["variant"] == kind], kind) for kind in kinds])
    table = table.astype({"best_screen_layer": "Int64", "best_reference_layer": "Int64"})
    keys = ["value-weighted" if kind == PRIMARY_VARIANT else kind for kind in kinds]
    return with_printed(table, "table_s13", keys)


def _best(rows: pd.DataFrame, kind: str) -> dict[str, Any]:
    screen = rows.iloc[int(rows["mean_auroc"].to_numpy(dtype=float).argmax())]
    known = rows[rows["reference_auroc"].notna()]
    reference = known.iloc[int(known["reference_auroc"].to_numpy(dtype=float).argmax())] if len(known) else None
    return {
        "edge": f"value-weighted ({kind})" if kind in VALUE_WEIGHTED else kind,
        "dataset": screen["dataset"],
        "perturbations": screen["n"],
        "best_screen_layer": screen["layer"],
        "best_screen_auroc": screen["mean_auroc"],
        "minus_attention_of_same_layer": screen["minus_attention"],
        "minus_correlation": screen["minus_correlation"],
        "reference": screen["reference"],
        "best_reference_layer": None if reference is None else reference["layer"],
        "best_reference_auroc": None if reference is None else reference["reference_auroc"],
        "reference_pairs": screen["n_positive"],
    }


def regulators(found: Evaluated) -> pd.DataFrame:
    """Table S14: every regulator with its class, its targets and its AUROC, most targets first.

    One target gives an exact rank and no interval.
    """
    frame = found.tables["regulator_characterisation"]
    order = frame.sort_values(["n_targets", "regulator"], ascending=[False, True], kind="stable")
    names = {"n_targets": "targets", "n_candidates": "candidates"}
    columns = ("regulator", "class", "class_source", "dataset", "reference", "layer", "n_targets", "n_candidates")
    table = order[[*columns, "auroc", "ci_low", "ci_high", "p_exact"]].rename(columns=names)
    return with_printed(table, "table_s14", list(table["regulator"].astype(str)))

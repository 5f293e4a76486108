"""Metrics views of the causal ablation: what was tried, and from where it could be seen.

What belongs here: pure functions from evidence to small frames, no threshold. What does not: criterion d
(`causal_use`).
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from qc_standards.evidence import PRIMARY_ROLE, Evidence

DOWNSTREAM = ("last_attention", "logits")


def ablation_audit(evidence: Evidence) -> pd.DataFrame:
    """One row: sizes of the dose response, random sets behind each, perturbations, and how far models were moved.

    ``immaterial`` counts judged conditions that changed no bit or whose distance is unknown; ``smallest_distance``
    is the least mean cosine distance of hidden states over them. ``uncovered`` counts conditions without a fidelity
    row for hidden states, or for logits where any condition has one.
    """
    conditions = evidence.rows("intervention_conditions", role=PRIMARY_ROLE)
    fidelity = evidence.rows("intervention_fidelity", role=PRIMARY_ROLE)
    upstream = conditions[conditions["pool"] == "upstream"]
    top = upstream[(upstream["family"] == "top") & (upstream["operation"] == "zero_heads")]
    random = upstream[upstream["family"] == "random"]
    drawn = [len(random[(random["dose"] == row.dose)]) for row in top.itertuples()]
    judged = conditions[conditions["upstream"].astype(bool) & (conditions["family"] != "random")]
    judged = judged[(judged["pool"] == "upstream") | (judged["operation"] == "zero_mlp")]
    covered = {state: set(part["condition"]) for state, part in fidelity.groupby("state")}
    named = set(conditions["condition"])
    uncovered = sum(len(named - found) for found in covered.values()) + (len(named) if "hidden" not in covered else 0)
    rows = evidence.rows("intervention_auroc", role=PRIMARY_ROLE, read_out="attention", condition="clean")
    distance = pd.to_numeric(judged["hidden_distance"], errors="coerce")
    return pd.DataFrame(
        [
            {
                "head_set_sizes": int(top["size"].nunique()),
                "fewest_random_sets": min(drawn, default=0),
                "perturbations": len(rows),
                "cells": int(conditions["cells"].min()),
                "uniform_conditions": int((judged["operation"] == "uniform_attention").sum()),
                "mlp_conditions": int((judged["operation"] == "zero_mlp").sum()),
                "immaterial": int((~judged["changed"].astype(bool) | distance.isna()).sum()),
                "smallest_distance": float(distance.min()) if len(distance) else np.nan,
                "uncovered": uncovered,
            }
        ]
    )


def read_out_positions(evidence: Evidence) -> pd.DataFrame:
    """One row a condition: whether its own account of where it stands is true, and how often it is read downstream.

    ``misplaced`` is 1 where ``upstream_parts`` or ``upstream`` contradict the changed parts and the read-out layer;
    ``downstream_read_outs`` counts the read-outs after every layer or in the last one.
    """
    conditions = evidence.rows("intervention_conditions", role=PRIMARY_ROLE)
    read = evidence.rows("intervention_auroc", role=PRIMARY_ROLE).groupby("condition")["read_out"].agg(set)
    rows = []
    for row in conditions.to_dict(orient="records"):
        layers = [int(part.removeprefix("mlp.").split(".")[0]) for part in str(row["parts"]).split(";")]
        before = sum(layer < int(row["read_out_layer"]) for layer in layers)
        agrees = before == int(row["upstream_parts"]) and bool(row["upstream"]) is (before == len(layers))
        found = read.get(row["condition"], set())
        rows.append(
            {
                "condition": row["condition"],
                "read_out_layer": int(row["read_out_layer"]),
                "upstream_parts": before,
                "misplaced": int(not agrees),
                "published_read_outs": int("attention" in found),
                "downstream_read_outs": sum(name in found for name in DOWNSTREAM),
            }
        )
    return pd.DataFrame(rows)

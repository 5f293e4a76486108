"""Metrics views of the analysis layer: who chose it, on what, and whether its record still says so.

What belongs here: views over ``lineage`` and ``layer_choice``. What does not: judging (`qc_standards.suites`).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any, Final

import pandas as pd

from qc_standards.evidence import PRIMARY_ROLE, Evidence, is_missing

_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_RECORD: Final = ("depth", "chosen_by", "dataset", "reference", "criterion", "layer", "layers", "cells_hash")


def _text(value: Any) -> str:
    return "" if is_missing(value) else str(value)


def layer_lineage(evidence: Evidence) -> pd.DataFrame:
    """Lineage of attention, one row a role and dataset, with what the choice of its layer rests on.

    ``chosen_on_evaluated`` is 1 where the layer was chosen on a dataset that some role evaluates,
    ``hash_missing`` where it was chosen on a dataset without the sha256 of the frozen record,
    ``flag_differs`` where the evaluation says otherwise about whether a layer was chosen. ``choices`` counts
    the different records behind the rows.
    """
    lineage = evidence.table("lineage")
    evaluated = set(lineage["dataset"].astype(str))
    frame = lineage[lineage["score"] == "attention"].reset_index(drop=True)
    chosen_on = [_text(value) for value in frame["layer_chosen_on"]]
    records = [_text(value) for value in frame["layer_choice"]]
    stated = evidence.flag("layer_selected")
    return frame.assign(
        layer_chosen_on=chosen_on,
        chosen_on_evaluated=[int(name in evaluated) for name in chosen_on],
        hash_missing=[
            int(name != "" and not _SHA256.fullmatch(record)) for name, record in zip(chosen_on, records, strict=True)
        ],
        choices=len(set(records)),
        flag_differs=[int(stated is None or stated != (name != "")) for name in chosen_on],
    )


def record_hash(row: Mapping[Any, Any]) -> str:
    """sha256 of a frozen layer choice, computed again from the row of ``layer_choice`` that shows it.

    The record is what names itself in the lineage: canonical JSON of depth, who chose, dataset, reference,
    criterion, layer, layers, score and the hashes of cells and profile.
    """
    record = {name: getattr(row[name], "item", lambda v=row[name]: v)() for name in _RECORD}
    record |= {"score": float(row["auroc"]), "profile_hash": row["profile_hash"]}
    text = json.dumps(record, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def layer_record(evidence: Evidence) -> pd.DataFrame:
    """Frozen record of the layer choice beside the lineage that names it and the profile it was made on.

    ``on_evaluated`` is 1 where the record chose on a dataset the lineage evaluates, ``recomputed`` the sha256 of
    its content, ``in_lineage`` the one that the evaluated attention names, ``depth_gap`` the distance between the
    depth chosen and the depth read, ``chosen_rows`` the marked layers of the profile, ``other_layer`` 1 where the
    marked layer is not the recorded one, and ``below_best`` how far its AUROC lies below the profile's best.
    """
    frame = evidence.table("layer_choice").reset_index(drop=True)
    profile = evidence.table("layer_selection_profile")
    lineage = evidence.rows("lineage", role=PRIMARY_ROLE, score="attention")
    evaluated = set(evidence.table("lineage")["dataset"].astype(str))
    named = sorted({_text(value) for value in lineage["layer_choice"]})
    marked = profile[profile["chosen"].astype(bool)]
    gaps = [(lineage["layer_depth"].astype(float) - float(depth)).abs().max() for depth in frame["depth"]]
    return frame.assign(
        on_evaluated=[int(str(name) in evaluated) for name in frame["dataset"]],
        recomputed=[record_hash(row) for row in frame.to_dict(orient="records")],
        in_lineage="|".join(named),
        depth_gap=gaps,
        chosen_rows=len(marked),
        other_layer=[int(set(marked["layer"]) != {layer}) for layer in frame["layer"]],
        below_best=[float(profile["auroc"].max() - value) for value in frame["auroc"]],
    )

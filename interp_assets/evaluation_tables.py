"""Tables that describe one evaluation: who is judged on what, where each score comes from, what several contexts say.

What belongs here: facts of the evaluation that standards and reports read. What does not: statistics (``analyses``,
``stats``), or judging (``qc_standards``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from interp_assets.analyses.inputs import RoleInputs
from interp_assets.edges.layers import LayerChoice, relative_depth, resolve_layer
from interp_assets.models.attention.facts import MASS_PARTS
from interp_assets.models.records import ReleaseCard
from interp_assets.settings import SELECTION_ROLE, Study
from qc_standards.records import DataOrigin, Status, TestResult
from qc_standards.registry import PRIMARY_ROLE, tests_of_role


def evaluation_table(
    study: Study,
    card: ReleaseCard,
    roles: Mapping[str, RoleInputs],
    results: Iterable[TestResult],
    cells_of: Mapping[str, str],
    tables: Mapping[str, pd.DataFrame] | None = None,
    choice: LayerChoice | None = None,
) -> pd.DataFrame:
    """One row: who is judged, on what kind of data, and what limits the verdict.

    ``data_origin`` is the weakest behind the rows of the primary screen; every other row states its own, and claims
    look at the rows they need.

    ``cells_of`` names the dataset whose cells stand behind each screen; it tells whether the release was
    trained on them. ``tables`` of the battery and ``choice`` of the layer tell what this evaluation has to show, which
    decides what standards concern it.
    """
    judged = {spec.test_id for spec in tests_of_role(PRIMARY_ROLE)}
    run = [result for result in results if result.status is Status.RUN]
    origins = {result.data_origin for result in run if result.data_origin and result.test_id in judged}
    weakest = next((str(origin) for origin in reversed(DataOrigin) if origin in origins), "none")
    filled = {study.roles[role].role_fit for role in roles} | {result.role_fit for result in run}
    primary = roles.get(PRIMARY_ROLE)
    evaluated = {cells_of.get(inputs.dataset, inputs.dataset) for inputs in roles.values()}
    return pd.DataFrame(
        [
            {
                "study": study.name,
                "release": card.name,
                "release_kind": card.kind,
                "base_release": card.base,
                "family": card.family,
                "release_id": card.release_id,
                "primary_reference": study.primary_reference,
                "data_origin": weakest,
                "context_mismatch": primary.context_mismatch if primary else "",
                "role_fit": "partial" if "partial" in filled else "full",
                "untrained": card.gap is not None and card.gap <= 0,
                "held_out_gap": card.gap,
                "trained_on_evaluated_cells": bool(evaluated & set(card.trained_on)),
                **_shown(roles, tables or {}, choice),
            }
        ]
    )


def _shown(
    roles: Mapping[str, RoleInputs], tables: Mapping[str, pd.DataFrame], choice: LayerChoice | None
) -> dict[str, bool]:
    """What the evaluation holds beyond the battery's core, each as a plain yes or no."""
    from interp_assets.analyses.circularity import direction_reference

    primary = roles.get("primary_screen")
    own = tables.get("modality_audit", pd.DataFrame())
    held = {name for name, table in tables.items() if len(table)}
    return {
        "layer_selected": choice is not None and bool(choice.dataset),
        "direction_reference": primary is not None and not isinstance(direction_reference(primary), str),
        "tf_catalogue": primary is not None and bool(primary.tf_catalogue),
        "own_gene_measured": len(own) > 0 and bool((own["role"] == "primary_screen").any()),
        "screen_own_genes": "modality_audit" in held,
        "null_guides": "null_calibration_summary" in held,
        "outcome_only": primary is not None and primary.baseline_label is None,
    }


REPLICATED = ("replication_28", "replication_33", "replication_37")


def context_table(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Comparisons that several contexts made, one row a comparison and context; empty where none was repeated.

    A comparison of one context only is no replication and is left to that context's own table.
    """
    held = [tables[name] for name in REPLICATED if len(tables.get(name, ()))]
    if not held:
        return pd.DataFrame()
    every = pd.concat(held, ignore_index=True)
    contexts = every.groupby("comparison")["context"].transform("nunique")
    return every[contexts > 1].reset_index(drop=True)


def lineage_table(roles: Mapping[str, RoleInputs], choice: LayerChoice) -> pd.DataFrame:
    """One row a score: which cells and which layer it comes from, and how the layer was chosen."""
    rows = []
    for role, inputs in roles.items():
        if role == SELECTION_ROLE:  # the layer is chosen there; its own rows judge no outcome at that layer
            continue
        attention = inputs.attention
        layer = resolve_layer(choice.depth, attention.layers)
        scores = {
            "attention": attention.layer_matrix(layer),
            "correlation": inputs.correlation,
            **inputs.trivial,
        }
        for score, matrix in scores.items():
            own = score == "attention"
            rows.append(
                {
                    "score": score,
                    "dataset": inputs.dataset,
                    "role": role,
                    "cells_hash": matrix.cells_hash,
                    "layer": layer if own else -1,
                    "layer_depth": relative_depth(layer, attention.layers) if own else float("nan"),
                    "layer_chosen_by": choice.chosen_by if own else "no layer",
                    "layer_chosen_on": choice.dataset if own else "",
                    "layer_choice": choice.sha256 if own else "",
                    "orientation": "row regulator, column target",
                    "device": str(attention.facts.get("device", "cpu")) if own else "cpu",
                    "dtype": str(attention.facts.get("dtype", "float32")) if own else "float64",
                    "genes_in_universe": int(attention.facts.get("genes_in_universe", len(inputs.genes))),
                    "genes_evaluable": len(inputs.genes),
                    "missing_pair_share": _missing_share(inputs, matrix.score),
                }
            )
    return pd.DataFrame(rows)


def _missing_share(inputs: RoleInputs, score: Any) -> float:
    """Share of the screen's candidate pairs that no cell gave a score."""
    candidates = inputs.label >= 0
    missing = pd.isna(score[inputs.source]) & candidates
    return float(missing.sum() / max(int(candidates.sum()), 1))


# What a model says of itself, in the order it is told.
MODEL_FACTS = (
    "family",
    "layers",
    "heads",
    "width",
    "vocabulary",
    "max_length",
    "direction",
    "attention",
    "form",
    "dtype",
    "device",
    "gene_key",
    "mask",
)
READING_FACTS = (
    "cells",
    "cells_used",
    "genes_measured",
    "genes_known",
    "genes_collapsed",
    "genes_unknown",
    "genes_in_universe",
    "genes_evaluable",
    "truncated_share",
    "left_out_share",
    "left_out_most",
)


def model_table(card: ReleaseCard, roles: Mapping[str, RoleInputs]) -> pd.DataFrame:
    """What is known of the release and of the model in it: section, name, value (text), one fact a row.

    Section ``release`` holds what the manifest states and the files with size and hash; ``model`` what the loaded model
    said of itself where attention was read, and is absent for a table of finished scores.
    """
    stated = {key: value for key, value in card.facts.items() if key not in {"files", "training", "name", "kind"}}
    training = card.facts.get("training")
    about: dict[str, Any] = {"release_id": card.release_id, "kind": card.kind, **stated, "family": card.family}
    about |= {"held_out_gap": card.gap, "trained_on": list(card.trained_on)}
    if isinstance(training, Mapping):
        kept = ("cells", "donors", "steps", "held_out_loss", "baseline", "loss_unit")
        about |= {f"training_{key}": training[key] for key in kept if key in training}
    rows = [("release", name, _fact_text(value)) for name, value in about.items() if name != "model"]
    rows += [
        ("file", str(file["path"]), f"{int(file['size']):,} bytes, sha256 {file['sha256']}")
        for file in card.facts.get("files", [])
    ]
    told = next((held for inputs in roles.values() if (held := inputs.attention.facts.get("model"))), None)
    if isinstance(told, Mapping):
        first = [name for name in MODEL_FACTS if name in told]
        rest = [name for name in told if name not in {*first, "facts"}]
        own = {name: told[name] for name in (*first, *rest)} | dict(told.get("facts", {}))
        rows += [("model", name, _fact_text(value)) for name, value in own.items()]
    return pd.DataFrame(rows, columns=["section", "name", "value"])


def reading_table(roles: Mapping[str, RoleInputs]) -> pd.DataFrame:
    """One row a dataset that attention was read on: cells, genes lost, truncation, and where attention went.

    ``scored_genes_lost`` names up to 20 scored genes that the model does not know, by comma.
    ``mass_<part>`` is the mean over layers of the softmax weight that scored genes put on scored genes, on other genes
    and on positions without a gene, in ``mass_cells`` sampled cells (`models.attention.facts`). ``order_spearman``, of
    a model that looks back: rank correlation of its scores with what token order alone gives, mean over layers
    (`models.attention.pooling.order_control`).
    """
    rows: dict[str, dict[str, Any]] = {}
    for inputs in roles.values():
        facts = inputs.attention.facts
        mass = facts.get("mass")
        row = {"dataset": inputs.dataset, **{name: facts[name] for name in READING_FACTS if name in facts}}
        row |= {name: str(facts[name]) for name in ("dtype", "device", "form") if name in facts}
        if "scored_genes_lost" in facts:
            row["scored_genes_lost"] = ", ".join(facts["scored_genes_lost"])
        if isinstance(mass, Mapping):
            row["mass_cells"] = int(mass["cells"])
            row |= {f"mass_{part}": round(float(np.mean(mass[part])), 4) for part in MASS_PARTS}
        control = facts.get("order_control")
        if isinstance(control, Mapping):
            found = [value for value in control["spearman"] if value is not None]
            row["order_spearman"] = float(np.mean(found)) if found else np.nan
        rows.setdefault(inputs.dataset, row)
    return pd.DataFrame(list(rows.values()))


def mass_table(roles: Mapping[str, RoleInputs]) -> pd.DataFrame:
    """One row a dataset and layer: the shares of `reading_table` by layer; empty where none were read."""
    found = {inputs.dataset: inputs.attention.facts.get("mass") for inputs in roles.values()}
    rows = [
        {"dataset": dataset, "layer": layer, "cells": int(mass["cells"])}
        | {part: round(float(mass[part][layer]), 4) for part in MASS_PARTS}
        for dataset, mass in found.items()
        if isinstance(mass, Mapping)
        for layer in range(len(mass[MASS_PARTS[0]]))
    ]
    return pd.DataFrame(rows, columns=["dataset", "layer", "cells", *MASS_PARTS])


def _fact_text(value: Any) -> str:
    """Text of one fact: lists by comma (the first 12 of a long one), nothing stated as a dash, the rest as JSON."""
    if value is None or value == "" or value == [] or value == {}:
        return "–"
    if isinstance(value, list):
        told = ", ".join(str(item) if isinstance(item, str) else _fact_text(item) for item in value[:12])
        return f"{told} and {len(value) - 12} more" if len(value) > 12 else told
    if isinstance(value, Mapping):
        return "; ".join(f"{key}: {_fact_text(item)}" for key, item in value.items())
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.6g}" if isinstance(value, float) else str(value)

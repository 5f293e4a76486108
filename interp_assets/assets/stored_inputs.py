"""What the assets of the (release, study) grid read: mappings between grids, and stored artefacts loaded once."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd

from interp_assets.analyses import catalogue
from interp_assets.analyses.assemble import DatasetArtefacts
from interp_assets.analyses.inputs import RoleInputs
from interp_assets.battery import (
    SampledData,
    study_roles,
)
from interp_assets.cells.records import Unavailable
from interp_assets.edges.layers import LayerChoice
from interp_assets.io_managers import MANY, StoredFiles, read_records
from interp_assets.layout import Layout, Use

FOLDER = "{study}/{release}"
CHOICE_FILE = "results/layer_choice.json"
DATASET_PARTS = ("de_labels", "gene_features", "correlation", "references")
SAMPLED_PARTS = ("cells", "de_labels", "references")
Loaded = DatasetArtefacts | Unavailable


def attention_of_study(layout: Layout, use: Use) -> dg.MultiPartitionMapping:
    """Mapping from the (release, study) grid to the same release's attention on what the study uses in one way."""
    return same_release(layout.feeding(use))


def attended_of_study(layout: Layout) -> dg.MultiPartitionMapping:
    """Mapping to the same release's attention on everything that some analysis of the study reads it on."""
    return same_release(
        {name: [study for study in layout.studies if name in layout.attended(study)] for name in layout.grid}
    )


def attention_of_row(layout: Layout, row: catalogue.AnalysisRow) -> dict[str, dg.AssetIn]:
    """Input ``attention`` of one analysis: the release's attention on the datasets of its roles, if it reads any."""
    datasets = {study: layout.attended_by(row, study) for study in layout.studies}
    fed = {name: [study for study, names in datasets.items() if name in names] for name in layout.grid}
    mapping = same_release(fed)
    return {"attention": dg.AssetIn(partition_mapping=mapping, metadata={MANY: True})} if row.attended else {}


def same_release(fed: Mapping[str, list[str]]) -> dg.MultiPartitionMapping:
    """Mapping from the (release, study) grid to the (release, dataset) grid: release alike, dataset -> studies."""
    return dg.MultiPartitionMapping(
        {
            "release": dg.DimensionPartitionMapping("release", dg.IdentityPartitionMapping()),
            "dataset": dg.DimensionPartitionMapping("study", dg.StaticPartitionMapping(dict(fed))),
        }
    )


def _parts(folder: Path, names: Sequence[str]) -> dict[str, Any] | Unavailable:
    """Stored records of one dataset by artefact, or the first reason why there are none."""
    parts: dict[str, Any] = {}
    for name in names:
        found = read_records(folder / name)
        if isinstance(found, Unavailable):
            return found
        parts[name] = found
    return parts


@lru_cache(maxsize=8)
def stored_artefacts(store: Path, dataset: str, version: str) -> Loaded:
    """Stored artefacts of one dataset; ``version`` is in the key, so a changed dataset is read again."""
    del version
    parts = _parts(store / "cells" / dataset, DATASET_PARTS)
    if isinstance(parts, Unavailable):
        return parts
    features = parts["gene_features"]["features"]
    return DatasetArtefacts(
        labels=parts["de_labels"]["labels"],
        features=features.table,
        edges=parts["correlation"],
        references=parts["references"],
        tf_catalogue=features.tf_catalogue,
    )


@lru_cache(maxsize=8)
def stored_sample(store: Path, dataset: str, version: str) -> SampledData | Unavailable:
    """Stored cells of one dataset with its outcomes and references; ``version`` as in `stored_artefacts`."""
    del version
    parts = _parts(store / "cells" / dataset, SAMPLED_PARTS)
    if isinstance(parts, Unavailable):
        return parts
    return SampledData(
        cells=parts["cells"]["cells"], labels=parts["de_labels"]["labels"], references=parts["references"]
    )


def load_roles(
    layout: Layout,
    study: str,
    release: str,
    study_inputs: StoredFiles,
    attention: Mapping[str, Any],
    rows: Sequence[catalogue.AnalysisRow],
) -> tuple[dict[str, RoleInputs], dict[str, str]]:
    """Inputs of the roles on which the rows read attention, from what the dataset-level assets stored."""
    edges = by_dataset(attention)
    versions = study_inputs.json("study_inputs.json")["datasets"]
    wanted = {name: version for name, version in versions.items() if name in edges}
    return study_roles(layout.studies[study], release, rows, load_artefacts(layout, wanted), edges)


def load_samples(layout: Layout, sample_inputs: StoredFiles, names: Sequence[str]) -> dict[str, Any]:
    """Stored cells of some of the datasets that an inputs asset lists with their versions."""
    versions = sample_inputs.json("sample_inputs.json")["datasets"]
    return {name: stored_sample(layout.folders.store, name, versions[name]) for name in names}


def load_artefacts(layout: Layout, versions: Mapping[str, str]) -> dict[str, Loaded]:
    """Stored artefacts of the datasets that an inputs asset lists with their versions."""
    return {name: stored_artefacts(layout.folders.store, name, version) for name, version in versions.items()}


def by_dataset(attention: Mapping[str, Any]) -> dict[str, Any]:
    """Loaded attention by the dataset it was read on."""
    return {item.dataset: item for item in attention.values()}


def stored_choice(layer_choice: StoredFiles) -> tuple[LayerChoice, pd.DataFrame]:
    """The frozen layer and the profile it was chosen by.

    Raises
    ------
    ValueError
        When the stored record does not match its hash: a layer that was edited by hand is not the frozen one.
    """
    stored = layer_choice.json(CHOICE_FILE)
    choice = LayerChoice(**stored["choice"])
    if choice.sha256 != stored["sha256"]:
        file = layer_choice.path(CHOICE_FILE)
        raise ValueError(f"{file}: the record does not match its hash; materialise layer_choice again")
    return choice, pd.DataFrame(stored["profile"])


def dimensions(context: dg.AssetExecutionContext) -> tuple[str, str]:
    """Study and release of the partition that is being materialised."""
    keys = context.partition_key.keys_by_dimension  # type: ignore[attr-defined]
    return keys["study"], keys["release"]

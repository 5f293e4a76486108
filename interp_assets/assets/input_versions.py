"""Assets of the versions: what the analyses, readings and comparisons of one study read, as content."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import dagster as dg

from interp_assets.automation.conditions import incremental
from interp_assets.code_version import code_version
from interp_assets.io_managers import (
    MANY,
    PATH,
    files_version,
    records_version,
)
from interp_assets.layout import Layout, Use
from interp_assets.metadata import TEAM
from interp_assets.storage import canonical_json

INPUTS: Mapping[str, tuple[Use, tuple[str, ...], str]] = MappingProxyType(
    {
        "study_inputs": (
            "evaluated",
            ("de_labels", "gene_features", "correlation", "references"),
            "Versions of everything the analyses of one study read.",
        ),
        "screen_inputs": (
            "compared",
            ("de_labels", "gene_features", "correlation", "references", "null_calibration"),
            "Versions of everything behind the screens that one study sets side by side.",
        ),
        "sample_inputs": (
            "sampled",
            ("cells", "de_labels", "references", "grid_outcomes"),
            "Versions of the cells that analyses of expression and readings of a model look at.",
        ),
        "layer_inputs": (
            "selecting",
            ("correlation", "gene_features", "references"),
            "Versions of what the analysis layer is chosen on. Outcomes of the evaluated screens are not among them.",
        ),
    }
)


def inputs_asset(layout: Layout, key: str) -> dg.AssetsDefinition:
    """Content of the dataset-level artefacts of a study for one use, as versions."""
    use, parts, description = INPUTS[key]
    feeding = layout.feeding(use)
    mapping = dg.StaticPartitionMapping(feeding)

    @dg.asset(
        key=key,
        partitions_def=layout.by_study,
        ins={part: dg.AssetIn(partition_mapping=mapping, metadata={MANY: True}) for part in parts},
        io_manager_key="files",
        code_version=code_version("interp_assets.assets.input_versions:inputs_asset") + layout.settings_version,
        metadata={PATH: "studies/{study}"},
        group_name="cells",
        kinds={"json"},
        owners=[TEAM],
        description=f"{description} What is absent is there with its reason.",
        automation_condition=incremental(),
    )
    def study_versions(context: dg.AssetExecutionContext, **given: Any) -> dg.Output[dict[str, bytes]]:
        study = layout.studies[context.partition_key]
        datasets = [name for name, studies in feeding.items() if study.name in studies]
        versions = {
            dataset: "-".join(str(records_version(given[part][dataset]).value) for part in parts)
            for dataset in datasets
        }
        content = {
            "datasets": versions,
            "roles": {
                role: [*filling.datasets, filling.role_fit]
                for role, filling in study.roles.items()
                if filling.dataset in versions
            },
            "battery": study.battery.as_mapping(),
            "seed": study.seed,
            "primary_reference": study.primary_reference,
            "references": study.references,
            "layer_reference": study.layer_reference,
            "tf_catalogue": study.tf_catalogue,
            "vocabularies": study.vocabularies,
        }
        files = {f"{key}.json": canonical_json(content).encode("utf-8")}
        return dg.Output(files, data_version=files_version(files), metadata={"datasets": len(versions)})

    return study_versions

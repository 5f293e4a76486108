"""Assets of the models: verified releases, their attention, and the attention of the random-weights twin."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import dagster as dg

from interp_assets.automation.conditions import incremental_on, incremental_release
from interp_assets.cells.records import Unavailable
from interp_assets.code_version import code_version
from interp_assets.edges.records import Reference
from interp_assets.io_managers import PATH, records_version, register_record
from interp_assets.layout import RELEASE, Layout
from interp_assets.metadata import TEAM, source_link
from interp_assets.models import sourcing
from interp_assets.models.adapter import LOADERS
from interp_assets.models.records import ReleaseCard
from interp_assets.settings import AttentionSettings

register_record(ReleaseCard)

SOURCE = "interp_assets.models.sourcing"
EXTRACTION = ("interp_assets.models.attention.extraction", *LOADERS, "interp_assets.models.edge_tables.reading")
CONTROL_SEED = 0
Stored = Path | Unavailable


def release_asset(layout: Layout) -> dg.AssetsDefinition:
    """One release: verified files and what its manifest states."""

    @dg.asset(
        key="release",
        partitions_def=RELEASE,
        io_manager_key="records",
        code_version=code_version(f"{SOURCE}:release_card"),
        metadata={PATH: "releases/{release}"},
        group_name="models",
        kinds={"safetensors"},
        owners=[TEAM],
        description="Which model is judged? A release pinned by the hashes of its files, or a control built here.",
        automation_condition=incremental_release(),
    )
    def release(context: dg.AssetExecutionContext) -> dg.Output[dict[str, ReleaseCard]]:
        card = sourcing.release_card(context.partition_key, layout.folders)
        records = {"card": card}
        shown: dict[str, Any] = {"family": card.family, "kind": card.kind, "release id": card.release_id}
        if card.gap is not None:
            shown["held-out gain over baseline (unit of its loss)"] = float(card.gap)
        return dg.Output(records, data_version=records_version(records), metadata=shown)

    return release


def attention_settings(layout: Layout, dataset: str) -> AttentionSettings:
    """Extraction settings of the study that reads ``dataset``.

    Raises
    ------
    ValueError
        When two studies want the same attention extracted differently: there is one artefact for both.
    """
    wanted = {study: layout.studies[study].attention for study in layout.studies_of(dataset)}
    if len(set(wanted.values())) > 1:
        raise ValueError(
            f"studies {', '.join(wanted)} share dataset {dataset} but differ in `attention`; make them equal"
        )
    return next(iter(wanted.values()))


def read_anywhere(layout: Layout) -> frozenset[str]:
    """Datasets on which some study reads a release's attention."""
    return frozenset(name for study in layout.studies for name in layout.read_by(study))


def answered_anywhere(layout: Layout) -> frozenset[str]:
    """Datasets for which controls and twins answer in some study."""
    return frozenset(name for study in layout.studies for name in layout.answered(study))


def _attention_output(folder: Path, edges: Any) -> dg.Output[Any]:
    if isinstance(edges, Unavailable):
        return dg.Output(edges, data_version=records_version(edges), metadata={"unavailable": edges.reason})
    facts = edges.facts
    shown = {
        "layers": edges.layers,
        "heads": edges.heads,
        "genes evaluable": len(edges.genes),
        "cells hash": edges.cells_hash,
        "device": str(facts.get("device", "none")),
        "dtype": str(facts.get("dtype", "none")),
        "pairs without a score (share)": float(facts.get("missing_pair_share", 0.0)),
    }
    shown |= _reading_metadata(facts)
    return dg.Output(folder, data_version=dg.DataVersion(sourcing.edges_version(folder)), metadata=shown)


def _reading_metadata(facts: Mapping[str, Any]) -> dict[str, float | int]:
    """Numbers of an extraction that the UI draws over releases; none for a table of finished scores."""
    named = {
        "genes_unknown": "measured genes the model does not know",
        "truncated_share": "cells cut at the model's length (share)",
        "left_out_share": "expressed genes left out of sequences (share)",
    }
    shown = {label: facts[name] for name, label in named.items() if name in facts}
    mass = facts.get("mass")
    if isinstance(mass, Mapping):
        for part, label in (("no_gene", "positions without a gene"), ("unscored_genes", "genes that are not scored")):
            shown[f"attention on {label} (mean of layers)"] = float(sum(mass[part]) / len(mass[part]))
    control = facts.get("order_control")
    if isinstance(control, Mapping) and (found := [value for value in control["spearman"] if value is not None]):
        shown["scores against token order alone (Spearman, mean of layers)"] = float(sum(found) / len(found))
    return shown


def _attention_asset(
    layout: Layout,
    key: list[str],
    path: str,
    group: str,
    description: str,
    make: Callable[..., Any],
    wanted: frozenset[str],
) -> dg.AssetsDefinition:
    """Attention on the (release, dataset) grid; an op of the gpu pool, resumable, a no-op when complete.

    On datasets other than the ``wanted`` ones nobody reads it, and the daemon asks for none.
    """
    inputs = ("release", "cells", "de_labels", "correlation", "references")

    @dg.asset(
        key=key,
        partitions_def=layout.release_by_dataset,
        ins={name: dg.AssetIn(name) for name in inputs},
        io_manager_key="attention_store",
        code_version=f"{code_version(SOURCE, *EXTRACTION)}{layout.uses_version}",
        metadata={PATH: path, **source_link(EXTRACTION[0])},
        group_name=group,
        kinds={"torch"},
        owners=[TEAM],
        pool="gpu",
        description=description,
        automation_condition=incremental_on(wanted),
    )
    def attention(context: dg.AssetExecutionContext, **given: Any) -> dg.Output[Any]:
        keys = context.partition_key.keys_by_dimension  # type: ignore[attr-defined]
        folder = layout.folders.store / path.format(**keys)
        gone = next((value for value in given.values() if isinstance(value, Unavailable)), None)
        if gone is None and keys["dataset"] not in read_anywhere(layout):
            gone = Unavailable(keys["dataset"], "no analysis reads attention on this dataset")
        if gone is not None:
            return _attention_output(folder, gone)
        settings = attention_settings(layout, keys["dataset"])
        edges = make(card=given["release"]["card"], folder=folder, settings=settings, given=given)
        return _attention_output(folder, edges)

    return attention


def carried(layout: Layout, dataset: str, stored: Mapping[str, Reference]) -> dict[str, Reference]:
    """Networks that the positive control is built to carry on a dataset: those that tests read, and no database.

    Databases that attention is only compared with hold tens of thousands of pairs; carrying them would drown the
    screen's own outcomes, which the control has to show.
    """
    return {name: stored[name] for name in layout.networks_of(dataset) if name in stored}


def attention_asset(layout: Layout) -> dg.AssetsDefinition:
    """Attention of releases and of the two controls."""

    def make(*, card: ReleaseCard, folder: Path, settings: AttentionSettings, given: dict[str, Any]) -> Any:
        cells = given["cells"]["cells"]
        if card.kind != "release" and cells.dataset not in answered_anywhere(layout):
            return Unavailable(cells.dataset, "controls answer for the screens that tests read, and no other")
        if card.name == sourcing.PLANTED:
            labels, references = given["de_labels"]["labels"], carried(layout, cells.dataset, given["references"])
            return sourcing.planted_control_attention(cells, labels, references, folder, settings, CONTROL_SEED)
        if card.name == sourcing.COEXPRESSION:
            return sourcing.coexpression_control_attention(cells, given["correlation"]["correlation"], folder)
        return sourcing.release_attention(card, cells, folder, settings)

    return _attention_asset(
        layout,
        ["attention"],
        "attention/{release}/{dataset}",
        "models",
        "Which genes does the model attend to from which? Mean attention between genes by layer and head, over the "
        "control cells; streamed, exact, resumable.",
        make,
        read_anywhere(layout),
    )


def random_weights_attention_asset(layout: Layout) -> dg.AssetsDefinition:
    """Attention of the random-weights twin of each release; controls have none."""

    def make(*, card: ReleaseCard, folder: Path, settings: AttentionSettings, given: dict[str, Any]) -> Any:
        cells = given["cells"]["cells"]
        if card.kind != "release":
            return Unavailable(cells.dataset, "a control has no negative twin")
        if cells.dataset not in answered_anywhere(layout):
            return Unavailable(cells.dataset, "no test reads this dataset, so that its twin has nothing to answer")
        return sourcing.random_twin_attention(card, cells, folder, settings, CONTROL_SEED)

    return _attention_asset(
        layout,
        ["random_weights", "attention"],
        "attention/{release}.random-weights/{dataset}",
        "negative_twins",
        "Would an untrained model do as well? Attention of the same architecture with weights drawn at random.",
        make,
        answered_anywhere(layout),
    )


def release_assets(layout: Layout) -> list[dg.AssetsDefinition]:
    """All assets that run a model."""
    return [release_asset(layout), attention_asset(layout), random_weights_attention_asset(layout)]

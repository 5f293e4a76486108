"""Assets of the data: declared files, prepared cells, outcomes, features, pairwise edges, references."""

from collections.abc import Callable, Mapping
from typing import Any

import dagster as dg

from interp_assets.analyses.calibration import Calibration, calibrate
from interp_assets.assets.input_versions import INPUTS, inputs_asset
from interp_assets.automation.conditions import incremental
from interp_assets.cells import artefacts
from interp_assets.cells.grid_outcomes import GridOutcomes, grid_outcomes
from interp_assets.cells.records import PreparedCells, ScreenLabels, Unavailable
from interp_assets.cells.sources import source_context
from interp_assets.code_version import code_version
from interp_assets.io_managers import (
    PATH,
    read_records,
    records_version,
    register_record,
)
from interp_assets.layout import Layout, content_version
from interp_assets.metadata import TEAM, plain, source_link

register_record(artefacts.RawFile)
register_record(artefacts.GeneFeatures)
register_record(Calibration)
register_record(GridOutcomes)

HERE = "interp_assets.cells.artefacts"
CEILING_ROLE = "primary_screen"  # its cells are split and tested again (analysis E7)
Records = dict[str, Any] | Unavailable


def archive(layout: Layout) -> artefacts.Archive:
    """Declared datasets and the folders their files may lie in, as this process sees them."""
    folders = layout.folders
    return artefacts.Archive(datasets=layout.datasets, context=source_context(folders.store, wheels=folders.wheels))


def _output(records: Records, **facts: Any) -> dg.Output[Any]:
    shown: dict[str, Any] = dict(facts)
    if isinstance(records, Unavailable):
        shown = {"unavailable": dg.MetadataValue.text(records.reason)}
    return dg.Output(records, data_version=records_version(records), metadata=shown)


def raw_asset(layout: Layout, name: str) -> dg.AssetsDefinition:
    """One declared file, verified; its data version follows the file's hash and what the declaration says of it."""
    spec = layout.datasets[name]

    @dg.asset(
        key=["raw", name],
        partitions_def=dg.StaticPartitionsDefinition([name]),
        io_manager_key="records",
        code_version=spec.fingerprint()[:16],
        metadata={
            PATH: "cells/" + name + "/raw",
            "licence": spec.licence,
            "data origin": str(spec.data_origin),
            **{f"provenance {key}": value for key, value in spec.provenance.items()},
        },
        group_name="raw_data",
        kinds={"file"},
        owners=[TEAM],
        description="\n\n".join(map(plain, [spec.title, *spec.traps])),
        automation_condition=incremental(),
    )
    def raw(context: dg.AssetExecutionContext) -> dg.Output[Any]:
        found = artefacts.raw_file(archive(layout), name)
        if isinstance(found, Unavailable):
            context.log.warning(f"{name} is not available: {found.reason}")
            return _output(found)
        facts = {
            "bytes": found.size,
            "origin": found.origin,
            "address": found.address,
            "sha256": found.sha256,
        }
        version = content_version({found.sha256: spec.fingerprint()})
        return dg.Output({"file": found}, data_version=dg.DataVersion(version), metadata=facts)

    return raw


def _dataset_asset(
    layout: Layout,
    name: str,
    *,
    inputs: tuple[str, ...],
    source: str,
    description: str,
    make: Callable[..., Records],
    facts: Callable[[Mapping[str, Any]], Mapping[str, Any]],
    files_of: Callable[[str], tuple[str, ...]] | None = None,
    asked: str = "",
) -> dg.AssetsDefinition:
    """Asset by dataset that hands its inputs to ``make`` unless one of them is unavailable.

    ``files_of`` names the declared files that ``make`` reads itself, ``asked`` is the version of what studies ask of
    the datasets, where ``make`` looks at it.
    """

    @dg.asset(
        key=name,
        partitions_def=layout.by_dataset,
        ins={key: dg.AssetIn() for key in inputs},
        deps=raw_deps(layout, files_of) if files_of else None,
        io_manager_key="records",
        code_version=f"{code_version(source)}{asked}",
        metadata={PATH: "cells/{dataset}/" + name, **source_link(source)},
        group_name="cells",
        kinds={"numpy"},
        owners=[TEAM],
        description=description,
        automation_condition=incremental(),
    )
    def made(context: dg.AssetExecutionContext, **given: Any) -> dg.Output[Any]:
        dataset = context.partition_key
        for value in given.values():
            if isinstance(value, Unavailable):
                return _output(value)
        check_still_there(layout, files_of(dataset) if files_of else ())
        records = make(dataset, **given)
        if isinstance(records, Unavailable):
            context.log.warning(f"{dataset} is not available: {records.reason}")
            return _output(records)
        return _output(records, **facts(records))

    return made


def raw_deps(layout: Layout, files_of: Callable[[str], tuple[str, ...]]) -> list[dg.AssetDep]:
    """Dependencies on exactly the declared files that ``files_of`` names for a dataset."""
    return [
        dg.AssetDep(["raw", name], partition_mapping=dg.StaticPartitionMapping({name: fed}))
        for name, fed in layout.files_feeding(files_of).items()
    ]


def check_still_there(layout: Layout, names: tuple[str, ...]) -> None:
    """Refuse to go on where a file that was verified before is gone: that is a fault of this moment and no result.

    Raises
    ------
    FileNotFoundError
        Naming the dataset and why its file is not found.
    """
    for name in names:
        record = layout.folders.store / "cells" / name / "raw"
        if not record.is_dir() or isinstance(read_records(record), Unavailable):
            continue
        found = artefacts.raw_file(archive(layout), name)
        if isinstance(found, Unavailable):
            raise FileNotFoundError(
                f"{name}: its file was here before and is not now ({found.reason}). Bring it back and run again; what "
                "was computed from it is kept"
            )


def cells_asset(layout: Layout) -> dg.AssetsDefinition:
    """Prepared control cells by dataset, fed by exactly the files they are made of."""

    def make(dataset: str) -> Records:
        found = artefacts.prepared_cells(archive(layout), dataset)
        return found if isinstance(found, Unavailable) else {"cells": found}

    def facts(records: Mapping[str, Any]) -> dict[str, Any]:
        cells: PreparedCells = records["cells"]
        return {
            "cells": int(cells.counts.shape[0]),
            "control cells": int(cells.control.sum()),
            "genes measured": len(cells.genes),
            "genes scored": len(cells.universe),
            "cells hash": cells.cells_hash,
            "data origin": cells.data_origin,
        }

    return _dataset_asset(
        layout,
        "cells",
        inputs=(),
        files_of=layout.screen_files,
        asked=layout.recipes_version,
        source=f"{HERE}:prepared_cells",
        description="Which cells are looked at? Quality-controlled, with raw counts, normalised once; the sampled "
        "control cells, from which every edge score is computed, carry a hash.",
        make=make,
        facts=facts,
    )


def de_labels_asset(layout: Layout) -> dg.AssetsDefinition:
    """Which genes respond to which perturbation."""
    split = {name: study.dataset_of(CEILING_ROLE) or "" for name, study in layout.studies.items()}

    def make(dataset: str, cells: dict[str, Any]) -> Records:
        split_here = dataset in split.values()
        found = artefacts.screen_outcomes(archive(layout), dataset, cells["cells"], keep_cells=split_here)
        return found if isinstance(found, Unavailable) else {"labels": found}

    def facts(records: Mapping[str, Any]) -> dict[str, Any]:
        labels: ScreenLabels = records["labels"]
        tested = int((labels.label >= 0).sum())
        return {
            "perturbations": len(labels.perturbations),
            "pairs": tested,
            "positive rate": float((labels.label == 1).sum() / max(tested, 1)),
            "perturbations excluded": len(labels.exclusions),
            "context mismatch": labels.context_mismatch or "none",
        }

    return _dataset_asset(
        layout,
        "de_labels",
        inputs=("cells",),
        files_of=layout.screen_files,
        asked=f"{layout.recipes_version}{content_version(split)}",
        source=f"{HERE}:screen_outcomes",
        description="Which genes respond to which perturbation? Differential expression computed here, or labels as "
        "published.",
        make=make,
        facts=facts,
    )


def correlation_asset(layout: Layout) -> dg.AssetsDefinition:
    """Same-cell correlation and the trivial pairwise baselines."""

    def facts(records: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "pairs": int(records["correlation"].score.size),
            "cells hash": records["correlation"].cells_hash,
        }

    return _dataset_asset(
        layout,
        "correlation",
        inputs=("cells",),
        source=f"{HERE}:pairwise_edges",
        description="What does attention have to beat pair by pair? Absolute Spearman correlation, rank distance and "
        "co-detection over exactly the control cells.",
        make=lambda dataset, cells: artefacts.pairwise_edges(cells["cells"]),
        facts=facts,
    )


def references_asset(layout: Layout) -> dg.AssetsDefinition:
    """Reference networks inside the scored universe."""

    def make(dataset: str, cells: dict[str, Any], de_labels: dict[str, Any]) -> Records:
        names = layout.references_of(dataset)
        return artefacts.reference_networks(archive(layout), names, cells["cells"], de_labels["labels"])

    return _dataset_asset(
        layout,
        "references",
        inputs=("cells", "de_labels"),
        files_of=layout.files_behind,
        asked=layout.uses_version,
        source=f"{HERE}:reference_networks",
        description="Which regulations are known? Curated (or planted) regulator-target pairs among the scored genes.",
        make=make,
        facts=lambda records: {f"pairs {name}": len(ref.source) for name, ref in records.items()},
    )


def gene_features_asset(layout: Layout) -> dg.AssetsDefinition:
    """Gene-level features that every edge score has to beat."""

    def make(dataset: str, cells: dict[str, Any], references: dict[str, Any]) -> Records:
        found = artefacts.features(
            archive(layout),
            cells["cells"],
            references.get(layout.degree_reference(dataset)),
            catalogue=layout.catalogue_of(dataset),
            vocabularies=layout.vocabularies_of(dataset),
        )
        return {"features": found}

    return _dataset_asset(
        layout,
        "gene_features",
        inputs=("cells", "references"),
        files_of=layout.files_behind,
        asked=layout.uses_version,
        source=f"{HERE}:features",
        description="What does attention have to beat gene by gene? Mean, variance, dropout and out-degree of each "
        "scored gene, from the control cells; whether it is a transcription factor, and which tokenisers know it.",
        make=make,
        facts=lambda records: {"genes": len(records["features"].table)},
    )


def grid_outcomes_asset(layout: Layout) -> dg.AssetsDefinition:
    """Tests of the perturbed cells against control sets of other sizes, where a reading asks for them."""

    def make(dataset: str, cells: dict[str, Any]) -> Records:
        if not any(dataset in layout.gridded(study) for study in layout.studies):
            return Unavailable(dataset, "no reading asks for outcomes against other control sets here")
        found = grid_outcomes(archive(layout), dataset, cells["cells"])
        return found if isinstance(found, Unavailable) else {"grid": found}

    return _dataset_asset(
        layout,
        "grid_outcomes",
        inputs=("cells",),
        files_of=layout.screen_files,
        asked=f"{layout.recipes_version}{layout.uses_version}",
        source="interp_assets.cells.grid_outcomes:grid_outcomes",
        description="Do outcomes depend on the number of control cells? Log fold and p of every perturbation and "
        "gene against control sets of other sizes.",
        make=make,
        facts=lambda records: {"control sets": int(records["grid"].control_cells.size)},
    )


def null_calibration_asset(layout: Layout) -> dg.AssetsDefinition:
    """p-values of the battery's tests where nothing was perturbed."""

    def make(
        dataset: str, cells: dict[str, Any], correlation: dict[str, Any], gene_features: dict[str, Any]
    ) -> Records:
        found = calibrate(cells["cells"], correlation, gene_features["features"].table)
        return found if isinstance(found, Unavailable) else {"calibration": found}

    return _dataset_asset(
        layout,
        "null_calibration",
        inputs=("cells", "correlation", "gene_features"),
        source="interp_assets.analyses.calibration:calibrate",
        description="Do the tests keep their error rate where nothing was perturbed? Their p-values on non-targeting "
        "guides: uniform if the tests mean what they say.",
        make=make,
        facts=lambda records: {"tests": len(records["calibration"].summary)},
    )


def dataset_assets(layout: Layout) -> list[dg.AssetsDefinition]:
    """All assets that know no release."""
    raw = [raw_asset(layout, name) for name in layout.raw_feeds]
    factories = (
        cells_asset,
        de_labels_asset,
        correlation_asset,
        references_asset,
        gene_features_asset,
        grid_outcomes_asset,
        null_calibration_asset,
    )
    made = [factory(layout) for factory in factories]
    return raw + made + [inputs_asset(layout, key) for key in INPUTS]

"""The grid the assets live on: which datasets, studies and releases there are, and which feeds which.

Derived once from the declared datasets and studies; the factories in ``interp_assets.assets`` read it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import dagster as dg

from interp_assets.analyses import catalogue
from interp_assets.cells.dataset_records import DatasetSpec
from interp_assets.cells.datasets import load_datasets
from interp_assets.settings import Folders, Study, studies

CONTROLS = ("control-planted", "control-coexpression")
RELEASE = dg.DynamicPartitionsDefinition(name="release")


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Datasets, studies and how partitions of one asset map to partitions of the next."""

    folders: Folders
    datasets: Mapping[str, DatasetSpec]
    studies: Mapping[str, Study]

    @property
    def screens(self) -> tuple[str, ...]:
        """Datasets that a built analysis reads in some study; a dataset joins the grid when one needs it."""
        roles = {role for row in catalogue.built() for role in row.roles}
        filled = (study.dataset_of(role) for study in self.studies.values() for role in sorted(roles))
        return tuple(sorted({name for name in filled if name}))

    @property
    def cells_of(self) -> dict[str, str]:
        """Screen -> dataset whose cells its scores are computed from."""
        return {name: self.datasets[name].base or name for name in self.screens}

    def files_behind(self, dataset: str) -> tuple[str, ...]:
        """Declared files that ``dataset`` and its references are made of, each once."""
        spec = self.datasets[dataset]
        names = [dataset] if spec.sources else []
        names += [name for name in (spec.base, spec.planted_network) if name]
        if spec.cells is not None and spec.cells.gene_table:
            names.append(spec.cells.gene_table)
        if spec.base:
            names += self.files_behind(spec.base)
        names += [name for name in self.references_of(dataset) if name in self.datasets]
        return tuple(dict.fromkeys(names))

    def references_of(self, dataset: str) -> tuple[str, ...]:
        """Reference networks that any study wants on ``dataset``; ``planted`` only where one was planted."""
        wanted = [
            name
            for study in self.studies.values()
            if dataset in study.datasets
            for name in study.references
            if name != "planted" or self.datasets[dataset].kind == "planted"
        ]
        return tuple(dict.fromkeys(wanted))

    @property
    def raw_feeds(self) -> dict[str, list[str]]:
        """Declared file -> datasets made from it."""
        feeds: dict[str, list[str]] = {}
        for dataset in self.screens:
            for name in self.files_behind(dataset):
                feeds.setdefault(name, []).append(dataset)
        return dict(sorted(feeds.items()))

    def screens_of(self, study: str) -> tuple[str, ...]:
        """Datasets of the grid that one study uses."""
        return tuple(name for name in self.screens if name in self.studies[study].datasets)

    @property
    def by_dataset(self) -> dg.StaticPartitionsDefinition:
        """Partitions of the dataset-level assets."""
        return dg.StaticPartitionsDefinition(list(self.screens))

    @property
    def by_study(self) -> dg.StaticPartitionsDefinition:
        """Partitions by study."""
        return dg.StaticPartitionsDefinition(list(self.studies))

    @property
    def release_by_dataset(self) -> dg.MultiPartitionsDefinition:
        """Grid that attention is extracted on."""
        return dg.MultiPartitionsDefinition({"release": RELEASE, "dataset": self.by_dataset})

    @property
    def release_by_study(self) -> dg.MultiPartitionsDefinition:
        """Grid that releases are judged on."""
        return dg.MultiPartitionsDefinition({"release": RELEASE, "study": self.by_study})

    @property
    def studies_of(self) -> dict[str, list[str]]:
        """Dataset -> studies that read it."""
        return {name: [study for study in self.studies if name in self.screens_of(study)] for name in self.screens}


def read_layout(folders: Folders | None = None) -> Layout:
    """Layout of this deployment, from the declared files and the environment."""
    folders = folders or Folders.from_environment()
    datasets = load_datasets(folders.config)
    return Layout(folders=folders, datasets=datasets, studies=studies(folders.config, frozenset(datasets)))


def grid_key(**dimensions: str) -> dg.MultiPartitionKey:
    """Partition key of a grid from its dimensions."""
    return dg.MultiPartitionKey(dimensions)

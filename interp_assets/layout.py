"""The grid the assets live on: which datasets, studies and releases there are, and which feeds which.

Derived once from the declared datasets and studies; the factories in ``interp_assets.assets`` read it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Literal

import dagster as dg

from interp_assets.analyses import catalogue
from interp_assets.analyses.analysis_row import AnalysisRow
from interp_assets.cells.dataset_records import DatasetSpec
from interp_assets.cells.datasets import load_datasets
from interp_assets.readings.catalogue import READINGS
from interp_assets.settings import (
    COMPARED_ROLES,
    PLANTED_REFERENCE,
    SELECTION_ROLE,
    Folders,
    SettingsError,
    Study,
    studies,
)

Use = Literal["evaluated", "sampled", "answered", "compared", "selecting"]

SCREENS = ("cells", "outcome_only", "planted", "simulated")
NETWORKS = ("network", "gene_sets")
CONTROLS = ("control-planted", "control-coexpression")
RELEASE = dg.DynamicPartitionsDefinition(name="release")


@cache
def _evaluated_roles() -> tuple[str, ...]:
    """Roles whose data the built analyses read, that on which the layer is chosen only where one is about it."""
    roles = {role for row in catalogue.every() for role in row.roles if role != SELECTION_ROLE}
    roles |= {SELECTION_ROLE for row in catalogue.every() if row.reads_selection}
    return tuple(sorted(roles))


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Datasets, studies and how partitions of one asset map to partitions of the next.

    Nothing in it changes, so that what every asset asks for is worked out once.
    """

    folders: Folders
    datasets: Mapping[str, DatasetSpec]
    studies: Mapping[str, Study]

    def evaluated(self, study: str) -> tuple[str, ...]:
        """Datasets that the built analyses read in one study."""
        return self._filling(study, _evaluated_roles())

    def attended(self, study: str) -> tuple[str, ...]:
        """Datasets on which the built analyses read a release's attention in one study."""
        return tuple(dict.fromkeys(name for row in catalogue.every() for name in self.attended_by(row, study)))

    def attended_by(self, row: AnalysisRow, study: str) -> tuple[str, ...]:
        """Datasets on which one analysis reads a release's attention in one study."""
        return self._filling(study, [role for role in row.attended if role != SELECTION_ROLE or row.reads_selection])

    def sampled(self, study: str) -> tuple[str, ...]:
        """Datasets whose cells the built analyses and the readings of a model look at in one study."""
        wanted = [role for row in catalogue.every() if "cells" in row.needs for role in row.roles]
        wanted += [role for entry in READINGS for role in entry.roles]
        return self._filling(study, sorted(set(wanted)))

    def gridded(self, study: str) -> tuple[str, ...]:
        """Datasets of which a reading wants outcomes against control sets of other sizes in one study."""
        return self._filling(study, [role for entry in READINGS if entry.gridded for role in entry.roles])

    def answered(self, study: str) -> tuple[str, ...]:
        """Datasets that controls and twins answer for: those behind the rows that claims need."""
        roles = {role for row in catalogue.built() if row.for_controls for role in row.attended}
        return self._filling(study, sorted(roles - {SELECTION_ROLE}))

    def compared(self, study: str) -> tuple[str, ...]:
        """Screens that one study sets side by side: those its tests read, then those it lists."""
        read = {role for row in catalogue.built() for role in row.roles} & set(COMPARED_ROLES)
        ordered = [role for role in COMPARED_ROLES if role in read]
        return self._filling(study, [*ordered, *self.studies[study].compared_screens])

    def selecting(self, study: str) -> tuple[str, ...]:
        """The dataset the layer is chosen on in one study, if it has one."""
        return self._filling(study, (SELECTION_ROLE,))

    def _filling(self, study: str, roles: Iterable[str]) -> tuple[str, ...]:
        fillings = self.studies[study].roles
        return tuple(dict.fromkeys(name for role in roles if role in fillings for name in fillings[role].datasets))

    def used_by(self, study: str) -> tuple[str, ...]:
        """Datasets of the grid that one study uses, those of its tests first."""
        of_tests = (*self.evaluated(study), *self.sampled(study))
        return tuple(dict.fromkeys([*of_tests, *self.compared(study), *self.selecting(study)]))

    @cached_property
    def grid(self) -> tuple[str, ...]:
        """Datasets that some study uses; a dataset joins the grid when one needs it."""
        return tuple(sorted({name for study in self.studies for name in self.used_by(study)}))

    @cached_property
    def cells_of(self) -> dict[str, str]:
        """Dataset -> dataset whose cells its scores are computed from."""
        return {name: self.datasets[name].base or name for name in self.grid}

    def screen_files(self, dataset: str) -> tuple[str, ...]:
        """Declared files that the cells and outcomes of ``dataset`` are made of, each once."""
        spec = self.datasets[dataset]
        names = [dataset] if spec.sources else []
        names += [name for name in (spec.base, spec.planted_network) if name]
        if spec.cells is not None:
            guides = spec.cells.guides.table if spec.cells.guides is not None else ""
            names += [name for name in (spec.cells.gene_table, spec.cells.orthologs, guides) if name]
        if spec.base:
            names += self.screen_files(spec.base)
        return tuple(dict.fromkeys(names))

    def files_behind(self, dataset: str) -> tuple[str, ...]:
        """Declared files that ``dataset``, its references and its gene features are made of, each once."""
        names = [*self.screen_files(dataset)]
        if base := self.datasets[dataset].base:
            names += self.files_behind(base)
        catalogue_name = self.catalogue_of(dataset)
        names += [catalogue_name] if catalogue_name else []
        for vocabulary in self.vocabularies_of(dataset):
            form = self.datasets[vocabulary].vocabulary
            names += [vocabulary, *([form.gene_table] if form is not None and form.gene_table else [])]
        names += [name for name in self.references_of(dataset) if name in self.datasets]
        return tuple(dict.fromkeys(names))

    def references_of(self, dataset: str) -> tuple[str, ...]:
        """Reference networks and databases wanted on ``dataset``: `networks_of`, then the databases compared on it."""
        databases = [name for study in self.studies for name in self._databases_on(study, dataset)]
        return tuple(dict.fromkeys([*self.networks_of(dataset), *databases]))

    def networks_of(self, dataset: str) -> tuple[str, ...]:
        """Reference networks that tests read on ``dataset``, in study order.

        All of a study's where its tests read the dataset, the primary one where the screen is only compared, the
        one the layer is chosen by on the selection dataset; ``planted`` only where one was planted.
        """
        wanted: list[str] = []
        for name, study in self.studies.items():
            if dataset in self.evaluated(name):
                wanted += study.references
            elif dataset in self.compared(name):
                wanted += [study.primary_reference]
            if dataset in self.selecting(name) and study.layer_reference:
                wanted.append(study.layer_reference)
        planted = self.datasets[dataset].kind in ("planted", "simulated")
        return tuple(name for name in dict.fromkeys(wanted) if name != PLANTED_REFERENCE or planted)

    def _databases_on(self, study: str, dataset: str) -> tuple[str, ...]:
        """Networks behind the databases of one study, where an analysis compares them on ``dataset``."""
        roles = [role for row in catalogue.every() if "reference_sets" in row.needs for role in row.roles]
        sets = self.studies[study].reference_sets
        return tuple(sets.values()) if dataset in self._filling(study, roles) else ()

    def degree_reference(self, dataset: str) -> str:
        """Network whose out-degree is a gene feature: the first that was not planted, else the planted one."""
        names = self.networks_of(dataset)
        return next((name for name in names if name != PLANTED_REFERENCE), names[0] if names else "")

    def catalogue_of(self, dataset: str) -> str:
        """List of transcription factors that the studies of ``dataset`` name, or an empty text.

        Raises
        ------
        SettingsError
            When two studies that evaluate the dataset name different lists: there is one artefact for both.
        """
        named = {
            name: study.tf_catalogue
            for name, study in self.studies.items()
            if dataset in self.evaluated(name) and study.tf_catalogue
        }
        if len(set(named.values())) > 1:
            told = ", ".join(f"{study} names {found}" for study, found in named.items())
            raise SettingsError(f"dataset {dataset}: {told} as `tf_catalogue`; make them equal")
        return next(iter(named.values()), "")

    def vocabularies_of(self, dataset: str) -> tuple[str, ...]:
        """Published tokenisers whose reach on ``dataset`` some study counts."""
        wanted = [
            name
            for study_name, study in self.studies.items()
            if dataset in self.compared(study_name)
            for name in study.vocabularies
        ]
        return tuple(dict.fromkeys(wanted))

    @cached_property
    def raw_feeds(self) -> dict[str, list[str]]:
        """Declared file -> datasets made from it."""
        feeds: dict[str, list[str]] = {}
        for dataset in self.grid:
            for name in self.files_behind(dataset):
                feeds.setdefault(name, []).append(dataset)
        return dict(sorted(feeds.items()))

    def files_feeding(self, files_of: Callable[[str], tuple[str, ...]]) -> dict[str, list[str]]:
        """Declared file -> datasets of the grid that ``files_of`` names it for."""
        made_of = {each: frozenset(files_of(each)) for each in self.grid}
        return {name: fed for name in self.raw_feeds if (fed := [each for each in self.grid if name in made_of[each]])}

    @cached_property
    def uses_version(self) -> str:
        """Hash over what the studies ask of each dataset: it changes with a study though no file does."""
        asked = {
            name: (
                self.references_of(name),
                self.degree_reference(name),
                self.catalogue_of(name),
                self.vocabularies_of(name),
                bool(self.feeding("evaluated")[name]),
                [study for study in self.studies if name in self.attended(study)],
                bool(self.feeding("answered")[name]),
                [self.studies[study].attention for study in self.studies_of(name)],
            )
            for name in self.grid
        }
        return content_version(asked)

    @cached_property
    def recipes_version(self) -> str:
        """Hash over the declarations that no file of their own stands behind: planted and simulated ones."""
        return content_version(
            {name: self.datasets[name].fingerprint() for name in self.grid if not self.datasets[name].sources}
        )

    @cached_property
    def settings_version(self) -> str:
        """Hash over the roles and settings of every study."""
        return content_version({name: replace(study, path=Path()) for name, study in self.studies.items()})

    @property
    def by_dataset(self) -> dg.StaticPartitionsDefinition:
        """Partitions of the dataset-level assets."""
        return dg.StaticPartitionsDefinition(list(self.grid))

    def feeding(self, use: Use) -> dict[str, list[str]]:
        """Dataset -> studies that use it in one way: in their tests, side by side, or to choose the layer."""
        of = {
            "evaluated": self.evaluated,
            "sampled": self.sampled,
            "answered": self.answered,
            "compared": self.compared,
            "selecting": self.selecting,
        }[use]
        return {name: [study for study in self.studies if name in of(study)] for name in self.grid}

    def read_by(self, study: str) -> tuple[str, ...]:
        """Datasets on which one study wants a release's attention, for whatever use."""
        return tuple(dict.fromkeys([*self.attended(study), *self.compared(study), *self.selecting(study)]))

    def studies_of(self, dataset: str) -> tuple[str, ...]:
        """Studies that use a dataset in any way."""
        return tuple(study for study in self.studies if dataset in self.used_by(study))

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


def content_version(content: Mapping[str, object]) -> str:
    """First 16 hex digits of a sha256 over plain records."""
    return hashlib.sha256(repr(sorted(content.items())).encode("utf-8")).hexdigest()[:16]


def read_layout(folders: Folders | None = None) -> Layout:
    """Layout of this deployment, from the declared files and the environment."""
    folders = folders or Folders.from_environment()
    datasets = load_datasets(folders.config)
    found = studies(folders.config, frozenset(datasets))
    for study in found.values():
        check_kinds(study, datasets)
    return Layout(folders=folders, datasets=datasets, studies=found)


def check_kinds(study: Study, datasets: Mapping[str, DatasetSpec]) -> None:
    """Check that a study uses each dataset as what it is.

    Raises
    ------
    SettingsError
        Naming the file, the key, the dataset and the kinds that can stand there.
    """
    named = [(f"roles.{role}", name, SCREENS) for role, filling in study.roles.items() for name in filling.datasets]
    named += [("references", name, NETWORKS) for name in (*study.references, study.layer_reference)]
    named += [("tf_catalogue", study.tf_catalogue, ("gene_list",))]
    named += [("vocabularies", name, ("vocabulary",)) for name in study.vocabularies]
    for key, name, kinds in named:
        if name and name != PLANTED_REFERENCE and datasets[name].kind not in kinds:
            raise SettingsError(
                f"{study.path}: `{key}` names {name}, which is of kind {datasets[name].kind} "
                f"({datasets[name].file.name}); a dataset of kind {' or '.join(kinds)} can stand there"
            )


def grid_key(**dimensions: str) -> dg.MultiPartitionKey:
    """Partition key of a grid from its dimensions."""
    return dg.MultiPartitionKey(dimensions)

"""What a row of the catalogue of analyses says, and how its function is found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from interp_assets.analyses.inputs import AnalysisInputs, AnalysisOutput
    from qc_standards.records import TestSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalysisRow:
    """One analysis: its place in the framework, its inputs, and the function that runs it.

    ``section`` is the topic of the framework it belongs to. ``roles`` are the datasets it asks a study for,
    ``needs`` the artefacts of each, ``settings`` the study settings it reads. ``tests`` counts its declared
    rows. ``series`` is A for the 37, E for the extended analyses whose tests never enter the 153. ``function`` is
    "module:name", or None for an analysis that is not built yet. ``for_controls``: controls and
    twins run it, because the criteria they are judged by read it. ``readings`` names what it needs read from the
    running model (rows of `interp_assets.readings.catalogue`). ``needs`` with ``cells`` asks for the cells behind its
    roles, with ``reference_sets`` for the databases a study names, with ``controls`` for the results of the study's
    controls. ``reads_selection``: it reads the data of the layer-selection role itself; analyses that only follow the
    frozen choice never see them. ``release_free``: nothing of a release enters, so that a study computes it once.
    """

    number: int
    title: str
    section: str
    tests: int
    figure_ids: tuple[str, ...]
    roles: tuple[str, ...] = ("primary_screen",)
    needs: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    function: str | None = None
    for_controls: bool = False
    readings: tuple[str, ...] = ()
    reads_selection: bool = False
    release_free: bool = False
    series: str = "A"

    @property
    def key(self) -> str:
        """Name of the analysis among the assets: ``analysis_16``, or ``extended_4``."""
        return f"analysis_{self.number:02d}" if self.series == "A" else f"extended_{self.number}"

    @property
    def label(self) -> str:
        """How people call it: ``16``, or ``E4``."""
        return str(self.number) if self.series == "A" else f"{self.series}{self.number}"

    @property
    def card_name(self) -> str:
        """Name of the card that explains it: ``16``, ``07``, or ``E4``."""
        return f"{self.number:02d}" if self.series == "A" else self.label

    @property
    def attended(self) -> tuple[str, ...]:
        """Roles on which it reads the release's attention."""
        return self.roles if "attention" in self.needs or "interventions" in self.needs else ()

    @property
    def test_ids(self) -> tuple[str, ...]:
        """Ids of the declared rows, in order."""
        prefix = f"A{self.number:02d}" if self.series == "A" else self.label
        return tuple(f"{prefix}.{i}" for i in range(1, self.tests + 1))

    @property
    def declared(self) -> tuple[TestSpec, ...]:
        """Declared tests of the analysis, from the registry of its series."""
        from qc_standards.extended import extended_tests_of
        from qc_standards.registry import tests_of_analysis

        return tests_of_analysis(self.number) if self.series == "A" else extended_tests_of(self.number)

    @property
    def run(self) -> Callable[[AnalysisInputs], AnalysisOutput] | None:
        """Function of the analysis, imported now; None if it is not built."""
        if self.function is None:
            return None
        module, name = self.function.split(":")
        return cast("Callable[[AnalysisInputs], AnalysisOutput]", getattr(import_module(module), name))

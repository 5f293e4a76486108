"""A score through the analyses and criteria of an evaluation, and what is kept of the answer.

What belongs here: calling what every release goes through. What does not: any analysis, test or criterion of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Final

from interp_assets.analyses.catalogue import built
from interp_assets.battery import Gathered, all_rows, layer_choice, run_analysis, study_roles
from interp_assets.battery_settings import BatterySettings
from interp_assets.calibration.design import Design
from interp_assets.calibration.screens import SCREEN, Screen
from interp_assets.edges.records import AttentionEdges
from interp_assets.evaluation_tables import evaluation_table
from interp_assets.models.records import ReleaseCard
from interp_assets.settings import PACKAGE, PLANTED_REFERENCE, RoleFilling, Study, load_study
from qc_standards.claims import claims_registry
from qc_standards.criteria import judge_criterion
from qc_standards.criterion_parts import CriterionResult
from qc_standards.evidence import Evidence
from qc_standards.multiplicity import results_frame
from qc_standards.records import Outcome
from qc_standards.registry import tests_of_analysis


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one world gave for one seed.

    ``criteria`` holds the outcome of each criterion by id and ``reasons`` one sentence to each. ``parts`` holds, by
    "criterion/part", the outcome of every comparison inside a criterion and the number that decides it (lower bound
    of a difference or gain, kept share, z). ``p`` holds the p of every confirmatory test, None where there is none.
    ``facts`` are further numbers.
    """

    criteria: Mapping[str, Outcome] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)
    parts: Mapping[str, tuple[Outcome, float | None]] = field(default_factory=dict)
    p: Mapping[str, float | None] = field(default_factory=dict)
    facts: Mapping[str, float] = field(default_factory=dict)


@cache
def _study() -> Study:
    return load_study(PACKAGE / "studies" / "demo.yaml")


def study_of(battery: BatterySettings, seed: int) -> Study:
    """A study whose only screen is the planted one; ``seed`` is that of its resamples and folds."""
    return replace(
        _study(),
        name=SCREEN,
        roles={"primary_screen": RoleFilling(dataset=SCREEN, role_fit="full")},
        primary_reference=PLANTED_REFERENCE,
        references=(PLANTED_REFERENCE,),
        tf_catalogue="",
        battery=battery,
        seed=seed,
    )


def judge(
    screen: Screen,
    design: Design,
    attention: AttentionEdges,
    *,
    criteria: Iterable[str],
    analyses: Iterable[int],
) -> Finding:
    """Outcomes of the named criteria and p of confirmatory tests, from analyses run as in every evaluation.

    ``criteria`` are judged by `qc_standards.criteria.judge_criterion` from the tables and rows of ``analyses``; a
    criterion whose tables are not among them is not evaluable.
    """
    study = study_of(design.battery, screen.seed)
    release = attention.release
    numbers = set(analyses)
    rows = [row for row in built() if row.number in numbers]
    roles, absent = study_roles(study, release, rows, {SCREEN: screen.artefacts}, {SCREEN: attention})
    choice = layer_choice(study, release, None, None)
    gathered = Gathered(choice=choice, roles=roles, absent=absent)
    outputs = [run_analysis(study, release, row, gathered) for row in rows]
    given = [result for output in outputs for result in output.results]
    tables = {name: table for output in outputs for name, table in output.tables.items()}
    card = ReleaseCard(name=release, kind="release", family="edge_table", release_id=release)
    tables["evaluation"] = evaluation_table(study, card, roles, given, {}, tables, choice[0])
    evidence = Evidence(tests=results_frame(all_rows(given, release)), tables=tables)
    declared = claims_registry().criteria
    found = {name: judge_criterion(evidence, declared[name]) for name in criteria}
    return Finding(
        criteria={name: result.outcome for name, result in found.items()},
        reasons={name: result.reason for name, result in found.items()},
        parts=_parts(found),
        p={result.test_id: result.p for result in given if result.test_id in confirmatory()},
        facts=_facts(evidence),
    )


@cache
def confirmatory() -> frozenset[str]:
    """Ids of the confirmatory tests of the analyses that are built."""
    return frozenset(test.test_id for row in built() for test in tests_of_analysis(row.number) if test.confirmatory)


DECIDING: Final = ("kept", "z", "ci_low")


def _parts(found: Mapping[str, CriterionResult]) -> dict[str, tuple[Outcome, float | None]]:
    return {
        f"{name}/{part.name.removeprefix('attention/')}": (
            part.outcome,
            next((part.numbers[number] for number in DECIDING if number in part.numbers), None),
        )
        for name, result in found.items()
        for part in result.parts
    }


def _facts(evidence: Evidence) -> dict[str, float]:
    """Mean per-perturbation AUROC of every score, and the number of evaluable perturbations."""
    frame = evidence.tables.get("perturbation_auroc")
    if frame is None:
        return {}
    every = frame[frame["subset"] == "all"]
    found = {f"auroc {name}": float(value) for name, value in every.groupby("score")["auroc"].mean().items()}
    return found | {"perturbations": float((every["score"] == "attention").sum())}

"""The catalogue against the registry, and what importing it costs."""

from __future__ import annotations

import csv
import subprocess
import sys
from dataclasses import replace
from importlib.resources import files

import pytest

from interp_assets.analyses.catalogue import CATALOGUE, built, row

BUILT = tuple(range(1, 38))


def test_there_are_37_analyses_and_153_tests():
    assert [entry.number for entry in CATALOGUE] == list(range(1, 38))
    assert sum(entry.tests for entry in CATALOGUE) == 153
    assert len({test_id for entry in CATALOGUE for test_id in entry.test_ids}) == 153


def test_rows_equal_the_registry():
    registry = files("qc_standards").joinpath("registry/tests.csv")
    with registry.open(encoding="utf-8", newline="") as handle:
        declared = list(csv.DictReader(handle))
    for entry in CATALOGUE:
        own = [r for r in declared if int(r["analysis_no"]) == entry.number]
        assert entry.test_ids == tuple(r["test_id"] for r in own)
        assert {entry.title} == {r["analysis"] for r in own}
        if "roles" in own[0]:
            asked = {role for r in own for role in r["roles"].split(";") if role not in ("", "none")}
            assert set(entry.roles) == asked, entry.number


def test_built_rows_say_what_they_need():
    assert tuple(entry.number for entry in built()) == BUILT
    for entry in built():
        assert bool(entry.needs) == bool(entry.roles), entry.number
        assert not (entry.release_free and (entry.attended or entry.readings or "analysis_depth" in entry.settings))
        assert not entry.reads_selection or "layer_selection" in entry.roles
        assert entry.settings
    assert row(16).key == "analysis_16"
    assert replace(row(3), function=None).run is None
    with pytest.raises(ValueError, match="no analysis 38"):
        row(38)


@pytest.mark.parametrize("number", BUILT)
def test_functions_are_found_by_name(number):
    entry = row(number)
    assert entry.run.__name__ == entry.function.split(":")[1]


# Those that need nothing but a screen, or nothing at all; the evaluation hands the others their own settings only.
SELF_CONTAINED = tuple(
    entry.number for entry in CATALOGUE if set(entry.roles) <= {"primary_screen"} and not entry.readings
)


@pytest.mark.parametrize("number", SELF_CONTAINED)
def test_an_analysis_reads_the_settings_it_declares_and_no_other(number, make_inputs):
    entry = row(number)
    fast = {"bootstrap": 5, "power_simulations": 1, "residual_seeds": 1, "curveball_networks": 2, "label_shuffles": 2}
    inputs = make_inputs(number, settings=fast, genes=60, perturbations=12, targets=8, layers=2)
    only = {name: inputs.settings[name] for name in entry.settings}
    assert len(entry.run(replace(inputs, settings=only)).results) == entry.tests
    for name in entry.settings:
        fewer = {key: value for key, value in only.items() if key != name}
        with pytest.raises(ValueError, match=name):
            entry.run(replace(inputs, settings=fewer))


def test_importing_the_catalogue_imports_no_numpy():
    code = "import sys, interp_assets.analyses.catalogue; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

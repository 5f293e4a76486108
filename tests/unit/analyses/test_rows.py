"""Result rows: provenance, declared = emitted, and nothing missing that looks like a number."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from interp_assets.analyses import rows
from interp_assets.edges.layers import relative_depth, resolve_layer
from qc_standards.records import Status

PRIMARY = "primary_screen"


def test_a_row_carries_its_provenance_and_settings(make_inputs):
    inputs = make_inputs(22)
    role = inputs.roles[PRIMARY]
    settings = {"b": np.int64(3), "a": np.array([1.5]), "c": {"z": np.float32(0.5), "y": "t"}}
    made = rows.row(inputs, role, "A22.1", settings=settings, layer=np.int64(2), effect=np.float64(0.25), n=4)
    assert made.settings_used == '{"a":[1.5],"b":3,"c":{"y":"t","z":0.5}}'
    assert made.settings_hash == rows.settings_hash(made.settings_used)
    assert len(made.settings_hash) == 16
    assert (made.dataset, made.data_origin, made.role_fit) == ("synthetic-screen", "simulated", "full")
    assert (made.release, made.cells_hash, made.seed) == ("synthetic-release", "c" * 64, 0)
    assert type(made.effect) is float
    assert type(made.layer) is int
    assert (made.effect_kind, made.unit) == ("declared_kind", "perturbation")


def test_the_order_of_settings_does_not_change_the_hash():
    one, other = rows.canonical_json({"a": 1, "b": [2]}), rows.canonical_json({"b": (2,), "a": 1})
    assert one == other
    assert json.loads(one) == {"a": 1, "b": [2]}


@pytest.mark.parametrize("value", [float("nan"), {1, 2}, object()])
def test_settings_that_cannot_be_compared_are_refused(value):
    with pytest.raises(ValueError):
        rows.canonical_json({"x": value})


@pytest.mark.parametrize("value", [math.nan, math.inf, np.float64("nan")])
def test_a_number_that_is_none_stays_visible(make_inputs, value):
    inputs = make_inputs(22)
    made = rows.row(inputs, inputs.roles[PRIMARY], "A22.1", settings={}, layer=0, effect=value, p=0.5)
    assert made.effect is None
    assert made.p == 0.5
    assert "effect" in made.reason
    told = rows.row(inputs, inputs.roles[PRIMARY], "A22.1", settings={}, layer=0, effect=value, reason="flat null")
    assert told.reason == "flat null"


def test_undeclared_missing_and_doubled_rows_are_refused(make_inputs):
    inputs = make_inputs(16)
    role = inputs.roles[PRIMARY]
    with pytest.raises(ValueError, match=r"A22\.1 is not among the declared"):
        rows.row(inputs, role, "A22.1", settings={}, layer=0)
    results = [rows.skip(inputs, f"A16.{i}", "why") for i in (3, 1, 2)]
    assert [r.test_id for r in rows.collect(inputs, results).results] == ["A16.1", "A16.2", "A16.3"]
    for wrong in (results[:2], [*results, results[0]]):
        with pytest.raises(ValueError, match="declared tests are"):
            rows.collect(inputs, wrong)


def test_an_absent_role_skips_every_row_with_its_reason(make_inputs):
    inputs = make_inputs(21, absent="file not in the mirror")
    assert rows.role_or_reason(inputs, PRIMARY) == "file not in the mirror"
    assert "fills no role second_screen" in rows.role_or_reason(inputs, "second_screen")
    output = rows.skip_all(inputs, "file not in the mirror")
    assert len(output.results) == 7
    assert {r.status for r in output.results} == {Status.SKIPPED}
    assert {r.release for r in output.results} == {"synthetic-release"}
    assert output.tables == {}


def test_a_missing_setting_is_an_error_and_no_default(make_inputs):
    inputs = make_inputs(22)
    with pytest.raises(ValueError, match="study synthetic: settings lack colour"):
        rows.chosen_settings(inputs, "bootstrap", "colour")


def test_each_purpose_has_its_own_generator(make_inputs):
    inputs = make_inputs(22)
    first = rows.generator(inputs, 22, 1).random()
    assert first == rows.generator(inputs, 22, 1).random()
    assert first != rows.generator(inputs, 22, 2).random()
    assert first != rows.generator(inputs, 21, 1).random()


@pytest.mark.parametrize(
    ("depth", "layers", "layer"),
    [(13 / 17, 18, 13), (13 / 17, 8, 5), (13 / 17, 12, 8), (13 / 17, 1, 0), (0, 6, 0), (1, 6, 5)],
)
def test_layer_of_a_relative_depth(depth, layers, layer):
    assert resolve_layer(depth, layers) == layer


def test_every_layer_comes_back_from_its_depth():
    for layers in range(1, 30):
        assert [resolve_layer(relative_depth(k, layers), layers) for k in range(layers)] == list(range(layers))


@pytest.mark.parametrize(
    "call", [lambda: resolve_layer(1.2, 8), lambda: resolve_layer(0.5, 0), lambda: relative_depth(8, 8)]
)
def test_impossible_layers_are_refused(call):
    with pytest.raises(ValueError):
        call()

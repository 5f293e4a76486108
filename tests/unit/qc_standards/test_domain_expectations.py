"""Domain expectations on small frames: their limits, missing numbers, no rows, and the rows they are about."""

import numpy as np
import pandas as pd
import pytest
import yaml

from qc_standards.standards import STANDARDS_FOLDER, read_standard
from qc_standards.suites import evaluate_frame

NAME = "QCS-16_cells_unseen_by_release.yaml"
LIMITS = {"type": "expect_column_values_to_be_between", "column": "x", "min_value": 1}
INSIDE = {
    "type": "expect_estimate_inside_interval",
    **{"low": "low", "high": "high", "estimate": "x", "slack": 0.0, "min_share": 1.0},
}
MARGIN = {"type": "expect_interval_inside_margin", "low": "low", "high": "high", "margin": "m"}
CHANGE = {
    "type": "expect_relative_change_as_defined",
    **{"before": "x", "after": "y", "change": "c", "floor": 0.01, "tolerance": 1.0e-9},
}
SHARE = {
    "type": "expect_share_in_every_group_at_most",
    **{"groups": ["kind"], "column": "flag", "value": True, "max_share": 0.5},
}
VALUES = {"type": "expect_values_in_every_group", "groups": ["kind"], "column": "x", "value_set": [1, 2]}
SEVERAL = {"type": "expect_different_values_in_every_group", "groups": ["kind"], "column": "x", "min_value": 2}
TOTAL = {"type": "expect_columns_to_add_up", "columns": ["x", "y"], "total": 1.0, "tolerance": 1.0e-9}


@pytest.fixture
def met(tmp_path):
    """Whether one expectation is met by a frame: ``met(expectation, frame)``."""

    def ask(expectation, **columns):
        frame = pd.DataFrame({"key": "k", **columns})
        content = yaml.safe_load((STANDARDS_FOLDER / NAME).read_text())
        for field in ("columns", "row", "keys"):
            content.pop(field, None)
        never = ["key", *expectation.get("where", {})]
        content |= {"rows": {"min": 1}, "not_null": never, "expectations": [{"id": "asked", **expectation}]}
        path = tmp_path / NAME
        path.write_text(yaml.safe_dump(content))
        checks = {check.id: check for check in evaluate_frame(read_standard(path), frame)}
        assert not checks["asked"].error, checks["asked"].error
        return checks["asked"].success

    return ask


@pytest.mark.parametrize(
    ("expectation", "columns", "success"),
    [
        (INSIDE, {"low": [0.0], "high": [1.0], "x": [1.0]}, True),
        (INSIDE, {"low": [0.0], "high": [1.0], "x": [1.1]}, False),
        (INSIDE, {"low": [0.0, np.nan], "high": [1.0, 1.0], "x": [0.5, 0.5]}, False),
        (MARGIN, {"low": [-0.01], "high": [0.01], "m": [0.02]}, True),
        (MARGIN, {"low": [-0.02], "high": [0.01], "m": [0.02]}, False),
        (MARGIN, {"low": [-0.01], "high": [0.02], "m": [0.02]}, False),
        (MARGIN, {"low": [np.nan], "high": [0.01], "m": [0.02]}, False),
        (MARGIN, {"low": [-0.01], "high": [0.01], "m": [np.nan]}, False),
        (CHANGE, {"x": [0.2], "y": [0.1], "c": [0.5]}, True),
        (CHANGE, {"x": [-0.2], "y": [0.1], "c": [1.5]}, True),
        (CHANGE, {"x": [0.001], "y": [0.011], "c": [1.0]}, True),
        (CHANGE, {"x": [0.001], "y": [0.011], "c": [10.0]}, False),
        (CHANGE, {"x": [0.2], "y": [np.nan], "c": [0.5]}, False),
        (SHARE, {"kind": ["a", "a"], "flag": [True, False]}, True),
        (SHARE, {"kind": ["a", "a", "b"], "flag": [False, False, True]}, False),
        (VALUES, {"kind": ["a", "a", "b", "b"], "x": [1, 2, 2, 1]}, True),
        (VALUES, {"kind": ["a", "a", "b"], "x": [1, 2, 2]}, False),
        (SEVERAL, {"kind": ["a", "a", "b", "b"], "x": [1, 2, 5, 6]}, True),
        (SEVERAL, {"kind": ["a", "a", "b", "b"], "x": [1, 2, 5, 5]}, False),
        (TOTAL, {"x": [0.1, 0.7], "y": [0.9, 0.3]}, True),
        (TOTAL, {"x": [0.1, 0.7], "y": [0.9, 0.2]}, False),
        (TOTAL, {"x": [1.0], "y": [np.nan]}, False),
    ],
)
def test_limits_and_missing_numbers(met, expectation, columns, success):
    assert met(expectation, **columns) is success


@pytest.mark.parametrize(
    ("where", "success"),
    [
        ({"kind": "a"}, True),
        ({"kind": "b"}, False),
        ({"kind": ["a", "b"]}, False),
        ({"kind": "nowhere"}, True),
        ({"size": {"above": 5}}, False),
        ({"size": {"above": 10}}, True),
        ({"size": {"at_least": 10}}, False),
        ({"size": {"at_most": 5}}, True),
        ({"size": {"below": 5.5}}, True),
        ({"flag": False}, False),
        ({"flag": True}, True),
        ({"kind": "b", "size": {"below": 10}}, True),
        ({"kind": "b", "size": {"above": 5}}, False),
    ],
)
@pytest.mark.parametrize("expectation", [LIMITS, INSIDE])
def test_only_the_rows_named_are_asked(met, expectation, where, success):
    columns = {"kind": ["a", "b"], "size": [5, 10], "flag": [True, False], "x": [2.0, 0.0]}
    assert met({**expectation, "where": where}, **columns, low=[1.0, 1.0], high=[3.0, 3.0]) is success


@pytest.mark.parametrize("expectation", [INSIDE, SHARE, SEVERAL])
def test_no_rows_at_all_are_not_enough(met, expectation):
    nothing = {name: [] for name in ("low", "high", "x", "kind", "flag")}
    assert met(expectation, **nothing) is False

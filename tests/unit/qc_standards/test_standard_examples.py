"""Every expectation of every standard can fail: the passing example is bent for each of them, and it fires.

Nothing else may fire but what reads the same columns; where rows are taken out or doubled, what counts rows may too.
"""

from dataclasses import replace

import pandas as pd
import pytest

from qc_standards.demands import KEYS, KEYS_UNIQUE, NOT_NULL, ROWS
from qc_standards.standards import shipped_standards
from qc_standards.suites import evaluate_frame, expectation_specs

STANDARDS = shipped_standards()
OTHER = "something else"
ROW_COUNTING = {
    *(ROWS, KEYS, KEYS_UNIQUE, "expect_estimate_inside_interval", "expect_share_in_every_group_at_most"),
    *("expect_values_in_every_group", "expect_different_values_in_every_group"),
    "expect_column_distinct_values_to_contain_set",
}
COMPARED = {
    "is": lambda column, values: column.isin(values),
    "above": lambda column, values: column > values[0],
    "at_least": lambda column, values: column >= values[0],
    "at_most": lambda column, values: column <= values[0],
    "below": lambda column, values: column < values[0],
}
INSIDE = {"above": 1, "at_least": 0, "at_most": 0, "below": -1, "is": None}


def passing(standard):
    return pd.DataFrame([dict(row) for row in standard.examples["passing"].rows])


def columns_read(standard, spec):
    if spec.type in (KEYS, KEYS_UNIQUE):
        return set(standard.keys.columns)
    names = ("column", "column_A", "column_B", "low", "high", "estimate", "margin", "before", "after", "change")
    read = {spec.arguments[name] for name in names if name in spec.arguments}
    for name in ("groups", "columns"):
        read |= set(spec.arguments.get(name, ()))
    return read | {item.column for item in spec.where}


def place(spec, frame):
    """A row that the expectation is about, made one where the example has none; and the columns touched for it."""
    rows = pd.Series(True, index=frame.index)
    for item in spec.where:
        rows &= COMPARED[item.operator](frame[item.column], list(item.values))
    if rows.any():
        return rows.idxmax(), set()
    for item in spec.where:
        shift = INSIDE[item.operator]
        put(frame, 0, item.column, item.values[0] + shift if shift else item.values[0])
    return 0, {item.column for item in spec.where}


def put(frame, row, column, value):
    numeric = pd.api.types.is_numeric_dtype(frame[column]) and not pd.api.types.is_bool_dtype(frame[column])
    stays = numeric and (value is None or isinstance(value, (int, float)))
    frame[column] = frame[column].astype(float if stays else object)
    frame.loc[row, column] = value


def out_of_bounds(arguments):
    low, high = arguments.get("min_value"), arguments.get("max_value")
    if high is not None:
        return high if arguments.get("strict_max") else high + 1
    return low if arguments.get("strict_min") else low - 1


def not_in(values):
    return not values[0] if isinstance(values[0], bool) else OTHER


def unlike(value):
    return f"{value}x" if isinstance(value, str) else value + 1


def cells(spec, frame, row):
    """Cells to change so that the expectation fails: column and value."""
    a = spec.arguments
    here = frame.loc[row]
    return {
        NOT_NULL: lambda: {a["column"]: None},
        KEYS: lambda: {},
        "expect_column_values_to_be_null": lambda: {a["column"]: 0.9},
        "expect_column_values_to_be_between": lambda: {a["column"]: out_of_bounds(a)},
        "expect_column_values_to_be_in_set": lambda: {a["column"]: not_in(a["value_set"])},
        "expect_column_values_to_match_regex": lambda: {a["column"]: ""},
        "expect_column_values_to_not_match_regex": lambda: {a["column"]: "the evaluation data"},
        "expect_done_as_requested": lambda: {a["column_B"]: unlike(here[a["column_B"]])},
        "expect_column_pair_values_a_to_be_greater_than_b": lambda: {a["column_A"]: here[a["column_B"]] - 1},
        "expect_estimate_inside_interval": lambda: {a["estimate"]: here[a["high"]] + a["slack"] + 1},
        "expect_interval_inside_margin": lambda: {a["high"]: here[a["margin"]] + 1},
        "expect_relative_change_as_defined": lambda: {a["change"]: here[a["change"]] + 1},
        "expect_columns_to_add_up": lambda: {a["columns"][0]: here[a["columns"][0]] + 0.5},
    }[spec.type]()


def without_rows(standard, spec, frame):
    """Frame with fewer or more rows, for expectations about the table as a whole; None for the others."""
    a = spec.arguments
    if spec.type == ROWS:
        low, high = standard.rows
        return frame.head(low - 1) if high is None else pd.concat([frame, frame.head(1)])
    if spec.type == KEYS_UNIQUE:
        return pd.concat([frame, frame.head(1)])
    if spec.type == "expect_column_distinct_values_to_contain_set":
        return frame[frame[a["column"]] != a["value_set"][0]]
    if spec.type == "expect_values_in_every_group":
        return frame[frame[a["column"]] != a["value_set"][-1]]
    if spec.type == "expect_different_values_in_every_group":
        return frame.head(a["min_value"] - 1)
    return None


def broken(standard, spec):
    """Passing example bent so that the expectation fails, the columns touched, and whether rows were."""
    frame = passing(standard)
    counted = without_rows(standard, spec, frame)
    if counted is not None:
        return counted.reset_index(drop=True), set(), True
    if spec.type == KEYS:
        free = [column for column in standard.keys.columns if column not in standard.select]
        if not free:  # a foreign key is not even selected, so only a missing one can be seen
            return frame.drop(index=0).reset_index(drop=True), set(), True
        put(frame, 0, free[0], OTHER)
        return frame, {free[0]}, False
    if spec.type == "expect_share_in_every_group_at_most":
        return frame.assign(**{spec.arguments["column"]: spec.arguments["value"]}), {spec.arguments["column"]}, False
    row, touched = place(spec, frame)
    rows = frame.index if spec.arguments.get("mostly", 1) < 1 else [row]
    for column, value in cells(spec, frame, row).items():
        for here in rows:
            put(frame, here, column, value)
        touched |= {column}
    return frame, touched, False


def part(standard, name, **changes):
    """The standard with some of its demands; under another hash, since suites are kept by hash."""
    return replace(standard, content_hash=f"{standard.content_hash} {name}", **changes)


def bare(standard):
    return part(standard, "bare", not_null=())


OWN = [(name, spec.id) for name, item in STANDARDS.items() for spec in expectation_specs(bare(item))]


@pytest.mark.parametrize(("name", "expectation"), OWN)
def test_each_expectation_fires_and_nothing_else_does(name, expectation):
    standard = bare(STANDARDS[name])
    specs = {spec.id: spec for spec in expectation_specs(standard)}
    frame, touched, rows_too = broken(standard, specs[expectation])
    checks = evaluate_frame(standard, frame)
    failed = {check.id for check in checks if not check.success}
    assert expectation in failed
    assert not [check for check in checks if check.error]
    stray = [
        other
        for other in failed - {expectation}
        if not (touched & columns_read(standard, specs[other])) and not (rows_too and specs[other].type in ROW_COUNTING)
    ]
    assert not stray


@pytest.mark.parametrize("name", list(STANDARDS))
def test_an_empty_cell_fires_in_its_own_column_and_in_no_other(name):
    columns = STANDARDS[name].not_null
    standard = part(STANDARDS[name], "never empty", keys=None, select={}, expectations=())
    frame = pd.concat([passing(standard).head(1)] * (len(columns) + 1), ignore_index=True)
    for row, column in enumerate(columns):
        put(frame, row, column, None)
    seen = {check.id: check.observed for check in evaluate_frame(standard, frame) if check.id != "rows"}
    assert set(seen) == {f"not-null-{column}" for column in columns}
    assert all(observed.startswith(f"1 of {len(frame)} rows") for observed in seen.values()), seen


def test_every_standard_has_demands_of_its_own():
    assert {name for name, _ in OWN} == set(STANDARDS)
    assert all(standard.expectations for standard in STANDARDS.values())

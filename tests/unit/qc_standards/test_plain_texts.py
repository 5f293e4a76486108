"""JSON and YAML have one meaning or are refused; results columns hold the kinds of values they declare."""

from __future__ import annotations

import numpy as np
import pytest
import yaml

from qc_standards.json_text import plain_json
from qc_standards.multiplicity import mistyped
from qc_standards.results import ResultsError, check_tests
from qc_standards.yaml_text import plain_yaml, yaml_nodes


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"a": 1, "a": 2}', "stands twice"),
        ("[" * 100_000, "nested too deeply"),
        (b"\xff\xfe[\x00", "can't decode"),
        ("9" * 5000, "limit"),
        ("{", "Expecting"),
    ],
)
def test_json_without_one_meaning_is_a_value_error(text, told):
    with pytest.raises(ValueError, match=told):
        plain_json(text)


def test_json_is_read_from_text_and_bytes():
    assert plain_json('{"a": ["\\u00e9", 1.5, null]}') == plain_json('{"a": ["é", 1.5, null]}'.encode())


@pytest.mark.parametrize("text", ["a: 2024-99-99", "a: " + "9" * 5000, "a: 0x_", b"a: \xff", "a: [1\n", "a: 1\na: 2"])
def test_yaml_that_holds_no_value_is_a_yaml_error(text):
    with pytest.raises(yaml.YAMLError):
        plain_yaml(text)


def test_yaml_nodes_know_their_lines():
    root = yaml_nodes("a: 1\nb:\n  - c\n")
    assert root is not None
    assert [key.start_mark.line for key, _ in root.value] == [0, 1]
    assert yaml_nodes("") is None


@pytest.mark.parametrize(
    ("column", "values"),
    [("reason", b"x"), ("p", "0.5"), ("n", 1.5), ("significant_a", "False"), ("q_a", 1), ("row_hash", None)],
)
def test_a_column_of_another_kind_is_named(planted, column, values):
    frame = planted.tests.assign(**{column: [values] * len(planted.tests)})
    assert mistyped(planted.tests) == []
    assert mistyped(frame) == [column]
    with pytest.raises(ResultsError, match=column):
        check_tests(frame)


def test_a_column_of_lists_is_named(planted):
    frame = planted.tests.assign(effect=[np.zeros(2)] * len(planted.tests))
    with pytest.raises(ResultsError, match="effect"):
        check_tests(frame)

"""What a standard demands of a table, expectation by expectation, with the ones every standard starts with.

What belongs here: the list of expectations, as data. What does not: building or running a suite
(`qc_standards.suites`). Imports neither pandas nor Great Expectations.
"""

from __future__ import annotations

from typing import Final

from qc_standards.standards import ExpectationSpec, Standard

KEY_COLUMN: Final = "declared_key"
ROWS: Final = "expect_rows_as_declared"
KEYS_UNIQUE: Final = "expect_keys_unique"
KEYS: Final = "expect_keys_as_declared"
NOT_NULL: Final = "expect_column_values_to_not_be_null"


def expectation_specs(standard: Standard) -> tuple[ExpectationSpec, ...]:
    """All expectations of a standard: declared rows, keys and not-null columns first, then its own."""
    low, high = standard.rows
    items = [ExpectationSpec(id="rows", type=ROWS, arguments={"min_value": low, "max_value": high})]
    if standard.keys:
        items.append(ExpectationSpec(id="keys-unique", type=KEYS_UNIQUE, arguments={"column": KEY_COLUMN}))
        if standard.keys.expected is not None:
            arguments = {"column": KEY_COLUMN, "value_set": list(standard.keys.expected)}
            items.append(ExpectationSpec(id="keys", type=KEYS, arguments=arguments))
    items += [
        ExpectationSpec(id=f"not-null-{column}", type=NOT_NULL, arguments={"column": column})
        for column in standard.not_null
    ]
    return (*items, *standard.expectations)

"""A standard in words: what it closes, what it reads, and every expectation as a sentence with its threshold.

What belongs here: text about one standard, for the terminal and for the gallery. What does not: judging anything, or
markdown (`qc_standards.gallery`). Imports neither pandas nor Great Expectations.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from qc_standards.claims import claims_registry
from qc_standards.demands import KEYS, KEYS_UNIQUE, NOT_NULL, ROWS, expectation_specs
from qc_standards.standards import Condition, ExpectationSpec, Standard, required_columns


def value_words(value: Any) -> str:
    """Text of a cell or threshold.

    Examples
    --------
    >>> [value_words(value) for value in (True, 1.0e-9, 20, None, "")]
    ['true', '1e-09', '20', '(empty)', '(blank)']
    """
    if value is None:
        return "(empty)"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.10g}"
    return str(value) or "(blank)"


def _listing(values: Sequence[Any], last: str = "or") -> str:
    words = [value_words(value) for value in values]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {last} {words[-1]}"


def _ticked(columns: Sequence[str]) -> str:
    return ", ".join(f"`{column}`" for column in columns)


def _bounds(arguments: Mapping[str, Any]) -> str:
    """A range in words: is 0, is at least 20, lies between 0 and 1, is above 0 and at most .1."""
    low, high = arguments.get("min_value"), arguments.get("max_value")
    open_low, open_high = bool(arguments.get("strict_min")), bool(arguments.get("strict_max"))
    if low is not None and low == high:
        return f"is {value_words(low)}"
    if low is not None and high is not None and not (open_low or open_high):
        return f"lies between {value_words(low)} and {value_words(high)}"
    parts = []
    if low is not None:
        parts.append(f"{'above' if open_low else 'at least'} {value_words(low)}")
    if high is not None:
        parts.append(f"{'below' if open_high else 'at most'} {value_words(high)}")
    return f"is {' and '.join(parts)}"


def _rows(a: Mapping[str, Any]) -> str:
    low, high = a["min_value"], a["max_value"]
    noun = "row" if low == 1 else "rows"
    return f"the table has {'exactly' if low == high else 'at least'} {low} {noun}"


def _regex(a: Mapping[str, Any]) -> str:
    return f"`{a['column']}` " + ("is not blank" if a["regex"] == r"\S" else f"matches `{a['regex']}`")


def _pair(a: Mapping[str, Any]) -> str:
    than = "at least" if a.get("or_equal") else "above"
    return f"`{a['column_A']}` is {than} `{a['column_B']}`"


def _inside(a: Mapping[str, Any]) -> str:
    slack = f", give or take {value_words(a['slack'])}" if a["slack"] > 1e-6 else ""
    share = f" in at least {a['min_share']:.0%} of the rows" if a["min_share"] < 1 else ""
    return f"`{a['estimate']}` lies between `{a['low']}` and `{a['high']}`{slack}{share}"


def _change(a: Mapping[str, Any]) -> str:
    return (
        f"`{a['change']}` is |`{a['before']}` - `{a['after']}`| / max(|`{a['before']}`|, {value_words(a['floor'])}), "
        f"to {value_words(a['tolerance'])}"
    )


def _share(a: Mapping[str, Any]) -> str:
    return (
        f"in every group of {_ticked(a['groups'])} at most {a['max_share']:.0%} of the rows have `{a['column']}` "
        f"{value_words(a['value'])}"
    )


_WORDS: Final[Mapping[str, Callable[[Mapping[str, Any]], str]]] = MappingProxyType(
    {
        ROWS: _rows,
        NOT_NULL: lambda a: f"`{a['column']}` is never empty",
        "expect_column_values_to_be_null": lambda a: f"`{a['column']}` is empty",
        "expect_column_values_to_be_between": lambda a: f"`{a['column']}` {_bounds(a)}",
        "expect_column_values_to_be_in_set": lambda a: f"`{a['column']}` is {_listing(a['value_set'])}",
        "expect_column_values_to_match_regex": _regex,
        "expect_column_values_to_not_match_regex": lambda a: f"`{a['column']}` does not match `{a['regex']}`",
        "expect_column_distinct_values_to_contain_set": lambda a: (
            f"`{a['column']}` takes the values {_listing(a['value_set'], 'and')}, and may take others"
        ),
        "expect_column_distinct_values_to_equal_set": lambda a: (
            f"`{a['column']}` takes the values {_listing(a['value_set'], 'and')}, all of them and no other"
        ),
        "expect_column_unique_value_count_to_be_between": lambda a: (
            f"the number of different values of `{a['column']}` {_bounds(a)}"
        ),
        "expect_column_pair_values_a_to_be_greater_than_b": _pair,
        "expect_done_as_requested": lambda a: f"`{a['column_A']}` equals `{a['column_B']}`",
        "expect_estimate_inside_interval": _inside,
        "expect_interval_inside_margin": lambda a: (
            f"the interval from `{a['low']}` to `{a['high']}` lies between minus and plus `{a['margin']}`"
        ),
        "expect_relative_change_as_defined": _change,
        "expect_share_in_every_group_at_most": _share,
        "expect_values_in_every_group": lambda a: (
            f"for every {_ticked(a['groups'])} there is `{a['column']}` {_listing(a['value_set'], 'and')}"
        ),
        "expect_different_values_in_every_group": lambda a: (
            f"for every {_ticked(a['groups'])} there are at least {a['min_value']} different `{a['column']}`"
        ),
        "expect_columns_to_add_up": lambda a: f"{_ticked(a['columns'])} add up to {value_words(a['total'])}",
    }
)
_COMPARED: Final = MappingProxyType({"at_least": "at least", "at_most": "at most"})


def _condition(item: Condition) -> str:
    if item.operator == "is":
        return f"`{item.column}` is {_listing(item.values)}"
    return f"`{item.column}` is {_COMPARED.get(item.operator, item.operator)} {value_words(item.values[0])}"


def expectation_words(spec: ExpectationSpec) -> str:
    """One expectation as a sentence with its threshold and the rows it is about.

    Examples
    --------
    >>> limits = {"column": "n", "min_value": 20}
    >>> few = Condition(column="kind", operator="is", values=("small",))
    >>> type = "expect_column_values_to_be_between"
    >>> expectation_words(ExpectationSpec(id="enough", type=type, arguments=limits, where=(few,)))
    'where `kind` is small: `n` is at least 20'
    """
    told = _WORDS.get(spec.type)
    arguments = spec.arguments
    words = told(arguments) if told else f"{spec.type}: " + ", ".join(f"{k} {v}" for k, v in arguments.items())
    if arguments.get("mostly", 1) < 1:
        words += f" in at least {arguments['mostly']:.0%} of the rows"
    where = " and ".join(_condition(item) for item in spec.where)
    return f"where {where}: {words}" if where else words


def demands(standard: Standard) -> tuple[tuple[str, str], ...]:
    """Ids and sentences of everything a standard demands; columns that are never empty share one sentence."""
    told = []
    for spec in expectation_specs(standard)[: -len(standard.expectations) or None]:
        if spec.type == ROWS:
            told.append((spec.id, expectation_words(spec)))
        elif spec.type == KEYS_UNIQUE and standard.keys:
            several = "combination of " if len(standard.keys.columns) > 1 else ""
            told.append((spec.id, f"no {several}{_ticked(standard.keys.columns)} is there twice"))
        elif spec.type == KEYS and standard.keys:
            told.append((spec.id, f"every combination is there and no other: {_key_words(standard)}"))
    told.append(("not-null-…", f"never empty: {_ticked(standard.not_null)}"))
    return (*told, *((spec.id, expectation_words(spec)) for spec in standard.expectations))


def _key_words(standard: Standard) -> str:
    """Values of each key column, in the order they first appear."""
    if standard.keys is None or standard.keys.expected is None:
        return ""
    cells = [key.split("|") for key in standard.keys.expected]
    values = [dict.fromkeys(row[place] for row in cells) for place in range(len(standard.keys.columns))]
    pairs = zip(standard.keys.columns, values, strict=True)
    return "; ".join(f"`{column}` {', '.join(found)}" for column, found in pairs)


def consequence(standard: Standard) -> str:
    """What happens to claims when the standard fails or cannot be evaluated."""
    if standard.status == "deprecated":
        return f"deprecated by {standard.deprecated_by} and no longer evaluated"
    if standard.kind == "integrity" and standard.severity == "critical":
        return "unless it passes, no claim about the release is evaluable"
    if standard.severity == "warning":
        return "a failure is shown beside every verdict and closes no claim"
    named = [claim.id for claim in claims_registry().claims.values() if standard.id in claim.standards]
    return f"unless it passes, it closes {', '.join(named)}" if named else "no claim names it yet, so it closes none"


def reading(standard: Standard) -> str:
    """What the standard reads and where it applies, as a sentence each."""
    rows = f", rows where {_conditions(standard.select)}" if standard.select else ""
    told = f"Reads `{standard.applies_to}`{rows}."
    if standard.row:
        told += f" One row is {standard.row}."
    if standard.applies_when:
        told += f" Applies where {_conditions(standard.applies_when)}."
    if standard.tests:
        verb = "tests {} say" if len(standard.tests) > 1 else "test {} says"
        told += f" Where the table is absent, {verb.format(', '.join(standard.tests))} why."
    return told


def _conditions(given: Mapping[str, Sequence[Any]]) -> str:
    return " and ".join(f"`{column}` is {_listing(values)}" for column, values in given.items())


def standard_text(standard: Standard) -> str:
    """A standard for the terminal: title, consequence, why, evidence, demands, columns, remedy and changelog."""
    width = max((len(column) for column in standard.columns), default=0)
    columns = [
        f"  {column:{width}}  {standard.columns[column]}"
        for column in required_columns(standard)
        if column in standard.columns
    ]
    parts = [
        f"{standard.id} {standard.version}  {standard.title}",
        f"{standard.kind}, {standard.severity}: {consequence(standard)}",
        reading(standard),
        f"\n{standard.rationale}",
        "\nevidence:",
        *(f"  - {entry['finding']} ({entry['source']})" for entry in standard.evidence),
        "\ndemands:",
        *(f"  - {name}: {words}" for name, words in demands(standard)),
        *(["\ncolumns:", *columns] if columns else ["\ncolumns: " + ", ".join(required_columns(standard))]),
        f"\nhow to fix: {standard.how_to_fix}",
        "\nchangelog:",
        *(f"  - {entry['version']}: {entry['change']}" for entry in standard.changelog),
    ]
    return "\n".join(parts) + "\n"

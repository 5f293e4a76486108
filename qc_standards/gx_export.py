"""Standards as plain Great Expectations: JSON suites of core expectations, each over one table of metrics.

What belongs here: the exported files. What does not: evaluating a standard. Plain Great Expectations drops a type it
does not know with a log line and passes, so domain expectations never leave this package: they are evaluated here, and
what is exported is a table with one row per expectation and a suite that accepts that table only when every declared
row is there and passed. Files hold no random ids, times or paths: exporting twice gives the same bytes.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import pandas as pd

from qc_standards.demands import expectation_specs
from qc_standards.standards import Standard, shipped_standards
from qc_standards.suites import StandardResult, judge_frame
from qc_standards.wording import expectation_words

COLUMNS: Final = ("standard", "version", "metric", "expectation", "threshold", "observed", "passed")
_NEVER_NULL: Final = ("standard", "version", "metric", "expectation", "passed")
INDEX_FILE: Final = "index.json"


class ExportError(ValueError):
    """The folder to export to cannot be used."""


def metric_rows(standard: Standard, result: StandardResult) -> list[dict[str, Any]]:
    """One row per expectation of a standard; without checks every row is not passed and says why."""
    checks = {check.id: check for check in result.checks}
    rows = []
    for spec in expectation_specs(standard):
        check = checks.get(spec.id)
        observed = (check.error or check.observed) if check else f"{result.outcome}: {result.reason}"
        rows.append(
            {
                "standard": standard.id,
                "version": standard.version,
                "metric": spec.id,
                "expectation": spec.type,
                "threshold": expectation_words(spec),
                "observed": observed,
                "passed": bool(check and check.success and not check.error),
            }
        )
    return rows


def core_suite(standard: Standard) -> dict[str, Any]:
    """Suite over the metrics table of a standard: rows and columns first, then every declared metric passed."""
    metrics = [spec.id for spec in expectation_specs(standard)]
    expectations: list[tuple[str, dict[str, Any]]] = [
        ("expect_table_row_count_to_equal", {"value": len(metrics)}),
        ("expect_table_columns_to_match_ordered_list", {"column_list": list(COLUMNS)}),
        *(("expect_column_values_to_not_be_null", {"column": column}) for column in _NEVER_NULL),
        ("expect_column_values_to_be_unique", {"column": "metric"}),
        ("expect_column_distinct_values_to_equal_set", {"column": "metric", "value_set": metrics}),
        ("expect_column_distinct_values_to_equal_set", {"column": "standard", "value_set": [standard.id]}),
        ("expect_column_distinct_values_to_equal_set", {"column": "version", "value_set": [standard.version]}),
        ("expect_column_distinct_values_to_equal_set", {"column": "passed", "value_set": [True]}),
    ]
    return {
        "name": f"{standard.id}-{standard.version}",
        "expectations": [
            {"type": name, "kwargs": arguments, "meta": {}, "severity": standard.severity}
            for name, arguments in expectations
        ],
        "meta": {
            "title": standard.title,
            "how_to_fix": standard.how_to_fix,
            "content_hash": standard.content_hash,
            "qc_gate_expectations": len(expectations),
        },
    }


def _csv(rows: Iterable[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _json(content: Any) -> str:
    return json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _example_results(standard: Standard) -> dict[str, StandardResult]:
    return {
        kind: judge_frame(standard, pd.DataFrame([dict(row) for row in example.rows]))
        for kind, example in standard.examples.items()
    }


def _of_examples() -> dict[str, str]:
    """Files of the shipped examples by name: a suite, a passing and a failing table for each active standard."""
    files, index = {}, {}
    for standard in _active():
        suite = f"{standard.id}.suite.json"
        files[suite] = _json(core_suite(standard))
        tables = {}
        for kind, result in _example_results(standard).items():
            tables[kind] = f"{standard.id}.{kind}.csv"
            files[tables[kind]] = _csv(metric_rows(standard, result))
        index[standard.id] = {"version": standard.version, "suite": suite, "tables": tables}
    return {**files, INDEX_FILE: _json({"examples": True, "standards": index})}


def _of_results(results: Iterable[StandardResult]) -> dict[str, str]:
    """Files of a judged evaluation by name. A standard that does not apply has no suite, and the index says why."""
    judged = {result.id: result for result in results}
    files, index = {}, {}
    for standard in _active():
        result = judged[standard.id]
        entry: dict[str, Any] = {"version": standard.version, "outcome": str(result.outcome), "reason": result.reason}
        if result.applies:
            suite, table = f"{standard.id}.suite.json", f"{standard.id}.csv"
            files[suite] = _json(core_suite(standard))
            files[table] = _csv(metric_rows(standard, result))
            entry |= {"suite": suite, "tables": {"results": table}}
        index[standard.id] = entry
    return {**files, INDEX_FILE: _json({"examples": False, "standards": index})}


def _active() -> list[Standard]:
    return [standard for standard in shipped_standards().values() if standard.status == "active"]


def export(folder: Path, results: Iterable[StandardResult] | None = None) -> tuple[Path, ...]:
    """Write suites, metrics tables and an index to a folder; returns the written paths.

    Without ``results`` the shipped examples are exported. A folder that holds files of another export is refused, so
    that no old suite is taken for one of this export.
    """
    if folder.exists() and not folder.is_dir():
        raise ExportError(f"{folder}: not a folder; name an empty or a new one")
    files = _of_examples() if results is None else _of_results(results)
    foreign = sorted({path.name for path in folder.glob("*")} - set(files))
    if foreign:
        raise ExportError(f"{folder}: holds {foreign[0]}, which this export does not write; name an empty folder")
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8", newline="\n")
    return tuple(folder / name for name in files)

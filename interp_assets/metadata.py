"""What the Dagster UI shows beside an asset: numbers that draw trends, a small picture, a link to the code."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import dagster as dg
import pandas as pd

from interp_assets.columns import RESULT, Column, described
from qc_standards.records import Status, TestResult

if TYPE_CHECKING:
    from qc_standards.suites import StandardResult
    from qc_standards.verdicts import Judgement, Verdict

TEAM = "team:interpretability"
INLINE_PNG_LIMIT = 150_000
CODE = "interp/code"
MOST_ROWS = 60  # of a table in the event log; the files hold all
KIND_NAMES = {"text": "string", "number": "float", "integer": "int", "truth": "bool"}
ROW = ("test", "effect", "95% interval", "p", "n", "null", "how to read it")
LEADERBOARD_COLUMNS = ("study", "release", "verdict", "criterion_a", "criterion_b", "criterion_c", "criterion_d")


def source_link(source: str) -> Mapping[str, Any]:
    """Definition metadata that names the ``module:function`` behind an asset; the UI makes a link of it."""
    return {CODE: source}


def table_schema(names: Iterable[str], words: Mapping[str, Column]) -> dg.TableSchema:
    """Columns of a declared table, with kind and one line each, for ``dagster/column_schema``.

    Raises
    ------
    KeyError
        When a column has no words: a declared table is described whole.
    """
    listed = [(name, words[name] if name in words else RESULT[name]) for name in names]
    return dg.TableSchema([dg.TableColumn(name, KIND_NAMES[told.kind], told.words) for name, told in listed])


def frame_schema(frame: pd.DataFrame, words: Mapping[str, Column] | None = None) -> dg.TableSchema:
    """Columns of a frame as it was written: kind from its values, words where the name has any."""
    return dg.TableSchema(
        [
            dg.TableColumn(str(name), _kind(kind), described(str(name), words or {}))
            for name, kind in frame.dtypes.items()
        ]
    )


def _kind(dtype: Any) -> str:
    kinds = (("bool", pd.api.types.is_bool_dtype), ("int", pd.api.types.is_integer_dtype))
    number = "float" if pd.api.types.is_float_dtype(dtype) else "string"
    return next((name for name, holds in kinds if holds(dtype)), number)


def tables_metadata(tables: Mapping[str, pd.DataFrame]) -> dict[str, Any]:
    """Rows and columns of the tables that an analysis wrote; the first is the one that the UI shows as its columns."""
    listed = [(name, frame) for name, frame in tables.items() if len(frame.columns)]
    if not listed:
        return {}
    (first, shown), rest = listed[0], listed[1:]
    found: dict[str, Any] = {
        "dagster/column_schema": frame_schema(shown),
        "dagster/row_count": len(shown),
        "table": f"tables/{first}.parquet",
    }
    return found | {f"columns of tables/{name}.parquet": frame_schema(frame) for name, frame in rest}


def counts_metadata(results: Iterable[TestResult]) -> dict[str, Any]:
    """Tests run and not run, and the reasons of the latter."""
    listed = list(results)
    run = sum(result.status is Status.RUN for result in listed)
    shown: dict[str, Any] = {"tests run": run, "tests skipped": len(listed) - run}
    reasons = sorted({result.reason for result in listed if result.status is not Status.RUN})
    if reasons:
        shown["skipped because"] = dg.MetadataValue.md("\n".join(f"- {plain(reason)}" for reason in reasons))
    return shown


def significant_metadata(parquet: bytes) -> dict[str, int]:
    """Rows of a written table, and how many of its tests are significant in each family."""
    frame = pd.read_parquet(io.BytesIO(parquet))
    families = [name for name in frame.columns if name.startswith("significant_")]
    counts = {name.replace("_", " in family ", 1): int(frame[name].sum()) for name in families}
    return {"dagster/row_count": len(frame), **counts}


def result_metadata(results: Iterable[TestResult]) -> dict[str, Any]:
    """Counts by status, the effect of every test that was run as its own number, and all rows as a table."""
    listed = list(results)
    run = [result for result in listed if result.status is Status.RUN]
    effects = {f"effect {result.test_id}": float(f"{result.effect:.6g}") for result in run if result.effect is not None}
    records = [dg.TableRecord(_row(result)) for result in listed[:MOST_ROWS]]
    schema = dg.TableSchema([dg.TableColumn(name, "string") for name in ROW])
    table = {"tests": dg.MetadataValue.table(records=records, schema=schema)} if records else {}
    return table | counts_metadata(listed) | effects


def _row(result: TestResult) -> dict[str, str]:
    """One test in the words of the table that the UI shows."""
    interval = f"[{_number(result.ci_low)}, {_number(result.ci_high)}]" if result.ci_low is not None else ""
    n = "" if result.n is None else f"{result.n} {result.unit}".strip()
    told = result.direction if result.status is Status.RUN else f"{result.status}: {result.reason}"
    effect = f"{_number(result.effect)} {result.effect_kind.replace('_', ' ')}" if result.effect is not None else ""
    p = "" if result.p is None else f"{result.p:.2g}"
    return dict(zip(ROW, (result.test_id, effect, interval, p, n, result.null_name, told), strict=True))


def _number(value: float | None) -> str:
    return "not computed" if value is None else f"{value:.3f}"


def plain(text: str) -> str:
    r"""Text that stays text on one line of markdown: nothing in it is taken for markup.

    >>> print(plain("[x](javascript:y)\n# A&amp;B"))
    \[x\](javascript:y) \# A\&amp;B
    """
    return re.sub(r"([\\`*_\[\]<>#|$~&])", r"\\\1", " ".join(text.split()))


def report_metadata(link: str, store: str, study: str, release: str, anchor: str = "") -> dict[str, dg.MetadataValue]:
    """Where the report speaks of an asset: an address where the deployment serves reports, else the file.

    ``link`` is the address pattern of the deployment's notices (``notify: link`` in ``platform.yaml``), ``anchor`` the
    row or figure in the page.
    """
    mark = f"#{anchor}" if anchor else ""
    if link:
        address = link.replace("{study}", quote(study)).replace("{release}", quote(release))
        return {"in the report": dg.MetadataValue.url(f"{address}{mark}")}
    return {"in the report": dg.MetadataValue.path(f"{store}/{study}/{release}/report.html{mark}")}


def picture(png: bytes, alt: str) -> dg.MetadataValue:
    """Inline picture for the UI; one that is too large for the event log is described instead."""
    if len(png) > INLINE_PNG_LIMIT:
        return dg.MetadataValue.text(f"{alt} (picture of {len(png) // 1000} kB: see the file)")
    encoded = base64.b64encode(png).decode("ascii")
    return dg.MetadataValue.md(f"![{plain(alt)}](data:image/png;base64,{encoded})")


def standard_metadata(judgement: Judgement, result: StandardResult) -> dict[str, str]:
    """Outcome of one standard; release and study are named because the UI shows a check without its partition."""
    shown = {"outcome": str(result.outcome), "reason": result.reason, "version": result.version}
    return {"release": judgement.release, "study": judgement.study, **shown}


def claim_metadata(judgement: Judgement, verdict: Verdict) -> dict[str, Any]:
    """Verdict of one claim with its first reason and deciding numbers, for which release in which study.

    Numbers are text here: the UI draws those of a check over time, all releases mixed; the asset draws them by release.
    """
    shown = {"verdict": verdict.label, "reason": verdict.reasons[0] if verdict.reasons else ""}
    numbers = deciding_numbers(judgement, [name for name, _ in verdict.criteria])
    told = {name: str(value) for name, value in numbers.items()}
    return {"release": judgement.release, "study": judgement.study, **shown, **told}


def deciding_numbers(judgement: Judgement, criteria: Iterable[str]) -> dict[str, float | str]:
    """Number that decides each criterion, for trends over releases, and in words what it is."""
    from interp_assets.comparison.effects import deciding
    from qc_standards.documents import claims_document

    entries = claims_document(judgement)["criteria"]
    found: dict[str, float | str] = {}
    for name in criteria:
        number = deciding(name, entries[name]) if name in entries else None
        if number is not None:
            title = name.replace("_", " ")
            found[f"criterion {title}, deciding number"] = float(f"{number.value:.6g}")
            found[f"criterion {title}, number of"] = number.words
    return found


def verdict_metadata(judgement: Judgement) -> dict[str, Any]:
    """Headline verdict: label, criteria, data origin, reasons, and how many claims are supported."""
    headline = judgement.verdicts[judgement.headline]
    return {
        "verdict": headline.label,
        **{f"criterion {name}": str(outcome) for name, outcome in headline.criteria},
        "data origin": str(headline.data_origin),
        "claims supported": sum(verdict.cleared for verdict in judgement.verdicts.values()),
        "reasons": dg.MetadataValue.md("\n".join(f"- {plain(reason)}" for reason in headline.reasons)),
        **deciding_numbers(judgement, [name for name, _ in headline.criteria]),
    }


def leaderboard_metadata(frame: pd.DataFrame) -> dict[str, Any]:
    """Number of evaluations, and verdict and criteria of each as a table."""
    names = {column: column.removeprefix("criterion_") for column in LEADERBOARD_COLUMNS}
    records = [
        dg.TableRecord({name: str(row[column]) for column, name in names.items()}) for row in frame.to_dict("records")
    ]
    schema = dg.TableSchema([dg.TableColumn(name, "string") for name in names.values()])
    return {"evaluations": len(frame), "verdicts": dg.MetadataValue.table(records=records, schema=schema)}

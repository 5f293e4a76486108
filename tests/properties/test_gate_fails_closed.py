"""The gate fails closed: no loss, damage or edit of evidence opens a claim, and no order of rows matters.

Two ways evidence can go: it is changed in a stored folder, whose own verdict then no longer follows from its tables;
or it is missing from the start, and the judgement is made from what is left.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qc_standards.claims import required_controls
from qc_standards.cli import main
from qc_standards.content import table_hash
from qc_standards.evidence import Evidence, MissingEvidenceError
from qc_standards.gate import controls_frame, judge_standards, judge_tables
from qc_standards.metrics import VIEWS
from qc_standards.multiplicity import results_frame
from qc_standards.records import skipped
from qc_standards.results import JUDGED_FILES
from tests.properties.laws import law

CLAIMS = ("beats_gene_level_baselines", "adds_incremental_value", "survives_confounds_and_degree")
UNJUDGED = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)


def _builders() -> ModuleType:
    path = Path(__file__).parents[1] / "unit/qc_standards/conftest.py"
    spec = importlib.util.spec_from_file_location("gate_evaluations", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


made = _builders()
Change = Callable[[pd.DataFrame, np.random.Generator], "pd.DataFrame | None"]


def _one_row(frame: pd.DataFrame, rng: np.random.Generator) -> int:
    return int(rng.integers(len(frame)))


def drop_table(frame: pd.DataFrame, rng: np.random.Generator) -> None:
    return None


def empty_table(frame: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    return frame.head(0)


def drop_row(frame: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    return frame.drop(frame.index[_one_row(frame, rng)]).reset_index(drop=True) if len(frame) else frame


def repeat_row(frame: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    return pd.concat([frame, frame.iloc[[_one_row(frame, rng)]]], ignore_index=True) if len(frame) else frame


def blank_cell(frame: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    if frame.empty:
        return frame
    column = frame.columns[int(rng.integers(len(frame.columns)))]
    changed = frame.copy()
    kind = "float64" if pd.api.types.is_numeric_dtype(frame[column]) and frame[column].dtype != bool else object
    changed[column] = changed[column].astype(kind)
    changed.loc[changed.index[_one_row(frame, rng)], column] = np.nan if kind == "float64" else None
    return changed


def undeclared_row(frame: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    texts = [name for name in frame.columns if pd.api.types.is_string_dtype(frame[name])]
    if frame.empty or not texts:
        return frame
    extra = frame.iloc[[_one_row(frame, rng)]].copy()
    extra[texts[int(rng.integers(len(texts)))]] = "undeclared"
    return pd.concat([frame, extra], ignore_index=True)


def fewer_resamples(frame: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    done = [name for name in ("resamples_done", "draws_done") if name in frame.columns]
    if frame.empty or not done:
        return frame
    changed = frame.copy()
    changed.loc[changed.index[_one_row(frame, rng)], done[0]] = 3
    return changed


def another_identity(frame: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    named = [name for name in ("release", "base_release", "cells_hash", "sha256", "dataset") if name in frame.columns]
    return frame.assign(**{named[int(rng.integers(len(named)))]: "another"}) if named else frame


CHANGES: tuple[Change, ...] = (
    *(drop_table, empty_table, drop_row, repeat_row, blank_cell, undeclared_row, fewer_resamples, another_identity),
)
change_of_a_table = st.tuples(st.sampled_from(CHANGES), st.integers(0, 1000), st.integers(0, 2**32 - 1))


# Stored folders: whatever is changed afterwards is invalid input.


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that clears three claims."""
    return made.build(made.PLANTED).write(tmp_path_factory.mktemp("stored") / "control-planted")


@pytest.fixture(scope="module")
def claims_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("claims") / "claims.yaml"
    path.write_text("claims:\n" + "".join(f"  - {name}\n" for name in CLAIMS))
    return path


@pytest.fixture
def copied(stored: Path, tmp_path: Path) -> Iterator[Callable[[], Path]]:
    """A fresh copy of the folder for each example."""

    def copy() -> Path:
        shutil.rmtree(tmp_path / "copy", ignore_errors=True)
        return Path(shutil.copytree(stored, tmp_path / "copy"))

    yield copy


def change_stored(folder: Path, change: Change, place: int, seed: int) -> bool:
    """Change one stored table, or the battery itself; returns whether its content is another one."""
    paths = [folder / "tests.parquet", *sorted((folder / "tables").glob("*.parquet"))]
    path = paths[place % len(paths)]
    before = pd.read_parquet(path)
    after = change(before, np.random.default_rng(seed))
    if after is None:
        path.unlink()
        return True
    after.to_parquet(path, index=False)
    return table_hash(pd.read_parquet(path)) != table_hash(before)


def test_the_unchanged_folder_is_cleared(stored, claims_file):
    assert main(["check", str(stored), "--claims", str(claims_file)]) == 0


@law("gate: a changed table of a stored folder is invalid input, and stays so", 20)
@given(first=change_of_a_table, more=st.lists(change_of_a_table, max_size=1))
def test_a_changed_table_is_invalid_and_stays_so(copied, claims_file, first, more):
    folder = copied()
    changed = change_stored(folder, *first)
    assert main(["check", str(folder), "--claims", str(claims_file)]) == (2 if changed else 0)
    for change in more:
        if changed and sorted(folder.glob("tables/*")) and (folder / "tests.parquet").exists():
            change_stored(folder, *change)
            assert main(["check", str(folder), "--claims", str(claims_file)]) != 0


def leaves(content: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    found = [leaf for key, value in items for leaf in leaves(value, (*path, key))]
    return found or [path]


def edited(value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        return value + 1
    return "supported" if value != "supported" else "refuted"


@law("gate: an edited stored verdict is invalid input", 12)
@given(name=st.sampled_from(JUDGED_FILES), place=st.integers(0, 10_000), gone=st.booleans())
def test_an_edited_stored_verdict_is_invalid(copied, claims_file, name, place, gone):
    folder = copied()
    content = json.loads((folder / name).read_text())
    paths = leaves(content)
    *way, last = paths[place % len(paths)]
    holder = functools.reduce(lambda part, key: part[key], way, content)
    if gone and isinstance(holder, dict):
        del holder[last]
    else:
        holder[last] = edited(holder[last])
    (folder / name).write_text(json.dumps(content))
    assert main(["check", str(folder), "--claims", str(claims_file)]) == 2


# Evaluations: what is missing from the start opens nothing.


def release(**changes: Any) -> Any:
    """A real release whose controls behave, or what differs from it."""
    evaluation = made.build(replace(made.Numbers(), **changes))
    behaving = {"expected": "", "observed": "", "behaves": True, "reason": ""}
    rows = [{"control": name, **behaving} for name in required_controls(made.RELEASE)]
    evaluation.tables["control_outcomes"] = controls_frame(rows, made.RELEASE)
    return evaluation


def broken_integrity() -> Any:
    return release().set("lineage", {"score": "correlation"}, cells_hash="ffff0000ffff")


def undecided() -> Any:
    return release().set("incremental_value", {"edge": "attention", "split": "joint"}, ci_low=-0.01)


def misbehaving_control() -> Any:
    return release().set("control_outcomes", {"control": "control-coexpression"}, behaves=False)


def another_context() -> Any:
    evaluation = release()
    evaluation.tables["evaluation"]["context_mismatch"] = "outcomes of another cell line"
    return evaluation


BASES: dict[str, Callable[[], Any]] = {
    "cleared": release,
    "refuted": functools.partial(release, attention=0.65, gain=0.0, kept=0.1),
    "undecided": undecided,
    "broken integrity": broken_integrity,
    "misbehaving control": misbehaving_control,
    "another context": another_context,
    "semi-synthetic": functools.partial(release, origin="semi_synthetic"),
}


@functools.cache
def base(name: str) -> Any:
    return BASES[name]()


def cleared(tests: pd.DataFrame, tables: dict[str, pd.DataFrame]) -> frozenset[str]:
    """Claims that are cleared; none where the evaluation cannot be judged, as the gate then exits with 2."""
    try:
        judgement = judge_tables(tests, tables)
    except UNJUDGED:
        return frozenset()
    return frozenset(name for name, verdict in judgement.verdicts.items() if verdict.cleared)


@functools.cache
def cleared_before(name: str) -> frozenset[str]:
    return cleared(base(name).tests, base(name).tables)


def test_the_evaluations_are_what_their_names_say():
    assert set(CLAIMS) <= cleared_before("cleared")
    assert cleared_before("undecided") >= {"beats_gene_level_baselines", "survives_confounds_and_degree"}
    assert "adds_incremental_value" not in cleared_before("undecided")
    for name in ("refuted", "broken integrity", "misbehaving control", "another context", "semi-synthetic"):
        assert not cleared_before(name) & set(CLAIMS), name


@pytest.mark.parametrize("name", BASES)
@law("gate: missing or damaged evidence opens no claim", 4)
@given(change=change_of_a_table)
def test_missing_or_damaged_evidence_opens_no_claim(name, change):
    make, place, seed = change
    tables = dict(base(name).tables)
    table = sorted(tables)[place % len(tables)]
    after = make(tables.pop(table), np.random.default_rng(seed))
    if after is not None:
        tables[table] = after
    assert cleared(base(name).tests, tables) <= cleared_before(name), f"{make.__name__} of {table}"


@pytest.mark.parametrize(
    ("name", "columns"),
    [
        ("another context", list(base("another context").tables["evaluation"].columns)),
        ("semi-synthetic", ["data_origin", "release_kind", "role_fit"]),
    ],
)
def test_no_unstated_cell_of_the_evaluation_opens_a_claim(name, columns):
    tables = dict(base(name).tables)
    stated = tables["evaluation"]
    for place, column in enumerate(columns):
        tables["evaluation"] = stated.astype({column: object}).assign(**{column: (None, np.nan)[place % 2]})
        assert cleared(base(name).tests, tables) <= cleared_before(name), column


@law("gate: withdrawn rows open no claim", 5)
@given(name=st.sampled_from(sorted(BASES)), places=st.lists(st.integers(0, 152), min_size=1, max_size=5))
def test_withdrawn_rows_open_no_claim(name, places):
    rows = list(base(name).rows)
    for place in places:
        rows[place] = skipped(rows[place].test_id, "withdrawn")
    assert cleared(results_frame(rows), base(name).tables) <= cleared_before(name)


def mixed(evaluation: Any, seed: int) -> Any:
    """The same evaluation with the rows of every table, and those handed to the battery, in another order."""
    rng = np.random.default_rng(seed)
    rows = [evaluation.rows[place] for place in rng.permutation(len(evaluation.rows))]
    tables = {
        table: frame.iloc[rng.permutation(len(frame))].reset_index(drop=True)
        for table, frame in evaluation.tables.items()
    }
    return made.Evaluation(tests=results_frame(rows), tables=tables, rows=rows)


@functools.cache
def standards_before(name: str) -> Any:
    return judge_standards(base(name).tests, base(name).tables)


def content(frame: pd.DataFrame) -> list[str]:
    return sorted(map(repr, frame.astype(object).where(frame.notna(), None).to_dict(orient="records")))


@law("gate: the order of rows changes no criterion and no metric", 3)
@given(name=st.sampled_from(["cleared", "refuted", "undecided"]), seed=st.integers(0, 2**32 - 1))
def test_the_order_of_rows_changes_no_criterion_and_no_metric(name, seed):
    one, other = base(name), mixed(base(name), seed)
    before, after = (e.judge(standards=standards_before(name)) for e in (one, other))
    assert {n: v.label for n, v in after.verdicts.items()} == {n: v.label for n, v in before.verdicts.items()}
    for view in VIEWS.values():
        shown = [_shown(view, Evidence(tests=e.tests, tables=e.tables)) for e in (one, other)]
        assert shown[0] == shown[1], view.__name__


def _shown(view: Callable[[Evidence], pd.DataFrame], evidence: Evidence) -> list[str] | str:
    try:
        return content(view(evidence))
    except MissingEvidenceError as error:
        return str(error)


@pytest.mark.parametrize(("name", "code"), [("cleared", 0), ("refuted", 1)])
def test_the_order_of_rows_changes_no_exit_code(tmp_path, claims_file, name, code):
    folder = mixed(base(name), seed=7).write(tmp_path / "mixed")
    assert main(["check", str(folder), "--claims", str(claims_file)]) == code

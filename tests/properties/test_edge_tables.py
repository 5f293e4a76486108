"""Any table either becomes exactly the pairs a plain loop finds in it, or is refused by name; no row is lost."""

from __future__ import annotations

import csv
import io
import math
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from anndata import AnnData
from hypothesis import given
from hypothesis import strategies as st

from interp_assets.models.edge_tables.reading import EdgeTableError, load_edge_table
from tests.properties.laws import REFUSED, reader

# A few names, so that pairs repeat and genes meet themselves; blanks and commas, so that quoting matters.
NAMES = st.sampled_from(["A", "B", "C", "NA", "nan", " D", 'E"q', "F,g", "HLA-A", "ge\u0301ne", "", " "])
NUMBERS = st.one_of(
    st.integers(-3, 3).map(str),
    st.floats(-1e6, 1e6, allow_nan=False).map(repr),
    st.sampled_from(["", "inf", "nan", "high", "1e400", " 2.5", "1e-7", "True"]),
)
HEADERS = {
    "plain": ("source", "target", "score"),
    "arboreto": ("TF", "target", "importance"),
    "signed": ("source", "target", "weight"),
}


def pairs_by_loop(rows: list[list[str]], signed: bool) -> dict[tuple[str, str], float] | None:
    """Pairs and scores of a table, or None where a rule is broken; one row at a time, no library."""
    found: dict[tuple[str, str], float] = {}
    values = []
    for source, target, text in rows:
        if not source.strip() or not target.strip():
            return None
        try:
            value = float(text) if text not in ("True", "") else math.nan
        except ValueError:
            return None
        if not math.isfinite(value) or abs(value) > 3e38:
            return None
        values.append(value)
        pair = (source.strip(), target.strip())
        if pair[0] == pair[1]:
            continue
        if pair in found:
            return None
        found[pair] = abs(value) if signed else value
    if signed and max(values, default=0.0) <= 0 and min(values, default=0.0) < 0:
        return None
    return found or None


def written(folder: Path, name: str, header: tuple[str, ...], rows: list[list[str]]) -> Path:
    path = folder / name
    frame = pd.DataFrame(rows, columns=list(header), dtype=object)
    if path.suffix == ".parquet":
        frame.to_parquet(path)
    elif path.suffix == ".h5ad":
        AnnData(X=None, uns={"prediction": frame.astype(str)}).write_h5ad(path)
    else:
        text = io.StringIO()
        csv.writer(text, delimiter="\t" if path.suffix == ".tsv" else ",").writerows([header, *rows])
        path.write_text(text.getvalue(), encoding="utf-8")
    return path


@reader("edge tables: any rows in four formats, read as a plain loop reads them", 150)
@given(
    st.sampled_from(list(HEADERS)),
    st.sampled_from(["t.csv", "t.tsv", "t.parquet", "t.h5ad"]),
    st.lists(st.tuples(NAMES, NAMES, NUMBERS).map(list), max_size=6),
)
def test_a_table_is_read_as_a_plain_loop_reads_it_or_refused(kind, name, rows):
    expected = pairs_by_loop(rows, kind == "signed")
    with tempfile.TemporaryDirectory() as folder:
        path = written(Path(folder), name, HEADERS[kind], rows)
        try:
            table = load_edge_table(path)
        except EdgeTableError:
            assert expected is None
            return REFUSED
    assert expected is not None
    edges = table.edges
    assert list(zip(edges["source"], edges["target"], strict=True)) == list(expected)
    np.testing.assert_allclose(edges["score"], list(expected.values()), rtol=1e-12)
    told = table.facts["table"]
    assert told["rows_read"] == len(rows) == len(edges) + sum(told["rows_left_out"].values())
    return None


@reader("edge tables: any matrix of genes by genes, read entry by entry", 100)
@given(
    st.integers(2, 4),
    st.integers(2, 5),
    st.lists(st.one_of(st.floats(-9, 9), st.just(math.nan)), min_size=20, max_size=20),
    st.sampled_from(["t.csv", "t.parquet", "t.h5ad"]),
)
def test_a_matrix_is_read_entry_by_entry_or_refused(rows, columns, values, name):
    genes = list("ABCDE")
    frame = pd.DataFrame(np.reshape(values[: rows * columns], (rows, columns)), genes[:rows], genes[:columns])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        if name == "t.h5ad":
            AnnData(frame).write_h5ad(path)
        else:
            (frame.to_csv if name == "t.csv" else frame.to_parquet)(path)
        try:
            table = load_edge_table(path)
        except EdgeTableError:
            scored = [value for value in frame.to_numpy().ravel() if not math.isnan(value)]
            off = [(i, j) for i in range(rows) for j in range(columns) if i != j and not math.isnan(frame.iat[i, j])]
            assert rows > columns or not off or (max(scored) <= 0 and min(scored) < 0)
            return REFUSED
    read = {(row.source, row.target): (row.score, row.sign) for row in table.edges.itertuples()}
    expected = {
        (source, target): (abs(frame.at[source, target]), np.sign(frame.at[source, target]))
        for source in frame.index
        for target in frame.columns
        if source != target and not math.isnan(frame.at[source, target])
    }
    assert read == expected
    return None


@reader("edge tables: damaged bytes in four formats", 150)
@given(
    st.sampled_from(["t.csv", "t.csv.gz", "t.parquet", "t.h5ad"]),
    st.lists(st.tuples(st.integers(0, 30_000), st.integers(0, 255)), min_size=1, max_size=8),
    st.integers(0, 30_000),
)
def test_a_damaged_file_is_read_or_refused_and_nothing_else(name, changes, cut):
    frame = pd.DataFrame({"source": ["A", "B", "C"], "target": ["B", "C", "A"], "weight": [1.0, -2.0, 3.0]})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        if name == "t.h5ad":
            AnnData(X=None, uns={"prediction": frame}).write_h5ad(path)
        else:
            frame.to_parquet(path) if name == "t.parquet" else frame.to_csv(path, index=False)
        content = bytearray(path.read_bytes())
        for place, byte in changes:
            content[place % len(content)] = byte
        path.write_bytes(bytes(content[: cut % len(content) or None]) if cut % 3 == 0 else bytes(content))
        try:
            edges = load_edge_table(path).edges
        except EdgeTableError:
            return REFUSED
    assert np.isfinite(edges["score"]).all()
    assert not edges.duplicated(["source", "target"]).any()
    return None

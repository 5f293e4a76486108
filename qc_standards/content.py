"""Content hashes of tables: what was judged, whatever dtype or file held it."""

from __future__ import annotations

import hashlib

import numpy as np
import pandas as pd


def _column_bytes(column: pd.Series) -> bytes:
    """Content of a column, whatever dtype holds it: numbers as float64, everything else as text."""
    present = column.dropna()
    numeric = all(isinstance(value, (bool, int, float, np.number, np.bool_)) for value in present)
    if numeric:
        numbers = pd.to_numeric(column.astype(object), errors="coerce").astype("float64").to_numpy(copy=True)
        numbers[np.isnan(numbers)] = np.nan
        return (numbers + 0.0).tobytes()
    return "\x1f".join(
        "\x00" if missing else str(value) for value, missing in zip(column, column.isna(), strict=True)
    ).encode()


def table_hash(frame: pd.DataFrame) -> str:
    """sha256 of a table's column names and content, equal before and after a round trip through parquet."""
    digest = hashlib.sha256()
    for name in frame.columns:
        digest.update(f"{name}\x1e{len(frame)}\x1e".encode())
        digest.update(_column_bytes(frame[name]))
    return digest.hexdigest()

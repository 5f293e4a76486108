"""Content hashes of tables: what was judged, whatever dtype or file held it."""

from __future__ import annotations

import hashlib
from typing import Final

import numpy as np
import pandas as pd

NUMBERS: Final = (bool, int, float, np.number, np.bool_)


def _column_bytes(column: pd.Series) -> bytes:
    """Content of a column, whatever dtype holds it: numbers as float64, everything else as text."""
    if isinstance(column.dtype, np.dtype) and column.dtype.kind in "biuf":
        return _number_bytes(column.to_numpy())
    values, missing = column.astype(object).to_numpy(), column.isna().to_numpy()
    present = values[~missing].tolist()
    kinds = set(map(type, present))
    if all(issubclass(kind, NUMBERS) for kind in kinds):
        numbers = np.full(len(values), np.nan)
        numbers[~missing] = present
        return _number_bytes(numbers)
    texts = iter(present if kinds == {str} else [str(value) for value in present])
    return "\x1f".join("\x00" if gone else next(texts) for gone in missing.tolist()).encode()


def _number_bytes(values: np.ndarray) -> bytes:
    """Numbers as float64 with one form of NaN and one of zero."""
    numbers = values.astype("float64")
    numbers[np.isnan(numbers)] = np.nan
    return (numbers + 0.0).tobytes()


def table_hash(frame: pd.DataFrame) -> str:
    """sha256 of a table's column names and content, equal before and after a round trip through parquet."""
    digest = hashlib.sha256()
    for name in frame.columns:
        digest.update(f"{name}\x1e{len(frame)}\x1e".encode())
        digest.update(_column_bytes(frame[name]))
    return digest.hexdigest()

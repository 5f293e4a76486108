"""Tables of text and the names in them: published pairs, networks, guides and identifiers are all read this way.

What belongs here: from a file to columns of text, and the rule that every name keeps. What does not: what a column
means (each reader of a kind of file knows).
"""

from __future__ import annotations

import gzip
import io
import re
import warnings
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

LONGEST: Final = 1000
# Control characters, line separators and halves of characters. An array of text drops a NUL at the end of a name, which
# makes one name of two; the hash over cell names is taken line by line.
_UNUSABLE: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def text_table(
    path: Path, *, separator: str = "\t", header: bool = True, columns: Sequence[int] | None = None
) -> pd.DataFrame:
    """Columns of a text file, plain or gzip, as written: NA, nan, None and 1e5 stay words, an empty field is empty.

    ``columns`` are the places of those that are read, default all.

    Raises
    ------
    ValueError
        If the file cannot be read, is no UTF-8, or has a line with more fields than the first one, whose columns would
        stand under the wrong names.
    """
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rb") as stream:
            content = stream.read()
        if b"\0" in content:  # pandas would cut the field there
            raise ValueError("a NUL character; a table is plain text, or that in gzip")
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            return pd.read_csv(
                io.BytesIO(content),
                sep=separator,
                header=0 if header else None,
                usecols=None if columns is None else list(columns),
                dtype=str,
                keep_default_na=False,
                index_col=False,
            )
    except pd.errors.ParserWarning as error:
        raise ValueError("lines have more fields than the first one") from error
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise ValueError(" ".join(str(error).split())) from error


def plain_names(column: pd.Series[Any] | pd.Index[Any], what: str) -> NDArray[np.object_]:
    """Names of a column without blanks around them; what is missing is an empty text, never a word such as nan.

    Raises
    ------
    ValueError
        If a name is none (`refuse_unusable`).
    """
    codes, values = pd.factorize(column, use_na_sentinel=True)
    found = [str(value).strip() for value in values]
    refuse_unusable(found, what)
    found.append("")  # a missing name has code -1: this last one
    names: NDArray[np.object_] = np.array(found, dtype=object)[codes]
    return names


def refuse_unusable(names: Iterable[str], what: str) -> None:
    """Return only if every name stands on one line, without control characters, and is at most `LONGEST` long.

    Raises
    ------
    ValueError
        Showing the first that is not, and the rule.
    """
    for name in names:
        if len(name) > LONGEST:
            raise ValueError(f"{what} {name[:40]!r}... has {len(name):,} characters; a name has at most {LONGEST:,}")
        if found := _UNUSABLE.search(name):
            raise ValueError(
                f"{what} {name[:40]!r} holds {found.group()!r}; a name has no line break and no control character"
            )

"""The explorer's numbers in the compact form that the page carries, and text of three significant digits.

What belongs here: packing, and escaping for a data block inside HTML. What does not: choosing what is shown.

A value is packed into 16 bits: 0 is missing, 1 is zero (or below 1e-26), 2 is beyond 1e10; any other code c stands for
(c - 3) = 2 (900 (e + 26) + m - 100) + s with m the three digits (100 to 999), e the power of ten of the first, and s
the sign. A rank, 1 the highest, is packed as twice its value, because tied genes share a rank. Numbers of one regulator
lie score by score, in each in the order of its targets, little-endian, as base64.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interp_assets.figures import wording

if TYPE_CHECKING:
    from markupsafe import Markup

LIMIT = 900_000  # bytes of the data block; the tables are bounded so that it stays near 700,000
MISSING, ZERO, BEYOND, FIRST = 0, 1, 2, 3
LOWEST, HIGHEST = -26, 9
_ESCAPED = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


def embedded(data: Mapping[str, Any]) -> Markup:
    """Data as JSON that can stand inside a script element: no text in it can end the element or begin another.

    Raises
    ------
    ValueError
        When the block is larger than a page of 5 MB can spare.
    """
    from markupsafe import Markup

    text = json.dumps(data, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    for character, escape in _ESCAPED.items():
        text = text.replace(character, escape)
    size = len(text.encode("utf-8"))
    if size > LIMIT:
        raise ValueError(f"explorer: {size} bytes of data, above {LIMIT}; lower NUMBERS in analyses/explorer_choice.py")
    return Markup(text)  # noqa: S704  JSON with <, > and & escaped


def packed_values(values: NDArray[Any]) -> NDArray[np.uint16]:
    """Codes of values, three significant digits each.

    >>> packed_values(np.array([np.nan, 0.0, -0.012345])).tolist()
    [0, 1, 43250]
    """
    return np.array([_code(float(value)) for value in np.ravel(values)], dtype=np.uint16)


def _code(value: float) -> int:
    if np.isnan(value):
        return MISSING
    digits, exponent = _digits(value)
    if digits == 0:
        return ZERO
    if exponent > HIGHEST:
        return BEYOND
    return FIRST + 2 * (900 * (exponent - LOWEST) + digits - 100) + (value < 0)


def _digits(value: float) -> tuple[int, int]:
    """Three significant digits of a size and the power of ten of the first; (0, 0) for what is shown as zero."""
    mantissa, exponent = f"{abs(value):.2e}".split("e") if np.isfinite(value) else ("9.99", "999")
    whole, power = int(mantissa.replace(".", "")), int(exponent)
    return (0, 0) if whole == 0 or power < LOWEST else (whole, power)


def three_digits(value: Any) -> str:
    """Number with three significant digits, as `explorer.js` writes the packed one.

    >>> [three_digits(value) for value in (0.0123449, -1.5, 12.3456, 1234567.0, 0.0000123, 0.0, None)]
    ['0.0123', '-1.50', '12.3', '1.23e6', '1.23e-5', '0', '–']
    """
    if wording.is_missing(value):
        return wording.MISSING
    digits, exponent = _digits(float(value))
    if digits == 0:
        return "0"
    if exponent > HIGHEST:
        return "beyond 1e10"
    sign = "-" if value < 0 else ""
    if -4 <= exponent <= 2:
        return f"{sign}{digits * 10.0 ** (exponent - 2):.{2 - exponent}f}"
    return f"{sign}{digits / 100:.2f}e{exponent}"


def packed_ranks(ranks: NDArray[Any]) -> NDArray[np.uint16]:
    """Twice each rank; 0 where there is none.

    Raises
    ------
    ValueError
        When a rank does not fit 16 bits.
    """
    twice = np.nan_to_num(2.0 * np.ravel(ranks), nan=0.0)
    if twice.size and twice.max() > np.iinfo(np.uint16).max:
        raise ValueError(f"explorer: rank {twice.max() / 2:.0f} does not fit 16 bits; score fewer genes")
    return twice.astype(np.uint16)


def _text(codes: NDArray[np.uint16]) -> str:
    return base64.b64encode(codes.astype("<u2").tobytes()).decode("ascii")


def page_data(tables: Mapping[str, pd.DataFrame]) -> dict[str, Any]:
    """The whole data block: facts, names once, and for each regulator its targets, numbers and recovery."""
    facts, references = tables["explorer_facts"].iloc[0], tables["explorer_references"]
    scores, targets = tables["explorer_scores"], tables["explorer_targets"]
    kinds = scores[["score", "layer", "head"]].drop_duplicates()
    names = [str(name) for name in pd.unique(targets["target"])]
    number = {name: place for place, name in enumerate(names)}
    groups = [
        {str(key): frame for key, frame in tables[name].groupby("regulator", sort=False)}
        for name in ("explorer_targets", "explorer_scores", "explorer_recovery", "explorer_listed")
    ]
    numbers = {key: int(facts[key]) for key in ("layers", "heads", "read_layer", "genes", "cells")}
    return {
        "facts": numbers | {"release": str(facts["release"]), "dataset": str(facts["dataset"])},
        "scores": [[str(name), int(layer), int(head)] for name, layer, head in kinds.to_numpy().tolist()],
        "references": [
            {
                "name": str(row["reference"]).replace("_", " "),
                "directed": bool(row["directed"]),
                "outcome": row["kind"] == "outcome",
            }
            for row in references.to_dict("records")
        ],
        "names": names,
        "regulators": [
            _regulator(row, [group.get(str(row["regulator"])) for group in groups], references, number, len(kinds))
            for row in tables["explorer_regulators"].to_dict("records")
        ],
    }


def _regulator(
    row: Mapping[Any, Any],
    parts: list[pd.DataFrame | None],
    references: pd.DataFrame,
    number: Mapping[str, int],
    kinds: int,
) -> dict[str, Any]:
    targets, scores, recovery, listed = parts
    if targets is None or scores is None or recovery is None or len(scores) != kinds * len(targets):
        raise ValueError(f"explorer: tables of {row['regulator']} do not belong together; materialise explorer again")
    place = {str(name): at for at, name in enumerate(targets["target"])}
    both = scores["rank_both_directions"].to_numpy()
    return {
        "name": str(row["regulator"]),
        "perturbed": bool(row["perturbed"]),
        "targets": [number[str(name)] for name in targets["target"]],
        "why": [str(why)[0] for why in targets["why"]],
        "cells": [int(count) for count in targets["cells_behind"]],
        "outcome": [int(label) for label in targets["outcome"]],
        "change": [_short(value) for value in targets["lfc"]],
        "signed": [_short(value) for value in targets["signed_correlation"]],
        "listed": [_members(listed, name, place) for name in references["reference"]],
        "recovery": [_recovery(recovery, name) for name in references["reference"]],
        "value": _text(packed_values(scores["value"].to_numpy())),
        "rank": _text(packed_ranks(scores["rank"].to_numpy())),
        "both": "" if np.isnan(both).all() else _text(packed_ranks(both)),
    }


def _short(value: float) -> int:
    """Packed form of one number, as in `packed_values`."""
    return _code(float(value))


def _members(listed: pd.DataFrame | None, reference: str, place: Mapping[str, int]) -> list[list[int]]:
    """Targets (by position) that a network lists, and the direction of each."""
    if listed is None:
        return [[], []]
    own = listed[listed["reference"] == reference]
    return [[place[str(name)] for name in own["target"]], [int(sign) for sign in own["direction"]]]


def _recovery(recovery: pd.DataFrame, reference: str) -> dict[str, Any]:
    own = recovery[recovery["reference"] == reference]
    return {
        "auroc": [None if np.isnan(value) else round(float(value), 3) for value in own["auroc"]],
        "targets": int(own["n_targets"].iloc[0]),
        "candidates": int(own["n_candidates"].iloc[0]),
    }

"""Ways in which a file that was good comes back damaged or hostile: bytes, text, trees of JSON and YAML, tables."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import yaml
from hypothesis import strategies as st

SEEDS = st.integers(0, 2**32 - 1)
# What stands where something else was: every kind, and the extremes of each.
LEAVES = (
    *(None, True, False, 0, -1, 1, 10**30, -(10**400), 0.5, float("nan"), float("inf"), 1e308),
    *("", " ", "x", "../x", "/etc/passwd", "NA", "nan", "a\x00b", "\ufeff", "\U0001f9ec", "<b>", "'; --", "x" * 5000),
)
BRANCHES: tuple[Any, ...] = ([], {}, [[]], {"": None}, [None], {"a": {"b": []}}, ["x", 1, None])
BYTES = (b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"\r\n", b"[", b"{", b"&a ", b"*a", b'"', b": ", b"- ", b"!!python/x ")


def damaged_bytes(content: bytes, seed: int) -> bytes:
    """The content with some bytes flipped, taken out, put in, or its end cut off."""
    rng = np.random.default_rng(seed)
    changed = bytearray(content)
    for _ in range(int(rng.integers(1, 6))):
        place = int(rng.integers(len(changed) + 1))
        way = int(rng.integers(5))
        if way == 0 and place < len(changed):
            changed[place] ^= 1 << int(rng.integers(8))
        elif way == 1:
            del changed[place : place + int(rng.integers(1, 40))]
        elif way == 2:
            changed[place:place] = BYTES[int(rng.integers(len(BYTES)))] * int(rng.integers(1, 5))
        elif way == 3:
            changed[place:place] = changed[: int(rng.integers(1, 200))]
        elif rng.random() < 0.3:
            del changed[place:]
    return bytes(changed)


def damaged_tree(content: Any, seed: int) -> Any:
    """The tree with one to three of its values, keys or items replaced, repeated or gone."""
    rng = np.random.default_rng(seed)
    tree = copy.deepcopy(content)
    for _ in range(int(rng.integers(1, 4))):
        holders = _holders(tree)
        if not holders:
            return _foreign(rng)
        holder = holders[int(rng.integers(len(holders)))]
        _damage(holder, rng)
    return _foreign(rng) if rng.random() < 0.02 else tree


def _holders(tree: Any) -> list[Any]:
    found = [tree] if isinstance(tree, dict | list) and tree else []
    inside = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ()
    return found + [holder for value in inside for holder in _holders(value)]


def _foreign(rng: np.random.Generator) -> Any:
    pool = LEAVES if rng.random() < 0.6 else BRANCHES
    return copy.deepcopy(pool[int(rng.integers(len(pool)))])


def _damage(holder: Any, rng: np.random.Generator) -> None:
    way = rng.random()
    if isinstance(holder, list):
        place = int(rng.integers(len(holder)))
        if way < 0.7:
            holder[place] = _foreign(rng)
        elif way < 0.85:
            del holder[place]
        else:
            holder.append(copy.deepcopy(holder[place]))
        return
    key = list(holder)[int(rng.integers(len(holder)))]
    if way < 0.7:
        holder[key] = _foreign(rng)
    elif way < 0.85:
        del holder[key]
    else:
        holder[str(_foreign(rng))] = holder.pop(key)


def damaged_table(frame: pd.DataFrame, seed: int) -> pd.DataFrame:
    """The table with a column gone, renamed, repeated or of another type, or rows gone, repeated or mixed."""
    rng = np.random.default_rng(seed)
    changed = frame.copy()
    for _ in range(int(rng.integers(1, 3))):
        if changed.columns.empty:
            break
        column = changed.columns[int(rng.integers(len(changed.columns)))]
        changed = _TABLE[int(rng.integers(len(_TABLE)))](changed, column, rng)
    return changed


def _retyped(frame: pd.DataFrame, column: str, rng: np.random.Generator) -> pd.DataFrame:
    kinds: tuple[Callable[[], Any], ...] = (
        lambda: frame[column].astype(str),
        lambda: pd.Series([None] * len(frame), dtype=object),
        lambda: np.full(len(frame), np.inf),
        lambda: np.full(len(frame), np.nan),
        lambda: np.zeros(len(frame), dtype=bool),
        lambda: pd.Series([[1, 2]] * len(frame)),
        lambda: pd.to_datetime(pd.Series([0] * len(frame))),
        lambda: pd.Series([b"\xff\x00"] * len(frame)),
        lambda: pd.Categorical(["a"] * len(frame)),
        lambda: np.full(len(frame), -(2**62)),
    )
    values = kinds[int(rng.integers(len(kinds)))]()
    return frame.assign(**{column: values.to_numpy() if isinstance(values, pd.Series) else values})


_TABLE: tuple[Callable[[pd.DataFrame, str, np.random.Generator], pd.DataFrame], ...] = (
    lambda frame, column, rng: frame.drop(columns=column),
    lambda frame, column, rng: frame.rename(columns={column: f"{column} "}),
    lambda frame, column, rng: frame.head(int(rng.integers(0, 2))),
    lambda frame, column, rng: pd.concat([frame, frame.head(1)], ignore_index=True),
    lambda frame, column, rng: frame.assign(unknown=1),
    lambda frame, column, rng: frame[frame.columns[::-1]],
    _retyped,
    _retyped,
    _retyped,
)


def bombs(dump: Callable[[Any], str] = json.dumps) -> list[bytes]:
    """Texts that grow, nest or never end when read without a limit, and texts that are none."""
    deep = 100_000
    aliases = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]\n" for level in range(1, 12)
    )
    merges = "a0: &a0 {k: 1}\n" + "".join(
        f"a{level}: &a{level} {{k{level}: 1, <<: [{', '.join([f'*a{level - 1}'] * 9)}]}}\n" for level in range(1, 9)
    )
    texts = [
        *("[" * deep + "]" * deep, '{"a":' * deep + "1" + "}" * deep, "- " * deep + "x", "[" * deep),
        *("9" * 5000, '{"a": ' + "9" * 5000 + "}", "&a [*a]", "a: &a {b: *a}", aliases, merges),
        *("{[1]: 2}", "2024-99-99", "0x_", "!!python/object/apply:os.system ['x']", "!!binary x", "? [x]\n: y"),
        *("", " ", "null", "[]", "{}", "x", "---\na: 1\n---\nb: 2", dump({"a": 1})[:-1], "a: 1\na: 2", '{"a":1,"a":2}'),
        *("NaN", "Infinity", "-Infinity", "1e999", '"\\ud800"'),
    ]
    raw = [b"\xff\xfe\x00", b"\x00" * 100, b"\xef\xbb\xbf{}", "é".encode("latin-1"), dump({"a": 1}).encode("utf-16")]
    return [text.encode() for text in texts] + raw


def damaged_text(content: bytes, tree: Any, dump: Callable[[Any], str], seed: int) -> bytes:
    """The text of a tree damaged as bytes or as a tree, or one of the `bombs` in its place."""
    rng = np.random.default_rng(seed)
    way = rng.random()
    if way < 0.15:
        thrown = bombs(dump)
        return thrown[int(rng.integers(len(thrown)))]
    if way < 0.5:
        return damaged_bytes(content, seed)
    return dump(damaged_tree(tree, seed)).encode("utf-8", "replace")


def as_yaml(tree: Any) -> str:
    """A tree as YAML without aliases."""

    class Plain(yaml.SafeDumper):
        def ignore_aliases(self, data: Any) -> bool:
            return True

    return yaml.dump(tree, Dumper=Plain, allow_unicode=True, sort_keys=False)

"""JSON as plain values: one meaning, whatever the text, or one ValueError.

What belongs here: what any stored or brought JSON must keep before its reader looks at it. What does not: what its keys
mean.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any


def plain_json(text: str | bytes) -> Any:
    """Value of a JSON text; bytes are read as UTF-8.

    Of two values under one key readers take the first or the last, so that a text with two has no one meaning.

    Raises
    ------
    ValueError
        Where the text is no JSON, no UTF-8, names a key twice, or is nested too deeply; no other error comes out.

    >>> plain_json('{"a": [1, null]}')
    {'a': [1, None]}
    """
    try:
        written = text if isinstance(text, str) else text.decode("utf-8")
        return json.loads(written, object_pairs_hook=unique_keys)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Object of JSON pairs (an ``object_pairs_hook``); a key that stands twice is a ValueError."""
    content = dict(pairs)
    if len(content) < len(pairs):
        twice = next(key for key, times in Counter(key for key, _ in pairs).items() if times > 1)
        raise ValueError(f"key {twice[:80]!r} stands twice in one object")
    return content

"""What each analysis asks, does and cannot show, in words: one YAML card an analysis in ``cards/``.

What belongs here: reading and checking cards. What does not: layout of a page (`page`) or any computation.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

from qc_standards.yaml_text import plain_yaml

FOLDER: Final = Path(__file__).parent / "cards"


class CardError(ValueError):
    """A card that is missing, or lacks what every card says; the message names the file and the key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One analysis in words. ``differs`` says where it departs from the published analysis, and why."""

    question: str
    method: str
    formula: tuple[str, ...]
    null: str
    outputs: tuple[str, ...]
    traps: tuple[str, ...]
    source: str
    differs: tuple[str, ...]


@cache
def card(name: str) -> Card:
    """Card of an analysis by its name, such as ``07`` or ``E4`` (`AnalysisRow.card_name`).

    Raises
    ------
    CardError
        If there is no such card, a key is missing, unknown or empty, or holds another kind of value.
    """
    path = FOLDER / f"{name}.yaml"
    try:
        raw = plain_yaml(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise CardError(f"{path}: cannot be read ({error}); every analysis has a card") from error
    raw = {"null" if key is None else key: value for key, value in raw.items()} if isinstance(raw, dict) else raw
    known = {item.name: str(item.type) for item in fields(Card)}
    if not isinstance(raw, dict) or set(raw) != set(known):
        told = sorted(set(raw) ^ set(known)) if isinstance(raw, dict) else ["the whole mapping"]
        raise CardError(f"{path}: missing or unknown keys: {', '.join(told)}; a card has {', '.join(known)}")
    return Card(**{name: _value(path, name, raw[name], kind) for name, kind in known.items()})


def _value(path: Path, name: str, value: Any, kind: str) -> Any:
    if kind.startswith("tuple"):
        if not isinstance(value, list) or not all(isinstance(line, str) for line in value):
            raise CardError(f"{path}: `{name}` must be a list of sentences, found {value!r}")
        if not value and name != "differs":
            raise CardError(f"{path}: `{name}` is empty")
        return tuple(" ".join(line.split()) for line in value)
    if not isinstance(value, str) or not value.strip():
        raise CardError(f"{path}: `{name}` must be a sentence, found {value!r}")
    return " ".join(value.split())

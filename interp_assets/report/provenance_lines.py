"""The provenance of an evaluation as lines for the page, and the command that computes it again."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from interp_assets.figures import wording
from interp_assets.report.inputs import ReportInputs
from interp_assets.report.shown import joined, listed, stated, under

FILE = "provenance.json"
Line = tuple[str, str]


def provenance_lines(provenance: Mapping[str, Any]) -> list[Line]:
    """Provenance as flat (name, value) lines; an RO-Crate graph becomes one line for each named entity."""
    graph = provenance.get("@graph")
    if not isinstance(graph, list):
        return list(_flat(provenance, "", f"{FILE}#"))
    entities = [(number, entity) for number, entity in enumerate(graph) if isinstance(entity, Mapping)]
    return [line for number, entity in entities for line in _entity(entity, f"{FILE}#/@graph/{number}")]


def _entity(entity: Mapping[str, Any], place: str) -> Iterator[Line]:
    name = str(entity.get("name") or entity.get("@id", ""))
    if "sha256" in entity:
        yield name, joined("sha256 ", stated(entity["sha256"], under(place, "sha256")))
        return
    left_out = {"name", "hasPart"}  # every part has its own line
    for key, value in entity.items():
        if not key.startswith("@") and key not in left_out:
            yield from _flat(value, f"{name} · {key}" if name else key, under(place, key))


def _flat(value: Any, prefix: str, place: str) -> Iterator[Line]:
    if isinstance(value, Mapping):
        if set(value) == {"@id"}:
            yield prefix, stated(value["@id"], under(place, "@id"))
            return
        for key, item in value.items():
            yield from _flat(item, f"{prefix} · {key}" if prefix else str(key), under(place, key))
    elif isinstance(value, list):
        yield prefix, listed([_short(item, under(place, number)) for number, item in enumerate(value)])
    else:
        yield prefix, wording.MISSING if wording.is_missing(value) else stated(value, place)


def _short(item: Any, place: str) -> str:
    if not isinstance(item, Mapping):
        return stated(item, place)
    return (
        stated(item["@id"], under(place, "@id")) if item.get("@id") else stated(json.dumps(item, sort_keys=True), place)
    )


def reproduce_command(results: ReportInputs) -> str:
    """Command that computes this evaluation again, as recorded, else the plain one for study and release."""
    recorded = results.provenance.get("reproduce") or results.provenance.get("command")
    return str(recorded) if recorded else f"make evaluate STUDY={results.study} RELEASE={results.release}"

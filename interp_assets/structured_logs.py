"""Log lines a machine can read: one JSON object an event, on standard error, where ``INTERP_LOG=json`` asks for it.

What belongs here: the handler that ``dagster.yaml`` names under ``python_logs``, and what a line holds. What does not:
what is logged, or where lines go afterwards. A line holds only the fields of `line`; the environment's secrets are
struck out of its text.
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TextIO

VARIABLE = "INTERP_LOG"
SECRET = re.compile(r"(TOKEN|SECRET|PASSWORD|PASSWD|WEBHOOK|API_?KEY|CREDENTIAL)", re.IGNORECASE)
SHORTEST_SECRET = 6  # a shorter value would be struck out of ordinary words
PLACES = ("release", "study", "dataset")
STRUCK = "***"


class JsonLines(logging.StreamHandler[TextIO]):
    """Handler that writes `line` for each record where ``INTERP_LOG=json`` is set, and nothing otherwise."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        if os.environ.get(VARIABLE) == "json":
            super().emit(record)

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line of JSON."""
        return json.dumps(line(record, os.environ), ensure_ascii=False, default=str)


def line(record: logging.LogRecord, environment: Mapping[str, str]) -> dict[str, Any]:
    """Fields of one event, those that it does not have left out.

    ``time`` (ISO, UTC), ``level``, ``logger``, ``message``; of a run ``run_id``, ``release``, ``study``, ``dataset``,
    ``cause``, ``asset``, ``stage`` (step of the run), ``event`` (Dagster's word) and ``seconds`` (of a finished step).
    """
    meta = getattr(record, "dagster_meta", None) or {}
    tags = meta.get("job_tags") or {}
    event = meta.get("dagster_event")
    fields = {
        "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
        "level": record.levelname.lower(),
        "logger": record.name,
        "message": str(meta.get("orig_message") or record.getMessage()),
        "run_id": meta.get("run_id"),
        **{name: tags.get(f"interp/{name}") or tags.get(f"dagster/partition/{name}") for name in PLACES},
        "cause": tags.get("interp/cause"),
        "stage": meta.get("step_key"),
        **_of_event(event),
    }
    if record.exc_info and record.exc_info[0] is not None:
        fields["error"] = f"{record.exc_info[0].__name__}: {record.exc_info[1]}"
    secrets = secrets_of(environment)
    return {name: _struck(value, secrets) for name, value in fields.items() if value not in (None, "")}


def _of_event(event: Any) -> dict[str, Any]:
    """Asset, kind and seconds of a Dagster event."""
    if event is None:
        return {}
    key = getattr(event, "asset_key", None)
    milliseconds = getattr(getattr(event, "event_specific_data", None), "duration_ms", None)
    return {
        "event": getattr(event, "event_type_value", None),
        "asset": key.to_user_string() if key is not None else None,
        "seconds": round(milliseconds / 1000, 3) if milliseconds is not None else None,
    }


def secrets_of(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Values of variables whose names say that they are secret, longest first.

    >>> secrets_of({"INTERP_WEBHOOK_URL": "https://hooks/T0", "HOME": "/root", "A_TOKEN": "x"})
    ('https://hooks/T0',)
    """
    found = {value for name, value in environment.items() if SECRET.search(name) and len(value) >= SHORTEST_SECRET}
    return tuple(sorted(found, key=lambda value: (-len(value), value)))


def _struck(value: Any, secrets: tuple[str, ...]) -> Any:
    if isinstance(value, str):
        for secret in secrets:
            value = value.replace(secret, STRUCK)
    return value

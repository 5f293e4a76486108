"""JSON lines: one object an event, with the place it belongs to, and no secret in it."""

from __future__ import annotations

import io
import json
import logging
from pathlib import Path

import dagster as dg
import pytest

from interp_assets.automation.run_tags import run_tags
from interp_assets.structured_logs import JsonLines, line

HANDLER = """
telemetry: {enabled: false}
python_logs:
  managed_python_loggers: [interp_assets]
  python_log_level: INFO
  dagster_handler_config:
    handlers:
      json_lines: {class: interp_assets.structured_logs.JsonLines, level: DEBUG}
"""


def record(message: str, **extra: object) -> logging.LogRecord:
    made = logging.LogRecord("interp_assets.x", logging.WARNING, "f.py", 1, message, None, None)
    made.__dict__ |= extra
    return made


def test_nothing_is_written_unless_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    handler = JsonLines(stream)
    handler.handle(record("quiet"))
    assert stream.getvalue() == ""
    monkeypatch.setenv("INTERP_LOG", "json")
    handler.handle(record("two\nlines"))
    assert stream.getvalue().count("\n") == 1
    assert json.loads(stream.getvalue())["message"] == "two\nlines"


def test_secrets_of_the_environment_are_struck_out() -> None:
    environment = {
        "INTERP_WEBHOOK_URL": "https://hooks/T0/abc",
        "DB_PASSWORD": "s3cret!",
        "HOME": "/root",
        "X_TOKEN": "a",
    }
    told = line(record("to https://hooks/T0/abc with s3cret! in /root"), environment)
    assert told["message"] == "to *** with *** in /root"
    assert told["level"] == "warning"
    assert "run_id" not in told


def test_a_run_tells_its_place_its_asset_and_its_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """With the handler configured as in `docs/operations.md`, in a real run."""
    (tmp_path / "dagster.yaml").write_text(HANDLER)
    monkeypatch.setenv("INTERP_LOG", "json")

    @dg.asset(partitions_def=dg.StaticPartitionsDefinition(["r1"]))
    def judged() -> None:
        logging.getLogger("interp_assets.models").info("halfway")

    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        tags = run_tags("r1", "command")
        quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
        done = dg.materialize([judged], instance=instance, partition_key="r1", tags=tags, run_config=quiet)
    lines = [json.loads(each) for each in capfd.readouterr().err.splitlines() if each.startswith("{")]
    halfway = next(each for each in lines if each["message"] == "halfway")
    assert {"run_id": done.run_id, "release": "r1", "cause": "command", "stage": "judged"}.items() <= halfway.items()
    finished = next(each for each in lines if each.get("event") == "STEP_SUCCESS")
    assert finished["seconds"] >= 0
    assert next(each for each in lines if each.get("event") == "ASSET_MATERIALIZATION")["asset"] == "judged"

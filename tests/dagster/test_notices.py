"""The sensor that tells people: absent unless declared, one tick at a time, secret nowhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from interp_assets import quarantine
from interp_assets.automation.notices import SENSOR, notice_sensors
from interp_assets.cli import main
from interp_assets.layout import Layout, read_layout
from tests.acceptance.receiver import receiver
from tests.unit.notices.changes import change, changes, held, many, write_changes

Declared = Callable[[str], Layout]


@pytest.fixture
def declared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Declared:
    """Function that makes a deployment whose ``platform.yaml`` holds a text."""

    def deploy(text: str) -> Layout:
        (tmp_path / "conf").mkdir(exist_ok=True)
        (tmp_path / "conf" / "platform.yaml").write_text(text)
        (tmp_path / "store").mkdir(exist_ok=True)
        for name, value in {"CONFIG_DIR": "conf", "STORE": "store", "RELEASES": "releases"}.items():
            monkeypatch.setenv(f"INTERP_{name}", str(tmp_path / value))
        monkeypatch.setenv("INTERP_STUDIES", "tiny")
        monkeypatch.delenv("INTERP_PLATFORM", raising=False)
        monkeypatch.delenv("INTERP_WEBHOOK_URL", raising=False)
        return read_layout()

    return deploy


def tick(sensor: dg.SensorDefinition, instance: dg.DagsterInstance, cursor: str | None = None) -> Any:
    context = dg.build_sensor_context(instance=instance, cursor=cursor)
    return sensor.evaluate_tick(context)


def test_off_by_default(declared: Declared) -> None:
    assert notice_sensors(declared("# nothing declared\n")) == []


def test_each_event_is_told_by_one_tick_and_the_next_looks_at_nothing(
    declared: Declared, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = declared("notify: {minimum: any}\n")
    (sensor,) = notice_sensors(layout)
    assert sensor.name == SENSOR and sensor.default_status is dg.DefaultSensorStatus.RUNNING
    write_changes(layout.folders.store, changes(change(1)))
    quarantine.write(layout.folders.store, held())
    assert "INTERP_WEBHOOK_URL is not set" in tick(sensor, instance).skip_message
    with receiver() as received:
        monkeypatch.setenv("INTERP_WEBHOOK_URL", received.url)
        first = tick(sensor, instance)
        second = tick(sensor, instance, first.cursor)
        # A cursor that is lost, or of another version, asks the outbox, which knows what was told.
        for cursor in (None, "nonsense", "[]", '{"seen": 3}'):
            assert tick(sensor, instance, cursor).skip_message == "0 message(s) sent, 0 waiting"
    assert first.skip_message == "2 message(s) sent, 0 waiting" and len(received.messages) == 2
    assert second.skip_message == "nothing changed since the last look"
    assert "s3cr3t" not in f"{first}{second}"


def test_a_message_that_waits_is_looked_at_again_though_nothing_changed(
    declared: Declared, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = declared("notify: {minimum: any}\n")
    (sensor,) = notice_sensors(layout)
    write_changes(layout.folders.store, changes(change(1)))
    with receiver() as received:
        monkeypatch.setenv("INTERP_WEBHOOK_URL", received.url)
        received.answers = [(503, {"Retry-After": "0"}, "")]
        first = tick(sensor, instance)
        assert first.skip_message == "0 message(s) sent, 1 waiting"
        assert tick(sensor, instance, first.cursor).skip_message == "1 message(s) sent, 0 waiting"


def test_the_command_tells_what_the_daemon_would(
    declared: Declared, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    layout = declared("notify: {minimum: any, link: 'https://results.example.org/{study}'}\n")
    write_changes(layout.folders.store, many(2))
    assert main(["notify", "--once"]) == 2 and "INTERP_WEBHOOK_URL is not set" in capsys.readouterr().err
    assert main(["notify", "--dry-run"]) == 0 and "results.example.org/demo" in capsys.readouterr().out
    assert main(["notify"]) == 0 and "nothing was told yet" in capsys.readouterr().out
    with receiver() as received:
        monkeypatch.setenv("INTERP_WEBHOOK_URL", received.url)
        assert main(["notify", "--test"]) == 0
        received.answers = [(503, {"Retry-After": "0"}, ""), (404, {}, "")]
        assert main(["notify", "--once"]) == 1
        assert main(["notify"]) == 1
        assert main(["notify", "--again"]) == 0
        received.answers = [(503, {"Retry-After": "500"}, "")]
        write_changes(layout.folders.store, many(3))
        assert main(["notify", "--once", "--patience", "1"]) == 1
    said = capsys.readouterr()
    assert "1 refused, 1 told" in said.out and "refused: model-" in said.out and "message(s) wait" in said.out
    assert "s3cr3t" not in said.out + said.err and "127.0.0.1" not in said.out + said.err


def test_changes_that_cannot_be_read_are_never_a_quiet_success(
    declared: Declared,
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    layout = declared("notify: {minimum: any}\n")
    (layout.folders.store / "verdict_changes.parquet").write_bytes(b"PAR1 no")
    with receiver() as received:
        monkeypatch.setenv("INTERP_WEBHOOK_URL", received.url)
        assert main(["notify", "--once"]) == 1
        assert "materialise `verdict_changes` again" in capsys.readouterr().err
        (sensor,) = notice_sensors(layout)
        said = tick(sensor, instance).skip_message
    assert said.startswith("0 message(s) sent, 0 waiting; ") and "cannot be read" in said


def test_the_command_says_how_to_switch_it_on(declared: Declared, capsys: pytest.CaptureFixture[str]) -> None:
    declared("# nothing\n")
    assert main(["notify"]) == 2 and "notify: {webhook_from: INTERP_WEBHOOK_URL}" in capsys.readouterr().err

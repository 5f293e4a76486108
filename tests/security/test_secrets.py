"""Secrets of the environment stand in no output, no file of the store and no run history, also when things fail."""

from __future__ import annotations

import contextlib
import json
import logging
from pathlib import Path

import dagster as dg
import pytest

from interp_assets.cli import main
from interp_assets.structured_logs import SECRET, JsonLines

SECRETS = {
    "INTERP_WEBHOOK_URL": "http://127.0.0.1:9/services/hook-7f3a91c2",
    "INTERP_DB_PASSWORD": "database-5b1e77d0",
    "HF_TOKEN": "hf_9d2c4471aa",
    "AWS_SECRET_ACCESS_KEY": "aws-31c0ffee",
}
MARKS = ("hook-7f3a91c2", "database-5b1e77d0", "hf_9d2c4471aa", "aws-31c0ffee")


@pytest.fixture
def secretive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine of its own whose environment holds secrets and whose settings use one."""
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    for name in ("releases", "config"):
        (tmp_path / name).mkdir()
    settings = "notify: {webhook_from: INTERP_WEBHOOK_URL, minimum: any}\n"
    (tmp_path / "config" / "platform.yaml").write_text(settings, encoding="utf-8")
    monkeypatch.setenv("INTERP_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("INTERP_RELEASES", str(tmp_path / "releases"))
    monkeypatch.setenv("INTERP_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setenv("INTERP_OFFLINE", "1")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("INTERP_LOG", "json")
    return tmp_path


def told_secrets(root: Path, *texts: str) -> list[str]:
    """Secrets in texts or in any file below a folder, and where."""
    found = [f"{mark} in an output" for mark in MARKS for text in texts if mark in text]
    for path in root.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            found += [f"{mark} in {path}" for mark in MARKS if mark.encode() in content]
    return found


@pytest.mark.parametrize(
    "command",
    [
        ("doctor", "--json"),
        ("doctor",),
        ("notify", "--test"),
        ("notify",),
        ("releases", "add", "org/model"),
        ("releases", "list"),
        ("releases", "watch", "--once"),
        ("evaluate", "--study", "absent"),
        ("studies", "plan", "bench"),
    ],
    ids=" ".join,
)
def test_no_command_tells_a_secret(secretive, command, capfd, caplog, tally):
    with contextlib.suppress(SystemExit):
        main(list(command))
    told = capfd.readouterr()
    assert told.out or told.err
    assert not told_secrets(secretive, told.out, told.err, caplog.text)
    tally("security", "secrets in outputs and files of commands that may fail", "right")


def test_doctor_is_json_with_secrets_around(secretive, capfd):
    main(["doctor", "--json"])
    checks = json.loads(capfd.readouterr().out)["checks"]
    assert any("INTERP_WEBHOOK_URL" in json.dumps(check) for check in checks)


def test_a_run_that_fails_writes_no_secret_into_its_history(secretive, capfd, tally):
    """The sender of messages fails inside a run; its error goes into the history with its whole traceback."""
    from interp_assets.notices.sending import read_address

    home = secretive / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n", encoding="utf-8")

    @dg.asset
    def failing() -> None:
        import os

        os.environ["INTERP_WEBHOOK_URL"] = f"ftp://{MARKS[0]}/x"
        try:
            read_address("INTERP_WEBHOOK_URL")
        finally:
            os.environ["INTERP_WEBHOOK_URL"] = SECRETS["INTERP_WEBHOOK_URL"]

    with dg.DagsterInstance.from_config(str(home)) as instance:
        done = dg.materialize([failing], instance=instance, raise_on_error=False)
        assert not done.success
        events = "".join(str(record.event_log_entry) for record in instance.get_records_for_run(done.run_id).records)
    told = capfd.readouterr()
    assert "INTERP_WEBHOOK_URL" in events
    assert not told_secrets(secretive, events, told.out, told.err)
    tally("security", "secrets in the run history of a run that fails", "right")


def test_log_lines_strike_out_every_secret(secretive, tally):
    import io

    stream = io.StringIO()
    handler = JsonLines(stream)
    for name, value in SECRETS.items():
        assert SECRET.search(name), name
        handler.handle(logging.LogRecord("interp_assets.x", logging.ERROR, "f", 1, f"{name} is {value}", None, None))
    lines = stream.getvalue()
    assert lines.count("***") == len(SECRETS)
    assert not told_secrets(secretive, lines)
    tally("security", "secrets in JSON log lines", "right", len(SECRETS))

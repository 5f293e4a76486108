"""`interp releases watch`: what it prints, tries again, and refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from interp_assets.cli import main
from interp_assets.discovery.watch import look_at

from .watched import MODEL, REPO, weights_fetched, words


@pytest.fixture
def declare(tmp_path, monkeypatch, releases):
    def write(text: str) -> Path:
        path = tmp_path / "platform.yaml"
        path.write_text(text)
        monkeypatch.setenv("INTERP_PLATFORM", str(path))
        return path

    return write


def test_watch_once_prints_what_was_found_and_skipped(hub, declare, releases, capsys):
    declare(
        f"sources:\n- {{kind: hub, repo: {REPO}, folder: {MODEL}, endpoint: '{hub.endpoint}', name: ours}}\n"
        f"- {{kind: hub, repo: lab/absent, endpoint: '{hub.endpoint}'}}\n- {{kind: folder, path: unmounted}}\n"
    )
    assert main(["releases", "watch", "--once"]) == 0
    said = capsys.readouterr().out
    assert f"fetched    {REPO}/{MODEL}@{hub.refs['main'][:12]} as release ours" in said
    assert f"skipped    no model lab/absent on {hub.endpoint}" in said
    assert said.count("skipped") == 2
    assert f"releases: 1 complete in {releases}" in said
    assert main(["releases", "watch"]) == 0
    assert "unchanged" in capsys.readouterr().out


def test_what_was_refused_is_tried_again_by_the_first_look_only(declare, hub, source, files, releases, monkeypatch):
    bad = files[f"{MODEL}/config.json"].replace(b'"vocab_size": 64', b'"vocab_size": 65')
    hub.commit({**files, f"{MODEL}/config.json": bad})
    declare(f"sources:\n- {{kind: hub, repo: {REPO}, folder: {MODEL}, endpoint: '{hub.endpoint}'}}\n")
    assert words(look_at(source, releases)) == ["refused"]
    fetched = []

    def pause(_: float) -> None:
        fetched.append(weights_fetched(hub))
        hub.asked.clear()
        if len(fetched) == 2:
            raise KeyboardInterrupt

    hub.asked.clear()
    monkeypatch.setattr("time.sleep", pause)
    assert main(["releases", "watch", "--every", "10m"]) == 0
    assert fetched == [1, 0]


def test_watch_without_sources_looks_at_the_releases_folder(releases, capsys, monkeypatch):
    monkeypatch.delenv("INTERP_PLATFORM", raising=False)
    (releases / "copying").mkdir()
    assert main(["releases", "watch", "--once"]) == 0
    said = capsys.readouterr().out
    assert "incoming   copying: no release.json yet" in said
    assert [path.name for path in releases.iterdir()] == ["copying"]


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ("{kind: ftp, path: x}", "allowed: folder, hub"),
        ("{kind: hub, repo: nothing}", "write org/name"),
        ("{kind: hub, repo: lab/model@v2}", "write org/name"),
        ("{kind: hub, repo: lab/model, folder: ../up}", "write a folder of the repository"),
        ("{kind: hub, repo: lab/model, every: soon}", "is no span of time"),
        ("{kind: hub, repo: lab/model, endpoint: 'https://me:secret@hub'}", "holds a user, password or query"),
        ("{kind: hub, repo: lab/model, endpoint: 'file:///hub'}", "is no http(s) address"),
        ("{kind: hub, repo: lab/model, name: control-x}", "no name of a control"),
        ("{kind: hub, repo: lab/model, family: gpt9}", "is no family"),
        ("{kind: hub, repo: lab/model, token: abc}", "token"),
        ("{kind: folder}", "is missing"),
    ],
)
def test_a_misdeclared_source_ends_with_exit_code_2_and_names_the_key(declare, capsys, entry, told):
    path = declare(f"sources:\n- {entry}\n")
    assert main(["releases", "watch", "--once"]) == 2
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1
    assert told in said
    assert str(path) in said
    assert "secret" not in said

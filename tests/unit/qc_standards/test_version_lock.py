"""What is published stays as it is: an edited file, a lost one or a loosened patch version stops the reading."""

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from qc_standards import gate, publish, standards
from qc_standards.standards import STANDARDS_FOLDER, StandardError, read_standards, shipped_standards
from qc_standards.version_lock import LOCK_FILE, PUBLISH_COMMAND, lock_text, read_lock, version_number

TWO = ("QCS-02_resamples_as_requested.yaml", "QCS-16_cells_unseen_by_release.yaml")
PROJECT = STANDARDS_FOLDER.parents[1]


@pytest.fixture
def folder(tmp_path):
    """Two published standards of a user's own."""
    for name in TWO:
        shutil.copy(STANDARDS_FOLDER / name, tmp_path)
    publish.publish(tmp_path, start=True)
    return tmp_path


def edit(folder, name=TWO[1], **changes):
    path = folder / name
    content = yaml.safe_load(path.read_text())
    for key, value in changes.items():
        content[key] = value(content[key]) if callable(value) else value
    path.write_text(yaml.safe_dump(content, sort_keys=False))


def raised(version, folder, **changes):
    edit(folder, version=version, changelog=lambda log: [*log, {"version": version, "change": "Changed."}], **changes)


def stricter(expectations):
    return [
        *expectations,
        {"id": "named", "type": "expect_column_values_to_match_regex", "column": "release", "regex": r"\S"},
    ]


def test_what_was_published_is_read(folder):
    assert list(read_standards(folder)) == ["QCS-02", "QCS-16"]
    assert [(entry.id, entry.version) for entry in read_lock(folder)] == [("QCS-02", "1.0.0"), ("QCS-16", "1.0.0")]


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("value_set: [false]", "value_set: [false, true]", 1),
        lambda text: text.replace("severity: warning", "severity: critical"),
        lambda text: text + "# a remark\n",
    ],
    ids=["threshold", "severity", "a single line of comment"],
)
def test_an_edit_without_a_version_stops_the_reading_and_says_the_way_out(folder, change):
    path = folder / TWO[1]
    path.write_text(change(path.read_text()))
    with pytest.raises(StandardError, match=r"QCS-16 1\.0\.0 is published and its file has changed") as told:
        read_standards(folder)
    for part in ("raise the version", "changelog entry", PUBLISH_COMMAND):
        assert part in str(told.value)


def test_every_changed_standard_is_named_at_once(folder):
    for name in TWO:
        edit(folder, name, title="Another title")
    with pytest.raises(StandardError, match=r"QCS-02 1\.0\.0 is published.*QCS-16 1\.0\.0 is published"):
        read_standards(folder)


def test_a_raised_version_has_to_be_published_and_adds_a_line(folder):
    before = (folder / LOCK_FILE).read_text()
    raised("1.1.0", folder, expectations=stricter)
    with pytest.raises(StandardError, match=r"QCS-16 1\.1\.0 is not published yet, only 1\.0\.0 is: run"):
        read_standards(folder)
    assert [(entry.id, entry.version) for entry in publish.publish(folder)] == [("QCS-16", "1.1.0")]
    after = (folder / LOCK_FILE).read_text()
    assert set(before.splitlines()) < set(after.splitlines())
    assert read_standards(folder)["QCS-16"].version == "1.1.0"
    assert publish.publish(folder) == ()


def test_a_published_version_is_never_altered(folder):
    before = (folder / LOCK_FILE).read_bytes()
    edit(folder, title="Another title")
    with pytest.raises(StandardError, match=r"QCS-16 1\.0\.0 is published and its file has changed"):
        publish.publish(folder)
    assert (folder / LOCK_FILE).read_bytes() == before


@pytest.mark.parametrize(
    ("version", "changes", "message"),
    [
        ("1.0.1", {"expectations": stricter}, "a patch version changes words only"),
        ("1.0.1", {"severity": "critical"}, "a patch version changes words only"),
        ("1.0.1", {"title": "Another title"}, None),
        ("1.1.0", {"expectations": stricter}, None),
        ("2.0.0", {"severity": "critical"}, None),
    ],
    ids=["patch with a demand", "patch with severity", "patch in words", "minor with a demand", "major"],
)
def test_a_patch_changes_words_only(folder, version, changes, message):
    raised(version, folder, **changes)
    if message is None:
        assert publish.publish(folder)[0].version == version
        read_standards(folder)
    else:
        with pytest.raises(StandardError, match=message):
            publish.publish(folder)


def test_an_older_version_is_refused(folder):
    raised("1.1.0", folder)
    publish.publish(folder)
    edit(folder, version="1.0.1", changelog=[{"version": "1.0.1", "change": "Back."}])
    with pytest.raises(StandardError, match=r"1\.0\.1 is older than the published 1\.1\.0"):
        read_standards(folder)
    with pytest.raises(StandardError, match="older than the published"):
        publish.publish(folder)


@pytest.mark.parametrize(
    ("log", "message"),
    [
        (["1.1.0"], "forgets the published 1.0.0"),
        (["1.0.0", "1.0.5", "1.1.0"], "lists 1.0.5, never published"),
        (["0.9.0", "1.0.0", "1.1.0"], None),
    ],
)
def test_the_changelog_tells_every_published_version(folder, log, message):
    edit(folder, version="1.1.0", changelog=[{"version": version, "change": "x"} for version in log])
    if message is None:
        publish.publish(folder)
        return
    with pytest.raises(StandardError, match=message):
        publish.publish(folder)


def test_a_published_standard_cannot_be_removed_or_slipped_in(folder):
    (folder / TWO[0]).unlink()
    with pytest.raises(StandardError, match="QCS-02 is published and its file is gone"):
        read_standards(folder)
    shutil.copy(STANDARDS_FOLDER / TWO[0], folder)
    shutil.copy(STANDARDS_FOLDER / "QCS-13_data_origin_shown.yaml", folder)
    with pytest.raises(StandardError, match=r"QCS-13 1\.0\.0 is not published yet: run"):
        read_standards(folder)


def test_examples_must_behave_before_anything_is_published(folder):
    before = (folder / LOCK_FILE).read_bytes()
    raised("2.0.0", folder, expectations=lambda listed: [{**listed[0], "value_set": [True]}])
    with pytest.raises(StandardError, match="QCS-16 passing example fails"):
        publish.publish(folder)
    assert (folder / LOCK_FILE).read_bytes() == before


SHA = "a" * 64


def line(version, content=SHA, rules=SHA, name="QCS-02"):
    return f'  - {{id: {name}, version: {version}, content: "{content}", rules: "{rules}"}}\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("published: [", "not YAML"),
        ("[]", "one key `published`"),
        ("published:\n  - {id: QCS-02}\n", "is not an entry"),
        ("published:\n" + line("1.0.0", content="abc"), "no sha256"),
        ("published:\n" + line("1.0"), "MAJOR"),
        ("published:\n" + line("1.0.0") + line("1.0.0", content="b" * 64), "repeated or out of order: QCS-02 1.0.0"),
        ("published:\n" + line("1.1.0") + line("1.0.0"), "repeated or out of order: QCS-02 1.0.0"),
        ("published:\n" + line("1.0.0") + line("1.0.1", rules="b" * 64), "a patch version changes words only"),
    ],
)
def test_a_damaged_record_is_refused(folder, text, message):
    (folder / LOCK_FILE).write_text(text)
    with pytest.raises(StandardError, match=message):
        read_standards(folder)


def test_the_record_is_written_as_it_is_read():
    entries = read_lock(STANDARDS_FOLDER)
    assert lock_text(reversed(entries)) == (STANDARDS_FOLDER / LOCK_FILE).read_text()
    assert version_number("1.10.0") > version_number("1.9.9")


def test_a_folder_of_ones_own_needs_no_record_and_begins_one_on_request(tmp_path):
    shutil.copy(STANDARDS_FOLDER / TWO[0], tmp_path)
    assert list(read_standards(tmp_path)) == ["QCS-02"]
    with pytest.raises(StandardError, match="--start"):
        publish.publish(tmp_path)
    assert not (tmp_path / LOCK_FILE).exists()
    assert publish.main(["--standards", str(tmp_path), "--start"]) == 0
    assert (tmp_path / LOCK_FILE).is_file()


def test_the_command_says_what_it_did(folder, capsys):
    assert publish.main(["--standards", str(folder)]) == 0
    assert "nothing to publish" in capsys.readouterr().out
    raised("1.0.1", folder)
    assert publish.main(["--standards", str(folder)]) == 0
    assert capsys.readouterr().out == "published QCS-16 1.0.1\n"
    edit(folder, title="Another title")
    assert publish.main(["--standards", str(folder)]) == 2
    assert "raise the version" in capsys.readouterr().err


def test_shipped_standards_need_their_record(monkeypatch, folder):
    monkeypatch.setattr(standards, "STANDARDS_FOLDER", folder)
    assert list(shipped_standards.__wrapped__()) == ["QCS-02", "QCS-16"]
    (folder / LOCK_FILE).unlink()
    with pytest.raises(StandardError, match="nobody can say what was published"):
        shipped_standards.__wrapped__()


def test_other_line_ends_are_the_same_standard(folder):
    path = folder / TWO[0]
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert list(read_standards(folder)) == ["QCS-02", "QCS-16"]


def test_no_line_that_was_ever_committed_is_gone():
    name = str((STANDARDS_FOLDER / LOCK_FILE).relative_to(PROJECT))
    git = ["git", "-C", str(PROJECT)]
    asked = subprocess.run([*git, "log", "--format=%H", "--", name], capture_output=True, text=True, check=False)
    commits = asked.stdout.split()
    if not commits:
        pytest.skip("the record has no history here")
    now = set((STANDARDS_FOLDER / LOCK_FILE).read_text().splitlines())
    for commit in commits:
        shown = subprocess.run([*git, "show", f"{commit}:{name}"], capture_output=True, text=True, check=False)
        lines = {text for text in shown.stdout.splitlines() if text.startswith("  - ")}
        assert lines <= now, f"{commit[:12]} published versions that the record has lost or altered"


@pytest.mark.parametrize(
    ("successor", "message"),
    [("QCS-16", "QCS-16 by QCS-16"), ("QCS-99", "QCS-16 by QCS-99"), ("QCS-02", None)],
)
def test_a_deprecated_standard_names_an_active_one(tmp_path, successor, message):
    for name in TWO:
        shutil.copy(STANDARDS_FOLDER / name, tmp_path)
    path = Path(tmp_path / TWO[1])
    path.write_text(path.read_text().replace("status: active", f"status: deprecated\ndeprecated_by: {successor}"))
    if message is None:
        assert read_standards(tmp_path)["QCS-16"].deprecated_by == "QCS-02"
        return
    with pytest.raises(StandardError, match=message):
        read_standards(tmp_path)


def test_a_deprecated_standard_is_not_judged(monkeypatch, planted):
    known = shipped_standards()
    kept = {name: known[name] for name in ("QCS-02", "QCS-13")}
    kept["QCS-13"] = replace(kept["QCS-13"], status="deprecated", deprecated_by="QCS-02")
    monkeypatch.setattr(gate, "shipped_standards", lambda: kept)
    assert [result.id for result in gate.judge_standards(planted.tests, planted.tables)] == ["QCS-02"]

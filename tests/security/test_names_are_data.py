"""A name is text everywhere: no command takes it for a path, a query or a command line; Dagster keeps it as it is."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from interp_assets.automation.run_tags import run_tags
from interp_assets.cli import main
from interp_assets.models.files.releases import usable_name
from interp_assets.settings import STUDY_NAME, SettingsError, load_study
from qc_standards.cli import main as gate

HOSTILE = (
    *("../../escape", "/etc/passwd", "..", ".", "", "a/b", "a\\b", "x\x00y", "x\ny", "-rf", "~", "C:/x", "CON/aux"),
    *(
        "x'; DROP TABLE runs;--",
        '"; DROP TABLE runs;--',
        "$(touch taken)",
        "`touch taken`",
        "; touch taken",
        "| touch taken",
    ),
    *("<script>alert(1)</script>", "${HOME}", "%2e%2e%2fescape", "x" * 5000, "\u202egnp.exe", "{release}"),
)
# Every command that takes a name of a study, release or dataset, with the place of the name.
COMMANDS = (
    ("evaluate", "--study={}"),
    ("evaluate", "--study=tiny", "--release={}"),
    ("analysis", "24", "--study={}", "--release=m"),
    ("analysis", "24", "--study=tiny", "--release={}"),
    ("studies", "plan", "--", "{}"),
    ("datasets", "unlock", "--", "{}"),
    ("export", "release", "--to=out.zip", "--", "{}"),
    ("export", "screens", "--to=out.md", "--study={}"),
    ("releases", "verify", "--", "{}"),
    ("releases", "describe", "--", "{}"),
    ("releases", "add", "--name={}", "model"),
    ("quarantine", "lift", "--", "{}"),
    ("backfill", "--study={}", "--dry-run"),
    ("backfill", "--study=tiny", "--release={}", "--dry-run"),
)


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine of its own inside ``tmp_path``, from whose folder commands are given."""
    inner = tmp_path / "one" / "two" / "work"
    (inner / "model").mkdir(parents=True)
    (inner / "releases").mkdir()
    monkeypatch.chdir(inner)
    monkeypatch.setenv("INTERP_STORE", str(inner / "store"))
    monkeypatch.setenv("INTERP_RELEASES", str(inner / "releases"))
    monkeypatch.setenv("INTERP_OFFLINE", "1")
    return tmp_path


def everything(root: Path) -> set[Path]:
    return {path for path in root.rglob("*") if "store" not in path.parts}


@pytest.mark.parametrize("place", range(len(COMMANDS)), ids=lambda place: " ".join(COMMANDS[place])[:30])
def test_no_command_does_anything_for_a_hostile_name(alone, place, capsys, soak, tally):
    """Each command gets some of the names, all of them in the long form."""
    command, before = COMMANDS[place], everything(alone)
    names = HOSTILE if soak > 1 else HOSTILE[place % 8 :: 8]
    for name in names:
        try:
            code = main([part.format(name) if part != name else part for part in command])
        except SystemExit as stopped:
            code = stopped.code
        told = capsys.readouterr()
        assert code not in (0, None), f"{name!r}: {told.out[-200:]}"
        assert (told.err or told.out).strip()
        assert "Traceback" not in told.err + told.out
    assert everything(alone) == before
    assert not [path for path in (alone / "one" / "two" / "work" / "store").rglob("*") if path.name == "taken"]
    tally("security", "hostile names given to every command of `interp`", "refused", len(names))


@pytest.mark.parametrize("name", HOSTILE)
def test_the_gate_reads_no_hostile_name_as_a_command(alone, name, capsys, tally):
    before = everything(alone)
    if "\x00" in name or name in ("..", ".", "~", ""):
        return
    try:
        code = gate(["check", "--", name])
    except SystemExit as stopped:
        code = stopped.code
    assert code == 2
    assert "Traceback" not in capsys.readouterr().err
    assert everything(alone) == before
    tally("security", "hostile names given to `qc-gate check`", "refused")


def test_no_hostile_name_is_one_of_a_release_or_a_study(tmp_path, tally):
    for name in HOSTILE:
        assert not usable_name(name), name
        assert not STUDY_NAME.fullmatch(name), name
    for name in ("..a", "a b", "attention", "store.x"):
        path = tmp_path / f"{name}.yaml"
        path.write_text("title: x\n", encoding="utf-8")
        with pytest.raises(SettingsError, match="name of the file"):
            load_study(path)
    tally("security", "hostile names as names of releases and studies", "refused", 2 * len(HOSTILE) + 4)


@pytest.mark.parametrize(
    "name", ["x'; DROP TABLE runs;--", "$(touch taken)", '"; DELETE FROM event_logs; --', "%s %d ?"]
)
def test_the_run_history_keeps_a_hostile_name_as_text(tmp_path, monkeypatch, name, tally):
    """Partition, tags and look-ups by tag in a real history on disk, whose tables are still there afterwards."""
    monkeypatch.chdir(tmp_path)
    partitions = dg.DynamicPartitionsDefinition(name="release")

    @dg.asset(partitions_def=partitions)
    def judged(context):
        return dg.MaterializeResult(metadata={"release": context.partition_key})

    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n", encoding="utf-8")
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        instance.add_dynamic_partitions("release", [name])
        tags = {**run_tags("r", "command"), "interp/release": name}
        done = dg.materialize([judged], instance=instance, partition_key=name, tags=tags)
        assert done.success
        (found,) = instance.get_runs(dg.RunsFilter(tags={"interp/release": name}))
        assert found.run_id == done.run_id
        assert instance.get_dynamic_partitions("release") == [name]
        assert instance.get_materialized_partitions(dg.AssetKey("judged")) == {name}
        assert instance.get_runs_count() == 1
    assert not (tmp_path / "taken").exists()
    tally("security", "hostile names in run tags, partitions and look-ups of the history", "right")

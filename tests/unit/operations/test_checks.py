"""The doctor: each check says what it found and the way out, and no check can break it."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from interp_assets.cli import main
from interp_assets.cli.doctor import _heartbeats, every_check
from interp_assets.operations import checks
from interp_assets.settings import Folders

HERE = dict.fromkeys(checks.DECISIVE, "1.0") | {"rich": "2.0"}


def folders(root: Path) -> Folders:
    return Folders(store=root / "store", releases=root / "releases", wheels=root / "wheels", config=None)


def states(found: list[checks.Check]) -> list[str]:
    return [check.state for check in found]


@pytest.mark.parametrize(
    ("lock", "here", "state", "words"),
    [
        (HERE, HERE, "ok", "as locked"),
        (HERE, {**HERE, "torch": "1.0+cu126"}, "ok", "as locked"),
        (HERE, {**HERE, "rich": "2.1"}, "note", "1 other package(s) differ"),
        (HERE, {**HERE, "numpy": "1.1"}, "note", "numpy 1.1 (locked 1.0)"),
        (HERE, {name: found for name, found in HERE.items() if name != "torch"}, "problem", "missing: torch"),
        ({}, HERE, "note", "not compared"),
    ],
)
def test_versions(lock: dict[str, str], here: dict[str, str], state: str, words: str) -> None:
    python, packages = checks.versions(lock, here)
    assert (python.state, packages.state) == ("ok", state)
    assert words in packages.found


def test_a_package_that_is_not_installed_is_not_said_to_be_as_locked() -> None:
    assert checks.versions({**HERE, "absent": "1.0"}, HERE)[1].found == "as locked: 9 of 10 pinned are installed"


def test_wheels_are_as_declared_only_where_hashes_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "PROJECT", tmp_path)
    (tmp_path / "wheels").mkdir()
    (tmp_path / "wheels" / "a.whl").write_bytes(b"abc")
    assert "not compared" in checks.wheels(folders(tmp_path), deep=True).found
    declared = tmp_path / "requirements-data.txt"
    declared.write_text("a==1\n")
    assert checks.wheels(folders(tmp_path), deep=True).state == "problem"
    declared.write_text(
        "a==1 --hash=sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\n"  # "abc", FIPS 180-2
    )
    assert checks.wheels(folders(tmp_path), deep=True).state == "ok"


def test_the_lock_is_read_by_normalised_name(tmp_path: Path) -> None:
    lock = tmp_path / "requirements.lock"
    lock.write_text("# note\nRuamel.YAML==0.1\nuvicorn[standard]==2.0 ; python_version > '3'\n-e .\nnumpy>=1\n")
    assert checks.pinned(lock) == {"ruamel-yaml": "0.1", "uvicorn": "2.0"}


def test_the_file_system_of_the_longest_mount_counts() -> None:
    table = "d / ext4 rw\nh:/x /data nfs4 rw\nd /data/local\\040disk xfs rw\nbroken"
    assert checks.file_system(Path("/data/store"), table) == "nfs4"
    assert checks.file_system(Path("/data/local disk/store"), table) == "xfs"
    assert checks.file_system(Path("/database"), table) == "ext4"
    assert checks.file_system(Path("/x"), "") == ""


def test_a_store_on_a_network_disk_is_noted(tmp_path: Path) -> None:
    found = checks.store(folders(tmp_path), f"host:/x {tmp_path} nfs4 rw 0 0")
    assert found[0].state == "note"
    assert "PostgreSQL" in found[0].remedy


def test_a_store_that_cannot_be_made_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(**options: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(checks.tempfile, "NamedTemporaryFile", denied)
    assert states(checks.store(folders(tmp_path), "")) == ["problem"]


@pytest.mark.parametrize(("free", "state"), [(1.0, "problem"), (10.0, "note"), (50.0, "ok")])
def test_disk(free: float, state: str, tmp_path: Path) -> None:
    assert checks.disk(free, tmp_path).state == state


@pytest.mark.parametrize(("skew", "state"), [(0.0, "ok"), (-29.0, "ok"), (31.0, "problem"), (-3600.0, "problem")])
def test_clock(skew: float, state: str) -> None:
    assert checks.clock(1000.0, 1000.0 + skew, "disk's clock").state == state


def test_the_mirror_by_size_and_by_hash(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    good = [("one", tmp_path / "a", 3), ("locked", tmp_path / "a", 0)]
    assert checks.mirror(good, {}, tmp_path).state == "ok"
    assert checks.mirror([("one", tmp_path / "a", 4)], {}, tmp_path).state == "problem"
    # sha256("abc"), FIPS 180-2
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert checks.mirror(good, {tmp_path / "a": digest}, tmp_path).state == "ok"
    assert checks.mirror(good, {tmp_path / "a": "0" * 64}, tmp_path).state == "problem"
    absent = checks.mirror([*good, ("two", tmp_path / "b", 1)], {}, tmp_path)
    assert (absent.state, "absent: two" in absent.found) == ("note", True)
    assert checks.mirror(good, {}, None).state == "note"
    assert checks.mirror(good, {}, tmp_path / "none").state == "problem"


def test_releases_by_state(tmp_path: Path) -> None:
    (tmp_path / "releases" / "copying").mkdir(parents=True)
    (tmp_path / "releases" / "broken").mkdir()
    (tmp_path / "releases" / "broken" / "release.json").write_text("{ no json")
    held = {"bad": SimpleNamespace(reason="NaN in layer 3")}
    found = checks.releases(folders(tmp_path), held)
    told = "\n".join(check.found for check in found)
    assert states(found) == ["note"] * 4
    for words in ("0 complete", "copying: incoming", "broken refused", "bad in quarantine: NaN in layer 3"):
        assert words in told
    assert states(checks.releases(folders(tmp_path / "none"), {})) == ["problem"]


def test_the_secret_is_never_told() -> None:
    check = checks.webhook({"HOOK": "https://secret.example/T0"}, "HOOK")
    assert "secret" not in json.dumps(check.as_record())
    assert "HOOK is set" in check.found
    assert (checks.webhook({}, "HOOK").state, checks.webhook({}, "").state) == ("note", "ok")
    assert "not set" in checks.webhook({}, "HOOK").found


def test_an_address_where_its_variable_belongs_is_not_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = tmp_path / "platform.yaml"
    settings.write_text("notify: {webhook_from: 'https://secret.example/T0'}\n")
    monkeypatch.setenv("INTERP_PLATFORM", str(settings))
    (check,) = [each for each in every_check(folders(tmp_path), deep=False) if each.name == "webhook"]
    assert check.state == "problem"
    assert "secret.example" not in json.dumps(check.as_record())


def test_a_lock_that_cannot_be_read_is_a_problem_and_the_rest_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "requirements.lock").write_bytes(b"\xff")
    monkeypatch.setattr("interp_assets.cli.doctor.PROJECT", tmp_path)
    found = {check.name: check for check in every_check(folders(tmp_path), deep=False)}
    assert found["packages"].state == "problem"
    assert {"store", "releases", "database"} <= set(found)


def test_a_check_that_breaks_is_a_problem() -> None:
    def broken() -> checks.Check:
        raise ZeroDivisionError("of its own")

    assert checks.looked("it", broken)[0].state == "problem"
    assert "ZeroDivisionError: of its own" in checks.looked("it", broken)[0].found


@pytest.mark.parametrize(
    ("beats", "state", "words"),
    [
        ({}, "note", "never run"),
        ({"a": 10.0, "b": 20.0}, "ok", "alive, 2 parts"),
        ({"a": 10.0, "b": 500.0}, "note", "parts that stopped: b"),
        ({"a": 700.0, "b": 600.0}, "note", "10 min ago"),
    ],
)
def test_heartbeats(beats: dict[str, float], state: str, words: str) -> None:
    now = 10_000.0
    stored = {name: SimpleNamespace(timestamp=now - ago) for name, ago in beats.items()}
    check = _heartbeats(SimpleNamespace(get_daemon_heartbeats=lambda: stored), now)
    assert (check.state, words in check.found) == (state, True)


def test_the_command_as_lines_and_as_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    for name in ("store", "releases"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(f"INTERP_{name.upper()}", str(tmp_path / name))
    monkeypatch.setenv("INTERP_STUDIES", "tiny")
    monkeypatch.setenv("INTERP_DATA_MIRROR", str(tmp_path / "none"))
    monkeypatch.setenv("INTERP_WEBHOOK_URL", "https://secret.example/T0")
    assert main(["doctor", "--json"]) == 1  # a mirror that is named and not there
    told = capsys.readouterr().out
    assert "secret" not in told
    document = json.loads(told)
    assert [check["name"] for check in document["checks"] if check["state"] == "problem"] == ["data mirror"]
    assert all(check["remedy"] for check in document["checks"] if check["state"] == "problem")
    monkeypatch.delenv("INTERP_DATA_MIRROR")
    assert main(["doctor"]) == 0
    assert "-> export INTERP_DATA_MIRROR=FOLDER" in capsys.readouterr().out
    assert not (tmp_path / "store" / ".dagster").exists()  # looking makes nothing

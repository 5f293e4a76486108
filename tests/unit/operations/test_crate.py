"""One release as one file: equal bytes, a crate by the rules, and nothing the gate would believe too easily."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from interp_assets.operations.crate import DataSource, ExportError, accepted, exportable, write_crate
from qc_standards import crate
from qc_standards.cli import main
from qc_standards.results import ResultsError
from tests.unit.qc_standards import conftest as evaluations

RELEASE = "control-coexpression"
DATA = (DataSource(name="cells_one", title="Cells, one", licence="CC-BY-4.0"),)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with one release in two studies: refuted in both."""
    place = tmp_path_factory.mktemp("store")
    written = evaluations.build(evaluations.COEXPRESSION).write(place / "first" / RELEASE)
    (written / "figures").mkdir()
    (written / "figures" / "a name.svg").write_text("<svg/>")
    shutil.copytree(written, place / "second" / RELEASE)
    return place


@pytest.fixture(scope="module")
def exported(store: Path) -> Path:
    folders = exportable(store, RELEASE, ["first"])
    return write_crate(store / "one.zip", RELEASE, [accepted(folder, DATA) for folder in folders])


def changed(source: Path, target: Path, **changes: bytes | None) -> Path:
    """Copy of a zip in which files, named by their last part without suffix, hold other bytes or are gone."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as new:
        for entry in old.infolist():
            key = Path(entry.filename).stem.replace("-", "_")
            content = changes.get(key, old.read(entry)) if key in changes else old.read(entry)
            if content is not None:
                new.writestr(entry, content)
    return target


def added(source: Path, target: Path, name: str, content: bytes = b"x", mode: int = 0o100644) -> Path:
    shutil.copy(source, target)
    entry = zipfile.ZipInfo(name)
    entry.external_attr = mode << 16
    with zipfile.ZipFile(target, "a") as archive:
        archive.writestr(entry, content)
    return target


def refusal(path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["check", str(path)]) == 2
    told = capsys.readouterr()
    assert "VERDICT" not in told.out
    return told.err


def test_equal_results_give_equal_bytes(store: Path, exported: Path, tmp_path: Path) -> None:
    again = write_crate(tmp_path / "again.zip", RELEASE, [accepted(store / "first" / RELEASE, DATA)])
    assert again.read_bytes() == exported.read_bytes()


def test_the_zip_is_judged_like_the_folder(store: Path, exported: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["check", str(store / "first" / RELEASE)])
    of_folder = capsys.readouterr().out
    assert main(["check", str(exported)]) == code == 1
    assert capsys.readouterr().out == of_folder


def test_a_zip_of_several_studies_is_judged_whole_or_by_study(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    both = write_crate(tmp_path / "both.zip", RELEASE, [accepted(each) for each in exportable(store, RELEASE)])
    assert main(["check", str(both)]) == 1
    assert capsys.readouterr().out.count("VERDICT  REFUTED") == 2
    assert main(["check", str(both), "--study", "second"]) == 1
    assert capsys.readouterr().out.count("VERDICT  REFUTED") == 1
    assert main(["check", str(both), "--study", "third"]) == 2
    assert "it holds first, second" in capsys.readouterr().err
    report = tmp_path / "report.json"
    assert main(["check", str(both), "--json", str(report)]) == 2
    assert "choose with --study" in capsys.readouterr().err
    assert main(["check", str(both), "--study", "first", "--json", str(report)]) == 1
    assert json.loads(report.read_text())["exit_code"] == 1


def test_every_file_of_the_crate_is_described_with_its_hash(exported: Path) -> None:
    with zipfile.ZipFile(exported) as archive:
        document = json.loads(archive.read("ro-crate-metadata.json"))
        contents = {name: archive.read(name) for name in archive.namelist()}
    graph = {entity["@id"]: entity for entity in document["@graph"]}
    assert len(graph) == len(document["@graph"])
    # RO-Crate 1.1: descriptor, root data entity with name, description, datePublished and licence, no dangling parts
    assert graph["ro-crate-metadata.json"]["conformsTo"] == {"@id": "https://w3id.org/ro/crate/1.1"}
    root = graph[graph["ro-crate-metadata.json"]["about"]["@id"]]
    assert {"name", "description", "datePublished", "license", "hasPart"} <= set(root)
    assert graph[root["license"]["@id"]]["name"] == "Apache-2.0"
    parts = [part["@id"] for entity in graph.values() for part in entity.get("hasPart", ())]
    assert set(parts) <= set(graph)
    assert graph["#dataset-cells_one"]["usageInfo"] == "CC-BY-4.0"
    files = {entity["name"]: entity for entity in graph.values() if entity["@type"] == "File"}
    assert set(files) == set(contents) - {"ro-crate-metadata.json"}
    assert {entity["@id"] for entity in files.values()} <= set(parts)
    for name, entity in files.items():
        assert entity["sha256"] == hashlib.sha256(contents[name]).hexdigest(), name
    assert files[f"results/first/{RELEASE}/figures/a name.svg"]["@id"].endswith("a%20name.svg")
    assert "cells_one: CC-BY-4.0" in contents["README.txt"].decode()


def test_only_what_the_gate_accepts_is_handed_on(store: Path, tmp_path: Path) -> None:
    folder = tmp_path / "first" / RELEASE
    shutil.copytree(store / "first" / RELEASE, folder)
    verdict = json.loads((folder / "verdict.json").read_text())
    verdict["headline"]["state"] = "supported"
    (folder / "verdict.json").write_text(json.dumps(verdict))
    with pytest.raises(ResultsError, match="stored verdict differs"):
        accepted(folder)


@pytest.mark.parametrize(
    ("release", "studies", "told"),
    [
        ("absent", [], "no finished results of absent"),
        (RELEASE, ["third"], "no finished results of control-coexpression in third"),
        ("../first", [], "no name of a release"),
    ],
)
def test_what_is_not_there_is_not_exported(store: Path, release: str, studies: list[str], told: str) -> None:
    with pytest.raises(ExportError, match=told):
        exportable(store, release, studies)


def test_a_link_is_not_exported(store: Path, tmp_path: Path) -> None:
    folder = tmp_path / "first" / RELEASE
    shutil.copytree(store / "first" / RELEASE, folder)
    (folder / "secret.txt").symlink_to("/etc/hostname")
    with pytest.raises(ExportError, match="a link in a result folder"):
        write_crate(tmp_path / "out.zip", RELEASE, [accepted(folder)])
    assert not (tmp_path / "out.zip").exists()
    assert not list(tmp_path.glob(".writing-*"))


def test_a_changed_file_is_invalid(exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = refusal(changed(exported, tmp_path / "t.zip", verdict=b'{"headline": "supported"}'), capsys)
    assert "verdict.json is not the file that" in told


def test_a_forger_who_also_writes_the_hashes_still_meets_the_tables(
    exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = f"results/first/{RELEASE}/verdict.json"
    with zipfile.ZipFile(exported) as archive:
        verdict = json.loads(archive.read(name))
        document = json.loads(archive.read("ro-crate-metadata.json"))
    verdict["headline"]["state"] = "supported"
    forged = json.dumps(verdict).encode()
    for entity in document["@graph"]:
        if entity.get("name") == name:
            entity |= {"sha256": hashlib.sha256(forged).hexdigest(), "contentSize": str(len(forged))}
    changes = {"verdict": forged, "ro_crate_metadata": json.dumps(document).encode()}
    told = refusal(changed(exported, tmp_path / "t.zip", **changes), capsys)
    assert "stored verdict differs" in told
    assert f"t.zip: results/first/{RELEASE}: " in told
    assert "qc-gate-" not in told  # names of the crate, not of the temporary folder


def test_a_missing_and_an_undescribed_file_are_invalid(
    exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "missing, though described" in refusal(changed(exported, tmp_path / "a.zip", statement=None), capsys)
    assert "not described in" in refusal(added(exported, tmp_path / "b.zip", "results/first/x.txt"), capsys)
    assert "no ro-crate-metadata.json" in refusal(changed(exported, tmp_path / "c.zip", ro_crate_metadata=None), capsys)


def test_a_study_without_its_tests_is_not_passed_over(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also where the metadata says nothing of them: the other study alone would have been judged."""
    both = write_crate(tmp_path / "both.zip", RELEASE, [accepted(each) for each in exportable(store, RELEASE)])
    gone = f"results/second/{RELEASE}/tests.parquet"
    with zipfile.ZipFile(both) as old, zipfile.ZipFile(tmp_path / "t.zip", "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "ro-crate-metadata.json":
                document = json.loads(content)
                document["@graph"] = [entity for entity in document["@graph"] if entity.get("name") != gone]
                content = json.dumps(document).encode()
            if name != gone:
                new.writestr(name, content)
    assert f"results/second/{RELEASE}: no tests.parquet" in refusal(tmp_path / "t.zip", capsys)


def test_a_name_that_is_no_text_is_invalid(exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Python's reader tells it as another kind of error, which ended the gate with 1, as if refuted."""
    path = added(exported, tmp_path / "t.zip", "r\u00e9sum\u00e9.txt")
    path.write_bytes(path.read_bytes().replace("\u00e9".encode(), b"\xc3("))
    assert "damaged or no zip file" in refusal(path, capsys)


def test_a_study_is_chosen_in_a_zip_only(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["check", str(store / "first" / RELEASE), "--study", "second"])
    assert ended.value.code == 2
    assert "--study chooses within an exported zip" in capsys.readouterr().err


def test_a_study_named_twice_is_exported_once(store: Path) -> None:
    assert exportable(store, RELEASE, ["second", "second"]) == [store / "second" / RELEASE]


@pytest.mark.parametrize("document", [b"", b"[]", b"{}", b'{"@graph": [3]}', b'{"@graph": 1}', b"\xff", b"[" * 100_000])
def test_metadata_that_describes_nothing_is_invalid(
    exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], document: bytes
) -> None:
    told = refusal(changed(exported, tmp_path / "t.zip", ro_crate_metadata=document), capsys)
    assert "does not describe a crate" in told


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("../out.txt", "leaves its folder"),
        ("results/../../out.txt", "leaves its folder"),
        ("/etc/out.txt", "absolute name"),
        ("C:/out.txt", "absolute name"),
        ("results\\out.txt", "backslash or control"),
        ("results/new\nline.txt", "backslash or control"),
        ("results//out.txt", "leaves its folder or is empty"),
        ("results/./out.txt", "leaves its folder"),
        ("x" * 500, "more than 400"),
        ("readme.TXT", "are the same name"),
        ("README.txt/below", "is a file and the folder of"),
    ],
)
def test_names_that_lead_elsewhere_are_invalid(
    exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, rule: str
) -> None:
    assert rule in refusal(added(exported, tmp_path / "t.zip", name), capsys)
    assert not (tmp_path / "out.txt").exists()


def test_links_are_invalid(exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = added(exported, tmp_path / "t.zip", "results/link", b"/etc/hostname", stat.S_IFLNK | 0o777)
    assert "a link or no ordinary file" in refusal(path, capsys)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_file_twice_is_invalid(exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "are the same name" in refusal(added(exported, tmp_path / "t.zip", "README.txt"), capsys)


def test_a_bomb_is_refused_before_it_unpacks(
    exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crate, "LARGEST", 2**20 * 8)
    path = tmp_path / "t.zip"
    shutil.copy(exported, path)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("results/zeros.npy", bytes(2**24))
    assert "unpacks to 0.0 GiB, more than" in refusal(path, capsys)
    monkeypatch.setattr(crate, "MOST_FILES", 3)
    assert "files, more than 3" in refusal(path, capsys)


def test_packed_bytes_that_lie_in_each_other_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("one", b"a" * 1000)
        archive.writestr("two", b"b")
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
    entries[1].header_offset = 10
    with pytest.raises(crate.CrateError, match="overlap"):
        crate._no_overlap(path, entries)


@pytest.mark.parametrize("cut", [0, 10, 0.5, -1])
def test_a_damaged_download_is_invalid(
    exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], cut: float
) -> None:
    content = exported.read_bytes()
    path = tmp_path / "t.zip"
    path.write_bytes(content[: int(cut * len(content)) if isinstance(cut, float) else cut])
    assert "damaged or no zip file" in refusal(path, capsys)


def test_flipped_bytes_never_clear_a_claim(exported: Path, tmp_path: Path) -> None:
    content, rng = exported.read_bytes(), np.random.default_rng(5)
    expected = None
    with crate.unpacked(exported) as whole:
        expected = {
            name.name: name.read_bytes() for name in next(iter(whole.folders.values())).iterdir() if name.is_file()
        }
    for position in rng.integers(0, len(content), 60):
        broken = bytearray(content)
        broken[position] ^= 0xFF
        path = tmp_path / "t.zip"
        path.write_bytes(bytes(broken))
        try:
            with crate.unpacked(path) as found:
                held = next(iter(found.folders.values()))
                assert {each.name: each.read_bytes() for each in held.iterdir() if each.is_file()} == expected
        except crate.CrateError:
            continue


def test_other_declarations_are_named(exported: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with crate.unpacked(exported) as found:
        assert found.declared == ()
    other = tmp_path / "claims.yaml"
    other.write_text("claims: []\n")
    here = crate.declared_files()
    monkeypatch.setattr(crate, "declared_files", lambda: {**here, "declared/registry/claims.yaml": other})
    with crate.unpacked(exported) as found:
        assert found.declared == ("declared/registry/claims.yaml",)
        assert "other declarations" in found.told(ResultsError("x"))


def test_reading_a_crate_loads_nothing_of_the_platform(exported: Path) -> None:
    code = (
        "import sys; from qc_standards.cli import main; main(['check', sys.argv[1]]); "
        "print(sorted({'interp_assets', 'dagster', 'torch'} & {n.split('.')[0] for n in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(exported)], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("[]")


def test_an_archive_in_memory_is_what_was_written(exported: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(exported.read_bytes())) as archive:
        assert archive.testzip() is None
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}

"""YAML that people write (standards, claims, datasets, studies, settings) is read or refused, whatever is in it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from interp_assets.automation.run_settings import read_run_settings
from interp_assets.cells.datasets import BUILT_IN, load_dataset
from interp_assets.cells.declared import DeclarationError
from interp_assets.deployment import read_deployment
from interp_assets.discovery.sources import read_sources
from interp_assets.executors import executor_settings
from interp_assets.notices.records import read_settings
from interp_assets.settings import PACKAGE, Folders, SettingsError, load_study
from qc_standards.assertions import ClaimsFileError, read_claims_file
from qc_standards.standards import STANDARDS_FOLDER, read_standard
from qc_standards.version_lock import LOCK_FILE, StandardError, read_lock
from qc_standards.yaml_text import DEEPEST, RefusedYamlError, plain_yaml, yaml_nodes
from tests.properties.damage import SEEDS, as_yaml, bombs, damaged_text
from tests.properties.laws import REFUSED, reader

CLAIMS = b"""\
claims:
  - beats_gene_level_baselines
  - id: adds_incremental_value
    context: demo
    level: decoding
    wording: attention adds to gene-level features
"""
PLATFORM = b"""\
sources:
  - {kind: folder, path: /srv/models, every: 10m}
  - {kind: hub, repo: org/models, folder: V2-*, revision: main, every: 1h, family: geneformer, gene_key: ensembl}
runs: {retries: 2, delay: 60, hours: {shared: 2}}
notify: {webhook_from: INTERP_WEBHOOK_URL, minimum: any, link: "https://host/{study}/{release}.html"}
executor: {kind: in_process}
"""


def read_or_refused(
    read: Callable[[Path], Any], error: type[Exception] | tuple[type[Exception], ...], name: str, content: bytes
) -> str | None:
    """Whether a file with this content is read; anything but ``error`` is a fault of the reader."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        try:
            read(path)
        except error as refused:
            assert str(refused)
            return REFUSED
    return None


@cache
def tree_of(content: bytes) -> Any:
    return yaml.safe_load(content)


def read_platform(path: Path) -> None:
    folders = Folders(store=path.parent, releases=path.parent / "r", wheels=path.parent, config=path.parent)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("INTERP_PLATFORM", raising=False)
        deployment = read_deployment(folders)
        read_sources(folders)
        read_run_settings(folders)
        executor_settings(deployment)
        read_settings(deployment.section("notify"), deployment.path)


def damaged(content: bytes, seed: int) -> bytes:
    return damaged_text(content, tree_of(content), as_yaml, seed)


STANDARDS = sorted(STANDARDS_FOLDER.glob("QCS-*.yaml"))
DATASETS = sorted(BUILT_IN.glob("*.yaml"))
STUDIES = sorted((PACKAGE / "studies").glob("*.yaml"))


@reader("YAML: any text is plain values or one error", 150)
@given(st.sampled_from([*STANDARDS, *DATASETS, *STUDIES]), SEEDS)
def test_any_text_is_plain_values_or_one_error(path, seed):
    try:
        found = plain_yaml(damaged(path.read_bytes(), seed))
    except yaml.YAMLError as refused:
        assert str(refused)
        return REFUSED
    assert as_yaml(found) is not None
    return None


@reader("standards: a damaged file is a standard or a StandardError", 120)
@given(st.sampled_from(STANDARDS), SEEDS)
def test_a_damaged_standard_is_refused(path, seed):
    return read_or_refused(read_standard, StandardError, path.name, damaged(path.read_bytes(), seed))


@reader("standards: a damaged record of published versions is read or refused", 25)
@given(SEEDS)
def test_a_damaged_record_of_versions_is_refused(seed):
    content = (STANDARDS_FOLDER / LOCK_FILE).read_bytes()
    return read_or_refused(lambda path: read_lock(path.parent), StandardError, LOCK_FILE, damaged(content, seed))


@reader("claims file: a damaged file asserts declared claims or names its lines", 120)
@given(SEEDS)
def test_a_damaged_claims_file_is_refused(seed):
    return read_or_refused(read_claims_file, ClaimsFileError, "claims.yaml", damaged(CLAIMS, seed))


@reader("dataset YAML: a damaged file is a dataset or a DeclarationError", 120)
@given(st.sampled_from(DATASETS), SEEDS)
def test_a_damaged_dataset_is_refused(path, seed):
    return read_or_refused(load_dataset, DeclarationError, path.name, damaged(path.read_bytes(), seed))


@reader("study YAML: a damaged file is a study or a SettingsError", 120)
@given(st.sampled_from(STUDIES), SEEDS)
def test_a_damaged_study_is_refused(path, seed):
    return read_or_refused(load_study, SettingsError, path.name, damaged(path.read_bytes(), seed))


@reader("platform.yaml: damaged settings are read or refused by the reader of their section", 100)
@given(SEEDS)
def test_damaged_settings_of_a_deployment_are_refused(seed):
    return read_or_refused(read_platform, (DeclarationError, SettingsError), "platform.yaml", damaged(PLATFORM, seed))


def test_undamaged_files_are_read():
    assert read_or_refused(read_platform, (DeclarationError, SettingsError), "platform.yaml", PLATFORM) is None
    assert read_or_refused(read_claims_file, ClaimsFileError, "claims.yaml", CLAIMS) is None


@pytest.mark.parametrize("what", ["aliases", "merges", "itself", "deep", "deep mapping", "deep block", "twice"])
def test_bombs_are_refused_at_once_with_the_rule(what, tally):
    aliases = "a: &a [x, x]\nb: [*a, *a]"
    texts = {
        "aliases": (aliases, "alias"),
        "merges": ("a: &a {k: 1}\nb: {<<: *a}", "alias"),
        "itself": ("&a [*a]", "alias"),
        "deep": ("[" * 200_000 + "]" * 200_000, "deeper"),
        "deep mapping": ("{a: " * 200_000 + "1" + "}" * 200_000, "deeper"),
        "deep block": ("- " * 200_000 + "x", "deeper"),
        "twice": ("a: 1\nb: 2\na: 3", "twice"),
    }
    text, told = texts[what]
    with pytest.raises(RefusedYamlError, match=told):
        plain_yaml(text)
    if told != "twice":
        with pytest.raises(RefusedYamlError, match=told):
            yaml_nodes(text)
    tally("reader", "YAML: alias bombs, deep nesting and repeated keys", "refused")


def test_what_a_person_writes_is_not_too_deep():
    assert plain_yaml("[" * DEEPEST + "]" * DEEPEST)


@pytest.mark.parametrize("text", bombs(as_yaml))
def test_no_bomb_brings_down_a_reader(text, tally):
    path = STANDARDS[0]
    every = [
        (read_standard, StandardError, path.name),
        (lambda found: read_lock(found.parent), StandardError, LOCK_FILE),
        (read_claims_file, ClaimsFileError, "claims.yaml"),
        (load_dataset, DeclarationError, "x.yaml"),
        (load_study, SettingsError, "x.yaml"),
    ]
    for read, error, name in every:
        assert read_or_refused(read, error, name, text) == REFUSED, name
    tally("reader", "declarations: bombs and texts that are none", "refused", len(every))


def test_a_key_written_twice_is_told_in_a_study_too(tmp_path):
    """Plain YAML keeps the last of two values in silence."""
    text = (PACKAGE / "studies" / "tiny.yaml").read_text(encoding="utf-8")
    path = tmp_path / "tiny.yaml"
    path.write_text(text + "\nseed: 1\nseed: 2\n", encoding="utf-8")
    with pytest.raises(SettingsError, match="twice"):
        load_study(path)


@pytest.mark.parametrize(
    "changed",
    [
        *("seed: -1", "seed: x", "seed: 0.5", "battery: {bootstrap: -1}", "battery: {folds: true}"),
        *("battery: {recall_at: 5}", "battery: {recall_at: [a]}", "battery: {boosting: [1]}"),
        *("battery: {boosting: {x: 1}}", "battery: {equivalence_margin: .nan}", "battery: {equivalence_margin: .inf}"),
        *("title: [1]", "1: 2"),
    ],
)
def test_a_setting_that_is_no_number_of_its_kind_is_refused(tmp_path, changed):
    tree = tree_of((PACKAGE / "studies" / "tiny.yaml").read_bytes()) | yaml.safe_load(changed)
    path = tmp_path / "tiny.yaml"
    path.write_text(as_yaml(tree), encoding="utf-8")
    with pytest.raises(SettingsError, match=str(path)):
        load_study(path)

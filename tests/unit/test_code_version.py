"""Code versions: what changes them, and what does not."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest

from interp_assets import code_version as module
from interp_assets import source_facts
from interp_assets.source_facts import FactsFile

ANALYSIS = '''
"""Two analyses in one file."""
from interp_assets_sample.stats import mean

SCALE = 2

def shared(x):
    return mean(x) * SCALE

def first(x):
    """Doc."""
    return shared(x)

def second(x):
    return x
'''
STATS = "def mean(x):\n    return sum(x) / len(x)\n"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "interp_assets_sample"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "analysis.py").write_text(ANALYSIS)
    (folder / "stats.py").write_text(STATS)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(module, "PROJECT_PACKAGES", ("interp_assets_sample",))
    monkeypatch.setattr(module, "FACTS", FactsFile(tmp_path / "facts" / "source-facts.json"))
    return folder


def version(source: str) -> str:
    for name in [name for name in sys.modules if name.startswith("interp_assets_sample")]:
        del sys.modules[name]
    importlib.invalidate_caches()
    caches = (module._source, module._content, module._read, module.modules_behind, module.code_version)
    for cached in caches:
        cached.cache_clear()
    return module.code_version(source)


FIRST, SECOND = "interp_assets_sample.analysis:first", "interp_assets_sample.analysis:second"


@pytest.mark.parametrize(
    ("file", "old", "new", "first_changes", "second_changes"),
    [
        ("analysis.py", '"""Doc."""', '"""Other words."""', False, False),
        ("analysis.py", "return shared(x)", "return shared(x)  # why", False, False),
        ("analysis.py", "return shared(x)", "return shared(x) + 1", True, False),
        ("analysis.py", "return x\n", "return -x\n", False, True),
        ("analysis.py", "SCALE = 2", "SCALE = 3", True, False),
        ("stats.py", "/ len(x)", "/ (len(x) - 1)", True, True),
    ],
)
def test_only_what_the_function_uses_changes_its_version(
    package: Path, file: str, old: str, new: str, first_changes: bool, second_changes: bool
) -> None:
    before = version(FIRST), version(SECOND)
    text = (package / file).read_text()
    assert old in text
    (package / file).write_text(text.replace(old, new))
    assert (version(FIRST) != before[0]) is first_changes
    assert (version(SECOND) != before[1]) is second_changes


def test_a_version_of_nothing_is_an_error(package: Path) -> None:
    with pytest.raises(ModuleNotFoundError, match="defines no third"):
        version("interp_assets_sample.analysis:third")
    with pytest.raises(ModuleNotFoundError):
        version("interp_assets_sample.nowhere")


def kept(package: Path) -> FactsFile:
    """Facts as the next process finds them."""
    module.FACTS.save()
    return FactsFile(module.FACTS.path)


def test_the_next_process_reads_no_tree_and_says_the_same(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = version(FIRST), version("interp_assets_sample.analysis")
    monkeypatch.setattr(module, "FACTS", kept(package))
    monkeypatch.setattr(source_facts.ast, "parse", lambda *_: pytest.fail("a syntax tree was read again"))
    assert (version(FIRST), version("interp_assets_sample.analysis")) == before


def test_kept_facts_of_an_edited_file_are_not_used(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = version(FIRST)
    monkeypatch.setattr(module, "FACTS", kept(package))
    (package / "stats.py").write_text(STATS.replace("sum", "max"))
    assert version(FIRST) != before


def _cut(text: str) -> str:
    return text[:-40]


def _of_another_python(text: str) -> str:
    document = json.loads(text)
    document["facts"] = {key: ["0" * 64, [], {"first": "0" * 64}] for key in document["facts"]}
    return json.dumps({**document, "reader": "cpython-27"})


def _of_another_shape(text: str) -> str:
    document = json.loads(text)
    document["facts"] = {key: [None, [1], {}] for key in document["facts"]}
    return json.dumps(document)


@pytest.mark.parametrize("damage", [_cut, _of_another_python, _of_another_shape])
def test_damaged_facts_are_found_again(package: Path, monkeypatch: pytest.MonkeyPatch, damage) -> None:
    before = version(FIRST)
    monkeypatch.setattr(module, "FACTS", kept(package))
    module.FACTS.path.write_text(damage(module.FACTS.path.read_text()))
    assert version(FIRST) == before


def test_without_the_right_to_write_facts_are_done_without(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = package / "stats.py" / "below" / "source-facts.json"  # a file is no folder, for root as well
    monkeypatch.setattr(module, "FACTS", FactsFile(blocked))
    assert version(FIRST)
    module.FACTS.save()

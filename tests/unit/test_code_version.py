"""Code versions: what changes them, and what does not."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from interp_assets import code_version as module

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
    return folder


def version(source: str) -> str:
    for name in [name for name in sys.modules if name.startswith("interp_assets_sample")]:
        del sys.modules[name]
    importlib.invalidate_caches()
    caches = (module._source, module._read, module._definitions, module.modules_behind, module.code_version)
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

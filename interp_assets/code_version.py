"""Code versions from content: the syntax trees behind an asset, docstrings and comments left out.

Editing a docstring or a comment changes nothing; editing the function, or a project module that it imports,
changes the version of exactly the assets built on it.
"""

from __future__ import annotations

import hashlib
import importlib.util
from functools import cache
from pathlib import Path

from interp_assets.source_facts import FactsFile

PROJECT_PACKAGES = ("interp_assets", "qc_standards")
FACTS = FactsFile(Path(__file__).parent / "__pycache__" / "source-facts.json")


@cache
def _source(module: str) -> Path | None:
    """File of a project module, found by its path: asking the import system would import its parents."""
    top, *below = module.split(".")
    spec = importlib.util.find_spec(top)
    if spec is None or spec.origin is None:
        return None
    place = Path(spec.origin).parent.joinpath(*below)
    for file in (place.with_suffix(".py"), place / "__init__.py"):
        if file.is_file():
            return file
    return None


@cache
def _content(module: str) -> bytes:
    """Source of a module, read once a process."""
    path = _source(module)
    if path is None:
        raise ModuleNotFoundError(f"no source for module {module}")
    return path.read_bytes()


@cache
def _read(module: str) -> tuple[str, tuple[str, ...]]:
    """Hash of a module's syntax tree, and the project modules that it imports."""
    facts = FACTS.of(_content(module), PROJECT_PACKAGES)
    return facts.tree, tuple(name for name in facts.imports if name != module and _source(name) is not None)


@cache
def modules_behind(module: str) -> frozenset[str]:
    """Project modules reachable from ``module`` by imports, itself included."""
    seen: set[str] = set()
    todo = [module]
    while todo:
        name = todo.pop()
        if name in seen or _source(name) is None:
            continue
        seen.add(name)
        todo.extend(_read(name)[1])
    return frozenset(seen)


def _own_definitions(module: str, function: str) -> str:
    """Hash of the top-level statements of ``module`` that ``function`` needs, found by the names they use."""
    found = FACTS.uses(_content(module), PROJECT_PACKAGES, function)
    if found is None:
        raise ModuleNotFoundError(f"module {module} defines no {function}")
    return found


@cache
def code_version(*sources: str) -> str:
    """First 16 hex digits of a sha256 over the code behind ``sources``.

    A source is a module, or ``module:function``; then only the definitions of that module which the function
    uses count, so that two analyses may share a file. Project modules imported by either count as a whole.

    Raises
    ------
    ModuleNotFoundError
        When a named module or function does not exist: a version of nothing would never change.
    """
    lines: list[str] = []
    behind: set[str] = set()
    for source in sources:
        module, _, function = source.partition(":")
        if _source(module) is None:
            raise ModuleNotFoundError(f"no source for module {module}")
        reachable = modules_behind(module)
        if function:
            lines.append(f"{source} {_own_definitions(module, function)}")
            reachable -= {module}
        behind |= reachable
    lines.extend(f"{name} {_read(name)[0]}" for name in sorted(behind))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]

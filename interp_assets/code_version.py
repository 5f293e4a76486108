"""Code versions from content: the syntax trees behind an asset, docstrings and comments left out.

Editing a docstring or a comment changes nothing; editing the function, or a project module that it imports,
changes the version of exactly the assets built on it.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
from collections.abc import Iterable
from functools import cache
from pathlib import Path

PROJECT_PACKAGES = ("interp_assets", "qc_standards")


class _WithoutDocstrings(ast.NodeTransformer):
    """Drops the leading string of modules, classes and functions."""

    def _strip(self, node: ast.AST) -> ast.AST:
        self.generic_visit(node)
        match getattr(node, "body", None):
            case [ast.Expr(value=ast.Constant(value=str())), *rest]:
                node.body = rest or [ast.Pass()]  # type: ignore[attr-defined]
        return node

    visit_Module = visit_ClassDef = visit_FunctionDef = visit_AsyncFunctionDef = _strip  # noqa: N815


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
def _read(module: str) -> tuple[str, tuple[str, ...]]:
    """Hash of a module's syntax tree, and the project modules that it imports; both read once a process."""
    path = _source(module)
    if path is None:
        raise ModuleNotFoundError(f"no source for module {module}")
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imports = tuple(dict.fromkeys(_imported(tree, module)))
    return hashlib.sha256(ast.dump(_WithoutDocstrings().visit(tree)).encode()).hexdigest(), imports


def _imported(tree: ast.Module, module: str) -> Iterable[str]:
    """Project modules that ``tree`` imports anywhere, also inside functions (heavy imports live there)."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            if name.split(".")[0] in PROJECT_PACKAGES and name != module and _source(name) is not None:
                yield name


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


@cache
def _definitions(module: str) -> dict[str, list[ast.stmt]]:
    """Top-level statements of a module, docstrings left out, by the names they bind."""
    path = _source(module)
    if path is None:
        raise ModuleNotFoundError(f"no source for module {module}")
    tree = _WithoutDocstrings().visit(ast.parse(path.read_text(encoding="utf-8")))
    defined: dict[str, list[ast.stmt]] = {}
    for statement in tree.body:
        for name in _names_bound(statement):
            defined.setdefault(name, []).append(statement)
    return defined


def _own_definitions(module: str, function: str) -> str:
    """Dump of the top-level statements of ``module`` that ``function`` needs, found by the names they use."""
    defined = _definitions(module)
    if function not in defined:
        raise ModuleNotFoundError(f"module {module} defines no {function}")
    needed: dict[str, list[ast.stmt]] = {}
    todo = [function]
    while todo:
        name = todo.pop()
        if name in needed or name not in defined:
            continue
        needed[name] = defined[name]
        used = (node for statement in defined[name] for node in ast.walk(statement))
        todo.extend(node.id for node in used if isinstance(node, ast.Name))
    return "\n".join(f"{name} {[ast.dump(statement) for statement in needed[name]]}" for name in sorted(needed))


def _names_bound(statement: ast.stmt) -> tuple[str, ...]:
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return (statement.name,)
    if isinstance(statement, ast.Assign | ast.AnnAssign | ast.AugAssign):
        stored = (node for node in ast.walk(statement) if isinstance(node, ast.Name))
        return tuple(node.id for node in stored if isinstance(node.ctx, ast.Store))
    return ()


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

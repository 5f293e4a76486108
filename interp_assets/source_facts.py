"""What the syntax of source files says, docstrings and comments left out, kept beside Python's compiled files.

Reading every syntax tree of the project takes seconds, and each process that loads the code location needs all of them.
Facts are filed under the hash of the file's content, so that an edited file has none. The file that keeps them is
derived data, as trusted as the compiled files beside it: one that is damaged, of another Python, or cannot be written
costs time and changes nothing.
"""

from __future__ import annotations

import ast
import atexit
import hashlib
import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from interp_assets.storage import write_bytes

MOST_FILES = 3000  # old contents are dropped all at once beyond this


class _WithoutDocstrings(ast.NodeTransformer):
    """Drops the leading string of modules, classes and functions."""

    def _strip(self, node: ast.AST) -> ast.AST:
        self.generic_visit(node)
        match getattr(node, "body", None):
            case [ast.Expr(value=ast.Constant(value=str())), *rest]:
                node.body = rest or [ast.Pass()]  # type: ignore[attr-defined]
        return node

    visit_Module = visit_ClassDef = visit_FunctionDef = visit_AsyncFunctionDef = _strip  # noqa: N815


@dataclass(slots=True)
class SourceFacts:
    """Facts of one file: hash of its tree, modules it may import, hash of what each asked definition uses.

    ``imports`` are names as written, whether or not a module of that name exists. ``uses`` fills as it is asked.
    """

    tree: str
    imports: tuple[str, ...]
    uses: dict[str, str] = field(default_factory=dict)


class FactsFile:
    """Facts by content hash, read from ``path`` at first use and written when the process ends."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._kept: dict[str, SourceFacts] | None = None
        self._trees: dict[str, ast.Module] = {}
        self._new = False

    def of(self, source: bytes, packages: tuple[str, ...]) -> SourceFacts:
        """Facts of a file with this content; ``packages`` are the packages whose imports count."""
        digest = _digest(source, packages)
        kept = self._facts()
        if digest not in kept:
            tree = self._tree(digest, source)
            kept[digest] = SourceFacts(
                tree=hashlib.sha256(ast.dump(tree).encode()).hexdigest(),
                imports=tuple(dict.fromkeys(_imported(tree, packages))),
            )
            self._changed()
        return kept[digest]

    def uses(self, source: bytes, packages: tuple[str, ...], name: str) -> str | None:
        """Hash of the top-level statements that ``name`` needs, found by the names they use; None if not defined."""
        facts = self.of(source, packages)
        if name not in facts.uses:
            text = _used_by(self._tree(_digest(source, packages), source), name)
            if text is None:
                return None
            facts.uses[name] = hashlib.sha256(text.encode()).hexdigest()
            self._changed()
        return facts.uses[name]

    def save(self) -> None:
        """Write what was found beside what others have written; without the right to write, do without."""
        if not self._new or self._kept is None:
            return
        kept = {**self._stored(), **self._kept}
        if len(kept) > MOST_FILES:
            kept = self._kept
        facts = {key: [item.tree, item.imports, item.uses] for key, item in sorted(kept.items())}
        try:
            self.path.parent.mkdir(exist_ok=True)
            write_bytes(self.path, json.dumps({"reader": _reader(), "facts": facts}).encode())
        except OSError:
            return
        self._new = False

    def _facts(self) -> dict[str, SourceFacts]:
        if self._kept is None:
            self._kept = self._stored()
        return self._kept

    def _stored(self) -> dict[str, SourceFacts]:
        try:
            document = json.loads(self.path.read_bytes())
            if document["reader"] != _reader():
                return {}
            return {key: _facts_of(item) for key, item in document["facts"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return {}

    def _tree(self, digest: str, source: bytes) -> ast.Module:
        if digest not in self._trees:
            self._trees[digest] = _WithoutDocstrings().visit(ast.parse(source))
        return self._trees[digest]

    def _changed(self) -> None:
        if not self._new:
            self._new = True
            atexit.register(self.save)


def _facts_of(item: Any) -> SourceFacts:
    tree, imports, uses = item
    if not (isinstance(tree, str) and all(isinstance(text, str) for text in (*imports, *uses, *uses.values()))):
        raise TypeError("facts of a source file hold text only")
    return SourceFacts(tree=tree, imports=tuple(imports), uses=dict(uses))


def _digest(source: bytes, packages: tuple[str, ...]) -> str:
    return hashlib.sha256(" ".join(packages).encode() + b"\0" + source).hexdigest()


def _reader() -> str:
    """What reads the trees: this Python, and this file."""
    own = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
    return f"{sys.implementation.cache_tag} {sys.version_info[2]} {own}"


def _imported(tree: ast.Module, packages: tuple[str, ...]) -> Iterable[str]:
    """Names of ``packages`` that a file imports anywhere, also inside functions (heavy imports live there)."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        yield from (name for name in names if name.split(".")[0] in packages)


def _used_by(tree: ast.Module, name: str) -> str | None:
    """Dump of the top-level statements that ``name`` needs, by the names they use; None where it is not defined."""
    defined: dict[str, list[ast.stmt]] = {}
    for statement in tree.body:
        for bound in _names_bound(statement):
            defined.setdefault(bound, []).append(statement)
    if name not in defined:
        return None
    needed: dict[str, list[ast.stmt]] = {}
    todo = [name]
    while todo:
        wanted = todo.pop()
        if wanted in needed or wanted not in defined:
            continue
        needed[wanted] = defined[wanted]
        used = (node for statement in defined[wanted] for node in ast.walk(statement))
        todo.extend(node.id for node in used if isinstance(node, ast.Name))
    return "\n".join(f"{wanted} {[ast.dump(statement) for statement in needed[wanted]]}" for wanted in sorted(needed))


def _names_bound(statement: ast.stmt) -> tuple[str, ...]:
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return (statement.name,)
    if isinstance(statement, ast.Assign | ast.AnnAssign | ast.AugAssign):
        stored = (node for node in ast.walk(statement) if isinstance(node, ast.Name))
        return tuple(node.id for node in stored if isinstance(node.ctx, ast.Store))
    return ()

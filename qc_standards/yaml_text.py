"""YAML as plain values: one document without aliases, without a key twice, and no deeper than a person would write.

What belongs here: what any YAML file of a person must keep before its reader looks at it. What does not: what its keys
mean. The compiled reader is used where there is one; it composes by recursion in C, so that depth is checked first.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Final

import yaml

DEEPEST: Final = 60
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class RefusedYamlError(yaml.MarkedYAMLError):
    """YAML that is well formed and refused: an alias, a key twice, nested too deeply, a value that is none."""


def plain_yaml(text: str | bytes) -> Any:
    """Mappings, lists and scalars of one YAML document; no tag makes an object.

    Raises
    ------
    yaml.YAMLError
        Where the text is no YAML, or breaks a rule (`RefusedYamlError`); the error names line and column. No other
        error comes out of any text.
    """
    try:
        _check_shape(text)
        return yaml.load(text, Loader=_PlainLoader)  # noqa: S506 (a SafeLoader)
    except (ArithmeticError, RecursionError, ValueError) as error:
        raise RefusedYamlError(None, None, _one_line(error)) from error


def yaml_nodes(text: str) -> yaml.Node | None:
    """Nodes of one YAML document with their lines, under the same rules but that of keys; None where it is empty.

    Raises
    ------
    yaml.YAMLError
        As `plain_yaml`.
    """
    try:
        _check_shape(text)
        return yaml.compose(text, Loader=yaml.SafeLoader)
    except (RecursionError, ValueError) as error:
        raise RefusedYamlError(None, None, _one_line(error)) from error


def _check_shape(text: str | bytes) -> None:
    """Refuse aliases, which repeat a part any number of times, and depth that a recursive reader does not survive."""
    depth = 0
    for event in yaml.parse(text, Loader=_LOADER):
        mark: Any = event.start_mark
        if isinstance(event, yaml.AliasEvent):
            told = f"alias *{event.anchor} is not read; write out what it stands for"
            raise RefusedYamlError(None, None, told, mark)
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise RefusedYamlError(None, None, f"nested deeper than {DEEPEST} levels", mark)


class _PlainLoader(_LOADER):  # type: ignore[misc]
    """Safe loader that refuses a key written twice; plain YAML keeps the last one in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        content: dict[Hashable, Any] = super().construct_mapping(node, deep=True)
        if len(content) < len(node.value):
            keys = [self.construct_object(key, deep=True) for key, _ in node.value]
            repeated = ", ".join(sorted({str(key) for key in keys if keys.count(key) > 1}))
            raise RefusedYamlError(None, None, f"key written twice: {repeated}", node.start_mark)
        return content


def _one_line(error: Exception) -> str:
    return f"a value cannot be read: {' '.join(str(error).split())}"

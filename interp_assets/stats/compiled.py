"""Compilation of plain loops to machine code, typed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F) -> F:
    """The same function as machine code; compiled at its first call and kept on disk beside the module."""
    return cast(F, numba.njit(cache=True)(function))

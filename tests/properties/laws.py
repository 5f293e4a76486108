"""Laws that hold for every example hypothesis draws, said to the page on reliability with the number of examples run.

`law` is for properties of numbers, `reader` for files that are read or refused; see ``tally`` in ``tests/conftest.py``.
SOAK of the environment multiplies the number of examples. Examples are the same in every run of one SOAK.
"""

from __future__ import annotations

import inspect
import os
from collections import Counter
from collections.abc import Callable
from functools import wraps
from typing import Any

from hypothesis import HealthCheck, settings

SOAK = int(os.environ.get("SOAK") or 1)
REFUSED = "refused"


def law(what: str, examples: int = 100) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a ``@given`` test a law of numbers, tried on ``examples`` x SOAK examples."""
    return _tallied("property", what, examples)


def reader(what: str, examples: int = 100) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a ``@given`` test an attempt to break a reader; the test returns `REFUSED` where the reader did refuse."""
    return _tallied("reader", what, examples)


def _tallied(kind: str, what: str, examples: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    def decorate(test: Any) -> Callable[..., None]:
        inner, ended = test.hypothesis.inner_test, Counter[str]()

        @wraps(inner)
        def counted(*args: Any, **kwargs: Any) -> None:
            ended[inner(*args, **kwargs) or "right"] += 1

        test.hypothesis.inner_test = counted
        tried = settings(
            max_examples=examples * SOAK,
            derandomize=True,
            deadline=None,
            suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
        )(test)

        def run(tally: Callable[..., None], **fixtures: Any) -> None:
            ended.clear()
            tried(**fixtures)
            for outcome, times in ended.items():
                tally(kind, what, outcome, times)

        signature = inspect.signature(tried)
        wanted = [inspect.Parameter("tally", inspect.Parameter.KEYWORD_ONLY)]
        wanted += [part.replace(kind=inspect.Parameter.KEYWORD_ONLY) for part in signature.parameters.values()]
        run.__signature__ = signature.replace(parameters=wanted, return_annotation=None)
        run.__name__, run.__doc__, run.__module__ = test.__name__, test.__doc__, test.__module__
        return run

    return decorate

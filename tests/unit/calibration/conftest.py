"""Results of a calibration as they are stored, made up number by number."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import pytest

from interp_assets.calibration.run import COLUMNS


class Results:
    """A long table that grows by worlds; every list has one entry a seed."""

    def __init__(self) -> None:
        self.lines: list[tuple[object, ...]] = []

    def criterion(self, world: str, name: str, outcomes: Sequence[str]) -> Results:
        self.lines += [(world, seed, "criterion", name, o, float("nan"), "") for seed, o in enumerate(outcomes)]
        return self

    def part(self, world: str, name: str, outcomes: Sequence[str], values: Sequence[float]) -> Results:
        pairs = zip(outcomes, values, strict=True)
        self.lines += [(world, seed, "part", name, o, v, "") for seed, (o, v) in enumerate(pairs)]
        return self

    def test(self, world: str, name: str, p: Sequence[float]) -> Results:
        self.lines += [(world, seed, "test", name, "", value, "") for seed, value in enumerate(p)]
        return self

    def fact(self, world: str, **values: float) -> Results:
        self.lines += [(world, 0, "fact", name.replace("__", " "), "", v, "") for name, v in values.items()]
        return self

    @property
    def frame(self) -> pd.DataFrame:
        return pd.DataFrame(self.lines, columns=list(COLUMNS))


@pytest.fixture
def results() -> Results:
    """Empty results to add worlds to."""
    return Results()

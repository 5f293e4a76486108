"""What the platform knows of a release once its files are verified."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


class NothingToReadError(ValueError):
    """A release that cannot be read on a dataset, whatever its files hold: ``reason`` says why."""

    def __init__(self, dataset: str, reason: str) -> None:
        super().__init__(f"dataset {dataset}: {reason}")
        self.dataset = dataset
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseCard:
    """What the platform knows of the release under evaluation.

    ``kind`` is ``release``, ``positive_control`` or ``negative_control``; ``base`` is the release that a
    negative twin was made from. ``gap`` is the held-out gain over the best baseline, in the unit of the release's
    loss, None if it states none. ``trained_on`` names the datasets whose cells the release was trained on.
    """

    name: str
    kind: str
    family: str
    base: str = ""
    release_id: str = ""
    folder: str = ""
    gap: float | None = None
    trained_on: tuple[str, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)

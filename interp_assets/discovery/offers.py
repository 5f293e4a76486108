"""What a source offers: one listed folder each, with the way to bring it in.

What belongs here: the record that folder and hub sources share, and the errors that tell a fetch that failed from a
release that breaks a rule. What does not: either source, or what is done with an offer (`watch`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from interp_assets.discovery.diff import Listed
from interp_assets.models.files.adding import Request, Take


class FetchError(RuntimeError):
    """Files that did not arrive, or not as their source states them; they are fetched again at the next look."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrived:
    """Files of a release on this disk, ready for `adding.add_release`; ``leftover`` is removed once it is added."""

    folder: Path
    request: Request
    take: Take
    leftover: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """One folder of a source, and the way to its files.

    ``fetch`` raises `FetchError` or OSError where it is worth another try. ``failure`` is a fetch that failed while the
    folder was only being identified.
    """

    listed: Listed
    fetch: Callable[[], Arrived]
    failure: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What a source offers at one commit; a folder has a single batch without a commit."""

    commit: str
    offers: tuple[Offer, ...]


def in_a_line(error: BaseException) -> str:
    """Message of an error in one line of at most 400 signs."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 400 else f"{text[:397]}..."

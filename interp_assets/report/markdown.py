"""Lines of Markdown tables; what stands in a cell is text and never markup."""

from __future__ import annotations

from collections.abc import Sequence

from interp_assets.figures.wording import plain

__all__ = ["header", "line", "plain"]


def header(titles: Sequence[str]) -> list[str]:
    """The two lines that open a table."""
    return [line(titles), line(["---"] * len(titles))]


def line(cells: Sequence[str]) -> str:
    """One line of a table.

    >>> print(line(["a", "<i>"]))
    | a | &lt;i> |
    """
    return "| " + " | ".join(plain(cell) for cell in cells) + " |"

"""Marks of published values by the id they have in the registry of published numbers, so that none is typed twice."""

from __future__ import annotations

from dataclasses import replace

from interp_assets.figures.records import Mark
from qc_standards.published import signatures


def printed(series: str, signature_id: str, x: float | None = None) -> Mark:
    """Published number as a mark of one part of a picture; ``x`` is its place on a numeric horizontal axis.

    Raises
    ------
    ValueError
        For an id that the registry does not hold, or one whose printed value is no single number.
    """
    for each in signatures():
        if each.id == signature_id:
            try:
                value = float(each.value)
            except ValueError as odd:
                raise ValueError(f"{signature_id} ({each.name}) is printed as {each.value!r}; mark one number") from odd
            return Mark(series=series, value=value, model=each.model, dataset=each.dataset, x=x)
    raise ValueError(f"no published number {signature_id!r}; see qc_standards/registry/signatures.csv")


def changed(series: str, signature_id: str, from_id: str) -> Mark:
    """Difference of two published numbers, for a picture of changes where the paper prints both ends."""
    mark = printed(series, signature_id)
    return replace(mark, value=round(mark.value - printed(series, from_id).value, 10))


def turned(mark: Mark) -> Mark:
    """The same difference the other way round, for a picture that subtracts what the paper subtracts from."""
    return replace(mark, value=-mark.value)

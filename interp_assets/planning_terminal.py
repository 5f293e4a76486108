"""The plan of a study on the terminal, readable at 80 columns: files, datasets, estimates, rows without a role."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from interp_assets.planning import FilePlan, StudyPlan

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_STATES = {"here": "green", "missing": "red", "to be supplied": "yellow"}


def print_plan(console: Console, plan: StudyPlan) -> None:
    """Print a plan; nothing in it is markup."""
    from rich.text import Text

    console.print(Text.assemble((plan.study, "bold"), f": {plan.title}"))
    for table in (_files(plan), _datasets(plan), _estimates(plan)):
        console.print()
        console.print(table)
    console.print()
    for line in (*_closing(plan), *plan.notes):
        console.print(Text(f"- {line}"))


def size_words(size: int, size_is: str) -> str:
    """Size of a file in words: ``1.55 GB``, ``about 0.47 GB``, ``not known``."""
    if not size:
        return "not known"
    scaled = next(
        (f"{size / unit:.3g} {name}" for unit, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")) if size >= unit), ""
    )
    return f"{'about ' if size_is == 'rough' else ''}{scaled or f'{size} B'}"


def _table(title: str, *columns: str) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(title), title_justify="left", box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    for name in columns:
        table.add_column(name, overflow="fold")
    return table


def _files(plan: StudyPlan) -> Table:
    from rich.text import Text

    table = _table("Files", "file", "size", "from", "state", "hash")
    for item in plan.files:
        table.add_row(
            Text(item.file),
            size_words(item.size, item.size_is),
            Text(_from(item)),
            Text(item.state, style=_STATES[item.state]),
            Text(item.hash),
        )
    return table


def _from(item: FilePlan) -> str:
    """Where a file comes from; of a host only the name people know it by."""
    return ".".join(item.address.split("/")[2].split(".")[-2:]) if item.origin == "download" else item.origin


def _datasets(plan: StudyPlan) -> Table:
    from rich.text import Text

    table = _table("Datasets", "dataset", "roles", "cells", "attended", "genes", "modality")
    for row in plan.datasets:
        disputed = " (disputed)" if row.disputed else ""
        table.add_row(
            Text(row.dataset),
            Text(", ".join(row.roles)),
            f"{row.cells:,}" if row.cells else "?",
            f"{row.attended_cells:,}" if row.attended_cells else "?",
            f"{row.genes:,}" if row.genes else "panel",
            Text(f"{row.modality}{disputed}"),
        )
    return table


def _estimates(plan: StudyPlan) -> Table:
    from rich.text import Text

    table = _table("Estimates, not measurements", "what", "about", "how it is estimated")
    for item in plan.estimates:
        table.add_row(Text(item.what), f"{_number(item.value)} {item.unit}", Text(item.formula))
    return table


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2g}"


def _closing(plan: StudyPlan) -> Iterator[str]:
    missing = [item for item in plan.files if item.state != "here"]
    free = f"{plan.free_bytes / 1e9:.0f} GB of disk free"
    yield f"{len(plan.files) - len(missing)} of {len(plan.files)} files here, {free}"
    here = [shape.name for shape in plan.releases if shape.here]
    yield f"releases found: {', '.join(here) or 'none'}"
    if plan.without_role:
        roles = sorted({role for empty in plan.without_role.values() for role in empty})
        yield (
            f"{len(plan.without_role)} of {plan.rows} rows have no role here and will be skipped "
            f"({', '.join(roles)}): {', '.join(plan.without_role)}"
        )
    else:
        yield f"all {plan.rows} rows have a role here"

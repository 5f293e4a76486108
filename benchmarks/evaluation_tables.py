"""Seconds of a finished evaluation in markdown: by part of it, and by function with a straightforward twin.

What belongs here: how they are told. What does not: measuring them (`benchmarks.evaluation`).
"""

from __future__ import annotations

from typing import Any

TABLES_SAY = (
    "Seconds of the processor of one run in one process. The straightforward way is extrapolated: of the calls of each "
    "function some parts (draws, rows, folds, cells, conditions) were done both ways and compared. What has no twin "
    "counts alike on both sides; cross-fits of boosted trees are the same library on both."
)


def tables(whole: dict[str, Any]) -> str:
    """Seconds by part of the evaluation and by function, in markdown."""
    return "\n\n".join([stage_table(whole["stages"]), function_table(whole["functions"])])


def stage_table(stages: list[dict[str, Any]]) -> str:
    """One row a part of the evaluation, and one for all."""
    names = ("ours_s", "common_s", "theirs_s")
    every = [*stages, {"stage": "**all**", **{name: sum(stage[name] for stage in stages) for name in names}}]
    lines = [
        "| part of the evaluation | ours, s | of it without a twin, s | straightforward, s | ratio |",
        "|---|---:|---:|---:|---:|",
    ]
    for stage in every:
        ratio = f"{stage['theirs_s'] / stage['ours_s']:.1f}" if stage["ours_s"] > 0 else "-"
        numbers = " | ".join(f"{stage[name]:,.1f}" for name in names)
        lines.append(f"| {stage['stage']} | {numbers} | {ratio} |")
    return "\n".join(lines)


def function_table(functions: list[dict[str, Any]]) -> str:
    """One row a function with a twin, the longest twin first."""
    lines = [
        "| function | topic | calls | ours, s | straightforward, s | extrapolated from | largest difference |",
        "|---|---|---:|---:|---:|---|---:|",
    ]
    for each in functions:
        name = each["function"].removeprefix("interp_assets.").replace(":", ".")
        parts = f"{each['parts_done']:,} of {each['parts']:,} parts of {each['calls_done']:,} calls"
        lines.append(
            f"| `{name}` | {each['topic']} | {each['calls']:,} | {each['ours_s']:.1f} | {each['theirs_s']:,.1f} | "
            f"{parts} | {each['largest_difference']:.1g} |"
        )
    return "\n".join(lines)

"""Tables of ``results.json`` as they stand in ``docs/performance.md``, between two marks."""

from __future__ import annotations

import pathlib

from benchmarks.evaluation_tables import TABLES_SAY, tables
from benchmarks.results import Record

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"


def write(path: pathlib.Path, results: Record) -> None:
    """Replace what stands between the marks of a page.

    Raises
    ------
    ValueError
        Where the page has no such marks.
    """
    page = path.read_text(encoding="utf-8")
    head, begin, rest = page.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{path}: no lines {BEGIN} and {END} to write between")
    path.write_text(f"{head}{BEGIN}\n{measured_part(results)}\n{END}{tail}", encoding="utf-8")


def measured_part(results: Record) -> str:
    """Machine, goals met and missed, and every table."""
    if "measured" not in results:
        return "Nothing was measured yet: `make bench`."
    parts = [machine_line(results), goals_line(results)]
    if results["paths"]:
        parts += ["### Against what would be run instead", path_table(results["paths"])]
        parts += ["Missed:\n\n" + missed(results["paths"])] if missed(results["paths"]) else []
        parts += ["How well the two ways agree:\n\n" + agreements(results["paths"])]
    for each in results["paths"]:
        if "stages" in each:
            parts += [f"### {each['path'].capitalize()}", TABLES_SAY, tables(each)]
    if results["growth"]:
        parts += ["### Growth", *map(growth_table, results["growth"])]
    if results["times"]:
        parts += ["### Commands and imports", time_table(results["times"])]
        parts += ["Missed:\n\n" + missed(results["times"])] if missed(results["times"]) else []
    return "\n\n".join(parts)


def machine_line(results: Record) -> str:
    """Where and when; a page of several days says so."""
    here = results["measured"]
    days = sorted({each["date"] for name in ("paths", "growth", "times") for each in results[name]})
    when = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}" if days else here["date"]
    load = ", ".join(f"{each:g}" for each in here["load_average"])
    return (
        f"{when}; {here['processor']}, {here['cores']} cores, {here['memory_gib']} GiB, Python {here['python']}, "
        f"{here['threads']} thread; load average at the end {load} (1, 5, 15 minutes)."
    )


def goals_line(results: Record) -> str:
    """How many goals were met."""
    goals = [*results["paths"], *results["times"]]
    return f"**{sum(each['met'] for each in goals)} of {len(goals)} goals met.**"


def path_table(paths: list[Record]) -> str:
    """One row a path."""
    lines = [
        "| path | against | ratio, median [range] | goal | ours, s | theirs, s | ours, MiB | theirs, MiB |",
        "|---|---|---|---|---:|---:|---:|---:|",
    ]
    for each in paths:
        ratio = f"{number(each['ratio'])} [{number(each['low'])}-{number(each['high'])}]"
        share = "" if each["share"] == 1 else f" ({each['share']:.2g} of the work, scaled)"
        cells = [
            each["path"], each["against"] + share, ratio, goal_of(each), number(each["ours_s"]),
            number(each["theirs_s"]), mib(each["ours_mib"]), mib(each["theirs_mib"]),
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def goal_of(each: Record) -> str:
    """Goal and whether it is met."""
    return f"{each['better']} {each['goal']:g}: {'met' if each['met'] else '**missed**'}"


def missed(entries: list[Record]) -> str:
    """Missed goals, by how much, and why."""
    short = [each for each in entries if not each["met"]]
    got = [number(each["ratio"] if "ratio" in each else each["seconds"]) for each in short]
    return "\n".join(
        f"- {each['path']}: {had} for {each['goal']:g}. {each.get('why', '')}".rstrip()
        for each, had in zip(short, got, strict=True)
    )


def agreements(paths: list[Record]) -> str:
    """One line a path."""
    return "\n".join(f"- {each['path']}: {each['agreement']}" for each in paths)


def growth_table(each: Record) -> str:
    """Sizes of one curve."""
    head = f"**{each['path']}.** {each['promise']} Between the last two sizes, time grows with the power "
    lines = [
        f"{head}{each['exponent']:.2f}.",
        "",
        f"| {each['of']} | seconds | MiB beyond the data |",
        "|---:|---:|---:|",
    ]
    lines += [f"| {point['size']:,} | {number(point['seconds'])} | {mib(point['mib'])} |" for point in each["points"]]
    return "\n".join(lines)


def time_table(times: list[Record]) -> str:
    """One row a command."""
    lines = [
        "| what | seconds, median [range] | processor seconds | goal | heavy packages loaded |",
        "|---|---|---:|---|---|",
    ]
    for each in times:
        seconds = f"{number(each['seconds'])} [{number(each['low'])}-{number(each['high'])}]"
        goal = goal_of({**each, "better": "at most"})
        loads = ", ".join(each["loads"]) or "none"
        lines.append(f"| {each['path']} | {seconds} | {number(each['processor_s'])} | {goal} | {loads} |")
    return "\n".join(lines)


def in_short(record: Record) -> str:
    """One line for the screen while others are still measured."""
    if "points" in record:
        last = record["points"][-1]
        return f"{last['size']:,} {record['of']}: {number(last['seconds'])} s, {mib(last['mib'])} MiB"
    told = number(record["ratio"] if "ratio" in record else record["seconds"])
    return f"{told}, goal {record['goal']:g} {'met' if record['met'] else 'MISSED'}"


def number(value: float) -> str:
    """Three figures that count; no decimals from a hundred on."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def mib(value: float | None) -> str:
    """Whole MiB; a dash where the system does not tell."""
    return "-" if value is None else f"{max(value, 0):,.0f}"

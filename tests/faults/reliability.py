"""What was tried against the platform and how it ended, counted while tests run and written as one page.

    SOAK=20 python -m pytest -p tests.faults.reliability tests/faults tests/properties --reliability docs/reliability.md

Tests say each attempt through the fixture ``tally``. The page between its two marks is written only by a run without a
failure, so that it can hold no attempt that ended in anything else than it says.
"""

from __future__ import annotations

import os
import platform
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
ATTEMPT = "attempt"
HEADINGS = {"fault": "Faults", "property": "Properties", "reader": "Readers under fuzzing", "security": "Security"}
RIGHT, REFUSED = "right", "refused"


@dataclass(slots=True)
class Count:
    """Attempts at one thing, by how they ended, and the tests that made them."""

    right: int = 0
    refused: int = 0
    tests: set[str] = field(default_factory=set)


class Attempts:
    """Attempts of a session, from this process or from workers."""

    def __init__(self) -> None:
        self.counts: dict[str, dict[str, Count]] = defaultdict(lambda: defaultdict(Count))
        self.seconds = 0.0

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take what a test has said; pytest hands over the reports of workers in the same way."""
        self.seconds += report.duration
        if report.when != "call" or not report.passed:
            return
        for name, value in report.user_properties:
            if name == ATTEMPT:
                kind, what, ended, times = value
                count = self.counts[kind][what]
                setattr(count, ended, getattr(count, ended) + times)
                count.tests.add(report.nodeid.split("::")[0])

    def lines(self) -> Iterator[str]:
        """Page between the marks."""
        rounds = os.environ.get("SOAK", "1")
        yield (
            f"{datetime.now(UTC):%Y-%m-%d}, Python {platform.python_version()}, {platform.system()} "
            f"{platform.machine()}, {os.cpu_count()} cores, `SOAK={rounds}`: {self.seconds / 60:.0f} minutes of tests."
        )
        for kind, heading in HEADINGS.items():
            found = self.counts.get(kind)
            if found:
                yield from ("", f"### {heading}", "", *_table(sorted(found.items())))


def _table(rows: Iterable[tuple[str, Count]]) -> Iterator[str]:
    yield "| what was tried | attempts | right result | one clear error | tests |"
    yield "| --- | ---: | ---: | ---: | --- |"
    for what, count in rows:
        tests = ", ".join(f"`{name.removeprefix('tests/')}`" for name in sorted(count.tests))
        yield f"| {what} | {count.right + count.refused} | {count.right or ''} | {count.refused or ''} | {tests} |"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Name of the page."""
    parser.addoption("--reliability", metavar="PAGE", help="page whose measured part is written after the tests")


def pytest_configure(config: pytest.Config) -> None:
    """Count in the process that writes, not in its workers."""
    if config.getoption("--reliability") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Attempts(), "attempts")


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Write the page of a run without a failure."""
    attempts = session.config.pluginmanager.get_plugin("attempts")
    if attempts is None or exitstatus != pytest.ExitCode.OK:
        return
    page = Path(session.config.getoption("--reliability"))
    head, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    tail = rest.partition(END)[2]
    page.write_text("\n".join([f"{head}{BEGIN}", *attempts.lines(), f"{END}{tail}"]), encoding="utf-8")

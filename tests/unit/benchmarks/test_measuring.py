"""Two ways are timed against each other, a wrong answer has no ratio, and results and page say what was measured."""

from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks import growth, page, paired, results
from benchmarks.catalogue import Entry, entries


class Clock:
    """Processor seconds that pass only where a test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(paired, "_clock", lambda: self.now)

    def spend(self, *seconds: float):
        """Work that takes the first of these seconds, then the next, the last ever after."""
        left = list(seconds)

        def work() -> str:
            self.now += left.pop(0) if len(left) > 1 else left[0]
            return "done"

        return work


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


def path(name: str = "counting", ours=None, theirs=None, *, share: float = 1.0, **changes) -> paired.Path:
    ways = paired.Ways(ours=ours, theirs=theirs, agree=lambda one, other: f"{one} and {other}", share=share)
    return paired.Path(path=name, against="plain", ways=lambda: ways, **{"goal": 2.0, "rounds": 3} | changes)


def test_a_ratio_is_their_time_over_ours_median_of_the_rounds(clock):
    # the first call of each is compared, not timed
    found = paired.measure(path(ours=clock.spend(99, 1, 1, 2), theirs=clock.spend(99, 2, 5, 8)))
    assert (found.low, found.ratio, found.high) == (2.0, 4.0, 5.0)
    assert (found.ours_s, found.theirs_s, found.rounds) == (1.0, 5.0, 3)
    assert (found.met, found.agreement) == (True, "done and done")


@pytest.mark.parametrize(("goal", "met"), [(0.6, True), (0.4, False)])
def test_a_goal_of_at_most_holds_our_time_over_theirs(clock, goal, met):
    found = paired.measure(path(ours=clock.spend(1), theirs=clock.spend(2), goal=goal, better="at most"), 1)
    assert (found.ratio, found.met, found.rounds) == (0.5, met, 1)


def test_a_share_of_their_work_counts_as_the_whole(clock):
    found = paired.measure(path(ours=clock.spend(1), theirs=clock.spend(2), share=0.01))
    assert (found.theirs_s, found.ratio) == (200.0, 200.0)


def test_two_ways_that_disagree_have_no_ratio():
    wrong = paired.Path(
        path="wrong",
        against="the truth",
        goal=1.0,
        ways=lambda: paired.Ways(ours=lambda: 1, theirs=lambda: 2, agree=lambda a, b: np.testing.assert_equal(a, b)),
    )
    with pytest.raises(RuntimeError, match="AssertionError"):
        results.measured(Entry(module="test", what=wrong))


def test_memory_is_the_peak_beyond_the_data_of_a_process_of_its_own():
    data = np.ones(2_000_000)
    ways = lambda: paired.Ways(ours=lambda: data + data, theirs=lambda: data.sum(), agree=lambda *_: "")  # noqa: E731
    ours, theirs = paired.peak(ways, "ours"), paired.peak(ways, "theirs")
    assert ours == pytest.approx(data.nbytes / paired.MIB, abs=3)
    assert theirs == pytest.approx(0, abs=3)


def test_the_power_of_growth_is_that_of_the_last_two_sizes():
    points = [
        growth.Point(size=size, seconds=seconds, mib=None) for size, seconds in ((1, 9.0), (10, 2.0), (100, 200.0))
    ]
    assert growth.exponent(points) == pytest.approx(2.0)


def record(name: str, **changes) -> dict:
    own = {
        "path": name, "against": "plain", "ratio": 5.0, "low": 4.0, "high": 6.0, "goal": 2.0, "better": "at least",
        "met": True, "ours_s": 1.0, "theirs_s": 5.0, "share": 1.0, "rounds": 3, "ours_mib": 1.0, "theirs_mib": None,
        "agreement": "equal", "why": "", "date": "2026-01-02",
    }  # fmt: skip
    return own | changes


def test_what_was_not_asked_for_is_kept_and_what_failed_is_dropped():
    known = [Entry(module="test", what=path(name)) for name in ("one", "two", "three", "four")]
    before = {"paths": [record(name, ratio=1.0) for name in ("gone", "three", "two", "one")]}
    merged = results.merged(before, [record("two", ratio=9.0)], known[1:3], known)
    assert [(each["path"], each["ratio"]) for each in merged["paths"]] == [("one", 1.0), ("two", 9.0)]


def test_results_are_written_the_same_way_twice(tmp_path):
    whole = {"paths": [record("one", ratio=1 / 3)], "growth": [], "times": []}
    results.write(tmp_path / "a.json", whole)
    results.write(tmp_path / "b.json", results.read(tmp_path / "a.json"))
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert json.loads((tmp_path / "a.json").read_text())["paths"][0]["ratio"] == 0.3333


def test_a_missed_goal_is_on_the_page_with_its_reason():
    missed = record("slow", ratio=1.0, met=False, why="the other way is compiled too")
    told = page.measured_part(results.merged({}, [missed], [], [Entry(module="test", what=path("slow"))]))
    assert "**0 of 1 goals met.**" in told
    assert "at least 2: **missed**" in told
    assert "- slow: 1 for 2. the other way is compiled too" in told


def test_a_page_without_its_marks_is_left_alone(tmp_path):
    (tmp_path / "page.md").write_text("mine\n")
    with pytest.raises(ValueError, match="no lines"):
        page.write(tmp_path / "page.md", {"paths": []})
    assert (tmp_path / "page.md").read_text() == "mine\n"


def test_a_page_keeps_what_stands_around_its_marks(tmp_path):
    whole = results.merged({}, [record("one")], [], [Entry(module="test", what=path("one"))])
    (tmp_path / "page.md").write_text(f"before\n{page.BEGIN}\nold figures\n{page.END}\nafter\n")
    page.write(tmp_path / "page.md", whole)
    told = f"before\n{page.BEGIN}\n{page.measured_part(whole)}\n{page.END}\nafter\n"
    assert (tmp_path / "page.md").read_text() == told


def test_the_page_is_written_from_the_stored_results():
    told = (results.FOLDER.parent / "docs" / "performance.md").read_text(encoding="utf-8")
    assert f"{page.BEGIN}\n{page.measured_part(results.read(results.RESULTS))}\n{page.END}" in told


def test_every_result_is_measured_under_one_name_of_the_catalogue():
    names = [entry.name for entry in entries()]
    assert len(names) == len(set(names))
    stored = results.read(results.RESULTS)
    assert {record["path"] for kind in ("paths", "growth", "times") for record in stored[kind]} <= set(names)


def test_an_entry_is_asked_for_by_a_part_of_its_name_or_module():
    entry = Entry(module="nulls", what=path("Curveball, 200 networks"))
    assert [entry.asked(words) for words in ([], ["curveball"], ["other", "null"], ["other"])] == [
        True,
        True,
        True,
        False,
    ]

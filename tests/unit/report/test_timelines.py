"""Verdicts over time on the index: every kept judgement in order, in words and by form, hostile names as text."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pandas as pd
import pytest

from interp_assets.report.index import leaderboard, leaderboard_row, render_index
from interp_assets.report.timelines import JUDGEMENT_COLUMNS, MOST_SHOWN, stored_judgements, timelines
from interp_assets.storage import StorageError, canonical_json

EVIL = "<script>alert(1)</script>"
STATES = ("refuted", "inconclusive", "not evaluable", "supported")


def judged(release: str, states: tuple[str, ...]) -> list[dict]:
    outcomes = {f"criterion_{name}": "fail" for name in "abcd"}
    return [
        {
            "study": "demo",
            "release": release,
            "place": place,
            "snapshot": f"{release}-{place}",
            "state": state,
            "label": f"{state} here",
            "data_origin": "real",
            **outcomes,
        }
        for place, state in enumerate(states, 1)
    ]


@pytest.fixture
def judgements() -> pd.DataFrame:
    rows = [*judged(EVIL, STATES), *judged("steady", ("refuted", "refuted"))]
    return pd.DataFrame(rows, columns=list(JUDGEMENT_COLUMNS))


class Marks(HTMLParser):
    """Forms and words of the marks of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.forms: list[str] = []
        self.words: list[str] = []
        self._in_title = False

    def handle_starttag(self, tag: str, attrs: list) -> None:
        given = dict(attrs)
        if given.get("class") == "mark":
            self.forms.append(f"{tag} {'dashed' if 'stroke-dasharray' in given else 'full'}")
        self._in_title = tag == "title"

    def handle_data(self, data: str) -> None:
        if self._in_title and "judgement" in data:
            self.words.append(data)
        self._in_title = False


@pytest.fixture
def page(judgements: pd.DataFrame) -> str:
    board = leaderboard([leaderboard_row("demo", EVIL, {}), leaderboard_row("demo", "steady", {})])
    changes = pd.DataFrame(
        [{"study": "demo", "level": "verdict", "direction": "other", "sentence": "It moved.", "reading": "a new rule"}]
    ).assign(new_snapshot=f"{EVIL}-2")
    return render_index(board, None, changes, None, judgements)


def test_marks_stand_in_the_order_of_the_judgements(judgements: pd.DataFrame) -> None:
    shuffled = judgements.sample(frac=1.0, random_state=3)
    found = timelines(shuffled, [EVIL, "steady", "never judged"])
    assert [row.release for row in found.rows] == [EVIL, "steady"]
    assert [mark.state for mark in found.rows[0].marks] == list(STATES)
    assert [mark.changed for mark in found.rows[0].marks] == [False, True, True, True]
    assert [mark.changed for mark in found.rows[1].marks] == [False, False]
    places = [mark.x for mark in found.rows[0].marks]
    assert places == sorted(set(places))
    assert max(places) < found.width
    assert found.rows[1].y < found.height


def test_no_state_is_told_by_colour_alone(page: str) -> None:
    marks = Marks()
    marks.feed(page)
    assert len(set(marks.forms[: len(STATES)])) == len(STATES)
    assert [words.split(": ")[1].split(" here")[0] for words in marks.words[: len(STATES)]] == list(STATES)


def test_the_table_says_what_the_picture_says_and_why_it_changed(page: str) -> None:
    table = page[page.index('class="timeline-table"') :]
    table = table[: table.index("</table>")]
    words = [re.sub(r"<[^>]+>", " ", row) for row in re.findall(r"<tr>(.*?)</tr>", table, re.DOTALL)]
    own = [row for row in words if "alert(1)" in row]
    assert [next(state for state in STATES if f"{state} here" in row) for row in own] == list(STATES)
    assert ["a new rule" in row for row in own] == [False, True, False, False]
    assert "first judgement" in own[0]
    assert "(in force)" in own[-1]
    assert sum("(in force)" in row for row in words) == 2


def test_hostile_names_stay_text(page: str) -> None:
    assert "<script" not in page
    assert "&lt;script&gt;" in page


def test_a_long_history_shows_its_end_and_says_how_much_is_left_out() -> None:
    rows = pd.DataFrame(judged("r", ("refuted",) * (MOST_SHOWN + 2) + ("supported",)))
    (row,) = timelines(rows, ["r"]).rows
    assert row.earlier == 3
    assert len(row.marks) == MOST_SHOWN
    assert row.marks[-1].place == MOST_SHOWN + 3
    assert row.marks[-1].changed
    assert not row.marks[0].changed


def test_no_history_is_no_timeline(judgements: pd.DataFrame) -> None:
    assert timelines(judgements, ["another"]) is None
    assert "Verdicts over time" not in render_index(leaderboard([leaderboard_row("demo", "another", {})]))


def test_judgements_are_read_in_their_order_and_a_damaged_history_is_no_short_one(tmp_path) -> None:
    import hashlib

    folder = tmp_path / "history" / "demo" / "r"
    (folder / "snapshots").mkdir(parents=True)
    entries = []
    for state in ("refuted", "supported"):
        content = {
            "headline": "h",
            "claims": {"h": {"state": state, "label": f"{state}!"}},
            "criteria": {"a": {"outcome": "pass"}},
            "data_origin": "real",
        }
        text = canonical_json(content).encode()
        name = hashlib.sha256(text).hexdigest()[:16]
        (folder / "snapshots" / f"{name}.json").write_bytes(text)
        entries.append({"snapshot": name, "code": {}, "rejudged": {}})
    told = {"format": 1, "study": "demo", "release": "r", "entries": entries}
    (folder / "history.json").write_text(canonical_json(told))
    frame = stored_judgements(tmp_path, ["demo", "empty"])
    assert frame[["place", "state", "label"]].to_numpy().tolist() == [
        [1, "refuted", "refuted!"],
        [2, "supported", "supported!"],
    ]
    assert frame["criterion_a"].tolist() == ["pass", "pass"]
    assert frame["criterion_b"].tolist() == ["not evaluable", "not evaluable"]
    (folder / "snapshots" / f"{entries[0]['snapshot']}.json").unlink()
    with pytest.raises(StorageError, match="history"):
        stored_judgements(tmp_path, ["demo"])

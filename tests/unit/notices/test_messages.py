"""What is told, in which order, and that nothing in it can format, link or ping."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from interp_assets.notices.messages import (
    MOST_LINES,
    NoticeError,
    digest,
    quarantine_notices,
    transition_keys,
    verdict_notices,
)
from interp_assets.notices.outbox import key_of, notice_id
from interp_assets.notices.records import Minimum, Notice
from interp_assets.notices.slack import slack_message
from tests.unit.notices.changes import change, changes, held, many


def texts(message: dict[str, Any]) -> list[str]:
    """Every text object of a message, with its kind in front."""
    found = []
    for block in message["blocks"]:
        parts = [block["text"]] if "text" in block else block["elements"]
        found += [f"{part['type']} {part['text']}" for part in parts]
    return found


def notice(title: str = "title", *lines: str, **given: Any) -> Notice:
    covers = (key_of(title),)
    values: dict[str, Any] = {"kind": "verdict change", "level": "lost", "covers": covers, "id": notice_id(covers)}
    return Notice(title=title, lines=lines, **(values | given))


def test_one_message_a_release_and_study_with_the_verdict_first() -> None:
    frame = changes(
        change(1, level="standard", item="QCS-12", sentence="standard closed"),
        change(2, level="claim", item="c", direction="gained", sentence="claim gained"),
        change(3, level="claim", item="a", sentence="claim lost"),
        change(4, sentence="verdict lost"),
        change(5, study="bench", direction="gained", old="refuted", new="supported", sentence="better"),
    )
    lost, gained = verdict_notices(frame)
    assert lost.lines == ("verdict lost", "claim lost", "claim gained", "standard closed")
    assert lost.title == "model-b in demo: verdict refuted, was supported for model-a"
    assert (lost.level, lost.study, lost.release) == ("lost", "demo", "model-b")
    assert gained.level == "gained" and gained.title.startswith("model-b in bench: verdict supported")


def test_without_a_verdict_row_the_title_counts_what_changed() -> None:
    rows = [change(number, level="claim", item=str(number), compared_with="") for number in range(3)]
    rows.append(change(9, level="claim", item="9", direction="other", compared_with=""))
    (found,) = verdict_notices(changes(*rows))
    assert found.title == "model-b in demo: claims: 3 lost, 1 changed"


def test_a_single_change_is_named_and_decides_the_mark() -> None:
    claim = change(1, level="claim", item="adds", old="refuted", new="not evaluable", direction="other")
    (found,) = verdict_notices(changes(claim, change(2, level="criterion", item="b", direction="gained")))
    assert found.title == "model-b in demo: claim adds not evaluable, was refuted for model-a"
    assert found.level == "other"
    (found,) = verdict_notices(changes(claim, change(2, level="criterion", item="b", direction="lost")))
    assert found.level == "lost"


def test_a_minimum_of_lost_leaves_out_what_lost_nothing() -> None:
    frame = changes(
        change(1), change(2, release="other", direction="gained"), change(3, release="c", direction="other")
    )
    assert [found.release for found in verdict_notices(frame, "lost")] == ["model-b"]
    assert {found.level for found in verdict_notices(frame)} == {"lost", "gained", "other"}


def test_more_lines_than_a_person_reads_are_counted() -> None:
    (found,) = verdict_notices(changes(*(change(number, item=str(number)) for number in range(MOST_LINES + 7))))
    assert len(found.lines) == MOST_LINES + 1 and found.lines[-1].startswith("and 7 more")


def test_an_event_is_a_pair_of_snapshots_whatever_is_said_of_it() -> None:
    same = transition_keys(changes(change(1), change(2, level="claim", sentence="other words")))
    apart = transition_keys(changes(change(1), change(1, new_snapshot="3"), change(1, compared_with="")))
    assert same.nunique() == 1 and apart.nunique() == 3


def test_a_table_without_its_columns_is_an_error_and_an_empty_one_is_not() -> None:
    with pytest.raises(NoticeError, match=r"sentence.*materialise"):
        verdict_notices(changes(change()).drop(columns="sentence"))
    assert verdict_notices(changes()) == []


@pytest.mark.parametrize("minimum", ["lost", "any"])
@pytest.mark.parametrize("direction", ["?", "", "Lost"])
def test_a_direction_nobody_knows_is_an_error_and_never_below_the_minimum(direction: str, minimum: Minimum) -> None:
    with pytest.raises(NoticeError, match=rf"the direction {re.escape(repr(direction))}; known: lost, gained, other"):
        verdict_notices(changes(change(1), change(2, direction=direction)), minimum)


def test_a_quarantine_notice_says_reason_place_and_way_out() -> None:
    (own,) = quarantine_notices({"model-x": held()})
    assert own.level == "lost" and "layer 3 holds NaN" in own.lines[0] and "reason of its own" in own.lines[0]
    assert "planted|model-x" in own.lines[1] and "interp quarantine lift model-x" in own.lines[2]
    (machine,) = quarantine_notices({"model-x": held(kind="infrastructure")})
    assert "after all retries" in machine.lines[0] and "mend its files" not in machine.lines[2]
    (later,) = quarantine_notices({"model-x": held(since="2026-11-27T10:00:00+00:00")})
    assert later.id != own.id and machine.id == own.id


def test_a_digest_counts_and_lists_the_most_urgent_first() -> None:
    whole = [*verdict_notices(many(1000)), *verdict_notices(many(30, study="bench", direction="gained"))]
    whole += quarantine_notices({"model-x": held()})
    found = digest(whole)
    assert found.title.startswith("1031 notices at once: 1 in quarantine, 1000 with something lost, 30 with something")
    assert "(1001 releases, 2 studies)" in found.title
    assert (
        found.lines[0].startswith("model-x: put in quarantine")
        and found.lines[-1] == "and 1016 more in the leaderboard"
    )
    assert set(found.covers) == {key for part in whole for key in part.covers}


HOSTILE = "<!channel> <@U123> *bold* _it_ ~no~ `code` @here & <http://evil|click>\n\u202eesrever\x1b[31m"


def test_hostile_names_stay_text() -> None:
    message = slack_message(notice(HOSTILE, HOSTILE, release=HOSTILE))
    assert all(text.startswith("plain_text ") for text in texts(message))
    assert message["mrkdwn"] is False
    for text in (*texts(message), message["text"]):
        assert "<" not in text and ">" not in text
        assert "@here" not in text and "@U123" not in text and "\u202e" not in text and "\x1b" not in text
    bare = "".join(mark for mark in message["text"] if mark not in "\u2060")
    assert "*bold* _it_ ~no~ `code` @here &amp; &lt;http://evil|click&gt;" in bare
    assert "*bold" not in message["text"] and "`code" not in message["text"]


@pytest.mark.parametrize("mark", ["x", "&", "@", "<"])
def test_limits_of_the_receiver_hold_for_long_texts(mark: str) -> None:
    message = slack_message(notice(mark * 5000, *([mark * 5000] * 400)), link="https://results.example.org")
    assert len(message["blocks"]) <= 50 and len(message["text"]) <= 40_000
    assert len(message["blocks"][0]["text"]["text"]) <= 150
    assert all(len(block["text"]["text"]) <= 3000 for block in message["blocks"] if block["type"] == "section")
    assert "and " in json.dumps(message["blocks"][-3])


def test_a_link_is_filled_in_quoted_and_left_out_where_it_would_be_half_filled() -> None:
    link = "https://results.example.org/{study}/{release}/report.html"
    assert "org/demo/a%2Fb%3E%7C/report.html|Open" in json.dumps(
        slack_message(notice(study="demo", release="a/b>|"), link)
    )
    assert "example.org" not in json.dumps(slack_message(notice(), link))
    assert "results.example.org|Open" in json.dumps(slack_message(notice(), "https://results.example.org"))


def test_a_repeat_says_so() -> None:
    assert "may be a repeat" not in json.dumps(slack_message(notice()))
    assert "may be a repeat" in json.dumps(slack_message(notice(), repeated=True))

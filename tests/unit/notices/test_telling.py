"""Rounds of telling: once, again after a pause, as a digest, after a crash, and never with the secret on disk."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from interp_assets import quarantine
from interp_assets.notices import outbox as outboxes
from interp_assets.notices.outbox import BusyError, Entry, Outbox
from interp_assets.notices.records import NoticeSettings
from interp_assets.notices.sending import Answer, post
from interp_assets.notices.telling import (
    GIVE_UP_AFTER,
    MOST_MESSAGES,
    Round,
    again,
    events,
    preview,
    tell,
)
from tests.acceptance.receiver import receiver
from tests.unit.notices.changes import change, changes, held, many, write_changes

ANY = NoticeSettings(minimum="any")
TOLD, LATER = Answer(outcome="told", said="HTTP 200"), Answer(outcome="later", said="HTTP 503")
PROJECT = Path(__file__).resolve().parents[3]
# A daemon that is killed while the receiver has the message and the file does not say so yet.
SENDER = """
import sys, time
from pathlib import Path
from interp_assets.notices.records import NoticeSettings
from interp_assets.notices.sending import post
from interp_assets.notices.telling import tell
def send(*message):
    answer = post(*message)
    print("sent", flush=True)
    time.sleep(60)
    return answer
tell(Path(sys.argv[1]), NoticeSettings(minimum="any"), sys.argv[2], time.time, send)
"""


@dataclass
class Clock:
    """Time that passes when it is told to."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


class Receiver:
    """A receiver without a network: answers in turn (the last one for ever), and keeps what it was sent."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers) or [TOLD]
        self.sent: list[tuple[str, dict[str, Any]]] = []

    def __call__(self, address: str, message: dict[str, Any], notice: str) -> Answer:
        self.sent.append((notice, message))
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def told(store: Path, send: Callable[..., Answer], clock: Clock, settings: NoticeSettings = ANY) -> Round:
    return tell(store, settings, "http://nowhere.example", clock, send)


def states(store: Path) -> list[str]:
    return sorted(entry.state for entry in Outbox(store).entries()[0])


def test_every_event_is_told_once(tmp_path: Path) -> None:
    write_changes(tmp_path, changes(change(1), change(2, release="c", level="claim")))
    quarantine.write(tmp_path, held())
    clock, send = Clock(), Receiver()
    assert len(told(tmp_path, send, clock).told) == 3
    assert told(tmp_path, send, clock) == Round()
    write_changes(tmp_path, changes(change(1, sentence="in other words"), change(3, new_snapshot="3" * 16)))
    (entry,) = told(tmp_path, send, clock).told
    assert entry.notice.lines == ("sentence 3",) and len(send.sent) == 4


def test_a_release_put_in_quarantine_again_is_told_again(tmp_path: Path) -> None:
    clock, send = Clock(), Receiver()
    for since in ("2026-01-01T00:00:00+00:00", "2026-01-02T00:00:00+00:00"):
        quarantine.write(tmp_path, held(since=since))
        assert len(told(tmp_path, send, clock).told) == 1
        quarantine.lift(tmp_path, "model-x")
        assert not told(tmp_path, send, clock).told


def test_an_empty_store_is_no_error(tmp_path: Path) -> None:
    assert told(tmp_path / "absent", Receiver(), Clock()) == Round()


def test_a_storm_is_one_digest_and_told_once(tmp_path: Path) -> None:
    write_changes(tmp_path, many(1000))
    clock, send = Clock(), Receiver()
    (entry,) = told(tmp_path, send, clock).told
    assert entry.notice.kind == "digest" and len(entry.notice.covers) == 1000 and len(send.sent) == 1
    assert told(tmp_path, send, clock) == Round() and len(list((tmp_path / ".notices").glob("*.json"))) == 1


def test_a_receiver_that_is_down_is_asked_less_and_less_and_nothing_is_lost(tmp_path: Path) -> None:
    write_changes(tmp_path, changes(change(1)))
    clock, send = Clock(), Receiver(LATER, LATER, LATER, TOLD)
    for pause in (15, 30, 60):
        found = told(tmp_path, send, clock)
        assert found.problems and found.due == clock.now + pause
        clock.now = found.due - 1
        write_changes(tmp_path, changes(change(1), change(2, release="c")))
        waits = told(tmp_path, send, clock)
        assert not waits.told and waits.due == found.due
        write_changes(tmp_path, changes(change(1)))
        clock.now = found.due
        # The other message is tried first from here on, so let it be told to look at the first alone.
        for entry in Outbox(tmp_path).entries()[0]:
            if entry.notice.release == "c":
                Outbox(tmp_path).write(replace(entry, state="told"))
    assert len(told(tmp_path, send, clock).told) == 1 and len(send.sent) == 4


def test_a_message_the_receiver_cannot_digest_holds_no_other_back(tmp_path: Path) -> None:
    write_changes(tmp_path, changes(*(change(number, release=name) for number, name in enumerate("abc"))))
    clock = Clock()

    def send(address: str, message: dict[str, Any], notice: str) -> Answer:
        return LATER if "a in demo" in message["text"] else TOLD

    for _ in range(2):
        found = told(tmp_path, send, clock)
        clock.now = found.due or clock.now
    assert states(tmp_path) == ["told", "told", "waiting"]


def test_a_pause_the_receiver_asks_for_is_kept(tmp_path: Path) -> None:
    write_changes(tmp_path, changes(change(1)))
    clock, send = Clock(), Receiver(replace(LATER, wait=240.0), TOLD)
    assert told(tmp_path, send, clock).due == 1240
    clock.now = 1239
    assert not told(tmp_path, send, clock).told and len(send.sent) == 1
    clock.now = 1240
    assert len(told(tmp_path, send, clock).told) == 1


def test_what_waits_joins_the_digest_of_a_storm(tmp_path: Path) -> None:
    write_changes(tmp_path, changes(change(1, release="first")))
    clock, send = Clock(), Receiver(LATER, TOLD)
    told(tmp_path, send, clock)
    write_changes(tmp_path, changes(change(1, release="first"), *many(MOST_MESSAGES).to_dict("records")))
    clock.now += 1000
    (entry,) = told(tmp_path, send, clock).told
    assert entry.notice.kind == "digest" and len(entry.notice.covers) == MOST_MESSAGES + 1
    assert states(tmp_path) == ["told"] and told(tmp_path, send, clock) == Round()


def test_a_digest_cut_off_while_it_took_over_tells_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_changes(tmp_path, changes(change(1, release="first")))
    clock, send = Clock(), Receiver(LATER, TOLD)
    told(tmp_path, send, clock)
    write_changes(tmp_path, changes(change(1, release="first"), *many(MOST_MESSAGES).to_dict("records")))

    removed = Path.unlink

    def cut_off(self: Path, missing_ok: bool = False) -> None:
        if self.parent.name == outboxes.FOLDER and not self.name.startswith("."):
            raise KeyboardInterrupt
        removed(self, missing_ok=missing_ok)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Path, "unlink", cut_off)
        told(tmp_path, send, clock)
    clock.now += 1000
    assert [entry.notice.kind for entry in told(tmp_path, send, clock).told] == ["digest"]
    assert told(tmp_path, send, clock).told == () and len(send.sent) == 2


def test_a_refused_message_is_kept_and_sent_again_by_hand(tmp_path: Path) -> None:
    write_changes(tmp_path, changes(change(1)))
    clock, send = Clock(), Receiver(Answer(outcome="refused", said="HTTP 404"), TOLD)
    found = told(tmp_path, send, clock)
    assert [entry.answer for entry in found.untold] == ["HTTP 404"] and "HTTP 404" in found.problems[0]
    assert told(tmp_path, send, clock) == Round() and len(send.sent) == 1
    assert again(tmp_path) == 1
    assert len(told(tmp_path, send, clock).told) == 1


def test_a_receiver_that_is_gone_for_a_week_is_given_up(tmp_path: Path) -> None:
    write_changes(tmp_path, changes(change(1)))
    clock, send = Clock(), Receiver(LATER)
    told(tmp_path, send, clock)
    clock.now += GIVE_UP_AFTER + 1
    assert [entry.state for entry in told(tmp_path, send, clock).untold] == ["given up"]


def test_below_the_minimum_nothing_is_told_now_or_later(tmp_path: Path) -> None:
    write_changes(tmp_path, many(30, direction="gained"))
    quarantine.write(tmp_path, held())
    clock, send = Clock(), Receiver()
    found = told(tmp_path, send, clock, NoticeSettings(minimum="lost"))
    assert [entry.notice.kind for entry in found.told] == ["quarantine"]
    assert told(tmp_path, send, clock, ANY) == Round() and states(tmp_path) == ["passed over", "told"]


def test_damaged_changes_hold_nothing_else_back(tmp_path: Path) -> None:
    quarantine.write(tmp_path, held())
    (tmp_path / "verdict_changes.parquet").write_bytes(b"PAR1 no")
    found = told(tmp_path, Receiver(), Clock())
    assert len(found.told) == 1 and "materialise `verdict_changes`" in found.problems[0]
    assert found.unreadable == found.problems


def test_a_damaged_outbox_file_is_named_and_its_event_told_again(tmp_path: Path) -> None:
    write_changes(tmp_path, changes(change(1)))
    clock, send = Clock(), Receiver()
    told(tmp_path, send, clock)
    (path,) = (tmp_path / ".notices").glob("*.json")
    for damage in ("{", "[]", '{"notice": {}}', path.read_text().replace('"told"', '"sold"')):
        path.write_text(damage)
        found = told(tmp_path, send, clock)
        assert len(found.told) == 1 and path.name in found.problems[0]


def test_a_preview_writes_nothing(tmp_path: Path) -> None:
    write_changes(tmp_path, many(MOST_MESSAGES + 1))
    before = sorted(tmp_path.rglob("*"))
    (entry,), problems = preview(tmp_path, ANY)
    assert entry.notice.kind == "digest" and not problems and sorted(tmp_path.rglob("*")) == before


def test_only_one_process_tells_at_a_time(tmp_path: Path) -> None:
    with Outbox(tmp_path).locked(), pytest.raises(BusyError, match="another process"):
        told(tmp_path, Receiver(), Clock())
    assert told(tmp_path, Receiver(), Clock()) == Round()


def test_files_that_did_not_change_are_no_new_events(tmp_path: Path) -> None:
    empty = events(tmp_path)
    write_changes(tmp_path, changes(change(1)))
    one = events(tmp_path)
    quarantine.write(tmp_path, held())
    assert len({empty, one, events(tmp_path)}) == 3 and events(tmp_path) == events(tmp_path)


def killed_while_sending(store: Path, url: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", SENDER, str(store), url], stdout=subprocess.PIPE, text=True, cwd=PROJECT
    ) as sender:
        assert sender.stdout is not None and sender.stdout.readline() == "sent\n"
        sender.send_signal(signal.SIGKILL)


def test_killed_between_sending_and_marking_the_message_is_repeated_once_and_says_so(tmp_path: Path) -> None:
    write_changes(tmp_path, changes(change(1)))
    with receiver() as received:
        killed_while_sending(tmp_path, received.url)
        assert states(tmp_path) == ["sending"]
        found = tell(tmp_path, ANY, received.url, time.time)
        assert len(found.told) == 1 and "possible repeat" in found.problems[0]
        assert tell(tmp_path, ANY, received.url, time.time) == Round()
    first, second = received.keys
    assert first == second and "may be a repeat" not in received.lines(0) and "may be a repeat" in received.lines(1)


def test_a_message_that_brings_its_sender_down_is_given_up(tmp_path: Path) -> None:
    write_changes(tmp_path, changes(change(1)))
    clock = Clock()

    def dies(*_: object) -> Answer:
        raise KeyboardInterrupt

    for _ in range(outboxes.MOST_INTERRUPTIONS):
        with pytest.raises(KeyboardInterrupt):
            told(tmp_path, dies, clock)
    found = told(tmp_path, Receiver(), clock)
    assert not found.told and "given up" in found.problems[0] and states(tmp_path) == ["given up"]


def test_killed_before_sending_nothing_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_changes(tmp_path, changes(change(1)))
    clock, send = Clock(), Receiver()
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("interp_assets.notices.telling._attempt", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        told(tmp_path, send, clock)
    assert states(tmp_path) == ["waiting"] and len(told(tmp_path, send, clock).told) == 1
    assert "may be a repeat" not in json.dumps(send.sent)


def test_the_address_is_in_no_file_and_no_record(tmp_path: Path) -> None:
    write_changes(tmp_path, changes(change(1)))
    with receiver() as received:
        received.answers = [(500, {}, f"at {received.url}"), (404, {}, f"at {received.url}")]
        found = [tell(tmp_path, ANY, received.url, Clock(1000.0 + step)) for step in (0, 100)]
    stored = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"s3cr3t" not in stored and b"127.0.0.1" not in stored and "s3cr3t" not in repr(found)
    assert states(tmp_path) == ["refused"] and received.paths[0].endswith("s3cr3t-t0ken")


def test_a_message_that_timed_out_is_marked_when_it_is_sent_again(tmp_path: Path) -> None:
    write_changes(tmp_path, changes(change(1)))
    clock = Clock()
    with receiver() as received:
        received.delay = 0.3
        told(tmp_path, lambda address, message, key: post(received.url, message, key, timeout=0.05), clock)
        received.delay = 0.0
        clock.now += 15
        told(tmp_path, lambda address, message, key: post(received.url, message, key), clock)
    assert "may be a repeat" not in received.lines(0) and "may be a repeat" in received.lines(1)


def test_entries_survive_the_disk(tmp_path: Path) -> None:
    write_changes(tmp_path, changes(change(1)))
    (entry,) = told(tmp_path, Receiver(), Clock()).told
    assert Outbox(tmp_path).entries() == ([entry], []) and isinstance(entry, Entry)


def test_many_messages_sent_again_by_hand_are_one_digest(tmp_path: Path) -> None:
    clock, send = Clock(), Receiver(*[Answer(outcome="refused", said="HTTP 403")] * (MOST_MESSAGES + 1), TOLD)
    for number in range(MOST_MESSAGES + 1):
        write_changes(tmp_path, many(number + 1))
        told(tmp_path, send, clock)
    assert again(tmp_path) == MOST_MESSAGES + 1
    (entry,) = told(tmp_path, send, clock).told
    assert entry.notice.kind == "digest" and len(entry.notice.covers) == MOST_MESSAGES + 1

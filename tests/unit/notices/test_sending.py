"""One attempt: what answers mean, and that the address stays secret."""

from __future__ import annotations

import socket
import time

import pytest

from interp_assets.notices.sending import AddressError, post, read_address
from tests.acceptance.receiver import receiver

MESSAGE = {"text": "grün"}


def test_a_message_arrives_as_it_was_sent() -> None:
    with receiver() as received:
        answer = post(received.url, MESSAGE, "id-1")
    assert answer.outcome == "told" and received.messages == [MESSAGE] and received.keys == ["id-1"]


@pytest.mark.parametrize(
    ("status", "headers", "outcome", "wait"),
    [
        (204, {}, "told", None),
        (400, {}, "refused", None),
        (404, {}, "refused", None),
        (408, {}, "later", None),
        (429, {"Retry-After": "7"}, "later", 7.0),
        (429, {"Retry-After": "soon"}, "later", None),
        (429, {"Retry-After": "nan"}, "later", None),
        (429, {"Retry-After": "1e99"}, "later", 86400.0),
        (503, {"Retry-After": "Wed, 21 Oct 99999999999999999999 07:28:00 GMT"}, "later", None),
        (503, {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, "later", 0.0),
        (500, {}, "later", None),
    ],
)
def test_answers(status: int, headers: dict[str, str], outcome: str, wait: float | None) -> None:
    with receiver() as received:
        received.answers = [(status, headers, "")]
        answer = post(received.url, MESSAGE, "id")
    assert (answer.outcome, answer.wait) == (outcome, wait) and f"HTTP {status}" in answer.said
    assert not answer.unsure


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed(status: int) -> None:
    with receiver() as other, receiver() as received:
        received.answers = [(status, {"Location": other.url}, "")]
        answer = post(received.url, MESSAGE, "id")
    assert answer.outcome == "refused" and "redirects" in answer.said
    assert other.paths == [] and len(received.paths) == 1


def test_a_time_out_may_have_arrived_and_a_closed_port_has_not() -> None:
    with receiver() as received:
        received.delay = 0.5
        started = time.monotonic()
        slow = post(received.url, MESSAGE, "id", timeout=0.1)
        assert time.monotonic() - started < 0.45
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        closed = post(f"http://127.0.0.1:{free.getsockname()[1]}/s3cr3t", MESSAGE, "id", timeout=1)
    assert slow.outcome == closed.outcome == "later"
    assert slow.unsure and not closed.unsure
    assert "s3cr3t" not in slow.said + closed.said


def test_what_a_receiver_says_is_shown_unless_it_repeats_the_address() -> None:
    with receiver() as received:
        received.answers = [(403, {}, "invalid_token\n\x1b[31m"), (403, {}, f"no such hook {received.url}")]
        assert post(received.url, MESSAGE, "id").said == "HTTP 403: invalid_token [31m"
        said = post(received.url, MESSAGE, "id").said
    assert "s3cr3t" not in said and "127.0.0.1" not in said and "not shown" in said


@pytest.mark.parametrize(
    "value",
    [
        "",
        "   ",
        "ftp://host/s3cr3t",
        "file:///etc/s3cr3t",
        "host/s3cr3t",
        "https:///s3cr3t",
        "https://user:s3cr3t@host/x",
        "https://host:notaport/s3cr3t",
        "https://host/s3cr3t x",
        "https://host/s3cr3t\nx",
        "https://[host/s3cr3t",
        "https://host/s3cr3t#x",
        "https://a..b/s3cr3t",
        f"https://{'a' * 64}.org/s3cr3t",
    ],
)
def test_what_is_no_address_is_refused_without_repeating_it(value: str) -> None:
    with pytest.raises(AddressError, match="HOOK") as error:
        read_address("HOOK", {"HOOK": value})
    assert "s3cr3t" not in str(error.value) and error.value.__cause__ is None


def test_an_address_is_taken_from_its_variable() -> None:
    assert read_address("HOOK", {"HOOK": " https://host:8443/a/b?c=d "}) == "https://host:8443/a/b?c=d"

"""One attempt to hand a message to the webhook, and what its answer means.

What belongs here: the request and its answer. What does not: waiting and repeating (`telling`). The address is a
secret: it is read from the environment at the last moment and stands in no message, log, exception or file.
"""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import json
import os
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Literal
from urllib.parse import SplitResult, urlsplit

from interp_assets.notices.slack import one_line

TIMEOUT = 10.0
MOST_READ = 2000
SHOWN = 120
LONGEST_WAIT = 24 * 3600.0
# Answers that may be another one later: time-out, too early, too many; and every 5xx.
LATER = (408, 425, 429)


class AddressError(ValueError):
    """The variable that should hold the address does not; the message names it and repeats nothing of its value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What became of one attempt.

    ``outcome`` is ``told``, ``later`` (worth another attempt) or ``refused``. ``said`` is fit for a log. ``wait`` are
    the seconds the receiver asked for, if it did. ``unsure``: it may have arrived although nothing says so.
    """

    outcome: Literal["told", "later", "refused"]
    said: str
    wait: float | None = None
    unsure: bool = False


def read_address(variable: str, environment: Mapping[str, str] = os.environ) -> str:
    """Address of the webhook.

    Raises
    ------
    AddressError
        When the variable is not set, or holds no http(s) address with a host and without a user or password.
    """
    value = environment.get(variable, "").strip()
    if not value:
        raise AddressError(f"{variable} is not set; put the address of the webhook there")
    if _parts(value) is None:
        raise AddressError(f"{variable} holds no http or https address (without user, password, blanks or fragment)")
    return value


def _parts(value: str) -> SplitResult | None:
    """Parts of an address that can be used, or None. Python's own errors would repeat the value."""
    if not value.isascii() or not value.isprintable() or " " in value:
        return None
    try:
        parts = urlsplit(value)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        (parts.hostname or "").encode("idna")  # as a connection would, which raises for an empty or endless label
    except ValueError:
        return None
    return parts if good and "@" not in parts.netloc and not parts.fragment else None


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """No redirect is followed: a message is for the address that was given, and for no other host."""

    def redirect_request(self, *_: Any) -> None:
        return None


def post(address: str, message: Mapping[str, Any], notice: str, timeout: float = TIMEOUT) -> Answer:
    """Answer to one POST of ``message``; nothing is raised for what a network or a receiver may do.

    Parameters
    ----------
    address
        From `read_address`.
    message
        JSON of the receiver (`slack.slack_message`).
    notice
        Id of the notice, sent as ``Idempotency-Key``: the same when a message is repeated.
    timeout
        Seconds for each wait of the connection.
    """
    body = json.dumps(message, ensure_ascii=False).encode()
    headers = {"Content-Type": "application/json; charset=utf-8", "User-Agent": "interp-assets"}
    request = urllib.request.Request(address, body, {**headers, "Idempotency-Key": notice}, method="POST")  # noqa: S310
    handlers: list[Any] = [_NoRedirect()]
    if _here(address):
        handlers.append(urllib.request.ProxyHandler({}))
    try:
        with urllib.request.build_opener(*handlers).open(request, timeout=timeout) as reply:
            return Answer(outcome="told", said=f"HTTP {reply.status}")
    except urllib.error.HTTPError as error:
        with error:
            return _answer(error, address)
    except urllib.error.URLError as error:
        return _unreachable(error.reason)
    except (OSError, http.client.HTTPException) as error:
        return _unreachable(error, sent=True)


def _here(address: str) -> bool:
    """Whether the receiver is on this machine, where no proxy is asked."""
    host = urlsplit(address).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _answer(error: urllib.error.HTTPError, address: str) -> Answer:
    if 300 <= error.code < 400:
        said = f"HTTP {error.code}: it redirects, which is not followed; give the final address"
        return Answer(outcome="refused", said=said)
    told = ""
    with contextlib.suppress(OSError, http.client.HTTPException):
        told = _harmless(error.read(MOST_READ).decode(errors="replace"), address)
    said = f"HTTP {error.code}{': ' if told else ''}{told}"
    if error.code in LATER or error.code >= 500:
        return Answer(outcome="later", said=said, wait=_retry_after(error.headers.get("Retry-After")))
    return Answer(outcome="refused", said=said)


def _harmless(said: str, address: str) -> str:
    """Beginning of what the receiver said; nothing of it where it repeats a part of the address."""
    parts = urlsplit(address)
    secrets = {part for part in (*parts.path.split("/"), *parts.query.replace("=", "&").split("&")) if len(part) > 5}
    if parts.netloc in said or any(part in said for part in secrets):
        return "(its answer repeats the address and is not shown)"
    return one_line(said)[:SHOWN]


def _retry_after(value: str | None) -> float | None:
    """Seconds that a Retry-After header asks for: a number or a date; None where it is neither."""
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            when = parsedate_to_datetime(value)
        except (ValueError, OverflowError):
            return None
        when = when if when.tzinfo else when.replace(tzinfo=UTC)
        seconds = (when - datetime.now(UTC)).total_seconds()
    return min(max(seconds, 0.0), LONGEST_WAIT) if seconds == seconds else None  # a NaN is no number of seconds


def _unreachable(reason: object, *, sent: bool = False) -> Answer:
    """What a failed connection is called; texts of exceptions are left out, because some repeat the address.

    A refused or unknown host got nothing. A time-out or a connection that ended may have come after the message.
    """
    unsure = sent or isinstance(reason, TimeoutError | ConnectionResetError | BrokenPipeError)
    number = getattr(reason, "errno", None)
    detail = os.strerror(number) if isinstance(number, int) and number > 0 else type(reason).__name__
    said = "no answer in time" if isinstance(reason, TimeoutError) else f"not reachable: {detail}"
    return Answer(outcome="later", said=said, unsure=unsure)

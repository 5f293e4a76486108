"""Slack-compatible JSON of one notice.

What belongs here: the form of a message, its limits, and how foreign text is kept text. What does not: what is told
(`messages`). Limits and escaping follow Slack's reference of Block Kit and of message formatting: at most 50 blocks, a
header of 150 characters, a section of 3,000; ``&``, ``<`` and ``>`` as entities, which switches off ``<!channel>`` too.

Everything that comes from a release stands in ``plain_text`` objects, which format nothing. The ``text`` beside the
blocks is shown by notifications and by receivers that know no blocks (Mattermost, Rocket.Chat), some of which read it
as Markdown and answer to a bare ``@channel``; there an invisible word joiner stands beside every such character.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from interp_assets.notices.records import PLACEHOLDERS, Notice

HEADER, SECTION, TEXT = 150, 3000, 3500
MOST_BLOCKS = 50
SECTIONS = 10
JOINER = "\u2060"
MARKS = {"lost": "▼", "gained": "▲", "other": "◆"}
REPEATED = "This message may be a repeat: it is not known whether it arrived when it was first sent."


def slack_message(notice: Notice, link: str = "", *, repeated: bool = False) -> dict[str, Any]:
    """Message as JSON: a header, the lines, and where it came from; no text in it formats, links or pings.

    Parameters
    ----------
    notice
        What is told.
    link
        Address added below; ``{study}`` and ``{release}`` are filled in, and a link that names them is left out where a
        notice is about several.
    repeated
        Whether it may have arrived before; the message says so.
    """
    title = f"{MARKS[notice.level]} {one_line(notice.title)}"
    lines = [*map(one_line, notice.lines), *([REPEATED] if repeated else [])]
    blocks: list[dict[str, Any]] = [{"type": "header", "text": _plain(title, HEADER)}]
    blocks += [{"type": "section", "text": _plain(part, SECTION)} for part in _paragraphs(lines)]
    address = _address(notice, link)
    if address:
        shown = f"<{_entities(address)}|Open the results>"
        blocks.append({"type": "section", "text": {"type": "mrkdwn", "text": shown, "verbatim": True}})
    blocks.append({"type": "context", "elements": [_plain(f"interp-assets, notice {notice.id}", HEADER)]})
    fallback = "\n".join([title, *(f"- {line}" for line in lines)])
    return {"text": _unformatted(fallback, TEXT), "mrkdwn": False, "blocks": blocks[:MOST_BLOCKS]}


def one_line(text: str) -> str:
    """The text on one line, without characters that steer a terminal or turn the direction of reading."""
    kept = "".join(" " if unicodedata.category(mark) in ("Cc", "Zl", "Zp") else mark for mark in text)
    return " ".join("".join(mark for mark in kept if unicodedata.category(mark) not in ("Cf", "Cs", "Co")).split())


def _address(notice: Notice, link: str) -> str:
    values = dict(zip(PLACEHOLDERS, (notice.study, notice.release), strict=True))
    if any(name in link and not value for name, value in values.items()):
        return ""
    for name, value in values.items():
        link = link.replace(name, quote(value, safe=""))
    return link


def _paragraphs(lines: list[str]) -> Iterator[str]:
    """Lines gathered into as few sections as their limit allows; what does not fit is counted."""
    parts, part = [], ""
    for number, line in enumerate(lines):
        cut = _shortened(line, SECTION // 4)
        if part and _length(part) + _length(cut) + 3 > SECTION:
            parts.append(part)
            part = ""
        if len(parts) == SECTIONS:
            part = f"and {len(lines) - number} more"
            break
        part += f"{chr(10) if part else ''}• {cut}"
    yield from [*parts, part] if part else parts


def _plain(text: str, limit: int) -> dict[str, Any]:
    return {"type": "plain_text", "text": _entities(_joined(_shortened(text, limit), "@")), "emoji": False}


def _length(text: str) -> int:
    """Characters of a text once it is escaped; limits are kept whichever way a receiver counts."""
    return len(_entities(_joined(text, "@")))


def _shortened(text: str, limit: int) -> str:
    """As much of the text as fits when escaped, with an ellipsis where something was cut."""
    if _length(text) <= limit:
        return text
    kept, length = [], 1
    for mark in text:
        length += _length(mark)
        if length > limit:
            break
        kept.append(mark)
    return "".join(kept) + "…"


def _unformatted(text: str, limit: int) -> str:
    """Text that stays text where a receiver reads Markdown."""
    return _entities(_joined(_shortened(text, limit), "@*_~`[]#|"))


def _joined(text: str, marks: str) -> str:
    return "".join(f"{JOINER}{mark}{JOINER}" if mark in marks else mark for mark in text)


def _entities(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
